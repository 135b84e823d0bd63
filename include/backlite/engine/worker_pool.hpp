// SPDX-License-Identifier: MIT
#pragma once
// The worker threads, the claimed tasks that wait for one, and the outcomes that wait to be written.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/base/guards.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/setback.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/context.hpp>
#include <backlite/core/pool_load.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Threads: any. The destructor joins the workers, so it waits for what they run.
class WorkerPool {
public:
    using Steady = std::chrono::steady_clock;
    /// Runs one attempt and fills in what is to be written, all but the id; must not throw. If it ends its thread
    /// instead, by pthread_exit, what is filled in counts, and another thread takes the worker's place.
    using Work = std::function<void(std::size_t worker, const detail::ClaimedTask&,
                                    const std::shared_ptr<detail::StopSignal>&, detail::AttemptResult&)>;

    using Load = core::PoolLoad;

    /// `queues`: how many there are that may be paused. `places`: how many workers there may be with those that replace
    /// others; none do if that is not more than `workers`. `progress` is called without a lock when outcomes wait to be
    /// taken or workers run out of tasks.
    WorkerPool(std::shared_ptr<platform::ThreadList> own, std::size_t workers, const Clock& clock, Work work,
               std::function<void()> progress, detail::SafeLogger log = detail::SafeLogger(), std::size_t queues = 0,
               std::size_t places = 0);
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;
    ~WorkerPool() { close(); }

    /// Keeps one idle worker free for a task that is to come; it counts as running meanwhile. False if there is none.
    /// True must be followed by `offer_reserved` or `cancel_reservation`.
    /// `queue`: the task's.
    [[nodiscard]] bool reserve(std::size_t queue = 0);
    /// Lets the worker that the task will wake look up, and sleep on: it wakes sooner the next time, since its core is
    /// not in deep sleep, and has spent nothing of its time slice. Where that made a worker late, because the caller
    /// computes on the core that it looked up on, the next hand-overs go without it. Whether it was done.
    [[nodiscard]] bool rouse() noexcept;
    /// On hold, whoever waits for the pool to become empty is told.
    void offer_reserved(detail::ClaimedTask task);
    /// The worker is free for other tasks again, which is progress.
    void cancel_reservation();

    /// Makes room for so many tasks that are to be claimed: `offer` needs memory for those beyond. Errors:
    /// std::bad_alloc.
    void make_room(std::size_t tasks);

    /// Gives claimed tasks to the workers, which start them in this order.
    void offer(std::vector<detail::ClaimedTask> tasks);

    /// From now on no worker starts a task; those that run go on.
    void hold() noexcept {
        const detail::LockGuard lock(mutex_);
        held_ = true;
    }

    /// From now on no worker takes a task of this queue; those that were taken go on. `look`: the first look at the
    /// file that will find the pause there, so that an earlier one does not end it.
    void pause(std::size_t queue, std::uint64_t look) noexcept;
    /// What a look at the file has found.
    void found_paused(std::size_t queue, bool paused, std::uint64_t look) noexcept;
    /// From now on no worker is kept free for a task of this queue, until a look at the file finds it without limits:
    /// the look of this number or a later one.
    void limit(std::size_t queue, std::uint64_t look) noexcept {
        const detail::LockGuard lock(mutex_);
        limited_[queue] = look;
    }
    /// What a look at the file has found.
    void found_limited(std::size_t queue, bool limited, std::uint64_t look) noexcept;
    /// Waits until no task of this queue stands between its taking and its processor: each is inside, or over. Other
    /// than that, decoding a payload is all that it waits for.
    void await_entered(std::size_t queue) const noexcept;
    /// The worker's task is about to call its processor.
    void entered(std::size_t worker) noexcept { slots_[worker].entered.store(true, std::memory_order_release); }

    /// The worker's task is about to end by a transaction of its own, or it has not after all. Meanwhile, and after
    /// that, its claim is none in memory.
    void ending(std::size_t worker, bool begins) noexcept {
        const detail::LockGuard lock(mutex_);
        slots_[worker].ending = begins;
    }
    [[nodiscard]] bool is_ending(const detail::ClaimKey& claim) const noexcept;

