// SPDX-License-Identifier: MIT
// What observers are told of a client, when, and that they hold nobody up.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::Context;
using backlite::Event;
using backlite::EventKind;
using backlite::Outcome;
using backlite::QueueConfig;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::testing::ManualClock;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::Gate;
using backlite_test::Look;
using backlite_test::message_of;
using backlite_test::OpensAtEnd;
using backlite_test::Process;
using backlite_test::quick;
using backlite_test::Story;
using backlite_test::WriteLock;
using Kinds = std::vector<EventKind>;

struct Work {
    std::string name{};
    static QueueConfig config() {
        return {.name = "work", .max_attempts = 2, .retention = backlite::Retention{.duration = std::chrono::hours{1}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name)

/// A story with an observer that keeps what it is told.
struct Watched : Story {
    Watched() {
        config.num_workers = 1;
        config.observers = {[this](const Event& event) { seen.add(event); }};
    }

    [[nodiscard]] bool await(EventKind kind, std::size_t times = 1) const {
        return seen.wait_until([&](const std::vector<Event>& events) { return count(events, kind) >= times; });
    }
    [[nodiscard]] std::size_t count(EventKind kind) const { return count(seen.all(), kind); }
    [[nodiscard]] static std::size_t count(const std::vector<Event>& events, EventKind kind) {
        return static_cast<std::size_t>(
            std::count_if(events.begin(), events.end(), [kind](const Event& event) { return event.kind == kind; }));
    }
    /// What was told of a task.
    [[nodiscard]] Kinds kinds_of(const TaskId& id) const {
        Kinds kinds;
        for (const Event& event : seen.all()) {
            if (event.task_id == id) kinds.push_back(event.kind);
        }
        return kinds;
    }
    [[nodiscard]] Event first(EventKind kind) const {
        for (Event& event : seen.all()) {
            if (event.kind == kind) return event;
        }
        return {};
    }

    Events<Event> seen{};
};

TaskId add(const Client& client, const std::string& name) { return client.add(Work{name}).save().front(); }

// ---- each kind ------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Watched, "Observers: a task that succeeds is added, started and processed") {
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    Client client(config);
    client.register_queue<Work>([&](const Work&) { clock->advance(1500ms); });
    const auto added_at = clock->now();
    const TaskId id = add(client, "a");
    clock->advance(4s);
    client.start();
    REQUIRE(await(EventKind::succeeded));
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started, EventKind::succeeded});
    const Event added = first(EventKind::added);
    CHECK(added.queue == "work");
    CHECK(added.time == added_at);
    CHECK(added.due == backlite::detail::from_ms(backlite::detail::to_ms(added_at)));
    const Event started = first(EventKind::started);
    CHECK(started.queue == "work");
    CHECK(started.attempt == 1);
    CHECK(started.wait == 4s);
    CHECK(started.time == added_at + 4s);
    const Event succeeded = first(EventKind::succeeded);
    CHECK(succeeded.queue == "work");
    CHECK(succeeded.attempt == 1);
    CHECK(succeeded.wait == 4s);
    CHECK(succeeded.duration == 1500ms);
    CHECK(succeeded.time == added_at + 5500ms);
    CHECK(succeeded.error.empty());
}

TEST_CASE_METHOD(Watched, "Observers: a failed attempt is told as retried, and the last one as failed") {
    Client client(config);
    client.register_queue<Work>([&](const Work&) { throw std::runtime_error("no"); });
    client.start();
    const TaskId id = add(client, "a");
    REQUIRE(await(EventKind::failed));
    CHECK(kinds_of(id) ==
          Kinds{EventKind::added, EventKind::started, EventKind::retried, EventKind::started, EventKind::failed});
    CHECK(first(EventKind::retried).attempt == 1);
    CHECK(first(EventKind::retried).error == "no");
    CHECK(first(EventKind::failed).attempt == 2);
    CHECK(first(EventKind::failed).error == "no");
}

