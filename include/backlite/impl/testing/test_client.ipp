// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/testing/test_client.hpp>.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/client.hpp>
#include <backlite/core/clock_watch.hpp>
#include <backlite/core/id_generator.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/error.hpp>
#include <backlite/outcome.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/store.hpp>
#include <backlite/testing/own_folder.hpp>
#include <backlite/testing/stepped_session.hpp>
#include <backlite/testing/test_client.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace testing {

BACKLITE_DECL std::size_t Drained::count(Ending ending) const noexcept {
    return static_cast<std::size_t>(
        std::count_if(attempts.begin(), attempts.end(), [ending](const Attempt& one) { return one.ending == ending; }));
}

class TestClient::State {
public:
    explicit State(const TestClientConfig& config)
        : limit_(config.drain_limit), clock_(std::make_shared<ManualClock>(config.start)), client_(checked(config)) {}

    [[nodiscard]] const ClientHandle& client() const noexcept { return client_; }
    [[nodiscard]] engine::Engine& engine() const noexcept { return engine_of(client_); }
    [[nodiscard]] ManualClock& clock() noexcept { return *clock_; }

    void register_queue(std::unique_ptr<detail::QueueBase> queue);
    Drained drain(std::optional<TimePoint> until);
    Attempt perform(detail::ClaimedTask task, StopReason stop);

private:
    /// What user code did in the attempt that runs or has just ended: its outcome alone does not tell.
    struct Overheard {
        std::optional<Outcome::Kind> returned{};
        std::exception_ptr thrown{};
        std::string result{};
    };

    /// For an attempt that no file knows of.
    class Unobserved final : public core::AttemptObserver {
        void entering(const detail::ClaimedTask&) noexcept override {}
        void timing(std::chrono::steady_clock::time_point, const std::shared_ptr<detail::StopSignal>&) override {}
        void left() noexcept override {}
    };

    /// While processors may run: no drain may begin, and the queues stay.
    class Inside {
    public:
        explicit Inside(bool& inside) noexcept : inside_(inside), before_(std::exchange(inside, true)) {}
        Inside(const Inside&) = delete;
        Inside& operator=(const Inside&) = delete;
        ~Inside() { inside_ = before_; }

    private:
        bool& inside_;
        const bool before_;
    };

    void demand_outside(const char* call) const {
        if (inside_) throw UsageError(detail::format("{}: called inside a processor", {call}));
    }

    [[nodiscard]] ClientConfig checked(const TestClientConfig& config) const;
    void need_session();
    void drain_due(Drained& drained);
    /// One transaction, and the task that it claimed. Whether one ran.
    bool step(Drained& drained, std::size_t made);
    [[nodiscard]] Attempt ended(const detail::AttemptResult& resolved, std::size_t queue, std::int64_t spent);

    // constant after construction
    const std::size_t limit_;
    const OwnFolder folder_{};  // goes last
    const std::shared_ptr<ManualClock> clock_;
    const std::shared_ptr<Overheard> heard_ = std::make_shared<Overheard>();

    core::IdGenerator ids_{};  ///< of tasks that are in no file
    Client client_;
    const detail::SafeLogger tell_{client_.config().logger};
    core::ClockWatch clocks_{*clock_};
    std::optional<SteppedSession> session_{};  ///< from the first drain on, with the queues of then
    bool inside_ = false;
};

BACKLITE_DECL ClientConfig TestClient::State::checked(const TestClientConfig& config) const {
    ClientConfig client = config.client;
    if (!client.database.empty()) {
        throw ConfigError(
            detail::format("TestClient: ClientConfig::database is \"{}\", must be empty: it has a file of its own",
                           {client.database}));
    }
    if (client.clock) throw ConfigError("TestClient: ClientConfig::clock is set, must be empty: it has its own");
    if (config.drain_limit < 1) throw ConfigError("TestClient: drain_limit is 0, must be at least 1");
    client.database = folder_.file("test.db");
    client.clock = clock_;
    client.num_workers = 1;  // a task is claimed when the one before it has ended
    client.durability = Durability::process;
    client.observers.clear();  // they would be told on a thread, and of adds alone
    client.around.insert(client.around.begin(), [heard = heard_](Context&, const Next& next) {
        try {
            Outcome outcome = next();
            heard->returned = outcome.kind();
            heard->result = outcome.result();
            return outcome;
        } catch (...) {
            heard->thrown = std::current_exception();
            throw;
        }
    });
    return client;
}

