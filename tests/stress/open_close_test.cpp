// SPDX-License-Identifier: MIT
// A program that opens and closes clients all day: nothing piles up.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::QueueConfig;
using backlite_test::Events;
using backlite_test::TempFolder;

struct Job {
    int n = 0;
    static QueueConfig config() { return {.name = "job"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, n)

std::size_t entries(const char* folder) {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        static_cast<void>(entry);
        ++count;
    }
    return count;
}

// Descriptors and threads of this process. A thread that was joined may be listed a moment longer.
struct Held {
    std::size_t descriptors = entries("/proc/self/fd");
    std::size_t threads = entries("/proc/self/task");
};

void check_same(const Held& before) {
    CHECK(backlite_test::eventually([&] { return Held{}.threads <= before.threads; }));
    CHECK(Held{}.descriptors == before.descriptors);
}

// Opens, starts, adds, runs, stops and closes. Synced commits would measure the disk.
void round(const std::string& file, int n) {
    Events<int> seen;
    Client client{{.database = file, .num_workers = 2, .durability = backlite::Durability::process}};
    client.register_queue<Job>([&](const Job& job) { seen.add(job.n); });
    client.start();
    (void)client.add(Job{n}).save();
    REQUIRE(seen.wait_for(1));
    REQUIRE(client.stop(20s));
    REQUIRE(seen.all().front() == n);
}

TEST_CASE("Open and close: a thousand rounds on one file leave no descriptor and no thread") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    round(file, 0);
    const Held before;
    for (int n = 1; n <= 1000; ++n) round(file, n);
    check_same(before);
    SQLite::Database db(file);
    CHECK(db.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 0);
    CHECK(db.execAndGet("SELECT count(*) FROM backlite_clients").getInt() == 0);
    CHECK(entries(folder.name().c_str()) <= 4);
}

TEST_CASE("Open and close: a hundred rounds on new files leave no descriptor and no thread") {
    const TempFolder folder;
    round(folder.file("first.db"), 0);
    const Held before;
    for (int n = 1; n <= 100; ++n) round(folder.file(std::to_string(n)), n);
    check_same(before);
}

TEST_CASE("Open and close: starts and stops of one client leave no descriptor and no thread") {
    std::atomic<int> ran{0};
    const TempFolder folder;
    Client client{{.database = folder.file("x.db"), .num_workers = 2, .durability = backlite::Durability::process}};
    client.register_queue<Job>([&](const Job&) { ++ran; });
    client.start();
    REQUIRE(client.stop(20s));
    const Held before;
    for (int n = 0; n < 500; ++n) {
        client.start();
        if (n % 10 == 0) (void)client.add(Job{n}).save();
        REQUIRE(client.stop(20s));
    }
    check_same(before);
    client.start();
    CHECK(backlite_test::eventually([&] { return client.counts().empty(); }));
    CHECK(ran == 50);
}

TEST_CASE("Open and close: clients that are refused leave no descriptor and no thread") {
    const TempFolder folder;
    {
        SQLite::Database(folder.file("x.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
            .exec("CREATE TABLE Backlite_meta (x)");
    }
    const Held before;
    for (int n = 0; n < 200; ++n) {
        CHECK_THROWS_AS(Client(ClientConfig{.database = folder.file("x.db")}), backlite::StorageError);
        Client bare{{.database = folder.file("y.db"), .auto_install = false}};
        CHECK_THROWS_AS(bare.start(), backlite::StorageError);
    }
    check_same(before);
}

}  // namespace
