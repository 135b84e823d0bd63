// SPDX-License-Identifier: MIT
#pragma once
// The dispatcher: one thread that claims due tasks for the workers, writes their outcomes behind them, and keeps house.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/core/add_counts.hpp>
#include <backlite/core/clock_watch.hpp>
#include <backlite/core/look_schedule.hpp>
#include <backlite/core/progress_board.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/retry_pause.hpp>
#include <backlite/core/scheduler.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/engine/deadline_timer.hpp>
#include <backlite/engine/event_relay.hpp>
#include <backlite/engine/finish_watch.hpp>
#include <backlite/engine/overdue_watch.hpp>
#include <backlite/engine/session_end.hpp>
#include <backlite/engine/wake_signals.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/store.hpp>
#include <backlite/store/trouble.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// What a dispatcher works with; all of it outlives the dispatcher.
struct DispatcherParts {
    const ClientConfig& config;
    const Clock& clock;
    const detail::SafeLogger& tell;
    const core::QueueRegistry& queues;
    store::Store& store;
    store::Owner& owner;
    WorkerPool& pool;
    DeadlineTimer& timer;
    const store::CommitWatch& watch;
    core::AddCounts& add_counts;
    EventRelay* events;  ///< null: nobody observes
    FinishWatch& finishes;
    core::ProgressBoard& progress;
};

/// Its thread sleeps on a condition variable until the earliest of: a due task, an outcome to write, a lease to extend,
/// the next purge, the next look for commits of others or for dead owners, one second. What ends the sleep early only
/// sets a flag.
///
/// A cycle is one transaction: the outcomes since the last one, leases, a chunk of a purge, and new claims. So batches
/// grow with load, and a single outcome is committed at once. An outcome that cannot be written stays and is tried
/// again.
/// Threads: `run` is the dispatcher thread's body, everything else is for any thread. No user code, log call or SQL
/// happens under its mutex.
class Dispatcher {
public:
    using Steady = std::chrono::steady_clock;

    explicit Dispatcher(const DispatcherParts& parts);
    Dispatcher(const Dispatcher&) = delete;
    Dispatcher& operator=(const Dispatcher&) = delete;

    /// An own commit added these tasks, which are due at `due`.
    void added(std::span<const detail::NewTask> tasks, detail::Ms due);
    /// Whether a task that is due at `now` would be the first to run. REQUIRES: to be asked by AddPlan::starter.
    [[nodiscard]] bool none_due(detail::Ms now, std::uint64_t foreign_commits) {
        return scheduler_.agenda().none_due(now, foreign_commits);
    }
    /// Outcomes wait, or workers have run out of tasks.
    void progress() { inbox_.wake(); }
    /// Adds wait to be counted, of which it does not know.
    void uncounted() { inbox_.wake(); }
    void refresh() { inbox_.refresh(); }
    void hint() { inbox_.hint(); }
    /// The number of the first look that finds all that is committed by now. Threads: any.
    [[nodiscard]] std::uint64_t next_look() const noexcept { return looks_begun_.load() + 1; }
    /// REQUIRES, as for abandon: the pool is on hold.
    void request_stop() { inbox_.stop(); }
    void abandon() { inbox_.abandon(); }

    /// When `run` is over, and whether every outcome and every give-back was written.
    [[nodiscard]] const SessionEnd& ending() const noexcept { return ending_; }

    /// The thread's body.
    void run() noexcept;

private:
    /// How long one try to write may wait for other processes, so that the dispatcher stays responsive.
    static constexpr Duration write_slice{100};
    static constexpr Duration probe_interval{50};
    /// How long an unstarted claim may stay in memory while another client is alive.
    static constexpr Duration ready_limit{50};
    static constexpr int most_strays = 1'000;

    [[nodiscard]] Duration observation_interval() const {
        return (std::max)(parts_.config.release_after / 4, Duration{1});
    }
    [[nodiscard]] Duration look_interval() const;

    void work() noexcept;

    /// Runs a step that may fail on SQLite: then nothing is lost, and it comes again after a pause.
    template <class Step>
    bool guarded(Step&& step) noexcept {
        try {
            step();
            return true;
        } catch (const StorageError& error) {
            const store::Trouble trouble = store::trouble_of(error);
            note_failure(error.what(), error.extended_code(), trouble);
            if (trouble == store::Trouble::tables) demand_tables();
        } catch (const std::exception& error) {
            note_failure(error.what());
        } catch (...) {
            note_failure("an exception that is no std::exception");
        }
        return false;
    }

    /// Tables that are gone do not come back: without them the client ends.
    void demand_tables() noexcept;

    void note_failure(std::string_view what, int code = 0, store::Trouble trouble = store::Trouble::other) noexcept;

