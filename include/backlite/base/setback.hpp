// SPDX-License-Identifier: MIT
#pragma once
// When something that was refused is tried again.

#include <algorithm>
#include <chrono>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// Waits one second after the first refusal, twice as long after each further one, at most a minute. By the real clock:
/// what refuses knows nothing of the client's.
class Setback {
public:
    using Steady = std::chrono::steady_clock;

    void refused(Steady::time_point now) noexcept {
        wait_ = (std::min)((std::max)(wait_ * 2, shortest), longest);
        until_ = saturating_add(now, wait_);
    }

    /// The next try comes now, and those after it as from the beginning.
    void at_once() noexcept {
        wait_ = (std::min)(wait_, shortest);
        until_ = {};
    }

    /// Whether it was refused at all.
    [[nodiscard]] bool any() const noexcept { return wait_ > Duration::zero(); }
    [[nodiscard]] bool waits(Steady::time_point now) const noexcept { return now < until_; }
    [[nodiscard]] Steady::time_point until() const noexcept { return until_; }

private:
    static constexpr Duration shortest = std::chrono::seconds{1};
    static constexpr Duration longest = std::chrono::minutes{1};

    Duration wait_{};
    Steady::time_point until_{};
};

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
