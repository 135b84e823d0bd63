// SPDX-License-Identifier: MIT
#pragma once
// Notices when somebody sets the wall clock and when the machine was suspended, and says how far the clock can be
// believed.

#include <algorithm>
#include <chrono>

#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Compares the clocks from look to look. Threads: the dispatcher's.
class ClockWatch {
public:
    explicit ClockWatch(const Clock& clock) noexcept
        : clock_(clock), suspended_(clock.suspended()), offset_(offset(suspended_)) {}

    /// How far the wall clock was set since the last call, negative for back; zero for less than a second, which is how
    /// clocks are kept right.
    [[nodiscard]] Duration jump() noexcept;

    /// How long the machine was suspended since the last call; zero for less than a second.
    [[nodiscard]] Duration slept() noexcept;

private:
    static constexpr Duration tolerance = std::chrono::seconds{1};

    [[nodiscard]] Duration offset(Duration suspended) const noexcept {
        const auto steady = clock_.steady_now().time_since_epoch();
        return std::chrono::floor<Duration>(clock_.now().time_since_epoch()) - std::chrono::floor<Duration>(steady) -
               suspended;
    }

    const Clock& clock_;
    Duration suspended_;
    Duration offset_;
};

/// How far the wall clock's word is taken when rows are to be deleted because their time is past. A clock that is ahead
/// cannot be told from a program that was off for long, so at a start, and once it was set ahead, it is believed little
/// beyond what is known to have come, until it has kept pace with the steady clock for a while.
/// Threads: the dispatcher's.
class ClockTrust {
public:
    using Steady = std::chrono::steady_clock;

    /// `known`: a wall-clock time that has come beyond doubt.
    void doubt(detail::Ms known, Steady::time_point now) noexcept {
        known_ = known;
        since_ = now;
    }

    /// What is past if the wall clock says `wall`: all that is earlier once it was watched for `watched`; before, what
    /// is no later than `beyond` after the time that is known, and what has passed since.
    [[nodiscard]] detail::Ms past(detail::Ms wall, Steady::time_point now, Duration watched,
                                  Duration beyond) const noexcept;

    [[nodiscard]] Steady::time_point sure_at(Duration watched) const noexcept {
        return saturating_add(since_, watched);
    }

private:
    detail::Ms known_{};
    Steady::time_point since_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/clock_watch.ipp>
#endif
