// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/dispatcher.hpp>.

#include <backlite/engine/dispatcher.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL Dispatcher::Dispatcher(const DispatcherParts& parts)
    : parts_(parts),
      patience_{write_slice, {}},
      scheduler_(parts.config, parts.queues, parts.tell),
      pause_(parts.config.busy_timeout, parts.config.release_after),
      clocks_(parts.clock) {}

BACKLITE_DECL void Dispatcher::run() noexcept {
    parts_.tell(LogLevel::info, "task dispatcher started",
                {{"workers", parts_.config.num_workers}, {"queues", parts_.queues.size()}});
    if (parts_.events != nullptr) parts_.events->tell(EventKind::client_started);
    parts_.finishes.begin();
    scheduler_.begin(now());
    next_observation_ = saturating_add(parts_.clock.steady_now(), observation_interval());
    taken_.refresh = true;
    for (bool stopping = false;;) {
        inbox_.take(taken_);
        if (taken_.stop) (void)guarded([this] { collect_everything(); });
        if (taken_.stop && !std::exchange(stopping, true)) scheduler_.apart().hurry();
        if (taken_.stop && nothing_left()) break;
        watch_the_clocks();
        if (!taken_.abandon && pause_.left(Steady::now()) == Steady::duration::zero()) work();
        (void)guarded([this] { overdue_.look(parts_.pool, parts_.queues, parts_.tell, parts_.clock.steady_now()); });
        (void)guarded([this] { parts_.store.look_after_itself(parts_.tell, Steady::now()); });
        sleep();
    }
    leave();
}

BACKLITE_DECL void Dispatcher::added(std::span<const detail::NewTask> tasks, detail::Ms due) {
    core::Agenda& agenda = scheduler_.agenda();
    std::string_view last{};
    detail::Ms expires_at = store::never;
    bool wake = false;
    for (const detail::NewTask& task : tasks) {
        if (task.unique && task.unique->as == AddedAs::existing) continue;
        if (task.expires_at) expires_at = (std::min)(expires_at, *task.expires_at);
        const bool debounced = task.unique && task.unique->debounced;
        if (task.queue.data() == last.data() && !debounced) continue;
        last = debounced ? std::string_view{} : task.queue;
        if (agenda.lower(task.queue, debounced ? task.unique->due : due, tasks.size())) wake = true;
    }
    if (expires_at != store::never && agenda.lower_expiry(expires_at)) wake = true;
    if (wake) inbox_.wake();
}

BACKLITE_DECL Duration Dispatcher::look_interval() const {
    constexpr Duration most = std::chrono::seconds{1};
    if (parts_.watch.active()) return detail::longest_wait();  // an event may have been missed
    const Duration interval = parts_.config.watch_interval;
    return interval == Duration::zero() ? most : (std::min)(interval, most);
}

BACKLITE_DECL void Dispatcher::work() noexcept {
    const bool good = guarded([this] { look(); }) && guarded([this] { look_after_others(); }) &&
                      guarded([this] { cycle(); }) && guarded([this] { tell_strays(); });
    if (!good || !pause_.recovered()) return;
    parts_.tell(LogLevel::info, "storage works again");
    if (parts_.events != nullptr) parts_.events->tell(EventKind::storage_recovered);
}

BACKLITE_DECL void Dispatcher::demand_tables() noexcept {
    try {
        parts_.store.demand_tables(patience_);
    } catch (...) {  // told by the write path
    }
}

BACKLITE_DECL void Dispatcher::note_failure(std::string_view what, int code, store::Trouble trouble) noexcept {
    if (!pause_.failed(trouble, Steady::now())) return;
    parts_.tell(LogLevel::failure, "storage error: the dispatcher tries again",
                {{"error", what}, {"code", code}, {"unwritten", scheduler_.outcomes().size()}});
    if (parts_.events == nullptr) return;
    parts_.events->tell(EventKind::storage_failing, [&](Event& event) { event.error = what; });
}