TEST_CASE_METHOD(Watched, "Observers: a snooze and a retry say when the task is due") {
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    Client client(config);
    client.register_queue<Work>([](const Work& work) {
        return work.name == "snooze" ? Outcome::snooze(30s) : Outcome::retry_in(20s, "later");
    });
    client.start();
    const auto now = backlite::detail::from_ms(backlite::detail::to_ms(clock->now()));
    add(client, "snooze");
    REQUIRE(await(EventKind::snoozed));
    CHECK(first(EventKind::snoozed).due == now + 30s);
    CHECK(first(EventKind::snoozed).attempt == 1);
    add(client, "retry");
    REQUIRE(await(EventKind::retried));
    CHECK(first(EventKind::retried).due == now + 20s);
    client.add(Work{"later"}).wait(90s).save();
    REQUIRE(await(EventKind::added, 3));
    CHECK(seen.all().back().due == now + 90s);
}

TEST_CASE_METHOD(Watched, "Observers: a task that the library gives up on has failed without an attempt") {
    Client client(config);
    client.register_queue<Work>([](const Work&) {});
    const TaskId id = add(client, "a");
    Look(file).run("UPDATE backlite_tasks SET crashes = 3");
    client.start();
    REQUIRE(await(EventKind::failed));
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::failed});
    CHECK(first(EventKind::failed).error.find("died 3 times") != std::string::npos);
}

TEST_CASE_METHOD(Watched, "Observers: what a stop gives back is told, whether it had begun or not") {
    std::optional<Client> client(config);
    client->register_queue<Work>([&](Context& context, const Work& work) {
        if (work.name == "quick") return;
        journal.note("inside");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        throw std::runtime_error("interrupted");
    });
    client->start();
    client->add(std::vector<Work>(200, {"quick"})).save();  // so quick that such tasks are claimed ahead
    REQUIRE(await(EventKind::succeeded, 200));
    std::vector<Work> more(50, {"waits"});
    more.front().name = "runs";
    const std::vector<TaskId> ids = client->add(more).at(backlite::TimePoint{}).save();
    REQUIRE(journal.await("inside"));
    const std::int64_t claimed = Look(file).tasks("claimed_at IS NOT NULL");
    REQUIRE(claimed > 1);
    client->stop(0ms);
    client.reset();
    CHECK(kinds_of(ids[0]) == Kinds{EventKind::added, EventKind::started, EventKind::released});
    CHECK(kinds_of(ids[1]) == Kinds{EventKind::added, EventKind::released});
    CHECK(count(EventKind::released) == static_cast<std::size_t>(claimed));
    for (const Event& event : seen.all()) {
        if (event.kind == EventKind::released) CHECK(event.attempt == (event.task_id == ids[0] ? 1 : 0));
    }
}

TEST_CASE_METHOD(Watched, "Observers: a task that is cancelled is told as that alone, whether it waits or runs") {
    std::optional<Client> client(config);
    client->register_queue<Work>([&](Context& context, const Work&) {
        journal.note("inside");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        throw std::runtime_error("interrupted");
    });
    client->start();
    const TaskId runs = add(*client, "runs");
    const TaskId waits = client->add(Work{"waits"}).wait(1h).save().front();
    REQUIRE(journal.await("inside"));
    CHECK(client->cancel(waits) == backlite::CancelResult::cancelled);
    CHECK(client->cancel(waits) != backlite::CancelResult::cancelled);
    CHECK(client->cancel(runs) == backlite::CancelResult::requested);
    REQUIRE(await(EventKind::cancelled, 2));
    client.reset();
    CHECK(kinds_of(waits) == Kinds{EventKind::added, EventKind::cancelled});
    CHECK(kinds_of(runs) == Kinds{EventKind::added, EventKind::started, EventKind::cancelled});
    for (const Event& event : seen.all()) {
        if (event.kind == EventKind::cancelled) CHECK(event.attempt == (event.task_id == runs ? 1 : 0));
        if (event.kind == EventKind::cancelled) CHECK(event.queue == "work");
    }
}

TEST_CASE_METHOD(Watched, "Observers: a claim that was taken is told once, at the lease or with the outcome") {
    const bool at_lease = GENERATE(true, false);
    Gate gate;
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    config.num_workers = 2;
    config.release_after = 30s;
    std::optional<Client> client(config);
    const OpensAtEnd opens(gate);
    client->register_queue<Work>([&](const Work& work) {
        if (work.name == "ping") return;
        journal.note("inside");
        gate.pass();
    });
    client->start();
    const TaskId id = add(*client, "a");
    REQUIRE(journal.await("inside"));
    Look(file).run("UPDATE backlite_tasks SET claim = claim + 1");
    if (at_lease) {
        clock->advance(11s);
        client->add(Work{"ping"}).at(backlite::TimePoint{}).save();
        REQUIRE(await(EventKind::claim_lost));
    }
    gate.open();
    CHECK(client->stop(1h));
    client.reset();
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started, EventKind::claim_lost});
    CHECK(first(EventKind::claim_lost).queue == "work");
    CHECK(first(EventKind::claim_lost).attempt == 1);
    CHECK(log->count({"outcome dropped"}) == 1);
}

