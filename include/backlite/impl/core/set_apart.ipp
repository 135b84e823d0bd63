// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/set_apart.hpp>.

#include <backlite/core/set_apart.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void SetApart::keep(store::EndedAttempt outcome, const StorageError& error, Steady::time_point now) {
    if (!outcome.setback.any()) {
        tell_(LogLevel::failure, "outcome refused: it is set apart, and tried again",
              {{"id", outcome.resolved.id.str()}, {"queue", name(outcome.queue)}, {"error", error.what()}});
    }
    outcome.setback.refused(now);
    outcomes_.push_back(std::move(outcome));
}

BACKLITE_DECL void SetApart::keep(const store::RefusedClaim& claim, Steady::time_point now) {
    auto known = std::find_if(claims_.begin(), claims_.end(), [&](const Task& task) { return task.id == claim.id; });
    if (known == claims_.end()) {
        tell_(LogLevel::failure, "claim refused: the task is left, and tried again",
              {{"id", claim.id}, {"queue", name(claim.queue)}, {"error", claim.error.what()}});
        known = claims_.insert(known, Task{claim.id, claim.queue});
    }
    known->left = true;
    known->setback.refused(now);
}

BACKLITE_DECL void SetApart::keep(Step step, const StorageError& error, Steady::time_point now) noexcept {
    static constexpr std::string_view names[steps] = {
        "statistics are refused", "due times cannot be mended", "claims of an unknown owner cannot be taken back",
        "expired tasks cannot be deleted", "children of a task that has ended cannot be changed"};
    steps_[index(step)].refused(now);
    tell_hourly(names[index(step)], {}, error, now);
}

BACKLITE_DECL bool SetApart::take_up(Steady::time_point now, std::vector<store::EndedAttempt>& to, Agenda& due) {
    if (outcomes_.empty() && claims_.empty()) return false;
    std::vector<std::size_t> refused(queues_.size());
    const auto over = std::partition(outcomes_.begin(), outcomes_.end(),
                                     [now](const store::EndedAttempt& outcome) { return outcome.setback.waits(now); });
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

BACKLITE_DECL auto SetApart::next() const noexcept -> Steady::time_point {
    auto next = (Steady::time_point::max)();
    for (const store::EndedAttempt& outcome : outcomes_) next = (std::min)(next, outcome.setback.until());
    for (const Task& task : claims_) {
        if (task.left) next = (std::min)(next, task.setback.until());
    }
    return next;
}

BACKLITE_DECL std::vector<std::string> SetApart::left() const {
    std::vector<std::string> ids;
    for (const Task& task : claims_) {
        if (task.left) ids.push_back(task.id);
    }
    std::sort(ids.begin(), ids.end());
    return ids;
}

BACKLITE_DECL bool SetApart::first_in_an_hour(std::string_view what, std::string_view id,
                                              Steady::time_point now) noexcept {
    std::erase_if(told_, [now](const auto& told) { return now - told.second >= std::chrono::hours{1}; });
    try {
        return told_.emplace(std::string{what}.append(id), now).second;
    } catch (const std::bad_alloc&) {  // better told twice than not
        return true;
    }
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
