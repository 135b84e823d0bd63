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

#include "raw.hpp"
#include "rows.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;

constexpr std::size_t tasks_to_drain = 60'000;
/// What lies beside has numbers that are not counted, and is due later.
constexpr const char* payload_beside =
    R"({"file":"/var/spool/scan-000000.pdf","number":-1,"target":"archive/2024/inbox"})";
constexpr std::int64_t day_ms = 86'400'000;

/// Puts tasks 0 to `count` - 1 into the file, all due before `last_due`, and leaves it closed.
void fill(const std::string& file, std::size_t count, std::int64_t last_due) {
    const std::vector<RawTask> tasks = raw_tasks(0, count);
    RawDatabase database(file, Durability::process);
    RawInsert(database).commit_all(tasks, last_due);
    database.checkpoint();
}

struct Drained {
    double until_entered = 0;  ///< seconds from start() until the last task ran
    double until_stopped = 0;  ///< and until the last outcome was committed and the client stopped
};

Drained drain(const std::string& file, Durability durability, unsigned workers, std::size_t count) {
    Runs runs(count);
    Drained drained;
    {
        backlite::Client client{{.database = file, .num_workers = workers, .durability = durability}};
        client.register_queue<Upload>([&runs](const Upload& task) { runs.ran(task); });
        flush();
        const Stopwatch watch;
        client.start();
        runs.await();
        drained.until_entered = watch.seconds();
        const bool clean = client.stop(std::chrono::seconds{30});
        drained.until_stopped = watch.seconds();
        if (!clean) throw Incorrect("stop() says that an outcome was not written");
    }
    runs.check();
    return drained;
}

/// Nothing of the tasks to drain is left, claimed or done.
void check_gone(const std::string& file) {
    RawDatabase database(file, Durability::process);
    const std::int64_t left = database.number(
        "SELECT count(*) FROM backlite_tasks WHERE CAST(task AS text) NOT LIKE '%\"number\":-1,%' OR owner IS NOT "
        "NULL");
    const std::int64_t kept = database.number("SELECT count(*) FROM backlite_tasks_completed WHERE queue = 'upload'");
    if (left + kept > 0) throw Incorrect(fmt::format("{} tasks are still in the file, {} were kept", left, kept));
}

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

/// A kind of row that lies beside, and the statement that makes ?1 of them at the time ?2.
struct Beside {
    std::string_view name;
    std::string_view sql;
};

constexpr std::string_view many_numbers =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) ";

constexpr Beside kinds[] = {
    {"future",
     "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) "
     "SELECT printf('beside-%029d', i), ?2, 'upload', CAST(?3 AS blob), ?2 + 86400000 + i FROM n"},
    {"ready",
     "INSERT INTO backlite_tasks (id, created_at, queue, task) "
     "SELECT printf('beside-%029d', i), ?2, 'upload', CAST(?3 AS blob) FROM n"},
    {"unregistered",
     "INSERT INTO backlite_tasks (id, created_at, queue, task) "
     "SELECT printf('beside-%029d', i), ?2 - 2 * 86400000, 'somebody_else', CAST(?3 AS blob) FROM n"},
    {"claimed",  // by somebody who gives no name, a while ahead so that they do not lapse
     "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at) "
     "SELECT printf('beside-%029d', i), ?2 - 2 * 86400000, 'upload', CAST(?3 AS blob), ?2 + 86400000 FROM n"},
    {"completed",
     "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, last_duration_micro, "
     "succeeded, task, expires_at) "
     "SELECT printf('beside-%029d', i), ?2, 'somebody_else', ?2, 1, 100, 1, CAST(?3 AS blob), ?2 + 86400000 + i FROM "
     "n"},
};

void fill_beside(const std::string& file, const Beside& beside, std::size_t count) {
    RawDatabase database(file, Durability::process);
    const std::string sql = fmt::format("{}{}", many_numbers, beside.sql);
    RawStatement insert(database, sql.c_str());
    insert.bind(1, static_cast<std::int64_t>(count));
    insert.bind(2, now_ms());
    insert.bind(3, std::string_view{payload_beside});
    insert.run();
    database.checkpoint();
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

}  // namespace

void append_drain_rows(std::vector<Row>& rows) {
    for (const Durability durability : {Durability::full, Durability::process}) {
        for (const unsigned workers : {2U, 10U}) append_drain(rows, durability, workers);
    }
}

void append_beside_rows(std::vector<Row>& rows) {
    for (const Beside& beside : kinds) append_beside(rows, beside);
}

}  // namespace bench
