// SPDX-License-Identifier: MIT
// Tasks that are not started in time: they end as expired, wherever they wait.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::CancelResult;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::Duration;
using backlite::Event;
using backlite::EventKind;
using backlite::Outcome;
using backlite::TaskId;
using backlite::TaskStatus;

// Kept with its payload.
struct Code {
    std::string text{};
    static backlite::QueueConfig config() {
        return {.name = "codes",
                .max_attempts = 3,
                .retention = backlite::Retention{.duration = 24h, .data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Code, text)

// Not kept, and good for a moment.
struct Price {
    std::string text{};
    static backlite::QueueConfig config() { return {.name = "prices", .expires_after = 50ms}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Price, text)

struct Backwards {
    std::string text{};
    static backlite::QueueConfig config() { return {.name = "backwards", .expires_after = -1ms}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Backwards, text)

/// A client whose codes wait for the gate.
struct Post : Story {
    ~Post() { gate.open(); }

    void start(ClientConfig with) {
        client.emplace(std::move(with));
        prepare(*client);
        client->start();
    }
    void start() { start(quick(file, 1)); }

    void prepare(Client& it) {
        it.register_queue<Code>([this](const Code& code) {
            journal.note("starts " + code.text);
            gate.pass();
            return answer ? answer() : Outcome::success();
        });
        it.register_queue<Price>([this](const Price& price) { journal.note("starts " + price.text); });
    }

    [[nodiscard]] bool becomes(const TaskId& id, TaskStatus status) {
        return eventually([&] { return client->status(id) == status; });
    }
    [[nodiscard]] std::int64_t details() { return Look(file).number("SELECT count(*) FROM backlite_details"); }

    Gate gate{};
    std::function<Outcome()> answer{};
    std::optional<Client> client{};
};

TEST_CASE_METHOD(Post, "expiry: a task of a paused queue ends when its time has come, and never starts") {
    const Uncapped uncapped;
    start();
    client->pause("codes");
    client->pause("prices");
    const TaskId code = client->add(Code{"a"}).expires_after(50ms).save().front();
    const TaskId later =
        client->add(Code{"b"}).wait(1h).expires_at(std::chrono::system_clock::now() + 50ms).save().front();
    const TaskId stays = client->add(Code{"c"}).expires_after(1h).save().front();
    const TaskId price = client->add(Price{"d"}).save().front();
    const TaskId lasting = client->add(Price{"e"}).expires_after(0s).save().front();
    CHECK(becomes(code, TaskStatus::expired));
    CHECK(becomes(later, TaskStatus::expired));
    CHECK(becomes(price, TaskStatus::not_found));
    Look look(file);
    CHECK(look.text("SELECT error || ' ' || succeeded || ' ' || kind || ' ' || CAST(task AS text) FROM "
                    "backlite_tasks_completed WHERE id = '" +
                    code.str() + "'") == "expired 0 5 {\"text\":\"a\"}");
    CHECK(look.completed("expires_at BETWEEN created_at + 86400000 AND created_at + 86460000") == 2);
    CHECK(client->status(stays) == TaskStatus::pending);
    CHECK(client->status(lasting) == TaskStatus::pending);
    CHECK(client->cancel(code) == CancelResult::finished);
    gate.open();
    client->resume("codes");
    client->resume("prices");
    CHECK(becomes(stays, TaskStatus::succeeded));
    CHECK(becomes(lasting, TaskStatus::not_found));
    CHECK(journal.count("starts a") + journal.count("starts b") + journal.count("starts d") == 0);
    CHECK(journal.count("starts e") == 1);
    CHECK(details() == 0);
}

TEST_CASE_METHOD(Post, "expiry: one that is past already never starts, though a worker is idle") {
    start();
    gate.open();
    for (int i = 0; i < 20; ++i) {
        const TaskId runs = client->add(Code{"runs"}).save().front();
        CHECK(becomes(runs, TaskStatus::succeeded));
        REQUIRE(client->wait_idle(patience));
        const TaskId id = client->add(Code{"a"}).expires_at(std::chrono::system_clock::now() - 1h).save().front();
        CHECK(becomes(id, TaskStatus::expired));
    }
    CHECK(journal.count("starts runs") == 20);
    CHECK(journal.count("starts a") == 0);
}

TEST_CASE_METHOD(Post, "expiry: an add tells the client of it, though nothing is due") {
    const Uncapped uncapped;
    start();
    gate.open();
    client->add(Code{"runs"}).save();
    REQUIRE(journal.await("starts runs"));
    REQUIRE(client->wait_idle(patience));
    const auto soon = std::chrono::system_clock::now() + 100ms;
    const TaskId id = client->add(Code{"a"}).wait(1h).expires_at(soon).save().front();
    CHECK(becomes(id, TaskStatus::expired));
}

TEST_CASE_METHOD(Post, "expiry: a task that is held ends in time too") {
    client.emplace(quick(file, 1));
    prepare(*client);
    const TaskId id = client->add(Code{"a"}).expires_after(1h).save().front();
    Look look(file);
    look.run("UPDATE backlite_tasks SET hold = 2; UPDATE backlite_details SET expires_at = expires_at - 3600000");
    client->start();
    CHECK(becomes(id, TaskStatus::expired));
    CHECK(look.tasks() + details() == 0);
}

TEST_CASE_METHOD(Post, "expiry: what runs is not stopped, and what has started does not expire though it comes back") {
    answer = [] { return Outcome::retry("once more"); };
    start();
    const TaskId id = client->add(Code{"a"}).expires_after(500ms).save().front();
    REQUIRE(journal.await("starts a"));
    CHECK(details() == 0);
    std::this_thread::sleep_for(550ms);
    CHECK(client->status(id) == TaskStatus::running);
    gate.open();
    CHECK(becomes(id, TaskStatus::failed));
    CHECK(journal.count("starts a") == 3);
}

TEST_CASE_METHOD(Post, "expiry: a task that waits behind a busy worker ends in time, claimed or not") {
    const Uncapped uncapped;
    Events<Event> seen;
    ClientConfig first = quick(file, 1);
    const auto told = std::make_shared<LogBook>();
    first.logger = told;
    first.observers.push_back([&](const Event& event) { seen.add(event); });
    start(std::move(first));
    gate.open();
    for (int i = 0; i < 50; ++i) client->add(Code{"warm"}).save();  // the queue is known to be quick
    REQUIRE(client->wait_idle(patience));
    client->stop(patience);
    client.reset();
    Gate held;
    ClientConfig again = quick(file, 1);
    again.logger = told;
    again.observers.push_back([&](const Event& event) { seen.add(event); });
    client.emplace(std::move(again));
    client->register_queue<Price>([&](const Price& price) {
        journal.note("starts " + price.text);
        if (price.text == "holds") held.pass();
    });
    client->start();
    for (int i = 0; i < 50; ++i) client->add(Price{"warm"}).expires_after(0s).save();
    REQUIRE(client->wait_idle(patience));
    const TaskId holds = client->add(Price{"holds"}).expires_after(0s).save().front();
    REQUIRE(journal.await("starts holds"));
    const std::vector<TaskId> ids = client->add(std::vector<Price>{{"a"}, {"b"}}).expires_after(300ms).save();
    CHECK(eventually([&] { return Look(file).tasks("claimed_at IS NOT NULL") == 3; }));
    CHECK(becomes(ids[0], TaskStatus::not_found));
    CHECK(becomes(ids[1], TaskStatus::not_found));
    CHECK(client->status(holds) == TaskStatus::running);
    CHECK(seen.wait_until([&](const std::vector<Event>& events) {
        return std::any_of(events.begin(), events.end(), [&](const Event& event) {
            return event.kind == EventKind::expired && event.task_id == ids[1] && event.queue == "prices" &&
                   event.attempt == 0;
        });
    }));
    held.open();
    CHECK(client->wait_idle(patience));
    CHECK(journal.count("starts a") + journal.count("starts b") == 0);
    CHECK(told->await({"info tasks expired"}));
    client.reset();
    CHECK(Look(file).number("SELECT sum(failed) FROM backlite_stats") == 0);
}

TEST_CASE_METHOD(Post, "expiry: it outlives a stop and a restart, and comes in time also of what was added meanwhile") {
    {
        Client adds{quick(file, 1)};
        adds.add(Code{"old"}).expires_after(1ms).save();
    }
    const Uncapped uncapped;
    start();
    const TaskId old =
        TaskId::from_text(Look(file).text("SELECT max(id) FROM (SELECT id FROM backlite_tasks UNION "
                                          "SELECT id FROM backlite_tasks_completed)"));
    CHECK(becomes(old, TaskStatus::expired));
    client->pause("codes");
    const TaskId waits = client->add(Code{"a"}).expires_after(1h).save().front();
    client->stop(patience);
    CHECK(client->status(waits) == TaskStatus::pending);
    CHECK(details() == 1);
    Look(file).run("UPDATE backlite_details SET expires_at = 1");
    client->start();
    CHECK(becomes(waits, TaskStatus::expired));
    client->resume("codes");
    client->add(Code{"b"}).save();
    CHECK(journal.await("starts b"));
    CHECK(journal.count("starts a") == 0);
}

TEST_CASE_METHOD(Post, "expiry: tasks of another client, of a host's transaction and of plain SQL end in time too") {
    const Uncapped uncapped;
    start();
    client->pause("codes");
    Client other{quick(file, 1)};
    const TaskId theirs = other.add(Code{"a"}).expires_after(30ms).save().front();
    CHECK(becomes(theirs, TaskStatus::expired));
    SQLite::Database host(file, SQLite::OPEN_READWRITE);
    backlite::Transaction transaction{*client, host};
    const TaskId hosts = client->add(Code{"b"}).expires_after(30ms).tx(transaction).save().front();
    transaction.commit();
    CHECK(becomes(hosts, TaskStatus::expired));
    {
        backlite::Transaction undone{*client, host};
        static_cast<void>(client->add(Code{"c"}).expires_after(30ms).tx(undone).save());
        undone.rollback();
    }
    CHECK(details() == 0);
    // Without an expiry they wait as ever; nor does another program's claim or delete leave anything behind.
    Look look(file);
    look.run(
        "BEGIN IMMEDIATE; INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('plain', 1, 'codes', "
        "x'7b7d'), ('go', 1, 'codes', x'7b7d'); UPDATE backlite_tasks SET claimed_at = 9000000000000, attempts = 1 "
        "WHERE id = 'go'; INSERT INTO backlite_details (task, expires_at) VALUES ('go', 5), ('gone', 6); COMMIT");
    CHECK(eventually([&] { return details() == 0; }));
    CHECK(look.tasks("id IN ('plain', 'go')") == 2);
}

TEST_CASE_METHOD(Post, "expiry: tasks of a queue that nobody registered stay, and hold up no others") {
    const Uncapped uncapped;
    Client adds{quick(file, 1)};
    const TaskId id = adds.add(Price{"a"}).save().front();
    client.emplace(quick(file, 1));
    client->register_queue<Code>([](const Code&) {});
    client->start();
    client->pause("codes");
    std::this_thread::sleep_for(60ms);
    for (int i = 0; i < 2; ++i) {
        const TaskId code = client->add(Code{"b"}).expires_after(30ms).save().front();
        CHECK(becomes(code, TaskStatus::expired));
    }
    CHECK(client->status(id) == TaskStatus::pending);
    CHECK(details() == 1);
}

TEST_CASE_METHOD(Post, "expiry: a cancel takes it along, and a task that ends otherwise leaves nothing of it") {
    start();
    gate.open();
    client->add(Code{"a"}).expires_after(1h).save();
    const TaskId waits = client->add(Code{"b"}).wait(1h).expires_after(1h).save().front();
    CHECK(details() >= 1);
    CHECK(client->cancel(waits) == CancelResult::cancelled);
    CHECK(journal.await("starts a"));
    CHECK(client->wait_idle(patience));
    CHECK(details() == 0);
}

TEST_CASE_METHOD(Post, "expiry: more of them than one transaction ends, with some that a trigger keeps") {
    client.emplace(quick(file, 1));
    prepare(*client);
    client->pause("codes");
    client->add(std::vector<Code>(1'200)).expires_after(1ms).save();
    Look look(file);
    look.run(
        "UPDATE backlite_tasks SET task = x'6b656570' WHERE rowid % 400 = 7;"
        "CREATE TRIGGER keeps BEFORE DELETE ON backlite_tasks WHEN OLD.task = x'6b656570' "
        "BEGIN SELECT RAISE(ABORT, 'kept'); END");
    client->start();
    CHECK(eventually([&] { return look.completed() == 1'197; }));
    CHECK(look.tasks() == 3);
    CHECK(details() == 3);
    look.run("DROP TRIGGER keeps");
    CHECK(eventually([&] { return look.completed() == 1'200; }));
    CHECK(details() == 0);
}

TEST_CASE_METHOD(Post, "expiry: a time that cannot be kept is refused by value and queue, and nothing is added") {
    client.emplace(quick(file, 1));
    const auto refused = [&](auto&& add) { return message_of<ConfigError>(add); };
    using Time = std::chrono::time_point<std::chrono::system_clock, std::chrono::hours>;
    CHECK(
        contains(refused([&] { client->add(Code{}).expires_after(-1ms).save(); }), "\"codes\": expires_after: -1 ms"));
    CHECK(contains(refused([&] { client->add(Code{}).expires_after(Duration::max()).save(); }), "too long"));
    CHECK(contains(refused([&] { client->add(Code{}).expires_after(std::chrono::hours::max()).save(); }), "too long"));
    CHECK(contains(refused([&] { client->add(Code{}).expires_at(Time{-1h}).save(); }),
                   "\"codes\": AddOp::expires_at: -"));
    CHECK(contains(refused([&] { client->add(Code{}).expires_at(Time::max()).save(); }), "too far off"));
    CHECK(
        contains(refused([&] { client->add(Backwards{}).save(); }), "\"backwards\": expires_after is negative: -1 ms"));
    CHECK(Look(file).tasks() == 0);
    CHECK_NOTHROW(client->add(Code{}).expires_after(-1ms).expires_at(Time{1h}).save());
    CHECK_NOTHROW(client->add(Code{}).expires_at(Time::max()).expires_after(1h).save());
    CHECK(details() == 2);
}

TEST_CASE("expiry: it counts from the time when a task is due first, and a TestClient has it too") {
    backlite::testing::TestClient client;
    std::vector<std::string> ran;
    client.register_queue<Code>([&](const Code& code) { ran.push_back(code.text); });
    const TaskId soon = client.add(Code{"soon"}).wait(10s).expires_after(5s).save().front();
    const TaskId late = client.add(Code{"late"}).wait(1h).expires_at(client.clock().now() + 1min).save().front();
    client.clock().advance(14'999ms);
    client.drain();
    CHECK(ran == std::vector<std::string>{"soon"});
    CHECK(client.client().status(soon) == TaskStatus::succeeded);
    const TaskId missed = client.add(Code{"missed"}).wait(10s).expires_after(5s).save().front();
    client.clock().advance(15s);
    client.drain();
    CHECK(client.client().status(missed) == TaskStatus::expired);
    client.clock().advance(2h);
    client.drain();
    CHECK(client.client().status(late) == TaskStatus::expired);
    CHECK(ran.size() == 1);
}

}  // namespace
