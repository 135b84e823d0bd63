// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/clock.hpp>
#include <backlite/context.hpp>
#include <backlite/engine/deadline_timer.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <uncapped.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::Gate;
using engine::DeadlineTimer;
using Steady = std::chrono::steady_clock;

const auto own = std::make_shared<platform::ThreadList>();

/// A timer for four workers on a clock that stands still. The fourth is there to make it look at that clock.
class Shop {
public:
    void arm(std::size_t worker, Steady::duration from_now, const std::shared_ptr<detail::StopSignal>& signal) {
        timer->arm(worker, clock.steady_now() + from_now, signal);
    }

    /// Returns when the timer has fired all that is due.
    [[nodiscard]] bool look() {
        const auto signal = std::make_shared<detail::StopSignal>();
        Events<bool> fired;
        const std::stop_callback callback(signal->token(), [&] { fired.add(true); });
        timer->arm(3, clock.steady_now() - 1h, signal);
        if (!fired.wait_for(1)) return false;
        // What was due at the same look may fire after this one: once the next look fires, it has.
        const auto second = std::make_shared<detail::StopSignal>();
        const std::stop_callback second_callback(second->token(), [&] { fired.add(true); });
        timer->arm(3, clock.steady_now() - 1h, second);
        return fired.wait_for(2);
    }

    testing::ManualClock clock{};
    std::optional<DeadlineTimer> timer{std::in_place, own, 4, clock};
};

std::shared_ptr<detail::StopSignal> new_signal() { return std::make_shared<detail::StopSignal>(); }

/// Several fire on as many threads, so one may be a moment behind the last of a look.
bool fires(const std::shared_ptr<detail::StopSignal>& signal) {
    return eventually([&] { return signal->reason() == StopReason::timeout && signal->token().stop_requested(); });
}

TEST_CASE("DeadlineTimer: fires a signal once its deadline has come, with the reason") {
    Shop shop;
    const auto signal = new_signal();
    shop.arm(0, 10s, signal);
    shop.clock.advance(10s);
    REQUIRE(shop.look());
    CHECK(fires(signal));
    CHECK(signal->token().stop_requested());
}

TEST_CASE("DeadlineTimer: fires nothing before its deadline") {
    Shop shop;
    const auto signal = new_signal();
    shop.arm(0, 10s, signal);
    shop.clock.advance(9999ms);
    REQUIRE(shop.look());
    CHECK(signal->reason() == StopReason::none);
}

TEST_CASE("DeadlineTimer: fires on the real clock without being told to look") {
    const Clock clock;
    Events<bool> fired;
    const auto signal = new_signal();
    const std::stop_callback callback(signal->token(), [&] { fired.add(true); });
    DeadlineTimer timer(own, 1, clock);
    timer.arm(0, clock.steady_now() + 5ms, signal);
    CHECK(fired.wait_for(1));
}

TEST_CASE("DeadlineTimer: an earlier deadline than those that it waits for wakes it") {
    const backlite_test::Uncapped uncapped;
    const Clock clock;
    DeadlineTimer timer(own, 2, clock);
    timer.arm(1, clock.steady_now() + 1h, new_signal());
    Events<bool> fired;
    for (std::size_t round = 1; round <= 20; ++round) {
        const auto signal = new_signal();
        const std::stop_callback callback(signal->token(), [&] { fired.add(true); });
        timer.arm(0, clock.steady_now() + 1ms, signal);
        REQUIRE(fired.wait_for(round));
    }
}

TEST_CASE("DeadlineTimer: notices a clock that moved while it waited") {
    Shop shop;
    Events<bool> fired;
    const auto signal = new_signal();
    const std::stop_callback callback(signal->token(), [&] { fired.add(true); });
    shop.arm(0, 1h, signal);
    shop.clock.advance(1h);
    CHECK(fired.wait_for(1));
}

TEST_CASE("DeadlineTimer: a worker that was disarmed is left alone") {
    Shop shop;
    const auto signal = new_signal();
    shop.arm(0, 10s, signal);
    shop.timer->disarm(0);
    shop.clock.advance(20s);
    REQUIRE(shop.look());
    CHECK(signal->reason() == StopReason::none);
}

TEST_CASE("DeadlineTimer: disarming one worker leaves the others") {
    Shop shop;
    const auto first = new_signal();
    const auto second = new_signal();
    shop.arm(0, 10s, first);
    shop.arm(1, 10s, second);
    shop.timer->disarm(0);
    shop.clock.advance(10s);
    REQUIRE(shop.look());
    CHECK(first->reason() == StopReason::none);
    CHECK(fires(second));
}

