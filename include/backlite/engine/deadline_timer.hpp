// SPDX-License-Identifier: MIT
#pragma once
// Fires the stop tokens of attempts: when their timeout has passed, and when others ask for it. Never waits on SQLite.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/clock.hpp>
#include <backlite/context.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/platform/wakeup.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// One deadline for each worker, at most. A stop callback is user code, and may take long: whoever fires a token leaves
/// the clock to another thread, which is made if there is none. So one slow callback keeps no other token from firing,
/// and costs a thread.
/// Threads: any.
class DeadlineTimer {
public:
    using Steady = std::chrono::steady_clock;

    /// `woken`: called on a thread of the timer, without a lock, after `wake` and perhaps at other times. It must
    /// neither wait nor throw. Errors: Error if the system has no thread or descriptor to give.
    DeadlineTimer(std::shared_ptr<platform::ThreadList> own, std::size_t workers, const Clock& clock,
                  std::function<void()> woken = {})
        : own_(std::move(own)), clock_(clock), woken_(std::move(woken)), entries_(workers) {
        const detail::LockGuard lock(mutex_);
        add_thread_locked();
    }
    DeadlineTimer(const DeadlineTimer&) = delete;
    DeadlineTimer& operator=(const DeadlineTimer&) = delete;
    ~DeadlineTimer() { close(); }

    /// Joins the threads: from then on nothing fires. REQUIRES: on none of them.
    void close();

    /// Has a thread of the timer call `woken`. Lock-free, so that a hard stop may be requested anywhere.
    void wake() noexcept { changed_.wake(); }

    /// Lets `signal` fire with StopReason::timeout at `deadline`, unless the worker is disarmed before.
    void arm(std::size_t worker, Steady::time_point deadline, std::shared_ptr<detail::StopSignal> signal);

    void disarm(std::size_t worker) noexcept {
        const detail::LockGuard lock(mutex_);
        entries_[worker] = {};  // the thread may wake for nothing: cheaper than waking it now
    }

    /// Lets `signal` fire now, on a thread of the timer. Needs no memory.
    void fire(const std::shared_ptr<detail::StopSignal>& signal, StopReason reason) noexcept;

private:
    struct Entry {
        Steady::time_point deadline = (Steady::time_point::max)();
        std::shared_ptr<detail::StopSignal> signal{};
    };

    /// Nothing, if it is about to fire: the first reason counts.
    void enqueue_locked(std::shared_ptr<detail::StopSignal> signal, StopReason reason) noexcept
        BACKLITE_REQUIRES(mutex_);

    void add_thread_locked() BACKLITE_REQUIRES(mutex_);

    void run() noexcept;

    void collect_locked(Steady::time_point now) BACKLITE_REQUIRES(mutex_);

    /// The lock is held at entry and at exit, not in between.
    void fire_first(detail::UniqueLock& lock) noexcept BACKLITE_REQUIRES(mutex_);

    // constant after construction
    const std::shared_ptr<platform::ThreadList> own_;
    const Clock& clock_;
    const std::function<void()> woken_;

    platform::Wakeup changed_{};
    detail::Mutex mutex_{};
    std::vector<Entry> entries_ BACKLITE_GUARDED_BY(mutex_);
    std::shared_ptr<detail::StopSignal> first_ BACKLITE_GUARDED_BY(mutex_){};  ///< of those to be fired: a list
    detail::StopSignal* last_ BACKLITE_GUARDED_BY(mutex_) = nullptr;           ///< of the same
    Steady::time_point next_ BACKLITE_GUARDED_BY(mutex_) = (Steady::time_point::max)();
    std::size_t free_ BACKLITE_GUARDED_BY(mutex_) = 0;  ///< threads that run no callback
    bool closing_ BACKLITE_GUARDED_BY(mutex_) = false;
    std::vector<std::jthread> threads_ BACKLITE_GUARDED_BY(mutex_){};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/deadline_timer.ipp>
#endif
