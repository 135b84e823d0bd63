// SPDX-License-Identifier: MIT
// Flows in started clients: cancels, kills, timeouts, changes in the host's tables, and several clients on a file.

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace flows_test {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::CancelResult;
using backlite::Client;
using backlite::Flow;
using backlite::SignalResult;
using backlite::StopReason;
using backlite::TaskId;
using backlite::TaskStatus;

struct Trip {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "trip", .max_attempts = 2, .backoff = 1ms, .retention = backlite::Retention{.duration = 1h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Trip, name)

[[nodiscard]] bool await_status(const Client& client, const TaskId& id, TaskStatus status) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (client.status(id) != status) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

struct Agency : Story {
    ~Agency() { gate.open(); }
    Gate gate{};
};

TEST_CASE_METHOD(Agency, "flow: a signal ends a wait without anybody looking, and one wait holds no worker") {
    const Uncapped uncapped;
    Client client(quick(file, 1));
    client.register_flow<Trip>([&](Flow& flow, const Trip& trip) {
        flow.step("begin", [&] { journal.note("begin " + trip.name); });
        const auto answer = flow.wait<std::string>("answer", 1h);
        journal.note(trip.name + " " + answer.value_or("nothing"));
    });
    client.start();
    const std::vector<TaskId> ids = client.add(Trip{"a"}, Trip{"b"}).save();
    REQUIRE(journal.await("begin a"));
    REQUIRE(journal.await("begin b"));
    CHECK(client.signal(ids[1], "answer", std::string{"yes"}) == SignalResult::sent);
    CHECK(journal.await("b yes"));
    Client other(quick(file));  // not started
    CHECK(other.signal(ids[0], "answer", std::string{"no"}) == SignalResult::sent);
    CHECK(journal.await("a no"));
    CHECK(await_status(client, ids[0], TaskStatus::succeeded));
    CHECK(Look(file).number("SELECT count(*) FROM backlite_saved") == 0);
}

TEST_CASE_METHOD(Agency, "flow: a signal that comes while the flow is about to wait is not lost") {
    const Uncapped uncapped;
    Client client(quick(file, 2));
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        for (int i = 0; i < 300; ++i) {
            if (!flow.wait<int>("ball", 1h)) throw std::runtime_error("lost");
        }
    });
    client.start();
    const TaskId id = client.add(Trip{"ping"}).save().front();
    for (int i = 0; i < 300; ++i) CHECK(client.signal(id, "ball", i) == SignalResult::sent);
    CHECK(await_status(client, id, TaskStatus::succeeded));
}

TEST_CASE_METHOD(Agency,
                 "flow: a signal that comes after the flow has looked, and before its wait is written, wakes it") {
    const Uncapped uncapped;
    Client signaller(quick(file));  // not started
    struct AtTheEnd {
        std::function<void()> act;
        ~AtTheEnd() { act(); }
    };
    std::atomic<int> attempts{0};
    config = quick(file, 1);
    config.around = {[&](backlite::Context& context, const backlite::Next& next) {
        const AtTheEnd signal{[&] {
            if (++attempts == 1) (void)signaller.signal(context.task_id(), "ball", 1);
        }};
        return next();
    }};
    Client client(config);
    client.register_flow<Trip>(
        [&](Flow& flow, const Trip&) { journal.note(flow.wait<int>("ball", 1h) ? "caught" : "lost"); });
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    CHECK(await_status(client, id, TaskStatus::succeeded));
    CHECK(journal.entries() == std::vector<std::string>{"caught"});
    CHECK(attempts == 2);
}

