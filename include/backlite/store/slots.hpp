// SPDX-License-Identifier: MIT
#pragma once
// Schedules as they are stored, and what becomes of their slots.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/schedule_rules.hpp>
#include <backlite/store/keep_rule.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

/// A schedule as it is stored. Whatever is in it may be damaged or written by others.
struct ScheduleRow {
    std::string name{};
    std::string queue{};
    std::string payload{};  ///< of its task
    std::string spec{};     ///< what Recurrence reads; so are `zone` and `begun`
    std::string zone{};
    std::string options{};  ///< what ScheduleOptions reads
    detail::Ms begun{};
    std::optional<detail::Ms> next{};       ///< the first slot that nobody has looked at; nullopt: none is to come
    std::optional<detail::Ms> gap_from{};   ///< this and the next: see SlotPlace
    std::optional<detail::Ms> gap_until{};  ///< not of it any more
    std::optional<detail::Ms> last{};       ///< the latest slot that has added a task
    std::string last_task{};                ///< the task added last; empty: none was
    std::optional<detail::Ms> paused{};     ///< since when; nullopt: it is not

    friend bool operator==(const ScheduleRow&, const ScheduleRow&) = default;
};

/// What a look for due schedules asks.
struct DueQuery {
    detail::Ms until{};                                       ///< those whose next slot is no later
    std::size_t limit = 0;                                    ///< at most so many
    std::size_t bytes = 0;                                    ///< and no more once their payloads have so many
    std::vector<std::pair<std::string, detail::Ms>> leave{};  ///< by name and next slot, sorted: not these
    bool gaps = false;  ///< besides those with a gap that ends after `until`, due or not and however many
};

/// What it finds.
struct DueSchedules {
    std::vector<ScheduleRow> rows{};   ///< due, by their next slots
    std::vector<ScheduleRow> gaps{};   ///< without payloads
    std::optional<detail::Ms> next{};  ///< the first slot that is not in `rows` and not left out
};

/// A slot that runs.
struct SlotRun {
    TaskId id{};  ///< of its task
    detail::Ms slot{};
    detail::Ms start{};                      ///< when the task is due: the slot and its jitter
    std::optional<detail::Ms> expires_at{};  ///< of the task
};

/// What is to be written of one schedule. Nothing is if the row is not as it was read any more, but for `last` and
/// `last_task`: another client was faster, or somebody has changed it.
struct SlotPlan {
    std::shared_ptr<const ScheduleRow> seen{};  ///< as it was read
    detail::Ms begun{};                         ///< this and the next three: what is stored then
    std::optional<detail::Ms> next{};
    std::optional<detail::Ms> gap_from{};
    std::optional<detail::Ms> gap_until{};
    Overlap overlap = Overlap::allow;
    detail::NewTask task{};                      ///< what each slot adds; its id and expiry are those of the slot
    std::shared_ptr<const QueueConfig> bound{};  ///< what the task points to
    std::vector<SlotRun> run{};                  ///< oldest first
    bool left_out = false;                       ///< others were missed that do not run
    bool by_hand = false;                        ///< `run` is no slot: the times of the schedule stay as they are
};

/// A task that a slot has added.
struct SlotAdded {
    TaskId id{};
    detail::Ms due{};
    std::optional<detail::Ms> expires_at{};
};

/// A task that a slot has ended.
struct SlotEnded {
    TaskId id{};
    std::string queue{};
};

/// What became of a SlotPlan.
struct SlotResult {
    bool lost = false;                      ///< nothing was written: the row was another one
    std::optional<StorageError> refused{};  ///< nothing was written
    std::vector<SlotAdded> added{};
    std::size_t overlapped = 0;          ///< slots that were left out beside an unfinished task
    std::size_t unwanted = 0;            ///< slots whose task was not added: another has its key, or its queue is full
    std::vector<SlotEnded> cancelled{};  ///< tasks that waited, and ended for a later slot
    bool asked = false;                  ///< the end of a claimed task was asked for
};

/// What a slot does.
enum class SlotAction {
    add,         ///< adds its task
    leave_out,   ///< adds nothing
    cancel_add,  ///< cancels the unfinished task of an earlier slot, and adds its own
};

/// `unfinished`: whether a task of an earlier slot is.
[[nodiscard]] constexpr SlotAction action_of(Overlap overlap, bool unfinished) noexcept {
    if (!unfinished || overlap == Overlap::allow) return SlotAction::add;
    return overlap == Overlap::skip ? SlotAction::leave_out : SlotAction::cancel_add;
}

/// Runs the slots of a plan in order, by what a store can do: `unfinished(id)`, `cancel(id, result)`, and
/// `add(task, wait_until)`, which says whether it is a new task. `row`: as it is now; its `last` and `last_task`
/// follow.
template <class Unfinished, class Cancel, class Add>
void run_slots(const SlotPlan& plan, detail::Ms now, ScheduleRow& row, SlotResult& result, Unfinished&& unfinished,
               Cancel&& cancel, Add&& add) {
    detail::NewTask task = plan.task;
    for (const SlotRun& run : plan.run) {
        const bool beside = !row.last_task.empty() && plan.overlap != Overlap::allow && unfinished(row.last_task);
        const SlotAction action = action_of(plan.overlap, beside);
        if (action == SlotAction::leave_out) {
            ++result.overlapped;
            continue;
        }
        if (action == SlotAction::cancel_add) cancel(row.last_task, result);
        task.id = run.id;
        task.expires_at = run.expires_at;
        const bool waits = run.start > now;
        if (!add(task, waits ? std::optional{run.start} : std::nullopt)) {
            ++result.unwanted;
            continue;
        }
        result.added.push_back({run.id, waits ? run.start : now, run.expires_at});
        row.last = run.slot;
        row.last_task = run.id.str();
    }
}

/// Whether the row is as a plan was made for.
[[nodiscard]] bool still_as_seen(const SlotPlan& plan, const ScheduleRow& row);

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/slots.ipp>
#endif
