// SPDX-License-Identifier: MIT
// Several clients on one file: who holds a claim, who takes it back, and what becomes of a worker that lost one.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <row_time.hpp>
#include <temp_folder.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Outcome;
using backlite::StopReason;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::testing::ManualClock;

struct Work {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "work", .max_attempts = 3}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name)

// Only there to see that a client's dispatcher has come round: one type for each of two clients.
struct PingA {
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "ping_a"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(PingA, number)
struct PingB {
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "ping_b"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(PingB, number)

// Waits until the dispatcher of a client that registered `Ping` has looked around since the call.
template <class Ping>
class Rounds {
public:
    explicit Rounds(Client& client) : client_(client) {
        client.register_queue<Ping>([this](const Ping& ping) { journal_.note(fmt::to_string(ping.number)); });
    }

    [[nodiscard]] bool pass() {
        // Scheduled, so that the dispatcher claims it: a task that is due now may go to a worker without it.
        client_.add(Ping{++number_}).at(backlite::TimePoint{}).save();
        return journal_.await(fmt::to_string(number_));
    }

private:
    Client& client_;
    int number_ = 0;
    Journal journal_{};
};

void set_up(const std::string& file, const std::vector<Work>& tasks = {}) {
    Client client{quick(file)};
    client.add(tasks).save();
}

// ---- the number of a claim ------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Story, "claim: its number rises with each claim of the row and is never lowered") {
    Look look((set_up(file, {{"a"}}), file));
    std::vector<std::int64_t> numbers;
    Client client{quick(file)};
    client.register_queue<Work>([&](Context& context, const Work&) -> Outcome {
        const auto runs = journal.entries().size();
        journal.note("run");
        if (runs == 0) return Outcome::snooze(0ms);
        if (runs == 1) throw std::runtime_error("once more");
        if (runs == 2) {
            while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
            throw std::runtime_error("interrupted");
        }
        return Outcome::snooze(1h);
    });
    client.start();
    REQUIRE(journal.await("run", 3));
    CHECK(look.number("SELECT claim FROM backlite_tasks") == 3);
    CHECK_FALSE(client.stop(0ms));
    CHECK(eventually([&] { return client.stop(1h); }));
    CHECK(look.tasks("claim = 3 AND claimed_at IS NULL") == 1);
    client.start();
    REQUIRE(journal.await("run", 4));
    CHECK(client.stop(1h));
    CHECK(look.tasks("claim = 4 AND claimed_at IS NULL") == 1);
}

TEST_CASE("claim: whatever a worker returns whose claim was taken changes nothing") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    set_up(file);
    const std::vector<std::string> ways{"returns", "throws", "snoozes", "discards", "is stopped"};
    for (const std::string& way : ways) {
        INFO(way);
        Journal journal;
        Gate gate;
        auto log = std::make_shared<LogBook>();
        ClientConfig config = quick(file, 1);
        config.logger = log;
        Client client{config};
        const OpensAtEnd opens(gate);
        client.register_queue<Work>([&](Context& context, const Work&) -> Outcome {
            journal.note("inside");
            gate.pass();
            while (way == "is stopped" && !context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
            if (way == "throws" || way == "is stopped") throw std::runtime_error("late");
            if (way == "snoozes") return Outcome::snooze(0ms);
            if (way == "discards") return Outcome::discard("late");
            return Outcome::success();
        });
        client.add(Work{"a"}).save();
        client.start();
        REQUIRE(journal.await("inside"));
        // As another client does: the claim is given back, and taken again by somebody who does not say who it is.
        Look look(file);
        look.run("UPDATE backlite_tasks SET claim = claim + 1, owner = NULL, claimed_at = 9999999999999");
        gate.open();
        (void)client.stop(way == "is stopped" ? 0ms : 1h);
        CHECK(eventually([&] { return client.stop(1h); }));
        CHECK(log->count({"warning outcome dropped"}) == 1);
        CHECK(
            look.tasks("claim = 2 AND claimed_at = 9999999999999 AND attempts = 0 AND wait_until IS NULL AND error IS "
                       "NULL AND last_executed_at IS NULL") == 1);
        CHECK(look.completed() == 0);
        look.run("DELETE FROM backlite_tasks");
    }
}

TEST_CASE_METHOD(Story, "claim: a worker that lost it is told at its next lease, and only that one") {
    Gate gate;
    auto clock = std::make_shared<ManualClock>();
    config.num_workers = 3;
    config.clock = clock;
    config.release_after = 30s;
    Client client{config};
    const OpensAtEnd opens(gate);
    Rounds<PingA> rounds(client);
    client.register_queue<Work>([&](Context& context, const Work& work) {
        const std::stop_callback told(context.stop_token(), [&] {
            journal.note(work.name + " " + std::string{to_string(context.stop_reason())});
        });
        journal.note(work.name);
        gate.pass();
    });
    client.add(Work{"loses"}, Work{"keeps"}).save();
    client.start();
    REQUIRE(journal.await("loses"));
    REQUIRE(journal.await("keeps"));
    Look look(file);
    look.run("UPDATE backlite_tasks SET claim = claim + 1 WHERE CAST(task AS text) LIKE '%loses%'");
    clock->advance(9s);
    REQUIRE(rounds.pass());
    CHECK(journal.entries().size() == 2);
    clock->advance(1s);
    REQUIRE(rounds.pass());
    CHECK(journal.await("loses claim lost"));
    CHECK(journal.entries().size() == 3);
    CHECK(look.tasks("lease = 1") == 1);
}

// ---- one holder -----------------------------------------------------------------------------------------------------

TEST_CASE("clients: several in several processes run each task once") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    constexpr int tasks = 400;
    const auto work = [&](const Process::Inside& parent) {
        parent.wait();
        {
            Client one{quick(file, 2)};
            Client two{quick(file, 2)};
            for (Client* client : {&one, &two}) {
                client->register_queue<Work>(
                    [&](Context& context, const Work&) { parent.say("ran " + context.task_id().str()); });
                client->start();
            }
            while (!one.counts().empty()) std::this_thread::sleep_for(1ms);
            if (!one.stop(1h) || !two.stop(1h)) ::_exit(5);
        }
        parent.say("done");
    };
    Process first(work);
    Process second(work);
    Process third(work);
    set_up(file, std::vector<Work>(tasks, Work{"a"}));
    const std::array<Process*, 3> processes{&first, &second, &third};
    for (Process* process : processes) process->next();
    std::multiset<std::string> ran;
    int participants = 0;
    for (Process* process : processes) {
        REQUIRE(process->await("done"));
        CHECK(process->join() == 0);
        for (const std::string& line : process->lines()) {
            if (line != "done") ran.insert(line);
        }
        if (process->lines().size() > 1) ++participants;
    }
    CHECK(ran.size() == tasks);
    CHECK(std::set<std::string>(ran.begin(), ran.end()).size() == tasks);
    CHECK(participants > 0);
    Look look(file);
    CHECK(look.tasks() == 0);
    CHECK(look.number("SELECT count(*) FROM backlite_clients") == 0);
    CHECK(look.integrity() == "ok");
}

