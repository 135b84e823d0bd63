// SPDX-License-Identifier: MIT
// Tasks that are claimed ahead of the workers, and a process that is killed again and again: nothing is lost, nothing
// is spent, and only what was running runs twice. BACKLITE_SEED replays the moments of a run.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::store::sqlite::OwnerLock;
using backlite::store::sqlite::RecordState;
using backlite::store::sqlite::RecordView;
using backlite_test::Harness;
using backlite_test::Moments;
using Steady = std::chrono::steady_clock;

constexpr std::uint64_t tasks_per_life = 1'000;  // a process that was not killed by then runs no more of them
constexpr unsigned workers = 3;

struct Small {
    std::uint64_t number = 0;
    // One failure is one too many. Crashes are not what this is about: however many kills hit a task, it runs again.
    static backlite::QueueConfig config() { return {.name = "small", .max_attempts = 1, .max_crashes = 1'000}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Small, number)

// Which tasks were entered, in order, by all processes. A number of eight bytes is appended whole or not at all: it
// lies on one page, and a kill breaks a write off between pages.
class RunLog {
public:
    explicit RunLog(const std::string& file)
        : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
        if (fd_ < 0) std::abort();
    }
    RunLog(const RunLog&) = delete;
    RunLog& operator=(const RunLog&) = delete;
    ~RunLog() { ::close(fd_); }

    void append(std::uint64_t number) const {
        if (::write(fd_, &number, sizeof number) != sizeof number) std::abort();
    }
    [[nodiscard]] std::size_t size() const {
        struct ::stat found {};
        ::fstat(fd_, &found);
        return static_cast<std::size_t>(found.st_size) / sizeof(std::uint64_t);
    }
    [[nodiscard]] std::vector<std::uint64_t> from(std::size_t first) const {
        std::vector<std::uint64_t> numbers(size() - first);
        const std::size_t bytes = numbers.size() * sizeof(std::uint64_t);
        const auto offset = static_cast<off_t>(first * sizeof(std::uint64_t));
        if (::pread(fd_, numbers.data(), bytes, offset) != static_cast<ssize_t>(bytes)) std::abort();
        return numbers;
    }

private:
    int fd_;
};

// Some microseconds of work, so that a kill finds tasks that wait for a worker as often as such that are done.
void work(const RunLog& log, const Small& task) {
    log.append(task.number);
    const auto until = Steady::now() + std::chrono::microseconds{task.number % 200};
    while (Steady::now() < until) {
    }
}

backlite::ClientConfig config(const std::string& database) {
    return {.database = database, .num_workers = workers, .durability = backlite::Durability::process};
}

// A forked process that runs tasks until it is killed. REQUIRES: no client and no connection is open in this one.
class Life {
public:
    Life(const std::string& database, const RunLog& log) : pid_(::fork()) {
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ > 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        try {
            std::atomic<std::uint64_t> entered{0};
            backlite::Client client{config(database)};
            client.register_queue<Small>([&](const Small& task) {
                work(log, task);
                while (entered.fetch_add(1) >= tasks_per_life) ::pause();
            });
            client.start();
            for (;;) ::pause();
        } catch (...) {
            ::_exit(1);
        }
    }
    Life(const Life&) = delete;
    Life& operator=(const Life&) = delete;
    ~Life() { static_cast<void>(end()); }

    // False if it had ended by itself.
    [[nodiscard]] bool end() {
        if (pid_ <= 0) return false;
        ::kill(pid_, SIGKILL);
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = 0;
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }

private:
    pid_t pid_;
};

struct Row {
    std::string id{};
    std::uint64_t claim = 0;
    bool claimed = false;
    std::int64_t attempts = 0;
    std::int64_t crashes = 0;
};

// What a dead process has left.
struct Remains {
    std::vector<Row> rows{};
    std::vector<RecordView> records{};
    std::int64_t clients = 0;
    std::int64_t completed = 0;
};

Remains look(const std::string& file) {
    Remains remains;
    SQLite::Database database(file, SQLite::OPEN_READWRITE, 5'000);
    // What is in the log stays there: mending it is the next process's business.
    sqlite3_db_config(database.getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    SQLite::Statement rows(database, "SELECT id, claim, claimed_at IS NOT NULL, attempts, crashes FROM backlite_tasks");
    while (rows.executeStep()) {
        remains.rows.push_back({rows.getColumn(0).getString(), static_cast<std::uint64_t>(rows.getColumn(1).getInt64()),
                                rows.getColumn(2).getInt() != 0, rows.getColumn(3).getInt64(),
                                rows.getColumn(4).getInt64()});
    }
    SQLite::Statement clients(database, "SELECT slot, workers FROM backlite_clients");
    while (clients.executeStep()) {
        ++remains.clients;
        remains.records = OwnerLock(file).read_records(static_cast<unsigned>(clients.getColumn(0).getInt()),
                                                       static_cast<unsigned>(clients.getColumn(1).getInt()));
    }
    remains.completed = database.execAndGet("SELECT count(*) FROM backlite_tasks_completed").getInt64();
    return remains;
}

// Where the claimed tasks of one process stood when it was killed.
struct InFlight {
    std::size_t ahead = 0;     // no processor had been called
    std::size_t inside = 0;    // in the processor
    std::size_t returned = 0;  // out of it, the outcome not committed

    [[nodiscard]] std::size_t claimed() const { return ahead + inside + returned; }
};

void print_histogram(const std::vector<InFlight>& rounds) {
    const auto line = [&](const char* name, std::size_t InFlight::*count) {
        constexpr std::array<std::size_t, 7> least{0, 1, 2, 4, 16, 64, 256};
        std::array<std::size_t, 7> bars{};
        for (const InFlight& round : rounds) {
            const auto above = std::upper_bound(least.begin(), least.end(), round.*count);
            ++bars[static_cast<std::size_t>(above - least.begin()) - 1];
        }
        fmt::print("{:<8} {:>5}\n", name, fmt::join(bars, " "));
    };
    fmt::print("kills by the number of tasks in flight:\n             0     1     2    4+   16+   64+  256+\n");
    line("ahead", &InFlight::ahead);
    line("inside", &InFlight::inside);
    line("returned", &InFlight::returned);
}

TEST_CASE("claiming ahead: kills lose no task, spend no attempt, and repeat only what had been entered") {
    const Harness harness("claiming ahead", 20);
    std::mt19937_64 random(harness.seed());
    const backlite_test::TempFolder folder;
    const std::string database = folder.file("app.db");
    const RunLog log(folder.file("log"));
    std::unordered_map<std::string, std::uint64_t> numbers;
    std::vector<std::uint64_t> runs;
    std::vector<std::uint64_t> may_repeat;  // how often a kill found it entered and not reported
    std::vector<std::int64_t> crashes;      // how often a kill found it inside
    const auto add = [&](std::uint64_t count) {
        std::vector<Small> more(count);
        for (std::uint64_t i = 0; i < count; ++i) more[i].number = runs.size() + i;
        backlite::Client client{config(database)};
        const std::vector<backlite::TaskId> ids = client.add(more).save();
        for (std::uint64_t i = 0; i < count; ++i) numbers[ids[i].str()] = more[i].number;
        runs.resize(runs.size() + count);
        may_repeat.resize(runs.size());
        crashes.resize(runs.size());
    };
    add(tasks_per_life);
    Moments moments(harness, {"a task was claimed", "a task was claimed ahead"});
    std::vector<InFlight> rounds;
    for (std::size_t kill = 0; moments.wants(kill); ++kill) {
        add(tasks_per_life);
        const std::size_t before = log.size();
        const std::size_t target = before + 1 + random() % 700;
        const std::chrono::microseconds more{random() % 3'000};
        {
            Life life(database, log);
            const auto until = Steady::now() + 30s;
            while (log.size() < target && Steady::now() < until) std::this_thread::sleep_for(100us);
            std::this_thread::sleep_for(more);
            REQUIRE(life.end());
        }
        REQUIRE(log.size() >= target);

        const Remains remains = look(database);
        CHECK(remains.clients == 1);
        CHECK(remains.completed == 0);  // failed tasks would be kept
        std::unordered_set<std::uint64_t> entered;
        for (const std::uint64_t number : log.from(before)) {
            ++runs[number];
            entered.insert(number);
        }
        InFlight in_flight;
        std::vector<bool> left(runs.size(), false);
        for (const Row& row : remains.rows) {
            const std::uint64_t number = numbers.at(row.id);
            left[number] = true;
            REQUIRE(row.attempts == 0);
            REQUIRE(row.crashes == crashes[number]);
            if (!row.claimed) continue;
            const RecordView inside{row.claim, backlite::store::sqlite::hash_id(row.id), RecordState::inside};
            const bool is_inside =
                std::find(remains.records.begin(), remains.records.end(), inside) != remains.records.end();
            if (is_inside) {
                ++in_flight.inside;
                ++crashes[number];
            } else if (entered.count(number) != 0) {
                ++in_flight.returned;
            } else {
                ++in_flight.ahead;
            }
            if (is_inside || entered.count(number) != 0) ++may_repeat[number];
        }
        for (std::uint64_t number = 0; number < runs.size(); ++number) {
            if (!left[number]) REQUIRE(runs[number] > 0);
        }
        fmt::print("kill {:>2}: {:>4} tasks entered, {:>3} claimed: {:>3} ahead, {} inside, {:>3} returned\n", kill + 1,
                   entered.size(), in_flight.claimed(), in_flight.ahead, in_flight.inside, in_flight.returned);
        rounds.push_back(in_flight);
        moments.met({in_flight.claimed(), in_flight.ahead});
    }
    print_histogram(rounds);
    moments.check();

    const std::size_t before = log.size();
    {
        backlite::Client client{config(database)};
        client.register_queue<Small>([&log](const Small& task) { work(log, task); });
        client.start();
        while (!client.counts().empty()) std::this_thread::sleep_for(5ms);  // the test's own timeout is the limit
        CHECK(client.stop(1h));
    }
    const Remains remains = look(database);
    CHECK(remains.rows.empty());
    CHECK(remains.completed == 0);
    std::uint64_t repeats = 0;
    for (const std::uint64_t number : log.from(before)) ++runs[number];
    for (std::uint64_t number = 0; number < runs.size(); ++number) {
        REQUIRE(runs[number] >= 1);
        REQUIRE(runs[number] <= 1 + may_repeat[number]);
        repeats += runs[number] - 1;
    }
    fmt::print("{} tasks, {} runs more than once\n", runs.size(), repeats);
}

}  // namespace
