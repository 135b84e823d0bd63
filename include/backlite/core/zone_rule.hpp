// SPDX-License-Identifier: MIT
#pragma once
// ZoneRule: how a time zone goes on each year, as a TZ string of POSIX says it ("CET-1CEST,M3.5.0,M10.5.0/3").

#include <chrono>
#include <optional>
#include <string_view>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// A time in which the clocks of a zone are ahead of UTC by the same amount: from `begin` to before `end`. The ends of
/// the type say that there is no begin, or no end. Two stretches in a row may have the same offset.
struct Stretch {
    std::chrono::sys_seconds begin = (std::chrono::sys_seconds::min)();
    std::chrono::sys_seconds end = (std::chrono::sys_seconds::max)();
    std::chrono::seconds offset{};
};

/// No zone is further from UTC, and none has been.
inline constexpr std::chrono::seconds largest_offset = std::chrono::hours{26};

/// The rule at the end of a zone's file. A value. Source: POSIX.1-2024, 8.3 (TZ), with the times of day of RFC 9636,
/// 3.3.1: from -167 to 167 hours.
class ZoneRule {
public:
    /// The rule in `text`; nullopt if it is none, or leaves out when summer time begins and ends.
    [[nodiscard]] static std::optional<ZoneRule> parse(std::string_view text);

    /// The stretch that `time` is in, which must lie in the years -30000 to 30000.
    [[nodiscard]] Stretch at(std::chrono::sys_seconds time) const;

private:
    class Text;

    /// A day of each year, and a time from its midnight on, by the clocks before the change.
    struct Change {
        enum class Kind {
            day_without_29_february,  ///< 1 to 365: 29 February is not counted
            day,                      ///< 0 to 365
            weekday,                  ///< of a week of a month
        };
        Kind kind = Kind::day;
        unsigned day = 0;   ///< for weekdays: 0 is Sunday
        unsigned week = 1;  ///< of weekdays: 5 is the last
        unsigned month = 1;
        std::chrono::seconds time = std::chrono::hours{2};

        [[nodiscard]] std::chrono::sys_seconds in(std::chrono::year year) const;
    };

    std::chrono::seconds winter_{};
    std::chrono::seconds summer_{};  ///< of no use without summer time
    bool has_summer_ = false;
    Change to_summer_{};
    Change to_winter_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/zone_rule.ipp>
#endif
