// SPDX-License-Identifier: MIT
// Tasks are cancelled, queues are paused, bounded queues are filled and tasks expire while the processes that run them
// are killed again and again.
// BACKLITE_ROUNDS: how many kills. BACKLITE_SEED replays the choices of a run.

#include <algorithm>
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

namespace {

using namespace std::chrono_literals;
using backlite::CancelResult;
using backlite::Client;
using backlite_test::Forked;
using backlite_test::Harness;
using backlite_test::TempFolder;

enum class What : std::uint64_t { added, taken, refused, entered, cancelled, requested, paused, resumes };

struct Entry {
    What what{};
    std::uint64_t number = 0;  // of a task; of a queue for `paused` and `resumes`
    std::int64_t at = 0;       // by the clock that all processes share
};

// What all processes have done, in the order in which they wrote it. An entry is appended whole or not at all: it lies
// on one page of the file, and a kill breaks a write off between pages.
class Record {
public:
    explicit Record(const std::string& file)
        : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
        if (fd_ < 0) std::abort();
    }
    Record(const Record&) = delete;
    Record& operator=(const Record&) = delete;
    ~Record() { ::close(fd_); }

    void append(What what, std::uint64_t number) const {
        const std::array<Entry, 1> entry{{{what, number, now()}}};
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
    static std::int64_t now() noexcept { return std::chrono::steady_clock::now().time_since_epoch().count(); }
    int fd_;
};

template <int N>
struct Job {
    std::uint64_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = fmt::format("queue {}", N), .max_attempts = 1'000, .backoff = 1ms, .max_crashes = 1'000};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job<0>, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job<1>, number)

backlite::ClientConfig config(const std::string& database) {
    return {.database = database, .num_workers = 3, .durability = backlite::Durability::process};
}

