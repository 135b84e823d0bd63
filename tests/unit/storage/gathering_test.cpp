// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>

#include <backlite/storage/gathering.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::storage::Gathering;
using Steady = std::chrono::steady_clock;

const Steady::time_point start{1h};

Gathering after_commits_of(Steady::duration cost) {
    Gathering gathering;
    for (int i = 0; i < 20; ++i) gathering.committed(cost);
    return gathering;
}

/// How many of `rounds` transactions of eight writes are followed by a wait for eight more.
int waits_in(Gathering& gathering, int rounds, void (Gathering::*then)() noexcept) {
    int waits = 0;
    for (int i = 0; i < rounds; ++i) {
        gathering.begin(8, start);
        if (gathering.target() == 0) continue;
        ++waits;
        (gathering.*then)();
    }
    return waits;
}

TEST_CASE("Gathering: before any commit nothing is waited for") {
    Gathering gathering;
    gathering.begin(8, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("Gathering: where a commit is cheap nothing is waited for") {
    Gathering gathering = after_commits_of(30us);
    gathering.begin(11, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("Gathering: where a commit is dear, as many are waited for as are expected, for the time of one commit") {
    Gathering gathering = after_commits_of(200us);
    gathering.begin(8, start);
    CHECK(gathering.target() == 8);
    CHECK(gathering.until() == start + 200us);
}

TEST_CASE("Gathering: two wait for each other in another way than many do") {
    Gathering gathering = after_commits_of(200us);
    CHECK_FALSE(gathering.pairs());
    gathering.begin(2, start);
    CHECK(gathering.pairs());
    CHECK_FALSE(gathering.complete(1));
    CHECK(gathering.complete(2));
    gathering.begin(3, start);
    CHECK_FALSE(gathering.pairs());
}

TEST_CASE("Gathering: a lone caller waits for nobody") {
    Gathering gathering = after_commits_of(200us);
    gathering.begin(1, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("Gathering: when nobody is expected the lead goes on at once") {
    Gathering gathering = after_commits_of(200us);
    gathering.begin(0, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("Gathering: one slow commit among cheap ones does not make commits dear") {
    Gathering gathering = after_commits_of(30us);
    gathering.committed(1s);
    gathering.begin(8, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("Gathering: commits that become dear are noticed") {
    Gathering gathering = after_commits_of(30us);
    for (int i = 0; i < 50; ++i) gathering.committed(400us);
    gathering.begin(8, start);
    CHECK(gathering.target() == 8);
    CHECK(gathering.until() > start + 300us);
}

TEST_CASE("Gathering: whoever leads ends it") {
    Gathering gathering = after_commits_of(200us);
    gathering.begin(8, start);
    gathering.end();
    CHECK(gathering.target() == 0);
}

TEST_CASE("Gathering: waiting in vain makes the next wait rarer, down to one in 64") {
    Gathering gathering = after_commits_of(200us);
    CHECK(waits_in(gathering, 128, &Gathering::missed) < 16);
    CHECK(waits_in(gathering, 6'400, &Gathering::missed) == 100);
}

TEST_CASE("Gathering: waits that pay off make them as frequent as they were") {
    Gathering gathering = after_commits_of(200us);
    (void)waits_in(gathering, 6'400, &Gathering::missed);
    (void)waits_in(gathering, 6'400, &Gathering::hit);
    CHECK(waits_in(gathering, 100, &Gathering::hit) == 100);
}

}  // namespace
