// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/fork.hpp>.

#include <cerrno>
#include <new>

#include <fcntl.h>
#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/fork.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL ForkHooks::ForkHooks() {
    if (::pthread_atfork(&before, &in_parent, &in_child) != 0) throw std::bad_alloc();
}

BACKLITE_DECL int ForkHooks::open(Entry& entry, const char* path, int flags, std::uint32_t mode) noexcept {
    // Under the mutex, which fork() takes: a fork between open and listing would leave the descriptor in the child.
    const detail::LockGuard lock(mutex_);
    int fd = -1;
    do {
        fd = ::open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return errno;
    entry.fd = fd;
    entry.previous = nullptr;
    entry.next = first_;
    if (first_ != nullptr) first_->previous = &entry;
    first_ = &entry;
    return 0;
}

BACKLITE_DECL void ForkHooks::close(Entry& entry) noexcept {
    const detail::LockGuard lock(mutex_);
    (entry.previous != nullptr ? entry.previous->next : first_) = entry.next;
    if (entry.next != nullptr) entry.next->previous = entry.previous;
    ::close(entry.fd);  // not repeated after EINTR: Linux has freed the number by then
    entry = Entry{};
}

// Async-signal-safe calls only: the other threads are gone, and the locks that they held stay locked.
BACKLITE_DECL void ForkHooks::in_child() {
    ForkHooks& hooks = instance();
    hooks.generation_.fetch_add(1, std::memory_order_relaxed);
    for (Entry* entry = hooks.first_; entry != nullptr;) {
        Entry* const next = entry->next;
        ::close(entry->fd);
        *entry = Entry{};
        entry = next;
    }
    hooks.first_ = nullptr;
    hooks.mutex_.native().unlock();
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
