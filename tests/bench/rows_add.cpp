// SPDX-License-Identifier: MIT
// Adding: one caller, several at once, and a range. The raw loop is given its ids and JSON; the library makes them.

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <backlite/backlite.hpp>

#include "raw.hpp"
#include "rows.hpp"
#include "settings.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;

/// So many commits, that the write-ahead log has been moved back at least once and is written over from then on.
constexpr std::size_t warm_up = 400;

std::string_view name_of(Durability durability) { return durability == Durability::full ? "full" : "process"; }

/// Every task with the numbers 0 to `count` - 1 is in the file once.
void check_added(const std::string& file, std::size_t count) {
    RawDatabase database(file, Durability::full);
    const auto rows = static_cast<std::size_t>(database.number("SELECT count(*) FROM backlite_tasks"));
    const auto numbers =
        static_cast<std::size_t>(database.number("SELECT count(DISTINCT task ->> 'number') FROM backlite_tasks "
                                                 "WHERE claimed_at IS NULL AND attempts = 0"));
    if (rows == count && numbers == count) return;
    throw Incorrect(fmt::format("{} tasks were added, the file has {} rows of {} tasks", count, rows, numbers));
}

std::vector<Upload> uploads(std::size_t first, std::size_t count) {
    std::vector<Upload> tasks;
    tasks.reserve(count);
    for (std::size_t i = first; i < first + count; ++i) tasks.push_back(upload(i));
    return tasks;
}

/// Lets threads begin at once.
class Gate {
public:
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    void pass() {
        std::unique_lock lock(mutex_);
        while (!open_) changed_.wait_for(lock, std::chrono::seconds{1});
    }

private:
    std::mutex mutex_{};
    std::condition_variable changed_{};
    bool open_ = false;
};

/// Tasks a second, of `callers` threads that add `count` tasks together.
double rate_of_callers(const Bench& bench, Settings settings, Durability durability, std::size_t callers,
                       std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    const std::size_t each = count / callers;
    const std::vector<Upload> tasks = uploads(0, warm_up + each * callers);
    std::atomic<std::size_t> events{0};
    double seconds = 0;
    {
        backlite::Client client{client_config(settings, file, durability, events)};
        for (std::size_t i = 0; i < warm_up; ++i) add(settings, client, tasks[i]).save();
        Gate gate;
        std::vector<std::exception_ptr> errors(callers);
        std::vector<std::jthread> threads;
        for (std::size_t caller = 0; caller < callers; ++caller) {
            threads.emplace_back([&, caller] {
                gate.pass();
                try {
                    const Upload* task = &tasks[warm_up + caller * each];
                    for (std::size_t i = 0; i < each; ++i) add(settings, client, *task++).save();
                } catch (...) {
                    errors[caller] = std::current_exception();
                }
            });
        }
        flush();
        const Stopwatch watch;
        gate.open();
        threads.clear();  // joins
        seconds = watch.seconds();
        for (const std::exception_ptr& error : errors) {
            if (error) std::rethrow_exception(error);
        }
    }
    check_added(file, tasks.size());
    return static_cast<double>(each * callers) / seconds;
}

/// The same on this thread alone, without a hop.
double rate_of_one_caller(const Bench& bench, Settings settings, Durability durability, std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    const std::vector<Upload> tasks = uploads(0, warm_up + count);
    std::atomic<std::size_t> events{0};
    double seconds = 0;
    {
        backlite::Client client{client_config(settings, file, durability, events)};
        for (std::size_t i = 0; i < warm_up; ++i) add(settings, client, tasks[i]).save();
        flush();
        const Stopwatch watch;
        for (std::size_t i = warm_up; i < tasks.size(); ++i) add(settings, client, tasks[i]).save();
        seconds = watch.seconds();
    }
    check_added(file, tasks.size());
    return static_cast<double>(count) / seconds;
}

double raw_rate(const Bench& bench, Durability durability, std::size_t count) {
    const std::string file = bench.folder.fresh("raw");
    const std::vector<RawTask> tasks = raw_tasks(0, warm_up + count);
    const std::span<const RawTask> all{tasks};
    double seconds = 0;
    {
        const RawDatabase database(file, durability);
        RawInsert insert(database);
        insert.commit_each(all.first(warm_up));
        flush();
        const Stopwatch watch;
        insert.commit_each(all.subspan(warm_up));
        seconds = watch.seconds();
    }
    check_added(file, tasks.size());
    return static_cast<double>(count) / seconds;
}

double rate_of_range(const Bench& bench, std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    const std::vector<Upload> tasks = uploads(0, count);
    double seconds = 0;
    {
        backlite::Client client{{.database = file}};
        flush();
        const Stopwatch watch;
        const std::vector<backlite::TaskId> ids = client.add(tasks).save();
        seconds = watch.seconds();
        if (ids.size() != count)
            throw Incorrect(fmt::format("{} tasks were added, {} ids came back", count, ids.size()));
    }
    check_added(file, count);
    return static_cast<double>(count) / seconds;
}

double raw_rate_of_range(const Bench& bench, std::size_t count) {
    const std::string file = bench.folder.fresh("raw");
    const std::vector<RawTask> tasks = raw_tasks(0, count);
    const std::int64_t now = now_ms();
    double seconds = 0;
    {
        RawDatabase database(file, Durability::full);
        RawStatement begin(database, "BEGIN IMMEDIATE");
        RawStatement commit(database, "COMMIT");
        RawInsert insert(database);
        flush();
        const Stopwatch watch;
        begin.run();
        for (const RawTask& task : tasks) insert.run(task, now);
        commit.run();
        seconds = watch.seconds();
    }
    check_added(file, count);
    return static_cast<double>(count) / seconds;
}

void append_callers(std::vector<Row>& rows, Settings settings, Durability durability, std::size_t callers,
                    double budget) {
    const std::string name = fmt::format("add{}, {} {}, {}", settings == Settings::all ? " with all settings" : "",
                                         callers, callers == 1 ? "caller" : "callers", name_of(durability));
    if (settings == Settings::all) budget *= kept_with_all_settings;
    const bool full = durability == Durability::full;
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, budget}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        // Long enough for a steady rate: more tasks where they go faster.
                        const std::size_t count = bench.options.scaled(full ? 3'000 : 20'000);
                        const std::size_t own = callers < 8 ? count : callers < 64 ? count * 3 : count * 6;
                        compare(
                            bench, results[0],
                            [&] {
                                return callers == 1 ? rate_of_one_caller(bench, settings, durability, own)
                                                    : rate_of_callers(bench, settings, durability, callers, own);
                            },
                            [&] { return raw_rate(bench, durability, count); });
                    }});
}

}  // namespace

void append_add_rows(std::vector<Row>& rows) {
    for (const Settings settings : {Settings::few, Settings::all}) {
        append_callers(rows, settings, Durability::full, 1, 0.85);
        append_callers(rows, settings, Durability::process, 1, 0.85);
        append_callers(rows, settings, Durability::full, 2, 1.5);
        append_callers(rows, settings, Durability::full, 8, 4.5);
        append_callers(rows, settings, Durability::full, 64, 12);
        append_callers(rows, settings, Durability::process, 8, 1.5);
        append_callers(rows, settings, Durability::process, 64, 3);
    }
    const std::string name = "add, one range of 100,000";
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, 0.6}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(100'000);
                        compare(
                            bench, results[0], [&] { return rate_of_range(bench, count); },
                            [&] { return raw_rate_of_range(bench, count); });
                    }});
}

}  // namespace bench
