// SPDX-License-Identifier: MIT
// What the statements cost, in steps of SQLite's virtual machine: the same beside a thousand rows and beside a hundred
// thousand.
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/status_queries.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::Ms;
using store::QueueHead;
using store::sqlite::StatusQueries;

constexpr Ms now{1'000'000};
constexpr std::int64_t dead = 5;
constexpr std::int64_t living = 77;

/// The steps of each kind of work.
struct Steps {
    std::int64_t heads = 0;
    std::int64_t claim = 0;
    std::int64_t outcomes = 0;
    std::int64_t rescue = 0;
    std::int64_t lapse = 0;
    std::int64_t purge = 0;
    std::int64_t status = 0;
};

/// A file with ten due tasks, five claims of a dead client, a lapsed claim without owner, ten expired tasks; and
/// whatever is put beside them.
class Shop : public TestDatabase {
public:
    Shop() {
        fill(0, 10,
             "INSERT INTO backlite_tasks (id, created_at, queue, task) SELECT 'due-' || i, 500000 + i, 'mail', ");
        fill(0, 5,
             "INSERT INTO backlite_tasks (id, claimed_at, owner, claim, created_at, queue, task) "
             "SELECT 'dead-' || i, 600000, 5, 1, 600000, 'mail', ");
        fill(0, 1,
             "INSERT INTO backlite_tasks (id, claimed_at, created_at, queue, task) "
             "SELECT 'ownerless-' || i, 1, 600000, 'mail', ");
        fill(0, 10,
             "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at, task) "
             "SELECT 'expired-' || i, 1, 'mail', 1, 10 + i, ");
    }

    /// Runs `insert`, which ends before the payload, for each number i in [from, to).
    void fill(int from, int to, const std::string& insert) {
        execute(
            fmt::format("BEGIN; WITH RECURSIVE n(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM n WHERE i < {}) {} "
                        "x'7b7d' FROM n; COMMIT",
                        from, to - 1, insert));
    }

    /// Does all the work in a transaction that leaves no trace.
    Steps measure() {
        Steps steps;
        std::array<QueueHead, 3> heads{{{.name = "letters"}, {.name = "mail"}, {.name = "notes"}}};
        store::ClaimResult claimed;
        REQUIRE(connection.try_begin());
        steps.heads = steps_of([&] { repository.claims.read_heads(heads); });
        steps.claim = steps_of([&] {
            claimed = repository.claims.claim({.now = now, .owner = 1, .limit = 8, .beside = {8}, .max_payload = 1000},
                                              heads);
        });
        REQUIRE(claimed.tasks.size() == 8);
        REQUIRE(claimed.tasks[0].id.str().starts_with("due-"));
        steps.outcomes = steps_of([&] {
            for (const detail::ClaimedTask& task : claimed.tasks) {
                REQUIRE(repository.transitions.write(
                    {.id = task.id, .claim = task.claim, .resolution = detail::RowChange::complete, .keep_row = true}));
            }
        });
        steps.rescue = steps_of([&] {
            (void)repository.upkeep.owners();
            REQUIRE(repository.upkeep.claim_holders().front() == dead);
            for (const store::sqlite::ForeignClaim& claim : repository.upkeep.claims_of(dead)) {
                repository.transitions.count_crash(claim);
            }
            REQUIRE(repository.transitions.release_all(dead) == 5);
        });
        steps.lapse = steps_of([&] {
            REQUIRE(repository.upkeep.oldest_ownerless() == Ms{1});
            REQUIRE(repository.transitions.release_ownerless(Ms{2}, 10) == 1);
        });
        steps.purge = steps_of([&] {
            REQUIRE(repository.upkeep.next_expiry() == Ms{10});
            REQUIRE(repository.upkeep.purge(now, 10) == 10);
        });
        connection.rollback();
        StatusQueries reads(connection.handle());
        steps.status = steps_of([&] {
            REQUIRE(reads.status(TaskId::from_text("due-3")) == TaskStatus::pending);
            REQUIRE(reads.status(TaskId::from_text("dead-3")) == TaskStatus::running);
            REQUIRE(reads.status(TaskId::from_text("expired-3")) == TaskStatus::succeeded);
            REQUIRE(reads.status(TaskId::from_text("nobody")) == TaskStatus::not_found);
        });
        return steps;
    }

    /// Looks at the file, and claims two batches of four, in a transaction that leaves no trace.
    std::int64_t measure_batches() {
        std::array<QueueHead, 1> heads{{{.name = "mail"}}};
        heads[0].batch = 4;
        heads[0].batch_wait = Duration{50};
        store::ClaimResult claimed;
        REQUIRE(connection.try_begin());
        const std::int64_t steps = steps_of([&] {
            repository.claims.read_heads(heads);
            claimed = repository.claims.claim({.now = now, .owner = 1, .limit = 2, .beside = {2}, .max_payload = 1000},
                                              heads);
        });
        REQUIRE(claimed.tasks.size() == 2);
        REQUIRE(claimed.tasks[1].others.size() == 3);
        REQUIRE(claimed.tasks[1].others[2].id.str() == "due-7");
        connection.rollback();
        return steps;
    }

    /// Claims one of the tasks that may crash only once more, and the batch behind all of them.
    std::int64_t measure_suspects() {
        std::array<QueueHead, 1> heads{{{.name = "mail", .max_crashes = 2}}};
        heads[0].batch = 10;
        store::ClaimResult claimed;
        REQUIRE(connection.try_begin());
        const std::int64_t steps = steps_of([&] {
            repository.claims.read_heads(heads);
            claimed = repository.claims.claim({.now = now, .owner = 1, .limit = 2, .beside = {2}, .max_payload = 1000},
                                              heads);
        });
        REQUIRE(claimed.tasks.size() == 2);
        REQUIRE(claimed.tasks[0].id.str() == "suspect-0");
        REQUIRE(claimed.tasks[1].others.size() == 9);
        connection.rollback();
        return steps;
    }

private:
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
};

