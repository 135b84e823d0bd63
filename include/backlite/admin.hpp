// SPDX-License-Identifier: MIT
#pragma once
// Admin: looks at the tasks of a file and changes them, beside a client or on a file that nobody runs.
//     backlite::Admin admin{"app.db"};
//     for (const auto& task : admin.tasks({.state = backlite::TaskState::failed}).tasks) …

#include <memory>
#include <optional>
#include <string>
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
    /// after about 100 ms and says where it goes on.
    /// Errors: ConfigError for a filter, a limit or a token that no list has; StorageError. Blocks for a short read.
    [[nodiscard]] TaskPage tasks(const TaskFilter& filter = {}, const Page& page = {}) const;

    /// All that is known of one task; nullopt if it was never added, or has finished and is not kept.
    /// Errors: StorageError. Blocks for a short read.
    [[nodiscard]] std::optional<TaskDetails> task(const TaskId& id) const;

    /// The queues that have unfinished tasks, were counted within the last hour, or have rules of their own, by name;
    /// a thousand of each kind at most. Counts stop at a bound, and say so.
    /// Errors: StorageError. Blocks for a short read.
    [[nodiscard]] std::vector<QueueInfo> queues() const;

private:
    [[nodiscard]] admin::DatabaseView& view(const char* call) const;

    std::shared_ptr<engine::Engine> engine_;
    std::shared_ptr<admin::DatabaseView> view_;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin.ipp>
#endif
