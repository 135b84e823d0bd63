// SPDX-License-Identifier: MIT
#pragma once
// Messages from a pattern and values, without a template for each: what fmt::format checks and instantiates at each
// call is compiled again in every file that includes the library.

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// One value of a message. Text must live until the message is made.
class Piece {
public:
    // NOLINTBEGIN(google-explicit-constructor): a list of values is written as it is read
    Piece(std::string_view text) noexcept : text_(text) {}
    Piece(const std::string& text) noexcept : text_(text) {}
    Piece(const char* text) noexcept : text_(text) {}
    Piece(int number) : number_(std::to_string(number)), text_(number_) {}
    Piece(unsigned number) : number_(std::to_string(number)), text_(number_) {}
    Piece(long number) : number_(std::to_string(number)), text_(number_) {}
    Piece(unsigned long number) : number_(std::to_string(number)), text_(number_) {}
    Piece(long long number) : number_(std::to_string(number)), text_(number_) {}
    Piece(unsigned long long number) : number_(std::to_string(number)), text_(number_) {}
    /// The shortest text that reads back as the same number, whatever the locale.
    Piece(double number) : number_(fmt::vformat("{}", fmt::make_format_args(number))), text_(number_) {}
    // NOLINTEND(google-explicit-constructor)
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;
    ~Piece() = default;

    [[nodiscard]] std::string_view text() const noexcept { return text_; }

private:
    std::string number_{};
    std::string_view text_;
};

/// `pattern`, with each "{}" replaced by the next piece. What has no piece stays as it is.
[[nodiscard]] inline std::string format(std::string_view pattern, std::initializer_list<Piece> pieces) {
    std::string text;
    for (const Piece& piece : pieces) {
        const std::size_t hole = pattern.find("{}");
        if (hole == std::string_view::npos) break;
        text.append(pattern.substr(0, hole)).append(piece.text());
        pattern.remove_prefix(hole + 2);
    }
    return text.append(pattern);
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
