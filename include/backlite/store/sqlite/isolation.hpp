// SPDX-License-Identifier: MIT
#pragma once
// What to do about a row that SQLite refuses to write: everything else of the transaction is written without it.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Whether an error is about what was written (a constraint or a trigger of the host, a limit on size), and not about
/// the file: then it comes again with each try, while other rows can be written.
[[nodiscard]] bool is_of_a_row(int extended_code) noexcept;

/// Runs the parts of a transaction each in a savepoint of its own, so that a row that is refused takes down only
/// itself. Used once a transaction without it has failed: savepoints cost.
/// Threads: whoever runs the transaction.
class Isolation {
public:
    /// Runs `part()`. The error if it was refused: then nothing of it is in the transaction. `name`: the same in each
    /// run of the transaction, and no other part's.
    /// Errors: what `part` threw if that is about the file; what ended the transaction if a trigger of the host rolled
    /// back all of it. Then the caller does too, and runs it again: the part is left out, and `ended` has grown.
    template <class Part>
    [[nodiscard]] std::optional<StorageError> attempt(sqlite3* db, std::string name, Part&& part) {
        for (const auto& [known, error] : ended_) {
            if (known == name) return error;
        }
        const bool violated = violates_deferred(db);
        execute(db, "SAVEPOINT backlite_part");
        try {
            part();
            // Left alone, it would be the commit that fails.
            if (!violated && violates_deferred(db)) {
                throw_sqlite(SQLITE_CONSTRAINT_FOREIGNKEY,
                             "FOREIGN KEY constraint failed: a deferred one, which the commit would have checked");
            }
        } catch (const StorageError& error) {
            if (!is_of_a_row(error.extended_code())) throw;
            if (sqlite3_get_autocommit(db) != 0) {
                ended_.emplace_back(std::move(name), error);
                throw;
            }
            execute(db, "ROLLBACK TO backlite_part");
            execute(db, "RELEASE backlite_part");
            return error;
        }
        execute(db, "RELEASE backlite_part");
        return std::nullopt;
    }

    /// How many parts have ended their transaction so far.
    [[nodiscard]] std::size_t ended() const noexcept { return ended_.size(); }

private:
    static bool violates_deferred(sqlite3* db) noexcept;

    std::vector<std::pair<std::string, StorageError>> ended_{};
};

/// The same where `apart` may be null: then the part just runs, and what it throws is the transaction's error.
template <class Part>
std::optional<StorageError> attempt(Isolation* apart, sqlite3* db, std::string_view kind, std::string_view id,
                                    Part&& part) {
    if (apart != nullptr) return apart->attempt(db, detail::format("{} {}", {kind, id}), part);
    part();
    return std::nullopt;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/isolation.ipp>
#endif
