// SPDX-License-Identifier: MIT
// What a process that dies while it runs tasks leaves behind, and what others make of it.

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

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
using backlite::Context;
using backlite::Outcome;
using backlite::TaskId;
using backlite::TaskStatus;

struct Work {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "work", .max_attempts = 3}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name)

struct Other {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "other"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Other, name)

// Runs tasks in a process of its own until it is killed; `work` is what they do.
template <class Processor>
void run_until_killed(const std::string& file, unsigned workers, const Process::Inside& parent, Processor work) {
    ClientConfig config = quick(file, workers);
    config.logger = backlite::make_logger([parent](auto, std::string_view message, auto) {
        if (message == "task processed") parent.say("processed");
    });
    Client client{config};
    client.register_queue<Work>(work);
    client.start();
    parent.say("started");
    for (;;) ::pause();
}

void set_up(const std::string& file, const std::vector<Work>& tasks) {
    Client client{quick(file)};
    client.add(tasks).save();
}

// Tasks with `crashed` in their names have crashed once, those with `last` twice.
void note_crashes(const std::string& file) {
    Look look(file);
    look.run("UPDATE backlite_tasks SET crashes = 1 WHERE CAST(task AS text) LIKE '%crashed%'");
    look.run("UPDATE backlite_tasks SET crashes = 2 WHERE CAST(task AS text) LIKE '%last%'");
}

// A client that notes what it runs, and holds the task of one name until the gate opens.
struct Holding {
    explicit Holding(const std::string& held, unsigned workers = 8) : client(quick(file, workers)) {
        client.register_queue<Work>([this, held](const Work& work) {
            journal.note(work.name);
            if (work.name == held) gate.pass();
        });
    }
    Holding(const Holding&) = delete;
    Holding& operator=(const Holding&) = delete;

    TempFolder folder{};
    const std::string file = folder.file("q.db");
    Journal journal{};
    Gate gate{};
    Client client;
    const OpensAtEnd opens{gate};
};

// Lets a client that runs no tasks take back what the dead hold.
void rescue_only(const std::string& file) {
    Client client{quick(file)};
    client.start();
    CHECK(client.stop(1h));
}

TEST_CASE_METHOD(Story,
                 "crash: a process killed inside a processor counts one, spends no attempt, and the task runs again") {
    Process worker([&](const Process::Inside& parent) {
        parent.wait();
        run_until_killed(file, 1, parent, [&](const Work&) {
            parent.say("inside");
            ::pause();
        });
    });
    set_up(file, {{"a"}});
    worker.next();
    REQUIRE(worker.await("inside"));
    worker.kill();

    rescue_only(file);
    Look look(file);
    CHECK(look.tasks("claimed_at IS NULL AND owner IS NULL AND crashes = 1 AND attempts = 0 AND claim = 1") == 1);
    CHECK(look.number("SELECT count(*) FROM backlite_clients") == 0);

    Client client{quick(file)};
    client.register_queue<Work>(
        [&](Context& context, const Work&) { journal.note(fmt::format("attempt {}", context.attempt())); });
    client.start();
    CHECK(journal.await("attempt 1"));
    CHECK(client.stop(1h));
    CHECK(look.tasks() == 0);
}

TEST_CASE("crash: an abort inside a processor counts for that task alone") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Process worker([&](const Process::Inside& parent) {
        parent.wait();
        run_until_killed(file, 1, parent, [&](const Work& work) {
            if (work.name == "abort") std::abort();
        });
    });
    set_up(file, {{"fine"}, {"abort"}, {"later"}});
    worker.next();
    CHECK(worker.join() == -SIGABRT);
    rescue_only(file);
    Look look(file);
    CHECK(look.tasks("claimed_at IS NULL AND attempts = 0") == look.tasks());
    CHECK(look.tasks("crashes = 1 AND json_extract(CAST(task AS text), '$.name') = 'abort'") == 1);
    CHECK(look.number("SELECT sum(crashes) FROM backlite_tasks") == 1);
}

