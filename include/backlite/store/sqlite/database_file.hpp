// SPDX-License-Identifier: MIT
#pragma once
// Which files can hold a queue. They are not opened to find out: a descriptor of ours on the database, its -wal or its
// -shm would drop SQLite's locks when closed (sqlite.org/howtocorrupt.html, 2.2).

#include <optional>
#include <string>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

static_assert(platform::cannot_open == SQLITE_CANTOPEN);

/// Errors: ConfigError naming the file and why it cannot hold a queue; StorageError if that cannot be told.
void check_database_name(const std::string& file);

/// A name of the same file that stays good when the program changes its working folder: connections are opened later
/// too. Errors: as above.
[[nodiscard]] std::string lasting_name(const std::string& file);

/// SQLite names the log and its locks after the file, but finds the rows by its inode: who comes by another name has
/// another log and other locks for the same rows.
/// REQUIRES: `file` is resolved. It need not be there yet.
/// Errors: ConfigError naming the file if it has several names, is mounted without its folder, or its locks may not
/// reach everybody; StorageError if that cannot be told.
void check_place(const std::string& file, bool trust_file_system);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/database_file.ipp>
#endif
