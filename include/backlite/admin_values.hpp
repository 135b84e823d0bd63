// SPDX-License-Identifier: MIT
#pragma once
// What Admin is asked for and what it answers: filters, pages, tasks, queues. Values, without a file behind them.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Where a task stands, finer than TaskStatus.
enum class TaskState {
    any,        ///< in a filter: all of the others
    waiting,    ///< due, not claimed
    scheduled,  ///< due later, not started yet
    retrying,   ///< due later, after a failed attempt
    held,       ///< may not be claimed yet for a reason of its own, see Blocker
    running,    ///< claimed by a client
    succeeded,  ///< done, and kept
    failed,     ///< failed for good, and kept
    cancelled,  ///< ended by a cancel, and kept
    expired,    ///< not started in time, and kept
};

/// The name of a state, as above.
[[nodiscard]] std::string_view to_string(TaskState state) noexcept;

/// The state of that name; nullopt if there is none.
[[nodiscard]] std::optional<TaskState> task_state(std::string_view name) noexcept;

/// Which tasks: those for which all fields that are set hold. Empty fields narrow nothing.
struct TaskFilter {
    std::string queue{};               ///< exactly this one
    TaskState state = TaskState::any;  ///< in this state
    std::string tag{};                 ///< with this tag
    std::string text{};                ///< in id, error or payload; ASCII letters of either case; 10,000 bytes at most
    std::string id{};                  ///< the id, or how it begins
    std::optional<TimePoint> since{};  ///< finished at that time or later; unfinished ones: due then or later
    std::optional<TimePoint> until{};  ///< the same: at that time or earlier
    bool all = false;                  ///< an action on a filter without any of the above really means all tasks

    /// Whether nothing narrows it.
    [[nodiscard]] bool empty() const noexcept;
};

/// Where a list goes on. Only for the list that gave it: the same filter, perhaps another file state.
class PageToken {
public:
    /// A token from its text. Errors: ConfigError naming the text if no list gave it.
    [[nodiscard]] static PageToken parse(std::string_view text);

    /// Its text, to be handed to another process.
    [[nodiscard]] const std::string& str() const noexcept { return text_; }

    /// Equal if their texts are.
    friend bool operator==(const PageToken&, const PageToken&) = default;

private:
    explicit PageToken(std::string text) : text_(std::move(text)) {}

    std::string text_;
};

/// A part of a list.
struct Page {
    std::size_t limit = 50;            ///< so many tasks at most; from 1 to 10,000
    std::optional<PageToken> after{};  ///< it goes on there; nullopt: it begins
};

/// A task in a list.
struct TaskRow {
    TaskId id{};                                          ///< of one above 500 bytes only its beginning
    std::string queue{};                                  ///< its name
    TaskState state = TaskState::waiting;                 ///< never any
    int priority = 0;                                     ///< higher first
    TimePoint created{};                                  ///< when it was added
    std::optional<TimePoint> due{};                       ///< unfinished tasks
    std::optional<TimePoint> claimed{};                   ///< running tasks: since when
    std::optional<TimePoint> started{};                   ///< the last attempt
    std::optional<TimePoint> finished{};                  ///< finished tasks that ran
    std::optional<std::chrono::microseconds> duration{};  ///< of the last attempt, of finished tasks
    std::int64_t spent = 0;                               ///< attempts
    std::int64_t crashes = 0;                             ///< process deaths inside the processor
    std::string error{};  ///< of the last failed attempt: its first 300 bytes, in TaskDetails all of it
};

/// One page of a list.
struct TaskPage {
    std::vector<TaskRow> tasks{};  ///< in the order of the list
    /// Where the list goes on; nullopt: that was all. A look through many rows is cut after about 40 ms: then there
    /// may be fewer tasks than asked for, or none, and still a next page.
    std::optional<PageToken> next{};
};

/// Why a task that is due is not claimed.
enum class Blocker {
    paused,     ///< its queue is paused
    limit,      ///< as many of its queue run as may
    rate,       ///< as many of its queue have started as may, for now
    partition,  ///< it waits for the turn of its partition
    parents,    ///< it waits for tasks that must end first
    by_hand,    ///< it is held by hand
    twin,       ///< it waits for the end of a task with the same unique key
    no_client,  ///< no client that is started lives on the file
};

/// A sentence's half: "its queue is paused".
[[nodiscard]] std::string_view to_string(Blocker blocker) noexcept;

/// An attempt that has ended.
struct AttemptRecord {
    std::int64_t number = 0;               ///< from 1; a task that went back by `retry` begins at 1 again
    TimePoint started{};                   ///< when its processor was called
    std::chrono::microseconds duration{};  ///< how long that took
    std::string error{};                   ///< empty: it did not fail
    std::string host{};                    ///< where it ran; empty: not known
    std::int64_t pid = 0;                  ///< of its process; 0: not known
};

