// SPDX-License-Identifier: MIT
// Many adds at random gaps, made in every way there is: how long after its commit a task is entered.
//     BACKLITE_ROUNDS=100000 build/gcc/tests/backlite_stress "wake: *"
// No task may wait for longer than the look that the dispatcher takes each second, whatever wake-up was lost; and but
// for slow disks, none should have to wait for that look.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
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
using Steady = std::chrono::steady_clock;

struct Ping {
    std::uint64_t number = 0;
    static backlite::QueueConfig config() { return {.name = "ping"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Ping, number)

enum class Way { own_call, transaction, tx_of_host, plain_sql, other_process, plain_sql_there };
constexpr std::array<std::string_view, 6> names{"own call",  "Transaction",   "tx(db)",
                                                "plain SQL", "other process", "plain SQL there"};

std::int64_t now() { return Steady::now().time_since_epoch().count(); }

// What this process and the other one tell each other.
struct Shared {
    std::atomic<std::uint64_t> number{0};
    std::atomic<Way> way{Way::own_call};
    std::atomic<std::int64_t> committed{0};  // when the last add had returned
    std::atomic<int> sync_us{0};             // how much longer a sync takes
};

// SQLite's own VFS under another name, whose syncs take as long as the test says. Its files are the real ones but for
// the table of their methods.
class SlowDisk {
public:
    explicit SlowDisk(Shared& shared) : real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
        shared_ = &shared;
        vfs_.zName = name;
        vfs_.pNext = nullptr;
        vfs_.pAppData = this;
        vfs_.xOpen = [](sqlite3_vfs* vfs, const char* file, sqlite3_file* at, int flags, int* out) {
            auto* const self = static_cast<SlowDisk*>(vfs->pAppData);
            sqlite3_vfs* const real = self->real_;
            const int code = real->xOpen(real, file, at, flags, out);
            if (code == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) slow_down(at);
            return code;
        };
        if (sqlite3_vfs_register(&vfs_, 0) != SQLITE_OK) throw std::runtime_error("no VFS");
    }
    SlowDisk(const SlowDisk&) = delete;
    SlowDisk& operator=(const SlowDisk&) = delete;
    ~SlowDisk() { sqlite3_vfs_unregister(&vfs_); }

    static SQLite::Database open(const std::string& file) {
        SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 10'000, name);
        database.exec("PRAGMA synchronous=FULL");
        return database;
    }

private:
    static constexpr const char* name = "slow_disk";

    // All logs have the same methods.
    static void slow_down(sqlite3_file* file) {
        static const sqlite3_io_methods* const below = file->pMethods;
        static const sqlite3_io_methods slow = [] {
            sqlite3_io_methods methods = *below;
            methods.xSync = [](sqlite3_file* log, int flags) {
                const int us = shared_->sync_us;
                if (us > 0) std::this_thread::sleep_for(std::chrono::microseconds{us});
                return below->xSync(log, flags);
            };
            return methods;
        }();
        file->pMethods = &slow;
    }

    static inline Shared* shared_ = nullptr;
    sqlite3_vfs* real_;
    sqlite3_vfs vfs_;
};

void insert(SQLite::Database& database, std::uint64_t number) {
    database.exec(
        fmt::format("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES (lower(hex(randomblob(16))), "
                    "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), 'ping', "
                    "CAST('{{\"number\":{}}}' AS BLOB))",
                    number));
}

backlite::ClientConfig config(const std::string& file) {
    return {.database = file, .num_workers = 2, .open = [file] { return SlowDisk::open(file); }};
}

// The other process: adds whenever it is told.
void add_there(const std::string& file, Shared& shared, const Process::Inside& parent) {
    std::unique_ptr<backlite::Client> client;
    std::unique_ptr<SQLite::Database> database;
    for (;;) {
        parent.wait();
        if (!client) {
            client = std::make_unique<backlite::Client>(config(file));
            database = std::make_unique<SQLite::Database>(SlowDisk::open(file));
        }
        if (shared.way == Way::other_process) {
            (void)client->add(Ping{shared.number}).save();
        } else {
            insert(*database, shared.number);
        }
        shared.committed = now();
    }
}

void add_here(backlite::Client& client, SQLite::Database& database, Way way, std::uint64_t number) {
    switch (way) {
        case Way::transaction: {
            backlite::Transaction tx{client, database};
            (void)client.add(Ping{number}).tx(tx).save();
            return tx.commit();
        }
        case Way::tx_of_host:
            database.exec("BEGIN IMMEDIATE");
            (void)client.add(Ping{number}).tx(database).save();
            database.exec("COMMIT");
            return;
        case Way::plain_sql: return insert(database, number);
        default: (void)client.add(Ping{number}).save();
    }
}

double percentile(std::vector<double> values, double part) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}

