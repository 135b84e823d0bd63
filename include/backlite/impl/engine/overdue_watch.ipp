// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/overdue_watch.hpp>.

#include <backlite/engine/overdue_watch.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL void OverdueWatch::look(WorkerPool& pool, const core::QueueRegistry& queues,
                                      const detail::SafeLogger& tell, Steady::time_point now) {
    if (now < next_look_) return;
    next_look_ = saturating_add(now, std::chrono::seconds{1});
    std::vector<detail::ClaimKey> overdue;
    for (const core::RunningTask& task : pool.running()) {
        const QueueConfig& queue = queues[task.queue].config();
        if (task.signal->reason() != StopReason::timeout) continue;
        if (now < saturating_add(saturating_add(task.started, queue.timeout), stuck_.after)) continue;
        if (!told(task)) {
            const auto running = std::chrono::duration_cast<std::chrono::seconds>(now - task.started);
            tell(LogLevel::warning, "task ignores its timeout",
                 {{"id", task.id.str()}, {"queue", queue.name}, {"running_s", running.count()}});
            if (events_ != nullptr) {
                events_->tell(EventKind::stuck, [&](Event& event) {
                    event.queue = queue.name;
                    event.task_id = task.id;
                    event.duration = std::chrono::duration_cast<detail::Us>(now - task.started);
                });
            }
        }
        // Again at each look: there may have been no place, or no thread.
        if (stuck_.replace_worker) pool.replace({task.id, task.claim});
        overdue.push_back({task.id, task.claim});
    }
    overdue_ = std::move(overdue);
}

BACKLITE_DECL bool OverdueWatch::told(const core::RunningTask& task) const noexcept {
    for (const detail::ClaimKey& known : overdue_) {
        if (known.number == task.claim && known.id == task.id) return true;
    }
    return false;
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
