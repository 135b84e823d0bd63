// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/schedule.hpp>.

#include <backlite/base/format.hpp>
#include <backlite/core/calendar.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/core/schedule_changes.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/core/slot_plans.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/schedule.hpp>
#include <backlite/store/slots.hpp>
#include <backlite/store/store.hpp>

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

namespace detail {

/// Errors: ConfigError naming schedule, field and value.
BACKLITE_DECL core::ScheduleOptions checked_options(const Schedule& schedule) {
    const auto refuse = [&](const char* field, std::int64_t value, const char* why) {
        throw ConfigError(format("schedule \"{}\": Schedule::{} is {}, {}", {schedule.name, field, value, why}));
    };
    const auto among = [](auto value) { return static_cast<int>(value) >= 0 && static_cast<int>(value) <= 2; };
    constexpr Duration longest = std::chrono::hours{24} * 36'525;
    if (!among(schedule.misfire)) refuse("misfire", static_cast<int>(schedule.misfire), "which is no Misfire");
    if (!among(schedule.overlap)) refuse("overlap", static_cast<int>(schedule.overlap), "which is no Overlap");
    const auto check_time = [&](const char* field, Duration value) {
        if (value < Duration::zero()) refuse(field, value.count(), "which is below zero (ms)");
        if (value > longest) refuse(field, value.count(), "which is more than 100 years (ms)");
    };
    check_time("jitter", schedule.jitter);
    check_time("start_deadline", schedule.start_deadline);
    if (schedule.start_deadline > Duration::zero() && schedule.jitter >= schedule.start_deadline) {
        refuse("jitter", schedule.jitter.count(), "which is not less than start_deadline (ms)");
    }
    if (schedule.max_missed < 1 || schedule.max_missed > core::ScheduleOptions::most_missed) {
        refuse("max_missed", static_cast<std::int64_t>(schedule.max_missed), "must be 1 to 10000");
    }
    core::ScheduleOptions options;
    options.missed = {.misfire = schedule.misfire, .max_missed = schedule.max_missed};
    options.overlap = schedule.overlap;
    options.jitter = schedule.jitter;
    options.start_deadline = schedule.start_deadline;
    options.paused = schedule.paused;
    return options;
}

/// The spec and the zone as they are stored. Errors: ConfigError naming schedule and field.
BACKLITE_DECL void put_when(const Schedule& schedule, store::ScheduleRow& row) {
    if (const auto* const cron = std::get_if<Cron>(&schedule.when)) {
        row.spec = cron->expression();
        row.zone = cron->zone();
        return;
    }
    try {
        row.spec = core::Recurrence::spec_of(std::get<Every>(schedule.when).period);
    } catch (const ConfigError& error) {
        throw ConfigError(format("schedule \"{}\": Schedule::when: {}", {schedule.name, error.what()}));
    }
}

BACKLITE_DECL ScheduleInfo info_of(const store::ScheduleRow& row) {
    ScheduleInfo info{.name = row.name, .queue = row.queue, .when = row.spec, .zone = row.zone};
    info.paused = row.paused.has_value();
    if (row.next && !info.paused) info.next = from_ms(*row.next);
    if (row.last) info.last = from_ms(*row.last);
    if (!row.last_task.empty()) info.last_task = TaskId::from_text(row.last_task);
    try {
        const core::ScheduleOptions options = core::ScheduleOptions::read(row.options);
        info.misfire = options.missed.misfire;
        info.overlap = options.overlap;
        info.jitter = options.jitter;
        info.start_deadline = options.start_deadline;
        static_cast<void>(core::Recurrence(row.spec, row.zone, row.begun));
    } catch (const ConfigError& error) {
        info.error = error.what();
    }
    return info;
}

}  // namespace detail

