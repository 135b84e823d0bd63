// SPDX-License-Identifier: MIT
// Who waits for a task, or has asked to be told of its end: in this client, another, another process.

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace waiting_test {

using namespace std::chrono_literals;

/// Kept.
struct Render {
    using Result = int;
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "render", .retention = backlite::Retention{.duration = 24h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Render, name)

/// Not kept.
struct Ping {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "ping", .max_attempts = 2}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Ping, name)

using namespace backlite_test;
using backlite::Client;
using backlite::ClientHandle;
using backlite::ConfigError;
using backlite::Context;
using backlite::FinishedTask;
using backlite::Outcome;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;

/// A client whose tasks wait for the gate, or for their stop token, and then answer as the test likes.
struct Studio : Story {
    ~Studio() { gate.open(); }

    void prepare(Client& it) {
        it.register_queue<Render>(
            [this](Context& context, const Render& render) { return work(context, render.name, Outcome::success(7)); });
        it.register_queue<Ping>(
            [this](Context& context, const Ping& ping) { return work(context, ping.name, Outcome::success()); });
    }
    Outcome work(Context& context, const std::string& name, const Outcome& good) {
        journal.note("starts " + name);
        while (name != "quick" && !context.stop_token().stop_requested() && !gate.pass(2ms)) {
        }
        return answer ? answer() : good;
    }
    void start(unsigned workers = 2) {
        config.num_workers = workers;
        client.emplace(config);
        prepare(*client);
        client->start();
    }
    template <class T>
    TaskId add(const T& task) {
        return client->add(task).save().front();
    }
    [[nodiscard]] std::future<std::optional<TaskStatus>> waits(const ClientHandle& by, const TaskId& id) const {
        return std::async(std::launch::async, [by, id] { return by.wait(id, patience); });
    }
    /// A callback that notes what it is told.
    [[nodiscard]] std::function<void(const FinishedTask&)> notes(const std::string& name) {
        return [this, name](const FinishedTask& task) {
            journal.note(name + " " + std::string{to_string(task.status)} +
                         (task.error.empty() ? "" : ": " + task.error));
        };
    }

    Gate gate{};
    std::function<Outcome()> answer{};
    std::optional<Client> client{};
};

TEST_CASE("wait: ends with the task, kept or not, and says how it has ended") {
    const Uncapped uncapped;
    Studio studio;
    studio.start();
    const TaskId kept = studio.add(Render{"kept"});
    const TaskId gone = studio.add(Ping{"gone"});
    CHECK(studio.client->wait(kept, 0ms) == std::nullopt);
    CHECK(studio.client->wait(gone, 5ms) == std::nullopt);
    auto one = studio.waits(*studio.client, kept);
    auto two = studio.waits(*studio.client, gone);
    auto same = studio.waits(*studio.client, gone);
    studio.gate.open();
    CHECK(one.get() == TaskStatus::succeeded);
    CHECK(two.get() == TaskStatus::succeeded);
    CHECK(same.get() == TaskStatus::succeeded);
    CHECK(studio.client->result<Render>(kept) == 7);
    CHECK(studio.client->wait(kept, 0ms) == TaskStatus::succeeded);
    CHECK(studio.client->status(gone) == TaskStatus::not_found);
    CHECK(studio.client->wait(gone, 0ms) == TaskStatus::succeeded);  // remembered
    CHECK(studio.client->wait(TaskId{}, 1h) == TaskStatus::not_found);
}

TEST_CASE("wait: a task that fails, is cancelled or expires has finished, one that is tried again has not") {
    const Uncapped uncapped;
    Studio studio;
    studio.start(1);
    studio.answer = [] { return Outcome::retry("no"); };
    const TaskId failed = studio.add(Ping{"quick"});
    CHECK(studio.client->wait(failed, patience) == TaskStatus::failed);
    CHECK(studio.journal.count("starts quick") == 2);
    studio.answer = nullptr;
    const TaskId runs = studio.add(Ping{"runs"});
    REQUIRE(studio.journal.await("starts runs"));
    const TaskId late = studio.client->add(Ping{"late"}).expires_after(20ms).save().front();
    CHECK(studio.client->wait(late, patience) == TaskStatus::expired);
    const TaskId cancelled = studio.client->add(Ping{"x"}).wait(1h).save().front();
    auto waits = studio.waits(*studio.client, cancelled);
    CHECK(studio.client->cancel(cancelled) == backlite::CancelResult::cancelled);
    CHECK(waits.get() == TaskStatus::cancelled);
    CHECK(studio.client->cancel(runs) == backlite::CancelResult::requested);
    studio.answer = [] { return Outcome::retry("no"); };
    CHECK(studio.client->wait(runs, patience) == TaskStatus::cancelled);
}

TEST_CASE("wait: in the moment in which a task goes nobody takes it for one that was never there") {
    Studio studio;
    studio.start();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 100; ++n) {
                const TaskId id = studio.client->add(Ping{"quick"}).save().front();
                if (studio.client->wait(id, patience) != TaskStatus::succeeded) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
}

TEST_CASE("wait: bad input is refused, and a stop ends it") {
    Studio studio;
    studio.start();
    const TaskId id = studio.add(Ping{"a"});
    CHECK_THROWS_AS(studio.client->wait(id, -1ms), ConfigError);
    std::stop_source stop;
    auto waits = std::async(std::launch::async,
                            [&] { return studio.client->wait(id, (backlite::Duration::max)(), stop.get_token()); });
    REQUIRE(studio.journal.await("starts a"));
    stop.request_stop();
    CHECK(waits.get() == std::nullopt);
    studio.gate.open();
    CHECK(studio.client->wait(id, (backlite::Duration::max)()) == TaskStatus::succeeded);
}

TEST_CASE("wait: while this thread has a Transaction open on the file it is a UsageError") {
    Studio studio;
    studio.start();
    SQLite::Database db(studio.file, SQLite::OPEN_READWRITE);
    backlite::Transaction tx{*studio.client, db};
    const TaskId id = studio.client->add(Ping{"quick"}).tx(tx).save().front();
    CHECK_THAT(message_of<UsageError>([&] { (void)studio.client->wait(id, 0ms); }),
               Catch::ContainsSubstring("Client::wait") && Catch::ContainsSubstring("Transaction open"));
    const Client other{quick(studio.file)};
    CHECK_THROWS_AS(other.wait(id, 0ms), UsageError);
    tx.commit();
    CHECK(studio.client->wait(id, patience) == TaskStatus::succeeded);
}

TEST_CASE("wait: a client sees what another one on the file has ended, started or not") {
    const Uncapped uncapped;
    Studio studio;
    studio.start();
    const bool started = GENERATE(true, false);
    Client other{quick(studio.file)};
    if (started) other.start();
    const TaskId kept = studio.add(Render{"kept"});
    const TaskId gone = studio.add(Ping{"gone"});
    auto one = studio.waits(other, kept);
    auto two = studio.waits(other, gone);
    CHECK(other.wait(kept, 2ms) == std::nullopt);
    studio.gate.open();
    CHECK(one.get() == TaskStatus::succeeded);
    CHECK(two.get() == TaskStatus::not_found);  // it was not kept
    CHECK(other.result<Render>(kept) == 7);
}

TEST_CASE("wait: a task may wait for another, and gives its client's handle away") {
    Studio studio;
    studio.client.emplace(studio.config);
    studio.prepare(*studio.client);
    struct Boss {
        static backlite::QueueConfig config() { return {.name = "boss", .retention = backlite::Retention{}}; }
    };
    studio.client->register_queue<Boss>([&](Context& context, const Boss&) {
        const TaskId id = context.client().add(Render{"quick"}).save().front();
        const auto status = context.client().wait(id, patience, context.stop_token());
        return Outcome::discard(status ? std::string{to_string(*status)} : "in vain");
    });
    studio.client->start();
    const TaskId boss = studio.add(Boss{});
    CHECK(studio.client->wait(boss, patience) == TaskStatus::failed);
    Look look(studio.file);
    CHECK(look.text("SELECT error FROM backlite_tasks_completed WHERE queue = 'boss'") == "succeeded");
}

TEST_CASE("wait: goes on over a stop and a start, and ends with the client") {
    const Uncapped uncapped;
    Studio studio;
    studio.start();
    const TaskId id = studio.client->add(Render{"later"}).wait(1h).save().front();
    const ClientHandle handle = *studio.client;
    auto waits = studio.waits(handle, id);
    CHECK(studio.client->stop(patience));
    CHECK(handle.wait(id, 5ms) == std::nullopt);
    studio.client->start();
    auto also = studio.waits(handle, id);
    CHECK(handle.cancel(id) == backlite::CancelResult::cancelled);
    CHECK(waits.get() == TaskStatus::cancelled);
    CHECK(also.get() == TaskStatus::cancelled);
    const TaskId never = studio.client->add(Render{"later"}).wait(1h).save().front();
    auto in_vain = studio.waits(handle, never);
    studio.client.reset();
    CHECK_THROWS_AS(in_vain.get(), UsageError);
    CHECK_THROWS_AS(handle.wait(never, 0ms), UsageError);
}

TEST_CASE("wait: a TestClient answers at once what its drains have made of a task") {
    backlite::testing::TestClient client;
    client.register_queue<Render>([](const Render&) { return 3; });
    const TaskId id = client.add(Render{"a"}).save().front();
    CHECK(client.client().wait(id, 0ms) == std::nullopt);
    client.drain();
    CHECK(client.client().wait(id, 0ms) == TaskStatus::succeeded);
    CHECK_THROWS_AS(client.client().on_finished(id, [](const FinishedTask&) {}), UsageError);
}

TEST_CASE("on_finished: is called once when a task has finished, with its error, on a thread of the library") {
    const Uncapped uncapped;
    Studio studio;
    studio.start();
    studio.answer = [] { return Outcome::discard("no film"); };
    const TaskId kept = studio.add(Render{"kept"});
    const TaskId gone = studio.add(Ping{"gone"});
    studio.client->on_finished(kept, studio.notes("kept"));
    studio.client->on_finished(gone, studio.notes("gone"));
    studio.client->on_finished(gone, studio.notes("again"));
    studio.client->on_finished(gone, [&](const FinishedTask& task) {
        const bool own = !studio.client->stop(0ms);  // on an own thread it only asks for it
        studio.journal.note(own && task.id == gone ? "own thread" : "another");
    });
    studio.gate.open();
    CHECK(studio.journal.await("kept failed: no film"));
    CHECK(studio.journal.await("gone failed: no film"));
    CHECK(studio.journal.await("again failed: no film"));
    CHECK(studio.journal.await("own thread"));
    CHECK(studio.client->stop(patience));
    studio.client->start();
    studio.client->on_finished(kept, studio.notes("kept before"));
    studio.client->on_finished(gone, studio.notes("gone before"));
    studio.client->on_finished(TaskId{}, studio.notes("none"));
    CHECK(studio.journal.await("kept before failed: no film"));
    CHECK(studio.journal.await("gone before failed"));
    CHECK(studio.journal.await("none not_found"));
    studio.client.reset();
    CHECK(studio.journal.count("kept failed: no film") == 1);
    CHECK(studio.journal.count("gone failed: no film") == 1);
}

TEST_CASE("on_finished: a client that is not started, and an empty callback, are refused") {
    Studio studio;
    Client client{studio.config};
    const TaskId id = client.add(Ping{"a"}).save().front();
    CHECK_THROWS_AS(client.on_finished(id, studio.notes("a")), UsageError);
    client.start();
    CHECK_THROWS_AS(client.on_finished(id, {}), ConfigError);
    CHECK(client.stop(patience));
    CHECK_THROWS_AS(client.on_finished(id, studio.notes("a")), UsageError);
}

TEST_CASE("on_finished: what another client has ended is told when its commit is seen") {
    const Uncapped uncapped;
    Studio studio;
    studio.start();
    Client other{quick(studio.file)};
    other.start();
    const TaskId kept = studio.add(Render{"kept"});
    const TaskId gone = studio.add(Ping{"gone"});
    const TaskId later = studio.client->add(Render{"later"}).wait(1h).save().front();
    other.on_finished(kept, studio.notes("kept"));
    other.on_finished(gone, studio.notes("gone"));
    other.on_finished(later, studio.notes("later"));
    studio.gate.open();
    CHECK(studio.journal.await("kept succeeded"));
    CHECK(studio.journal.await("gone not_found"));
    CHECK(studio.client->cancel(later) == backlite::CancelResult::cancelled);
    CHECK(studio.journal.await("later cancelled: cancelled"));
}

TEST_CASE("on_finished: a callback may use the client, wait, ask for more, and destroy the client") {
    const Uncapped uncapped;
    Studio studio;
    studio.start();
    studio.gate.open();
    auto owned = std::make_unique<Client>(quick(studio.file));
    owned->start();
    const TaskId first = studio.add(Render{"quick"});
    std::promise<void> destroyed;
    owned->on_finished(first, [&](const FinishedTask&) {
        const TaskId second = owned->add(Render{"quick"}).save().front();
        studio.journal.note("waited " + std::string{to_string(owned->wait(second, patience).value())});
        owned->on_finished(second, [&](const FinishedTask&) {
            owned.reset();
            destroyed.set_value();
        });
    });
    CHECK(studio.journal.await("waited succeeded"));
    CHECK(destroyed.get_future().wait_for(patience) == std::future_status::ready);
}

TEST_CASE(
    "on_finished: a callback that throws is logged, and those of tasks that have not finished go with the client") {
    Studio studio;
    studio.start();
    studio.gate.open();
    const TaskId id = studio.add(Render{"quick"});
    const TaskId never = studio.client->add(Render{"later"}).wait(1h).save().front();
    studio.client->on_finished(id, [](const FinishedTask&) { throw std::runtime_error("sour"); });
    studio.client->on_finished(never, studio.notes("never"));
    studio.client->on_finished(id, studio.notes("next"));
    CHECK(studio.journal.await("next succeeded"));
    CHECK(studio.log->await({"error a callback of on_finished throws", "error=sour", id.str()}));
    studio.client.reset();
    CHECK(studio.journal.count("never cancelled") + studio.journal.count("never not_found") == 0);
}

TEST_CASE("wait: a task that a killed process held is seen to end wherever it ends") {
    Studio studio;
    Process worker([&](const Process::Inside& inside) {
        Client client{studio.config};
        client.register_queue<Render>([&](const Render&) {
            inside.say("inside");
            for (;;) std::this_thread::sleep_for(1h);
        });
        client.start();
        inside.wait();
    });
    Process waiter([&](const Process::Inside& inside) {
        Client client{studio.config};
        client.start();
        inside.say("ready");
        inside.wait();
        const TaskId id = TaskId::from_text("the-one");
        client.on_finished(
            id, [&](const FinishedTask& task) { inside.say("told " + std::string{to_string(task.status)}); });
        const auto status = client.wait(id, patience);
        inside.say("waited " + std::string{status ? to_string(*status) : "in vain"});
        inside.wait();
    });
    REQUIRE(waiter.await("ready"));
    Look look(studio.file);
    look.run("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('the-one', 0, 'render', x'7b7d')");
    REQUIRE(worker.await("inside"));
    waiter.next();
    worker.kill();
    Client next{studio.config};
    next.register_queue<Render>([](const Render&) { return 8; });
    next.start();
    CHECK(waiter.await("waited succeeded"));
    CHECK(waiter.await("told succeeded"));
    CHECK(next.result<Render>(TaskId::from_text("the-one")) == 8);
}

}  // namespace waiting_test
