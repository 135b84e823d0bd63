// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/engine/overdue_watch.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/id.hpp>
#include <backlite/logger.hpp>
#include <backlite/queue.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <recording_logger.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::Events;
using backlite_test::Gate;
using backlite_test::RecordingLogger;
using core::QueueRegistry;
using core::RunningTask;
using engine::OverdueWatch;
using engine::WorkerPool;

const auto own = std::make_shared<platform::ThreadList>();

class TimedQueue final : public detail::QueueBase {
public:
    explicit TimedQueue(Duration timeout) {
        config_.name = "mail";
        config_.timeout = timeout;
    }
    [[nodiscard]] const QueueConfig& config() const noexcept override { return config_; }
    [[nodiscard]] std::string_view type() const noexcept override { return "Test"; }
    [[nodiscard]] std::unique_ptr<Job> decode(std::string_view) const override { return nullptr; }

private:
    QueueConfig config_{};
};

/// A pool that runs one task of a queue with a timeout of a minute, until the end.
class Shop {
public:
    explicit Shop(StuckTasks stuck = {}) : watch_(stuck, nullptr) {
        queues_.add(std::make_unique<TimedQueue>(60s));
        detail::ClaimedTask task;
        task.id = TaskId::from_text("a");
        task.claim = 1;
        std::vector<detail::ClaimedTask> tasks;
        tasks.push_back(std::move(task));
        pool_.offer(std::move(tasks));
        REQUIRE(started_.wait_for(1));
    }
    Shop(const Shop&) = delete;
    Shop& operator=(const Shop&) = delete;
    ~Shop() { gate_.open(); }

    void fire(StopReason reason) {
        pool_.each_running([](const detail::ClaimedTask&) { return true; },
                           [reason](const auto& signal) { signal->fire(reason); });
    }
    /// How many lines the log has after a look.
    std::size_t look() {
        watch_.look(pool_, queues_, log_, clock.steady_now());
        return logger->lines().size();
    }

    /// How many workers there are, with those that run.
    [[nodiscard]] std::size_t workers() const {
        const WorkerPool::Load load = pool_.load();
        return load.idle + load.running;
    }

    testing::ManualClock clock{};
    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();

private:
    Gate gate_{};
    Events<bool> started_{};
    QueueRegistry queues_{};
    OverdueWatch watch_;
    detail::SafeLogger log_{logger};
    WorkerPool pool_{own,
                     1,
                     clock,
                     [this](std::size_t, const detail::ClaimedTask&, const std::shared_ptr<detail::StopSignal>&,
                            detail::AttemptResult&) {
                         started_.add(true);
                         gate_.pass();
                     },
                     [] {},
                     detail::SafeLogger(),
                     0,
                     2};
};

TEST_CASE("OverdueWatch: a task that runs on ten seconds after its timeout is named in the log") {
    Shop shop;
    shop.clock.advance(60s);
    shop.fire(StopReason::timeout);
    shop.clock.advance(10s);
    CHECK(shop.look() == 1);
    CHECK(shop.logger->lines().at(0) == "warning task ignores its timeout id=a queue=mail running_s=70");
}

TEST_CASE("OverdueWatch: a task has ten seconds to heed its timeout") {
    Shop shop;
    shop.clock.advance(60s);
    shop.fire(StopReason::timeout);
    shop.clock.advance(9999ms);
    CHECK(shop.look() == 0);
}

TEST_CASE("OverdueWatch: a task is named once") {
    Shop shop;
    shop.fire(StopReason::timeout);
    for (int i = 0; i < 5; ++i) {
        shop.clock.advance(2min);
        CHECK(shop.look() == 1);
    }
}

TEST_CASE("OverdueWatch: the worker of a stuck task is replaced once, if that is asked for") {
    for (const bool replace : {true, false}) {
        CAPTURE(replace);
        Shop shop({.after = 3s, .replace_worker = replace});
        shop.fire(StopReason::timeout);
        shop.clock.advance(62'999ms);
        CHECK(shop.look() == 0);
        CHECK(shop.workers() == 1);
        for (int i = 0; i < 3; ++i) {
            shop.clock.advance(1s);
            CHECK(shop.look() == 1);
            CHECK(shop.workers() == (replace ? 2 : 1));
        }
    }
}

TEST_CASE("OverdueWatch: a task that was stopped for another reason is not named") {
    Shop shop;
    shop.fire(StopReason::stopping);
    shop.clock.advance(2min);
    CHECK(shop.look() == 0);
}

TEST_CASE("OverdueWatch: looks once a second, however often it is asked") {
    Shop shop;
    shop.fire(StopReason::timeout);
    shop.clock.advance(69'500ms);
    CHECK(shop.look() == 0);
    shop.clock.advance(500ms);
    CHECK(shop.look() == 0);
    shop.clock.advance(500ms);
    CHECK(shop.look() == 1);
}

}  // namespace
