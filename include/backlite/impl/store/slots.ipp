// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/slots.hpp>.

#include <backlite/store/slots.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

BACKLITE_DECL bool still_as_seen(const SlotPlan& plan, const ScheduleRow& row) {
    const ScheduleRow& seen = *plan.seen;
    if (plan.by_hand) return row.queue == seen.queue && row.payload == seen.payload && row.options == seen.options;
    ScheduleRow same = row;
    same.last = seen.last;
    same.last_task = seen.last_task;
    if (plan.run.empty()) same.payload = seen.payload;  // it may not have been read
    return same == seen;
}

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
