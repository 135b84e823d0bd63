// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/statistics_reads.hpp>.

#include <backlite/store/sqlite/views/statistics_reads.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::optional<std::int64_t> StatisticsReads::begin(std::int64_t span) {
    if (!shape_.counts) return std::nullopt;
    Run first(db_, first_, {span});
    if (!first.step()) return std::nullopt;
    return limited(first.integer(0)) * minute;
}

BACKLITE_DECL std::optional<Count> StatisticsReads::finished(std::int64_t since, std::int64_t until, std::int64_t now,
                                                             const std::string& queue, bool failed) {
    if (since < 0 || until < since) return std::nullopt;
    constexpr std::int64_t half_hour = 30 * minute;
    const bool halves = since % half_hour == 0 && (until >= now || until % half_hour == half_hour - 1);
    const std::int64_t span = halves ? 30 : 1;
    const std::optional<std::int64_t> began = begin(span);
    if (!began || *began > until) return std::nullopt;
    const std::int64_t from = (std::max)(since - since % (span * minute), *began);
    Count sum;
    sum.more = from < read(
                          span, from, until, queue,
                          [&](std::int64_t at, std::string_view, const Counted& counted) {
                              if (at <= until) sum.number += failed ? counted.failed : counted.succeeded;
                          });
    return sum;
}

BACKLITE_DECL std::vector<Day> StatisticsReads::days(std::int64_t now, std::int64_t zone, const std::string& queue) {
    constexpr std::int64_t length = 24 * 60 * minute;
    constexpr std::int64_t span = 30;
    const std::optional<std::int64_t> began = begin(span);
    if (!began) return {};
    const std::int64_t here = now + zone * minute;
    const std::int64_t past = here % length;
    const std::int64_t today = now - (past < 0 ? past + length : past);
    std::vector<Day> found(most_days);
    for (std::size_t i = 0; i < most_days; ++i) found[i].from = today - static_cast<std::int64_t>(i) * length;
    const std::int64_t covered_from =
        read(span, found.back().from, now, queue, [&](std::int64_t at, std::string_view, const Counted& counted) {
            if (at >= today + length) return;
            found[at >= today ? 0 : static_cast<std::size_t>((today - at - 1) / length) + 1].counted += counted;
        });
    for (Day& day : found) day.counted_from = (std::max)({day.from, covered_from, *began});
    std::erase_if(found, [&](const Day& day) noexcept { return day.counted_from >= day.from + length; });
    return found;
}

BACKLITE_DECL Counted StatisticsReads::counted(Run& run) {
    const auto number = [&run](int column) {  // bounded: sums of what a damaged file may hold do not overflow
        return (std::clamp)(run.integer(column), std::int64_t{0}, std::int64_t{1} << 46);
    };
    const auto count = [&number](int column) { return static_cast<std::uint64_t>(number(column)); };
    Counted row;
    row.added = count(1);
    row.started = count(2);
    row.succeeded = count(3);
    row.failed = count(4);
    row.retried = count(5);
    row.attempts = row.succeeded + row.failed + row.retried;
    row.wait_ms = number(6);
    row.duration = number(7);
    return row;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
