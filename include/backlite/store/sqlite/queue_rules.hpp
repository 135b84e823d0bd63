// SPDX-License-Identifier: MIT
#pragma once
// SQL for what holds for a whole queue: one row each, so that whatever waits behind it costs nothing.

#include <optional>
#include <span>
#include <string_view>

#include <sqlite3.h>

#include <backlite/base/times.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Errors: StorageError.
class QueueRules {
public:
    explicit QueueRules(sqlite3* db) noexcept : db_{db} {}

    /// Pauses a queue, or ends its pause; one that is paused stays so since it was. REQUIRES: a write transaction.
    void set_paused(std::string_view queue, std::optional<detail::Ms> since) {
        Run(db_, set_paused_, {queue, since}).change();
    }

    /// Reads which queues are paused. `heads` is sorted by name. A step for each row, whatever is in the queues.
    void read(std::span<QueueHead> heads);

private:
    Handle db_;
    Statement set_paused_{
        "INSERT INTO backlite_queues (queue, paused_at) VALUES (?1, ?2) ON CONFLICT (queue) DO UPDATE SET "
        "paused_at = CASE WHEN ?2 IS NULL THEN NULL ELSE ifnull(paused_at, ?2) END"};
    Statement paused_{"SELECT queue FROM backlite_queues WHERE paused_at IS NOT NULL"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/queue_rules.ipp>
#endif
