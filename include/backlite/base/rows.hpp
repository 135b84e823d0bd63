// SPDX-License-Identifier: MIT
#pragma once
// Plain rows that pass between the storage layer and the rest.

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/base/hash.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/parents.hpp>
#include <backlite/unique.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// The key of a task on its way into the file, and what came of it.
struct UniqueAdd {
    std::string key{};
    Conflict conflict = Conflict::keep;  ///< never none
    bool until_started = false;          ///< it has the key only while it waits; always with `latest`
    Duration period{};                   ///< see Unique
    Duration debounce{};                 ///< see Unique
    Duration max_delay{};                ///< see Unique
    std::optional<Ms> debounced{};  ///< when it is due, unless `max_delay` is over before; it has no time of its own
    /// With `latest`: how one is kept that ends because of this one.
    bool keep_row = false;
    bool keep_payload = false;
    Duration keep_time{};  ///< zero: for ever
    // Written by each run of the transaction; they count once it is committed.
    AddedAs as = AddedAs::inserted;
    TaskId existing{};  ///< unless inserted: the one that has the key
    Ms due{};           ///< if it is debounced

    [[nodiscard]] bool while_waiting() const noexcept { return until_started || conflict == Conflict::latest; }
};

/// What names one claim of one task: whoever claims the task again gets another number.
struct ClaimKey {
    TaskId id{};
    std::int64_t number = 0;

    friend bool operator==(const ClaimKey&, const ClaimKey&) noexcept = default;
    friend std::strong_ordering operator<=>(const ClaimKey&, const ClaimKey&) noexcept = default;
};

/// A value that a task keeps between its attempts.
struct SavedValue {
    std::string name{};
    /// nullopt: there is none; to be written: what is there is removed.
    std::optional<std::string> json{};
    std::size_t oversize = 0;  ///< read, above zero: it has this many bytes, too many to be read
};

/// What tasks on their way into the file wait for.
struct Parents {
    struct Parent {
        TaskId id{};
        OnParentFailure on_failure = OnParentFailure::cancel;
    };
    std::vector<Parent> known{};
    std::size_t first = 0;  ///< and so many of the same call, from this place on, which stand before them
    std::size_t count = 0;
    /// Instead of all that: a flow waits for them, and writes that down with them. ClaimLost if it cannot any more.
    struct Join {
        ClaimKey claim{};
        std::vector<SavedValue> values{};
        std::size_t first = 0;  ///< the number of the first of them
    };
    std::optional<Join> join{};
};

/// The partition of a task on its way into the file, and what its program says of it: limits that are stored come
/// before these.
struct PartitionAdd {
    std::string name{};
    int turns = 0;  ///< how many of its tasks may be claimed at once; zero: any number
    bool in_order = false;
    bool rate = false;                           ///< the partition has a rate
    Duration ageing = std::chrono::seconds{60};  ///< until a client has claimed it by its own
};

/// Of an edge to a flow that joins: this, and the child's number.
inline constexpr std::int64_t join_edge = 16;

/// The results of children that a flow joins: their names begin so; the number follows, of ten digits.
[[nodiscard]] inline std::string result_values(std::string_view key) {
    return std::string{"backlite:result:"}.append(key) + '\x01';
}

/// What a host has noted of a task.
struct TaskLabels {
    std::vector<std::string> tags{};
    std::string metadata{};  ///< a JSON object; empty: none
};

/// A task on its way into the file.
struct NewTask {
    TaskId id{};
    std::string_view queue{};  ///< lives as long as the program: the name in the type's configuration
    std::string payload{};
    std::string_view type{};  ///< of the value that it was made from; lives as long as the program
    int priority = 0;
    Duration expires_after{};             ///< as its queue says
    std::optional<Ms> expires_at{};       ///< if it has not started by then, it ends as expired; nullopt: never
    std::shared_ptr<UniqueAdd> unique{};  ///< null: it has no key
    /// Null: it waits for no other. Of the tasks of one call, if any has parents, the last one does.
    std::shared_ptr<const Parents> parents{};
    const QueueConfig* bounded = nullptr;  ///< that of its queue, if it has a bound; lives as long as the program
    /// Null: it is of partition "", which nothing limits.
    std::shared_ptr<PartitionAdd> partition{};
    std::shared_ptr<const TaskLabels> labels{};  ///< null: none

    /// Whether it is a new task, once its transaction is committed.
    [[nodiscard]] bool inserted() const noexcept { return !unique || unique->as == AddedAs::inserted; }
};

/// Calls `each(queue, count)` for inserted tasks of the same queue that stand together.
template <class Each>
void for_each_queue(std::span<const NewTask> tasks, Each&& each) {
    for (std::size_t first = 0, next = 0; first < tasks.size(); first = next) {
        std::int64_t count = 0;
        for (; next < tasks.size() && tasks[next].queue == tasks[first].queue; ++next) count += tasks[next].inserted();
        if (count > 0) each(tasks[first].queue, count);
    }
}

/// A payload of so many bytes is not written again when only the state of its task changes. Smaller ones fill so few
/// pages that it does not matter.
inline constexpr std::size_t large_payload = std::size_t{16} << 10;

