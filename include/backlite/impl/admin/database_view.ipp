// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin/database_view.hpp>.

#include <backlite/admin/database_view.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

BACKLITE_DECL UnavailableReason reason_of(const StorageError& error) noexcept {
    switch (error.code()) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL: return UnavailableReason::locked;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return UnavailableReason::not_a_database;
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
        case SQLITE_AUTH:
        case SQLITE_READONLY: return UnavailableReason::cannot_open;
        case SQLITE_INTERRUPT: return UnavailableReason::too_slow;
        default: return UnavailableReason::other;
    }
}

BACKLITE_DECL ReadConnection::ReadConnection(const std::string& file, const std::function<SQLite::Database()>& open,
                                             Duration busy_timeout)
    : identity_(platform::identify(file)), database_(open_database(file, open)) {
    sqlite3* db = database_.getHandle();
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, static_cast<int>(busy_timeout.count()));
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);  // the end of a last one would write
    store::sqlite::execute(db, "PRAGMA trusted_schema=OFF");
    store::sqlite::execute(db, "PRAGMA query_only=ON");  // a connection that the host opened may be able to write
    sqlite3_progress_handler(db, 2'000, &ReadConnection::on_progress, this);
}

BACKLITE_DECL std::int64_t ReadConnection::data_version() {
    until_ = (Steady::time_point::max)();
    store::sqlite::Run run(database_.getHandle(), data_version_);
    return run.step() ? run.integer(0) : 0;
}

BACKLITE_DECL SQLite::Database ReadConnection::open_database(const std::string& file,
                                                             const std::function<SQLite::Database()>& open) {
    try {
        if (open) return open();
        const std::optional<platform::FileFacts> found = platform::look_at(file);
        if (!found || !found->regular) {
            throw FileError(UnavailableReason::missing, fmt::format("there is no database file \"{}\"", file));
        }
        // "./" keeps a name from being taken for anything but a file.
        return SQLite::Database(file.front() == '/' ? file : "./" + file,
                                SQLite::OPEN_READONLY | SQLITE_OPEN_PRIVATECACHE);
    } catch (const SQLite::Exception& error) {
        store::sqlite::throw_sqlite(
            error.getExtendedErrorCode() != 0 ? error.getExtendedErrorCode() : error.getErrorCode(),
            fmt::format("database \"{}\" cannot be opened: {}", file, error.what()));
    }
}

BACKLITE_DECL bool Turns::enter(Duration patience) {
    const auto end = std::chrono::steady_clock::now() + patience;
    std::unique_lock lock(mutex_);
    if (free_ > 0) {
        --free_;
        return true;
    }
    Waiter waiter;
    waiting_.push_back(&waiter);
    while (!waiter.admitted) {
        const auto now = std::chrono::steady_clock::now();
        if (now >= end) {
            waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &waiter));
            return false;
        }
        // glibc 2.36 can lose a signal
        waiter.turn.wait_until(lock, end - now > look_again ? now + look_again : end);
    }
    return true;
}

BACKLITE_DECL void Turns::leave() noexcept {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
        ++free_;
        return;
    }
    waiting_.front()->admitted = true;
    waiting_.front()->turn.notify_one();
    waiting_.erase(waiting_.begin());
}

BACKLITE_DECL std::string DatabaseView::version() {
    const std::lock_guard lock(watch_mutex_);
    if (!watch_ || watch_->identity() != platform::identify(name_)) {
        watch_.reset();
        watch_ = std::make_unique<ReadConnection>(name_, open_, busy_timeout_);
        ++generation_;
    }
    try {
        return fmt::format("{:x}.{}.{}", nonce_, generation_, watch_->data_version());
    } catch (...) {
        watch_.reset();
        throw;
    }
}

BACKLITE_DECL std::unique_ptr<ReadConnection> DatabaseView::take() {
    const platform::FileIdentity now = platform::identify(name_);
    {
        std::vector<std::unique_ptr<ReadConnection>> stale;  // closed after the mutex is free
        const std::lock_guard lock(mutex_);
        while (!idle_.empty()) {
            std::unique_ptr<ReadConnection> reader = std::move(idle_.back());
            idle_.pop_back();
            if (reader->identity() == now) return reader;
            stale.push_back(std::move(reader));
        }
    }
    return std::make_unique<ReadConnection>(name_, open_, busy_timeout_);
}

BACKLITE_DECL std::vector<std::unique_ptr<ReadConnection>> DatabaseView::room() {
    std::vector<std::unique_ptr<ReadConnection>> readers;
    readers.reserve(most_at_once);
    return readers;
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
