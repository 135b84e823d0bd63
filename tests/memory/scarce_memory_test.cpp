// SPDX-License-Identifier: MIT
// Memory runs out, once: the call that needed it fails, or works all the same, and everything goes on.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/storage/group_commit.hpp>
#include <backlite/storage/schema.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <scarce_memory.hpp>
#include <temp_folder.hpp>

namespace scarce_memory_test {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::StorageError;
using backlite::Transaction;
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

}  // namespace scarce_memory_test
