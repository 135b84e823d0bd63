// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/transitions.hpp>.

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/platform/process.hpp>
#include <backlite/store/sqlite/transitions.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Transitions::claim(std::int64_t row, detail::Ms now, std::int64_t owner, bool large) {
    std::optional<Blob> slack;
    if (large) {
        slack = slack_after(columns_of_row_, {row}, [&](StateColumns& columns) {
            columns.claimed_at = now.count();
            columns.owner = owner;
            if (columns.claim < (std::numeric_limits<std::int64_t>::max)()) ++columns.claim;
            columns.lease = 0;
        });
    }
    if (Run(db_, claim_, {row, now, owner, slack}).change() == 1) return;
    throw StorageError("the claim of a task changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
}

BACKLITE_DECL void Transitions::claim(std::span<const std::int64_t> rows, detail::Ms now, std::int64_t owner) {
    for (; rows.size() >= claims_at_once; rows = rows.subspan(claims_at_once)) {
        const int claimed = Run(db_, claim_many_, {now, owner}, rows.first(claims_at_once)).change();
        if (static_cast<std::size_t>(claimed) == claims_at_once) continue;
        throw StorageError("the claim of some tasks changed not all of their rows: a trigger ignored it",
                           SQLITE_CONSTRAINT);
    }
    for (const std::int64_t row : rows) claim(row, now, owner, false);
}

BACKLITE_DECL int Transitions::release_ownerless(detail::Ms claimed_at, int limit) {
    int released = 0;
    for (std::string queue; released < limit;) {
        {
            Run run(db_, next_ownerless_, {queue});
            if (!run.step()) break;
            queue = run.bytes(0);  // `run` has bound the old one, and is not asked again
        }
        released += return_flagged(flagged_ownerless_, {claimed_at, limit - released, queue});
        released += Run(db_, release_ownerless_, {claimed_at, limit - released, queue}).change();
    }
    return released;
}

BACKLITE_DECL int Transitions::release_all(std::int64_t owner) {
    const int ended = return_flagged(flagged_of_owner_, {owner});
    // Of one size for all of them: times since 1970 take six bytes.
    const std::size_t freed = StateColumns{.claimed_at = std::int64_t{1} << 40, .owner = owner}.bytes();
    return ended + Run(db_, release_all_, {owner, static_cast<std::int64_t>(freed)}).change();
}

BACKLITE_DECL Written Transitions::write(const detail::AttemptResult& outcome) {
    if (const Written written = apply(outcome)) {
        if (outcome.resolution == detail::RowChange::retry && !written.superseded) history_.put(outcome);
        if (outcome.resolution == detail::RowChange::release && outcome.expires_at && !written.superseded) {
            expiries_.put(outcome.id, *outcome.expires_at);
        }
        return written;
    }
    Run run(db_, holds_, {outcome.id.str(), outcome.claim});
    if (!run.step()) return {};
    throw StorageError("the outcome of a task changed no row, although its claim is held", SQLITE_CONSTRAINT);
}

BACKLITE_DECL bool Transitions::bring_back(const std::string& id, detail::Ms now, std::int64_t claim) {
    if (Run(db_, bring_back_, {id, now, claim, flag::details, flag::partition}).change() != 1) return false;
    Run(db_, remember_attempt_, {id, claim, History::failed}).change();
    ends_.forget_failure(id);
    return Run(db_, remove_kept_, {id}).change() == 1;
}

