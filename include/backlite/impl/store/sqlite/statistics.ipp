// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/statistics.hpp>.

#include <backlite/store/sqlite/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::vector<store::Tally> tally(std::span<const detail::NewTask> tasks, detail::Ms now) {
    std::vector<store::Tally> tallies;
    detail::for_each_queue(tasks, [&](std::string_view queue, std::int64_t count) {
        tallies.push_back({.minute = detail::minute_of(now), .queue = queue, .added = count});
    });
    return tallies;
}

BACKLITE_DECL void Tallies::count(std::size_t queue, std::string_view name, detail::Ms due,
                                  const detail::AttemptResult& outcome) {
    if (!outcome.counts()) return;
    store::Tally& start = at(queue, name, detail::minute_of(outcome.executed_at));
    start.started += 1;
    start.waited += (std::clamp)(outcome.executed_at - due, Duration{}, longest_waited);
    const detail::Us ran = (std::clamp)(outcome.duration, detail::Us{}, longest_ran);
    store::Tally& end =
        at(queue, name, detail::minute_of(outcome.executed_at + std::chrono::duration_cast<Duration>(ran)));
    end.ran += ran;
    end.succeeded += outcome.resolution == detail::RowChange::complete ? 1 : 0;
    end.failed += outcome.resolution == detail::RowChange::fail ? 1 : 0;
    end.retried += outcome.resolution == detail::RowChange::retry ? 1 : 0;
}

BACKLITE_DECL store::Tally& Tallies::at(std::size_t queue, std::string_view name, detail::Minute minute) {
    std::size_t& latest = latest_[queue];
    if (latest == none || all_[latest].minute != minute) {
        latest = all_.size();
        all_.push_back({.minute = minute, .queue = name});
    }
    return all_[latest];
}

BACKLITE_DECL void Statistics::add(std::span<const store::Tally> tallies) {
    auto latest = detail::Minute::earliest();
    for (const store::Tally& tally : tallies) {
        for (const std::int64_t span : spans) {
            const std::int64_t past = tally.minute.count() % span;
            Run(db_, add_,
                {span, tally.minute - std::chrono::minutes{past < 0 ? past + span : past}, tally.queue, tally.added,
                 tally.started, tally.succeeded, tally.failed, tally.retried, tally.waited.count(), tally.ran})
                .change();
        }
        latest = (std::max)(latest, tally.minute);
    }
    if (tallies.empty() || !swept_ || swept_ == latest) return;
    swept_ = latest;
    // By the file and not by the clock: one that is ahead deletes nothing before it has been so for an hour.
    const detail::Minute first_kept = known_minute(latest) - kept;
    for (const std::int64_t span : spans) Run(db_, sweep_, {span, first_kept}).change();
}

BACKLITE_DECL std::optional<detail::Minute> Statistics::latest_minute(detail::Minute until) {
    Run run(db_, latest_, {until});
    if (!run.step()) return std::nullopt;
    return detail::Minute{run.integer(0)};
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
