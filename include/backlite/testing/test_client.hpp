// SPDX-License-Identifier: MIT
#pragma once
// TestClient: for tests of a host's own tasks. It runs them when the test says so, on the test's thread, by a clock
// that the test moves. Needs no test framework.

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/add_op.hpp>
#include <backlite/base/codec.hpp>
#include <backlite/batch.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/flow.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/queue.hpp>
#include <backlite/task.hpp>
#include <backlite/testing/manual_clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace testing {

/// How an attempt ended.
enum class Ending {
    succeeded,   ///< the task is done
    retried,     ///< it failed and has attempts left: it is due again after `Attempt::wait`
    snoozed,     ///< it asked to run later, and spent no attempt: it is due again after `Attempt::wait`
    discarded,   ///< its processor gave it up: it failed for good, whatever attempts remain
    failed,      ///< it failed for good: no attempt is left, or the library gave it up
    given_back,  ///< it could not begin for want of memory, or ended early because of a stop: no attempt is spent
};

/// The name of an ending.
[[nodiscard]] constexpr std::string_view to_string(Ending ending) noexcept {
    switch (ending) {
        case Ending::succeeded: return "succeeded";
        case Ending::retried: return "retried";
        case Ending::snoozed: return "snoozed";
        case Ending::discarded: return "discarded";
        case Ending::failed: return "failed";
        case Ending::given_back: break;
    }
    return "given back";
}

/// An attempt that has ended.
struct Attempt {
    TaskId id{};                        ///< of the task
    std::string queue{};                ///< its name
    int number = 1;                     ///< of the attempt, from 1, as Context::attempt says it
    Ending ending = Ending::succeeded;  ///< how it ended
    Duration wait{};                    ///< how long until the task is due again, if it is to run again
    std::string error{};                ///< what is stored: why it failed; empty for a success and a snooze
    std::exception_ptr exception{};     ///< what the processor, middleware or `from_json` threw; null: nothing
    std::string result_json{};          ///< what the processor of a task that succeeded returned; empty: nothing

    /// The same, of a task of type `T`; nullopt: nothing. Errors: EncodeError if it cannot be read as the `Result` of
    /// `T`.
    template <class T>
    [[nodiscard]] auto result() const -> std::optional<detail::ResultOf<T>> {
        static_assert(detail::check_task<T>() && detail::check_result<T>());
        if (result_json.empty()) return std::nullopt;
        return detail::decode_result<detail::ResultOf<T>>({queue, result_json}, id);
    }
};

/// The attempts of one drain, in the order in which they were made.
struct Drained {
    std::vector<Attempt> attempts{};  ///< each once; a task that failed and was tried again is in it twice

    /// How many attempts were made.
    [[nodiscard]] std::size_t size() const noexcept { return attempts.size(); }
    /// Whether none was.
    [[nodiscard]] bool empty() const noexcept { return attempts.empty(); }
    /// How many ended so.
    [[nodiscard]] std::size_t count(Ending ending) const noexcept;
};

/// A task that waits, as `TestClient::enqueued` finds it.
template <class T>
struct Enqueued {
    TaskId id{};       ///< its id
    TimePoint due{};   ///< when it may start, by the client's clock
    int attempts = 0;  ///< how many it has spent
    T task{};          ///< read from the JSON that is stored
};

/// What TestClient::perform pretends.
struct PerformOptions {
    int attempt = 1;                     ///< the attempt's number, from 1
    StopReason stop = StopReason::none;  ///< another: the stop token has fired for it before the processor begins
};

