// SPDX-License-Identifier: MIT
#pragma once
// The SQL behind the overview: queues, counts, processes, and what finished lately.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/admin/model.hpp>
#include <backlite/admin/schema_features.hpp>
#include <backlite/admin/statistics_reads.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

/// What an overview covers: `period_ms` of finished tasks, and as much of tasks to come, each in `steps` buckets.
struct Period {
    std::int64_t period_ms = 3'600'000;
    std::size_t steps = 60;
};

/// Counts are exact as far as `Bounds` reaches, and say where they stop.
/// Threads: those of its connection, one at a time. Errors: StorageError; SQLITE_INTERRUPT when the time is up.
class QueueReads {
public:
    static constexpr std::size_t most_queues = 1'000;

    /// REQUIRES: `statistics` lives as long.
    QueueReads(sqlite3* db, const SchemaFeatures& shape, StatisticsReads& statistics, const Bounds& bounds = {})
        : db_(db), shape_(shape), bounds_(bounds), statistics_(statistics) {}
    QueueReads(const QueueReads&) = delete;
    QueueReads& operator=(const QueueReads&) = delete;

    [[nodiscard]] sqlite3* handle() const noexcept { return db_; }

    /// `only`: the one queue that it is of; all if empty. `processes`: as processes() says, with what else is known of
    /// them: that tells which of the claimed tasks run.
    [[nodiscard]] Overview overview(std::int64_t now, Period period, const std::string& only = {},
                                    std::vector<Process> processes = {}) {
        Overview view;
        view.of_one = !only.empty();
        view.step_ms = period.period_ms / static_cast<std::int64_t>(period.steps);
        const std::int64_t step_began = now - now % view.step_ms;
        view.from = step_began - period.period_ms + view.step_ms;
        view.buckets.resize(period.steps);
        view.next_change = step_began + view.step_ms;
        view.processes = std::move(processes);
        view.knows_processes = shape_.clients;
        Queues queues;
        if (shape_.ours) {
            for (const std::string& name : view.of_one ? std::vector{only} : names(view.more_queues)) queues[name];
            count_unclaimed(queues, now, view);
            count_claimed(queues, view);
            count_to_come(queues, now, view);
        } else {
            if (view.of_one) queues[only];
            count_rows(queues, now, view);
        }
        if (!read_statistics(queues, only, now, view)) look_at_finished(queues, view);
        for (auto& [name, queue] : queues) {
            queue.name = name;
            view.queues.push_back(std::move(queue));
        }
        return view;
    }

    /// Names of queues with unclaimed tasks, in the order of their bytes, at most `most_queues`: a step for each.
    [[nodiscard]] std::vector<std::string> names(bool& more) {
        std::vector<std::string> found;
        more = false;
        if (!shape_.ours) {
            more = has_more_rows(db_, shape_, bounds_);
            for (store::sqlite::Run run(db_, all_queues_); run.step();) {
                more = more || found.size() == most_queues;
                if (found.size() == most_queues) break;
                found.emplace_back(run.bytes(0));
            }
            return found;
        }
        more = !each_name([&](std::string name) {
            if (found.size() == most_queues) return false;
            found.push_back(std::move(name));
            return true;
        });
        return found;
    }

    /// Whether a queue of that name has unclaimed tasks.
    [[nodiscard]] bool has(const std::string& name) { return first_due(name, lowest, highest).has_value(); }

    /// The due time of the task that has waited longest.
    [[nodiscard]] std::optional<std::int64_t> oldest_due(std::int64_t now) {
        std::optional<std::int64_t> oldest;
        if (!shape_.ours) {
            store::sqlite::Run run(db_, oldest_, {now});
            if (run.step()) oldest = run.optional_integer(0);
            return oldest;
        }
        each_name([&](const std::string& name) {
            if (const auto due = first_due(name, lowest, now)) oldest = (std::min)(oldest.value_or(highest), *due);
            return true;
        });
        return oldest;
    }

    /// How many unclaimed tasks these queues have, counted up to `bound`. `state`: waiting, scheduled, or both.
    [[nodiscard]] Count unclaimed(const std::vector<std::string>& queues, std::int64_t now, std::optional<State> state,
                                  std::int64_t bound) {
        const std::int64_t least = state == State::scheduled ? saturating_add(now, Duration{1}) : lowest;
        const std::int64_t most = state == State::waiting ? now : highest;
        Count sum;
        if (!shape_.ours) {
            const std::string only = queues.size() == 1 ? queues.front() : std::string{};
            store::sqlite::Run run(db_, count_rows_, {only, least, most});
            if (run.step()) sum.number = static_cast<std::uint64_t>(run.integer(0));
            sum.more = has_more_rows(db_, shape_, bounds_);
            return sum;
        }
        for (const std::string& queue : queues) {
            const Count found = count(queue, least, most, bound - static_cast<std::int64_t>(sum.number));
            sum.number += found.number;
            sum.more = found.more;
            if (sum.more) break;
        }
        return sum;
    }

