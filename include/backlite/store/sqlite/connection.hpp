// SPDX-License-Identifier: MIT
#pragma once
// One SQLite connection: opened, checked, set up, and its transactions.

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/database_file.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// What a connection is for.
enum class Role {
    writer,  ///< the client's one connection for writes and checkpoints; waits for locks in slices of 10 ms
    reader,  ///< short queries only; waits for locks up to busy_timeout
};

/// Whether this version of SQLite (as sqlite3_libversion_number gives it) has the WAL-reset bug: when one connection
/// checkpoints while another commits and starts the log anew, a later checkpoint may leave out part of a transaction.
/// One connection alone is safe. Source: sqlite.org/wal.html#walresetbug.
[[nodiscard]] constexpr bool has_wal_reset_bug(int version) noexcept {
    const bool mended = version >= 3'051'003 || (version >= 3'050'007 && version < 3'051'000) ||
                        (version >= 3'044'006 && version < 3'045'000);
    return !mended;
}

/// A SQLite connection with the settings that the library relies on.
/// Threads: one at a time. Statements on it must be finalised before it goes.
class Connection {
public:
    /// How long one call on the writer waits for another process's lock.
    static constexpr Duration busy_slice{10};

    /// Opens `config.database`, through `config.open` if set, and sets the connection up.
    /// A file that it creates gets mode 0600. The file is in WAL mode afterwards.
    /// Errors: ConfigError for a name, a place, an encoding or a connection that cannot work, before anything of a file
    /// that was there is changed; StorageError when SQLite refuses the file.
    /// Blocks up to busy_timeout.
    Connection(const ClientConfig& config, Role role) : database_(open(config)) {
        sqlite3* db = handle();
        sqlite3_extended_result_codes(db, 1);
        const char* name = sqlite3_db_filename(db, "main");
        if (name == nullptr || *name == '\0') {
            throw ConfigError(detail::format("database \"{}\": the connection has no file", {config.database}));
        }
        files_[0].name = resolve(name);
        // Again: `open` may have chosen another name, and a link to nowhere another place.
        check_place(file(), config.trust_file_system);
        if (sqlite3_db_readonly(db, "main") != 0) {
            throw StorageError(detail::format("database \"{}\" cannot be written", {config.database}), SQLITE_READONLY);
        }
        if (config.open && role == Role::writer) check_private(db);
        set_up(config, role);
        files_[1].name = file() + "-wal";
        files_[2].name = file() + "-shm";
        for (File& each : files_) each.identity = identify(each.name);
    }

    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] sqlite3* handle() noexcept { return database_.getHandle(); }

    /// The absolute name of the database's file.
    [[nodiscard]] const std::string& file() const noexcept { return files_[0].name; }

    /// Which file that was when the connection was opened.
    [[nodiscard]] FileIdentity identity() const noexcept { return files_[0].identity; }

    /// Which file its log was; zeros if it is no file.
    [[nodiscard]] FileIdentity log_identity() const noexcept { return files_[1].identity; }

    /// The name of the first of database, log and shared memory that now leads elsewhere or nowhere; null if none does.
    /// SQLite makes log and shared memory when the first connection opens, deletes them when the last closes, and never
    /// replaces them in between. If they go, it goes on in the old files: what is committed there nobody else sees, and
    /// it is gone with the process. Errors: StorageError if it cannot be told.
    [[nodiscard]] const std::string* lost_file() const {
        for (const File& each : files_) {
            if (each.identity != FileIdentity{} && identify(each.name) != each.identity) return &each.name;
        }
        return nullptr;
    }

    /// Keeps the end of the connection from writing its log into the database and from deleting the one that is there
    /// now: others may have gone on without it.
    void give_up_log() noexcept { sqlite3_db_config(handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr); }

    [[nodiscard]] bool in_transaction() noexcept { return sqlite3_get_autocommit(handle()) == 0; }

    /// Starts a write transaction. False if another connection kept the lock for the whole wait.
    [[nodiscard]] bool try_begin() {
        Run run(handle(), begin_);
        const int code = run.step_code();
        if (code == SQLITE_DONE) return true;
        if ((code & 0xff) == SQLITE_BUSY) return false;
        throw_sqlite(handle(), "BEGIN IMMEDIATE");
    }

    /// Errors: StorageError; then everything is rolled back, except after an I/O error, when the commit may have landed
    /// all the same (`added()` says unknown).
    void commit() {
        if (Run(handle(), commit_).step_code() == SQLITE_DONE) return;
        const int code = error_code(handle());
        const std::string what = text_of_error(handle(), "COMMIT");
        rollback();
        throw_sqlite(code, what, (code & 0xff) == SQLITE_IOERR ? Added::unknown : Added::no);
    }

    /// Ends the transaction if one is open: a failed statement may or may not have ended it.
    void rollback() noexcept {
        if (in_transaction()) run_ahead(handle(), rollback_);
    }

    /// Prepares what ends a transaction, so that it works without memory. To be called again when the schema has
    /// changed. Errors: StorageError.
    void prepare_ends() {
        execute(handle(), read_schema);
        prepare_ahead(handle(), {&commit_, &rollback_});
    }

    /// A number that changes with each commit of another connection, in this process or another; own commits leave it.
    [[nodiscard]] std::int64_t data_version() { return pragma(data_version_); }

    /// A number that changes with each change of the schema.
    [[nodiscard]] std::int64_t schema_version() { return pragma(schema_version_); }

