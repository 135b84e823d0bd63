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
#include <optional>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/base/guards.hpp>
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
    using Patience = store::Patience;

    /// `hooks`: called by the leader.
    GroupCommit(const ClientConfig& config, StoreHooks hooks)
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
    void look();

    /// Errors: StorageError if the file cannot be used any more, the same that every operation would get.
    void check_usable() {
        const detail::LockGuard lock(mutex_);
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

    void enter(Operation& operation);

    void take_lead_locked(Operation& operation) BACKLITE_REQUIRES(mutex_) {
        led_ = true;
        operation.set(State::leads);
    }

    void wait(Operation& operation);

    /// Takes the operation out of the queue if its patience is over, or all hope. Time counts only once the file was
    /// found locked: waiting for this process's own writes is no reason to give up.
    bool gives_up_locked(Operation& operation) BACKLITE_REQUIRES(mutex_);

    /// Commits what waits until the leader's own operation is done.
    void lead(Operation& own);

    /// One transaction, or one slice of waiting for another process's lock. After it the leader may give up, and
    /// everybody who waits may too. Whether its own operation is done, and the lead given up. The lock is held at entry
    /// and at exit, not in between.
    [[nodiscard]] bool lead_round(Operation& own, Found& found, detail::UniqueLock& lock) BACKLITE_REQUIRES(mutex_);

    /// Runs what waits, in the order in which it came, and what arrives meanwhile. The lock is not held at entry and at
    /// exit. False if one failed: nothing of the others is in the file then.
    [[nodiscard]] bool run_all(OperationList& batch, Operation& own, bool writes, detail::UniqueLock& lock)
        BACKLITE_EXCLUDES(mutex_);

    /// Moves what waits to the end of the batch; false if that is nothing.
    bool take_locked(OperationList& batch, bool writes) BACKLITE_REQUIRES(mutex_);

    /// Waits for the next operation if one is expected before the commit, but not long. The lock is held at entry and
    /// at exit.
    void gather(Operation& own, detail::UniqueLock& lock) BACKLITE_REQUIRES(mutex_);

    /// False if it failed; then the transaction is no more.
    bool run(Operation& operation, bool writes) noexcept;

    /// How long it took; zero if there was nothing to commit, or it failed. Operations that are neither failed nor
    /// committed afterwards have their turn again.
    Steady::duration commit(const OperationList& batch, bool writes) noexcept;

    /// They have waited longest.
    void put_back_locked(OperationList& left) noexcept BACKLITE_REQUIRES(mutex_);

    /// The end of a lead: the first who waits leads now, or whoever comes next.
    void hand_over_locked(Found& found) BACKLITE_REQUIRES(mutex_);

    /// Whether others have committed, and whether the file is still ours to write; false if that cannot be told now.
    /// REQUIRES: to lead.
    [[nodiscard]] bool look_around(Found& found);

    static bool may_have_landed(const std::exception_ptr& error) noexcept;

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
    static std::exception_ptr copy_of(const std::exception_ptr& error) noexcept;

    static void note_fatal(const std::exception_ptr& error, Found& found) noexcept;

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
    StoreHooks hooks_;

    // whoever leads
    Connection connection_;
    Repository repository_;
    std::int64_t seen_version_ = 0;
    std::uint64_t foreign_commits_ = 0;
    std::int64_t seen_schema_ = 0;
    Steady::time_point files_checked_{};

    std::atomic<std::uint64_t> entered_{0};  ///< operations that have ever come; changed under mutex_
    detail::Mutex mutex_{};
    bool led_ BACKLITE_GUARDED_BY(mutex_) = false;
    OperationList waiting_ BACKLITE_GUARDED_BY(mutex_){};  ///< in the order in which they came
    CommitWindow gathering_ BACKLITE_GUARDED_BY(mutex_){};
    std::size_t taken_ BACKLITE_GUARDED_BY(mutex_) = 0;  ///< how many operations the transaction holds so far
    /// The leader's own, while it sleeps until the transaction is complete.
    Operation* gatherer_ BACKLITE_GUARDED_BY(mutex_) = nullptr;
    std::uint64_t refusals_ BACKLITE_GUARDED_BY(mutex_) = 0;
    /// The reason of the last refusal, if it was not a lock.
    std::optional<StorageError> unseen_ BACKLITE_GUARDED_BY(mutex_){};
    std::optional<StorageError> fatal_ BACKLITE_GUARDED_BY(mutex_){};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/group_commit.ipp>
#endif
