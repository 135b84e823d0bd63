// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/unique.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace {

using namespace backlite;
using backlite_test::message_of;
using detail::check_unique_key;
using detail::is_utf8;

TEST_CASE("Unique: a queue has no keys unless it says so") {
    CHECK(Unique{}.conflict == Conflict::none);
    CHECK(Unique{}.until == UniqueUntil::finished);
}

TEST_CASE("Unique: what became of a task has a name") {
    CHECK(to_string(AddedAs::inserted) == "inserted");
    CHECK(to_string(AddedAs::existing) == "existing");
    CHECK(to_string(AddedAs::replaced) == "replaced");
}

TEST_CASE("DuplicateError: names the task that has the key") {
    const DuplicateError error("taken", TaskId::from_text("a"));
    CHECK(error.existing().str() == "a");
    CHECK(error.added() == Added::no);
}

TEST_CASE("Unique key: up to 1,024 bytes of UTF-8, and not one more") {
    CHECK_NOTHROW(check_unique_key("a", "mail"));
    CHECK_NOTHROW(check_unique_key("gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xac", "mail"));
    CHECK_NOTHROW(check_unique_key(std::string(1024, 'a'), "mail"));
    CHECK(message_of<UsageError>([] { check_unique_key(std::string(1025, 'a'), "mail"); }) ==
          "queue \"mail\": a unique key has 1025 bytes, more than 1024");
}

TEST_CASE("Unique key: an empty one, a NUL and what is no UTF-8 are refused") {
    CHECK(message_of<UsageError>([] { check_unique_key("", "mail"); }) == "queue \"mail\": a unique key is empty");
    CHECK(message_of<UsageError>([] { check_unique_key(std::string_view("a\0b", 3), "mail"); }) ==
          "queue \"mail\": a unique key holds a NUL character");
    CHECK(message_of<UsageError>([] { check_unique_key("a\xff", "mail"); }) ==
          "queue \"mail\": a unique key is not UTF-8");
}

TEST_CASE("Unique key: UTF-8 is what RFC 3629 says, at each of its edges") {
    for (const std::string_view good :
         {"", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
          "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc2\x80z"}) {
        CAPTURE(good.size(), good);
        CHECK(is_utf8(good));
    }
    for (const std::string_view bad :
         {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf", "\xe0\xa0",
          "\xed\xa0\x80", "\xed\xbf\xbf", "\xef\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
          "\xf5\x80\x80\x80", "\xff", "\xe1\x80\x7f", "\xf1\x80\x80\xc0"}) {
        CAPTURE(bad.size(), bad);
        CHECK(!is_utf8(bad));
    }
}

}  // namespace
