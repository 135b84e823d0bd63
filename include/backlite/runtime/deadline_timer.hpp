// SPDX-License-Identifier: MIT
#pragma once
// Fires the stop tokens of attempts whose timeout has passed, on a thread that never waits on SQLite.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/clock.hpp>
#include <backlite/context.hpp>
#include <backlite/runtime/thread.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace runtime {

/// One deadline for each worker, at most. Threads: any. The destructor joins the thread.
class DeadlineTimer {
public:
    using Steady = std::chrono::steady_clock;

    DeadlineTimer(const void* engine, std::size_t workers, const Clock& clock)
        : clock_(clock), entries_(workers), thread_(start_thread(engine, "backlite-timer", [this] { run(); })) {}
    DeadlineTimer(const DeadlineTimer&) = delete;
    DeadlineTimer& operator=(const DeadlineTimer&) = delete;
    ~DeadlineTimer() {
        {
            const std::lock_guard lock(mutex_);
            closing_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }

    /// Lets `signal` fire with StopReason::timeout at `deadline`, unless the worker is disarmed before.
    void arm(std::size_t worker, Steady::time_point deadline, std::shared_ptr<StopSignal> signal) {
        bool sooner = false;
        {
            const std::lock_guard lock(mutex_);
            entries_[worker] = {deadline, std::move(signal)};
            sooner = deadline < next_;
        }
        if (sooner) changed_.notify_one();
    }

    void disarm(std::size_t worker) noexcept {
        const std::lock_guard lock(mutex_);
        entries_[worker] = {};  // the thread may wake for nothing: cheaper than waking it now
    }

private:
    struct Entry {
        Steady::time_point deadline = (Steady::time_point::max)();
        std::shared_ptr<StopSignal> signal{};
    };

    void run() noexcept {
        std::vector<std::shared_ptr<StopSignal>> due;
        std::unique_lock lock(mutex_);
        while (!closing_) {
            const auto now = clock_.steady_now();
            next_ = (Steady::time_point::max)();
            for (Entry& entry : entries_) {
                if (entry.signal && entry.deadline <= now) {
                    due.push_back(std::move(entry.signal));
                    entry = {};
                }
                next_ = (std::min)(next_, entry.deadline);
            }
            if (!due.empty()) {
                lock.unlock();  // a stop callback is user code
                for (const auto& signal : due) signal->fire(StopReason::timeout);
                due.clear();
                lock.lock();
                continue;
            }
            const auto cap = std::chrono::duration_cast<Steady::duration>(detail::longest_wait());
            changed_.wait_for(lock, next_ - now < cap ? next_ - now : cap);
        }
    }

    // constant after construction
    const Clock& clock_;

    std::mutex mutex_{};
    std::condition_variable changed_{};
    // guarded by mutex_
    std::vector<Entry> entries_;
    Steady::time_point next_ = (Steady::time_point::max)();
    bool closing_ = false;

    std::jthread thread_;
};

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
