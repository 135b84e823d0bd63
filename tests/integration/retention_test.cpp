// SPDX-License-Identifier: MIT
// What is left of finished tasks, and when that is deleted: the rules of Go backlite, and this library's exception for
// tasks that it gave up on.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <recording_logger.hpp>
#include <row_time.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Outcome;
using backlite::QueueConfig;
using backlite::RetainData;
using backlite::Retention;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::testing::ManualClock;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::RecordingLogger;
using backlite_test::TempFolder;

enum class Keep { nothing, no_payload, payload, failed_payload, failed, failed_with_payload, a_day };

// A queue for each way of keeping.
template <Keep keep>
struct Task {
    int n = 0;
    static QueueConfig config();
};
template <Keep keep>
void to_json(nlohmann::json& json, const Task<keep>& task) {
    json = {{"n", task.n}};
}
template <Keep keep>
void from_json(const nlohmann::json& json, Task<keep>& task) {
    json.at("n").get_to(task.n);
}

std::optional<Retention> retention_of(Keep keep) {
    switch (keep) {
        case Keep::nothing: return std::nullopt;
        case Keep::no_payload: return Retention{};
        case Keep::payload: return Retention{.data = RetainData{}};
        case Keep::failed_payload: return Retention{.data = RetainData{.only_failed = true}};
        case Keep::failed: return Retention{.only_failed = true};
        case Keep::failed_with_payload: return Retention{.only_failed = true, .data = RetainData{.only_failed = true}};
        case Keep::a_day: break;
    }
    return Retention{.duration = 24h};
}

template <Keep keep>
QueueConfig Task<keep>::config() {
    return {.name = fmt::format("queue{}", static_cast<int>(keep)), .max_attempts = 2, .retention = retention_of(keep)};
}

struct Kept {
    std::int64_t created_at = 0;
    std::string queue{};
    std::int64_t last_executed_at = 0;
    std::int64_t attempts = 0;
    std::int64_t last_duration_micro = 0;
    std::int64_t succeeded = -1;
    std::optional<std::string> payload{};
    std::optional<std::int64_t> expires_at{};
    std::optional<std::string> error{};
};

