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
#include <backlite/store/sqlite/claims.hpp>

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
    enum class Step { statistics, jump, lapse, purge, last };

    SetApart(const QueueRegistry& queues, const detail::SafeLogger& tell) : queues_(queues), tell_(tell) {}

    /// Makes room for so many refused outcomes: to keep them needs no memory then. Errors: std::bad_alloc.
    void make_room(std::size_t outcomes) { outcomes_.reserve(outcomes_.size() + outcomes); }

    /// An outcome that was refused. Told the first time.
    void keep(store::EndedAttempt outcome, const StorageError& error, Steady::time_point now) {
        if (!outcome.setback.any()) {
            tell_(LogLevel::failure, "outcome refused: it is set apart, and tried again",
                  {{"id", outcome.resolved.id.str()}, {"queue", name(outcome.queue)}, {"error", error.what()}});
        }
        outcome.setback.refused(now);
        outcomes_.push_back(std::move(outcome));
    }

    /// A task that may not be claimed. Told the first time.
    void keep(const store::RefusedClaim& claim, Steady::time_point now) {
        auto known =
            std::find_if(claims_.begin(), claims_.end(), [&](const Task& task) { return task.id == claim.id; });
        if (known == claims_.end()) {
            tell_(LogLevel::failure, "claim refused: the task is left, and tried again",
                  {{"id", claim.id}, {"queue", name(claim.queue)}, {"error", claim.error.what()}});
            known = claims_.insert(known, Task{claim.id, claim.queue});
        }
        known->left = true;
        known->setback.refused(now);
    }

    /// Some step that was refused. Told once an hour. Needs no memory.
    void keep(Step step, const StorageError& error, Steady::time_point now) noexcept {
        static constexpr std::string_view names[steps] = {"statistics are refused", "due times cannot be mended",
                                                          "claims of an unknown owner cannot be taken back",
                                                          "expired tasks cannot be deleted"};
        steps_[index(step)].refused(now);
        tell_hourly(names[index(step)], {}, error, now);
    }
    [[nodiscard]] bool waits(Step step, Steady::time_point now) const { return steps_[index(step)].waits(now); }

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
    [[nodiscard]] bool take_up(Steady::time_point now, std::vector<store::EndedAttempt>& to, Agenda& due) {
        if (outcomes_.empty() && claims_.empty()) return false;
        std::vector<std::size_t> refused(queues_.size());
        const auto over = std::partition(outcomes_.begin(), outcomes_.end(), [now](const store::EndedAttempt& outcome) {
            return outcome.setback.waits(now);
        });
        to.reserve(to.size() + static_cast<std::size_t>(outcomes_.end() - over));
        std::move(over, outcomes_.end(), std::back_inserter(to));
        outcomes_.erase(over, outcomes_.end());
        bool claimable = false;
        for (Task& task : claims_) {
            if (!task.setback.waits(now)) claimable = std::exchange(task.left, false) || claimable;
        }
        // What was not refused again was claimed, or is gone.
        std::erase_if(claims_, [now](const Task& task) {
            return !task.left && now - task.setback.until() > std::chrono::minutes{2};
        });
        for (const store::EndedAttempt& outcome : outcomes_) ++refused[outcome.queue];
        for (const Task& task : claims_) refused[task.queue] += task.left ? 1 : 0;
        for (std::size_t queue = 0; queue < refused.size(); ++queue) due.block(queue, refused[queue] >= too_many);
        return claimable;
    }

    /// When the next wait is over.
    [[nodiscard]] Steady::time_point next() const noexcept {
        auto next = (Steady::time_point::max)();
        for (const store::EndedAttempt& outcome : outcomes_) next = (std::min)(next, outcome.setback.until());
        for (const Task& task : claims_) {
            if (task.left) next = (std::min)(next, task.setback.until());
        }
        return next;
    }

    [[nodiscard]] const std::vector<store::EndedAttempt>& outcomes() const noexcept { return outcomes_; }

    /// The ids of tasks that are not to be claimed now, sorted.
    [[nodiscard]] std::vector<std::string> left() const {
        std::vector<std::string> ids;
        for (const Task& task : claims_) {
            if (task.left) ids.push_back(task.id);
        }
        std::sort(ids.begin(), ids.end());
        return ids;
    }

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

    [[nodiscard]] bool first_in_an_hour(std::string_view what, std::string_view id, Steady::time_point now) noexcept {
        std::erase_if(told_, [now](const auto& told) { return now - told.second >= std::chrono::hours{1}; });
        try {
            return told_.emplace(std::string{what}.append(id), now).second;
        } catch (const std::bad_alloc&) {  // better told twice than not
            return true;
        }
    }

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
