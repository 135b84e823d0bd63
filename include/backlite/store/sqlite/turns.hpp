// SPDX-License-Identifier: MIT
#pragma once
// SQL for the tasks of a partition that may run, and for those that wait until one of them makes room.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/store/admission.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/flags.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/unique_keys.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// In a queue whose partitions have limits, a task needs its partition's turn to be claimed, and each partition has as
/// many turns as its limit says. A turn is a row of `backlite_turns`, so that counting costs no other task anything,
/// and says how it goes on: whoever ends it needs to know nothing of the queue. A task takes a turn when it is added,
/// if it is due and there is one; or when a claim finds it, as it finds those that become due, and rows of Go and plain
/// SQL, which are of partition "". Where there is none, it is held, so that no claim sees it again until one is passed
/// on. A rate that is used up, or a task, closes a partition until a time; whatever a claim then finds there is held
/// too. All functions that write REQUIRE a write transaction; on a StorageError the caller rolls back.
class Turns {
public:
    explicit Turns(sqlite3* db) noexcept : db_{db} {}

    /// A task that waits, and that a claim would take.
    struct Candidate {
        std::int64_t row = 0;
        const std::string& id;
        std::string_view partition{};
        detail::Ms due{};
    };

    /// There is a row of a new task with a partition, added at `now`.
    void added(const detail::NewTask& task, detail::Ms now);

    /// The partition of a row; "" if it has none.
    [[nodiscard]] std::string partition_of(std::int64_t row);

    /// Whether a task may be claimed, which then has its turn, and is counted by its partition's rate. Otherwise it is
    /// held. Another that waits and comes later may lose its turn to it; `parked` gets the rows that are held now.
    /// `head`: of a queue whose partitions have limits.
    [[nodiscard]] bool admit(store::QueueHead& head, const Candidate& task, detail::Ms now, Duration ageing,
                             std::vector<std::int64_t>& parked);

    /// A task has ended, or comes back, and its turn goes on: in order a task that comes back keeps it. `freed` gets
    /// who has it now. REQUIRES: its row is there.
    void ended(const std::string& id, std::vector<Freed>& freed) { leave(id, true, freed); }
    void returned(const std::string& id, std::vector<Freed>& freed) { leave(id, false, freed); }

    /// No task of the partition starts for so long.
    void close(std::string_view queue, std::string_view partition, detail::Ms now, Duration length) {
        Run(db_, close_, {queue, partition, now + length, length.count()}).change();
    }

    /// The same of the partition of a task; of its queue, if it has none, and then it is true. REQUIRES: its row is
    /// there.
    bool close_of(const std::string& id, detail::Ms now, Duration length);

    /// When the next closed partition of a queue opens; `never`: none is closed.
    [[nodiscard]] detail::Ms next_opening(std::string_view queue);

    /// Opens partitions of a queue whose time has come, a chunk of them, and frees what they have room for.
    void open(const store::QueueHead& head, detail::Ms now, Duration ageing, std::vector<Freed>& freed);

    /// Looks through a piece of what it knows of a queue: passes on the turns of tasks that others have deleted, frees
    /// what waits although there is room, and forgets rates that are as good as unused. True if a piece is left.
    [[nodiscard]] bool mend(const store::QueueHead& head, detail::Ms now, Duration ageing, std::vector<Freed>& freed);

    /// Whether a task of these queues waits for its partition's turn.
    [[nodiscard]] bool any_wait(const std::vector<store::QueueHead>& queues);

    /// The tasks that have the turns of the first `limit` partitions in which others wait.
    struct Jam {
        std::string partition{};
        std::string task{};
    };
    [[nodiscard]] std::vector<Jam> jams(std::string_view queue, int limit);

private:
    /// How a partition passes its turns on.
    struct Rule {
        std::int64_t most = 0;  ///< turns; 0: any number, and nobody has one
        bool in_order = false;
        Duration ageing{};
    };
    struct Lane {
        std::string_view queue{};
        std::string_view partition{};
    };
    /// What closes a partition: a task, or its rate.
    struct Gate {
        std::int64_t room = detail::most_number;
        std::int64_t used_until = 0;
        bool closed = false;  ///< by a task
        /// When those that wait there are looked at again; may have passed.
        detail::Ms alarm = detail::Ms::earliest();
        detail::Ms opens = detail::Ms::earliest();
    };
    struct Waiting {
        std::int64_t row = 0;
        std::string id{};
        detail::Ms due{};
    };

    static constexpr int piece = 200;

    [[nodiscard]] static Rule rule_of(const Limits& limits, Duration ageing) noexcept {
        return {limits.turns(), limits.in_order, ageing};
    }

    void leave(const std::string& id, bool for_good, std::vector<Freed>& freed);

