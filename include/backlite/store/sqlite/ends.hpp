// SPDX-License-Identifier: MIT
#pragma once
// SQL for what hangs on a task when it ends or comes back: of rows whose flags say so, and of no others.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/flags.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/turns.hpp>
#include <backlite/store/sqlite/unique_keys.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

enum class End { succeeded, failed, cancelled, expired };

/// Of a task that did not succeed, by the `kind` of its kept row.
[[nodiscard]] constexpr End end_of(std::optional<std::int64_t> kind) noexcept {
    if (kind == detail::cancelled_kind) return End::cancelled;
    return kind == detail::expired_kind ? End::expired : End::failed;
}

/// How a task ends, and what of it is kept.
struct Ending {
    const std::string& id;
    std::int64_t flags = 0;
    End end = End::failed;
    bool keeps_row = false;
    bool keeps_payload = false;
    std::string_view result{};  ///< JSON; empty: none
    std::string_view error{};   ///< unless it has succeeded
};

/// All functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Ends {
public:
    explicit Ends(sqlite3* db) noexcept : db_{db} {}
    Ends(const Ends&) = delete;
    Ends& operator=(const Ends&) = delete;

    /// The row of a task is about to be deleted, since it has ended; its kept row, if there is one, is written already.
    /// REQUIRES: a flag of `flag::on_end`.
    void before_end(const Ending& ending);

    /// A claimed task is about to wait again. If it says so, it is to end as superseded instead, and nothing is
    /// changed. REQUIRES: a flag of `flag::on_return`.
    [[nodiscard]] std::optional<Superseded> before_return(const std::string& id, std::int64_t flags);

    /// A row is about to be claimed. REQUIRES: a flag of `flag::on_claim`.
    void before_claim(std::int64_t row, std::int64_t flags);

    /// The kept row of a task has its key for so long.
    void keep_key(const std::string& id, detail::Ms until) { keys_.keep(id, until); }

    /// See UniqueKeys.
    [[nodiscard]] UniqueKeys& keys() noexcept { return keys_; }

    /// Tasks that the current transaction has freed. An operation clears the list before it begins, since it may run
    /// again.
    [[nodiscard]] const std::vector<Freed>& freed() const noexcept { return freed_; }
    void clear() noexcept {
        freed_.clear();
        marked_ = false;
    }

    /// Notes one of them.
    void note(Freed freed) { freed_.push_back(std::move(freed)); }

    /// Whether rows of other tables hang on any task at all.
    [[nodiscard]] bool any_details() {
        Run run(db_, any_details_);
        return run.step() && run.integer(0) != 0;
    }

    /// Who may run in a partition.
    [[nodiscard]] Turns& turns() noexcept { return turns_; }

    /// Opens partitions of a queue whose time has come.
    void open_partitions(const store::QueueHead& head, detail::Ms now, Duration ageing) {
        turns_.open(head, now, ageing, freed_);
    }
    /// Looks through a piece of the partitions of a queue; see Turns::mend.
    [[nodiscard]] bool mend_partitions(const store::QueueHead& head, detail::Ms now, Duration ageing) {
        return turns_.mend(head, now, ageing, freed_);
    }

    /// A task is run again that has ended. If it is a flow, it does what has failed once more, a `map` with all of its
    /// tasks; and everything, if it has undone some.
    void forget_failure(const std::string& id);

    /// Deletes those that hang on a task.
    void forget_details(const std::string& id);

    /// A task has ended that others may wait for: see Children.
    void mark(const std::string& parent, bool succeeded) {
        Run(db_, mark_, {parent, succeeded}).change();
        marked_ = true;
    }
    /// Whether the current transaction has done so.
    [[nodiscard]] bool marked() const noexcept { return marked_; }