BACKLITE_DECL void TestClient::State::register_queue(std::unique_ptr<detail::QueueBase> queue) {
    engine().check_call("TestClient::register_queue");
    demand_outside("TestClient::register_queue");
    if (session_) {  // its queues must stay as they are
        session_->stop();
        session_.reset();
    }
    engine().register_queue(std::move(queue));
}

BACKLITE_DECL void TestClient::State::need_session() {
    if (session_) return;
    SteppedSession& session = session_.emplace(SteppedSession::Parts{client_.config(), engine().queues(), *clock_,
                                                                     tell_, engine().store(), weak_engine_of(client_)});
    try {
        session.start();
    } catch (...) {
        session_.reset();
        throw;
    }
}

BACKLITE_DECL Drained TestClient::State::drain(std::optional<TimePoint> until) {
    engine().check_call("TestClient::drain");
    demand_outside("TestClient::drain");
    const Inside inside(inside_);
    need_session();
    Drained drained;
    drain_due(drained);
    while (until && clock_->now() < *until) {
        const Duration left = std::chrono::ceil<Duration>(*until - clock_->now());
        const std::optional<Duration> next = session_->next_work();
        clock_->advance((std::min)(left, next.value_or(left)));
        drain_due(drained);
    }
    return drained;
}

BACKLITE_DECL void TestClient::State::drain_due(Drained& drained) {
    session_->look_after_others();
    const std::size_t before = drained.size();
    for (bool added = true;;) {
        if (const Duration jump = clocks_.jump(); jump != Duration::zero()) session_->clock_was_set(jump);
        if (added) session_->refresh();  // adds do not tell this session
        added = step(drained, drained.size() - before);
        if (!added && session_->next_work() != Duration::zero()) return;
    }
}

BACKLITE_DECL bool TestClient::State::step(Drained& drained, std::size_t made) {
    session_->look();
    store::CyclePlan plan = session_->plan();
    const bool too_many = plan.claim.limit > 0 && made >= limit_;
    if (too_many) plan.claim = {};
    if (!plan.empty() || !session_->finished().empty()) session_->cycle(std::move(plan));
    if (too_many) {
        throw UsageError(
            detail::format("TestClient::drain: {} attempts were made while the clock stood still, and "
                           "more tasks are due; the last was of queue \"{}\". A task that adds itself "
                           "again needs a wait; see TestClientConfig::drain_limit",
                           {made, drained.attempts.back().queue}));
    }
    if (session_->ready().empty()) return false;
    std::vector<std::int64_t> spent{session_->ready().front().attempts};
    for (const detail::ClaimedTask& other : session_->ready().front().others) spent.push_back(other.attempts);
    *heard_ = {};
    static_cast<void>(session_->run_one(std::make_shared<detail::StopSignal>()));
    const std::vector<store::EndedAttempt>& finished = session_->finished();
    const std::size_t first = finished.size() - spent.size();
    for (std::size_t i = 0; i < spent.size(); ++i) {
        const store::EndedAttempt& one = finished[first + i];
        drained.attempts.push_back(ended(one.resolved, one.queue, spent[i]));
    }
    *heard_ = {};
    return true;
}

BACKLITE_DECL Attempt TestClient::State::perform(detail::ClaimedTask task, StopReason stop) {
    const detail::Ms now = detail::to_ms(clock_->now());
    task.id = ids_.next(now);
    task.due = now;
    task.priority = engine().queues()[task.queue].config().priority;
    const auto signal = std::make_shared<detail::StopSignal>();
    if (stop != StopReason::none) signal->fire(stop);
    core::TaskRunner runner(engine().queues(), weak_engine_of(client_), *clock_, tell_, client_.config().around,
                            client_.config().max_payload);
    Unobserved unobserved;
    detail::AttemptResult resolved;
    const Inside inside(inside_);
    *heard_ = {};
    runner.run(task, signal, unobserved, resolved);
    resolved.id = std::move(task.id);
    Attempt attempt = ended(resolved, task.queue, task.attempts);
    *heard_ = {};
    return attempt;
}

