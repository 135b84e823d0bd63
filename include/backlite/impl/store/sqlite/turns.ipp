// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/turns.hpp>.

#include <algorithm>
#include <utility>

#include <backlite/store/sqlite/turns.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Turns::added(const detail::NewTask& task, detail::Ms now) {
    const detail::PartitionAdd& add = *task.partition;
    const std::string& id = task.id.str();
    const Lane lane{task.queue, add.name};
    Rule rule{add.turns, add.in_order, add.ageing};
    bool rate = add.rate;
    {
        Run run(db_, stored_, {task.queue});
        if (run.step()) {
            rule.in_order = run.integer(1) != 0;
            rule.most = rule.in_order ? 1 : (std::max)(run.integer(0), std::int64_t{0});
            rate = run.integer(2) > 0;
        }
    }
    bool waits = false;
    if (!task.parents) {  // they are not looked at yet
        Run run(db_, waits_, {id, now});
        waits = run.step() && run.integer(0) != 0;
    }
    const bool has_room = rule.most == 0 || taken(lane, rule.most) < rule.most;
    const Gate found = gate(lane, {}, now);
    const bool open = !found.closed && !(rate && found.alarm > now);
    bool held = waits && !(has_room && open);
    // One that waits and has a lower priority may lose its turn to this one, which the claim decides.
    if (held && open && !rule.in_order) held = !Run(db_, lower_waits_, {task.queue, add.name, task.priority}).step();
    Run(db_, set_partition_, {id, add.name, held}).change();
    if (waits && has_room && open && rule.most > 0) take(lane, id, rule);
}

BACKLITE_DECL std::string Turns::partition_of(std::int64_t row) {
    Run run(db_, partition_of_row_, {row});
    return run.step() ? std::string{run.bytes(0)} : std::string{};
}

BACKLITE_DECL bool Turns::admit(store::QueueHead& head, const Candidate& task, detail::Ms now, Duration ageing,
                                std::vector<std::int64_t>& parked) {
    const Rule rule = rule_of(head.limits, ageing);
    const Lane lane{head.name, task.partition};
    const auto park = [&] {
        Run(db_, park_, {task.row}).change();
        parked.push_back(task.row);
        return false;
    };
    bool own = false;
    if (rule.most > 0) {
        own = has_turn(lane, task.id);
        // The limit may have been lowered; a turn that is one too many goes.
        std::int64_t others = taken(lane, rule.most + 1) - (own ? 1 : 0);
        while (others >= rule.most && displace(lane, task, rule, parked)) others = taken(lane, rule.most + 1) - own;
        if (others >= rule.most) {
            if (own) drop(lane, task.id);
            return park();
        }
    }
    Gate found = gate(lane, head.limits.rate_per_partition, now);
    if (found.room <= 0) {
        if (!found.closed && found.alarm != found.opens) set_alarm(lane, found.opens);
        head.partition_opens = (std::min)(head.partition_opens, found.opens);
        return park();
    }
    if (rule.most > 0 && !own) take(lane, task.id, rule);
    if (head.limits.rate_per_partition.any()) {
        RateCount count(head.limits.rate_per_partition, found.used_until, now);
        count.started(1);
        Run(db_, use_, {lane.queue, lane.partition, count.used_until()}).change();
        if (count.room() == 0) {
            set_alarm(lane, count.opens());
            head.partition_opens = (std::min)(head.partition_opens, count.opens());
        }
    }
    Run(db_, flag_, {task.row}).change();
    return true;
}

BACKLITE_DECL bool Turns::displace(Lane lane, const Candidate& task, const Rule& rule,
                                   std::vector<std::int64_t>& parked) {
    std::string other;
    std::optional<std::int64_t> row;
    {
        Run run(db_, displaced_, {lane.queue, lane.partition, task.id, rule.in_order, task.due, task.row});
        if (!run.step()) return false;
        other = run.bytes(0);
        row = run.optional_integer(1);
    }
    drop(lane, other);
    if (row && Run(db_, park_, {*row}).change() == 1) parked.push_back(*row);
    return true;
}

BACKLITE_DECL void Turns::leave(const std::string& id, bool for_good, std::vector<Freed>& freed) {
    std::string queue;
    std::string partition;
    {
        Run run(db_, lane_of_, {id});
        if (!run.step()) return;
        queue = run.bytes(0);
        partition = run.bytes(1);
    }
    const Lane lane{queue, partition};
    Rule rule;
    {
        Run run(db_, rule_of_turn_, {queue, partition, id});
        if (!run.step()) return;
        rule = {run.integer(0), run.integer(1) != 0, Duration{run.integer(2)}};
    }
    if (rule.in_order && !for_good) return;
    drop(lane, id);
    pass_on(lane, rule, 1, freed);
}