    /// Starts another worker in place of the one that runs this claim, which ends with its task. Whether one was: not
    /// if the claim does not run, its worker is replaced already, there is no place or no thread for one, or no task
    /// may start.
    bool replace(const detail::ClaimKey& claim) noexcept;

    /// The outcomes since the last call, oldest first. Errors: std::bad_alloc; then none is taken.
    [[nodiscard]] std::vector<store::EndedAttempt> take_finished();
    /// The same, behind what is there.
    void take_finished(std::vector<store::EndedAttempt>& all);

    /// Takes back the tasks that no worker has started and that `which(const ClaimedTask&, offered)` names, those of
    /// batches one by one. Errors: std::bad_alloc; then none is taken.
    template <class Which>
    [[nodiscard]] std::vector<detail::ClaimedTask> withdraw(Which&& which) {
        std::vector<detail::ClaimedTask> taken;
        const detail::LockGuard lock(mutex_);
        taken.reserve(ready_count_locked() + ready_others_);
        std::size_t kept = 0;
        for (std::size_t i = next_ready_; i < ready_.size(); ++i) {
            Ready& ready = ready_[i];
            if (!ready.task.others.empty()) withdraw_others_locked(ready, which, taken);
            if (which(std::as_const(ready.task), ready.offered)) {
                ready_work_ -= ready.task.cost;
                ready_bytes_ -= ready.task.payload.size();
                forget_locked(ready.task);
                taken.push_back(std::move(ready.task));
            } else {
                if (kept != i) ready_[kept] = std::move(ready);
                ++kept;
            }
        }
        ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(kept), ready_.end());
        next_ready_ = 0;
        return taken;
    }

    [[nodiscard]] Load load() const;

    [[nodiscard]] std::vector<core::RunningTask> running() const;

    /// Every claim in memory: running, or waiting for a worker. Outcomes that wait to be written are not among them.
    [[nodiscard]] std::vector<detail::ClaimKey> claims() const;

    /// Whether a task is inside its processor.
    [[nodiscard]] bool runs_any() const noexcept {
        const detail::LockGuard lock(mutex_);
        return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.signal != nullptr; });
    }

    /// Calls `each(const std::shared_ptr<StopSignal>&)`, without a lock, for the running tasks that
    /// `which(const ClaimedTask&)` names; for a batch once it names all its tasks. Needs no memory.
    template <class Which, class Each>
    void each_running(Which&& which, Each&& each) const {
        for (const Slot& slot : slots_) {
            std::shared_ptr<detail::StopSignal> signal;
            {
                const detail::LockGuard lock(mutex_);
                const auto& others = slot.task.others;
                if (slot.signal && which(slot.task) && std::all_of(others.begin(), others.end(), which)) {
                    signal = slot.signal;
                }
            }
            if (signal) each(signal);
        }
    }

    /// Calls `each(const ClaimedTask&)`, under the lock, for the running tasks that `which(const ClaimedTask&)` names,
    /// those of batches one by one.
    template <class Which, class Each>
    void look_at_running(Which&& which, Each&& each) const {
        const detail::LockGuard lock(mutex_);
        for (const Slot& slot : slots_) {
            if (!slot.signal) continue;
            if (which(slot.task)) each(slot.task);
            for (const detail::ClaimedTask& other : slot.task.others) {
                if (which(other)) each(other);
            }
        }
    }

