// SPDX-License-Identifier: MIT
#pragma once
// The end of a thread's work, for those who wait for it.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <optional>

#include <backlite/base/guards.hpp>
#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Threads: any.
class SessionEnd {
public:
    using Steady = std::chrono::steady_clock;

    /// `clean`: nothing was left undone.
    void end(bool clean);

    /// Waits until the end, at most until `deadline` on the real clock. Whether it is over.
    [[nodiscard]] bool wait(Steady::time_point deadline) const;

    /// REQUIRES: it is over.
    [[nodiscard]] bool clean() const {
        const detail::LockGuard lock(mutex_);
        return *clean_;
    }

private:
    mutable detail::Mutex mutex_{};
    mutable std::condition_variable changed_{};
    std::optional<bool> clean_ BACKLITE_GUARDED_BY(mutex_){};  ///< nullopt: not over
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/session_end.ipp>
#endif
