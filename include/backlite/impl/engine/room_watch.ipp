// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/room_watch.hpp>.

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/engine/room_watch.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL RoomWatch::Caller::Caller(RoomWatch& room, store::Store& store, std::stop_token stop, Duration interval,
                                        std::function<bool()> gives_up)
    : room_(room),
      store_(store),
      stop_(std::move(stop)),
      interval_(interval == Duration::zero() ? Duration{1'000} : interval),
      gives_up_(std::move(gives_up)) {
    ++room_.callers_;
    const detail::LockGuard lock(room_.mutex_);
    seen_ = room_.commits_;
}

BACKLITE_DECL RoomWatch::Caller::~Caller() {
    std::shared_ptr<store::CommitWatch> last;  // goes after the lock
    const detail::LockGuard lock(room_.mutex_);
    if (--room_.callers_ == 0) last = std::exchange(room_.watch_, nullptr);
}

BACKLITE_DECL bool RoomWatch::may_wait(std::span<const detail::NewTask> tasks) noexcept {
    return std::any_of(tasks.begin(), tasks.end(), [](const detail::NewTask& task) {
        return task.bounded != nullptr && task.bounded->overflow == Overflow::wait;
    });
}

BACKLITE_DECL bool RoomWatch::may_wait(std::span<const detail::NewTask> tasks, std::string_view queue) noexcept {
    const auto first = std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task.queue == queue; });
    return first != tasks.end() && may_wait({&*first, 1});
}

BACKLITE_DECL void RoomWatch::Caller::until_room(std::span<const detail::NewTask> tasks,
                                                 const std::function<void()>& attempt) {
    for (;;) {
        try {
            return attempt();
        } catch (const QueueFullError& full) {
            if (!may_wait(tasks, full.queue())) throw;
            if (wait()) continue;
            throw Cancelled(detail::format(
                "queue \"{}\" is full, and {}",
                {full.queue(), stop_.stop_requested() ? "the caller's stop token fired" : "this client does not run"}));
        }
    }
}

BACKLITE_DECL bool RoomWatch::Caller::wait() {
    const auto until = saturating_add(Steady::now(), detail::longest_wait());
    detail::UniqueLock lock(room_.mutex_);
    while (room_.commits_ == seen_ && !is_over() && Steady::now() < until) {
        if (room_.listens_) {
            const bool asks = stop_.stop_possible() || gives_up_;
            room_.told_.wait_until(lock.native(), asks ? (std::min)(until, Steady::now() + look_again) : until);
            continue;
        }
        room_.listens_ = true;
        lock.unlock(room_.mutex_);
        std::exception_ptr error;
        try {
            listen(until);
        } catch (...) {
            error = std::current_exception();
        }
        lock.lock(room_.mutex_);
        room_.listens_ = false;
        room_.told_.notify_all();  // the next one listens
        if (error) std::rethrow_exception(error);
    }
    seen_ = room_.commits_;
    return !is_over();
}

BACKLITE_DECL void RoomWatch::Caller::listen(Steady::time_point until) {
    const std::shared_ptr<store::CommitWatch> watch = room_.watch(store_);
    const std::stop_callback wakes(stop_, [&]() noexcept {
        if (watch) watch->wake();
    });
    for (Duration pause = first_pause;;) {
        // Also before the first wait: what was committed before the watch was there raised no event.
        store_.look();
        const auto now = Steady::now();
        if (room_.has_news(seen_) || is_over() || now >= until) return;
        Duration most = (std::min)(pause, std::chrono::ceil<Duration>(until - now));
        if (gives_up_ || !watch) most = (std::min)(most, look_again);
        if (!watch) {
            std::this_thread::sleep_for(most);
        } else if (watch->wait(most)) {
            // The event comes with the first page of a commit, before that can be seen: look again and again.
            watch->rest(first_pause);
            pause = first_pause;
        } else {
            pause = (std::min)(2 * pause, watch->active() ? detail::longest_wait() : interval_);
        }
    }
}

BACKLITE_DECL std::shared_ptr<store::CommitWatch> RoomWatch::watch(store::Store& store) {
    {
        const detail::LockGuard lock(mutex_);
        if (watch_) return watch_;
    }
    std::shared_ptr<store::CommitWatch> made = store.watch();
    const detail::LockGuard lock(mutex_);
    return watch_ = std::move(made);
}

BACKLITE_DECL void RoomWatch::tell() noexcept {
    const detail::LockGuard lock(mutex_);
    ++commits_;
    told_.notify_all();
    if (watch_) watch_->wake();
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