TEST_CASE_METHOD(Watched, "Observers: what a dead client held is told, and which of its tasks it died in") {
    Process worker([&](const Process::Inside& parent) {
        parent.wait();
        Client client(quick(file, 1));
        client.register_queue<Work>([&](const Work&) {
            parent.say("inside");
            ::pause();
        });
        client.start();
        for (;;) ::pause();
    });
    TaskId id;
    {
        const Client client(quick(file));
        id = add(client, "dies");
    }
    worker.next();
    REQUIRE(worker.await("inside"));
    worker.kill();
    Client client(config);
    client.start();
    REQUIRE(await(EventKind::client_started));
    REQUIRE(await(EventKind::crashed));
    CHECK(first(EventKind::crashed).task_id == id);
    CHECK(first(EventKind::crashed).queue == "work");
    CHECK(count(EventKind::crashed) == 1);
    CHECK(count(EventKind::rescued) == 1);
    CHECK(first(EventKind::rescued).count == 1);
}

TEST_CASE_METHOD(Watched, "Observers: claims of an unknown owner that lapse are told") {
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    Client client(config);
    client.register_queue<Work>([](const Work&) {});
    add(client, "a");
    Look(file).run("UPDATE backlite_tasks SET claimed_at = 1, owner = NULL");
    client.start();
    REQUIRE(await(EventKind::rescued));
    CHECK(first(EventKind::rescued).count == 1);
    CHECK(await(EventKind::succeeded));
}

TEST_CASE_METHOD(Watched, "Observers: a purge is told with how many") {
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    config.cleanup_interval = 10min;
    Client client(config);
    client.register_queue<Work>([](const Work&) {});
    client.start();
    client.add(Work{"a"}, Work{"b"}).save();
    REQUIRE(await(EventKind::succeeded, 2));
    clock->advance(2h);
    const bool purged = eventually([&] {
        clock->advance(11min);
        client.notify();
        return count(EventKind::purged) > 0;
    });
    REQUIRE(purged);
    CHECK(first(EventKind::purged).count == 2);
}

TEST_CASE_METHOD(Watched, "Observers: storage that fails and works again is told, and no outcome before its commit") {
    Gate gate;
    config.busy_timeout = 50ms;
    Client client(config);
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work&) {
        journal.note("inside");
        gate.pass();
    });
    client.start();
    const TaskId id = add(client, "a");
    REQUIRE(journal.await("inside"));
    WriteLock lock(file);
    gate.open();
    REQUIRE(await(EventKind::storage_failing));
    CHECK_FALSE(first(EventKind::storage_failing).error.empty());
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started});
    lock.release();
    REQUIRE(await(EventKind::storage_recovered));
    REQUIRE(await(EventKind::succeeded));
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started, EventKind::succeeded});
    CHECK(count(EventKind::storage_failing) == 1);
}

TEST_CASE_METHOD(Watched, "Observers: an outcome that is refused is no event until it is written") {
    Client client(config);
    client.register_queue<Work>([](const Work&) {});
    Look look(file);
    look.run("CREATE TRIGGER no BEFORE INSERT ON backlite_tasks_completed BEGIN SELECT RAISE(ABORT, 'no'); END");
    client.start();
    const TaskId id = add(client, "a");
    REQUIRE(log->await({"outcome refused"}));
    client.stop(10ms);
    look.run("DROP TRIGGER no");
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started});
    REQUIRE(await(EventKind::succeeded));
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started, EventKind::succeeded});
}

TEST_CASE_METHOD(Watched, "Observers: start and stop are told, and a stop does not wait for its telling") {
    Client client(config);
    for (std::size_t round = 1; round <= 2; ++round) {
        client.start();
        CHECK(client.stop(1h));
        REQUIRE(await(EventKind::client_stopped, round));
    }
    Kinds kinds;
    for (const Event& event : seen.all()) kinds.push_back(event.kind);
    CHECK(kinds == Kinds{EventKind::client_started, EventKind::client_stopped, EventKind::client_started,
                         EventKind::client_stopped});
}

