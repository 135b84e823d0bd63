// SPDX-License-Identifier: MIT
// What a started client does with its tasks: processors, outcomes, attempts, order, exceptions, clock jumps.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <recording_logger.hpp>
#include <row_time.hpp>
#include <temp_folder.hpp>
#include <uncapped.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Backoff;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::Context;
using backlite::Outcome;
using backlite::Queue;
using backlite::QueueConfig;
using backlite::StopReason;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;
using backlite::testing::ManualClock;
using backlite_test::Capped;
using backlite_test::contains;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::Gate;
using backlite_test::message_of;
using backlite_test::OpensAtEnd;
using backlite_test::patience;
using backlite_test::RecordingLogger;
using backlite_test::TempFolder;

// Every task of this file is a number; the queues differ.
struct Number {
    int n = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Number, n)

struct Plain : Number {
    static QueueConfig config() { return {.name = "plain"}; }
};
struct Other : Number {
    static QueueConfig config() { return {.name = "other"}; }
};
struct Blocker : Number {
    static QueueConfig config() { return {.name = "blocker"}; }
};
struct Retrying : Number {
    static QueueConfig config() {
        return {.name = "retrying", .max_attempts = 3, .backoff = 5s, .retention = backlite::Retention{}};
    }
};
struct Growing : Number {
    static QueueConfig config() {
        return {.name = "growing",
                .max_attempts = 6,
                .backoff = Backoff::exponential({.initial = 1s, .factor = 2.0, .max = 3s, .jitter = 0.0})};
    }
};
struct Custom : Number {
    static QueueConfig config() {
        return {
            .name = "custom", .max_attempts = 4, .backoff = Backoff::custom([](int attempt) { return 10s * attempt; })};
    }
};
struct BrokenBackoff : Number {
    static QueueConfig config() {
        return {.name = "broken_backoff", .max_attempts = 5, .backoff = Backoff::custom([](int attempt) {
                                                                 if (attempt == 1)
                                                                     throw std::runtime_error("no idea how long");
                                                                 if (attempt == 2) throw 42;
                                                                 return -1ms;
                                                             })};
    }
};
struct Timed : Number {
    static QueueConfig config() { return {.name = "timed", .max_attempts = 2, .timeout = 10s}; }
};
struct Brief : Number {
    static QueueConfig config() { return {.name = "brief", .timeout = 30ms}; }
};
struct Kept : Number {
    static QueueConfig config() { return {.name = "kept", .max_attempts = 3, .retention = backlite::Retention{}}; }
};

struct Row {
    std::int64_t attempts = 0;
    std::int64_t crashes = 0;
    std::optional<std::int64_t> wait_until{};
    std::optional<std::int64_t> last_executed_at{};
    std::optional<std::string> error{};
    bool claimed = false;
};

std::optional<Row> waiting_row(const std::string& file, const TaskId& id) {
    SQLite::Database db(file, SQLite::OPEN_READONLY, 10'000);
    SQLite::Statement select(db,
                             "SELECT attempts, crashes, wait_until, last_executed_at, error, claimed_at IS NOT NULL "
                             "FROM backlite_tasks WHERE id = ?");
    select.bind(1, id.str());
    if (!select.executeStep()) return std::nullopt;
    Row row{select.getColumn(0).getInt64(), select.getColumn(1).getInt64()};
    if (!select.isColumnNull(2)) row.wait_until = select.getColumn(2).getInt64();
    if (!select.isColumnNull(3)) row.last_executed_at = select.getColumn(3).getInt64();
    if (!select.isColumnNull(4)) row.error = select.getColumn(4).getString();
    row.claimed = select.getColumn(5).getInt() != 0;
    return row;
}

// The row of a task that waits for its next attempt, once the end of the last one is written.
Row row_after(const std::string& file, const TaskId& id) {
    std::optional<Row> row;
    const bool there = eventually([&] {
        row = waiting_row(file, id);
        return row && !row->claimed;
    });
    REQUIRE(there);
    return *row;
}

struct Completed {
    std::int64_t attempts = 0;
    bool succeeded = false;
    std::optional<std::string> error{};
};

std::optional<Completed> completed_row(const std::string& file, const TaskId& id) {
    SQLite::Database db(file, SQLite::OPEN_READONLY, 10'000);
    SQLite::Statement select(db, "SELECT attempts, succeeded, error FROM backlite_tasks_completed WHERE id = ?");
    select.bind(1, id.str());
    if (!select.executeStep()) return std::nullopt;
    Completed row{select.getColumn(0).getInt64(), select.getColumn(1).getInt() != 0};
    if (!select.isColumnNull(2)) row.error = select.getColumn(2).getString();
    return row;
}

struct Running {
    TempFolder folder{};
    std::string file = folder.file("x.db");
    Client client;

    explicit Running(ClientConfig config = {}) : client(filled(std::move(config))) {}

    template <class T>
    TaskId add(T task) {
        return client.add(task).save().at(0);
    }

private:
    ClientConfig filled(ClientConfig config) {
        config.database = file;
        return config;
    }
};

// One worker, and a clock that stands still.
struct Stepping {
    std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
    Running test;
    Client& client = test.client;

    explicit Stepping(ClientConfig config = {}) : test(filled(std::move(config))) {}

    [[nodiscard]] std::int64_t now() const { return backlite_test::row_ms(clock->now()); }
    void advance(backlite::Duration duration) {
        clock->advance(duration);
        client.notify();
    }

private:
    ClientConfig filled(ClientConfig config) {
        config.num_workers = 1;
        config.clock = clock;
        return config;
    }
};

// Processors.

void free_function(Context& context, const Plain& task) {
    if (context.queue() != "plain" || task.n != 7) throw std::runtime_error("wrong arguments");
}

TEST_CASE("Processor: takes the task, or context and task, and returns nothing or an outcome") {
    Events<int> seen;
    Running test;
    SECTION("task, nothing") {
        test.client.register_queue<Kept>([&](const Kept& task) { seen.add(task.n); });
    }
    SECTION("task, outcome") {
        test.client.register_queue<Kept>([&](const Kept& task) {
            seen.add(task.n);
            return Outcome::success();
        });
    }
    SECTION("context and task, nothing") {
        test.client.register_queue<Kept>(
            [&](Context& context, const Kept& task) { seen.add(context.queue() == "kept" ? task.n : -1); });
    }
    SECTION("context and task, outcome") {
        test.client.register_queue<Kept>([&](Context& context, const Kept& task) {
            seen.add(context.queue() == "kept" ? task.n : -1);
            return Outcome::success();
        });
    }
    SECTION("task by value") {
        test.client.register_queue<Kept>([&](Kept task) { seen.add(task.n); });
    }
    SECTION("anything, generic") {
        test.client.register_queue<Kept>([&](auto&, const auto& task) { seen.add(task.n); });
    }
    SECTION("Queue<T>, spelled out") {
        test.client.register_queue(Queue<Kept>{[&](const Kept& task) { seen.add(task.n); }});
    }
    SECTION("std::function") {
        test.client.register_queue<Kept>(std::function<void(const Kept&)>([&](const Kept& task) { seen.add(task.n); }));
    }
    SECTION("mutable lambda") {
        test.client.register_queue<Kept>([&, calls = 0](const Kept& task) mutable { seen.add(task.n * ++calls); });
    }
    SECTION("one that can only be moved") {
        test.client.register_queue<Kept>(
            [&, one = std::make_unique<int>(1)](const Kept& task) { seen.add(task.n * *one); });
    }
    test.client.start();
    const TaskId id = test.add(Kept{{7}});
    CHECK(seen.wait_for(1));
    CHECK(test.client.stop(20s));
    CHECK(seen.all() == std::vector<int>{7});
    CHECK(test.client.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Processor: may be a pointer to a function") {
    Running test;
    test.client.register_queue<Plain>(&free_function);
    test.client.start();
    const TaskId id = test.add(Plain{{7}});
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::not_found; }));
}

