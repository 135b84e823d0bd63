// SPDX-License-Identifier: MIT
// What a client's work leaves in the statistics of its file: every task that it added, every attempt that it wrote.

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
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
using backlite::Outcome;

struct Work {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "work", .max_attempts = 2, .backoff = 1ms}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name)

struct Other {
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "other"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Other, number)

// The sum over all minutes.
std::int64_t sum(Look& look, const std::string& column, const std::string& queue = "work") {
    return look.number("SELECT coalesce(sum(" + column + "), 0) FROM backlite_stats WHERE span = 1 AND queue = '" +
                       queue + "'");
}

TEST_CASE("statistics: count what was added and how each attempt ended") {
    const TempFolder folder;
    Journal journal;
    Look* look = nullptr;
    std::unique_ptr<Look> made;
    {
        Client client(quick(folder.file("q.db")));
        client.register_queue<Work>([&journal](backlite::Context& context, const Work& work) -> Outcome {
            journal.note(work.name);
            if (work.name == "fails") throw std::runtime_error("no");
            if (work.name == "once" && context.attempt() == 1) throw std::runtime_error("not yet");
            if (work.name == "discard") return Outcome::discard("no use");
            return Outcome::success();
        });
        client.register_queue<Other>([](const Other&) {});
        made = std::make_unique<Look>(folder.file("q.db"));
        look = made.get();
        client.start();
        client.add(Work{"good"}).save();
        client.add(Work{"fails"}, Work{"once"}, Other{1}).save();
        client.add(Work{"discard"}).save();
        client.add(std::vector<Other>(100)).save();
        client.add(Work{"later"}).wait(1h).save();
        CHECK(eventually([&] { return look->tasks() == 1; }));
        CHECK(client.stop(1h));
    }
    CHECK(sum(*look, "added") == 5);
    CHECK(sum(*look, "started") == 6);
    CHECK(sum(*look, "succeeded") == 2);
    CHECK(sum(*look, "failed") == 2);
    CHECK(sum(*look, "retried") == 2);
    CHECK(sum(*look, "added", "other") == 101);
    CHECK(sum(*look, "succeeded", "other") == 101);
    CHECK(look->number("SELECT sum(added) FROM backlite_stats WHERE span = 30") == 106);
}

TEST_CASE("statistics: count a task that was added in the host's transaction once that is committed") {
    const TempFolder folder;
    Client client(quick(folder.file("q.db")));
    Look look(folder.file("q.db"));
    SQLite::Database host(folder.file("q.db"), SQLite::OPEN_READWRITE);
    for (const bool commits : {false, true}) {
        SQLite::Transaction transaction(host);
        client.add(Work{"a"}, Work{"b"}).tx(host).save();
        if (commits) transaction.commit();
    }
    CHECK(sum(look, "added") == 2);
}

TEST_CASE("statistics: count a task that plain SQL added from its start on") {
    const TempFolder folder;
    Client client(quick(folder.file("q.db")));
    client.register_queue<Work>([](const Work&) {});
    client.start();
    Look look(folder.file("q.db"));
    look.run("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1000, 'work', x'7b7d')");
    CHECK(eventually([&] { return sum(look, "succeeded") == 1; }));
    CHECK(sum(look, "started") == 1);
    CHECK(sum(look, "added") == 0);
}

TEST_CASE("statistics: a client that only adds counts all, the last of them when it ends") {
    const TempFolder folder;
    Look* look = nullptr;
    std::unique_ptr<Look> made;
    {
        Client client(quick(folder.file("q.db")));
        made = std::make_unique<Look>(folder.file("q.db"));
        look = made.get();
        client.add(Work{"first"}).save();
        CHECK(sum(*look, "added") == 1);
        for (int i = 0; i < 20; ++i) client.add(Work{"more"}).save();
    }
    CHECK(sum(*look, "added") == 21);
}

TEST_CASE("statistics: a started client counts its adds though nothing is to be done") {
    const Uncapped uncapped;
    const TempFolder folder;
    Client client(quick(folder.file("q.db")));
    client.register_queue<Work>([](const Work&) {});
    client.start();
    Look look(folder.file("q.db"));
    std::this_thread::sleep_for(1200ms);  // a client that has just started looks more often
    for (int i = 0; i < 20; ++i) client.add(Work{"later"}).wait(1h).save();
    CHECK(eventually([&] { return sum(look, "added") == 20; }));
}

TEST_CASE("statistics: an add that fails is not counted, and those before it are") {
    const TempFolder folder;
    ClientConfig config = quick(folder.file("q.db"));
    { const Client install(config); }
    config.open = [file = config.database] {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        database.exec("PRAGMA max_page_count=100");
        return database;
    };
    Look look(folder.file("q.db"));
    {
        Client client(config);
        client.add(Work{"first"}).save();
        client.add(Work{"second"}).save();
        std::this_thread::sleep_for(1100ms);  // by now an add counts itself, and those before it
        CHECK_THROWS_AS(client.add(Work{std::string(1'000'000, 'x')}).save(), backlite::FullError);
    }
    CHECK(sum(look, "added") == 2);
}

}  // namespace
