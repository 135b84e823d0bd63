// SPDX-License-Identifier: MIT
#pragma once
// Transaction: a write transaction on the host's own connection, in which tasks can be added.

#include <memory>
#include <string>
#include <utility>

#include <backlite/add_op.hpp>
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

/// Begins a write transaction and rolls it back unless `commit` was called. While it is open, no other connection can
/// write to the file: keep it short.
/// Threads: those of its connection, one at a time; begin and end it on the same thread. Must not outlive client and
/// connection.
class Transaction {
public:
    /// Errors: ConfigError if the connection is on another file than the client; UsageError if it has a transaction
    /// open; BusyError if others keep the write lock for the client's `busy_timeout`; StorageError, also if the client
    /// has stopped itself. Blocks for `busy_timeout` at most: the connection's own busy timeout or handler does not
    /// count.
    Transaction(const ClientHandle& client, SQLite::Database& database);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    /// The host's connection.
    [[nodiscard]] SQLite::Database& database() noexcept;

    /// Commits, and wakes the client's dispatcher.
    /// Errors: StorageError; UsageError if it has ended already. After an I/O error `added()` says unknown; otherwise
    /// nothing is committed, and the transaction is rolled back at the latest by the destructor.
    void commit();

    /// Ends it without effect. Does nothing if it has ended. If SQLite has no memory even for that, it stays open, and
    /// the destructor tries again.
    void rollback() noexcept;

private:
    const std::shared_ptr<engine::Engine> engine_;
    SQLite::Database& database_;
    std::unique_ptr<engine::PendingAdds> events_;   ///< null if nobody observes, and once it has ended
    std::unique_ptr<store::HostTransaction> open_;  ///< null once it has ended
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/transaction.ipp>
#endif
