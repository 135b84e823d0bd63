// SPDX-License-Identifier: MIT
#pragma once
// SQL that knows what tasks keep between their attempts.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/details.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// The values of a task stand in `backlite_saved`, and its row has the flag `details`, so that its end takes them
/// along. They are written under its claim. Tasks that save nothing cost nothing. Functions that write REQUIRE a write
/// transaction; on a StorageError the caller rolls back.
class SavedValues {
public:
    explicit SavedValues(sqlite3* db) noexcept : db_{db} {}

    /// False if the claim is not held any more; then nothing is changed. A save is progress: crashes are counted anew.
    /// Errors: StorageError, also if a trigger of the host ignores the change.
    [[nodiscard]] bool save(const SavePlan& plan);

    /// Keeps a value for an unfinished task, behind those of its name. `freed`: set if the task waited for it, and is
    /// due now: its queue.
    [[nodiscard]] SignalResult signal(const SignalPlan& plan, std::optional<std::string>& freed);

    /// Up to `limit` values of a task, in the order of their names. Those of more than `max_bytes` are not read.
    [[nodiscard]] std::vector<detail::SavedValue> read(const TaskId& id, const NameRange& names, std::size_t limit,
                                                       std::size_t max_bytes);

private:
    Handle db_;
    Details details_{db_};
    Statement put_{
        "INSERT INTO main.backlite_saved (task, name, at, value) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (task, name) DO UPDATE SET at = excluded.at, value = excluded.value"};
    Statement task_{"SELECT queue, flags & 4 FROM main.backlite_tasks WHERE id = ?1"};
    Statement kept_{"SELECT 1 FROM main.backlite_tasks_completed WHERE id = ?1"};
    Statement flag_{"UPDATE main.backlite_tasks SET flags = flags | 4 WHERE id = ?1"};
    static_assert(flag::details == 4, "statements name it");
    Statement last_{
        "SELECT name FROM main.backlite_saved WHERE task = ?1 AND name >= ?2 AND name < ?3 ORDER BY name DESC LIMIT 1"};
    Statement waits_{"SELECT value FROM main.backlite_saved WHERE task = ?1 AND name = ?2"};
    Statement wake_{
        "UPDATE main.backlite_tasks SET wait_until = ?2 WHERE id = ?1 AND claimed_at IS NULL AND wait_until > ?2"};
    Statement remove_{"DELETE FROM main.backlite_saved WHERE task = ?1 AND name = ?2"};
    Statement read_{
        "SELECT name, length(value), CASE WHEN length(value) <= ?5 THEN value END FROM main.backlite_saved "
        "WHERE task = ?1 AND name >= ?2 AND name < ?3 ORDER BY name LIMIT ?4"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/saved_values.ipp>
#endif
