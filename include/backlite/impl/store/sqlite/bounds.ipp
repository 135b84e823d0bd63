// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/bounds.hpp>.

#include <algorithm>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/store/sqlite/bounds.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void throw_full(const QueueConfig& queue) {
    throw QueueFullError(detail::format("queue \"{}\" is full: max_waiting is {}", {queue.name, queue.max_waiting}),
                         queue.name, queue.max_waiting);
}

BACKLITE_DECL auto WaitingBounds::prepare(std::span<const detail::NewTask> tasks, detail::Ms now,
                                          std::vector<DroppedTask>& dropped) -> Answer {
    struct Excess {
        const QueueConfig* queue;
        std::int64_t tasks;
    };
    std::vector<Excess> over;
    for (const Share& share : shares(tasks)) {
        if (share.plain == 0) continue;
        const std::int64_t tasks_over = excess(*share.queue, share.plain);
        if (tasks_over <= 0) continue;
        if (share.queue->overflow != Overflow::drop_oldest) return {.full = share.queue};
        over.push_back({share.queue, tasks_over});
    }
    // Once it is known that no queue refuses: what is dropped is dropped for an add that comes about.
    for (const auto& [queue, tasks_over] : over) {
        const std::int64_t most = on_ == On::own_connection ? (std::min)(tasks_over, piece) : tasks_over;
        if (drop(*queue, most, {}, now, dropped) < most) return {.full = queue};
        if (most < tasks_over) return {.more = true};
    }
    return {};
}

BACKLITE_DECL void WaitingBounds::settle(std::span<const detail::NewTask> tasks, detail::Ms now,
                                         std::vector<DroppedTask>& dropped) {
    for (const Share& share : shares(tasks)) {
        if (share.unique + (on_ == On::host_connection ? share.plain : 0) == 0) continue;
        const std::int64_t over = excess(*share.queue, 0);
        if (over <= 0) continue;
        if (share.queue->overflow != Overflow::drop_oldest) throw_full(*share.queue);
        if (drop(*share.queue, over, tasks, now, dropped) < over) throw_full(*share.queue);
    }
}

BACKLITE_DECL auto WaitingBounds::shares(std::span<const detail::NewTask> tasks) -> std::vector<Share> {
    std::vector<Share> found;
    for (const detail::NewTask& task : tasks) {
        if (task.bounded == nullptr) continue;
        auto share = std::find_if(found.begin(), found.end(),
                                  [&](const Share& each) { return each.queue->name == task.bounded->name; });
        if (share == found.end()) share = found.insert(found.end(), {task.bounded});
        if (!task.unique) {
            ++share->plain;
        } else if (task.inserted()) {
            ++share->unique;
        }
    }
    return found;
}

BACKLITE_DECL std::int64_t WaitingBounds::excess(const QueueConfig& queue, std::int64_t more) {
    const auto bound = static_cast<std::int64_t>(queue.max_waiting);
    const auto over = [&] {
        return detail::saturating_sum(waiting(queue.name, detail::saturating_sum(bound, 1)), more) - bound;
    };
    const std::int64_t found = over();
    return found > 0 && mend(queue) ? over() : found;
}

BACKLITE_DECL std::int64_t WaitingBounds::waiting(std::string_view queue, std::int64_t most) {
    {
        Run run(db_, waiting_, {queue});
        if (run.step()) {
            const std::int64_t number = run.integer(0);
            if (kept()) return number;
        }
    }
    return on_ == On::own_connection ? begin(queue) : count(queue, most);
}

BACKLITE_DECL bool WaitingBounds::kept() {
    std::optional<std::int64_t> schema;
    {
        Run run(db_, schema_version_);
        if (run.step()) schema = run.integer(0);
    }
    if (schema_ && schema == schema_) return true;
    Run run(db_, triggers_);
    const bool seen = run.step() && run.integer(0) != 0;
    schema_ = seen ? schema : std::nullopt;
    return seen;
}

