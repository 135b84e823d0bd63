// SPDX-License-Identifier: MIT
// What Admin does to tasks: on a client that runs, from a second process, and on a file that nobody runs.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Admin;
using backlite::Affected;
using backlite::Bulk;
using backlite::Client;
using backlite::ConfigError;
using backlite::TaskDetails;
using backlite::TaskFilter;
using backlite::TaskId;
using backlite::TaskState;
using backlite::TaskStatus;
using backlite::UsageError;

/// Fails as often as the test says, and is kept with its payload.
struct Order {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "orders",
                .max_attempts = 2,
                .backoff = 0s,
                .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, name)

struct Shop : Story {
    void start() {
        client.emplace(quick(file, 2));
        client->register_queue<Order>([this](backlite::Context& context, const Order& order) {
            journal.note(order.name);
            if (order.name == "waits") gate.pass();
            if (order.name == "stops") {
                while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
            }
            if (fails) throw std::runtime_error("no stock");
        });
        client->start();
    }
    ~Shop() { gate.open(); }

    TaskId add(const std::string& name, std::chrono::milliseconds wait = 0ms) {
        return client->add(Order{name}).wait(wait).save().front();
    }

    Gate gate{};
    std::atomic<bool> fails{false};
    std::optional<Client> client{};
};

TEST_CASE_METHOD(Shop, "Admin: what waits is cancelled, what runs is asked to stop, what has finished is skipped") {
    const Uncapped uncapped;
    start();
    const Admin admin{*client};
    const TaskId later = add("later", 1h);
    const TaskId running = add("stops");
    REQUIRE(journal.await("stops"));
    CHECK(admin.cancel(later) == Affected{1, 0});
    CHECK(admin.cancel(running) == Affected{1, 0});
    REQUIRE(eventually([&] { return client->status(running) == TaskStatus::succeeded; }));
    CHECK(client->status(later) == TaskStatus::cancelled);
    CHECK(admin.cancel(running) == Affected{0, 1});
    CHECK(admin.cancel(TaskId::from_text("nobody")) == Affected{0, 0});
}

TEST_CASE_METHOD(Shop, "Admin: a task that failed goes back with its id and history, and runs at once") {
    const Uncapped uncapped;
    fails = true;
    start();
    const Admin admin{*client};
    const TaskId id = add("a");
    REQUIRE(eventually([&] { return client->status(id) == TaskStatus::failed; }));
    Look(file).run(fmt::format("INSERT INTO backlite_saved (task, name, at, value) VALUES ('{}', 'k', 1, x'37')", id));
    fails = false;
    CHECK(admin.retry(id) == Affected{1, 0});
    CHECK(journal.await("a", 3));
    REQUIRE(eventually([&] { return client->status(id) == TaskStatus::succeeded; }));
    CHECK(Look(file).completed() == 1);
    CHECK(admin.retry(id) == Affected{0, 1});  // it has succeeded
    CHECK(admin.retry(TaskId::from_text("nobody")) == Affected{0, 0});
}

TEST_CASE_METHOD(Shop,
                 "Admin: a task that went back has all its attempts, its last error, what it saved and what it was") {
    fails = true;
    start();
    const TaskId id = add("a");
    REQUIRE(eventually([&] { return client->status(id) == TaskStatus::failed; }));
    client.reset();
    Look look(file);
    look.run(fmt::format("INSERT INTO backlite_saved (task, name, at, value) VALUES ('{}', 'k', 1, x'37')", id));
    look.run("UPDATE backlite_tasks_completed SET priority = 7, partition = 'eu', host = 'box', pid = 5");
    const Admin admin{file};
    const TaskDetails before = admin.task(id).value();
    CHECK(admin.retry(id) == Affected{1, 0});
    CHECK(look.completed() == 0);
    const TaskDetails after = admin.task(id).value();
    CHECK(after.state == TaskState::waiting);
    CHECK(after.spent == 0);
    CHECK(after.error == before.error);
    CHECK(after.payload == before.payload);
    CHECK(after.created == before.created);
    CHECK(after.priority == 7);
    CHECK(after.partition == "eu");
    REQUIRE(after.saved.size() == 1);
    CHECK(after.saved[0].value == "7");
    REQUIRE(!after.attempts.empty());
    CHECK(after.attempts.back().number == 2);
    CHECK(after.attempts.back().error == before.error);
    CHECK(after.attempts.back().host == "box");
    CHECK(after.attempts.back().pid == 5);
    CHECK(after.attempts.back().started == before.started.value());
    CHECK(admin.retry(id) == Affected{0, 1});  // it is unfinished
}

