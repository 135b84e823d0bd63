// SPDX-License-Identifier: MIT
#pragma once
// What the dashboard gets and gives, whatever server carries it; targets taken apart, and links put together.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// What the dashboard reads of a body, in bytes: servers need not take more. A longer one is answered with 413.
inline constexpr std::size_t most_body = 1'048'576;

/// A request as a server received it.
struct Request {
    std::string method = "GET";  ///< GET and HEAD are answered, POST if DashboardConfig::actions is set, others get 405
    std::string target = "/";    ///< of the request line, percent-encoded as it came: path, then `?` and query if any;
                                 ///< also with `http://` and a host before it
    Headers headers{};           ///< `Host` must be among them
    std::string remote_addr{};   ///< the socket's other end, never a header's word for it
    std::string body{};          ///< of POST; up to `most_body` bytes of it, and one more if there are more
};

/// What the server sends back, as it is.
struct Response {
    int status = 200;    ///< of HTTP
    Headers headers{};   ///< `Content-Length` only in answers to HEAD
    std::string body{};  ///< empty in answers to HEAD
};

/// Names of headers and methods are compared without regard to case, in ASCII.
[[nodiscard]] bool same_name(std::string_view a, std::string_view b) noexcept;

/// The value of the only header of that name; nullopt if there is none, or more than one.
[[nodiscard]] std::optional<std::string_view> only_header(const Headers& headers, std::string_view name);

/// A number that is the whole text.
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text) noexcept;

/// Undoes percent-encoding (RFC 3986, 2.1). nullopt if a `%` is not followed by two hexadecimal digits.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text);

/// Every byte but RFC 3986's unreserved characters becomes %XX: safe in any part of a link.
void append_encoded(std::string& out, std::string_view text);

/// What a request asks for: the decoded parts of its path below the base path, and of its query.
struct Target {
    std::vector<std::string> path{};                           ///< `/task/a%2Fb` → "task", "a/b"; `/` → none
    std::vector<std::pair<std::string, std::string>> query{};  ///< names and values, in their order

    /// The value of a parameter, the first if there are several; empty if it is missing or empty: a form that is sent
    /// with an empty field means no filter.
    [[nodiscard]] std::string_view get(std::string_view name) const noexcept;
};

/// Host and path of a target in the form that proxies get (RFC 9112, 3.2.2), such as `http://localhost/running`. Of
/// other targets the host is empty, and the path is all.
[[nodiscard]] std::pair<std::string_view, std::string_view> split_target(std::string_view raw) noexcept;

enum class TargetFault { none, too_long, malformed, outside };

/// Takes a target apart. `base` is the path that the dashboard is mounted at: empty, or `/` and a name or more.
/// outside: the path is not below `base`.
[[nodiscard]] TargetFault parse_target(std::string_view raw, std::string_view base, Target& target);

/// A link into the dashboard: its base path, a route that is known here, and encoded parts. There is no other way to
/// make one, so that no text from a row or a request decides where a link leads.
class Link {
public:
    /// `route` is a literal of ours, such as "/task/".
    template <std::size_t Size>
    Link(std::string_view base, const char (&route)[Size]) : text_(base) {
        text_ += route;
    }

    /// Adds text to the path; `read_part` undoes it.
    Link& part(std::string_view text);

    /// What was given to `part`, from a decoded part of a path.
    [[nodiscard]] static std::string_view read_part(std::string_view decoded) noexcept {
        return decoded.substr(decoded.starts_with('~') ? 1 : 0);
    }

    /// Adds a parameter, unless its value is empty.
    template <std::size_t Size>
    Link& param(const char (&name)[Size], std::string_view value) {
        if (value.empty()) return *this;
        text_ += std::exchange(mark_, '&');
        text_ += name;
        text_ += '=';
        append_encoded(text_, value);
        return *this;
    }

    /// The address, percent-encoded.
    [[nodiscard]] const std::string& str() const noexcept { return text_; }

private:
    std::string text_;
    char mark_ = '?';
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/request.ipp>
#endif
