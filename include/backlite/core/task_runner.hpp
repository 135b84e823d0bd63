// SPDX-License-Identifier: MIT
#pragma once
// One attempt at one task: from payload to outcome, by the rules of retry and retention. No thread, no SQL.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/batch.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/logger.hpp>
#include <backlite/outcome.hpp>
#include <backlite/platform/random.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/queue.hpp>
#include <backlite/store/plan.hpp>

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

    /// User code follows: middleware, reading the payload, the processor. A death from here on is a crash.
    virtual void entering(const detail::ClaimedTask& task) noexcept = 0;
    /// This one of the same batch is among them.
    virtual void joining(const detail::ClaimedTask& task) noexcept { static_cast<void>(task); }
    /// The payload is read, but for middleware: that, or the processor, is called next.
    virtual void processing() noexcept {}
    /// The attempt's time runs, until `deadline`.
    virtual void timing(std::chrono::steady_clock::time_point deadline,
                        const std::shared_ptr<detail::StopSignal>& signal) = 0;
    /// The task says how far it is. Errors: std::bad_alloc.
    virtual void progress(const detail::ClaimedTask& task, double fraction, std::string_view message) {
        static_cast<void>(task);
        static_cast<void>(fraction);
        static_cast<void>(message);
    }
    /// The task is about to end by a transaction of its own, or it has not after all.
    virtual void ending(bool begins) noexcept { static_cast<void>(begins); }
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

    /// The number of the attempt that a claim is for, from 1.
    [[nodiscard]] static int attempt_number(const detail::ClaimedTask& task) noexcept {
        return static_cast<int>((std::min)(task.attempts, most_attempts - 1)) + 1;
    }

    TaskRunner(const QueueRegistry& queues, std::weak_ptr<engine::Engine> engine, const Clock& clock,
               detail::SafeLogger log, std::span<const Middleware> around = {},
               std::size_t max_result = (std::numeric_limits<std::size_t>::max)());

    /// Runs one attempt; `resolved` becomes what is to be written, all but the id. Lets nothing escape but a
    /// ForcedUnwind: then the attempt has failed. One that cannot begin for want of memory is put off; once it has
    /// begun, its outcome needs none. A task of a queue of batches runs with its `others`, and what is to be written of
    /// those becomes `resolved.others`. REQUIRES: there are as many.
    void run(const detail::ClaimedTask& task, const std::shared_ptr<detail::StopSignal>& signal,
             AttemptObserver& observer, detail::AttemptResult& resolved);

    /// The end of a claimed task that was not started in time.
    [[nodiscard]] static detail::AttemptResult expired(const detail::ClaimedTask& task, const QueueConfig& config,
                                                       detail::Ms now);

    /// For each queue what `rule_of_failed` says.
    [[nodiscard]] static std::vector<store::KeepRule> rules_of_failed(const QueueRegistry& queues);

    /// How a task of this queue is kept that ends without success.
    [[nodiscard]] static store::KeepRule rule_of_failed(const QueueConfig& config) noexcept {
        const std::optional<Retention>& retention = config.retention;
        if (!retention) return {};
        return {true, retention->data.has_value(), retention->duration};
    }

