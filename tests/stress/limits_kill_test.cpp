// SPDX-License-Identifier: MIT
// Three processes share limited queues and are killed again and again: a log outside of the database shows how many
// tasks ran at once, how often they started, and in which order.
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
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <forked.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

namespace limits_kill_test {

using namespace std::chrono_literals;
using backlite::Client;
using backlite_test::Forked;
using backlite_test::Harness;
using backlite_test::TempFolder;

constexpr int at_once = 3;
constexpr int of_a_host = 2;
constexpr int in_a_client = 1;
constexpr backlite::Rate rate{.count = 100, .period = 1s, .burst = 5};
constexpr backlite::Rate rate_of_a_host{.count = 40, .period = 1s, .burst = 3};
constexpr int partitions = 6;

enum Kind : std::uint32_t { capped, hosts, long_ones, in_order, rated, rated_hosts, kinds };
enum class What : std::uint32_t { added, entered, left, died };

struct Entry {
    What what{};
    Kind kind{};
    std::uint32_t partition = 0;
    std::int32_t pid = 0;
    std::uint64_t number = 0;
    std::int64_t claimed_at = 0;  // of `entered`
};

// An entry is appended whole or not at all: it lies on one page of the file, and a kill breaks a write off between
// pages. The order of the file is that in which they were written.
class Record {
public:
    explicit Record(const std::string& file)
        : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
        if (fd_ < 0) std::abort();
    }
    Record(const Record&) = delete;
    Record& operator=(const Record&) = delete;
    ~Record() { ::close(fd_); }

