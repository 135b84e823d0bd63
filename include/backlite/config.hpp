// SPDX-License-Identifier: MIT
#pragma once
// Configuration of queues and clients. Aggregates: name only the fields that differ from their defaults.
// The order of the fields is part of the interface.

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/logger.hpp>
#include <backlite/outcome.hpp>
#include <backlite/unique.hpp>

namespace SQLite {
class Database;
}

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// How a backoff grows from attempt to attempt.
struct ExponentialBackoff {
    Duration initial = std::chrono::seconds{1};  ///< the wait after the first failure
    double factor = 2.0;                         ///< each wait is this many times the one before; at least 1
    Duration max = std::chrono::hours{1};        ///< no wait is longer, jitter included
    double jitter = 0.1;                         ///< 0 to 1: each wait is spread by up to this share, both ways
};

/// How long a failed task waits before its next attempt.
class Backoff {
public:
    /// No wait.
    Backoff() = default;

    /// The same wait each time; any chrono duration converts, rounded up to milliseconds.
    template <class Rep, class Period>
    Backoff(std::chrono::duration<Rep, Period> fixed)  // NOLINT(google-explicit-constructor): `.backoff = 5s`
        : fixed_(to_duration(fixed)) {}

    /// Each wait is longer than the one before, by the rule. Errors: none here; a rule that cannot work is a
    /// ConfigError when the queue is registered or first added to.
    [[nodiscard]] static Backoff exponential(ExponentialBackoff rule);

    /// `wait` gets the number of the attempt that failed, from 1, and returns the wait. It runs on worker threads,
    /// several at once. If it throws or returns a negative time, the task waits one second.
    [[nodiscard]] static Backoff custom(std::function<Duration(int attempt)> wait);

    /// The wait after attempt number `attempt` (from 1) failed. `random` spreads an exponential wait.
    /// Errors: what a custom function throws; std::bad_function_call if it is empty.
    [[nodiscard]] Duration delay(int attempt, std::uint64_t random = 0) const;

    /// Errors: ConfigError naming the value that cannot work.
    void validate(const std::string& queue) const;

private:
    enum class Kind { fixed, exponential, custom };

    // Of the rules the one that `kind_` names counts. No std::variant: its copies and moves would be instantiated in
    // every file that includes this.
    Kind kind_ = Kind::fixed;
    Duration fixed_{};
    ExponentialBackoff rule_{};
    std::function<Duration(int)> custom_{};
};

/// Which finished tasks keep their payload.
struct RetainData {
    bool only_failed = false;  ///< true: only tasks that failed for good
};

/// Which finished tasks are kept, and for how long.
struct Retention {
    Duration duration{};               ///< how long; zero: for ever
    bool only_failed = false;          ///< true: tasks that succeeded vanish
    std::optional<RetainData> data{};  ///< nullopt: the payload is not kept
};

/// The bounds of priorities.
inline constexpr int least_priority = -1000;
inline constexpr int most_priority = 1000;

/// How many tasks may start in a stretch of time. Counts starts, whatever comes of them: a retry is another one.
struct Rate {
    int count = 0;      ///< so many starts in each `period`; zero, with a period of zero: no rate
    Duration period{};  ///< above zero, where `count` is
    int burst = 0;      ///< so many at once after a pause; zero: as many as `count`

    /// Whether there is one.
    [[nodiscard]] bool any() const noexcept { return count > 0; }

    /// Equal in all fields.
    friend bool operator==(const Rate&, const Rate&) noexcept = default;
};

/// What bounds the tasks of a queue that are claimed at once, or start in a stretch of time. Zero: no bound. Over all
/// clients of the file, but for `running_per_client`. Tasks of a limited queue are not claimed ahead.
struct Limits {
    int running = 0;                ///< tasks of the queue that are claimed at once
    int running_per_partition = 0;  ///< the same of each partition; tasks without one share the partition ""
    int running_per_client = 0;     ///< the same, of each client
    /// Within a partition one task at a time, by age: the order in which they were added, or became due. Priority does
    /// not count. One that waits for a retry or a snooze keeps its turn, so the others wait for it.
    bool in_order = false;
    Rate rate{};                ///< of the queue
    Rate rate_per_partition{};  ///< of each partition

