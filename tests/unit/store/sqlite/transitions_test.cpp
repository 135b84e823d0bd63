// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/transitions.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::TaskRow;
using backlite_test::TestDatabase;
using detail::Ms;
using detail::Us;
using store::sqlite::ForeignClaim;
using store::sqlite::Transitions;
using namespace std::chrono_literals;

const TaskId id = TaskId::from_text("a");
constexpr std::int64_t claim = 3;

/// A task in its third claim, by owner 1.
TaskRow claimed_row() {
    return {.id = "a", .payload = R"({"n":1})", .attempts = 1, .claim = claim, .claimed_at = 2000, .owner = 1};
}

bool write(TestDatabase& database, const detail::AttemptResult& outcome) {
    bool written = false;
    database.write([&](store::sqlite::Repository& repository) { written = repository.transitions.write(outcome); });
    return written;
}

bool extend(TestDatabase& database, const TaskId& task, std::int64_t number) {
    bool extended = false;
    database.write([&](store::sqlite::Repository& repository) {
        extended = repository.transitions.extend({task, number});
    });
    return extended;
}

/// Runs `work(Transitions&)` in a write transaction and returns what it does.
template <class Work>
auto change(TestDatabase& database, Work work) {
    std::optional<decltype(work(database.repository.transitions))> result;
    database.write([&](store::sqlite::Repository& repository) { result = work(repository.transitions); });
    return *result;
}

/// Everything in both tables.
std::string content(TestDatabase& database) {
    return database.query("SELECT * FROM backlite_tasks") + "\n--\n" +
           database.query("SELECT * FROM backlite_tasks_completed");
}

detail::AttemptResult resolved(detail::RowChange resolution) {
    return {.id = id, .claim = claim, .resolution = resolution};
}

detail::AttemptResult success() {
    detail::AttemptResult outcome = resolved(detail::RowChange::complete);
    outcome.spends_attempt = true;
    outcome.executed_at = Ms{2500};
    outcome.duration = Us{1234};
    return outcome;
}

detail::AttemptResult failure() {
    detail::AttemptResult outcome = success();
    outcome.resolution = detail::RowChange::fail;
    outcome.error = "no such host";
    return outcome;
}

TEST_CASE("Outcomes: a success that is not kept leaves nothing") {
    TestDatabase database;
    database.add(claimed_row());
    CHECK(write(database, success()));
    CHECK(content(database) == "\n--\n");
}

TEST_CASE("Outcomes: a success that is kept is a row as the Go library writes it") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = success();
    outcome.keep_row = true;
    outcome.expires_at = Ms{99'000};
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT count(*) FROM backlite_tasks") == "0");
    CHECK(database.query("SELECT id, created_at, queue, last_executed_at, attempts, last_duration_micro, succeeded, "
                         "task, expires_at, error FROM backlite_tasks_completed") ==
          "a|1000|mail|2500|2|1234|1|NULL|99000|NULL");
}

TEST_CASE("Outcomes: a failure that is kept is a row with its error") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = failure();
    outcome.keep_row = true;
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT id, created_at, queue, last_executed_at, attempts, last_duration_micro, succeeded, "
                         "task, expires_at, error FROM backlite_tasks_completed") ==
          "a|1000|mail|2500|2|1234|0|NULL|NULL|no such host");
}

TEST_CASE("Outcomes: a failure without words still is one") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = failure();
    outcome.keep_row = true;
    outcome.error = "";
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT error IS NULL FROM backlite_tasks_completed") == "0");
}

TEST_CASE("Outcomes: a failure that is not kept leaves nothing") {
    TestDatabase database;
    database.add(claimed_row());
    CHECK(write(database, failure()));
    CHECK(content(database) == "\n--\n");
}

TEST_CASE("Outcomes: a kept row never says NULL where the Go library reads a number") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = resolved(detail::RowChange::fail);  // as for a task that was given up before it ran
    outcome.keep_row = true;
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT last_executed_at, last_duration_micro, succeeded, attempts FROM "
                         "backlite_tasks_completed") == "0|0|0|1");
}

