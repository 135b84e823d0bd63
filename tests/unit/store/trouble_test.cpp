// SPDX-License-Identifier: MIT
#include <string>

#include <sqlite3.h>

#include <backlite/error.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/trouble.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using store::Trouble;
using store::trouble_of;

TEST_CASE("Trouble: a lock of whatever kind is told from tables that do not fit, and both from the rest") {
    CHECK(trouble_of(BusyError("x", SQLITE_BUSY)) == Trouble::locked);
    CHECK(trouble_of(BusyError("x", SQLITE_BUSY_SNAPSHOT)) == Trouble::locked);
    CHECK(trouble_of(StorageError("x", SQLITE_ERROR)) == Trouble::tables);
    CHECK(trouble_of(StorageError("x", SQLITE_ERROR_MISSING_COLLSEQ)) == Trouble::tables);
    CHECK(trouble_of(FullError("x", SQLITE_FULL)) == Trouble::other);
    CHECK(trouble_of(StorageError("x", SQLITE_IOERR_WRITE)) == Trouble::other);
    CHECK(trouble_of(StorageError("x", 0)) == Trouble::other);
}

TEST_CASE("Trouble: a file that was replaced ends the client") {
    try {
        store::throw_replaced("gone");
    } catch (const StorageError& error) {
        CHECK(error.what() == std::string{"gone"});
        CHECK(store::sqlite::is_fatal(error.extended_code()));
        return;
    }
    FAIL("nothing thrown");
}

}  // namespace
