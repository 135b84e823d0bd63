// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/clock.hpp>.

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Duration Clock::suspended() const noexcept {
    const auto since_boot = [](clockid_t clock) {
        ::timespec time{};
        ::clock_gettime(clock, &time);
        return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
    };
    return std::chrono::round<Duration>(since_boot(CLOCK_BOOTTIME) - since_boot(CLOCK_MONOTONIC));
}

BACKLITE_DECL TimePoint from_ms(std::int64_t ms) noexcept {
    using std::chrono::duration_cast;
    constexpr std::int64_t most = duration_cast<Duration>((TimePoint::max)().time_since_epoch()).count();
    const std::int64_t held = ms > most ? most : ms < -most ? -most : ms;
    return TimePoint{duration_cast<TimePoint::duration>(Duration{held})};
}

BACKLITE_DECL std::int64_t saturating_add(std::int64_t ms, Duration duration) noexcept {
    constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
    constexpr auto least = (std::numeric_limits<std::int64_t>::min)();
    const std::int64_t d = duration.count();
    if (d > 0 && ms > most - d) return most;
    if (d < 0 && ms < least - d) return least;
    return ms + d;
}

BACKLITE_DECL auto saturating_add(std::chrono::steady_clock::time_point start, Duration duration) noexcept
    -> std::chrono::steady_clock::time_point {
    using Steady = std::chrono::steady_clock;
    const auto room = std::chrono::duration_cast<Duration>((Steady::time_point::max)() - start);
    return duration >= room ? (Steady::time_point::max)() : start + duration;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