TEST_CASE_METHOD(Shop, "Admin: each time that a task comes back its claims have numbers that it never had") {
    fails = true;
    start();
    const TaskId id = add("a");
    std::int64_t last = 0;
    for (int round = 0; round < 4; ++round) {
        REQUIRE(eventually([&] { return client->status(id) == TaskStatus::failed; }));
        client.reset();
        REQUIRE(Admin{file}.retry(id) == Affected{1, 0});
        const std::int64_t claim = Look(file).number("SELECT claim FROM backlite_tasks");
        CHECK(claim > last + 2);
        last = claim;
        start();
    }
}

TEST_CASE_METHOD(Shop, "Admin: retry skips what has no payload, whose key another has, and what a trigger refuses") {
    start();
    client.reset();
    Look look(file);
    for (const char* row :
         {"'gone', NULL, 'no', NULL", "'twin', x'7b7d', 'no', 'k'", "'free', x'7b7d', 'no', 'f'",
          "'bad', x'7b7d', 'no', NULL", "'good', x'7b7d', 'no', NULL", "'done', x'7b7d', NULL, NULL"}) {
        look.run(
            fmt::format("INSERT INTO backlite_tasks_completed (id, task, error, unique_key, created_at, queue, "
                        "attempts) VALUES ({}, 1, 'orders', 1)",
                        row));
    }
    look.run(
        "INSERT INTO backlite_tasks (id, queue, created_at, task, unique_key) VALUES ('k', 'orders', 1, x'7b7d', 'k')");
    look.run(
        "CREATE TRIGGER host BEFORE INSERT ON backlite_tasks WHEN new.id = 'bad' BEGIN SELECT raise(ABORT, 'no'); END");
    const Admin admin{file};
    CHECK(admin.retry({.state = TaskState::failed}) == Affected{2, 3});
    CHECK(look.text("SELECT group_concat(id) FROM (SELECT id FROM backlite_tasks ORDER BY id)") == "free,good,k");
    CHECK(look.text("SELECT group_concat(id) FROM (SELECT id FROM backlite_tasks_completed ORDER BY id)") ==
          "bad,done,gone,twin");
    CHECK(look.integrity() == "ok");
}

TEST_CASE_METHOD(Shop, "Admin: remove deletes tasks with all that hangs on them, and leaves claimed ones alone") {
    start();
    client->pause("orders");
    const TaskId waiting = add("w");
    client.reset();
    Look look(file);
    look.run(
        "INSERT INTO backlite_tasks (id, queue, created_at, task, claimed_at) VALUES ('run', 'orders', 1, x'7b7d', 2)");
    look.run(
        "INSERT INTO backlite_tasks_completed (id, task, created_at, queue, attempts) VALUES ('old', NULL, 1, "
        "'orders', 1)");
    look.run(fmt::format("UPDATE backlite_tasks SET flags = 4 WHERE id = '{}'", waiting));
    for (const std::string& id : {waiting.str(), std::string{"old"}, std::string{"run"}}) {
        look.run(fmt::format("INSERT INTO backlite_tags (task, tag) VALUES ('{}', 't')", id));
    }
    const Admin admin{file};
    CHECK(admin.remove(waiting) == Affected{1, 0});
    CHECK(admin.remove(TaskId::from_text("old")) == Affected{1, 0});
    CHECK(admin.remove(TaskId::from_text("run")) == Affected{0, 1});
    CHECK(admin.remove(TaskId::from_text("old")) == Affected{0, 0});
    CHECK(look.tasks() == 1);
    CHECK(look.completed() == 0);
    CHECK(look.text("SELECT group_concat(task) FROM backlite_tags") == "run");
}

