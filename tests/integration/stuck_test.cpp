// SPDX-License-Identifier: MIT
// Tasks that ignore their timeouts.

#include <atomic>
#include <chrono>
#include <string>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <temp_folder.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::Event;
using backlite::EventKind;
using backlite::TaskId;
using backlite::TaskStatus;

struct Deaf {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "deaf", .timeout = 1ms, .retention = backlite::Retention{}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Deaf, name)

ClientConfig replacing(const std::string& file) {
    ClientConfig config = quick(file, 1);
    config.stuck = {.after = 0ms, .replace_worker = true};
    return config;
}

}  // namespace

TEST_CASE("stuck: beside a task that ignores its timeout others run, and observers are told of it") {
    const Capped once_a_second_is_looked;
    const TempFolder folder;
    Events<TaskId> stuck;
    ClientConfig config = replacing(folder.file("q.db"));
    config.observers.push_back([&](const Event& event) {
        if (event.kind == EventKind::stuck && event.queue == "deaf" && event.duration > 1ms) stuck.add(event.task_id);
    });
    Client client{config};
    Gate gate;
    Events<std::string> good;
    client.register_queue<Deaf>([&](const Deaf& task) {
        if (task.name == "hangs") {
            gate.pass();
        } else {
            good.add(task.name);
        }
    });
    client.start();
    const TaskId hangs = client.add(Deaf{"hangs"}).save().front();
    client.add(Deaf{"a"}, Deaf{"b"}).save();
    CHECK(stuck.wait_for(1));
    CHECK(good.wait_for(2));
    CHECK(client.status(hangs) == TaskStatus::running);
    CHECK_FALSE(client.stop(0ms));
    gate.open();
    CHECK(client.stop(10s));
    CHECK(client.status(hangs) == TaskStatus::succeeded);
}

TEST_CASE("stuck: a task that its process dies in has crashed, also where a replacement ran it") {
    const Capped once_a_second_is_looked;
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Process worker([&](const Process::Inside& parent) {
        Client client{replacing(file)};
        client.register_queue<Deaf>([&](const Deaf& task) {
            parent.say(task.name);
            for (;;) ::pause();
        });
        client.start();
        client.add(Deaf{"hangs"}, Deaf{"too"}, Deaf{"never"}).save();
        for (;;) ::pause();
    });
    REQUIRE(worker.await("hangs"));
    REQUIRE(worker.await("too"));
    worker.kill();
    Client survivor{quick(file)};
    survivor.start();  // rescues
    Look look(file);
    CHECK(look.tasks("crashes = 1 AND CAST(task AS text) NOT LIKE '%never%'") == 2);
    CHECK(look.tasks("crashes = 0 AND CAST(task AS text) LIKE '%never%'") == 1);
}

TEST_CASE("stuck: a time that cannot be is refused") {
    const TempFolder folder;
    ClientConfig config = quick(folder.file("q.db"));
    config.stuck.after = -1ms;
    CHECK_THROWS_AS(Client{config}, ConfigError);
}