TEST_CASE("clients: one that leaves is not taken for dead") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    auto log = std::make_shared<LogBook>();
    ClientConfig config = quick(file);
    config.logger = log;
    Client stays{config};
    Rounds<PingA> rounds(stays);
    stays.start();
    for (int i = 0; i < 20; ++i) {
        Client leaves{quick(file)};
        leaves.start();
        CHECK(leaves.stop(1h));
    }
    REQUIRE(rounds.pass());
    CHECK(log->count({"rescued"}) == 0);
    CHECK(Look(file).number("SELECT count(*) FROM backlite_clients") == 1);
}

// ---- rescue ---------------------------------------------------------------------------------------------------------

// Says that it is inside, and stays there.
auto holds(const std::string& file, std::chrono::milliseconds release_after = 10min) {
    return [file, release_after](const Process::Inside& parent) {
        parent.wait();
        ClientConfig config = quick(file, 1);
        config.release_after = release_after;
        Client client{config};
        client.register_queue<Work>([&](Context& context, const Work&) {
            parent.say("inside");
            while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
            parent.say("token fired: " + std::string{to_string(context.stop_reason())});
        });
        client.start();
        parent.wait();
        (void)client.stop(0ms);
        parent.say("stopped");
    };
}

TEST_CASE_METHOD(Story, "rescue: a client that starts takes back what the dead hold before its first claim") {
    Process dies(holds(file));
    set_up(file, {{"held"}});
    dies.next();
    REQUIRE(dies.await("inside"));
    dies.kill();
    set_up(file, {{"younger"}});

    Client client{quick(file, 1)};
    client.register_queue<Work>([&](const Work& work) { journal.note(work.name); });
    client.start();
    CHECK(journal.await("younger"));
    CHECK(journal.entries() == std::vector<std::string>{"held", "younger"});
}

