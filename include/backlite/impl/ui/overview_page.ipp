// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/overview_page.hpp>.

#include <backlite/ui/overview_page.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL Totals totals_of(const Overview& overview) {
    Totals totals;
    const auto add = [](Count& sum, const Count& count) {
        sum.number += count.number;
        sum.more = sum.more || count.more;
    };
    for (const QueueSummary& queue : overview.queues) {
        add(totals.waiting, queue.waiting);
        add(totals.scheduled, queue.scheduled);
        add(totals.retrying, queue.retrying);
        add(totals.claimed, queue.claimed);
        totals.running =
            totals.running && queue.running ? std::optional{*totals.running + *queue.running} : std::nullopt;
        totals.failed.number += queue.failed;
        totals.finished.number += queue.failed + queue.succeeded;
        if (queue.oldest_due && (!totals.oldest_due || *queue.oldest_due < *totals.oldest_due)) {
            totals.oldest_due = queue.oldest_due;
            totals.oldest_queue = queue.name;
        }
        if (queue.next_due && (!totals.next_due || *queue.next_due < *totals.next_due))
            totals.next_due = queue.next_due;
    }
    for (Count* count : {&totals.waiting, &totals.scheduled, &totals.retrying, &totals.claimed})
        count->more = count->more || overview.more_queues;
    totals.failed.more = totals.finished.more = overview.finished_cut;
    return totals;
}

BACKLITE_DECL Html oldest_note(const View& view, const Overview& overview, const Totals& totals) {
    Html note;
    if (!totals.oldest_due) return note.put("nothing waits"), note;
    note.put("oldest for {}", age_text(*totals.oldest_due, view.now));
    if (!overview.of_one) note.put(" in {}", breakable(short_name(totals.oldest_queue, 24)));
    if (is_late(view, totals.oldest_due)) note.put(", since {}", clock_time(view, *totals.oldest_due));
    return note;
}

BACKLITE_DECL void put_tiles(Html& html, const View& view, const Overview& overview, const NamedPeriod& period) {
    const Totals totals = totals_of(overview);
    const std::string_view queue = overview.of_one ? view.get("queue") : std::string_view{};
    const auto note = [](std::string_view text) {
        Html line;
        line.text(text);
        return line;
    };
    html.put(R"(<div class="tiles">)");
    put_tile(html, Link(view.base, "/upcoming").param("queue", queue).param("state", "waiting"), "Waiting",
             count_text(totals.waiting), oldest_note(view, overview, totals),
             is_late(view, totals.oldest_due) ? "warn" : "");
    std::int64_t workers = 0;
    std::size_t alive = 0;
    for (const Process& process : overview.processes) {
        if (process.alive == false) continue;
        ++alive;
        workers += process.workers;
    }
    std::string by = !overview.knows_processes ? "made by a Go program"
                     : alive == 0              ? "no process is working"
                                  : fmt::format("{} worker{} in {} process{}", workers, workers == 1 ? "" : "s", alive,
                                                alive == 1 ? "" : "es");
    const bool stalled = overview.knows_processes && alive == 0 && totals.waiting.number + totals.claimed.number > 0;
    const std::uint64_t fetched = totals.claimed.number - totals.running.value_or(totals.claimed.number);
    if (fetched > 0) by += fmt::format("; {} more are fetched", grouped(fetched));
    if (!totals.running) by += "; which of them run is not known";
    put_tile(html, Link(view.base, "/running").param("queue", queue), totals.running ? "Running" : "Claimed",
             totals.running ? grouped(*totals.running) : count_text(totals.claimed), note(by), stalled ? "warn" : "");
    Html next = note("none to come");
    if (totals.next_due) {
        next = Html{};
        next.put("next is due {}", ago(view, *totals.next_due));
    }
    put_tile(html, Link(view.base, "/upcoming").param("queue", queue).param("state", "scheduled"), "Scheduled",
             count_text(totals.scheduled), next, "");
    if (overview.of_one) {
        put_tile(html, Link(view.base, "/upcoming").param("queue", queue).param("state", "retrying"), "Retrying",
                 count_text(totals.retrying), note("scheduled after a failed attempt"), "");
    }
    const std::uint64_t finished = totals.finished.number;
    const std::string share =
        finished == 0 ? fmt::format("in the last {}", period.name)
                      : fmt::format("{:.1f} % of the last {}",
                                    100.0 * static_cast<double>(totals.failed.number) / static_cast<double>(finished),
                                    period.name);
    put_tile(html, Link(view.base, "/failed").param("queue", queue).param("period", period.key), "Failed",
             count_text(totals.failed), note(share), totals.failed.number > 0 ? "bad" : "");
    const double minutes = (std::max)(
        static_cast<double>((view.now - (std::max)(overview.from, overview.covered_from)).count()) / 60'000.0,
        1.0 / 60);
    const std::string rate = finished == 0
                                 ? fmt::format("in the last {}", period.name)
                                 : fmt::format("{}{} a minute on average", totals.finished.more ? "at least " : "",
                                               rate_text(static_cast<double>(finished) / minutes));
    put_tile(html,
             Link(view.base, "/search").param("queue", queue).param("state", "finished").param("period", period.key),
             "Finished", count_text(totals.finished), note(rate), "");
    html.put("</div>");
}

