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

constexpr std::int64_t hour_ms = 3'600'000;

TEST_CASE("ClockTrust: a clock that is far ahead of what is known is believed for an hour only, until it was watched") {
    const auto start = std::chrono::steady_clock::time_point{} + 5h;
    core::ClockTrust trust;
    trust.doubt(1'000'000, start);
    const std::int64_t wall = 1'000'000 + 365 * 24 * hour_ms;
    CHECK(trust.past(wall, start, 10min, 1h) == 1'000'000 + hour_ms);
    CHECK(trust.past(wall, start + 10min - 1ms, 10min, 1h) == 1'000'000 + hour_ms + 599'999);
    CHECK(trust.past(wall, start + 10min, 10min, 1h) == wall);
    CHECK(trust.sure_at(10min) == start + 10min);
}

TEST_CASE("ClockTrust: a clock that is near to what is known is believed at once") {
    const auto start = std::chrono::steady_clock::time_point{} + 5h;
    core::ClockTrust trust;
    trust.doubt(1'000'000, start);
    CHECK(trust.past(1'000'000 + hour_ms, start, 10min, 1h) == 1'000'000 + hour_ms);
    CHECK(trust.past(1'000'001, start, 10min, 1h) == 1'000'001);
    CHECK(trust.past(5, start, 10min, 1h) == 5);
}

TEST_CASE("ClockTrust: a clock that is set again is watched again") {
    const auto start = std::chrono::steady_clock::time_point{} + 5h;
    core::ClockTrust trust;
    trust.doubt(1'000'000, start);
    trust.doubt(1'000'000, start + 9min);
    CHECK(trust.past(90 * hour_ms, start + 10min, 10min, 1h) == 1'000'000 + hour_ms + 60'000);
}

}  // namespace
