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
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/ui/request.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

enum class Access {
    none,     ///< 401 if there is a challenge, else 403
    read,     ///< may look
    operate,  ///< may also act, if DashboardConfig::actions is set
};

/// Decides on each request. With an empty `check` only requests from this machine that bring the dashboard's token are
/// answered: see DashboardConfig::token.
struct Authorization {
    /// Called on the server's threads, several at once. What it throws counts as Access::none and is logged.
    std::function<Access(const Request&)> check{};
    std::string challenge{};  ///< sent as `WWW-Authenticate`; empty: there is nothing to ask for
    /// The name of the one who asks, for the record of what was done; empty: the address. Called for those who may act.
    std::function<std::string(const Request&)> who{};
};

namespace detail {

/// `127.0.0.1` and the rest of 127/8, in four decimal parts.
[[nodiscard]] bool is_loopback_v4(std::string_view text) noexcept;

[[nodiscard]] std::string lower(std::string_view text);

}  // namespace detail

/// Whether an address as sockets name it is this machine's own. Names are none.
[[nodiscard]] bool is_loopback(std::string_view address) noexcept;

/// Whether a `Host` header names this machine itself, or one of `names`, which are in lower case. A page elsewhere that
/// turns its own name to this machine's address (DNS rebinding) is stopped here: the browser sends that page's name.
/// Names are compared whole. Ports are not compared: a tunnel changes them, and the attack cannot choose the name.
[[nodiscard]] bool host_is_allowed(std::string_view host, const std::vector<std::string>& names);

/// Compares in a time that depends on the length of `given` only.
[[nodiscard]] bool same_secret(std::string_view given, std::string_view expected) noexcept;

/// Whether a cookie of that name has that value (RFC 6265, 5.4). There may be several of one name, of other paths.
[[nodiscard]] bool has_cookie(const Headers& headers, std::string_view name, std::string_view value);

/// Undoes base64 (RFC 4648, 4); nullopt for anything else.
[[nodiscard]] std::optional<std::string> base64_decoded(std::string_view text);

/// Lets in whoever asks from this machine: every user of it, without a token.
[[nodiscard]] inline Authorization this_machine(Access access = Access::read) {
    return {
        [access](const Request& who) noexcept { return is_loopback(who.remote_addr) ? access : Access::none; }, {}, {}};
}

namespace detail {

/// The part of an address that one person is likely to have alone: of IPv6 the first 64 bits (RFC 6177).
[[nodiscard]] std::string_view network_of(std::string_view address);

/// Counts wrong passwords. Each is counted once a minute for each address that sends it, so that a page which is left
/// open with an old one uses up one guess. Addresses that have sent the right one before are counted apart: strangers
/// do not lock them out.
class Guesses {
public:
    /// Whether `password` is right, and may be looked at. `now` never goes back.
    [[nodiscard]] bool admit(std::string_view address, std::string_view password, std::string_view expected,
                             std::chrono::steady_clock::time_point now);

private:
    static constexpr std::size_t most_of_stranger = 20;      // wrong passwords in a minute
    static constexpr std::size_t most_of_known = 200;        // a proxy is one address for all who come through it
    static constexpr std::size_t most_of_strangers = 1'000;  // of all of them together: many addresses are easily had
    static constexpr std::size_t most_known = 1'000;

    backlite::detail::Mutex mutex_{};
    std::chrono::steady_clock::time_point since_ BACKLITE_GUARDED_BY(mutex_){};
    std::map<std::string, std::set<std::size_t>> wrong_
        BACKLITE_GUARDED_BY(mutex_){};  // hashes of passwords, by address
    std::size_t strangers_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::deque<std::string> known_ BACKLITE_GUARDED_BY(mutex_){};
};

}  // namespace detail

/// HTTP Basic authentication (RFC 7617): for connections that are encrypted, or do not leave the machine. Guessing is
/// stopped for a minute after twenty wrong passwords from one address, or a thousand from all; an address that has sent
/// the right one before may go on until it has sent two hundred wrong ones.
[[nodiscard]] Authorization basic_auth(std::string user, std::string password, Access access = Access::read);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/access.ipp>
#endif
