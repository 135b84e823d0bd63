// SPDX-License-Identifier: MIT
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/error.hpp>
#include <backlite/store/sqlite/statement.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace {

using namespace backlite;
using backlite_test::contains;
using backlite_test::message_of;
using store::sqlite::Blob;
using store::sqlite::Run;
using store::sqlite::Statement;

class Memory {
public:
    [[nodiscard]] sqlite3* handle() { return database_.getHandle(); }

private:
    SQLite::Database database_{":memory:", SQLite::OPEN_READWRITE};
};

bool has_open_statement(sqlite3* db) {
    for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s != nullptr; s = sqlite3_next_stmt(db, s)) {
        if (sqlite3_stmt_busy(s) != 0) return true;
    }
    return false;
}

TEST_CASE("throw_sqlite: each of SQLite's codes becomes the exception that fits") {
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_BUSY, "x"), BusyError);
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_BUSY_SNAPSHOT, "x"), BusyError);
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_LOCKED_SHAREDCACHE, "x"), BusyError);
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_PROTOCOL, "x"), BusyError);
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_FULL, "x"), FullError);
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_CORRUPT_INDEX, "x"), CorruptError);
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_NOTADB, "x"), CorruptError);
    CHECK_THROWS_AS(store::sqlite::throw_sqlite(SQLITE_IOERR_WRITE, "x"), StorageError);
}

TEST_CASE("throw_sqlite: keeps text, extended code and what may have been added") {
    int code = 0;
    Added added = Added::no;
    const std::string what = message_of<StorageError>([&] {
        try {
            store::sqlite::throw_sqlite(SQLITE_IOERR_FSYNC, "while syncing", Added::unknown);
        } catch (const StorageError& error) {
            code = error.extended_code();
            added = error.added();
            throw;
        }
    });
    CHECK(what == "while syncing");
    CHECK(code == SQLITE_IOERR_FSYNC);
    CHECK(added == Added::unknown);
}

TEST_CASE("is_fatal: damage, a lost file and a failed sync end a client") {
    for (const int code : {SQLITE_CORRUPT, SQLITE_CORRUPT_VTAB, SQLITE_NOTADB, SQLITE_READONLY, SQLITE_READONLY_DBMOVED,
                           SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC}) {
        INFO(code);
        CHECK(store::sqlite::is_fatal(code));
    }
}

TEST_CASE("is_fatal: what may be better next time does not end a client") {
    for (const int code : {SQLITE_OK, SQLITE_BUSY, SQLITE_FULL, SQLITE_NOMEM, SQLITE_IOERR, SQLITE_IOERR_WRITE,
                           SQLITE_IOERR_READ, SQLITE_ERROR, SQLITE_CONSTRAINT}) {
        INFO(code);
        CHECK_FALSE(store::sqlite::is_fatal(code));
    }
}

TEST_CASE("Statement: is prepared at its first use, and once") {
    Memory memory;
    Statement statement("SELECT 1");
    CHECK(sqlite3_next_stmt(memory.handle(), nullptr) == nullptr);
    sqlite3_stmt* const first = statement.get(memory.handle());
    CHECK(statement.get(memory.handle()) == first);
}

TEST_CASE("Statement: one that SQLite does not understand is a StorageError with its text") {
    Memory memory;
    Statement statement("SELECT 1 FROM nowhere");
    const std::string what = message_of<StorageError>([&] { (void)statement.get(memory.handle()); });
    CHECK(contains(what, "SELECT 1 FROM nowhere"));
    CHECK(contains(what, "no such table: nowhere"));
}

TEST_CASE("Statement: is gone with its owner") {
    Memory memory;
    { (void)Statement("SELECT 1").get(memory.handle()); }
    CHECK(sqlite3_next_stmt(memory.handle(), nullptr) == nullptr);
}