BACKLITE_DECL Attempt TestClient::State::ended(const detail::AttemptResult& resolved, std::size_t queue,
                                               std::int64_t spent) {
    using detail::RowChange;
    Overheard heard = *heard_;
    const bool batch = engine().queues()[queue].batch() != nullptr;  // its outcomes are settled behind all middleware
    constexpr std::int64_t most = (std::numeric_limits<int>::max)();
    Attempt attempt{.id = resolved.id,
                    .queue = engine().queues()[queue].config().name,
                    .number = static_cast<int>((std::min)(spent, most - 1)) + 1,
                    .error = resolved.error,
                    .exception = heard.thrown};
    const auto waits = [&] {
        attempt.wait = (std::max)(resolved.wait_until - detail::to_ms(clock_->now()), Duration::zero());
    };
    switch (resolved.resolution) {
        case RowChange::complete:
            attempt.ending = Ending::succeeded;
            attempt.result_json = batch ? resolved.result : std::move(heard.result);
            break;
        case RowChange::fail:
            if (batch && resolved.spends_attempt && attempt.number < engine().queues()[queue].config().max_attempts) {
                heard.returned = Outcome::Kind::discard;
            }
            attempt.ending = heard.returned == Outcome::Kind::discard ? Ending::discarded : Ending::failed;
            break;
        case RowChange::retry:
            attempt.ending = Ending::retried;
            waits();
            break;
        case RowChange::snooze:
            attempt.ending = Ending::snoozed;
            waits();
            break;
        case RowChange::release:
            attempt.ending = Ending::given_back;
            if (resolved.wait) waits();
            break;
    }
    return attempt;
}

BACKLITE_DECL TestClient::TestClient(const TestClientConfig& config) : state_(std::make_unique<State>(config)) {}

BACKLITE_DECL TestClient::~TestClient() {
    if (state_->engine().forked()) static_cast<void>(state_.release());  // its file and locks are the parent's
}

BACKLITE_DECL const ClientHandle& TestClient::client() const noexcept { return state_->client(); }

BACKLITE_DECL ManualClock& TestClient::clock() noexcept { return state_->clock(); }

BACKLITE_DECL Drained TestClient::drain() { return state_->drain({}); }

BACKLITE_DECL Drained TestClient::drain_until(TimePoint time) { return state_->drain(time); }

BACKLITE_DECL void TestClient::register_untyped(std::unique_ptr<detail::QueueBase> queue) {
    state_->register_queue(std::move(queue));
}

BACKLITE_DECL void TestClient::each_waiting(const std::string& queue, const Take& take) const {
    engine::Engine& engine = state_->engine();
    engine.check_call("TestClient::enqueued");
    std::vector<store::WaitingTask> tasks = engine.store().waiting(queue);
    // What is due is in the order of its claims already; the rest becomes due one after the other, whatever its rank.
    const detail::Ms now = detail::to_ms(engine.clock().now());
    const auto later = std::stable_partition(tasks.begin(), tasks.end(), [now](auto& task) { return task.due <= now; });
    std::stable_sort(later, tasks.end(), [](auto& a, auto& b) { return a.due < b.due; });
    for (const store::WaitingTask& task : tasks) {
        constexpr std::int64_t most = (std::numeric_limits<int>::max)();
        try {
            take(TaskId{task.id}, detail::from_ms(task.due), static_cast<int>((std::min)(task.attempts, most)),
                 task.payload);
        } catch (...) {
            Error unreadable(detail::format("TestClient::enqueued: task {} of queue \"{}\" cannot be read: {}",
                                            {task.id.str(), queue, detail::current_error()}));
            unreadable.set_subject(queue, task.id.str());
            throw unreadable;
        }
    }
}

BACKLITE_DECL Attempt TestClient::perform_payload(const std::string& queue, std::string_view type, std::string payload,
                                                  const PerformOptions& options) {
    const engine::Engine& engine = state_->engine();
    engine.check_call("TestClient::perform");
    const core::QueueRegistry& queues = engine.queues();
    const std::size_t index = queues.find(queue);
    if (index == queues.size()) {
        throw UsageError(detail::format("TestClient::perform: queue \"{}\" is not registered", {queue}));
    }
    if (queues[index].type() != type) {
        throw ConfigError(
            detail::format("queue \"{}\": its processor takes {}, this task is {}: two types have one queue name",
                           {queue, queues[index].type(), type}));
    }
    if (options.attempt < 1) {
        throw ConfigError(detail::format("TestClient::perform: PerformOptions::attempt is {}, must be at least 1",
                                         {options.attempt}));
    }
    if (payload.size() > engine.max_payload()) {
        throw EncodeError(detail::format("queue \"{}\": a task has {} bytes of JSON, more than "
                                         "ClientConfig::max_payload ({})",
                                         {queue, payload.size(), engine.max_payload()}),
                          queue);
    }
    return state_->perform({.queue = index, .attempts = options.attempt - 1, .payload = std::move(payload)},
                           options.stop);
}

}  // namespace testing
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
