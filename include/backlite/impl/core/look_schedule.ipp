// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/look_schedule.hpp>.

#include <backlite/core/look_schedule.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void LookSchedule::looked(Steady::time_point now, Duration interval) noexcept {
    regular_ = saturating_add(now, interval);
    if (now < after_hint_) return;
    after_hint_ = pause_ > last_pause ? (Steady::time_point::max)() : now + pause_;
    pause_ *= 2;
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
