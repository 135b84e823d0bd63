// SPDX-License-Identifier: MIT
#pragma once
// SQL that changes the state of a task: only here is a claim taken, given back, or ended. What became of a claim names
// the claim's number: a worker whose claim was taken away changes nothing.

#include <cstdint>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// A claim as others see it.
struct ForeignClaim {
    detail::ClaimKey key{};
    std::int64_t lease = 0;
};

/// All functions REQUIRE a write transaction; on a StorageError the caller rolls back.
class Transitions {
public:
    explicit Transitions(sqlite3* db) noexcept : db_{db} {}

    /// Inserts one task that is due now as claimed by `owner`, under the claim number 1.
    void insert_claimed(const detail::NewTask& task, detail::Ms now, std::int64_t owner) {
        Run(db_, insert_claimed_, {task.id.str(), now, task.queue, Blob{task.payload}, owner}).change();
    }

    /// Claims a waiting row under the next claim number. Errors: StorageError, also if a trigger of the host ignores
    /// the change.
    void claim(std::int64_t row, detail::Ms now, std::int64_t owner) {
        if (Run(db_, claim_, {row, now, owner}).change() == 1) return;
        throw StorageError("the claim of a task changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
    }

    /// Names a row that has no id, so that an outcome can be written by it.
    void name(std::int64_t row, const TaskId& id) { Run(db_, name_, {row, id.str()}).change(); }

    /// Writes one resolution. False if the claim is no longer held; then nothing is changed.
    /// Errors: StorageError, also if a trigger of the host ignores the change.
    [[nodiscard]] bool write(const detail::AttemptResult& outcome);

    /// Shows that the holder of a claim lives. False if the claim is no longer held.
    [[nodiscard]] bool extend(const detail::ClaimKey& claim) {
        return Run(db_, extend_, {claim.id.str(), claim.number}).change() == 1;
    }

    /// Counts a process death inside the processor against a claim.
    void count_crash(const ForeignClaim& claim) {
        Run(db_, count_crash_, {claim.key.id.str(), claim.key.number}).change();
    }

    /// Gives back all claims of an owner; how many there were.
    int release_all(std::int64_t owner) { return Run(db_, release_all_, {owner}).change(); }

    /// Gives back one claim, whatever its lease reads. False if it was given back already.
    bool release(const ForeignClaim& claim) {
        return Run(db_, release_, {claim.key.id.str(), claim.key.number}).change() == 1;
    }

    /// Gives back one claim whose lease still reads as it did. False if it changed.
    [[nodiscard]] bool release_unchanged(const ForeignClaim& claim) {
        return Run(db_, release_unchanged_, {claim.key.id.str(), claim.key.number, claim.lease}).change() == 1;
    }

    /// Gives back up to `limit` claims without an owner that were taken at `claimed_at` or before, the oldest first;
    /// how many.
    int release_ownerless(detail::Ms claimed_at, int limit) {
        return Run(db_, release_ownerless_, {claimed_at, limit}).change();
    }

    /// Gives back one of them, by its row.
    void release_ownerless_row(std::int64_t row) { Run(db_, release_ownerless_row_, {row}).change(); }

    /// Claims without an owner that were taken after `now` count as taken at `now`, so that they lapse: a clock was
    /// ahead. How many there were.
    int mend_ownerless(detail::Ms now) { return Run(db_, mend_ownerless_, {now}).change(); }

private:
    bool apply(const detail::AttemptResult& outcome);

    bool keep(const detail::AttemptResult& outcome);

    Handle db_;
    Statement insert_claimed_{
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at, owner, claim) "
        "VALUES (?1, ?2, ?3, ?4, ?2, ?5, 1)"};
    Statement name_{"UPDATE backlite_tasks SET id = ?2 WHERE rowid = ?1"};
    // The largest number stays as it is: it cannot be raised, and a row that others gave it must not keep all the
    // others of a batch from being claimed.
    Statement claim_{
        "UPDATE backlite_tasks SET claimed_at = ?2, owner = ?3, claim = min(claim, 9223372036854775806) + 1, lease = 0 "
        "WHERE rowid = ?1"};
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
    Statement count_crash_{
        "UPDATE backlite_tasks SET crashes = min(max(ifnull(crashes, 0), 0), 9223372036854775806) + 1 "
        "WHERE id = ?1 AND claim = ?2"};
    Statement release_all_{
        "UPDATE backlite_tasks INDEXED BY backlite_tasks_owner SET claimed_at = NULL, owner = NULL "
        "WHERE owner IS NOT NULL AND owner = ?1"};
    Statement release_unchanged_{
        "UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL "
        "WHERE id = ?1 AND claim = ?2 AND lease = ?3 AND claimed_at IS NOT NULL"};
    Statement release_ownerless_{
        "UPDATE backlite_tasks SET claimed_at = NULL WHERE rowid IN (SELECT rowid FROM backlite_tasks "
        "INDEXED BY backlite_tasks_ownerless WHERE claimed_at IS NOT NULL AND owner IS NULL AND claimed_at <= ?1 "
        "ORDER BY claimed_at LIMIT ?2)"};
    Statement release_ownerless_row_{"UPDATE backlite_tasks SET claimed_at = NULL WHERE rowid = ?1"};
    Statement mend_ownerless_{
        "UPDATE backlite_tasks INDEXED BY backlite_tasks_ownerless SET claimed_at = ?1 WHERE claimed_at IS NOT NULL "
        "AND owner IS NULL AND claimed_at > ?1 AND claimed_at <= 9223372036854775807"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/transitions.ipp>
#endif
