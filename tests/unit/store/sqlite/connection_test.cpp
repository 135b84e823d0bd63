// SPDX-License-Identifier: MIT
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/connection.hpp>
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
using backlite_test::execute;
using backlite_test::FaultyVfs;
using backlite_test::Gate;
using backlite_test::message_of;
using backlite_test::query;
using backlite_test::quick_config;
using backlite_test::TempFolder;
using store::sqlite::Connection;
using store::sqlite::Role;
namespace fs = std::filesystem;

unsigned mode_of(const std::string& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) return 0;
    return status.st_mode & 0777U;
}

SQLite::Database host(const std::string& file) {
    return SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
}

TEST_CASE("Connection: makes a file that is not there, for its owner alone") {
    const TempFolder folder;
    const std::string file = folder.file("app.db");
    Connection connection(quick_config(file), Role::writer);
    execute(connection.handle(), "CREATE TABLE t (n)");
    CHECK(mode_of(file) == 0600);
    CHECK(mode_of(file + "-wal") == 0600);
    CHECK(mode_of(file + "-shm") == 0600);
}

TEST_CASE("Connection: a file that is there keeps its mode") {
    const TempFolder folder;
    const std::string file = folder.file("app.db");
    execute(host(file).getHandle(), "CREATE TABLE t (n)");
    fs::permissions(file, fs::perms{0640});
    const Connection connection(quick_config(file), Role::writer);
    CHECK(mode_of(file) == 0640);
}

TEST_CASE("Connection: a file that it makes gives freed pages back on request") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    CHECK(query(connection.handle(), "PRAGMA auto_vacuum") == "2");
}

TEST_CASE("Connection: a file that is there keeps its way to vacuum") {
    const TempFolder folder;
    execute(host(folder.file("app.db")).getHandle(), "CREATE TABLE t (n)");
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    CHECK(query(connection.handle(), "PRAGMA auto_vacuum") == "0");
}

TEST_CASE("Connection: the file is in WAL mode, whatever it was before") {
    const TempFolder folder;
    execute(host(folder.file("app.db")).getHandle(), "CREATE TABLE t (n)");
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    CHECK(query(connection.handle(), "PRAGMA journal_mode") == "wal");
    CHECK(query(host(folder.file("app.db")).getHandle(), "PRAGMA journal_mode") == "wal");
}

TEST_CASE("Connection: full durability syncs each commit, process durability does not") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.durability = Durability::process;
    Connection process(config, Role::writer);
    CHECK(query(process.handle(), "PRAGMA synchronous") == "1");
    config.durability = Durability::full;
    Connection full(config, Role::writer);
    CHECK(query(full.handle(), "PRAGMA synchronous") == "2");
}

TEST_CASE("Connection: trusts no schema, overwrites no freed page, and bounds the log") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    CHECK(query(connection.handle(), "PRAGMA trusted_schema") == "0");
    CHECK(query(connection.handle(), "PRAGMA secure_delete") == "0");
    CHECK(query(connection.handle(), "PRAGMA journal_size_limit") == "67108864");
}

TEST_CASE("Connection: is defensive") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    int on = 0;
    sqlite3_db_config(connection.handle(), SQLITE_DBCONFIG_DEFENSIVE, -1, &on);
    CHECK(on == 1);
}

TEST_CASE("Connection: a reader cannot write, and never makes a checkpoint") {
    const TempFolder folder;
    Connection writer(quick_config(folder.file("app.db")), Role::writer);
    Connection reader(quick_config(folder.file("app.db")), Role::reader);
    CHECK_THROWS(execute(reader.handle(), "CREATE TABLE t (n)"));
    CHECK(query(reader.handle(), "PRAGMA wal_autocheckpoint") == "0");
}

