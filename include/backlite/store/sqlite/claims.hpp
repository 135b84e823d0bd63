// SPDX-License-Identifier: MIT
#pragma once
// SQL that finds due tasks, for `Transitions` to claim them. The cost of a claim depends on the rows claimed and on the
// queues and priorities that have due rows, not on what else is in the table.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/expiries.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/queue_rules.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/transitions.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

class Claims {
public:
    /// REQUIRES: the others live as long, on the same connection.
    Claims(sqlite3* db, Transitions& transitions, QueueRules& rules, Turns& turns) noexcept
        : db_{db}, transitions_(transitions), rules_(rules), turns_(turns) {}

    /// Reads the heads anew. `heads` is sorted by name.
    /// A loose index scan: one search per queue present, and no more of them than there are heads; if other queues use
    /// those up, the remaining heads are looked at one by one. And one search per priority in each of these queues.
    void read_heads(std::span<store::QueueHead> heads);

    /// Reads when the next batches are full, by the limits that the heads name. REQUIRES: `read_heads` came before.
    void gather(std::span<store::QueueHead> heads) {
        for (store::QueueHead& head : heads) {
            if (head.batch > 0) gather(head, {});
        }
    }

    /// Queues without a head in which tasks wait, and since when or until when; those among the first `limit` queues in
    /// the file. `heads` is sorted by name.
    [[nodiscard]] std::vector<std::pair<std::string, detail::Ms>> strays(std::span<const store::QueueHead> heads,
                                                                         int limit);

    /// Whether no task of these queues is due, or claimed by anybody. Costs a step per claim on the file.
    [[nodiscard]] bool idle(std::vector<store::QueueHead> heads, detail::Ms now);

    /// Claims up to `limit` due tasks, in the order of their ranks over all queues, each under a new claim number, and
    /// brings the heads of the queues it looked at up to date. `apart`: a row that is refused is left, and named in the
    /// result.
    /// REQUIRES: inside a write transaction.
    /// Errors: StorageError; the caller rolls back. CorruptError if the index contradicts the table.
    store::ClaimResult claim(store::ClaimRequest request, std::span<store::QueueHead> heads,
                             Isolation* apart = nullptr);

private:
    /// Claims those that were put off.
    void claim_put_off(const store::ClaimRequest& request) {
        transitions_.claim(put_off_, request.now, request.owner);
        put_off_.clear();
    }

    enum class Taken { yes, waits_for_crashed, waits_for_worker, left, no_room, held_back, too_much, alone };
    using Rows = std::vector<std::int64_t>;  // sorted; tasks that have crashed a process, or are refused: there are few
    static constexpr std::size_t most_refused = 100;
    /// How many one claim sets aside because their partition has no turn; the next one goes on.
    static constexpr std::size_t most_held_back = 500;
    static constexpr std::int64_t least_number = detail::least_number;
    static constexpr std::int64_t most_number = detail::most_number;

    static bool contains(const Rows& rows, std::int64_t row) {
        const auto place = std::lower_bound(rows.begin(), rows.end(), row);
        return place != rows.end() && *place == row;
    }

    /// The due tasks of one priority in a queue.
    struct Source {
        store::Rank first{};
        std::size_t queue = 0;
        std::size_t level = 0;  ///< index in the queue's head
    };

    struct Candidate {
        store::Rank rank{};
        std::int64_t row = 0;  ///< valid inside this transaction only
        Source source{};
        friend bool operator<(const Candidate& a, const Candidate& b) noexcept {
            return std::pair{a.rank, a.row} < std::pair{b.rank, b.row};
        }
    };

    /// What a queue with limits has room for, as this claim has found it, and has used of it.
    struct Used {
        bool known = false;
        Room room{};
        std::int64_t tasks = 0;

        [[nodiscard]] std::int64_t left() const noexcept { return room.tasks() - tasks; }
    };

