// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/shared_memory.hpp>.

#include <cerrno>
#include <optional>
#include <vector>

#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/file.hpp>
#include <backlite/platform/shared_memory.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL auto SharedMemory::map(const File& file, std::uint64_t offset, std::size_t size) -> Fault {
    unmap();
    // Whole pages, since a store makes the file system allocate the whole page that it touches.
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    size = (size + page - 1) / page * page;
    if (const Fault fault = make_room(file, offset, size); fault != Fault::none) return fault;

    // Through a second open file description, which the mapping keeps alive until the last of them is gone: the locks
    // must not be on it.
    ForkClosedFd second;
    if (!open_again(file, second)) return Fault::open;
    void* const at =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, second.get(), static_cast<off_t>(offset));
    if (at == MAP_FAILED) {
        const int refused = errno;
        second.close();
        errno = refused;
        return Fault::map;
    }
    if (!keep_from_children(at, size)) {
        const int refused = errno;
        ::munmap(at, size);
        second.close();
        errno = refused;
        return Fault::map;
    }
    data_ = static_cast<std::byte*>(at);
    size_ = size;
    offset_ = offset;
    return Fault::none;
}

BACKLITE_DECL auto SharedMemory::keep_room(const File& file) const -> Fault {
    if (data_ == nullptr) return Fault::none;
    const std::optional<std::uint64_t> length = file.size();
    if (!length) return Fault::look;
    return *length < offset_ + size_ ? make_room(file, offset_, size_) : Fault::none;
}

BACKLITE_DECL void SharedMemory::unmap() noexcept {
    if (data_ == nullptr) return;
    // In a child nothing is mapped there, or by now something of the child's own.
    if (!guard_.forked()) ::munmap(data_, size_);
    data_ = nullptr;
    size_ = 0;
}

BACKLITE_DECL auto SharedMemory::make_room(const File& file, std::uint64_t offset, std::size_t size) -> Fault {
    if (!allocate(file, offset, size)) return Fault::allocate;
    const std::vector<std::byte> zeros(size);
    return file.write_at(offset, zeros.data(), zeros.size()) ? Fault::none : Fault::write;
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
