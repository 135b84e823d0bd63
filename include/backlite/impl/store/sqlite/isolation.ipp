// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/isolation.hpp>.

#include <backlite/store/sqlite/isolation.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL bool is_of_a_row(int extended_code) noexcept {
    switch (extended_code & 0xff) {
        case SQLITE_OK:
        case SQLITE_PERM:
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_NOMEM:
        case SQLITE_READONLY:
        case SQLITE_INTERRUPT:
        case SQLITE_IOERR:
        case SQLITE_CORRUPT:
        case SQLITE_FULL:
        case SQLITE_CANTOPEN:
        case SQLITE_PROTOCOL:
        case SQLITE_SCHEMA:
        case SQLITE_MISUSE:
        case SQLITE_NOLFS:
        case SQLITE_NOTADB: return false;
        default: return true;
    }
}

BACKLITE_DECL bool Isolation::violates_deferred(sqlite3* db) noexcept {
    int now = 0;
    int highest = 0;
    return sqlite3_db_status(db, SQLITE_DBSTATUS_DEFERRED_FKS, &now, &highest, 0) == SQLITE_OK && now != 0;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
