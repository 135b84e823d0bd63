// SPDX-License-Identifier: MIT
#pragma once
// What can be said of a database's file without opening it: a descriptor of ours on the database, its -wal or its -shm
// would drop SQLite's locks when closed (sqlite.org/howtocorrupt.html, 2.2).

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

static_assert(sizeof(off_t) == 8, "backlite needs 64-bit file offsets: compile with -D_FILE_OFFSET_BITS=64");

/// What statx(2) says of the file; false if nothing has that name. Links are followed.
/// Errors: StorageError if it cannot be told: a file that cannot be looked at may well be there.
[[nodiscard]] bool look_at(const std::string& file, struct ::statx& found);

/// Which file a name stands for, whatever names lead to it.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Zeros if there is no such file. Errors: as look_at.
[[nodiscard]] FileIdentity identify(const std::string& file);

/// Errors: as look_at.
[[nodiscard]] inline bool exists(const std::string& file) { return identify(file) != FileIdentity{}; }

/// Frees what C's functions return.
struct FromC {
    void operator()(char* text) const noexcept { std::free(text); }  // NOLINT(cppcoreguidelines-no-malloc)
    void operator()(std::FILE* stream) const noexcept { std::fclose(stream); }
};

/// The absolute name without links; the name itself where it cannot be resolved (a custom VFS may not use files).
[[nodiscard]] inline std::string resolve(const std::string& file) {
    const std::unique_ptr<char, FromC> resolved{::realpath(file.c_str(), nullptr)};
    return resolved ? std::string{resolved.get()} : file;
}

/// The folder that a file is in, or would be in.
[[nodiscard]] std::string folder_of(const std::string& file);

/// Whether all who can open files of this file system are known to see each other's locks. `type` is statfs's f_type;
/// `mount_type` the name in /proc/self/mountinfo, which alone tells FUSE file systems apart.
[[nodiscard]] bool is_local_file_system(std::uint32_t type, std::string_view mount_type) noexcept;

/// The type of the mount that holds the device, as /proc/self/mountinfo (proc(5)) names it; empty if unknown.
[[nodiscard]] std::string mount_type(unsigned device_major, unsigned device_minor);

/// Errors: ConfigError naming the file and why it cannot hold a queue; StorageError if that cannot be told.
void check_database_name(const std::string& file);

/// Whether the file is mounted by itself into the folder.
[[nodiscard]] bool is_mounted_alone(const struct ::statx& file, const struct ::statx& folder) noexcept;

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
