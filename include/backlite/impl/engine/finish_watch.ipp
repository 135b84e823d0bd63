// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/finish_watch.hpp>.

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/base/times.hpp>
#include <backlite/engine/finish_watch.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/process.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL FinishWatch::Commit::Commit(FinishWatch& watch) noexcept : watch_(watch) {
    const detail::LockGuard lock(watch_.mutex_);
    number_ = watch_.next_number_++;
    previous_ = std::exchange(watch_.last_, this);
    (previous_ != nullptr ? previous_->next_ : watch_.first_) = this;
}

BACKLITE_DECL FinishWatch::Commit::~Commit() {
    bool settles = false;
    {
        const detail::LockGuard lock(watch_.mutex_);
        (previous_ != nullptr ? previous_->next_ : watch_.first_) = next_;
        (next_ != nullptr ? next_->previous_ : watch_.last_) = previous_;
        settles = watch_.settling_ > 0;
    }
    if (settles) watch_.settled_.notify_all();
}

BACKLITE_DECL void FinishWatch::Commit::ended(const Ended& task) noexcept {
    const detail::LockGuard lock(watch_.mutex_);
    watch_.ended_locked(task);
}

BACKLITE_DECL void FinishWatch::Commit::ended(const std::vector<store::EndedAttempt>& outcomes,
                                              const store::CyclePlan& plan, const store::CycleResult& result) noexcept {
    auto lost = result.lost_outcomes.begin();
    auto cancelled = result.cancelled_outcomes.begin();
    auto refused = result.refused_outcomes.begin();
    const detail::LockGuard lock(watch_.mutex_);
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const detail::AttemptResult& outcome = outcomes[i].resolved;
        if (refused != result.refused_outcomes.end() && refused->index == i) {
            ++refused;
        } else if (lost != result.lost_outcomes.end() && *lost == i) {
            ++lost;
        } else if (cancelled != result.cancelled_outcomes.end() && *cancelled == i) {
            ++cancelled;
            watch_.ended_locked({.id = &outcome.id, .status = TaskStatus::cancelled, .look = true});
        } else if (outcome.written) {
            continue;  // that was told
        } else if (outcome.resolution == detail::RowChange::complete) {
            watch_.ended_locked({&outcome.id, TaskStatus::succeeded, {}, outcome.keep_row});
        } else if (outcome.resolution == detail::RowChange::fail) {
            const bool expired = outcome.kind == detail::expired_kind;
            watch_.ended_locked(
                {&outcome.id, expired ? TaskStatus::expired : TaskStatus::failed, outcome.error, outcome.keep_row});
        }
    }
    for (const store::EndedTask& task : result.expired) {
        watch_.ended_locked({&task.id, TaskStatus::expired, detail::expired_error, plan.keep[task.queue].row});
    }
    const auto cancelled_all = [this](const auto& tasks) BACKLITE_REQUIRES(watch_.mutex_) {
        for (const auto& task : tasks) {
            watch_.ended_locked({.id = &task.id, .status = TaskStatus::cancelled, .look = true});
        }
    };
    cancelled_all(result.cancelled_children);
    for (const store::SlotResult& slot : result.slots) cancelled_all(slot.cancelled);
    // Of what was cancelled and lost its claim otherwise the result does not tell.
    if (plan.cancels || result.lapsed > 0) watch_.look_all_locked();
}

BACKLITE_DECL void FinishWatch::ended_locked(const Ended& task) noexcept {
    if (!task.kept) remember_locked(task);
    if (waiting_.load(std::memory_order_relaxed) > 0) tell_locked(task);
}

BACKLITE_DECL void FinishWatch::remember_locked(const Ended& task) noexcept {
    const std::string& text = task.id->str();
    if (text.size() > Remembered{}.text.size()) return;
    if (ring_.size() < most) {
        try {
            ring_.emplace_back();
        } catch (const std::bad_alloc&) {
            return;
        }
        next_remembered_ = ring_.size() - 1;
    }
    Remembered& place = ring_[next_remembered_];
    next_remembered_ = (next_remembered_ + 1) % most;
    std::memcpy(place.text.data(), text.data(), text.size());
    place.size = static_cast<std::uint8_t>(text.size());
    place.status = static_cast<std::uint8_t>(task.status);
}

BACKLITE_DECL TaskStatus FinishWatch::recall_locked(std::string_view id) const noexcept {
    // The latest first: an id may come again.
    for (std::size_t i = 0; i < ring_.size(); ++i) {
        const Remembered& task = ring_[(next_remembered_ + 2 * most - 1 - i) % most];
        if (id == std::string_view{task.text.data(), task.size}) return static_cast<TaskStatus>(task.status);
    }
    return TaskStatus::not_found;
}

