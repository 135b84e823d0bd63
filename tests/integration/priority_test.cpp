// SPDX-License-Identifier: MIT
// Which of several due tasks starts first.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::Context;
using backlite::Outcome;
using backlite::testing::ManualClock;

struct Mail {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "mail", .max_attempts = 2, .retention = backlite::Retention{.duration = 1h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Mail, name)

struct Alarm {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "alarm", .priority = 10}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Alarm, name)

struct Shouting {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "shouting", .priority = 1001}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Shouting, name)

/// One worker, which notes the names of what it runs.
struct Office : Story {
    Office() {
        config.num_workers = 1;
        config.clock = clock;
    }

    void staff(Client& client) {
        client.register_queue<Mail>([this](const Mail& mail) { journal.note(mail.name); });
        client.register_queue<Alarm>([this](const Alarm& alarm) { journal.note(alarm.name); });
    }

    /// What ran, once so many tasks have.
    [[nodiscard]] std::string order(std::size_t count) {
        REQUIRE(journal.await_size(count));
        return fmt::format("{}", fmt::join(journal.entries(), " "));
    }

    /// Runs all that the client has added.
    [[nodiscard]] std::string run(Client& client, std::size_t count) {
        staff(client);
        client.start();
        return order(count);
    }

    std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
};

TEST_CASE("Priorities: of due tasks those of the higher priority start first, over all queues") {
    Office office;
    Client client(office.config);
    client.add(Mail{"usual"}).save();
    client.add(Mail{"low"}).priority(-1).save();
    client.add(Alarm{"of its queue"}).save();
    client.add(Mail{"high"}).priority(1000).save();
    client.add(Alarm{"own"}).priority(9).save();
    CHECK(office.run(client, 5) == "high of its queue own usual low");
}

TEST_CASE("Priorities: those of a call apply to all of its tasks, whatever their types") {
    Office office;
    Client client(office.config);
    client.add(Mail{"first"}).save();
    client.add(Mail{"mail"}, Alarm{"alarm"}).priority(-5).save();
    client.add(std::vector<Mail>{{"a"}, {"b"}, {"c"}}).priority(3).save();
    CHECK(office.run(client, 6) == "a b c first mail alarm");
}

TEST_CASE("Priorities: a task gains a level for each minute that it has been due, and none while it waits") {
    Office office;
    Client client(office.config);
    client.add(Mail{"old"}).save();
    client.add(Mail{"scheduled"}).wait(119s).save();
    office.clock->advance(119s);
    client.add(Mail{"high"}).priority(2).save();
    office.clock->advance(2s);
    client.add(Mail{"too late"}).priority(2).save();
    CHECK(office.run(client, 4) == "high old too late scheduled");
}

TEST_CASE("Priorities: how long a task must be due for a level is the client's to say") {
    Office office;
    office.config.ageing = 1s;
    Client client(office.config);
    client.add(Mail{"old"}).save();
    office.clock->advance(6s);
    client.add(Mail{"high"}).priority(5).save();
    CHECK(office.run(client, 2) == "old high");
}

TEST_CASE("Priorities: with an ageing of zero they are strict") {
    Office office;
    office.config.ageing = 0s;
    Client client(office.config);
    client.add(Mail{"old"}).save();
    office.clock->advance(240h);
    client.add(Mail{"new"}).priority(1).save();
    CHECK(office.run(client, 2) == "new old");
}

TEST_CASE("Priorities: a task of low priority starts although others of high priority come all the time") {
    Office office;
    office.config.ageing = 1s;
    Client client(office.config);
    client.add(Mail{"patient"}).priority(-3).save();
    int rounds = 0;
    client.register_queue<Mail>([&](const Mail& mail) { office.journal.note(mail.name); });
    client.register_queue<Alarm>([&](const Alarm&) {
        office.clock->advance(1s);
        if (++rounds < 100) client.add(Alarm{"next"}).priority(3).save();
        office.journal.note("alarm");
    });
    client.add(Alarm{"first"}).priority(3).save();
    client.start();
    REQUIRE(office.journal.await("patient"));
    CHECK(office.journal.count("alarm") >= 6);
    CHECK(office.journal.count("alarm") <= 8);
}

TEST_CASE("Priorities: while a backlog is worked off, what is urgent goes before it") {
    Office office;
    Client client(office.config);
    for (const char* name : {"1", "2", "3", "4"}) client.add(Mail{name}).save();
    client.register_queue<Mail>([&](const Mail& mail) {
        if (mail.name == "1") client.add(Alarm{"urgent"}).save();
        office.journal.note(mail.name);
    });
    client.register_queue<Alarm>([&](const Alarm& alarm) { office.journal.note(alarm.name); });
    client.start();
    const std::string order = office.order(5);
    CHECK(order == "1 urgent 2 3 4");
}

TEST_CASE("Priorities: retries and snoozes keep the priority, and every attempt is told it") {
    Office office;
    Client client(office.config);
    client.register_queue<Mail>([&](Context& context, const Mail& mail) -> Outcome {
        office.journal.note(fmt::format("{} {}", mail.name, context.priority()));
        const auto runs = office.journal.entries().size();
        if (runs == 1) return Outcome::snooze(1h);
        if (runs == 2) return Outcome::retry_in(1h, "no");
        return Outcome::success();
    });
    client.add(Mail{"a"}).priority(-7).save();
    client.start();
    Look look(office.file);
    for (const int runs : {1, 2}) {
        REQUIRE(office.journal.await("a -7", runs));
        while (look.tasks("claimed_at IS NULL AND wait_until IS NOT NULL") == 0) std::this_thread::sleep_for(1ms);
        CHECK(look.number("SELECT priority FROM backlite_tasks") == -7);
        office.clock->advance(1h);
        client.notify();
    }
    CHECK(office.journal.await("a -7", 3));
}

