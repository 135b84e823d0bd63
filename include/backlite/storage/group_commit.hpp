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
#include <vector>

#include <sqlite3.h>

#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/format.hpp>
#include <backlite/storage/connection.hpp>
#include <backlite/storage/repository.hpp>
#include <backlite/storage/schema.hpp>

namespace backlite {
inline namespace v1 {
namespace storage {

/// Owns the client's writer connection and runs operations on it, several callers' in one transaction.
///
/// A caller that finds it idle leads: it begins a transaction, takes every operation that waits by then, its own first,
/// runs them, commits, wakes their callers, and hands the lead to the first that arrived meanwhile. So a lone caller
/// pays no thread hop, and a hundred callers pay one sync.
///
/// An operation may run several times before it counts: if another of its batch fails, or the commit does, it runs
/// again without the one that failed. So what it finds may leave it only after `write` has returned.
/// Threads: any. No lock is held while SQL runs; whoever leads owns the connection.
class GroupCommit {
public:
    /// What the rest of the client wants to hear; called by the leader, without a lock, outside of transactions.
    struct Hooks {
        std::function<void()> foreign_commit{};            ///< another connection has committed
        std::function<void(const StorageError&)> fatal{};  ///< the file cannot be used any more; called once
    };

    /// How long an operation may wait for its turn and for other processes' locks.
    struct Patience {
        Duration busy_timeout{};
        std::stop_token stop{};
    };

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
            look_around(found);
        } catch (...) {
            note_fatal(std::current_exception(), found);  // anything else: the next look will tell
        }
        std::unique_lock lock(mutex_);
        hand_over_locked();
        report(found, lock);
    }

    /// For setting up, before any other thread knows this object.
    [[nodiscard]] Connection& connection() noexcept { return connection_; }

private:
    struct Operation {
        enum class Kind { read, write };
        enum class State { waiting, taken, leads, done };

        Kind kind;
        void* work;
        void (*run)(void*, Repository&);
        const Patience& patience;
        std::chrono::steady_clock::time_point deadline;
        std::uint64_t refusals = 0;                // how often the file had been found locked when it came
        std::atomic<State> state{State::waiting};  // written under mutex_; read without it while yielding
        bool alone = false;                        // a commit failed: whose fault it was shows when each runs by itself
        bool committed = false;
        std::exception_ptr error{};
        std::condition_variable changed{};
    };
    using State = Operation::State;

    /// What a look at the file's state found.
    struct Found {
        bool foreign_commit = false;
        std::optional<StorageError> fatal{};
    };

    template <class Work>
    void submit(Operation::Kind kind, Work& work, const Patience& patience) {
        using Bare = std::remove_reference_t<Work>;
        Operation operation{kind, const_cast<void*>(static_cast<const void*>(std::addressof(work))),
                            [](void* erased, Repository& repository) { (*static_cast<Bare*>(erased))(repository); },
                            patience, saturating_add(std::chrono::steady_clock::now(), patience.busy_timeout)};
        std::unique_lock lock(mutex_);
        if (fatal_) throw StorageError(*fatal_);
        operation.refusals = refusals_;
        waiting_.push_back(&operation);
        if (!led_) {
            led_ = true;
            operation.state = State::leads;
        }
        while (operation.state != State::done) {
            if (operation.state == State::leads) {
                lead(operation, lock);
            } else {
                wait(operation, lock);
            }
        }
        if (operation.error) std::rethrow_exception(operation.error);
    }

    void wait(Operation& operation, std::unique_lock<std::mutex>& lock) {
        // Most waits are over within a commit: yielding a few times is cheaper than a sleep and a wake-up.
        lock.unlock();
        for (int i = 0; i < 4 && operation.state.load(std::memory_order_relaxed) == State::waiting; ++i) {
            std::this_thread::yield();
        }
        lock.lock();
        while (operation.state == State::waiting || operation.state == State::taken) {
            Duration pause = std::chrono::seconds{1};
            if (operation.state == State::waiting) {
                if (gives_up_locked(operation)) return;
                const auto left = std::chrono::ceil<Duration>(operation.deadline - std::chrono::steady_clock::now());
                pause = left > Duration::zero() ? (std::min)(pause, left) : Connection::busy_slice;
                if (operation.patience.stop.stop_possible()) pause = (std::min)(pause, Connection::busy_slice);
            }
            operation.changed.wait_for(lock, pause);
        }
    }

    /// Takes the operation out of the queue if its patience is over, or all hope. Time counts only once the file was
    /// found locked: waiting for this process's own writes is no reason to give up.
    bool gives_up_locked(Operation& operation) {
        if (fatal_) {
            operation.error = std::make_exception_ptr(StorageError(*fatal_));
        } else if (operation.patience.stop.stop_requested()) {
            operation.error = std::make_exception_ptr(Cancelled("cancelled by the caller's stop token"));
        } else if (refusals_ > operation.refusals && std::chrono::steady_clock::now() >= operation.deadline) {
            operation.error = std::make_exception_ptr(
                BusyError(detail::format("database \"{}\" stayed locked by another connection for {} ms",
                                         {connection_.file(), operation.patience.busy_timeout.count()}),
                          SQLITE_BUSY));
        } else {
            return false;
        }
        remove_locked(operation);
        operation.state = State::done;
        return true;
    }

    /// Commits what waits until the leader's own operation is done. The lock is held at entry and at exit.
    void lead(Operation& own, std::unique_lock<std::mutex>& lock) {
        Found found;
        while (own.state != State::done && !gives_up_locked(own)) lead_round(own, found, lock);
        hand_over_locked();
        report(found, lock);
    }

    /// One transaction, or one slice of waiting for another process's lock. After it the leader may give up, and
    /// everybody who waits may too.
    void lead_round(Operation& own, Found& found, std::unique_lock<std::mutex>& lock) {
        const bool writes = std::any_of(waiting_.begin(), waiting_.end(),
                                        [](const Operation* o) { return o->kind == Operation::Kind::write; });
        lock.unlock();
        try {
            if (writes && !connection_.try_begin()) {
                lock.lock();
                ++refusals_;
                return;
            }
            look_around(found);
            if (found.fatal) throw StorageError(*found.fatal);
        } catch (...) {
            own.error = std::current_exception();
            note_fatal(own.error, found);
            connection_.rollback();
            lock.lock();
            remove_locked(own);
            own.state = State::done;
            return;
        }
        lock.lock();
        const std::vector<Operation*> batch = take_locked(writes);
        lock.unlock();
        run(batch, writes);
        for (const Operation* operation : batch) note_fatal(operation->error, found);
        lock.lock();
        settle_locked(batch);
    }

    void remove_locked(Operation& operation) {
        const auto place = std::find(waiting_.begin(), waiting_.end(), &operation);
        if (place != waiting_.end()) waiting_.erase(place);
    }

    /// The operations of the next transaction, in the order in which they came; the leader's is the first.
    std::vector<Operation*> take_locked(bool writes) {
        std::vector<Operation*> batch;
        for (Operation* next : waiting_) {
            // A write that arrived after the leader chose to begin no transaction waits for the next round.
            if (!writes && next->kind == Operation::Kind::write) break;
            if (next->alone && !batch.empty()) break;
            next->state = State::taken;
            batch.push_back(next);
            if (next->alone) break;
        }
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(batch.size()));
        return batch;
    }

