// SPDX-License-Identifier: MIT
// Flows: what a step costs beside a commit, alone and many at once; replays; children, and the memory that they take.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

#include "children.hpp"
#include "flows.hpp"
#include "raw.hpp"
#include "rows.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;
using std::chrono::minutes;

/// So many steps come before the measurement, that the write-ahead log is written over during it.
constexpr std::int64_t warm_up = 400;

void check_over(const std::string& file) {
    RawDatabase database(file, Durability::process);
    const std::int64_t left =
        database.number("SELECT (SELECT count(*) FROM backlite_tasks) + (SELECT count(*) FROM backlite_saved)");
    const std::int64_t kept = database.number("SELECT count(*) FROM backlite_tasks_completed WHERE succeeded = 0");
    if (left + kept > 0) throw Incorrect(fmt::format("{} rows are left, {} tasks failed", left, kept));
}

void wait_for_all(backlite::Client& client, const std::vector<backlite::TaskId>& ids) {
    for (const backlite::TaskId& id : ids) {
        if (!client.wait(id, minutes{2})) throw Incorrect("a flow has not ended within two minutes");
    }
    if (!client.stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
}

/// Steps a second, of so many flows at once.
double step_rate(const Bench& bench, std::size_t flows, std::size_t count) {
    const std::string file = bench.folder.fresh("ours");
    const auto each = static_cast<std::int64_t>(count / flows);
    const std::int64_t first = flows == 1 ? warm_up : 0;
    std::atomic<std::int64_t> steps{0};
    std::optional<Stopwatch> watch;
    double seconds = 0;
    {
        backlite::Client client{{.database = file, .num_workers = static_cast<unsigned>(flows)}};
        client.register_flow<Run>([&](backlite::Flow& flow, const Run& run) {
            for (std::int64_t i = 0; i < run.count; ++i) {
                if (flows == 1 && i == first) watch.emplace();
                flow.step("step", [&] { return ++steps; });
            }
            if (flows == 1) seconds = watch->seconds();
        });
        const auto ids = client.add(std::vector<Run>(flows, Run{first + each})).save();
        flush();
        if (flows > 1) watch.emplace();
        client.start();
        wait_for_all(client, ids);
        if (flows > 1) seconds = watch->seconds();
    }
    if (steps != (first + each) * static_cast<std::int64_t>(flows)) throw Incorrect("a step ran twice, or not at all");
    check_over(file);
    return static_cast<double>(each * static_cast<std::int64_t>(flows)) / seconds;
}

/// Rows of the same kind that plain SQL commits one by one.
double raw_step_rate(const Bench& bench, std::size_t count) {
    const std::string file = bench.folder.fresh("raw");
    const RawDatabase database(file, Durability::full);
    RawStatement begin(database, "BEGIN IMMEDIATE");
    RawStatement commit(database, "COMMIT");
    RawStatement insert(database, "INSERT INTO backlite_saved (task, name, at, value) VALUES (?1, ?2, ?3, ?4)");
    const std::string task = raw_tasks(0, 1).front().id;
    std::int64_t number = 0;
    const auto one = [&] {
        ++number;
        const std::string name = fmt::format("backlite:flow:step:step#{}", number);
        const std::string value = fmt::format("{{\"v\":{}}}", number);
        begin.run();
        insert.bind(1, std::string_view{task});
        insert.bind(2, std::string_view{name});
        insert.bind(3, now_ms());
        insert.bind_blob(4, value);
        insert.run();
        commit.run();
    };
    for (std::int64_t i = 0; i < warm_up; ++i) one();
    flush();
    const Stopwatch watch;
    for (std::size_t i = 0; i < count; ++i) one();
    return static_cast<double>(count) / watch.seconds();
}

void append_steps(std::vector<Row>& rows, const std::string& name, std::size_t flows, double budget) {
    rows.push_back({name,
                    {{name, "steps/s", {Budget::Sense::at_least, budget}}},
                    [=](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(3'000);
                        compare(
                            bench, results[0], [&] { return step_rate(bench, flows, flows == 1 ? count : count * 6); },
                            [&] { return raw_step_rate(bench, count); });
                    }});
}

/// Milliseconds from the begin of an attempt until it has passed so many steps that were recorded before, by a client
/// that was not there then.
double replay_ms(const Bench& bench, std::int64_t count) {
    const std::string file = bench.folder.fresh("ours");
    std::int64_t steps = 0;
    const auto walk = [&steps](backlite::Flow& flow, const Run& run) {
        std::int64_t sum = 0;
        for (std::int64_t i = 0; i < run.count; ++i) sum += flow.step("step", [&] { return ++steps; });
        return sum;
    };
    const backlite::ClientConfig config{.database = file, .num_workers = 1, .durability = Durability::process};
    std::vector<backlite::TaskId> ids;
    {
        backlite::Client client{config};
        std::atomic<bool> waits{false};
        client.register_flow<Run>([&](backlite::Flow& flow, const Run& run) {
            walk(flow, run);
            waits = true;
            static_cast<void>(flow.wait<bool>("go", minutes{10}));
        });
        ids = client.add(Run{count}).save();
        client.start();
        for (int i = 0; i < 12'000 && !waits; ++i) std::this_thread::sleep_for(std::chrono::milliseconds{5});
        if (!client.stop(std::chrono::seconds{30})) throw Incorrect("stop() says that an outcome was not written");
    }
    double seconds = 0;
    std::int64_t sum = 0;
    {
        std::optional<Stopwatch> watch;
        backlite::ClientConfig measured = config;
        measured.around = {[&watch](backlite::Context&, const backlite::Next& next) {
            watch.emplace();
            return next();
        }};
        backlite::Client client{measured};
        client.register_flow<Run>([&](backlite::Flow& flow, const Run& run) {
            sum = walk(flow, run);
            seconds = watch->seconds();
        });
        client.signal(ids.front(), "go", true);
        flush();
        client.start();
        wait_for_all(client, ids);
    }
    if (steps != count || sum != count * (count + 1) / 2) throw Incorrect("a step gave another value than before");
    check_over(file);
    return seconds * 1e3;
}

void check(const Joined& joined, std::int64_t count) {
    if (joined.ran != count) throw Incorrect(fmt::format("{} children ran {} times", count, joined.ran));
    if (!joined.right) throw Incorrect("what the children returned did not come back in their order");
    if (joined.entered != 2) throw Incorrect(fmt::format("the flow was woken {} times", joined.entered - 1));
}

/// The most memory of a process in which a flow has so many children, in bytes, without the flow's own two vectors.
double memory_of(const Bench& bench, std::int64_t count) {
    Child child({"join", fmt::format("{} {}", count, bench.folder.fresh("ours"))});
    const auto own = static_cast<double>(static_cast<std::size_t>(count) * (sizeof(Part) + sizeof(Part::Result)));
    return static_cast<double>(child.hear()) - own;
}

}  // namespace

void append_flow_rows(std::vector<Row>& rows) {
    append_steps(rows, "steps of one flow, full", 1, 0.85);
    append_steps(rows, "steps of 64 flows at once, full", 64, 8);
    const std::string replay = "replay of 10,000 steps";
    rows.push_back(
        {replay, {{replay, "ms", {Budget::Sense::at_most, 50}}}, [](const Bench& bench, std::vector<Result>& results) {
             const auto count = static_cast<std::int64_t>(bench.options.scaled(10'000));
             for (int i = 0; i < bench.options.repeats; ++i) results[0].add(replay_ms(bench, count));
         }});
    const std::string join = "10,000 children joined, process";
    rows.push_back(
        {join, {{join, "s", {Budget::Sense::at_most, 1}}}, [](const Bench& bench, std::vector<Result>& results) {
             const auto count = static_cast<std::int64_t>(bench.options.scaled(10'000));
             for (int i = 0; i < bench.options.repeats; ++i) {
                 const std::string file = bench.folder.fresh("ours");
                 flush();
                 const Joined joined = join_children(file, count);
                 check(joined, count);
                 check_over(file);
                 results[0].add(joined.seconds);
             }
         }});
    const std::string memory = "memory, many children";
    rows.push_back({memory,
                    {{memory, "MiB more", {Budget::Sense::at_most, 8}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        const auto many = static_cast<std::int64_t>(bench.options.many());
                        for (int i = 0; i < (bench.options.big ? 1 : bench.options.repeats); ++i) {
                            const double few = memory_of(bench, 1'000);
                            results[0].add((memory_of(bench, 1'000 + many) - few) / (1024 * 1024));
                        }
                    }});
}

}  // namespace bench
