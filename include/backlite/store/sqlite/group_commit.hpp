// SPDX-License-Identifier: MIT
#pragma once
// The one write path: callers on any thread hand in operations, and whoever leads commits all that wait in one
// transaction.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/commit_window.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/operation.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/schema.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Owns the client's writer connection and runs operations on it, several callers' in one transaction.
///
/// A caller that finds it idle leads: it begins a transaction, runs its own operation and those that arrive until there
/// are no more, commits, gives up the lead to the first that arrived meanwhile, and then wakes the callers it worked
/// for. So a lone caller pays no thread hop, and a hundred callers pay one sync. Where that is dear, a leader may wait
/// a moment before it commits for the callers that were just woken, and runs what each brings while the next are on
/// their way; of two the second leads. See CommitWindow.
///
/// An operation may run several times before it counts: if another of its batch fails, or the commit does, it runs
/// again without the one that failed. So what it finds may leave it only after `write` has returned.
///
/// Nothing here needs memory, but for the operations themselves and the texts of errors: a call that has none fails
/// alone, and leaves neither the lead nor the transaction behind.
/// Threads: any. No lock is held while SQL runs; whoever leads owns the connection.
class GroupCommit {
public:
    /// What the rest of the client wants to hear; called by the leader, without a lock, outside of transactions. They
    /// must not throw.
    struct Hooks {
        std::function<void()> foreign_commit{};            ///< another connection has committed
        std::function<void(const StorageError&)> fatal{};  ///< the file cannot be used any more; called once
    };

    using Patience = store::sqlite::Patience;

    GroupCommit(const ClientConfig& config, Hooks hooks)
        : hooks_(std::move(hooks)), connection_(config, Role::writer), repository_(connection_.handle()) {
        seen_version_ = connection_.data_version();
        seen_schema_ = connection_.schema_version();
    }
    GroupCommit(const GroupCommit&) = delete;
    GroupCommit& operator=(const GroupCommit&) = delete;

    /// Runs `work(Repository&)` inside a write transaction and returns when that is committed.
    /// Errors: what `work` threw; BusyError when other processes kept the lock for `busy_timeout`; Cancelled when the
    /// token fired first; StorageError otherwise. In all cases nothing of `work` is in the file, but see `added()`.
    /// Blocks until the commit.
    template <class Work>
    void write(Work&& work, const Patience& patience) {
        submit(Operation::Kind::write, work, patience);
    }

    /// The same for `work(Repository&, Isolation*)`, whose parts fail together (null) or apart: apart once a row of
    /// theirs was refused, or at once. Errors: as above, but for those of a row.
    template <class Work>
    void write_in_parts(Work&& work, const Patience& patience, bool apart_at_once = false) {
        Isolation isolation;
        Isolation* apart = apart_at_once ? &isolation : nullptr;
        for (;;) {
            const std::size_t ended = isolation.ended();
            try {
                return write(
                    [&](Repository& repository) {
                        if (apart != nullptr) repository.upkeep.demand_tables();
                        work(repository, apart);
                    },
                    patience);
            } catch (const StorageError& error) {
                const bool again = apart == nullptr ? is_of_a_row(error.extended_code()) : isolation.ended() > ended;
                if (!again) throw;
                apart = &isolation;
            }
        }
    }

    /// Runs `work(Repository&)` on the writer connection, which sees other connections' commits. Takes no write lock
    /// unless writes wait too.
    template <class Work>
    void read(Work&& work, const Patience& patience) {
        submit(Operation::Kind::read, work, patience);
    }

    /// Looks for commits of others if nobody leads: whoever leads looks anyhow. REQUIRES: no operation on this thread.
    void look() {
        {
            const std::lock_guard lock(mutex_);
            if (led_ || fatal_) return;
            led_ = true;
        }
        Found found;
        try {
            static_cast<void>(look_around(found));
        } catch (...) {
            note_fatal(std::current_exception(), found);  // anything else: the next look will tell
        }
        std::unique_lock lock(mutex_);
        hand_over_locked(found);
        lock.unlock();
        report(found);
    }

    /// Errors: StorageError if the file cannot be used any more, the same that every operation would get.
    void check_usable() {
        const std::lock_guard lock(mutex_);
        if (fatal_) throw *fatal_;
    }

    /// How many times commits of others were found. REQUIRES: inside an operation.
    [[nodiscard]] std::uint64_t foreign_commits() const noexcept { return foreign_commits_; }

    /// For setting up, before any other thread knows this object.
    [[nodiscard]] Connection& connection() noexcept { return connection_; }

private:
    using State = Operation::State;
    using Steady = std::chrono::steady_clock;

    /// What a look at the file's state found.
    struct Found {
        bool foreign_commit = false;
        std::optional<StorageError> fatal{};
        bool ends_it = false;                  ///< the first fatal one
        std::optional<StorageError> unseen{};  ///< why it cannot be told whether the files are in their places
    };