    /// How many turns are taken; it stops at `most`.
    [[nodiscard]] std::int64_t taken(Lane lane, std::int64_t most);
    [[nodiscard]] bool has_turn(Lane lane, std::string_view id) {
        return Run(db_, has_, {lane.queue, lane.partition, id}).step();
    }
    void take(Lane lane, std::string_view id, const Rule& rule);
    void drop(Lane lane, std::string_view id) { Run(db_, drop_, {lane.queue, lane.partition, id}).change(); }

    /// Takes the turn of a task that waits behind this one, or is gone. False if there is none.
    bool displace(Lane lane, const Candidate& task, const Rule& rule, std::vector<std::int64_t>& parked);

    [[nodiscard]] Gate gate(Lane lane, const Rate& rate, detail::Ms now);

    /// At that time those that wait in a partition are looked at again, since its rate lets the next one start. It is
    /// not closed until then: who was freed may start. REQUIRES: no task has closed it.
    void set_alarm(Lane lane, detail::Ms at) { Run(db_, close_, {lane.queue, lane.partition, at, 0}).change(); }

    /// Frees up to `limit` tasks as far as there are turns; how many.
    int pass_on(Lane lane, const Rule& rule, std::int64_t limit, std::vector<Freed>& freed);

    /// Who is next in a partition; nullopt: nobody waits.
    [[nodiscard]] std::optional<Waiting> next(Lane lane, const Rule& rule);

    /// What a partition that is open has room for.
    void fill(const store::QueueHead& head, std::string_view partition, detail::Ms now, Duration ageing,
              std::vector<Freed>& freed);

    bool mend_turns(const store::QueueHead& head, std::vector<Freed>& freed);
    bool mend_partitions(const store::QueueHead& head, detail::Ms now, Duration ageing, std::vector<Freed>& freed);
    bool forget_rates(std::string_view queue, detail::Ms now);

    /// Where the pieces of one queue go on; the next call begins there. A transaction that runs again skips a piece,
    /// which the next time round sees.
    struct Place {
        std::string queue{};
        std::string turn_partition{};
        std::string turn_task{};
        std::string waiting{};
        std::string rate{};
    };
    [[nodiscard]] Place& place(std::string_view queue);

