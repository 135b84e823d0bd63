// SPDX-License-Identifier: MIT
#pragma once
// The store in a SQLite file: one connection that writes, one that reads, and the calls of Store by what stands beside
// this header.

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/host_transaction.hpp>
#include <backlite/store/sqlite/log_growth.hpp>
#include <backlite/store/sqlite/open_transactions.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/progress_notes.hpp>
#include <backlite/store/sqlite/saved_values.hpp>
#include <backlite/store/sqlite/status_queries.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

static_assert(OwnerLock::max_workers >= most_workers);

/// Threads: any.
class SqliteStore : public Store {
public:
    using Steady = std::chrono::steady_clock;

    /// Opens the file, and installs the tables unless `auto_install` is off. All but `hooks` outlives it.
    /// Errors: ConfigError, StorageError for a file that cannot be used.
    SqliteStore(const ClientConfig& config, const Clock& clock, const detail::SafeLogger& log, StoreHooks hooks);

    void install() override;
    void check_tables(const Patience& patience) override;
    void demand_tables(const Patience& patience) override {
        writes_.read([](Repository& repository) { repository.upkeep.demand_tables(); }, patience);
    }

    [[nodiscard]] std::unique_ptr<Owner> join(const detail::SafeLogger& log, const Patience& patience) override;

    void add(const AddPlan& plan, const Patience& patience) override;
    void add_within(HostConnection connection, const AddPlan& plan) override;
    [[nodiscard]] std::unique_ptr<store::HostTransaction> begin(HostConnection connection) override;

    [[nodiscard]] bool save(const SavePlan& plan, const Patience& patience) override;
    [[nodiscard]] bool save_within(HostConnection connection, const SavePlan& plan) override;
    [[nodiscard]] bool complete_within(HostConnection connection, std::string_view queue, detail::Ms due,
                                       const detail::AttemptResult& success) override;
    [[nodiscard]] std::vector<TaskId> parents_of(const TaskId& id, const std::string& after, int limit,
                                                 const Patience& patience) override;
    [[nodiscard]] SignalResult signal(const SignalPlan& plan, const Patience& patience) override;
    [[nodiscard]] std::vector<detail::SavedValue> saved(const TaskId& id, const NameRange& names,
                                                        std::size_t limit) override;

    [[nodiscard]] detail::TaskLabels labels(const TaskId& id) override;
    [[nodiscard]] CycleResult cycle(const CycleRequest& request, const Patience& patience) override;
    void count(const std::vector<Tally>& tallies, const Patience& patience) override {
        writes_.write([&](Repository& repository) { repository.statistics.add(tallies); }, patience);
    }

    [[nodiscard]] std::optional<detail::Ms> next_expiry(const Patience& patience) override;
    [[nodiscard]] std::vector<std::pair<std::string, detail::Ms>> strays(const std::vector<QueueHead>& heads, int limit,
                                                                         const Patience& patience) override;
    [[nodiscard]] CancelResult cancel(const CancelPlan& plan, const Patience& patience) override;
    [[nodiscard]] ChangeResult change(const ChangePlan& plan, const Patience& patience) override;
    void set_paused(std::string_view queue, std::optional<detail::Ms> since, const Patience& patience) override;
    void set_limits(std::string_view queue, const std::optional<Limits>& limits, const Patience& patience) override;
    [[nodiscard]] std::string secret(std::string_view fresh, const Patience& patience) override;
    [[nodiscard]] std::optional<Limits> limits(std::string_view queue) override;
    bool change_schedule(const std::string& name, const ScheduleChange& change, const Patience& patience) override;
    [[nodiscard]] SlotResult run_schedule(const SlotPlan& plan, detail::Ms now, const Patience& patience) override;
    [[nodiscard]] DueSchedules due_schedules(const DueQuery& query, const Patience& patience) override;
    [[nodiscard]] std::vector<ScheduleRow> schedules() override;
    [[nodiscard]] std::optional<Progress> progress(const TaskId& id) override;
    [[nodiscard]] TaskStatus status(const TaskId& id) override;
    [[nodiscard]] FoundTask find(const TaskId& id, std::size_t max_result) override;
    void check_thread(std::string_view call) override;
    [[nodiscard]] bool idle(const std::vector<QueueHead>& queues, detail::Ms now) override;
    [[nodiscard]] TaskCounts counts(detail::Ms now) override;
    [[nodiscard]] std::vector<WaitingTask> waiting(const std::string& queue) override;

