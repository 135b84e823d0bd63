// SPDX-License-Identifier: MIT
#pragma once
// What the library does on a connection of the host's: what that is on, and a write transaction of the library's on it.

#include <chrono>
#include <string>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

[[nodiscard]] inline sqlite3* handle_of(SQLite::Database& database) noexcept { return database.getHandle(); }

/// Whether one is open, whoever began it.
[[nodiscard]] inline bool in_transaction(SQLite::Database& database) noexcept {
    return sqlite3_get_autocommit(handle_of(database)) == 0;
}

/// The name of its main file as SQLite has it; empty if it has none.
[[nodiscard]] std::string main_file(SQLite::Database& database);

/// A write transaction. To be ended before it goes.
/// Threads: those of its connection, one at a time.
class HostTransaction {
public:
    /// Begins nothing yet, but prepares the end, so that it works without memory. Errors: StorageError.
    explicit HostTransaction(SQLite::Database& database);
    HostTransaction(const HostTransaction&) = delete;
    HostTransaction& operator=(const HostTransaction&) = delete;

    /// Takes the write lock. `file`: for the message. Blocks for `patience` at most: the connection's own busy timeout
    /// or handler does not count. Errors: BusyError after that; StorageError. Then `roll_back` must follow.
    ///
    /// BEGIN IMMEDIATE would run the host's busy handler, for as long as that likes. SQLite asks none when a
    /// transaction that reads already wants to write, so that is what happens here: a statement that deletes nothing
    /// takes the lock, or fails at once.
    void begin(Duration patience, const std::string& file);

    /// Errors: StorageError; after an I/O error `added()` says unknown. Then `roll_back` must follow.
    void commit();

    /// Ends it without effect if it is open. False if SQLite has no memory even for that: then it is still open.
    [[nodiscard]] bool roll_back() noexcept;

private:
    sqlite3* const db_;
    Statement rollback_{"ROLLBACK"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/host_transaction.ipp>
#endif
