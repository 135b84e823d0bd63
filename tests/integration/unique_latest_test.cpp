// SPDX-License-Identifier: MIT
// Unique keys that count only while a task waits, or after it has ended, and tasks that are debounced.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace unique_latest_test {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::AddedAs;
using backlite::AddResult;
using backlite::CancelResult;
using backlite::Client;
using backlite::Conflict;
using backlite::DuplicateError;
using backlite::Event;
using backlite::EventKind;
using backlite::Outcome;
using backlite::QueueConfig;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UniqueUntil;
using Names = std::vector<std::string>;

/// Of each document the newest state is saved, one at a time.
struct Save {
    std::string document{};
    int revision = 0;
    [[nodiscard]] std::string unique_key() const { return document; }
    static QueueConfig config() {
        return {.name = "save",
                .max_attempts = 50,
                .retention = backlite::Retention{},
                .max_crashes = 50,
                .unique = {.conflict = Conflict::latest}};
    }
};
/// A change while it runs asks for another run.
struct Index {
    std::string folder{};
    static QueueConfig config() {
        return {
            .name = "index", .max_attempts = 3, .unique = {.conflict = Conflict::keep, .until = UniqueUntil::started}};
    }
};
/// Not twice an hour.
struct Alert {
    std::string text{};
    static QueueConfig config() { return {.name = "alert", .unique = {.conflict = Conflict::keep, .period = 1h}}; }
};
/// After a pause of two seconds, or of five at most.
struct Search {
    std::string text{};
    [[nodiscard]] std::string unique_key() const { return "box"; }
    static QueueConfig config() {
        return {.name = "search",
                .unique = {.conflict = Conflict::replace, .debounce = 2s, .max_delay = 5s},
                .expires_after = 1h};
    }
};
struct Endless {
    std::string text{};
    static QueueConfig config() {
        return {.name = "endless", .unique = {.conflict = Conflict::replace, .debounce = backlite::Duration::max()}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Save, document, revision)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Index, folder)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Alert, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Search, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Endless, text)

/// A client whose tasks note what they are, wait at the gate, and end as they are told.
struct Studio : Story {
    Studio() {
        config.observers = {[this](const Event& event) { seen.add(event); }};
        open();
    }
    ~Studio() { gate.open(); }

    void open() {
        client.reset();
        client.emplace(config);
        client->register_queue<Save>([this](const Save& save) { return run(name_of(save)); });
        client->register_queue<Index>([this](const Index& index) { return run(index.folder); });
        client->register_queue<Alert>([this](const Alert& alert) { return run(alert.text); });
        client->register_queue<Search>([this](const Search& search) { return run(search.text); });
    }

    static std::string name_of(const Save& save) { return fmt::format("{} {}", save.document, save.revision); }

    Outcome run(const std::string& name) {
        journal.note(name);
        gate.pass();
        return answer ? answer(name) : Outcome::success();
    }

    /// A first one that runs, and waits at the gate.
    TaskId running(const Save& save) {
        if (!started_) client->start();
        started_ = true;
        const TaskId id = client->add(save).save().front();
        REQUIRE(journal.await(name_of(save)));
        return id;
    }

    Gate gate{};
    Events<Event> seen{};
    std::function<Outcome(const std::string&)> answer{};
    std::optional<Client> client{};

private:
    bool started_ = false;
};

// ---- latest ---------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Studio, "latest: beside one that runs the newest waits, and runs as soon as that has ended") {
    const Uncapped uncapped;
    const TaskId first = running({"a", 1});
    const AddResult second = client->add(Save{"a", 2}).save_results().front();
    CHECK(second.as == AddedAs::inserted);
    CHECK(client->add(Save{"a", 3}).save_results().front() == AddResult{second.id, AddedAs::replaced});
    const TaskId other = client->add(Save{"b", 1}).save().front();
    REQUIRE(journal.await("b 1"));
    CHECK(client->status(second.id) == TaskStatus::pending);
    CHECK(client->counts().front().waiting == 1);
    gate.open();
    REQUIRE(journal.await("a 3"));
    REQUIRE(client->wait_idle(patience));
    CHECK(journal.entries() == Names{"a 1", "b 1", "a 3"});
    for (const TaskId& id : {first, second.id, other}) CHECK(client->status(id) == TaskStatus::succeeded);
    CHECK(Look(file).number("SELECT count(*) FROM backlite_keys") == 0);
}

