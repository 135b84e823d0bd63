// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/statement.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <faulty_vfs.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::contains;
using backlite_test::Events;
using backlite_test::FaultyVfs;
using backlite_test::Gate;
using backlite_test::message_of;
using backlite_test::quick_config;
using backlite_test::TempFolder;
using store::sqlite::GroupCommit;
using store::sqlite::Repository;
using Patience = GroupCommit::Patience;
namespace fs = std::filesystem;

const Patience patient{60s, {}};

/// A file with a table `t`, the write path to it, and what its hooks were told.
class Shop {
public:
    explicit Shop(std::function<void(ClientConfig&)> change = {}) {
        config = quick_config(folder.file("app.db"));
        if (change) change(config);
        commit.emplace(config, store::StoreHooks{[this] { on_foreign_commit(); },
                                                 [this](const StorageError& error) { on_fatal(error); }});
        db = commit->connection().handle();
        store::sqlite::Schema::install(commit->connection(), 5s);
        execute(
            "PRAGMA foreign_keys=ON; CREATE TABLE t (n UNIQUE); CREATE TABLE parent (id INTEGER PRIMARY KEY); "
            "CREATE TABLE child (parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)");
    }

    /// For work that runs, and before any other thread is there.
    void execute(const std::string& sql) const { store::sqlite::execute(db, sql.c_str()); }

    /// Adds a row, as one operation.
    void write(int n, const Patience& patience = patient) {
        commit->write([&](Repository&) { execute(fmt::format("INSERT INTO t VALUES ({})", n)); }, patience);
    }

    /// What a host sees in the file.
    [[nodiscard]] std::string rows() const { return host("SELECT n FROM t ORDER BY n"); }
    [[nodiscard]] std::string host(const std::string& sql) const {
        SQLite::Database database(config.database, SQLite::OPEN_READWRITE);
        return backlite_test::query(database.getHandle(), sql);
    }

    TempFolder folder{};
    ClientConfig config{};
    Events<bool> foreign_commits{};
    Events<std::string> fatals{};
    std::function<void()> in_foreign{};  // runs inside the hook
    sqlite3* db = nullptr;
    std::optional<GroupCommit> commit{};

private:
    void on_foreign_commit() {
        if (in_foreign) in_foreign();
        foreign_commits.add(true);
    }
    void on_fatal(const StorageError& error) { fatals.add(error.what()); }
};

/// A host's connection that holds the write lock.
class Lock {
public:
    explicit Lock(const Shop& shop) : database_(shop.config.database, SQLite::OPEN_READWRITE) {
        backlite_test::execute(database_.getHandle(), "BEGIN IMMEDIATE");
    }
    void release() { backlite_test::execute(database_.getHandle(), "ROLLBACK"); }

private:
    SQLite::Database database_;
};

/// Runs on a thread of its own; what it throws is kept.
class Caller {
public:
    explicit Caller(std::function<void()> body)
        : thread_([this, body = std::move(body)] {
              try {
                  body();
              } catch (...) {
                  error_ = std::current_exception();
              }
              done_.open();
          }) {}

    [[nodiscard]] bool done_within(std::chrono::milliseconds patience) const { return done_.pass(patience); }

    /// Waits for the end, and throws what the body threw.
    void join() {
        thread_.join();
        if (error_) std::rethrow_exception(error_);
    }

private:
    Gate done_{};
    std::exception_ptr error_{};
    std::jthread thread_;
};

int throw_on_commit(void*) { return 1; }

/// Counts the commits of a shop's own connection.
class CommitCount {
public:
    explicit CommitCount(const Shop& shop) {
        sqlite3_commit_hook(
            shop.db,
            [](void* count) {
                ++*static_cast<std::atomic<int>*>(count);
                return 0;
            },
            &count_);
    }
    void reset() { count_ = 0; }
    [[nodiscard]] int get() const { return count_; }

private:
    std::atomic<int> count_{0};
};

// ---- one caller -----------------------------------------------------------------------------------------------------

TEST_CASE("GroupCommit: a write is in the file when it returns") {
    Shop shop;
    shop.write(1);
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: a lone caller's work runs once, on its own thread, inside a transaction") {
    Shop shop;
    std::vector<std::thread::id> threads;
    bool in_transaction = false;
    shop.commit->write(
        [&](Repository&) {
            threads.push_back(std::this_thread::get_id());
            in_transaction = sqlite3_get_autocommit(shop.db) == 0;
        },
        patient);
    CHECK(threads == std::vector<std::thread::id>{std::this_thread::get_id()});
    CHECK(in_transaction);
}

TEST_CASE("GroupCommit: the work gets the repository of its connection") {
    Shop shop;
    shop.commit->write([](Repository& repository) { repository.upkeep.set_side_file_id("here"); }, patient);
    CHECK(shop.host("SELECT value FROM backlite_meta WHERE key = 'side_file_id'") == "here");
}

