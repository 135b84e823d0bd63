// SPDX-License-Identifier: MIT
// How soon a task starts on an idle client: after save(), and after a commit of another process.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <backlite/backlite.hpp>

#include "children.hpp"
#include "raw.hpp"
#include "rows.hpp"
#include "settings.hpp"
#include "statistics.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;
using std::chrono::milliseconds;

constexpr std::size_t samples = 300;

/// When each task was entered first, and whether each ran once.
class Entries {
public:
    explicit Entries(std::size_t count) : runs_(count), entered_(count) {}

    void enter(const Upload& task) noexcept {
        std::int64_t never = 0;
        entered_[static_cast<std::size_t>(task.number)].compare_exchange_strong(never, steady_ns());
    }
    void ran(const Upload& task) noexcept { runs_.ran(task); }
    /// Microseconds from `since` until the task was entered. The wait costs no processor. Errors: Incorrect after 10 s.
    [[nodiscard]] double us_since(std::int64_t since, std::size_t number) const {
        for (int i = 0; i < 2'000; ++i) {
            const std::int64_t entered = entered_[number].load(std::memory_order_acquire);
            if (entered != 0) return static_cast<double>(entered - since) / 1e3;
            std::this_thread::sleep_for(milliseconds{5});
        }
        throw Incorrect(fmt::format("task {} was not started within 10 seconds", number));
    }
    /// The same, looking all the time.
    [[nodiscard]] double us_since_spinning(std::int64_t since, std::size_t number) const {
        const std::int64_t end = since + 10'000'000'000;
        while (entered_[number].load(std::memory_order_acquire) == 0 && steady_ns() < end) {
        }
        return us_since(since, number);
    }
    void check() const { runs_.check(); }

private:
    Runs runs_;
    std::vector<std::atomic<std::int64_t>> entered_;
};

/// One repeat: 300 tasks and 300 raw commits in turn, 5 ms apart.
void measure_idle(const Bench& bench, Settings settings, Durability durability, Result& p50, Result& p99) {
    const std::size_t count = bench.options.scaled(samples);
    const std::string own_file = bench.folder.fresh("ours");
    const std::string raw_file = bench.folder.fresh("raw");
    const std::vector<RawTask> raw = raw_tasks(0, count);
    Entries entries(count);
    std::vector<double> own_us;
    std::vector<double> raw_us;
    std::atomic<std::size_t> events{0};
    {
        const RawDatabase database(raw_file, durability);
        RawInsert insert(database);
        backlite::Client client{client_config(settings, own_file, durability, events)};
        register_queues(
            settings, client, [&entries](const Upload& task) { entries.enter(task); },
            [&entries](const Upload& task) { entries.ran(task); });
        client.start();
        flush();
        const auto add_one = [&](std::size_t i) {
            backlite::AddOp op = add(settings, client, upload(i));
            const std::int64_t called = steady_ns();
            op.save();
            std::this_thread::sleep_for(milliseconds{5});
            own_us.push_back(entries.us_since(called, i));
        };
        const auto commit = [&](std::size_t i) {
            const Stopwatch watch;
            insert.commit_one(raw[i], now_ms());
            raw_us.push_back(watch.seconds() * 1e6);
            std::this_thread::sleep_for(milliseconds{5});
        };
        for (std::size_t i = 0; i < count; ++i) {
            if (i % 2 == 0) {
                add_one(i);
                commit(i);
            } else {
                commit(i);
                add_one(i);
            }
        }
        if (!client.stop(std::chrono::seconds{10})) throw Incorrect("stop() says that an outcome was not written");
    }
    entries.check();
    p50.add(percentile(own_us, 0.5), percentile(raw_us, 0.5));
    p99.add(percentile(own_us, 0.99), percentile(raw_us, 0.5));
}

