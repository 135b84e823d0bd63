// SPDX-License-Identifier: MIT
#pragma once
// SQL that knows until when tasks may start.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/times.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// An expiry that has come.
struct Expired {
    std::string id{};
    std::string queue{};
    bool waits = false;  ///< for its first start: it is to end; otherwise only the expiry goes
};

/// The expiry of a task stands in `backlite_details` while it waits for its first start, and its row has the flag. A
/// claim takes it out of the file, and gives it back with a task that has not started. So tasks without an expiry cost
/// nothing, and no outcome has anything to clean up.
/// Functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Expiries {
public:
    explicit Expiries(sqlite3* db) noexcept : db_{db} {}

    void put(const TaskId& id, detail::Ms expires_at) { Run(db_, put_, {id.str(), expires_at}).change(); }

    /// Removes the expiry of a task. nullopt if it has none.
    std::optional<detail::Ms> take(const TaskId& id);

    /// The first expiry at `from` or later. Costs one search.
    [[nodiscard]] std::optional<detail::Ms> next(detail::Ms from);

    /// Up to `limit` expiries between `from` and `until`, in their order, but for the first `past` of them.
    [[nodiscard]] std::vector<Expired> expired(detail::Ms from, detail::Ms until, int limit, int past);

private:
    Handle db_;
    Statement put_{
        "INSERT INTO main.backlite_details (task, expires_at) VALUES (?1, ?2) "
        "ON CONFLICT (task) DO UPDATE SET expires_at = excluded.expires_at"};
    Statement find_{"SELECT expires_at, metadata FROM main.backlite_details WHERE task = ?1"};
    Statement clear_{"UPDATE main.backlite_details SET expires_at = NULL WHERE task = ?1"};
    Statement remove_{"DELETE FROM main.backlite_details WHERE task = ?1"};
    Statement next_{
        "SELECT expires_at FROM main.backlite_details INDEXED BY backlite_details_expires "
        "WHERE expires_at IS NOT NULL AND expires_at >= ?1 ORDER BY expires_at LIMIT 1"};
    // Go counts an attempt when it claims.
    Statement expired_{
        "SELECT detail.task, task.queue, task.claimed_at IS NULL AND task.last_executed_at IS NULL "
        "AND ifnull(task.attempts, 0) = 0 AND task.crashes = 0 AND task.id IS NOT NULL "
        "FROM main.backlite_details AS detail INDEXED BY backlite_details_expires "
        "LEFT JOIN main.backlite_tasks AS task ON task.id = detail.task "
        "WHERE detail.expires_at IS NOT NULL AND detail.expires_at BETWEEN ?1 AND ?2 "
        "ORDER BY detail.expires_at, detail.rowid LIMIT ?3 OFFSET ?4"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/expiries.ipp>
#endif