TEST_CASE("Processor: a mutable one keeps its state from task to task") {
    Events<int> counts;
    Running test({.num_workers = 1});
    test.client.register_queue<Plain>([&, calls = 0](const Plain&) mutable { counts.add(++calls); });
    test.client.start();
    (void)test.client.add(std::vector<Plain>(5)).save();
    CHECK(counts.wait_for(5));
    CHECK(counts.all() == std::vector<int>{1, 2, 3, 4, 5});
}

TEST_CASE("Processor: an empty one is refused, and its queue named") {
    Running test;
    const auto empty_function = [&] { test.client.register_queue<Plain>(std::function<void(const Plain&)>{}); };
    CHECK(contains(message_of<ConfigError>(empty_function), "\"plain\""));
    using Pointer = void (*)(const Plain&);
    CHECK_THROWS_AS(test.client.register_queue<Plain>(Pointer{nullptr}), ConfigError);
    CHECK_NOTHROW(test.client.register_queue<Plain>([](const Plain&) {}));
}

TEST_CASE("Client: queues are registered before start, or between stop and start") {
    Events<int> seen;
    Running test;
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    test.client.start();
    const auto late = [&] { test.client.register_queue<Other>([&](const Other& task) { seen.add(task.n); }); };
    CHECK(contains(message_of<UsageError>(late), "\"other\""));
    (void)test.client.add(Other{{2}}).save();
    CHECK(test.client.stop(20s));
    late();
    CHECK_THROWS_AS(late(), ConfigError);  // taken
    test.client.start();
    CHECK(seen.wait_for(1));
    CHECK(seen.all() == std::vector<int>{2});
}

TEST_CASE("Client: a second start does nothing, and starting again after a stop works any number of times") {
    Events<int> seen;
    Running test;
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    for (int round = 1; round <= 5; ++round) {
        test.client.start();
        test.client.start();
        (void)test.client.add(Plain{{round}}).save();
        CHECK(seen.wait_for(static_cast<std::size_t>(round)));
        CHECK(test.client.stop(20s));
        CHECK(test.client.stop(20s));
    }
    CHECK(seen.all() == std::vector<int>{1, 2, 3, 4, 5});
}

TEST_CASE("Context: tells the task's id, queue, attempt and bounds") {
    struct Seen {
        TaskId id;
        std::string queue;
        int attempt;
        int max_attempts;
        bool same_client;
        StopReason reason;
        bool stop;
        bool deadline;
    };
    Events<Seen> seen;
    Stepping test;
    test.client.register_queue<Retrying>([&](Context& context, const Retrying&) {
        seen.add({context.task_id(), context.queue(), context.attempt(), context.max_attempts(),
                  &context.client().config() == &test.client.config(), context.stop_reason(),
                  context.stop_token().stop_requested(), context.deadline().has_value()});
        throw std::runtime_error("again");
    });
    test.client.start();
    const TaskId id = test.test.add(Retrying{{1}});
    for (std::size_t attempt = 1; attempt <= 3; ++attempt) {
        REQUIRE(seen.wait_for(attempt));
        if (attempt < 3) (void)row_after(test.test.file, id);
        test.advance(5s);
    }
    CHECK(test.client.stop(20s));
    int attempt = 0;
    for (const Seen& each : seen.all()) {
        CHECK(each.id == id);
        CHECK(each.queue == "retrying");
        CHECK(each.attempt == ++attempt);
        CHECK(each.max_attempts == 3);
        CHECK(each.same_client);
        CHECK(each.reason == StopReason::none);
        CHECK_FALSE(each.stop);
        CHECK_FALSE(each.deadline);
    }
    CHECK(attempt == 3);
}

TEST_CASE("Context: a task adds more tasks through its client") {
    Events<int> seen;
    Running test({.num_workers = 2});
    test.client.register_queue<Plain>([&](Context& context, const Plain& task) {
        if (task.n > 0) (void)context.client().add(Plain{{task.n - 1}}, Other{{task.n}}).save();
        seen.add(task.n);
    });
    test.client.register_queue<Other>([&](const Other& task) { seen.add(100 + task.n); });
    test.client.start();
    (void)test.client.add(Plain{{5}}).save();
    CHECK(seen.wait_for(11));
    std::vector<int> all = seen.all();
    std::sort(all.begin(), all.end());
    CHECK(all == std::vector<int>{0, 1, 2, 3, 4, 5, 101, 102, 103, 104, 105});
}

TEST_CASE("Context: a task adds more tasks inside a transaction of its own") {
    Events<int> seen;
    Running test;
    test.client.register_queue<Plain>([&](Context& context, const Plain& task) {
        seen.add(task.n);
        if (task.n == 0) return;
        SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
        backlite::Transaction tx{context.client(), db};
        (void)context.client().add(Plain{{task.n - 1}}).tx(tx).save();
        tx.commit();
    });
    test.client.start();
    (void)test.client.add(Plain{{3}}).save();
    CHECK(seen.wait_for(4));
    CHECK(seen.all() == std::vector<int>{3, 2, 1, 0});
}

// Attempts and backoff.

