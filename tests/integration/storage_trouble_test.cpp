// SPDX-License-Identifier: MIT
// What clients do when the file is locked, full, damaged, moved or gone.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <faulty_vfs.hpp>
#include <temp_folder.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Added;
using backlite::BusyError;
using backlite::Cancelled;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::Context;
using backlite::CorruptError;
using backlite::FullError;
using backlite::StorageError;
using backlite::TaskId;
using backlite::TaskStatus;

struct Work {
    std::string name{};
    std::string ballast{};
    static backlite::QueueConfig config() {
        return {.name = "work", .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name, ballast)

struct Timed {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "timed", .timeout = 100ms}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Timed, name)

// Nobody registers it.
struct Stray {
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "stray"}; }
};
void to_json(nlohmann::json& json, const Stray& stray) { json = stray.number; }
[[maybe_unused]] void from_json(const nlohmann::json& json, Stray& stray) { json.get_to(stray.number); }

// Overwrites a part of a file from another process: closing a descriptor of it here would drop SQLite's locks.
void overwrite(const std::string& file, off_t offset, std::size_t size) {
    static const std::array<char, 65536> garbage = [] {
        std::array<char, 65536> bytes{};
        bytes.fill('\x5a');
        return bytes;
    }();
    const pid_t pid = ::fork();
    if (pid == 0) {
        const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
        ::_exit(fd >= 0 && ::pwrite(fd, garbage.data(), size, offset) == static_cast<ssize_t>(size) ? 0 : 1);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
}

// A client, what it logs, and what it calls fatal.
struct Scene : Story {
    explicit Scene(const std::function<void(ClientConfig&)>& change = [](ClientConfig&) {}) {
        config.on_fatal = [this](const backlite::Error& error) {
            journal.note(error.what());
            journal.note("fatal");
        };
        change(config);
    }

    // Whether a client said so when it stopped itself.
    [[nodiscard]] bool fatal_names(const std::string& text) const {
        const std::vector<std::string> entries = journal.entries();
        return std::any_of(entries.begin(), entries.end(),
                           [&](const std::string& entry) { return entry.find(text) != std::string::npos; });
    }
};

std::unique_ptr<Client> started(const Scene& scene) {
    auto client = std::make_unique<Client>(scene.config);
    client->register_queue<Work>([](const Work&) {});
    client->start();
    return client;
}

// What holds for each client that has stopped itself.
void check_stopped_itself(Scene& scene, std::unique_ptr<Client>& client) {
    CHECK(scene.log->await({"error the client stops itself"}));
    CHECK(scene.log->await({"task dispatcher stopping"}));
    CHECK_THROWS_AS(client->add(Work{"too late"}).save(), StorageError);
    (void)client->stop(1h);
    CHECK(client->stop(0ms));
    CHECK_THROWS_AS(client->start(), StorageError);
    client.reset();
    CHECK(scene.journal.count("fatal") == 1);
    CHECK(scene.log->count({"error the client stops itself"}) == 1);
}

// ---- locked ---------------------------------------------------------------------------------------------------------

TEST_CASE("locked: outcomes are kept and written later, timeouts fire meanwhile, and nothing runs twice") {
    Scene scene([](ClientConfig& config) { config.busy_timeout = 100ms; });
    Gate gate;
    Client client{scene.config};
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work& work) {
        scene.journal.note(work.name);
        gate.pass();
    });
    client.register_queue<Timed>([&](Context& context, const Timed&) {
        scene.journal.note("timed");
        gate.pass();
        scene.journal.note("armed");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        scene.journal.note(std::string{to_string(context.stop_reason())});
    });
    const TaskId work = client.add(Work{"work", ""}).save().front();
    const TaskId timed = client.add(Timed{}).save().front();
    client.start();
    REQUIRE(scene.journal.await("work"));
    REQUIRE(scene.journal.await("timed"));
    {
        const WriteLock others(scene.file);
        gate.open();
        CHECK(scene.journal.await("timeout"));
        CHECK(scene.log->await({"error storage error"}));
        CHECK(client.status(work) == TaskStatus::running);
        CHECK(client.status(timed) == TaskStatus::running);
    }
    REQUIRE(eventually([&] { return client.status(work) == TaskStatus::succeeded; }));
    REQUIRE(eventually([&] { return client.status(timed) == TaskStatus::not_found; }));
    CHECK(scene.log->await({"info storage works again"}));
    CHECK(client.stop(1h));
    CHECK(scene.journal.count("work") == 1);
    CHECK(scene.journal.count("timed") == 1);
    CHECK(scene.journal.count("fatal") == 0);
}

