// SPDX-License-Identifier: MIT
#pragma once
// Memory for SQLite that runs out when a test says so.

#include <atomic>
#include <cstdint>
#include <stdexcept>

#include <sqlite3.h>

namespace backlite_test {

/// Stands between SQLite and its allocator, and restores that at the end. SQLite's small private pools are switched
/// off, so that every allocation is a call. Threads: any. REQUIRES: no connection is open when it comes and when it
/// goes; there is one at a time.
class FaultyMemory {
public:
    FaultyMemory() {
        sqlite3_shutdown();
        sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_);
        sqlite3_mem_methods methods = real_;
        methods.xMalloc = [](int size) { return fails() ? nullptr : real_.xMalloc(size); };
        methods.xRealloc = [](void* old, int size) { return fails() ? nullptr : real_.xRealloc(old, size); };
        sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
        if (sqlite3_initialize() != SQLITE_OK) throw std::runtime_error("SQLite cannot be started again");
    }
    FaultyMemory(const FaultyMemory&) = delete;
    FaultyMemory& operator=(const FaultyMemory&) = delete;
    ~FaultyMemory() {
        disarm();
        sqlite3_shutdown();
        sqlite3_config(SQLITE_CONFIG_MALLOC, &real_);
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 1200, 40);
        sqlite3_initialize();
    }

    /// The n-th allocation from now on fails, and if `for_good` all that follow.
    void arm(std::uint64_t nth, bool for_good) noexcept {
        calls_ = 0;
        met_ = false;
        for_good_ = for_good;
        nth_ = nth;
    }
    void disarm() noexcept { nth_ = 0; }
    /// Whether an allocation has failed since it was armed.
    [[nodiscard]] bool met() const noexcept { return met_; }
    /// How many allocations were asked for since it was armed.
    [[nodiscard]] std::uint64_t calls() const noexcept { return calls_; }

private:
    static bool fails() noexcept {
        const std::uint64_t nth = nth_;
        if (nth == 0) return false;
        const std::uint64_t call = ++calls_;
        if (for_good_ ? call < nth : call != nth) return false;
        met_ = true;
        return true;
    }

    static inline sqlite3_mem_methods real_{};
    static inline std::atomic<std::uint64_t> nth_{0};  // 0: nothing fails
    static inline std::atomic<std::uint64_t> calls_{0};
    static inline std::atomic<bool> for_good_{false};
    static inline std::atomic<bool> met_{false};
};

}  // namespace backlite_test
