// SPDX-License-Identifier: MIT
// Tasks that are claimed and wait for a worker: what becomes of them when they do not get one.

#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;

struct Work {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "work"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name)

// A client of one worker, whose thread sleeps until it is woken. Tasks named "long" wait at a gate; others are quick,
// and known to be.
struct Scene {
    explicit Scene(backlite::Duration release_after = 10min) {
        config.release_after = release_after;
        config.logger = book;
        client = std::make_unique<Client>(config);
        client->register_queue<Work>([this](const Work& work) {
            journal.note(work.name);
            if (work.name == "long") gate.pass();
        });
        client->start();
        look = std::make_unique<Look>(config.database);
        for (int i = 1; i <= 5; ++i) {
            add("quick");
            REQUIRE(journal.await("quick", i));
        }
        REQUIRE(eventually([&] { return client->counts().empty(); }));
    }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;
    ~Scene() { gate.open(); }

    void add(const std::string& name) const { client->add(Work{name}).save(); }

    // Behind the long one, which holds the worker.
    void claim_ahead() {
        add("long");
        REQUIRE(journal.await("long"));
        add("ahead");
        REQUIRE(eventually([&] { return look->tasks("claimed_at IS NOT NULL") == 2; }));
    }

    Uncapped uncapped{};
    TempFolder folder{};
    ClientConfig config = quick(folder.file("q.db"), 1);
    std::shared_ptr<LogBook> book = std::make_shared<LogBook>();
    Journal journal{};
    Gate gate{};
    std::unique_ptr<Client> client{};
    std::unique_ptr<Look> look{};
};

TEST_CASE("claimed ahead: a claim that was lost before its task has started is not run") {
    Scene scene(300ms);
    scene.claim_ahead();
    scene.look->run("DELETE FROM backlite_tasks WHERE CAST(task AS text) LIKE '%ahead%'");
    REQUIRE(scene.book->await({"claim lost"}));
    scene.gate.open();
    scene.add("next");
    REQUIRE(scene.journal.await("next"));
    CHECK(scene.client->stop(1h));
    CHECK(scene.journal.count("ahead") == 0);
}

TEST_CASE("claimed ahead: a task that went back is claimed again once a worker is free, without a word from others") {
    Scene scene;
    Client other{quick(scene.config.database, 1)};  // of other queues: it only makes claims go back that wait too long
    other.start();
    scene.claim_ahead();
    REQUIRE(eventually([&] { return scene.look->tasks("claimed_at IS NOT NULL") == 1; }));
    scene.gate.open();
    CHECK(scene.journal.await("ahead"));
}

TEST_CASE("claimed ahead: a client without claims that knows of another one rests between its looks") {
    Scene scene(100ms);
    ClientConfig config = quick(scene.config.database, 1);
    config.release_after = 100ms;
    Client other{config};
    other.start();
    std::this_thread::sleep_for(200ms);  // both know of each other, and a lease was due
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(500ms);
    const double used = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    CHECK(used < 0.1);
}

}  // namespace
