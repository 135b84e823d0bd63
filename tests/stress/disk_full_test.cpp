// SPDX-License-Identifier: MIT
// A disk that is really full: a small tmpfs, which only root may mount. For others the cases say that they did nothing.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::Added;
using backlite::Client;
using backlite::ClientConfig;
using backlite::FullError;
using backlite::StorageError;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite_test::eventually;
using backlite_test::Gate;
using backlite_test::Harness;
using backlite_test::Journal;
using backlite_test::LogBook;
using backlite_test::Look;
using backlite_test::OpensAtEnd;
using backlite_test::TempFolder;

struct Job {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "job", .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, name)

// A file system of one mebibyte, seen by this process alone, so that none is left behind by a test that crashes.
class SmallDisk {
public:
    SmallDisk() {
        // EINVAL: the root is no mount of its own, as after chroot; then others see the disk while it is there.
        mounted_ = ::unshare(CLONE_NEWNS) == 0 &&
                   (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 || errno == EINVAL) &&
                   ::mount("tmpfs", folder_.name().c_str(), "tmpfs", 0, "size=1m,mode=700") == 0;
        if (!mounted_)
            WARN("NOT TESTED: this user may not mount a small disk: " << std::generic_category().message(errno));
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    ~SmallDisk() {
        if (mounted_) ::umount2(folder_.name().c_str(), MNT_DETACH);
    }

    [[nodiscard]] explicit operator bool() const noexcept { return mounted_; }
    [[nodiscard]] std::string file(std::string_view name) const { return folder_.file(name); }

    // Leaves this many pages free.
    void fill(std::size_t pages = 0) const {
        const int fd = ::open(file("ballast").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        REQUIRE(fd >= 0);
        const std::string page(4096, 'x');
        off_t size = 0;
        while (::write(fd, page.data(), page.size()) == static_cast<ssize_t>(page.size())) size += 4096;
        REQUIRE(errno == ENOSPC);
        REQUIRE(::ftruncate(fd, (std::max)(off_t{0}, size - 4096 * static_cast<off_t>(pages))) == 0);
        ::close(fd);
    }
    void make_room() const { std::filesystem::remove(file("ballast")); }

    void clear() const {
        for (const auto& entry : std::filesystem::directory_iterator(folder_.name())) {
            std::filesystem::remove(entry.path());
        }
    }

private:
    TempFolder folder_{};
    bool mounted_ = false;
};

// A client on such a disk. Its tasks are held until the gate opens.
struct Scene {
    explicit Scene(const std::string& file) {
        config.database = file;
        config.num_workers = 2;
        config.busy_timeout = 200ms;
        config.logger = log;
        config.on_fatal = [this](const backlite::Error&) { ++fatals; };
        open();
    }
    void open() {
        client = std::make_unique<Client>(config);
        client->register_queue<Job>([this](const Job& job) {
            journal.note(job.name);
            gate.pass();
        });
    }

    ClientConfig config{};
    std::shared_ptr<LogBook> log = std::make_shared<LogBook>();
    std::atomic<int> fatals{0};
    Journal journal{};
    Gate gate{};
    std::unique_ptr<Client> client{};
};

// Adds until the disk is full: a page that was begun may have room for one more.
std::vector<TaskId> add_until_full(Client& client) {
    std::vector<TaskId> added;
    for (int i = 0; i < 100; ++i) {
        try {
            added.push_back(client.add(Job{"more"}).save().front());
        } catch (const FullError& error) {
            CHECK(error.added() == Added::no);
            CHECK(error.code() == SQLITE_FULL);
            return added;
        }
    }
    FAIL("the disk is never full");
    return added;
}

TEST_CASE("disk full: adds are refused, outcomes are kept until there is room") {
    const SmallDisk disk;
    if (!disk) return;
    Scene scene(disk.file("app.db"));
    const OpensAtEnd opens(scene.gate);
    scene.client->start();
    std::vector<TaskId> added = scene.client->add(Job{"a"}, Job{"b"}).save();
    REQUIRE(scene.journal.await("a"));
    REQUIRE(scene.journal.await("b"));
    disk.fill();
    const std::vector<TaskId> more = add_until_full(*scene.client);
    scene.gate.open();
    CHECK(scene.log->await({"error storage error", "code=13"}));
    CHECK(scene.client->status(added[0]) == TaskStatus::running);
    CHECK_FALSE(scene.client->stop(10ms));
    CHECK(add_until_full(*scene.client).empty());

    disk.make_room();
    CHECK(eventually([&] { return scene.client->stop(1h); }));
    for (const TaskId& id : added) CHECK(scene.client->status(id) == TaskStatus::succeeded);
    scene.client->start();
    CHECK(eventually([&] { return scene.client->counts().empty(); }));
    CHECK(scene.client->stop(1h));
    for (const TaskId& id : more) CHECK(scene.client->status(id) == TaskStatus::succeeded);
    CHECK(scene.journal.count("a") == 1);
    CHECK(scene.journal.count("b") == 1);
    CHECK(scene.journal.count("more") == static_cast<int>(more.size()));
    CHECK(scene.fatals == 0);
    CHECK(Look(scene.config.database).integrity() == "ok");
}

TEST_CASE("disk full: a client that is destroyed meanwhile names what it could not write") {
    const SmallDisk disk;
    if (!disk) return;
    Scene scene(disk.file("app.db"));
    const OpensAtEnd opens(scene.gate);
    scene.client->start();
    const TaskId id = scene.client->add(Job{"a"}).save().front();
    REQUIRE(scene.journal.await("a"));
    disk.fill();
    (void)add_until_full(*scene.client);
    scene.gate.open();
    scene.client.reset();
    CHECK(scene.log->count({"error outcome not written", id.str()}) == 1);

    disk.make_room();
    scene.open();
    scene.client->start();
    CHECK(eventually([&] { return scene.client->status(id) == TaskStatus::succeeded; }));
    CHECK(scene.client->stop(1h));
    CHECK(scene.journal.count("a") == 2);
    CHECK(scene.fatals == 0);
    CHECK(Look(scene.config.database).integrity() == "ok");
}

TEST_CASE("disk full: a start without room for the side file is an error and no SIGBUS") {
    const SmallDisk disk;
    if (!disk) return;
    Scene first(disk.file("app.db"));
    const OpensAtEnd opens(first.gate);
    first.client->start();  // has a region of the side file; the next one needs another
    Scene second(disk.file("app.db"));
    disk.fill();
    CHECK_THROWS_AS(second.client->start(), FullError);
    CHECK(backlite_test::contains(backlite_test::message_of<FullError>([&] { second.client->start(); }),
                                  "app.db-backlite"));
    CHECK(second.client->stop(1h));

    disk.make_room();
    second.client->start();
    first.gate.open();
    second.gate.open();
    const TaskId id = second.client->add(Job{"a"}).save().front();
    CHECK(eventually([&] { return second.client->status(id) == TaskStatus::succeeded; }));
    CHECK(second.client->stop(1h));
    CHECK(first.client->stop(1h));
    CHECK(first.fatals + second.fatals == 0);
}

// Whatever the client was at when the room ended.
TEST_CASE("disk full: with every number of free pages nothing acknowledged is lost") {
    const SmallDisk disk;
    if (!disk) return;
    const Harness harness("disk full", 30);
    std::size_t not_opened = 0;
    std::size_t not_started = 0;
    std::size_t not_added = 0;
    std::size_t unwritten = 0;
    const std::size_t step = harness.rounds() < 120 ? 4 : 1;
    std::size_t pages = 0;
    const std::string file = disk.file("app.db");
    for (std::size_t round = 0; round < harness.rounds(); ++round, pages += step) {
        INFO("free pages: " << pages);
        disk.clear();
        disk.fill(pages);
        std::atomic<int> fatals{0};
        std::mutex mutex;
        std::multiset<std::string> ran;
        std::set<std::string> added;
        const auto log = std::make_shared<LogBook>();
        const auto add = [&](Client& client, const std::string& name) {
            try {
                (void)client.add(Job{name}).save();
                added.insert(name);
            } catch (const StorageError& error) {
                CHECK(error.added() == Added::no);
                ++not_added;
            }
        };
        const auto open = [&] {
            ClientConfig config{.database = file, .logger = log, .num_workers = 2};
            config.on_fatal = [&](const backlite::Error&) { ++fatals; };
            auto client = std::make_unique<Client>(config);
            client->register_queue<Job>([&](const Job& job) {
                const std::lock_guard lock(mutex);
                ran.insert(job.name);
            });
            return client;
        };
        std::unique_ptr<Client> client;
        try {
            client = open();
            for (const char* name : {"a", "b", "c"}) add(*client, name);
            client->start();
            for (const char* name : {"d", "e", "f"}) {
                add(*client, name);
                std::this_thread::sleep_for(2ms);
            }
        } catch (const StorageError&) {
            ++(client ? not_started : not_opened);
        }
        if (log->count({"storage error"}) > 0) ++unwritten;
        disk.make_room();
        if (!client) client = open();
        client->start();
        add(*client, "last");
        REQUIRE(eventually([&] { return client->counts().empty(); }));
        CHECK(client->stop(1h));
        client.reset();
        Look look(file);
        CHECK(look.integrity() == "ok");
        CHECK(look.completed("succeeded AND attempts = 1") == static_cast<std::int64_t>(added.size()));
        CHECK(ran == std::multiset<std::string>(added.begin(), added.end()));
        CHECK(added.count("last") == 1);
        CHECK(fatals == 0);
    }
    fmt::print("  up to {} pages free: not opened {}, not started {}, adds refused {}, dispatcher out of room {}\n",
               pages, not_opened, not_started, not_added, unwritten);
    CHECK(not_opened > 0);
    CHECK(not_started > 0);
    CHECK(not_added > 0);
}

}  // namespace
