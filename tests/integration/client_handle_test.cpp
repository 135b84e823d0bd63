// SPDX-License-Identifier: MIT
// What a processor has of its client: also while that is destroyed, and afterwards.

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ClientHandle;
using backlite::Context;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;

struct Job {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "job", .retention = backlite::Retention{}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, name)

struct Other {
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "other"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Other, number)

bool ended(const ClientHandle& handle) {
    try {
        handle.notify();
        return false;
    } catch (const UsageError&) {
        return true;
    }
}

TEST_CASE("ClientHandle: has every call of a client but those that begin and end it") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"))};
    const ClientHandle handle = client;
    const TaskId id = handle.add(Job{"a"}).save().front();
    CHECK(handle.status(id) == TaskStatus::pending);
    CHECK(handle.counts().size() == 1);
    CHECK(&handle.config() == &client.config());
    CHECK_NOTHROW(handle.notify());
    CHECK(handle.stop(1s));

    const auto by_function = [](backlite::Adder adder) { return adder.add(Job{"b"}).save().front(); };
    CHECK(client.status(by_function(handle)) == TaskStatus::pending);

    SQLite::Database db(folder.file("q.db"), SQLite::OPEN_READWRITE);
    backlite::Transaction tx{handle, db};
    const TaskId within = handle.add(Job{"c"}).tx(tx).save().front();
    tx.commit();
    CHECK(client.status(within) == TaskStatus::pending);

    CHECK_FALSE(std::is_copy_constructible_v<Client>);
    CHECK_FALSE(std::is_convertible_v<ClientHandle, Client>);
}

TEST_CASE("ClientHandle: one that is kept throws once the client has ended") {
    const TempFolder folder;
    auto client = std::make_unique<Client>(quick(folder.file("q.db")));
    const ClientHandle handle = *client;
    client.reset();
    const TaskId id = TaskId::from_text("some-id");
    SQLite::Database db(folder.file("q.db"), SQLite::OPEN_READWRITE);
    CHECK(message_of<UsageError>([&] { handle.add(Job{}).save(); }) ==
          "AddOp::save: the client was destroyed and has ended");
    CHECK_THROWS_AS(handle.status(id), UsageError);
    CHECK_THROWS_AS(handle.counts(), UsageError);
    CHECK_THROWS_AS(handle.stop(1s), UsageError);
    CHECK_THROWS_AS(handle.notify(), UsageError);
    CHECK_THROWS_AS((backlite::Transaction{handle, db}), UsageError);
    CHECK(handle.config().database == folder.file("q.db"));
    CHECK(Look(folder.file("q.db")).tasks() == 0);
}

TEST_CASE("ClientHandle: one that is kept does not keep the processors and what they hold") {
    const TempFolder folder;
    std::optional<ClientHandle> kept;
    std::weak_ptr<int> held;
    {
        Client client{quick(folder.file("q.db"))};
        auto number = std::make_shared<int>(1);
        held = number;
        Journal journal;
        client.register_queue<Job>([&, number](Context& context, const Job&) {
            kept.emplace(context.client());
            journal.note("kept");
        });
        number.reset();
        client.add(Job{}).save();
        client.start();
        REQUIRE(journal.await("kept"));
    }
    CHECK(held.expired());
    CHECK(ended(*kept));
}

TEST_CASE("ClientHandle: works in one task while another destroys the client") {
    const TempFolder folder;
    for (int round = 0; round < 20; ++round) {
        INFO("round " << round);
        const std::string file = folder.file("q" + std::to_string(round) + ".db");
        Journal journal;
        ClientConfig config = quick(file, 2);
        config.durability = backlite::Durability::process;
        auto client = std::make_unique<Client>(config);
        std::optional<ClientHandle> kept;
        client->register_queue<Job>([&](const Job&) {
            if (!journal.await("uses it")) return;
            client.reset();
            journal.note("destroyed");
        });
        client->register_queue<Other>([&](Context& context, const Other&) {
            kept.emplace(context.client());
            for (int i = 0; !context.stop_token().stop_requested(); ++i) {
                if (i % 50 == 0) context.client().add(Job{"more"}).wait(1h).save();
                context.client().notify();
                if (i == 50) journal.note("uses it");
            }
            context.client().add(Job{"last"}).wait(1h).save();
            journal.note("used it");
        });
        client->add(Job{}, Other{}).save();
        client->start();
        REQUIRE(journal.await("destroyed"));
        REQUIRE(journal.await("used it"));
        CHECK(eventually([&] { return ended(*kept); }));
    }
}

