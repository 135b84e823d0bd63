// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/error.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/schema.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::contains;
using backlite_test::message_of;
using backlite_test::quick_config;
using backlite_test::TempFolder;
using store::sqlite::Connection;
using store::sqlite::Role;
using store::sqlite::Schema;

// What Go backlite v0.6 runs when it installs, letter by letter.
constexpr const char* go_tables = R"(
CREATE TABLE IF NOT EXISTS backlite_tasks (
    id text PRIMARY KEY,
    created_at integer NOT NULL,
    queue text NOT NULL,
    task blob NOT NULL,
    wait_until integer,
    claimed_at integer,
    last_executed_at integer,
    attempts integer NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS backlite_tasks_completed (
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
) STRICT;

CREATE INDEX IF NOT EXISTS backlite_tasks_wait_until ON backlite_tasks (wait_until) WHERE wait_until IS NOT NULL;
)";

// Rows as it writes them: its JSON encoder ends each payload with a line end.
constexpr const char* go_rows = R"(
INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) VALUES
    ('01951f9a-0000-7000-8000-000000000001', 1700000000000, 'mail', CAST('{"to":"ann"}' || char(10) AS blob), NULL),
    ('01951f9a-0000-7000-8000-000000000002', 1700000000000, 'mail', CAST('{"to":"bob"}' || char(10) AS blob), 1700000060000),
    ('01951f9a-0000-7000-8000-000000000003', 1700000000000, 'mail', CAST('{"to":"cid"}' || char(10) AS blob), 1600000000000);
INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at, last_executed_at, attempts) VALUES
    ('01951f9a-0000-7000-8000-000000000004', 1700000000000, 'mail', CAST('{}' || char(10) AS blob), 1700000000500,
     1700000000400, 2);
INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, last_duration_micro, succeeded,
    task, expires_at, error) VALUES
    ('01951f9a-0000-7000-8000-000000000005', 1700000000000, 'mail', 1700000000100, 1, 250, 1, NULL, NULL, NULL),
    ('01951f9a-0000-7000-8000-000000000006', 1700000000000, 'mail', 1700000000100, 3, 90, 0,
     CAST('{}' || char(10) AS blob), 1700090000000, 'no such host');
)";

/// A file that a host has opened, and our connection to it.
class File {
public:
    void host(const std::string& sql) { backlite_test::execute(host_.getHandle(), sql); }
    [[nodiscard]] std::string query(const std::string& sql) { return backlite_test::query(host_.getHandle(), sql); }
    /// Everything that the file says of its tables, and all rows of ours.
    [[nodiscard]] std::string schema() { return query("SELECT type, name, sql FROM sqlite_schema ORDER BY name"); }