TEST_CASE("Priorities: a finished task that is kept keeps its own, whether it failed or not") {
    Office office;
    Client client(office.config);
    client.register_queue<Mail>(
        [&](const Mail& mail) { return mail.name == "good" ? Outcome::success() : Outcome::discard("no"); });
    client.add(Mail{"good"}).priority(4).save();
    client.add(Mail{"bad"}).priority(-4).save();
    client.start();
    CHECK(client.stop(patience));
    client.start();
    Look look(office.file);
    while (look.completed() < 2) std::this_thread::sleep_for(1ms);
    CHECK(look.number("SELECT priority FROM backlite_tasks_completed WHERE error IS NULL") == 4);
    CHECK(look.number("SELECT priority FROM backlite_tasks_completed WHERE error IS NOT NULL") == -4);
}

TEST_CASE("Priorities: a task that goes straight to an idle worker has its own, in the file too") {
    Office office;
    Client client(office.config);
    client.register_queue<Alarm>([&](Context& context, const Alarm&) {
        Look look(office.file);
        office.journal.note(
            fmt::format("{} {}", context.priority(), look.number("SELECT priority FROM backlite_tasks")));
    });
    client.start();
    for (int i = 1; i <= 20; ++i) {
        while (!client.counts().empty()) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(5ms);  // most of them find the dispatcher asleep
        client.add(Alarm{"a"}).priority(77).save();
        REQUIRE(office.journal.await("77 77", i));
    }
}

TEST_CASE("Priorities: tasks added inside a host's transaction have theirs") {
    Office office;
    Client client(office.config);
    client.add(Mail{"usual"}).save();
    {
        Look host(office.file);
        SQLite::Transaction transaction(host.database());
        client.add(Mail{"high"}).tx(host.database()).priority(1).save();
        client.add(Alarm{"of its queue"}).priority(2).tx(host.database()).save();
        transaction.commit();
    }
    {
        Look host(office.file);
        backlite::Transaction transaction(client, host.database());
        client.add(Mail{"low"}).tx(transaction).priority(-2).save();
        transaction.commit();
    }
    CHECK(office.run(client, 4) == "of its queue high usual low");
}

TEST_CASE("Priorities: rows of plain SQL have priority 0 unless they say another, and are found by the same search") {
    Office office;
    Client client(office.config);
    client.add(Mail{"low"}).priority(-1).save();
    client.add(Mail{"high"}).priority(1).save();
    const auto now = backlite::detail::to_ms(office.clock->now()).count();
    Look host(office.file);
    host.run(
        fmt::format("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('a', {}, 'mail', "
                    "CAST('{{\"name\":\"plain\"}}' AS blob))",
                    now));
    host.run(
        fmt::format("INSERT INTO backlite_tasks (id, created_at, queue, task, priority) VALUES ('b', {}, 'mail', "
                    "CAST('{{\"name\":\"plain and high\"}}' AS blob), 2)",
                    now));
    CHECK(office.run(client, 4) == "plain and high high plain low");
}

TEST_CASE("Priorities: another client's tasks go by theirs, though this one has a backlog in memory of its heads") {
    Office office;
    Client runner(office.config);
    Client adder(office.config);
    for (const char* name : {"1", "2", "3"}) runner.add(Mail{name}).save();
    runner.register_queue<Mail>([&](const Mail& mail) {
        office.journal.note(mail.name);
        if (mail.name != "1") return;
        adder.add(Mail{"high"}).priority(5).save();
        adder.add(Mail{"higher"}).priority(6).save();
        runner.notify();
    });
    runner.start();
    const std::string order = office.order(5);
    // The runner may have claimed its next task before it saw the commits of the other.
    CHECK((order == "1 higher high 2 3" || order == "1 2 higher high 3"));
}

TEST_CASE("Priorities: one out of its bounds is refused with value and queue, and nothing is added") {
    Office office;
    Client client(office.config);
    for (const int priority : {-1001, 1001}) {
        CHECK(message_of<backlite::ConfigError>([&] { client.add(Mail{"a"}).priority(priority).save(); }) ==
              fmt::format("queue \"mail\": AddOp::priority is {}, must be -1000 to 1000", priority));
    }
    CHECK(message_of<backlite::ConfigError>([&] { client.register_queue<Shouting>([](const Shouting&) {}); }) ==
          "queue \"shouting\": priority is 1001, must be -1000 to 1000");
    CHECK_THROWS_AS(client.add(Shouting{}).save(), backlite::ConfigError);
    CHECK(Look(office.file).tasks() == 0);
    CHECK_NOTHROW(client.add(Mail{"a"}).priority(-1000).save());
    CHECK_NOTHROW(client.add(Mail{"a"}).priority(1000).save());
}

TEST_CASE("Priorities: an ageing that cannot work is refused") {
    Office office;
    office.config.ageing = -1ms;
    CHECK(contains(message_of<backlite::ConfigError>([&] { Client client(office.config); }),
                   "ClientConfig::ageing is -1"));
}

}  // namespace
