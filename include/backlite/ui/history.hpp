// SPDX-License-Identifier: MIT
#pragma once
// What happened over time, of all queues or of one: charts of a period, and a table of the last days.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <backlite/clock.hpp>
#include <backlite/ui/chart.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/models.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// How a period is called in the address, on the page, and how it is cut into steps.
struct NamedPeriod {
    std::string_view key{};   ///< in the address
    std::string_view name{};  ///< on the page, after "the last"
    Period period{};          ///< how long it is, in how many steps
};

inline constexpr NamedPeriod periods[] = {{"hour", "hour", {std::chrono::hours{1}, 60}},
                                          {"day", "day", {std::chrono::days{1}, 48}},
                                          {"week", "week", {std::chrono::weeks{1}, 56}}};

/// The one of that key; null if there is none.
[[nodiscard]] const NamedPeriod* find_period(std::string_view key) noexcept;

/// The one that an overview covers: an hour unless the address names another; nullptr if that is none of ours.
[[nodiscard]] inline const NamedPeriod* period_of(const View& view) noexcept {
    return find_period(view.get("period").empty() ? "hour" : view.get("period"));
}

namespace detail {

/// What an address says of a period: nothing of the usual one.
[[nodiscard]] inline std::string_view other_period(const NamedPeriod& period) noexcept {
    return period.key == periods[0].key ? std::string_view{} : period.key;
}

[[nodiscard]] inline std::string when_text(const NamedPeriod& period, Ms at) {
    return period.key == "hour" ? utc_clock(at) : utc_text(at).substr(5, 11);
}

/// In the unit of `sum`.
template <class Unit>
[[nodiscard]] double average(Unit sum, std::uint64_t count) noexcept {
    return count == 0 ? 0 : static_cast<double>(sum.count()) / static_cast<double>(count);
}

[[nodiscard]] inline std::string us_text(double us) { return span_text(Us{static_cast<std::int64_t>(us)}); }

/// An average of waits, which are kept in milliseconds.
[[nodiscard]] inline std::string wait_text(Duration sum, std::uint64_t count) {
    const double us = 1'000 * average(sum, count);
    return us < 1'000 ? "< 1 ms" : us_text(us);
}

void put_charts(Html& html, const View& view, const Overview& overview, const NamedPeriod& period);

/// What a day is called: `Mon 2026-03-02` by the clock of that zone.
[[nodiscard]] std::string day_text(Ms from, std::chrono::minutes zone);

void put_days(Html& html, const View& view, const Overview& overview);

}  // namespace detail

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/history.ipp>
#endif
