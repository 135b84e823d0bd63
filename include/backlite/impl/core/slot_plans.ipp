// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/slot_plans.hpp>.

#include <algorithm>
#include <memory>
#include <new>

#include <backlite/base/format.hpp>
#include <backlite/core/slot_plans.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void SlotPlans::take_up(Steady::time_point real) noexcept {
    for (Apart& apart : apart_) {
        if (!apart.plan || apart.setback.waits(real)) continue;
        try {
            plans_.push_back(*apart.plan);
            apart.plan.reset();
        } catch (const std::bad_alloc&) {  // later
            return;
        }
    }
}

BACKLITE_DECL store::DueQuery SlotPlans::query(detail::Ms wall, Steady::time_point real) {
    store::DueQuery query{.until = wall, .limit = most_schedules, .bytes = most_bytes, .gaps = gaps_};
    for (Apart& apart : apart_) {
        apart.tried = !apart.setback.waits(real);
        if (!apart.tried) query.leave.emplace_back(apart.name, apart.next);
    }
    std::sort(query.leave.begin(), query.leave.end());
    return query;
}

BACKLITE_DECL void SlotPlans::read(store::DueSchedules due, detail::Ms wall, Steady::time_point real) {
    plans_.reserve(due.rows.size() + due.gaps.size());
    const auto take = [&](store::ScheduleRow& row, auto&& plan) {
        const std::string name = row.name;
        const detail::Ms next = row.next.value_or(store::never);
        try {
            plan(std::move(row));
            return forget(name);
        } catch (const Error& error) {
            keep(name, next, error.what(), std::nullopt, real);
        }
    };
    for (store::ScheduleRow& row : due.gaps) {
        take(row, [&](store::ScheduleRow its) {
            if (auto plan = decide_gap(std::move(its), wall)) plans_.push_back(std::move(*plan));
        });
    }
    for (store::ScheduleRow& row : due.rows) {
        const bool reopened = std::any_of(plans_.begin(), plans_.end(),
                                          [&](const store::SlotPlan& plan) { return plan.seen->name == row.name; });
        if (reopened) continue;  // the next look has it
        take(row, [&](store::ScheduleRow its) { plans_.push_back(decide(std::move(its), wall)); });
    }
    std::erase_if(apart_, [](const Apart& apart) noexcept { return apart.tried; });
    gaps_ = false;
    next_ = due.next.value_or(store::never);
}

BACKLITE_DECL store::SlotPlan SlotPlans::plan_of(store::ScheduleRow row, const ScheduleOptions& options) {
    store::SlotPlan plan{.begun = row.begun, .next = row.next, .gap_from = row.gap_from, .gap_until = row.gap_until};
    plan.overlap = options.overlap;
    plan.task = options.task();
    auto seen = std::make_shared<store::ScheduleRow>(std::move(row));
    plan.task.queue = seen->queue;
    plan.task.payload = seen->payload;
    plan.bound = options.bound(seen->queue);
    plan.task.bounded = plan.bound.get();
    plan.seen = std::move(seen);
    return plan;
}

/// The times of a place, into a plan.
BACKLITE_DECL void put_place(store::SlotPlan& plan, const SlotPlace& place) noexcept {
    plan.begun = place.begun;
    plan.next = place.next;
    plan.gap_from = place.gap_from;
    plan.gap_until = place.gap_until;
}

BACKLITE_DECL std::optional<detail::Ms> SlotPlans::expiry_of(const ScheduleOptions& options, detail::Ms slot,
                                                             detail::Ms due) noexcept {
    std::optional<detail::Ms> expiry;
    if (options.start_deadline > Duration::zero()) expiry = slot + options.start_deadline;
    if (options.expires_after > Duration::zero()) {
        const detail::Ms by_queue = due + options.expires_after;
        expiry = (std::min)(expiry.value_or(by_queue), by_queue);
    }
    return expiry;
}

