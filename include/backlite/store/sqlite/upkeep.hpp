// SPDX-License-Identifier: MIT
#pragma once
// SQL for the clients on a file, for finding claims that nobody holds any more, for times that a wrong clock has made,
// and for deleting what has expired.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/ends.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/transitions.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// What came of looking for times that a wrong clock has made.
struct Mended {
    int tasks = 0;            ///< changed
    detail::Ms next = never;  ///< the rest is due after this; `never`: that was all
};

/// All functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Upkeep {
public:
    /// REQUIRES: `ends` lives as long, on the same connection.
    Upkeep(sqlite3* db, Ends& ends) noexcept : db_{db}, ends_(ends) {}

    /// A number for a client that starts; never given twice on one file.
    [[nodiscard]] std::int64_t next_owner();

    /// The clients in the list, by their numbers.
    [[nodiscard]] std::vector<detail::OwnerRow> owners();

    void insert_owner(const detail::OwnerRow& row, detail::Ms now) {
        Run(db_, insert_owner_, {row.owner, row.slot, row.workers, now, row.boot_id, version_number}).change();
    }

    void delete_owner(std::int64_t owner) { Run(db_, delete_owner_, {owner}).change(); }

    /// The id that the side file must carry; empty if none was written yet.
    [[nodiscard]] std::string side_file_id() {
        Run run(db_, side_file_id_);
        return run.step() ? std::string{run.bytes(0)} : std::string{};
    }

    void set_side_file_id(std::string_view id) { Run(db_, set_side_file_id_, {id}).change(); }

    /// The owners that hold claims, whether `backlite_clients` names them or not.
    [[nodiscard]] std::vector<std::int64_t> claim_holders();

    [[nodiscard]] std::vector<ForeignClaim> claims_of(std::int64_t owner);

    /// The queue of an unfinished task; empty if there is none.
    [[nodiscard]] std::string queue_of(const TaskId& id) {
        Run run(db_, queue_of_, {id.str()});
        return run.step() ? std::string{run.bytes(0)} : std::string{};
    }

    /// The number of the batch that a claimed task may be of; 0: none. One that has crashed a process runs alone.
    [[nodiscard]] std::uint64_t batch_of(const TaskId& id) {
        Run run(db_, batch_of_, {id.str()});
        return run.step() ? detail::batch_number(run.bytes(0), run.time(1)) : 0;
    }

    /// When the oldest claim without an owner was taken; nullopt: there is none.
    [[nodiscard]] std::optional<detail::Ms> oldest_ownerless();

    /// The rows that `Transitions::release_ownerless` changes without a limit, in its order.
    [[nodiscard]] std::vector<std::int64_t> ownerless(detail::Ms claimed_at) { return rows(ownerless_, {claimed_at}); }

    /// Looks through up to `limit` tasks of a queue that are due after `now` and after `from`, of each priority in the
    /// order of their due times, and of each at least one. Those that wait because the wall clock was ahead of `now`
    /// once become due as they would be otherwise: tasks without a time of their own, or whose time had passed when
    /// they were added, at once, but for a time more than a day before that, which is still to come; what ran while it
    /// was ahead, after as long a wait as it was given. A later time that a program asked for, or that an attempt since
    /// did, is left alone. `jump`: how far the clock was set back, zero if that is not known.
    Mended mend(std::string_view queue, detail::Ms now, detail::Ms from, Duration jump, int limit);

    /// The same for what is claimed by a client, so that it does not wait for a time that it was due at already once it
    /// is given back or fails. How many were changed.
    int mend_claims(detail::Ms now) { return Run(db_, mend_claims_, {now}).change(); }

    /// Deletes up to `limit` completed tasks that have expired, oldest first, with what hangs on them; how many there
    /// were.
    int purge(detail::Ms now, int limit) {
        if (ends_.any_details()) forget_details(expired_ids_, {now, limit});
        return Run(db_, purge_, {now, limit}).change();
    }

    /// Up to `limit` rows that `purge` deletes, in its order, without the first `past`; and the deletion of one of
    /// them.
    [[nodiscard]] std::vector<std::int64_t> expired(detail::Ms now, int limit, int past) {
        return rows(expired_, {now, limit, past});
    }
    void purge_row(std::int64_t row) {
        if (ends_.any_details()) forget_details(expired_id_, {row});
        Run(db_, purge_row_, {row}).change();
    }

    /// Errors: CorruptError if one of our tables was dropped.
    void demand_tables();

    /// The text that signs; `fresh` becomes it if there is none. Errors: StorageError if it is so short that somebody
    /// could guess it, or the file takes none.
    [[nodiscard]] std::string secret(std::string_view fresh);

    /// When the next completed task expires; nullopt: none does.
    [[nodiscard]] std::optional<detail::Ms> next_expiry();