TEST_CASE("Connection: the writer makes a checkpoint once its log has 1,000 pages, or as many as the host wants") {
    const auto pages_after = [](int written, const std::string& pragma) {  // of the database's file
        const TempFolder folder;
        ClientConfig config = quick_config(folder.file("app.db"));
        config.open = [&] {
            SQLite::Database database = host(config.database);
            database.exec(pragma);
            return database;
        };
        Connection writer(config, Role::writer);
        execute(writer.handle(), "CREATE TABLE t (b)");
        execute(writer.handle(), "INSERT INTO t VALUES (zeroblob(4096 * " + std::to_string(written) + "))");
        return fs::file_size(config.database) / 4096;
    };
    CHECK(pages_after(900, "") < 100);
    CHECK(pages_after(1'000, "") >= 1'000);
    CHECK(pages_after(10, "PRAGMA wal_autocheckpoint=20") < 5);
    CHECK(pages_after(20, "PRAGMA wal_autocheckpoint=20") >= 20);
    CHECK(pages_after(1'000, "PRAGMA wal_autocheckpoint=0") < 5);
}

TEST_CASE("Connection: a log that others have deleted is never written into the database") {
    const TempFolder folder;
    const ClientConfig config = quick_config(folder.file("app.db"));
    const auto size = [&] { return fs::file_size(config.database); };
    auto writer = std::make_unique<Connection>(config, Role::writer);
    execute(writer->handle(), "CREATE TABLE t (b)");
    const auto before = size();
    for (const std::string suffix : {"-wal", "-shm"}) REQUIRE(fs::remove(config.database + suffix));
    execute(writer->handle(), "INSERT INTO t VALUES (zeroblob(4096 * 1500))");  // enough for a checkpoint
    CHECK(size() == before);
    writer.reset();
    CHECK(size() == before);
}

TEST_CASE("Connection: tells extended error codes") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    execute(connection.handle(), "CREATE TABLE t (n UNIQUE); INSERT INTO t VALUES (1)");
    int code = 0;
    try {
        store::sqlite::execute(connection.handle(), "INSERT INTO t VALUES (1)");
    } catch (const StorageError& error) {
        code = error.extended_code();
    }
    CHECK(code == SQLITE_CONSTRAINT_UNIQUE);
}

TEST_CASE("Connection: knows the file's name behind links") {
    const TempFolder folder;
    execute(host(folder.file("app.db")).getHandle(), "CREATE TABLE t (n)");
    fs::create_symlink(folder.file("app.db"), folder.file("link.db"));
    const Connection connection(quick_config(folder.file("link.db")), Role::writer);
    CHECK(connection.file() == folder.file("app.db"));
    CHECK(connection.identity() == platform::identify(folder.file("app.db")));
}

/// Whether the connection misses this file, and no other.
bool misses(const Connection& connection, const std::string& file) {
    const std::string* const lost = connection.lost_file();
    return lost != nullptr && *lost == file;
}

TEST_CASE("Connection: misses no file while all are in their places, whoever comes, writes and goes") {
    const TempFolder folder;
    const std::string file = folder.file("app.db");
    execute(host(file).getHandle(), "CREATE TABLE t (n)");
    Connection connection(quick_config(file), Role::writer);
    CHECK(connection.lost_file() == nullptr);
    for (int round = 0; round < 3; ++round) {
        const Connection reader(quick_config(file), Role::reader);
        execute(connection.handle(), "INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(TRUNCATE)");
        execute(host(file).getHandle(), "INSERT INTO t VALUES (2); VACUUM");
        CHECK(connection.lost_file() == nullptr);
        CHECK(reader.lost_file() == nullptr);
    }
}

TEST_CASE("Connection: misses a file that was renamed, until it is back") {
    const TempFolder folder;
    const std::string file = folder.file("app.db");
    for (const std::string suffix : {"", "-wal", "-shm"}) {
        const Connection connection(quick_config(file), Role::writer);
        fs::rename(file + suffix, folder.file("other"));
        CHECK(misses(connection, file + suffix));
        fs::rename(folder.file("other"), file + suffix);
        CHECK(connection.lost_file() == nullptr);
    }
}

TEST_CASE("Connection: misses a file that was deleted, or has another in its place") {
    for (const std::string suffix : {"", "-wal", "-shm"}) {
        const TempFolder folder;
        const std::string file = folder.file("app.db");
        const Connection connection(quick_config(file), Role::writer);
        std::ofstream(folder.file("new")) << "";
        fs::remove(file + suffix);
        CHECK(misses(connection, file + suffix));
        fs::rename(folder.file("new"), file + suffix);
        CHECK(misses(connection, file + suffix));
    }
}

TEST_CASE("Connection: a folder that cannot be entered says nothing about its files") {
    const TempFolder folder;
    fs::create_directory(folder.file("data"));
    const Connection connection(quick_config(folder.file("data/app.db")), Role::writer);
    fs::rename(folder.file("data"), folder.file("aside"));
    fs::create_symlink(folder.file("data"), folder.file("data"));  // to itself: an error that is no absence
    CHECK_THROWS_AS(connection.lost_file(), StorageError);
    fs::remove(folder.file("data"));
    fs::rename(folder.file("aside"), folder.file("data"));
    CHECK(connection.lost_file() == nullptr);
}

TEST_CASE("Connection: a file that cannot be looked at is not taken for a new one") {
    const TempFolder folder;
    fs::create_symlink(folder.file("app.db"), folder.file("app.db"));
    const std::string what =
        message_of<StorageError>([&] { const Connection c(quick_config(folder.file("app.db")), Role::writer); });
    CHECK(contains(what, "cannot look at \"" + folder.file("app.db") + "\""));
}

TEST_CASE("Connection: a file with two names is a ConfigError, and stays as it is") {
    const TempFolder folder;
    execute(host(folder.file("app.db")).getHandle(), "CREATE TABLE t (n)");
    fs::create_hard_link(folder.file("app.db"), folder.file("other.db"));
    CHECK_THROWS_AS(Connection(quick_config(folder.file("other.db")), Role::writer), ConfigError);
    CHECK(query(host(folder.file("app.db")).getHandle(), "PRAGMA journal_mode") == "delete");
}

TEST_CASE("Connection: the place that counts is the one that the host's function opens") {
    const TempFolder folder;
    execute(host(folder.file("real.db")).getHandle(), "CREATE TABLE t (n)");
    fs::create_hard_link(folder.file("real.db"), folder.file("other.db"));
    ClientConfig config = quick_config(folder.file("app.db"));
    config.open = [&] { return host(folder.file("real.db")); };
    CHECK_THROWS_AS(Connection(config, Role::writer), ConfigError);
}

TEST_CASE("Connection: a file that stores text in UTF-16 is a ConfigError, and stays as it is") {
    const TempFolder folder;
    const std::string file = folder.file("app.db");
    execute(host(file).getHandle(), "PRAGMA encoding='UTF-16le'; CREATE TABLE t (n)");
    CHECK(message_of<ConfigError>([&] { const Connection c(quick_config(file), Role::writer); }) ==
          "database \"" + file + "\" stores text in UTF-16: only UTF-8 files can hold queues");
    SQLite::Database after = host(file);
    CHECK(after.execAndGet("PRAGMA journal_mode").getString() == "delete");
}

TEST_CASE("Connection: a host's function that locks the file for itself alone is a ConfigError") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.open = [&] {
        SQLite::Database database = host(config.database);
        execute(database.getHandle(), "PRAGMA locking_mode=EXCLUSIVE");
        return database;
    };
    CHECK(contains(message_of<ConfigError>([&] { const Connection c(config, Role::writer); }),
                   "its connection has locking_mode=EXCLUSIVE"));
}

/// Lets connections of this process that do not say otherwise share their caches.
class SharedCaches {
public:
    SharedCaches() { sqlite3_enable_shared_cache(1); }
    SharedCaches(const SharedCaches&) = delete;
    SharedCaches& operator=(const SharedCaches&) = delete;
    ~SharedCaches() { sqlite3_enable_shared_cache(0); }
};

TEST_CASE("Connection: shares no cache with the host, whose locks would be errors at once") {
    const SharedCaches shared;
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    Connection connection(config, Role::writer);
    execute(connection.handle(), "CREATE TABLE t (n)");
    SQLite::Database other = host(config.database);
    execute(other.getHandle(), "BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
    CHECK(query(connection.handle(), "SELECT count(*) FROM t") == "0");
    execute(other.getHandle(), "COMMIT");
}

TEST_CASE("Connection: a host's function that shares its cache is a ConfigError") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.open = [&] {
        return SQLite::Database(config.database,
                                SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLITE_OPEN_SHAREDCACHE);
    };
    CHECK(contains(message_of<ConfigError>([&] { const Connection c(config, Role::writer); }), "a shared cache"));
    const SharedCaches shared;
    config.open = [&] { return host(config.database); };
    CHECK(contains(message_of<ConfigError>([&] { const Connection c(config, Role::writer); }), "a shared cache"));
    config.open = [&] {
        return SQLite::Database(config.database,
                                SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLITE_OPEN_PRIVATECACHE);
    };
    CHECK_NOTHROW(Connection(config, Role::writer));
}

TEST_CASE("Connection: a SQLite that the host has configured for one thread is a ConfigError") {
    const TempFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        // A setting of the whole process.
        if (sqlite3_shutdown() != SQLITE_OK || sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK) ::_exit(2);
        const std::string what =
            message_of<ConfigError>([&] { const Connection c(quick_config(folder.file("app.db")), Role::writer); });
        ::_exit(contains(what, "SQLITE_CONFIG_SINGLETHREAD") ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("Connection: a quota that is used up and a file that may not grow are a full disk") {
    for (const int reason : {EDQUOT, EFBIG}) {
        FaultyVfs vfs{"faulty"};
        const TempFolder folder;
        ClientConfig config = quick_config(folder.file("app.db"));
        config.open = [&] { return vfs.connect(config.database); };
        Connection connection(config, Role::writer);
        execute(connection.handle(), "CREATE TABLE t (n)");
        vfs.fail_writes(SQLITE_IOERR_WRITE, reason);
        REQUIRE(connection.try_begin());
        execute(connection.handle(), "INSERT INTO t VALUES (1)");
        try {
            connection.commit();
            FAIL("it was committed");
        } catch (const FullError& error) {
            CHECK(error.extended_code() == SQLITE_FULL);
            CHECK(error.added() == Added::no);
        }
        vfs.fail_writes(SQLITE_IOERR_WRITE, EIO);
        REQUIRE(connection.try_begin());
        execute(connection.handle(), "INSERT INTO t VALUES (1)");
        CHECK(message_of<FullError>([&] { CHECK_THROWS_AS(connection.commit(), StorageError); }) == "nothing thrown");
        vfs.fail_writes(SQLITE_OK);
    }
}

TEST_CASE("Connection: a file that is no database is a CorruptError naming it") {
    const TempFolder folder;
    std::ofstream(folder.file("app.db")) << std::string(4096, 'x');
    const std::string what =
        message_of<CorruptError>([&] { const Connection c(quick_config(folder.file("app.db")), Role::writer); });
    CHECK(contains(what, folder.file("app.db")));
    CHECK(contains(what, "not a database"));
}

TEST_CASE("Connection: a name that cannot work is a ConfigError") {
    const TempFolder folder;
    CHECK_THROWS_AS(Connection(quick_config(""), Role::writer), ConfigError);
    CHECK_THROWS_AS(Connection(quick_config(folder.file("missing/app.db")), Role::writer), ConfigError);
}

TEST_CASE("Connection: is opened by the host's function where there is one") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    int calls = 0;
    config.open = [&] {
        ++calls;
        SQLite::Database database = host(config.database);
        execute(database.getHandle(), "PRAGMA cache_size=77");
        return database;
    };
    Connection connection(config, Role::writer);
    CHECK(calls == 1);
    CHECK(query(connection.handle(), "PRAGMA cache_size") == "77");
    CHECK(query(connection.handle(), "PRAGMA journal_mode") == "wal");
}

TEST_CASE("Connection: a host's function that opens no file is a ConfigError") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.open = [] { return host(":memory:"); };
    CHECK(message_of<ConfigError>([&] { const Connection c(config, Role::writer); }) ==
          "database \"" + config.database + "\": the connection has no file");
}

TEST_CASE("Connection: a host's function that opens for reading only is a StorageError that says so") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    execute(host(config.database).getHandle(), "CREATE TABLE t (n)");
    config.open = [&] { return SQLite::Database(config.database, SQLite::OPEN_READONLY); };
    CHECK(message_of<StorageError>([&] { const Connection c(config, Role::writer); }) ==
          "database \"" + config.database + "\" cannot be written");
}

