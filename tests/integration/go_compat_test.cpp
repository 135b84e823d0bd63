// SPDX-License-Identifier: MIT
// Files of Go backlite v0.6, and rows that others write naming only its columns.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <row_time.hpp>
#include <temp_folder.hpp>

// Named: a hook that this file never calls is no mistake.
namespace go_compat_test {

using namespace std::chrono_literals;

using backlite::QueueConfig;

struct Order {
    int id = 0;
    static QueueConfig config() {
        return {.name = "orders", .max_attempts = 3, .backoff = 5s, .retention = backlite::Retention{.duration = 1h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, id)

struct Once {
    int id = 0;
    static QueueConfig config() { return {.name = "once"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Once, id)

}  // namespace go_compat_test

namespace {

using namespace go_compat_test;
using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::testing::ManualClock;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::TempFolder;

// What Go backlite v0.6 runs at each Install.
constexpr const char* go_schema = R"(
CREATE TABLE IF NOT EXISTS backlite_tasks (
    id text PRIMARY KEY, created_at integer NOT NULL, queue text NOT NULL, task blob NOT NULL, wait_until integer,
    claimed_at integer, last_executed_at integer, attempts integer NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS backlite_tasks_completed (
    id text PRIMARY KEY NOT NULL, created_at integer NOT NULL, queue text NOT NULL, last_executed_at integer,
    attempts integer NOT NULL, last_duration_micro integer, succeeded integer, task blob, expires_at integer,
    error text) STRICT;
CREATE INDEX IF NOT EXISTS backlite_tasks_wait_until ON backlite_tasks (wait_until) WHERE wait_until IS NOT NULL;
)";

// One row of the table of tasks, as Go writes it.
struct GoTask {
    std::string id{};
    std::int64_t created_at = 0;
    std::string queue = "orders";
    std::string payload = "{\"id\":1}\n";  // its encoder ends each value with a newline
    std::optional<std::int64_t> wait_until{};
    std::optional<std::int64_t> claimed_at{};
    std::optional<std::int64_t> last_executed_at{};
    std::int64_t attempts = 0;
};

void bind(SQLite::Statement& statement, int index, const std::optional<std::int64_t>& value) {
    if (value) {
        statement.bind(index, *value);
    } else {
        statement.bind(index);
    }
}

void insert(const std::string& file, const GoTask& task) {
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    SQLite::Statement sql(db,
                          "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until, claimed_at, "
                          "last_executed_at, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    sql.bind(1, task.id);
    sql.bind(2, task.created_at);
    sql.bind(3, task.queue);
    sql.bind(4, task.payload.data(), static_cast<int>(task.payload.size()));
    bind(sql, 5, task.wait_until);
    bind(sql, 6, task.claimed_at);
    bind(sql, 7, task.last_executed_at);
    sql.bind(8, task.attempts);
    sql.exec();
}

int number(const std::string& file, const std::string& sql) {
    SQLite::Database db(file, SQLite::OPEN_READONLY, 10'000);
    return db.execAndGet(sql).getInt();
}

std::string id_of(int n) { return fmt::format("018f3c2a-7b1c-7000-8000-{:012}", n); }

// A file that Go made, and a clock that stands still.
struct GoFile {
    TempFolder folder{};
    std::string file = folder.file("go.db");
    std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
    std::int64_t now = backlite_test::row_ms(clock->now());
    Events<std::string> seen{};
    std::unique_ptr<Client> client{};

    GoFile() {
        SQLite::Database db(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        db.exec(go_schema);
    }

    // Opens it here. The processor tells what it sees; number 13 fails.
    void open(ClientConfig config = {}) {
        config.database = file;
        config.clock = clock;
        config.num_workers = 1;
        client = std::make_unique<Client>(std::move(config));
        client->register_queue<Order>([this](Context& context, const Order& order) {
            seen.add(fmt::format("{} attempt {} of {}", order.id, context.attempt(), context.task_id()));
            if (order.id == 13) throw std::runtime_error("unlucky");
        });
        client->register_queue<Once>([this](Context& context, const Once& task) {
            seen.add(fmt::format("once {} attempt {}", task.id, context.attempt()));
        });
    }

    void advance(backlite::Duration duration) const {
        clock->advance(duration);
        client->notify();
    }
};

TEST_CASE("Go's file: its tasks run, immediate ones, due ones and later ones, under their own ids") {
    GoFile go;
    insert(go.file, {.id = id_of(1), .created_at = go.now - 3000, .payload = "{\"id\":1}\n"});
    insert(go.file,
           {.id = id_of(2), .created_at = go.now - 9000, .payload = "{\"id\":2}\n", .wait_until = go.now - 1000});
    insert(go.file,
           {.id = id_of(3), .created_at = go.now - 9000, .payload = "{\"id\":3}\n", .wait_until = go.now + 60'000});
    go.open();
    CHECK(go.client->status(TaskId::parse(id_of(1))) == TaskStatus::pending);
    go.client->start();
    REQUIRE(go.seen.wait_for(2));
    CHECK(go.seen.all() == std::vector<std::string>{"1 attempt 1 of " + id_of(1), "2 attempt 1 of " + id_of(2)});
    go.advance(59'999ms);
    CHECK_FALSE(go.seen.wait_for(3, 30ms));
    CHECK(number(go.file, "SELECT count(*) FROM backlite_tasks WHERE claimed_at IS NULL") == 1);
    go.advance(1ms);
    REQUIRE(go.seen.wait_for(3));
    CHECK(go.seen.all()[2] == "3 attempt 1 of " + id_of(3));
}

TEST_CASE("Go's file: a task that failed there goes on counting here") {
    GoFile go;
    insert(go.file, {.id = id_of(1),
                     .created_at = go.now - 60'000,
                     .payload = "{\"id\":13}\n",
                     .wait_until = go.now - 1,
                     .last_executed_at = go.now - 5001,
                     .attempts = 1});
    go.open();
    go.client->start();
    REQUIRE(go.seen.wait_for(1));
    CHECK(go.seen.all()[0] == "13 attempt 2 of " + id_of(1));
    CHECK(eventually([&] { return number(go.file, "SELECT attempts FROM backlite_tasks") == 2; }));
    go.advance(5s);
    REQUIRE(go.seen.wait_for(2));
    CHECK(eventually([&] { return go.client->status(TaskId::parse(id_of(1))) == TaskStatus::failed; }));
    CHECK(number(go.file, "SELECT attempts FROM backlite_tasks_completed") == 3);
}

TEST_CASE("Go's file: a claim of a process that is gone lapses at claimed_at + release_after, at start") {
    GoFile go;
    insert(go.file, {.id = id_of(1), .created_at = go.now - 900'000, .claimed_at = go.now - 600'000, .attempts = 1});
    go.open({.release_after = 10min});
    CHECK(go.client->status(TaskId::parse(id_of(1))) == TaskStatus::running);
    CHECK(go.client->counts().at(0).running == 1);
    go.client->start();
    REQUIRE(go.seen.wait_for(1));
    CHECK(go.seen.all()[0] == "1 attempt 2 of " + id_of(1));  // Go counts an attempt when it claims
}

TEST_CASE("Go's file: a claim that is not old enough lapses when its time comes, not before") {
    GoFile go;
    insert(go.file, {.id = id_of(1), .created_at = go.now - 900'000, .claimed_at = go.now - 599'000, .attempts = 1});
    go.open({.release_after = 10min});
    go.client->start();
    (void)go.client->add(Order{2}).save();
    REQUIRE(go.seen.wait_for(1));
    go.advance(999ms);
    (void)go.client->add(Order{3}).save();
    REQUIRE(go.seen.wait_for(2));
    CHECK(go.client->status(TaskId::parse(id_of(1))) == TaskStatus::running);
    go.advance(1ms);
    REQUIRE(go.seen.wait_for(3));
    CHECK(go.seen.all()[2] == "1 attempt 2 of " + id_of(1));
}

TEST_CASE("Go's file: a task that died there in its only attempt runs once more") {
    GoFile go;
    insert(go.file, {.id = id_of(1),
                     .created_at = go.now - 900'000,
                     .queue = "once",
                     .claimed_at = go.now - 700'000,
                     .attempts = 1});
    go.open();
    go.client->start();
    REQUIRE(go.seen.wait_for(1));
    CHECK(go.seen.all()[0] == "once 1 attempt 2");
    CHECK(eventually([&] { return number(go.file, "SELECT count(*) FROM backlite_tasks") == 0; }));
}

TEST_CASE("Go's file: a row whose attempts exceed all bounds runs once more, and then has failed") {
    GoFile go;
    insert(go.file, {.id = id_of(1), .created_at = go.now, .queue = "once", .attempts = 5});
    go.open();
    go.client->start();
    REQUIRE(go.seen.wait_for(1));
    CHECK(eventually([&] { return number(go.file, "SELECT count(*) FROM backlite_tasks") == 0; }));
    CHECK(go.client->stop(20s));
    CHECK(go.seen.all() == std::vector<std::string>{"once 1 attempt 6"});
}

TEST_CASE("Go's file: completed tasks keep their rows and have a status, and expired ones are purged") {
    GoFile go;
    {
        SQLite::Database db(go.file, SQLite::OPEN_READWRITE);
        db.exec(
            fmt::format("INSERT INTO backlite_tasks_completed VALUES "
                        "('{}', 1, 'orders', 2, 1, 3, 1, NULL, NULL, NULL), "
                        "('{}', 1, 'orders', 2, 3, 3, 0, CAST('{{\"id\":1}}' || char(10) AS BLOB), {}, 'no luck'), "
                        "('{}', 1, 'orders', 2, 1, 3, 1, NULL, {}, NULL)",
                        id_of(1), id_of(2), go.now + 1000, id_of(3), go.now));
    }
    go.open();
    CHECK(go.client->status(TaskId::parse(id_of(1))) == TaskStatus::succeeded);
    CHECK(go.client->status(TaskId::parse(id_of(2))) == TaskStatus::failed);
    CHECK(go.client->status(TaskId::parse(id_of(3))) == TaskStatus::succeeded);
    go.client->start();
    CHECK(eventually([&] { return go.client->status(TaskId::parse(id_of(3))) == TaskStatus::not_found; }));
    CHECK(number(go.file, "SELECT count(*) FROM backlite_tasks_completed") == 2);
}

TEST_CASE("Go's file: everything in it survives, the host's own tables and version too") {
    GoFile go;
    {
        SQLite::Database db(go.file, SQLite::OPEN_READWRITE);
        db.exec(
            "PRAGMA user_version = 77; PRAGMA application_id = 99; CREATE TABLE users (name); "
            "INSERT INTO users VALUES ('a')");
    }
    insert(go.file, {.id = id_of(1), .created_at = 5, .wait_until = 6, .last_executed_at = 7, .attempts = 1});
    go.open();
    go.client->install();
    CHECK(number(go.file, "PRAGMA user_version") == 77);
    CHECK(number(go.file, "PRAGMA application_id") == 99);
    CHECK(number(go.file, "SELECT count(*) FROM users") == 1);
    CHECK(number(go.file,
                 "SELECT count(*) FROM backlite_tasks WHERE created_at = 5 AND wait_until = 6 AND claimed_at IS NULL "
                 "AND last_executed_at = 7 AND attempts = 1 AND task = CAST('{\"id\":1}' || char(10) AS BLOB)") == 1);
}

TEST_CASE("Go's program: every statement of it works on our file, and so does its Install") {
    GoFile go;
    const TempFolder folder;
    const std::string file = folder.file("ours.db");
    const auto clock = std::make_shared<ManualClock>();
    Client client{{.database = file, .clock = clock}};
    client.register_queue<Order>([](const Order&) { throw std::runtime_error("again"); });
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    db.exec(go_schema);
    db.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) "
        "VALUES ('a', 1, 'theirs', CAST('{}' AS BLOB), NULL)");
    CHECK(db.exec("UPDATE backlite_tasks SET claimed_at = 5, attempts = attempts + 1 WHERE id IN ('a')") == 1);
    CHECK(client.status(TaskId::from_text("a")) == TaskStatus::running);
    CHECK(db.exec("UPDATE backlite_tasks SET claimed_at = NULL, wait_until = 9, last_executed_at = 8 WHERE id = 'a'") ==
          1);
    CHECK(client.status(TaskId::from_text("a")) == TaskStatus::pending);
    CHECK(db.exec("INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
                  "last_duration_micro, succeeded, task, expires_at, error) "
                  "VALUES ('a', 1, 'theirs', 8, 1, 2, 0, NULL, 100, 'no')") == 1);
    CHECK(db.exec("DELETE FROM backlite_tasks WHERE id = 'a'") == 1);
    CHECK(client.status(TaskId::from_text("a")) == TaskStatus::failed);
    CHECK(db.exec("DELETE FROM backlite_tasks_completed WHERE expires_at IS NOT NULL AND expires_at <= 100") == 1);

    // What Go reads of a task that failed once here.
    client.start();
    const std::string id = client.add(Order{1}).save().at(0).str();
    CHECK(eventually([&] { return number(file, "SELECT attempts FROM backlite_tasks") == 1; }));
    SQLite::Statement select(db,
                             "SELECT id, queue, task, attempts, wait_until, created_at, last_executed_at FROM "
                             "backlite_tasks WHERE claimed_at IS NULL OR claimed_at < 1 ORDER BY wait_until ASC, "
                             "id ASC LIMIT 2");
    REQUIRE(select.executeStep());
    const std::int64_t now = backlite_test::row_ms(clock->now());
    CHECK(select.getColumn(0).getString() == id);
    CHECK(select.getColumn(1).getString() == "orders");
    CHECK(select.getColumn(2).getString() == "{\"id\":1}");
    CHECK(select.getColumn(3).getInt() == 1);
    CHECK(select.getColumn(4).getInt64() == now + 5000);
    CHECK(select.getColumn(5).getInt64() == now);
    CHECK(select.getColumn(6).getInt64() == now);
}

TEST_CASE("Go's file: two clients that open it at the same moment both find it ready") {
    for (int round = 0; round < 10; ++round) {
        GoFile go;
        insert(go.file, {.id = id_of(1), .created_at = 1});
        Events<bool> ready;
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < 3; ++i) {
                threads.emplace_back([&] {
                    try {
                        Client client{{.database = go.file}};
                        ready.add(client.status(TaskId::parse(id_of(1))) == TaskStatus::pending);
                    } catch (const std::exception&) {
                        ready.add(false);
                    }
                });
            }
        }
        CHECK(ready.count_of(true) == 3);
    }
}

// Rows of others.

TEST_CASE("Rows of others: any text may be an id, and the row keeps it") {
    GoFile go;
    go.open();
    const std::vector<std::string> ids{
        "", " ", "42", "not-a-uuid", "\xc3\xa4", std::string(5000, 'x'), "'; DROP TABLE"};
    for (const std::string& id : ids) insert(go.file, {.id = id, .created_at = 1, .payload = "{\"id\":13}"});
    go.client->start();
    CHECK(go.seen.wait_for(ids.size()));
    for (int attempt = 2; attempt <= 3; ++attempt) {
        CHECK(eventually([&] {
            return number(go.file, fmt::format("SELECT count(*) FROM backlite_tasks WHERE attempts = {} AND "
                                               "claimed_at IS NULL",
                                               attempt - 1)) == static_cast<int>(ids.size());
        }));
        go.advance(5s);
        CHECK(go.seen.wait_for(ids.size() * static_cast<std::size_t>(attempt)));
    }
    for (const std::string& id : ids) {
        CHECK(eventually([&] { return go.client->status(TaskId::from_text(id)) == TaskStatus::failed; }));
    }
}

TEST_CASE("Rows of others: one whose id is NULL, in a table that is not STRICT, runs once, and its end is written") {
    GoFile go;
    {
        SQLite::Database db(go.file, SQLite::OPEN_READWRITE);
        db.exec(
            "DROP TABLE backlite_tasks; CREATE TABLE backlite_tasks (id text PRIMARY KEY, "
            "created_at integer NOT NULL, queue text NOT NULL, task blob NOT NULL, wait_until integer, "
            "claimed_at integer, last_executed_at integer, attempts integer NOT NULL DEFAULT 0)");
    }
    go.open();
    SQLite::Database db(go.file, SQLite::OPEN_READWRITE, 10'000);
    db.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES (NULL, 1, 'orders', "
        "CAST('{\"id\":1}' AS BLOB)), (NULL, 2, 'orders', CAST('{\"id\":2}' AS BLOB))");
    go.client->start();
    CHECK(go.seen.wait_for(2));
    CHECK(eventually([&] { return number(go.file, "SELECT count(*) FROM backlite_tasks") == 0; }));
    CHECK(go.client->stop(20s));
    CHECK(go.seen.count() == 2);
    CHECK(number(go.file, "SELECT count(*) FROM backlite_tasks_completed WHERE succeeded = 1") == 2);
}

TEST_CASE("Rows of others: no number in a time or a count does harm") {
    GoFile go;
    go.open({.cleanup_interval = 0ms});
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
    insert(go.file, {.id = "1", .created_at = least, .payload = "{\"id\":1}"});
    insert(go.file, {.id = "2", .created_at = 0, .payload = "{\"id\":2}", .wait_until = least});
    insert(go.file, {.id = "3", .created_at = 1, .payload = "{\"id\":3}", .attempts = least});
    insert(go.file, {.id = "4", .created_at = 2, .payload = "{\"id\":4}", .last_executed_at = most});
    insert(go.file, {.id = "5", .created_at = 3, .payload = "{\"id\":5}", .claimed_at = least});
    // By a clock that was wrong: as if they were from now.
    insert(go.file, {.id = "7", .created_at = most, .payload = "{\"id\":7}"});
    insert(go.file, {.id = "8", .created_at = 5, .payload = "{\"id\":8}", .claimed_at = most});
    insert(go.file, {.id = "never", .created_at = 4, .wait_until = most});
    insert(go.file, {.id = "too many", .created_at = 6, .attempts = most});
    go.client->start();
    REQUIRE(go.seen.wait_for(5));
    CHECK(eventually([&] { return go.client->status(TaskId::from_text("too many")) == TaskStatus::failed; }));
    go.advance(24h * 365 * 100);
    (void)go.client->add(Order{6}).save();
    REQUIRE(go.seen.wait_for(8));
    CHECK(go.client->stop(20s));
    std::vector<std::string> seen;
    for (const std::string& line : go.seen.all()) seen.push_back(line.substr(0, line.find(" of")));
    std::sort(seen.begin(), seen.end());
    CHECK(seen == std::vector<std::string>{"1 attempt 1", "2 attempt 1", "3 attempt 1", "4 attempt 1", "5 attempt 1",
                                           "6 attempt 1", "7 attempt 1", "8 attempt 1"});
    CHECK(go.client->status(TaskId::from_text("never")) == TaskStatus::pending);
    CHECK(number(go.file, "SELECT count(*) FROM backlite_tasks_completed WHERE succeeded = 1 AND attempts = 1") == 8);
}

TEST_CASE("Rows of others: written by the sqlite3 shell while the client runs, they run") {
    Events<int> seen;
    if (std::system("command -v sqlite3 >/dev/null 2>&1") != 0) {
        WARN("the sqlite3 shell is not installed");
        return;
    }
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Client client{{.database = file, .num_workers = 1}};
    client.register_queue<Order>([&](const Order& order) { seen.add(order.id); });
    client.start();
    const std::string command = fmt::format("sqlite3 -bail '{}' >'{}' 2>&1", file, folder.file("out"));
    std::FILE* shell = ::popen(command.c_str(), "w");
    REQUIRE(shell != nullptr);
    std::fputs(
        ".timeout 20000\n"
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES "
        "('shell-1', unixepoch() * 1000, 'orders', CAST('{\"id\": 21}' AS BLOB));\n"
        "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) VALUES "
        "('shell-2', unixepoch() * 1000, 'orders', CAST('{\"id\": 22}' AS BLOB), unixepoch() * 1000);\n",
        shell);
    CHECK(::pclose(shell) == 0);
    CHECK(seen.wait_for(2));
    CHECK(client.stop(20s));
    CHECK(seen.all() == std::vector<int>{21, 22});
    CHECK(client.status(TaskId::from_text("shell-1")) == TaskStatus::succeeded);
}

}  // namespace