BACKLITE_DECL std::int64_t WaitingBounds::begin(std::string_view queue) {
    if (!kept()) {
        Run(db_, forget_).change();  // what was kept is old
        // A number at its end stays there: SQLite would refuse the sum, and the add of whatever program.
        execute(db_,
                "CREATE TRIGGER IF NOT EXISTS main.backlite_waiting_added AFTER INSERT ON backlite_tasks "
                "WHEN NEW.claimed_at IS NULL BEGIN "
                "UPDATE backlite_queues SET waiting = min(waiting, 9223372036854775806) + 1 "
                "WHERE queue = NEW.queue AND waiting IS NOT NULL; END");
        execute(db_,
                "CREATE TRIGGER IF NOT EXISTS main.backlite_waiting_ended AFTER DELETE ON backlite_tasks "
                "WHEN OLD.claimed_at IS NULL BEGIN "
                "UPDATE backlite_queues SET waiting = max(waiting, 1) - 1 "
                "WHERE queue = OLD.queue AND waiting IS NOT NULL; END");
        execute(db_,
                "CREATE TRIGGER IF NOT EXISTS main.backlite_waiting_changed AFTER UPDATE OF claimed_at, queue "
                "ON backlite_tasks "
                "WHEN (OLD.claimed_at IS NULL) <> (NEW.claimed_at IS NULL) OR OLD.queue <> NEW.queue BEGIN "
                "UPDATE backlite_queues SET waiting = max(waiting, 1) - 1 "
                "WHERE OLD.claimed_at IS NULL AND queue = OLD.queue AND waiting IS NOT NULL; "
                "UPDATE backlite_queues SET waiting = min(waiting, 9223372036854775806) + 1 "
                "WHERE NEW.claimed_at IS NULL AND queue = NEW.queue AND waiting IS NOT NULL; END");
        schema_.reset();  // they are there once this is committed
    }
    const std::int64_t number = count(queue, -1);
    Run(db_, set_, {queue, number}).change();
    return number;
}

BACKLITE_DECL std::int64_t WaitingBounds::count(std::string_view queue, std::int64_t most) {
    std::int64_t found = 0;
    for (Statement* const part : {&count_, &count_held_}) {
        Run run(db_, *part, {queue, most});
        if (run.step()) found = detail::saturating_sum(found, run.integer(0));
    }
    return found;
}

BACKLITE_DECL bool WaitingBounds::mend(const QueueConfig& queue) {
    if (on_ != On::own_connection) return false;
    const auto now = Steady::now();
    if (mended_ == queue.name && now - mended_at_ < trusted) return false;
    mended_ = queue.name;
    mended_at_ = now;
    const auto bound = static_cast<std::int64_t>(queue.max_waiting);
    if (count(queue.name, bound) >= bound) return false;
    Run(db_, set_, {queue.name, count(queue.name, -1)}).change();
    return true;
}

BACKLITE_DECL std::int64_t WaitingBounds::drop(const QueueConfig& queue, std::int64_t count,
                                               std::span<const detail::NewTask> own, detail::Ms now,
                                               std::vector<DroppedTask>& dropped) {
    const std::optional<Retention>& retention = queue.retention;
    const KeepRule keep = retention ? KeepRule{true, retention->data.has_value(), retention->duration} : KeepRule{};
    std::vector<std::string_view> spared;
    spared.reserve(own.size());
    for (const detail::NewTask& task : own) spared.push_back(task.id.str());
    std::sort(spared.begin(), spared.end());
    std::int64_t ended = 0;
    for (std::string& id : oldest(queue.name, detail::saturating_sum(count, static_cast<std::int64_t>(own.size())))) {
        if (ended == count) break;
        if (std::binary_search(spared.begin(), spared.end(), std::string_view{id})) continue;
        cancels_.end_child(id, now, keep, error);
        dropped.push_back({TaskId::from_text(std::move(id)), queue.name});
        ++ended;
    }
    return ended;
}

BACKLITE_DECL std::vector<std::string> WaitingBounds::oldest(std::string_view queue, std::int64_t count) {
    std::vector<std::pair<std::int64_t, std::string>> ready;
    for (std::int64_t least = detail::least_number;;) {
        std::int64_t priority = 0;
        {
            Run run(db_, next_level_, {queue, least});
            if (!run.step()) break;
            priority = run.integer(0);
        }
        Run run(db_, oldest_, {queue, priority, count});
        while (run.step()) ready.emplace_back(run.integer(1), std::string{run.bytes(0)});
        if (priority == detail::most_number) break;
        least = priority + 1;
    }
    std::stable_sort(ready.begin(), ready.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> ids;
    for (auto& [due, id] : ready) {
        if (static_cast<std::int64_t>(ids.size()) == count) return ids;
        ids.push_back(std::move(id));
    }
    Run run(db_, oldest_held_, {queue, count - static_cast<std::int64_t>(ids.size())});
    while (run.step()) ids.emplace_back(run.bytes(0));
    return ids;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
