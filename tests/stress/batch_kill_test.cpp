// SPDX-License-Identifier: MIT
// A task that kills its process, among others in batches, under a supervisor that starts it again.
//     BACKLITE_ROUNDS=100 build/gcc/tests/backlite_stress "batches: *"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace batch_kill_test {

using namespace std::chrono_literals;
using backlite_test::Harness;
using backlite_test::Look;
using backlite_test::Process;

constexpr std::size_t tasks = 60;  // the first of which is the poison
constexpr int max_crashes = 3;

struct Pill {
    std::size_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = "pill",
                .max_attempts = 2,
                .backoff = 0s,
                .retention = backlite::Retention{.data = backlite::RetainData{}},
                .max_crashes = max_crashes};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Pill, number)

// What outlives the processes of one round.
struct Ward {
    std::array<std::atomic<int>, tasks> entered{};
    std::atomic<int> batches{0};   // of more than one
    std::atomic<int> poisoned{0};  // of those: with the poison
    std::atomic<int> poison_alone{0};
};

struct Dose {
    backlite::BatchOptions options{};
    unsigned workers = 1;
    std::chrono::milliseconds fuse{};
};

// Runs tasks until none is left, or until the poison kills it. Each seventh task fails at its first attempt.
void work(const std::string& file, Ward& ward, const Dose& dose) {
    backlite::Client client{backlite_test::quick(file, dose.workers)};
    client.register_batch_queue<Pill>(dose.options, [&](backlite::BatchContext& context, std::span<const Pill> pills) {
        const bool poisoned =
            std::any_of(pills.begin(), pills.end(), [](const Pill& pill) { return pill.number == 0; });
        if (pills.size() > 1) ++ward.batches;
        if (poisoned) ++(pills.size() > 1 ? ward.poisoned : ward.poison_alone);
        std::vector<backlite::Outcome> outcomes;
        for (std::size_t i = 0; i < pills.size(); ++i) {
            ++ward.entered[pills[i].number];
            const bool fails = pills[i].number % 7 == 6 && context.attempt(i) == 1;
            outcomes.push_back(fails ? backlite::Outcome::retry("again") : backlite::Outcome::success());
        }
        std::this_thread::sleep_for(poisoned ? dose.fuse : 1ms);
        if (poisoned) ::raise(SIGKILL);
        return outcomes;
    });
    client.start();
    while (!client.counts().empty()) std::this_thread::sleep_for(2ms);
    client.stop(1h);
}

TEST_CASE("batches: a task that kills its process fails alone, and every other one of its batches succeeds") {
    const Harness harness("batches", 8);
    std::mt19937_64 random(harness.seed());
    int batches = 0;
    int poisoned = 0;
    std::int64_t suspects = 0;
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        Dose dose;
        dose.options.max = static_cast<int>(2 + random() % 15);
        dose.options.max_wait = std::chrono::milliseconds{random() % 30};
        dose.workers = static_cast<unsigned>(1 + random() % 4);
        dose.fuse = std::chrono::milliseconds{random() % 20};
        INFO("BACKLITE_SEED=" << harness.seed() << ", round " << round << ": up to " << dose.options.max << " after "
                              << dose.options.max_wait.count() << " ms on " << dose.workers << " workers");
        const backlite_test::TempFolder folder;
        const std::string file = folder.file("app.db");
        const backlite_test::SharedMemory<Ward> ward;
        std::vector<Pill> pills(tasks);
        for (std::size_t i = 0; i < tasks; ++i) pills[i].number = i;
        std::shuffle(pills.begin(), pills.end(), random);
        {
            backlite::Client client{backlite_test::quick(file)};
            (void)client.add(pills).save();
        }
        int lives = 0;
        int result = 1;
        while (result != 0 && lives < 10) {
            Process life([&](const Process::Inside&) { work(file, *ward, dose); });
            result = life.join();
            ++lives;
            if (result == 0) break;
            {
                backlite::Client client{
                    backlite_test::quick(file)};  // takes back what that life held, and runs nothing
                client.start();
                REQUIRE(client.stop(1h));
            }
            Look look(file);
            REQUIRE(look.tasks("claimed_at IS NOT NULL") == 0);
            REQUIRE(look.tasks("crashes > " + std::to_string(lives)) == 0);
            REQUIRE(look.tasks("crashes = " + std::to_string(lives) +
                               " AND json_extract(CAST(task AS TEXT), '$.number') = 0") == 1);
            suspects += look.tasks("crashes > 0");
        }
        Look look(file);
        REQUIRE(result == 0);
        REQUIRE(lives == max_crashes + 1);
        REQUIRE(ward->entered[0] == max_crashes);
        REQUIRE(ward->poison_alone >= max_crashes - 1);
        REQUIRE(look.tasks() == 0);
        REQUIRE(look.completed("succeeded = 0 AND attempts = 0 AND error LIKE '%died 3 times%' "
                               "AND json_extract(CAST(task AS TEXT), '$.number') = 0") == 1);
        REQUIRE(
            look.completed("succeeded = 1 AND attempts = 1 + (json_extract(CAST(task AS TEXT), '$.number') % 7 = 6)") ==
            std::int64_t{tasks - 1});
        REQUIRE(look.integrity() == "ok");
        batches += ward->batches;
        poisoned += ward->poisoned;
    }
    REQUIRE(batches > 0);
    REQUIRE(poisoned > 0);
    fmt::print("  {} batches, {} of them with the poison, which killed {} processes; {} suspects\n", batches, poisoned,
               harness.rounds() * max_crashes, suspects);
}

}  // namespace batch_kill_test