TEST_CASE("GroupCommit: what the work throws reaches its caller, and nothing of it is in the file") {
    Shop shop;
    const auto work = [&](Repository&) {
        shop.execute("INSERT INTO t VALUES (1)");
        throw std::out_of_range("no such thing");
    };
    CHECK_THROWS_AS(shop.commit->write(work, patient), std::out_of_range);
    CHECK(shop.rows().empty());
}

TEST_CASE("GroupCommit: what the work throws need not be a std::exception") {
    Shop shop;
    CHECK_THROWS_AS(shop.commit->write([](Repository&) { throw 7; }, patient), int);
    shop.write(1);
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: a failed write leaves the way free for the next") {
    Shop shop;
    shop.write(1);
    CHECK_THROWS_AS(shop.write(1), StorageError);
    shop.write(2);
    CHECK(shop.rows() == "1\n2");
}

TEST_CASE("GroupCommit: a commit that fails is its caller's error, and nothing is in the file") {
    Shop shop;
    int code = 0;
    try {
        shop.commit->write([&](Repository&) { shop.execute("INSERT INTO child VALUES (1)"); }, patient);
    } catch (const StorageError& error) {
        code = error.extended_code();
    }
    CHECK(code == SQLITE_CONSTRAINT_FOREIGNKEY);
    shop.write(1);
    CHECK(shop.host("SELECT count(*) FROM child") == "0");
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: work that ends its own transaction is an error") {
    Shop shop;
    CHECK_THROWS_AS(shop.commit->write([&](Repository&) { shop.execute("ROLLBACK"); }, patient), StorageError);
    shop.write(1);
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: a full file is a FullError, and writes go on once there is room") {
    Shop shop;
    const std::string pages = backlite_test::query(shop.db, "PRAGMA page_count");
    shop.execute("PRAGMA max_page_count = " + pages);
    const auto fill = [&](Repository&) { shop.execute("INSERT INTO t VALUES (randomblob(100000))"); };
    CHECK_THROWS_AS(shop.commit->write(fill, patient), FullError);
    shop.execute("PRAGMA max_page_count = 100000");
    CHECK_NOTHROW(shop.commit->write(fill, patient));
    CHECK(shop.fatals.count() == 0);
}

// ---- several callers ------------------------------------------------------------------------------------------------

TEST_CASE("GroupCommit: many callers at once are all committed") {
    Shop shop;
    constexpr int callers = 8;
    constexpr int each = 100;
    {
        std::vector<std::jthread> threads;
        for (int caller = 0; caller < callers; ++caller) {
            threads.emplace_back([&shop, caller] {
                for (int i = 0; i < each; ++i) shop.write(caller * each + i);
            });
        }
    }
    CHECK(shop.host("SELECT count(*), min(n), max(n) FROM t") == "800|0|799");
}

enum class Leader { reads, writes };

/// Gives callers that have said they call the time to get into the line. Nobody can tell when they are there: most are
/// by now. What a test demands must hold for one that comes late, too.
void let_them_enter() {
    for (int i = 0; i < 50; ++i) std::this_thread::yield();
}

/// Lets callers arrive while one leads: behind one that reads they wait for the next transaction, one that writes takes
/// them into its own.
template <class Body>
void run_behind_a_leader(Shop& shop, int callers, Body body, Leader kind = Leader::reads) {
    Gate leading;
    Events<bool> calling;
    Caller leader([&] {
        bool first = true;
        const auto work = [&](Repository&) {
            if (!std::exchange(first, false)) return;
            leading.open();
            (void)calling.wait_for(static_cast<std::size_t>(callers));
            let_them_enter();
        };
        kind == Leader::reads ? shop.commit->read(work, patient) : shop.commit->write(work, patient);
    });
    REQUIRE(leading.pass());
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < callers; ++i) {
            threads.emplace_back([&, i] {
                calling.add(true);
                body(i);
            });
        }
    }
    leader.join();
}

/// Whether four callers and the leader in front of them ever share one commit.
bool share_one_commit(Leader kind) {
    Shop shop;
    CommitCount commits(shop);
    bool shared = false;
    for (int round = 0; round < 200 && !shared; ++round) {
        commits.reset();
        run_behind_a_leader(
            shop, 4, [&](int i) { shop.write(round * 4 + i); }, kind);
        shared = commits.get() == 1;
    }
    return shared;
}

TEST_CASE("GroupCommit: callers that wait behind a leader share one commit") { CHECK(share_one_commit(Leader::reads)); }

TEST_CASE("GroupCommit: callers that arrive while a leader writes share its commit") {
    CHECK(share_one_commit(Leader::writes));
}

