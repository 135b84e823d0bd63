// SPDX-License-Identifier: MIT
#pragma once
// How the library's threads are made: named, deaf to signals that are sent to the process, and known as the library's
// own.

#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>

#include <backlite/error.hpp>
#include <backlite/format.hpp>
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

/// Starts a thread of `engine` that runs `body`, which must not throw. `name` is cut to the 15 characters that Linux
/// shows. Signals that are sent to the process are blocked on it, so that the host's handlers for them never run there.
/// Those that a thread causes itself stay open, for crash reporters and for runtimes that live by them, and so does the
/// one that profilers measure by. Errors: Error if the system has no thread to give.
[[nodiscard]] inline std::jthread start_thread(const void* engine, std::string name, std::function<void()> body) {
    // A new thread inherits the mask, so it is set before the thread exists: no signal can slip in.
    struct MaskScope {
        sigset_t before{};
        MaskScope() {
            sigset_t blocked;
            sigfillset(&blocked);
            for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF}) {
                sigdelset(&blocked, own);
            }
            pthread_sigmask(SIG_SETMASK, &blocked, &before);
        }
        ~MaskScope() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    } const mask;
    try {
        return std::jthread(ThreadBody{engine, name, std::move(body)});
    } catch (const std::system_error& error) {
        throw Error(detail::format("the thread \"{}\" cannot be started: {}", {name, error.code().message()}));
    }
}

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
