// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>
#include <backlite/store/sqlite/cycle.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/repository.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::Ms;
using store::CyclePlan;
using store::CycleResult;
using store::EndedAttempt;
using store::QueueHead;

constexpr Ms now{1'000'000};

/// One cycle of a client that registered the queue `mail`.
struct Shop : TestDatabase {
    CycleResult run() {
        CycleResult result;
        write([&](store::sqlite::Repository& all) {
            result = store::sqlite::run_cycle(all, outcomes, plan, heads, now);
        });
        return result;
    }

    /// The same with each part apart.
    CycleResult run_apart() {
        CycleResult result;
        store::sqlite::Isolation apart;
        write([&](store::sqlite::Repository& all) {
            result = store::sqlite::run_cycle(all, outcomes, plan, heads, now, &apart);
        });
        return result;
    }

    /// The host refuses one change of our tables: `refuse("DELETE ON backlite_tasks", "old.id = 'a'")`.
    void refuse(const std::string& change, const std::string& when) {
        execute("CREATE TRIGGER refusal BEFORE " + change + " WHEN " + when +
                " BEGIN SELECT RAISE(ABORT, 'the host says no'); END");
    }

    void finish(const std::string& id, std::int64_t claim) {
        EndedAttempt finished;
        finished.resolved.id = TaskId::from_text(id);
        finished.resolved.claim = claim;
        finished.resolved.resolution = detail::RowChange::complete;
        outcomes.push_back(std::move(finished));
    }

    std::vector<EndedAttempt> outcomes{};
    CyclePlan plan{};
    std::vector<QueueHead> heads{{.name = "mail", .max_crashes = 3, .due = Ms{}}};
};

TEST_CASE("CyclePlan: is empty until there is something to do") {
    CHECK(CyclePlan{}.empty());
    CHECK_FALSE(CyclePlan{.purge = true}.empty());
    CHECK_FALSE(CyclePlan{.lapse = true}.empty());
    CHECK_FALSE(CyclePlan{.mend = {Ms{}}}.empty());
    CHECK_FALSE(CyclePlan{.added = {{.queue = "mail", .added = 1}}}.empty());
    CHECK_FALSE(CyclePlan{.claim = {.limit = 1}}.empty());
    CHECK_FALSE(CyclePlan{.leases = {{TaskId::from_text("a"), 1}}}.empty());
}

TEST_CASE("run_cycle: without a plan it changes nothing and keeps the heads") {
    Shop shop;
    shop.add({.id = "a"});
    const CycleResult result = shop.run();
    CHECK(result.claimed.tasks.empty());
    REQUIRE(result.heads.size() == 1);
    CHECK(result.heads[0].due == Ms{});
    CHECK(shop.query("SELECT claimed_at FROM backlite_tasks") == "NULL");
}

TEST_CASE("run_cycle: counts the outcomes that it writes, and the adds that it is given") {
    Shop shop;
    shop.add({.id = "a", .claim = 1, .claimed_at = 5, .owner = 1});
    shop.add({.id = "b", .claim = 2, .claimed_at = 5, .owner = 9});
    shop.finish("b", 1);  // its claim was taken back
    shop.finish("a", 1);
    shop.plan.added = {{.minute = detail::Minute{}, .queue = "mail", .added = 5}};
    (void)shop.run();
    CHECK(shop.query("SELECT queue, added, started, succeeded, failed, retried FROM backlite_stats WHERE span = 1") ==
          "mail|5|1|1|0|0");
}

TEST_CASE("run_cycle: writes outcomes, and names those whose claim was taken back") {
    Shop shop;
    shop.add({.id = "a", .claim = 1, .claimed_at = 5, .owner = 1});
    shop.add({.id = "b", .claim = 2, .claimed_at = 5, .owner = 9});
    shop.finish("b", 1);
    shop.finish("a", 1);
    shop.finish("gone", 1);
    const CycleResult result = shop.run();
    CHECK(result.lost_outcomes == std::vector<std::size_t>{0, 2});
    CHECK(shop.query("SELECT id FROM backlite_tasks") == "b");
}

