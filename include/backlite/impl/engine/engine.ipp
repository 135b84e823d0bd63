// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/engine.hpp>.

#include <backlite/engine/engine.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL Engine::Engine(ClientConfig config, store::OpenStore open)
    : config_(checked_config(std::move(config))),
      clock_(config_.clock ? config_.clock : std::make_shared<Clock>()),
      log_(config_.logger),
      events_(config_.observers.empty() ? nullptr
                                        : std::make_unique<EventRelay>(own_threads_, config_.observers, clock_, log_)),
      store_(open(config_, *clock_, log_, hooks())),
      finishes_(std::make_shared<FinishWatch>(
          own_threads_,
          [this](const TaskId& id) {
              store::FoundTask found = store_->find(id, 0);
              return FinishedTask{id, found.status, std::move(found.error)};
          },
          log_)) {}

BACKLITE_DECL store::StoreHooks Engine::hooks() {
    store::StoreHooks hooks{[this]() noexcept {
                                room_.committed();
                                refresh();
                                finishes_->committed();
                            },
                            [this](const StorageError& error) noexcept { on_fatal(error); }};
    hooks.keep = [this](std::string_view queue) { return rule(queue); };
    hooks.room = [this]() noexcept { room_.committed(); };
    if (events_) hooks.rescued = [this](const store::Rescued& rescued) noexcept { events_->tell(rescued); };
    return hooks;
}

BACKLITE_DECL void Engine::install() {
    check_fork("Client::install");
    store_->install();
}

BACKLITE_DECL void Engine::register_queue(std::unique_ptr<detail::QueueBase> queue) {
    check_fork("Client::register_queue");
    detail::UniqueLock lock(mutex_);
    (void)clear_ended(lock);
    if (life_.state() != Lifecycle::stopped) {
        throw UsageError(detail::format("queue \"{}\": queues are registered before start, or between stop and start",
                                        {queue->config().name}));
    }
    queues_.add(std::move(queue));
}

BACKLITE_DECL void Engine::start(std::stop_token hard_stop) {
    check_fork("Client::start");
    if (!begin_change()) return;  // started already
    const ChangeScope change(*this);
    const platform::ThreadList::Scope own(*own_threads_);
    store_->check_tables({config_.busy_timeout, {}});
    auto session = std::make_shared<Session>(
        SessionParts{own_threads_, weak_from_this(), [this]() noexcept { return end_orphan(); }, config_, *clock_, log_,
                     queues_, *store_, add_counts_, life_, life_.run(), events_.get(), *finishes_},
        std::move(hard_stop));
    const detail::LockGuard lock(mutex_);
    session_ = std::move(session);
    // What came while the session was not yet to be found:
    session_->dispatcher().refresh();
    const Lifecycle state = life_.apply(LifeEvent::installed);
    if (state == Lifecycle::stopping) session_->request_stop();
    if (state == Lifecycle::lost) session_->end_unwritten();
    if (state == Lifecycle::orphaned) session_->orphan();
}

