// SPDX-License-Identifier: MIT
#pragma once
// Transaction: a write transaction on the host's own connection, that tasks can be added in.

#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/add_op.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/open_transactions.hpp>
#include <backlite/runtime/engine.hpp>
#include <backlite/storage/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Begins a write transaction (BEGIN IMMEDIATE) and rolls it back unless `commit` was called. While it is open, no
/// other connection can write to the file: keep it short.
/// Threads: those of its connection, one at a time; begun and ended on one thread. REQUIRES: goes before client and
/// connection do.
class Transaction {
public:
    /// Errors: ConfigError if the connection is on another file than the client, or has a transaction open; BusyError
    /// if others keep the write lock for the client's `busy_timeout`; StorageError if the client has stopped itself.
    /// Blocks that long at most.
    Transaction(Client& client, SQLite::Database& database);

    /// For the library.
    Transaction(runtime::Engine& engine, SQLite::Database& database) : engine_(engine), database_(database) {
        engine_.check_fork("Transaction");
        sqlite3* db = database_.getHandle();
        engine_.check_own_file(db);
        engine_.check_usable();
        if (sqlite3_get_autocommit(db) == 0) throw ConfigError("Transaction: one is open on this connection already");
        // Now: without memory the transaction could not be ended by a statement that is yet to be prepared.
        static_cast<void>(rollback_->get(db));
        begin(db);
        OpenTransactions::instance().add(engine_.identity(), thread_);
        open_ = true;
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() {
        rollback();
        // Another thread may have held one of SQLite's locks when the process forked: finalising would wait for it.
        if (engine_.forked()) static_cast<void>(rollback_.release());
    }

    /// The host's connection that it is on.
    [[nodiscard]] SQLite::Database& database() noexcept { return database_; }

    /// Commits, and wakes the client's dispatcher.
    /// Errors: StorageError; ConfigError if it has ended already. After an I/O error `added()` says unknown; otherwise
    /// nothing is committed, and the transaction is rolled back at the latest by the destructor.
    void commit() {
        engine_.check_fork("Transaction::commit");
        if (!open_) throw ConfigError("Transaction::commit: it has ended already");
        sqlite3* db = database_.getHandle();
        if (sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) {
            const int code = sqlite3_extended_errcode(db);
            storage::throw_sqlite(db, "COMMIT", (code & 0xff) == SQLITE_IOERR ? Added::unknown : Added::no);
        }
        end();
        engine_.refresh();
    }

    /// Ends it without effect. Does nothing if it has ended.
    void rollback() noexcept {
        if (!open_ || engine_.forked()) return;
        sqlite3* db = database_.getHandle();
        if (sqlite3_get_autocommit(db) == 0) static_cast<void>(sqlite3_step(rollback_->get(db)));
        end();
    }

private:
    void begin(sqlite3* db) const {
        const auto until = saturating_add(std::chrono::steady_clock::now(), engine_.config().busy_timeout);
        for (;;) {
            const int code = sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
            if (code == SQLITE_OK) return;
            if ((code & 0xff) != SQLITE_BUSY || std::chrono::steady_clock::now() >= until) {
                storage::throw_sqlite(db, "Transaction: BEGIN IMMEDIATE");
            }
            sqlite3_sleep(1);
        }
    }

    void end() noexcept {
        rollback_.reset();
        OpenTransactions::instance().remove(engine_.identity(), thread_);
        open_ = false;
    }

    runtime::Engine& engine_;
    SQLite::Database& database_;
    const std::thread::id thread_ = std::this_thread::get_id();
    std::unique_ptr<storage::Statement> rollback_ = std::make_unique<storage::Statement>("ROLLBACK");
    bool open_ = false;
};

inline AddOp& AddOp::tx(Transaction& transaction) & { return tx(transaction.database()); }
inline AddOp&& AddOp::tx(Transaction& transaction) && { return std::move(tx(transaction.database())); }

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
