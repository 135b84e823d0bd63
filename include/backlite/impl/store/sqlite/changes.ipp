// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/changes.hpp>.

#include <utility>

#include <backlite/store/sqlite/changes.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL ChangeResult Changes::change(const ChangePlan& plan, Isolation* apart) {
    // Before any savepoint that might undo it.
    const std::int64_t claim = plan.change == Change::retry && !plan.tasks.empty() ? first_claim() : 0;
    ChangeResult result;
    for (const ChangePlan::Task& task : plan.tasks) {
        const std::optional<Found> found = find(task, plan.now);
        if (!found) {
            if (task.finished) ++result.skipped;  // it was there: a list has found it
            continue;
        }
        bool changed = false;
        if (plan.only == TaskState::any || found->state == plan.only) {
            const std::size_t cancelled = result.cancelled.size();
            const auto refused = attempt(apart, db_, "change", task.id.str(),
                                         [&] { changed = change(plan, task.id, *found, claim, result); });
            if (refused) {
                changed = false;
                result.cancelled.resize(cancelled);
            }
        }
        ++(changed ? result.changed : result.skipped);
    }
    return result;
}

BACKLITE_DECL auto Changes::find(const ChangePlan::Task& task, detail::Ms now) -> std::optional<Found> {
    const std::string& id = task.id.str();
    if (!task.finished.value_or(false)) {
        Run run(db_, unfinished_, {id, now});
        if (run.step()) {
            TaskState state = TaskState::waiting;
            if (run.integer(3) != 0) state = run.integer(4) != 0 ? TaskState::retrying : TaskState::scheduled;
            if (run.integer(2) != 0) state = TaskState::held;
            if (run.integer(1) != 0) state = TaskState::running;
            return Found{false, state, std::string{run.bytes(0)}};
        }
        if (task.finished) return std::nullopt;
    }
    Run run(db_, finished_, {id});
    if (!run.step()) return std::nullopt;
    TaskState state = TaskState::failed;
    if (run.integer(2) == detail::cancelled_kind) state = TaskState::cancelled;
    if (run.integer(2) == detail::expired_kind) state = TaskState::expired;
    if (run.integer(1) != 0) state = TaskState::succeeded;
    return Found{true, state, std::string{run.bytes(0)}};
}

BACKLITE_DECL bool Changes::change(const ChangePlan& plan, const TaskId& id, const Found& found, std::int64_t claim,
                                   ChangeResult& result) {
    switch (plan.change) {
        case Change::cancel: return cancel(plan, id, found, result);
        case Change::retry:
            if (!found.finished || found.state == TaskState::succeeded) return false;
            return transitions_.bring_back(id.str(), plan.now, claim);
        case Change::remove:
            if (found.finished) return remove_finished(id.str());
            return found.state != TaskState::running && cancels_.remove(id.str(), plan.now);
        case Change::run_now: return !found.finished && transitions_.hasten(id.str(), plan.now);
        case Change::set_priority: break;
    }
    return !found.finished && transitions_.set_priority(id.str(), plan.priority);
}

BACKLITE_DECL bool Changes::cancel(const ChangePlan& plan, const TaskId& id, const Found& found, ChangeResult& result) {
    if (found.finished) return false;
    if (cancels_.cancel({.id = id, .now = plan.now, .keep = plan.keep}) == CancelResult::cancelled) {
        result.cancelled.push_back({id, found.queue});
    }
    return true;
}

BACKLITE_DECL bool Changes::remove_finished(const std::string& id) {
    if (Run(db_, remove_, {id}).change() != 1) return false;
    if (!Run(db_, is_unfinished_, {id}).step()) ends_.forget_details(id);
    return true;
}

BACKLITE_DECL std::int64_t Changes::first_claim() {
    std::int64_t claim = 0;
    {
        Run run(db_, next_claim_, {stretch});
        while (run.step()) claim = run.integer(0);
    }
    if (claim >= stretch) return claim;
    throw Error("backlite_meta: last_return leaves no numbers for the claims of tasks that come back");
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
