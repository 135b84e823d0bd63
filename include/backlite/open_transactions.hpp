// SPDX-License-Identifier: MIT
#pragma once
// Which threads of this process have a backlite::Transaction open on which file: a write outside of it would wait for
// itself.

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/storage/database_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Threads: any.
class OpenTransactions {
public:
    OpenTransactions(const OpenTransactions&) = delete;
    OpenTransactions& operator=(const OpenTransactions&) = delete;

    [[nodiscard]] static OpenTransactions& instance() {
        static OpenTransactions& all = *new OpenTransactions();  // never destroyed: static objects may still use it
        return all;
    }

    void add(storage::FileIdentity file, std::thread::id thread) {
        const std::lock_guard lock(mutex_);
        open_.emplace_back(file, thread);
        count_.store(open_.size(), std::memory_order_relaxed);
    }

    void remove(storage::FileIdentity file, std::thread::id thread) noexcept {
        const std::lock_guard lock(mutex_);
        const auto found = std::find(open_.begin(), open_.end(), std::pair{file, thread});
        if (found != open_.end()) open_.erase(found);
        count_.store(open_.size(), std::memory_order_relaxed);
    }

    [[nodiscard]] bool on_this_thread(storage::FileIdentity file) {
        if (count_.load(std::memory_order_relaxed) == 0) return false;  // own ones are always seen
        const std::lock_guard lock(mutex_);
        return std::find(open_.begin(), open_.end(), std::pair{file, std::this_thread::get_id()}) != open_.end();
    }

private:
    OpenTransactions() = default;
    ~OpenTransactions() = default;

    std::atomic<std::size_t> count_{0};
    std::mutex mutex_{};
    // guarded by mutex_
    std::vector<std::pair<storage::FileIdentity, std::thread::id>> open_{};
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
