// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/batch.hpp>.

#include <backlite/batch.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL void BatchOptions::validate(const QueueConfig& queue) const {
    constexpr int most = 10'000;
    if (max < 1 || max > most) {
        throw ConfigError(
            detail::format("queue \"{}\": BatchOptions::max is {}, must be from 1 to {}", {queue.name, max, most}));
    }
    if (max_wait < Duration::zero() || max_wait > std::chrono::hours{24 * 36'525}) {
        throw ConfigError(detail::format("queue \"{}\": BatchOptions::max_wait is {} ms, must be from 0 to 100 years",
                                         {queue.name, max_wait.count()}));
    }
    if (queue.limits.in_order) {
        throw ConfigError(detail::format("queue \"{}\": limits.in_order is set, but the tasks of a batch run together",
                                         {queue.name}));
    }
    if (queue.limits.running_per_partition > 0) {
        throw ConfigError(
            detail::format("queue \"{}\": limits.running_per_partition is {}, but a queue of batches has no such limit",
                           {queue.name, queue.limits.running_per_partition}));
    }
    if (max > 1 && queue.max_crashes < 2) {
        throw ConfigError(detail::format(
            "queue \"{}\": max_crashes is {}, must be at least 2 for a queue of batches: after a crash each task of "
            "the batch runs once more by itself",
            {queue.name, queue.max_crashes}));
    }
}

BACKLITE_DECL auto BatchContext::member(const char* call, std::size_t index) const -> const Member& {
    if (index < size()) return attempt_.members[index];
    throw UsageError(detail::format("queue \"{}\": BatchContext::{}: the batch has {} tasks, there is no number {}",
                                    {queue(), call, size(), index}));
}

BACKLITE_DECL void detail::check_outcomes(const std::string& queue, std::size_t outcomes, std::size_t tasks) {
    if (outcomes == tasks) return;
    throw UsageError(
        format("queue \"{}\": its processor returned {} outcomes for a batch of {} tasks", {queue, outcomes, tasks}));
}

BACKLITE_DECL void detail::throw_empty_batch_processor(const std::string& queue) {
    throw ConfigError(format("queue \"{}\": its processor is empty", {queue}));
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
