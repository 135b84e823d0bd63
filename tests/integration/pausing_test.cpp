// SPDX-License-Identifier: MIT
// Pausing and resuming queues, and waiting until there is nothing to do.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ConfigError;
using backlite::UsageError;

struct Print {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "print"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Print, name)

struct Mail {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "mail"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Mail, name)

/// A task that is read as slowly as the test likes.
struct Slow {
    static inline std::atomic<int> being_read{0};
    static inline Gate* reads = nullptr;
    static backlite::QueueConfig config() { return {.name = "slow"}; }
};
void to_json(nlohmann::json& json, const Slow&) { json = nlohmann::json::object(); }
void from_json(const nlohmann::json&, Slow&) {
    if (Slow::reads == nullptr) return;
    ++Slow::being_read;
    Slow::reads->pass();
}

/// A client with both queues; a print waits at the gate.
struct Office : Story {
    Office() { start(); }
    ~Office() { gate.open(); }

    void start() {
        client.emplace(quick(file, 2));
        client->register_queue<Print>([this](const Print& print) {
            journal.note(print.name);
            gate.pass();
        });
        client->register_queue<Mail>([this](const Mail& mail) { journal.note(mail.name); });
        client->start();
    }

    Gate gate{};
    std::optional<Client> client{};
};

TEST_CASE_METHOD(Office, "pause: no task of the queue starts, what runs goes on, and other queues are as before") {
    const Uncapped uncapped;
    client->add(Print{"running"}).save();
    REQUIRE(journal.await("running"));
    client->pause("print");
    client->add(Print{"waiting"}).save();
    client->add(Mail{"beside"}).save();
    CHECK(journal.await("beside"));
    gate.open();
    client->add(Print{"waiting too"}, Mail{"later"}).save();
    CHECK(journal.await("later"));
    std::this_thread::sleep_for(20ms);
    CHECK(journal.entries() == std::vector<std::string>{"running", "beside", "later"});
    client->resume("print");
    CHECK(journal.await("waiting"));
    CHECK(journal.await("waiting too"));
}

