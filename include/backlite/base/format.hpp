// SPDX-License-Identifier: MIT
#pragma once
// Messages from a pattern and values, without a template for each: what fmt::format checks and instantiates at each
// call is compiled again in every file that includes the library.

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <new>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// One value of a message. Text must live until the message is made. Needs no memory.
class Piece {
public:
    // NOLINTBEGIN(google-explicit-constructor): a list of values is written as it is read
    Piece(std::string_view text) noexcept : text_(text) {}
    Piece(const std::string& text) noexcept : text_(text) {}
    Piece(const char* text) noexcept : text_(text) {}
    Piece(int number) noexcept : Piece(fmt::format_int(number)) {}
    Piece(unsigned number) noexcept : Piece(fmt::format_int(number)) {}
    Piece(long number) noexcept : Piece(fmt::format_int(number)) {}
    Piece(unsigned long number) noexcept : Piece(fmt::format_int(number)) {}
    Piece(long long number) noexcept : Piece(fmt::format_int(number)) {}
    Piece(unsigned long long number) noexcept : Piece(fmt::format_int(number)) {}
    /// The shortest text that reads back as the same number, whatever the locale.
    Piece(double number) noexcept;
    // NOLINTEND(google-explicit-constructor)
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;
    ~Piece() = default;

    [[nodiscard]] std::string_view text() const noexcept { return text_; }

private:
    explicit Piece(const fmt::format_int& digits) noexcept : text_(number_, digits.size()) {
        std::copy_n(digits.data(), digits.size(), number_);
    }

    /// How many characters there are.
    static std::size_t write(char* at, char* end, double number) noexcept;

    char number_[32]{};  ///< the longest is "-2.2250738585072014e-308"
    std::string_view text_;
};

/// `pattern`, with each "{}" replaced by the next piece. A "{}" without a piece stays.
[[nodiscard]] std::string format(std::string_view pattern, std::initializer_list<Piece> pieces);

/// The same; "(out of memory)" if there is none, which needs none.
[[nodiscard]] std::string format_or_say(std::string_view pattern, std::initializer_list<Piece> pieces) noexcept;

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/base/format.ipp>
#endif