BACKLITE_DECL Written Transitions::apply(const detail::AttemptResult& outcome) {
    const std::string& id = outcome.id.str();
    const detail::Ms wait_until = wakes_at(outcome);
    switch (outcome.resolution) {
        case detail::RowChange::complete:
        case detail::RowChange::fail:
            if (outcome.keep_row && !keep(outcome)) return {};
            return {remove(outcome)};
        case detail::RowChange::retry:
        case detail::RowChange::snooze:
        case detail::RowChange::release: break;
    }
    const std::optional<Blob> slack = slack_after(outcome);
    const auto change = [&](std::int64_t flags) {
        switch (outcome.resolution) {
            case detail::RowChange::retry:
                return Run(db_, retry_,
                           {id, outcome.claim, outcome.wait_until, outcome.executed_at, outcome.error,
                            outcome.spends_attempt, slack, flags})
                           .change() == 1;
            case detail::RowChange::snooze:
                return Run(db_, snooze_, {id, outcome.claim, wait_until, outcome.executed_at, slack, flags}).change() ==
                       1;
            case detail::RowChange::release:
                if (!outcome.wait) break;
                return Run(db_, put_off_, {id, outcome.claim, outcome.wait_until, slack, flags}).change() == 1;
            case detail::RowChange::complete:
            case detail::RowChange::fail: break;
        }
        return Run(db_, release_, {id, outcome.claim, slack, flags}).change() == 1;
    };
    return give_back({outcome.id, outcome.claim}, change, std::nullopt, &outcome);
}

BACKLITE_DECL bool Transitions::supersede(const detail::ClaimKey& claim, const Superseded& superseded,
                                          const detail::AttemptResult* outcome) {
    detail::AttemptResult end{.id = claim.id,
                              .claim = claim.number,
                              .resolution = detail::RowChange::fail,
                              .keep_row = superseded.keep.row,
                              .keep_payload = superseded.keep.payload,
                              .executed_at = superseded.at,
                              .error = detail::format("superseded by {}", {superseded.by}),
                              .kind = detail::cancelled_kind};
    if (outcome != nullptr && outcome->executed_at != detail::Ms{}) {
        end.executed_at = outcome->executed_at;
        end.duration = outcome->duration;
        end.spends_attempt = outcome->spends_attempt;
    }
    const auto ran = std::chrono::duration_cast<Duration>(end.duration);
    end.expires_at = superseded.keep.until((std::max)(superseded.at, end.executed_at + ran));
    return apply(end).held;
}

BACKLITE_DECL bool Transitions::keep_key(const detail::AttemptResult& outcome) {
    const auto ran = std::chrono::duration_cast<Duration>(outcome.duration);
    const detail::Ms until = outcome.executed_at + ran + outcome.key_period;
    if (!outcome.keep_row) {
        detail::AttemptResult row = outcome;
        row.keep_payload = false;
        row.result.clear();
        row.expires_at = until;
        if (!keep(row)) return false;
    }
    ends_.keep_key(outcome.id.str(), until);
    return true;
}

BACKLITE_DECL detail::Ms Transitions::wakes_at(const detail::AttemptResult& outcome) {
    if (outcome.waits_for.empty()) return outcome.wait_until;
    std::string after = outcome.waits_for;
    ++after.back();
    Run run(db_, signalled_, {outcome.id.str(), outcome.waits_for, after, outcome.claim});
    if (!run.step()) return outcome.wait_until;
    ends_.note({std::string{run.bytes(0)}, outcome.executed_at});
    return outcome.executed_at;
}

BACKLITE_DECL bool Transitions::remove(const detail::AttemptResult& outcome) {
    const std::string& id = outcome.id.str();
    if (Run(db_, remove_, {id, outcome.claim, flag::on_end}).change() == 1) return true;
    const std::optional<std::int64_t> flags = flags_of({outcome.id, outcome.claim});
    if (!flags || (*flags & flag::on_end) == 0) return false;
    const bool finished = end_of(outcome.kind) == End::failed;  // or it succeeded
    if ((*flags & flag::keeps_key) != 0 && finished && outcome.key_period > Duration::zero() && !keep_key(outcome)) {
        return false;
    }
    const End end = outcome.resolution == detail::RowChange::complete ? End::succeeded : end_of(outcome.kind);
    ends_.before_end({id, *flags, end, outcome.keep_row, outcome.keep_payload, outcome.result, outcome.error});
    return Run(db_, remove_, {id, outcome.claim, 0}).change() == 1;
}

