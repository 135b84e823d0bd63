// SPDX-License-Identifier: MIT
// Unique tasks: of two unfinished ones with one key only one exists.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
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

namespace unique_test {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::AddedAs;
using backlite::AddResult;
using backlite::CancelResult;
using backlite::Client;
using backlite::Conflict;
using backlite::DuplicateError;
using backlite::Event;
using backlite::EventKind;
using backlite::Outcome;
using backlite::QueueConfig;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;
using Results = std::vector<AddResult>;

/// The key is the whole payload.
struct Fetch {
    std::string url{};
    static QueueConfig config() { return {.name = "fetch", .max_attempts = 3, .unique = {Conflict::keep}}; }
};
/// The key is one field.
struct Sync {
    std::string folder{};
    int revision = 0;
    [[nodiscard]] std::string unique_key() const { return folder; }
    static QueueConfig config() { return {.name = "sync", .unique = {Conflict::replace}}; }
};
/// A type that says nothing of itself.
struct Order {
    std::string number{};
};
/// A queue without keys.
struct Plain {
    std::string text{};
    static QueueConfig config() { return {.name = "plain"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Fetch, url)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sync, folder, revision)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Plain, text)

}  // namespace unique_test

template <>
struct backlite::TaskTraits<unique_test::Order> {
    static QueueConfig config() { return {.name = "orders", .unique = {Conflict::reject}}; }
    static std::string unique_key(const unique_test::Order& order) { return order.number; }
};

namespace unique_test {

/// A client whose tasks note what they are, wait at the gate, and end as they are told.
struct Office : Story {
    Office() {
        config.observers = {[this](const Event& event) { seen.add(event); }};
        client.emplace(config);
        client->register_queue<Fetch>([this](const Fetch& fetch) { return run(fetch.url); });
        client->register_queue<Sync>(
            [this](const Sync& sync) { return run(fmt::format("{} {}", sync.folder, sync.revision)); });
        client->register_queue<Order>([this](const Order& order) { return run(order.number); });
        client->register_queue<Plain>([this](const Plain& plain) { return run(plain.text); });
    }
    ~Office() { gate.open(); }

    Outcome run(const std::string& name) {
        journal.note(name);
        gate.pass();
        return answer ? answer() : Outcome::success();
    }

    [[nodiscard]] std::size_t added() const {
        std::size_t count = 0;
        for (const Event& event : seen.all()) count += event.kind == EventKind::added;
        return count;
    }

    Gate gate{};
    Events<Event> seen{};
    std::function<Outcome()> answer{};
    std::optional<Client> client{};
};

// ---- what a key is --------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Office, "unique: a second task with the same payload is the first one, and save gives its id") {
    const TaskId id = client->add(Fetch{"a"}).save().front();
    CHECK(client->add(Fetch{"a"}).save() == std::vector{id});
    CHECK(client->add(Fetch{"a"}).save_results() == Results{{id, AddedAs::existing}});
    CHECK(client->add(Fetch{"b"}).save().front() != id);
    CHECK(Look(file).tasks() == 2);
}

TEST_CASE_METHOD(Office, "unique: a payload is a key whatever its size") {
    const std::string large(3'000'000, 'x');
    const TaskId id = client->add(Fetch{large}).save().front();
    CHECK(client->add(Fetch{large}).save_results() == Results{{id, AddedAs::existing}});
    CHECK(client->add(Fetch{large + "y"}).save_results().front().as == AddedAs::inserted);
}

TEST_CASE_METHOD(Office, "unique: the key of a type is its unique_key, its own or that of its traits") {
    const TaskId sync = client->add(Sync{"home", 1}).save().front();
    CHECK(client->add(Sync{"home", 2}).save_results() == Results{{sync, AddedAs::replaced}});
    CHECK(client->add(Sync{"work", 2}).save_results().front().as == AddedAs::inserted);
    const TaskId order = client->add(Order{"7"}).save().front();
    CHECK_THROWS_AS(client->add(Order{"7"}).save(), DuplicateError);
    CHECK(Look(file).text("SELECT unique_key FROM backlite_tasks WHERE id = '" + order.str() + "'") == "7");
    CHECK(Look(file).text("SELECT unique_key FROM backlite_tasks WHERE id = '" + sync.str() + "'") == "home");
}