TEST_CASE("crash: claims that were never entered spend nothing") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Process worker([&](const Process::Inside& parent) {
        parent.wait();
        run_until_killed(file, 1, parent, [&](const Work& work) {
            if (work.name != "slow") return;
            parent.say("inside");
            ::pause();
        });
    });
    std::vector<Work> tasks(60, Work{"quick"});
    tasks[30].name = "slow";  // after enough quick ones that those behind it are claimed ahead
    set_up(file, tasks);
    worker.next();
    REQUIRE(worker.await("inside"));
    Look look(file);
    REQUIRE(eventually([&] { return look.tasks("claimed_at IS NOT NULL") > 1; }));
    worker.kill();
    const std::int64_t left = look.tasks();
    rescue_only(file);
    CHECK(look.tasks("claimed_at IS NULL AND attempts = 0") == left);
    CHECK(look.tasks("crashes = 0") == left - 1);
    CHECK(look.tasks("crashes = 1 AND json_extract(CAST(task AS text), '$.name') = 'slow'") == 1);
}

TEST_CASE("crash: an attempt that had returned, but was not committed, spends nothing and runs again") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Process worker([&](const Process::Inside& parent) {
        parent.wait();
        run_until_killed(file, 1, parent, [&](const Work&) {
            parent.say("inside");
            parent.wait();
        });
    });
    set_up(file, {{"a"}});
    worker.next();
    REQUIRE(worker.await("inside"));
    {
        const WriteLock others(file);
        worker.next();
        REQUIRE(worker.await("processed"));
        worker.kill();
    }
    rescue_only(file);
    Look look(file);
    CHECK(look.tasks("claimed_at IS NULL AND attempts = 0 AND crashes = 0") == 1);
}

TEST_CASE("crash: what a death costs is at most the tasks inside and the outcomes of the last moments") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    constexpr int tasks = 3000;
    Process worker([&](const Process::Inside& parent) {
        parent.wait();
        std::atomic<int> ran{0};
        run_until_killed(file, 2, parent, [&](const Work&) {
            if (++ran == tasks / 2) ::raise(SIGKILL);
        });
    });
    set_up(file, std::vector<Work>(tasks, Work{"quick"}));
    worker.next();
    CHECK(worker.join() == -SIGKILL);
    std::atomic<int> ran{0};
    Client client{quick(file)};
    client.register_queue<Work>([&](const Work&) { ++ran; });
    client.start();
    CHECK(eventually([&] { return Look(file).tasks() == 0; }));
    CHECK(client.stop(1h));
    CHECK(ran >= tasks / 2 + 1);
    CHECK(ran <= tasks / 2 + 1 + 1024);  // two batches of the most that is claimed ahead
}

TEST_CASE_METHOD(Story, "crash: snoozes and give-backs spend neither attempts nor crashes") {
    Client client{quick(file)};
    client.register_queue<Work>([&](Context& context, const Work& work) -> Outcome {
        journal.note(fmt::format("{} {}", work.name, context.attempt()));
        if (work.name == "snoozes" && journal.count("snoozes 1") <= 5) return Outcome::snooze(0ms);
        if (work.name == "waits" && journal.count("waits 1") == 1) {
            while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
            return Outcome::retry("interrupted");
        }
        return Outcome::snooze(1h);
    });
    client.add(Work{"snoozes"}, Work{"waits"}).save();
    client.start();
    REQUIRE(journal.await("snoozes 1", 6));
    REQUIRE(journal.await("waits 1"));
    CHECK_FALSE(client.stop(0ms));
    CHECK(eventually([&] { return client.stop(1h); }));
    client.start();
    CHECK(journal.await("waits 1", 2));
    CHECK(client.stop(1h));
    CHECK(Look(file).tasks("attempts = 0 AND crashes = 0 AND wait_until IS NOT NULL") == 2);
}

