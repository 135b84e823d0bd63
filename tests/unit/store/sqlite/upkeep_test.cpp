// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/upkeep.hpp>
#include <backlite/version.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::Ms;
using store::sqlite::ForeignClaim;
using store::sqlite::Upkeep;

/// Runs `work(Upkeep&)` in a write transaction and returns what it does.
template <class Work>
auto write(TestDatabase& database, Work work) {
    std::optional<decltype(work(database.repository.upkeep))> result;
    database.write([&](store::sqlite::Repository& repository) { result = work(repository.upkeep); });
    return *result;
}

void complete(TestDatabase& database, const char* id, const char* expires_at) {
    database.execute(
        fmt::format("INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at) VALUES ('{}', "
                    "1, 'mail', 1, "
                    "{})",
                    id, expires_at));
}

TEST_CASE("Upkeep: an owner's number is never given twice, also after its row is gone") {
    TestDatabase database;
    std::vector<std::int64_t> numbers;
    for (int i = 0; i < 3; ++i) {
        numbers.push_back(write(database, [](Upkeep& upkeep) {
            const std::int64_t owner = upkeep.next_owner();
            upkeep.insert_owner({owner, 0, 1, "boot"}, Ms{1000});
            upkeep.delete_owner(owner);
            return owner;
        }));
    }
    CHECK(numbers == std::vector<std::int64_t>{1, 2, 3});
}

TEST_CASE("Upkeep: an owner's row says who it is") {
    TestDatabase database;
    database.write([](store::sqlite::Repository& repository) {
        repository.upkeep.insert_owner({7, 3, 16, "boot"}, Ms{1000});
    });
    const std::vector<detail::OwnerRow> rows = database.repository.upkeep.owners();
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].owner == 7);
    CHECK(rows[0].slot == 3);
    CHECK(rows[0].workers == 16);
    CHECK(rows[0].boot_id == "boot");
    CHECK(database.query("SELECT started_at, version FROM backlite_clients") == fmt::format("1000|{}", version_number));
}

TEST_CASE("Upkeep: two owners cannot have one slot") {
    TestDatabase database;
    database.write([](store::sqlite::Repository& repository) {
        repository.upkeep.insert_owner({7, 3, 16, "boot"}, Ms{1000});
    });
    CHECK_THROWS_AS(database.write([](store::sqlite::Repository& repository) {
        repository.upkeep.insert_owner({8, 3, 16, "boot"}, Ms{1000});
    }),
                    StorageError);
}

TEST_CASE("Upkeep: deleting an owner leaves the others") {
    TestDatabase database;
    database.write([](store::sqlite::Repository& repository) {
        repository.upkeep.insert_owner({7, 0, 1, "boot"}, Ms{1000});
        repository.upkeep.insert_owner({8, 1, 1, "boot"}, Ms{1000});
        repository.upkeep.delete_owner(7);
        repository.upkeep.delete_owner(9);
    });
    CHECK(database.query("SELECT owner FROM backlite_clients") == "8");
}

TEST_CASE("Upkeep: the side file has no id until one is written, then the last one") {
    TestDatabase database;
    CHECK(database.repository.upkeep.side_file_id().empty());
    database.write([](store::sqlite::Repository& repository) { repository.upkeep.set_side_file_id("first"); });
    database.write([](store::sqlite::Repository& repository) { repository.upkeep.set_side_file_id("second"); });
    CHECK(database.repository.upkeep.side_file_id() == "second");
}

TEST_CASE("Upkeep: the holders of claims are named once each, in the list of clients or not") {
    TestDatabase database;
    CHECK(database.repository.upkeep.claim_holders().empty());
    database.add({.id = "a", .claimed_at = 5, .owner = 9});
    database.add({.id = "b", .claimed_at = 5, .owner = 2});
    database.add({.id = "c", .claimed_at = 5, .owner = 9});
    database.add({.id = "d", .claimed_at = 5, .owner = -4});
    database.add({.id = "e", .claimed_at = 5});
    database.add({.id = "f"});
    CHECK(database.repository.upkeep.claim_holders() == std::vector<std::int64_t>{-4, 2, 9});
}

