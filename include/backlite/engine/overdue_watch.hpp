// SPDX-License-Identifier: MIT
#pragma once
// Tasks that run on although their token fired at their timeout: a thread cannot be killed, but it can be named.

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/logger.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Logs each such task once, ten seconds after its timeout. Threads: the dispatcher's.
class OverdueWatch {
public:
    using Steady = std::chrono::steady_clock;

    void look(const WorkerPool& pool, const core::QueueRegistry& queues, const detail::SafeLogger& tell,
              Steady::time_point now) {
        if (now < next_look_) return;
        next_look_ = saturating_add(now, std::chrono::seconds{1});
        std::vector<Overdue> overdue;
        for (const core::RunningTask& task : pool.running()) {
            const QueueConfig& queue = queues[task.queue].config();
            if (task.signal->reason() != StopReason::timeout) continue;
            if (now < saturating_add(saturating_add(task.started, queue.timeout), grace)) continue;
            if (!told(task)) {
                const auto running = std::chrono::duration_cast<std::chrono::seconds>(now - task.started);
                tell(LogLevel::warning, "task ignores its timeout",
                     {{"id", task.id.str()}, {"queue", queue.name}, {"running_s", running.count()}});
            }
            overdue.push_back({task.id, task.claim});
        }
        overdue_ = std::move(overdue);
    }

private:
    struct Overdue {
        TaskId id{};
        std::int64_t claim = 0;
    };

    static constexpr Duration grace = std::chrono::seconds{10};

    [[nodiscard]] bool told(const core::RunningTask& task) const noexcept {
        for (const Overdue& known : overdue_) {
            if (known.claim == task.claim && known.id == task.id) return true;
        }
        return false;
    }

    Steady::time_point next_look_{};
    std::vector<Overdue> overdue_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
