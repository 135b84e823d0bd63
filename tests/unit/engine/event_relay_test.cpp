// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/engine/event_relay.hpp>
#include <backlite/event.hpp>
#include <backlite/id.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <recording_logger.hpp>
#include <uncapped.hpp>

namespace {

using namespace backlite;
using backlite_test::Events;
using backlite_test::Gate;
using backlite_test::RecordingLogger;
using detail::Ms;
using detail::NewTask;
using engine::EventQueue;
using engine::EventRelay;
using engine::PendingAdds;
using Lines = std::vector<std::string>;

const auto own = std::make_shared<platform::ThreadList>();

std::string text_of(const Event& event) {
    std::string text{to_string(event.kind)};
    if (!event.task_id.str().empty()) text += " " + event.task_id.str();
    if (event.count != 0) text += fmt::format(" {}", event.count);
    return text;
}

/// A relay to an observer that waits at a gate after it has noted an event.
struct Shop {
    Shop() {
        observers.emplace_back([this](const Event& event) {
            seen.add(text_of(event));
            if (!own->has_this_thread()) seen.add("on another thread");
            gate.pass();
        });
    }
    Shop(const Shop&) = delete;
    Shop& operator=(const Shop&) = delete;
    ~Shop() { gate.open(); }

    EventRelay& open() { return relay.emplace(own, observers, clock, detail::SafeLogger(logger)); }
    void tell(EventKind kind, const std::string& id = {}) {
        relay->tell(kind, [&](Event& event) { event.task_id = TaskId::from_text(id); });
    }
    /// Ends the relay: all that waits is told.
    Lines end() {
        gate.open();
        relay.reset();
        return seen.all();
    }