/// Measures beside 1,000 rows of `insert` and beside 100,000, and compares.
void check_flat(const std::string& insert, std::string_view afterwards = "") {
    Shop shop;
    (void)shop.measure();  // prepares the statements
    shop.fill(0, 1000, insert);
    if (!afterwards.empty()) shop.execute(std::string{afterwards});
    const Steps few = shop.measure();
    shop.fill(1000, 100'000, insert);
    if (!afterwards.empty()) shop.execute(std::string{afterwards});
    const Steps many = shop.measure();
    REQUIRE(few.claim > 0);
    CHECK(many.heads == few.heads);
    CHECK(many.claim == few.claim);
    CHECK(many.outcomes == few.outcomes);
    CHECK(many.rescue == few.rescue);
    CHECK(many.lapse == few.lapse);
    CHECK(many.purge == few.purge);
    CHECK(many.status == few.status);
}

constexpr const char* unregistered_due =
    "INSERT INTO backlite_tasks (id, created_at, queue, task) SELECT 'beside-' || i, i, 'lost', ";

TEST_CASE("Repository: tasks of the same queue that are due later cost nothing") {
    check_flat(
        "INSERT INTO backlite_tasks (id, created_at, queue, wait_until, task) "
        "SELECT 'beside-' || i, 500000, 'mail', 9000000 + i, ");
}

TEST_CASE("Repository: tasks of the same queue that are due after those claimed cost nothing") {
    check_flat("INSERT INTO backlite_tasks (id, created_at, queue, task) SELECT 'beside-' || i, 700000, 'mail', ");
}

TEST_CASE("Repository: older due tasks of lower priority cost nothing") {
    check_flat(
        "INSERT INTO backlite_tasks (id, created_at, queue, priority, task) "
        "SELECT 'beside-' || i, i, 'mail', -1, ");
}

TEST_CASE("Repository: tasks of higher priority that are due later cost nothing") {
    check_flat(
        "INSERT INTO backlite_tasks (id, created_at, queue, wait_until, priority, task) "
        "SELECT 'beside-' || i, 500000, 'mail', 9000000 + i, 1, ");
}

TEST_CASE("Repository: whatever waits behind a batch costs it nothing") {
    const std::string behind =
        "INSERT INTO backlite_tasks (id, created_at, queue, task) SELECT 'behind-' || i, 500100 + i / 1000, 'mail', ";
    const std::string later =
        "INSERT INTO backlite_tasks (id, created_at, wait_until, queue, task) "
        "SELECT 'later-' || i, 500100, 9000000 + i, 'mail', ";
    Shop shop;
    (void)shop.measure_batches();  // prepares the statements
    shop.fill(0, 1000, behind);
    shop.fill(0, 1000, later);
    const std::int64_t few = shop.measure_batches();
    shop.fill(1000, 20'000, behind);
    shop.fill(1000, 20'000, later);
    CHECK(shop.measure_batches() == few);
}

TEST_CASE("Repository: what the tasks of a batch cost that wait for each other after a death grows with their number") {
    const std::string suspects =
        "INSERT INTO backlite_tasks (id, created_at, queue, crashes, task) SELECT 'suspect-' || i, 400000 + i, 'mail', "
        "1, ";
    Shop shop;
    shop.fill(0, 250, suspects);
    (void)shop.measure_suspects();  // prepares the statements
    const std::int64_t few = shop.measure_suspects();
    shop.fill(250, 1000, suspects);
    CHECK(shop.measure_suspects() < 8 * few);  // by the square of it: 16
}

TEST_CASE("Repository: older due tasks of the same and of higher priority that are held cost nothing") {
    check_flat(
        "INSERT INTO backlite_tasks (id, created_at, queue, priority, hold, task) "
        "SELECT 'beside-' || i, i, 'mail', i % 3, 1 + i % 300, ");
}

TEST_CASE("Repository: older due tasks of a queue that is not registered cost nothing") {
    check_flat(unregistered_due);
}

TEST_CASE("Repository: older due tasks of as many queues that are not registered cost nothing") {
    check_flat("INSERT INTO backlite_tasks (id, created_at, queue, task) SELECT 'beside-' || i, i, 'lost-' || i, ");
}

TEST_CASE("Repository: claims of a living client cost nothing") {
    check_flat(
        fmt::format("INSERT INTO backlite_tasks (id, created_at, queue, claimed_at, owner, claim, task) "
                    "SELECT 'beside-' || i, i, 'mail', 5, {}, 1, ",
                    living));
}

TEST_CASE("Repository: claims without owner that have not lapsed cost nothing") {
    check_flat(
        "INSERT INTO backlite_tasks (id, created_at, queue, claimed_at, task) "
        "SELECT 'beside-' || i, i, 'mail', 900000 + i, ");
}

TEST_CASE("Repository: finished tasks that are kept cost nothing") {
    check_flat(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at, task) "
        "SELECT 'beside-' || i, i, 'mail', 1, 9000000 + i, ");
}

TEST_CASE("Repository: finished tasks that are kept for ever cost nothing") {
    check_flat(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, task) "
        "SELECT 'beside-' || i, i, 'mail', 1, ");
}

TEST_CASE("Repository: finished tasks that have expired wait for their chunk of the purge at no cost") {
    check_flat(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at, task) "
        "SELECT 'beside-' || i, i, 'mail', 1, 1000 + i, ");
}

TEST_CASE("Repository: a host that lets SQLite gather statistics does not make it dearer") {
    check_flat(unregistered_due, "ANALYZE");
}

}  // namespace
