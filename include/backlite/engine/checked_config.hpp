// SPDX-License-Identifier: MIT
#pragma once
// The limits of ClientConfig.

#include <algorithm>
#include <chrono>

#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// The same, if it can work. Errors: ConfigError naming the value that cannot.
[[nodiscard]] ClientConfig checked_config(ClientConfig config);

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/checked_config.ipp>
#endif
