// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/id.hpp>
#include <backlite/platform/process.hpp>
#include <backlite/store/sqlite/history.hpp>
#include <backlite/store/sqlite/settle.hpp>
#include <backlite/store/store.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::TestDatabase;
using detail::AttemptResult;
using detail::Ms;
using detail::RowChange;
using detail::Us;

struct Log : TestDatabase {
    Log() { add({.id = "a", .claim = 1, .claimed_at = Ms{2'000}, .owner = 7}); }

    bool end(RowChange resolution, int attempt, std::int64_t claim, bool keep = true) {
        bool written = false;
        write([&](auto& all) {
            written = all.transitions.write({.id = TaskId::from_text("a"),
                                             .claim = claim,
                                             .resolution = resolution,
                                             .spends_attempt = true,
                                             .keep_row = keep,
                                             .executed_at = Ms{3'000 + claim},
                                             .duration = Us{500},
                                             .wait_until = Ms{9'000},
                                             .error = resolution == RowChange::complete ? "" : "no",
                                             .attempt = attempt});
        });
        return written;
    }

    void claim(std::int64_t number) {
        execute("UPDATE backlite_tasks SET claimed_at = 2000, owner = 7, claim = " + std::to_string(number));
    }

    std::string attempts() {
        return query("SELECT task, claim, number, started_at, duration_us, outcome, error FROM backlite_attempts");
    }

    const std::string here = fmt::format("{}|{}", platform::host_name(), platform::own_pid());
};

TEST_CASE("History: a failed attempt that another follows is written down, and the last one stands in the kept row") {
    Log log;
    CHECK(log.end(RowChange::retry, 1, 1));
    CHECK(log.attempts() == "a|1|1|3001|500|1|no");
    CHECK(log.query("SELECT host, pid FROM backlite_attempts") == log.here);
    CHECK(log.query("SELECT flags FROM backlite_tasks") == "4");
    log.claim(2);
    CHECK(log.end(RowChange::fail, 2, 2));
    CHECK(log.attempts() == "a|1|1|3001|500|1|no");
    CHECK(log.query("SELECT attempts, error, host, pid FROM backlite_tasks_completed") == "2|no|" + log.here);
}

TEST_CASE("History: neither a snooze nor a give-back, an end or an outcome that is lost writes any") {
    Log log;
    const RowChange resolution =
        GENERATE(RowChange::snooze, RowChange::release, RowChange::complete, RowChange::fail, RowChange::retry);
    const bool lost = resolution == RowChange::retry;
    CHECK(log.end(resolution, 1, lost ? 2 : 1) == !lost);
    CHECK(log.attempts().empty());
    if (log.query("SELECT count(*) FROM backlite_tasks") == "1") {
        CHECK(log.query("SELECT flags FROM backlite_tasks") == "0");
    }
}

TEST_CASE("History: of each task the last attempts are kept, and those of others stay") {
    Log log;
    log.execute("INSERT INTO backlite_attempts VALUES ('b', 1, 1, 1, 1, 1, NULL, NULL, NULL)");
    constexpr int all = store::sqlite::History::most + 3;
    for (int i = 1; i <= all; ++i) {
        log.claim(i);
        CHECK(log.end(RowChange::retry, i, i));
    }
    CHECK(log.query("SELECT count(*), min(number), max(number) FROM backlite_attempts WHERE task = 'a'") ==
          fmt::format("{}|4|{}", all - 3, all));
    CHECK(log.query("SELECT count(*) FROM backlite_attempts WHERE task = 'b'") == "1");
}

TEST_CASE("History: goes with a task that is not kept") {
    Log log;
    CHECK(log.end(RowChange::retry, 1, 1));
    log.claim(2);
    CHECK(log.end(RowChange::complete, 2, 2, false));
    CHECK(log.attempts().empty());
}

TEST_CASE("History: a row that is there already is written over") {
    Log log;
    log.execute("INSERT INTO backlite_attempts VALUES ('a', 1, 9, 9, 9, 9, 'old', 'there', 1)");
    CHECK(log.end(RowChange::retry, 1, 1));
    CHECK(log.attempts() == "a|1|1|3001|500|1|no");
    CHECK(log.query("SELECT host, pid FROM backlite_attempts") == log.here);
}

TEST_CASE("History: a task that never ran names no process, nor does one that takes the place of an old kept row") {
    Log log;
    log.execute(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, host, pid) "
        "VALUES ('a', 1, 'mail', 1, 'there', 1)");
    SECTION("it expired in memory") { CHECK(log.end(RowChange::fail, 0, 1)); }
    SECTION("it was cancelled while it waited") {
        log.execute("UPDATE backlite_tasks SET claimed_at = NULL");
        const TaskId id = TaskId::from_text("a");
        log.write([&](auto& all) {
            (void)all.cancels.cancel(
                {.id = id, .now = Ms{1}, .keep = [](std::string_view) { return store::KeepRule{.row = true}; }});
        });
    }
    CHECK(log.query("SELECT host, pid FROM backlite_tasks_completed") == "NULL|NULL");
}

TEST_CASE("History: an attempt that ended its task as cancelled names its process") {
    Log log;
    const TaskId id = TaskId::from_text("a");
    log.write([&](auto& all) {
        (void)all.cancels.cancel(
            {.id = id, .now = Ms{1}, .keep = [](std::string_view) { return store::KeepRule{.row = true}; }});
        CHECK(store::sqlite::settle(
                  all.transitions, all.cancels,
                  {.id = id, .claim = 1, .resolution = RowChange::retry, .executed_at = Ms{3'000}, .attempt = 1}) ==
              store::sqlite::Settled::cancelled);
    });
    CHECK(log.query("SELECT host, pid FROM backlite_tasks_completed") == log.here);
    CHECK(log.attempts().empty());
}

}  // namespace
