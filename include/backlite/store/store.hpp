// SPDX-License-Identifier: MIT
#pragma once
// The boundary behind which a database stands: what a client asks of it. Each call is one transaction.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/admin_values.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/slots.hpp>

namespace SQLite {
class Database;
}

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

/// How many workers a client may have.
inline constexpr unsigned most_workers = 1024;

/// How many threads may be in processors of a client with so many workers: those that are stuck may be replaced.
[[nodiscard]] constexpr unsigned places_for(unsigned workers) noexcept {
    return workers > most_workers / 2 ? (std::max)(workers, most_workers) : 2 * workers;
}

/// How long a call may wait for its turn and for other processes' locks.
struct Patience {
    Duration busy_timeout{};
    std::stop_token stop{};
};

/// A connection of the host's; a store takes those of its own database.
struct HostConnection {
    SQLite::Database* sqlite = nullptr;
};

/// A write transaction on a connection of the host's. Its end rolls back unless it was committed.
/// Threads: those of its connection, one at a time; the thread that began it ends it.
class HostTransaction {
public:
    HostTransaction() = default;
    HostTransaction(const HostTransaction&) = delete;
    HostTransaction& operator=(const HostTransaction&) = delete;
    virtual ~HostTransaction() = default;

    /// Errors: StorageError; after an I/O error `added()` says unknown. Then it may still be open.
    virtual void commit() = 0;

    /// Ends it without effect if it is open. False if there is no memory even for that: then it is still open.
    [[nodiscard]] virtual bool roll_back() noexcept = 0;
};

/// Tells that somebody may have committed.
/// Threads: `wake` and `active` from any, also from a stop callback; the rest from one.
class CommitWatch {
public:
    CommitWatch() = default;
    CommitWatch(const CommitWatch&) = delete;
    CommitWatch& operator=(const CommitWatch&) = delete;
    virtual ~CommitWatch() = default;

    /// Whether commits are told of at all; otherwise they must be looked for.
    [[nodiscard]] virtual bool active() const noexcept = 0;

    /// Ends a wait. Lock-free.
    virtual void wake() noexcept = 0;

    /// Waits for a commit or for `wake`, at most `most`; whether somebody may have committed.
    [[nodiscard]] virtual bool wait(Duration most) noexcept = 0;

    /// Waits for `wake` alone, at most `time`.
    virtual void rest(Duration time) noexcept = 0;
};

/// A started client among the others: it says that it lives, notices who died, and takes back what they held. Its end
/// lets go of the claims as a death does.
/// Threads: one at a time (who starts, then the dispatcher); `number`, `entering` and `left` from any.
class Owner {
public:
    Owner() = default;
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    virtual ~Owner() = default;

    /// What claims name it by; never given twice.
    [[nodiscard]] virtual std::int64_t number() const noexcept = 0;

    /// The worker is about to call the processor with this task, or has come back from it: a death in between is a
    /// crash of that task.
    virtual void entering(std::size_t worker, const detail::ClaimedTask& task) noexcept = 0;
    virtual void left(std::size_t worker) noexcept = 0;

    /// What others may have changed since the last look, and who else is there. `heads`: what is known of the queues;
    /// `known`: whether to find `FileState::known`. Errors: StorageError, which is fatal if others take this client for
    /// dead.
    [[nodiscard]] virtual FileState read(std::vector<QueueHead> heads, bool known, const Patience& patience) = 0;

    [[nodiscard]] virtual bool others_known() const noexcept = 0;

    /// Whether one of the known others is found dead at this look, which costs a system call or two.
    [[nodiscard]] virtual bool someone_died() = 0;

    /// Gives back what dead owners hold; how many claims that were. Errors: StorageError; then nothing is given back.
    virtual int rescue(const Patience& patience) = 0;

    /// Looks at the leases of others, and gives back the claims of those that hang; how many that were.
    virtual int observe(const Patience& patience) = 0;

    /// Whatever it must do now and then so that nothing fails later. What fails is tried again by the next call.
    virtual void keep_room() noexcept = 0;

    /// Leaves the list of clients. REQUIRES: it holds no claim. Errors: StorageError; then it is still in the list.
    virtual void leave(const Patience& patience) = 0;

    /// The last call but for `left`. Who is still in the list then is dead to others, and rescued by them.
    virtual void let_go() noexcept = 0;
};

/// A task that has ended to make room for others.
struct DroppedTask {
    TaskId id{};
    std::string_view queue{};  ///< lives as long as the program
};

