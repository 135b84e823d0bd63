// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/context.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/id.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/store/plan.hpp>
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
using core::RunningTask;
using detail::Ms;
using detail::Us;
using engine::WorkerPool;
using store::EndedAttempt;
using Load = WorkerPool::Load;
using Signal = std::shared_ptr<detail::StopSignal>;

const auto own = std::make_shared<platform::ThreadList>();

detail::ClaimedTask task(const std::string& id, std::int64_t claim = 1) {
    detail::ClaimedTask claimed;
    claimed.id = TaskId::from_text(id);
    claimed.claim = claim;
    return claimed;
}

std::vector<detail::ClaimedTask> tasks(int count) {
    std::vector<detail::ClaimedTask> claimed;
    for (int i = 0; i < count; ++i) claimed.push_back(task(fmt::format("{:04}", i)));
    return claimed;
}

template <class... Tasks>
std::vector<detail::ClaimedTask> batch(Tasks... each) {
    std::vector<detail::ClaimedTask> claimed;
    (claimed.push_back(std::move(each)), ...);
    return claimed;
}

/// A pool whose work is the test's, and whose workers sleep until they are woken. It goes on hold before it ends, as a
/// session's does.
class Shop {
public:
    using Work = std::function<void(std::size_t worker, const detail::ClaimedTask&, const Signal&)>;

    explicit Shop(
        std::size_t workers, Work work = [](std::size_t, const detail::ClaimedTask&, const Signal&) {},
        std::size_t places = 0)
        : pool(
              std::in_place, own, workers, clock,
              [this, work = std::move(work)](std::size_t worker, const detail::ClaimedTask& claimed,
                                             const Signal& signal, detail::AttemptResult& resolved) {
                  started.add(claimed.id.str());
                  resolved.claim = claimed.claim;
                  resolved.resolution = detail::RowChange::complete;
                  work(worker, claimed, signal);
              },
              [this] { progress.add(true); }, detail::SafeLogger(), 3, places) {}
    Shop(const Shop&) = delete;
    Shop& operator=(const Shop&) = delete;
    ~Shop() { end(); }

    void end() {
        if (pool) pool->hold();
        pool.reset();
    }

    /// Waits until so many outcomes are there.
    [[nodiscard]] bool finish(std::size_t count) {
        return eventually([&] { return pool->load().finished >= count; });
    }

    const backlite_test::Uncapped uncapped{};
    testing::ManualClock clock{};
    Events<std::string> started{};
    Events<bool> progress{};
    std::optional<WorkerPool> pool;
};

