// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/core/agenda.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/core/slot_plans.hpp>
#include <backlite/error.hpp>
#include <backlite/schedule_rules.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/slots.hpp>

#include <backlite_catch.hpp>
#include <recording_logger.hpp>

namespace {

using namespace std::chrono_literals;
using namespace backlite;
using backlite_test::RecordingLogger;
using core::ScheduleOptions;
using core::SlotPlans;
using detail::Ms;
using store::ScheduleRow;
using store::SlotResult;

constexpr Ms start{1'800'000'000'000};

struct Clockwork {
    std::shared_ptr<RecordingLogger> log = std::make_shared<RecordingLogger>();
    detail::SafeLogger tell{log};
    core::QueueRegistry queues{};
    core::Agenda agenda{queues};
    SlotPlans slots{queues, 1'000, tell};
    SlotPlans::Steady::time_point real{1h};
    Ms wall = start;
    Ms expiry = store::never;

    void pass(Duration time) {
        wall = wall + time;
        real += time;
    }
    /// What a client does when it is awake, on a file with these schedules due.
    void read(std::vector<ScheduleRow> rows, std::optional<Ms> next = std::nullopt) {
        slots.take_up(real);
        REQUIRE(slots.unread(wall, real));
        static_cast<void>(slots.query(wall, real));
        slots.read({.rows = std::move(rows), .next = next}, wall, real);
    }
    bool write(std::vector<SlotResult> results) { return slots.written(results, agenda, expiry, real); }
};

ScheduleRow minutely(const std::string& name, const ScheduleOptions& options = {}) {
    return {.name = name,
            .queue = "q",
            .payload = "{}",
            .spec = "@every 60000ms",
            .options = options.text(),
            .begun = start,
            .next = start + 1min};
}

TEST_CASE("SlotPlans: without a schedule there is nothing to read or to wake up for") {
    Clockwork clockwork;
    CHECK_FALSE(clockwork.slots.unread(clockwork.wall, clockwork.real));
    CHECK(clockwork.slots.next() == store::never);
    clockwork.slots.found(start + 1min);
    CHECK(clockwork.slots.unread(clockwork.wall, clockwork.real));  // the clock may have been ahead before
    clockwork.read({}, start + 1min);
    CHECK(clockwork.slots.next() == start + 1min);
    CHECK_FALSE(clockwork.slots.unread(start + 1min - 1ms, clockwork.real));
    CHECK(clockwork.slots.unread(start + 1min, clockwork.real));
}

TEST_CASE("SlotPlans: a slot has the task, its due time and its expiry as the options say") {
    Clockwork clockwork;
    clockwork.slots.found(start + 1min);
    clockwork.pass(1min);
    ScheduleOptions options;
    options.priority = 4;
    options.jitter = 10s;
    options.start_deadline = 1h;
    options.expires_after = 2h;
    options.overlap = Overlap::skip;
    clockwork.read({minutely("a", options)});
    REQUIRE(clockwork.slots.plans().size() == 1);
    const store::SlotPlan& plan = clockwork.slots.plans().front();
    CHECK(plan.next == start + 2min);
    CHECK(plan.task.queue == "q");
    CHECK(plan.task.payload == "{}");
    CHECK(plan.task.priority == 4);
    CHECK(plan.overlap == Overlap::skip);
    REQUIRE(plan.run.size() == 1);
    CHECK(plan.run[0].slot == start + 1min);
    CHECK(plan.run[0].start == start + 1min + core::jitter_of("a", start + 1min, 10s));
    CHECK(plan.run[0].expires_at == start + 1min + 1h);
    CHECK_FALSE(plan.run[0].id.str().empty());
}

TEST_CASE("SlotPlans: what is decided stays until it is written, though the file is busy for long") {
    Clockwork clockwork;
    clockwork.slots.found(start + 1min);
    clockwork.pass(1min);
    ScheduleOptions options;
    options.missed.misfire = Misfire::skip;
    clockwork.read({minutely("a", options)});
    clockwork.pass(30s);
    clockwork.slots.found(start + 1min);  // for that is what the file still says
    CHECK_FALSE(clockwork.slots.unread(clockwork.wall, clockwork.real));
    CHECK(clockwork.slots.plans().front().run.size() == 1);
    CHECK(clockwork.slots.next() == Ms::earliest());
    SlotResult done;
    done.added.push_back({TaskId::from_text("t"), clockwork.wall, start + 5min});
    CHECK_FALSE(clockwork.write({done}));
    CHECK(clockwork.slots.plans().empty());
    CHECK(clockwork.expiry == start + 5min);
    CHECK(clockwork.slots.unread(clockwork.wall, clockwork.real));  // what is next stands in the file
}

TEST_CASE("SlotPlans: a cancel that was asked for is to be read") {
    Clockwork clockwork;
    clockwork.slots.found(start + 1min);
    clockwork.pass(1min);
    clockwork.read({minutely("a")});
    SlotResult asked;
    asked.asked = true;
    CHECK(clockwork.write({asked}));
}

TEST_CASE("SlotPlans: a schedule that cannot be read is told once, and tried again ever more rarely") {
    Clockwork clockwork;
    clockwork.slots.found(start + 1min);
    clockwork.pass(1min);
    ScheduleRow bad = minutely("bad");
    bad.spec = "99 * * * *";
    clockwork.read({bad, minutely("good")}, start + 2min);
    REQUIRE(clockwork.slots.plans().size() == 1);
    CHECK(clockwork.slots.plans().front().seen->name == "good");
    clockwork.write({SlotResult{}});
    CHECK(clockwork.log->count("a schedule cannot run: it is set apart, and tried again schedule=bad") == 1);
    const store::DueQuery query = clockwork.slots.query(clockwork.wall, clockwork.real);
    CHECK(query.leave == std::vector{std::pair{std::string{"bad"}, start + 1min}});
    clockwork.read({}, start + 2min);
    CHECK_FALSE(clockwork.slots.unread(clockwork.wall, clockwork.real));
    for (const Duration wait : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
        CHECK(clockwork.slots.retry_at() == clockwork.real + wait);
        clockwork.real += wait;
        CHECK(clockwork.slots.query(clockwork.wall, clockwork.real).leave.empty());
        clockwork.read({bad}, start + 2min);
        CHECK(clockwork.slots.plans().empty());
    }
    CHECK(clockwork.log->count("a schedule cannot run") == 1);
    clockwork.real += 1min;
    clockwork.read({}, start + 2min);  // it is gone
    CHECK(clockwork.slots.retry_at() == (SlotPlans::Steady::time_point::max)());
}

TEST_CASE("SlotPlans: a task that is too large for this client is left to others") {
    Clockwork clockwork;
    clockwork.slots.found(start + 1min);
    clockwork.pass(1min);
    ScheduleRow large = minutely("large");
    large.payload = std::string(1'001, ' ');
    clockwork.read({large}, start + 2min);
    CHECK(clockwork.slots.plans().empty());
    CHECK(clockwork.log->count("its task has 1001 bytes, more than ClientConfig::max_payload (1000)") == 1);
}

TEST_CASE("SlotPlans: a slot that the database refuses is kept as it was decided, and written later") {
    Clockwork clockwork;
    clockwork.slots.found(start + 1min);
    clockwork.pass(1min);
    ScheduleOptions options;
    options.missed.misfire = Misfire::skip;
    clockwork.read({minutely("a", options)});
    SlotResult refused;
    refused.refused = StorageError("a trigger says no", SQLITE_CONSTRAINT);
    clockwork.write({refused});
    CHECK(clockwork.log->count("a trigger says no") == 1);
    clockwork.read({}, std::nullopt);
    CHECK(clockwork.slots.plans().empty());
    clockwork.pass(999ms);
    clockwork.slots.take_up(clockwork.real);
    CHECK(clockwork.slots.plans().empty());
    clockwork.pass(1ms);
    clockwork.slots.take_up(clockwork.real);
    REQUIRE(clockwork.slots.plans().size() == 1);
    CHECK(clockwork.slots.plans().front().run.size() == 1);
    clockwork.write({SlotResult{}});
    CHECK(clockwork.slots.retry_at() == (SlotPlans::Steady::time_point::max)());
}

TEST_CASE("SlotPlans: after the clock was ahead, slots that were left out come back, and the clock's own do not") {
    Clockwork clockwork;
    clockwork.slots.found(start + 1min);
    clockwork.read({}, start + 1min);
    ScheduleRow row = minutely("a");
    row.next = start + 24h;
    row.gap_from = start + 1min;
    row.gap_until = start + 24h - 1min;
    row.payload = "";
    clockwork.slots.clock_was_ahead();
    CHECK(clockwork.slots.unread(clockwork.wall, clockwork.real));
    CHECK(clockwork.slots.query(clockwork.wall, clockwork.real).gaps);
    clockwork.slots.read({.gaps = {row}, .next = start + 24h}, clockwork.wall, clockwork.real);
    REQUIRE(clockwork.slots.plans().size() == 1);
    CHECK(clockwork.slots.plans().front().run.empty());
    CHECK(clockwork.slots.plans().front().next == start + 1min);
    CHECK(clockwork.slots.plans().front().gap_from == start + 24h - 1min);
    clockwork.write({SlotResult{}});
    CHECK_FALSE(clockwork.slots.query(clockwork.wall, clockwork.real).gaps);
}

}  // namespace
