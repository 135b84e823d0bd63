// SPDX-License-Identifier: MIT
#pragma once
// SQL that changes the state of a task: only here is a claim taken, given back, or ended. What became of a claim names
// the claim's number: a worker whose claim was taken away changes nothing.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/ends.hpp>
#include <backlite/store/sqlite/expiries.hpp>
#include <backlite/store/sqlite/history.hpp>
#include <backlite/store/sqlite/slack.hpp>
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

/// What became of a resolution, or of a claim that was to be given back.
struct Written {
    bool held = false;        ///< otherwise the claim was not held any more, and nothing was changed
    bool superseded = false;  ///< the task has ended as cancelled: a newer one waits in its place

    operator bool() const noexcept { return held; }  // NOLINT(google-explicit-constructor): most ask for nothing else
};

/// All functions REQUIRE a write transaction; on a StorageError the caller rolls back.
class Transitions {
public:
    /// REQUIRES: `ends` lives as long, on the same connection.
    Transitions(sqlite3* db, Ends& ends) noexcept : db_{db}, ends_(ends) {}

    /// Inserts one task that is due now as claimed by `owner`, under the claim number 1.
    void insert_claimed(const detail::NewTask& task, detail::Ms now, std::int64_t owner) {
        Run(db_, insert_claimed_,
            {task.id.str(), now, task.queue, Blob{task.payload}, owner, task.priority,
             Slack::of(task, {.claimed_at = now.count(), .owner = owner, .claim = 1})})
            .change();
    }

    /// Claims a waiting row under the next claim number. `large`: as ClaimedTask::large says. Errors: StorageError,
    /// also if a trigger of the host ignores the change.
    void claim(std::int64_t row, detail::Ms now, std::int64_t owner, bool large);

    /// The same for several rows, neither large nor with a flag.
    void claim(std::span<const std::int64_t> rows, detail::Ms now, std::int64_t owner);

    /// What comes before `claim` for a row with a flag of `flag::on_claim`.
    void before_claim(std::int64_t row, std::int64_t flags) { ends_.before_claim(row, flags); }

    /// See UniqueKeys.
    [[nodiscard]] bool outdated(const TaskId& id) { return ends_.keys().outdated(id.str()); }

    /// Names a row that has no id, so that an outcome can be written by it.
    void name(std::int64_t row, const TaskId& id) { Run(db_, name_, {row, id.str()}).change(); }

    /// Writes one resolution.
    /// Errors: StorageError, also if a trigger of the host ignores the change.
    [[nodiscard]] Written write(const detail::AttemptResult& outcome);

    /// Shows that the holder of a claim lives. False if the claim is no longer held.
    [[nodiscard]] bool extend(const detail::ClaimKey& claim) {
        return Run(db_, extend_, {claim.id.str(), claim.number}).change() == 1;
    }

    /// Counts a process death inside the processor against a claim.
    void count_crash(const ForeignClaim& claim) {
        Run(db_, count_crash_, {claim.key.id.str(), claim.key.number}).change();
    }

    /// Gives back all claims of an owner; how many there were.
    int release_all(std::int64_t owner);

    /// Gives back one claim, whatever its lease reads. False if it was given back already.
    bool release(const ForeignClaim& claim) {
        const auto change = [&](std::int64_t flags) {
            return Run(db_, release_, {claim.key.id.str(), claim.key.number, slack_given_back(claim.key), flags})
                       .change() == 1;
        };
        return give_back(claim.key, change).held;
    }

    /// Gives back one claim whose lease still reads as it did. False if it changed.
    [[nodiscard]] bool release_unchanged(const ForeignClaim& claim) {
        const auto change = [&](std::int64_t flags) {
            return Run(db_, release_unchanged_,
                       {claim.key.id.str(), claim.key.number, claim.lease, slack_given_back(claim.key), flags})
                       .change() == 1;
        };
        return give_back(claim.key, change, claim.lease).held;
    }

    /// Gives back up to `limit` claims without an owner that were taken at `claimed_at` or before, the oldest first;
    /// how many.
    int release_ownerless(detail::Ms claimed_at, int limit);

    /// Gives back one of them, by its row.
    void release_ownerless_row(std::int64_t row) {
        return_flagged(flagged_row_, {row});
        Run(db_, release_ownerless_row_, {row}).change();
    }

