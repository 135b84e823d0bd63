// SPDX-License-Identifier: MIT
#pragma once
// Signatures of what a page hands out and gets back: HMAC with SHA-256 (RFC 2104, FIPS 180-4).

#include <string>
#include <string_view>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// The 32 bytes of SHA-256.
[[nodiscard]] std::string sha256(std::string_view text);

/// HMAC-SHA-256 of `text`, as 64 hexadecimal digits.
[[nodiscard]] std::string signature(std::string_view secret, std::string_view text);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/signature.ipp>
#endif
