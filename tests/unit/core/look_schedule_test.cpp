// SPDX-License-Identifier: MIT
#include <chrono>

#include <backlite/core/look_schedule.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::core::LookSchedule;

constexpr LookSchedule::Steady::time_point start{1h};

TEST_CASE("LookSchedule: the first look is due at once") {
    const LookSchedule looks;
    CHECK(looks.due(start));
}

TEST_CASE("LookSchedule: a regular look is due after the interval") {
    LookSchedule looks;
    looks.looked(start, 1s);
    CHECK_FALSE(looks.due(start + 999ms));
    CHECK(looks.due(start + 1s));
    CHECK(looks.next() == start + 1s);
}

TEST_CASE("LookSchedule: a hint makes a look due at once") {
    LookSchedule looks;
    looks.looked(start, 1s);
    looks.hint(start + 10ms);
    CHECK(looks.due(start + 10ms));
}

TEST_CASE("LookSchedule: after a hint looks follow with growing pauses, and end") {
    LookSchedule looks;
    looks.looked(start, 10s);
    looks.hint(start);
    auto now = start;
    int count = 0;
    auto pause = 0us;
    for (; looks.next() < start + 10s; ++count) {
        const auto next = looks.next();
        const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(next - now);
        CHECK(waited >= pause);
        pause = waited;
        now = next;
        looks.looked(now, 10s);
    }
    CHECK(count == 13);
    CHECK(now - start >= 800ms);
    CHECK(now - start <= 850ms);
}

TEST_CASE("LookSchedule: another hint begins anew") {
    LookSchedule looks;
    looks.looked(start, 10s);
    looks.hint(start);
    looks.looked(start, 10s);
    looks.looked(start + 200us, 10s);
    looks.hint(start + 300us);
    CHECK(looks.due(start + 300us));
    looks.looked(start + 300us, 10s);
    CHECK(looks.next() == start + 500us);
}

TEST_CASE("LookSchedule: a look before its time does not use up one after a hint") {
    LookSchedule looks;
    looks.hint(start);
    looks.looked(start, 10s);
    looks.looked(start + 100us, 10s);
    CHECK(looks.next() == start + 200us);
}

}  // namespace