void append_idle(std::vector<Row>& rows, Settings settings, Durability durability, double p50, double p99) {
    const std::string name =
        fmt::format("idle{}, save() to processor, {}", settings == Settings::all ? " with all settings" : "",
                    durability == Durability::full ? "full" : "process");
    const double allowance = settings == Settings::all ? 1 / kept_with_all_settings : 1;
    rows.push_back({name,
                    {{name + ", p50", "us", {Budget::Sense::at_most, p50 * allowance}},
                     {name + ", p99", "us", {Budget::Sense::at_most, p99 * allowance}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        for (int i = 0; i < bench.options.repeats; ++i) {
                            measure_idle(bench, settings, durability, results[0], results[1]);
                        }
                    }});
}

/// One repeat: 300 tasks with `process`, whose caller computes on after save(), and 300 raw commits with `full` in
/// turn: a caller that computes beside a core that is taken must wait no longer than for the disk.
void measure_spinning(const Bench& bench, bool other_core_busy, Result& p50) {
    const std::size_t count = bench.options.scaled(samples);
    const std::vector<RawTask> raw = raw_tasks(0, count);
    Entries entries(count);
    std::vector<double> own_us;
    std::vector<double> raw_us;
    std::jthread busy;
    if (other_core_busy) {
        busy = std::jthread([](const std::stop_token& token) {
            while (!token.stop_requested()) {
            }
        });
    }
    {
        const RawDatabase database(bench.folder.fresh("raw"), Durability::full);
        RawInsert insert(database);
        backlite::Client client{
            {.database = bench.folder.fresh("ours"), .num_workers = 2, .durability = Durability::process}};
        client.register_queue<Upload>([&entries](const Upload& task) {
            entries.enter(task);
            entries.ran(task);
        });
        client.start();
        flush();
        for (std::size_t i = 0; i < count; ++i) {
            backlite::AddOp op = client.add(upload(i));
            const std::int64_t called = steady_ns();
            op.save();
            own_us.push_back(entries.us_since_spinning(called, i));
            std::this_thread::sleep_for(milliseconds{5});
            const Stopwatch watch;
            insert.commit_one(raw[i], now_ms());
            raw_us.push_back(watch.seconds() * 1e6);
            std::this_thread::sleep_for(milliseconds{5});
        }
        if (!client.stop(std::chrono::seconds{10})) throw Incorrect("stop() says that an outcome was not written");
    }
    entries.check();
    p50.add(percentile(own_us, 0.5), percentile(raw_us, 0.5));
}

/// One repeat: 300 commits of a child at irregular times, some of them close together.
void measure_other_process(const Bench& bench, unsigned seed, Result& p50, Result& p99) {
    const std::size_t count = bench.options.scaled(samples);
    const std::string file = bench.folder.fresh("ours");
    Entries entries(count);
    std::vector<double> us;
    {
        backlite::Client client{{.database = file, .num_workers = 2, .durability = Durability::process}};
        client.register_queue<Upload>([&entries](const Upload& task) {
            entries.enter(task);
            entries.ran(task);
        });
        client.start();
        Child child({"insert", file});
        flush();
        std::this_thread::sleep_for(milliseconds{100});
        std::minstd_rand random(seed);
        std::uniform_int_distribution<int> pause_ms(1, 40);
        for (std::size_t i = 0; i < count; ++i) {
            child.tell(fmt::to_string(i));
            const std::int64_t committing = child.hear();
            std::this_thread::sleep_for(milliseconds{pause_ms(random)});
            us.push_back(entries.us_since(committing, i));
        }
        if (!client.stop(std::chrono::seconds{10})) throw Incorrect("stop() says that an outcome was not written");
    }
    entries.check();
    p50.add(percentile(us, 0.5) / 1e3);
    p99.add(percentile(us, 0.99) / 1e3);
}

}  // namespace

void append_latency_rows(std::vector<Row>& rows) {
    for (const Settings settings : {Settings::few, Settings::all}) {
        append_idle(rows, settings, Durability::full, 1.4, 3);
        append_idle(rows, settings, Durability::process, 2.5, 8);
    }
    for (const bool busy : {false, true}) {
        const std::string name =
            fmt::format("idle, save() to processor, process, caller computes on{}", busy ? ", a core busy" : "");
        rows.push_back({name,
                        {{name + ", p50", "us", {Budget::Sense::at_most, 1.5}}},
                        [=](const Bench& bench, std::vector<Result>& results) {
                            for (int i = 0; i < bench.options.repeats; ++i) measure_spinning(bench, busy, results[0]);
                        }});
    }
    const std::string name = "commit elsewhere to processor";
    rows.push_back(
        {name,
         {{name + ", p50", "ms", {Budget::Sense::at_most, 5}}, {name + ", p99", "ms", {Budget::Sense::at_most, 5}}},
         [](const Bench& bench, std::vector<Result>& results) {
             for (int i = 0; i < bench.options.repeats; ++i) {
                 measure_other_process(bench, static_cast<unsigned>(i + 1), results[0], results[1]);
             }
         }});
}

}  // namespace bench