TEST_CASE("GroupCommit: an operation that fails takes down only itself") {
    const Leader kind = GENERATE(Leader::reads, Leader::writes);
    Shop shop;
    int failed = 0;
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> errors{0};
        run_behind_a_leader(
            shop, 4,
            [&](int i) {
                try {
                    shop.commit->write(
                        [&](Repository&) {
                            shop.execute(fmt::format("INSERT INTO t VALUES ({})", round * 4 + i));
                            if (i == 2) throw std::runtime_error("only this one");
                        },
                        patient);
                } catch (const std::runtime_error&) {
                    errors += i == 2 ? 1 : 1000;
                }
            },
            kind);
        failed += errors;
    }
    CHECK(failed == 20);
    CHECK(shop.host("SELECT count(*), count(*) FILTER (WHERE n % 4 = 2) FROM t") == "60|0");
}

TEST_CASE("GroupCommit: where a commit fails, only the operation whose fault it is fails") {
    const Leader kind = GENERATE(Leader::reads, Leader::writes);
    Shop shop;
    int failed = 0;
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> errors{0};
        run_behind_a_leader(
            shop, 4,
            [&](int i) {
                try {
                    shop.commit->write(
                        [&](Repository&) {
                            shop.execute(fmt::format("INSERT INTO t VALUES ({})", round * 4 + i));
                            if (i == 1) shop.execute("INSERT INTO child VALUES (77)");  // has no parent
                        },
                        patient);
                } catch (const StorageError& error) {
                    errors += i == 1 && error.extended_code() == SQLITE_CONSTRAINT_FOREIGNKEY ? 1 : 1000;
                }
            },
            kind);
        failed += errors;
    }
    CHECK(failed == 20);
    CHECK(shop.host("SELECT count(*), count(*) FILTER (WHERE n % 4 = 1) FROM t") == "60|0");
    CHECK(shop.host("SELECT count(*) FROM child") == "0");
}

TEST_CASE("GroupCommit: where every commit fails, every caller is told") {
    Shop shop;
    sqlite3_commit_hook(shop.db, &throw_on_commit, nullptr);
    std::atomic<int> errors{0};
    const auto refused = [&](int i) {
        try {
            shop.write(i);
        } catch (const StorageError& error) {
            if (error.extended_code() == SQLITE_CONSTRAINT_COMMITHOOK) ++errors;
        }
    };
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) threads.emplace_back(refused, i);
    }
    CHECK(errors == 4);
    CHECK(shop.rows().empty());
}

TEST_CASE("GroupCommit: after a commit that failed for several, each of them has a transaction of its own") {
    struct Transactions {
        int operations = 0;  // in this transaction
        bool refused = false;
        int largest_after = 0;
    } seen;  // whoever leads
    Shop shop;
    sqlite3_commit_hook(
        shop.db,
        [](void* all) {
            auto& transactions = *static_cast<Transactions*>(all);
            const int operations = std::exchange(transactions.operations, 0);
            if (transactions.refused) {
                transactions.largest_after = (std::max)(transactions.largest_after, operations);
                return 0;
            }
            transactions.refused = operations == 4;
            return transactions.refused ? 1 : 0;
        },
        &seen);
    for (int round = 0; round < 200 && !seen.refused; ++round) {
        run_behind_a_leader(
            shop, 4,
            [&](int i) {
                shop.commit->write(
                    [&](Repository&) {
                        ++seen.operations;
                        shop.execute(fmt::format("INSERT INTO t VALUES ({})", round * 4 + i));
                    },
                    patient);
            },
            Leader::reads);
    }
    CHECK(seen.refused);
    CHECK(seen.largest_after == 1);
}

TEST_CASE("GroupCommit: what a failure has put back runs before what came later") {
    for (int round = 0; round < 10; ++round) {
        Shop shop;
        Gate leading;
        Gate second_calls;
        Gate second_runs;
        Gate third_calls;
        Gate third_runs;
        Gate last_calls;
        Events<char> runs;  // the last of each is the one that counts
        const auto await_next = [](Gate& running, const Gate& next_calls) {
            running.open();
            (void)next_calls.pass();
            let_them_enter();
        };
        Caller first([&] {
            shop.commit->write(
                [&](Repository&) {
                    await_next(leading, second_calls);
                    runs.add('1');
                },
                patient);
        });
        REQUIRE(leading.pass());
        Caller second([&] {
            second_calls.open();
            shop.commit->write(
                [&](Repository&) {
                    await_next(second_runs, third_calls);
                    runs.add('2');
                },
                patient);
        });
        REQUIRE(second_runs.pass());
        Caller third([&] {
            third_calls.open();
            shop.commit->write(
                [&](Repository&) {
                    await_next(third_runs, last_calls);
                    throw std::runtime_error("takes its transaction down");
                },
                patient);
        });
        REQUIRE(third_runs.pass());
        Caller last([&] {
            last_calls.open();
            shop.commit->write([&](Repository&) { runs.add('4'); }, patient);
        });
        CHECK_THROWS_AS(third.join(), std::runtime_error);
        for (Caller* caller : {&first, &second, &last}) caller->join();
        const std::vector<char> order = runs.all();
        CHECK(order.back() == '4');
    }
}