TEST_CASE("locked: an outcome that could not be written before the clock was set back delays no attempt") {
    const auto clock = std::make_shared<backlite::testing::ManualClock>();
    Scene scene([&](ClientConfig& config) { config.clock = clock; });
    Gate gate;
    Client client{scene.config};
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work&) {
        scene.journal.note("inside");
        gate.pass();
        scene.journal.note("out");
        return backlite::Outcome::snooze(5s);
    });
    static_cast<void>(client.add(Work{"work", ""}).save());
    client.start();
    REQUIRE(scene.journal.await("inside"));
    {
        const WriteLock others(scene.file);
        gate.open();
        REQUIRE(scene.journal.await("out"));
        std::this_thread::sleep_for(20ms);  // the outcome is made by the clock as it was
        clock->jump(-24h);
    }
    CHECK(eventually([&] {
        clock->advance(100ms);
        client.notify();
        return scene.journal.count("inside") > 1;
    }));
}

TEST_CASE("locked: a client whose clock stands still tries again all the same") {
    const auto clock = std::make_shared<backlite::testing::ManualClock>();
    Scene scene([&](ClientConfig& config) { config.clock = clock; });
    Gate gate;
    Client client{scene.config};
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work&) {
        scene.journal.note("inside");
        gate.pass();
    });
    const TaskId id = client.add(Work{"work", ""}).save().at(0);
    client.start();
    REQUIRE(scene.journal.await("inside"));
    {
        const WriteLock others(scene.file);
        gate.open();
        std::this_thread::sleep_for(300ms);  // several tries to write the outcome
        CHECK(client.status(id) == TaskStatus::running);
    }
    CHECK(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
}

TEST_CASE("locked: an add gives up after busy_timeout or when its stop token fires, and adds nothing") {
    Scene scene([](ClientConfig& config) { config.busy_timeout = 150ms; });
    Client client{scene.config};
    {
        const WriteLock others(scene.file);
        CHECK_THROWS_AS(client.add(Work{"a", ""}).save(), BusyError);
        std::stop_source source;
        std::thread firing([&] { source.request_stop(); });
        CHECK_THROWS_AS(client.add(Work{"b", ""}).stop_token(source.get_token()).save(), Cancelled);
        firing.join();
    }
    CHECK(client.counts().empty());
    CHECK_NOTHROW(client.add(Work{"c", ""}).save());
}

TEST_CASE("locked: with a busy_timeout of zero a client works as long as nobody is in its way") {
    Scene scene([](ClientConfig& config) { config.busy_timeout = 0ms; });
    std::atomic<int> ran{0};
    Client client{scene.config};
    client.register_queue<Work>([&](const Work&) { ++ran; });
    client.start();
    std::vector<std::thread> producers;
    std::atomic<int> refused{0};
    for (int i = 0; i < 4; ++i) {
        producers.emplace_back([&] {
            for (int round = 0; round < 50; ++round) {
                try {
                    client.add(Work{"a", ""}).save();
                } catch (const BusyError&) {
                    ++refused;
                }
            }
        });
    }
    for (std::thread& producer : producers) producer.join();
    CHECK(refused == 0);
    CHECK(eventually([&] { return ran == 200; }));
    {
        const WriteLock others(scene.file);
        CHECK_THROWS_AS(client.add(Work{"b", ""}).save(), BusyError);
    }
    CHECK(client.stop(1h));
}

