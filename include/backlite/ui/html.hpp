// SPDX-License-Identifier: MIT
#pragma once
// Html: markup that is written by literals of ours, with everything else escaped. The compiler checks each literal.

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include <backlite/ui/request.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

class Html;

namespace detail {

// Not constexpr: to reach one while a literal is checked is an error that names it.
inline void literal_has_another_number_of_places() {}
inline void place_in_a_tag_is_not_in_double_quotes() {}
inline void markup_is_put_into_an_attribute() {}
inline void literal_ends_inside_a_tag() {}
inline void inline_style_script_or_handler() {}

}  // namespace detail

/// A literal with places `{}` for `Args`. It does not compile unless the number of places is right, each stands in text
/// or within the double quotes of an attribute, markup goes into text only, no tag is left open, and there is no inline
/// style, script or event handler, which the content security policy forbids.
template <class... Args>
class Template {
public:
    consteval Template(const char* literal) : text_(literal) {  // NOLINT(google-explicit-constructor): `put("<b>")`
        constexpr bool is_markup[] = {std::is_same_v<Args, Html>..., false};
        std::size_t places = 0;
        bool in_tag = false;
        bool in_quotes = false;
        for (std::size_t i = 0; i < text_.size(); ++i) {
            const char c = text_[i];
            if (in_quotes) {
                if (c == '"') in_quotes = false;
            } else if (in_tag) {
                if (c == '"') in_quotes = true;
                if (c == '>') in_tag = false;
                const std::string_view rest = text_.substr(i);
                if (rest.starts_with(" style=") || rest.starts_with(" on")) detail::inline_style_script_or_handler();
            } else if (c == '<') {
                in_tag = true;
                const std::string_view rest = text_.substr(i);
                if (rest.starts_with("<style") || rest.starts_with("<script>"))
                    detail::inline_style_script_or_handler();
            }
            if (c != '{') continue;
            if (text_.substr(i, 2) != "{}") detail::literal_has_another_number_of_places();
            if (in_tag && !in_quotes) detail::place_in_a_tag_is_not_in_double_quotes();
            if (places < sizeof...(Args) && is_markup[places] && in_tag) detail::markup_is_put_into_an_attribute();
            ++places;
            ++i;
        }
        if (places != sizeof...(Args)) detail::literal_has_another_number_of_places();
        if (in_tag) detail::literal_ends_inside_a_tag();
    }

    [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

private:
    std::string_view text_;
};

/// Markup in the making. What goes into a place is escaped, unless it is Html itself.
class Html {
public:
    template <class... Args>
    Html& put(Template<std::type_identity_t<Args>...> literal, const Args&... args) {
        std::string_view rest = literal.text();
        (put_place(rest, args), ...);
        text_ += rest;
        return *this;
    }

    /// Adds text, escaped for text and for attributes in quotes. What is no text, or would change how the page reads,
    /// becomes U+FFFD.
    Html& text(std::string_view text);

    [[nodiscard]] const std::string& str() const noexcept { return text_; }
    [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
    [[nodiscard]] std::string take() && { return std::move(text_); }

private:
    template <class Arg>
    void put_place(std::string_view& rest, const Arg& arg) {
        const std::size_t place = rest.find("{}");
        text_ += rest.substr(0, place);
        rest.remove_prefix(place + 2);
        if constexpr (std::is_same_v<Arg, Html>) {
            text_ += arg.text_;
        } else if constexpr (std::is_same_v<Arg, Link>) {
            text(arg.str());
        } else if constexpr (std::is_arithmetic_v<Arg>) {
            text_ += fmt::to_string(arg);
        } else {
            text(std::string_view{arg});
        }
    }

    std::string text_{};
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/html.ipp>
#endif
