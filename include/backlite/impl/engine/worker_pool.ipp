// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/worker_pool.hpp>.

#include <backlite/engine/worker_pool.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL WorkerPool::WorkerPool(std::shared_ptr<platform::ThreadList> own, std::size_t workers, const Clock& clock,
                                     Work work, std::function<void()> progress, detail::SafeLogger log,
                                     std::size_t queues, std::size_t places)
    : own_(std::move(own)),
      clock_(clock),
      work_(std::move(work)),
      progress_(std::move(progress)),
      log_(std::move(log)),
      slots_((std::max)(workers, places)),
      workers_(workers),
      paused_(queues),
      limited_(queues) {
    parked_.reserve(slots_.size());
    threads_.resize(slots_.size());
    try {
        for (std::size_t i = 0; i < workers; ++i) {
            slots_[i].taken = true;
            threads_[i] = start_worker(i);
        }
    } catch (...) {
        close();  // no destructor runs, and the threads that were made would be waited for in vain
        throw;
    }
}

BACKLITE_DECL bool WorkerPool::reserve(std::size_t queue) {
    const detail::LockGuard lock(mutex_);
    if (held_ || paused_locked(queue) || (queue < limited_.size() && limited_[queue] > 0)) return false;
    if (reserved_ + ready_count_locked() >= idle_) return false;
    make_room_locked(1);
    ++reserved_;
    return true;
}

BACKLITE_DECL bool WorkerPool::rouse() noexcept {
    Slot* slot = nullptr;
    {
        const detail::LockGuard lock(mutex_);
        if (unroused_ > 0) {
            --unroused_;
            return false;
        }
        if (parked_.empty()) return false;
        slot = parked_.back();
        roused_ = true;
    }
    slot->wake.notify_one();
    return true;
}

BACKLITE_DECL void WorkerPool::offer_reserved(detail::ClaimedTask task) {
    bool held = false;
    {
        const detail::LockGuard lock(mutex_);
        --reserved_;
        add_locked(std::move(task), clock_.steady_now());
        held = held_;
    }
    (void)wake_one();
    if (held) progress_();
}

BACKLITE_DECL void WorkerPool::cancel_reservation() {
    {
        const detail::LockGuard lock(mutex_);
        --reserved_;
    }
    progress_();
}

BACKLITE_DECL void WorkerPool::make_room(std::size_t tasks) {
    const detail::LockGuard lock(mutex_);
    make_room_locked(tasks);
    expected_ = (std::max)(expected_, tasks);
}

BACKLITE_DECL void WorkerPool::offer(std::vector<detail::ClaimedTask> tasks) {
    if (tasks.empty()) return;
    {
        const detail::LockGuard lock(mutex_);
        const auto now = clock_.steady_now();
        for (detail::ClaimedTask& task : tasks) add_locked(std::move(task), now);
        expected_ = 0;
        low_water_ = ready_count_locked() * 5 / 8;
    }
    for (std::size_t i = 0; i < tasks.size() && wake_one(); ++i) {
    }
}

BACKLITE_DECL void WorkerPool::pause(std::size_t queue, std::uint64_t look) noexcept {
    const detail::LockGuard lock(mutex_);
    if (paused_[queue] == 0) ++paused_count_;
    paused_[queue] = (std::max)({paused_[queue], look, std::uint64_t{1}});
}

BACKLITE_DECL void WorkerPool::found_paused(std::size_t queue, bool paused, std::uint64_t look) noexcept {
    if (paused) return pause(queue, 1);
    {
        const detail::LockGuard lock(mutex_);
        if (paused_[queue] == 0 || look < paused_[queue]) return;
        paused_[queue] = 0;
        --paused_count_;
    }
    while (wake_one()) {  // tasks of the queue may be ready
    }
}

BACKLITE_DECL void WorkerPool::found_limited(std::size_t queue, bool limited, std::uint64_t look) noexcept {
    const detail::LockGuard lock(mutex_);
    if (limited) {
        limited_[queue] = (std::max)(limited_[queue], std::uint64_t{1});
    } else if (look >= limited_[queue]) {
        limited_[queue] = 0;
    }
}

BACKLITE_DECL void WorkerPool::await_entered(std::size_t queue) const noexcept {
    const auto outside = [&](const Slot& slot) {
        const detail::LockGuard lock(mutex_);
        return slot.signal && slot.task.queue == queue && !slot.entered.load(std::memory_order_acquire);
    };
    for (const Slot& slot : slots_) {
        while (outside(slot)) std::this_thread::sleep_for(std::chrono::microseconds{20});
    }
}

BACKLITE_DECL std::vector<store::EndedAttempt> WorkerPool::take_finished() {
    std::vector<store::EndedAttempt> finished;
    take_finished(finished);
    return finished;
}