BACKLITE_DECL std::int64_t Turns::taken(Lane lane, std::int64_t most) {
    Run run(db_, taken_, {lane.queue, lane.partition, most});
    return run.step() ? run.integer(0) : 0;
}

BACKLITE_DECL void Turns::take(Lane lane, std::string_view id, const Rule& rule) {
    Run(db_, take_, {lane.queue, lane.partition, id, rule.most, rule.in_order, rule.ageing.count()}).change();
}

BACKLITE_DECL auto Turns::gate(Lane lane, const Rate& rate, detail::Ms now) -> Gate {
    Gate found;
    {
        Run run(db_, gate_, {lane.queue, lane.partition});
        if (run.step()) {
            found.used_until = run.integer(0);
            if (!run.is_null(1)) found.alarm = run.time(1);
            found.closed = is_closed(found.alarm, Duration{run.integer(2)}, now);
            if (found.closed) found.opens = found.alarm;
        }
    }
    if (rate.any()) {
        const RateCount count(rate, found.used_until, now);
        found.room = count.room();
        if (found.room == 0) found.opens = (std::max)(found.opens, count.opens());
    }
    if (found.closed) found.room = 0;
    return found;
}

BACKLITE_DECL int Turns::pass_on(Lane lane, const Rule& rule, std::int64_t limit, std::vector<Freed>& freed) {
    std::int64_t room = limit;
    if (rule.most > 0) room = (std::min)(room, rule.most - taken(lane, rule.most));
    int passed = 0;
    for (; passed < room; ++passed) {
        const std::optional<Waiting> waiting = next(lane, rule);
        if (!waiting || Run(db_, free_, {waiting->row}).change() != 1) break;
        if (rule.most > 0) take(lane, waiting->id, rule);
        freed.push_back({std::string{lane.queue}, waiting->due});
    }
    return passed;
}

BACKLITE_DECL auto Turns::next(Lane lane, const Rule& rule) -> std::optional<Waiting> {
    std::optional<Waiting> best;
    Rank first;
    for (std::int64_t least = detail::least_number;;) {
        Run run(db_, next_, {lane.queue, lane.partition, least});
        if (!run.step()) return best;
        const std::int64_t priority = run.integer(0);
        const Rank rank = Rank::of(rule.in_order ? 0 : priority, run.time(1), rule.ageing);
        if (!best || rank < first || (rank == first && run.integer(2) < best->row)) {
            first = rank;
            best = {run.integer(2), std::string{run.bytes(3)}, run.time(1)};
        }
        if (priority == detail::most_number) return best;
        least = priority + 1;
    }
}

BACKLITE_DECL bool Turns::close_of(const std::string& id, detail::Ms now, Duration length) {
    std::string queue;
    std::string partition;
    {
        Run run(db_, lane_of_, {id});
        if (!run.step()) return false;
        queue = run.bytes(0);
        partition = run.bytes(1);
    }
    if (!partition.empty()) {
        close(queue, partition, now, length);
        return false;
    }
    Run(db_, close_queue_, {queue, now + length, length.count()}).change();
    return true;
}

BACKLITE_DECL detail::Ms Turns::next_opening(std::string_view queue) {
    Run run(db_, closed_, {queue});
    return run.step() ? run.time(1) : never;
}

BACKLITE_DECL void Turns::open(const store::QueueHead& head, detail::Ms now, Duration ageing,
                               std::vector<Freed>& freed) {
    for (int i = 0; i < piece; ++i) {
        std::string partition;
        {
            Run run(db_, closed_, {head.name});
            if (!run.step() || run.time(1) > now) return;
            partition = run.bytes(0);
        }
        Run(db_, opened_, {head.name, partition}).change();
        fill(head, partition, now, ageing, freed);
    }
}

BACKLITE_DECL void Turns::fill(const store::QueueHead& head, std::string_view partition, detail::Ms now,
                               Duration ageing, std::vector<Freed>& freed) {
    const Lane lane{head.name, partition};
    const Gate found = gate(lane, head.limits.rate_per_partition, now);
    if (found.room <= 0) {
        if (!found.closed && found.alarm != found.opens) set_alarm(lane, found.opens);
        return;
    }
    // Who has a turn, and was held because the partition was closed, comes first.
    std::int64_t room = (std::min)(found.room, std::int64_t{piece});
    while (room > 0) {
        Waiting holder;
        {
            Run run(db_, held_turn_, {head.name, partition});
            if (!run.step()) break;
            holder = {run.integer(0), std::string{run.bytes(1)}, run.time(2)};
        }
        if (Run(db_, free_, {holder.row}).change() != 1) break;
        freed.push_back({std::string{head.name}, holder.due});
        --room;
    }
    room -= pass_on(lane, rule_of(head.limits, ageing), room, freed);
    if (room > 0) return;
    // More may wait. Those that were freed may end before they start, so this is not left to them.
    if (found.room > piece) return set_alarm(lane, now + Duration{1});
    RateCount count(head.limits.rate_per_partition, found.used_until, now);
    count.started(found.room);
    set_alarm(lane, count.opens());
}

