// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/statistics_reads.hpp>.

#include <backlite/store/sqlite/views/statistics_reads.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::optional<detail::Ms> StatisticsReads::begin(std::chrono::minutes span) {
    if (!shape_.counts) return std::nullopt;
    Run first(db_, first_, {span.count()});
    if (!first.step()) return std::nullopt;
    return start_of(detail::Minute{first.integer(0)});
}

BACKLITE_DECL std::optional<Count> StatisticsReads::finished(detail::Ms since, detail::Ms until, detail::Ms now,
                                                             const std::string& queue, bool failed) {
    if (since < detail::Ms{} || until < since) return std::nullopt;
    constexpr Duration half_hour = std::chrono::minutes{30};
    const bool halves =
        since % half_hour == Duration::zero() && (until >= now || until % half_hour == half_hour - Duration{1});
    const std::chrono::minutes span{halves ? 30 : 1};
    const std::optional<detail::Ms> began = begin(span);
    if (!began || *began > until) return std::nullopt;
    const detail::Ms from = (std::max)(since - since % span, *began);
    Count sum;
    sum.more = from < read(
                          span, from, until, queue,
                          [&](detail::Ms at, std::string_view, const Counted& counted) {
                              if (at <= until) sum.number += failed ? counted.failed : counted.succeeded;
                          });
    return sum;
}

BACKLITE_DECL std::vector<Day> StatisticsReads::days(detail::Ms now, std::chrono::minutes zone,
                                                     const std::string& queue) {
    constexpr Duration length = std::chrono::days{1};
    constexpr std::chrono::minutes span{30};
    const std::optional<detail::Ms> began = begin(span);
    if (!began) return {};
    const Duration past = (now + zone) % length;
    const detail::Ms today = now - (past < Duration::zero() ? past + length : past);
    std::vector<Day> found(most_days);
    for (std::size_t i = 0; i < most_days; ++i) found[i].from = today - static_cast<std::int64_t>(i) * length;
    const detail::Ms covered_from =
        read(span, found.back().from, now, queue, [&](detail::Ms at, std::string_view, const Counted& counted) {
            if (at >= today + length) return;
            found[at >= today ? 0 : static_cast<std::size_t>((today - at - Duration{1}) / length) + 1].counted +=
                counted;
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
    row.wait = Duration{number(6)};
    row.duration = detail::Us{number(7)};
    return row;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