private:
    struct Ready {
        detail::ClaimedTask task{};
        Steady::time_point offered{};
    };

    /// What one worker runs. `task` is changed by its worker alone, under the lock, and read by it without.
    struct Slot {
        Slot() noexcept = default;
        detail::ClaimedTask task{};
        Steady::time_point started{};
        std::shared_ptr<detail::StopSignal> signal{};  ///< null: idle
        std::atomic<bool> entered{false};              ///< the processor, or it is over
        std::condition_variable wake{};
        bool ending = false;    ///< the task has ended by a transaction of its own, or is about to
        bool parked = false;    ///< sleeps, and is in `parked_`
        bool taken = false;     ///< has a worker
        bool replaced = false;  ///< another worker runs in place of this one, which ends with its task
        std::jthread before{};  ///< the worker's thread that ended inside of a task
    };

    /// Around a task: whether it has returned. If not, its thread ends, and the stack is unwound past here.
    struct Entered {
        WorkerPool& pool;
        std::size_t worker;
        store::EndedAttempt finished;
        bool returned = false;

        ~Entered() {
            if (!returned) pool.succeed(worker, std::move(finished));
        }
    };

    /// Takes from a batch that waits those of its tasks that `which` names; if it names all of them, all but one.
    template <class Which>
    void withdraw_others_locked(Ready& ready, Which&& which, std::vector<detail::ClaimedTask>& taken)
        BACKLITE_REQUIRES(mutex_) {
        std::vector<detail::ClaimedTask>& others = ready.task.others;
        ready_others_ -= others.size();
        std::size_t kept = 0;
        for (detail::ClaimedTask& other : others) {
            if (which(std::as_const(other), ready.offered)) {
                taken.push_back(std::move(other));
            } else if (&others[kept++] != &other) {
                others[kept - 1] = std::move(other);
            }
        }
        others.erase(others.begin() + static_cast<std::ptrdiff_t>(kept), others.end());
        if (!others.empty() && which(std::as_const(ready.task), ready.offered)) {
            detail::ClaimedTask next = std::move(others.back());
            others.pop_back();
            next.others = std::move(others);
            ready_bytes_ += next.payload.size();
            ready_bytes_ -= ready.task.payload.size();
            taken.push_back(std::exchange(ready.task, std::move(next)));
            taken.back().others.clear();
        }
        ready_others_ += ready.task.others.size();
    }

    [[nodiscard]] std::size_t ready_count_locked() const noexcept BACKLITE_REQUIRES(mutex_) {
        return ready_.size() - next_ready_;
    }

    [[nodiscard]] bool paused_locked(std::size_t queue) const noexcept BACKLITE_REQUIRES(mutex_) {
        return paused_count_ > 0 && paused_[queue] > 0;
    }

    /// Brings the first ready task that may start to the front. False if there is none.
    bool find_next_locked() noexcept BACKLITE_REQUIRES(mutex_);

    /// Room for so many more than are promised to the workers that are kept free, and to the next claims.
    void make_room_locked(std::size_t more) BACKLITE_REQUIRES(mutex_) {
        const std::size_t needed = ready_count_locked() + reserved_ + expected_ + more;
        if (needed > ready_.capacity()) ready_.reserve((std::max)(needed + next_ready_, 2 * ready_.capacity()));
    }

    /// What a worker needs before it takes the next task: its signal, and room for the outcome, and those of a batch.
    /// False without memory.
    bool prepare_locked(std::shared_ptr<detail::StopSignal>& signal,
                        std::vector<detail::AttemptResult>& others) noexcept BACKLITE_REQUIRES(mutex_);

    void add_locked(detail::ClaimedTask task, Steady::time_point now) BACKLITE_REQUIRES(mutex_);

    /// The task has left the pool.
    void forget_locked(const detail::ClaimedTask& task) noexcept BACKLITE_REQUIRES(mutex_) {
        if (task.crashes > 0) --crashed_;
        if (task.last_chance) --last_chances_;
    }

    /// Wakes the worker that fell asleep last, which is warmer than the others. False if none sleeps: all look for
    /// ready tasks before they do.
    bool wake_one() noexcept;

    /// Sleeps until `wake_one` has chosen this worker, or the wait has been long enough.
    void park(Slot& slot, detail::UniqueLock& lock) BACKLITE_REQUIRES(mutex_);

    void close() noexcept;

    [[nodiscard]] std::jthread start_worker(std::size_t worker) {
        return platform::start_thread(own_, detail::format("backlite-w{}", {worker}), [this, worker] { run(worker); });
    }

    /// The last that the thread of a worker does if a task has ended it. While no other is to be had, its worker counts
    /// as an idle one.
    void succeed(std::size_t worker, store::EndedAttempt finished) noexcept;

    /// Whether the worker is to end: it has a replacement.
    [[nodiscard]] bool retire_locked(Slot& slot) noexcept BACKLITE_REQUIRES(mutex_);

    /// Whether to call for progress.
    [[nodiscard]] bool finish_locked(Slot& slot, store::EndedAttempt finished) noexcept BACKLITE_REQUIRES(mutex_);

    void run(std::size_t worker);

    static constexpr std::chrono::milliseconds without_memory{100};  ///< until a worker looks for some again
    static constexpr std::chrono::milliseconds late{1};  ///< from offer to start, for a worker that was idle
    static constexpr int unroused_after_late = 16;       ///< hand-overs

    // constant after construction
    const std::shared_ptr<platform::ThreadList> own_;
    const Clock& clock_;
    const Work work_;
    const std::function<void()> progress_;
    const detail::SafeLogger log_;

    mutable detail::Mutex mutex_{};
    std::vector<Slot> slots_;  ///< never moved: workers hold on to theirs; what is in them is guarded by mutex_
    /// Those that sleep; whoever makes a task ready wakes one of them.
    std::vector<Slot*> parked_ BACKLITE_GUARDED_BY(mutex_){};
    /// In the order in which they start; those before `next_ready_` have started.
    std::vector<Ready> ready_ BACKLITE_GUARDED_BY(mutex_){};
    std::size_t next_ready_ BACKLITE_GUARDED_BY(mutex_) = 0;
    detail::Us ready_work_ BACKLITE_GUARDED_BY(mutex_){};
    std::size_t ready_bytes_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::size_t ready_others_ BACKLITE_GUARDED_BY(mutex_) = 0;  ///< of batches: tasks beyond the first
    std::size_t running_others_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::vector<store::EndedAttempt> finished_ BACKLITE_GUARDED_BY(mutex_){};
    std::size_t workers_ BACKLITE_GUARDED_BY(mutex_);  ///< with those that are replaced and still run
    std::size_t idle_ BACKLITE_GUARDED_BY(mutex_) = workers_;
    std::size_t reserved_ BACKLITE_GUARDED_BY(mutex_) = 0;  ///< of the idle ones
    bool roused_ BACKLITE_GUARDED_BY(mutex_) = false;       ///< for the next task to start
    int unroused_ BACKLITE_GUARDED_BY(mutex_) = 0;          ///< so many hand-overs go without
    std::size_t expected_ BACKLITE_GUARDED_BY(mutex_) = 0;  ///< tasks that there is room for, and that may be offered
    std::size_t crashed_ BACKLITE_GUARDED_BY(mutex_) = 0;   ///< running or ready tasks that have crashed a process
    /// Running or ready tasks that may crash only once more.
    std::size_t last_chances_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::size_t low_water_ BACKLITE_GUARDED_BY(mutex_) = 0;
    Steady::time_point first_finished_ BACKLITE_GUARDED_BY(mutex_){};
    bool told_first_ BACKLITE_GUARDED_BY(mutex_) = false;
    bool told_low_ BACKLITE_GUARDED_BY(mutex_) = false;
    /// By queue: the first look at the file that may end its pause; 0: it is not paused.
    std::vector<std::uint64_t> paused_ BACKLITE_GUARDED_BY(mutex_);
    std::size_t paused_count_ BACKLITE_GUARDED_BY(mutex_) = 0;
    /// By queue: the first look at the file that may find it without limits; 0: it has none.
    std::vector<std::uint64_t> limited_ BACKLITE_GUARDED_BY(mutex_);
    bool held_ BACKLITE_GUARDED_BY(mutex_) = false;
    bool closing_ BACKLITE_GUARDED_BY(mutex_) = false;

    std::vector<std::jthread> threads_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/worker_pool.ipp>
#endif
