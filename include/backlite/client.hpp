// SPDX-License-Identifier: MIT
#pragma once
// Client: adds tasks to a database file, and runs them once it is started.

#include <memory>
#include <stop_token>
#include <utility>

#include <SQLiteCpp/Database.h>

#include <backlite/add_op.hpp>
#include <backlite/adder.hpp>
#include <backlite/config.hpp>
#include <backlite/id.hpp>
#include <backlite/queue.hpp>
#include <backlite/records.hpp>
#include <backlite/runtime/engine.hpp>
#include <backlite/runtime/thread.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// A handle on one database file. Without `start` it only adds and looks; started, it also runs the tasks of the queues
/// that it registered. Several clients, in one process or many, may share a file.
/// Threads: all functions from any thread, unless they say otherwise. In a forked child all of them throw ForkError.
/// A client in static storage is not supported: its threads may outlive what its tasks use.
class Client {
public:
    /// Opens the file, turns it to WAL mode, and installs the tables unless `auto_install` is off.
    /// Errors: ConfigError naming the value that cannot work; StorageError if the file cannot be used.
    explicit Client(ClientConfig config) : engine_(std::make_shared<runtime::Engine>(std::move(config), this)) {}
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Fires the stop tokens, waits without limit for running tasks (and logs each second which ones), then at most
    /// `busy_timeout` for outcomes that are not written yet; those are logged, and their tasks may run again.
    /// Inside one of the client's own tasks it returns at once: the rest happens when that task has ended.
    ~Client() {
        if (engine_->forked()) {
            new std::shared_ptr(std::move(engine_));  // leaked: its threads and locks are the parent's
            return;
        }
        if (!engine_->on_own_thread()) {
            engine_->shut_down();
            return;
        }
        engine_->client().clear();
        runtime::start_thread(nullptr, "backlite-end", [engine = std::move(engine_)] { engine->shut_down(); }).detach();
    }

    /// Creates the tables, or migrates them from an older version. Does nothing if they are up to date.
    /// Errors: StorageError if tables of our names are not ours, or the file needs a newer library.
    void install() { engine_->install(); }

    /// Registers the queue of `T`; `processor` takes `(const T&)` or `(Context&, const T&)` and returns nothing or an
    /// Outcome. It runs on several threads at once.
    /// Errors: ConfigError if the name is taken, the configuration cannot work, or the client is started.
    template <class T, class F>
    void register_queue(F processor) {
        register_queue(Queue<T>(std::move(processor)));
    }
    /// The same, spelled out.
    template <class T>
    void register_queue(Queue<T> queue) {
        engine_->register_queue(std::move(queue).release());
    }

    /// Starts the workers. Does nothing if they are started. Takes back what clients that died have claimed.
    /// Once `hard_stop` is requested the client stops by itself: no new starts, and the stop tokens of tasks fire.
    /// Waits at most `busy_timeout` for a stop of which only outcomes are left to write.
    /// Errors: ConfigError while a stop is not over; FullError if the disk has no room for the side file; StorageError;
    /// Error itself if the system has no thread to give. After each of them it can be called again.
    void start(std::stop_token hard_stop = {}) { engine_->start(std::move(hard_stop)); }

    /// Stops: no new starts, and unstarted claims go back. Waits up to `patience` for running tasks, then fires their
    /// stop tokens and waits up to one second more; returns as soon as all is done. True if every task ended within
    /// `patience` and every outcome is written; true at once if nothing was started. After false, tasks that ignore
    /// their token may still run; `start` throws until they have ended. From a thread of the client, say inside a task,
    /// it only asks for the stop and returns false. Errors: ConfigError if `patience` is negative.
    bool stop(Duration patience) { return engine_->stop(patience); }

    /// Adds tasks, in any mixture of types, or ranges of tasks: `add(a, b).wait(1min).save()`. Nothing happens before
    /// `save`. The tasks are encoded at once, and nothing of them is kept.
    template <class... Tasks>
    [[nodiscard]] AddOp add(Tasks&&... tasks) {
        return Adder(*this).add(tasks...);
    }

    /// For a function that only adds tasks: it includes <backlite/adder.hpp>, takes an Adder, and is given the client.
    operator Adder() noexcept { return Adder(*engine_); }  // NOLINT(google-explicit-constructor)

    /// Where a task stands. Errors: StorageError. Blocks for a short read.
    [[nodiscard]] TaskStatus status(const TaskId& id) { return engine_->status(id); }

    /// How many unfinished tasks each queue has, also queues that nobody registered. Costs a step for each task.
    /// Errors: StorageError.
    [[nodiscard]] TaskCounts counts() { return engine_->counts(); }

    /// What the client was opened with.
    [[nodiscard]] const ClientConfig& config() const noexcept { return engine_->config(); }

    /// Makes the dispatcher look at the file now. Never needed: it sees every commit by itself.
    void notify() {
        engine_->check_fork("Client::notify");
        engine_->refresh();
    }

private:
    friend Transaction;

    std::shared_ptr<runtime::Engine> engine_;
};

inline Transaction::Transaction(Client& client, SQLite::Database& database) : Transaction(*client.engine_, database) {}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
