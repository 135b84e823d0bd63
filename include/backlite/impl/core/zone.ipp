// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/zone.hpp>.

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/core/zone.hpp>
#include <backlite/platform/last_error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Reads a TZif file from its begin to its end.
class Zone::File {
public:
    File(std::string_view bytes, std::string_view name) : left_(bytes), name_(name) {
        if (bytes.size() > largest_file) refuse("it is larger than any zone's");
    }

    [[nodiscard]] Zone read() {
        Counts counts = header();
        if (version_ > 1) {
            take(counts.size_of_data(4));  // the same once more, as far as 32 bits go
            counts = header();
        }
        Zone zone = data(counts, version_ > 1 ? 8 : 4);
        if (version_ > 1) read_rule(zone);
        if (!left_.empty()) refuse("there are bytes behind its end");
        return zone;
    }

private:
    struct Counts {
        std::uint32_t utc_marks = 0;
        std::uint32_t standard_marks = 0;
        std::uint32_t leap_seconds = 0;
        std::uint32_t changes = 0;
        std::uint32_t types = 0;
        std::uint32_t characters = 0;

        [[nodiscard]] std::size_t size_of_data(std::size_t size_of_time) const noexcept {
            return changes * (size_of_time + 1) + types * std::size_t{6} + characters +
                   leap_seconds * (size_of_time + 4) + standard_marks + utc_marks;
        }
    };

    [[noreturn]] void refuse(std::string_view reason) const {
        throw ConfigError(
            detail::format("time zone \"{}\": its file cannot be used: {}", {detail::shown(name_, 64), reason}));
    }

    std::string_view take(std::size_t size) {
        if (size > left_.size()) refuse("it is cut short");
        const std::string_view taken = left_.substr(0, size);
        left_.remove_prefix(taken.size());
        return taken;
    }

    /// A number of `size` bytes, the first of them the most significant.
    std::uint64_t number(std::size_t size) {
        std::uint64_t found = 0;
        for (const char c : take(size)) found = found << 8 | static_cast<unsigned char>(c);
        return found;
    }
    std::int32_t number_with_sign() { return static_cast<std::int32_t>(static_cast<std::uint32_t>(number(4))); }

    Counts header() {
        if (take(4) != "TZif") refuse("it is no TZif file");
        const char version = take(1).front();
        const int found = version == '\0' ? 1 : version - '0';
        if (found < 1 || found > 4 || version == '1') refuse("its version is none of 1 to 4");
        if (version_ != 0 && version_ != found) refuse("its two headers differ");
        version_ = found;
        take(15);
        Counts counts;
        for (std::uint32_t* const count : {&counts.utc_marks, &counts.standard_marks, &counts.leap_seconds,
                                           &counts.changes, &counts.types, &counts.characters}) {
            *count = static_cast<std::uint32_t>(number(4));
            if (*count > left_.size()) refuse("it is cut short");  // so that sums of them stay small
        }
        return counts;
    }

    Zone data(const Counts& counts, std::size_t size_of_time) {
        if (counts.size_of_data(size_of_time) > left_.size()) refuse("it is cut short");
        if (counts.changes > most_changes) refuse("it has more changes than any zone's");
        if (counts.leap_seconds != 0) refuse("it counts leap seconds");
        if (counts.types == 0 || counts.types > 256) refuse("it has no times, or too many of them");
        Zone zone;
        for (std::uint32_t i = 0; i < counts.changes; ++i) {
            const std::uint64_t bits = number(size_of_time);
            const std::int64_t time = size_of_time == 8 ? static_cast<std::int64_t>(bits)
                                                        : static_cast<std::int32_t>(static_cast<std::uint32_t>(bits));
            zone.changes_.emplace_back(std::chrono::seconds{time});
            if (i > 0 && zone.changes_[i] <= zone.changes_[i - 1]) refuse("its changes are not in order");
        }
        const std::string_view types = take(counts.changes);
        std::vector<std::chrono::seconds> offsets;
        for (std::uint32_t i = 0; i < counts.types; ++i) {
            offsets.emplace_back(number_with_sign());
            if (offsets.back() > largest_offset || offsets.back() < -largest_offset) {
                refuse("a time of it is more than 26 hours from UTC");
            }
            if (number(1) > 1) refuse("a time of it is neither summer nor winter");
            if (number(1) >= counts.characters) refuse("a time of it has no name");
        }
        for (const char type : types) {
            if (static_cast<unsigned char>(type) >= counts.types) refuse("a change of it leads to no time");
            zone.offsets_.push_back(offsets[static_cast<unsigned char>(type)]);
        }
        zone.first_offset_ = offsets.front();
        take(std::size_t{counts.characters} + counts.standard_marks + counts.utc_marks);
        return zone;
    }

    void read_rule(Zone& zone) {
        const std::size_t end = left_.find('\n', 1);
        if (left_.empty() || left_.front() != '\n' || end == std::string_view::npos) refuse("it is cut short");
        const std::string_view text = take(end + 1).substr(1, end - 1);
        if (text.empty()) return;
        zone.rule_ = ZoneRule::parse(text);
        if (!zone.rule_) refuse("the rule at its end is none");
    }

    std::string_view left_;
    std::string_view name_;
    int version_ = 0;
};

BACKLITE_DECL Zone Zone::read(std::string_view bytes, std::string_view name) { return File{bytes, name}.read(); }

