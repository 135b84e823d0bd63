// SPDX-License-Identifier: MIT
#pragma once
// The shared state that a Client is a handle on: the store, the queues, and the session while it is started.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/add_target.hpp>
#include <backlite/base/format.hpp>
#include <backlite/base/guards.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/add_counts.hpp>
#include <backlite/core/id_generator.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/engine/checked_config.hpp>
#include <backlite/engine/event_relay.hpp>
#include <backlite/engine/finish_watch.hpp>
#include <backlite/engine/lifecycle.hpp>
#include <backlite/engine/room_watch.hpp>
#include <backlite/engine/session.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/fork.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/queue.hpp>
#include <backlite/status.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"  // -Weffc++ asks for it in the standard's class, too
/// Threads: any. A session is started and taken down by one thread at a time; others wait for that one.
class Engine final : public detail::AddTarget, public std::enable_shared_from_this<Engine> {
#pragma GCC diagnostic pop
public:
    using Steady = std::chrono::steady_clock;

    /// Errors: ConfigError for values that cannot work, StorageError for a file that cannot be used.
    Engine(ClientConfig config, store::OpenStore open);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine() { finishes_->close(); }

    [[nodiscard]] const ClientConfig& config() const noexcept { return config_; }
    [[nodiscard]] const Clock& clock() const noexcept override { return *clock_; }
    [[nodiscard]] bool forked() const noexcept { return guard_.forked(); }
    [[nodiscard]] std::size_t max_payload() const noexcept override { return config_.max_payload; }
    void check_fork(const char* call) const { guard_.check_process(call); }
    void check_call(const char* call) const override {
        check_fork(call);
        if (life_.state() == Lifecycle::ended)
            throw UsageError(detail::format("{}: the client was destroyed and has ended", {call}));
    }

    void install();

    void register_queue(std::unique_ptr<detail::QueueBase> queue);

    void start(std::stop_token hard_stop);

    bool stop(Duration patience);

    /// The end of the client: asks the tasks to stop, waits for them without limit, and for what is unwritten at most
    /// `busy_timeout`. On a thread of this engine, which would wait for itself, it leaves that to the session.
    void shut_down() noexcept;

    void tell_unreadable(std::string_view queue, std::string_view why) const noexcept override {
        log_(LogLevel::warning, "a task is added that this program could not read back",
             {{"queue", std::string{queue}}, {"error", std::string{why}}});
    }

    /// Adds tasks in a transaction of the client's own. Errors: see Client::add.
    void add(std::span<detail::NewTask> tasks, std::optional<detail::Ms> wait_until, detail::Ms now,
             std::stop_token stop) override;

    /// Adds tasks in the transaction that is open on `database`. Errors: see AddOp::tx.
    void add_within(SQLite::Database& database, std::span<detail::NewTask> tasks, std::optional<detail::Ms> wait_until,
                    detail::Ms now) override;

    [[nodiscard]] store::Store& store() noexcept { return *store_; }

    /// For who runs the tasks without a session. They change in `register_queue` and at the client's end.
    [[nodiscard]] const core::QueueRegistry& queues() const noexcept { return queues_; }

    /// Null if nobody observes.
    [[nodiscard]] EventRelay* events() noexcept { return events_.get(); }

    [[nodiscard]] TaskStatus status(const TaskId& id);

    /// The same, and what is kept of it.
    [[nodiscard]] store::FoundTask find(const TaskId& id);

    [[nodiscard]] std::optional<TaskStatus> wait(const TaskId& id, Duration patience, std::stop_token stop);

    void on_finished(const TaskId& id, FinishWatch::Callback callback);

    /// For who ends tasks of this client's.
    [[nodiscard]] FinishWatch& finishes() noexcept { return *finishes_; }

    [[nodiscard]] TaskCounts counts();

    CancelResult cancel(const TaskId& id);

    /// Fills in time and retention, and looks at the file anew. `call`: by whom.
    store::ChangeResult change(const char* call, store::ChangePlan plan);

    void set_paused(std::string_view queue, bool paused);

    /// Stores limits of a queue of whatever name for all clients; nullopt: those of the programs hold again. `call`:
    /// for messages. Errors: ConfigError for limits or a name that cannot be; as a write. Blocks until it is committed.
    void set_limits(const char* call, std::string_view queue, const std::optional<Limits>& limits);

    /// See Admin::secret.
    [[nodiscard]] std::string secret(const char* call);

    /// The limits that are stored; nullopt: none are.
    [[nodiscard]] std::optional<Limits> limits(const char* call, std::string_view queue) {
        check_call(call);
        return store_->limits(queue);
    }

    [[nodiscard]] bool wait_idle(Duration patience);

    /// How a task of this queue is kept that ends without success.
    [[nodiscard]] store::KeepRule rule(std::string_view queue);

    /// Errors: ConfigError if the processor of a task's queue takes another type: it would run on what it can read of
    /// the payload, and on defaults.
    void check_types(std::span<const detail::NewTask> tasks);

    /// An id for a task that is added now.
    [[nodiscard]] TaskId next_id(detail::Ms now) { return ids_.next(now); }

    void notify() {
        check_call("Client::notify");
        refresh();
    }

    /// Others have committed: look at the file. Never blocks on SQLite.
    void refresh() {
        const detail::LockGuard lock(mutex_);
        if (session_) session_->dispatcher().refresh();
    }

private:
    /// While one thread makes a session others wait for it, until this goes.
    class ChangeScope {
    public:
        explicit ChangeScope(Engine& engine) noexcept : engine_(engine), run_(engine.life_.run()) {}
        ChangeScope(const ChangeScope&) = delete;
        ChangeScope& operator=(const ChangeScope&) = delete;
        ~ChangeScope();