std::optional<Kept> kept_row(const std::string& file, const TaskId& id) {
    SQLite::Database db(file, SQLite::OPEN_READONLY, 10'000);
    SQLite::Statement select(db,
                             "SELECT created_at, queue, last_executed_at, attempts, last_duration_micro, succeeded, "
                             "task, expires_at, error FROM backlite_tasks_completed WHERE id = ?");
    select.bind(1, id.str());
    if (!select.executeStep()) return std::nullopt;
    Kept row{select.getColumn(0).getInt64(), select.getColumn(1).getString(), select.getColumn(2).getInt64(),
             select.getColumn(3).getInt64(), select.getColumn(4).getInt64(),  select.getColumn(5).getInt64()};
    if (!select.isColumnNull(6)) row.payload = select.getColumn(6).getString();
    if (!select.isColumnNull(7)) row.expires_at = select.getColumn(7).getInt64();
    if (!select.isColumnNull(8)) row.error = select.getColumn(8).getString();
    return row;
}

int count(const std::string& file, const char* sql) {
    SQLite::Database db(file, SQLite::OPEN_READONLY, 10'000);
    return db.execAndGet(sql).getInt();
}

struct Retaining {
    TempFolder folder{};
    std::string file = folder.file("x.db");
    std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
    Client client;

    explicit Retaining(ClientConfig config = {}) : client(filled(std::move(config))) {}

    // Adds one task, runs it to its end, and stops.
    template <Keep keep>
    TaskId run(bool succeeds) {
        client.register_queue<Task<keep>>([this, succeeds](const Task<keep>&) {
            clock->advance(7ms);
            if (!succeeds) throw std::runtime_error("no luck");
        });
        const TaskId id = client.add(Task<keep>{5}).save().at(0);
        client.start();
        CHECK(eventually([&] { return count(file, "SELECT count(*) FROM backlite_tasks") == 0; }));
        CHECK(client.stop(20s));
        return id;
    }

private:
    ClientConfig filled(ClientConfig config) {
        config.database = file;
        config.clock = clock;
        config.num_workers = 1;
        return config;
    }
};

// The row that is left of one task; nullopt: none.
template <Keep keep>
std::optional<Kept> left_of(bool succeeds) {
    Retaining test;
    const TaskId id = test.run<keep>(succeeds);
    const std::optional<Kept> row = kept_row(test.file, id);
    const TaskStatus expected = !row ? TaskStatus::not_found : succeeds ? TaskStatus::succeeded : TaskStatus::failed;
    CHECK(test.client.status(id) == expected);
    return row;
}

TEST_CASE("Retention: without it finished tasks vanish, whether they succeeded or failed") {
    CHECK_FALSE(left_of<Keep::nothing>(true));
    CHECK_FALSE(left_of<Keep::nothing>(false));
}

TEST_CASE("Retention: keeps all finished tasks, or only those that failed") {
    CHECK(left_of<Keep::no_payload>(true));
    CHECK(left_of<Keep::no_payload>(false));
    CHECK_FALSE(left_of<Keep::failed>(true));
    CHECK(left_of<Keep::failed>(false));
    CHECK_FALSE(left_of<Keep::failed_with_payload>(true));
    CHECK(left_of<Keep::failed_with_payload>(false));
}

TEST_CASE("Retention: keeps the payload never, always, or of failed tasks only") {
    const std::optional<std::string> payload = R"({"n":5})";
    CHECK(left_of<Keep::no_payload>(true)->payload == std::nullopt);
    CHECK(left_of<Keep::no_payload>(false)->payload == std::nullopt);
    CHECK(left_of<Keep::payload>(true)->payload == payload);
    CHECK(left_of<Keep::payload>(false)->payload == payload);
    CHECK(left_of<Keep::failed_payload>(true)->payload == std::nullopt);
    CHECK(left_of<Keep::failed_payload>(false)->payload == payload);
    CHECK(left_of<Keep::failed>(false)->payload == std::nullopt);
    CHECK(left_of<Keep::failed_with_payload>(false)->payload == payload);
}

TEST_CASE("Retention: a kept row tells times, attempts, duration and error as Go's does") {
    Retaining test;
    const std::int64_t start = backlite_test::row_ms(test.clock->now());
    SECTION("of a success") {
        const std::optional<Kept> row = kept_row(test.file, test.run<Keep::a_day>(true));
        REQUIRE(row);
        CHECK(row->created_at == start);
        CHECK(row->queue == "queue6");
        CHECK(row->last_executed_at == start);
        CHECK(row->attempts == 1);
        CHECK(row->last_duration_micro == 7000);
        CHECK(row->succeeded == 1);
        CHECK(row->error == std::nullopt);
        CHECK(row->expires_at == start + 7 + 86'400'000);
    }
    SECTION("of a failure") {
        const std::optional<Kept> row = kept_row(test.file, test.run<Keep::a_day>(false));
        REQUIRE(row);
        CHECK(row->created_at == start);
        CHECK(row->last_executed_at == start + 7);  // the second attempt
        CHECK(row->attempts == 2);
        CHECK(row->last_duration_micro == 7000);
        CHECK(row->succeeded == 0);
        CHECK(row->error == "no luck");
        CHECK(row->expires_at == start + 14 + 86'400'000);
    }
}

TEST_CASE("Retention: a duration of zero keeps for ever") {
    CHECK(left_of<Keep::no_payload>(true)->expires_at == std::nullopt);
    CHECK(left_of<Keep::payload>(false)->expires_at == std::nullopt);
}

TEST_CASE("Retention: an error without text is an error still") {
    Retaining test;
    test.client.register_queue<Task<Keep::no_payload>>(
        [](const Task<Keep::no_payload>&) { return Outcome::discard(""); });
    test.client.start();
    const TaskId id = test.client.add(Task<Keep::no_payload>{}).save().at(0);
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::failed; }));
    CHECK(count(test.file, "SELECT count(*) FROM backlite_tasks_completed WHERE error = '' AND succeeded = 0") == 1);
}

TEST_CASE("Retention: no column that Go reads as never NULL is NULL") {
    Retaining test;
    (void)test.run<Keep::a_day>(true);
    (void)test.run<Keep::payload>(false);
    CHECK(count(test.file,
                "SELECT count(*) FROM backlite_tasks_completed WHERE last_executed_at IS NULL OR "
                "last_duration_micro IS NULL OR succeeded IS NULL OR (succeeded = 1) <> (error IS NULL)") == 0);
    CHECK(count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 2);
}

TEST_CASE("Retention: a snoozed or retried task leaves no row before its end") {
    Events<int> seen;
    Retaining test;
    test.client.register_queue<Task<Keep::payload>>([&](Context& context, const Task<Keep::payload>&) {
        seen.add(context.attempt());
        return seen.count() == 1 ? Outcome::retry("again") : Outcome::snooze(1h);
    });
    test.client.start();
    const TaskId id = test.client.add(Task<Keep::payload>{}).save().at(0);
    REQUIRE(seen.wait_for(2));
    CHECK(test.client.stop(20s));
    CHECK(test.client.status(id) == TaskStatus::pending);
    CHECK(count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 0);
}

