// SPDX-License-Identifier: MIT
#pragma once
// One connection that only reads, with every SQL statement of those who look at the file.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/store/sqlite/queue_rules.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/views/queue_reads.hpp>
#include <backlite/store/sqlite/views/schema_features.hpp>
#include <backlite/store/sqlite/views/statistics_reads.hpp>
#include <backlite/store/sqlite/views/task_facts.hpp>
#include <backlite/store/sqlite/views/task_reads.hpp>
#include <backlite/store/unavailable.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// The version of SQLite that the program runs with.
[[nodiscard]] inline std::string_view library_version() noexcept { return sqlite3_libversion(); }

/// What an error of a reader says of the file.
[[nodiscard]] UnavailableReason reason_of(const StorageError& error) noexcept;

/// SQLite's result code that fits.
[[nodiscard]] int code_of(UnavailableReason reason) noexcept;

/// The code of what is wrong with a file that lacks tables.
inline constexpr int no_such_table = SQLITE_ERROR;

/// Opens `file` to read and write if it is there, and never makes it. For ClientConfig::open.
[[nodiscard]] std::function<SQLite::Database()> opener_of_existing(std::string file);

/// Every SQL statement of the dashboard and of Admin, on one connection.
struct Queries {
    Queries(sqlite3* db, const SchemaFeatures& found, const store::Bounds& bounds = {})
        : shape(found),
          look_time(bounds.look_time),
          statistics(db, found),
          queues(db, found, statistics, bounds),
          tasks(db, found, bounds),
          facts(db, bounds),
          rules(db) {}
    const SchemaFeatures shape;
    const std::chrono::milliseconds look_time;
    StatisticsReads statistics;
    QueueReads queues;
    TaskReads tasks;
    TaskFactReads facts;
    QueueRules rules;  ///< what it writes fails here
};

/// One connection that only reads, and what is prepared on it. Threads: one at a time.
class ReadConnection {
public:
    using Steady = std::chrono::steady_clock;

    /// Errors: FileError, StorageError.
    ReadConnection(const std::string& file, const std::function<SQLite::Database()>& open, Duration busy_timeout,
                   const store::Bounds& bounds = {});
    ReadConnection(const ReadConnection&) = delete;
    ReadConnection& operator=(const ReadConnection&) = delete;
    ~ReadConnection() { sqlite3_progress_handler(database_.getHandle(), 0, nullptr, nullptr); }

    /// Runs `look(Queries&)` on one state of the file, which no commit changes meanwhile.
    /// Errors: FileError, StorageError (SQLITE_INTERRUPT once the time is up).
    template <class Look>
    auto read(Duration patience, Look&& look) {
        sqlite3* db = database_.getHandle();
        until_ = Steady::now() + patience;
        execute(db, "BEGIN");
        const struct Rollback {
            sqlite3* db;
            ReadConnection& reader;
            ~Rollback() {
                reader.until_ = (Steady::time_point::max)();  // the end must not be stopped
                sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
            }
        } end{db, *this};
        // A schema that changed under the statements changes what they can be.
        const std::int64_t schema = schema_version();
        if (!queries_ || schema != schema_) {
            queries_.reset();
            const std::optional<SchemaFeatures> shape = shape_of(db);
            if (!shape) throw FileError(UnavailableReason::no_tables, "the database has no table backlite_tasks");
            if (!shape->readable) throw FileError(UnavailableReason::foreign_tables, "backlite's tables lack columns");
            queries_ = std::make_unique<Queries>(db, *shape, bounds_);
            schema_ = schema;
        }
        return std::forward<Look>(look)(*queries_);
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
        Run run(database_.getHandle(), schema_version_);
        return run.step() ? run.integer(0) : 0;
    }

    const platform::FileIdentity identity_;
    const store::Bounds bounds_;
    SQLite::Database database_;
    Steady::time_point until_ = (Steady::time_point::max)();
    Statement data_version_{"PRAGMA data_version"};
    Statement schema_version_{"PRAGMA schema_version"};
    std::int64_t schema_ = 0;
    std::unique_ptr<Queries> queries_{};  // its statements go before the database
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/read_connection.ipp>
#endif
