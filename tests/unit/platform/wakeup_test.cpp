// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <backlite/platform/wakeup.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::platform::Wakeup;
using backlite_test::Events;
using Steady = std::chrono::steady_clock;

constexpr auto long_enough = 20s;

// How long a wait takes.
Steady::duration waited(Wakeup& wakeup, std::chrono::nanoseconds cap) {
    const auto begun = Steady::now();
    wakeup.wait(cap);
    return Steady::now() - begun;
}

TEST_CASE("Wakeup: ends a wait that has begun") {
    Wakeup wakeup;
    Events<bool> waiting;
    Steady::duration took{};
    std::jthread waiter([&] {
        waiting.add(true);
        took = waited(wakeup, long_enough);
    });
    REQUIRE(waiting.wait_for(1));
    std::this_thread::sleep_for(10ms);
    wakeup.wake();
    waiter.join();
    CHECK(took < long_enough);
}

TEST_CASE("Wakeup: one that comes before the wait is not lost, and ends that wait alone") {
    Wakeup wakeup;
    for (int i = 0; i < 1000; ++i) wakeup.wake();
    CHECK(waited(wakeup, long_enough) < long_enough);
    CHECK(waited(wakeup, 5ms) >= 5ms);
}

TEST_CASE("Wakeup: without one a wait ends by itself, to less than a millisecond") {
    Wakeup wakeup;
    CHECK(waited(wakeup, 1500us) >= 1500us);
    CHECK(waited(wakeup, -1s) < long_enough);
}

TEST_CASE("Wakeup: of several that wait each is woken, if whoever wakes passes it on") {
    Wakeup wakeup;
    std::atomic<int> woken{0};
    std::vector<std::jthread> waiters;
    const auto begun = Steady::now();
    for (int i = 0; i < 4; ++i) {
        waiters.emplace_back([&] {
            wakeup.wait(long_enough);
            ++woken;
            wakeup.wake();
        });
    }
    wakeup.wake();
    waiters.clear();
    CHECK(woken == 4);
    CHECK(Steady::now() - begun < long_enough);
}

}  // namespace