TEST_CASE("Connection: what SQLiteCpp throws in a host's function is a StorageError") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.open = [&] { return SQLite::Database(folder.file("missing.db"), SQLite::OPEN_READWRITE); };
    const std::string what = message_of<StorageError>([&] { const Connection c(config, Role::writer); });
    CHECK(contains(what, "database \"" + config.database + "\" cannot be opened: "));
}

TEST_CASE("Connection: what else a host's function throws reaches the host") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.open = []() -> SQLite::Database { throw std::out_of_range("no key"); };
    CHECK_THROWS_AS(Connection(config, Role::writer), std::out_of_range);
}

TEST_CASE("Connection: a file that cannot be in WAL mode is refused") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.open = [&] {
        // This VFS has no shared memory.
        return SQLite::Database(config.database, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0, "unix-dotfile");
    };
    const std::string what = message_of<StorageError>([&] { const Connection c(config, Role::writer); });
    CHECK(contains(what, "its journal mode is delete and cannot become wal"));
}

TEST_CASE("Connection: a switch to WAL that did not reach the file is a StorageError") {
    backlite_test::FaultyVfs vfs("faulty-switch");
    vfs.imitate_syncs(0us);
    bool met = true;
    for (unsigned nth = 1; met && nth < 1000; ++nth) {
        INFO("call " << nth);
        const TempFolder folder;
        ClientConfig config = quick_config(folder.file("app.db"));
        config.open = [&] { return vfs.connect(config.database); };
        { execute(host(config.database).getHandle(), "CREATE TABLE t (n)"); }
        vfs.arm({.nth = nth});
        try {
            const Connection connection(config, Role::writer);
            vfs.disarm();
            CHECK(query(host(config.database).getHandle(), "PRAGMA journal_mode") == "wal");
        } catch (const StorageError&) {
            vfs.disarm();
        }
        met = vfs.met();
    }
    CHECK_FALSE(met);
}

