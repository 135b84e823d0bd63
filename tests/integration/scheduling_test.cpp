// SPDX-License-Identifier: MIT
// Schedules: what clients store of them, and that started ones run their slots.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/schedule.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ConfigError;
using backlite::Cron;
using backlite::Duration;
using backlite::Every;
using backlite::Misfire;
using backlite::Overlap;
using backlite::Schedule;
using backlite::ScheduleInfo;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;
using backlite::testing::ManualClock;

struct Sweep {
    std::string room{};
    static backlite::QueueConfig config() { return {.name = "sweep"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sweep, room)

struct Report {
    int number = 0;
    static backlite::QueueConfig config() {
        return {.name = "report", .priority = 7, .unique = {.conflict = backlite::Conflict::reject}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Report, number)

/// Two clients on one file with one clock, which the test moves.
struct House : Story {
    std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
    std::shared_ptr<LogBook> log = std::make_shared<LogBook>();
    std::optional<Client> client{};
    std::optional<Client> other{};

    House() {
        open(client);
        open(other);
    }
    ~House() {
        other.reset();
        client.reset();
    }

    void open(std::optional<Client>& which) {
        backlite::ClientConfig settings = quick(file, 2);
        settings.clock = clock;
        settings.logger = log;
        which.emplace(std::move(settings));
        which->register_queue<Sweep>([this](const Sweep& sweep) { journal.note(sweep.room); });
        which->register_queue<Report>([this](const Report& report) { journal.note(fmt::format("{}", report.number)); });
    }
    void advance(Duration time) {
        clock->advance(time);
        client->notify();
        other->notify();
    }
    [[nodiscard]] ScheduleInfo info() const { return client->schedules().at(0); }
};

TEST_CASE_METHOD(House, "schedule: what is stored is told, and the same again changes nothing") {
    const Schedule nightly{.name = "nightly",
                           .when = Cron{"0 3 * * *", "+01:00"},
                           .misfire = Misfire::skip,
                           .overlap = Overlap::replace,
                           .jitter = 30s,
                           .start_deadline = 1h};
    CHECK(client->schedule(nightly, Sweep{"hall"}));
    CHECK_FALSE(client->schedule(nightly, Sweep{"hall"}));
    CHECK_FALSE(other->schedule(nightly, Sweep{"hall"}));
    const ScheduleInfo found = info();
    CHECK(found.name == "nightly");
    CHECK(found.queue == "sweep");
    CHECK(found.when == "0 3 * * *");
    CHECK(found.zone == "+01:00");
    CHECK(found.next == clock->now() + 2h);
    CHECK_FALSE(found.last);
    CHECK_FALSE(found.last_task);
    CHECK_FALSE(found.paused);
    CHECK(found.misfire == Misfire::skip);
    CHECK(found.overlap == Overlap::replace);
    CHECK(found.jitter == 30s);
    CHECK(found.start_deadline == 1h);
    CHECK(found.error.empty());
    CHECK(client->schedule(nightly, Sweep{"attic"}));
    CHECK(info().next == clock->now() + 2h);
    Schedule changed = nightly;
    changed.overlap = Overlap::skip;
    CHECK(client->schedule(changed, Sweep{"attic"}));
    changed.when = Every{90min};
    CHECK(client->schedule(changed, Sweep{"attic"}));
    CHECK(info().when == "@every 5400000ms");
    CHECK(info().next == clock->now() + 90min);
    CHECK(other->unschedule("nightly"));
    CHECK_FALSE(other->unschedule("nightly"));
    CHECK(client->schedules().empty());
}

TEST_CASE_METHOD(House, "schedule: of two started clients one runs each slot") {
    client->schedule({.name = "a", .when = Every{1min}}, Sweep{"a"});
    client->start();
    other->start();
    for (int i = 1; i <= 20; ++i) {
        advance(1min);
        REQUIRE(journal.await("a", i));
        REQUIRE(client->wait_idle(patience));  // a claim of an outcome that is not written grows old by this clock
    }
    CHECK(client->stop(10s));
    CHECK(other->stop(10s));
    CHECK(journal.entries().size() == 20);
    CHECK(info().last == clock->now());
}

TEST_CASE_METHOD(House, "schedule: a started client runs what others define, change, resume and delete") {
    const Uncapped uncapped;
    client->start();
    other->schedule({.name = "a", .when = Every{1min}}, Sweep{"a"});
    advance(1min);
    REQUIRE(journal.await("a"));
    other->schedule({.name = "a", .when = Every{1min}}, Sweep{"b"});
    advance(1min);
    REQUIRE(journal.await("b"));
    CHECK(other->pause_schedule("a"));
    CHECK(other->pause_schedule("a"));
    CHECK(info().paused);
    advance(5min);
    other->schedule({.name = "marker", .when = Every{1s}}, Sweep{"marker"});
    advance(1s);
    REQUIRE(journal.await("marker"));
    CHECK(journal.count("b") == 1);
    CHECK(other->resume_schedule("a"));
    CHECK(other->resume_schedule("a"));
    CHECK_FALSE(other->resume_schedule("b"));
    CHECK_FALSE(other->pause_schedule("b"));
    advance(1min);
    REQUIRE(journal.await("b", 2));
    CHECK(other->unschedule("a"));
    advance(2min);
    CHECK(client->stop(10s));
    CHECK(journal.count("b") == 2);
}

TEST_CASE_METHOD(House, "schedule: a client that has not registered the queue adds the tasks all the same") {
    backlite::ClientConfig settings = quick(file, 1);
    settings.clock = clock;
    Client stranger{std::move(settings)};
    stranger.start();
    client->schedule({.name = "a", .when = Every{1min}}, Sweep{"a"});
    clock->advance(1min);
    stranger.notify();
    CHECK(eventually([&] { return stranger.counts().size() == 1; }));
    CHECK(stranger.stop(10s));
    client->start();
    CHECK(journal.await("a"));
}

TEST_CASE_METHOD(House, "schedule: restarts neither skip nor double a slot") {
    const Schedule often{.name = "a", .when = Every{1min}, .misfire = Misfire::all};
    for (int life = 0; life < 5; ++life) {
        client->schedule(often, Sweep{"a"});
        client->start();
        clock->advance(90s);
        client->notify();
        REQUIRE(journal.await("a", (90 * (life + 1)) / 60));
        CHECK(client->stop(10s));
        client.reset();
        open(client);
    }
    CHECK(journal.count("a") == 7);
}

TEST_CASE_METHOD(House, "schedule: a real second passes, and the slots come by themselves") {
    const Uncapped uncapped;
    Client real{quick(file, 1)};
    Journal ran;
    real.register_queue<Sweep>([&](const Sweep& sweep) { ran.note(sweep.room); });
    real.start();
    real.add(Sweep{"first"}).save();
    CHECK(ran.await("first"));
    CHECK(eventually([&] { return real.counts().empty(); }));  // it has nothing to wake up for
    real.schedule({.name = "a", .when = Every{30ms}}, Sweep{"a"});
    CHECK(ran.await("a", 5));
    CHECK(real.stop(10s));
}

TEST_CASE_METHOD(House, "schedule: a task of a slot has the priority of its queue, and its key keeps it alone") {
    client->schedule({.name = "a", .when = Every{1min}}, Report{1});
    client->pause("report");
    client->start();
    advance(1min);
    CHECK(eventually([&] { return client->counts().size() == 1; }));
    advance(1min);
    CHECK(log->await({"slots added no task: another one has its key, or the queue is full", "schedule=a"}));
    CHECK(client->stop(10s));
    Look look(file);
    CHECK(look.number("SELECT count(*) FROM backlite_tasks") == 1);
    CHECK(look.number("SELECT priority FROM backlite_tasks") == 7);
}

TEST_CASE_METHOD(House, "schedule: run now adds a task, paused or not, and minds the one before") {
    client->schedule({.name = "a", .when = Every{1h}, .overlap = Overlap::skip, .paused = true}, Sweep{"a"});
    CHECK(info().paused);
    const std::optional<TaskId> first = other->run_schedule("a");
    REQUIRE(first);
    CHECK(client->status(*first) == TaskStatus::pending);
    CHECK_FALSE(other->run_schedule("a"));
    client->start();
    CHECK(journal.await("a"));
    CHECK(eventually([&] { return client->status(*first) == TaskStatus::not_found; }));
    CHECK(client->run_schedule("a"));
    CHECK(journal.await("a", 2));
    CHECK_THROWS_AS(client->run_schedule("b"), UsageError);
}

TEST_CASE_METHOD(House, "schedule: replace cancels a task that runs, in whatever client") {
    client->schedule({.name = "a", .when = Every{1min}, .overlap = Overlap::replace}, Sweep{"a"});
    Gate gate;
    backlite::ClientConfig settings = quick(file, 1);
    settings.clock = clock;
    Client slow{std::move(settings)};
    slow.register_queue<Sweep>([&](backlite::Context& context, const Sweep&) {
        journal.note("slow");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        journal.note(context.stop_reason() == backlite::StopReason::cancelled ? "cancelled" : "stopped");
    });
    slow.start();
    clock->advance(1min);
    slow.notify();
    REQUIRE(journal.await("slow"));
    client->start();
    clock->advance(1min);
    client->notify();
    CHECK(journal.await("cancelled"));
}

TEST_CASE_METHOD(House, "schedule: what cannot be is refused by name, and nothing is stored") {
    const auto refused = [&](Schedule schedule) {
        return message_of<ConfigError>([&] { client->schedule(schedule, Sweep{"a"}); });
    };
    const Schedule good{.name = "a", .when = Every{1min}};
    const auto with = [&](auto change) {
        Schedule bad = good;
        change(bad);
        return refused(bad);
    };
    CHECK(with([](Schedule& s) { s.name = ""; }) == "a schedule has an empty name: set Schedule::name");
    CHECK(with([](Schedule& s) { s.name = std::string(256, 'x'); }).find("longer than 255 bytes") != std::string::npos);
    CHECK(with([](Schedule& s) { s.name = std::string("a\0b", 3); }).find("NUL") != std::string::npos);
    CHECK(with([](Schedule& s) { s.name = "\xff"; }).find("UTF-8") != std::string::npos);
    CHECK(with([](Schedule& s) { s.jitter = -1ms; }) ==
          "schedule \"a\": Schedule::jitter is -1, which is below zero (ms)");
    CHECK(with([](Schedule& s) { s.jitter = (Duration::max)(); }).find("100 years") != std::string::npos);
    CHECK(with([](Schedule& s) { s.start_deadline = -1s; }).find("Schedule::start_deadline is -1000") !=
          std::string::npos);
    CHECK(with([](Schedule& s) { s.start_deadline = s.jitter = 1s; }).find("not less than start_deadline") !=
          std::string::npos);
    CHECK(with([](Schedule& s) { s.max_missed = 0; }) ==
          "schedule \"a\": Schedule::max_missed is 0, must be 1 to 10000");
    CHECK(with([](Schedule& s) { s.misfire = static_cast<Misfire>(3); }).find("Schedule::misfire is 3") !=
          std::string::npos);
    CHECK(with([](Schedule& s) { s.overlap = static_cast<Overlap>(-1); }).find("Schedule::overlap is -1") !=
          std::string::npos);
    CHECK(with([](Schedule& s) {
              Every none{1ms};
              none.period = 0ms;
              s.when = none;
          }) == "schedule \"a\": Schedule::when: a period of 0 ms: it must be above zero");
    CHECK_THROWS_AS(Cron("0 3 31 2 *"), ConfigError);
    CHECK_THROWS_AS(Cron("0 3 * * *", "Atlantis/Capital"), ConfigError);
    CHECK_THROWS_AS(client->pause_schedule(""), ConfigError);
    CHECK_THROWS_AS(client->unschedule(""), ConfigError);
    CHECK(client->schedules().empty());
    CHECK_NOTHROW(client->schedule({.name = std::string(255, 'x'), .when = Every{1ms}}, Sweep{}));
}

TEST_CASE_METHOD(House, "schedule: a damaged one is told once, shown, and holds up neither others nor the client") {
    client->schedule({.name = "bad", .when = Every{1min}}, Sweep{"bad"});
    client->schedule({.name = "good", .when = Every{1min}}, Sweep{"good"});
    Look(file).run("UPDATE backlite_schedules SET spec = '99 * * * *' WHERE name = 'bad'");
    CHECK(client->schedules().at(0).error.find("99") != std::string::npos);
    client->start();
    for (int i = 1; i <= 3; ++i) {
        advance(1min);
        REQUIRE(journal.await("good", i));
    }
    CHECK(log->count({"a schedule cannot run", "schedule=bad"}) == 1);
    other->schedule({.name = "bad", .when = Every{1s}}, Sweep{"mended"});
    advance(1s);
    CHECK(journal.await("mended"));
    CHECK(client->stop(10s));
}

TEST_CASE_METHOD(House, "schedule: a slot that a trigger refuses comes later, and holds up no other") {
    client->schedule({.name = "bad", .when = Every{1h}, .misfire = Misfire::skip}, Sweep{"bad"});
    client->schedule({.name = "good", .when = Every{1h}}, Sweep{"good"});
    Look(file).run(
        "CREATE TRIGGER no BEFORE INSERT ON backlite_tasks WHEN CAST(new.task AS text) LIKE '%bad%' "
        "BEGIN SELECT raise(ABORT, 'not that'); END");
    client->start();
    advance(1h);
    REQUIRE(journal.await("good"));
    REQUIRE(log->await({"a schedule cannot run", "schedule=bad", "not that"}));
    Look(file).run("DROP TRIGGER no");
    CHECK(journal.await("bad"));  // it was looked at in time
    CHECK(client->stop(10s));
    CHECK(journal.count("bad") == 1);
}

TEST_CASE_METHOD(House, "schedule: a suspended machine runs what the rule says when it is back") {
    client->schedule({.name = "once", .when = Every{1min}}, Sweep{"once"});
    client->schedule({.name = "all", .when = Every{1min}, .misfire = Misfire::all}, Sweep{"all"});
    client->schedule({.name = "skip", .when = Every{1min}, .misfire = Misfire::skip}, Sweep{"skip"});
    client->start();
    clock->suspend(5min + 30s);
    client->notify();
    REQUIRE(journal.await("all", 5));
    REQUIRE(journal.await("once"));
    advance(30s);
    REQUIRE(journal.await("skip"));
    REQUIRE(journal.await("once", 2));
    REQUIRE(journal.await("all", 6));
    CHECK(client->stop(10s));
    CHECK(journal.entries().size() == 9);
}

TEST_CASE_METHOD(House, "schedule: inside a Transaction of the same thread a change would wait for itself") {
    SQLite::Database host(file, SQLite::OPEN_READWRITE);
    const backlite::Transaction open{*client, host};
    CHECK_THROWS_AS(client->schedule({.name = "a", .when = Every{1min}}, Sweep{}), UsageError);
    CHECK_THROWS_AS(client->run_schedule("a"), UsageError);
}

TEST_CASE_METHOD(House, "schedule: a task may define and delete schedules") {
    backlite::ClientConfig settings = quick(file, 1);
    settings.clock = clock;
    Client own{std::move(settings)};
    own.register_queue<Sweep>([&](backlite::Context& context, const Sweep& sweep) {
        journal.note(sweep.room);
        if (sweep.room == "begin") context.client().schedule({.name = "a", .when = Every{1min}}, Sweep{"again"});
        if (sweep.room == "again") context.client().unschedule("a");
    });
    own.start();
    own.add(Sweep{"begin"}).save();
    REQUIRE(eventually([&] { return own.schedules().size() == 1; }));
    clock->advance(1min);
    own.notify();
    CHECK(journal.await("again"));
    CHECK(eventually([&] { return own.schedules().empty(); }));
}

TEST_CASE("schedule: an idle client with a thousand schedules does no more than one without (alone)") {
    const TempFolder folder;
    const auto reads = [&](int schedules) {
        const auto clock = std::make_shared<CountingClock>();
        backlite::ClientConfig settings{.database = folder.file(fmt::format("{}.db", schedules)),
                                        .num_workers = 1,
                                        .durability = backlite::Durability::process};
        settings.clock = clock;
        Client client{std::move(settings)};
        for (int i = 0; i < schedules; ++i) {
            client.schedule({.name = fmt::format("s{}", i), .when = Cron{"0 3 1 1 *"}}, Sweep{});
        }
        client.start();
        CHECK(client.wait_idle(patience));
        std::this_thread::sleep_for(100ms);
        return clock->reads_during(2s);
    };
    CHECK(reads(1'000) <= reads(0) + 20);
}

TEST_CASE_METHOD(House, "schedule: observers are told of the task that a slot adds") {
    backlite::ClientConfig settings = quick(file, 1);
    settings.clock = clock;
    settings.observers.emplace_back([this](const backlite::Event& event) {
        if (event.kind == backlite::EventKind::added) journal.note("added to " + event.queue);
    });
    Client observed{std::move(settings)};
    observed.schedule({.name = "a", .when = Every{1min}}, Sweep{"a"});
    observed.start();
    clock->advance(1min);
    observed.notify();
    CHECK(journal.await("added to sweep"));
}

}  // namespace