TEST_CASE("rescue: a living client notices a death within about a tenth of a second") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    constexpr std::size_t deaths = 5;
    std::vector<std::unique_ptr<Process>> processes;
    for (std::size_t i = 0; i < deaths; ++i) processes.push_back(std::make_unique<Process>(holds(file)));
    set_up(file);

    std::chrono::milliseconds best = patience;
    for (std::size_t i = 0; i < deaths; ++i) {
        Journal journal;
        set_up(file, {{fmt::format("task {}", i)}});
        processes[i]->next();
        REQUIRE(processes[i]->await("inside"));
        Client client{quick(file)};
        Rounds<PingA> rounds(client);
        client.register_queue<Work>([&](const Work&) { journal.note("rescued"); });
        client.start();
        REQUIRE(rounds.pass());
        CHECK(journal.count("rescued") == 0);
        const auto died = std::chrono::steady_clock::now();
        processes[i]->kill();
        REQUIRE(journal.await("rescued"));
        const auto took = std::chrono::steady_clock::now() - died;
        best = std::min(best, std::chrono::duration_cast<std::chrono::milliseconds>(took));
        CHECK(client.stop(1h));
    }
    CHECK(best < 300ms);
    CHECK(Look(file).number("SELECT max(owner) FROM backlite_clients") == 0);
}

TEST_CASE("rescue: three living clients give a dead one's claim back once, and count one crash") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Process dies(holds(file));
    set_up(file, {{"held"}});
    dies.next();
    REQUIRE(dies.await("inside"));
    auto log = std::make_shared<LogBook>();
    std::vector<std::unique_ptr<Client>> living;
    for (int i = 0; i < 3; ++i) {
        ClientConfig config = quick(file, 1);
        config.logger = log;
        living.push_back(std::make_unique<Client>(config));
        living.back()->start();
    }
    dies.kill();
    Look look(file);
    CHECK(eventually([&] { return look.tasks("claimed_at IS NULL") == 1; }));
    for (const auto& client : living) CHECK(client->stop(1h));
    CHECK(look.tasks("crashes = 1 AND attempts = 0") == 1);
    CHECK(log->count({"rescued a dead client's claims", "claims=1"}) == 1);
    CHECK(log->count({"rescued"}) == 1);
}

TEST_CASE_METHOD(
    Story, "rescue: a frozen owner's claim is not taken before release_after, is after it, and the owner is told") {
    Process owner(holds(file, 600ms));
    set_up(file, {{"held"}});
    owner.next();
    REQUIRE(owner.await("inside"));

    auto clock = std::make_shared<ManualClock>(std::chrono::system_clock::now());
    config.clock = clock;
    config.release_after = 600ms;
    config.observers = {[&](const backlite::Event& event) {
        if (event.kind == backlite::EventKind::rescued) journal.note(fmt::format("{} rescued", event.count));
    }};
    Client client{config};
    Rounds<PingA> rounds(client);
    client.register_queue<Work>([&](const Work&) { journal.note("taken"); });
    client.start();
    REQUIRE(rounds.pass());
    freeze_at_rest(owner, file);

    // The observer's clock stands still: the owner may be frozen as long as it likes.
    std::this_thread::sleep_for(700ms);
    REQUIRE(rounds.pass());
    CHECK(journal.count("taken") == 0);
    for (int quarter = 0; quarter < 4; ++quarter) {
        clock->advance(149ms);
        REQUIRE(rounds.pass());
        REQUIRE(rounds.pass());  // what was claimed in the round before has been started by now
        CHECK(journal.count("taken") == 0);
    }
    for (int quarter = 0; quarter < 5; ++quarter) {
        clock->advance(151ms);
        REQUIRE(rounds.pass());
    }
    CHECK(journal.await("taken"));
    Look look(file);
    CHECK(eventually([&] { return look.tasks() == 0; }));

    owner.thaw();
    CHECK(owner.await("token fired: claim lost"));
    owner.next();
    CHECK(owner.await("stopped"));
    CHECK(journal.count("taken") == 1);
    CHECK(journal.await("1 rescued"));
}

