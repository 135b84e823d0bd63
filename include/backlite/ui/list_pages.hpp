// SPDX-License-Identifier: MIT
#pragma once
// Lists of tasks: running, upcoming, succeeded, failed, and what a search found.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <backlite/ui/html.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/model.hpp>
#include <backlite/ui/task_reads.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// `2026-03-01`, `2026-03-01T08:15` or `2026-03-01T08:15:30`, in UTC, as forms send it; as milliseconds.
[[nodiscard]] inline std::optional<std::int64_t> parse_time(std::string_view text) noexcept {
    using namespace std::chrono;
    const auto digits = [&](std::size_t at, std::size_t count) -> int {
        int value = 0;
        for (std::size_t i = at; i < at + count; ++i) {
            if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
            value = value * 10 + (text[i] - '0');
        }
        return value;
    };
    if (text.size() != 10 && text.size() != 16 && text.size() != 19) return std::nullopt;
    const int y = digits(0, 4), m = digits(5, 2), d = digits(8, 2);
    if (y < 0 || m < 0 || d < 0 || text[4] != '-' || text[7] != '-') return std::nullopt;
    const year_month_day date{year{y}, month{static_cast<unsigned>(m)}, day{static_cast<unsigned>(d)}};
    if (!date.ok()) return std::nullopt;
    int h = 0, min = 0, s = 0;
    if (text.size() > 10) {
        h = digits(11, 2);
        min = digits(14, 2);
        if (h < 0 || h > 23 || min < 0 || min > 59 || text[10] != 'T' || text[13] != ':') return std::nullopt;
    }
    if (text.size() > 16) {
        s = digits(17, 2);
        if (s < 0 || s > 59 || text[16] != ':') return std::nullopt;
    }
    return milliseconds{sys_days{date}.time_since_epoch() + hours{h} + minutes{min} + seconds{s}}.count();
}

/// The cursor in an address: `after`, with the queue beside it in `behind`. nullopt in `cursor` if there is none.
/// False if there is one that is none of ours.
[[nodiscard]] inline bool read_cursor(const Target& target, std::optional<Cursor>& cursor) {
    const std::string_view text = target.get("after");
    if (text.empty()) return true;
    const std::size_t dot = text.find('.');
    if (dot == std::string_view::npos) return false;
    const std::optional<std::int64_t> key = parse_integer(text.substr(0, dot));
    const std::optional<std::int64_t> row = parse_integer(text.substr(dot + 1));
    if (!key || !row) return false;
    cursor = Cursor{*key, *row, std::string{target.get("behind")}};
    return true;
}

inline Link& add_cursor(Link& link, const Cursor& cursor) {
    return link.param("after", fmt::format("{}.{}", cursor.key, cursor.row)).param("behind", cut(cursor.queue, 500));
}

