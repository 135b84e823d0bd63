// SPDX-License-Identifier: MIT
#pragma once
// SQL that puts tasks into the file.

#include <cstdint>
#include <optional>
#include <span>

#include <sqlite3.h>

#include <backlite/records.hpp>
#include <backlite/storage/statement.hpp>

namespace backlite {
inline namespace v1 {
namespace storage {

/// Inserts tasks on a connection that is inside a transaction: the client's own, or its host's.
class Adds {
public:
    explicit Adds(sqlite3* db) noexcept : db_(db) {}

    /// Errors: StorageError; then some of the tasks may be inserted, and the caller rolls back.
    void insert(std::span<const NewTask> tasks, std::int64_t created_at, std::optional<std::int64_t> wait_until) {
        for (const NewTask& task : tasks) {
            Run(db_, insert_, {task.id.str(), created_at, task.queue, Blob{task.payload}, wait_until}).change();
        }
    }

    /// Inserts one task that is due now as claimed by `owner`, under the claim number 1. Errors: as above.
    void insert_claimed(const NewTask& task, std::int64_t now, std::int64_t owner) {
        Run(db_, insert_claimed_, {task.id.str(), now, task.queue, Blob{task.payload}, owner}).change();
    }

private:
    sqlite3* db_;
    Statement insert_{
        "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) VALUES (?1, ?2, ?3, ?4, ?5)"};
    Statement insert_claimed_{
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at, owner, claim) "
        "VALUES (?1, ?2, ?3, ?4, ?2, ?5, 1)"};
};

}  // namespace storage
}  // namespace v1
}  // namespace backlite
