// SPDX-License-Identifier: MIT
#pragma once
// What a file holds: this library's columns and indexes, or those of Go backlite v0.6 alone; and the SQL that differs.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// A file is judged by what is there, not by its version, so that a newer file is shown as far as it is understood.
struct SchemaFeatures {
    bool readable = false;  ///< the columns of Go backlite v0.6 are there
    bool ours = false;      ///< this library's columns and indexes are there too
    bool failed = false;    ///< the index of failed tasks is there
    bool clients = false;   ///< the table of started clients is there
    bool counts = false;    ///< the statistics are there
    std::int64_t schema_version = 0;
};

/// nullopt if there are no tables of ours at all. Errors: StorageError.
[[nodiscard]] std::optional<SchemaFeatures> shape_of(sqlite3* db);

/// A statement whose text is made when the file's shape is known.
struct Query {
    explicit Query(std::string text) : sql(std::move(text)) {}
    operator Statement&() noexcept { return statement; }  // NOLINT(google-explicit-constructor): as one
    const std::string sql;
    Statement statement{sql.c_str()};
};

/// When a task of such a table may start.
inline constexpr const char* due_of_go = "max(created_at, coalesce(wait_until, created_at))";

/// When a finished task's last attempt ended. Stored: the text of an index.
inline constexpr const char* finished_time =
    "min(coalesce(last_executed_at, created_at), 9223372036854775807 - max(coalesce(last_duration_micro, 0), 0) / "
    "1000) + max(coalesce(last_duration_micro, 0), 0) / 1000";

/// The rows of a table without our indexes that are looked at.
[[nodiscard]] std::string first_rows(const store::Bounds& bounds);

/// A subquery of claimed tasks: row, queue, claimed_at, owner, claim, id.
[[nodiscard]] std::string claimed_rows(const SchemaFeatures& shape, const store::Bounds& bounds);

/// A subquery of unclaimed tasks: row, queue, priority, due, attempts. Where it is by index, a search by queue,
/// priority and due time is.
[[nodiscard]] std::string unclaimed_rows(const SchemaFeatures& shape, const store::Bounds& bounds);

/// The priorities of a queue's unclaimed tasks, lowest first: a search for each.
class Priorities {
public:
    Priorities(sqlite3* db, const SchemaFeatures& shape) noexcept : db_{db}, known_(shape.ours) {}

    /// Zero alone for a file without our indexes, which are what the searches go by.
    [[nodiscard]] std::vector<std::int64_t> of(const std::string& queue);

private:
    Handle db_;
    bool known_;
    Statement next_{
        "SELECT priority FROM backlite_tasks INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL AND hold = 0 "
        "AND queue = ?1 AND priority BETWEEN ?2 AND 9223372036854775807 ORDER BY priority LIMIT 1"};
};

/// Whether a table without our indexes has more rows than are looked at.
[[nodiscard]] bool has_more_rows(sqlite3* db, const SchemaFeatures& shape, const store::Bounds& bounds);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/schema_features.ipp>
#endif
