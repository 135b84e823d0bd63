// SPDX-License-Identifier: MIT
#pragma once
// SQL for unique keys that a task has only while it waits, and for those of tasks that have ended.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/flags.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// A task that may be claimed now, and could not before.
struct Freed {
    std::string queue{};
    detail::Ms due{};
};

/// A claimed task that is not to wait again: a newer one waits under its key.
struct Superseded {
    std::string by{};  ///< the newer one
    detail::Ms at{};   ///< when that was added
    KeepRule keep{};
};

/// A key stands in the row of the task that waits. Where it does not count while the task runs (`UniqueUntil::started`,
/// `Conflict::latest`), the claim moves it to `backlite_keys`, so that another one can wait under it; one of `latest`
/// is held as long as there is such an entry. The end of the claim deletes the entry.
/// Functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class UniqueKeys {
public:
    /// `freed`: where tasks are noted that may be claimed from then on; null: nobody wants to know.
    explicit UniqueKeys(sqlite3* db, std::vector<Freed>* freed = nullptr) noexcept : db_{db}, freed_(freed) {}
    UniqueKeys(const UniqueKeys&) = delete;
    UniqueKeys& operator=(const UniqueKeys&) = delete;
    ~UniqueKeys() = default;

    /// Moves the key of a row that is claimed.
    void take_off(std::int64_t row);

    /// Whether a task that waits has an entry, and a newer one waits under its key: another program has given it back,
    /// and it is to end.
    [[nodiscard]] bool outdated(const std::string& id);

    /// A claimed task ends: the one that waits for that is free.
    void end(const std::string& id);

    /// A claimed task is to wait again. Takes its key if that is free, otherwise goes on without one. If a newer task
    /// of `latest` has the key, it is to end instead, and nothing is changed.
    [[nodiscard]] std::optional<Superseded> give_back(const std::string& id);

    /// Whether a task runs that has the key.
    [[nodiscard]] bool runs(std::string_view queue, std::string_view key);

    /// What becomes of tasks with the key that run, if they are to run again: a newer one waits.
    void supersede(std::string_view queue, std::string_view key, detail::Ms at, const KeepRule& keep);

    /// Entries of tasks that are not claimed: another program has deleted them or given them back.
    [[nodiscard]] bool has_orphans();

    /// The ids of those tasks.
    [[nodiscard]] std::vector<std::string> orphans();

    /// The kept row of a task with a key counts until `until`, and is kept as long. One of an earlier task counts no
    /// more. REQUIRES: both rows of the task are there.
    void keep(const std::string& id, detail::Ms until);

    /// A task with the key that has ended in the last `period`.
    [[nodiscard]] std::optional<TaskId> ended(std::string_view queue, std::string_view key, detail::Ms now,
                                              Duration period);

private:
    struct Entry {
        std::string queue{};
        std::string key{};
        detail::Ms at{};
        KeepRule keep{};
    };
    struct Holder {
        std::int64_t row = 0;
        std::string id{};
        bool waits = false;
        std::int64_t flags = 0;
        std::int64_t hold = 0;
        detail::Ms due{};
    };

    [[nodiscard]] std::optional<Entry> entry(const std::string& id);

    /// An entry of the key is gone: the one that waits for it may run if there is no other.
    void free(const Holder& waiting, const Entry& gone);

    /// The unfinished task whose row has the key.
    [[nodiscard]] std::optional<Holder> holder(std::string_view queue, std::string_view key);

    Handle db_;
    std::vector<Freed>* freed_;
    Statement put_{
        "INSERT INTO main.backlite_keys (task, queue, unique_key) SELECT id, queue, unique_key FROM "
        "main.backlite_tasks "
        "WHERE rowid = ?1 AND unique_key IS NOT NULL AND id IS NOT NULL ON CONFLICT (task) DO UPDATE SET queue = "
        "excluded.queue, "
        "unique_key = excluded.unique_key, at = 0, keep_row = 0, keep_payload = 0, keep_ms = 0"};
    Statement take_off_{"UPDATE main.backlite_tasks SET unique_key = NULL, flags = flags | ?2 WHERE rowid = ?1"};
    Statement entry_{
        "SELECT queue, unique_key, at, keep_row, keep_payload, keep_ms FROM main.backlite_keys WHERE task = ?1"};
    Statement forget_{"DELETE FROM main.backlite_keys WHERE task = ?1"};
    Statement holder_{
        "SELECT rowid, id, claimed_at IS NULL, flags, hold, due FROM main.backlite_tasks "
        "INDEXED BY backlite_tasks_unique WHERE queue = ?1 AND unique_key = ?2"};
    Statement free_{"UPDATE main.backlite_tasks SET hold = hold & ~?2 WHERE rowid = ?1"};
    Statement take_again_{"UPDATE main.backlite_tasks SET unique_key = ?2 WHERE id = ?1 AND unique_key IS NULL"};
    Statement go_without_{"UPDATE main.backlite_tasks SET flags = flags & ~?2 WHERE id = ?1"};
    Statement runs_{
        "SELECT 1 FROM main.backlite_keys AS entry INDEXED BY backlite_keys_key WHERE entry.queue = ?1 AND "
        "entry.unique_key = ?2 AND EXISTS "
        "(SELECT 1 FROM main.backlite_tasks AS task WHERE task.id = entry.task AND task.claimed_at IS NOT NULL)"};
    Statement supersede_{
        "UPDATE main.backlite_keys SET at = ?3, keep_row = ?4, keep_payload = ?5, keep_ms = ?6 "
        "WHERE queue = ?1 AND unique_key = ?2"};
    Statement orphans_{
        "SELECT entry.task FROM main.backlite_keys AS entry WHERE NOT EXISTS "
        "(SELECT 1 FROM main.backlite_tasks AS task WHERE task.id = entry.task AND task.claimed_at IS NOT NULL) "
        "LIMIT ?1"};
    Statement keep_{
        "UPDATE main.backlite_tasks_completed SET unique_key = task.unique_key, "
        "expires_at = max(backlite_tasks_completed.expires_at, ?2) FROM main.backlite_tasks AS task "
        "WHERE backlite_tasks_completed.id = ?1 AND task.id = ?1"};
    Statement keep_no_more_{
        "UPDATE main.backlite_tasks_completed AS old INDEXED BY backlite_tasks_completed_unique SET unique_key = NULL "
        "FROM main.backlite_tasks AS task WHERE task.id = ?1 AND old.unique_key IS NOT NULL AND old.queue = task.queue "
        "AND old.unique_key = task.unique_key"};
    // A row that seems to have ended long after now was made while a clock was ahead, and says nothing.
    Statement ended_{
        "SELECT id FROM main.backlite_tasks_completed INDEXED BY backlite_tasks_completed_unique "
        "WHERE queue = ?1 AND unique_key = ?2 "
        "AND last_executed_at + max(ifnull(last_duration_micro, 0), 0) / 1000 > ?3 "
        "AND last_executed_at + max(ifnull(last_duration_micro, 0), 0) / 1000 <= ?4 LIMIT 1"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/unique_keys.ipp>
#endif
