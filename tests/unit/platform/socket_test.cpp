// SPDX-License-Identifier: MIT
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <backlite/platform/socket.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;

TEST_CASE("socket: why an address cannot be bound is said, and nothing of one that can") {
    CHECK(platform::why_not_bound("127.0.0.1", 0).empty());
    CHECK_FALSE(platform::why_not_bound("192.0.2.1", 0).empty());  // an address for examples (RFC 5737)
    const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(listening >= 0);
    platform::reuse_address(listening);
    struct sockaddr_in address {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<struct sockaddr*>(&address);
    REQUIRE(::bind(listening, any, size) == 0);
    platform::wait_for_many(listening);
    REQUIRE(::getsockname(listening, any, &size) == 0);
    CHECK(platform::why_not_bound("127.0.0.1", ntohs(address.sin_port)) == "Address already in use");
    ::close(listening);
    CHECK(platform::why_not_bound("127.0.0.1", ntohs(address.sin_port)).empty());
}

}  // namespace
