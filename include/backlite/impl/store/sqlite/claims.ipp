// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/claims.hpp>.

#include <backlite/store/sqlite/claims.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Claims::read_heads(std::span<store::QueueHead> heads) {
    std::size_t next = 0;  // heads before this one are known
    const auto find_nothing = [](store::QueueHead& head) {
        head.levels.clear();
        head.due = head.unread = head.held_due = head.worker_due = never;
    };
    std::string seen;
    for (std::size_t queues = 0; queues < heads.size() && next < heads.size(); ++queues) {
        store::Level lowest;
        {
            Run run(db_, next_queue_, {seen});
            if (!run.step()) break;
            seen = run.bytes(0);
            lowest = {run.integer(1), run.time(2)};
        }
        while (next < heads.size() && heads[next].name < seen) find_nothing(heads[next++]);
        if (next < heads.size() && heads[next].name == seen) read_levels(heads[next++], lowest);
        if (queues + 1 == heads.size()) {
            for (; next < heads.size(); ++next) read_levels(heads[next]);
        }
    }
    for (; next < heads.size(); ++next) find_nothing(heads[next]);
}

BACKLITE_DECL void Claims::read_levels(store::QueueHead& head, const store::Level& lowest) {
    head.levels.clear();
    head.due = head.unread = head.held_due = head.worker_due = never;
    std::int64_t least = least_number;
    const auto add = [&](const store::Level& level) {
        head.levels.push_back(level);
        head.due = (std::min)(head.due, level.due);
        if (level.priority == most_number) return false;
        least = level.priority + 1;
        return true;
    };
    bool more = lowest.due == never || add(lowest);
    while (more) {
        Run run(db_, next_level_, {head.name, least});
        more = run.step() && add({run.integer(0), run.time(1)});
    }
}

BACKLITE_DECL void Claims::gather(store::QueueHead& head, const Rows& held) {
    std::vector<detail::Ms> dues;
    head.due = never;
    for (const store::Level& level : head.levels) {
        Run run(db_, level_behind_, {head.name, level.priority});
        for (int left = head.full_batch(); left > 0 && run.step();) {
            if (contains(held, run.integer(0))) continue;
            head.due = (std::min)(head.due, run.time(1));
            dues.push_back(run.time(1));
            --left;
        }
    }
    head.gather(std::move(dues));
}

BACKLITE_DECL std::vector<std::pair<std::string, detail::Ms>> Claims::strays(std::span<const store::QueueHead> heads,
                                                                             int limit) {
    std::vector<std::pair<std::string, detail::Ms>> found;
    std::string seen;
    for (int queues = 0; queues < limit; ++queues) {
        {
            Run run(db_, next_queue_, {seen});
            if (!run.step()) break;
            seen = run.bytes(0);
        }
        const auto known =
            std::lower_bound(heads.begin(), heads.end(), std::string_view{seen},
                             [](const store::QueueHead& head, std::string_view name) { return head.name < name; });
        if (known != heads.end() && known->name == seen) continue;
        store::QueueHead stray{.name = seen};
        read_levels(stray);
        found.emplace_back(seen, stray.due);
    }
    return found;
}

BACKLITE_DECL bool Claims::idle(std::vector<store::QueueHead> heads, detail::Ms now) {
    read_heads(heads);
    return std::none_of(heads.begin(), heads.end(), [&](const store::QueueHead& head) {
        return head.due <= now || Run(db_, claimed_, {head.name}).step();
    });
}