TEST_CASE_METHOD(Studio, "latest: one that would run again ends as cancelled, and says by which it was superseded") {
    const std::string way = GENERATE("throws", "retries", "snoozes");
    CAPTURE(way);
    const Uncapped uncapped;
    answer = [&](const std::string& name) {
        if (name != "a 1") return Outcome::success();
        if (way == "throws") throw std::runtime_error("broken");
        return way == "retries" ? Outcome::retry_in(1h, "later") : Outcome::snooze(1h);
    };
    const TaskId first = running({"a", 1});
    const TaskId second = client->add(Save{"a", 2}).save().front();
    gate.open();
    REQUIRE(journal.await("a 2"));
    REQUIRE(client->wait_idle(patience));
    CHECK(client->status(first) == TaskStatus::cancelled);
    CHECK(client->status(second) == TaskStatus::succeeded);
    CHECK(Look(file).text("SELECT error FROM backlite_tasks_completed WHERE id = '" + first.str() + "'") ==
          "superseded by " + second.str());
    CHECK(seen.wait_until([&](const auto& events) {
        return std::any_of(events.begin(), events.end(), [&](const Event& event) {
            return event.kind == EventKind::cancelled && event.task_id == first;
        });
    }));
}

TEST_CASE_METHOD(Studio, "latest: one that fails for good has failed, and the newer one runs") {
    answer = [&](const std::string& name) { return name == "a 1" ? Outcome::discard("no") : Outcome::success(); };
    const TaskId first = running({"a", 1});
    client->add(Save{"a", 2}).save();
    gate.open();
    REQUIRE(journal.await("a 2"));
    CHECK(client->status(first) == TaskStatus::failed);
}

TEST_CASE_METHOD(Studio, "latest: one that is stopped is given back, and is superseded with that") {
    const TaskId first = running({"a", 1});
    answer = [&](const std::string&) -> Outcome { throw std::runtime_error("stopped"); };
    const TaskId second = client->add(Save{"a", 2}).save().front();
    std::jthread stopping([&] { CHECK_NOTHROW(static_cast<void>(client->stop(0ms))); });
    stopping.join();
    gate.open();
    REQUIRE(eventually([&] { return client->status(first) == TaskStatus::cancelled; }));
    CHECK(client->status(second) == TaskStatus::pending);
    CHECK(Look(file).tasks("hold = 0 AND claimed_at IS NULL") == 1);
}

TEST_CASE_METHOD(Studio, "latest: cancelled while it runs it makes way, and cancelled while it waits it is gone") {
    answer = [&](const std::string&) -> Outcome { throw std::runtime_error("stopped"); };
    const TaskId first = running({"a", 1});
    const TaskId second = client->add(Save{"a", 2}).save().front();
    CHECK(client->cancel(second) == CancelResult::cancelled);
    const TaskId third = client->add(Save{"a", 3}).save().front();
    CHECK(third != second);
    CHECK(client->cancel(first) == CancelResult::requested);
    answer = nullptr;
    gate.open();
    REQUIRE(journal.await("a 3"));
    REQUIRE(client->wait_idle(patience));
    CHECK(client->status(third) == TaskStatus::succeeded);
}

TEST_CASE_METHOD(Studio, "latest: an add within the host's transaction waits too, and a success within one frees it") {
    const Uncapped uncapped;
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    running({"a", 1});
    {
        backlite::Transaction transaction(*client, database);
        CHECK(client->add(Save{"a", 2}).tx(transaction).save_results().front().as == AddedAs::inserted);
        CHECK(client->add(Save{"a", 3}).tx(transaction).save_results().front().as == AddedAs::replaced);
        transaction.commit();
    }
    CHECK(Look(file).tasks("hold = 4") == 1);
    gate.open();
    REQUIRE(journal.await("a 3"));
}

