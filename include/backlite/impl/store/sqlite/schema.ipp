// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/schema.hpp>.

#include <backlite/store/sqlite/schema.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Schema::install(Connection& connection, Duration busy_timeout) {
    if (version(connection) >= current) return check_writer(connection);
    const auto until = std::chrono::steady_clock::now() + busy_timeout;
    while (!connection.try_begin()) {
        if (std::chrono::steady_clock::now() >= until) {
            throw BusyError(
                detail::format("database \"{}\" stays locked: its tables cannot be installed", {connection.file()}),
                SQLITE_BUSY);
        }
    }
    try {
        migrate(connection);
        connection.commit();
    } catch (...) {
        connection.rollback();
        throw;
    }
}

BACKLITE_DECL void Schema::check_tables(Connection& connection) {
    const std::int64_t found = version(connection);
    if (found < current) {
        throw StorageError(
            detail::format("database \"{}\" has no backlite tables of version {}: call Client::install()",
                           {connection.file(), current}),
            SQLITE_ERROR);
    }
    check_writer(connection);
}

BACKLITE_DECL void Schema::check_writer(sqlite3* db, std::string_view file) {
    Statement select("SELECT value FROM main.backlite_meta WHERE key = 'oldest_writer'");
    Run run(db, select);
    const std::int64_t needed = run.step() ? run.integer(0) : 0;
    if (needed > version_number) {
        throw StorageError(
            detail::format("database \"{}\" was brought to schema version {} by a newer backlite: version {}.{}.{} or "
                           "newer is needed to write to it",
                           {file, version(db, file), needed / 1'000'000, needed / 1'000 % 1'000, needed % 1'000}),
            SQLITE_ERROR);
    }
}

BACKLITE_DECL std::int64_t Schema::version(sqlite3* db, std::string_view file) {
    if (!has_table(db, "backlite_meta")) return has_table(db, "backlite_tasks") ? of_go : 0;
    Statement select("SELECT value FROM main.backlite_meta WHERE key = 'schema_version'");
    Run run(db, select);
    if (!run.step()) {
        throw StorageError(
            detail::format("database \"{}\": table backlite_meta is not ours: it has no schema_version", {file}),
            SQLITE_ERROR);
    }
    const std::int64_t found = run.integer(0);
    if (found < first) {
        throw StorageError(
            detail::format("database \"{}\" was made by a development revision of backlite (schema version {}), which "
                           "no release reads: finish its tasks with that revision, or delete the tables backlite_*",
                           {file, found}),
            SQLITE_ERROR);
    }
    return found;
}

BACKLITE_DECL bool Schema::has_table(sqlite3* db, std::string_view name) {
    Statement select("SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')");
    Run run(db, select, {name});
    return run.step();
}

BACKLITE_DECL void Schema::migrate(Connection& connection) {
    sqlite3* db = connection.handle();
    const std::int64_t found = version(connection);  // again, now that nobody else can change it
    if (found < first) {
        make_tables_of_go(db);
        check_columns(connection);
        change_tables(db);
        make_tables(db);
    }
    check_writer(connection);
}

BACKLITE_DECL void Schema::make_tables_of_go(sqlite3* db) {
    execute(db, R"(CREATE TABLE IF NOT EXISTS backlite_tasks (
        id text PRIMARY KEY,
        created_at integer NOT NULL,
        queue text NOT NULL,
        task blob NOT NULL,
        wait_until integer,
        claimed_at integer,
        last_executed_at integer,
        attempts integer NOT NULL DEFAULT 0
    ) STRICT)");
    execute(db, R"(CREATE TABLE IF NOT EXISTS backlite_tasks_completed (
        id text PRIMARY KEY NOT NULL,
        created_at integer NOT NULL,
        queue text NOT NULL,
        last_executed_at integer,
        attempts integer NOT NULL,
        last_duration_micro integer,
        succeeded integer,
        task blob,
        expires_at integer,
        error text
    ) STRICT)");
}