private:
    static SQLite::Database open(const ClientConfig& config) {
        check_database_name(config.database);
        check_place(resolve(config.database), config.trust_file_system);
        check_threads();
        if (sqlite3_libversion_number() < 3037000) {
            throw ConfigError(detail::format("SQLite {} is too old: 3.37 is needed", {sqlite3_libversion()}));
        }
        try {
            if (config.open) return config.open();
            struct ::statx before {};
            const bool created = !look_at(config.database, before);
            // "./" keeps a name from being taken for anything but a file.
            const bool rooted = config.database.front() == '/';
            // Without a mutex of SQLite's own, which every call would lock: one thread at a time uses a connection
            // here. Without a shared cache, in which a lock of the host's connections is an error that no wait avoids.
            SQLite::Database database(
                rooted ? config.database : "./" + config.database,
                SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLite::OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE);
            // SQLite gives -wal and -shm the mode that the database has when they are made.
            if (created) ::chmod(config.database.c_str(), S_IRUSR | S_IWUSR);
            if (before.stx_size == 0) {
                // Others may be making the same file at this moment, and whoever comes first says what it will be.
                sqlite3_busy_timeout(database.getHandle(), to_int(config.busy_timeout));
                execute(database.getHandle(), "PRAGMA auto_vacuum=INCREMENTAL");
            }
            return database;
        } catch (const SQLite::Exception& error) {
            throw_sqlite(error.getExtendedErrorCode() != 0 ? error.getExtendedErrorCode() : error.getErrorCode(),
                         detail::format("database \"{}\" cannot be opened: {}", {config.database, error.what()}));
        }
    }

    [[nodiscard]] static int to_int(Duration time) noexcept {
        constexpr int most = (std::numeric_limits<int>::max)();
        return time.count() < most ? static_cast<int>(time.count()) : most;
    }

    /// Errors: ConfigError if threads may not use SQLite at once. sqlite3_threadsafe() says how it was built; whether
    /// the host has switched to SQLITE_CONFIG_SINGLETHREAD shows in a connection that asks for a mutex and gets none.
    static void check_threads() {
        sqlite3* asks = nullptr;
        const int code = sqlite3_open_v2(":memory:", &asks, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr);
        const bool alone = code == SQLITE_OK && sqlite3_db_mutex(asks) == nullptr;
        sqlite3_close(asks);
        if (code != SQLITE_OK) throw_sqlite(code, "SQLite cannot open a connection");
        if (alone) throw ConfigError("SQLite is built or configured for one thread (SQLITE_CONFIG_SINGLETHREAD)");
    }

    /// Errors: ConfigError if the host's function opened it with a shared cache. Nothing tells that of one connection,
    /// so another is opened that shares its cache if it can.
    void check_private(sqlite3* db) const {
        sqlite3_vfs* vfs = nullptr;
        sqlite3_file_control(db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs);
        sqlite3* other = nullptr;
        const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_SHAREDCACHE;
        const int code =
            sqlite3_open_v2(sqlite3_db_filename(db, "main"), &other, flags, vfs == nullptr ? nullptr : vfs->zName);
        int all = 0;
        int part = 0;
        int ignored = 0;
        sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_USED, &all, &ignored, 0);
        sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_USED_SHARED, &part, &ignored, 0);
        sqlite3_close(other);
        if (code == SQLITE_NOMEM) throw_sqlite(code, "SQLite cannot open a connection");
        if (part != all) {
            throw ConfigError(detail::format(
                "database \"{}\": ClientConfig::open gave a connection with a shared cache, in which busy_timeout has "
                "no effect: open it with SQLITE_OPEN_PRIVATECACHE",
                {file()}));
        }
    }

    /// Errors: ConfigError for what a client cannot work with, found without changing the file.
    void check_settings() {
        if (pragma_text("PRAGMA encoding") != "UTF-8") {
            throw ConfigError(
                detail::format("database \"{}\" stores text in UTF-16: only UTF-8 files can hold queues", {file()}));
        }
        if (pragma_text("PRAGMA main.locking_mode") != "normal") {
            throw ConfigError(
                detail::format("database \"{}\": its connection has locking_mode=EXCLUSIVE, which keeps out all "
                               "others, also the client's own",
                               {file()}));
        }
    }

    void set_up(const ClientConfig& config, Role role) {
        sqlite3* db = handle();
        const auto until = std::chrono::steady_clock::now() + config.busy_timeout;
        waits_ = role == Role::writer ? busy_slice : config.busy_timeout;
        sqlite3_busy_handler(db, &Connection::on_busy, this);
        try {
            switch_to_wal(until);
            sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
            execute(db, "PRAGMA trusted_schema=OFF");
            execute(db, "PRAGMA secure_delete=OFF");  // Debian builds SQLite with it on: deletes write each freed page
            execute(db, "PRAGMA journal_size_limit=67108864");
            execute(db,
                    config.durability == Durability::full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
            if (role == Role::reader) {
                execute(db, "PRAGMA wal_autocheckpoint=0");  // all our checkpoints run on the writer
                give_up_log();
                execute(db, "PRAGMA query_only=ON");
            }
            prepare_ends();
        } catch (const StorageError& error) {
            throw_sqlite(error.extended_code(),
                         detail::format("database \"{}\" cannot be used: {}", {config.database, error.what()}));
        }
    }

    void switch_to_wal(std::chrono::steady_clock::time_point until) {
        for (;;) {
            try {
                check_settings();
                const std::string mode = pragma_text("PRAGMA journal_mode=WAL");
                if (mode != "wal") {
                    throw StorageError(detail::format("its journal mode is {} and cannot become wal", {mode}),
                                       SQLITE_ERROR);
                }
                static_cast<void>(data_version());  // the first look makes -wal and -shm where they are missing
                return;
            } catch (const BusyError&) {
                if (std::chrono::steady_clock::now() >= until) throw;
            }
            sqlite3_sleep(1);
        }
    }

    /// Waits in equal steps: SQLite's own handler waits longer each time, so that newcomers overtake those who waited.
    static int on_busy(void* self, int count) noexcept {
        auto* connection = static_cast<Connection*>(self);
        const auto now = std::chrono::steady_clock::now();
        if (count == 0) connection->busy_since_ = now;
        if (now - connection->busy_since_ >= connection->waits_) return 0;
        sqlite3_sleep(1);
        return 1;
    }

    std::string pragma_text(const char* sql) {
        Statement statement(sql);
        Run run(handle(), statement);
        std::string text{run.step() ? run.bytes(0) : std::string_view{}};
        static_cast<void>(run.step());  // the switch to WAL is committed, or not, as its statement ends
        return text;
    }

    std::int64_t pragma(Statement& statement) {
        Run run(handle(), statement);
        return run.step() ? run.integer(0) : 0;
    }

    struct File {
        std::string name{};
        FileIdentity identity{};
    };

    SQLite::Database database_;
    // constant after construction
    std::array<File, 3> files_{};  ///< database, log, shared memory
    Duration waits_{};
    // the thread that uses the connection
    std::chrono::steady_clock::time_point busy_since_{};
    Statement begin_{"BEGIN IMMEDIATE"};
    Statement commit_{"COMMIT"};
    Statement rollback_{"ROLLBACK"};
    Statement data_version_{"PRAGMA data_version"};
    Statement schema_version_{"PRAGMA schema_version"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