BACKLITE_DECL void FinishWatch::tell_locked(const Ended& task) noexcept {
    const auto [first, last] = waiters_.equal_range(task.id->str());
    for (auto place = first; place != last; ++place) {
        place->second->told_ = task.status;
        place->second->changed_.notify_one();
    }
    if (callbacks_.empty()) return;
    try {
        const std::string& id = task.id->str();
        if (task.look && callbacks_.contains(id)) {
            to_find_.push_back(id);
            changed_.notify_one();
            return;
        }
        for (auto place = callbacks_.find(id); place != callbacks_.end(); place = callbacks_.find(id)) {
            due_.push_back({{*task.id, task.status, std::string{task.error}}, {}});
            due_.back().callback = std::move(place->second);
            callbacks_.erase(place);
            changed_.notify_one();
        }
    } catch (const std::bad_alloc&) {
        find_all_ = true;
        changed_.notify_one();
    }
}

BACKLITE_DECL void FinishWatch::look_all_locked() noexcept {
    for (auto& [id, waiter] : waiters_) {
        waiter->look_ = true;
        waiter->changed_.notify_one();
    }
    if (callbacks_.empty()) return;
    find_all_ = true;
    changed_.notify_one();
}

BACKLITE_DECL void FinishWatch::committed() noexcept {
    if (waiting_.load() == 0) return;
    const detail::LockGuard lock(mutex_);
    look_all_locked();
}

BACKLITE_DECL void FinishWatch::begin() noexcept {
    const detail::LockGuard lock(mutex_);
    told_of_commits_ = true;
    dispatcher_ = std::this_thread::get_id();
    look_all_locked();
}

BACKLITE_DECL void FinishWatch::end() noexcept {
    const detail::LockGuard lock(mutex_);
    told_of_commits_ = false;
    dispatcher_ = {};
    look_all_locked();
}

BACKLITE_DECL FinishWatch::Waiter::Waiter(FinishWatch& watch, const TaskId& id, std::stop_token stop)
    : watch_(watch), id_(id) {
    {
        const detail::LockGuard lock(watch_.mutex_);
        if (watch_.dispatcher_ == std::this_thread::get_id()) {
            throw UsageError("Client::wait: called on the dispatcher's thread, without which no task finishes");
        }
        watch_.waiters_.emplace(id_.str(), this);
        ++watch_.waiting_;
    }
    stop_.emplace(std::move(stop), Stop{*this});  // may call it at once, which takes the mutex
}

BACKLITE_DECL FinishWatch::Waiter::~Waiter() {
    stop_.reset();  // waits for the callback, which takes the mutex
    const detail::LockGuard lock(watch_.mutex_);
    const auto [first, last] = watch_.waiters_.equal_range(id_.str());
    watch_.waiters_.erase(std::find_if(first, last, [this](const auto& each) { return each.second == this; }));
    --watch_.waiting_;
}

BACKLITE_DECL void FinishWatch::Waiter::Stop::operator()() const noexcept {
    const detail::LockGuard lock(waiter.watch_.mutex_);
    waiter.stopped_ = true;
    waiter.changed_.notify_one();
    waiter.watch_.settled_.notify_all();
}

BACKLITE_DECL std::optional<TaskStatus> FinishWatch::Waiter::told() const {
    const detail::LockGuard lock(watch_.mutex_);
    return told_;
}

BACKLITE_DECL bool FinishWatch::Waiter::sleep(Steady::time_point until) {
    detail::UniqueLock lock(watch_.mutex_);
    const bool told_of_commits = watch_.told_of_commits_;
    const Duration most_pause = told_of_commits ? detail::longest_wait() : pause_;
    if (!told_of_commits) pause_ = (std::min)(2 * pause_, Duration{20});
    const Steady::time_point look_at = saturating_add(Steady::now(), most_pause);
    while (!told_ && !look_ && !stopped_) {
        const Steady::time_point now = Steady::now();
        if (now >= until) return false;
        if (now >= look_at) return true;
        changed_.wait_until(lock.native(), (std::min)(until, look_at));
    }
    look_ = false;
    return told_ || !stopped_;
}

BACKLITE_DECL std::optional<TaskStatus> FinishWatch::Waiter::missing(Steady::time_point until) {
    detail::UniqueLock lock(watch_.mutex_);
    const std::uint64_t number = watch_.next_number_;
    while (!told_ && watch_.runs_before_locked(number)) {
        const Steady::time_point now = Steady::now();
        if (stopped_ || now >= until) return std::nullopt;
        ++watch_.settling_;
        watch_.settled_.wait_until(lock.native(), (std::min)(until, saturating_add(now, detail::longest_wait())));
        --watch_.settling_;
    }
    return told_ ? told_ : watch_.recall_locked(id_.str());
}

BACKLITE_DECL std::optional<TaskStatus> FinishWatch::wait(const TaskId& id, Duration patience, std::stop_token stop,
                                                          const std::function<TaskStatus()>& status) {
    const Steady::time_point until = saturating_add(Steady::now(), patience);
    Waiter waiter(*this, id, std::move(stop));
    for (;;) {
        const TaskStatus now = status();
        if (now == TaskStatus::not_found) return waiter.missing(until);
        if (detail::has_ended(now)) return now;
        const bool in_time = waiter.sleep(until);
        if (const std::optional<TaskStatus> told = waiter.told()) return told;
        if (!in_time) return std::nullopt;
    }
}

