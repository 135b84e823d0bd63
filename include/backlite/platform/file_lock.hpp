// SPDX-License-Identifier: MIT
#pragma once
// Locks that die with their holder.

#include <cstdint>
#include <optional>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

class File;

/// Exclusive locks on single bytes of an open file, each held by that File: another File of this process is refused
/// them like one of another process, and closing it drops none. The system frees them when the File is closed, at the
/// latest when the process dies; no child, forked or started, keeps them alive. They keep nobody from reading or
/// writing the byte, which need not be there.
/// Threads: any; threads that use one File do not exclude each other.
/// Errors: nullopt, and then last_error() says why.
class FileLocks {
public:
    /// REQUIRES: `file` lives longer, and is opened before the first call.
    explicit FileLocks(const File& file) noexcept : file_(file) {}

    /// Takes the lock of a byte; true also if this File holds it already, false if another one does. Never waits.
    /// REQUIRES: the file is open for writing.
    [[nodiscard]] std::optional<bool> try_take(std::uint64_t byte) noexcept;

    /// Whether another File, in this process or another, holds the lock of a byte now. It is not taken to find out.
    [[nodiscard]] std::optional<bool> held_by_other(std::uint64_t byte) const noexcept;

    /// Frees the lock of a byte, if held.
    void release(std::uint64_t byte) noexcept;

private:
    const File& file_;
};

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/system.ipp>
#endif
