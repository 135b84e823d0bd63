// SPDX-License-Identifier: MIT
#pragma once
// A started client without its threads: fast, and each step is the caller's.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <backlite/backlite.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/store/plan.hpp>

namespace backlite_fuzz {

/// The library's own parts, put together as Session and Dispatcher do it, on the caller's thread.
/// Errors: every function throws what those parts throw.
class ThreadlessClient {
public:
    static constexpr std::size_t workers = 4;

    ThreadlessClient(backlite::ClientConfig config, const backlite::core::QueueRegistry& queues,
                     const backlite::Clock& clock)
        : config_(std::move(config)),
          clock_(clock),
          runner_(queues, {}, clock, backlite::detail::SafeLogger{}),
          writes_(config_, {[this] { stale_ = true; }, {}}),
          due_(queues) {
        backlite::store::sqlite::Schema::install(writes_.connection(), config_.busy_timeout);
        backlite::store::sqlite::Schema::check_tables(writes_.connection());
    }
    ThreadlessClient(const ThreadlessClient&) = delete;
    ThreadlessClient& operator=(const ThreadlessClient&) = delete;

    void start() {
        observer_.liveness = nullptr;
        liveness_.emplace(writes_, writes_.connection().file(), static_cast<unsigned>(workers), config_.release_after,
                          clock_, backlite::detail::SafeLogger{});
        liveness_->join(patience_);
        observer_.liveness = &*liveness_;
        stale_ = true;
    }

    /// Its process dies: what it had claimed stays so, and `inside` of its tasks were in their processors.
    void die(std::size_t inside) {
        for (std::size_t i = 0; i < inside && i < ready_.size(); ++i) record(i, ready_[i]);
        liveness_->let_go();
        forget();
    }

    void stop() {
        for (backlite::detail::ClaimedTask& task : std::exchange(ready_, {})) {
            finished_.push_back({{.id = std::move(task.id), .claim = task.claim}, task.queue, task.due});
        }
        cycle({});
        liveness_->leave(patience_);
        liveness_->let_go();
    }

    /// For what ends without `stop`. What was in memory is lost.
    void forget() {
        ready_.clear();
        finished_.clear();
        liveness_.reset();
    }

    /// Reads anew what others may have changed.
    void look() {
        writes_.look();
        if (!std::exchange(stale_, false)) return;
        due_.merge();
        std::vector<backlite::store::QueueHead> heads = due_.heads();
        std::vector<backlite::detail::OwnerRow> others;
        writes_.read(
            [&](backlite::store::sqlite::Repository& repository) {
                repository.claims.read_heads(heads);
                others = liveness_->read_others(repository);
                ownerless_ = repository.upkeep.oldest_ownerless();
            },
            patience_);
        due_.set(std::move(heads));
        liveness_->set_others(std::move(others));
    }

    /// Takes back what dead and hung owners hold.
    void look_after_others() {
        look();
        if (!liveness_->others_known()) return;
        if (liveness_->someone_died()) liveness_->rescue(patience_);
        liveness_->observe(patience_);
        stale_ = true;
    }

    /// What to claim for the workers that are free.
    [[nodiscard]] backlite::store::ClaimRequest request() const {
        backlite::store::ClaimRequest claim;
        claim.free_workers = workers - (std::min)(workers, ready_.size());
        claim.limit = claim.free_workers;
        claim.crashed_running = std::any_of(ready_.begin(), ready_.end(), [](const auto& t) { return t.crashes > 0; });
        claim.bound_running = std::any_of(ready_.begin(), ready_.end(), [](const auto& t) { return t.last_chance; });
        return claim;
    }

