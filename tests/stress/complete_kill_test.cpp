// SPDX-License-Identifier: MIT
// Tasks that commit their effect and their success in one transaction of the host's, while the processes that run them
// are killed, or frozen past their lease. The effects are counted in the host's own table.
//     BACKLITE_ROUNDS=1000 build/gcc/tests/backlite_stress "complete: effects are there once h*"
//     BACKLITE_ROUNDS=200 build/gcc/tests/backlite_stress "complete: effects are there once a*"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::Context;
using backlite::Transaction;
using backlite_test::eventually;
using backlite_test::freeze_at_rest;
using backlite_test::Harness;
using backlite_test::Look;
using backlite_test::Moments;
using backlite_test::Process;
using backlite_test::SharedMemory;
using backlite_test::TempFolder;

constexpr std::size_t most_lives = 3;
constexpr unsigned workers = 3;
constexpr std::uint64_t none = ~std::uint64_t{0};

struct Payment {
    std::uint64_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = "payments", .max_attempts = 1'000, .backoff = 1ms, .max_crashes = 1'000};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Payment, number)

// Where the workers of one process are.
struct Life {
    std::atomic<int> in_transaction{0};
    std::atomic<int> completed{0};                         // and not returned
    std::array<std::atomic<std::uint64_t>, 16> waiting{};  // tasks that are inside, before their transaction
};

struct Shared {
    std::array<Life, most_lives> lives{};
    std::array<std::atomic<int>, 4'096> entered{};  // by task
    std::atomic<std::uint64_t> added{0};            // tasks 0 to this were acknowledged
    std::atomic<std::size_t> lost{0};               // claims, found at complete
    std::atomic<bool> over{false};
};

struct Bank {
    Bank() {
        Client{config(10min)}.install();
        Look(file).run("CREATE TABLE paid (number integer)");
        for (Life& life : shared->lives) forget(life);
    }

    [[nodiscard]] backlite::ClientConfig config(backlite::Duration release_after) const {
        return {.database = file,
                .num_workers = workers,
                .release_after = release_after,
                .durability = backlite::Durability::process};
    }

    static void forget(Life& life) {
        life.in_transaction = life.completed = 0;
        for (auto& each : life.waiting) each = none;
    }

