// SPDX-License-Identifier: MIT
#pragma once
// What one cycle of the dispatcher asks of the store, and what it is told.

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/setback.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/admission.hpp>
#include <backlite/store/slots.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

/// No time: later than any due time.
inline constexpr detail::Ms never = detail::Ms::latest();

/// The place of a task in the order of the claims: the lower, the sooner. By effective priority, which rises by one for
/// each `ageing` that a task has been due; where that is zero, by priority. Tasks of one priority are in the order of
/// their due times.
struct Rank {
    std::int64_t first = 0;
    detail::Ms due{};

    [[nodiscard]] static Rank of(std::int64_t priority, detail::Ms due, Duration ageing) noexcept;

    friend auto operator<=>(const Rank&, const Rank&) noexcept = default;
};

/// Priorities beyond the bounds, which other programs may have written, count as the bound.
[[nodiscard]] constexpr int bounded_priority(std::int64_t priority) noexcept {
    return static_cast<int>((std::clamp)(priority, std::int64_t{least_priority}, std::int64_t{most_priority}));
}

/// The unclaimed tasks of one priority in a queue.
struct Level {
    std::int64_t priority = 0;  ///< as the rows say
    detail::Ms due = never;     ///< of the oldest
};

/// One registered queue, and the due time of its oldest unclaimed task as far as this client knows it. Known too early,
/// it costs a look; it must never be known too late.
struct QueueHead {
    std::string_view name{};  ///< the queue's own; lives as long as the registry
    int max_crashes = 1;
    int priority = 0;   ///< of its tasks, unless they were added with another
    detail::Us cost{};  ///< how long one of its tasks is expected to run
    detail::Ms due = never;
    /// The same for each priority, as the last look found it.
    std::vector<Level> levels{};
    detail::Ms unread = never;  ///< the same of tasks that have come since, whose priority nobody has noted
    /// The same for tasks that the crash rules left in the file, which `due` passes over: those that wait until nothing
    /// runs that has crashed a process, and crashed ones that wait for a free worker.
    detail::Ms held_due = never;
    detail::Ms worker_due = never;
    bool blocked = false;  ///< so many of its rows were refused that it is left alone for a while
    bool paused = false;
    bool never_ahead = false;                   ///< its tasks are claimed for workers that are free, never ahead
    Limits registered{};                        ///< as its program says
    Limits limits{};                            ///< that hold: what is stored, or else those
    bool full = false;                          ///< as many run as its limits allow; what frees a slot unsets it
    detail::Ms opens = detail::Ms::earliest();  ///< none of its tasks starts before: its rate, or a task that said so

    int batch = 0;               ///< so many of its tasks run together at most; 0: they run one by one
    Duration batch_wait{};       ///< how long a batch waits for others, from the due time of its first
    std::int64_t lacking = 0;    ///< so many of those it waits for are not there for a full batch; may be too low
    detail::Ms full_at = never;  ///< when the last one of a full batch is due; may be too early

    /// When the next of its partitions opens, or is looked at since its rate lets the next one start; `never`: none.
    detail::Ms partition_opens = never;

    /// Whether a claim of one of its tasks must look at its partition.
    [[nodiscard]] bool has_partitions() const noexcept { return limits.by_partition() || partition_opens != never; }

    /// Whether none of its tasks is to be claimed, whatever is due.
    [[nodiscard]] bool closed() const noexcept { return blocked || paused || full; }

    /// When the next of its tasks may start, as far as that is known; `never`, unless something else comes first.
    [[nodiscard]] detail::Ms starts() const noexcept {
        return closed() || due == never ? never : (std::max)(batch == 0 ? due : gathered(), opens);
    }

    /// When its next batch is full, or has waited long enough.
    [[nodiscard]] detail::Ms gathered() const noexcept {
        return (std::max)(due, (std::min)(due + batch_wait, full_at));
    }

    /// How many tasks make a full batch. One that its limits do not let run need not be waited for.
    [[nodiscard]] int full_batch() const noexcept;

    /// What is known of its next batch: the due times of its first tasks, of each priority as many as make a full
    /// batch.
    void gather(std::vector<detail::Ms> dues) noexcept;

    /// Whether its tasks are claimed only for workers that are free.
    [[nodiscard]] bool only_for_free_workers() const noexcept { return never_ahead || limits.any(); }

    /// Tasks of the queue are due at `time`, or later.
    void came(detail::Ms time, std::int64_t tasks = 1) noexcept {
        due = (std::min)(due, time);
        unread = (std::min)(unread, time);
        if (batch > 0 && time != never && (lacking -= tasks) <= 0) full_at = detail::Ms::earliest();
    }