    const backlite_test::Uncapped uncapped{};
    Gate gate{};
    Events<std::string> seen{};
    std::shared_ptr<testing::ManualClock> clock = std::make_shared<testing::ManualClock>();
    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();
    engine::Observers observers{};
    std::optional<EventRelay> relay{};
};

std::vector<NewTask> tasks(int first, int count) {
    std::vector<NewTask> made;
    for (int i = first; i < first + count; ++i) {
        made.push_back({TaskId::from_text(fmt::format("id{:06}", i)), "mail", "{}", {}});
    }
    return made;
}

TEST_CASE("EventRelay: tells events in their order, and does not wait for the observer") {
    Shop shop;
    shop.open();
    shop.tell(EventKind::added, "a");
    shop.tell(EventKind::started, "a");
    REQUIRE(shop.seen.wait_for(1));
    CHECK(shop.seen.count() == 1);
    shop.gate.open();
    REQUIRE(shop.seen.wait_for(2));
    shop.tell(EventKind::succeeded, "a");
    REQUIRE(shop.seen.wait_for(3));
    CHECK(shop.end() == Lines{"task added a", "task started a", "task processed a"});
}

TEST_CASE("EventRelay: its thread has a name, and signals to the process do not reach it") {
    Shop shop;
    Events<std::string> names;
    shop.observers = {[&](const Event&) {
        char name[16] = {};
        pthread_getname_np(pthread_self(), name, sizeof name);
        sigset_t blocked;
        pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        names.add(fmt::format("{} {}", name, sigismember(&blocked, SIGTERM)));
    }};
    shop.open();
    shop.tell(EventKind::client_started);
    REQUIRE(names.wait_for(1));
    CHECK(names.all() == Lines{"backlite-obs 1"});
}

TEST_CASE("EventRelay: an event says when it was told") {
    Shop shop;
    Events<TimePoint> times;
    shop.observers = {[&](const Event& event) { times.add(event.time); }};
    shop.open();
    shop.tell(EventKind::client_started);
    REQUIRE(times.wait_for(1));
    CHECK(times.all().front() == shop.clock->now());
}

TEST_CASE("EventRelay: what comes while too many events wait is dropped, and their number is the next event") {
    Shop shop;
    shop.open();
    shop.tell(EventKind::client_started);
    REQUIRE(shop.seen.wait_for(1));
    for (std::size_t i = 0; i < EventQueue::most + 7; ++i) shop.tell(EventKind::added, "a");
    SECTION("at the end") {
        const Lines all = shop.end();
        REQUIRE(all.size() == EventQueue::most + 2);
        CHECK(all.back() == "events dropped 7");
    }
    SECTION("before what comes once there is room again") {
        shop.gate.open();
        REQUIRE(shop.seen.wait_for(EventQueue::most + 2));
        shop.tell(EventKind::started, "b");
        const Lines all = shop.end();
        REQUIRE(all.size() == EventQueue::most + 3);
        CHECK(all[EventQueue::most + 1] == "events dropped 7");
        CHECK(all.back() == "task started b");
    }
}

TEST_CASE("EventRelay: of events that are told while the observer is slow each is told or counted, in order") {
    Shop shop;
    std::size_t told = 0;
    std::int64_t dropped = 0;
    std::string last;
    bool in_order = true;
    shop.observers = {[&](const Event& event) {
        if (event.kind == EventKind::dropped) {
            dropped += event.count;
            return;
        }
        ++told;
        in_order = in_order && last < event.task_id.str();
        last = event.task_id.str();
        if (told % 1'000 == 0) std::this_thread::yield();
    }};
    shop.open();
    constexpr std::size_t all = 4 * EventQueue::most;
    for (std::size_t i = 0; i < all; ++i) shop.tell(EventKind::added, fmt::format("{:08}", i));
    shop.relay.reset();
    CHECK(told + static_cast<std::size_t>(dropped) == all);
    CHECK(in_order);
}

TEST_CASE("EventRelay: an event that finds no memory counts as dropped") {
    Shop shop;
    shop.open();
    shop.tell(EventKind::client_started);
    shop.relay->tell(EventKind::added, [](Event&) { throw std::bad_alloc(); });
    shop.tell(EventKind::client_stopped);
    CHECK(shop.end() == Lines{"task dispatcher started", "events dropped 1", "task dispatcher stopped"});
}

TEST_CASE("EventRelay: each observer is told of each event, whatever others throw, which is logged once") {
    Shop shop;
    shop.gate.open();
    shop.observers.insert(shop.observers.begin(), [](const Event&) { throw std::runtime_error("no"); });
    shop.observers.insert(shop.observers.begin(), [](const Event&) { throw 7; });
    shop.open();
    shop.tell(EventKind::client_started);
    shop.tell(EventKind::client_stopped);
    CHECK(shop.end() == Lines{"task dispatcher started", "task dispatcher stopped"});
    CHECK(shop.logger->count("an observer throws") == 1);
}

TEST_CASE("EventRelay: its end waits for the observer that runs") {
    Shop shop;
    std::atomic<bool> finished{false};
    shop.observers = {[&](const Event&) {
        shop.seen.add("inside");
        std::this_thread::sleep_for(Duration{100});
        finished = true;
    }};
    shop.open();
    shop.tell(EventKind::added, "a");
    REQUIRE(shop.seen.wait_for(1));
    shop.relay.reset();
    CHECK(finished);
}

TEST_CASE("EventQueue: what still waits when the time for its end is over is not told, but counted in the log") {
    Shop shop;
    EventQueue queue(shop.observers, shop.clock, detail::SafeLogger(shop.logger));
    std::jthread thread([&] {
        const platform::ThreadList::Scope scope(*own);
        queue.run();
    });
    for (int i = 0; i < 5; ++i) queue.push({.kind = EventKind::added});
    queue.drop(2);
    REQUIRE(shop.seen.wait_for(1));
    queue.close(EventQueue::Steady::now());
    shop.gate.open();
    thread.join();
    CHECK(shop.seen.all() == Lines{"task added"});
    CHECK(shop.logger->count("events not told: the client has ended, and its observers are too slow events=6") == 1);
}

TEST_CASE("EventQueue: while the time for its end lasts, all that waits is told") {
    Shop shop;
    shop.gate.open();
    EventQueue queue(shop.observers, shop.clock, detail::SafeLogger(shop.logger));
    for (int i = 0; i < 5; ++i) queue.push({.kind = EventKind::added});
    queue.close((EventQueue::Steady::time_point::max)());
    const platform::ThreadList::Scope scope(*own);
    queue.run();
    CHECK(shop.seen.count() == 5);
}

TEST_CASE("EventRelay: what is told after its end is nothing") {
    Shop shop;
    shop.open();
    shop.gate.open();
    shop.relay->close();
    shop.tell(EventKind::client_started);
    CHECK(shop.end().empty());
}

TEST_CASE("EventRelay: an observer may end it, and is told what waits all the same") {
    Shop shop;
    Events<std::string> told;
    shop.observers = {[&](const Event& event) {
        if (told.count() == 0) {
            shop.gate.pass();
            shop.relay.reset();
        }
        told.add(text_of(event));
    }};
    shop.open();
    shop.tell(EventKind::added, "a");
    shop.tell(EventKind::started, "a");
    shop.gate.open();
    REQUIRE(told.wait_for(2));
    CHECK(told.all() == Lines{"task added a", "task started a"});
}

TEST_CASE("EventRelay: an observer that ends its thread ends the telling, and nobody waits for it") {
    Shop shop;
    shop.observers = {[&](const Event& event) {
        shop.seen.add(text_of(event));
        pthread_exit(nullptr);
    }};
    shop.open();
    shop.tell(EventKind::client_started);
    REQUIRE(shop.seen.wait_for(1));
    shop.tell(EventKind::client_stopped);
    CHECK(shop.end() == Lines{"task dispatcher started"});
}

TEST_CASE("EventRelay: a child that an observer forks ends there instead of telling its parent's events") {
    Shop shop;
    Events<int> ends;
    shop.observers = {[&](const Event&) {
        const pid_t child = ::fork();
        if (child == 0) {
            sigset_t alarm;
            sigemptyset(&alarm);
            sigaddset(&alarm, SIGALRM);
            pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
            ::alarm(5);  // should it go on
            return;
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        ends.add(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    }};
    shop.open();
    shop.tell(EventKind::client_started);
    REQUIRE(ends.wait_for(1));
    CHECK(ends.all().front() > 0);
}

// ---- tasks on their way into the file -------------------------------------------------------------------------------

TEST_CASE("PendingAdds: tasks are told in their order once they are committed, with their due time") {
    Shop shop;
    shop.gate.open();
    std::vector<TimePoint> due;
    shop.observers.emplace_back([&](const Event& event) { due.push_back(event.due); });
    EventRelay& relay = shop.open();
    {
        PendingAdds adds(&relay);
        adds.take(tasks(1, 2), Ms{5'000}, Ms{3'000});
        adds.commit_begins();
        shop.tell(EventKind::client_started);
        adds.committed();
    }
    CHECK(shop.end() == Lines{"task dispatcher started", "task added id000001", "task added id000002"});
    CHECK(due[1] == detail::from_ms(Ms{5'000}));
}

TEST_CASE("PendingAdds: what is not committed is no event") {
    Shop shop;
    EventRelay& relay = shop.open();
    {
        PendingAdds adds(&relay);
        adds.take(tasks(1, 2), {}, Ms{3'000});
        adds.commit_begins();
    }
    CHECK(shop.end().empty());
}

TEST_CASE("PendingAdds: a task is told as added before anything else is told of it, and once") {
    Shop shop;
    EventRelay& relay = shop.open();
    {
        PendingAdds adds(&relay);
        PendingAdds others(&relay);
        adds.take(tasks(1, 3), {}, Ms{3'000});
        others.take(tasks(4, 1), {}, Ms{3'000});
        adds.commit_begins();
        shop.tell(EventKind::started, "id000002");
        shop.tell(EventKind::succeeded, "id000002");
        adds.committed();
    }
    CHECK(shop.end() == Lines{"task added id000002", "task started id000002", "task processed id000002",
                              "task added id000001", "task added id000003"});
}

TEST_CASE("PendingAdds: before the commit begins nothing proves that a task is there") {
    Shop shop;
    EventRelay& relay = shop.open();
    {
        PendingAdds adds(&relay);
        adds.take(tasks(1, 1), {}, Ms{3'000});
        shop.tell(EventKind::started, "id000001");
        adds.commit_begins();
        adds.commit_failed();
        shop.tell(EventKind::started, "id000001");
    }
    CHECK(shop.end() == Lines{"task started id000001", "task started id000001"});
}

TEST_CASE("PendingAdds: of more tasks than may wait the others are counted") {
    Shop shop;
    EventRelay& relay = shop.open();
    shop.tell(EventKind::client_started);
    REQUIRE(shop.seen.wait_for(1));
    {
        PendingAdds adds(&relay);
        adds.take(tasks(1, static_cast<int>(EventQueue::most) + 5), {}, Ms{3'000});
        adds.commit_begins();
        adds.committed();
    }
    const Lines all = shop.end();
    REQUIRE(all.size() == EventQueue::most + 2);
    CHECK(all.back() == "events dropped 5");
}

}  // namespace
