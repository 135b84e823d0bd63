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

#include <backlite/admin/queue_reads.hpp>
#include <backlite/admin/schema_features.hpp>
#include <backlite/admin/statistics_reads.hpp>
#include <backlite/admin/task_reads.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>
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

[[nodiscard]] UnavailableReason reason_of(const StorageError& error) noexcept;

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
    ReadConnection(const std::string& file, const std::function<SQLite::Database()>& open, Duration busy_timeout);
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
    [[nodiscard]] std::int64_t data_version();

    [[nodiscard]] platform::FileIdentity identity() const noexcept { return identity_; }

private:
    static SQLite::Database open_database(const std::string& file, const std::function<SQLite::Database()>& open);

    static int on_progress(void* self) noexcept {
        return Steady::now() > static_cast<ReadConnection*>(self)->until_ ? 1 : 0;
    }

    std::int64_t schema_version() {
        store::sqlite::Run run(database_.getHandle(), schema_version_);
        return run.step() ? run.integer(0) : 0;
    }

    const platform::FileIdentity identity_;
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
    [[nodiscard]] bool enter(Duration patience);

    void leave() noexcept;

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
    [[nodiscard]] std::string version();

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

    std::unique_ptr<ReadConnection> take();

    void give_back(std::unique_ptr<ReadConnection> reader) noexcept {
        const std::lock_guard lock(mutex_);
        if (idle_.size() < most_at_once) idle_.push_back(std::move(reader));  // reserved: does not throw
    }

    static std::uint64_t random() {
        std::random_device device;
        return std::uint64_t{device()} << 32 | device();
    }

    static std::vector<std::unique_ptr<ReadConnection>> room();

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

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin/database_view.ipp>
#endif
