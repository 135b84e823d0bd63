// SPDX-License-Identifier: MIT
#pragma once
// SQL that writes down the attempts after which a task went on.

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// An attempt that failed while others were left has a row in `backlite_attempts`; the last one is in the task's kept
/// row. A snooze has none, since it spends no attempt.
/// REQUIRES a write transaction; on a StorageError the caller rolls back.
class History {
public:
    /// Of each task: so many attempts, the last ones.
    static constexpr int most = 20;

    /// What `outcome` says. Stored: never renumber.
    static constexpr int failed = 1;

    explicit History(sqlite3* db) noexcept : db_{db} {}

    /// REQUIRES: the task's row has the flag `details`.
    void put(const detail::AttemptResult& outcome);

private:
    Handle db_;
    Statement put_{
        "INSERT INTO main.backlite_attempts (task, claim, number, started_at, duration_us, outcome, error, host, pid) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (task, claim) DO UPDATE SET "
        "number = excluded.number, started_at = excluded.started_at, duration_us = excluded.duration_us, "
        "outcome = excluded.outcome, error = excluded.error, host = excluded.host, pid = excluded.pid"};
    Statement shorten_{
        "DELETE FROM main.backlite_attempts WHERE task = ?1 AND claim <= "
        "(SELECT claim FROM main.backlite_attempts WHERE task = ?1 ORDER BY claim DESC LIMIT 1 OFFSET ?2)"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/history.ipp>
#endif
