// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/event_relay.hpp>.

#include <algorithm>
#include <exception>
#include <string>
#include <string_view>

#include <backlite/base/format.hpp>
#include <backlite/engine/event_relay.hpp>
#include <backlite/platform/process.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL void EventQueue::push(Event event) noexcept {
    bool rouse = false;
    {
        const detail::LockGuard lock(mutex_);
        if (adds_ != nullptr) push_added_locked(event.task_id);
        push_locked(std::move(event));
        rouse = rouse_locked();
    }
    if (rouse) changed_.notify_one();
}

BACKLITE_DECL void EventQueue::push_added_locked(const TaskId& id) noexcept {
    for (PendingAdds* adds = adds_; adds != nullptr; adds = adds->next_) {
        PendingAdds::Task* const task = adds->find(id);
        if (task == nullptr || std::exchange(task->told, true)) continue;
        task->event.time = clock_->now();
        try {
            push_locked(task->event);
        } catch (const std::bad_alloc&) {
            ++dropped_;
        }
    }
}

BACKLITE_DECL void EventQueue::drop(std::size_t events) noexcept {
    bool rouse = false;
    {
        const detail::LockGuard lock(mutex_);
        dropped_ += events;
        rouse = rouse_locked();
    }
    if (rouse) changed_.notify_one();
}

BACKLITE_DECL void EventQueue::push_locked(Event event) noexcept {
    if (closed_) return;
    // One place more for the number of those that were dropped.
    if (waiting_locked() + (dropped_ > 0 ? 1 : 0) >= most) {
        ++dropped_;
        return;
    }
    if (next_ == events_.size() || next_ >= most) {
        events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(std::exchange(next_, 0)));
    }
    try {
        if (events_.capacity() < events_.size() + 2) events_.reserve(2 * events_.size() + 2);
    } catch (const std::bad_alloc&) {
        ++dropped_;
        return;
    }
    if (dropped_ > 0) events_.push_back(dropped_event_locked());
    events_.push_back(std::move(event));
}

BACKLITE_DECL Event EventQueue::dropped_event_locked() noexcept {
    Event event{.kind = EventKind::dropped, .time = clock_->now()};
    event.count = static_cast<std::int64_t>(std::exchange(dropped_, 0));
    return event;
}

BACKLITE_DECL std::optional<Event> EventQueue::take_locked() noexcept {
    if (next_ < events_.size()) return std::move(events_[next_++]);
    if (dropped_ > 0) return dropped_event_locked();
    return std::nullopt;
}

BACKLITE_DECL void EventQueue::close(Steady::time_point end) noexcept {
    {
        const detail::LockGuard lock(mutex_);
        closed_ = true;
        end_ = end;
    }
    changed_.notify_one();
}

BACKLITE_DECL void EventQueue::run() {
    detail::UniqueLock lock(mutex_);
    for (;;) {
        if (closed_ && Steady::now() >= end_) break;
        if (const std::optional<Event> event = take_locked()) {
            lock.unlock();
            tell(*event);
            lock.lock();
        } else if (closed_) {
            return;
        } else {
            asleep_ = true;
            changed_.wait_for(lock.native(), detail::longest_wait());
            asleep_ = false;
        }
    }
    const std::size_t untold = waiting_locked() + dropped_;
    lock.unlock();
    if (untold == 0) return;
    log_(LogLevel::warning, "events not told: the client has ended, and its observers are too slow",
         {{"events", untold}});
}

BACKLITE_DECL void EventQueue::tell(const Event& event) {
    for (const auto& observer : observers_) {
        std::string thrown;
        try {
            observer(event);
            continue;
        } catch (platform::ForcedUnwind&) {
            throw;
        } catch (const std::exception& error) {
            thrown = detail::format_or_say("{}", {error.what()});
        } catch (...) {
            thrown = detail::format_or_say("an exception that is no std::exception", {});
        }
        if (std::exchange(broken_told_, true)) continue;
        log_(LogLevel::failure, "an observer throws", {{"event", to_string(event.kind)}, {"error", thrown}});
    }
    platform::refuse_cancellation();  // an observer may have turned it on
    if (guard_.forked()) {
        platform::end_process(
            "backlite: an observer returned in a forked child; the child ends here (call exec or _exit in it)\n");
    }
}

BACKLITE_DECL EventRelay::EventRelay(std::shared_ptr<platform::ThreadList> own, Observers observers,
                                     std::shared_ptr<const Clock> clock, detail::SafeLogger log)
    : clock_(std::move(clock)),
      queue_(std::make_shared<EventQueue>(std::move(observers), clock_, std::move(log))),
      thread_(platform::start_thread(std::move(own), "backlite-obs", [queue = queue_] { queue->run(); })) {}

BACKLITE_DECL void EventRelay::tell(const store::Rescued& rescued) noexcept {
    if (rescued.claims > 0) tell(EventKind::rescued, [&](Event& event) { event.count = rescued.claims; });
    for (const store::Rescued::Task& task : rescued.crashed) {
        tell(EventKind::crashed, [&](Event& event) {
            event.queue = task.queue;
            event.task_id = TaskId::from_text(task.id);
        });
    }
}