BACKLITE_DECL void sort_queues(std::vector<const QueueSummary*>& queues, std::string_view key) {
    const auto by = [&](auto&& value) {
        std::stable_sort(queues.begin(), queues.end(),
                         [&](const QueueSummary* a, const QueueSummary* b) { return value(*a) > value(*b); });
    };
    if (key == "waiting") by([](const QueueSummary& q) { return q.waiting.number; });
    if (key == "running") by([](const QueueSummary& q) { return q.claimed.number; });
    if (key == "scheduled") by([](const QueueSummary& q) { return q.scheduled.number; });
    if (key == "failed") by([](const QueueSummary& q) { return q.failed; });
    if (key == "finished") by([](const QueueSummary& q) { return q.failed + q.succeeded; });
    if (key == "oldest")
        by([](const QueueSummary& q) { return q.oldest_due ? -static_cast<double>(q.oldest_due->count()) : -1e30; });
}

BACKLITE_DECL std::string claimed_text(const QueueSummary& queue) {
    if (!queue.running) return count_text(queue.claimed) + " claimed";
    const std::uint64_t fetched = queue.claimed.number - *queue.running;
    return fetched == 0 ? grouped(*queue.running)
                        : fmt::format("{}, {} fetched", grouped(*queue.running), grouped(fetched));
}

