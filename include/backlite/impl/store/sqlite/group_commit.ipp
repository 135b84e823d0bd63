// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/group_commit.hpp>.

#include <backlite/store/sqlite/group_commit.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void GroupCommit::look() {
    {
        const detail::LockGuard lock(mutex_);
        if (led_ || fatal_) return;
        led_ = true;
    }
    Found found;
    try {
        static_cast<void>(look_around(found));
    } catch (...) {
        note_fatal(std::current_exception(), found);  // anything else: the next look will tell
    }
    detail::UniqueLock lock(mutex_);
    hand_over_locked(found);
    lock.unlock();
    report(found);
}

BACKLITE_DECL void GroupCommit::enter(Operation& operation) {
    const detail::LockGuard lock(mutex_);
    if (fatal_) throw *fatal_;
    operation.refusals = refusals_;
    waiting_.push_back(operation);
    entered_.fetch_add(1, std::memory_order_relaxed);
    if (!led_) {
        if (!gathering_.pairs() || waiting_.size() > 1) take_lead_locked(operation);
    } else if (gatherer_ != nullptr && gathering_.complete(taken_ + waiting_.size())) {
        std::exchange(gatherer_, nullptr)->tell(State::leads);
    }
}

BACKLITE_DECL void GroupCommit::wait(Operation& operation) {
    const auto now = Steady::now();
    const auto left = std::chrono::ceil<Duration>(operation.deadline - now);
    Duration pause = left > Duration::zero() ? (std::min)(detail::longest_wait(), left) : Connection::busy_slice;
    if (operation.patience.stop.stop_possible()) pause = (std::min)(pause, Connection::busy_slice);
    auto until = now + pause;
    {
        const detail::LockGuard lock(mutex_);
        if (operation.state() == State::waiting && !led_) {  // the first of two
            if (now >= gathering_.until()) {
                gathering_.missed();
                return take_lead_locked(operation);
            }
            until = (std::min)(until, gathering_.until());
        }
    }
    operation.sleep(until);
    if (operation.state() != State::waiting) return;
    const detail::LockGuard lock(mutex_);
    if (operation.state() == State::waiting) (void)gives_up_locked(operation);
}

BACKLITE_DECL bool GroupCommit::gives_up_locked(Operation& operation) {
    if (fatal_) {
        operation.error = thrown_by([&fatal = *fatal_] { throw fatal; });
    } else if (operation.patience.stop.stop_requested()) {
        operation.error = thrown_by([] { throw Cancelled("cancelled by the caller's stop token"); });
    } else if (refusals_ > operation.refusals && Steady::now() >= operation.deadline && unseen_) {
        operation.error = thrown_by([&unseen = *unseen_] { throw unseen; });
    } else if (refusals_ > operation.refusals && Steady::now() >= operation.deadline) {
        operation.error = thrown_by([&] {
            throw BusyError(detail::format("database \"{}\" stayed locked by another connection for {} ms "
                                           "(inside a transaction of your own, add with tx)",
                                           {connection_.file(), operation.patience.busy_timeout.count()}),
                            SQLITE_BUSY);
        });
    } else {
        return false;
    }
    waiting_.remove(operation);
    operation.set(State::done);
    return true;
}

BACKLITE_DECL void GroupCommit::lead(Operation& own) {
    Found found;
    detail::UniqueLock lock(mutex_);
    for (;;) {
        if (gives_up_locked(own)) {
            hand_over_locked(found);
            break;
        }
        if (lead_round(own, found, lock)) break;
    }
    lock.unlock();
    report(found);
}

