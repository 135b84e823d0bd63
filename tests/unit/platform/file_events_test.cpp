// SPDX-License-Identifier: MIT
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>

#include <backlite/platform/file_events.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::Gate;
using backlite_test::TempFolder;
using platform::FileEvents;
namespace fs = std::filesystem;

constexpr auto long_enough = 20s;
constexpr auto not_at_all = 0ms;

/// A database in WAL mode that a host has open.
class Host {
public:
    Host() { execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE t (n)"); }
    void execute(const std::string& sql) { backlite_test::execute(database_.getHandle(), sql); }
    [[nodiscard]] std::string query(const std::string& sql) { return backlite_test::query(database_.getHandle(), sql); }
    [[nodiscard]] std::string file() const { return folder_.file("app.db"); }

private:
    TempFolder folder_{};
    SQLite::Database database_{folder_.file("app.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE};
};

/// The watch of a client: on the log of a database, and on its side file.
class Watch : public FileEvents {
public:
    explicit Watch(const std::string& database) : FileEvents(database + "-wal", database + "-backlite") {}
};

void write_to(const std::string& file) { std::ofstream(file, std::ios::app) << "more"; }

TEST_CASE("FileEvents: is active where there is a log") {
    const Host host;
    const Watch watch(host.file());
    CHECK(watch.active());
}

TEST_CASE("FileEvents: without a log it is not active, and a wait ends by itself") {
    const TempFolder folder;
    Watch watch(folder.file("app.db"));
    CHECK_FALSE(watch.active());
    const FileEvents::Event event = watch.wait(1ms);
    CHECK_FALSE(event.written);
    CHECK_FALSE(event.woken);
}

TEST_CASE("FileEvents: where nothing happens a wait ends without an event") {
    const Host host;
    Watch watch(host.file());
    const FileEvents::Event event = watch.wait(1ms);
    CHECK_FALSE(event.written);
    CHECK_FALSE(event.woken);
}

TEST_CASE("FileEvents: a commit ends a wait") {
    Host host;
    Watch watch(host.file());
    host.execute("INSERT INTO t VALUES (1)");
    const FileEvents::Event event = watch.wait(long_enough);
    CHECK(event.written);
    CHECK_FALSE(event.woken);
}

TEST_CASE("FileEvents: a commit ends a wait that has begun") {
    Host host;
    Watch watch(host.file());
    Gate waiting;
    FileEvents::Event event;
    std::jthread waiter([&] {
        waiting.open();
        event = watch.wait(long_enough);
    });
    REQUIRE(waiting.pass());
    host.execute("INSERT INTO t VALUES (1)");
    waiter.join();
    CHECK(event.written);
}

TEST_CASE("FileEvents: several commits are one event") {
    Host host;
    Watch watch(host.file());
    for (int i = 0; i < 500; ++i) host.execute(fmt::format("INSERT INTO t VALUES ({})", i));
    CHECK(watch.wait(long_enough).written);
    CHECK_FALSE(watch.wait(not_at_all).written);
}

TEST_CASE("FileEvents: who only reads raises no event") {
    Host host;
    host.execute("INSERT INTO t VALUES (1)");
    Watch watch(host.file());
    CHECK(host.query("SELECT n FROM t") == "1");
    CHECK_FALSE(watch.wait(not_at_all).written);
}

TEST_CASE("FileEvents: a wake-up ends a wait") {
    const Host host;
    Watch watch(host.file());
    Gate waiting;
    FileEvents::Event event;
    std::jthread waiter([&] {
        waiting.open();
        event = watch.wait(long_enough);
    });
    REQUIRE(waiting.pass());
    watch.wake();
    waiter.join();
    CHECK(event.woken);
    CHECK_FALSE(event.written);
}

TEST_CASE("FileEvents: a wake-up that comes before the wait is not lost") {
    const Host host;
    Watch watch(host.file());
    watch.wake();
    CHECK(watch.wait(long_enough).woken);
}

TEST_CASE("FileEvents: several wake-ups end one wait") {
    const Host host;
    Watch watch(host.file());
    for (int i = 0; i < 1000; ++i) watch.wake();
    CHECK(watch.wait(long_enough).woken);
    CHECK_FALSE(watch.wait(not_at_all).woken);
}

TEST_CASE("FileEvents: without a log a wake-up still ends a wait") {
    const TempFolder folder;
    Watch watch(folder.file("app.db"));
    watch.wake();
    CHECK(watch.wait(long_enough).woken);
}

TEST_CASE("FileEvents: a commit and a wake-up are told together") {
    Host host;
    Watch watch(host.file());
    host.execute("INSERT INTO t VALUES (1)");
    watch.wake();
    const FileEvents::Event event = watch.wait(long_enough);
    CHECK(event.written);
    CHECK(event.woken);
}

TEST_CASE("FileEvents: a rest is ended by a wake-up, not by a commit, which is told by the next wait") {
    Host host;
    Watch watch(host.file());
    host.execute("INSERT INTO t VALUES (1)");
    CHECK_FALSE(watch.rest(1ms).written);
    watch.wake();
    CHECK(watch.rest(long_enough).woken);
    CHECK(watch.wait(long_enough).written);
}

TEST_CASE("FileEvents: a log that was deleted and made anew is watched again") {
    const TempFolder folder;
    const std::string log = folder.file("app.db-wal");
    write_to(log);
    Watch watch(folder.file("app.db"));
    fs::remove(log);
    write_to(log);
    CHECK(watch.wait(long_enough).written);
    CHECK(watch.active());
    write_to(log);
    CHECK(watch.wait(long_enough).written);
}

TEST_CASE("FileEvents: a log that is deleted is watched no more") {
    const TempFolder folder;
    const std::string log = folder.file("app.db-wal");
    write_to(log);
    Watch watch(folder.file("app.db"));
    fs::remove(log);
    CHECK(watch.wait(long_enough).written);
    CHECK_FALSE(watch.active());
}

TEST_CASE("FileEvents: a log that comes after the watch is found by the next wait") {
    const TempFolder folder;
    const std::string log = folder.file("app.db-wal");
    Watch watch(folder.file("app.db"));
    write_to(log);
    CHECK(watch.wait(not_at_all).written);  // before it was watched, somebody may have committed
    CHECK(watch.active());
    write_to(log);
    CHECK(watch.wait(long_enough).written);
}

TEST_CASE("FileEvents: opens neither the database nor its log") {
    const TempFolder folder;
    const std::string log = folder.file("app.db-wal");
    write_to(log);
    write_to(folder.file("app.db"));
    const Watch watch(folder.file("app.db"));
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        CHECK(fs::read_symlink(entry.path(), gone).string().find(folder.name()) == std::string::npos);
    }
}

}  // namespace
