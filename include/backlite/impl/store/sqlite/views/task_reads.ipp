// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/task_reads.hpp>.

#include <backlite/base/rows.hpp>
#include <backlite/store/sqlite/views/task_reads.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL TaskList TaskReads::claimed(const std::string& queue, const std::optional<Cursor>& after,
                                          std::size_t limit, const std::vector<Process>& processes) {
    std::vector<std::pair<detail::Ms, std::int64_t>> all;  // claimed_at, row
    TaskList list;
    list.running = 0;
    bool more = false;
    for (Run run(db_, claimed_, {bounds_.claimed + 1}); run.step();) {
        more = static_cast<std::int64_t>(++list.looked_at) > bounds_.claimed;
        if (more) break;
        if (!queue.empty() && run.bytes(2) != queue) continue;
        all.emplace_back(run.time(0), run.integer(1));
        const std::optional<bool> entered =
            is_entered(processes, run.optional_integer(3),
                       {static_cast<std::uint64_t>(run.integer(4)), hash_id(run.bytes(5)),
                        detail::batch_number(run.bytes(2), run.time(0))});
        if (!entered) list.running = std::nullopt;
        if (list.running && *entered) ++*list.running;
    }
    list.rows_cut = has_more_rows(db_, shape_, bounds_);
    more = more || list.rows_cut;
    if (more) list.running = std::nullopt;
    std::sort(all.begin(), all.end());
    list.total = Count{all.size(), more};
    auto at = all.begin();
    if (after) at = std::upper_bound(all.begin(), all.end(), std::pair{after->key, after->row});
    for (; at != all.end() && list.lines.size() < limit; ++at) list.lines.push_back(unfinished_line(at->second, {}));
    if (at != all.end() && !list.lines.empty()) list.next = Cursor{(at - 1)->first, (at - 1)->second, {}};
    return list;
}

BACKLITE_DECL TaskList TaskReads::upcoming(const std::vector<std::string>& queues, std::optional<State> state,
                                           detail::Ms now, const std::optional<Cursor>& after, std::size_t limit) {
    const detail::Ms from = state == State::scheduled ? now + Duration{1} : earliest;
    const detail::Ms to = state == State::waiting ? now : latest;
    if (!shape_.ours) return look_through(queues, from, to, false, now, after, limit);
    std::vector<Key> best;
    for (const Source& source : sources(queues)) {
        collect(upcoming_, source, from, to, after, limit + 1, limit + 1, best);
        if (best.size() > 8 * (limit + 1)) keep_first(best, limit + 1);
    }
    TaskList list;
    show_first(best, limit, now, list);
    return list;
}

BACKLITE_DECL TaskList TaskReads::retrying(const std::vector<std::string>& queues, detail::Ms now,
                                           const std::optional<Cursor>& after, std::size_t limit) {
    if (now == latest) return {};
    const detail::Ms from = now + Duration{1};
    if (!shape_.ours) return look_through(queues, from, latest, true, now, after, limit);
    const std::vector<Source> all = sources(queues);
    const std::size_t share = static_cast<std::size_t>(bounds_.retries) / (std::max)(all.size(), std::size_t{1}) + 1;
    std::vector<Key> keys;
    std::optional<Key> last;  // what is behind it has not been looked at in every queue
    for (const Source& source : all) {
        if (collect(retries_, source, from, latest, after, share, limit + 1, keys)) {
            last = last ? (std::min)(*last, keys.back()) : keys.back();
        }
    }
    TaskList list;
    list.looked_at = keys.size();
    std::erase_if(keys, [&](const Key& key) { return (last && *last < key) || std::get<3>(key) == 0; });
    show_first(keys, limit, now, list);
    if (!list.next && last) {
        list.next = cursor_of(*last);
        list.gave_up = true;
        list.looked_to = std::get<0>(*last);
    }
    return list;
}

BACKLITE_DECL void TaskReads::read_payloads(std::vector<TaskLine>& lines, std::int64_t bound) {
    for (TaskLine& line : lines) {
        const bool finished = line.state == State::succeeded || line.state == State::failed;
        Run run(db_, finished ? finished_payload_ : payload_, {line.row, bound});
        if (!run.step() || run.is_null(0)) continue;
        line.payload_size = static_cast<std::uint64_t>(run.integer(0));
        line.payload = run.bytes(1);
    }
}

