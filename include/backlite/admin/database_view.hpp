// SPDX-License-Identifier: MIT
#pragma once
// File: the database that a dashboard shows, through connections of its own that only read.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <backlite/admin/queue_reads.hpp>
#include <backlite/admin/schema_features.hpp>
#include <backlite/admin/statistics_reads.hpp>
#include <backlite/admin/task_reads.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/database_file.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

/// Why a file cannot be shown.
enum class UnavailableReason {
    missing,         ///< there is no such file, or it is no regular file
    not_a_database,  ///< not SQLite's, or encrypted, or damaged
    no_tables,       ///< a database without backlite's tables
    foreign_tables,  ///< its tables lack columns that this library and Go's need: another program's, or far newer
    cannot_open,     ///< no right to read it, or its folder forbids the side files of WAL mode
    locked,          ///< another program kept it locked
    too_slow,        ///< the deadline passed
    busy,            ///< it passed while others looked
    other,           ///< SQLite or memory failed
};

/// Thrown inside the dashboard only. The text is for the log: it may name paths.
class FileError : public std::runtime_error {
public:
    FileError(UnavailableReason kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
    [[nodiscard]] UnavailableReason kind() const noexcept { return kind_; }

private:
    UnavailableReason kind_;
};

[[nodiscard]] inline UnavailableReason reason_of(const StorageError& error) noexcept {
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

/// Every SQL statement of the dashboard, on one connection.
struct Queries {
    Queries(sqlite3* db, const SchemaFeatures& found, const Bounds& bounds = {})
        : shape(found), statistics(db, found), queues(db, found, statistics, bounds), tasks(db, found, bounds) {}
    const SchemaFeatures shape;
    StatisticsReads statistics;
    QueueReads queues;
    TaskReads tasks;
};

/// One connection that only reads, and what is prepared on it. Threads: one at a time.
class ReadConnection {
public:
    using Steady = std::chrono::steady_clock;

    /// Errors: FileError, StorageError.
    ReadConnection(const std::string& file, const std::function<SQLite::Database()>& open, Duration busy_timeout)
        : identity_(store::sqlite::identify(file)), database_(open_database(file, open)) {
        sqlite3* db = database_.getHandle();
        sqlite3_extended_result_codes(db, 1);
        sqlite3_busy_timeout(db, static_cast<int>(busy_timeout.count()));
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);  // the end of a last one would write
        store::sqlite::execute(db, "PRAGMA trusted_schema=OFF");
        store::sqlite::execute(db, "PRAGMA query_only=ON");  // a connection that the host opened may be able to write
        sqlite3_progress_handler(db, 2'000, &ReadConnection::on_progress, this);
    }
    ReadConnection(const ReadConnection&) = delete;
    ReadConnection& operator=(const ReadConnection&) = delete;
    ~ReadConnection() { sqlite3_progress_handler(database_.getHandle(), 0, nullptr, nullptr); }

    /// Runs `look(Store&)` on one state of the file, which no commit changes meanwhile.
    /// Errors: FileError, StorageError (SQLITE_INTERRUPT once the time is up).
    template <class Look>
    auto read(Duration patience, Look&& look) {
        sqlite3* db = database_.getHandle();
        until_ = Steady::now() + patience;
        store::sqlite::execute(db, "BEGIN");
        const struct End {
            sqlite3* db;
            ReadConnection& reader;
            ~End() {
                reader.until_ = (Steady::time_point::max)();  // the end must not be stopped
                sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
            }
        } end{db, *this};
        // A schema that changed under the statements changes what they can be.
        const std::int64_t schema = schema_version();
        if (!store_ || schema != schema_) {
            store_.reset();
            const std::optional<SchemaFeatures> shape = shape_of(db);
            if (!shape) throw FileError(UnavailableReason::no_tables, "the database has no table backlite_tasks");
            if (!shape->readable) throw FileError(UnavailableReason::foreign_tables, "backlite's tables lack columns");
            store_ = std::make_unique<Queries>(db, *shape);
            schema_ = schema;
        }
        return std::forward<Look>(look)(*store_);
    }

    /// Changes with each commit of another connection.
    [[nodiscard]] std::int64_t data_version() {
        until_ = (Steady::time_point::max)();
        store::sqlite::Run run(database_.getHandle(), data_version_);
        return run.step() ? run.integer(0) : 0;
    }

    [[nodiscard]] store::sqlite::FileIdentity identity() const noexcept { return identity_; }

private:
    static SQLite::Database open_database(const std::string& file, const std::function<SQLite::Database()>& open) {
        try {
            if (open) return open();
            struct ::statx found {};
            if (!store::sqlite::look_at(file, found) || !S_ISREG(found.stx_mode)) {
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

    static int on_progress(void* self) noexcept {
        return Steady::now() > static_cast<ReadConnection*>(self)->until_ ? 1 : 0;
    }

    std::int64_t schema_version() {
        store::sqlite::Run run(database_.getHandle(), schema_version_);
        return run.step() ? run.integer(0) : 0;
    }

    const store::sqlite::FileIdentity identity_;
    SQLite::Database database_;
    Steady::time_point until_ = (Steady::time_point::max)();
    store::sqlite::Statement data_version_{"PRAGMA data_version"};
    store::sqlite::Statement schema_version_{"PRAGMA schema_version"};
    std::int64_t schema_ = 0;
    std::unique_ptr<Queries> store_{};  // its statements go before the database
};

/// Lets in a few at once; the others wait in the order in which they came. Threads: any.
class Turns {
public:
    explicit Turns(std::size_t most) noexcept : free_(most) {}

    /// False if there was no turn in time. REQUIRES: `leave` follows where it is true.
    [[nodiscard]] bool enter(Duration patience) {
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

    void leave() noexcept {
        const std::lock_guard lock(mutex_);
        if (waiting_.empty()) {
            ++free_;
            return;
        }
        waiting_.front()->admitted = true;
        waiting_.front()->turn.notify_one();
        waiting_.erase(waiting_.begin());
    }

private:
    static constexpr std::chrono::seconds look_again{1};

    struct Waiter {
        std::condition_variable turn{};
        bool admitted = false;
    };

    std::mutex mutex_{};
    // guarded by mutex_
    std::size_t free_;
    std::vector<Waiter*> waiting_{};
};

/// The file by its name: it may be missing, appear, be replaced.
/// Threads: any. At most `most_at_once` calls for people and as many for monitors read at once, each with a reader of
/// its own: a crowd that looks takes neither the host's processors nor its file descriptors.
class DatabaseView {
public:
    static constexpr std::size_t most_at_once = 4;
    enum class For { people, monitors };  ///< who is not kept waiting by the other

    DatabaseView(std::string name, std::function<SQLite::Database()> open, Duration busy_timeout)
        : name_(std::move(name)), open_(std::move(open)), busy_timeout_(busy_timeout) {}

    /// Runs `look(Store&)`; see Reader::read. Waits for its turn first, no longer than `patience`.
    template <class Look>
    auto read(Duration patience, Look&& look, For whom = For::people) {
        Turns& turns = whom == For::people ? people_ : monitors_;
        if (!turns.enter(patience)) throw FileError(UnavailableReason::busy, "too many looked at the file at once");
        const struct Leave {
            Turns& turns;
            ~Leave() { turns.leave(); }
        } leave{turns};
        Lease lease(*this, take());
        return lease.reader->read(patience, std::forward<Look>(look));
    }

    /// A text that changes with each commit, and when the file is replaced. Errors: as read.
    [[nodiscard]] std::string version() {
        const std::lock_guard lock(watch_mutex_);
        if (!watch_ || watch_->identity() != store::sqlite::identify(name_)) {
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

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
    struct Lease {
        Lease(DatabaseView& owner, std::unique_ptr<ReadConnection> taken) noexcept
            : file(owner), reader(std::move(taken)) {}
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        ~Lease() { file.give_back(std::move(reader)); }
        DatabaseView& file;
        std::unique_ptr<ReadConnection> reader;
    };

    std::unique_ptr<ReadConnection> take() {
        const store::sqlite::FileIdentity now = store::sqlite::identify(name_);
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

    void give_back(std::unique_ptr<ReadConnection> reader) noexcept {
        const std::lock_guard lock(mutex_);
        if (idle_.size() < most_at_once) idle_.push_back(std::move(reader));  // reserved: does not throw
    }

    static std::uint64_t random() {
        std::random_device device;
        return std::uint64_t{device()} << 32 | device();
    }

    static std::vector<std::unique_ptr<ReadConnection>> room() {
        std::vector<std::unique_ptr<ReadConnection>> readers;
        readers.reserve(most_at_once);
        return readers;
    }

    // constant after construction
    const std::string name_;
    const std::function<SQLite::Database()> open_;
    const Duration busy_timeout_;
    const std::uint64_t nonce_ = random();

    Turns people_{most_at_once};
    Turns monitors_{most_at_once};

    std::mutex mutex_{};
    // guarded by mutex_
    std::vector<std::unique_ptr<ReadConnection>> idle_ = room();

    std::mutex watch_mutex_{};
    // guarded by watch_mutex_
    std::unique_ptr<ReadConnection> watch_{};
    std::uint64_t generation_ = 0;
};

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
