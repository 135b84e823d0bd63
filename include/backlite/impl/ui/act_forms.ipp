// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/act_forms.hpp>.

#include <fmt/format.h>

#include <backlite/config.hpp>
#include <backlite/ui/act_forms.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

inline constexpr const char* list_fields[] = {"q",     "queue", "state", "period", "since",
                                              "until", "ended", "zone",  "order",  "part"};

BACKLITE_DECL void put_hidden(Html& html, std::string_view name, std::string_view value) {
    if (!value.empty()) html.put(R"(<input type="hidden" name="{}" value="{}">)", name, value);
}

BACKLITE_DECL void put_form_start(Html& html, const View& view, std::string_view list) {
    html.put(R"(<form class="filter acts" method="post" action="{}" autocomplete="off">)", Link(view.base, "/act"));
    put_hidden(html, "token", view.form_token);
    put_hidden(html, "list", list);
}

BACKLITE_DECL void put_button(Html& html, Act act, std::string_view more) {
    const bool harms = act == Act::remove || act == Act::cancel;
    html.put(R"(<button class="{}" name="do" value="{}">{}{}</button>)", harms ? "bad" : "", to_string(act),
             button_text(act), more);
}

BACKLITE_DECL void put_acts(Html& html, std::initializer_list<Act> acts) {
    for (const Act act : acts) {
        if (act != Act::set_priority) put_button(html, act, act == Act::remove || act == Act::cancel ? "…" : "");
    }
    for (const Act act : acts) {
        if (act != Act::set_priority) continue;
        html.put(R"(<label>Priority <input type="number" name="priority" min="{}" max="{}" placeholder="0"></label>)",
                 least_priority, most_priority);
        put_button(html, act);
    }
}

BACKLITE_DECL void put_list_acts(Html& html, const View& view, std::string_view list, std::initializer_list<Act> acts) {
    if (!view.operates) return;
    html.put(R"(<form class="filter acts" id="acts" method="post" action="{}" autocomplete="off">)",
             Link(view.base, "/act"));
    put_hidden(html, "token", view.form_token);
    put_hidden(html, "list", list);
    for (const char* name : list_fields) put_hidden(html, name, view.get(name));
    html.put(R"(<label>Do with <select name="which"><option value="picked">the picked tasks</option>)"
             R"(<option value="all">all that are found…</option></select></label>)");
    put_acts(html, acts);
    html.put("</form>");
}

BACKLITE_DECL void put_pick(Html& html, const View& view, const TaskLine& line) {
    if (!view.operates) return;
    if (line.id_cut || line.id.empty()) {
        html.put(R"(<td class="pick"></td>)");
        return;
    }
    html.put(R"(<td class="pick"><input type="checkbox" name="id" value="{}" form="acts" autocomplete="off" )"
             R"(aria-label="Pick {}"></td>)",
             line.id, short_id(line.id));
}

BACKLITE_DECL void put_pick_head(Html& html, const View& view) {
    if (!view.operates) return;
    html.put(R"(<th class="pick" scope="col"><input type="checkbox" class="every" aria-label="Pick all on this page" )"
             R"(autocomplete="off" hidden></th>)");
}

BACKLITE_DECL void put_task_acts(Html& html, const View& view, const TaskLine& line, bool has_payload) {
    if (!view.operates || line.id_cut) return;
    const auto form = [&](std::string_view list, std::initializer_list<Act> acts) {
        put_form_start(html, view, list);
        put_hidden(html, "id", line.id);
        // The page of a task that was removed is gone: the list comes next.
        if (list != "task") put_hidden(html, "queue", line.queue.size() > 200 ? std::string_view{} : line.queue);
        put_acts(html, acts);
        html.put("</form>");
    };
    html.put(R"(<div class="pages">)");
    switch (line.state) {
        case State::waiting: form("task", {Act::cancel, Act::set_priority}); break;
        case State::scheduled: form("task", {Act::run_now, Act::cancel, Act::set_priority}); break;
        case State::claimed: form("task", {Act::cancel, Act::set_priority}); break;
        case State::failed:
            if (has_payload) form("task", {Act::retry});
            break;
        case State::succeeded: break;
    }
    if (line.state != State::claimed) form(list_name(line.state), {Act::remove});
    html.put("</div>");
}

BACKLITE_DECL void put_queue_acts(Html& html, const View& view, std::string_view queue, bool paused) {
    if (!view.operates || queue.empty()) return;
    put_form_start(html, view, "overview");
    put_hidden(html, "queue", queue);
    put_hidden(html, "period", view.get("period"));
    put_button(html, paused ? Act::resume : Act::pause);
    html.put("</form>");
}

}  // namespace detail

BACKLITE_DECL std::string_view list_name(State state) noexcept {
    switch (state) {
        case State::claimed: return "running";
        case State::succeeded: return "succeeded";
        case State::failed: return "failed";
        case State::waiting:
        case State::scheduled: break;
    }
    return "upcoming";
}

BACKLITE_DECL Link page_of(const View& view, const Order& order) {
    const auto with_fields = [&](Link link) {
        for (const auto& [name, value] : order.where.query) {
            // The names are known ones: read_order has seen to that.
            if (name == "q") link.param("q", value);
            if (name == "queue") link.param("queue", value);
            if (name == "state") link.param("state", value);
            if (name == "period") link.param("period", value);
            if (name == "since") link.param("since", value);
            if (name == "until") link.param("until", value);
            if (name == "ended") link.param("ended", value);
            if (name == "zone") link.param("zone", value);
            if (name == "order") link.param("order", value);
            if (name == "part") link.param("part", value);
        }
        return link;
    };
    if (order.list == "running") return with_fields(Link(view.base, "/running"));
    if (order.list == "upcoming") return with_fields(Link(view.base, "/upcoming"));
    if (order.list == "succeeded") return with_fields(Link(view.base, "/succeeded"));
    if (order.list == "failed") return with_fields(Link(view.base, "/failed"));
    if (order.list == "schedules") return Link(view.base, "/schedules");
    if (order.list == "search") return with_fields(Link(view.base, "/search"));
    if (order.list == "task" && !order.ids.empty()) return Link(view.base, "/task/").part(order.ids.front());
    return with_fields(Link(view.base, "/"));
}

BACKLITE_DECL Html confirm_page(const View& view, const Order& order, std::string_view what, const Count& count) {
    Html html;
    html.put(R"(<p class="message">{}{}: <b>{} task{}</b>, {}.{}{}</p>)", button_text(order.act),
             order.act == Act::set_priority ? fmt::format(" {}", order.priority) : std::string{}, count_text(count),
             count.number == 1 && !count.more ? "" : "s", what,
             order.act == Act::remove   ? " They are deleted, with all that is known of them."
             : order.act == Act::cancel ? " What runs is asked to stop."
                                        : "",
             order.all ? " Those that are found by then are meant." : "");
    detail::put_form_start(html, view, order.list);
    html.put(R"(<input type="hidden" name="confirm" value="yes">)");
    if (order.act == Act::set_priority) detail::put_hidden(html, "priority", fmt::to_string(order.priority));
    if (order.all) {
        html.put(R"(<input type="hidden" name="which" value="all">)");
    } else {
        for (const std::string& id : order.ids) detail::put_hidden(html, "id", id);
    }
    for (const char* name : detail::list_fields) detail::put_hidden(html, name, order.where.get(name));
    detail::put_button(html, order.act,
                       count.number == 1 && !count.more ? " 1 task" : " " + count_text(count) + " tasks");
    html.put(R"(<a href="{}" data-still>Back, without a change</a></form>)", page_of(view, order));
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