BACKLITE_DECL TaskList TaskReads::finished(const Filter& filter, const std::optional<Cursor>& after,
                                           std::size_t limit) {
    TaskList list;
    if (filter.ending && !shape_.failed && *filter.ending != 7) return list;  // nobody else ends tasks like this
    if (filter.state == State::failed && shape_.failed) {
        Looking looking{filter, limit, bounds_.look_time};
        Run run(db_, failed_scan_,
                {after ? after->row : highest_row, filter.queue, filter.ending, filter.since.value_or(earliest),
                 filter.until.value_or(latest), looking.pattern, filter.in_payload, filter.in_error, nullptr,
                 bounds_.looked_at + 1, after.has_value(), after ? after->key : detail::Ms{},
                 after ? std::string_view{after->queue} : std::string_view{},
                 (std::min)(after ? after->key : latest, filter.until.value_or(latest))});
        list = look(run, looking, true);
        if (filter.text.empty() && !filter.ending) list.total = count_failed(filter);
    } else {
        std::optional<std::int64_t> failed;
        if (filter.state) failed = *filter.state == State::failed ? 1 : 0;
        const bool in_order = !filter.any_order && (filter.since || filter.until);
        std::int64_t first = after ? after->row : highest_row;
        bool skipped = in_order && after && filter.until;
        if (in_order && !after && filter.until) {
            first = seek(*filter.until + order_slack);
            skipped = first != highest_row;
        }
        list = scan(finished_scan_, filter, failed, {}, first, limit, in_order);
        list.by_order = list.by_order || skipped;
    }
    for (TaskLine& line : list.lines) line = finished_line(line.row);
    return list;
}

BACKLITE_DECL TaskList TaskReads::unfinished(const Filter& filter, detail::Ms now, const std::optional<Cursor>& after,
                                             std::size_t limit) {
    std::optional<std::int64_t> state;
    if (filter.state) state = static_cast<std::int64_t>(*filter.state);
    TaskList list = scan(unfinished_scan_, filter, state, now, after ? after->row : highest_row, limit, false);
    for (TaskLine& line : list.lines) line = unfinished_line(line.row, now);
    return list;
}

BACKLITE_DECL std::vector<TaskLine> TaskReads::by_id(const std::string& prefix, detail::Ms now, std::size_t limit) {
    const std::string end = prefix + "\xf4\x8f\xbf\xbf";  // U+10FFFF: behind every id that begins so
    std::vector<TaskLine> lines;
    std::vector<std::int64_t> rows;
    for (Run run(db_, ids_, {prefix, end, static_cast<std::int64_t>(limit)}); run.step();) {
        rows.push_back(run.integer(0));
    }
    for (const std::int64_t row : rows) lines.push_back(unfinished_line(row, now));
    rows.clear();
    for (Run run(db_, finished_ids_, {prefix, end, static_cast<std::int64_t>(limit)}); run.step();) {
        rows.push_back(run.integer(0));
    }
    for (const std::int64_t row : rows) lines.push_back(finished_line(row));
    return lines;
}

BACKLITE_DECL std::optional<TaskDetail> TaskReads::task(const std::string& id, detail::Ms now, std::int64_t bound) {
    TaskDetail detail;
    detail.now = now;
    if (const std::optional<std::int64_t> row = read_detail(detail_, id, bound, detail)) {
        detail.line = unfinished_line(*row, now);
        return detail;
    }
    if (const std::optional<std::int64_t> row = read_detail(finished_detail_, id, bound, detail)) {
        detail.line = finished_line(*row);
        return detail;
    }
    return std::nullopt;
}

BACKLITE_DECL TaskReads::DueRows::DueRows(const std::string& rows, const char* wanted)
    : same(fmt::format("SELECT due, row, {} FROM {} WHERE queue = ?1 AND priority = ?4 AND due = ?2 AND row > ?3 "
                       "ORDER BY row",
                       wanted, rows)),
      between(fmt::format("SELECT due, row, {} FROM {} WHERE queue = ?1 AND priority = ?4 AND due BETWEEN ?2 AND ?3 "
                          "ORDER BY due, row",
                          wanted, rows)) {}

BACKLITE_DECL void TaskReads::show_first(std::vector<Key>& keys, std::size_t limit, detail::Ms now, TaskList& list) {
    keep_first(keys, limit + 1);
    if (keys.size() > limit) {
        keys.resize(limit);
        list.next = cursor_of(keys.back());
    }
    for (const Key& key : keys) {
        list.lines.push_back(unfinished_line(std::get<2>(key), now));
        const TaskLine& line = list.lines.back();
        if (line.due > now) list.next_change = (std::min)(list.next_change.value_or(latest), line.due);
    }
}

BACKLITE_DECL auto TaskReads::sources(const std::vector<std::string>& queues) -> std::vector<Source> {
    std::vector<Source> all;
    for (const std::string& queue : queues) {
        for (const std::int64_t priority : priorities_.of(queue)) all.push_back({queue, priority});
    }
    return all;
}

