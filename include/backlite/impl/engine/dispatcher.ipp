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
      due_(parts.queues),
      claims_(parts.config.num_workers),
      pause_(parts.config.busy_timeout, parts.config.release_after),
      apart_(parts.queues, parts.tell),
      clocks_(parts.clock),
      mending_(parts.queues.size(), core::Agenda::nothing),
      log_growth_(parts.writes.connection().file()) {}

BACKLITE_DECL void Dispatcher::run() noexcept {
    parts_.tell(LogLevel::info, "task dispatcher started",
                {{"workers", parts_.config.num_workers}, {"queues", parts_.queues.size()}});
    const auto now = parts_.clock.steady_now();
    next_lease_ = saturating_add(now, lease_interval());
    next_observation_ = saturating_add(now, observation_interval());
    next_purge_ = parts_.config.cleanup_interval > Duration::zero() ? now : (Steady::time_point::max)();
    taken_.refresh = true;
    for (bool stopping = false;;) {
        inbox_.take(taken_);
        if (taken_.stop) (void)guarded([this] { collect_everything(); });
        if (taken_.stop && !std::exchange(stopping, true)) apart_.hurry();
        if (taken_.stop && nothing_left()) break;
        watch_the_clocks();
        if (!taken_.abandon && pause_.left(Steady::now()) == Steady::duration::zero()) work();
        (void)guarded([this] { overdue_.look(parts_.pool, parts_.queues, parts_.tell, parts_.clock.steady_now()); });
        (void)guarded([this] { log_growth_.look(parts_.tell, Steady::now()); });
        sleep();
    }
    leave();
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
    if (good && pause_.recovered()) parts_.tell(LogLevel::info, "storage works again");
}

BACKLITE_DECL void Dispatcher::demand_tables() noexcept {
    try {
        parts_.writes.read([](store::sqlite::Repository& repository) { repository.upkeep.demand_tables(); }, patience_);
    } catch (...) {  // told by the write path
    }
}

BACKLITE_DECL void Dispatcher::note_failure(std::string_view what, int code, store::Trouble trouble) noexcept {
    if (!pause_.failed(trouble, Steady::now())) return;
    parts_.tell(LogLevel::failure, "storage error: the dispatcher tries again",
                {{"error", what}, {"code", code}, {"unwritten", unwritten_.size()}});
}

BACKLITE_DECL void Dispatcher::watch_the_clocks() noexcept {
    if (const Duration slept = clocks_.slept(); slept > Duration::zero()) {
        parts_.tell(LogLevel::info, "the machine was suspended", {{"for_ms", slept.count()}});
    }
    const Duration jump = clocks_.jump();
    if (jump == Duration::zero()) return;
    parts_.tell(LogLevel::warning, "the wall clock was set", {{"by_ms", jump.count()}});
    jump_back_ = (std::max)(jump_back_ - jump, Duration::zero());
    if (jump_back_ > Duration::zero()) mend_everything();
    if (jump > Duration::zero()) doubtful_ = taken_.refresh = true;
}

BACKLITE_DECL void Dispatcher::mend_everything() {
    mending_.assign(parts_.queues.size(), core::Agenda::nothing);
    mend_all_ = true;
    next_mend_ = parts_.clock.steady_now();
}

BACKLITE_DECL void Dispatcher::look() {
    const auto now = parts_.clock.steady_now();
    if (std::exchange(taken_.hint, false)) {
        looks_.hint(now);
        parts_.liveness.keep_room();
    }
    if (looks_.due(now)) {
        parts_.writes.look();  // calls refresh() if there are any
        looks_.looked(now, look_interval());
        inbox_.take(taken_);
        if (taken_.stop) inbox_.wake();  // a stop is seen to at the start of a round: no sleep before the next
    }
    if (!taken_.refresh || taken_.abandon) return;
    due_.merge();
    std::vector<store::QueueHead> heads;
    std::vector<detail::OwnerRow> others;
    std::optional<detail::Ms> ownerless;
    std::uint64_t foreign = 0;
    detail::Minute known{};
    std::optional<detail::Minute> latest;
    const detail::Ms wall = detail::to_ms(parts_.clock.now());
    parts_.writes.read(
        [&](store::sqlite::Repository& repository) {
            foreign = parts_.writes.foreign_commits();
            heads = due_.heads();
            repository.claims.read_heads(heads);
            others = parts_.liveness.read_others(repository);
            ownerless = repository.upkeep.oldest_ownerless();
            latest = repository.statistics.latest_minute();
            if (doubtful_) known = repository.statistics.known_minute(detail::minute_of(wall));
        },
        patience_);
    taken_.refresh = false;
    strays_ = true;
    due_.set(std::move(heads));
    foreign_seen_ = foreign;
    parts_.liveness.set_others(std::move(others));
    ownerless_ = ownerless;
    if (std::exchange(doubtful_, false)) {
        trust_.doubt(known == detail::minute_of(wall) ? wall : detail::start_of((std::max)(known, detail::Minute{})),
                     now);
    }
    // What others did while the clock was ahead, or this client in an earlier life.
    if (latest && *latest > detail::minute_of(wall) && *latest > latest_mended_) {
        latest_mended_ = *latest;
        mend_everything();
    }
}