    // Every fifth attempt fails before its commit, and every fifth after it.
    void pay(Life& life, Context& context, const Payment& payment, backlite::Duration most) const {
        const auto entered = ++shared->entered[payment.number % shared->entered.size()];
        const std::uint64_t dice = payment.number * 7'919 + static_cast<std::uint64_t>(entered) * 104'729;
        auto& place = life.waiting[payment.number % life.waiting.size()];
        place = payment.number;
        std::this_thread::sleep_for(std::chrono::microseconds{most} * static_cast<std::int64_t>(dice % 100) / 100);
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        Transaction transaction(context, database);
        place = none;
        ++life.in_transaction;
        SQLite::Statement insert(database, "INSERT INTO paid VALUES (?)");
        insert.bind(1, static_cast<std::int64_t>(payment.number));
        insert.exec();
        insert.reset();
        if (dice % 7 == 0) std::this_thread::sleep_for(1ms);
        if (dice % 5 == 0) {
            --life.in_transaction;
            throw std::runtime_error("before");
        }
        try {
            transaction.complete();
        } catch (const backlite::ClaimLost&) {
            --life.in_transaction;
            ++shared->lost;
            throw;
        }
        --life.in_transaction;
        ++life.completed;
        std::this_thread::sleep_for(std::chrono::microseconds{(dice / 100) % 30'000});
        --life.completed;
        if (dice % 5 == 1) throw std::runtime_error("after");
    }

    [[nodiscard]] std::unique_ptr<Process> live(std::size_t index, backlite::Duration release_after,
                                                backlite::Duration most) {
        return std::make_unique<Process>([=, this](const Process::Inside& parent) {
            Client client{config(release_after)};
            client.register_queue<Payment>(
                [&](Context& context, const Payment& payment) { pay(shared->lives[index], context, payment, most); });
            client.start();
            parent.say("started");
            for (;;) ::pause();
        });
    }

    // Adds tasks, never more than so many ahead of those that run, until it is over.
    [[nodiscard]] std::unique_ptr<Process> add() {
        return std::make_unique<Process>([this](const Process::Inside&) {
            Client client{config(10min)};
            Look look(file);
            while (!shared->over) {
                if (look.tasks() < 60) {
                    for (int i = 0; i < 20; ++i) {
                        client.add(Payment{shared->added}).save();
                        ++shared->added;
                    }
                }
                std::this_thread::sleep_for(2ms);
            }
        });
    }

    // Runs what is left, in a process of its own, and compares.
    void check() {
        Process last([this](const Process::Inside&) {
            Client client{config(10min)};
            client.register_queue<Payment>(
                [&](Context& context, const Payment& payment) { pay(shared->lives[0], context, payment, 1ms); });
            client.start();
            for (const auto end = std::chrono::steady_clock::now() + 60s; !client.counts().empty();) {
                if (std::chrono::steady_clock::now() > end) throw std::runtime_error("tasks are left");
                std::this_thread::sleep_for(5ms);
            }
            if (!client.stop(10s)) throw std::runtime_error("no stop");
        });
        CHECK(last.join() == 0);
        Look look(file);
        const auto added = static_cast<std::int64_t>(shared->added.load());
        const std::int64_t effects = look.number("SELECT count(*) FROM paid");
        fmt::print("  {} tasks acknowledged, {} effects, {} claims found lost at their commit\n", added, effects,
                   shared->lost.load());
        CHECK(look.tasks() == 0);
        CHECK(look.number("SELECT count(DISTINCT number) FROM paid") == effects);
        CHECK(look.number(fmt::format("SELECT count(*) FROM paid WHERE number < {}", added)) == added);
        CHECK(effects <= added + 1);  // the last one may not have been acknowledged
        CHECK(look.completed("succeeded = 0") == 0);
        CHECK(look.integrity() == "ok");
    }

    TempFolder folder{};
    const std::string file = folder.file("q.db");
    const SharedMemory<Shared> shared{};
};

TEST_CASE("complete: effects are there once however often the processes that commit them are killed") {
    const Harness harness("complete, killed", 12);
    Moments moments(harness, {"inside of a transaction", "completed and not returned"});
    std::mt19937_64 random(harness.seed());
    Bank bank;
    {
        const auto adder = bank.add();
        std::vector<std::unique_ptr<Process>> running;
        for (std::size_t i = 0; i < most_lives; ++i) running.push_back(bank.live(i, 10min, 4ms));
        for (std::size_t round = 0; moments.wants(round); ++round) {
            const std::size_t victim = random() % most_lives;
            REQUIRE(running[victim]->await("started"));
            std::this_thread::sleep_for(std::chrono::milliseconds{20 + random() % 100});
            running[victim]->kill();
            Life& life = bank.shared->lives[victim];
            moments.met({static_cast<std::size_t>((std::max)(life.in_transaction.load(), 0)),
                         static_cast<std::size_t>((std::max)(life.completed.load(), 0))});
            Bank::forget(life);
            running[victim] = bank.live(victim, 10min, 4ms);
        }
        bank.shared->over = true;
        CHECK(adder->join() == 0);
    }
    moments.check();
    bank.check();
}

TEST_CASE("complete: effects are there once although the processes that commit them are frozen past their lease") {
    const Harness harness("complete, frozen", 4);
    Moments moments(harness, {"claims lost to others before the commit"});
    std::mt19937_64 random(harness.seed());
    Bank bank;
    {
        const auto adder = bank.add();
        std::vector<std::unique_ptr<Process>> running;
        for (std::size_t i = 0; i < most_lives; ++i) {
            running.push_back(bank.live(i, 300ms, 60ms));
            REQUIRE(running.back()->await("started"));
        }
        for (std::size_t round = 0; moments.wants(round); ++round) {
            const std::size_t victim = random() % most_lives;
            std::this_thread::sleep_for(std::chrono::milliseconds{10 + random() % 60});
            const std::size_t lost = bank.shared->lost;
            freeze_at_rest(*running[victim], bank.file);
            std::vector<std::pair<std::uint64_t, int>> held;  // and how often they had been entered
            for (const auto& each : bank.shared->lives[victim].waiting) {
                if (const std::uint64_t number = each; number != none) {
                    held.emplace_back(number, bank.shared->entered[number % bank.shared->entered.size()]);
                }
            }
            static_cast<void>(eventually([&] {
                return std::all_of(held.begin(), held.end(), [&](const auto& one) {
                    return bank.shared->entered[one.first % bank.shared->entered.size()] > one.second;
                });
            }));
            running[victim]->thaw();
            if (!held.empty()) static_cast<void>(eventually([&] { return bank.shared->lost > lost; }, 2s));
            moments.met({bank.shared->lost - lost});
        }
        bank.shared->over = true;
        CHECK(adder->join() == 0);
    }
    moments.check();
    bank.check();
}

}  // namespace
