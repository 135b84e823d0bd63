// SPDX-License-Identifier: MIT
#pragma once
// One attempt at one task: from payload to outcome, by the rules of retry and retention. No thread, no SQL.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <pthread.h>

#include <fmt/format.h>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/context.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/logger.hpp>
#include <backlite/outcome.hpp>
#include <backlite/platform/random.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/queue.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// What surrounds a processor's call. Called on the worker's thread.
class AttemptObserver {
public:
    AttemptObserver() = default;
    AttemptObserver(const AttemptObserver&) = delete;
    AttemptObserver& operator=(const AttemptObserver&) = delete;
    virtual ~AttemptObserver() = default;

    /// User code follows: reading the payload, then the processor. A death from here on is a crash.
    virtual void entering(const detail::ClaimedTask& task) noexcept = 0;
    /// The processor's time runs, until `deadline`.
    virtual void timing(std::chrono::steady_clock::time_point deadline,
                        const std::shared_ptr<detail::StopSignal>& signal) = 0;
    /// User code is over.
    virtual void left() noexcept = 0;
};

/// Threads: any; called by several workers at once.
class TaskRunner {
public:
    /// How long a task that the library gave up on is kept if its queue keeps nothing.
    static constexpr Duration default_retention = std::chrono::hours{24 * 7};
    /// Stored error texts are cut to this many bytes.
    static constexpr std::size_t max_error = 4096;

    TaskRunner(const QueueRegistry& queues, std::weak_ptr<engine::Engine> engine, const Clock& clock,
               detail::SafeLogger log)
        : queues_(queues),
          engine_(std::move(engine)),
          clock_(clock),
          log_(std::move(log)),
          random_(platform::random_seed()) {}

    /// Runs one attempt; `resolved` becomes what is to be written, all but the id. Lets nothing escape but a
    /// ForcedUnwind: then the attempt has failed. One that cannot begin for want of memory is put off; once it has
    /// begun, its outcome needs none.
    void run(const detail::ClaimedTask& task, const std::shared_ptr<detail::StopSignal>& signal,
             AttemptObserver& observer, detail::AttemptResult& resolved) {
        const detail::QueueBase& queue = queues_[task.queue];
        Attempt attempt{task, queue.config(), attempt_number(task), resolved, clock_.steady_now()};
        resolved.claim = task.claim;
        resolved.executed_at = to_ms(clock_.now());
        try {
            run(attempt, queue, signal, observer);
        } catch (const std::exception&) {
            wait_for_memory(attempt);
        }
    }

private:
    using Steady = std::chrono::steady_clock;

    static constexpr std::int64_t most_attempts = (std::numeric_limits<int>::max)();

    struct Attempt {
        const detail::ClaimedTask& task;
        const QueueConfig& config;
        int number;
        detail::AttemptResult& resolved;
        Steady::time_point started;  ///< the attempt, then its processor
    };

    /// Around user code. If that ends its thread, the stack is unwound past here, and the attempt has failed.
    struct Inside {
        TaskRunner& runner;
        Attempt& attempt;
        const detail::StopSignal& signal;
        AttemptObserver& observer;
        bool over = false;

