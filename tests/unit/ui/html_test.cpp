// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <backlite/ui/chart.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/script.hpp>
#include <backlite/ui/stylesheet.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite::ui;

TEST_CASE("ui html: text and attributes are escaped, markup is not escaped twice") {
    Html inner;
    inner.put("<b>{}</b>", "<&>");
    Html html;
    html.put(R"(<a href="{}" title="{}">{}</a>{})", Link("", "/task/").part("\"<"), "\" onclick='x'", "<script>",
             inner);
    CHECK(html.str() ==
          "<a href=\"/task/%22%3C\" title=\"&quot; onclick=&#39;x&#39;\">&lt;script&gt;</a><b>&lt;&amp;&gt;</b>");
}

TEST_CASE("ui html: what is no text becomes the replacement character") {
    Html html;
    html.put("{}{}", std::string_view{"\xff\0<", 3}, 42);
    CHECK(html.str() == "\xef\xbf\xbd\xef\xbf\xbd&lt;42");
}

TEST_CASE("ui html: a place in a text does not open another") {
    Html html;
    html.put("{} {}", "{}", "x");
    CHECK(html.str() == "{} x");
}

TEST_CASE("ui html: a chart has bars within its frame, hints for each, and no style of its own") {
    Chart chart;
    chart.heading = "Finished";
    chart.lower.color = "ok";
    chart.upper.color = "bad";
    chart.most = 10;
    chart.bars = {{10, 0, "first · <10>"}, {0, 0, "nothing"}, {5, 5, "half"}, {1e300, 1e300, "far too many"}};
    chart.from = Ms{1'000};
    chart.until = Ms{1'400};
    const std::string svg = draw(chart).str();
    CHECK(svg.find("<title>first · &lt;10&gt;</title>") != std::string::npos);
    CHECK(svg.find("nothing") == std::string::npos);
    CHECK(svg.find(R"(data-from="1000" data-step="100")") != std::string::npos);
    CHECK(svg.find(R"(<rect x="2"><title>half)") != std::string::npos);
    CHECK(svg.find("style") == std::string::npos);
    CHECK(svg.find("v-1100") != std::string::npos);
    CHECK(svg.find("v-550") != std::string::npos);
    for (const char* bad : {"nan", "inf", "e+"}) CHECK(svg.find(bad) == std::string::npos);
}

TEST_CASE("ui html: a scale is round and high enough") {
    CHECK(round_scale(0) == 1);
    CHECK(round_scale(1) == 1);
    CHECK(round_scale(4) == 5);
    CHECK(round_scale(81) == 100);
    CHECK(round_scale(250) == 300);
}

TEST_CASE("ui assets: stylesheet and script stay small, and ask nobody else") {
    CHECK(stylesheet.size() <= 13'000);
    CHECK(script.size() <= 14'000);
    CHECK(script.find("No answer since ") != std::string_view::npos);
    for (const std::string_view asset : {stylesheet, script, icon}) {
        CHECK(asset.find("https:") == std::string_view::npos);
        CHECK(asset.find("@import") == std::string_view::npos);
        CHECK(asset.find("url(") == std::string_view::npos);
    }
    CHECK(script.find("innerHTML") == std::string_view::npos);
    CHECK(script.find("eval") == std::string_view::npos);
}

}  // namespace
