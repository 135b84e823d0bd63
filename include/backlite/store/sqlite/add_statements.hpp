// SPDX-License-Identifier: MIT
#pragma once
// SQL that puts tasks into the file.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/children.hpp>
#include <backlite/store/sqlite/claims.hpp>
#include <backlite/store/sqlite/expiries.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/slack.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/statistics.hpp>
#include <backlite/store/sqlite/turns.hpp>
#include <backlite/store/sqlite/unique_keys.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Inserts tasks on a connection that is inside a transaction. Of one with a unique key that another has, it does what
/// its conflict says.
class AddStatements {
public:
    explicit AddStatements(sqlite3* db) noexcept : db_{db} {}

    /// Errors: StorageError, DuplicateError; then some of the tasks may be inserted, and the caller rolls back.
    void insert(std::span<const detail::NewTask> tasks, detail::Ms created_at, std::optional<detail::Ms> wait_until);

private:
    struct Existing {
        std::int64_t row = 0;
        TaskId id{};
        bool waits = false;
        bool expires = false;
        detail::Ms created_at{};
        std::int64_t hold = 0;
    };

    /// `tasks`: of the same call, this one among them.
    void insert_unique(const detail::NewTask& task, std::span<const detail::NewTask> tasks, detail::Ms created_at,
                       std::optional<detail::Ms> wait_until);

    /// Whether no other has the key.
    [[nodiscard]] bool try_insert(const detail::NewTask& task, detail::Ms created_at,
                                  std::optional<detail::Ms> wait_until);

    [[noreturn]] static void reject(const detail::NewTask& task, std::span<const detail::NewTask> tasks,
                                    TaskId existing);

    /// `hold` of a row with its key: one of `latest` waits for the one that runs, which is then not to run again.
    [[nodiscard]] std::int64_t hold_of(const detail::NewTask& task, detail::Ms now);

    [[nodiscard]] static std::int64_t flags_of(const detail::NewTask& task) noexcept;

    [[nodiscard]] Existing find(const detail::NewTask& task);

    void replace(const Existing& existing, const detail::NewTask& task, detail::Ms now,
                 std::optional<detail::Ms> wait_until);

    Handle db_;
    // `main.`, as in all that runs on a host's connection: it may have temporary tables of the same names.
    Statement insert_{
        "INSERT INTO main.backlite_tasks (id, created_at, queue, task, wait_until, priority, slack) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
    Statement insert_expiring_{
        "INSERT INTO main.backlite_tasks (id, created_at, queue, task, wait_until, priority, slack, flags) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)"};
    Expiries expiries_{db_};
    UniqueKeys keys_{db_};
    Turns turns_{db_};
    // Changes nothing: a deferred transaction of a host that reads first cannot wait for another writer any more.
    Statement begin_to_write_{"DELETE FROM main.backlite_keys WHERE 0"};
    Statement insert_unique_{
        "INSERT INTO main.backlite_tasks (id, created_at, queue, task, wait_until, priority, slack, unique_key, flags, "
        "hold) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) "
        "ON CONFLICT (queue, unique_key) WHERE unique_key IS NOT NULL DO NOTHING"};
    Statement find_{
        "SELECT rowid, id, claimed_at IS NULL, flags & 1, created_at, hold FROM main.backlite_tasks "
        "INDEXED BY backlite_tasks_unique WHERE queue = ?1 AND unique_key = ?2"};
    // One that is due keeps its place, so that being replaced again and again starves no task. What its attempts have
    // left is the old payload's. Crashes stay: the new payload may be the same poison.
    Statement replace_{
        "UPDATE main.backlite_tasks SET task = ?2, priority = ?3, slack = ?4, attempts = 0, error = NULL, "
        "last_executed_at = NULL, flags = (flags & ~?8) | ?7, hold = ?9, "
        "wait_until = CASE WHEN ?5 > ?6 THEN ?5 WHEN due > ?6 THEN ?6 ELSE wait_until END "
        "WHERE rowid = ?1 AND claimed_at IS NULL"};
};

/// After tasks were inserted on a host's connection: those in bounded queues have room, or get it.
/// Errors: QueueFullError, StorageError; the caller rolls back.
void keep_bounds(sqlite3* db, std::span<const detail::NewTask> tasks, detail::Ms now);

/// Inserts tasks in the transaction of the host that is open on its connection: all of them or none, and nothing of it
/// is left prepared. `file`: for messages; `keep`: see Children. Errors: StorageError, also if the file needs a newer
/// library, DuplicateError, QueueFullError or std::bad_alloc; the host's transaction is as it was, or the error is a
/// StorageError whose message says that SQLite has rolled it back.
void add_within(sqlite3* db, std::string_view file, std::span<const detail::NewTask> tasks, detail::Ms now,
                std::optional<detail::Ms> wait_until, const Children::Keep& keep);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/add_statements.ipp>
#endif