/// "+02", "+02:00" or "+0200", as text or behind "Etc/GMT": what they add to UTC.
BACKLITE_DECL std::optional<std::chrono::seconds> offset_in(std::string_view text) noexcept {
    const auto digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9' ? text[i] - '0' : -1; };
    if (text.size() < 3 || (text[0] != '+' && text[0] != '-')) return std::nullopt;
    const bool colon = text.size() == 6 && text[3] == ':';
    if (text.size() != 3 && text.size() != 5 && !colon) return std::nullopt;
    const std::size_t at = colon ? 4 : 3;
    const bool minutes = text.size() > 3;
    if (digit(1) < 0 || digit(2) < 0 || (minutes && (digit(at) < 0 || digit(at + 1) < 0))) return std::nullopt;
    const std::chrono::hours h{digit(1) * 10 + digit(2)};
    const std::chrono::minutes m{minutes ? digit(at) * 10 + digit(at + 1) : 0};
    if (h.count() > 23 || m.count() > 59) return std::nullopt;
    return text[0] == '-' ? -(h + m) : h + m;
}

BACKLITE_DECL std::optional<Zone> Zone::fixed(std::string_view name) {
    if (name.empty() || name == "Z") return Zone{};
    if (const auto offset = offset_in(name)) return Zone{*offset};
    const bool etc = name.substr(0, 4) == "Etc/";
    const std::string_view rest = etc ? name.substr(4) : name;
    for (const std::string_view utc :
         {"UTC", "UCT", "Zulu", "Universal", "Greenwich", "GMT", "GMT0", "GMT+0", "GMT-0"}) {
        if (rest == utc) return Zone{};
    }
    if (!etc || rest.substr(0, 3) != "GMT" || rest.size() < 5 || rest.size() > 6 || rest[4] == '0') return std::nullopt;
    // The sign is the other way round, as in POSIX.
    const std::string padded = std::string{rest[3]} + (rest.size() == 5 ? "0" : "") + std::string{rest.substr(4)};
    const auto offset = offset_in(padded);
    if (!offset || *offset > std::chrono::hours{12} || *offset < -std::chrono::hours{14}) return std::nullopt;
    return Zone{-*offset};
}

/// Whether a name may be looked for below the folder of the zones: it is relative, no part of it is hidden or leads up,
/// and it has no characters but those of zones.
BACKLITE_DECL bool is_zone_name(std::string_view name) noexcept {
    constexpr std::size_t longest = 128;
    char before = '/';
    for (const char c : name) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        const bool mark = c == '_' || c == '-' || c == '+';
        if (!letter && !mark && (before == '/' || (c != '.' && c != '/'))) return false;
        before = c;
    }
    return before != '/' && name.size() <= longest;
}

/// What it throws says why there is no file, by `error`.
[[noreturn]] BACKLITE_DECL void refuse_unknown(std::string_view name, int error) {
    throw ConfigError(detail::format(
        "time zone \"{}\" is unknown: {}: {}",
        {detail::shown(name, 64), "it has no file in TZDIR or /usr/share/zoneinfo, which the package tzdata brings",
         platform::error_text(error)}));
}

BACKLITE_DECL std::optional<Zone> Zone::in_file(std::string_view name) {
    if (auto zone = fixed(name)) return zone;
    if (!is_zone_name(name)) {
        throw ConfigError(detail::format("time zone \"{}\": this is no name of a zone", {detail::shown(name, 64)}));
    }
    const std::optional<std::string> bytes = platform::zone_file(std::string{name}, largest_file + 1);
    return bytes ? std::optional{read(*bytes, name)} : std::nullopt;
}

BACKLITE_DECL Zone Zone::of_file(std::string_view name) {
    if (auto zone = in_file(name)) return *std::move(zone);
    refuse_unknown(name, platform::last_error());
}

BACKLITE_DECL std::optional<Zone> Zone::of_library(std::string_view name) {
#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L
    try {
        Zone zone;
        zone.of_library_.zone = std::chrono::locate_zone(name);
        return zone;
    } catch (const std::runtime_error&) {  // no such zone, or no zones at all
    }
#else
    static_cast<void>(name);
#endif
    return std::nullopt;
}

BACKLITE_DECL Zone Zone::find(std::string_view name) {
    if (auto zone = in_file(name)) return *std::move(zone);
    const int error = platform::last_error();
    if (platform::chosen_zone_folder().empty()) {
        if (auto zone = of_library(name)) return *std::move(zone);
    }
    refuse_unknown(name, error);
}

BACKLITE_DECL Stretch Zone::at(std::chrono::sys_seconds time) const {
#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L
    if (of_library_.zone != nullptr) {
        const auto found = static_cast<const std::chrono::time_zone*>(of_library_.zone)->get_info(time);
        return {.begin = found.begin, .end = found.end, .offset = found.offset};
    }
#endif
    const auto next = std::upper_bound(changes_.begin(), changes_.end(), time);
    const auto i = static_cast<std::size_t>(next - changes_.begin());
    Stretch found;
    if (next == changes_.end() && rule_) {
        found = rule_->at(time);
        if (i > 0) found.begin = (std::max)(found.begin, changes_.back());
        return found;
    }
    found.offset = i > 0 ? offsets_[i - 1] : first_offset_;
    if (i > 0) found.begin = changes_[i - 1];
    if (next != changes_.end()) found.end = *next;
    return found;
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