TEST_CASE_METHOD(Agency, "flow: a cancel stops the step that runs, the undos run, and then it has ended as cancelled") {
    const Uncapped uncapped;
    Client client(quick(file, 1));
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        flow.step("book", [&] { journal.note("book"); });
        flow.undo("give back", [&] { journal.note("give back"); });
        flow.step("travel", [&] {
            journal.note("travel");
            const std::stop_token token = flow.context().stop_token();
            while (!token.stop_requested()) std::this_thread::sleep_for(1ms);
            throw std::runtime_error("stopped");
        });
        journal.note("wrong");
    });
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    REQUIRE(journal.await("travel"));
    CHECK(client.cancel(id) == CancelResult::requested);
    CHECK(await_status(client, id, TaskStatus::cancelled));
    CHECK(journal.entries() == std::vector<std::string>{"book", "travel", "give back"});
    CHECK(Look(file).number("SELECT count(*) FROM backlite_cancels") == 0);
}

TEST_CASE_METHOD(Agency, "flow: what undoes is not asked to stop by the cancel, nor by a second one") {
    const Uncapped uncapped;
    Client client(quick(file, 1));
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        const auto until_stopped = [this, &flow](const std::string& what) {
            const std::stop_token token = flow.context().stop_token();
            journal.note(token.stop_requested() ? "stopped before " + what : what);
            while (!token.stop_requested() && !gate.pass(1ms)) {
            }
            if (token.stop_requested()) throw std::runtime_error("stopped");
        };
        flow.undo("give back", {.max_attempts = 1}, [until_stopped] { until_stopped("give back"); });
        flow.step("travel", [&] { until_stopped("travel"); });
    });
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    REQUIRE(journal.await("travel"));
    CHECK(client.cancel(id) == CancelResult::requested);
    REQUIRE(journal.await("give back"));
    CHECK(client.cancel(id) == CancelResult::requested);
    REQUIRE(journal.await("give back", 2));
    gate.open();
    CHECK(await_status(client, id, TaskStatus::cancelled));
    CHECK(journal.entries() == std::vector<std::string>{"travel", "give back", "give back"});
    CHECK(Look(file).text("SELECT error FROM backlite_tasks_completed") == "cancelled");
}

TEST_CASE_METHOD(Agency, "flow: a cancel whose client dies still undoes, in the one that takes the flow over") {
    const Uncapped uncapped;
    TaskId id;
    Process process([&](const Process::Inside& inside) {
        Client client(quick(file, 1));
        client.register_flow<Trip>([&](Flow& flow, const Trip&) {
            flow.step("book", [] {});
            flow.undo("give back", [] {});
            flow.step("travel", [&] {
                inside.say("travels");
                std::this_thread::sleep_for(1h);
            });
        });
        client.start();
        inside.say("id " + client.add(Trip{}).save().front().str());
        std::this_thread::sleep_for(1h);
    });
    REQUIRE(process.await("travels"));
    Look look(file);
    id = TaskId::parse(look.text("SELECT id FROM backlite_tasks"));
    {
        Client client(quick(file));
        CHECK(client.cancel(id) == CancelResult::requested);
    }
    process.kill();
    Client client(quick(file, 1));
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        flow.step("book", [&] { journal.note("book again"); });
        flow.undo("give back", [&] { journal.note("give back"); });
        flow.step("travel", [&] { journal.note("travel again"); });
    });
    client.start();
    CHECK(await_status(client, id, TaskStatus::cancelled));
    CHECK(journal.entries() == std::vector<std::string>{"give back"});
}

TEST_CASE_METHOD(Agency, "flow: what tx does is committed with the step, or not at all") {
    const Uncapped uncapped;
    Client client(quick(file, 1));
    Look look(file);
    look.run("CREATE TABLE stock (item text PRIMARY KEY, count integer)");
    look.run("INSERT INTO stock VALUES ('seat', 10)");
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 5000);
    std::atomic<int> calls{0};
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        const int left = flow.tx("take", db, [&](SQLite::Database& inside) {
            inside.exec("UPDATE stock SET count = count - 1");
            if (++calls == 1) throw std::runtime_error("rolled back");
            return inside.execAndGet("SELECT count FROM stock").getInt();
        });
        journal.note("left " + std::to_string(left));
        if (flow.context().attempt() == 1) throw std::runtime_error("once more");
    });
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    CHECK(await_status(client, id, TaskStatus::succeeded));
    CHECK(calls == 2);
    CHECK(journal.entries() == std::vector<std::string>{"left 9", "left 9"});
    CHECK(look.number("SELECT count FROM stock") == 9);
}

