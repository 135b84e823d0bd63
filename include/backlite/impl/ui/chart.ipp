// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/chart.hpp>.

#include <backlite/ui/chart.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL double round_scale(double value) {
    if (!(value > 1)) return 1;
    const double power = std::pow(10, std::floor(std::log10(value)));
    for (const double step : {1.0, 2.0, 3.0, 5.0, 8.0}) {
        if (value <= step * power * 1.0000001) return step * power;
    }
    return 10 * power;
}

BACKLITE_DECL double round_time_scale(double us) {
    if (us <= 0) return 0;
    constexpr double second = 1e6;
    for (double step = 1; step < 10 * second; step *= 10) {
        for (const double times : {1.0, 2.0, 5.0}) {
            if (us <= times * step) return times * step;
        }
    }
    constexpr double minute = 60 * second, hour = 60 * minute, day = 24 * hour;
    for (const double step : {10 * second, 20 * second, 30 * second, minute, 2 * minute, 5 * minute, 10 * minute,
                              20 * minute, 30 * minute, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day}) {
        if (us <= step) return step;
    }
    return round_scale(us / day) * day;
}

BACKLITE_DECL Html draw(const Chart& chart) {
    constexpr double width = 6'000;  // so large that whole numbers do, which make short paths
    constexpr double height = 1'100;
    const auto bars = static_cast<std::int64_t>((std::max)(chart.bars.size(), std::size_t{1}));
    const double step = width / static_cast<double>(bars);
    const Duration shown = chart.until - chart.from;
    const Duration shown_by_bar = shown / bars;
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
        const double x = (static_cast<double>(i) + 0.5) * step;
        const double first = scaled(bar.lower);
        const double second = (std::min)(scaled(bar.upper), height - first + 15);
        const auto add = [&](std::string& path, double from, double length) {
            if (length <= 0) return;
            path += fmt::format("M{:.0f} {:.0f}v-{:.0f}", x, height - from, length);
        };
        add(lower, 0, first);
        add(upper, first, second);
        if (!chart.list) {
            places.put(R"(<rect x="{}"><title>{}</title></rect>)", i, bar.label);
            continue;
        }
        Link link = *chart.list;
        link.param("ended",
                   fmt::format("{}.{}", minute_of(chart.from + shown_by_bar * static_cast<std::int64_t>(i)).count(),
                               std::chrono::duration_cast<std::chrono::minutes>(shown_by_bar).count()));
        places.put(R"(<a href="{}" tabindex="-1"><rect x="{}"><title>{}</title></rect></a>)", link, i, bar.label);
    }
    Html html;
    html.put(R"(<figure class="chart"><figcaption><b>{}</b> )", chart.heading);
    for (const ChartPart& part : {chart.upper, chart.lower}) {  // as they lie on each other
        if (!part.name.empty()) html.put(R"(<span class="key {}">{}</span> )", part.color, part.name);
    }
    html.put(R"(<span>{}</span></figcaption>)", chart.summary);
    html.put(R"(<div class="plot"><span class="top">{}</span><svg viewBox="0 0 6000 1100" preserveAspectRatio="none" )"
             R"(aria-hidden="true"><path class="grid" d="M0 5h6000M0 550h6000M0 1095h6000"/>)",
             chart.most_label);
    // A bar is a line as thick as it is wide, which makes the shortest path.
    const std::string thickness = fmt::format("{:.0f}", step - gap);
    html.put(R"(<path class="{}" stroke-width="{}" d="{}"/><path class="{}" stroke-width="{}" d="{}"/>)",
             chart.lower.color, thickness, lower, chart.upper.color, thickness, upper);
    // A bar is named by its number: the script turns its time to the reader's zone.
    html.put(R"g(<g class="hit" data-from="{}" data-step="{}" transform="scale({} 1100)">{}</g></svg></div>)g",
             chart.from.count(), shown_by_bar.count(), fmt::format("{:.2f}", step), places);
    const Ms middle = chart.from + shown / 2;
    html.put(R"(<div class="axis">)");
    const bool days = shown > std::chrono::seconds{80'000};  // most of a day: a time of day alone would not do
    for (const Ms at : {chart.from, middle, chart.until}) {
        html.put(R"(<time datetime="{}" data-clock="{}">{}</time>)", iso_text(at), days ? "day" : "minute",
                 days ? utc_text(at).substr(5, 11) : utc_clock(at));
    }
    html.put("</div></figure>");
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
