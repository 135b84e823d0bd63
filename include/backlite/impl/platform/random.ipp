// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/random.hpp>.

#include <cerrno>
#include <system_error>

#include <unistd.h>

#include <backlite/platform/random.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL std::uint64_t random_seed() {
    std::uint64_t seed = 0;
    if (::getentropy(&seed, sizeof seed) != 0) {
        throw std::system_error(errno, std::generic_category(), "no random numbers from the kernel");
    }
    return seed;
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
