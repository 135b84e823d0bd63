// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/cycle.hpp>.

#include <algorithm>

#include <backlite/store/sqlite/cycle.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL detail::AttemptResult shortened(detail::AttemptResult outcome) {
    outcome.keep_payload = false;
    if (outcome.resolution == detail::RowChange::retry) outcome.error.clear();
    return outcome;
}

BACKLITE_DECL store::FileState read_state(store::sqlite::Repository& repository, std::vector<store::QueueHead> heads,
                                          std::int64_t owner, detail::Ms now) {
    store::FileState state{.heads = std::move(heads)};
    repository.claims.read_heads(state.heads);
    repository.rules.read(state.heads, owner, now);
    repository.claims.gather(state.heads);
    for (store::QueueHead& head : state.heads) head.partition_opens = repository.ends.turns().next_opening(head.name);
    state.cancels = repository.cancels.read();
    state.expiry = repository.expiries.next(detail::Ms::earliest());
    state.slot = repository.schedules.first();
    state.ownerless = repository.upkeep.oldest_ownerless();
    state.children = repository.children.left();
    state.parents = repository.children.any();
    state.stale_keys = repository.ends.keys().has_orphans();
    state.latest = repository.statistics.latest_minute();
    return state;
}

/// `attempt`: as in `run_cycle`.
template <class Attempt>
void end_expired(store::sqlite::Repository& repository, const store::CyclePlan& plan,
                 const std::vector<store::QueueHead>& heads, store::CycleResult& result, const Attempt& attempt) {
    const auto found = repository.expiries.expired(plan.expire_from, plan.expire_until, upkeep_chunk, plan.expire_past);
    for (const Expired& each : found) {
        const auto head = std::find_if(heads.begin(), heads.end(),
                                       [&](const store::QueueHead& one) { return one.name == each.queue; });
        if (each.waits && head == heads.end()) {  // it stays as it is
            ++result.expire_left;
            continue;
        }
        const auto queue = static_cast<std::size_t>(head - heads.begin());
        auto refused = attempt("expiry", each.id, [&] {
            if (each.waits) {
                repository.cancels.expire(each.id, plan.expire_until, plan.keep[queue]);
            } else {
                repository.expiries.take(TaskId::from_text(each.id));
            }
        });
        if (refused) {
            result.refused_expiry = std::move(refused);
            ++result.expire_left;
        } else if (each.waits) {
            result.expired.push_back({TaskId::from_text(each.id), queue});
        }
    }
    result.expire_more = found.size() >= static_cast<std::size_t>(upkeep_chunk);
    result.expire_next = repository.expiries.next(plan.expire_until + Duration{1});
}

/// Tasks that were claimed are gone, or wait, by the will of another program: whoever waits for their keys may go on.
inline void mend_keys(store::sqlite::Repository& repository) {
    UniqueKeys& keys = repository.ends.keys();
    for (const std::string& id : keys.orphans()) {
        if (const auto superseded = keys.give_back(id)) {
            repository.cancels.supersede(id, *superseded);
            keys.end(id);  // of a task that is gone
        }
    }
}

BACKLITE_DECL std::vector<store::Tally> tally_of(const store::SlotPlan& plan, const store::SlotResult& result,
                                                 detail::Ms now) {
    if (result.added.empty()) return {};
    return {{.minute = detail::minute_of(now),
             .queue = plan.seen->queue,
             .added = static_cast<std::int64_t>(result.added.size())}};
}

/// `attempt`: as in `run_cycle`.
template <class Attempt>
void run_schedules(store::sqlite::Repository& repository, const store::CyclePlan& plan, detail::Ms wall,
                   store::CycleResult& result, const Children::Keep& keep, const Attempt& attempt) {
    std::vector<store::Tally> added;
    for (const store::SlotPlan& each : plan.slots) {
        store::SlotResult ran;
        auto refused = attempt("slot", each.seen->name, [&] {
            ran = repository.schedules.run(each, wall, repository.adds, repository.bounds, repository.cancels, keep);
        });
        if (refused) {
            ran = {};
            ran.refused = std::move(refused);
        }
        const auto tallies = tally_of(each, ran, wall);
        added.insert(added.end(), tallies.begin(), tallies.end());
        result.slots.push_back(std::move(ran));
    }
    if (added.empty() || !plan.count) return;
    (void)attempt("slot statistics", "", [&] { repository.statistics.add(added); });
}