TEST_CASE("Upkeep: a holder of claims is named whatever its number") {
    constexpr std::int64_t least = (std::numeric_limits<std::int64_t>::min)();
    constexpr std::int64_t most = (std::numeric_limits<std::int64_t>::max)();
    TestDatabase database;
    database.add({.id = "a", .claimed_at = 5, .owner = least});
    database.add({.id = "b", .claimed_at = 5, .owner = most});
    database.add({.id = "c", .claimed_at = 5, .owner = least + 1});
    CHECK(database.repository.upkeep.claim_holders() == std::vector<std::int64_t>{least, least + 1, most});
}

TEST_CASE("Upkeep: a holder that is no number, as a damaged file may hold it, is nobody") {
    TestDatabase database;
    SQLite::Database stranger = database.stranger();
    backlite_test::loosen(stranger);
    stranger.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at, owner) VALUES "
        "('a', 1, 'mail', x'7b7d', 5, 'text'), ('b', 1, 'mail', x'7b7d', 5, x'00'), ('c', 1, 'mail', x'7b7d', 5, 7)");
    CHECK(database.repository.upkeep.claim_holders() == std::vector<std::int64_t>{7});
}

TEST_CASE("Upkeep: the claims of an owner are its alone, with number and lease") {
    TestDatabase database;
    database.add({.id = "a", .claim = 4, .claimed_at = 5, .owner = 9});
    database.add({.id = "b", .claim = 6, .claimed_at = 5, .owner = 2});
    database.execute("UPDATE backlite_tasks SET lease = 3 WHERE id = 'a'");
    const std::vector<ForeignClaim> claims = database.repository.upkeep.claims_of(9);
    REQUIRE(claims.size() == 1);
    CHECK(claims[0].key.id.str() == "a");
    CHECK(claims[0].key.number == 4);
    CHECK(claims[0].lease == 3);
    CHECK(database.repository.upkeep.claims_of(1).empty());
}

TEST_CASE("Upkeep: the oldest claim without owner is found") {
    TestDatabase database;
    CHECK(database.repository.upkeep.oldest_ownerless() == std::nullopt);
    database.add({.id = "a"});
    database.add({.id = "b", .claimed_at = 10, .owner = 1});
    CHECK(database.repository.upkeep.oldest_ownerless() == std::nullopt);
    database.add({.id = "c", .claimed_at = 30});
    database.add({.id = "d", .claimed_at = 20});
    CHECK(database.repository.upkeep.oldest_ownerless() == Ms{20});
}

TEST_CASE("Upkeep: undoing a jump bears the least time that a row can wait for") {
    TestDatabase database;
    database.add({.id = "a", .created_at = 1'500, .wait_until = (std::numeric_limits<std::int64_t>::min)()});
    database.execute("UPDATE backlite_tasks SET last_executed_at = 1500");
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.mend("mail", Ms{1'000}, Ms{}, 1s, 10).tasks; }) == 1);
    CHECK(database.query("SELECT due FROM backlite_tasks") == "1000");
}

TEST_CASE("Upkeep: a purge deletes what has expired, and nothing else") {
    TestDatabase database;
    complete(database, "past", "99");
    complete(database, "now", "100");
    complete(database, "future", "101");
    complete(database, "never", "NULL");
    database.add({.id = "pending", .created_at = 1});
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.purge(Ms{100}, 500); }) == 2);
    CHECK(database.query("SELECT id FROM backlite_tasks_completed ORDER BY id") == "future\nnever");
    CHECK(database.query("SELECT count(*) FROM backlite_tasks") == "1");
}

TEST_CASE("Upkeep: a purge deletes no more than it was told, oldest first") {
    TestDatabase database;
    complete(database, "a", "30");
    complete(database, "b", "10");
    complete(database, "c", "20");
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.purge(Ms{100}, 2); }) == 2);
    CHECK(database.query("SELECT id FROM backlite_tasks_completed") == "a");
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.purge(Ms{100}, 2); }) == 1);
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.purge(Ms{100}, 2); }) == 0);
}

TEST_CASE("Upkeep: the next expiry is that of the row that expires first") {
    TestDatabase database;
    CHECK(database.repository.upkeep.next_expiry() == std::nullopt);
    complete(database, "never", "NULL");
    CHECK(database.repository.upkeep.next_expiry() == std::nullopt);
    complete(database, "late", "200");
    complete(database, "soon", "100");
    CHECK(database.repository.upkeep.next_expiry() == Ms{100});
}

// ---- a wall clock that was set back ---------------------------------------------------------------------------------

