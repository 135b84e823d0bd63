// SPDX-License-Identifier: MIT
#pragma once
// What a file holds: this library's columns and indexes, or those of Go backlite v0.6 alone; and the SQL that differs.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

/// A file is judged by what is there, not by its version, so that a newer file is shown as far as it is understood.
struct SchemaFeatures {
    bool readable = false;  ///< the columns of Go backlite v0.6 are there
    bool ours = false;      ///< this library's columns and indexes are there too
    bool failed = false;    ///< the index of failed tasks is there
    bool clients = false;   ///< the table of started clients is there
    bool counts = false;    ///< the statistics are there
    std::int64_t schema_version = 0;
};

/// nullopt if there are no tables of ours at all. Errors: StorageError.
[[nodiscard]] inline std::optional<SchemaFeatures> shape_of(sqlite3* db) {
    using store::sqlite::Run;
    using store::sqlite::Statement;
    const auto has = [db](std::string_view type, std::string_view name) {
        store::sqlite::Statement select("SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE");
        return store::sqlite::Run(db, select, {type, name}).step();
    };
    const auto columns = [db](std::string_view table, std::initializer_list<std::string_view> names) {
        store::sqlite::Statement select("SELECT 1 FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE");
        for (const std::string_view name : names) {
            if (!store::sqlite::Run(db, select, {table, name}).step()) return false;
        }
        return true;
    };
    const bool tasks = has("table", "backlite_tasks");
    const bool completed = has("table", "backlite_tasks_completed");
    if (!tasks && !completed) return std::nullopt;
    SchemaFeatures shape;
    shape.readable = columns("backlite_tasks", {"id", "created_at", "queue", "task", "wait_until", "claimed_at",
                                                "last_executed_at", "attempts"}) &&
                     columns("backlite_tasks_completed", {"id", "created_at", "queue", "last_executed_at", "attempts",
                                                          "last_duration_micro", "task", "expires_at", "error"});
    shape.ours = shape.readable && columns("backlite_tasks", {"due", "owner", "crashes", "error"}) &&
                 has("index", "backlite_tasks_due") && has("index", "backlite_tasks_owner") &&
                 has("index", "backlite_tasks_ownerless");
    shape.failed = shape.readable && has("index", "backlite_tasks_completed_failed");
    shape.clients = has("table", "backlite_clients") &&
                    columns("backlite_clients", {"owner", "slot", "workers", "started_at", "version"});
    shape.counts = has("table", "backlite_stats") &&
                   columns("backlite_stats", {"span", "start", "queue", "added", "started", "succeeded", "failed",
                                              "retried", "wait_ms", "run_us"});
    shape.schema_version = 1;
    if (has("table", "backlite_meta") && columns("backlite_meta", {"key", "value"})) {
        store::sqlite::Statement select("SELECT value FROM backlite_meta WHERE key = 'schema_version'");
        store::sqlite::Run run(db, select);
        if (run.step()) shape.schema_version = run.integer(0);
    }
    return shape;
}

/// A statement whose text is made when the file's shape is known.
struct Query {
    explicit Query(std::string text) : sql(std::move(text)) {}
    operator store::sqlite::Statement&() noexcept { return statement; }  // NOLINT(google-explicit-constructor): as one
    const std::string sql;
    store::sqlite::Statement statement{sql.c_str()};
};

/// How far counts and looks go. Tests set other bounds, so that they need fewer rows.
struct Bounds {
    std::int64_t counted = 100'000;      ///< unclaimed rows that are counted for a page, of all queues together
    std::int64_t retries = 20'000;       ///< unclaimed rows that are looked at for retries, likewise
    std::int64_t to_come = 200'000;      ///< due times that are put into a chart
    std::int64_t claimed = 100'000;      ///< claimed rows
    std::int64_t finished = 200'000;     ///< finished rows that are looked at where there are no statistics
    std::int64_t unindexed = 1'000'000;  ///< rows of a table without this library's indexes
    std::int64_t looked_at = 100'000;    ///< rows that a filter passes over for one page
};

/// When a task of such a table may start.
inline constexpr const char* due_of_go = "max(created_at, coalesce(wait_until, created_at))";

/// When a finished task's last attempt ended. Stored: the text of an index.
inline constexpr const char* finished_time =
    "min(coalesce(last_executed_at, created_at), 9223372036854775807 - max(coalesce(last_duration_micro, 0), 0) / "
    "1000) + max(coalesce(last_duration_micro, 0), 0) / 1000";

/// The rows of a table without our indexes that are looked at.
[[nodiscard]] inline std::string first_rows(const Bounds& bounds) {
    return fmt::format(
        "(SELECT rowid AS row, id, queue, claimed_at, attempts, {} AS due FROM backlite_tasks ORDER BY rowid LIMIT {})",
        due_of_go, bounds.unindexed);
}

/// A subquery of claimed tasks: row, queue, claimed_at, owner, claim, id.
[[nodiscard]] inline std::string claimed_rows(const SchemaFeatures& shape, const Bounds& bounds) {
    if (shape.ours) {
        return "(SELECT rowid AS row, queue, claimed_at, owner, claim, id FROM backlite_tasks "
               "INDEXED BY backlite_tasks_owner WHERE owner IS NOT NULL AND claimed_at IS NOT NULL UNION ALL "
               "SELECT rowid, queue, claimed_at, owner, claim, id FROM backlite_tasks "
               "INDEXED BY backlite_tasks_ownerless WHERE claimed_at IS NOT NULL AND owner IS NULL)";
    }
    return fmt::format(
        "(SELECT row, queue, claimed_at, NULL AS owner, 0 AS claim, id FROM {} WHERE claimed_at IS NOT NULL)",
        first_rows(bounds));
}

/// A subquery of unclaimed tasks: row, queue, due, attempts. Where it is by index, a search by queue and due time is.
[[nodiscard]] inline std::string unclaimed_rows(const SchemaFeatures& shape, const Bounds& bounds) {
    if (shape.ours) {
        return "(SELECT rowid AS row, queue, due, attempts FROM backlite_tasks INDEXED BY backlite_tasks_due "
               "WHERE claimed_at IS NULL)";
    }
    return fmt::format("(SELECT row, queue, due, attempts FROM {} WHERE claimed_at IS NULL)", first_rows(bounds));
}

/// Whether a table without our indexes has more rows than are looked at.
[[nodiscard]] inline bool has_more_rows(sqlite3* db, const SchemaFeatures& shape, const Bounds& bounds) {
    if (shape.ours) return false;
    using store::sqlite::Run;
    using store::sqlite::Statement;
    store::sqlite::Statement least("SELECT min(rowid) FROM backlite_tasks");
    store::sqlite::Statement most("SELECT max(rowid) FROM backlite_tasks");
    store::sqlite::Run first(db, least);
    store::sqlite::Run last(db, most);
    if (!first.step() || !last.step() || first.is_null(0)) return false;
    // In most files this is all: the numbers of the rows cannot hold more.
    if (static_cast<double>(last.integer(0)) - static_cast<double>(first.integer(0)) <
        static_cast<double>(bounds.unindexed)) {
        return false;
    }
    store::sqlite::Statement beyond("SELECT 1 FROM backlite_tasks ORDER BY rowid LIMIT 1 OFFSET ?1");
    return store::sqlite::Run(db, beyond, {bounds.unindexed}).step();
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
