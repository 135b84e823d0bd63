// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/progress_notes.hpp>.

#include <string>

#include <backlite/base/times.hpp>
#include <backlite/store/sqlite/progress_notes.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void ProgressNotes::put(const detail::ProgressNote& note) {
    if (!details_.mark(note.claim, false)) return;
    Run(db_, put_, {note.claim.id.str(), note.claim.number, note.at, note.fraction, note.message}).change();
}

BACKLITE_DECL std::optional<Progress> ProgressNotes::read(const TaskId& id) {
    Run run(db_, read_, {id.str()});
    if (!run.step()) return std::nullopt;
    Progress progress{{}, std::string{run.bytes(1)}, detail::from_ms(run.time(2))};
    if (!run.is_null(0)) progress.fraction = run.real(0);
    return progress;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
