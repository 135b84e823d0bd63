// SPDX-License-Identifier: MIT
#pragma once
// Queue<T>: a task type and its processor, and the type-erased face that the runtime sees.

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
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
#include <backlite/outcome.hpp>
#include <backlite/task.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace detail {

/// A queue without its task type. Constant after construction; called from several workers at once.
class QueueBase {
public:
    QueueBase() = default;
    QueueBase(const QueueBase&) = delete;
    QueueBase& operator=(const QueueBase&) = delete;
    virtual ~QueueBase() = default;

    /// A task read from its payload, ready to be processed.
    class Job {
    public:
        Job() = default;
        Job(const Job&) = delete;
        Job& operator=(const Job&) = delete;
        virtual ~Job() = default;

        /// Runs the processor. Errors: whatever it throws.
        [[nodiscard]] virtual Outcome run(Context& context) = 0;
    };

    [[nodiscard]] virtual const QueueConfig& config() const noexcept = 0;

    /// The name of its task type.
    [[nodiscard]] virtual std::string_view type() const noexcept = 0;

    /// Errors: std::exception or anything that `from_json` throws, if the payload cannot be read.
    [[nodiscard]] virtual std::unique_ptr<Job> decode(std::string_view payload) const = 0;

    /// Tasks that are processed in one call.
    class BatchJob {
    public:
        BatchJob() = default;
        BatchJob(const BatchJob&) = delete;
        BatchJob& operator=(const BatchJob&) = delete;
        virtual ~BatchJob() = default;

        /// Reads one more. Errors: as `decode`; then it is not among them.
        virtual void read(std::string_view payload) = 0;

        /// Runs the processor: what becomes of each that was read; empty: all have succeeded. Errors: whatever it
        /// throws.
        [[nodiscard]] virtual std::vector<Outcome> run(BatchContext& context) = 0;
    };

    /// Null: its tasks run one by one.
    [[nodiscard]] virtual const BatchOptions* batch() const noexcept { return nullptr; }

    /// For a queue of batches: room for so many tasks, none of them read yet.
    [[nodiscard]] virtual std::unique_ptr<BatchJob> begin_batch(std::size_t tasks) const {
        static_cast<void>(tasks);
        return nullptr;
    }
};

}  // namespace detail

namespace detail {

/// What a processor of `T` may return.
template <class R, class T>
concept ReturnedBy = std::is_void_v<R> || std::convertible_to<R, Outcome> ||
    (!std::is_void_v<ResultOf<T>> && std::convertible_to<R, ResultOf<T>>);

}  // namespace detail

/// What can process a `T`: a callable on `(const T&)` or `(Context&, const T&)` that returns nothing, an Outcome, or
/// the `Result` of `T`.
template <class F, class T>
concept ProcessorOf = (std::invocable<F&, Context&, const T&> &&
                       detail::ReturnedBy<std::invoke_result_t<F&, Context&, const T&>, T>) ||
                      (!std::invocable<F&, Context&, const T&> && std::invocable<F&, const T&> &&
                       detail::ReturnedBy<std::invoke_result_t<F&, const T&>, T>);

/// A queue of tasks of type `T`, and the processor that runs them.
/// Threads: the processor is called from several workers at once.
template <class T>
class Queue {
    static_assert(detail::check_task<T>());

public:
    /// Errors: ConfigError if the configuration of `T` cannot work, or the processor is an empty std::function.
    template <class F>
    explicit Queue(F processor) {
        static_assert(ProcessorOf<F, T>,
                      "backlite: a processor takes (const T&) or (backlite::Context&, const T&) and returns void, "
                      "backlite::Outcome, or the Result of its task type");
        static_assert(std::copy_constructible<F> || std::move_constructible<F>);
        if constexpr (requires { static_cast<bool>(processor == nullptr); }) {
            if (processor == nullptr) {
                throw ConfigError(
                    detail::format("queue \"{}\": its processor is empty", {detail::queue_config<T>().name}));
            }
        }
        impl_ = std::make_unique<Impl<F>>(std::move(processor));
    }

    /// The configuration of the queue.
    [[nodiscard]] const QueueConfig& config() const noexcept { return impl_->config(); }

    /// Hands the queue over without its type.
    [[nodiscard]] std::unique_ptr<detail::QueueBase> release() && { return std::move(impl_); }

private:
    template <class F>
    class Impl final : public detail::QueueBase {
    public:
        explicit Impl(F processor) : config_(detail::queue_config<T>()), processor_(std::move(processor)) {}

        [[nodiscard]] const QueueConfig& config() const noexcept override { return config_; }
        [[nodiscard]] std::string_view type() const noexcept override { return detail::type_name<T>(); }

        [[nodiscard]] std::unique_ptr<Job> decode(std::string_view payload) const override {
            return std::make_unique<TypedJob>(processor_, backlite::detail::decode<T>(payload));
        }

    private:
        class TypedJob final : public Job {
        public:
            TypedJob(F& processor, T task) : processor_(processor), task_(std::move(task)) {}

            [[nodiscard]] Outcome run(Context& context) override {
                const T& task = task_;
                if constexpr (std::invocable<F&, Context&, const T&>) {
                    return outcome_of([&]() -> decltype(auto) { return std::invoke(processor_, context, task); });
                } else {
                    return outcome_of([&]() -> decltype(auto) { return std::invoke(processor_, task); });
                }
            }

        private:
            template <class Call>
            static Outcome outcome_of(Call&& call) {
                using Returned = std::invoke_result_t<Call&>;
                using Result = backlite::detail::ResultOf<T>;
                if constexpr (std::is_void_v<Returned>) {
                    call();
                    return Outcome::success();
                } else if constexpr (!std::convertible_to<Returned, Outcome>) {
                    static_assert(backlite::detail::check_result<T>());
                    const Result result = call();
                    return Outcome::success(result);
                } else if constexpr (std::is_void_v<Result>) {
                    return call();
                } else {
                    static_assert(backlite::detail::check_result<T>());
                    Outcome outcome = call();
                    if (!outcome.result().empty()) backlite::detail::check_readable<Result>(outcome.result());
                    return outcome;
                }
            }

            F& processor_;
            T task_;
        };

        const QueueConfig& config_;
        mutable F
            processor_;  // a lambda may be mutable; that it is called from several threads is its author's business
    };

    std::unique_ptr<detail::QueueBase> impl_{};
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
