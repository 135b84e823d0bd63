// SPDX-License-Identifier: MIT
// Bounded queues: no add passes the bound, whoever adds.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace bounds_test {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Added;
using backlite::Cancelled;
using backlite::CancelResult;
using backlite::Client;
using backlite::Conflict;
using backlite::Context;
using backlite::Event;
using backlite::EventKind;
using backlite::Outcome;
using backlite::Overflow;
using backlite::QueueConfig;
using backlite::QueueFullError;
using backlite::RetainData;
using backlite::Retention;
using backlite::TaskId;
using backlite::TaskStatus;

struct Upload {
    std::string name{};
    static QueueConfig config() { return {.name = "uploads", .max_waiting = 3}; }
};
/// The newest matter most; those that were dropped are kept.
struct Reading {
    std::string name{};
    static QueueConfig config() {
        return {.name = "readings",
                .retention = Retention{.duration = 1h, .data = RetainData{}},
                .max_waiting = 3,
                .overflow = Overflow::drop_oldest};
    }
};
/// Whoever adds waits.
struct Page {
    std::string name{};
    static QueueConfig config() {
        return {.name = "pages", .max_attempts = 5, .max_waiting = 2, .overflow = Overflow::wait};
    }
};
struct Sync {
    std::string folder{};
    static QueueConfig config() { return {.name = "sync", .unique = {Conflict::keep}, .max_waiting = 2}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Upload, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Reading, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Page, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sync, folder)

/// A client of one worker, whose tasks note what they are and wait at the gate.
struct Depot : Story {
    Depot() {
        config.num_workers = 1;
        config.observers = {[this](const Event& event) { seen.add(event); }};
        client.emplace(config);
        client->register_queue<Upload>([this](const Upload& task) { return run(task.name); });
        client->register_queue<Reading>([this](const Reading& task) { return run(task.name); });
        client->register_queue<Page>([this](const Page& task) { return run(task.name); });
        client->register_queue<Sync>([this](const Sync& task) { return run(task.folder); });
    }
    ~Depot() { gate.open(); }

    Outcome run(const std::string& name) {
        journal.note(name);
        gate.pass();
        return Outcome::success();
    }

    [[nodiscard]] std::int64_t waiting(const std::string& queue) {
        return Look(file).tasks(fmt::format("queue = '{}' AND claimed_at IS NULL", queue));
    }

    Gate gate{};
    Events<Event> seen{};
    std::optional<Client> client{};
};

// ---- reject ---------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Depot, "bounds: an add above the bound is refused with queue and bound, and nothing of it is added") {
    client->add(Upload{"a"}, Upload{"b"}).save();
    try {
        client->add(Reading{"beside"}, Upload{"c"}, Upload{"d"}).save();
        FAIL("it was taken");
    } catch (const QueueFullError& error) {
        CHECK(std::string{error.what()} == "queue \"uploads\" is full: max_waiting is 3");
        CHECK(error.queue() == "uploads");
        CHECK(error.bound() == 3);
        CHECK(error.added() == Added::no);
    }
    CHECK(Look(file).tasks() == 2);
    client->add(Upload{"c"}).save();
    CHECK_THROWS_AS(client->add(Upload{"d"}).wait(1h).save(), QueueFullError);
    client->add(Reading{"of another queue"}).save();
}

TEST_CASE_METHOD(Depot, "bounds: more tasks of one call than the bound are refused at once, whatever the overflow") {
    const auto many = [](auto task) { return std::vector(4, task); };
    CHECK(message_of<QueueFullError>([&] { client->add(many(Upload{})).save(); }) ==
          "queue \"uploads\" has no room for so many tasks of one call: max_waiting is 3");
    CHECK_THROWS_AS(client->add(many(Reading{})).save(), QueueFullError);
    CHECK_THROWS_AS(client->add(many(Page{})).save(), QueueFullError);
    CHECK(Look(file).tasks() == 0);
    client->add(std::vector(3, Upload{})).save();
    CHECK(Look(file).tasks() == 3);
}

TEST_CASE_METHOD(Depot, "bounds: what runs does not count, and a task that is done makes room") {
    client->start();
    client->add(Upload{"runs"}).save();
    REQUIRE(journal.await("runs"));
    for (const char* name : {"a", "b", "c"}) client->add(Upload{name}).save();
    CHECK_THROWS_AS(client->add(Upload{"d"}).save(), QueueFullError);
    gate.open();
    REQUIRE(journal.await("c"));
    client->add(Upload{"d"}).save();
    CHECK(journal.await("d"));
}

TEST_CASE_METHOD(Depot, "bounds: rows of other programs count, and cancelled ones no more") {
    Look look(file);
    client->add(Upload{"a"}).save();
    look.run(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1, 'uploads', x'7b7d'), "
        "('y', 1, 'uploads', x'7b7d')");
    CHECK_THROWS_AS(client->add(Upload{"b"}).save(), QueueFullError);
    CHECK(client->cancel(TaskId::parse("01890a5d-ac96-774b-bcce-b302099a8057")) == CancelResult::not_found);
    look.run("DELETE FROM backlite_tasks WHERE id = 'y'");
    const TaskId id = client->add(Upload{"b"}).save().front();
    CHECK_THROWS_AS(client->add(Upload{"c"}).save(), QueueFullError);
    REQUIRE(client->cancel(id) == CancelResult::cancelled);
    client->add(Upload{"c"}).save();
}

