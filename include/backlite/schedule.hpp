// SPDX-License-Identifier: MIT
#pragma once
// Cron and Every: the times of what repeats. Pure functions of times: nothing here knows of a client.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/schedule_rules.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace core {
class Calendar;
}

/// Times by the calendar, as a crontab says them: "0 3 * * *" is three o'clock each night. A value; copies are cheap.
///
/// Five fields, minute, hour, day of month, month, day of week, or six with seconds first. In each of them `*`,
/// numbers, ranges (`9-17`), steps (`*/15`, `9-17/2`, `5/15` from 5 on) and lists of these; months and days of the week
/// also by name (`JAN`, `MON`). Sunday is 0 and 7. As a day of the month also `L` (the last), `L-3` (three days before
/// it), `15W` (the day from Monday to Friday nearest to the 15th, in the same month) and `LW` (the last one of these);
/// as a day of the week also `5#2` (the second Friday) and `5L` (the last one). `?` is `*` in these two. Instead of
/// fields
/// `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight` or `@hourly`.
///
/// Day of month and day of week combine as in crontab(5): if neither begins with `*`, a day matches that matches one of
/// them, otherwise both must match.
///
/// When clocks are changed: with fixed hours, a time that does not exist that day runs at the first that does, and one
/// that exists twice at its first. An hour field that begins with `*` goes by elapsed time: each time at which the
/// clocks show what matches.
/// Threads: any.
class Cron {
public:
    /// `zone`: such as "Europe/Berlin", as the system knows it, or an offset such as "+02:00"; empty: UTC.
    /// Errors: ConfigError that names the expression, the field and the value that cannot be read, is out of range or
    /// runs backwards; an expression that no date matches; a zone that is unknown or whose file is damaged.
    explicit Cron(std::string_view expression, std::string_view zone = "");

    /// A move copies too, so that there is no Cron without times.
    Cron(const Cron&) = default;
    /// Takes over the other's times and texts.
    Cron& operator=(const Cron&) = default;
    ~Cron() = default;

    /// The first time after `time`, never `time` itself. Units: whole seconds.
    /// Errors: ConfigError if there is none before std::chrono::system_clock ends, in the year 2262.
    [[nodiscard]] TimePoint next(TimePoint time) const;

    /// The text that it was made of.
    [[nodiscard]] const std::string& expression() const noexcept;

    /// The zone as it was given; empty for UTC by default.
    [[nodiscard]] const std::string& zone() const noexcept;

    /// Whether both were made of the same texts.
    friend bool operator==(const Cron& a, const Cron& b) noexcept {
        return a.expression() == b.expression() && a.zone() == b.zone();
    }

private:
    std::shared_ptr<const core::Calendar> calendar_;
};

/// Times at equal distances from a start. A value.
/// Threads: any.
struct Every {
    /// From one time to the next: above zero, at most 100 years.
    Duration period;

    /// Rounded up to milliseconds. Errors: ConfigError naming a period of zero, below, or of more than 100 years.
    template <class Rep, class Period>
    explicit Every(std::chrono::duration<Rep, Period> distance) : period(valid(to_duration(distance))) {}

    /// The first of `start + period`, `start + 2 * period` and so on that is after `time`: so it never drifts.
    /// Errors: ConfigError if that is beyond the end of std::chrono::system_clock, in the year 2262, or if `period` was
    /// set to what the constructor refuses.
    [[nodiscard]] TimePoint next(TimePoint start, TimePoint time) const;

    /// Whether the periods are equal.
    friend bool operator==(const Every&, const Every&) noexcept = default;

private:
    static Duration valid(Duration period);
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/schedule.ipp>
#endif