TEST_CASE_METHOD(Story, "rescue: an observer that was frozen itself gives the living time to show themselves") {
    Process owner(holds(file));
    set_up(file, {{"held"}});
    owner.next();
    REQUIRE(owner.await("inside"));
    auto clock = std::make_shared<ManualClock>(std::chrono::system_clock::now());
    config.clock = clock;
    Client client{config};
    Rounds<PingA> rounds(client);
    client.register_queue<Work>([&](const Work&) { journal.note("taken"); });
    client.start();
    for (int i = 0; i < 2; ++i) {
        REQUIRE(rounds.pass());
        clock->advance(config.release_after / 4);
    }
    clock->advance(24h);
    REQUIRE(rounds.pass());
    REQUIRE(rounds.pass());  // what was claimed in the round before has been started by now
    CHECK(journal.count("taken") == 0);
    owner.next();
    CHECK(owner.await("token fired: stopping"));
}

TEST_CASE_METHOD(Story, "rescue: a lease that nobody could write is no sign of a hung owner") {
    class CountingClock final : public backlite::Clock {
    public:
        [[nodiscard]] backlite::TimePoint now() const noexcept override { return clock_.now(); }
        [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const noexcept override {
            ++reads_;
            return clock_.steady_now();
        }
        // Moves it, and waits until the client's dispatcher has gone round a few times since.
        [[nodiscard]] bool advance(backlite::Duration duration, Client& client) {
            clock_.advance(duration);
            const int enough = reads_ + 100;
            return eventually([&] {
                client.notify();
                return reads_ >= enough;
            });
        }

    private:
        ManualClock clock_{};
        mutable std::atomic<int> reads_{0};
    };
    Gate gate;
    const auto owner_clock = std::make_shared<ManualClock>();
    const auto observer_clock = std::make_shared<CountingClock>();
    config.release_after = 40s;
    config.clock = owner_clock;
    Client owner{config};
    config.clock = observer_clock;
    Client observer{config};
    const OpensAtEnd opens(gate);
    for (Client* client : {&owner, &observer}) {
        client->register_queue<Work>([&](const Work&) {
            journal.note("inside");
            gate.pass();
        });
    }
    owner.add(Work{"long"}).save();
    owner.start();
    REQUIRE(journal.await("inside"));
    observer.start();
    REQUIRE(observer_clock->advance(0s, observer));
    {
        const WriteLock others(file);
        for (int quarter = 0; quarter < 6; ++quarter) REQUIRE(observer_clock->advance(10s, observer));
    }
    // The file is free again; the owner's next try to write is still to come.
    REQUIRE(observer_clock->advance(10s, observer));
    CHECK(journal.count("inside") == 1);
    owner_clock->advance(15s);
    owner.notify();
    Look look(file);
    REQUIRE(eventually([&] { return look.number("SELECT lease FROM backlite_tasks") == 1; }));
    for (int quarter = 0; quarter < 3; ++quarter) REQUIRE(observer_clock->advance(10s, observer));
    CHECK(journal.count("inside") == 1);
    CHECK(look.tasks("claim = 1") == 1);
}

TEST_CASE_METHOD(Story, "lease: a living client keeps its claim twenty times release_after") {
    Gate gate;
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    config.release_after = 10s;
    Client owner{config};
    Client observer{config};
    const OpensAtEnd opens(gate);
    Rounds<PingA> owner_rounds(owner);
    Rounds<PingB> observer_rounds(observer);
    for (Client* client : {&owner, &observer}) {
        client->register_queue<Work>([&](Context& context, const Work&) {
            journal.note("inside");
            gate.pass();
            journal.note(std::string{to_string(context.stop_reason())});
        });
    }
    owner.add(Work{"long"}).save();
    owner.start();
    REQUIRE(journal.await("inside"));
    observer.start();
    for (int tenth = 0; tenth < 20 * 10; ++tenth) {
        clock->advance(config.release_after / 10);
        REQUIRE(owner_rounds.pass());
        REQUIRE(observer_rounds.pass());
    }
    CHECK(journal.entries() == std::vector<std::string>{"inside"});
    gate.open();
    CHECK(journal.await("none"));
    CHECK(owner.stop(1h));
    CHECK(Look(file).tasks("queue = 'work'") == 0);
}

TEST_CASE_METHOD(Story, "lease: a client that could not stop in time keeps extending those of the tasks that run on") {
    Gate gate;
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    config.release_after = 10s;
    Client owner{config};
    Client observer{config};
    const OpensAtEnd opens(gate);
    Rounds<PingB> observer_rounds(observer);
    for (Client* client : {&owner, &observer}) {
        client->register_queue<Work>([&](Context&, const Work&) {
            journal.note("inside");
            gate.pass();
        });
    }
    owner.add(Work{"stubborn"}).save();
    owner.start();
    REQUIRE(journal.await("inside"));
    observer.start();
    REQUIRE_FALSE(owner.stop(0ms));
    Look look(file);
    for (int third = 0; third < 3 * 4; ++third) {
        const std::int64_t lease = look.number("SELECT lease FROM backlite_tasks WHERE queue = 'work'");
        clock->advance(config.release_after / 3 + 1ms);
        owner.notify();
        REQUIRE(
            eventually([&] { return look.number("SELECT lease FROM backlite_tasks WHERE queue = 'work'") > lease; }));
        REQUIRE(observer_rounds.pass());
    }
    CHECK(journal.entries().size() == 1);
}

TEST_CASE_METHOD(Story,
                 "lease: one that could not be written while the file was locked is written as soon as it is free") {
    Gate gate;
    auto clock = std::make_shared<ManualClock>();
    config.clock = clock;
    config.release_after = 30s;
    config.busy_timeout = 0ms;  // a locked file is worth a log line at once
    Client client{config};
    const OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work&) {
        journal.note("inside");
        gate.pass();
    });
    client.add(Work{"long"}).save();
    client.start();
    REQUIRE(journal.await("inside"));
    Look look(file);
    {
        const WriteLock others(file);
        clock->advance(10s);
        client.notify();
        REQUIRE(log->await({"storage error"}));
    }
    clock->advance(1s);  // past the pause before the next try
    client.notify();
    CHECK(eventually([&] { return look.number("SELECT lease FROM backlite_tasks") == 1; }));
}