TEST_CASE("GroupCommit: of those who wait the first leads") {
    Shop shop;
    for (int round = 0; round < 20; ++round) {
        Events<bool> on_own_thread;
        run_behind_a_leader(shop, 3, [&](int i) {
            const auto own = std::this_thread::get_id();
            shop.commit->write(
                [&](Repository&) {
                    on_own_thread.add(std::this_thread::get_id() == own);
                    shop.execute(fmt::format("INSERT INTO t VALUES ({})", round * 3 + i));
                },
                patient);
        });
        CHECK(on_own_thread.all().front());
    }
}

TEST_CASE("GroupCommit: a caller behind one that fails to commit gets its turn") {
    Shop shop;
    Gate leading;
    Gate calling;
    Caller leader([&] {
        shop.commit->write(
            [&](Repository&) {
                leading.open();
                (void)calling.pass();
                throw std::runtime_error("in vain");
            },
            patient);
    });
    REQUIRE(leading.pass());
    Caller follower([&] {
        calling.open();
        shop.write(1);
    });
    CHECK_THROWS_AS(leader.join(), std::runtime_error);
    follower.join();
    CHECK(shop.rows() == "1");
}

// ---- locked by others -----------------------------------------------------------------------------------------------

TEST_CASE("GroupCommit: a lock that others hold for busy_timeout is a BusyError, and nothing is added") {
    Shop shop;
    Lock lock(shop);
    const std::string what = message_of<BusyError>([&] { shop.write(1, {30ms, {}}); });
    CHECK(what ==
          "database \"" + shop.config.database +
              "\" stayed locked by another connection for 30 ms (inside a transaction of your own, add with tx)");
    lock.release();
    shop.write(2);
    CHECK(shop.rows() == "2");
}

TEST_CASE("GroupCommit: all who wait for a lock that others hold get a BusyError of their own") {
    Shop shop;
    Lock lock(shop);
    std::atomic<int> errors{0};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&, i] {
                try {
                    shop.write(i, {40ms, {}});
                } catch (const BusyError&) {
                    ++errors;
                }
            });
        }
    }
    lock.release();
    CHECK(errors == 4);
    CHECK(shop.rows().empty());
}

TEST_CASE("GroupCommit: a lock that goes before busy_timeout is waited for") {
    Shop shop;
    Lock lock(shop);
    Caller caller([&] { shop.write(1); });
    CHECK_FALSE(caller.done_within(50ms));
    lock.release();
    caller.join();
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: with no busy_timeout at all a free file is written") {
    Shop shop;
    shop.write(1, {0ms, {}});
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: with no busy_timeout at all a locked file is a BusyError") {
    Shop shop;
    Lock lock(shop);
    CHECK_THROWS_AS(shop.write(1, {0ms, {}}), BusyError);
    lock.release();
    shop.write(2, {0ms, {}});
    CHECK(shop.rows() == "2");
}

TEST_CASE("GroupCommit: a commit of our own that takes longer than busy_timeout is waited for") {
    Shop shop;
    Gate leading;
    Gate go_on;
    Caller leader([&] {
        shop.commit->write(
            [&](Repository&) {
                leading.open();
                (void)go_on.pass();
            },
            patient);
    });
    REQUIRE(leading.pass());
    Caller follower([&] { shop.write(1, {5ms, {}}); });
    CHECK_FALSE(follower.done_within(60ms));
    go_on.open();
    leader.join();
    CHECK_NOTHROW(follower.join());
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: whoever waits takes over the lead when the leader gives up") {
    Shop shop;
    Lock lock(shop);
    Caller hasty([&] { shop.write(1, {40ms, {}}); });
    Caller patient_one([&] { shop.write(2); });
    CHECK_THROWS_AS(hasty.join(), BusyError);
    CHECK_FALSE(patient_one.done_within(20ms));
    lock.release();
    patient_one.join();
    CHECK(shop.rows() == "2");
}

// ---- cancelled ------------------------------------------------------------------------------------------------------

TEST_CASE("GroupCommit: a token that has fired before is Cancelled, and nothing is added") {
    Shop shop;
    std::stop_source source;
    source.request_stop();
    CHECK_THROWS_AS(shop.write(1, {60s, source.get_token()}), Cancelled);
    CHECK(shop.rows().empty());
}

