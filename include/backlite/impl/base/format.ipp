// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/base/format.hpp>.

#include <charconv>
#include <cmath>
#include <iterator>

#include <backlite/base/format.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

// Not by fmt: its floating-point numbers are 70 kB of templates in every file that includes the library.
BACKLITE_DECL Piece::Piece(double number) noexcept : text_(number_, write(number_, std::end(number_), number)) {}

BACKLITE_DECL std::size_t Piece::write(char* at, char* end, double number) noexcept {
    const bool whole = number > -1e16 && number < 1e16 && number == std::trunc(number);  // "100000", not "1e+05"
    const auto written =
        whole ? std::to_chars(at, end, static_cast<long long>(number)) : std::to_chars(at, end, number);
    return static_cast<std::size_t>(written.ptr - at);
}

BACKLITE_DECL std::string format(std::string_view pattern, std::initializer_list<Piece> pieces) {
    std::string text;
    for (const Piece& piece : pieces) {
        const std::size_t hole = pattern.find("{}");
        if (hole == std::string_view::npos) break;
        text.append(pattern.substr(0, hole)).append(piece.text());
        pattern.remove_prefix(hole + 2);
    }
    return text.append(pattern);
}

BACKLITE_DECL std::string format_or_say(std::string_view pattern, std::initializer_list<Piece> pieces) noexcept {
    try {
        return format(pattern, pieces);
    } catch (const std::bad_alloc&) {
        return "(out of memory)";
    }
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
