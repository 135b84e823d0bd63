// SPDX-License-Identifier: MIT
// Memory runs out, once: the call that needed it fails, or works all the same, and everything goes on.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/scheduler.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/engine/deadline_timer.hpp>
#include <backlite/platform/process.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/schedule.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/liveness.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/testing/manual_clock.hpp>
#include <backlite/ui/dashboard.hpp>

#include <backlite_catch.hpp>
#include <chosen_zones.hpp>
#include <dashboard_rig.hpp>
#include <events.hpp>
#include <harness.hpp>
#include <named_queue.hpp>
#include <row_time.hpp>
#include <scarce_memory.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>
#include <zone_bytes.hpp>

// nlohmann_json 3.11 loses an object that it has made when the memory for the value in it is refused.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:nlohmann::"; }

namespace scarce_memory_test {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::StorageError;
using backlite::Transaction;
using backlite_test::eventually;
using backlite_test::Harness;
using backlite_test::ScarceMemory;
using backlite_test::TempFolder;

struct Job {
    int n = 0;
    std::string text = "longer than what a string holds in itself";
    static backlite::QueueConfig config() {
        return {.name = "a queue with a name that is longer than what a string holds", .max_attempts = 3};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, n, text)

struct Other {
    int n = 0;
    static backlite::QueueConfig config() { return {.name = "other"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Other, n)

bool in_transaction(SQLite::Database& database) { return sqlite3_get_autocommit(database.getHandle()) == 0; }

/// What became of one round: whether the allocation to be refused was met, and how many there were.
struct Round {
    bool met = false;
    std::uint64_t allocations = 0;
};

/// Plays `round(n)` for the `first` n, and for a sample of the others, or for all of them with BACKLITE_ROUNDS=1000000.
/// Prints how many there are.
template <class Play>
void each_allocation(std::string_view name, std::uint64_t first, Play&& play) {
    const Harness harness(name, 12);
    const auto begin = std::chrono::steady_clock::now();
    std::uint64_t refused = 0;
    std::uint64_t all = 0;
    const auto refuse = [&](std::uint64_t n) {
        INFO(name << ": allocation " << n << " is refused");
        const Round round = play(n);
        all = (std::max)(all, round.allocations);
        refused += round.met ? 1 : 0;
    };
    refuse((std::numeric_limits<std::uint64_t>::max)());
    const std::uint64_t step = (std::max)(all / harness.rounds(), std::uint64_t{1});
    for (std::uint64_t n = 1; n <= (std::min)(first, all); ++n) refuse(n);
    for (std::uint64_t n = first + 1 + harness.seed() % step; n <= all; n += step) refuse(n);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print("  {} of {} allocations were refused, in {:.1f} s\n", refused, all, took.count());
    std::fflush(stdout);
}

/// Calls `call` with one allocation of this thread refused after the other. It may throw std::bad_alloc or an error of
/// the library. `check(worked)` follows each.
template <class Call, class Check>
void sweep(std::string_view name, Call&& call, Check&& check) {
    each_allocation(name, 40, [&](std::uint64_t n) {
        Round round;
        bool worked = true;
        {
            const ScarceMemory memory(ScarceMemory::Of::this_thread, n);
            try {
                call();
            } catch (const std::bad_alloc&) {
                worked = false;
            } catch (const backlite::Error&) {
                worked = false;
            }
            round = {memory.met(), memory.calls()};
        }
        check(worked);
        return round;
    });
}

TEST_CASE("out of memory: an allocation is refused when it is to be, and once") {
    if (!backlite_test::memory_can_be_scarce) return;
    const ScarceMemory memory(ScarceMemory::Of::this_thread, 2);
    const auto first = std::make_unique<int>(1);
    CHECK_THROWS_AS(std::make_unique<int>(2), std::bad_alloc);
    CHECK_NOTHROW(std::make_unique<int>(3));
}

// ---- the write path -------------------------------------------------------------------------------------------------

TEST_CASE("out of memory: a write that fails leaves neither the lead nor its transaction behind") {
    const TempFolder folder;
    ClientConfig config{.database = folder.file("app.db"), .durability = backlite::Durability::process};
    backlite::store::sqlite::GroupCommit writes(config, {});
    backlite::store::sqlite::Schema::install(writes.connection(), 5s);
    const backlite::store::sqlite::GroupCommit::Patience patience{5s, {}};
    sweep(
        "a write", [&] { writes.write([](auto&) { delete new int; }, patience); },
        [&](bool) {
            CHECK_FALSE(writes.connection().in_transaction());
            writes.write([](auto&) {}, patience);
        });
}

TEST_CASE("out of memory: a commit that cannot be described fails with its code") {
    const TempFolder folder;
    ClientConfig config{.database = folder.file("app.db"), .durability = backlite::Durability::process};
    backlite::store::sqlite::GroupCommit writes(config, {});
    const backlite::store::sqlite::GroupCommit::Patience patience{5s, {}};
    sqlite3_commit_hook(
        writes.connection().handle(), [](void*) { return 1; }, nullptr);
    for (std::uint64_t n = 1; n < 4; ++n) {
        INFO("allocation " << n);
        int code = 0;
        {
            const ScarceMemory memory(ScarceMemory::Of::this_thread, n);
            try {
                writes.write([](auto&) {}, patience);
            } catch (const StorageError& error) {
                code = error.extended_code();
            }
        }
        CHECK(code == SQLITE_CONSTRAINT_COMMITHOOK);
        CHECK_FALSE(writes.connection().in_transaction());
    }
}

// ---- the host's transactions ----------------------------------------------------------------------------------------

struct Shop {
    explicit Shop(ClientConfig config = {}) : client(complete(std::move(config))) {}

    ClientConfig complete(ClientConfig config) const {
        config.database = folder.file("app.db");
        config.durability = backlite::Durability::process;
        config.num_workers = 2;
        return config;
    }

    TempFolder folder{};
    Client client;
    SQLite::Database host{folder.file("app.db"), SQLite::OPEN_READWRITE};
};

TEST_CASE("out of memory: a Transaction that could not be made holds no lock and is not open") {
    Shop shop;
    sweep(
        "Transaction",
        [&] {
            const Transaction tx{shop.client, shop.host};
        },
        [&](bool) {
            CHECK_FALSE(in_transaction(shop.host));
            CHECK(shop.client.add(Job{}).save().size() == 1);
        });
}

TEST_CASE("out of memory: a Transaction is committed, or is not") {
    Shop shop;
    std::size_t added = 0;
    sweep(
        "Transaction::commit",
        [&] {
            std::optional<Transaction> tx;
            {
                const ScarceMemory::Spared spared;
                tx.emplace(shop.client, shop.host);
                (void)shop.client.add(Job{}).tx(*tx).save();
            }
            tx->commit();
        },
        [&](bool worked) {
            CHECK_FALSE(in_transaction(shop.host));
            added += worked ? 1 : 0;
            CHECK(shop.client.counts().size() == (added > 0 ? 1 : 0));
            if (added > 0) CHECK(shop.client.counts()[0].waiting == added);
        });
}

TEST_CASE("out of memory: an add that failed leaves no task and no savepoint in the host's transaction") {
    Shop shop;
    std::optional<backlite::AddOp> op;
    shop.host.exec("BEGIN IMMEDIATE");
    op.emplace(shop.client.add(Job{}, Other{}));
    sweep(
        "tx(db)", [&] { (void)std::move(*op).tx(shop.host).save(); },
        [&](bool worked) {
            CHECK(in_transaction(shop.host));
            CHECK(shop.host.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == (worked ? 2 : 0));
            CHECK_THROWS_AS(shop.host.exec("RELEASE backlite_add"), SQLite::Exception);
            shop.host.exec("ROLLBACK; BEGIN IMMEDIATE");
            op.emplace(shop.client.add(Job{}, Other{}));
        });
    shop.host.exec("ROLLBACK");
}

// ---- a client that runs tasks ---------------------------------------------------------------------------------------

/// What a processor does is the test's own affair, and needs no memory of the library's.
enum Kind { succeeds, fails_once, snoozes_once, waits_for_its_timeout, kinds };

struct Work {
    int n = 0;
    std::string text = "longer than what a string holds in itself";
    static backlite::QueueConfig config() {
        return {.name = "work of a queue with a name that is long",
                .max_attempts = 2,
                .timeout = 50ms,
                .backoff = backlite::Backoff{1ms}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, n, text)

constexpr int most_tasks = 4096;
std::array<std::atomic<int>, most_tasks> runs;  // by number

backlite::Outcome run(backlite::Context& context, const Work& work) {
    const ScarceMemory::Spared spared;
    const int earlier = runs[static_cast<std::size_t>(work.n)]++;
    switch (work.n % kinds) {
        case fails_once:
            if (earlier == 0) throw std::runtime_error("fails once, with a text that is longer than a string holds");
            break;
        case snoozes_once:
            if (earlier == 0) return backlite::Outcome::snooze(1ms);
            break;
        case waits_for_its_timeout:
            while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
            break;
        default: break;
    }
    return backlite::Outcome::success();
}

int expected_runs(int n) { return n % kinds == fails_once || n % kinds == snoozes_once ? 2 : 1; }

void register_work(Client& client) {
    client.register_queue<Work>([](backlite::Context& context, const Work& work) { return run(context, work); });
}

std::vector<Work> many(int first, int count) {
    std::vector<Work> tasks;
    for (int n = first; n < first + count; ++n) tasks.push_back({.n = n});
    return tasks;
}

/// Whether all these tasks have run as often as they should, and no others.
bool all_ran(const std::set<int>& added, int next) {
    for (int n = 0; n < next; ++n) {
        if (runs[static_cast<std::size_t>(n)] != (added.count(n) > 0 ? expected_runs(n) : 0)) return false;
    }
    return true;
}

ClientConfig quick(const TempFolder& folder) {
    ClientConfig config;
    config.database = folder.file("app.db");
    config.num_workers = 2;
    config.durability = backlite::Durability::process;
    config.logger = backlite::make_logger([](auto&&...) {});
    return config;
}

TEST_CASE("out of memory: whatever a thread of the client needs it for, each task runs as often as it should") {
    each_allocation("threads of the client", 0, [](std::uint64_t n) {
        for (std::atomic<int>& count : runs) count = 0;
        const TempFolder folder;
        Round round;
        int starts = 0;
        {
            Client client(quick(folder));
            register_work(client);
            const ScarceMemory memory(ScarceMemory::Of::library_threads, n);
            client.start();
            std::set<int> added;
            for (const int count : {1, 1, 1, 1, 8}) {
                const int next = static_cast<int>(added.size());
                (void)client.add(many(next, count)).save();
                for (int k = next; k < next + count; ++k) {
                    added.insert(k);
                    starts += expected_runs(k);
                }
            }
            CHECK(eventually([&] { return client.counts().empty(); }));
            CHECK(all_ran(added, most_tasks));
            CHECK(client.stop(20s));
            round = {memory.met(), memory.calls()};
        }
        SQLite::Database look(folder.file("app.db"));
        CHECK(look.execAndGet("PRAGMA integrity_check").getString() == "ok");
        // What could not begin has not started.
        CHECK(look.execAndGet("SELECT sum(started) FROM backlite_stats WHERE span = 1").getInt() == starts);
        return round;
    });
}

/// An observer that needs no memory.
struct Counting {
    std::atomic<std::int64_t> told{0};
    std::atomic<std::int64_t> dropped{0};

    [[nodiscard]] ClientConfig config(const TempFolder& folder) {
        ClientConfig config = quick(folder);
        config.observers = {[this](const backlite::Event& event) {
            if (event.kind == backlite::EventKind::dropped) {
                dropped += event.count;
            } else {
                ++told;
            }
        }};
        return config;
    }
};

TEST_CASE("out of memory: an event is told or counted as dropped, and each task runs as often as it should") {
    each_allocation("threads of a client with an observer", 0, [](std::uint64_t n) {
        for (std::atomic<int>& count : runs) count = 0;
        const TempFolder folder;
        Counting counting;
        Round round;
        std::int64_t events = 2;  // start and stop
        {
            Client client(counting.config(folder));
            register_work(client);
            const ScarceMemory memory(ScarceMemory::Of::library_threads, n);
            client.start();
            std::set<int> added;
            for (const int count : {1, 1, 8}) {
                const int next = static_cast<int>(added.size());
                (void)client.add(many(next, count)).save();
                for (int k = next; k < next + count; ++k) {
                    added.insert(k);
                    events += 1 + 2 * expected_runs(k);
                }
            }
            CHECK(eventually([&] { return client.counts().empty(); }));
            CHECK(all_ran(added, most_tasks));
            CHECK(client.stop(20s));
            round = {memory.met(), memory.calls()};
        }
        // An attempt that could not begin, and a storage error, are events of their own.
        CHECK(counting.told + counting.dropped >= events);
        CHECK(counting.dropped <= 1);
        return round;
    });
}

TEST_CASE("out of memory: what was added is told or counted as dropped, and what was not is neither") {
    const TempFolder folder;
    Counting counting;
    std::int64_t added = 0;
    {
        const Client client(counting.config(folder));
        SQLite::Database database(folder.file("app.db"), SQLite::OPEN_READWRITE);
        const auto tasks = [&] { return database.execAndGet("SELECT count(*) FROM backlite_tasks").getInt64(); };
        const auto check = [&](bool worked) {
            added += worked ? 2 : 0;
            CHECK(tasks() == added);
        };
        sweep(
            "add of a client with an observer", [&] { (void)client.add(many(0, 2)).save(); }, check);
        sweep(
            "add in a Transaction of a client with an observer",
            [&] {
                Transaction transaction(client, database);
                (void)client.add(many(0, 2)).tx(transaction).save();
                transaction.commit();
            },
            check);
    }
    CHECK(counting.told + counting.dropped == added);
    CHECK(counting.dropped > 0);
}

TEST_CASE("out of memory: the threads of a client begin and end") {
    each_allocation("threads that begin", 40, [](std::uint64_t n) {
        const TempFolder folder;
        Client client(quick(folder));
        register_work(client);
        const ScarceMemory memory(ScarceMemory::Of::library_threads, n);
        client.start();
        CHECK(client.stop(20s));
        return Round{memory.met(), memory.calls()};
    });
}

TEST_CASE("out of memory: a call of a running client works or fails, and what it added runs") {
    for (std::atomic<int>& count : runs) count = 0;
    const TempFolder folder;
    Client client(quick(folder));
    register_work(client);
    client.start();
    std::set<int> added;
    int next = 0;
    const auto adds = [&](std::string_view name, int count, auto&& save) {
        sweep(
            name, [&] { save(next); },
            [&](bool worked) {
                for (int n = next; worked && n < next + count; ++n) added.insert(n);
                next += count;
                added.insert(next);
                (void)client.add(Work{.n = next++}).save();
            });
        INFO(name);
        CHECK(eventually([&] { return all_ran(added, next); }));
    };
    adds("add one", 1, [&](int n) { (void)client.add(Work{.n = n}).save(); });
    adds("add many", 3, [&](int n) { (void)client.add(Work{.n = n}, Work{.n = n + 1}, Work{.n = n + 2}).save(); });
    adds("add a range", 3, [&](int n) { (void)client.add(many(n, 3)).save(); });
    adds("add at", 1, [&](int n) { (void)client.add(Work{.n = n}).at(std::chrono::system_clock::now()).save(); });
    const auto works = [&](bool) { CHECK(client.status(backlite::TaskId{}) == backlite::TaskStatus::not_found); };
    sweep(
        "status", [&] { (void)client.status(backlite::TaskId{}); }, works);
    sweep(
        "counts", [&] { (void)client.counts(); }, works);
    sweep(
        "notify", [&] { client.notify(); }, works);
    sweep(
        "install", [&] { client.install(); }, works);
    sweep(
        "register", [&] { register_work(client); }, works);
    sweep(
        "stop", [&] { (void)client.stop(5s); }, [&](bool) { client.start(); });
    CHECK(client.stop(20s));
    sweep(
        "start", [&] { client.start(); }, [&](bool) { CHECK(client.stop(20s)); });
    CHECK(all_ran(added, next));
}

TEST_CASE("out of memory: a client is opened and closed, or is not") {
    const TempFolder folder;
    sweep(
        "Client", [&] { const Client client(quick(folder)); },
        [&](bool) { CHECK(Client(quick(folder)).counts().empty()); });
}

TEST_CASE("out of memory: the end of a client needs none") {
    const TempFolder folder;
    std::optional<Client> client;
    sweep(
        "~Client",
        [&] {
            {
                const ScarceMemory::Spared spared;
                client.emplace(quick(folder));
                register_work(*client);
                client->start();
            }
            client.reset();
        },
        [&](bool worked) { CHECK(worked); });
}

TEST_CASE("out of memory: the end of a client inside its own task leaves nothing behind") {
    each_allocation("orphan", 20, [](std::uint64_t n) {
        const TempFolder folder;
        std::optional<ScarceMemory> memory;
        auto client = std::make_unique<Client>(quick(folder));
        client->register_queue<Other>([&](const Other&) {
            memory.emplace(ScarceMemory::Of::library_threads, n);
            client.reset();
        });
        client->start();
        (void)client->add(Other{}).save();
        SQLite::Database look(folder.file("app.db"));
        look.setBusyTimeout(5000);
        const auto none = [&look](const char* table) {
            return look.execAndGet(fmt::format("SELECT count(*) FROM {}", table)).getInt() == 0;
        };
        CHECK(eventually([&] { return none("backlite_tasks") && none("backlite_clients"); }));
        return Round{memory->met(), memory->calls()};
    });
}

TEST_CASE("out of memory: the first look of a client opens its connection, or the next one does") {
    const TempFolder folder;
    std::optional<Client> client(quick(folder));
    sweep(
        "first status", [&] { (void)client->status(backlite::TaskId{}); },
        [&](bool) {
            CHECK(client->counts().empty());
            client.emplace(quick(folder));
        });
}

TEST_CASE("out of memory: a stop callback runs on a thread of the client all the same") {
    const auto own = std::make_shared<backlite::platform::ThreadList>();
    const backlite::Clock clock;
    backlite_test::Events<bool> called;
    backlite::engine::DeadlineTimer timer(own, 1, clock);
    const auto signal = std::make_shared<backlite::detail::StopSignal>();
    const std::stop_callback callback(signal->token(), [&] { called.add(own->has_this_thread()); });
    {
        const ScarceMemory scarce(ScarceMemory::Of::this_thread, 1);
        timer.fire(signal, backlite::StopReason::stopping);
        CHECK_FALSE(scarce.met());
    }
    REQUIRE(called.wait_for(1));
    CHECK(called.count_of(true) == 1);
}

TEST_CASE("out of memory: an attempt that cannot begin is as if it had never started") {
    backlite::core::QueueRegistry queues;
    queues.add(backlite::Queue<Work>([](backlite::Context& context, const Work& work) {
                   return run(context, work);
               }).release());
    const backlite::Clock clock;
    backlite::core::TaskRunner runner(queues, {}, clock,
                                      backlite::detail::SafeLogger(backlite::make_logger([](auto&&...) {})));
    struct Observer final : backlite::core::AttemptObserver {
        void entering(const backlite::detail::ClaimedTask&) noexcept override {}
        void timing(std::chrono::steady_clock::time_point,
                    const std::shared_ptr<backlite::detail::StopSignal>&) override {}
        void left() noexcept override {}
    } observer;
    const auto signal = std::make_shared<backlite::detail::StopSignal>();
    backlite::detail::ClaimedTask task;
    task.payload = R"({"n":0,"text":"longer than what a string holds in itself"})";
    backlite::detail::AttemptResult resolved;
    runs[0] = 0;
    sweep(
        "an attempt",
        [&] {
            resolved = {};
            runner.run(task, signal, observer, resolved);
        },
        [&](bool) {
            const bool ran = runs[0].exchange(0) == 1;
            CHECK(resolved.resolution ==
                  (ran ? backlite::detail::RowChange::complete : backlite::detail::RowChange::release));
            CHECK(resolved.spends_attempt == ran);
            CHECK(resolved.wait.has_value() == !ran);  // or it would be tried again and again, and nothing else
        });
}

TEST_CASE("out of memory: each task of a batch has run, or is as if it had never started") {
    std::size_t ran = 0;
    backlite::core::QueueRegistry queues;
    queues.add(
        backlite::BatchQueue<Work>({.max = 3}, [&](std::span<const Work> works) { ran += works.size(); }).release());
    const backlite::Clock clock;
    backlite::core::TaskRunner runner(queues, {}, clock,
                                      backlite::detail::SafeLogger(backlite::make_logger([](auto&&...) {})));
    struct Observer final : backlite::core::AttemptObserver {
        void entering(const backlite::detail::ClaimedTask&) noexcept override {}
        void timing(std::chrono::steady_clock::time_point,
                    const std::shared_ptr<backlite::detail::StopSignal>&) override {}
        void left() noexcept override {}
    } observer;
    const auto signal = std::make_shared<backlite::detail::StopSignal>();
    backlite::detail::ClaimedTask task;
    task.payload = R"({"n":0,"text":"longer than what a string holds in itself"})";
    task.others.resize(2);
    for (auto& other : task.others) other.payload = task.payload;
    task.others[1].oversize = std::size_t{1} << 30;
    backlite::detail::AttemptResult resolved;
    sweep(
        "a batch",
        [&] {
            ran = 0;
            {
                const ScarceMemory::Spared spared;
                resolved = {};
                resolved.others.resize(2);
            }
            runner.run(task, signal, observer, resolved);
        },
        [&](bool worked) {
            CHECK(worked);
            REQUIRE(resolved.others.size() == 2);
            std::size_t completed = 0;
            for (const auto* each : {&resolved, &resolved.others[0]}) {
                const bool complete = each->resolution == backlite::detail::RowChange::complete;
                if (complete) ++completed;
                CHECK(each->spends_attempt == complete);
                CHECK(each->wait.has_value() == !complete);
            }
            CHECK(completed == ran);
            const bool failed = resolved.others[1].resolution == backlite::detail::RowChange::fail;
            CHECK(resolved.others[1].wait.has_value() == !failed);
        });
}

// ---- what a client does besides running tasks -----------------------------------------------------------------------

/// A file whose triggers call `moment()`, which the client's connections know: from its `from`th call on, the n-th
/// allocation of the client's threads is refused.
class Watched {
public:
    Watched(std::uint64_t n, int from) : n_(n), from_(from) {
        config.open = [this] {
            SQLite::Database database(folder.file("app.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
            sqlite3_create_function_v2(database.getHandle(), "moment", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, this, &moment,
                                       nullptr, nullptr, nullptr);
            return database;
        };
        for (std::atomic<int>& count : runs) count = 0;
    }

    /// What `moment()` returns.
    std::atomic<bool> answer{false};
    [[nodiscard]] int moments() const noexcept { return moments_; }
    [[nodiscard]] Round round() const noexcept { return memory_ ? Round{memory_->met(), memory_->calls()} : Round{}; }

    /// Inserts what no client adds: a task of the queue of `Work`.
    void add(SQLite::Database& host, int n, std::string_view created_at, std::string_view claimed_at, int owner) const {
        host.exec(
            fmt::format("INSERT INTO backlite_tasks (id, queue, created_at, task, claim, claimed_at, owner) VALUES "
                        "('task-{0}', '{1}', {2}, CAST('{{\"n\":{0}}}' AS BLOB), 1, {3}, {4})",
                        n, Work::config().name, created_at, claimed_at, owner == 0 ? "NULL" : std::to_string(owner)));
    }

    const TempFolder folder{};
    ClientConfig config = quick(folder);

private:
    static void moment(sqlite3_context* context, int, sqlite3_value**) {
        Watched& self = *static_cast<Watched*>(sqlite3_user_data(context));
        if (++self.moments_ == self.from_) self.memory_.emplace(ScarceMemory::Of::library_threads, self.n_);
        sqlite3_result_int(context, self.answer ? 1 : 0);
    }

    const std::uint64_t n_;
    const int from_;
    std::atomic<int> moments_{0};
    std::optional<ScarceMemory> memory_{};
};

TEST_CASE("out of memory: an outcome that is refused is not lost") {
    each_allocation("refused outcomes", 40, [](std::uint64_t n) {
        Watched watched(n, 2);  // the second call is that in a savepoint, after which the outcome is set apart
        Client client(watched.config);
        register_work(client);
        SQLite::Database host(watched.folder.file("app.db"), SQLite::OPEN_READWRITE);
        host.exec(
            "CREATE TRIGGER refuse BEFORE DELETE ON backlite_tasks WHEN moment() "
            "BEGIN SELECT RAISE(ABORT, 'no'); END");
        watched.answer = true;
        client.start();
        (void)client.add(many(0, 1)).save();
        CHECK(eventually([&] { return watched.moments() >= 2; }));
        watched.answer = false;
        CHECK(client.stop(20s));  // hurries what was refused
        CHECK(client.counts().empty());
        CHECK(runs[0] == 1);
        return watched.round();
    });
}

TEST_CASE("out of memory: what a transaction has changed is noted, and a claim that was refused is claimed again") {
    const backlite::detail::SafeLogger tell;
    const backlite::core::QueueRegistry queues = backlite_test::two_queues();
    const ClientConfig config{.release_after = 9s};
    const backlite::testing::ManualClock clock;
    const auto now = backlite::core::Moment::of(clock);
    backlite::core::Scheduler scheduler(config, queues, tell);
    scheduler.begin(now);
    backlite::store::FileState state{.heads = scheduler.agenda().heads(), .ownerless = now.wall_ms() - 10s};
    state.heads[0].due = now.wall_ms();
    scheduler.found(std::move(state), now);
    scheduler.collect([](std::vector<backlite::store::EndedAttempt>& outcomes) { outcomes.resize(2); });
    const backlite::store::CyclePlan plan = scheduler.plan({.load = {.idle = 2}}, now);
    const StorageError error("no", SQLITE_CONSTRAINT);
    backlite::store::CycleResult result;
    result.refused_outcomes.push_back({1, error});
    result.lapsed = 1;
    result.mend_next = plan.mend;
    result.claimed.refused.push_back({"a task with an id that is longer than a string holds", 0, error});
    result.heads = scheduler.agenda().heads();
    scheduler.apart().make_room(1);
    bool stale = false;
    {
        const ScarceMemory memory(ScarceMemory::Of::this_thread, 1);
        scheduler.claimed(plan, result);
        stale = scheduler.written(plan, result, now);
    }
    CHECK(stale);
    CHECK(scheduler.outcomes().empty());
    CHECK(scheduler.apart().outcomes().size() == 1);
    {
        const ScarceMemory memory(ScarceMemory::Of::this_thread, 1);
        CHECK_THROWS_AS(scheduler.refused(result, now), std::bad_alloc);
    }
    CHECK(scheduler.apart().left().empty());
    scheduler.refused(result, now);
    CHECK(scheduler.apart().left().size() == 1);
}

TEST_CASE("out of memory: what a dead client held runs") {
    each_allocation("rescue while running", 30, [](std::uint64_t n) {
        Watched watched(n, 1);
        Client client(watched.config);
        register_work(client);
        SQLite::Database host(watched.folder.file("app.db"), SQLite::OPEN_READWRITE);
        host.setBusyTimeout(5000);
        host.exec("CREATE TRIGGER rescue AFTER DELETE ON backlite_clients BEGIN SELECT moment(); END");
        client.start();
        host.exec("BEGIN IMMEDIATE");
        host.exec(
            "INSERT INTO backlite_clients (owner, slot, workers, started_at, boot_id, version) VALUES (1000, 9, 1, 0, "
            "'', 1)");
        watched.add(host, 0, "0", "1", 1000);
        host.exec("COMMIT");
        CHECK(eventually([&] { return runs[0] == 1; }));
        CHECK(client.stop(20s));
        CHECK(client.counts().empty());
        CHECK(runs[0] == 1);
        return watched.round();
    });
}

TEST_CASE("out of memory: expired tasks are deleted, and tasks without an owner or from a wrong clock run") {
    each_allocation("upkeep", 20, [](std::uint64_t n) {
        Watched watched(n, 1);
        Client client(watched.config);
        register_work(client);
        SQLite::Database host(watched.folder.file("app.db"), SQLite::OPEN_READWRITE);
        host.setBusyTimeout(5000);
        host.exec("CREATE TRIGGER upkeep AFTER UPDATE ON backlite_tasks BEGIN SELECT moment(); END");
        host.exec("CREATE TRIGGER purge AFTER DELETE ON backlite_tasks_completed BEGIN SELECT moment(); END");
        host.exec(
            "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
            "last_duration_micro, succeeded, expires_at) VALUES ('old', 1, 'other', 1, 1, 1, 1, 2)");
        watched.add(host, 0, "1", "2", 0);
        const auto ahead = std::chrono::system_clock::now() + std::chrono::hours{24 * 365};
        watched.add(host, 4, std::to_string(backlite_test::row_ms(ahead)), "NULL", 0);
        client.start();
        CHECK(eventually([&] { return runs[0] == 1 && runs[4] == 1; }));
        CHECK(
            eventually([&] { return host.execAndGet("SELECT count(*) FROM backlite_tasks_completed").getInt() == 0; }));
        CHECK(client.stop(20s));
        CHECK(client.counts().empty());
        return watched.round();
    });
}

/// One client's place on a file, whose dispatcher is this test.
struct Place {
    Place() { live.emplace(writes, database.connection.file(), 4, release_after, clock, log); }

    /// A client of number 7, on the slot 9, that holds a task.
    void add_other() {
        database.execute(
            fmt::format("INSERT INTO backlite_clients (owner, slot, workers, started_at, boot_id, version) "
                        "VALUES (7, 9, 1, 0, '{}', 1)",
                        backlite::platform::boot_id()));
        database.add({.id = held, .claim = 1, .claimed_at = 5, .owner = 7});
    }
    /// It died inside that task, once a first client has joined.
    void record_crash() {
        backlite::store::sqlite::OwnerLock lock(database.connection.file());
        REQUIRE(lock.try_lock(9));
        lock.map(9, 1);
        lock.record(0).enter(1, backlite::store::sqlite::hash_id(held));
        lock.unmap();
        lock.unlock(9);
    }
    [[nodiscard]] bool holds() { return database.query("SELECT count(*) FROM backlite_tasks WHERE owner = 7") == "1"; }
    [[nodiscard]] bool joined() {
        return database.query("SELECT count(*) FROM backlite_clients WHERE owner <> 7") == "1";
    }

    static constexpr backlite::Duration release_after = 1min;
    static constexpr const char* held = "a task with an id that is longer than a string holds";
    const backlite::store::sqlite::GroupCommit::Patience patience{5s, {}};
    backlite_test::TestDatabase database{};
    backlite::testing::ManualClock clock{};
    const backlite::detail::SafeLogger log{backlite::make_logger([](auto&&...) {})};
    backlite::store::sqlite::GroupCommit writes{database.config, {}};
    std::optional<backlite::store::sqlite::Liveness> live{};
};

TEST_CASE("out of memory: who cannot join the clients of a file is not among them, and the dead wait for the next") {
    Place place;
    place.add_other();
    sweep(
        "join", [&] { place.live->join(place.patience); },
        [&](bool worked) {
            CHECK(place.joined() == worked);
            CHECK(place.holds() == !worked);
            place.live.reset();
            place.database.execute("DELETE FROM backlite_clients; DELETE FROM backlite_tasks");
            place.add_other();
            place.live.emplace(place.writes, place.database.connection.file(), 4, place.release_after, place.clock,
                               place.log);
        });
}

TEST_CASE("out of memory: a rescue has happened, or throws and has not") {
    Place place;
    place.live->join(place.patience);
    place.record_crash();
    place.add_other();
    sweep(
        "rescue", [&] { (void)place.live->rescue(place.patience); },
        [&](bool worked) {
            CHECK(place.holds() == !worked);
            CHECK(place.live->rescue(place.patience) == (worked ? 0 : 1));
            CHECK_FALSE(place.holds());
            CHECK(place.database.query("SELECT crashes FROM backlite_tasks") == "1");
            place.database.execute("DELETE FROM backlite_tasks");
            place.add_other();
        });
}

TEST_CASE("out of memory: what a hung client holds is taken back, or the look throws and it is not") {
    Place place;
    place.live->join(place.patience);
    place.add_other();
    backlite::store::sqlite::OwnerLock hung(place.database.connection.file());
    REQUIRE(hung.try_lock(9));
    const auto look = [&] {
        std::vector<backlite::detail::OwnerRow> others;
        place.writes.read([&](auto& repository) { others = place.live->read_others(repository); }, place.patience);
        place.live->set_others(std::move(others));
        int released = 0;
        for (int i = 0; i < 6; ++i) {
            place.clock.advance(place.release_after / 3);
            released += place.live->observe(place.patience);
        }
        return released;
    };
    sweep(
        "observe", [&] { (void)look(); },
        [&](bool worked) {
            CHECK(place.holds() == !worked);
            if (!worked) CHECK(look() == 1);
            CHECK_FALSE(place.holds());
            place.database.execute("UPDATE backlite_tasks SET owner = 7, claimed_at = 5, claim = claim + 1");
        });
}

// ---- the dashboard --------------------------------------------------------------------------------------------------

TEST_CASE("out of memory: a dashboard answers as it should or with a 503, and the next answer is right") {
    using backlite::ui::Request;
    using backlite::ui::Response;
    backlite_test::Rig rig;
    rig.add({.id = "waits", .queue = "mail", .created_at = rig.now - 65'000, .payload = R"({"to":"ada"})"});
    rig.add({.id = "comes", .queue = "mail", .created_at = rig.now - 5'000, .wait_until = rig.now + 3'600'000});
    rig.add({.id = "runs", .queue = "print", .created_at = rig.now - 9'000, .claimed_at = rig.now - 8'000, .owner = 7});
    rig.finish({.id = "good", .created_at = rig.now - 99'000, .executed_at = rig.now - 98'000});
    rig.finish({.id = "bad", .created_at = rig.now - 99'000, .executed_at = rig.now - 90'000, .error = "no <address>"});
    rig.database.execute(
        fmt::format("INSERT INTO backlite_stats VALUES (1, {0}, 'mail', 5, 4, 3, 1, 0, 9, 9), "
                    "(30, {1}, 'mail', 5, 4, 3, 1, 0, 9, 9)",
                    rig.now / 60'000 - 2, rig.now / 1'800'000 * 30));
    const auto fresh = [&rig] {
        backlite::ui::DashboardConfig config;
        config.clock = rig.clock;
        config.token = "0123456789abcdef";
        return std::make_unique<backlite::ui::Dashboard>(rig.database.config.database, std::move(config));
    };
    auto dashboard = fresh();
    const backlite::ui::Headers bearer{{"Authorization", "Bearer 0123456789abcdef"}};
    const auto answers = [&](std::string name, const Request& request, bool cold) {
        const Response right = dashboard->handle(request);
        Response response;
        if (cold) dashboard = fresh();
        sweep(
            name, [&] { response = dashboard->handle(request); },
            [&](bool worked) {
                CHECK(worked);
                if (response.status != 503) CHECK(response.status == right.status);
                if (response.status != 503) CHECK(response.body == right.body);
                const Response next = dashboard->handle(request);
                CHECK(next.status == right.status);
                CHECK(next.body == right.body);
                if (cold) dashboard = fresh();
            });
    };
    std::vector<std::string> paths{"/?period=day&sort=failed",
                                   "/?queue=mail&period=week",
                                   "/running",
                                   "/upcoming",
                                   "/succeeded",
                                   "/failed",
                                   "/failed?queue=mail&since=1h",
                                   "/search",
                                   "/search?q=a",
                                   "/task/waits",
                                   "/task/runs",
                                   "/task/bad",
                                   "/task/good",
                                   "/task/nobody",
                                   "/payload/good",
                                   "/payload/nobody",
                                   "/health?max_age=1",
                                   "/nowhere",
                                   "/%zz"};
    for (const std::string& path : paths) {
        auto headers = bearer;
        answers(path, backlite_test::get(path, headers), false);
        headers.emplace_back("Accept", "application/json");
        answers(path + " as JSON", backlite_test::get(path, headers), false);
    }
    for (const char* path : {"/", "/metrics", "/health"}) {  // each with the opening of its connection
        answers(fmt::format("{} at first", path), backlite_test::get(path, bearer), true);
    }
    answers("refused", backlite_test::get("/"), false);
    answers("the token in the address", backlite_test::get("/?token=0123456789abcdef"), false);
    Request post = backlite_test::get("/", bearer);
    post.method = "POST";
    answers("POST", post, false);
    const Response page = dashboard->handle(backlite_test::get("/", bearer));
    // A look at the version that fails takes the page for a new one.
    const auto right = [&page](const Response& one) {
        return one.status == 304 || (one.status == 200 && one.body == page.body);
    };
    Request again;
    const auto tag = [&] {
        auto headers = bearer;
        headers.emplace_back("If-None-Match",
                             backlite_test::header_of(dashboard->handle(backlite_test::get("/", bearer)), "ETag"));
        again = backlite_test::get("/", headers);
    };
    tag();
    Response response;
    sweep(
        "a tag that is still good", [&] { response = dashboard->handle(again); },
        [&](bool) {
            CHECK((response.status == 503 || right(response)));
            CHECK(right(dashboard->handle(again)));
            tag();
            CHECK(dashboard->handle(again).status == 304);
        });
    for (const std::string& link : backlite_test::parse_markup(page.body).links) {
        if (link.find("/assets/") != std::string::npos) answers(link, backlite_test::get(link, bearer), false);
    }
    sweep(
        "Dashboard", [&] { (void)fresh(); },
        [&](bool) { CHECK(fresh()->handle(backlite_test::get("/health")).status == 200); });
    sweep(
        "entrance", [&] { (void)dashboard->entrance("/tasks"); }, [](bool) {});
}

// ---- the calendar ---------------------------------------------------------------------------------------------------

TEST_CASE("out of memory: a Cron is made, or is not, and its next time needs none") {
    const backlite_test::ChosenZones zones;
    zones.put("Europe/Berlin", backlite_test::ZoneBytes{.rule = "CET-1CEST,M3.5.0,M10.5.0/3"}.bytes());
    constexpr backlite::TimePoint day = std::chrono::sys_days{std::chrono::year{2026} / 7 / 1};
    const auto make = [] { return backlite::Cron{"0,30 3 1-15/2,LW JAN-DEC *", "Europe/Berlin"}; };
    std::optional<backlite::Cron> made;
    sweep(
        "Cron",
        [&] {
            made.reset();
            made.emplace(make());
        },
        [&](bool worked) {
            CHECK(made.has_value() == worked);
            CHECK(make().next(day) == day + 1h);
        });
    const backlite::Cron cron = make();
    sweep(
        "Cron::next", [&] { static_cast<void>(cron.next(day)); }, [](bool worked) { CHECK(worked); });
}

}  // namespace scarce_memory_test
