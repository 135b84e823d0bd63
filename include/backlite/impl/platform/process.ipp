// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/process.hpp>.

#include <unistd.h>

#include <backlite/platform/process.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL int own_pid() noexcept { return ::getpid(); }

BACKLITE_DECL void end_process(std::string_view message) noexcept {
    if (::write(STDERR_FILENO, message.data(), message.size()) < 0) {  // nobody to tell
    }
    ::_exit(1);
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
