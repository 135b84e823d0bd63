// SPDX-License-Identifier: MIT
#pragma once
// The shared state that a Client is a handle on: the connections, the queues, and the session while it is started.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <backlite/base/add_target.hpp>
#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/add_counts.hpp>
#include <backlite/core/id_generator.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/running_task.hpp>
#include <backlite/engine/checked_config.hpp>
#include <backlite/engine/open_transactions.hpp>
#include <backlite/engine/session.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/fork.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/queue.hpp>
#include <backlite/status.hpp>
#include <backlite/store/sqlite/add_statements.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/database_file.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/statistics.hpp>
#include <backlite/store/sqlite/status_queries.hpp>

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
    explicit Engine(ClientConfig config)
        : config_(checked_config(std::move(config))),
          clock_(config_.clock ? config_.clock : std::make_shared<Clock>()),
          log_(config_.logger),
          writes_(config_, {[this]() noexcept { foreign_commit(); },
                            [this](const StorageError& error) noexcept { on_fatal(error); }}) {
        if (config_.auto_install) {
            store::sqlite::Schema::install(writes_.connection(), config_.busy_timeout);
        } else {
            store::sqlite::Schema::check_writer(
                writes_.connection());  // the write path asks again only if the schema changes
        }
    }
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    [[nodiscard]] const ClientConfig& config() const noexcept { return config_; }
    [[nodiscard]] const Clock& clock() const noexcept override { return *clock_; }
    [[nodiscard]] bool forked() const noexcept { return guard_.forked(); }
    [[nodiscard]] std::size_t max_payload() const noexcept override { return config_.max_payload; }
    void check_fork(const char* call) const { guard_.check_process(call); }
    void check_call(const char* call) const override {
        check_fork(call);
        if (ended_) throw UsageError(detail::format("{}: the client was destroyed and has ended", {call}));
    }

    void install() {
        check_fork("Client::install");
        store::sqlite::Connection connection(config_, store::sqlite::Role::writer);
        store::sqlite::Schema::install(connection, config_.busy_timeout);
    }

    void register_queue(std::unique_ptr<detail::QueueBase> queue) {
        check_fork("Client::register_queue");
        std::unique_lock lock(mutex_);
        (void)clear_ended(lock);
        if (session_ || changing_) {
            throw ConfigError(detail::format(
                "queue \"{}\": queues are registered before start, or between stop and start", {queue->config().name}));
        }
        queues_.add(std::move(queue));
    }

    void start(std::stop_token hard_stop) {
        check_fork("Client::start");
        if (!begin_change()) return;  // started already
        const ChangeScope change(*this);
        const platform::ThreadList::Scope own(*own_threads_);
        writes_.read([this](store::sqlite::Repository&) { store::sqlite::Schema::check_tables(writes_.connection()); },
                     {config_.busy_timeout, {}});
        auto session = std::make_shared<Session>(
            SessionParts{own_threads_, weak_from_this(), [this]() noexcept { return end_orphan(); }, config_, *clock_,
                         log_, queues_, writes_, add_counts_},
            std::move(hard_stop));
        const std::lock_guard lock(mutex_);
        session_ = std::move(session);
        // What came while the session was not yet to be found:
        session_->dispatcher().refresh();
        if (stop_asked_) session_->request_stop();
        if (fatal_) session_->end_unwritten();
        if (orphan_) session_->orphan();
    }

    bool stop(Duration patience) {
        check_call("Client::stop");
        if (patience < Duration::zero()) {
            throw ConfigError(detail::format("Client::stop: the time is negative: {} ms", {patience.count()}));
        }
        if (on_own_thread()) return request_stop();
        std::shared_ptr<Session> session = session_to_stop();
        if (!session) return true;
        const platform::ThreadList::Scope own(
            *own_threads_);  // a stop callback that calls stop() must not wait for itself
        session->request_stop();
        bool in_time = true;
        if (!session->ending().wait(saturating_add(Steady::now(), patience))) {
            in_time = !session->runs_any();  // what is left is to write, if anything
            session->request_hard_stop();
            if (!session->ending().wait(Steady::now() + std::chrono::seconds{1})) return false;
        }
        const bool clean = session->ending().clean();
        take_down(session);
        return in_time && clean;
    }

    /// The end of the client: asks the tasks to stop, waits for them without limit, and for what is unwritten at most
    /// `busy_timeout`. On a thread of this engine, which would wait for itself, it leaves that to the session.
    void shut_down() noexcept {
        if (on_own_thread() && leave_to_session()) return;
        if (std::shared_ptr<Session> session = session_to_stop()) end_session(session);
        end();
    }

    void tell_unreadable(std::string_view queue, std::string_view why) const noexcept override {
        log_(LogLevel::warning, "a task is added that this program could not read back",
             {{"queue", std::string{queue}}, {"error", std::string{why}}});
    }

    /// Adds tasks in a transaction of the client's own. Errors: see Client::add.
    void add(std::span<detail::NewTask> tasks, std::optional<std::int64_t> wait_until, std::int64_t now,
             std::stop_token stop) override {
        if (open_transactions_.on_this_thread(writes_.connection().identity())) {
            throw ConfigError(
                "add() without tx() while this thread has a backlite::Transaction open on the same file: it would wait "
                "for itself; use tx(transaction)");
        }
        check_types(tasks);
        name(tasks, now);
        Adding adding(*this, tasks, wait_until, now);
        writes_.write([&](store::sqlite::Repository& repository) { adding.insert(repository); },
                      {config_.busy_timeout, std::move(stop)});
        adding.committed();
    }

    /// Adds tasks in the transaction that is open on `database`. Errors: see AddOp::tx.
    void add_within(SQLite::Database& database, std::span<detail::NewTask> tasks,
                    std::optional<std::int64_t> wait_until, std::int64_t now) override {
        sqlite3* db = database.getHandle();
        check_own_file(db);
        if (sqlite3_get_autocommit(db) != 0) throw ConfigError("tx(db): no transaction is open on this connection");
        check_usable();
        check_types(tasks);
        name(tasks, now);
        store::sqlite::add_within(db, file_, tasks, now, wait_until);
    }

    /// Errors: StorageError if the client has stopped itself: then nothing of its own may be written any more, on
    /// whatever connection.
    void check_usable() { writes_.check_usable(); }

    /// Errors: ConfigError if the connection's main file is not this client's, or has been opened through another hard
    /// link: SQLite names the log after the database, and two logs damage the file (sqlite.org/howtocorrupt.html, 2.5).
    void check_own_file(sqlite3* db) const {
        const char* name = sqlite3_db_filename(db, "main");
        const std::string file{name == nullptr ? "" : name};
        const bool own = !file.empty() && store::sqlite::identify(file) == identity_;
        if (own && (file == file_ || store::sqlite::identify(file + "-wal") == log_identity_)) return;
        throw ConfigError(
            detail::format("tx: the connection is on \"{}\", the client on \"{}\"{}",
                           {file, config_.database,
                            own ? ", which is a hard link to the same file: SQLite keeps a log per name" : ""}));
    }

    [[nodiscard]] store::sqlite::FileIdentity identity() const noexcept { return identity_; }

    /// Those of the process.
    [[nodiscard]] OpenTransactions& open_transactions() const noexcept { return open_transactions_; }

    [[nodiscard]] TaskStatus status(const TaskId& id) {
        check_call("Client::status");
        const auto lock = lock_reader();
        return reader_->reads.status(id);
    }

    [[nodiscard]] TaskCounts counts() {
        check_call("Client::counts");
        const auto lock = lock_reader();
        return reader_->reads.counts(to_ms(clock_->now()));
    }

    void notify() {
        check_call("Client::notify");
        refresh();
    }

    /// Others have committed: look at the file. Never blocks on SQLite.
    void refresh() {
        const std::lock_guard lock(mutex_);
        if (session_) session_->dispatcher().refresh();
    }

