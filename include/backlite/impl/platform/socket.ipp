// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/socket.hpp>.

#include <cerrno>
#include <system_error>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/socket.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL void reuse_address(int socket) noexcept {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

BACKLITE_DECL void wait_for_many(int socket) noexcept { static_cast<void>(::listen(socket, SOMAXCONN)); }

BACKLITE_DECL std::string why_not_bound(const std::string& host, int port) {
    struct addrinfo hints {};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    struct addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0) {
        return ::gai_strerror(code);
    }
    int error = 0;
    const int fd = ::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    if (fd < 0) {
        error = errno;
    } else {
        reuse_address(fd);
        if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd, 1) != 0) error = errno;
        ::close(fd);
    }
    ::freeaddrinfo(found);
    return error == 0 ? std::string{} : std::generic_category().message(error);
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