    /// Whether there is any.
    [[nodiscard]] bool any() const noexcept { return by_queue() || by_partition(); }
    /// Whether there is one that all tasks of the queue share.
    [[nodiscard]] bool by_queue() const noexcept { return running > 0 || running_per_client > 0 || rate.any(); }
    /// Whether there is one that the tasks of a partition share.
    [[nodiscard]] bool by_partition() const noexcept { return turns() > 0 || rate_per_partition.any(); }
    /// How many tasks of a partition may be claimed at once; zero: any number.
    [[nodiscard]] int turns() const noexcept { return in_order ? 1 : running_per_partition; }

    /// Errors: ConfigError naming the queue, the field and its value.
    void validate(const std::string& queue) const;

    /// Equal in all fields.
    friend bool operator==(const Limits&, const Limits&) noexcept = default;
};

/// The most that a bound of waiting tasks may be.
inline constexpr std::uint64_t most_waiting = 1'000'000'000'000;

/// What becomes of an add for which a bounded queue has no room.
enum class Overflow {
    reject,       ///< `save` throws QueueFullError, and adds nothing
    drop_oldest,  ///< those that have waited longest end as cancelled, as many as the new ones need
    wait,         ///< `save` waits for room, for as long as it takes or until its `stop_token` fires
};

/// Configuration of one queue.
struct QueueConfig {
    std::string name{};                    ///< required; unique in a client; stored with each task
    int max_attempts = 1;                  ///< at least 1: how many attempts may fail before the task fails for good
    Duration timeout{};                    ///< per attempt, until its stop token fires; zero: none
    Backoff backoff{};                     ///< the wait between attempts
    std::optional<Retention> retention{};  ///< nullopt: finished tasks vanish
    int max_crashes = 3;  ///< at least 1: process deaths inside the processor before the task fails for good
    int priority = 0;     ///< -1000 to 1000, higher first; of tasks that are added without one of their own
    Unique unique{};      ///< whether tasks have keys, and what becomes of a second one; default: they have none
    Limits limits{};      ///< how many may run at once, and how often they start; default: no bound
    /// Counted once, from the time when a task is due first: if it has not started by then, it never does, and ends as
    /// expired. Zero: never; of tasks that are added without an expiry of their own.
    Duration expires_after{};
    /// How many unfinished tasks of the queue may not be running: those that wait, are scheduled, held, or are to be
    /// retried, whoever added them. An add never passes it; a task that comes back may. It is looked at in the add's
    /// own write transaction, so it holds for all programs on the file that say the same. Zero: no bound.
    std::size_t max_waiting = 0;
    Overflow overflow = Overflow::reject;  ///< what becomes of an add that would pass it

    /// Errors: ConfigError naming the queue and the value.
    void validate() const;
};

namespace detail {

/// The most bytes of a partition's name.
inline constexpr std::size_t longest_partition = 1024;

/// Errors: UsageError naming the queue if the name is longer than that, holds a NUL or is not UTF-8.
void check_partition(std::string_view partition, std::string_view queue);

}  // namespace detail

/// What a commit survives.
enum class Durability {
    full,     ///< a power cut: every commit is synced
    process,  ///< the death of the process; a power cut may undo the last commits, never damage the file
};

/// What a middleware calls to go on: the next one, and in the end the task itself. Gives its outcome, or throws what it
/// threw. Valid until the middleware returns, on its thread.
using Next = std::function<Outcome()>;