TEST_CASE("GroupCommit: a token that fires while others hold the lock is Cancelled, and nothing is added") {
    Shop shop;
    Lock lock(shop);
    std::stop_source source;
    Caller caller([&] { shop.write(1, {60s, source.get_token()}); });
    CHECK_FALSE(caller.done_within(20ms));
    source.request_stop();
    CHECK_THROWS_AS(caller.join(), Cancelled);
    lock.release();
    CHECK(shop.rows().empty());
}

TEST_CASE("GroupCommit: a token that fires concerns its own caller alone") {
    Shop shop;
    Lock lock(shop);
    std::stop_source source;
    Caller first([&] { shop.write(1); });
    Caller second([&] { shop.write(2, {60s, source.get_token()}); });
    Caller third([&] { shop.write(3); });
    source.request_stop();
    CHECK_THROWS_AS(second.join(), Cancelled);
    lock.release();
    first.join();
    third.join();
    CHECK(shop.rows() == "1\n3");
}

TEST_CASE("GroupCommit: a token that fires once the work has begun comes too late") {
    Shop shop;
    std::stop_source source;
    shop.commit->write(
        [&](Repository&) {
            source.request_stop();
            shop.execute("INSERT INTO t VALUES (1)");
        },
        {60s, source.get_token()});
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: a token that fires while a caller waits behind another is Cancelled at once") {
    Shop shop;
    Gate leading;
    Gate go_on;
    Caller leader([&] {
        shop.commit->write(
            [&](Repository&) {
                leading.open();
                (void)go_on.pass();
            },
            patient);
    });
    REQUIRE(leading.pass());
    std::stop_source source;
    Caller follower([&] { shop.write(1, {60s, source.get_token()}); });
    source.request_stop();
    CHECK(follower.done_within(20s));
    go_on.open();
    leader.join();
    CHECK_THROWS_AS(follower.join(), Cancelled);
    CHECK(shop.rows().empty());
}

// ---- reading and looking --------------------------------------------------------------------------------------------

TEST_CASE("GroupCommit: a read takes no write lock, and needs none") {
    Shop shop;
    shop.write(1);
    Lock lock(shop);
    std::string seen;
    bool in_transaction = true;
    shop.commit->read(
        [&](Repository&) {
            in_transaction = sqlite3_get_autocommit(shop.db) == 0;
            seen = backlite_test::query(shop.db, "SELECT n FROM t");
        },
        patient);
    CHECK_FALSE(in_transaction);
    CHECK(seen == "1");
}

TEST_CASE("GroupCommit: what a read throws reaches its caller") {
    Shop shop;
    CHECK_THROWS_AS(shop.commit->read([](Repository&) { throw std::out_of_range("x"); }, patient), std::out_of_range);
    shop.write(1);
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: reads and writes of many callers at once all come through") {
    Shop shop;
    std::atomic<int> reads{0};
    {
        std::vector<std::jthread> threads;
        for (int caller = 0; caller < 4; ++caller) {
            threads.emplace_back([&shop, &reads, caller] {
                for (int i = 0; i < 50; ++i) {
                    if (caller % 2 == 0) {
                        shop.write(caller * 50 + i);
                    } else {
                        shop.commit->read([&](Repository&) { ++reads; }, patient);
                    }
                }
            });
        }
    }
    CHECK(reads >= 100);
    CHECK(shop.host("SELECT count(*) FROM t") == "100");
}

TEST_CASE("GroupCommit: a commit of another is told by the next write, read or look") {
    Shop shop;
    (void)shop.host("INSERT INTO t VALUES (1)");
    shop.write(2);
    CHECK(shop.foreign_commits.count() == 1);
    (void)shop.host("INSERT INTO t VALUES (3)");
    shop.commit->read([](Repository&) {}, patient);
    CHECK(shop.foreign_commits.count() == 2);
    (void)shop.host("INSERT INTO t VALUES (4)");
    shop.commit->look();
    CHECK(shop.foreign_commits.count() == 3);
}

TEST_CASE("GroupCommit: a commit of another is told once") {
    Shop shop;
    (void)shop.host("INSERT INTO t VALUES (1)");
    shop.commit->look();
    shop.commit->look();
    shop.write(2);
    CHECK(shop.foreign_commits.count() == 1);
}

TEST_CASE("GroupCommit: commits of its own are not told") {
    Shop shop;
    for (int i = 0; i < 5; ++i) shop.write(i);
    shop.commit->look();
    CHECK(shop.foreign_commits.count() == 0);
}

TEST_CASE("GroupCommit: a rollback of another is not told") {
    Shop shop;
    Lock lock(shop);
    lock.release();
    shop.commit->look();
    CHECK(shop.foreign_commits.count() == 0);
}

TEST_CASE("GroupCommit: a commit of another is told even when the write that saw it fails") {
    Shop shop;
    (void)shop.host("INSERT INTO t VALUES (1)");
    CHECK_THROWS_AS(shop.write(1), StorageError);
    CHECK(shop.foreign_commits.count() == 1);
}

