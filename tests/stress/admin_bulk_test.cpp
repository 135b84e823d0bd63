// SPDX-License-Identifier: MIT
// Admin changes many tasks by one filter: beside workers that run them, and in processes that are killed on the way.
// BACKLITE_ROUNDS: how many kills. BACKLITE_SEED replays the choices of a run.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Admin;
using backlite::Affected;
using backlite::Client;
using backlite::TaskState;
using backlite_test::Harness;
using backlite_test::TempFolder;

struct Piece {
    std::size_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = "pieces", .retention = backlite::Retention{.only_failed = true}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Piece, number)

backlite::ClientConfig config(const std::string& file) {
    return {.database = file, .num_workers = 2, .durability = backlite::Durability::process};
}

/// Inserts `count` tasks numbered from zero, waiting or failed.
void fill(const std::string& file, std::size_t count, bool failed) {
    { const Client client{config(file)}; }
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    database.exec(fmt::format(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO {} SELECT "
        "format('%08d', i), 'pieces', 1, CAST(format('{{\"number\":%d}}', i) AS BLOB){} FROM n",
        count - 1,
        failed ? "backlite_tasks_completed (id, queue, created_at, task, attempts, error, succeeded, "
                 "last_executed_at, last_duration_micro)"
               : "backlite_tasks (id, queue, created_at, task)",
        failed ? ", 1, 'no', 0, 2, 3" : ""));
}

std::int64_t number(const std::string& file, const std::string& sql) {
    SQLite::Database database(file, SQLite::OPEN_READONLY);
    database.setBusyTimeout(30'000);
    return database.execAndGet(sql).getInt64();
}

/// Waits until nothing is left to run.
void drain(Client& client) {
    const auto until = std::chrono::steady_clock::now() + 120s;
    while (!client.wait_idle(1s) && std::chrono::steady_clock::now() < until) {
    }
}

constexpr std::size_t many = 100'000;

TEST_CASE("admin: a hundred thousand failed tasks come back by one filter beside their workers, and each runs once") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    fill(file, many, true);
    std::vector<std::atomic<int>> runs(many);
    Client client{config(file)};
    client.register_queue<Piece>([&](const Piece& piece) { ++runs.at(piece.number); });
    client.start();
    const Affected affected = Admin{client}.retry({.queue = "pieces", .state = TaskState::failed});
    drain(client);
    CHECK(client.stop(60s));
    CHECK(affected == Affected{many, 0});
    std::size_t once = 0;
    for (const std::atomic<int>& run : runs) once += run == 1 ? 1U : 0U;
    CHECK(once == many);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks") == 0);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks_completed") == 0);
    CHECK(number(file, "SELECT count(*) FROM backlite_attempts") == 0);
}

TEST_CASE(
    "admin: a hundred thousand tasks are cancelled by one filter beside their workers, and each runs or is cancelled") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    fill(file, many, false);
    std::vector<std::atomic<int>> runs(many);
    Client client{config(file)};
    client.register_queue<Piece>([&](const Piece& piece) { ++runs.at(piece.number); });
    client.start();
    const Affected affected = Admin{client}.cancel({.queue = "pieces"});
    drain(client);
    CHECK(client.stop(60s));
    std::size_t ran = 0;
    std::size_t twice = 0;
    for (const std::atomic<int>& run : runs) {
        ran += run > 0 ? 1U : 0U;
        twice += run > 1 ? 1U : 0U;
    }
    const auto cancelled = static_cast<std::size_t>(
        number(file, "SELECT count(*) FROM backlite_tasks_completed WHERE kind = 1 AND error = 'cancelled'"));
    CAPTURE(affected.count, affected.skipped, ran, cancelled);
    CHECK(twice == 0);
    CHECK(ran + cancelled == many);
    CHECK(cancelled <= affected.count);
    CHECK(affected.count + affected.skipped <= many);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks") == 0);
}

TEST_CASE(
    "admin: a hundred thousand tasks are removed by one filter beside their workers, and each is counted or has run") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    fill(file, many, false);
    std::vector<std::atomic<int>> runs(many);
    Client client{config(file)};
    client.register_queue<Piece>([&](const Piece& piece) { ++runs.at(piece.number); });
    client.start();
    const Affected affected = Admin{client}.remove({.queue = "pieces"});
    drain(client);
    CHECK(client.stop(60s));
    std::size_t ran = 0;
    std::size_t twice = 0;
    for (const std::atomic<int>& run : runs) {
        ran += run > 0 ? 1U : 0U;
        twice += run > 1 ? 1U : 0U;
    }
    CAPTURE(affected.count, affected.skipped, ran);
    CHECK(twice == 0);
    CHECK(ran + affected.count == many);
    CHECK(affected.skipped <= ran);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks") == 0);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks_completed") == 0);
}

TEST_CASE("admin: a process that is killed amid an action on many leaves whole transactions") {
    const Harness harness("admin kills", 12);
    std::mt19937_64 random(harness.seed());
    constexpr std::size_t count = 20'000;
    std::size_t amid = 0;
    for (std::size_t round = 0; round < harness.rounds() || (amid < 3 && round < harness.rounds() + 60); ++round) {
        const TempFolder folder;
        const std::string file = folder.file("q.db");
        const bool retry = round % 3 == 0;
        const bool remove = round % 3 == 1;  // otherwise it sets priorities
        fill(file, count, retry);
        const pid_t child = backlite_test::start_child([&] {
            const Admin admin{config(file)};
            if (retry) {
                admin.retry({.queue = "pieces"});
            } else if (remove) {
                admin.remove({.queue = "pieces"});
            } else {
                admin.set_priority({.queue = "pieces"}, 5);
            }
            return 0;
        });
        std::this_thread::sleep_for(std::chrono::microseconds{random() % 200'000});
        backlite_test::kill_and_wait(child);
        const std::int64_t waiting = number(file, "SELECT count(*) FROM backlite_tasks");
        const std::int64_t done = retry    ? waiting
                                  : remove ? static_cast<std::int64_t>(count) - waiting
                                           : number(file, "SELECT count(*) FROM backlite_tasks WHERE priority = 5");
        CAPTURE(round, retry, remove, done);
        CHECK(done % 500 == 0);
        CHECK(waiting + number(file, "SELECT count(*) FROM backlite_tasks_completed") ==
              static_cast<std::int64_t>(count) - (remove ? done : 0));
        CHECK(number(file, "SELECT count(*) FROM backlite_attempts") == (retry ? done : 0));
        CHECK(number(file, "SELECT count(*) FROM backlite_tasks JOIN backlite_tasks_completed USING (id)") == 0);
        if (done > 0 && done < static_cast<std::int64_t>(count)) ++amid;
        // Another process finishes it.
        const Admin admin{config(file)};
        const Affected rest = retry    ? admin.retry({.queue = "pieces"})
                              : remove ? admin.remove({.queue = "pieces"})
                                       : admin.set_priority({.queue = "pieces"}, 5);
        const auto finished = static_cast<std::size_t>(done);
        CHECK(rest == Affected{count - finished, remove ? 0 : finished});
    }
    fmt::print("{} of the kills came amid an action\n", amid);
    CHECK(amid > 0);
}

}  // namespace
