// SPDX-License-Identifier: MIT
// What forms and JSON objects order, and which pages may send them.

#include <string>
#include <string_view>

#include <backlite/ui/order.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::ui;

TEST_CASE("order: the fields of a form are decoded, and what is no form is none") {
    CHECK(form_fields("a=b+c%2B&&d&e=%3D=&=x") == Fields{{"a", "b c+"}, {"d", ""}, {"e", "=="}, {"", "x"}});
    CHECK(form_fields("") == Fields{});
    CHECK_FALSE(form_fields("a=%z1"));
    CHECK_FALSE(form_fields("a%=1"));
}

TEST_CASE("order: of JSON flat objects are fields, and nothing else is") {
    CHECK(json_fields(R"({"do":"retry","id":["a","\u00e4"],"priority":-5,"confirm":true,"x":false})") ==
          Fields{{"do", "retry"}, {"id", "a"}, {"id", "ä"}, {"priority", "-5"}, {"confirm", "yes"}, {"x", "no"}});
    CHECK(json_fields("{}") == Fields{});
    for (const std::string& text :
         {std::string{""}, std::string{"[]"}, std::string{"1"}, std::string{"\"a\""}, std::string{"null"},
          std::string{R"(["a"])"}, std::string{R"({"a":null})"}, std::string{R"({"a":1.5})"},
          std::string{R"({"a":{"b":1}})"}, std::string{R"({"a":[["b"]]})"}, std::string{R"({"a":1} x)"},
          std::string{R"({"a":1)"}, std::string{"{\"a\":\"\xff\"}"}, std::string(500'000, '['),
          R"({"a":)" + std::string(500'000, '[')}) {
        CAPTURE(text.substr(0, 20));
        CHECK_FALSE(json_fields(text));
    }
}

TEST_CASE("order: a page behind a proxy may send orders under the names that are configured, and no other machine's") {
    const auto from = [](std::string_view origin, std::string_view host) {
        return is_from_own_page({{"Origin", std::string{origin}}}, host, {"tasks.example.org"});
    };
    CHECK(from("https://tasks.example.org", "localhost:8080"));
    CHECK(from("https://Tasks.example.org:8443", "localhost:8080"));
    CHECK(from("http://[::1]:8080", "[::1]:8080"));
    CHECK_FALSE(from("http://[::1]:8080", "localhost:8080"));
    CHECK_FALSE(from("https://tasks.example.org.evil.example", "localhost:8080"));
    CHECK_FALSE(from("https://evil.example", "tasks.example.org"));
    CHECK_FALSE(from("http://127.0.0.1:8081", "127.0.0.1:8080"));
    CHECK(is_from_own_page({}, "localhost", {}));
}

TEST_CASE("order: what was done is said in words") {
    CHECK(done_text({Act::retry, {1, 0}}) == "1 task to be tried again.");
    CHECK(done_text({Act::remove, {1'200, 3}, true}) ==
          "1,200 tasks removed; 3 did not allow it. Not all in one go: order it again for the rest.");
    CHECK(done_text({Act::cancel, {0, 0}}) == "No task was changed.");
    for (const Act act : all_acts) {
        CHECK_FALSE(to_string(act).empty());
        CHECK_FALSE(button_text(act).empty());
    }
}

}  // namespace
