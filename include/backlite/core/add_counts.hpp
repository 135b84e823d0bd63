// SPDX-License-Identifier: MIT
#pragma once
// Tasks that this client has added and that the statistics in the file do not count yet.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// An add that counts itself writes two rows more. So at most one in a second does, and counts those before it too; and
/// whatever the dispatcher writes takes them along. A death loses the count of a second's tasks, and no task.
/// Threads: any.
class AddCounts {
public:
    using Steady = std::chrono::steady_clock;

    /// Whether the last count is long enough ago.
    [[nodiscard]] bool due(Steady::time_point now) const {
        const detail::LockGuard lock(mutex_);
        return due_locked(now);
    }
    /// The same, and something is there to be counted.
    [[nodiscard]] bool overdue(Steady::time_point now) const {
        const detail::LockGuard lock(mutex_);
        return !waiting_.empty() && due_locked(now);
    }

    /// When the dispatcher has to count what waits, or what will: asked before each of its sleeps. If nothing waits and
    /// the last count is long ago, there is no such time, and whoever leaves something behind must tell it.
    [[nodiscard]] Steady::time_point next(Steady::time_point now);

    /// Whether something waits to be counted and the dispatcher has to be told. Once: then it is taken to know.
    [[nodiscard]] bool untold() {
        const detail::LockGuard lock(mutex_);
        return !waiting_.empty() && !std::exchange(planned_, true);
    }

    /// What one transaction is to count. Unless it says that it has, the next one will.
    class Batch {
    public:
        Batch(AddCounts& counts, Steady::time_point now) : counts_(counts), tallies_(counts.take(now)) {}
        Batch(const Batch&) = delete;
        Batch& operator=(const Batch&) = delete;
        ~Batch() {
            for (const store::Tally& tally : tallies_) counts_.add(tally.queue, tally.minute, tally.added);
        }

        [[nodiscard]] const std::vector<store::Tally>& tallies() const noexcept { return tallies_; }
        void written() noexcept { tallies_.clear(); }

    private:
        AddCounts& counts_;
        std::vector<store::Tally> tallies_;
    };

    /// These are in the file now, and not counted there.
    void added(std::span<const detail::NewTask> tasks, detail::Ms now) noexcept;

private:
    static constexpr std::chrono::seconds pause{1};

    [[nodiscard]] bool due_locked(Steady::time_point now) const BACKLITE_REQUIRES(mutex_) {
        return counted_ == Steady::time_point{} || now - counted_ >= pause;
    }

    [[nodiscard]] std::vector<store::Tally> take(Steady::time_point now);

    void add(std::string_view queue, detail::Minute minute, std::int64_t count) noexcept;

    mutable detail::Mutex mutex_{};
    std::vector<store::Tally> waiting_ BACKLITE_GUARDED_BY(mutex_){};
    Steady::time_point counted_ BACKLITE_GUARDED_BY(mutex_){};
    bool planned_ BACKLITE_GUARDED_BY(mutex_) = false;  ///< the dispatcher wakes up to count
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/add_counts.ipp>
#endif
