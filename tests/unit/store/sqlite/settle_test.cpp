// SPDX-License-Identifier: MIT
#include <chrono>
#include <optional>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/sqlite/cancels.hpp>
#include <backlite/store/sqlite/settle.hpp>
#include <backlite/store/store.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::AttemptResult;
using detail::Ms;
using detail::RowChange;
using store::sqlite::Settled;

/// A claimed task, and a connection of the host's with a temporary table of our name and a transaction of its own.
struct Host : TestDatabase {
    Host() {
        add({.id = "a", .attempts = 1, .claim = 3, .claimed_at = Ms{2'000}, .owner = 7});
        database.exec("CREATE TEMP TABLE backlite_tasks (id text, claim integer, claimed_at integer)");
        database.exec("CREATE TABLE effects (what text)");
        database.exec("BEGIN IMMEDIATE; INSERT INTO effects VALUES ('done')");
    }

    [[nodiscard]] AttemptResult outcome(RowChange resolution) const {
        return {.id = TaskId::from_text("a"),
                .claim = claim,
                .resolution = resolution,
                .spends_attempt = resolution != RowChange::release,
                .keep_row = true,
                .executed_at = Ms{3'000},
                .duration = detail::Us{500},
                .wait_until = Ms{9'000},
                .error = resolution == RowChange::complete ? "" : "no"};
    }

    Settled settle(RowChange resolution) {
        return store::sqlite::settle_within(database.getHandle(), "mail", Ms{1'000}, outcome(resolution));
    }

    void cancel() {
        const TaskId id = TaskId::from_text("a");
        store::sqlite::Ends ends(database.getHandle());
        store::sqlite::Cancels cancels(database.getHandle(), ends);
        CHECK(cancels.cancel({.id = id, .now = Ms{2'500}, .keep = [](std::string_view queue) {
                                  CHECK(queue == "mail");
                                  return store::KeepRule{.row = true, .payload = true, .time = 1s};
                              }}) == CancelResult::requested);
    }

    SQLite::Database database = stranger();
    std::int64_t claim = 3;
};

TEST_CASE("settle: on a host's connection effect and outcome are committed together, or not at all") {
    Host host;
    const bool commits = GENERATE(true, false);
    CHECK(host.settle(RowChange::complete) == Settled::as_asked);
    host.database.exec(commits ? "COMMIT" : "ROLLBACK");
    CHECK(host.query("SELECT count(*) FROM effects") == (commits ? "1" : "0"));
    CHECK(host.query("SELECT count(*) FROM backlite_tasks") == (commits ? "0" : "1"));
    CHECK(host.query("SELECT id, attempts, succeeded, last_duration_micro FROM backlite_tasks_completed") ==
          (commits ? "a|2|1|500" : ""));
    CHECK(host.query("SELECT sum(succeeded) FROM backlite_stats WHERE span = 1") == (commits ? "1" : "NULL"));
}

TEST_CASE("settle: a claim that is not held any more changes nothing, and is not counted") {
    Host host;
    host.claim = 2;
    for (const RowChange change : {RowChange::complete, RowChange::fail, RowChange::retry, RowChange::release}) {
        CHECK(host.settle(change) == Settled::lost);
    }
    host.database.exec("COMMIT");
    CHECK(host.query("SELECT claim, attempts, owner FROM backlite_tasks") == "3|1|7");
    CHECK(host.query("SELECT count(*) FROM backlite_tasks_completed") == "0");
    CHECK(host.query("SELECT count(*) FROM backlite_stats") == "0");
}

TEST_CASE("settle: the end that was asked for comes with every outcome but success") {
    Host host;
    host.cancel();
    const RowChange change = GENERATE(RowChange::fail, RowChange::retry, RowChange::snooze, RowChange::release);
    CHECK(host.settle(change) == Settled::cancelled);
    host.database.exec("COMMIT");
    CHECK(host.query("SELECT count(*) FROM backlite_tasks") == "0");
    CHECK(host.query("SELECT id, error, kind, succeeded, attempts, last_executed_at, last_duration_micro, expires_at, "
                     "task IS NULL FROM backlite_tasks_completed") == "a|cancelled|1|0|1|3000|500|3500|0");
    CHECK(host.query("SELECT count(*) FROM backlite_cancels") == "0");
    CHECK(host.query("SELECT count(*) FROM backlite_stats") == "0");
}

TEST_CASE("settle: a success stays one, and what was asked is forgotten with the next end") {
    Host host;
    host.cancel();
    CHECK(host.settle(RowChange::complete) == Settled::as_asked);
    store::sqlite::Ends ends(host.database.getHandle());
    store::sqlite::Cancels cancels(host.database.getHandle(), ends);
    CHECK(cancels.end_released() == 0);
    CHECK(cancels.read().empty());
    host.database.exec("COMMIT");
    CHECK(host.query("SELECT succeeded, kind IS NULL FROM backlite_tasks_completed") == "1|1");
}

}  // namespace
