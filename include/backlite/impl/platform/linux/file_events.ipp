// SPDX-License-Identifier: MIT
#pragma once
// File events by inotify(7), a wake-up by eventfd(2).

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/file_events.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL FileEvents::FileEvents(std::string file, std::string other)
    : file_(std::move(file)),
      other_(std::move(other)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    watch_again();
}

BACKLITE_DECL FileEvents::~FileEvents() {
    if (wake_ >= 0) ::close(wake_);
    if (events_ >= 0) ::close(events_);
}

BACKLITE_DECL void FileEvents::wake() noexcept {
    const std::uint64_t one = 1;
    if (::write(wake_, &one, sizeof one) < 0) {  // full: it is awake already
    }
}

BACKLITE_DECL auto FileEvents::wait(Duration cap) noexcept -> Event {
    if (active()) return poll(cap, true);
    watch_again();
    // A file that is there by now may have been written to before it was watched.
    return active() ? Event{.written = true} : poll((std::min)(cap, Duration{1'000}), false);
}

BACKLITE_DECL auto FileEvents::poll(Duration cap, bool files) noexcept -> Event {
    std::array<pollfd, 2> fds{{{wake_, POLLIN, 0}, {files ? events_ : -1, POLLIN, 0}}};
    Event event;
    if (::poll(fds.data(), fds.size(), static_cast<int>(cap.count())) <= 0) return event;
    if ((fds[0].revents & POLLIN) != 0) {
        std::uint64_t count = 0;
        event.woken = ::read(wake_, &count, sizeof count) > 0;
    }
    if ((fds[1].revents & POLLIN) != 0) event.written = drain();
    return event;
}

BACKLITE_DECL bool FileEvents::drain() noexcept {
    alignas(inotify_event) std::array<char, 4096> buffer;
    bool gone = false;
    for (;;) {
        const ssize_t size = ::read(events_, buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) break;
        for (ssize_t at = 0; at < size;) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
            if ((event->mask & IN_IGNORED) != 0) gone = true;
            at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        }
    }
    if (gone) watch_again();  // the file was deleted: a new one has a new inode
    return true;
}

BACKLITE_DECL void FileEvents::watch_again() noexcept {
    watch_ = events_ < 0 ? -1 : ::inotify_add_watch(events_, file_.c_str(), IN_MODIFY | IN_DELETE_SELF);
    // A cut of it comes here; a store into shared memory does not.
    if (events_ >= 0) static_cast<void>(::inotify_add_watch(events_, other_.c_str(), IN_MODIFY));
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
