// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/schedule.hpp>.

#include <backlite/base/format.hpp>
#include <backlite/core/calendar.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/schedule.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Cron::Cron(std::string_view expression, std::string_view zone)
    : calendar_(std::make_shared<const core::Calendar>(expression, zone)) {}

BACKLITE_DECL TimePoint Cron::next(TimePoint time) const {
    using std::chrono::floor;
    using std::chrono::seconds;
    const auto found = calendar_->next(floor<seconds>(time));
    if (!found || *found > floor<seconds>((TimePoint::max)())) {
        throw ConfigError(detail::format(
            "cron expression \"{}\": its next time is after the year 2262, where times end", {expression()}));
    }
    return *found;
}

BACKLITE_DECL const std::string& Cron::expression() const noexcept { return calendar_->expression(); }

BACKLITE_DECL const std::string& Cron::zone() const noexcept { return calendar_->zone(); }

BACKLITE_DECL TimePoint Every::next(TimePoint start, TimePoint time) const {
    const TimePoint::duration step = valid(period);
    const auto found =
        core::next_in_steps(start.time_since_epoch().count(), step.count(), time.time_since_epoch().count());
    if (!found) throw ConfigError("the next time of a period is after the year 2262, where times end");
    return TimePoint{TimePoint::duration{*found}};
}

BACKLITE_DECL Duration Every::valid(Duration period) { return core::valid_period(period); }

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
