// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/list_pages.hpp>.

#include <backlite/ui/list_pages.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL void put_queue_field(Html& html, const View& view, const std::vector<std::string>& queues) {
    html.put(R"(<label>Queue <input name="queue" list="queues" value="{}" maxlength="200" autocomplete="off"></label>)"
             R"(<datalist id="queues">)",
             cut(view.get("queue"), 200));
    for (std::size_t i = 0; i < queues.size() && i < most_choices; ++i) {
        if (queues[i].size() <= 200) html.put(R"(<option value="{}"></option>)", queues[i]);
    }
    html.put("</datalist>");
}

BACKLITE_DECL void put_state_field(Html& html, const View& view, std::initializer_list<std::string_view> states) {
    html.put(R"(<label>State <select name="state">)");
    for (const std::string_view state : states) {
        if (state == view.get("state")) {
            html.put(R"(<option value="{}" selected>{}</option>)", state, state.empty() ? "any" : state);
        } else {
            html.put(R"(<option value="{}">{}</option>)", state, state.empty() ? "any" : state);
        }
    }
    html.put("</select></label>");
}

BACKLITE_DECL void put_window_fields(Html& html, const View& view) {
    const std::optional<Window> window = window_of(view);
    const auto field = [&](std::string_view label, std::string_view name, std::optional<Ms> time) {
        const std::string value = time ? iso_text(*time + view.zone()).substr(0, 19) : std::string{};
        html.put(
            R"(<label>{} <span data-zone>({})</span> <input type="datetime-local" step="1" name="{}" value="{}"></label>)",
            label, zone_text(view.zone()), name, value);
    };
    field("From", "since", window ? window->since : std::nullopt);
    field("To", "until", window ? window->until : std::nullopt);
    html.put(R"(<input type="hidden" name="zone" value="{}">)",
             view.zone() == std::chrono::minutes::zero() ? "" : fmt::to_string(view.zone().count()));
}

BACKLITE_DECL void put_form_end(Html& html, const View& view, const Link& action) {
    html.put(R"(<button>Show</button>)");
    for (const char* name : {"queue", "state", "q", "since", "until", "period", "ended"}) {
        if (view.get(name).empty()) continue;
        html.put(R"(<a href="{}">Clear</a>)", action);
        break;
    }
    const std::string_view queue = view.get("queue");
    if (!queue.empty() && queue.size() <= 200)
        html.put(R"(<a href="{}">Charts of this queue</a>)", about_queue(view, queue));
    html.put("</form>");
}

BACKLITE_DECL void put_filter(Html& html, const View& view, const Link& action, const std::vector<std::string>& queues,
                              bool states) {
    html.put(R"(<form class="filter" action="{}">)", action);
    put_queue_field(html, view, queues);
    if (states) put_state_field(html, view, {"", "waiting", "scheduled", "retrying"});
    put_form_end(html, view, action);
}

BACKLITE_DECL void put_head(Html& html, const View& view, std::initializer_list<std::string_view> names) {
    html.put(R"(<table class="cards tasks"><thead><tr>)");
    put_pick_head(html, view);
    for (const std::string_view name : names) html.put(R"(<th scope="col">{}</th>)", name);
    html.put("</tr></thead><tbody>");
}

BACKLITE_DECL Html marked(std::string_view text, std::string_view part) {
    Html html;
    const std::string lowered = lower(text);
    const std::string wanted = lower(part);
    std::size_t from = 0;
    for (std::size_t at = 0; !wanted.empty() && (at = lowered.find(wanted, from)) != std::string::npos;) {
        html.text(text.substr(from, at - from)).put("<mark>{}</mark>", text.substr(at, wanted.size()));
        from = at + wanted.size();
    }
    return html.text(text.substr(from));
}

BACKLITE_DECL void put_payload(Html& html, const TaskLine& line, std::string_view part) {
    html.put(R"(<td class="data error" data-label="Payload"><code>{}</code>)",
             marked(!line.payload.empty() ? line.payload
                    : line.payload_size   ? size_text(*line.payload_size)
                                          : "not kept",
                    line.payload.empty() ? std::string_view{} : part));
    if (!line.error.empty()) html.put("<span>{}</span>", marked(short_text(line.error, 160), part));
    html.put("</td>");
}

BACKLITE_DECL std::string process_text(const TaskLine& line, const std::vector<Process>& processes) {
    if (!line.owner) return "not known";
    const auto found = std::find_if(processes.begin(), processes.end(),
                                    [&](const Process& process) { return process.owner == *line.owner; });
    const bool dead = found == processes.end() || found->alive == false;
    return fmt::format("#{}{}", *line.owner, dead ? ", which is dead" : "");
}

