// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/database_file.hpp>.

#include <backlite/store/sqlite/database_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL bool look_at(const std::string& file, struct ::statx& found) {
    if (::statx(AT_FDCWD, file.c_str(), 0, STATX_BASIC_STATS, &found) == 0) return true;
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) return false;
    throw StorageError(detail::format("cannot look at \"{}\": {}", {file, std::generic_category().message(error)}),
                       SQLITE_CANTOPEN);
}

BACKLITE_DECL FileIdentity identify(const std::string& file) {
    struct ::statx found {};
    if (!look_at(file, found)) return {};
    return {std::uint64_t{found.stx_dev_major} << 32 | found.stx_dev_minor, found.stx_ino};
}

BACKLITE_DECL std::string folder_of(const std::string& file) {
    const std::size_t slash = file.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : file.substr(0, slash);
}

BACKLITE_DECL bool is_local_file_system(std::uint32_t type, std::string_view mount_type) noexcept {
    switch (type) {
        case 0xEF53:      // ext2, ext3, ext4
        case 0x58465342:  // xfs
        case 0x9123683E:  // btrfs
        case 0xF2F52010:  // f2fs
        case 0x2FC12FC1:  // zfs
        case 0xCA451A4E:  // bcachefs
        case 0x3153464A:  // jfs
        case 0x52654973:  // reiserfs
        case 0x3434:      // nilfs2
        case 0x01021994:  // tmpfs
        case 0x858458F6:  // ramfs
        case 0x794C7630:  // overlay
        case 0x61756673:  // aufs
        case 0xF15F:      // ecryptfs
        case 0x6A656A62:  // shiftfs
        case 0x24051905:  // ubifs
        case 0x72B6:      // jffs2
        case 0x4D44:      // vfat
        case 0x2011BAB0:  // exfat
        case 0x7366746E:  // ntfs3
        case 0x5346544E:  // ntfs
        case 0x482B:      // hfsplus
        case 0x15013346:  // udf
            return true;
        case 0x65735546:  // FUSE: a disk of this machine, a container's root, an encrypted folder; the rest is remote
            return mount_type == "fuseblk" || mount_type == "fuse.fuse-overlayfs" || mount_type == "fuse.gocryptfs" ||
                   mount_type == "fuse.encfs";
        default: return false;
    }
}

BACKLITE_DECL std::string mount_type(unsigned device_major, unsigned device_minor) {
    const std::string wanted = detail::format(" {}:{} ", {device_major, device_minor});
    const std::unique_ptr<std::FILE, FromC> mounts{std::fopen("/proc/self/mountinfo", "re")};
    std::unique_ptr<char, FromC> line;
    std::size_t room = 0;
    std::string type;
    while (mounts && type.empty()) {
        char* buffer = line.release();  // of which getline makes a larger one if need be
        const auto read = ::getline(&buffer, &room, mounts.get());
        line.reset(buffer);
        if (read < 0) break;
        const std::string_view fields{buffer};  // 36 35 98:0 /root /mount/point options optional… - type source options
        const std::size_t numbers = fields.find(' ', fields.find(' ') + 1);
        const std::size_t dash = fields.find(" - ");
        if (dash == std::string_view::npos || fields.substr(numbers, wanted.size()) != wanted) continue;
        type = fields.substr(dash + 3, fields.find(' ', dash + 3) - dash - 3);
    }
    return type;
}

BACKLITE_DECL void check_database_name(const std::string& file) {
    if (file.empty()) throw ConfigError("ClientConfig::database is empty: name the database file");
    if (file.find('\0') != std::string::npos) throw ConfigError("the database's name holds a NUL character");
    if (file == ":memory:" || file.starts_with("file:")) {
        throw ConfigError(
            detail::format("database \"{}\": a file name is needed, no in-memory database and no URI", {file}));
    }
    struct ::statx found {};
    if (look_at(file, found) && !S_ISREG(found.stx_mode)) {
        throw ConfigError(detail::format("database \"{}\" is not a regular file", {file}));
    }
    if (!look_at(folder_of(file), found) || !S_ISDIR(found.stx_mode)) {
        throw ConfigError(detail::format("database \"{}\": its folder does not exist", {file}));
    }
}

BACKLITE_DECL bool is_mounted_alone(const struct ::statx& file, const struct ::statx& folder) noexcept {
    constexpr std::uint64_t mount_root = 0x2000;  // STATX_ATTR_MOUNT_ROOT, which not every C library names
    if ((file.stx_attributes_mask & mount_root) != 0) return (file.stx_attributes & mount_root) != 0;
    return file.stx_dev_major != folder.stx_dev_major || file.stx_dev_minor != folder.stx_dev_minor;  // Linux < 5.8
}

BACKLITE_DECL void check_place(const std::string& file, bool trust_file_system) {
    struct ::statx found {};
    struct ::statx folder {};
    const std::string folder_name = folder_of(file);
    if (!look_at(folder_name, folder)) return;  // what a custom VFS names need not be files
    if (look_at(file, found)) {
        if (found.stx_nlink > 1) {
            throw ConfigError(
                detail::format("database \"{}\" has {} names (hard links), and SQLite keeps a log for each: what is "
                               "added by one may be lost; leave it one name",
                               {file, found.stx_nlink}));
        }
        if (is_mounted_alone(found, folder)) {
            throw ConfigError(
                detail::format("database \"{}\" is mounted by itself: its log would lie elsewhere than that of others "
                               "who use the file, and be lost; mount the folder that it is in",
                               {file}));
        }
    }
    if (trust_file_system) return;
    struct ::statfs system {};
    if (::statfs(folder_name.c_str(), &system) != 0) {
        const int error = errno;
        throw StorageError(
            detail::format("cannot look at \"{}\": {}", {folder_name, std::generic_category().message(error)}),
            SQLITE_CANTOPEN);
    }
    const std::string name = mount_type(folder.stx_dev_major, folder.stx_dev_minor);
    if (!is_local_file_system(static_cast<std::uint32_t>(system.f_type), name)) {
        throw ConfigError(
            detail::format("database \"{}\" is on a file system ({}) that is not known to be local: the locks of "
                           "network file systems cannot be trusted; if all who use the file are programs of this "
                           "machine, set ClientConfig::trust_file_system",
                           {file, name.empty() ? "of unknown type" : name.c_str()}));
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