    [[nodiscard]] std::vector<Process> processes() {
        std::vector<Process> found;
        if (!shape_.clients) return found;
        for (store::sqlite::Run run(db_, clients_); run.step();) {
            Process process;
            process.owner = run.integer(0);
            process.slot = static_cast<unsigned>(run.integer(1));
            process.workers = run.integer(2);
            process.started_at = run.integer(3);
            process.version = run.integer(4);
            found.push_back(std::move(process));
        }
        return found;
    }

    /// Bytes of the database's pages.
    [[nodiscard]] std::int64_t bytes() {
        store::sqlite::Run run(db_, bytes_);
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
            store::sqlite::Run first(db_, first_queue_);
            store::sqlite::Run next(db_, next_queue_, {before});
            store::sqlite::Run& run = last ? next : first;
            if (!run.step()) return true;
            last = std::string{run.bytes(0)};
            if (!each(*last)) return false;
        }
    }

    static constexpr std::int64_t lowest = (std::numeric_limits<std::int64_t>::min)();
    static constexpr std::int64_t highest = (std::numeric_limits<std::int64_t>::max)();

    using Queues = std::map<std::string, QueueSummary>;

    /// One count of one queue in the making.
    struct Open {
        const std::string* queue;
        Count* count;
        std::int64_t least, most;
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
                    bound == first ? bound : (std::min)(bound, saturating_add(one.looked_at, Duration{budget}));
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
    Count count(const std::string& queue, std::int64_t least, std::int64_t most, std::int64_t bound) {
        store::sqlite::Run run(db_, count_, {queue, least, most, bound + 1});
        const std::int64_t found = run.step() ? run.integer(0) : 0;
        return {static_cast<std::uint64_t>((std::min)(found, bound)), found > bound};
    }

    std::optional<std::int64_t> first_due(const std::string& queue, std::int64_t least, std::int64_t most) {
        store::sqlite::Run run(db_, head_, {queue, least, most});
        return run.step() ? std::optional{run.integer(0)} : std::nullopt;
    }

    void count_unclaimed(Queues& queues, std::int64_t now, Overview& view) {
        std::vector<Open> open;
        std::vector<Open> retries;
        for (auto& [name, queue] : queues) {
            queue.oldest_due = first_due(name, lowest, now);
            if (queue.oldest_due) open.push_back({&name, &queue.waiting, lowest, now});
            if (now == highest) continue;
            queue.next_due = first_due(name, now + 1, highest);
            if (!queue.next_due) continue;
            open.push_back({&name, &queue.scheduled, now + 1, highest});
            retries.push_back({&name, &queue.retrying, now + 1, highest});
            view.next_change = (std::min)(*view.next_change, *queue.next_due);
        }
        count_all(std::move(open), 1'000, bounds_.counted, [&](const Open& one, std::int64_t bound) {
            const Count found = count(*one.queue, one.least, one.most, bound);
            return Looked{found, static_cast<std::int64_t>(found.number)};
        });
        count_all(std::move(retries), 10, bounds_.retries, [&](const Open& one, std::int64_t bound) {
            store::sqlite::Run run(db_, retrying_, {*one.queue, one.least, bound});
            if (!run.step()) return Looked{};
            return Looked{{static_cast<std::uint64_t>(run.integer(0)), run.integer(1) == bound}, run.integer(1)};
        });
    }

    /// Claimed tasks, and those of them that a worker is inside of.
    void count_claimed(Queues& queues, Overview& view) {
        std::int64_t seen = 0;
        bool more = false;
        for (store::sqlite::Run run(db_, claimed_, {bounds_.claimed + 1}); run.step();) {
            more = ++seen > bounds_.claimed;
            if (more) break;
            QueueSummary* queue = find(queues, std::string{run.bytes(0)}, view);
            if (queue == nullptr) continue;
            ++queue->claimed.number;
            const std::optional<bool> entered =
                is_entered(view.processes, run.optional_integer(1),
                           {static_cast<std::uint64_t>(run.integer(2)), store::sqlite::hash_id(run.bytes(3))});
            if (!entered) queue->running = std::nullopt;
            if (queue->running && *entered) ++*queue->running;
        }
        if (!more) return;
        view.more_queues = view.more_queues || !view.of_one;
        for (auto& [name, queue] : queues) {
            queue.claimed.more = true;
            queue.running = std::nullopt;
        }
    }

    /// Tasks that come due in the buckets ahead.
    void count_to_come(const Queues& queues, std::int64_t now, Overview& view) {
        const std::int64_t end = now + view.step_ms * static_cast<std::int64_t>(view.buckets.size());
        std::int64_t seen = 0;
        for (const auto& [name, queue] : queues) {
            if (!queue.next_due || *queue.next_due >= end) continue;
            for (store::sqlite::Run run(db_, due_times_, {name, now + 1, end - 1}); run.step();) {
                if (seen++ == bounds_.to_come) {
                    view.due_cut = true;
                    return;
                }
                ++view.buckets[static_cast<std::size_t>((run.integer(0) - now) / view.step_ms)].due;
            }
        }
        view.due_cut = view.more_queues;
    }

    /// The same three, of a file without our indexes: one look through its rows.
    void count_rows(Queues& queues, std::int64_t now, Overview& view) {
        const std::int64_t end = now + view.step_ms * static_cast<std::int64_t>(view.buckets.size());
        for (store::sqlite::Run run(db_, rows_); run.step();) {
            QueueSummary* queue = find(queues, std::string{run.bytes(0)}, view);
            if (queue == nullptr) continue;
            if (run.integer(1) != 0) {
                ++queue->claimed.number;
                continue;
            }
            const std::int64_t due = run.integer(2);
            if (due <= now) {
                ++queue->waiting.number;
                queue->oldest_due = (std::min)(queue->oldest_due.value_or(due), due);
                continue;
            }
            ++queue->scheduled.number;
            queue->retrying.number += run.integer(3) > 0 ? 1U : 0U;
            queue->next_due = (std::min)(queue->next_due.value_or(due), due);
            view.next_change = (std::min)(*view.next_change, due);
            if (due < end) ++view.buckets[static_cast<std::size_t>((due - now) / view.step_ms)].due;
        }
        for (auto& [name, queue] : queues) {
            if (queue.claimed.number > 0) queue.running = std::nullopt;
        }
        view.rows_cut = has_more_rows(db_, shape_, bounds_);
        if (!view.rows_cut) return;
        view.due_cut = true;
        view.more_queues = !view.of_one;
        for (auto& [name, queue] : queues) {
            for (Count* count : {&queue.waiting, &queue.scheduled, &queue.retrying, &queue.claimed}) count->more = true;
            queue.running = std::nullopt;
        }
    }

    /// What the statistics say of the period. False if they are empty, or not there.
    bool read_statistics(Queues& queues, const std::string& only, std::int64_t now, Overview& view) {
        const std::int64_t span = StatisticsReads::span_for(view.step_ms);
        const std::optional<std::int64_t> began = statistics_.begin(span);
        if (!began) return false;
        view.counted = true;
        view.counted_from = *began;
        const std::int64_t covered_from = statistics_.read(
            span, view.from, now, only, [&](std::int64_t at, std::string_view name, const Counted& counted) {
                const std::int64_t place = (at - view.from) / view.step_ms;
                if (place >= static_cast<std::int64_t>(view.buckets.size())) return;
                view.buckets[static_cast<std::size_t>(place)] += counted;
                QueueSummary* queue = find(queues, std::string{name}, view);
                if (queue == nullptr) return;
                queue->succeeded += counted.succeeded;
                queue->failed += counted.failed;
                queue->attempts += counted.attempts;
                queue->total_duration_us += counted.duration_us;
                queue->added += counted.added;
            });
        view.finished_cut = covered_from > view.from;
        view.covered_from = (std::max)(covered_from, *began);
        view.backlog_cut = view.more_queues;
        trace_backlog(queues, view);
        return true;
    }

    /// From the tasks that are there now back to how many there were: what finished was there before, what was added
    /// was not.
    static void trace_backlog(const Queues& queues, Overview& view) {
        std::int64_t backlog = 0;
        for (const auto& [name, queue] : queues) {
            backlog += static_cast<std::int64_t>(queue.waiting.number + queue.scheduled.number + queue.claimed.number);
            view.backlog_cut = view.backlog_cut || queue.waiting.more || queue.scheduled.more || queue.claimed.more;
        }
        for (auto bucket = view.buckets.rbegin(); bucket != view.buckets.rend(); ++bucket) {
            bucket->backlog = static_cast<std::uint64_t>((std::max)(backlog, std::int64_t{0}));
            backlog += static_cast<std::int64_t>(bucket->succeeded + bucket->failed) -
                       static_cast<std::int64_t>(bucket->added);
        }
    }

    /// Finished rows, whatever their order: a program may have written them in another one than that of their time.
    void look_at_finished(Queues& queues, Overview& view) {
        const std::int64_t end = view.from + view.step_ms * static_cast<std::int64_t>(view.buckets.size());
        view.covered_from = view.from;
        std::int64_t looked_at = 0;
        for (store::sqlite::Run run(db_, finished_, {bounds_.finished + 1}); run.step();) {
            if (looked_at++ == bounds_.finished) {
                view.finished_cut = true;
                return;
            }
            const std::int64_t duration = (std::max)(run.integer(2), std::int64_t{0});
            const std::int64_t at = saturating_add(run.integer(1), Duration{duration / 1'000});
            if (at < view.from || at >= end) continue;
            QueueSummary* queue = find(queues, std::string{run.bytes(0)}, view);
            if (queue == nullptr && view.of_one) continue;
            const bool succeeded = run.integer(3) != 0;
            Bucket& bucket = view.buckets[static_cast<std::size_t>((at - view.from) / view.step_ms)];
            ++(succeeded ? bucket.succeeded : bucket.failed);
            ++bucket.attempts;
            bucket.duration_us += (std::min)(duration, std::int64_t{1} << 40);
            bucket.max_duration_us = (std::max)(bucket.max_duration_us, duration);
            if (queue == nullptr) continue;
            ++(succeeded ? queue->succeeded : queue->failed);
            ++queue->attempts;
            queue->total_duration_us += (std::min)(duration, std::int64_t{1} << 40);
        }
    }

    static QueueSummary* find(Queues& queues, std::string name, Overview& view) {
        const auto at = queues.find(name);
        if (at != queues.end()) return &at->second;
        if (view.of_one) return nullptr;
        if (queues.size() >= 2 * most_queues) {
            view.more_queues = true;
            return nullptr;
        }
        return &queues[std::move(name)];
    }

    sqlite3* db_;
    const SchemaFeatures shape_;
    const Bounds bounds_;
    StatisticsReads& statistics_;
    const std::string unclaimed_ = unclaimed_rows(shape_, bounds_);
    store::sqlite::Statement first_queue_{
        "SELECT queue FROM backlite_tasks INDEXED BY backlite_tasks_due WHERE claimed_at IS NULL ORDER BY queue LIMIT "
        "1"};
    store::sqlite::Statement next_queue_{
        "SELECT queue FROM backlite_tasks INDEXED BY backlite_tasks_due WHERE claimed_at IS NULL AND queue > ?1 "
        "ORDER BY queue LIMIT 1"};
    Query all_queues_{fmt::format("SELECT DISTINCT queue FROM {} ORDER BY queue", unclaimed_)};
    Query head_{
        fmt::format("SELECT due FROM {} WHERE queue = ?1 AND due BETWEEN ?2 AND ?3 ORDER BY due LIMIT 1", unclaimed_)};
    Query oldest_{fmt::format("SELECT min(due) FROM {} WHERE due <= ?1", unclaimed_)};
    Query count_{fmt::format(
        "SELECT count(*) FROM (SELECT 1 FROM {} WHERE queue = ?1 AND due BETWEEN ?2 AND ?3 LIMIT ?4)", unclaimed_)};
    Query count_rows_{
        fmt::format("SELECT count(*) FROM {} WHERE (?1 = '' OR queue = ?1) AND due BETWEEN ?2 AND ?3", unclaimed_)};
    Query retrying_{
        fmt::format("SELECT count(*) FILTER (WHERE attempts > 0), count(*) FROM (SELECT attempts FROM {} "
                    "WHERE queue = ?1 AND due >= ?2 ORDER BY due LIMIT ?3)",
                    unclaimed_)};
    Query due_times_{
        fmt::format("SELECT due FROM {} WHERE queue = ?1 AND due BETWEEN ?2 AND ?3 ORDER BY due", unclaimed_)};
    Query claimed_{fmt::format("SELECT queue, owner, claim, id FROM {} LIMIT ?1", claimed_rows(shape_, bounds_))};
    Query rows_{fmt::format("SELECT queue, claimed_at IS NOT NULL, due, attempts FROM {}", first_rows(bounds_))};
    // typeof() is answered from a row's header: an error behind a large payload is not read.
    store::sqlite::Statement finished_{
        "SELECT queue, last_executed_at, last_duration_micro, typeof(error) = 'null' FROM backlite_tasks_completed "
        "ORDER BY rowid DESC LIMIT ?1"};
    store::sqlite::Statement clients_{
        "SELECT owner, slot, workers, started_at, version FROM backlite_clients ORDER BY owner LIMIT 4096"};
    store::sqlite::Statement bytes_{"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"};
};

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
