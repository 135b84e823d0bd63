// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/scheduler.hpp>.

#include <backlite/core/scheduler.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void Scheduler::begin(const Moment& now) noexcept {
    next_lease_ = saturating_add(now.steady, lease_interval());
    next_purge_ = config_.cleanup_interval > Duration::zero() ? now.steady : (Steady::time_point::max)();
}

BACKLITE_DECL bool Scheduler::clock_was_set(Duration by, const Moment& now) {
    jump_back_ = (std::max)(jump_back_ - by, Duration::zero());
    if (jump_back_ > Duration::zero()) mend_everything(now);
    if (by > Duration::zero()) doubtful_ = true;
    if (agenda_.waits_for_time()) next_partitions_ = now.steady;
    return by > Duration::zero() || agenda_.waits_for_time();
}

BACKLITE_DECL void Scheduler::found(store::FileState state, const Moment& now) {
    const detail::Ms wall = now.wall_ms();
    bool limits_changed = state.held_back;
    for (std::size_t i = 0; i < (std::min)(state.heads.size(), agenda_.heads().size()); ++i) {
        limits_changed = limits_changed || state.heads[i].limits != agenda_.heads()[i].limits;
    }
    agenda_.set(std::move(state.heads));
    // Others may have deleted a task that had its partition's turn.
    if (limits_changed) {
        next_partitions_ = now.steady;
    } else if (agenda_.has_partitions()) {
        next_partitions_ = (std::min)(next_partitions_, saturating_add(last_partitions_, partitions_again));
    }
    ownerless_ = state.ownerless;
    stale_keys_ = state.stale_keys;
    slots_.found(state.slot);
    next_expired_ = state.expiry.value_or(store::never);
    if (next_expired_ < expired_from_) {
        expired_from_ = next_expired_;
        expired_past_ = 0;
    }
    children_ = children_ || state.children;
    if (state.parents && !sweep_) sweep_.emplace();
    if (std::exchange(doubtful_, false)) {
        const bool now_known = state.known == detail::minute_of(wall);
        trust_.doubt(now_known ? wall : detail::start_of((std::max)(state.known, detail::Minute{})), now.steady);
    }
    // What others did while the clock was ahead, or this client in an earlier life.
    if (state.latest && *state.latest > detail::minute_of(wall) && *state.latest > latest_mended_) {
        latest_mended_ = *state.latest;
        mend_everything(now);
    }
}

BACKLITE_DECL void Scheduler::mend_everything(const Moment& now) {
    mending_.assign(queues_.size(), Agenda::nothing);
    mend_all_ = true;
    next_mend_ = now.steady;
    slots_.clock_was_ahead();
}

BACKLITE_DECL std::optional<store::DueQuery> Scheduler::schedules_due(const Moment& now) {
    slots_.take_up(now.real);
    const detail::Ms wall = now.wall_ms();
    return slots_.unread(wall, now.real) ? std::optional{slots_.query(wall, now.real)} : std::nullopt;
}

BACKLITE_DECL void Scheduler::measure(std::size_t from) {
    for (std::size_t i = from; i < outcomes_.size(); ++i) {
        const detail::AttemptResult& resolved = outcomes_[i].resolved;
        if (!resolved.counts()) continue;
        agenda_.measured(outcomes_[i].queue, resolved.duration);
        claims_.measured(resolved.executed_at, resolved.duration);
    }
}

BACKLITE_DECL void Scheduler::give_back(detail::ClaimedTask task) {
    tell_(LogLevel::debug, "task given back",
          {{"id", task.id.str()}, {"queue", queues_[task.queue].config().name}, {"reason", "not started"}});
    detail::AttemptResult release{
        .id = std::move(task.id), .claim = task.claim, .expires_at = task.expires_at, .large = task.large()};
    outcomes_.push_back({std::move(release), task.queue, task.due});
}

BACKLITE_DECL bool Scheduler::take_up_refused(const Moment& now) {
    return apart_.take_up(now.real, outcomes_, agenda_);
}

BACKLITE_DECL void Scheduler::hold_to_clock(TimePoint now) noexcept {
    for (store::EndedAttempt& finished : outcomes_) {
        detail::AttemptResult& resolved = finished.resolved;
        resolved.executed_at = (std::min)(resolved.executed_at, detail::to_ms(now));
        if (resolved.wait) {
            resolved.wait_until = (std::min)(resolved.wait_until, detail::due_after(now, *resolved.wait));
        }
    }
}

BACKLITE_DECL bool Scheduler::refused_before(const store::CyclePlan& plan) const noexcept {
    return plan.purge_past > 0 || plan.expire_past > 0 ||
           std::any_of(outcomes_.begin(), outcomes_.end(),
                       [](const store::EndedAttempt& one) { return one.setback.any(); });
}