TEST_CASE("DeadlineTimer: arming a worker anew forgets its task before") {
    Shop shop;
    const auto before = new_signal();
    const auto after = new_signal();
    shop.arm(0, 10s, before);
    shop.arm(0, 20s, after);
    shop.clock.advance(10s);
    REQUIRE(shop.look());
    CHECK(before->reason() == StopReason::none);
    CHECK(after->reason() == StopReason::none);
    shop.clock.advance(10s);
    REQUIRE(shop.look());
    CHECK(before->reason() == StopReason::none);
    CHECK(fires(after));
}

TEST_CASE("DeadlineTimer: of several deadlines those fire that have come") {
    Shop shop;
    const auto first = new_signal();
    const auto second = new_signal();
    const auto third = new_signal();
    shop.arm(0, 30s, third);
    shop.arm(1, 10s, first);
    shop.arm(2, 20s, second);
    shop.clock.advance(20s);
    REQUIRE(shop.look());
    CHECK(fires(first));
    CHECK(fires(second));
    CHECK(third->reason() == StopReason::none);
}

TEST_CASE("DeadlineTimer: a deadline at the end of time never comes") {
    Shop shop;
    const auto signal = new_signal();
    shop.timer->arm(0, (Steady::time_point::max)(), signal);
    shop.clock.advance(24h * 365);
    REQUIRE(shop.look());
    CHECK(signal->reason() == StopReason::none);
}

TEST_CASE("DeadlineTimer: a signal that has fired keeps its first reason") {
    Shop shop;
    const auto signal = new_signal();
    shop.arm(0, 10s, signal);
    signal->fire(StopReason::stopping);
    shop.clock.advance(10s);
    REQUIRE(shop.look());
    CHECK(signal->reason() == StopReason::stopping);
}

TEST_CASE("DeadlineTimer: a stop callback may use the timer, on a thread of the engine") {
    Shop shop;
    const auto signal = new_signal();
    const auto next = new_signal();
    bool listed = false;
    const std::stop_callback callback(signal->token(), [&] {
        listed = own->has_this_thread();
        shop.timer->disarm(1);
        shop.arm(0, 0s, next);
    });
    shop.arm(0, 10s, signal);
    shop.clock.advance(10s);
    REQUIRE(shop.look());
    REQUIRE(shop.look());
    CHECK(fires(next));
    CHECK(listed);
}

TEST_CASE("DeadlineTimer: fires a signal when it is asked to, with the reason, on a thread of the engine") {
    const backlite_test::Uncapped uncapped;
    Shop shop;
    Events<bool> seen;
    for (std::size_t round = 1; round <= 20; ++round) {
        const auto signal = new_signal();
        const std::stop_callback callback(signal->token(), [&] { seen.add(own->has_this_thread()); });
        shop.timer->fire(signal, StopReason::claim_lost);
        REQUIRE(seen.wait_for(round));
        CHECK(signal->reason() == StopReason::claim_lost);
    }
    CHECK(seen.count_of(true) == 20);
}

TEST_CASE(
    "DeadlineTimer: of those that are asked to fire again while they wait each fires once, for its first reason") {
    const Clock clock;
    Gate gate;
    Events<bool> entered;
    Events<int> fired;
    DeadlineTimer timer(own, 1, clock);
    const backlite_test::OpensAtEnd opens(gate);
    const auto slow = new_signal();
    const std::stop_callback slow_callback(slow->token(), [&] {
        for (int i = 0; i < 4; ++i) timer.fire(slow, StopReason::timeout);  // it fires already
        entered.add(true);
        gate.pass();
    });
    using Noting = std::stop_callback<std::function<void()>>;
    std::vector<std::shared_ptr<detail::StopSignal>> signals;
    std::vector<std::unique_ptr<Noting>> notes;
    for (int i = 0; i < 100; ++i) {
        signals.push_back(new_signal());
        notes.push_back(std::make_unique<Noting>(signals.back()->token(), [&fired, i] { fired.add(i); }));
    }
    timer.fire(slow, StopReason::stopping);
    REQUIRE(entered.wait_for(1));
    for (const StopReason reason : {StopReason::claim_lost, StopReason::stopping}) {
        for (const auto& signal : signals) timer.fire(signal, reason);
    }
    REQUIRE(fired.wait_for(100));
    gate.open();
    for (int i = 0; i < 100; ++i) CHECK(fired.count_of(i) == 1);
    std::size_t lost = 0;
    for (const auto& signal : signals) lost += signal->reason() == StopReason::claim_lost;
    CHECK(lost == 100);
}

