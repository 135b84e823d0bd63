// SPDX-License-Identifier: MIT
// Tasks that follow others: `after`, `then`, and what becomes of them.

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace following_test {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::AddedAs;
using backlite::Client;
using backlite::OnParentFailure;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;

struct Cook {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "cook", .retention = backlite::Retention{.duration = 1min}};
    }
};
struct Serve {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "serve", .retention = backlite::Retention{.duration = 1min}};
    }
};
struct Table {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "table", .unique = {.conflict = backlite::Conflict::keep}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Cook, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Serve, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Table, name)

/// A client with all three queues; a dish named "hot" waits at the gate, one named "burnt" fails.
struct Kitchen : Story {
    Kitchen() { equip(client); }
    ~Kitchen() { gate.open(); }

    void equip(Client& one) {
        one.register_queue<Cook>([this](const Cook& dish) {
            journal.note("cook " + dish.name);
            if (dish.name == "hot") gate.pass();
            if (dish.name == "burnt") throw std::runtime_error("it is black");
        });
        one.register_queue<Serve>([this](const Serve& dish) { journal.note("serve " + dish.name); });
        one.register_queue<Table>([this](const Table& table) { journal.note("table " + table.name); });
    }

    [[nodiscard]] bool await_status(const TaskId& id, TaskStatus status) const {
        const auto until = std::chrono::steady_clock::now() + patience;
        while (client.status(id) != status) {
            if (std::chrono::steady_clock::now() > until) return false;
            std::this_thread::sleep_for(1ms);
        }
        return true;
    }

    Gate gate{};
    Client client{config};
};

TEST_CASE_METHOD(Kitchen,
                 "after: a task starts when those that it waits for have succeeded, without waiting for a look") {
    const Uncapped uncapped;
    client.start();
    const std::vector<TaskId> dishes = client.add(Cook{"hot"}, Cook{"soup"}).save();
    client.add(Serve{"menu"}).after(dishes).save();
    client.add(Serve{"later"}).after(dishes.front()).after(dishes.back()).save();
    REQUIRE(journal.await("cook soup"));
    CHECK_FALSE(journal.await_for("serve menu", 50ms));
    REQUIRE(await_status(dishes.back(), TaskStatus::succeeded));  // so a worker is idle, which takes what is added next
    client.add(Serve{"dessert"}).after(dishes).save();
    CHECK_FALSE(journal.await_for("serve dessert", 50ms));
    gate.open();
    CHECK(journal.await("serve menu"));
    CHECK(journal.await("serve later"));
    CHECK(journal.await("serve dessert"));
}

TEST_CASE_METHOD(Kitchen, "then: each stage starts after the one before it, and its ids follow theirs") {
    const Uncapped uncapped;
    const std::vector<TaskId> ids =
        client.add(Cook{"hot"}, Cook{"soup"}).then(Serve{"menu"}).then(Cook{"dessert"}).priority(3).save();
    REQUIRE(ids.size() == 4);
    client.start();
    REQUIRE(journal.await("cook soup"));
    CHECK(client.status(ids[2]) == TaskStatus::pending);
    gate.open();
    REQUIRE(journal.await("cook dessert"));
    CHECK(journal.entries().back() == "cook dessert");
    CHECK(journal.entries()[2] == "serve menu");
    CHECK(await_status(ids[3], TaskStatus::succeeded));
    Look look(file);
    CHECK(look.number("SELECT count(*) FROM backlite_edges") == 0);
}

TEST_CASE_METHOD(Kitchen, "after: a failure cancels what follows with its reason, or lets it run") {
    const Uncapped uncapped;
    client.start();
    const TaskId burnt = client.add(Cook{"burnt"}).wait(20ms).save().front();
    const std::vector<TaskId> chain = client.add(Serve{"burnt"}).after(burnt).then(Serve{"never"}).save();
    client.add(Serve{"apology"}).after(burnt, OnParentFailure::run).save();
    CHECK(journal.await("serve apology"));
    CHECK(await_status(chain[0], TaskStatus::cancelled));
    CHECK(await_status(chain[1], TaskStatus::cancelled));
    Look look(file);
    CHECK(look.text("SELECT error FROM backlite_tasks_completed WHERE id = '" + chain[0].str() + "'") ==
          "cancelled: task " + burnt.str() + ", which it waited for, has not succeeded");
    CHECK(log->await({"task cancelled", chain[1].str()}));
    CHECK(client.status(client.add(Serve{"late"}).after(burnt).save().front()) == TaskStatus::cancelled);
    CHECK(journal.count("serve burnt") == 0);
}

TEST_CASE_METHOD(Kitchen, "after: parents and children may be of two clients, and one of them need not run") {
    const Uncapped uncapped;
    Client waiter(quick(file));
    waiter.register_queue<Serve>([this](const Serve& dish) { journal.note("waiter serves " + dish.name); });
    waiter.start();
    Client cook(quick(file));
    cook.register_queue<Cook>([this](const Cook& dish) {
        journal.note("cook " + dish.name);
        gate.pass();
    });
    cook.start();
    const TaskId dish = client.add(Cook{"soup"}).save().front();
    client.add(Serve{"soup"}).after(dish).save();
    REQUIRE(journal.await("cook soup"));
    CHECK(journal.count("waiter serves soup") == 0);
    gate.open();
    CHECK(journal.await("waiter serves soup"));
}

