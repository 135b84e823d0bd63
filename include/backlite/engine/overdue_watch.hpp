// SPDX-License-Identifier: MIT
#pragma once
// Tasks that run on although their token fired at their timeout: a thread cannot be killed, but it can be named.

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/engine/event_relay.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/logger.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Tells of each such task once, and replaces its worker if that is asked for. Threads: the dispatcher's.
class OverdueWatch {
public:
    using Steady = std::chrono::steady_clock;

    /// `events` may be null.
    OverdueWatch(const StuckTasks& stuck, EventRelay* events) : stuck_(stuck), events_(events) {}
    OverdueWatch(const OverdueWatch&) = delete;
    OverdueWatch& operator=(const OverdueWatch&) = delete;

    void look(WorkerPool& pool, const core::QueueRegistry& queues, const detail::SafeLogger& tell,
              Steady::time_point now);

private:
    [[nodiscard]] bool told(const core::RunningTask& task) const noexcept;

    const StuckTasks stuck_;
    EventRelay* const events_;
    Steady::time_point next_look_{};
    std::vector<detail::ClaimKey> overdue_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/overdue_watch.ipp>
#endif
