// SPDX-License-Identifier: MIT
#pragma once
// Hands events to the host's observers on a thread of their own: however long those take, nothing else waits for them.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/event.hpp>
#include <backlite/platform/fork.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/store/store.hpp>

namespace SQLite {
class Database;
}

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

using Observers = std::vector<std::function<void(const Event&)>>;

class PendingAdds;

/// The events that wait for the observers, in the order in which they were told. While `most` of them wait, further
/// ones are dropped, as is one for which there is no memory; how many is the next event.
/// Threads: any. Its mutex is the last one of any order, and no user code runs under it.
class EventQueue {
public:
    using Steady = std::chrono::steady_clock;

    static constexpr std::size_t most = 16'384;

    EventQueue(Observers observers, std::shared_ptr<const Clock> clock, detail::SafeLogger log)
        : observers_(std::move(observers)), clock_(std::move(clock)), log_(std::move(log)) {}
    EventQueue(const EventQueue&) = delete;
    EventQueue& operator=(const EventQueue&) = delete;

    /// An event of a task that is on its way into the file proves that it is there: `added` comes before it then.
    void push(Event event) noexcept;
    void drop(std::size_t events) noexcept;

    /// What waits is told until `end`; what waits then, and what comes, is not.
    void close(Steady::time_point end) noexcept;

    /// The body of the observers' thread. Lets nothing escape but a ForcedUnwind; then nothing is told any more.
    void run();

private:
    friend PendingAdds;

    [[nodiscard]] std::size_t waiting_locked() const noexcept BACKLITE_REQUIRES(mutex_) {
        return events_.size() - next_;
    }
    void push_locked(Event event) noexcept BACKLITE_REQUIRES(mutex_);
    void push_added_locked(const TaskId& id) noexcept BACKLITE_REQUIRES(mutex_);
    [[nodiscard]] Event dropped_event_locked() noexcept BACKLITE_REQUIRES(mutex_);
    /// The next one; nullopt: none waits.
    [[nodiscard]] std::optional<Event> take_locked() noexcept BACKLITE_REQUIRES(mutex_);
    /// Whether to wake the thread.
    [[nodiscard]] bool rouse_locked() noexcept BACKLITE_REQUIRES(mutex_) { return std::exchange(asleep_, false); }

    void tell(const Event& event);

    // constant after construction
    const Observers observers_;
    const std::shared_ptr<const Clock> clock_;
    const detail::SafeLogger log_;
    const platform::ForkGuard guard_{};

    bool broken_told_ = false;  ///< observers' thread only

    detail::Mutex mutex_{};
    std::condition_variable changed_{};
    std::vector<Event> events_ BACKLITE_GUARDED_BY(mutex_){};  ///< those before `next_` were told
    std::size_t next_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::size_t dropped_ BACKLITE_GUARDED_BY(mutex_) = 0;
    PendingAdds* adds_ BACKLITE_GUARDED_BY(mutex_) = nullptr;
    bool asleep_ BACKLITE_GUARDED_BY(mutex_) = false;
    bool closed_ BACKLITE_GUARDED_BY(mutex_) = false;
    Steady::time_point end_ BACKLITE_GUARDED_BY(mutex_){};
};

