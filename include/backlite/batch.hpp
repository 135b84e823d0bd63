// SPDX-License-Identifier: MIT
#pragma once
// Queues whose tasks run in batches: many tasks of one type in one call of their processor.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <backlite/base/codec.hpp>
#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/outcome.hpp>
#include <backlite/queue.hpp>
#include <backlite/task.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// When tasks run together.
struct BatchOptions {
    /// How many tasks run in one call at most: 1 to 10,000. A batch of so many starts at once. No default: 0 is
    /// refused.
    int max = 0;
    /// How long a task that is due waits for others; default zero: a batch is what is due when a worker is free.
    Duration max_wait{};

    /// Errors: ConfigError naming the queue and the value that cannot work, also of its configuration.
    void validate(const QueueConfig& queue) const;
};

/// One call of a batch queue's processor. Lives as long as the call.
/// The tasks are numbered as in the span that the processor gets: those whose payload could be read. Each has an
/// attempt, a claim and an outcome of its own; the time that the call may take, and the token that ends it, are common.
/// Threads: its functions may be called from any thread that the processor hands it to.
class BatchContext {
public:
    /// What the library knows of one task of the batch.
    struct Member {
        const TaskId* id = nullptr;    ///< of the task
        int attempt = 1;               ///< its number
        int priority = 0;              ///< of the task
        std::string_view partition{};  ///< of the task
    };

    /// What the library fills in.
    struct Attempt {
        const std::weak_ptr<engine::Engine>& engine;
        const std::string& queue;
        int max_attempts;
        const detail::StopSignal& stop;
        std::optional<std::chrono::steady_clock::time_point> deadline;
        std::span<const Member> members{};
    };

    /// For the library, and for tests of processors.
    explicit BatchContext(Attempt attempt) noexcept : attempt_(std::move(attempt)) {}
    BatchContext(const BatchContext&) = delete;
    BatchContext& operator=(const BatchContext&) = delete;

    /// A handle on the client that runs the batch: see `Context::client`.
    [[nodiscard]] ClientHandle client() const;

    /// How many tasks there are.
    [[nodiscard]] std::size_t size() const noexcept { return attempt_.members.size(); }

    /// The id of a task, the same over all its attempts. Errors, as of the next three: UsageError if there are not so
    /// many.
    [[nodiscard]] const TaskId& task_id(std::size_t index) const { return *member("task_id", index).id; }

    /// The number of a task's attempt, from 1: those of one batch may differ.
    [[nodiscard]] int attempt(std::size_t index) const { return member("attempt", index).attempt; }

    /// The priority that a task was added with.
    [[nodiscard]] int priority(std::size_t index) const { return member("priority", index).priority; }

    /// The partition of a task; "" if it was added without one.
    [[nodiscard]] std::string_view partition(std::size_t index) const { return member("partition", index).partition; }

    /// The name of the queue.
    [[nodiscard]] const std::string& queue() const noexcept { return attempt_.queue; }

    /// How many attempts the queue allows each task.
    [[nodiscard]] int max_attempts() const noexcept { return attempt_.max_attempts; }

    /// Fires for the whole batch: at the timeout, at a hard stop, when a stop's deadline has passed, and once all its
    /// tasks are cancelled or have lost their claims. See `Context::stop_token`.
    [[nodiscard]] std::stop_token stop_token() const noexcept { return attempt_.stop.token(); }

    /// Why the token fired. Where some tasks are cancelled and the others have lost their claims: `cancelled`.
    [[nodiscard]] StopReason stop_reason() const noexcept { return attempt_.stop.reason(); }

    /// When the timeout fires the token; nullopt: the queue has none.
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept {
        return attempt_.deadline;
    }

private:
    [[nodiscard]] const Member& member(const char* call, std::size_t index) const;

    Attempt attempt_;
};

namespace detail {

/// What a processor of batches may return.
template <class R>
concept ReturnedByBatch = std::is_void_v<R> || std::same_as<std::remove_cvref_t<R>, std::vector<Outcome>>;

/// Errors: UsageError naming the queue if there are not as many outcomes as tasks.
void check_outcomes(const std::string& queue, std::size_t outcomes, std::size_t tasks);

/// Errors: ConfigError naming the queue: its processor is empty.
[[noreturn]] void throw_empty_batch_processor(const std::string& queue);

}  // namespace detail

