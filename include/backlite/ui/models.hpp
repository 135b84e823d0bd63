// SPDX-License-Identifier: MIT
#pragma once
// What pages show, by the names that it has in admin/.

#include <backlite/admin/model.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

using admin::Bucket;
using admin::Count;
using admin::Counted;
using admin::Cursor;
using admin::Day;
using admin::Filter;
using admin::finished_at;
using admin::Inside;
using admin::is_entered;
using admin::Overview;
using admin::Process;
using admin::QueueSummary;
using admin::State;
using admin::state_text;
using admin::TaskDetail;
using admin::TaskLine;
using admin::TaskList;

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
