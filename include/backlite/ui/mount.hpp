// SPDX-License-Identifier: MIT
#pragma once
// A dashboard on a server of cpp-httplib's shape. No header of that library is included: any server with its functions
// will do. On servers of other shapes a handler fills a ui::Request, calls Dashboard::handle, and sends the
// ui::Response.

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/error.hpp>
#include <backlite/ui/access.hpp>
#include <backlite/ui/dashboard.hpp>
#include <backlite/ui/request.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// Lets `server` answer everything at and below `base`: empty for the whole server, or such as "/tasks".
/// REQUIRES: `dashboard` outlives the server's last request. The server has `Get`, `Post`, `Put`, `Patch`, `Delete` and
/// `Options`, each taking a regular expression and a function of a request (`method`, `target`, `headers`,
/// `remote_addr`) and a response (`status`, `set_header`, `set_content`), as cpp-httplib 0.11 and later have.
/// Errors: ConfigError for a base path that cannot work.
template <class Server>
void mount(Server& server, Dashboard& dashboard, std::string base = {}) {
    Dashboard::check_path("the base path of a mounted dashboard", base);
    std::string pattern;
    for (const char c : base) {
        if (c == '.') pattern += '\\';  // of what a base path may hold, the only sign with a meaning
        pattern += c;
    }
    pattern += base.empty() ? R"(/[\s\S]*)" : R"((/[\s\S]*)?)";
    const auto answer = [&dashboard, base = std::move(base)](const auto& from, auto& to) {
        Request request;
        // The server leaves out the body of an answer to HEAD itself, and takes its length from the body.
        request.method = from.method == "HEAD" ? "GET" : from.method;
        request.target = from.target;
        request.remote_addr = from.remote_addr;
        for (const auto& [name, value] : from.headers) request.headers.emplace_back(name, value);
        Response response = dashboard.handle(request, base);
        to.status = response.status;
        std::string type = "text/plain";
        for (const auto& [name, value] : response.headers) {
            if (name == "Content-Type") {
                type = value;
            } else {
                to.set_header(name.c_str(), value);
            }
        }
        if (!response.body.empty()) to.set_content(std::move(response.body), type.c_str());
    };
    server.Get(pattern, answer);
    server.Post(pattern, answer);
    server.Put(pattern, answer);
    server.Patch(pattern, answer);
    server.Delete(pattern, answer);
    server.Options(pattern, answer);
}

namespace detail {

/// What the system says when an address is bound; empty if it says nothing against it.
[[nodiscard]] inline std::string why_not_bound(const std::string& host, int port) {
    struct addrinfo hints {};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    struct addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(host.c_str(), fmt::to_string(port).c_str(), &hints, &found); code != 0) {
        return ::gai_strerror(code);
    }
    int error = 0;
    const int fd = ::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    if (fd < 0) {
        error = errno;
    } else {
        const int yes = 1;
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd, 1) != 0) error = errno;
        ::close(fd);
    }
    ::freeaddrinfo(found);
    return error == 0 ? std::string{} : std::generic_category().message(error);
}

}  // namespace detail

/// Binds `server` to an address of this machine; port 0 takes a free one. Returns the port;
/// `server.listen_after_bind()` serves it. The port is not shared: cpp-httplib sets SO_REUSEPORT, with which two
/// programs on one port both seem to work and get half of the requests each; this replaces the server's socket options.
/// Errors: ConfigError naming address and port if they cannot be had, and if the address is reached from other machines
/// while the dashboard has no authorization.
template <class Server>
int bind(Server& server, const Dashboard& dashboard, const std::string& host, int port) {
    if (port < 0 || port > 65'535) throw ConfigError(fmt::format("port {} is not between 0 and 65535", port));
    if (host != "localhost" && !is_loopback(host) && !dashboard.authorizes()) {
        throw ConfigError(
            fmt::format("address {} can be reached from other machines, but the dashboard has no "
                        "authorization: set DashboardConfig::authorization, or use 127.0.0.1",
                        host));
    }
    server.set_socket_options([](auto socket) {
        const int yes = 1;
        ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    if (port == 0) {
        const int bound = server.bind_to_any_port(host.c_str());
        if (bound > 0) return bound;
    } else if (server.bind_to_port(host.c_str(), port)) {
        return port;
    }
    const std::string why = detail::why_not_bound(host, port);
    throw ConfigError(
        fmt::format("cannot listen on {} port {}: {}", host, port, why.empty() ? "the server refused" : why));
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