TEST_CASE_METHOD(Studio,
                 "latest: where another program deletes the one that runs, or gives it back, the newer one runs") {
    const std::string sql = GENERATE("DELETE FROM backlite_tasks WHERE id = '{}'",
                                     "UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL WHERE id = '{}'");
    CAPTURE(sql);
    const Uncapped uncapped;
    const TaskId first = running({"a", 1});
    client->add(Save{"a", 2}).save();
    Look(file).run(fmt::format(fmt::runtime(sql), first.str()));
    REQUIRE(journal.await("a 2"));
    gate.open();
    REQUIRE(client->wait_idle(patience));
    CHECK(Look(file).tasks() == 0);
    CHECK(Look(file).number("SELECT count(*) FROM backlite_keys") == 0);
}

TEST_CASE_METHOD(Studio, "latest: a task that another program has claimed is stepped aside from, and its key is free") {
    const TaskId first = client->add(Save{"a", 1}).save().front();
    Look look(file);
    look.run("UPDATE backlite_tasks SET claimed_at = 5");
    const AddResult second = client->add(Save{"a", 2}).save_results().front();
    CHECK(second.as == AddedAs::inserted);
    CHECK(look.tasks("hold = 4") == 1);
    look.run("UPDATE backlite_tasks SET claimed_at = NULL");
    client->start();
    gate.open();
    REQUIRE(journal.await("a 2"));
    REQUIRE(client->wait_idle(patience));
    CHECK(client->status(first) == TaskStatus::cancelled);
}

TEST_CASE_METHOD(Studio, "latest: an add within a deferred transaction waits for another writer") {
    SQLite::Database database(file, SQLite::OPEN_READWRITE, static_cast<int>(patience.count()));
    for (const bool period : {false, true}) {
        database.exec("BEGIN");
        std::optional<WriteLock> lock(std::in_place, file);
        std::jthread other([&] {
            std::this_thread::sleep_for(20ms);  // it waits by then, or finds the lock free
            lock.reset();
        });
        const auto results = period ? client->add(Alert{"disk"}).tx(database).save_results()
                                    : client->add(Save{"a", 1}).tx(database).save_results();
        CHECK(results.front().as == AddedAs::inserted);
        database.exec("COMMIT");
    }
    CHECK(Look(file).tasks() == 2);
}

// ---- started --------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Studio, "started: what is added while one runs is another task, and one more waits at most") {
    client->start();
    const TaskId first = client->add(Index{"a"}).save().front();
    REQUIRE(journal.await("a"));
    const AddResult second = client->add(Index{"a"}).save_results().front();
    CHECK(second.as == AddedAs::inserted);
    REQUIRE(journal.await("a", 2));  // they may run together
    const AddResult third = client->add(Index{"a"}).wait(1h).save_results().front();
    CHECK(third.as == AddedAs::inserted);
    CHECK(client->add(Index{"a"}).save_results().front() == AddResult{third.id, AddedAs::existing});
    gate.open();
    CHECK(eventually([&] { return client->status(second.id) == TaskStatus::not_found; }));
    CHECK(client->status(first) == TaskStatus::not_found);
}

TEST_CASE_METHOD(Studio, "started: one that fails takes its key again, or goes on without it beside a newer one") {
    const bool newer = GENERATE(false, true);
    answer = [&](const std::string&) { return Outcome::retry_in(1h, "later"); };
    client->start();
    const TaskId first = client->add(Index{"a"}).save().front();
    REQUIRE(journal.await("a"));
    std::optional<AddResult> second;
    if (newer) second = client->add(Index{"a"}).wait(2h).save_results().front();
    gate.open();
    REQUIRE(eventually([&] { return client->status(first) == TaskStatus::pending; }));
    CHECK(client->add(Index{"a"}).save().front() == (newer ? second->id : first));
    CHECK(Look(file).tasks() == (newer ? 2 : 1));
    CHECK(Look(file).tasks("unique_key IS NOT NULL") == 1);
}

