// SPDX-License-Identifier: MIT
#pragma once
// What can be said of a database's file without opening it: a descriptor of ours on the database, its -wal or its -shm
// would drop SQLite's locks when closed (sqlite.org/howtocorrupt.html, 2.2).

#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <backlite/error.hpp>
#include <backlite/format.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace storage {

/// Which file a name stands for, whatever names lead to it.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Zeros if there is no such file.
[[nodiscard]] inline FileIdentity identify(const std::string& file) noexcept {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) return {};
    return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
}

[[nodiscard]] inline bool exists(const std::string& file) noexcept { return identify(file) != FileIdentity{}; }

/// The absolute name without links; the name itself where it cannot be resolved (a custom VFS may not use files).
[[nodiscard]] inline std::string resolve(const std::string& file) {
    char* resolved = ::realpath(file.c_str(), nullptr);
    if (resolved == nullptr) return file;
    std::string name{resolved};
    std::free(resolved);  // NOLINT(cppcoreguidelines-no-malloc): realpath allocates
    return name;
}

/// The folder that a file is in, or would be in.
[[nodiscard]] inline std::string folder_of(const std::string& file) {
    const std::size_t slash = file.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : file.substr(0, slash);
}

/// The name of a file system whose locks do not reach all who can open its files; empty for all others.
/// `type` is statfs's f_type; `mount_type` the name in /proc/self/mountinfo, which alone tells FUSE file systems apart.
[[nodiscard]] inline std::string_view network_file_system(std::uint64_t type, std::string_view mount_type) noexcept {
    switch (type) {
        case 0x6969: return "nfs";
        case 0xFF534D42: return "cifs";
        case 0x517B: return "smb";
        case 0xFE534D42: return "smb2";
        case 0x01021997: return "9p";
        case 0x00C36400: return "ceph";
        case 0x65735546: return mount_type == "fuse.sshfs" ? "fuse.sshfs" : "";
        default: return "";
    }
}

/// The type of the mount that holds the device, as /proc/self/mountinfo (proc(5)) names it; empty if unknown.
[[nodiscard]] inline std::string mount_type(std::uint64_t device) {
    const std::string wanted = detail::format(" {}:{} ", {gnu_dev_major(device), gnu_dev_minor(device)});
    std::FILE* const mounts = std::fopen("/proc/self/mountinfo", "re");
    if (mounts == nullptr) return {};
    std::string type;
    char* line = nullptr;
    std::size_t room = 0;
    while (type.empty() && ::getline(&line, &room, mounts) >= 0) {
        const std::string_view fields{line};  // 36 35 98:0 /root /mount/point options optional… - type source options
        const std::size_t numbers = fields.find(' ', fields.find(' ') + 1);
        const std::size_t dash = fields.find(" - ");
        if (dash == std::string_view::npos || fields.substr(numbers, wanted.size()) != wanted) continue;
        type = fields.substr(dash + 3, fields.find(' ', dash + 3) - dash - 3);
    }
    std::free(line);  // NOLINT(cppcoreguidelines-no-malloc): getline allocates
    std::fclose(mounts);
    return type;
}

/// Errors: ConfigError naming the file and why it cannot hold a queue.
inline void check_database_name(const std::string& file) {
    if (file.empty()) throw ConfigError("ClientConfig::database is empty: name the database file");
    if (file.find('\0') != std::string::npos) throw ConfigError("the database's name holds a NUL character");
    if (file == ":memory:" || file.starts_with("file:")) {
        throw ConfigError(
            detail::format("database \"{}\": a file name is needed, no in-memory database and no URI", {file}));
    }
    struct stat status {};
    if (::stat(file.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
        throw ConfigError(detail::format("database \"{}\" is not a regular file", {file}));
    }
    const std::string folder = folder_of(file);
    if (::stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
        throw ConfigError(detail::format("database \"{}\": its folder does not exist", {file}));
    }
    struct statfs system {};
    if (::statfs(folder.c_str(), &system) != 0) return;
    const auto type = static_cast<std::uint64_t>(static_cast<std::uint32_t>(system.f_type));
    const std::string_view name = network_file_system(type, mount_type(status.st_dev));
    if (!name.empty()) {
        throw ConfigError(detail::format(
            "database \"{}\" is on a network file system ({}), whose locks cannot be trusted", {file, name}));
    }
}

}  // namespace storage
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