BACKLITE_DECL void put_table(Html& html, const View& view, const std::vector<TaskLine>& lines, Columns columns,
                             const std::vector<Process>& processes) {
    switch (columns) {
        case Columns::claimed:
            put_head(html, view, {"Task", "Queue", "State", "Claimed for", "Attempt", "Process", "Added", "Payload"});
            break;
        case Columns::upcoming:
            put_head(html, view, {"Task", "Queue", "State", "Due", "Added", "Attempt", "Payload, last error"});
            break;
        case Columns::succeeded:
            put_head(html, view, {"Task", "Queue", "Finished", "Took", "Attempts", "Payload"});
            break;
        case Columns::failed:
            put_head(html, view, {"Task", "Queue", "Finished", "Took", "Attempts", "Error, payload"});
            break;
        case Columns::found:
            put_head(html, view, {"Task", "Queue", "State", "When", "Attempt", "Payload, error"});
            break;
    }
    const std::string_view part = view.get("q");
    for (const TaskLine& line : lines) {
        html.put("<tr data-row>");
        put_pick(html, view, line);
        html.put(R"(<th scope="row">{}</th><td data-label="Queue">{}</td>)", task_link(view, line),
                 queue_link(view, line.queue, line.state));
        const bool finished = line.state == State::succeeded || line.state == State::failed;
        const std::string attempt = fmt::format(
            "{}{}", finished ? line.attempts : backlite::detail::saturating_sum(line.attempts, 1),
            line.crashes > 0 ? fmt::format(", {} crash{}", line.crashes, line.crashes == 1 ? "" : "es") : "");
        switch (columns) {
            case Columns::claimed:
                html.put(R"(<td data-label="State">{}</td>)", badge(line));
                html.put(R"(<td data-label="Claimed for"><time datetime="{}" title="{}" data-age>{}</time></td>)",
                         iso_text(line.claimed_at.value_or(Ms{})), utc_text(line.claimed_at.value_or(Ms{})),
                         age_text(line.claimed_at.value_or(Ms{}), view.now));
                html.put(
                    R"(<td data-label="Attempt">{}</td><td data-label="Process">{}</td><td data-label="Added">{}</td>)",
                    attempt, process_text(line, processes), ago(view, line.created_at));
                break;
            case Columns::upcoming:
                html.put(R"(<td data-label="State">{}</td><td data-label="Due">{}</td><td data-label="Added">{}</td>)",
                         badge(line), ago(view, line.due), ago(view, line.created_at));
                html.put(R"(<td data-label="Attempt">{}</td>)", attempt);
                break;
            case Columns::succeeded:
            case Columns::failed:
                html.put(R"(<td data-label="Finished">{} {}</td>)", ago(view, finished_at(line)),
                         state_text(line) == to_string(line.state) ? Html{} : badge(line));
                html.put(R"(<td data-label="Took">{}</td><td data-label="Attempts">{}</td>)", duration_text(line),
                         attempt);
                break;
            case Columns::found:
                html.put(
                    R"(<td data-label="State">{}</td><td data-label="When">{} {}</td><td data-label="Attempt">{}</td>)",
                    badge(line),
                    finished          ? "ended"
                    : line.claimed_at ? "claimed"
                                      : "due",
                    ago(view, finished          ? finished_at(line)
                              : line.claimed_at ? line.claimed_at
                                                : std::optional{line.due}),
                    attempt);
                break;
        }
        put_payload(html, line, part);
        html.put("</tr>");
    }
    html.put("</tbody></table>");
}

BACKLITE_DECL void put_pages(Html& html, const Link& first, const std::optional<Link>& next, bool is_first,
                             bool goes_on, std::string_view newest, std::string_view older) {
    if (is_first && !next) return;
    html.put(R"(<p class="pages">)");
    if (!is_first) html.put(R"(<a href="{}" rel="first">« {}</a>)", first, newest);
    if (next && goes_on) html.put(R"(<a href="{}" rel="next" data-follow>{} »</a>)", *next, older);
    if (next && !goes_on) html.put(R"(<a href="{}" rel="next">{} »</a>)", *next, older);
    html.put("</p>");
}