TEST_CASE("Attempts: a failed attempt is spent with its outcome, and the next comes after the backoff") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Retrying>([&](Context& context, const Retrying&) {
        attempts.add(context.attempt());
        throw std::runtime_error(fmt::format("failure {}", context.attempt()));
    });
    test.client.start();
    const TaskId id = test.test.add(Retrying{{1}});
    REQUIRE(attempts.wait_for(1));
    Row row = row_after(test.test.file, id);
    CHECK(row.attempts == 1);
    CHECK(row.crashes == 0);
    CHECK(row.wait_until == test.now() + 5000);
    CHECK(row.last_executed_at == test.now());
    CHECK(row.error == "failure 1");
    CHECK(test.client.status(id) == TaskStatus::pending);

    test.advance(4999ms);
    CHECK_FALSE(attempts.wait_for(2, 50ms));
    test.advance(1ms);
    REQUIRE(attempts.wait_for(2));
    row = row_after(test.test.file, id);
    CHECK(row.attempts == 2);
    CHECK(row.wait_until == test.now() + 5000);
    CHECK(row.error == "failure 2");

    test.advance(5s);
    REQUIRE(attempts.wait_for(3));
    CHECK(test.client.stop(20s));
    CHECK(attempts.all() == std::vector<int>{1, 2, 3});
    CHECK(test.client.status(id) == TaskStatus::failed);
    const std::optional<Completed> completed = completed_row(test.test.file, id);
    REQUIRE(completed);
    CHECK(completed->attempts == 3);
    CHECK_FALSE(completed->succeeded);
    CHECK(completed->error == "failure 3");
}

TEST_CASE("Attempts: success after failures counts all of them") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Kept>([&](Context& context, const Kept&) {
        attempts.add(context.attempt());
        if (context.attempt() < 3) throw std::runtime_error("not yet");
    });
    test.client.start();
    const TaskId id = test.test.add(Kept{{1}});
    REQUIRE(attempts.wait_for(3));  // no backoff: due at once
    CHECK(test.client.stop(20s));
    const std::optional<Completed> completed = completed_row(test.test.file, id);
    REQUIRE(completed);
    CHECK(completed->attempts == 3);
    CHECK(completed->succeeded);
    CHECK_FALSE(completed->error);
}

TEST_CASE("Attempts: max_attempts is 1 unless a queue says otherwise") {
    Events<int> attempts;
    Running test;
    test.client.register_queue<Plain>([&](Context& context, const Plain&) {
        attempts.add(context.attempt());
        throw std::runtime_error("once");
    });
    test.client.start();
    const TaskId id = test.add(Plain{});
    REQUIRE(attempts.wait_for(1));
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::not_found; }));
    CHECK(test.client.stop(20s));
    CHECK(attempts.all() == std::vector<int>{1});
}

TEST_CASE("Backoff: an exponential one grows to its bound") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Growing>([&](Context& context, const Growing&) {
        attempts.add(context.attempt());
        throw std::runtime_error("again");
    });
    test.client.start();
    const TaskId id = test.test.add(Growing{});
    std::vector<std::int64_t> waits;
    for (std::size_t attempt = 1; attempt <= 5; ++attempt) {
        REQUIRE(attempts.wait_for(attempt));
        waits.push_back(row_after(test.test.file, id).wait_until.value_or(0) - test.now());
        test.advance(backlite::Duration{waits.back()});
    }
    CHECK(attempts.wait_for(6));
    CHECK(waits == std::vector<std::int64_t>{1000, 2000, 3000, 3000, 3000});
}

TEST_CASE("Backoff: a custom one gets the number of the attempt that failed") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Custom>([&](Context& context, const Custom&) {
        attempts.add(context.attempt());
        throw std::runtime_error("again");
    });
    test.client.start();
    const TaskId id = test.test.add(Custom{});
    std::vector<std::int64_t> waits;
    for (std::size_t attempt = 1; attempt <= 3; ++attempt) {
        REQUIRE(attempts.wait_for(attempt));
        waits.push_back(row_after(test.test.file, id).wait_until.value_or(0) - test.now());
        test.advance(backlite::Duration{waits.back()});
    }
    CHECK(attempts.wait_for(4));
    CHECK(waits == std::vector<std::int64_t>{10'000, 20'000, 30'000});
}

// Outcomes as values.

TEST_CASE("Outcome: success ends the task") {
    Running test;
    test.client.register_queue<Kept>([](const Kept&) { return Outcome::success(); });
    test.client.start();
    const TaskId id = test.add(Kept{});
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::succeeded; }));
}

TEST_CASE("Outcome: retry is a failed attempt, by the queue's backoff") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Retrying>([&](Context& context, const Retrying&) {
        attempts.add(context.attempt());
        return Outcome::retry("no luck");
    });
    test.client.start();
    const TaskId id = test.test.add(Retrying{});
    REQUIRE(attempts.wait_for(1));
    const Row row = row_after(test.test.file, id);
    CHECK(row.attempts == 1);
    CHECK(row.wait_until == test.now() + 5000);
    CHECK(row.error == "no luck");
    test.advance(5s);
    REQUIRE(attempts.wait_for(2));
    (void)row_after(test.test.file, id);
    test.advance(5s);
    REQUIRE(attempts.wait_for(3));
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::failed; }));
    CHECK(completed_row(test.test.file, id)->error == "no luck");
}

TEST_CASE("Outcome: retry_in is a failed attempt with a wait of its own") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Retrying>([&](Context& context, const Retrying&) {
        attempts.add(context.attempt());
        return context.attempt() == 1 ? Outcome::retry_in(1234ms, "later") : Outcome::retry_in(-1h, "now");
    });
    test.client.start();
    const TaskId id = test.test.add(Retrying{});
    REQUIRE(attempts.wait_for(1));
    const Row row = row_after(test.test.file, id);
    CHECK(row.attempts == 1);
    CHECK(row.wait_until == test.now() + 1234);
    CHECK(row.error == "later");
    test.advance(1234ms);
    CHECK(attempts.wait_for(3));  // a negative wait is none
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::failed; }));
}

TEST_CASE("Outcome: snooze runs the task later and spends no attempt") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Plain>([&](Context& context, const Plain&) {
        attempts.add(context.attempt());
        return attempts.count() < 4 ? Outcome::snooze(2s) : Outcome::success();
    });
    test.client.start();
    const TaskId id = test.test.add(Plain{});
    for (std::size_t run = 1; run <= 3; ++run) {
        REQUIRE(attempts.wait_for(run));
        const Row row = row_after(test.test.file, id);
        CHECK(row.attempts == 0);
        CHECK(row.crashes == 0);
        CHECK(row.wait_until == test.now() + 2000);
        CHECK(row.last_executed_at == test.now());
        CHECK_FALSE(row.error);
        test.advance(2s);
    }
    REQUIRE(attempts.wait_for(4));
    CHECK(attempts.all() == std::vector<int>{1, 1, 1, 1});
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::not_found; }));
}

TEST_CASE("Outcome: a snooze between failures keeps their count") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Kept>([&](Context& context, const Kept&) {
        attempts.add(context.attempt());
        switch (attempts.count()) {
            case 1: return Outcome::retry("first");
            case 2: return Outcome::snooze(0s);
            case 3: return Outcome::retry("second");
            default: return Outcome::snooze(1h);
        }
    });
    test.client.start();
    const TaskId id = test.test.add(Kept{});
    REQUIRE(attempts.wait_for(4));
    CHECK(attempts.all() == std::vector<int>{1, 2, 2, 3});
    const Row row = row_after(test.test.file, id);
    CHECK(row.attempts == 2);
    CHECK(row.error == "second");
}