TEST_CASE_METHOD(Watched, "Observers: a client that stops itself says why") {
    Client client(config);
    client.register_queue<Work>([](const Work&) {});
    client.start();
    add(client, "a");
    REQUIRE(await(EventKind::succeeded));
    std::filesystem::rename(file, folder.file("moved.db"));
    CHECK(eventually([&] {
        try {
            add(client, "b");
            return false;
        } catch (const backlite::StorageError&) {
            return true;
        }
    }));
    REQUIRE(await(EventKind::client_failed));
    CHECK(first(EventKind::client_failed).error.find("moved") != std::string::npos);
    CHECK(await(EventKind::client_stopped));
}

TEST_CASE_METHOD(Watched, "Observers: the log tells the same by the same names") {
    Client client(config);
    client.register_queue<Work>([](const Work& work) {
        if (work.name == "snooze") return Outcome::snooze(1h);
        if (work.name == "discard") return Outcome::discard("no");
        return Outcome::success();
    });
    client.start();
    client.add(Work{"a"}, Work{"snooze"}, Work{"discard"}).save();
    for (const EventKind kind :
         {EventKind::succeeded, EventKind::snoozed, EventKind::failed, EventKind::client_started}) {
        REQUIRE(await(kind));
        CHECK(log->await({" " + std::string{to_string(kind)} + " "}));
    }
}

// ---- adds -----------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Watched, "Observers: a client that is not started tells what it adds, each task in its order") {
    Client client(config);
    const std::vector<TaskId> ids = client.add(std::vector<Work>(100)).save();
    REQUIRE(await(EventKind::added, 100));
    std::vector<TaskId> told;
    for (const Event& event : seen.all()) told.push_back(event.task_id);
    CHECK(told == ids);
}

TEST_CASE_METHOD(Watched, "Observers: an add that fails is no event") {
    config.busy_timeout = 10ms;
    Client client(config);
    {
        const WriteLock lock(file);
        CHECK_THROWS_AS(add(client, "a"), backlite::BusyError);
    }
    const TaskId id = add(client, "b");
    REQUIRE(await(EventKind::added));
    CHECK(seen.all().front().task_id == id);
}

TEST_CASE_METHOD(Watched, "Observers: what a Transaction adds is told after its commit, and never if it rolls back") {
    Client client(config);
    SQLite::Database db(file, SQLite::OPEN_READWRITE);
    TaskId before;
    {
        backlite::Transaction gone(client, db);
        before = client.add(Work{"gone"}).tx(gone).save().front();
    }
    backlite::Transaction kept(client, db);
    const TaskId first_id = client.add(Work{"a"}).tx(kept).save().front();
    const TaskId second_id = client.add(Work{"b"}).tx(kept).save().front();
    CHECK(seen.count() == 0);
    kept.commit();
    const TaskId last = add(client, "c");
    REQUIRE(await(EventKind::added, 3));
    CHECK(kinds_of(before).empty());
    CHECK(seen.all()[0].task_id == first_id);
    CHECK(seen.all()[1].task_id == second_id);
    CHECK(seen.all()[2].task_id == last);
}

TEST_CASE_METHOD(Watched, "Observers: what a Transaction adds whose commit fails is no event, unless it works later") {
    Client client(config);
    SQLite::Database db(file, SQLite::OPEN_READWRITE);
    db.exec(
        "PRAGMA foreign_keys = ON; CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)");
    const bool works_later = GENERATE(false, true);
    std::vector<TaskId> ids;
    {
        backlite::Transaction transaction(client, db);
        ids.push_back(client.add(Work{"a"}).tx(transaction).save().front());
        db.exec("INSERT INTO children VALUES (7)");
        CHECK_THROWS_AS(transaction.commit(), backlite::StorageError);
        if (works_later) {
            db.exec("DELETE FROM children");
            ids.push_back(client.add(Work{"b"}).tx(transaction).save().front());
            transaction.commit();
        }
    }
    if (!works_later) ids.clear();
    ids.push_back(add(client, "c"));
    REQUIRE(await(EventKind::added, ids.size()));
    std::vector<TaskId> told;
    for (const Event& event : seen.all()) told.push_back(event.task_id);
    CHECK(told == ids);
    CHECK(Look(file).tasks() == static_cast<std::int64_t>(ids.size()));
}

