// SPDX-License-Identifier: MIT
// Schedules run while the processes that run them are killed again and again, and one lives at each time.
// BACKLITE_ROUNDS: how many kills. BACKLITE_SEED replays the choices of a run.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <sys/prctl.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/schedule.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::Every;
using backlite::detail::Ms;
using backlite_test::Harness;
using backlite_test::TempFolder;

/// A task whose due time tells its slot: nobody runs it, for it is due in an hour and later.
struct Mark {
    std::string schedule{};
    static backlite::QueueConfig config() { return {.name = "mark"}; }
};
/// A task that runs.
struct Work {
    std::string schedule{};
    static backlite::QueueConfig config() { return {.name = "work"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Mark, schedule)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, schedule)

constexpr backlite::Duration most_jitter = 24h * 365;

backlite::ClientConfig config(const std::string& database) {
    return {.database = database, .num_workers = 2, .durability = backlite::Durability::process};
}

struct Defined {
    std::string name{};
    backlite::Duration period{};
};
const std::vector<Defined> defined{{"quick", 7ms}, {"usual", 23ms}, {"slow", 150ms}};

void define(Client& client) {
    for (const Defined& each : defined) {
        client.schedule({.name = each.name,
                         .when = Every{each.period},
                         .misfire = backlite::Misfire::all,
                         .jitter = most_jitter,
                         .max_missed = 10'000},
                        Mark{each.name});
    }
    client.schedule({.name = "work", .when = Every{11ms}}, Work{"work"});
}

/// Runs until it is killed. A restart defines the schedules again, which changes nothing.
int live(const std::string& database) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Client client{config(database)};
    client.register_queue<Work>([](const Work&) {});
    define(client);
    client.start();
    for (;;) ::pause();
}

/// How many slots of a schedule have a task that is due at a time, by that time. The file says when it began and which
/// slot comes next.
std::map<std::int64_t, std::size_t> expected(SQLite::Database& look, const Defined& of) {
    SQLite::Statement row(look, "SELECT begun_at, next_at, spec FROM backlite_schedules WHERE name = ?");
    row.bind(1, of.name);
    REQUIRE(row.executeStep());
    const Ms begun{row.getColumn(0).getInt64()};
    const Ms end{row.getColumn(1).getInt64()};
    std::map<std::int64_t, std::size_t> slots;
    for (Ms slot = begun + of.period; slot < end; slot = slot + of.period) {
        ++slots[(slot + backlite::core::jitter_of(of.name, slot, most_jitter)).count()];
    }
    return slots;
}

TEST_CASE("schedules: however often processes die no slot is doubled and none is missed") {
    const Harness harness("schedules", 20);
    const TempFolder folder;
    const std::string database = folder.file("q.db");
    std::mt19937_64 random(harness.seed());
    REQUIRE(backlite_test::in_child([&] {
                Client client{config(database)};
                define(client);
                return 0;
            }) == 0);
    std::vector<pid_t> lives;
    const auto start = [&] { return backlite_test::start_child([&] { return live(database); }); };
    for (int i = 0; i < 3; ++i) lives.push_back(start());
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        // Often while it opens the file, writes a slot or takes back what another one held.
        std::this_thread::sleep_for(std::chrono::milliseconds{20 + random() % 120});
        pid_t& victim = lives[random() % lives.size()];
        backlite_test::kill_and_wait(victim);
        victim = start();
    }
    for (const pid_t each : lives) backlite_test::kill_and_wait(each);
    REQUIRE(backlite_test::in_child([&] {
                Client client{config(database)};
                client.register_queue<Work>([](const Work&) {});
                client.start();
                std::this_thread::sleep_for(300ms);
                for (const Defined& each : defined) client.pause_schedule(each.name);
                client.pause_schedule("work");
                return client.wait_idle(60s) && client.stop(10s) ? 0 : 1;
            }) == 0);

    SQLite::Database look(database, SQLite::OPEN_READONLY);
    CHECK(look.execAndGet("PRAGMA integrity_check").getString() == "ok");
    std::size_t slots = 0, doubled = 0, missed = 0;
    for (const Defined& each : defined) {
        std::map<std::int64_t, std::size_t> wanted = expected(look, each);
        std::map<std::int64_t, std::size_t> found;
        SQLite::Statement tasks(look, "SELECT wait_until FROM backlite_tasks WHERE CAST(task AS text) = ?");
        tasks.bind(1, nlohmann::json(Mark{each.name}).dump());
        while (tasks.executeStep()) ++found[tasks.getColumn(0).getInt64()];
        for (const auto& [due, count] : wanted) {
            slots += count;
            if (found[due] < count) missed += count - found[due];
        }
        for (const auto& [due, count] : found) {
            if (count > wanted[due]) doubled += count - wanted[due];
        }
    }
    fmt::print("  {} slots: {} doubled, {} missed\n", slots, doubled, missed);
    CHECK(slots > harness.rounds() * 5);
    CHECK(doubled == 0);
    CHECK(missed == 0);
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_tasks WHERE queue = 'work'").getInt() == 0);
}

}  // namespace
