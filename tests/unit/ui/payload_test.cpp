// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <backlite/ui/payload.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::ui;

TEST_CASE("ui payload: JSON, text and bytes are told apart") {
    CHECK(kind_of("{\"a\":1}\n") == PayloadKind::json);
    CHECK(kind_of("17") == PayloadKind::json);
    CHECK(kind_of("{\"a\":") == PayloadKind::text);
    CHECK(kind_of("") == PayloadKind::text);
    CHECK(kind_of("\xff\xfe") == PayloadKind::binary);
    CHECK(kind_of(std::string_view{"a\0b", 3}) == PayloadKind::binary);
}

TEST_CASE("ui payload: JSON is laid out, and nothing in it is changed") {
    CHECK(indented_json(R"({"id":9007199254740993,"x":[1.10,{}, [ ]],"s":"a\"{,:\\"})", 1'000) ==
          "{\n  \"id\": 9007199254740993,\n  \"x\": [\n    1.10,\n    {},\n    []\n  ],\n  \"s\": \"a\\\"{,:\\\\\"\n}");
}

TEST_CASE("ui payload: a beginning of JSON is laid out as far as it goes") {
    CHECK(indented_json(R"({"a":"b)", 1'000) == "{\n  \"a\": \"b");
    CHECK(indented_json(R"(]]}{"a)", 1'000) == "\n]\n]\n}{\n  \"a");
    CHECK(indented_json("\"\\", 1'000) == "\"\\");
}

TEST_CASE("ui payload: deep JSON costs neither stack nor a wall of blanks") {
    const std::string deep(100'000, '[');
    const std::string shown = indented_json(deep, 10'000);
    CHECK(shown.size() < 10'200);
    CHECK(kind_of(deep + std::string(100'000, ']')) == PayloadKind::json);
}

TEST_CASE("ui payload: bytes are shown sixteen a row") {
    CHECK(hex_dump(std::string_view{"\0AB<\xff", 5}, 1'000) ==
          "00000000  00 41 42 3c ff                                    .AB<.\n");
    CHECK(hex_dump(std::string(40, 'x'), 1'000).find("00000020  78") != std::string::npos);
    CHECK(hex_dump(std::string(1'000'000, 'x'), 1'000).size() < 1'100);
}

}  // namespace