BACKLITE_DECL std::optional<std::int64_t> Transitions::flags_of(const detail::ClaimKey& claim,
                                                                std::optional<std::int64_t> lease) {
    Run run(db_, flags_, {claim.id.str(), claim.number, lease});
    return run.step() ? std::optional{run.integer(0)} : std::nullopt;
}

BACKLITE_DECL int Transitions::return_flagged(Statement& select, std::initializer_list<Value> values) {
    std::vector<std::pair<detail::ClaimKey, std::int64_t>> found;
    {
        Run run(db_, select, values);
        while (run.step()) {
            found.push_back({{TaskId::from_text(std::string{run.bytes(0)}), run.integer(2)}, run.integer(1)});
        }
    }
    int ended = 0;
    for (const auto& [claim, flags] : found) {
        const std::optional<Superseded> superseded = ends_.before_return(claim.id.str(), flags);
        if (superseded && supersede(claim, *superseded, nullptr)) ++ended;
    }
    return ended;
}

BACKLITE_DECL std::optional<std::size_t> Transitions::read_slack(Statement& select, std::initializer_list<Value> row,
                                                                 StateColumns& columns) {
    const auto size = [](std::optional<std::int64_t> bytes) {
        return bytes ? std::optional{static_cast<std::size_t>(*bytes)} : std::nullopt;
    };
    Run run(db_, select, row);
    if (!run.step()) return std::nullopt;
    columns = {.claimed_at = run.optional_integer(0),
               .owner = run.optional_integer(1),
               .wait_until = run.optional_integer(2),
               .last_executed_at = run.optional_integer(3),
               .claim = run.integer(4),
               .lease = run.integer(5),
               .crashes = run.integer(6),
               .attempts = run.integer(7),
               .flags = run.integer(10),
               .error = size(run.optional_integer(8))};
    return size(run.optional_integer(9));
}

BACKLITE_DECL std::optional<Blob> Transitions::slack_after(const detail::AttemptResult& outcome) {
    if (!outcome.large) return std::nullopt;
    return slack_after(columns_of_claim_, {outcome.id.str(), outcome.claim}, [&](StateColumns& columns) {
        columns.claimed_at = columns.owner = std::nullopt;
        if (outcome.resolution != detail::RowChange::release || outcome.wait) {
            columns.wait_until = outcome.wait_until.count();
        }
        if (outcome.resolution == detail::RowChange::release) return;
        columns.last_executed_at = outcome.executed_at.count();
        columns.crashes = 0;
        if (outcome.resolution == detail::RowChange::snooze) return;
        columns.error = outcome.error.size();
        columns.flags |= flag::details;
        columns.attempts = detail::saturating_sum(columns.attempts, outcome.spends_attempt ? 1 : 0);
    });
}

BACKLITE_DECL std::optional<Blob> Transitions::slack_given_back(const detail::ClaimKey& claim) {
    return slack_after(columns_of_claim_, {claim.id.str(), claim.number},
                       [](StateColumns& columns) { columns.claimed_at = columns.owner = std::nullopt; });
}

BACKLITE_DECL bool Transitions::keep(const detail::AttemptResult& outcome) {
    const bool succeeded = outcome.resolution == detail::RowChange::complete;
    const auto text = [](const std::string& it, bool given) {
        return given ? std::optional{std::string_view{it}} : std::nullopt;
    };
    const bool ran = outcome.attempt > 0;
    return Run(db_, keep_,
               {outcome.id.str(), outcome.claim, outcome.executed_at, outcome.spends_attempt, outcome.duration,
                succeeded, outcome.keep_payload, outcome.expires_at, text(outcome.error, !succeeded),
                succeeded ? std::nullopt : outcome.kind,
                succeeded && !outcome.result.empty() ? std::optional{Blob{outcome.result}} : std::nullopt,
                ran ? std::optional{std::string_view{platform::host_name()}} : std::nullopt,
                ran ? std::optional{platform::own_pid()} : std::nullopt})
               .change() == 1;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