    /// A finished task that did not succeed waits again, due now, with its id, its last error and all its attempts to
    /// come; the one that has ended becomes part of its history. Its claims get numbers above `claim`. False if there
    /// is none that can: its payload is gone, its id or its unique key is another's by now.
    [[nodiscard]] bool bring_back(const std::string& id, detail::Ms now, std::int64_t claim);

    /// An unclaimed task that is due later is due now. False if there is none.
    [[nodiscard]] bool hasten(const std::string& id, detail::Ms now) {
        return Run(db_, hasten_, {id, now}).change() == 1;
    }

    /// Gives an unfinished task another priority. False if it has that, or there is none.
    [[nodiscard]] bool set_priority(const std::string& id, int priority) {
        return Run(db_, set_priority_, {id, priority}).change() == 1;
    }

    /// Claims without an owner that were taken after `now` count as taken at `now`, so that they lapse: a clock was
    /// ahead. How many there were.
    int mend_ownerless(detail::Ms now) { return Run(db_, mend_ownerless_, {now}).change(); }

private:
    Written apply(const detail::AttemptResult& outcome);

    bool keep(const detail::AttemptResult& outcome);

    /// Until when a task waits: a signal may have come that it waits for.
    [[nodiscard]] detail::Ms wakes_at(const detail::AttemptResult& outcome);

    /// Deletes the row of a task that has ended.
    bool remove(const detail::AttemptResult& outcome);

    /// Gives back a claim by `change(flags)`, which changes no row with one of these flags; those come back by the
    /// second call. `lease`: if it still reads so. `outcome`: of the attempt, if one has ended.
    template <class Change>
    Written give_back(const detail::ClaimKey& claim, Change&& change, std::optional<std::int64_t> lease = std::nullopt,
                      const detail::AttemptResult* outcome = nullptr) {
        if (change(flag::on_return)) return {true};
        const std::optional<std::int64_t> flags = flags_of(claim, lease);
        if (!flags || (*flags & flag::on_return) == 0) return {};
        const std::optional<Superseded> superseded = ends_.before_return(claim.id.str(), *flags);
        if (superseded) return {supersede(claim, *superseded, outcome), true};
        return {change(std::int64_t{0})};
    }

    /// Ends a claimed task because a newer one waits in its place.
    bool supersede(const detail::ClaimKey& claim, const Superseded& superseded, const detail::AttemptResult* outcome);

    /// The flags of a claimed row; nullopt if the claim is not held any more, or its lease does not read so.
    [[nodiscard]] std::optional<std::int64_t> flags_of(const detail::ClaimKey& claim,
                                                       std::optional<std::int64_t> lease = std::nullopt);

    /// The flagged rows that a statement finds are about to wait again. How many have ended instead.
    int return_flagged(Statement& select, std::initializer_list<Value> values);

    /// The kept row of a task that has ended has its unique key for a while; there is one for that at least.
    bool keep_key(const detail::AttemptResult& outcome);

    /// The slack of a row after `change(StateColumns&)`. nullopt if it has none, or there is no such row.
    template <class Change>
    std::optional<Blob> slack_after(Statement& select, std::initializer_list<Value> row, Change&& change) {
        StateColumns columns;
        const std::optional<std::size_t> slack = read_slack(select, row, columns);
        if (!slack) return std::nullopt;
        const StateColumns before = columns;
        change(columns);
        return Slack::after(*slack, before, columns);
    }

    std::optional<std::size_t> read_slack(Statement& select, std::initializer_list<Value> row, StateColumns& columns);

    /// The same after an outcome that is not the last. nullopt if the task is not large.
    std::optional<Blob> slack_after(const detail::AttemptResult& outcome);

    /// The same of a claim that is given back.
    std::optional<Blob> slack_given_back(const detail::ClaimKey& claim);

