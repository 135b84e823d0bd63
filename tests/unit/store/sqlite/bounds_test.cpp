// SPDX-License-Identifier: MIT
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/add_statements.hpp>
#include <backlite/store/sqlite/bounds.hpp>
#include <backlite/store/store.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::TaskRow;
using backlite_test::TestDatabase;
using detail::Ms;
using store::DroppedTask;
using store::sqlite::Repository;
using store::sqlite::WaitingBounds;

/// A file whose queue "mail" has a bound.
struct Box : TestDatabase {
    explicit Box(std::size_t bound = 5, Overflow overflow = Overflow::reject) {
        mail.max_waiting = bound;
        mail.overflow = overflow;
    }

    using TestDatabase::add;

    /// Whether they were added.
    bool add(int count, int priority = 0, Ms due = {}) {
        std::vector<detail::NewTask> tasks;
        for (int i = 0; i < count; ++i) {
            tasks.push_back({TaskId::from_text("own-" + std::to_string(++ids)), mail.name, "{}"});
            tasks.back().bounded = &mail;
            tasks.back().priority = priority;
        }
        bool added = false;
        write([&](Repository& to) {
            const WaitingBounds::Answer answer = to.bounds.prepare(tasks, Ms{5000}, dropped);
            added = answer.full == nullptr && !answer.more;
            more = answer.more;
            if (added) to.adds.insert(tasks, due == Ms{} ? Ms{5000 + ids} : due, std::nullopt);
        });
        return added;
    }

    [[nodiscard]] std::string kept() { return query("SELECT waiting FROM backlite_queues WHERE queue = 'mail'"); }
    [[nodiscard]] std::string counted() {
        return query("SELECT count(*) FROM backlite_tasks WHERE queue = 'mail' AND claimed_at IS NULL");
    }
    [[nodiscard]] std::string triggers() { return query("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"); }

    void fill(int from, int to, const std::string& columns, const std::string& values) {
        execute("WITH RECURSIVE n(i) AS (SELECT " + std::to_string(from) + " UNION ALL SELECT i + 1 FROM n WHERE i < " +
                std::to_string(to - 1) + ") INSERT INTO backlite_tasks (id, created_at, queue, task" + columns +
                ") SELECT 'row-' || i, 1000, 'mail', x'7b7d'" + values + " FROM n");
    }

    /// What every statement of the connection does meanwhile.
    template <class Work>
    std::int64_t steps_of(Work&& work) {
        (void)take_steps();
        work();
        return take_steps();
    }
    std::int64_t take_steps() {
        std::int64_t sum = 0;
        sqlite3* const db = connection.handle();
        for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s != nullptr; s = sqlite3_next_stmt(db, s)) {
            sum += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
        }
        return sum;
    }

    QueueConfig mail{.name = "mail"};
    std::vector<DroppedTask> dropped{};
    bool more = false;
    int ids = 0;
};

TEST_CASE("Bounds: a file without bounded queues has no triggers, and the first bounded add makes them") {
    Box box;
    std::vector<detail::NewTask> plain{{TaskId::from_text("plain"), "mail", "{}"}};
    box.write([&](Repository& to) { to.adds.insert(plain, Ms{1}, std::nullopt); });
    CHECK(box.triggers() == "0");
    REQUIRE(box.add(1));
    CHECK(box.triggers() == "3");
    CHECK(box.kept() == "2");  // the plain one counts
}