/// Tasks on their way into the file.
struct AddPlan {
    std::span<detail::NewTask> tasks{};
    detail::Ms now{};
    std::optional<detail::Ms> wait_until{};
    /// Statistics of earlier adds. Not null: these and the tasks themselves are counted.
    const std::vector<Tally>* count = nullptr;
    /// Asked in the transaction, perhaps several times; the last answer counts. The owner of a worker that takes the
    /// only task as soon as this is committed; nullopt: the tasks wait for their turn. `foreign_commits`: see Store.
    std::function<std::optional<std::int64_t>(std::uint64_t foreign_commits)> starter{};
    /// Not null: what became of tasks whose parents have not succeeded. Counts once it is committed.
    std::vector<EndedChild>* cancelled = nullptr;
    /// Not null: gets the tasks that were dropped from bounded queues, also if the add fails afterwards.
    std::vector<DroppedTask>* dropped = nullptr;

    /// Whether one of the tasks is for a bounded queue.
    [[nodiscard]] bool bounded() const noexcept {
        return std::any_of(tasks.begin(), tasks.end(), [](const auto& task) { return task.bounded != nullptr; });
    }
};

/// An unfinished task that nobody has claimed.
struct WaitingTask {
    TaskId id{};
    detail::Ms due{};
    std::int64_t attempts = 0;  ///< spent so far
    std::string payload{};
};

/// Where a task stands, and of one that has ended and is kept what is kept.
struct FoundTask {
    TaskStatus status = TaskStatus::not_found;
    std::string queue{};
    std::string error{};              ///< its first 4,096 characters
    std::string result{};             ///< JSON; empty: none
    std::size_t oversize_result = 0;  ///< above zero: the result has this many bytes, too many to be read
};

/// A task that is to end before its time.
struct CancelPlan {
    const TaskId& id;
    detail::Ms now{};
    /// Asked in the transaction, perhaps several times: how a task of this queue is kept.
    std::function<KeepRule(std::string_view queue)> keep{};
    /// Not null: the tasks that have ended with it, since they waited for it. Counts once it is committed.
    std::vector<EndedChild>* cancelled = nullptr;
};

/// Asked in a transaction, perhaps several times: makes something else of a schedule; whether it did.
using ScheduleChange = std::function<bool(std::optional<ScheduleRow>& row)>;

/// What Admin does to tasks.
enum class Change {
    cancel,        ///< unfinished ones end before their time
    retry,         ///< finished ones that did not succeed, and have their payload, wait again
    remove,        ///< all but claimed ones are deleted
    run_now,       ///< those that are due later are due
    set_priority,  ///< unfinished ones get another
};

/// Tasks, and what is done to each of them that still allows it.
struct ChangePlan {
    struct Task {
        TaskId id{};
        std::optional<bool> finished{};  ///< the row that is meant; nullopt: the unfinished one, if it has two
    };

    Change change = Change::cancel;
    std::span<const Task> tasks{};
    TaskState only = TaskState::any;  ///< those that are in another state by now are left alone
    detail::Ms now{};
    int priority = 0;
    /// Asked in the transaction, perhaps several times: how a task of this queue is kept.
    std::function<KeepRule(std::string_view queue)> keep{};
};

struct ChangeResult {
    std::size_t changed = 0;
    std::size_t skipped = 0;  ///< they are there, but not as they must be, or the database refused the change
    std::vector<EndedChild> cancelled{};  ///< those that waited, and have ended; with those that waited for them
};

/// What a cycle of the dispatcher writes and claims.
struct CycleRequest {
    const std::vector<EndedAttempt>& outcomes;
    const CyclePlan& plan;
    const std::vector<QueueHead>& heads;
    bool apart = false;  ///< each part by itself from the first: some were refused before
    /// Called in the transaction, perhaps several times: a last chance to fail. What it throws rolls back.
    std::function<void(const CycleResult&)> prepare{};
};

/// What was taken back from another client that died or hung.
struct Rescued {
    struct Task {
        std::string id{};
        std::string queue{};
    };

    int claims = 0;
    std::span<const Task> crashed{};  ///< those in whose processors that client died
};

/// What the rest of the client wants to hear of a store; called without a lock, outside of transactions. They must not
/// throw.
struct StoreHooks {
    std::function<void()> foreign_commit{};            ///< another connection has committed
    std::function<void(const StorageError&)> fatal{};  ///< the file cannot be used any more; called once
    std::function<void(const Rescued&)> rescued{};     ///< after the commit, once for each client
    /// Asked in transactions: how a task of this queue is kept that ends without success.
    std::function<KeepRule(std::string_view queue)> keep{};
    std::function<void()> room{};  ///< a commit of this store may have made room in a bounded queue
};

