// SPDX-License-Identifier: MIT
#pragma once
// ClientHandle: what `Context::client()` returns; a client without register_queue, install and start.

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/add_op.hpp>
#include <backlite/adder.hpp>
#include <backlite/base/add_target.hpp>
#include <backlite/base/codec.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/task.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace detail {
/// Opens a store in SQLite. Errors: as Client.
[[nodiscard]] std::shared_ptr<engine::Engine> make_engine(ClientConfig config);
}  // namespace detail

/// A reference to a client: a value, cheap to copy. A `Client` is one too, and converts by copying.
/// It may outlive the client: once that is destroyed and its last task has ended, calls throw UsageError. The file is
/// closed when the last handle is gone.
/// Threads: all functions from any thread. In a forked child all of them throw ForkError.
class ClientHandle {
public:
    /// Used by `Context` and `Client`.
    explicit ClientHandle(std::shared_ptr<engine::Engine> engine) noexcept;

    /// Adds tasks, in any mixture of types, or ranges of tasks: `add(a, b).wait(1min).save()`. Nothing happens before
    /// `save`. Encodes the tasks at once and keeps no reference to them.
    template <class... Tasks>
    [[nodiscard]] AddOp add(Tasks&&... tasks) const {
        return Adder(target()).add(tasks...);
    }

    /// For a function that only adds tasks: it includes <backlite/adder.hpp>, takes an Adder, and is given the client.
    operator Adder() const noexcept;  // NOLINT(google-explicit-constructor)

    /// Stops: no new starts, and unstarted claims go back. Waits up to `patience` for running tasks, then fires their
    /// stop tokens and waits up to one second more; returns as soon as all is done. True if every task ended within
    /// `patience` and every outcome is written; true at once if nothing was started. After false, tasks that ignore
    /// their token may still run; `start` throws until they have ended. From a thread of the client, say inside a task,
    /// it only asks for the stop and returns false. Errors: ConfigError if `patience` is negative.
    bool stop(Duration patience) const;

    /// Where a task stands. Errors: StorageError. Blocks for a short read.
    [[nodiscard]] TaskStatus status(const TaskId& id) const;

    /// Waits until a task has finished, and says how; nullopt if it has not within `patience`, or `stop` was requested.
    /// `Duration::max()`: without limit. A task that is not in the file is not_found at once, unless this client has
    /// ended it: a started client remembers the last 4,096 that were not kept. On a client that is not started it looks
    /// into the file again and again, every 20 ms at the most.
    /// Inside a task it holds that task's worker: where all workers wait, nothing that they wait for runs, and a task
    /// that waits for itself waits in vain.
    /// Errors: UsageError on a thread that has a Transaction open on the file, or is the dispatcher's (on_fatal), and
    /// once the client has ended; ConfigError if `patience` is negative; StorageError. Blocks.
    [[nodiscard]] std::optional<TaskStatus> wait(const TaskId& id, Duration patience, std::stop_token stop = {}) const;

    /// Calls `callback` once a task has finished, whichever client ends it, or soon if it has already: once, and on a
    /// thread of the library that calls one after the other, so keep it short. Where the client stops first and is
    /// not started again, it is not called: at its end the client calls those whose task has finished, for one second
    /// at most, waits without limit for the one that runs, and drops the others. What it throws is logged.
    /// Errors: UsageError if the client is not started; ConfigError if it is empty; Error if the system has no thread.
    void on_finished(const TaskId& id, std::function<void(const FinishedTask&)> callback) const;

    /// What the processor of a task of type `T` returned; nullopt unless it has succeeded, is kept by its queue's
    /// retention, and returned something. A task that another program ran may have a result of another type.
    /// Errors: EncodeError naming queue, task and type if it cannot be read as the `Result` of `T`, or has more than
    /// `max_payload` bytes: it stays in the file; UsageError if the task is of another queue than `T`; what
    /// `T::config()` throws; StorageError. Blocks for a short read.
    template <class T>
    [[nodiscard]] auto result(const TaskId& id) const -> std::optional<detail::ResultOf<T>> {
        static_assert(detail::check_task<T>() && detail::check_result<T>());
        const std::optional<detail::StoredResult> stored =
            stored_result(id, detail::queue_config<T>().name, detail::type_name<detail::ResultOf<T>>());
        if (!stored) return std::nullopt;
        return detail::decode_result<detail::ResultOf<T>>(*stored, id);
    }

    /// What a task has said last of how far it is, by `Context::progress`; nullopt: nothing yet, or it is not there. It
    /// is written a moment after it was said, at most once a second. Errors: StorageError. Blocks for a short read.
    [[nodiscard]] std::optional<Progress> progress(const TaskId& id) const;

    /// How many unfinished tasks each queue has, including queues that nobody registered. Takes a step for each task.
    /// Errors: StorageError.
    [[nodiscard]] TaskCounts counts() const;

    /// Ends a task before its time: one that waits never starts, one that is claimed is asked to stop, within 100 ms in
    /// whatever process (StopReason::cancelled), and its processor is not entered if it was not yet. Unless that
    /// returns success, the task ends as cancelled: kept as its queue's retention says, if this client has registered
    /// the queue, else for seven days. Errors: UsageError on a thread that has a Transaction open on the file;
    /// BusyError, StorageError. Blocks until it is committed.
    CancelResult cancel(const TaskId& id) const;  // NOLINT(modernize-use-nodiscard): asking is enough