/// What a running task has said of how far it is, on its way into the file.
struct ProgressNote {
    ClaimKey claim{};
    double fraction = 0;
    std::string message{};
    Ms at{};
    std::size_t worker = 0;
    std::uint64_t number = 0;  ///< of what this worker's tasks have said
};

/// Which names of saved values begin so belongs to the library.
inline constexpr std::string_view own_values = "backlite:";

/// What flows keep. Stored: never rename.
inline constexpr std::string_view flow_values = "backlite:flow:";
inline constexpr std::string_view flow_cancelled = "backlite:flow:cancelled";  ///< it is to undo, and to end
inline constexpr std::string_view flow_failed = "backlite:flow:failed";        ///< the same; why
inline constexpr std::string_view flow_waits = "backlite:flow:waits";          ///< the signal that it waits for
inline constexpr std::string_view flow_joins = "backlite:flow:joins";          ///< of what it waits for the children
inline constexpr std::string_view flow_undone = "backlite:flow:undo:";         ///< and the name of an undo

/// A flow's record of a value, and what a flow keeps of a child's result, has less than so many bytes beside it.
inline constexpr std::size_t record_frame = 8;

/// The names of the signals of one name that nobody has read yet begin so; their number follows.
[[nodiscard]] inline std::string signal_values(std::string_view name) {
    return std::string{"backlite:signal:"}.append(name) + '\x01';
}

/// A task that this client claimed.
struct ClaimedTask {
    TaskId id{};
    std::size_t queue = 0;      ///< index in the registry of queues
    std::int64_t claim = 0;     ///< this claim's number
    std::int64_t attempts = 0;  ///< attempts spent before this one
    std::int64_t crashes = 0;   ///< process deaths inside the processor so far
    bool last_chance = false;   ///< it has crashed, and one more crash would be its last
    Ms due{};
    Us cost{};  ///< how long it is expected to run
    std::string payload{};
    std::size_t oversize = 0;  ///< above zero: the payload has this many bytes, too many to be read
    int priority = 0;
    std::optional<Ms> expires_at{};  ///< it is not to start at that time or later
    std::string partition{};
    std::uint64_t batch = 0;            ///< what it has in common with `others`: see `batch_number`; 0: it runs alone
    std::vector<ClaimedTask> others{};  ///< they run with this one, in one call

    [[nodiscard]] bool large() const noexcept { return (std::max)(payload.size(), oversize) >= large_payload; }
};

/// The number of a batch: that of all claims of its queue that its owner took in the same millisecond, as their rows
/// say. It is in the worker's record. Stored: never change how it is made.
[[nodiscard]] constexpr std::uint64_t batch_number(std::string_view queue, Ms claimed_at) noexcept {
    return (fnv1a(queue) ^ (static_cast<std::uint64_t>(claimed_at.count()) * 0x9e3779b97f4a7c15U)) | 1U;
}

/// What becomes of a claim.
enum class RowChange {
    complete,  ///< the task succeeded
    fail,      ///< the task failed for good
    retry,     ///< the attempt failed, another follows
    snooze,    ///< the task asked to run later; no attempt is spent
    release,   ///< the claim is given back as if it had never been taken, perhaps to be taken after a wait
};

/// What a kept row's `kind` says of a task that was cancelled, or has expired; Go reads its error alone. Stored: never
/// renumber.
inline constexpr std::int64_t cancelled_kind = 1;
inline constexpr std::string_view cancelled_error = "cancelled";
inline constexpr std::int64_t expired_kind = 5;
inline constexpr std::string_view expired_error = "expired";

/// The resolution of one claim, ready to be written.
struct AttemptResult {
    TaskId id{};
    std::int64_t claim = 0;
    RowChange resolution = RowChange::release;
    bool spends_attempt = false;
    bool keep_row = false;  ///< finished tasks: a row in the completed table
    bool keep_payload = false;
    Ms executed_at{};  ///< when the attempt started
    Us duration{};
    Ms wait_until{};                      ///< retry, snooze, release after a wait: when it runs again
    std::optional<Duration> wait{};       ///< the same: how long after its end, at most
    std::optional<Ms> expires_at{};       ///< kept rows; release: of a task that has not started; nullopt: never
    std::string error{};                  ///< retry, fail
    std::string waits_for{};              ///< snooze: signals whose names begin so end it at once; empty: none
    std::optional<std::int64_t> kind{};   ///< of a kept row, where its error does not say it
    std::string result{};                 ///< complete: JSON, for its kept row and for who waits for it; empty: none
    bool large = false;                   ///< as ClaimedTask::large says
    Duration key_period{};                ///< how long its unique key counts after its end, if it has one
    int attempt = 0;                      ///< its number, from 1; zero: it was not begun
    bool written = false;                 ///< by the attempt itself: nothing is left to write
    Duration closes{};                    ///< above zero: its partition, or its queue, starts nothing for so long
    std::vector<AttemptResult> others{};  ///< of ClaimedTask::others, until it leaves its worker

    /// Whether it counts as an attempt: not if the task is as if it had never started.
    [[nodiscard]] bool counts() const noexcept { return resolution != RowChange::release && kind != expired_kind; }
};

/// One started client, as `backlite_clients` holds it.
struct OwnerRow {
    std::int64_t owner = 0;
    unsigned slot = 0;  ///< which lock byte of the side file
    unsigned workers = 0;
    std::string boot_id{};
};

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
