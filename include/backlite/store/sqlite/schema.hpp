// SPDX-License-Identifier: MIT
#pragma once
// The tables: how they are made, how an older file is brought up to date, and who may write to a file.
// Everything here is stored: a released step is never edited, only followed by another.

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/connection.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// The schema of a database file. Version 0: none of our tables. Version 1: what Go backlite v0.6 makes. Versions 2 to
/// 6 were those of development revisions, and are refused. Version 7: this library's, made from version 1 by adding
/// columns, indexes and tables of our own, so that Go programs and plain SQL that name only the columns of version 1 go
/// on working. Until release 1.0 the step from 1 to 7 may be edited, each time under a new number; afterwards never.
class Schema {
public:
    static constexpr std::int64_t current = 7;

    /// The oldest library that may write to the current schema: 0.1.0.
    static constexpr int oldest_writer = 1'000;

    /// Creates the tables, or migrates them, in one transaction. Does nothing to a file that is up to date, or newer:
    /// not even the write lock is taken.
    /// Errors: StorageError if a table of our name is not ours or the file needs a newer library, and when SQLite
    /// fails; then nothing is changed. Blocks until the write lock is had, at most `busy_timeout`.
    static void install(Connection& connection, Duration busy_timeout);

    /// Errors: StorageError if the tables are missing, older than ours, or need a newer library.
    static void check_tables(Connection& connection);

    /// Errors: StorageError if the file needs a newer library, or cannot be read.
    static void check_writer(Connection& connection) {
        if (version(connection) > of_go) check_writer(connection.handle(), connection.file());
    }

    /// The same on any connection to `file`, which has our tables. Inside a write transaction the answer holds until
    /// its end.
    static void check_writer(sqlite3* db, std::string_view file);

    /// The version of the file's schema.
    [[nodiscard]] static std::int64_t version(Connection& connection) {
        return version(connection.handle(), connection.file());
    }

private:
    struct Column {
        std::string_view name;
        std::string_view type;
    };

    static constexpr std::int64_t of_go = 1;
    static constexpr std::int64_t first = 7;  ///< the first version of this library that is brought up to date

    /// Errors: StorageError for a file of a development revision.
    static std::int64_t version(sqlite3* db, std::string_view file);

    static bool has_table(sqlite3* db, std::string_view name);

    static void migrate(Connection& connection);

    /// The tables of Go backlite v0.6, which makes them at each install too.
    static void make_tables_of_go(sqlite3* db);

    /// What those get besides. Of an unfinished task: due: when it may start. owner: the started client that holds the
    /// claim. claim: raised by each claim. lease: raised as a sign of life. crashes: process deaths inside the
    /// processor. error: of the last failed attempt. priority: higher first. hold: 0, or the sum of the reasons why it
    /// may not be claimed yet. flags: what hangs on it; see flags.hpp for both. unique_key and partition: NULL, or what
    /// it counts by. slack: see Transitions.
    /// Of a finished one: kind: NULL, or what it ended as where `error` does not say it: 1 cancelled, 2 discarded,
    /// 3 crashed, 4 unreadable, 5 expired. result: what its processor returned. host and pid: of its last attempt.
    static void change_tables(sqlite3* db);

    /// The tables that Go has not. What few tasks have stands in one of those, and costs the others nothing.
    /// backlite_stats: start and span are minutes, since the epoch and long; the rest is as in Tally. backlite_queues:
    /// what forbids or limits a whole queue; waiting: NULL, or see WaitingBounds. backlite_partitions: the same of a
    /// partition, where it differs from nothing. rate_next_us: see RateCount. closed_until and closed_ms: no start
    /// before, which was so long ahead; 0 of a partition: its rate lets the next one start then. backlite_turns: the
    /// tasks that a partition's limit counts, and how they make room for others. backlite_details: expiry and metadata.
    /// backlite_keys: those of claimed tasks that have one only while they wait; at and keep: of the newer one that
    /// waits. backlite_edges: which task waits for which. backlite_cancels: asked of a claim. backlite_attempts: those
    /// after which the task went on; outcome: 1 failed. backlite_saved: what a task keeps between its attempts. Times
    /// are in milliseconds, or in microseconds where the name ends so. backlite_schedules: see store::ScheduleRow.
    static void make_tables(sqlite3* db);

    /// Tables of our names that we did not make must at least have our columns.
    static void check_columns(Connection& connection);

    static void check_column(Connection& connection, std::string_view table, const Column& column);
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/schema.ipp>
#endif
