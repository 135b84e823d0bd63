// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin/task_pages.hpp>.

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>
#include <utility>

#include <backlite/admin/flow_steps.hpp>
#include <backlite/admin/task_pages.hpp>
#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/error.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/flags.hpp>
#include <backlite/store/sqlite/views/side_files.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

/// The lists: i: by id; u: unfinished, f: finished, by row; d: by due time; r: retries; c: claimed; e: with an error,
/// by their end.
struct TaskPages::Place {
    char list = 'u';
    std::optional<Cursor> behind{};
    std::string id{};  ///< of the list by id
};

BACKLITE_DECL void TaskPages::check_that(const TaskFilter& filter) {
    if (filter.text.size() > most_text) {
        throw ConfigError(
            detail::format("TaskFilter: text has {} bytes, {} are the most", {filter.text.size(), most_text}));
    }
    if (filter.since && filter.until && *filter.since > *filter.until) {
        throw ConfigError("TaskFilter: since is later than until");
    }
    const auto state = static_cast<int>(filter.state);
    if (state < 0 || state > static_cast<int>(TaskState::expired)) {
        throw ConfigError(detail::format("TaskFilter: there is no state {}", {state}));
    }
}

BACKLITE_DECL void TaskPages::check_that(const Page& page) {
    if (page.limit < 1 || page.limit > most_on_page) {
        throw ConfigError(detail::format("Page: limit is {}, and must be 1 to {}", {page.limit, most_on_page}));
    }
}

BACKLITE_DECL TaskPage TaskPages::tasks(const TaskFilter& filter, const Page& page) {
    check_that(filter);
    check_that(page);
    Place place = page.after ? place_of(*page.after, filter) : first_place(filter);
    if (place.list == 'i') return by_id(filter, page);
    TaskPage found;
    const auto until = std::chrono::steady_clock::now() + queries_.look_time;
    for (;;) {
        const store::TaskList list = next_lines(filter, place, page.limit - found.tasks.size());
        for (const store::TaskLine& line : list.lines) {
            const bool finished = place.list == 'f' || place.list == 'e';
            const store::sqlite::TaskFacts facts = queries_.facts.facts(finished, line.row, now_);
            if (filter.state == TaskState::any || facts.state == filter.state) {
                found.tasks.push_back(row_of(line, facts));
            }
        }
        place.behind = list.next;
        if (!list.next) {
            if (place.list != 'u' || filter.state != TaskState::any) return found;
            place.list = 'f';
        }
        if (found.tasks.size() == page.limit || list.gave_up || std::chrono::steady_clock::now() > until) {
            found.next = token_of(place);
            return found;
        }
    }
}

BACKLITE_DECL TaskPages::Place TaskPages::first_place(const TaskFilter& filter) {
    if (!filter.id.empty() || !filter.tag.empty()) return {'i'};
    const bool narrowed = !filter.text.empty() || filter.since || filter.until;
    switch (filter.state) {
        case TaskState::waiting:
        case TaskState::scheduled: return {narrowed ? 'u' : 'd'};
        case TaskState::retrying: return {narrowed ? 'u' : 'r'};
        case TaskState::running: return {narrowed ? 'u' : 'c'};
        case TaskState::held: return {'i'};
        case TaskState::succeeded: return {'f'};
        case TaskState::failed:
        case TaskState::cancelled:
        case TaskState::expired: return {'e'};
        case TaskState::any: break;
    }
    return {'u'};
}

BACKLITE_DECL PageToken TaskPages::token_of(const Place& place) {
    const Cursor behind = place.behind.value_or(Cursor{{}, detail::most_number, {}});
    return PageToken::parse(detail::format(
        "{}:{}:{}:{}", {std::string_view{&place.list, 1}, behind.key.count(), behind.row, behind.queue}));
}

BACKLITE_DECL TaskPages::Place TaskPages::place_of(const PageToken& token, const TaskFilter& filter) {
    const std::string_view text = token.str();
    Place place = first_place(filter);
    const auto refuse = [&]() -> Place {
        throw ConfigError(detail::format("not where this list goes on: \"{}\"", {detail::shown(text, 64)}));
    };
    if (text.size() < 3) return refuse();
    if (text[0] != place.list) {
        if (place.list != 'u' || text[0] != 'f' || filter.state != TaskState::any) return refuse();
        place.list = 'f';
    }
    std::string_view rest = text.substr(2);
    if (place.list == 'i') {
        place.id = rest;
        return place;
    }
    const auto number = [&](std::int64_t& value) {
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
        if (error != std::errc{} || end == rest.data() + rest.size() || *end != ':') return false;
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()) + 1);
        return true;
    };
    std::int64_t key = 0;
    Cursor behind;
    if (!number(key) || !number(behind.row)) return refuse();
    behind.key = detail::Ms{key};
    behind.queue = rest;
    place.behind = std::move(behind);
    return place;
}

