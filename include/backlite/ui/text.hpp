// SPDX-License-Identifier: MIT
#pragma once
// What people read: text made safe to show, durations, times and counts.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/base/times.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

using backlite::detail::Ms;
using backlite::detail::Us;

/// One character of UTF-8 at the start of a text, or one byte that begins none.
struct Utf8 {
    char32_t code = 0;
    std::size_t length = 1;
    bool valid = false;
};

/// REQUIRES: `text` is not empty. Overlong forms, surrogates and codes above U+10FFFF are invalid (RFC 3629).
[[nodiscard]] constexpr Utf8 first_character(std::string_view text) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return {lead, 1, true};
    const std::size_t length = lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {lead, 1, false};
    char32_t code = lead & (0xffU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80U) return {lead, 1, false};
        code = code << 6 | (byte(i) & 0x3fU);
    }
    constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {lead, 1, false};
    return {code, length, true};
}

[[nodiscard]] constexpr bool is_utf8(std::string_view text) noexcept {
    while (!text.empty()) {
        const Utf8 c = first_character(text);
        if (!c.valid) return false;
        text.remove_prefix(c.length);
    }
    return true;
}

/// Whether a character changes how its neighbours are shown without showing itself: what turns the direction of text
/// could make a page say something else than the row does.
[[nodiscard]] constexpr bool is_deceptive(char32_t code) noexcept {
    return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0) || code == 0x61c ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0x200e ||
           code == 0x200f || code == 0x2028 || code == 0x2029 || code == 0xfeff || code == 0xfffe || code == 0xffff;
}

inline constexpr std::string_view replacement = "\xef\xbf\xbd";  // U+FFFD

/// Calls `put(std::string_view)` with pieces of `text`, in order: valid UTF-8, no control characters but line ends and
/// tabs; whatever else stands there becomes U+FFFD.
template <class Put>
constexpr void each_character(std::string_view text, Put&& put) {
    while (!text.empty()) {
        const Utf8 c = first_character(text);
        put(c.valid && !is_deceptive(c.code) ? text.substr(0, c.length) : replacement);
        text.remove_prefix(c.length);
    }
}

/// Whether a character leaves no ink, or looks like a plain blank: two names that differ by it would look the same.
[[nodiscard]] constexpr bool is_invisible(char32_t code) noexcept {
    struct Range {
        char32_t first, last;
    };
    constexpr Range ranges[] = {{0, 0x1f},          {0x7f, 0xa0},       {0xad, 0xad},       {0x34f, 0x34f},
                                {0x61c, 0x61c},     {0x115f, 0x1160},   {0x1680, 0x1680},   {0x17b4, 0x17b5},
                                {0x180b, 0x180f},   {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},
                                {0x2800, 0x2800},   {0x3000, 0x3000},   {0x3164, 0x3164},   {0xfe00, 0xfe0f},
                                {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},
                                {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}};
    for (const Range& range : ranges) {
        if (code >= range.first && code <= range.last) return true;
    }
    return false;
}

/// A name in which everything can be seen, and no two names look the same: `⟨U+200B⟩` for what leaves no ink, `⟨xFF⟩`
/// for a byte that is no text, and the code of `⟨` itself. Blanks are shown where they would not be seen.
[[nodiscard]] std::string visible_name(std::string_view name);

/// At most `limit` bytes of `text`, cut between characters.
[[nodiscard]] constexpr std::string_view cut(std::string_view text, std::size_t limit) noexcept {
    if (text.size() <= limit) return text;
    std::size_t size = limit;
    while (size > 0 && limit - size < 3 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) --size;
    return text.substr(0, size);
}

/// `1,234,567`
[[nodiscard]] std::string grouped(std::uint64_t number);

/// How many a minute, or the like: `338,112`, `12.5`, `0.03`.
[[nodiscard]] inline std::string rate_text(double rate) {
    if (rate >= 99.95) return grouped(static_cast<std::uint64_t>(rate + 0.5));
    return rate >= 10 ? fmt::format("{:.1f}", rate) : fmt::format("{:.2g}", rate);
}

/// A time span in one or two units: `640 µs`, `12 ms`, `1.5 s`, `8 s`, `4 min 10 s`, `3 h 2 min`, `5 d 3 h`.
[[nodiscard]] std::string span_text(Us span);

/// The span between two stored times, held inside what can be shown: rows made by others hold any number.
[[nodiscard]] Us span_between(Ms from, Ms to) noexcept;

/// How far a stored time is from now: `12 s ago`, `in 3 min`, `now`.
[[nodiscard]] std::string relative_text(Ms time, Ms now);

namespace detail {

struct Civil {
    int year;
    unsigned month, day;
    std::int64_t hours, minutes, seconds, milliseconds;
};

[[nodiscard]] Civil civil(Ms stored) noexcept;

}  // namespace detail

/// `2026-03-01 08:15:30 UTC`
[[nodiscard]] std::string utc_text(Ms time);

/// `08:15` of that day, UTC.
[[nodiscard]] inline std::string utc_clock(Ms time) {
    const detail::Civil t = detail::civil(time);
    return fmt::format("{:02}:{:02}", t.hours, t.minutes);
}

/// `2026-03-01T08:15:30.123Z` (RFC 3339)
[[nodiscard]] std::string iso_text(Ms time);

/// `3.4 MB`
[[nodiscard]] std::string size_text(std::uint64_t bytes);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/text.ipp>
#endif
