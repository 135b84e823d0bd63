// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <backlite/ui/access.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::ui;

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

TEST_CASE("ui access: guessing a password is stopped") {
    const Authorization auth = basic_auth("ada", "secret");
    for (int i = 0; i < 20; ++i) CHECK(auth.check(with("Basic YWRhOm5v")) == Access::none);
    CHECK(auth.check(with("Basic YWRhOnNlY3JldA==")) == Access::none);
}

TEST_CASE("ui access: asking without a password is no guess") {
    const Authorization auth = basic_auth("ada", "secret");
    for (int i = 0; i < 100; ++i) CHECK(auth.check(with("")) == Access::none);
    CHECK(auth.check(with("Basic YWRhOnNlY3JldA==")) == Access::read);
}

}  // namespace
