// SPDX-License-Identifier: MIT
#pragma once
// SQL that ends tasks before their time. With transitions.hpp all that changes a row's state.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/ends.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// The end that was asked for.
struct Asked {
    detail::Ms at{};
    KeepRule keep{};
    bool undoes = false;  ///< it is a flow that has begun

    [[nodiscard]] std::optional<detail::Ms> expires_at() const noexcept { return keep.until(at); }
};

/// A task that waits is ended at once. Of one that is claimed the end is asked for, in a row of `backlite_cancels`: the
/// transaction that takes the claim away ends it, whichever that is.
/// Functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Cancels {
public:
    /// What the kept row's `kind` says; Go reads its error alone.
    static constexpr std::int64_t kind = detail::cancelled_kind;
    static constexpr std::string_view error = "cancelled";

    /// REQUIRES: `ends` lives as long, on the same connection.
    Cancels(sqlite3* db, Ends& ends) noexcept : db_{db}, ends_(ends) {}

    [[nodiscard]] CancelResult cancel(const CancelPlan& plan);

    /// Whether the end of a claimed task was asked for.
    [[nodiscard]] std::optional<Asked> asked(const TaskId& id);

    /// All claims whose end was asked for.
    [[nodiscard]] std::vector<detail::ClaimKey> read();

    /// Ends the tasks whose end was asked for and that nobody holds any more, and forgets what was asked of tasks that
    /// are gone. How many were ended.
    int end_released();

    /// Ends a task that waits because it has not started in time.
    /// Errors: StorageError, also if a trigger of the host ignores the change.
    void expire(const std::string& id, detail::Ms now, const KeepRule& keep);

    /// Ends a task that waits because one that it waited for has not succeeded, or to make room for another, as `text`
    /// says. Errors: as above.
    void end_child(const std::string& id, detail::Ms now, const KeepRule& keep, std::string_view text);

    /// Ends a task that waits although a newer one has its key.
    void supersede(const std::string& id, const Superseded& superseded);

    /// Ends a task that waits, and keeps nothing of it. False if there is none.
    [[nodiscard]] bool remove(const std::string& id, detail::Ms now) { return end(id, {now, {}}); }

    /// A flow whose end was asked for, and that nobody holds, is to undo what it has done, and then to end: it is due
    /// now, unless it was told before.
    void wake_to_undo(const std::string& id, detail::Ms now);

    /// Forgets what was asked of one task, which has ended.
    void forget(const TaskId& id) { Run(db_, forget_, {id.str()}).change(); }

private:
    /// Ends a task that waits; `text` and `kind_of_end`: what its kept row says.
    bool end(const std::string& id, const Asked& asked, std::string_view text = error, std::int64_t kind_of_end = kind);

    Handle db_;
    Ends& ends_;
    Statement find_{"SELECT queue, claimed_at IS NOT NULL, claim, flags & 128 FROM main.backlite_tasks WHERE id = ?1"};
    Statement kept_{"SELECT 1 FROM main.backlite_tasks_completed WHERE id = ?1"};
    Statement ask_{
        "INSERT INTO main.backlite_cancels (task, claim, at, keep_row, keep_payload, keep_ms) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (task) DO UPDATE SET claim = excluded.claim"};
    // A flow that undoes has no claim here: it is asked no more.
    Statement asked_{
        "SELECT at, keep_row, keep_payload, keep_ms, (SELECT flags & 128 FROM main.backlite_tasks WHERE id = ?1) "
        "FROM main.backlite_cancels WHERE task = ?1"};
    static_assert(flag::flow == 128, "statements name it");
    Statement read_{"SELECT task, claim FROM main.backlite_cancels WHERE claim <> 0"};
    Statement released_{
        "SELECT asked.task, asked.at, keep_row, keep_payload, keep_ms, task.flags & 128 "
        "FROM main.backlite_cancels AS asked CROSS JOIN main.backlite_tasks AS task ON task.id = asked.task "
        "WHERE task.claimed_at IS NULL AND (asked.claim <> 0 OR task.flags & 128 = 0)"};
    Statement undo_{
        "INSERT INTO main.backlite_saved (task, name, at, value) VALUES (?1, ?2, ?3, CAST('true' AS blob)) "
        "ON CONFLICT (task, name) DO NOTHING"};
    Statement ask_no_more_{"UPDATE main.backlite_cancels SET claim = 0 WHERE task = ?1"};
    Statement wake_{
        "UPDATE main.backlite_tasks SET wait_until = ?2, hold = hold % 256 WHERE id = ?1 AND claimed_at IS NULL "
        "RETURNING queue, hold, due"};
    Statement forget_expiry_{
        "UPDATE main.backlite_details SET expires_at = NULL WHERE task = ?1 AND metadata IS NOT NULL"};
    Statement forget_details_{"DELETE FROM main.backlite_details WHERE task = ?1 AND metadata IS NULL"};
    Statement forget_{"DELETE FROM main.backlite_cancels WHERE task = ?1"};
    Statement forget_gone_{
        "DELETE FROM main.backlite_cancels WHERE NOT EXISTS "
        "(SELECT 1 FROM main.backlite_tasks WHERE id = backlite_cancels.task)"};
    Statement keep_{
        "INSERT INTO main.backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
        "last_duration_micro, succeeded, task, expires_at, error, priority, kind) "
        "SELECT id, created_at, queue, ifnull(last_executed_at, ?2), max(ifnull(attempts, 0), 0), 0, 0, "
        "CASE WHEN ?3 THEN task END, ?4, ?5, priority, ?6 FROM main.backlite_tasks "
        "WHERE id = ?1 AND claimed_at IS NULL "
        "ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, queue = excluded.queue, "
        "last_executed_at = excluded.last_executed_at, attempts = excluded.attempts, "
        "last_duration_micro = excluded.last_duration_micro, succeeded = excluded.succeeded, task = excluded.task, "
        "expires_at = excluded.expires_at, error = excluded.error, priority = excluded.priority, "
        "kind = excluded.kind, result = excluded.result, host = excluded.host, pid = excluded.pid"};
    Statement flags_{"SELECT flags FROM main.backlite_tasks WHERE id = ?1 AND claimed_at IS NULL"};
    Statement remove_{
        "DELETE FROM main.backlite_tasks WHERE id = ?1 AND claimed_at IS NULL AND (flags & ?2) IS NOT TRUE"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/cancels.ipp>
#endif