BACKLITE_DECL void put_looked_at(Html& html, const TaskList& list, std::string_view direction, const Link& order) {
    if (list.gave_up) {
        html.put(R"(<p class="hint">{} {} rows for this page{}; there are more.</p>)",
                 list.lines.empty() ? "Nothing found: looked at" : "Looked at", grouped(list.looked_at),
                 list.looked_to ? Html{}.put(", {} {}", direction, exact_time(*list.looked_to)) : Html{});
    }
    if (list.by_order) {
        Link all = order;
        html.put(R"(<p class="hint">The time was sought in the order in which the rows were written. )"
                 R"(<a href="{}">Look through all rows</a>, if a program may have written some in another order.</p>)",
                 all.param("order", "any"));
    }
    if (list.rows_cut) {
        html.put(R"(<p class="hint">This file has no indexes of this library: only its first {} unfinished tasks were )"
                 R"(looked at.</p>)",
                 grouped(static_cast<std::uint64_t>(Bounds{}.unindexed)));
    }
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Html running_page(const View& view, const TaskList& list) {
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
    detail::put_list_acts(html, view, "running", {Act::cancel, Act::set_priority});
    const Count total = list.total.value_or(Count{});
    if (list.running) {
        html.put(R"(<p class="sum">{} running; {} more are fetched: claimed, and waiting for a worker or for their )"
                 R"(outcome to be written</p>)",
                 grouped(*list.running), grouped(total.number - *list.running));
    } else {
        html.put(R"(<p class="sum">{} claimed; which of them run is not known</p>)", count_text(total));
    }
    detail::put_table(html, view, list.lines, detail::Columns::claimed, list.processes);
    const Link first = same_list(view, Link(view.base, "/running"));
    detail::put_looked_at(html, list, "", first);
    std::optional<Link> next;
    if (list.next) next = next_page(first, *list.next);
    detail::put_pages(html, first, next, view.get("after").empty(), false, "First", "More");
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL void put_nothing_upcoming(Html& html, std::string_view state, std::string_view where) {
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
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Html upcoming_page(const View& view, const TaskList& list) {
    Html html;
    detail::put_filter(html, view, Link(view.base, "/upcoming"), list.queues, true);
    if (list.more_queues) {
        html.put(
            R"(<p class="hint">There are more queues than are looked through at once: these are the first {} by name. )"
            R"(Name a queue to see its tasks.</p>)",
            list.queues.size());
    }
    if (list.lines.empty() && !list.gave_up) {
        detail::put_nothing_upcoming(html, view.get("state"), view.get("queue").empty() ? "" : " in this queue");
        return html;
    }
    detail::put_list_acts(html, view, "upcoming", {Act::run_now, Act::cancel, Act::remove, Act::set_priority});
    if (list.total) html.put(R"(<p class="sum">{} in this list</p>)", count_text(*list.total));
    html.put(R"(<section data-part="list">)");
    if (!list.lines.empty()) detail::put_table(html, view, list.lines, detail::Columns::upcoming);
    const Link first = same_list(view, Link(view.base, "/upcoming"));
    detail::put_looked_at(html, list, "ahead to", first);
    std::optional<Link> next;
    if (list.next) next = next_page(first, *list.next);
    detail::put_pages(html, first, next, view.get("after").empty(), list.gave_up, "Due first", "Due later");
    html.put("</section>");
    return html;
}

BACKLITE_DECL void put_sum(Html& html, const View& view, const TaskList& list, std::string_view window,
                           std::string_view verb) {
    const std::optional<Window> window_asked = window_of(view);
    const bool narrowed = !view.get("period").empty() || (window_asked && (window_asked->since || window_asked->until));
    html.put(R"(<p class="sum">)");
    if (list.happened)
        html.put("{} {} {}, as they were counted. ", count_text(*list.happened), verb,
                 window.empty() ? "in this time" : window);
    if (list.total) {
        html.put("{} {} kept{}", count_text(*list.total), list.total->number == 1 && !list.total->more ? "is" : "are",
                 narrowed ? " and listed here" : fmt::format(", whenever they {}", verb));
    } else {
        html.put("{} that are kept{}; how many is not counted", narrowed ? "Those" : "All",
                 narrowed ? " are listed here" : fmt::format(", whenever they {}", verb));
    }
    html.put("</p>");
}

BACKLITE_DECL Html finished_page(const View& view, const TaskList& list, State state) {
    Html html;
    const bool failed = state == State::failed;
    const NamedPeriod* period = find_period(view.get("period"));
    const std::string window = period == nullptr ? std::string{} : fmt::format("in the last {}", period->name);
    const Link action = failed ? Link(view.base, "/failed") : Link(view.base, "/succeeded");
    html.put(R"(<form class="filter wide" action="{}"><label>Text or id <input type="search" name="q" value="{}" )"
             R"(maxlength="200"></label>)",
             action, cut(view.get("q"), 200));
    detail::put_queue_field(html, view, list.queues);
    if (failed) detail::put_state_field(html, view, {"", "failed", "cancelled", "expired"});
    detail::put_window_fields(html, view);
    detail::put_form_end(html, view, action);
    if (!list.lines.empty() || list.gave_up) {
        if (failed) detail::put_list_acts(html, view, "failed", {Act::retry, Act::remove});
        if (!failed) detail::put_list_acts(html, view, "succeeded", {Act::remove});
    }
    if (list.ids_only && !view.get("q").empty())
        html.put(R"(<p class="hint">Payloads and error texts are hidden here, so only ids are searched.</p>)");
    const Link first = same_list(view, action);
    if (list.happened || !list.lines.empty()) put_sum(html, view, list, window, failed ? "failed" : "succeeded");
    Link plain = action;
    const bool narrowed = first.str() != plain.param("queue", view.get("queue")).str();
    if (list.lines.empty() && !list.gave_up) {
        html.put(
            R"(<p class="empty">No {} task is kept{}{}. They are kept if their queue's <code>retention</code> says so{}</p>)",
            failed ? "failed" : "succeeded", view.get("queue").empty() ? "" : " of this queue",
            narrowed ? " that fits what is asked for" : "",
            failed ? "; what failed without its processor deciding it is kept always."
                   : ", not only of those that failed.");
    }
    html.put(R"(<section data-part="list">)");
    if (!list.lines.empty())
        detail::put_table(html, view, list.lines, failed ? detail::Columns::failed : detail::Columns::succeeded);
    detail::put_looked_at(html, list, "back to", first);
    std::optional<Link> next;
    if (list.next) next = next_page(first, *list.next);
    detail::put_pages(html, first, next, view.get("after").empty(), list.gave_up, "Newest", "Older");
    html.put("</section>");
    return html;
}

BACKLITE_DECL Html search_page(const View& view, const Found& found) {
    Html html;
    html.put(
        R"(<form class="filter wide" action="{}"><label>Text or id <input type="search" name="q" value="{}" maxlength="200">)"
        R"(</label>)",
        Link(view.base, "/search"), cut(view.get("q"), 200));
    detail::put_queue_field(html, view, found.queues);
    detail::put_state_field(
        html, view, {"", "waiting", "scheduled", "claimed", "finished", "succeeded", "failed", "cancelled", "expired"});
    detail::put_window_fields(html, view);
    html.put(R"(<button>Search</button></form>)");
    if (!found.fault.empty()) {
        html.put(R"(<p class="empty">{}</p>)", found.fault);
        return html;
    }
    if (found.ids_only && !view.get("q").empty()) {
        html.put(R"(<p class="hint">Payloads and error texts are hidden here, so only ids are searched.</p>)");
    }
    const Link again = same_list(view, Link(view.base, "/search"));
    if (!found.named.empty()) {
        html.put(R"(<p class="sum">Queues of such a name:)");
        for (const std::string& name : found.named) html.put(" {}", queue_link(name, about_queue(view, name)));
        html.put("</p>");
    }
    const auto has_rows = [](const std::optional<TaskList>& list) { return list && !list->lines.empty(); };
    if (!found.by_id.empty() || has_rows(found.unfinished) || has_rows(found.finished)) {
        detail::put_list_acts(html, view, "search",
                              {Act::retry, Act::run_now, Act::cancel, Act::remove, Act::set_priority});
    }
    bool any = false;
    if (!found.by_id.empty()) {
        any = true;
        html.put("<h2>By id</h2>");
        detail::put_table(html, view, found.by_id, detail::Columns::found);
    }
    const auto part = [&](const std::optional<TaskList>& list, std::string_view heading, std::string_view name) {
        if (!list) return;
        Link here = again;
        here.param("part", name);
        html.put(R"(<section data-part="{}">)", name);
        if (!list->lines.empty()) {
            any = true;
            const bool whole = view.get("after").empty() && !list->next;
            html.put("<h2>{}</h2>", heading);
            if (list->total) put_sum(html, view, *list, "", "failed");
            if (!list->total && whole) html.put(R"(<p class="sum">{} found</p>)", grouped(list->lines.size()));
            detail::put_table(html, view, list->lines, detail::Columns::found);
        }
        any = any || list->by_order;
        detail::put_looked_at(html, *list, name == "finished" ? "back to" : "the last of them due", here);
        if (list->next) {
            any = true;
            detail::put_pages(html, here, next_page(here, *list->next), true, list->gave_up, "",
                              list->gave_up ? "Look through older ones" : "Older");
        }
        html.put("</section>");
    };
    part(found.unfinished, "Not finished", "unfinished");
    part(found.finished, "Finished", "finished");
    if (!any) {
        html.put(R"(<p class="empty">No matching tasks. Finished ones can be found as long as their queue's )"
                 R"(<code>retention</code> keeps them.</p>)");
    }
    html.put(
        R"(<p class="hint">Text is looked for in ids, errors and payloads, ASCII letters in either case, )"
        R"(the last added or finished first. From and To mean due times of what is not finished, and ends of what is.</p>)");
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
