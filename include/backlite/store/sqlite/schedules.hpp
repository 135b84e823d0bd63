// SPDX-License-Identifier: MIT
#pragma once
// SQL for schedules and their slots.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/times.hpp>
#include <backlite/store/slots.hpp>
#include <backlite/store/sqlite/add_statements.hpp>
#include <backlite/store/sqlite/bounds.hpp>
#include <backlite/store/sqlite/cancels.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// A slot's task and the slot itself are written by one transaction, so there is no leader: of several clients that run
/// the same slot, those that come later find the row changed.
/// Functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Schedules {
public:
    explicit Schedules(sqlite3* db) noexcept : db_{db} {}

    /// The first slot that nobody has looked at, of schedules that are not paused. Costs one search.
    [[nodiscard]] std::optional<detail::Ms> first();

    [[nodiscard]] DueSchedules due(const DueQuery& query);

    [[nodiscard]] std::optional<ScheduleRow> find(const std::string& name);

    /// As Store::change_schedule.
    bool change(const std::string& name, const ScheduleChange& change);

    /// Writes a plan. `now`: when its tasks are added. `keep`: see StoreHooks. Errors: StorageError, also if a trigger
    /// of the host ignores the change.
    [[nodiscard]] SlotResult run(const SlotPlan& plan, detail::Ms now, AddStatements& adds, WaitingBounds& bounds,
                                 Cancels& cancels, const std::function<KeepRule(std::string_view)>& keep);

private:
    /// Whether the task is a new one.
    [[nodiscard]] bool add(detail::NewTask& task, detail::Ms now, std::optional<detail::Ms> wait_until,
                           AddStatements& adds, WaitingBounds& bounds, SlotResult& result);

    Handle db_;
    Statement first_{
        "SELECT next_at FROM backlite_schedules INDEXED BY backlite_schedules_next "
        "WHERE next_at IS NOT NULL AND paused_at IS NULL ORDER BY next_at LIMIT 1"};
    Statement due_{
        "SELECT name, queue, task, spec, zone, options, begun_at, next_at, gap_from, gap_until, last_at, last_task, "
        "paused_at FROM backlite_schedules INDEXED BY backlite_schedules_next "
        "WHERE next_at IS NOT NULL AND paused_at IS NULL ORDER BY next_at"};
    Statement gaps_{
        "SELECT name, queue, NULL, spec, zone, options, begun_at, next_at, gap_from, gap_until, last_at, last_task, "
        "paused_at FROM backlite_schedules WHERE gap_until > ?1"};
    Statement find_{
        "SELECT name, queue, task, spec, zone, options, begun_at, next_at, gap_from, gap_until, last_at, last_task, "
        "paused_at FROM backlite_schedules WHERE name = ?1"};
    Statement put_{
        "INSERT INTO backlite_schedules (name, queue, task, spec, zone, options, begun_at, next_at, gap_from, "
        "gap_until, last_at, last_task, paused_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) "
        "ON CONFLICT (name) DO UPDATE SET queue = ?2, task = ?3, spec = ?4, zone = ?5, options = ?6, begun_at = ?7, "
        "next_at = ?8, gap_from = ?9, gap_until = ?10, last_at = ?11, last_task = ?12, paused_at = ?13"};
    Statement remove_{"DELETE FROM backlite_schedules WHERE name = ?1"};
    Statement unfinished_{"SELECT 1 FROM backlite_tasks WHERE id = ?1"};
    Statement move_{
        "UPDATE backlite_schedules SET begun_at = ?2, next_at = ?3, gap_from = ?4, gap_until = ?5, last_at = ?6, "
        "last_task = ?7 WHERE name = ?1"};
};

/// All schedules by name, on a connection that only reads.
[[nodiscard]] std::vector<ScheduleRow> list_schedules(sqlite3* db, Statement& list);

/// For that: without payloads.
inline constexpr const char* list_of_schedules =
    "SELECT name, queue, NULL, spec, zone, options, begun_at, next_at, gap_from, gap_until, last_at, last_task, "
    "paused_at FROM backlite_schedules ORDER BY name";

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/schedules.ipp>
#endif