TEST_CASE_METHOD(Office, "unique: a key of one add counts in place of the task's own, also in a queue without keys") {
    const TaskId id = client->add(Sync{"home", 1}).unique("k").save().front();
    CHECK(client->add(Sync{"work", 2}).unique("k").save_results() == Results{{id, AddedAs::replaced}});
    CHECK(client->add(Sync{"home", 3}).save_results().front().as == AddedAs::inserted);
    const TaskId plain = client->add(Plain{"a"}).unique("k").save().front();
    CHECK(client->add(Plain{"b"}).unique("k").save_results() == Results{{plain, AddedAs::existing}});
    CHECK(client->add(Plain{"a"}).save_results().front().as == AddedAs::inserted);
    CHECK(Look(file).text("SELECT task FROM backlite_tasks WHERE id = '" + plain.str() + "'") == R"({"text":"a"})");
}

TEST_CASE_METHOD(Office,
                 "unique: a key that cannot be used, or one for several tasks, is a UsageError, and nothing is added") {
    const auto refused = [&](std::string key) {
        return message_of<UsageError>([&] { client->add(Plain{"a"}).unique(std::move(key)).save(); });
    };
    CHECK(refused(std::string(1025, 'k')) == "queue \"plain\": a unique key has 1025 bytes, more than 1024");
    CHECK(refused("\xff") == "queue \"plain\": a unique key is not UTF-8");
    CHECK(refused(std::string("k\0", 2)) == "queue \"plain\": a unique key holds a NUL character");
    CHECK(refused("") == "queue \"plain\": a unique key is empty");
    CHECK(message_of<UsageError>([&] { client->add(Plain{"a"}, Plain{"b"}).unique("k").save(); }) ==
          "AddOp::unique: one key for 2 tasks, of which only the first could be added");
    CHECK_THROWS_AS(client->add(Plain{"a"}, Sync{}).save(), UsageError);
    CHECK_THROWS_AS(client->add(Plain{"a"}, Sync{std::string(1025, 'f')}).save_results(), UsageError);
    CHECK(Look(file).tasks() == 0);
    CHECK(client->add(Plain{"a"}).unique(std::string(1024, 'k')).save().size() == 1);
    CHECK(client->add(std::vector<Plain>{}).unique("k").save().empty());
}

// ---- what becomes of the second one ---------------------------------------------------------------------------------

TEST_CASE_METHOD(Office, "unique: each task of one save has its own result") {
    const TaskId a = client->add(Fetch{"a"}).save().front();
    const Results results = client->add(Fetch{"b"}, Fetch{"a"}, Fetch{"b"}, Plain{"p"}).save_results();
    REQUIRE(results.size() == 4);
    CHECK(results[0].as == AddedAs::inserted);
    CHECK(results[1] == AddResult{a, AddedAs::existing});
    CHECK(results[2] == AddResult{results[0].id, AddedAs::existing});
    CHECK(results[3].as == AddedAs::inserted);
    CHECK(client->status(results[0].id) == TaskStatus::pending);
    CHECK(client->status(results[3].id) == TaskStatus::pending);
    CHECK(Look(file).tasks() == 3);
}

TEST_CASE_METHOD(Office, "unique: reject throws an error with the id of the one that is there, and adds nothing") {
    const TaskId id = client->add(Order{"7"}).save().front();
    try {
        client->add(Plain{"beside"}, Order{"8"}, Order{"7"}).save();
        FAIL("nothing was thrown");
    } catch (const DuplicateError& error) {
        CHECK(error.existing() == id);
        CHECK(error.queue() == "orders");
        CHECK(error.task_id() == id.str());
        CHECK(error.added() == backlite::Added::no);
    }
    try {
        client->add(Order{"9"}, Order{"9"}).save();
        FAIL("nothing was thrown");
    } catch (const DuplicateError& error) {
        CHECK(error.existing() == TaskId{});
    }
    CHECK(Look(file).tasks() == 1);
}

