// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>

#include <backlite/core/claim_policy.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using core::ClaimPolicy;
using detail::Ms;
using detail::Us;
using store::ClaimRequest;
using store::ClaimResult;
using store::QueueHead;
using Load = engine::WorkerPool::Load;

const QueueHead quick{.name = "quick", .cost = Us{10}};
const QueueHead slow{.name = "slow", .cost = Us{1'000'000}};

/// A result of so many tasks.
ClaimResult result_of(std::size_t count) {
    ClaimResult result;
    result.tasks.resize(count);
    return result;
}

TEST_CASE("ClaimPolicy: asks for as many tasks as workers are free, where tasks are slow") {
    const ClaimPolicy policy(4);
    const ClaimRequest request = policy.request({.idle = 3, .running = 1}, &slow, false);
    CHECK(request.limit == 3);
    CHECK(request.beside.free_workers == 3);
    CHECK(request.ahead == Us{});
}

TEST_CASE("ClaimPolicy: a worker for whom a task is ready is not free") {
    const ClaimPolicy policy(4);
    CHECK(policy.request({.idle = 3, .ready = 2}, &slow, false).beside.free_workers == 1);
    CHECK(policy.request({.idle = 3, .ready = 9}, &slow, false).beside.free_workers == 0);
}

TEST_CASE("ClaimPolicy: asks for nothing where no worker is free and tasks are slow") {
    const ClaimPolicy policy(4);
    CHECK(policy.request({.idle = 0, .running = 4}, &slow, false).limit == 0);
    CHECK(policy.request({.idle = 0, .running = 4}, nullptr, false).limit == 0);
}

TEST_CASE("ClaimPolicy: asks for nothing ahead of a queue whose tasks can be replaced, however quick they are") {
    const ClaimPolicy policy(4);
    const QueueHead replaced{.name = "replaced", .cost = Us{10}, .never_ahead = true};
    CHECK(policy.request({.idle = 0, .running = 4}, &replaced, false).limit == 0);
    CHECK(policy.request({.idle = 1, .running = 3}, &replaced, false).limit == 1);
}

TEST_CASE("ClaimPolicy: asks for more ahead where tasks are quick, by their work") {
    const ClaimPolicy policy(4);
    const ClaimRequest request = policy.request({.idle = 0, .running = 4}, &quick, false);
    CHECK(request.beside.free_workers == 0);
    CHECK(request.limit > 0);
    CHECK(request.ahead == Us{16'000});
}

TEST_CASE("ClaimPolicy: work that waits already is taken off the budget") {
    const ClaimPolicy policy(1);
    CHECK(policy.request({.running = 1, .ready = 1, .ready_work = Us{1'000}}, &quick, false).ahead == Us{3'000});
    CHECK(policy.request({.running = 1, .ready = 1, .ready_work = Us{3'995}}, &quick, false).limit == 0);
}

TEST_CASE("ClaimPolicy: payloads that wait already are taken off the 16 MiB that may be claimed ahead") {
    const ClaimPolicy policy(1);
    constexpr std::size_t mib = std::size_t{1} << 20;
    CHECK(policy.request({.running = 1}, &quick, false).ahead_bytes == 16 * mib);
    CHECK(policy.request({.running = 1, .ready = 1, .ready_bytes = 10 * mib}, &quick, false).ahead_bytes == 6 * mib);
    CHECK(policy.request({.running = 1, .ready = 1, .ready_bytes = 16 * mib}, &quick, false).limit == 0);
    CHECK(policy.request({.running = 1, .ready = 2, .ready_bytes = 90 * mib}, &quick, false).limit == 0);
}

TEST_CASE("ClaimPolicy: a task that was too large to be claimed ahead is asked for once there is room, or a worker") {
    ClaimPolicy policy(1);
    constexpr std::size_t mib = std::size_t{1} << 20;
    ClaimResult result;
    result.left_bytes = 10 * mib;
    policy.claimed({}, result);
    CHECK(policy.request({.running = 1, .ready = 1, .ready_bytes = 7 * mib}, &quick, false).limit == 0);
    CHECK(policy.request({.idle = 1, .ready_bytes = 7 * mib}, &quick, false).limit == 1);
    CHECK(policy.request({.running = 1, .ready = 1, .ready_bytes = 6 * mib}, &quick, false).limit > 0);
    policy.claimed({}, result_of(1));
    CHECK(policy.request({.running = 1, .ready = 1, .ready_bytes = 7 * mib}, &quick, false).limit > 0);
}

TEST_CASE("ClaimPolicy: asks for nothing more while five eighths of what it may hold are ready") {
    const ClaimPolicy policy(1);
    CHECK(policy.request({.running = 1, .ready = 40}, &quick, false).limit > 0);
    CHECK(policy.request({.running = 1, .ready = 41}, &quick, false).limit == 0);
}

TEST_CASE("ClaimPolicy: holds more once workers ran dry although all came, up to a bound") {
    ClaimPolicy policy(1);
    const Load dry{.idle = 1};
    std::size_t last = 0;
    for (int i = 0; i < 10; ++i) {
        const ClaimRequest request = policy.request(dry, &quick, false);
        CHECK(request.limit >= last);
        last = request.limit;
        policy.claimed(request, result_of(request.limit));
    }
    CHECK(last == 1 + 1'536);
}

TEST_CASE("ClaimPolicy: does not hold more because there was no more to claim") {
    ClaimPolicy policy(1);
    const ClaimRequest request = policy.request({.idle = 1}, &quick, false);
    policy.claimed(request, result_of(request.limit - 1));
    CHECK(policy.request({.idle = 1}, &quick, false).limit == request.limit);
}

TEST_CASE("ClaimPolicy: after claims went back it asks for free workers only") {
    ClaimPolicy policy(4);
    policy.suspend(Ms{1000});
    const ClaimRequest request = policy.request({.idle = 1, .running = 3}, &quick, false);
    CHECK(request.limit == 1);
    CHECK(request.ahead == Us{});
}

TEST_CASE("ClaimPolicy: a quick task that started after claims went back ends that") {
    ClaimPolicy policy(4);
    policy.suspend(Ms{1000});
    policy.measured(Ms{1000}, Us{10});
    CHECK(policy.request({.running = 4}, &quick, false).limit == 0);
    policy.measured(Ms{1001}, Us{1'000'000});
    CHECK(policy.request({.running = 4}, &quick, false).limit == 0);
    policy.measured(Ms{1001}, Us{10});
    CHECK(policy.request({.running = 4}, &quick, false).limit > 0);
}

TEST_CASE("ClaimPolicy: while a task waits for a free worker nothing is claimed ahead, so that there will be one") {
    const ClaimPolicy policy(4);
    CHECK(policy.request({.running = 4}, &quick, true).limit == 0);
    CHECK(policy.request({.idle = 1, .running = 3}, &quick, true).limit == 1);
    CHECK(policy.request({.running = 4}, &quick, false).limit > 0);
}

TEST_CASE("ClaimPolicy: tells the storage layer which crashed tasks run") {
    const ClaimPolicy policy(4);
    CHECK_FALSE(policy.request({.idle = 4}, &slow, false).beside.crashed);
    CHECK(policy.request({.idle = 4, .crashed = true}, &slow, false).beside.crashed);
    CHECK(policy.request({.idle = 4, .last_chance = true}, &slow, false).beside.last_chance);
}

}  // namespace