/// A value that a task keeps between its attempts, as JSON.
struct SavedValue {
    std::string name{};   ///< its key
    std::string value{};  ///< JSON
};

/// What a step of a flow has come to.
enum class StepState {
    returned,   ///< it is over: of a wait, a signal was read; of a map, all tasks have ended
    failed,     ///< for good
    retrying,   ///< it has failed, and waits for its next attempt
    sleeping,   ///< until its time
    waiting,    ///< for a signal, until its time
    timed_out,  ///< no signal came in time
    joining,    ///< its tasks have not all ended, or are not all added
    unreadable  ///< what is written down is none of these
};

/// The name of a state, as above, with a space.
[[nodiscard]] std::string_view to_string(StepState state) noexcept;

/// What a flow has written down of one of its steps. A step that runs, and has not failed before, is none of them.
struct StepRecord {
    std::string kind{};                     ///< the function of Flow: step (tx too), sleep, wait, map or undo
    std::string name{};                     ///< as the flow calls it
    int occurrence = 1;                     ///< which of those of that kind and name, from 1
    StepState state = StepState::returned;  ///< what it has come to
    std::string value{};                    ///< JSON: what it returned, or the signal; empty: nothing, or above 1 MiB
    std::string error{};                    ///< of its last attempt, if that failed
    std::int64_t failures = 0;              ///< attempts that failed, unless it is over
    std::int64_t tasks = 0;                 ///< of a map: how many
    TimePoint written{};                    ///< when that was written down
    std::optional<TimePoint> until{};       ///< retrying, sleeping, waiting: until then
};

/// A signal that a flow has not read yet.
struct UnreadSignal {
    std::string name{};   ///< of the signal
    std::string value{};  ///< JSON; empty: above 1 MiB
    TimePoint sent{};     ///< when
};

/// All that the file says of one task.
struct TaskDetails : TaskRow {
    std::optional<std::string> payload{};   ///< JSON; nullopt: it was not kept
    std::optional<std::string> result{};    ///< JSON; what its processor returned
    std::string unique_key{};               ///< empty: none
    std::string partition{};                ///< empty: none, or the empty one
    std::vector<std::string> tags{};        ///< in order
    std::string metadata{};                 ///< a JSON object; empty: none
    std::optional<TimePoint> expires{};     ///< not started by then, it ends as expired
    std::optional<TimePoint> kept_until{};  ///< finished tasks: deleted then; nullopt: never
    bool cancel_requested = false;          ///< it is claimed, and to end as cancelled
    std::optional<Progress> progress{};     ///< nullopt: it has said nothing
    std::vector<AttemptRecord> attempts{};  ///< that have ended, oldest first; a bounded number
    std::vector<SavedValue> saved{};        ///< by name, those of the task itself
    std::vector<TaskId> parents{};          ///< tasks that must end first
    std::vector<TaskId> children{};         ///< tasks that wait for it
    std::vector<Blocker> why{};             ///< why it does not run, though it is due
    std::vector<StepRecord> steps{};        ///< of a flow, in the order in which it came to them; the last 1,000
    std::vector<UnreadSignal> unread{};     ///< in the order in which they were sent; the first 1,000
};

/// A count that stops where going on would cost too much.
struct BoundedCount {
    std::uint64_t number = 0;  ///< counted
    bool more = false;         ///< there may be more

    /// Equal in both.
    friend bool operator==(const BoundedCount&, const BoundedCount&) = default;
};

/// One queue.
struct QueueInfo {
    std::string name{};                     ///< of the queue
    BoundedCount waiting{};                 ///< due, not claimed
    BoundedCount scheduled{};               ///< due later, retries among them
    BoundedCount retrying{};                ///< of those
    BoundedCount held{};                    ///< not claimed for reasons of their own
    BoundedCount running{};                 ///< claimed
    std::uint64_t succeeded = 0;            ///< in the last hour, kept or not
    std::uint64_t failed = 0;               ///< for good; the same
    std::optional<TimePoint> paused{};      ///< since when
    std::optional<TimePoint> oldest_due{};  ///< of the waiting
    std::optional<TimePoint> next_due{};    ///< of the scheduled
    std::optional<Limits> limits{};         ///< stored by Admin; nullopt: what the programs say holds
    std::vector<Blocker> why{};             ///< why tasks of it that are due do not run
};

/// A client that was started on the file, and has not been stopped.
struct ClientInfo {
    std::int64_t number = 0;   ///< never given twice on one file
    std::int64_t workers = 0;  ///< how many it has
    TimePoint started{};       ///< when
    std::optional<bool>
        alive{};  ///< false: it died, and no other client has taken its claims back yet; nullopt: not known
};

/// What an action did.
struct Affected {
    std::size_t count = 0;    ///< tasks that it changed
    std::size_t skipped = 0;  ///< tasks that it found and could not change

    /// Equal in both.
    friend bool operator==(const Affected&, const Affected&) = default;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin_values.ipp>
#endif