TEST_CASE_METHOD(Depot, "bounds: a bounded task is never started before it waited, so idle workers change nothing") {
    Look(file).run(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) SELECT value, 1, 'uploads', x'7b7d', "
        "9000000000000 FROM json_each('[\"x\", \"y\", \"z\"]')");
    client->start();
    CHECK_THROWS_AS(client->add(Upload{"a"}).save(), QueueFullError);
    CHECK(waiting("uploads") == 3);
}

TEST_CASE_METHOD(Depot, "bounds: a task with a unique key needs room only if it is new") {
    const TaskId a = client->add(Sync{"a"}).save().front();
    client->add(Sync{"b"}).save();
    CHECK(client->add(Sync{"a"}).save().front() == a);
    CHECK_THROWS_AS(client->add(Sync{"c"}).save(), QueueFullError);
    CHECK(client->add(Sync{"a"}, Sync{"b"}, Sync{"a"}).save().front() == a);
    CHECK_THROWS_AS(client->add(Sync{"c"}, Sync{"d"}, Sync{"e"}).save(), QueueFullError);
    CHECK(Look(file).tasks() == 2);
}

TEST_CASE_METHOD(Depot, "bounds: in the host's transaction the bound holds, and adds that would wait are refused") {
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    database.exec("BEGIN");
    for (const char* name : {"a", "b", "c"}) client->add(Upload{name}).tx(database).save();
    CHECK_THROWS_AS(client->add(Upload{"d"}).tx(database).save(), QueueFullError);
    client->add(Page{"a"}, Page{"b"}).tx(database).save();
    CHECK_THROWS_AS(client->add(Page{"c"}).tx(database).save(), QueueFullError);
    for (const char* name : {"a", "b", "c", "d"}) client->add(Reading{name}).tx(database).save();
    CHECK(database.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 8);
    database.exec("COMMIT");
    CHECK_THROWS_AS(client->add(Upload{"d"}).save(), QueueFullError);
    backlite::Transaction transaction(*client, database);
    CHECK_THROWS_AS(client->add(Page{"c"}).tx(transaction).save(), QueueFullError);
}

// ---- drop_oldest ----------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Depot, "bounds: the oldest is dropped for a new one, ends as cancelled, and observers are told") {
    std::vector<TaskId> ids;
    for (const char* name : {"a", "b", "c", "d"}) ids.push_back(client->add(Reading{name}).save().front());
    CHECK(client->status(ids.front()) == TaskStatus::cancelled);
    CHECK(waiting("readings") == 3);
    Look look(file);
    CHECK(look.text("SELECT error FROM backlite_tasks_completed") == "dropped: the queue is full");
    CHECK(look.number("SELECT kind = 1 AND task IS NOT NULL AND succeeded = 0 FROM backlite_tasks_completed") == 1);
    client->start();
    REQUIRE(journal.await("b"));  // the worker is inside of it
    gate.open();
    REQUIRE(journal.await("d"));
    CHECK(journal.count("a") == 0);
    client.reset();
    const auto events = seen.all();
    CHECK(std::count_if(events.begin(), events.end(), [&](const Event& event) {
              return event.kind == EventKind::cancelled && event.task_id == ids.front() && event.queue == "readings";
          }) == 1);
}

// ---- wait -----------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Depot, "bounds: an add that waits is taken as soon as a task of this client has started") {
    const Uncapped uncapped;
    client->add(Page{"a"}, Page{"b"}).save();
    std::optional<TaskId> id;
    {
        std::jthread adder([&] { id = client->add(Page{"c"}).save().front(); });
        client->start();
        REQUIRE(journal.await("a"));
    }
    CHECK(id);
    CHECK(waiting("pages") == 2);
}

TEST_CASE_METHOD(Depot, "bounds: an add that waits hears of room that others make, without a started client") {
    const Uncapped uncapped;
    client->add(Page{"a"}, Page{"b"}).save();
    const bool by_process = GENERATE(false, true);
    INFO((by_process ? "by another client" : "by plain SQL"));
    std::atomic<int> added{0};
    std::vector<std::jthread> adders;
    for (const char* name : {"c", "d", "e", "f"}) {
        adders.emplace_back([&, name] {
            client->add(Page{name}).save();
            ++added;
        });
    }
    Client other{quick(file, 1)};
    Look look(file);
    for (int i = 1; i <= 4; ++i) {
        if (by_process) {
            const std::string oldest = look.text("SELECT id FROM backlite_tasks ORDER BY rowid LIMIT 1");
            CHECK(other.cancel(TaskId::parse(oldest)) == CancelResult::cancelled);
        } else {
            look.run("DELETE FROM backlite_tasks WHERE rowid = (SELECT min(rowid) FROM backlite_tasks)");
        }
        CHECK(eventually([&] { return added == i; }));
        CHECK(waiting("pages") == 2);
    }
}

