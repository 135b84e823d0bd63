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

    explicit FileEvents(const std::string& database);
    FileEvents(const FileEvents&) = delete;
    FileEvents& operator=(const FileEvents&) = delete;
    ~FileEvents() {
        if (wake_ >= 0) ::close(wake_);
        if (events_ >= 0) ::close(events_);
    }

    /// Whether file events come at all; otherwise commits must be looked for.
    [[nodiscard]] bool active() const noexcept { return watch_ >= 0; }

    /// Ends a wait. Lock-free.
    void wake() noexcept;

    /// Waits until the log is written to or `wake` is called, at most `cap`; where there is no log yet, which no event
    /// tells of, at most a second.
    [[nodiscard]] Event wait(Duration cap = detail::longest_wait()) noexcept;

    /// Waits for `wake` alone.
    [[nodiscard]] Event rest(Duration cap) noexcept { return poll(cap, false); }

private:
    [[nodiscard]] Event poll(Duration cap, bool files) noexcept;

    bool drain() noexcept;

    void watch_again() noexcept;

    std::string log_;
    std::string side_file_;
    int wake_;
    int events_;
    std::atomic<int> watch_{-1};
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/file_events.ipp>
#endif
