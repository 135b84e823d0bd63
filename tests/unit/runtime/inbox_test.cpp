// SPDX-License-Identifier: MIT
#include <chrono>
#include <thread>

#include <backlite/runtime/inbox.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::runtime::Inbox;
using backlite_test::Gate;

Inbox::Signals taken_from(Inbox& inbox) {
    Inbox::Signals taken;
    inbox.take(taken);
    return taken;
}

TEST_CASE("Inbox: is empty at first") {
    Inbox inbox;
    const Inbox::Signals taken = taken_from(inbox);
    CHECK_FALSE(taken.refresh);
    CHECK_FALSE(taken.hint);
    CHECK_FALSE(taken.stop);
    CHECK_FALSE(taken.abandon);
}

TEST_CASE("Inbox: refresh and hint are taken once") {
    Inbox inbox;
    inbox.refresh();
    inbox.hint();
    const Inbox::Signals first = taken_from(inbox);
    CHECK(first.refresh);
    CHECK(first.hint);
    const Inbox::Signals second = taken_from(inbox);
    CHECK_FALSE(second.refresh);
    CHECK_FALSE(second.hint);
}

TEST_CASE("Inbox: what was taken before and not dealt with stays") {
    Inbox inbox;
    Inbox::Signals taken;
    inbox.refresh();
    inbox.take(taken);
    inbox.hint();
    inbox.take(taken);
    CHECK(taken.refresh);
    CHECK(taken.hint);
}

TEST_CASE("Inbox: a stop stays") {
    Inbox inbox;
    inbox.stop();
    CHECK(taken_from(inbox).stop);
    CHECK(taken_from(inbox).stop);
    CHECK_FALSE(taken_from(inbox).abandon);
}

TEST_CASE("Inbox: to abandon is to stop too, and stays") {
    Inbox inbox;
    inbox.abandon();
    (void)taken_from(inbox);
    const Inbox::Signals taken = taken_from(inbox);
    CHECK(taken.stop);
    CHECK(taken.abandon);
}

TEST_CASE("Inbox: a sleep does not begin over what was not taken yet") {
    Inbox inbox;
    inbox.wake();
    const auto before = std::chrono::steady_clock::now();
    inbox.sleep(1h);
    CHECK(std::chrono::steady_clock::now() - before < 1h);
}

TEST_CASE("Inbox: a sleep ends by itself") {
    Inbox inbox;
    inbox.sleep(1ms);
    CHECK_FALSE(taken_from(inbox).stop);
}

TEST_CASE("Inbox: whatever is set ends a sleep") {
    for (void (Inbox::*set)() : {&Inbox::wake, &Inbox::refresh, &Inbox::hint, &Inbox::stop, &Inbox::abandon}) {
        Inbox inbox;
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
