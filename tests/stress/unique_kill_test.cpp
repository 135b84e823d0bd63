// SPDX-License-Identifier: MIT
// Unique tasks of each kind while the processes that run them are killed or stopped again and again: keys are never
// doubled, and nothing that was added last is lost.
// BACKLITE_ROUNDS: how many kills and stops. BACKLITE_SEED replays the choices of a run.

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <forked.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

namespace unique_kill_test {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::Conflict;
using backlite::Unique;
using backlite::UniqueUntil;
using backlite_test::Forked;
using backlite_test::Harness;
using backlite_test::TempFolder;

constexpr std::array<Unique, 3> rules{{{.conflict = Conflict::latest},
                                       {.conflict = Conflict::keep, .until = UniqueUntil::started},
                                       {.conflict = Conflict::keep}}};
constexpr std::uint32_t latest = 0, started = 1;
constexpr std::uint64_t keys = 6;

enum class What : std::uint32_t { adds, entered, left, ends, wrong };

struct Entry {
    What what{};
    std::uint32_t queue = 0;
    std::uint64_t key = 0;
    std::uint64_t revision = 0;
    std::int64_t process = 0;
};

// What all processes have done, in the order in which they wrote it. An entry is appended whole or not at all.
class Record {
public:
    explicit Record(const std::string& file)
        : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
        if (fd_ < 0) std::abort();
    }
    Record(const Record&) = delete;
    Record& operator=(const Record&) = delete;
    ~Record() { ::close(fd_); }

    void append(What what, std::uint32_t queue, std::uint64_t key, std::uint64_t revision,
                std::int64_t process = ::getpid()) const {
        const std::array<Entry, 1> entry{{{what, queue, key, revision, process}}};
        if (::write(fd_, entry.data(), sizeof entry) != sizeof entry) std::abort();
    }
    [[nodiscard]] std::vector<Entry> all() const {
        std::vector<Entry> entries;
        Entry entry;
        constexpr auto size = static_cast<off_t>(sizeof entry);
        for (off_t at = 0; ::pread(fd_, &entry, sizeof entry, at) == size; at += size) entries.push_back(entry);
        return entries;
    }

private:
    int fd_;
};

template <std::uint32_t Q>
struct Job {
    std::uint64_t key = 0;
    std::uint64_t revision = 0;
    [[nodiscard]] std::string unique_key() const { return std::to_string(key); }
    static backlite::QueueConfig config() {
        return {.name = fmt::format("queue {}", Q),
                .max_attempts = 100'000,
                .backoff = 1ms,
                .max_crashes = 100'000,
                .unique = rules[Q]};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job<0>, key, revision)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job<1>, key, revision)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job<2>, key, revision)

backlite::ClientConfig config(const std::string& database) {
    return {.database = database, .num_workers = 4, .durability = backlite::Durability::process};
}

