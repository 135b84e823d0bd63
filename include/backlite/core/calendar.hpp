// SPDX-License-Identifier: MIT
#pragma once
// Calendar: the times that a cron expression means in a time zone.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <backlite/core/cron_fields.hpp>
#include <backlite/core/zone.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// A cron expression in a zone. Constant after construction.
/// Threads: any.
class Calendar {
public:
    /// `zone`: as `Zone::find` reads it. Errors: ConfigError that names the expression and what is wrong with it.
    Calendar(std::string_view expression, std::string_view zone);

    /// In a zone that is known already; `zone()` is then what it is called here.
    Calendar(std::string_view expression, Zone zone, std::string_view name);

    [[nodiscard]] const std::string& expression() const noexcept { return expression_; }
    [[nodiscard]] const std::string& zone() const noexcept { return zone_name_; }

    /// The first time after `time`. With fixed hours, a local time that the clocks leave out stands for the first one
    /// after it, and one that they show twice for its first. With an hour field that begins with "*", each time counts
    /// at which the clocks show what matches: so one that is left out is none, and one that is shown twice is two.
    /// Units: whole seconds. `steps` grows by the months and stretches that were looked at: below 10,000 whatever the
    /// expression, some five for most.
    /// Errors: nullopt if there is none within 400 years, which no expression has.
    [[nodiscard]] std::optional<std::chrono::sys_seconds> next(std::chrono::sys_seconds time, std::size_t& steps) const;
    [[nodiscard]] std::optional<std::chrono::sys_seconds> next(std::chrono::sys_seconds time) const;

private:
    using Local = std::chrono::local_seconds;

    [[nodiscard]] static Local shown(std::chrono::sys_seconds time, const Stretch& in) noexcept {
        return Local{(time + in.offset).time_since_epoch()};
    }
    [[nodiscard]] static std::chrono::sys_seconds when(Local local, const Stretch& in) noexcept {
        return std::chrono::sys_seconds{local.time_since_epoch()} - in.offset;
    }

    /// The first local time that matches and is not before `local`.
    [[nodiscard]] std::optional<Local> match_from(Local local, std::size_t& steps) const;

    /// The latest local time that the clocks have shown until `time`.
    [[nodiscard]] Local latest_shown(std::chrono::sys_seconds time, std::size_t& steps) const;

    /// When the clocks show `local`, or something later, for the first time.
    [[nodiscard]] std::chrono::sys_seconds first_showing(Local local, std::size_t& steps) const;

    [[nodiscard]] std::optional<std::chrono::sys_seconds> next_shown(std::chrono::sys_seconds time,
                                                                     std::size_t& steps) const;

    std::string expression_;
    std::string zone_name_;
    CronFields fields_;
    Zone zone_;
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/calendar.ipp>
#endif