BACKLITE_DECL bool GroupCommit::lead_round(Operation& own, Found& found, detail::UniqueLock& lock) {
    bool writes = false;
    for (const Operation* o = waiting_.first(); o != nullptr && !writes; o = o->next) {
        writes = o->kind == Operation::Kind::write;
    }
    lock.unlock(mutex_);
    try {
        if ((writes && !connection_.try_begin()) || !look_around(found)) {
            connection_.rollback();
            // A folder that cannot be looked at tells nobody when it can; looked at again as often as a lock.
            if (found.unseen) std::this_thread::sleep_for(Connection::busy_slice);
            lock.lock(mutex_);
            ++refusals_;
            unseen_ = std::exchange(found.unseen, std::nullopt);
            return false;
        }
        if (found.fatal) throw *found.fatal;
    } catch (...) {
        own.error = std::current_exception();
        note_fatal(own.error, found);
        connection_.rollback();
        lock.lock(mutex_);
        waiting_.remove(own);
        own.set(State::done);
        hand_over_locked(found);
        return true;
    }
    OperationList batch;
    Steady::duration took{};
    if (run_all(batch, own, writes, lock)) took = commit(batch, writes);
    OperationList over;
    OperationList left;
    while (Operation* const operation = batch.pop_front()) {
        note_fatal(operation->error, found);
        (operation->committed || operation->error ? over : left).push_back(*operation);
    }
    lock.lock(mutex_);
    put_back_locked(left);
    if (took > Steady::duration::zero()) gathering_.committed(took);
    const bool done = own.committed || own.error;
    if (done) own.set(State::done);
    gathering_.begin(writes ? over.size() + waiting_.size() : 0, Steady::now());
    // Those who are woken come back with the next operation. If the next leader waits for them, it begins while
    // they are being woken; otherwise this one stays until they are awake, so that the next transaction holds them.
    const bool at_once = gathering_.target() > 0;
    if (done && at_once) hand_over_locked(found);
    lock.unlock(mutex_);
    while (Operation* const operation = over.pop_front()) {
        if (operation != &own) operation->tell(State::done);
    }
    lock.lock(mutex_);
    if (done && !at_once) hand_over_locked(found);
    return done;
}

BACKLITE_DECL bool GroupCommit::run_all(OperationList& batch, Operation& own, bool writes, detail::UniqueLock& lock) {
    const Operation* ran = nullptr;  // the last that did
    lock.lock(mutex_);
    if (gathering_.target() > 0 && Steady::now() >= gathering_.until()) gathering_.end();
    while (take_locked(batch, writes)) {
        taken_ = batch.size();
        lock.unlock(mutex_);
        for (Operation* next = ran == nullptr ? batch.first() : ran->next; next != nullptr; next = next->next) {
            if (!run(*next, writes)) return false;
            ran = next;
        }
        lock.lock(mutex_);
        if (!writes || batch.last()->alone) break;
        if (waiting_.empty()) gather(own, lock);
    }
    gathering_.end();
    lock.unlock(mutex_);
    return true;
}

BACKLITE_DECL bool GroupCommit::take_locked(OperationList& batch, bool writes) {
    const std::size_t before = batch.size();
    while (Operation* const next = waiting_.first()) {
        // A write that arrived after the leader chose to begin no transaction waits for the next round.
        if (!writes && next->kind == Operation::Kind::write) break;
        next->set(State::taken);
        waiting_.remove(*next);
        batch.push_back(*next);
        if (next->alone) break;
    }
    return batch.size() > before;
}

BACKLITE_DECL void GroupCommit::gather(Operation& own, detail::UniqueLock& lock) {
    if (gathering_.target() == 0) return;
    if (gathering_.complete(taken_)) return gathering_.hit();
    const std::uint64_t entered = entered_.load(std::memory_order_relaxed);
    const auto end = (std::min)(Steady::now() + awake, gathering_.until());
    lock.unlock(mutex_);  // whoever enters must not meet this thread there
    while (entered_.load(std::memory_order_relaxed) == entered && Steady::now() < end) std::this_thread::yield();
    lock.lock(mutex_);
    if (!waiting_.empty()) return;
    own.set(State::gathers);
    gatherer_ = &own;
    const auto until = gathering_.until();
    lock.unlock(mutex_);
    own.gather_until(until);
    lock.lock(mutex_);
    gatherer_ = nullptr;
    own.set(State::leads);
    if (!gathering_.complete(taken_ + waiting_.size())) gathering_.missed();
}

