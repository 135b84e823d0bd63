// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>

#include <backlite/store/sqlite/commit_window.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::store::sqlite::CommitWindow;
using Steady = std::chrono::steady_clock;

const Steady::time_point start{1h};

CommitWindow after_commits_of(Steady::duration cost) {
    CommitWindow gathering;
    for (int i = 0; i < 20; ++i) gathering.committed(cost);
    return gathering;
}

/// How many of `rounds` transactions of eight writes are followed by a wait for eight more.
int waits_in(CommitWindow& gathering, int rounds, void (CommitWindow::*then)() noexcept) {
    int waits = 0;
    for (int i = 0; i < rounds; ++i) {
        gathering.begin(8, start);
        if (gathering.target() == 0) continue;
        ++waits;
        (gathering.*then)();
    }
    return waits;
}

TEST_CASE("CommitWindow: before any commit nothing is waited for") {
    CommitWindow gathering;
    gathering.begin(8, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("CommitWindow: where a commit is cheap nothing is waited for") {
    CommitWindow gathering = after_commits_of(30us);
    gathering.begin(11, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("CommitWindow: where a commit is dear, as many are waited for as are expected, for the time of one commit") {
    CommitWindow gathering = after_commits_of(200us);
    gathering.begin(8, start);
    CHECK(gathering.target() == 8);
    CHECK(gathering.until() == start + 200us);
}

TEST_CASE("CommitWindow: two wait for each other in another way than many do") {
    CommitWindow gathering = after_commits_of(200us);
    CHECK_FALSE(gathering.pairs());
    gathering.begin(2, start);
    CHECK(gathering.pairs());
    CHECK_FALSE(gathering.complete(1));
    CHECK(gathering.complete(2));
    gathering.begin(3, start);
    CHECK_FALSE(gathering.pairs());
}

TEST_CASE("CommitWindow: a lone caller waits for nobody") {
    CommitWindow gathering = after_commits_of(200us);
    gathering.begin(1, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("CommitWindow: when nobody is expected the lead goes on at once") {
    CommitWindow gathering = after_commits_of(200us);
    gathering.begin(0, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("CommitWindow: one slow commit among cheap ones does not make commits dear") {
    CommitWindow gathering = after_commits_of(30us);
    gathering.committed(1s);
    gathering.begin(8, start);
    CHECK(gathering.target() == 0);
}

TEST_CASE("CommitWindow: commits that become dear are noticed") {
    CommitWindow gathering = after_commits_of(30us);
    for (int i = 0; i < 50; ++i) gathering.committed(400us);
    gathering.begin(8, start);
    CHECK(gathering.target() == 8);
    CHECK(gathering.until() > start + 300us);
}

TEST_CASE("CommitWindow: whoever leads ends it") {
    CommitWindow gathering = after_commits_of(200us);
    gathering.begin(8, start);
    gathering.end();
    CHECK(gathering.target() == 0);
}

TEST_CASE("CommitWindow: waiting in vain makes the next wait rarer, down to one in 64") {
    CommitWindow gathering = after_commits_of(200us);
    CHECK(waits_in(gathering, 128, &CommitWindow::missed) < 16);
    CHECK(waits_in(gathering, 6'400, &CommitWindow::missed) == 100);
}

TEST_CASE("CommitWindow: waits that pay off make them as frequent as they were") {
    CommitWindow gathering = after_commits_of(200us);
    (void)waits_in(gathering, 6'400, &CommitWindow::missed);
    (void)waits_in(gathering, 6'400, &CommitWindow::hit);
    CHECK(waits_in(gathering, 100, &CommitWindow::hit) == 100);
}

}  // namespace