TEST_CASE("run_cycle: extends leases, and names those whose claim was taken back") {
    Shop shop;
    shop.add({.id = "a", .claim = 1, .claimed_at = 5, .owner = 1});
    shop.plan.leases = {{TaskId::from_text("gone"), 1}, {TaskId::from_text("a"), 1}};
    const CycleResult result = shop.run();
    CHECK(result.lost_leases == std::vector<std::size_t>{0});
    CHECK(shop.query("SELECT lease FROM backlite_tasks") == "1");
}

TEST_CASE("run_cycle: claims after it wrote, so that a task that goes back can be claimed at once") {
    Shop shop;
    shop.add({.id = "a", .claim = 1, .claimed_at = 5, .owner = 1});
    shop.finish("a", 1);
    shop.outcomes[0].resolved.resolution = detail::RowChange::release;
    shop.plan.claim = {.now = now, .owner = 1, .limit = 5, .beside = {5}, .max_payload = 100};
    const CycleResult result = shop.run();
    REQUIRE(result.claimed.tasks.size() == 1);
    CHECK(result.claimed.tasks[0].claim == 2);
    CHECK(result.heads[0].due == store::never);
}

TEST_CASE("run_cycle: purges a chunk of what has expired") {
    Shop shop;
    shop.execute(
        fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
                    "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at) "
                    "SELECT i, 1, 'mail', 1, {} FROM n",
                    store::sqlite::upkeep_chunk + 3, now.count()));
    shop.plan.purge = true;
    shop.plan.past = now;
    CHECK(shop.run().purged == store::sqlite::upkeep_chunk);
    CHECK(shop.run().purged == 3);
}

TEST_CASE("run_cycle: purges what is past beyond doubt, whatever the clock says") {
    Shop shop;
    shop.execute(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at) VALUES "
        "('a', 1, 'mail', 1, 500), ('b', 1, 'mail', 1, 501)");
    shop.plan.purge = true;
    shop.plan.past = Ms{500};
    CHECK(shop.run().purged == 1);
    CHECK(shop.query("SELECT id FROM backlite_tasks_completed") == "b");
}

