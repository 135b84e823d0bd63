// SPDX-License-Identifier: MIT
#pragma once
// File events on the write-ahead log: a hint that somebody has committed. Hints decide nothing; `data_version` does.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// Waits for writes to `<database>-wal`, for changes of the side file, and for `wake`. Opens neither the database nor
/// its log: a watch holds no descriptor on them, so closing it drops no lock of SQLite's. Threads: `wake` and `active`
/// from any, also from a stop callback; the rest from one.
class FileEvents {
public:
    struct Event {
        bool written = false;  ///< the log was written to, or the side file changed, by anybody
        bool woken = false;
    };

    explicit FileEvents(const std::string& database)
        : log_(database + "-wal"),
          side_file_(database + "-backlite"),
          wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
          events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
        watch_again();
    }
    FileEvents(const FileEvents&) = delete;
    FileEvents& operator=(const FileEvents&) = delete;
    ~FileEvents() {
        if (wake_ >= 0) ::close(wake_);
        if (events_ >= 0) ::close(events_);
    }

    /// Whether file events come at all; otherwise commits must be looked for.
    [[nodiscard]] bool active() const noexcept { return watch_ >= 0; }

    /// Ends a wait. Lock-free.
    void wake() noexcept {
        const std::uint64_t one = 1;
        if (::write(wake_, &one, sizeof one) < 0) {  // full: it is awake already
        }
    }

    /// Waits until the log is written to or `wake` is called, at most `cap`; where there is no log yet, which no event
    /// tells of, at most a second.
    [[nodiscard]] Event wait(Duration cap = detail::longest_wait()) noexcept {
        if (active()) return poll(cap, true);
        watch_again();
        // A log that is there by now may have been written to before it was watched.
        return active() ? Event{.written = true} : poll((std::min)(cap, Duration{1'000}), false);
    }

    /// Waits for `wake` alone.
    [[nodiscard]] Event rest(Duration cap) noexcept { return poll(cap, false); }

private:
    [[nodiscard]] Event poll(Duration cap, bool files) noexcept {
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

    bool drain() noexcept {
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
        if (gone) watch_again();  // the log was deleted: a new one has a new inode
        return true;
    }

    void watch_again() noexcept {
        watch_ = events_ < 0 ? -1 : ::inotify_add_watch(events_, log_.c_str(), IN_MODIFY | IN_DELETE_SELF);
        // A cut of it comes here; a store of a worker's, through the mapping, does not.
        if (events_ >= 0) static_cast<void>(::inotify_add_watch(events_, side_file_.c_str(), IN_MODIFY));
    }

    std::string log_;
    std::string side_file_;
    int wake_;
    int events_;
    std::atomic<int> watch_{-1};
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