BACKLITE_DECL void WorkerPool::take_finished(std::vector<store::EndedAttempt>& all) {
    all.reserve(slots_.size());  // it may become the place for what runs
    const detail::LockGuard lock(mutex_);
    if (all.empty() && all.capacity() >= workers_ - idle_ + running_others_) {
        (std::swap)(all, finished_);
    } else {
        all.reserve(all.size() + finished_.size());
        std::move(finished_.begin(), finished_.end(), std::back_inserter(all));
        finished_.clear();
    }
    told_first_ = told_low_ = false;
}

BACKLITE_DECL auto WorkerPool::load() const -> Load {
    const detail::LockGuard lock(mutex_);
    const std::size_t idle = idle_ - (std::min)(idle_, reserved_);
    Load load{.idle = idle,
              .running = workers_ - idle,
              .ready = ready_count_locked(),
              .ready_others = ready_others_,
              .ready_work = ready_work_,
              .ready_bytes = ready_bytes_,
              .finished = finished_.size()};
    load.low = load.ready <= low_water_;
    if (!finished_.empty()) load.oldest_finished = first_finished_;
    if (load.ready > 0) load.oldest_ready = ready_[next_ready_].offered;
    load.crashed = crashed_ > 0;
    load.last_chance = last_chances_ > 0;
    return load;
}

BACKLITE_DECL std::vector<core::RunningTask> WorkerPool::running() const {
    std::vector<core::RunningTask> tasks;
    const detail::LockGuard lock(mutex_);
    for (const Slot& slot : slots_) {
        if (!slot.signal) continue;
        tasks.push_back({slot.task.id, slot.task.claim, slot.task.queue, slot.task.crashes, slot.started, slot.signal});
    }
    return tasks;
}

BACKLITE_DECL std::vector<detail::ClaimKey> WorkerPool::claims() const {
    std::vector<detail::ClaimKey> claims;
    const detail::LockGuard lock(mutex_);
    for (const Slot& slot : slots_) {
        if (!slot.signal) continue;
        if (!slot.ending) claims.push_back({slot.task.id, slot.task.claim});
        for (const detail::ClaimedTask& other : slot.task.others) claims.push_back({other.id, other.claim});
    }
    for (std::size_t i = next_ready_; i < ready_.size(); ++i) {
        claims.push_back({ready_[i].task.id, ready_[i].task.claim});
        for (const detail::ClaimedTask& other : ready_[i].task.others) claims.push_back({other.id, other.claim});
    }
    return claims;
}

BACKLITE_DECL bool WorkerPool::is_ending(const detail::ClaimKey& claim) const noexcept {
    const detail::LockGuard lock(mutex_);
    return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
        return slot.signal && slot.ending && slot.task.claim == claim.number && slot.task.id == claim.id;
    });
}

BACKLITE_DECL bool WorkerPool::find_next_locked() noexcept {
    if (ready_count_locked() == 0) return false;
    if (paused_count_ == 0) return true;
    const auto first = ready_.begin() + static_cast<std::ptrdiff_t>(next_ready_);
    const auto next = std::find_if(first, ready_.end(), [this](const Ready& ready) BACKLITE_REQUIRES(mutex_) {
        return !paused_locked(ready.task.queue);
    });
    if (next == ready_.end()) return false;
    std::rotate(first, next, next + 1);
    return true;
}

