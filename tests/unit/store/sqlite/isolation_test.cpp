// SPDX-License-Identifier: MIT
#include <optional>
#include <string>

#include <sqlite3.h>

#include <backlite/error.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/repository.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::TestDatabase;
using store::sqlite::is_of_a_row;
using store::sqlite::Isolation;

/// A table whose column takes no number twice.
struct Shop : TestDatabase {
    Shop() { execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"); }

    void insert(int n) {
        store::sqlite::execute(connection.handle(), ("INSERT INTO numbers VALUES (" + std::to_string(n) + ")").c_str());
    }

    bool refused(const std::string& name, int n) {
        return isolation.attempt(connection.handle(), name, [&] { insert(n); }).has_value();
    }

    [[nodiscard]] std::string numbers() { return query("SELECT group_concat(n) FROM numbers"); }

    Isolation isolation{};
};

TEST_CASE("Isolation: constraints, triggers and limits are about a row, the file's troubles are not") {
    for (const int code : {SQLITE_CONSTRAINT, SQLITE_CONSTRAINT_TRIGGER, SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_TOOBIG,
                           SQLITE_ERROR, SQLITE_MISMATCH, SQLITE_AUTH}) {
        CHECK(is_of_a_row(code));
    }
    for (const int code : {SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT, SQLITE_LOCKED, SQLITE_FULL, SQLITE_IOERR_FSYNC,
                           SQLITE_NOMEM, SQLITE_IOERR_NOMEM, SQLITE_CORRUPT_INDEX, SQLITE_NOTADB,
                           SQLITE_READONLY_DBMOVED, SQLITE_CANTOPEN, SQLITE_PROTOCOL, SQLITE_INTERRUPT, 0}) {
        CHECK_FALSE(is_of_a_row(code));
    }
}

TEST_CASE("Isolation: a part that is refused leaves nothing, and those before and after it stay") {
    Shop shop;
    shop.write([&](store::sqlite::Repository&) {
        CHECK_FALSE(shop.refused("a", 1));
        const auto error = shop.isolation.attempt(shop.connection.handle(), "b", [&] {
            shop.insert(2);
            shop.insert(1);
        });
        REQUIRE(error);
        CHECK(error->code() == SQLITE_CONSTRAINT);
        CHECK_FALSE(shop.refused("c", 3));
    });
    CHECK(shop.numbers() == "1,3");
    CHECK(shop.isolation.ended() == 0);
}

TEST_CASE("Isolation: an error that is about the file is the transaction's") {
    Shop shop;
    const auto full = [&](store::sqlite::Repository&) {
        (void)shop.isolation.attempt(shop.connection.handle(), "a", [] { throw FullError("full", SQLITE_FULL); });
    };
    CHECK_THROWS_AS(shop.write(full), FullError);
}

TEST_CASE("Isolation: a deferred constraint that only the commit would check refuses its part") {
    Shop shop;
    shop.execute(
        "PRAGMA foreign_keys=ON; CREATE TABLE owned (n INTEGER REFERENCES numbers(n) DEFERRABLE INITIALLY DEFERRED)");
    shop.write([&](store::sqlite::Repository&) {
        CHECK_FALSE(shop.refused("a", 1));
        const auto error = shop.isolation.attempt(shop.connection.handle(), "b", [&] {
            store::sqlite::execute(shop.connection.handle(), "INSERT INTO owned VALUES (7)");
        });
        REQUIRE(error);
        CHECK(error->extended_code() == SQLITE_CONSTRAINT_FOREIGNKEY);
    });
    CHECK(shop.numbers() == "1");
    CHECK(shop.query("SELECT * FROM owned").empty());
}

TEST_CASE("Isolation: a part whose trigger ends the transaction is left out the next time") {
    Shop shop;
    shop.execute(
        "CREATE TRIGGER no_two BEFORE INSERT ON numbers WHEN new.n = 2 BEGIN SELECT RAISE(ROLLBACK, 'no two'); END");
    std::string refused;
    const auto all = [&](store::sqlite::Repository&) {
        for (const int n : {1, 2, 3}) refused += shop.refused(std::to_string(n), n) ? "refused " : "written ";
    };
    CHECK_THROWS_AS(shop.write(all), StorageError);
    CHECK(shop.isolation.ended() == 1);
    CHECK(refused == "written ");
    refused.clear();
    shop.write(all);
    CHECK(shop.isolation.ended() == 1);
    CHECK(refused == "written refused written ");
    CHECK(shop.numbers() == "1,3");
}

TEST_CASE("Isolation: where there is none a part just runs, and throws what it throws") {
    Shop shop;
    const auto refuse = [] { throw StorageError("no", SQLITE_CONSTRAINT); };
    CHECK_THROWS_AS(store::sqlite::attempt(nullptr, shop.connection.handle(), "a", "1", refuse), StorageError);
}

}  // namespace
