// SPDX-License-Identifier: MIT
#pragma once
// Prepared statements on the raw sqlite3 interface: kept, bound, stepped, and always reset.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Throws the StorageError that fits SQLite's extended result code `code`.
[[noreturn]] void throw_with_text(int code, const std::string& what, Added added);

/// The same; if there is no memory for the text, the error goes without: its code, and what it says of the commit, are
/// what counts.
[[noreturn]] void throw_sqlite(int code, const std::string& what, Added added = Added::no);

/// What SQLite says of the last call on this connection; empty if there is no memory for it.
[[nodiscard]] std::string text_of_error(sqlite3* db, const char* doing) noexcept;

/// The code of the error that has just come. SQLite knows a full disk by ENOSPC from a write alone: a quota that is
/// used up, a file as large as it may be, and no room for the shared memory are I/O errors to it. It does not keep the
/// system's reason when a commit fails, but its own VFS leaves errno as the system set it (platform::last_error).
[[nodiscard]] int error_code(sqlite3* db) noexcept;

/// The same as the first, with the connection's own code and message.
[[noreturn]] inline void throw_sqlite(sqlite3* db, const char* doing, Added added = Added::no) {
    const int code = error_code(db);
    throw_sqlite(code, text_of_error(db, doing), added);
}

/// Whether a client must stop itself after this error: its file is damaged, moved or read-only, or a sync failed, after
/// which the kernel may have dropped the pages that the next sync would report as written.
[[nodiscard]] bool is_fatal(int extended_code) noexcept;

/// A connection that somebody else closes; a bare pointer would look like one that its class owns.
struct Handle {
    sqlite3* db;
    operator sqlite3*() const noexcept { return db; }  // NOLINT(google-explicit-constructor): so that it is one
};

/// A statement that is prepared at its first use and kept until its owner goes, which must be before its database.
/// Threads: those of its connection, one at a time.
class Statement {
public:
    /// `sql` lives as long as the program.
    explicit Statement(const char* sql) noexcept : sql_(sql) {}
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement() { sqlite3_finalize(statement_); }

    [[nodiscard]] sqlite3_stmt* get(sqlite3* db) {
        if (statement_ == nullptr) prepare(db);
        return statement_;
    }

    /// Prepares it, or prepares it anew. Errors: StorageError; then it stays as it was.
    void prepare(sqlite3* db);

private:
    const char* sql_;
    sqlite3_stmt* statement_ = nullptr;
};

/// Bytes to be bound as a blob.
struct Blob {
    std::string_view bytes{};
};

/// One value to be bound. Text and bytes stay where they are.
class Value {
public:
    // NOLINTBEGIN(google-explicit-constructor): a list of values is written as it is read
    Value(std::int64_t number) noexcept : kind_(Kind::integer), number_(number) {}
    Value(int number) noexcept : Value(std::int64_t{number}) {}
    Value(unsigned number) noexcept : Value(std::int64_t{number}) {}
    Value(double number) noexcept : kind_(Kind::real), real_(number) {}
    Value(bool truth) noexcept : Value(std::int64_t{truth ? 1 : 0}) {}
    Value(std::nullptr_t) noexcept {}
    template <class Unit>
    Value(detail::StoredTime<Unit> time) noexcept : Value(time.count()) {}
    Value(detail::Us duration) noexcept : Value(std::int64_t{duration.count()}) {}
    template <class T>
    Value(const std::optional<T>& value) noexcept {
        if (value) *this = Value(*value);
    }
    Value(std::string_view text) noexcept : kind_(Kind::text), bytes_(text) {}
    Value(const std::string& text) noexcept : Value(std::string_view{text}) {}
    Value(const char* text) noexcept : Value(std::string_view{text}) {}
    Value(Blob blob) noexcept : kind_(Kind::blob), bytes_(blob.bytes) {}
    // NOLINTEND(google-explicit-constructor)

    /// Binds to the place `index`, from 1; SQLite's result code.
    [[nodiscard]] int bind(sqlite3_stmt* statement, int index) const noexcept;

private:
    enum class Kind { null, integer, real, text, blob };

    Kind kind_ = Kind::null;
    std::int64_t number_ = 0;
    double real_ = 0;
    std::string_view bytes_{};
};

/// One execution of a statement: binds `values` and `numbers` to ?1, ?2, …; the destructor resets it on every way out,
/// so that no read transaction stays open. Bound text and bytes must live until then.
class Run {
public:
    Run(sqlite3* db, Statement& statement, std::initializer_list<Value> values = {},
        std::span<const std::int64_t> numbers = {});
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() { sqlite3_reset(statement_); }

    /// SQLite's result code of one step.
    int step_code() noexcept { return sqlite3_step(statement_); }

    /// Whether there is a (next) row.
    bool step();

    /// Runs a statement that returns no rows; the number of rows it changed.
    int change();

    [[nodiscard]] bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
    [[nodiscard]] std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
    [[nodiscard]] std::optional<std::int64_t> optional_integer(int column) const {
        if (is_null(column)) return std::nullopt;
        return integer(column);
    }
    [[nodiscard]] double real(int column) const { return sqlite3_column_double(statement_, column); }
    [[nodiscard]] detail::Ms time(int column) const { return detail::Ms{integer(column)}; }
    [[nodiscard]] std::optional<detail::Ms> optional_time(int column) const {
        if (is_null(column)) return std::nullopt;
        return time(column);
    }
    [[nodiscard]] detail::Us duration(int column) const { return detail::Us{integer(column)}; }
    /// Text or bytes; valid until the next step.
    [[nodiscard]] std::string_view bytes(int column) const;

private:
    sqlite3* db_;
    sqlite3_stmt* statement_;
};

/// Runs SQL that returns nothing of interest.
inline void execute(sqlite3* db, const char* sql) {
    if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) throw_sqlite(db, sql);
}

/// Makes sure that what the connection knows of the schema is not old.
inline constexpr const char* read_schema = "SELECT 1 FROM sqlite_schema LIMIT 1";

/// Prepares statements that must work later though memory may have run out. Not before the connection knows the schema:
/// SQLite 3.46 and newer prepare anew, at its next step, what was prepared before they read one. Runs nothing, so a
/// transaction that has not read yet has not read afterwards.
inline void prepare_ahead(sqlite3* db, std::initializer_list<Statement*> statements) {
    static_cast<void>(Statement(read_schema).get(db));
    for (Statement* const statement : statements) statement->prepare(db);
}

/// Runs a statement of that kind, which returns no rows. Whether it worked.
bool run_ahead(sqlite3* db, Statement& prepared) noexcept;

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/statement.ipp>
#endif
