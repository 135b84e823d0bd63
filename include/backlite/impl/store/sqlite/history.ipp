// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/history.hpp>.

#include <backlite/platform/process.hpp>
#include <backlite/store/sqlite/history.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void History::put(const detail::AttemptResult& outcome) {
    const std::string& id = outcome.id.str();
    Run(db_, put_,
        {id, outcome.claim, outcome.attempt, outcome.executed_at, outcome.duration, failed, outcome.error,
         platform::host_name(), platform::own_pid()})
        .change();
    Run(db_, shorten_, {id, most}).change();
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