TEST_CASE_METHOD(Watched, "Observers: what tx adds to a host's own transaction is no event") {
    Client client(config);
    SQLite::Database db(file, SQLite::OPEN_READWRITE);
    {
        backlite::Transaction ended(client, db);
        ended.rollback();
        SQLite::Transaction own(db, SQLite::TransactionBehavior::IMMEDIATE);
        (void)client.add(Work{"silent"}).tx(db).save();
        own.commit();
    }
    const TaskId id = add(client, "told");
    REQUIRE(await(EventKind::added));
    CHECK(seen.all().front().task_id == id);
}

TEST_CASE_METHOD(Watched,
                 "Observers: whoever adds and runs, a task is told as added, started and processed, once each") {
    config.num_workers = 4;
    std::optional<Client> client(config);
    client->register_queue<Work>([](const Work&) {});
    client->start();
    std::mutex mutex;
    std::vector<TaskId> ids;
    {
        std::vector<std::jthread> callers;
        for (int caller = 0; caller < 4; ++caller) {
            callers.emplace_back([&, caller] {
                std::optional<SQLite::Database> db;
                if (caller == 0) db.emplace(file, SQLite::OPEN_READWRITE);
                for (int i = 0; i < 100; ++i) {
                    std::vector<TaskId> added;
                    if (db) {
                        backlite::Transaction transaction(*client, *db);
                        added = client->add(Work{"a"}, Work{"b"}).tx(transaction).save();
                        transaction.commit();
                    } else {
                        added = client->add(std::vector<Work>(static_cast<std::size_t>(caller))).save();
                    }
                    const std::lock_guard lock(mutex);
                    ids.insert(ids.end(), added.begin(), added.end());
                }
            });
        }
    }
    CHECK(await(EventKind::succeeded, ids.size()));
    client.reset();
    std::map<TaskId, Kinds> told;
    for (const Event& event : seen.all()) {
        if (!event.task_id.str().empty()) told[event.task_id].push_back(event.kind);
    }
    REQUIRE(told.size() == ids.size());
    const bool all_in_order = std::all_of(told.begin(), told.end(), [](const auto& task) {
        return task.second == Kinds{EventKind::added, EventKind::started, EventKind::succeeded};
    });
    CHECK(all_in_order);
}

// ---- what observers may do ------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Watched,
                 "Observers: one that hangs delays no add, no worker and no stop, and is told all afterwards") {
    Gate gate;
    config.observers = {[&](const Event& event) {
        gate.pass();
        seen.add(event);
    }};
    std::optional<Client> client(config);
    const OpensAtEnd opens(gate);
    client->register_queue<Work>([&](const Work& work) { journal.note(work.name); });
    client->start();
    for (int i = 0; i < 50; ++i) add(*client, "a");
    REQUIRE(journal.await("a", 50));
    CHECK(client->stop(1h));
    client->start();
    add(*client, "b");
    REQUIRE(journal.await("b"));
    CHECK(client->stop(1h));
    CHECK(seen.count() == 0);
    gate.open();
    client.reset();
    CHECK(count(EventKind::succeeded) == 51);
    CHECK(count(EventKind::client_stopped) == 2);
    CHECK(count(EventKind::dropped) == 0);
}

TEST_CASE_METHOD(Watched, "Observers: what one does not keep up with is dropped and counted, and no task is lost") {
    constexpr std::size_t most = 16'384;
    Gate gate;
    config.observers.insert(config.observers.begin(), [&](const Event& event) {
        if (event.kind == EventKind::client_started) gate.pass();
    });
    Client client(config);
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([](const Work&) {});
    client.start();
    client.add(std::vector<Work>(most + 100)).wait(1h).save();
    CHECK(client.counts().front().scheduled == static_cast<std::int64_t>(most) + 100);
    gate.open();
    REQUIRE(await(EventKind::dropped));
    CHECK(count(EventKind::added) + static_cast<std::size_t>(first(EventKind::dropped).count) == most + 100);
    CHECK(count(EventKind::added) >= most - 1);
}