// ---- claims without an owner ----------------------------------------------------------------------------------------

TEST_CASE_METHOD(Story, "ownerless: a claim that does not say whose it is lapses at claimed_at plus release_after") {
    set_up(file, {{"held"}});
    auto clock = std::make_shared<ManualClock>(std::chrono::system_clock::now());
    const std::int64_t now = backlite_test::row_ms(clock->now());
    Look look(file);
    // As Go backlite claims.
    look.run(fmt::format("UPDATE backlite_tasks SET claimed_at = {}, attempts = 1", now));
    config.clock = clock;
    Client client{config};
    Rounds<PingA> rounds(client);
    client.register_queue<Work>(
        [&](Context& context, const Work&) { journal.note(fmt::format("attempt {}", context.attempt())); });
    client.start();
    clock->advance(config.release_after - 1ms);
    REQUIRE(rounds.pass());
    CHECK(look.tasks("queue = 'work' AND claimed_at IS NOT NULL") == 1);
    clock->advance(1ms);
    client.notify();
    CHECK(journal.await("attempt 2"));
}

TEST_CASE_METHOD(Story,
                 "ownerless: what has lapsed is taken at start, and claims that appear later when they fall due") {
    set_up(file, {{"old"}, {"new"}});
    auto clock = std::make_shared<ManualClock>(std::chrono::system_clock::now());
    const std::int64_t now = backlite_test::row_ms(clock->now());
    config.clock = clock;
    Look look(file);
    look.run(fmt::format("UPDATE backlite_tasks SET claimed_at = {}", now - config.release_after.count()));
    look.run(
        "UPDATE backlite_tasks SET wait_until = 9999999999999, claimed_at = NULL WHERE CAST(task AS text) LIKE "
        "'%new%'");
    Client client{config};
    Rounds<PingA> rounds(client);
    client.register_queue<Work>([&](const Work& work) { journal.note(work.name); });
    client.start();
    CHECK(journal.await("old"));
    look.run(fmt::format("UPDATE backlite_tasks SET wait_until = NULL, claimed_at = {} WHERE queue = 'work'", now));
    REQUIRE(rounds.pass());
    CHECK(journal.count("new") == 0);
    clock->advance(config.release_after);
    client.notify();
    CHECK(journal.await("new"));
}

