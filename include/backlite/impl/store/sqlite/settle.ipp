// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/settle.hpp>.

#include <optional>
#include <string>

#include <backlite/store/sqlite/settle.hpp>
#include <backlite/store/sqlite/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL Settled settle(Transitions& transitions, Cancels& cancels, const detail::AttemptResult& outcome) {
    // Success counts all the same; what was asked of it is forgotten with the next end.
    const bool may_end = outcome.resolution != detail::RowChange::complete;
    const std::optional<Asked> asked = may_end ? cancels.asked(outcome.id) : std::nullopt;
    if (!asked) {
        const Written written = transitions.write(outcome);
        if (!written) return Settled::lost;
        return written.superseded ? Settled::cancelled : Settled::as_asked;
    }
    if (asked->undoes && outcome.resolution != detail::RowChange::fail) {
        const Written written = transitions.write(outcome);
        if (!written) return Settled::lost;
        if (written.superseded) return Settled::cancelled;
        cancels.wake_to_undo(outcome.id.str(), asked->at);
        return Settled::as_asked;
    }
    detail::AttemptResult end{.id = outcome.id,
                              .claim = outcome.claim,
                              .resolution = detail::RowChange::fail,
                              .keep_row = asked->keep.row,
                              .keep_payload = asked->keep.payload,
                              .executed_at = outcome.executed_at,
                              .duration = outcome.duration,
                              .expires_at = asked->expires_at(),
                              .error = std::string{Cancels::error},
                              .kind = Cancels::kind,
                              .attempt = outcome.attempt};
    if (end.executed_at == detail::Ms{}) end.executed_at = asked->at;  // it never started
    if (!transitions.write(end)) return Settled::lost;
    cancels.forget(outcome.id);
    return Settled::cancelled;
}

BACKLITE_DECL Settled settle_within(sqlite3* db, std::string_view queue, detail::Ms due,
                                    const detail::AttemptResult& outcome) {
    Ends ends(db);
    Transitions transitions(db, ends);
    Cancels cancels(db, ends);
    const Settled settled = settle(transitions, cancels, outcome);
    if (settled == Settled::as_asked) {
        Tallies tallies(1);
        tallies.count(0, queue, due, outcome);
        Statistics(db, std::nullopt).add(tallies.all());
    }
    return settled;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
