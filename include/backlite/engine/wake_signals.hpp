// SPDX-License-Identifier: MIT
#pragma once
// What other threads tell the dispatcher, and its sleep until they do.

#include <chrono>
#include <condition_variable>

#include <backlite/base/guards.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Flags that end a sleep. Nobody who sets one waits for the dispatcher.
/// Threads: any; `take` and `sleep` from the dispatcher's.
class WakeSignals {
public:
    struct Signals {
        bool refresh = false;  ///< others have committed: what is known of the file is old
        bool hint = false;     ///< others may have committed, or may be about to
        bool stop = false;     ///< claim nothing more, write what ends, leave; stays set
        bool abandon = false;  ///< stop trying to write: end once no task runs; stays set
    };

    /// Something is to be done that the dispatcher finds by itself.
    void wake() {
        set([](Signals&) {});
    }
    void refresh() {
        set([](Signals& flags) { flags.refresh = true; });
    }
    void hint() {
        set([](Signals& flags) { flags.hint = true; });
    }
    void stop() {
        set([](Signals& flags) { flags.stop = true; });
    }
    void abandon() {
        set([](Signals& flags) { flags.stop = flags.abandon = true; });
    }

    /// Adds what was set since the last call to `taken`.
    void take(Signals& taken);

    /// Until something is set, at most that long; not at all if something was set since the last `take`.
    void sleep(std::chrono::steady_clock::duration duration) {
        detail::UniqueLock lock(mutex_);
        if (!set_) changed_.wait_for(lock.native(), duration);
    }

private:
    template <class Change>
    void set(Change&& change) {
        {
            const detail::LockGuard lock(mutex_);
            change(signals_);
            set_ = true;
        }
        changed_.notify_one();
    }

    detail::Mutex mutex_{};
    std::condition_variable changed_{};
    Signals signals_ BACKLITE_GUARDED_BY(mutex_){};
    bool set_ BACKLITE_GUARDED_BY(mutex_) = false;
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/wake_signals.ipp>
#endif