    /// Whether `levels` tell of all that is due at `now`.
    [[nodiscard]] bool levels_known(detail::Ms now) const noexcept {
        return unread > now &&
               std::any_of(levels.begin(), levels.end(), [this](const Level& level) { return level.due <= due; });
    }
};

/// The place of a queue's first task that is due at `now`. What came since the last look is taken to have the queue's
/// own priority. nullopt if none is due.
[[nodiscard]] std::optional<Rank> first_rank(const QueueHead& head, detail::Ms now, Duration ageing) noexcept;

struct ClaimRequest {
    detail::Ms now{};
    Duration ageing{};  ///< see Rank
    std::int64_t owner = 0;
    std::size_t limit = 0;
    Neighbours beside{};  ///< as many of the tasks claimed would start at once as workers are free
    /// How much expected work may be claimed beyond those.
    detail::Us ahead{};
    /// How many bytes of payload may be claimed beyond those.
    std::size_t ahead_bytes = (std::numeric_limits<std::size_t>::max)();
    std::size_t max_payload = 0;
    std::vector<std::string> leave{};  ///< ids of tasks that are not claimed, sorted: they were refused before
};

/// A due task that SQLite, or a trigger of the host, does not let be claimed.
struct RefusedClaim {
    std::string id{};
    std::size_t queue = 0;
    StorageError error;
};

struct ClaimResult {
    std::vector<detail::ClaimedTask> tasks{};  ///< in the order of their ranks
    std::vector<RefusedClaim> refused{};
    std::size_t left_bytes = 0;  ///< the payload of a due task that is too large to be claimed ahead; 0: none
};

/// What happened to tasks of one queue in one minute. Several of them for the same minute add up.
struct Tally {
    detail::Minute minute{};
    std::string_view queue{};
    std::int64_t added = 0;
    std::int64_t started = 0;    ///< attempts, in the minute of their start; counted once their outcome is written
    std::int64_t succeeded = 0;  ///< this and the next two: in the minute of the attempt's end
    std::int64_t failed = 0;     ///< for good
    std::int64_t retried = 0;    ///< failed attempts that another follows
    Duration waited{};           ///< from due to start, of those started
    detail::Us ran{};            ///< of the attempts that ended
};

/// An attempt that has ended, and what is to be written of it.
struct EndedAttempt {
    detail::AttemptResult resolved{};
    std::size_t queue = 0;
    detail::Ms due{};
    detail::Setback setback{};  ///< while SQLite refuses to write it
};

/// What a cycle is to do besides writing outcomes.
struct CyclePlan {                           // NOLINT(clang-analyzer-optin.performance.Padding): there is one at a time
    std::vector<detail::ClaimKey> leases{};  ///< claims to show a sign of life for
    bool purge = false;                      ///< delete a chunk of what has expired
    detail::Ms past{};                       ///< what expired by then has expired beyond doubt
    int purge_past = 0;                      ///< leave out so many: they were refused
    bool lapse = false;                      ///< give back claims without an owner that are too old
    detail::Ms lapse_until{};                ///< those taken by then are
    /// By queue: tasks that are due later than this are looked through for times that a wrong clock has made;
    /// `store::never`: none. Empty: there is no such search.
    std::vector<detail::Ms> mend{};
    Duration jump_back{};          ///< for that: how far the wall clock was set back, zero if that is not known
    bool cancels = false;          ///< end what was cancelled and is not claimed any more; no reason for a cycle
    bool expire = false;           ///< end a chunk of the tasks that wait and have expired
    detail::Ms expire_from{};      ///< those that have expired from then on
    detail::Ms expire_until{};     ///< and by then
    int expire_past = 0;           ///< leave out so many of them, the first ones
    std::vector<KeepRule> keep{};  ///< by queue, for those: how they are kept
    bool children = false;         ///< see to the children of tasks that have ended
    /// Look for parents that are gone without having told, behind this one.
    std::optional<std::string> sweep{};
    bool open_partitions = false;  ///< open those whose time has come
    bool mend_partitions = false;  ///< look through a piece of what is known of partitions, of each queue
    bool keys = false;             ///< mend unique keys of tasks that other programs deleted or gave back
    std::vector<detail::ProgressNote> progress{};  ///< what running tasks have said; without their claims it is nothing
    bool count = true;                             ///< count outcomes and adds in the statistics
    std::vector<store::Tally> added{};             ///< adds that the statistics do not count yet
    std::span<const SlotPlan> slots{};  ///< what is to be written of schedules; valid until the cycle is over
    store::ClaimRequest claim{};        ///< limit 0: none

    [[nodiscard]] bool empty() const noexcept {
        return leases.empty() && !purge && !lapse && !expire && !children && !sweep && !keys && !open_partitions &&
               !mend_partitions && mend.empty() && added.empty() && progress.empty() && slots.empty() &&
               claim.limit == 0;
    }
};

