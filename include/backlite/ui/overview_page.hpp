// SPDX-License-Identifier: MIT
#pragma once
// The first page: whether all is well, which queue falls behind, and who works.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <backlite/ui/chart.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/model.hpp>
#include <backlite/ui/queue_reads.hpp>

namespace backlite {
inline namespace v1 {
namespace ui {

/// How a period is called in the address, on the page, and how it is cut into steps.
struct NamedPeriod {
    std::string_view key{};
    std::string_view name{};
    Period period{};
};

inline constexpr NamedPeriod periods[] = {
    {"hour", "hour", {3'600'000, 60}}, {"day", "day", {86'400'000, 48}}, {"week", "week", {604'800'000, 56}}};

/// The one of that key; the hour for any other.
[[nodiscard]] inline const NamedPeriod& period_of(std::string_view key) noexcept {
    for (const NamedPeriod& period : periods) {
        if (period.key == key) return period;
    }
    return periods[0];
}

namespace detail {

struct Totals {
    Count waiting{}, scheduled{}, running{};
    std::uint64_t succeeded = 0, failed = 0;
    std::optional<std::int64_t> oldest_due{}, next_due{};
    std::string_view oldest_queue{};
};

[[nodiscard]] inline Totals totals_of(const Overview& overview) {
    Totals totals;
    const auto add = [](Count& sum, const Count& count) {
        sum.number += count.number;
        sum.more = sum.more || count.more;
    };
    for (const QueueSummary& queue : overview.queues) {
        add(totals.waiting, queue.waiting);
        add(totals.scheduled, queue.scheduled);
        add(totals.running, queue.running);
        totals.succeeded += queue.succeeded;
        totals.failed += queue.failed;
        if (queue.oldest_due && (!totals.oldest_due || *queue.oldest_due < *totals.oldest_due)) {
            totals.oldest_due = queue.oldest_due;
            totals.oldest_queue = queue.name;
        }
        if (queue.next_due && (!totals.next_due || *queue.next_due < *totals.next_due))
            totals.next_due = queue.next_due;
    }
    return totals;
}

inline void put_tile(Html& html, const Link& link, std::string_view name, std::string_view number, const Html& note,
                     std::string_view tone) {
    html.put(R"(<a class="tile {}" href="{}"><span>{}</span><b>{}</b><small>{}</small></a>)", tone, link, name, number,
             note);
}

inline void put_tiles(Html& html, const View& view, const Overview& overview, const NamedPeriod& period) {
    const Totals totals = totals_of(overview);
    constexpr std::int64_t late = 60'000;  // a task that waits longer is worth a second look
    const bool behind =
        totals.oldest_due && span_between(*totals.oldest_due, view.now) > std::chrono::milliseconds{late};
    const auto note = [](std::string_view text) {
        Html small;
        small.text(text);
        return small;
    };
    html.put(R"(<div class="tiles">)");
    Html waiting = note("nothing waits");
    if (totals.oldest_due) {
        waiting = Html{};
        waiting.put("oldest for {} in {}", age_text(*totals.oldest_due, view.now), short_text(totals.oldest_queue, 24));
    }
    put_tile(html, Link(view.base, "/upcoming").param("state", "waiting"), "Waiting", count_text(totals.waiting),
             waiting, behind ? "warn" : "");
    std::int64_t workers = 0;
    std::size_t alive = 0;
    std::size_t dead = 0;
    for (const Process& process : overview.processes) {
        ++(process.alive == false ? dead : alive);
        if (process.alive != false) workers += process.workers;
    }
    const std::string by = !overview.knows_processes ? "made by a Go program"
                           : alive == 0              ? "no process is working"
                                        : fmt::format("{} worker{} in {} process{}", workers, workers == 1 ? "" : "s",
                                                      alive, alive == 1 ? "" : "es");
    const bool stalled = overview.knows_processes && alive == 0 && totals.waiting.number + totals.running.number > 0;
    put_tile(html, Link(view.base, "/running"), "Running", count_text(totals.running), note(by), stalled ? "warn" : "");
    Html next = note("none to come");
    if (totals.next_due) {
        next = Html{};
        next.put("next {}", ago(view, *totals.next_due));
    }
    put_tile(html, Link(view.base, "/upcoming").param("state", "scheduled"), "Scheduled", count_text(totals.scheduled),
             next, "");
    const std::uint64_t finished = totals.succeeded + totals.failed;
    const std::string share =
        finished == 0
            ? fmt::format("in the last {}", period.name)
            : fmt::format("{:.1f} % of the last {}",
                          100.0 * static_cast<double>(totals.failed) / static_cast<double>(finished), period.name);
    put_tile(html, Link(view.base, "/failed"), "Failed", grouped(totals.failed), note(share),
             totals.failed > 0 ? "bad" : "");
    const double minutes = (std::max)(
        static_cast<double>(view.now - (std::max)(overview.from, overview.covered_from)) / 60'000.0, 1.0 / 60);
    put_tile(html, Link(view.base, "/succeeded"), "Finished", grouped(finished),
             note(finished == 0 ? fmt::format("in the last {}", period.name)
                                : fmt::format("{:.3g} a minute", static_cast<double>(finished) / minutes)),
             "");
    html.put("</div>");
}

[[nodiscard]] inline std::string when_text(const NamedPeriod& period, std::int64_t at) {
    return period.key == "hour" ? utc_clock(at) : utc_text(at).substr(5, 11);
}

[[nodiscard]] inline double average(std::int64_t sum, std::uint64_t count) noexcept {
    return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count);
}

[[nodiscard]] inline std::string us_text(double us) {
    return span_text(std::chrono::microseconds{static_cast<std::int64_t>(us)});
}

inline void put_charts(Html& html, const View& view, const Overview& overview, const NamedPeriod& period) {
    const std::int64_t end = overview.from + overview.step_ms * static_cast<std::int64_t>(overview.buckets.size());
    Chart finished{"Finished", "ok", "bad", {}, {}, 0, overview.from, end, {}};
    Chart failed{"Failed attempts", "bad", "due", {}, {}, 0, overview.from, end, {}};
    Chart duration{"Average duration", "time", "", {}, {}, 0, overview.from, end, {}};
    Chart backlog{"Unfinished", "due", "", {}, {}, 0, overview.from, end, {}};
    Chart due{"Coming due",
              "due",
              "",
              {},
              {},
              0,
              view.now,
              view.now + overview.step_ms * static_cast<std::int64_t>(overview.buckets.size()),
              {}};
    std::uint64_t sum = 0, bad = 0, retried = 0, added = 0, started = 0, to_come = 0;
    std::int64_t longest = 0, waited_ms = 0;
    for (std::size_t i = 0; i < overview.buckets.size(); ++i) {
        const Bucket& bucket = overview.buckets[i];
        const std::int64_t offset = overview.step_ms * static_cast<std::int64_t>(i);
        const std::string at = when_text(period, overview.from + offset);
        const std::uint64_t count = bucket.succeeded + bucket.failed;
        const double mean = average(bucket.duration_us, bucket.attempts);
        finished.bars.push_back({static_cast<double>(bucket.succeeded), static_cast<double>(bucket.failed),
                                 fmt::format("{} · {} succeeded, {} failed", at, bucket.succeeded, bucket.failed)});
        failed.bars.push_back({static_cast<double>(bucket.failed), static_cast<double>(bucket.retried),
                               fmt::format("{} · {} failed for good, {} retried", at, bucket.failed, bucket.retried)});
        const std::string took = us_text(mean);
        duration.bars.push_back({mean, 0,
                                 overview.counted
                                     ? fmt::format("{} · {} after waiting {}", at, took,
                                                   us_text(1'000 * average(bucket.wait_ms, bucket.started)))
                                     : fmt::format("{} · {} on average, {} at most", at, took,
                                                   us_text(static_cast<double>(bucket.max_duration_us)))});
        backlog.bars.push_back(
            {overview.from + offset < overview.covered_from ? 0 : static_cast<double>(bucket.backlog), 0,
             fmt::format("{} · {} unfinished, {} added", at, bucket.backlog, bucket.added)});
        due.bars.push_back({static_cast<double>(bucket.due), 0,
                            fmt::format("{} · {} due", when_text(period, view.now + offset), bucket.due)});
        finished.most = (std::max)(finished.most, static_cast<double>(count));
        failed.most = (std::max)(failed.most, static_cast<double>(bucket.failed + bucket.retried));
        duration.most = (std::max)(duration.most, mean);
        due.most = (std::max)(due.most, static_cast<double>(bucket.due));
        sum += count;
        bad += bucket.failed;
        retried += bucket.retried;
        added += bucket.added;
        started += bucket.started;
        waited_ms += bucket.wait_ms;
        backlog.most = (std::max)(backlog.most, backlog.bars.back().lower);
        to_come += bucket.due;
        longest = (std::max)(longest, bucket.max_duration_us);
    }
    for (Chart* chart : {&finished, &failed, &backlog, &due}) {
        chart->most = round_scale(chart->most);
        chart->most_label = fmt::format("{:.0f}", chart->most);
    }
    duration.most_label = span_text(std::chrono::microseconds{static_cast<std::int64_t>(duration.most)});
    finished.summary = fmt::format("{} in the last {}", grouped(sum), period.name);
    failed.summary = fmt::format("{} in the last {}", grouped(bad + retried), period.name);
    duration.summary = sum + retried == 0 ? "nothing finished"
                       : overview.counted
                           ? fmt::format("after {} of waiting", us_text(1'000 * average(waited_ms, started)))
                           : fmt::format("{} at most", us_text(static_cast<double>(longest)));
    backlog.summary = fmt::format("{} added in the last {}", grouped(added), period.name);
    due.summary = fmt::format("{}{} in the next {}", grouped(to_come), overview.due_cut ? "+" : "", period.name);
    html.put(R"(<div class="charts">{}{}{}{}{}</div>)", draw(finished), draw(failed), draw(duration),
             overview.counted ? draw(backlog) : Html{}, draw(due));
    if (overview.counted) {
        html.put(
            R"(<p class="hint">Counted by the programs that work on this file, since {}{}. Unfinished are all tasks )"
            R"(that wait, are scheduled or run; one that plain SQL added is counted from its start.</p>)",
            exact_time(overview.counted_from),
            overview.covered_from > (std::max)(overview.from, overview.counted_from) ? "; not all of it is shown" : "");
    } else if (overview.covered_from > overview.from) {
        html.put(
            R"(<p class="hint">Finished tasks are shown back to {}: more than {} have finished in this period.</p>)",
            exact_time(overview.covered_from), grouped(static_cast<std::uint64_t>(QueueReads::most_finished)));
    }
}

inline void sort_queues(std::vector<const QueueSummary*>& queues, std::string_view key) {
    const auto by = [&](auto&& value) {
        std::stable_sort(queues.begin(), queues.end(),
                         [&](const QueueSummary* a, const QueueSummary* b) { return value(*a) > value(*b); });
    };
    if (key == "waiting") by([](const QueueSummary& q) { return q.waiting.number; });
    if (key == "running") by([](const QueueSummary& q) { return q.running.number; });
    if (key == "scheduled") by([](const QueueSummary& q) { return q.scheduled.number; });
    if (key == "failed") by([](const QueueSummary& q) { return q.failed; });
    if (key == "finished") by([](const QueueSummary& q) { return q.failed + q.succeeded; });
    if (key == "oldest")
        by([](const QueueSummary& q) { return q.oldest_due ? -static_cast<double>(*q.oldest_due) : -1e30; });
}

inline void put_queues(Html& html, const View& view, const Overview& overview, const NamedPeriod& period) {
    // Both keep the page small, of which the charts may be half.
    constexpr std::size_t most_shown = 40;
    constexpr std::size_t most_bytes = 54'000;
    std::size_t shown = 0;
    html.put("<h2>Queues</h2>");
    if (overview.queues.empty()) {
        html.put(R"(<p class="empty">No queue has a task that waits, runs, or finished in the last {} and was kept. )"
                 R"(Finished tasks are kept if their queue has a retention.</p>)",
                 period.name);
        return;
    }
    std::vector<const QueueSummary*> queues;
    for (const QueueSummary& queue : overview.queues) queues.push_back(&queue);
    const std::string_view sort = view.get("sort");
    sort_queues(queues, sort);
    html.put(R"(<table class="cards"><thead><tr>)");
    const auto column = [&](std::string_view name, std::string_view key, std::string_view tone) {
        Link link(view.base, "/");
        link.param("period", period.key == "hour" ? "" : period.key).param("sort", key);
        const bool chosen = sort == key || (key.empty() && sort.empty());
        html.put(R"(<th class="{}" scope="col" aria-sort="{}"><a href="{}">{}</a></th>)", tone,
                 chosen ? (key.empty() ? "ascending" : "descending") : "none", link, name);
    };
    column("Queue", "", "");
    column("Waiting", "waiting", "num");
    column("Oldest waits", "oldest", "num");
    column("Running", "running", "num");
    column("Scheduled", "scheduled", "num");
    html.put(R"(<th scope="col" class="num">Retrying</th>)");
    column("Failed", "failed", "num");
    column("Finished", "finished", "num");
    html.put(R"(<th scope="col" class="num">Average</th></tr></thead><tbody>)");
    for (; shown < queues.size() && shown < most_shown && html.str().size() < most_bytes; ++shown) {
        const QueueSummary& queue = *queues[shown];
        const auto number = [&](std::string_view label, const Link& link, std::string_view text, bool zero,
                                std::string_view tone) {
            html.put(R"(<td class="num {}" data-label="{}">)", zero ? "zero" : tone, label);
            if (zero || queue.name.size() > 200) {
                html.put("{}</td>", text);
            } else {
                html.put(R"(<a href="{}">{}</a></td>)", link, text);
            }
        };
        const std::uint64_t finished = queue.succeeded + queue.failed;
        html.put(R"(<tr data-row><th scope="row">{}</th>)", queue_link(view, queue.name));
        number("Waiting", Link(view.base, "/upcoming").param("queue", queue.name).param("state", "waiting"),
               count_text(queue.waiting), queue.waiting.number == 0, "");
        const bool late = queue.oldest_due && span_between(*queue.oldest_due, view.now) > std::chrono::minutes{1};
        html.put(R"(<td class="num {}" data-label="Oldest waits">{}</td>)",
                 late               ? "warn"
                 : queue.oldest_due ? ""
                                    : "zero",
                 queue.oldest_due ? age_text(*queue.oldest_due, view.now) : "–");
        number("Running", Link(view.base, "/running").param("queue", queue.name), count_text(queue.running),
               queue.running.number == 0, "");
        number("Scheduled", Link(view.base, "/upcoming").param("queue", queue.name).param("state", "scheduled"),
               count_text(queue.scheduled), queue.scheduled.number == 0, "");
        html.put(R"(<td class="num {}" data-label="Retrying">{}</td>)", queue.retrying.number == 0 ? "zero" : "",
                 count_text(queue.retrying));
        number("Failed", Link(view.base, "/failed").param("queue", queue.name), grouped(queue.failed),
               queue.failed == 0, "bad");
        number("Finished", Link(view.base, "/search").param("queue", queue.name).param("state", "finished"),
               grouped(finished), finished == 0, "");
        html.put(R"(<td class="num {}" data-label="Average">{}</td></tr>)", queue.attempts == 0 ? "zero" : "",
                 queue.attempts == 0 ? "–" : us_text(average(queue.total_duration_us, queue.attempts)));
    }
    html.put("</tbody></table>");
    if (queues.size() > shown || overview.more_queues) {
        html.put(R"(<p class="hint">{} of {}{} queues are shown.</p>)", shown, grouped(queues.size()),
                 overview.more_queues ? "+" : "");
    }
    html.put(
        R"(<p class="hint">Failed, finished and average are of {}, in the last {}. Counts of tasks that are there )"
        R"(stop at a bound and then say “+”.</p>)",
        overview.counted ? "all tasks, kept or not" : "tasks that their queue's retention keeps", period.name);
}

inline void put_processes(Html& html, const View& view, const Overview& overview) {
    if (!overview.knows_processes) return;
    html.put("<h2>Processes</h2>");
    if (overview.processes.empty()) {
        html.put(R"(<p class="empty">No client is started on this file: tasks wait until one is.</p>)");
        return;
    }
    html.put(
        R"(<table class="cards"><thead><tr><th scope="col">Process</th><th scope="col">State</th>)"
        R"(<th scope="col" class="num">Workers</th><th scope="col">Started</th><th scope="col">Version</th></tr></thead><tbody>)");
    constexpr std::size_t most_shown = 50;
    for (std::size_t i = 0; i < overview.processes.size() && i < most_shown; ++i) {
        const Process& process = overview.processes[i];
        const std::string_view state = !process.alive ? "unknown" : *process.alive ? "alive" : "dead";
        html.put(R"(<tr><th scope="row">#{}</th><td data-label="State"><span class="badge {}">{}</span></td>)",
                 process.owner, state, state);
        html.put(R"(<td class="num" data-label="Workers">{}</td><td data-label="Started">{}</td>)", process.workers,
                 ago(view, process.started_at));
        html.put(R"(<td data-label="Version">{}</td></tr>)",
                 fmt::format("{}.{}.{}", process.version / 1'000'000, process.version / 1'000 % 1'000,
                             process.version % 1'000));
    }
    html.put("</tbody></table>");
}

}  // namespace detail

[[nodiscard]] inline Html overview_page(const View& view, const Overview& overview, const NamedPeriod& period) {
    Html html;
    detail::put_tiles(html, view, overview, period);
    html.put(R"(<div class="switch" role="group" aria-label="Period">)");
    for (const NamedPeriod& other : periods) {
        Link link(view.base, "/");
        link.param("period", other.key == "hour" ? "" : other.key).param("sort", cut(view.get("sort"), 20));
        html.put(R"(<a href="{}" aria-current="{}">Last {}</a>)", link, other.key == period.key ? "true" : "false",
                 other.name);
    }
    html.put("</div>");
    detail::put_charts(html, view, overview, period);
    detail::put_queues(html, view, overview, period);
    detail::put_processes(html, view, overview);
    return html;
}

}  // namespace ui
}  // namespace v1
}  // namespace backlite