TEST_CASE("DeadlineTimer: callbacks that take long keep no other signal from firing in time") {
    const backlite_test::Uncapped uncapped;
    const Clock clock;
    Gate gate;
    Events<int> entered;
    Events<int> fired;
    DeadlineTimer timer(own, 4, clock);
    const backlite_test::OpensAtEnd opens(gate);
    const auto slow = [&] {
        entered.add(1);
        gate.pass();
    };
    const auto first = new_signal();
    const auto second = new_signal();
    const auto third = new_signal();
    const auto fourth = new_signal();
    const std::stop_callback slow_callback(first->token(), slow);
    const std::stop_callback slow_too(second->token(), slow);
    const std::stop_callback callback(third->token(), [&] { fired.add(3); });
    const std::stop_callback last_callback(fourth->token(), [&] { fired.add(4); });
    timer.arm(0, clock.steady_now(), first);
    timer.arm(1, clock.steady_now() + 1ms, second);
    REQUIRE(entered.wait_for(2));
    timer.arm(2, clock.steady_now() + 1ms, third);
    REQUIRE(fired.wait_for(1));
    timer.fire(fourth, StopReason::stopping);
    CHECK(fired.wait_for(2));
    CHECK(entered.count() == 2);
    gate.open();
}

TEST_CASE("DeadlineTimer: its end fires nothing") {
    Shop shop;
    const auto signal = new_signal();
    shop.arm(0, 10s, signal);
    shop.timer.reset();
    CHECK(signal->reason() == StopReason::none);
    CHECK(signal.use_count() == 1);
}

TEST_CASE("DeadlineTimer: what is to be done at a wake-up is done on a thread of the engine, without a lock") {
    const backlite_test::Uncapped uncapped;
    const Clock clock;
    Events<bool> woken;
    DeadlineTimer* shown = nullptr;
    DeadlineTimer timer(own, 1, clock, [&] {
        if (shown != nullptr) shown->disarm(0);
        woken.add(own->has_this_thread());
    });
    shown = &timer;
    for (std::size_t round = 1; round <= 20; ++round) {
        timer.wake();
        REQUIRE(woken.wait_for(round));
    }
    CHECK(woken.count_of(false) == 0);
}

TEST_CASE("DeadlineTimer: a wake-up is heeded while callbacks take long") {
    const backlite_test::Uncapped uncapped;
    const Clock clock;
    Gate gate;
    Events<bool> entered;
    Events<bool> woken;
    DeadlineTimer timer(own, 2, clock, [&] { woken.add(true); });
    const backlite_test::OpensAtEnd opens(gate);
    const auto slow = new_signal();
    const std::stop_callback callback(slow->token(), [&] {
        entered.add(true);
        gate.pass();
    });
    timer.fire(slow, StopReason::stopping);
    REQUIRE(entered.wait_for(1));
    const std::size_t before = woken.count();
    timer.wake();
    CHECK(woken.wait_for(before + 1));
    gate.open();
}

TEST_CASE("DeadlineTimer: its end is the end of all threads that it has, and nothing fires after it") {
    const backlite_test::Uncapped uncapped;
    const Clock clock;
    using Slow = std::stop_callback<std::function<void()>>;
    bool ended = true;
    for (int round = 0; ended && round < 50; ++round) {
        Gate gate;
        Events<int> entered;
        Events<bool> closed;
        DeadlineTimer timer(own, 8, clock);
        const backlite_test::OpensAtEnd opens(gate);
        std::vector<std::shared_ptr<detail::StopSignal>> signals;
        std::vector<std::unique_ptr<Slow>> callbacks;
        for (int i = 0; i < 6; ++i) {
            signals.push_back(new_signal());
            callbacks.push_back(std::make_unique<Slow>(signals.back()->token(), [&] {
                entered.add(1);
                gate.pass();
            }));
            timer.fire(signals.back(), StopReason::stopping);
        }
        REQUIRE(entered.wait_for(6));
        gate.open();
        callbacks.clear();
        std::this_thread::sleep_for(1ms);  // by then most of them wait
        std::jthread closing([&] {
            timer.close();
            closed.add(true);
        });
        ended = closed.wait_for(1);
        while (closed.count() == 0) timer.wake();
        closing.join();
        const auto late = new_signal();
        timer.arm(0, clock.steady_now(), late);
        timer.close();
        CHECK(late->reason() == StopReason::none);
    }
    CHECK(ended);
}

}  // namespace
