// SPDX-License-Identifier: MIT
#pragma once
// What a client has only while it is started: its threads, its place among the clients, the claims in memory.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/add_counts.hpp>
#include <backlite/core/progress_board.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/engine/deadline_timer.hpp>
#include <backlite/engine/dispatcher.hpp>
#include <backlite/engine/event_relay.hpp>
#include <backlite/engine/finish_watch.hpp>
#include <backlite/engine/lifecycle.hpp>
#include <backlite/engine/log_relay.hpp>
#include <backlite/engine/session_end.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/fork.hpp>
#include <backlite/platform/process.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// What a session works with; all of it outlives the session.
struct SessionParts {
    std::shared_ptr<platform::ThreadList> own;
    std::weak_ptr<Engine> engine;
    std::function<bool()> end_orphan;  ///< true: this session is gone
    const ClientConfig& config;
    const Clock& clock;
    const detail::SafeLogger& log;
    const core::QueueRegistry& queues;
    store::Store& store;
    core::AddCounts& add_counts;
    Life& life;
    std::uint64_t run;   ///< of the life: the one that this session is of
    EventRelay* events;  ///< null: nobody observes
    FinishWatch& finishes;
};

/// From start to the end of a stop. It ends by itself once it was asked to stop and nothing is left to do; whoever
/// notices that destroys it, on a thread that is none of its own.
/// Threads: any, but for construction and destruction.
class Session {
public:
    using Steady = std::chrono::steady_clock;

    /// Joins the clients of the file, rescues dead ones' claims, starts the threads.
    /// `hard_stop`: no new starts, and the stop tokens fire, once it is requested.
    /// Errors: see Store::join; Error if the system has no thread or descriptor to give.
    Session(const SessionParts& parts, std::stop_token hard_stop);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// REQUIRES: its ending has come.
    ~Session() = default;

    [[nodiscard]] Dispatcher& dispatcher() noexcept { return dispatcher_; }

    [[nodiscard]] const SessionEnd& ending() const noexcept { return dispatcher_.ending(); }

    [[nodiscard]] std::vector<core::RunningTask> running() const { return pool_.running(); }
    [[nodiscard]] bool runs_any() const noexcept { return pool_.runs_any(); }

    /// Keeps a worker free for a new task of `queue` that is due at `now` and is about to be inserted as claimed by
    /// this session's owner. False if it has to wait for its turn: no worker is idle, or another task is due, or may
    /// be. True must be followed by `hand_over` or `keep_no_longer`; until then the session does not end. REQUIRES:
    /// to be asked by AddPlan::starter.
    [[nodiscard]] bool keep_worker(std::string_view queue, detail::Ms now, std::uint64_t foreign_commits);
    void hand_over(TaskId id, std::string_view queue, int priority, detail::Ms now, std::string payload);
    void keep_no_longer() { pool_.cancel_reservation(); }
    [[nodiscard]] std::int64_t owner() const noexcept { return owner_->number(); }

    /// The file says that a queue is paused: none of its tasks is taken by a worker any more. Safe under a lock.
    void pause(std::string_view queue) noexcept;
    /// Limits of a queue are about to be stored, or to go, or (`stored`) were, or are as they were: until that is read
    /// no task of it is handed over past the claim. Safe under a lock.
    void limit(std::string_view queue, bool stored) noexcept;
    /// Waits until none that was taken is still to start.
    void await_entered(std::string_view queue) const noexcept;

    /// No new starts; unstarted claims go back; it ends once the running tasks have.
    void request_stop();

    /// The same, and asks the running tasks to stop. Their stop callbacks run on threads of the timer.
    void request_hard_stop();

    /// The file is lost: ends without writing. Safe under a lock; the stop tokens fire on a thread of the session.
    void end_unwritten();

    /// The client is orphaned, and no thread of its own may wait here: the watch thread ends the session. Safe under a
    /// lock.
    void orphan() noexcept { watch_->wake(); }

    /// On the watch thread: whoever destroys the session need not wait for this thread, which may be the one.
    void let_watch_go() { watch_thread_.detach(); }

