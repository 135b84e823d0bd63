// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/history.hpp>.

#include <backlite/ui/history.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL const NamedPeriod* find_period(std::string_view key) noexcept {
    for (const NamedPeriod& period : periods) {
        if (period.key == key) return &period;
    }
    return nullptr;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL void put_charts(Html& html, const View& view, const Overview& overview, const NamedPeriod& period) {
    const Duration length = overview.step * static_cast<std::int64_t>(overview.buckets.size());
    const auto chart = [&](std::string_view heading, ChartPart lower, ChartPart upper, Ms from) {
        Chart made;
        made.heading = heading;
        made.lower = lower;
        made.upper = upper;
        made.from = from;
        made.until = from + length;
        return made;
    };
    Chart finished = chart("Finished", {"ok", "succeeded"}, {"bad", "failed"}, overview.from);
    Chart failed = chart("Failed attempts", {"bad", "failed for good"}, {"again", "retried"}, overview.from);
    Chart wait = chart("Average wait", {"wait", ""}, {}, overview.from);
    Chart duration = chart("Average duration", {"time", ""}, {}, overview.from);
    Chart backlog = chart("Unfinished, scheduled ones too", {"left", ""}, {}, overview.from);
    Chart due = chart("Coming due", {"due", ""}, {}, view.now);
    finished.list = Link(view.base, "/search");
    failed.list = Link(view.base, "/failed");
    for (Chart* lists : {&finished, &failed}) {
        if (overview.of_one) lists->list->param("queue", cut(view.get("queue"), 200));
    }
    Counted sum;
    std::uint64_t to_come = 0;
    Us longest{};
    for (std::size_t i = 0; i < overview.buckets.size(); ++i) {
        const Bucket& bucket = overview.buckets[i];
        const Duration offset = overview.step * static_cast<std::int64_t>(i);
        const std::string at = when_text(period, overview.from + offset);
        const double mean = average(bucket.duration, bucket.attempts);
        const auto add = [](Chart& to, double lower, double upper, std::string label) {
            to.bars.push_back({lower, upper, std::move(label)});
            to.most = (std::max)(to.most, lower + upper);
        };
        add(finished, static_cast<double>(bucket.succeeded), static_cast<double>(bucket.failed),
            fmt::format("{} · {} failed, {} succeeded", at, grouped(bucket.failed), grouped(bucket.succeeded)));
        add(failed, static_cast<double>(bucket.failed), static_cast<double>(bucket.retried),
            fmt::format("{} · {} retried, {} failed for good", at, grouped(bucket.retried), grouped(bucket.failed)));
        add(duration, mean, 0,
            overview.counted ? fmt::format("{} · {}", at, us_text(mean))
                             : fmt::format("{} · {} on average, {} at most", at, us_text(mean),
                                           us_text(static_cast<double>(bucket.max_duration.count()))));
        add(wait, average(bucket.wait, bucket.started), 0,
            fmt::format("{} · {}", at, wait_text(bucket.wait, bucket.started)));
        add(backlog, overview.from + offset < overview.covered_from ? 0 : static_cast<double>(bucket.backlog), 0,
            fmt::format("{} · {}{} unfinished, {} added", at, grouped(bucket.backlog), overview.backlog_cut ? "+" : "",
                        grouped(bucket.added)));
        add(due, static_cast<double>(bucket.due), 0,
            fmt::format("{} · {}{} due", when_text(period, view.now + offset), grouped(bucket.due),
                        overview.due_cut ? "+" : ""));
        sum += bucket;
        to_come += bucket.due;
        longest = (std::max)(longest, bucket.max_duration);
    }
    for (Chart* counts : {&finished, &failed, &backlog, &due}) {
        counts->most = round_scale(counts->most);
        counts->most_label = grouped(static_cast<std::uint64_t>((std::min)(counts->most, 1e18)));
    }
    duration.most = round_time_scale(duration.most);
    if (duration.most > 0) duration.most_label = us_text(duration.most);
    wait.most = round_time_scale(1'000 * wait.most) / 1'000;
    if (wait.most > 0) wait.most_label = us_text(1'000 * wait.most);
    const auto happened = [&](std::uint64_t number) { return count_text({number, overview.finished_cut}); };
    finished.summary = fmt::format("{} in the last {}", happened(sum.succeeded + sum.failed), period.name);
    failed.summary = fmt::format("{} in the last {}", happened(sum.failed + sum.retried), period.name);
    duration.summary = sum.attempts == 0 ? "nothing finished"
                       : overview.counted
                           ? fmt::format("{} in the last {}", us_text(average(sum.duration, sum.attempts)), period.name)
                           : fmt::format("{} at most", us_text(static_cast<double>(longest.count())));
    wait.summary = sum.started == 0 ? "nothing started"
                                    : fmt::format("{} in the last {}", wait_text(sum.wait, sum.started), period.name);
    backlog.summary = fmt::format("{} added in the last {}", happened(sum.added), period.name);
    due.summary = fmt::format("{}{} in the next {}", grouped(to_come), overview.due_cut ? "+" : "", period.name);
    html.put(R"(<div class="charts">{}{}{}{}{}{}</div>)", draw(finished), draw(failed),
             overview.counted ? draw(wait) : Html{}, draw(duration), overview.counted ? draw(backlog) : Html{},
             draw(due));
    if (overview.counted) {
        Html left_out;
        if (overview.finished_cut)
            left_out.put("; of so many queues only what happened since {} is summed up",
                         exact_time(overview.covered_from));
        html.put(
            R"(<p class="hint">Counted by the programs that work on this file, since {}{}. A wait is from due to start. )"
            R"(Unfinished are all tasks that wait, are scheduled or run{}; one that plain SQL added is counted from its )"
            R"(start.</p>)",
            exact_time(overview.counted_from), left_out,
            overview.backlog_cut ? ", at least: there are more than were counted" : "");
    } else if (overview.finished_cut) {
        html.put(R"(<p class="hint">Of the finished tasks only the {} that were written last were looked at: more may )"
                 R"(have finished in this period.</p>)",
                 grouped(static_cast<std::uint64_t>(Bounds{}.finished)));
    }
}

BACKLITE_DECL std::string day_text(Ms from, std::chrono::minutes zone) {
    constexpr std::string_view names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    const Ms here = from + zone;
    const std::chrono::weekday day{std::chrono::floor<std::chrono::days>(from_ms(here))};
    return fmt::format("{} {}", names[day.c_encoding()], utc_text(here).substr(0, 10));
}

BACKLITE_DECL void put_days(Html& html, const View& view, const Overview& overview) {
    if (overview.days.empty()) return;
    html.put(
        R"(<h2 id="days">Day by day</h2><table class="cards"><thead><tr><th scope="col">Day</th><th scope="col" class="num">Added</th>)"
        R"(<th scope="col" class="num">Succeeded</th><th scope="col" class="num">Failed</th>)"
        R"(<th scope="col" class="num">Retried</th><th scope="col" class="num">Average wait</th>)"
        R"(<th scope="col" class="num">Average duration</th></tr></thead><tbody>)");
    const auto cell = [&](std::string_view label, const std::string& text, bool nothing, std::string_view tone = "") {
        html.put(R"(<td class="num {}" data-label="{}">{}</td>)", nothing ? "zero" : tone, label, text);
    };
    for (std::size_t i = 0; i < overview.days.size(); ++i) {
        const Day& day = overview.days[i];
        const Counted& sum = day.counted;
        const std::uint64_t finished = sum.succeeded + sum.failed;
        html.put(R"(<tr><th scope="row">{}{})", day_text(day.from, view.zone()), i == 0 ? ", today so far" : "");
        if (day.counted_from > day.from) html.put(R"( <small>from {}</small>)", clock_time(view, day.counted_from));
        html.put("</th>");
        cell("Added", grouped(sum.added), sum.added == 0);
        cell("Succeeded", grouped(sum.succeeded), sum.succeeded == 0);
        cell("Failed",
             sum.failed == 0 ? "0"
                             : fmt::format("{} ({:.1f} %)", grouped(sum.failed),
                                           100 * static_cast<double>(sum.failed) / static_cast<double>(finished)),
             sum.failed == 0, "bad");
        cell("Retried", grouped(sum.retried), sum.retried == 0);
        cell("Wait", sum.started == 0 ? "–" : wait_text(sum.wait, sum.started), sum.started == 0);
        cell("Duration", sum.attempts == 0 ? "–" : us_text(average(sum.duration, sum.attempts)), sum.attempts == 0);
        html.put("</tr>");
    }
    const Day& first = overview.days.back();
    const bool cut = first.counted_from > (std::max)(first.from, overview.counted_from + std::chrono::minutes{30});
    html.put(
        R"(</tbody></table><p class="hint">Days are those of {}. Failed are tasks that failed for good, retried are )"
        R"(failed attempts that another follows.{}</p>)",
        zone_text(view.zone()),
        cut ? " So many queues were counted that earlier days are summed up for one queue only." : "");
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