// ---- period ---------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Studio,
                 "period: a key counts after its task has succeeded, also over a restart, and no payload is kept") {
    const auto clock = std::make_shared<backlite::testing::ManualClock>();
    config.clock = clock;
    open();
    gate.open();
    client->start();
    const TaskId id = client->add(Alert{"disk"}).save().front();
    REQUIRE(journal.await("disk"));
    REQUIRE(client->wait_idle(patience));
    CHECK(client->status(id) == TaskStatus::succeeded);
    CHECK(Look(file).completed("task IS NULL AND unique_key IS NOT NULL") == 1);
    open();
    CHECK(client->add(Alert{"disk"}).save_results().front() == AddResult{id, AddedAs::existing});
    CHECK(client->add(Alert{"fan"}).save_results().front().as == AddedAs::inserted);
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    database.exec("BEGIN");
    CHECK(client->add(Alert{"disk"}).tx(database).save() == std::vector{id});
    database.exec("ROLLBACK");
    clock->advance(1h);
    CHECK(client->add(Alert{"disk"}).save_results().front().as == AddedAs::inserted);
}

TEST_CASE_METHOD(Studio, "period: of tasks that are kept for ever only the last one keeps others out") {
    const auto clock = std::make_shared<backlite::testing::ManualClock>();
    config.clock = clock;
    open();
    gate.open();
    client->start();
    Look look(file);
    for (int round = 1; round <= 3; ++round) {
        client->add(Alert{"disk"}).save();
        REQUIRE(journal.await("disk", round));
        REQUIRE(client->wait_idle(patience));
        look.run("UPDATE backlite_tasks_completed SET expires_at = NULL");
        CHECK(look.completed() == round);
        CHECK(look.completed("unique_key IS NOT NULL") == 1);
        clock->advance(1h);
    }
}

TEST_CASE_METHOD(Studio, "period: a kept row of the future was written by a wrong clock, and keeps nobody out") {
    gate.open();
    client->start();
    client->add(Alert{"disk"}).save();
    REQUIRE(journal.await("disk"));
    REQUIRE(client->wait_idle(patience));
    CHECK(client->add(Alert{"disk"}).save_results().front().as == AddedAs::existing);
    Look(file).run("UPDATE backlite_tasks_completed SET last_executed_at = last_executed_at + 7200000");
    CHECK(client->add(Alert{"disk"}).save_results().front().as == AddedAs::inserted);
}

