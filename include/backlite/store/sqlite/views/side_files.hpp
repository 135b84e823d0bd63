// SPDX-License-Identifier: MIT
#pragma once
// What the files beside a database tell: whether the processes that it names are alive, and what their workers are
// inside of, without becoming one of them; and how large the log is.

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/file_identity.hpp>
#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// What the workers of a living process are inside of, from its records in the side file. They are the process's own:
/// it wrote them anew when it took the lock, which it holds.
[[nodiscard]] std::optional<std::vector<Inside>> read_inside(int file, const Process& process);

/// Sets `alive` of each process whose lock can be asked for, and `inside` of those that live; see OwnerLock. The side
/// file is opened for reading and never made: where it is missing nobody holds a lock. Closing it drops no lock, since
/// those belong to descriptors.
void find_living(const std::string& database, std::vector<Process>& processes) noexcept;

/// Bytes of the write-ahead log; nullopt if there is none, or if that cannot be told. Errors: std::bad_alloc.
[[nodiscard]] std::optional<std::int64_t> log_bytes(const std::string& database);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/side_files.ipp>
#endif
