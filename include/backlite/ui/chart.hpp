// SPDX-License-Identifier: MIT
#pragma once
// Bar charts as SVG, made on the server: they work without scripts, and need no style but classes.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <backlite/ui/html.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// One bar: up to two values, one on top of the other, and what is said of it when it is pointed at.
struct Bar {
    double lower = 0;
    double upper = 0;
    std::string label{};  ///< the time of its left edge in UTC, " · ", and what happened
};

struct ChartPart {
    std::string_view color{};  ///< "ok", "bad", "time" or "due", as the stylesheet knows them
    std::string_view name{};   ///< in the legend; empty: it needs none
};

struct Chart {
    std::string_view heading{};
    ChartPart lower{};
    ChartPart upper{};
    std::vector<Bar> bars{};
    std::string most_label{};  ///< what the top of the scale is; empty: nothing
    double most = 0;           ///< the top of the scale
    std::int64_t from = 0;     ///< the time of the left edge
    std::int64_t until = 0;    ///< and of the right
    std::string summary{};     ///< the chart in a sentence, also for who cannot see it
};

/// A round number that is at least `value`: 1, 2, 3, 5 or 8 times a power of ten; at least 1.
[[nodiscard]] inline double round_scale(double value) {
    if (!(value > 1)) return 1;
    const double power = std::pow(10, std::floor(std::log10(value)));
    for (const double step : {1.0, 2.0, 3.0, 5.0, 8.0}) {
        if (value <= step * power * 1.0000001) return step * power;
    }
    return 10 * power;
}

[[nodiscard]] inline Html draw(const Chart& chart) {
    constexpr double width = 6'000;  // so large that whole numbers do, which make short paths
    constexpr double height = 1'100;
    const double step = width / static_cast<double>((std::max)(chart.bars.size(), std::size_t{1}));
    const double gap = (std::min)(20.0, step / 5);
    const auto scaled = [&](double value) {
        const double length = chart.most > 0 ? value / chart.most * height : 0;
        return value > 0 ? (std::clamp)(length, 15.0, height) : 0;
    };
    std::string lower;
    std::string upper;
    Html places;
    for (std::size_t i = 0; i < chart.bars.size(); ++i) {
        const Bar& bar = chart.bars[i];
        if (bar.lower <= 0 && bar.upper <= 0) continue;
        const double x = static_cast<double>(i) * step + gap / 2;
        const double first = scaled(bar.lower);
        const double second = (std::min)(scaled(bar.upper), height - first + 15);
        const auto add = [&](std::string& path, double from, double length) {
            if (length <= 0) return;
            path +=
                fmt::format("M{:.0f} {:.0f}h{:.0f}v-{:.0f}h-{:.0f}", x, height - from, step - gap, length, step - gap);
        };
        add(lower, 0, first);
        add(upper, first, second);
        places.put(R"(<rect x="{}"><title>{}</title></rect>)", i, bar.label);
    }
    Html html;
    html.put(R"(<figure class="chart"><figcaption><b>{}</b> )", chart.heading);
    for (const ChartPart& part : {chart.upper, chart.lower}) {  // as they lie on each other
        if (!part.name.empty()) html.put(R"(<span class="key {}">{}</span> )", part.color, part.name);
    }
    html.put(R"(<span>{}</span></figcaption>)", chart.summary);
    html.put(R"(<div class="plot"><span class="top">{}</span><svg viewBox="0 0 6000 1100" preserveAspectRatio="none" )"
             R"(role="img" aria-label="{}: {}"><path class="grid" d="M0 5h6000M0 550h6000M0 1095h6000"/>)",
             chart.most_label, chart.heading, chart.summary);
    html.put(R"(<path class="{}" d="{}"/><path class="{}" d="{}"/>)", chart.lower.color, lower, chart.upper.color,
             upper);
    // A bar is named by its number: the script turns its time to the reader's zone.
    html.put(R"g(<g class="hit" data-from="{}" data-step="{}" transform="scale({} 1100)">{}</g></svg></div>)g",
             chart.from,
             (chart.until - chart.from) / static_cast<std::int64_t>((std::max)(chart.bars.size(), std::size_t{1})),
             fmt::format("{:.2f}", step), places);
    const std::int64_t middle = chart.from + (chart.until - chart.from) / 2;
    html.put(R"(<div class="axis">)");
    const bool days = chart.until - chart.from > 80'000'000;  // most of a day: a time of day alone would not do
    for (const std::int64_t at : {chart.from, middle, chart.until}) {
        html.put(R"(<time datetime="{}" data-clock="{}">{}</time>)", iso_text(at), days ? "day" : "minute",
                 days ? utc_text(at).substr(5, 11) : utc_clock(at));
    }
    html.put("</div></figure>");
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