private:
    /// What a flow that joins wants to know of a child.
    void tell_flow(const Ending& ending);

    Handle db_;
    std::vector<Freed> freed_{};
    bool marked_ = false;
    Statement mark_{
        "INSERT INTO main.backlite_edges (parent, child, on_failure) VALUES (?1, '', ?2) "
        "ON CONFLICT (parent, child) DO NOTHING"};
    UniqueKeys keys_{db_, &freed_};
    Turns turns_{db_};
    Statement any_details_{
        "SELECT EXISTS (SELECT 1 FROM main.backlite_saved) OR EXISTS (SELECT 1 FROM main.backlite_progress) "
        "OR EXISTS (SELECT 1 FROM main.backlite_attempts) OR EXISTS (SELECT 1 FROM main.backlite_tags) "
        "OR EXISTS (SELECT 1 FROM main.backlite_details)"};
    Statement tell_flow_{
        "INSERT INTO main.backlite_saved (task, name, at, value) "
        "SELECT edge.child, 'backlite:result:' || CAST(joins.value AS text) || char(1) || "
        "printf('%010d', edge.on_failure - 16), 0, ?2 FROM main.backlite_edges AS edge "
        "CROSS JOIN main.backlite_saved AS joins ON joins.task = edge.child AND joins.name = 'backlite:flow:joins' "
        "WHERE edge.parent = ?1 AND edge.on_failure >= 16 "
        "ON CONFLICT (task, name) DO UPDATE SET value = excluded.value"};
    static_assert(detail::join_edge == 16, "statements name it");
    Statement undone_{
        "SELECT 1 FROM main.backlite_saved WHERE task = ?1 AND name >= 'backlite:flow:undo:' "
        "AND name < 'backlite:flow:undo;' LIMIT 1"};
    Statement forget_flow_{
        "DELETE FROM main.backlite_saved WHERE task = ?1 AND (name >= 'backlite:flow:' AND name < 'backlite:flow;' "
        "OR name >= 'backlite:result:' AND name < 'backlite:result;')"};
    Statement forget_failed_{
        "DELETE FROM main.backlite_saved WHERE task = ?1 AND name >= 'backlite:flow:' AND name < 'backlite:flow;' "
        "AND (name IN ('backlite:flow:cancelled', 'backlite:flow:failed', 'backlite:flow:waits', "
        "'backlite:flow:joins') "
        "OR substr(CAST(value AS text), 1, 4) = '{\"f\"')"};
    Statement failed_maps_{
        // those that were not over, or whose tasks have not all succeeded
        "SELECT substr(name, 15) FROM main.backlite_saved AS map WHERE task = ?1 AND name >= 'backlite:flow:map:' "
        "AND name < 'backlite:flow:map;' AND (instr(CAST(value AS text), '\"k\"') > 0 OR EXISTS "
        "(SELECT 1 FROM main.backlite_saved WHERE task = ?1 AND name >= 'backlite:result:' || substr(map.name, 15) || "
        "char(1) AND name < 'backlite:result:' || substr(map.name, 15) || char(2) "
        "AND substr(CAST(value AS text), 1, 4) = '{\"e\"'))"};
    Statement forget_map_{
        "DELETE FROM main.backlite_saved WHERE task = ?1 AND (name = 'backlite:flow:' || ?2 "
        "OR name >= 'backlite:result:' || ?2 || char(1) AND name < 'backlite:result:' || ?2 || char(2))"};
    Statement leave_children_{
        "DELETE FROM main.backlite_edges INDEXED BY backlite_edges_child WHERE child = ?1 AND on_failure >= 16"};
    Statement forget_saved_{"DELETE FROM main.backlite_saved WHERE task = ?1"};
    Statement forget_progress_{"DELETE FROM main.backlite_progress WHERE task = ?1"};
    Statement forget_attempts_{"DELETE FROM main.backlite_attempts WHERE task = ?1"};
    Statement forget_tags_{"DELETE FROM main.backlite_tags WHERE task = ?1"};
    Statement forget_details_{"DELETE FROM main.backlite_details WHERE task = ?1"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/ends.ipp>
#endif
