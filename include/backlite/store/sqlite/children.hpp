// SPDX-License-Identifier: MIT
#pragma once
// SQL for tasks that wait for other tasks: how they are held, and what becomes of them when those have ended.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/parents.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/cancels.hpp>
#include <backlite/store/sqlite/ends.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// How many children one transaction sees to.
inline constexpr int children_chunk = 500;

/// Whether any of the tasks of one call waits for another.
[[nodiscard]] inline bool has_parents(std::span<const detail::NewTask> tasks) noexcept {
    return !tasks.empty() && tasks.back().parents != nullptr;
}

/// A row of `backlite_edges` says that a task waits for another; its `hold` counts those that are unfinished. A parent
/// that ends leaves a mark, a row without a child (see Ends), and is gone: its children are seen to afterwards, so many
/// in one transaction, so that neither a million children nor a chain of as many is one piece. A child that is
/// cancelled leaves a mark of its own.
/// Functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Children {
public:
    /// How a task of this queue is kept that ends without success.
    using Keep = std::function<KeepRule(std::string_view queue)>;

    /// REQUIRES: `ends` and `cancels` live as long, on the same connection.
    Children(sqlite3* db, Ends& ends, Cancels& cancels) noexcept : db_{db}, ends_(ends), cancels_(cancels) {}

    /// Lets tasks wait that this transaction has inserted, and that have parents. A parent that is neither unfinished
    /// nor kept has succeeded. Of one that has not, the children are marked to be seen to.
    void hold(std::span<const detail::NewTask> tasks);

    /// Lets the flow wait for tasks that this transaction has inserted.
    void join(std::span<const detail::NewTask> tasks, const detail::Parents::Join& join);

    /// Up to `limit` tasks that this one waits for, by their ids, behind `after`.
    [[nodiscard]] std::vector<TaskId> parents_of(const TaskId& id, const std::string& after, int limit);

    struct Work {
        bool left = false;                    ///< there is more to do
        std::vector<EndedChild> cancelled{};  ///< children that have ended
        std::optional<StorageError> refused{};
    };
    /// Sees to up to `most` children of parents that have ended: frees them, or ends them as cancelled. `apart`: what
    /// is refused is left as it is. Errors: StorageError.
    [[nodiscard]] Work work(detail::Ms now, const Keep& keep, int most, Isolation* apart = nullptr);

    /// Whether parents have ended whose children nobody has seen to.
    [[nodiscard]] bool left() { return Run(db_, next_mark_, {""}).step(); }

    /// Whether any task waits for another.
    [[nodiscard]] bool any() { return Run(db_, any_).step(); }

    /// Looks at up to `most` parents behind `from`, and marks those that are gone without having told: other programs
    /// may have deleted or finished their rows. The last one looked at; nullopt: there are no more.
    [[nodiscard]] std::optional<std::string> sweep(const std::string& from, int most);

private:
    struct Edge {
        std::string child{};
        OnParentFailure on_failure{};
    };

    /// An unfinished parent, or one that has not succeeded.
    struct Known {
        std::string id{};
        OnParentFailure on_failure{};
    };

    /// What is true of a parent for the whole transaction. Marks those that have not succeeded.
    [[nodiscard]] std::vector<Known> resolve(const detail::Parents& parents, std::span<const detail::NewTask> tasks);
    void resolve(const TaskId& id, OnParentFailure on_failure, std::vector<Known>& found);

    /// A child of a parent that has ended. True if it has ended too.
    void see_to(const std::string& parent, bool succeeded, const Edge& edge, detail::Ms now, const Keep& keep,
                std::vector<EndedChild>& cancelled);

    Handle db_;
    Ends& ends_;
    Cancels& cancels_;
    Statement unfinished_{"SELECT flags & 2 FROM main.backlite_tasks WHERE id = ?1"};
    Statement succeeded_{"SELECT error IS NULL FROM main.backlite_tasks_completed WHERE id = ?1"};
    Statement flag_{"UPDATE main.backlite_tasks SET flags = flags | 2 WHERE id = ?1"};
    static_assert(flag::children == 2 && hold::parent == 256, "statements name these numbers");
    Statement insert_{
        "INSERT INTO main.backlite_edges (parent, child, on_failure) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (parent, child) DO NOTHING"};
    Statement hold_{"UPDATE main.backlite_tasks SET hold = hold + ?2 * 256 WHERE id = ?1"};
    Statement next_mark_{
        "SELECT parent, on_failure FROM main.backlite_edges INDEXED BY backlite_edges_child "
        "WHERE child = '' AND parent > ?1 ORDER BY parent LIMIT 1"};
    Statement children_{
        "SELECT child, on_failure FROM main.backlite_edges WHERE parent = ?1 AND child > '' ORDER BY child LIMIT ?2"};
    Statement remove_{"DELETE FROM main.backlite_edges WHERE parent = ?1 AND child = ?2"};
    Statement remove_of_child_{"DELETE FROM main.backlite_edges INDEXED BY backlite_edges_child WHERE child = ?1"};
    Statement child_{"SELECT queue, hold, claimed_at IS NULL, due FROM main.backlite_tasks WHERE id = ?1"};
    Statement free_{"UPDATE main.backlite_tasks SET hold = hold - 256 WHERE id = ?1 AND hold >= 256"};
    Statement parents_of_{
        "SELECT parent FROM main.backlite_edges INDEXED BY backlite_edges_child "
        "WHERE child = ?1 AND parent > ?2 ORDER BY parent LIMIT ?3"};
    Statement any_{"SELECT 1 FROM main.backlite_edges LIMIT 1"};
    Statement next_parent_{"SELECT parent FROM main.backlite_edges WHERE parent > ?1 ORDER BY parent LIMIT 1"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/children.ipp>
#endif