/// A database file with tasks, as one client uses it.
///
/// A call is one transaction: what it is to do comes in, what it found goes out once that is committed, and it may run
/// several times before it counts. Calls that arrive together may share a commit; one that fails takes down only
/// itself. A part of a cycle that the database refuses because of some row is left out and named in the result.
///
/// Errors of all calls that take a Patience, beside their own: BusyError when other processes kept the lock for
/// `busy_timeout`; Cancelled when the token fired first; FullError; StorageError. Nothing is in the file then, but see
/// `Error::added`. They block until the transaction is over.
/// Threads: any.
class Store {
public:
    Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    virtual ~Store() = default;

    /// Creates the tables, or brings them up to date. Errors: StorageError if they are not ours or need a newer
    /// library.
    virtual void install() = 0;

    /// Errors: StorageError if the tables are missing, older than ours, or need a newer library.
    virtual void check_tables(const Patience& patience) = 0;

    /// Where a statement has failed in a way that tables which are gone explain. Errors: CorruptError, also for all
    /// calls from now on, if they are.
    virtual void demand_tables(const Patience& patience) = 0;

    /// Joins the clients on the file, and rescues what dead ones hold. The store outlives the owner.
    /// Errors: ConfigError if there are more workers or clients than there is room for; FullError when the disk is.
    [[nodiscard]] virtual std::unique_ptr<Owner> join(const detail::SafeLogger& log, const Patience& patience) = 0;

    /// Errors: UsageError on a thread that has a HostTransaction open on the file, which it would wait for;
    /// QueueFullError, also for a queue whose adds wait for room.
    virtual void add(const AddPlan& plan, const Patience& patience) = 0;

    /// The same in the transaction that is open on a connection of the host's; `count` and `starter` are not used.
    /// Errors: ConfigError if that is on another file; UsageError if none is open; StorageError, also if the client has
    /// stopped itself. The host's transaction is as it was, or the message says that it was rolled back.
    virtual void add_within(HostConnection connection, const AddPlan& plan) = 0;

    /// Begins a write transaction on a connection of the host's. Errors: as above, but UsageError if one is open;
    /// BusyError after the client's `busy_timeout`. Blocks for that long at most.
    [[nodiscard]] virtual std::unique_ptr<HostTransaction> begin(HostConnection connection) = 0;

    /// Writes values of a claimed task, all or none, and counts its crashes anew. False: the claim is not held any
    /// more, and nothing is written. Errors: UsageError as `add`.
    [[nodiscard]] virtual bool save(const SavePlan& plan, const Patience& patience) = 0;

    /// The same in the transaction that is open on a connection of the host's. Errors: as `add_within`.
    [[nodiscard]] virtual bool save_within(HostConnection connection, const SavePlan& plan) = 0;

    /// The success of an attempt at a task of `queue` that was due at `due`, in the transaction that is open on a
    /// connection of the host's. False: the claim is not held any more, and nothing is written. Errors: as
    /// `add_within`.
    [[nodiscard]] virtual bool complete_within(HostConnection connection, std::string_view queue, detail::Ms due,
                                               const detail::AttemptResult& success) = 0;

    /// Keeps a value for an unfinished task until it reads it or ends; one that waits for it is due. Errors: UsageError
    /// as `add`.
    [[nodiscard]] virtual SignalResult signal(const SignalPlan& plan, const Patience& patience) = 0;

    /// Up to `limit` tasks that this one waits for, by their ids, behind `after`.
    [[nodiscard]] virtual std::vector<TaskId> parents_of(const TaskId& id, const std::string& after, int limit,
                                                         const Patience& patience) = 0;

    /// Up to `limit` values of a task, in the order of their names.
    [[nodiscard]] virtual std::vector<detail::SavedValue> saved(const TaskId& id, const NameRange& names,
                                                                std::size_t limit) = 0;

    /// Tags and metadata of a task, finished or not; empty if it has none or is not there.
    [[nodiscard]] virtual detail::TaskLabels labels(const TaskId& id) = 0;

    [[nodiscard]] virtual CycleResult cycle(const CycleRequest& request, const Patience& patience) = 0;

    /// Statistics that no other call has counted.
    virtual void count(const std::vector<Tally>& tallies, const Patience& patience) = 0;

