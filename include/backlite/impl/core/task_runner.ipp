// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/task_runner.hpp>.

#include <backlite/core/task_runner.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL TaskRunner::TaskRunner(const QueueRegistry& queues, std::weak_ptr<engine::Engine> engine,
                                     const Clock& clock, detail::SafeLogger log, std::span<const Middleware> around,
                                     std::size_t max_result)
    : queues_(queues),
      engine_(std::move(engine)),
      clock_(clock),
      log_(std::move(log)),
      around_(around),
      max_result_(max_result),
      random_(platform::random_seed()) {}

BACKLITE_DECL void TaskRunner::run(const detail::ClaimedTask& task, const std::shared_ptr<detail::StopSignal>& signal,
                                   AttemptObserver& observer, detail::AttemptResult& resolved) {
    const detail::QueueBase& queue = queues_[task.queue];
    if (queue.batch() != nullptr) return run_batch(task, queue, signal, observer, resolved);
    Attempt attempt = begin(task, queue.config(), resolved);
    try {
        if (!ends_unstarted(attempt)) process(attempt, queue, signal, observer);
    } catch (const std::exception&) {
        if (!resolved.written) wait_for_memory(attempt);
    }
}

BACKLITE_DECL auto TaskRunner::begin(const detail::ClaimedTask& task, const QueueConfig& config,
                                     detail::AttemptResult& resolved) const noexcept -> Attempt {
    Attempt attempt{task, config, attempt_number(task), resolved, clock_.steady_now()};
    resolved.claim = task.claim;
    resolved.large = task.large();
    resolved.key_period = config.unique.period;
    resolved.attempt = attempt.number;
    resolved.executed_at = detail::to_ms(clock_.now());
    return attempt;
}

BACKLITE_DECL detail::AttemptResult TaskRunner::expired(const detail::ClaimedTask& task, const QueueConfig& config,
                                                        detail::Ms now) {
    const store::KeepRule keep = rule_of_failed(config);
    return {.claim = task.claim,
            .resolution = detail::RowChange::fail,
            .keep_row = keep.row,
            .keep_payload = keep.payload,
            .executed_at = now,
            .expires_at = keep.until(now),
            .error = std::string{detail::expired_error},
            .kind = detail::expired_kind,
            .large = task.large()};
}

BACKLITE_DECL std::vector<store::KeepRule> TaskRunner::rules_of_failed(const QueueRegistry& queues) {
    std::vector<store::KeepRule> rules;
    for (std::size_t i = 0; i < queues.size(); ++i) rules.push_back(rule_of_failed(queues[i].config()));
    return rules;
}

BACKLITE_DECL TaskRunner::Inside::~Inside() {
    if (over) return;
    for (const Attempt& attempt : attempts) runner.measure(attempt);
    leave();
    for (Attempt& attempt : attempts) {
        runner.resolve(attempt, Outcome::retry(detail::format_or_say("its processor called pthread_exit", {})),
                       signal.reason());
    }
}

BACKLITE_DECL void TaskRunner::Inside::leave() noexcept {
    over = true;
    platform::refuse_cancellation();  // a processor may have turned it on
    observer.left();
    // Not after its end, though the wall clock was set back meanwhile.
    const detail::Ms now = detail::to_ms(runner.clock_.now());
    for (const Attempt& attempt : attempts) {
        detail::Ms& began = attempt.resolved.executed_at;
        began = (std::min)(began, now);
    }
}

BACKLITE_DECL bool TaskRunner::ends_unstarted(Attempt& attempt) {
    const detail::ClaimedTask& task = attempt.task;
    const QueueConfig& config = attempt.config;
    if (task.expires_at && *task.expires_at <= attempt.resolved.executed_at) {
        attempt.resolved = expired(task, config, attempt.resolved.executed_at);
        return true;
    }
    if (task.crashes >= config.max_crashes) {
        give_up(attempt, detail::format("the process died {} times while it ran this task (max_crashes is {})",
                                        {task.crashes, config.max_crashes}));
    } else if (task.attempts > most_attempts) {
        give_up(attempt, detail::format("the row says {} spent attempts, more than any max_attempts allows (it is {})",
                                        {task.attempts, config.max_attempts}));
    } else if (task.oversize > 0) {
        give_up(attempt,
                detail::format("its payload of {} bytes is larger than ClientConfig::max_payload", {task.oversize}));
    } else {
        return false;
    }
    return true;
}

