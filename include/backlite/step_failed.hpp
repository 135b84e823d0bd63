// SPDX-License-Identifier: MIT
#pragma once
// What a flow throws when a step, or tasks that it waits for, have failed for good.

#include <string>
#include <utility>
#include <vector>

#include <backlite/error.hpp>
#include <backlite/id.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// A step of a flow has failed for good. It is thrown again each time that the flow comes to that step.
class StepFailed : public Error {
public:
    /// `reason`: of the last attempt.
    StepFailed(std::string step, int occurrence, const std::string& reason);

    /// The name of the step.
    [[nodiscard]] const std::string& step() const noexcept { return step_; }
    /// Which of the steps of that name, from 1.
    [[nodiscard]] int occurrence() const noexcept { return occurrence_; }

private:
    std::string step_;
    int occurrence_;
};

/// One of a flow's children that did not succeed.
struct FailedChild {
    TaskId id{};          ///< empty if it is not known any more
    std::string error{};  ///< why
};

/// Children of a flow have not succeeded, of those that `Flow::map` has waited for. The others have, and all have
/// ended.
class ChildrenFailed : public StepFailed {
public:
    /// The children in their order.
    ChildrenFailed(std::string step, int occurrence, std::vector<FailedChild> children);

    /// Those that have not succeeded, in their order.
    [[nodiscard]] const std::vector<FailedChild>& children() const noexcept { return children_; }

private:
    std::vector<FailedChild> children_;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/step_failed.ipp>
#endif
