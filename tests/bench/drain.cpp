// SPDX-License-Identifier: MIT
#include "drain.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <backlite/backlite.hpp>

#include "raw.hpp"
#include "rows.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

using backlite::Durability;

void fill(const std::string& file, std::size_t count, std::int64_t last_due) {
    const std::vector<RawTask> tasks = raw_tasks(0, count);
    RawDatabase database(file, Durability::process);
    RawInsert(database).commit_all(tasks, last_due);
    database.checkpoint();
}

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

void check_gone(const std::string& file) {
    RawDatabase database(file, Durability::process);
    const std::int64_t left = database.number(
        "SELECT count(*) FROM backlite_tasks WHERE CAST(task AS text) NOT LIKE '%\"number\":-1,%' OR owner IS NOT "
        "NULL");
    const std::int64_t kept = database.number("SELECT count(*) FROM backlite_tasks_completed WHERE queue = 'upload'");
    if (left + kept > 0) throw Incorrect(fmt::format("{} tasks are still in the file, {} were kept", left, kept));
}

}  // namespace bench
