// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include <backlite/engine/lifecycle.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::engine;
using enum Lifecycle;

constexpr std::array all_states{stopped, starting, starting_stop, starting_hard, starting_lost, starting_orphaned,
                                running, stopping, stopping_hard, lost,          orphaned,      ended};
constexpr std::array all_events{LifeEvent::start,  LifeEvent::installed, LifeEvent::failed,
                                LifeEvent::stop,   LifeEvent::hard_stop, LifeEvent::fatal,
                                LifeEvent::orphan, LifeEvent::over,      LifeEvent::end};

using Row = std::array<Lifecycle, all_events.size()>;

// What each state becomes by each event, in the order of the lists above.
constexpr std::array<Row, all_states.size()> table{{
    // start, installed, failed, stop, hard_stop, fatal, orphan, over, end
    {starting, stopped, stopped, stopped, stopped, stopped, stopped, stopped, ended},
    {starting, running, stopped, starting_stop, starting_hard, starting_lost, starting_orphaned, starting, ended},
    {starting_stop, stopping, stopped, starting_stop, starting_hard, starting_lost, starting_orphaned, starting_stop,
     ended},
    {starting_hard, stopping_hard, stopped, starting_hard, starting_hard, starting_lost, starting_orphaned,
     starting_hard, ended},
    {starting_lost, lost, stopped, starting_lost, starting_lost, starting_lost, starting_orphaned, starting_lost,
     ended},
    {starting_orphaned, orphaned, ended, starting_orphaned, starting_orphaned, starting_orphaned, starting_orphaned,
     starting_orphaned, ended},
    {running, running, running, stopping, stopping_hard, lost, orphaned, stopped, ended},
    {stopping, stopping, stopping, stopping, stopping_hard, lost, orphaned, stopped, ended},
    {stopping_hard, stopping_hard, stopping_hard, stopping_hard, stopping_hard, lost, orphaned, stopped, ended},
    {lost, lost, lost, lost, lost, lost, orphaned, stopped, ended},
    {orphaned, orphaned, orphaned, orphaned, orphaned, orphaned, orphaned, ended, ended},
    {ended, ended, ended, ended, ended, ended, ended, ended, ended},
}};

// A life that has come to `state`, as it comes there in a client.
void lead(Life& life, Lifecycle state) {
    const auto go = [&](auto... events) { (life.apply(events), ...); };
    using enum LifeEvent;
    switch (state) {
        case Lifecycle::stopped: return;
        case Lifecycle::starting: return go(start);
        case Lifecycle::starting_stop: return go(start, stop);
        case Lifecycle::starting_hard: return go(start, hard_stop);
        case Lifecycle::starting_lost: return go(start, fatal);
        case Lifecycle::starting_orphaned: return go(start, orphan);
        case Lifecycle::running: return go(start, installed);
        case Lifecycle::stopping: return go(start, installed, stop);
        case Lifecycle::stopping_hard: return go(start, installed, hard_stop);
        case Lifecycle::lost: return go(start, installed, fatal);
        case Lifecycle::orphaned: return go(start, installed, orphan);
        case Lifecycle::ended: return go(end);
    }
}

TEST_CASE("Lifecycle: every event in every state leads where the table says") {
    for (std::size_t s = 0; s < all_states.size(); ++s) {
        for (std::size_t e = 0; e < all_events.size(); ++e) {
            INFO("state " << s << ", event " << e);
            CHECK(after(all_states[s], all_events[e]) == table[s][e]);
            Life life;
            lead(life, all_states[s]);
            REQUIRE(life.state() == all_states[s]);
            CHECK(life.apply(all_events[e]) == table[s][e]);
            CHECK(life.state() == table[s][e]);
        }
    }
}

TEST_CASE("Lifecycle: in every state it is known whether a session is made, is there, and asks its tasks to stop") {
    std::vector<Lifecycle> made;
    std::vector<Lifecycle> there;
    std::vector<Lifecycle> asking;
    for (const Lifecycle state : all_states) {
        if (is_starting(state)) made.push_back(state);
        if (has_session(state)) there.push_back(state);
        if (asks_tasks(state)) asking.push_back(state);
    }
    CHECK(made == std::vector{starting, starting_stop, starting_hard, starting_lost, starting_orphaned});
    CHECK(there == std::vector{running, stopping, stopping_hard, lost, orphaned});
    CHECK(asking == std::vector{starting_hard, stopping_hard, lost, orphaned});
}

TEST_CASE("Lifecycle: requests for a session come to the same in whatever order they are made") {
    std::array requests{LifeEvent::stop, LifeEvent::hard_stop, LifeEvent::fatal, LifeEvent::orphan};
    do {
        Lifecycle state = running;
        Lifecycle early = starting;
        for (const LifeEvent request : requests) {
            CHECK(after(state, request) >= state);
            state = after(state, request);
            early = after(early, request);
        }
        CHECK(state == orphaned);
        CHECK(after(early, LifeEvent::installed) == orphaned);
    } while (std::next_permutation(requests.begin(), requests.end()));
}

TEST_CASE("Life: each start has a number of its own, other events have not") {
    Life life;
    lead(life, running);
    const auto first = life.run();
    for (const LifeEvent event : {LifeEvent::start, LifeEvent::stop, LifeEvent::hard_stop, LifeEvent::over}) {
        life.apply(event);
        CHECK(life.run() == first);
    }
    life.apply(LifeEvent::start);
    CHECK(life.run() == first + 1);
}

TEST_CASE("Life: what an earlier session is asked for changes nothing, and it is known that it is over") {
    Life life;
    lead(life, running);
    const auto earlier = life.run();
    life.apply(LifeEvent::over);
    lead(life, running);
    for (const LifeEvent event : {LifeEvent::stop, LifeEvent::hard_stop, LifeEvent::fatal, LifeEvent::failed}) {
        life.apply(event, earlier);
        CHECK(life.state() == running);
    }
    CHECK(life.state(earlier) == stopped);
    CHECK(life.state(life.run()) == running);
    life.apply(LifeEvent::hard_stop, life.run());
    CHECK(life.state() == stopping_hard);
}

}  // namespace