BACKLITE_DECL void Dispatcher::look_after_others() {
    if (!parts_.liveness.others_known() || taken_.abandon) return;
    const auto now = parts_.clock.steady_now();
    if (now >= next_probe_) {
        next_probe_ = saturating_add(now, probe_interval);
        if (parts_.liveness.someone_died()) {
            parts_.liveness.rescue(patience_);
            taken_.refresh = true;
        }
    }
    if (now >= next_observation_) {
        next_observation_ = saturating_add(now, observation_interval());
        if (parts_.liveness.observe(patience_) > 0) taken_.refresh = true;
    }
    if (taken_.refresh) look();
}

BACKLITE_DECL void Dispatcher::tell_strays() {
    const auto now = Steady::now();
    if (due_.stray_added()) strays_ = true;
    if (now < next_strays_ || taken_.stop || !strays_) return;
    next_strays_ = now + std::chrono::minutes{1};
    const detail::Ms wall = detail::to_ms(parts_.clock.now());
    std::vector<std::pair<std::string, detail::Ms>> strays;
    parts_.writes.read(
        [&](store::sqlite::Repository& repository) { strays = repository.claims.strays(due_.heads(), most_strays); },
        patience_);
    strays_ = !strays.empty();
    for (const auto& [queue, due] : strays) {
        const Duration grace = parts_.liveness.others_known() ? Duration{std::chrono::hours{1}} : Duration{};
        if (due + grace > wall) continue;
        apart_.tell_stray(queue, now);
    }
}

BACKLITE_DECL void Dispatcher::cycle() {
    if (taken_.abandon) return;
    give_back_what_waits_too_long();
    if (apart_.take_up(Steady::now(), unwritten_, due_)) taken_.refresh = true;
    due_.merge();
    const WorkerPool::Load load = look_at_pool();
    store::CyclePlan plan = make_plan(load);
    const bool outcomes = !unwritten_.empty() || outcomes_at(load) <= parts_.clock.steady_now();
    if (!outcomes && plan.empty() && !(plan.count && parts_.add_counts.overdue(Steady::now()))) return;
    collect();
    core::AddCounts::Batch added(parts_.add_counts, Steady::now());
    plan.added = added.tallies();
    if (plan.claim.limit > 0) parts_.pool.make_room(plan.claim.limit);  // now: what is claimed must not get lost
    // One time for all that the cycle does, read after the outcomes came: if the wall clock is set back meanwhile,
    // a retry that is made to wait by the new time is not due by the old.
    const TimePoint now = parts_.clock.now();
    const detail::Ms wall = detail::to_ms(now);
    for (store::EndedAttempt& finished : unwritten_) hold_to_clock(finished.resolved, now);
    plan.claim.now = wall;
    store::CycleResult result;
    const bool refused_before =
        plan.purge_past > 0 || std::any_of(unwritten_.begin(), unwritten_.end(),
                                           [](const store::EndedAttempt& one) { return one.setback.any(); });
    parts_.writes.write_in_parts(
        [&](store::sqlite::Repository& repository, store::sqlite::Isolation* apart) {
            // By the clock as it is inside the transaction: what others have committed is no later than that.
            result = store::sqlite::run_cycle(repository, unwritten_, plan, due_.heads(),
                                              detail::to_ms(parts_.clock.now()), apart);
            apart_.make_room(result.refused_outcomes.size());  // now: what is refused must not get lost
        },
        patience_, refused_before);
    if (plan.count && !result.refused_statistics) added.written();
    settle(plan, result);
}