private:
    using Steady = std::chrono::steady_clock;

    static constexpr std::int64_t most_attempts = (std::numeric_limits<int>::max)();

    struct Attempt {
        const detail::ClaimedTask& task;
        const QueueConfig& config;
        int number;
        detail::AttemptResult& resolved;
        Steady::time_point started;  ///< the attempt, then its user code but for what reads a payload first
    };

    /// The attempt's user code: inside of all middleware the payload, read when it is first wanted, and the processor.
    struct UserCode {
        std::span<const Middleware> around;
        const detail::QueueBase& queue;
        std::string_view payload;
        std::unique_ptr<detail::QueueBase::Job> job{};
        bool no_memory = false;                   ///< to read it
        std::optional<std::string> unreadable{};  ///< why

        /// Errors: whatever reading it throws; then the attempt has not succeeded, whoever catches that.
        void read();

        [[nodiscard]] Outcome process(Context& context) {
            if (!job) read();
            return job->run(context);
        }
    };

    /// The user code of a batch. All its tasks are read before the middleware, which sees the first of them.
    struct BatchCode {
        std::span<const Middleware> around;
        detail::QueueBase::BatchJob& job;
        BatchContext& batch;
        std::vector<Outcome> outcomes{};  ///< empty: all have succeeded

        [[nodiscard]] Outcome process(Context&) {
            outcomes = job.run(batch);
            return Outcome::success();
        }
    };

    /// Calls the middleware from number `layer` on, and the processor inside.
    template <class Code>
    [[nodiscard]] static Outcome call(Code& code, Context& context, std::size_t layer = 0) {
        if (layer == code.around.size()) return code.process(context);
        // Two words: a std::function takes them without memory of its own.
        struct Inner {
            Code* code;
            std::pair<Context*, std::size_t>* next;
            Outcome operator()() const { return call(*code, *next->first, next->second); }
        };
        std::pair next{&context, layer + 1};
        return code.around[layer](context, Inner{&code, &next});
    }

    /// Around user code. If that ends its thread, the stack is unwound past here, and the attempts have failed.
    struct Inside {
        TaskRunner& runner;
        std::span<Attempt> attempts;
        const detail::StopSignal& signal;
        AttemptObserver& observer;
        bool over = false;

        ~Inside();
        void leave() noexcept;
    };

    /// An attempt as its Context knows it.
    struct Run final : detail::AttemptRun {
        Run(TaskRunner& its_runner, Attempt& its_attempt, AttemptObserver& its_observer,
            const std::shared_ptr<detail::StopSignal>& its_signal)
            : runner(its_runner), attempt(its_attempt), observer(its_observer), signal(its_signal) {}

        [[nodiscard]] detail::AttemptResult success(std::string result) const override;
        [[nodiscard]] detail::Ms due() const noexcept override { return attempt.task.due; }
        void progress(double fraction, std::string_view message) override {
            observer.progress(attempt.task, fraction, message);
        }
        void ending(bool begins) noexcept override { observer.ending(begins); }
        void ended(detail::AttemptResult&& success) noexcept override;
        void arm(Duration timeout) override;
        [[nodiscard]] bool over() const noexcept override { return attempt.resolved.written; }

        TaskRunner& runner;
        Attempt& attempt;
        AttemptObserver& observer;
        const std::shared_ptr<detail::StopSignal>& signal;
    };

    /// What became of a payload of a batch.
    struct Payload {
        bool no_memory = false;                   ///< to read it
        std::optional<std::string> unreadable{};  ///< why
    };

    /// An attempt of a claimed task, as it begins.
    [[nodiscard]] Attempt begin(const detail::ClaimedTask& task, const QueueConfig& config,
                                detail::AttemptResult& resolved) const noexcept;

    /// Whether the task ends without being started, which is resolved then. Errors: std::bad_alloc.
    [[nodiscard]] bool ends_unstarted(Attempt& attempt);

    void run_batch(const detail::ClaimedTask& task, const detail::QueueBase& queue,
                   const std::shared_ptr<detail::StopSignal>& signal, AttemptObserver& observer,
                   detail::AttemptResult& resolved);

    /// Errors: std::bad_alloc, before the observer is told of anything.
    void process_batch(std::span<Attempt> attempts, const detail::QueueBase& queue,
                       const std::shared_ptr<detail::StopSignal>& signal, AttemptObserver& observer);

    /// What becomes of one task of a batch that was read. `outcome`: of the middleware; null: it has thrown.
    void resolve_member(Attempt& attempt, const Outcome* outcome, std::optional<Outcome> own,
                        const std::optional<std::string>& thrown, StopReason stopped) noexcept;

    void process(Attempt& attempt, const detail::QueueBase& queue, const std::shared_ptr<detail::StopSignal>& signal,
                 AttemptObserver& observer);

    void measure(const Attempt& attempt) const noexcept {
        const auto taken = clock_.steady_now() - attempt.started;
        attempt.resolved.duration = std::chrono::duration_cast<detail::Us>(taken);
    }

    /// As if it had never started: the processor was not called.
    void wait_for_memory(Attempt& attempt) noexcept;

    void resolve(Attempt& attempt, Outcome outcome, StopReason stopped) noexcept;

    /// When the task is due again: after a wait, which a clock that is set back shortens to what it is by then, or at a
    /// time, which stays. How long it waits.
    Duration put_off(detail::AttemptResult& resolved, Duration wait,
                     std::optional<TimePoint> until = std::nullopt) const noexcept;

    /// A failed attempt: a newer program on the same file may be able to read what this one cannot. If it was the last,
    /// the task is given up.
    void fail_unread(Attempt& attempt, const std::string& reason);

    [[nodiscard]] static bool is_last(const Attempt& attempt) noexcept {
        return attempt.number >= attempt.config.max_attempts;
    }

    /// More attempts may be spent than are allowed, if the bound was lowered: such a task runs once more.
    [[nodiscard]] static std::string with_bound(const Attempt& attempt, const std::string& reason) noexcept;

    /// `result`: JSON, or empty.
    void succeed(Attempt& attempt, std::string result) noexcept;
    void set_success(const QueueConfig& config, std::string result, detail::AttemptResult& resolved) const noexcept;
    void log_success(const Attempt& attempt) const noexcept;

    /// It had ended by a transaction of its own when user code was over.
    void note_rest(const Attempt& attempt, const Outcome& outcome) const noexcept;

    void end_failed(Attempt& attempt, std::string_view reason) noexcept;

    /// REQUIRES: it was put off.
    void retry(Attempt& attempt, std::string_view reason) noexcept;

    void snooze(Attempt& attempt, const Outcome& outcome) noexcept;

    void give_back(Attempt& attempt, StopReason stopped, std::string_view reason) noexcept;

    /// The task fails for good without its processor having decided so: it is kept whatever its queue says, so that
    /// nothing vanishes unseen.
    void give_up(Attempt& attempt, std::string_view reason) noexcept;

    [[nodiscard]] Duration backoff(const Attempt& attempt) noexcept;

    [[nodiscard]] std::optional<detail::Ms> expiry(Duration retention) const noexcept {
        if (retention == Duration::zero()) return std::nullopt;
        return detail::to_ms(clock_.now()) + retention;
    }

    void log_failure(const Attempt& attempt, int remaining, std::string_view reason) const noexcept;

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
    static std::string_view cut(std::string_view text) noexcept;

    static std::string duration_text(const detail::AttemptResult& resolved);

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
    const std::span<const Middleware> around_;
    const std::size_t max_result_;  ///< in bytes

    std::atomic<std::uint64_t> random_;
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/task_runner.ipp>
#endif