BACKLITE_DECL bool ClientHandle::put_schedule(const Schedule& schedule, detail::NewTask task) const {
    engine_->check_call("Client::schedule");
    core::check_schedule_name(schedule.name);
    core::ScheduleOptions options = detail::checked_options(schedule);
    options.take(task);
    store::ScheduleRow wanted{.name = schedule.name, .queue = std::string{task.queue}};
    detail::put_when(schedule, wanted);
    engine_->check_types({&task, 1});
    wanted.payload = std::move(task.payload);
    const detail::Ms now = detail::to_ms(engine_->clock().now());
    const bool changed = engine_->store().change_schedule(
        schedule.name, [&](std::optional<store::ScheduleRow>& row) { return core::define(row, wanted, options, now); },
        {config().busy_timeout, {}});
    if (changed) engine_->refresh();
    return changed;
}

BACKLITE_DECL bool ClientHandle::unschedule(std::string_view name) const {
    engine_->check_call("Client::unschedule");
    core::check_schedule_name(name);
    return engine_->store().change_schedule(std::string{name},
                                            [](std::optional<store::ScheduleRow>& row) noexcept {
                                                const bool there = row.has_value();
                                                row.reset();
                                                return there;
                                            },
                                            {config().busy_timeout, {}});
}

BACKLITE_DECL bool ClientHandle::pause_schedule(std::string_view name) const {
    engine_->check_call("Client::pause_schedule");
    core::check_schedule_name(name);
    const detail::Ms now = detail::to_ms(engine_->clock().now());
    bool there = false;
    engine_->store().change_schedule(std::string{name},
                                     [&](std::optional<store::ScheduleRow>& row) noexcept {
                                         there = row.has_value();
                                         return there && core::pause(*row, now);
                                     },
                                     {config().busy_timeout, {}});
    return there;
}

BACKLITE_DECL bool ClientHandle::resume_schedule(std::string_view name) const {
    engine_->check_call("Client::resume_schedule");
    core::check_schedule_name(name);
    const detail::Ms now = detail::to_ms(engine_->clock().now());
    bool there = false;
    const bool changed = engine_->store().change_schedule(std::string{name},
                                                          [&](std::optional<store::ScheduleRow>& row) {
                                                              there = row.has_value();
                                                              return there && core::resume(*row, now);
                                                          },
                                                          {config().busy_timeout, {}});
    if (changed) engine_->refresh();
    return there;
}

BACKLITE_DECL std::optional<TaskId> ClientHandle::run_schedule(std::string_view name) const {
    engine_->check_call("Client::run_schedule");
    core::check_schedule_name(name);
    const store::Patience patience{config().busy_timeout, {}};
    for (;;) {
        std::optional<store::ScheduleRow> stored;
        engine_->store().change_schedule(
            std::string{name},
            [&](std::optional<store::ScheduleRow>& row) {
                stored = row;
                return false;
            },
            patience);
        if (!stored) throw UsageError(detail::format("run_schedule: there is no schedule \"{}\"", {name}));
        const detail::Ms now = detail::to_ms(engine_->clock().now());
        core::ScheduleOptions options = core::ScheduleOptions::read(stored->options);
        options.start_deadline = {};  // it is late by no slot
        store::SlotPlan plan = core::SlotPlans::plan_of(std::move(*stored), options);
        plan.by_hand = true;
        plan.run.push_back({engine_->next_id(now), now, now, core::SlotPlans::expiry_of(options, now, now)});
        engine::FinishWatch::Commit commit(engine_->finishes());
        const store::SlotResult result = engine_->store().run_schedule(plan, now, patience);
        commit.cancelled(result.cancelled);
        if (result.lost) continue;  // somebody has defined it anew
        engine_->refresh();
        if (engine::EventRelay* const events = engine_->events()) events->tell(plan, result);
        return result.added.empty() ? std::nullopt : std::optional{result.added.front().id};
    }
}

BACKLITE_DECL std::vector<ScheduleInfo> ClientHandle::schedules() const {
    engine_->check_call("Client::schedules");
    std::vector<ScheduleInfo> all;
    for (const store::ScheduleRow& row : engine_->store().schedules()) all.push_back(detail::info_of(row));
    return all;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
