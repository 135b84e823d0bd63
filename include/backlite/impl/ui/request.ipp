// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/request.hpp>.

#include <backlite/ui/request.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL bool same_name(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

BACKLITE_DECL std::optional<std::string_view> only_header(const Headers& headers, std::string_view name) {
    std::optional<std::string_view> found;
    for (const auto& [key, value] : headers) {
        if (!same_name(key, name)) continue;
        if (found) return std::nullopt;
        found = value;
    }
    return found;
}

BACKLITE_DECL std::optional<std::int64_t> parse_integer(std::string_view text) noexcept {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

BACKLITE_DECL std::optional<std::string> percent_decoded(std::string_view text) {
    const auto digit = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
    };
    std::string decoded;
    decoded.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        if (text.size() - i < 3 || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return std::nullopt;
        decoded += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
        i += 2;
    }
    return decoded;
}

BACKLITE_DECL void append_encoded(std::string& out, std::string_view text) {
    for (const char c : text) {
        const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                c == '-' || c == '.' || c == '_' || c == '~';
        if (unreserved) {
            out += c;
            continue;
        }
        constexpr char digits[] = "0123456789ABCDEF";
        const auto byte = static_cast<unsigned char>(c);
        out += {'%', digits[byte >> 4], digits[byte & 0xfU]};
    }
}

BACKLITE_DECL std::string_view Target::get(std::string_view name) const noexcept {
    for (const auto& [key, value] : query) {
        if (key == name) return value;
    }
    return {};
}

BACKLITE_DECL std::pair<std::string_view, std::string_view> split_target(std::string_view raw) noexcept {
    for (const std::string_view scheme : {std::string_view{"http://"}, std::string_view{"https://"}}) {
        if (!same_name(raw.substr(0, scheme.size()), scheme)) continue;
        const std::string_view rest = raw.substr(scheme.size());
        const std::size_t end = rest.find_first_of("/?");
        if (end == std::string_view::npos) return {rest, "/"};
        return {rest.substr(0, end), rest.substr(end)};
    }
    return {{}, raw};
}

BACKLITE_DECL TargetFault parse_target(std::string_view raw, std::string_view base, Target& target) {
    constexpr std::size_t longest = 8'192;
    constexpr std::size_t most_parts = 64;
    if (raw.size() > longest) return TargetFault::too_long;
    if (raw.empty() || raw.front() != '/') return TargetFault::malformed;
    const std::size_t mark = raw.find('?');
    std::string_view path = raw.substr(0, mark);
    std::string_view query = mark == std::string_view::npos ? std::string_view{} : raw.substr(mark + 1);
    query = query.substr(0, query.find('#'));
    if (!path.starts_with(base)) return TargetFault::outside;
    path.remove_prefix(base.size());
    if (!path.empty() && path.front() != '/') return TargetFault::outside;

    const auto take = [](std::string_view& text, char until) {
        const std::size_t end = text.find(until);
        const std::string_view part = text.substr(0, end);
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        return part;
    };
    if (!path.empty()) path.remove_prefix(1);
    while (!path.empty()) {
        const std::optional<std::string> part = percent_decoded(take(path, '/'));
        if (!part || target.path.size() == most_parts) return TargetFault::malformed;
        target.path.push_back(*part);
    }
    while (!query.empty()) {
        std::string_view pair = take(query, '&');
        if (pair.empty()) continue;
        std::string value_text;
        std::string_view name_text = take(pair, '=');
        for (const char c : pair) value_text += c == '+' ? ' ' : c;  // as forms are sent
        std::optional<std::string> name = percent_decoded(name_text);
        std::optional<std::string> value = percent_decoded(value_text);
        if (!name || !value || target.query.size() == most_parts) return TargetFault::malformed;
        target.query.emplace_back(std::move(*name), std::move(*value));
    }
    return TargetFault::none;
}

BACKLITE_DECL Link& Link::part(std::string_view text) {
    // A browser takes a part that is "." or ".." for a step, encoded or not.
    if (text == "." || text == ".." || text.starts_with('~')) text_ += '~';
    append_encoded(text_, text);
    return *this;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
