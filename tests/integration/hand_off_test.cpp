// SPDX-License-Identifier: MIT
// Tasks that go straight from save() to an idle worker: when they do, when they must not, and what happens in between.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;

struct Work {
    std::string name{};
    std::string ballast{};
    static backlite::QueueConfig config() { return {.name = "work"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name, ballast)

struct Fragile {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "fragile", .max_crashes = 1}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Fragile, name)

// Sees the client's statements as SQLite runs them. Called by the threads of its connections.
struct Statements {
    std::atomic<int> inserted_claimed{0};
    std::atomic<int> inserted_waiting{0};
    std::atomic<int> claims{0};
    bool dies_after_commit = false;  // the process, once a task was inserted as claimed

    // The connections of a client with this configuration are seen.
    void watch(ClientConfig& config) {
        config.open = [this, file = config.database] {
            SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
            sqlite3_trace_v2(database.getHandle(), SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, on_event, this);
            return database;
        };
    }

private:
    static int on_event(unsigned event, void* self, void* statement, void*) noexcept {
        const char* const sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
        if (sql != nullptr) static_cast<Statements*>(self)->note(event == SQLITE_TRACE_PROFILE, sql);
        return 0;
    }
    void note(bool ended, std::string_view sql) noexcept {
        if (ended) {
            if (dies_after_commit && sql == "COMMIT" && inserted_claimed > 0) ::_exit(7);
        } else if (sql.starts_with("INSERT INTO main.backlite_tasks ")) {
            ++(sql.find("claimed_at") == std::string_view::npos ? inserted_waiting : inserted_claimed);
        } else if (sql.starts_with("UPDATE main.backlite_tasks SET claimed_at = ?2, owner = ?3")) {
            ++claims;
        }
    }
};

// A client whose tasks note their names. Its threads sleep until they are woken.
struct Scene {
    explicit Scene(unsigned workers) : config(quick(folder.file("q.db"), workers)) {}

    void start() {
        client = std::make_unique<Client>(config);
        client->register_queue<Work>([this](const Work& work) { journal.note(work.name); });
        client->register_queue<Fragile>([this](const Fragile& work) { journal.note(work.name); });
        client->start();
    }

    // Until everything is done and written, and the dispatcher has gone to sleep.
    void rest() const {
        REQUIRE(eventually([&] { return client->counts().empty(); }));
        std::this_thread::sleep_for(5ms);
    }