BACKLITE_DECL store::CyclePlan Scheduler::plan(Inputs in, const Moment& now) {
    store::CyclePlan plan;
    const detail::Ms wall = now.wall_ms();
    planned_ = now.steady;
    plan.claim.ageing = config_.ageing;
    agenda_.release_held(in.load.crashed, in.load.free_workers() > 0);
    if (lease_due(now)) {
        plan.leases = std::move(in.claims);
        for (const store::EndedAttempt& refused : apart_.outcomes()) {
            plan.leases.push_back({refused.resolved.id, refused.resolved.claim});
        }
        if (plan.leases.empty()) next_lease_ = saturating_add(now.steady, lease_interval());
    }
    if (now.steady >= mend_at(wall) && !apart_.waits(SetApart::Step::jump, now.real)) {
        plan.mend = mending_;
        plan.jump_back = jump_back_;
    }
    plan.count = !apart_.waits(SetApart::Step::statistics, now.real);
    if (in.stopping) return plan;
    plan.keys = stale_keys_;
    plan.slots = slots_.plans();
    if (purge_due(now)) {
        plan.past = trust_.past(wall, now.steady, watched_before_purge(), std::chrono::hours{1});
        plan.purge = in.expiry && *in.expiry <= plan.past;
        plan.purge_past = purge_past_;
        if (!plan.purge) next_purge_ = purge_after(now.steady);
    }
    if (next_expired_ = agenda_.first_expiry(next_expired_); now.steady >= expire_at(now)) {
        if (next_expired_ < expired_from_) {
            expired_from_ = next_expired_;
            expired_past_ = 0;
        }
        plan.expire = true;
        plan.expire_from = expired_from_;
        plan.expire_until = wall;
        plan.expire_past = expired_past_;
    }
    if (now.steady >= children_at(now) && !apart_.waits(SetApart::Step::children, now.real)) {
        plan.children = true;
        if (now.steady >= next_sweep_) plan.sweep = sweep_;
    }
    plan.lapse_until = wall - config_.release_after;
    plan.lapse = ownerless_ && *ownerless_ <= plan.lapse_until && !apart_.waits(SetApart::Step::lapse, now.real);
    plan.open_partitions = agenda_.next_opening() <= wall;
    plan.mend_partitions = now.steady >= next_partitions_ && !apart_.waits(SetApart::Step::partitions, now.real);
    // The claim comes after those outcomes, in the same transaction.
    const bool ends = in.load.finished > 0 || !outcomes_.empty();
    if (ends) agenda_.slots_may_be_free();
    const store::QueueHead* head = agenda_.earliest();
    const bool frees = plan.open_partitions || plan.mend_partitions || (ends && agenda_.has_partitions());
    if (!frees && (head == nullptr || head->starts() > wall)) return plan;
    plan.claim = claims_.request(in.load, agenda_.next(wall, config_.ageing), agenda_.worker_wanted());
    plan.claim.ageing = config_.ageing;
    plan.claim.owner = in.owner;
    plan.claim.max_payload = config_.max_payload;
    plan.claim.leave = apart_.left();
    return plan;
}

BACKLITE_DECL auto Scheduler::expire_at(const Moment& now) const -> Steady::time_point {
    if (next_expired_ == store::never) return (Steady::time_point::max)();
    return (std::max)(now.by_wall(next_expired_), expire_rest_);
}

BACKLITE_DECL void Scheduler::note_expired(const store::CyclePlan& plan, const store::CycleResult& result,
                                           const Moment& now) {
    expired_past_ += result.expire_left;
    if (result.refused_expiry) {
        tell_(LogLevel::warning, "expired tasks cannot be ended",
              {{"error", result.refused_expiry->what()}, {"code", result.refused_expiry->extended_code()}});
    }
    if (result.expire_more) return;
    next_expired_ = result.expire_next.value_or(store::never);
    expired_from_ = plan.expire_until + Duration{1};
    if (std::exchange(expired_past_, 0) > 0) expire_rest_ = saturating_add(now.steady, expired_again);
}

BACKLITE_DECL auto Scheduler::children_at(const Moment& now) const -> Steady::time_point {
    if (children_) return now.steady;
    return sweep_ ? (std::max)(next_sweep_, now.steady) : (Steady::time_point::max)();
}

BACKLITE_DECL void Scheduler::note_children(const store::CyclePlan& plan, store::CycleResult& result,
                                            const Moment& now) {
    if (result.children_left) children_ = *result.children_left;
    for (const store::EndedChild& child : result.cancelled_children) {
        tell_(LogLevel::info, "task cancelled: one that it waited for has not succeeded",
              {{"id", child.id.str()}, {"queue", child.queue}});
    }
    if (!plan.sweep) return;
    sweep_ = std::move(result.sweep_next);
    ++sweeps_;
    // The more there is to look through, the less often.
    if (!sweep_) next_sweep_ = saturating_add(now.steady, Duration{1000} * (std::exchange(sweeps_, 0)));
}

