// SPDX-License-Identifier: MIT
#pragma once
// The SQL behind the overview: queues, counts, processes, and what finished lately.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/views/schema_features.hpp>
#include <backlite/store/sqlite/views/statistics_reads.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Counts are exact as far as `store::Bounds` reaches, and say where they stop.
/// Threads: those of its connection, one at a time. Errors: StorageError; SQLITE_INTERRUPT when the time is up.
class QueueReads {
public:
    static constexpr std::size_t most_queues = 1'000;

    /// REQUIRES: `statistics` lives as long.
    QueueReads(sqlite3* db, const SchemaFeatures& shape, StatisticsReads& statistics, const store::Bounds& bounds = {})
        : db_(db), shape_(shape), bounds_(bounds), statistics_(statistics) {}
    QueueReads(const QueueReads&) = delete;
    QueueReads& operator=(const QueueReads&) = delete;

    [[nodiscard]] sqlite3* handle() const noexcept { return db_; }

    /// `only`: the one queue that it is of; all if empty. `processes`: as processes() says, with what else is known of
    /// them: that tells which of the claimed tasks run.
    [[nodiscard]] Overview overview(detail::Ms now, Period period, const std::string& only = {},
                                    std::vector<Process> processes = {});

    /// Names of queues with unclaimed tasks, in the order of their bytes, at most `most_queues`: a step for each.
    [[nodiscard]] std::vector<std::string> names(bool& more);

    /// Whether a queue of that name has unclaimed tasks.
    [[nodiscard]] bool has(const std::string& name) { return first_due(name, earliest, latest).has_value(); }

    /// The due time of the task that has waited longest.
    [[nodiscard]] std::optional<detail::Ms> oldest_due(detail::Ms now);

    /// How many unclaimed tasks these queues have, counted up to `bound`. `state`: waiting, scheduled, or both.
    [[nodiscard]] Count unclaimed(const std::vector<std::string>& queues, detail::Ms now, std::optional<State> state,
                                  std::int64_t bound);

    [[nodiscard]] std::vector<Process> processes();

    /// Bytes of the database's pages.
    [[nodiscard]] std::int64_t bytes() {
        Run run(db_, bytes_);
        return run.step() ? run.integer(0) : 0;
    }

private:
    /// Calls `each(name)` for each queue with unclaimed tasks, until it says false; whether it never did. A loose scan:
    /// a step for each queue, however many tasks it has.
    template <class Each>
    bool each_name(Each&& each) {
        std::optional<std::string> last;
        for (;;) {
            const std::string before = last.value_or("");  // outlives the run that it is bound to
            Run first(db_, first_queue_);
            Run next(db_, next_queue_, {before});
            Run& run = last ? next : first;
            if (!run.step()) return true;
            last = std::string{run.bytes(0)};
            if (!each(*last)) return false;
        }
    }

    static constexpr detail::Ms earliest = detail::Ms::earliest();
    static constexpr detail::Ms latest = detail::Ms::latest();

    using Queues = std::map<std::string, QueueSummary>;

    /// One count of one queue in the making.
    struct Open {
        const std::string* queue;
        Count* count;
        detail::Ms from, to;
        std::int64_t looked_at = 0;
    };

    struct Looked {
        Count count{};
        std::int64_t looked_at = 0;
    };

    /// Counts in rounds, each up to ten times as many rows as the one before, until all is counted or `budget` rows
    /// are. A count that stops does so at the bound of a round, wherever the budget ended: it says the same from one
    /// look to the next, whatever other queues there are.
    template <class Look>
    static void count_all(std::vector<Open> open, std::int64_t first, std::int64_t budget, Look&& look) {
        for (std::int64_t bound = first; !open.empty(); bound *= 10) {
            std::vector<Open> next;
            for (Open& one : open) {
                const std::int64_t reach =
                    bound == first ? bound : (std::min)(bound, detail::saturating_sum(one.looked_at, budget));
                if (reach <= one.looked_at) continue;
                const Looked found = look(one, reach);
                budget -= found.looked_at - one.looked_at;
                if (found.count.more && reach < bound) continue;
                *one.count = found.count;
                one.looked_at = found.looked_at;
                if (found.count.more) next.push_back(one);
            }
            open = std::move(next);
        }
    }

