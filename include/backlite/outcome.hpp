// SPDX-License-Identifier: MIT
#pragma once
// Outcome: what a processor may return.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <backlite/base/json.hpp>
#include <backlite/clock.hpp>
#include <backlite/fwd.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// How an attempt ended, as its processor decides. Returning nothing is success, throwing is `retry`.
class Outcome {
public:
    /// The kinds of outcome.
    enum class Kind { success, retry, retry_in, snooze, discard, rate_limited };

    /// The task is done.
    [[nodiscard]] static Outcome success() { return Outcome{Kind::success, {}, {}}; }

    /// The same, with a result: see `ClientHandle::result`. It is kept if the task's row is. `value`: of the task's
    /// `Result`, or of another type with the same JSON.
    /// Errors: EncodeError if it cannot be written as JSON; let out of the processor, it fails the attempt.
    template <class R>
    [[nodiscard]] static Outcome success(const R& value) {
        static_assert(detail::Fieldless<R> || detail::WritableAs<R, detail::JsonOf<R>>,
                      "backlite: this result cannot be written as JSON: give its type a to_json(nlohmann::json&, const "
                      "T&) in its own namespace");
        Outcome outcome{Kind::success, {}, {}};
        outcome.result_ = detail::encode_result(value);
        return outcome;
    }

    /// The attempt failed: again after the queue's backoff while attempts remain, else failed for good.
    [[nodiscard]] static Outcome retry(std::string reason) { return Outcome{Kind::retry, std::move(reason), {}}; }

    /// The same, with a wait of its own, of any unit. A negative wait counts as none.
    template <class Rep, class Period>
    [[nodiscard]] static Outcome retry_in(std::chrono::duration<Rep, Period> wait, std::string reason) {
        return Outcome{Kind::retry_in, std::move(reason), to_duration(wait)};
    }

    /// The same, not before `time`. One that has passed counts as now.
    [[nodiscard]] static Outcome retry_at(TimePoint time, std::string reason);

    /// Not now: again after `wait`, of any unit. Spends no attempt. A negative wait counts as none.
    /// For work that waits for something. Work that repeats is a task that adds its successor: a task that snoozes for
    /// ever never ends, so it is never counted, kept or retried, and one failure too many ends it.
    template <class Rep, class Period>
    [[nodiscard]] static Outcome snooze(std::chrono::duration<Rep, Period> wait) {
        return Outcome{Kind::snooze, {}, to_duration(wait)};
    }

    /// The same, not before `time`. One that has passed counts as now.
    [[nodiscard]] static Outcome snooze_until(TimePoint time);

    /// Somebody says that there is too much of it (HTTP 429): this task again after `wait`, of any unit, and until then
    /// none of its partition starts; where it has none, none of its queue. Holds for all clients of the file, and over
    /// restarts; what runs goes on. Spends no attempt. A negative wait counts as none.
    template <class Rep, class Period>
    [[nodiscard]] static Outcome rate_limited(std::chrono::duration<Rep, Period> wait) {
        return Outcome{Kind::rate_limited, {}, to_duration(wait)};
    }

    /// The task failed for good, whatever attempts remain.
    [[nodiscard]] static Outcome discard(std::string reason) { return Outcome{Kind::discard, std::move(reason), {}}; }

    /// The kind of outcome.
    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    /// Why; empty for success and snooze, but of a flow that waits the name of the signal.
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    /// The JSON of the result that a success carries; empty: none.
    [[nodiscard]] const std::string& result() const noexcept { return result_; }
    /// The same, which it carries no longer.
    [[nodiscard]] std::string take_result() && noexcept { return std::move(result_); }
    /// How long until the next attempt, at least zero; for retry_in, snooze and rate_limited. Zero where a time was
    /// given.
    [[nodiscard]] Duration wait() const noexcept { return wait_ < Duration::zero() ? Duration::zero() : wait_; }
    /// Not before when; for retry_at and snooze_until.
    [[nodiscard]] std::optional<TimePoint> until() const noexcept { return until_; }

private:
    friend class Flow;
    friend class engine::FlowState;

    Outcome(Kind kind, std::string reason, Duration wait) : kind_(kind), reason_(std::move(reason)), wait_(wait) {}

    Kind kind_;
    std::string reason_;
    Duration wait_;
    std::optional<TimePoint> until_{};
    std::string result_{};
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/outcome.ipp>
#endif
