// SPDX-License-Identifier: MIT
// Indexes the words of all files in a folder, in the background and in the same SQLite file that holds the tasks.
// It may be stopped, killed or unplugged at any time: started again, it goes on where it was.

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <pthread.h>
#include <ctime>

#include <fmt/format.h>
#include <backlite/backlite.hpp>

#include "index.hpp"
#include "pages.hpp"
#include "progress.hpp"
#include "task.hpp"
#include "text.hpp"
#include "walk.hpp"

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using namespace file_index;

constexpr const char* usage =
    "usage: file_index [FOLDER] [--database FILE] [--workers N] [--dashboard PORT]\n"
    "                                                             index the files of a folder\n"
    "       file_index --search WORD [--database FILE]            find the files that hold a word (WORD* for its "
    "start)\n"
    "FOLDER is /usr/share/doc, or /usr/include where that has few files; FILE is file_index.db.\n"
    "--dashboard shows the tasks in a browser of this machine, until the program is interrupted; 0 is any free port.\n";

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Options {
    std::string folder{};
    std::string database = "file_index.db";
    unsigned workers = backlite::default_workers();
    std::optional<int> dashboard{};  // a port
    std::string query{};
    bool search = false;
    bool help = false;
};

int parse_number(std::string_view option, std::string_view text, int least, int most) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < least || number > most) {
        throw UsageError(fmt::format("{} takes a number from {} to {}, not \"{}\"", option, least, most, text));
    }
    return number;
}

Options parse(std::span<char*> arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view argument = arguments[i];
        const auto value = [&]() -> std::string {
            if (i + 1 == arguments.size()) throw UsageError(fmt::format("{} needs a value", argument));
            return arguments[++i];
        };
        if (argument == "--help" || argument == "-h") {
            options.help = true;
        } else if (argument == "--database") {
            options.database = value();
        } else if (argument == "--workers") {
            options.workers = static_cast<unsigned>(parse_number(argument, value(), 1, 1024));
        } else if (argument == "--dashboard") {
            options.dashboard = parse_number(argument, value(), 0, 65535);
        } else if (argument == "--search") {
            options.query = value();
            options.search = true;
        } else if (argument.empty() || argument.front() == '-' || !options.folder.empty()) {
            throw UsageError(fmt::format("\"{}\" is too much", argument));
        } else {
            options.folder = argument;
        }
    }
    if (options.search && !options.folder.empty()) throw UsageError("a search takes no folder");
    if (options.search && options.dashboard) throw UsageError("a search has no dashboard");
    return options;
}

bool has_many_files(const std::string& folder) {
    std::error_code error;
    int count = 0;
    fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error);
    for (const fs::recursive_directory_iterator end; !error && at != end && count < 1000; at.increment(error)) ++count;
    return count == 1000;
}

std::string resolve_folder(const std::string& named) {
    std::string folder = named;
    if (folder.empty()) {
        folder = "/usr/share/doc";
        if (!has_many_files(folder) && fs::is_directory("/usr/include")) folder = "/usr/include";
    }
    std::error_code error;
    const fs::path resolved = fs::canonical(folder, error);
    if (error) throw UsageError(fmt::format("{}: {}", folder, error.message()));
    if (!fs::is_directory(resolved)) throw UsageError(fmt::format("{} is no folder", folder));
    return resolved.native();
}