BACKLITE_DECL bool TaskReads::collect(DueRows& rows, const Source& source, detail::Ms from, detail::Ms to,
                                      const std::optional<Cursor>& after, std::size_t count, std::size_t wanted,
                                      std::vector<Key>& keys) {
    const std::string& queue = source.queue;
    std::size_t taken = 0;
    std::size_t found = 0;
    const auto ended = [&] { return taken == count || found == wanted; };
    const auto take = [&](Run& run) {
        for (; !ended() && run.step(); ++taken) {
            keys.emplace_back(run.time(0), queue, run.integer(1), run.integer(2));
            if (run.integer(2) != 0) ++found;
        }
    };
    if (after && after->key >= from) {
        const int order = queue.compare(after->queue);
        if (order == 0 && after->key <= to) {
            Run same(db_, rows.same, {queue, after->key, after->row, source.priority});
            take(same);
        }
        from = after->key;
        if (order <= 0) {
            if (from == latest) return ended();
            from = from + Duration{1};
        }
    }
    Run later(db_, rows.between, {queue, from, to, source.priority});
    take(later);
    return ended();
}

BACKLITE_DECL TaskList TaskReads::look_through(const std::vector<std::string>& queues, detail::Ms from, detail::Ms to,
                                               bool retries, detail::Ms now, const std::optional<Cursor>& after,
                                               std::size_t limit) {
    const std::string only = queues.size() == 1 ? queues.front() : std::string{};
    const std::string behind = after ? after->queue : std::string{};
    TaskList list;
    Cursor last;
    for (Run run(db_, first_due_,
                 {only, from, to, retries, !after, after ? after->key : detail::Ms{}, behind, after ? after->row : 0,
                  static_cast<std::int64_t>(limit) + 1});
         run.step();) {
        if (list.lines.size() == limit) {
            list.next = last;
            break;
        }
        last = Cursor{run.time(0), run.integer(1), std::string{run.bytes(2)}};
        list.lines.push_back(unfinished_line(last.row, now));
        if (last.key > now) list.next_change = (std::min)(list.next_change.value_or(latest), last.key);
    }
    list.rows_cut = has_more_rows(db_, shape_, bounds_);
    return list;
}

