// SPDX-License-Identifier: MIT
#pragma once
// A started client without its threads: fast, and each step is the caller's.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <backlite/backlite.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/core/scheduler.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>
#include <backlite/store/store.hpp>

namespace backlite_test {

/// The library's scheduler, store and runner, driven on the caller's thread as the dispatcher and the workers drive
/// them. Errors: every function throws what those parts throw.
class SteppedClient {
public:
    static constexpr std::size_t workers = 4;
    using Open = std::function<std::unique_ptr<backlite::store::Store>(
        const backlite::ClientConfig&, const backlite::Clock&, const backlite::detail::SafeLogger&,
        backlite::store::StoreHooks)>;

    SteppedClient(backlite::ClientConfig config, const backlite::core::QueueRegistry& queues,
                  const backlite::Clock& clock, const Open& open = &backlite::store::sqlite::open)
        : config_(with_workers(std::move(config))),
          queues_(queues),
          clock_(clock),
          runner_(queues, {}, clock, tell_),
          store_(open(config_, clock_, tell_, {[this] { stale_ = true; }, {}})) {
        store_->check_tables(patience_);
    }
    SteppedClient(const SteppedClient&) = delete;
    SteppedClient& operator=(const SteppedClient&) = delete;

    void start() {
        observer_.owner = nullptr;
        owner_ = store_->join(tell_, patience_);
        observer_.owner = owner_.get();
        scheduler_.emplace(config_, queues_, tell_);
        scheduler_->begin(moment());
        stale_ = true;
    }

    /// Its process dies: what it had claimed stays so, and `inside` of its tasks were in their processors.
    void die(std::size_t inside) {
        for (std::size_t i = 0; i < inside && i < ready_.size(); ++i) owner_->entering(i, ready_[i]);
        owner_->let_go();
        forget();
    }

    void stop() {
        for (backlite::detail::ClaimedTask& task : std::exchange(ready_, {})) scheduler_->give_back(std::move(task));
        cycle({});
        owner_->leave(patience_);
        owner_->let_go();
    }

    /// For what ends without `stop`. What was in memory is lost.
    void forget() {
        ready_.clear();
        scheduler_.reset();
        owner_.reset();
    }

    /// Reads anew what others may have changed.
    void look() {
        store_->look();
        if (!std::exchange(stale_, false)) return;
        scheduler_->agenda().merge();
        backlite::store::FileState state = owner_->read(heads(), true, patience_);
        ownerless_ = state.ownerless;
        scheduler_->found(std::move(state), moment());
    }

    /// Takes back what dead and hung owners hold.
    void look_after_others() {
        look();
        if (!owner_->others_known()) return;
        if (owner_->someone_died()) owner_->rescue(patience_);
        owner_->observe(patience_);
        stale_ = true;
    }

    void clock_was_set(backlite::Duration by) {
        if (scheduler_->clock_was_set(by, moment())) stale_ = true;
    }

    /// What the scheduler wants to be done next. Each claimed task takes a worker until it has run.
    [[nodiscard]] backlite::store::CyclePlan plan() {
        const backlite::core::Moment now = moment();
        scheduler_->agenda().merge();
        backlite::core::Scheduler::Inputs in{.load = load(), .owner = owner()};
        if (scheduler_->lease_due(now)) {
            for (const backlite::detail::ClaimedTask& task : ready_) in.claims.push_back({task.id, task.claim});
        }
        if (scheduler_->purge_due(now)) {
            in.expiry = store_->next_expiry(patience_);
        }
        return scheduler_->plan(std::move(in), now);
    }

    /// One transaction: outcomes, what else is planned, and claims.
    backlite::store::CycleResult cycle(backlite::store::CyclePlan plan) {
        const backlite::TimePoint wall = clock_.now();
        plan.claim.now = backlite::detail::to_ms(wall);
        scheduler_->agenda().merge();
        scheduler_->hold_to_clock(wall);
        backlite::store::CycleResult result =
            store_->cycle({.outcomes = finished(), .plan = plan, .heads = heads()}, patience_);
        scheduler_->claimed(plan, result);
        for (const backlite::detail::ClaimedTask& task : result.claimed.tasks) ready_.push_back(task);
        const backlite::core::Moment now = moment();
        if (scheduler_->written(plan, result, now)) stale_ = true;
        scheduler_->refused(result, now);
        return result;
    }

