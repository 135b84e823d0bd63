// SPDX-License-Identifier: MIT
#pragma once
// The SQL behind Admin that the dashboard does not need: what else the file says of a task and of a queue, and a walk
// through both tables by id.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/admin_values.hpp>
#include <backlite/base/times.hpp>
#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/views/schema_features.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// What a list shows of a task besides a TaskLine.
struct TaskFacts {
    TaskState state = TaskState::any;
    std::int64_t priority = 0;
    std::int64_t hold = 0;
    std::string unique_key{};
    std::string partition{};
    std::string host{};  ///< this and the next: of a finished task's last attempt
    std::int64_t pid = 0;
    bool has_result = false;
};

/// A row that a walk has found.
struct FoundRow {
    std::string id{};
    bool finished = false;  ///< in which table
    std::int64_t row = 0;
    TaskState state = TaskState::any;

    friend bool operator==(const FoundRow&, const FoundRow&) = default;
};

/// A stretch of a walk.
struct Walk {
    std::vector<FoundRow> rows{};
    std::optional<std::string> next{};  ///< it goes on behind this id; nullopt: that was all
};

/// What `backlite_queues` says of one queue, and how many of its tasks are held by what.
struct QueueFacts {
    std::optional<detail::Ms> paused{};
    BoundedCount held{};
    std::int64_t reasons = 0;  ///< all of their `hold`, bit by bit
};

/// REQUIRES: the file has this library's columns.
/// Threads: those of its connection, one at a time. Errors: StorageError; SQLITE_INTERRUPT when the time is up.
class TaskFactReads {
public:
    static constexpr std::size_t most_records = 1'000;  ///< of each kind, of one task

    explicit TaskFactReads(sqlite3* db, const store::Bounds& bounds = {}) : db_{db}, bounds_(bounds) {}
    TaskFactReads(const TaskFactReads&) = delete;
    TaskFactReads& operator=(const TaskFactReads&) = delete;

    /// Of the row that a list has found.
    [[nodiscard]] TaskFacts facts(bool finished, std::int64_t row, detail::Ms now);

    /// Up to `limit` tasks that the filter finds, in both tables, by id, the last first; a task that is in both may be
    /// one more. An id comes once in a walk, whatever happens to its task meanwhile, and a task that is there all the
    /// time, in whichever table, comes. `before`: only ids before this one; nullopt: the walk begins.
    /// It ends early, with a `next`, once it has looked at as many rows, or for as long, as `store::Bounds` says.
    [[nodiscard]] Walk walk(const TaskFilter& filter, const std::optional<std::string>& before, detail::Ms now,
                            std::size_t limit);

    /// Adds what stands in tables of its own. `details.id` says of which task.
    void read_records(TaskDetails& details, const TaskFacts& facts, bool finished, std::int64_t row);

    /// What a flow has written down.
    struct FlowValue {
        std::string name{};  ///< behind `detail::flow_values`, or behind "backlite:signal:"
        detail::Ms at{};
        std::optional<std::string> json{};  ///< nullopt: it is very large
    };
    /// In the order in which it was begun, the last ones. Of many steps, takes a step for each.
    [[nodiscard]] std::vector<FlowValue> flow_values(const std::string& id);
    /// Signals that were not read, in their order, the first ones.
    [[nodiscard]] std::vector<FlowValue> flow_signals(const std::string& id);

    /// By queue. `more`: not all rows were looked at.
    [[nodiscard]] std::map<std::string, QueueFacts> queues();

    /// The queues that are paused, by name.
    [[nodiscard]] std::vector<std::string> paused();

    /// A pattern for LIKE that finds `text` anywhere; its escape is a backslash.
    [[nodiscard]] static std::string like_pattern(std::string_view text);

private:
    static std::string walk_sql(const char* table, const char* state, const char* time, const char* bounds);

    /// What a walk looks for, as its statements take it.
    struct Sought;

    /// The rows of one table on the way.
    class Lane;

    [[nodiscard]] Walk walk_both(const Sought& sought, std::size_t limit);

    [[nodiscard]] Walk walk_tagged(const Sought& sought, std::size_t limit);

    /// Whether a walk that has come so far goes no further for now.
    [[nodiscard]] bool enough(const Sought& sought, std::int64_t looked_at) const;