TEST_CASE("Bounds: waiting, scheduled, held and retried tasks count, and those that are claimed do not") {
    Box box;
    box.add(TaskRow{.id = "waits"});
    box.add(TaskRow{.id = "scheduled", .wait_until = 900'000});
    box.add(TaskRow{.id = "held", .hold = 2});
    box.add(TaskRow{.id = "retried", .attempts = 2});
    box.add(TaskRow{.id = "runs", .claim = 1, .claimed_at = 1, .owner = 7});
    box.add(TaskRow{.id = "of Go", .claimed_at = 1});
    box.add(TaskRow{.id = "elsewhere", .queue = "print"});
    CHECK_FALSE(box.add(2));
    CHECK(box.kept() == "4");
    CHECK(box.add(1));
    CHECK_FALSE(box.add(1));
    CHECK(box.kept() == "5");
}

TEST_CASE("Bounds: the number follows whatever any program does to the rows") {
    Box box(100);
    REQUIRE(box.add(4));
    SQLite::Database other = box.stranger();
    const auto run = [&](const std::string& sql) {
        backlite_test::execute(other.getHandle(), sql);
        INFO(sql);
        CHECK(box.kept() == box.counted());
    };
    run("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('a', 1, 'mail', x'7b7d'), "
        "('b', 1, 'print', x'7b7d')");
    run("INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at) VALUES ('c', 1, 'mail', x'7b7d', 5)");
    run("UPDATE backlite_tasks SET claimed_at = 9 WHERE id IN ('a', 'own-1')");
    run("UPDATE backlite_tasks SET claimed_at = 10 WHERE id = 'a'");
    run("UPDATE backlite_tasks SET claimed_at = NULL, attempts = 1 WHERE id = 'c'");
    run("UPDATE backlite_tasks SET queue = 'mail' WHERE id = 'b'");
    run("UPDATE backlite_tasks SET queue = 'print', claimed_at = 3 WHERE id = 'b'");
    run("UPDATE backlite_tasks SET queue = 'mail', claimed_at = NULL WHERE id = 'b'");
    run("DELETE FROM backlite_tasks WHERE id IN ('a', 'own-2')");
    run("BEGIN; DELETE FROM backlite_tasks; ROLLBACK");
    run("DELETE FROM backlite_tasks");
    CHECK(box.kept() == "0");
}

TEST_CASE("Bounds: a claim makes room, and a task that comes back takes it and is not refused") {
    Box box(2);
    REQUIRE(box.add(2));
    CHECK_FALSE(box.add(1));
    box.write([&](Repository& to) { to.transitions.claim(1, Ms{6000}, 7, false); });
    CHECK(box.kept() == "1");
    REQUIRE(box.add(1));
    box.write([&](Repository& to) { CHECK(to.transitions.release_all(7) == 1); });
    CHECK(box.kept() == "3");
    CHECK_FALSE(box.add(1));
    CHECK(box.dropped.empty());
}

TEST_CASE("Bounds: what is rolled back was not counted") {
    Box box;
    REQUIRE_THROWS(box.write([&](Repository& to) {
        CHECK(to.bounds.waiting("mail", 9) == 0);
        throw std::runtime_error("no");
    }));
    CHECK(box.triggers() == "0");
    REQUIRE(box.add(3));
    REQUIRE_THROWS(box.write([&](Repository& to) {
        std::vector<detail::NewTask> tasks{{TaskId::from_text("lost"), "mail", "{}"}};
        to.adds.insert(tasks, Ms{1}, std::nullopt);
        throw std::runtime_error("no");
    }));
    CHECK(box.kept() == "3");
    CHECK(box.add(2));
    CHECK_FALSE(box.add(1));
}

TEST_CASE("Bounds: a number that is too high is mended when it says that the queue is full") {
    Box box;
    REQUIRE(box.add(4));
    box.execute(
        "INSERT OR REPLACE INTO backlite_tasks (id, created_at, queue, task) VALUES ('own-1', 1, 'mail', x'7b')");
    CHECK(box.kept() == "5");  // no trigger was told of the row that went
    CHECK(box.counted() == "4");
    CHECK(box.add(1));
    CHECK(box.kept() == "5");
    CHECK_FALSE(box.add(1));
}

TEST_CASE("Bounds: where the triggers are gone, or were never copied, the tasks are counted anew") {
    Box box;
    REQUIRE(box.add(1));
    REQUIRE(box.add(1));  // has seen them
    box.execute("UPDATE backlite_queues SET waiting = 0; DROP TRIGGER backlite_waiting_added");
    box.write([&](Repository& to) { CHECK(to.bounds.waiting("mail", 9) == 2); });
    CHECK(box.triggers() == "3");
    REQUIRE(box.add(3));
    CHECK(box.kept() == "5");
}

TEST_CASE("Bounds: a number at its end, or below zero, stops no program") {
    Box box;
    REQUIRE(box.add(2));
    box.execute("UPDATE backlite_queues SET waiting = 9223372036854775807");
    box.add(TaskRow{.id = "a"});
    CHECK(box.kept() == "9223372036854775807");
    CHECK(box.add(1));  // mended
    CHECK(box.kept() == "4");
    box.execute("UPDATE backlite_queues SET waiting = -9223372036854775807 - 1");
    box.execute("DELETE FROM backlite_tasks WHERE id = 'a'");
    CHECK(box.kept() == "0");
    CHECK(box.add(1));
}

TEST_CASE("Bounds: on a host's connection nothing is made, and tasks are counted where they are not kept") {
    Box box(3);
    SQLite::Database host = box.stranger();
    sqlite3* const db = host.getHandle();
    std::vector<detail::NewTask> tasks;
    for (const char* id : {"a", "b"}) {
        tasks.push_back({TaskId::from_text(id), "mail", "{}"});
        tasks.back().bounded = &box.mail;
    }
    box.fill(0, 2, "", "");
    backlite_test::execute(db, "BEGIN");
    CHECK_THROWS_AS(store::sqlite::add_within(db, "file", tasks, Ms{5000}, std::nullopt, {}), QueueFullError);
    CHECK(backlite_test::query(db, "SELECT count(*) FROM backlite_tasks") == "2");
    tasks.pop_back();
    store::sqlite::add_within(db, "file", tasks, Ms{5000}, std::nullopt, {});
    backlite_test::execute(db, "COMMIT");
    CHECK(box.triggers() == "0");
    CHECK(box.counted() == "3");
    CHECK_FALSE(box.add(1));  // from here on they are kept
    backlite_test::execute(db, "BEGIN");
    tasks.front().id = TaskId::from_text("c");
    CHECK_THROWS_AS(store::sqlite::add_within(db, "file", tasks, Ms{5000}, std::nullopt, {}), QueueFullError);
    box.mail.overflow = Overflow::drop_oldest;
    store::sqlite::add_within(db, "file", tasks, Ms{5000}, std::nullopt, {});
    backlite_test::execute(db, "COMMIT");
    CHECK(box.query("SELECT id FROM backlite_tasks ORDER BY id") == "a\nc\nrow-1");
    CHECK(sqlite3_next_stmt(db, nullptr) == nullptr);
}

TEST_CASE("Bounds: the oldest goes first, whatever its priority, and held tasks only after all others") {
    Box box(4, Overflow::drop_oldest);
    box.add(TaskRow{.id = "held", .created_at = 1, .hold = 2});
    box.add(TaskRow{.id = "high", .created_at = 20, .priority = 7});
    box.add(TaskRow{.id = "low", .created_at = 30, .priority = -7});
    box.add(TaskRow{.id = "scheduled", .created_at = 2, .wait_until = 90'000});
    REQUIRE(box.add(1));
    REQUIRE(box.add(1));
    REQUIRE(box.add(1, 0, Ms{99'000}));
    REQUIRE(box.add(3));
    std::string order;
    for (const DroppedTask& each : box.dropped) order += each.id.str() + " ";
    CHECK(order == "high low own-1 own-2 scheduled own-3 ");
    CHECK(box.query("SELECT id FROM backlite_tasks WHERE hold = 2") == "held");
    REQUIRE(box.add(4));
    CHECK(box.query("SELECT count(*) FROM backlite_tasks WHERE hold = 2") == "0");
    CHECK(box.counted() == "4");
}

TEST_CASE("Bounds: what a new bound finds too many is dropped a piece at a time, before the add") {
    Box box(10, Overflow::drop_oldest);
    box.fill(0, 1'200, "", "");
    int pieces = 0;
    while (!box.add(1)) {
        REQUIRE(box.more);
        REQUIRE(++pieces < 10);
    }
    CHECK(pieces == 2);
    CHECK(box.counted() == "10");
    CHECK(box.dropped.size() == 1'191);
}

TEST_CASE("Bounds: a queue that has only what cannot be dropped is full") {
    Box box(2, Overflow::drop_oldest);
    SQLite::Database other = box.stranger();
    backlite_test::loosen(other);
    box.add(TaskRow{});  // without an id, as plain SQL may leave it in Go's tables
    box.add(TaskRow{});
    CHECK_FALSE(box.add(1));
    CHECK(box.counted() == "2");
}

TEST_CASE("Bounds: an add costs the same beside ten tasks and a hundred thousand, full or not") {
    const auto measure = [](int rows, Overflow overflow, std::size_t bound) {
        Box box(bound, overflow);
        box.fill(0, rows, ", priority", ", i % 3");
        (void)box.add(1);  // prepares, makes the triggers, counts
        (void)box.add(1);
        return box.steps_of([&] { (void)box.add(1); });
    };
    for (const Overflow overflow : {Overflow::reject, Overflow::drop_oldest}) {
        CHECK(measure(10, overflow, 1'000'000) == measure(100'000, overflow, 1'000'000));
        const std::int64_t few = measure(10, overflow, 10);
        CHECK(few == measure(100'000, overflow, 100'000));
        CHECK(few < 500);
    }
}

TEST_CASE("Bounds: other queues pay a look for the triggers, and nothing where there are none") {
    const auto measure = [](bool bounded) {
        Box box(1'000);
        if (bounded) REQUIRE(box.add(1));
        int id = 0;
        const auto add = [&] {
            std::vector<detail::NewTask> tasks{{TaskId::from_text("p" + std::to_string(++id)), "print", "{}"}};
            box.write([&](Repository& to) { to.adds.insert(tasks, Ms{1}, std::nullopt); });
        };
        add();
        return box.steps_of(add);
    };
    CHECK(measure(true) - measure(false) < 30);
}

}  // namespace
