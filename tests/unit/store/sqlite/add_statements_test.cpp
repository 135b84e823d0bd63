// SPDX-License-Identifier: MIT
#include <cstdint>
#include <memory>
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
#include <backlite/unique.hpp>

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

detail::NewTask unique(const char* id, const char* key, Conflict conflict, std::string payload = "{}",
                       std::string_view queue = "mail") {
    detail::NewTask made = task(id, queue, std::move(payload));
    made.unique = std::make_shared<detail::UniqueAdd>();
    made.unique->key = key;
    made.unique->conflict = conflict;
    return made;
}

constexpr const char* all_of_it = "SELECT id, task, unique_key FROM backlite_tasks ORDER BY rowid";

TEST_CASE("Adds: a unique task is a row with its key, and one of another key or queue is another row") {
    TestDatabase database;
    insert(database, {unique("a", "k", Conflict::keep), unique("b", "l", Conflict::keep),
                      unique("c", "k", Conflict::keep, "{}", "print"), task("d", "mail")});
    CHECK(database.query(all_of_it) == "a|{}|k\nb|{}|l\nc|{}|k\nd|{}|NULL");
}

TEST_CASE("Adds: keep drops a task whose key is taken, by one that waits or is claimed") {
    TestDatabase database;
    insert(database, {unique("a", "k", Conflict::keep, "1")});
    if (GENERATE(false, true)) database.execute("UPDATE backlite_tasks SET claimed_at = 1, owner = 1, claim = 1");
    const std::vector<detail::NewTask> again{unique("b", "k", Conflict::keep, "2")};
    insert(database, again);
    CHECK(database.query(all_of_it) == "a|1|k");
    CHECK(again.front().unique->as == AddedAs::existing);
    CHECK(again.front().unique->existing.str() == "a");
    CHECK_FALSE(again.front().inserted());
}

TEST_CASE("Adds: reject names the one that is there, and none of the call is added") {
    TestDatabase database;
    insert(database, {unique("a", "k", Conflict::reject)});
    try {
        insert(database, {task("b", "mail"), unique("c", "k", Conflict::reject)});
        FAIL("nothing was thrown");
    } catch (const DuplicateError& error) {
        CHECK(error.existing().str() == "a");
        CHECK(error.task_id() == "a");
        CHECK(error.queue() == "mail");
        CHECK(error.what() == std::string{"queue \"mail\": task a has the unique key of the one that is added"});
    }
    CHECK(database.query(all_of_it) == "a|{}|k");
}

TEST_CASE("Adds: reject of two tasks of one call names no task, since neither is there") {
    TestDatabase database;
    try {
        insert(database, {unique("a", "k", Conflict::reject), unique("b", "k", Conflict::reject)});
        FAIL("nothing was thrown");
    } catch (const DuplicateError& error) {
        CHECK(error.existing().str().empty());
        CHECK(error.what() == std::string{"queue \"mail\": two tasks of one call have the same unique key"});
    }
    CHECK(database.query("SELECT count(*) FROM backlite_tasks") == "0");
}

TEST_CASE("Adds: replace gives one that waits payload and priority, and leaves its id, its claims and its crashes") {
    TestDatabase database;
    insert(database, {unique("a", "k", Conflict::replace, "1")});
    database.execute(
        "UPDATE backlite_tasks SET claim = 4, crashes = 2, attempts = 3, error = 'no', last_executed_at = 6");
    std::vector<detail::NewTask> again{unique("b", "k", Conflict::replace, "2")};
    again.front().priority = 7;
    insert(database, again);
    CHECK(database.query("SELECT id, task, typeof(task), priority, claim, crashes, attempts, error, "
                         "last_executed_at, created_at FROM backlite_tasks") == "a|2|blob|7|4|2|0|NULL|NULL|5000");
    CHECK(again.front().unique->as == AddedAs::replaced);
    CHECK(again.front().unique->existing.str() == "a");
}