TEST_CASE("Connection: a file that stays locked while it is to become WAL is a BusyError after busy_timeout") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.busy_timeout = 20ms;
    SQLite::Database other = host(config.database);
    execute(other.getHandle(), "CREATE TABLE t (n); BEGIN EXCLUSIVE");
    CHECK_THROWS_AS(Connection(config, Role::writer), BusyError);
}

TEST_CASE("Connection: waits for a lock that ends before busy_timeout while the file is to become WAL") {
    const TempFolder folder;
    ClientConfig config = quick_config(folder.file("app.db"));
    config.busy_timeout = 20s;
    SQLite::Database other = host(config.database);
    execute(other.getHandle(), "CREATE TABLE t (n); BEGIN EXCLUSIVE");
    Gate opened;
    config.open = [&] {
        SQLite::Database database = host(config.database);
        opened.open();
        return database;
    };
    std::string mode;
    std::jthread opener([&] {
        Connection connection(config, Role::writer);
        mode = query(connection.handle(), "PRAGMA journal_mode");
    });
    CHECK(opened.pass());
    execute(other.getHandle(), "COMMIT");
    opener.join();
    CHECK(mode == "wal");
}

TEST_CASE("Connection: begins a write transaction, and commits it") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    CHECK_FALSE(connection.in_transaction());
    REQUIRE(connection.try_begin());
    CHECK(connection.in_transaction());
    execute(connection.handle(), "CREATE TABLE t (n)");
    connection.commit();
    CHECK_FALSE(connection.in_transaction());
    CHECK(query(host(folder.file("app.db")).getHandle(), "SELECT count(*) FROM t") == "0");
}

