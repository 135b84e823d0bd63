// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/text.hpp>.

#include <algorithm>

#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL std::string visible_name(std::string_view name) {
    std::string shown;
    for (std::string_view rest = name; !rest.empty();) {
        const Utf8 c = first_character(rest);
        const bool at_end = rest.size() == name.size() || rest.size() == 1;
        if (!c.valid) {
            shown += fmt::format("⟨x{:02X}⟩", static_cast<unsigned char>(rest.front()));
        } else if (is_invisible(c.code) || c.code == 0x27e8 || (c.code == ' ' && (at_end || rest[1] == ' '))) {
            shown += fmt::format("⟨U+{:04X}⟩", static_cast<std::uint32_t>(c.code));
        } else {
            shown += rest.substr(0, c.length);
        }
        rest.remove_prefix(c.length);
    }
    return shown;
}

BACKLITE_DECL std::string grouped(std::uint64_t number) {
    if (number >= 1'000'000'000'000'000) return fmt::format("{:.2e}", static_cast<double>(number));  // a damaged file's
    std::string text = fmt::to_string(number);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
    return text;
}

BACKLITE_DECL std::string span_text(Us span) {
    const std::int64_t us = span.count();
    if (us < 0) {
        constexpr Us least{(Us::min)().count() + 1};
        return "-" + span_text(-(span < least ? least : span));
    }
    if (us == 0) return "< 1 µs";
    if (us < 1'000) return fmt::format("{} µs", us);
    if (us < 10'000) return fmt::format("{:.1f} ms", static_cast<double>(us) / 1e3);
    if (us < 1'000'000) return fmt::format("{} ms", us / 1'000);
    if (us < 10'000'000 && us % 1'000'000 != 0)
        return fmt::format("{:.1f} s", static_cast<double>(us / 100'000) / 10.0);
    const std::int64_t s = us / 1'000'000;
    if (s < 60) return fmt::format("{} s", s);
    const auto pair = [](std::int64_t large, const char* unit, std::int64_t rest, const char* of) {
        return rest == 0 ? fmt::format("{} {}", large, unit) : fmt::format("{} {} {} {}", large, unit, rest, of);
    };
    if (s < 3'600) return pair(s / 60, "min", s % 60, "s");
    if (s < 86'400) return pair(s / 3'600, "h", s % 3'600 / 60, "min");
    return pair(s / 86'400, "d", s % 86'400 / 3'600, "h");
}

BACKLITE_DECL Us span_between(Ms from, Ms to) noexcept {
    constexpr Duration most{std::int64_t{1} << 52};  // 140,000 years; in microseconds it still fits
    return (std::clamp)(to - from, -most, most);
}

BACKLITE_DECL std::string relative_text(Ms time, Ms now) {
    using std::chrono::seconds;
    const auto ago = std::chrono::duration_cast<seconds>(span_between(time, now));
    if (ago == seconds::zero()) return "now";
    return ago > seconds::zero() ? span_text(ago) + " ago" : "in " + span_text(-ago);
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL Civil civil(Ms stored) noexcept {
    using namespace std::chrono;
    const auto time = floor<milliseconds>(from_ms(stored));
    const auto date = floor<days>(time);
    const year_month_day ymd{date};
    const hh_mm_ss clock{time - date};
    return {static_cast<int>(ymd.year()),     static_cast<unsigned>(ymd.month()),
            static_cast<unsigned>(ymd.day()), clock.hours().count(),
            clock.minutes().count(),          clock.seconds().count(),
            clock.subseconds().count()};
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL std::string utc_text(Ms time) {
    const detail::Civil t = detail::civil(time);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", t.year, t.month, t.day, t.hours, t.minutes,
                       t.seconds);
}

BACKLITE_DECL std::string iso_text(Ms time) {
    const detail::Civil t = detail::civil(time);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", t.year, t.month, t.day, t.hours, t.minutes,
                       t.seconds, t.milliseconds);
}

BACKLITE_DECL std::string size_text(std::uint64_t bytes) {
    if (bytes == 1) return "1 byte";
    if (bytes < 1'000) return fmt::format("{} bytes", bytes);
    double size = static_cast<double>(bytes);
    const char* unit = "";
    for (const char* next : {"kB", "MB", "GB", "TB"}) {
        if (size < 999.95) break;
        size /= 1'000;
        unit = next;
    }
    return fmt::format("{:.1f} {}", size, unit);
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
