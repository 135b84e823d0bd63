// SPDX-License-Identifier: MIT
#pragma once
// A wake-up that takes no lock.

#include <chrono>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// What a condition variable is, for those who must not lock: a stop callback runs on any thread, whatever that holds.
/// A wake-up that comes while nobody waits ends the next wait; several may end one, and one may end several.
/// Threads: any.
class Wakeup {
public:
    /// Errors: Error if the system has no descriptor to give.
    Wakeup();
    Wakeup(const Wakeup&) = delete;
    Wakeup& operator=(const Wakeup&) = delete;
    ~Wakeup();

    /// Ends a wait. Lock-free.
    void wake() noexcept;

    /// Waits for `wake`, at most that long.
    void wait(std::chrono::nanoseconds cap) noexcept;

private:
    int descriptor_;
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/system.ipp>
#endif
