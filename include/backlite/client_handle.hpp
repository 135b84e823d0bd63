// SPDX-License-Identifier: MIT
#pragma once
// ClientHandle: what `Context::client()` returns; a client without register_queue, install and start.

#include <memory>
#include <utility>

#include <backlite/add_op.hpp>
#include <backlite/adder.hpp>
#include <backlite/base/add_target.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
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

    /// How many unfinished tasks each queue has, including queues that nobody registered. Takes a step for each task.
    /// Errors: StorageError.
    [[nodiscard]] TaskCounts counts() const;

    /// What the client was opened with. Valid as long as the handle, also after the client has ended.
    [[nodiscard]] const ClientConfig& config() const noexcept;

    /// Makes the dispatcher look at the file now. Never needed: it sees every commit by itself.
    void notify() const;

private:
    friend Client;
    friend Transaction;
    friend class testing::TestClient;

    [[nodiscard]] detail::AddTarget& target() const noexcept;

    std::shared_ptr<engine::Engine> engine_;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/client_handle.ipp>
#endif