BACKLITE_DECL void TaskRunner::process(Attempt& attempt, const detail::QueueBase& queue,
                                       const std::shared_ptr<detail::StopSignal>& signal, AttemptObserver& observer) {
    observer.entering(attempt.task);
    Inside inside{*this, {&attempt, 1}, *signal, observer};
    UserCode code{around_, queue, attempt.task.payload};
    std::optional<Outcome> outcome;
    std::optional<std::string> thrown;
    if (around_.empty()) thrown = text_of_exception([&] { code.read(); });
    if (!thrown && signal->reason() == StopReason::cancelled) thrown = "cancelled before it began";
    if (!thrown) {
        observer.processing();
        attempt.started = clock_.steady_now();
        thrown = text_of_exception([&] {
            std::optional<Steady::time_point> deadline;
            if (attempt.config.timeout > Duration::zero()) {
                deadline = saturating_add(attempt.started, attempt.config.timeout);
                observer.timing(*deadline, signal);
            }
            Run run(*this, attempt, observer, signal);
            Context context({engine_, attempt.task.id, attempt.config.name, attempt.number, attempt.config.max_attempts,
                             *signal, deadline, attempt.task.priority, attempt.task.claim, &run,
                             attempt.task.partition});
            outcome.emplace(call(code, context));
        });
        measure(attempt);
    }
    code.job.reset();
    inside.leave();
    if (code.no_memory && !attempt.resolved.written) return wait_for_memory(attempt);
    if (code.unreadable && !attempt.resolved.written) {
        return fail_unread(attempt, detail::format("its payload cannot be read: {}", {*code.unreadable}));
    }
    if (outcome && outcome->result().size() > max_result_) {
        thrown = detail::format_or_say("its result of {} bytes is larger than ClientConfig::max_payload ({})",
                                       {outcome->result().size(), max_result_});
    }
    if (thrown) outcome.emplace(Outcome::retry(std::move(*thrown)));
    resolve(attempt, std::move(*outcome), signal->reason());
}

BACKLITE_DECL void TaskRunner::UserCode::read() {
    no_memory = false;
    unreadable.reset();
    try {
        job = queue.decode(payload);
    } catch (const std::bad_alloc&) {
        no_memory = true;
        throw;
    } catch (platform::ForcedUnwind&) {
        throw;
    } catch (...) {
        unreadable = text_of_exception([] { throw; });
        throw;
    }
}

BACKLITE_DECL void TaskRunner::run_batch(const detail::ClaimedTask& task, const detail::QueueBase& queue,
                                         const std::shared_ptr<detail::StopSignal>& signal, AttemptObserver& observer,
                                         detail::AttemptResult& resolved) {
    // Apart from the first one's, which may become another as a whole.
    struct Others {
        detail::AttemptResult& first;
        std::vector<detail::AttemptResult> all = std::move(first.others);
        ~Others() { first.others = std::move(all); }
    };
    Others others{resolved};
    const QueueConfig& config = queue.config();
    const auto each = [&](auto&& call) {
        call(task, resolved);
        for (std::size_t i = 0; i < others.all.size(); ++i) call(task.others[i], others.all[i]);
    };
    std::vector<Attempt> attempts;
    std::size_t settled = 0;
    try {
        attempts.reserve(others.all.size() + 1);
        each([&](const detail::ClaimedTask& one, detail::AttemptResult& its) {
            Attempt attempt = begin(one, config, its);
            if (!ends_unstarted(attempt)) attempts.push_back(attempt);
            ++settled;
        });
        if (!attempts.empty()) process_batch(attempts, queue, signal, observer);
    } catch (const std::exception&) {
        const auto put_off = [this](Attempt attempt) {
            if (!attempt.resolved.written) wait_for_memory(attempt);
        };
        for (const Attempt& attempt : attempts) put_off(attempt);
        std::size_t number = 0;
        each([&](const detail::ClaimedTask& one, detail::AttemptResult& its) {
            if (number++ >= settled) put_off(begin(one, config, its));
        });
    }
}

