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
