// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/queue_reads.hpp>.

#include <backlite/base/rows.hpp>
#include <backlite/store/sqlite/views/queue_reads.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL Overview QueueReads::overview(detail::Ms now, Period period, const std::string& only,
                                            std::vector<Process> processes) {
    Overview view;
    view.of_one = !only.empty();
    view.step = period.length / static_cast<std::int64_t>(period.steps);
    const detail::Ms step_began = now - now % view.step;
    view.from = step_began - period.length + view.step;
    view.buckets.resize(period.steps);
    view.next_change = step_began + view.step;
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

BACKLITE_DECL std::vector<std::string> QueueReads::names(bool& more) {
    std::vector<std::string> found;
    more = false;
    if (!shape_.ours) {
        more = has_more_rows(db_, shape_, bounds_);
        for (Run run(db_, all_queues_); run.step();) {
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

BACKLITE_DECL std::optional<detail::Ms> QueueReads::oldest_due(detail::Ms now) {
    std::optional<detail::Ms> oldest;
    if (!shape_.ours) {
        Run run(db_, oldest_, {now});
        if (run.step()) oldest = run.optional_time(0);
        return oldest;
    }
    each_name([&](const std::string& name) {
        if (const auto due = first_due(name, earliest, now)) oldest = (std::min)(oldest.value_or(latest), *due);
        return true;
    });
    return oldest;
}

BACKLITE_DECL Count QueueReads::unclaimed(const std::vector<std::string>& queues, detail::Ms now,
                                          std::optional<State> state, std::int64_t bound) {
    const detail::Ms from = state == State::scheduled ? now + Duration{1} : earliest;
    const detail::Ms to = state == State::waiting ? now : latest;
    Count sum;
    if (!shape_.ours) {
        const std::string only = queues.size() == 1 ? queues.front() : std::string{};
        Run run(db_, count_rows_, {only, from, to});
        if (run.step()) sum.number = static_cast<std::uint64_t>(run.integer(0));
        sum.more = has_more_rows(db_, shape_, bounds_);
        return sum;
    }
    for (const std::string& queue : queues) {
        const Count found = count(queue, from, to, bound - static_cast<std::int64_t>(sum.number));
        sum.number += found.number;
        sum.more = found.more;
        if (sum.more) break;
    }
    return sum;
}

BACKLITE_DECL std::vector<Process> QueueReads::processes() {
    std::vector<Process> found;
    if (!shape_.clients) return found;
    for (Run run(db_, clients_); run.step();) {
        Process process;
        process.owner = run.integer(0);
        process.slot = static_cast<unsigned>(run.integer(1));
        process.workers = run.integer(2);
        process.started_at = run.time(3);
        process.version = run.integer(4);
        found.push_back(std::move(process));
    }
    return found;
}

BACKLITE_DECL Count QueueReads::count(const std::string& queue, detail::Ms from, detail::Ms to, std::int64_t bound) {
    std::int64_t found = 0;
    for (const std::int64_t priority : priorities_.of(queue)) {
        Run run(db_, count_, {queue, from, to, bound + 1 - found, priority});
        if (run.step()) found += run.integer(0);
    }
    return {static_cast<std::uint64_t>((std::min)(found, bound)), found > bound};
}

BACKLITE_DECL std::optional<detail::Ms> QueueReads::first_due(const std::string& queue, detail::Ms from,
                                                              detail::Ms to) {
    std::optional<detail::Ms> first;
    for (const std::int64_t priority : priorities_.of(queue)) {
        Run run(db_, head_, {queue, from, to, priority});
        if (run.step()) first = (std::min)(first.value_or(latest), run.time(0));
    }
    return first;
}

BACKLITE_DECL auto QueueReads::count_retrying(const std::string& queue, detail::Ms from, std::int64_t bound) -> Looked {
    Looked looked;
    for (const std::int64_t priority : priorities_.of(queue)) {
        Run run(db_, retrying_, {queue, from, bound - looked.looked_at, priority});
        if (!run.step()) continue;
        looked.count.number += static_cast<std::uint64_t>(run.integer(0));
        looked.looked_at += run.integer(1);
    }
    looked.count.more = looked.looked_at == bound;
    return looked;
}

BACKLITE_DECL void QueueReads::count_unclaimed(Queues& queues, detail::Ms now, Overview& view) {
    std::vector<Open> open;
    std::vector<Open> retries;
    for (auto& [name, queue] : queues) {
        queue.oldest_due = first_due(name, earliest, now);
        if (queue.oldest_due) open.push_back({&name, &queue.waiting, earliest, now});
        if (now == latest) continue;
        const detail::Ms later = now + Duration{1};
        queue.next_due = first_due(name, later, latest);
        if (!queue.next_due) continue;
        open.push_back({&name, &queue.scheduled, later, latest});
        retries.push_back({&name, &queue.retrying, later, latest});
        view.next_change = (std::min)(*view.next_change, *queue.next_due);
    }
    count_all(std::move(open), 1'000, bounds_.counted, [&](const Open& one, std::int64_t bound) {
        const Count found = count(*one.queue, one.from, one.to, bound);
        return Looked{found, static_cast<std::int64_t>(found.number)};
    });
    count_all(std::move(retries), 10, bounds_.retries,
              [&](const Open& one, std::int64_t bound) { return count_retrying(*one.queue, one.from, bound); });
}

BACKLITE_DECL void QueueReads::count_claimed(Queues& queues, Overview& view) {
    std::int64_t seen = 0;
    bool more = false;
    for (Run run(db_, claimed_, {bounds_.claimed + 1}); run.step();) {
        more = ++seen > bounds_.claimed;
        if (more) break;
        QueueSummary* queue = find(queues, std::string{run.bytes(0)}, view);
        if (queue == nullptr) continue;
        ++queue->claimed.number;
        const std::optional<bool> entered =
            is_entered(view.processes, run.optional_integer(1),
                       {static_cast<std::uint64_t>(run.integer(2)), hash_id(run.bytes(3)),
                        detail::batch_number(run.bytes(0), run.time(4))});
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

BACKLITE_DECL void QueueReads::count_to_come(const Queues& queues, detail::Ms now, Overview& view) {
    const detail::Ms end = now + view.step * static_cast<std::int64_t>(view.buckets.size());
    std::int64_t seen = 0;
    for (const auto& [name, queue] : queues) {
        if (!queue.next_due || *queue.next_due >= end) continue;
        for (const std::int64_t priority : priorities_.of(name)) {
            for (Run run(db_, due_times_, {name, now + Duration{1}, end - Duration{1}, priority}); run.step();) {
                if (seen++ == bounds_.to_come) {
                    view.due_cut = true;
                    return;
                }
                ++view.buckets[static_cast<std::size_t>((run.time(0) - now) / view.step)].due;
            }
        }
    }
    view.due_cut = view.more_queues;
}

BACKLITE_DECL void QueueReads::count_rows(Queues& queues, detail::Ms now, Overview& view) {
    const detail::Ms end = now + view.step * static_cast<std::int64_t>(view.buckets.size());
    for (Run run(db_, rows_); run.step();) {
        QueueSummary* queue = find(queues, std::string{run.bytes(0)}, view);
        if (queue == nullptr) continue;
        if (run.integer(1) != 0) {
            ++queue->claimed.number;
            continue;
        }
        const detail::Ms due = run.time(2);
        if (due <= now) {
            ++queue->waiting.number;
            queue->oldest_due = (std::min)(queue->oldest_due.value_or(due), due);
            continue;
        }
        ++queue->scheduled.number;
        queue->retrying.number += run.integer(3) > 0 ? 1U : 0U;
        queue->next_due = (std::min)(queue->next_due.value_or(due), due);
        view.next_change = (std::min)(*view.next_change, due);
        if (due < end) ++view.buckets[static_cast<std::size_t>((due - now) / view.step)].due;
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

BACKLITE_DECL bool QueueReads::read_statistics(Queues& queues, const std::string& only, detail::Ms now,
                                               Overview& view) {
    const std::chrono::minutes span = StatisticsReads::span_for(view.step);
    const std::optional<detail::Ms> began = statistics_.begin(span);
    if (!began) return false;
    view.counted = true;
    view.counted_from = *began;
    const detail::Ms covered_from =
        statistics_.read(span, view.from, now, only, [&](detail::Ms at, std::string_view name, const Counted& counted) {
            const std::int64_t place = (at - view.from) / view.step;
            if (place >= static_cast<std::int64_t>(view.buckets.size())) return;
            view.buckets[static_cast<std::size_t>(place)] += counted;
            QueueSummary* queue = find(queues, std::string{name}, view);
            if (queue == nullptr) return;
            queue->succeeded += counted.succeeded;
            queue->failed += counted.failed;
            queue->attempts += counted.attempts;
            queue->total_duration += counted.duration;
            queue->added += counted.added;
        });
    view.finished_cut = covered_from > view.from;
    view.covered_from = (std::max)(covered_from, *began);
    view.backlog_cut = view.more_queues;
    trace_backlog(queues, view);
    return true;
}

BACKLITE_DECL void QueueReads::trace_backlog(const Queues& queues, Overview& view) {
    std::int64_t backlog = 0;
    for (const auto& [name, queue] : queues) {
        backlog += static_cast<std::int64_t>(queue.waiting.number + queue.scheduled.number + queue.claimed.number);
        view.backlog_cut = view.backlog_cut || queue.waiting.more || queue.scheduled.more || queue.claimed.more;
    }
    for (auto bucket = view.buckets.rbegin(); bucket != view.buckets.rend(); ++bucket) {
        bucket->backlog = static_cast<std::uint64_t>((std::max)(backlog, std::int64_t{0}));
        backlog +=
            static_cast<std::int64_t>(bucket->succeeded + bucket->failed) - static_cast<std::int64_t>(bucket->added);
    }
}

BACKLITE_DECL void QueueReads::look_at_finished(Queues& queues, Overview& view) {
    constexpr detail::Us most_summed{std::int64_t{1} << 40};  // so that sums do not overflow
    const detail::Ms end = view.from + view.step * static_cast<std::int64_t>(view.buckets.size());
    view.covered_from = view.from;
    std::int64_t looked_at = 0;
    for (Run run(db_, finished_, {bounds_.finished + 1}); run.step();) {
        if (looked_at++ == bounds_.finished) {
            view.finished_cut = true;
            return;
        }
        const detail::Us duration = (std::max)(run.duration(2), detail::Us::zero());
        const detail::Ms at = run.time(1) + std::chrono::duration_cast<Duration>(duration);
        if (at < view.from || at >= end) continue;
        QueueSummary* queue = find(queues, std::string{run.bytes(0)}, view);
        if (queue == nullptr && view.of_one) continue;
        const bool succeeded = run.integer(3) != 0;
        Bucket& bucket = view.buckets[static_cast<std::size_t>((at - view.from) / view.step)];
        ++(succeeded ? bucket.succeeded : bucket.failed);
        ++bucket.attempts;
        bucket.duration += (std::min)(duration, most_summed);
        bucket.max_duration = (std::max)(bucket.max_duration, duration);
        if (queue == nullptr) continue;
        ++(succeeded ? queue->succeeded : queue->failed);
        ++queue->attempts;
        queue->total_duration += (std::min)(duration, most_summed);
    }
}

BACKLITE_DECL QueueSummary* QueueReads::find(Queues& queues, std::string name, Overview& view) {
    const auto at = queues.find(name);
    if (at != queues.end()) return &at->second;
    if (view.of_one) return nullptr;
    if (queues.size() >= 2 * most_queues) {
        view.more_queues = true;
        return nullptr;
    }
    return &queues[std::move(name)];
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
