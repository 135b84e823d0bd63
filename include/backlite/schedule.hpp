// SPDX-License-Identifier: MIT
#pragma once
// Cron and Every: the times of what repeats; Schedule: a task that is added at each of them. Completes the functions of
// `Client` that are about schedules.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <backlite/add_op.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/schedule_rules.hpp>
#include <backlite/task.hpp>

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

/// A task that is added again and again: `client.schedule({.name = "nightly", .when = Cron{"0 3 * * *"}}, Cleanup{})`.
///
/// It is stored, and so is its next slot: it outlives restarts, and what was missed meanwhile is seen to by `misfire`.
/// Any client that is started on the file runs the slots of all schedules, whichever has defined them and whether it
/// has registered their queues or not. A slot and its task are written by one transaction, so each slot adds its task
/// at most once, whatever the number of processes.
struct Schedule {
    std::string name;                  ///< required, unique in the file: at most 255 bytes of UTF-8 without NUL
    std::variant<Cron, Every> when;    ///< required; `Every` counts from the schedule's creation, without drift
    Misfire misfire = Misfire::once;   ///< what is done about slots that were missed
    Overlap overlap = Overlap::allow;  ///< what a slot does while the task of the one before is unfinished
    Duration jitter{};                 ///< the task is due up to so long after its slot, each slot by a time of its own
    Duration start_deadline{};         ///< so long after its slot a task is not to start any more; zero: for ever.
                                       ///< A task that was added ends as expired then, a slot as late adds none
    bool paused = false;               ///< a new schedule is paused; in one that is there, a change of this counts
    std::size_t max_missed = 100;      ///< Misfire::all: if more were missed the latest so many run; 1 to 10,000
};

/// A schedule as it is stored.
struct ScheduleInfo {
    std::string name{};                 ///< its name
    std::string queue{};                ///< of its task
    std::string when{};                 ///< a cron expression, or a period such as "@every 900000ms"
    std::string zone{};                 ///< of the expression; empty: UTC
    std::optional<TimePoint> next{};    ///< the first slot that no client has looked at; nullopt: none is to come
    std::optional<TimePoint> last{};    ///< the last slot, or run by hand, that has added a task
    std::optional<TaskId> last_task{};  ///< the task added last
    bool paused = false;                ///< no slot runs, and `next` is nullopt
    std::string error{};                ///< why it cannot run here, such as a zone that is unknown; empty: it can
    Misfire misfire = Misfire::once;    ///< this and the next three as defined
    Overlap overlap = Overlap::allow;   ///< as defined
    Duration jitter{};                  ///< as defined
    Duration start_deadline{};          ///< as defined
};

template <class T>
bool ClientHandle::schedule(const Schedule& schedule, const T& task) const {
    static_assert(detail::check_task<T>());
    AddOp op(target());
    op.push(task);
    return put_schedule(schedule, std::move(op).take_task());
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/schedule.ipp>
#endif
