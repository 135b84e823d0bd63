// SPDX-License-Identifier: MIT
#pragma once
// A database file of a test's own, and a way to look into it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/config.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/schema.hpp>

#include <row_time.hpp>
#include <temp_folder.hpp>
#include <usual_durability.hpp>

namespace backlite_test {

/// What a query finds: columns parted by '|', rows by line ends, NULL as "NULL", the types left out.
/// Errors: std::runtime_error with SQLite's message.
[[nodiscard]] inline std::string query(sqlite3* db, const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) {
        throw std::runtime_error(sql + ": " + sqlite3_errmsg(db));
    }
    std::string found;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!found.empty()) found += '\n';
        for (int i = 0; i < sqlite3_column_count(statement); ++i) {
            if (i > 0) found += '|';
            if (sqlite3_column_type(statement, i) == SQLITE_NULL) {
                found += "NULL";
                continue;
            }
            const auto* data = static_cast<const char*>(sqlite3_column_blob(statement, i));
            const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, i));
            if (size > 0) found.append(data, size);
        }
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE) throw std::runtime_error(sql + ": " + sqlite3_errmsg(db));
    return found;
}

/// Runs statements that find nothing. Errors: std::runtime_error with SQLite's message.
inline void execute(sqlite3* db, const std::string& sql) {
    if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
        throw std::runtime_error(sql + ": " + sqlite3_errmsg(db));
    }
}

/// Takes STRICT and NOT NULL from our tables, so that every column takes values of any type, as those of a damaged file
/// may hold them. Errors: std::runtime_error.
inline void loosen(SQLite::Database& stranger) {
    sqlite3* db = stranger.getHandle();
    execute(db, "PRAGMA writable_schema=ON");
    execute(db,
            "UPDATE sqlite_schema SET sql = replace(replace(replace(replace(sql, 'STRICT', ''), "
            "'PRIMARY KEY NOT NULL', 'PRIMARY KEY'), 'integer NOT NULL', 'integer'), ' NOT NULL,', ',') "
            "WHERE type = 'table' AND name LIKE 'backlite%'");
    execute(db, "PRAGMA schema_version=" + std::to_string(std::stoll(query(db, "PRAGMA schema_version")) + 1));
    execute(db, "PRAGMA writable_schema=RESET");
    if (query(db, "SELECT sum(strict) FROM pragma_table_list WHERE name LIKE 'backlite%'") != "0") {
        throw std::runtime_error("the tables have kept STRICT");
    }
}

/// A row of backlite_tasks.
struct TaskRow {
    std::optional<std::string> id{};
    std::string queue = "mail";
    RowTime created_at = 1000;
    std::optional<RowTime> wait_until{};
    std::string payload = "{}";
    std::int64_t attempts = 0;
    std::int64_t crashes = 0;
    std::int64_t claim = 0;
    std::optional<RowTime> claimed_at{};
    std::optional<std::int64_t> owner{};
    std::int64_t priority = 0;
    std::int64_t hold = 0;
    std::int64_t flags = 0;
};

/// Says what a client on `file` is configured with, where syncing would only cost time.
[[nodiscard]] inline backlite::ClientConfig quick_config(const std::string& file) {
    backlite::ClientConfig config;
    config.database = file;
    config.durability = usual_durability();
    return config;
}

/// A file with our tables, opened as a client's writer. Threads: one at a time.
class TestDatabase {
public:
    TestDatabase() { backlite::store::sqlite::Schema::install(connection, config.busy_timeout); }
    TestDatabase(const TestDatabase&) = delete;
    TestDatabase& operator=(const TestDatabase&) = delete;

    /// Runs `work(Repository&)` in a write transaction.
    template <class Work>
    void write(Work&& work) {
        if (!connection.try_begin()) throw std::runtime_error("the database is locked");
        try {
            work(repository);
            connection.commit();
        } catch (...) {
            connection.rollback();
            throw;
        }
    }

    [[nodiscard]] std::string query(const std::string& sql) { return backlite_test::query(connection.handle(), sql); }
    void execute(const std::string& sql) { backlite_test::execute(connection.handle(), sql); }

    void add(const TaskRow& row) {
        backlite::store::sqlite::Statement insert(
            "INSERT INTO backlite_tasks (id, queue, created_at, wait_until, task, attempts, crashes, claim, "
            "claimed_at, owner, priority, hold, flags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
            "?13)");
        backlite::store::sqlite::Statement insert_nameless(
            "INSERT INTO backlite_tasks (id, queue, created_at, wait_until, task, attempts, crashes, claim, "
            "claimed_at, owner, priority, hold, flags) VALUES (NULL, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
            "?13)");
        backlite::store::sqlite::Run(
            connection.handle(), row.id ? insert : insert_nameless,
            {row.id.value_or(""), row.queue, row.created_at, row.wait_until, backlite::store::sqlite::Blob{row.payload},
             row.attempts, row.crashes, row.claim, row.claimed_at, row.owner, row.priority, row.hold, row.flags})
            .change();
    }

    /// Another connection to the file, as a program that knows nothing of the library would have it.
    [[nodiscard]] SQLite::Database stranger() const {
        SQLite::Database database(config.database, SQLite::OPEN_READWRITE);
        database.setBusyTimeout(5000);
        return database;
    }

    TempFolder folder{};
    backlite::ClientConfig config = quick_config(folder.file("app.db"));
    backlite::store::sqlite::Connection connection{config, backlite::store::sqlite::Role::writer};
    backlite::store::sqlite::Repository repository{connection.handle()};
};

}  // namespace backlite_test