BACKLITE_DECL store::ClaimResult Claims::claim(store::ClaimRequest request, std::span<store::QueueHead> heads,
                                               Isolation* apart) {
    store::ClaimResult result;
    Rows held;
    std::vector<Held> why;
    std::vector<Source> looked_at;
    put_off_.clear();  // an earlier run of the transaction may have failed
    used_.clear();
    held_back_.clear();
    if (std::any_of(heads.begin(), heads.end(), [](const auto& head) { return head.limits.by_queue(); })) {
        used_.resize(heads.size());
    }
    for (;;) {
        const std::size_t missing = request.limit - result.tasks.size();
        if (missing == 0) break;
        const std::vector<Candidate> candidates = find(request, missing + 2 * held.size(), held, heads, looked_at);
        bool more = false;
        bool hidden = !held.empty();
        for (const Candidate& candidate : candidates) {
            if (result.tasks.size() == request.limit) break;
            if (contains(held, candidate.row)) continue;
            const Taken taken = take(candidate, request, heads, apart, result);
            if (taken == Taken::no_room) continue;
            if (taken == Taken::held_back) {
                hidden = more = true;
                if (held_back_.size() >= most_held_back) break;
                continue;
            }
            more = taken != Taken::too_much;
            if (!more) break;
            if (taken == Taken::yes && heads[candidate.source.queue].batch == 0) continue;
            hidden = true;
            if (taken == Taken::yes) {
                fill_batch(request, heads, apart, held, looked_at, result);
                break;  // the other candidates may be in it
            }
            held.insert(std::lower_bound(held.begin(), held.end(), candidate.row), candidate.row);
            if (taken != Taken::left) {
                why.push_back({candidate.source.queue, candidate.rank.due, taken});
            } else if (heads[candidate.source.queue].batch > 0) {
                break;  // without it the next batch may start later
            }
        }
        claim_put_off(request);
        // Tasks that were left may hide later ones: look again behind them, each time twice as far.
        if (!more || !hidden || held_back_.size() >= most_held_back) break;
    }
    const auto same = [](const Source& a, const Source& b) { return a.queue == b.queue && a.level == b.level; };
    std::sort(looked_at.begin(), looked_at.end(), [](const Source& a, const Source& b) {
        return std::pair{a.queue, a.level} < std::pair{b.queue, b.level};
    });
    looked_at.erase(std::unique(looked_at.begin(), looked_at.end(), same), looked_at.end());
    for (const Source& source : looked_at) {
        store::QueueHead& head = heads[source.queue];
        read_level_behind(head, head.levels[source.level], held);
        head.due = head.unread;
    }
    for (std::size_t i = 0; i < looked_at.size(); ++i) {
        if (i + 1 < looked_at.size() && looked_at[i + 1].queue == looked_at[i].queue) continue;
        store::QueueHead& head = heads[looked_at[i].queue];
        for (const store::Level& level : head.levels) head.due = (std::min)(head.due, level.due);
        if (head.batch > 0) gather(head, held);
    }
    for (std::size_t i = 0; i < used_.size(); ++i) {
        if (used_[i].known) rules_.claimed(heads[i], used_[i].room, used_[i].tasks, request.now);
    }
    for (const Held& each : why) {
        store::QueueHead& head = heads[each.queue];
        detail::Ms& due = each.taken == Taken::waits_for_worker ? head.worker_due : head.held_due;
        due = (std::min)(due, each.due);
    }
    return result;
}

BACKLITE_DECL void Claims::fill_batch(store::ClaimRequest& request, std::span<store::QueueHead> heads, Isolation* apart,
                                      Rows& held, std::vector<Source>& looked_at, store::ClaimResult& result) {
    claim_put_off(request);  // else they would be found again
    detail::ClaimedTask& first = result.tasks.back();
    const store::QueueHead& head = heads[first.queue];
    const auto most = static_cast<std::size_t>(head.full_batch() - 1);
    if (first.crashes > 0 || most == 0) return;
    const auto add = [](Rows& rows, std::int64_t row) {
        rows.insert(std::lower_bound(rows.begin(), rows.end(), row), row);
    };
    Rows left_out = held;
    for (bool hidden = true; hidden && first.others.size() < most;) {
        hidden = false;  // behind those that are left out there may be others
        const std::size_t limit = most - first.others.size() + left_out.size();
        for (const Candidate& candidate : find(request, limit, left_out, heads, looked_at, first.queue)) {
            if (first.others.size() == most) break;
            if (contains(left_out, candidate.row)) continue;
            const Taken taken = take(candidate, request, heads, apart, result, &first);
            if (taken == Taken::too_much) break;
            if (taken == Taken::yes || taken == Taken::no_room) continue;
            hidden = held_back_.size() < most_held_back;
            if (taken != Taken::held_back) add(left_out, candidate.row);
            if (taken == Taken::left) add(held, candidate.row);
        }
        claim_put_off(request);
    }
    if (first.others.empty()) return;
    first.batch = detail::batch_number(head.name, request.now);
    for (detail::ClaimedTask& other : first.others) other.batch = first.batch;
}

