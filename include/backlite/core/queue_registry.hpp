// SPDX-License-Identifier: MIT
#pragma once
// The queues that a client registered, by name. Frozen while the client is started: indexes into it are stable then.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/queue.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Threads: reads from any while frozen; everything else needs its owner's lock.
class QueueRegistry {
public:
    /// Errors: ConfigError naming the queue if its name is taken.
    void add(std::unique_ptr<detail::QueueBase> queue) {
        const std::string& name = queue->config().name;
        const auto place = lower_bound(name);
        if (place != queues_.end() && (*place)->config().name == name) {
            throw ConfigError(
                detail::format("queue \"{}\" is registered already: names are unique in a client", {name}));
        }
        queues_.insert(place, std::move(queue));
    }

    [[nodiscard]] std::size_t size() const noexcept { return queues_.size(); }
    [[nodiscard]] const detail::QueueBase& operator[](std::size_t index) const noexcept { return *queues_[index]; }

    /// The index of a queue; `size()` if it is not registered.
    [[nodiscard]] std::size_t find(std::string_view name) const noexcept {
        const auto place = lower_bound(name);
        const bool found = place != queues_.end() && (*place)->config().name == name;
        return found ? static_cast<std::size_t>(place - queues_.begin()) : queues_.size();
    }

    /// One head for each queue, in the order of the indexes, which is the order of the names.
    [[nodiscard]] std::vector<store::QueueHead> heads() const {
        std::vector<store::QueueHead> heads;
        for (const auto& queue : queues_) {
            heads.push_back({.name = queue->config().name, .max_crashes = queue->config().max_crashes});
        }
        return heads;
    }

private:
    using Queues = std::vector<std::unique_ptr<detail::QueueBase>>;

    [[nodiscard]] Queues::const_iterator lower_bound(std::string_view name) const noexcept {
        return std::lower_bound(queues_.begin(), queues_.end(), name,
                                [](const std::unique_ptr<detail::QueueBase>& queue, std::string_view wanted) {
                                    return queue->config().name < wanted;
                                });
    }

    Queues queues_{};  // sorted by name
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
