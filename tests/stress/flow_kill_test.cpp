// SPDX-License-Identifier: MIT
// Flows whose processes are killed again and again: no step runs again that has returned, each gives what it returned,
// and what `tx` does happens exactly once. BACKLITE_SEED replays the moments of a run.

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>
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

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <patience.hpp>
#include <temp_folder.hpp>

namespace flow_kill_test {

using namespace std::chrono_literals;
using backlite::Flow;
using backlite_test::Harness;
using backlite_test::TempFolder;

constexpr unsigned workers = 2;
constexpr int flows_at_once = 4;
constexpr int tx_every = 50;

struct Long {
    int number = 0;
    int steps = 0;
    using Result = std::int64_t;
    static backlite::QueueConfig config() {
        return {.name = "long", .max_attempts = 1, .retention = backlite::Retention{}, .max_crashes = 50};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Long, number, steps)

enum class What : std::uint64_t { entered, returned };

/// What steps did, in order, by all processes. Eight bytes are appended whole or not at all.
class StepLog {
public:
    explicit StepLog(const std::string& file)
        : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
        if (fd_ < 0) std::abort();
    }
    StepLog(const StepLog&) = delete;
    StepLog& operator=(const StepLog&) = delete;
    ~StepLog() { ::close(fd_); }

    void append(What what, int flow, int step) const {
        const std::uint64_t entry = (static_cast<std::uint64_t>(what) << 60U) |
                                    (static_cast<std::uint64_t>(flow) << 30U) | static_cast<std::uint64_t>(step);
        if (::write(fd_, &entry, sizeof entry) != sizeof entry) std::abort();
    }
    [[nodiscard]] std::vector<std::uint64_t> all() const {
        struct ::stat found {};
        ::fstat(fd_, &found);
        std::vector<std::uint64_t> entries(static_cast<std::size_t>(found.st_size) / sizeof(std::uint64_t));
        const std::size_t bytes = entries.size() * sizeof(std::uint64_t);
        if (::pread(fd_, entries.data(), bytes, 0) != static_cast<ssize_t>(bytes)) std::abort();
        return entries;
    }

private:
    int fd_;
};

[[nodiscard]] std::int64_t value_of(int flow, int step) { return std::int64_t{flow} * 1'000'003 + step; }

backlite::ClientConfig config(const std::string& database) {
    return {.database = database, .num_workers = workers, .durability = backlite::Durability::process};
}

void register_long(backlite::Client& client, const std::string& database, const StepLog& log) {
    client.register_flow<Long>([&log, database](Flow& flow, const Long& task) -> std::int64_t {
        SQLite::Database db(database, SQLite::OPEN_READWRITE, 5'000);
        std::int64_t sum = 0;
        for (int i = 0; i < task.steps; ++i) {
            if (i % tx_every == tx_every - 1) {
                flow.tx("count", db, [&](SQLite::Database& inside) {
                    SQLite::Statement insert(inside, "INSERT INTO effects (flow, step) VALUES (?, ?)");
                    insert.bind(1, task.number);
                    insert.bind(2, i);
                    insert.exec();
                });
                if (i % (10 * tx_every) == 10 * tx_every - 1) flow.sleep("rest", 1ms);
            } else {
                sum += flow.step("add", [&] {
                    log.append(What::entered, task.number, i);
                    return value_of(task.number, i);
                });
                log.append(What::returned, task.number, i);
            }
        }
        return sum;
    });
}

/// A forked process that runs flows until it is killed. REQUIRES: no client and no connection is open in this one.
class Life {
public:
    Life(const std::string& database, const StepLog& log) : pid_(::fork()) {
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ > 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        try {
            backlite::Client client{config(database)};
            register_long(client, database, log);
            client.start();
            for (;;) ::pause();
        } catch (...) {
            ::_exit(1);
        }
    }
    Life(const Life&) = delete;
    Life& operator=(const Life&) = delete;
    ~Life() { static_cast<void>(end()); }

    /// False if it had ended by itself.
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

void play(const char* name, std::size_t processes, std::size_t rounds, int steps) {
    const Harness harness(name, rounds);
    std::mt19937_64 random(harness.seed());
    TempFolder folder;
    const std::string database = folder.file("flows.db");
    const StepLog log(folder.file("steps"));
    std::vector<std::pair<backlite::TaskId, int>> flows;
    const auto add = [&](backlite::Client& client) {
        const int number = static_cast<int>(flows.size());
        flows.emplace_back(client.add(Long{number, steps}).save().front(), number);
    };
    {
        backlite::Client client(config(database));
        SQLite::Database db(database, SQLite::OPEN_READWRITE, 5'000);
        db.exec("CREATE TABLE effects (flow integer, step integer)");
        for (int i = 0; i < flows_at_once; ++i) add(client);
    }
    std::size_t kills = 0;
    {
        std::vector<std::unique_ptr<Life>> lives(processes);
        for (auto& life : lives) life = std::make_unique<Life>(database, log);
        for (std::size_t round = 0; round < harness.rounds(); ++round) {
            std::this_thread::sleep_for(std::chrono::microseconds{5'000 + random() % 60'000});
            auto& life = lives[random() % processes];
            REQUIRE(life->end());
            ++kills;
            life.reset();
            life = std::make_unique<Life>(database, log);
        }
        for (auto& life : lives) REQUIRE(life->end());
    }
    backlite::Client client(config(database));
    register_long(client, database, log);
    client.start();
    for (const auto& [id, number] : flows) {
        const auto until = std::chrono::steady_clock::now() + 10 * backlite_test::patience;
        while (client.status(id) != backlite::TaskStatus::succeeded && std::chrono::steady_clock::now() < until) {
            std::this_thread::sleep_for(1ms);
        }
        REQUIRE(client.status(id) == backlite::TaskStatus::succeeded);
        std::int64_t sum = 0;
        for (int i = 0; i < steps; ++i) {
            if (i % tx_every != tx_every - 1) sum += value_of(number, i);
        }
        CHECK(client.result<Long>(id) == sum);
    }
    SQLite::Database db(database, SQLite::OPEN_READWRITE, 5'000);
    const int per_flow = steps / tx_every;
    CHECK(db.execAndGet("SELECT count(*) FROM effects").getInt() == per_flow * flows_at_once);
    CHECK(db.execAndGet("SELECT count(*) FROM (SELECT DISTINCT flow, step FROM effects)").getInt() ==
          per_flow * flows_at_once);
    CHECK(db.execAndGet("SELECT count(*) FROM backlite_saved").getInt() == 0);
    std::set<std::uint64_t> returned;
    std::size_t entered = 0;
    std::size_t again = 0;
    constexpr std::uint64_t place = (std::uint64_t{1} << 60U) - 1;
    for (const std::uint64_t entry : log.all()) {
        if (entry >> 60U == static_cast<std::uint64_t>(What::returned)) {
            returned.insert(entry & place);
        } else {
            ++entered;
            if (returned.count(entry & place) > 0) ++again;
        }
    }
    fmt::print("  {} kills: {} steps returned, {} entered, {} of them again after they had returned\n", kills,
               returned.size(), entered, again);
    CHECK(again == 0);
    CHECK(returned.size() == static_cast<std::size_t>(flows_at_once) * static_cast<std::size_t>(steps - per_flow));
    CHECK(entered - returned.size() <= kills * workers);  // only what was inside at a kill
}

TEST_CASE("flows: a process that is killed again and again runs no step again that has returned") {
    play("flows: a process", 1, 20, 2'000);
}

TEST_CASE("flows: three processes that are killed in turn run each step of their flows once") {
    play("flows: three processes", 3, 20, 2'000);
}

TEST_CASE("flows: ten thousand steps come through a thousand kills", "[.]") {
    play("flows: ten thousand steps", 3, 1'000, 10'000);
}

}  // namespace flow_kill_test