BACKLITE_DECL TaskPage TaskPages::by_id(const TaskFilter& filter, const Page& page) {
    std::optional<std::string> before;
    if (page.after) before = place_of(*page.after, filter).id;
    const store::sqlite::Walk walk = queries_.facts.walk(filter, before, now_, page.limit);
    TaskPage found;
    for (const store::sqlite::FoundRow& row : walk.rows) {
        found.tasks.push_back(row_of(queries_.tasks.line(row.finished, row.row, now_),
                                     queries_.facts.facts(row.finished, row.row, now_)));
    }
    if (walk.next) found.next = PageToken::parse("i:" + *walk.next);
    return found;
}

BACKLITE_DECL store::TaskList TaskPages::next_lines(const TaskFilter& filter, const Place& place, std::size_t limit) {
    Filter wanted;
    wanted.queue = filter.queue;
    wanted.text = filter.text;
    wanted.any_order = true;
    if (filter.since) wanted.since = detail::to_due_ms(*filter.since);
    if (filter.until) wanted.until = detail::to_ms(*filter.until);
    const auto queues = [&] {
        bool more = false;
        return filter.queue.empty() ? queries_.queues.names(more) : std::vector{filter.queue};
    };
    switch (place.list) {
        case 'd':
            return queries_.tasks.upcoming(queues(),
                                           filter.state == TaskState::waiting ? State::waiting : State::scheduled, now_,
                                           place.behind, limit);
        case 'r': return queries_.tasks.retrying(queues(), now_, place.behind, limit);
        case 'c': return queries_.tasks.claimed(filter.queue, place.behind, limit, {});
        case 'e':
            wanted.state = State::failed;
            wanted.ending = static_cast<std::int64_t>(filter.state);
            return queries_.tasks.finished(wanted, place.behind, limit);
        case 'f':
            if (filter.state == TaskState::succeeded) wanted.state = State::succeeded;
            return queries_.tasks.finished(wanted, place.behind, limit);
        default: break;
    }
    if (filter.state == TaskState::waiting) wanted.state = State::waiting;
    if (filter.state == TaskState::scheduled || filter.state == TaskState::retrying) wanted.state = State::scheduled;
    if (filter.state == TaskState::running) wanted.state = State::claimed;
    return queries_.tasks.unfinished(wanted, now_, place.behind, limit);
}

BACKLITE_DECL TaskRow TaskPages::row_of(const store::TaskLine& line, const store::sqlite::TaskFacts& facts) const {
    TaskRow row;
    row.id = TaskId::from_text(line.id);
    row.queue = line.queue;
    row.state = facts.state;
    row.priority = store::bounded_priority(facts.priority);
    row.created = detail::from_ms(line.created_at);
    if (line.claimed_at) row.claimed = detail::from_ms(*line.claimed_at);
    if (line.executed_at) row.started = detail::from_ms(*line.executed_at);
    if (facts.state < TaskState::succeeded) {
        row.due = detail::from_ms(line.due);
    } else {
        row.duration = line.duration;
        if (const auto at = store::finished_at(line)) row.finished = detail::from_ms(*at);
    }
    row.spent = (std::max)(line.attempts, std::int64_t{0});
    row.crashes = (std::max)(line.crashes, std::int64_t{0});
    row.error = line.error;
    return row;
}

