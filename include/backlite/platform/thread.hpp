// SPDX-License-Identifier: MIT
#pragma once
// How the library's threads are made: named, deaf to signals that are sent to the process, and known as the library's
// own.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#if defined(__GLIBCXX__)
#include <bits/cxxabi_forced.h>  // <cxxabi.h> is 700 lines
#endif

#include <pthread.h>
#include <signal.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// Some threads, such as those that work for one engine: its own, and callers while they are inside of its start or
/// stop. An object of the engine, because a `thread_local` of a header exists once in each shared object.
/// Threads: any. Allocates nothing.
class ThreadList {
public:
    ThreadList() = default;
    ThreadList(const ThreadList&) = delete;
    ThreadList& operator=(const ThreadList&) = delete;

    /// Lists the thread that makes it for as long as it lives. Scopes nest, also those of several engines.
    class Scope {
    public:
        explicit Scope(ThreadList& list) : list_(list) {
            const std::lock_guard lock(list_.mutex_);
            next_ = list_.first_;
            if (next_ != nullptr) next_->previous_ = this;
            list_.first_ = this;
        }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
        ~Scope() {
            const std::lock_guard lock(list_.mutex_);
            (previous_ != nullptr ? previous_->next_ : list_.first_) = next_;
            if (next_ != nullptr) next_->previous_ = previous_;
        }

    private:
        friend ThreadList;

        ThreadList& list_;
        const std::thread::id thread_ = std::this_thread::get_id();
        // guarded by the mutex of the list
        Scope* previous_ = nullptr;
        Scope* next_ = nullptr;
    };

    [[nodiscard]] bool has_this_thread() const noexcept {
        const std::lock_guard lock(mutex_);
        const Scope* scope = first_;
        while (scope != nullptr && scope->thread_ != std::this_thread::get_id()) scope = scope->next_;
        return scope != nullptr;
    }

private:
    mutable std::mutex mutex_{};
    // guarded by mutex_
    Scope* first_ = nullptr;
};

/// What unwinds the stack of a thread that ends by pthread_exit or pthread_cancel. glibc ends the process if a handler
/// keeps it, so each `catch (...)` around a processor lets it pass. libc++ shows it to no handler.
#if defined(__GLIBCXX__)
using ForcedUnwind = __cxxabiv1::__forced_unwind;
#else
class ForcedUnwind {};
#endif

/// What a thread of the library does. One type for all, so that <thread> is instantiated once.
struct ThreadBody {
    std::shared_ptr<ThreadList> own;  ///< shared: the last thread may outlive its engine by a moment
    std::string name;
    std::function<void()> body;

    void operator()() const {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);  // inside of SQLite it would leave locks behind
        pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
        const ThreadList::Scope scope(*own);
        body();
    }
};

/// Starts a thread that runs `body`, which must not throw. `name` is cut to the 15 characters that Linux
/// shows. Signals that are sent to the process are blocked on it, so that the host's handlers for them never run there.
/// Those that a thread causes itself stay open, for crash reporters and for runtimes that live by them, and so does the
/// one that profilers measure by. Errors: Error if the system has no thread to give.
[[nodiscard]] inline std::jthread start_thread(std::shared_ptr<ThreadList> own, const std::string& name,
                                               std::function<void()> body) {
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
        return std::jthread(ThreadBody{std::move(own), name, std::move(body)});
    } catch (const std::system_error& error) {
        throw Error(detail::format("the thread \"{}\" cannot be started: {}", {name, error.code().message()}));
    }
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