TEST_CASE("Outcome: discard fails the task for good, whatever attempts remain") {
    Events<int> attempts;
    Running test;
    test.client.register_queue<Kept>([&](Context& context, const Kept&) {
        attempts.add(context.attempt());
        return Outcome::discard("unwanted");
    });
    test.client.start();
    const TaskId id = test.add(Kept{});
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::failed; }));
    CHECK(test.client.stop(20s));
    const std::optional<Completed> completed = completed_row(test.file, id);
    REQUIRE(completed);
    CHECK(completed->attempts == 1);
    CHECK(completed->error == "unwanted");
    CHECK(attempts.count() == 1);
}

// Timeouts.

TEST_CASE("Timeout: fires the token at the deadline that the context tells") {
    struct Seen {
        bool in_time;
        bool early;
        StopReason reason;
    };
    Events<Seen> seen;
    Running test;
    const auto before = std::chrono::steady_clock::now();
    test.client.register_queue<Brief>([&](Context& context, const Brief&) {
        const auto now = std::chrono::steady_clock::now();
        const auto deadline = context.deadline().value_or(std::chrono::steady_clock::time_point{});
        const bool in_time = deadline >= before + 30ms && deadline <= now + 30ms;
        const bool fired = eventually([&] { return context.stop_token().stop_requested(); });
        seen.add({in_time && fired, std::chrono::steady_clock::now() < deadline, context.stop_reason()});
    });
    test.client.start();
    (void)test.add(Brief{});
    REQUIRE(seen.wait_for(1));
    CHECK(seen.all()[0].in_time);
    CHECK_FALSE(seen.all()[0].early);
    CHECK(seen.all()[0].reason == StopReason::timeout);
}

TEST_CASE("Timeout: counts from the start of each attempt, on the steady clock") {
    Events<std::chrono::steady_clock::time_point> deadlines;
    Stepping test;
    test.client.register_queue<Timed>([&](Context& context, const Timed&) {
        deadlines.add(context.deadline().value_or(std::chrono::steady_clock::time_point{}));
        throw std::runtime_error("again");
    });
    const auto first = test.clock->steady_now();
    test.client.start();
    const TaskId id = test.test.add(Timed{});
    // No backoff: the second attempt follows at once.
    REQUIRE(deadlines.wait_for(2));
    CHECK(deadlines.all()[0] == first + 10s);
    CHECK(deadlines.all()[1] == first + 10s);
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::not_found; }));
    test.clock->advance(3s);
    (void)test.test.add(Timed{});
    REQUIRE(deadlines.wait_for(3));
    CHECK(deadlines.all()[2] == first + 13s);
}

TEST_CASE("Timeout: a task that returns after it has succeeded, one that throws has failed") {
    const Capped looks_at_the_clock;  // nobody tells the timer that it was moved
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<Timed>([&](Context& context, const Timed& task) {
        attempts.add(context.attempt());
        if (context.attempt() == 2) return;
        if (!eventually([&] { return context.stop_token().stop_requested(); })) return;
        if (task.n == 1) throw std::runtime_error("timed out");
    });
    test.client.start();
    (void)test.test.add(Timed{{0}});
    REQUIRE(attempts.wait_for(1));
    test.clock->advance(10s);
    const TaskId failing = test.test.add(Timed{{1}});
    REQUIRE(attempts.wait_for(2));
    test.clock->advance(10s);
    REQUIRE(attempts.wait_for(3));
    CHECK(test.client.stop(20s));
    CHECK(attempts.all() == std::vector<int>{1, 1, 2});
    CHECK(test.client.status(failing) == TaskStatus::not_found);
}

// Stops.

TEST_CASE("Stop: a task that throws or retries because of it gives its claim back and spends nothing") {
    Events<int> attempts;
    Running test({.num_workers = 1});
    const bool throws = GENERATE(true, false);
    test.client.register_queue<Kept>([&](Context& context, const Kept&) {
        attempts.add(context.attempt());
        if (attempts.count() > 1) return Outcome::success();
        (void)eventually([&] { return context.stop_token().stop_requested(); });
        if (throws) throw std::runtime_error("stopped");
        return Outcome::retry("stopped");
    });
    test.client.start();
    const TaskId id = test.add(Kept{});
    REQUIRE(attempts.wait_for(1));
    CHECK_FALSE(test.client.stop(0s));  // it did not end within no time at all
    CHECK(test.client.stop(20s));       // by then it has
    const Row row = row_after(test.file, id);
    CHECK(row.attempts == 0);
    CHECK(row.crashes == 0);
    CHECK_FALSE(row.wait_until);
    test.client.start();
    REQUIRE(attempts.wait_for(2));
    CHECK(attempts.all() == std::vector<int>{1, 1});
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::succeeded; }));
}

