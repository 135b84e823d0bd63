// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/statistics.hpp>.

#include <backlite/store/sqlite/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::vector<store::Tally> tally(std::span<const detail::NewTask> tasks, std::int64_t now) {
    std::vector<store::Tally> tallies;
    for_each_queue(tasks, [&](std::string_view queue, std::int64_t count) {
        tallies.push_back({.minute = minute_of(now), .queue = queue, .added = count});
    });
    return tallies;
}

BACKLITE_DECL void Tallies::count(std::size_t queue, std::string_view name, std::int64_t due,
                                  const detail::AttemptResult& outcome) {
    if (outcome.resolution == detail::RowChange::release) return;  // as if it had never started
    store::Tally& start = at(queue, name, minute_of(outcome.executed_at));
    start.started += 1;
    start.wait_ms += due >= outcome.executed_at ? 0 : wait(due, outcome.executed_at);
    const std::int64_t run_us = (std::clamp)(outcome.duration_us, std::int64_t{0}, longest);
    store::Tally& end = at(queue, name, minute_of(saturating_add(outcome.executed_at, Duration{run_us / 1'000})));
    end.run_us += run_us;
    end.succeeded += outcome.resolution == detail::RowChange::complete ? 1 : 0;
    end.failed += outcome.resolution == detail::RowChange::fail ? 1 : 0;
    end.retried += outcome.resolution == detail::RowChange::retry ? 1 : 0;
}

BACKLITE_DECL store::Tally& Tallies::at(std::size_t queue, std::string_view name, std::int64_t minute) {
    std::size_t& latest = latest_[queue];
    if (latest == none || all_[latest].minute != minute) {
        latest = all_.size();
        all_.push_back({.minute = minute, .queue = name});
    }
    return all_[latest];
}

BACKLITE_DECL void Statistics::add(std::span<const store::Tally> tallies) {
    std::int64_t latest = (std::numeric_limits<std::int64_t>::min)();
    for (const store::Tally& tally : tallies) {
        for (const std::int64_t span : spans) {
            const std::int64_t past = tally.minute % span;
            Run(db_, add_,
                {span, tally.minute - (past < 0 ? past + span : past), tally.queue, tally.added, tally.started,
                 tally.succeeded, tally.failed, tally.retried, tally.wait_ms, tally.run_us})
                .change();
        }
        latest = (std::max)(latest, tally.minute);
    }
    if (tallies.empty() || swept_ == never || swept_ == latest) return;
    swept_ = latest;
    // By the file and not by the clock: one that is ahead deletes nothing before it has been so for an hour.
    const std::int64_t kept = saturating_add(known_minute(latest), Duration{-minutes_kept});
    for (const std::int64_t span : spans) Run(db_, sweep_, {span, kept}).change();
}

BACKLITE_DECL std::optional<std::int64_t> Statistics::latest_minute(std::int64_t until) {
    Run run(db_, latest_, {until});
    if (!run.step()) return std::nullopt;
    return run.integer(0);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
