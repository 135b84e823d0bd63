// SPDX-License-Identifier: MIT
#pragma once
// When to look for commits of others.

#include <algorithm>
#include <chrono>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// At a steady interval, and after a hint several times with growing pauses: the file event comes with the first page
/// of a commit, before the commit can be seen: on a slow disk, long before. The series is not cut short by a find: a
/// second commit may be behind it.
/// Threads: the dispatcher's.
class LookSchedule {
public:
    using Steady = std::chrono::steady_clock;

    void hint(Steady::time_point now) noexcept {
        pause_ = first_pause;
        after_hint_ = now;
    }

    [[nodiscard]] bool due(Steady::time_point now) const noexcept { return now >= next(); }
    [[nodiscard]] Steady::time_point next() const noexcept { return (std::min)(after_hint_, regular_); }

    /// A look was taken; the next regular one comes after `interval`.
    void looked(Steady::time_point now, Duration interval) noexcept;

private:
    static constexpr std::chrono::microseconds first_pause{200};
    static constexpr std::chrono::microseconds last_pause{409'600};

    Steady::time_point regular_{};
    Steady::time_point after_hint_ = (Steady::time_point::max)();
    std::chrono::microseconds pause_ = first_pause;
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/look_schedule.ipp>
#endif
