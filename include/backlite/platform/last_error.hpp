// SPDX-License-Identifier: MIT
#pragma once
// What the system said of the last call that failed.

#include <string>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// The number of the last error of this thread: errno. Only after a function that says so; calls in between, and
/// allocations, may change it.
[[nodiscard]] int last_error() noexcept;

/// The system's words for it.
[[nodiscard]] std::string error_text(int error);

/// Whether it says that nothing has that name.
[[nodiscard]] bool says_absent(int error) noexcept;

/// Whether it says that there is no room: the disk is full, a quota is used up, or the file is as large as it may be.
[[nodiscard]] bool says_full(int error) noexcept;

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/last_error.ipp>
#endif