TEST_CASE_METHOD(Shop, "Admin: run_now starts what is due later, by id and by filter, at once") {
    const Uncapped uncapped;
    start();
    const Admin admin{*client};
    const TaskId one = add("one", 1h);
    add("two", 2h);
    add("three", 3h);
    CHECK(admin.run_now(one) == Affected{1, 0});
    CHECK(journal.await("one"));
    REQUIRE(eventually([&] { return client->status(one) == TaskStatus::succeeded; }));
    CHECK(admin.run_now(one) == Affected{0, 1});
    CHECK(admin.run_now({.queue = "orders", .state = TaskState::scheduled}) == Affected{2, 0});
    CHECK(journal.await("two"));
    CHECK(journal.await("three"));
}

TEST_CASE_METHOD(Shop, "Admin: a priority that is set decides what starts first") {
    const Uncapped uncapped;
    client.emplace(quick(file, 1));
    client->register_queue<Order>([this](const Order& order) { journal.note(order.name); });
    add("first");
    const TaskId second = add("second");
    const Admin admin{*client};
    CHECK(admin.set_priority(second, 9) == Affected{1, 0});
    CHECK(admin.set_priority(second, 9) == Affected{0, 1});
    CHECK(admin.task(second)->priority == 9);
    client->start();
    REQUIRE(journal.await("first"));
    CHECK(journal.entries() == std::vector<std::string>{"second", "first"});
    CHECK(message_of<ConfigError>([&] { admin.set_priority(second, 1'001); }) ==
          "Admin::set_priority: priority is 1001, and must be -1000 to 1000");
    CHECK_THROWS_AS(admin.set_priority({.queue = "orders"}, -1'001), ConfigError);
}

TEST_CASE_METHOD(Shop, "Admin: another process changes tasks of a client that runs, which sees it") {
    const Uncapped uncapped;
    Process other([&](const Process::Inside& inside) {
        inside.wait();
        const Admin admin{file};
        const TaskId id = admin.tasks({.state = TaskState::scheduled}).tasks.at(0).id;
        inside.say(admin.run_now(id) == Affected{1, 0} ? "hastened" : "not hastened");
        inside.wait();
        inside.say(admin.cancel({.state = TaskState::running}) == Affected{1, 0} ? "asked" : "not asked");
        inside.wait();
        admin.pause("orders");
        inside.say("paused");
    });
    start();
    add("stops", 1h);
    other.next();
    CHECK(other.await("hastened"));
    CHECK(journal.await("stops"));
    other.next();
    CHECK(other.await("asked"));
    REQUIRE(eventually([&] { return Look(file).tasks() == 0; }));
    other.next();
    CHECK(other.await("paused"));
    CHECK(Admin{*client}.queues().at(0).paused);
    CHECK(other.join() == 0);
}

/// Five tasks for each action, of which none is run: three in its own queue, and two beside them.
void lay_out(Look& look) {
    constexpr std::int64_t far = 9'000'000'000'000;
    for (const char* queue : {"cancel", "remove", "run_now", "prioritize"}) {
        for (const char* name : {"1", "2", "3", "x", "y"}) {
            const bool beside = *name > '9';
            look.run(
                fmt::format("INSERT INTO backlite_tasks (id, queue, created_at, wait_until, task) VALUES "
                            "('{0}{1}', '{2}{0}', 1, {3}, x'7b7d')",
                            queue, name, beside ? "beside " : "", far));
        }
    }
    for (const char* name : {"1", "2", "3", "x", "y"}) {
        look.run(
            fmt::format("INSERT INTO backlite_tasks_completed (id, queue, created_at, last_executed_at, attempts, "
                        "last_duration_micro, succeeded, error, task) VALUES ('retry{0}', '{1}retry', 1, 2, 1, 3, 0, "
                        "'no', x'7b7d')",
                        name, *name > '9' ? "beside " : ""));
    }
}

/// Each action, on one task by its id, twice, and on its queue by a filter: what each call said that it did.
std::string all_actions(const Admin& admin) {
    std::string said;
    const auto on = [&](const std::string& queue, const auto& act) {
        const TaskId first = TaskId::from_text(queue + "1");
        for (const Affected& done : {act(first), act(first), act(TaskFilter{.queue = queue})}) {
            said += fmt::format("{} {}.{} ", queue, done.count, done.skipped);
        }
    };
    on("cancel", [&](const auto& which) { return admin.cancel(which); });
    on("retry", [&](const auto& which) { return admin.retry(which); });
    on("remove", [&](const auto& which) { return admin.remove(which); });
    on("run_now", [&](const auto& which) { return admin.run_now(which); });
    on("prioritize", [&](const auto& which) { return admin.set_priority(which, 7); });
    return said;
}

TEST_CASE_METHOD(Shop,
                 "Admin: each action, by id and by filter, does the same on a client, from another process and on a "
                 "file that nobody runs") {
    const std::string expected =
        "cancel 1.0 cancel 0.1 cancel 2.1 retry 1.0 retry 0.1 retry 2.1 remove 1.0 remove 0.0 remove 2.0 run_now 1.0 "
        "run_now 0.1 run_now 2.1 prioritize 1.0 prioritize 0.1 prioritize 2.1 ";
    SECTION("on a client") {
        start();
        Look look(file);
        lay_out(look);
        CHECK(all_actions(Admin{*client}) == expected);
    }
    SECTION("from another process") {
        Process other([&](const Process::Inside& inside) {
            inside.wait();
            inside.say(all_actions(Admin{file}));
        });
        start();
        Look look(file);
        lay_out(look);
        other.next();
        CHECK(other.await(expected));
        CHECK(other.join() == 0);
    }
    SECTION("on a file that nobody runs") {
        { const Client once{quick(file, 1)}; }
        Look look(file);
        lay_out(look);
        CHECK(all_actions(Admin{file}) == expected);
    }
    Look look(file);
    CHECK(look.text("SELECT group_concat(task, ' ') FROM (SELECT id || iif(due > 8000000000000, ' later', ' due') || "
                    "iif(priority = 7, ' first', '') || ',' AS task FROM backlite_tasks ORDER BY id)") ==
          "cancelx later, cancely later, prioritize1 later first, prioritize2 later first, prioritize3 later first, "
          "prioritizex later, prioritizey later, removex later, removey later, retry1 due, retry2 due, retry3 due, "
          "run_now1 due, run_now2 due, run_now3 due, run_nowx later, run_nowy later,");
    CHECK(look.text("SELECT group_concat(task, ' ') FROM (SELECT id || ' ' || error || ',' AS task FROM "
                    "backlite_tasks_completed ORDER BY id)") ==
          "cancel1 cancelled, cancel2 cancelled, cancel3 cancelled, retryx no, retryy no,");
}

TEST_CASE_METHOD(Shop, "Admin: a filter that narrows nothing changes nothing unless all is set") {
    start();
    client->pause("orders");
    add("a");
    add("b");
    const Admin admin{*client};
    const Bulk bulk{};
    CHECK(message_of<UsageError>([&] { admin.cancel(TaskFilter{}); }) ==
          "Admin::cancel: the filter narrows nothing, so it would change every task: set TaskFilter::all if that is "
          "meant");
    CHECK_THROWS_AS(admin.retry(TaskFilter{}, bulk), UsageError);
    CHECK_THROWS_AS(admin.remove(TaskFilter{}), UsageError);
    CHECK_THROWS_AS(admin.run_now(TaskFilter{}), UsageError);
    CHECK_THROWS_AS(admin.set_priority(TaskFilter{}, 1), UsageError);
    CHECK_THROWS_AS(admin.remove({.text = std::string(20'000, 'x')}), ConfigError);
    CHECK(Look(file).tasks() == 2);
    CHECK(admin.remove({.all = true}) == Affected{2, 0});
    CHECK(Look(file).tasks() == 0);
}

TEST_CASE_METHOD(Shop,
                 "Admin: an action on many says after each transaction how far it is, and stops when it is asked to") {
    client.emplace(quick(file, 1));
    std::vector<Order> many(1'200);
    client->add(many).save();
    const Admin admin{*client};
    std::stop_source source;
    std::vector<std::size_t> seen;
    const Bulk bulk{.progress =
                        [&](const Affected& so_far) {
                            seen.push_back(so_far.count);
                            if (seen.size() == 2) source.request_stop();
                        },
                    .stop = source.get_token()};
    CHECK(admin.set_priority({.queue = "orders"}, 3, bulk) == Affected{1'000, 0});
    CHECK(seen == std::vector<std::size_t>{500, 1'000});
    CHECK(Look(file).tasks("priority = 3") == 1'000);
    CHECK_THROWS_AS(
        admin.remove({.queue = "orders"}, {.progress = [](const Affected&) { throw std::runtime_error("enough"); }}),
        std::runtime_error);
    CHECK(Look(file).tasks() == 700);
    CHECK(admin.remove({.queue = "orders"}, {.stop = source.get_token()}) == Affected{0, 0});
}

TEST_CASE_METHOD(Shop, "Admin: a thread whose own transaction is open is told that it would wait for itself") {
    client.emplace(quick(file, 1));
    add("a");
    const Admin admin{*client};
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    backlite::Transaction transaction{*client, database};
    CHECK_THROWS_AS(admin.cancel(TaskId::from_text("x")), UsageError);
    CHECK_THROWS_AS(admin.retry({.all = true}), UsageError);
}

TEST_CASE_METHOD(Shop, "Admin: limits are stored, shown, and say why tasks of a queue do not run") {
    const Uncapped uncapped;
    start();
    const Admin admin{*client};
    admin.set_limits("orders", {.running = 1});
    add("waits");
    REQUIRE(journal.await("waits"));
    const TaskId id = add("next");
    REQUIRE(admin.queues().size() == 1);
    CHECK(admin.queues()[0].limits == backlite::Limits{.running = 1});
    CHECK(admin.queues()[0].why == std::vector{backlite::Blocker::limit});
    CHECK(admin.task(id)->why == std::vector{backlite::Blocker::limit});
    admin.reset_limits("orders");
    CHECK(journal.await("next"));
    CHECK_FALSE(admin.queues().at(0).limits);
    CHECK_THROWS_AS(admin.set_limits("orders", {.running = -1}), ConfigError);
    gate.open();
}

TEST_CASE_METHOD(Shop, "Admin: with a task that is cancelled or removed end those that wait for it") {
    client.emplace(quick(file, 1));
    const Admin admin{*client};
    for (const bool remove : {false, true}) {
        const TaskId parent = add("parent");
        const TaskId child = client->add(Order{"child"}).after({parent}).save().front();
        CHECK(admin.task(child)->why == std::vector{backlite::Blocker::parents});
        CHECK(admin.task(child)->parents == std::vector{parent});
        CHECK((remove ? admin.remove(parent) : admin.cancel(parent)) == Affected{1, 0});
        CHECK(client->status(child) == TaskStatus::cancelled);
        CHECK(client->status(parent) == (remove ? TaskStatus::not_found : TaskStatus::cancelled));
    }
}

TEST_CASE_METHOD(Shop, "Admin: observers of its client are told of what it cancelled") {
    Journal told;
    config.observers.push_back([&](const backlite::Event& event) {
        if (event.kind == backlite::EventKind::cancelled) told.note(event.queue + " " + event.task_id.str());
    });
    client.emplace(config);
    const TaskId a = add("a");
    const TaskId b = add("b");
    const Admin admin{*client};
    CHECK(admin.cancel({.queue = "orders"}) == Affected{2, 0});
    CHECK(told.await("orders " + a.str()));
    CHECK(told.await("orders " + b.str()));
}

}  // namespace