    /// One transaction: outcomes, what else is planned, and claims.
    backlite::store::CycleResult cycle(backlite::store::CyclePlan plan) {
        const backlite::detail::Ms wall = now();
        plan.claim.now = wall;
        plan.claim.owner = liveness_->owner();
        plan.claim.max_payload = config_.max_payload;
        due_.merge();
        due_.release_held(plan.claim.crashed_running, plan.claim.free_workers > 0);
        backlite::store::CycleResult result;
        writes_.write(
            [&](backlite::store::sqlite::Repository& repository) {
                result = backlite::store::sqlite::run_cycle(repository, finished_, plan, due_.heads(), wall);
            },
            patience_);
        due_.set(result.heads);
        for (const backlite::store::EndedAttempt& finished : std::exchange(finished_, {})) {
            using backlite::detail::RowChange;
            const RowChange resolution = finished.resolved.resolution;
            if (resolution == RowChange::retry || resolution == RowChange::snooze) {
                due_.note(finished.queue, finished.resolved.wait_until);
            } else if (resolution == RowChange::release) {
                due_.note(finished.queue,
                          finished.resolved.wait ? finished.resolved.wait_until : (std::min)(finished.due, wall));
            }
        }
        if (plan.lapse || !plan.mend.empty()) stale_ = true;
        for (const backlite::detail::ClaimedTask& task : result.claimed.tasks) ready_.push_back(task);
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
        finished_.push_back({std::move(resolved), task.queue, task.due});
        return &finished_.back().resolved;
    }

    /// Whether the next look reads anew.
    [[nodiscard]] bool stale() const noexcept { return stale_; }
    [[nodiscard]] const std::deque<backlite::detail::ClaimedTask>& ready() const noexcept { return ready_; }
    [[nodiscard]] const std::vector<backlite::store::EndedAttempt>& finished() const noexcept { return finished_; }
    [[nodiscard]] const std::vector<backlite::store::QueueHead>& heads() const noexcept { return due_.heads(); }
    [[nodiscard]] std::optional<backlite::detail::Ms> ownerless() const noexcept { return ownerless_; }
    [[nodiscard]] std::int64_t owner() const noexcept { return liveness_->owner(); }
    [[nodiscard]] bool started() const noexcept { return liveness_.has_value(); }
    [[nodiscard]] backlite::detail::Ms now() const noexcept { return backlite::detail::to_ms(clock_.now()); }
    [[nodiscard]] const backlite::ClientConfig& config() const noexcept { return config_; }
    [[nodiscard]] std::size_t queues() const noexcept { return due_.heads().size(); }
    [[nodiscard]] backlite::store::sqlite::GroupCommit& writes() noexcept { return writes_; }

private:
    struct Observer final : backlite::core::AttemptObserver {
        backlite::engine::Liveness* liveness = nullptr;
        void entering(const backlite::detail::ClaimedTask& task) noexcept override {
            liveness->record(0).enter(static_cast<std::uint64_t>(task.claim),
                                      backlite::store::sqlite::hash_id(task.id.str()));
        }
        void timing(std::chrono::steady_clock::time_point,
                    const std::shared_ptr<backlite::detail::StopSignal>&) override {}
        void left() noexcept override { liveness->record(0).returned(); }
    };

    void record(std::size_t worker, const backlite::detail::ClaimedTask& task) {
        liveness_->record(worker).enter(static_cast<std::uint64_t>(task.claim),
                                        backlite::store::sqlite::hash_id(task.id.str()));
    }

    const backlite::ClientConfig config_;
    const backlite::Clock& clock_;
    const backlite::store::sqlite::GroupCommit::Patience patience_{std::chrono::seconds{1}, {}};
    Observer observer_{};
    backlite::core::TaskRunner runner_;
    bool stale_ = true;
    backlite::store::sqlite::GroupCommit writes_;
    backlite::core::Agenda due_;
    std::optional<backlite::detail::Ms> ownerless_{};
    std::optional<backlite::engine::Liveness> liveness_{};
    std::deque<backlite::detail::ClaimedTask> ready_{};
    std::vector<backlite::store::EndedAttempt> finished_{};
};

}  // namespace backlite_fuzz