TEST_CASE("locked: after a lock that blocked only looks at the file, the dispatcher sleeps again") {
    auto clock = std::make_shared<CountingClock>();
    Scene scene([&](ClientConfig& config) {
        config.clock = clock;
        config.busy_timeout = 200ms;
    });
    Client client{scene.config};
    client.register_queue<Work>([](const Work&) {});
    client.start();
    {
        WriteLock others(scene.file);
        // Writes that wait for the lock, and looks at the file behind them that give up.
        std::atomic<bool> over{false};
        std::thread adding([&] {
            while (!over) {
                try {
                    client.add(Stray{}).save();
                } catch (const BusyError&) {
                }
            }
        });
        CHECK(eventually([&] {
            client.notify();
            return scene.log->count({"error storage error"}) > 0;
        }));
        over = true;
        others.release();
        adding.join();
    }
    CHECK(scene.log->await({"info storage works again"}));
    CHECK(clock->reads_during(300ms) < 2000);
    CHECK(client.stop(1h));
}

TEST_CASE("locked: a start that cannot write throws, and works once it can") {
    Scene scene([](ClientConfig& config) { config.busy_timeout = 100ms; });
    std::atomic<int> ran{0};
    Client client{scene.config};
    client.register_queue<Work>([&](const Work&) { ++ran; });
    client.add(Work{"a", ""}).save();
    {
        const WriteLock others(scene.file);
        CHECK_THROWS_AS(client.start(), BusyError);
        CHECK(client.stop(1h));
    }
    client.start();
    CHECK(eventually([&] { return ran == 1; }));
    CHECK(client.stop(1h));
}

TEST_CASE("locked: a start waits for a stop that has only outcomes left to write") {
    Scene scene;
    Gate gate;
    Client client{scene.config};
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work& work) {
        scene.journal.note(work.name);
        gate.pass();
        scene.journal.note("over");
    });
    const TaskId id = client.add(Work{"a", ""}).save().front();
    client.start();
    REQUIRE(scene.journal.await("a"));
    {
        WriteLock others(scene.file);
        gate.open();
        REQUIRE(scene.journal.await("over"));
        CHECK_FALSE(client.stop(100ms));
        const std::jthread releasing([&others] {
            std::this_thread::sleep_for(100ms);
            others.release();
        });
        CHECK_NOTHROW(client.start());
    }
    CHECK(client.status(id) == TaskStatus::succeeded);
    CHECK(client.stop(1h));
}

TEST_CASE("locked: a folder that cannot be entered for a while is waited for, and ends nothing") {
    Scene scene([](ClientConfig& config) {
        std::filesystem::create_directory(config.database);
        config.database += "/app.db";
    });
    const std::string data = scene.file;
    const std::string aside = scene.folder.file("aside");
    const auto close_folder = [&] {
        std::filesystem::rename(data, aside);
        std::filesystem::create_symlink(data, data);  // to itself: an error that is no absence
    };
    const auto open_folder = [&] {
        std::filesystem::remove(data);
        std::filesystem::rename(aside, data);
    };
    Client client{scene.config};
    client.register_queue<Work>([&](const Work& work) { scene.journal.note(work.name); });
    client.start();
    std::this_thread::sleep_for(150ms);  // longer than a look at the names counts
    close_folder();
    std::thread adding([&] {
        client.add(Work{"a", ""}).save();
        scene.journal.note("added");
    });
    CHECK_FALSE(scene.journal.await_for("added", 1500ms));  // longer than an idle dispatcher sleeps
    open_folder();
    adding.join();
    CHECK(scene.journal.await("a"));
    CHECK(scene.journal.count("fatal") == 0);
    CHECK(client.stop(1h));
}

// ---- a log that grows -----------------------------------------------------------------------------------------------

