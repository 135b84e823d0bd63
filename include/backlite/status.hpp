// SPDX-License-Identifier: MIT
#pragma once
// Where a task stands, and how many there are.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/clock.hpp>
#include <backlite/id.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Where a task stands.
enum class TaskStatus {
    pending,    ///< waits to be run: now, later, or again
    running,    ///< claimed by a client
    succeeded,  ///< done, and kept by its queue's retention
    failed,     ///< failed for good, and kept
    not_found,  ///< never added, or finished and not kept
    cancelled,  ///< ended by `cancel`, and kept
    expired,    ///< not started in time, and kept
};

[[nodiscard]] constexpr std::string_view to_string(TaskStatus status) noexcept {
    switch (status) {
        case TaskStatus::pending: return "pending";
        case TaskStatus::running: return "running";
        case TaskStatus::succeeded: return "succeeded";
        case TaskStatus::failed: return "failed";
        case TaskStatus::cancelled: return "cancelled";
        case TaskStatus::expired: return "expired";
        case TaskStatus::not_found: break;
    }
    return "not_found";
}

namespace detail {

/// Whether a task that stands there neither waits nor runs.
[[nodiscard]] constexpr bool has_ended(TaskStatus status) noexcept {
    return status != TaskStatus::pending && status != TaskStatus::running;
}

}  // namespace detail

/// A task that has finished, as `on_finished` tells it.
struct FinishedTask {
    TaskId id{};                                ///< of the task
    TaskStatus status = TaskStatus::not_found;  ///< not_found: it was not kept, and another client has ended it
    std::string error{};                        ///< why it failed, where that is known: at most 4,096 bytes
};

/// What `cancel` has done.
enum class CancelResult {
    cancelled,  ///< it waited, and never starts
    requested,  ///< it is claimed: its stop token fires, and unless it succeeds all the same, it ends as cancelled
    finished,   ///< it had ended, and is kept
    not_found,  ///< never added, or finished and not kept
};

[[nodiscard]] constexpr std::string_view to_string(CancelResult result) noexcept {
    switch (result) {
        case CancelResult::cancelled: return "cancelled";
        case CancelResult::requested: return "requested";
        case CancelResult::finished: return "finished";
        case CancelResult::not_found: break;
    }
    return "not_found";
}

/// What `signal` has done.
enum class SignalResult {
    sent,       ///< it is kept until the task reads it, or ends
    finished,   ///< the task has ended, and is kept
    not_found,  ///< never added, or finished and not kept
};

[[nodiscard]] constexpr std::string_view to_string(SignalResult result) noexcept {
    switch (result) {
        case SignalResult::sent: return "sent";
        case SignalResult::finished: return "finished";
        case SignalResult::not_found: break;
    }
    return "not_found";
}

/// What a task says of how far it is.
struct Progress {
    std::optional<double> fraction{};  ///< from 0 to 1
    std::string message{};             ///< what it says
    TimePoint time{};                  ///< when it said so
};

/// How many unfinished tasks one queue has.
struct QueueCounts {
    std::string queue{};                    ///< its name
    std::uint64_t waiting = 0;              ///< due, not claimed
    std::uint64_t scheduled = 0;            ///< due later
    std::uint64_t running = 0;              ///< claimed
    std::optional<TimePoint> oldest_due{};  ///< the due time of the oldest waiting task
};

/// One entry for each queue that has tasks, whether a client registered it or not, by name.
using TaskCounts = std::vector<QueueCounts>;

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
