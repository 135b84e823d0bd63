// SPDX-License-Identifier: MIT
#pragma once
// Transaction: a write transaction on the host's own connection, in which tasks can be added.

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/add_op.hpp>
#include <backlite/base/format.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/config.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Begins a write transaction and rolls it back unless `commit` was called. While it is open, no other connection can
/// write to the file: keep it short.
/// Threads: those of its connection, one at a time; begin and end it on the same thread. Must not outlive client and
/// connection.
class Transaction {
public:
    /// Errors: ConfigError if the connection is on another file than the client, or has a transaction open; BusyError
    /// if others keep the write lock for the client's `busy_timeout`; StorageError, also if the client has stopped
    /// itself. Blocks for `busy_timeout` at most: the connection's own busy timeout or handler does not count.
    Transaction(const ClientHandle& client, SQLite::Database& database) : engine_(client.engine_), database_(database) {
        engine_->check_call("Transaction");
        sqlite3* db = database_.getHandle();
        engine_->check_own_file(db);
        engine_->check_usable();
        if (sqlite3_get_autocommit(db) == 0) throw ConfigError("Transaction: one is open on this connection already");
        store::sqlite::execute(db, store::sqlite::read_schema);
        store::sqlite::prepare_ahead(db, {rollback_.get()});
        engine_->open_transactions().add(engine_->identity(), thread_);
        open_ = true;
        try {
            begin(db);
        } catch (...) {
            rollback();
            throw;
        }
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() {
        rollback();
        if (open_ && !engine_->forked()) {  // no memory; somebody may have let go of some
            rollback();
            end();
        }
        // Another thread may have held one of SQLite's locks when the process forked: finalising would wait for it.
        if (engine_->forked()) static_cast<void>(rollback_.release());
    }

    /// The host's connection.
    [[nodiscard]] SQLite::Database& database() noexcept { return database_; }

    /// Commits, and wakes the client's dispatcher.
    /// Errors: StorageError; ConfigError if it has ended already. After an I/O error `added()` says unknown; otherwise
    /// nothing is committed, and the transaction is rolled back at the latest by the destructor.
    void commit() {
        engine_->check_fork("Transaction::commit");
        if (!open_) throw ConfigError("Transaction::commit: it has ended already");
        sqlite3* db = database_.getHandle();
        if (sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) {
            const int code = store::sqlite::error_code(db);
            store::sqlite::throw_sqlite(db, "COMMIT", (code & 0xff) == SQLITE_IOERR ? Added::unknown : Added::no);
        }
        end();
        engine_->refresh();
    }

    /// Ends it without effect. Does nothing if it has ended. If SQLite has no memory even for that, it stays open, and
    /// the destructor tries again.
    void rollback() noexcept {
        if (!open_ || engine_->forked()) return;
        sqlite3* db = database_.getHandle();
        if (sqlite3_get_autocommit(db) == 0) store::sqlite::run_ahead(db, *rollback_);
        if (sqlite3_get_autocommit(db) != 0) end();
    }

private:
    /// BEGIN IMMEDIATE would run the host's busy handler, for as long as that likes. SQLite asks none when a
    /// transaction that reads already wants to write, so that is what happens here: a statement that deletes nothing
    /// takes the lock, or fails at once.
    void begin(sqlite3* db) const {
        const Duration patience = engine_->config().busy_timeout;
        const auto until = saturating_add(std::chrono::steady_clock::now(), patience);
        const std::string sql =
            detail::format("BEGIN; {}; DELETE FROM main.backlite_tasks WHERE 0", {store::sqlite::read_schema});
        for (;;) {
            const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
            if (code == SQLITE_OK) return;
            if ((code & 0xff) != SQLITE_BUSY) store::sqlite::throw_sqlite(db, "Transaction");
            if (!store::sqlite::run_ahead(db, *rollback_) || std::chrono::steady_clock::now() >= until) {
                throw BusyError(
                    detail::format("Transaction: database \"{}\" stayed locked by another connection for {} "
                                   "ms",
                                   {engine_->config().database, patience.count()}),
                    code);
            }
            sqlite3_sleep(1);
        }
    }

    void end() noexcept {
        rollback_.reset();
        engine_->open_transactions().remove(engine_->identity(), thread_);
        open_ = false;
    }

    const std::shared_ptr<engine::Engine> engine_;
    SQLite::Database& database_;
    const std::thread::id thread_ = std::this_thread::get_id();
    std::unique_ptr<store::sqlite::Statement> rollback_ = std::make_unique<store::sqlite::Statement>("ROLLBACK");
    bool open_ = false;
};

inline AddOp& AddOp::tx(Transaction& transaction) & { return tx(transaction.database()); }
inline AddOp&& AddOp::tx(Transaction& transaction) && { return std::move(tx(transaction.database())); }

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
