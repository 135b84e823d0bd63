// SPDX-License-Identifier: MIT
// Tasks that are ended before their time, while they wait, wait for a worker, or run, by this client or another.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
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
using backlite::CancelResult;
using backlite::Client;
using backlite::Context;
using backlite::Outcome;
using backlite::StopReason;
using backlite::TaskId;
using backlite::TaskStatus;

// Kept with its payload.
struct Render {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "render",
                .max_attempts = 3,
                .retention = backlite::Retention{.duration = 24h, .data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Render, name)

// Not kept.
struct Ping {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "ping"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Ping, name)

/// A client whose renders wait until their token fires or the gate opens, and then answer as the test likes.
struct Studio : Story {
    ~Studio() { gate.open(); }

    void start(unsigned workers = 1) {
        client.emplace(quick(file, workers));
        prepare(*client);
        client->start();
    }

    void prepare(Client& it) {
        it.register_queue<Render>([this](Context& context, const Render& render) {
            journal.note("starts " + render.name);
            while (!context.stop_token().stop_requested() && !gate.pass(2ms)) {
            }
            journal.note(fmt::format("{} {}", render.name, to_string(context.stop_reason())));
            return answer ? answer() : Outcome::success();
        });
        it.register_queue<Ping>([this](const Ping& ping) { journal.note("starts " + ping.name); });
    }

    [[nodiscard]] TaskStatus status(const TaskId& id) { return client->status(id); }
    [[nodiscard]] bool becomes(const TaskId& id, TaskStatus status) {
        return eventually([&] { return client->status(id) == status; });
    }
    [[nodiscard]] std::string kept(const TaskId& id) {
        Look look(file);
        return look.text(
            "SELECT ifnull(max(error || ' ' || succeeded || ' ' || kind || ' ' || ifnull(CAST(task AS "
            "text), 'no payload')), 'nothing') FROM backlite_tasks_completed WHERE id = '" +
            id.str() + "'");
    }
    [[nodiscard]] std::int64_t asked() { return Look(file).number("SELECT count(*) FROM backlite_cancels"); }

    Gate gate{};
    std::function<Outcome()> answer{};
    std::optional<Client> client{};
};

TEST_CASE_METHOD(Studio, "cancel: a task that waits never starts, and is kept as its queue says") {
    start();
    client->pause("render");
    const TaskId a = client->add(Render{"a"}).save().front();
    const TaskId later = client->add(Render{"later"}).wait(1h).save().front();
    const TaskId ping = client->add(Ping{"ping"}).wait(1h).save().front();
    CHECK(client->cancel(a) == CancelResult::cancelled);
    CHECK(client->cancel(later) == CancelResult::cancelled);
    CHECK(client->cancel(ping) == CancelResult::cancelled);
    CHECK(status(a) == TaskStatus::cancelled);
    CHECK(status(ping) == TaskStatus::not_found);
    CHECK(kept(later) == "cancelled 0 1 {\"name\":\"later\"}");
    client->resume("render");
    client->add(Render{"b"}).save();
    REQUIRE(journal.await("starts b"));
    gate.open();
    CHECK(client->wait_idle(patience));
    CHECK(journal.count("starts a") == 0);
    CHECK(client->cancel(a) == CancelResult::finished);
    CHECK(client->cancel(ping) == CancelResult::not_found);
    CHECK(client->cancel(TaskId::from_text("never added")) == CancelResult::not_found);
}

TEST_CASE_METHOD(Studio,
                 "cancel: one that runs is asked to stop at once, and ends as cancelled whatever it says but success") {
    const Uncapped uncapped;
    const int how = GENERATE(0, 1, 2, 3, 4);
    CAPTURE(how);
    answer = [&]() -> Outcome {
        switch (how) {
            case 0: return Outcome::retry("stopped in the middle");
            case 1: return Outcome::snooze(1h);
            case 2: return Outcome::discard("of no use");
            case 3: throw std::runtime_error("stopped");
            default: return Outcome::retry_in(1h, "later");
        }
    };
    start();
    const TaskId id = client->add(Render{"a"}).save().front();
    REQUIRE(journal.await("starts a"));
    CHECK(client->cancel(id) == CancelResult::requested);
    CHECK(journal.await("a cancelled"));
    CHECK(becomes(id, TaskStatus::cancelled));
    CHECK(kept(id) == "cancelled 0 1 {\"name\":\"a\"}");
    CHECK(Look(file).tasks() == 0);
    CHECK(eventually([&] { return asked() == 0; }));
}

TEST_CASE_METHOD(Studio, "cancel: one that succeeds all the same has succeeded") {
    start();
    const TaskId id = client->add(Render{"a"}).save().front();
    REQUIRE(journal.await("starts a"));
    CHECK(client->cancel(id) == CancelResult::requested);
    CHECK(client->cancel(id) == CancelResult::requested);
    CHECK(becomes(id, TaskStatus::succeeded));
    CHECK(journal.count("a cancelled") == 1);
    client->add(Ping{"next"}).save();
    CHECK(journal.await("starts next"));
    CHECK(eventually([&] { return asked() == 0; }));
}

TEST_CASE_METHOD(Studio, "cancel: one that is claimed and waits for a worker never starts") {
    start();
    gate.open();
    for (int i = 0; i < 50; ++i) client->add(Ping{"warm"}).save();  // the queue is known to be quick
    REQUIRE(client->wait_idle(patience));
    client->stop(patience);
    client.reset();
    Gate held;
    client.emplace(quick(file, 1));
    client->register_queue<Ping>([&](const Ping& ping) {
        journal.note("starts " + ping.name);
        if (ping.name == "holds") held.pass();
    });
    client->start();
    for (int i = 0; i < 50; ++i) client->add(Ping{"warm"}).save();
    REQUIRE(client->wait_idle(patience));
    const std::vector<TaskId> ids = client->add(std::vector<Ping>{{"holds"}, {"a"}, {"b"}}).save();
    REQUIRE(journal.await("starts holds"));
    REQUIRE(eventually([&] { return client->counts().at(0).running == 3; }));
    CHECK(client->cancel(ids[1]) == CancelResult::requested);
    CHECK(eventually([&] { return client->status(ids[1]) == TaskStatus::not_found; }));
    held.open();
    CHECK(journal.await("starts b"));
    CHECK(client->wait_idle(patience));
    CHECK(journal.count("starts a") == 0);
    client->stop(patience);
}

TEST_CASE_METHOD(Studio, "cancel: by another client on the file, which has not even started") {
    start();
    Client other{quick(file, 1)};
    const TaskId runs = client->add(Render{"a"}).save().front();
    REQUIRE(journal.await("starts a"));
    answer = [] { return Outcome::retry("stopped"); };
    const TaskId waits = client->add(Render{"b"}).wait(1h).save().front();
    CHECK(other.cancel(waits) == CancelResult::cancelled);
    CHECK(other.cancel(runs) == CancelResult::requested);
    CHECK(journal.await("a cancelled"));
    CHECK(becomes(runs, TaskStatus::cancelled));
    // It has not registered the queue, so it keeps what it ends, for seven days.
    CHECK(status(waits) == TaskStatus::cancelled);
    CHECK(Look(file).completed("expires_at BETWEEN created_at + 604700000 AND created_at + 604900000") == 2);
}

TEST_CASE("cancel: of a task whose process dies then, the rescue ends it") {
    const Story story;
    Process child([&](const Process::Inside& inside) {
        Client client{quick(story.file, 1)};
        client.register_queue<Render>([&](const Render&) {
            inside.say("runs");
            std::this_thread::sleep_for(1h);
        });
        client.start();
        const TaskId id = client.add(Render{"a"}).save().front();
        inside.say("id " + id.str());
        std::this_thread::sleep_for(1h);
    });
    REQUIRE(child.await("runs"));
    child.freeze();
    Client client{quick(story.file, 1)};
    client.register_queue<Ping>([](const Ping&) {});  // it could not claim the task
    const TaskId id = TaskId::from_text(Look(story.file).text("SELECT id FROM backlite_tasks"));
    CHECK(client.cancel(id) == CancelResult::requested);
    child.kill();
    client.start();
    CHECK(eventually([&] { return client.status(id) == TaskStatus::cancelled; }));
    CHECK(Look(story.file).number("SELECT count(*) FROM backlite_cancels") == 0);
    client.stop(patience);
}

TEST_CASE_METHOD(Studio, "cancel: a claim without an owner that lapses ends with it") {
    start();
    gate.open();
    Look look(file);
    look.run(fmt::format(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at) VALUES "
        "('go', 1, 'render', x'7b7d', {})",
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count()));
    const TaskId id = TaskId::from_text("go");
    CHECK(client->cancel(id) == CancelResult::requested);
    look.run("UPDATE backlite_tasks SET claimed_at = 5 WHERE id = 'go'");
    CHECK(becomes(id, TaskStatus::cancelled));
    CHECK(journal.count("starts ") == 0);
}

