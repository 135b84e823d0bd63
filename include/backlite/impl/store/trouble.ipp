// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/trouble.hpp>.

#include <sqlite3.h>

#include <backlite/store/trouble.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

BACKLITE_DECL Trouble trouble_of(const StorageError& error) noexcept {
    switch (error.code()) {
        case SQLITE_BUSY: return Trouble::locked;
        case SQLITE_ERROR: return Trouble::tables;
        default: return Trouble::other;
    }
}

BACKLITE_DECL void throw_replaced(const std::string& what) { throw StorageError(what, SQLITE_READONLY_DBMOVED); }

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
