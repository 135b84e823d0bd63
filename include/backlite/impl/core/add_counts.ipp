// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/add_counts.hpp>.

#include <backlite/core/add_counts.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void AddCounts::added(std::span<const detail::NewTask> tasks, detail::Ms now) noexcept {
    detail::for_each_queue(
        tasks, [&](std::string_view queue, std::int64_t count) { add(queue, detail::minute_of(now), count); });
}

BACKLITE_DECL auto AddCounts::next(Steady::time_point now) -> Steady::time_point {
    const detail::LockGuard lock(mutex_);
    planned_ = !waiting_.empty() || !due_locked(now);
    if (!planned_) return (Steady::time_point::max)();
    return counted_ == Steady::time_point{} ? now : counted_ + pause;
}

BACKLITE_DECL std::vector<store::Tally> AddCounts::take(Steady::time_point now) {
    const detail::LockGuard lock(mutex_);
    counted_ = now;
    return std::exchange(waiting_, {});
}

BACKLITE_DECL void AddCounts::add(std::string_view queue, detail::Minute minute, std::int64_t count) noexcept {
    const detail::LockGuard lock(mutex_);
    const auto same = std::find_if(waiting_.rbegin(), waiting_.rend(), [&](const store::Tally& tally) {
        return tally.minute == minute && tally.queue == queue;
    });
    if (same != waiting_.rend()) {
        same->added += count;
        return;
    }
    try {
        waiting_.push_back({.minute = minute, .queue = queue, .added = count});
    } catch (...) {  // no memory: better uncounted than reported as not added
    }
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
