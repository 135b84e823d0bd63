// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/testing/stepped_session.hpp>.

#include <backlite/testing/stepped_session.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace testing {

BACKLITE_DECL SteppedSession::SteppedSession(Parts parts)
    : parts_(std::move(parts)),
      patience_{parts_.config.busy_timeout, {}},
      runner_(parts_.queues, parts_.engine, parts_.clock, parts_.tell, parts_.config.around,
              parts_.config.max_payload) {}

BACKLITE_DECL void SteppedSession::start() {
    observer_.owner = nullptr;
    owner_ = parts_.store.join(parts_.tell, patience_);
    observer_.owner = owner_.get();
    scheduler_.emplace(parts_.config, parts_.queues, parts_.tell);
    scheduler_->begin(moment());
    stale_ = true;
}

BACKLITE_DECL void SteppedSession::stop() {
    for (detail::ClaimedTask& task : std::exchange(ready_, {})) {
        for (detail::ClaimedTask& other : std::exchange(task.others, {})) scheduler_->give_back(std::move(other));
        scheduler_->give_back(std::move(task));
    }
    cycle({});
    owner_->leave(patience_);
    owner_->let_go();
}

BACKLITE_DECL void SteppedSession::die(std::size_t inside) {
    for (std::size_t i = 0; i < inside && i < ready_.size(); ++i) owner_->entering(i, ready_[i]);
    owner_->let_go();
    forget();
}

BACKLITE_DECL void SteppedSession::forget() {
    ready_.clear();
    scheduler_.reset();
    owner_.reset();
}

BACKLITE_DECL void SteppedSession::look() {
    parts_.store.look();
    if (!std::exchange(stale_, false)) return;
    scheduler_->agenda().merge();
    store::FileState state = owner_->read(heads(), true, patience_);
    ownerless_ = state.ownerless;
    scheduler_->found(std::move(state), moment());
}

BACKLITE_DECL void SteppedSession::look_after_others() {
    look();
    if (!owner_->others_known()) return;
    if (owner_->someone_died()) owner_->rescue(patience_);
    owner_->observe(patience_);
    stale_ = true;
}

BACKLITE_DECL void SteppedSession::clock_was_set(Duration by) {
    if (scheduler_->clock_was_set(by, moment())) stale_ = true;
}

BACKLITE_DECL store::CyclePlan SteppedSession::plan() {
    const core::Moment now = moment();
    if (scheduler_->take_up_refused(now)) stale_ = true;
    scheduler_->agenda().merge();
    core::Scheduler::Inputs in{.load = load(), .owner = owner()};
    if (scheduler_->lease_due(now)) {
        for (const detail::ClaimedTask& task : ready_) {
            in.claims.push_back({task.id, task.claim});
            for (const detail::ClaimedTask& other : task.others) in.claims.push_back({other.id, other.claim});
        }
    }
    if (scheduler_->purge_due(now)) in.expiry = parts_.store.next_expiry(patience_);
    if (const auto due = scheduler_->schedules_due(now)) {
        scheduler_->read(parts_.store.due_schedules(*due, patience_), now);
    }
    store::CyclePlan plan = scheduler_->plan(std::move(in), now);
    if (plan.expire) plan.keep = core::TaskRunner::rules_of_failed(parts_.queues);
    return plan;
}

BACKLITE_DECL store::CycleResult SteppedSession::cycle(store::CyclePlan plan) {
    const TimePoint wall = parts_.clock.now();
    plan.claim.now = detail::to_ms(wall);
    scheduler_->agenda().merge();
    scheduler_->hold_to_clock(wall);
    store::CycleResult result = parts_.store.cycle(
        {.outcomes = finished(), .plan = plan, .heads = heads(), .apart = scheduler_->refused_before(plan)}, patience_);
    scheduler_->claimed(plan, result);
    for (const detail::ClaimedTask& task : result.claimed.tasks) ready_.push_back(task);
    const core::Moment now = moment();
    scheduler_->apart().make_room(result.refused_outcomes.size());
    if (scheduler_->written(plan, result, now)) stale_ = true;
    scheduler_->refused(result, now);
    return result;
}

BACKLITE_DECL const store::EndedAttempt* SteppedSession::run_one(const std::shared_ptr<detail::StopSignal>& signal) {
    if (ready_.empty()) return nullptr;
    const detail::ClaimedTask task = std::move(ready_.front());
    ready_.pop_front();
    detail::AttemptResult resolved;
    resolved.others.resize(task.others.size());
    runner_.run(task, signal, observer_, resolved);
    resolved.id = task.id;
    std::vector<detail::AttemptResult> others = std::move(resolved.others);
    scheduler_->collect([&](std::vector<store::EndedAttempt>& outcomes) {
        outcomes.push_back({std::move(resolved), task.queue, task.due});
        for (std::size_t i = 0; i < others.size(); ++i) {
            others[i].id = task.others[i].id;
            outcomes.push_back({std::move(others[i]), task.queue, task.others[i].due});
        }
    });
    return &finished().back();
}

BACKLITE_DECL std::optional<Duration> SteppedSession::next_work() {
    using Steady = core::Scheduler::Steady;
    if (stale_ || !ready_.empty() || !finished().empty()) return Duration::zero();
    const core::Moment now = moment();
    detail::Ms interest = store::never;
    scheduler_->agenda().merge();
    const auto at = scheduler_->wake_time(load(), false, (Steady::time_point::max)(), now, interest);
    if (at == (Steady::time_point::max)()) return std::nullopt;
    return at <= now.steady ? Duration::zero() : std::chrono::ceil<Duration>(at - now.steady);
}

BACKLITE_DECL core::PoolLoad SteppedSession::load() const {
    const std::size_t workers = parts_.config.num_workers;
    core::PoolLoad load;
    load.running = (std::min)(workers, ready_.size());
    load.idle = workers - load.running;
    load.ready = ready_.size() - load.running;
    for (const detail::ClaimedTask& task : ready_) {
        load.crashed = load.crashed || task.crashes > 0;
        load.last_chance = load.last_chance || task.last_chance;
    }
    for (std::size_t i = load.running; i < ready_.size(); ++i) {
        load.ready_work += ready_[i].cost;
        load.ready_bytes += ready_[i].payload.size();
    }
    return load;
}

}  // namespace testing
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
