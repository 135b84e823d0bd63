// SPDX-License-Identifier: MIT
#pragma once
// SQL for what holds for a whole queue: one row each, so that whatever waits behind it costs nothing.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <sqlite3.h>

#include <backlite/base/times.hpp>
#include <backlite/config.hpp>
#include <backlite/store/admission.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// How many more tasks of a queue may be claimed in this transaction.
struct Room {
    std::int64_t slots = detail::most_number;   ///< by what runs
    std::int64_t starts = detail::most_number;  ///< by its rate
    std::int64_t used_until = 0;                ///< see RateCount; only where there is a rate

    [[nodiscard]] std::int64_t tasks() const noexcept { return (std::min)(slots, starts); }
};

/// Errors: StorageError. What writes REQUIRES a write transaction.
class QueueRules {
public:
    explicit QueueRules(sqlite3* db) noexcept : db_{db} {}

    /// Pauses a queue, or ends its pause; one that is paused stays so since it was.
    void set_paused(std::string_view queue, std::optional<detail::Ms> since) {
        Run(db_, set_paused_, {queue, since}).change();
    }

    /// Stores limits that hold whatever the programs say; nullopt: those of the programs hold again.
    void set_limits(std::string_view queue, const std::optional<Limits>& limits);

    /// The limits that are stored. nullopt: none are.
    [[nodiscard]] std::optional<Limits> limits(std::string_view queue);

    /// No task of the queue starts for so long.
    void close(std::string_view queue, detail::Ms now, Duration length) {
        Run(db_, close_, {queue, now + length, length.count()}).change();
    }

    /// Reads what holds for each queue: pause, limits, whether as many run as may, and until when it is closed. `heads`
    /// is sorted by name. A step for each row, and a search for each limited queue, whatever is in the queues.
    void read(std::span<QueueHead> heads, std::int64_t owner, detail::Ms now);

    /// What a limited queue has room for, and notes in its head what closes it. Its cost does not depend on what waits,
    /// nor on what runs in other queues.
    [[nodiscard]] Room room(QueueHead& head, std::int64_t owner, detail::Ms now);

    /// So many of its tasks were claimed since `room`, which is brought up to date, as is its head.
    void claimed(QueueHead& head, Room& room, std::int64_t tasks, detail::Ms now);

private:
    struct Stored {
        std::int64_t used_until = 0;
        detail::Ms closed_until = detail::Ms::earliest();
        Duration closed_for{};
    };

    /// The columns from `first` on, as `columns_of_limits` has them. Values that no program can have stored count as
    /// no limit. nullopt if none are stored.
    [[nodiscard]] static std::optional<Limits> limits_of(const Run& run, int first);
    [[nodiscard]] static Stored stored_of(const Run& run, int first);

    void note(QueueHead& head, const Room& room, const Stored& stored, detail::Ms now);

    /// By what runs.
    [[nodiscard]] std::int64_t slots(const QueueHead& head, std::int64_t owner);

    /// How many tasks of a queue are claimed, by whomever; it stops at `most`.
    [[nodiscard]] std::int64_t running(std::string_view queue, std::int64_t most);

    Handle db_;
    Statement set_paused_{
        "INSERT INTO backlite_queues (queue, paused_at) VALUES (?1, ?2) ON CONFLICT (queue) DO UPDATE SET "
        "paused_at = CASE WHEN ?2 IS NULL THEN NULL ELSE ifnull(paused_at, ?2) END"};
    Statement set_limits_{
        "INSERT INTO backlite_queues (queue, running, running_per_partition, running_per_client, in_order, rate_count, "
        "rate_period_us, rate_burst, partition_rate_count, partition_rate_period_us, partition_rate_burst) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (queue) DO UPDATE SET "
        "running = excluded.running, running_per_partition = excluded.running_per_partition, "
        "running_per_client = excluded.running_per_client, in_order = excluded.in_order, "
        "rate_count = excluded.rate_count, rate_period_us = excluded.rate_period_us, "
        "rate_burst = excluded.rate_burst, partition_rate_count = excluded.partition_rate_count, "
        "partition_rate_period_us = excluded.partition_rate_period_us, "
        "partition_rate_burst = excluded.partition_rate_burst"};
    Statement limits_{
        "SELECT running, running_per_partition, running_per_client, in_order, rate_count, rate_period_us, rate_burst, "
        "partition_rate_count, partition_rate_period_us, partition_rate_burst FROM backlite_queues WHERE queue = ?1"};
    Statement all_{
        "SELECT queue, paused_at IS NOT NULL, rate_next_us, closed_until, closed_ms, running, running_per_partition, "
        "running_per_client, in_order, rate_count, rate_period_us, rate_burst, partition_rate_count, "
        "partition_rate_period_us, partition_rate_burst FROM backlite_queues"};
    Statement one_{"SELECT rate_next_us, closed_until, closed_ms FROM backlite_queues WHERE queue = ?1"};
    Statement set_used_{
        "INSERT INTO backlite_queues (queue, rate_next_us) VALUES (?1, ?2) "
        "ON CONFLICT (queue) DO UPDATE SET rate_next_us = excluded.rate_next_us"};
    Statement close_{
        "INSERT INTO main.backlite_queues (queue, closed_until, closed_ms) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (queue) DO UPDATE SET closed_until = excluded.closed_until, closed_ms = excluded.closed_ms"};
    Statement next_owner_{
        "SELECT owner FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner BETWEEN ?1 AND 9223372036854775807 ORDER BY owner LIMIT 1"};
    Statement of_owner_{
        "SELECT count(*) FROM (SELECT 1 FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner = ?1 AND queue = ?2 LIMIT ?3)"};
    Statement of_nobody_{
        "SELECT count(*) FROM (SELECT 1 FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND owner IS NULL AND queue = ?1 LIMIT ?2)"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/queue_rules.ipp>
#endif
