// SPDX-License-Identifier: MIT
#pragma once
// Flow: a task of durable steps, which goes on where it was after failures, crashes and restarts.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <backlite/base/codec.hpp>
#include <backlite/base/times.hpp>
#include <backlite/client.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/engine/flow_state.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/outcome.hpp>
#include <backlite/queue.hpp>
#include <backlite/step_failed.hpp>
#include <backlite/task.hpp>

namespace SQLite {
class Database;
}

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// How often a step is tried. What is not set is as the queue's configuration says.
struct StepOptions {
    std::optional<int> max_attempts{};  ///< at least 1
    std::optional<Backoff> backoff{};   ///< between them, without a worker
    std::optional<Duration> timeout{};  ///< of each: Context::stop_token fires; zero: none
};

/// A function that runs as a flow is given one. What its steps return is kept with the task, and when the function runs
/// again, after a failure, a crash, a restart or a wait, a step that has returned gives that and does nothing. What
/// stands between the steps runs each time, so it must do nothing but decide, and the same each time by the same
/// values. A step is known by its name and by how many of that name came before it, never by its place: steps may be
/// inserted, removed and reordered between two versions of a program.
///
/// `sleep`, `wait`, and a step that waits for its next attempt, give the worker back by throwing something that is no
/// std::exception. They have taken note of that before: whoever catches it is thrown it again by the next call, and
/// what the function returns then does not count. So it must not be caught, and nothing that has effects may happen
/// when the scope is left: what is to be undone is registered with `undo`.
///
/// A value that was kept and cannot be read by this program throws an Error that names step and type.
/// Errors of all functions with a name: UsageError on another thread than the function's, inside of a step, and for a
/// name that is empty, longer than 200 bytes, no UTF-8, or holds control characters. Threads: the one that the function
/// runs on.
class Flow : private engine::FlowState {
public:
    /// Used by `Client::register_flow`.
    explicit Flow(Context& context) : FlowState(context) {}
    Flow(const Flow&) = delete;
    Flow& operator=(const Flow&) = delete;
    ~Flow() = default;

    /// Runs `call()` once it has not returned yet, and gives what it returned: nothing, or a value that is convertible
    /// to JSON. It runs again only if it threw, or the process died before what it returned was written. When it has
    /// thrown as often as it may, StepFailed: if that leaves the function, the undos run, and the task has failed,
    /// whatever attempts its queue allows. Another exception that leaves the function spends an attempt of the queue.
    /// Blocks until the value is committed.
    template <class F>
    auto step(std::string_view name, F&& call) {
        return step(name, StepOptions{}, std::forward<F>(call));
    }
    /// The same, with attempts, backoff and timeout of its own.
    template <class F>
    auto step(std::string_view name, const StepOptions& options, F&& call) {
        static_assert(std::invocable<F&>, "backlite: a step is called without arguments");
        return keep<std::remove_cvref_t<std::invoke_result_t<F&>>>(
            enter("step", name), [&](const Place& place, const Work& work) { return perform(place, options, work); },
            [&]() -> decltype(auto) { return call(); });
    }

    /// The same for changes in the host's tables: `call(database)` runs inside a write transaction on that connection
    /// to the client's own file, and that it has returned is committed with what it did. So it happens exactly once.
    /// Errors: as `backlite::Transaction`; another transaction that keeps it from beginning spends no attempt.
    template <class F>
    auto tx(std::string_view name, SQLite::Database& database, F&& call) {
        static_assert(std::invocable<F&, SQLite::Database&>, "backlite: it is called with the SQLite::Database");
        return keep<std::remove_cvref_t<std::invoke_result_t<F&, SQLite::Database&>>>(
            enter("step", name),
            [&](const Place& place, const Work& work) { return perform(place, {}, work, &database); },
            [&]() -> decltype(auto) { return call(database); });
    }

