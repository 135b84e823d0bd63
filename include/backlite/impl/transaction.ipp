// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/transaction.hpp>.

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/engine/engine.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Transaction::Transaction(const ClientHandle& client, SQLite::Database& database)
    : engine_(client.engine_), database_(database), rollback_(std::make_unique<store::sqlite::Statement>("ROLLBACK")) {
    engine_->check_call("Transaction");
    sqlite3* db = database_.getHandle();
    engine_->check_own_file(db);
    engine_->check_usable();
    if (sqlite3_get_autocommit(db) == 0) throw UsageError("Transaction: one is open on this connection already");
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

BACKLITE_DECL Transaction::~Transaction() {
    rollback();
    if (open_ && !engine_->forked()) {  // no memory; somebody may have let go of some
        rollback();
        end();
    }
    // Another thread may have held one of SQLite's locks when the process forked: finalising would wait for it.
    if (engine_->forked()) static_cast<void>(rollback_.release());
}

BACKLITE_DECL SQLite::Database& Transaction::database() noexcept { return database_; }

BACKLITE_DECL void Transaction::commit() {
    engine_->check_fork("Transaction::commit");
    if (!open_) throw UsageError("Transaction::commit: it has ended already");
    sqlite3* db = database_.getHandle();
    if (sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) {
        const int code = store::sqlite::error_code(db);
        store::sqlite::throw_sqlite(db, "COMMIT", (code & 0xff) == SQLITE_IOERR ? Added::unknown : Added::no);
    }
    end();
    engine_->refresh();
}

BACKLITE_DECL void Transaction::rollback() noexcept {
    if (!open_ || engine_->forked()) return;
    sqlite3* db = database_.getHandle();
    if (sqlite3_get_autocommit(db) == 0) store::sqlite::run_ahead(db, *rollback_);
    if (sqlite3_get_autocommit(db) != 0) end();
}

BACKLITE_DECL void Transaction::begin(sqlite3* db) const {
    const Duration patience = engine_->config().busy_timeout;
    const auto until = saturating_add(std::chrono::steady_clock::now(), patience);
    const std::string sql =
        detail::format("BEGIN; {}; DELETE FROM main.backlite_tasks WHERE 0", {store::sqlite::read_schema});
    for (;;) {
        const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
        if (code == SQLITE_OK) return;
        if ((code & 0xff) != SQLITE_BUSY) store::sqlite::throw_sqlite(db, "Transaction");
        if (!store::sqlite::run_ahead(db, *rollback_) || std::chrono::steady_clock::now() >= until) {
            throw BusyError(detail::format("Transaction: database \"{}\" stayed locked by another connection for {} "
                                           "ms",
                                           {engine_->config().database, patience.count()}),
                            code);
        }
        sqlite3_sleep(1);
    }
}

BACKLITE_DECL void Transaction::end() noexcept {
    rollback_.reset();
    engine_->open_transactions().remove(engine_->identity(), thread_);
    open_ = false;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