/// Takes SIGINT and SIGTERM out of all threads that start later, so that they come when this thread asks for them.
class StopSignals {
public:
    StopSignals() {
        sigemptyset(&set_);
        sigaddset(&set_, SIGINT);
        sigaddset(&set_, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    }
    /// The signal that came within `patience`; 0: none.
    [[nodiscard]] int wait(std::chrono::milliseconds patience) const {
        const timespec time{patience.count() / 1000, patience.count() % 1000 * 1'000'000};
        const int signal = sigtimedwait(&set_, nullptr, &time);
        return signal > 0 ? signal : 0;
    }

private:
    sigset_t set_{};
};

std::uint64_t tasks_left(backlite::Client& client) {
    std::uint64_t left = 0;
    for (const backlite::QueueCounts& queue : client.counts()) {
        if (queue.queue == IndexFile::config().name) left += queue.waiting + queue.scheduled + queue.running;
    }
    return left;
}

void report(Index& index, const Walk& walk, std::uint64_t done, double seconds) {
    const IndexTotals totals = index.totals();
    std::vector<Problem> problems = index.problems();
    problems.insert(problems.end(), walk.problems().begin(), walk.problems().end());
    fmt::print("{} files read in {:.1f} s ({:.0f}/s), {} unchanged, {} vanished\n", done, seconds,
               static_cast<double>(done) / seconds, walk.found() > done ? walk.found() - done : 0, walk.removed());
    fmt::print("the index has {} files; {} are binary and found by name only", totals.files, totals.binary);
    if (totals.shortened > 0) fmt::print(", {} by their first 4 MiB", totals.shortened);
    fmt::print("\n");
    if (!problems.empty()) fmt::print("{} could not be read:\n", problems.size());
    for (const Problem& problem : problems) fmt::print("  {}: {}\n", printable(problem.path), problem.reason);
}

int run_index(const Options& options) {
    const std::string folder = resolve_folder(options.folder);
    const StopSignals signals;  // before there is any thread

    std::atomic<bool> broken{false};
    backlite::Client client{{
        .database = options.database,
        .num_workers = options.workers,
        // A power cut may take back the last commits, of tasks and of what they wrote alike: the next run finds out.
        .durability = backlite::Durability::process,
        .busy_timeout = 30s,
        .on_fatal =
            [&](const backlite::Error& error) {
                fmt::print(stderr, "file_index: {}\n", error.what());
                broken = true;
            },
    }};
    Index::install(options.database);
    client.register_queue<IndexFile>([&options](backlite::Context& context, const IndexFile& task) {
        thread_local Index index(options.database);  // a connection for each worker
        return index_file(index, context, task);
    });

    std::optional<Pages> pages;
    if (options.dashboard) {
        pages.emplace(client, *options.dashboard);
        fmt::print("the tasks are shown at {}\n", pages->address());
    }
    const std::uint64_t from_earlier = tasks_left(client);
    fmt::print("indexing {} into {}\n", printable(folder), printable(options.database));
    if (from_earlier > 0) fmt::print("{} files are left from an earlier run\n", from_earlier);
    std::fflush(stdout);

    Progress progress;
    client.start();
    Walk walk(client, options.database, folder);
    int signal = 0;
    State state;
    do {
        signal = signals.wait(state.walking ? 50ms : 200ms);
        state.walking = !walk.finished();  // before the counts: what is left then is all
        state.found = walk.found();
        state.tasks = from_earlier + walk.added();
        state.left = tasks_left(client);
        progress.show(state);
    } while (signal == 0 && !broken && (state.walking || state.left > 0));
    const double seconds = progress.seconds();
    progress.end();

    walk.stop();
    if (pages && signal == 0 && !broken) {
        fmt::print("all is done; the tasks are shown until this is interrupted\n");
        std::fflush(stdout);
        while (signals.wait(1s) == 0 && !broken) {
        }
    }
    client.stop(5s);
    if (broken) return 1;
    if (signal != 0) {
        fmt::print("stopped; {} files are left for the next run\n", tasks_left(client));
        return 128 + signal;
    }
    Index index(options.database);
    report(index, walk, state.tasks, seconds);
    return 0;
}

int run_search(const Options& options) {
    if (!fs::exists(options.database)) throw UsageError(fmt::format("{}: there is no index yet", options.database));
    const auto start = std::chrono::steady_clock::now();
    const SearchResult result = search(options.database, options.query, 20);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    for (const std::string& path : result.paths) fmt::print("{}\n", printable(path));
    fmt::print("{} of {} files with \"{}\", found in {:.1f} ms\n", result.paths.size(), result.total, options.query,
               time.count());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const Options options = parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
        if (options.help) {
            fmt::print("{}", usage);
            return 0;
        }
        return options.search ? run_search(options) : run_index(options);
    } catch (const UsageError& error) {
        fmt::print(stderr, "file_index: {}\n{}", error.what(), usage);
        return 2;
    } catch (const std::exception& error) {
        fmt::print(stderr, "file_index: {}\n", error.what());
        return 1;
    }
}