    struct Held {
        std::size_t queue = 0;
        detail::Ms due{};
        Taken taken{};
    };

    /// The first `limit` due rows, from the index alone; of one queue, if it is named. A heap keeps the best so far,
    /// the last on top; the tasks of a queue and priority are read until they are no better than that.
    std::vector<Candidate> find(const store::ClaimRequest& request, std::size_t limit, const Rows& held,
                                std::span<store::QueueHead> heads, std::vector<Source>& looked_at,
                                std::optional<std::size_t> only = std::nullopt);

    /// Claims what runs with the task that was claimed last, which is of a queue of batches.
    void fill_batch(store::ClaimRequest& request, std::span<store::QueueHead> heads, Isolation* apart, Rows& held,
                    std::vector<Source>& looked_at, store::ClaimResult& result);

    /// Reads when the next batch of a queue is full, and when its first task is due; but for those that are `held`.
    void gather(store::QueueHead& head, const Rows& held);

    /// How many tasks of a queue may still be claimed: any number if it has no limits.
    std::int64_t left(const store::ClaimRequest& request, store::QueueHead& head, std::size_t queue);

    /// Claims one row, unless the crash rules say that it must wait, or it is more than may be claimed ahead. `first`:
    /// not null: the task that it runs with, unless it has to run alone.
    Taken take(const Candidate& candidate, store::ClaimRequest& request, std::span<store::QueueHead> heads,
               Isolation* apart, store::ClaimResult& result, detail::ClaimedTask* first = nullptr);

    /// Reads the levels of a queue anew. `lowest`: what is known of them already.
    void read_levels(store::QueueHead& head, const store::Level& lowest = {});

    /// Reads the first task of a level that is not `held`.
    void read_level_behind(const store::QueueHead& head, store::Level& level, const Rows& held);

    Handle db_;
    Transitions& transitions_;
    std::vector<std::int64_t> put_off_{};  ///< rows that were taken, and are claimed together
    QueueRules& rules_;
    Turns& turns_;
    std::vector<std::int64_t> held_back_{};  ///< rows that wait for their partition's turn since this claim
    std::vector<Used> used_{};               ///< of one claim, by queue; empty if no queue has limits
    Expiries expiries_{db_};
    // The upper bounds leave out what is no number, as a damaged file may hold it: taken for 0 it would be due for
    // ever, and never be found by a claim. Two loops, over queues and over the priorities of each: for `(queue,
    // priority) >
    // (?1, ?2)` SQLite would go through all rows of a queue.
    Statement next_queue_{
        "SELECT queue, priority, due FROM backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue > ?1 AND priority <= 9223372036854775807 "
        "AND due <= 9223372036854775807 ORDER BY queue, priority, due LIMIT 1"};
    Statement next_level_{
        "SELECT priority, due FROM backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 AND priority BETWEEN ?2 AND 9223372036854775807 "
        "AND due <= 9223372036854775807 ORDER BY priority, due LIMIT 1"};
    Statement claimed_{
        "SELECT 1 FROM backlite_tasks INDEXED BY backlite_tasks_claimed "
        "WHERE claimed_at IS NOT NULL AND queue = ?1 LIMIT 1"};
    Statement level_behind_{
        "SELECT rowid, due FROM backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 AND priority = ?2 AND due <= 9223372036854775807 "
        "ORDER BY due"};
    Statement candidates_{
        "SELECT rowid, due FROM backlite_tasks INDEXED BY backlite_tasks_ready "
        "WHERE claimed_at IS NULL AND hold = 0 AND queue = ?1 AND priority = ?2 AND due <= ?3 ORDER BY due"};
    Statement read_row_{
        "SELECT id, claim, attempts, crashes, length(task), CASE WHEN length(task) <= ?2 THEN task END, flags "
        "FROM backlite_tasks WHERE rowid = ?1 AND claimed_at IS NULL AND hold = 0"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/claims.ipp>
#endif
