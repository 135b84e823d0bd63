// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/process.hpp>.

#include <array>

#include <unistd.h>

#include <backlite/platform/process.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL int own_pid() noexcept { return ::getpid(); }

BACKLITE_DECL const std::string& host_name() {
    static const std::string name = [] {
        std::array<char, 256> buffer{};
        if (::gethostname(buffer.data(), buffer.size() - 1) != 0) buffer.front() = '\0';
        return std::string{buffer.data()};
    }();
    return name;
}

BACKLITE_DECL void end_process(std::string_view message) noexcept {
    if (::write(STDERR_FILENO, message.data(), message.size()) < 0) {  // nobody to tell
    }
    ::_exit(1);
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