constexpr Duration jump{1000};
constexpr Ms now{50'000};  // it was 51,000 just before

int undo_jump(TestDatabase& database, int limit = 100) {
    return write(database, [limit](Upkeep& upkeep) { return upkeep.mend("mail", now, Ms{}, jump, limit).tasks; });
}

/// A task that has run before, and is to run again at `wait_until`.
void add_retry(TestDatabase& database, const char* id, Ms last_executed_at, Ms wait_until) {
    database.add({.id = id, .created_at = 100, .wait_until = wait_until, .attempts = 1});
    database.execute(
        fmt::format("UPDATE backlite_tasks SET last_executed_at = {} WHERE id = '{}'", last_executed_at.count(), id));
}

TEST_CASE("Upkeep: a task that was due before the clock was set back is due again") {
    TestDatabase database;
    database.add({.id = "a", .created_at = now + 800ms});
    CHECK(undo_jump(database) == 1);
    CHECK(database.query("SELECT created_at, due FROM backlite_tasks") == "50000|50000");
}

TEST_CASE("Upkeep: a task for a time that had passed is due again after the clock was set back") {
    TestDatabase database;
    database.add({.id = "at once", .created_at = now + 800ms, .wait_until = now + 800ms});
    database.add({.id = "for long ago", .created_at = now + 800ms, .wait_until = 7});
    CHECK(undo_jump(database) == 2);
    CHECK(database.query("SELECT created_at, wait_until, due FROM backlite_tasks ORDER BY id") ==
          "50000|50000|50000\n50000|7|50000");
}

TEST_CASE("Upkeep: a retry waits no longer because the clock was set back") {
    TestDatabase database;
    add_retry(database, "a", now + 900ms, now + 1400ms);  // half a second after it failed
    CHECK(undo_jump(database) == 1);
    CHECK(database.query("SELECT wait_until, due, last_executed_at FROM backlite_tasks") == "50400|50400|50000");
}

TEST_CASE("Upkeep: a retry from after the clock was set back keeps its time") {
    TestDatabase database;
    add_retry(database, "a", now, now + 400ms);
    CHECK(undo_jump(database) == 0);
}

TEST_CASE("Upkeep: a retry of a task from before the clock was set back keeps its time") {
    TestDatabase database;
    database.add({.id = "a", .created_at = now + 900ms, .wait_until = now + 400ms, .attempts = 1});
    database.execute(fmt::format("UPDATE backlite_tasks SET last_executed_at = {}", now.count()));
    CHECK(undo_jump(database) == 1);
    CHECK(database.query("SELECT created_at, wait_until, due FROM backlite_tasks") == "50000|50400|50400");
    CHECK(undo_jump(database) == 0);
}

TEST_CASE("Upkeep: tasks of every priority become due again, and a piece takes some of each") {
    TestDatabase database;
    for (int i = 0; i < 12; ++i) {
        database.add({.id = fmt::format("{}", i), .created_at = now + 800ms, .priority = i % 3 - 1});
    }
    CHECK(undo_jump(database, 6) == 6);
    CHECK(database.query("SELECT priority, count(*) FROM backlite_tasks WHERE due <= 50000 GROUP BY priority") ==
          "-1|2\n0|2\n1|2");
    CHECK(undo_jump(database, 6) == 6);
    CHECK(undo_jump(database, 6) == 0);
    CHECK(database.query("SELECT DISTINCT due FROM backlite_tasks") == "50000");
}

TEST_CASE("Upkeep: a time that a program asked for is left alone when the clock is set back") {
    TestDatabase database;
    database.add({.id = "a", .created_at = now - 5ms, .wait_until = now + 500ms});
    CHECK(undo_jump(database) == 0);
    CHECK(database.query("SELECT wait_until FROM backlite_tasks") == "50500");
}

TEST_CASE("Upkeep: what is claimed, of another queue, or due already is left alone when the clock is set back") {
    TestDatabase database;
    database.add({.id = "claimed", .created_at = now + 800ms, .claimed_at = 5, .owner = 1});
    database.add({.id = "foreign", .queue = "print", .created_at = now + 800ms});
    database.add({.id = "due", .created_at = now});
    CHECK(undo_jump(database) == 0);
}

TEST_CASE("Upkeep: after a wrong clock of an earlier life, tasks without a time of their own are due at once") {
    TestDatabase database;
    database.add({.id = "a", .created_at = now + 1'000'000'000ms});
    database.add({.id = "own", .created_at = now + 1'000'000'000ms, .wait_until = now + 1'000'000'001ms});
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.mend("mail", now, Ms{}, {}, 100).tasks; }) == 1);
    CHECK(database.query("SELECT created_at, due FROM backlite_tasks WHERE id = 'a'") == "50000|50000");
    CHECK(database.query("SELECT due FROM backlite_tasks WHERE id = 'own'") ==
          fmt::to_string((now + 1'000'000'001ms).count()));
}

TEST_CASE("Upkeep: a time that a clock far ahead took for past is waited for, but for one of the day before") {
    TestDatabase database;
    const Ms wrong = now + 1'000'000'000ms;
    database.add({.id = "fixed", .created_at = wrong, .wait_until = wrong - 24h - 1ms});
    database.add({.id = "now", .created_at = wrong, .wait_until = wrong - 24h});
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.mend("mail", now, Ms{}, {}, 100).tasks; }) == 2);
    CHECK(database.query("SELECT id, created_at, due FROM backlite_tasks ORDER BY id") ==
          fmt::format("fixed|50000|{}\nnow|50000|50000", (wrong - 24h - 1ms).count()));
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.mend("mail", now, Ms{}, {}, 100).tasks; }) == 0);
}

