// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/host_transaction.hpp>.

#include <backlite/store/sqlite/host_transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::string main_file(SQLite::Database& database) {
    const char* name = sqlite3_db_filename(handle_of(database), "main");
    return name == nullptr ? "" : name;
}

BACKLITE_DECL HostTransaction::HostTransaction(SQLite::Database& database, OpenTransactions& open,
                                               platform::FileIdentity file)
    : db_(handle_of(database)), open_(open), file_(file) {
    execute(db_, read_schema);
    prepare_ahead(db_, {&rollback_});
    open_.add(file_, thread_);
}

BACKLITE_DECL HostTransaction::~HostTransaction() {
    // The second time somebody may have let go of some memory.
    if (!roll_back()) static_cast<void>(roll_back());
    open_.remove(file_, thread_);
}

BACKLITE_DECL void HostTransaction::begin(Duration patience, const std::string& file) {
    const auto until = saturating_add(std::chrono::steady_clock::now(), patience);
    const std::string sql = detail::format("BEGIN; {}; DELETE FROM main.backlite_tasks WHERE 0", {read_schema});
    for (;;) {
        const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
        if (code == SQLITE_OK) return;
        if ((code & 0xff) != SQLITE_BUSY) throw_sqlite(db_, "Transaction");
        if (!run_ahead(db_, rollback_) || std::chrono::steady_clock::now() >= until) {
            throw BusyError(detail::format("Transaction: database \"{}\" stayed locked by another connection for {} ms",
                                           {file, patience.count()}),
                            code);
        }
        sqlite3_sleep(1);
    }
}

BACKLITE_DECL void HostTransaction::commit() {
    if (sqlite3_exec(db_, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK) return;
    const int code = error_code(db_);
    throw_sqlite(db_, "COMMIT", (code & 0xff) == SQLITE_IOERR ? Added::unknown : Added::no);
}

BACKLITE_DECL bool HostTransaction::roll_back() noexcept {
    if (sqlite3_get_autocommit(db_) == 0) run_ahead(db_, rollback_);
    return sqlite3_get_autocommit(db_) != 0;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
