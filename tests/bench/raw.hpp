// SPDX-License-Identifier: MIT
#pragma once
// What the library is measured against: loops on the plain sqlite3 interface, as one would write them by hand for one
// thread, on files in which the library has installed its tables.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/config.hpp>

namespace bench {

/// A connection with the settings that the library uses.
class RawDatabase {
public:
    /// Errors: std::runtime_error.
    RawDatabase(const std::string& file, backlite::Durability durability);
    RawDatabase(const RawDatabase&) = delete;
    RawDatabase& operator=(const RawDatabase&) = delete;
    ~RawDatabase();

    [[nodiscard]] sqlite3* handle() const noexcept { return db_; }

    void execute(const std::string& sql);
    /// The first column of the first row.
    [[nodiscard]] std::int64_t number(const std::string& sql);
    /// Moves everything from the write-ahead log into the database.
    void checkpoint() { execute("PRAGMA wal_checkpoint(TRUNCATE)"); }

private:
    sqlite3* db_ = nullptr;
};

/// A prepared statement. The thin wrapper does what the C code would: bind, step, reset.
class RawStatement {
public:
    RawStatement(const RawDatabase& database, const char* sql);
    RawStatement(const RawStatement&) = delete;
    RawStatement& operator=(const RawStatement&) = delete;
    ~RawStatement() { sqlite3_finalize(statement_); }

    void bind(int index, std::int64_t value) { sqlite3_bind_int64(statement_, index, value); }
    void bind(int index, std::string_view text) {
        sqlite3_bind_text(statement_, index, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    }
    void bind_blob(int index, std::string_view bytes) {
        sqlite3_bind_blob(statement_, index, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
    }
    /// Whether there is a row. Errors: std::runtime_error.
    bool step() {
        const int code = sqlite3_step(statement_);
        if (code == SQLITE_ROW) return true;
        if (code != SQLITE_DONE) fail();
        return false;
    }
    void reset() { sqlite3_reset(statement_); }
    /// Runs a statement without rows.
    void run() {
        step();
        reset();
    }
    [[nodiscard]] std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
    [[nodiscard]] std::string_view bytes(int column) const {
        const void* data = sqlite3_column_blob(statement_, column);
        return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
    }

private:
    [[noreturn]] void fail() const;

    sqlite3* db_;
    sqlite3_stmt* statement_ = nullptr;
};

/// A task whose id and JSON are made already: the raw loops pay for neither.
struct RawTask {
    std::string id{};
    std::string payload{};
};

/// The tasks `first` to `first + count` - 1, with ids as the library makes them.
[[nodiscard]] std::vector<RawTask> raw_tasks(std::size_t first, std::size_t count);

/// Inserts, as the library and Go programs do, on one prepared statement.
class RawInsert {
public:
    explicit RawInsert(const RawDatabase& database);

    void run(const RawTask& task, std::int64_t created_at) {
        insert_.bind(1, std::string_view{task.id});
        insert_.bind(2, created_at);
        insert_.bind_blob(4, task.payload);
        insert_.run();
    }
    /// BEGIN IMMEDIATE; INSERT; COMMIT. The time of the call of COMMIT, in steady nanoseconds.
    std::int64_t commit_one(const RawTask& task, std::int64_t created_at);
    /// The same for each task.
    void commit_each(std::span<const RawTask> tasks);
    /// All of them in one transaction, each due a little later than the one before, all at `last_due` at the latest.
    void commit_all(std::span<const RawTask> tasks, std::int64_t last_due);

private:
    RawStatement begin_;
    RawStatement commit_;
    RawStatement insert_;
};

/// Claims and deletes all due tasks: each transaction claims the next 100, and deletes the 100 claimed before. How many
/// tasks that were.
[[nodiscard]] std::size_t claim_and_delete_all(const RawDatabase& database);

/// The same for tasks of several queues, of which it keeps a completed row each. Of the tasks that it claims for the
/// first time, every `fails_every`-th waits once more instead.
void claim_and_keep_all(const RawDatabase& database, std::span<const std::string_view> queues, std::size_t fails_every);

}  // namespace bench
