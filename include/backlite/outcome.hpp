// SPDX-License-Identifier: MIT
#pragma once
// What a processor may return.

#include <string>
#include <utility>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// How an attempt ended, as its processor decides. Returning nothing is success, throwing is `retry`.
class Outcome {
public:
    /// Which of them it is.
    enum class Kind { success, retry, retry_in, snooze, discard };

    /// The task is done.
    [[nodiscard]] static Outcome success() { return Outcome{Kind::success, {}, {}}; }

    /// The attempt failed: again after the queue's backoff while attempts remain, else failed for good.
    [[nodiscard]] static Outcome retry(std::string reason) { return Outcome{Kind::retry, std::move(reason), {}}; }

    /// The same, with a wait of its own. A negative wait counts as none.
    [[nodiscard]] static Outcome retry_in(Duration wait, std::string reason) {
        return Outcome{Kind::retry_in, std::move(reason), wait};
    }

    /// Not now: again after `wait`. Spends no attempt. A negative wait counts as none.
    [[nodiscard]] static Outcome snooze(Duration wait) { return Outcome{Kind::snooze, {}, wait}; }

    /// The task failed for good, whatever attempts remain.
    [[nodiscard]] static Outcome discard(std::string reason) { return Outcome{Kind::discard, std::move(reason), {}}; }

    /// Which of them it is.
    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    /// Why; empty for success and snooze.
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    /// How long until the next attempt, at least zero; for retry_in and snooze.
    [[nodiscard]] Duration wait() const noexcept { return wait_ < Duration::zero() ? Duration::zero() : wait_; }

private:
    Outcome(Kind kind, std::string reason, Duration wait) : kind_(kind), reason_(std::move(reason)), wait_(wait) {}

    Kind kind_;
    std::string reason_;
    Duration wait_;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