    [[nodiscard]] core::Moment now() const noexcept { return core::Moment::of(parts_.clock); }

    void watch_the_clocks() noexcept;

    /// Looks for commits of others; if there are any, reads anew what this client believes of the file.
    void look();

    /// Tells that the limits of a queue have changed; what is claimed of it and waits for a worker goes back, since the
    /// claims of a limited queue are counted.
    void heed_limits(const store::QueueHead& before, const store::QueueHead& now);

    void look_after_others();

    /// Once a minute, if there may be any: tasks that wait for a client which has registered their queue. Other clients
    /// may have: while one lives, only a task that nobody has started for an hour is worth a word.
    void tell_strays();

    /// One transaction, if there is anything to write or to claim.
    void cycle();

    void collect() {
        scheduler_.collect([this](std::vector<store::EndedAttempt>& outcomes) { parts_.pool.take_finished(outcomes); });
    }

    void collect_everything() {
        collect();
        give_back([](const detail::ClaimedTask&, Steady::time_point) { return true; });
    }

    /// Those that wait for a worker go back, those that run are asked to stop.
    void stop_what_is_cancelled();
    void set_cancels(std::vector<detail::ClaimKey> claims) noexcept;
    /// Asks what runs to stop if it is cancelled; a batch also if the claims of its other tasks are lost.
    void stop_cancelled_runs();

    /// Claims of queues that were found to be paused.
    void give_back_what_is_paused();

    /// While another client is alive: it may have a worker free for what waits here.
    void give_back_what_waits_too_long();

    /// Tasks that wait for a worker and were not started in time.
    void end_what_has_expired();

    template <class Which>
    void give_back(Which&& which) {
        // Now: what is withdrawn must not get lost. A worker that is kept free may get a task meanwhile.
        scheduler_.make_room(parts_.pool.load().ready_tasks() + parts_.config.num_workers);
        for (detail::ClaimedTask& task : parts_.pool.withdraw(which)) scheduler_.give_back(std::move(task));
    }

    [[nodiscard]] store::CyclePlan make_plan(const core::PoolLoad& load);

    /// What a cycle has done, to the observers. REQUIRES: there are some; its outcomes are not forgotten yet.
    void tell_observers(const store::CyclePlan& plan, const store::CycleResult& result) noexcept;
    [[nodiscard]] static EventKind event_of(detail::RowChange resolution) noexcept;
    void tell_outcome(const store::EndedAttempt& finished, EventKind kind) noexcept;
    void tell_claim_lost(const detail::ClaimKey& claim, std::size_t queue, int attempt) noexcept;
    void tell_count(EventKind kind, std::int64_t count) noexcept;

    /// These claims are somebody else's by now: whoever works on one is told, and whatever comes of it changes nothing.
    void drop_claims(const std::vector<detail::ClaimKey>& leases, const std::vector<std::size_t>& lost);
    /// REQUIRES: the claims are sorted.
    [[nodiscard]] static bool is_among(const std::vector<detail::ClaimKey>& claims,
                                       const detail::ClaimedTask& task) noexcept;

    [[nodiscard]] bool nothing_left() const;

    void sleep();

    /// When there is something to do without being told, `longest_wait` from now at the latest. `interest`: adds that
    /// are due before it end the sleep.
    [[nodiscard]] Steady::time_point wake_time(const core::Moment& moment, detail::Ms& interest);

    /// The end: nothing runs any more.
    void leave() noexcept;

    // constant after construction
    const DispatcherParts parts_;
    const store::Patience patience_;

    // dispatcher thread only, but for what the agenda allows to others
    core::Scheduler scheduler_;
    core::RetryPause pause_;
    core::LookSchedule looks_{};
    core::ClockWatch clocks_;
    WakeSignals::Signals taken_{};
    // Both sorted:
    std::vector<detail::ClaimKey> cancels_{};  ///< claims whose tasks are to end, as the file was read last
    std::vector<detail::ClaimKey> missed_{};   ///< claims that were in memory and lost, as the last lease found
    detail::Ms ready_expires_ = store::never;  ///< when the first task expires that waits for a worker, or sooner
    std::atomic<std::uint64_t> looks_begun_{0};
    std::uint64_t foreign_seen_ = 0;  ///< how many commits of others there were when the file was last read
    Steady::time_point next_probe_{};
    Steady::time_point next_observation_{};
    Steady::time_point next_strays_ = Steady::now() + std::chrono::seconds{1};  ///< other clients may be starting too
    OverdueWatch overdue_{parts_.config.stuck, parts_.events};
    std::map<detail::ClaimKey, int> lost_{};  ///< attempts that run, which the observers know of already
    bool strays_ = true;                      ///< tasks may wait in queues that are not registered

    WakeSignals inbox_{};
    SessionEnd ending_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/dispatcher.ipp>
#endif
