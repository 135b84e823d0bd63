// SPDX-License-Identifier: MIT
#pragma once
// Open file description locks (fcntl(2)), since Linux 3.15.

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include <backlite/platform/file.hpp>
#include <backlite/platform/file_lock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

[[nodiscard]] inline struct ::flock lock_of_byte(std::uint64_t byte, short type) noexcept {
    struct ::flock lock {};  // l_pid must be zero
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(byte);
    lock.l_len = 1;
    return lock;
}

BACKLITE_DECL std::optional<bool> FileLocks::try_take(std::uint64_t byte) noexcept {
    struct ::flock lock = lock_of_byte(byte, F_WRLCK);
    while (::fcntl(file_.descriptor(), F_OFD_SETLK, &lock) != 0) {
        if (errno == EAGAIN || errno == EACCES) return false;
        if (errno != EINTR) return std::nullopt;
    }
    return true;
}

BACKLITE_DECL std::optional<bool> FileLocks::held_by_other(std::uint64_t byte) const noexcept {
    struct ::flock probe = lock_of_byte(byte, F_WRLCK);
    while (::fcntl(file_.descriptor(), F_OFD_GETLK, &probe) != 0) {
        if (errno != EINTR) return std::nullopt;
    }
    return probe.l_type != F_UNLCK;
}

BACKLITE_DECL void FileLocks::release(std::uint64_t byte) noexcept {
    struct ::flock lock = lock_of_byte(byte, F_UNLCK);
    while (::fcntl(file_.descriptor(), F_OFD_SETLK, &lock) != 0 && errno == EINTR) {
    }
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