private:
    struct Reader {
        explicit Reader(const ClientConfig& config)
            : connection(config, store::sqlite::Role::reader), reads(connection.handle()) {}
        store::sqlite::Connection connection;
        store::sqlite::StatusQueries reads;
    };

    /// Another connection writes to the file, which not every SQLite is safe with: that is told once.
    void foreign_commit() noexcept {
        if (store::sqlite::has_wal_reset_bug(sqlite3_libversion_number()) && !foreign_writer_told_.exchange(true)) {
            log_(LogLevel::warning, "several connections write to the file, and this SQLite has the WAL-reset bug",
                 {{"sqlite", sqlite3_libversion()}, {"mended_in", "3.44.6, 3.50.7, 3.51.3"}});
        }
        refresh();
    }

    /// Other threads wait while one takes the engine from one state to another.
    class ChangeScope {
    public:
        explicit ChangeScope(Engine& engine) noexcept : engine_(engine) {}
        ChangeScope(const ChangeScope&) = delete;
        ChangeScope& operator=(const ChangeScope&) = delete;
        ~ChangeScope() {
            std::shared_ptr<Engine> orphan;  // goes after the lock; the caller has another
            const std::lock_guard lock(engine_.mutex_);
            engine_.changing_ = false;
            engine_.changed_.notify_all();
            if (!engine_.session_) orphan = std::move(engine_.orphan_);
        }

    private:
        Engine& engine_;
    };

    /// Opens the read connection when it is needed first, without the lock: ClientConfig::open is the host's, and may
    /// ask this client itself, or wait for a thread that does. Of two that are opened at once, one is closed again.
    std::unique_lock<std::mutex> lock_reader() {
        std::unique_lock lock(reader_mutex_);
        if (!reader_) {
            lock.unlock();
            if (opening_.has_this_thread()) {
                throw UsageError("Client: asked inside ClientConfig::open, which opens the connection to ask by");
            }
            const platform::ThreadList::Scope opening(opening_);
            auto opened = std::make_unique<Reader>(config_);
            lock.lock();
            if (!reader_) reader_ = std::move(opened);
        }
        return lock;
    }

    /// Whether this thread is to start a session; false if one is started. Waits at most `busy_timeout` for one that
    /// has only outcomes left to write. Errors: ConfigError while one still stops.
    bool begin_change() {
        std::unique_lock lock(mutex_);
        for (bool patient = !on_own_thread();;) {
            if (changing_) {
                if (on_own_thread()) return false;
                changed_.wait_for(lock, detail::longest_wait());
                continue;
            }
            if (!session_) {
                changing_ = true;
                stop_asked_ = false;
                return true;
            }
            if (!session_->stopping()) return false;
            if (clear_ended(lock)) continue;
            const std::string running = running_locked();
            if (running.empty() && std::exchange(patient, false)) {
                std::shared_ptr<Session> session = session_;
                lock.unlock();
                (void)session->ending().wait(saturating_add(Steady::now(), config_.busy_timeout));
                session.reset();  // outside of the lock: the last holder joins its threads
                lock.lock();
                continue;
            }
            throw ConfigError(detail::format(
                "Client::start: the client is still stopping; {}{}",
                {running.empty() ? "no task runs, but outcomes are not yet written" : "running tasks: ", running}));
        }
    }

    /// Takes down a session that has ended by itself. The lock is held at entry and at exit, not in between. False if
    /// there is none, or this thread is one of its own.
    [[nodiscard]] bool clear_ended(std::unique_lock<std::mutex>& lock) {
        if (!session_ || on_own_thread() || !session_->ending().wait({})) return false;
        std::shared_ptr<Session> ended = std::exchange(session_, nullptr);
        lock.unlock();
        ended.reset();  // joins its threads
        lock.lock();
        return true;
    }

    [[nodiscard]] std::string running_locked() const {
        std::string text;
        for (const core::RunningTask& task : session_->running()) {
            text += detail::format("{}{} of queue \"{}\"",
                                   {text.empty() ? "" : ", ", task.id.str(), queues_[task.queue].config().name});
        }
        return text;
    }

    /// The session, once no other thread is changing it; null if there is none.
    std::shared_ptr<Session> session_to_stop() {
        std::unique_lock lock(mutex_);
        while (changing_) changed_.wait_for(lock, detail::longest_wait());
        return session_;
    }

    /// From an own thread: only asks. True if there is nothing to stop.
    bool request_stop() {
        // Under the lock instead of on a copy: the last holder of a session joins its threads, of which this is one.
        const std::lock_guard lock(mutex_);
        if (session_) session_->request_stop();
        stop_asked_ = changing_;  // for the session that is not yet to be found
        return !session_ && !changing_;
    }

    /// REQUIRES: the session has ended, and this thread is none of its own. Joins its threads, or leaves that to
    /// another thread that waits for it too.
    void take_down(std::shared_ptr<Session>& session) {
        std::shared_ptr<Engine> orphan;
        {
            const std::lock_guard lock(mutex_);
            if (session_ == session) session_.reset();
            // The caller's own handle goes when the caller is done with it, outside of the lock.
            orphan = std::move(orphan_);
        }
        if (orphan) end();
    }

    void end_session(std::shared_ptr<Session>& session) noexcept {
        const platform::ThreadList::Scope own(*own_threads_);
        session->request_hard_stop();
        constexpr auto busy = (Steady::time_point::max)();
        auto idle_since = busy;
        for (;;) {
            const Duration pause = session->runs_any() ? Duration{1000} : Duration{10};
            if (session->ending().wait(Steady::now() + pause)) break;
            log_running(*session);
            const auto now = Steady::now();
            idle_since = session->runs_any() ? busy : (std::min)(idle_since, now);
            if (now - idle_since >= config_.busy_timeout) session->abandon();
        }
        take_down(session);
    }

    [[nodiscard]] bool on_own_thread() const noexcept { return own_threads_->has_this_thread(); }

    /// From now on the engine keeps itself alive. False if there is no session, nor one about to be.
    bool leave_to_session() noexcept {
        const std::lock_guard lock(mutex_);
        if (!session_ && !changing_) return false;
        orphan_ = shared_from_this();
        if (session_) session_->orphan();
        return true;
    }

    /// On the session's watch thread, which nobody else waits for any more, so it can wait for all others. False if
    /// another thread is about to take the session down, and waits for this one.
    bool end_orphan() noexcept {
        std::shared_ptr<Engine> self;  // goes last
        std::shared_ptr<Session> session;
        {
            const std::lock_guard lock(mutex_);
            if (!session_) return false;
            session = session_;
            self = std::move(orphan_);
        }
        session->let_watch_go();
        end_session(session);
        session.reset();
        end();
        return true;
    }

    /// No session will be any more. What the processors hold goes now, also if handles are kept.
    void end() noexcept {
        count_adds();
        core::QueueRegistry queues;
        const std::lock_guard lock(mutex_);
        (std::swap)(queues, queues_);
        ended_ = true;
    }

    void log_running(const Session& session) const noexcept {
        try {
            for (const core::RunningTask& task : session.running()) {
                log_(LogLevel::warning, "waiting for a task to end before the client can be destroyed",
                     {{"id", task.id.str()}, {"queue", queues_[task.queue].config().name}});
            }
        } catch (const std::bad_alloc&) {  // not told this time
        }
    }

    /// What the dispatcher has not counted. Waits for nobody: these are statistics.
    void count_adds() noexcept {
        try {
            core::AddCounts::Batch added(add_counts_, Steady::now());
            if (added.tallies().empty()) return;
            writes_.write([&](store::sqlite::Repository& repository) { repository.statistics.add(added.tallies()); },
                          {});
            added.written();
        } catch (...) {
            log_(LogLevel::warning, "the statistics do not count the last tasks added");
        }
    }

    /// Errors: ConfigError if the processor of a task's queue takes another type: it would run on what it can read of
    /// the payload, and on defaults.
    void check_types(std::span<const detail::NewTask> tasks) {
        const std::lock_guard lock(mutex_);
        std::string_view last{};
        for (const detail::NewTask& task : tasks) {
            if (task.queue.data() == last.data()) continue;
            last = task.queue;
            const std::size_t index = queues_.find(task.queue);
            if (index == queues_.size() || queues_[index].type() == task.type) continue;
            throw ConfigError(
                detail::format("queue \"{}\": its processor takes {}, this task is {}: two types have one queue name",
                               {task.queue, queues_[index].type(), task.type}));
        }
    }

    void name(std::span<detail::NewTask> tasks, std::int64_t now) {
        ids_.next_many(now, tasks.size(), [&](std::size_t i, TaskId id) { tasks[i].id = std::move(id); });
    }

    /// Tasks on their way into the file, of which the dispatcher is told once they are there. A single one that is due,
    /// while a worker is idle and nothing else is due, is inserted as claimed and handed to that worker instead: no
    /// second transaction, and no thread in between. A death in between is that of any claim's owner: whoever takes its
    /// lock gives the claim back, and no attempt is spent.
    class Adding {
    public:
        Adding(Engine& engine, std::span<detail::NewTask> tasks, std::optional<std::int64_t> wait_until,
               std::int64_t now)
            : engine_(engine), tasks_(tasks), wait_until_(wait_until), now_(now) {}
        Adding(const Adding&) = delete;
        Adding& operator=(const Adding&) = delete;
        ~Adding() {
            if (unannounced_) --engine_.unannounced_;
            if (!worker_kept_) return;
            const std::lock_guard lock(engine_.mutex_);
            engine_.session_->keep_no_longer();
        }

        /// Inside the transaction; perhaps several times.
        void insert(store::sqlite::Repository& repository) {
            count(repository.statistics);
            if (keep_worker()) {
                repository.adds.insert_claimed(tasks_.front(), now_, owner_);
                return;
            }
            if (!std::exchange(unannounced_, true)) ++engine_.unannounced_;
            repository.adds.insert(tasks_, now_, wait_until_);
        }

        void committed() {
            if (counts_) {
                counts_->written();
            } else {
                engine_.add_counts_.added(tasks_, now_);
            }
            const std::lock_guard lock(engine_.mutex_);
            Session* const session = engine_.session_.get();
            if (session == nullptr) return;
            if (std::exchange(worker_kept_, false)) {
                detail::NewTask& task = tasks_.front();
                return session->hand_over(std::move(id_), task.queue, now_, std::move(task.payload));
            }
            const std::int64_t due = wait_until_ ? (std::max)(*wait_until_, now_) : now_;
            std::string_view last{};
            for (const detail::NewTask& task : tasks_) {
                if (task.queue.data() == last.data()) continue;
                last = task.queue;
                session->dispatcher().added(task.queue, due);
            }
        }

    private:
        void count(store::sqlite::Statistics& statistics) {
            const auto now = Steady::now();
            if (!counts_ && engine_.add_counts_.due(now)) counts_.emplace(engine_.add_counts_, now);
            if (!counts_) return;
            statistics.add(counts_->tallies());
            statistics.add(store::sqlite::tally(tasks_, now_));
        }

        /// The order of locks: this one, then those of the session. Nobody waits for a transaction under it.
        bool keep_worker() {
            if (tasks_.size() > 1 || wait_until_) return false;
            const std::lock_guard lock(engine_.mutex_);
            if (!engine_.session_) return false;
            if (std::exchange(worker_kept_, false)) engine_.session_->keep_no_longer();
            // What others of this client have inserted, and not told yet, may be due before this one.
            if (engine_.unannounced_ > 0) return false;
            owner_ = engine_.session_->owner();
            id_ = tasks_.front().id;  // now: once it is in the file, nothing may fail
            return worker_kept_ = engine_.session_->keep_worker(tasks_.front().queue, now_);
        }

        Engine& engine_;
        const std::span<detail::NewTask> tasks_;
        const std::optional<std::int64_t> wait_until_;
        const std::int64_t now_;
        std::int64_t owner_ = 0;
        TaskId id_{};                                     ///< of the task to be handed over
        std::optional<core::AddCounts::Batch> counts_{};  ///< this transaction counts its own tasks and those before it
        bool unannounced_ = false;
        bool worker_kept_ = false;
    };

    void on_fatal(const StorageError& error) noexcept {
        {
            const std::lock_guard lock(mutex_);
            fatal_ = true;
            if (session_) session_->end_unwritten();
        }
        log_(LogLevel::failure, "the client stops itself: its file cannot be used any more",
             {{"error", error.what()}, {"code", error.extended_code()}});
        try {
            if (config_.on_fatal) config_.on_fatal(error);
        } catch (...) {
            log_(LogLevel::failure, "on_fatal threw");
        }
    }

    // constant after construction
    const platform::ForkGuard guard_{};
    const ClientConfig config_;
    const std::shared_ptr<Clock> clock_;
    const detail::SafeLogger log_;

    const std::shared_ptr<platform::ThreadList> own_threads_ = std::make_shared<platform::ThreadList>();
    OpenTransactions& open_transactions_ = OpenTransactions::instance();
    std::atomic<bool> ended_{false};
    core::IdGenerator ids_{};
    std::atomic<bool> foreign_writer_told_{false};
    std::atomic<int> unannounced_{0};  ///< calls of add() whose tasks may be in the file without the dispatcher knowing
    core::QueueRegistry queues_{};     // changed under mutex_, and only while there is no session
    core::AddCounts add_counts_{};
    store::sqlite::GroupCommit writes_;
    const std::string file_ = writes_.connection().file();
    const store::sqlite::FileIdentity identity_ = writes_.connection().identity();
    const store::sqlite::FileIdentity log_identity_ = writes_.connection().log_identity();

    platform::ThreadList opening_{};  ///< those that open the read connection
    std::mutex reader_mutex_{};
    // guarded by reader_mutex_
    std::unique_ptr<Reader> reader_{};

    std::mutex mutex_{};
    std::condition_variable changed_{};
    // guarded by mutex_
    bool changing_ = false;
    bool stop_asked_ = false;
    bool fatal_ = false;
    std::shared_ptr<Session> session_{};
    std::shared_ptr<Engine> orphan_{};  ///< this, while the session is to end it
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
