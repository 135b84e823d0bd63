// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/outcome.hpp>.

#include <backlite/outcome.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Outcome Outcome::retry_at(TimePoint time, std::string reason) {
    Outcome outcome{Kind::retry_in, std::move(reason), {}};
    outcome.until_ = time;
    return outcome;
}

BACKLITE_DECL Outcome Outcome::snooze_until(TimePoint time) {
    Outcome outcome{Kind::snooze, {}, {}};
    outcome.until_ = time;
    return outcome;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