TEST_CASE_METHOD(Depot, "bounds: an add that waits ends with its stop token, and nothing is added") {
    const Uncapped uncapped;
    client->add(Page{"a"}, Page{"b"}).save();
    std::atomic<int> cancelled{0};
    std::stop_source all;
    std::stop_source one;
    {
        std::vector<std::jthread> adders;
        for (int i = 0; i < 3; ++i) {
            adders.emplace_back([&, i] {
                try {
                    client->add(Page{"c"}).stop_token((i == 0 ? one : all).get_token()).save();
                } catch (const Cancelled&) {
                    ++cancelled;
                }
            });
        }
        one.request_stop();
        CHECK(eventually([&] { return cancelled == 1; }));
        all.request_stop();
    }
    CHECK(cancelled == 3);
    CHECK(waiting("pages") == 2);
    std::stop_source stopped;
    stopped.request_stop();
    CHECK(message_of<Cancelled>([&] {
              std::jthread late([&] { stopped.request_stop(); });
              client->add(Page{"c"}).stop_token(stopped.get_token()).save();
          }) == "cancelled by the caller's stop token before the write began");
}

TEST_CASE_METHOD(Depot, "bounds: a task that waits for room in its own queue does not hold up a stop") {
    const Uncapped uncapped;
    Client own{quick(file, 1)};
    own.register_queue<Page>([&](Context& context, const Page& page) {
        journal.note(page.name);
        try {
            context.client().add(Page{"b"}, Page{"c"}).save();
            context.client().add(Page{"d"}).save();
        } catch (const Cancelled& error) {
            journal.note(error.what());
            throw;
        }
    });
    own.start();
    own.add(Page{"a"}).save();
    REQUIRE(journal.await("a"));
    REQUIRE(eventually([&] { return waiting("pages") == 2; }));
    CHECK(own.stop(1h));
    CHECK(journal.count("queue \"pages\" is full, and this client does not run") == 1);
    CHECK(waiting("pages") == 3);  // it was given back, and displaces nobody
}

TEST_CASE_METHOD(Depot, "bounds: an add that waits hears that the tables are gone") {
    const Uncapped uncapped;
    client->add(Page{"a"}, Page{"b"}).save();
    std::atomic<bool> failed{false};
    {
        std::jthread adder([&] {
            try {
                client->add(Page{"c"}).save();
            } catch (const backlite::StorageError&) {
                failed = true;
            }
        });
        Look(file).run("DROP TABLE backlite_tasks");
    }
    CHECK(failed);
}

// ---- races ----------------------------------------------------------------------------------------------------------

TEST_CASE("bounds: however many threads and processes add and run, no add passes the bound") {
    constexpr int calls = 150;  // of each of eight threads
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    const auto work = [&] {
        Client client(quick(file, 2));
        std::atomic<int> ran{0};
        const auto process = [&](const auto&) { ++ran; };
        client.register_queue<Page>(process);
        client.register_queue<Upload>(process);
        client.register_queue<Reading>(process);
        client.start();
        std::atomic<int> refused{0};
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < 4; ++thread) {
            threads.emplace_back([&] {
                for (int i = 0; i < calls; ++i) {
                    client.add(Page{"a"}).save();
                    client.add(Reading{"a"}).save();
                    try {
                        client.add(Upload{"a"}, Upload{"b"}).save();
                    } catch (const QueueFullError&) {
                        ++refused;
                    }
                }
            });
        }
        threads.clear();
        while (!client.wait_idle(1min)) {
        }
        return true;
    };
    Process other([&](const Process::Inside& inside) { inside.say(work() ? "done" : "lost"); });
    Process watcher([&](const Process::Inside& inside) {  // no client of its own: SQLite alone
        inside.wait();
        Look look(file);
        for (int i = 0; i < 3'000; ++i) {
            for (const auto& [queue, bound] : {std::pair{"pages", 2}, {"uploads", 3}, {"readings", 3}}) {
                const auto waiting = look.tasks(fmt::format("queue = '{}' AND claimed_at IS NULL", queue));
                if (waiting > bound) inside.say(fmt::format("{} of {}", waiting, queue));
            }
        }
        inside.say("watched");
    });
    REQUIRE(eventually([&] { return std::filesystem::exists(file + "-backlite"); }));
    watcher.next();
    CHECK(work());
    CHECK(other.await("done"));
    CHECK(watcher.await("watched"));
    CHECK(watcher.lines() == std::vector<std::string>{"watched"});
    Look look(file);
    CHECK(look.tasks() == 0);
    CHECK(look.number("SELECT sum(waiting) FROM backlite_queues") == 0);
    CHECK(
        look.number("SELECT sum(added) = sum(started) + (SELECT count(*) FROM backlite_tasks_completed WHERE kind = 1) "
                    "FROM backlite_stats WHERE span = 1") == 1);
}

}  // namespace bounds_test