BACKLITE_DECL void Schema::change_tables(sqlite3* db) {
    // NOLINTBEGIN(bugprone-suspicious-missing-comma): the long ones are written in pieces
    for (const char* sql : {
             "ALTER TABLE backlite_tasks ADD COLUMN due integer "
             "GENERATED ALWAYS AS (iif(wait_until > created_at, wait_until, created_at)) VIRTUAL",
             "ALTER TABLE backlite_tasks ADD COLUMN owner integer",
             "ALTER TABLE backlite_tasks ADD COLUMN claim integer NOT NULL DEFAULT 0",
             "ALTER TABLE backlite_tasks ADD COLUMN lease integer NOT NULL DEFAULT 0",
             "ALTER TABLE backlite_tasks ADD COLUMN crashes integer NOT NULL DEFAULT 0",
             "ALTER TABLE backlite_tasks ADD COLUMN error text",
             "ALTER TABLE backlite_tasks ADD COLUMN priority integer NOT NULL DEFAULT 0",
             "ALTER TABLE backlite_tasks ADD COLUMN hold integer NOT NULL DEFAULT 0",
             "ALTER TABLE backlite_tasks ADD COLUMN unique_key text",
             "ALTER TABLE backlite_tasks ADD COLUMN partition text",
             "ALTER TABLE backlite_tasks ADD COLUMN flags integer NOT NULL DEFAULT 0",
             "ALTER TABLE backlite_tasks ADD COLUMN slack blob",
             // No two unfinished tasks of a queue share a key. Rows without one are not in it.
             "CREATE UNIQUE INDEX backlite_tasks_unique ON backlite_tasks (queue, unique_key) "
             "WHERE unique_key IS NOT NULL",
             // What can be claimed, by queue, priority and due time.
             "CREATE INDEX backlite_tasks_ready ON backlite_tasks (queue, priority, due) "
             "WHERE claimed_at IS NULL AND hold = 0",
             // What may not be claimed yet, by the reason; of a partition by priority. A claim would pay for an index
             // that named claimed_at.
             "CREATE INDEX backlite_tasks_held ON backlite_tasks (queue, hold, partition, priority, due) "
             "WHERE hold <> 0",
             // Claims by their holder, and how many of a queue there are; without a holder, those of programs that do
             // not say who they are. Only rows in flight.
             "CREATE INDEX backlite_tasks_claimed ON backlite_tasks (owner, queue, claimed_at) "
             "WHERE claimed_at IS NOT NULL",
             // Each add, and each delete, pays for an index, also for one that the row is not in. Nothing searches by
             // this one of Go's, not even Go's own program, which makes it again.
             "DROP INDEX IF EXISTS backlite_tasks_wait_until",
             "ALTER TABLE backlite_tasks_completed ADD COLUMN kind integer",
             "ALTER TABLE backlite_tasks_completed ADD COLUMN result blob",
             "ALTER TABLE backlite_tasks_completed ADD COLUMN priority integer NOT NULL DEFAULT 0",
             "ALTER TABLE backlite_tasks_completed ADD COLUMN unique_key text",
             "ALTER TABLE backlite_tasks_completed ADD COLUMN partition text",
             "ALTER TABLE backlite_tasks_completed ADD COLUMN host text",
             "ALTER TABLE backlite_tasks_completed ADD COLUMN pid integer",
             "CREATE INDEX backlite_tasks_completed_expires ON backlite_tasks_completed (expires_at) "
             "WHERE expires_at IS NOT NULL",
             // Those whose unique key still keeps others out.
             "CREATE INDEX backlite_tasks_completed_unique ON backlite_tasks_completed (queue, unique_key) "
             "WHERE unique_key IS NOT NULL",
             // Failed tasks by the end of their last attempt. What succeeded is not in it, so that keeping it costs
             // nothing more.
             "CREATE INDEX backlite_tasks_completed_failed ON backlite_tasks_completed "
             "(min(coalesce(last_executed_at, created_at), 9223372036854775807 - max(coalesce(last_duration_micro, "
             "0), 0) / 1000) + max(coalesce(last_duration_micro, 0), 0) / 1000, queue) WHERE error IS NOT NULL",
         }) {
        execute(db, sql);
    }
    // NOLINTEND(bugprone-suspicious-missing-comma)
}

