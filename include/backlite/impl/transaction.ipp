// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/transaction.hpp>.

#include <backlite/engine/engine.hpp>
#include <backlite/store/store.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Transaction::Transaction(const ClientHandle& client, SQLite::Database& database)
    : Transaction(client.engine_, nullptr, database) {}

BACKLITE_DECL Transaction::Transaction(const Context& context, SQLite::Database& database)
    : Transaction(context.client().engine_, &context, database) {}

BACKLITE_DECL Transaction::Transaction(std::shared_ptr<engine::Engine> engine, const Context* context,
                                       SQLite::Database& database)
    : engine_(std::move(engine)), context_(context), database_(database), events_(nullptr), open_(nullptr) {
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
    if (open_ && context_ != nullptr) {
        throw UsageError("Transaction::commit: it was begun for a task, and complete() commits it");
    }
    end("Transaction::commit");
}

BACKLITE_DECL void Transaction::complete_with(std::string result) {
    engine_->check_fork("Transaction::complete");
    if (context_ == nullptr) throw UsageError("Transaction::complete: it was begun for no task, and commit() ends it");
    if (!open_) throw UsageError("Transaction::complete: it has ended already");
    const Context::Attempt& attempt = context_->attempt_;
    if (result.size() > engine_->max_payload()) {
        throw EncodeError(detail::format("queue \"{}\": Transaction::complete: the result of {} bytes is larger than "
                                         "ClientConfig::max_payload ({})",
                                         {attempt.queue, result.size(), engine_->max_payload()}),
                          attempt.queue);
    }
    if (attempt.run == nullptr) return end("Transaction::complete");
    if (attempt.run->over()) context_->throw_claim_lost("Transaction::complete");
    detail::AttemptResult success = attempt.run->success(std::move(result));
    attempt.run->ending(true);
    engine::FinishWatch::Commit finishing(engine_->finishes());
    try {
        const bool in_file = attempt.claim != 0;
        if (in_file && !engine_->store().complete_within({&database_}, attempt.queue, attempt.run->due(), success)) {
            context_->throw_claim_lost("Transaction::complete");
        }
        end("Transaction::complete");
    } catch (...) {
        rollback();
        attempt.run->ending(false);
        throw;
    }
    if (attempt.claim != 0) finishing.ended({&success.id, TaskStatus::succeeded, {}, success.keep_row});
    if (engine::EventRelay* const relay = engine_->events()) {
        relay->tell(EventKind::succeeded, [&](Event& event) {
            event.queue = attempt.queue;
            event.task_id = success.id;
            event.attempt = success.attempt;
            event.wait = (std::max)(success.executed_at - attempt.run->due(), Duration::zero());
            event.duration = success.duration;
        });
    }
    attempt.run->ended(std::move(success));
}

BACKLITE_DECL void Transaction::end(const char* call) {
    if (!open_) throw UsageError(detail::format("{}: it has ended already", {call}));
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