TEST_CASE("Retention: the id of an old kept task may come again") {
    Retaining test;
    const TaskId id = test.run<Keep::payload>(false);
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE, 10'000);
    SQLite::Statement insert(db,
                             "INSERT INTO backlite_tasks (id, created_at, queue, task) "
                             "VALUES (?, 1, 'queue2', CAST('{\"n\":9}' AS BLOB))");
    insert.bind(1, id.str());
    insert.exec();
    test.client.start();
    CHECK(eventually([&] { return count(test.file, "SELECT count(*) FROM backlite_tasks") == 0; }));
    CHECK(test.client.stop(20s));
    const std::optional<Kept> row = kept_row(test.file, id);
    REQUIRE(row);
    CHECK(row->payload == R"({"n":9})");
    CHECK(row->created_at == 1);
}

// Given up.

TEST_CASE("Given up: an unreadable task is kept with payload and error for seven days if its queue keeps nothing") {
    Retaining test;
    const std::int64_t start = backlite_test::row_ms(test.clock->now());
    test.client.register_queue<Task<Keep::nothing>>([](const Task<Keep::nothing>&) {});
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE, 10'000);
    db.exec("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1, 'queue0', CAST('{n' AS BLOB))");
    test.client.start();
    const TaskId id = TaskId::from_text("x");
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::failed; }));
    const std::optional<Kept> row = kept_row(test.file, id);
    REQUIRE(row);
    CHECK(row->payload == "{n");
    REQUIRE(row->error);
    CHECK(row->error->starts_with("its payload cannot be read: "));
    CHECK(row->attempts == 2);
    CHECK(row->last_executed_at == start);
    CHECK(row->last_duration_micro == 0);
    CHECK(row->succeeded == 0);
    CHECK(row->expires_at == start + std::int64_t{7} * 86'400'000);
}

TEST_CASE("Given up: the queue's retention says how long, but the payload and the error are kept whatever it says") {
    Retaining test;
    const std::int64_t start = backlite_test::row_ms(test.clock->now());
    test.client.register_queue<Task<Keep::a_day>>([](const Task<Keep::a_day>&) {});
    test.client.register_queue<Task<Keep::no_payload>>([](const Task<Keep::no_payload>&) {});
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE, 10'000);
    db.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES "
        "('day', 1, 'queue6', CAST('[]' AS BLOB)), ('ever', 1, 'queue1', CAST('7' AS BLOB))");
    test.client.start();
    CHECK(eventually([&] { return count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 2; }));
    const std::optional<Kept> day = kept_row(test.file, TaskId::from_text("day"));
    const std::optional<Kept> ever = kept_row(test.file, TaskId::from_text("ever"));
    REQUIRE((day && ever));
    CHECK(day->payload == "[]");
    CHECK(day->expires_at == start + 86'400'000);
    CHECK(ever->payload == "7");
    CHECK(ever->expires_at == std::nullopt);
}

// Purging.

void insert_expired(const std::string& file, int rows, std::int64_t expires_at) {
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    SQLite::Statement insert(
        db,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) "
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, last_duration_micro, "
        "succeeded, task, expires_at, error) SELECT lower(hex(randomblob(16))), 1, 'old', 2, 1, 3, 1, NULL, ?2, NULL "
        "FROM n");
    insert.bind(1, rows);
    insert.bind(2, expires_at);
    insert.exec();
}

TEST_CASE("Purge: deletes what has expired at start, in chunks, and nothing else") {
    const auto logger = std::make_shared<RecordingLogger>();
    Retaining test({.logger = logger});
    const std::int64_t now = backlite_test::row_ms(test.clock->now());
    insert_expired(test.file, 1200, now);  // expires now: is over
    insert_expired(test.file, 10, now + 1);
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE, 10'000);
    db.exec("INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts) VALUES ('for ever', 1, 'old', 1)");
    test.client.start();
    CHECK(eventually([&] { return count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 11; }));
    CHECK(eventually([&] { return logger->count("purged expired tasks tasks=200") == 1; }));
    CHECK(logger->count("purged expired tasks tasks=500") == 2);
    CHECK(test.client.stop(20s));
    CHECK(count(test.file, "SELECT count(*) FROM backlite_tasks_completed WHERE id = 'for ever'") == 1);
}