TEST_CASE_METHOD(Office, "unique: replace gives one that waits its payload and time, and the worker wakes up for it") {
    const Uncapped uncapped;
    client->start();
    client->add(Plain{"looked"}).save();
    REQUIRE(journal.await("looked"));
    const TaskId id = client->add(Sync{"home", 1}).wait(1h).save().front();
    std::this_thread::sleep_for(20ms);  // the dispatcher sleeps until then
    CHECK(client->add(Sync{"home", 2}).save_results() == Results{{id, AddedAs::replaced}});
    CHECK(journal.await("home 2"));
    CHECK(client->add(Sync{"home", 3}).save_results() == Results{{id, AddedAs::existing}});
    gate.open();
    CHECK(client->wait_idle(patience));
    CHECK(journal.entries() == std::vector<std::string>{"looked", "home 2"});
}

TEST_CASE_METHOD(Office,
                 "unique: a task that can be replaced is claimed for a free worker only, however quick its queue is") {
    config.num_workers = 1;
    client.reset();
    client.emplace(config);
    client->register_queue<Sync>([this](const Sync& sync) {
        journal.note(sync.folder);
        if (sync.folder == "held") gate.pass();
    });
    client->start();
    for (int i = 0; i < 200; ++i) client->add(Sync{"warm"}).unique(std::to_string(i)).save();  // known to be quick
    REQUIRE(journal.await("warm", 200));
    client->add(Sync{"held"}).save();
    REQUIRE(journal.await("held"));
    const TaskId id = client->add(Sync{"photos", 1}).save().front();
    std::this_thread::sleep_for(20ms);
    CHECK(client->add(Sync{"photos", 2}).save_results() == Results{{id, AddedAs::replaced}});
}

// ---- how long a key is held -----------------------------------------------------------------------------------------

TEST_CASE_METHOD(Office, "unique: a task that was added while a worker was idle holds its key while it runs") {
    client->start();
    for (int round = 0; round < 3; ++round) {
        const std::string url = std::to_string(round);
        const TaskId id = client->add(Fetch{url}).save().front();
        CHECK(client->add(Fetch{url}).save_results() == Results{{id, AddedAs::existing}});
        if (round < 2) REQUIRE(journal.await(url));
        CHECK(client->add(Fetch{url}).save_results() == Results{{id, AddedAs::existing}});
    }
}

TEST_CASE_METHOD(Office, "unique: success, failure and cancel free the key, a retry and a snooze do not") {
    gate.open();
    std::atomic<int> runs{0};
    answer = [&] {
        switch (++runs) {
            case 1: return Outcome::success();
            case 2: return Outcome::discard("no");
            case 3: return Outcome::retry_in(1h, "later");
            default: return Outcome::snooze(1h);
        }
    };
    client->start();
    TaskId last{};
    for (int round = 1; round <= 3; ++round) {
        const AddResult result = client->add(Fetch{"a"}).save_results().front();
        CAPTURE(round);
        REQUIRE(result.as == AddedAs::inserted);
        CHECK(std::exchange(last, result.id) != result.id);
        REQUIRE(client->wait_idle(patience));
    }
    CHECK(client->add(Fetch{"a"}).save_results() == Results{{last, AddedAs::existing}});
    REQUIRE(client->cancel(last) == CancelResult::cancelled);
    last = client->add(Fetch{"a"}).save().front();
    REQUIRE(journal.await("a", 4));
    REQUIRE(client->wait_idle(patience));
    CHECK(client->add(Fetch{"a"}).save_results() == Results{{last, AddedAs::existing}});
}

TEST_CASE_METHOD(Office, "unique: one that runs and is cancelled holds its key until it has ended") {
    client->start();
    const TaskId id = client->add(Fetch{"a"}).save().front();
    REQUIRE(journal.await("a"));
    REQUIRE(client->cancel(id) == CancelResult::requested);
    CHECK(client->add(Fetch{"a"}).save_results() == Results{{id, AddedAs::existing}});
    gate.open();
    REQUIRE(client->wait_idle(patience));
    CHECK(client->add(Fetch{"a"}).save_results().front().as == AddedAs::inserted);
}