    /// Goes on so long after it was first reached, in any unit, rounded up to milliseconds. Holds no worker meanwhile.
    /// Errors: ConfigError for a time that is negative or too long.
    template <class Rep, class Period>
    void sleep(std::string_view name, std::chrono::duration<Rep, Period> time) {
        sleep_for(enter("sleep", name), to_duration(time));
    }

    /// The next signal of this name: see `ClientHandle::signal`. nullopt if none has come so long after this was first
    /// reached. Each signal is read once. Holds no worker meanwhile. Errors: as `sleep`.
    template <class V, class Rep, class Period>
    [[nodiscard]] std::optional<V> wait(std::string_view name, std::chrono::duration<Rep, Period> timeout) {
        const Place place = enter("wait", name);
        const std::optional<std::string> json = receive(place, to_duration(timeout));
        if (!json) return std::nullopt;
        return read<V>(place, *json);
    }

    /// Adds tasks, and goes on when all of them have ended: what each returned, in their order, whatever their queue's
    /// retention; nothing, if `T` has no `Result`. Holds no worker meanwhile, and wakes once. A cancel of the flow
    /// cancels them. Their unique keys do not count. Errors: ChildrenFailed if some did not succeed; as `AddOp::save`.
    template <class T>
    auto map(std::string_view name, const std::vector<T>& tasks) {
        static_assert(detail::check_task<T>());
        const Place place = enter("map", name);
        join(place, tasks.size(), [&](AddOp& op, std::size_t from, std::size_t to) {
            op.reserve(to - from);
            for (std::size_t i = from; i < to; ++i) op.push(tasks[i]);
        });
        using R = detail::ResultOf<T>;
        if constexpr (std::is_void_v<R>) {
            collect(place, 0, [](const std::string&) {});
        } else {
            std::vector<R> results;
            results.reserve(tasks.size());
            collect(place, tasks.size(), [&](const std::string& json) { results.push_back(read<R>(place, json)); });
            return results;
        }
    }

    /// If the flow fails, or is cancelled, `call()` runs, as a step of its own: the undos of what was reached, the last
    /// one first. One that fails for good holds up no other. It must do no harm where its step has not happened. The
    /// cancel that it undoes for does not fire its stop token. It is called after the function has been left: what it
    /// needs of that, it captures by value.
    template <class F>
    void undo(std::string_view name, F&& call) {
        undo(name, StepOptions{}, std::forward<F>(call));
    }
    /// The same, with attempts, backoff and timeout of its own. Errors: ConfigError if these cannot be.
    template <class F>
    void undo(std::string_view name, StepOptions options, F&& call) {
        static_assert(std::invocable<F&>, "backlite: an undo is called without arguments");
        add_undo({enter("undo", name), std::move(options), std::function<void()>(std::forward<F>(call))});
    }

    /// An idempotency key: the same each time that this step runs, and no other's. Outside of steps the flow's own.
    [[nodiscard]] std::string key() const;

    /// The attempt that runs the flow now. Its stop token fires at a step's timeout, and when the flow is to stop.
    [[nodiscard]] Context& context() noexcept { return context_; }

    /// For `Client::register_flow`: calls `body`, and says what becomes of the task. Errors: what `body` throws.
    [[nodiscard]] Outcome run(const std::function<Outcome()>& body);

private:
    using Work = std::function<std::string()>;  ///< does it, and gives its value's JSON

    struct Undo {
        Place place{};
        StepOptions options{};
        std::function<void()> call{};
    };

