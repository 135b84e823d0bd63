// SPDX-License-Identifier: MIT
#pragma once
// Which threads of this process have a backlite::Transaction open on which file: a write outside of it would wait for
// itself.

#include <atomic>
#include <new>
#include <thread>
#include <utility>

#include <sqlite3.h>

#include <backlite/base/guards.hpp>
#include <backlite/platform/file_identity.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// One for all modules of the process, of whatever version: a member is changed only with the name of the place.
/// Threads: any.
class OpenTransactions {
public:
    /// Errors: std::bad_alloc; the next call tries again.
    [[nodiscard]] static OpenTransactions& instance() {
        static OpenTransactions& all = shared();
        return all;
    }

    void add(platform::FileIdentity file, std::thread::id thread) {
        const detail::LockGuard lock(mutex_);
        first_ = new Entry{file, thread, first_.load()};
    }

    void remove(platform::FileIdentity file, std::thread::id thread) noexcept;

    [[nodiscard]] bool on_this_thread(platform::FileIdentity file);

private:
    struct Entry {
        platform::FileIdentity file;
        std::thread::id thread;
        std::atomic<Entry*> next;

        [[nodiscard]] bool is(platform::FileIdentity f, std::thread::id t) const { return file == f && thread == t; }
    };

    OpenTransactions() = default;
    ~OpenTransactions() = default;

    /// Modules that hide their symbols have no object in common but those of SQLite, which knows file systems by name:
    /// one that nobody opens leads to the list. Never destroyed: static objects may still use it.
    static OpenTransactions& shared();

    detail::Mutex mutex_{};
    // guarded by mutex_, but for the question whether there is any
    std::atomic<Entry*> first_{nullptr};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/open_transactions.ipp>
#endif
