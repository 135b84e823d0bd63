// SPDX-License-Identifier: MIT
#pragma once
// What SQLite, or a trigger of the host, refuses to write: kept apart from everything else, told, and tried again.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/setback.hpp>
#include <backlite/core/agenda.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Outcomes that could not be written, tasks that could not be claimed, and steps of a cycle that failed, each for a
/// reason of its own.
/// Threads: the dispatcher's.
class SetApart {
public:
    using Steady = std::chrono::steady_clock;

    /// Steps that are not about one task.
    enum class Step { statistics, jump, lapse, purge, children, partitions, last };

    SetApart(const QueueRegistry& queues, const detail::SafeLogger& tell) : queues_(queues), tell_(tell) {}

    /// Makes room for so many refused outcomes: to keep them needs no memory then. Errors: std::bad_alloc.
    void make_room(std::size_t outcomes) { outcomes_.reserve(outcomes_.size() + outcomes); }

    /// An outcome that was refused. Told the first time.
    void keep(store::EndedAttempt outcome, const StorageError& error, Steady::time_point now);

    /// A task that may not be claimed. Told the first time.
    void keep(const store::RefusedClaim& claim, Steady::time_point now);

    /// Some step that was refused. Told once an hour. Needs no memory.
    void keep(Step step, const StorageError& error, Steady::time_point now) noexcept;
    [[nodiscard]] bool waits(Step step, Steady::time_point now) const { return steps_[index(step)].waits(now); }
    [[nodiscard]] Steady::time_point until(Step step) const noexcept { return steps_[index(step)].until(); }

    /// A sign of life that was refused. Told once an hour for each task. Needs no memory.
    void tell_lease(const TaskId& id, const StorageError& error, Steady::time_point now) noexcept {
        tell_hourly("lease refused", id.str(), error, now);
    }

    /// A queue in which tasks wait and which nobody has registered. Told once an hour.
    void tell_stray(const std::string& queue, Steady::time_point now) {
        if (!first_in_an_hour("stray ", queue, now)) return;
        tell_(LogLevel::warning, "tasks wait in a queue that no client has registered", {{"queue", queue}});
    }

    /// Ends the wait of all outcomes.
    void hurry() noexcept {
        for (store::EndedAttempt& outcome : outcomes_) outcome.setback.at_once();
    }

    /// Moves the outcomes whose wait is over to `to`; whether some task may be claimed again. A queue of which much is
    /// refused is left alone. Errors: std::bad_alloc; then nothing has changed.
    [[nodiscard]] bool take_up(Steady::time_point now, std::vector<store::EndedAttempt>& to, Agenda& due);

    /// When the next wait is over.
    [[nodiscard]] Steady::time_point next() const noexcept;

    [[nodiscard]] const std::vector<store::EndedAttempt>& outcomes() const noexcept { return outcomes_; }

    /// The ids of tasks that are not to be claimed now, sorted.
    [[nodiscard]] std::vector<std::string> left() const;

private:
    struct Task {
        std::string id{};
        std::size_t queue = 0;
        bool left = false;  ///< its wait is not over
        detail::Setback setback{};
    };

    static constexpr std::size_t too_many = 100;
    static constexpr auto steps = static_cast<std::size_t>(Step::last);

    static constexpr std::size_t index(Step step) noexcept { return static_cast<std::size_t>(step); }

    [[nodiscard]] const std::string& name(std::size_t queue) const { return queues_[queue].config().name; }

    void tell_hourly(std::string_view what, std::string_view id, const StorageError& error,
                     Steady::time_point now) noexcept {
        if (!first_in_an_hour(what, id, now)) return;
        tell_(LogLevel::failure, what, {{"id", id}, {"error", error.what()}});
    }

    [[nodiscard]] bool first_in_an_hour(std::string_view what, std::string_view id, Steady::time_point now) noexcept;

    const QueueRegistry& queues_;
    const detail::SafeLogger& tell_;
    std::vector<store::EndedAttempt> outcomes_{};
    std::vector<Task> claims_{};
    detail::Setback steps_[steps]{};
    std::map<std::string, Steady::time_point> told_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/set_apart.ipp>
#endif