/// The thread of the observers, and the way to it.
/// Threads: any, but for construction and the end.
class EventRelay {
public:
    /// For how long a client that ends still tells what waits.
    static constexpr Duration end_patience{1'000};

    /// Errors: Error if the system has no thread to give.
    EventRelay(std::shared_ptr<platform::ThreadList> own, Observers observers, std::shared_ptr<const Clock> clock,
               detail::SafeLogger log);
    EventRelay(const EventRelay&) = delete;
    EventRelay& operator=(const EventRelay&) = delete;
    ~EventRelay() { close(); }

    /// Tells what `fill(event)` makes of an event that happens now. Returns at once; without memory it is dropped.
    template <class Fill>
    void tell(EventKind kind, Fill&& fill) noexcept {
        try {
            Event event{.kind = kind, .time = clock_->now()};
            fill(event);
            queue_->push(std::move(event));
        } catch (...) {
            queue_->drop(1);
        }
    }
    void tell(EventKind kind) noexcept {
        tell(kind, [](Event&) {});
    }

    /// Tells what a store has taken back.
    void tell(const store::Rescued& rescued) noexcept;

    /// Tells of tasks that have ended because one that they waited for has not succeeded.
    void tell(const std::vector<store::EndedChild>& cancelled) noexcept;
    /// Tells what slots of a schedule have done.
    void tell(const store::SlotPlan& plan, const store::SlotResult& result) noexcept;

    /// Tells what waits, for `end_patience` at most, and waits for the observer that runs without limit: it may use the
    /// host's data. On the observers' own thread, inside of one, it waits for nothing.
    void close() noexcept;

private:
    friend PendingAdds;

    const std::shared_ptr<const Clock> clock_;
    const std::shared_ptr<EventQueue> queue_;  ///< the thread's too, which may outlive this
    std::jthread thread_;
};

/// Tasks that an add drops from bounded queues. Told as cancelled when this goes; without a relay it does nothing.
class DroppedTasks {
public:
    /// Must not outlive the relay.
    explicit DroppedTasks(EventRelay* relay) noexcept : relay_(relay) {}
    DroppedTasks(const DroppedTasks&) = delete;
    DroppedTasks& operator=(const DroppedTasks&) = delete;
    ~DroppedTasks();

    /// For the store; null if nobody observes.
    [[nodiscard]] std::vector<store::DroppedTask>* list() noexcept { return relay_ == nullptr ? nullptr : &list_; }

private:
    EventRelay* const relay_;
    std::vector<store::DroppedTask> list_{};
};

/// Tasks that one transaction is about to add. Told in the order of their names once it is committed, and each at the
/// latest before any other event of it, for it may be claimed before this thread goes on. Without a relay it does
/// nothing.
/// Threads: one at a time. Must not outlive the relay.
class PendingAdds {
public:
    /// `connection`: of the host's transaction in which more tasks will come; null: `take` is given them.
    explicit PendingAdds(EventRelay* relay, const SQLite::Database* connection = nullptr) noexcept;
    PendingAdds(const PendingAdds&) = delete;
    PendingAdds& operator=(const PendingAdds&) = delete;
    /// What was not committed is no event.
    ~PendingAdds();

    /// REQUIRES: they are named, and their names are later than those of before. Without memory they are dropped.
    /// Those of which it is known that they were not inserted are none.
    void take(std::span<const detail::NewTask> tasks, std::optional<detail::Ms> wait_until, detail::Ms now) noexcept;

    /// The same for whichever of the relay's is on that connection, if any.
    static void take(EventRelay* relay, const SQLite::Database& connection, std::span<const detail::NewTask> tasks,
                     std::optional<detail::Ms> wait_until, detail::Ms now) noexcept;

    /// From now on the tasks may be in the file, until it is known whether they are.
    void commit_begins() noexcept;
    /// `taken`: the tasks that `take` was given, if it was by the caller; those that were not inserted are no events.
    void committed(std::span<const detail::NewTask> taken = {}) noexcept;
    void commit_failed() noexcept;

private:
    friend EventQueue;

    struct Task {
        Event event{};
        bool told = false;
    };

    /// The task, if it is one of these and not told yet; null otherwise.
    [[nodiscard]] Task* find(const TaskId& id) noexcept;

    EventRelay* const relay_;
    const SQLite::Database* const connection_;
    std::size_t beyond_ = 0;  ///< tasks that are not among `tasks_`
    // guarded by the mutex of the relay's queue
    bool in_file_ = false;       ///< perhaps
    std::vector<Task> tasks_{};  ///< as many as may wait for the observers; while `in_file_` is false, the caller's
    PendingAdds* previous_ = nullptr;
    PendingAdds* next_ = nullptr;
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/event_relay.ipp>
#endif