TEST_CASE("Outcomes: a payload is kept when the outcome says so") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = success();
    outcome.keep_row = outcome.keep_payload = true;
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT task, typeof(task) FROM backlite_tasks_completed") == R"({"n":1}|blob)");
}

TEST_CASE("Outcomes: a kept row replaces one that an earlier task of that id left") {
    TestDatabase database;
    database.execute(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, error) VALUES ('a', 1, 'old', 9, 'x')");
    database.add(claimed_row());
    detail::AttemptResult outcome = success();
    outcome.keep_row = true;
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT queue, attempts, error FROM backlite_tasks_completed") == "mail|2|NULL");
}

TEST_CASE("Outcomes: attempts are counted only where one was spent") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = failure();
    outcome.keep_row = true;
    outcome.spends_attempt = false;
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT attempts FROM backlite_tasks_completed") == "1");
}

TEST_CASE("Outcomes: attempts that somebody else made negative count from zero") {
    TestDatabase database;
    TaskRow row = claimed_row();
    row.attempts = -5;
    database.add(row);
    detail::AttemptResult outcome = success();
    outcome.keep_row = true;
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT attempts FROM backlite_tasks_completed") == "1");
}

TEST_CASE("Outcomes: attempts that a damaged table lost count from zero, so that retries come to an end") {
    for (const detail::RowChange resolution : {detail::RowChange::retry, detail::RowChange::fail}) {
        TestDatabase database;
        SQLite::Database stranger = database.stranger();
        backlite_test::loosen(stranger);
        database.add(claimed_row());
        database.execute("UPDATE backlite_tasks SET attempts = NULL");
        detail::AttemptResult outcome = resolved(resolution);
        outcome.spends_attempt = outcome.keep_row = true;
        CHECK(write(database, outcome));
        const char* const table =
            resolution == detail::RowChange::retry ? "backlite_tasks" : "backlite_tasks_completed";
        CHECK(database.query(fmt::format("SELECT attempts FROM {}", table)) == "1");
    }
}

TEST_CASE("Outcomes: a retry frees the task for later and keeps the error") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = failure();
    outcome.resolution = detail::RowChange::retry;
    outcome.wait_until = Ms{8000};
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT claimed_at, owner, claim, wait_until, due, last_executed_at, attempts, error, task "
                         "FROM backlite_tasks") == R"(NULL|NULL|3|8000|8000|2500|2|no such host|{"n":1})");
    CHECK(database.query("SELECT count(*) FROM backlite_tasks_completed") == "0");
}

TEST_CASE("Outcomes: a retry that spends nothing counts nothing") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = resolved(detail::RowChange::retry);
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT attempts FROM backlite_tasks") == "1");
}

TEST_CASE("Outcomes: a snooze frees the task for later and spends nothing") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = resolved(detail::RowChange::snooze);
    outcome.wait_until = Ms{8000};
    outcome.executed_at = Ms{2500};
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT claimed_at, owner, claim, wait_until, last_executed_at, attempts, error FROM "
                         "backlite_tasks") == "NULL|NULL|3|8000|2500|1|NULL");
}

TEST_CASE("Outcomes: a run that came back, in a retry or a snooze, begins to count crashes anew") {
    for (const detail::RowChange resolution : {detail::RowChange::retry, detail::RowChange::snooze}) {
        TestDatabase database;
        TaskRow row = claimed_row();
        row.crashes = 2;
        database.add(row);
        CHECK(write(database, resolved(resolution)));
        CHECK(database.query("SELECT crashes FROM backlite_tasks") == "0");
    }
}

TEST_CASE("Outcomes: a release shows nothing: its crashes stay") {
    TestDatabase database;
    TaskRow row = claimed_row();
    row.crashes = 2;
    database.add(row);
    CHECK(write(database, resolved(detail::RowChange::release)));
    CHECK(database.query("SELECT crashes FROM backlite_tasks") == "2");
}