    Handle db_;
    Ends& ends_;
    Expiries expiries_{db_};
    History history_{db_};
    Statement insert_claimed_{
        "INSERT INTO main.backlite_tasks (id, created_at, queue, task, claimed_at, owner, claim, priority, slack) "
        "VALUES (?1, ?2, ?3, ?4, ?2, ?5, 1, ?6, ?7)"};
    Statement name_{"UPDATE main.backlite_tasks SET id = ?2 WHERE rowid = ?1"};
    // The largest number stays as it is: it cannot be raised, and a row that others gave it must not keep all the
    // others of a batch from being claimed.
    Statement claim_{
        "UPDATE main.backlite_tasks SET claimed_at = ?2, owner = ?3, claim = claim + (claim <> 9223372036854775807), "
        "lease = 0, slack = ?4 WHERE rowid = ?1"};
    // Each statement opens its cursors, for which it allocates: for one row that costs as much as the change does.
    static constexpr std::size_t claims_at_once = 32;
    Statement claim_many_{
        "UPDATE main.backlite_tasks SET claimed_at = ?1, owner = ?2, claim = claim + (claim <> 9223372036854775807), "
        "lease = 0 WHERE rowid IN ("
        "?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, "
        "?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34)"};
    Statement columns_of_row_{
        "SELECT claimed_at, owner, wait_until, last_executed_at, claim, lease, crashes, attempts, "
        "length(CAST(error AS blob)), length(slack), flags FROM main.backlite_tasks WHERE rowid = ?1"};
    Statement columns_of_claim_{
        "SELECT claimed_at, owner, wait_until, last_executed_at, claim, lease, crashes, attempts, "
        "length(CAST(error AS blob)), length(slack), flags FROM main.backlite_tasks WHERE id = ?1 AND claim = ?2"};
    Statement holds_{"SELECT 1 FROM main.backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement flags_{
        "SELECT flags FROM main.backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL "
        "AND (?3 IS NULL OR lease = ?3)"};
    Statement signalled_{
        "SELECT queue FROM main.backlite_tasks WHERE id = ?1 AND claim = ?4 AND claimed_at IS NOT NULL "
        "AND EXISTS (SELECT 1 FROM main.backlite_saved WHERE task = ?1 AND name >= ?2 AND name < ?3)"};
    // Those of a row with one of the flags that they are given change nothing: it needs more than that.
    Statement remove_{
        "DELETE FROM main.backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL AND (flags & ?3) IS "
        "NOT TRUE"};
    // Here and below a number at its end stays there or begins anew: SQLite would refuse the sum, which is no
    // integer any more, and with it all that the transaction writes.
    // The id may be there: a program may have given a task the id of an old one that is still kept. OR REPLACE would
    // hold for what a trigger of the host writes too, and delete its rows.
    Statement keep_{
        "INSERT INTO main.backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
        "last_duration_micro, succeeded, task, expires_at, error, priority, kind, result, host, pid) "
        "SELECT id, created_at, queue, ?3, min(max(ifnull(attempts, 0), 0), 9223372036854775807 - ?4) + ?4, ?5, ?6, "
        "CASE WHEN ?7 THEN task END, ?8, ?9, priority, ?10, ?11, ?12, ?13 "
        "FROM main.backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL "
        "ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, queue = excluded.queue, "
        "last_executed_at = excluded.last_executed_at, attempts = excluded.attempts, "
        "last_duration_micro = excluded.last_duration_micro, succeeded = excluded.succeeded, task = excluded.task, "
        "expires_at = excluded.expires_at, error = excluded.error, priority = excluded.priority, "
        "kind = excluded.kind, result = excluded.result, host = excluded.host, pid = excluded.pid"};
    // A run that came back was no poison: retry and snooze begin to count crashes anew.
    Statement retry_{
        "UPDATE main.backlite_tasks SET claimed_at = NULL, owner = NULL, wait_until = ?3, last_executed_at = ?4, error "
        "= ?5, "
        "attempts = min(max(ifnull(attempts, 0), 0), 9223372036854775807 - ?6) + ?6, crashes = 0, slack = ?7, "
        "flags = flags | 4 "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL AND (flags & ?8) IS NOT TRUE"};
    Statement snooze_{
        "UPDATE main.backlite_tasks SET claimed_at = NULL, owner = NULL, wait_until = ?3, last_executed_at = ?4, "
        "crashes = 0, slack = ?5 "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL AND (flags & ?6) IS NOT TRUE"};
    Statement release_{
        "UPDATE main.backlite_tasks SET claimed_at = NULL, owner = NULL, slack = ?3 "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL AND (flags & ?4) IS NOT TRUE"};
    Statement put_off_{
        "UPDATE main.backlite_tasks SET claimed_at = NULL, owner = NULL, wait_until = ?3, slack = ?4 "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL AND (flags & ?5) IS NOT TRUE"};
    Statement bring_back_{
        "INSERT INTO main.backlite_tasks (id, created_at, queue, task, wait_until, last_executed_at, claim, error, "
        "priority, unique_key, partition, flags) SELECT id, min(created_at, ?2), queue, task, ?2, last_executed_at, "
        "?3, "
        "error, priority, unique_key, partition, ?4 | iif(partition IS NULL, 0, ?5) "
        "FROM main.backlite_tasks_completed AS old WHERE id = ?1 AND error IS NOT NULL AND task IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM main.backlite_tasks WHERE id = old.id) AND (unique_key IS NULL OR NOT EXISTS "
        "(SELECT 1 FROM main.backlite_tasks AS other WHERE other.queue = old.queue AND other.unique_key = "
        "old.unique_key))"};
    Statement remember_attempt_{
        "INSERT INTO main.backlite_attempts (task, claim, number, started_at, duration_us, outcome, error, host, pid) "
        "SELECT id, ?2, attempts, last_executed_at, max(ifnull(last_duration_micro, 0), 0), ?3, error, host, pid "
        "FROM main.backlite_tasks_completed WHERE id = ?1 AND attempts > 0 AND last_executed_at IS NOT NULL "
        "ON CONFLICT (task, claim) DO NOTHING"};
    Statement remove_kept_{"DELETE FROM main.backlite_tasks_completed WHERE id = ?1"};
    Statement hasten_{
        "UPDATE main.backlite_tasks SET wait_until = ?2, created_at = min(created_at, ?2) "
        "WHERE id = ?1 AND claimed_at IS NULL AND due > ?2"};
    Statement set_priority_{"UPDATE main.backlite_tasks SET priority = ?2 WHERE id = ?1 AND priority <> ?2"};
    Statement extend_{
        "UPDATE main.backlite_tasks SET lease = iif(lease = 9223372036854775807, 0, lease + 1) "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement count_crash_{
        "UPDATE main.backlite_tasks SET crashes = min(max(ifnull(crashes, 0), 0), 9223372036854775806) + 1 "
        "WHERE id = ?1 AND claim = ?2"};
    Statement release_all_{
        "UPDATE main.backlite_tasks INDEXED BY backlite_tasks_claimed SET claimed_at = NULL, owner = NULL, "
        "slack = iif(slack IS NULL, NULL, zeroblob(length(slack) + ?2)) WHERE claimed_at IS NOT NULL AND owner = ?1"};
    Statement release_unchanged_{
        "UPDATE main.backlite_tasks SET claimed_at = NULL, owner = NULL, slack = ?4 "
        "WHERE id = ?1 AND claim = ?2 AND lease = ?3 AND claimed_at IS NOT NULL AND (flags & ?5) IS NOT TRUE"};
    Statement flagged_of_owner_{
        "SELECT id, flags, claim FROM main.backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner = ?1 AND (flags & 24) <> 0"};
    Statement flagged_ownerless_{
        "SELECT id, flags, claim FROM (SELECT id, flags, claim FROM main.backlite_tasks INDEXED BY "
        "backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner IS NULL AND queue = ?3 AND claimed_at <= ?1 "
        "ORDER BY claimed_at LIMIT ?2) "
        "WHERE (flags & 24) <> 0"};
    Statement flagged_row_{"SELECT id, flags, claim FROM main.backlite_tasks WHERE rowid = ?1 AND (flags & 24) <> 0"};
    static_assert(flag::details == 4, "retry_ names it");
    static_assert(flag::on_return == 24, "these statements name it");
    Statement release_ownerless_{
        "UPDATE main.backlite_tasks SET claimed_at = NULL WHERE rowid IN (SELECT rowid FROM main.backlite_tasks "
        "INDEXED BY backlite_tasks_claimed WHERE claimed_at IS NOT NULL AND owner IS NULL AND queue = ?3 "
        "AND claimed_at <= ?1 ORDER BY claimed_at LIMIT ?2)"};
    Statement next_ownerless_{
        "SELECT queue FROM main.backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner IS NULL AND queue > ?1 AND queue < x'' ORDER BY queue "
        "LIMIT 1"};
    Statement release_ownerless_row_{"UPDATE main.backlite_tasks SET claimed_at = NULL WHERE rowid = ?1"};
    Statement mend_ownerless_{
        "UPDATE main.backlite_tasks INDEXED BY backlite_tasks_claimed SET claimed_at = ?1 WHERE claimed_at IS NOT NULL "
        "AND owner IS NULL AND claimed_at > ?1 AND claimed_at <= 9223372036854775807"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/transitions.ipp>
#endif