    /// Runs `perform(place, work)`, where `work` notes what `call` returns; the value, of now or of then.
    template <class R, class Perform, class F>
    R keep(const Place& place, Perform&& perform, F&& call) {
        static_assert(std::is_void_v<R> || std::movable<R>, "backlite: a step returns nothing, or a value");
        if constexpr (std::is_void_v<R>) {
            static_cast<void>(perform(place, [&] {
                call();
                return std::string{"null"};
            }));
        } else {
            static_assert(detail::JsonConvertible<R> && std::default_initializable<R>,
                          "backlite: what a step returns is kept as JSON: its type needs a default constructor, a "
                          "to_json and a from_json in its own namespace, or "
                          "NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
            std::optional<R> made;
            const std::optional<std::string> json = perform(place, [&] {
                made.emplace(call());
                return detail::write_json(*made);
            });
            return json ? read<R>(place, *json) : std::move(*made);
        }
    }

    template <class V>
    [[nodiscard]] V read(const Place& place, const std::string& json) const {
        std::string why;
        try {
            return detail::read_json<V>(json);
        } catch (const std::bad_alloc&) {
            throw;
        } catch (...) {
            why = detail::current_error();
        }
        cannot_read(place, detail::type_name<V>(), why);
    }
    /// The value of a step that has returned; nullopt if it has done so now. `database`: in a transaction there.
    std::optional<std::string> perform(const Place& place, const StepOptions& options, const Work& work,
                                       SQLite::Database* database = nullptr);
    void sleep_for(const Place& place, Duration time);
    std::optional<std::string> receive(const Place& place, Duration timeout);

    /// Has the children added, so many at a time, and all of them ended. Errors: Suspended.
    void join(const Place& place, std::size_t count,
              const std::function<void(AddOp& op, std::size_t from, std::size_t to)>& push);
    /// Gives the results of `count` children, in pages. Errors: ChildrenFailed.
    void collect(const Place& place, std::size_t count, const std::function<void(const std::string& json)>& take);
    /// The flow is cancelled while it waits for them.
    void cancel_children();
    /// Those that have not ended, from `after` on. Errors: Suspended.
    [[nodiscard]] std::vector<TaskId> children(const std::string& after, int limit);

    /// Calls it; the text of what it threw, nullopt if it returned. Errors: Suspended.
    [[nodiscard]] std::optional<std::string> attempt(const Place& place, Duration timeout, const Work& work,
                                                     std::string& json, SQLite::Database* database);
    [[nodiscard]] bool attempt_within(const Place& place, const Work& work, std::string& json,
                                      SQLite::Database& database);
    /// What the step returns. Errors: EncodeError if that is too large.
    [[nodiscard]] std::string made_by(const Work& work) const;
    [[noreturn]] void fail_step(const Place& place, const StepOptions& options, int spent, const std::string& reason);

    /// Errors: ConfigError.
    void demand_sound(const Place& place, const StepOptions& options) const;
    void add_undo(Undo undo);
    /// The undos, and how the flow ends. `why`: it failed; nullopt: it was cancelled.
    [[nodiscard]] Outcome undo_all(const std::optional<std::string>& why);
    /// With this it is a flow that has begun, whose cancel lets it undo. Errors: Suspended.
    void note_cancel();
    std::vector<Undo> undos_{};
};

namespace detail {

/// The processor of a queue of flows.
template <class T, class F>
[[nodiscard]] auto flow_processor(F flow) {
    static_assert(std::invocable<F&, Flow&, const T&>, "backlite: a flow takes (backlite::Flow&, const T&)");
    using Returned = std::invoke_result_t<F&, Flow&, const T&>;
    static_assert(ReturnedBy<Returned, T>,
                  "backlite: a flow returns void, backlite::Outcome, or the Result of its task type");
    return [flow = std::move(flow)](Context& context, const T& task) mutable -> Outcome {
        Flow run(context);
        return run.run([&]() -> Outcome {
            if constexpr (std::is_void_v<Returned>) {
                flow(run, task);
                return Outcome::success();
            } else if constexpr (std::convertible_to<Returned, Outcome>) {
                return flow(run, task);
            } else {
                const ResultOf<T> result = flow(run, task);
                return Outcome::success(result);
            }
        });
    };
}

}  // namespace detail

template <class T, class F>
void Client::register_flow(F flow) {
    register_queue<T>(detail::flow_processor<T>(std::move(flow)));
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/flow.ipp>
#endif
