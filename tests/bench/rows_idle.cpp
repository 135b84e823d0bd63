// SPDX-License-Identifier: MIT
// What a client costs that has nothing to do: processor time, writes, memory.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include <backlite/backlite.hpp>

#include "children.hpp"
#include "raw.hpp"
#include "rows.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using backlite::Durability;

/// Processor time of this process, in seconds.
double processor_seconds() {
    std::timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

/// Bytes that this process has passed to write() and its like, whatever the file.
double bytes_written() {
    std::ifstream io("/proc/self/io");
    std::string word;
    while (io >> word) {
        double bytes = 0;
        if (word == "wchar:" && io >> bytes) return bytes;
    }
    throw std::runtime_error("/proc/self/io cannot be read");
}

/// When a database and the files beside it were last written to, and how long they are.
std::vector<std::int64_t> state_of(const std::string& database) {
    std::vector<std::int64_t> state;
    for (const char* suffix : {"", "-wal", "-backlite"}) {
        struct ::stat info {};
        if (::stat((database + suffix).c_str(), &info) != 0) continue;
        state.push_back(info.st_size);
        state.push_back(info.st_mtim.tv_sec);
        state.push_back(info.st_mtim.tv_nsec);
    }
    return state;
}

void measure_idle_client(const Bench& bench, Result& processor, Result& writes) {
    const std::string file = bench.folder.fresh("ours");
    Runs runs(1);
    backlite::Client client{{.database = file, .num_workers = 2}};
    client.register_queue<Upload>([&runs](const Upload& task) { runs.ran(task); });
    client.start();
    client.add(upload(0)).save();
    runs.await();
    const std::chrono::milliseconds span{bench.options.quick ? 300 : 4'000};
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    const double written = bytes_written();
    const std::vector<std::int64_t> state = state_of(file);
    const double used = processor_seconds();
    const Stopwatch watch;
    std::this_thread::sleep_for(span);
    processor.add((processor_seconds() - used) / watch.seconds() * 100);
    const bool untouched = state_of(file) == state;
    writes.add(bytes_written() - written);
    if (!untouched && writes.ours.back() == 0) throw Incorrect("an idle client changed its files");
}

double memory_with(const Bench& bench, std::size_t waiting) {
    const std::string file = bench.folder.fresh("ours");
    {
        const std::vector<RawTask> tasks = raw_tasks(0, waiting);
        RawDatabase database(file, Durability::process);
        RawInsert(database).commit_all(tasks, now_ms());
        database.checkpoint();
    }
    Child child({"memory", file});
    return static_cast<double>(child.hear()) / (1024 * 1024);
}

}  // namespace

void append_idle_rows(std::vector<Row>& rows) {
    const std::string idle = "idle client";
    rows.push_back({idle,
                    {{idle + ", processor", "%", {Budget::Sense::at_most, 0.1}},
                     {idle + ", writes", "bytes", {Budget::Sense::at_most, 0}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        for (int i = 0; i < bench.options.repeats; ++i) {
                            measure_idle_client(bench, results[0], results[1]);
                        }
                    }});
    const std::string memory = "memory, many tasks waiting";
    rows.push_back({memory,
                    {{memory, "MiB more", {Budget::Sense::at_most, 8}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        for (int i = 0; i < bench.options.repeats; ++i) {
                            const double few = memory_with(bench, 1'000);
                            results[0].add(memory_with(bench, 1'000 + bench.options.many()) - few);
                        }
                    }});
}

}  // namespace bench
