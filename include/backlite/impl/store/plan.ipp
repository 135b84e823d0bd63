// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/plan.hpp>.

#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

BACKLITE_DECL Rank Rank::of(std::int64_t priority, detail::Ms due, Duration ageing) noexcept {
    const int levels = bounded_priority(priority);
    if (ageing == Duration::zero()) return {-levels, due};
    return {(due - ageing * levels).count(), due};
}

BACKLITE_DECL int QueueHead::full_batch() const noexcept {
    int most = batch;
    for (const int limit : {limits.running, limits.running_per_client}) {
        if (limit > 0) most = (std::min)(most, limit);
    }
    return most;
}

BACKLITE_DECL void QueueHead::gather(std::vector<detail::Ms> dues) noexcept {
    lacking = full_batch();
    full_at = never;
    if (dues.empty()) return;
    // Those that come later do not come into it: it starts without them.
    const detail::Ms until = *std::min_element(dues.begin(), dues.end()) + batch_wait;
    std::erase_if(dues, [until](detail::Ms time) noexcept { return time > until; });
    lacking -= static_cast<std::int64_t>(dues.size());
    if (lacking > 0) return;
    const auto last = dues.begin() + (full_batch() - 1);
    std::nth_element(dues.begin(), last, dues.end());
    full_at = *last;
}

BACKLITE_DECL std::optional<Rank> first_rank(const QueueHead& head, detail::Ms now, Duration ageing) noexcept {
    if (head.starts() > now) return std::nullopt;
    std::optional<Rank> first;
    const auto add = [&](std::int64_t priority, detail::Ms due) {
        const Rank rank = Rank::of(head.limits.in_order ? head.priority : priority, due, ageing);
        first = first ? (std::min)(*first, rank) : rank;
    };
    for (const Level& level : head.levels) {
        if (level.due <= now) add(level.priority, level.due);
    }
    if (!head.levels_known(now)) add(head.priority, head.unread <= now ? head.unread : head.due);
    return first;
}

BACKLITE_DECL NameRange NameRange::of(std::string_view name) { return {std::string{name}, std::string{name} + '\0'}; }

BACKLITE_DECL NameRange NameRange::with_prefix(std::string_view prefix) {
    NameRange names{std::string{prefix}, std::string{prefix}};
    while (!names.end->empty() && names.end->back() == '\xff') names.end->pop_back();
    if (names.end->empty()) {
        names.end.reset();
    } else {
        ++names.end->back();
    }
    return names;
}

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