TEST_CASE_METHOD(Agency, "flow: a step's timeout is its own, and spends an attempt of the step alone") {
    const Uncapped uncapped;
    Client client(quick(file, 1));
    std::atomic<int> calls{0};
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        flow.step("slow", {.max_attempts = 2, .backoff = 1ms, .timeout = 20ms}, [&] {
            if (++calls == 2) return;
            const std::stop_token token = flow.context().stop_token();
            while (!token.stop_requested()) std::this_thread::sleep_for(1ms);
            journal.note(std::string{to_string(flow.context().stop_reason())});
            throw std::runtime_error("too slow");
        });
        flow.step("long", [&] { std::this_thread::sleep_for(60ms); });
        journal.note("attempt " + std::to_string(flow.context().attempt()) + " " +
                     std::string{to_string(flow.context().stop_reason())});
    });
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    CHECK(await_status(client, id, TaskStatus::succeeded));
    CHECK(journal.entries() == std::vector<std::string>{"timeout", "attempt 1 none"});
}

TEST_CASE_METHOD(Agency, "flow: a stop gives a flow back, which goes on where it was") {
    const Uncapped uncapped;
    std::atomic<int> second{0};
    const auto flow_of = [&](Flow& flow, const Trip&) {
        flow.step("first", [&] { journal.note("first"); });
        flow.step("second", [&] {
            if (++second > 1) return;
            journal.note("second");
            const std::stop_token token = flow.context().stop_token();
            while (!token.stop_requested()) std::this_thread::sleep_for(1ms);
            throw std::runtime_error("stopped");
        });
    };
    Client client(quick(file, 1));
    client.register_flow<Trip>(flow_of);
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    REQUIRE(journal.await("second"));
    CHECK_FALSE(client.stop(1ms));
    CHECK(client.status(id) == TaskStatus::pending);
    client.start();
    CHECK(await_status(client, id, TaskStatus::succeeded));
    CHECK(journal.count("first") == 1);
}

TEST_CASE_METHOD(Agency, "flow: steps that are not reached any more are told once, at the end") {
    config.num_workers = 1;
    Client client(config);
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        if (flow.context().attempt() == 1) {
            flow.step("old", [] {});
            flow.step("old", [] {});
            throw std::runtime_error("a new version comes");
        }
        flow.step("new", [] {});
    });
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    CHECK(await_status(client, id, TaskStatus::succeeded));
    CHECK(log->await({"warning a flow has ended without reaching steps", "steps=2"}));
}

TEST_CASE_METHOD(Agency,
                 "flow: a step that another transaction keeps from being written is tried again, and spends nothing") {
    backlite::ClientConfig impatient = quick(file, 1);
    impatient.busy_timeout = 20ms;
    impatient.logger = log;
    Client client(impatient);
    std::optional<WriteLock> lock;
    std::atomic<int> calls{0};
    client.register_flow<Trip>([&](Flow& flow, const Trip&) {
        flow.step("a", {.max_attempts = 1}, [&] {
            if (++calls == 1) lock.emplace(file);
        });
        journal.note("attempt " + std::to_string(flow.context().attempt()));
    });
    client.start();
    const TaskId id = client.add(Trip{}).save().front();
    REQUIRE(log->await({"a flow's step could not be kept"}));
    lock->release();
    CHECK(await_status(client, id, TaskStatus::succeeded));
    CHECK(calls == 2);
    CHECK(journal.entries() == std::vector<std::string>{"attempt 1"});
}

}  // namespace flows_test
