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
#include <backlite/batch.hpp>
#include <backlite/error.hpp>
#include <backlite/queue.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Threads: reads from any while frozen; everything else needs its owner's lock.
class QueueRegistry {
public:
    /// Errors: ConfigError naming the queue if its name is taken.
    void add(std::unique_ptr<detail::QueueBase> queue);

    [[nodiscard]] std::size_t size() const noexcept { return queues_.size(); }
    [[nodiscard]] const detail::QueueBase& operator[](std::size_t index) const noexcept { return *queues_[index]; }

    /// The index of a queue; `size()` if it is not registered.
    [[nodiscard]] std::size_t find(std::string_view name) const noexcept;

    /// One head for each queue, in the order of the indexes, which is the order of the names.
    [[nodiscard]] std::vector<store::QueueHead> heads() const;

private:
    using Queues = std::vector<std::unique_ptr<detail::QueueBase>>;

    [[nodiscard]] Queues::const_iterator lower_bound(std::string_view name) const noexcept;

    Queues queues_{};  // sorted by name
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/queue_registry.ipp>
#endif
