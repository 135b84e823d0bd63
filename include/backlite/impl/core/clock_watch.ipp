// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/clock_watch.hpp>.

#include <backlite/core/clock_watch.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL Duration ClockWatch::jump() noexcept {
    const Duration now = offset(clock_.suspended());
    const Duration jumped = now - offset_;
    if (jumped > -tolerance && jumped < tolerance) return Duration::zero();
    offset_ = now;
    return jumped;
}

BACKLITE_DECL Duration ClockWatch::slept() noexcept {
    const Duration slept = clock_.suspended() - suspended_;
    if (slept < tolerance) return Duration::zero();
    suspended_ += slept;
    return slept;
}

BACKLITE_DECL detail::Ms ClockTrust::past(detail::Ms wall, Steady::time_point now, Duration watched,
                                          Duration beyond) const noexcept {
    if (now >= sure_at(watched)) return wall;
    const auto passed = std::chrono::floor<Duration>(now - since_);
    return (std::min)(wall, known_ + passed + beyond);
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
