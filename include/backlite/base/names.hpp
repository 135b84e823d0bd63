// SPDX-License-Identifier: MIT
#pragma once
// Names that a host gives to what is kept with a task.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <backlite/base/format.hpp>
#include <backlite/unique.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// The most bytes of a name.
inline constexpr std::size_t longest_name = 200;

/// Why something may not have this name; nullopt if it may.
[[nodiscard]] inline std::optional<std::string> why_no_name(std::string_view name) {
    if (name.empty()) return "is empty";
    if (name.size() > longest_name) return format("has {} bytes, more than {}", {name.size(), longest_name});
    if (!is_utf8(name)) return "is not UTF-8";
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; };
    if (std::any_of(name.begin(), name.end(), is_control)) return "holds a control character";
    return std::nullopt;
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