TEST_CASE("crash: after max_crashes a task fails for good without running, kept with an error that says so") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    std::vector<std::unique_ptr<Process>> workers;
    for (int i = 0; i < 3; ++i) {
        workers.push_back(std::make_unique<Process>([&](const Process::Inside& parent) {
            parent.wait();
            run_until_killed(file, 2, parent, [](const Work&) { ::raise(SIGKILL); });
        }));
    }
    set_up(file, {{"poison"}});
    Look look(file);
    const std::string id = look.text("SELECT id FROM backlite_tasks");
    for (int i = 0; i < 3; ++i) {
        CHECK(look.number("SELECT crashes FROM backlite_tasks") == (i == 0 ? 0 : i - 1));
        workers[static_cast<std::size_t>(i)]->next();
        CHECK(workers[static_cast<std::size_t>(i)]->join() == -SIGKILL);
    }
    std::atomic<int> ran{0};
    Client client{quick(file)};
    client.register_queue<Work>([&](const Work&) { ++ran; });
    client.start();
    CHECK(eventually([&] { return client.status(TaskId::parse(id)) == TaskStatus::failed; }));
    CHECK(ran == 0);
    CHECK(look.completed("attempts = 0 AND succeeded = 0 AND task IS NOT NULL AND error LIKE '%died 3 times%'") == 1);
    const std::int64_t days =
        look.number("SELECT (expires_at - last_executed_at) / 86400000 FROM backlite_tasks_completed");
    CHECK(days == 7);
}

TEST_CASE("crash: deaths count only since the last run that came back, so a task that snoozes outlives any number") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    std::vector<std::unique_ptr<Process>> workers;
    for (int i = 0; i < 4; ++i) {
        workers.push_back(std::make_unique<Process>([&](const Process::Inside& parent) {
            parent.wait();
            int runs = 0;
            run_until_killed(file, 1, parent, [&](const Work&) {
                if (++runs == 2) ::raise(SIGKILL);
                return Outcome::snooze(0ms);
            });
        }));
    }
    set_up(file, {{"poller"}});
    for (const auto& worker : workers) {
        worker->next();
        CHECK(worker->join() == -SIGKILL);
    }
    std::atomic<int> ran{0};
    Client client{quick(file)};
    client.register_queue<Work>([&](const Work&) { ++ran; });
    client.start();
    CHECK(eventually([&] { return ran == 1; }));
}

TEST_CASE("crash: a poison task beside three long ones: it fails, and they all succeed") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    const auto work = [&](const Process::Inside& parent) {
        parent.wait();
        std::atomic<int> inside{0};
        ClientConfig config = quick(file, 4);
        Client client{config};
        client.register_queue<Work>([&](const Work& task) {
            if (task.name == "poison") {
                // Dies when the others are in the middle, if they are there.
                for (int i = 0; i < 150 && inside < 3; ++i) std::this_thread::sleep_for(1ms);
                ::raise(SIGKILL);
            }
            ++inside;
            std::this_thread::sleep_for(400ms);
            parent.say("succeeded " + task.name);
        });
        client.start();
        while (!client.counts().empty()) std::this_thread::sleep_for(2ms);
        client.stop(1h);
    };
    std::vector<std::unique_ptr<Process>> workers;
    for (int i = 0; i < 8; ++i) workers.push_back(std::make_unique<Process>(work));
    set_up(file, {{"one"}, {"two"}, {"three"}, {"poison"}});

    int deaths = 0;
    for (const auto& worker : workers) {
        worker->next();
        const int result = worker->join();
        if (result == 0) break;
        CHECK(result == -SIGKILL);
        ++deaths;
    }
    CHECK(deaths == 3);
    Look look(file);
    CHECK(look.tasks() == 0);
    CHECK(look.completed() == 1);  // successes are not kept by this queue, what was given up is
    CHECK(look.completed("json_extract(CAST(task AS text), '$.name') = 'poison' AND error LIKE '%died 3 times%'") == 1);
}

TEST_CASE_METHOD(Story, "crash: a task one crash short of its bound runs beside no other crashed task") {
    set_up(file, {{"last A"}, {"last B"}, {"crashed"}, {"fresh"}});
    note_crashes(file);
    std::array<Gate, 3> gates;
    Client client{quick(file, 8)};
    const OpensAtEnd opens_a(gates[0]);
    const OpensAtEnd opens_b(gates[1]);
    const OpensAtEnd opens_c(gates[2]);
    client.register_queue<Work>([&](const Work& work) {
        journal.note(work.name);
        if (work.name == "last A") gates[0].pass();
        if (work.name == "last B") gates[1].pass();
        if (work.name == "crashed") gates[2].pass();
    });
    client.start();
    // A fresh task that starts while others are held back shows that the dispatcher has looked at those.
    const auto look_again = [&](const std::string& name) {
        client.add(Work{name}).save();
        return journal.await(name);
    };
    REQUIRE(journal.await("last A"));
    REQUIRE(journal.await("fresh"));
    REQUIRE(look_again("second"));
    CHECK(journal.count("last B") == 0);
    CHECK(journal.count("crashed") == 0);

    gates[0].open();
    REQUIRE(journal.await("last B"));
    REQUIRE(look_again("third"));
    CHECK(journal.count("crashed") == 0);

    gates[1].open();
    CHECK(journal.await("crashed"));
    gates[2].open();
}

