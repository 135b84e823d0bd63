// SPDX-License-Identifier: MIT
#pragma once
// SQL that notes in a task's row that rows of other tables hang on it.

#include <cstdint>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/store/sqlite/flags.hpp>
#include <backlite/store/sqlite/slack.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// REQUIRES a write transaction; on a StorageError the caller rolls back.
class Details {
public:
    explicit Details(sqlite3* db) noexcept : db_{db} {}

    /// Sets the flag in a claimed task's row, which is changed only if it is not set. False if the claim is not held
    /// any more; then nothing is changed. `forgives`: crashes are counted anew from now. `more`: other flags to be set.
    /// Errors: StorageError, also if a trigger of the host ignores the change.
    [[nodiscard]] bool mark(const detail::ClaimKey& claim, bool forgives, std::int64_t more = 0);

private:
    Handle db_;
    Statement row_{
        "SELECT crashes, flags, length(slack) FROM main.backlite_tasks "
        "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL"};
    Statement mark_{
        "UPDATE main.backlite_tasks SET crashes = ?3, flags = ?4, slack = ?5 WHERE id = ?1 AND claim = ?2 "
        "AND claimed_at IS NOT NULL"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/details.ipp>
#endif
