// SPDX-License-Identifier: MIT
#pragma once
// How the library's threads are made: named, deaf to signals that are sent to the process, and known as the library's
// own.

#include <functional>
#include <memory>
#include <string>
#include <thread>
#if defined(__GLIBCXX__)
#include <bits/cxxabi_forced.h>  // <cxxabi.h> is 700 lines
#endif

#include <backlite/base/guards.hpp>
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
        explicit Scope(ThreadList& list);
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
        ~Scope();

    private:
        friend ThreadList;

        ThreadList& list_;
        const std::thread::id thread_ = std::this_thread::get_id();
        // guarded by the mutex of the list, which clang does not see of another scope
        Scope* previous_ = nullptr;
        Scope* next_ = nullptr;
    };

    [[nodiscard]] bool has_this_thread() const noexcept;

private:
    mutable detail::Mutex mutex_{};
    Scope* first_ BACKLITE_GUARDED_BY(mutex_) = nullptr;
};

/// What unwinds the stack of a thread that ends by pthread_exit or pthread_cancel. glibc ends the process if a handler
/// keeps it, so each `catch (...)` around a processor lets it pass. libc++ shows it to no handler.
#if defined(__GLIBCXX__)
using ForcedUnwind = __cxxabiv1::__forced_unwind;
#else
class ForcedUnwind {};
#endif

/// From now on pthread_cancel does not end this thread: inside of SQLite it would leave locks behind.
void refuse_cancellation() noexcept;

/// The name of this thread in the system's lists, cut to the 15 characters that Linux shows.
void name_this_thread(const std::string& name) noexcept;

/// What a thread of the library does. One type for all, so that <thread> is instantiated once.
struct ThreadBody {
    std::shared_ptr<ThreadList> own;  ///< shared: the last thread may outlive its engine by a moment
    std::string name;
    std::function<void()> body;

    void operator()() const;
};

/// Starts a thread that runs `body`, which must not throw; its name is as name_this_thread() gives it. Signals that are
/// sent to the process are blocked on it, so that the host's handlers for them never run there. Those that a thread
/// causes itself stay open, for crash reporters and for runtimes that live by them, and so does the one that profilers
/// measure by. Errors: Error if the system has no thread to give.
[[nodiscard]] std::jthread start_thread(std::shared_ptr<ThreadList> own, const std::string& name,
                                        std::function<void()> body);

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/system.ipp>
#include <backlite/impl/platform/thread.ipp>
#endif