TEST_CASE("GroupCommit: a hook is called while others may write") {
    Shop shop;
    shop.in_foreign = [&] {
        Caller other([&] { shop.write(9); });
        other.join();
    };
    (void)shop.host("INSERT INTO t VALUES (1)");
    shop.write(2);
    CHECK(shop.rows() == "1\n2\n9");
}

TEST_CASE("GroupCommit: a look does not wait for whoever leads") {
    Shop shop;
    Gate leading;
    Gate go_on;
    Caller leader([&] {
        shop.commit->write(
            [&](Repository&) {
                leading.open();
                (void)go_on.pass();
            },
            patient);
    });
    REQUIRE(leading.pass());
    Caller looker([&] { shop.commit->look(); });
    CHECK(looker.done_within(20s));
    go_on.open();
    leader.join();
}

// ---- the end --------------------------------------------------------------------------------------------------------

TEST_CASE("GroupCommit: a file that was moved ends it, with a clear error") {
    Shop shop;
    fs::rename(shop.config.database, shop.folder.file("elsewhere.db"));
    int code = 0;
    const std::string what = message_of<StorageError>([&] {
        try {
            shop.write(1);
        } catch (const StorageError& error) {
            code = error.extended_code();
            throw;
        }
    });
    CHECK(code == SQLITE_READONLY_DBMOVED);
    CHECK(what == "database \"" + shop.config.database + "\" was moved, replaced or deleted");
    CHECK(shop.fatals.all() == std::vector<std::string>{what});
}

TEST_CASE("GroupCommit: a file that was deleted is noticed by a look") {
    Shop shop;
    fs::remove(shop.config.database);
    shop.commit->look();
    CHECK(shop.fatals.count() == 1);
}

TEST_CASE("GroupCommit: a log or shared memory that was deleted ends it before anything is acknowledged into it") {
    for (const std::string suffix : {"-wal", "-shm"}) {
        Shop shop;
        fs::remove(shop.config.database + suffix);
        const std::string what = message_of<StorageError>([&] { shop.write(1); });
        CHECK(what == "database \"" + shop.config.database + "\": its file \"" + shop.config.database + suffix +
                          "\" was moved, replaced or deleted");
        CHECK(shop.fatals.all() == std::vector<std::string>{what});
    }
}

TEST_CASE("GroupCommit: a folder that cannot be entered is waited for like a lock, and ends nothing") {
    Shop shop([](ClientConfig& config) {
        fs::create_directory(config.database);
        config.database += "/app.db";
    });
    const std::string data = fs::path(shop.config.database).parent_path();
    const std::string aside = shop.folder.file("aside");
    fs::rename(data, aside);
    fs::create_symlink(data, data);  // to itself: an error that is no absence
    const std::string what = message_of<StorageError>([&] { shop.write(1, Patience{1ms, {}}); });
    CHECK(contains(what, "cannot look at \"" + shop.config.database + "\": "));
    shop.commit->look();
    std::stop_source source;
    source.request_stop();
    CHECK_THROWS_AS(shop.write(2, Patience{60s, source.get_token()}), Cancelled);
    fs::remove(data);
    fs::rename(aside, data);
    shop.write(3);
    CHECK(shop.rows() == "3");
    CHECK(shop.fatals.count() == 0);
}

TEST_CASE("GroupCommit: once ended, it keeps nobody else from writing") {
    Shop shop;
    shop.write(1);
    (void)shop.host("UPDATE backlite_meta SET value = 9002003 WHERE key = 'oldest_writer'");
    (void)shop.host("ALTER TABLE backlite_tasks ADD COLUMN weight integer");
    CHECK_THROWS_AS(shop.write(2), StorageError);
    REQUIRE(shop.fatals.count() == 1);
    CHECK_NOTHROW(shop.host("INSERT INTO t VALUES (3)"));
    CHECK(shop.rows() == "1\n3");
}

TEST_CASE("GroupCommit: a newer schema that cannot be read now is not the end, and is read again") {
    Shop shop;
    shop.write(1);
    const auto refuse = [](void*, int, const char* table, const char*, const char*, const char*) {
        return table != nullptr && std::string_view{table} == "backlite_meta" ? SQLITE_DENY : SQLITE_OK;
    };
    sqlite3_set_authorizer(shop.db, refuse, nullptr);
    (void)shop.host("UPDATE backlite_meta SET value = 9002003 WHERE key = 'oldest_writer'");
    (void)shop.host("ALTER TABLE backlite_tasks ADD COLUMN weight integer");
    CHECK_THROWS_AS(shop.write(2), StorageError);
    CHECK(shop.fatals.count() == 0);
    sqlite3_set_authorizer(shop.db, nullptr, nullptr);
    CHECK_THROWS_AS(shop.write(3), StorageError);
    CHECK(shop.fatals.count() == 1);
}

