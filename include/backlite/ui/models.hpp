// SPDX-License-Identifier: MIT
#pragma once
// What pages show, by the names that it has in store/.

#include <backlite/store/model.hpp>
#include <backlite/store/unavailable.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

using store::Bounds;
using store::Bucket;
using store::Count;
using store::Counted;
using store::Cursor;
using store::Day;
using store::Filter;
using store::finished_at;
using store::Found;
using store::Inside;
using store::is_entered;
using store::Metrics;
using store::Overview;
using store::Period;
using store::Process;
using store::QueueSummary;
using store::State;
using store::state_text;
using store::TaskDetail;
using store::TaskLine;
using store::TaskList;
using store::UnavailableReason;

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