TEST_CASE("Stop: claims that were never entered go back and spend nothing") {
    constexpr int slow = 30;  // after enough quick tasks that those behind it are claimed ahead
    Events<int> seen;
    Running test({.num_workers = 1});
    test.client.register_queue<Kept>([&](Context& context, const Kept& task) {
        seen.add(task.n);
        if (task.n == slow) (void)eventually([&] { return context.stop_token().stop_requested(); });
    });
    std::vector<Kept> tasks(100);
    for (int n = 0; n < 100; ++n) tasks[static_cast<std::size_t>(n)].n = n;
    (void)test.client.add(tasks).save();
    test.client.start();
    REQUIRE(seen.wait_for(slow + 1));
    SQLite::Database db(test.file, SQLite::OPEN_READONLY, 10'000);
    const auto count = [&](const char* where) {
        return db.execAndGet(std::string{"SELECT count(*) FROM backlite_tasks WHERE "} + where).getInt();
    };
    REQUIRE(eventually([&] { return count("claimed_at IS NOT NULL") > 1; }));
    CHECK_FALSE(test.client.stop(1ms));  // fires the slow one's token
    CHECK(test.client.stop(20s));
    CHECK(seen.count() == slow + 1);
    CHECK(count("1") == 100 - slow - 1);
    CHECK(count("claimed_at IS NOT NULL OR owner IS NOT NULL OR attempts <> 0 OR crashes <> 0 OR "
                "wait_until IS NOT NULL") == 0);
    CHECK(db.execAndGet("SELECT count(*) FROM backlite_tasks_completed WHERE succeeded").getInt() == slow + 1);
}

TEST_CASE("Stop: the token given to start stops hard") {
    std::stop_source source;
    Events<StopReason> reasons;
    Events<int> seen;
    Running test({.num_workers = 1});
    test.client.register_queue<Plain>([&](Context& context, const Plain& task) {
        seen.add(task.n);
        (void)eventually([&] { return context.stop_token().stop_requested(); });
        reasons.add(context.stop_reason());
    });
    test.client.start(source.get_token());
    (void)test.client.add(Plain{{1}}, Plain{{2}}).save();
    REQUIRE(seen.wait_for(1));
    source.request_stop();
    REQUIRE(reasons.wait_for(1));
    CHECK(reasons.all()[0] == StopReason::stopping);
    CHECK(test.client.stop(20s));
    CHECK(seen.all() == std::vector<int>{1});
    CHECK(test.client.counts().at(0).waiting == 1);
}

TEST_CASE("Stop: a token that had fired before start lets nothing run") {
    std::stop_source source;
    Events<int> seen;
    Running test;
    source.request_stop();
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    const TaskId id = test.add(Plain{{1}});
    test.client.start(source.get_token());
    CHECK(test.client.stop(20s));
    // It may have been claimed and even started before the token was looked at, but it is never lost.
    CHECK(test.client.status(id) == (seen.count() == 0 ? TaskStatus::pending : TaskStatus::not_found));
}

// Pools.

TEST_CASE("Client: two clients with different queues on one file are two separate pools") {
    Events<std::string> seen;
    Running test;
    Client second{{.database = test.file}};
    test.client.register_queue<Plain>([&](Context& context, const Plain&) {
        seen.add(&context.client().config() == &test.client.config() ? "plain by first" : "plain by second");
    });
    second.register_queue<Other>([&](Context& context, const Other&) {
        seen.add(&context.client().config() == &second.config() ? "other by second" : "other by first");
    });
    test.client.start();
    second.start();
    for (int round = 0; round < 10; ++round) (void)test.client.add(Plain{}, Other{}).save();
    for (int round = 0; round < 10; ++round) (void)second.add(Plain{}, Other{}).save();
    CHECK(seen.wait_for(40));
    CHECK(test.client.stop(20s));
    CHECK(second.stop(20s));
    CHECK(seen.count_of("plain by first") == 20);
    CHECK(seen.count_of("other by second") == 20);
}

TEST_CASE("Client: several clients of one process share the work and run each task exactly once") {
    Events<std::string> runs;
    constexpr std::size_t tasks = 1500;
    const TempFolder folder;
    {
        std::vector<std::unique_ptr<Client>> clients;
        for (int i = 0; i < 3; ++i) {
            clients.push_back(
                std::make_unique<Client>(ClientConfig{.database = folder.file("x.db"), .num_workers = 2}));
            clients.back()->register_queue<Plain>(
                [&](Context& context, const Plain&) { runs.add(context.task_id().str()); });
        }
        (void)clients[0]->add(std::vector<Plain>(tasks / 2)).save();
        for (const auto& client : clients) client->start();
        for (std::size_t i = 0; i < tasks / 2; i += 50) (void)clients[i % 3]->add(std::vector<Plain>(50)).save();
        CHECK(runs.wait_for(tasks));
        for (const auto& client : clients) CHECK(client->stop(20s));
    }
    const std::vector<std::string> all = runs.all();
    CHECK(all.size() == tasks);
    CHECK(std::set<std::string>(all.begin(), all.end()).size() == tasks);
    SQLite::Database db(folder.file("x.db"));
    CHECK(db.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 0);
}

TEST_CASE("Client: what a dead process left runs again, and little else does") {
    Events<std::string> here;
    // The tasks that one death may run twice: two in the workers, and those whose outcomes were not yet committed.
    constexpr int tasks = 3000;
    constexpr std::size_t twice_at_most = 64;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    const std::string journal = folder.file("runs");
    {
        Client client{{.database = file}};
        (void)client.add(std::vector<Plain>(tasks)).save();
    }
    const pid_t child = ::fork();
    if (child == 0) {
        try {
            const int log = ::open(journal.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            Client client{{.database = file, .num_workers = 2}};
            client.register_queue<Plain>([log](Context& context, const Plain&) {
                const std::string line = context.task_id().str() + '\n';
                if (::write(log, line.data(), line.size()) < 0) ::_exit(2);
                std::this_thread::sleep_for(500us);
            });
            client.start();
            for (;;) ::pause();
        } catch (...) {
            ::_exit(1);
        }
    }
    REQUIRE(child > 0);
    const auto lines = [&journal] {
        std::ifstream in(journal);
        std::vector<std::string> ids;
        for (std::string line; std::getline(in, line);) ids.push_back(line);
        return ids;
    };
    CHECK(eventually([&] { return lines().size() >= 300; }));
    ::kill(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    REQUIRE(WIFSIGNALED(status));

    std::map<std::string, int> runs;
    for (const std::string& id : lines()) ++runs[id];
    Client client{{.database = file, .num_workers = 2}};
    client.register_queue<Plain>([&](Context& context, const Plain&) { here.add(context.task_id().str()); });
    client.start();
    CHECK(eventually([&] { return client.counts().empty(); }));
    CHECK(client.stop(20s));
    for (const std::string& id : here.all()) ++runs[id];
    CHECK(runs.size() == tasks);
    std::size_t twice = 0;
    for (const auto& [id, count] : runs) {
        CHECK(count <= 2);
        if (count == 2) ++twice;
    }
    INFO(twice << " tasks ran twice");
    CHECK(twice <= twice_at_most);
}

// Order.

TEST_CASE("Order: the oldest due time starts first, over all queues, whatever order the tasks were added in") {
    Events<int> order;
    Stepping test;
    test.client.register_queue<Plain>([&](const Plain& task) { order.add(task.n); });
    test.client.register_queue<Other>([&](const Other& task) { order.add(task.n); });
    constexpr int tasks = 200;
    for (int i = 0; i < tasks; ++i) {
        const int minutes = i * 37 % tasks;  // every number once, scattered
        const auto at = test.clock->now() + minutes * 1min;
        if (i % 2 == 0) {
            (void)test.client.add(Plain{{minutes}}).at(at).save();
        } else {
            (void)test.client.add(Other{{minutes}}).at(at).save();
        }
    }
    test.clock->advance(24h);
    test.client.start();
    REQUIRE(order.wait_for(tasks));
    const std::vector<int> all = order.all();
    CHECK(std::is_sorted(all.begin(), all.end()));
}

TEST_CASE("Order: immediate, scheduled and retried tasks are ordered by due time alike") {
    Events<std::string> order;
    Gate gate;
    Stepping test;
    const OpensAtEnd opens(gate);
    test.client.register_queue<Blocker>([&](const Blocker&) {
        order.add("blocker");
        gate.pass();
    });
    test.client.register_queue<Retrying>([&](Context& context, const Retrying& task) {
        order.add(fmt::format("{}{}", task.n, context.attempt() > 1 ? " again" : ""));
        if (task.n == 0 && context.attempt() == 1) throw std::runtime_error("again");
    });
    test.client.start();
    const TaskId retried = test.test.add(Retrying{{0}});
    REQUIRE(order.wait_for(1));
    (void)row_after(test.test.file, retried);  // due 5 s from now
    (void)test.test.add(Blocker{});
    REQUIRE(order.wait_for(2));
    (void)test.client.add(Retrying{{4}}).wait(6s).save();  // due at 6 s
    (void)test.client.add(Retrying{{2}}).wait(3s).save();
    test.clock->advance(2s);
    (void)test.client.add(Retrying{{1}}).save();  // at 2 s
    test.clock->advance(2s);
    (void)test.client.add(Retrying{{3}}).save();  // at 4 s
    test.clock->advance(3s);
    (void)test.client.add(Retrying{{5}}).save();                             // at 7 s
    (void)test.client.add(Retrying{{6}}).at(test.clock->now() - 5s).save();  // created at 7 s: not before that
    gate.open();
    REQUIRE(order.wait_for(9));
    CHECK(order.all() == std::vector<std::string>{"0", "blocker", "1", "2", "3", "0 again", "4", "5", "6"});
}

TEST_CASE("Order: an endless stream of new tasks keeps no retry, scheduled task or other queue waiting") {
    Events<std::string> seen;
    std::atomic<bool> stream{true};
    Running test({.num_workers = 1});
    test.client.register_queue<Plain>([&](Context& context, const Plain&) {
        if (stream) (void)context.client().add(Plain{}, Plain{}).save();  // ever more
    });
    test.client.register_queue<Growing>([&](Context& context, const Growing&) {
        seen.add("growing");
        if (context.attempt() == 1) throw std::runtime_error("again in a second");
    });
    test.client.register_queue<Other>([&](const Other&) { seen.add("other"); });
    test.client.start();
    (void)test.client.add(Plain{}).save();
    (void)test.client.add(Growing{}).save();
    (void)test.client.add(Other{}).wait(300ms).save();
    const bool all = seen.wait_for(3);
    stream = false;
    CHECK(all);
    CHECK(seen.count_of("growing") == 2);
    CHECK(seen.count_of("other") == 1);
    (void)test.client.stop(20s);
}

TEST_CASE("Order: a task that is due earlier passes thousands that are due later, in its own queue and another") {
    Events<int> order;
    Stepping test;
    test.client.register_queue<Plain>([&](const Plain& task) { order.add(task.n); });
    test.client.register_queue<Other>([&](const Other& task) { order.add(task.n); });
    (void)test.client.add(std::vector<Plain>(3000)).at(test.clock->now() + 1h).save();
    (void)test.client.add(Plain{{1}}).at(test.clock->now() + 1min).save();
    (void)test.client.add(Other{{2}}).at(test.clock->now() + 2min).save();
    test.clock->advance(2h);
    test.client.start();
    REQUIRE(order.wait_for(3));
    CHECK(order.all()[0] == 1);
    CHECK(order.all()[1] == 2);
}

// Clock jumps.

TEST_CASE("Clock: a jump forwards starts what has become due, without being told") {
    Events<int> seen;
    Stepping test;
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    test.client.start();
    (void)test.client.add(Plain{{1}}).wait(24h).save();
    CHECK_FALSE(seen.wait_for(1, 20ms));
    test.clock->jump(24h);
    CHECK(seen.wait_for(1));
}

TEST_CASE("Clock: a jump back delays a scheduled task until the wall clock says its time, once") {
    Events<int> seen;
    Stepping test;
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    test.client.start();
    (void)test.client.add(Plain{{1}}).wait(10s).save();
    test.clock->jump(-1h);
    test.advance(10s);
    (void)test.client.add(Plain{{2}}).save();  // new ones run at once
    CHECK(seen.wait_for(1));
    CHECK(seen.all() == std::vector<int>{2});
    test.clock->jump(1h);
    CHECK(seen.wait_for(2));
    CHECK(test.client.stop(20s));
    CHECK(seen.all() == std::vector<int>{2, 1});
}

TEST_CASE("Clock: no jump makes a running task run twice or fires its timeout") {
    const Capped looks_at_the_clock;  // nobody tells the timer that it was moved
    Events<std::string> seen;
    Gate gate;
    const auto clock = std::make_shared<ManualClock>();
    Running test({.num_workers = 2, .release_after = 1s, .clock = clock});
    Client second{{.database = test.file, .num_workers = 1, .release_after = 1s, .clock = clock}};
    const OpensAtEnd opens(gate);
    const auto processor = [&](Context& context, const Timed& task) {
        seen.add(fmt::format("start {}", task.n));
        if (task.n == 1) gate.pass();
        if (task.n == 2) (void)eventually([&] { return context.stop_token().stop_requested(); });
        seen.add(fmt::format("end {} {}", task.n, to_string(context.stop_reason())));
    };
    test.client.register_queue<Timed>(processor);
    second.register_queue<Timed>(processor);
    test.client.start();
    const TaskId id = test.add(Timed{{1}});
    REQUIRE(seen.wait_for(1));
    second.start();
    for (const auto jump : {backlite::Duration{24h}, backlite::Duration{-48h}, backlite::Duration{24h}}) {
        clock->jump(jump);
        test.client.notify();
        second.notify();
        // Whoever would take the task back has had its chance once both have run another task after the jump.
        const std::size_t before = seen.count();
        (void)test.client.add(Timed{{3}}, Timed{{3}}, Timed{{3}}, Timed{{3}}).at(clock->now()).save();
        if (jump < 0s) clock->jump(48h);
        CHECK(seen.wait_for(before + 8));
        if (jump < 0s) clock->jump(-48h);
        CHECK(test.client.status(id) == TaskStatus::running);
    }
    // The timer has looked at the clocks again once another timeout has fired.
    clock->jump(24h);
    clock->advance(5s);
    (void)test.add(Timed{{2}});
    CHECK(seen.wait_until([](const auto& all) { return std::count(all.begin(), all.end(), "start 2") > 0; }));
    clock->jump(-24h);
    gate.open();
    CHECK(seen.wait_until([](const auto& all) { return std::count(all.begin(), all.end(), "end 1 none") > 0; }));
    clock->advance(10s);
    CHECK(seen.wait_until([](const auto& all) { return std::count(all.begin(), all.end(), "end 2 timeout") > 0; }));
    CHECK(test.client.stop(20s));
    CHECK(second.stop(20s));
    CHECK(seen.count_of("start 1") == 1);
    CHECK(seen.count_of("end 1 none") == 1);
}

TEST_CASE("Clock: a jump back delays no task that was due before it") {
    Events<int> seen;
    Gate gate;
    Stepping test;
    const OpensAtEnd opens(gate);
    test.client.register_queue<Blocker>([&](const Blocker&) {
        seen.add(0);
        gate.pass();
    });
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    test.client.start();
    (void)test.test.add(Blocker{});
    REQUIRE(seen.wait_for(1));
    (void)test.test.add(Plain{{1}});
    test.clock->jump(-24h);
    (void)test.test.add(Plain{{2}});
    gate.open();
    REQUIRE(seen.wait_for(3));
    CHECK(test.client.stop(20s));
    CHECK(seen.count_of(1) == 1);
    CHECK(seen.count_of(2) == 1);
}

TEST_CASE("Clock: what was written while the clock was ahead does not wait for that time after a restart") {
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("x.db");
    const auto clock = std::make_shared<ManualClock>();
    const ClientConfig config{.database = file, .num_workers = 1, .clock = clock};
    Events<int> seen;
    clock->jump(24h * 3650);
    {
        Client client{config};
        client.register_queue<Retrying>([&](const Retrying& task) {
            seen.add(task.n);
            throw std::runtime_error("not yet");
        });
        (void)client.add(Retrying{{1}}).save();
        client.start();
        REQUIRE(seen.wait_for(1));
        CHECK(client.stop(20s));
        (void)client.add(Retrying{{2}}).save();
        (void)client.add(Retrying{{3}}).at(clock->now() + 1h).save();  // asked for: it stays
    }
    clock->jump(-24h * 3650);
    Client client{config};
    client.register_queue<Retrying>([&](const Retrying& task) { seen.add(10 * task.n); });
    client.start();
    REQUIRE(seen.wait_for(2));
    CHECK(seen.count_of(20) == 1);
    clock->advance(1h);  // longer than the backoff
    client.notify();
    REQUIRE(seen.wait_for(3));
    CHECK(seen.count_of(10) == 1);
    CHECK(client.stop(20s));
    CHECK(seen.count_of(30) == 0);
}

TEST_CASE("Clock: a row that SQL added while the clock was ahead is found behind many scheduled ones after a start") {
    Events<int> seen;
    Stepping test;
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    (void)test.client.add(std::vector<Plain>(1200)).at(test.clock->now() + 24h).save();
    const TaskId id = test.test.add(Plain{{7}});
    SQLite::Database(test.test.file, SQLite::OPEN_READWRITE)
        .exec(
            fmt::format("UPDATE backlite_tasks SET created_at = created_at + 315360000000 WHERE id = '{}'", id.str()));
    test.client.start();
    CHECK(eventually([&] {
        test.clock->advance(1s);
        test.client.notify();
        return seen.count_of(7) == 1;
    }));
    CHECK(test.client.stop(20s));
    CHECK(seen.count() == 1);
}

TEST_CASE("Clock: one that says 1970 at a start moves no wait, so that none is too short once it is right") {
    Events<int> seen;
    Stepping test;
    test.client.register_queue<Retrying>([&](const Retrying& task) {
        seen.add(task.n);
        throw std::runtime_error("not yet");
    });
    test.client.start();
    const TaskId id = test.test.add(Retrying{{1}});
    REQUIRE(seen.wait_for(1));
    CHECK(test.client.stop(20s));
    SQLite::Database look(test.test.file);
    const std::string sql = fmt::format("SELECT wait_until FROM backlite_tasks WHERE id = '{}'", id.str());
    const std::int64_t wait_until = look.execAndGet(sql).getInt64();
    const auto fifty_years = test.clock->now().time_since_epoch();
    test.clock->jump(-std::chrono::floor<backlite::Duration>(fifty_years));
    test.client.start();
    (void)test.test.add(Retrying{{2}});
    REQUIRE(seen.wait_for(2));
    CHECK(test.client.stop(20s));
    CHECK(look.execAndGet(sql).getInt64() == wait_until);
}

TEST_CASE("Clock: what another process wrote while its clock was ahead does not wait for that time") {
    Events<int> seen;
    Stepping test;
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    test.client.start();
    // Behind more tasks with times of their own than one piece of the search holds.
    (void)test.client.add(std::vector<Plain>(1200)).at(test.clock->now() + 24h).save();
    const auto ahead = std::make_shared<ManualClock>(test.clock->now() + 24h * 3650);
    {
        Client other{{.database = test.test.file, .clock = ahead}};
        (void)other.add(Plain{{7}}).save();
    }
    test.client.notify();
    REQUIRE(seen.wait_for(1));
    CHECK(seen.count_of(7) == 1);
}

// Ends the minute, in which another process then works on, while the client looks for commits of others.
struct EndsMinuteInLook {
    EndsMinuteInLook(const std::string& file, ManualClock& time)
        : clock(time), db(file, SQLite::OPEN_READWRITE, 10'000) {}

    static int on_profile(unsigned, void* self, void* statement, void*) noexcept {
        const char* const sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
        if (sql != nullptr) static_cast<EndsMinuteInLook*>(self)->ran(sql);
        return 0;
    }
    void ran(std::string_view sql) {
        if (sql == "PRAGMA data_version" && armed.exchange(false)) {
            clock.advance(1min);
            db.exec(fmt::format("INSERT INTO backlite_stats VALUES (1, {}, 'plain', 1, 0, 0, 0, 0, 0, 0)",
                                backlite_test::row_ms(clock.now()) / 60'000));
        }
        if (sql.find("SET created_at = min(") != std::string_view::npos) ++searches;
    }

    ManualClock& clock;
    SQLite::Database db;
    std::atomic<bool> armed{false};
    std::atomic<int> searches{0};
};

TEST_CASE("Clock: a minute that ends while the client looks at the file is no sign of a wrong clock") {
    const auto clock = std::make_shared<ManualClock>();
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    { const Client installs{{.database = file}}; }
    EndsMinuteInLook hook(file, *clock);
    Events<int> seen;
    ClientConfig config{.database = file, .num_workers = 1, .clock = clock};
    config.open = [&hook, file] {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        sqlite3_trace_v2(database.getHandle(), SQLITE_TRACE_PROFILE, EndsMinuteInLook::on_profile, &hook);
        return database;
    };
    Client client{config};
    client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    client.start();
    REQUIRE(eventually([&] { return hook.searches > 0; }));  // as at each start
    std::this_thread::sleep_for(500ms);
    const int searches = hook.searches;
    hook.armed = true;
    client.notify();
    REQUIRE(eventually([&] { return !hook.armed; }));
    (void)client.add(Plain{{1}}).save();
    REQUIRE(seen.wait_for(1));
    CHECK(hook.searches == searches);
}

TEST_CASE("Clock: a jump back delays no attempt after one that was under way") {
    Events<int> attempts;
    Events<int> others;
    const auto clock = std::make_shared<ManualClock>();
    Running test({.num_workers = 2, .clock = clock});
    test.client.register_queue<Plain>([&](const Plain& task) { others.add(task.n); });
    test.client.register_queue<Kept>([&](Context& context, const Kept&) {
        attempts.add(context.attempt());
        if (attempts.count() == 5) return Outcome::success();
        // The dispatcher has noticed once another task that is added after the jump has run.
        clock->jump(-1h);
        const std::size_t before = others.count();
        (void)context.client().add(Plain{}).save();
        (void)others.wait_for(before + 1);
        return attempts.count() % 2 == 0 ? Outcome::retry("again") : Outcome::snooze(0s);
    });
    test.client.start();
    const TaskId id = test.add(Kept{});
    REQUIRE(attempts.wait_for(5));
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::succeeded; }));
    CHECK(attempts.all() == std::vector<int>{1, 1, 2, 2, 3});
}

TEST_CASE("Clock: a jump back shortens no wait that was asked for after it") {
    Events<int> seen;
    Stepping test;
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    test.client.register_queue<Kept>([&](const Kept& task) {
        seen.add(task.n);
        test.clock->jump(-24h);
        return Outcome::snooze(1h);
    });
    test.client.start();
    const TaskId id = test.test.add(Kept{{1}});
    REQUIRE(seen.wait_for(1));
    (void)row_after(test.test.file, id);
    (void)test.test.add(Plain{{2}});
    REQUIRE(seen.wait_for(2));
    CHECK(test.client.stop(20s));
    CHECK(waiting_row(test.test.file, id)->wait_until == test.now() + 3'600'000);
    CHECK(seen.count() == 2);
}

TEST_CASE("Clock: a jump back delays no task that is given back after it") {
    Events<int> attempts;
    Events<int> others;
    Gate gate;
    const auto clock = std::make_shared<ManualClock>();
    Running test({.num_workers = 2, .clock = clock});
    const OpensAtEnd opens(gate);
    test.client.register_queue<Plain>([&](const Plain& task) { others.add(task.n); });
    test.client.register_queue<Kept>([&](Context& context, const Kept&) {
        attempts.add(context.attempt());
        if (attempts.count() > 1) return Outcome::success();
        (void)eventually([&] { return context.stop_token().stop_requested(); });
        return Outcome::retry("stopping");
    });
    test.client.start();
    const TaskId id = test.add(Kept{});
    REQUIRE(attempts.wait_for(1));
    clock->jump(-1h);
    (void)test.add(Plain{});
    REQUIRE(others.wait_for(1));
    (void)test.client.stop(0s);
    CHECK(test.client.stop(20s));
    test.client.start();
    REQUIRE(attempts.wait_for(2));
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::succeeded; }));
}

