// SPDX-License-Identifier: MIT
#pragma once
// What a server that listens needs of the system, beside what its own library does.

#include <string>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// Lets the socket be bound to an address that a closed connection still holds for a while, but to no port that another
/// socket listens on. An error is ignored: the bind that follows fails then, and says why.
void reuse_address(int socket) noexcept;

/// Lets as many connections wait to be accepted as the system allows. An error is ignored: the queue stays as it was.
/// REQUIRES: the socket is bound.
void wait_for_many(int socket) noexcept;

/// What the system says when an address is bound; empty if it says nothing against it.
[[nodiscard]] std::string why_not_bound(const std::string& host, int port);

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/socket.ipp>
#endif