/// Names of saved values, from `first` on, up to but without `end`; nullopt: to the last. By their bytes.
struct NameRange {
    std::string first{};
    std::optional<std::string> end{};

    [[nodiscard]] static NameRange of(std::string_view name);
    [[nodiscard]] static NameRange with_prefix(std::string_view prefix);
};

/// What a claimed task keeps between its attempts.
struct SavePlan {
    const detail::ClaimKey& claim;
    detail::Ms now{};
    std::span<const detail::SavedValue> values{};
    bool flow = false;  ///< they are those of a flow, which has begun with them
};

/// A value for a flow, which reads it when it likes.
struct SignalPlan {
    const TaskId& id;
    std::string_view name{};
    std::string_view json{};
    std::string_view waits{};  ///< the name as `detail::flow_waits` has it
    detail::Ms now{};
};

/// What SQLite refused to write, by its index in what the cycle was given.
struct Refusal {
    std::size_t index = 0;
    StorageError error;
};

/// A task that waited, and has ended.
struct EndedTask {
    TaskId id{};
    std::size_t queue = 0;
};

/// A task that waited for another one, which has not succeeded.
struct EndedChild {
    TaskId id{};
    std::string queue{};  ///< perhaps not registered
};

/// What it found. Only to be believed once the transaction is committed.
struct CycleResult {
    std::vector<std::size_t> lost_outcomes{};       ///< indexes of outcomes whose claim was taken back
    std::vector<std::size_t> cancelled_outcomes{};  ///< indexes of outcomes whose task was cancelled instead
    std::vector<std::size_t> lost_leases{};         ///< indexes of leases whose claim was taken back
    std::vector<Refusal> refused_outcomes{};
    std::vector<Refusal> refused_leases{};
    std::vector<std::size_t> without_payload{};        ///< kept without payload, or result: they did not fit
    std::optional<StorageError> refused_statistics{};  ///< this and the next three: nothing of it was written
    std::optional<StorageError> refused_jump{};
    std::optional<StorageError> refused_purge{};  ///< this and the next: some rows were not written
    std::optional<StorageError> refused_lapse{};
    std::optional<StorageError> refused_progress{};  ///< some of it was not written
    int purged = 0;
    int purge_left = 0;       ///< expired tasks whose deletion was refused
    bool purge_more = false;  ///< the next cycle finds more that have expired
    int lapsed = 0;
    bool lapse_left = false;                  ///< the next cycle finds more of them
    std::vector<detail::ClaimKey> cancels{};  ///< if the plan has any: those that are left
    std::vector<EndedTask> expired{};
    int expire_left = 0;                      ///< expired tasks that stay: nobody registered them, or they were refused
    bool expire_more = false;                 ///< the next cycle finds more of them
    std::optional<detail::Ms> expire_next{};  ///< if the plan says expire: when the next one does, after `expire_until`
    std::optional<StorageError> refused_expiry{};  ///< some could not be ended
    std::optional<bool> children_left{};           ///< if children were seen to: whether there are more
    std::vector<EndedChild> cancelled_children{};
    std::optional<StorageError> refused_children{};    ///< some are as they were
    std::optional<std::string> sweep_next{};           ///< the plan's `sweep` for the next cycle; nullopt: that was all
    bool mend_partitions_left = false;                 ///< the next cycle finds another piece
    std::optional<StorageError> refused_partitions{};  ///< some could not be opened, or looked through
    int mended = 0;
    std::vector<detail::Ms> mend_next{};  ///< the plan's `mend` for the next cycle
    std::vector<SlotResult> slots{};      ///< one for each of the plan's `slots`
    store::ClaimResult claimed{};
    std::vector<store::QueueHead> heads{};
};

/// What is read anew after commits of others.
struct FileState {
    std::vector<store::QueueHead> heads{};
    std::optional<detail::Ms> expiry{};       ///< when the first task that waits expires, or has expired
    std::optional<detail::Ms> ownerless{};    ///< when the oldest claim without owner was taken
    std::optional<detail::Minute> latest{};   ///< the latest in the statistics
    detail::Minute known{};                   ///< the latest that has come beyond doubt; read only if it is asked for
    std::vector<detail::ClaimKey> cancels{};  ///< claims whose tasks are to end
    bool children = false;                    ///< children of tasks that have ended are to be seen to
    bool parents = false;                     ///< some task waits for another
    bool stale_keys = false;                  ///< see CyclePlan::keys
    std::optional<detail::Ms> slot{};         ///< the first slot of a schedule that nobody has looked at
    bool held_back = false;                   ///< tasks wait for their partition's turn; read only with `known`
    std::uint64_t foreign_commits = 0;        ///< how many times commits of others had been found by then
};

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/plan.ipp>
#endif
