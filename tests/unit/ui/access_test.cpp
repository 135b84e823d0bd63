// SPDX-License-Identifier: MIT
#include <chrono>
#include <string>
#include <vector>

#include <backlite/ui/access.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::ui;
using backlite::ui::detail::Guesses;
using backlite::ui::detail::network_of;

TEST_CASE("ui access: this machine's own addresses, and no others") {
    for (const char* own : {"127.0.0.1", "127.255.1.2", "::1", "::ffff:127.0.0.1"}) CHECK(is_loopback(own));
    for (const char* other :
         {"", "128.0.0.1", "10.0.0.1", "127.0.0.1.evil.com", "127.0.0", "127.0.0.0.1", "127.0.0.256", "127.0.0.0001",
          "1270.0.1", "localhost", "::2", "::ffff:10.0.0.1", "0.0.0.0", "127..0.1"}) {
        CHECK_FALSE(is_loopback(other));
    }
}

TEST_CASE("ui access: hosts are compared whole") {
    const std::vector<std::string> names{"tasks.example.org", "10.0.0.7"};
    for (const char* allowed : {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:65535",
                                "tasks.example.org", "Tasks.Example.ORG:443", "10.0.0.7:8080"}) {
        CHECK(host_is_allowed(allowed, names));
    }
    for (const char* refused :
         {"", ":8080", "evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "evil.com:8080", "xtasks.example.org",
          "tasks.example.org.evil.com", "localhost:", "localhost:80x", "localhost:8080:1", "localhost:999999", "[::1",
          "[::1]x", "[::2]", "localhost@evil.com", "tasks.example.org/evil", "10.0.0.70"}) {
        CHECK_FALSE(host_is_allowed(refused, names));
    }
}

TEST_CASE("ui access: base64 is decoded, and nothing else is") {
    CHECK(base64_decoded("YWRhOnNlY3JldA==") == "ada:secret");
    CHECK(base64_decoded("YWI=") == "ab");
    CHECK(base64_decoded("YWJj") == "abc");
    CHECK(base64_decoded("") == "");
    for (const char* bad : {"YWJ", "YW=j", "====", "Y===", "YW J", "YWJ\xff"}) CHECK_FALSE(base64_decoded(bad));
}

TEST_CASE("ui access: secrets are the same or not") {
    CHECK(same_secret("abc", "abc"));
    CHECK(same_secret("", ""));
    for (const char* other : {"", "ab", "abd", "abcabc", "abca"}) CHECK_FALSE(same_secret(other, "abc"));
    CHECK_FALSE(same_secret("a", ""));
}

Request with(const std::string& authorization) {
    Request request;
    if (!authorization.empty()) request.headers.emplace_back("authorization", authorization);
    return request;
}

TEST_CASE("ui access: a password lets in who knows it") {
    const Authorization auth = basic_auth("ada", "secret");
    CHECK(auth.check(with("Basic YWRhOnNlY3JldA==")) == Access::read);
    CHECK(auth.check(with("bAsIc YWRhOnNlY3JldA==")) == Access::read);
    CHECK(auth.check(with("")) == Access::none);
    CHECK(auth.check(with("Basic")) == Access::none);
    CHECK(auth.check(with("Basic YWRhOnNlY3JlZA==")) == Access::none);
    CHECK(auth.check(with("Bearer YWRhOnNlY3JldA==")) == Access::none);
    CHECK(auth.challenge.starts_with("Basic realm="));
}

using std::chrono::steady_clock;

/// Passwords that somebody at `address` tries; those that the guard looked at are told by what it let in.
void guess(Guesses& guesses, const std::string& address, int count, steady_clock::time_point now, int from = 0) {
    for (int i = from; i < from + count; ++i) {
        CHECK_FALSE(guesses.admit(address, "wrong " + std::to_string(i), "right", now));
    }
}

TEST_CASE("ui access: guessing a password is stopped for a minute") {
    Guesses guesses;
    const steady_clock::time_point now{std::chrono::hours{5}};
    guess(guesses, "10.0.0.5", 20, now);
    CHECK_FALSE(guesses.admit("10.0.0.5", "right", "right", now + std::chrono::minutes{1}));
    CHECK(guesses.admit("10.0.0.5", "right", "right", now + std::chrono::minutes{1} + std::chrono::milliseconds{1}));
}

TEST_CASE("ui access: a wrong password that is sent again and again is one guess") {
    const Authorization auth = basic_auth("ada", "secret");
    for (int i = 0; i < 1'000; ++i) CHECK(auth.check(with("Basic YWRhOm5v")) == Access::none);
    CHECK(auth.check(with("Basic YWRhOnNlY3JldA==")) == Access::read);
}

TEST_CASE("ui access: who guesses locks out neither other addresses nor who was let in before") {
    Guesses guesses;
    const steady_clock::time_point now{std::chrono::hours{5}};
    CHECK(guesses.admit("10.0.0.7", "right", "right", now));
    guess(guesses, "10.0.0.5", 100, now);
    CHECK(guesses.admit("10.0.0.6", "right", "right", now));
    guess(guesses, "10.0.0.7", 100, now);
    CHECK(guesses.admit("10.0.0.7", "right", "right", now));
}

TEST_CASE("ui access: guessing is stopped also behind an address that was let in, and for many addresses") {
    Guesses guesses;
    const steady_clock::time_point now{std::chrono::hours{5}};
    CHECK(guesses.admit("10.0.0.7", "right", "right", now));
    guess(guesses, "10.0.0.7", 200, now);
    CHECK_FALSE(guesses.admit("10.0.0.7", "right", "right", now));
    CHECK(guesses.admit("10.0.0.8", "right", "right", now));
    for (int i = 0; i < 100; ++i) guess(guesses, "10.0.1." + std::to_string(i), 10, now);
    CHECK_FALSE(guesses.admit("10.0.2.1", "right", "right", now));
    CHECK(guesses.admit("10.0.0.8", "right", "right", now));
}

TEST_CASE("ui access: addresses of one network of IPv6 guess together") {
    Guesses guesses;
    const steady_clock::time_point now{std::chrono::hours{5}};
    for (int i = 0; i < 20; ++i) guess(guesses, "2001:db8:1:2::" + std::to_string(i), 1, now, i);
    CHECK_FALSE(guesses.admit("2001:db8:1:2:3:4:5:6", "right", "right", now));
    CHECK(guesses.admit("2001:db8:1:3::1", "right", "right", now));
    CHECK(network_of("::1").empty());
    CHECK(network_of("2001:db8::7") == "2001:db8");
    CHECK(network_of("::ffff:10.0.0.5") == "::ffff:10.0.0.5");
    CHECK(network_of("10.0.0.5") == "10.0.0.5");
}

TEST_CASE("ui access: this machine is let in, and no other") {
    const Authorization auth = this_machine();
    Request request;
    request.remote_addr = "127.0.0.1";
    CHECK(auth.check(request) == Access::read);
    request.remote_addr = "10.0.0.5";
    CHECK(auth.check(request) == Access::none);
    CHECK(auth.challenge.empty());
}

TEST_CASE("ui access: asking without a password is no guess") {
    const Authorization auth = basic_auth("ada", "secret");
    for (int i = 0; i < 100; ++i) CHECK(auth.check(with("")) == Access::none);
    CHECK(auth.check(with("Basic YWRhOnNlY3JldA==")) == Access::read);
}

}  // namespace
