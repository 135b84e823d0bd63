// SPDX-License-Identifier: MIT
#pragma once
// Memory that processes share, and that stays readable when the one that wrote it dies.

#include <cstddef>
#include <cstdint>

#include <backlite/platform/fork.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

class File;

/// A part of a file, mapped: a plain store is seen at once by all who map or read that part, and outlives the process.
///
/// A store behind the end of the file, or into a part of it that the disk has no room for, is a SIGBUS. So the part is
/// allocated before it is mapped, where a full disk is an error; and once somebody has cut the file short, keep_room()
/// makes it long enough again. A store between the cut and that call is a SIGBUS still.
///
/// A forked child does not have the mapping: a store there is a SIGSEGV, and no end of the object unmaps what the child
/// has at that address by then.
/// Threads: as memory; `map` and `unmap` need the owner's care.
class SharedMemory {
public:
    /// What could not be done; last_error() says why. What is no system call throws std::bad_alloc.
    enum class Fault { none, look, allocate, write, open, map };

    /// Maps nothing yet. Errors: std::bad_alloc.
    SharedMemory() = default;
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() { unmap(); }

    /// Maps the bytes from `offset` on, at least `size` of them, all zero; what was mapped before is not any more. The
    /// mapping keeps no lock of the file alive. It is of the open file, whatever has its name by now.
    /// REQUIRES: `offset` is a multiple of 64 KiB, which is one of every system's page.
    [[nodiscard]] Fault map(const File& file, std::uint64_t offset, std::size_t size);

    /// Gives the mapped part its room again, filled with zeros, if the file has become too short for it.
    /// REQUIRES: `file` is the one that was mapped; no map() or unmap() at the same time.
    [[nodiscard]] Fault keep_room(const File& file) const;

    void unmap() noexcept;

    /// Null while nothing is mapped; see above for a forked child.
    [[nodiscard]] std::byte* data() const noexcept { return data_; }

private:
    [[nodiscard]] static Fault make_room(const File& file, std::uint64_t offset, std::size_t size);
    // the system's
    [[nodiscard]] static bool allocate(const File& file, std::uint64_t offset, std::size_t size) noexcept;
    [[nodiscard]] static bool open_again(const File& file, ForkClosedFd& second);
    [[nodiscard]] static bool keep_from_children(void* at, std::size_t size) noexcept;

    ForkGuard guard_{};
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t offset_ = 0;
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/shared_memory.ipp>
#include <backlite/impl/platform/system.ipp>
#endif
