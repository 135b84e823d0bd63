// SPDX-License-Identifier: MIT
// What Admin's lists cost beside many rows, and where a look through rows stops.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/admin/task_pages.hpp>
#include <backlite/admin_values.hpp>
#include <backlite/store/sqlite/views/read_connection.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using admin::TaskPages;
using backlite_test::TestDatabase;
using detail::Ms;
using store::Bounds;
using store::sqlite::FoundRow;
using store::sqlite::Queries;
using store::sqlite::shape_of;
using store::sqlite::Walk;

constexpr Ms now{10'000'000};

/// `rows` tasks of each kind in five queues.
void fill(TestDatabase& shop, int rows) {
    shop.execute("BEGIN");
    for (const char* columns :
         {"'w' || n, 'q' || (i % 5), i, NULL, NULL, 0", "'s' || n, 'q' || (i % 5), i, 20000000 + i, NULL, 0",
          "'h' || n, 'q' || (i % 5), i, NULL, NULL, 256"}) {
        shop.execute(
            fmt::format("WITH RECURSIVE n(i, n) AS (SELECT 1, '0000001' UNION ALL SELECT i + 1, format('%07d', i + 1) "
                        "FROM n WHERE i < {}) INSERT INTO backlite_tasks (id, queue, created_at, wait_until, "
                        "claimed_at, hold, task) SELECT {}, x'7b7d' FROM n",
                        rows, columns));
    }
    for (const char* columns : {"'f' || n, 'q' || (i % 5), 'no', NULL", "'c' || n, 'q' || (i % 5), 'cancelled', 1",
                                "'d' || n, 'q' || (i % 5), NULL, NULL"}) {
        shop.execute(fmt::format(
            "WITH RECURSIVE n(i, n) AS (SELECT 1, '0000001' UNION ALL SELECT i + 1, format('%07d', i + 1) "
            "FROM n WHERE i < {}) INSERT INTO backlite_tasks_completed (id, queue, error, kind, created_at, "
            "last_executed_at, attempts, last_duration_micro, succeeded, task) SELECT {}, i, 1000 + i, 1, "
            "5, 1, x'7b7d' FROM n",
            rows, columns));
    }
    shop.execute(
        "INSERT INTO backlite_tasks (id, queue, created_at, claimed_at, task) VALUES ('r', 'q1', 1, 2, x'7b7d')");
    shop.execute("COMMIT");
}

std::int64_t steps_since(sqlite3* db) {
    std::int64_t sum = 0;
    for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s != nullptr; s = sqlite3_next_stmt(db, s)) {
        sum += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    return sum;
}

std::map<std::string, std::int64_t> costs(int rows) {
    TestDatabase shop;
    fill(shop, rows);
    sqlite3* db = shop.connection.handle();
    Bounds bounds;
    bounds.counted = 20'000;
    bounds.held = 20'000;
    bounds.retries = 10'000;
    bounds.to_come = 20'000;
    bounds.finished = 10'000;
    bounds.looked_at = 10'000;
    Queries queries(db, *shape_of(db), bounds);
    const std::string name = shop.config.database;
    std::map<std::string, std::int64_t> result;
    const auto measure = [&](const std::string& what, const auto& work) {
        TaskPages pages(queries, name, now);
        work(pages);  // prepares the statements
        (void)steps_since(db);
        work(pages);
        result[what] = steps_since(db);
    };
    for (int i = 0; i <= static_cast<int>(TaskState::expired); ++i) {
        const TaskFilter filter{.state = static_cast<TaskState>(i)};
        std::optional<PageToken> second;
        measure(std::string{to_string(filter.state)}, [&](TaskPages& pages) { second = pages.tasks(filter, {}).next; });
        if (!second) continue;
        measure(fmt::format("{}, second page", to_string(filter.state)),
                [&](TaskPages& pages) { (void)pages.tasks(filter, {.after = second}); });
    }
    measure("by id", [](TaskPages& pages) { (void)pages.tasks({.id = "f00"}, {}); });
    measure("task", [](TaskPages& pages) { (void)pages.task("f0000007"); });
    measure("queues", [](TaskPages& pages) { (void)pages.queues(); });
    measure("search", [](TaskPages& pages) { (void)pages.tasks({.text = "nowhere"}, {}); });
    measure("one queue", [](TaskPages& pages) { (void)pages.tasks({.queue = "q3"}, {}); });
    measure("none of that queue", [](TaskPages& pages) { (void)pages.tasks({.queue = "none"}, {}); });
    return result;
}

