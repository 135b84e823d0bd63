// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/file.hpp>.

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/file.hpp>
#include <backlite/platform/last_error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

static_assert(sizeof(off_t) == 8, "backlite needs 64-bit file offsets: compile with -D_FILE_OFFSET_BITS=64");

BACKLITE_DECL std::optional<FileAccess> access_of(const std::string& file) noexcept {
    struct ::stat found {};
    if (::stat(file.c_str(), &found) != 0) return std::nullopt;
    return FileAccess{.mode = found.st_mode & 0777, .owner = found.st_uid, .group = found.st_gid};
}

BACKLITE_DECL void make_private(const std::string& file) noexcept { ::chmod(file.c_str(), S_IRUSR | S_IWUSR); }

BACKLITE_DECL bool File::open_or_make(const FileAccess& access) noexcept {
    // Without O_CREAT first: with it, Linux may refuse an existing file in a sticky directory (fs.protected_regular).
    // A second and third round happen when others create the file at the same time; more are a bound, not a plan.
    int error = ENOENT;
    for (int round = 0; round < 100 && (error == ENOENT || error == EEXIST); ++round) {
        const int create = error == ENOENT && round > 0 ? O_CREAT | O_EXCL : 0;
        error = descriptor_.open(name_.c_str(), O_RDWR | O_NOFOLLOW | create, access.mode);
    }
    errno = error;
    return error == 0;
}

BACKLITE_DECL bool File::open_to_read() noexcept {
    const int error = descriptor_.open(name_.c_str(), O_RDONLY | O_NOFOLLOW);
    errno = error;
    return error == 0;
}

BACKLITE_DECL std::optional<bool> File::is_regular() const noexcept {
    struct ::stat own {};
    if (::fstat(descriptor(), &own) != 0) return std::nullopt;
    return S_ISREG(own.st_mode);
}

BACKLITE_DECL std::optional<bool> File::in_place() const noexcept {
    struct ::stat own {};
    struct ::stat named {};
    if (::fstat(descriptor(), &own) != 0) return std::nullopt;
    if (::lstat(name_.c_str(), &named) != 0) {
        if (says_absent(errno)) return false;
        return std::nullopt;
    }
    return own.st_dev == named.st_dev && own.st_ino == named.st_ino;
}

BACKLITE_DECL std::optional<std::uint64_t> File::size() const noexcept {
    struct ::stat own {};
    if (::fstat(descriptor(), &own) != 0) return std::nullopt;
    return static_cast<std::uint64_t>(own.st_size);
}

BACKLITE_DECL void File::take_over(const FileAccess& access) const noexcept {
    struct ::stat own {};
    if (::fstat(descriptor(), &own) != 0) return;
    if (own.st_uid != access.owner || own.st_gid != access.group) {
        if (::fchown(descriptor(), access.owner, access.group) != 0) {
            const uid_t keep = static_cast<uid_t>(-1);
            static_cast<void>(::fchown(descriptor(), keep, access.group) == 0);
        }
    }
    // After the owner, so that the mode is not open to the wrong group.
    if ((own.st_mode & 07777) != access.mode) static_cast<void>(::fchmod(descriptor(), access.mode));
}

BACKLITE_DECL std::optional<std::size_t> File::read_at(std::uint64_t offset, void* to,
                                                       std::size_t size) const noexcept {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n =
            ::pread(descriptor(), static_cast<std::byte*>(to) + done, size - done, static_cast<off_t>(offset + done));
        if (n == 0) break;
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (errno != EINTR) {
            return std::nullopt;
        }
    }
    return done;
}

BACKLITE_DECL bool File::write_at(std::uint64_t offset, const void* from, std::size_t size) const noexcept {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n = ::pwrite(descriptor(), static_cast<const std::byte*>(from) + done, size - done,
                                   static_cast<off_t>(offset + done));
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (n == 0 || errno != EINTR) {
            if (n == 0) errno = EIO;
            return false;
        }
    }
    return true;
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
