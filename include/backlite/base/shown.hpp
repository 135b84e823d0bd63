// SPDX-License-Identifier: MIT
#pragma once
// Text of others as an error shows it.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// The first `most` bytes of `text`, with "?" for each control character: a zero would end the message.
[[nodiscard]] inline std::string shown(std::string_view text, std::size_t most) {
    std::string cut{text.substr(0, most)};
    std::replace_if(
        cut.begin(), cut.end(), [](unsigned char c) { return c < ' ' || c == 127; }, '?');
    return cut;
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