    Uncapped uncapped{};
    TempFolder folder{};
    ClientConfig config;
    Statements statements{};  // of the client, if that is asked for
    Journal journal{};
    std::unique_ptr<Client> client{};
};

TEST_CASE("hand-off: a task for an idle worker is inserted as claimed, and nobody claims it a second time") {
    Scene scene(2);
    scene.statements.watch(scene.config);
    scene.start();
    for (int i = 0; i < 50; ++i) {
        scene.rest();
        scene.client->add(Work{fmt::format("{}", i)}).save();
    }
    scene.rest();
    CHECK(scene.client->stop(1h));
    CHECK(scene.journal.entries().size() == 50);
    for (int i = 0; i < 50; ++i) CHECK(scene.journal.count(fmt::format("{}", i)) == 1);
    CHECK(scene.statements.inserted_claimed >= 25);  // on a busy machine the dispatcher may be awake now and then
    CHECK(scene.statements.inserted_claimed + scene.statements.claims == 50);
}

TEST_CASE("hand-off: tasks for later, and several at once, wait in the file for their claim") {
    Scene scene(4);
    scene.statements.watch(scene.config);
    scene.start();
    for (int i = 0; i < 10; ++i) {
        scene.rest();
        scene.client->add(Work{"a"}, Work{"b"}).save();
    }
    scene.rest();
    scene.client->add(Work{"soon"}).wait(20ms).save();
    CHECK(scene.journal.await("soon"));
    scene.client->add(Work{"past"}).at(backlite::TimePoint{1h}).save();
    CHECK(scene.journal.await("past"));
    CHECK(scene.client->stop(1h));
    CHECK(scene.statements.inserted_claimed == 0);
    CHECK(scene.statements.inserted_waiting == 22);
    CHECK(scene.statements.claims == 22);
}

TEST_CASE("hand-off: a task that may crash only once waits while one runs that has crashed a process") {
    Scene scene(2);
    scene.statements.watch(scene.config);
    Gate gate;
    scene.client = std::make_unique<Client>(scene.config);
    const OpensAtEnd opens(gate);
    scene.client->register_queue<Work>([&](const Work& work) {
        scene.journal.note(work.name);
        if (work.name == "suspect") gate.pass();
    });
    scene.client->register_queue<Fragile>([&](const Fragile& work) { scene.journal.note(work.name); });
    Look(scene.config.database)
        .run(
            "INSERT INTO backlite_tasks (id, queue, created_at, crashes, task) "
            "VALUES ('suspect', 'work', 1, 1, CAST('{\"name\":\"suspect\"}' AS BLOB))");
    scene.client->start();
    REQUIRE(scene.journal.await("suspect"));
    std::this_thread::sleep_for(5ms);  // the dispatcher has gone to sleep
    scene.client->add(Fragile{"fragile"}).save();
    CHECK_FALSE(scene.journal.await_for("fragile", 50ms));
    CHECK(scene.statements.inserted_claimed == 0);
    gate.open();
    REQUIRE(scene.journal.await("fragile"));
    for (int i = 0; i < 10; ++i) {
        scene.rest();
        scene.client->add(Fragile{"alone"}).save();
    }
    CHECK(scene.journal.await("alone", 10));
    CHECK(scene.client->stop(1h));
    CHECK(scene.statements.inserted_claimed >= 5);  // on a busy machine the dispatcher may be awake now and then
}

TEST_CASE("hand-off: no task overtakes an older one that another connection has committed just before") {
    Scene scene(1);
    scene.start();
    Look host(scene.config.database);
    for (int i = 0; i < 100; ++i) {
        scene.rest();
        host.run(
            fmt::format("INSERT INTO backlite_tasks (id, queue, created_at, task) VALUES ('older{}', 'work', {}, "
                        "CAST('{{\"name\":\"older\"}}' AS BLOB))",
                        i, i + 1));
        scene.client->add(Work{"newer"}).save();
        REQUIRE(scene.journal.await_size(static_cast<std::size_t>(2 * i + 2)));
        const std::vector<std::string> entries = scene.journal.entries();
        REQUIRE(entries[entries.size() - 2] == "older");
        REQUIRE(entries.back() == "newer");
    }
    CHECK(scene.client->stop(1h));
}

TEST_CASE("hand-off: an add that fails leaves the worker free for the next") {
    Scene scene(1);
    scene.start();
    scene.client.reset();
    scene.config.open = [file = scene.config.database] {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        database.exec("PRAGMA max_page_count=100");
        return database;
    };
    scene.start();
    for (int i = 0; i < 5; ++i) {
        scene.rest();
        CHECK_THROWS_AS(scene.client->add(Work{"large", std::string(1'000'000, 'x')}).save(), backlite::FullError);
    }
    scene.client->add(Work{"small"}).save();
    CHECK(scene.journal.await("small"));
    CHECK(scene.client->stop(1h));
    CHECK(scene.journal.count("large") == 0);
}

TEST_CASE("hand-off: callers who add at once each wake a worker, while those that came first still run") {
    Scene scene(4);
    constexpr int callers = 3;
    scene.client = std::make_unique<Client>(scene.config);
    scene.client->register_queue<Work>([&](const Work& work) {
        scene.journal.note(work.name);
        if (!scene.journal.await(work.name, callers)) scene.journal.note("alone");
    });
    scene.client->start();
    for (int round = 0; round < 30; ++round) {
        scene.rest();
        const auto name = fmt::format("{}", round);
        std::atomic<int> ready{0};
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < callers; ++i) {
                threads.emplace_back([&] {
                    for (++ready; ready < callers;) std::this_thread::yield();
                    scene.client->add(Work{name}).save();
                });
            }
        }
        REQUIRE(scene.journal.await(name, callers));
    }
    CHECK(scene.client->stop(1h));
    CHECK(scene.journal.count("alone") == 0);
}

TEST_CASE("hand-off: a stop while tasks are added leaves no claim and loses no task") {
    for (int round = 0; round < 20; ++round) {
        Scene scene(2);
        scene.start();
        std::atomic<int> added{0};
        std::atomic<bool> enough{false};
        std::jthread adder([&] {
            while (!enough) {
                scene.client->add(Work{"work"}).save();
                ++added;
            }
        });
        REQUIRE(eventually([&] { return added > 3 + round; }));
        const auto start = std::chrono::steady_clock::now();
        CHECK(scene.client->stop(1h));
        CHECK(std::chrono::steady_clock::now() - start < patience);
        enough = true;
        adder.join();
        Look look(scene.config.database);
        CHECK(look.tasks("claimed_at IS NOT NULL") == 0);
        CHECK(look.number("SELECT count(*) FROM backlite_clients") == 0);
        CHECK(look.tasks() + scene.journal.count("work") == added);
    }
}

TEST_CASE("hand-off: a death between the commit and the worker loses nothing, and counts neither attempt nor crash") {
    Scene scene(1);
    Process adder([&](const Process::Inside& parent) {
        scene.statements.dies_after_commit = true;
        scene.statements.watch(scene.config);
        scene.start();
        for (int i = 0;; ++i) {
            std::this_thread::sleep_for(10ms);
            scene.client->add(Work{fmt::format("{}", i)}).save();
            parent.say("added");
        }
    });
    REQUIRE(adder.join() == 7);
    adder.catch_up();
    const auto last = std::to_string(adder.lines().size());
    {
        Look look(scene.config.database);
        CHECK(look.tasks("claimed_at IS NOT NULL AND claim = 1 AND owner IS NOT NULL") == 1);
    }
    Client client{quick(scene.config.database, 1)};
    Journal journal;
    client.register_queue<Work>([&](Context& context, const Work& work) {
        journal.note(fmt::format("{} attempt {}", work.name, context.attempt()));
    });
    client.start();
    CHECK(journal.await(last + " attempt 1"));
    CHECK(client.stop(1h));
    CHECK(Look(scene.config.database).tasks() == 0);
}

}  // namespace
