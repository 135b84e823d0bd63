// SPDX-License-Identifier: MIT
#pragma once
// SQL that only looks: what became of a task, and how many there are.

#include <cstdint>
#include <string>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

class StatusQueries {
public:
    explicit StatusQueries(sqlite3* db) noexcept : db_{db} {}

    /// One statement, so that a task on its way from one table to the other is seen in one of them.
    [[nodiscard]] TaskStatus status(const TaskId& id) {
        Run run(db_, status_, {id.str()});
        return run.step() ? static_cast<TaskStatus>(run.integer(0)) : TaskStatus::not_found;
    }

    /// The same, and what is kept of it. Whatever other programs have stored is read up to a bound.
    [[nodiscard]] FoundTask find(const TaskId& id, std::size_t max_result);

    /// The counts at one moment, from indexes alone. Costs a step per unfinished task.
    [[nodiscard]] TaskCounts counts(detail::Ms now);

    /// By rank, then by row, as claims take them.
    [[nodiscard]] std::vector<WaitingTask> waiting(const std::string& queue, Duration ageing);

private:
    static_assert(static_cast<int>(TaskStatus::pending) == 0 && static_cast<int>(TaskStatus::running) == 1 &&
                      static_cast<int>(TaskStatus::succeeded) == 2 && static_cast<int>(TaskStatus::failed) == 3 &&
                      static_cast<int>(TaskStatus::cancelled) == 5 && static_cast<int>(TaskStatus::expired) == 6,
                  "status_ names these numbers");

    Handle db_;
    Statement status_{
        "SELECT claimed_at IS NOT NULL FROM backlite_tasks WHERE id = ?1 "
        "UNION ALL SELECT CASE WHEN error IS NULL THEN 2 WHEN kind = 1 THEN 5 WHEN kind = 5 THEN 6 ELSE 3 END "
        "FROM backlite_tasks_completed WHERE id = ?1 LIMIT 1"};
    Statement find_{
        "SELECT claimed_at IS NOT NULL, queue, NULL, NULL, NULL FROM backlite_tasks WHERE id = ?1 "
        "UNION ALL SELECT CASE WHEN error IS NULL THEN 2 WHEN kind = 1 THEN 5 WHEN kind = 5 THEN 6 ELSE 3 END, queue, "
        "substr(error, 1, 4096), length(result), CASE WHEN length(result) <= ?2 THEN result END "
        "FROM backlite_tasks_completed WHERE id = ?1 LIMIT 1"};
    Statement counts_{
        "SELECT queue, sum(waiting), sum(scheduled), sum(running), min(oldest) FROM ("
        "SELECT queue, count(*) FILTER (WHERE due <= ?1) AS waiting, count(*) FILTER (WHERE due > ?1) AS scheduled, "
        "0 AS running, min(due) AS oldest "
        "FROM backlite_tasks INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL AND hold = 0 GROUP BY queue "
        "UNION ALL SELECT queue, count(*) FILTER (WHERE due <= ?1), count(*) FILTER (WHERE due > ?1), 0, min(due) "
        "FROM backlite_tasks INDEXED BY backlite_tasks_held WHERE hold <> 0 AND claimed_at IS NULL GROUP BY queue "
        "UNION ALL SELECT queue, 0, 0, count(*), NULL FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL GROUP BY queue) GROUP BY queue ORDER BY queue"};
    Statement waiting_{
        "SELECT id, due, attempts, task, priority FROM backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 AND due <= 9223372036854775807 ORDER BY rowid"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/status_queries.ipp>
#endif