BACKLITE_DECL bool GroupCommit::run(Operation& operation, bool writes) noexcept {
    try {
        operation.run(repository_);
        if (writes && !connection_.in_transaction()) {
            throw StorageError("SQLite rolled the transaction back", SQLITE_ABORT_ROLLBACK);
        }
        return true;
    } catch (...) {
        operation.error = std::current_exception();
        connection_.rollback();  // a failed statement can leave the transaction open, or have ended it
        return false;
    }
}

BACKLITE_DECL auto GroupCommit::commit(const OperationList& batch, bool writes) noexcept -> Steady::duration {
    const auto start = Steady::now();
    try {
        if (writes) connection_.commit();
    } catch (...) {
        const std::exception_ptr error = std::current_exception();
        const bool settled = batch.size() == 1 || may_have_landed(error);
        for (Operation* operation = batch.first(); operation != nullptr; operation = operation->next) {
            if (settled) {
                operation->error = copy_of(error);
            } else {
                operation->alone = true;
            }
        }
        return {};
    }
    for (Operation* operation = batch.first(); operation != nullptr; operation = operation->next) {
        operation->committed = true;
    }
    return writes ? Steady::now() - start : Steady::duration::zero();
}

BACKLITE_DECL void GroupCommit::put_back_locked(OperationList& left) noexcept {
    for (Operation* operation = left.first(); operation != nullptr; operation = operation->next) {
        operation->set(State::waiting);
    }
    waiting_.prepend(left);
}

BACKLITE_DECL void GroupCommit::hand_over_locked(Found& found) {
    found.ends_it = found.fatal && !fatal_;
    if (found.ends_it) fatal_ = found.fatal;
    led_ = !waiting_.empty();
    if (led_) waiting_.first()->tell(State::leads);
}

BACKLITE_DECL bool GroupCommit::look_around(Found& found) {
    const std::int64_t version = connection_.data_version();
    if (version != seen_version_) {
        const std::int64_t schema = connection_.schema_version();
        if (schema != seen_schema_) {
            // If this cannot be done now, nothing is written now, and the next look tries again.
            connection_.prepare_ends();
            try {
                Schema::check_writer(connection_);
            } catch (const StorageError& error) {
                if (error.extended_code() != SQLITE_ERROR) throw;  // SQLite's trouble
                found.fatal = error;
            }
            seen_schema_ = schema;
        }
        found.foreign_commit = true;
        ++foreign_commits_;
        seen_version_ = version;
    }
    const auto now = Steady::now();
    if (now - files_checked_ < files_trusted) return true;
    try {
        const std::string* const lost = connection_.lost_file();
        files_checked_ = now;
        if (lost == nullptr) return true;
        const bool main = *lost == connection_.file();
        found.fatal.emplace(detail::format("database \"{}\"{} was moved, replaced or deleted",
                                           {connection_.file(), main ? "" : ": its file \"" + *lost + '"'}),
                            SQLITE_READONLY_DBMOVED);
    } catch (const StorageError& error) {
        found.unseen = error;
        return false;
    }
    return true;
}

BACKLITE_DECL bool GroupCommit::may_have_landed(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const Error& known) {
        return known.added() == Added::unknown;
    } catch (...) {
        return false;
    }
}

BACKLITE_DECL std::exception_ptr GroupCommit::copy_of(const std::exception_ptr& error) noexcept {
    return thrown_by([&error] {
        try {
            std::rethrow_exception(error);
        } catch (const BusyError& known) {
            throw BusyError(known);
        } catch (const FullError& known) {
            throw FullError(known);
        } catch (const CorruptError& known) {
            throw CorruptError(known);
        } catch (const StorageError& known) {
            throw StorageError(known);
        }
    });
}

BACKLITE_DECL void GroupCommit::note_fatal(const std::exception_ptr& error, Found& found) noexcept {
    if (!error || found.fatal) return;
    static_cast<void>(thrown_by([&] {
        try {
            std::rethrow_exception(error);
        } catch (const StorageError& known) {
            if (is_fatal(known.extended_code())) found.fatal = known;
        }
    }));
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