TEST_CASE_METHOD(Office, "pause: tasks that were claimed ahead go back, and stay in the file as waiting") {
    gate.open();
    for (int i = 0; i < 200; ++i) client->add(Print{"warm"}).save();  // they are known to be quick
    REQUIRE(journal.await("warm", 200));
    std::vector<Print> many(2'000, Print{"many"});
    client->add(many).save();
    client->pause("print");
    const int started = journal.count("many");
    CHECK(eventually([&] { return client->counts().at(0).running == 0; }));
    CHECK(journal.count("many") == started);
    CHECK(static_cast<int>(client->counts().at(0).waiting) == 2'000 - started);
    client->resume("print");
    CHECK(journal.await("many", 2'000));
}

TEST_CASE_METHOD(Story, "pause: waits for a task whose payload is still being read, since it is about to start") {
    Gate reading;
    Client client{quick(file, 2)};
    client.register_queue<Slow>([&](const Slow&) { journal.note("started"); });
    client.add(Slow{}).save();  // reads what it adds, in a debug build
    Slow::reads = &reading;
    client.start();
    REQUIRE(eventually([] { return Slow::being_read == 1; }));
    std::jthread pauses([&] {
        client.pause("slow");
        journal.note("paused");
    });
    CHECK_FALSE(journal.await_for("paused", 50ms));
    reading.open();
    CHECK(journal.await("paused"));
    CHECK(journal.await("started"));
    pauses.join();
    client.add(Slow{}).save();
    std::this_thread::sleep_for(20ms);
    CHECK(journal.count("started") == 1);
    client.resume("slow");
    CHECK(journal.await("started", 2));
    client.stop(patience);
}

TEST_CASE_METHOD(Office, "pause: another client on the file stops the queue too, and goes on when it is resumed") {
    gate.open();
    Client other{quick(file, 1)};
    other.pause("print");
    REQUIRE(eventually([&] {
        client->add(Print{"a"}).save();
        const int before = journal.count("a");
        std::this_thread::sleep_for(10ms);
        return journal.count("a") == before && client->counts().at(0).waiting > 0;
    }));
    const int before = journal.count("a");
    other.add(Print{"b"}).save();
    std::this_thread::sleep_for(50ms);
    CHECK(journal.count("a") == before);
    CHECK(journal.count("b") == 0);
    other.resume("print");
    CHECK(journal.await("b"));
}

TEST_CASE_METHOD(Office, "pause: lasts over a restart, also of a queue that nobody has registered yet") {
    gate.open();
    client->stop(patience);
    client.reset();
    {
        Client tool{quick(file, 1)};
        tool.pause("print");
        tool.pause("nobody's");
        tool.pause("print");
        tool.resume("mail");  // is not paused
        CHECK_THROWS_AS(tool.pause(""), ConfigError);
        CHECK_THROWS_AS(tool.resume(std::string_view("a\0b", 3)), ConfigError);
    }
    start();
    client->add(Print{"a"}, Mail{"b"}).save();
    CHECK(journal.await("b"));
    std::this_thread::sleep_for(20ms);
    CHECK(journal.count("a") == 0);
    Look look(file);
    CHECK(look.text("SELECT group_concat(queue, ' ') FROM (SELECT queue FROM backlite_queues WHERE paused_at IS NOT "
                    "NULL ORDER BY queue)") == "nobody's print");
    CHECK(look.number("SELECT max(claim) FROM backlite_tasks") == 0);  // nor was it claimed for nothing
    client->resume("print");
    CHECK(journal.await("a"));
}

TEST_CASE_METHOD(Office, "pause: inside a task of its own queue it does not wait for itself") {
    gate.open();
    client->stop(patience);
    client.emplace(quick(file, 1));
    client->register_queue<Print>([&](backlite::Context& context, const Print& print) {
        journal.note(print.name);
        if (print.name == "pauses") context.client().pause("print");
    });
    client->start();
    client->add(Print{"pauses"}, Print{"waits"}).save();
    REQUIRE(journal.await("pauses"));
    CHECK(eventually([&] { return client->counts().size() == 1 && client->counts().at(0).running == 0; }));
    CHECK(journal.count("waits") == 0);
    client->resume("print");
    CHECK(journal.await("waits"));
    client->stop(patience);
}

TEST_CASE_METHOD(Office, "pause: on a thread that has a Transaction open it is refused, since it would wait for that") {
    gate.open();
    SQLite::Database host(file, SQLite::OPEN_READWRITE);
    backlite::Transaction transaction{*client, host};
    CHECK_THROWS_AS(client->pause("print"), UsageError);
    CHECK_THROWS_AS(client->resume("print"), UsageError);
    transaction.rollback();
    client->resume("print");
}

TEST_CASE_METHOD(Office, "pause: retries and snoozes of a paused queue are due, and wait") {
    client->stop(patience);
    client.emplace(quick(file, 1));
    client->register_queue<Print>([&](const Print& print) {
        journal.note(print.name);
        gate.pass();
        return journal.count(print.name) < 2 ? backlite::Outcome::snooze(1ms) : backlite::Outcome::success();
    });
    client->start();
    client->add(Print{"a"}).save();
    REQUIRE(journal.await("a"));
    client->pause("print");
    gate.open();
    CHECK(eventually([&] { return client->counts().at(0).waiting == 1; }));
    std::this_thread::sleep_for(20ms);
    CHECK(journal.count("a") == 1);
    client->resume("print");
    CHECK(journal.await("a", 2));
    client->stop(patience);
}

TEST_CASE("pause: a dispatcher sleeps although a paused queue has due tasks") {
    const Story story;
    const auto clock = std::make_shared<CountingClock>();
    backlite::ClientConfig config = quick(story.file, 1);
    config.clock = clock;
    Client client{config};
    client.register_queue<Mail>([](const Mail&) {});
    client.pause("mail");
    client.start();
    client.add(std::vector<Mail>(100)).save();
    std::this_thread::sleep_for(50ms);
    CHECK(clock->reads_during(200ms) < 100);
    client.stop(patience);
}

TEST_CASE_METHOD(Office, "wait_idle: returns when no task of the client's queues is due or runs") {
    CHECK(client->wait_idle(0ms));
    client->add(Print{"a"}).save();
    client->add(Mail{"tomorrow"}).wait(24h).save();
    CHECK_FALSE(client->wait_idle(20ms));
    std::jthread opens([&] {
        std::this_thread::sleep_for(20ms);
        gate.open();
    });
    CHECK(client->wait_idle(patience));
    CHECK(journal.count("a") == 1);
    client->pause("mail");
    client->add(Mail{"paused"}).save();
    CHECK_FALSE(client->wait_idle(10ms));
    client->resume("mail");
    CHECK(client->wait_idle(patience));
    CHECK(journal.count("paused") == 1);
}

TEST_CASE_METHOD(Office,
                 "wait_idle: tasks of queues that this client has not registered do not count, those of others do") {
    Client other{quick(file, 1)};
    other.register_queue<Mail>([&](const Mail& mail) { journal.note(mail.name); });
    client->add(Print{"runs in the first"}).save();
    REQUIRE(journal.await("runs in the first"));
    CHECK(other.wait_idle(0ms));
    CHECK_FALSE(client->wait_idle(0ms));
    client->pause("mail");
    other.add(Mail{"due"}).save();
    CHECK_FALSE(other.wait_idle(10ms));
    CHECK_THROWS_AS(other.wait_idle(-1ms), ConfigError);
    client->resume("mail");
    CHECK(other.wait_idle(patience));
}

TEST_CASE_METHOD(Story, "wait_idle: on a handle it ends with the client, and says so") {
    std::optional<Client> client(quick(file, 1));
    client->register_queue<Mail>([](const Mail&) {});
    client->add(Mail{"due"}).save();  // nobody runs it
    const backlite::ClientHandle handle = *client;
    std::jthread waits([&] {
        journal.note("waits");
        try {
            static_cast<void>(handle.wait_idle(1h));
            journal.note("idle");
        } catch (const UsageError&) {
            journal.note("ended");
        }
    });
    REQUIRE(journal.await("waits"));
    CHECK_FALSE(journal.await_for("idle", 20ms));
    client.reset();
    CHECK(journal.await("ended"));
    waits.join();
}

TEST_CASE_METHOD(Office, "wait_idle: inside a task of the client it is refused") {
    client->stop(patience);
    client.emplace(quick(file, 1));
    client->register_queue<Mail>([&](backlite::Context& context, const Mail&) {
        try {
            static_cast<void>(context.client().wait_idle(1h));
        } catch (const UsageError&) {
            journal.note("refused");
        }
    });
    client->start();
    client->add(Mail{"a"}).save();
    CHECK(journal.await("refused"));
    client->stop(patience);
}

}  // namespace
