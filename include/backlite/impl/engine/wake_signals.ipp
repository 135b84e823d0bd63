// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/wake_signals.hpp>.

#include <backlite/engine/wake_signals.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL void WakeSignals::take(Signals& taken) {
    const detail::LockGuard lock(mutex_);
    taken = {taken.refresh || signals_.refresh, taken.hint || signals_.hint, signals_.stop, signals_.abandon};
    signals_.refresh = signals_.hint = false;
    set_ = false;
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