BACKLITE_DECL std::optional<TaskDetails> TaskPages::task(const std::string& id) {
    const std::optional<store::TaskDetail> found = queries_.tasks.task(id, now_, most_bytes);
    if (!found) return std::nullopt;
    const store::TaskLine& line = found->line;
    const bool finished = line.state == State::succeeded || line.state == State::failed;
    const store::sqlite::TaskFacts facts = queries_.facts.facts(finished, line.row, now_);
    TaskDetails details;
    static_cast<TaskRow&>(details) = row_of(line, facts);
    details.id = TaskId::from_text(id);
    details.error = found->error;
    if (found->has_payload) details.payload = found->payload;
    details.unique_key = facts.unique_key;
    details.partition = facts.partition;
    if (found->expires_at) details.kept_until = detail::from_ms(*found->expires_at);
    queries_.facts.read_records(details, facts, finished, line.row);
    for (const auto& value : queries_.facts.flow_values(id)) {
        if (auto step = step_of(value, now_)) details.steps.push_back(std::move(*step));
    }
    for (auto& sent : queries_.facts.flow_signals(id)) {
        details.unread.push_back({std::move(sent.name), std::move(sent.json).value_or(""), detail::from_ms(sent.at)});
    }
    if (facts.state == TaskState::held) details.why = reasons(facts.hold);
    if (facts.state == TaskState::waiting) {
        details.why = closed({details.queue}).front();
        if (!any_client_lives()) details.why.push_back(Blocker::no_client);
    }
    return details;
}

BACKLITE_DECL std::vector<Blocker> TaskPages::reasons(std::int64_t hold) const {
    std::vector<Blocker> why;
    if ((hold & store::sqlite::hold::turn) != 0) why.push_back(Blocker::partition);
    if ((hold & store::sqlite::hold::by_hand) != 0) why.push_back(Blocker::by_hand);
    if ((hold & store::sqlite::hold::twin) != 0) why.push_back(Blocker::twin);
    if (hold >= store::sqlite::hold::parent) why.push_back(Blocker::parents);
    return why;
}

BACKLITE_DECL std::vector<ClientInfo> TaskPages::clients() {
    std::vector<store::Process> processes = queries_.queues.processes();
    store::sqlite::find_living(database_, processes);
    std::vector<ClientInfo> found;
    for (const store::Process& process : processes) {
        found.push_back({process.owner, process.workers, detail::from_ms(process.started_at), process.alive});
    }
    return found;
}

BACKLITE_DECL bool TaskPages::any_client_lives() {
    const std::vector<ClientInfo> all = clients();
    return std::any_of(all.begin(), all.end(), [](const ClientInfo& client) { return client.alive.value_or(true); });
}

BACKLITE_DECL std::vector<std::vector<Blocker>> TaskPages::closed(const std::vector<std::string>& names) {
    std::vector<store::QueueHead> heads;
    for (const std::string& name : names) {
        store::QueueHead& head = heads.emplace_back();
        head.name = name;
        head.due = now_;  // so that what runs is counted
    }
    queries_.rules.read(heads, 0, now_);
    std::vector<std::vector<Blocker>> why;
    for (const store::QueueHead& head : heads) {
        std::vector<Blocker>& reasons = why.emplace_back();
        if (head.paused) reasons.push_back(Blocker::paused);
        if (head.full) reasons.push_back(Blocker::limit);
        if (head.opens > now_) reasons.push_back(Blocker::rate);
    }
    return why;
}

BACKLITE_DECL std::vector<QueueInfo> TaskPages::queues() {
    const store::Overview overview = queries_.queues.overview(now_, {});
    std::map<std::string, QueueInfo> found;
    const auto counted = [](const store::Count& count) { return BoundedCount{count.number, count.more}; };
    for (const store::QueueSummary& queue : overview.queues) {
        QueueInfo& info = found[queue.name];
        info.waiting = counted(queue.waiting);
        info.scheduled = counted(queue.scheduled);
        info.retrying = counted(queue.retrying);
        info.running = counted(queue.claimed);
        info.succeeded = queue.succeeded;
        info.failed = queue.failed;
        if (queue.oldest_due) info.oldest_due = detail::from_ms(*queue.oldest_due);
        if (queue.next_due) info.next_due = detail::from_ms(*queue.next_due);
    }
    for (const auto& [name, facts] : queries_.facts.queues()) {
        QueueInfo& info = found[name];
        info.held = facts.held;
        if (facts.paused) info.paused = detail::from_ms(*facts.paused);
        info.limits = queries_.rules.limits(name);
        info.why = reasons(facts.reasons);
    }
    std::vector<std::string> names;
    for (const auto& [name, info] : found) names.push_back(name);
    const std::vector<std::vector<Blocker>> why = closed(names);
    const bool lives = any_client_lives();
    std::vector<QueueInfo> all;
    for (auto& [name, info] : found) {
        info.name = name;
        const std::vector<Blocker>& first = why[all.size()];
        info.why.insert(info.why.begin(), first.begin(), first.end());
        if (!lives && info.waiting.number > 0) info.why.push_back(Blocker::no_client);
        all.push_back(std::move(info));
    }
    return all;
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
