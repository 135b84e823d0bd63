// SPDX-License-Identifier: MIT
#pragma once
// After storage has refused something: how long to wait before the next try, and whether the failure is worth a word.

#include <algorithm>
#include <chrono>
#include <utility>

#include <backlite/clock.hpp>
#include <backlite/store/trouble.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Counts failures in a row. Other processes and disks know nothing of the client's clock: `now` is that of the real
/// one. Threads: the dispatcher's.
class RetryPause {
public:
    using Steady = std::chrono::steady_clock;

    RetryPause(Duration busy_timeout, Duration release_after) noexcept
        : busy_timeout_(busy_timeout),
          // Never so long that others see two chances to write pass without a lease of ours, and take us for hung.
          most_(std::clamp(release_after / 8, Duration{10}, Duration{500})) {}

    /// True if it is to be told: one failure of a row is, a lock that others hold only after
    /// `busy_timeout`.
    [[nodiscard]] bool failed(store::Trouble trouble, Steady::time_point now) noexcept;

    /// Ends the row. True if one of its failures was told.
    [[nodiscard]] bool recovered() noexcept {
        failures_ = 0;
        return std::exchange(told_, false);
    }

    [[nodiscard]] bool failing() const noexcept { return failures_ > 0; }

    /// How long until the next try; zero: now.
    [[nodiscard]] Steady::duration left(Steady::time_point now) const noexcept {
        return failing() ? (std::max)(until_ - now, Steady::duration::zero()) : Steady::duration::zero();
    }

private:
    // constant after construction
    Duration busy_timeout_;
    Duration most_;

    int failures_ = 0;
    bool told_ = false;
    Steady::time_point since_{};
    Steady::time_point until_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/retry_pause.ipp>
#endif
