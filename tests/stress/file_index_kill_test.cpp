// SPDX-License-Identifier: MIT
// The example file_index, killed at random moments and started again: its index must come out as if nothing had
// happened. The program's name comes from the environment variable BACKLITE_FILE_INDEX, or is compiled in.
// BACKLITE_SEED replays a run's folder and moments.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr std::uint64_t files = 2000;

std::string program() {
    if (const char* named = std::getenv("BACKLITE_FILE_INDEX")) return named;
#ifdef BACKLITE_FILE_INDEX
    return BACKLITE_FILE_INDEX;
#else
    FAIL("set the environment variable BACKLITE_FILE_INDEX to the program examples/file_index");
    return {};
#endif
}

std::uint64_t seed() {
    const char* given = std::getenv("BACKLITE_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    fmt::print("BACKLITE_SEED={}\n", seed);
    return seed;
}

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    std::uint64_t below(std::uint64_t end) { return engine_() % end; }
    std::uint64_t between(std::uint64_t first, std::uint64_t last) { return first + below(last - first + 1); }

private:
    std::mt19937_64 engine_;
};

// A folder with a folder to index in it.
class Folder {
public:
    Folder() { fs::create_directory(content()); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        fs::permissions(content() / "closed", fs::perms::owner_all, ignored);
    }

    [[nodiscard]] fs::path content() const { return folder_.file("content"); }
    [[nodiscard]] std::string file(const char* name) const { return folder_.file(name); }

private:
    backlite_test::TempFolder folder_{};
};

