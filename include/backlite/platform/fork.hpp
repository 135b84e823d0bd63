// SPDX-License-Identifier: MIT
#pragma once
// What fork() must not share: ForkGuard refuses calls in a forked child, ForkClosedFd is not inherited by one.
//
// A child made past the fork handlers (`_Fork`, a raw `clone`) is not seen. `vfork` and `posix_spawn` are safe without
// them: such a child runs exec at once, and every descriptor here is closed by exec.

#include <atomic>
#include <cstdint>
#include <string>

#include <backlite/base/guards.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// The one registration with pthread_atfork, and the list of descriptors that a child must not keep.
/// Never destroyed: clients in static storage may outlive any other static object.
/// Threads: any.
class ForkHooks {
public:
    /// A descriptor in the list. Its address is its place in the list: neither copied nor moved.
    struct Entry {
        int fd = -1;
        // guarded by mutex_
        Entry* previous = nullptr;
        Entry* next = nullptr;
    };

    ForkHooks(const ForkHooks&) = delete;
    ForkHooks& operator=(const ForkHooks&) = delete;

    /// Errors: std::bad_alloc if the handlers cannot be registered; the next call tries again.
    [[nodiscard]] static ForkHooks& instance() {
        static ForkHooks& hooks = *new ForkHooks();
        return hooks;
    }

    /// How many forks lie between the first process and this one. Changes only between fork() and its return in the
    /// child, where one thread runs, so every order is the right one.
    [[nodiscard]] const std::atomic<std::uint32_t>& generation() const noexcept { return generation_; }

    /// Opens a file into `entry` and lists it, in one step as seen by fork(). Returns 0 or the error number.
    [[nodiscard]] int open(Entry& entry, const char* path, int flags, std::uint32_t mode) noexcept;

    /// Closes and unlists, in one step as seen by fork().
    void close(Entry& entry) noexcept;

private:
    ForkHooks();
    ~ForkHooks() = default;

    static void before() { instance().mutex_.native().lock(); }
    static void in_parent() { instance().mutex_.native().unlock(); }
    static void in_child() BACKLITE_UNCHECKED_LOCKS;

    static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "a fork handler may touch no lock but its own");
    std::atomic<std::uint32_t> generation_{0};
    detail::Mutex mutex_{};
    Entry* first_ BACKLITE_GUARDED_BY(mutex_) = nullptr;
};

/// Remembers the process in which it was made, and refuses to work in a child forked from it. Asks the hooks of the
/// module (program or shared object) that made it: other modules may have hooks of their own, which count otherwise.
/// Threads: any. Costs one atomic load and one comparison.
class ForkGuard {
public:
    /// Errors: std::bad_alloc.
    ForkGuard() : now_(ForkHooks::instance().generation()), then_(now_.load(std::memory_order_relaxed)) {}

    /// REQUIRES: `call` names what the caller called, for the message.
    /// Errors: ForkError in a forked child.
    void check_process(const char* call) const {
        if (forked()) throw_forked(call);
    }

    /// True in a child forked since the guard was made, and in that child's children.
    [[nodiscard]] bool forked() const noexcept { return now_.load(std::memory_order_relaxed) != then_; }

private:
    [[noreturn]] static void throw_forked(const char* call) {
        throw ForkError(std::string{call} +
                        ": called in a forked child; a client belongs to the process that opened it");
    }

    const std::atomic<std::uint32_t>& now_;
    std::uint32_t then_;
};

/// Owns a file descriptor that no forked child keeps: there it is closed before fork() returns. A child that held it
/// would keep the open file description, and with it the parent's locks, alive beyond the parent's death.
/// Threads: as a file descriptor; open and close need the owner's care.
class ForkClosedFd {
public:
    /// Owns nothing yet. Errors: std::bad_alloc.
    ForkClosedFd() : hooks_(ForkHooks::instance()) {}
    ForkClosedFd(const ForkClosedFd&) = delete;
    ForkClosedFd& operator=(const ForkClosedFd&) = delete;
    /// In a forked child there is nothing left to close.
    ~ForkClosedFd() { close(); }

    /// open(2), always with O_CLOEXEC, repeated when a signal interrupts it. Returns 0, or the error number and then
    /// owns nothing.
    /// REQUIRES: owns nothing.
    [[nodiscard]] int open(const char* path, int flags, std::uint32_t mode = 0) noexcept {
        return hooks_.open(entry_, path, flags, mode);
    }

    void close() noexcept {
        if (entry_.fd >= 0) hooks_.close(entry_);
    }

    /// The descriptor; -1 if there is none, and in a forked child.
    [[nodiscard]] int get() const noexcept { return entry_.fd; }

private:
    ForkHooks& hooks_;  // constant after construction
    ForkHooks::Entry entry_{};
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/fork.ipp>
#endif
