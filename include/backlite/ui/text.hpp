// SPDX-License-Identifier: MIT
#pragma once
// What people read: text made safe to show, durations, times and counts.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

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
[[nodiscard]] inline std::string visible_name(std::string_view name) {
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

/// At most `limit` bytes of `text`, cut between characters.
[[nodiscard]] constexpr std::string_view cut(std::string_view text, std::size_t limit) noexcept {
    if (text.size() <= limit) return text;
    std::size_t size = limit;
    while (size > 0 && limit - size < 3 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) --size;
    return text.substr(0, size);
}

/// `1,234,567`
[[nodiscard]] inline std::string grouped(std::uint64_t number) {
    if (number >= 1'000'000'000'000'000) return fmt::format("{:.2e}", static_cast<double>(number));  // a damaged file's
    std::string text = fmt::to_string(number);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
    return text;
}

/// How many a minute, or the like: `338,112`, `12.5`, `0.03`.
[[nodiscard]] inline std::string rate_text(double rate) {
    if (rate >= 99.95) return grouped(static_cast<std::uint64_t>(rate + 0.5));
    return rate >= 10 ? fmt::format("{:.1f}", rate) : fmt::format("{:.2g}", rate);
}

/// A time span in one or two units: `640 µs`, `12 ms`, `1.5 s`, `8 s`, `4 min 10 s`, `3 h 2 min`, `5 d 3 h`.
[[nodiscard]] inline std::string span_text(std::chrono::microseconds span) {
    const std::int64_t us = span.count();
    if (us < 0) {
        constexpr auto least = std::chrono::microseconds{(std::chrono::microseconds::min)().count() + 1};
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

/// The span between two stored times, held inside what can be shown: rows made by others hold any number.
[[nodiscard]] inline std::chrono::microseconds span_between(std::int64_t from_ms, std::int64_t to_ms) noexcept {
    constexpr std::int64_t most = std::int64_t{1} << 52;  // 140,000 years; in microseconds it still fits
    const auto from = static_cast<long double>(from_ms);
    const auto to = static_cast<long double>(to_ms);
    if (to - from > static_cast<long double>(most)) return std::chrono::milliseconds{most};
    if (from - to > static_cast<long double>(most)) return std::chrono::milliseconds{-most};
    return std::chrono::milliseconds{to_ms - from_ms};
}

/// How far a stored time is from now: `12 s ago`, `in 3 min`, `now`.
[[nodiscard]] inline std::string relative_text(std::int64_t ms, std::int64_t now) {
    using std::chrono::seconds;
    const auto ago = std::chrono::duration_cast<seconds>(span_between(ms, now));
    if (ago == seconds::zero()) return "now";
    return ago > seconds::zero() ? span_text(ago) + " ago" : "in " + span_text(-ago);
}

namespace detail {

struct Civil {
    int year;
    unsigned month, day;
    std::int64_t hours, minutes, seconds, milliseconds;
};

[[nodiscard]] inline Civil civil(std::int64_t ms) noexcept {
    using namespace std::chrono;
    const auto time = floor<milliseconds>(from_ms(ms));
    const auto date = floor<days>(time);
    const year_month_day ymd{date};
    const hh_mm_ss clock{time - date};
    return {static_cast<int>(ymd.year()),     static_cast<unsigned>(ymd.month()),
            static_cast<unsigned>(ymd.day()), clock.hours().count(),
            clock.minutes().count(),          clock.seconds().count(),
            clock.subseconds().count()};
}

}  // namespace detail

/// `2026-03-01 08:15:30 UTC`
[[nodiscard]] inline std::string utc_text(std::int64_t ms) {
    const detail::Civil t = detail::civil(ms);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", t.year, t.month, t.day, t.hours, t.minutes,
                       t.seconds);
}

/// `08:15` of that day, UTC.
[[nodiscard]] inline std::string utc_clock(std::int64_t ms) {
    const detail::Civil t = detail::civil(ms);
    return fmt::format("{:02}:{:02}", t.hours, t.minutes);
}

/// `2026-03-01T08:15:30.123Z` (RFC 3339)
[[nodiscard]] inline std::string iso_text(std::int64_t ms) {
    const detail::Civil t = detail::civil(ms);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", t.year, t.month, t.day, t.hours, t.minutes,
                       t.seconds, t.milliseconds);
}

/// `3.4 MB`
[[nodiscard]] inline std::string size_text(std::uint64_t bytes) {
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