// ---- what else sees it ----------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Office, "unique: observers and statistics know only what was added") {
    client->add(Fetch{"a"}, Fetch{"a"}, Fetch{"b"}).save();
    client->add(Fetch{"a"}).save();
    client->add(Sync{"home", 1}).save();
    client->add(Sync{"home", 2}).save();
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    {
        backlite::Transaction transaction(*client, database);
        client->add(Fetch{"b"}, Fetch{"c"}).tx(transaction).save();
        transaction.commit();
    }
    client.reset();
    CHECK(added() == 4);
    CHECK(Look(file).number("SELECT sum(added) FROM backlite_stats WHERE span = 1") == 4);
}

TEST_CASE_METHOD(Office, "unique: within the host's transaction a key counts, and a rollback frees it") {
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    const TaskId id = client->add(Fetch{"a"}).save().front();
    database.exec("BEGIN");
    CHECK(client->add(Fetch{"a"}).tx(database).save_results() == Results{{id, AddedAs::existing}});
    const TaskId inside = client->add(Fetch{"b"}).tx(database).save().front();
    CHECK(client->add(Fetch{"b"}).tx(database).save() == std::vector{inside});
    CHECK(client->add(Sync{"home", 1}).tx(database).save_results().front().as == AddedAs::inserted);
    CHECK(client->add(Sync{"home", 2}).tx(database).save_results().front().as == AddedAs::replaced);
    client->add(Order{"7"}).tx(database).save();
    CHECK_THROWS_AS(client->add(Plain{"beside"}, Order{"7"}).tx(database).save(), DuplicateError);
    CHECK(database.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 4);
    database.exec("ROLLBACK");
    CHECK(client->add(Fetch{"b"}).save_results().front().as == AddedAs::inserted);
    CHECK(client->add(Fetch{"a"}).save() == std::vector{id});
}

TEST_CASE_METHOD(Office, "unique: rows that other programs add have no key, and stand beside") {
    client->add(Fetch{"a"}).save();
    Look look(file);
    look.run(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1, 'fetch', CAST('{\"url\":\"a\"}' AS "
        "blob))");
    CHECK(client->add(Fetch{"a"}).save_results().front().as == AddedAs::existing);
    CHECK(look.tasks() == 2);
}

// ---- races ----------------------------------------------------------------------------------------------------------

TEST_CASE("unique: however many threads and processes add one key while it runs, there is one unfinished task") {
    constexpr int calls = 1'250;  // of each of eight threads
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    const auto add_all = [&] {
        Client client(quick(file, 2));
        std::atomic<int> inside{0};
        std::atomic<bool> together{false};
        client.register_queue<Fetch>([&](const Fetch&) {
            if (++inside > 1) together = true;
            --inside;
        });
        client.start();
        std::atomic<int> inserted{0};
        {
            std::vector<std::jthread> threads;
            for (int thread = 0; thread < 4; ++thread) {
                threads.emplace_back([&] {
                    for (int i = 0; i < calls; ++i) {
                        inserted += client.add(Fetch{"a"}).save_results().front().as == AddedAs::inserted;
                    }
                });
            }
        }
        return std::pair{inserted.load(), together.load()};
    };
    Process other([&](const Process::Inside& inside) {
        const auto [inserted, together] = add_all();
        inside.say(inserted > 0 && !together ? "apart" : "together");
    });
    Process watcher([&](const Process::Inside& inside) {  // no client of its own: SQLite alone
        inside.wait();
        Look look(file);
        for (int i = 0; i < 5'000; ++i) {
            if (look.tasks() > 1) inside.say("two");
        }
        inside.say("watched");
    });
    REQUIRE(eventually([&] { return std::filesystem::exists(file + "-backlite"); }));
    watcher.next();
    const auto [inserted, together] = add_all();
    CHECK(other.await("apart"));
    CHECK(watcher.await("watched"));
    CHECK(watcher.lines() == std::vector<std::string>{"watched"});
    CHECK(inserted > 0);
    CHECK_FALSE(together);
    CHECK(Look(file).tasks() <= 1);
    CHECK(Look(file).integrity() == "ok");
}

}  // namespace unique_test