    /// Gives up writing what could not be written so far.
    void abandon() { dispatcher_.abandon(); }

private:
    /// Runs on the thread that requests the stop, whatever that holds: no locks, and no user code.
    struct HardStop {
        Session& session;
        void operator()() const noexcept {
            session.life_.apply(LifeEvent::hard_stop, session.run_);
            session.timer_.wake();
        }
    };

    /// On a thread of the timer: does what a hard stop or the loss of the file asks for, once.
    void heed() noexcept;

    /// Keeps one worker's record in the side file, and its timeout.
    class WorkerObserver final : public core::AttemptObserver {
    public:
        WorkerObserver(Session& session, std::size_t worker) : session_(session), worker_(worker) {}

        void entering(const detail::ClaimedTask& task) noexcept override {
            if (session_.events_ != nullptr) session_.tell_started(task);
            session_.owner_->entering(worker_, task);
        }
        void joining(const detail::ClaimedTask& task) noexcept override {
            if (session_.events_ != nullptr) session_.tell_started(task);
        }
        void processing() noexcept override { session_.pool_.entered(worker_); }
        void progress(const detail::ClaimedTask& task, double fraction, std::string_view message) override;
        void ending(bool begins) noexcept override { session_.pool_.ending(worker_, begins); }
        void timing(Steady::time_point deadline, const std::shared_ptr<detail::StopSignal>& signal) override {
            session_.timer_.arm(worker_, deadline, signal);
            armed_ = true;
        }
        void left() noexcept override;

    private:
        /// A processor forked, and its child came back here instead of ending. Nothing here may run in that child: the
        /// task, the locks and the file are its parent's.
        [[noreturn]] static void end_forked_child() noexcept;

        Session& session_;
        std::size_t worker_;
        bool armed_ = false;
    };

    /// Ends the watch thread as it goes, also when the session's constructor throws: then no destructor of that runs.
    struct EndsWatch {
        explicit EndsWatch(Session& session) noexcept : session_(session) {}
        EndsWatch(const EndsWatch&) = delete;
        EndsWatch& operator=(const EndsWatch&) = delete;
        ~EndsWatch() {
            session_.closing_ = true;
            session_.watch_->wake();
        }
        Session& session_;
    };

    /// Ends the timer's threads, which may be about to heed, before the pool goes. By then no task runs.
    struct EndsTimer {
        explicit EndsTimer(DeadlineTimer& timer) noexcept : timer_(timer) {}
        EndsTimer(const EndsTimer&) = delete;
        EndsTimer& operator=(const EndsTimer&) = delete;
        ~EndsTimer() { timer_.close(); }
        DeadlineTimer& timer_;
    };

    std::vector<std::unique_ptr<WorkerObserver>> make_observers(std::size_t workers);

    void tell_started(const detail::ClaimedTask& task) const noexcept;

    /// Passes file events on as hints, and ends an orphaned client. Own commits raise events too, so it rests after
    /// each: while they come, whoever commits looks for others' commits anyhow.
    void watch() noexcept;

    const platform::ForkGuard guard_{};
    const core::QueueRegistry& queues_;
    EventRelay* const events_;
    const bool unsynced_;  ///< a commit takes about as long as a thread needs to wake up
    const std::function<bool()> end_orphan_;
    const detail::SafeLogger log_;  ///< for those that must not wait for the host's logger
    Life& life_;
    const std::uint64_t run_;
    std::atomic<bool> tasks_asked_{false};
    std::atomic<bool> closing_{false};
    const std::unique_ptr<store::Owner> owner_;
    const std::unique_ptr<store::CommitWatch> watch_;
    const Clock& clock_;
    core::ProgressBoard progress_;
    core::TaskRunner runner_;
    DeadlineTimer timer_;
    Dispatcher dispatcher_;
    std::vector<std::unique_ptr<WorkerObserver>> observers_;
    WorkerPool pool_;
    const EndsTimer ends_timer_{timer_};
    std::jthread watch_thread_;
    const EndsWatch ends_watch_{*this};
    std::jthread dispatcher_thread_;
    std::stop_callback<HardStop> hard_stop_;
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/session.ipp>
#endif
