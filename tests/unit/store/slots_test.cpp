// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/schedule_rules.hpp>
#include <backlite/store/slots.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using namespace backlite::store;
using backlite::Overlap;
using backlite::TaskId;
using backlite::detail::Ms;

constexpr Ms start{1'800'000'000'000};

SlotPlan plan_of(const ScheduleRow& row) {
    SlotPlan plan;
    plan.seen = std::make_shared<ScheduleRow>(row);
    plan.run = {{TaskId::from_text("one"), start, start, std::nullopt},
                {TaskId::from_text("two"), start + 1min, start + 1min + 5s, start + 1h}};
    return plan;
}

TEST_CASE("Overlap: what a slot does while a task of an earlier one is unfinished") {
    CHECK(action_of(Overlap::allow, true) == SlotAction::add);
    CHECK(action_of(Overlap::skip, true) == SlotAction::leave_out);
    CHECK(action_of(Overlap::replace, true) == SlotAction::cancel_add);
    for (const Overlap overlap : {Overlap::allow, Overlap::skip, Overlap::replace}) {
        CHECK(action_of(overlap, false) == SlotAction::add);
    }
}

TEST_CASE("Slots: several of one plan follow each other, and mind each other") {
    for (const Overlap overlap : {Overlap::allow, Overlap::skip, Overlap::replace}) {
        ScheduleRow row{.name = "a", .queue = "q"};
        SlotPlan plan = plan_of(row);
        plan.overlap = overlap;
        SlotResult result;
        std::vector<std::string> unfinished, cancelled;
        run_slots(
            plan, start + 1min, row, result,
            [&](const std::string& id) {
                return std::find(unfinished.begin(), unfinished.end(), id) != unfinished.end();
            },
            [&](const std::string& id, SlotResult&) { cancelled.push_back(id); },
            [&](backlite::detail::NewTask& task, std::optional<Ms> wait_until) {
                CHECK(wait_until == (task.id.str() == "two" ? std::optional{start + 1min + 5s} : std::nullopt));
                unfinished.push_back(task.id.str());
                return true;
            });
        const bool one = overlap == Overlap::skip;
        CHECK(result.added.size() == (one ? 1 : 2));
        CHECK(result.overlapped == (one ? 1 : 0));
        CHECK(cancelled ==
              (overlap == Overlap::replace ? std::vector<std::string>{"one"} : std::vector<std::string>{}));
        CHECK(row.last == (one ? start : start + 1min));
        CHECK(row.last_task == (one ? "one" : "two"));
        CHECK(result.added.front().due == start + 1min);
    }
}

TEST_CASE("Slots: a plan is of the row that was read, whatever has been added for it since") {
    const ScheduleRow row{.name = "a", .queue = "q", .payload = "{}", .spec = "* * * * *", .next = start};
    const SlotPlan plan = plan_of(row);
    CHECK(still_as_seen(plan, row));
    ScheduleRow other = row;
    other.last = start;
    other.last_task = "by hand";
    CHECK(still_as_seen(plan, other));
    const auto differs = [&](auto change) {
        ScheduleRow changed = row;
        change(changed);
        return !still_as_seen(plan, changed);
    };
    CHECK(differs([](ScheduleRow& r) { r.next = start + 1min; }));
    CHECK(differs([](ScheduleRow& r) { r.next.reset(); }));
    CHECK(differs([](ScheduleRow& r) { r.paused = start; }));
    CHECK(differs([](ScheduleRow& r) { r.payload = "[]"; }));
    CHECK(differs([](ScheduleRow& r) { r.queue = "p"; }));
    CHECK(differs([](ScheduleRow& r) { r.spec = "0 * * * *"; }));
    CHECK(differs([](ScheduleRow& r) { r.options = "{}"; }));
    CHECK(differs([](ScheduleRow& r) { r.begun = start; }));
}

TEST_CASE("Slots: a run by hand needs the task as it was read, and nothing else") {
    const ScheduleRow row{.name = "a", .queue = "q", .payload = "{}", .next = start};
    SlotPlan plan = plan_of(row);
    plan.by_hand = true;
    ScheduleRow other = row;
    other.next = start + 1min;
    other.paused = start;
    CHECK(still_as_seen(plan, other));
    other.payload = "[]";
    CHECK_FALSE(still_as_seen(plan, other));
}

}  // namespace
