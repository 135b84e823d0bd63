// SPDX-License-Identifier: MIT
#pragma once
// SQL for what Admin does to tasks, one by one.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include <backlite/admin_values.hpp>
#include <backlite/base/times.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/cancels.hpp>
#include <backlite/store/sqlite/ends.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/transitions.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// All functions REQUIRE a write transaction; on a StorageError the caller rolls back.
class Changes {
public:
    /// REQUIRES: the others live as long, on the same connection.
    Changes(sqlite3* db, Ends& ends, Transitions& transitions, Cancels& cancels) noexcept
        : db_{db}, ends_(ends), transitions_(transitions), cancels_(cancels) {}

    /// `apart`: not null, then a task that SQLite refuses to change is skipped.
    [[nodiscard]] ChangeResult change(const ChangePlan& plan, Isolation* apart);

private:
    struct Found {
        bool finished = false;
        TaskState state = TaskState::any;
        std::string queue{};
    };

    /// By how much the numbers of claims rise with each transaction that brings tasks back: more than any task is
    /// claimed meanwhile. So a number is never given twice to a task, though a finished row does not say how many it
    /// had: with one that was used before, an old worker's outcome would count.
    static constexpr std::int64_t stretch = std::int64_t{1} << 36;

    [[nodiscard]] std::optional<Found> find(const ChangePlan::Task& task, detail::Ms now);

    /// Whether the task was changed.
    bool change(const ChangePlan& plan, const TaskId& id, const Found& found, std::int64_t claim, ChangeResult& result);

    bool cancel(const ChangePlan& plan, const TaskId& id, const Found& found, ChangeResult& result);

    bool remove_finished(const std::string& id);

    /// The number above which the claims of this transaction's tasks begin. Errors: Error if there are no more.
    std::int64_t first_claim();

    Handle db_;
    Ends& ends_;
    Transitions& transitions_;
    Cancels& cancels_;
    Statement unfinished_{
        "SELECT queue, claimed_at IS NOT NULL, ifnull(hold, 0) <> 0, due > ?2, attempts > 0 FROM main.backlite_tasks "
        "WHERE id = ?1"};
    Statement finished_{"SELECT queue, typeof(error) = 'null', kind FROM main.backlite_tasks_completed WHERE id = ?1"};
    Statement remove_{"DELETE FROM main.backlite_tasks_completed WHERE id = ?1"};
    Statement is_unfinished_{"SELECT 1 FROM main.backlite_tasks WHERE id = ?1"};
    Statement next_claim_{
        "INSERT INTO main.backlite_meta (key, value) VALUES ('last_return', ?1) ON CONFLICT (key) DO UPDATE SET value "
        "= "
        "iif(typeof(value) = 'integer' AND value BETWEEN 0 AND 9223372036854775807 - 2 * ?1, value + ?1, 'none left') "
        "RETURNING value"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/changes.ipp>
#endif