// Exceptions.

class NoText : public std::exception {
public:
    [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};

TEST_CASE("Exceptions: whatever a processor throws, the attempt fails with its text and the worker lives on") {
    Events<int> seen;
    Running test({.num_workers = 1});
    test.client.register_queue<Kept>([&](Context& context, const Kept& task) {
        seen.add(task.n);
        if (context.attempt() < 3) return Outcome::retry("first and second");
        switch (task.n) {
            case 0: throw std::runtime_error("a std::exception");
            case 1: throw 42;
            case 2: throw "a text";
            case 3: throw std::string(1, 'x');
            case 4: throw NoText();
            case 5: throw std::runtime_error(std::string(100'000, 'x'));
            case 6: throw std::bad_alloc();
            default: return Outcome::success();
        }
    });
    test.client.start();
    std::vector<TaskId> ids;
    for (int n = 0; n <= 7; ++n) ids.push_back(test.add(Kept{{n}}));
    REQUIRE(seen.wait_for(24));
    CHECK(test.client.stop(20s));
    const auto error = [&](std::size_t n) { return completed_row(test.file, ids[n])->error.value_or("none"); };
    CHECK(error(0) == "a std::exception");
    CHECK(error(1) == "an exception that is no std::exception");
    CHECK(error(2) == "an exception that is no std::exception");
    CHECK(error(3) == "an exception that is no std::exception");
    CHECK(error(4) == "an exception without a text");
    CHECK(error(5) == std::string(4096, 'x'));
    CHECK(error(6) == "std::bad_alloc");
    CHECK(error(7) == "none");
}

TEST_CASE("Exceptions: a backoff that throws or returns a negative time makes the task wait one second") {
    Events<int> attempts;
    Stepping test;
    test.client.register_queue<BrokenBackoff>([&](Context& context, const BrokenBackoff&) {
        attempts.add(context.attempt());
        throw std::runtime_error("again");
    });
    test.client.start();
    const TaskId id = test.test.add(BrokenBackoff{});
    for (std::size_t attempt = 1; attempt <= 3; ++attempt) {
        REQUIRE(attempts.wait_for(attempt));
        const Row row = row_after(test.test.file, id);
        CHECK(row.wait_until == test.now() + 1000);
        CHECK(row.error == "again");
        test.advance(1s);
    }
    CHECK(attempts.wait_for(4));
}

TEST_CASE("Exceptions: a logger that throws anything harms nothing") {
    std::atomic<int> calls{0};
    Events<int> seen;
    const auto logger = backlite::make_logger([&](backlite::LogLevel, std::string_view, auto) {
        if (calls.fetch_add(1) % 2 == 0) throw std::runtime_error("broken logger");
        throw 42;
    });
    {
        Running test({.logger = logger, .num_workers = 2});
        test.client.register_queue<Kept>([&](const Kept& task) {
            seen.add(task.n);
            if (task.n % 2 == 0) throw std::runtime_error("even");
        });
        test.client.start();
        for (int n = 0; n < 20; ++n) (void)test.add(Kept{{n}});
        CHECK(seen.wait_for(10 + 3 * 10));
        CHECK(test.client.stop(20s));
        CHECK(test.client.counts().empty());
    }
    CHECK(calls > 40);
}

TEST_CASE("Exceptions: on_fatal may throw: it is called once, and the client has stopped itself") {
    Events<std::string> fatal;
    Events<int> seen;
    const auto logger = std::make_shared<RecordingLogger>();
    Running test({.logger = logger, .on_fatal = [&](const backlite::Error& error) {
                      fatal.add(error.what());
                      throw 42;
                  }});
    test.client.register_queue<Plain>([&](const Plain& task) { seen.add(task.n); });
    test.client.start();
    (void)test.add(Plain{{1}});
    REQUIRE(seen.wait_for(1));
    std::filesystem::rename(test.file, test.folder.file("moved.db"));
    CHECK(eventually([&] {
        try {
            (void)test.client.add(Plain{{2}}).save();
            return false;
        } catch (const backlite::StorageError&) {
            return true;
        }
    }));
    REQUIRE(fatal.wait_for(1));
    CHECK(contains(fatal.all()[0], "moved"));
    CHECK_THROWS_AS((void)test.client.add(Plain{{3}}).save(), backlite::StorageError);
    (void)test.client.stop(20s);
    CHECK(fatal.count() == 1);
    CHECK(logger->count("on_fatal threw") == 1);
}

}  // namespace
