// SPDX-License-Identifier: MIT
// SQLite runs out of memory: what a failed call has begun is over all the same.

#include <memory>
#include <stdexcept>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/store/sqlite/group_commit.hpp>

#include <backlite_catch.hpp>
#include <faulty_memory.hpp>
#include <temp_folder.hpp>

namespace {

using backlite::Added;
using backlite::Client;
using backlite::StorageError;
using backlite_test::FaultyMemory;
using backlite_test::TempFolder;

struct Job {
    std::string text{};
    static backlite::QueueConfig config() { return {.name = "job"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, text)

bool in_transaction(SQLite::Database& database) { return sqlite3_get_autocommit(database.getHandle()) == 0; }

TEST_CASE("out of memory: a write that failed leaves no transaction open") {
    FaultyMemory memory;
    const TempFolder folder;
    const backlite::ClientConfig config{.database = folder.file("app.db")};
    backlite::store::sqlite::GroupCommit writes(config, {});
    const backlite::store::sqlite::GroupCommit::Patience patience{backlite::Duration{1000}, {}};
    const auto fail = [&](backlite::store::sqlite::Repository&) {
        memory.arm(1, true);
        throw std::runtime_error("enough");
    };
    CHECK_THROWS_AS(writes.write(fail, patience), std::runtime_error);
    memory.disarm();
    CHECK_FALSE(writes.connection().in_transaction());
}

TEST_CASE("out of memory: counts that failed do not go on showing the file as it was") {
    FaultyMemory memory;
    const TempFolder folder;
    Client client{{.database = folder.file("app.db")}};
    CHECK(client.counts().empty());
    for (const bool for_good : {false, true}) {
        for (unsigned nth = 1; nth <= 40; ++nth) {
            memory.arm(nth, for_good);
            try {
                (void)client.counts();
            } catch (const StorageError& error) {
                CHECK(error.code() == SQLITE_NOMEM);
            }
            memory.disarm();
        }
    }
    (void)client.add(Job{}).save();
    REQUIRE(client.counts().size() == 1);
    CHECK(client.counts()[0].waiting == 1);
}

TEST_CASE("out of memory: a Transaction that is not committed is over at its end") {
    FaultyMemory memory;
    const TempFolder folder;
    Client client{{.database = folder.file("app.db")}};
    SQLite::Database host(folder.file("app.db"), SQLite::OPEN_READWRITE);
    {
        backlite::Transaction tx{client, host};
        (void)client.add(Job{}).tx(tx).save();
        memory.arm(1, true);
    }
    memory.disarm();
    CHECK_FALSE(in_transaction(host));
    CHECK(client.counts().empty());
}

TEST_CASE("out of memory: an add that failed leaves nothing in the host's transaction") {
    FaultyMemory memory;
    const TempFolder folder;
    Client client{{.database = folder.file("app.db")}};
    SQLite::Database host(folder.file("app.db"), SQLite::OPEN_READWRITE);
    SQLite::Statement begin(host, "BEGIN IMMEDIATE");
    SQLite::Statement commit(host, "COMMIT");
    bool added = false;
    for (unsigned nth = 1; !added && nth < 1000; ++nth) {
        INFO("from allocation " << nth);
        (void)begin.tryExecuteStep();
        (void)begin.tryReset();
        memory.arm(nth, true);
        try {
            (void)client.add(Job{"a"}, Job{std::string(20'000, 'b')}).tx(host).save();
            added = true;
        } catch (const StorageError& error) {
            CHECK(error.added() == Added::no);
        }
        memory.disarm();
        if (in_transaction(host)) {
            CHECK(commit.tryExecuteStep() == SQLITE_DONE);
            (void)commit.tryReset();
        }
        CHECK(client.counts().empty() != added);
    }
    CHECK(added);
}

}  // namespace