BACKLITE_DECL auto Dispatcher::look_at_pool() -> WorkerPool::Load {
    const WorkerPool::Load load = parts_.pool.load();
    due_.release_held(load.crashed, load.free_workers() > 0);
    return load;
}

BACKLITE_DECL void Dispatcher::collect() {
    std::size_t next = unwritten_.size();
    parts_.pool.take_finished(unwritten_);
    for (; next < unwritten_.size(); ++next) {
        const store::EndedAttempt& finished = unwritten_[next];
        const detail::AttemptResult& resolved = finished.resolved;
        if (resolved.resolution == detail::RowChange::release) continue;
        due_.measured(finished.queue, resolved.duration);
        claims_.measured(resolved.executed_at, resolved.duration);
    }
}

BACKLITE_DECL void Dispatcher::give_back_what_waits_too_long() {
    if (taken_.stop || !parts_.liveness.others_known()) return;
    const auto limit = parts_.clock.steady_now() - ready_limit;
    if (parts_.pool.load().oldest_ready > limit) return;
    give_back([&](const detail::ClaimedTask&, Steady::time_point offered) { return offered <= limit; });
    claims_.suspend(detail::to_ms(parts_.clock.now()));
}

BACKLITE_DECL store::CyclePlan Dispatcher::make_plan(const WorkerPool::Load& load) {
    store::CyclePlan plan;
    const auto now = parts_.clock.steady_now();
    const detail::Ms wall = detail::to_ms(parts_.clock.now());
    planned_ = now;
    if (now >= next_lease_) {
        plan.leases = parts_.pool.claims();
        for (const store::EndedAttempt& refused : apart_.outcomes()) {
            plan.leases.push_back({refused.resolved.id, refused.resolved.claim});
        }
        if (plan.leases.empty()) next_lease_ = saturating_add(now, lease_interval());
    }
    const auto real = Steady::now();
    if (now >= mend_at(wall) && !apart_.waits(core::SetApart::Step::jump, real)) {
        plan.mend = mending_;
        plan.jump_back = jump_back_;
    }
    plan.count = !apart_.waits(core::SetApart::Step::statistics, real);
    if (taken_.stop) return plan;
    if (now >= next_purge_) {
        plan.past = trust_.past(wall, now, watched_before_purge(), std::chrono::hours{1});
        plan.purge = purge_needed(plan.past);
        plan.purge_past = purge_past_;
        if (!plan.purge) next_purge_ = purge_after(now);
    }
    plan.lapse_until = wall - parts_.config.release_after;
    plan.lapse = ownerless_ && *ownerless_ <= plan.lapse_until && !apart_.waits(core::SetApart::Step::lapse, real);
    const store::QueueHead* head = due_.earliest();
    if (head == nullptr || head->due > wall) return plan;
    plan.claim = claims_.request(load, head, due_.worker_wanted());
    plan.claim.owner = parts_.liveness.owner();
    plan.claim.max_payload = parts_.config.max_payload;
    plan.claim.leave = apart_.left();
    return plan;
}

BACKLITE_DECL auto Dispatcher::purge_after(Steady::time_point now) const -> Steady::time_point {
    const auto next = saturating_add(now, parts_.config.cleanup_interval);
    const auto sure = trust_.sure_at(watched_before_purge());
    return sure > now ? (std::min)(next, sure) : next;
}

BACKLITE_DECL bool Dispatcher::purge_needed(detail::Ms wall) {
    std::optional<detail::Ms> expiry;
    parts_.writes.read([&](store::sqlite::Repository& repository) { expiry = repository.upkeep.next_expiry(); },
                       patience_);
    return expiry && *expiry <= wall;
}

