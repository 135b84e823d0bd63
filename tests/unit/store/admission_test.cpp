// SPDX-License-Identifier: MIT
#include <backlite/store/admission.hpp>

#include <backlite_catch.hpp>

namespace {

using backlite::store::Admission;
using backlite::store::admission;
using backlite::store::Neighbours;

constexpr Neighbours suspect{.free_workers = 1, .crashed = true};
constexpr Neighbours last_chance{.free_workers = 1, .crashed = true, .last_chance = true};

TEST_CASE("Admission: a task that has crashed nothing starts beside whatever runs, if it may crash twice") {
    for (const Neighbours& beside : {Neighbours{}, suspect, last_chance}) {
        CHECK(admission(0, 2, beside) == Admission::yes);
    }
}

TEST_CASE("Admission: a task that can bear no crash waits until nothing runs that has crashed a process") {
    CHECK(admission(0, 1, {}) == Admission::yes);
    CHECK(admission(0, 1, suspect) == Admission::waits_for_crashed);
    CHECK(admission(2, 3, suspect) == Admission::waits_for_crashed);
    CHECK(admission(2, 3, {.free_workers = 1}) == Admission::yes);
}

TEST_CASE(
    "Admission: a task that has crashed a process starts beside others of its kind, but not beside one that can "
    "bear no crash") {
    CHECK(admission(1, 3, suspect) == Admission::yes);
    CHECK(admission(1, 3, last_chance) == Admission::waits_for_crashed);
}

TEST_CASE("Admission: a task that has crashed a process is not claimed ahead of a free worker") {
    CHECK(admission(1, 3, {}) == Admission::waits_for_worker);
    CHECK(admission(0, 3, {}) == Admission::yes);
}

TEST_CASE("Admission: a task at its bound, which fails without running, waits for nobody") {
    CHECK(admission(3, 3, last_chance) == Admission::yes);
    CHECK(admission(7, 3, {.crashed = true}) == Admission::yes);
}

}  // namespace