BACKLITE_DECL void EventRelay::tell(const std::vector<store::EndedChild>& cancelled) noexcept {
    for (const store::EndedChild& child : cancelled) {
        tell(EventKind::cancelled, [&](Event& event) {
            event.queue = child.queue;
            event.task_id = child.id;
        });
    }
}

BACKLITE_DECL void EventRelay::tell(const store::SlotPlan& plan, const store::SlotResult& result) noexcept {
    for (const store::SlotEnded& ended : result.cancelled) {
        tell(EventKind::cancelled, [&](Event& event) {
            event.queue = ended.queue;
            event.task_id = ended.id;
        });
    }
    for (const store::SlotAdded& added : result.added) {
        tell(EventKind::added, [&](Event& event) {
            event.queue = plan.seen->queue;
            event.task_id = added.id;
            event.due = detail::from_ms(added.due);
        });
    }
}

BACKLITE_DECL void EventRelay::close() noexcept {
    if (!thread_.joinable()) return;
    queue_->close(saturating_add(EventQueue::Steady::now(), end_patience));
    if (thread_.get_id() == std::this_thread::get_id()) {
        thread_.detach();
    } else {
        thread_.join();
    }
}

BACKLITE_DECL DroppedTasks::~DroppedTasks() {
    for (const store::DroppedTask& each : list_) {
        relay_->tell(EventKind::cancelled, [&](Event& event) {
            event.queue = each.queue;
            event.task_id = each.id;
        });
    }
}

BACKLITE_DECL PendingAdds::PendingAdds(EventRelay* relay, const SQLite::Database* connection) noexcept
    : relay_(relay), connection_(connection) {
    if (relay_ == nullptr) return;
    EventQueue& queue = *relay_->queue_;
    const detail::LockGuard lock(queue.mutex_);
    next_ = std::exchange(queue.adds_, this);
    if (next_ != nullptr) next_->previous_ = this;
}

BACKLITE_DECL PendingAdds::~PendingAdds() {
    if (relay_ == nullptr) return;
    EventQueue& queue = *relay_->queue_;
    const detail::LockGuard lock(queue.mutex_);
    (previous_ != nullptr ? previous_->next_ : queue.adds_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
}

BACKLITE_DECL void PendingAdds::take(std::span<const detail::NewTask> tasks, std::optional<detail::Ms> wait_until,
                                     detail::Ms now) noexcept {
    if (relay_ == nullptr) return;
    const TimePoint due = detail::from_ms(wait_until ? (std::max)(*wait_until, now) : now);
    for (const detail::NewTask& task : tasks) {
        if (!task.inserted()) continue;
        if (tasks_.size() >= EventQueue::most) {  // no more than that can be told
            ++beyond_;
            continue;
        }
        try {
            Event event{.kind = EventKind::added, .queue = std::string{task.queue}, .task_id = task.id, .due = due};
            tasks_.push_back({std::move(event)});
        } catch (const std::bad_alloc&) {
            ++beyond_;
        }
    }
}

BACKLITE_DECL void PendingAdds::take(EventRelay* relay, const SQLite::Database& connection,
                                     std::span<const detail::NewTask> tasks, std::optional<detail::Ms> wait_until,
                                     detail::Ms now) noexcept {
    if (relay == nullptr) return;
    PendingAdds* adds = nullptr;
    {
        const detail::LockGuard lock(relay->queue_->mutex_);
        adds = relay->queue_->adds_;
        while (adds != nullptr && adds->connection_ != &connection) adds = adds->next_;
    }
    if (adds != nullptr) adds->take(tasks, wait_until, now);
}

BACKLITE_DECL void PendingAdds::commit_begins() noexcept {
    if (relay_ == nullptr) return;
    const detail::LockGuard lock(relay_->queue_->mutex_);
    in_file_ = true;
}

BACKLITE_DECL void PendingAdds::commit_failed() noexcept {
    if (relay_ == nullptr) return;
    const detail::LockGuard lock(relay_->queue_->mutex_);
    in_file_ = false;
}

BACKLITE_DECL void PendingAdds::committed(std::span<const detail::NewTask> taken) noexcept {
    if (relay_ == nullptr) return;
    EventQueue& queue = *relay_->queue_;
    const TimePoint now = relay_->clock_->now();
    {
        const detail::LockGuard lock(queue.mutex_);
        for (const detail::NewTask& task : taken) {
            if (task.inserted()) continue;
            if (Task* const none = find(task.id)) {
                none->told = true;
            } else if (beyond_ > 0) {
                --beyond_;
            }
        }
        for (Task& task : tasks_) {
            if (task.told) continue;
            task.event.time = now;
            queue.push_locked(std::move(task.event));
        }
        in_file_ = false;
    }
    tasks_.clear();
    queue.drop(std::exchange(beyond_, 0));
}

BACKLITE_DECL auto PendingAdds::find(const TaskId& id) noexcept -> Task* {
    if (!in_file_) return nullptr;
    const auto earlier = [](const Task& task, const TaskId& other) noexcept { return task.event.task_id < other; };
    const auto found = std::lower_bound(tasks_.begin(), tasks_.end(), id, earlier);
    return found != tasks_.end() && found->event.task_id == id ? &*found : nullptr;
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