TEST_CASE("log: one that grows because another process does not end a SELECT is told once, naming the process") {
    const Capped looks_at_the_log;  // nobody tells that it has grown
    Scene scene;
    Process reader([&](const Process::Inside& inside) {
        inside.wait();
        SQLite::Database database(scene.file, SQLite::OPEN_READONLY);
        SQLite::Statement forgotten(database, "SELECT * FROM backlite_meta");
        static_cast<void>(forgotten.executeStep());
        inside.say("reads");
        inside.wait();
        forgotten.reset();
        inside.say("done");
        inside.wait();
    });
    Client client(scene.config);
    client.register_queue<Work>([&](const Work& work) { scene.journal.note(work.name); });
    client.start();
    const auto run = [&](const std::string& name, std::size_t ballast) {
        static_cast<void>(client.add(Work{name, std::string(ballast, 'x')}).save());
        return scene.journal.await(name);
    };
    REQUIRE(run("before", 0));
    reader.next();
    REQUIRE(reader.await("reads"));

    REQUIRE(run("beside", 6 << 20));  // enough for a checkpoint, were it not for the reader
    const std::string log = scene.file + "-wal";
    std::uintmax_t before = 0;
    CHECK(eventually([&] {
        before = std::filesystem::file_size(log);
        std::filesystem::resize_file(log, 256 << 20);  // as thousands of tasks would; SQLite may cut it
        std::this_thread::sleep_for(100ms);
        return scene.log->count({"warning the log of the database grows"}) > 0;
    }));
    INFO(scene.log->text() << "\nbytes of the log before it was made to grow last: " << before);
    CHECK(scene.log->count({"warning the log of the database grows", fmt::format("readers=\"{} (", reader.pid())}) ==
          1);
    REQUIRE(run("told", 0));
    CHECK(scene.log->count({"the log of the database is small again"}) == 0);

    reader.next();
    REQUIRE(reader.await("done"));
    REQUIRE(run("after", 6 << 20));
    CHECK(eventually([&] {  // the log starts anew at the first write after a whole checkpoint
        return run(fmt::format("more {}", scene.journal.entries().size()), 0) &&
               scene.log->count({"info the log of the database is small again"}) == 1;
    }));
    CHECK(scene.log->count({"the log of the database grows"}) == 1);
}

// ---- full -----------------------------------------------------------------------------------------------------------