TEST_CASE("run_cycle: claims without owner lapse that were taken by the time of the plan") {
    Shop shop;
    shop.add({.id = "old", .claimed_at = now - 600'000ms});
    shop.add({.id = "new", .claimed_at = now - 599'999ms});
    shop.plan.lapse = true;
    shop.plan.lapse_until = now - 600'000ms;
    CHECK(shop.run().lapsed == 1);
    CHECK(shop.query("SELECT id FROM backlite_tasks WHERE claimed_at IS NULL") == "old");
}

TEST_CASE("run_cycle: many claims without owner lapse piece by piece, and it says whether there are more") {
    Shop shop;
    for (int i = 0; i < 2 * store::sqlite::upkeep_chunk; ++i) shop.add({.id = fmt::to_string(i), .claimed_at = 1});
    shop.add({.id = "new", .claimed_at = now});
    shop.plan.lapse = true;
    shop.plan.lapse_until = now - 600'000ms;
    const CycleResult first = shop.run();
    CHECK(first.lapsed == store::sqlite::upkeep_chunk);
    CHECK(first.lapse_left);
    const CycleResult second = shop.run();
    CHECK(second.lapsed == store::sqlite::upkeep_chunk);
    CHECK_FALSE(second.lapse_left);
    CHECK(shop.query("SELECT id FROM backlite_tasks WHERE claimed_at IS NOT NULL") == "new");
}

TEST_CASE("run_cycle: a claim without owner that a clock ahead has dated counts as taken now") {
    Shop shop;
    shop.add({.id = "theirs", .claim = 1, .claimed_at = now + 5ms});
    shop.plan.mend = {Ms{}};
    CHECK(shop.run().mended == 1);
    CHECK(shop.query("SELECT claimed_at FROM backlite_tasks") == "1000000");
}

TEST_CASE("run_cycle: mends times of a wrong clock in its own queues, piece by piece, and says when it is done") {
    Shop shop;
    for (int i = 0; i < store::sqlite::upkeep_chunk + 1; ++i)
        shop.add({.id = fmt::to_string(i), .created_at = now + 5ms});
    shop.add({.id = "foreign", .queue = "print", .created_at = now + 5ms});
    shop.plan.mend = {Ms{}};
    CycleResult result = shop.run();
    CHECK(result.mended == store::sqlite::upkeep_chunk);
    REQUIRE(result.mend_next.size() == 1);
    CHECK(result.mend_next[0] != store::never);
    shop.plan.mend = result.mend_next;
    result = shop.run();
    CHECK(result.mended == 1);
    CHECK(result.mend_next == std::vector<Ms>{store::never});
    CHECK(shop.query("SELECT id FROM backlite_tasks WHERE due > 1000000") == "foreign");
}

TEST_CASE("run_cycle: an outcome that is refused fails the cycle, and apart it fails alone") {
    Shop shop;
    for (const char* id : {"a", "b", "c"}) {
        shop.add({.id = id, .claim = 1, .claimed_at = 5, .owner = 1});
        shop.finish(id, 1);
    }
    shop.add({.id = "d"});
    shop.plan.claim = {.now = now, .owner = 1, .limit = 5, .beside = {5}, .max_payload = 100};
    shop.refuse("DELETE ON backlite_tasks", "old.id = 'b'");
    CHECK_THROWS_AS(shop.run(), StorageError);
    const CycleResult result = shop.run_apart();
    REQUIRE(result.refused_outcomes.size() == 1);
    CHECK(result.refused_outcomes[0].index == 1);
    CHECK(std::string{result.refused_outcomes[0].error.what()}.find("the host says no") != std::string::npos);
    CHECK(result.lost_outcomes.empty());
    CHECK(result.claimed.tasks.size() == 1);
    CHECK(shop.query("SELECT id FROM backlite_tasks ORDER BY id") == "b\nd");
    CHECK(shop.query("SELECT succeeded FROM backlite_stats WHERE span = 1") == "2");
}

TEST_CASE("run_cycle: an outcome that a trigger ignores is refused, and leaves no row in both tables") {
    Shop shop;
    shop.add({.id = "a", .claim = 1, .claimed_at = 5, .owner = 1});
    shop.finish("a", 1);
    shop.outcomes[0].resolved.keep_row = true;
    shop.execute("CREATE TRIGGER refusal BEFORE DELETE ON backlite_tasks BEGIN SELECT RAISE(IGNORE); END");
    CHECK(shop.run_apart().refused_outcomes.size() == 1);
    CHECK(shop.query("SELECT count(*) FROM backlite_tasks_completed") == "0");
}

TEST_CASE("run_cycle: a task that is too large to be kept is kept without payload") {
    Shop shop;
    shop.add({.id = "a", .payload = std::string(950, 'x'), .claim = 1, .claimed_at = 5, .owner = 1});
    shop.finish("a", 1);
    detail::AttemptResult& outcome = shop.outcomes[0].resolved;
    outcome.resolution = detail::RowChange::fail;
    outcome.keep_row = outcome.keep_payload = true;
    outcome.error = std::string(200, 'e');
    sqlite3_limit(shop.connection.handle(), SQLITE_LIMIT_LENGTH, 1100);
    CHECK_THROWS_AS(shop.run(), StorageError);
    const CycleResult result = shop.run_apart();
    CHECK(result.refused_outcomes.empty());
    CHECK(result.without_payload == std::vector<std::size_t>{0});
    CHECK(shop.query("SELECT id, task, length(error) FROM backlite_tasks_completed") == "a|NULL|200");
    CHECK(shop.query("SELECT count(*) FROM backlite_tasks") == "0");
}

TEST_CASE("run_cycle: a failed attempt of a task that is too large with its error is written without the error") {
    Shop shop;
    shop.add({.id = "a", .payload = std::string(950, 'x'), .claim = 1, .claimed_at = 5, .owner = 1});
    shop.finish("a", 1);
    detail::AttemptResult& outcome = shop.outcomes[0].resolved;
    outcome.resolution = detail::RowChange::retry;
    outcome.spends_attempt = true;
    outcome.error = std::string(200, 'e');
    sqlite3_limit(shop.connection.handle(), SQLITE_LIMIT_LENGTH, 1100);
    CHECK(shop.run_apart().refused_outcomes.empty());
    CHECK(shop.query("SELECT id, attempts, length(error), claimed_at FROM backlite_tasks") == "a|1|0|NULL");
}

TEST_CASE("run_cycle: a lease that is refused leaves the others") {
    Shop shop;
    for (const char* id : {"a", "b"}) {
        shop.add({.id = id, .claim = 1, .claimed_at = 5, .owner = 1});
        shop.plan.leases.push_back({TaskId::from_text(id), 1});
    }
    shop.refuse("UPDATE ON backlite_tasks", "old.id = 'a'");
    const CycleResult result = shop.run_apart();
    REQUIRE(result.refused_leases.size() == 1);
    CHECK(result.refused_leases[0].index == 0);
    CHECK(result.lost_leases.empty());
    CHECK(shop.query("SELECT id, lease FROM backlite_tasks ORDER BY id") == "a|0\nb|1");
}

TEST_CASE("run_cycle: expired tasks that may not be deleted are passed over, and are left out of the next chunk") {
    Shop shop;
    shop.execute(
        fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
                    "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at) "
                    "SELECT i, 1, 'mail', 1, i FROM n",
                    store::sqlite::upkeep_chunk + 3));
    shop.refuse("DELETE ON backlite_tasks_completed", "old.id IN ('1', '7')");
    shop.plan.purge = true;
    shop.plan.past = now;
    CHECK_THROWS_AS(shop.run(), StorageError);
    CycleResult result = shop.run_apart();
    CHECK(result.refused_purge);
    CHECK(result.purged == store::sqlite::upkeep_chunk - 2);
    CHECK(result.purge_left == 2);
    shop.plan.purge_past = 2;
    result = shop.run_apart();
    CHECK(result.purged == 3);
    CHECK(result.purge_left == 0);
    CHECK(shop.query("SELECT group_concat(id) FROM backlite_tasks_completed") == "1,7");
}

TEST_CASE("run_cycle: a claim without owner that may not be taken back keeps no other") {
    Shop shop;
    shop.add({.id = "a", .claimed_at = 1});
    shop.add({.id = "b", .claimed_at = 2});
    shop.refuse("UPDATE ON backlite_tasks", "old.id = 'a'");
    shop.plan.lapse = true;
    shop.plan.lapse_until = now - 600'000ms;
    const CycleResult result = shop.run_apart();
    CHECK(result.refused_lapse);
    CHECK(result.lapsed == 1);
    CHECK(shop.query("SELECT id FROM backlite_tasks WHERE claimed_at IS NULL") == "b");
}

TEST_CASE("run_cycle: refused statistics leave the outcomes, and what is not to be counted is not") {
    Shop shop;
    shop.add({.id = "a", .claim = 1, .claimed_at = 5, .owner = 1});
    shop.finish("a", 1);
    shop.refuse("INSERT ON backlite_stats", "1");
    CHECK(shop.run_apart().refused_statistics);
    CHECK(shop.query("SELECT count(*) FROM backlite_tasks") == "0");
    shop.plan.count = false;
    shop.plan.added = {{.queue = "mail", .added = 1}};
    CHECK_FALSE(shop.run().refused_statistics);
}

TEST_CASE("run_cycle: may run again after a rollback, with the same result") {
    Shop shop;
    shop.add({.id = "a", .claim = 1, .claimed_at = 5, .owner = 1});
    shop.add({.id = "b"});
    shop.finish("a", 1);
    shop.plan.claim = {.now = now, .owner = 1, .limit = 5, .beside = {5}, .max_payload = 100};
    REQUIRE(shop.connection.try_begin());
    const CycleResult first = store::sqlite::run_cycle(shop.repository, shop.outcomes, shop.plan, shop.heads, now);
    shop.connection.rollback();
    const CycleResult second = shop.run();
    CHECK(first.claimed.tasks.size() == 1);
    REQUIRE(second.claimed.tasks.size() == 1);
    CHECK(second.claimed.tasks[0].claim == 1);
    CHECK(second.lost_outcomes.empty());
}

}  // namespace