TEST_CASE("ClientHandle: a thread of the host may stop the client by it while the client is destroyed") {
    const TempFolder folder;
    for (int round = 0; round < 20; ++round) {
        INFO("round " << round);
        Journal journal;
        ClientConfig config = quick(folder.file("q" + std::to_string(round) + ".db"), 1);
        config.durability = backlite::Durability::process;
        auto client = std::make_unique<Client>(config);
        const auto handle = std::make_unique<ClientHandle>(*client);
        const bool inside = round % 2 == 0;
        client->register_queue<Job>([&](Context& context, const Job&) {
            journal.note("runs");
            if (inside) client.reset();
            (void)eventually([&] { return context.stop_token().stop_requested(); });
        });
        client->add(Job{}).save();
        client->start();
        REQUIRE(journal.await("runs"));
        std::thread stops([&] {
            try {
                handle->stop(1ms);
            } catch (const UsageError&) {  // it was late
            }
        });
        if (!inside) client.reset();
        stops.join();
        CHECK(eventually([&] { return ended(*handle); }));
    }
}

TEST_CASE_METHOD(
    Story, "Client: destroyed in a callback that another client runs on its worker, it does not wait for itself") {
    auto outer = std::make_unique<Client>(quick(folder.file("outer.db"), 1));
    Client inner{quick(folder.file("inner.db"), 1)};
    const ClientHandle handle = *outer;
    inner.register_queue<Other>([&](Context& context, const Other&) {
        const std::stop_callback callback(context.stop_token(), [&] { outer.reset(); });
        journal.note("inside");
        (void)eventually([&] { return context.stop_token().stop_requested(); });
    });
    outer->register_queue<Job>([&](const Job&) {
        if (journal.await("inside")) inner.stop(0ms);
        journal.note("over");
    });
    inner.add(Other{}).save();
    outer->add(Job{}).save();
    inner.start();
    outer->start();
    REQUIRE(journal.await("over"));
    CHECK(eventually([&] { return ended(handle); }));
}

TEST_CASE_METHOD(Story, "Client: destroyed in a stop callback of its own stop, that call still returns") {
    auto client = std::make_unique<Client>(quick(file, 1));
    const ClientHandle handle = *client;
    client->register_queue<Job>([&](Context& context, const Job&) {
        const std::stop_callback callback(context.stop_token(), [&] { client.reset(); });
        journal.note("inside");
        (void)eventually([&] { return context.stop_token().stop_requested(); });
    });
    client->add(Job{}).save();
    client->start();
    REQUIRE(journal.await("inside"));
    CHECK_FALSE(client->stop(1ms));
    CHECK(eventually([&] { return ended(handle); }));
}

// ---- ClientConfig::open ---------------------------------------------------------------------------------------------

TEST_CASE("ClientConfig::open: may wait for a thread that asks the client") {
    const TempFolder folder;
    ClientConfig config = quick(folder.file("q.db"));
    std::atomic<Client*> client{nullptr};
    std::size_t counted = 0;
    config.open = [&, file = config.database] {
        if (Client* const other = client.exchange(nullptr)) {
            std::thread([&] { counted = other->counts().size(); }).join();
        }
        return SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    };
    Client under_test{config};
    const TaskId id = under_test.add(Job{}).save().front();
    client = &under_test;
    CHECK(under_test.status(id) == TaskStatus::pending);
    CHECK(counted == 1);
}

TEST_CASE("ClientConfig::open: that asks the client for what it is to open is refused instead of waiting for itself") {
    const TempFolder folder;
    ClientConfig config = quick(folder.file("q.db"));
    std::atomic<Client*> client{nullptr};
    config.open = [&, file = config.database] {
        if (Client* const self = client.load()) (void)self->counts();
        return SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    };
    Client under_test{config};
    client = &under_test;
    CHECK(message_of<UsageError>([&] { (void)under_test.counts(); }) ==
          "Client: asked inside ClientConfig::open, which opens the connection to ask by");
    client = nullptr;
    CHECK(under_test.counts().empty());
    client = &under_test;
    CHECK_NOTHROW(under_test.install());  // opens another one, and the read connection is open
}

}  // namespace
