// SPDX-License-Identifier: MIT
#pragma once
// Metrics in Prometheus' text format 0.0.4, from what the file holds. Every process that shows the file says the same:
// aggregate with max, not sum.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/ui/model.hpp>
#include <backlite/ui/text.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// A label's value: backslash, quote and line end escaped, everything that is no text replaced.
[[nodiscard]] inline std::string label_value(std::string_view text) {
    std::string value;
    each_character(text, [&](std::string_view piece) {
        switch (piece.front()) {
            case '\\': value += "\\\\"; break;
            case '"': value += "\\\""; break;
            case '\n': value += "\\n"; break;
            default: value += piece;
        }
    });
    return value;
}

struct FileSizes {
    std::int64_t database = 0;
    std::optional<std::int64_t> wal{};
};

/// The queues beyond the first `most_labels` by name are summed up as `other`, so that names cannot grow without bound.
[[nodiscard]] inline std::string metrics_text(const Overview& overview, const FileSizes& sizes, std::int64_t now) {
    constexpr std::size_t most_labels = 50;
    struct Sums {
        std::uint64_t waiting = 0, scheduled = 0, running = 0, succeeded = 0, failed = 0;
        std::optional<std::int64_t> oldest_due{};
    };
    std::map<std::string, Sums> queues;
    for (const QueueSummary& queue : overview.queues) {
        const bool own = queues.size() < most_labels;
        Sums& sums = queues[own ? label_value(cut(queue.name, 100)) : "other"];
        sums.waiting += queue.waiting.number;
        sums.scheduled += queue.scheduled.number;
        sums.running += queue.running.number;
        sums.succeeded += queue.succeeded;
        sums.failed += queue.failed;
        if (queue.oldest_due && (!sums.oldest_due || *queue.oldest_due < *sums.oldest_due))
            sums.oldest_due = queue.oldest_due;
    }
    std::string text;
    const auto head = [&](std::string_view name, std::string_view help) {
        text += fmt::format("# HELP backlite_{} {}\n# TYPE backlite_{} gauge\n", name, help, name);
    };
    head("queue_tasks", "Unfinished tasks; a count stops at 10000.");
    for (const auto& [name, sums] : queues) {
        text += fmt::format("backlite_queue_tasks{{queue=\"{}\",state=\"waiting\"}} {}\n", name, sums.waiting);
        text += fmt::format("backlite_queue_tasks{{queue=\"{}\",state=\"scheduled\"}} {}\n", name, sums.scheduled);
        text += fmt::format("backlite_queue_tasks{{queue=\"{}\",state=\"running\"}} {}\n", name, sums.running);
    }
    head("queue_oldest_eligible_age_seconds", "How long the oldest due task waits.");
    for (const auto& [name, sums] : queues) {
        const double age =
            sums.oldest_due ? static_cast<double>(span_between(*sums.oldest_due, now).count()) / 1e6 : 0.0;
        text += fmt::format("backlite_queue_oldest_eligible_age_seconds{{queue=\"{}\"}} {:.3f}\n", name, age);
    }
    head("queue_finished_last_hour", "Kept tasks that finished in the last hour; of the newest 10000 of all queues.");
    for (const auto& [name, sums] : queues) {
        text += fmt::format("backlite_queue_finished_last_hour{{queue=\"{}\",outcome=\"succeeded\"}} {}\n", name,
                            sums.succeeded);
        text +=
            fmt::format("backlite_queue_finished_last_hour{{queue=\"{}\",outcome=\"failed\"}} {}\n", name, sums.failed);
    }
    std::int64_t alive = 0, workers = 0;
    for (const Process& process : overview.processes) {
        if (process.alive == false) continue;
        ++alive;
        workers += process.workers;
    }
    head("processes", "Started clients that are alive.");
    text += fmt::format("backlite_processes {}\n", alive);
    head("workers", "Workers of those clients.");
    text += fmt::format("backlite_workers {}\n", workers);
    head("db_bytes", "Size of the database.");
    text += fmt::format("backlite_db_bytes {}\n", sizes.database);
    if (sizes.wal) {
        head("wal_bytes", "Size of its write-ahead log.");
        text += fmt::format("backlite_wal_bytes {}\n", *sizes.wal);
    }
    head("build_info", "Versions.");
    text += fmt::format("backlite_build_info{{version=\"{}.{}.{}\",sqlite=\"{}\"}} 1\n", BACKLITE_VERSION_MAJOR,
                        BACKLITE_VERSION_MINOR, BACKLITE_VERSION_PATCH, sqlite3_libversion());
    return text;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