namespace detail {

inline constexpr std::size_t most_choices = 100;

/// What narrows a list, as a form that sends itself by GET.
inline void put_filter(Html& html, const View& view, const Link& action, const std::vector<std::string>& queues,
                       bool states) {
    html.put(
        R"(<form class="filter" action="{}"><label>Queue <input name="queue" list="queues" value="{}" maxlength="200" )"
        R"(autocomplete="off"></label><datalist id="queues">)",
        action, cut(view.get("queue"), 200));
    for (std::size_t i = 0; i < queues.size() && i < most_choices; ++i) {
        if (queues[i].size() <= 200) html.put(R"(<option value="{}"></option>)", queues[i]);
    }
    html.put("</datalist>");
    if (states) {
        html.put(R"(<label>State <select name="state">)");
        for (const std::string_view state : {"", "waiting", "scheduled", "retrying"}) {
            if (state == view.get("state")) {
                html.put(R"(<option value="{}" selected>{}</option>)", state, state.empty() ? "any" : state);
            } else {
                html.put(R"(<option value="{}">{}</option>)", state, state.empty() ? "any" : state);
            }
        }
        html.put("</select></label>");
    }
    html.put(R"(<button>Show</button>)");
    if (!view.get("queue").empty() || !view.get("state").empty()) html.put(R"(<a href="{}">Clear</a>)", action);
    const std::string_view queue = view.get("queue");
    if (!queue.empty() && queue.size() <= 200)
        html.put(R"(<a href="{}">Charts of this queue</a>)", about_queue(view, queue));
    html.put("</form>");
}

enum class Columns { running, upcoming, succeeded, failed, found };

inline void put_head(Html& html, std::initializer_list<std::string_view> names) {
    html.put(R"(<table class="cards tasks"><thead><tr>)");
    for (const std::string_view name : names) html.put(R"(<th scope="col">{}</th>)", name);
    html.put("</tr></thead><tbody>");
}

inline std::string duration_text(const TaskLine& line) {
    if (!line.duration_us) return "–";
    return span_text(std::chrono::microseconds{*line.duration_us});
}

inline void put_error(Html& html, const TaskLine& line) {
    html.put(R"(<td class="error" data-label="Error"><span>{}</span></td>)", short_text(line.error, 160));
}

/// The beginning of a payload; of what is no text, or large, its size. The last error follows.
inline void put_payload(Html& html, const TaskLine& line) {
    html.put(R"(<td class="data error" data-label="Payload"><code>{}</code>)",
             line.payload.empty() ? size_text(line.payload_size.value_or(0)) : line.payload);
    if (!line.error.empty()) html.put("<span>{}</span>", short_text(line.error, 160));
    html.put("</td>");
}

/// Who runs a task, and whether that still lives; a dead one's tasks are taken back by the next client.
inline std::string process_text(const TaskLine& line, const std::vector<Process>& processes) {
    if (!line.owner) return "not known";
    const auto found = std::find_if(processes.begin(), processes.end(),
                                    [&](const Process& process) { return process.owner == *line.owner; });
    const bool dead = found == processes.end() || found->alive == false;
    return fmt::format("#{}{}", *line.owner, dead ? ", which is dead" : "");
}

inline void put_table(Html& html, const View& view, const std::vector<TaskLine>& lines, Columns columns,
                      const std::vector<Process>& processes = {}) {
    switch (columns) {
        case Columns::running:
            put_head(html, {"Task", "Queue", "Running for", "Attempt", "Process", "Added", "Payload"});
            break;
        case Columns::upcoming:
            put_head(html, {"Task", "Queue", "State", "Due", "Added", "Attempt", "Payload, last error"});
            break;
        case Columns::succeeded: put_head(html, {"Task", "Queue", "Finished", "Took", "Attempts"}); break;
        case Columns::failed: put_head(html, {"Task", "Queue", "Finished", "Took", "Attempts", "Error"}); break;
        case Columns::found: put_head(html, {"Task", "Queue", "State", "When", "Attempts", "Error"}); break;
    }
    for (const TaskLine& line : lines) {
        html.put(R"(<tr data-row><th scope="row">{}</th><td data-label="Queue">{}</td>)", task_link(view, line),
                 queue_link(view, line.queue, line.state));
        const bool finished = line.state == State::succeeded || line.state == State::failed;
        const bool of_next = columns == Columns::running || columns == Columns::upcoming;
        const std::string attempt = fmt::format(
            "{}{}", of_next ? saturating_add(line.attempts, Duration{1}) : line.attempts,
            line.crashes > 0 ? fmt::format(", {} crash{}", line.crashes, line.crashes == 1 ? "" : "es") : "");
        switch (columns) {
            case Columns::running:
                html.put(R"(<td data-label="Running for"><time datetime="{}" title="{}" data-age>{}</time></td>)",
                         iso_text(line.claimed_at.value_or(0)), utc_text(line.claimed_at.value_or(0)),
                         age_text(line.claimed_at.value_or(0), view.now));
                html.put(
                    R"(<td data-label="Attempt">{}</td><td data-label="Process">{}</td><td data-label="Added">{}</td>)",
                    attempt, process_text(line, processes), ago(view, line.created_at));
                put_payload(html, line);
                break;
            case Columns::upcoming:
                html.put(R"(<td data-label="State">{}</td><td data-label="Due">{}</td><td data-label="Added">{}</td>)",
                         badge(line.state), ago(view, line.due), ago(view, line.created_at));
                html.put(R"(<td data-label="Attempt">{}</td>)", attempt);
                put_payload(html, line);
                break;
            case Columns::succeeded:
            case Columns::failed:
                html.put(
                    R"(<td data-label="Finished">{}</td><td data-label="Took">{}</td><td data-label="Attempts">{}</td>)",
                    ago(view, finished_at(line)), duration_text(line), attempt);
                if (columns == Columns::failed) put_error(html, line);
                break;
            case Columns::found:
                html.put(
                    R"(<td data-label="State">{}</td><td data-label="When">{} {}</td><td data-label="Attempts">{}</td>)",
                    badge(line.state),
                    finished          ? "ended"
                    : line.claimed_at ? "started"
                                      : "due",
                    ago(view, finished          ? finished_at(line)
                              : line.claimed_at ? line.claimed_at
                                                : std::optional{line.due}),
                    attempt);
                put_error(html, line);
                break;
        }
        html.put("</tr>");
    }
    html.put("</tbody></table>");
}

inline void put_pages(Html& html, const Link& first, const std::optional<Link>& next, bool is_first,
                      std::string_view newest, std::string_view older) {
    if (is_first && !next) return;
    html.put(R"(<p class="pages">)");
    if (!is_first) html.put(R"(<a href="{}" rel="first">« {}</a>)", first, newest);
    if (next) html.put(R"(<a href="{}" rel="next">{} »</a>)", *next, older);
    html.put("</p>");
}

inline void put_looked_at(Html& html, const TaskList& list) {
    if (!list.gave_up) return;
    html.put(R"(<p class="hint">{} {} rows for this page; there are more.</p>)",
             list.lines.empty() ? "Nothing found: looked at" : "Looked at", grouped(list.looked_at));
}

}  // namespace detail

