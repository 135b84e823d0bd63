// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/access.hpp>.

#include <backlite/ui/access.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL bool is_loopback_v4(std::string_view text) noexcept {
    for (int part = 0; part < 4; ++part) {
        const std::size_t end = text.find('.');
        if ((end == std::string_view::npos) != (part == 3)) return false;
        const std::string_view digits = text.substr(0, end);
        unsigned value = 256;
        const auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc{} || last != digits.data() + digits.size() || digits.size() > 3 || value > 255)
            return false;
        if (part == 0 && value != 127) return false;
        if (part < 3) text.remove_prefix(end + 1);
    }
    return true;
}

BACKLITE_DECL std::string lower(std::string_view text) {
    std::string result{text};
    for (char& c : result) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return result;
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL bool is_loopback(std::string_view address) noexcept {
    constexpr std::string_view mapped = "::ffff:";
    if (address.starts_with(mapped)) address.remove_prefix(mapped.size());
    return address == "::1" || detail::is_loopback_v4(address);
}

BACKLITE_DECL bool host_is_allowed(std::string_view host, const std::vector<std::string>& names) {
    std::string_view name = host;
    std::string_view port;
    if (host.starts_with('[')) {
        const std::size_t end = host.find(']');
        if (end == std::string_view::npos) return false;
        name = host.substr(0, end + 1);
        port = host.substr(end + 1);
    } else if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
        name = host.substr(0, colon);
        port = host.substr(colon);
    }
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (!port.empty() && (port.size() < 2 || port.size() > 6 || port.front() != ':' ||
                          !std::all_of(port.begin() + 1, port.end(), is_digit))) {
        return false;
    }
    const std::string plain = detail::lower(name);
    if (plain == "localhost" || plain == "[::1]" || detail::is_loopback_v4(plain)) return true;
    return !plain.empty() && std::find(names.begin(), names.end(), plain) != names.end();
}

BACKLITE_DECL bool same_secret(std::string_view given, std::string_view expected) noexcept {
    std::size_t differences = given.size() ^ expected.size();
    for (std::size_t i = 0; i < given.size(); ++i) {
        const char other = expected.empty() ? '\0' : expected[i % expected.size()];
        differences |= static_cast<unsigned char>(given[i] ^ other);
    }
    return differences == 0;
}

BACKLITE_DECL bool has_cookie(const Headers& headers, std::string_view name, std::string_view value) {
    bool found = false;
    for (const auto& [header, text] : headers) {
        if (!same_name(header, "Cookie")) continue;
        std::string_view rest = text;
        while (!rest.empty()) {
            const std::size_t end = rest.find(';');
            std::string_view pair = rest.substr(0, end);
            rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
            while (pair.starts_with(' ')) pair.remove_prefix(1);
            if (pair.substr(0, name.size()) != name || pair.substr(name.size(), 1) != "=") continue;
            found = same_secret(pair.substr(name.size() + 1), value) || found;
        }
    }
    return found;
}

BACKLITE_DECL std::optional<std::string> base64_decoded(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    const auto value = [](char c) -> int {
        if (c >= 'A' && c <= 'Z') return c - 'A';
        if (c >= 'a' && c <= 'z') return c - 'a' + 26;
        if (c >= '0' && c <= '9') return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
    };
    std::string decoded;
    for (std::size_t at = 0; at < text.size(); at += 4) {
        const bool last = at + 4 == text.size();
        const std::size_t padding = last && text[at + 3] == '=' ? (text[at + 2] == '=' ? 2 : 1) : 0;
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            const int digit = i >= 4 - padding ? 0 : value(text[at + i]);
            if (digit < 0) return std::nullopt;
            bits = bits << 6 | static_cast<std::uint32_t>(digit);
        }
        for (std::size_t i = 0; i < 3 - padding; ++i) decoded += static_cast<char>(bits >> (16 - 8 * i) & 0xff);
    }
    return decoded;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL std::string_view network_of(std::string_view address) {
    std::size_t end = 0;
    for (int parts = 0; end < address.size(); ++end) {
        if (address[end] != ':') continue;
        if (++parts == 4 || address.substr(end, 2) == "::") break;
    }
    return address.find('.') == std::string_view::npos ? address.substr(0, end) : address;
}

BACKLITE_DECL bool Guesses::admit(std::string_view address, std::string_view password, std::string_view expected,
                                  std::chrono::steady_clock::time_point now) {
    const backlite::detail::LockGuard lock(mutex_);
    if (now - since_ > std::chrono::minutes{1}) {
        since_ = now;
        wrong_.clear();
        strangers_ = 0;
    }
    const std::string network{network_of(address)};
    const bool known = std::find(known_.begin(), known_.end(), network) != known_.end();
    const auto found = wrong_.find(network);
    const std::size_t tries = found == wrong_.end() ? 0 : found->second.size();
    if (known ? tries >= most_of_known : tries >= most_of_stranger || strangers_ >= most_of_strangers) return false;
    if (same_secret(password, expected)) {
        if (!known) known_.push_back(network);
        if (known_.size() > most_known) known_.pop_front();
        return true;
    }
    if (wrong_[network].insert(std::hash<std::string_view>{}(password)).second && !known) ++strangers_;
    return false;
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Authorization basic_auth(std::string user, std::string password, Access access) {
    const auto check = [access, expected = user + ':' + password,
                        guesses = std::make_shared<detail::Guesses>()](const Request& request) {
        const std::optional<std::string_view> header = only_header(request.headers, "Authorization");
        constexpr std::string_view scheme = "basic ";
        if (!header || !same_name(header->substr(0, scheme.size()), scheme))
            return Access::none;  // asks for the prompt
        const std::optional<std::string> given = base64_decoded(header->substr(scheme.size()));
        // What is no base64 is a wrong password like another.
        const bool good =
            guesses->admit(request.remote_addr, given.value_or(""), expected, std::chrono::steady_clock::now());
        return good ? access : Access::none;
    };
    return {check, "Basic realm=\"backlite\", charset=\"UTF-8\"",
            [name = std::move(user)](const Request&) { return name; }};
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