TEST_CASE("Purge: comes again every cleanup_interval") {
    const auto logger = std::make_shared<RecordingLogger>();
    Retaining test({.logger = logger, .cleanup_interval = 10min});
    const std::int64_t now = backlite_test::row_ms(test.clock->now());
    insert_expired(test.file, 3, now);
    test.client.start();
    CHECK(eventually([&] { return logger->count("purged expired tasks tasks=3") == 1; }));
    for (int round = 1; round <= 2; ++round) {
        insert_expired(test.file, 5, now);
        test.clock->advance(10min - 1ms);
        test.client.notify();
        CHECK_FALSE(
            eventually([&] { return count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 0; }, 30ms));
        test.clock->advance(1ms);
        test.client.notify();
        CHECK(eventually([&] { return count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 0; }));
    }
    CHECK(eventually([&] { return logger->count("purged expired tasks tasks=5") == 2; }));
}

TEST_CASE("Purge: never, with a cleanup_interval of zero") {
    const auto logger = std::make_shared<RecordingLogger>();
    Retaining test({.logger = logger, .cleanup_interval = 0ms});
    insert_expired(test.file, 3, 1);
    (void)test.run<Keep::nothing>(true);
    test.clock->advance(24h * 365);
    test.client.start();
    (void)test.client.add(Task<Keep::nothing>{}).save();
    CHECK(eventually([&] { return count(test.file, "SELECT count(*) FROM backlite_tasks") == 0; }));
    CHECK(test.client.stop(20s));
    CHECK(count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 3);
    CHECK(logger->count("purged") == 0);
}

TEST_CASE("Purge: tasks run while thousands of rows are purged, and both come to an end") {
    Events<int> seen;
    Retaining test;
    insert_expired(test.file, 5000, 1);
    test.client.register_queue<Task<Keep::nothing>>([&](const Task<Keep::nothing>& task) { seen.add(task.n); });
    test.client.start();
    for (int n = 0; n < 20; ++n) (void)test.client.add(Task<Keep::nothing>{n}).save();
    CHECK(seen.wait_for(20));
    CHECK(eventually([&] { return count(test.file, "SELECT count(*) FROM backlite_tasks_completed") == 0; }));
}

TEST_CASE("Purge: what a queue keeps for a day is gone after a day") {
    Retaining test;
    const TaskId id = test.run<Keep::a_day>(true);
    test.clock->advance(24h - 1ms);
    test.client.start();
    CHECK(test.client.stop(20s));
    CHECK(test.client.status(id) == TaskStatus::succeeded);
    test.clock->advance(1ms);
    test.client.start();
    CHECK(eventually([&] {
        test.clock->advance(1min);  // a client that was off for a day believes its clock after an hour
        test.client.notify();
        return test.client.status(id) == TaskStatus::not_found;
    }));
}

TEST_CASE("Purge: a clock that is a year ahead at a start deletes nothing before it has been so for an hour") {
    Retaining test;
    const TaskId id = test.run<Keep::a_day>(true);
    test.clock->jump(24h * 365);
    Events<int> ran;
    test.client.register_queue<Task<Keep::nothing>>([&](const Task<Keep::nothing>& task) { ran.add(task.n); });
    test.client.start();
    const auto round = [&](int n) {  // it has looked at the clock, and written, since
        (void)test.client.add(Task<Keep::nothing>{n}).at(test.clock->now()).save();
        REQUIRE(ran.wait_for(static_cast<std::size_t>(n)));
    };
    round(1);
    test.clock->advance(30min);
    round(2);
    CHECK(test.client.stop(20s));
    CHECK(test.client.status(id) == TaskStatus::succeeded);
    // A second start does not make it more credible.
    test.client.start();
    round(3);
    CHECK(test.client.status(id) == TaskStatus::succeeded);
    test.clock->advance(1h);
    test.client.notify();
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::not_found; }));
}

TEST_CASE("Purge: a clock that is set ahead deletes nothing, and once it is set right neither") {
    Retaining test;
    const TaskId id = test.run<Keep::a_day>(true);
    Events<int> ran;
    test.client.register_queue<Task<Keep::nothing>>([&](const Task<Keep::nothing>& task) { ran.add(task.n); });
    test.client.start();
    test.clock->advance(2h);  // it was believed
    const auto round = [&](int n) {
        (void)test.client.add(Task<Keep::nothing>{n}).at(test.clock->now()).save();
        test.client.notify();
        REQUIRE(ran.wait_for(static_cast<std::size_t>(n)));
    };
    round(1);
    test.clock->advance(30min);
    round(2);
    test.clock->jump(24h * 365);
    round(3);
    test.clock->advance(50min);  // the next purge comes
    round(4);
    test.clock->jump(-24h * 365);
    round(5);
    test.clock->advance(2h);
    round(6);
    CHECK(test.client.status(id) == TaskStatus::succeeded);
}

}  // namespace
