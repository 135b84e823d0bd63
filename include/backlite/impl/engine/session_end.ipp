// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/session_end.hpp>.

#include <backlite/engine/session_end.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL void SessionEnd::end(bool clean) {
    const detail::LockGuard lock(mutex_);
    clean_ = clean;
    changed_.notify_all();
}

BACKLITE_DECL bool SessionEnd::wait(Steady::time_point deadline) const {
    detail::UniqueLock lock(mutex_);
    for (;;) {
        if (clean_) return true;
        const auto now = Steady::now();
        if (now >= deadline) return false;
        changed_.wait_for(lock.native(), (std::min)(deadline - now, Steady::duration(detail::longest_wait())));
    }
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
