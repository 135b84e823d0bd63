// SPDX-License-Identifier: MIT
#pragma once
// ScheduleOptions: what a schedule does, and what its tasks are like, as text that is stored.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <backlite/base/rows.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/schedule_rules.hpp>
#include <backlite/unique.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// The partition of a schedule's tasks, as the task and the limits of its queue say.
struct ScheduleLane {
    std::string name{};
    int turns = 0;
    bool in_order = false;
    bool rate = false;

    friend bool operator==(const ScheduleLane&, const ScheduleLane&) = default;
};

/// Stored as a JSON object, with those members alone that are not as by default: equal options have equal texts, also
/// in a later version of the library that knows more of them.
struct ScheduleOptions {
    /// The most missed slots that may run at once.
    static constexpr std::size_t most_missed = 10'000;

    MissedRule missed{};
    Overlap overlap = Overlap::allow;
    Duration jitter{};
    Duration start_deadline{};
    bool paused = false;  ///< what a new schedule begins with

    // Of its tasks, as the queue was configured when the schedule was defined.
    int priority = 0;
    Duration expires_after{};
    /// Of its unique key, but for a debounce: a slot has a time of its own.
    struct Key {
        Conflict conflict = Conflict::none;  ///< none: it has no key
        std::string key{};
        bool until_started = false;
        Duration period{};
        bool keep_row = false;
        bool keep_payload = false;
        Duration keep_time{};

        friend bool operator==(const Key&, const Key&) = default;
    };
    Key unique{};
    std::optional<ScheduleLane> partition{};
    std::size_t max_waiting = 0;
    Overflow overflow = Overflow::reject;

    /// The text. Errors: std::bad_alloc.
    [[nodiscard]] std::string text() const;

    /// Errors: ConfigError that names the member whose value cannot be, or the whole if that is no such object.
    /// Members that this version does not know count for nothing.
    [[nodiscard]] static ScheduleOptions read(std::string_view text);

    /// The same of a task that is to be added by each slot.
    void take(const detail::NewTask& task);
    /// A task without id, payload, queue and bound.
    [[nodiscard]] detail::NewTask task() const;
    /// The bound of its queue, of that name; null: it has none.
    [[nodiscard]] std::shared_ptr<const QueueConfig> bound(const std::string& queue) const;

    friend bool operator==(const ScheduleOptions& a, const ScheduleOptions& b) noexcept {
        return a.missed.misfire == b.missed.misfire && a.missed.max_missed == b.missed.max_missed &&
               a.overlap == b.overlap && a.jitter == b.jitter && a.start_deadline == b.start_deadline &&
               a.paused == b.paused && a.priority == b.priority && a.expires_after == b.expires_after &&
               a.unique == b.unique && a.max_waiting == b.max_waiting && a.overflow == b.overflow &&
               a.partition == b.partition;
    }
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/schedule_options.ipp>
#endif
