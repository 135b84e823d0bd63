// SPDX-License-Identifier: MIT
// Flatness: what a task costs, however many rows lie beside it, wait before it, or queues are registered.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>

#include "beside.hpp"
#include "drain.hpp"
#include "raw.hpp"
#include "rows.hpp"
#include "statistics.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;
using std::chrono::milliseconds;

/// Tasks a second that one caller adds to what is in the file already.
double add_rate(const std::string& file, std::size_t count) {
    backlite::Client client{{.database = file, .durability = Durability::process}};
    std::vector<Upload> tasks;
    for (std::size_t i = 0; i < count; ++i) tasks.push_back(upload(i));
    for (Upload& task : tasks) task.number = -1;
    flush();
    const Stopwatch watch;
    for (const Upload& task : tasks) client.add(task).save();
    return static_cast<double>(count) / watch.seconds();
}

/// The median of the microseconds from save() to the processor, on an idle client.
double idle_us(const std::string& file, std::size_t count) {
    std::atomic<std::int64_t> entered{0};
    std::vector<double> us;
    backlite::Client client{{.database = file, .num_workers = 2, .durability = Durability::process}};
    client.register_queue<Upload>([&entered](const Upload&) { entered = steady_ns(); });
    client.start();
    flush();
    std::this_thread::sleep_for(milliseconds{50});
    for (std::size_t i = 0; i < count; ++i) {
        entered = 0;
        backlite::AddOp op = client.add(upload(i));
        const std::int64_t called = steady_ns();
        op.save();
        const std::int64_t end = called + 10'000'000'000;
        do {
            std::this_thread::sleep_for(milliseconds{5});
        } while (entered == 0 && steady_ns() < end);
        if (entered == 0) throw Incorrect(fmt::format("task {} was not started within 10 seconds", i));
        us.push_back(static_cast<double>(entered - called) / 1e3);
    }
    if (!client.stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
    return percentile(us, 0.5);
}

using Measure = double (*)(const std::string& file, std::size_t count);

void append_beside(std::vector<Row>& rows, std::string_view what, std::string_view unit, Budget budget,
                   std::size_t count, const Beside& beside, Measure measure) {
    const std::string name = fmt::format("{} beside {} rows", what, beside.name);
    rows.push_back({name, {{name, std::string{unit}, budget}}, [=](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t scaled = bench.options.scaled(count);
                        const std::string with = bench.folder.fresh("with");
                        const std::string without = bench.folder.fresh("without");
                        for (const std::string& file : {with, without}) fill(file, 0, now_ms());
                        fill_beside(with, beside, bench.options.many());
                        compare(
                            bench, results[0], [&] { return measure(with, scaled); },
                            [&] { return measure(without, scaled); });
                        Folder::remove(with);
                    }});
}

/// A queue whose name is chosen at run time, as no type can have it.
class NamedQueue final : public backlite::detail::QueueBase {
public:
    NamedQueue(std::string name, Runs& runs) : runs_(runs) { config_.name = std::move(name); }

    [[nodiscard]] const backlite::QueueConfig& config() const noexcept override { return config_; }
    [[nodiscard]] std::string_view type() const noexcept override { return backlite::detail::type_name<Upload>(); }
    [[nodiscard]] std::unique_ptr<Job> decode(std::string_view payload) const override {
        return std::make_unique<Task>(runs_, nlohmann::json::parse(payload).get<Upload>());
    }

private:
    class Task final : public Job {
    public:
        Task(Runs& runs, Upload upload) : runs_(runs), upload_(std::move(upload)) {}
        [[nodiscard]] backlite::Outcome run(backlite::Context&) override {
            runs_.ran(upload_);
            return backlite::Outcome::success();
        }

    private:
        Runs& runs_;
        Upload upload_;
    };

    backlite::QueueConfig config_{};
    Runs& runs_;
};

std::string queue_name(std::size_t number) { return fmt::format("queue-{:04}", number); }

/// Tasks a second, of tasks that are spread over three of so many registered queues.
double rate_with_queues(const Bench& bench, std::size_t queues, std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    fill(file, count, now_ms() - 1);
    {
        RawDatabase database(file, Durability::process);
        const std::array<std::size_t, 3> busy{0, queues / 2, queues - 1};
        for (std::size_t i = 0; i < busy.size(); ++i) {
            database.execute(
                fmt::format("UPDATE backlite_tasks SET queue = '{}' WHERE rowid % 3 = {}", queue_name(busy[i]), i));
        }
        database.checkpoint();
    }
    Runs runs(count);
    double seconds = 0;
    {
        const auto engine = std::make_shared<backlite::engine::Engine>(
            backlite::ClientConfig{.database = file, .num_workers = 2, .durability = Durability::process},
            &backlite::store::sqlite::open);
        for (std::size_t i = 0; i < queues; ++i) {
            engine->register_queue(std::make_unique<NamedQueue>(queue_name(i), runs));
        }
        flush();
        const Stopwatch watch;
        engine->start({});
        runs.await();
        seconds = watch.seconds();
        if (!engine->stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
    }
    runs.check();
    check_gone(file);
    return static_cast<double>(count) / seconds;
}

void append_queues(std::vector<Row>& rows, std::size_t queues) {
    const std::string name = fmt::format("drain, {} queues, 3 with work", queues);
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, 0.85}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(60'000);
                        compare(
                            bench, results[0], [&] { return rate_with_queues(bench, queues, count); },
                            [&] { return rate_with_queues(bench, 3, count); });
                    }});
}

void append_backlog(std::vector<Row>& rows) {
    constexpr std::array<std::size_t, 4> sizes{1'000, 10'000, 100'000, 1'000'000};
    Row row{"backlog", {}, {}};
    for (const std::size_t size : sizes) {
        row.results.push_back({fmt::format("drain a backlog of {}", size), "tasks/s", {Budget::Sense::at_least, 0}});
        row.results.back().in_chart = true;
    }
    row.measure = [sizes](const Bench& bench, std::vector<Result>& results) {
        if (!bench.options.big) results.pop_back();
        for (std::size_t i = 0; i < results.size(); ++i) {
            const std::size_t count = bench.options.scaled(sizes[i]);
            for (int repeat = 0; repeat < bench.options.repeats; ++repeat) {
                const std::string file = bench.folder.fresh("ours");
                fill(file, count, now_ms() - 1);
                const Drained drained = drain(file, Durability::process, 2, count);
                check_gone(file);
                results[i].add(static_cast<double>(count) / drained.until_entered);
            }
        }
    };
    rows.push_back(std::move(row));
}

}  // namespace

void append_flat_rows(std::vector<Row>& rows) {
    for (const Beside& beside : all_kinds()) {
        append_beside(rows, "add", "tasks/s", {Budget::Sense::at_least, 0.85}, 20'000, beside, add_rate);
    }
    for (const Beside& beside : all_kinds()) {
        if (beside.name == "ready" || beside.name == "less urgent") continue;  // then the client is not idle
        append_beside(rows, "idle p50", "us", {Budget::Sense::at_most, 1.2}, 200, beside, idle_us);
    }
    for (const std::size_t queues : {std::size_t{100}, std::size_t{1'000}}) append_queues(rows, queues);
    append_backlog(rows);
}

}  // namespace bench
