// SPDX-License-Identifier: MIT
#include "index.hpp"

#include <algorithm>

#include <SQLiteCpp/Transaction.h>
#include <fmt/format.h>

namespace file_index {
namespace {

constexpr int busy_timeout_ms = 10'000;

// All that is found, in an order that does not depend on how it came about:
//   SELECT path, size, mtime_ns, note, (SELECT content FROM words WHERE rowid = files.id) FROM files ORDER BY path;
constexpr const char* schema = R"(
CREATE TABLE IF NOT EXISTS files (
    id integer PRIMARY KEY AUTOINCREMENT,
    path text NOT NULL UNIQUE,
    size integer,
    mtime_ns integer,
    note text NOT NULL DEFAULT '',
    task text
) STRICT;
CREATE INDEX IF NOT EXISTS files_task ON files (task) WHERE task IS NOT NULL;
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (path, content);
)";

SQLite::Database open(const std::string& database) {
    SQLite::Database opened(database, SQLite::OPEN_READWRITE, busy_timeout_ms);
    // A power cut may take the last commits back, the tasks' own included: then the next run sees files that are newer
    // than the index and reads them again. So nothing here needs to wait for the disk.
    opened.exec("PRAGMA synchronous = NORMAL");
    // The client's own connection checkpoints as it commits: one that does is enough.
    opened.exec("PRAGMA wal_autocheckpoint = 0");
    return opened;
}

// Ready for the next use, whatever happens: a statement that is not reset keeps its transaction open.
class Use {
public:
    template <class... Values>
    explicit Use(SQLite::Statement& statement, const Values&... values) : statement_(statement) {
        int index = 0;
        (statement_.bind(++index, values), ...);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { statement_.tryReset(); }

    bool row() { return statement_.executeStep(); }
    int changes() { return statement_.exec(); }

private:
    SQLite::Statement& statement_;
};

std::optional<FileRow> read_row(Use& use, SQLite::Statement& statement) {
    if (!use.row()) return std::nullopt;
    FileRow row{.id = statement.getColumn(0).getInt64(), .path = statement.getColumn(1).getString()};
    if (!statement.isColumnNull(2)) {
        row.indexed = Stamp{statement.getColumn(2).getInt64(), statement.getColumn(3).getInt64()};
    }
    row.task = statement.getColumn(4).getString();
    return row;
}

// What FTS5 is to match: each word quoted, so that it takes nothing in it for its query language.
std::string match_expression(const std::string& query) {
    std::string match;
    for (auto at = query.begin(); at != query.end();) {
        const auto first = std::find_if(at, query.end(), in_word);
        at = std::find_if_not(first, query.end(), in_word);
        if (first == at) break;
        const bool open_end = at != query.end() && *at == '*';
        match += fmt::format("\"{}\"{} ", std::string(first, at), open_end ? "*" : "");
    }
    return match;
}

}  // namespace

void Index::install(const std::string& database) {
    SQLite::Database opened = open(database);
    SQLite::Transaction transaction(opened, SQLite::TransactionBehavior::IMMEDIATE);
    opened.exec(schema);
    transaction.commit();
}

Index::Index(const std::string& database)
    : database_(open(database)),
      find_id_(database_, "SELECT id, path, size, mtime_ns, task FROM files WHERE id = ?1"),
      find_path_(database_, "SELECT id, path, size, mtime_ns, task FROM files WHERE path = ?1"),
      record_(database_,
              "INSERT INTO files (path) VALUES (?1) ON CONFLICT (path) DO UPDATE SET path = path RETURNING id"),
      set_task_(database_, "UPDATE files SET task = ?2 WHERE id = ?1"),
      mark_stored_(database_,
                   "UPDATE files SET size = ?3, mtime_ns = ?4, note = ?5, task = NULL WHERE id = ?1 AND task = ?2"),
      mark_cleared_(database_, "UPDATE files SET size = NULL, mtime_ns = NULL, note = '' WHERE id = ?1 AND task = ?2"),
      put_words_(database_, "INSERT OR REPLACE INTO words (rowid, path, content) VALUES (?1, ?2, ?3)"),
      drop_words_(database_, "DELETE FROM words WHERE rowid = ?1"),
      drop_file_(database_, "DELETE FROM files WHERE id = ?1") {}

std::optional<FileRow> Index::find(std::int64_t id) {
    Use use(find_id_, id);
    return read_row(use, find_id_);
}

std::optional<FileRow> Index::find(const std::string& path) {
    Use use(find_path_, path);
    return read_row(use, find_path_);
}

std::int64_t Index::record(const std::string& path) {
    Use use(record_, path);
    use.row();
    return record_.getColumn(0).getInt64();
}

void Index::set_task(std::int64_t id, const std::string& task) { Use(set_task_, id, task).changes(); }

std::int64_t Index::last_id() { return database_.execAndGet("SELECT coalesce(max(id), 0) FROM files").getInt64(); }

void Index::store(const FileRow& row, const FileText& text) {
    SQLite::Transaction transaction(database_, SQLite::TransactionBehavior::IMMEDIATE);
    const Stamp& stamp = text.stamp;
    if (Use(mark_stored_, row.id, row.task, stamp.size, stamp.mtime_ns, text.note).changes() == 0) return;
    Use(put_words_, row.id, to_utf8(row.path), text.words).changes();
    transaction.commit();
}

void Index::clear(const FileRow& row) {
    SQLite::Transaction transaction(database_, SQLite::TransactionBehavior::IMMEDIATE);
    if (Use(mark_cleared_, row.id, row.task).changes() == 0) return;
    Use(drop_words_, row.id).changes();
    transaction.commit();
}

void Index::remove(const FileRow& row) {
    SQLite::Transaction transaction(database_, SQLite::TransactionBehavior::IMMEDIATE);
    if (Use(mark_cleared_, row.id, row.task).changes() == 0) return;
    Use(drop_words_, row.id).changes();
    Use(drop_file_, row.id).changes();
    transaction.commit();
}

void Index::remove(const std::vector<std::int64_t>& ids) {
    SQLite::Transaction transaction(database_, SQLite::TransactionBehavior::IMMEDIATE);
    for (const std::int64_t id : ids) {
        Use(drop_words_, id).changes();
        Use(drop_file_, id).changes();
    }
    transaction.commit();
}

std::vector<std::int64_t> Index::files_below(const std::string& folder, std::int64_t last_id) {
    const std::string first = folder == "/" ? folder : folder + '/';
    std::string end = first;
    ++end.back();  // '0' follows '/', and paths are compared byte by byte
    SQLite::Statement select(database_, "SELECT id FROM files WHERE path >= ?1 AND path < ?2 AND id <= ?3");
    select.bind(1, first);
    select.bind(2, end);
    select.bind(3, last_id);
    std::vector<std::int64_t> ids;
    while (select.executeStep()) ids.push_back(select.getColumn(0).getInt64());
    return ids;
}

IndexTotals Index::totals() {
    SQLite::Statement select(database_,
                             "SELECT count(*), count(*) FILTER (WHERE note = 'binary'), "
                             "count(*) FILTER (WHERE note LIKE 'first%') FROM files");
    select.executeStep();
    return {select.getColumn(0).getInt64(), select.getColumn(1).getInt64(), select.getColumn(2).getInt64()};
}

std::vector<Problem> Index::problems() {
    // The library keeps failed tasks with their reason, as the queue's retention asks for.
    SQLite::Statement select(
        database_,
        "SELECT path, coalesce((SELECT error FROM backlite_tasks_completed WHERE id = files.task), "
        "'not indexed') FROM files WHERE task IS NOT NULL ORDER BY path");
    std::vector<Problem> problems;
    while (select.executeStep()) {
        problems.push_back({select.getColumn(0).getString(), select.getColumn(1).getString()});
    }
    return problems;
}

SearchResult search(const std::string& database, const std::string& query, int limit) {
    const std::string match = match_expression(query);
    if (match.empty()) return {};
    SearchResult result;
    SQLite::Database opened(database, SQLite::OPEN_READONLY, busy_timeout_ms);
    SQLite::Statement count(opened, "SELECT count(*) FROM words WHERE words MATCH ?1");
    count.bind(1, match);
    count.executeStep();
    result.total = count.getColumn(0).getInt64();
    // A word in the path counts ten times.
    SQLite::Statement select(opened,
                             "SELECT files.path FROM words JOIN files ON files.id = words.rowid "
                             "WHERE words MATCH ?1 ORDER BY bm25(words, 10.0, 1.0), files.path LIMIT ?2");
    select.bind(1, match);
    select.bind(2, limit);
    while (select.executeStep()) result.paths.push_back(select.getColumn(0).getString());
    return result;
}

}  // namespace file_index
