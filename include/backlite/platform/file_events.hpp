// SPDX-License-Identifier: MIT
#pragma once
// File events: a hint that somebody has written to a file.

#include <atomic>
#include <string>

#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// Waits for writes to a file, which may be SQLite's log, for changes of another one, and for `wake`. Opens neither: a
/// watch holds no descriptor on them, so closing it drops no lock of SQLite's. Threads: `wake` and `active` from any,
/// also from a stop callback; the rest from one.
class FileEvents {
public:
    struct Event {
        bool written = false;  ///< the file was written to, or the other one changed, by anybody
        bool woken = false;
    };

    FileEvents(std::string file, std::string other);
    FileEvents(const FileEvents&) = delete;
    FileEvents& operator=(const FileEvents&) = delete;
    ~FileEvents();

    /// Whether events of the file come at all; otherwise writes must be looked for.
    [[nodiscard]] bool active() const noexcept { return watch_ >= 0; }

    /// Ends a wait. Lock-free.
    void wake() noexcept;

    /// Waits until the file is written to or `wake` is called, at most `cap`; where there is no file yet, which no
    /// event tells of, at most a second.
    [[nodiscard]] Event wait(Duration cap = detail::longest_wait()) noexcept;

    /// Waits for `wake` alone.
    [[nodiscard]] Event rest(Duration cap) noexcept { return poll(cap, false); }

private:
    [[nodiscard]] Event poll(Duration cap, bool files) noexcept;

    bool drain() noexcept;

    void watch_again() noexcept;

    std::string file_;
    std::string other_;
    int wake_;
    int events_;
    std::atomic<int> watch_{-1};
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/system.ipp>
#endif