    void install() { Schema::install(connection, 5s); }

private:
    TempFolder folder_{};
    SQLite::Database host_{folder_.file("app.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE};

public:
    Connection connection{quick_config(folder_.file("app.db")), Role::writer};
};

TEST_CASE("Schema: an empty file has none") {
    File file;
    CHECK(Schema::version(file.connection) == 0);
}

TEST_CASE("Schema: a file of a host with other tables has none") {
    File file;
    file.host("CREATE TABLE orders (id)");
    CHECK(Schema::version(file.connection) == 0);
}

TEST_CASE("Schema: check sends the owner of a file without tables to install") {
    File file;
    const std::string what = message_of<StorageError>([&] { Schema::check_tables(file.connection); });
    CHECK(contains(what, "has no backlite tables of version 7: call Client::install()"));
}

TEST_CASE("Schema: install makes the tables and their indexes") {
    File file;
    file.install();
    CHECK(file.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'backlite%' ORDER BY name") ==
          "backlite_attempts\nbacklite_cancels\nbacklite_clients\nbacklite_details\nbacklite_edges\nbacklite_keys\n"
          "backlite_meta\nbacklite_partitions\nbacklite_progress\nbacklite_queues\nbacklite_saved\n"
          "backlite_schedules\nbacklite_stats\nbacklite_tags\nbacklite_tasks\nbacklite_tasks_completed\n"
          "backlite_turns");
    CHECK(file.query("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name") ==
          "backlite_details_expires\nbacklite_edges_child\nbacklite_keys_key\nbacklite_partitions_closed\n"
          "backlite_schedules_next\nbacklite_tags_tag\n"
          "backlite_tasks_claimed\nbacklite_tasks_completed_expires\nbacklite_tasks_completed_failed\n"
          "backlite_tasks_completed_unique\nbacklite_tasks_held\nbacklite_tasks_ready\nbacklite_tasks_unique");
    CHECK(Schema::version(file.connection) == Schema::current);
    CHECK_NOTHROW(Schema::check_tables(file.connection));
}

TEST_CASE("Schema: a second install changes nothing") {
    File file;
    file.install();
    const std::string before = file.schema();
    const std::string version = file.query("PRAGMA schema_version");
    file.install();
    CHECK(file.schema() == before);
    CHECK(file.query("PRAGMA schema_version") == version);
}

TEST_CASE("Schema: the host's user_version stays") {
    File file;
    file.host("PRAGMA user_version = 4711");
    file.install();
    CHECK(file.query("PRAGMA user_version") == "4711");
}

TEST_CASE("Schema: the host's tables stay") {
    File file;
    file.host("CREATE TABLE orders (id); INSERT INTO orders VALUES (7)");
    file.install();
    CHECK(file.query("SELECT * FROM orders") == "7");
}

TEST_CASE("Schema: a file of the Go library is of version 1") {
    File file;
    file.host(go_tables);
    CHECK(Schema::version(file.connection) == 1);
    CHECK_THROWS_AS(Schema::check_tables(file.connection), StorageError);
}

TEST_CASE("Schema: a file of the Go library is migrated to what a new file is") {
    File fresh;
    fresh.install();
    File migrated;
    migrated.host(go_tables);
    migrated.install();
    const std::string columns =
        "SELECT m.name, t.name, t.type, \"notnull\", dflt_value, pk, hidden FROM sqlite_schema AS m, "
        "pragma_table_xinfo(m.name) AS t WHERE m.type = 'table' AND m.name LIKE 'backlite%' ORDER BY m.name, cid";
    CHECK(migrated.query(columns) == fresh.query(columns));
    const std::string indexes = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name";
    CHECK(migrated.query(indexes) == fresh.query(indexes));
    CHECK(migrated.query("SELECT key, value FROM backlite_meta ORDER BY key") ==
          "last_owner|0\noldest_writer|1000\nschema_version|7");
}

TEST_CASE("Schema: a file of a development revision is refused by name, and stays as it is") {
    for (const std::string version : {"2", "3", "4", "5", "6"}) {
        File file;
        file.install();
        file.host("UPDATE backlite_meta SET value = " + version + " WHERE key = 'schema_version'");
        const std::string before = file.schema();
        const std::string expected =
            "was made by a development revision of backlite (schema version " + version + "), which no release reads";
        CHECK(contains(message_of<StorageError>([&] { file.install(); }), expected));
        CHECK(contains(message_of<StorageError>([&] { Schema::check_tables(file.connection); }), expected));
        CHECK(contains(message_of<StorageError>([&] { Schema::check_writer(file.connection); }), expected));
        CHECK(file.schema() == before);
        CHECK_FALSE(file.connection.in_transaction());
    }
}

TEST_CASE("Schema: the index of failed tasks holds those and no others") {
    File file;
    file.install();
    file.host(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, last_duration_micro, "
        "succeeded, error) VALUES ('good', 1, 'q', 2, 1, 3, 1, NULL), ('bad', 1, 'q', 2, 1, 3, 0, 'no'), "
        "('worse', 1, 'q', NULL, 1, 9223372036854775807, 0, '')");
    CHECK(file.query("SELECT id FROM backlite_tasks_completed INDEXED BY backlite_tasks_completed_failed "
                     "WHERE error IS NOT NULL ORDER BY id") == "bad\nworse");
}

TEST_CASE("Schema: rows that name only the columns of Go have no priority, no hold and nothing else of ours") {
    File file;
    file.install();
    file.host(go_rows);
    CHECK(file.query("SELECT DISTINCT priority, hold, unique_key, partition, flags, slack FROM backlite_tasks") ==
          "0|0|NULL|NULL|0|NULL");
    CHECK(file.query("SELECT DISTINCT kind, result, priority, unique_key, partition, host, pid FROM "
                     "backlite_tasks_completed") == "NULL|NULL|0|NULL|NULL|NULL|NULL");
}

TEST_CASE("Schema: what is not claimed and not held is in the index of what is ready, and only that") {
    File file;
    file.install();
    file.host(go_rows);
    file.host("UPDATE backlite_tasks SET hold = 256 WHERE id LIKE '%2'");
    CHECK(file.query("SELECT substr(id, -1) FROM backlite_tasks INDEXED BY backlite_tasks_ready "
                     "WHERE claimed_at IS NULL AND hold = 0 ORDER BY id") == "1\n3");
    CHECK(file.query("SELECT substr(id, -1) FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
                     "WHERE claimed_at IS NOT NULL ORDER BY id") == "4");
}

TEST_CASE("Schema: each table for what few tasks have takes its rows, with the defaults that they do not name") {
    File file;
    file.install();
    file.host(
        "INSERT INTO backlite_queues (queue) VALUES ('q'); INSERT INTO backlite_details (task) VALUES ('a'); "
        "INSERT INTO backlite_tags (task, tag) VALUES ('a', 't'); "
        "INSERT INTO backlite_edges (parent, child) VALUES ('a', 'b'); "
        "INSERT INTO backlite_cancels VALUES ('a', 1, 2, 1, 0, 3); "
        "INSERT INTO backlite_attempts (task, claim, number, started_at, duration_us, outcome) "
        "VALUES ('a', 1, 1, 2, 3, 4); "
        "INSERT INTO backlite_saved (task, name, at, value) VALUES ('a', 'cursor', 2, x'37'); "
        "INSERT INTO backlite_progress (task, claim, at, fraction) VALUES ('a', 1, 2, 0.5); "
        "INSERT INTO backlite_schedules (name, queue, task, spec) VALUES ('n', 'q', x'7b7d', '0 3 * * *')");
    CHECK(file.query("SELECT paused_at, running, running_per_partition, running_per_client, in_order, rate_count, "
                     "rate_period_us, rate_burst, partition_rate_count, partition_rate_period_us, "
                     "partition_rate_burst, rate_next_us FROM backlite_queues") ==
          "NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|0");
    CHECK(file.query("SELECT expires_at, metadata FROM backlite_details") == "NULL|NULL");
    CHECK(file.query("SELECT on_failure FROM backlite_edges") == "0");
    CHECK(file.query("SELECT error, host, pid FROM backlite_attempts") == "NULL|NULL|NULL");
    CHECK(file.query("SELECT fraction, message FROM backlite_progress") == "0.5|NULL");
    CHECK(file.query("SELECT zone, options, begun_at, next_at, gap_from, gap_until, last_at, last_task, paused_at "
                     "FROM backlite_schedules") == "UTC|NULL|0|NULL|NULL|NULL|NULL|NULL|NULL");
    for (const char* again :
         {"INSERT INTO backlite_queues (queue) VALUES ('q')", "INSERT INTO backlite_details (task) VALUES ('a')",
          "INSERT INTO backlite_tags (task, tag) VALUES ('a', 't')",
          "INSERT INTO backlite_edges (parent, child) VALUES ('a', 'b')",
          "INSERT INTO backlite_saved (task, name, at) VALUES ('a', 'cursor', 3)"}) {
        CHECK_THROWS(file.host(again));
    }
}

TEST_CASE("Schema: the rows of the Go library survive the migration") {
    File file;
    file.host(go_tables);
    file.host(go_rows);
    const std::string tasks =
        "SELECT id, created_at, queue, task, wait_until, claimed_at, last_executed_at, attempts FROM backlite_tasks";
    const std::string completed =
        "SELECT id, created_at, queue, last_executed_at, attempts, last_duration_micro, succeeded, task, expires_at, "
        "error FROM backlite_tasks_completed";
    const std::string tasks_before = file.query(tasks);
    const std::string completed_before = file.query(completed);
    file.install();
    CHECK(file.query(tasks) == tasks_before);
    CHECK(file.query(completed) == completed_before);
}

TEST_CASE("Schema: rows of the Go library are due at the later of created and wait_until") {
    File file;
    file.host(go_tables);
    file.host(go_rows);
    file.install();
    CHECK(file.query("SELECT due FROM backlite_tasks ORDER BY id") ==
          "1700000000000\n1700000060000\n1700000000000\n1700000000000");
}

TEST_CASE("Schema: rows of the Go library have no owner, no claim number and no crash") {
    File file;
    file.host(go_tables);
    file.host(go_rows);
    file.install();
    CHECK(file.query("SELECT DISTINCT owner, claim, lease, crashes, error, priority, hold FROM backlite_tasks") ==
          "NULL|0|0|0|NULL|0|0");
}

TEST_CASE("Schema: a Go program goes on installing and adding beside us") {
    File file;
    file.install();
    file.host(go_tables);
    file.host(go_rows);
    CHECK(file.query("SELECT count(*) FROM backlite_tasks WHERE due IS NOT NULL AND claim = 0") == "4");
    CHECK(Schema::version(file.connection) == Schema::current);
}

TEST_CASE("Schema: a migration that fails in the middle leaves a Go file as it was") {
    File file;
    file.host(go_tables);
    file.host(go_rows);
    // A name that the last steps of the migration need.
    file.host("CREATE TABLE orders (id); CREATE INDEX backlite_tasks_completed_expires ON orders (id)");
    const std::string before = file.schema();
    CHECK_THROWS_AS(file.install(), StorageError);
    CHECK(file.schema() == before);
    CHECK(file.query("SELECT count(*) FROM backlite_tasks") == "4");
    CHECK(Schema::version(file.connection) == 1);
    CHECK_FALSE(file.connection.in_transaction());
}

TEST_CASE("Schema: an installation that failed works once its reason is gone") {
    File file;
    file.host("CREATE TABLE orders (id); CREATE INDEX backlite_tasks_completed_expires ON orders (id)");
    CHECK_THROWS_AS(file.install(), StorageError);
    CHECK(file.query("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'backlite_tasks'") == "0");
    file.host("DROP INDEX backlite_tasks_completed_expires");
    CHECK_NOTHROW(file.install());
}

TEST_CASE("Schema: a table of our name without one of our columns is refused, naming it") {
    File file;
    file.host(
        "CREATE TABLE backlite_tasks (id text PRIMARY KEY, created_at integer, queue text, wait_until integer, "
        "claimed_at integer, last_executed_at integer, attempts integer)");
    const std::string before = file.schema();
    const std::string what = message_of<StorageError>([&] { file.install(); });
    CHECK(contains(what, "table backlite_tasks is not ours: it has no column task of type blob"));
    CHECK(file.schema() == before);
}

TEST_CASE("Schema: a table of our name with a column of another type is refused, naming it") {
    File file;
    file.host(go_tables);
    file.host(
        "DROP TABLE backlite_tasks_completed; CREATE TABLE backlite_tasks_completed (id text, created_at integer, "
        "queue text, last_executed_at integer, attempts integer, last_duration_micro integer, succeeded integer, "
        "task blob, expires_at text, error text)");
    const std::string before = file.schema();
    const std::string what = message_of<StorageError>([&] { file.install(); });
    CHECK(contains(what, "table backlite_tasks_completed is not ours: it has no column expires_at of type integer"));
    CHECK(file.schema() == before);
}

TEST_CASE("Schema: a view of our name is refused, whatever it shows") {
    for (const std::string name : {"backlite_tasks", "backlite_tasks_completed"}) {
        File file;
        file.host(go_tables);
        file.host("ALTER TABLE " + name + " RENAME TO other; CREATE VIEW " + name + " AS SELECT * FROM other");
        const std::string before = file.schema();
        CHECK_THROWS_AS(file.install(), StorageError);
        CHECK(file.schema() == before);
    }
}

TEST_CASE("Schema: tables of the names that only we use are refused if they are another's") {
    for (const char* sql : {"CREATE TABLE backlite_clients (id)", "CREATE TABLE backlite_meta (id)",
                            "CREATE TABLE backlite_meta (key, value)", "CREATE TABLE Backlite_Meta (key, value)",
                            "CREATE VIEW backlite_clients AS SELECT 1", "CREATE VIEW backlite_meta AS SELECT 1"}) {
        INFO(sql);
        File file;
        file.host(sql);
        const std::string before = file.schema();
        CHECK_THROWS_AS(file.install(), StorageError);
        CHECK(file.schema() == before);
    }
}

TEST_CASE("Schema: a meta table without version is named as not ours") {
    File file;
    file.host("CREATE TABLE backlite_meta (key, value)");
    CHECK(contains(message_of<StorageError>([&] { file.install(); }),
                   "table backlite_meta is not ours: it has no schema_version"));
}

TEST_CASE("Schema: a file that needs a newer library is refused, naming the version") {
    File file;
    file.install();
    file.host(
        "UPDATE backlite_meta SET value = 99 WHERE key = 'schema_version'; "
        "UPDATE backlite_meta SET value = 3002001 WHERE key = 'oldest_writer'");
    const std::string expected =
        "was brought to schema version 99 by a newer backlite: version 3.2.1 or newer is needed";
    CHECK(contains(message_of<StorageError>([&] { file.install(); }), expected));
    CHECK(contains(message_of<StorageError>([&] { Schema::check_tables(file.connection); }), expected));
    CHECK(contains(message_of<StorageError>([&] { Schema::check_writer(file.connection); }), expected));
    CHECK_FALSE(file.connection.in_transaction());
}

TEST_CASE("Schema: a file of the current version that needs a newer library is refused, naming that") {
    File file;
    file.install();
    file.host("UPDATE backlite_meta SET value = 3002001 WHERE key = 'oldest_writer'");
    CHECK(contains(message_of<StorageError>([&] { file.install(); }), "version 3.2.1 or newer is needed"));
}

TEST_CASE("Schema: a newer file that older libraries may write to is taken as it is") {
    File file;
    file.install();
    file.host(
        "UPDATE backlite_meta SET value = 99 WHERE key = 'schema_version'; "
        "ALTER TABLE backlite_tasks ADD COLUMN weight integer NOT NULL DEFAULT 0");
    const std::string before = file.schema();
    CHECK_NOTHROW(file.install());
    CHECK_NOTHROW(Schema::check_tables(file.connection));
    CHECK(file.schema() == before);
}

TEST_CASE("Schema: install on a file that stays locked is a BusyError after busy_timeout") {
    File file;
    file.host("BEGIN IMMEDIATE");
    CHECK_THROWS_AS(Schema::install(file.connection, 20ms), BusyError);
    file.host("ROLLBACK");
    CHECK_NOTHROW(file.install());
}

TEST_CASE("Schema: an installed file needs no write lock to be installed again") {
    File file;
    file.install();
    file.host("BEGIN IMMEDIATE");
    CHECK_NOTHROW(Schema::install(file.connection, 0ms));
}

TEST_CASE("Schema: a newer file that older libraries may write to is opened without the write lock") {
    File file;
    file.install();
    file.host("UPDATE backlite_meta SET value = 99 WHERE key = 'schema_version'");
    file.host("BEGIN IMMEDIATE");
    CHECK_NOTHROW(Schema::install(file.connection, 0ms));
}

TEST_CASE("Schema: a file of the current version that needs a newer library is refused when it is installed") {
    File file;
    file.install();
    file.host("UPDATE backlite_meta SET value = 3002001 WHERE key = 'oldest_writer'");
    CHECK(contains(message_of<StorageError>([&] { file.install(); }), "version 3.2.1 or newer is needed"));
}

TEST_CASE("Schema: many connections install one file at once") {
    const TempFolder folder;
    std::vector<std::unique_ptr<Connection>> connections;
    for (int i = 0; i < 6; ++i) {
        connections.push_back(std::make_unique<Connection>(quick_config(folder.file("app.db")), Role::writer));
    }
    std::vector<std::exception_ptr> errors(connections.size());
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < connections.size(); ++i) {
            threads.emplace_back([&, i] {
                try {
                    Schema::install(*connections[i], 30s);
                } catch (...) {
                    errors[i] = std::current_exception();
                }
            });
        }
    }
    for (const std::exception_ptr& error : errors) {
        CHECK(error == nullptr);
    }
    CHECK(Schema::version(*connections[0]) == Schema::current);
    CHECK(backlite_test::query(connections[0]->handle(), "SELECT value FROM backlite_meta WHERE key = 'last_owner'") ==
          "0");
}

}  // namespace
