// SPDX-License-Identifier: MIT
#pragma once
// The current attempt, as its processor sees it.

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include <backlite/fwd.hpp>
#include <backlite/id.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Why an attempt is asked to stop.
enum class StopReason {
    none,        ///< it is not
    timeout,     ///< its queue's timeout has passed
    stopping,    ///< the client stops, and will not wait longer
    claim_lost,  ///< the claim was taken back; whatever the attempt returns changes nothing
    cancelled,   ///< somebody cancelled the task; it ends so, unless it succeeds all the same
};

[[nodiscard]] constexpr std::string_view to_string(StopReason reason) noexcept {
    switch (reason) {
        case StopReason::timeout: return "timeout";
        case StopReason::stopping: return "stopping";
        case StopReason::claim_lost: return "claim lost";
        case StopReason::cancelled: return "cancelled";
        case StopReason::none: break;
    }
    return "none";
}

namespace detail {

/// The stop token of one attempt, and why it fired. Only the first reason counts.
/// Threads: any.
class StopSignal {
public:
    /// True if this call was the first. Runs the token's callbacks on this thread: call it without a lock.
    bool fire(StopReason reason) noexcept;

    [[nodiscard]] StopReason reason() const noexcept { return reason_.load(); }
    [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }

    /// A place in a list of those that are to be fired, which so needs no memory. For whoever keeps the list: a signal
    /// is in one at most.
    struct Place {
        std::shared_ptr<StopSignal> next{};
        StopReason reason = StopReason::none;  ///< none: it is in no list
    };
    [[nodiscard]] Place& place() noexcept { return place_; }

private:
    Place place_{};
    std::stop_source source_{};
    std::atomic<StopReason> reason_{StopReason::none};
};

}  // namespace detail

/// One attempt at one task. Lives as long as the processor's call.
/// Threads: its functions may be called from any thread that the processor hands it to.
class Context {
public:
    /// What the library fills in.
    struct Attempt {
        const std::weak_ptr<engine::Engine>& engine;
        const TaskId& task_id;
        const std::string& queue;
        int attempt;
        int max_attempts;
        const detail::StopSignal& stop;
        std::optional<std::chrono::steady_clock::time_point> deadline;
        int priority = 0;
    };

    /// For the library, and for tests of processors.
    explicit Context(Attempt attempt) : attempt_(std::move(attempt)) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    /// A handle on the client that runs the task, for adding more. It works as long as the attempt runs, also after the
    /// client was destroyed inside a task of its own. Its header is <backlite/client_handle.hpp>.
    /// Errors: UsageError in a test of a processor that gives it no client.
    [[nodiscard]] ClientHandle client() const;

    /// The same over all attempts: use it as idempotency key.
    [[nodiscard]] const TaskId& task_id() const noexcept { return attempt_.task_id; }

    /// The name of the task's queue.
    [[nodiscard]] const std::string& queue() const noexcept { return attempt_.queue; }

    /// The number of this attempt, from 1: attempts spent before, plus one. A crash or a snooze spends none.
    [[nodiscard]] int attempt() const noexcept { return attempt_.attempt; }

    /// The task's priority: as it was added with, -1000 to 1000, whatever it has gained since by ageing.
    [[nodiscard]] int priority() const noexcept { return attempt_.priority; }

    /// How many attempts the queue allows.
    [[nodiscard]] int max_attempts() const noexcept { return attempt_.max_attempts; }

    /// Fires at the timeout, at a hard stop, when a stop's deadline has passed, and when the claim is lost.
    /// A `std::stop_callback` on it runs on a thread of the library: keep it short. One that throws ends the process,
    /// by the standard's rule ([stopcallback.cons]).
    [[nodiscard]] std::stop_token stop_token() const noexcept { return attempt_.stop.token(); }

    /// Why the token fired.
    [[nodiscard]] StopReason stop_reason() const noexcept { return attempt_.stop.reason(); }

    /// When the timeout fires the token; nullopt: the queue has none.
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept {
        return attempt_.deadline;
    }

private:
    Attempt attempt_;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/context.ipp>
#endif
