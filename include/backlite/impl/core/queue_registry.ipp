// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/queue_registry.hpp>.

#include <backlite/core/queue_registry.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void QueueRegistry::add(std::unique_ptr<detail::QueueBase> queue) {
    const std::string& name = queue->config().name;
    const auto place = lower_bound(name);
    if (place != queues_.end() && (*place)->config().name == name) {
        throw ConfigError(detail::format("queue \"{}\" is registered already: names are unique in a client", {name}));
    }
    queues_.insert(place, std::move(queue));
}

BACKLITE_DECL std::size_t QueueRegistry::find(std::string_view name) const noexcept {
    const auto place = lower_bound(name);
    const bool found = place != queues_.end() && (*place)->config().name == name;
    return found ? static_cast<std::size_t>(place - queues_.begin()) : queues_.size();
}

BACKLITE_DECL std::vector<store::QueueHead> QueueRegistry::heads() const {
    std::vector<store::QueueHead> heads;
    for (const auto& queue : queues_) {
        const QueueConfig& config = queue->config();
        heads.push_back({.name = config.name, .max_crashes = config.max_crashes, .priority = config.priority});
        // A task can be replaced as long as it waits, and one that is claimed ahead does not wait any more.
        heads.back().registered = heads.back().limits = config.limits;
        const Conflict conflict = config.unique.conflict;
        heads.back().never_ahead = conflict == Conflict::replace || conflict == Conflict::latest;
        if (const BatchOptions* const batch = queue->batch()) {
            heads.back().batch = batch->max;
            heads.back().batch_wait = batch->max_wait;
            heads.back().never_ahead = true;
        }
    }
    return heads;
}

BACKLITE_DECL auto QueueRegistry::lower_bound(std::string_view name) const noexcept -> Queues::const_iterator {
    return std::lower_bound(queues_.begin(), queues_.end(), name,
                            [](const std::unique_ptr<detail::QueueBase>& queue, std::string_view wanted) {
                                return queue->config().name < wanted;
                            });
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