BACKLITE_DECL void TaskRunner::process_batch(std::span<Attempt> attempts, const detail::QueueBase& queue,
                                             const std::shared_ptr<detail::StopSignal>& signal,
                                             AttemptObserver& observer) {
    const QueueConfig& config = queue.config();
    std::unique_ptr<detail::QueueBase::BatchJob> made = queue.begin_batch(attempts.size());
    std::vector<Payload> payloads(attempts.size());
    std::vector<BatchContext::Member> members;
    members.reserve(attempts.size());
    const Attempt* first = nullptr;  // of those that can be read
    std::optional<BatchContext> batch;
    observer.entering(attempts.front().task);
    for (const Attempt& attempt : attempts.subspan(1)) observer.joining(attempt.task);
    Inside inside{*this, attempts, *signal, observer};
    std::unique_ptr<detail::QueueBase::BatchJob> job = std::move(made);  // its tasks go before the attempts are left
    for (std::size_t i = 0; i < attempts.size(); ++i) {
        const detail::ClaimedTask& task = attempts[i].task;
        payloads[i].unreadable = text_of_exception([&] {
            try {
                job->read(task.payload);
            } catch (const std::bad_alloc&) {
                payloads[i].no_memory = true;
                throw;
            }
        });
        if (payloads[i].unreadable) continue;
        if (first == nullptr) first = &attempts[i];
        members.push_back({&task.id, attempts[i].number, task.priority, task.partition});
    }
    std::vector<Outcome> outcomes;
    std::optional<Outcome> outcome;
    std::optional<std::string> thrown;
    if (first != nullptr && signal->reason() == StopReason::cancelled) {
        thrown = "cancelled before it began";
    } else if (first != nullptr) {
        observer.processing();
        const auto started = clock_.steady_now();
        for (Attempt& attempt : attempts) attempt.started = started;
        thrown = text_of_exception([&] {
            std::optional<Steady::time_point> deadline;
            if (config.timeout > Duration::zero()) {
                deadline = saturating_add(started, config.timeout);
                observer.timing(*deadline, signal);
            }
            Run run(*this, attempts[static_cast<std::size_t>(first - attempts.data())], observer, signal);
            Context context({engine_, first->task.id, config.name, first->number, config.max_attempts, *signal,
                             deadline, first->task.priority, first->task.claim, &run, first->task.partition});
            batch.emplace(BatchContext::Attempt{engine_, config.name, config.max_attempts, *signal, deadline, members});
            BatchCode code{around_, *job, *batch};
            outcome.emplace(call(code, context));
            outcomes = std::move(code.outcomes);
        });
        for (const Attempt& attempt : attempts) measure(attempt);
    }
    job.reset();
    inside.leave();
    auto own = outcomes.begin();
    for (std::size_t i = 0; i < attempts.size(); ++i) {
        Attempt& attempt = attempts[i];
        if (payloads[i].no_memory) {
            wait_for_memory(attempt);
        } else if (payloads[i].unreadable) {
            try {
                fail_unread(attempt, detail::format("its payload cannot be read: {}", {*payloads[i].unreadable}));
            } catch (const std::bad_alloc&) {
                wait_for_memory(attempt);
            }
        } else {
            std::optional<Outcome> its;
            if (own != outcomes.end()) its.emplace(std::move(*own++));
            resolve_member(attempt, outcome ? &*outcome : nullptr, std::move(its), thrown, signal->reason());
        }
    }
}