    void look() override { writes_.look(); }
    void look_after_itself(const detail::SafeLogger& tell, Steady::time_point now) override {
        log_growth_.look(tell, now);
    }
    [[nodiscard]] std::unique_ptr<CommitWatch> watch() override;

    /// For tests.
    [[nodiscard]] GroupCommit& writes() noexcept { return writes_; }

private:
    struct Reader {
        explicit Reader(const ClientConfig& config)
            : connection(config, Role::reader),
              reads(connection.handle()),
              saved(connection.handle()),
              labels(connection.handle()),
              progress(connection.handle()) {}
        Connection connection;
        StatusQueries reads;
        SavedValues saved;
        Labels labels;
        ProgressNotes progress;
        Statement list_schedules{list_of_schedules};
    };

    /// One transaction of an add. False if it has only dropped tasks, and another must follow.
    [[nodiscard]] bool add_once(const AddPlan& plan, const Patience& patience);

    /// Another connection writes to the file, which not every SQLite is safe with: that is told once.
    void tell_foreign_writer() noexcept;

    /// Lets those of the tasks that are being added wait which have parents. Whether the dispatcher is to look.
    [[nodiscard]] bool hold_children(Repository& repository, const AddPlan& plan);

    /// Opens the read connection when it is needed first, without the lock: ClientConfig::open is the host's, and may
    /// ask this client itself, or wait for a thread that does. Of two that are opened at once, one is closed again.
    void need_reader(detail::UniqueLock& lock) BACKLITE_REQUIRES(reader_mutex_);

    /// Errors: ConfigError if the connection's main file is not this client's, or has been opened through another hard
    /// link: SQLite names the log after the database, and two logs damage the file (sqlite.org/howtocorrupt.html, 2.5).
    void check_own_file(SQLite::Database& database) const;

    /// The handle of a connection whose open transaction `call` is to write in. Errors: as above; UsageError if none is
    /// open; StorageError if the client has stopped itself.
    [[nodiscard]] sqlite3* open_transaction(HostConnection connection, const char* call);

    // constant after construction
    const ClientConfig& config_;
    const Clock& clock_;
    const detail::SafeLogger& log_;
    const std::function<void(const Rescued&)> rescued_;
    const Children::Keep keep_;
    /// Calls that are no cycle may free tasks, or leave children to be seen to: they are found as those of other
    /// connections are.
    const std::function<void()> tell_freed_;
    const std::function<void()> tell_room_;
    OpenTransactions& open_transactions_ = OpenTransactions::instance();

    std::atomic<bool> foreign_writer_told_{false};
    GroupCommit writes_;
    const std::string file_ = writes_.connection().file();
    const platform::FileIdentity identity_ = writes_.connection().identity();
    const platform::FileIdentity log_identity_ = writes_.connection().log_identity();
    LogGrowth log_growth_{file_};

    platform::ThreadList opening_{};  ///< those that open the read connection
    detail::Mutex reader_mutex_{};
    std::unique_ptr<Reader> reader_ BACKLITE_GUARDED_BY(reader_mutex_){};
};

/// An OpenStore.
[[nodiscard]] std::unique_ptr<Store> open(const ClientConfig& config, const Clock& clock, const detail::SafeLogger& log,
                                          StoreHooks hooks);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/sqlite_store.ipp>
#endif
