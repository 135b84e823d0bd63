// SPDX-License-Identifier: MIT
// Draining: tasks that are all due, claimed, run and deleted, alone in the file or beside many rows of other kinds, one
// by one or in batches, silent or not.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <time.h>

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

/// Whose turn it is to say something: so many turns a second, whoever asks, and those that nobody took in time are made
/// up for.
class Turns {
public:
    explicit Turns(std::int64_t per_second) : pause_(1'000'000'000 / per_second), next_(steady_ns()) {}

    [[nodiscard]] bool take() noexcept {
        std::int64_t next = next_.load(std::memory_order_relaxed);
        const std::int64_t now = steady_ns();
        while (now >= next) {
            if (!next_.compare_exchange_weak(next, next + pause_, std::memory_order_relaxed)) continue;
            taken_.fetch_add(1, std::memory_order_relaxed);
            return true;
        }
        return false;
    }

    [[nodiscard]] std::int64_t taken() const noexcept { return taken_.load(); }

private:
    const std::int64_t pause_;
    std::atomic<std::int64_t> next_;
    std::atomic<std::int64_t> taken_{0};
};

/// What this process has taken of all cores, in seconds.
double processor_seconds() noexcept {
    timespec spent{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

struct Pace {
    double rate = 0;  ///< tasks a second
    double cost = 0;  ///< microseconds of a core for each task
};

/// Tasks that look each time whether to say something, and do so, or not.
Pace pace_speaking(const Bench& bench, std::size_t count, bool speaks) {
    constexpr std::int64_t words_per_second = 10'000;
    const std::string file = bench.folder.fresh(speaks ? "speaking" : "silent");
    fill(file, count, now_ms() - 1);
    Runs runs(count);
    double seconds = 0;
    double spent = 0;
    {
        backlite::Client client{{.database = file, .num_workers = 8, .durability = Durability::process}};
        Turns turns(words_per_second);
        client.register_queue<Upload>([&](const backlite::Context& context, const Upload& task) {
            while (turns.take()) {
                if (speaks) context.progress(0.5, task.file);
            }
            runs.ran(task);
        });
        flush();
        const double before = processor_seconds();
        const Stopwatch watch;
        client.start();
        runs.await();
        const double until_entered = watch.seconds();
        if (!client.stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
        seconds = watch.seconds();
        spent = processor_seconds() - before;
        if (static_cast<double>(turns.taken()) < 0.9 * static_cast<double>(words_per_second) * until_entered) {
            throw std::logic_error(fmt::format("only {} turns in {} s", turns.taken(), until_entered));
        }
    }
    runs.check();
    check_gone(file);
    Folder::remove(file);
    return {static_cast<double>(count) / seconds, spent / static_cast<double>(count) * 1e6};
}

/// Where other programs take the cores by turns, the time of a core tells more than the rate.
void append_progress(std::vector<Row>& rows) {
    const std::string name = "drain beside 10,000 progress calls a second";
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, 0.95}},
                     {"the same: time of a core", "us/task", {Budget::Sense::at_most, 1.05}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(3 * tasks_to_drain);
                        for (int repeat = 0; repeat < bench.options.repeats; ++repeat) {
                            const bool speaks = repeat % 2 == 0;
                            const Pace first = pace_speaking(bench, count, speaks);
                            const Pace second = pace_speaking(bench, count, !speaks);
                            const Pace& speaking = speaks ? first : second;
                            const Pace& silent = speaks ? second : first;
                            results[0].add(speaking.rate, silent.rate);
                            results[1].add(speaking.cost, silent.cost);
                        }
                    }});
}

double rate_by(const Bench& bench, std::size_t count, int batch) {
    const std::string file = bench.folder.fresh("batches");
    fill(file, count, now_ms() - 1);
    Runs runs(count);
    double seconds = 0;
    {
        backlite::Client client{{.database = file, .num_workers = 2, .durability = Durability::process}};
        if (batch > 1) {
            client.register_batch_queue<Upload>({.max = batch}, [&runs](std::span<const Upload> tasks) {
                for (const Upload& task : tasks) runs.ran(task);
            });
        } else {
            client.register_queue<Upload>([&runs](const Upload& task) { runs.ran(task); });
        }
        flush();
        const Stopwatch watch;
        client.start();
        runs.await();
        if (!client.stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
        seconds = watch.seconds();
    }
    runs.check();
    check_gone(file);
    Folder::remove(file);
    return static_cast<double>(count) / seconds;
}

void append_batches(std::vector<Row>& rows, int size, double budget) {
    const std::string name = fmt::format("drain by batches of {}, to single tasks", size);
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, budget}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(tasks_to_drain);
                        compare(
                            bench, results[0], [&] { return rate_by(bench, count, size); },
                            [&] { return rate_by(bench, count, 1); });
                    }});
}

}  // namespace

void append_drain_rows(std::vector<Row>& rows) {
    for (const Durability durability : {Durability::full, Durability::process}) {
        for (const unsigned workers : {2U, 10U}) append_drain(rows, durability, workers);
    }
    append_priorities(rows, "one after the other", "UPDATE backlite_tasks SET priority = rowid * 5 / 60000", 0.8);
    append_priorities(rows, "mixed", "UPDATE backlite_tasks SET priority = rowid % 5", 0.4);
    append_progress(rows);
    append_batches(rows, 100, 0.8);
    append_batches(rows, 10'000, 0.8);
}

void append_beside_rows(std::vector<Row>& rows) {
    for (const Beside& beside : all_kinds()) append_beside(rows, beside);
}

}  // namespace bench
