// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/deadline_timer.hpp>.

#include <backlite/engine/deadline_timer.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL void DeadlineTimer::close() {
    std::vector<std::jthread> threads;
    {
        const detail::LockGuard lock(mutex_);
        closing_ = true;
        threads = std::exchange(threads_, {});
        while (first_) first_ = std::move(first_->place().next);
    }
    changed_.wake();  // one of them, who wakes the next
}

BACKLITE_DECL void DeadlineTimer::arm(std::size_t worker, Steady::time_point deadline,
                                      std::shared_ptr<detail::StopSignal> signal) {
    bool sooner = false;
    {
        const detail::LockGuard lock(mutex_);
        entries_[worker] = {deadline, std::move(signal)};
        sooner = deadline < next_;
    }
    if (sooner) changed_.wake();
}

BACKLITE_DECL void DeadlineTimer::fire(const std::shared_ptr<detail::StopSignal>& signal, StopReason reason) noexcept {
    {
        const detail::LockGuard lock(mutex_);
        enqueue_locked(signal, reason);
    }
    changed_.wake();
}

BACKLITE_DECL void DeadlineTimer::enqueue_locked(std::shared_ptr<detail::StopSignal> signal,
                                                 StopReason reason) noexcept {
    if (signal->place().reason != StopReason::none) return;
    signal->place().reason = reason;
    detail::StopSignal* const before = std::exchange(last_, signal.get());
    (first_ ? before->place().next : first_) = std::move(signal);
}

BACKLITE_DECL void DeadlineTimer::add_thread_locked() {
    // Now: a thread that there is no place for would be waited for, under the lock.
    threads_.reserve(threads_.size() + 1);
    threads_.push_back(platform::start_thread(own_, "backlite-timer", [this]() noexcept { run(); }));
    ++free_;
}

BACKLITE_DECL void DeadlineTimer::run() noexcept {
    detail::UniqueLock lock(mutex_);
    while (!closing_) {
        const auto now = clock_.steady_now();
        collect_locked(now);
        if (first_) {
            fire_first(lock);
            continue;
        }
        const auto cap = std::chrono::duration_cast<Steady::duration>(detail::longest_wait());
        const auto pause = next_ - now < cap ? next_ - now : cap;
        lock.unlock(mutex_);
        changed_.wait(pause);
        if (woken_) woken_();
        lock.lock(mutex_);
    }
    changed_.wake();  // for the next of them
}

BACKLITE_DECL void DeadlineTimer::collect_locked(Steady::time_point now) {
    next_ = (Steady::time_point::max)();
    for (Entry& entry : entries_) {
        if (entry.signal && entry.deadline <= now) {
            enqueue_locked(std::move(entry.signal), StopReason::timeout);
            entry = {};
        }
        next_ = (std::min)(next_, entry.deadline);
    }
}

BACKLITE_DECL void DeadlineTimer::fire_first(detail::UniqueLock& lock) noexcept {
    const std::shared_ptr<detail::StopSignal> signal = std::move(first_);
    first_ = std::move(signal->place().next);
    const StopReason reason = std::exchange(signal->place().reason, StopReason::none);
    if (--free_ == 0) {
        try {
            add_thread_locked();
        } catch (...) {  // none to be had: the others wait for this callback after all
        }
    }
    lock.unlock(mutex_);
    changed_.wake();
    signal->fire(reason);
    lock.lock(mutex_);
    ++free_;
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