BACKLITE_DECL void Dispatcher::watch_the_clocks() noexcept {
    if (const Duration slept = clocks_.slept(); slept > Duration::zero()) {
        parts_.tell(LogLevel::info, "the machine was suspended", {{"for_ms", slept.count()}});
    }
    const Duration jump = clocks_.jump();
    if (jump == Duration::zero()) return;
    parts_.tell(LogLevel::warning, "the wall clock was set", {{"by_ms", jump.count()}});
    if (scheduler_.clock_was_set(jump, now())) taken_.refresh = true;
}

BACKLITE_DECL void Dispatcher::look() {
    const auto begun = parts_.clock.steady_now();
    if (std::exchange(taken_.hint, false)) {
        looks_.hint(begun);
        parts_.owner.keep_room();
    }
    if (looks_.due(begun)) {
        parts_.store.look();  // calls refresh() if there are any
        looks_.looked(begun, look_interval());
        inbox_.take(taken_);
        if (taken_.stop) inbox_.wake();  // a stop is seen to at the start of a round: no sleep before the next
    }
    if (!taken_.refresh || taken_.abandon) return;
    core::Agenda& agenda = scheduler_.agenda();
    agenda.merge();
    const std::uint64_t number = ++looks_begun_;
    store::FileState state = parts_.owner.read(agenda.heads(), scheduler_.doubts_clock(), patience_);
    for (std::size_t i = 0; i < state.heads.size(); ++i) heed_limits(agenda.heads()[i], state.heads[i]);
    taken_.refresh = false;
    strays_ = true;
    foreign_seen_ = state.foreign_commits;
    set_cancels(std::move(state.cancels));
    for (std::size_t i = 0; i < state.heads.size(); ++i) {
        parts_.pool.found_paused(i, state.heads[i].paused, number);
        parts_.pool.found_limited(i, state.heads[i].limits.any(), number);
    }
    scheduler_.found(std::move(state), now());  // by now: what others have committed is no later than that
}

BACKLITE_DECL void Dispatcher::heed_limits(const store::QueueHead& before, const store::QueueHead& now) {
    if (before.limits == now.limits) return;
    const bool own = now.limits == now.registered;
    parts_.tell(LogLevel::info,
                own ? "the program's limits hold again" : "stored limits hold in place of the program's",
                {{"queue", now.name}});
    if (!now.limits.any()) return;
    const auto queue = parts_.queues.find(now.name);
    give_back([queue](const detail::ClaimedTask& task, Steady::time_point) { return task.queue == queue; });
}

BACKLITE_DECL void Dispatcher::look_after_others() {
    if (!parts_.owner.others_known() || taken_.abandon) return;
    const auto now = parts_.clock.steady_now();
    if (now >= next_probe_) {
        next_probe_ = saturating_add(now, probe_interval);
        if (parts_.owner.someone_died()) {
            parts_.owner.rescue(patience_);
            parts_.finishes.committed();
            taken_.refresh = true;
        }
    }
    if (now >= next_observation_) {
        next_observation_ = saturating_add(now, observation_interval());
        if (parts_.owner.observe(patience_) > 0) {
            parts_.finishes.committed();
            taken_.refresh = true;
        }
    }
    if (taken_.refresh) look();
}

BACKLITE_DECL void Dispatcher::tell_strays() {
    const auto now = Steady::now();
    if (scheduler_.agenda().stray_added()) strays_ = true;
    if (now < next_strays_ || taken_.stop || !strays_) return;
    next_strays_ = now + std::chrono::minutes{1};
    const detail::Ms wall = detail::to_ms(parts_.clock.now());
    const auto strays = parts_.store.strays(scheduler_.agenda().heads(), most_strays, patience_);
    strays_ = !strays.empty();
    for (const auto& [queue, due] : strays) {
        const Duration grace = parts_.owner.others_known() ? Duration{std::chrono::hours{1}} : Duration{};
        if (due + grace > wall) continue;
        scheduler_.apart().tell_stray(queue, now);
    }
}

