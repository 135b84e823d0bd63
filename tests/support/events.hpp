// SPDX-License-Identifier: MIT
#pragma once
// What processors and loggers of a test report, and how the test waits for it.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <patience.hpp>

namespace backlite_test {

/// Collects values from any thread, in the order in which they came.
/// Threads: any.
template <class T>
class Events {
public:
    void add(T value) {
        const std::lock_guard lock(mutex_);
        values_.push_back(std::move(value));
        changed_.notify_all();
    }

    /// Waits until there are at least `count` values. False if they do not come in time.
    [[nodiscard]] bool wait_for(std::size_t count, std::chrono::milliseconds timeout = patience) const {
        return wait_until([count](const std::vector<T>& values) { return values.size() >= count; }, timeout);
    }

    /// Waits until `done(values)`. Called under the lock.
    template <class Done>
    [[nodiscard]] bool wait_until(Done&& done, std::chrono::milliseconds timeout = patience) const {
        const auto end = std::chrono::steady_clock::now() + timeout;
        std::unique_lock lock(mutex_);
        for (;;) {
            if (done(values_)) return true;
            const auto now = std::chrono::steady_clock::now();
            if (now >= end) return false;
            // In slices: glibc 2.36 can lose a signal (bug 25847).
            changed_.wait_for(lock, (std::min)(end - now, std::chrono::steady_clock::duration{slice}));
        }
    }

    [[nodiscard]] std::vector<T> all() const {
        const std::lock_guard lock(mutex_);
        return values_;
    }

    [[nodiscard]] std::size_t count() const {
        const std::lock_guard lock(mutex_);
        return values_.size();
    }

    [[nodiscard]] std::size_t count_of(const T& value) const {
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(std::count(values_.begin(), values_.end(), value));
    }

private:
    static constexpr std::chrono::milliseconds slice{200};

    mutable std::mutex mutex_{};
    mutable std::condition_variable changed_{};
    // guarded by mutex_
    std::vector<T> values_{};
};

/// Closed until somebody opens it; holds processors back until the test lets them go.
/// Threads: any.
class Gate {
public:
    void open() { opened_.add(true); }

    /// False if nobody opens it in time: then a test has forgotten somebody, or failed.
    bool pass(std::chrono::milliseconds timeout = 2 * patience) const { return opened_.wait_for(1, timeout); }

private:
    Events<bool> opened_{};
};

/// Opens a gate on every way out of a test: a client waits for its tasks, so a held one must go before the client does.
class OpensAtEnd {
public:
    explicit OpensAtEnd(Gate& gate) noexcept : gate_(gate) {}
    OpensAtEnd(const OpensAtEnd&) = delete;
    OpensAtEnd& operator=(const OpensAtEnd&) = delete;
    ~OpensAtEnd() { gate_.open(); }

private:
    Gate& gate_;
};

/// Looks again and again until `holds()`: for what nobody signals, such as rows in a file. False if it does not come.
template <class Holds>
[[nodiscard]] bool eventually(Holds&& holds, std::chrono::milliseconds timeout = patience) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (!holds()) {
        if (std::chrono::steady_clock::now() >= end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
    return true;
}

}  // namespace backlite_test