    /// When the next kept task expires; nullopt: none does.
    [[nodiscard]] virtual std::optional<detail::Ms> next_expiry(const Patience& patience) = 0;

    /// Up to `limit` queues with waiting tasks that are not among `heads`, and since when the oldest is due.
    [[nodiscard]] virtual std::vector<std::pair<std::string, detail::Ms>> strays(const std::vector<QueueHead>& heads,
                                                                                 int limit,
                                                                                 const Patience& patience) = 0;

    /// Ends a task that waits; one that is claimed ends with the transaction that takes its claim away, unless that
    /// says success. Errors: UsageError as `add`.
    [[nodiscard]] virtual CancelResult cancel(const CancelPlan& plan, const Patience& patience) = 0;

    /// Changes tasks; those that are not there any more are not counted. Errors: UsageError as `add`.
    [[nodiscard]] virtual ChangeResult change(const ChangePlan& plan, const Patience& patience) = 0;

    /// Pauses a queue of whatever name, for all clients, or ends its pause. `since`: now; nullopt ends it.
    virtual void set_paused(std::string_view queue, std::optional<detail::Ms> since, const Patience& patience) = 0;

    /// Stores limits of a queue of whatever name, which hold for all clients in place of what their programs say;
    /// nullopt: those hold again. What runs goes on. REQUIRES: the limits are valid.
    virtual void set_limits(std::string_view queue, const std::optional<Limits>& limits, const Patience& patience) = 0;

    /// The limits that are stored; nullopt: none are. Errors: StorageError.
    [[nodiscard]] virtual std::optional<Limits> limits(std::string_view queue) = 0;

    /// A text that is kept in the file, for signing what is handed out: `fresh`, of at least 32 bytes, becomes it if
    /// there is none yet. Errors: StorageError if what the file holds is shorter.
    [[nodiscard]] virtual std::string secret(std::string_view fresh, const Patience& patience) = 0;

    /// Reads a schedule, and writes what `change` makes of it, which is asked in the transaction, perhaps several
    /// times; nullopt: there is none, or it is deleted. False, as `change` says: nothing is written.
    virtual bool change_schedule(const std::string& name, const ScheduleChange& change, const Patience& patience) = 0;

    /// Runs a schedule by hand. Errors: UsageError as `add`.
    [[nodiscard]] virtual SlotResult run_schedule(const SlotPlan& plan, detail::Ms now, const Patience& patience) = 0;

    [[nodiscard]] virtual DueSchedules due_schedules(const DueQuery& query, const Patience& patience) = 0;

    /// All schedules by name, without payloads.
    [[nodiscard]] virtual std::vector<ScheduleRow> schedules() = 0;

    /// What a task has said of how far it is, finished tasks that are kept too.
    [[nodiscard]] virtual std::optional<Progress> progress(const TaskId& id) = 0;

    [[nodiscard]] virtual TaskStatus status(const TaskId& id) = 0;

    /// The same, and what is kept of it; a result of at most `max_result` bytes.
    [[nodiscard]] virtual FoundTask find(const TaskId& id, std::size_t max_result) = 0;

    /// Errors: UsageError on a thread that has a HostTransaction open on the file, which `call` would wait for.
    virtual void check_thread(std::string_view call) = 0;

    /// Whether no task of these queues is due or claimed by anybody.
    [[nodiscard]] virtual bool idle(const std::vector<QueueHead>& queues, detail::Ms now) = 0;

    [[nodiscard]] virtual TaskCounts counts(detail::Ms now) = 0;

    /// The unclaimed tasks of a queue with their payloads, in the order in which they would be claimed.
    [[nodiscard]] virtual std::vector<WaitingTask> waiting(const std::string& queue) = 0;

    /// Looks for commits of others, and tells the hook of them.
    virtual void look() = 0;

    /// Tells of what nobody is told of and may become a fault, once each. Threads: the dispatcher's.
    virtual void look_after_itself(const detail::SafeLogger& tell, std::chrono::steady_clock::time_point now) = 0;

    [[nodiscard]] virtual std::unique_ptr<CommitWatch> watch() = 0;
};

/// Opens a store. `config`, `clock` and `log` outlive it. Errors: ConfigError, StorageError for a file that cannot be
/// used.
using OpenStore = std::unique_ptr<Store> (*)(const ClientConfig& config, const Clock& clock,
                                             const detail::SafeLogger& log, StoreHooks hooks);

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