TEST_CASE_METHOD(Watched, "Observers: what they throw harms nobody") {
    config.observers.insert(config.observers.begin(), [](const Event&) { throw std::runtime_error("broken"); });
    Client client(config);
    client.register_queue<Work>([](const Work&) {});
    client.start();
    const TaskId id = add(client, "a");
    REQUIRE(await(EventKind::succeeded));
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started, EventKind::succeeded});
    CHECK(log->count({"an observer throws", "error=broken"}) == 1);
}

TEST_CASE_METHOD(Watched, "Observers: one may use the client, and its stop is a request") {
    std::atomic<bool> stopped{true};
    Client* self = nullptr;
    config.observers.push_back([&](const Event& event) {
        if (event.kind == EventKind::succeeded && event.queue == "work" && journal.count("again") == 0) {
            journal.note("again");
            add(*self, "again");
        } else if (event.kind == EventKind::succeeded) {
            stopped = self->stop(1h);
            journal.note("asked");
        }
    });
    Client client(config);
    self = &client;
    client.register_queue<Work>([](const Work&) {});
    client.start();
    add(client, "a");
    REQUIRE(journal.await("asked"));
    CHECK_FALSE(stopped);
    CHECK(await(EventKind::client_stopped));
    CHECK(count(EventKind::succeeded) == 2);
}

TEST_CASE_METHOD(Watched, "Observers: one may destroy the client, started or not") {
    const bool started = GENERATE(true, false);
    std::optional<Client> client;
    Gate made;
    config.observers.push_back([&](const Event& event) {
        if (event.kind != EventKind::added) return;
        made.pass();
        client.reset();
        journal.note("gone");
    });
    client.emplace(config);
    client->register_queue<Work>([](const Work&) {});
    if (started) client->start();
    add(*client, "a");
    made.open();
    REQUIRE(journal.await("gone"));
    if (started) CHECK(await(EventKind::client_stopped));
    const std::string threads = "/proc/self/task";
    CHECK(eventually([&] {
        return std::none_of(std::filesystem::directory_iterator(threads), {}, [](const auto& thread) {
            std::ifstream comm(thread.path() / "comm");
            std::string name;
            return std::getline(comm, name) && name.substr(0, 9) == "backlite-";
        });
    }));
}

TEST_CASE_METHOD(Watched, "Observers: a client inside of a task of another has observers of its own") {
    Events<std::string> inner;
    Client client(config);
    client.register_queue<Work>([&](const Work&) {
        ClientConfig nested = quick(folder.file("inner.db"), 1);
        nested.observers = {[&](const Event& event) { inner.add(std::string{to_string(event.kind)}); }};
        const Client within(nested);
        add(within, "inner");
    });
    client.start();
    add(client, "outer");
    REQUIRE(await(EventKind::succeeded));
    CHECK(inner.all() == std::vector<std::string>{"task added"});
    CHECK(count(EventKind::added) == 1);
}

TEST_CASE_METHOD(Watched, "Observers: a forked child tells nothing, and its parent all") {
    Client client(config);
    client.register_queue<Work>([](const Work&) {});
    client.start();
    const pid_t child = ::fork();
    if (child == 0) {
        try {
            add(client, "in the child");
        } catch (const backlite::ForkError&) {
            ::_exit(0);
        }
        ::_exit(1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    const TaskId id = add(client, "a");
    REQUIRE(await(EventKind::succeeded));
    CHECK(kinds_of(id) == Kinds{EventKind::added, EventKind::started, EventKind::succeeded});
    CHECK(count(EventKind::added) == 1);
}

TEST_CASE_METHOD(Watched, "Observers: without any there is no thread for them") {
    const auto observing = [] {
        std::size_t threads = 0;
        for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
            std::ifstream comm(thread.path() / "comm");
            std::string name;
            if (std::getline(comm, name) && name == "backlite-obs") ++threads;
        }
        return threads;
    };
    Client with(config);
    CHECK(eventually([&] { return observing() == 1; }));
    config.observers.clear();
    Client without(config);
    without.register_queue<Work>([&](const Work&) { journal.note("ran"); });
    without.start();
    add(without, "a");
    REQUIRE(journal.await("ran"));
    CHECK(observing() == 1);
}

TEST_CASE_METHOD(Watched, "Observers: an empty function is refused by its place") {
    config.observers.push_back({});
    CHECK(message_of<ConfigError>([&] { const Client client(config); }) ==
          fmt::format("client on \"{}\": ClientConfig::observers[1] is empty", file));
}

}  // namespace
