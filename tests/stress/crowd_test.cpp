// SPDX-License-Identifier: MIT
// Four processes of eight workers on one file, all of them adding and running: each task is run exactly once while
// nobody dies, and nobody hears of a lock.
//     BACKLITE_ROUNDS=100000 build/gcc/tests/backlite_stress "crowd: four processes*"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite_test::Harness;
using backlite_test::Process;

constexpr std::size_t processes = 4;
constexpr std::size_t batch = 25;

struct Job {
    std::size_t number = 0;
    static backlite::QueueConfig config() { return {.name = "job"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, number)

struct Board {
    std::array<std::atomic<std::uint64_t>, processes> runs_by{};
    std::atomic<std::uint64_t> runs{0};
};

using Count = std::atomic<std::uint32_t>;

// Adds its share, a batch or a single task at a time, and runs whatever it gets.
void live(const std::string& file, Board& board, Count* counts, std::size_t slot, std::size_t tasks,
          const Process::Inside& parent) {
    backlite::ClientConfig config{.database = file, .num_workers = 8, .durability = backlite::Durability::process};
    config.logger = backlite::make_logger([&](backlite::LogLevel level, std::string_view message, auto fields) {
        if (level != backlite::LogLevel::failure) return;
        std::string line = fmt::format("logged {}", message);
        for (const backlite::LogField& field : fields) line += fmt::format(" {}={}", field.key, field.value);
        parent.say(std::move(line));
    });
    backlite::Client client{config};
    client.register_queue<Job>([&](const Job& job) {
        ++counts[job.number];
        ++board.runs_by[slot];
        ++board.runs;
    });
    client.start();
    parent.say("ready");
    parent.wait();
    const std::size_t end = tasks * (slot + 1) / processes;
    for (std::size_t number = tasks * slot / processes; number < end;) {
        std::vector<Job> jobs;
        for (const std::size_t size = number % 2 == 0 ? batch : 1; jobs.size() < size && number < end; ++number) {
            jobs.push_back({number});
        }
        (void)client.add(jobs).save();  // what it throws ends the process, and the parent hears of it
    }
    parent.say("added");
    parent.wait();
    if (!client.stop(20s)) parent.say("did not stop");
    parent.say("stopped");
}

TEST_CASE("crowd: four processes of eight workers run each task exactly once and surface no lock") {
    const Harness harness("crowd: tasks", 20'000);
    const std::size_t tasks = harness.rounds();
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("app.db");
    const backlite_test::SharedMemory<Board> board;
    const backlite_test::SharedMemory<Count> counts(tasks);
    { const backlite::Client makes_the_tables{{.database = file}}; }

    std::vector<std::unique_ptr<Process>> crowd;
    for (std::size_t slot = 0; slot < processes; ++slot) {
        crowd.push_back(std::make_unique<Process>(
            [&, slot](const Process::Inside& parent) { live(file, *board, counts.get(), slot, tasks, parent); }));
    }
    for (const auto& member : crowd) REQUIRE(member->await("ready"));
    for (const auto& member : crowd) member->next();
    for (const auto& member : crowd) {
        // As long as tasks are run it is not stuck, however slow the machine is.
        std::uint64_t before = 0;
        bool added = false;
        do {
            before = board->runs;
            added = member->await("added");
        } while (!added && board->runs > before);
        INFO(fmt::format("{}", fmt::join(member->lines(), "\n")));
        REQUIRE(added);
    }
    std::uint64_t before = 0;
    bool all = false;
    do {
        before = board->runs;
        all = backlite_test::eventually([&] { return board->runs >= tasks; });
    } while (!all && board->runs > before);
    for (const auto& member : crowd) member->next();
    for (const auto& member : crowd) {
        CHECK(member->await("stopped"));
        CHECK(member->join() == 0);
        CHECK(member->lines() == std::vector<std::string>{"ready", "added", "stopped"});
    }

    std::size_t wrong = 0;
    for (std::size_t number = 0; number < tasks; ++number) wrong += counts[number] == 1 ? 0U : 1U;
    CHECK(wrong == 0);
    SQLite::Database database(file);
    CHECK(database.execAndGet("SELECT count(*) FROM backlite_tasks").getInt64() == 0);
    CHECK(database.execAndGet("SELECT count(*) FROM backlite_tasks_completed").getInt64() == 0);
    CHECK(database.execAndGet("SELECT count(*) FROM backlite_clients").getInt64() == 0);
    for (std::size_t slot = 0; slot < processes; ++slot) {
        fmt::print("  process {} ran {} tasks\n", slot, board->runs_by[slot].load());
        CHECK(board->runs_by[slot] * 50 >= tasks);  // else it was no crowd
    }
}

}  // namespace