TEST_CASE("Run: binds every kind of value by its place") {
    Memory memory;
    Statement statement(
        "SELECT typeof(?1), ?1, typeof(?2), ?2, typeof(?3), typeof(?4), ?4, typeof(?5), typeof(?6), ?6, typeof(?7), "
        "?7, ?8, ?9");
    const std::string text = "text";
    Run run(memory.handle(), statement,
            {std::int64_t{-5}, text, nullptr, std::optional<std::int64_t>{9}, std::optional<std::int64_t>{},
             Blob{"bytes"}, std::string_view{"view"}, true, 4'000'000'000U});
    REQUIRE(run.step());
    CHECK(run.bytes(0) == "integer");
    CHECK(run.integer(1) == -5);
    CHECK(run.bytes(2) == "text");
    CHECK(run.bytes(3) == "text");
    CHECK(run.bytes(4) == "null");
    CHECK(run.bytes(5) == "integer");
    CHECK(run.optional_integer(6) == 9);
    CHECK(run.bytes(7) == "null");
    CHECK(run.bytes(8) == "blob");
    CHECK(run.bytes(9) == "bytes");
    CHECK(run.bytes(10) == "text");
    CHECK(run.bytes(11) == "view");
    CHECK(run.integer(12) == 1);
    CHECK(run.integer(13) == 4'000'000'000);
}

TEST_CASE("Run: empty text and empty bytes are not NULL") {
    Memory memory;
    Statement statement("SELECT typeof(?1), length(?1), typeof(?2), length(?2)");
    Run run(memory.handle(), statement, {std::string_view{}, Blob{}});
    REQUIRE(run.step());
    CHECK(run.bytes(0) == "text");
    CHECK(run.integer(1) == 0);
    CHECK(run.bytes(2) == "blob");
    CHECK(run.integer(3) == 0);
}

TEST_CASE("Run: text with a NUL character is kept whole") {
    Memory memory;
    Statement statement("SELECT ?1");
    const std::string text("a\0b", 3);
    Run run(memory.handle(), statement, {text});
    REQUIRE(run.step());
    CHECK(run.bytes(0) == text);
}

TEST_CASE("Run: NULL reads as no value and as no bytes") {
    Memory memory;
    Statement statement("SELECT NULL");
    Run run(memory.handle(), statement);
    REQUIRE(run.step());
    CHECK(run.is_null(0));
    CHECK(run.optional_integer(0) == std::nullopt);
    CHECK(run.bytes(0).empty());
}

TEST_CASE("Run: steps through the rows and ends") {
    Memory memory;
    Statement statement("VALUES (1), (2), (3)");
    std::vector<std::int64_t> seen;
    Run run(memory.handle(), statement);
    while (run.step()) seen.push_back(run.integer(0));
    CHECK(seen == std::vector<std::int64_t>{1, 2, 3});
}

TEST_CASE("Run: change says how many rows it changed") {
    Memory memory;
    store::sqlite::execute(memory.handle(), "CREATE TABLE t (n); INSERT INTO t VALUES (1), (2), (3)");
    Statement update("UPDATE t SET n = n + 10 WHERE n > ?1");
    CHECK(Run(memory.handle(), update, {1}).change() == 2);
    CHECK(Run(memory.handle(), update, {100}).change() == 0);
}

TEST_CASE("Run: one that is left in the middle leaves no statement open") {
    Memory memory;
    Statement statement("VALUES (1), (2), (3)");
    {
        Run run(memory.handle(), statement);
        REQUIRE(run.step());
        CHECK(has_open_statement(memory.handle()));
    }
    CHECK_FALSE(has_open_statement(memory.handle()));
}

TEST_CASE("Run: one that fails leaves no statement open, and the statement works again") {
    Memory memory;
    store::sqlite::execute(memory.handle(), "CREATE TABLE t (n UNIQUE); INSERT INTO t VALUES (1)");
    Statement insert("INSERT INTO t VALUES (?1)");
    CHECK_THROWS_AS(Run(memory.handle(), insert, {1}).change(), StorageError);
    CHECK_FALSE(has_open_statement(memory.handle()));
    CHECK(Run(memory.handle(), insert, {2}).change() == 1);
}

TEST_CASE("Run: an argument too many is an error, and the statement works again") {
    Memory memory;
    Statement statement("SELECT ?1");
    CHECK_THROWS_AS(Run(memory.handle(), statement, {1, 2}), StorageError);
    Run run(memory.handle(), statement, {3});
    REQUIRE(run.step());
    CHECK(run.integer(0) == 3);
}

TEST_CASE("Run: nothing of the run before is left over") {
    Memory memory;
    store::sqlite::execute(memory.handle(), "CREATE TABLE t (n); INSERT INTO t VALUES (1), (2), (3)");
    Statement select("SELECT n FROM t WHERE n >= ?1 ORDER BY n");
    REQUIRE(Run(memory.handle(), select, {3}).step());
    Run again(memory.handle(), select, {1});
    REQUIRE(again.step());
    CHECK(again.integer(0) == 1);
}

TEST_CASE("execute: runs several statements, and an error is a StorageError with their text") {
    Memory memory;
    CHECK_NOTHROW(store::sqlite::execute(memory.handle(), "CREATE TABLE t (n); INSERT INTO t VALUES (1)"));
    CHECK(contains(message_of<StorageError>([&] { store::sqlite::execute(memory.handle(), "DROP TABLE nowhere"); }),
                   "DROP TABLE nowhere: no such table"));
}

}  // namespace
