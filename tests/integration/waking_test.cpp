// SPDX-License-Identifier: MIT
// How soon a started client notices a task, whoever committed it, and that it starts none too early.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <temp_folder.hpp>
#include <uncapped.hpp>

// Named: a hook that this file never calls is no mistake.
namespace waking_test {

using backlite::QueueConfig;

struct Ping {
    int n = 0;
    static QueueConfig config() { return {.name = "ping"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Ping, n)

struct Unregistered {
    int n = 0;
    static QueueConfig config() { return {.name = "unregistered"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Unregistered, n)

}  // namespace waking_test

namespace {

using namespace waking_test;
using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::Transaction;
using backlite_test::Events;
using backlite_test::TempFolder;
using Steady = std::chrono::steady_clock;

constexpr const char* plain_sql =
    "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES (lower(hex(randomblob(16))), "
    "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), 'ping', CAST('{\"n\":1}' AS BLOB))";

// A process of its own that does one thing whenever it is told. Forked while this one has a single thread.
class Process {
public:
    using Act = std::function<void()>;

    // `prepare` runs in the other process when it is first told, and returns what it does each time.
    explicit Process(const std::function<Act()>& prepare) {
        std::array<int, 2> tell{};
        std::array<int, 2> done{};
        if (::pipe(tell.data()) != 0 || ::pipe(done.data()) != 0) throw std::runtime_error("pipe");
        child_ = ::fork();
        if (child_ == 0) {
            ::close(tell[1]);
            ::close(done[0]);
            serve(prepare, tell[0], done[1]);
        }
        ::close(tell[0]);
        ::close(done[1]);
        tell_ = tell[1];
        done_ = done[0];
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        ::close(tell_);
        ::close(done_);
        int status = 0;
        while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
        }
    }

    // Tells it, and waits until it has done it.
    void act() {
        char byte = 't';
        if (::write(tell_, &byte, 1) != 1 || ::read(done_, &byte, 1) != 1 || byte != 'd') {
            throw std::runtime_error("the other process failed");
        }
    }

private:
    [[noreturn]] static void serve(const std::function<Act()>& prepare, int told, int done) noexcept {
        Act act;
        for (;;) {
            char byte = 0;
            if (::read(told, &byte, 1) != 1) ::_exit(0);
            byte = 'd';
            try {
                if (!act) act = prepare();
                act();
            } catch (const std::exception&) {
                byte = 'x';
            }
            if (::write(done, &byte, 1) != 1) ::_exit(0);
        }
    }

    pid_t child_ = -1;
    int tell_ = -1;
    int done_ = -1;
};

// A started client that tells when its tasks are entered.
struct Waiting {
    Events<Steady::time_point> entered{};
    Client client;

    explicit Waiting(const std::string& file) : client(ClientConfig{.database = file, .num_workers = 1}) {
        client.register_queue<Ping>([this](const Ping&) { entered.add(Steady::now()); });
        client.start();
    }

    // The median of the times from just before a commit until the task is entered. One round may be late on a machine
    // that has much else to do; if commits are not noticed, all are.
    template <class Commit>
    Steady::duration latency(Commit&& commit) {
        constexpr std::size_t rounds = 9;
        std::vector<Steady::duration> times;
        for (std::size_t round = 0; round < rounds; ++round) {
            const std::size_t before = entered.count();
            // What a commit of its own looks at would show it this one too.
            REQUIRE(backlite_test::eventually([this] {
                const auto counts = client.counts();
                return counts.empty() || counts[0].running == 0;
            }));
            const auto start = Steady::now();
            commit();
            REQUIRE(entered.wait_for(before + 1));
            times.push_back(entered.all().at(before) - start);
        }
        std::sort(times.begin(), times.end());
        return times[rounds / 2];
    }
};

constexpr Steady::duration soon = 250ms;

std::string new_file(const TempFolder& folder) {
    std::string file = folder.file("x.db");
    const Client install{{.database = file}};
    return file;
}

TEST_CASE("Waking: an own add starts soon") {
    const TempFolder folder;
    Waiting test(new_file(folder));
    CHECK(test.latency([&] { (void)test.client.add(Ping{}).save(); }) < soon);
}

TEST_CASE("Waking: the commit of a Transaction starts its tasks soon, without notify") {
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    CHECK(test.latency([&] {
        Transaction tx{test.client, db};
        (void)test.client.add(Ping{}).tx(tx).save();
        tx.commit();
    }) < soon);
}

TEST_CASE("Waking: the commit of the host's own transaction starts its tasks soon, without notify") {
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    CHECK(test.latency([&] {
        SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
        (void)test.client.add(Ping{}).tx(db).save();
        transaction.commit();
    }) < soon);
}

TEST_CASE("Waking: plain SQL on another connection of the process starts soon") {
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    CHECK(test.latency([&] { db.exec(plain_sql); }) < soon);
}

// Commits a task on the dispatcher's thread once that has taken a look after a long pause: the last of a series.
struct CommitsAfterLastLook {
    explicit CommitsAfterLastLook(const std::string& file) : db(file, SQLite::OPEN_READWRITE, 10'000) {}

    static int on_profile(unsigned, void* self, void* statement, void*) noexcept {
        const char* const sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
        if (sql != nullptr && std::string_view{sql} == "PRAGMA data_version") {
            static_cast<CommitsAfterLastLook*>(self)->looked();
        }
        return 0;
    }
    void looked() {
        const auto now = Steady::now();
        const auto pause = now - std::exchange(last, now);
        if (!armed || pause < 350ms) return;
        armed = false;
        db.exec(plain_sql);
        std::this_thread::sleep_for(100ms);  // by then the event is there
    }

    SQLite::Database db;
    Steady::time_point last = Steady::now();
    std::atomic<bool> armed{false};
};

TEST_CASE("Waking: a commit that comes right behind a look is not lost with the look's own signals") {
    const backlite_test::Uncapped uncapped;
    const TempFolder folder;
    const std::string file = new_file(folder);
    CommitsAfterLastLook hook(file);
    Events<bool> entered;
    ClientConfig config{.database = file, .num_workers = 1};
    config.open = [&hook, file] {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        sqlite3_trace_v2(database.getHandle(), SQLITE_TRACE_PROFILE, CommitsAfterLastLook::on_profile, &hook);
        return database;
    };
    Client client{config};
    client.register_queue<Ping>([&](const Ping&) { entered.add(true); });
    client.start();
    std::this_thread::sleep_for(1200ms);  // a client that has just started looks more often
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    hook.armed = true;
    db.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1000, 'unregistered', "
        "CAST('{\"n\":1}' AS BLOB))");
    CHECK(entered.wait_for(1));
}

TEST_CASE("Waking: an add of another client of the process starts soon") {
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    Client other{{.database = file}};
    CHECK(test.latency([&] { (void)other.add(Ping{}).save(); }) < soon);
}

TEST_CASE("Waking: plain SQL in another process starts soon") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Process other([&file]() -> Process::Act {
        const auto db = std::make_shared<SQLite::Database>(file, SQLite::OPEN_READWRITE, 10'000);
        return [db] { db->exec(plain_sql); };
    });
    Waiting test(file);
    CHECK(test.latency([&] { other.act(); }) < soon);
}

TEST_CASE("Waking: a connection that another process opens for each commit starts soon") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Process other([&file]() -> Process::Act {
        return [&file] { SQLite::Database(file, SQLite::OPEN_READWRITE, 10'000).exec(plain_sql); };
    });
    Waiting test(file);
    CHECK(test.latency([&] { other.act(); }) < soon);
}

TEST_CASE("Waking: an add of a client in another process starts soon") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Process other([&file]() -> Process::Act {
        const auto client = std::make_shared<Client>(ClientConfig{.database = file});
        return [client] { (void)client->add(Ping{}).save(); };
    });
    Waiting test(file);
    CHECK(test.latency([&] { other.act(); }) < soon);
}

TEST_CASE("Waking: goes on after others have checkpointed, truncated the log, or rewritten the file") {
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    for (const char* sql : {"PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(PASSIVE)"}) {
        sqlite3_exec(db.getHandle(), sql, nullptr, nullptr, nullptr);
        CHECK(test.latency([&] { db.exec(plain_sql); }) < soon);
    }
}

TEST_CASE("Waking: tasks that a started client adds for another client's queue start soon there") {
    Events<int> seen;
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    Client other{{.database = file, .num_workers = 1}};
    other.register_queue<Unregistered>([&](const Unregistered& task) { seen.add(task.n); });
    other.start();
    CHECK(test.latency([&] { (void)other.add(Ping{}).save(); }) < soon);
    CHECK(seen.count() == 0);
}

TEST_CASE("Waking: nothing of a transaction starts before its commit, and nothing of one rolled back ever") {
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    db.exec("BEGIN IMMEDIATE");
    const std::vector<TaskId> first = test.client.add(Ping{}).tx(db).save();
    test.client.notify();
    CHECK_FALSE(test.entered.wait_for(1, 50ms));
    CHECK(test.client.status(first.at(0)) == TaskStatus::not_found);
    db.exec("COMMIT");
    CHECK(test.entered.wait_for(1));
    db.exec("BEGIN IMMEDIATE");
    const std::vector<TaskId> second = test.client.add(Ping{}).tx(db).save();
    db.exec("ROLLBACK");
    test.client.notify();
    (void)test.client.add(Ping{}).save();
    CHECK(test.entered.wait_for(2));
    CHECK(test.client.stop(20s));
    CHECK(test.entered.count() == 2);
    CHECK(test.client.status(second.at(0)) == TaskStatus::not_found);
}

TEST_CASE("Waking: a scheduled task starts at its time, not before") {
    Events<backlite::TimePoint> entered;
    const TempFolder folder;
    const std::string file = new_file(folder);
    Client client{{.database = file, .num_workers = 1}};
    client.register_queue<Ping>([&](const Ping&) { entered.add(std::chrono::system_clock::now()); });
    client.start();
    (void)client.add(Ping{}).wait(1h).save();  // behind which the dispatcher sleeps
    std::vector<std::chrono::milliseconds> late;
    for (std::size_t round = 0; round < 9; ++round) {
        const auto due = std::chrono::ceil<std::chrono::milliseconds>(std::chrono::system_clock::now()) + 60ms;
        (void)client.add(Ping{}).at(due).save();
        REQUIRE(entered.wait_for(round + 1));
        const auto after = entered.all().at(round) - due;
        CHECK(after >= 0ms);
        late.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(after));
    }
    std::sort(late.begin(), late.end());
    CHECK(late[4] < soon);
}

TEST_CASE("Waking: a scheduled task of another process starts at its time") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Process other([&file]() -> Process::Act {
        const auto client = std::make_shared<Client>(ClientConfig{.database = file});
        return [client] { (void)client->add(Ping{}).wait(60ms).save(); };
    });
    Waiting test(file);
    CHECK(test.latency([&] { other.act(); }) < soon + 60ms);
}

TEST_CASE("Waking: a task that is due before those known already does not wait behind them") {
    const TempFolder folder;
    const std::string file = new_file(folder);
    Waiting test(file);
    (void)test.client.add(std::vector<Ping>(100)).wait(1h).save();
    CHECK(test.latency([&] { (void)test.client.add(Ping{}).wait(1ms).save(); }) < soon);
}

TEST_CASE("Waking: notify is harmless at any time, from any thread, however often") {
    Events<int> seen;
    const TempFolder folder;
    Client client{{.database = folder.file("x.db"), .num_workers = 2}};
    client.register_queue<Ping>([&](const Ping& task) {
        seen.add(task.n);
        client.notify();
    });
    client.notify();
    client.start();
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 3; ++i) {
            threads.emplace_back([&] {
                for (int n = 0; n < 3000; ++n) client.notify();
            });
        }
        for (int n = 0; n < 50; ++n) (void)client.add(Ping{n}).save();
    }
    CHECK(seen.wait_for(50));
    CHECK(client.stop(20s));
    client.notify();
    CHECK(seen.count() == 50);
    CHECK(client.counts().empty());
}

}  // namespace
