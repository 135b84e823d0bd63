// SPDX-License-Identifier: MIT
#pragma once
// The name of a thread.

#include <algorithm>
#include <array>

#include <pthread.h>

#include <backlite/platform/thread.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL void name_this_thread(const std::string& name) noexcept {
    std::array<char, 16> shown{};
    std::copy_n(name.begin(), (std::min)(name.size(), shown.size() - 1), shown.begin());
    pthread_setname_np(pthread_self(), shown.data());
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
