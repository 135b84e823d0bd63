// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/metrics.hpp>.

#include <backlite/ui/metrics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL std::string label_value(std::string_view name) {
    constexpr std::size_t longest = 100;
    std::string text = name.size() <= longest
                           ? visible_name(name)
                           : fmt::format("{}…{:016x}", visible_name(cut(name, longest)), backlite::detail::fnv1a(name));
    std::string value;
    for (const char c : text) {
        if (c == '\\' || c == '"') value += '\\';
        value += c;
    }
    return value;
}

BACKLITE_DECL std::string metrics_text(const Metrics& metrics, Ms now) {
    const Overview& overview = metrics.overview;
    std::string text;
    const auto head = [&](std::string_view name, std::string_view help) {
        text += fmt::format("# HELP backlite_{} {}\n# TYPE backlite_{} gauge\n", name, help, name);
    };
    std::string bounded;
    head("queue_tasks",
         "Unfinished tasks. Fetched ones are claimed by a process, but no worker is inside of them; where "
         "that is not known, running and fetched ones together are claimed.");
    for (const QueueSummary& queue : overview.queues) {
        const std::string name = label_value(queue.name);
        const auto sample = [&](std::string_view state, const Count& count) {
            (count.more ? bounded : text) += fmt::format("backlite_queue_tasks{}{{queue=\"{}\",state=\"{}\"}} {}\n",
                                                         count.more ? "_at_least" : "", name, state, count.number);
        };
        sample("waiting", queue.waiting);
        sample("scheduled", queue.scheduled);
        if (queue.running) {
            sample("running", {*queue.running, false});
            sample("fetched", {queue.claimed.number - *queue.running, false});
        } else {
            sample("claimed", queue.claimed);
        }
    }
    if (!bounded.empty()) {
        head("queue_tasks_at_least", "So many unfinished tasks or more, where they were not counted to the end.");
        text += bounded;
    }
    head("queues_left_out", "1 if there are more queues than are told of here.");
    text += fmt::format("backlite_queues_left_out {}\n", overview.more_queues ? 1 : 0);
    head("queue_oldest_eligible_age_seconds", "How long the oldest due task waits.");
    for (const QueueSummary& queue : overview.queues) {
        const double age =
            queue.oldest_due ? static_cast<double>(span_between(*queue.oldest_due, now).count()) / 1e6 : 0.0;
        text += fmt::format("backlite_queue_oldest_eligible_age_seconds{{queue=\"{}\"}} {:.3f}\n",
                            label_value(queue.name), age);
    }
    if (!overview.finished_cut) {
        head("queue_finished_last_hour", overview.counted
                                             ? "Tasks that finished in this minute and the 59 before it, kept or not."
                                             : "Kept tasks that finished in this minute and the 59 before it.");
        for (const QueueSummary& queue : overview.queues) {
            for (const bool failed : {false, true}) {
                text += fmt::format("backlite_queue_finished_last_hour{{queue=\"{}\",outcome=\"{}\"}} {}\n",
                                    label_value(queue.name), failed ? "failed" : "succeeded",
                                    failed ? queue.failed : queue.succeeded);
            }
        }
    }
    std::int64_t alive = 0, workers = 0;
    for (const Process& process : overview.processes) {
        if (process.alive == false) continue;
        ++alive;
        workers += process.workers;
    }
    head("processes", "Started clients that are alive, or of which that cannot be told.");
    text += fmt::format("backlite_processes {}\n", alive);
    head("workers", "Workers of those clients.");
    text += fmt::format("backlite_workers {}\n", workers);
    head("db_bytes", "Size of the database.");
    text += fmt::format("backlite_db_bytes {}\n", metrics.database_bytes);
    if (metrics.log_bytes) {
        head("wal_bytes", "Size of its write-ahead log.");
        text += fmt::format("backlite_wal_bytes {}\n", *metrics.log_bytes);
    }
    head("build_info", "Versions.");
    text += fmt::format("backlite_build_info{{version=\"{}.{}.{}\",sqlite=\"{}\"}} 1\n", BACKLITE_VERSION_MAJOR,
                        BACKLITE_VERSION_MINOR, BACKLITE_VERSION_PATCH, metrics.sqlite_version);
    return text;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