BACKLITE_DECL void TaskRunner::resolve_member(Attempt& attempt, const Outcome* outcome, std::optional<Outcome> own,
                                              const std::optional<std::string>& thrown, StopReason stopped) noexcept {
    const auto retry = [](std::string_view reason) { return Outcome::retry(detail::format_or_say("{}", {reason})); };
    if (thrown) return resolve(attempt, retry(*thrown), stopped);
    if (outcome->kind() != Outcome::Kind::success) {
        try {
            return resolve(attempt, Outcome{*outcome}, stopped);
        } catch (const std::bad_alloc&) {
            return resolve(attempt, retry("(out of memory)"), stopped);
        }
    }
    if (!own) own.emplace(Outcome::success());
    if (own->result().size() > max_result_) {
        own.emplace(
            Outcome::retry(detail::format_or_say("its result of {} bytes is larger than ClientConfig::max_payload ({})",
                                                 {own->result().size(), max_result_})));
    }
    resolve(attempt, std::move(*own), stopped);
}

BACKLITE_DECL void TaskRunner::wait_for_memory(Attempt& attempt) noexcept {
    constexpr Duration wait = std::chrono::seconds{1};
    attempt.resolved = detail::AttemptResult{.claim = attempt.task.claim,
                                             .resolution = detail::RowChange::release,
                                             .executed_at = attempt.resolved.executed_at,
                                             .wait_until = detail::to_ms(clock_.now()) + wait,
                                             .wait = wait,
                                             .expires_at = attempt.task.expires_at,
                                             .large = attempt.task.large()};
    log_(LogLevel::warning, "no memory to begin a task: it is tried again",
         {{"id", attempt.task.id.str()}, {"queue", attempt.config.name}, {"wait_ms", wait.count()}});
}

BACKLITE_DECL detail::AttemptResult TaskRunner::Run::success(std::string result) const {
    detail::AttemptResult success = attempt.resolved;
    success.id = attempt.task.id;
    success.duration = std::chrono::duration_cast<detail::Us>(runner.clock_.steady_now() - attempt.started);
    success.executed_at = (std::min)(success.executed_at, detail::to_ms(runner.clock_.now()));
    runner.set_success(attempt.config, std::move(result), success);
    return success;
}

BACKLITE_DECL void TaskRunner::Run::arm(Duration timeout) {
    constexpr auto never = (Steady::time_point::max)();
    observer.timing(timeout == Duration::zero() ? never : saturating_add(runner.clock_.steady_now(), timeout), signal);
}

BACKLITE_DECL void TaskRunner::Run::ended(detail::AttemptResult&& success) noexcept {
    attempt.resolved = std::move(success);
    attempt.resolved.written = true;
    runner.log_success(attempt);
}

BACKLITE_DECL void TaskRunner::note_rest(const Attempt& attempt, const Outcome& outcome) const noexcept {
    if (!log_ || outcome.kind() == Outcome::Kind::success) return;
    log_(LogLevel::warning, "a task that had completed did not return a success: it counts as one",
         {{"id", attempt.task.id.str()}, {"queue", attempt.config.name}, {"error", cut(outcome.reason())}});
}

BACKLITE_DECL void TaskRunner::resolve(Attempt& attempt, Outcome outcome, StopReason stopped) noexcept {
    if (attempt.resolved.written) return note_rest(attempt, outcome);
    switch (outcome.kind()) {
        case Outcome::Kind::success: return succeed(attempt, std::move(outcome).take_result());
        case Outcome::Kind::snooze: return snooze(attempt, outcome);
        case Outcome::Kind::rate_limited: attempt.resolved.closes = outcome.wait(); return snooze(attempt, outcome);
        case Outcome::Kind::discard: return end_failed(attempt, outcome.reason());
        case Outcome::Kind::retry:
        case Outcome::Kind::retry_in: break;
    }
    // That of a cancelled task, as every other outcome but success, ends it in its transaction.
    if (stopped == StopReason::stopping || stopped == StopReason::cancelled) {
        return give_back(attempt, stopped, outcome.reason());
    }
    if (is_last(attempt)) return end_failed(attempt, with_bound(attempt, outcome.reason()));
    if (outcome.kind() == Outcome::Kind::retry_in) {
        put_off(attempt.resolved, outcome.wait(), outcome.until());
    } else {
        put_off(attempt.resolved, backoff(attempt));
    }
    retry(attempt, outcome.reason());
}

