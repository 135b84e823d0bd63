// SPDX-License-Identifier: MIT
#pragma once
// Who may see the dashboard: by which names it is reached, from where, and with which password.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/ui/request.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

enum class Access {
    none,  ///< 401 if there is a challenge, else 403
    read,
};

/// Decides on each request. With an empty `check` only requests from this machine that bring the dashboard's token are
/// answered: see DashboardConfig::token.
struct Authorization {
    /// Called on the server's threads, several at once. What it throws counts as Access::none and is logged.
    std::function<Access(const Request&)> check{};
    std::string challenge{};  ///< sent as `WWW-Authenticate`; empty: there is nothing to ask for
};

namespace detail {

/// `127.0.0.1` and the rest of 127/8, in four decimal parts.
[[nodiscard]] inline bool is_loopback_v4(std::string_view text) noexcept {
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

[[nodiscard]] inline std::string lower(std::string_view text) {
    std::string result{text};
    for (char& c : result) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return result;
}

}  // namespace detail

/// Whether an address as sockets name it is this machine's own. Names are none.
[[nodiscard]] inline bool is_loopback(std::string_view address) noexcept {
    constexpr std::string_view mapped = "::ffff:";
    if (address.starts_with(mapped)) address.remove_prefix(mapped.size());
    return address == "::1" || detail::is_loopback_v4(address);
}

/// Whether a `Host` header names this machine itself, or one of `names`, which are in lower case. A page elsewhere that
/// turns its own name to this machine's address (DNS rebinding) is stopped here: the browser sends that page's name.
/// Names are compared whole. Ports are not compared: a tunnel changes them, and the attack cannot choose the name.
[[nodiscard]] inline bool host_is_allowed(std::string_view host, const std::vector<std::string>& names) {
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

/// Compares in a time that depends on the length of `given` only.
[[nodiscard]] inline bool same_secret(std::string_view given, std::string_view expected) noexcept {
    std::size_t differences = given.size() ^ expected.size();
    for (std::size_t i = 0; i < given.size(); ++i) {
        const char other = expected.empty() ? '\0' : expected[i % expected.size()];
        differences |= static_cast<unsigned char>(given[i] ^ other);
    }
    return differences == 0;
}

/// Whether a cookie of that name has that value (RFC 6265, 5.4). There may be several of one name, of other paths.
[[nodiscard]] inline bool has_cookie(const Headers& headers, std::string_view name, std::string_view value) {
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

/// Undoes base64 (RFC 4648, 4); nullopt for anything else.
[[nodiscard]] inline std::optional<std::string> base64_decoded(std::string_view text) {
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

/// Lets in whoever asks from this machine: every user of it, without a token.
[[nodiscard]] inline Authorization this_machine() {
    return {[](const Request& who) noexcept { return is_loopback(who.remote_addr) ? Access::read : Access::none; }, {}};
}

namespace detail {

/// The part of an address that one person is likely to have alone: of IPv6 the first 64 bits (RFC 6177).
[[nodiscard]] inline std::string_view network_of(std::string_view address) {
    std::size_t end = 0;
    for (int parts = 0; end < address.size(); ++end) {
        if (address[end] != ':') continue;
        if (++parts == 4 || address.substr(end, 2) == "::") break;
    }
    return address.find('.') == std::string_view::npos ? address.substr(0, end) : address;
}

/// Counts wrong passwords. Each is counted once a minute for each address that sends it, so that a page which is left
/// open with an old one uses up one guess. Addresses that have sent the right one before are counted apart: strangers
/// do not lock them out.
class Guesses {
public:
    /// Whether `password` is right, and may be looked at. `now` never goes back.
    [[nodiscard]] bool admit(std::string_view address, std::string_view password, std::string_view expected,
                             std::chrono::steady_clock::time_point now) {
        const std::lock_guard lock(mutex_);
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

private:
    static constexpr std::size_t most_of_stranger = 20;      // wrong passwords in a minute
    static constexpr std::size_t most_of_known = 200;        // a proxy is one address for all who come through it
    static constexpr std::size_t most_of_strangers = 1'000;  // of all of them together: many addresses are easily had
    static constexpr std::size_t most_known = 1'000;

    std::mutex mutex_{};
    // guarded by mutex_
    std::chrono::steady_clock::time_point since_{};
    std::map<std::string, std::set<std::size_t>> wrong_{};  // hashes of passwords, by address
    std::size_t strangers_ = 0;
    std::deque<std::string> known_{};
};

}  // namespace detail

/// HTTP Basic authentication (RFC 7617): for connections that are encrypted, or do not leave the machine. Guessing is
/// stopped for a minute after twenty wrong passwords from one address, or a thousand from all; an address that has sent
/// the right one before may go on until it has sent two hundred wrong ones.
[[nodiscard]] inline Authorization basic_auth(std::string user, std::string password) {
    const auto check = [expected = user + ':' + password,
                        guesses = std::make_shared<detail::Guesses>()](const Request& request) {
        const std::optional<std::string_view> header = only_header(request.headers, "Authorization");
        constexpr std::string_view scheme = "basic ";
        if (!header || !same_name(header->substr(0, scheme.size()), scheme))
            return Access::none;  // asks for the prompt
        const std::optional<std::string> given = base64_decoded(header->substr(scheme.size()));
        // What is no base64 is a wrong password like another.
        const bool good =
            guesses->admit(request.remote_addr, given.value_or(""), expected, std::chrono::steady_clock::now());
        return good ? Access::read : Access::none;
    };
    return {check, "Basic realm=\"backlite\", charset=\"UTF-8\""};
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
