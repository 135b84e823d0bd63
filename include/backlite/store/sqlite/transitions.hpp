// SPDX-License-Identifier: MIT
#pragma once
// SQL that writes what became of a claim. Every statement names the claim's number: a worker whose claim was taken
// away changes nothing.

#include <string>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

class Transitions {
public:
    explicit Transitions(sqlite3* db) noexcept : db_{db} {}

    /// Writes one resolution. False if the claim is no longer held; then nothing is changed.
    /// REQUIRES: inside a write transaction. Errors: StorageError, also if a trigger of the host ignores the change;
    /// the caller rolls back.
    [[nodiscard]] bool write(const detail::AttemptResult& outcome);

    /// Shows that the holder of a claim lives. False if the claim is no longer held.
    [[nodiscard]] bool extend(const detail::ClaimKey& claim) {
        return Run(db_, extend_, {claim.id.str(), claim.number}).change() == 1;
    }

private:
    bool apply(const detail::AttemptResult& outcome);

    bool keep(const detail::AttemptResult& outcome);

    Handle db_;
    Statement holds_{"SELECT 1 FROM backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement remove_{"DELETE FROM backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    // Here and below a number at its end stays there or begins anew: SQLite would refuse the sum, which is no
    // integer any more, and with it all that the transaction writes.
    // The id may be there: a program may have given a task the id of an old one that is still kept. OR REPLACE would
    // hold for what a trigger of the host writes too, and delete its rows.
    Statement keep_{
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
        "last_duration_micro, succeeded, task, expires_at, error) "
        "SELECT id, created_at, queue, ?3, min(max(ifnull(attempts, 0), 0), 9223372036854775807 - ?4) + ?4, ?5, ?6, "
        "CASE WHEN ?7 THEN task END, ?8, ?9 "
        "FROM backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL "
        "ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, queue = excluded.queue, "
        "last_executed_at = excluded.last_executed_at, attempts = excluded.attempts, "
        "last_duration_micro = excluded.last_duration_micro, succeeded = excluded.succeeded, task = excluded.task, "
        "expires_at = excluded.expires_at, error = excluded.error"};
    // A run that came back was no poison: retry and snooze begin to count crashes anew.
    Statement retry_{
        "UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL, wait_until = ?3, last_executed_at = ?4, error = "
        "?5, "
        "attempts = min(max(ifnull(attempts, 0), 0), 9223372036854775807 - ?6) + ?6, crashes = 0 "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement snooze_{
        "UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL, wait_until = ?3, last_executed_at = ?4, "
        "crashes = 0 "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement release_{
        "UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement put_off_{
        "UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL, wait_until = ?3 "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement extend_{
        "UPDATE backlite_tasks SET lease = iif(lease = 9223372036854775807, 0, lease + 1) "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/transitions.ipp>
#endif