BACKLITE_DECL Duration TaskRunner::put_off(detail::AttemptResult& resolved, Duration wait,
                                           std::optional<TimePoint> until) const noexcept {
    const TimePoint now = clock_.now();
    if (until) {
        resolved.wait_until = (std::max)(detail::to_due_ms(*until), detail::to_ms(now));
        return resolved.wait_until - detail::to_ms(now);
    }
    resolved.wait_until = detail::due_after(now, wait);
    resolved.wait = wait;
    return wait;
}

BACKLITE_DECL void TaskRunner::fail_unread(Attempt& attempt, const std::string& reason) {
    if (!is_last(attempt)) {
        put_off(attempt.resolved, backoff(attempt));
        return retry(attempt, reason);
    }
    give_up(attempt, with_bound(attempt, reason));
    attempt.resolved.spends_attempt = true;
}

BACKLITE_DECL std::string TaskRunner::with_bound(const Attempt& attempt, const std::string& reason) noexcept {
    if (attempt.number <= attempt.config.max_attempts) return detail::format_or_say("{}", {reason});
    return detail::format_or_say("no attempt is left after {} (max_attempts is {}): {}",
                                 {attempt.number, attempt.config.max_attempts, reason});
}

BACKLITE_DECL void TaskRunner::succeed(Attempt& attempt, std::string result) noexcept {
    set_success(attempt.config, std::move(result), attempt.resolved);
    log_success(attempt);
}

BACKLITE_DECL void TaskRunner::set_success(const QueueConfig& config, std::string result,
                                           detail::AttemptResult& resolved) const noexcept {
    resolved.resolution = detail::RowChange::complete;
    resolved.spends_attempt = true;
    resolved.key_period = config.unique.period;
    const auto& retention = config.retention;
    if (retention && !retention->only_failed) {
        resolved.keep_row = true;
        resolved.keep_payload = retention->data && !retention->data->only_failed;
        resolved.expires_at = expiry(retention->duration);
    }
    resolved.result = std::move(result);  // also of a task that is not kept: a flow may wait for it
}

BACKLITE_DECL void TaskRunner::log_success(const Attempt& attempt) const noexcept {
    if (!log_) return;
    log_(LogLevel::info, "task processed",
         {{"id", attempt.task.id.str()},
          {"queue", attempt.config.name},
          {"duration", duration_text(attempt.resolved)},
          {"attempt", attempt.number}});
}

BACKLITE_DECL void TaskRunner::end_failed(Attempt& attempt, std::string_view reason) noexcept {
    detail::AttemptResult& resolved = attempt.resolved;
    resolved.resolution = detail::RowChange::fail;
    resolved.spends_attempt = true;
    resolved.error = detail::format_or_say("{}", {cut(reason)});
    if (const auto& retention = attempt.config.retention) {
        resolved.keep_row = true;
        resolved.keep_payload = retention->data.has_value();
        resolved.expires_at = expiry(retention->duration);
    }
    log_failure(attempt, 0, reason);
}

BACKLITE_DECL void TaskRunner::retry(Attempt& attempt, std::string_view reason) noexcept {
    detail::AttemptResult& resolved = attempt.resolved;
    resolved.resolution = detail::RowChange::retry;
    resolved.spends_attempt = true;
    resolved.error = detail::format_or_say("{}", {cut(reason)});
    log_failure(attempt, attempt.config.max_attempts - attempt.number, reason);
}