    Handle db_;
    std::vector<Place> places_{};
    // `main.`: some of it runs on a host's connection.
    Statement set_partition_{
        "UPDATE main.backlite_tasks SET partition = ?2, flags = flags | 8, hold = CASE WHEN hold = 0 THEN ?3 ELSE hold "
        "END WHERE id = ?1"};
    static_assert(flag::partition == 8 && hold::turn == 1, "these statements name them");
    Statement waits_{"SELECT hold = 0 AND due <= ?2 FROM main.backlite_tasks WHERE id = ?1"};
    Statement stored_{
        "SELECT running_per_partition, in_order, partition_rate_count FROM main.backlite_queues "
        "WHERE queue = ?1 AND running IS NOT NULL"};
    Statement partition_of_row_{"SELECT ifnull(partition, '') FROM main.backlite_tasks WHERE rowid = ?1"};
    Statement lane_of_{"SELECT queue, ifnull(partition, '') FROM main.backlite_tasks WHERE id = ?1"};
    Statement rule_of_turn_{
        "SELECT most, in_order, ageing_ms FROM main.backlite_turns WHERE queue = ?1 AND partition = ?2 AND task = ?3"};
    Statement has_{"SELECT 1 FROM main.backlite_turns WHERE queue = ?1 AND partition = ?2 AND task = ?3"};
    Statement taken_{
        "SELECT count(*) FROM (SELECT 1 FROM main.backlite_turns WHERE queue = ?1 AND partition = ?2 LIMIT ?3)"};
    Statement take_{
        "INSERT INTO main.backlite_turns (queue, partition, task, most, in_order, ageing_ms) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET most = excluded.most, "
        "in_order = excluded.in_order, ageing_ms = excluded.ageing_ms"};
    Statement drop_{"DELETE FROM main.backlite_turns WHERE queue = ?1 AND partition = ?2 AND task = ?3"};
    Statement flag_{"UPDATE main.backlite_tasks SET flags = flags | 8 WHERE rowid = ?1 AND (flags & 8) = 0"};
    Statement displaced_{
        "SELECT turn.task, task.rowid FROM main.backlite_turns AS turn "
        "LEFT JOIN main.backlite_tasks AS task ON task.id = turn.task AND task.queue = turn.queue "
        "WHERE turn.queue = ?1 AND turn.partition = ?2 AND turn.task <> ?3 AND (task.rowid IS NULL "
        "OR (task.claimed_at IS NULL AND (?4 = 0 OR (task.claim = 0 AND (task.due > ?5 OR (task.due = ?5 AND "
        "task.rowid > ?6)))))) ORDER BY task.rowid IS NOT NULL, task.priority, task.due DESC, task.rowid DESC LIMIT 1"};
    Statement lower_waits_{
        "SELECT 1 FROM main.backlite_turns AS turn JOIN main.backlite_tasks AS task ON task.id = turn.task "
        "WHERE turn.queue = ?1 AND turn.partition = ?2 AND task.claimed_at IS NULL AND task.priority < ?3 LIMIT 1"};
    Statement park_{
        "UPDATE main.backlite_tasks SET hold = 1, partition = ifnull(partition, ''), flags = flags | 8 "
        "WHERE rowid = ?1 AND hold = 0 AND claimed_at IS NULL"};
    Statement free_{"UPDATE main.backlite_tasks SET hold = 0 WHERE rowid = ?1 AND hold = 1 AND claimed_at IS NULL"};
    Statement next_{
        "SELECT priority, due, rowid, id FROM main.backlite_tasks INDEXED BY backlite_tasks_held WHERE hold <> 0 "
        "AND queue = ?1 AND hold = 1 AND partition = ?2 AND priority BETWEEN ?3 AND 9223372036854775807 "
        "AND claimed_at IS NULL ORDER BY priority, due LIMIT 1"};
    Statement held_turn_{
        "SELECT task.rowid, task.id, task.due FROM main.backlite_turns AS turn "
        "JOIN main.backlite_tasks AS task ON task.id = turn.task AND task.queue = turn.queue "
        "WHERE turn.queue = ?1 AND turn.partition = ?2 AND task.hold = 1 AND task.claimed_at IS NULL LIMIT 1"};
    Statement gate_{
        "SELECT rate_next_us, closed_until, closed_ms FROM main.backlite_partitions WHERE queue = ?1 AND partition = "
        "?2"};
    Statement use_{
        "INSERT INTO main.backlite_partitions (queue, partition, rate_next_us) VALUES (?1, ?2, ?3) "
        "ON CONFLICT DO UPDATE SET rate_next_us = excluded.rate_next_us"};
    Statement close_{
        "INSERT INTO main.backlite_partitions (queue, partition, closed_until, closed_ms) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT DO UPDATE SET closed_until = excluded.closed_until, closed_ms = excluded.closed_ms"};
    Statement close_queue_{
        "INSERT INTO main.backlite_queues (queue, closed_until, closed_ms) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (queue) DO UPDATE SET closed_until = excluded.closed_until, closed_ms = excluded.closed_ms"};
    Statement opened_{
        "UPDATE main.backlite_partitions SET closed_until = NULL, closed_ms = NULL WHERE queue = ?1 AND partition = "
        "?2"};
    Statement closed_{
        "SELECT partition, closed_until FROM main.backlite_partitions INDEXED BY backlite_partitions_closed "
        "WHERE closed_until IS NOT NULL AND queue = ?1 ORDER BY closed_until LIMIT 1"};
    // Two steps: what is looked at is bounded, not what is found.
    Statement turns_{
        "SELECT turn.partition, turn.task, turn.most, turn.in_order, turn.ageing_ms, EXISTS (SELECT 1 FROM "
        "main.backlite_tasks AS task WHERE task.id = turn.task AND task.queue = turn.queue) FROM main.backlite_turns "
        "AS turn WHERE turn.queue = ?1 AND turn.partition >= ?2 AND (turn.partition > ?2 OR turn.task > ?3) "
        "ORDER BY turn.partition, turn.task LIMIT ?4"};
    Statement waiting_{
        "SELECT partition FROM main.backlite_tasks INDEXED BY backlite_tasks_held WHERE hold <> 0 AND queue = ?1 "
        "AND hold = 1 AND partition > ?2 ORDER BY partition LIMIT 1"};
    Statement first_waiting_{
        "SELECT partition FROM main.backlite_tasks INDEXED BY backlite_tasks_held WHERE hold <> 0 AND queue = ?1 "
        "AND hold = 1 AND partition >= ?2 ORDER BY partition LIMIT 1"};
    Statement rates_{
        "SELECT partition, closed_until IS NULL AND rate_next_us <= ?3 FROM main.backlite_partitions "
        "WHERE queue = ?1 AND partition >= ?2 ORDER BY partition LIMIT ?4"};
    Statement forget_rate_{"DELETE FROM main.backlite_partitions WHERE queue = ?1 AND partition = ?2"};
    Statement jam_{"SELECT task FROM main.backlite_turns WHERE queue = ?1 AND partition = ?2 LIMIT 1"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/turns.ipp>
#endif
