// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/transaction.hpp>.

#include <backlite/engine/engine.hpp>
#include <backlite/store/sqlite/host_transaction.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Transaction::Transaction(const ClientHandle& client, SQLite::Database& database)
    : engine_(client.engine_), database_(database), open_(nullptr) {
    engine_->check_call("Transaction");
    engine_->check_own_file(database_);
    engine_->check_usable();
    if (store::sqlite::in_transaction(database_)) {
        throw UsageError("Transaction: one is open on this connection already");
    }
    auto fresh = std::make_unique<store::sqlite::HostTransaction>(database_);
    engine_->open_transactions().add(engine_->identity(), thread_);
    open_ = std::move(fresh);
    try {
        open_->begin(engine_->config().busy_timeout, engine_->config().database);
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
    if (engine_->forked()) static_cast<void>(open_.release());
}

BACKLITE_DECL SQLite::Database& Transaction::database() noexcept { return database_; }

BACKLITE_DECL void Transaction::commit() {
    engine_->check_fork("Transaction::commit");
    if (!open_) throw UsageError("Transaction::commit: it has ended already");
    open_->commit();
    end();
    engine_->refresh();
}

BACKLITE_DECL void Transaction::rollback() noexcept {
    if (!open_ || engine_->forked()) return;
    if (open_->roll_back()) end();
}

BACKLITE_DECL void Transaction::end() noexcept {
    open_.reset();
    engine_->open_transactions().remove(engine_->identity(), thread_);
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