TEST_CASE("Upkeep: after a wrong clock of an earlier life, a retry waits as long as it was given, from now") {
    TestDatabase database;
    add_retry(database, "a", now + 1'000'000'000ms, now + 1'000'000'700ms);
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.mend("mail", now, Ms{}, {}, 100).tasks; }) == 1);
    CHECK(database.query("SELECT due, last_executed_at FROM backlite_tasks") == "50700|50000");
    CHECK(write(database, [](Upkeep& upkeep) { return upkeep.mend("mail", now, Ms{}, {}, 100).tasks; }) == 0);
}

TEST_CASE("Upkeep: looking for times of a wrong clock costs a piece, however many tasks are scheduled") {
    TestDatabase database;
    const auto fill = [&](int from, int to) {
        database.execute(
            fmt::format("WITH RECURSIVE n(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
                        "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) "
                        "SELECT 'n' || i, 1, 'mail', x'7b7d', 60000 + i FROM n",
                        from, to - 1));
    };
    const auto steps = [&] {
        for (sqlite3_stmt* s = nullptr; (s = sqlite3_next_stmt(database.connection.handle(), s)) != nullptr;) {
            sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
        }
        const store::sqlite::Mended piece =
            write(database, [](Upkeep& upkeep) { return upkeep.mend("mail", now, Ms{}, {}, 100); });
        CHECK(piece.tasks == 0);
        CHECK(piece.next == Ms{60'099});
        std::int64_t sum = 0;
        for (sqlite3_stmt* s = nullptr; (s = sqlite3_next_stmt(database.connection.handle(), s)) != nullptr;) {
            sum += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
        }
        return sum;
    };
    fill(0, 1'000);
    (void)steps();
    const std::int64_t few = steps();
    fill(1'000, 20'000);
    CHECK(steps() == few);
}

TEST_CASE("Upkeep: a piece that holds more wrong times than it may mend comes again") {
    TestDatabase database;
    for (int i = 0; i < 7; ++i) database.add({.id = fmt::to_string(i), .created_at = now + 800ms});
    store::sqlite::Mended piece;
    std::vector<int> mended;
    for (Ms from{}; from != store::never; from = piece.next) {
        piece = write(database, [from](Upkeep& upkeep) { return upkeep.mend("mail", now, from, {}, 3); });
        mended.push_back(piece.tasks);
    }
    CHECK(mended == std::vector<int>{3, 3, 1});
}

TEST_CASE("Upkeep: mending after the clock was set back goes in pieces, oldest first, and ends") {
    TestDatabase database;
    database.add({.id = "c", .created_at = now + 3ms});
    database.add({.id = "a", .created_at = now + 1ms});
    database.add({.id = "b", .created_at = now + 2ms});
    add_retry(database, "d", now + 900ms, now + 1900ms);
    CHECK(undo_jump(database, 2) == 2);
    CHECK(database.query("SELECT id FROM backlite_tasks WHERE due <= 50000 ORDER BY id") == "a\nb");
    CHECK(undo_jump(database, 2) == 2);
    CHECK(undo_jump(database, 2) == 0);
    CHECK(database.query("SELECT wait_until FROM backlite_tasks WHERE id = 'd'") == "50900");
}

}  // namespace
