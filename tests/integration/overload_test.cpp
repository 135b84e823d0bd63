// SPDX-License-Identifier: MIT
// Many producers, many workers, clients that come and go: nothing is lost, nothing runs twice, nobody waits in vain.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Outcome;
using backlite::UsageError;

struct Work {
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "work", .retention = backlite::Retention{}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, number)

struct Flaky {
    int number = 0;
    static backlite::QueueConfig config() {
        return {.name = "flaky", .max_attempts = 3, .timeout = 10s, .retention = backlite::Retention{}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Flaky, number)

struct Mixed {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "mixed"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Mixed, name)

// How often each number was seen. Threads: any.
class Tally {
public:
    void count(int number) {
        const std::lock_guard lock(mutex_);
        ++counts_[number];
        ++total_;
    }
    [[nodiscard]] std::size_t total() const {
        const std::lock_guard lock(mutex_);
        return total_;
    }
    [[nodiscard]] std::map<int, int> counts() const {
        const std::lock_guard lock(mutex_);
        return counts_;
    }

private:
    mutable std::mutex mutex_{};
    std::map<int, int> counts_{};
    std::size_t total_ = 0;
};

TEST_CASE("overload: four producers, four workers, and a storm of starts and stops run each task once") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    constexpr int producers = 4;
    constexpr int each = 400;
    Tally works;
    Tally flakies;
    std::array<std::unique_ptr<Client>, 2> clients;
    for (auto& client : clients) {
        client = std::make_unique<Client>(quick(file, 4));
        client->register_queue<Work>([&](const Work& work) { works.count(work.number); });
        client->register_queue<Flaky>([&](Context& context, const Flaky& flaky) -> Outcome {
            if (flaky.number % 3 == 0 && context.attempt() == 1) throw std::runtime_error("the first time");
            if (context.stop_token().stop_requested()) return Outcome::retry("interrupted");
            flakies.count(flaky.number);
            return Outcome::success();
        });
    }
    std::atomic<bool> over{false};
    std::vector<std::thread> storm;
    for (auto& client : clients) {
        storm.emplace_back([&over, &client] {
            for (int round = 0; !over; ++round) {
                try {
                    client->start();
                } catch (const UsageError&) {  // it still stops
                }
                if (round % 3 != 0) std::this_thread::sleep_for(std::chrono::milliseconds{round % 7});
                (void)client->stop(std::chrono::milliseconds{round % 2});
            }
        });
    }
    std::vector<std::thread> adding;
    for (int producer = 0; producer < producers; ++producer) {
        adding.emplace_back([&, producer] {
            for (int i = 0; i < each; ++i) {
                const int number = producer * each + i;
                Client& client = *clients[static_cast<std::size_t>(number) % clients.size()];
                if (i % 10 == 0) {
                    client.add(std::vector<Work>{{number}}, Flaky{number})
                        .wait(std::chrono::milliseconds{i % 20})
                        .save();
                } else {
                    client.add(Work{number}, Flaky{number}).save();
                }
            }
        });
    }
    for (std::thread& producer : adding) producer.join();
    over = true;
    for (std::thread& thread : storm) thread.join();
    for (auto& client : clients) {
        CHECK(eventually([&] {
            try {
                client->start();
                return true;
            } catch (const UsageError&) {
                return false;
            }
        }));
    }
    constexpr std::size_t tasks = producers * each;
    Look look(file);
    CHECK(eventually([&] { return look.tasks() == 0; }));
    for (auto& client : clients) CHECK(client->stop(1h));
    CHECK(works.total() == tasks);
    CHECK(works.counts().size() == tasks);
    CHECK(flakies.total() == tasks);
    CHECK(flakies.counts().size() == tasks);
    CHECK(look.completed("succeeded = 1") == 2 * tasks);
    CHECK(look.completed("queue = 'flaky' AND attempts > 2") == 0);
    CHECK(look.integrity() == "ok");
    CHECK(look.number("SELECT count(*) FROM backlite_clients") == 0);
}

TEST_CASE("overload: quick tasks claimed behind a slow one run elsewhere once another client has a free worker") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    std::chrono::milliseconds best = patience;
    for (int round = 0; round < 3; ++round) {
        Journal journal;
        Gate gate;
        Client busy{quick(file, 1)};
        Client free{quick(file, 1)};
        const OpensAtEnd opens(gate);
        busy.register_queue<Mixed>([&](const Mixed& task) {
            journal.note(task.name);
            if (task.name == "slow") gate.pass();
        });
        free.register_queue<Mixed>([&](const Mixed& task) { journal.note("elsewhere " + task.name); });
        std::vector<Mixed> tasks(40, Mixed{"quick"});
        tasks.push_back({"slow"});
        for (int i = 0; i < 20; ++i) tasks.push_back({fmt::format("behind {}", i)});
        busy.add(tasks).save();
        busy.start();
        REQUIRE(journal.await("slow"));
        Look look(file);
        REQUIRE(eventually([&] { return look.tasks("claimed_at IS NOT NULL") > 1; }));
        const auto start = std::chrono::steady_clock::now();
        free.start();
        for (int i = 0; i < 20; ++i) REQUIRE(journal.await(fmt::format("elsewhere behind {}", i)));
        const auto took = std::chrono::steady_clock::now() - start;
        best = std::min(best, std::chrono::duration_cast<std::chrono::milliseconds>(took));
        CHECK(eventually([&] { return look.tasks() == 1; }));
        gate.open();
        CHECK(busy.stop(1h));
        CHECK(free.stop(1h));
        CHECK(look.tasks() == 0);
        CHECK(journal.entries().size() == 61);
    }
    CHECK(best < 500ms);
}