BACKLITE_DECL void TaskRunner::snooze(Attempt& attempt, const Outcome& outcome) noexcept {
    attempt.resolved.resolution = detail::RowChange::snooze;
    const Duration wait = put_off(attempt.resolved, outcome.wait(), outcome.until());
    try {
        if (!outcome.reason().empty()) attempt.resolved.waits_for = detail::signal_values(outcome.reason());
    } catch (const std::bad_alloc&) {
        put_off(attempt.resolved, std::chrono::seconds{1});  // it looks itself
    }
    if (!log_) return;
    log_(LogLevel::info, "task snoozed",
         {{"id", attempt.task.id.str()},
          {"queue", attempt.config.name},
          {"duration", duration_text(attempt.resolved)},
          {"wait_ms", wait.count()}});
}

BACKLITE_DECL void TaskRunner::give_back(Attempt& attempt, StopReason stopped, std::string_view reason) noexcept {
    attempt.resolved.resolution = detail::RowChange::release;
    if (!log_) return;
    log_(LogLevel::info, "task given back",
         {{"id", attempt.task.id.str()},
          {"queue", attempt.config.name},
          {"duration", duration_text(attempt.resolved)},
          {"reason", to_string(stopped)},
          {"error", cut(reason)}});
}

BACKLITE_DECL void TaskRunner::give_up(Attempt& attempt, std::string_view reason) noexcept {
    detail::AttemptResult& resolved = attempt.resolved;
    resolved.resolution = detail::RowChange::fail;
    resolved.error = detail::format_or_say("{}", {cut(reason)});
    resolved.keep_row = true;
    resolved.keep_payload = true;
    const auto& retention = attempt.config.retention;
    resolved.expires_at = expiry(retention ? retention->duration : default_retention);
    if (!log_) return;
    log_(LogLevel::failure, "task given up",
         {{"id", attempt.task.id.str()}, {"queue", attempt.config.name}, {"error", reason}});
}

BACKLITE_DECL Duration TaskRunner::backoff(const Attempt& attempt) noexcept {
    Duration wait = std::chrono::seconds{1};
    const auto broken = text_of_exception([&] { wait = attempt.config.backoff.delay(attempt.number, random()); });
    if (!broken && wait >= Duration::zero()) return wait;
    log_(LogLevel::failure, "the queue's backoff failed: waiting one second",
         {{"id", attempt.task.id.str()},
          {"queue", attempt.config.name},
          {"error", broken ? *broken : detail::format_or_say("a negative wait of {} ms", {wait.count()})}});
    return std::chrono::seconds{1};
}

BACKLITE_DECL void TaskRunner::log_failure(const Attempt& attempt, int remaining,
                                           std::string_view reason) const noexcept {
    if (!log_) return;
    log_(LogLevel::failure, "task failed",
         {{"id", attempt.task.id.str()},
          {"queue", attempt.config.name},
          {"duration", duration_text(attempt.resolved)},
          {"attempt", attempt.number},
          {"remaining", remaining},
          {"error", cut(reason)}});
}

BACKLITE_DECL std::string_view TaskRunner::cut(std::string_view text) noexcept {
    if (text.size() <= max_error) return text;
    // A character has at most three bytes after its first: more of them are no UTF-8, and stay.
    for (std::size_t end = max_error; end + 3 >= max_error; --end) {
        if ((static_cast<unsigned char>(text[end]) & 0xc0U) != 0x80U) return text.substr(0, end);
    }
    return text.substr(0, max_error);
}

BACKLITE_DECL std::string TaskRunner::duration_text(const detail::AttemptResult& resolved) {
    const double us = static_cast<double>(resolved.duration.count());
    if (us < 1'000) return detail::format("{}us", {resolved.duration.count()});
    if (us < 1'000'000) return in_units("{:.3g}ms", us / 1'000);
    return in_units("{:.3f}s", us / 1'000'000);
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