BACKLITE_DECL void Dispatcher::cycle() {
    if (taken_.abandon) return;
    stop_what_is_cancelled();
    give_back_what_is_paused();
    give_back_what_waits_too_long();
    end_what_has_expired();
    if (scheduler_.take_up_refused(now())) taken_.refresh = true;
    scheduler_.agenda().merge();
    const core::PoolLoad load = parts_.pool.load();
    store::CyclePlan plan = make_plan(load);
    const bool outcomes = !scheduler_.outcomes().empty() || scheduler_.outcomes_at(load) <= parts_.clock.steady_now();
    if (!outcomes && plan.empty() && !(plan.count && parts_.add_counts.overdue(Steady::now()))) return;
    collect();
    core::AddCounts::Batch added(parts_.add_counts, Steady::now());
    plan.added = added.tallies();
    if (plan.claim.limit > 0) parts_.pool.make_room(plan.claim.limit);  // now: what is claimed must not get lost
    // One time for all that the cycle does, read after the outcomes came: if the wall clock is set back meanwhile,
    // a retry that is made to wait by the new time is not due by the old.
    const TimePoint wall = parts_.clock.now();
    scheduler_.hold_to_clock(wall);
    plan.claim.now = detail::to_ms(wall);
    // What is refused must not get lost: there is room for it before anything counts.
    const auto prepare = [this](const store::CycleResult& found) {
        scheduler_.apart().make_room(found.refused_outcomes.size());
    };
    FinishWatch::Commit commit(parts_.finishes);
    store::CycleResult result = parts_.store.cycle({.outcomes = scheduler_.outcomes(),
                                                    .plan = plan,
                                                    .heads = scheduler_.agenda().heads(),
                                                    .apart = scheduler_.refused_before(plan),
                                                    .prepare = prepare},
                                                   patience_);
    if (plan.count && !result.refused_statistics) added.written();
    if (plan.cancels) set_cancels(std::move(result.cancels));
    parts_.progress.written(plan.progress, parts_.clock.steady_now());
    commit.ended(scheduler_.outcomes(), plan, result);
    if (parts_.events != nullptr) tell_observers(plan, result);  // before what it claimed may start
    scheduler_.claimed(plan, result);
    for (const detail::ClaimedTask& task : result.claimed.tasks) {
        if (task.expires_at) ready_expires_ = (std::min)(ready_expires_, *task.expires_at);
        for (const detail::ClaimedTask& other : task.others) {
            if (other.expires_at) ready_expires_ = (std::min)(ready_expires_, *other.expires_at);
        }
    }
    parts_.pool.offer(std::move(result.claimed.tasks));
    const core::Moment moment = now();
    if (scheduler_.written(plan, result, moment)) taken_.refresh = true;
    scheduler_.refused(result, moment);
    drop_claims(plan.leases, result.lost_leases);
}

BACKLITE_DECL void Dispatcher::stop_what_is_cancelled() {
    if (cancels_.empty()) return;
    const auto is_one = [this](const detail::ClaimedTask& task, auto&&...) { return is_among(cancels_, task); };
    give_back(is_one);
    stop_cancelled_runs();
}

BACKLITE_DECL void Dispatcher::set_cancels(std::vector<detail::ClaimKey> claims) noexcept {
    std::sort(claims.begin(), claims.end());
    cancels_ = std::move(claims);
}

BACKLITE_DECL void Dispatcher::stop_cancelled_runs() {
    // What is lost alone was asked already.
    const auto is_one = [this](const detail::ClaimedTask& task) {
        return is_among(cancels_, task) || is_among(missed_, task);
    };
    parts_.pool.each_running(is_one, [this](const auto& signal) {
        if (signal->reason() == StopReason::none) parts_.timer.fire(signal, StopReason::cancelled);
    });
}

