// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/read_connection.hpp>.

#include <backlite/store/sqlite/views/read_connection.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL UnavailableReason reason_of(const StorageError& error) noexcept {
    switch (error.code()) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL: return UnavailableReason::locked;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return UnavailableReason::not_a_database;
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
        case SQLITE_AUTH:
        case SQLITE_READONLY: return UnavailableReason::cannot_open;
        case SQLITE_INTERRUPT: return UnavailableReason::too_slow;
        default: return UnavailableReason::other;
    }
}

BACKLITE_DECL int code_of(UnavailableReason reason) noexcept {
    switch (reason) {
        case UnavailableReason::missing:
        case UnavailableReason::cannot_open: return SQLITE_CANTOPEN;
        case UnavailableReason::not_a_database: return SQLITE_NOTADB;
        case UnavailableReason::locked:
        case UnavailableReason::busy: return SQLITE_BUSY;
        case UnavailableReason::too_slow: return SQLITE_INTERRUPT;
        case UnavailableReason::no_tables:
        case UnavailableReason::foreign_tables: return no_such_table;
        case UnavailableReason::other: break;
    }
    return SQLITE_ERROR;
}

BACKLITE_DECL std::function<SQLite::Database()> opener_of_existing(std::string file) {
    return [name = file.front() == '/' ? std::move(file) : "./" + file] {
        return SQLite::Database(name, SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE);
    };
}

BACKLITE_DECL ReadConnection::ReadConnection(const std::string& file, const std::function<SQLite::Database()>& open,
                                             Duration busy_timeout, const store::Bounds& bounds)
    : identity_(platform::identify(file)), bounds_(bounds), database_(open_database(file, open)) {
    sqlite3* db = database_.getHandle();
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, static_cast<int>(busy_timeout.count()));
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);  // the end of a last one would write
    execute(db, "PRAGMA trusted_schema=OFF");
    execute(db, "PRAGMA query_only=ON");  // a connection that the host opened may be able to write
    sqlite3_progress_handler(db, 2'000, &ReadConnection::on_progress, this);
}

BACKLITE_DECL std::int64_t ReadConnection::data_version() {
    until_ = (Steady::time_point::max)();
    Run run(database_.getHandle(), data_version_);
    return run.step() ? run.integer(0) : 0;
}

BACKLITE_DECL SQLite::Database ReadConnection::open_database(const std::string& file,
                                                             const std::function<SQLite::Database()>& open) {
    try {
        if (open) return open();
        const std::optional<platform::FileFacts> found = platform::look_at(file);
        if (!found || !found->regular) {
            throw FileError(UnavailableReason::missing, fmt::format("there is no database file \"{}\"", file));
        }
        // "./" keeps a name from being taken for anything but a file.
        return SQLite::Database(file.front() == '/' ? file : "./" + file,
                                SQLite::OPEN_READONLY | SQLITE_OPEN_PRIVATECACHE);
    } catch (const SQLite::Exception& error) {
        throw_sqlite(error.getExtendedErrorCode() != 0 ? error.getExtendedErrorCode() : error.getErrorCode(),
                     fmt::format("database \"{}\" cannot be opened: {}", file, error.what()));
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