TEST_CASE("full: adds throw FullError, nothing is claimed, and outcomes land once there is room again") {
    Scene scene([](ClientConfig& config) { config.busy_timeout = 100ms; });
    scene.config.open = [&] {
        SQLite::Database database(scene.file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        database.exec("PRAGMA max_page_count=100");
        return database;
    };
    Gate gate;
    Client client{scene.config};
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work& work) {
        scene.journal.note(work.name);
        gate.pass();
    });
    const std::string ballast(40'000, 'x');
    const TaskId id = client.add(Work{"a", ballast}).save().front();
    client.start();
    REQUIRE(scene.journal.await("a"));
    Look host(scene.file);
    host.run("CREATE TABLE filler (bytes blob); INSERT INTO filler VALUES (zeroblob(500000))");

    try {
        client.add(Work{"b", ballast}).save();
        FAIL("it was added");
    } catch (const FullError& error) {
        CHECK(error.added() == Added::no);
        CHECK(error.queue() == "work");
        CHECK(error.code() == SQLITE_FULL);
    }
    gate.open();
    CHECK(scene.log->await({"error storage error", "code=13"}));
    CHECK(client.status(id) == TaskStatus::running);
    host.run(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('c', 1, 'work', CAST('{\"name\": \"c\"}' AS "
        "blob))");
    std::this_thread::sleep_for(300ms);  // both workers are idle
    CHECK(scene.journal.count("c") == 0);
    CHECK_FALSE(client.stop(0ms));
    CHECK_THROWS_WITH(client.start(),
                      Catch::Matchers::ContainsSubstring("no task runs, but outcomes are not yet written"));

    host.run("DELETE FROM filler");
    CHECK(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
    CHECK(eventually([&] { return client.stop(1h); }));
    CHECK_NOTHROW(client.add(Work{"b", ballast}).save());
    client.start();
    CHECK(scene.journal.await("b"));
    CHECK(scene.journal.await("c"));
    CHECK(client.stop(1h));
    CHECK(scene.journal.count("a") == 1);
    CHECK(scene.journal.count("fatal") == 0);
    CHECK(host.completed("attempts = 1 AND length(task) > 40000") == 2);
}

TEST_CASE("full: a file that may not grow throws FullError too, and works once it may") {
    const TempFolder folder;
    Process process([&](const Process::Inside& inside) {
        ::signal(SIGXFSZ, SIG_IGN);
        Client client{quick(folder.file("q.db"))};
        struct ::rlimit limit {};
        ::getrlimit(RLIMIT_FSIZE, &limit);
        const rlim_t most = std::exchange(limit.rlim_cur, rlim_t{400'000});
        ::setrlimit(RLIMIT_FSIZE, &limit);
        try {
            for (int i = 0; i < 100; ++i) client.add(Work{"a", std::string(20'000, 'x')}).save();
        } catch (const FullError& error) {
            inside.say(error.added() == Added::no ? "full, nothing added" : "full");
        }
        limit.rlim_cur = most;
        ::setrlimit(RLIMIT_FSIZE, &limit);
        client.add(Work{"b", ""}).save();
        inside.say("added");
    });
    CHECK(process.await("full, nothing added"));
    CHECK(process.await("added"));
    CHECK(process.join() == 0);
}

// ---- failing disks --------------------------------------------------------------------------------------------------

TEST_CASE("io: an add whose commit fails may be in the file, and outcomes are tried again until they land") {
    FaultyVfs vfs{"faulty"};
    Scene scene;
    scene.config.open = [&] { return vfs.connect(scene.file); };
    Gate gate;
    Client client{scene.config};
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work& work) {
        scene.journal.note(work.name);
        gate.pass();
    });
    const TaskId id = client.add(Work{"a", ""}).save().front();
    client.start();
    REQUIRE(scene.journal.await("a"));
    vfs.fail_writes(SQLITE_IOERR_WRITE);
    try {
        client.add(Stray{}).save();
        FAIL("it was added");
    } catch (const StorageError& error) {
        CHECK(error.added() == Added::unknown);
        CHECK(error.extended_code() == SQLITE_IOERR_WRITE);
        CHECK(error.queue() == "stray");
    }
    gate.open();
    REQUIRE(scene.log->await({"error storage error"}));
    vfs.fail_writes(SQLITE_OK);
    CHECK(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
    CHECK(client.stop(1h));
    CHECK(scene.journal.entries() == std::vector<std::string>{"a"});
    CHECK(Look(scene.file).integrity() == "ok");
}

TEST_CASE("fatal: a failed sync, after which the kernel may have dropped what it did not write") {
    FaultyVfs vfs{"faulty"};
    Scene scene([](ClientConfig& config) { config.durability = backlite::Durability::full; });
    scene.config.open = [&] { return vfs.connect(scene.file); };
    std::unique_ptr<Client> client = started(scene);
    vfs.fail_syncs(SQLITE_IOERR_FSYNC);
    CHECK_THROWS_AS(client->add(Stray{}).save(), StorageError);
    REQUIRE(scene.journal.await("fatal"));
    vfs.fail_syncs(SQLITE_OK);
    check_stopped_itself(scene, client);
}

// ---- moved, deleted, damaged, read-only -----------------------------------------------------------------------------

TEST_CASE("fatal: a file that is deleted under a started client") {
    Scene scene;
    std::unique_ptr<Client> client = started(scene);
    REQUIRE(std::filesystem::remove(scene.file));
    REQUIRE(scene.journal.await("fatal"));
    CHECK(scene.fatal_names(scene.file));
    check_stopped_itself(scene, client);
}

TEST_CASE("fatal: a file that is replaced under a started client, whose add notices") {
    Scene scene;
    Scene donor;
    { const Client other{donor.config}; }
    std::unique_ptr<Client> client = started(scene);
    std::filesystem::rename(donor.file, scene.file);
    // A look at the names counts for a moment: a write that comes before it may still go to the old
    // file, as it would have a moment earlier.
    CHECK(eventually([&] {
        try {
            client->add(Work{"a", ""}).save();
            return false;
        } catch (const StorageError&) {
            return true;
        }
    }));
    REQUIRE(scene.journal.await("fatal"));
    check_stopped_itself(scene, client);
}

TEST_CASE("fatal: a log that is deleted under a started client that has nothing to do") {
    Scene scene;
    std::unique_ptr<Client> client = started(scene);
    client->add(Work{"a", ""}).save();
    REQUIRE(std::filesystem::remove(scene.file + "-wal"));
    REQUIRE(scene.journal.await("fatal"));
    CHECK(scene.fatal_names(scene.file + "-wal"));
    check_stopped_itself(scene, client);
}

TEST_CASE("fatal: an add that comes after a pause is not acknowledged into a log that is gone") {
    for (const std::string suffix : {"-wal", "-shm"}) {
        Scene scene;
        Client client{scene.config};
        client.add(Work{"a", ""}).save();
        std::this_thread::sleep_for(150ms);
        REQUIRE(std::filesystem::remove(scene.file + suffix));
        CHECK_THROWS_AS(client.add(Work{"b", ""}).save(), StorageError);
        CHECK(scene.journal.count("fatal") == 1);
    }
}

TEST_CASE(
    "fatal: a host that opens and closes its database file, whose locks go, while another program comes and goes") {
    for (int round = 0; round < 4; ++round) {  // the moment that hurts is met three times of four
        const TempFolder folder;
        const std::string file = folder.file("q.db");
        Process another([&](const Process::Inside& inside) {
            inside.wait();
            // The first look's end deletes the log; SQLite may refuse the second while the client still writes.
            const bool wrote = eventually([&] {
                try {
                    static_cast<void>(Look(file).tasks());
                    Look(file).run(
                        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1, 'other', x'7b7d')");
                    return true;
                } catch (const SQLite::Exception& error) {
                    inside.say(error.what());
                    return false;
                }
            });
            if (wrote) inside.say("wrote");
        });
        Scene scene([&](ClientConfig& config) {
            config.database = file;
            config.open = [&] {  // not to meet a checkpoint: what others write during one damages the file
                SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
                database.exec("PRAGMA wal_autocheckpoint=1000000");
                return database;
            };
        });
        {
            Client client{scene.config};
            for (int i = 0; i < 10; ++i) client.add(Work{"a", ""}).save();
            { std::ifstream reading(file, std::ios::binary); }
            std::atomic<bool> refused{false};
            std::jthread adding([&](const std::stop_token& stop) {
                try {  // acknowledged, into the log that is gone, for as long as a look counts
                    while (!stop.stop_requested()) client.add(Work{"b", ""}).save();
                } catch (const StorageError&) {
                    refused = true;
                }
            });
            another.next();
            REQUIRE(another.await("wrote"));
            REQUIRE(another.join() == 0);
            CHECK(eventually([&] { return refused.load(); }));
            adding = {};
            CHECK(scene.journal.count("fatal") == 1);
        }
        // The end of the client has not written its log over what others have made of the file since.
        CHECK(Look(file).tasks("id = 'x'") == 1);
        CHECK(Look(file).integrity() == "ok");
    }
}

TEST_CASE("fatal: a file that is deleted under a client that was not started") {
    Scene scene;
    auto client = std::make_unique<Client>(scene.config);
    REQUIRE(std::filesystem::remove(scene.file));
    CHECK_THROWS_AS(client->start(), StorageError);
    CHECK_THROWS_AS(client->add(Work{"a", ""}).save(), StorageError);
    CHECK(scene.journal.count("fatal") == 1);
    CHECK(client->stop(1h));
}

TEST_CASE("fatal: a damaged page, and the running task is asked to stop") {
    Scene scene;
    auto client = std::make_unique<Client>(scene.config);
    client->register_queue<Work>([&](Context& context, const Work&) {
        scene.journal.note("inside");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        scene.journal.note(std::string{to_string(context.stop_reason())});
    });
    client->add(Work{"a", ""}).save();
    client->start();
    REQUIRE(scene.journal.await("inside"));
    {
        Look host(scene.file);
        host.run("CREATE TABLE host (x)");
        const auto page = host.number("SELECT rootpage FROM sqlite_schema WHERE name = 'backlite_tasks_ready'");
        const auto size = host.number("PRAGMA page_size");
        host.run("PRAGMA wal_checkpoint(TRUNCATE)");
        overwrite(scene.file, static_cast<off_t>((page - 1) * size), static_cast<std::size_t>(size));
        host.run("INSERT INTO host VALUES (1)");  // others look at the file again
    }
    REQUIRE(scene.journal.await("fatal"));
    CHECK(scene.journal.await("stopping"));
    check_stopped_itself(scene, client);
}

TEST_CASE("fatal: a connection that became read-only") {
    Scene scene;
    std::atomic<sqlite3*> writer{nullptr};
    scene.config.open = [&] {
        SQLite::Database database(scene.file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        sqlite3* none = nullptr;
        writer.compare_exchange_strong(none, database.getHandle());
        return database;
    };
    std::unique_ptr<Client> client = started(scene);
    REQUIRE(sqlite3_exec(writer, "PRAGMA query_only=ON", nullptr, nullptr, nullptr) == SQLITE_OK);
    CHECK_THROWS_AS(client->add(Work{"a", ""}).save(), StorageError);
    REQUIRE(scene.journal.await("fatal"));
    check_stopped_itself(scene, client);
}

TEST_CASE("fatal: on_fatal may stop the client, use it, and throw") {
    Scene scene;
    std::unique_ptr<Client> client;
    scene.config.on_fatal = [&](const backlite::Error&) {
        (void)client->stop(1h);
        try {
            client->add(Work{"a", ""}).save();
        } catch (const StorageError&) {
            scene.journal.note("refused");
        }
        scene.journal.note("fatal");
        throw std::runtime_error("on_fatal is broken");
    };
    client = std::make_unique<Client>(scene.config);
    client->register_queue<Work>([](const Work&) {});
    client->start();
    REQUIRE(std::filesystem::remove(scene.file));
    // On this thread, if it is the first to notice: then stop waits for the dispatcher's end.
    CHECK(eventually([&] {
        try {
            client->add(Work{"a", ""}).save();
            return false;
        } catch (const StorageError&) {
            return true;
        }
    }));
    REQUIRE(scene.journal.await("fatal"));
    CHECK(scene.journal.count("refused") == 1);
    CHECK(scene.log->await({"on_fatal threw"}));
    check_stopped_itself(scene, client);
}

TEST_CASE("fatal: while a task ignores its token, the dispatcher neither turns idly nor calls the file well") {
    auto clock = std::make_shared<CountingClock>();
    Scene scene([&](ClientConfig& config) {
        config.clock = clock;
        config.release_after = 30ms;
    });
    Gate gate;
    auto client = std::make_unique<Client>(scene.config);
    const OpensAtEnd opens(gate);
    client->register_queue<Work>([&](Context& context, const Work&) {
        scene.journal.note("inside");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        scene.journal.note("asked");
        gate.pass();
    });
    client->add(Work{"a", ""}).save();
    client->start();
    REQUIRE(scene.journal.await("inside"));
    REQUIRE(std::filesystem::remove(scene.file));
    REQUIRE(scene.journal.await("fatal"));
    REQUIRE(scene.journal.await("asked"));
    CHECK(clock->reads_during(300ms) < 2000);
    CHECK(scene.log->count({"storage works again"}) == 0);
    gate.open();
    CHECK(scene.log->await({"error outcome not written"}));
    check_stopped_itself(scene, client);
}

TEST_CASE("fatal: two clients on one file notice its loss each for itself") {
    Scene scene;
    auto one = std::make_unique<Client>(scene.config);
    auto two = std::make_unique<Client>(scene.config);
    one->start();
    two->start();
    REQUIRE(std::filesystem::remove(scene.file));
    CHECK(scene.journal.await("fatal", 2));
    one.reset();
    two.reset();
    CHECK(scene.journal.count("fatal") == 2);
}

}  // namespace
