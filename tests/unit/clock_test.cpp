// SPDX-License-Identifier: MIT
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>

#include <backlite/clock.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
constexpr auto least = (std::numeric_limits<std::int64_t>::min)();

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

TEST_CASE("to_ms: rounds down, also before 1970") {
    CHECK(to_ms(TimePoint{1999us}) == 1);
    CHECK(to_ms(TimePoint{2000us}) == 2);
    CHECK(to_ms(TimePoint{-1us}) == -1);
    CHECK(to_ms(TimePoint{-1000us}) == -1);
    CHECK(to_ms(TimePoint{-1001us}) == -2);
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

TEST_CASE("to_due_ms: rounds up, so that nothing is due too early") {
    CHECK(to_due_ms(TimePoint{1'000ms}) == 1'000);
    CHECK(to_due_ms(TimePoint{1'000ms + 1us}) == 1'001);
    CHECK(to_due_ms(std::chrono::sys_days{std::chrono::days{1}}) == 86'400'000);
    CHECK(to_due_ms(std::chrono::sys_time<std::chrono::hours>{(std::chrono::hours::max)()}) ==
          (std::numeric_limits<std::int64_t>::max)());
}

TEST_CASE("due_after: never too early, and at once without a wait") {
    const TimePoint now{1'000ms + 1us};
    CHECK(due_after(now, 0ms) == 1'000);
    CHECK(due_after(now, 1ms) == 1'002);
    CHECK(due_after(now, (Duration::max)()) == (std::numeric_limits<std::int64_t>::max)());
}

TEST_CASE("from_ms: is what to_ms reads") {
    for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{-5}, std::int64_t{1'577'836'800'123}}) {
        CHECK(to_ms(from_ms(ms)) == ms);
    }
}

TEST_CASE("from_ms: numbers that no clock shows are held at its ends") {
    CHECK(from_ms(most) > TimePoint{std::chrono::hours{24 * 365 * 200}});
    CHECK(from_ms(least) < TimePoint{-std::chrono::hours{24 * 365 * 200}});
    CHECK(from_ms(most) == from_ms(most - 1));
    CHECK(from_ms(least) == from_ms(least + 1));
}

TEST_CASE("saturating_add: adds, and stops at the ends of the type") {
    CHECK(saturating_add(std::int64_t{1000}, 5s) == 6000);
    CHECK(saturating_add(std::int64_t{1000}, -5s) == -4000);
    CHECK(saturating_add(most - 1, 1ms) == most);
    CHECK(saturating_add(most - 1, 2ms) == most);
    CHECK(saturating_add(std::int64_t{1}, (Duration::max)()) == most);
    CHECK(saturating_add(least + 1, -1ms) == least);
    CHECK(saturating_add(least + 1, -2ms) == least);
    CHECK(saturating_add(std::int64_t{-2}, (Duration::min)()) == least);
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
    CHECK(to_ms(testing::ManualClock{}.now()) == 1'577'836'800'000);
    CHECK(to_ms(testing::ManualClock{from_ms(42)}.now()) == 42);
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