[[nodiscard]] inline Html running_page(const View& view, const TaskList& list) {
    Html html;
    const std::string queue{view.get("queue")};
    detail::put_filter(html, view, Link(view.base, "/running"), list.queues, false);
    if (list.lines.empty()) {
        html.put(
            R"(<p class="empty">Nothing is running{}. A task is here from the moment a process claims it until its )"
            R"(outcome is written.</p>)",
            queue.empty() ? "" : " in this queue");
        return html;
    }
    html.put(R"(<p class="sum">{} running</p>)", count_text(list.total.value_or(Count{})));
    detail::put_table(html, view, list.lines, detail::Columns::running, list.processes);
    Link first(view.base, "/running");
    first.param("queue", queue);
    std::optional<Link> next;
    if (list.next) {
        next = first;
        add_cursor(*next, *list.next);
    }
    detail::put_pages(html, first, next, view.get("after").empty(), "First", "More");
    return html;
}

namespace detail {

/// That the list is empty, and what would put a task there.
inline void put_nothing_upcoming(Html& html, std::string_view state, std::string_view where) {
    if (state == "waiting") {
        html.put(
            R"(<p class="empty">No task waits for a worker{}. One is here from its due time until it is claimed.</p>)",
            where);
    } else if (state == "scheduled") {
        html.put(
            R"(<p class="empty">No task is scheduled for later{}. Adding one with <code>wait</code> or <code>at</code>, )"
            R"(a snooze, and a failed attempt that another follows bring one here.</p>)",
            where);
    } else if (state == "retrying") {
        html.put(
            R"(<p class="empty">No task will be tried again{}. A failed attempt brings one here, if <code>max_attempts</code> )"
            R"(of its queue leaves another.</p>)",
            where);
    } else {
        html.put(
            R"(<p class="empty">No task waits{}, now or later. Each one that is added is here until it is claimed.</p>)",
            where);
    }
}

}  // namespace detail

[[nodiscard]] inline Html upcoming_page(const View& view, const TaskList& list, bool more_queues) {
    Html html;
    detail::put_filter(html, view, Link(view.base, "/upcoming"), list.queues, true);
    if (more_queues) {
        html.put(
            R"(<p class="hint">There are more queues than are looked through at once: these are the first {} by name. )"
            R"(Name a queue to see its tasks.</p>)",
            list.queues.size());
    }
    if (list.lines.empty() && !list.gave_up) {
        detail::put_nothing_upcoming(html, view.get("state"), view.get("queue").empty() ? "" : " in this queue");
        return html;
    }
    if (!list.lines.empty()) detail::put_table(html, view, list.lines, detail::Columns::upcoming);
    detail::put_looked_at(html, list);
    Link first(view.base, "/upcoming");
    first.param("queue", view.get("queue")).param("state", view.get("state"));
    std::optional<Link> next;
    if (list.next) {
        next = first;
        add_cursor(*next, *list.next);
    }
    detail::put_pages(html, first, next, view.get("after").empty(), "Due first", "Due later");
    return html;
}

[[nodiscard]] inline Html finished_page(const View& view, const TaskList& list, bool failed) {
    Html html;
    const Link action = failed ? Link(view.base, "/failed") : Link(view.base, "/succeeded");
    detail::put_filter(html, view, action, list.queues, false);
    if (list.lines.empty() && !list.gave_up) {
        html.put(
            R"(<p class="empty">No {} task is kept{}. They are kept if their queue's <code>retention</code> says so{}</p>)",
            failed ? "failed" : "succeeded", view.get("queue").empty() ? "" : " of this queue",
            failed ? "; what failed without its processor deciding it is kept always."
                   : ", not only of those that failed.");
        return html;
    }
    if (!list.lines.empty()) {
        html.put(R"(<p class="sum">All that are kept, whenever they {}</p>)", failed ? "failed" : "succeeded");
        detail::put_table(html, view, list.lines, failed ? detail::Columns::failed : detail::Columns::succeeded);
    }
    detail::put_looked_at(html, list);
    Link first = action;
    first.param("queue", view.get("queue"));
    std::optional<Link> next;
    if (list.next) {
        next = first;
        add_cursor(*next, *list.next);
    }
    detail::put_pages(html, first, next, view.get("after").empty(), "Newest", "Older");
    return html;
}

