// SPDX-License-Identifier: MIT
#pragma once
// SQL for bounded queues: how many of their tasks do not run, and what an add needs to have room.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/cancels.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// How many unfinished tasks of a bounded queue do not run stands in `backlite_queues.waiting`. Triggers keep it, so
/// that it is right whoever writes and however a transaction ends, and an add costs the same with ten tasks and a
/// million. They are made, and the tasks counted once, by the first add to a bounded queue of the file: files without
/// bounded queues have none.
///
/// An insert that replaces a row fires no trigger for the old one, so the number may be too high. So where it says that
/// a queue is full the tasks are counted again, up to the bound, but not more often than every ten seconds.
/// Functions that write REQUIRE a write transaction; on an error the caller rolls back.
class WaitingBounds {
public:
    enum class On {
        own_connection,   ///< which may make triggers, and drops tasks in pieces
        host_connection,  ///< where nothing but the add itself is the library's business
    };

    /// What comes before an add.
    struct Answer {
        const QueueConfig* full = nullptr;  ///< this queue has no room: nothing is to be added
        bool more = false;                  ///< tasks were dropped, and more must be: commit that and ask again
    };

    /// REQUIRES: `cancels` lives as long, on the same connection.
    WaitingBounds(sqlite3* db, Cancels& cancels, On on) noexcept : db_{db}, cancels_(cancels), on_(on) {}

    /// Whether there is room for those of the tasks that have no unique key; of a queue that drops its oldest ones it
    /// makes it. `dropped`: gets those.
    [[nodiscard]] Answer prepare(std::span<const detail::NewTask> tasks, detail::Ms now,
                                 std::vector<DroppedTask>& dropped);

    /// The same for those that have one, after they were added: only then it is known which are new. On a connection of
    /// the host's for all: a deferred transaction that reads first cannot wait for another writer any more.
    /// Errors: QueueFullError; then tasks may be inserted and dropped, and the caller rolls back.
    void settle(std::span<const detail::NewTask> tasks, detail::Ms now, std::vector<DroppedTask>& dropped);

    /// How many unfinished tasks of a queue do not run; where it is not kept, no more than `most` are counted.
    [[nodiscard]] std::int64_t waiting(std::string_view queue, std::int64_t most);

    /// The most that are dropped in one transaction of ours.
    static constexpr std::int64_t piece = 500;

    static constexpr std::string_view error = "dropped: the queue is full";

private:
    using Steady = std::chrono::steady_clock;

    /// The tasks of one call in one bounded queue.
    struct Share {
        const QueueConfig* queue = nullptr;
        std::int64_t plain = 0;
        std::int64_t unique = 0;  ///< those that were inserted
    };

    [[nodiscard]] static std::vector<Share> shares(std::span<const detail::NewTask> tasks);

    /// By how many the queue is above its bound if `more` come.
    [[nodiscard]] std::int64_t excess(const QueueConfig& queue, std::int64_t more);

    /// Whether the triggers are there.
    [[nodiscard]] bool kept();

    /// Makes the triggers, and counts the tasks of the queue.
    std::int64_t begin(std::string_view queue);

    [[nodiscard]] std::int64_t count(std::string_view queue, std::int64_t most);

    /// Whether the queue's number was too high, and is mended. Looks only now and then.
    [[nodiscard]] bool mend(const QueueConfig& queue);

    /// Ends up to `count` of those that have waited longest, but none of `own`. How many it were.
    std::int64_t drop(const QueueConfig& queue, std::int64_t count, std::span<const detail::NewTask> own,
                      detail::Ms now, std::vector<DroppedTask>& dropped);

    /// Ids of up to `count` tasks that have waited longest: first of those that may be claimed, by their due times.
    [[nodiscard]] std::vector<std::string> oldest(std::string_view queue, std::int64_t count);

    static constexpr std::chrono::seconds trusted{10};  ///< how long a queue counts as full without another look

    Handle db_;
    Cancels& cancels_;
    const On on_;
    std::optional<std::int64_t> schema_{};  ///< the schema in which the triggers were seen last
    std::string mended_{};                  ///< the queue that was counted again last, and when
    Steady::time_point mended_at_{};
    Statement waiting_{"SELECT waiting FROM main.backlite_queues WHERE queue = ?1 AND waiting IS NOT NULL"};
    Statement schema_version_{"PRAGMA main.schema_version"};
    Statement triggers_{
        "SELECT count(*) = 3 FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = 'backlite_tasks' AND name "
        "IN "
        "('backlite_waiting_added', 'backlite_waiting_ended', 'backlite_waiting_changed')"};
    Statement forget_{"UPDATE main.backlite_queues SET waiting = NULL WHERE waiting IS NOT NULL"};
    Statement set_{
        "INSERT INTO main.backlite_queues (queue, waiting) VALUES (?1, ?2) "
        "ON CONFLICT (queue) DO UPDATE SET waiting = excluded.waiting"};
    Statement count_{
        "SELECT count(*) FROM (SELECT 1 FROM main.backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 LIMIT ?2)"};
    Statement count_held_{
        "SELECT count(*) FROM (SELECT 1 FROM main.backlite_tasks INDEXED BY backlite_tasks_held "
        "WHERE claimed_at IS NULL AND hold <> 0 AND queue = ?1 LIMIT ?2)"};
    Statement next_level_{
        "SELECT priority FROM main.backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 AND priority BETWEEN ?2 AND 9223372036854775807 "
        "ORDER BY priority LIMIT 1"};
    Statement oldest_{
        "SELECT id, due FROM main.backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 AND priority = ?2 AND id IS NOT NULL "
        "ORDER BY due LIMIT ?3"};
    Statement oldest_held_{
        "SELECT id FROM main.backlite_tasks INDEXED BY backlite_tasks_held "
        "WHERE claimed_at IS NULL AND hold <> 0 AND queue = ?1 AND id IS NOT NULL ORDER BY due LIMIT ?2"};
};

/// Errors: QueueFullError naming the queue and its bound.
[[noreturn]] void throw_full(const QueueConfig& queue);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/bounds.ipp>
#endif