BACKLITE_DECL bool Turns::mend(const store::QueueHead& head, detail::Ms now, Duration ageing,
                               std::vector<Freed>& freed) {
    const bool turns = mend_turns(head, freed);
    const bool partitions = mend_partitions(head, now, ageing, freed);
    return forget_rates(head.name, now) || turns || partitions;
}

BACKLITE_DECL bool Turns::mend_turns(const store::QueueHead& head, std::vector<Freed>& freed) {
    struct Ghost {
        std::string partition{};
        std::string task{};
        Rule rule{};
    };
    Place& from = place(head.name);
    std::vector<Ghost> ghosts;
    int seen = 0;
    {
        const std::string partition = from.turn_partition;
        const std::string task = from.turn_task;
        Run run(db_, turns_, {head.name, partition, task, piece});
        for (; run.step(); ++seen) {
            from.turn_partition = run.bytes(0);
            from.turn_task = run.bytes(1);
            if (run.integer(5) != 0) continue;
            ghosts.push_back(
                {from.turn_partition, from.turn_task, {run.integer(2), run.integer(3) != 0, Duration{run.integer(4)}}});
        }
    }
    for (const Ghost& ghost : ghosts) {
        const Lane lane{head.name, ghost.partition};
        drop(lane, ghost.task);
        pass_on(lane, ghost.rule, 1, freed);
    }
    if (seen == piece) return true;
    from.turn_partition.clear();
    from.turn_task.clear();
    return false;
}

BACKLITE_DECL bool Turns::mend_partitions(const store::QueueHead& head, detail::Ms now, Duration ageing,
                                          std::vector<Freed>& freed) {
    Place& from = place(head.name);
    for (int seen = 0; seen < piece; ++seen) {
        std::string partition;
        {
            Run run(db_, seen == 0 && from.waiting.empty() ? first_waiting_ : waiting_, {head.name, from.waiting});
            if (!run.step()) {
                from.waiting.clear();
                return false;
            }
            partition = run.bytes(0);
        }
        fill(head, partition, now, ageing, freed);
        from.waiting = std::move(partition);
    }
    return true;
}

BACKLITE_DECL bool Turns::forget_rates(std::string_view queue, detail::Ms now) {
    Place& from = place(queue);
    std::vector<std::string> unused;
    int seen = 0;
    {
        const std::string first = from.rate;
        Run run(db_, rates_, {queue, first, (std::min)(now.count(), detail::most_number / 1000) * 1000, piece});
        for (; run.step(); ++seen) {
            from.rate = run.bytes(0);
            if (run.integer(1) != 0) unused.push_back(from.rate);
        }
    }
    for (const std::string& partition : unused) Run(db_, forget_rate_, {queue, partition}).change();
    if (seen == piece) return true;
    from.rate.clear();
    return false;
}

BACKLITE_DECL auto Turns::place(std::string_view queue) -> Place& {
    const auto found =
        std::find_if(places_.begin(), places_.end(), [&](const Place& each) { return each.queue == queue; });
    return found != places_.end() ? *found : places_.emplace_back(Place{std::string{queue}});
}

BACKLITE_DECL bool Turns::any_wait(const std::vector<store::QueueHead>& queues) {
    return std::any_of(queues.begin(), queues.end(), [this](const store::QueueHead& head) {
        return Run(db_, first_waiting_, {head.name, ""}).step();
    });
}

BACKLITE_DECL auto Turns::jams(std::string_view queue, int limit) -> std::vector<Jam> {
    std::vector<Jam> found;
    std::string partition;
    for (int i = 0; i < limit; ++i) {
        Jam jam;
        {
            Run run(db_, i == 0 ? first_waiting_ : waiting_, {queue, partition});
            if (!run.step()) break;
            jam.partition = run.bytes(0);
        }
        {
            Run run(db_, jam_, {queue, jam.partition});
            if (run.step()) jam.task = run.bytes(0);
        }
        partition = jam.partition;
        found.push_back(std::move(jam));
    }
    return found;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
