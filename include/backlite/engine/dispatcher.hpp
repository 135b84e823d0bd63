// SPDX-License-Identifier: MIT
#pragma once
// The dispatcher: one thread that claims due tasks for the workers, writes their outcomes behind them, and keeps house.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
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
#include <backlite/core/agenda.hpp>
#include <backlite/core/claim_policy.hpp>
#include <backlite/core/clock_watch.hpp>
#include <backlite/core/look_schedule.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/retry_pause.hpp>
#include <backlite/core/set_apart.hpp>
#include <backlite/engine/deadline_timer.hpp>
#include <backlite/engine/liveness.hpp>
#include <backlite/engine/log_growth.hpp>
#include <backlite/engine/overdue_watch.hpp>
#include <backlite/engine/session_end.hpp>
#include <backlite/engine/wake_signals.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/file_events.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/cycle.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/isolation.hpp>
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
    store::sqlite::GroupCommit& writes;
    Liveness& liveness;
    WorkerPool& pool;
    DeadlineTimer& timer;
    const platform::FileEvents& watch;
    core::AddCounts& add_counts;
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

    /// An own commit added a task of `queue` that is due at `due`.
    void added(std::string_view queue, detail::Ms due) {
        if (due_.lower(queue, due)) inbox_.wake();
    }
    /// Whether a task that is due at `now` would be the first to run. REQUIRES: inside an operation of the group
    /// commit.
    [[nodiscard]] bool none_due(detail::Ms now) { return due_.none_due(now, parts_.writes.foreign_commits()); }
    /// Outcomes wait, or workers have run out of tasks.
    void progress() { inbox_.wake(); }
    /// Adds wait to be counted, of which it does not know.
    void uncounted() { inbox_.wake(); }
    void refresh() { inbox_.refresh(); }
    void hint() { inbox_.hint(); }
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
    /// How long outcomes may wait while workers have more to do.
    static constexpr Duration linger{2};

    [[nodiscard]] Duration lease_interval() const { return (std::max)(parts_.config.release_after / 3, Duration{1}); }
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

    /// A wall clock that is set back must not leave tasks waiting for a time that they were due at already.
    void watch_the_clocks() noexcept;

    /// Whatever waits is looked through for times that a wrong clock has made.
    void mend_everything();

    /// Looks for commits of others; if there are any, reads anew what this client believes of the file.
    void look();

    void look_after_others();

    /// Once a minute, if there may be any: tasks that wait for a client which has registered their queue. Other clients
    /// may have: while one lives, only a task that nobody has started for an hour is worth a word.
    void tell_strays();

    /// One transaction, if there is anything to write or to claim.
    void cycle();

    [[nodiscard]] WorkerPool::Load look_at_pool();

    /// When outcomes should be written: at once, unless workers still have more than enough to do.
    [[nodiscard]] static Steady::time_point outcomes_at(const WorkerPool::Load& load) noexcept {
        if (load.finished == 0) return (Steady::time_point::max)();
        return load.low ? load.oldest_finished : load.oldest_finished + linger;
    }

    void collect();

    /// The wall clock may have been set back since the attempt ended: its times are no later than they would be by now.
    static void hold_to_clock(detail::AttemptResult& resolved, TimePoint now) noexcept {
        resolved.executed_at = (std::min)(resolved.executed_at, detail::to_ms(now));
        if (resolved.wait)
            resolved.wait_until = (std::min)(resolved.wait_until, detail::due_after(now, *resolved.wait));
    }

    void collect_everything() {
        collect();
        give_back([](const detail::ClaimedTask&, Steady::time_point) { return true; });
    }

    /// While another client is alive: it may have a worker free for what waits here.
    void give_back_what_waits_too_long();

    template <class Which>
    void give_back(Which&& which) {
        // Now: what is withdrawn must not get lost. A worker that is kept free may get a task meanwhile.
        unwritten_.reserve(unwritten_.size() + parts_.pool.load().ready + parts_.config.num_workers);
        for (detail::ClaimedTask& task : parts_.pool.withdraw(which)) {
            parts_.tell(
                LogLevel::debug, "task given back",
                {{"id", task.id.str()}, {"queue", parts_.queues[task.queue].config().name}, {"reason", "not started"}});
            detail::AttemptResult release{.id = std::move(task.id), .claim = task.claim};
            unwritten_.push_back({std::move(release), task.queue, task.due});
        }
    }

    [[nodiscard]] store::CyclePlan make_plan(const WorkerPool::Load& load);

    /// How long the wall clock is watched before tasks are deleted on its word alone.
    [[nodiscard]] Duration watched_before_purge() const {
        return (std::min)(parts_.config.cleanup_interval, Duration{std::chrono::hours{1}});
    }

    /// When the next purge is: sooner than usual if the clock is still being watched.
    [[nodiscard]] Steady::time_point purge_after(Steady::time_point now) const;

    [[nodiscard]] bool purge_needed(detail::Ms wall);

    /// The transaction is committed. First what must not get lost, which needs no memory; refused and lost claims,
    /// which the next claim and the next lease find again, come last.
    void settle(const store::CyclePlan& plan, store::CycleResult& result);

    void tell_of(const store::EndedAttempt& finished, LogLevel level, std::string_view what) const {
        parts_.tell(level, what,
                    {{"id", finished.resolved.id.str()}, {"queue", parts_.queues[finished.queue].config().name}});
    }

    /// The claim is somebody else's by now: whoever works on it is told, and whatever comes of it changes nothing.
    void drop_claim(const detail::ClaimKey& claim);

    /// When the next piece of what waits is looked through for times that a wrong clock has made. By a clock of before
    /// this library, everything has such times: it is behind, and was not seen to be set.
    [[nodiscard]] Steady::time_point mend_at(detail::Ms wall) const noexcept;

    void note_mended(store::CycleResult& result);

    void note_purge(const store::CycleResult& result);

    [[nodiscard]] bool nothing_left() const;

    void sleep();

    /// When there is something to do without being told, `longest_wait` from now at the latest. `interest`: adds that
    /// are due before it end the sleep.
    [[nodiscard]] Steady::time_point wake_time(Steady::time_point now, detail::Ms& interest);

    /// The end: nothing runs any more.
    void leave() noexcept;

    // constant after construction
    const DispatcherParts parts_;
    const store::sqlite::GroupCommit::Patience patience_;

    // dispatcher thread only, but for Agenda::lower
    core::Agenda due_;
    core::ClaimPolicy claims_;
    core::RetryPause pause_;
    core::SetApart apart_;
    core::LookSchedule looks_{};
    core::ClockWatch clocks_;
    Duration jump_back_{};  ///< how far the wall clock was set back, until its effect is undone
    /// By queue: how far what waits was looked through for times that a wrong clock has made; empty: all was.
    std::vector<detail::Ms> mending_{};
    bool mend_all_ = false;  ///< there is a sign of a wrong clock: piece after piece, and not one a second
    Steady::time_point next_mend_{};
    detail::Minute latest_mended_ = detail::Minute::earliest();  ///< the latest minute known at that
    core::ClockTrust trust_{};
    bool doubtful_ = true;  ///< the wall clock is to be compared with the file
    WakeSignals::Signals taken_{};
    std::uint64_t foreign_seen_ = 0;  ///< how many commits of others there were when the file was last read
    std::vector<store::EndedAttempt> unwritten_{};
    Steady::time_point next_probe_{};
    Steady::time_point next_observation_{};
    Steady::time_point planned_{};  ///< when the cycle that runs was planned
    Steady::time_point next_lease_{};
    Steady::time_point next_purge_{};
    Steady::time_point next_strays_ = Steady::now() + std::chrono::seconds{1};  ///< other clients may be starting too
    int purge_past_ = 0;                     ///< expired tasks of this purge that may not be deleted
    std::optional<detail::Ms> ownerless_{};  ///< when the oldest claim without owner was taken
    int lapsed_ = 0;                         ///< such claims that were given back, and are not told of yet
    OverdueWatch overdue_{};
    bool strays_ = true;  ///< tasks may wait in queues that are not registered
    LogGrowth log_growth_;

    WakeSignals inbox_{};
    SessionEnd ending_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/dispatcher.ipp>
#endif
