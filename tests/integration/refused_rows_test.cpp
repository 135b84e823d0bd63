// SPDX-License-Identifier: MIT
// Rows that SQLite, or a trigger or a foreign key of the host, refuses to write: each stops itself and nothing else.

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

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
using backlite::Outcome;
using backlite::StorageError;
using backlite::TaskId;
using backlite::TaskStatus;

struct Work {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "work"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name)

struct Kept {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "kept", .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Kept, name)

// A client of both queues, which notes what it runs, and a connection of the host.
struct Scene {
    explicit Scene(const std::function<void(ClientConfig&)>& change = [](ClientConfig&) {}) {
        config.logger = log;
        config.on_fatal = [this](const backlite::Error&) { journal.note("fatal"); };
        change(config);
        open();
        look.emplace(file);
    }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;

    void open() {
        client = std::make_unique<Client>(config);
        client->register_queue<Work>([this](const Work& work) { journal.note(work.name); });
        client->register_queue<Kept>([this](const Kept& kept) { journal.note(kept.name); });
    }

    // Whether tasks of both queues run, and their outcomes are written.
    bool works() {
        const int round = ++rounds;
        const TaskId kept = client->add(Kept{fmt::format("kept {}", round)}).save().front();
        std::vector<Work> more(20, Work{fmt::format("work {}", round)});
        client->add(more).save();
        return journal.await(fmt::format("work {}", round), 20) &&
               eventually([&] { return client->status(kept) == TaskStatus::succeeded; });
    }

    TempFolder folder{};
    const std::string file = folder.file("q.db");
    std::shared_ptr<LogBook> log = std::make_shared<LogBook>();
    ClientConfig config = quick(file, 2);
    Journal journal{};
    std::unique_ptr<Client> client{};
    std::optional<Look> look{};
    int rounds = 0;
};

TEST_CASE("refused: an outcome that a trigger of the host refuses is set apart, and written once it is not") {
    Scene scene;
    scene.look->run(
        "CREATE TRIGGER audit BEFORE INSERT ON backlite_tasks_completed "
        "WHEN CAST(new.task AS text) LIKE '%unwanted%' BEGIN SELECT RAISE(ABORT, 'audit says no'); END");
    scene.client->start();
    const TaskId id = scene.client->add(Kept{"unwanted"}).save().front();
    REQUIRE(scene.log->await({"error outcome refused", id.str(), "queue=kept", "audit says no"}));
    CHECK(scene.works());
    CHECK(scene.client->status(id) == TaskStatus::running);
    scene.look->run("DROP TRIGGER audit");
    CHECK(eventually([&] { return scene.client->status(id) == TaskStatus::succeeded; }));
    CHECK(scene.log->await({"info outcome written", id.str()}));
    CHECK(scene.client->stop(1h));
    CHECK(scene.journal.count("unwanted") == 1);
    CHECK(scene.log->count({"outcome refused"}) == 1);
}

TEST_CASE("refused: while an outcome is set apart its lease is extended, and nobody turns in circles") {
    const auto clock = std::make_shared<CountingClock>();
    Scene scene([&](ClientConfig& config) {
        config.release_after = 900ms;
        config.clock = clock;
    });
    scene.look->run("CREATE TRIGGER audit BEFORE DELETE ON backlite_tasks BEGIN SELECT RAISE(ABORT, 'no'); END");
    scene.client->start();
    (void)scene.client->add(Work{"once"}).save();
    REQUIRE(scene.log->await({"error outcome refused"}));
    CHECK(eventually([&] { return scene.look->tasks("lease >= 2") == 1; }));
    CHECK(clock->reads_during(500ms) < 500);
    scene.look->run("DROP TRIGGER audit");
    CHECK(eventually([&] { return scene.look->tasks() == 0; }));
    CHECK(scene.journal.count("once") == 1);
}