BACKLITE_DECL bool Engine::stop(Duration patience) {
    check_call("Client::stop");
    if (patience < Duration::zero()) {
        throw ConfigError(detail::format("Client::stop: the time is negative: {} ms", {patience.count()}));
    }
    if (on_own_thread()) return request_stop();
    std::shared_ptr<Session> session = session_to_stop();
    if (!session) return true;
    const platform::ThreadList::Scope own(*own_threads_);  // a logger or hook that calls stop() here must not wait
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

BACKLITE_DECL void Engine::shut_down() noexcept {
    if (on_own_thread() && leave_to_session()) return;
    if (std::shared_ptr<Session> session = session_to_stop()) end_session(session);
    end();
}

BACKLITE_DECL void Engine::add(std::span<detail::NewTask> tasks, std::optional<detail::Ms> wait_until, detail::Ms now,
                               std::stop_token stop) {
    check_types(tasks);
    name(tasks, now);
    if (!RoomWatch::may_wait(tasks)) return try_add(tasks, wait_until, now, std::move(stop));
    std::function<bool()> gives_up;  // nothing else would end a task that waits for room while its client stops
    if (on_own_thread()) gives_up = [this]() noexcept { return life_.state() != Lifecycle::running; };
    RoomWatch::Caller caller(room_, *store_, stop, config_.watch_interval, std::move(gives_up));
    caller.until_room(tasks, [&] {
        check_call("AddOp::save");
        try_add(tasks, wait_until, now, stop);
    });
}

BACKLITE_DECL void Engine::try_add(std::span<detail::NewTask> tasks, std::optional<detail::Ms> wait_until,
                                   detail::Ms now, std::stop_token stop) {
    PendingAdds events(events_.get());
    events.take(tasks, wait_until, now);
    Adding adding(*this, tasks, wait_until, now);
    events.commit_begins();
    DroppedTasks dropped(events_.get());
    store::AddPlan plan = adding.plan();
    plan.dropped = dropped.list();
    std::vector<store::EndedChild> cancelled;
    plan.cancelled = &cancelled;
    store_->add(plan, {config_.busy_timeout, std::move(stop)});
    events.committed(tasks);
    adding.committed();
    if (!cancelled.empty()) FinishWatch::Commit(*finishes_).cancelled(cancelled);
    const auto may_drop = [](const detail::NewTask& task) { return task.bounded != nullptr; };
    if (finishes_->awaited() && std::any_of(tasks.begin(), tasks.end(), may_drop)) finishes_->committed();
    if (events_) events_->tell(cancelled);
}

BACKLITE_DECL void Engine::add_within(SQLite::Database& database, std::span<detail::NewTask> tasks,
                                      std::optional<detail::Ms> wait_until, detail::Ms now) {
    check_types(tasks);
    name(tasks, now);
    store_->add_within({&database}, {.tasks = tasks, .now = now, .wait_until = wait_until});
    PendingAdds::take(events_.get(), database, tasks, wait_until, now);
}

BACKLITE_DECL TaskStatus Engine::status(const TaskId& id) {
    check_call("Client::status");
    return store_->status(id);
}

BACKLITE_DECL store::FoundTask Engine::find(const TaskId& id) {
    check_call("Client::result");
    return store_->find(id, config_.max_payload);
}

BACKLITE_DECL std::optional<TaskStatus> Engine::wait(const TaskId& id, Duration patience, std::stop_token stop) {
    check_call("Client::wait");
    if (patience < Duration::zero()) {
        throw ConfigError(detail::format("Client::wait: the time is negative: {} ms", {patience.count()}));
    }
    return finishes_->wait(id, patience, std::move(stop), [this, &id] {
        check_call("Client::wait");  // the client may have ended meanwhile
        store_->check_thread("Client::wait");
        return store_->status(id);
    });
}

BACKLITE_DECL void Engine::on_finished(const TaskId& id, FinishWatch::Callback callback) {
    check_call("Client::on_finished");
    if (!callback) throw ConfigError("Client::on_finished: the callback is empty");
    if (!has_session(life_.state())) throw UsageError("Client::on_finished: the client is not started");
    finishes_->on_finished(id, std::move(callback));
}

BACKLITE_DECL TaskCounts Engine::counts() {
    check_call("Client::counts");
    return store_->counts(detail::to_ms(clock_->now()));
}

BACKLITE_DECL CancelResult Engine::cancel(const TaskId& id) {
    check_call("Client::cancel");
    std::string its_queue;
    std::vector<store::EndedChild> children;
    bool kept = false;
    FinishWatch::Commit commit(*finishes_);
    const CancelResult result = store_->cancel({.id = id,
                                                .now = detail::to_ms(clock_->now()),
                                                .keep =
                                                    [&](std::string_view queue) {
                                                        its_queue = queue;
                                                        const store::KeepRule keep = rule(queue);
                                                        kept = keep.row;
                                                        return keep;
                                                    },
                                                .cancelled = &children},
                                               {config_.busy_timeout, {}});
    if (result == CancelResult::requested) refresh();
    if (result == CancelResult::cancelled) {
        commit.ended({&id, TaskStatus::cancelled, detail::cancelled_error, kept});
        commit.cancelled(children);
    }
    if (result == CancelResult::cancelled && events_) {
        events_->tell(EventKind::cancelled, [&](Event& event) {
            event.queue = its_queue;
            event.task_id = id;
        });
    }
    if (events_) events_->tell(children);
    return result;
}

BACKLITE_DECL store::ChangeResult Engine::change(const char* call, store::ChangePlan plan) {
    check_call(call);
    plan.now = detail::to_ms(clock_->now());
    plan.keep = [this](std::string_view queue) { return rule(queue); };
    FinishWatch::Commit commit(*finishes_);
    store::ChangeResult result = store_->change(plan, {config_.busy_timeout, {}});
    commit.cancelled(result.cancelled);
    if (result.changed > 0) {
        refresh();
        finishes_->committed();  // some are gone
    }
    if (events_) events_->tell(result.cancelled);
    return result;
}

BACKLITE_DECL store::KeepRule Engine::rule(std::string_view queue) {
    const detail::LockGuard lock(mutex_);
    const std::size_t index = queues_.find(queue);
    return index == queues_.size() ? store::KeepRule{true, true, core::TaskRunner::default_retention}
                                   : core::TaskRunner::rule_of_failed(queues_[index].config());
}

BACKLITE_DECL void Engine::set_paused(std::string_view queue, bool paused) {
    const char* const call = paused ? "Client::pause" : "Client::resume";
    check_call(call);
    if (queue.empty() || queue.find('\0') != std::string_view::npos) {
        throw ConfigError(detail::format("{}: no queue has the name \"{}\"", {call, queue}));
    }
    store_->set_paused(queue, paused ? std::optional{detail::to_ms(clock_->now())} : std::nullopt,
                       {config_.busy_timeout, {}});
    if (!paused) return refresh();
    if (on_own_thread()) {
        // Under the lock instead of on a copy: the last holder of a session joins its threads, of which this is one.
        const detail::LockGuard lock(mutex_);
        if (session_) session_->pause(queue);
    } else if (const std::shared_ptr<Session> session = session_to_stop()) {
        session->pause(queue);
        session->await_entered(queue);
    }
}

BACKLITE_DECL void Engine::set_limits(const char* call, std::string_view queue, const std::optional<Limits>& limits) {
    check_call(call);
    if (queue.empty() || queue.find('\0') != std::string_view::npos) {
        throw ConfigError(detail::format("{}: no queue has the name \"{}\"", {call, queue}));
    }
    if (limits) limits->validate(std::string{queue});
    const auto tell = [&](bool stored) {
        const detail::LockGuard lock(mutex_);
        if (session_) session_->limit(queue, stored);
    };
    struct Stored {
        const decltype(tell)& told;
        ~Stored() { told(true); }
    };
    tell(false);
    const Stored stored{tell};
    store_->set_limits(queue, limits, {config_.busy_timeout, {}});
}

BACKLITE_DECL std::string Engine::secret(const char* call) {
    check_call(call);
    std::string fresh;
    for (int i = 0; i < 4; ++i) fresh += detail::format("{}.", {platform::random_seed()});
    return store_->secret(fresh, {config_.busy_timeout, {}});
}

BACKLITE_DECL bool Engine::wait_idle(Duration patience) {
    check_call("Client::wait_idle");
    if (patience < Duration::zero()) {
        throw ConfigError(detail::format("Client::wait_idle: the time is negative: {} ms", {patience.count()}));
    }
    if (on_own_thread()) throw UsageError("Client::wait_idle: called inside a task of this client, which runs");
    const Registered registered(*this);
    const Steady::time_point until = saturating_add(Steady::now(), patience);
    for (Duration pause{1};;) {
        if (store_->idle(registered.heads, detail::to_ms(clock_->now()))) return true;
        const Steady::time_point now = Steady::now();
        if (now >= until) return false;
        std::this_thread::sleep_until((std::min)(until, now + pause));
        pause = (std::min)(2 * pause, Duration{20});
        check_call("Client::wait_idle");  // the client may have ended meanwhile
    }
}

BACKLITE_DECL Engine::Registered::Registered(Engine& engine) {
    const detail::LockGuard lock(engine.mutex_);
    heads = engine.queues_.heads();
    names.reserve(heads.size());
    for (store::QueueHead& head : heads) head.name = names.emplace_back(head.name);
}

BACKLITE_DECL Engine::ChangeScope::~ChangeScope() {
    std::shared_ptr<Engine> self;  // goes after the lock; the caller has another
    {
        const detail::LockGuard lock(engine_.mutex_);
        engine_.life_.apply(LifeEvent::failed, run_);  // nothing, if the session was installed
        engine_.changed_.notify_all();
        if (engine_.life_.state() == Lifecycle::ended) self = std::move(engine_.self_);
    }
    if (self) self->end();
}

BACKLITE_DECL bool Engine::begin_change() {
    detail::UniqueLock lock(mutex_);
    for (bool patient = !on_own_thread();;) {
        const Lifecycle state = life_.state();
        if (is_starting(state)) {
            if (on_own_thread()) return false;
            changed_.wait_for(lock.native(), detail::longest_wait());
            continue;
        }
        if (state == Lifecycle::ended) throw UsageError("Client::start: the client was destroyed and has ended");
        if (state == Lifecycle::stopped) {
            life_.apply(LifeEvent::start);
            return true;
        }
        if (state == Lifecycle::running) return false;
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
        throw UsageError(detail::format(
            "Client::start: the client is still stopping; {}{}",
            {running.empty() ? "no task runs, but outcomes are not yet written" : "running tasks: ", running}));
    }
}

BACKLITE_DECL bool Engine::clear_ended(detail::UniqueLock& lock) {
    if (!session_ || on_own_thread() || !session_->ending().wait({})) return false;
    std::shared_ptr<Session> ended = session_;
    lock.unlock(mutex_);
    take_down(ended);
    ended.reset();  // joins its threads
    lock.lock(mutex_);
    return true;
}

BACKLITE_DECL std::string Engine::running_locked() const {
    std::string text;
    for (const core::RunningTask& task : session_->running()) {
        text += detail::format("{}{} of queue \"{}\"",
                               {text.empty() ? "" : ", ", task.id.str(), queues_[task.queue].config().name});
    }
    return text;
}

BACKLITE_DECL std::shared_ptr<Session> Engine::session_to_stop() {
    detail::UniqueLock lock(mutex_);
    while (is_starting(life_.state())) changed_.wait_for(lock.native(), detail::longest_wait());
    return session_;
}

BACKLITE_DECL bool Engine::request_stop() {
    // Under the lock instead of on a copy: the last holder of a session joins its threads, of which this is one.
    const detail::LockGuard lock(mutex_);
    if (session_) session_->request_stop();
    const Lifecycle state = life_.apply(LifeEvent::stop);  // also for a session that is not yet to be found
    return state == Lifecycle::stopped || state == Lifecycle::ended;
}

BACKLITE_DECL void Engine::take_down(std::shared_ptr<Session>& session) {
    std::shared_ptr<Engine> self;
    {
        const detail::LockGuard lock(mutex_);
        if (session_ != session) return;
        session_.reset();  // the caller's own handle goes when the caller is done with it, outside of the lock
        life_.apply(LifeEvent::over);
        self = std::move(self_);
    }
    if (self) end();
}

BACKLITE_DECL void Engine::end_session(std::shared_ptr<Session>& session) noexcept {
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

BACKLITE_DECL bool Engine::leave_to_session() noexcept {
    const detail::LockGuard lock(mutex_);
    const Lifecycle state = life_.apply(LifeEvent::orphan);
    if (state != Lifecycle::orphaned && state != Lifecycle::starting_orphaned) return false;
    self_ = shared_from_this();
    if (session_) session_->orphan();
    return true;
}

BACKLITE_DECL bool Engine::end_orphan() noexcept {
    std::shared_ptr<Engine> self;  // goes last
    std::shared_ptr<Session> session;
    {
        const detail::LockGuard lock(mutex_);
        if (!session_) return false;
        session = session_;
        self = std::move(self_);
    }
    session->let_watch_go();
    end_session(session);
    session.reset();
    end();
    return true;
}

BACKLITE_DECL void Engine::end() noexcept {
    count_adds();
    if (events_) events_->close();
    finishes_->close();
    core::QueueRegistry queues;
    const detail::LockGuard lock(mutex_);
    (std::swap)(queues, queues_);
    life_.apply(LifeEvent::end);
}

BACKLITE_DECL void Engine::log_running(const Session& session) const noexcept {
    try {
        for (const core::RunningTask& task : session.running()) {
            log_(LogLevel::warning, "waiting for a task to end before the client can be destroyed",
                 {{"id", task.id.str()}, {"queue", queues_[task.queue].config().name}});
        }
    } catch (const std::bad_alloc&) {  // not told this time
    }
}

BACKLITE_DECL void Engine::count_adds() noexcept {
    try {
        core::AddCounts::Batch added(add_counts_, Steady::now());
        if (added.tallies().empty()) return;
        store_->count(added.tallies(), {});
        added.written();
    } catch (...) {
        log_(LogLevel::warning, "the statistics do not count the last tasks added");
    }
}

BACKLITE_DECL void Engine::check_types(std::span<const detail::NewTask> tasks) {
    const detail::LockGuard lock(mutex_);
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

BACKLITE_DECL Engine::Adding::~Adding() {
    if (unannounced_) --engine_.unannounced_;
    bool untold = false;
    if (counts_) {
        counts_.reset();  // what it has not written waits again
        untold = engine_.add_counts_.untold();
    }
    if (!worker_kept_ && !untold) return;
    const detail::LockGuard lock(engine_.mutex_);
    if (worker_kept_) engine_.session_->keep_no_longer();
    if (untold && engine_.session_) engine_.session_->dispatcher().uncounted();
}

BACKLITE_DECL store::AddPlan Engine::Adding::plan() {
    const auto now = Steady::now();
    if (engine_.add_counts_.due(now)) counts_.emplace(engine_.add_counts_, now);
    return {.tasks = tasks_,
            .now = now_,
            .wait_until = wait_until_,
            .count = counts_ ? &counts_->tallies() : nullptr,
            .starter = [this](std::uint64_t foreign_commits) { return starter(foreign_commits); }};
}

BACKLITE_DECL std::optional<std::int64_t> Engine::Adding::starter(std::uint64_t foreign_commits) {
    if (keep_worker(foreign_commits)) return owner_;
    if (!std::exchange(unannounced_, true)) ++engine_.unannounced_;
    return std::nullopt;
}

BACKLITE_DECL void Engine::Adding::committed() {
    if (counts_) {
        counts_->written();
    } else {
        engine_.add_counts_.added(tasks_, now_);
    }
    const detail::LockGuard lock(engine_.mutex_);
    Session* const session = engine_.session_.get();
    if (session == nullptr) return;
    if (!counts_ && engine_.add_counts_.untold()) session->dispatcher().uncounted();
    if (std::exchange(worker_kept_, false)) {
        detail::NewTask& task = tasks_.front();
        return session->hand_over(std::move(id_), task.queue, task.priority, now_, std::move(task.payload));
    }
    const detail::Ms due = wait_until_ ? (std::max)(*wait_until_, now_) : now_;
    session->dispatcher().added(tasks_, due);
}

BACKLITE_DECL bool Engine::Adding::keep_worker(std::uint64_t foreign_commits) {
    if (tasks_.size() > 1 || wait_until_) return false;
    // A task with a unique key may turn out to be there already.
    if (tasks_.front().expires_at || tasks_.front().unique || tasks_.front().parents || tasks_.front().partition) {
        return false;
    }
    if (tasks_.front().labels) return false;
    if (tasks_.front().bounded != nullptr) return false;  // whether a full queue takes it is no matter of idle workers
    const detail::LockGuard lock(engine_.mutex_);
    if (!engine_.session_) return false;
    if (std::exchange(worker_kept_, false)) engine_.session_->keep_no_longer();
    // What others of this client have inserted, and not told yet, may be due before this one.
    if (engine_.unannounced_ > 0) return false;
    owner_ = engine_.session_->owner();
    id_ = tasks_.front().id;  // now: once it is in the file, nothing may fail
    return worker_kept_ = engine_.session_->keep_worker(tasks_.front().queue, now_, foreign_commits);
}

BACKLITE_DECL void Engine::on_fatal(const StorageError& error) noexcept {
    {
        const detail::LockGuard lock(mutex_);
        life_.apply(LifeEvent::fatal);
        if (session_) session_->end_unwritten();
    }
    room_.committed();
    log_(LogLevel::failure, "the client stops itself: its file cannot be used any more",
         {{"error", error.what()}, {"code", error.extended_code()}});
    if (events_) events_->tell(EventKind::client_failed, [&](Event& event) { event.error = error.what(); });
    try {
        if (config_.on_fatal) config_.on_fatal(error);
    } catch (...) {
        log_(LogLevel::failure, "on_fatal threw");
    }
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
