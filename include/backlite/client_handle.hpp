// SPDX-License-Identifier: MIT
#pragma once
// ClientHandle: what `Context::client()` returns; a client without register_queue, install and start.

#include <memory>
#include <utility>

#include <backlite/add_op.hpp>
#include <backlite/adder.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// A reference to a client: a value, cheap to copy. A `Client` is one too, and converts by copying.
/// It may outlive the client: once that is destroyed and its last task has ended, calls throw UsageError. The file is
/// closed when the last handle is gone.
/// Threads: all functions from any thread. In a forked child all of them throw ForkError.
class ClientHandle {
public:
    /// Used by `Context` and `Client`.
    explicit ClientHandle(std::shared_ptr<engine::Engine> engine) noexcept : engine_(std::move(engine)) {}

    /// Adds tasks, in any mixture of types, or ranges of tasks: `add(a, b).wait(1min).save()`. Nothing happens before
    /// `save`. Encodes the tasks at once and keeps no reference to them.
    template <class... Tasks>
    [[nodiscard]] AddOp add(Tasks&&... tasks) const {
        return Adder(*engine_).add(tasks...);
    }

    /// For a function that only adds tasks: it includes <backlite/adder.hpp>, takes an Adder, and is given the client.
    operator Adder() const noexcept { return Adder(*engine_); }  // NOLINT(google-explicit-constructor)

    /// Stops: no new starts, and unstarted claims go back. Waits up to `patience` for running tasks, then fires their
    /// stop tokens and waits up to one second more; returns as soon as all is done. True if every task ended within
    /// `patience` and every outcome is written; true at once if nothing was started. After false, tasks that ignore
    /// their token may still run; `start` throws until they have ended. From a thread of the client, say inside a task,
    /// it only asks for the stop and returns false. Errors: ConfigError if `patience` is negative.
    bool stop(Duration patience) const {
        const auto engine = engine_;  // a stop callback of a task may destroy the client
        return engine->stop(patience);
    }

    /// Where a task stands. Errors: StorageError. Blocks for a short read.
    [[nodiscard]] TaskStatus status(const TaskId& id) const { return engine_->status(id); }

    /// How many unfinished tasks each queue has, including queues that nobody registered. Takes a step for each task.
    /// Errors: StorageError.
    [[nodiscard]] TaskCounts counts() const { return engine_->counts(); }

    /// What the client was opened with. Valid as long as the handle, also after the client has ended.
    [[nodiscard]] const ClientConfig& config() const noexcept { return engine_->config(); }

    /// Makes the dispatcher look at the file now. Never needed: it sees every commit by itself.
    void notify() const { engine_->notify(); }

private:
    friend Client;
    friend Transaction;

    std::shared_ptr<engine::Engine> engine_;
};

inline ClientHandle Context::client() const {
    std::shared_ptr<engine::Engine> engine = attempt_.engine.lock();
    if (!engine) throw UsageError("Context::client(): this context belongs to no client");
    return ClientHandle(std::move(engine));
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
