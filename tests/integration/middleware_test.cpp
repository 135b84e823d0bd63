// SPDX-License-Identifier: MIT
// Code around each attempt of a client's queues.

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <pthread.h>

#include <fmt/format.h>

#include <backlite/backlite.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <stepped_client.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ConfigError;
using backlite::Context;
using backlite::Middleware;
using backlite::Next;
using backlite::Outcome;
using backlite::QueueConfig;
using backlite::TaskStatus;
using backlite_test::eventually;
using backlite_test::message_of;
using backlite_test::Story;

struct Paint {
    std::string colour{};
    static QueueConfig config() { return {.name = "paint", .max_attempts = 2, .retention = backlite::Retention{}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Paint, colour)

struct Sand {
    static QueueConfig config() { return {.name = "sand", .retention = backlite::Retention{}}; }
};

[[nodiscard]] bool ended(const Client& client, const backlite::TaskId& id, TaskStatus as) {
    return eventually([&] { return client.status(id) == as; });
}

TEST_CASE("Middleware: surrounds every queue of a client, on the worker's thread, with the client at hand") {
    Story story;
    story.config.num_workers = 1;
    story.config.around = {[&](Context& context, const Next& next) {
        char name[16] = {};
        pthread_getname_np(pthread_self(), name, sizeof name);
        story.journal.note(fmt::format("{} on {}", context.queue(), name));
        if (context.queue() == "sand") (void)context.client().add(Paint{"red"}).save();
        return next();
    }};
    Client client(story.config);
    client.register_queue<Paint>([&](const Paint& task) { story.journal.note(task.colour); });
    client.register_queue<Sand>([&](const Sand&) { story.journal.note("sanded"); });
    client.start();
    (void)client.add(Sand{}).save();
    REQUIRE(story.journal.await("red"));
    CHECK(story.journal.entries() ==
          std::vector<std::string>{"sand on backlite-w0", "sanded", "paint on backlite-w0", "red"});
}

TEST_CASE("Middleware: what it throws fails the attempt, and the worker lives on") {
    Story story;
    story.config.num_workers = 1;
    std::atomic<int> calls{0};
    story.config.around = {[&](Context&, const Next& next) {
        switch (calls++) {
            case 0: throw std::runtime_error("not yet");
            case 1: throw 7;
            default: return next();
        }
    }};
    Client client(story.config);
    client.register_queue<Paint>([](const Paint&) {});
    client.start();
    const auto failed = client.add(Paint{"red"}).save().front();
    REQUIRE(ended(client, failed, TaskStatus::failed));
    const auto good = client.add(Paint{"blue"}).save().front();
    CHECK(ended(client, good, TaskStatus::succeeded));
    CHECK(story.log->count({"task failed", "error=\"not yet\"", "remaining=1"}) == 1);
    CHECK(story.log->count({"task failed", "an exception that is no std::exception", "remaining=0"}) == 1);
}

TEST_CASE("Middleware: one that ends its thread has failed the attempt, and another worker takes its place") {
    Story story;
    story.config.num_workers = 1;
    std::atomic<int> calls{0};
    story.config.around = {[](Context&, const Next& next) { return next(); },
                           [&](Context&, const Next& next) {
                               if (calls++ == 0) pthread_exit(nullptr);
                               return next();
                           }};
    Client client(story.config);
    client.register_queue<Paint>([](const Paint&) {});
    client.start();
    const auto task = client.add(Paint{"red"}).save().front();
    CHECK(ended(client, task, TaskStatus::succeeded));
    CHECK(calls == 2);
}

TEST_CASE("Middleware: an empty function is refused by its place") {
    Story story;
    story.config.around = {[](Context&, const Next& next) { return next(); }, Middleware{}};
    CHECK(message_of<ConfigError>([&] { const Client client(story.config); }) ==
          fmt::format("client on \"{}\": ClientConfig::around[1] is empty", story.file));
}

TEST_CASE("Middleware: surrounds the attempts of a session without threads too") {
    Story story;
    story.config.around = {[&](Context& context, const Next& next) {
        story.journal.note(context.queue());
        return next();
    }};
    backlite::core::QueueRegistry queues;
    queues.add(backlite::Queue<Sand>([&](const Sand&) { story.journal.note("sanded"); }).release());
    backlite::testing::ManualClock clock;
    backlite_test::SteppedClient client(story.config, queues, clock);
    client.start();
    backlite::detail::NewTask task{backlite::TaskId::from_text("some-id"), "sand", "{}", {}};
    client.store().add({.tasks = {&task, 1}, .now = client.now()}, {1s, {}});
    client.refresh();
    client.look();
    static_cast<void>(client.cycle(client.plan()));
    REQUIRE(client.run_one() != nullptr);
    CHECK(story.journal.entries() == std::vector<std::string>{"sand", "sanded"});
    client.stop();
}

}  // namespace