TEST_CASE("ownerless: claims that lapse in several transactions are told of once") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    set_up(file, {});
    Look(file).run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) INSERT INTO backlite_tasks "
        "(id, created_at, queue, task, claimed_at) SELECT i, 1, 'others', x'7b7d', 1 FROM n");
    auto log = std::make_shared<LogBook>();
    ClientConfig config = quick(file);
    config.logger = log;
    Client client{config};
    client.register_queue<Work>([](const Work&) {});
    client.start();
    CHECK(log->await({"rescued claims of an unknown owner", "claims=1200"}));
    CHECK(log->count({"rescued claims of an unknown owner"}) == 1);
    CHECK(Look(file).tasks("claimed_at IS NULL") == 1200);
}

TEST_CASE_METHOD(Story, "ownerless: a claim from a time that is still to come lapses release_after from the start") {
    set_up(file, {{"held"}});
    auto clock = std::make_shared<ManualClock>(std::chrono::system_clock::now());
    config.clock = clock;
    Look look(file);
    look.run("UPDATE backlite_tasks SET claimed_at = 4102444800000");
    Client client{config};
    Rounds<PingA> rounds(client);
    client.register_queue<Work>([&](const Work& work) { journal.note(work.name); });
    client.start();
    REQUIRE(rounds.pass());
    CHECK(journal.count("held") == 0);
    clock->advance(config.release_after);
    client.notify();
    CHECK(journal.await("held"));
}

// ---- the side file --------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Story, "side file: its deletion under a running client is noticed when another client starts") {
    // The other one sees nobody's locks, so it takes the first for dead and its claims with it. The first cannot be
    // rescued any more, so it must not go on.
    config.num_workers = 1;
    config.on_fatal = [&](const backlite::Error& error) { journal.note(error.what()); };
    Client first{config};
    first.register_queue<Work>([&](Context& context, const Work& work) {
        journal.note("first " + work.name);
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        journal.note("first was told");
    });
    first.add(Work{"a"}).save();
    first.start();
    REQUIRE(journal.await("first a"));
    REQUIRE(std::filesystem::remove(file + "-backlite"));

    Client second{quick(file, 1)};
    second.register_queue<Work>([&](const Work& work) { journal.note("second " + work.name); });
    second.start();
    CHECK(journal.await("second a"));
    REQUIRE(journal.await("first was told"));
    second.add(Work{"b"}).save();
    CHECK(journal.await("second b"));
    (void)first.stop(1h);
    CHECK(second.stop(1h));
    const std::vector<std::string> entries = journal.entries();
    CHECK(std::any_of(entries.begin(), entries.end(),
                      [&](const std::string& entry) { return entry.find("-backlite") != std::string::npos; }));
    Look look(file);
    CHECK(look.tasks() == 0);
    CHECK(look.integrity() == "ok");
}

TEST_CASE("side file: a client survives that it is cut short, and goes on running tasks") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    Process process([&](const Process::Inside& inside) {  // the fault would be a SIGBUS
        Client client{quick(file)};
        client.register_queue<Work>([&](const Work& work) { inside.say(work.name); });
        client.start();
        client.add(Work{"a"}).save();
        inside.wait();
        if (!eventually([&] { return client.counts().empty(); })) inside.say("still busy");
        std::filesystem::resize_file(file + "-backlite", 0);
        if (!eventually([&] { return std::filesystem::file_size(file + "-backlite") > 0; })) inside.say("still short");
        client.add(Work{"b"}).save();
        inside.wait();
    });
    REQUIRE(process.await("a"));
    process.next();
    CHECK(process.await("b"));
    process.next();
    CHECK(process.join() == 0);
}

TEST_CASE("side file: its deletion harms no client that is alone") {
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    std::atomic<int> ran{0};
    Client client{quick(file)};
    client.register_queue<Work>([&](const Work&) { ++ran; });
    client.start();
    REQUIRE(std::filesystem::remove(file + "-backlite"));
    client.add(Work{"a"}).save();
    CHECK(eventually([&] { return ran == 1; }));
    CHECK(client.stop(1h));
    client.start();
    client.add(Work{"b"}).save();
    CHECK(eventually([&] { return ran == 2; }));
    CHECK(client.stop(1h));
}

}  // namespace
