// SPDX-License-Identifier: MIT
#pragma once
// SQL that finds due tasks, for `Transitions` to claim them. The cost of a claim depends on the rows claimed and on the
// queues that have due rows, not on what else is in the table.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
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
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/transitions.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

class Claims {
public:
    Claims(sqlite3* db, Transitions& transitions) noexcept : db_{db}, transitions_(transitions) {}

    /// Reads the heads anew. `heads` is sorted by name.
    /// A loose index scan: one step per queue present, and no more steps than there are heads; if other queues use
    /// those up, the remaining heads are looked at one by one.
    void read_heads(std::span<store::QueueHead> heads);

    /// Queues without a head in which tasks wait, and since when or until when; those among the first `limit` queues in
    /// the file. `heads` is sorted by name.
    [[nodiscard]] std::vector<std::pair<std::string, detail::Ms>> strays(std::span<const store::QueueHead> heads,
                                                                         int limit);

    /// Claims up to `limit` due tasks, oldest due first over all queues, each under a new claim number, and brings the
    /// heads of the queues it looked at up to date. `apart`: a row that is refused is left, and named in the result.
    /// REQUIRES: inside a write transaction.
    /// Errors: StorageError; the caller rolls back. CorruptError if the index contradicts the table.
    store::ClaimResult claim(store::ClaimRequest request, std::span<store::QueueHead> heads,
                             Isolation* apart = nullptr);

private:
    enum class Taken { yes, waits_for_crashed, waits_for_worker, left, too_much };
    using Rows = std::vector<std::int64_t>;  // sorted; tasks that have crashed a process, or are refused: there are few
    static constexpr std::size_t most_refused = 100;
    static constexpr std::int64_t most_claims = (std::numeric_limits<std::int64_t>::max)();

    static bool contains(const Rows& rows, std::int64_t row) {
        const auto place = std::lower_bound(rows.begin(), rows.end(), row);
        return place != rows.end() && *place == row;
    }

    struct Candidate {
        detail::Ms due{};
        std::int64_t row = 0;  ///< valid inside this transaction only
        std::size_t queue = 0;
        friend bool operator<(const Candidate& a, const Candidate& b) noexcept {
            return std::pair{a.due, a.row} < std::pair{b.due, b.row};
        }
    };

    struct Held {
        std::size_t queue = 0;
        detail::Ms due{};
        Taken taken{};
    };

    /// The `limit` oldest due rows, from the index alone. A heap keeps the best so far, newest on top; a queue is
    /// read until its rows are no better than that.
    std::vector<Candidate> find(detail::Ms now, std::size_t limit, std::span<const store::QueueHead> heads,
                                std::vector<std::size_t>& looked_at);

    /// Claims one row, unless the crash rules say that it must wait, or it is more than may be claimed ahead.
    Taken take(const Candidate& candidate, store::ClaimRequest& request, std::span<const store::QueueHead> heads,
               Isolation* apart, store::ClaimResult& result);

    void read_head(store::QueueHead& head) {
        Run run(db_, head_, {head.name});
        head.due = run.step() ? run.time(0) : never;
    }

    void read_head_behind(store::QueueHead& head, const Rows& held);

    Handle db_;
    Transitions& transitions_;
    // The bound on due leaves out what is no number, as a damaged file may hold it: taken for 0 it would be due for
    // ever, and never be found by a claim.
    Statement next_queue_{
        "SELECT queue, due FROM backlite_tasks INDEXED BY backlite_tasks_due "
        "WHERE claimed_at IS NULL AND queue > ?1 AND due <= 9223372036854775807 ORDER BY queue, due LIMIT 1"};
    Statement head_{
        "SELECT due FROM backlite_tasks INDEXED BY backlite_tasks_due "
        "WHERE claimed_at IS NULL AND queue = ?1 AND due <= 9223372036854775807 ORDER BY due LIMIT 1"};
    Statement head_behind_{
        "SELECT rowid, due FROM backlite_tasks INDEXED BY backlite_tasks_due "
        "WHERE claimed_at IS NULL AND queue = ?1 AND due <= 9223372036854775807 ORDER BY due"};
    Statement candidates_{
        "SELECT rowid, due FROM backlite_tasks INDEXED BY backlite_tasks_due "
        "WHERE claimed_at IS NULL AND queue = ?1 AND due <= ?2 ORDER BY due"};
    Statement read_row_{
        "SELECT id, claim, attempts, crashes, length(task), CASE WHEN length(task) <= ?2 THEN task END "
        "FROM backlite_tasks WHERE rowid = ?1 AND claimed_at IS NULL"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/claims.ipp>
#endif