TEST_CASE("Outcomes: a release that waits shows nothing either, and is due later") {
    TestDatabase database;
    TaskRow row = claimed_row();
    row.crashes = 2;
    database.add(row);
    detail::AttemptResult outcome = resolved(detail::RowChange::release);
    outcome.wait_until = Ms{8000};
    outcome.wait = Duration{1000};
    CHECK(write(database, outcome));
    CHECK(database.query("SELECT claimed_at, owner, claim, due, attempts, crashes, error FROM backlite_tasks") ==
          "NULL|NULL|3|8000|1|2|NULL");
}

TEST_CASE("Outcomes: a kept task leaves the rows alone that a trigger of the host writes") {
    TestDatabase database;
    database.execute(
        "CREATE TABLE audit (queue TEXT UNIQUE, task TEXT); INSERT INTO audit VALUES ('mail', 'first'); "
        "CREATE TRIGGER audited AFTER INSERT ON backlite_tasks_completed BEGIN "
        "INSERT INTO audit VALUES (new.queue, new.id); END");
    database.add(claimed_row());
    detail::AttemptResult outcome = success();
    outcome.keep_row = true;
    CHECK_THROWS_AS(write(database, outcome), StorageError);
    CHECK(database.query("SELECT * FROM audit") == "mail|first");
}

TEST_CASE("Outcomes: a release frees the task as if it had never been taken, but for the claim's number") {
    TestDatabase database;
    TaskRow row = claimed_row();
    row.wait_until = 1500;
    database.add(row);
    CHECK(write(database, resolved(detail::RowChange::release)));
    CHECK(database.query("SELECT claimed_at, owner, claim, wait_until, last_executed_at, attempts, crashes FROM "
                         "backlite_tasks") == "NULL|NULL|3|1500|NULL|1|0");
}

TEST_CASE("Outcomes: nothing of an outcome lands under another claim's number") {
    for (const detail::RowChange resolution :
         {detail::RowChange::complete, detail::RowChange::fail, detail::RowChange::retry, detail::RowChange::snooze,
          detail::RowChange::release}) {
        for (const std::int64_t number : {claim - 1, claim + 1}) {
            TestDatabase database;
            database.add(claimed_row());
            const std::string before = content(database);
            detail::AttemptResult outcome = resolved(resolution);
            outcome.claim = number;
            outcome.keep_row = true;
            CHECK_FALSE(write(database, outcome));
            CHECK(content(database) == before);
        }
    }
}

TEST_CASE("Outcomes: nothing of an outcome lands once the claim was given back") {
    for (const detail::RowChange resolution :
         {detail::RowChange::complete, detail::RowChange::fail, detail::RowChange::retry, detail::RowChange::snooze,
          detail::RowChange::release}) {
        TestDatabase database;
        TaskRow row = claimed_row();
        row.claimed_at = row.owner = std::nullopt;
        database.add(row);
        const std::string before = content(database);
        detail::AttemptResult outcome = resolved(resolution);
        outcome.keep_row = true;
        CHECK_FALSE(write(database, outcome));
        CHECK(content(database) == before);
    }
}

TEST_CASE("Outcomes: nothing of an outcome lands once the task is gone") {
    TestDatabase database;
    detail::AttemptResult outcome = success();
    outcome.keep_row = true;
    CHECK_FALSE(write(database, outcome));
    CHECK(content(database) == "\n--\n");
}

TEST_CASE("Outcomes: one that was written cannot be written again") {
    TestDatabase database;
    database.add(claimed_row());
    detail::AttemptResult outcome = success();
    outcome.keep_row = true;
    REQUIRE(write(database, outcome));
    CHECK_FALSE(write(database, outcome));
    CHECK(database.query("SELECT attempts FROM backlite_tasks_completed") == "2");
}

