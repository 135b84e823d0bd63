// SPDX-License-Identifier: MIT
#pragma once
// Transaction: a write transaction on the host's own connection, in which tasks can be added.

#include <memory>
#include <string>
#include <utility>

#include <backlite/add_op.hpp>
#include <backlite/base/json.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/fwd.hpp>

namespace SQLite {
class Database;
}

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace engine {
class PendingAdds;
}
namespace store {
class HostTransaction;
}

/// Begins a write transaction and rolls it back unless `commit` or `complete` was called. While it is open, no other
/// connection can write to the file: keep it short.
/// Threads: those of its connection, one at a time; begin and end it on the same thread. Must not outlive client and
/// connection.
class Transaction {
public:
    /// Errors: ConfigError if the connection is on another file than the client; UsageError if it has a transaction
    /// open; BusyError if others keep the write lock for the client's `busy_timeout`; StorageError, also if the client
    /// has stopped itself. Blocks for `busy_timeout` at most: the connection's own busy timeout or handler does not
    /// count.
    Transaction(const ClientHandle& client, SQLite::Database& database);
    /// One in which a task ends with its effect: whatever it does on `database` and its success are one commit, which
    /// comes exactly once, however often the task is run. Must not outlive the processor's call. Errors: as above, and
    /// UsageError if the context belongs to no client.
    Transaction(const Context& context, SQLite::Database& database);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    /// The host's connection.
    [[nodiscard]] SQLite::Database& database() noexcept;

    /// Commits, and wakes the client's dispatcher.
    /// Errors: StorageError; UsageError if it has ended already, or was begun for a task, which `complete` ends. After
    /// an I/O error `added()` says unknown; otherwise nothing is committed, and the transaction is rolled back at the
    /// latest by the destructor.
    void commit();

    /// Ends the task with success, and commits that with what was done so far. From then on, what the processor returns
    /// or throws is logged and changes nothing, the claim is over, and a death of the process is no crash of the task.
    /// Errors: ClaimLost if the claim was taken back, and the transaction is rolled back; else as `commit`, and
    /// UsageError if it was not begun for a task. If the commit failed, the processor may try anew in another one, or
    /// fail.
    void complete() { complete_with({}); }

    /// The same with a result, which is kept as one that the processor returns: see `ClientHandle::result`. What that
    /// returns afterwards is none. Errors: as above, and EncodeError if it cannot be written or is larger than
    /// `max_payload`; then the transaction goes on.
    template <class R>
    void complete(const R& result) {
        static_assert(detail::Fieldless<R> || detail::WritableAs<R, detail::JsonOf<R>>,
                      "backlite: this result cannot be written as JSON: give its type a to_json(nlohmann::json&, const "
                      "T&) in its own namespace");
        complete_with(detail::encode_result(result));
    }

    /// Ends it without effect. Does nothing if it has ended. If SQLite has no memory even for that, it stays open, and
    /// the destructor tries again.
    void rollback() noexcept;

private:
    Transaction(std::shared_ptr<engine::Engine> engine, const Context* context, SQLite::Database& database);

    void complete_with(std::string result);
    void end(const char* call);

    const std::shared_ptr<engine::Engine> engine_;
    const Context* const context_;  ///< null: it is for no task
    SQLite::Database& database_;
    std::unique_ptr<engine::PendingAdds> events_;   ///< null if nobody observes, and once it has ended
    std::unique_ptr<store::HostTransaction> open_;  ///< null once it has ended
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/transaction.ipp>
#endif
