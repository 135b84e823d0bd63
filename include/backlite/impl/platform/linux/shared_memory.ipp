// SPDX-License-Identifier: MIT
#pragma once
// What Linux gives shared memory beside mmap.

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <backlite/base/format.hpp>
#include <backlite/platform/file.hpp>
#include <backlite/platform/shared_memory.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

// Not every C library imitates it where the file system has none; then the zeros that are written next allocate.
BACKLITE_DECL bool SharedMemory::allocate(const File& file, std::uint64_t offset, std::size_t size) noexcept {
    int error = EINTR;
    while (error == EINTR) {
        error = ::posix_fallocate(file.descriptor(), static_cast<off_t>(offset), static_cast<off_t>(size));
    }
    errno = error;
    return error == 0 || error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
}

// By way of /proc: the name may lead to another file by now.
BACKLITE_DECL bool SharedMemory::open_again(const File& file, ForkClosedFd& second) {
    const int error = second.open(detail::format("/proc/self/fd/{}", {file.descriptor()}).c_str(), O_RDWR);
    errno = error;
    return error == 0;
}

BACKLITE_DECL bool SharedMemory::keep_from_children(void* at, std::size_t size) noexcept {
    return ::madvise(at, size, MADV_DONTFORK) == 0;
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
