// SPDX-License-Identifier: MIT
#pragma once
// A clock that moves only when a test says so.

#include <atomic>
#include <chrono>
#include <cstdint>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace testing {

/// Both clocks stand still until they are moved. A client that sleeps notices a move within one second; call
/// `Client::notify` to make it look at once.
/// Threads: any.
class ManualClock final : public Clock {
public:
    /// Starts at a wall-clock time, by default 2020-01-01 UTC.
    explicit ManualClock(TimePoint start = TimePoint{std::chrono::hours{24 * 18'262}}) noexcept
        : wall_ns_(ns(start.time_since_epoch())) {}

    /// Time passes on both clocks.
    void advance(Duration duration) noexcept {
        wall_ns_ += ns(duration);
        steady_ns_ += ns(duration);
    }

    /// The wall clock is set, forwards or back; no time passes.
    void jump(Duration duration) noexcept { wall_ns_ += ns(duration); }

    /// The machine sleeps for so long: the wall clock goes on, the steady clock does not.
    void suspend(Duration duration) noexcept {
        suspended_ms_ += duration.count();
        wall_ns_ += ns(duration);
    }

    [[nodiscard]] Duration suspended() const noexcept override { return Duration{suspended_ms_.load()}; }
    [[nodiscard]] TimePoint now() const noexcept override {
        return TimePoint{std::chrono::duration_cast<TimePoint::duration>(std::chrono::nanoseconds{wall_ns_.load()})};
    }
    [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const noexcept override {
        return std::chrono::steady_clock::time_point{std::chrono::nanoseconds{steady_ns_.load()}};
    }

private:
    template <class D>
    static std::int64_t ns(D duration) noexcept {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
    }

    std::atomic<std::int64_t> wall_ns_;
    std::atomic<std::int64_t> suspended_ms_{0};
    std::atomic<std::int64_t> steady_ns_{3'600'000'000'000};  // not zero, as no machine's is
};

}  // namespace testing
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