/// What a search found. Parts that were not looked through are nullopt.
struct Found {
    std::vector<TaskLine> by_id{};
    std::optional<TaskList> unfinished{};
    std::optional<TaskList> finished{};
    std::vector<std::string> queues{};
    std::vector<std::string> named{};  ///< queues with the text in their name
    bool text_is_redacted = false;     ///< payloads and errors were not searched
    std::string fault{};               ///< what in the form could not be understood
};

[[nodiscard]] inline Html search_page(const View& view, const Found& found) {
    Html html;
    html.put(
        R"(<form class="filter wide" action="{}"><label>Text or id <input type="search" name="q" value="{}" maxlength="200">)"
        R"(</label><label>Queue <input name="queue" list="queues" value="{}" maxlength="200" autocomplete="off"></label>)",
        Link(view.base, "/search"), cut(view.get("q"), 200), cut(view.get("queue"), 200));
    html.put(R"(<datalist id="queues">)");
    for (std::size_t i = 0; i < found.queues.size() && i < detail::most_choices; ++i) {
        if (found.queues[i].size() <= 200) html.put(R"(<option value="{}"></option>)", found.queues[i]);
    }
    html.put(R"(</datalist><label>State <select name="state">)");
    for (const std::string_view state : {"", "waiting", "scheduled", "running", "finished", "succeeded", "failed"}) {
        if (state == view.get("state")) {
            html.put(R"(<option value="{}" selected>{}</option>)", state, state.empty() ? "any" : state);
        } else {
            html.put(R"(<option value="{}">{}</option>)", state, state.empty() ? "any" : state);
        }
    }
    html.put(
        R"(</select></label><label>From (UTC) <input type="datetime-local" name="since" value="{}"></label>)"
        R"(<label>To (UTC) <input type="datetime-local" name="until" value="{}"></label><button>Search</button></form>)",
        cut(view.get("since"), 20), cut(view.get("until"), 20));
    if (!found.fault.empty()) {
        html.put(R"(<p class="empty">{}</p>)", found.fault);
        return html;
    }
    if (found.text_is_redacted && !view.get("q").empty()) {
        html.put(R"(<p class="hint">Payloads and error texts are hidden here, so only ids are searched.</p>)");
    }
    Link again(view.base, "/search");
    again.param("q", view.get("q")).param("queue", view.get("queue")).param("state", view.get("state"));
    again.param("since", view.get("since")).param("until", view.get("until"));
    if (!found.named.empty()) {
        html.put(R"(<p class="sum">Queues of such a name:)");
        for (const std::string& name : found.named) html.put(" {}", queue_link(name, about_queue(view, name)));
        html.put("</p>");
    }
    bool any = false;
    if (!found.by_id.empty()) {
        any = true;
        html.put("<h2>By id</h2>");
        detail::put_table(html, view, found.by_id, detail::Columns::found);
    }
    const auto part = [&](const std::optional<TaskList>& list, std::string_view heading, std::string_view name) {
        if (!list) return;
        if (!list->lines.empty()) {
            any = true;
            html.put("<h2>{}</h2>", heading);
            detail::put_table(html, view, list->lines, detail::Columns::found);
        }
        detail::put_looked_at(html, *list);
        if (!list->next) return;
        any = true;
        Link next = again;
        next.param("part", name);
        add_cursor(next, *list->next);
        html.put(R"(<p class="pages"><a href="{}" rel="next">{} »</a></p>)", next,
                 list->gave_up ? "Look through older ones" : "Older");
    };
    part(found.unfinished, "Not finished", "unfinished");
    part(found.finished, "Finished", "finished");
    if (!any) {
        html.put(R"(<p class="empty">No matching tasks. Finished ones can be found as long as their queue's )"
                 R"(<code>retention</code> keeps them.</p>)");
    }
    html.put(
        R"(<p class="hint">Text is looked for in ids, errors and payloads, ASCII letters in either case, in up to {} rows a page, )"
        R"(the last added or finished first. From and To mean due times of what is not finished, and starts of what is.</p>)",
        grouped(static_cast<std::uint64_t>(TaskReads::most_looked_at)));
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