BACKLITE_DECL void Schema::make_tables(sqlite3* db) {
    for (const char* sql : {
             "CREATE TABLE backlite_clients (owner integer PRIMARY KEY, slot integer NOT NULL UNIQUE, "
             "workers integer NOT NULL, started_at integer NOT NULL, boot_id text NOT NULL, "
             "version integer NOT NULL) STRICT",
             "CREATE TABLE backlite_meta (key text PRIMARY KEY NOT NULL, value any NOT NULL) STRICT",
             "CREATE TABLE backlite_stats (span integer NOT NULL, start integer NOT NULL, queue text NOT NULL, "
             "added integer NOT NULL, started integer NOT NULL, succeeded integer NOT NULL, failed integer NOT NULL, "
             "retried integer NOT NULL, wait_ms integer NOT NULL, run_us integer NOT NULL, "
             "PRIMARY KEY (span, start, queue)) STRICT, WITHOUT ROWID",
             "CREATE TABLE backlite_queues (queue text PRIMARY KEY NOT NULL, paused_at integer, running integer, "
             "running_per_partition integer, running_per_client integer, in_order integer, rate_count integer, "
             "rate_period_us integer, rate_burst integer, partition_rate_count integer, "
             "partition_rate_period_us integer, partition_rate_burst integer, "
             "rate_next_us integer NOT NULL DEFAULT 0, closed_until integer, closed_ms integer, "
             "waiting integer) STRICT, WITHOUT ROWID",
             "CREATE TABLE backlite_partitions (queue text NOT NULL, partition text NOT NULL, "
             "rate_next_us integer NOT NULL DEFAULT 0, closed_until integer, closed_ms integer, "
             "PRIMARY KEY (queue, partition)) STRICT, WITHOUT ROWID",
             "CREATE INDEX backlite_partitions_closed ON backlite_partitions (queue, closed_until) "
             "WHERE closed_until IS NOT NULL",
             "CREATE TABLE backlite_turns (queue text NOT NULL, partition text NOT NULL, task text NOT NULL, "
             "most integer NOT NULL, in_order integer NOT NULL, ageing_ms integer NOT NULL, "
             "PRIMARY KEY (queue, partition, task)) "
             "STRICT, WITHOUT ROWID",
             "CREATE TABLE backlite_details (task text PRIMARY KEY NOT NULL, expires_at integer, metadata text) STRICT",
             "CREATE INDEX backlite_details_expires ON backlite_details (expires_at) WHERE expires_at IS NOT NULL",
             "CREATE TABLE backlite_tags (task text NOT NULL, tag text NOT NULL, PRIMARY KEY (task, tag)) "
             "STRICT, WITHOUT ROWID",
             "CREATE INDEX backlite_tags_tag ON backlite_tags (tag, task)",
             "CREATE TABLE backlite_keys (task text PRIMARY KEY NOT NULL, queue text NOT NULL, "
             "unique_key text NOT NULL, at integer NOT NULL DEFAULT 0, keep_row integer NOT NULL DEFAULT 0, "
             "keep_payload integer NOT NULL DEFAULT 0, keep_ms integer NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID",
             "CREATE INDEX backlite_keys_key ON backlite_keys (queue, unique_key)",
             "CREATE TABLE backlite_edges (parent text NOT NULL, child text NOT NULL, "
             "on_failure integer NOT NULL DEFAULT 0, PRIMARY KEY (parent, child)) STRICT, WITHOUT ROWID",
             "CREATE INDEX backlite_edges_child ON backlite_edges (child)",
             "CREATE TABLE backlite_cancels (task text PRIMARY KEY NOT NULL, claim integer NOT NULL, "
             "at integer NOT NULL, keep_row integer NOT NULL, keep_payload integer NOT NULL, "
             "keep_ms integer NOT NULL) STRICT, WITHOUT ROWID",
             "CREATE TABLE backlite_attempts (task text NOT NULL, claim integer NOT NULL, number integer NOT NULL, "
             "started_at integer NOT NULL, duration_us integer NOT NULL, outcome integer NOT NULL, error text, "
             "host text, pid integer, PRIMARY KEY (task, claim)) STRICT, WITHOUT ROWID",
             "CREATE TABLE backlite_saved (task text NOT NULL, name text NOT NULL, at integer NOT NULL, value blob, "
             "PRIMARY KEY (task, name)) STRICT",
             "CREATE TABLE backlite_progress (task text PRIMARY KEY NOT NULL, claim integer NOT NULL, "
             "at integer NOT NULL, fraction real, message text) STRICT",
             "CREATE TABLE backlite_schedules (name text PRIMARY KEY NOT NULL, queue text NOT NULL, "
             "task blob NOT NULL, spec text NOT NULL, zone text NOT NULL DEFAULT 'UTC', options text, "
             "begun_at integer NOT NULL DEFAULT 0, next_at integer, gap_from integer, gap_until integer, "
             "last_at integer, last_task text, paused_at integer) STRICT",
             "CREATE INDEX backlite_schedules_next ON backlite_schedules (next_at) "
             "WHERE next_at IS NOT NULL AND paused_at IS NULL",
         }) {
        execute(db, sql);
    }
    Statement insert(
        "INSERT INTO backlite_meta (key, value) VALUES "
        "('schema_version', ?1), ('oldest_writer', ?2), ('last_owner', 0)");
    Run(db, insert, {current, oldest_writer}).change();
}

BACKLITE_DECL void Schema::check_columns(Connection& connection) {
    static constexpr std::array<Column, 8> tasks{{{"id", "text"},
                                                  {"created_at", "integer"},
                                                  {"queue", "text"},
                                                  {"task", "blob"},
                                                  {"wait_until", "integer"},
                                                  {"claimed_at", "integer"},
                                                  {"last_executed_at", "integer"},
                                                  {"attempts", "integer"}}};
    static constexpr std::array<Column, 10> completed{{{"id", "text"},
                                                       {"created_at", "integer"},
                                                       {"queue", "text"},
                                                       {"last_executed_at", "integer"},
                                                       {"attempts", "integer"},
                                                       {"last_duration_micro", "integer"},
                                                       {"succeeded", "integer"},
                                                       {"task", "blob"},
                                                       {"expires_at", "integer"},
                                                       {"error", "text"}}};
    for (const Column& column : tasks) check_column(connection, "backlite_tasks", column);
    for (const Column& column : completed) check_column(connection, "backlite_tasks_completed", column);
}

BACKLITE_DECL void Schema::check_column(Connection& connection, std::string_view table, const Column& column) {
    Statement select(
        "SELECT 1 FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE AND type = ?3 COLLATE NOCASE");
    Run run(connection.handle(), select, {table, column.name, column.type});
    if (!run.step()) {
        throw StorageError(detail::format("database \"{}\": table {} is not ours: it has no column {} of type {}",
                                          {connection.file(), table, column.name, column.type}),
                           SQLITE_ERROR);
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