TEST_CASE("refused: while a claim of an unknown owner cannot be taken back, nobody turns in circles") {
    const auto clock = std::make_shared<CountingClock>();
    Scene scene([&](ClientConfig& config) {
        config.release_after = 900ms;
        config.clock = clock;
    });
    const Uncapped uncapped;
    scene.look->run(
        "CREATE TRIGGER audit BEFORE UPDATE ON backlite_tasks WHEN new.claimed_at IS NULL "
        "BEGIN SELECT RAISE(ABORT, 'audit says no'); END");
    scene.look->run(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at) VALUES ('x', 1000, 'work', "
        "CAST('{\"name\":\"old\"}' AS blob), 1000)");
    scene.client->start();
    REQUIRE(scene.log->await({"error claims of an unknown owner cannot be taken back", "audit says no"}));
    CHECK(clock->reads_during(500ms) < 500);
    scene.look->run("DROP TRIGGER audit");
    CHECK(scene.journal.await("old"));
}

TEST_CASE("refused: a stop tells that an outcome is not written, in time, and so does the destructor") {
    Scene scene;
    scene.look->run(
        "CREATE TRIGGER audit BEFORE DELETE ON backlite_tasks WHEN CAST(old.task AS text) LIKE '%unwanted%' "
        "BEGIN SELECT RAISE(ABORT, 'audit says no'); END");
    scene.client->start();
    const TaskId id = scene.client->add(Work{"unwanted"}).save().front();
    REQUIRE(scene.log->await({"error outcome refused", id.str()}));
    CHECK(scene.works());
    const auto before = std::chrono::steady_clock::now();
    CHECK_FALSE(scene.client->stop(100ms));
    CHECK(std::chrono::steady_clock::now() - before < 5s);
    scene.client.reset();
    CHECK(scene.log->count({"error outcome not written", id.str()}) == 1);
    CHECK(scene.journal.count("fatal") == 0);
}

TEST_CASE("refused: a stop tries once more what is set apart, so that it can end well") {
    Scene scene;
    scene.look->run("CREATE TRIGGER audit BEFORE DELETE ON backlite_tasks BEGIN SELECT RAISE(ABORT, 'no'); END");
    scene.client->start();
    (void)scene.client->add(Work{"once"}).save();
    REQUIRE(scene.log->await({"error outcome refused"}));
    scene.look->run("DROP TRIGGER audit");
    CHECK(scene.client->stop(1h));
    CHECK(scene.look->tasks() == 0);
}

TEST_CASE("refused: a row of the host that refers to a task, at once or deferred, keeps that task and no other") {
    for (const char* deferred : {"", " DEFERRABLE INITIALLY DEFERRED"}) {
        Scene scene([](ClientConfig& config) {
            config.open = [file = config.database] {
                SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
                database.exec("PRAGMA foreign_keys=ON");
                return database;
            };
        });
        scene.look->run(fmt::format("CREATE TABLE orders (task TEXT REFERENCES backlite_tasks(id){})", deferred));
        const TaskId id = scene.client->add(Work{"ordered"}).save().front();
        scene.look->run(fmt::format("INSERT INTO orders VALUES ('{}')", id.str()));
        scene.client->start();
        REQUIRE(scene.log->await({"error outcome refused", id.str(), "FOREIGN KEY"}));
        CHECK(scene.works());
        scene.look->run("DELETE FROM orders");
        CHECK(eventually([&] { return scene.client->status(id) == TaskStatus::not_found; }));
        CHECK(scene.client->stop(1h));
    }
}

TEST_CASE("refused: a trigger that rolls back the whole transaction takes down its own row only") {
    Scene scene;
    scene.look->run(
        "CREATE TRIGGER audit BEFORE DELETE ON backlite_tasks WHEN CAST(old.task AS text) LIKE '%unwanted%' "
        "BEGIN SELECT RAISE(ROLLBACK, 'back to the start'); END");
    std::vector<Work> mixed(10, Work{"fine"});
    mixed.insert(mixed.begin() + 3, 2, Work{"unwanted"});
    scene.client->add(mixed).save();
    scene.client->start();
    REQUIRE(scene.log->await({"error outcome refused", "back to the start"}, 2));
    CHECK(scene.works());
    CHECK(eventually([&] { return scene.look->tasks() == 2; }));
    CHECK(scene.journal.count("fine") == 10);
}