BACKLITE_DECL void Dispatcher::give_back_what_is_paused() {
    const std::vector<store::QueueHead>& heads = scheduler_.agenda().heads();
    const auto paused = [](const store::QueueHead& head) { return head.paused; };
    if (parts_.pool.load().ready == 0 || std::none_of(heads.begin(), heads.end(), paused)) return;
    give_back([&](const detail::ClaimedTask& task, Steady::time_point) { return heads[task.queue].paused; });
}

BACKLITE_DECL void Dispatcher::give_back_what_waits_too_long() {
    if (taken_.stop || !parts_.owner.others_known()) return;
    const auto limit = parts_.clock.steady_now() - ready_limit;
    if (parts_.pool.load().oldest_ready > limit) return;
    give_back([&](const detail::ClaimedTask&, Steady::time_point offered) { return offered <= limit; });
    scheduler_.waited_too_long(now());
}

BACKLITE_DECL void Dispatcher::end_what_has_expired() {
    const detail::Ms wall = now().wall_ms();
    if (taken_.stop || wall < ready_expires_) return;
    detail::Ms next = store::never;
    const auto is_it = [&](const detail::ClaimedTask& task, Steady::time_point) {
        if (!task.expires_at) return false;
        if (*task.expires_at > wall) next = (std::min)(next, *task.expires_at);
        return *task.expires_at <= wall;
    };
    scheduler_.make_room(parts_.pool.load().ready_tasks() + parts_.config.num_workers);
    for (detail::ClaimedTask& task : parts_.pool.withdraw(is_it)) {
        store::EndedAttempt end{core::TaskRunner::expired(task, parts_.queues[task.queue].config(), wall), task.queue,
                                task.due};
        end.resolved.id = std::move(task.id);
        scheduler_.ended(std::move(end));
    }
    ready_expires_ = next;
}

BACKLITE_DECL store::CyclePlan Dispatcher::make_plan(const core::PoolLoad& load) {
    const core::Moment moment = now();
    core::Scheduler::Inputs in{.load = load, .stopping = taken_.stop, .owner = parts_.owner.number()};
    if (scheduler_.lease_due(moment)) in.claims = parts_.pool.claims();
    if (!taken_.stop && scheduler_.purge_due(moment)) {
        in.expiry = parts_.store.next_expiry(patience_);
    }
    if (!taken_.stop) {
        if (const auto due = scheduler_.schedules_due(moment)) {
            scheduler_.read(parts_.store.due_schedules(*due, patience_), moment);
        }
    }
    store::CyclePlan plan = scheduler_.plan(std::move(in), moment);
    plan.cancels = !cancels_.empty();
    plan.progress = parts_.progress.due(moment.steady);
    if (plan.expire) plan.keep = core::TaskRunner::rules_of_failed(parts_.queues);
    return plan;
}

BACKLITE_DECL void Dispatcher::tell_observers(const store::CyclePlan& plan, const store::CycleResult& result) noexcept {
    const std::vector<store::EndedAttempt>& outcomes = scheduler_.outcomes();
    auto lost = result.lost_outcomes.begin();
    auto cancelled = result.cancelled_outcomes.begin();
    auto refused = result.refused_outcomes.begin();
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        if (outcomes[i].resolved.written) {  // told by its own thread
            continue;
        } else if (refused != result.refused_outcomes.end() && refused->index == i) {
            ++refused;
        } else if (lost != result.lost_outcomes.end() && *lost == i) {
            ++lost;
            const detail::AttemptResult& resolved = outcomes[i].resolved;
            tell_claim_lost({resolved.id, resolved.claim}, outcomes[i].queue, resolved.attempt);
        } else if (cancelled != result.cancelled_outcomes.end() && *cancelled == i) {
            ++cancelled;
            tell_outcome(outcomes[i], EventKind::cancelled);
        } else {
            const detail::AttemptResult& resolved = outcomes[i].resolved;
            const bool expired = resolved.kind == detail::expired_kind;
            tell_outcome(outcomes[i], expired ? EventKind::expired : event_of(resolved.resolution));
        }
    }
    for (const store::EndedTask& task : result.expired) {
        parts_.events->tell(EventKind::expired, [&](Event& event) {
            event.queue = parts_.queues[task.queue].config().name;
            event.task_id = task.id;
        });
    }
    parts_.events->tell(result.cancelled_children);
    for (std::size_t i = 0; i < result.slots.size(); ++i) parts_.events->tell(plan.slots[i], result.slots[i]);
    if (result.lapsed > 0) tell_count(EventKind::rescued, result.lapsed);
    if (result.purged > 0) tell_count(EventKind::purged, result.purged);
}