BACKLITE_DECL void FinishWatch::on_finished(const TaskId& id, Callback callback) {
    const detail::LockGuard lock(mutex_);
    if (closed_) throw UsageError("Client::on_finished: the client has ended");
    if (!thread_.joinable()) {
        thread_ = platform::start_thread(own_, "backlite-fin", [self = shared_from_this()] { self->run(); });
    }
    to_find_.push_back(id.str());
    callbacks_.emplace(id.str(), std::move(callback));
    ++waiting_;
    changed_.notify_one();
}

BACKLITE_DECL void FinishWatch::run() {
    detail::UniqueLock lock(mutex_);
    for (;;) {
        if (closed_ && Steady::now() >= end_) break;
        if (next_due_ < due_.size()) {
            call_one(lock);
        } else if (closed_) {
            break;
        } else if (!to_find_.empty() || find_all_) {
            look(lock);
        } else {
            due_.clear();
            next_due_ = 0;
            const Duration again{100};  // a look that has failed is tried again
            changed_.wait_for(lock.native(), failed_ ? again : detail::longest_wait());
            if (std::exchange(failed_, false)) find_all_ = !callbacks_.empty();
        }
    }
    const std::size_t uncalled = due_.size() - next_due_;
    std::vector<Due> dropped = std::exchange(due_, {});
    next_due_ = 0;
    waiting_ -= uncalled;
    lock.unlock();
    if (uncalled == 0) return;
    log_(LogLevel::warning, "callbacks not called: the client has ended, and those before them are too slow",
         {{"callbacks", uncalled}});
}

BACKLITE_DECL void FinishWatch::call_one(detail::UniqueLock& lock) {
    Due due = std::move(due_[next_due_++]);
    --waiting_;
    lock.unlock(mutex_);
    call(due);
    due = {};  // what it holds is the host's
    lock.lock(mutex_);
}

BACKLITE_DECL bool FinishWatch::next_to_find(std::string& id) {
    if (to_find_.empty() && std::exchange(find_all_, false)) {
        for (const auto& each : callbacks_) to_find_.push_back(each.first);
    }
    if (to_find_.empty()) return false;
    id = std::move(to_find_.back());
    to_find_.pop_back();
    return true;
}

BACKLITE_DECL void FinishWatch::look(detail::UniqueLock& lock) {
    try {
        std::string id;
        if (!next_to_find(id) || !callbacks_.contains(id)) return;
        lock.unlock(mutex_);
        FinishedTask found;
        try {
            found = look_up_(TaskId::from_text(id));
        } catch (...) {
            lock.lock(mutex_);
            throw;
        }
        lock.lock(mutex_);
        if (found.status == TaskStatus::not_found) {
            const std::uint64_t number = next_number_;
            while (runs_before_locked(number) && !closed_) {
                ++settling_;
                settled_.wait_for(lock.native(), detail::longest_wait());
                --settling_;
            }
            found.status = recall_locked(id);
        }
        if (!detail::has_ended(found.status)) return;
        const Ended ended{&found.id, found.status, found.error};
        tell_locked(ended);
    } catch (const std::exception&) {  // no memory, or the file could not be read
        failed_ = true;
    }
}

BACKLITE_DECL void FinishWatch::call(const Due& due) {
    std::string thrown;
    try {
        due.callback(due.task);
    } catch (platform::ForcedUnwind&) {
        throw;
    } catch (const std::exception& error) {
        const char* const text = error.what();
        thrown = detail::format_or_say("{}", {text == nullptr ? "an exception without a text" : text});
    } catch (...) {
        thrown = detail::format_or_say("an exception that is no std::exception", {});
    }
    platform::refuse_cancellation();  // it may have turned it on
    if (guard_.forked()) {
        platform::end_process(
            "backlite: a callback returned in a forked child; the child ends here (call exec or _exit in it)\n");
    }
    if (thrown.empty()) return;
    log_(LogLevel::failure, "a callback of on_finished throws", {{"id", due.task.id.str()}, {"error", thrown}});
}

BACKLITE_DECL void FinishWatch::close() noexcept {
    std::unordered_multimap<std::string, Callback> dropped;  // what they hold is the host's, and goes without the lock
    std::jthread thread;
    {
        const detail::LockGuard lock(mutex_);
        if (!closed_) end_ = saturating_add(Steady::now(), end_patience);
        closed_ = true;
        (dropped.swap)(callbacks_);
        waiting_ -= dropped.size();
        to_find_.clear();
        find_all_ = false;
        thread = std::move(thread_);
        look_all_locked();
    }
    changed_.notify_one();
    settled_.notify_all();
    dropped.clear();
    if (!thread.joinable()) return;
    if (thread.get_id() == std::this_thread::get_id()) {
        thread.detach();
    } else {
        thread.join();
    }
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