    void append(const Entry& entry) const {
        static_assert(4096 % sizeof(Entry) == 0);
        if (::write(fd_, &entry, sizeof entry) != sizeof entry) std::abort();
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

constexpr std::array<const char*, kinds> names{"capped", "hosts", "long", "order", "rated", "rated hosts"};

template <Kind K>
struct Job {
    std::uint64_t number = 0;
    std::uint32_t host = 0;
    static backlite::QueueConfig config() {
        backlite::Limits limits;
        if (K == capped) limits.running = at_once;
        if (K == hosts) limits.running_per_partition = of_a_host;
        if (K == long_ones) limits.running_per_client = in_a_client;
        if (K == in_order) limits.in_order = true;
        if (K == rated) limits.rate = rate;
        if (K == rated_hosts) limits.rate_per_partition = rate_of_a_host;
        return {
            .name = names[K], .max_attempts = 1'000'000, .backoff = 1ms, .max_crashes = 1'000'000, .limits = limits};
    }
    [[nodiscard]] std::string partition() const { return fmt::format("host {}", host); }
};
template <Kind K>
void to_json(nlohmann::json& json, const Job<K>& job) {
    json = {{"number", job.number}, {"host", job.host}};
}
template <Kind K>
void from_json(const nlohmann::json& json, Job<K>& job) {
    json.at("number").get_to(job.number);
    json.at("host").get_to(job.host);
}

backlite::ClientConfig config(const std::string& database) {
    return {.database = database, .num_workers = 6, .durability = backlite::Durability::process};
}

template <Kind K>
void register_one(Client& client, const Record& record, const std::string& database) {
    client.register_queue<Job<K>>([&](backlite::Context& context, const Job<K>& job) {
        thread_local SQLite::Database look(database, SQLite::OPEN_READONLY, 5'000);
        thread_local SQLite::Statement claimed_at(look, "SELECT claimed_at FROM backlite_tasks WHERE id = ?");
        Entry entry{What::entered, K, job.host, ::getpid(), job.number};
        if (K == rated || K == rated_hosts) {
            claimed_at.bind(1, context.task_id().str());
            if (claimed_at.executeStep()) entry.claimed_at = claimed_at.getColumn(0).getInt64();
            claimed_at.reset();
        }
        record.append(entry);
        std::this_thread::sleep_for(std::chrono::microseconds{(job.number * 7919) % (K == long_ones ? 5'000 : 600)});
        entry.what = What::left;
        record.append(entry);
        if ((job.number + static_cast<std::uint64_t>(context.attempt())) % 5 == 0) throw std::runtime_error("again");
    });
}

void register_all(Client& client, const Record& record, const std::string& database) {
    register_one<capped>(client, record, database);
    register_one<hosts>(client, record, database);
    register_one<long_ones>(client, record, database);
    register_one<in_order>(client, record, database);
    register_one<rated>(client, record, database);
    register_one<rated_hosts>(client, record, database);
}

std::atomic<bool> over{false};

// Adds until it is told to end, no faster than tasks are run.
int produce(const std::string& database, const Record& record, std::uint64_t seed) {
    std::signal(SIGTERM, [](int) { over = true; });
    std::mt19937_64 random(seed);
    Client client{config(database)};
    std::uint64_t number = 0;
    while (!over) {
        std::map<std::string, std::size_t> waiting;
        for (const auto& queue : client.counts()) waiting[queue.queue] = queue.waiting + queue.scheduled;
        const auto host = static_cast<std::uint32_t>(random() % partitions);
        const auto add = [&](Kind kind, auto job) {
            if (waiting[names[kind]] > 60) return;
            record.append({What::added, kind, host, ::getpid(), number});
            auto adding = client.add(job).priority(static_cast<int>(random() % 3));
            if (kind != in_order && random() % 8 == 0)
                std::move(adding).wait(5ms).save();
            else
                std::move(adding).save();
            ++number;
        };
        for (int i = 0; i < 4; ++i) {
            add(capped, Job<capped>{number, host});
            add(hosts, Job<hosts>{number, host});
            add(long_ones, Job<long_ones>{number, host});
            add(in_order, Job<in_order>{number, host});
            add(rated, Job<rated>{number, host});
            add(rated_hosts, Job<rated_hosts>{number, host});
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{random() % 5});
    }
    return 0;
}

// Whether more have started in some time than the rate allows.
std::size_t excess(std::vector<std::int64_t> starts, const backlite::Rate& of) {
    std::sort(starts.begin(), starts.end());
    std::size_t found = 0;
    for (std::size_t first = 0; first < starts.size(); ++first) {
        for (std::size_t last = first + 1; last < (std::min)(starts.size(), first + 400); ++last) {
            const auto number = static_cast<std::int64_t>(last - first) + 1;
            found += (number - of.burst) * of.period.count() > of.count * (starts[last] - starts[first]) ? 1U : 0U;
        }
    }
    return found;
}

TEST_CASE("limits: no limit and no rate is ever passed and order is kept however often processes die") {
    const Harness harness("limits", 15);
    const TempFolder folder;
    const std::string database = folder.file("q.db");
    const Record record(folder.file("record"));
    std::mt19937_64 random(harness.seed());
    {
        const auto live = [&] {
            return std::make_unique<Forked>([&]() -> int {
                Client client{config(database)};
                register_all(client, record, database);
                client.start();
                for (;;) ::pause();
            });
        };
        Forked producer([&] { return produce(database, record, harness.seed()); });
        std::vector<std::unique_ptr<Forked>> lives;
        for (int i = 0; i < 3; ++i) lives.push_back(live());
        for (std::size_t round = 0; round < harness.rounds(); ++round) {
            std::this_thread::sleep_for(std::chrono::milliseconds{50 + random() % 300});
            std::unique_ptr<Forked>& victim = lives[random() % lives.size()];
            // It writes nothing any more once it has stopped, and nobody takes back what it holds before it is dead.
            ::kill(victim->pid(), SIGSTOP);
            int status = 0;
            ::waitpid(victim->pid(), &status, WUNTRACED);
            record.append({What::died, kinds, 0, victim->pid()});
            victim->kill(SIGKILL);
            victim = live();
        }
        REQUIRE(producer.kill(SIGTERM) == 0);
        for (const auto& each : lives) {
            ::kill(each->pid(), SIGSTOP);
            int status = 0;
            ::waitpid(each->pid(), &status, WUNTRACED);
            record.append({What::died, kinds, 0, each->pid()});
            each->kill(SIGKILL);
        }
    }
    Forked last([&] {
        Client client{config(database)};
        register_all(client, record, database);
        client.start();
        for (const auto end = std::chrono::steady_clock::now() + 120s; !client.counts().empty();) {
            if (std::chrono::steady_clock::now() > end) return 1;
            std::this_thread::sleep_for(5ms);
        }
        return client.stop(10s) ? 0 : 2;
    });
    REQUIRE(last.join() == 0);  // no slot and no turn was lost

    std::array<std::map<std::pair<std::uint32_t, std::int32_t>, std::multiset<std::uint64_t>>, kinds> inside;
    std::array<int, kinds> most{};
    std::map<std::uint32_t, std::uint64_t> newest;
    std::map<std::uint64_t, int> entered;
    std::vector<std::int64_t> starts;
    std::map<std::uint32_t, std::vector<std::int64_t>> starts_of_hosts;
    std::size_t added = 0, started = 0, disorder = 0;
    const auto count = [&](Kind kind, const auto& which) {
        int found = 0;
        for (const auto& [place, tasks] : inside[kind]) {
            if (which(place)) found += static_cast<int>(tasks.size());
        }
        return found;
    };
    for (const Entry& entry : record.all()) {
        switch (entry.what) {
            case What::added: ++added; break;
            case What::died:
                for (auto& of_kind : inside) {
                    std::erase_if(of_kind, [&](const auto& each) { return each.first.second == entry.pid; });
                }
                break;
            case What::left: {
                auto& tasks = inside[entry.kind][{entry.partition, entry.pid}];
                if (const auto task = tasks.find(entry.number); task != tasks.end()) tasks.erase(task);
                break;
            }
            case What::entered: {
                ++started;
                ++entered[entry.number];
                inside[entry.kind][{entry.partition, entry.pid}].insert(entry.number);
                const auto all = [](const auto&) { return true; };
                const auto partition = [&](const auto& place) { return place.first == entry.partition; };
                const auto process = [&](const auto& place) { return place.second == entry.pid; };
                const bool by_host = entry.kind == hosts || entry.kind == in_order;
                const int now = entry.kind == long_ones ? count(entry.kind, process)
                                : by_host               ? count(entry.kind, partition)
                                                        : count(entry.kind, all);
                most[entry.kind] = (std::max)(most[entry.kind], now);
                if (entry.kind == in_order) {
                    std::uint64_t& before = newest[entry.partition];
                    if (entry.number < before) ++disorder;
                    before = (std::max)(before, entry.number);
                }
                if (entry.claimed_at == 0) break;
                if (entry.kind == rated) starts.push_back(entry.claimed_at);
                if (entry.kind == rated_hosts) starts_of_hosts[entry.partition].push_back(entry.claimed_at);
                break;
            }
        }
    }
    fmt::print("  {} tasks, {} starts, {} under a rate; at once: {} of {}, {} of {}, {} of {}, {} of 1\n", added,
               started, starts.size(), most[capped], at_once, most[hosts], of_a_host, most[long_ones], in_a_client,
               most[in_order]);
    CHECK(most[capped] <= at_once);
    CHECK(most[hosts] <= of_a_host);
    CHECK(most[long_ones] <= in_a_client);
    CHECK(most[in_order] <= 1);
    CHECK(disorder == 0);
    CHECK(excess(starts, rate) == 0);
    for (const auto& [host, each] : starts_of_hosts) CHECK(excess(each, rate_of_a_host) == 0);
    CHECK(entered.size() + 1 >= added);  // the last add may have been on its way
    CHECK(most[capped] == at_once);      // the limits were met at all
    CHECK(starts.size() > 20);
    SQLite::Database look(database, SQLite::OPEN_READONLY);
    CHECK(look.execAndGet("SELECT count(*) FROM backlite_turns").getInt() == 0);
}

}  // namespace limits_kill_test
