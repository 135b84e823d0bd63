// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/status_queries.hpp>.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/status_queries.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL FoundTask StatusQueries::find(const TaskId& id, std::size_t max_result) {
    constexpr auto most = static_cast<std::size_t>((std::numeric_limits<std::int64_t>::max)());
    Run run(db_, find_, {id.str(), static_cast<std::int64_t>((std::min)(max_result, most))});
    if (!run.step()) return {};
    FoundTask found{static_cast<TaskStatus>(run.integer(0)), std::string{run.bytes(1)}, std::string{run.bytes(2)},
                    std::string{run.bytes(4)}};
    const auto size = static_cast<std::size_t>(run.integer(3));
    if (size > max_result) found.oversize_result = size;
    return found;
}

BACKLITE_DECL TaskCounts StatusQueries::counts(detail::Ms now) {
    TaskCounts result;
    for (Run run(db_, counts_, {now}); run.step();) {
        QueueCounts& counts = result.emplace_back();
        counts.queue = run.bytes(0);
        counts.waiting = static_cast<std::uint64_t>(run.integer(1));
        counts.scheduled = static_cast<std::uint64_t>(run.integer(2));
        counts.running = static_cast<std::uint64_t>(run.integer(3));
        if (counts.waiting > 0) counts.oldest_due = from_ms(run.time(4));
    }
    return result;
}

BACKLITE_DECL std::vector<WaitingTask> StatusQueries::waiting(const std::string& queue, Duration ageing) {
    std::vector<WaitingTask> found;
    std::vector<std::pair<Rank, std::size_t>> order;
    for (Run run(db_, waiting_, {queue}); run.step();) {
        order.emplace_back(Rank::of(run.integer(4), run.time(1), ageing), order.size());
        found.push_back(
            {TaskId::from_text(std::string{run.bytes(0)}), run.time(1), run.integer(2), std::string{run.bytes(3)}});
    }
    std::sort(order.begin(), order.end());
    std::vector<WaitingTask> sorted;
    sorted.reserve(order.size());
    for (const auto& [rank, place] : order) sorted.push_back(std::move(found[place]));
    return sorted;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
