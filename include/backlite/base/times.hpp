// SPDX-License-Identifier: MIT
#pragma once
// Times and durations as they are stored.

#include <chrono>
#include <compare>
#include <cstdint>
#include <limits>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

inline constexpr std::int64_t least_number = (std::numeric_limits<std::int64_t>::min)();
inline constexpr std::int64_t most_number = (std::numeric_limits<std::int64_t>::max)();

/// `a + b` and `a - b`, held inside the range of the type instead of overflowing.
[[nodiscard]] constexpr std::int64_t saturating_sum(std::int64_t a, std::int64_t b) noexcept {
    if (b > 0 && a > most_number - b) return most_number;
    if (b < 0 && a < least_number - b) return least_number;
    return a + b;
}
[[nodiscard]] constexpr std::int64_t saturating_difference(std::int64_t a, std::int64_t b) noexcept {
    if (b < 0 && a > most_number + b) return most_number;
    if (b > 0 && a < least_number + b) return least_number;
    return a - b;
}

/// A point in time: whole units since the epoch (UTC). Rows of others may hold any number, so arithmetic stops at the
/// ends of the type. A std::chrono::time_point would overflow there, also unseen on its way to TimePoint, which counts
/// nanoseconds. How long something lasts is a std::chrono duration: sums of those stay far from their ends.
template <class Unit>
class StoredTime {
public:
    constexpr StoredTime() noexcept = default;
    constexpr explicit StoredTime(std::int64_t count) noexcept : count_(count) {}

    [[nodiscard]] static constexpr StoredTime earliest() noexcept { return StoredTime{least_number}; }
    [[nodiscard]] static constexpr StoredTime latest() noexcept { return StoredTime{most_number}; }

    /// The bare number, for SQL, JSON and text.
    [[nodiscard]] constexpr std::int64_t count() const noexcept { return count_; }

    friend constexpr bool operator==(StoredTime, StoredTime) noexcept = default;
    friend constexpr auto operator<=>(StoredTime, StoredTime) noexcept = default;

    friend constexpr StoredTime operator+(StoredTime time, Unit length) noexcept {
        return StoredTime{saturating_sum(time.count_, length.count())};
    }
    friend constexpr StoredTime operator-(StoredTime time, Unit length) noexcept {
        return StoredTime{saturating_difference(time.count_, length.count())};
    }
    friend constexpr Unit operator-(StoredTime later, StoredTime sooner) noexcept {
        return Unit{saturating_difference(later.count_, sooner.count_)};
    }
    /// How much of a step of that length is over, if a step began at the epoch; negative before that.
    friend constexpr Unit operator%(StoredTime time, Unit step) noexcept { return Unit{time.count_ % step.count()}; }

private:
    std::int64_t count_ = 0;
};

/// A time as rows hold it.
using Ms = StoredTime<Duration>;

/// The minutes of the statistics.
using Minute = StoredTime<std::chrono::minutes>;

/// How long an attempt took, as rows hold it.
using Us = std::chrono::microseconds;

/// Rounded down: what has happened, and what the time is.
[[nodiscard]] inline Ms to_ms(TimePoint time) noexcept {
    return Ms{std::chrono::floor<Duration>(time.time_since_epoch()).count()};
}

/// Rounded up: when something may happen, so that it never does too early.
template <class Unit>
[[nodiscard]] constexpr Ms to_due_ms(std::chrono::time_point<std::chrono::system_clock, Unit> time) noexcept {
    return Ms{to_duration(time.time_since_epoch()).count()};
}

/// The same time, held inside what TimePoint can express.
[[nodiscard]] TimePoint from_ms(Ms time) noexcept;

/// When what waits so long from `now` on is due: never too early, and now if it does not wait at all.
[[nodiscard]] inline Ms due_after(TimePoint now, Duration wait) noexcept {
    return wait == Duration::zero() ? to_ms(now) : to_due_ms(now) + wait;
}

/// The minute that a time is in, and when a minute begins.
[[nodiscard]] constexpr Minute minute_of(Ms time) noexcept {
    return Minute{time.count() / 60'000 - (time.count() % 60'000 < 0 ? 1 : 0)};
}
[[nodiscard]] constexpr Ms start_of(Minute minute) noexcept {
    return Ms{} + to_duration(std::chrono::minutes{minute.count()});
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/base/times.ipp>
#endif
