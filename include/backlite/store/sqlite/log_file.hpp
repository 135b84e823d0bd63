// SPDX-License-Identifier: MIT
#pragma once
// SQLite's write-ahead log from outside: its name, its size, and who reads it. Nothing here opens a file of the
// database's: closing a descriptor of it drops SQLite's locks.

#include <cstdint>
#include <optional>
#include <string>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// To how many bytes SQLite cuts the log back when it starts it anew.
inline constexpr std::int64_t kept_log_bytes = std::int64_t{64} << 20;

/// The name of the log of a database.
[[nodiscard]] inline std::string log_file(const std::string& database) { return database + "-wal"; }

/// The name of the memory in which SQLite's connections find what is in the log, and lock it.
[[nodiscard]] inline std::string shm_file(const std::string& database) { return database + "-shm"; }

/// Bytes of the log; nullopt if there is none, or if that cannot be told. Errors: std::bad_alloc.
[[nodiscard]] std::optional<std::int64_t> log_bytes(const std::string& database);

/// The processes that read a database now, such as "71 (this process), 92 (sqlite3)", by their locks in its `-shm`
/// (sqlite.org/walformat.html, 2.3), as the system lists them; "unknown" where it does not. Who writes holds such a
/// lock too, so it looks again, a hundred times, while somebody does; and ten times before it says that nobody reads.
[[nodiscard]] std::string readers_of(const std::string& database);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/log_file.ipp>
#endif