private:
    static constexpr std::int64_t tables = 16;
    static constexpr std::size_t shortest_secret = 32;

    /// Deletes what hangs on the tasks whose ids a statement finds.
    void forget_details(Statement& select, std::initializer_list<Value> values);

    [[nodiscard]] std::vector<std::int64_t> priorities(std::string_view queue);

    std::vector<std::int64_t> rows(Statement& select, std::initializer_list<Value> values);

    Handle db_;
    Ends& ends_;
    Statement next_owner_{"UPDATE backlite_meta SET value = value + 1 WHERE key = 'last_owner' RETURNING value"};
    Statement owners_{"SELECT owner, slot, workers, boot_id FROM backlite_clients ORDER BY owner"};
    Statement insert_owner_{
        "INSERT INTO backlite_clients (owner, slot, workers, started_at, boot_id, version) VALUES (?1, ?2, ?3, ?4, ?5, "
        "?6)"};
    Statement delete_owner_{"DELETE FROM backlite_clients WHERE owner = ?1"};
    Statement side_file_id_{"SELECT value FROM backlite_meta WHERE key = 'side_file_id'"};
    Statement set_side_file_id_{
        "INSERT INTO backlite_meta (key, value) VALUES ('side_file_id', ?1) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value"};
    Statement set_secret_{"INSERT INTO backlite_meta (key, value) VALUES ('secret', ?1) ON CONFLICT (key) DO NOTHING"};
    Statement secret_{"SELECT value FROM backlite_meta WHERE key = 'secret'"};
    // The upper bound leaves out what is no number, as a damaged file may hold it: the search would never get past it.
    Statement next_holder_{
        "SELECT owner FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner BETWEEN ?1 AND 9223372036854775807 ORDER BY owner LIMIT 1"};
    Statement claims_of_{
        "SELECT id, claim, lease FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner = ?1"};
    Statement queue_of_{"SELECT queue FROM backlite_tasks WHERE id = ?1"};
    Statement batch_of_{
        "SELECT queue, claimed_at FROM backlite_tasks WHERE id = ?1 AND claimed_at IS NOT NULL AND crashes = 0"};
    // The bounds leave out queues that are BLOBs, behind which no search gets, and times that are no numbers.
    Statement oldest_ownerless_{
        "SELECT queue, claimed_at FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner IS NULL AND queue > ?1 AND queue < x'' "
        "AND claimed_at <= 9223372036854775807 ORDER BY queue, claimed_at LIMIT 1"};
    Statement ownerless_{
        "SELECT rowid FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner IS NULL AND claimed_at <= ?1 ORDER BY claimed_at"};
    // The bounds leave out what is no number, as a damaged file may hold it.
    Statement next_level_{
        "SELECT priority FROM backlite_tasks INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL AND hold = 0 "
        "AND queue = ?1 AND priority BETWEEN ?2 AND 9223372036854775807 ORDER BY priority LIMIT 1"};
    Statement last_of_piece_{
        "SELECT due FROM backlite_tasks INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL AND hold = 0 "
        "AND queue = ?1 AND priority = ?2 AND due > ?3 AND due <= 9223372036854775807 "
        "ORDER BY due LIMIT 1 OFFSET ?4"};
    // The clock was ahead by the jump, or by as much as the last attempt began too late.
    Statement mend_{
        "UPDATE backlite_tasks SET created_at = min(created_at, ?2), "
        "wait_until = CASE WHEN last_executed_at IS NULL AND wait_until < created_at - 86400000 THEN wait_until "
        "WHEN last_executed_at IS NULL THEN min(wait_until, ?2) "
        "WHEN last_executed_at > ?2 THEN max(wait_until, max(?5, min(last_executed_at, 4611686018427387903) - ?2) "
        "- 9223372036854775807) - max(?5, min(last_executed_at, 4611686018427387903) - ?2) ELSE wait_until END, "
        "last_executed_at = min(last_executed_at, ?2) WHERE rowid IN ("
        "SELECT rowid FROM backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 AND priority = ?7 AND due > ?3 AND due <= ?4 "
        "AND (wait_until IS NULL OR wait_until <= created_at OR last_executed_at > ?2) ORDER BY due LIMIT ?6)"};
    Statement mend_claims_{
        "UPDATE backlite_tasks INDEXED BY backlite_tasks_claimed SET created_at = min(created_at, ?1), "
        "wait_until = min(wait_until, ?1) WHERE claimed_at IS NOT NULL AND owner IS NOT NULL AND due > ?1"};
    Statement purge_{
        "DELETE FROM backlite_tasks_completed WHERE rowid IN (SELECT rowid FROM backlite_tasks_completed "
        "INDEXED BY backlite_tasks_completed_expires WHERE expires_at IS NOT NULL AND expires_at <= ?1 "
        "ORDER BY expires_at LIMIT ?2)"};
    Statement expired_{
        "SELECT rowid FROM backlite_tasks_completed INDEXED BY backlite_tasks_completed_expires "
        "WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2 OFFSET ?3"};
    Statement purge_row_{"DELETE FROM backlite_tasks_completed WHERE rowid = ?1"};
    // An unfinished task may have the id of an old one: what hangs on it stays.
    Statement expired_ids_{
        "SELECT id FROM (SELECT id FROM backlite_tasks_completed INDEXED BY backlite_tasks_completed_expires "
        "WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2) AS old "
        "WHERE NOT EXISTS (SELECT 1 FROM backlite_tasks WHERE id = old.id)"};
    Statement expired_id_{
        "SELECT id FROM backlite_tasks_completed AS old WHERE rowid = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM backlite_tasks WHERE id = old.id)"};
    Statement tables_{
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND lower(name) IN ('backlite_tasks', "
        "'backlite_tasks_completed', 'backlite_clients', 'backlite_meta', 'backlite_stats', 'backlite_queues', "
        "'backlite_details', 'backlite_tags', 'backlite_edges', 'backlite_cancels', 'backlite_attempts', "
        "'backlite_saved', 'backlite_progress', 'backlite_schedules', 'backlite_partitions', 'backlite_turns')"};
    Statement next_expiry_{
        "SELECT expires_at FROM backlite_tasks_completed INDEXED BY backlite_tasks_completed_expires "
        "WHERE expires_at IS NOT NULL ORDER BY expires_at LIMIT 1"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/upkeep.ipp>
#endif