/// A pool whose tasks wait at a gate.
struct Held {
    explicit Held(std::size_t workers, std::size_t places = 0)
        : shop(
              workers, [this](std::size_t, const detail::ClaimedTask&, const Signal&) { gate.pass(); }, places) {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { gate.open(); }

    Gate gate{};
    Shop shop;
};

std::vector<std::string> ids(const std::vector<EndedAttempt>& finished) {
    std::vector<std::string> names;
    for (const EndedAttempt& one : finished) names.push_back(one.resolved.id.str());
    return names;
}

TEST_CASE("WorkerPool: its workers are idle at first") {
    Shop shop(3);
    const Load load = shop.pool->load();
    CHECK(load.idle == 3);
    CHECK(load.running == 0);
    CHECK(load.ready == 0);
    CHECK(load.finished == 0);
    CHECK(load.low);
    CHECK(load.oldest_ready == WorkerPool::Steady::time_point::max());
    CHECK(load.oldest_finished == WorkerPool::Steady::time_point::max());
}

TEST_CASE("WorkerPool: one worker starts tasks in the order in which they were offered") {
    Shop shop(1);
    shop.pool->offer(batch(task("b"), task("a")));
    shop.pool->offer(batch(task("c")));
    REQUIRE(shop.finish(3));
    CHECK(shop.started.all() == std::vector<std::string>{"b", "a", "c"});
}

TEST_CASE("WorkerPool: an outcome names its task, its claim, its queue and its due time") {
    Shop shop(1);
    detail::ClaimedTask claimed = task("a", 7);
    claimed.queue = 3;
    claimed.due = Ms{500};
    shop.pool->offer(batch(std::move(claimed)));
    REQUIRE(shop.finish(1));
    const std::vector<EndedAttempt> finished = shop.pool->take_finished();
    REQUIRE(finished.size() == 1);
    CHECK(finished[0].resolved.id.str() == "a");
    CHECK(finished[0].resolved.claim == 7);
    CHECK(finished[0].resolved.resolution == detail::RowChange::complete);
    CHECK(finished[0].queue == 3);
    CHECK(finished[0].due == Ms{500});
}

TEST_CASE("WorkerPool: outcomes are taken once, oldest first") {
    Shop shop(1);
    shop.pool->offer(tasks(3));
    REQUIRE(shop.finish(3));
    CHECK(ids(shop.pool->take_finished()) == std::vector<std::string>{"0000", "0001", "0002"});
    CHECK(shop.pool->take_finished().empty());
}

TEST_CASE("WorkerPool: an offer of nothing is none") {
    Shop shop(1);
    shop.pool->offer({});
    CHECK(shop.pool->load().ready == 0);
}

TEST_CASE("WorkerPool: as many tasks run at once as there are workers, and no more") {
    Held held(3);
    held.shop.pool->offer(tasks(5));
    REQUIRE(held.shop.started.wait_for(3));
    const Load load = held.shop.pool->load();
    CHECK(load.running == 3);
    CHECK(load.idle == 0);
    CHECK(load.ready == 2);
    held.gate.open();
    CHECK(held.shop.finish(5));
}

TEST_CASE("WorkerPool: many tasks on many workers each run once") {
    std::array<std::atomic<int>, 4> busy{};
    std::atomic<int> shared{0};
    std::optional<Shop> shop(std::in_place, 4, [&](std::size_t worker, const detail::ClaimedTask&, const Signal&) {
        if (busy.at(worker).fetch_add(1) != 0) ++shared;  // a worker's number is its own
        busy.at(worker).fetch_sub(1);
    });
    constexpr int batches = 20;
    for (int i = 0; i < batches; ++i) shop->pool->offer(tasks(100));
    REQUIRE(shop->finish(batches * 100));
    CHECK(shared == 0);
    std::vector<std::string> all = ids(shop->pool->take_finished());
    CHECK(all.size() == batches * 100);
    std::sort(all.begin(), all.end());
    CHECK(std::set<std::string>(all.begin(), all.end()).size() == 100);
    CHECK(std::count(all.begin(), all.end(), "0042") == batches);
}

TEST_CASE("WorkerPool: work runs on named threads of the engine") {
    bool listed = false;
    Shop shop(1, [&](std::size_t, const detail::ClaimedTask&, const Signal&) { listed = own->has_this_thread(); });
    shop.pool->offer(tasks(1));
    REQUIRE(shop.finish(1));
    CHECK(listed);
    CHECK_FALSE(own->has_this_thread());
}

TEST_CASE("WorkerPool: each attempt has a stop signal of its own, that has not fired") {
    std::vector<Signal> signals;
    Shop shop(1, [&](std::size_t, const detail::ClaimedTask&, const Signal& signal) { signals.push_back(signal); });
    shop.pool->offer(tasks(2));
    REQUIRE(shop.finish(2));
    REQUIRE(signals.size() == 2);
    CHECK(signals[0] != signals[1]);
    CHECK(signals[0]->reason() == StopReason::none);
}

TEST_CASE("WorkerPool: expected work that waits is summed up") {
    Held held(1);
    held.shop.pool->offer(tasks(1));
    REQUIRE(held.shop.started.wait_for(1));
    detail::ClaimedTask quick = task("quick");
    quick.cost = Us{30};
    detail::ClaimedTask slow = task("slow");
    slow.cost = Us{500};
    held.shop.pool->offer(batch(std::move(quick), std::move(slow)));
    CHECK(held.shop.pool->load().ready_work == Us{530});
    (void)held.shop.pool->withdraw([](const detail::ClaimedTask& one, auto) { return one.id.str() == "slow"; });
    CHECK(held.shop.pool->load().ready_work == Us{30});
    held.gate.open();
    REQUIRE(held.shop.finish(2));
    CHECK(held.shop.pool->load().ready_work == Us{});
}

TEST_CASE("WorkerPool: the oldest ready task is the one that was offered first") {
    Held held(1);
    held.shop.pool->offer(tasks(1));
    REQUIRE(held.shop.started.wait_for(1));
    held.shop.clock.advance(5s);
    const auto first = held.shop.clock.steady_now();
    held.shop.pool->offer(batch(task("b")));
    held.shop.clock.advance(5s);
    held.shop.pool->offer(batch(task("c")));
    CHECK(held.shop.pool->load().oldest_ready == first);
}

TEST_CASE("WorkerPool: the oldest outcome is the first since the last were taken") {
    Shop shop(1);
    const auto first = shop.clock.steady_now();
    shop.pool->offer(batch(task("a")));
    REQUIRE(shop.progress.wait_for(1));
    shop.clock.advance(5s);
    shop.pool->offer(batch(task("b")));
    REQUIRE(shop.finish(2));
    CHECK(shop.pool->load().oldest_finished == first);
    (void)shop.pool->take_finished();
    CHECK(shop.pool->load().oldest_finished == WorkerPool::Steady::time_point::max());
}

TEST_CASE("WorkerPool: tells how many bytes of payload wait for a worker") {
    Held held(1);
    std::vector<detail::ClaimedTask> three = tasks(3);
    for (detail::ClaimedTask& one : three) one.payload = "12345";
    held.shop.pool->offer(std::move(three));
    REQUIRE(held.shop.started.wait_for(1));
    CHECK(held.shop.pool->load().ready_bytes == 10);
    (void)held.shop.pool->withdraw([](const detail::ClaimedTask& one, auto) { return one.id.str() == "0002"; });
    CHECK(held.shop.pool->load().ready_bytes == 5);
    held.gate.open();
    REQUIRE(held.shop.finish(2));
    CHECK(held.shop.pool->load().ready_bytes == 0);
}

TEST_CASE("WorkerPool: a task that has crashed a process is told, running or ready") {
    Held held(1);
    detail::ClaimedTask crashed = task("crashed");
    crashed.crashes = 1;
    detail::ClaimedTask bound = task("bound");
    bound.crashes = 2;
    bound.last_chance = true;
    CHECK_FALSE(held.shop.pool->load().crashed);
    held.shop.pool->offer(batch(std::move(crashed)));
    REQUIRE(held.shop.started.wait_for(1));
    CHECK(held.shop.pool->load().crashed);
    CHECK_FALSE(held.shop.pool->load().last_chance);
    held.shop.pool->offer(batch(std::move(bound)));
    CHECK(held.shop.pool->load().last_chance);
    held.gate.open();
    REQUIRE(held.shop.finish(2));
    CHECK_FALSE(held.shop.pool->load().crashed);
    CHECK_FALSE(held.shop.pool->load().last_chance);
}

TEST_CASE("WorkerPool: on hold no worker starts a task, and those that run go on") {
    Held held(1);
    held.shop.pool->offer(tasks(3));
    REQUIRE(held.shop.started.wait_for(1));
    held.shop.pool->hold();
    held.gate.open();
    REQUIRE(held.shop.finish(1));
    const Load load = held.shop.pool->load();
    CHECK(load.idle == 1);
    CHECK(load.ready == 2);
    held.shop.end();
    CHECK(held.shop.started.count() == 1);
}

TEST_CASE("WorkerPool: of a paused queue no worker starts a task, and those of others go on in their order") {
    Shop shop(1);
    const auto of_queue = [](const std::string& id, std::size_t queue) {
        detail::ClaimedTask claimed = task(id);
        claimed.queue = queue;
        return claimed;
    };
    shop.pool->pause(1, 3);
    shop.pool->pause(1, 2);
    CHECK_FALSE(shop.pool->reserve(1));
    CHECK(shop.pool->reserve(0));
    shop.pool->cancel_reservation();
    shop.pool->offer(batch(of_queue("a", 1), of_queue("b", 0), of_queue("c", 1), of_queue("d", 2)));
    REQUIRE(shop.finish(2));
    CHECK(shop.started.all() == std::vector<std::string>{"b", "d"});
    CHECK(shop.pool->load().ready == 2);
    CHECK(shop.pool->withdraw([](const detail::ClaimedTask& each, auto) { return each.id.str() == "c"; }).size() == 1);
    shop.pool->found_paused(1, true, 2);
    shop.pool->found_paused(1, false, 2);  // it began before the pause was there
    std::this_thread::sleep_for(5ms);
    CHECK(shop.started.count() == 2);
    shop.pool->found_paused(1, false, 3);
    shop.pool->found_paused(2, false, 3);
    REQUIRE(shop.finish(3));
    CHECK(shop.started.all() == std::vector<std::string>{"b", "d", "a"});
}

TEST_CASE("WorkerPool: what stands before its processor is waited for, and what is inside is not") {
    Gate decoding;
    Gate processing;
    WorkerPool* pool = nullptr;
    Shop shop(2, [&](std::size_t worker, const detail::ClaimedTask&, const Signal&) {
        decoding.pass();
        pool->entered(worker);
        processing.pass();
    });
    pool = &*shop.pool;
    detail::ClaimedTask other = task("other");
    other.queue = 1;
    shop.pool->offer(batch(task("a"), std::move(other)));
    REQUIRE(shop.started.wait_for(2));
    shop.pool->pause(0, 1);
    std::atomic<bool> over{false};
    std::jthread waits([&] {
        shop.pool->await_entered(0);
        over = true;
    });
    std::this_thread::sleep_for(5ms);
    CHECK_FALSE(over);
    decoding.open();
    CHECK(eventually([&] { return over.load(); }));
    processing.open();
    waits.join();
    shop.pool->await_entered(0);  // nothing is there to wait for
}

TEST_CASE("WorkerPool: tasks that no worker has started can be taken back, those that run cannot") {
    Held held(1);
    held.shop.pool->offer(tasks(4));
    REQUIRE(held.shop.started.wait_for(1));
    const std::vector<detail::ClaimedTask> back =
        held.shop.pool->withdraw([](const detail::ClaimedTask& one, auto) { return one.id.str() != "0002"; });
    REQUIRE(back.size() == 2);
    CHECK(back[0].id.str() == "0001");
    CHECK(back[1].id.str() == "0003");
    CHECK(held.shop.pool->load().ready == 1);
    held.gate.open();
    REQUIRE(held.shop.finish(2));
    CHECK(held.shop.started.all() == std::vector<std::string>{"0000", "0002"});
}

TEST_CASE("WorkerPool: who takes tasks back is told when they were offered") {
    Held held(1);
    held.shop.pool->offer(tasks(1));
    REQUIRE(held.shop.started.wait_for(1));
    const auto first = held.shop.clock.steady_now();
    held.shop.pool->offer(batch(task("old")));
    held.shop.clock.advance(50ms);
    held.shop.pool->offer(batch(task("new")));
    const std::vector<detail::ClaimedTask> back =
        held.shop.pool->withdraw([&](const detail::ClaimedTask&, auto offered) { return offered <= first; });
    REQUIRE(back.size() == 1);
    CHECK(back[0].id.str() == "old");
}

/// A task with others, which run with it.
detail::ClaimedTask batch_of(const std::vector<std::string>& ids) {
    detail::ClaimedTask first = task(ids.front());
    for (std::size_t i = 1; i < ids.size(); ++i) first.others.push_back(task(ids[i], static_cast<std::int64_t>(i) + 1));
    return first;
}

TEST_CASE("WorkerPool: a batch takes one worker, and ends with an outcome for each of its tasks") {
    std::atomic<std::size_t> others{0};
    Gate gate;
    Shop shop(1, [&](std::size_t, const detail::ClaimedTask& first, const Signal&) {
        gate.pass();
        others = first.others.size();
    });
    std::vector<detail::ClaimedTask> offered = batch(batch_of({"a", "b", "c"}), task("d"));
    offered[0].others[1].due = Ms{77};
    shop.pool->offer(std::move(offered));
    REQUIRE(shop.started.wait_for(1));
    CHECK(shop.pool->load().running == 1);
    CHECK(shop.pool->load().ready == 1);
    CHECK(shop.pool->claims().size() == 4);
    std::vector<EndedAttempt> finished;
    shop.pool->take_finished(finished);  // the room for what runs stays
    gate.open();
    REQUIRE(shop.finish(4));
    finished = shop.pool->take_finished();
    REQUIRE(finished.size() == 4);
    CHECK(finished[0].resolved.id.str() == "a");
    CHECK(finished[1].resolved.id.str() == "b");
    CHECK(finished[2].resolved.id.str() == "c");
    CHECK(finished[2].due == Ms{77});
    CHECK(finished[0].resolved.others.empty());
    CHECK(shop.pool->claims().empty());
    CHECK(shop.pool->load().ready_tasks() == 0);
}

TEST_CASE("WorkerPool: of a batch that waits each task can be taken back by itself") {
    Gate gate;
    Shop shop(1, [&](std::size_t, const detail::ClaimedTask&, const Signal&) { gate.pass(); });
    shop.pool->offer(batch(task("running")));
    REQUIRE(shop.started.wait_for(1));
    shop.pool->offer(batch(batch_of({"a", "b", "c", "d"})));
    CHECK(shop.pool->load().ready_tasks() == 4);
    const auto withdraw = [&](std::set<std::string> ids) {
        std::set<std::string> taken;
        for (const auto& each : shop.pool->withdraw([&](const auto&one, auto) { return ids.contains(one.id.str()); })) {
            CHECK(each.others.empty());
            taken.insert(each.id.str());
        }
        return taken;
    };
    CHECK(withdraw({"b"}) == std::set<std::string>{"b"});
    CHECK(withdraw({"a"}) == std::set<std::string>{"a"});  // another one is the first now
    CHECK(shop.pool->load().ready == 1);
    CHECK(shop.pool->load().ready_tasks() == 2);
    CHECK(shop.pool->claims().size() == 3);
    CHECK(withdraw({"c", "d"}) == std::set<std::string>{"c", "d"});
    CHECK(shop.pool->load().ready_tasks() == 0);
    gate.open();
}

TEST_CASE("WorkerPool: a batch that runs is named once all its tasks are, and each of them is found") {
    Gate gate;
    Shop shop(1, [&](std::size_t, const detail::ClaimedTask&, const Signal&) { gate.pass(); });
    shop.pool->offer(batch(batch_of({"a", "b"})));
    REQUIRE(shop.started.wait_for(1));
    const auto named = [&](std::set<std::string> ids) {
        int times = 0;
        shop.pool->each_running([&](const auto& one) { return ids.contains(one.id.str()); },
                                [&](const auto&) { ++times; });
        return times;
    };
    CHECK(named({"a"}) == 0);
    CHECK(named({"b"}) == 0);
    CHECK(named({"a", "b"}) == 1);
    const auto found = [&](std::set<std::string> ids) {
        std::string all;
        shop.pool->look_at_running([&](const auto& one) { return ids.contains(one.id.str()); },
                                   [&](const auto& one) { all += one.id.str(); });
        return all;
    };
    CHECK(found({"a", "b", "c"}) == "ab");
    CHECK(found({"b"}) == "b");
    CHECK(found({"c"}).empty());
    gate.open();
}

TEST_CASE("WorkerPool: running tasks are told with claim, queue, crashes and start") {
    Held held(2);
    detail::ClaimedTask claimed = task("a", 7);
    claimed.queue = 3;
    claimed.crashes = 1;
    held.shop.pool->offer(batch(std::move(claimed)));
    REQUIRE(held.shop.started.wait_for(1));
    const std::vector<RunningTask> running = held.shop.pool->running();
    REQUIRE(running.size() == 1);
    CHECK(running[0].id.str() == "a");
    CHECK(running[0].claim == 7);
    CHECK(running[0].queue == 3);
    CHECK(running[0].crashes == 1);
    CHECK(running[0].started == held.shop.clock.steady_now());
    CHECK(running[0].signal != nullptr);
    held.gate.open();
    REQUIRE(held.shop.finish(1));
    CHECK(held.shop.pool->running().empty());
}

TEST_CASE("WorkerPool: its claims are those that run and those that wait, not those that have ended") {
    Held held(1);
    held.shop.pool->offer(batch(task("a", 5), task("b", 6)));
    REQUIRE(held.shop.started.wait_for(1));
    const std::vector<detail::ClaimKey> claims = held.shop.pool->claims();
    REQUIRE(claims.size() == 2);
    CHECK(claims[0] == detail::ClaimKey{TaskId::from_text("a"), 5});
    CHECK(claims[1] == detail::ClaimKey{TaskId::from_text("b"), 6});
    held.gate.open();
    REQUIRE(held.shop.finish(2));
    CHECK(held.shop.pool->claims().empty());
}

TEST_CASE("WorkerPool: calls for progress at the first outcome of a batch, and when more tasks are needed") {
    Shop shop(1);
    shop.pool->offer(tasks(8));
    REQUIRE(shop.finish(8));
    shop.end();
    CHECK(shop.progress.count() == 2);
}

TEST_CASE("WorkerPool: calls for progress again once its outcomes were taken") {
    Shop shop(1);
    for (std::size_t i = 1; i <= 3; ++i) {
        shop.pool->offer(batch(task("a")));
        REQUIRE(shop.progress.wait_for(i));
        CHECK(shop.pool->take_finished().size() == 1);
    }
}

TEST_CASE("WorkerPool: it is low once three eighths of an offer have been started") {
    Held held(1);
    held.shop.pool->offer(tasks(8));
    REQUIRE(held.shop.started.wait_for(1));
    CHECK_FALSE(held.shop.pool->load().low);
    (void)held.shop.pool->withdraw([](const detail::ClaimedTask& one, auto) { return one.id.str() >= "0006"; });
    CHECK(held.shop.pool->load().low);
}

TEST_CASE("WorkerPool: a worker that is kept for a task counts as running until the task is there") {
    Shop shop(2);
    REQUIRE(shop.pool->reserve());
    CHECK(shop.pool->load().idle == 1);
    CHECK(shop.pool->load().running == 1);
    shop.pool->offer_reserved(task("a"));
    REQUIRE(shop.finish(1));
    CHECK(shop.pool->load().idle == 2);
    CHECK(shop.started.all() == std::vector<std::string>{"a"});
}

TEST_CASE("WorkerPool: a worker that looked up before its task was there is woken for it") {
    const backlite_test::Uncapped uncapped{};
    Shop shop(1);
    for (int i = 0; i < 200; ++i) {
        REQUIRE(eventually([&] { return shop.pool->reserve(); }));
        (void)shop.pool->rouse();
        if (i % 2 == 0) std::this_thread::sleep_for(1ms);
        shop.pool->offer_reserved(task(fmt::format("{:04}", i)));
        REQUIRE(shop.started.wait_for(static_cast<std::size_t>(i) + 1));
        (void)shop.pool->take_finished();
    }
}

TEST_CASE("WorkerPool: after a worker that looked up started late, the next 16 hand-overs go without it") {
    struct GoesOn final : Clock {
        Duration step;  // from one look at it to the next
        mutable std::atomic<int> looks{0};
        explicit GoesOn(Duration each) : step(each) {}
        [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const noexcept override {
            return std::chrono::steady_clock::time_point{++looks * step};
        }
    };
    const bool late = GENERATE(false, true);
    const GoesOn clock(late ? 2ms : 1ms);
    Events<std::string> started;
    WorkerPool pool(
        own, 1, clock,
        [&](std::size_t, const detail::ClaimedTask& claimed, const Signal&, detail::AttemptResult&) {
            started.add(claimed.id.str());
        },
        [] {});
    for (std::size_t i = 0; i < 18; ++i) {
        REQUIRE(eventually([&] { return pool.reserve(); }));
        if (late && i >= 1 && i <= 16) {
            CHECK_FALSE(pool.rouse());
        } else {
            REQUIRE(eventually([&] { return pool.rouse(); }));  // once the worker sleeps
        }
        pool.offer_reserved(task(fmt::format("{:04}", i)));
        REQUIRE(started.wait_for(i + 1));
        (void)pool.take_finished();
    }
    pool.hold();
}

TEST_CASE("WorkerPool: as many workers are kept as are idle, less what is ready for them") {
    Held held(3);
    held.shop.pool->offer(tasks(1));
    REQUIRE(held.shop.started.wait_for(1));
    CHECK(held.shop.pool->reserve());
    CHECK(held.shop.pool->reserve());
    CHECK_FALSE(held.shop.pool->reserve());
    held.shop.pool->cancel_reservation();
    CHECK(held.shop.pool->reserve());
    held.shop.pool->cancel_reservation();
    held.shop.pool->cancel_reservation();
}

TEST_CASE("WorkerPool: on hold no worker is kept, and what comes for one that was kept before can be withdrawn") {
    Shop shop(1);
    REQUIRE(shop.pool->reserve());
    shop.pool->hold();
    CHECK_FALSE(shop.pool->reserve());
    shop.pool->offer_reserved(task("a"));
    CHECK(shop.progress.count() == 1);
    CHECK(shop.pool->withdraw([](const detail::ClaimedTask&, auto) { return true; }).size() == 1);
    CHECK(shop.pool->load().running == 0);
    CHECK(shop.started.count() == 0);
}

TEST_CASE("WorkerPool: the end of a reservation that comes to nothing is told: a worker is free again") {
    const bool held = GENERATE(false, true);
    Shop shop(1);
    REQUIRE(shop.pool->reserve());
    CHECK(shop.pool->load().idle == 0);
    if (held) shop.pool->hold();
    shop.pool->cancel_reservation();
    CHECK(shop.progress.count() == 1);
    CHECK(shop.pool->load().idle == 1);
    CHECK(shop.pool->load().running == 0);
}

TEST_CASE("WorkerPool: each of several tasks that come for kept workers wakes one") {
    for (int round = 0; round < 50; ++round) {
        Held held(4);
        WorkerPool& pool = *held.shop.pool;
        for (int i = 0; i < 3; ++i) REQUIRE(pool.reserve());
        pool.offer_reserved(task("a"));
        if (round % 2 == 0) REQUIRE(held.shop.started.wait_for(1));
        pool.offer_reserved(task("b"));
        pool.offer_reserved(task("c"));
        REQUIRE(held.shop.started.wait_for(3));
    }
}

TEST_CASE("WorkerPool: an offer wakes as many workers as it has tasks, also those that have run before") {
    Shop shop(3);
    std::size_t offered = 0;
    for (int round = 0; round < 200; ++round) {
        const int count = 1 + round % 3;
        offered += static_cast<std::size_t>(count);
        shop.pool->offer(tasks(count));
        REQUIRE(shop.finish(offered));
    }
}

TEST_CASE("WorkerPool: an offer wakes those that sleep, though others of the workers are at work") {
    for (int round = 0; round < 50; ++round) {
        Held held(3);
        held.shop.pool->offer(tasks(1));
        REQUIRE(held.shop.started.wait_for(1));
        held.shop.pool->offer(tasks(2));
        REQUIRE(held.shop.started.wait_for(3));
    }
}

TEST_CASE("WorkerPool: tasks that were claimed ahead may take the worker that was kept") {
    Held held(1);
    REQUIRE(held.shop.pool->reserve());
    held.shop.pool->offer(tasks(2));
    REQUIRE(held.shop.started.wait_for(1));
    CHECK(held.shop.pool->load().idle == 0);
    CHECK(held.shop.pool->load().running == 1);
    held.shop.pool->offer_reserved(task("z"));
    held.gate.open();
    REQUIRE(held.shop.finish(3));
    CHECK(held.shop.started.all() == std::vector<std::string>{"0000", "0001", "z"});
}

TEST_CASE("WorkerPool: thousands of single tasks take no more room than one") {
    Shop shop(1);
    for (int i = 0; i < 3'000; ++i) {
        REQUIRE(eventually([&] { return shop.pool->reserve(); }));
        shop.pool->offer_reserved(task(fmt::format("{:04}", i)));
    }
    REQUIRE(shop.finish(3'000));
    CHECK(shop.started.all().front() == "0000");
    CHECK(shop.started.all().back() == "2999");
    CHECK(shop.pool->load().ready == 0);
}

TEST_CASE("WorkerPool: tasks announced by several threads, some in vain, are each started") {
    constexpr int threads = 4;
    constexpr int rounds = 1'000;
    Shop shop(3);
    std::atomic<int> offered{0};
    {
        std::vector<std::jthread> callers;
        for (int t = 0; t < threads; ++t) {
            callers.emplace_back([&, t] {
                for (int i = 0; i < rounds; ++i) {
                    while (!shop.pool->reserve()) std::this_thread::yield();
                    if (i % 3 == t % 3) {
                        shop.pool->cancel_reservation();
                        continue;
                    }
                    shop.pool->offer_reserved(task(fmt::format("{}-{:04}", t, i)));
                    ++offered;
                }
            });
        }
    }
    REQUIRE(shop.finish(static_cast<std::size_t>(offered)));
    const std::vector<std::string> started = shop.started.all();
    CHECK(std::set<std::string>(started.begin(), started.end()).size() == static_cast<std::size_t>(offered));
    CHECK(started.size() == static_cast<std::size_t>(offered));
    CHECK(shop.pool->load().running == 0);
}

TEST_CASE("WorkerPool: its end waits for what runs") {
    bool ended = false;
    Gate gate;
    Shop shop(1, [&](std::size_t, const detail::ClaimedTask&, const Signal&) {
        gate.pass();
        ended = true;
    });
    shop.pool->offer(tasks(1));
    REQUIRE(shop.started.wait_for(1));
    std::jthread opener([&] { gate.open(); });
    shop.end();
    CHECK(ended);
}

// ---- workers that are stuck -----------------------------------------------------------------------------------------

TEST_CASE("WorkerPool: a worker that is stuck gets a replacement, which runs what waits, until its task has ended") {
    Gate stuck;
    std::atomic<std::size_t> place{0};
    Shop shop(
        1,
        [&](std::size_t worker, const detail::ClaimedTask& claimed, const Signal&) {
            if (claimed.id.str() == "stuck") {
                stuck.pass();
            } else {
                place = worker;
            }
        },
        3);
    shop.pool->offer(batch(task("stuck"), task("a")));
    REQUIRE(shop.started.wait_for(1));
    CHECK_FALSE(shop.pool->replace({TaskId::from_text("stuck"), 7}));  // another claim of that task
    CHECK_FALSE(shop.pool->replace({TaskId::from_text("a"), 1}));      // it does not run
    CHECK(shop.pool->replace({TaskId::from_text("stuck"), 1}));
    CHECK_FALSE(shop.pool->replace({TaskId::from_text("stuck"), 1}));
    REQUIRE(shop.finish(1));
    CHECK(place == 1);
    CHECK(shop.pool->load().running == 1);
    CHECK(shop.pool->load().idle == 1);
    stuck.open();
    REQUIRE(shop.finish(2));
    CHECK(shop.pool->load().running == 0);
    CHECK(shop.pool->load().idle == 1);
    shop.pool->offer(batch(task("b")));
    REQUIRE(shop.finish(3));
    CHECK(place == 1);
}

TEST_CASE("WorkerPool: a place that a stuck worker has left is taken by the next replacement") {
    std::vector<Gate> gates(6);
    std::atomic<std::size_t> next{0};
    Shop shop(
        1, [&](std::size_t, const detail::ClaimedTask&, const Signal&) { gates[next++].pass(); }, 2);
    std::size_t finished = 0;
    for (std::size_t round = 0; round < 3; ++round) {
        const std::string id = std::to_string(round);
        shop.pool->offer(batch(task("stuck" + id)));
        REQUIRE(shop.started.wait_for(2 * round + 1));
        REQUIRE(shop.pool->replace({TaskId::from_text("stuck" + id), 1}));
        shop.pool->offer(batch(task("good" + id)));
        REQUIRE(shop.started.wait_for(2 * round + 2));
        gates[2 * round].open();
        gates[2 * round + 1].open();
        finished += 2;
        REQUIRE(shop.finish(finished));
    }
    CHECK(shop.pool->load().idle == 1);
}

TEST_CASE("WorkerPool: there are as many replacements as places, and none on hold or without places") {
    Held few(2, 3);
    few.shop.pool->offer(batch(task("a"), task("b")));
    REQUIRE(few.shop.started.wait_for(2));
    CHECK(few.shop.pool->replace({TaskId::from_text("a"), 1}));
    CHECK_FALSE(few.shop.pool->replace({TaskId::from_text("b"), 1}));
    few.gate.open();
    Held none(1);
    none.shop.pool->offer(batch(task("a")));
    REQUIRE(none.shop.started.wait_for(1));
    CHECK_FALSE(none.shop.pool->replace({TaskId::from_text("a"), 1}));
    none.gate.open();
    Held stopping(1, 2);
    stopping.shop.pool->offer(batch(task("a")));
    REQUIRE(stopping.shop.started.wait_for(1));
    stopping.shop.pool->hold();
    CHECK_FALSE(stopping.shop.pool->replace({TaskId::from_text("a"), 1}));
}

TEST_CASE("WorkerPool: a replaced worker whose task ends its thread is not made anew") {
    Gate stuck;
    Shop shop(
        1,
        [&](std::size_t, const detail::ClaimedTask& claimed, const Signal&) {
            if (claimed.id.str() != "stuck") return;
            stuck.pass();
            pthread_exit(nullptr);
        },
        2);
    shop.pool->offer(batch(task("stuck")));
    REQUIRE(shop.started.wait_for(1));
    REQUIRE(shop.pool->replace({TaskId::from_text("stuck"), 1}));
    stuck.open();
    REQUIRE(shop.finish(1));
    CHECK(eventually([&] { return shop.pool->load().idle == 1; }));
    CHECK(shop.pool->load().running == 0);
    shop.pool->offer(batch(task("a")));
    CHECK(shop.finish(2));
}

}  // namespace