    template <class Work>
    void submit(Operation::Kind kind, Work& work, const Patience& patience) {
        using Bare = std::remove_reference_t<Work>;
        Operation operation{kind, const_cast<void*>(static_cast<const void*>(std::addressof(work))),
                            [](void* erased, Repository& repository) { (*static_cast<Bare*>(erased))(repository); },
                            patience};
        enter(operation);
        while (operation.state() != State::done) {
            if (operation.state() == State::leads) {
                lead(operation);
            } else {
                wait(operation);
            }
        }
        if (operation.error) std::rethrow_exception(operation.error);
    }

    void enter(Operation& operation) {
        const std::lock_guard lock(mutex_);
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

    void take_lead_locked(Operation& operation) {
        led_ = true;
        operation.set(State::leads);
    }

    void wait(Operation& operation) {
        const auto now = Steady::now();
        const auto left = std::chrono::ceil<Duration>(operation.deadline - now);
        Duration pause = left > Duration::zero() ? (std::min)(detail::longest_wait(), left) : Connection::busy_slice;
        if (operation.patience.stop.stop_possible()) pause = (std::min)(pause, Connection::busy_slice);
        auto until = now + pause;
        {
            const std::lock_guard lock(mutex_);
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
        const std::lock_guard lock(mutex_);
        if (operation.state() == State::waiting) (void)gives_up_locked(operation);
    }

    /// Takes the operation out of the queue if its patience is over, or all hope. Time counts only once the file was
    /// found locked: waiting for this process's own writes is no reason to give up.
    bool gives_up_locked(Operation& operation) {
        if (fatal_) {
            operation.error = thrown_by([&] { throw *fatal_; });
        } else if (operation.patience.stop.stop_requested()) {
            operation.error = thrown_by([] { throw Cancelled("cancelled by the caller's stop token"); });
        } else if (refusals_ > operation.refusals && Steady::now() >= operation.deadline && unseen_) {
            operation.error = thrown_by([&] { throw *unseen_; });
        } else if (refusals_ > operation.refusals && Steady::now() >= operation.deadline) {
            operation.error = thrown_by([&] {
                throw BusyError(detail::format("database \"{}\" stayed locked by another connection for {} ms",
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

    /// Commits what waits until the leader's own operation is done.
    void lead(Operation& own) {
        Found found;
        std::unique_lock lock(mutex_);
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

    /// One transaction, or one slice of waiting for another process's lock. After it the leader may give up, and
    /// everybody who waits may too. Whether its own operation is done, and the lead given up. The lock is held at entry
    /// and at exit, not in between.
    [[nodiscard]] bool lead_round(Operation& own, Found& found, std::unique_lock<std::mutex>& lock) {
        bool writes = false;
        for (const Operation* o = waiting_.first(); o != nullptr && !writes; o = o->next) {
            writes = o->kind == Operation::Kind::write;
        }
        lock.unlock();
        try {
            if ((writes && !connection_.try_begin()) || !look_around(found)) {
                connection_.rollback();
                // A folder that cannot be looked at tells nobody when it can; looked at again as often as a lock.
                if (found.unseen) std::this_thread::sleep_for(Connection::busy_slice);
                lock.lock();
                ++refusals_;
                unseen_ = std::exchange(found.unseen, std::nullopt);
                return false;
            }
            if (found.fatal) throw *found.fatal;
        } catch (...) {
            own.error = std::current_exception();
            note_fatal(own.error, found);
            connection_.rollback();
            lock.lock();
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
        lock.lock();
        put_back_locked(left);
        if (took > Steady::duration::zero()) gathering_.committed(took);
        const bool done = own.committed || own.error;
        if (done) own.set(State::done);
        gathering_.begin(writes ? over.size() + waiting_.size() : 0, Steady::now());
        // Those who are woken come back with the next operation. If the next leader waits for them, it begins while
        // they are being woken; otherwise this one stays until they are awake, so that the next transaction holds them.
        const bool at_once = gathering_.target() > 0;
        if (done && at_once) hand_over_locked(found);
        lock.unlock();
        while (Operation* const operation = over.pop_front()) {
            if (operation != &own) operation->tell(State::done);
        }
        lock.lock();
        if (done && !at_once) hand_over_locked(found);
        return done;
    }

    /// Runs what waits, in the order in which it came, and what arrives meanwhile. The lock is not held at entry and at
    /// exit. False if one failed: nothing of the others is in the file then.
    [[nodiscard]] bool run_all(OperationList& batch, Operation& own, bool writes, std::unique_lock<std::mutex>& lock) {
        const Operation* ran = nullptr;  // the last that did
        lock.lock();
        if (gathering_.target() > 0 && Steady::now() >= gathering_.until()) gathering_.end();
        while (take_locked(batch, writes)) {
            taken_ = batch.size();
            lock.unlock();
            for (Operation* next = ran == nullptr ? batch.first() : ran->next; next != nullptr; next = next->next) {
                if (!run(*next, writes)) return false;
                ran = next;
            }
            lock.lock();
            if (!writes || batch.last()->alone) break;
            if (waiting_.empty()) gather(own, lock);
        }
        gathering_.end();
        lock.unlock();
        return true;
    }

    /// Moves what waits to the end of the batch; false if that is nothing.
    bool take_locked(OperationList& batch, bool writes) {
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

    /// Waits for the next operation if one is expected before the commit, but not long. The lock is held at entry and
    /// at exit.
    void gather(Operation& own, std::unique_lock<std::mutex>& lock) {
        if (gathering_.target() == 0) return;
        if (gathering_.complete(taken_)) return gathering_.hit();
        const std::uint64_t entered = entered_.load(std::memory_order_relaxed);
        const auto end = (std::min)(Steady::now() + awake, gathering_.until());
        lock.unlock();  // whoever enters must not meet this thread there
        while (entered_.load(std::memory_order_relaxed) == entered && Steady::now() < end) std::this_thread::yield();
        lock.lock();
        if (!waiting_.empty()) return;
        own.set(State::gathers);
        gatherer_ = &own;
        lock.unlock();
        own.gather_until(gathering_.until());
        lock.lock();
        gatherer_ = nullptr;
        own.set(State::leads);
        if (!gathering_.complete(taken_ + waiting_.size())) gathering_.missed();
    }

    /// False if it failed; then the transaction is no more.
    bool run(Operation& operation, bool writes) noexcept {
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

    /// How long it took; zero if there was nothing to commit, or it failed. Operations that are neither failed nor
    /// committed afterwards have their turn again.
    Steady::duration commit(const OperationList& batch, bool writes) noexcept {
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

    /// They have waited longest.
    void put_back_locked(OperationList& left) noexcept {
        for (Operation* operation = left.first(); operation != nullptr; operation = operation->next) {
            operation->set(State::waiting);
        }
        waiting_.prepend(left);
    }

    /// The end of a lead: the first who waits leads now, or whoever comes next.
    void hand_over_locked(Found& found) {
        found.ends_it = found.fatal && !fatal_;
        if (found.ends_it) fatal_ = found.fatal;
        led_ = !waiting_.empty();
        if (led_) waiting_.first()->tell(State::leads);
    }

    /// Whether others have committed, and whether the file is still ours to write; false if that cannot be told now.
    /// REQUIRES: to lead.
    [[nodiscard]] bool look_around(Found& found) {
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
            connection_.give_up_log();
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

    static bool may_have_landed(const std::exception_ptr& error) noexcept {
        try {
            std::rethrow_exception(error);
        } catch (const Error& known) {
            return known.added() == Added::unknown;
        } catch (...) {
            return false;
        }
    }

    /// What `call` throws; where there is no memory for that, std::bad_alloc.
    template <class Call>
    static std::exception_ptr thrown_by(Call&& call) noexcept {
        try {
            call();
        } catch (...) {
            return std::current_exception();
        }
        return nullptr;
    }

    /// Callers on different threads complete their errors, so each gets its own. An error that is about no task yet is
    /// copied without memory, so that none forgets what it says of the commit.
    static std::exception_ptr copy_of(const std::exception_ptr& error) noexcept {
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

    static void note_fatal(const std::exception_ptr& error, Found& found) noexcept {
        if (!error || found.fatal) return;
        static_cast<void>(thrown_by([&] {
            try {
                std::rethrow_exception(error);
            } catch (const StorageError& known) {
                if (is_fatal(known.extended_code())) found.fatal = known;
            }
        }));
    }

    /// Calls the hooks. REQUIRES: the lead is given up, no lock is held.
    void report(const Found& found) {
        if (found.foreign_commit && hooks_.foreign_commit) hooks_.foreign_commit();
        if (found.ends_it && hooks_.fatal) hooks_.fatal(*found.fatal);
    }

    /// How long a leader lets others run before it sleeps: those who were just woken are on their way, and waking it
    /// would take as long.
    static constexpr std::chrono::microseconds awake{100};

    /// How long a look at the files' names counts, which costs some 5 µs: an add that comes later looks again first.
    static constexpr std::chrono::milliseconds files_trusted{20};

    // constant after construction
    Hooks hooks_;

    // whoever leads
    Connection connection_;
    Repository repository_;
    std::int64_t seen_version_ = 0;
    std::uint64_t foreign_commits_ = 0;
    std::int64_t seen_schema_ = 0;
    Steady::time_point files_checked_{};

    std::atomic<std::uint64_t> entered_{0};  ///< operations that have ever come; changed under mutex_
    std::mutex mutex_{};
    // guarded by mutex_
    bool led_ = false;
    OperationList waiting_{};  ///< in the order in which they came
    CommitWindow gathering_{};
    std::size_t taken_ = 0;          ///< how many operations the transaction holds so far
    Operation* gatherer_ = nullptr;  ///< the leader's own, while it sleeps until the transaction is complete
    std::uint64_t refusals_ = 0;
    std::optional<StorageError> unseen_{};  ///< the reason of the last refusal, if it was not a lock
    std::optional<StorageError> fatal_{};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