BACKLITE_DECL std::int64_t TaskReads::seek(detail::Ms time) {
    std::int64_t least = 0;
    std::int64_t most = 0;
    {
        Run first(db_, first_row_);
        Run last(db_, last_row_);
        if (!first.step() || !last.step() || first.is_null(0)) return highest_row;
        least = first.integer(0);
        most = last.integer(0);
    }
    const auto is_later = [&](std::int64_t row) {  // also all of those behind it: one row may have any time
        Run run(db_, sample_, {row});
        return run.step() && !run.is_null(0) && run.time(0) > time;
    };
    if (!is_later(most)) return highest_row;
    while (least < most) {
        const auto half = (static_cast<std::uint64_t>(most) - static_cast<std::uint64_t>(least)) / 2;
        const auto middle = static_cast<std::int64_t>(static_cast<std::uint64_t>(least) + half);
        if (is_later(middle)) {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    return most;
}

BACKLITE_DECL Count TaskReads::count_failed(const Filter& filter) {
    Run run(db_, failed_count_,
            {filter.queue, filter.since.value_or(earliest), filter.until.value_or(latest), bounds_.looked_at + 1});
    const std::int64_t found = run.step() ? run.integer(0) : 0;
    return {static_cast<std::uint64_t>((std::min)(found, bounds_.looked_at)), found > bounds_.looked_at};
}

BACKLITE_DECL TaskList TaskReads::scan(Statement& statement, const Filter& filter, std::optional<std::int64_t> state,
                                       detail::Ms now, std::int64_t first, std::size_t limit, bool in_order) {
    Looking looking{filter, limit, bounds_.look_time};
    if (in_order && filter.since) looking.since = *filter.since - order_slack;
    Run run(db_, statement,
            {first, filter.queue, state, filter.since.value_or(earliest), filter.until.value_or(latest),
             looking.pattern, filter.in_payload, filter.in_error, now, bounds_.looked_at + 1});
    return look(run, looking, false);
}

BACKLITE_DECL TaskList TaskReads::look(Run& run, const Looking& looking, bool by_time) {
    TaskList list;
    Cursor last;
    int before = 0;
    while (run.step()) {
        const bool found = run.integer(1) != 0;
        const bool full = found && list.lines.size() == looking.limit;
        const bool enough = static_cast<std::int64_t>(list.looked_at) == bounds_.looked_at ||
                            (list.looked_at > 0 && std::chrono::steady_clock::now() > looking.until);
        if (full || enough) {
            list.next = last;
            list.gave_up = !full && list.lines.size() < looking.limit;
            return list;
        }
        ++list.looked_at;
        const detail::Ms time = run.time(2);
        list.looked_to = time;
        last = by_time ? Cursor{time, run.integer(0), std::string{run.bytes(3)}} : Cursor{{}, run.integer(0), {}};
        if (found) list.lines.emplace_back().row = last.row;
        before = time < looking.since ? before + 1 : 0;
        if (before == order_patience) {
            list.by_order = true;
            return list;
        }
    }
    return list;
}

BACKLITE_DECL std::string TaskReads::like_pattern(std::string_view text) {
    std::string pattern = "%";
    for (const char c : text) {
        if (c == '%' || c == '_' || c == '\\') pattern += '\\';
        pattern += c;
    }
    return pattern + '%';
}

BACKLITE_DECL std::optional<std::int64_t> TaskReads::read_detail(Statement& statement, const std::string& id,
                                                                 std::int64_t bound, TaskDetail& detail) {
    Run run(db_, statement, {id, bound});
    if (!run.step()) return std::nullopt;
    detail.wait_until = run.optional_time(1);
    detail.expires_at = run.optional_time(2);
    detail.error_size = static_cast<std::uint64_t>(run.integer(3));
    detail.error = run.bytes(4);
    detail.has_payload = !run.is_null(5);
    detail.payload_size = static_cast<std::uint64_t>(run.integer(5));
    detail.payload = run.bytes(6);
    return run.integer(0);
}

BACKLITE_DECL TaskLine TaskReads::unfinished_line(std::int64_t row, detail::Ms now) {
    TaskLine line;
    Run run(db_, unfinished_line_, {row});
    if (!run.step()) return line;  // cannot be: the row was found in this transaction
    read_common(run, line);
    line.row = row;
    line.due = run.time(7);
    line.claimed_at = run.optional_time(8);
    line.owner = run.optional_integer(9);
    line.crashes = run.integer(10);
    line.claim = static_cast<std::uint64_t>(run.integer(11));
    line.state = line.claimed_at ? State::claimed : line.due <= now ? State::waiting : State::scheduled;
    return line;
}

BACKLITE_DECL TaskLine TaskReads::finished_line(std::int64_t row) {
    TaskLine line;
    Run run(db_, finished_line_, {row});
    if (!run.step()) return line;
    read_common(run, line);
    line.row = row;
    if (!run.is_null(7)) line.duration = run.duration(7);
    line.state = run.integer(8) != 0 ? State::succeeded : State::failed;
    if (line.state == State::failed) line.ending = run.integer(9);
    return line;
}

BACKLITE_DECL void TaskReads::read_common(Run& run, TaskLine& line) {
    line.id = run.bytes(0);
    line.id_cut = run.integer(1) != 0;
    line.queue = run.bytes(2);
    line.created_at = run.time(3);
    line.executed_at = run.optional_time(4);
    line.attempts = run.integer(5);
    line.error = run.bytes(6);
}

BACKLITE_DECL std::string TaskReads::detail_sql(const char* table, const char* wait_until, const char* expires_at,
                                                const char* error) {
    return fmt::format(
        "SELECT rowid, {}, {}, coalesce(length(CAST({} AS BLOB)), 0), substr(CAST({} AS BLOB), 1, ?2), "
        "length(task), "
        "substr(task, 1, ?2) FROM {} WHERE id = ?1",
        wait_until, expires_at, error, error, table);
}

BACKLITE_DECL std::string TaskReads::scan_sql(const char* table, const char* state, const char* time, const char* error,
                                              const char* order) {
    // Of CASE's conditions only those that matter are worked out; AND and OR as values would read every payload.
    return fmt::format(
        "SELECT rowid, CASE WHEN NOT (?2 = '' OR queue = ?2) THEN 0 WHEN NOT (?3 IS NULL OR {} = ?3) THEN 0 "
        "WHEN NOT ({} BETWEEN ?4 AND ?5) THEN 0 WHEN ?6 = '' THEN 1 WHEN id LIKE ?6 ESCAPE '\\' THEN 1 "
        "WHEN ?8 AND {} LIKE ?6 ESCAPE '\\' THEN 1 WHEN ?7 AND CAST(task AS TEXT) LIKE ?6 ESCAPE '\\' THEN 1 "
        "WHEN ?9 IS NULL THEN 0 ELSE 0 END, {}, queue FROM {} {} LIMIT ?10",
        state, time, error, time, table, order);
}

BACKLITE_DECL std::string TaskReads::failed_sql() {
    const std::string time = finished_time;
    // The numbers are those of TaskState.
    return scan_sql("backlite_tasks_completed", "CASE kind WHEN 1 THEN 8 WHEN 5 THEN 9 ELSE 7 END", finished_time,
                    "error",
                    ("INDEXED BY backlite_tasks_completed_failed WHERE error IS NOT NULL AND " + time + " >= ?4 AND " +
                     time + " <= ?14 AND (NOT ?11 OR (" + time + ", queue, rowid) < (?12, ?13, ?1)) ORDER BY " + time +
                     " DESC, queue DESC, rowid DESC")
                        .c_str());
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