        ~Inside() {
            if (over) return;
            runner.measure(attempt);
            leave();
            runner.resolve(attempt, Outcome::retry(detail::format_or_say("its processor called pthread_exit", {})),
                           signal.reason());
        }
        void leave() noexcept {
            over = true;
            pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);  // a processor may have turned it on
            observer.left();
            // Not after its end, though the wall clock was set back meanwhile.
            std::int64_t& began = attempt.resolved.executed_at;
            began = (std::min)(began, to_ms(runner.clock_.now()));
        }
    };

    void run(Attempt& attempt, const detail::QueueBase& queue, const std::shared_ptr<detail::StopSignal>& signal,
             AttemptObserver& observer) {
        const detail::ClaimedTask& task = attempt.task;
        const QueueConfig& config = attempt.config;
        if (task.crashes >= config.max_crashes) {
            give_up(attempt, detail::format("the process died {} times while it ran this task (max_crashes is {})",
                                            {task.crashes, config.max_crashes}));
        } else if (task.attempts > most_attempts) {
            give_up(attempt,
                    detail::format("the row says {} spent attempts, more than any max_attempts allows (it is {})",
                                   {task.attempts, config.max_attempts}));
        } else if (task.oversize > 0) {
            give_up(attempt, detail::format("its payload of {} bytes is larger than ClientConfig::max_payload",
                                            {task.oversize}));
        } else {
            process(attempt, queue, signal, observer);
        }
    }

    static int attempt_number(const detail::ClaimedTask& task) noexcept {
        return static_cast<int>((std::min)(task.attempts, most_attempts - 1)) + 1;
    }

    void process(Attempt& attempt, const detail::QueueBase& queue, const std::shared_ptr<detail::StopSignal>& signal,
                 AttemptObserver& observer) {
        observer.entering(attempt.task);
        Inside inside{*this, attempt, *signal, observer};
        std::unique_ptr<detail::QueueBase::Job> job;
        bool no_memory = false;
        const std::optional<std::string> unreadable = text_of_exception([&] {
            try {
                job = queue.decode(attempt.task.payload);
            } catch (const std::bad_alloc&) {
                no_memory = true;
            }
        });
        if (unreadable || no_memory) inside.leave();
        if (no_memory) return wait_for_memory(attempt);
        if (unreadable) {
            return fail_unread(attempt, detail::format("its payload cannot be read: {}", {*unreadable}));
        }
        std::optional<Outcome> outcome;
        attempt.started = clock_.steady_now();
        std::optional<std::string> thrown = text_of_exception([&] {
            std::optional<Steady::time_point> deadline;
            if (attempt.config.timeout > Duration::zero()) {
                deadline = saturating_add(attempt.started, attempt.config.timeout);
                observer.timing(*deadline, signal);
            }
            Context context({engine_, attempt.task.id, attempt.config.name, attempt.number, attempt.config.max_attempts,
                             *signal, deadline});
            outcome.emplace(job->run(context));
        });
        measure(attempt);
        job.reset();
        inside.leave();
        if (thrown) outcome.emplace(Outcome::retry(std::move(*thrown)));
        resolve(attempt, *outcome, signal->reason());
    }

    void measure(Attempt& attempt) const noexcept {
        const auto taken = clock_.steady_now() - attempt.started;
        attempt.resolved.duration_us = std::chrono::duration_cast<std::chrono::microseconds>(taken).count();
    }

    /// As if it had never started: the processor was not called.
    void wait_for_memory(Attempt& attempt) noexcept {
        constexpr Duration wait = std::chrono::seconds{1};
        attempt.resolved = detail::AttemptResult{.claim = attempt.task.claim,
                                                 .resolution = detail::RowChange::release,
                                                 .executed_at = attempt.resolved.executed_at,
                                                 .wait_until = saturating_add(to_ms(clock_.now()), wait),
                                                 .wait = wait};
        log_(LogLevel::warning, "no memory to begin a task: it is tried again",
             {{"id", attempt.task.id.str()}, {"queue", attempt.config.name}, {"wait_ms", wait.count()}});
    }

    void resolve(Attempt& attempt, const Outcome& outcome, StopReason stopped) noexcept {
        switch (outcome.kind()) {
            case Outcome::Kind::success: return succeed(attempt);
            case Outcome::Kind::snooze: return snooze(attempt, outcome);
            case Outcome::Kind::discard: return end_failed(attempt, outcome.reason());
            case Outcome::Kind::retry:
            case Outcome::Kind::retry_in: break;
        }
        if (stopped == StopReason::stopping) return give_back(attempt, outcome.reason());
        if (is_last(attempt)) return end_failed(attempt, with_bound(attempt, outcome.reason()));
        if (outcome.kind() == Outcome::Kind::retry_in) {
            put_off(attempt.resolved, outcome.wait(), outcome.until());
        } else {
            put_off(attempt.resolved, backoff(attempt));
        }
        retry(attempt, outcome.reason());
    }

    /// When the task is due again: after a wait, which a clock that is set back shortens to what it is by then, or at a
    /// time, which stays. How long it waits.
    Duration put_off(detail::AttemptResult& resolved, Duration wait,
                     std::optional<TimePoint> until = std::nullopt) const noexcept {
        const TimePoint now = clock_.now();
        if (until) {
            resolved.wait_until = (std::max)(to_due_ms(*until), to_ms(now));
            return Duration{resolved.wait_until - to_ms(now)};
        }
        resolved.wait_until = due_after(now, wait);
        resolved.wait = wait;
        return wait;
    }

    /// A failed attempt: a newer program on the same file may be able to read what this one cannot. If it was the last,
    /// the task is given up.
    void fail_unread(Attempt& attempt, const std::string& reason) {
        if (!is_last(attempt)) {
            put_off(attempt.resolved, backoff(attempt));
            return retry(attempt, reason);
        }
        give_up(attempt, with_bound(attempt, reason));
        attempt.resolved.spends_attempt = true;
    }

    [[nodiscard]] static bool is_last(const Attempt& attempt) noexcept {
        return attempt.number >= attempt.config.max_attempts;
    }

    /// More attempts may be spent than are allowed, if the bound was lowered: such a task runs once more.
    [[nodiscard]] static std::string with_bound(const Attempt& attempt, const std::string& reason) noexcept {
        if (attempt.number <= attempt.config.max_attempts) return detail::format_or_say("{}", {reason});
        return detail::format_or_say("no attempt is left after {} (max_attempts is {}): {}",
                                     {attempt.number, attempt.config.max_attempts, reason});
    }

    void succeed(Attempt& attempt) noexcept {
        detail::AttemptResult& resolved = attempt.resolved;
        resolved.resolution = detail::RowChange::complete;
        resolved.spends_attempt = true;
        const auto& retention = attempt.config.retention;
        if (retention && !retention->only_failed) {
            resolved.keep_row = true;
            resolved.keep_payload = retention->data && !retention->data->only_failed;
            resolved.expires_at = expiry(retention->duration);
        }
        if (!log_) return;
        log_(LogLevel::info, "task processed",
             {{"id", attempt.task.id.str()},
              {"queue", attempt.config.name},
              {"duration", duration_text(resolved)},
              {"attempt", attempt.number}});
    }

    void end_failed(Attempt& attempt, std::string_view reason) noexcept {
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

    /// REQUIRES: it was put off.
    void retry(Attempt& attempt, std::string_view reason) noexcept {
        detail::AttemptResult& resolved = attempt.resolved;
        resolved.resolution = detail::RowChange::retry;
        resolved.spends_attempt = true;
        resolved.error = detail::format_or_say("{}", {cut(reason)});
        log_failure(attempt, attempt.config.max_attempts - attempt.number, reason);
    }

    void snooze(Attempt& attempt, const Outcome& outcome) noexcept {
        attempt.resolved.resolution = detail::RowChange::snooze;
        const Duration wait = put_off(attempt.resolved, outcome.wait(), outcome.until());
        if (!log_) return;
        log_(LogLevel::info, "task snoozed",
             {{"id", attempt.task.id.str()},
              {"queue", attempt.config.name},
              {"duration", duration_text(attempt.resolved)},
              {"wait_ms", wait.count()}});
    }

    void give_back(Attempt& attempt, std::string_view reason) noexcept {
        attempt.resolved.resolution = detail::RowChange::release;
        if (!log_) return;
        log_(LogLevel::info, "task given back",
             {{"id", attempt.task.id.str()},
              {"queue", attempt.config.name},
              {"duration", duration_text(attempt.resolved)},
              {"reason", "stopping"},
              {"error", cut(reason)}});
    }

    /// The task fails for good without its processor having decided so: it is kept whatever its queue says, so that
    /// nothing vanishes unseen.
    void give_up(Attempt& attempt, std::string_view reason) noexcept {
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

    [[nodiscard]] Duration backoff(const Attempt& attempt) noexcept {
        Duration wait = std::chrono::seconds{1};
        const auto broken = text_of_exception([&] { wait = attempt.config.backoff.delay(attempt.number, random()); });
        if (!broken && wait >= Duration::zero()) return wait;
        log_(LogLevel::failure, "the queue's backoff failed: waiting one second",
             {{"id", attempt.task.id.str()},
              {"queue", attempt.config.name},
              {"error", broken ? *broken : detail::format_or_say("a negative wait of {} ms", {wait.count()})}});
        return std::chrono::seconds{1};
    }

    [[nodiscard]] std::optional<std::int64_t> expiry(Duration retention) const noexcept {
        if (retention == Duration::zero()) return std::nullopt;
        return saturating_add(to_ms(clock_.now()), retention);
    }

    void log_failure(const Attempt& attempt, int remaining, std::string_view reason) const noexcept {
        if (!log_) return;
        log_(LogLevel::failure, "task failed",
             {{"id", attempt.task.id.str()},
              {"queue", attempt.config.name},
              {"duration", duration_text(attempt.resolved)},
              {"attempt", attempt.number},
              {"remaining", remaining},
              {"error", cut(reason)}});
    }

    /// Runs user code; the text of what it threw, nullopt if it returned. Lets a ForcedUnwind pass.
    template <class Call>
    static std::optional<std::string> text_of_exception(Call&& call) {
        try {
            call();
            return std::nullopt;
        } catch (platform::ForcedUnwind&) {
            throw;
        } catch (const std::exception& error) {
            const char* text = error.what();
            return detail::format_or_say("{}", {text == nullptr ? "an exception without a text" : text});
        } catch (...) {
            return detail::format_or_say("an exception that is no std::exception", {});
        }
    }

    /// At most `max_error` bytes, cut between characters of UTF-8.
    static std::string_view cut(std::string_view text) noexcept {
        if (text.size() <= max_error) return text;
        // A character has at most three bytes after its first: more of them are no UTF-8, and stay.
        for (std::size_t end = max_error; end + 3 >= max_error; --end) {
            if ((static_cast<unsigned char>(text[end]) & 0xc0U) != 0x80U) return text.substr(0, end);
        }
        return text.substr(0, max_error);
    }

    static std::string duration_text(const detail::AttemptResult& resolved) {
        const double us = static_cast<double>(resolved.duration_us);
        if (us < 1'000) return detail::format("{}us", {resolved.duration_us});
        if (us < 1'000'000) return in_units("{:.3g}ms", us / 1'000);
        return in_units("{:.3f}s", us / 1'000'000);
    }

    static std::string in_units(const char* pattern, double value) {
        return fmt::vformat(pattern, fmt::make_format_args(value));  // no template for each pattern: see format.hpp
    }

    /// Spreads backoffs. A shared counter needs no lock.
    std::uint64_t random() noexcept {
        return platform::random_of(random_.fetch_add(platform::random_step, std::memory_order_relaxed));
    }

    // constant after construction
    const QueueRegistry& queues_;
    const std::weak_ptr<engine::Engine> engine_;
    const Clock& clock_;
    const detail::SafeLogger log_;

    std::atomic<std::uint64_t> random_;
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
