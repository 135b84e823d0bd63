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

BACKLITE_DECL auto saturating_add(std::chrono::steady_clock::time_point start, Duration duration) noexcept
    -> std::chrono::steady_clock::time_point {
    using Steady = std::chrono::steady_clock;
    const auto room = std::chrono::duration_cast<Duration>((Steady::time_point::max)() - start);
    return duration >= room ? (Steady::time_point::max)() : start + duration;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