std::string text(Random& random, std::uint64_t number) {
    std::string text = fmt::format("Unique{} ", number);
    for (std::uint64_t words = random.below(150); words > 0; --words) {
        text += fmt::format("{}{}", random.below(5'000), random.below(10) == 0 ? ".\n" : " ");
    }
    return text;
}

// How many of the files cannot be read.
std::uint64_t fill(const fs::path& folder, Random& random) {
    std::uint64_t closed = 0;
    for (std::uint64_t number = 0; number < files; ++number) {
        fs::path place = folder;
        for (std::uint64_t depth = random.below(4); depth > 0; --depth) place /= fmt::format("d{}", random.below(8));
        fs::create_directories(place);
        // Not UTF-8, not one line, not visible: a file name may be all that.
        const std::array<const char*, 5> names{"plain", "sp ace", "\xfe\xff", "two\nlines", ".hidden"};
        const fs::path file = place / fmt::format("{}{}.txt", names[number % 50 < 5 ? number % 5 : 0], number);
        std::string content = text(random, number);
        if (number % 20 == 7) content += std::string("\0\1\2", 3);
        if (number % 20 == 8) content += "caf\xe9 na\xefve";  // Latin-1
        if (number % 20 == 9) content.clear();
        std::ofstream(file, std::ios::binary) << content;
        if (number % 200 == 50) {
            fs::permissions(file, fs::perms::none);
            ++closed;
        }
    }
    fs::create_directory_symlink(folder, folder / "loop");
    fs::create_symlink("/etc/passwd", folder / "link");
    if (::mkfifo((folder / "pipe").c_str(), 0600) != 0) std::abort();
    fs::create_directory(folder / "closed");
    std::ofstream(folder / "closed" / "unseen") << "unseen";
    fs::permissions(folder / "closed", fs::perms::none);
    return closed;
}

// A run of the program, killed at the latest when it goes.
class Run {
public:
    Run(const Folder& folder, const std::string& database, const std::string& workers) : log_(folder.file("log")) {
        const std::string name = program();
        const std::string content = folder.content().string();
        const std::array<const char*, 7> arguments{name.c_str(), content.c_str(), "--database", database.c_str(),
                                                   "--workers",  workers.c_str(), nullptr};
        const int output = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        pid_ = ::fork();
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ == 0) {
            // So that root, too, meets files that cannot be read. Fails for others, who do without.
            ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
            ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
            ::dup2(output, STDOUT_FILENO);
            ::dup2(output, STDERR_FILENO);
            ::execv(name.c_str(), const_cast<char* const*>(arguments.data()));
            ::_exit(127);
        }
        ::close(output);
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        static_cast<void>(wait());
    }

    void send(int signal) const { ::kill(pid_, signal); }

    // As waitpid reports it.
    [[nodiscard]] int wait() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = 0;
        return status;
    }
    [[nodiscard]] int exit_code() {
        const int status = wait();
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    [[nodiscard]] std::string output() const {
        std::ifstream in(log_);
        return {std::istreambuf_iterator<char>(in), {}};
    }

private:
    std::string log_;
    pid_t pid_ = 0;
};

struct Standing {
    std::uint64_t recorded = 0;
    std::uint64_t indexed = 0;
    std::uint64_t tasks = 0;
    std::uint64_t claimed = 0;

    [[nodiscard]] bool at_the_end() const { return recorded >= files && tasks == 0; }
};

// Looks at the database without leaving a trace on it: what a kill leaves behind is for the next run to mend.
class Observer {
public:
    explicit Observer(const std::string& database) : database_(database, SQLite::OPEN_READONLY, 5'000) {
        sqlite3_db_config(database_.getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    }

    [[nodiscard]] Standing look() {
        SQLite::Statement select(database_,
                                 "SELECT (SELECT count(*) FROM files), (SELECT count(size) FROM files), "
                                 "(SELECT count(*) FROM backlite_tasks), "
                                 "(SELECT count(*) FROM backlite_tasks WHERE claimed_at IS NOT NULL)");
        select.executeStep();
        const auto number = [&select](int column) {
            return static_cast<std::uint64_t>(select.getColumn(column).getInt64());
        };
        return {number(0), number(1), number(2), number(3)};
    }

    // Once the program has made its tables; before that, nullopt.
    [[nodiscard]] static std::optional<Observer> open(const std::string& database) {
        if (!fs::exists(database + "-wal")) return std::nullopt;  // readers are in each other's way until then
        try {
            std::optional<Observer> observer(std::in_place, database);
            static_cast<void>(observer->look());
            return observer;
        } catch (const SQLite::Exception&) {
            return std::nullopt;
        }
    }

private:
    SQLite::Database database_;
};

// Sends a signal as soon as `reached` says so, and returns how far the program was when it had ended.
Standing interrupt(Run& run, const std::string& database, int signal,
                   const std::function<bool(const Standing&)>& reached) {
    const auto until = Steady::now() + 30s;
    std::optional<Observer> observer;
    while (!(observer = Observer::open(database)) && Steady::now() < until) std::this_thread::sleep_for(1ms);
    while (observer && !reached(observer->look()) && Steady::now() < until) std::this_thread::sleep_for(1ms);
    run.send(signal);
    const int status = run.wait();
    INFO(run.output());
    REQUIRE(observer.has_value());
    if (signal == SIGKILL) {
        REQUIRE(WIFSIGNALED(status));
        REQUIRE(WTERMSIG(status) == SIGKILL);
    } else {
        REQUIRE(WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) == 128 + signal);
    }
    return observer->look();
}

void run_to_the_end(const Folder& folder, const std::string& database) {
    Run run(folder, database, "2");
    const int code = run.exit_code();
    INFO(run.output());
    REQUIRE(code == 0);
}

// The finished index, in an order that does not depend on how it came about.
std::vector<std::string> rows(const std::string& file) {
    SQLite::Database database(file, SQLite::OPEN_READWRITE, 5'000);
    // Throws unless the full text index holds the words of its rows, and no others.
    database.exec("INSERT INTO words (words) VALUES ('integrity-check')");
    CHECK(database.execAndGet("SELECT count(*) FROM backlite_tasks").getInt64() == 0);
    CHECK(database.execAndGet("SELECT count(*) FROM words WHERE rowid NOT IN (SELECT id FROM files)").getInt64() == 0);
    CHECK(database.execAndGet("PRAGMA integrity_check").getString() == "ok");
    SQLite::Statement select(database,
                             "SELECT files.path, size, mtime_ns, note, task IS NULL, words.path, content, "
                             "(SELECT error FROM backlite_tasks_completed WHERE id = files.task) "
                             "FROM files LEFT JOIN words ON words.rowid = files.id ORDER BY files.path");
    std::vector<std::string> rows;
    while (select.executeStep()) {
        std::string row;
        for (int column = 0; column < select.getColumnCount(); ++column) {
            row += select.isColumnNull(column) ? "NULL" : select.getColumn(column).getString();
            row += '|';
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

TEST_CASE("file_index: killed five times, it makes the same index as in a single run") {
    Random random(seed());
    const Folder folder;
    const std::uint64_t closed = fill(folder.content(), random);

    const std::string single = folder.file("single.db");
    run_to_the_end(folder, single);
    const std::vector<std::string> expected = rows(single);
    CHECK(expected.size() == files);
    CHECK(static_cast<std::uint64_t>(std::count_if(expected.begin(), expected.end(), [](const std::string& row) {
              return row.find("Permission denied") != std::string::npos;
          })) == closed);

    // The first kill comes while files are being recorded, the others while they are being indexed.
    const std::string killed = folder.file("killed.db");
    const std::uint64_t recorded = random.between(1, files * 9 / 10);
    std::array<std::uint64_t, 4> indexed{};
    for (std::uint64_t& target : indexed) target = random.between(files / 20, files * 3 / 5);
    std::sort(indexed.begin(), indexed.end());
    for (std::size_t kill = 0; kill < 5; ++kill) {
        Run run(folder, killed, std::to_string(random.between(1, 4)));
        const Standing standing = interrupt(run, killed, SIGKILL, [&](const Standing& now) {
            return kill == 0 ? now.recorded >= recorded : now.indexed >= indexed[kill - 1];
        });
        fmt::print("kill {}: {} of {} files recorded, {} indexed; {} tasks left, {} of them claimed\n", kill + 1,
                   standing.recorded, files, standing.indexed, standing.tasks, standing.claimed);
        CHECK_FALSE(standing.at_the_end());
    }
    run_to_the_end(folder, killed);

    const std::vector<std::string> found = rows(killed);
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) REQUIRE(found[i] == expected[i]);
}

TEST_CASE("file_index: Ctrl-C gives all claims back and ends with 130, and the next run goes on") {
    Random random(seed());
    const Folder folder;
    fill(folder.content(), random);
    const std::string database = folder.file("index.db");
    const std::uint64_t target = random.between(1, files / 2);
    {
        Run run(folder, database, "2");
        const Standing standing =
            interrupt(run, database, SIGINT, [&](const Standing& now) { return now.indexed >= target; });
        fmt::print("Ctrl-C: {} of {} files recorded, {} indexed; {} tasks left\n", standing.recorded, files,
                   standing.indexed, standing.tasks);
        CHECK_FALSE(standing.at_the_end());
        CHECK(standing.claimed == 0);
    }
    run_to_the_end(folder, database);
    CHECK(rows(database).size() == files);
}

}  // namespace
