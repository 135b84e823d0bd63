// SPDX-License-Identifier: MIT
#pragma once
// This process and the others of the machine: their numbers, names and locks, and when the machine was started.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

[[nodiscard]] int own_pid() noexcept;

/// What this machine is called; empty if it is not. Read once. Errors: std::bad_alloc.
[[nodiscard]] const std::string& host_name();

/// What ps calls a process, such as "sqlite3"; empty if there is none of that number.
[[nodiscard]] std::string process_name(int pid);

/// A lock that a process holds by fcntl(F_SETLK).
struct ProcessLock {
    std::string file{};  ///< "device:inode", where some file systems have another device than stat tells
    int pid = 0;
    bool shared = false;
    long first = 0;  ///< the first byte
    long last = 0;   ///< the last one
};

/// Those on all files of that inode number, as /proc/locks lists them for all users, but for locks without an end.
/// Empty where it does not, as it leaves out other containers.
[[nodiscard]] std::vector<ProcessLock> process_locks(std::uint64_t inode);

/// The system's name for the time since its last start. Read once. Errors: StorageError.
[[nodiscard]] std::string boot_id();

/// Writes `message` to stderr and ends the process at once: nothing that exit() would run is run.
[[noreturn]] void end_process(std::string_view message) noexcept;

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/process.ipp>
#include <backlite/impl/platform/system.ipp>
#endif
