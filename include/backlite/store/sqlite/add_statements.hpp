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
#include <backlite/store/sqlite/claims.hpp>
#include <backlite/store/sqlite/expiries.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/slack.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Inserts tasks on a connection that is inside a transaction.
class AddStatements {
public:
    explicit AddStatements(sqlite3* db) noexcept : db_{db} {}

    /// Errors: StorageError; then some of the tasks may be inserted, and the caller rolls back.
    void insert(std::span<const detail::NewTask> tasks, detail::Ms created_at, std::optional<detail::Ms> wait_until);

private:
    Handle db_;
    // `main.`, as in all that runs on a host's connection: it may have temporary tables of the same names.
    Statement insert_{
        "INSERT INTO main.backlite_tasks (id, created_at, queue, task, wait_until, priority, slack) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
    Statement insert_expiring_{
        "INSERT INTO main.backlite_tasks (id, created_at, queue, task, wait_until, priority, slack, flags) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)"};
    Expiries expiries_{db_};
};

/// Inserts tasks in the transaction of the host that is open on its connection: all of them or none, and nothing of it
/// is left prepared. `file`: for messages. Errors: StorageError, also if the file needs a newer library, or
/// std::bad_alloc; the host's transaction is as it was, or the error is a StorageError whose message says that SQLite
/// has rolled it back.
void add_within(sqlite3* db, std::string_view file, std::span<const detail::NewTask> tasks, detail::Ms now,
                std::optional<detail::Ms> wait_until);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/add_statements.ipp>
#endif