TEST_CASE("Adds: replace gives one that waits the new time, but leaves one that is due in its place") {
    struct Row {
        const char* wait_until;
        std::optional<Ms> asked;
        const char* due;
    };
    const Row row =
        GENERATE(Row{"NULL", std::nullopt, "1000"}, Row{"3000", std::nullopt, "3000"}, Row{"3000", Ms{10}, "3000"},
                 Row{"9000", std::nullopt, "5000"}, Row{"9000", Ms{10}, "5000"}, Row{"9000", Ms{7000}, "7000"},
                 Row{"NULL", Ms{7000}, "7000"}, Row{"6000", Ms{9000}, "9000"}, Row{"5000", std::nullopt, "5000"});
    TestDatabase database;
    database.execute(std::string("INSERT INTO backlite_tasks (id, created_at, queue, task, unique_key, wait_until) "
                                 "VALUES ('a', 1000, 'mail', x'7b7d', 'k', ") +
                     row.wait_until + ")");
    CAPTURE(row.wait_until, row.due);
    insert(database, {unique("b", "k", Conflict::replace)}, row.asked);
    CHECK(database.query("SELECT id, due FROM backlite_tasks") == std::string{"a|"} + row.due);
}

TEST_CASE("Adds: replace beside one that is claimed drops the new one") {
    TestDatabase database;
    insert(database, {unique("a", "k", Conflict::replace, "1")});
    database.execute("UPDATE backlite_tasks SET claimed_at = 1, owner = 1, claim = 1");
    const std::vector<detail::NewTask> again{unique("b", "k", Conflict::replace, "2")};
    insert(database, again);
    CHECK(database.query(all_of_it) == "a|1|k");
    CHECK(again.front().unique->as == AddedAs::existing);
}

TEST_CASE("Adds: replace by a large payload gives its record room for its states, and a small one takes it away") {
    TestDatabase database;
    const std::string large(detail::large_payload, 'x');
    insert(database, {unique("a", "k", Conflict::replace, "1")});
    insert(database, {unique("b", "k", Conflict::replace, large)});
    CHECK(database.query("SELECT length(task), length(slack) FROM backlite_tasks") == "16384|400");
    insert(database, {unique("c", "k", Conflict::replace, "3")});
    CHECK(database.query("SELECT length(task), slack FROM backlite_tasks") == "1|NULL");
}

TEST_CASE("Adds: a unique task has its expiry, and one that is replaced has that of the new one") {
    TestDatabase database;
    const auto add = [&](const char* id, Conflict conflict, std::optional<Ms> expires_at) {
        detail::NewTask made = unique(id, "k", conflict);
        made.expires_at = expires_at;
        insert(database, {made});
    };
    const std::string expiry =
        "SELECT flags, expires_at FROM backlite_tasks LEFT JOIN backlite_details AS d ON d.task = id";
    add("a", Conflict::replace, Ms{7000});
    CHECK(database.query(expiry) == "1|7000");
    add("b", Conflict::keep, Ms{8000});
    CHECK(database.query(expiry) == "1|7000");
    add("c", Conflict::replace, Ms{9000});
    CHECK(database.query(expiry) == "1|9000");
    database.execute("UPDATE backlite_tasks SET flags = flags | 8");
    add("d", Conflict::replace, std::nullopt);
    CHECK(database.query(expiry) == "8|NULL");
    add("e", Conflict::replace, Ms{6000});
    CHECK(database.query(expiry) == "9|6000");
    CHECK(database.query("SELECT count(*) FROM backlite_details") == "1");
}

TEST_CASE("Adds: several tasks of one call with one key are one") {
    TestDatabase database;
    const Conflict conflict = GENERATE(Conflict::keep, Conflict::replace);
    const std::vector<detail::NewTask> tasks{unique("a", "k", conflict, "1"), unique("b", "k", conflict, "2"),
                                             unique("c", "l", conflict, "3")};
    insert(database, tasks);
    const bool keep = conflict == Conflict::keep;
    CHECK(database.query(all_of_it) == (keep ? "a|1|k\nc|3|l" : "a|2|k\nc|3|l"));
    CHECK(tasks[0].inserted());
    CHECK(tasks[1].unique->as == (keep ? AddedAs::existing : AddedAs::replaced));
    CHECK(tasks[1].unique->existing.str() == "a");
    CHECK(tasks[2].inserted());
}