BACKLITE_DECL auto Scheduler::purge_after(Steady::time_point now) const -> Steady::time_point {
    const auto next = saturating_add(now, config_.cleanup_interval);
    const auto sure = trust_.sure_at(watched_before_purge());
    return sure > now ? (std::min)(next, sure) : next;
}

BACKLITE_DECL void Scheduler::claimed(const store::CyclePlan& plan, store::CycleResult& result) noexcept {
    agenda_.set(std::move(result.heads));
    if (plan.claim.limit > 0) claims_.claimed(plan.claim, result.claimed);
}

BACKLITE_DECL bool Scheduler::written(const store::CyclePlan& plan, store::CycleResult& result,
                                      const Moment& now) noexcept {
    bool stale = false;
    std::vector<store::EndedAttempt> written = std::exchange(outcomes_, {});
    for (const std::size_t index : result.lost_outcomes) {
        tell_of(written[index], LogLevel::warning, "outcome dropped: the claim was taken back");
    }
    for (const std::size_t index : result.cancelled_outcomes) {
        tell_of(written[index], LogLevel::info, "task cancelled");
        written[index].resolved.kind.reset();
        written[index].resolved.resolution = detail::RowChange::fail;  // it is not due again
    }
    for (const std::size_t index : result.without_payload) {
        tell_of(written[index], LogLevel::warning, "outcome shortened: the whole row is too large");
    }
    auto refusal = result.refused_outcomes.begin();
    std::size_t expired = result.expired.size();
    for (std::size_t i = 0; i < written.size(); ++i) {
        if (refusal != result.refused_outcomes.end() && refusal->index == i) {
            apart_.keep(std::move(written[i]), (refusal++)->error, now.real);
        } else {
            if (written[i].resolved.kind == detail::expired_kind) ++expired;
            note_outcome(written[i], now.wall_ms());
        }
    }
    if (!plan.leases.empty()) next_lease_ = saturating_add(planned_, lease_interval());
    for (const store::Refusal& refused : result.refused_leases) {
        apart_.tell_lease(plan.leases[refused.index].id, refused.error, now.real);
    }
    for (const auto& [step, error] : {std::pair{SetApart::Step::statistics, &result.refused_statistics},
                                      std::pair{SetApart::Step::jump, &result.refused_jump},
                                      std::pair{SetApart::Step::lapse, &result.refused_lapse},
                                      std::pair{SetApart::Step::purge, &result.refused_purge},
                                      std::pair{SetApart::Step::children, &result.refused_children},
                                      std::pair{SetApart::Step::partitions, &result.refused_partitions}}) {
        if (*error) apart_.keep(step, **error, now.real);
    }
    if (plan.keys) stale_keys_ = false;
    if (result.refused_progress) {
        tell_(LogLevel::warning, "what tasks say of their progress cannot be written",
              {{"error", result.refused_progress->what()}, {"code", result.refused_progress->extended_code()}});
    }
    if (plan.mend_partitions && !result.refused_partitions) {
        last_partitions_ = now.steady;
        next_partitions_ = result.mend_partitions_left ? now.steady : (Steady::time_point::max)();
    }
    if (plan.purge) note_purge(result, now);
    if (plan.expire) note_expired(plan, result, now);
    if (result.children_left) note_children(plan, result, now);
    if (expired > 0) tell_(LogLevel::info, "tasks expired", {{"tasks", expired}});
    if (plan.lapse && result.lapsed > 0) {
        stale = true;
        lapsed_ += result.lapsed;
    }
    if (plan.lapse && lapsed_ > 0 && !result.lapse_left) {
        tell_(LogLevel::warning, "rescued claims of an unknown owner", {{"claims", std::exchange(lapsed_, 0)}});
    }
    if (!plan.mend.empty() && note_mended(result, now)) stale = true;
    if (slots_.written(result.slots, agenda_, next_expired_, now.real)) stale = true;
    return stale;
}

BACKLITE_DECL void Scheduler::refused(const store::CycleResult& result, const Moment& now) {
    for (const store::RefusedClaim& claim : result.claimed.refused) apart_.keep(claim, now.real);
}

