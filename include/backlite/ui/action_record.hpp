// SPDX-License-Identifier: MIT
#pragma once
// ActionRecord: what somebody did by a dashboard, for the host's own records.

#include <functional>
#include <string>

#include <backlite/admin_values.hpp>
#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// What somebody did by a dashboard.
struct ActionRecord {
    TimePoint time{};       ///< when it was done
    std::string who{};      ///< as Authorization::who says, else the address that asked
    std::string action{};   ///< as it is called in requests, such as run_now
    std::string tasks{};    ///< which: their ids, or what narrows the list; else the queue, or the schedule
    Affected affected{};    ///< what it did to tasks
    std::string failure{};  ///< why it ended before its end; empty: it did not
};

/// Is told of each action once it is done.
using Audit = std::function<void(const ActionRecord&)>;

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
