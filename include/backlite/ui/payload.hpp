// SPDX-License-Identifier: MIT
#pragma once
// A payload made readable: JSON indented without touching a digit of it, other text as it is, bytes as hexadecimal.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

enum class PayloadKind { json, text, binary };

[[nodiscard]] constexpr std::string_view to_string(PayloadKind kind) noexcept {
    switch (kind) {
        case PayloadKind::json: return "JSON";
        case PayloadKind::text: return "text";
        case PayloadKind::binary: break;
    }
    return "binary";
}

[[nodiscard]] PayloadKind kind_of(std::string_view payload);

/// Lays JSON out over lines, two blanks for each level. Numbers, strings and their order stay as they are written: a
/// parser would round large integers. A text that ends early, cut from a larger one, is laid out as far as it goes.
/// Stops once `limit` bytes are written. Levels below the 32nd are not indented further.
[[nodiscard]] std::string indented_json(std::string_view json, std::size_t limit);

/// Rows of sixteen bytes: offset, hexadecimal, and what of it is printable ASCII. Stops once `limit` bytes are written.
[[nodiscard]] std::string hex_dump(std::string_view bytes, std::size_t limit);

/// `payload` as it is shown, at most about `limit` bytes of it.
[[nodiscard]] std::string readable_payload(std::string_view payload, PayloadKind kind, std::size_t limit);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/payload.ipp>
#endif
