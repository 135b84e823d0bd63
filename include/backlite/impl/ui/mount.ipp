// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/mount.hpp>.

#include <backlite/ui/mount.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL std::string why_not_bound(const std::string& host, int port) {
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
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