TEST_CASE("Connection: a begin fails softly while another holds the write lock, and works afterwards") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    SQLite::Database other = host(folder.file("app.db"));
    execute(other.getHandle(), "BEGIN IMMEDIATE");
    CHECK_FALSE(connection.try_begin());
    CHECK_FALSE(connection.in_transaction());
    execute(other.getHandle(), "ROLLBACK");
    CHECK(connection.try_begin());
}

TEST_CASE("Connection: a begin inside of a transaction is a StorageError") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    REQUIRE(connection.try_begin());
    CHECK_THROWS_AS(connection.try_begin(), StorageError);
}

TEST_CASE("Connection: a commit that fails rolls everything back and says that nothing was added") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    execute(connection.handle(),
            "PRAGMA foreign_keys=ON; CREATE TABLE parent (id INTEGER PRIMARY KEY); "
            "CREATE TABLE child (parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)");
    REQUIRE(connection.try_begin());
    execute(connection.handle(), "INSERT INTO child VALUES (1)");
    int code = 0;
    Added added = Added::unknown;
    try {
        connection.commit();
    } catch (const StorageError& error) {
        code = error.extended_code();
        added = error.added();
    }
    CHECK(code == SQLITE_CONSTRAINT_FOREIGNKEY);
    CHECK(added == Added::no);
    CHECK_FALSE(connection.in_transaction());
    CHECK(query(connection.handle(), "SELECT count(*) FROM child") == "0");
}