BACKLITE_DECL EventKind Dispatcher::event_of(detail::RowChange resolution) noexcept {
    switch (resolution) {
        case detail::RowChange::complete: return EventKind::succeeded;
        case detail::RowChange::fail: return EventKind::failed;
        case detail::RowChange::retry: return EventKind::retried;
        case detail::RowChange::snooze: return EventKind::snoozed;
        case detail::RowChange::release: break;
    }
    return EventKind::released;
}

BACKLITE_DECL void Dispatcher::tell_outcome(const store::EndedAttempt& finished, EventKind kind) noexcept {
    const detail::AttemptResult& resolved = finished.resolved;
    parts_.events->tell(kind, [&](Event& event) {
        event.queue = parts_.queues[finished.queue].config().name;
        event.task_id = resolved.id;
        event.attempt = resolved.attempt;
        if (resolved.attempt > 0) {
            event.wait = (std::max)(resolved.executed_at - finished.due, Duration::zero());
            event.duration = resolved.duration;
        }
        if (event.kind == EventKind::retried || event.kind == EventKind::snoozed) {
            event.due = detail::from_ms(resolved.wait_until);
        }
        if (event.kind != EventKind::cancelled && event.kind != EventKind::expired) event.error = resolved.error;
    });
}

BACKLITE_DECL void Dispatcher::tell_claim_lost(const detail::ClaimKey& claim, std::size_t queue, int attempt) noexcept {
    if (lost_.erase(claim) > 0) return;
    parts_.events->tell(EventKind::claim_lost, [&](Event& event) {
        event.queue = parts_.queues[queue].config().name;
        event.task_id = claim.id;
        event.attempt = attempt;
    });
}

BACKLITE_DECL void Dispatcher::tell_count(EventKind kind, std::int64_t count) noexcept {
    parts_.events->tell(kind, [count](Event& event) { event.count = count; });
}

BACKLITE_DECL bool Dispatcher::is_among(const std::vector<detail::ClaimKey>& claims,
                                        const detail::ClaimedTask& task) noexcept {
    const auto found = std::lower_bound(claims.begin(), claims.end(), task, [](const auto& claim, const auto& other) {
        return claim.id == other.id ? claim.number < other.claim : claim.id < other.id;
    });
    return found != claims.end() && found->number == task.claim && found->id == task.id;
}

BACKLITE_DECL void Dispatcher::drop_claims(const std::vector<detail::ClaimKey>& leases,
                                           const std::vector<std::size_t>& lost) {
    if (leases.empty()) return;
    missed_.clear();
    for (const std::size_t index : lost) {
        if (!parts_.pool.is_ending(leases[index])) missed_.push_back(leases[index]);  // not by a transaction of its own
    }
    if (missed_.empty()) return;
    std::sort(missed_.begin(), missed_.end());
    const auto is_one = [this](const detail::ClaimedTask& task, auto&&...) { return is_among(missed_, task); };
    const std::vector<detail::ClaimedTask> unstarted = parts_.pool.withdraw(is_one);
    for (const detail::ClaimKey& claim : missed_) {
        parts_.tell(LogLevel::warning, "claim lost", {{"id", claim.id.str()}, {"claim", claim.number}});
    }
    parts_.pool.each_running(is_one, [this](const auto& signal) { parts_.timer.fire(signal, StopReason::claim_lost); });
    stop_cancelled_runs();
    if (parts_.events == nullptr) return;
    for (const detail::ClaimedTask& task : unstarted) tell_claim_lost({task.id, task.claim}, task.queue, 0);
    struct Run {
        detail::ClaimKey claim{};
        std::size_t queue = 0;
        int attempt = 0;
    };
    std::vector<Run> runs;
    parts_.pool.look_at_running(is_one, [&runs](const detail::ClaimedTask& task) {
        runs.push_back({{task.id, task.claim}, task.queue, core::TaskRunner::attempt_number(task)});
    });
    for (Run& run : runs) {
        tell_claim_lost(run.claim, run.queue, run.attempt);
        try {
            lost_.emplace(std::move(run.claim), run.attempt);
        } catch (const std::bad_alloc&) {  // its outcome will tell it once more
        }
    }
}

