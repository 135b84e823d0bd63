// SPDX-License-Identifier: MIT
#pragma once
// The version of the library, for the preprocessor and for programs.

#define BACKLITE_VERSION_MAJOR 0
#define BACKLITE_VERSION_MINOR 1
#define BACKLITE_VERSION_PATCH 0

namespace backlite {
inline namespace v1 {

/// One number that grows with each release: major * 1,000,000 + minor * 1,000 + patch.
/// Stored in `backlite_clients` and compared with `backlite_meta`: never change how it is made.
inline constexpr int version_number =
    BACKLITE_VERSION_MAJOR * 1'000'000 + BACKLITE_VERSION_MINOR * 1'000 + BACKLITE_VERSION_PATCH;

}  // namespace v1
}  // namespace backlite
