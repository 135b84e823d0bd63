// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/transaction.hpp>.

#include <backlite/engine/engine.hpp>
#include <backlite/store/store.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Transaction::Transaction(const ClientHandle& client, SQLite::Database& database)
    : engine_(client.engine_), database_(database), open_(nullptr) {
    engine_->check_call("Transaction");
    open_ = engine_->store().begin({&database_});
}

BACKLITE_DECL Transaction::~Transaction() {
    // Another thread may have held one of SQLite's locks when the process forked: finalising would wait for it.
    if (engine_->forked()) static_cast<void>(open_.release());
}

BACKLITE_DECL SQLite::Database& Transaction::database() noexcept { return database_; }

BACKLITE_DECL void Transaction::commit() {
    engine_->check_fork("Transaction::commit");
    if (!open_) throw UsageError("Transaction::commit: it has ended already");
    open_->commit();
    open_.reset();
    engine_->refresh();
}

BACKLITE_DECL void Transaction::rollback() noexcept {
    if (!open_ || engine_->forked()) return;
    if (open_->roll_back()) open_.reset();
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
