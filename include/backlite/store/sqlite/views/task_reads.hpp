// SPDX-License-Identifier: MIT
#pragma once
// The SQL behind lists of tasks, the search, and the page of one task.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/views/schema_features.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Lists go on after a row, never after a number of rows. A filter that has to look at rows one by one looks at a
/// bounded number of them for each page, for a bounded time, and says how far it came; the next page goes on there.
/// Threads: those of its connection, one at a time. Errors: StorageError; SQLITE_INTERRUPT when the time is up.
class TaskReads {
public:
    TaskReads(sqlite3* db, const SchemaFeatures& shape, const store::Bounds& bounds = {})
        : db_(db), shape_(shape), bounds_(bounds) {}
    TaskReads(const TaskReads&) = delete;
    TaskReads& operator=(const TaskReads&) = delete;

    /// Claimed tasks, the longest claimed first. `processes` tell which of them run.
    [[nodiscard]] TaskList claimed(const std::string& queue, const std::optional<Cursor>& after, std::size_t limit,
                                   const std::vector<Process>& processes);

    /// Unclaimed tasks of these queues by due time; ties by queue, then by row. `state`: waiting, scheduled, or both.
    [[nodiscard]] TaskList upcoming(const std::vector<std::string>& queues, std::optional<State> state, detail::Ms now,
                                    const std::optional<Cursor>& after, std::size_t limit);

    /// Scheduled tasks of these queues that have failed before, in the order of `upcoming`. What is scheduled for the
    /// first time is passed over.
    [[nodiscard]] TaskList retrying(const std::vector<std::string>& queues, detail::Ms now,
                                    const std::optional<Cursor>& after, std::size_t limit);

    /// Adds the payloads of up to `bound` bytes: larger ones would be read as a whole, since that is how SQLite reads a
    /// value.
    void read_payloads(std::vector<TaskLine>& lines, std::int64_t bound);

    /// Finished tasks, the last finished first: those that failed by the time of their end, others by their rows, which
    /// are nearly in that order. Of `filter.state`, succeeded and failed apply.
    ///
    /// Where rows are looked at one by one, a window of time is sought in their order, and the look ends behind it;
    /// `by_order` says then that rows far from their place were not looked at. `filter.any_order` looks at all.
    [[nodiscard]] TaskList finished(const Filter& filter, const std::optional<Cursor>& after, std::size_t limit);

    /// Unfinished tasks, the last added first. Of `filter.state`, waiting, scheduled and claimed apply.
    [[nodiscard]] TaskList unfinished(const Filter& filter, detail::Ms now, const std::optional<Cursor>& after,
                                      std::size_t limit);

    /// Tasks of both tables whose id begins so, each table's by id.
    [[nodiscard]] std::vector<TaskLine> by_id(const std::string& prefix, detail::Ms now, std::size_t limit);

    /// The line of one row, which was found in this transaction.
    [[nodiscard]] TaskLine line(bool finished, std::int64_t row, detail::Ms now) {
        return finished ? finished_line(row) : unfinished_line(row, now);
    }

    /// One task, with up to `bound` bytes of its payload and as many of its error; nullopt if there is none.
    [[nodiscard]] std::optional<TaskDetail> task(const std::string& id, detail::Ms now, std::int64_t bound);

private:
    /// By how much a row may be away from its place in the order of time and still be found there: commits are late.
    static constexpr Duration order_slack = std::chrono::minutes{10};
    static constexpr int order_patience = 1'000;  ///< rows before a window that end the look
    static constexpr detail::Ms earliest = detail::Ms::earliest();
    static constexpr detail::Ms latest = detail::Ms::latest();
    static constexpr std::int64_t highest_row = detail::most_number;

    /// Due time, queue, row; and whether it is one of those that are looked for.
    using Key = std::tuple<detail::Ms, std::string_view, std::int64_t, std::int64_t>;

    /// Unclaimed tasks of a queue by due time and row, and whether each is one of those that are looked for.
    struct DueRows {
        DueRows(const std::string& rows, const char* wanted);
        Query same;
        Query between;
    };