BACKLITE_DECL bool WorkerPool::prepare_locked(std::shared_ptr<detail::StopSignal>& signal,
                                              std::vector<detail::AttemptResult>& others) noexcept {
    try {
        if (!signal) signal = std::make_shared<detail::StopSignal>();
        others.resize(ready_[next_ready_].task.others.size());
        const std::size_t needed = finished_.size() + (workers_ - idle_) + 1 + running_others_ + others.size();
        if (needed > finished_.capacity()) finished_.reserve(2 * needed);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

BACKLITE_DECL void WorkerPool::add_locked(detail::ClaimedTask task, Steady::time_point now) {
    if (next_ready_ > 0 && (next_ready_ == ready_.size() || ready_.size() == ready_.capacity())) {
        ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(std::exchange(next_ready_, 0)));
    }
    ready_work_ += task.cost;
    ready_bytes_ += task.payload.size();
    ready_others_ += task.others.size();
    if (task.crashes > 0) ++crashed_;
    if (task.last_chance) ++last_chances_;
    ready_.push_back({std::move(task), now});
}

BACKLITE_DECL bool WorkerPool::wake_one() noexcept {
    Slot* slot = nullptr;
    {
        const detail::LockGuard lock(mutex_);
        if (parked_.empty()) return false;
        slot = parked_.back();
        parked_.pop_back();
        slot->parked = false;
    }
    slot->wake.notify_one();  // after the lock: whoever wakes would have to wait for it
    return true;
}

BACKLITE_DECL void WorkerPool::park(Slot& slot, detail::UniqueLock& lock) {
    parked_.push_back(&slot);
    slot.parked = true;
    slot.wake.wait_for(lock.native(), detail::longest_wait(), [&slot] { return !slot.parked; });
    if (std::exchange(slot.parked, false)) std::erase(parked_, &slot);
}

BACKLITE_DECL void WorkerPool::close() noexcept {
    {
        const detail::LockGuard lock(mutex_);
        closing_ = true;
    }
    while (wake_one()) {
    }
    threads_.clear();  // joins
}

BACKLITE_DECL void WorkerPool::succeed(std::size_t worker, store::EndedAttempt finished) noexcept {
    Slot& slot = slots_[worker];
    detail::UniqueLock lock(mutex_);
    const bool tell = finish_locked(slot, std::move(finished));
    const bool over = retire_locked(slot);
    lock.unlock();
    if (tell) progress_();
    if (over) return;
    lock.lock();
    for (bool told = false; !closing_;) {
        try {
            slot.before = std::exchange(threads_[worker], start_worker(worker));
            return;
        } catch (const std::exception& error) {
            lock.unlock();
            if (!std::exchange(told, true)) {
                log_(LogLevel::warning, "a task has ended its worker's thread, and there is no other yet",
                     {{"error", error.what()}});
            }
            lock.lock();
        }
        slot.wake.wait_for(lock.native(), without_memory);
    }
}

BACKLITE_DECL bool WorkerPool::finish_locked(Slot& slot, store::EndedAttempt finished) noexcept {
    forget_locked(slot.task);
    std::vector<detail::AttemptResult> others = std::move(finished.resolved.others);
    finished.resolved.id = std::move(slot.task.id);
    finished_.push_back(std::move(finished));
    running_others_ -= others.size();
    for (std::size_t i = 0; i < others.size(); ++i) {
        detail::ClaimedTask& task = slot.task.others[i];
        others[i].id = std::move(task.id);
        finished_.push_back({std::move(others[i]), task.queue, task.due});
    }
    slot.task.others.clear();
    slot.signal.reset();
    ++idle_;
    // Two calls for a batch: when its first outcome is there, and when more tasks are needed.
    const bool low = ready_count_locked() <= low_water_;
    const bool tell = !told_first_ || (low && !told_low_);
    if (!std::exchange(told_first_, true)) first_finished_ = clock_.steady_now();
    told_low_ = told_low_ || low;
    return tell;
}

BACKLITE_DECL bool WorkerPool::replace(const detail::ClaimKey& claim) noexcept {
    {
        const detail::LockGuard lock(mutex_);
        if (held_ || closing_) return false;
        const auto stuck = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& slot) {
            return slot.signal && !slot.replaced && slot.task.claim == claim.number && slot.task.id == claim.id;
        });
        const auto place = std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.taken; });
        if (stuck == slots_.end() || place == slots_.end()) return false;
        const auto worker = static_cast<std::size_t>(place - slots_.begin());
        try {
            // It joins the one that had the place, and has given that back.
            place->before = std::exchange(threads_[worker], start_worker(worker));
        } catch (const std::exception&) {
            return false;
        }
        place->taken = stuck->replaced = true;
        ++workers_;
        ++idle_;
    }
    progress_();
    return true;
}

BACKLITE_DECL bool WorkerPool::retire_locked(Slot& slot) noexcept {
    if (!slot.replaced) return false;
    slot.replaced = slot.taken = false;
    --workers_;
    --idle_;
    return true;
}

BACKLITE_DECL void WorkerPool::run(std::size_t worker) {
    Slot& slot = slots_[worker];
    std::shared_ptr<detail::StopSignal> signal;
    std::vector<detail::AttemptResult> others;
    { const detail::LockGuard lock(mutex_); }  // now `before` is set, if it is to be
    slot.before = {};                          // joins
    detail::UniqueLock lock(mutex_);
    for (;;) {
        if (held_ || !find_next_locked()) {
            if (closing_) return;
            park(slot, lock);
            continue;
        }
        if (!prepare_locked(signal, others)) {
            slot.wake.wait_for(lock.native(), without_memory);
            continue;
        }
        Ready& ready = ready_[next_ready_++];
        slot.task = std::move(ready.task);
        ready_work_ -= slot.task.cost;
        ready_bytes_ -= slot.task.payload.size();
        ready_others_ -= others.size();
        running_others_ += others.size();
        slot.started = clock_.steady_now();
        if (std::exchange(roused_, false) && slot.started - ready.offered > late) unroused_ = unroused_after_late;
        slot.signal = std::exchange(signal, nullptr);
        slot.entered.store(false, std::memory_order_relaxed);
        slot.ending = false;
        --idle_;
        lock.unlock();
        Entered entered{*this, worker, {{}, slot.task.queue, slot.task.due}};
        entered.finished.resolved.others = std::exchange(others, {});
        work_(worker, slot.task, slot.signal, entered.finished.resolved);
        entered.returned = true;
        lock.lock();
        const bool tell = finish_locked(slot, std::move(entered.finished));
        const bool over = retire_locked(slot);
        if (!tell && !over) continue;
        lock.unlock();
        if (tell) progress_();
        if (over) return;
        lock.lock();
    }
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