BACKLITE_DECL bool Dispatcher::nothing_left() const {
    const core::PoolLoad load = parts_.pool.load();
    return load.running == 0 && load.ready == 0 && load.finished == 0 && (scheduler_.all_written() || taken_.abandon);
}

BACKLITE_DECL void Dispatcher::sleep() {
    const core::Moment moment = now();
    detail::Ms interest = core::Agenda::nothing;
    const Steady::time_point until = wake_time(moment, interest);
    if (until <= moment.steady || !scheduler_.agenda().doze(interest, foreign_seen_)) return;
    inbox_.sleep(until - moment.steady);
}

BACKLITE_DECL auto Dispatcher::wake_time(const core::Moment& moment, detail::Ms& interest) -> Steady::time_point {
    // Nobody tells that a clock was set, a file moved, a log grew, or a task ignores its timeout: these are looked at
    // whenever this thread is awake, if need be for them alone.
    Steady::time_point until = moment.steady + detail::longest_wait();
    const auto at_most = [&until](Steady::time_point time) { until = (std::min)(until, time); };
    const core::PoolLoad load = parts_.pool.load();
    if (taken_.abandon) {
        if (load.finished > 0) at_most(moment.steady + probe_interval);  // there was no memory to take them
        return until;
    }
    if (pause_.failing()) {
        at_most(moment.steady + pause_.left(moment.real));
        return until;
    }
    // A round may have written the last outcome, of which nobody was to be told any more.
    if (taken_.stop && nothing_left()) return moment.steady;
    const bool others = parts_.owner.others_known();
    if (taken_.stop) {
        at_most(scheduler_.wake_time_stopping(load, others, moment));
        return until;
    }
    at_most(scheduler_.wake_time(load, others, parts_.add_counts.next(moment.real), moment, interest));
    // A hint may have come during the look.
    if (taken_.refresh || taken_.hint) at_most(moment.steady);
    if (strays_) at_most(moment.by_real(next_strays_));
    if (!cancels_.empty()) at_most(moment.steady + probe_interval);  // a task may be on its way to a worker
    if (ready_expires_ != store::never) at_most(moment.by_wall(ready_expires_));
    at_most(looks_.next());
    at_most(parts_.progress.next());
    if (others) {
        at_most(next_probe_);
        at_most(next_observation_);
        if (load.ready > 0) at_most(load.oldest_ready + ready_limit);
    }
    return until;
}

BACKLITE_DECL void Dispatcher::leave() noexcept {
    parts_.tell(LogLevel::info, "task dispatcher stopping");
    scheduler_.tell_unwritten();
    const auto try_to_leave = [this] { parts_.owner.leave(patience_); };
    bool left = false;
    while (!taken_.abandon && !left) {
        left = guarded(try_to_leave);
        if (!left) inbox_.sleep(probe_interval);
        inbox_.take(taken_);
    }
    parts_.owner.let_go();
    parts_.finishes.end();
    if (parts_.events != nullptr) parts_.events->tell(EventKind::client_stopped);
    ending_.end(left && scheduler_.all_written());
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
