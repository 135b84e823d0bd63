// SPDX-License-Identifier: MIT
#pragma once
// Files by statx(2), file systems by statfs(2) and /proc.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/last_error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

[[nodiscard]] inline FileIdentity identity_in(const struct ::statx& found) noexcept {
    return {std::uint64_t{found.stx_dev_major} << 32 | found.stx_dev_minor, found.stx_ino};
}

BACKLITE_DECL std::optional<FileFacts> glance_at(const std::string& file) noexcept {
    struct ::statx found {};
    if (::statx(AT_FDCWD, file.c_str(), 0, STATX_BASIC_STATS, &found) != 0) return std::nullopt;
    constexpr std::uint64_t mount_root = 0x2000;  // STATX_ATTR_MOUNT_ROOT, which not every C library names
    FileFacts facts{
        .identity = identity_in(found),
        .size = found.stx_size,
        .names = found.stx_nlink,
        .regular = S_ISREG(found.stx_mode),
        .folder = S_ISDIR(found.stx_mode),
    };
    if ((found.stx_attributes_mask & mount_root) != 0) facts.mount_point = (found.stx_attributes & mount_root) != 0;
    return facts;
}

BACKLITE_DECL std::optional<OpenedIdentity> identify(const File& file) noexcept {
    struct ::statx found {};
    if (::statx(file.descriptor(), "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &found) != 0) return std::nullopt;
    OpenedIdentity opened{.identity = identity_in(found)};
    if ((found.stx_mask & STATX_BTIME) != 0) {
        opened.born_seconds = found.stx_btime.tv_sec;
        opened.born_nanoseconds = found.stx_btime.tv_nsec;
    }
    return opened;
}

BACKLITE_DECL std::uint32_t file_system_type(const std::string& folder) {
    struct ::statfs system {};
    if (::statfs(folder.c_str(), &system) != 0) {
        const int error = last_error();
        throw StorageError(detail::format("cannot look at \"{}\": {}", {folder, error_text(error)}), cannot_open);
    }
    return static_cast<std::uint32_t>(system.f_type);
}

BACKLITE_DECL std::string mount_type(std::uint64_t device) {
    const std::string wanted = detail::format(" {}:{} ", {device >> 32, device & 0xffffffff});
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

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