// How long after their commits tasks were entered, in milliseconds.
struct Delays {
    std::array<std::vector<double>, names.size()> quick{};
    std::array<std::vector<double>, names.size()> slow{};  // of adds on a slow disk

    void print() const {
        for (std::size_t i = 0; i < names.size(); ++i) {
            for (const auto& [which, values] : {std::pair{"", &quick[i]}, std::pair{", slow disk", &slow[i]}}) {
                if (values->empty()) continue;
                fmt::print("  {:<26} {:>6} adds: p50 {:7.2f} ms, p99 {:7.2f} ms, p100 {:7.2f} ms\n",
                           fmt::format("{}{}", names[i], which), values->size(), percentile(*values, 0.5),
                           percentile(*values, 0.99), percentile(*values, 1));
            }
        }
        std::fflush(stdout);
    }
};

// `slow_in`: one add in so many meets a slow disk; 0: none. Each add waits until the one before it was entered, so that
// no other wake-up hides one that is lost.
Delays run(const Harness& harness, std::uint64_t slow_in) {
    std::mt19937_64 random(harness.seed());
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("app.db");
    const backlite_test::SharedMemory<Shared> memory;
    Shared& shared = *memory;
    const SlowDisk disk(shared);
    Process other([&](const Process::Inside& parent) { add_there(file, shared, parent); });
    std::vector<std::atomic<std::int64_t>> entered(harness.rounds());
    backlite::Client client{config(file)};
    client.register_queue<Ping>([&](const Ping& ping) { entered[ping.number] = now(); });
    client.start();
    SQLite::Database database = SlowDisk::open(file);
    Delays delays;
    for (std::uint64_t number = 0; number < harness.rounds(); ++number) {
        const auto kind = static_cast<std::size_t>(random() % names.size());
        const auto way = static_cast<Way>(kind);
        std::this_thread::sleep_for(std::chrono::microseconds{random() % 3'000});
        const bool slow = slow_in > 0 && random() % slow_in == 0;
        shared.sync_us = slow ? 5'000 + static_cast<int>(random() % 150'000) : 0;
        shared.number = number;
        shared.way = way;
        shared.committed = 0;
        if (way == Way::other_process || way == Way::plain_sql_there) {
            other.next();
        } else {
            add_here(client, database, way, number);
            shared.committed = now();
        }
        INFO("BACKLITE_SEED=" << harness.seed() << ", round " << number << ": " << names[kind]
                              << (slow ? ", slow disk" : ""));
        const auto end = Steady::now() + backlite_test::patience;
        while ((entered[number] == 0 || shared.committed == 0) && Steady::now() < end)
            std::this_thread::sleep_for(50us);
        REQUIRE(entered[number] != 0);
        REQUIRE(shared.committed != 0);
        const std::int64_t delay = (std::max)(entered[number] - shared.committed, std::int64_t{0});
        (slow ? delays.slow : delays.quick)[kind].push_back(static_cast<double>(delay) / 1e6);
    }
    delays.print();
    CHECK(client.stop(1h));
    return delays;
}

// The look comes each second; what is above is for a machine that has much else to do.
constexpr double a_second_ms = 1'000 + 1'000;

TEST_CASE("wake: every task is entered within a second of its commit whoever made it and however slowly") {
    const Harness harness("wake: slow disks", 200);
    const Delays delays = run(harness, 8);
    for (std::size_t i = 0; i < names.size(); ++i) {
        INFO("BACKLITE_SEED=" << harness.seed() << ", " << names[i]);
        CHECK(percentile(delays.quick[i], 1) < a_second_ms);
        CHECK(percentile(delays.slow[i], 1) < a_second_ms);
    }
}

TEST_CASE("wake: no task has to wait for the look that comes each second (alone)") {
    const Harness harness("wake: notified", 400);
    const Delays delays = run(harness, 0);
    for (std::size_t i = 0; i < names.size(); ++i) {
        INFO("BACKLITE_SEED=" << harness.seed() << ", " << names[i]);
        CHECK(percentile(delays.quick[i], 0.95) < 400);
    }
}

}  // namespace
