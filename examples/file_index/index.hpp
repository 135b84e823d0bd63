// SPDX-License-Identifier: MIT
#pragma once
// The index: tables of this program in the database that holds its tasks too.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include "text.hpp"

namespace file_index {

/// One file that is to be found.
struct FileRow {
    std::int64_t id = 0;
    std::string path{};              ///< absolute; any bytes, not always UTF-8
    std::optional<Stamp> indexed{};  ///< of the content in the index; nullopt: none is
    std::string task{};              ///< the task that brings it up to date, or failed to; empty: it is up to date
};

struct IndexTotals {
    std::int64_t files = 0;
    std::int64_t binary = 0;
    std::int64_t shortened = 0;
};

struct Problem {
    std::string path{};
    std::string reason{};
};

/// One connection to the index.
/// Threads: one at a time; each thread has its own.
/// Errors: SQLite::Exception.
class Index {
public:
    /// Creates the tables if they are not there. REQUIRES: the database exists, in WAL mode.
    static void install(const std::string& database);

    explicit Index(const std::string& database);

    [[nodiscard]] SQLite::Database& database() noexcept { return database_; }

    [[nodiscard]] std::optional<FileRow> find(std::int64_t id);
    [[nodiscard]] std::optional<FileRow> find(const std::string& path);

    // Recording what is in a folder: inside the caller's transaction.

    /// The id of the file's row, which is made if it is missing.
    std::int64_t record(const std::string& path);
    void set_task(std::int64_t id, const std::string& task);
    [[nodiscard]] std::int64_t last_id();

    // What becomes of a file: each is one transaction of its own, and does nothing unless `row.task` is still the task
    // that the file waits for. So it may happen any number of times, early or late, with the effect of once.

    /// The file is up to date with this text.
    void store(const FileRow& row, const FileText& text);
    /// The file cannot be read: nothing of it is found any more. It goes on naming the task, which has the reason.
    void clear(const FileRow& row);
    /// There is no such file.
    void remove(const FileRow& row);

    /// Removes files that are not there any more. One transaction.
    void remove(const std::vector<std::int64_t>& ids);

    /// The ids of the files below `folder`, up to `last_id`.
    [[nodiscard]] std::vector<std::int64_t> files_below(const std::string& folder, std::int64_t last_id);

    [[nodiscard]] IndexTotals totals();
    /// The files whose task has failed, by path.
    [[nodiscard]] std::vector<Problem> problems();

private:
    SQLite::Database database_;
    SQLite::Statement find_id_;
    SQLite::Statement find_path_;
    SQLite::Statement record_;
    SQLite::Statement set_task_;
    SQLite::Statement mark_stored_;
    SQLite::Statement mark_cleared_;
    SQLite::Statement put_words_;
    SQLite::Statement drop_words_;
    SQLite::Statement drop_file_;
};

/// The files that hold all the words of `query`, best first. A star at the end of a word stands for any rest.
struct SearchResult {
    std::vector<std::string> paths{};  ///< the first `limit`
    std::int64_t total = 0;
};
/// Errors: SQLite::Exception.
[[nodiscard]] SearchResult search(const std::string& database, const std::string& query, int limit);

}  // namespace file_index
