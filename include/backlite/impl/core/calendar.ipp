// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/calendar.hpp>.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/core/calendar.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// The zone of an expression, whose errors name both.
BACKLITE_DECL Zone zone_for(std::string_view expression, std::string_view zone) {
    try {
        return Zone::find(zone);
    } catch (const ConfigError& refused) {
        throw ConfigError(
            detail::format("cron expression \"{}\": {}", {detail::shown(expression, 200), refused.what()}));
    }
}

BACKLITE_DECL Calendar::Calendar(std::string_view expression, std::string_view zone)
    : Calendar(expression, zone_for(expression, zone), zone) {}

BACKLITE_DECL Calendar::Calendar(std::string_view expression, Zone zone, std::string_view name)
    : expression_(expression), zone_name_(name), fields_(CronFields::parse(expression)), zone_(std::move(zone)) {}

BACKLITE_DECL std::optional<std::chrono::sys_seconds> Calendar::next(std::chrono::sys_seconds time) const {
    std::size_t steps = 0;
    return next(time, steps);
}

BACKLITE_DECL std::optional<std::chrono::sys_seconds> Calendar::next(std::chrono::sys_seconds time,
                                                                     std::size_t& steps) const {
    if (fields_.every_hour) return next_shown(time, steps);
    // When the clocks first show a local time or a later one is never earlier for a later local time. So the slots
    // after `time` are those of the local times that are later than all that was shown until then.
    const auto found = match_from(latest_shown(time, steps) + std::chrono::seconds{1}, steps);
    if (!found) return std::nullopt;
    return first_showing(*found, steps);
}

BACKLITE_DECL std::optional<std::chrono::sys_seconds> Calendar::next_shown(std::chrono::sys_seconds time,
                                                                           std::size_t& steps) const {
    std::optional<Local> searched{};  // from there on the first match is `found`
    std::optional<Local> found{};
    for (time += std::chrono::seconds{1};;) {
        ++steps;
        const Stretch in = zone_.at(time);
        const Local from = shown(time, in);
        if (!searched || from < *searched || from > *found) {
            found = match_from(from, steps);
            if (!found) return std::nullopt;
            searched = from;
        }
        if (when(*found, in) < in.end) return when(*found, in);
        // Nothing matches until shortly before the local time that was found, unless the clocks go back behind where
        // the search began.
        time = in.end;
        const std::chrono::sys_seconds began{searched->time_since_epoch()};
        const std::chrono::sys_seconds match{found->time_since_epoch()};
        if (time - largest_offset >= began) time = (std::max)(time, match - largest_offset);
    }
}

BACKLITE_DECL std::optional<Calendar::Local> Calendar::match_from(Local local, std::size_t& steps) const {
    using std::chrono::days;
    constexpr int months_of_400_years = 4'800;
    const auto date = std::chrono::floor<days>(local);
    const std::chrono::year_month_day first{date};
    auto month = first.year() / first.month();
    unsigned day = static_cast<unsigned>(first.day());
    std::optional<std::chrono::seconds> time = fields_.time_from(local - date);
    for (int looked = 0; looked <= months_of_400_years; ++looked) {
        if ((fields_.months >> static_cast<unsigned>(month.month()) & 1U) != 0) {
            ++steps;
            const std::chrono::local_days begin{month / 1};
            const auto length = static_cast<unsigned>((month / std::chrono::last).day());
            const std::uint64_t matches = fields_.days_of(length, std::chrono::weekday{begin});
            // The day to begin with counts only if one of its times is left.
            if (!time && day <= length) ++day;
            const std::uint64_t left = matches >> day;
            if (left != 0) {
                const unsigned on = day + static_cast<unsigned>(std::countr_zero(left));
                const bool same = time && looked == 0 && on == static_cast<unsigned>(first.day());
                return begin + days{on - 1} + (same ? *time : *fields_.time_from({}));
            }
        }
        month += std::chrono::months{1};
        day = 1;
        time = std::chrono::seconds{0};
    }
    return std::nullopt;
}

BACKLITE_DECL Calendar::Local Calendar::latest_shown(std::chrono::sys_seconds time, std::size_t& steps) const {
    Stretch in = zone_.at(time);
    Local latest = shown(time, in);
    // What was shown longer ago than that was earlier, whatever the offsets.
    const auto oldest = time - 2 * largest_offset;
    for (++steps; in.begin > oldest; ++steps) {
        const auto before = in.begin - std::chrono::seconds{1};
        in = zone_.at(before);
        latest = (std::max)(latest, shown(before, in));
    }
    return latest;
}

BACKLITE_DECL std::chrono::sys_seconds Calendar::first_showing(Local local, std::size_t& steps) const {
    std::chrono::sys_seconds time = std::chrono::sys_seconds{local.time_since_epoch()} - largest_offset;
    for (++steps;; ++steps) {
        const Stretch in = zone_.at(time);
        const auto candidate = (std::max)(time, when(local, in));
        if (candidate < in.end) return candidate;
        time = in.end;
    }
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
