// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/schema_features.hpp>.

#include <backlite/store/sqlite/views/schema_features.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::optional<SchemaFeatures> shape_of(sqlite3* db) {
    const auto has = [db](std::string_view type, std::string_view name) {
        Statement select("SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE");
        return Run(db, select, {type, name}).step();
    };
    const auto columns = [db](std::string_view table, std::initializer_list<std::string_view> names) {
        Statement select("SELECT 1 FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE");
        for (const std::string_view name : names) {
            if (!Run(db, select, {table, name}).step()) return false;
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
                 columns("backlite_tasks", {"priority", "hold"}) && has("index", "backlite_tasks_ready") &&
                 has("index", "backlite_tasks_claimed");
    shape.failed = shape.readable && has("index", "backlite_tasks_completed_failed");
    shape.clients = has("table", "backlite_clients") &&
                    columns("backlite_clients", {"owner", "slot", "workers", "started_at", "version"});
    shape.counts = has("table", "backlite_stats") &&
                   columns("backlite_stats", {"span", "start", "queue", "added", "started", "succeeded", "failed",
                                              "retried", "wait_ms", "run_us"});
    shape.schema_version = 1;
    if (has("table", "backlite_meta") && columns("backlite_meta", {"key", "value"})) {
        Statement select("SELECT value FROM backlite_meta WHERE key = 'schema_version'");
        Run run(db, select);
        if (run.step()) shape.schema_version = run.integer(0);
    }
    return shape;
}

BACKLITE_DECL std::string first_rows(const store::Bounds& bounds) {
    return fmt::format(
        "(SELECT rowid AS row, id, queue, 0 AS priority, claimed_at, attempts, {} AS due FROM backlite_tasks "
        "ORDER BY rowid LIMIT {})",
        due_of_go, bounds.unindexed);
}

BACKLITE_DECL std::string claimed_rows(const SchemaFeatures& shape, const store::Bounds& bounds) {
    if (shape.ours) {
        return "(SELECT rowid AS row, queue, claimed_at, owner, claim, id FROM backlite_tasks "
               "INDEXED BY backlite_tasks_claimed WHERE claimed_at IS NOT NULL)";
    }
    return fmt::format(
        "(SELECT row, queue, claimed_at, NULL AS owner, 0 AS claim, id FROM {} WHERE claimed_at IS NOT NULL)",
        first_rows(bounds));
}

BACKLITE_DECL std::string unclaimed_rows(const SchemaFeatures& shape, const store::Bounds& bounds) {
    if (shape.ours) {
        return "(SELECT rowid AS row, queue, priority, due, attempts FROM backlite_tasks "
               "INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL AND hold = 0)";
    }
    return fmt::format("(SELECT row, queue, priority, due, attempts FROM {} WHERE claimed_at IS NULL)",
                       first_rows(bounds));
}

BACKLITE_DECL std::vector<std::int64_t> Priorities::of(const std::string& queue) {
    std::vector<std::int64_t> found;
    if (!known_) return {0};
    for (std::int64_t least = detail::least_number;; least = found.back() + 1) {
        Run run(db_, next_, {queue, least});
        if (!run.step()) return found;
        found.push_back(run.integer(0));
        if (found.back() == detail::most_number) return found;
    }
}

BACKLITE_DECL bool has_more_rows(sqlite3* db, const SchemaFeatures& shape, const store::Bounds& bounds) {
    if (shape.ours) return false;
    Statement least("SELECT min(rowid) FROM backlite_tasks");
    Statement most("SELECT max(rowid) FROM backlite_tasks");
    Run first(db, least);
    Run last(db, most);
    if (!first.step() || !last.step() || first.is_null(0)) return false;
    // In most files this is all: the numbers of the rows cannot hold more.
    if (static_cast<double>(last.integer(0)) - static_cast<double>(first.integer(0)) <
        static_cast<double>(bounds.unindexed)) {
        return false;
    }
    Statement beyond("SELECT 1 FROM backlite_tasks ORDER BY rowid LIMIT 1 OFFSET ?1");
    return Run(db, beyond, {bounds.unindexed}).step();
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