TEST_CASE("Outcomes: other tasks stay as they are") {
    TestDatabase database;
    database.add(claimed_row());
    TaskRow other = claimed_row();
    other.id = "b";
    database.add(other);
    CHECK(write(database, success()));
    CHECK(database.query("SELECT id, claimed_at, owner FROM backlite_tasks") == "b|2000|1");
}

TEST_CASE("Outcomes: a sign of life raises the lease and nothing else") {
    TestDatabase database;
    database.add(claimed_row());
    CHECK(extend(database, id, claim));
    CHECK(extend(database, id, claim));
    CHECK(database.query("SELECT lease, claim, claimed_at, owner FROM backlite_tasks") == "2|3|2000|1");
}

TEST_CASE("Outcomes: a sign of life for a claim that is no longer held changes nothing") {
    TestDatabase database;
    TaskRow row = claimed_row();
    database.add(row);
    row.id = "released";
    row.claimed_at = row.owner = std::nullopt;
    database.add(row);
    CHECK_FALSE(extend(database, id, claim - 1));
    CHECK_FALSE(extend(database, TaskId::from_text("released"), claim));
    CHECK_FALSE(extend(database, TaskId::from_text("gone"), claim));
    CHECK(database.query("SELECT sum(lease) FROM backlite_tasks") == "0");
}

TEST_CASE("Outcomes: a lease that cannot be raised begins anew, and is a sign of life all the same") {
    TestDatabase database;
    database.add(claimed_row());
    database.execute("UPDATE backlite_tasks SET lease = 9223372036854775807");
    CHECK(extend(database, id, claim));
    CHECK(database.query("SELECT lease FROM backlite_tasks") == "0");
}

TEST_CASE("Outcomes: attempts that cannot be raised stay, and the outcome is written") {
    for (const detail::RowChange resolution : {detail::RowChange::retry, detail::RowChange::fail}) {
        TestDatabase database;
        database.add(claimed_row());
        database.execute("UPDATE backlite_tasks SET attempts = 9223372036854775807");
        detail::AttemptResult outcome = resolved(resolution);
        outcome.spends_attempt = outcome.keep_row = true;
        bool written = false;
        database.write([&](store::sqlite::Repository& repository) { written = repository.transitions.write(outcome); });
        CHECK(written);
        const char* const table =
            resolution == detail::RowChange::retry ? "backlite_tasks" : "backlite_tasks_completed";
        CHECK(database.query(fmt::format("SELECT attempts FROM {}", table)) == "9223372036854775807");
    }
}

TEST_CASE("Transitions: a crash is counted against the claim in which it happened, and no other") {
    TestDatabase database;
    database.add({.id = "a", .claim = 4, .claimed_at = 5, .owner = 9});
    database.add({.id = "b", .claim = 4, .claimed_at = 5, .owner = 9});
    database.write([](store::sqlite::Repository& repository) {
        repository.transitions.count_crash({{TaskId::from_text("a"), 4}, 0});
        repository.transitions.count_crash({{TaskId::from_text("b"), 3}, 0});
    });
    CHECK(database.query("SELECT id, crashes, attempts FROM backlite_tasks ORDER BY id") == "a|1|0\nb|0|0");
}

TEST_CASE("Transitions: a crash counts although somebody else made the count negative") {
    TestDatabase database;
    database.add({.id = "a", .crashes = -5, .claim = 4, .claimed_at = 5, .owner = 9});
    database.write([](store::sqlite::Repository& repository) {
        repository.transitions.count_crash({{TaskId::from_text("a"), 4}, 0});
    });
    CHECK(database.query("SELECT crashes FROM backlite_tasks") == "1");
}

TEST_CASE("Transitions: a crash counts although a damaged table lost the count") {
    TestDatabase database;
    SQLite::Database stranger = database.stranger();
    backlite_test::loosen(stranger);
    database.add({.id = "a", .claim = 4, .claimed_at = 5, .owner = 9});
    database.execute("UPDATE backlite_tasks SET crashes = NULL");
    database.write([](store::sqlite::Repository& repository) {
        repository.transitions.count_crash({{TaskId::from_text("a"), 4}, 0});
    });
    CHECK(database.query("SELECT crashes FROM backlite_tasks") == "1");
}

