// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin_values.hpp>.

#include <array>

#include <backlite/admin_values.hpp>
#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL std::string_view to_string(TaskState state) noexcept {
    switch (state) {
        case TaskState::any: break;
        case TaskState::waiting: return "waiting";
        case TaskState::scheduled: return "scheduled";
        case TaskState::retrying: return "retrying";
        case TaskState::held: return "held";
        case TaskState::running: return "running";
        case TaskState::succeeded: return "succeeded";
        case TaskState::failed: return "failed";
        case TaskState::cancelled: return "cancelled";
        case TaskState::expired: return "expired";
    }
    return "any";
}

BACKLITE_DECL std::optional<TaskState> task_state(std::string_view name) noexcept {
    for (int i = 0; i <= static_cast<int>(TaskState::expired); ++i) {
        if (to_string(static_cast<TaskState>(i)) == name) return static_cast<TaskState>(i);
    }
    return std::nullopt;
}

BACKLITE_DECL bool TaskFilter::empty() const noexcept {
    return queue.empty() && state == TaskState::any && tag.empty() && text.empty() && id.empty() && !since && !until;
}

BACKLITE_DECL PageToken PageToken::parse(std::string_view text) {
    // The letter of a list; then what that list goes on behind, which is read where it is known.
    constexpr std::string_view lists = "iufedrc";
    const bool good =
        text.size() > 2 && text.size() <= 4'096 && lists.find(text[0]) != std::string_view::npos && text[1] == ':';
    if (!good) throw ConfigError(detail::format("not where a list goes on: \"{}\"", {detail::shown(text, 64)}));
    return PageToken{std::string{text}};
}

BACKLITE_DECL std::string_view to_string(StepState state) noexcept {
    switch (state) {
        case StepState::returned: return "returned";
        case StepState::failed: return "failed";
        case StepState::retrying: return "retrying";
        case StepState::sleeping: return "sleeping";
        case StepState::waiting: return "waiting";
        case StepState::timed_out: return "timed out";
        case StepState::joining: return "joining";
        case StepState::unreadable: break;
    }
    return "unreadable";
}

BACKLITE_DECL std::string_view to_string(Blocker blocker) noexcept {
    switch (blocker) {
        case Blocker::paused: return "the queue is paused";
        case Blocker::limit: return "the limit of the queue is reached";
        case Blocker::rate: return "the rate of the queue is used up for now";
        case Blocker::partition: return "it waits for the turn of its partition";
        case Blocker::parents: return "it waits for its parents";
        case Blocker::by_hand: return "it is held by hand";
        case Blocker::twin: return "it waits for another task with its unique key";
        case Blocker::no_client: break;
    }
    return "no started client is on the file";
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
