// SPDX-License-Identifier: MIT
// Tasks return results, save values and say how far they are, while the processes that run them are killed again and
// again, and another process waits for them: each result is that of the attempt that ran last, each attempt finds what
// was saved last, what a task has said is its own, and each wait and callback comes.
//     BACKLITE_ROUNDS=1000 build/gcc/tests/backlite_stress "results: *"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

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
using backlite::Client;
using backlite::Context;
using backlite::FinishedTask;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite_test::Harness;
using backlite_test::patience;
using backlite_test::Process;
using backlite_test::SharedMemory;

constexpr std::uint64_t most = 200'000;

struct Shared {
    std::atomic<std::uint64_t> attempts{0};
    std::atomic<std::uint64_t> added{0};
    std::atomic<std::uint64_t> waited{0};
    std::atomic<std::uint64_t> told{0};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> loads{0};  ///< that found something
    std::atomic<std::uint64_t> wrong_saves{0};
    std::atomic<bool> over{false};
    std::array<std::atomic<std::uint64_t>, most> latest{};  ///< of each task: the attempt that ran last
    std::array<std::atomic<std::uint64_t>, most> saving{};  ///< what it was about to save last
    std::array<std::atomic<std::uint64_t>, most> saved{};   ///< what it has saved last
};

struct Job {
    using Result = std::uint64_t;
    std::uint64_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = "jobs",
                .max_attempts = 1'000,
                .backoff = 1ms,
                .retention = backlite::Retention{.duration = 24h, .data = backlite::RetainData{}},
                .max_crashes = 1'000};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, number)

void serve(const std::string& file, Shared& shared) {
    backlite::ClientConfig config = backlite_test::quick(file, 3);
    Client client{config};
    client.register_queue<Job>([&](Context& context, const Job& job) {
        // A save that a death has cut short may be in the file or not.
        const std::uint64_t found = context.load<std::uint64_t>("attempt").value_or(0);
        if (found != shared.saved[job.number] && found != shared.saving[job.number]) ++shared.wrong_saves;
        if (found != 0) ++shared.loads;
        shared.saved[job.number] = found;
        const std::uint64_t attempt = ++shared.attempts;
        shared.latest[job.number] = attempt;
        context.progress(0.5, fmt::format("{} {}", job.number, attempt));
        if (attempt % 2 == 0) {
            shared.saving[job.number] = attempt;
            context.save("attempt", attempt);
            shared.saved[job.number] = attempt;
        }
        std::this_thread::sleep_for(std::chrono::microseconds{(attempt * 7919) % 4'000});
        if (attempt % 3 == 0) throw std::runtime_error("again");
        return attempt;
    });
    client.start();
    for (;;) ::pause();
}

void check(const Client& client, Shared& shared, std::uint64_t number, const TaskId& id, TaskStatus status) {
    const bool right = status == TaskStatus::succeeded && client.result<Job>(id) == shared.latest[number];
    if (!right) ++shared.wrong;
}

/// Adds tasks and waits for some of them, until it is over; then until all callbacks were called.
void use(const std::string& file, Shared& shared, const Process::Inside& parent) {
    Client client{backlite_test::quick(file)};
    client.start();
    parent.say("started");
    const auto add = [&] {
        while (!shared.over) {
            const std::uint64_t number = shared.added++;
            if (number >= most) return;
            const TaskId id = client.add(Job{number}).save().front();
            client.on_finished(id, [&, number](const FinishedTask& task) {
                check(client, shared, number, task.id, task.status);
                ++shared.told;
            });
            if (number % 4 != 0) continue;
            const std::optional<TaskStatus> status = client.wait(id, patience);
            check(client, shared, number, id, status.value_or(TaskStatus::pending));
            ++shared.waited;
        }
    };
    {
        std::jthread second(add);
        add();
    }
    const auto end = std::chrono::steady_clock::now() + patience;
    while (shared.told < (std::min)(shared.added.load(), most) && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(1ms);
    }
    parent.say("done");
}

TEST_CASE("results: however often processes die, a result is of the attempt that ran last, and nobody waits in vain") {
    const Harness harness("results", 15);
    std::mt19937_64 random(harness.seed());
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("app.db");
    const SharedMemory<Shared> memory;
    Shared& shared = *memory;
    const auto live = [&] { return std::make_unique<Process>([&](const Process::Inside&) { serve(file, shared); }); };
    {
        Process user([&](const Process::Inside& parent) { use(file, shared, parent); });
        REQUIRE(user.await("started"));
        std::vector<std::unique_ptr<Process>> lives;
        for (int i = 0; i < 3; ++i) lives.push_back(live());
        for (std::size_t round = 0; round < harness.rounds(); ++round) {
            std::this_thread::sleep_for(std::chrono::milliseconds{50 + random() % 300});
            std::unique_ptr<Process>& victim = lives[random() % lives.size()];
            victim->kill();
            victim = live();
        }
        shared.over = true;
        REQUIRE(user.await("done"));
    }
    const std::uint64_t added = (std::min)(shared.added.load(), most);
    CHECK(shared.wrong == 0);
    CHECK(shared.wrong_saves == 0);
    CHECK(shared.loads > 0);
    CHECK(shared.told == added);
    CHECK(shared.waited > 0);
    SQLite::Database look(file, SQLite::OPEN_READONLY);
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 0);
    SQLite::Statement kept(look, "SELECT task, result FROM backlite_tasks_completed");
    std::uint64_t results = 0;
    std::uint64_t stale = 0;
    while (kept.executeStep()) {
        ++results;
        const auto number = nlohmann::json::parse(kept.getColumn(0).getString()).at("number").get<std::uint64_t>();
        stale += kept.getColumn(1).getString() == std::to_string(shared.latest[number]) ? 0U : 1U;
    }
    CHECK(results == added);
    CHECK(stale == 0);
    SQLite::Statement said(look,
                           "SELECT kept.task, message FROM backlite_progress JOIN backlite_tasks_completed AS kept "
                           "ON kept.id = backlite_progress.task");
    std::uint64_t words = 0;
    std::uint64_t wrong_words = 0;
    while (said.executeStep()) {
        ++words;
        const auto number = nlohmann::json::parse(said.getColumn(0).getString()).at("number").get<std::uint64_t>();
        std::istringstream message(said.getColumn(1).getString());
        std::uint64_t of = most;
        std::uint64_t attempt = 0;
        message >> of >> attempt;
        if (of != number || attempt == 0 || attempt > shared.latest[number]) ++wrong_words;
    }
    CHECK(words > 0);
    CHECK(wrong_words == 0);
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_saved").getInt() == 0);  // they go with a success
    fmt::print("  {} tasks, {} attempts, {} waits, {} loads, {} words of progress; stale or wrong: {}, {}, {}\n", added,
               shared.attempts.load(), shared.waited.load(), shared.loads.load(), words, stale + shared.wrong,
               shared.wrong_saves.load(), wrong_words);
}

}  // namespace
