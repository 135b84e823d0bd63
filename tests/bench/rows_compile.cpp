// SPDX-License-Identifier: MIT
// What the umbrella header adds to the time of a compilation.

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "rows.hpp"

namespace bench {

namespace {

/// Processor time of all children that have ended, in seconds.
double children_seconds() {
    ::rusage used{};
    ::getrusage(RUSAGE_CHILDREN, &used);
    const auto seconds = [](const ::timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// Seconds that the compiler works on a file that only includes these headers. Processor time: a compiler waits for
/// nothing but its files, and the clock on the wall would count what else the machine does.
double compile(const Bench& bench, std::string_view includes) {
    const std::string file = bench.folder.path() + "/unit.cpp";
    std::ofstream(file) << includes;
    std::string command = BENCH_COMPILER " -std=c++20 -fsyntax-only '" + file + "'";
    std::string_view folders = BENCH_FOLDERS;
    while (!folders.empty()) {
        const std::string_view folder = folders.substr(0, folders.find(':'));
        folders.remove_prefix(folder.size() < folders.size() ? folder.size() + 1 : folder.size());
        if (!folder.empty()) command += fmt::format(" '-I{}'", folder);
    }
    const double before = children_seconds();
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
    return children_seconds() - before;
}

}  // namespace

void append_compile_rows(std::vector<Row>& rows) {
    const std::string name = "include of backlite.hpp";
    rows.push_back({name,
                    {{name, "s more", {Budget::Sense::at_most, 0.35}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        const std::string_view packages =
                            "#include <SQLiteCpp/SQLiteCpp.h>\n#include <fmt/format.h>\n#include <nlohmann/json.hpp>\n";
                        const std::string_view library = "#include <backlite/backlite.hpp>\n";
                        compile(bench, library);  // reads the headers into the page cache
                        for (int i = 0; i < bench.options.repeats; ++i) {
                            const double own = compile(bench, library);
                            results[0].add(own - compile(bench, packages));
                        }
                    }});
}

}  // namespace bench