BACKLITE_DECL auto Claims::find(const store::ClaimRequest& request, std::size_t limit, const Rows& held,
                                std::span<store::QueueHead> heads, std::vector<Source>& looked_at,
                                std::optional<std::size_t> only) -> std::vector<Candidate> {
    std::vector<Source> sources;
    for (std::size_t i = only.value_or(0); i < (only ? *only + 1 : heads.size()); ++i) {
        store::QueueHead& head = heads[i];
        if ((!only && head.starts() > request.now) || left(request, head, i) <= 0) continue;
        if (head.batch > 0 && !only) {
            const bool again = std::any_of(looked_at.begin(), looked_at.end(),
                                           [i](const Source& source) { return source.queue == i; });
            if (!again) read_levels(head);  // not twice: sources name the levels
            gather(head, held);
            if (head.starts() > request.now) continue;
        } else if (!only && !head.levels_known(request.now)) {
            read_levels(head);
        }
        for (std::size_t level = 0; level < head.levels.size(); ++level) {
            const auto [priority, due] = head.levels[level];
            if (due > request.now) continue;
            sources.push_back(
                {store::Rank::of(head.limits.in_order ? head.priority : priority, due, request.ageing), i, level});
        }
    }
    std::sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) { return a.first < b.first; });
    std::vector<Candidate> best;
    for (const Source& source : sources) {
        if (best.size() == limit && source.first > best.back().rank) break;
        looked_at.push_back(source);
        const store::QueueHead& head = heads[source.queue];
        const std::int64_t priority = head.levels[source.level].priority;
        const std::int64_t rank_by = head.limits.in_order ? head.priority : priority;
        // The index has them in their order, so what is found is merged with what was found before.
        const std::size_t known = best.size();
        std::size_t sooner = 0;  // of those that are known
        // No more than there is room for, behind those that the crash rules hold back: the others cost nothing.
        std::int64_t room = used_.empty() ? most_number
                                          : detail::saturating_sum(used_[source.queue].left(),
                                                                   static_cast<std::int64_t>(2 * held.size()));
        Run run(db_, candidates_, {head.name, priority, request.now});
        while (room-- > 0 && run.step()) {
            const Candidate candidate{store::Rank::of(rank_by, run.time(1), request.ageing), run.integer(0), source};
            while (sooner < known && best[sooner] < candidate) ++sooner;
            if (sooner + best.size() - known == limit) break;
            best.push_back(candidate);
        }
        if (known == 0) continue;
        const auto middle = best.begin() + static_cast<std::ptrdiff_t>(known);
        std::inplace_merge(best.begin(), middle, best.end());
        if (best.size() > limit) best.erase(best.begin() + static_cast<std::ptrdiff_t>(limit), best.end());
    }
    return best;
}

BACKLITE_DECL std::int64_t Claims::left(const store::ClaimRequest& request, store::QueueHead& head, std::size_t queue) {
    if (used_.empty() || !head.limits.by_queue()) return most_number;
    Used& used = used_[queue];
    if (!std::exchange(used.known, true)) used.room = rules_.room(head, request.owner, request.now);
    return used.left();
}

