// SPDX-License-Identifier: MIT
#pragma once
// SQL for the tags and the metadata of a task.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/id.hpp>
#include <backlite/store/sqlite/flags.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Tags stand in `backlite_tags`, metadata beside the expiry in `backlite_details`; the row of the task has the flag
/// `details`, so that its end takes them along unless it is kept. Tasks without any cost nothing.
/// Functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Labels {
public:
    explicit Labels(sqlite3* db) noexcept : db_{db} {}

    /// Whether `put` may have to do anything for these.
    [[nodiscard]] static bool concern(std::span<const detail::NewTask> tasks) noexcept {
        return std::any_of(tasks.begin(), tasks.end(), [](const auto& task) { return task.labels || task.unique; });
    }

    /// For tasks that this transaction has added. One that took the place of another gives that its own.
    void put(std::span<const detail::NewTask> tasks);

    /// Those of a task, finished or not. More than `max_bytes` of metadata, or 1,000 tags, are not read.
    [[nodiscard]] detail::TaskLabels read(const TaskId& id, std::size_t max_bytes);

private:
    void put(const TaskId& id, const detail::TaskLabels& labels);
    void forget(const TaskId& id);

    Handle db_;
    Statement flag_{"UPDATE main.backlite_tasks SET flags = flags | 4 WHERE id = ?1"};
    Statement flagged_{"SELECT 1 FROM main.backlite_tasks WHERE id = ?1 AND flags & 4 <> 0"};
    static_assert(flag::details == 4, "statements name it");
    Statement put_tag_{"INSERT INTO main.backlite_tags (task, tag) VALUES (?1, ?2) ON CONFLICT (task, tag) DO NOTHING"};
    Statement put_metadata_{
        "INSERT INTO main.backlite_details (task, metadata) VALUES (?1, ?2) "
        "ON CONFLICT (task) DO UPDATE SET metadata = excluded.metadata"};
    Statement forget_tags_{"DELETE FROM main.backlite_tags WHERE task = ?1"};
    Statement forget_metadata_{"UPDATE main.backlite_details SET metadata = NULL WHERE task = ?1"};
    Statement tags_{"SELECT tag FROM main.backlite_tags WHERE task = ?1 ORDER BY tag LIMIT 1000"};
    Statement metadata_{
        "SELECT metadata FROM main.backlite_details WHERE task = ?1 AND length(CAST(metadata AS blob)) <= ?2"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/labels.ipp>
#endif
