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

#include <backlite/storage/statement.hpp>
#include <backlite/ui/model.hpp>
#include <backlite/ui/shape.hpp>
#include <backlite/ui/statistics_reads.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// What an overview covers: `period_ms` of finished tasks, and as much of tasks to come, each in `steps` buckets.
struct Period {
    std::int64_t period_ms = 3'600'000;
    std::size_t steps = 60;
};

/// Each call costs the same with a million rows as with a hundred thousand: counts stop at a bound, and say so.
/// Threads: those of its connection, one at a time. Errors: StorageError; SQLITE_INTERRUPT when the time is up.
class QueueReads {
public:
    static constexpr std::int64_t most_counted = 10'000;   ///< where the count of one kind in one queue stops
    static constexpr std::int64_t least_counted = 100;     ///< the same where there are very many queues
    static constexpr std::int64_t count_budget = 40'000;   ///< shared by the queues
    static constexpr std::int64_t retry_budget = 2'000;    ///< rows that are looked at for retries, likewise
    static constexpr std::int64_t most_finished = 10'000;  ///< finished rows that are looked at
    static constexpr std::size_t most_queues = 100;

    /// REQUIRES: `statistics` lives as long.
    QueueReads(sqlite3* db, const Shape& shape, StatisticsReads& statistics)
        : db_(db), shape_(shape), statistics_(statistics) {}
    QueueReads(const QueueReads&) = delete;
    QueueReads& operator=(const QueueReads&) = delete;

    [[nodiscard]] sqlite3* handle() const noexcept { return db_; }

    /// `only`: the one queue that it is of; all if empty.
    [[nodiscard]] Overview overview(std::int64_t now, Period period, const std::string& only = {}) {
        Overview view;
        view.of_one = !only.empty();
        view.step_ms = period.period_ms / static_cast<std::int64_t>(period.steps);
        const std::int64_t step_began = now - now % view.step_ms;
        view.from = step_began - period.period_ms + view.step_ms;
        view.buckets.resize(period.steps);
        view.next_change = step_began + view.step_ms;
        std::map<std::string, QueueSummary> queues;
        for (const std::string& name : view.of_one ? std::vector{only} : names(view.more_queues)) queues[name];
        count_unclaimed(queues, now, view);
        count_running(queues, view);
        count_to_come(queues, now, view);
        if (!read_statistics(queues, only, now, view)) look_at_finished(queues, now, view);
        for (auto& [name, queue] : queues) {
            queue.name = name;
            view.queues.push_back(std::move(queue));
        }
        view.processes = processes();
        view.knows_processes = shape_.clients;
        return view;
    }

    /// Names of queues with unclaimed tasks, in the order of their bytes, at most `most_queues`: a step for each.
    [[nodiscard]] std::vector<std::string> names(bool& more) {
        std::vector<std::string> found;
        more = false;
        if (!shape_.ours) {
            for (storage::Run run(db_, all_queues_); run.step();) {
                more = found.size() == most_queues;
                if (more) break;
                found.emplace_back(run.bytes(0));
            }
            return found;
        }
        for (;;) {
            const std::string last =
                found.empty() ? std::string{} : found.back();  // outlives the run that it is bound to
            storage::Run first(db_, first_queue_);
            storage::Run next(db_, next_queue_, {last});
            storage::Run& run = found.empty() ? first : next;
            if (!run.step()) return found;
            more = found.size() == most_queues;
            if (more) return found;
            found.emplace_back(run.bytes(0));
        }
    }

    /// Whether a queue of that name has unclaimed tasks.
    [[nodiscard]] bool has(const std::string& name) {
        storage::Run run(db_, head_, {name, lowest, highest});
        return run.step();
    }

    /// The due time of the task that has waited longest.
    [[nodiscard]] std::optional<std::int64_t> oldest_due(std::int64_t now) {
        bool more = false;
        std::optional<std::int64_t> oldest;
        for (const std::string& name : names(more)) {
            if (storage::Run run(db_, head_, {name, lowest, now}); run.step()) {
                oldest = (std::min)(oldest.value_or(highest), run.integer(0));
            }
        }
        return oldest;
    }