TEST_CASE("crash: a task one crash short of its bound waits for a crashed one that runs") {
    Holding test("crashed");
    test.client.add(Work{"crashed"}, Work{"last"}, Work{"fresh"}).save();
    note_crashes(test.file);
    test.client.start();
    REQUIRE(test.journal.await("crashed"));
    REQUIRE(test.journal.await("fresh"));
    test.client.add(Work{"second"}).save();
    REQUIRE(test.journal.await("second"));
    CHECK(test.journal.count("last") == 0);
    test.gate.open();
    CHECK(test.journal.await("last"));
}

TEST_CASE("crash: a task that waits for a crashed one is not forgotten over tasks of other queues") {
    const Uncapped uncapped;
    Holding test("crashed");
    test.client.register_queue<Other>([&](const Other& other) { test.journal.note(other.name); });
    test.client.add(Work{"crashed"}, Work{"last"}).save();
    note_crashes(test.file);
    test.client.start();
    REQUIRE(test.journal.await("crashed"));
    test.client.add(Other{"a"}, Other{"b"}).save();  // two are claimed by the dispatcher
    REQUIRE(test.journal.await_size(3));
    CHECK(test.journal.count("last") == 0);
    test.gate.open();
    CHECK(test.journal.await("last"));
}

TEST_CASE("crash: a crashed task that found no worker free starts once one is") {
    const Uncapped uncapped;
    Holding test("long", 1);
    test.client.start();
    for (int i = 1; i <= 5; ++i) {  // the queue's tasks are known to be quick, so they are claimed ahead
        test.client.add(Work{"quick"}).save();
        REQUIRE(test.journal.await("quick", i));
    }
    REQUIRE(eventually([&] { return test.client.counts().empty(); }));
    test.client.add(Work{"long"}).save();
    REQUIRE(test.journal.await("long"));
    Look look(test.file);
    look.run(
        "INSERT INTO backlite_tasks (id, queue, created_at, crashes, task) VALUES "
        "('1', 'work', 1, 1, CAST('{\"name\":\"crashed\"}' AS BLOB)), "
        "('2', 'work', 2, 0, CAST('{\"name\":\"ahead\"}' AS BLOB))");
    REQUIRE(eventually([&] { return look.tasks("id = '2' AND claimed_at IS NOT NULL") == 1; }));
    CHECK(look.tasks("id = '1' AND claimed_at IS NULL") == 1);
    test.gate.open();
    CHECK(test.journal.await("crashed"));
}

TEST_CASE("crash: records of another boot or of another side file are not believed") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    const auto killed_inside = [&](const Process::Inside& parent) {
        parent.wait();
        run_until_killed(file, 1, parent, [&](const Work&) {
            parent.say("inside");
            ::pause();
        });
    };
    Process before_reboot(killed_inside);
    Process before_copy(killed_inside);
    set_up(file, {{"a"}});
    Look look(file);

    before_reboot.next();
    REQUIRE(before_reboot.await("inside"));
    before_reboot.kill();
    look.run("UPDATE backlite_clients SET boot_id = 'another'");
    rescue_only(file);
    CHECK(look.tasks("claimed_at IS NULL AND crashes = 0 AND attempts = 0") == 1);

    before_copy.next();
    REQUIRE(before_copy.await("inside"));
    before_copy.kill();
    look.run("UPDATE backlite_meta SET value = '0123456789abcdef0123456789abcdef' WHERE key = 'side_file_id'");
    rescue_only(file);
    CHECK(look.tasks("claimed_at IS NULL AND crashes = 0 AND attempts = 0") == 1);
}

}  // namespace
