// SPDX-License-Identifier: MIT
#pragma once
// A file that this process keeps open. For files of ours only: SQLite loses its locks on a file of which the process
// closes any descriptor (sqlite.org/howtocorrupt.html, 2.2).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <backlite/platform/fork.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// Who owns a file, and who may use it.
struct FileAccess {
    std::uint32_t mode = 0;  ///< the permissions alone
    std::uint32_t owner = 0;
    std::uint32_t group = 0;
};

/// Links are followed. Nullopt if it cannot be told: then last_error() says why.
[[nodiscard]] std::optional<FileAccess> access_of(const std::string& file) noexcept;

/// From now on nobody but its owner reads or writes the file. What the process may not set stays as it is.
void make_private(const std::string& file) noexcept;

/// An open file; no forked child has it, and no program that this process starts. Its locks: FileLocks.
/// Threads: any; opening needs the owner's care.
/// Errors: false or nullopt, and then last_error() says why.
class File {
public:
    /// Opens nothing yet. Errors: std::bad_alloc.
    explicit File(std::string name) : name_(std::move(name)) {}

    /// For reading and writing. What is not there is made, and may be used as `access` says and the umask lets it. A
    /// symbolic link is an error: whoever may write to the folder could plant one, and have us write to its target.
    [[nodiscard]] bool open_or_make(const FileAccess& access) noexcept;

    /// A symbolic link is an error.
    [[nodiscard]] bool open_to_read() noexcept;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// False for a folder, a pipe or a device.
    [[nodiscard]] std::optional<bool> is_regular() const noexcept;

    /// True while the file of this name is the one that is open; false once that was deleted or replaced.
    [[nodiscard]] std::optional<bool> in_place() const noexcept;

    [[nodiscard]] std::optional<std::uint64_t> size() const noexcept;

    /// Gives it that owner and those permissions. What the process may not set stays as it is.
    void take_over(const FileAccess& access) const noexcept;

    /// How many bytes were read: fewer than `size` only where the file ends.
    [[nodiscard]] std::optional<std::size_t> read_at(std::uint64_t offset, void* to, std::size_t size) const noexcept;

    [[nodiscard]] bool write_at(std::uint64_t offset, const void* from, std::size_t size) const noexcept;

    /// For the rest of platform/. -1 if nothing is open, and in a forked child.
    [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }

private:
    std::string name_;
    ForkClosedFd descriptor_{};
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/file.ipp>
#endif