    [[nodiscard]] std::vector<Process> processes() {
        std::vector<Process> found;
        if (!shape_.clients) return found;
        for (storage::Run run(db_, clients_); run.step();) {
            found.push_back({run.integer(0), static_cast<unsigned>(run.integer(1)), run.integer(2), run.integer(3),
                             run.integer(4), std::nullopt});
        }
        return found;
    }

    /// Bytes of the database's pages.
    [[nodiscard]] std::int64_t bytes() {
        storage::Run run(db_, bytes_);
        return run.step() ? run.integer(0) : 0;
    }

private:
    static constexpr std::int64_t lowest = (std::numeric_limits<std::int64_t>::min)();
    static constexpr std::int64_t highest = (std::numeric_limits<std::int64_t>::max)();

    using Queues = std::map<std::string, QueueSummary>;

    static std::int64_t share(std::int64_t budget, std::size_t queues, std::int64_t least, std::int64_t most) {
        return (std::clamp)(budget / (std::max)(static_cast<std::int64_t>(queues), std::int64_t{1}), least, most);
    }

    static Count count_of(std::int64_t found, std::int64_t bound) {
        return {static_cast<std::uint64_t>((std::min)(found, bound)), found > bound};
    }

    void count_unclaimed(Queues& queues, std::int64_t now, Overview& view) {
        const std::int64_t bound = share(count_budget, queues.size(), least_counted, most_counted);
        const std::int64_t retries = share(retry_budget, queues.size(), 20, 1'000);
        for (auto& [name, queue] : queues) {
            if (storage::Run run(db_, count_, {name, lowest, now, bound + 1}); run.step()) {
                queue.waiting = count_of(run.integer(0), bound);
                queue.oldest_due = run.optional_integer(1);
            }
            if (now == highest) continue;
            if (storage::Run run(db_, count_, {name, now + 1, highest, bound + 1}); run.step()) {
                queue.scheduled = count_of(run.integer(0), bound);
                queue.next_due = run.optional_integer(1);
            }
            if (queue.next_due) view.next_change = (std::min)(*view.next_change, *queue.next_due);
            if (storage::Run run(db_, retrying_, {name, now + 1, retries}); run.step()) {
                queue.retrying = {static_cast<std::uint64_t>(run.integer(0)), run.integer(1) == retries};
            }
        }
    }

    void count_running(Queues& queues, Overview& view) {
        std::int64_t seen = 0;
        for (storage::Run run(db_, claimed_, {most_counted + 1}); run.step();) {
            QueueSummary* queue = find(queues, std::string{run.bytes(0)}, view);
            if (++seen > most_counted) {
                if (view.of_one) queue = &queues.begin()->second;
                if (queue != nullptr) queue->running.more = true;
                return;
            }
            if (queue != nullptr) ++queue->running.number;
        }
    }

    /// Tasks that come due in the buckets ahead.
    void count_to_come(const Queues& queues, std::int64_t now, Overview& view) {
        const std::int64_t bound = share(count_budget, queues.size(), least_counted, most_counted);
        const std::int64_t end = now + view.step_ms * static_cast<std::int64_t>(view.buckets.size());
        for (const auto& [name, queue] : queues) {
            if (!queue.next_due) continue;
            std::int64_t seen = 0;
            for (storage::Run run(db_, due_times_, {name, now + 1, end - 1, bound + 1}); run.step();) {
                if (++seen > bound) {
                    view.due_cut = true;
                    break;
                }
                ++view.buckets[static_cast<std::size_t>((run.integer(0) - now) / view.step_ms)].due;
            }
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
        view.covered_from = (std::max)(covered_from, *began);
        trace_backlog(queues, view);
        return true;
    }

    /// From the tasks that are there now back to how many there were: what finished was there before, what was added
    /// was not.
    static void trace_backlog(const Queues& queues, Overview& view) {
        std::int64_t backlog = 0;
        for (const auto& [name, queue] : queues) {
            backlog += static_cast<std::int64_t>(queue.waiting.number + queue.scheduled.number + queue.running.number);
            view.backlog_cut = view.backlog_cut || queue.waiting.more || queue.scheduled.more || queue.running.more;
        }
        for (auto bucket = view.buckets.rbegin(); bucket != view.buckets.rend(); ++bucket) {
            bucket->backlog = static_cast<std::uint64_t>((std::max)(backlog, std::int64_t{0}));
            backlog += static_cast<std::int64_t>(bucket->succeeded + bucket->failed) -
                       static_cast<std::int64_t>(bucket->added);
        }
    }

    /// Finished rows, newest first, until they are older than the period.
    void look_at_finished(Queues& queues, std::int64_t now, Overview& view) {
        constexpr int patience = 100;  // rows are in the order of their commits, which is nearly that of time
        const std::int64_t end = view.from + view.step_ms * static_cast<std::int64_t>(view.buckets.size());
        int old = 0;
        std::int64_t looked_at = 0;
        std::int64_t last = now;
        for (storage::Run run(db_, finished_, {most_finished}); run.step() && old < patience;) {
            ++looked_at;
            const std::int64_t duration = (std::max)(run.integer(2), std::int64_t{0});
            const std::int64_t at = saturating_add(run.integer(1), Duration{duration / 1'000});
            last = (std::min)(last, at);
            old = at < view.from ? old + 1 : 0;
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
        view.covered_from = looked_at == most_finished && old < patience ? (std::max)(last, view.from) : view.from;
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
    const Shape shape_;
    StatisticsReads& statistics_;
    const std::string unclaimed_ = unclaimed_rows(shape_);
    storage::Statement first_queue_{
        "SELECT queue FROM backlite_tasks INDEXED BY backlite_tasks_due WHERE claimed_at IS NULL ORDER BY queue LIMIT "
        "1"};
    storage::Statement next_queue_{
        "SELECT queue FROM backlite_tasks INDEXED BY backlite_tasks_due WHERE claimed_at IS NULL AND queue > ?1 "
        "ORDER BY queue LIMIT 1"};
    Query all_queues_{fmt::format("SELECT DISTINCT queue FROM {} ORDER BY queue", unclaimed_)};
    Query head_{
        fmt::format("SELECT due FROM {} WHERE queue = ?1 AND due BETWEEN ?2 AND ?3 ORDER BY due LIMIT 1", unclaimed_)};
    Query count_{
        fmt::format("SELECT count(*), min(due) FROM (SELECT due FROM {} WHERE queue = ?1 AND due BETWEEN ?2 AND ?3 "
                    "ORDER BY due LIMIT ?4)",
                    unclaimed_)};
    Query retrying_{
        fmt::format("SELECT count(*) FILTER (WHERE attempts > 0), count(*) FROM (SELECT attempts FROM {} "
                    "WHERE queue = ?1 AND due >= ?2 ORDER BY due LIMIT ?3)",
                    unclaimed_)};
    Query due_times_{
        fmt::format("SELECT due FROM {} WHERE queue = ?1 AND due BETWEEN ?2 AND ?3 ORDER BY due LIMIT ?4", unclaimed_)};
    Query claimed_{fmt::format("SELECT queue FROM {} LIMIT ?1", claimed_rows(shape_))};
    // typeof() is answered from a row's header: an error behind a large payload is not read.
    storage::Statement finished_{
        "SELECT queue, last_executed_at, last_duration_micro, typeof(error) = 'null' FROM backlite_tasks_completed "
        "ORDER BY rowid DESC LIMIT ?1"};
    storage::Statement clients_{
        "SELECT owner, slot, workers, started_at, version FROM backlite_clients ORDER BY owner LIMIT 1000"};
    storage::Statement bytes_{"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"};
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