/// Code around each attempt of every queue of a client, on the worker's thread: `return next();` somewhere in it. What
/// it returns is the attempt's outcome, and what it throws a failed attempt, as if the processor had done so. It may
/// call `next` several times, or never: then the processor does not run. The payload is read inside the innermost
/// `next`, which throws what reading threw; an attempt whose payload cannot be read has failed, whatever a middleware
/// makes of that. A queue's timeout counts from before the outermost one.
/// Threads: called from several workers at once.
using Middleware = std::function<Outcome(Context& context, const Next& next)>;

/// The number of hardware threads, at least 1.
[[nodiscard]] inline unsigned default_workers() noexcept {
    const unsigned threads = std::thread::hardware_concurrency();
    return threads == 0 ? 1 : threads;
}

/// What is done about tasks that run on after their timeouts: a thread cannot be killed. Each is logged once, as `task
/// ignores its timeout`, and told to observers.
struct StuckTasks {
    Duration after = std::chrono::seconds{10};  ///< how long after its timeout a task counts as stuck
    /// Whether another worker starts for each one that is stuck, at most as many as `num_workers`, until its task has
    /// ended: so that tasks which hang do not use up the pool. The stuck ones go on beside them.
    bool replace_worker = false;
};

/// Configuration of one client. Durations are limited to 100 years.
struct ClientConfig {
    /// The database's file name; required. Created if missing, in a folder that exists. No ":memory:", no "file:" URI.
    std::string database{};
    /// Receives events; null: silent.
    std::shared_ptr<Logger> logger{};
    /// How many tasks run at once: 1 to 1,024.
    unsigned num_workers = default_workers();
    /// How long a claim may go without a sign of life before other clients take it back; above zero.
    /// A living client gives such signs however long its tasks run.
    Duration release_after = std::chrono::minutes{10};
    /// How often expired completed tasks are deleted, first at start; zero: never.
    Duration cleanup_interval = std::chrono::hours{1};
    /// What a commit of this client survives.
    Durability durability = Durability::full;
    /// How long a write waits for another process's lock before it throws BusyError.
    Duration busy_timeout = std::chrono::seconds{5};
    /// How often the client looks for others' commits where file events do not exist; zero: once a second.
    Duration watch_interval = std::chrono::milliseconds{15};
    /// The most bytes of JSON a task may have: `save()` refuses a larger one, and one that another program wrote fails.
    std::size_t max_payload = std::size_t{64} << 20;
    /// Whether the constructor creates or migrates the tables; otherwise call `Client::install`.
    bool auto_install = true;
    /// Opens one connection to `database`; called once for each connection the client needs. For keys, a VFS, pragmas.
    /// Empty: the library opens the file itself.
    std::function<SQLite::Database()> open{};
    /// Null: the real clocks.
    std::shared_ptr<Clock> clock{};
    /// Called once, on a thread of the client or of a caller, when the client stopped itself: the file is corrupt,
    /// moved or read-only, its log or shared memory was deleted, or a sync failed. What it throws is swallowed.
    std::function<void(const Error&)> on_fatal{};
    /// Each is told of every event (<backlite/event.hpp>) of this client, on one thread of its own, after the commit
    /// that makes it true, and at most once; none may be empty. They may take their time: when 16,384 events wait,
    /// further ones are dropped and counted. What they throw is swallowed.
    std::vector<std::function<void(const Event&)>> observers{};
    /// Surrounds each attempt, the first one outermost; none may be empty. A task that fails without an attempt (it has
    /// crashed too often, or is too large) passes none.
    std::vector<Middleware> around{};
    /// What is done about tasks that ignore their timeouts.
    StuckTasks stuck{};
    /// How long a task must have been due to count as one priority higher, so that tasks of low priority do not starve.
    /// Zero: it never does, and of two due tasks the one of the higher priority always starts first.
    Duration ageing = std::chrono::seconds{60};
    /// Accepts a file system that is not known to be local. Its locks must reach everybody who uses the file; those of
    /// network file systems do not.
    bool trust_file_system = false;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/config.ipp>
#endif
