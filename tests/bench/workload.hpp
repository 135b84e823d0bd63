// SPDX-License-Identifier: MIT
#pragma once
// The task that all rows use, and the proof that each ran exactly once.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/config.hpp>

namespace bench {

/// What a row throws when the library did something wrong, instead of something slow.
struct Incorrect : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// About 80 bytes of JSON.
struct Upload {
    std::int64_t number = -1;
    std::string file{};
    std::string target{};

    static backlite::QueueConfig config() { return {.name = "upload"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Upload, number, file, target)

[[nodiscard]] inline Upload upload(std::size_t number) {
    return {static_cast<std::int64_t>(number), fmt::format("/var/spool/scan-{:06}.pdf", number), "archive/2024/inbox"};
}

/// Counts how often each of the tasks 0 to `expected` - 1 ran. Tasks with other numbers are not counted.
/// Threads: any.
class Runs {
public:
    explicit Runs(std::size_t expected) : counts_(expected) {}

    void ran(const Upload& task) noexcept {
        if (task.number < 0 || static_cast<std::size_t>(task.number) >= counts_.size()) return;
        counts_[static_cast<std::size_t>(task.number)].fetch_add(1, std::memory_order_relaxed);
        if (total_.fetch_add(1, std::memory_order_acq_rel) + 1 != counts_.size()) return;
        const std::lock_guard lock(mutex_);
        complete_ = true;
        changed_.notify_all();
    }

    /// Waits until as many runs were counted as there are tasks. Errors: Incorrect after two minutes.
    void await() {
        std::unique_lock lock(mutex_);
        const auto until = std::chrono::steady_clock::now() + std::chrono::minutes{2};
        while (!complete_) {
            if (std::chrono::steady_clock::now() >= until) {
                throw Incorrect(fmt::format("{} of {} tasks ran within two minutes", total_.load(), counts_.size()));
            }
            changed_.wait_for(lock, std::chrono::milliseconds{100});
        }
    }

    /// Errors: Incorrect if a task did not run, or ran more than once.
    void check() const {
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            const int count = counts_[i].load();
            if (count != 1) throw Incorrect(fmt::format("task {} ran {} times", i, count));
        }
    }

private:
    std::vector<std::atomic<int>> counts_;
    std::atomic<std::size_t> total_{0};
    std::mutex mutex_{};
    std::condition_variable changed_{};
    // guarded by mutex_
    bool complete_ = false;
};

}  // namespace bench
