// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/core/progress_board.hpp>
#include <backlite/id.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using core::ProgressBoard;
using detail::Ms;
using Steady = ProgressBoard::Steady;

constexpr Steady::time_point start{1h};
constexpr Steady::time_point never = (Steady::time_point::max)();

detail::ClaimedTask task(const std::string& id, std::int64_t claim = 1) {
    detail::ClaimedTask made;
    made.id = TaskId::from_text(id);
    made.claim = claim;
    return made;
}

std::string text(const std::vector<detail::ProgressNote>& notes) {
    std::string all;
    for (const detail::ProgressNote& note : notes) {
        all += fmt::format("[{} {} {} {} {}]", note.claim.id.str(), note.claim.number, note.fraction, note.message,
                           note.at.count());
    }
    return all;
}

TEST_CASE("ProgressBoard: the last word counts, and is written at once and then again after a pause") {
    ProgressBoard board(2);
    CHECK(board.next() == never);
    CHECK(board.due(start).empty());
    CHECK(board.say(0, task("a"), 0.25, "one", Ms{1}, start));
    CHECK(board.next() == start);
    CHECK_FALSE(board.say(0, task("a"), 0.5, "two", Ms{2}, start + 1ms));
    const auto first = board.due(start + 2ms);
    CHECK(text(first) == "[a 1 0.5 two 2]");
    board.written(first, start + 3ms);
    CHECK(board.next() == never);
    CHECK(board.due(start + 10s).empty());
    CHECK(board.say(0, task("a"), 0.75, "three", Ms{4}, start + 4ms));
    CHECK(board.next() == start + 3ms + ProgressBoard::pause);
    CHECK(board.due(start + 2ms + ProgressBoard::pause).empty());
    CHECK(text(board.due(start + 3ms + ProgressBoard::pause)) == "[a 1 0.75 three 4]");
}

TEST_CASE("ProgressBoard: what could not be written stays, and what is said during the write is written next") {
    ProgressBoard board(1);
    CHECK(board.say(0, task("a"), 0.25, "one", Ms{1}, start));
    CHECK(text(board.due(start)) == "[a 1 0.25 one 1]");
    CHECK(board.next() == start);
    const auto again = board.due(start + 1ms);
    CHECK(text(again) == "[a 1 0.25 one 1]");
    CHECK_FALSE(board.say(0, task("a"), 0.5, "two", Ms{2}, start + 2ms));
    board.written(again, start + 3ms);
    CHECK(board.next() == start + 3ms + ProgressBoard::pause);
    CHECK(text(board.due(board.next())) == "[a 1 0.5 two 2]");
}

TEST_CASE("ProgressBoard: of a task that is over nothing is written, and the next of its worker waits for its turn") {
    ProgressBoard board(2);
    CHECK(board.say(0, task("a"), 0.25, "one", Ms{1}, start));
    board.left(0);
    board.left(1);
    CHECK(board.due(start).empty());
    CHECK(board.next() == never);
    CHECK(board.say(0, task("b", 7), 0, "", Ms{2}, start + 1ms));
    const auto notes = board.due(start + 1ms);
    CHECK(text(notes) == "[b 7 0  2]");
    board.written(notes, start + 1ms);
    board.left(0);
    CHECK(board.say(0, task("c"), 1, "", Ms{3}, start + 2ms));
    CHECK(board.due(start + 2ms).empty());
    CHECK(board.next() == start + 1ms + ProgressBoard::pause);
}

TEST_CASE("ProgressBoard: of tasks that say something before their worker's turn has come the first one alone calls") {
    ProgressBoard board(2);
    CHECK(board.say(0, task("a"), 0, "", Ms{1}, start));
    CHECK_FALSE(board.say(1, task("b"), 0, "", Ms{1}, start));  // who was called writes of it, too
    const auto notes = board.due(start);
    CHECK(notes.size() == 2);
    board.written(notes, start);
    board.left(0);
    board.left(1);
    CHECK(board.say(0, task("c"), 0, "", Ms{2}, start + 1ms));
    for (const char* const id : {"d", "e", "f"}) {
        board.left(0);
        CHECK_FALSE(board.say(0, task(id), 0, "", Ms{3}, start + 2ms));
        CHECK_FALSE(board.say(1, task(id), 0, "", Ms{3}, start + 2ms));
        board.left(1);
    }
    board.left(0);
    CHECK(board.next() == start + ProgressBoard::pause);
    CHECK(board.due(start + ProgressBoard::pause).empty());
    CHECK(board.say(1, task("g"), 0, "", Ms{4}, start + ProgressBoard::pause));
    CHECK(text(board.due(start + ProgressBoard::pause)) == "[g 1 0  4]");
}

TEST_CASE("ProgressBoard: workers do not wait for each other's turns") {
    ProgressBoard board(3);
    CHECK(board.say(2, task("c"), 1, "", Ms{1}, start));
    board.written(board.due(start), start);
    CHECK(board.say(2, task("c"), 1, "", Ms{2}, start));
    CHECK(board.say(0, task("a"), 1, "", Ms{3}, start + 1ms));
    CHECK(board.next() == start + 1ms);
    const auto notes = board.due(start + 1ms);
    CHECK(text(notes) == "[a 1 1  3]");
    board.written(notes, start + 1ms);
    CHECK(board.next() == start + ProgressBoard::pause);
}

TEST_CASE("ProgressBoard: whatever is said beside a write is not forgotten") {
    ProgressBoard board(2);
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < 2; ++worker) {
        threads.emplace_back([&, worker] {
            for (int i = 1; i <= 20'000; ++i) static_cast<void>(board.say(worker, task("a"), i, "m", Ms{i}, start));
            done = true;
        });
    }
    Steady::time_point now = start;
    while (!done) {
        now += ProgressBoard::pause;
        board.written(board.due(now), now);
    }
    for (std::thread& thread : threads) thread.join();
    board.written(board.due(now += ProgressBoard::pause), now);
    for (std::size_t worker = 0; worker < 2; ++worker) {
        static_cast<void>(board.say(worker, task("a"), 1, "last", Ms{1}, now));
    }
    CHECK(board.due(now + 2 * ProgressBoard::pause).size() == 2);
}

}  // namespace