TEST_CASE_METHOD(
    Kitchen,
    "after: with tx(db) a task waits once the host's transaction is committed, and what is marked is seen to") {
    const Uncapped uncapped;
    client.start();
    const TaskId burnt = client.add(Cook{"burnt"}).save().front();
    REQUIRE(await_status(burnt, TaskStatus::failed));
    const TaskId hot = client.add(Cook{"hot"}).save().front();
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 5000);
    db.exec("BEGIN IMMEDIATE");
    const std::vector<TaskId> ids = client.add(Serve{"hot"}).after(hot).then(Serve{"again"}).tx(db).save();
    const TaskId late = client.add(Serve{"late"}).after(burnt).tx(db).save().front();
    db.exec("COMMIT");
    REQUIRE(journal.await("cook hot"));
    CHECK(await_status(late, TaskStatus::cancelled));
    CHECK(client.status(ids[0]) == TaskStatus::pending);
    gate.open();
    CHECK(journal.await("serve again"));
    db.exec("BEGIN IMMEDIATE");
    static_cast<void>(client.add(Serve{"rolled back"}).after(ids[0]).then(Serve{"too"}).tx(db).save());
    db.exec("ROLLBACK");
    CHECK(Look(file).number("SELECT count(*) FROM backlite_edges") == 0);
}

TEST_CASE_METHOD(Kitchen, "after: a task that is there already keeps what it waits for, and is waited for") {
    client.add(Cook{"soup"}).save();
    const TaskId table = client.add(Table{"1"}).save().front();
    const auto results = client.add(Table{"1"}).after(TaskId::from_text("whatever")).then(Serve{"it"}).save_results();
    REQUIRE(results.size() == 2);
    CHECK(results[0].as == AddedAs::existing);
    CHECK(results[0].id == table);
    Look look(file);
    CHECK(look.number("SELECT hold FROM backlite_tasks WHERE id = '" + table.str() + "'") == 0);
    CHECK(look.text("SELECT parent FROM backlite_edges") == table.str());
    client.start();
    CHECK(journal.await("serve it"));
}

TEST_CASE_METHOD(Kitchen,
                 "after: an id without text is refused before anything is added, and an empty list changes nothing") {
    const std::string what = message_of<UsageError>([&] { client.add(Serve{"a"}).after(TaskId{}).save(); });
    CHECK(what == "queue \"serve\": AddOp::after: an id has no text");
    CHECK_THROWS_AS(client.add(Serve{"a"}).then(Serve{"b"}).after(TaskId{}).save(), UsageError);
    CHECK(client.counts().empty());
    client.start();
    client.add(Serve{"a"}).after(std::vector<TaskId>{}).save();
    CHECK(journal.await("serve a"));
    client.add(std::vector<Serve>{}).then(Serve{"after none"}).save();
    CHECK(journal.await("serve after none"));
}

TEST_CASE("after: observers are told of each task that ends with its parent") {
    TempFolder folder;
    Events<std::string> cancelled;
    backlite::ClientConfig config = quick(folder.file("q.db"));
    config.observers.push_back([&](const backlite::Event& event) {
        if (event.kind == backlite::EventKind::cancelled) cancelled.add(event.task_id.str() + " " + event.queue);
    });
    Client client(config);
    client.register_queue<Cook>([](const Cook&) -> backlite::Outcome { return backlite::Outcome::discard("no"); });
    const TaskId one = client.add(Cook{"one"}).save().front();
    const TaskId of_one = client.add(Serve{"one"}).after(one).save().front();
    const TaskId two = client.add(Cook{"two"}).wait(1h).save().front();
    const TaskId of_two = client.add(Serve{"two"}).after(two).save().front();
    client.cancel(two);
    client.start();
    CHECK(cancelled.wait_until([&](const std::vector<std::string>& all) {
        const auto has = [&](const std::string& text) { return std::find(all.begin(), all.end(), text) != all.end(); };
        return has(two.str() + " cook") && has(of_two.str() + " serve") && has(of_one.str() + " serve");
    }));
    const TaskId late = client.add(Serve{"late"}).after(one).save().front();
    CHECK(cancelled.wait_until([&](const std::vector<std::string>& all) {
        return std::find(all.begin(), all.end(), late.str() + " serve") != all.end();
    }));
}

TEST_CASE("after: a task waits for one of a client that dies, whose rescuer runs both") {
    TempFolder folder;
    const std::string file = folder.file("q.db");
    Process process([&](const Process::Inside& inside) {
        Client client(quick(file));
        client.register_queue<Cook>([&](const Cook&) {
            inside.say("inside");
            std::this_thread::sleep_for(1h);
        });
        client.start();
        client.add(Cook{"hot"}).then(Serve{"it"}).save();
        inside.say("added");
        std::this_thread::sleep_for(1h);
    });
    REQUIRE(process.await("inside"));
    REQUIRE(process.await("added"));
    process.kill();
    Events<std::string> served;
    Client client(quick(file));
    client.register_queue<Cook>([](const Cook&) {});
    client.register_queue<Serve>([&](const Serve& dish) { served.add(dish.name); });
    client.start();
    CHECK(served.wait_for(1));
}

}  // namespace following_test