BACKLITE_DECL store::CycleResult run_cycle(store::sqlite::Repository& repository,
                                           const std::vector<store::EndedAttempt>& outcomes,
                                           const store::CyclePlan& plan, const std::vector<store::QueueHead>& heads,
                                           detail::Ms wall, store::sqlite::Isolation* apart,
                                           const Children::Keep& keep) {
    store::CycleResult result;
    repository.ends.clear();  // an earlier run of the transaction may have freed some
    const auto attempt = [&](std::string_view part, std::string_view id, auto&& work) {
        return store::sqlite::attempt(apart, repository.db, part, id, work);
    };
    // Row by row, where all at once was refused. How many were written.
    const auto each_row = [&](std::string_view part, const std::vector<std::int64_t>& rows,
                              std::optional<StorageError>& refused, auto&& work) {
        int written = 0;
        for (const std::int64_t row : rows) {
            auto error = attempt(part, std::to_string(row), [&] { work(row); });
            if (error) {
                refused = std::move(error);
            } else {
                ++written;
            }
        }
        return written;
    };

    if (!plan.mend.empty()) {
        // Before the outcomes: those say when to run again by the clock as it is now.
        result.refused_jump = attempt("jump", "", [&] {
            result.mended = repository.upkeep.mend_claims(wall) + repository.transitions.mend_ownerless(wall);
            result.mend_next = plan.mend;
            for (std::size_t i = 0; i < heads.size(); ++i) {
                detail::Ms& next = result.mend_next[i];
                if (next == store::never) continue;
                const store::sqlite::Mended piece =
                    repository.upkeep.mend(heads[i].name, wall, next, plan.jump_back, upkeep_chunk);
                result.mended += piece.tasks;
                next = piece.next;
            }
        });
    }
    std::vector<std::pair<std::size_t, std::optional<detail::Ms>>> closed;  // queues, and until when
    store::sqlite::Tallies tallies(heads.size());
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const store::EndedAttempt& finished = outcomes[i];
        if (finished.resolved.written) continue;
        Settled settled{};
        const auto write = [&](const detail::AttemptResult& outcome) {
            return attempt("outcome", std::to_string(i), [&] {
                settled = settle(repository.transitions, repository.cancels, outcome);
                if (outcome.closes == Duration::zero() || settled != Settled::as_asked) return;
                const bool queue = repository.ends.turns().close_of(outcome.id.str(), wall, outcome.closes);
                closed.push_back({finished.queue, queue ? std::optional{wall + outcome.closes} : std::nullopt});
            });
        };
        auto refused = write(finished.resolved);
        if (refused && refused->code() == SQLITE_TOOBIG) {
            detail::AttemptResult shorter = shortened(finished.resolved);
            refused = write(shorter);
            if (refused && refused->code() == SQLITE_TOOBIG && !shorter.result.empty()) {
                shorter.result.clear();
                refused = write(shorter);
            }
            if (!refused) result.without_payload.push_back(i);
        }
        if (refused) {
            result.refused_outcomes.push_back({i, std::move(*refused)});
        } else if (settled == Settled::cancelled) {
            result.cancelled_outcomes.push_back(i);
        } else if (settled == Settled::as_asked) {
            tallies.count(finished.queue, heads[finished.queue].name, finished.due, finished.resolved);
        } else {
            result.lost_outcomes.push_back(i);
        }
    }
    if (plan.count) {
        result.refused_statistics = attempt("statistics", "", [&] {
            repository.statistics.add(tallies.all());
            repository.statistics.add(plan.added);
        });
    }
    for (std::size_t i = 0; i < plan.leases.size(); ++i) {
        bool held = true;
        auto refused =
            attempt("lease", std::to_string(i), [&] { held = repository.transitions.extend(plan.leases[i]); });
        if (refused) result.refused_leases.push_back({i, std::move(*refused)});
        if (!held) result.lost_leases.push_back(i);
    }
    // After the outcomes: what a task has said that has just ended is nothing any more.
    for (const detail::ProgressNote& note : plan.progress) {
        auto refused = attempt("progress", note.claim.id.str(), [&] { repository.progress.put(note); });
        if (refused) result.refused_progress = std::move(refused);
    }
    if (plan.purge && apart == nullptr) {
        result.purged = repository.upkeep.purge(plan.past, upkeep_chunk);
    } else if (plan.purge) {
        const auto rows = repository.upkeep.expired(plan.past, upkeep_chunk, plan.purge_past);
        result.purged =
            each_row("purge", rows, result.refused_purge, [&](std::int64_t row) { repository.upkeep.purge_row(row); });
        result.purge_left = static_cast<int>(rows.size()) - result.purged;
    }
    result.purge_more = plan.purge && result.purged + result.purge_left >= upkeep_chunk;
    if (plan.lapse && apart == nullptr) {
        result.lapsed = repository.transitions.release_ownerless(plan.lapse_until, upkeep_chunk);
        result.lapse_left = repository.upkeep.oldest_ownerless().value_or(store::never) <= plan.lapse_until;
    } else if (plan.lapse) {
        result.lapsed = each_row("lapse", repository.upkeep.ownerless(plan.lapse_until), result.refused_lapse,
                                 [&](std::int64_t row) { repository.transitions.release_ownerless_row(row); });
    }
    if (plan.cancels || result.lapsed > 0) {
        // What is refused stays asked for.
        (void)attempt("cancel", "", [&] { repository.cancels.end_released(); });
    }
    if (plan.cancels) result.cancels = repository.cancels.read();
    if (plan.keys) {
        // What is refused is found again by the next look at commits of others.
        (void)attempt("keys", "", [&] { mend_keys(repository); });
    }
    // After the outcomes, which may give back what has expired, and before the claims.
    if (plan.expire) end_expired(repository, plan, heads, result, attempt);
    if (!plan.slots.empty()) run_schedules(repository, plan, wall, result, keep, attempt);
    if (plan.sweep) result.sweep_next = repository.children.sweep(*plan.sweep, upkeep_chunk);
    // After all that ends a task.
    if (plan.children || repository.ends.marked()) {
        Children::Work work = repository.children.work(wall, keep, children_chunk, apart);
        result.children_left = work.left;
        result.cancelled_children = std::move(work.cancelled);
        result.refused_children = std::move(work.refused);
    }
    if (plan.open_partitions || plan.mend_partitions) {
        result.refused_partitions = attempt("partitions", "", [&] {
            result.mend_partitions_left = false;
            for (const store::QueueHead& head : heads) {
                if (head.partition_opens <= wall) repository.ends.open_partitions(head, wall, plan.claim.ageing);
                if (plan.mend_partitions && repository.ends.mend_partitions(head, wall, plan.claim.ageing)) {
                    result.mend_partitions_left = true;
                }
            }
        });
    }
    result.heads = heads;
    if (plan.open_partitions || plan.mend_partitions) {
        for (store::QueueHead& head : result.heads) {
            head.partition_opens = repository.ends.turns().next_opening(head.name);
        }
    }
    for (const store::EndedAttempt& finished : outcomes) result.heads[finished.queue].full = false;
    for (const auto& [queue, until] : closed) {
        store::QueueHead& head = result.heads[queue];
        head.partition_opens = repository.ends.turns().next_opening(head.name);
        if (until) head.opens = (std::max)(head.opens, *until);
    }
    for (const Freed& each : repository.ends.freed()) {
        const auto head = std::find_if(result.heads.begin(), result.heads.end(),
                                       [&](const store::QueueHead& one) { return one.name == each.queue; });
        if (head != result.heads.end()) head->came(each.due);
    }
    if (plan.claim.limit > 0) {
        // By the time inside the transaction: others may have started what a rate counts while this one waited.
        store::ClaimRequest request = plan.claim;
        request.now = (std::max)(request.now, wall);
        result.claimed = repository.claims.claim(std::move(request), result.heads, apart);
    }
    return result;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
