// SPDX-License-Identifier: MIT
#pragma once
// What the library does on a connection of the host's: what that is on, and a write transaction of the library's on it.

#include <chrono>
#include <string>
#include <thread>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/store/sqlite/open_transactions.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/store.hpp>

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

/// Runs `work()` in a savepoint of the transaction that is open there; nothing of it is left prepared.
/// Errors: what `work` threw; then nothing of it is in the transaction, or the message says that SQLite has rolled back
/// all of it.
template <class Work>
void within(sqlite3* db, Work&& work) {
    Statement release("RELEASE backlite_part");
    Statement undo("ROLLBACK TO backlite_part");
    Statement undo_all("ROLLBACK");
    prepare_ahead(db, {&release, &undo, &undo_all});
    const auto take_back = [&](int code, const char* what) {
        if (sqlite3_get_autocommit(db) == 0 && !(run_ahead(db, undo) && run_ahead(db, release))) {
            run_ahead(db, undo_all);
        }
        if (sqlite3_get_autocommit(db) == 0) return;
        throw_sqlite(code, detail::format("{}; SQLite has rolled back the whole transaction", {what}));
    };
    execute(db, "SAVEPOINT backlite_part");
    try {
        work();
        Run(db, release).change();
    } catch (const StorageError& error) {
        take_back(error.extended_code(), error.what());
        throw;
    } catch (...) {
        take_back(SQLITE_NOMEM, "out of memory");
        throw;
    }
}

/// A write transaction of the library's. This thread is known to be in it as long as the object lives.
class HostTransaction final : public store::HostTransaction {
public:
    /// Begins nothing yet, but prepares the end, so that it works without memory. `file`: which one the connection is
    /// on. Errors: StorageError.
    HostTransaction(SQLite::Database& database, OpenTransactions& open, platform::FileIdentity file);
    HostTransaction(const HostTransaction&) = delete;
    HostTransaction& operator=(const HostTransaction&) = delete;
    ~HostTransaction() override;

    /// Takes the write lock. `file`: for the message. Blocks for `patience` at most: the connection's own busy timeout
    /// or handler does not count. Errors: BusyError after that; StorageError.
    ///
    /// BEGIN IMMEDIATE would run the host's busy handler, for as long as that likes. SQLite asks none when a
    /// transaction that reads already wants to write, so that is what happens here: a statement that deletes nothing
    /// takes the lock, or fails at once.
    void begin(Duration patience, const std::string& file);

    void commit() override;

    [[nodiscard]] bool roll_back() noexcept override;

private:
    sqlite3* const db_;
    OpenTransactions& open_;
    const platform::FileIdentity file_;
    const std::thread::id thread_ = std::this_thread::get_id();
    Statement rollback_{"ROLLBACK"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/host_transaction.ipp>
#endif
