// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/last_error.hpp>.

#include <cerrno>
#include <system_error>

#include <backlite/platform/last_error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL int last_error() noexcept { return errno; }

BACKLITE_DECL std::string error_text(int error) { return std::generic_category().message(error); }

BACKLITE_DECL bool says_absent(int error) noexcept { return error == ENOENT || error == ENOTDIR; }

BACKLITE_DECL bool says_full(int error) noexcept { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
