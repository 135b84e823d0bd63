// SPDX-License-Identifier: MIT
#pragma once
// Which mutex guards what, so that clang can check it (-Wthread-safety); other compilers see nothing of it.

#include <mutex>

#include <backlite/version.hpp>

#if defined(__clang__)
#define BACKLITE_THREAD_SAFETY(...) __attribute__((__VA_ARGS__))
#else
#define BACKLITE_THREAD_SAFETY(...)
#endif
#define BACKLITE_CAPABILITY(name) BACKLITE_THREAD_SAFETY(__capability__(name))
#define BACKLITE_SCOPED_CAPABILITY BACKLITE_THREAD_SAFETY(__scoped_lockable__)
/// After a member's name: it is read and changed only while this mutex is held.
#define BACKLITE_GUARDED_BY(mutex) BACKLITE_THREAD_SAFETY(__guarded_by__(mutex))
/// After a function's parameters: it is called with this mutex held, and returns with it held.
#define BACKLITE_REQUIRES(...) BACKLITE_THREAD_SAFETY(__requires_capability__(__VA_ARGS__))
/// The same: it is called without, since it takes the mutex itself.
#define BACKLITE_EXCLUDES(...) BACKLITE_THREAD_SAFETY(__locks_excluded__(__VA_ARGS__))
#define BACKLITE_ACQUIRE(...) BACKLITE_THREAD_SAFETY(__acquire_capability__(__VA_ARGS__))
#define BACKLITE_RELEASE(...) BACKLITE_THREAD_SAFETY(__release_capability__(__VA_ARGS__))
#define BACKLITE_UNCHECKED_LOCKS BACKLITE_THREAD_SAFETY(__no_thread_safety_analysis__)

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// A std::mutex that the compiler knows. Locked by the two classes below only.
class BACKLITE_CAPABILITY("mutex") Mutex {
public:
    [[nodiscard]] std::mutex& native() noexcept { return native_; }

private:
    std::mutex native_{};
};

/// std::lock_guard.
class BACKLITE_SCOPED_CAPABILITY LockGuard {
public:
    explicit LockGuard(Mutex& mutex) BACKLITE_ACQUIRE(mutex) : lock_(mutex.native()) {}
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;
    ~LockGuard() BACKLITE_RELEASE() {}

private:
    const std::lock_guard<std::mutex> lock_;
};

/// std::unique_lock, held at first.
class BACKLITE_SCOPED_CAPABILITY UniqueLock {
public:
    explicit UniqueLock(Mutex& mutex) BACKLITE_ACQUIRE(mutex) : native_(mutex.native()) {}
    UniqueLock(const UniqueLock&) = delete;
    UniqueLock& operator=(const UniqueLock&) = delete;
    ~UniqueLock() BACKLITE_RELEASE() {}

    void lock() BACKLITE_ACQUIRE() BACKLITE_UNCHECKED_LOCKS { native_.lock(); }
    void unlock() BACKLITE_RELEASE() BACKLITE_UNCHECKED_LOCKS { native_.unlock(); }

    /// For who was given the lock by a caller: the compiler does not know that it is of this mutex, so it is told.
    void lock(Mutex& own) BACKLITE_ACQUIRE(own) BACKLITE_UNCHECKED_LOCKS {
        (void)own;
        native_.lock();
    }
    void unlock(Mutex& own) BACKLITE_RELEASE(own) BACKLITE_UNCHECKED_LOCKS {
        (void)own;
        native_.unlock();
    }

    /// For a condition variable, whose wait ends with the lock held. A condition given to it reads what is guarded only
    /// if it is marked BACKLITE_REQUIRES.
    [[nodiscard]] std::unique_lock<std::mutex>& native() noexcept { return native_; }

private:
    std::unique_lock<std::mutex> native_;
};

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