    /// A look at rows one by one.
    struct Looking {
        Looking(const Filter& filter, std::size_t most, std::chrono::milliseconds time)
            : limit(most),
              pattern(filter.text.empty() ? std::string{} : like_pattern(filter.text)),
              until(std::chrono::steady_clock::now() + time) {}
        std::size_t limit;
        std::string pattern;
        detail::Ms since = earliest;  ///< a run of rows before it ends the look
        std::chrono::steady_clock::time_point until;
    };

    static void keep_first(std::vector<Key>& keys, std::size_t count) {
        std::sort(keys.begin(), keys.end());
        if (keys.size() > count) keys.resize(count);
    }

    static Cursor cursor_of(const Key& key) {
        return Cursor{std::get<0>(key), std::get<2>(key), std::string{std::get<1>(key)}};
    }

    /// The first `limit` of `keys`, and where the list goes on if there are more.
    void show_first(std::vector<Key>& keys, std::size_t limit, detail::Ms now, TaskList& list);

    /// The unclaimed tasks of one priority in a queue.
    struct Source {
        const std::string& queue;
        std::int64_t priority;
    };
    [[nodiscard]] std::vector<Source> sources(const std::vector<std::string>& queues);

    /// Adds the first of them behind the cursor: `count`, or fewer if `wanted` of those are looked for. False: these
    /// were all.
    bool collect(DueRows& rows, const Source& source, detail::Ms from, detail::Ms to,
                 const std::optional<Cursor>& after, std::size_t count, std::size_t wanted, std::vector<Key>& keys);

    /// The same of a table without our indexes: by a look through its rows, which keeps the first.
    TaskList look_through(const std::vector<std::string>& queues, detail::Ms from, detail::Ms to, bool retries,
                          detail::Ms now, const std::optional<Cursor>& after, std::size_t limit);

    /// The row behind the last that may have ended at `time` or before, if rows are in the order of their time.
    std::int64_t seek(detail::Ms time);

    Count count_failed(const Filter& filter);

    TaskList scan(Statement& statement, const Filter& filter, std::optional<std::int64_t> state, detail::Ms now,
                  std::int64_t first, std::size_t limit, bool in_order);

    /// Goes through rows of row, whether it is one of those that are looked for, time, queue. `by_time`: in the order
    /// of the last two. The lines that it returns hold their row only.
    TaskList look(Run& run, const Looking& looking, bool by_time);

    static std::string like_pattern(std::string_view text);

    std::optional<std::int64_t> read_detail(Statement& statement, const std::string& id, std::int64_t bound,
                                            TaskDetail& detail);

    TaskLine unfinished_line(std::int64_t row, detail::Ms now);

    TaskLine finished_line(std::int64_t row);

    static void read_common(Run& run, TaskLine& line);

    static std::string detail_sql(const char* table, const char* wait_until, const char* expires_at, const char* error);

    /// ?1: rows before this one, or all if it is the highest number; ?2: queue, or empty; ?3: state; ?4, ?5: from and
    /// to which time; ?6: pattern, or empty; ?7, ?8: whether it is looked for in payload and error; ?9: now; ?10: how
    /// many rows.
    static std::string scan_sql(const char* table, const char* state, const char* time, const char* error,
                                const char* order);

    static constexpr const char* by_row =
        "WHERE rowid <= iif(?1 = 9223372036854775807, ?1, ?1 - 1) ORDER BY rowid DESC";

    /// As scan_sql, by the index of failed tasks. ?11: whether it goes on behind the row of ?12, ?13 and ?1; ?14: the
    /// last time that it begins at.
    static std::string failed_sql();

    static_assert(static_cast<int>(State::waiting) == 0 && static_cast<int>(State::scheduled) == 1 &&
                      static_cast<int>(State::claimed) == 2,
                  "unfinished_scan_ names these numbers");

