// SPDX-License-Identifier: MIT
#pragma once
// Notices when somebody sets the wall clock.

#include <chrono>
#include <cstdint>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace runtime {

/// Compares the two clocks from look to look. Threads: the dispatcher's.
class ClockWatch {
public:
    explicit ClockWatch(const Clock& clock) noexcept : clock_(clock), offset_(offset()) {}

    /// How far the wall clock was set since the last call, negative for back; zero for less than a second, which is how
    /// clocks are kept right.
    [[nodiscard]] Duration jump() noexcept {
        const Duration now = offset();
        const Duration jumped = now - offset_;
        if (jumped > -tolerance && jumped < tolerance) return Duration::zero();
        offset_ = now;
        return jumped;
    }

private:
    static constexpr Duration tolerance = std::chrono::seconds{1};

    [[nodiscard]] Duration offset() const noexcept {
        const auto steady = clock_.steady_now().time_since_epoch();
        return Duration{to_ms(clock_.now())} - std::chrono::floor<Duration>(steady);
    }

    const Clock& clock_;
    Duration offset_;
};

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