    /// Sends a value to a flow, which reads it with `Flow::wait` under the same name: those of one name in the order in
    /// which they were sent. It is kept from when the flow was added until it ends, and wakes one that waits for it.
    /// Errors: UsageError for a name that is empty, longer than 200 bytes, no UTF-8, or holds control characters, and
    /// on a thread that has a Transaction open on the file; EncodeError for a value that cannot be written or is larger
    /// than `max_payload`; BusyError, StorageError. Blocks until it is committed.
    template <class V>
    SignalResult signal(const TaskId& id, std::string_view name,  // NOLINT(modernize-use-nodiscard): sent is sent
                        const V& value) const {
        static_assert(detail::Fieldless<V> || detail::WritableAs<V, detail::JsonOf<V>>,
                      "backlite: this value cannot be written as JSON: give its type a to_json(nlohmann::json&, const "
                      "T&) in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
        return send(id, name, detail::encode_value(value, [&](const std::string& why) { cannot_send(id, name, why); }));
    }

    /// From when this returns, no task of the queue starts in this client; within 100 ms, in none on the file where
    /// file events exist or `watch_interval` is at most 50 ms, else within two looks. What runs goes on, tasks can be
    /// added, and the pause stays until `resume`, over restarts too. `queue`: a name, whether it is registered or not.
    /// Waits for tasks of the queue that are about to start, but not inside a task of this client.
    /// Errors: ConfigError for a name that no queue can have; UsageError on a thread that has a Transaction open on the
    /// file; BusyError, StorageError. Blocks until it is committed.
    void pause(std::string_view queue) const;

    /// Ends a pause; nothing if there is none. Errors: as above. Blocks until it is committed.
    void resume(std::string_view queue) const;

    /// Stores a schedule: at each of its slots a task equal to `task` is added, by whatever client is started on the
    /// file then. True if there is no schedule of that name, or its definition, its task or the configuration of the
    /// task's queue is another now; then slots are counted from now if its times are others, and no slot of the past
    /// runs. Otherwise nothing changes: call it at every start of the program. Needs <backlite/schedule.hpp>.
    /// Errors: ConfigError naming the schedule, the field and the value; EncodeError; UsageError on a thread that has a
    /// Transaction open on the file; BusyError, StorageError. Then nothing is stored. Blocks until it is committed.
    template <class T>
    bool schedule(const Schedule& schedule, const T& task) const;

    /// Deletes a schedule; false if there is none of that name. Tasks that it has added stay. Errors: as above. Blocks
    /// until it is committed. Needs <backlite/schedule.hpp>, as the next three.
    bool unschedule(std::string_view name) const;

    /// No slot of the schedule runs until `resume_schedule`, which leaves out those of the pause; false if there is
    /// none of that name. Errors: as above; `resume_schedule` also ConfigError if what is stored cannot be read. Blocks
    /// until it is committed.
    bool pause_schedule(std::string_view name) const;
    /// Ends a pause. As above.
    bool resume_schedule(std::string_view name) const;

    /// Adds a task of the schedule now, whether it is paused or not, and says which. Its slots stay as they are.
    /// nullopt: none was added, because the one before is unfinished (Overlap::skip), or another has its unique key.
    /// Errors: UsageError if there is no schedule of that name; ConfigError if what is stored cannot be read; and as
    /// above. Blocks until it is committed.
    std::optional<TaskId> run_schedule(std::string_view name) const;  // NOLINT(modernize-use-nodiscard): it is added

    /// All schedules of the file, by name. Errors: StorageError. Blocks for a short read. Needs
    /// <backlite/schedule.hpp>.
    [[nodiscard]] std::vector<ScheduleInfo> schedules() const;

    /// Waits until no task of the queues that this client has registered is due or runs, in whatever client; at once if
    /// none is. False if that did not come within `patience`. A task that is paused is due, and one that waits for its
    /// time, say for another attempt, is not.
    /// Errors: UsageError inside a task of this client, which would wait for itself; ConfigError if `patience` is
    /// negative; StorageError. Blocks.
    [[nodiscard]] bool wait_idle(Duration patience) const;

    /// What the client was opened with. Valid as long as the handle, also after the client has ended.
    [[nodiscard]] const ClientConfig& config() const noexcept;

    /// Makes the dispatcher look at the file now. Never needed: it sees every commit by itself.
    void notify() const;

private:
    friend Admin;
    friend Client;
    friend Transaction;
    friend class testing::TestClient;

    [[nodiscard]] detail::AddTarget& target() const noexcept;
    SignalResult send(const TaskId& id, std::string_view name, const std::string& json) const;
    [[noreturn]] static void cannot_send(const TaskId& id, std::string_view name, const std::string& why);
    [[nodiscard]] std::optional<detail::StoredResult> stored_result(const TaskId& id, const std::string& queue,
                                                                    std::string_view type) const;

    bool put_schedule(const Schedule& schedule, detail::NewTask task) const;

    std::shared_ptr<engine::Engine> engine_;
};

template <class T>
auto Context::parent_result(const TaskId& id) const {
    return client().result<T>(id);
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/client_handle.ipp>
#endif