TEST_CASE("Adds: what an earlier run of the transaction has found does not stay") {
    TestDatabase database;
    insert(database, {unique("a", "k", Conflict::keep)});
    const std::vector<detail::NewTask> again{unique("b", "k", Conflict::keep)};
    insert(database, again);
    database.execute("DELETE FROM backlite_tasks");
    insert(database, again);
    CHECK(again.front().inserted());
    CHECK(database.query("SELECT id FROM backlite_tasks") == "b");
}

TEST_CASE("Adds: a unique task that a host's trigger ignores is an error, and no silent loss") {
    TestDatabase database;
    SQLite::Database host = database.stranger();
    host.exec("CREATE TRIGGER no BEFORE INSERT ON backlite_tasks BEGIN SELECT RAISE(IGNORE); END");
    CHECK_THROWS_AS(insert(database, {unique("a", "k", Conflict::keep)}), StorageError);
    host.exec("DROP TRIGGER no");
    insert(database, {unique("a", "k", Conflict::replace)});
    host.exec("CREATE TRIGGER no BEFORE UPDATE ON backlite_tasks BEGIN SELECT RAISE(IGNORE); END");
    CHECK_THROWS_AS(insert(database, {unique("b", "k", Conflict::replace)}), StorageError);
}

TEST_CASE("Adds: an id that is taken is an error for a unique task too") {
    TestDatabase database;
    insert(database, {task("a", "mail")});
    CHECK_THROWS_AS(insert(database, {unique("a", "k", Conflict::keep)}), StorageError);
}

TEST_CASE("Adds: within the host's transaction only new tasks are counted, and a rejected call leaves it as it was") {
    TestDatabase database;
    const auto add = [&](const std::vector<detail::NewTask>& tasks) {
        store::sqlite::add_within(database.connection.handle(), "app.db", tasks, Ms{60'000}, std::nullopt, {});
    };
    database.execute("BEGIN IMMEDIATE");
    add({unique("a", "k", Conflict::keep), unique("b", "k", Conflict::keep), unique("c", "l", Conflict::keep)});
    add({unique("d", "k", Conflict::keep)});
    CHECK_THROWS_AS(add({task("e", "mail"), unique("f", "k", Conflict::reject)}), DuplicateError);
    database.execute("COMMIT");
    CHECK(database.query("SELECT id FROM backlite_tasks ORDER BY rowid") == "a\nc");
    CHECK(database.query("SELECT added FROM backlite_stats WHERE span = 1") == "2");
}

TEST_CASE("Adds: within the host's transaction old statistics are left alone") {
    TestDatabase database;
    const std::int64_t ten_days = std::int64_t{10} * 24 * 60 * 60'000;
    // An old row, and one of the hour before, so that the clock is to be believed.
    database.execute("INSERT INTO backlite_stats VALUES (1, 0, 'mail', 1, 0, 0, 0, 0, 0, 0)");
    database.execute("INSERT INTO backlite_stats VALUES (1, 14340, 'mail', 1, 0, 0, 0, 0, 0, 0)");
    database.execute("BEGIN IMMEDIATE");
    store::sqlite::add_within(database.connection.handle(), "app.db", std::vector{task("a", "mail")}, Ms{ten_days},
                              std::nullopt, {});
    database.execute("COMMIT");
    CHECK(database.query("SELECT count(*) FROM backlite_stats WHERE start = 0") == "1");
    CHECK(database.query("SELECT sum(added) FROM backlite_stats WHERE span = 1 AND start = 14400") == "1");
}

}  // namespace
