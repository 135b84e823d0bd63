// SPDX-License-Identifier: MIT
#include <chrono>
#include <cmath>

#include <backlite/clock.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

TEST_CASE("Clock: is the system's unless it is another") {
    const Clock clock;
    const TimePoint before = std::chrono::system_clock::now();
    const TimePoint now = clock.now();
    CHECK(now >= before);
    CHECK(now <= std::chrono::system_clock::now());
    const Steady::time_point steady_before = Steady::now();
    const Steady::time_point steady = clock.steady_now();
    CHECK(steady >= steady_before);
    CHECK(steady <= Steady::now());
}

TEST_CASE("to_duration: takes any unit, and rounds up") {
    CHECK(to_duration(90min) == 90min);
    CHECK(to_duration(1us) == 1ms);
    CHECK(to_duration(1'000'001ns) == 2ms);
    CHECK(to_duration(std::chrono::duration<double>{0.0005}) == 1ms);
    CHECK(to_duration(0ns) == 0ms);
}

TEST_CASE("to_duration: what is below zero stays below zero") {
    CHECK(to_duration(-1ns) == -1ms);
    CHECK(to_duration(-1'000'001ns) == -1ms);
    CHECK(to_duration(-2s) == -2s);
}

TEST_CASE("to_duration: stops at the ends of its unit instead of wrapping round") {
    CHECK(to_duration((std::chrono::hours::max)()) == (Duration::max)());
    CHECK(to_duration((std::chrono::hours::min)()) == (Duration::min)());
    CHECK(to_duration((Duration::max)()) == (Duration::max)());
    CHECK(to_duration(std::chrono::duration<double>{1e300}) == (Duration::max)());
    CHECK(to_duration(std::chrono::duration<double>{-1e300}) == (Duration::min)());
    CHECK(to_duration(std::chrono::duration<double>{std::nan("")}) == (Duration::max)());
}

TEST_CASE("saturating_add: on the steady clock, stops at its end") {
    const Steady::time_point start{1h};
    CHECK(saturating_add(start, 5s) == start + 5s);
    CHECK(saturating_add(start, Duration::zero()) == start);
    CHECK(saturating_add(start, (Duration::max)()) == (Steady::time_point::max)());
    CHECK(saturating_add((Steady::time_point::max)(), 1ms) == (Steady::time_point::max)());
}

TEST_CASE("ManualClock: stands still until it is moved") {
    const testing::ManualClock clock;
    CHECK(clock.now() == clock.now());
    CHECK(clock.steady_now() == clock.steady_now());
}

TEST_CASE("ManualClock: starts when it was told to, by default with the year 2020") {
    CHECK(testing::ManualClock{}.now() == std::chrono::sys_days{2020y / 1 / 1});
    CHECK(testing::ManualClock{TimePoint{42ms}}.now() == TimePoint{42ms});
}

TEST_CASE("ManualClock: time passes on both clocks") {
    testing::ManualClock clock;
    const TimePoint wall = clock.now();
    const Steady::time_point steady = clock.steady_now();
    clock.advance(90s);
    CHECK(clock.now() - wall == 90s);
    CHECK(clock.steady_now() - steady == 90s);
}

TEST_CASE("ManualClock: a jump moves the wall clock alone, forwards or back") {
    testing::ManualClock clock;
    const TimePoint wall = clock.now();
    const Steady::time_point steady = clock.steady_now();
    clock.jump(-1h);
    CHECK(clock.now() - wall == -1h);
    CHECK(clock.steady_now() == steady);
}

}  // namespace
