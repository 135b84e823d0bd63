// SPDX-License-Identifier: MIT
// Not only small no-ops of one queue: tasks with every setting there is, and large ones.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <backlite/backlite.hpp>

#include "drain.hpp"
#include "raw.hpp"
#include "rows.hpp"
#include "settings.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;

void fill_queues(const std::string& file, std::size_t count) {
    fill(file, count, now_ms() - 1);
    RawDatabase database(file, Durability::process);
    for (std::size_t i = 0; i < queues.size(); ++i) {
        database.execute(fmt::format("UPDATE backlite_tasks SET queue = '{}' WHERE rowid % 3 = {}", queues[i], i));
    }
    database.checkpoint();
}

void check_kept(const std::string& file, std::size_t count) {
    RawDatabase database(file, Durability::process);
    const std::int64_t left = database.number("SELECT count(*) FROM backlite_tasks");
    const std::int64_t kept = database.number("SELECT count(*) FROM backlite_tasks_completed WHERE succeeded = 1");
    if (left != 0 || kept != static_cast<std::int64_t>(count)) {
        throw Incorrect(fmt::format("{} tasks are still in the file, {} of {} were kept", left, kept, count));
    }
}

double rate_with_settings(const Bench& bench, Durability durability, std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    fill_queues(file, count);
    Runs runs(count);
    std::atomic<std::size_t> events{0};
    double seconds = 0;
    {
        backlite::Client client{client_config(Settings::all, file, durability, events)};
        register_queues(
            Settings::all, client, [](const Upload&) {}, [&runs](const Upload& task) { runs.ran(task); });
        flush();
        const Stopwatch watch;
        client.start();
        runs.await();
        if (!client.stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
        seconds = watch.seconds();
    }
    runs.check();
    if (events < count) throw Incorrect(fmt::format("{} events of {} tasks were logged", events.load(), count));
    check_kept(file, count);
    return static_cast<double>(count) / seconds;
}

/// The raw loop on the same tasks: it lets the same ones wait once more, and keeps all.
double raw_rate_with_settings(const Bench& bench, Durability durability, std::size_t count) {
    const std::string file = bench.folder.fresh("raw");
    fill_queues(file, count);
    double seconds = 0;
    {
        const RawDatabase database(file, durability);
        flush();
        const Stopwatch watch;
        claim_and_keep_all(database, queues, fails_every);
        seconds = watch.seconds();
    }
    check_kept(file, count);
    return static_cast<double>(count) / seconds;
}

constexpr std::size_t large = 100'000;  // bytes

Upload large_upload(std::size_t number) {
    Upload task = upload(number);
    task.target = std::string(large, 'x');
    return task;
}

/// Added one by one, run and deleted.
double rate_of_large(const Bench& bench, std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    Runs runs(count);
    double seconds = 0;
    {
        backlite::Client client{{.database = file, .num_workers = 2, .durability = Durability::process}};
        client.register_queue<Upload>([&runs](const Upload& task) { runs.ran(task); });
        client.start();
        std::vector<Upload> tasks;
        for (std::size_t i = 0; i < count; ++i) tasks.push_back(large_upload(i));
        flush();
        const Stopwatch watch;
        for (const Upload& task : tasks) client.add(task).save();
        runs.await();
        if (!client.stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
        seconds = watch.seconds();
    }
    runs.check();
    check_gone(file);
    return static_cast<double>(count) / seconds;
}

double raw_rate_of_large(const Bench& bench, std::size_t count) {
    const std::string file = bench.folder.fresh("raw");
    std::vector<RawTask> tasks = raw_tasks(0, count);
    for (std::size_t i = 0; i < count; ++i) tasks[i].payload = nlohmann::json(large_upload(i)).dump();
    fill(file, 0, now_ms());
    const RawDatabase database(file, Durability::process);
    flush();
    const Stopwatch watch;
    RawInsert(database).commit_each(tasks);
    if (claim_and_delete_all(database) != count) throw std::logic_error("the raw loop left tasks");
    return static_cast<double>(count) / watch.seconds();
}

}  // namespace

void append_settings_rows(std::vector<Row>& rows) {
    for (const Durability durability : {Durability::full, Durability::process}) {
        const std::string name =
            fmt::format("drain with all settings, {}", durability == Durability::full ? "full" : "process");
        rows.push_back({name,
                        {{name, "tasks/s", {Budget::Sense::at_least, 0.8 * kept_with_all_settings}}},
                        [=](const Bench& bench, std::vector<Result>& results) {
                            const std::size_t count = bench.options.scaled(60'000);
                            compare(
                                bench, results[0], [&] { return rate_with_settings(bench, durability, count); },
                                [&] { return raw_rate_with_settings(bench, durability, count); });
                        }});
    }
    const std::string name = "payloads of 100 kB, added, run, deleted";
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, 0.5}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(1'000);
                        compare(
                            bench, results[0], [&] { return rate_of_large(bench, count); },
                            [&] { return raw_rate_of_large(bench, count); });
                    }});
}

}  // namespace bench