BACKLITE_DECL store::SlotPlan SlotPlans::decide(store::ScheduleRow row, detail::Ms wall) {
    if (row.payload.size() > max_payload_) {
        throw ConfigError(detail::format("its task has {} bytes, more than ClientConfig::max_payload ({})",
                                         {row.payload.size(), max_payload_}));
    }
    const ScheduleOptions options = ScheduleOptions::read(row.options);
    const SlotLook found = look(place_in(row), wall, options.missed, options.start_deadline);
    store::SlotPlan plan = plan_of(std::move(row), options);
    put_place(plan, found.place);
    plan.left_out = found.left_out;
    plan.run.reserve(found.run.size());
    for (const detail::Ms slot : found.run) {
        const detail::Ms start = slot + jitter_of(plan.seen->name, slot, options.jitter);
        plan.run.push_back({ids_.next(wall), slot, start, expiry_of(options, slot, (std::max)(start, wall))});
    }
    return plan;
}

BACKLITE_DECL std::optional<store::SlotPlan> SlotPlans::decide_gap(store::ScheduleRow row, detail::Ms wall) {
    const std::optional<SlotPlace> place = reopened(place_in(row), wall);
    if (!place) return std::nullopt;
    store::SlotPlan plan = plan_of(std::move(row), {});
    put_place(plan, *place);
    return plan;
}

BACKLITE_DECL bool SlotPlans::written(std::vector<store::SlotResult>& results, Agenda& agenda, detail::Ms& expiry,
                                      Steady::time_point real) noexcept {
    if (plans_.empty() || results.size() != plans_.size()) return false;
    bool stale = false;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
        store::SlotPlan& plan = plans_[i];
        store::SlotResult& result = results[i];
        if (result.refused) {
            try {
                const auto seen = plan.seen;
                keep(seen->name, seen->next.value_or(store::never), result.refused->what(), std::move(plan), real);
            } catch (const std::bad_alloc&) {  // the next look finds it again
            }
            continue;
        }
        forget(plan.seen->name);
        if (result.lost) continue;
        tell_run(plan, result);
        const std::size_t queue = queues_.find(plan.seen->queue);
        for (const store::SlotAdded& added : result.added) {
            if (queue != queues_.size()) agenda.note(queue, added.due);
            if (added.expires_at) expiry = (std::min)(expiry, *added.expires_at);
        }
        if (result.asked) stale = true;
    }
    plans_.clear();
    next_ = detail::Ms::earliest();  // to be read
    return stale;
}

BACKLITE_DECL auto SlotPlans::retry_at() const noexcept -> Steady::time_point {
    auto at = (Steady::time_point::max)();
    for (const Apart& apart : apart_) at = (std::min)(at, apart.setback.until());
    return at;
}

BACKLITE_DECL void SlotPlans::keep(const std::string& name, detail::Ms next, std::string_view error,
                                   std::optional<store::SlotPlan> plan, Steady::time_point now) {
    auto apart = std::find_if(apart_.begin(), apart_.end(), [&](const Apart& each) { return each.name == name; });
    if (apart == apart_.end()) apart = apart_.insert(apart_.end(), Apart{.name = name});
    if (apart->error != error) {
        apart->error = error;
        tell_(LogLevel::failure, "a schedule cannot run: it is set apart, and tried again",
              {{"schedule", name}, {"error", error}});
    }
    apart->next = next;
    apart->plan = std::move(plan);
    apart->setback.refused(now);
    apart->tried = false;
}

BACKLITE_DECL void SlotPlans::forget(const std::string& name) noexcept {
    std::erase_if(apart_, [&](const Apart& apart) noexcept { return apart.name == name; });
}

BACKLITE_DECL void SlotPlans::tell_run(const store::SlotPlan& plan, const store::SlotResult& result) const noexcept {
    const std::string& name = plan.seen->name;
    if (plan.left_out) {
        tell_(
            LogLevel::warning, "slots of a schedule were missed",
            {{"schedule", name}, {"since", plan.seen->next.value_or(detail::Ms{}).count()}, {"ran", plan.run.size()}});
    }
    if (result.overlapped > 0) {
        tell_(LogLevel::info, "slots left out: the task before is unfinished",
              {{"schedule", name}, {"slots", result.overlapped}});
    }
    if (result.unwanted > 0) {
        tell_(LogLevel::info, "slots added no task: another one has its key, or the queue is full",
              {{"schedule", name}, {"slots", result.unwanted}});
    }
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
