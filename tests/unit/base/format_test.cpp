// SPDX-License-Identifier: MIT
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/base/format.hpp>

#include "backlite_catch.hpp"

using backlite::detail::format;

TEST_CASE("format: pieces stand where the pattern has holes, in their order") {
    const std::string text = "text";
    CHECK(format("{} and {}, {}", {text, std::string_view{"view"}, "literal"}) == "text and view, literal");
    CHECK(format("no hole", {}) == "no hole");
    CHECK(format("", {}).empty());
}

TEST_CASE("format: what has no piece, and a piece that has no hole, do no harm") {
    CHECK(format("{} {}", {"one"}) == "one {}");
    CHECK(format("{}", {"one", "two"}) == "one");
    CHECK(format("{}|{}", {"{}", "two"}) == "{}|two");
}

TEST_CASE("format: numbers read as fmt writes them") {
    const auto least = (std::numeric_limits<std::int64_t>::min)();
    const auto most = (std::numeric_limits<std::uint64_t>::max)();
    CHECK(format("{} {} {} {}", {-1, 4'000'000'000U, least, most}) ==
          fmt::format("{} {} {} {}", -1, 4'000'000'000U, least, most));
    for (const double number : {0.5, -1.0, 0.1, 100'000.0, 1e300, 0.123456789, -2.2250738585072014e-308, 1e15, 123456.5,
                                std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        CHECK(format("{}", {number}) == fmt::format("{}", number));
    }
}