TEST_CASE("refused: a task that may not be claimed is left, the others run, and it does once it may") {
    const auto clock = std::make_shared<CountingClock>();
    Scene scene([&](ClientConfig& config) { config.clock = clock; });
    scene.look->run(
        "CREATE TRIGGER audit BEFORE UPDATE ON backlite_tasks WHEN CAST(old.task AS text) LIKE '%unwanted%' "
        "BEGIN SELECT RAISE(ABORT, 'audit says no'); END");
    const TaskId id = scene.client->add(Work{"unwanted"}).save().front();
    scene.client->start();
    REQUIRE(scene.log->await({"error claim refused", id.str(), "queue=work", "audit says no"}));
    CHECK(scene.works());
    CHECK(scene.client->status(id) == TaskStatus::pending);
    CHECK(clock->reads_during(500ms) < 500);
    scene.look->run("DROP TRIGGER audit");
    CHECK(scene.journal.await("unwanted"));
    CHECK(scene.client->stop(1h));
    CHECK(scene.log->count({"claim refused"}) == 1);
}

TEST_CASE("refused: a queue whose tasks may all not be claimed keeps no other queue waiting") {
    Scene scene;
    scene.look->run(
        "CREATE TRIGGER audit BEFORE UPDATE ON backlite_tasks WHEN old.queue = 'work' "
        "BEGIN SELECT RAISE(ABORT, 'audit says no'); END");
    scene.client->add(std::vector<Work>(500, Work{"unwanted"})).save();
    scene.client->start();
    REQUIRE(scene.log->await({"error claim refused"}, 100));
    const TaskId id = scene.client->add(Kept{"kept"}).save().front();
    CHECK(eventually([&] { return scene.client->status(id) == TaskStatus::succeeded; }));
    scene.look->run("DROP TRIGGER audit");
    CHECK(scene.journal.await("unwanted", 500));
}

TEST_CASE("refused: a task too large to be kept with its error is kept without its payload") {
    Scene scene([](ClientConfig& config) {
        config.max_payload = 50'000;
        config.open = [file = config.database] {
            SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
            sqlite3_limit(database.getHandle(), SQLITE_LIMIT_LENGTH, 100'000);
            return database;
        };
    });
    scene.look->run(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('large', 1, 'work', zeroblob(99900))");
    scene.client->start();
    REQUIRE(scene.log->await({"warning outcome shortened", "id=large"}));
    CHECK(scene.look->completed("id = 'large' AND task IS NULL AND error LIKE '%max_payload%'") == 1);
    CHECK(scene.works());
    CHECK(scene.client->stop(1h));
}

TEST_CASE("refused: expired tasks that a row of the host refers to stay, and the others are deleted") {
    Scene scene([](ClientConfig& config) {
        config.open = [file = config.database] {
            SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
            database.exec("PRAGMA foreign_keys=ON");
            return database;
        };
    });
    scene.look->run(
        "CREATE TABLE orders (task TEXT REFERENCES backlite_tasks_completed(id)); "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) "
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, expires_at) "
        "SELECT i, 1, 'kept', 1, i FROM n; INSERT INTO orders VALUES ('1'), ('700')");
    scene.client->start();
    CHECK(eventually([&] { return scene.look->completed("id NOT LIKE '%-%'") == 2; }));
    CHECK(scene.log->await({"error expired tasks cannot be deleted", "FOREIGN KEY"}));
    CHECK(scene.works());
    CHECK(scene.client->stop(1h));
}

