// SPDX-License-Identifier: MIT
#pragma once
// How the library's threads are made: named, deaf to the host's signals, and known as the library's own.

#include <functional>
#include <string>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace runtime {

/// The engine that this thread belongs to or works for; null on all other threads.
[[nodiscard]] inline const void*& current_engine() noexcept {
    static thread_local const void* engine = nullptr;
    return engine;
}

/// Marks this thread as working for an engine, for the length of a scope.
class EngineScope {
public:
    explicit EngineScope(const void* engine) noexcept : outer_(std::exchange(current_engine(), engine)) {}
    EngineScope(const EngineScope&) = delete;
    EngineScope& operator=(const EngineScope&) = delete;
    ~EngineScope() { current_engine() = outer_; }

private:
    const void* outer_;
};

/// What a thread of the library does. One type for all, so that <thread> is instantiated once.
struct ThreadBody {
    const void* engine;
    std::string name;
    std::function<void()> body;

    void operator()() const noexcept {
        pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
        const EngineScope scope(engine);
        body();
    }
};

/// Starts a thread of `engine` that runs `body`, which must not throw. All signals are blocked on it, so that the
/// host's handlers never run there. `name` is cut to the 15 characters that Linux shows. Errors: std::system_error if
/// the thread cannot be started.
[[nodiscard]] inline std::jthread start_thread(const void* engine, std::string name, std::function<void()> body) {
    // A new thread inherits the mask, so it is set before the thread exists: no signal can slip in.
    struct MaskScope {
        sigset_t before{};
        MaskScope() {
            sigset_t all;
            sigfillset(&all);
            pthread_sigmask(SIG_SETMASK, &all, &before);
        }
        ~MaskScope() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    } const mask;
    return std::jthread(ThreadBody{engine, std::move(name), std::move(body)});
}

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