TEST_CASE("TaskPages: every list costs the same beside a hundred times as many tasks, or stops at its bound") {
    const std::map<std::string, std::int64_t> few = costs(1'000);
    const std::map<std::string, std::int64_t> many = costs(100'000);
    const std::set<std::string> bounded{"queues", "search", "none of that queue", "held", "retrying", "expired"};
    REQUIRE(many.size() >= 22);
    for (const auto& [name, steps] : many) {
        CAPTURE(name, steps);
        CHECK(steps > 0);
        if (bounded.contains(name.substr(0, name.find(',')))) {
            CHECK(steps < 1'000'000);
        } else {
            CHECK(steps < 20'000);
            REQUIRE(few.contains(name));
            CHECK(steps <= few.at(name) + few.at(name) / 20 + 20);
        }
    }
}

/// VM steps of two pages of what failed and waits to be tried again, with so many tasks there.
std::int64_t cost_of_retries(int rows) {
    TestDatabase shop;
    shop.execute(
        fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO "
                    "backlite_tasks (id, queue, created_at, wait_until, attempts, task) "
                    "SELECT format('%07d', i), 'q' || (i % 5), 1, 20000000 + i, 1, x'7b7d' FROM n",
                    rows));
    sqlite3* db = shop.connection.handle();
    Queries queries(db, *shape_of(db));
    const std::string name = shop.config.database;
    TaskPages pages(queries, name, now);
    const auto look = [&] {
        const TaskPage first = pages.tasks({.state = TaskState::retrying}, {});
        REQUIRE(first.tasks.size() == 50);
        CHECK(first.tasks.front().id.str() == "0000001");
        const TaskPage second = pages.tasks({.state = TaskState::retrying}, {.after = first.next});
        REQUIRE(second.tasks.size() == 50);
        CHECK(second.tasks.front().id.str() == "0000051");
    };
    look();  // prepares the statements
    (void)steps_since(db);
    look();
    return steps_since(db);
}

TEST_CASE("TaskPages: of tasks that are tried again a page looks at no more than it shows of each queue") {
    const std::int64_t few = cost_of_retries(1'000);
    const std::int64_t many = cost_of_retries(20'000);
    CHECK(few > 0);
    CHECK(many <= few + few / 20 + 20);
}

TEST_CASE("TaskPages: a look through many rows stops at its bound, says so, and goes on there") {
    TestDatabase shop;
    fill(shop, 500);
    sqlite3* db = shop.connection.handle();
    Bounds bounds;
    bounds.looked_at = 100;
    Queries queries(db, *shape_of(db), bounds);
    const std::string name = shop.config.database;
    TaskPages pages(queries, name, now);
    shop.execute("UPDATE backlite_tasks_completed SET task = CAST('{\"x\":\"needle\"}' AS BLOB) WHERE id = 'd0000123'");
    for (const TaskFilter& filter : {TaskFilter{.text = "needle"}, TaskFilter{.text = "needle", .id = "d"}}) {
        Page page;
        int looks = 0;
        std::string found;
        for (;; ++looks) {
            REQUIRE(looks < 100);
            const TaskPage one = pages.tasks(filter, page);
            for (const TaskRow& row : one.tasks) found += row.id.str() + ' ';
            if (!one.next) break;
            page.after = one.next;
        }
        CHECK(found == "d0000123 ");
        CHECK(looks >= 4);
    }
}

TEST_CASE("TaskPages: a walk comes past each id once, in both tables, and past an id in both of them twice") {
    TestDatabase shop;
    fill(shop, 5);
    shop.execute("UPDATE backlite_tasks SET id = 'd0000003' WHERE id = 'w0000003'");
    sqlite3* db = shop.connection.handle();
    Queries queries(db, *shape_of(db), {});
    std::string all;
    std::optional<std::string> before;
    do {
        const Walk walk = queries.facts.walk({}, before, now, 2);
        CHECK(walk.rows.size() <= 3);
        for (const FoundRow& row : walk.rows)
            all += row.id.substr(0, 1) + (row.id.size() > 7 ? row.id.substr(7) : "") + (row.finished ? "! " : " ");
        before = walk.next;
    } while (before);
    CHECK(
        all ==
        "w5 w4 w2 w1 s5 s4 s3 s2 s1 r h5 h4 h3 h2 h1 f5! f4! f3! f2! f1! d5! d4! d3 d3! d2! d1! c5! c4! c3! c2! c1! ");
}

TEST_CASE("TaskPages: rows as only a damaged file holds them are passed over or shown, and end no list early") {
    TestDatabase shop;
    SQLite::Database stranger = shop.stranger();
    backlite_test::loosen(stranger);
    stranger.exec(
        "INSERT INTO backlite_tasks (id, queue, created_at, task, wait_until, attempts, hold, priority) VALUES "
        "(NULL, 'q', 1, x'7b7d', NULL, 0, 0, 0), (x'ff00', 'q', 'soon', 5, 'late', 'x', NULL, 'high'), "
        "('z', NULL, 9223372036854775807, NULL, -9223372036854775808, -3, 'x', 99999), (5.5, 7, 1, x'7b', NULL, 0, 2, "
        "0)");
    stranger.exec(
        "INSERT INTO backlite_tasks_completed (id, queue, created_at, attempts, error, kind, task, last_executed_at, "
        "last_duration_micro) VALUES (NULL, 'q', 1, 1, NULL, NULL, 7, 'x', 'y'), ('y', 3, 'x', 'y', 9.5, 'k', NULL, "
        "9223372036854775807, 9223372036854775807)");
    stranger.exec("INSERT INTO backlite_queues (queue, paused_at, rate_next_us) VALUES (5, 'x', 'y')");
    for (const char* table : {"backlite_saved (task, name, at, value)", "backlite_progress (task, claim, at, fraction)",
                              "backlite_attempts (task, claim, number, started_at)"}) {
        stranger.exec(fmt::format("INSERT INTO {} VALUES ('z', 'x', 'y', 'z')", table));
    }
    sqlite3* db = shop.connection.handle();
    Queries queries(db, *shape_of(db), {});
    const std::string name = shop.config.database;
    TaskPages pages(queries, name, now);
    for (int i = 0; i <= static_cast<int>(TaskState::expired); ++i) {
        for (const char* id : {"", "z"}) {
            const TaskFilter filter{.state = static_cast<TaskState>(i), .id = id};
            Page page{.limit = 1};
            int looks = 0;
            for (; looks < 20; ++looks) {
                page.after = pages.tasks(filter, page).next;
                if (!page.after) break;
            }
            CAPTURE(i, id);
            CHECK(looks < 20);
        }
    }
    REQUIRE(pages.task("z"));
    CHECK(pages.task("z")->spent == 0);
    CHECK(pages.task("z")->priority == 1'000);
    CHECK(pages.task("y"));
    CHECK_FALSE(pages.queues().empty());
}

}  // namespace
