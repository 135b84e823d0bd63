// SPDX-License-Identifier: MIT
// A client that is used inside a task of another one: whoever calls is known to each client that would wait for it.

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::Context;
using backlite::StorageError;

struct Outer {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "outer"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Outer, name)

struct Inner {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "inner"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Inner, name)

// What a task notes of a stop that it asks for: one of its own client must not wait for it.
std::string answer(bool stopped) { return stopped ? "waited" : "asked"; }

TEST_CASE_METHOD(Story, "nested: a task starts, stops and destroys another client, and only asks its own to stop") {
    Client outer{config};
    const std::string other = folder.file("other.db");
    outer.register_queue<Outer>([&](Context& context, const Outer&) {
        auto inner = std::make_unique<Client>(quick(other));
        inner->register_queue<Inner>(
            [&](Context& inside, const Inner&) { journal.note("inner by inner " + answer(inside.client().stop(1h))); });
        inner->start();
        inner->add(Inner{}).save();
        (void)journal.await("inner by inner asked");
        journal.note("inner " + answer(inner->stop(1h)));
        journal.note("outer " + answer(context.client().stop(1h)));
        inner->start();
        inner.reset();
        journal.note("outer again " + answer(context.client().stop(1h)));
    });
    outer.add(Outer{}).save();
    outer.start();
    REQUIRE(journal.await("outer again asked"));
    CHECK(journal.entries() ==
          std::vector<std::string>{"inner by inner asked", "inner waited", "outer asked", "outer again asked"});
    CHECK(outer.stop(1h));
}

TEST_CASE_METHOD(Story,
                 "nested: a hook that runs while a task starts another client asks both to stop, and waits not") {
    Client outer{config};
    backlite::ClientConfig lost = quick(folder.file("other.db"));
    std::optional<backlite::ClientHandle> own;
    Client* other = nullptr;
    lost.on_fatal = [&](const backlite::Error&) {
        journal.note("outer " + answer(own->stop(1h)));
        journal.note("inner " + answer(other->stop(1h)));
    };
    Client inner{lost};
    other = &inner;
    outer.register_queue<Outer>([&](Context& context, const Outer&) {
        own.emplace(context.client());
        std::filesystem::remove(lost.database);
        const bool refused = eventually([&] {
            try {
                inner.start();
                inner.stop(1h);
                return false;
            } catch (const StorageError&) {
                return true;
            }
        });
        journal.note(refused ? "refused" : "started");
        journal.note("inner once more " + answer(inner.stop(1h)));
    });
    outer.add(Outer{}).save();
    outer.start();
    REQUIRE(journal.await("inner once more waited"));
    CHECK(journal.entries() ==
          std::vector<std::string>{"outer asked", "inner asked", "refused", "inner once more waited"});
    CHECK(outer.stop(1h));
}

TEST_CASE_METHOD(Story, "nested: a stop callback may stop the client whose task waits for its own client") {
    Client outer{config};
    Client inner{quick(folder.file("other.db"))};
    inner.register_queue<Inner>([&](Context& context, const Inner&) {
        const std::stop_callback callback(context.stop_token(),
                                          [&] { journal.note("outer " + answer(outer.stop(1h))); });
        journal.note("inside");
        (void)eventually([&] { return context.stop_token().stop_requested(); });
    });
    outer.register_queue<Outer>([&](const Outer&) { journal.note("inner " + answer(inner.stop(0ms))); });
    inner.start();
    inner.add(Inner{}).save();
    REQUIRE(journal.await("inside"));
    outer.start();
    outer.add(Outer{}).save();
    CHECK(journal.await("outer waited"));
    CHECK(journal.count("inner asked") == 1);
    CHECK(inner.stop(1h));
}

}  // namespace
