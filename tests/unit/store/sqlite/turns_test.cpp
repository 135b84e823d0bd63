// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/config.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/settle.hpp>
#include <backlite/store/sqlite/turns.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::Ms;
using store::never;
using store::QueueHead;
using store::sqlite::Repository;

/// A queue whose partitions have limits, and a client of it.
struct Dock : TestDatabase {
    explicit Dock(Limits its = {.in_order = true}) : limits(its) {}

    /// At `now`, which then goes on by a millisecond.
    void add(const std::string& id, const std::string& partition, int priority = 0,
             std::optional<Duration> wait = std::nullopt) {
        detail::NewTask task{.id = TaskId::from_text(id), .queue = "dock", .payload = "{}", .priority = priority};
        task.partition = std::make_shared<detail::PartitionAdd>();
        task.partition->name = partition;
        task.partition->turns = limits.turns();
        task.partition->in_order = limits.in_order;
        task.partition->rate = limits.rate_per_partition.any();
        write([&](Repository& all) {
            all.adds.insert({&task, 1}, now, wait ? std::optional{now + *wait} : std::nullopt);
        });
        now = now + 1ms;
    }

    /// What one cycle claims: opens what is to be opened, and claims.
    std::string claim(std::size_t limit = 10) {
        std::string text;
        write([&](Repository& all) {
            std::vector<QueueHead> heads{{.name = "dock", .due = Ms{}, .limits = limits}};
            heads[0].partition_opens = all.ends.turns().next_opening("dock");
            if (heads[0].partition_opens <= now) all.ends.open_partitions(heads[0], now, ageing);
            heads[0].partition_opens = all.ends.turns().next_opening("dock");
            const store::ClaimRequest request{
                .now = now, .ageing = ageing, .owner = 1, .limit = limit, .beside = {limit}, .max_payload = 1000};
            for (const detail::ClaimedTask& task : all.claims.claim(request, heads).tasks) {
                text += (text.empty() ? "" : " ") + task.id.str();
            }
            opens = heads[0].partition_opens;
            due = heads[0].due;
        });
        return text;
    }

    void settle(const std::string& id, detail::RowChange change, Duration wait = 0s) {
        write([&](Repository& all) {
            detail::AttemptResult outcome{.id = TaskId::from_text(id), .claim = claim_of(id), .resolution = change};
            outcome.wait_until = now + wait;
            if (store::sqlite::settle(all.transitions, all.cancels, outcome) != store::sqlite::Settled::as_asked) {
                FAIL("not settled");
            }
        });
    }
    void finish(const std::string& id) { settle(id, detail::RowChange::complete); }

    [[nodiscard]] std::int64_t claim_of(const std::string& id) {
        return std::stoll(query(("SELECT claim FROM backlite_tasks WHERE id = '" + id + "'").c_str()));
    }

    /// "a b: c d": who has a turn, and who is held back.
    std::string turns() {
        return query("SELECT ifnull((SELECT group_concat(task, ' ') FROM backlite_turns), '')") + ": " +
               query(
                   "SELECT ifnull((SELECT group_concat(id, ' ') FROM (SELECT id FROM backlite_tasks WHERE hold = 1 "
                   "ORDER BY rowid)), '')");
    }

    bool mend() {
        bool left = false;
        write(
            [&](Repository& all) { left = all.ends.mend_partitions({.name = "dock", .limits = limits}, now, ageing); });
        return left;
    }

