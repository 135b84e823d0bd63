// SPDX-License-Identifier: MIT
#pragma once
// Files of time zones, made by tests: TZif as RFC 9636 has it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/core/zone.hpp>

namespace backlite_test {

/// What a file of a zone says.
struct ZoneBytes {
    struct Change {
        std::int64_t time = 0;    ///< seconds since the epoch
        std::int32_t offset = 0;  ///< seconds ahead of UTC from then on
    };

    std::int32_t first_offset = 0;
    std::vector<Change> changes{};
    std::string rule{};  ///< a TZ string; none in version 1
    char version = '2';  ///< '1' is written as a zero, as it is in files
    std::uint32_t leap_seconds = 0;

    [[nodiscard]] std::string bytes() const {
        if (version == '1') return header() + data(4);
        return header() + data(4) + header() + data(8) + '\n' + rule + '\n';
    }

    [[nodiscard]] backlite::core::Zone zone() const { return backlite::core::Zone::read(bytes(), "Test/Zone"); }

private:
    static std::string number(std::uint64_t value, int size) {
        std::string text;
        for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xffU);
        return text;
    }

    [[nodiscard]] std::string header() const {
        std::string text = "TZif";
        text += version == '1' ? '\0' : version;
        text.append(15, '\0');
        for (const std::size_t count :
             {std::size_t{0}, std::size_t{0}, std::size_t{leap_seconds}, changes.size(), types() + 1, std::size_t{4}}) {
            text += number(count, 4);
        }
        return text;
    }

    /// Types are numbered by a byte: changes beyond have those of the first ones again.
    [[nodiscard]] std::size_t types() const noexcept { return std::min(changes.size(), std::size_t{200}); }

    /// Each change has a type of its own, in order, behind the first one.
    [[nodiscard]] std::string data(int size_of_time) const {
        std::string text;
        for (const Change& change : changes) text += number(static_cast<std::uint64_t>(change.time), size_of_time);
        for (std::size_t i = 0; i < changes.size(); ++i) text += static_cast<char>(i % types() + 1);
        text += type(first_offset);
        for (std::size_t i = 0; i < types(); ++i) text += type(changes[i].offset);
        text += std::string_view{"XYZ\0", 4};
        text.append(leap_seconds * (static_cast<std::size_t>(size_of_time) + 4), '\0');
        return text;
    }

    static std::string type(std::int32_t offset) {
        return number(static_cast<std::uint32_t>(offset), 4) + std::string(2, '\0');
    }
};

/// Zones as their files have them, made here so that tests need no files. Each is right from 2007 on; Pacific/Apia and
/// America/Sao_Paulo only around the changes that they have.
namespace zones {

inline backlite::core::Zone by_rule(std::string_view rule) { return ZoneBytes{.rule = std::string{rule}}.zone(); }
inline backlite::core::Zone berlin() { return by_rule("CET-1CEST,M3.5.0,M10.5.0/3"); }
inline backlite::core::Zone new_york() { return by_rule("EST5EDT,M3.2.0,M11.1.0"); }
/// Half an hour of summer time.
inline backlite::core::Zone lord_howe() { return by_rule("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"); }
/// Went from -10 to +14 at the end of 2011-12-29, and had no 30 December.
inline backlite::core::Zone apia() {
    return ZoneBytes{.first_offset = -10 * 3600, .changes = {{1'325'239'200, 14 * 3600}}, .rule = "<+14>-14"}.zone();
}
/// Summer time began at midnight: 2018-11-04 had no 00:00. It ended at midnight: 2019-02-16 had 23:00 twice.
inline backlite::core::Zone sao_paulo() {
    return ZoneBytes{.first_offset = -3 * 3600,
                     .changes = {{1'541'300'400, -2 * 3600}, {1'550'368'800, -3 * 3600}},
                     .rule = "<-03>3"}
        .zone();
}
/// Summer time begins at midnight of the last Friday of April, and ends at the end of the last Thursday of October.
inline backlite::core::Zone cairo() { return by_rule("EET-2EEST,M4.5.5/0,M10.5.4/24"); }
inline backlite::core::Zone kolkata() { return by_rule("IST-5:30"); }

}  // namespace zones
}  // namespace backlite_test
