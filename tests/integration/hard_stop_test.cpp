// SPDX-License-Identifier: MIT
// A hard stop reaches the tasks whatever else the client waits for.

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>
#include <backlite/store/store.hpp>

#include <backlite_catch.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientHandle;
using backlite::Context;
using backlite::Duration;
namespace detail = backlite::detail;
namespace store = backlite::store;

struct Job {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "job"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, name)

bool fires(const std::stop_token& token) {
    return eventually([&] { return token.stop_requested(); });
}

// SQLite's store, but its watch waits until the gate is open, and no wake-up ends that.
class DeafStore final : public store::sqlite::SqliteStore {
public:
    using SqliteStore::SqliteStore;

    static Gate*& gate() {
        static Gate* gate = nullptr;
        return gate;
    }
    static std::unique_ptr<Store> open(const backlite::ClientConfig& config, const backlite::Clock& clock,
                                       const detail::SafeLogger& log, store::StoreHooks hooks) {
        return std::make_unique<DeafStore>(config, clock, log, std::move(hooks));
    }

    std::unique_ptr<store::CommitWatch> watch() override {
        struct Deaf final : store::CommitWatch {
            bool active() const noexcept override { return false; }
            void wake() noexcept override {}
            bool wait(Duration) noexcept override {
                while (!gate()->pass()) {  // its patience is that of a test
                }
                return false;
            }
            void rest(Duration) noexcept override {}
        };
        return std::make_unique<Deaf>();
    }
};

TEST_CASE_METHOD(Story, "hard stop: reaches the tasks though the thread that looks for commits hears nothing") {
    const Uncapped uncapped;
    Gate deaf;
    DeafStore::gate() = &deaf;
    const auto engine = std::make_shared<backlite::engine::Engine>(config, &DeafStore::open);
    const OpensAtEnd hears(deaf);
    engine->register_queue(backlite::Queue<Job>([&](Context& context, const Job&) {
                               journal.note("inside");
                               journal.note(fires(context.stop_token()) ? "asked" : "not asked");
                           }).release());
    const ClientHandle handle{engine};
    std::stop_source source;
    engine->start(source.get_token());
    handle.add(Job{}).save();
    REQUIRE(journal.await("inside"));
    source.request_stop();
    CHECK(journal.await("asked"));
    deaf.open();
    engine->shut_down();
}

TEST_CASE_METHOD(Story, "hard stop: its request neither runs stop callbacks nor waits for a lock that they want") {
    const Uncapped uncapped;
    std::mutex held;
    std::optional<std::thread::id> called;
    Client client{config};
    client.register_queue<Job>([&](Context& context, const Job&) {
        const std::stop_callback callback(context.stop_token(), [&] {
            const std::lock_guard lock(held);
            called = std::this_thread::get_id();
            journal.note("called");
        });
        journal.note("inside");
        (void)journal.await("called");
    });
    std::stop_source source;
    client.start(source.get_token());
    client.add(Job{}).save();
    REQUIRE(journal.await("inside"));
    {
        const std::lock_guard lock(held);
        source.request_stop();
        CHECK_FALSE(called);
    }
    CHECK(journal.await("called"));
    CHECK(client.stop(1h));
    CHECK(called != std::this_thread::get_id());
}

}  // namespace
