// SPDX-License-Identifier: MIT
#pragma once
// A started client without its threads: each step is the caller's.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/pool_load.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/scheduler.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/fwd.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace testing {

/// The library's scheduler, runner and owner on a store, driven on the caller's thread as the dispatcher and the
/// workers drive them. What it is made of must outlive it, and the queues stay as they are from `start` on.
/// Errors: every function throws what those parts throw.
/// Threads: one at a time; `refresh` from any that holds the others off.
class SteppedSession {
public:
    struct Parts {
        const ClientConfig& config;
        const core::QueueRegistry& queues;
        const Clock& clock;
        const detail::SafeLogger& tell;
        store::Store& store;
        std::weak_ptr<engine::Engine> engine{};  ///< for Context::client
    };

    explicit SteppedSession(Parts parts);
    SteppedSession(const SteppedSession&) = delete;
    SteppedSession& operator=(const SteppedSession&) = delete;

    /// Joins the clients of the file, and begins anew.
    void start();
    /// Gives back what it has claimed, writes the outcomes, and leaves.
    void stop();
    /// Its process dies: what it had claimed stays so, and `inside` of its tasks were in their processors.
    void die(std::size_t inside);
    /// For what ends without `stop`. What was in memory is lost.
    void forget();

    /// Reads anew what others may have changed.
    void look();
    /// Takes back what dead and hung owners hold.
    void look_after_others();
    void clock_was_set(Duration by);

    /// What the scheduler wants to be done next. Each claimed task takes a worker until it has run.
    [[nodiscard]] store::CyclePlan plan();
    /// One transaction: outcomes, what else is planned, and claims.
    store::CycleResult cycle(store::CyclePlan plan);
    /// Runs the task that was claimed first, or its batch; what came of it is written by the next cycle. Null if there
    /// is none; of a batch its last one.
    const store::EndedAttempt* run_one(const std::shared_ptr<detail::StopSignal>& signal);
    /// How long until there is something to do that no commit tells of, by the steady clock; zero: there is now;
    /// nullopt: nothing is to come.
    [[nodiscard]] std::optional<Duration> next_work();

    /// The next look reads anew.
    void refresh() noexcept { stale_ = true; }
    /// Whether it does.
    [[nodiscard]] bool stale() const noexcept { return stale_; }
    [[nodiscard]] const std::deque<detail::ClaimedTask>& ready() const noexcept { return ready_; }
    [[nodiscard]] const std::vector<store::EndedAttempt>& finished() const { return scheduler_->outcomes(); }
    [[nodiscard]] const std::vector<store::QueueHead>& heads() const { return scheduler_->agenda().heads(); }
    [[nodiscard]] std::optional<detail::Ms> ownerless() const noexcept { return ownerless_; }
    [[nodiscard]] std::int64_t owner() const noexcept { return owner_->number(); }
    [[nodiscard]] bool started() const noexcept { return owner_ != nullptr; }
    [[nodiscard]] bool others_known() const noexcept { return owner_->others_known(); }
    [[nodiscard]] detail::Ms now() const noexcept { return detail::to_ms(parts_.clock.now()); }

private:
    struct Observer final : core::AttemptObserver {
        store::Owner* owner = nullptr;
        void entering(const detail::ClaimedTask& task) noexcept override { owner->entering(0, task); }
        void timing(std::chrono::steady_clock::time_point, const std::shared_ptr<detail::StopSignal>&) override {}
        void left() noexcept override { owner->left(0); }
    };

    /// What waits by the machine's clock in a started client waits by the same clock as all else, so that a step does
    /// the same on every machine.
    [[nodiscard]] core::Moment moment() const noexcept {
        const auto steady = parts_.clock.steady_now();
        return {steady, steady, parts_.clock.now()};
    }
    [[nodiscard]] core::PoolLoad load() const;

    const Parts parts_;
    const store::Patience patience_;
    Observer observer_{};
    core::TaskRunner runner_;
    bool stale_ = true;
    std::optional<core::Scheduler> scheduler_{};
    std::optional<detail::Ms> ownerless_{};
    std::unique_ptr<store::Owner> owner_{};
    std::deque<detail::ClaimedTask> ready_{};
};

}  // namespace testing
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/testing/stepped_session.ipp>
#endif
