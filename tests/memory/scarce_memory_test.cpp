// SPDX-License-Identifier: MIT
// Memory runs out, once: the call that needed it fails, or works all the same, and everything goes on.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
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
#include <backlite/storage/group_commit.hpp>
#include <backlite/storage/schema.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <harness.hpp>
#include <scarce_memory.hpp>
#include <temp_folder.hpp>

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

/// Calls `call` with one allocation refused after the other: the first forty, and a sample of the others, or all with
/// BACKLITE_ROUNDS=1000000. It may throw std::bad_alloc or an error of the library. `check(worked)` follows each.
template <class Call, class Check>
void sweep(std::string_view name, Call&& call, Check&& check) {
    constexpr std::uint64_t first = 40;
    const Harness harness(name, 12);
    std::uint64_t allocations = 0;
    const auto refuse = [&](std::uint64_t n) {
        INFO(name << ": allocation " << n << " is refused");
        bool worked = true;
        bool met = false;
        {
            const ScarceMemory memory(ScarceMemory::Of::this_thread, n);
            try {
                call();
            } catch (const std::bad_alloc&) {
                worked = false;
            } catch (const backlite::Error&) {
                worked = false;
            }
            met = memory.met();
            allocations = memory.calls();
        }
        check(worked);
        return met;
    };
    for (std::uint64_t n = 1; n <= first; ++n) {
        if (!refuse(n)) return;
    }
    (void)refuse((std::numeric_limits<std::uint64_t>::max)());
    const std::uint64_t step = (std::max)(allocations / harness.rounds(), std::uint64_t{1});
    for (std::uint64_t n = first + 1 + harness.seed() % step; refuse(n); n += step) {
    }
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
    backlite::storage::GroupCommit writes(config, {});
    backlite::storage::Schema::install(writes.connection(), 5s);
    const backlite::storage::GroupCommit::Patience patience{5s, {}};
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
    backlite::storage::GroupCommit writes(config, {});
    const backlite::storage::GroupCommit::Patience patience{5s, {}};
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
    const Harness harness("threads of the client", 12);
    std::uint64_t allocations = 0;
    const auto round = [&](std::uint64_t n) {
        INFO("allocation " << n << " of " << allocations << " is refused");
        for (std::atomic<int>& count : runs) count = 0;
        const TempFolder folder;
        bool met = false;
        {
            Client client(quick(folder));
            register_work(client);
            const ScarceMemory memory(ScarceMemory::Of::library_threads, n);
            client.start();
            std::set<int> added;
            for (const int count : {1, 1, 1, 1, 8}) {
                const int next = static_cast<int>(added.size());
                (void)client.add(many(next, count)).save();
                for (int k = next; k < next + count; ++k) added.insert(k);
            }
            CHECK(eventually([&] { return client.counts().empty(); }));
            CHECK(all_ran(added, most_tasks));
            CHECK(client.stop(20s));
            met = memory.met();
            allocations = (std::max)(allocations, memory.calls());
        }
        SQLite::Database look(folder.file("app.db"));
        CHECK(look.execAndGet("PRAGMA integrity_check").getString() == "ok");
        return met;
    };
    (void)round((std::numeric_limits<std::uint64_t>::max)());
    const std::uint64_t step = (std::max)(allocations / harness.rounds(), std::uint64_t{1});
    for (std::uint64_t n = 1 + harness.seed() % step; n <= allocations; n += step) (void)round(n);
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

}  // namespace scarce_memory_test