BACKLITE_DECL void put_queues(Html& html, const View& view, const Overview& overview, const NamedPeriod& period,
                              std::size_t most_bytes) {
    constexpr std::size_t most_shown = 40;
    std::size_t shown = 0;
    html.put("<h2>Queues</h2>");
    if (overview.queues.empty()) {
        html.put(R"(<p class="empty">No queue has a task that waits or runs, and none finished in the last {}{}. )"
                 R"(The first task that is added brings its queue here.</p>)",
                 period.name, overview.counted ? "" : " and was kept");
        return;
    }
    std::vector<const QueueSummary*> queues;
    for (const QueueSummary& queue : overview.queues) queues.push_back(&queue);
    const std::string_view sort = view.get("sort");
    sort_queues(queues, sort);
    html.put(R"(<table class="cards"><thead><tr>)");
    const auto column = [&](std::string_view name, std::string_view key, std::string_view tone) {
        Link link(view.base, "/");
        link.param("period", other_period(period)).param("sort", key);
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
    if (overview.counted) html.put(R"(<th scope="col" class="num">Added</th>)");
    column("Finished", "finished", "num");
    html.put(R"(<th scope="col" class="num">Average duration</th></tr></thead><tbody>)");
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
        html.put(R"(<tr data-row><th scope="row">{}</th>)",
                 queue_link(queue.name, about_queue(view, queue.name, other_period(period))));
        number("Waiting", Link(view.base, "/upcoming").param("queue", queue.name).param("state", "waiting"),
               count_text(queue.waiting), queue.waiting.number == 0, "");
        html.put(R"(<td class="num wide {}" data-label="Oldest waits">{})", queue.oldest_due ? "" : "zero",
                 queue.oldest_due ? age_text(*queue.oldest_due, view.now) : "–");
        if (is_late(view, queue.oldest_due))
            html.put(R"( <span class="badge waiting">since {}</span>)", clock_time(view, *queue.oldest_due));
        html.put("</td>");
        number("Running", Link(view.base, "/running").param("queue", queue.name), claimed_text(queue),
               queue.claimed.number == 0, "");
        number("Scheduled", Link(view.base, "/upcoming").param("queue", queue.name).param("state", "scheduled"),
               count_text(queue.scheduled), queue.scheduled.number == 0, "");
        number("Retrying", Link(view.base, "/upcoming").param("queue", queue.name).param("state", "retrying"),
               count_text(queue.retrying), queue.retrying.number == 0 && !queue.retrying.more, "");
        number("Failed", Link(view.base, "/failed").param("queue", queue.name).param("period", period.key),
               count_text({queue.failed, overview.finished_cut}), queue.failed == 0, "bad");
        if (overview.counted) {
            html.put(R"(<td class="num {}" data-label="Added">{}</td>)", queue.added == 0 ? "zero" : "",
                     count_text({queue.added, overview.finished_cut}));
        }
        Link all(view.base, "/search");
        all.param("queue", queue.name).param("state", "finished").param("period", period.key);
        number("Finished", all, count_text({finished, overview.finished_cut}), finished == 0, "");
        html.put(R"(<td class="num {}" data-label="Average duration">{}</td></tr>)", queue.attempts == 0 ? "zero" : "",
                 queue.attempts == 0 ? "–" : us_text(average(queue.total_duration, queue.attempts)));
    }
    html.put("</tbody></table>");
    if (queues.size() > shown || overview.more_queues) {
        html.put(R"(<p class="hint">{} of {}{} queues are shown.</p>)", shown, grouped(queues.size()),
                 overview.more_queues ? "+" : "");
    }
    html.put(
        R"(<p class="hint">{}, finished and average duration are of {}, in the last {}. A task is fetched from its claim )"
        R"(until a worker enters it, and while its outcome is written. “+” says that there are as many or more.{}</p>)",
        overview.counted ? "Failed, added" : "Failed",
        overview.counted ? "all tasks, kept or not" : "tasks that their queue's retention keeps", period.name,
        overview.rows_cut ? " This file has no indexes of this library: only its first million unfinished tasks were "
                            "looked at."
                          : "");
}