template <std::uint32_t Q>
void serve(Client& client, const Record& record) {
    client.register_queue<Job<Q>>([&record](backlite::Context& context, const Job<Q>& job) {
        record.append(What::entered, Q, job.key, job.revision);
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds{job.revision * 7919 % 5'000};
        while (std::chrono::steady_clock::now() < end && !context.stop_token().stop_requested()) {
            std::this_thread::sleep_for(200us);
        }
        record.append(What::left, Q, job.key, job.revision);
        if (context.stop_token().stop_requested()) throw std::runtime_error("stopped");
        static std::atomic<std::uint64_t> runs{0};
        const std::uint64_t luck = job.revision + ++runs;
        if (luck % 3 == 0) throw std::runtime_error("again");
        return luck % 7 == 0 ? backlite::Outcome::snooze(2ms) : backlite::Outcome::success();
    });
}

void serve_all(Client& client, const Record& record) {
    serve<0>(client, record);
    serve<1>(client, record);
    serve<2>(client, record);
}

std::atomic<bool> over{false};

int live(const std::string& database, const Record& record) {
    std::signal(SIGTERM, [](int) { over = true; });
    Client client{config(database)};
    serve_all(client, record);
    client.start();
    while (!over) std::this_thread::sleep_for(1ms);
    return client.stop(1ms) ? 0 : 1;  // on false it is waited for all the same
}

// Adds until it is told to end, and looks for keys that are there twice.
int add(const std::string& database, const Record& record, std::uint64_t seed) {
    std::signal(SIGTERM, [](int) { over = true; });
    std::mt19937_64 random(seed);
    Client client{config(database)};
    SQLite::Database look(database, SQLite::OPEN_READONLY, 10'000);
    SQLite::Statement doubled(
        look,
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM backlite_tasks WHERE queue = 'queue 0' AND claimed_at IS NOT NULL "
        "GROUP BY json_extract(CAST(task AS text), '$.key') HAVING count(*) > 1)) + "
        "(SELECT count(*) FROM (SELECT 1 FROM backlite_tasks WHERE queue <> 'queue 1' AND claimed_at IS NULL "
        "GROUP BY queue, json_extract(CAST(task AS text), '$.key') HAVING count(*) > 1)) + "
        "(SELECT count(*) FROM (SELECT 1 FROM backlite_tasks WHERE queue = 'queue 2' "
        "GROUP BY json_extract(CAST(task AS text), '$.key') HAVING count(*) > 1))");
    std::uint64_t revision = 0;
    while (!over) {
        for (std::uint32_t queue = 0; queue < rules.size(); ++queue) {
            const std::uint64_t key = random() % keys;
            const auto wait = std::chrono::milliseconds{random() % 4 == 0 ? random() % 30 : 0};
            record.append(What::adds, queue, key, ++revision);
            switch (queue) {
                case latest: client.add(Job<0>{key, revision}).wait(wait).save(); break;
                case started: client.add(Job<1>{key, revision}).wait(wait).save(); break;
                default: client.add(Job<2>{key, revision}).wait(wait).save(); break;
            }
        }
        doubled.reset();
        if (doubled.executeStep() && doubled.getColumn(0).getInt() > 0) record.append(What::wrong, 0, 0, revision);
        std::this_thread::sleep_for(std::chrono::milliseconds{random() % 4});
    }
    return 0;
}

TEST_CASE("unique kill: keys are never doubled, and what was added last runs, however often processes die or stop") {
    const Harness harness("unique kill", 15);
    const TempFolder folder;
    const std::string database = folder.file("q.db");
    const Record record(folder.file("record"));
    std::mt19937_64 random(harness.seed());
    {
        const auto begin = [&] { return std::make_unique<Forked>([&] { return live(database, record); }); };
        Forked adder([&] { return add(database, record, harness.seed()); });
        std::vector<std::unique_ptr<Forked>> lives;
        for (int i = 0; i < 3; ++i) lives.push_back(begin());
        for (std::size_t round = 0; round < harness.rounds(); ++round) {
            std::this_thread::sleep_for(std::chrono::milliseconds{50 + random() % 200});
            std::unique_ptr<Forked>& victim = lives[random() % lives.size()];
            const bool dies = random() % 3 != 0;
            if (dies) record.append(What::ends, 0, 0, 0, victim->pid());
            victim->kill(dies ? SIGKILL : SIGTERM);
            victim = begin();
        }
        CHECK(adder.kill(SIGTERM) == 0);
        for (const auto& each : lives) {
            record.append(What::ends, 0, 0, 0, each->pid());
            each->kill(SIGKILL);
        }
    }
    Forked last([&] {
        Client client{config(database)};
        serve_all(client, record);
        client.start();
        for (const auto end = std::chrono::steady_clock::now() + 60s; !client.counts().empty();) {
            if (std::chrono::steady_clock::now() > end) return 1;
            std::this_thread::sleep_for(5ms);
        }
        return client.stop(10s) ? 0 : 2;
    });
    REQUIRE(last.join() == 0);
    SQLite::Database look(database, SQLite::OPEN_READONLY);
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 0);
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_keys").getInt() == 0);
    CHECK(look.execAndGet("PRAGMA integrity_check").getString() == "ok");

    using Key = std::pair<std::uint32_t, std::uint64_t>;
    std::set<std::int64_t> ended;
    std::map<Key, std::map<std::int64_t, int>> inside;  // by process
    std::map<Key, std::uint64_t> added, ran;
    std::map<Key, bool> waits;  // whether nothing of the key has begun since the last add
    std::size_t together = 0, backwards = 0, doubled = 0, runs = 0, adds = 0;
    for (const Entry& entry : record.all()) {
        const Key key{entry.queue, entry.key};
        switch (entry.what) {
            case What::wrong: ++doubled; break;
            case What::ends:
                ended.insert(entry.process);
                for (auto& [each, processes] : inside) processes.erase(entry.process);
                break;
            case What::adds:
                ++adds;
                added[key] = entry.revision;
                waits[key] = true;
                break;
            case What::entered: {
                ++runs;
                waits[key] = false;
                if (entry.queue == latest && entry.revision < ran[key]) ++backwards;
                ran[key] = entry.revision;
                if (ended.contains(entry.process)) break;
                int& here = inside[key][entry.process];
                ++here;
                int all = 0;
                for (const auto& [process, count] : inside[key]) all += count;
                if (entry.queue != started && all > 1) ++together;
                break;
            }
            case What::left:
                if (!ended.contains(entry.process)) --inside[key][entry.process];
                break;
        }
    }
    std::size_t lost = 0;
    for (const auto& [key, revision] : added) {
        if (key.first == latest && ran[key] != revision) ++lost;
        if (key.first == started && waits[key]) ++lost;
    }
    fmt::print("  {} adds, {} runs\n", adds, runs);
    CHECK(together == 0);
    CHECK(backwards == 0);
    CHECK(doubled == 0);
    CHECK(lost == 0);
    CHECK(added.size() == rules.size() * keys);
}

}  // namespace unique_kill_test