    /// The numbers are those of TaskState.
    static constexpr const char* unfinished_state =
        "CASE WHEN claimed_at IS NOT NULL THEN 5 WHEN hold <> 0 THEN 4 WHEN due > ?2 THEN iif(attempts > 0, 3, 2) ELSE "
        "1 "
        "END";
    static constexpr const char* finished_state =
        "CASE WHEN typeof(error) = 'null' THEN 6 WHEN kind = 1 THEN 8 WHEN kind = 5 THEN 9 ELSE 7 END";
    static_assert(static_cast<int>(TaskState::waiting) == 1 && static_cast<int>(TaskState::running) == 5 &&
                      static_cast<int>(TaskState::succeeded) == 6 && static_cast<int>(TaskState::expired) == 9,
                  "the SQL names these numbers");

    Handle db_;
    const store::Bounds bounds_;
    Query unfinished_{
        fmt::format("SELECT {}, priority, hold, substr(unique_key, 1, 1000), substr(partition, 1, 1000) "
                    "FROM backlite_tasks WHERE rowid = ?1",
                    unfinished_state)};
    Query finished_{
        fmt::format("SELECT {}, priority, substr(unique_key, 1, 1000), substr(partition, 1, 1000), "
                    "substr(host, 1, 300), pid, result IS NOT NULL "
                    "FROM backlite_tasks_completed WHERE rowid = ?1 AND (?2 IS NULL OR 1)",
                    finished_state)};
    Query walk_{walk_sql("backlite_tasks", unfinished_state, "due", "id < ?1 AND id >= ?3")};
    Query walk_finished_{walk_sql("backlite_tasks_completed", finished_state, finished_time, "id < ?1 AND id >= ?3")};
    Query one_{walk_sql("backlite_tasks", unfinished_state, "due", "id = ?1 AND id >= ?3")};
    Query one_finished_{walk_sql("backlite_tasks_completed", finished_state, finished_time, "id = ?1 AND id >= ?3")};
    Statement tagged_{
        "SELECT task FROM backlite_tags INDEXED BY backlite_tags_tag WHERE tag = ?1 AND task < ?2 AND task >= ?3 "
        "ORDER BY task DESC"};
    Statement attempts_{
        "SELECT number, started_at, duration_us, substr(CAST(error AS BLOB), 1, 100000), substr(host, 1, 300), pid "
        "FROM backlite_attempts WHERE task = ?1 ORDER BY claim DESC LIMIT ?2"};
    Statement saved_{
        "SELECT name, value FROM backlite_saved WHERE task = ?1 AND (name < 'backlite:' OR name >= 'backlite;') "
        "ORDER BY name LIMIT ?2"};
    Statement of_flow_{
        "SELECT name, at, iif(length(value) <= 1048576, value, NULL) FROM backlite_saved "
        "WHERE task = ?1 AND name >= ?2 AND name < ?3 ORDER BY rowid DESC LIMIT ?4"};
    Statement sent_{
        "SELECT name, at, iif(length(value) <= 1048576, value, NULL) FROM backlite_saved "
        "WHERE task = ?1 AND name >= 'backlite:signal:' AND name < 'backlite:signal;' ORDER BY rowid LIMIT ?2"};
    Statement progress_{"SELECT fraction, substr(message, 1, 10000), at FROM backlite_progress WHERE task = ?1"};
    Statement tags_{"SELECT tag FROM backlite_tags WHERE task = ?1 ORDER BY tag LIMIT ?2"};
    Statement details_{"SELECT metadata, expires_at FROM backlite_details WHERE task = ?1"};
    Statement parents_{"SELECT parent FROM backlite_edges WHERE child = ?1 ORDER BY parent LIMIT ?2"};
    Statement children_{"SELECT child FROM backlite_edges WHERE parent = ?1 ORDER BY child LIMIT ?2"};
    Statement cancelled_{"SELECT 1 FROM backlite_cancels WHERE task = ?1"};
    Statement result_{"SELECT result FROM backlite_tasks_completed WHERE rowid = ?1"};
    Statement rules_{"SELECT queue, paused_at FROM backlite_queues ORDER BY queue LIMIT 1000"};
    Statement held_{
        "SELECT queue, hold, count(*) FROM (SELECT queue, hold FROM backlite_tasks INDEXED BY backlite_tasks_held "
        "WHERE claimed_at IS NULL AND hold <> 0 LIMIT ?1) GROUP BY queue, hold ORDER BY queue, hold LIMIT 10000"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/task_facts.ipp>
#endif
