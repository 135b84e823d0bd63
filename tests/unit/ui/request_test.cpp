// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <backlite/ui/request.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::ui;

Target parsed(std::string_view raw, std::string_view base = "") {
    Target target;
    REQUIRE(parse_target(raw, base, target) == TargetFault::none);
    return target;
}

TargetFault fault_of(std::string_view raw, std::string_view base = "") {
    Target target;
    return parse_target(raw, base, target);
}

TEST_CASE("ui request: a target is taken apart before it is decoded") {
    const Target target = parsed("/task/a%2Fb%3F?x=1%262&y=a+b%2B&empty=&y=second");
    REQUIRE(target.path == std::vector<std::string>{"task", "a/b?"});
    CHECK(target.get("x") == "1&2");
    CHECK(target.get("y") == "a b+");
    CHECK(target.get("empty").empty());
    CHECK(target.get("missing").empty());
}

TEST_CASE("ui request: the base path is taken off, whole") {
    CHECK(parsed("/ops/running", "/ops").path == std::vector<std::string>{"running"});
    CHECK(parsed("/ops", "/ops").path.empty());
    CHECK(parsed("/ops/", "/ops").path.empty());
    CHECK(parsed("/ops?x=1", "/ops").get("x") == "1");
    CHECK(fault_of("/opsx/running", "/ops") == TargetFault::outside);
    CHECK(fault_of("/running", "/ops") == TargetFault::outside);
}

TEST_CASE("ui request: what is no target is told apart") {
    for (const char* raw : {"", "running", "http://elsewhere/", "/%", "/%4", "/%zz", "/?a=%", "/?%z=1", "*"}) {
        CHECK(fault_of(raw) == TargetFault::malformed);
    }
    CHECK(fault_of("/" + std::string(9'000, 'a')) == TargetFault::too_long);
    std::string many = "/";
    for (int i = 0; i < 100; ++i) many += "a/";
    CHECK(fault_of(many) == TargetFault::malformed);
    many = "/?";
    for (int i = 0; i < 100; ++i) many += "a=1&";
    CHECK(fault_of(many) == TargetFault::malformed);
}

TEST_CASE("ui request: a link says where it leads, whatever its parts hold") {
    CHECK(Link("/ops", "/task/").part("a/b?c#d\"<%\xff").str() == "/ops/task/a%2Fb%3Fc%23d%22%3C%25%FF");
    CHECK(Link("", "/upcoming").param("queue", "a&b=c d").param("state", "").param("x", "y").str() ==
          "/upcoming?queue=a%26b%3Dc%20d&x=y");
}

TEST_CASE("ui request: every text comes back from a link") {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    for (const std::string& text :
         {bytes, std::string{"."}, std::string{".."}, std::string{"~"}, std::string{"~."}, std::string{"a+b"}}) {
        const Target target = parsed(Link("", "/task/").part(text).param("q", text).str());
        REQUIRE(target.path.size() == 2);
        CHECK(Link::read_part(target.path[1]) == text);
        CHECK(target.get("q") == text);
        CHECK(target.path[1] != ".");
        CHECK(target.path[1] != "..");
    }
}

TEST_CASE("ui request: a header that is there twice counts as none") {
    const Headers headers{{"Host", "a"}, {"accept", "b"}, {"HOST", "c"}};
    CHECK_FALSE(only_header(headers, "host"));
    CHECK(only_header(headers, "Accept") == "b");
    CHECK_FALSE(only_header(headers, "Cookie"));
}

}  // namespace
