// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/statement.hpp>.

#include <backlite/platform/last_error.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void throw_with_text(int code, const std::string& what, Added added) {
    switch (code & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL: throw BusyError(what, code, added);
        case SQLITE_FULL: throw FullError(what, code, added);
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: throw CorruptError(what, code, added);
        default: throw StorageError(what, code, added);
    }
}

BACKLITE_DECL void throw_sqlite(int code, const std::string& what, Added added) {
    try {
        throw_with_text(code, what, added);
    } catch (const std::bad_alloc&) {
        throw_with_text(code, {}, added);
    }
}

BACKLITE_DECL std::string text_of_error(sqlite3* db, const char* doing) noexcept {
    try {
        return detail::format("{}: {} (SQLite {})", {doing, sqlite3_errmsg(db), sqlite3_extended_errcode(db)});
    } catch (const std::bad_alloc&) {
        return {};
    }
}

BACKLITE_DECL int error_code(sqlite3* db) noexcept {
    const int reason = platform::last_error();
    const int code = sqlite3_extended_errcode(db);
    if (code != SQLITE_IOERR_WRITE && code != SQLITE_IOERR_SHMSIZE) return code;
    return platform::says_full(reason) ? SQLITE_FULL : code;
}

BACKLITE_DECL bool is_fatal(int extended_code) noexcept {
    switch (extended_code) {
        case SQLITE_IOERR_FSYNC:
        case SQLITE_IOERR_DIR_FSYNC: return true;
        default: break;
    }
    const int code = extended_code & 0xff;
    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_READONLY;
}

BACKLITE_DECL void Statement::prepare(sqlite3* db) {
    sqlite3_stmt* fresh = nullptr;
    if (sqlite3_prepare_v3(db, sql_, -1, SQLITE_PREPARE_PERSISTENT, &fresh, nullptr) != SQLITE_OK) {
        throw_sqlite(db, sql_);
    }
    sqlite3_finalize(std::exchange(statement_, fresh));
}

BACKLITE_DECL int Value::bind(sqlite3_stmt* statement, int index) const noexcept {
    // A null pointer would bind NULL, so empty text borrows a pointer.
    const char* data = bytes_.data() == nullptr ? "" : bytes_.data();
    switch (kind_) {
        case Kind::integer: return sqlite3_bind_int64(statement, index, number_);
        case Kind::real: return sqlite3_bind_double(statement, index, real_);
        case Kind::text: return sqlite3_bind_text64(statement, index, data, bytes_.size(), SQLITE_STATIC, SQLITE_UTF8);
        case Kind::blob: return sqlite3_bind_blob64(statement, index, data, bytes_.size(), SQLITE_STATIC);
        case Kind::null: break;
    }
    return sqlite3_bind_null(statement, index);
}

BACKLITE_DECL Run::Run(sqlite3* db, Statement& statement, std::initializer_list<Value> values,
                       std::span<const std::int64_t> numbers)
    : db_(db), statement_(statement.get(db)) {
    int index = 0;
    const auto bind = [&](const Value& value) {
        if (value.bind(statement_, ++index) == SQLITE_OK) return;
        sqlite3_reset(statement_);  // the destructor does not run when a constructor throws
        throw_sqlite(db_, sqlite3_sql(statement_));
    };
    for (const Value& value : values) bind(value);
    for (const std::int64_t number : numbers) bind(number);
}

BACKLITE_DECL bool Run::step() {
    const int code = step_code();
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    throw_sqlite(db_, sqlite3_sql(statement_));
}

BACKLITE_DECL int Run::change() {
    while (step()) {
    }
    return sqlite3_changes(db_);
}

BACKLITE_DECL std::string_view Run::bytes(int column) const {
    const void* data = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return data == nullptr ? std::string_view{}
                           : std::string_view{static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

BACKLITE_DECL bool run_ahead(sqlite3* db, Statement& prepared) noexcept {
    sqlite3_stmt* const statement = prepared.get(db);
    const bool done = sqlite3_step(statement) == SQLITE_DONE;
    return sqlite3_reset(statement) == SQLITE_OK && done;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
