// SPDX-License-Identifier: MIT
// Flows whose processes are killed, or frozen past their lease: no step runs again that has returned, each gives for
// ever what it returned, and what `tx` does happens exactly once. The steps are written down in memory that outlives
// the processes, the effects in the host's own table.
//     BACKLITE_ROUNDS=1000 build/gcc/tests/backlite_stress "flows: *killed*"
//     BACKLITE_ROUNDS=100 build/gcc/tests/backlite_stress "flows: *frozen*"
// A flow has 600 steps, or as many as BACKLITE_STEPS says.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
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
#include <backlite/flow.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace flow_kill_test {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::Flow;
using backlite_test::freeze_at_rest;
using backlite_test::Harness;
using backlite_test::Look;
using backlite_test::Moments;
using backlite_test::Process;
using backlite_test::SharedMemory;
using backlite_test::TempFolder;

constexpr unsigned workers = 2;
constexpr int at_once = 6;              // flows
constexpr int most_values = 8'000'000;  // of the steps of a run
constexpr int tx_every = 50;
constexpr int children = 3;

struct Sum {
    int number = 0;
    std::int64_t value = 0;
};
struct Long {
    int number = 0;
    using Result = Sum;
    static backlite::QueueConfig config() {
        return {.name = "long",
                .max_attempts = 1,
                .backoff = 1ms,
                .retention = backlite::Retention{},
                .max_crashes = 1'000};
    }
};
struct Piece {
    int number = 0;
    using Result = int;
    static backlite::QueueConfig config() { return {.name = "piece", .max_attempts = 1, .max_crashes = 1'000}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sum, number, value)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Long, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Piece, number)

/// What the steps of all flows did, by all processes.
struct Ledger {
    std::atomic<std::int64_t> next_value{1};  // no two runs of a step return the same
    std::atomic<int> added{0};                // flows, acknowledged
    std::atomic<std::size_t> entered{0};
    std::atomic<std::size_t> again{0};    // entered after it had returned
    std::atomic<std::size_t> changed{0};  // gave another value than it had returned
    std::atomic<std::size_t> stale{0};    // runs that found out that another had begun
    std::atomic<bool> over{false};
};

/// What those of one flow did; the values that its steps returned stand elsewhere.
struct One {
    std::atomic<int> runs{0};
    std::atomic<int> undone{0};
};

/// A multiple of what is between two effects.
[[nodiscard]] int steps_of_a_flow() {
    const char* const text = std::getenv("BACKLITE_STEPS");
    return std::clamp(text == nullptr ? 600 : std::atoi(text), 600, most_values / 100) / tx_every * tx_every;
}

class Town {
public:
    explicit Town(backlite::Duration release_after) : release_after_(release_after) {
        Client{config()}.install();
        Look(file).run("CREATE TABLE effects (flow integer, step integer)");
    }

    [[nodiscard]] backlite::ClientConfig config() const {
        return {.database = file,
                .num_workers = workers,
                .release_after = release_after_,
                .durability = backlite::Durability::process};
    }

    /// One in seven fails in the end, and is undone.
    [[nodiscard]] static bool fails(int number) { return number % 7 == 6; }

    void register_all(Client& client) const {
        client.register_queue<Piece>([](const Piece& piece) { return piece.number; });
        client.register_flow<Long>([this](Flow& flow, const Long& task) { return walk(flow, task.number); });
    }

    /// A process that runs flows.
    [[nodiscard]] std::unique_ptr<Process> live() const {
        return std::make_unique<Process>([this](const Process::Inside& parent) {
            Client client{config()};
            register_all(client);
            client.start();
            parent.say("started");
            for (;;) ::pause();
        });
    }

    /// Adds flows, never more than so many ahead of those that end, until it is over.
    [[nodiscard]] std::unique_ptr<Process> add() const {
        return std::make_unique<Process>([this](const Process::Inside&) {
            Client client{config()};
            Look look(file);
            while (!ledger->over) {
                if (ledger->added < most_flows &&
                    look.number("SELECT count(*) FROM backlite_tasks WHERE queue = 'long'") < at_once) {
                    client.add(Long{ledger->added}).save();
                    ++ledger->added;
                }
                std::this_thread::sleep_for(1ms);
            }
        });
    }

    /// Runs what is left, in a process of its own, and compares. `beside`: steps that may have been entered in vain.
    void check(std::size_t beside, std::size_t again) const {
        Process last([this](const Process::Inside&) {
            Client client{config()};
            register_all(client);
            client.start();
            for (const auto end = std::chrono::steady_clock::now() + 120s; !client.counts().empty();) {
                if (std::chrono::steady_clock::now() > end) throw std::runtime_error("tasks are left");
                std::this_thread::sleep_for(5ms);
            }
            if (!client.stop(10s)) throw std::runtime_error("no stop");
        });
        CHECK(last.join() == 0);
        Look look(file);
        const auto flows = static_cast<std::size_t>(look.number("SELECT count(*) FROM backlite_tasks_completed"));
        const auto effects = static_cast<std::size_t>(look.number("SELECT count(*) FROM effects"));
        std::size_t returned = 0;
        std::size_t missing = 0;
        int wrong = 0;
        {
            Client client{config()};
            SQLite::Database db(file);
            SQLite::Statement each(db, "SELECT id, succeeded FROM backlite_tasks_completed");
            while (each.executeStep()) {
                if (each.getColumn(1).getInt() == 0) continue;
                const auto id = backlite::TaskId::parse(each.getColumn(0).getString());
                const Sum sum = client.result<Long>(id).value_or(Sum{});
                if (sum.value != value_of(sum.number) || fails(sum.number)) ++wrong;
            }
        }
        int not_undone = 0;
        std::size_t failed = 0;
        for (int i = 0; i < static_cast<int>(flows); ++i) {
            if (fails(i)) ++failed;
            if ((ones[static_cast<std::size_t>(i)].undone > 0) != fails(i)) ++not_undone;
            for (int step = 0; step < steps; ++step) ++(value_at(i, step) != 0 ? returned : missing);
        }
        fmt::print(
            "  {} flows of {} steps: {} steps returned, {} entered in vain, {} again; {} effects; {} stale runs\n",
            flows, steps, returned, ledger->entered - returned, ledger->again.load(), effects, ledger->stale.load());
        CHECK(flows >= static_cast<std::size_t>(ledger->added));
        CHECK(missing == 0);
        CHECK(wrong == 0);
        CHECK(not_undone == 0);
        CHECK(look.completed("succeeded = 0") == static_cast<std::int64_t>(failed));
        CHECK(ledger->changed == 0);
        CHECK(ledger->again <= again);
        CHECK(ledger->entered - returned <= beside);
        CHECK(effects == flows * static_cast<std::size_t>(steps / tx_every));
        CHECK(look.number("SELECT count(*) FROM (SELECT DISTINCT flow, step FROM effects)") ==
              static_cast<std::int64_t>(effects));
        CHECK(look.number("SELECT count(*) FROM backlite_saved") == 0);
        CHECK(look.number("SELECT count(*) FROM backlite_edges") == 0);
        CHECK(look.integrity() == "ok");
    }

    TempFolder folder{};
    const std::string file = folder.file("flows.db");
    const int steps = steps_of_a_flow();
    const int most_flows = most_values / steps;
    const SharedMemory<Ledger> ledger{};
    const SharedMemory<One> ones{static_cast<std::size_t>(most_flows)};
    const SharedMemory<std::atomic<std::int64_t>> values{most_values};  // zero: that step has not returned

private:
    using Value = std::atomic<std::int64_t>;

    /// What a step of a flow returned.
    [[nodiscard]] Value& value_at(int number, int step) const {
        return values[static_cast<std::size_t>(number) * static_cast<std::size_t>(steps) +
                      static_cast<std::size_t>(step)];
    }

    [[nodiscard]] std::int64_t value_of(int number) const {
        std::int64_t sum = 0;
        for (int step = 0; step < steps; ++step) sum += value_at(number, step);
        return sum + children * number;
    }

    /// Notes what a step gives; the first to note it may be a later run.
    void note(Value& value, std::int64_t given) const {
        std::int64_t before = 0;
        if (!value.compare_exchange_strong(before, given) && before != given) ++ledger->changed;
    }

    [[nodiscard]] std::int64_t enter(const Value& value) const {
        ++ledger->entered;
        if (value != 0) ++ledger->again;
        return ledger->next_value++;
    }

    Sum walk(Flow& flow, int number) const {
        One& one = ones[static_cast<std::size_t>(number)];
        const int run = ++one.runs;
        try {
            return Sum{number, add_up(flow, number, one)};
        } catch (...) {
            if (one.runs != run) ++ledger->stale;
            throw;
        }
    }

    std::int64_t add_up(Flow& flow, int number, One& one) const {
        SQLite::Database db(file, SQLite::OPEN_READWRITE, 5'000);
        std::int64_t sum = 0;
        flow.undo("undo", [&one] { ++one.undone; });
        for (int i = 0; i < steps; ++i) {
            std::int64_t given = 0;
            Value& value = value_at(number, i);
            if (i % tx_every == tx_every - 1) {
                given = flow.tx("count", db, [&](SQLite::Database& inside) {
                    SQLite::Statement insert(inside, "INSERT INTO effects VALUES (?, ?)");
                    insert.bind(1, number);
                    insert.bind(2, i);
                    insert.exec();
                    return enter(value);
                });
            } else {
                given = flow.step("add", [&] { return enter(value); });
            }
            note(value, given);
            sum += given;
            if (i == steps / 3) flow.sleep("rest", 1ms);
            if (i == steps / 2) {
                for (const int piece : flow.map("pieces", std::vector<Piece>(children, Piece{number}))) sum += piece;
            }
        }
        if (fails(number)) {
            flow.step("fail", {.max_attempts = 2, .backoff = 1ms}, [] { throw std::runtime_error("it fails"); });
        }
        return sum;
    }

    const backlite::Duration release_after_;
};

void kill(const char* name, std::size_t processes) {
    const Harness harness(name, 15);
    std::mt19937_64 random(harness.seed());
    const Town town(10min);
    std::size_t kills = 0;
    {
        const auto adder = town.add();
        std::vector<std::unique_ptr<Process>> lives(processes);
        for (auto& life : lives) life = town.live();
        for (; kills < harness.rounds(); ++kills) {
            auto& life = lives[random() % processes];
            REQUIRE(life->await("started"));
            std::this_thread::sleep_for(std::chrono::milliseconds{random() % 150});
            life->kill();
            life = town.live();
        }
        town.ledger->over = true;
        CHECK(adder->join() == 0);
        for (auto& life : lives) life->kill();
    }
    fmt::print("  {} kills\n", kills + processes);
    // Of each worker the step that it was in, or had been in; a killed process leaves no run that goes on.
    town.check((kills + processes) * workers, 0);
}

TEST_CASE("flows: of a process that is killed no step runs again that has returned, and each effect is there once") {
    kill("flows, killed, one process", 1);
}

TEST_CASE("flows: of three processes that are killed in turn no step runs again, and each effect is there once") {
    kill("flows, killed, three processes", 3);
}

TEST_CASE("flows: processes that are frozen past their lease change nothing that others have gone on with") {
    const Harness harness("flows, frozen", 4);
    Moments moments(harness, {"runs that found another to have begun"});
    std::mt19937_64 random(harness.seed());
    const Town town(300ms);
    std::size_t freezes = 0;
    {
        const auto adder = town.add();
        std::vector<std::unique_ptr<Process>> lives(3);
        for (auto& life : lives) {
            life = town.live();
            REQUIRE(life->await("started"));
        }
        for (; moments.wants(freezes); ++freezes) {
            const std::size_t victim = random() % lives.size();
            std::this_thread::sleep_for(std::chrono::milliseconds{10 + random() % 60});
            const std::size_t stale = town.ledger->stale;
            freeze_at_rest(*lives[victim], town.file);
            std::this_thread::sleep_for(std::chrono::milliseconds{400 + random() % 300});
            lives[victim]->thaw();
            static_cast<void>(backlite_test::eventually([&] { return town.ledger->stale > stale; }, 500ms));
            moments.met({town.ledger->stale - stale});
        }
        town.ledger->over = true;
        CHECK(adder->join() == 0);
        for (auto& life : lives) life->kill();
    }
    fmt::print("  {} freezes\n", freezes);
    moments.check();
    // A worker that goes on may enter one step before it writes, and so learns that it has lost its claim.
    town.check((2 * freezes + 3) * workers, freezes * workers);
}

}  // namespace flow_kill_test
