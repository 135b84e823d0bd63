// SPDX-License-Identifier: MIT
#pragma once
// Event: what observers are told of, for metrics and traces.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <backlite/clock.hpp>
#include <backlite/id.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// What has happened. Each is told after the commit that makes it true, by the client that made that commit.
enum class EventKind : std::uint8_t {
    added,            ///< a task is in the file. Not told of tasks added by `tx` to a connection without a Transaction
    started,          ///< an attempt begins: `attempt`; `wait`: how long the task was due
    succeeded,        ///< an attempt, and with it the task: `attempt`, `wait`, `duration`; so with the next five
    failed,           ///< the task, for good: `error`. `attempt` is that which was not begun if the library gave it up
    retried,          ///< an attempt failed, and another follows at `due`: `error`
    snoozed,          ///< the task asked to run later, at `due`
    released,         ///< a claim was given back, because of a stop or for want of memory; not begun: `attempt` is zero
    cancelled,        ///< the task ended by `cancel`; `attempt` is zero if it waited
    expired,          ///< the task ended because it had not started in time
    claim_lost,       ///< a claim was taken by another client: what its attempt does changes nothing
    rescued,          ///< claims of a client that died, hung or is unknown were taken back: `count`
    crashed,          ///< a process died inside of the task's processor
    purged,           ///< finished tasks had expired and were deleted: `count`
    client_started,   ///< its dispatcher runs
    client_stopped,   ///< all of its tasks have ended, and what could be written is
    client_failed,    ///< the client stops itself, its file cannot be used any more: `error`
    storage_failing,  ///< outcomes and claims cannot be written, and are tried again: `error`
    storage_recovered,  ///< they can
    stuck,              ///< a task runs on although its timeout has passed: `duration`, so far
    dropped,            ///< `count` events before this one were not told: observers were too slow, or memory was short
};

/// The name of the kind, such as "task processed": the message of the log's event, where the log has one for it. Both a
/// failed attempt that another follows and one that was the last are "task failed" there.
[[nodiscard]] std::string_view to_string(EventKind kind) noexcept;

/// Something that has happened to a task or to a client. Never holds a payload. A field that says nothing of a kind is
/// empty.
struct Event {
    EventKind kind{};                      ///< what has happened
    TimePoint time{};                      ///< when it had become true, by the client's clock
    std::string queue{};                   ///< of the task
    TaskId task_id{};                      ///< of the task
    int attempt = 0;                       ///< its number, from 1
    Duration wait{};                       ///< how long the task had been due when the attempt began
    std::chrono::microseconds duration{};  ///< how long the attempt took
    std::string error{};                   ///< what went wrong; of a task at most 4,096 bytes
    TimePoint due{};                       ///< added, retried, snoozed: when the task is due
    std::int64_t count = 0;                ///< how many
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/event.ipp>
#endif
