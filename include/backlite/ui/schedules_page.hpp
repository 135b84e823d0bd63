// SPDX-License-Identifier: MIT
#pragma once
// The schedules of a file: when each runs next, what it added last, and forms to run and pause them.

#include <vector>

#include <backlite/schedule.hpp>
#include <backlite/ui/act_forms.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/json.hpp>
#include <backlite/ui/layout.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

[[nodiscard]] Html schedules_page(const View& view, const std::vector<ScheduleInfo>& schedules);

[[nodiscard]] Json schedules_json(const View& view, const std::vector<ScheduleInfo>& schedules);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/schedules_page.ipp>
#endif
