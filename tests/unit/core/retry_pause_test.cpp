// SPDX-License-Identifier: MIT
#include <chrono>
#include <utility>

#include <backlite/core/retry_pause.hpp>
#include <backlite/store/trouble.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::core::RetryPause;
using backlite::store::Trouble;

constexpr RetryPause::Steady::time_point start{1h};

TEST_CASE("RetryPause: without a failure there is no pause, and nothing to tell") {
    RetryPause pause(5s, 10min);
    CHECK_FALSE(pause.failing());
    CHECK(pause.left(start) == 0ms);
    CHECK_FALSE(pause.recovered());
}

TEST_CASE("RetryPause: the pause doubles with each failure of a row up to half a second, and passes") {
    RetryPause pause(5s, 10min);
    for (const auto expected : {10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 500ms, 500ms}) {
        static_cast<void>(pause.failed(Trouble::other, start));
        CHECK(pause.left(start) == expected);
    }
    CHECK(pause.left(start + 499ms) == 1ms);
    CHECK(pause.left(start + 501ms) == 0ms);
    CHECK(pause.failing());
}

TEST_CASE("RetryPause: while another connection has the lock the pause stays short") {
    RetryPause pause(5s, 10min);
    for (int i = 0; i < 20; ++i) {
        static_cast<void>(pause.failed(Trouble::locked, start));
        CHECK(pause.left(start) == 10ms);
    }
}

TEST_CASE("RetryPause: the pause is at most an eighth of release_after, and at least ten milliseconds") {
    for (const auto& [release_after, most] : {std::pair{800ms, 100ms}, {1ms, 10ms}}) {
        RetryPause pause(5s, release_after);
        for (int i = 0; i < 20; ++i) static_cast<void>(pause.failed(Trouble::other, start));
        CHECK(pause.left(start) == most);
    }
}

TEST_CASE("RetryPause: one failure of a row is told, and again after it recovered") {
    RetryPause pause(5s, 10min);
    CHECK(pause.failed(Trouble::other, start));
    CHECK_FALSE(pause.failed(Trouble::other, start + 1s));
    CHECK(pause.recovered());
    CHECK_FALSE(pause.failing());
    CHECK_FALSE(pause.recovered());
    CHECK(pause.failed(Trouble::other, start + 2s));
}

TEST_CASE("RetryPause: a lock is told once it has lasted for busy_timeout") {
    RetryPause pause(5s, 10min);
    CHECK_FALSE(pause.failed(Trouble::locked, start));
    CHECK_FALSE(pause.failed(Trouble::locked, start + 4999ms));
    CHECK(pause.failed(Trouble::locked, start + 5s));
    CHECK_FALSE(pause.failed(Trouble::locked, start + 6s));
    CHECK(pause.recovered());
    CHECK_FALSE(pause.failed(Trouble::locked, start + 7s));
    CHECK_FALSE(pause.recovered());
}

}  // namespace