TEST_CASE_METHOD(Studio, "cancel: a stop that gives the claim back ends the task too") {
    start();
    answer = [] { return Outcome::retry("stopping"); };
    const TaskId id = client->add(Render{"a"}).save().front();
    REQUIRE(journal.await("starts a"));
    Client other{quick(file, 1)};
    std::jthread stops([&] { client->stop(0ms); });
    CHECK(other.cancel(id) != CancelResult::not_found);
    stops.join();
    CHECK(eventually([&] { return other.status(id) == TaskStatus::cancelled; }));
    CHECK(Look(file).tasks() == 0);
}

TEST_CASE_METHOD(Studio, "cancel: inside a task, of itself and of another one") {
    client.emplace(quick(file, 1));
    client->register_queue<Ping>([&](Context& context, const Ping& ping) {
        journal.note("starts " + ping.name);
        if (ping.name != "first") return Outcome::success();
        const TaskId other = context.client().add(Ping{"other"}).wait(1h).save().front();
        journal.note(std::string{to_string(context.client().cancel(other))});
        journal.note(std::string{to_string(context.client().cancel(context.task_id()))});
        return context.stop_token().stop_requested() ||
                       eventually([&] { return context.stop_token().stop_requested(); })
                   ? Outcome::retry("stopped")
                   : Outcome::success();
    });
    client->start();
    const TaskId id = client->add(Ping{"first"}).save().front();
    CHECK(journal.await("cancelled"));
    CHECK(journal.await("requested"));
    CHECK(becomes(id, TaskStatus::not_found));
    CHECK(client->wait_idle(patience));
    CHECK(journal.count("starts first") == 1);
    CHECK(Look(file).tasks() == 0);
    client->stop(patience);
}

TEST_CASE_METHOD(Studio,
                 "cancel: on a thread that has a Transaction open it is refused, since it would wait for that") {
    start();
    SQLite::Database host(file, SQLite::OPEN_READWRITE);
    backlite::Transaction transaction{*client, host};
    const TaskId id = client->add(Render{"a"}).tx(transaction).save().front();
    CHECK_THROWS_AS(client->cancel(id), backlite::UsageError);
    transaction.rollback();
    CHECK(client->cancel(id) == CancelResult::not_found);
}

}  // namespace
