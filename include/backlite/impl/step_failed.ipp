// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/step_failed.hpp>.

#include <backlite/base/format.hpp>
#include <backlite/step_failed.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL StepFailed::StepFailed(std::string step, int occurrence, const std::string& reason)
    : Error(detail::format("step \"{}\" (occurrence {}) has failed: {}", {step, occurrence, reason})),
      step_(std::move(step)),
      occurrence_(occurrence) {}

BACKLITE_DECL ChildrenFailed::ChildrenFailed(std::string step, int occurrence, std::vector<FailedChild> children)
    : StepFailed(std::move(step), occurrence,
                 detail::format("{} of its tasks did not succeed; the first one: {}",
                                {children.size(), children.empty() ? std::string{} : children.front().error})),
      children_(std::move(children)) {}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