BACKLITE_DECL void Scheduler::note_outcome(store::EndedAttempt& finished, detail::Ms wall) {
    if (finished.setback.any()) tell_of(finished, LogLevel::info, "outcome written: it is refused no longer");
    const detail::RowChange resolution = finished.resolved.resolution;
    if (resolution == detail::RowChange::retry || resolution == detail::RowChange::snooze) {
        agenda_.note(finished.queue, finished.resolved.wait_until);
    } else if (resolution == detail::RowChange::release) {
        if (finished.resolved.expires_at) next_expired_ = (std::min)(next_expired_, *finished.resolved.expires_at);
        // The clock may have been set back since.
        agenda_.note(finished.queue,
                     finished.resolved.wait ? finished.resolved.wait_until : (std::min)(finished.due, wall));
    }
}

BACKLITE_DECL auto Scheduler::mend_at(detail::Ms wall) const noexcept -> Steady::time_point {
    constexpr detail::Ms year_2010{1'262'304'000'000};
    const bool behind = wall < year_2010 && jump_back_ == Duration::zero();
    return mending_.empty() || behind ? (Steady::time_point::max)() : next_mend_;
}

BACKLITE_DECL bool Scheduler::note_mended(store::CycleResult& result, const Moment& now) {
    next_mend_ = now.steady;
    if (!mend_all_ || result.refused_jump) next_mend_ = saturating_add(next_mend_, std::chrono::seconds{1});
    if (result.refused_jump) return false;
    mending_ = std::move(result.mend_next);
    const bool done =
        std::all_of(mending_.begin(), mending_.end(), [](detail::Ms next) { return next == store::never; });
    if (done) {
        mending_.clear();
        mend_all_ = false;
        jump_back_ = Duration::zero();
    }
    return result.mended > 0;
}

BACKLITE_DECL void Scheduler::note_purge(const store::CycleResult& result, const Moment& now) {
    if (result.purged > 0) tell_(LogLevel::info, "purged expired tasks", {{"tasks", result.purged}});
    purge_past_ += result.purge_left;
    if (!result.purge_more) {
        purge_past_ = 0;
        next_purge_ = purge_after(now.steady);
    }
}

BACKLITE_DECL auto Scheduler::house_time(const PoolLoad& load, bool others_known, const Moment& now) const
    -> Steady::time_point {
    // With others there, also while nothing runs: a task may be handed to a worker without waking this thread.
    const bool claims = load.running + load.ready > 0 || !apart_.outcomes().empty() || others_known;
    return (std::min)(claims ? next_lease_ : (Steady::time_point::max)(), now.by_real(apart_.next()));
}

BACKLITE_DECL auto Scheduler::wake_time_stopping(const PoolLoad& load, bool others_known, const Moment& now) const
    -> Steady::time_point {
    return load.finished > 0 ? now.steady : house_time(load, others_known, now);
}

BACKLITE_DECL auto Scheduler::wake_time(const PoolLoad& load, bool others_known, Steady::time_point count_at,
                                        const Moment& now, detail::Ms& interest) -> Steady::time_point {
    agenda_.release_held(load.crashed, load.free_workers() > 0);
    Steady::time_point until = house_time(load, others_known, now);
    const auto at_most = [&until](Steady::time_point time) { until = (std::min)(until, time); };
    const auto unless_refused = [&](SetApart::Step step, Steady::time_point time) {
        at_most((std::max)(time, now.by_real(apart_.until(step))));
    };
    unless_refused(SetApart::Step::statistics, now.by_real(count_at));
    at_most(outcomes_at(load));
    at_most(next_purge_);
    next_expired_ = agenda_.first_expiry(next_expired_);
    at_most(expire_at(now));
    at_most(now.by_wall(slots_.next()));
    at_most(now.by_real(slots_.retry_at()));
    unless_refused(SetApart::Step::jump, mend_at(now.wall_ms()));
    unless_refused(SetApart::Step::children, children_at(now));
    at_most(now.by_wall(agenda_.next_opening()));
    unless_refused(SetApart::Step::partitions, next_partitions_);
    if (ownerless_) unless_refused(SetApart::Step::lapse, now.by_wall(*ownerless_ + config_.release_after));
    const store::QueueHead* head = agenda_.earliest();
    const store::QueueHead* next = agenda_.next(now.wall_ms(), config_.ageing);
    if (claims_.request(load, next, agenda_.worker_wanted()).limit > 0) {
        interest = head == nullptr ? store::never : head->starts();
        if (head != nullptr) at_most(now.by_wall(head->starts()));
    }
    return until;
}

BACKLITE_DECL void Scheduler::tell_unwritten() const {
    for (const std::vector<store::EndedAttempt>* outcomes : {&outcomes_, &apart_.outcomes()}) {
        for (const store::EndedAttempt& finished : *outcomes) {
            if (finished.resolved.written) continue;
            tell_of(finished, LogLevel::failure, "outcome not written: the task may run again");
        }
    }
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