BACKLITE_DECL void Dispatcher::settle(const store::CyclePlan& plan, store::CycleResult& result) {
    due_.set(std::move(result.heads));
    if (plan.claim.limit > 0) {
        claims_.claimed(plan.claim, result.claimed);
        parts_.pool.offer(std::move(result.claimed.tasks));
    }
    std::vector<store::EndedAttempt> written = std::exchange(unwritten_, {});
    const detail::Ms wall = detail::to_ms(parts_.clock.now());
    for (const std::size_t index : result.lost_outcomes) {
        tell_of(written[index], LogLevel::warning, "outcome dropped: the claim was taken back");
    }
    for (const std::size_t index : result.without_payload) {
        tell_of(written[index], LogLevel::warning, "outcome shortened: with its payload the row is too large");
    }
    const auto real = Steady::now();
    auto refusal = result.refused_outcomes.begin();
    for (std::size_t i = 0; i < written.size(); ++i) {
        store::EndedAttempt& finished = written[i];
        if (refusal != result.refused_outcomes.end() && refusal->index == i) {
            apart_.keep(std::move(finished), (refusal++)->error, real);
            continue;
        }
        if (finished.setback.any()) tell_of(finished, LogLevel::info, "outcome written: it is refused no longer");
        const detail::RowChange resolution = finished.resolved.resolution;
        if (resolution == detail::RowChange::retry || resolution == detail::RowChange::snooze) {
            due_.note(finished.queue, finished.resolved.wait_until);
        } else if (resolution == detail::RowChange::release) {
            // The clock may have been set back since.
            due_.note(finished.queue,
                      finished.resolved.wait ? finished.resolved.wait_until : (std::min)(finished.due, wall));
        }
    }
    if (!plan.leases.empty()) next_lease_ = saturating_add(planned_, lease_interval());
    for (const store::Refusal& refused : result.refused_leases) {
        apart_.tell_lease(plan.leases[refused.index].id, refused.error, real);
    }
    for (const auto& [step, error] : {std::pair{core::SetApart::Step::statistics, &result.refused_statistics},
                                      std::pair{core::SetApart::Step::jump, &result.refused_jump},
                                      std::pair{core::SetApart::Step::lapse, &result.refused_lapse},
                                      std::pair{core::SetApart::Step::purge, &result.refused_purge}}) {
        if (*error) apart_.keep(step, **error, real);
    }
    if (plan.purge) note_purge(result);
    if (plan.lapse && result.lapsed > 0) {
        taken_.refresh = true;
        lapsed_ += result.lapsed;
    }
    if (plan.lapse && lapsed_ > 0 && !result.lapse_left) {
        parts_.tell(LogLevel::warning, "rescued claims of an unknown owner", {{"claims", std::exchange(lapsed_, 0)}});
    }
    if (!plan.mend.empty()) note_mended(result);
    for (const store::RefusedClaim& refused : result.claimed.refused) apart_.keep(refused, real);
    for (const std::size_t index : result.lost_leases) drop_claim(plan.leases[index]);
}

BACKLITE_DECL void Dispatcher::drop_claim(const detail::ClaimKey& claim) {
    const auto is_it = [&](const auto& task, auto&&...) { return task.id == claim.id && task.claim == claim.number; };
    (void)parts_.pool.withdraw(is_it);
    parts_.tell(LogLevel::warning, "claim lost", {{"id", claim.id.str()}, {"claim", claim.number}});
    parts_.pool.each_running(is_it, [this](const auto& signal) { parts_.timer.fire(signal, StopReason::claim_lost); });
}

BACKLITE_DECL auto Dispatcher::mend_at(detail::Ms wall) const noexcept -> Steady::time_point {
    constexpr detail::Ms year_2010{1'262'304'000'000};
    const bool behind = wall < year_2010 && jump_back_ == Duration::zero();
    return mending_.empty() || behind ? (Steady::time_point::max)() : next_mend_;
}

BACKLITE_DECL void Dispatcher::note_mended(store::CycleResult& result) {
    next_mend_ = parts_.clock.steady_now();
    if (!mend_all_ || result.refused_jump) next_mend_ = saturating_add(next_mend_, std::chrono::seconds{1});
    if (result.refused_jump) return;
    mending_ = std::move(result.mend_next);
    if (result.mended > 0) taken_.refresh = true;
    const bool done =
        std::all_of(mending_.begin(), mending_.end(), [](detail::Ms next) { return next == store::never; });
    if (!done) return;
    mending_.clear();
    mend_all_ = false;
    jump_back_ = Duration::zero();
}

BACKLITE_DECL void Dispatcher::note_purge(const store::CycleResult& result) {
    if (result.purged > 0) {
        parts_.tell(LogLevel::info, "purged expired tasks", {{"tasks", result.purged}});
    }
    purge_past_ += result.purge_left;
    if (result.purged + result.purge_left < store::sqlite::upkeep_chunk) {
        purge_past_ = 0;
        next_purge_ = purge_after(parts_.clock.steady_now());
    }
}

