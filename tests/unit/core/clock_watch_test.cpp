// SPDX-License-Identifier: MIT
#include <chrono>

#include <backlite/core/clock_watch.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using core::ClockWatch;

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

TEST_CASE("ClockWatch: a suspended machine is told once, and is no jump") {
    testing::ManualClock clock;
    ClockWatch watch(clock);
    clock.suspend(8h);
    CHECK(watch.jump() == 0ms);
    CHECK(watch.slept() == 8h);
    CHECK(watch.slept() == 0ms);
    clock.advance(1h);
    CHECK(watch.slept() == 0ms);
    clock.suspend(1h);
    clock.jump(-2h);
    CHECK(watch.jump() == -2h);
    CHECK(watch.slept() == 1h);
}

TEST_CASE("ClockWatch: nothing was set, and nobody slept, on the real clock meanwhile") {
    const Clock clock;
    ClockWatch watch(clock);
    CHECK(clock.suspended() >= 0ms);
    CHECK(watch.slept() == 0ms);
    CHECK(watch.jump() == 0ms);
}

// ---- how far it is believed -----------------------------------------------------------------------------------------

using backlite::detail::Ms;

constexpr Ms known{1'000'000};

TEST_CASE("ClockTrust: a clock that is far ahead of what is known is believed for an hour only, until it was watched") {
    const auto start = std::chrono::steady_clock::time_point{} + 5h;
    core::ClockTrust trust;
    trust.doubt(known, start);
    const Ms wall = known + 365 * 24h;
    CHECK(trust.past(wall, start, 10min, 1h) == known + 1h);
    CHECK(trust.past(wall, start + 10min - 1ms, 10min, 1h) == known + 1h + 599'999ms);
    CHECK(trust.past(wall, start + 10min, 10min, 1h) == wall);
    CHECK(trust.sure_at(10min) == start + 10min);
}

TEST_CASE("ClockTrust: a clock that is near to what is known is believed at once") {
    const auto start = std::chrono::steady_clock::time_point{} + 5h;
    core::ClockTrust trust;
    trust.doubt(known, start);
    CHECK(trust.past(known + 1h, start, 10min, 1h) == known + 1h);
    CHECK(trust.past(known + 1ms, start, 10min, 1h) == known + 1ms);
    CHECK(trust.past(Ms{5}, start, 10min, 1h) == Ms{5});
}

TEST_CASE("ClockTrust: a clock that is set again is watched again") {
    const auto start = std::chrono::steady_clock::time_point{} + 5h;
    core::ClockTrust trust;
    trust.doubt(known, start);
    trust.doubt(known, start + 9min);
    CHECK(trust.past(Ms{} + 90h, start + 10min, 10min, 1h) == known + 1h + 1min);
}

}  // namespace
