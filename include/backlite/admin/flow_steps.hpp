// SPDX-License-Identifier: MIT
#pragma once
// The steps of a flow, as its task's saved values say them.

#include <optional>
#include <string_view>

#include <backlite/admin_values.hpp>
#include <backlite/base/times.hpp>
#include <backlite/store/sqlite/views/task_facts.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

/// What one of them says; nullopt: it is of no step.
[[nodiscard]] std::optional<StepRecord> step_of(const store::sqlite::TaskFactReads::FlowValue& value, detail::Ms now);

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin/flow_steps.ipp>
#endif
