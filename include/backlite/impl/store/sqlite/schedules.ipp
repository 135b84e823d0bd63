// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/schedules.hpp>.

#include <algorithm>
#include <utility>

#include <backlite/store/sqlite/schedules.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Text that SQL knows as NULL where it is empty.
[[nodiscard]] BACKLITE_DECL std::optional<std::string_view> text_or_null(const std::string& text) noexcept {
    return text.empty() ? std::nullopt : std::optional{std::string_view{text}};
}

/// The columns of `Schedules::find_`, in their order.
[[nodiscard]] BACKLITE_DECL ScheduleRow schedule_of(const Run& run) {
    return {.name = std::string{run.bytes(0)},
            .queue = std::string{run.bytes(1)},
            .payload = std::string{run.bytes(2)},
            .spec = std::string{run.bytes(3)},
            .zone = std::string{run.bytes(4)},
            .options = std::string{run.bytes(5)},
            .begun = run.time(6),
            .next = run.optional_time(7),
            .gap_from = run.optional_time(8),
            .gap_until = run.optional_time(9),
            .last = run.optional_time(10),
            .last_task = std::string{run.bytes(11)},
            .paused = run.optional_time(12)};
}

BACKLITE_DECL std::optional<detail::Ms> Schedules::first() {
    Run run(db_, first_);
    return run.step() ? std::optional{run.time(0)} : std::nullopt;
}

BACKLITE_DECL DueSchedules Schedules::due(const DueQuery& query) {
    DueSchedules found;
    std::size_t bytes = 0;
    {
        Run run(db_, due_);
        while (run.step()) {
            const detail::Ms next = run.time(7);
            const bool left =
                std::binary_search(query.leave.begin(), query.leave.end(), std::pair{std::string{run.bytes(0)}, next});
            if (left) continue;
            if (next > query.until || found.rows.size() == query.limit || bytes >= query.bytes) {
                found.next = next;
                break;
            }
            found.rows.push_back(schedule_of(run));
            bytes += found.rows.back().payload.size();
        }
    }
    if (query.gaps) {
        Run run(db_, gaps_, {query.until});
        while (run.step()) found.gaps.push_back(schedule_of(run));
    }
    return found;
}

BACKLITE_DECL std::optional<ScheduleRow> Schedules::find(const std::string& name) {
    Run run(db_, find_, {name});
    return run.step() ? std::optional{schedule_of(run)} : std::nullopt;
}

BACKLITE_DECL bool Schedules::change(const std::string& name, const ScheduleChange& change) {
    std::optional<ScheduleRow> row = find(name);
    if (!change(row)) return false;
    if (!row) {
        Run(db_, remove_, {name}).change();
        return true;
    }
    Run(db_, put_,
        {name, row->queue, Blob{row->payload}, row->spec, row->zone, text_or_null(row->options), row->begun, row->next,
         row->gap_from, row->gap_until, row->last, text_or_null(row->last_task), row->paused})
        .change();
    return true;
}

BACKLITE_DECL bool Schedules::add(detail::NewTask& task, detail::Ms now, std::optional<detail::Ms> wait_until,
                                  AddStatements& adds, WaitingBounds& bounds, SlotResult& result) {
    if (task.bounded == nullptr) {
        adds.insert({&task, 1}, now, wait_until);
        return task.inserted();
    }
    // Nobody waits for room, and nobody is told that there is none.
    std::vector<DroppedTask> dropped;
    execute(db_, "SAVEPOINT backlite_slot");
    bool added = false;
    try {
        const WaitingBounds::Answer answer = bounds.prepare({&task, 1}, now, dropped);
        if (answer.full == nullptr && !answer.more) {
            adds.insert({&task, 1}, now, wait_until);
            bounds.settle({&task, 1}, now, dropped);
            added = task.inserted();
        }
    } catch (const QueueFullError&) {
        execute(db_, "ROLLBACK TO backlite_slot");
        dropped.clear();
    }
    execute(db_, "RELEASE backlite_slot");
    for (DroppedTask& each : dropped) result.cancelled.push_back({std::move(each.id), std::string{task.queue}});
    return added;
}

BACKLITE_DECL SlotResult Schedules::run(const SlotPlan& plan, detail::Ms now, AddStatements& adds,
                                        WaitingBounds& bounds, Cancels& cancels,
                                        const std::function<KeepRule(std::string_view)>& keep) {
    SlotResult result;
    std::string its_queue;
    const auto rule = [&](std::string_view queue) {
        its_queue = queue;
        return keep ? keep(queue) : KeepRule{};
    };
    std::optional<ScheduleRow> row = find(plan.seen->name);
    if (!row || !still_as_seen(plan, *row)) {
        result.lost = true;
        return result;
    }
    run_slots(
        plan, now, *row, result, [this](const std::string& id) { return Run(db_, unfinished_, {id}).step(); },
        [&](const std::string& id, SlotResult& its) {
            const TaskId task = TaskId::from_text(id);
            const CancelResult ended = cancels.cancel({.id = task, .now = now, .keep = rule});
            if (ended == CancelResult::cancelled) its.cancelled.push_back({task, its_queue});
            if (ended == CancelResult::requested) its.asked = true;
        },
        [&](detail::NewTask& task, std::optional<detail::Ms> wait_until) {
            return add(task, now, wait_until, adds, bounds, result);
        });
    if (!plan.by_hand) {
        row->begun = plan.begun;
        row->next = plan.next;
        row->gap_from = plan.gap_from;
        row->gap_until = plan.gap_until;
    }
    const int moved =
        Run(db_, move_,
            {row->name, row->begun, row->next, row->gap_from, row->gap_until, row->last, text_or_null(row->last_task)})
            .change();
    if (moved != 1) {
        throw StorageError("the slot of a schedule changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
    }
    return result;
}

BACKLITE_DECL std::vector<ScheduleRow> list_schedules(sqlite3* db, Statement& list) {
    std::vector<ScheduleRow> rows;
    Run run(db, list);
    while (run.step()) rows.push_back(schedule_of(run));
    return rows;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
