// SPDX-License-Identifier: MIT
// backlite_bench: the library against its budgets.
//
//   cmake -S . -B build -D BACKLITE_BUILD_BENCH=ON && cmake --build build --target backlite_bench
//   build/tests/bench/backlite_bench                      all rows, some minutes
//   build/tests/bench/backlite_bench --rows 'add.*full' --repeats 9
//   build/tests/bench/backlite_bench --help
//
// Each row measures the library and a raw sqlite3 loop in turn, on new files with the same schema, durability and
// payloads; dirty pages are written out before each timing, and who goes first alternates. What counts is the median of
// the ratios. Each row also proves that every task ran exactly once and left nothing behind.

#include <cstdio>
#include <exception>
#include <regex>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "children.hpp"
#include "files.hpp"
#include "options.hpp"
#include "report.hpp"
#include "rows.hpp"
#include "workload.hpp"

namespace {

std::vector<bench::Row> chosen_rows(const bench::Options& options) {
    std::vector<bench::Row> rows = bench::all_rows();
    if (!options.rows.empty()) {
        const std::regex wanted(options.rows);
        std::erase_if(rows, [&](const bench::Row& row) { return !std::regex_search(row.name, wanted); });
    }
    if (rows.empty()) throw std::invalid_argument(fmt::format("no row matches \"{}\"; see --list", options.rows));
    return rows;
}

/// Whether everything was right.
bool measure(const bench::Options& options, std::vector<bench::Row> rows) {
    const bench::Folder folder(options.folder);
    if (folder.in_memory()) fmt::print("Note: {} is in memory; commits cost nothing there.\n", folder.path());
    if (const std::string noise = bench::noise(); !noise.empty()) fmt::print("Note: {}.\n", noise);
    bench::print_heading();
    const bench::Bench bench{options, folder};
    std::vector<bench::Result> results;
    bool good = true;
    for (bench::Row& row : rows) {
        std::string incorrect;
        try {
            row.measure(bench, row.results);
        } catch (const std::exception& error) {
            incorrect = error.what();
        }
        for (bench::Result& result : row.results) {
            result.incorrect = incorrect;
            bench::print(result);
            const bench::Verdict verdict = bench::verdict(result);
            good = good && (verdict == bench::Verdict::ok || verdict == bench::Verdict::below);
            results.push_back(std::move(result));
        }
    }
    bench::print_chart(results);
    if (!options.json.empty()) bench::write_json(options.json, options, results);
    return good;
}

}  // namespace

int main(int count, char** values) {
    const std::vector<std::string_view> arguments(values + 1, values + count);
    try {
        if (const auto status = bench::run_child(arguments)) return *status;
        const bench::Options options = bench::parse_options(arguments);
        if (options.help) {
            fmt::print("{}", bench::usage());
            return 0;
        }
        std::vector<bench::Row> rows = chosen_rows(options);
        if (options.list) {
            for (const bench::Row& row : rows) fmt::print("{}\n", row.name);
            return 0;
        }
        return measure(options, std::move(rows)) ? 0 : 1;
    } catch (const std::exception& error) {
        fmt::print(stderr, "backlite_bench: {}\n", error.what());
        return 2;
    }
}
