// SPDX-License-Identifier: MIT
#pragma once
// SQL that knows what tasks say of how far they are.

#include <optional>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/sqlite/details.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// `put` REQUIRES a write transaction; on a StorageError the caller rolls back.
class ProgressNotes {
public:
    explicit ProgressNotes(sqlite3* db) noexcept : db_{db} {}

    /// Takes the place of what the task has said before. Nothing if its claim is not held any more.
    void put(const detail::ProgressNote& note);

    /// nullopt: the task has said nothing, or is not there.
    [[nodiscard]] std::optional<Progress> read(const TaskId& id);

private:
    Handle db_;
    Details details_{db_};
    Statement put_{
        "INSERT INTO main.backlite_progress (task, claim, at, fraction, message) VALUES (?1, ?2, ?3, ?4, ?5) "
        "ON CONFLICT (task) DO UPDATE SET claim = excluded.claim, at = excluded.at, fraction = excluded.fraction, "
        "message = excluded.message"};
    Statement read_{
        "SELECT max(0.0, min(1.0, CAST(fraction AS real))), substr(message, 1, 10000), at FROM main.backlite_progress "
        "WHERE task = ?1"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/progress_notes.ipp>
#endif
