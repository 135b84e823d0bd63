// SPDX-License-Identifier: MIT
// What the library adds to the time of a compilation, as a ratio to what its packages take alone.

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
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

/// Seconds that the compiler works on this text. Processor time: a compiler waits for nothing but its files, and the
/// clock on the wall would count what else the machine does.
double compile(const Bench& bench, std::string_view text, std::string_view options) {
    const std::string file = bench.folder.path() + "/unit.cpp";
    std::ofstream(file) << text;
    std::string command = fmt::format(BENCH_COMPILER " -std=c++20 {} '{}'", options, file);
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

constexpr std::string_view separate = " -D BACKLITE_SEPARATE_COMPILATION";

constexpr std::string_view packages =
    "#include <SQLiteCpp/SQLiteCpp.h>\n#include <fmt/format.h>\n#include <nlohmann/json.hpp>\n";

constexpr std::string_view types = R"(
struct A { std::string to; int n = 0; CONFIG("a") };
struct B { std::string to; int n = 0; CONFIG("b") };
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(A, to, n)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(B, to, n)
)";

/// Two types that are written to JSON and read again, without the library.
std::string without_library() {
    return fmt::format("{}#define CONFIG(name)\n{}{}", packages, types, R"(
int main() {
    const nlohmann::json a = A{"x", 1}, b = B{"y", 2};
    return a.dump() == b.dump() ? a.get<A>().n : b.get<B>().n;
}
)");
}

/// A client with two queues.
std::string with_library() {
    return fmt::format(
        "#include <backlite/backlite.hpp>\n"
        "#define CONFIG(text) static backlite::QueueConfig config() {{ return {{.name = text}}; }}\n{}{}",
        types, R"(
int main() {
    backlite::Client client{{.database = "x.db"}};
    client.register_queue<A>([](backlite::Context&, const A&) {});
    client.register_queue<B>([](const B&) {});
    client.start();
    client.add(A{"x", 1}, B{"y", 2}).save();
    return client.stop(std::chrono::seconds{1}) ? 0 : 1;
}
)");
}

Row row(const std::string& name, std::string ours, std::string others, const std::string& options, double header_only,
        double compiled_once) {
    const auto at_most = [](double ratio) { return Budget{Budget::Sense::at_most, ratio}; };
    return {name,
            {{name + ", header-only", "s", at_most(header_only)}, {name + ", separate", "s", at_most(compiled_once)}},
            [=](const Bench& bench, std::vector<Result>& results) {
                compile(bench, ours, options);  // reads the headers into the page cache
                for (int i = 0; i < bench.options.repeats; ++i) {
                    const double all = compile(bench, ours, options);
                    const double theirs = compile(bench, others, options);
                    results[0].add(all, theirs);
                    results[1].add(compile(bench, ours, options + std::string{separate}), theirs);
                }
            }};
}

}  // namespace

void append_compile_rows(std::vector<Row>& rows) {
    rows.push_back(row("include of backlite.hpp", "#include <backlite/backlite.hpp>\n", std::string{packages},
                       "-fsyntax-only", 2.4, 1.45));
    for (const auto& [optimised, header_only, compiled_once] : {std::tuple{"-O0", 3.1, 1.5}, {"-O2", 4.0, 1.7}}) {
        rows.push_back(row(fmt::format("a file with a client and two queues, {}", optimised), with_library(),
                           without_library(), fmt::format("{} -c -o /dev/null", optimised), header_only,
                           compiled_once));
    }
}

}  // namespace bench
