// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>

#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/status_queries.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::TestDatabase;
using detail::Ms;
using store::sqlite::StatusQueries;

constexpr Ms now{10'000};

/// A database, and a reader on it as a client has one.
struct Library {
    TestDatabase database{};
    store::sqlite::Connection connection{database.config, store::sqlite::Role::reader};
    StatusQueries reads{connection.handle()};

    [[nodiscard]] TaskStatus status(const char* id) { return reads.status(TaskId::from_text(id)); }
    void complete(const char* id, const char* error) {
        database.execute(
            fmt::format("INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, succeeded, error) "
                        "VALUES ('{}', 1, 'mail', 1, 0, {})",
                        id, error));
    }
};

std::string text_of(const TaskCounts& counts) {
    std::string text;
    for (const QueueCounts& queue : counts) {
        text += fmt::format("{} waiting {} scheduled {} running {} oldest {}\n", queue.queue, queue.waiting,
                            queue.scheduled, queue.running,
                            queue.oldest_due ? fmt::to_string(detail::to_ms(*queue.oldest_due).count()) : "none");
    }
    return text;
}

TEST_CASE("Reads: a task that nobody added is not found") {
    Library library;
    CHECK(library.status("a") == TaskStatus::not_found);
}

TEST_CASE("Reads: an unclaimed task is pending, due or not") {
    Library library;
    library.database.add({.id = "a"});
    library.database.add({.id = "b", .wait_until = 10'000'000});
    CHECK(library.status("a") == TaskStatus::pending);
    CHECK(library.status("b") == TaskStatus::pending);
}

TEST_CASE("Reads: a claimed task is running, with owner or without") {
    Library library;
    library.database.add({.id = "a", .claimed_at = 5, .owner = 1});
    library.database.add({.id = "b", .claimed_at = 5});
    CHECK(library.status("a") == TaskStatus::running);
    CHECK(library.status("b") == TaskStatus::running);
}

TEST_CASE("Reads: a kept task succeeded unless it has an error") {
    Library library;
    library.complete("a", "NULL");
    library.complete("b", "'no such host'");
    library.complete("c", "''");
    CHECK(library.status("a") == TaskStatus::succeeded);
    CHECK(library.status("b") == TaskStatus::failed);
    CHECK(library.status("c") == TaskStatus::failed);
}

TEST_CASE("Reads: an id that was used again is what it is now") {
    Library library;
    library.complete("a", "NULL");
    library.database.add({.id = "a"});
    CHECK(library.status("a") == TaskStatus::pending);
}

TEST_CASE("Reads: there is nothing to count in an empty file") {
    Library library;
    CHECK(library.reads.counts(now).empty());
}

TEST_CASE("Reads: counts waiting, scheduled and running tasks of each queue, by name") {
    Library library;
    TestDatabase& database = library.database;
    database.add({.id = "a", .queue = "print", .created_at = 50});
    database.add({.id = "b", .queue = "print", .created_at = 40});
    database.add({.id = "c", .queue = "print", .wait_until = now + Duration{1}});
    database.add({.id = "d", .queue = "mail", .claimed_at = 5, .owner = 1});
    database.add({.id = "e", .queue = "mail", .claimed_at = 5});
    database.add({.id = "f", .queue = "mail", .created_at = 70});
    CHECK(text_of(library.reads.counts(now)) ==
          "mail waiting 1 scheduled 0 running 2 oldest 70\n"
          "print waiting 2 scheduled 1 running 0 oldest 40\n");
}

TEST_CASE("Reads: a task that is due this very millisecond waits") {
    Library library;
    library.database.add({.id = "a", .created_at = now});
    CHECK(text_of(library.reads.counts(now)) == "mail waiting 1 scheduled 0 running 0 oldest 10000\n");
}

TEST_CASE("Reads: a queue whose tasks are all in the future has no oldest due time") {
    Library library;
    library.database.add({.id = "a", .wait_until = now + Duration{1}});
    CHECK(text_of(library.reads.counts(now)) == "mail waiting 0 scheduled 1 running 0 oldest none\n");
}

TEST_CASE("Reads: a queue whose tasks all run is counted") {
    Library library;
    library.database.add({.id = "a", .claimed_at = 5, .owner = 3});
    CHECK(text_of(library.reads.counts(now)) == "mail waiting 0 scheduled 0 running 1 oldest none\n");
}

TEST_CASE("Reads: finished tasks are not counted") {
    Library library;
    library.complete("a", "NULL");
    CHECK(library.reads.counts(now).empty());
}

TEST_CASE("Reads: a look leaves no transaction open, so that the log can be checkpointed") {
    Library library;
    library.database.add({.id = "a"});
    (void)library.status("a");
    (void)library.reads.counts(now);
    CHECK_FALSE(library.connection.in_transaction());
    CHECK(library.database.query("PRAGMA wal_checkpoint(TRUNCATE)") == "0|0|0");
}

TEST_CASE("Reads: counts take tasks of every priority together") {
    Library library;
    library.database.add({.id = "a", .created_at = 50, .priority = 7});
    library.database.add({.id = "b", .created_at = 40});
    library.database.add({.id = "c", .created_at = 60, .priority = -7});
    library.database.add({.id = "d", .wait_until = now + Duration{1}, .priority = 7});
    const TaskCounts counts = library.reads.counts(now);
    REQUIRE(counts.size() == 1);
    CHECK(counts[0].waiting == 3);
    CHECK(counts[0].scheduled == 1);
    CHECK(counts[0].oldest_due == detail::from_ms(Ms{40}));
}

TEST_CASE("Reads: a count that fails leaves no transaction open") {
    Library library;
    library.database.execute("DROP INDEX backlite_tasks_claimed");  // the second of the two queries needs it
    CHECK_THROWS_AS(library.reads.counts(now), StorageError);
    CHECK_FALSE(library.connection.in_transaction());
}

}  // namespace

TEST_CASE("Reads: tasks that are held count as waiting or scheduled") {
    Library library;
    library.database.add({.id = "a", .created_at = 3'000, .hold = 256});
    library.database.add({.id = "b", .created_at = 2'000, .hold = 1});
    library.database.add({.id = "c", .wait_until = 10'000'000, .hold = 2});
    library.database.add({.id = "d", .created_at = 4'000});
    CHECK(text_of(library.reads.counts(now)) == "mail waiting 3 scheduled 1 running 0 oldest 2000\n");
}