/// What can process batches of `T`: a callable on `(std::span<const T>)` or `(BatchContext&, std::span<const T>)` that
/// returns nothing or a `std::vector<Outcome>`.
template <class F, class T>
concept BatchProcessorOf = (std::invocable<F&, BatchContext&, std::span<const T>> &&
                            detail::ReturnedByBatch<std::invoke_result_t<F&, BatchContext&, std::span<const T>>>) ||
                           (!std::invocable<F&, BatchContext&, std::span<const T>> &&
                            std::invocable<F&, std::span<const T>> &&
                            detail::ReturnedByBatch<std::invoke_result_t<F&, std::span<const T>>>);

/// A queue of tasks of type `T`, and the processor that runs many of them in one call.
/// Threads: the processor is called from several workers at once.
template <class T>
class BatchQueue {
    static_assert(detail::check_task<T>());

public:
    /// Errors: ConfigError if the configuration of `T` or the options cannot work, or the processor is an empty
    /// std::function.
    template <class F>
    BatchQueue(BatchOptions options, F processor) {
        static_assert(BatchProcessorOf<F, T>,
                      "backlite: a processor of batches takes (std::span<const T>) or (backlite::BatchContext&, "
                      "std::span<const T>) and returns void or std::vector<backlite::Outcome>");
        options.validate(detail::queue_config<T>());
        if constexpr (requires { static_cast<bool>(processor == nullptr); }) {
            if (processor == nullptr) detail::throw_empty_batch_processor(detail::queue_config<T>().name);
        }
        impl_ = std::make_unique<Impl<F>>(options, std::move(processor));
    }

    /// The configuration of the queue.
    [[nodiscard]] const QueueConfig& config() const noexcept { return impl_->config(); }

    /// Hands the queue over without its type.
    [[nodiscard]] std::unique_ptr<detail::QueueBase> release() && { return std::move(impl_); }

private:
    template <class F>
    class Impl final : public detail::QueueBase {
    public:
        Impl(BatchOptions options, F processor)
            : config_(detail::queue_config<T>()), options_(options), processor_(std::move(processor)) {}

        [[nodiscard]] const QueueConfig& config() const noexcept override { return config_; }
        [[nodiscard]] std::string_view type() const noexcept override { return detail::type_name<T>(); }
        [[nodiscard]] const BatchOptions* batch() const noexcept override { return &options_; }
        [[nodiscard]] std::unique_ptr<Job> decode(std::string_view) const override { return nullptr; }
        [[nodiscard]] std::unique_ptr<BatchJob> begin_batch(std::size_t tasks) const override {
            return std::make_unique<TypedBatch>(processor_, config_.name, tasks);
        }

    private:
        class TypedBatch final : public BatchJob {
        public:
            TypedBatch(F& processor, const std::string& queue, std::size_t tasks)
                : processor_(processor), queue_(queue) {
                tasks_.reserve(tasks);
            }

            void read(std::string_view payload) override { tasks_.push_back(backlite::detail::decode<T>(payload)); }

            [[nodiscard]] std::vector<Outcome> run(BatchContext& context) override {
                const std::span<const T> tasks = tasks_;
                if constexpr (std::invocable<F&, BatchContext&, std::span<const T>>) {
                    return outcomes_of([&]() -> decltype(auto) { return std::invoke(processor_, context, tasks); });
                } else {
                    return outcomes_of([&]() -> decltype(auto) { return std::invoke(processor_, tasks); });
                }
            }

        private:
            template <class Call>
            std::vector<Outcome> outcomes_of(Call&& call) {
                using Result = backlite::detail::ResultOf<T>;
                if constexpr (std::is_void_v<std::invoke_result_t<Call&>>) {
                    call();
                    return {};
                } else {
                    std::vector<Outcome> outcomes = call();
                    backlite::detail::check_outcomes(queue_, outcomes.size(), tasks_.size());
                    if constexpr (!std::is_void_v<Result>) {
                        static_assert(backlite::detail::check_result<T>());
                        for (Outcome& outcome : outcomes) demand_readable<Result>(outcome);
                    }
                    return outcomes;
                }
            }

            /// A result of another type fails its own task alone.
            template <class Result>
            static void demand_readable(Outcome& outcome) {
                if (outcome.result().empty()) return;
                try {
                    backlite::detail::check_readable<Result>(outcome.result());
                } catch (const std::bad_alloc&) {
                    throw;
                } catch (const std::exception& error) {
                    outcome = Outcome::retry(error.what());
                }
            }

            F& processor_;
            const std::string& queue_;
            std::vector<T> tasks_{};
        };

        const QueueConfig& config_;
        const BatchOptions options_;
        mutable F processor_;  // as Queue's
    };

    std::unique_ptr<detail::QueueBase> impl_{};
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/batch.ipp>
#endif