TEST_CASE("refused: a lease that may not be written stops nothing") {
    Scene scene([](ClientConfig& config) { config.release_after = 600ms; });
    Gate gate;
    const OpensAtEnd opens(gate);
    scene.look->run(
        "CREATE TRIGGER audit BEFORE UPDATE OF lease ON backlite_tasks WHEN old.lease <> new.lease "
        "BEGIN SELECT RAISE(ABORT, 'audit says no'); END");
    scene.client = std::make_unique<Client>(scene.config);
    scene.client->register_queue<Kept>([&](const Kept& kept) {
        scene.journal.note(kept.name);
        if (kept.name == "slow") gate.pass();
    });
    scene.client->start();
    (void)scene.client->add(Kept{"slow"}).save();
    REQUIRE(scene.log->await({"error lease refused", "audit says no"}));
    const TaskId id = scene.client->add(Kept{"quick"}).save().front();
    CHECK(eventually([&] { return scene.client->status(id) == TaskStatus::succeeded; }));
    gate.open();
    CHECK(scene.client->stop(1h));
}

TEST_CASE("refused: a dead client's claim that may not be given back keeps nobody from starting") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Process dead([&](const Process::Inside& parent) {
        Client client{quick(file, 2)};
        client.register_queue<Work>([&](const Work& work) {
            parent.say(work.name);
            ::pause();
        });
        client.add(Work{"first"}, Work{"second"}).save();
        client.start();
        for (;;) ::pause();
    });
    REQUIRE(dead.await("first"));
    REQUIRE(dead.await("second"));
    dead.signal(SIGKILL);
    CHECK(dead.join() == -SIGKILL);
    Look(file).run(
        "CREATE TRIGGER audit BEFORE UPDATE ON backlite_tasks WHEN CAST(old.task AS text) LIKE '%first%' "
        "BEGIN SELECT RAISE(ABORT, 'audit says no'); END");
    Journal journal;
    ClientConfig config = quick(file, 2);
    const auto log = std::make_shared<LogBook>();
    config.logger = log;
    Client client{config};
    client.register_queue<Work>([&](const Work& work) { journal.note(work.name); });
    client.start();
    CHECK(journal.await("second"));
    CHECK(log->await({"error claims of a dead client cannot be taken back"}));
    CHECK(client.stop(1h));
    CHECK(Look(file).tasks("claimed_at IS NOT NULL") == 1);
}

// Nobody registers it.
struct Stray {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "stray"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Stray, name)

TEST_CASE("unregistered: a queue in which tasks wait is told, whoever added them, unless another client lives") {
    for (const bool alone : {true, false}) {
        Scene scene;
        Client other{quick(scene.file)};
        other.register_queue<Stray>([](const Stray&) { return Outcome::snooze(0ms); });
        if (!alone) other.start();
        scene.client->start();
        (void)scene.client->add(Stray{}).save();
        (void)scene.client->add(Stray{}).wait(1h).save();
        if (alone) {
            CHECK(scene.log->await({"warning tasks wait in a queue that no client has registered", "queue=stray"}));
            CHECK(scene.works());
        } else {
            std::this_thread::sleep_for(1500ms);
        }
        CHECK(scene.client->stop(1h));
        CHECK(scene.log->count({"no client has registered"}) == (alone ? 1 : 0));
    }
}

TEST_CASE("refused: a client whose tables are dropped stops itself, and says so") {
    for (const char* table : {"backlite_tasks", "backlite_tasks_completed", "backlite_stats"}) {
        Scene scene;
        scene.client->start();
        CHECK(scene.works());
        scene.look->run(fmt::format("DROP TABLE {}", table));
        try {
            (void)scene.client->add(Kept{"late"}).save();
        } catch (const StorageError&) {  // where it is the table of tasks
        }
        CHECK(scene.journal.await("fatal"));
        CHECK(scene.log->await({"error the client stops itself", "dropped"}));
        CHECK_THROWS_AS(scene.client->add(Kept{"too late"}).save(), StorageError);
    }
}

}  // namespace