    /// Runs a batch. Operations that are neither failed nor committed afterwards have their turn again.
    void run(const std::vector<Operation*>& batch, bool writes) noexcept {
        for (Operation* operation : batch) {
            try {
                operation->run(operation->work, repository_);
                if (writes && !connection_.in_transaction()) {
                    throw StorageError("SQLite rolled the transaction back", SQLITE_ABORT_ROLLBACK);
                }
            } catch (...) {
                operation->error = std::current_exception();
                connection_.rollback();  // a failed statement can leave the transaction open, or have ended it
                return;
            }
        }
        try {
            if (writes) connection_.commit();
        } catch (...) {
            const std::exception_ptr error = std::current_exception();
            const bool settled = batch.size() == 1 || may_have_landed(error);
            for (Operation* operation : batch) {
                if (settled) {
                    operation->error = copy_of(error);
                } else {
                    operation->alone = true;
                }
            }
            return;
        }
        for (Operation* operation : batch) operation->committed = true;
    }

    /// Wakes the callers whose operations are over; puts the others back in front.
    void settle_locked(const std::vector<Operation*>& batch) {
        for (std::size_t i = batch.size(); i-- > 0;) {
            Operation* operation = batch[i];
            if (operation->committed || operation->error) {
                operation->state = State::done;
                operation->changed.notify_one();
            } else {
                operation->state = State::waiting;
                waiting_.insert(waiting_.begin(), operation);
            }
        }
    }