TEST_CASE("GroupCommit: once ended, it refuses everything with the same error, and is told to nobody again") {
    Shop shop;
    fs::remove(shop.config.database);
    const std::string first = message_of<StorageError>([&] { shop.write(1); });
    CHECK(message_of<StorageError>([&] { shop.write(2); }) == first);
    CHECK(message_of<StorageError>([&] { shop.commit->read([](Repository&) {}, patient); }) == first);
    shop.commit->look();
    CHECK(shop.fatals.count() == 1);
}

TEST_CASE("GroupCommit: all who wait when it ends are told") {
    Shop shop;
    fs::remove(shop.config.database);
    std::atomic<int> errors{0};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&, i] {
                try {
                    shop.write(i);
                } catch (const StorageError&) {
                    ++errors;
                }
            });
        }
    }
    CHECK(errors == 4);
    CHECK(shop.fatals.count() == 1);
}

TEST_CASE("GroupCommit: damage that an operation finds ends it") {
    Shop shop;
    const auto work = [](Repository&) { throw CorruptError("page 7 is damaged", SQLITE_CORRUPT); };
    CHECK_THROWS_AS(shop.commit->write(work, patient), CorruptError);
    CHECK(shop.fatals.all() == std::vector<std::string>{"page 7 is damaged"});
    CHECK_THROWS_AS(shop.write(1), StorageError);
}

TEST_CASE("GroupCommit: a newer schema that we must not write to ends it, naming the version") {
    Shop shop;
    shop.write(1);
    (void)shop.host("UPDATE backlite_meta SET value = 9002003 WHERE key = 'oldest_writer'");
    (void)shop.host("ALTER TABLE backlite_tasks ADD COLUMN weight integer");
    const std::string what = message_of<StorageError>([&] { shop.write(2); });
    CHECK(contains(what, "version 9.2.3 or newer is needed to write to it"));
    CHECK(shop.fatals.count() == 1);
    CHECK(shop.rows() == "1");
}

TEST_CASE("GroupCommit: a newer schema that cannot be read now is asked for again, and is not the end") {
    Shop shop;
    shop.write(1);
    (void)shop.host("ALTER TABLE backlite_tasks ADD COLUMN weight integer");
    int denied = 0;
    const auto deny = [](void* count, int action, const char* table, const char*, const char*, const char*) {
        if (action != SQLITE_READ || table == nullptr || std::string_view{table} != "backlite_meta") return SQLITE_OK;
        ++*static_cast<int*>(count);
        return SQLITE_DENY;
    };
    sqlite3_set_authorizer(shop.db, deny, &denied);
    CHECK_THROWS_AS(shop.write(2), StorageError);
    CHECK_THROWS_AS(shop.write(3), StorageError);
    CHECK(denied == 2);
    CHECK(shop.fatals.count() == 0);
    sqlite3_set_authorizer(shop.db, nullptr, nullptr);
    shop.write(4);
    CHECK(shop.rows() == "1\n4");
}

TEST_CASE("GroupCommit: a newer schema that we may write to is none of its business") {
    Shop shop;
    (void)shop.host("ALTER TABLE backlite_tasks ADD COLUMN weight integer");
    shop.write(1);
    CHECK(shop.rows() == "1");
    CHECK(shop.fatals.count() == 0);
}

// ---- a disk that is slow --------------------------------------------------------------------------------------------

/// A file whose commits are synced, which takes a while.
struct SlowShop {
    explicit SlowShop(std::chrono::milliseconds sync = 40ms) {
        vfs.imitate_syncs(0us);
        shop.emplace([this](ClientConfig& config) {
            config.durability = Durability::full;
            config.open = [this, &config] { return vfs.connect(config.database); };
        });
        vfs.imitate_syncs(sync);
        shop->write(-1);  // shows what a commit costs; one that changes nothing is cheap anywhere
    }
    FaultyVfs vfs{"slow-syncs"};
    std::optional<Shop> shop{};
};

/// Whether a caller that comes first, behind a commit that `callers` shared, shares its own with the others: they come
/// once it commits without them, or after half of the time for which it should wait.
bool waits_for_the_others(int callers) {
    constexpr std::chrono::milliseconds sync = 240ms;
    for (int round = 0; round < 5; ++round) {  // on a busy machine they may come late
        SlowShop slow{sync};
        run_behind_a_leader(*slow.shop, callers, [&](int i) { slow.shop->write(i); });
        Events<bool> commits;
        const auto tell = [](void* events) {
            static_cast<Events<bool>*>(events)->add(true);
            return 0;
        };
        sqlite3_commit_hook(slow.shop->db, tell, &commits);
        {
            const std::jthread first([&] { slow.shop->write(100); });
            (void)commits.wait_for(1, sync / 2);
            std::vector<std::jthread> others;
            for (int i = 1; i < callers; ++i) others.emplace_back([&slow, i] { slow.shop->write(100 + i); });
        }
        sqlite3_commit_hook(slow.shop->db, nullptr, nullptr);
        if (commits.count() == 1) return true;
    }
    return false;
}

