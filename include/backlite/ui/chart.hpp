// SPDX-License-Identifier: MIT
#pragma once
// Bar charts as SVG, made on the server: they work without scripts, and need no style but classes.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <backlite/ui/html.hpp>
#include <backlite/ui/request.hpp>
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
    std::string_view color{};  ///< "ok", "bad", "again", "wait", "time", "left" or "due", as the stylesheet knows them
    std::string_view name{};   ///< in the legend; empty: it needs none
};

struct Chart {
    std::string_view heading{};
    ChartPart lower{};
    ChartPart upper{};
    std::vector<Bar> bars{};
    std::string most_label{};    ///< what the top of the scale is; empty: nothing
    double most = 0;             ///< the top of the scale
    Ms from{};                   ///< the time of the left edge
    Ms until{};                  ///< and of the right
    std::optional<Link> list{};  ///< of the tasks behind a bar, once it is narrowed to the bar's time
    std::string summary{};       ///< the chart in a sentence, also for who cannot see it
};

/// A round number that is at least `value`: 1, 2, 3, 5 or 8 times a power of ten; at least 1.
[[nodiscard]] double round_scale(double value);

/// The same of microseconds: 1, 2 or 5 times a power of ten up to 5 s, then whole units of a clock.
[[nodiscard]] double round_time_scale(double us);

/// What it says is in the text around it too: the drawing itself is hidden from screen readers.
[[nodiscard]] Html draw(const Chart& chart);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/chart.ipp>
#endif