    private:
        Engine& engine_;
        const std::uint64_t run_;
    };

    /// Whether this thread is to start a session; false if one is started. Waits at most `busy_timeout` for one that
    /// has only outcomes left to write. Errors: UsageError while one still stops.
    bool begin_change();

    /// Takes down a session that has ended by itself. The lock is held at entry and at exit, not in between. False if
    /// there is none, or this thread is one of its own.
    [[nodiscard]] bool clear_ended(detail::UniqueLock& lock) BACKLITE_REQUIRES(mutex_);

    [[nodiscard]] std::string running_locked() const BACKLITE_REQUIRES(mutex_);

    /// The session, once no other thread is changing it; null if there is none.
    std::shared_ptr<Session> session_to_stop();

    /// From an own thread: only asks. True if there is nothing to stop.
    bool request_stop();

    /// REQUIRES: the session has ended, and this thread is none of its own. Joins its threads, or leaves that to
    /// another thread that waits for it too.
    void take_down(std::shared_ptr<Session>& session);

    void end_session(std::shared_ptr<Session>& session) noexcept;

    [[nodiscard]] bool on_own_thread() const noexcept { return own_threads_->has_this_thread(); }

    /// From now on the engine keeps itself alive. False if there is no session, nor one about to be.
    bool leave_to_session() noexcept;

    /// On the session's watch thread, which nobody else waits for any more, so it can wait for all others. False if
    /// another thread is about to take the session down, and waits for this one.
    bool end_orphan() noexcept;

    /// No session will be any more. What the processors hold goes now, also if handles are kept.
    void end() noexcept;

    /// The registered queues, with names of their own: those of the registry go with the client.
    struct Registered {
        explicit Registered(Engine& engine);
        Registered(const Registered&) = delete;
        Registered& operator=(const Registered&) = delete;
        ~Registered() = default;
        std::vector<std::string> names{};
        std::vector<store::QueueHead> heads{};
    };

    void log_running(const Session& session) const noexcept;

    /// What the dispatcher has not counted. Waits for nobody: these are statistics.
    void count_adds() noexcept;

    void name(std::span<detail::NewTask> tasks, detail::Ms now) {
        ids_.next_many(now, tasks.size(), [&](std::size_t i, TaskId id) { tasks[i].id = std::move(id); });
    }

    /// Tasks on their way into the file, of which the dispatcher is told once they are there. A single one that is due,
    /// while a worker is idle and nothing else is due, is inserted as claimed and handed to that worker instead: no
    /// second transaction, and no thread in between. A death in between is that of any claim's owner: whoever takes its
    /// lock gives the claim back, and no attempt is spent.
    class Adding {
    public:
        Adding(Engine& engine, std::span<detail::NewTask> tasks, std::optional<detail::Ms> wait_until, detail::Ms now)
            : engine_(engine), tasks_(tasks), wait_until_(wait_until), now_(now) {}
        Adding(const Adding&) = delete;
        Adding& operator=(const Adding&) = delete;
        ~Adding();

        /// What the store is to do. Valid as long as this object.
        [[nodiscard]] store::AddPlan plan();

        void committed();

    private:
        /// In the transaction, perhaps several times: see AddPlan.
        std::optional<std::int64_t> starter(std::uint64_t foreign_commits);

        /// The order of locks: this one, then those of the session. Nobody waits for a transaction under it.
        bool keep_worker(std::uint64_t foreign_commits);

        Engine& engine_;
        const std::span<detail::NewTask> tasks_;
        const std::optional<detail::Ms> wait_until_;
        const detail::Ms now_;
        std::int64_t owner_ = 0;
        TaskId id_{};                                     ///< of the task to be handed over
        std::optional<core::AddCounts::Batch> counts_{};  ///< this transaction counts its own tasks and those before it
        bool unannounced_ = false;
        bool worker_kept_ = false;
    };

    /// One try of `add`. Errors: the same; QueueFullError though the queue's adds wait.
    void try_add(std::span<detail::NewTask> tasks, std::optional<detail::Ms> wait_until, detail::Ms now,
                 std::stop_token stop);

    [[nodiscard]] store::StoreHooks hooks();
    void on_fatal(const StorageError& error) noexcept;

    // constant after construction
    const platform::ForkGuard guard_{};
    const ClientConfig config_;
    const std::shared_ptr<Clock> clock_;
    const detail::SafeLogger log_;

    const std::shared_ptr<platform::ThreadList> own_threads_ = std::make_shared<platform::ThreadList>();
    const std::unique_ptr<EventRelay> events_;  ///< null: nobody observes
    Life life_{};                               ///< changed under mutex_, but for hard stops
    core::IdGenerator ids_{};
    std::atomic<int> unannounced_{0};  ///< calls of add() whose tasks may be in the file without the dispatcher knowing
    core::QueueRegistry queues_{};     // changed under mutex_, and only while there is no session
    core::AddCounts add_counts_{};
    RoomWatch room_{};
    const std::unique_ptr<store::Store> store_;
    const std::shared_ptr<FinishWatch> finishes_;  ///< the thread of its callbacks, which may outlive this, has it too

    detail::Mutex mutex_{};
    std::condition_variable changed_{};
    std::shared_ptr<Session> session_ BACKLITE_GUARDED_BY(mutex_){};
    std::shared_ptr<Engine> self_ BACKLITE_GUARDED_BY(mutex_){};  ///< keeps this alive while the session is to end it
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/engine.ipp>
#endif
