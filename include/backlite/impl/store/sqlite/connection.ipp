// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/connection.hpp>.

#include <backlite/platform/file.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/log_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL Connection::Connection(const ClientConfig& config, Role role) : database_(open(config)) {
    sqlite3* db = handle();
    sqlite3_extended_result_codes(db, 1);
    const char* name = sqlite3_db_filename(db, "main");
    if (name == nullptr || *name == '\0') {
        throw ConfigError(detail::format("database \"{}\": the connection has no file", {config.database}));
    }
    files_[0].name = platform::resolve(name);
    // Again: `open` may have chosen another name, and a link to nowhere another place.
    check_place(file(), config.trust_file_system);
    if (sqlite3_db_readonly(db, "main") != 0) {
        throw StorageError(detail::format("database \"{}\" cannot be written", {config.database}), SQLITE_READONLY);
    }
    if (config.open && role == Role::writer) check_private(db);
    set_up(config, role);
    files_[1].name = log_file(file());
    files_[2].name = shm_file(file());
    for (File& each : files_) each.identity = platform::identify(each.name);
}

BACKLITE_DECL Connection::~Connection() {
    try {
        if (lost_file() != nullptr) give_up_log();
    } catch (...) {  // it cannot be told: the log that stays is read by whoever opens the file next
        give_up_log();
    }
}

BACKLITE_DECL const std::string* Connection::lost_file() const {
    for (const File& each : files_) {
        if (each.identity == platform::FileIdentity{}) continue;  // it was none
        if (platform::identify(each.name) != each.identity) return &each.name;
    }
    return nullptr;
}

BACKLITE_DECL bool Connection::try_begin() {
    Run run(handle(), begin_);
    const int code = run.step_code();
    if (code == SQLITE_DONE) return true;
    if ((code & 0xff) == SQLITE_BUSY) return false;
    throw_sqlite(handle(), "BEGIN IMMEDIATE");
}

BACKLITE_DECL void Connection::commit() {
    if (Run(handle(), commit_).step_code() == SQLITE_DONE) return;
    const int code = error_code(handle());
    const std::string what = text_of_error(handle(), "COMMIT");
    rollback();
    throw_sqlite(code, what, (code & 0xff) == SQLITE_IOERR ? Added::unknown : Added::no);
}

BACKLITE_DECL SQLite::Database Connection::open(const ClientConfig& config) {
    check_database_name(config.database);
    check_place(platform::resolve(config.database), config.trust_file_system);
    check_threads();
    if (sqlite3_libversion_number() < 3037000) {
        throw ConfigError(detail::format("SQLite {} is too old: 3.37 is needed", {sqlite3_libversion()}));
    }
    try {
        if (config.open) return config.open();
        const std::optional<platform::FileFacts> before = platform::look_at(config.database);
        // "./" keeps a name from being taken for anything but a file.
        const bool rooted = config.database.front() == '/';
        // Without a mutex of SQLite's own, which every call would lock: one thread at a time uses a connection
        // here. Without a shared cache, in which a lock of the host's connections is an error that no wait avoids.
        SQLite::Database database(
            rooted ? config.database : "./" + config.database,
            SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLite::OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE);
        // SQLite gives -wal and -shm the mode that the database has when they are made.
        if (!before) platform::make_private(config.database);
        if (!before || before->size == 0) {
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

BACKLITE_DECL void Connection::check_threads() {
    sqlite3* asks = nullptr;
    const int code = sqlite3_open_v2(":memory:", &asks, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr);
    const bool alone = code == SQLITE_OK && sqlite3_db_mutex(asks) == nullptr;
    sqlite3_close(asks);
    if (code != SQLITE_OK) throw_sqlite(code, "SQLite cannot open a connection");
    if (alone) throw ConfigError("SQLite is built or configured for one thread (SQLITE_CONFIG_SINGLETHREAD)");
}

BACKLITE_DECL void Connection::check_private(sqlite3* db) const {
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

BACKLITE_DECL void Connection::check_settings() {
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

BACKLITE_DECL void Connection::set_up(const ClientConfig& config, Role role) {
    sqlite3* db = handle();
    const auto until = std::chrono::steady_clock::now() + config.busy_timeout;
    waits_ = role == Role::writer ? busy_slice : config.busy_timeout;
    sqlite3_busy_handler(db, &Connection::on_busy, this);
    try {
        switch_to_wal(until);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
        execute(db, "PRAGMA trusted_schema=OFF");
        execute(db, "PRAGMA secure_delete=OFF");  // Debian builds SQLite with it on: deletes write each freed page
        execute(db, detail::format("PRAGMA journal_size_limit={}", {kept_log_bytes}).c_str());
        execute(db, config.durability == Durability::full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
        if (role == Role::reader) {
            execute(db, "PRAGMA wal_autocheckpoint=0");  // all our checkpoints run on the writer
            give_up_log();
            execute(db, "PRAGMA query_only=ON");
        } else if (const std::string pages = pragma_text("PRAGMA wal_autocheckpoint"); pages != "0") {
            checkpoint_pages_ = std::stoi(pages);  // SQLite's default, or what the host's function has set
            sqlite3_wal_hook(db, &Connection::on_commit, this);
        }
        prepare_ends();
    } catch (const StorageError& error) {
        throw_sqlite(error.extended_code(),
                     detail::format("database \"{}\" cannot be used: {}", {config.database, error.what()}));
    }
}

BACKLITE_DECL void Connection::switch_to_wal(std::chrono::steady_clock::time_point until) {
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

BACKLITE_DECL int Connection::on_busy(void* self, int count) noexcept {
    auto* connection = static_cast<Connection*>(self);
    const auto now = std::chrono::steady_clock::now();
    if (count == 0) connection->busy_since_ = now;
    if (now - connection->busy_since_ >= connection->waits_) return 0;
    sqlite3_sleep(1);
    return 1;
}

BACKLITE_DECL int Connection::on_commit(void* self, sqlite3* db, const char* name, int pages) noexcept {
    const auto* connection = static_cast<const Connection*>(self);
    if (pages < connection->checkpoint_pages_) return SQLITE_OK;
    try {
        if (connection->lost_file() != nullptr) return SQLITE_OK;
    } catch (...) {  // it cannot be told now
        return SQLITE_OK;
    }
    sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    return SQLITE_OK;
}

BACKLITE_DECL std::string Connection::pragma_text(const char* sql) {
    Statement statement(sql);
    Run run(handle(), statement);
    std::string text{run.step() ? run.bytes(0) : std::string_view{}};
    static_cast<void>(run.step());  // the switch to WAL is committed, or not, as its statement ends
    return text;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
