// SPDX-License-Identifier: MIT
#pragma once
// What the files beside a database tell: whether the processes that it names are alive, and what their workers are
// inside of, without becoming one of them.

#include <optional>
#include <string>
#include <vector>

#include <backlite/platform/file.hpp>
#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// What the workers of a living process are inside of, from its records in the side file. They are the process's own:
/// it wrote them anew when it took the lock, which it holds.
[[nodiscard]] std::optional<std::vector<Inside>> read_inside(const platform::File& file, const Process& process);

/// Sets `alive` of each process whose lock can be asked for, and `inside` of those that live; see OwnerLock. The side
/// file is opened for reading and never made: where it is missing nobody holds a lock. Closing it drops no lock, since
/// those belong to descriptors.
void find_living(const std::string& database, std::vector<Process>& processes) noexcept;

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/side_files.ipp>
#endif
