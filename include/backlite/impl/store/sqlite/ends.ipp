// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/ends.hpp>.

#include <backlite/store/sqlite/ends.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Ends::before_end(const Ending& ending) {
    if ((ending.flags & flag::children) != 0) mark(ending.id, ending.end == End::succeeded);
    if ((ending.flags & flag::details) == 0) return;
    if (!ending.keeps_row) return forget_details(ending.id);
    // Who may be run again goes on where it was.
    if (ending.end == End::succeeded || !ending.keeps_payload) Run(db_, forget_saved_, {ending.id}).change();
}

BACKLITE_DECL void Ends::before_return(const std::string& /*id*/, std::int64_t /*flags*/) {}

BACKLITE_DECL void Ends::forget_details(const std::string& id) {
    for (Statement* const forget :
         {&forget_saved_, &forget_progress_, &forget_attempts_, &forget_tags_, &forget_details_}) {
        Run(db_, *forget, {id}).change();
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
