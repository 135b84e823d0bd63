// SPDX-License-Identifier: MIT
#pragma once
// One caller's work on the write path, the place where the caller waits for it, and the queue of those who wait.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>

#include <backlite/base/guards.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Lives on its caller's stack. Each caller sleeps behind a door of its own: with one lock for all, those who are woken
/// together would queue up for it.
///
/// The order of locks: that of the queue, then a door; a caller takes the first only after it has left the second. A
/// state that ends a wait is set under the door, and looked at under it before each sleep, so no wake-up is lost;
/// `done` is the last that others do to this object, and they have left the door when its destructor has passed it.
class Operation {
public:
    using Steady = std::chrono::steady_clock;
    enum class Kind { read, write };
    enum class State { waiting, taken, leads, gathers, done };

    Operation(Kind a_kind, void* work, void (*call)(void*, Repository&), const Patience& its_patience) noexcept;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    /// REQUIRES: done.
    ~Operation() {
        const detail::LockGuard lock(door_);  // whoever told it is still in there
    }

    void run(Repository& repository) { call_(work_, repository); }

    [[nodiscard]] State state() const noexcept { return state_.load(std::memory_order_acquire); }
    /// For those whom the caller does not wait for: itself, or a leader that takes it.
    void set(State state) noexcept { state_.store(state, std::memory_order_release); }

    /// Sets the state and wakes the caller. Once that is `done`, this object may be gone.
    void tell(State state) noexcept;

    /// Waits until it leads or is done, or until `time`.
    void sleep(Steady::time_point time);

    /// As a leader, waits until somebody tells it to go on, or until `time`.
    void gather_until(Steady::time_point time) {
        detail::UniqueLock lock(door_);
        changed_.wait_until(lock.native(), time, [this] { return state() != State::gathers; });
    }

    const Kind kind;
    const Patience& patience;
    const Steady::time_point deadline;
    // changed by whoever leads, and before anybody knows it
    std::uint64_t refusals = 0;  ///< how often the file had been found locked when it came
    bool alone = false;          ///< a commit failed: whose fault it was shows when each runs by itself
    bool committed = false;
    std::exception_ptr error{};
    Operation* next = nullptr;  ///< in the one list that it is in

private:
    void* const work_;
    void (*const call_)(void*, Repository&);
    std::atomic<State> state_{State::waiting};

    detail::Mutex door_{};
    std::condition_variable changed_{};
};

/// Operations in a row. They are linked through themselves, so that whoever waits, or lets others wait, needs no
/// memory. Each is in one list at most. Threads: one at a time.
class OperationList {
public:
    OperationList() = default;
    OperationList(const OperationList&) = delete;
    OperationList& operator=(const OperationList&) = delete;
    ~OperationList() = default;

    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Null if it is empty.
    [[nodiscard]] Operation* first() const noexcept { return first_; }
    [[nodiscard]] Operation* last() const noexcept { return last_; }

    void push_back(Operation& operation) noexcept;

    /// Takes the first out. Null if it is empty.
    Operation* pop_front() noexcept;

    /// Takes it out if it is in.
    void remove(const Operation& operation) noexcept;

    /// Moves all of `others` to the front.
    void prepend(OperationList& others) noexcept;

private:
    Operation* first_ = nullptr;
    Operation* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/operation.ipp>
#endif
