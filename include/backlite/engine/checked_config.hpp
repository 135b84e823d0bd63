// SPDX-License-Identifier: MIT
#pragma once
// The limits of ClientConfig.

#include <chrono>

#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/store/sqlite/database_file.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// The configuration with a database name that stays the same file. Errors: ConfigError naming the value that cannot
/// work.
[[nodiscard]] ClientConfig checked_config(ClientConfig config);

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/checked_config.ipp>
#endif