    void hand_over_locked() {
        if (waiting_.empty()) {
            led_ = false;
            return;
        }
        waiting_.front()->state = State::leads;
        waiting_.front()->changed.notify_one();
    }

    /// Whether others have committed, and whether the file is still ours to write. REQUIRES: to lead.
    void look_around(Found& found) {
        const std::int64_t version = connection_.data_version();
        if (version != seen_version_) {
            found.foreign_commit = true;
            seen_version_ = version;
            const std::int64_t schema = connection_.schema_version();
            if (schema != seen_schema_) {
                try {
                    Schema::check_writer(connection_);
                } catch (const StorageError& error) {
                    found.fatal = error;
                }
                seen_schema_ = schema;
            }
        }
        const auto now = std::chrono::steady_clock::now();
        if (now - moved_checked_ < std::chrono::milliseconds{100}) return;
        moved_checked_ = now;
        if (connection_.moved()) {
            found.fatal.emplace(detail::format("database \"{}\" was moved, replaced or deleted", {connection_.file()}),
                                SQLITE_READONLY_DBMOVED);
        }
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

    /// Callers on different threads complete their errors, so each gets its own.
    static std::exception_ptr copy_of(const std::exception_ptr& error) noexcept {
        try {
            try {
                std::rethrow_exception(error);
            } catch (const StorageError& known) {
                throw_sqlite(known.extended_code(), known.what(), known.added());
            }
        } catch (...) {
            return std::current_exception();
        }
    }

    static void note_fatal(const std::exception_ptr& error, Found& found) noexcept {
        if (!error || found.fatal) return;
        try {
            std::rethrow_exception(error);
        } catch (const StorageError& known) {
            if (is_fatal(known.extended_code())) found.fatal = known;
        } catch (...) {
        }
    }

    /// Calls the hooks. The lock is held at entry and at exit, not in between.
    void report(const Found& found, std::unique_lock<std::mutex>& lock) {
        const bool fatal = found.fatal && !fatal_;
        if (fatal) fatal_ = found.fatal;
        if (!fatal && !found.foreign_commit) return;
        lock.unlock();
        if (found.foreign_commit && hooks_.foreign_commit) hooks_.foreign_commit();
        if (fatal && hooks_.fatal) hooks_.fatal(*found.fatal);
        lock.lock();
    }

    // constant after construction
    Hooks hooks_;

    // whoever leads
    Connection connection_;
    Repository repository_;
    std::int64_t seen_version_ = 0;
    std::int64_t seen_schema_ = 0;
    std::chrono::steady_clock::time_point moved_checked_{};

    std::mutex mutex_;
    // guarded by mutex_
    bool led_ = false;
    std::vector<Operation*> waiting_{};  ///< in the order in which they came
    std::uint64_t refusals_ = 0;
    std::optional<StorageError> fatal_{};
};

}  // namespace storage
}  // namespace v1
}  // namespace backlite