TEST_CASE("GroupCommit: where commits are dear, callers that come back at once share each of them") {
    CHECK(waits_for_the_others(GENERATE(2, 3)));
}

/// How many of three single writes, each behind a commit that `callers` shared, return soon.
int returns_soon(int callers) {
    int soon = 0;
    for (int round = 0; round < 3; ++round) {
        SlowShop slow;
        run_behind_a_leader(*slow.shop, callers, [&](int i) { slow.shop->write(i); });
        const auto start = std::chrono::steady_clock::now();
        slow.shop->write(100);
        if (std::chrono::steady_clock::now() - start < 700ms) ++soon;
    }
    return soon;
}

TEST_CASE("GroupCommit: a leader that waits for callers that do not come commits soon") {
    CHECK(returns_soon(4) >= 2);  // one of three may meet a busy machine
}

TEST_CASE("GroupCommit: the first of two leads soon when the second does not come") { CHECK(returns_soon(2) >= 2); }

TEST_CASE("GroupCommit: the first of two that gives up leaves the others their turn") {
    SlowShop slow;
    run_behind_a_leader(*slow.shop, 2, [&](int i) { slow.shop->write(i); });
    std::stop_source stop;
    stop.request_stop();  // looked at only while it waits for the second
    Caller first([&] { slow.shop->write(100, {60s, stop.get_token()}); });
    CHECK_THROWS_AS(first.join(), Cancelled);
    Caller second([&] { slow.shop->write(101); });
    CHECK(second.done_within(2s));
    second.join();
}

// ---- a disk that fails ----------------------------------------------------------------------------------------------

TEST_CASE("GroupCommit: an I/O error during the commit leaves open whether it landed, and is not the end") {
    FaultyVfs vfs("faulty-write");
    Shop shop([&](ClientConfig& config) { config.open = [&] { return vfs.connect(config.database); }; });
    vfs.fail_writes(SQLITE_IOERR_WRITE);
    Added added = Added::no;
    try {
        shop.write(1);
    } catch (const StorageError& error) {
        added = error.added();
    }
    CHECK(added == Added::unknown);
    CHECK(shop.fatals.count() == 0);
    vfs.fail_writes(SQLITE_OK);
    shop.write(2);
    CHECK(contains(shop.rows(), "2"));
}

TEST_CASE("GroupCommit: a disk that is full during the commit is a FullError, and nothing is added") {
    FaultyVfs vfs("faulty-full");
    Shop shop([&](ClientConfig& config) { config.open = [&] { return vfs.connect(config.database); }; });
    vfs.fail_writes(SQLITE_FULL);
    Added added = Added::unknown;
    try {
        shop.write(1);
    } catch (const FullError& error) {
        added = error.added();
    }
    CHECK(added == Added::no);
    CHECK(shop.fatals.count() == 0);
    vfs.fail_writes(SQLITE_OK);
    shop.write(2);
    CHECK(shop.rows() == "2");
}

TEST_CASE("GroupCommit: a sync that fails is the end, since its pages may be gone") {
    FaultyVfs vfs("faulty-sync");
    Shop shop([&](ClientConfig& config) {
        config.durability = Durability::full;
        config.open = [&] { return vfs.connect(config.database); };
    });
    vfs.fail_syncs(SQLITE_IOERR_FSYNC);
    int code = 0;
    Added added = Added::no;
    try {
        shop.write(1);
    } catch (const StorageError& error) {
        code = error.extended_code();
        added = error.added();
    }
    CHECK(code == SQLITE_IOERR_FSYNC);
    CHECK(added == Added::unknown);
    CHECK(shop.fatals.count() == 1);
}

TEST_CASE("GroupCommit: all whose commit may have landed are told so") {
    FaultyVfs vfs("faulty-write-many");
    Shop shop([&](ClientConfig& config) { config.open = [&] { return vfs.connect(config.database); }; });
    std::atomic<int> unknown{0};
    run_behind_a_leader(shop, 4, [&](int i) {
        try {
            shop.commit->write(
                [&](Repository&) {
                    vfs.fail_writes(SQLITE_IOERR_WRITE);
                    shop.execute(fmt::format("INSERT INTO t VALUES ({})", i));
                },
                patient);
        } catch (const StorageError& error) {
            if (error.added() == Added::unknown) ++unknown;
        }
    });
    CHECK(unknown == 4);
}

}  // namespace
