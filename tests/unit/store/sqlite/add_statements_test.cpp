// SPDX-License-Identifier: MIT
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/add_statements.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::TestDatabase;
using detail::Ms;
using store::sqlite::AddStatements;

detail::NewTask task(const char* id, std::string_view queue, std::string payload = "{}") {
    return {TaskId::from_text(id), queue, std::move(payload)};
}

void insert(TestDatabase& database, const std::vector<detail::NewTask>& tasks, std::optional<Ms> wait_until = {}) {
    database.write([&](store::sqlite::Repository& repository) { repository.adds.insert(tasks, Ms{5000}, wait_until); });
}

TEST_CASE("Adds: a task is a row with id, queue, time and payload") {
    TestDatabase database;
    insert(database, {task("a", "mail", R"({"to":"ann"})")});
    CHECK(database.query("SELECT id, created_at, queue, task, typeof(task), wait_until FROM backlite_tasks") ==
          R"(a|5000|mail|{"to":"ann"}|blob|NULL)");
}

TEST_CASE("Adds: a new task is unclaimed, untried and due when it was created") {
    TestDatabase database;
    insert(database, {task("a", "mail")});
    CHECK(database.query("SELECT claimed_at, owner, claim, lease, attempts, crashes, last_executed_at, error, due "
                         "FROM backlite_tasks") == "NULL|NULL|0|0|0|0|NULL|NULL|5000");
}

TEST_CASE("Adds: a task with a wait is due after it") {
    TestDatabase database;
    insert(database, {task("a", "mail")}, Ms{9000});
    CHECK(database.query("SELECT wait_until, due FROM backlite_tasks") == "9000|9000");
}

TEST_CASE("Adds: a wait that is over already does not make a task older than it is") {
    TestDatabase database;
    insert(database, {task("a", "mail")}, Ms{10});
    CHECK(database.query("SELECT wait_until, due FROM backlite_tasks") == "10|5000");
}

TEST_CASE("Adds: several tasks of several queues keep their order") {
    TestDatabase database;
    insert(database, {task("a", "mail"), task("b", "print"), task("c", "mail")});
    CHECK(database.query("SELECT id, queue FROM backlite_tasks ORDER BY rowid") == "a|mail\nb|print\nc|mail");
}

TEST_CASE("Adds: no tasks are no rows") {
    TestDatabase database;
    insert(database, {});
    CHECK(database.query("SELECT count(*) FROM backlite_tasks") == "0");
}

TEST_CASE("Adds: a payload is bytes, whatever they are") {
    TestDatabase database;
    const std::string bytes("\0\xff{", 3);
    insert(database, {task("a", "mail", bytes), task("b", "mail", "")});
    CHECK(database.query("SELECT hex(task) FROM backlite_tasks ORDER BY id") == "00FF7B\n");
}

TEST_CASE("Adds: an id that is taken is a StorageError") {
    TestDatabase database;
    insert(database, {task("a", "mail")});
    CHECK_THROWS_AS(insert(database, {task("b", "mail"), task("a", "mail")}), StorageError);
    CHECK(database.query("SELECT id FROM backlite_tasks") == "a");
}

TEST_CASE("Adds: works in a host's transaction and leaves no statement there") {
    TestDatabase database;
    SQLite::Database host = database.stranger();
    backlite_test::execute(host.getHandle(), "BEGIN");
    const std::vector<detail::NewTask> tasks{task("a", "mail")};
    AddStatements(host.getHandle()).insert(tasks, Ms{5000}, std::nullopt);
    CHECK(sqlite3_next_stmt(host.getHandle(), nullptr) == nullptr);
    CHECK(database.query("SELECT count(*) FROM backlite_tasks") == "0");
    backlite_test::execute(host.getHandle(), "COMMIT");
    CHECK(database.query("SELECT count(*) FROM backlite_tasks") == "1");
}

TEST_CASE("Adds: within the host's transaction old statistics are left alone") {
    TestDatabase database;
    const std::int64_t ten_days = std::int64_t{10} * 24 * 60 * 60'000;
    // An old row, and one of the hour before, so that the clock is to be believed.
    database.execute("INSERT INTO backlite_stats VALUES (1, 0, 'mail', 1, 0, 0, 0, 0, 0, 0)");
    database.execute("INSERT INTO backlite_stats VALUES (1, 14340, 'mail', 1, 0, 0, 0, 0, 0, 0)");
    database.execute("BEGIN IMMEDIATE");
    store::sqlite::add_within(database.connection.handle(), "app.db", std::vector{task("a", "mail")}, Ms{ten_days},
                              std::nullopt);
    database.execute("COMMIT");
    CHECK(database.query("SELECT count(*) FROM backlite_stats WHERE start = 0") == "1");
    CHECK(database.query("SELECT sum(added) FROM backlite_stats WHERE span = 1 AND start = 14400") == "1");
}

}  // namespace