// ---- debounce -------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Studio, "debounce: each add pushes the time, up to the bound, and its last payload runs") {
    const auto clock = std::make_shared<backlite::testing::ManualClock>();
    config.clock = clock;
    open();
    Look look(file);
    const auto due = [&] { return look.number("SELECT due - created_at FROM backlite_tasks"); };
    const TaskId id = client->add(Search{"c"}).save().front();
    CHECK(due() == 2'000);
    clock->advance(1'500ms);
    CHECK(client->add(Search{"c+"}).save() == std::vector{id});
    CHECK(due() == 3'500);
    clock->advance(1'500ms);
    CHECK(client->add(Search{"c++"}).save() == std::vector{id});
    CHECK(due() == 5'000);
    clock->advance(1'900ms);
    CHECK(client->add(Search{"c++2"}).save() == std::vector{id});
    CHECK(due() == 5'000);
    clock->advance(200ms);  // it is due, and waits for a worker
    CHECK(client->add(Search{"c++20"}).save() == std::vector{id});
    CHECK(due() == 5'000);
    gate.open();
    client->start();
    REQUIRE(journal.await("c++20"));
    REQUIRE(client->wait_idle(patience));
    CHECK(journal.entries() == Names{"c++20"});
}

TEST_CASE_METHOD(Studio, "debounce: a time of its own counts, and an expiry counts from when a task is due") {
    const auto clock = std::make_shared<backlite::testing::ManualClock>();
    config.clock = clock;
    open();
    Look look(file);
    const auto due = [&] { return look.number("SELECT due - created_at FROM backlite_tasks"); };
    client->add(Search{"a"}).save();
    CHECK(look.number("SELECT expires_at - due FROM backlite_details, backlite_tasks") == 3'600'000);
    client->add(Search{"b"}).wait(10min).save();
    CHECK(due() == 600'000);
    client->add(Search{"c"}).save();
    CHECK(due() == 2'000);
    CHECK(look.number("SELECT expires_at - due FROM backlite_details, backlite_tasks") == 3'600'000);
}

TEST_CASE_METHOD(Studio, "debounce: the dispatcher wakes up at the time that the last add has left it") {
    const Uncapped uncapped;
    gate.open();
    client->start();
    client->add(Search{"a"}).wait(1h).save();
    client->add(Search{"b"}).save();
    REQUIRE(journal.await("b"));
}

TEST_CASE_METHOD(Studio, "debounce: a time that cannot be stored is a ConfigError, and nothing is added") {
    CHECK(message_of<backlite::ConfigError>([&] { client->add(Endless{"a"}).save(); }) ==
          "queue \"endless\": unique.debounce: 9223372036854775807 ms is too long");
    CHECK(Look(file).tasks() == 0);
}

// ---- races ----------------------------------------------------------------------------------------------------------

TEST_CASE("latest: however many threads and processes add, of a key one runs at a time, and the last one added last") {
    constexpr int keys = 4;
    constexpr int revisions = 150;
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    // Each process adds to keys of its own, so that it knows what it added last; all of them run all keys.
    const auto add_all = [&](const std::string& prefix) {
        Client client(quick(file, 3));
        std::mutex mutex;
        std::set<std::string> inside;
        std::map<std::string, int> last;
        std::atomic<bool> wrong{false};
        client.register_queue<Save>([&](backlite::Context& context, const Save& save) {
            {
                const std::lock_guard lock(mutex);
                if (!inside.insert(save.document).second) wrong = true;
                int& before = last[save.document];
                if (save.revision < before) wrong = true;  // an older one after a newer
                before = save.revision;
            }
            std::this_thread::sleep_for(std::chrono::microseconds{save.revision % 7 * 100});
            const std::lock_guard lock(mutex);
            inside.erase(save.document);
            return save.revision % 5 == 0 && context.attempt() < 2 ? Outcome::retry("again") : Outcome::success();
        });
        client.start();
        {
            std::vector<std::jthread> threads;
            for (int key = 0; key < keys; ++key) {
                threads.emplace_back([&, key] {
                    for (int i = 1; i <= revisions; ++i) {
                        client.add(Save{fmt::format("{}{}", prefix, key), i}).save();
                    }
                });
            }
        }
        const bool idle = eventually([&] { return client.counts().empty(); });
        return idle && !wrong;
    };
    Process other([&](const Process::Inside& inside) { inside.say(add_all("child ") ? "good" : "bad"); });
    Process watcher([&](const Process::Inside& inside) {  // no client of its own: SQLite alone
        inside.wait();
        Look look(file);
        const auto twice =
            "SELECT count(*) FROM (SELECT 1 FROM backlite_tasks WHERE claimed_at IS NOT NULL GROUP BY "
            "json_extract(CAST(task AS text), '$.document') HAVING count(*) > 1)";
        const auto waiting =
            "SELECT count(*) FROM (SELECT 1 FROM backlite_tasks WHERE claimed_at IS NULL GROUP BY "
            "json_extract(CAST(task AS text), '$.document') HAVING count(*) > 1)";
        for (int i = 0; i < 3'000; ++i) {
            if (look.number(twice) > 0) inside.say("two run");
            if (look.number(waiting) > 0) inside.say("two wait");
        }
        inside.say("watched");
    });
    REQUIRE(eventually([&] { return std::filesystem::exists(file + "-backlite"); }));
    watcher.next();
    CHECK(add_all("parent "));
    CHECK(other.await("good"));
    CHECK(watcher.await("watched"));
    CHECK(watcher.lines() == Names{"watched"});
    Look look(file);
    CHECK(look.tasks() == 0);
    CHECK(look.number("SELECT count(*) FROM backlite_keys") == 0);
    CHECK(look.completed("error IS NOT NULL AND kind IS NOT 1") == 0);
    CHECK(look.integrity() == "ok");
}

}  // namespace unique_latest_test