TEST_CASE("Transitions: crashes that cannot be counted any higher stay as they are") {
    TestDatabase database;
    database.add({.id = "a", .crashes = (std::numeric_limits<std::int64_t>::max)(), .claim = 4, .claimed_at = 5});
    database.write([](store::sqlite::Repository& repository) {
        repository.transitions.count_crash({{TaskId::from_text("a"), 4}, 0});
    });
    CHECK(database.query("SELECT crashes FROM backlite_tasks") == "9223372036854775807");
}

TEST_CASE("Transitions: all claims of an owner go back, those of others stay") {
    TestDatabase database;
    database.add({.id = "a", .attempts = 2, .claim = 4, .claimed_at = 5, .owner = 9});
    database.add({.id = "b", .claim = 6, .claimed_at = 5, .owner = 2});
    database.add({.id = "c", .claim = 1, .claimed_at = 5, .owner = 9});
    database.add({.id = "d", .claimed_at = 5});
    CHECK(change(database, [](Transitions& transitions) { return transitions.release_all(9); }) == 2);
    CHECK(database.query("SELECT id, claimed_at, owner, claim, attempts FROM backlite_tasks ORDER BY id") ==
          "a|NULL|NULL|4|2\nb|5|2|6|0\nc|NULL|NULL|1|0\nd|5|NULL|0|0");
    CHECK(change(database, [](Transitions& transitions) { return transitions.release_all(9); }) == 0);
}

TEST_CASE("Transitions: a claim goes back if its lease reads as it did") {
    TestDatabase database;
    database.add({.id = "a", .claim = 4, .claimed_at = 5, .owner = 9});
    const ForeignClaim seen = database.repository.upkeep.claims_of(9).at(0);
    CHECK(change(database, [&](Transitions& transitions) { return transitions.release_unchanged(seen); }));
    CHECK(database.query("SELECT claimed_at, owner, claim FROM backlite_tasks") == "NULL|NULL|4");
}

TEST_CASE("Transitions: a claim stays if its holder gave a sign of life, or is another by now") {
    TestDatabase database;
    database.add({.id = "a", .claim = 4, .claimed_at = 5, .owner = 9});
    const ForeignClaim seen = database.repository.upkeep.claims_of(9).at(0);
    const auto release = [&] {
        return change(database, [&](Transitions& transitions) { return transitions.release_unchanged(seen); });
    };
    database.execute("UPDATE backlite_tasks SET lease = lease + 1");
    CHECK_FALSE(release());
    database.execute("UPDATE backlite_tasks SET lease = 0, claim = 5");
    CHECK_FALSE(release());
    database.execute("UPDATE backlite_tasks SET claim = 4, claimed_at = NULL");
    CHECK_FALSE(release());
}

TEST_CASE("Transitions: a claim without owner whose time is no number, as a damaged file may hold it, never lapses") {
    TestDatabase database;
    SQLite::Database stranger = database.stranger();
    backlite_test::loosen(stranger);
    stranger.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at) VALUES ('a', 1, 'mail', x'7b7d', "
        "'text')");
    CHECK(database.repository.upkeep.oldest_ownerless() == std::nullopt);
    CHECK(change(database, [](Transitions& transitions) { return transitions.release_ownerless(Ms{1'000'000}, 10); }) ==
          0);
}

TEST_CASE("Transitions: a claim without owner whose queue is a BLOB is passed over, and ends the search") {
    TestDatabase database;
    SQLite::Database stranger = database.stranger();
    backlite_test::loosen(stranger);
    stranger.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at) VALUES ('a', 1, x'6d61', x'7b7d', 10)");
    CHECK(database.repository.upkeep.oldest_ownerless() == std::nullopt);
    CHECK(change(database, [](Transitions& transitions) { return transitions.release_ownerless(Ms{20}, 10); }) == 0);
    database.add({.id = "b", .claim = 1, .claimed_at = 20});
    CHECK(database.repository.upkeep.oldest_ownerless() == Ms{20});
    CHECK(change(database, [](Transitions& transitions) { return transitions.release_ownerless(Ms{20}, 10); }) == 1);
}