BACKLITE_DECL void put_processes(Html& html, const View& view, const Overview& overview) {
    if (!overview.knows_processes) return;
    html.put("<h2>Processes</h2>");
    if (overview.processes.empty()) {
        html.put(R"(<p class="empty">No client is started on this file: tasks wait until one is.</p>)");
        return;
    }
    html.put(
        R"(<table class="cards"><thead><tr><th scope="col">Process</th><th scope="col">State</th>)"
        R"(<th scope="col" class="num">Workers</th><th scope="col">Started</th><th scope="col">Version</th></tr></thead><tbody>)");
    constexpr std::size_t most_shown = 12;
    for (std::size_t i = 0; i < overview.processes.size() && i < most_shown; ++i) {
        const Process& process = overview.processes[i];
        const std::string_view state = !process.alive ? "unknown" : *process.alive ? "alive" : "dead";
        html.put(R"(<tr><th scope="row">#{}</th><td data-label="State"><span class="badge {}">{}</span></td>)",
                 process.owner, state, state);
        html.put(R"(<td class="num" data-label="Workers">{}</td><td data-label="Started">{}</td>)",
                 process.inside ? fmt::format("{} of {} busy", process.inside->size(), process.workers)
                                : fmt::to_string(process.workers),
                 ago(view, process.started_at));
        html.put(R"(<td data-label="Version">{}</td></tr>)",
                 fmt::format("{}.{}.{}", process.version / 1'000'000, process.version / 1'000 % 1'000,
                             process.version % 1'000));
    }
    html.put("</tbody></table>");
    if (overview.processes.size() > most_shown)
        html.put(R"(<p class="hint">{} of {} processes are shown.</p>)", most_shown, overview.processes.size());
}

BACKLITE_DECL bool is_unknown(const Overview& overview) {
    const QueueSummary& queue = overview.queues.front();
    std::uint64_t counted = queue.attempts;
    for (const Bucket& bucket : overview.buckets) counted += bucket.added;
    for (const Day& day : overview.days) counted += day.counted.added + day.counted.attempts;
    return counted + queue.waiting.number + queue.scheduled.number + queue.claimed.number == 0;
}

BACKLITE_DECL Html overview_body(const View& view, const Overview& overview, const NamedPeriod& period) {
    Html html;
    const std::string_view queue = overview.of_one ? view.get("queue") : std::string_view{};
    if (overview.of_one) {
        html.put(R"(<p class="back"><a href="{}">« All queues</a></p>)",
                 Link(view.base, "/").param("period", other_period(period)));
    }
    const auto is_paused = [&](std::string_view name) {
        return std::find(overview.paused.begin(), overview.paused.end(), name) != overview.paused.end();
    };
    if (overview.of_one) {
        if (is_paused(queue)) html.put(R"(<p class="notice warn">This queue is paused: none of its tasks starts.</p>)");
        put_queue_acts(html, view, queue, is_paused(queue));
    } else if (!overview.paused.empty()) {
        constexpr std::size_t most_named = 20;
        html.put(R"(<p class="notice warn">Paused:)");
        for (std::size_t i = 0; i < overview.paused.size() && i < most_named; ++i) {
            html.put(" {}", queue_link(overview.paused[i], about_queue(view, overview.paused[i])));
        }
        html.put("{}</p>", overview.paused.size() > most_named ? " …" : "");
    }
    put_tiles(html, view, overview, period);
    html.put(R"(<div class="switch" role="group" aria-label="Period">)");
    for (const NamedPeriod& other : periods) {
        Link link = about_queue(view, queue, other_period(other));
        if (!overview.of_one) link.param("sort", cut(view.get("sort"), 20));
        html.put(R"(<a href="{}" aria-current="{}">Last {}</a>)", link, other.key == period.key ? "true" : "false",
                 other.name);
    }
    html.put("</div>");
    if (overview.of_one && is_unknown(overview)) {
        html.put(
            R"(<p class="empty">Nothing is known of a queue of this name: none of its tasks waits or runs, and none )"
            R"(was counted lately. It appears with the first task that is added to it.</p>)");
        return html;
    }
    put_charts(html, view, overview, period);
    Html rest;
    put_days(rest, view, overview);
    if (!overview.of_one) {
        put_processes(rest, view, overview);
        constexpr std::size_t most_bytes = 55'600;  // the frame of the page, and the row that goes beyond, come on top
        put_queues(html, view, overview, period, most_bytes - (std::min)(most_bytes, rest.str().size()));
    }
    html.put("{}", rest);
    return html;
}

}  // namespace detail

BACKLITE_DECL Html overview_page(const View& view, const Overview& overview) {
    Html html;
    if (overview.newer_file) {
        html.put(
            R"(<p class="hint">This file was made by a newer backlite; some of what it holds may not be shown.</p>)");
    }
    html.put("{}", detail::overview_body(view, overview, *period_of(view)));
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
