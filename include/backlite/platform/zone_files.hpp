// SPDX-License-Identifier: MIT
#pragma once
// Where the system keeps the time zones, one file each.

#include <cstddef>
#include <optional>
#include <string>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// The folder that the environment variable TZDIR names, as for the C library; empty if it names none.
/// Threads: any, while no other changes the environment.
[[nodiscard]] std::string chosen_zone_folder();

/// The bytes of the file of that name in `chosen_zone_folder()`, or else in the first folder of the system's that has
/// it; at most `most` bytes of it. `name` must be relative and stay in the folder: it is not looked at here. Links are
/// followed, since many zones are links. A folder, a pipe or a device is no zone.
/// Errors: nullopt, and then last_error() says why; std::bad_alloc.
[[nodiscard]] std::optional<std::string> zone_file(const std::string& name, std::size_t most);

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/zone_files.ipp>
#endif
