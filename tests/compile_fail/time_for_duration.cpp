// expect: StoredTime<
// SPDX-License-Identifier: MIT
#include <backlite/store/plan.hpp>

backlite::Duration jump(const backlite::store::CyclePlan& plan) { return plan.past; }
