// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/core/add_counts.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/statistics.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using core::AddCounts;
using detail::Minute;
using detail::Ms;

const AddCounts::Steady::time_point start{1h};
const std::array<detail::NewTask, 3> tasks{{{.queue = "a"}, {.queue = "a"}, {.queue = "b"}}};

std::vector<store::Tally> take(AddCounts& counts, AddCounts::Steady::time_point now) {
    AddCounts::Batch batch(counts, now);
    std::vector<store::Tally> tallies = batch.tallies();
    batch.written();
    return tallies;
}

TEST_CASE("AddCounts: the first add counts itself, and for a second no other does") {
    AddCounts counts;
    CHECK(counts.due(start));
    CHECK(take(counts, start).empty());
    CHECK_FALSE(counts.due(start + 999ms));
    CHECK(counts.due(start + 1s));
}

TEST_CASE("AddCounts: is overdue only if there is something to count") {
    AddCounts counts;
    CHECK_FALSE(counts.overdue(start));
    (void)take(counts, start);
    counts.added(tasks, Ms{});
    CHECK_FALSE(counts.overdue(start + 999ms));
    CHECK(counts.overdue(start + 1s));
    (void)take(counts, start + 1s);
    CHECK_FALSE(counts.overdue(start + 3s));
}

TEST_CASE("AddCounts: the dispatcher wakes up when a second is over, and then only if something is there") {
    AddCounts counts;
    constexpr auto never = (AddCounts::Steady::time_point::max)();
    CHECK(counts.next(start) == never);
    (void)take(counts, start);
    CHECK(counts.next(start + 500ms) == start + 1s);
    CHECK(counts.next(start + 1s) == never);
    counts.added(tasks, Ms{});
    CHECK(counts.next(start + 5s) == start + 1s);
    (void)take(counts, start + 5s);
    CHECK(counts.next(start + 6s) == never);
}

TEST_CASE("AddCounts: the dispatcher is told once if it does not wake up by itself") {
    AddCounts counts;
    (void)take(counts, start);
    CHECK_FALSE(counts.untold());
    (void)counts.next(start);
    counts.added(tasks, Ms{});
    CHECK_FALSE(counts.untold());
    (void)take(counts, start + 1s);
    (void)counts.next(start + 2s);
    counts.added(tasks, Ms{});
    CHECK(counts.untold());
    CHECK_FALSE(counts.untold());
}

TEST_CASE("AddCounts: tasks of one queue and minute are summed up, and taken once") {
    AddCounts counts;
    counts.added(tasks, Ms{});
    counts.added(tasks, Ms{59'999});
    counts.added(tasks, Ms{60'000});
    const std::vector<store::Tally> taken = take(counts, start);
    REQUIRE(taken.size() == 4);
    CHECK(taken[0].queue == "a");
    CHECK(taken[0].minute == Minute{});
    CHECK(taken[0].added == 4);
    CHECK(taken[1].queue == "b");
    CHECK(taken[1].added == 2);
    CHECK(taken[2].minute == Minute{1});
    CHECK(taken[2].added == 2);
    CHECK(take(counts, start).empty());
}

TEST_CASE("AddCounts: what could not be written is counted with the next") {
    AddCounts counts;
    counts.added(tasks, Ms{});
    {
        const AddCounts::Batch lost(counts, start);
        REQUIRE(lost.tallies().size() == 2);
        counts.added(tasks, Ms{});
    }
    const std::vector<store::Tally> again = take(counts, start);
    REQUIRE(again.size() == 2);
    CHECK(again[0].added == 4);
    CHECK(again[1].added == 2);
}

}  // namespace
