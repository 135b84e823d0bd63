// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/transaction.hpp>.

#include <backlite/engine/engine.hpp>
#include <backlite/store/store.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Transaction::Transaction(const ClientHandle& client, SQLite::Database& database)
    : engine_(client.engine_), database_(database), events_(nullptr), open_(nullptr) {
    engine_->check_call("Transaction");
    engine::EventRelay* const relay = engine_->events();
    auto events = relay != nullptr ? std::make_unique<engine::PendingAdds>(relay, &database_) : nullptr;
    open_ = engine_->store().begin({&database_});
    events_ = std::move(events);
}

BACKLITE_DECL Transaction::~Transaction() {
    // Another thread may have held one of SQLite's locks when the process forked: finalising would wait for it.
    if (!engine_->forked()) return;
    static_cast<void>(open_.release());
    static_cast<void>(events_.release());
}

BACKLITE_DECL SQLite::Database& Transaction::database() noexcept { return database_; }

BACKLITE_DECL void Transaction::commit() {
    engine_->check_fork("Transaction::commit");
    if (!open_) throw UsageError("Transaction::commit: it has ended already");
    if (events_) events_->commit_begins();
    try {
        open_->commit();
    } catch (...) {
        if (events_) events_->commit_failed();
        throw;
    }
    if (events_) events_->committed();
    events_.reset();
    open_.reset();
    engine_->refresh();
}

BACKLITE_DECL void Transaction::rollback() noexcept {
    if (!open_ || engine_->forked()) return;
    if (!open_->roll_back()) return;
    events_.reset();
    open_.reset();
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
