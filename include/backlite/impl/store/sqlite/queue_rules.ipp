// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/queue_rules.hpp>.

#include <algorithm>
#include <limits>

#include <backlite/store/sqlite/queue_rules.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void QueueRules::set_limits(std::string_view queue, const std::optional<Limits>& limits) {
    if (!limits) {
        Run(db_, set_limits_,
            {queue, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr})
            .change();
        return;
    }
    const auto us = [](Duration period) { return std::chrono::duration_cast<detail::Us>(period); };
    Run(db_, set_limits_,
        {queue, limits->running, limits->running_per_partition, limits->running_per_client, limits->in_order,
         limits->rate.count, us(limits->rate.period), limits->rate.burst, limits->rate_per_partition.count,
         us(limits->rate_per_partition.period), limits->rate_per_partition.burst})
        .change();
}

BACKLITE_DECL std::optional<Limits> QueueRules::limits(std::string_view queue) {
    Run run(db_, limits_, {queue});
    return run.step() ? limits_of(run, 0) : std::nullopt;
}

BACKLITE_DECL std::optional<Limits> QueueRules::limits_of(const Run& run, int first) {
    if (run.is_null(first)) return std::nullopt;
    const auto count = [&run](int column) {
        return static_cast<int>(
            (std::clamp)(run.integer(column), std::int64_t{0}, std::int64_t{(std::numeric_limits<int>::max)()}));
    };
    const auto rate = [&](int column) {
        Rate found{count(column), std::chrono::ceil<Duration>(run.duration(column + 1)), count(column + 2)};
        return found.count > 0 && found.period > Duration::zero() ? found : Rate{};
    };
    return Limits{count(first),    count(first + 1), count(first + 2), run.integer(first + 3) != 0,
                  rate(first + 4), rate(first + 7)};
}

BACKLITE_DECL auto QueueRules::stored_of(const Run& run, int first) -> Stored {
    Stored stored{run.integer(first)};
    if (run.is_null(first + 1)) return stored;
    stored.closed_until = run.time(first + 1);
    stored.closed_for = Duration{run.integer(first + 2)};
    return stored;
}

BACKLITE_DECL void QueueRules::read(std::span<QueueHead> heads, std::int64_t owner, detail::Ms now) {
    for (QueueHead& head : heads) {
        head.paused = head.full = false;
        head.limits = head.registered;
        head.opens = detail::Ms::earliest();
    }
    {
        Run run(db_, all_);
        while (run.step()) {
            const std::string_view name = run.bytes(0);
            const auto head = std::lower_bound(heads.begin(), heads.end(), name,
                                               [](const QueueHead& each, std::string_view n) { return each.name < n; });
            if (head == heads.end() || head->name != name) continue;
            head->paused = run.integer(1) != 0;
            if (const std::optional<Limits> limits = limits_of(run, 5)) head->limits = *limits;
            const Stored stored = stored_of(run, 2);
            note(*head, {.used_until = stored.used_until}, stored, now);
        }
    }
    for (QueueHead& head : heads) {
        if (head.due != never && head.limits.by_queue()) head.full = slots(head, owner) <= 0;
    }
}

BACKLITE_DECL Room QueueRules::room(QueueHead& head, std::int64_t owner, detail::Ms now) {
    Room room{.slots = slots(head, owner)};
    Stored stored;
    {
        Run run(db_, one_, {head.name});
        if (run.step()) stored = stored_of(run, 0);
    }
    room.used_until = stored.used_until;
    if (head.limits.rate.any()) room.starts = RateCount(head.limits.rate, stored.used_until, now).room();
    if (is_closed(stored.closed_until, stored.closed_for, now)) room.starts = 0;
    note(head, room, stored, now);
    return room;
}

BACKLITE_DECL void QueueRules::note(QueueHead& head, const Room& room, const Stored& stored, detail::Ms now) {
    head.full = room.slots <= 0;
    head.opens = detail::Ms::earliest();
    if (head.limits.rate.any()) {
        const RateCount count(head.limits.rate, room.used_until, now);
        if (count.room() == 0) head.opens = count.opens();
    }
    if (is_closed(stored.closed_until, stored.closed_for, now)) {
        head.opens = (std::max)(head.opens, stored.closed_until);
    }
}

BACKLITE_DECL void QueueRules::claimed(QueueHead& head, Room& room, std::int64_t tasks, detail::Ms now) {
    if (tasks == 0) return;
    room.slots -= tasks;
    if (head.limits.rate.any()) {
        RateCount count(head.limits.rate, room.used_until, now);
        count.started(tasks);
        room.used_until = count.used_until();
        room.starts = count.room();
        Run(db_, set_used_, {head.name, room.used_until}).change();
    }
    note(head, room, {}, now);
}

BACKLITE_DECL std::int64_t QueueRules::slots(const QueueHead& head, std::int64_t owner) {
    std::int64_t slots = detail::most_number;
    if (const int most = head.limits.running; most > 0) slots = most - running(head.name, most);
    if (const int most = head.limits.running_per_client; most > 0 && slots > 0) {
        Run run(db_, of_owner_, {owner, head.name, most});
        slots = (std::min)(slots, most - (run.step() ? run.integer(0) : 0));
    }
    return slots;
}

BACKLITE_DECL std::int64_t QueueRules::running(std::string_view queue, std::int64_t most) {
    std::int64_t found = 0;
    {
        Run run(db_, of_nobody_, {queue, most});
        if (run.step()) found = run.integer(0);
    }
    std::int64_t least = detail::least_number;  // a row of others may hold any number
    while (found < most) {
        std::int64_t owner = 0;
        {
            Run run(db_, next_owner_, {least});
            if (!run.step()) break;
            owner = run.integer(0);
        }
        {
            Run run(db_, of_owner_, {owner, queue, most - found});
            if (run.step()) found += run.integer(0);
        }
        if (owner == detail::most_number) break;
        least = owner + 1;
    }
    return found;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
