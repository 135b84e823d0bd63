// SPDX-License-Identifier: MIT
#pragma once
// One SQLite connection: opened, checked, set up, and its transactions.

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>
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

/// The version of this SQLite if it has the bug; null if not.
[[nodiscard]] inline const char* version_with_wal_reset_bug() noexcept {
    return has_wal_reset_bug(sqlite3_libversion_number()) ? sqlite3_libversion() : nullptr;
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
    Connection(const ClientConfig& config, Role role);

    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    /// Writes its log into the database if it is the last one, but not a log that others have deleted.
    ~Connection();

    [[nodiscard]] sqlite3* handle() noexcept { return database_.getHandle(); }

    /// The absolute name of the database's file.
    [[nodiscard]] const std::string& file() const noexcept { return files_[0].name; }

    /// Which file that was when the connection was opened.
    [[nodiscard]] platform::FileIdentity identity() const noexcept { return files_[0].identity; }

    /// Which file its log was; zeros if it is no file.
    [[nodiscard]] platform::FileIdentity log_identity() const noexcept { return files_[1].identity; }

    /// The name of the first of database, log and shared memory that now leads elsewhere or nowhere; null if none does.
    /// SQLite makes log and shared memory when the first connection opens, deletes them when the last closes, and never
    /// replaces them in between. If they go, it goes on in the old files: what is committed there nobody else sees, and
    /// it is gone with the process. Errors: StorageError if it cannot be told.
    [[nodiscard]] const std::string* lost_file() const;

    [[nodiscard]] bool in_transaction() noexcept { return sqlite3_get_autocommit(handle()) == 0; }

    /// Starts a write transaction. False if another connection kept the lock for the whole wait.
    [[nodiscard]] bool try_begin();

    /// Errors: StorageError; then everything is rolled back, except after an I/O error, when the commit may have landed
    /// all the same (`added()` says unknown).
    void commit();

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
    static SQLite::Database open(const ClientConfig& config);

    /// Keeps the end of the connection from writing its log into the database and from deleting the one that is there
    /// now: others may have gone on without it.
    void give_up_log() noexcept { sqlite3_db_config(handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr); }

    [[nodiscard]] static int to_int(Duration time) noexcept {
        constexpr int most = (std::numeric_limits<int>::max)();
        return time.count() < most ? static_cast<int>(time.count()) : most;
    }

    /// Errors: ConfigError if threads may not use SQLite at once. sqlite3_threadsafe() says how it was built; whether
    /// the host has switched to SQLITE_CONFIG_SINGLETHREAD shows in a connection that asks for a mutex and gets none.
    static void check_threads();

    /// Errors: ConfigError if the host's function opened it with a shared cache. Nothing tells that of one connection,
    /// so another is opened that shares its cache if it can.
    void check_private(sqlite3* db) const;

    /// Errors: ConfigError for what a client cannot work with, found without changing the file.
    void check_settings();

    void set_up(const ClientConfig& config, Role role);

    void switch_to_wal(std::chrono::steady_clock::time_point until);

    /// Waits in equal steps: SQLite's own handler waits longer each time, so that newcomers overtake those who waited.
    static int on_busy(void* self, int count) noexcept;

    /// After each commit: a checkpoint once the log has grown long enough, but not of a log that others have deleted.
    /// SQLite's own would write what is in it over what they have made of the database since.
    static int on_commit(void* self, sqlite3* db, const char* name, int pages) noexcept;

    std::string pragma_text(const char* sql);

    std::int64_t pragma(Statement& statement) {
        Run run(handle(), statement);
        return run.step() ? run.integer(0) : 0;
    }

    struct File {
        std::string name{};
        platform::FileIdentity identity{};
    };

    SQLite::Database database_;
    // constant after construction
    std::array<File, 3> files_{};  ///< database, log, shared memory
    Duration waits_{};
    int checkpoint_pages_ = 0;  ///< the writer: how long its log becomes before a checkpoint
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

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/connection.ipp>
#endif
