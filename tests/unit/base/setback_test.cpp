// SPDX-License-Identifier: MIT
#include <chrono>

#include <backlite/base/setback.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::detail::Setback;

const Setback::Steady::time_point start{1h};

TEST_CASE("Setback: waits a second after the first refusal, then twice as long each time, at most a minute") {
    Setback setback;
    auto now = start;
    for (const auto wait : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
        setback.refused(now);
        CHECK(setback.until() == now + wait);
        CHECK(setback.waits(now + wait - 1ns));
        now += wait;
        CHECK_FALSE(setback.waits(now));
    }
}

TEST_CASE("Setback: waits for nothing before the first refusal") {
    const Setback setback;
    CHECK_FALSE(setback.any());
    CHECK_FALSE(setback.waits(start));
}

TEST_CASE("Setback: can be ended at once, and begins anew then") {
    Setback setback;
    for (int i = 0; i < 5; ++i) setback.refused(start);
    setback.at_once();
    CHECK(setback.any());
    CHECK_FALSE(setback.waits(start));
    setback.refused(start);
    CHECK(setback.until() == start + 2s);
}

}  // namespace