    /// Counts one queue's unclaimed tasks up to `bound`.
    Count count(const std::string& queue, detail::Ms from, detail::Ms to, std::int64_t bound);

    std::optional<detail::Ms> first_due(const std::string& queue, detail::Ms from, detail::Ms to);

    /// How many of up to `bound` unclaimed tasks that are due at `from` or later have failed before.
    Looked count_retrying(const std::string& queue, detail::Ms from, std::int64_t bound);

    void count_unclaimed(Queues& queues, detail::Ms now, Overview& view);

    /// Claimed tasks, and those of them that a worker is inside of.
    void count_claimed(Queues& queues, Overview& view);

    /// Tasks that come due in the buckets ahead.
    void count_to_come(const Queues& queues, detail::Ms now, Overview& view);

    /// The same three, of a file without our indexes: one look through its rows.
    void count_rows(Queues& queues, detail::Ms now, Overview& view);

    /// What the statistics say of the period. False if they are empty, or not there.
    bool read_statistics(Queues& queues, const std::string& only, detail::Ms now, Overview& view);

    /// From the tasks that are there now back to how many there were: what finished was there before, what was added
    /// was not.
    static void trace_backlog(const Queues& queues, Overview& view);

    /// Finished rows, whatever their order: a program may have written them in another one than that of their time.
    void look_at_finished(Queues& queues, Overview& view);

    static QueueSummary* find(Queues& queues, std::string name, Overview& view);

    sqlite3* db_;
    const SchemaFeatures shape_;
    const store::Bounds bounds_;
    StatisticsReads& statistics_;
    const std::string unclaimed_ = unclaimed_rows(shape_, bounds_);
    Statement first_queue_{
        "SELECT queue FROM backlite_tasks INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL AND hold = 0 "
        "ORDER BY queue LIMIT 1"};
    Statement next_queue_{
        "SELECT queue FROM backlite_tasks INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL AND hold = 0 "
        "AND queue > ?1 AND queue < x'' ORDER BY queue LIMIT 1"};  // behind a BLOB it would be found again
    Query all_queues_{fmt::format("SELECT DISTINCT queue FROM {} ORDER BY queue", unclaimed_)};
    Priorities priorities_{db_, shape_};
    Query head_{fmt::format(
        "SELECT due FROM {} WHERE queue = ?1 AND priority = ?4 AND due BETWEEN ?2 AND ?3 ORDER BY due LIMIT 1",
        unclaimed_)};
    Query oldest_{fmt::format("SELECT min(due) FROM {} WHERE due <= ?1", unclaimed_)};
    Query count_{fmt::format(
        "SELECT count(*) FROM (SELECT 1 FROM {} WHERE queue = ?1 AND priority = ?5 AND due BETWEEN ?2 AND ?3 "
        "LIMIT ?4)",
        unclaimed_)};
    Query count_rows_{
        fmt::format("SELECT count(*) FROM {} WHERE (?1 = '' OR queue = ?1) AND due BETWEEN ?2 AND ?3", unclaimed_)};
    Query retrying_{
        fmt::format("SELECT count(*) FILTER (WHERE attempts > 0), count(*) FROM (SELECT attempts FROM {} "
                    "WHERE queue = ?1 AND priority = ?4 AND due >= ?2 ORDER BY due LIMIT ?3)",
                    unclaimed_)};
    Query due_times_{fmt::format(
        "SELECT due FROM {} WHERE queue = ?1 AND priority = ?4 AND due BETWEEN ?2 AND ?3 ORDER BY due", unclaimed_)};
    Query claimed_{
        fmt::format("SELECT queue, owner, claim, id, claimed_at FROM {} LIMIT ?1", claimed_rows(shape_, bounds_))};
    Query rows_{fmt::format("SELECT queue, claimed_at IS NOT NULL, due, attempts FROM {}", first_rows(bounds_))};
    // typeof() is answered from a row's header: an error behind a large payload is not read.
    Statement finished_{
        "SELECT queue, last_executed_at, last_duration_micro, typeof(error) = 'null' FROM backlite_tasks_completed "
        "ORDER BY rowid DESC LIMIT ?1"};
    Statement clients_{
        "SELECT owner, slot, workers, started_at, version FROM backlite_clients ORDER BY owner LIMIT 4096"};
    Statement bytes_{"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/queue_reads.ipp>
#endif
