// SPDX-License-Identifier: MIT
#include <chrono>
#include <thread>

#include <backlite/engine/wake_signals.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::engine::WakeSignals;
using backlite_test::Gate;

WakeSignals::Signals taken_from(WakeSignals& inbox) {
    WakeSignals::Signals taken;
    inbox.take(taken);
    return taken;
}

TEST_CASE("WakeSignals: is empty at first") {
    WakeSignals inbox;
    const WakeSignals::Signals taken = taken_from(inbox);
    CHECK_FALSE(taken.refresh);
    CHECK_FALSE(taken.hint);
    CHECK_FALSE(taken.stop);
    CHECK_FALSE(taken.abandon);
}

TEST_CASE("WakeSignals: refresh and hint are taken once") {
    WakeSignals inbox;
    inbox.refresh();
    inbox.hint();
    const WakeSignals::Signals first = taken_from(inbox);
    CHECK(first.refresh);
    CHECK(first.hint);
    const WakeSignals::Signals second = taken_from(inbox);
    CHECK_FALSE(second.refresh);
    CHECK_FALSE(second.hint);
}

TEST_CASE("WakeSignals: what was taken before and not dealt with stays") {
    WakeSignals inbox;
    WakeSignals::Signals taken;
    inbox.refresh();
    inbox.take(taken);
    inbox.hint();
    inbox.take(taken);
    CHECK(taken.refresh);
    CHECK(taken.hint);
}

TEST_CASE("WakeSignals: a stop stays") {
    WakeSignals inbox;
    inbox.stop();
    CHECK(taken_from(inbox).stop);
    CHECK(taken_from(inbox).stop);
    CHECK_FALSE(taken_from(inbox).abandon);
}

TEST_CASE("WakeSignals: to abandon is to stop too, and stays") {
    WakeSignals inbox;
    inbox.abandon();
    (void)taken_from(inbox);
    const WakeSignals::Signals taken = taken_from(inbox);
    CHECK(taken.stop);
    CHECK(taken.abandon);
}

TEST_CASE("WakeSignals: a sleep does not begin over what was not taken yet") {
    WakeSignals inbox;
    inbox.wake();
    const auto before = std::chrono::steady_clock::now();
    inbox.sleep(1h);
    CHECK(std::chrono::steady_clock::now() - before < 1h);
}

TEST_CASE("WakeSignals: a sleep ends by itself") {
    WakeSignals inbox;
    inbox.sleep(1ms);
    CHECK_FALSE(taken_from(inbox).stop);
}

TEST_CASE("WakeSignals: whatever is set ends a sleep") {
    for (void (WakeSignals::*set)() :
         {&WakeSignals::wake, &WakeSignals::refresh, &WakeSignals::hint, &WakeSignals::stop, &WakeSignals::abandon}) {
        WakeSignals inbox;
        Gate asleep;
        Gate awake;
        std::jthread sleeper([&] {
            asleep.open();
            inbox.sleep(1h);
            awake.open();
        });
        REQUIRE(asleep.pass());
        (inbox.*set)();
        CHECK(awake.pass());
    }
}

}  // namespace
