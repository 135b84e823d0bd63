// SPDX-License-Identifier: MIT
// A program that uses SQLite for itself too: a database of its own, tables beside the library's in the same file, and
// settings for the whole process. Says by its exit code whether both got what they wanted.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <future>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

using namespace std::chrono_literals;

struct Bill {
    int order = 0;

    static backlite::QueueConfig config() { return {.name = "bills"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Bill, order)

namespace {

std::atomic<int> opened{0};

/// What the host wants of each connection in the process, the library's too.
int on_open(sqlite3*, char**, const sqlite3_api_routines*) {
    ++opened;
    return SQLITE_OK;
}

/// The host's own hooks on its own connection: the library must leave them alone.
int on_commit(void* count) {
    ++*static_cast<int*>(count);
    return 0;
}

bool check(bool good, const char* what) {
    if (!good) std::printf("not so: %s\n", what);
    return good;
}

}  // namespace

int main() {
    for (const char* file : {"host.db", "own.db"}) std::remove(file);
    sqlite3_config(SQLITE_CONFIG_SERIALIZED);
    sqlite3_auto_extension(reinterpret_cast<void (*)()>(&on_open));

    sqlite3* own = nullptr;
    bool good = check(sqlite3_open("own.db", &own) == SQLITE_OK, "the host opens a database of its own");
    sqlite3_exec(own, "CREATE TABLE notes (text)", nullptr, nullptr, nullptr);

    std::promise<int> billed;
    std::future<int> order = billed.get_future();
    SQLite::Database db("host.db", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    db.exec("PRAGMA user_version = 7");
    db.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    int commits = 0;
    sqlite3_commit_hook(db.getHandle(), &on_commit, &commits);

    {
        backlite::Client client{{.database = "host.db", .num_workers = 1}};
        client.register_queue<Bill>([&](const Bill& bill) { billed.set_value(bill.order); });
        client.start();

        backlite::Transaction tx{client, db};
        db.exec("INSERT INTO orders VALUES (42)");
        client.add(Bill{.order = 42}).tx(tx).save();
        good =
            check(order.wait_for(50ms) == std::future_status::timeout, "nothing runs before the host commits") && good;
        sqlite3_exec(own, "INSERT INTO notes VALUES ('while the other is in a transaction')", nullptr, nullptr,
                     nullptr);
        tx.commit();

        good = check(order.wait_for(30s) == std::future_status::ready && order.get() == 42, "the task runs") && good;
        good = check(client.stop(5s), "the client drains") && good;
    }

    good = check(commits == 1, "the host's commit hook saw the commit") && good;
    good = check(opened.load() >= 3, "the host's settings reached the library's connections") && good;
    good = check(db.execAndGet("PRAGMA user_version").getInt() == 7, "user_version is the host's") && good;
    good = check(db.execAndGet("SELECT count(*) FROM orders").getInt() == 1, "the host's row is there") && good;
    good = check(sqlite3_exec(own, "SELECT * FROM notes", nullptr, nullptr, nullptr) == SQLITE_OK &&
                     sqlite3_total_changes(own) == 1,
                 "the other database works") &&
           good;
    sqlite3_close(own);
    return good ? 0 : 1;
}