// Every third attempt fails, and some take a while, so that a cancel finds tasks everywhere.
void run(const Record& record, backlite::Context& context, std::uint64_t number) {
    record.append(What::entered, number);
    std::this_thread::sleep_for(std::chrono::microseconds{(number * 7919) % 4'000});
    if (context.stop_token().stop_requested()) throw std::runtime_error("stopped");
    if ((number + static_cast<std::uint64_t>(context.attempt())) % 3 == 0) throw std::runtime_error("again");
}

void register_both(Client& client, const Record& record) {
    client.register_queue<Job<0>>(
        [&](backlite::Context& context, const Job<0>& job) { run(record, context, job.number); });
    client.register_queue<Job<1>>(
        [&](backlite::Context& context, const Job<1>& job) { run(record, context, job.number); });
}

std::atomic<bool> over{false};

// Adds, cancels and pauses until it is told to end; then nothing is paused.
int steer(const std::string& database, const Record& record, std::uint64_t seed) {
    std::signal(SIGTERM, [](int) { over = true; });
    std::mt19937_64 random(seed);
    Client client{config(database)};
    std::vector<std::pair<std::uint64_t, backlite::TaskId>> known;
    std::uint64_t number = 0;
    const auto name = [](std::uint64_t queue) { return fmt::format("queue {}", queue); };
    std::jthread pauses([&](const std::stop_token& stop) {
        for (std::uint64_t queue = 0; !stop.stop_requested(); queue = 1 - queue) {
            client.pause(name(queue));
            record.append(What::paused, queue);
            for (int i = 0; i < 150 && !stop.stop_requested(); ++i) std::this_thread::sleep_for(10ms);
            record.append(What::resumes, queue);
            client.resume(name(queue));
            for (int i = 0; i < 20 && !stop.stop_requested(); ++i) std::this_thread::sleep_for(10ms);
        }
    });
    while (!over) {
        for (int i = 0; i < 5; ++i) {
            const auto wait = std::chrono::milliseconds{random() % 4 == 0 ? random() % 300 : 0};
            record.append(What::added, number);
            known.emplace_back(number, number % 2 == 0 ? client.add(Job<0>{number}).wait(wait).save().front()
                                                       : client.add(Job<1>{number}).wait(wait).save().front());
            ++number;
        }
        for (int i = 0; i < 3 && !known.empty(); ++i) {
            const std::size_t which = known.size() - 1 - random() % (std::min)(known.size(), std::size_t{40});
            switch (client.cancel(known[which].second)) {
                case CancelResult::cancelled: record.append(What::cancelled, known[which].first); break;
                case CancelResult::requested: record.append(What::requested, known[which].first); break;
                case CancelResult::finished:
                case CancelResult::not_found: break;
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{random() % 8});
    }
    return 0;
}

// ---- bounds and expiry ----------------------------------------------------------------------------------------------

constexpr std::size_t bound = 5;

/// Queues that take only so many, each in its way, and one whose tasks must start within some time.
struct Rejecting {
    std::uint64_t number = 0;
    static backlite::QueueConfig config() { return {.name = "rejecting", .max_crashes = 1'000, .max_waiting = bound}; }
};
struct Dropping {
    std::uint64_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = "dropping",
                .retention = backlite::Retention{.data = backlite::RetainData{}},
                .max_crashes = 1'000,
                .max_waiting = bound,
                .overflow = backlite::Overflow::drop_oldest};
    }
};
struct Roomy {
    std::uint64_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = "roomy", .max_crashes = 1'000, .max_waiting = bound, .overflow = backlite::Overflow::wait};
    }
};
struct Expiring {
    std::uint64_t number = 0;
    static backlite::QueueConfig config() {
        return {.name = "expiring",
                .retention = backlite::Retention{.data = backlite::RetainData{}},
                .max_crashes = 1'000,
                .expires_after = 40ms};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Rejecting, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Dropping, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Roomy, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Expiring, number)

template <class T>
void register_slow(Client& client, const Record& record) {
    client.register_queue<T>([&record](const T& task) {
        record.append(What::entered, task.number);
        std::this_thread::sleep_for(std::chrono::microseconds{(task.number * 7919) % 6'000});
    });
}

void register_bounded(Client& client, const Record& record) {
    register_slow<Rejecting>(client, record);
    register_slow<Dropping>(client, record);
    register_slow<Roomy>(client, record);
    register_slow<Expiring>(client, record);
}

// Runs tasks of all four queues and adds to them, until it is killed or told to end. Each task has a number of its own.
int run_and_add(const std::string& database, const Record& record, std::uint64_t life) {
    over = false;
    std::signal(SIGTERM, [](int) { over = true; });
    std::mt19937_64 random(life);
    Client client{config(database)};
    register_bounded(client, record);
    client.start();
    for (std::uint64_t number = life << 32; !over; ++number) {
        record.append(What::added, number);
        try {
            switch (number % 4) {
                case 0: client.add(Rejecting{number}).save(); break;
                case 1: client.add(Dropping{number}).save(); break;
                case 2: client.add(Roomy{number}).save(); break;
                default: client.add(Expiring{number}).expires_after(number % 8 == 3 ? 1ms : 40ms).save();
            }
            record.append(What::taken, number);
        } catch (const backlite::QueueFullError&) {
            record.append(What::refused, number);
        }
        if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds{random() % 3'000});
    }
    client.stop(10s);
    return 0;
}

TEST_CASE("steering: no add passes a bound and nothing that expires has started however often processes die") {
    const Harness harness("steering bounds", 12);
    const TempFolder folder;
    const std::string database = folder.file("q.db");
    const Record record(folder.file("record"));
    {
        Client once{config(database)};
        // What each add leaves behind is looked at within its own transaction.
        SQLite::Database host(database, SQLite::OPEN_READWRITE, 10'000);
        host.exec("CREATE TABLE beyond (queue, number)");
        host.exec(fmt::format(
            "CREATE TRIGGER beyond AFTER INSERT ON backlite_tasks WHEN NEW.queue <> 'expiring' AND (SELECT count(*) "
            "FROM backlite_tasks WHERE queue = NEW.queue AND claimed_at IS NULL) > {} BEGIN INSERT INTO beyond "
            "SELECT NEW.queue, count(*) FROM backlite_tasks WHERE queue = NEW.queue AND claimed_at IS NULL; END",
            bound));
    }
    std::mt19937_64 random(harness.seed());
    std::uint64_t life = 0;
    {
        const auto live = [&] {
            return std::make_unique<Forked>([&, number = ++life] { return run_and_add(database, record, number); });
        };
        std::vector<std::unique_ptr<Forked>> lives;
        for (int i = 0; i < 3; ++i) lives.push_back(live());
        for (std::size_t round = 0; round < harness.rounds(); ++round) {
            std::this_thread::sleep_for(std::chrono::milliseconds{50 + random() % 200});
            std::unique_ptr<Forked>& victim = lives[random() % lives.size()];
            victim->kill(SIGKILL);
            victim = live();
        }
        for (const auto& each : lives) each->kill(SIGKILL);
    }
    Forked last([&] {
        Client client{config(database)};
        register_bounded(client, record);
        client.start();
        for (const auto end = std::chrono::steady_clock::now() + 60s; !client.counts().empty();) {
            if (std::chrono::steady_clock::now() > end) return 1;
            std::this_thread::sleep_for(5ms);
        }
        return client.stop(10s) ? 0 : 2;
    });
    REQUIRE(last.join() == 0);
    SQLite::Database look(database, SQLite::OPEN_READONLY);
    CHECK(look.execAndGet("SELECT count(*) FROM beyond").getInt() == 0);
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_details").getInt() == 0);
    CHECK(look.execAndGet("SELECT sum(waiting) FROM backlite_queues").getInt() == 0);

    // A dropped one may have been in a process that died; one that has expired was in none.
    std::set<std::uint64_t> ended, expired;
    SQLite::Statement kept(look,
                           "SELECT json_extract(CAST(task AS TEXT), '$.number'), kind FROM backlite_tasks_completed "
                           "WHERE kind IN (1, 5)");
    while (kept.executeStep()) {
        const auto number = static_cast<std::uint64_t>(kept.getColumn(0).getInt64());
        ended.insert(number);
        if (kept.getColumn(1).getInt() == 5) expired.insert(number);
    }
    std::set<std::uint64_t> taken, entered;
    std::size_t refused = 0;
    for (const Entry& entry : record.all()) {
        if (entry.what == What::taken) taken.insert(entry.number);
        if (entry.what == What::entered) entered.insert(entry.number);
        if (entry.what == What::refused) ++refused;
    }
    std::size_t lost = 0, both = 0;
    for (const std::uint64_t number : taken) lost += entered.contains(number) || ended.contains(number) ? 0U : 1U;
    for (const std::uint64_t number : expired) both += entered.contains(number) ? 1U : 0U;
    fmt::print("  {} tasks taken, {} refused, {} dropped, {} expired\n", taken.size(), refused,
               ended.size() - expired.size(), expired.size());
    CHECK(lost == 0);
    CHECK(both == 0);
    CHECK(refused > 0);
    CHECK(ended.size() > expired.size());
    CHECK(!expired.empty());
}

TEST_CASE("steering: cancelled tasks never start again and paused queues stand still however often processes die") {
    const Harness harness("steering", 15);
    const TempFolder folder;
    const std::string database = folder.file("q.db");
    const Record record(folder.file("record"));
    std::mt19937_64 random(harness.seed());
    {
        const auto live = [&] {
            return std::make_unique<Forked>([&]() -> int {
                Client client{config(database)};
                register_both(client, record);
                client.start();
                for (;;) ::pause();
            });
        };
        Forked steerer([&] { return steer(database, record, harness.seed()); });
        std::vector<std::unique_ptr<Forked>> lives;
        for (int i = 0; i < 3; ++i) lives.push_back(live());
        for (std::size_t round = 0; round < harness.rounds(); ++round) {
            std::this_thread::sleep_for(std::chrono::milliseconds{50 + random() % 300});
            std::unique_ptr<Forked>& victim = lives[random() % lives.size()];
            victim->kill(SIGKILL);
            victim = live();
        }
        steerer.kill(SIGTERM);
        for (const auto& each : lives) each->kill(SIGKILL);
    }
    Forked last([&] {
        Client client{config(database)};
        register_both(client, record);
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
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_cancels").getInt() == 0);

    constexpr std::int64_t grace = std::chrono::nanoseconds{1s}.count();  // for other processes to hear of a pause
    std::map<std::uint64_t, std::vector<Entry>> asked;
    std::map<std::uint64_t, std::size_t> entered;
    std::array<std::int64_t, 2> paused{};
    std::size_t added = 0, cancelled = 0, requested = 0, pauses = 0, late = 0, restarted = 0, in_pauses = 0;
    std::vector<Entry> all = record.all();
    std::stable_sort(all.begin(), all.end(), [](const Entry& a, const Entry& b) { return a.at < b.at; });
    for (const Entry& entry : all) {
        switch (entry.what) {
            case What::added: ++added; break;
            case What::taken:
            case What::refused: break;
            case What::cancelled:
            case What::requested:
                ++(entry.what == What::cancelled ? cancelled : requested);
                asked[entry.number].push_back(entry);
                break;
            case What::paused:
                ++pauses;
                paused[entry.number] = entry.at;
                break;
            case What::resumes: paused[entry.number] = 0; break;
            case What::entered: {
                ++entered[entry.number];
                const std::int64_t since = paused[entry.number % 2];
                if (since != 0 && entry.at > since + grace) ++in_pauses;
                const auto cancels = asked.find(entry.number);
                if (cancels == asked.end()) break;
                late += static_cast<std::size_t>(
                    std::count_if(cancels->second.begin(), cancels->second.end(),
                                  [](const Entry& each) { return each.what == What::cancelled; }));
                break;
            }
        }
    }
    // Only the claim that was held when a cancel was asked for may have entered its processor a little later.
    for (const auto& [number, cancels] : asked) {
        const auto after =
            std::count_if(all.begin(), all.end(), [&, n = number, first = cancels.front()](const Entry& e) {
                return e.what == What::entered && e.number == n && e.at > first.at;
            });
        if (after > 1) ++restarted;
    }
    std::size_t lost = 0;
    for (std::uint64_t number = 0; number < added; ++number) {
        if (entered[number] == 0 && !asked.contains(number)) ++lost;
    }
    fmt::print("  {} tasks, {} cancelled while they waited, {} while they were claimed, {} pauses\n", added, cancelled,
               requested, pauses);
    CHECK(late == 0);
    CHECK(restarted == 0);
    CHECK(in_pauses == 0);
    CHECK(lost <= 1);  // the last add may have been on its way
    CHECK(cancelled > 0);
    CHECK(requested > 0);
    CHECK(pauses > 0);
}

}  // namespace