/// What a TestClient is made with.
struct TestClientConfig {
    /// The client's configuration. `database` and `clock` stay empty; `num_workers` and `durability` count for nothing,
    /// and observers are told nothing.
    ClientConfig client{};
    /// What the wall clock says at first.
    TimePoint start{std::chrono::hours{24 * 18'262}};  // 2020-01-01 UTC
    /// How many attempts a drain makes while the clock stands still. One more is an error: some task adds itself again
    /// and again.
    std::size_t drain_limit = 10'000;
};

/// A client for tests. It lives in a temporary folder of its own and by a ManualClock; no thread is started. What a
/// started client would do, it does when `drain` is called, on the caller's thread and with the library's own
/// scheduler, one task after the other, as a single worker takes them; each outcome is written before the next task
/// starts. Several of them do not disturb each other. The folder is made where the environment variable TMPDIR says,
/// else in /tmp: in memory, as with TMPDIR=/dev/shm, many of them are made much faster.
///
/// Processors see what they see in production. Only time stands still unless somebody moves the clock, and a task's
/// timeout fires no stop token: `Context::deadline` is told by the manual clock, and what a processor does once it is
/// asked to stop is tested by `perform` with `PerformOptions::stop`.
/// Threads: one at a time; the handles that `client` returns may be used from any.
class TestClient {
public:
    /// Errors: ConfigError naming the value that cannot work; std::filesystem::filesystem_error if no folder can be
    /// made; StorageError.
    explicit TestClient(const TestClientConfig& config = {});
    TestClient(const TestClient&) = delete;
    TestClient& operator=(const TestClient&) = delete;
    /// Removes the folder and all that is in it. Handles that are left throw UsageError from now on. In a forked child
    /// it does nothing: the folder is the parent's.
    ~TestClient();

    /// Registers the queue of `T`, as `Client::register_queue` does; at any time but inside a processor.
    /// Errors: ConfigError if the name is taken or the configuration cannot work; UsageError inside a processor.
    template <class T, class F>
    void register_queue(F processor) {
        register_queue(Queue<T>(std::move(processor)));
    }
    /// The same, spelled out.
    template <class T>
    void register_queue(Queue<T> queue) {
        register_untyped(std::move(queue).release());
    }

    /// Registers the queue of `T` as one of batches, as `Client::register_batch_queue` does. A drain waits for nothing:
    /// a batch is what is due, up to `options.max` tasks. `perform` makes a batch of one.
    template <class T, class F>
    void register_batch_queue(BatchOptions options, F processor) {
        options.validate(detail::queue_config<T>());
        options.max_wait = Duration::zero();
        register_untyped(BatchQueue<T>(options, std::move(processor)).release());
    }

    /// Registers the queue of `T` as one of flows, as `Client::register_flow` does. `perform` does not run them.
    template <class T, class F>
    void register_flow(F flow) {
        register_queue<T>(detail::flow_processor<T>(std::move(flow)));
    }

    /// For the code that is tested: it takes a ClientHandle, or an Adder, and adds to this client.
    [[nodiscard]] const ClientHandle& client() const noexcept;

    /// The same as `client().add`. Nothing happens before `save`, and nothing runs before a drain.
    template <class... Tasks>
    [[nodiscard]] AddOp add(Tasks&&... tasks) const {
        return client().add(tasks...);
    }

    /// The client's clock. The next drain sees where it was moved to.
    [[nodiscard]] ManualClock& clock() noexcept;

    /// Runs every task that is due now, also those that are added meanwhile, until none is. Tasks of queues that are
    /// not registered stay as they are. What processors throw is caught, as in production: see Attempt::exception.
    /// Errors: UsageError after TestClientConfig::drain_limit attempts, and inside a processor; StorageError. What
    /// was run is written then, and the next drain goes on.
    Drained drain();

    /// The same, and then moves the clock to the next time at which something is due, and again, and at last to `time`.
    /// A task that is due at `time` runs. Kept tasks that expire on the way are purged once in each
    /// `ClientConfig::cleanup_interval`. Like `drain` if `time` has passed.
    Drained drain_until(TimePoint time);

    /// The tasks of type `T` that wait, now due or later, in the order in which a drain would start them. Not those
    /// that run, have succeeded or have failed for good. Errors: Error naming queue and task if one of them cannot be
    /// read; StorageError.
    template <class T>
    [[nodiscard]] std::vector<Enqueued<T>> enqueued() const {
        static_assert(detail::check_task<T>());
        std::vector<Enqueued<T>> found;
        each_waiting(detail::queue_config<T>().name,
                     [&found](TaskId&& id, TimePoint due, int attempts, std::string_view payload) {
                         found.push_back({std::move(id), due, attempts, detail::decode<T>(payload)});
                     });
        return found;
    }

    /// Makes one attempt at a task that is in no file: the task is written as JSON and read again, and the processor of
    /// its queue runs on what was read. What the processor adds is added.
    /// Errors: UsageError if the queue of `T` is not registered; ConfigError if its processor takes another type, or
    /// `options.attempt` is below 1; EncodeError if the task cannot be written. What the processor throws is caught.
    template <class T>
    Attempt perform(const T& task, const PerformOptions& options = {}) {
        static_assert(detail::check_task<T>());
        const std::string& queue = detail::queue_config<T>().name;
        return perform_payload(queue, detail::type_name<T>(), detail::encode(task, queue), options);
    }

private:
    class State;
    using Take = std::function<void(TaskId&&, TimePoint, int, std::string_view)>;

    static engine::Engine& engine_of(const ClientHandle& client) noexcept { return *client.engine_; }
    static std::weak_ptr<engine::Engine> weak_engine_of(const ClientHandle& client) noexcept { return client.engine_; }

    void register_untyped(std::unique_ptr<detail::QueueBase> queue);
    void each_waiting(const std::string& queue, const Take& take) const;
    Attempt perform_payload(const std::string& queue, std::string_view type, std::string payload,
                            const PerformOptions& options);

    std::unique_ptr<State> state_;
};

}  // namespace testing
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/testing/test_client.ipp>
#endif
