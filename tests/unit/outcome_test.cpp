// SPDX-License-Identifier: MIT
#include <chrono>

#include <backlite/outcome.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using Kind = Outcome::Kind;

TEST_CASE("Outcome: a success has neither reason nor wait") {
    const Outcome outcome = Outcome::success();
    CHECK(outcome.kind() == Kind::success);
    CHECK(outcome.reason().empty());
    CHECK(outcome.wait() == 0ms);
}

TEST_CASE("Outcome: a retry has a reason") {
    const Outcome outcome = Outcome::retry("no such host");
    CHECK(outcome.kind() == Kind::retry);
    CHECK(outcome.reason() == "no such host");
}

TEST_CASE("Outcome: a retry may have a wait of its own") {
    const Outcome outcome = Outcome::retry_in(90s, "no such host");
    CHECK(outcome.kind() == Kind::retry_in);
    CHECK(outcome.reason() == "no such host");
    CHECK(outcome.wait() == 90s);
}

TEST_CASE("Outcome: a snooze has a wait") {
    const Outcome outcome = Outcome::snooze(2h);
    CHECK(outcome.kind() == Kind::snooze);
    CHECK(outcome.wait() == 2h);
}

TEST_CASE("Outcome: a discard has a reason") {
    const Outcome outcome = Outcome::discard("no such order");
    CHECK(outcome.kind() == Kind::discard);
    CHECK(outcome.reason() == "no such order");
}

TEST_CASE("Outcome: a negative wait counts as none") {
    CHECK(Outcome::snooze(-5s).wait() == 0ms);
    CHECK(Outcome::retry_in(-1ms, "x").wait() == 0ms);
    CHECK(Outcome::snooze((Duration::min)()).wait() == 0ms);
}

TEST_CASE("Outcome: waits may have any unit, and round up") {
    CHECK(Outcome::snooze(1us).wait() == 1ms);
    CHECK(Outcome::retry_in(std::chrono::duration<double>{0.25}, "x").wait() == 250ms);
    CHECK(Outcome::snooze((std::chrono::hours::max)()).wait() == (Duration::max)());
}

TEST_CASE("Outcome: a snooze and a retry may name a time instead of a wait") {
    const TimePoint time{1'000s};
    CHECK(Outcome::snooze_until(time).kind() == Kind::snooze);
    CHECK(Outcome::snooze_until(time).until() == time);
    CHECK(Outcome::retry_at(time, "no such host").kind() == Kind::retry_in);
    CHECK(Outcome::retry_at(time, "no such host").until() == time);
    CHECK(Outcome::retry_at(time, "no such host").reason() == "no such host");
    CHECK_FALSE(Outcome::snooze(1s).until().has_value());
}

}  // namespace