    sqlite3* db_;
    const SchemaFeatures shape_;
    const store::Bounds bounds_;
    const std::string due_ = shape_.ours ? "due" : due_of_go;
    const std::string error_ = shape_.ours ? "error" : "NULL";
    const std::string unclaimed_ = unclaimed_rows(shape_, bounds_);
    Query claimed_{
        fmt::format("SELECT claimed_at, row, queue, owner, claim, id FROM {} LIMIT ?1", claimed_rows(shape_, bounds_))};
    Priorities priorities_{db_, shape_};
    DueRows upcoming_{unclaimed_, "1"};
    DueRows retries_{unclaimed_, "attempts > 0"};
    Query first_due_{
        fmt::format("SELECT due, row, queue FROM {} WHERE (?1 = '' OR queue = ?1) AND due BETWEEN ?2 AND ?3 AND (NOT "
                    "?4 OR attempts "
                    "> 0) AND (?5 OR (due, queue, row) > (?6, ?7, ?8)) ORDER BY due, queue, row LIMIT ?9",
                    unclaimed_)};
    // As bytes: a text with a NUL in it would end there.
    Query unfinished_line_{fmt::format(
        "SELECT substr(CAST(id AS BLOB), 1, 500), coalesce(length(CAST(id AS BLOB)) > 500, 1), substr(CAST(queue AS "
        "BLOB), 1, 300), created_at, last_executed_at, attempts, substr(CAST({} AS BLOB), 1, 300), {}, claimed_at, {}, "
        "{}, {} FROM backlite_tasks WHERE rowid = ?1",
        error_, due_, shape_.ours ? "owner" : "NULL", shape_.ours ? "crashes" : "0", shape_.ours ? "claim" : "0")};
    Statement payload_{
        "SELECT length(task), CASE WHEN length(task) <= ?2 THEN task END FROM backlite_tasks WHERE rowid = ?1"};
    Statement finished_payload_{
        "SELECT length(task), CASE WHEN length(task) <= ?2 THEN task END FROM backlite_tasks_completed WHERE rowid = "
        "?1"};
    Query finished_line_{fmt::format(
        "SELECT substr(CAST(id AS BLOB), 1, 500), coalesce(length(CAST(id AS BLOB)) > 500, 1), substr(CAST(queue AS "
        "BLOB), 1, 300), created_at, last_executed_at, attempts, substr(CAST(error AS BLOB), 1, 300), "
        "last_duration_micro, error IS NULL, {} FROM backlite_tasks_completed WHERE rowid = ?1",
        shape_.failed ? "CASE kind WHEN 1 THEN 8 WHEN 5 THEN 9 ELSE 7 END" : "0")};  // numbers of TaskState
    Query unfinished_scan_{scan_sql("backlite_tasks",
                                    fmt::format("iif(claimed_at IS NOT NULL, 2, {} > ?9)", due_).c_str(), due_.c_str(),
                                    error_.c_str(), by_row)};
    Query finished_scan_{
        scan_sql("backlite_tasks_completed", "(typeof(error) <> 'null')", finished_time, "error", by_row)};
    Query failed_scan_{failed_sql()};
    Query failed_count_{fmt::format(
        "SELECT count(*) FROM (SELECT 1 FROM backlite_tasks_completed INDEXED BY backlite_tasks_completed_failed WHERE "
        "error IS NOT NULL AND {} BETWEEN ?2 AND ?3 AND (?1 = '' OR queue = ?1) LIMIT ?4)",
        finished_time)};
    Statement first_row_{"SELECT min(rowid) FROM backlite_tasks_completed"};
    Statement last_row_{"SELECT max(rowid) FROM backlite_tasks_completed"};
    Query sample_{
        fmt::format("SELECT min(time) FROM (SELECT {} AS time FROM backlite_tasks_completed WHERE rowid >= ?1 "
                    "ORDER BY rowid LIMIT 8)",
                    finished_time)};
    Statement ids_{"SELECT rowid FROM backlite_tasks WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3"};
    Statement finished_ids_{
        "SELECT rowid FROM backlite_tasks_completed WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3"};
    Query detail_{detail_sql("backlite_tasks", "wait_until", "NULL", error_.c_str())};
    Query finished_detail_{detail_sql("backlite_tasks_completed", "NULL", "expires_at", "error")};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/task_reads.ipp>
#endif