TEST_CASE("Transitions: claims without owner lapse by their time, others do not") {
    TestDatabase database;
    database.add({.id = "a", .claim = 1, .claimed_at = 10, .owner = 1});
    database.add({.id = "b", .claim = 1, .claimed_at = 20});
    database.add({.id = "c", .claim = 1, .claimed_at = 21});
    CHECK(change(database, [](Transitions& transitions) { return transitions.release_ownerless(Ms{20}, 10); }) == 1);
    CHECK(database.query("SELECT id, claimed_at, claim FROM backlite_tasks ORDER BY id") == "a|10|1\nb|NULL|1\nc|21|1");
}

TEST_CASE("Transitions: claims without owner lapse in pieces, the oldest first") {
    TestDatabase database;
    for (const int time : {12, 10, 11}) database.add({.id = std::to_string(time), .claim = 1, .claimed_at = time});
    CHECK(change(database, [](Transitions& transitions) { return transitions.release_ownerless(Ms{20}, 2); }) == 2);
    CHECK(database.query("SELECT id FROM backlite_tasks WHERE claimed_at IS NOT NULL") == "12");
}

TEST_CASE("Transitions: a claim without owner from a time that is still to come counts as taken now") {
    static constexpr Ms now{50'000};
    TestDatabase database;
    database.add({.id = "a", .claim = 1, .claimed_at = now + 1'000'000ms});
    database.add({.id = "b", .claim = 1, .claimed_at = now - 5ms});
    database.add({.id = "c", .created_at = 1, .claim = 1, .claimed_at = now + 1'000'000ms, .owner = 3});
    CHECK(change(database, [](Transitions& transitions) { return transitions.mend_ownerless(now); }) == 1);
    CHECK(database.query("SELECT id, claimed_at FROM backlite_tasks ORDER BY id") == "a|50000\nb|49995\nc|1050000");
}

// ---- large payloads -------------------------------------------------------------------------------------------------

/// A task of 100 kB, and how many pages each change of its state writes to the log.
class Bulky : public TestDatabase {
public:
    explicit Bulky(bool slack = true) {
        const std::array<detail::NewTask, 1> tasks{
            {{.id = TaskId::from_text("a"), .queue = "mail", .payload = std::string(100'000, 'x')}}};
        write([&](store::sqlite::Repository& all) { all.adds.insert(tasks, Ms{1'700'000'000'000}, std::nullopt); });
        if (!slack) execute("UPDATE backlite_tasks SET slack = NULL");
    }

    template <class Change>
    std::int64_t pages(Change&& change) {
        execute("PRAGMA wal_checkpoint(TRUNCATE)");
        write([&](store::sqlite::Repository& all) { change(all.transitions); });
        const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(config.database + "-wal"));
        return (bytes - 32) / (4096 + 24);
    }

    std::int64_t claim(std::int64_t owner = 3) {
        ++number;
        return pages([&](Transitions& all) { all.claim(1, Ms{1'700'000'100'000 + number}, owner, true); });
    }

    std::int64_t end(detail::AttemptResult outcome) {
        outcome.id = TaskId::from_text("a");
        outcome.claim = number;
        outcome.large = true;
        outcome.executed_at = Ms{1'700'000'200'000};
        if (outcome.resolution != detail::RowChange::release || outcome.wait) {
            outcome.wait_until = Ms{1'700'000'300'000};
        }
        bool written = false;
        const auto count = pages([&](Transitions& all) { written = all.write(outcome); });
        CHECK(written);
        return count;
    }

    std::int64_t number = 0;
};

constexpr std::int64_t few = 5;  // the row's first page, its last two, and those of two indexes

TEST_CASE("Transitions: the claim, the give-back and the retry of a large task do not write its payload again") {
    Bulky bulky;
    CHECK(bulky.claim() <= few);
    CHECK(bulky.end({.resolution = detail::RowChange::release}) <= few);
    CHECK(bulky.claim(40'000) <= few);
    CHECK(bulky.end({.resolution = detail::RowChange::release, .wait = 1s}) <= few);
    CHECK(bulky.claim() <= few);
    CHECK(bulky.end({.resolution = detail::RowChange::snooze}) <= few);
    for (const int error : {3, 57, 58, 59, 200, 0, 300}) {
        CHECK(bulky.claim() <= few);
        CHECK(bulky.end({.resolution = detail::RowChange::retry,
                         .spends_attempt = true,
                         .error = std::string(static_cast<std::size_t>(error), 'e')}) <= few);
    }
    CHECK(bulky.query("SELECT length(task), attempts, claim, length(error) FROM backlite_tasks") == "100000|7|10|300");
}

TEST_CASE("Transitions: nor does the rescue of a large task") {
    Bulky bulky;
    CHECK(bulky.claim(70'000) <= few);
    CHECK(bulky.pages([](Transitions& all) { CHECK(all.release_all(70'000) == 1); }) <= few);
    CHECK(bulky.claim() <= few);
    const store::sqlite::ForeignClaim held{{TaskId::from_text("a"), bulky.number}, 0};
    CHECK(bulky.pages([&](Transitions& all) { CHECK(all.release(held)); }) <= few);
    CHECK(bulky.claim() <= few);
    const store::sqlite::ForeignClaim again{{TaskId::from_text("a"), bulky.number}, 0};
    CHECK(bulky.pages([&](Transitions& all) { CHECK(all.release_unchanged(again)); }) <= few);
}

TEST_CASE("Transitions: nor does the give-back of a large task that was inserted as claimed") {
    Bulky bulky;
    bulky.execute("DELETE FROM backlite_tasks");
    bulky.write([&](store::sqlite::Repository& all) {
        all.transitions.insert_claimed(
            {.id = TaskId::from_text("a"), .queue = "mail", .payload = std::string(100'000, 'y')},
            Ms{1'700'000'000'000}, 3);
    });
    bulky.number = 1;
    CHECK(bulky.end({.resolution = detail::RowChange::release}) <= few);
}

TEST_CASE("Transitions: a large task of another program has no slack and gets none, so it is written each time") {
    Bulky bulky(false);
    CHECK(bulky.claim() > 20);
    CHECK(bulky.end({.resolution = detail::RowChange::release}) > 20);
    CHECK(bulky.query("SELECT slack FROM backlite_tasks") == "NULL");
}

TEST_CASE(
    "Transitions: a large task with an error beyond what was foreseen is written again, and what follows is not") {
    Bulky bulky;
    bulky.claim();
    CHECK(bulky.end({.resolution = detail::RowChange::retry, .error = std::string(20'000, 'e')}) > 20);
    CHECK(bulky.query("SELECT length(error), length(slack) FROM backlite_tasks") == "20000|400");
    CHECK(bulky.claim() <= few);
    bulky.end({.resolution = detail::RowChange::retry, .error = "e"});
    CHECK(bulky.query("SELECT length(slack) FROM backlite_tasks") == "400");
    CHECK(bulky.claim() <= few);
}

TEST_CASE("Transitions: a task that is not large has no slack, whatever becomes of it") {
    TestDatabase database;
    const std::array<detail::NewTask, 1> tasks{
        {{.id = TaskId::from_text("a"), .queue = "mail", .payload = std::string(detail::large_payload - 1, 'x')}}};
    database.write([&](store::sqlite::Repository& all) {
        all.adds.insert(tasks, Ms{1000}, std::nullopt);
        all.transitions.claim(1, Ms{2000}, 3, false);
        CHECK(all.transitions.release_all(3) == 1);
    });
    CHECK(database.query("SELECT slack FROM backlite_tasks") == "NULL");
}

}  // namespace