    /// Runs the task that was claimed first; what came of it is written by the next cycle. Null if there is none.
    const backlite::detail::AttemptResult* run_one() {
        if (ready_.empty()) return nullptr;
        const backlite::detail::ClaimedTask task = std::move(ready_.front());
        ready_.pop_front();
        backlite::detail::AttemptResult resolved;
        runner_.run(task, std::make_shared<backlite::detail::StopSignal>(), observer_, resolved);
        resolved.id = task.id;
        scheduler_->collect([&](std::vector<backlite::store::EndedAttempt>& outcomes) {
            outcomes.push_back({std::move(resolved), task.queue, task.due});
        });
        return &finished().back().resolved;
    }

    /// The next look reads anew.
    void refresh() noexcept { stale_ = true; }
    /// Whether it does.
    [[nodiscard]] bool stale() const noexcept { return stale_; }
    [[nodiscard]] const std::deque<backlite::detail::ClaimedTask>& ready() const noexcept { return ready_; }
    [[nodiscard]] const std::vector<backlite::store::EndedAttempt>& finished() const { return scheduler_->outcomes(); }
    [[nodiscard]] const std::vector<backlite::store::QueueHead>& heads() const { return scheduler_->agenda().heads(); }
    [[nodiscard]] std::optional<backlite::detail::Ms> ownerless() const noexcept { return ownerless_; }
    [[nodiscard]] std::int64_t owner() const noexcept { return owner_->number(); }
    [[nodiscard]] bool started() const noexcept { return owner_ != nullptr; }
    [[nodiscard]] bool others_known() const noexcept { return owner_->others_known(); }
    [[nodiscard]] backlite::detail::Ms now() const noexcept { return backlite::detail::to_ms(clock_.now()); }
    [[nodiscard]] const backlite::ClientConfig& config() const noexcept { return config_; }
    [[nodiscard]] backlite::store::Store& store() noexcept { return *store_; }
    /// REQUIRES: the store is SQLite's.
    [[nodiscard]] backlite::store::sqlite::GroupCommit& writes() {
        return dynamic_cast<backlite::store::sqlite::SqliteStore&>(*store_).writes();
    }

private:
    struct Observer final : backlite::core::AttemptObserver {
        backlite::store::Owner* owner = nullptr;
        void entering(const backlite::detail::ClaimedTask& task) noexcept override { owner->entering(0, task); }
        void timing(std::chrono::steady_clock::time_point,
                    const std::shared_ptr<backlite::detail::StopSignal>&) override {}
        void left() noexcept override { owner->left(0); }
    };

    static backlite::ClientConfig with_workers(backlite::ClientConfig config) {
        config.num_workers = static_cast<unsigned>(workers);
        return config;
    }

    [[nodiscard]] backlite::core::Moment moment() const noexcept { return backlite::core::Moment::of(clock_); }

    [[nodiscard]] backlite::core::PoolLoad load() const {
        backlite::core::PoolLoad load;
        load.running = (std::min)(workers, ready_.size());
        load.idle = workers - load.running;
        load.ready = ready_.size() - load.running;
        for (const backlite::detail::ClaimedTask& task : ready_) {
            load.crashed = load.crashed || task.crashes > 0;
            load.last_chance = load.last_chance || task.last_chance;
        }
        for (std::size_t i = load.running; i < ready_.size(); ++i) {
            load.ready_work += ready_[i].cost;
            load.ready_bytes += ready_[i].payload.size();
        }
        return load;
    }

    const backlite::ClientConfig config_;
    const backlite::core::QueueRegistry& queues_;
    const backlite::Clock& clock_;
    const backlite::detail::SafeLogger tell_{};
    const backlite::store::Patience patience_{std::chrono::seconds{1}, {}};
    Observer observer_{};
    backlite::core::TaskRunner runner_;
    bool stale_ = true;
    const std::unique_ptr<backlite::store::Store> store_;
    std::optional<backlite::core::Scheduler> scheduler_{};
    std::optional<backlite::detail::Ms> ownerless_{};
    std::unique_ptr<backlite::store::Owner> owner_{};
    std::deque<backlite::detail::ClaimedTask> ready_{};
};

}  // namespace backlite_test
