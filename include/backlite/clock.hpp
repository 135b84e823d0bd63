// SPDX-License-Identifier: MIT
#pragma once
// The two clocks that the library reads, behind an interface so that tests can move them.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ratio>

#include <time.h>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// The library's unit of time: what is stored, and what configurations are written in.
using Duration = std::chrono::milliseconds;

/// A wall-clock time (UTC), stored in milliseconds since the epoch.
using TimePoint = std::chrono::system_clock::time_point;

/// Where the library gets its time from. Due times and stored times are wall clock; leases, timeouts and waits are
/// steady clock. Whatever these say, no wait lasts longer than one second before both are read again.
/// Threads: called from any thread at once. Must not throw.
class Clock {
public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    /// The wall clock.
    [[nodiscard]] virtual TimePoint now() const noexcept { return std::chrono::system_clock::now(); }
    /// The clock that nobody can set.
    [[nodiscard]] virtual std::chrono::steady_clock::time_point steady_now() const noexcept {
        return std::chrono::steady_clock::now();
    }
    /// How long the machine has been suspended since it booted: time that passed on the wall clock alone, although
    /// nobody set it.
    [[nodiscard]] virtual Duration suspended() const noexcept;
};

namespace detail {

/// For tests that show that nothing waits for the end of `longest_wait`: nobody else changes it.
inline constinit std::atomic<std::int64_t> longest_wait_ms{1'000};

/// How long a thread of the library sleeps at most before it looks again whether it has something to do: glibc 2.36 can
/// lose a signal (bug 25847), and the clocks may jump. Nothing else may depend on it.
[[nodiscard]] inline Duration longest_wait() noexcept {
    return Duration{longest_wait_ms.load(std::memory_order_relaxed)};
}

}  // namespace detail

/// Any chrono duration in the library's unit, rounded up, but never from below zero to zero. One that is longer than
/// the unit can hold, or no number, becomes the longest; the caller decides whether that is an error.
template <class Rep, class Period>
[[nodiscard]] constexpr Duration to_duration(std::chrono::duration<Rep, Period> duration) noexcept {
    const auto ms = std::chrono::duration<long double, std::milli>(duration).count();
    constexpr auto most = static_cast<long double>((Duration::max)().count());
    if (!(ms < most)) return (Duration::max)();
    if (ms <= -most) return (Duration::min)();
    const Duration rounded = std::chrono::ceil<Duration>(duration);
    return ms < 0 && rounded == Duration::zero() ? Duration{-1} : rounded;
}

/// `start + duration` on the steady clock, held inside its range.
[[nodiscard]] std::chrono::steady_clock::time_point saturating_add(std::chrono::steady_clock::time_point start,
                                                                   Duration duration) noexcept;

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/clock.ipp>
#endif
