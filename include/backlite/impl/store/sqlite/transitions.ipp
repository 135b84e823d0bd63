// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/transitions.hpp>.

#include <backlite/store/sqlite/transitions.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL bool Transitions::write(const detail::AttemptResult& outcome) {
    if (apply(outcome)) return true;
    Run run(db_, holds_, {outcome.id.str(), outcome.claim});
    if (!run.step()) return false;
    throw StorageError("the outcome of a task changed no row, although its claim is held", SQLITE_CONSTRAINT);
}

BACKLITE_DECL bool Transitions::apply(const detail::AttemptResult& outcome) {
    const std::string& id = outcome.id.str();
    switch (outcome.resolution) {
        case detail::RowChange::complete:
        case detail::RowChange::fail:
            if (outcome.keep_row && !keep(outcome)) return false;
            return Run(db_, remove_, {id, outcome.claim}).change() == 1;
        case detail::RowChange::retry:
            return Run(db_, retry_,
                       {id, outcome.claim, outcome.wait_until, outcome.executed_at, outcome.error,
                        outcome.spends_attempt})
                       .change() == 1;
        case detail::RowChange::snooze:
            return Run(db_, snooze_, {id, outcome.claim, outcome.wait_until, outcome.executed_at}).change() == 1;
        case detail::RowChange::release:
            if (outcome.wait) return Run(db_, put_off_, {id, outcome.claim, outcome.wait_until}).change() == 1;
            break;
    }
    return Run(db_, release_, {id, outcome.claim}).change() == 1;
}

BACKLITE_DECL bool Transitions::keep(const detail::AttemptResult& outcome) {
    const bool succeeded = outcome.resolution == detail::RowChange::complete;
    if (succeeded) {
        return Run(db_, keep_,
                   {outcome.id.str(), outcome.claim, outcome.executed_at, outcome.spends_attempt, outcome.duration,
                    succeeded, outcome.keep_payload, outcome.expires_at, nullptr})
                   .change() == 1;
    }
    return Run(db_, keep_,
               {outcome.id.str(), outcome.claim, outcome.executed_at, outcome.spends_attempt, outcome.duration,
                succeeded, outcome.keep_payload, outcome.expires_at, outcome.error})
               .change() == 1;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
