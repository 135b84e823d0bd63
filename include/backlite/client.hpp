// SPDX-License-Identifier: MIT
#pragma once
// Client: adds tasks to a database file, and runs them once it is started.

#include <memory>
#include <stop_token>
#include <utility>

#include <backlite/batch.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/config.hpp>
#include <backlite/queue.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// A client of one database file. Without `start` it only adds and looks; started, it also runs the tasks of the queues
/// that it registered. Several clients, in one process or many, may share a file.
/// Threads: all functions from any thread, unless they say otherwise. In a forked child all of them throw ForkError.
/// A client in static storage is not supported: its threads may outlive what its tasks use.
class Client : public ClientHandle {
public:
    /// Opens the file, turns it to WAL mode, and installs the tables unless `auto_install` is off.
    /// Errors: ConfigError naming the value that cannot work; StorageError if the file cannot be used; Error itself if
    /// there are observers and the system has no thread for them.
    explicit Client(ClientConfig config);
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Fires the stop tokens, waits without limit for running tasks (and logs each second which ones), then at most
    /// `busy_timeout` for outcomes that are not written yet; those are logged, and their tasks may run again.
    /// In the end it tells waiting events for one second at most, and waits without limit for the observer that runs.
    /// Inside one of the client's own tasks or observers it returns at once: the rest happens when that has ended. Two
    /// clients whose tasks destroy each other wait for each other for ever.
    ~Client();

    /// Creates the tables, or migrates them from an older version. Does nothing if they are up to date.
    /// Errors: StorageError if tables of our names are not ours, or the file needs a newer library.
    void install();

    /// Registers the queue of `T`; `processor` takes `(const T&)` or `(Context&, const T&)` and returns nothing or an
    /// Outcome. It runs on several threads at once.
    /// Errors: ConfigError if the name is taken or the configuration cannot work; UsageError while the client is
    /// started.
    template <class T, class F>
    void register_queue(F processor) {
        register_queue(Queue<T>(std::move(processor)));
    }
    /// The same, spelled out.
    template <class T>
    void register_queue(Queue<T> queue) {
        register_untyped(std::move(queue).release());
    }

    /// Registers the queue of `T` as one of batches: `processor` takes `(std::span<const T>)` or `(BatchContext&,
    /// std::span<const T>)` and returns nothing, or a `std::vector<Outcome>` with one for each task; what it throws
    /// fails an attempt of each. It runs on several threads at once. Errors: as above; ConfigError for options that
    /// cannot work, `limits.in_order`, `limits.running_per_partition`, or a `max_crashes` of 1.
    template <class T, class F>
    void register_batch_queue(BatchOptions options, F processor) {
        register_batch_queue(BatchQueue<T>(options, std::move(processor)));
    }
    /// The same, spelled out.
    template <class T>
    void register_batch_queue(BatchQueue<T> queue) {
        register_untyped(std::move(queue).release());
    }

    /// Registers the queue of `T` as one of flows: `flow` takes `(Flow&, const T&)` and returns nothing, an Outcome, or
    /// the `Result` of `T`. See Flow, whose header <backlite/flow.hpp> this needs. Errors: as above.
    template <class T, class F>
    void register_flow(F flow);

    /// Starts the workers. Does nothing if they are started. Takes back the claims of clients that died.
    /// Once `hard_stop` is requested the client stops by itself: no new starts, and the stop tokens of tasks fire.
    /// If an earlier stop has only outcomes left to write, waits up to `busy_timeout` for it.
    /// Errors: UsageError while a stop is not over; FullError if the disk has no room for the side file; StorageError;
    /// Error itself if the system has no thread or no descriptor to give. After each of them it can be called again.
    void start(std::stop_token hard_stop = {});

private:
    void register_untyped(std::unique_ptr<detail::QueueBase> queue);
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/client.ipp>
#endif