    Limits limits;
    Ms now{100'000};
    Ms opens = never;
    Ms due{};
    Duration ageing = 60s;
};

TEST_CASE_METHOD(Dock, "Turns: in order one task of a partition runs at a time, by age, whatever its priority") {
    add("a", "x");
    add("b", "x", 9);
    add("c", "x");
    add("d", "y");
    CHECK(turns() == "a d: b c");
    CHECK(claim() == "a d");
    CHECK(claim().empty());
    finish("a");
    CHECK(turns() == "b d: c");
    CHECK(claim() == "b");
    finish("b");
    finish("d");
    CHECK(claim() == "c");
    finish("c");
    CHECK(turns() == ": ");
}

TEST_CASE_METHOD(Dock, "Turns: in order a retry, a snooze, a give-back and a rescue keep the turn") {
    add("a", "x");
    add("b", "x");
    CHECK(claim() == "a");
    for (const auto change : {detail::RowChange::retry, detail::RowChange::snooze}) {
        settle("a", change, 1s);
        CHECK(claim().empty());
        now = now + 1s;
        CHECK(claim() == "a");
    }
    settle("a", detail::RowChange::release);
    CHECK(claim() == "a");
    write([](Repository& all) { all.transitions.release_all(1); });
    CHECK(claim() == "a");
    CHECK(turns() == "a: b");
    settle("a", detail::RowChange::fail);
    CHECK(claim() == "b");
}

TEST_CASE_METHOD(Dock, "Turns: in order a cancel and an expiry pass the turn on") {
    add("a", "x");
    add("b", "x");
    add("c", "x");
    write([&](Repository& all) {
        const auto nothing = [](std::string_view) { return store::KeepRule{}; };
        CHECK(all.cancels.cancel({TaskId::from_text("a"), now, nothing}) == CancelResult::cancelled);
    });
    CHECK(turns() == "b: c");
    write([&](Repository& all) { all.cancels.expire("b", now, {}); });
    CHECK(turns() == "c: ");
    CHECK(claim() == "c");
}

TEST_CASE_METHOD(Dock, "Turns: in order a task with a time joins when it is due, before those that were added later") {
    add("later", "x", 0, 1s);
    CHECK(turns() == ": ");
    now = now + 1s;
    add("new", "x");  // takes the turn, for nobody has looked at the other yet
    CHECK(turns() == "new: ");
    CHECK(claim() == "later");
    CHECK(turns() == "later: new");
    finish("later");
    CHECK(claim() == "new");
}

TEST_CASE_METHOD(Dock, "Turns: in order a task that ran before keeps its turn from those that became due earlier") {
    add("a", "x");
    CHECK(claim() == "a");
    settle("a", detail::RowChange::retry, 1h);
    add("b", "x", 0, 1s);
    now = now + 1s;
    CHECK(claim().empty());
    CHECK(turns() == "a: b");
    now = now + 1h;
    CHECK(claim() == "a");
}

TEST_CASE("Turns: a partition runs as many as its limit says, the higher priority first") {
    Dock dock({.running_per_partition = 2});
    dock.add("a", "x");
    dock.add("b", "x");
    dock.add("c", "x");
    dock.add("d", "x", 5);
    dock.add("e", "y");
    CHECK(dock.claim() == "d a e");  // b has lost its turn to the one of the higher priority
    CHECK(dock.turns() == "a d e: b c");
    dock.settle("d", detail::RowChange::retry, 1h);  // without order others go on meanwhile
    CHECK(dock.claim() == "b");
    dock.finish("a");
    CHECK(dock.claim() == "c");
    dock.now = dock.now + 1h;
    CHECK(dock.claim().empty());
    dock.finish("b");
    CHECK(dock.claim() == "d");
}

TEST_CASE_METHOD(Dock, "Turns: rows of Go and plain SQL are of partition \"\", and claims hold them to its limit") {
    execute(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('a', 1, 'dock', x'7b7d'), "
        "('b', 2, 'dock', x'7b7d'), ('c', 3, 'dock', x'7b7d')");
    add("d", "");
    CHECK(claim() == "a");
    CHECK(turns() == "a: b c d");
    finish("a");
    CHECK(claim() == "b");
    finish("b");
    finish(claim());
    CHECK(claim() == "d");
}

TEST_CASE_METHOD(Dock, "Turns: what others delete leaves no partition behind without a runner") {
    add("a", "x");
    add("b", "x");
    add("c", "x");
    execute("DELETE FROM backlite_tasks WHERE id = 'a'");
    CHECK(claim().empty());
    CHECK_FALSE(mend());
    CHECK(turns() == "b: c");
    CHECK(claim() == "b");
    execute("DELETE FROM backlite_turns");  // whoever does that
    CHECK_FALSE(mend());
    CHECK(turns() == "c: ");
    finish("b");
    CHECK(claim() == "c");
}

TEST_CASE_METHOD(Dock, "Turns: a turn of a task that is gone goes to the next that a claim finds") {
    add("a", "x");
    add("b", "x", 0, 1s);
    execute("DELETE FROM backlite_tasks WHERE id = 'a'");
    now = now + 1s;
    CHECK(claim() == "b");
    CHECK(turns() == "b: ");
}

TEST_CASE_METHOD(Dock, "Turns: many partitions are looked through piece by piece") {
    for (int i = 0; i < 450; ++i) {
        add("first-" + std::to_string(i), std::to_string(i));
        add("second-" + std::to_string(i), std::to_string(i));
    }
    execute("DELETE FROM backlite_tasks WHERE id LIKE 'first%'");
    int pieces = 1;
    while (mend()) ++pieces;
    CHECK(pieces >= 3);
    CHECK(pieces <= 6);
    CHECK(query("SELECT count(*) FROM backlite_turns") == "450");
    CHECK(query("SELECT count(*) FROM backlite_tasks WHERE hold <> 0") == "0");
}

TEST_CASE("Turns: limits that are stored come before those of the program, also when a task is added") {
    Dock dock({.running_per_partition = 1});
    dock.write([](Repository& all) { all.rules.set_limits("dock", Limits{.running_per_partition = 2}); });
    dock.add("a", "x");
    dock.add("b", "x");
    dock.add("c", "x");
    CHECK(dock.turns() == "a b: c");
    dock.write([](Repository& all) { all.rules.set_limits("dock", Limits{}); });
    dock.add("d", "x");
    CHECK(dock.turns() == "a b: c");
}

TEST_CASE("Turns: a limit that is lowered holds for what waits, one that is raised frees more") {
    Dock dock({.running_per_partition = 3});
    for (const char* id : {"a", "b", "c", "d", "e"}) dock.add(id, "x");
    dock.limits.running_per_partition = 1;
    CHECK(dock.claim() == "a");
    CHECK(dock.turns() == "a: b c d e");
    dock.limits.running_per_partition = 3;
    CHECK_FALSE(dock.mend());
    CHECK(dock.claim() == "b c");
    dock.limits.running_per_partition = 1;
    dock.finish("b");
    CHECK(dock.claim().empty());
    dock.limits = {};
    CHECK_FALSE(dock.mend());
    CHECK(dock.claim() == "d e");
}

TEST_CASE("Turns: the rate of a partition starts its burst, and the next ones at their times") {
    Dock dock({.rate_per_partition = {.count = 2, .period = 1s}});
    for (const char* id : {"a", "b", "c", "d", "e"}) dock.add(id, "x");
    dock.add("y", "y");
    CHECK(dock.claim() == "a b y");
    CHECK(dock.turns() == ": c d e");
    const Ms first = dock.now;
    CHECK(dock.opens == first + 500ms);
    for (const char* id : {"a", "b"}) dock.finish(id);
    CHECK(dock.claim().empty());
    dock.add("f", "x");  // held at once: a claim need not look at it
    CHECK(dock.turns() == ": c d e f");
    dock.now = first + 499ms;
    CHECK(dock.claim().empty());
    dock.now = first + 500ms;
    CHECK(dock.claim() == "c");
    dock.now = first + 1500ms;
    CHECK(dock.claim() == "d e");
    dock.now = first + 1900ms;
    CHECK(dock.claim().empty());
    dock.now = first + 2000ms;
    CHECK(dock.claim() == "f");
    dock.now = first + 1min;
    CHECK(dock.claim().empty());
    CHECK_FALSE(dock.mend());
    CHECK(dock.query("SELECT count(*) FROM backlite_partitions") == "0");  // as good as unused
}

TEST_CASE("Turns: who was freed by a rate and ends before it starts leaves the others their chance") {
    Dock dock({.rate_per_partition = {.count = 1, .period = 1s}});
    for (const char* id : {"a", "b", "c"}) dock.add(id, "x");
    CHECK(dock.claim() == "a");
    dock.now = dock.now + 1s;
    CHECK(dock.claim(0).empty());  // opens, and claims none
    CHECK(dock.turns() == ": c");
    dock.execute("DELETE FROM backlite_tasks WHERE id = 'b'");
    dock.now = dock.now + 1s;
    CHECK(dock.claim() == "c");
}

TEST_CASE("Turns: a partition in order with a rate keeps both") {
    Dock dock({.in_order = true, .rate_per_partition = {.count = 1, .period = 1s}});
    for (const char* id : {"a", "b", "c"}) dock.add(id, "x");
    CHECK(dock.claim() == "a");
    dock.settle("a", detail::RowChange::retry);
    CHECK(dock.claim().empty());
    CHECK(dock.turns() == "a: a b c");
    dock.now = dock.now + 1s;
    CHECK(dock.claim() == "a");
    dock.now = dock.now + 1s;
    CHECK(dock.claim().empty());
    dock.finish("a");
    CHECK(dock.claim() == "b");
    dock.finish("b");
    CHECK(dock.claim().empty());
    dock.now = dock.now + 1s;
    CHECK(dock.claim() == "c");
}

TEST_CASE("Turns: a partition that was closed starts nothing until it opens, others do") {
    Dock dock{Limits{}};
    dock.add("a", "x");
    dock.add("b", "x");
    dock.add("c", "y");
    dock.write([&](Repository& all) { all.ends.turns().close("dock", "x", dock.now, 1min); });
    CHECK(dock.claim() == "c");
    CHECK(dock.opens == dock.now + 1min);
    dock.now = dock.now + 59s;
    CHECK(dock.claim().empty());
    dock.now = dock.now + 1s;
    CHECK(dock.claim() == "a b");
    CHECK(dock.opens == never);
}

TEST_CASE("Turns: what waits for a time is freed by a look when the clock was set back") {
    Dock dock({.rate_per_partition = {.count = 1, .period = 1s}});
    dock.add("a", "x");
    dock.add("b", "x");
    CHECK(dock.claim() == "a");
    CHECK(dock.claim().empty());
    dock.now = dock.now - 1min;
    dock.execute("UPDATE backlite_tasks SET created_at = 1");
    CHECK_FALSE(dock.mend());
    CHECK(dock.claim() == "b");
}

TEST_CASE_METHOD(Dock, "Turns: a claim costs the same beside a hundred tasks and ten thousand behind a jam") {
    add("jam", "x");
    CHECK(claim() == "jam");
    settle("jam", detail::RowChange::retry, 24h);
    const auto fill = [this](int from, int to) {
        execute(fmt::format("WITH RECURSIVE n(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
                            "INSERT INTO backlite_tasks (id, created_at, queue, task, partition, hold, flags) "
                            "SELECT 'held-' || i, 1, 'dock', x'7b7d', 'x', 1, 8 FROM n",
                            from, to)
                    .c_str());
    };
    static int steps = 0;
    const auto cost = [&](const std::string& id) {
        add(id, "y");
        steps = 0;
        sqlite3_progress_handler(
            repository.db, 1, [](void*) { return ++steps, 0; }, nullptr);
        CHECK(claim() == id);
        finish(id);
        sqlite3_progress_handler(repository.db, 0, nullptr, nullptr);
        return steps;
    };
    static_cast<void>(cost("warm"));
    fill(1, 100);
    const int few = cost("one");
    fill(101, 10'000);
    const int many = cost("two");
    INFO("VM steps: " << few << " and " << many);
    CHECK(many == few);
}

}  // namespace
