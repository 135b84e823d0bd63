// SPDX-License-Identifier: MIT
#include <chrono>

#include <backlite/runtime/clock_watch.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using runtime::ClockWatch;

TEST_CASE("ClockWatch: time that passes is no jump") {
    testing::ManualClock clock;
    ClockWatch watch(clock);
    clock.advance(24h);
    CHECK(watch.jump() == 0ms);
}

TEST_CASE("ClockWatch: a clock that is set is a jump, forwards or back, told once") {
    testing::ManualClock clock;
    ClockWatch watch(clock);
    clock.jump(1h);
    CHECK(watch.jump() == 1h);
    CHECK(watch.jump() == 0ms);
    clock.jump(-2h);
    CHECK(watch.jump() == -2h);
    CHECK(watch.jump() == 0ms);
}

TEST_CASE("ClockWatch: a jump is told without the time that passed meanwhile") {
    testing::ManualClock clock;
    ClockWatch watch(clock);
    clock.advance(10min);
    clock.jump(-1h);
    clock.advance(10min);
    CHECK(watch.jump() == -1h);
}

TEST_CASE("ClockWatch: a clock that is kept right by less than a second does not jump") {
    testing::ManualClock clock;
    ClockWatch watch(clock);
    clock.jump(999ms);
    CHECK(watch.jump() == 0ms);
}

TEST_CASE("ClockWatch: small corrections add up to a jump") {
    testing::ManualClock clock;
    ClockWatch watch(clock);
    clock.jump(-600ms);
    CHECK(watch.jump() == 0ms);
    clock.jump(-600ms);
    CHECK(watch.jump() == -1200ms);
}

}  // namespace
