// SPDX-License-Identifier: MIT
#pragma once
// May a due task start now, beside those that run? One answer for every store's claim and for the hand-off.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <backlite/base/times.hpp>
#include <backlite/config.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

enum class Admission {
    yes,
    waits_for_crashed,  ///< until no task runs that it must not run beside
    waits_for_worker,   ///< it is claimed for a worker that is free, never ahead
};

/// What runs in this client, or was claimed to.
struct Neighbours {
    std::size_t free_workers = 0;
    bool crashed = false;      ///< a task that has crashed a process
    bool last_chance = false;  ///< one of those that may crash only once more
};

/// A task has crashed processes so many times; at `max_crashes` it fails without running. When a process dies, each
/// task that ran in it is charged. So a task that can bear no further crash runs beside none that is suspected of them.
[[nodiscard]] constexpr Admission admission(std::int64_t crashes, int max_crashes, const Neighbours& beside) noexcept {
    const bool suspect = crashes > 0 && crashes < max_crashes;
    const bool last_chance = crashes == max_crashes - 1;
    if (last_chance && beside.crashed) return Admission::waits_for_crashed;
    if (suspect && beside.last_chance) return Admission::waits_for_crashed;
    if (suspect && beside.free_workers == 0) return Admission::waits_for_worker;
    return Admission::yes;
}

/// Whether a new task may be handed to a worker past the claim, which alone counts what runs.
[[nodiscard]] inline bool may_be_handed_off(const Limits& limits) noexcept { return !limits.any(); }

/// How a rate is kept in one number: the time until which what has started has used it up, in microseconds since the
/// epoch (the theoretical arrival time of GCRA). Where the rate cannot have moved it so far, the clock was set back:
/// then one may start.
class RateCount {
public:
    /// `used_until`: as it is stored.
    constexpr RateCount(const Rate& rate, std::int64_t used_until, detail::Ms now) noexcept
        : now_(in_us(now)), share_(share_of(rate)), slack_(slack_of(rate)) {
        used_until_ = used_until > now_ + slack_ ? now_ + slack_ - share_ : (std::max)(used_until, now_);
    }

    /// How many may start now.
    [[nodiscard]] constexpr std::int64_t room() const noexcept { return (now_ + slack_ - used_until_) / share_; }

    /// So many have started. REQUIRES: no more than there is room for.
    constexpr void started(std::int64_t tasks) noexcept { used_until_ += tasks * share_; }

    /// What is to be stored.
    [[nodiscard]] constexpr std::int64_t used_until() const noexcept { return used_until_; }

    /// When the next one may start; in the past if it may now.
    [[nodiscard]] constexpr detail::Ms opens() const noexcept {
        const std::int64_t at = used_until_ + share_ - slack_;
        return detail::Ms{at <= 0 ? at / 1000 : (at - 1) / 1000 + 1};
    }

private:
    /// A quarter of the numbers there are: sums of two stay far from the end.
    static constexpr std::int64_t most = detail::most_number / 4;

    [[nodiscard]] static constexpr std::int64_t in_us(detail::Ms time) noexcept {
        return (std::clamp)(time.count(), -most / 1000, most / 1000) * 1000;
    }
    /// Rounded up, so that the rate is never passed.
    [[nodiscard]] static constexpr std::int64_t share_of(const Rate& rate) noexcept {
        const std::int64_t period = (std::clamp)(rate.period.count(), std::int64_t{1}, most / 1000) * 1000;
        const std::int64_t count = (std::max)(rate.count, 1);
        return (period - 1) / count + 1;
    }
    [[nodiscard]] static constexpr std::int64_t slack_of(const Rate& rate) noexcept {
        const std::int64_t share = share_of(rate);
        const std::int64_t burst = (std::max)(rate.burst > 0 ? rate.burst : rate.count, 1);
        return share * (std::clamp)(burst, std::int64_t{1}, (std::max)(most / share, std::int64_t{1}));
    }

    std::int64_t now_;
    std::int64_t share_;
    std::int64_t slack_;
    std::int64_t used_until_ = 0;
};

/// A queue or a partition that a task has closed for a time. Where a clock was set back since, it is open: what is
/// stored says how long it was meant to be.
[[nodiscard]] constexpr bool is_closed(detail::Ms until, Duration length, detail::Ms now) noexcept {
    return until > now && until - now <= length;
}

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