BACKLITE_DECL auto Claims::take(const Candidate& candidate, store::ClaimRequest& request,
                                std::span<store::QueueHead> heads, Isolation* apart, store::ClaimResult& result,
                                detail::ClaimedTask* first) -> Taken {
    store::QueueHead& head = heads[candidate.source.queue];
    const detail::Us cost = head.cost;
    if (first == nullptr && request.beside.free_workers == 0 &&
        (head.only_for_free_workers() || cost > request.ahead)) {
        return Taken::too_much;
    }
    Used* const used = used_.empty() ? nullptr : &used_[candidate.source.queue];
    if (used != nullptr && used->left() <= 0) return Taken::no_room;
    const auto is_it = [&](std::int64_t row) { return row == candidate.row; };
    if (std::any_of(held_back_.begin(), held_back_.end(), is_it)) return Taken::no_room;
    detail::ClaimedTask task;
    bool has_partition = head.has_partitions();
    bool nameless = false;
    std::int64_t flags = 0;
    const std::size_t most = request.beside.free_workers > 0 || first != nullptr
                                 ? request.max_payload
                                 : (std::min)(request.max_payload, request.ahead_bytes);
    {
        Run run(db_, read_row_, {candidate.row, static_cast<std::int64_t>(most)});
        if (!run.step()) {
            // The index would name it again for ever.
            throw CorruptError("an index of backlite_tasks names a task that does not wait", SQLITE_CORRUPT_INDEX);
        }
        nameless = run.is_null(0);
        task.id = TaskId::from_text(std::string{run.bytes(0)});
        task.queue = candidate.source.queue;
        task.priority = store::bounded_priority(head.levels[candidate.source.level].priority);
        task.due = candidate.rank.due;
        task.cost = cost;
        task.claim = (std::min)(run.integer(1), most_number - 1) + 1;  // as Transitions::claim does
        task.attempts = (std::max)(run.integer(2), std::int64_t{0});
        task.crashes = (std::max)(run.integer(3), std::int64_t{0});
        flags = run.integer(6);
        has_partition = has_partition || (flags & flag::partition) != 0;
        const auto size = static_cast<std::size_t>(run.integer(4));
        if (size > request.max_payload) {
            task.oversize = size;
        } else if (size > most) {
            result.left_bytes = size;
            return Taken::too_much;
        } else {
            task.payload = run.bytes(5);
        }
    }
    const int bound = head.max_crashes;
    if (first != nullptr && task.crashes > 0) return Taken::alone;
    if ((flags & flag::on_claim) != 0 && transitions_.outdated(task.id)) return Taken::left;
    if (std::binary_search(request.leave.begin(), request.leave.end(), task.id.str())) return Taken::left;
    switch (store::admission(task.crashes, bound, request.beside)) {
        case store::Admission::yes: break;
        case store::Admission::waits_for_crashed: return Taken::waits_for_crashed;
        case store::Admission::waits_for_worker: return Taken::waits_for_worker;
    }
    if (has_partition) task.partition = turns_.partition_of(candidate.row);
    bool admitted = true;
    const std::size_t held_back = held_back_.size();
    const bool plain = apart == nullptr && !nameless && flags == 0 && !has_partition && !task.large();
    if (plain) put_off_.push_back(candidate.row);
    const auto claim = [&] {
        if (nameless) {
            // A text primary key may be NULL in SQLite; such a row gets a name that an outcome can be written by.
            task.id = TaskId::from_text(detail::format("unnamed-{}-{}", {candidate.row, request.now.count()}));
            transitions_.name(candidate.row, task.id);
        }
        if (head.has_partitions()) {
            admitted = turns_.admit(head, {candidate.row, task.id.str(), task.partition, task.due}, request.now,
                                    request.ageing, held_back_);
            if (!admitted) return;
        }
        if ((flags & flag::on_claim) != 0) transitions_.before_claim(candidate.row, flags);
        transitions_.claim(candidate.row, request.now, request.owner, task.large());
        if ((flags & flag::expires) != 0) task.expires_at = expiries_.take(task.id);
    };
    const auto refused = plain ? std::nullopt : attempt(apart, db_, "claim", task.id.str(), claim);
    if (!admitted && !refused) return Taken::held_back;
    if (refused) {
        held_back_.resize((std::min)(held_back, held_back_.size()));
        result.refused.push_back({nameless ? std::string{} : task.id.str(), candidate.source.queue, *refused});
        return result.refused.size() < most_refused ? Taken::left : Taken::too_much;
    }
    if (task.crashes > 0 && task.crashes < bound) {
        request.beside.crashed = true;
        if (task.crashes == bound - 1) request.beside.last_chance = task.last_chance = true;
    }
    if (first != nullptr) {
        if (used != nullptr) ++used->tasks;
        first->others.push_back(std::move(task));
        return Taken::yes;
    }
    if (request.beside.free_workers > 0) {
        --request.beside.free_workers;
    } else {
        request.ahead -= cost;
        request.ahead_bytes -= task.payload.size();
    }
    if (used != nullptr) ++used->tasks;
    result.tasks.push_back(std::move(task));
    return Taken::yes;
}

BACKLITE_DECL void Claims::read_level_behind(const store::QueueHead& head, store::Level& level, const Rows& held) {
    Run run(db_, level_behind_, {head.name, level.priority});
    level.due = never;
    while (run.step()) {
        if (contains(held, run.integer(0))) continue;
        level.due = run.time(1);
        return;
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
