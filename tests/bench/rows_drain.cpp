// SPDX-License-Identifier: MIT
// Draining: tasks that are all due, claimed, run and deleted, alone in the file or beside many rows of other kinds.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <backlite/backlite.hpp>

#include "beside.hpp"
#include "drain.hpp"
#include "raw.hpp"
#include "rows.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;

constexpr std::size_t tasks_to_drain = 60'000;
constexpr std::int64_t day_ms = 86'400'000;

double drain_rate(const Bench& bench, Durability durability, unsigned workers, std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    fill(file, count, now_ms() - 1);
    const Drained drained = drain(file, durability, workers, count);
    check_gone(file);
    return static_cast<double>(count) / drained.until_stopped;
}

double raw_drain_rate(const Bench& bench, Durability durability, std::size_t count) {
    const std::string file = bench.folder.fresh("raw");
    fill(file, count, now_ms() - 1);
    std::size_t deleted = 0;
    double seconds = 0;
    {
        const RawDatabase database(file, durability);
        flush();
        const Stopwatch watch;
        deleted = claim_and_delete_all(database);
        seconds = watch.seconds();
    }
    if (deleted != count) throw std::logic_error(fmt::format("the raw loop deleted {} of {} tasks", deleted, count));
    check_gone(file);
    return static_cast<double>(count) / seconds;
}

void append_drain(std::vector<Row>& rows, Durability durability, unsigned workers) {
    const std::string name =
        fmt::format("drain, {} workers, {}", workers, durability == Durability::full ? "full" : "process");
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, 0.8}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(tasks_to_drain);
                        compare(
                            bench, results[0], [&] { return drain_rate(bench, durability, workers, count); },
                            [&] { return raw_drain_rate(bench, durability, count); });
                    }});
}

/// Until the last of the tasks ran: the stop would wait for tasks that are ready beside.
double rate_on(const std::string& file, std::size_t count) {
    fill(file, count, now_ms() - day_ms);
    const Drained drained = drain(file, Durability::process, 2, count);
    check_gone(file);
    return static_cast<double>(count) / drained.until_entered;
}

void append_beside(std::vector<Row>& rows, const Beside& beside) {
    const std::string name = fmt::format("drain beside {} rows", beside.name);
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, 0.85}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(tasks_to_drain);
                        const std::string with = bench.folder.fresh("with");
                        const std::string without = bench.folder.fresh("without");
                        fill_beside(with, beside, bench.options.many());
                        compare(
                            bench, results[0], [&] { return rate_on(with, count); },
                            [&] { return rate_on(without, count); });
                        Folder::remove(with);
                    }});
}

double rate_of(const Bench& bench, std::size_t count, const char* change) {
    const std::string file = bench.folder.fresh("priorities");
    fill(file, count, now_ms() - day_ms);
    RawDatabase(file, Durability::process).execute(change);
    const Drained drained = drain(file, Durability::process, 2, count);
    check_gone(file);
    Folder::remove(file);
    return static_cast<double>(count) / drained.until_entered;
}

/// To the rate of one priority. Mixed, the rows of each lie on nearly all pages, so that these are written five times.
void append_priorities(std::vector<Row>& rows, const char* order, const char* change, double budget) {
    const std::string name = fmt::format("drain of five priorities, {}", order);
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, budget}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(tasks_to_drain);
                        compare(
                            bench, results[0], [&] { return rate_of(bench, count, change); },
                            [&] { return rate_of(bench, count, "UPDATE backlite_tasks SET priority = 0"); });
                    }});
}

}  // namespace

void append_drain_rows(std::vector<Row>& rows) {
    for (const Durability durability : {Durability::full, Durability::process}) {
        for (const unsigned workers : {2U, 10U}) append_drain(rows, durability, workers);
    }
    append_priorities(rows, "one after the other", "UPDATE backlite_tasks SET priority = rowid * 5 / 60000", 0.8);
    append_priorities(rows, "mixed", "UPDATE backlite_tasks SET priority = rowid % 5", 0.4);
}

void append_beside_rows(std::vector<Row>& rows) {
    for (const Beside& beside : all_kinds()) append_beside(rows, beside);
}

}  // namespace bench
