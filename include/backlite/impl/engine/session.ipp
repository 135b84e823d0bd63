// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/session.hpp>.

#include <limits>

#include <backlite/engine/session.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL Session::Session(const SessionParts& parts, std::stop_token hard_stop)
    : queues_(parts.queues),
      events_(parts.events),
      unsynced_(parts.config.durability == Durability::process),
      end_orphan_(parts.end_orphan),
      log_(parts.log ? std::make_shared<LogRelay>(parts.own, parts.config.logger) : nullptr),
      life_(parts.life),
      run_(parts.run),
      owner_(parts.store.join(log_, {parts.config.busy_timeout, {}})),
      watch_(parts.store.watch()),
      clock_(parts.clock),
      progress_(store::places_for(parts.config.num_workers)),
      runner_(parts.queues, parts.engine, parts.clock, parts.log, parts.config.around, parts.config.max_payload),
      timer_(parts.own, store::places_for(parts.config.num_workers), parts.clock, [this]() noexcept { heed(); }),
      dispatcher_({parts.config, parts.clock, log_, parts.queues, parts.store, *owner_, pool_, timer_, *watch_,
                   parts.add_counts, parts.events, parts.finishes, progress_}),
      observers_(make_observers(store::places_for(parts.config.num_workers))),
      pool_(
          parts.own, parts.config.num_workers, parts.clock,
          [this](std::size_t worker, const detail::ClaimedTask& task, const std::shared_ptr<detail::StopSignal>& signal,
                 detail::AttemptResult& resolved) { runner_.run(task, signal, *observers_[worker], resolved); },
          [this] { dispatcher_.progress(); }, log_, parts.queues.size(),
          parts.config.stuck.replace_worker ? store::places_for(parts.config.num_workers) : 0),
      watch_thread_(platform::start_thread(parts.own, "backlite-watch", [this]() noexcept { watch(); })),
      dispatcher_thread_(platform::start_thread(parts.own, "backlite-disp", [this]() noexcept { dispatcher_.run(); })),
      hard_stop_(std::move(hard_stop), HardStop{*this}) {}

BACKLITE_DECL bool Session::keep_worker(std::string_view queue, detail::Ms now, std::uint64_t foreign_commits) {
    const std::size_t index = queues_.find(queue);
    if (index == queues_.size() || !dispatcher_.none_due(now, foreign_commits)) return false;
    if (!store::may_be_handed_off(queues_[index].config().limits) || queues_[index].batch() != nullptr) return false;
    const store::Neighbours beside = pool_.load().neighbours();
    if (store::admission(0, queues_[index].config().max_crashes, beside) != store::Admission::yes) return false;
    if (!pool_.reserve(index)) return false;
    if (unsynced_) static_cast<void>(pool_.rouse());
    return true;
}

BACKLITE_DECL void Session::hand_over(TaskId id, std::string_view queue, int priority, detail::Ms now,
                                      std::string payload) {
    detail::ClaimedTask task;
    task.id = std::move(id);
    task.queue = queues_.find(queue);
    task.claim = 1;
    task.due = now;
    task.priority = priority;
    task.payload = std::move(payload);
    pool_.offer_reserved(std::move(task));
}

BACKLITE_DECL void Session::pause(std::string_view queue) noexcept {
    const std::size_t index = queues_.find(queue);
    if (index != queues_.size()) pool_.pause(index, dispatcher_.next_look());
    dispatcher_.refresh();
}

BACKLITE_DECL void Session::limit(std::string_view queue, bool stored) noexcept {
    const std::size_t index = queues_.find(queue);
    if (index != queues_.size()) {
        pool_.limit(index, stored ? dispatcher_.next_look() : (std::numeric_limits<std::uint64_t>::max)());
    }
    if (stored) dispatcher_.refresh();
}

BACKLITE_DECL void Session::await_entered(std::string_view queue) const noexcept {
    const std::size_t index = queues_.find(queue);
    if (index != queues_.size()) pool_.await_entered(index);
}

BACKLITE_DECL void Session::request_stop() {
    life_.apply(LifeEvent::stop, run_);
    pool_.hold();
    dispatcher_.request_stop();
}

BACKLITE_DECL void Session::request_hard_stop() {
    life_.apply(LifeEvent::hard_stop, run_);
    request_stop();
    pool_.each_running([](const detail::ClaimedTask&) { return true; },
                       [this](const auto& signal) { timer_.fire(signal, StopReason::stopping); });
}

BACKLITE_DECL void Session::end_unwritten() {
    life_.apply(LifeEvent::fatal, run_);
    pool_.hold();
    dispatcher_.abandon();
    timer_.wake();
}

BACKLITE_DECL void Session::heed() noexcept {
    if (asks_tasks(life_.state(run_)) && !tasks_asked_.exchange(true)) request_hard_stop();
}

BACKLITE_DECL void Session::WorkerObserver::progress(const detail::ClaimedTask& task, double fraction,
                                                     std::string_view message) {
    const Clock& clock = session_.clock_;
    const bool tell =
        session_.progress_.say(worker_, task, fraction, message, detail::to_ms(clock.now()), clock.steady_now());
    if (tell) session_.dispatcher_.progress();
}

BACKLITE_DECL void Session::WorkerObserver::left() noexcept {
    if (session_.guard_.forked()) end_forked_child();
    session_.owner_->left(worker_);
    session_.progress_.left(worker_);
    if (std::exchange(armed_, false)) session_.timer_.disarm(worker_);
}

BACKLITE_DECL void Session::WorkerObserver::end_forked_child() noexcept {
    constexpr std::string_view message =
        "backlite: a processor returned in a forked child; the child ends here (call exec or _exit in it)\n";
    platform::end_process(message);
}

BACKLITE_DECL auto Session::make_observers(std::size_t workers) -> std::vector<std::unique_ptr<WorkerObserver>> {
    std::vector<std::unique_ptr<WorkerObserver>> observers;
    for (std::size_t i = 0; i < workers; ++i) observers.push_back(std::make_unique<WorkerObserver>(*this, i));
    return observers;
}

BACKLITE_DECL void Session::tell_started(const detail::ClaimedTask& task) const noexcept {
    events_->tell(EventKind::started, [&](Event& event) {
        event.queue = queues_[task.queue].config().name;
        event.task_id = task.id;
        event.attempt = core::TaskRunner::attempt_number(task);
        event.wait = (std::max)(detail::to_ms(event.time) - task.due, Duration::zero());
    });
}

BACKLITE_DECL void Session::watch() noexcept {
    constexpr Duration rest{3};
    bool resting = false;
    while (!closing_) {
        const bool hinted = !resting && watch_->wait(detail::longest_wait());
        if (resting) watch_->rest(rest);
        if (life_.state(run_) == Lifecycle::orphaned) {
            const std::function<bool()> end = end_orphan_;
            if (end()) return;
        }
        if (hinted) dispatcher_.hint();
        resting = hinted;
    }
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