TEST_CASE("Connection: a rollback without transaction does nothing") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    connection.rollback();
    CHECK_FALSE(connection.in_transaction());
}

TEST_CASE("Connection: the data version changes with others' commits, not with own ones") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    const auto first = connection.data_version();
    execute(connection.handle(), "CREATE TABLE t (n)");
    CHECK(connection.data_version() == first);
    execute(host(folder.file("app.db")).getHandle(), "INSERT INTO t VALUES (1)");
    CHECK(connection.data_version() != first);
}

TEST_CASE("Connection: the schema version changes with the schema, not with the rows") {
    const TempFolder folder;
    Connection connection(quick_config(folder.file("app.db")), Role::writer);
    execute(connection.handle(), "CREATE TABLE t (n)");
    const auto first = connection.schema_version();
    execute(host(folder.file("app.db")).getHandle(), "INSERT INTO t VALUES (1)");
    CHECK(connection.schema_version() == first);
    execute(host(folder.file("app.db")).getHandle(), "ALTER TABLE t ADD COLUMN m");
    CHECK(connection.schema_version() != first);
}

TEST_CASE("Connection: the versions of SQLite with the WAL-reset bug are known") {
    using store::sqlite::has_wal_reset_bug;
    for (const int affected : {3'007'000, 3'040'001, 3'044'005, 3'045'000, 3'050'006, 3'051'000, 3'051'002}) {
        CAPTURE(affected);
        CHECK(has_wal_reset_bug(affected));
    }
    for (const int mended : {3'044'006, 3'044'999, 3'050'007, 3'051'003, 3'053'000, 4'000'000}) {
        CAPTURE(mended);
        CHECK_FALSE(has_wal_reset_bug(mended));
    }
}

}  // namespace
