// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <backlite/ui/text.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::ui;
using namespace std::chrono_literals;
using std::chrono::microseconds;

std::string made_safe(std::string_view text) {
    std::string safe;
    each_character(text, [&](std::string_view piece) { safe += piece; });
    return safe;
}

TEST_CASE("ui text: valid text of every length passes") {
    const std::string text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\xa6\x8a\n\t";
    CHECK(made_safe(text) == text);
    CHECK(is_utf8(text));
}

TEST_CASE("ui text: bytes that are no UTF-8 are replaced one by one") {
    const std::string mark{replacement};
    CHECK(made_safe("\xff") == mark);
    CHECK(made_safe("a\xc3") == "a" + mark);
    CHECK(made_safe("\xc0\xaf") == mark + mark);                        // overlong
    CHECK(made_safe("\xed\xa0\x80") == mark + mark + mark);             // a surrogate
    CHECK(made_safe("\xf4\x90\x80\x80") == mark + mark + mark + mark);  // above U+10FFFF
    CHECK(made_safe("\xe2\x82z") == mark + mark + "z");
    for (const char* text : {"\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"})
        CHECK_FALSE(is_utf8(text));
}

TEST_CASE("ui text: characters that act without being seen are replaced") {
    const std::string mark{replacement};
    CHECK(made_safe(std::string_view{"a\0b", 3}) == "a" + mark + "b");
    CHECK(made_safe("\x1b[31m") == mark + "[31m");
    CHECK(made_safe("\x7f\xc2\x85") == mark + mark);
    CHECK(made_safe("\xe2\x80\xae") == mark);  // right-to-left override
    CHECK(made_safe("\xe2\x80\xa8\xef\xbb\xbf") == mark + mark);
}

TEST_CASE("ui text: a cut falls between characters") {
    CHECK(cut("abc", 3) == "abc");
    CHECK(cut("a\xe2\x82\xac", 3) == "a");
    CHECK(cut("a\xe2\x82\xac", 4) == "a\xe2\x82\xac");
    CHECK(cut("\x80\x80\x80\x80\x80\x80", 5).size() >= 2);  // no text at all: it ends somewhere near
    CHECK(cut("abc", 0).empty());
}

TEST_CASE("ui text: spans") {
    CHECK(span_text(0us) == "< 1 µs");
    CHECK(span_text(640us) == "640 µs");
    CHECK(span_text(1'500us) == "1.5 ms");
    CHECK(span_text(12ms) == "12 ms");
    CHECK(span_text(1'500ms) == "1.5 s");
    CHECK(span_text(8s) == "8 s");
    CHECK(span_text(59s) == "59 s");
    CHECK(span_text(4min + 10s) == "4 min 10 s");
    CHECK(span_text(2h) == "2 h");
    CHECK(span_text(3h + 2min) == "3 h 2 min");
    CHECK(span_text(123h) == "5 d 3 h");
    CHECK(span_text(-3s) == "-3 s");
    CHECK_FALSE(span_text((microseconds::min)()).empty());
    CHECK_FALSE(span_text((microseconds::max)()).empty());
}

TEST_CASE("ui text: a stored time of any value can be told") {
    CHECK(utc_text(Ms{1'700'000'000'123}) == "2023-11-14 22:13:20 UTC");
    CHECK(iso_text(Ms{1'700'000'000'123}) == "2023-11-14T22:13:20.123Z");
    CHECK(utc_clock(Ms{1'700'000'000'123}) == "22:13");
    for (const Ms time : {Ms::earliest(), Ms{-1}, Ms{0}, Ms::latest()}) {
        CHECK(utc_text(time).ends_with(" UTC"));
        CHECK_FALSE(relative_text(time, Ms{0}).empty());
        CHECK_FALSE(relative_text(Ms{0}, time).empty());
    }
    CHECK(relative_text(Ms{1'000}, Ms{13'000}) == "12 s ago");
    CHECK(relative_text(Ms{13'000}, Ms{1'000}) == "in 12 s");
    CHECK(relative_text(Ms{1'000}, Ms{1'400}) == "now");
}

TEST_CASE("ui text: counts and sizes") {
    CHECK(grouped(0) == "0");
    CHECK(grouped(999) == "999");
    CHECK(grouped(1'234'567) == "1,234,567");
    CHECK(grouped(18'446'744'073'709'551'615U) == "1.84e+19");
    CHECK(rate_text(338'112.4) == "338,112");
    CHECK(rate_text(12.34) == "12.3");
    CHECK(rate_text(0.0312) == "0.031");
    CHECK(size_text(1) == "1 byte");
    CHECK(size_text(999) == "999 bytes");
    CHECK(size_text(1'000) == "1.0 kB");
    CHECK(size_text(3'400'000) == "3.4 MB");
    CHECK(size_text((std::numeric_limits<std::uint64_t>::max)()).ends_with(" TB"));
}

}  // namespace
