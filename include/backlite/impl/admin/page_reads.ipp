// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin/page_reads.hpp>.

#include <algorithm>
#include <set>
#include <utility>

#include <backlite/admin/page_reads.hpp>
#include <backlite/store/sqlite/log_file.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/views/side_files.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

BACKLITE_DECL Overview PageReads::overview(Period period, const std::string& queue, std::chrono::minutes zone) {
    Overview found = queries_.queues.overview(now_, period, queue, processes());
    found.days = queries_.statistics.days(now_, zone, queue);
    found.newer_file = queries_.shape.schema_version > store::sqlite::Schema::current;
    if (queries_.shape.schema_version >= store::sqlite::Schema::current) found.paused = queries_.facts.paused();
    return found;
}

BACKLITE_DECL TaskList PageReads::running(const std::string& queue, const Extent& extent) {
    std::vector<Process> all = processes();
    TaskList list = queries_.tasks.claimed(queue, extent.after, extent.limit, all);
    complete(list.lines, all, extent.payload_bytes);
    list.queues = queues();
    list.processes = std::move(all);
    return list;
}

BACKLITE_DECL TaskList PageReads::upcoming(const std::string& queue, Upcoming which, const Extent& extent) {
    bool more = false;
    std::vector<std::string> names = queries_.queues.names(more);
    more = more && queue.empty();
    const std::vector<std::string>& queues = queue.empty() ? names : std::vector{queue};
    std::optional<State> state;
    if (which == Upcoming::waiting) state = State::waiting;
    if (which == Upcoming::scheduled) state = State::scheduled;
    TaskList list = which == Upcoming::retrying
                        ? queries_.tasks.retrying(queues, now_, extent.after, extent.limit)
                        : queries_.tasks.upcoming(queues, state, now_, extent.after, extent.limit);
    if (which != Upcoming::retrying) {
        list.total = queries_.queues.unclaimed(queues, now_, state, most_counted);
        list.total->more = list.total->more || more;
    }
    complete(list.lines, {}, extent.payload_bytes);
    list.queues = std::move(names);
    list.more_queues = more;
    return list;
}

BACKLITE_DECL TaskList PageReads::finished(const Filter& filter, const Extent& extent) {
    TaskList list = queries_.tasks.finished(filter, extent.after, extent.limit);
    list.happened = happened(filter);
    complete(list.lines, {}, extent.payload_bytes);
    list.queues = queues();
    return list;
}

BACKLITE_DECL std::vector<std::string> PageReads::queues() {
    bool more = false;
    return queries_.queues.names(more);
}

BACKLITE_DECL Found PageReads::search(const Filter& filter, Parts parts, const Extent& extent) {
    Found found;
    found.queues = queues();
    const std::vector<Process> all = processes();
    if (parts.by_id) {
        found.by_id = queries_.tasks.by_id(filter.text, now_, 20);
        complete(found.by_id, all, extent.payload_bytes);
    }
    if (!filter.text.empty() && !extent.after) found.named = queues_named(filter.text, found.queues);
    if (parts.unfinished) {
        found.unfinished = queries_.tasks.unfinished(filter, now_, extent.after, extent.limit);
        complete(found.unfinished->lines, all, extent.payload_bytes);
    }
    if (parts.finished) {
        found.finished = queries_.tasks.finished(filter, extent.after, extent.limit);
        complete(found.finished->lines, all, extent.payload_bytes);
    }
    return found;
}

BACKLITE_DECL std::optional<TaskDetail> PageReads::task(const std::string& id, std::int64_t bound) {
    std::optional<TaskDetail> found = queries_.tasks.task(id, now_, bound);
    if (found && found->line.state == State::claimed) found->line.entered = entered(found->line, processes());
    return found;
}

BACKLITE_DECL Count PageReads::count(const std::vector<TaskFilter>& filters, std::uint64_t most) {
    constexpr std::size_t step = 1'000;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{1};
    Count count;
    for (const TaskFilter& filter : filters) {
        std::optional<std::string> before;
        do {
            const store::sqlite::Walk walk = queries_.facts.walk(filter, before, now_, step);
            count.number += walk.rows.size();
            before = walk.next;
            count.more = before && (count.number >= most || std::chrono::steady_clock::now() > until);
        } while (before && !count.more);
        if (count.more) return count;
    }
    return count;
}

BACKLITE_DECL Metrics PageReads::metrics() {
    Metrics found;
    found.database_bytes = queries_.queues.bytes();
    found.overview = queries_.queues.overview(now_, {}, {}, processes());
    found.log_bytes = store::sqlite::log_bytes(database_);
    found.sqlite_version = store::sqlite::library_version();
    return found;
}

BACKLITE_DECL std::vector<Process> PageReads::processes() {
    std::vector<Process> found = queries_.queues.processes();
    store::sqlite::find_living(database_, found);
    return found;
}

BACKLITE_DECL std::optional<bool> PageReads::entered(const TaskLine& line, const std::vector<Process>& processes) {
    if (line.id_cut) return std::nullopt;
    const std::uint64_t batch = line.claimed_at ? detail::batch_number(line.queue, *line.claimed_at) : 0;
    return is_entered(processes, line.owner, {line.claim, store::sqlite::hash_id(line.id), batch});
}

BACKLITE_DECL void PageReads::complete(std::vector<TaskLine>& lines, const std::vector<Process>& processes,
                                       std::int64_t payload_bytes) {
    for (TaskLine& line : lines) {
        if (line.state == State::claimed) line.entered = entered(line, processes);
    }
    queries_.tasks.read_payloads(lines, payload_bytes);
}

BACKLITE_DECL std::optional<Count> PageReads::happened(const Filter& filter) {
    if (!filter.since || !filter.text.empty()) return std::nullopt;
    const detail::Ms until = (std::min)(filter.until.value_or(now_), now_);
    return queries_.statistics.finished(*filter.since, until, now_, filter.queue, *filter.state == State::failed);
}

BACKLITE_DECL std::vector<std::string> PageReads::queues_named(const std::string& text,
                                                               const std::vector<std::string>& names) {
    constexpr std::size_t most = 8;
    std::set<std::string> all(names.begin(), names.end());
    queries_.statistics.add_names(now_, all);
    if (queries_.queues.has(text)) all.insert(text);
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    const auto alike = [&](char a, char b) { return lower(a) == lower(b); };
    std::vector<std::string> found;
    for (const std::string& name : all) {
        if (found.size() == most) break;
        if (std::search(name.begin(), name.end(), text.begin(), text.end(), alike) != name.end()) found.push_back(name);
    }
    return found;
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