TEST_CASE_METHOD(Story, "overload: while another client lives, slow tasks are claimed for free workers only") {
    std::array<Gate, 2> gates;
    Client one{quick(file, 1)};
    Client two{quick(file, 1)};
    const OpensAtEnd opens_one(gates[0]);
    const OpensAtEnd opens_two(gates[1]);
    one.register_queue<Mixed>([&](const Mixed& task) {
        journal.note("one " + task.name);
        gates[0].pass();
    });
    two.register_queue<Mixed>([&](const Mixed& task) {
        journal.note("two " + task.name);
        gates[1].pass();
    });
    one.add(std::vector<Mixed>(6, Mixed{"slow"})).save();
    one.start();
    two.start();
    REQUIRE(journal.await("one slow"));
    REQUIRE(journal.await("two slow"));
    Look look(file);
    CHECK(look.tasks("claimed_at IS NOT NULL") == 2);
    gates[1].open();
    CHECK(journal.await("two slow", 5));
    gates[0].open();
    CHECK(eventually([&] { return look.tasks() == 0; }));
    CHECK(journal.entries().size() == 6);
}

TEST_CASE_METHOD(Story, "overload: of large tasks no more than 16 MiB are claimed ahead") {
    config.num_workers = 1;
    config.clock = std::make_shared<backlite::testing::ManualClock>();  // so each task counts as quick
    Gate gate;
    Client client{config};
    const OpensAtEnd opens(gate);
    client.register_queue<Mixed>([&](const Mixed& task) {
        journal.note(task.name.size() == 1 ? "small" : "large");
        if (task.name.size() > 1) gate.pass();
    });
    client.start();
    client.add(Mixed{"s"}).save();
    REQUIRE(journal.await("small"));
    const std::vector<Mixed> large(4, Mixed{std::string(std::size_t{6} << 20, 'x')});
    client.add(large).save();
    REQUIRE(journal.await("large"));
    CHECK(Look(config.database).tasks("claimed_at IS NOT NULL") == 3);  // one runs
    gate.open();
    for (int done = 1; done <= 4; ++done) CHECK(journal.await("large", done));  // each may take seconds to read
}

TEST_CASE("overload: adds from inside tasks, of as many threads as there are workers, do not block each other") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    constexpr int generations = 7;
    Tally tally;
    Client client{quick(file, 8)};
    client.register_queue<Work>([&](Context& context, const Work& work) {
        tally.count(work.number);
        if (work.number < generations) {
            context.client().add(Work{work.number + 1}, Work{work.number + 1}, Work{work.number + 1}).save();
        }
    });
    client.start();
    client.add(Work{0}).save();
    constexpr std::size_t total = (6561 - 1) / 2;  // 3^0 + … + 3^7
    CHECK(eventually([&] { return tally.total() == total; }));
    CHECK(client.stop(1h));
    Look look(file);
    CHECK(look.tasks() == 0);
    CHECK(look.completed("succeeded = 1") == total);
}

TEST_CASE("overload: a host that writes all the time slows the client down, and stops nothing") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Tally tally;
    Client client{quick(file, 4)};
    client.register_queue<Work>([&](const Work& work) { tally.count(work.number); });
    client.start();
    std::atomic<bool> over{false};
    std::thread host([&] {
        Look look(file);
        look.run("CREATE TABLE host (x)");
        while (!over) {
            look.run("BEGIN IMMEDIATE; INSERT INTO host VALUES (1)");
            std::this_thread::sleep_for(2ms);
            look.run("COMMIT");
            std::this_thread::sleep_for(1ms);
        }
    });
    std::vector<std::thread> producers;
    for (int producer = 0; producer < 4; ++producer) {
        producers.emplace_back([&, producer] {
            for (int i = 0; i < 20; ++i) client.add(Work{producer * 20 + i}).save();
        });
    }
    for (std::thread& producer : producers) producer.join();
    CHECK(eventually([&] { return tally.total() == 80; }));
    over = true;
    host.join();
    CHECK(client.stop(1h));
    CHECK(tally.counts().size() == 80);
    CHECK(Look(file).tasks() == 0);
}

}  // namespace