BACKLITE_DECL bool Dispatcher::nothing_left() const {
    const WorkerPool::Load load = parts_.pool.load();
    return load.running == 0 && load.ready == 0 && load.finished == 0 &&
           ((unwritten_.empty() && apart_.outcomes().empty()) || taken_.abandon);
}

BACKLITE_DECL void Dispatcher::sleep() {
    const auto now = parts_.clock.steady_now();
    detail::Ms interest = core::Agenda::nothing;
    const Steady::time_point until = wake_time(now, interest);
    if (until <= now || !due_.doze(interest, foreign_seen_)) return;
    inbox_.sleep(until - now);
}

BACKLITE_DECL auto Dispatcher::wake_time(Steady::time_point now, detail::Ms& interest) -> Steady::time_point {
    // Nobody tells that a clock was set, a file moved, a log grew, or a task ignores its timeout: these are looked at
    // whenever this thread is awake, if need be for them alone.
    Steady::time_point until = now + detail::longest_wait();
    const auto at_most = [&until](Steady::time_point time) { until = (std::min)(until, time); };
    if (taken_.abandon) {
        if (parts_.pool.load().finished > 0) at_most(now + probe_interval);  // there was no memory to take them
        return until;
    }
    if (pause_.failing()) {
        at_most(now + pause_.left(Steady::now()));
        return until;
    }
    // A round may have written the last outcome, of which nobody was to be told any more.
    if (taken_.stop && nothing_left()) return now;
    const WorkerPool::Load load = look_at_pool();
    // With others there, also while nothing runs: a task may be handed to a worker without waking this thread.
    const bool claims = load.running + load.ready > 0 || !apart_.outcomes().empty();
    if (claims || parts_.liveness.others_known()) at_most(next_lease_);
    at_most(saturating_add(now, std::chrono::ceil<Duration>(apart_.next() - Steady::now())));
    if (taken_.stop) {
        if (load.finished > 0) at_most(now);
        return until;
    }
    const detail::Ms wall = detail::to_ms(parts_.clock.now());
    const auto by_wall = [&](detail::Ms time) { return time <= wall ? now : saturating_add(now, time - wall); };
    const auto by_real = [&](Steady::time_point time) {
        return saturating_add(now, std::chrono::ceil<Duration>(time - Steady::now()));
    };
    const auto unless_refused = [&](core::SetApart::Step step, Steady::time_point time) {
        at_most((std::max)(time, by_real(apart_.until(step))));
    };
    // A hint may have come during the look.
    if (taken_.refresh || taken_.hint) at_most(now);
    if (strays_) at_most(by_real(next_strays_));
    unless_refused(core::SetApart::Step::statistics, by_real(parts_.add_counts.next(Steady::now())));
    at_most(outcomes_at(load));
    at_most(looks_.next());
    at_most(next_purge_);
    unless_refused(core::SetApart::Step::jump, mend_at(wall));
    if (parts_.liveness.others_known()) {
        at_most(next_probe_);
        at_most(next_observation_);
        if (load.ready > 0) at_most(load.oldest_ready + ready_limit);
    }
    if (ownerless_) {
        unless_refused(core::SetApart::Step::lapse, by_wall(*ownerless_ + parts_.config.release_after));
    }
    const store::QueueHead* head = due_.earliest();
    if (claims_.request(load, head, due_.worker_wanted()).limit > 0) {
        interest = head == nullptr ? store::never : head->due;
        if (head != nullptr) at_most(by_wall(head->due));
    }
    return until;
}

BACKLITE_DECL void Dispatcher::leave() noexcept {
    parts_.tell(LogLevel::info, "task dispatcher stopping");
    const bool unwritten = !unwritten_.empty() || !apart_.outcomes().empty();
    for (const std::vector<store::EndedAttempt>* outcomes : {&std::as_const(unwritten_), &apart_.outcomes()}) {
        for (const store::EndedAttempt& finished : *outcomes) {
            tell_of(finished, LogLevel::failure, "outcome not written: the task may run again");
        }
    }
    const auto try_to_leave = [this] { parts_.liveness.leave(patience_); };
    bool left = false;
    while (!taken_.abandon && !left) {
        left = guarded(try_to_leave);
        if (!left) inbox_.sleep(probe_interval);
        inbox_.take(taken_);
    }
    parts_.liveness.let_go();
    ending_.end(left && !unwritten);
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
