// SPDX-License-Identifier: MIT
#pragma once
// What the children of a flow returned, as the saved values of the flow's task say it.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/step_failed.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Is given the results by the numbers of their tasks, in as many pages as there are.
class ChildResults {
public:
    using Take = std::function<void(const std::string& json)>;

    /// `prefix`: as `detail::result_values` has it. `count`: that many tasks return something, or zero. `take` is
    /// called for each result as long as all tasks have succeeded.
    ChildResults(std::string prefix, std::size_t count, const Take& take)
        : prefix_(std::move(prefix)), count_(count), take_(take) {}

    void add(const detail::SavedValue& value);

    /// That was all: those that have not succeeded, in their order.
    [[nodiscard]] std::vector<FailedChild> end();

private:
    void missing_until(std::size_t number);

    const std::string prefix_;
    const std::size_t count_;
    const Take& take_;
    std::size_t next_ = 0;
    std::vector<FailedChild> failed_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/child_results.ipp>
#endif
