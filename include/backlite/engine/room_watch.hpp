// SPDX-License-Identifier: MIT
#pragma once
// Callers of `save()` that wait until a bounded queue has room.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>

#include <backlite/base/guards.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/clock.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Tells those who wait for room of every commit that may have made some. The client itself says so of its own
/// (`committed`); for those of others one of those who wait listens on the file, and the others sleep behind it. So it
/// needs neither a started client nor a thread.
/// Threads: any.
class RoomWatch {
public:
    /// One caller that may have to wait.
    class Caller {
    public:
        /// From now on no commit is missed. `interval`: how often others' commits are looked for where no event tells
        /// of them, zero: once a second; `gives_up`: where it is not empty, asked each 10 ms.
        Caller(RoomWatch& room, store::Store& store, std::stop_token stop, Duration interval,
               std::function<bool()> gives_up);
        Caller(const Caller&) = delete;
        Caller& operator=(const Caller&) = delete;
        ~Caller();

        /// Calls `attempt`, which adds the tasks, until there is room for them. Errors: what it throws, unless it is a
        /// QueueFullError of a queue whose adds wait; Cancelled once `wait` says false.
        void until_room(std::span<const detail::NewTask> tasks, const std::function<void()>& attempt);

        /// Waits for a commit since the last call, or since the construction; not for ever: whoever finds no room
        /// calls again. False once `stop` has fired, or the caller gives up. Errors: std::bad_alloc.
        [[nodiscard]] bool wait();

    private:
        using Steady = std::chrono::steady_clock;

        [[nodiscard]] bool is_over() const { return stop_.stop_requested() || (gives_up_ && gives_up_()); }

        /// Looks for commits of others until somebody has committed, the wait is over, or `until`.
        void listen(Steady::time_point until) BACKLITE_EXCLUDES(room_.mutex_);

        RoomWatch& room_;
        store::Store& store_;
        const std::stop_token stop_;
        const Duration interval_;
        const std::function<bool()> gives_up_;
        std::uint64_t seen_ = 0;
    };

    RoomWatch() = default;
    RoomWatch(const RoomWatch&) = delete;
    RoomWatch& operator=(const RoomWatch&) = delete;
    ~RoomWatch() = default;

    /// Whether adds of these tasks wait for room.
    [[nodiscard]] static bool may_wait(std::span<const detail::NewTask> tasks) noexcept;

    /// Something was committed, or nothing will be any more. Costs one look at a number where nobody waits.
    void committed() noexcept {
        if (callers_.load() > 0) tell();
    }

private:
    /// The same, of those for one queue.
    [[nodiscard]] static bool may_wait(std::span<const detail::NewTask> tasks, std::string_view queue) noexcept;

    static constexpr Duration look_again{10};  ///< how often a stop is looked for that wakes nobody
    static constexpr Duration first_pause{1};

    void tell() noexcept;

    [[nodiscard]] bool has_news(std::uint64_t seen) const {
        const detail::LockGuard lock(mutex_);
        return commits_ != seen;
    }

    /// That of the callers; made by the first one that listens.
    [[nodiscard]] std::shared_ptr<store::CommitWatch> watch(store::Store& store);

    std::atomic<std::size_t> callers_{0};
    mutable detail::Mutex mutex_{};
    std::condition_variable told_{};
    std::uint64_t commits_ BACKLITE_GUARDED_BY(mutex_) = 0;
    bool listens_ BACKLITE_GUARDED_BY(mutex_) = false;                         ///< one of the callers does
    std::shared_ptr<store::CommitWatch> watch_ BACKLITE_GUARDED_BY(mutex_){};  ///< there while somebody waits
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/room_watch.ipp>
#endif
