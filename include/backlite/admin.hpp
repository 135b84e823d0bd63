// SPDX-License-Identifier: MIT
#pragma once
// Admin: looks at the tasks of a file and changes them, beside a client or on a file that nobody runs.
//     backlite::Admin admin{"app.db"};
//     for (const auto& task : admin.tasks({.state = backlite::TaskState::failed}).tasks) …

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/admin_values.hpp>
#include <backlite/client.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/config.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace admin {
class DatabaseView;
}

/// How an action on many tasks goes on. Both are optional.
struct Bulk {
    /// Called after each transaction, and after each stretch of rows of which none is meant, with what is done so far,
    /// on the caller's thread. What it throws ends the action.
    std::function<void(const Affected&)> progress{};
    std::stop_token stop{};  ///< looked at before each of these: the action ends early and says what it did
};

/// The tasks and queues of one file, whoever runs them. A value: copies are of the same file.
/// It runs nothing, holds no claim and is no owner: on a file that nobody runs, what it changes waits there.
/// Threads: all functions from any thread. In a forked child all of them throw ForkError.
class Admin {
public:
    /// On the file of a client, through the client's own connection. As a handle it keeps the file open.
    explicit Admin(const ClientHandle& client);

    /// On a file of this library. It is neither made nor brought up to date. The file is in WAL mode afterwards, as
    /// clients leave it.
    /// Errors: ConfigError for a name or place that cannot work; StorageError if there is no such file, it is none of
    /// this library, needs a newer one, or cannot be written. Then nothing is changed.
    explicit Admin(std::string database);

    /// The same, of whose configuration `database`, `logger`, `durability`, `busy_timeout`, `open`, `clock` and
    /// `trust_file_system` count.
    explicit Admin(ClientConfig config);

    /// A page of the tasks that the filter finds: what waits by due time, what runs by the time of its claim, what did
    /// not succeed by its end, latest first; the rest unfinished ones first, latest first; with a tag or id, by id.
    /// Costs the same beside a million other tasks; where rows must be looked at one by one, as for a text, it ends
    /// after about 40 ms and says where it goes on.
    /// Errors: ConfigError for a filter, a limit or a token that no list has; StorageError. Blocks for a short read.
    [[nodiscard]] TaskPage tasks(const TaskFilter& filter = {}, const Page& page = {}) const;

    /// All that is known of one task; nullopt if it was never added, or has finished and is not kept.
    /// Errors: StorageError. Blocks for a short read.
    [[nodiscard]] std::optional<TaskDetails> task(const TaskId& id) const;

    /// The queues that have unfinished tasks, were counted within the last hour, or have rules of their own, by name;
    /// a thousand of each kind at most. Counts stop at a bound, and say so.
    /// Errors: StorageError. Blocks for a short read.
    [[nodiscard]] std::vector<QueueInfo> queues() const;

    /// The clients that are started on the file, by number. Errors: StorageError. Blocks for a short read.
    [[nodiscard]] std::vector<ClientInfo> clients() const;

    /// For all else that the file's tasks and schedules allow: the client, or one that is never started.
    [[nodiscard]] ClientHandle client() const;

    /// Ends unfinished tasks before their time, as ClientHandle::cancel does: one that runs is asked to stop, and
    /// counts as changed. Finished ones are skipped. On a file alone they are kept for seven days. The task of an id
    /// that is nowhere is neither counted nor skipped. Errors, of this and the other actions: UsageError on a thread
    /// that has a Transaction open on the file; BusyError, StorageError. Blocks until it is committed.
    Affected cancel(const TaskId& id) const;

    /// The same for all tasks that the filter finds, in transactions of 500 tasks, by id, the last first: what is added
    /// meanwhile is left out, and none comes twice. A task is skipped that is in another state than the filter says by
    /// the time of its change, or whose change the database refuses. What is done stays done, also if a later
    /// transaction fails. Errors: UsageError for a filter that narrows nothing, unless `all` is set; ConfigError for
    /// one that no list has; what `bulk.progress` throws.
    Affected cancel(const TaskFilter& filter, const Bulk& bulk = {}) const;

    /// Tasks that failed, were cancelled or have expired wait again, due now: each with its id, its history and its
    /// saved values, and with all its attempts to come. Skipped are those that are unfinished or succeeded, those whose
    /// payload was not kept (RetainData), and those whose unique key another has by now. Errors: as cancel.
    Affected retry(const TaskId& id) const;
    /// The same for all that the filter finds; see cancel.
    Affected retry(const TaskFilter& filter, const Bulk& bulk = {}) const;

    /// Deletes tasks, finished or not, with all that is known of them. Skipped are those that are claimed: cancel them.
    /// Errors: as cancel.
    Affected remove(const TaskId& id) const;
    /// The same for all that the filter finds; see cancel.
    Affected remove(const TaskFilter& filter, const Bulk& bulk = {}) const;

    /// Tasks that are due later are due now. Skipped are all others. Errors: as cancel.
    Affected run_now(const TaskId& id) const;
    /// The same for all that the filter finds; see cancel.
    Affected run_now(const TaskFilter& filter, const Bulk& bulk = {}) const;

    /// Gives unfinished tasks another priority, from -1000 to 1000; what is claimed has it at its next attempt. Skipped
    /// are those that have it, and finished ones. Errors: as cancel; ConfigError for another number.
    Affected set_priority(const TaskId& id, int priority) const;
    /// The same for all that the filter finds; see cancel.
    Affected set_priority(const TaskFilter& filter, int priority, const Bulk& bulk = {}) const;

    /// Sends a value to a flow; see ClientHandle::signal.
    template <class V>
    SignalResult signal(const TaskId& id, std::string_view name,  // NOLINT(modernize-use-nodiscard): sent is sent
                        const V& value) const {
        return client().signal(id, name, value);
    }

    /// Pauses a queue, whether anybody has registered it or not; see ClientHandle::pause.
    void pause(std::string_view queue) const;
    /// Ends a pause; see ClientHandle::resume.
    void resume(std::string_view queue) const;

    /// Stores limits of a queue, which hold for all clients at once, in place of what their programs say, until
    /// `reset_limits`. What runs goes on.
    /// Errors: ConfigError for limits or a name that cannot be; otherwise as pause.
    void set_limits(std::string_view queue, const Limits& limits) const;
    /// What the programs say holds again. Errors: as pause.
    void reset_limits(std::string_view queue) const;

    /// A random text of the file, made when it is first asked for and the same for every Admin on the file from then
    /// on: for signing what comes back from a browser, as the dashboard does. Errors: StorageError if the file does not
    /// take it, or holds one of fewer than 32 bytes; otherwise as pause.
    [[nodiscard]] std::string secret() const;

private:
    enum class Action { cancel, retry, remove, run_now, set_priority };

    static void check_priority(const char* call, int priority);

    Affected change(Action action, const TaskId& id, int priority = 0) const;
    Affected change(Action action, const TaskFilter& filter, const Bulk& bulk, int priority = 0) const;

    [[nodiscard]] admin::DatabaseView& view(const char* call) const;

    std::shared_ptr<engine::Engine> engine_;
    std::shared_ptr<admin::DatabaseView> view_;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin.ipp>
#endif
