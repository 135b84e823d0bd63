// SPDX-License-Identifier: MIT
#pragma once
// What can be said of a file without opening it, and of the file system that it is on.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

class File;

/// The code of a StorageError about a file that cannot be looked at: SQLITE_CANTOPEN, of which nothing is known here.
inline constexpr int cannot_open = 14;

/// Which file a name stands for, whatever names lead to it.
struct FileIdentity {
    std::uint64_t device = 0;  ///< its major number in the upper half, its minor one in the lower
    std::uint64_t inode = 0;
    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// What the system says of a file.
struct FileFacts {
    FileIdentity identity{};
    std::uint64_t size = 0;
    std::uint32_t names = 0;  ///< hard links
    bool regular = false;
    bool folder = false;
    std::optional<bool> mount_point{};  ///< whether something is mounted right there; nullopt where Linux is before 5.8
};

/// Which file is open, so that no later one is taken for it: a file system may give a new file the inode number of one
/// just deleted.
struct OpenedIdentity {
    FileIdentity identity{};
    std::int64_t born_seconds = 0;  ///< when it was made, since 1970; zero where the file system does not keep it
    std::uint32_t born_nanoseconds = 0;
};

/// Nullopt if nothing has that name. Links are followed.
/// Errors: StorageError if it cannot be told: a file that cannot be looked at may well be there.
[[nodiscard]] std::optional<FileFacts> look_at(const std::string& file);

/// The same; nullopt also if it cannot be told: then last_error() says why.
[[nodiscard]] std::optional<FileFacts> glance_at(const std::string& file) noexcept;

/// Nullopt if it cannot be told: then last_error() says why.
[[nodiscard]] std::optional<OpenedIdentity> identify(const File& file) noexcept;

/// Zeros if there is no such file. Errors: as look_at.
[[nodiscard]] inline FileIdentity identify(const std::string& file) {
    return look_at(file).value_or(FileFacts{}).identity;
}

/// Errors: as look_at.
[[nodiscard]] inline bool exists(const std::string& file) { return look_at(file).has_value(); }

/// Frees what C's functions return.
struct FromC {
    void operator()(char* text) const noexcept { std::free(text); }  // NOLINT(cppcoreguidelines-no-malloc)
    void operator()(std::FILE* stream) const noexcept { std::fclose(stream); }
};

/// The absolute name without links; the name itself where it cannot be resolved (a custom VFS may not use files).
[[nodiscard]] std::string resolve(const std::string& file);

/// The folder that a file is in, or would be in.
[[nodiscard]] std::string folder_of(const std::string& file);

/// Whether the file is mounted by itself into the folder.
[[nodiscard]] inline bool is_mounted_alone(const FileFacts& file, const FileFacts& folder) noexcept {
    return file.mount_point.value_or(file.identity.device != folder.identity.device);
}

/// The system's number for the kind of file system that a folder is on: on Linux statfs's f_type. Errors: StorageError
/// if it cannot be told.
[[nodiscard]] std::uint32_t file_system_type(const std::string& folder);

/// The system's name for the kind of the mount that holds the device (as FileIdentity has it): on Linux the one in
/// /proc/self/mountinfo (proc(5)); empty if unknown.
[[nodiscard]] std::string mount_type(std::uint64_t device);

/// Whether all who can open files of this file system are known to see each other's locks. `mount_type` alone tells
/// FUSE file systems apart.
[[nodiscard]] bool is_local_file_system(std::uint32_t type, std::string_view mount_type) noexcept;

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/file_identity.ipp>
#include <backlite/impl/platform/system.ipp>
#endif
