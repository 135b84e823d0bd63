// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/schedules_page.hpp>.

#include <cstddef>
#include <optional>
#include <string>

#include <backlite/base/times.hpp>
#include <backlite/ui/schedules_page.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Html schedules_page(const View& view, const std::vector<ScheduleInfo>& schedules) {
    constexpr std::size_t most_bytes = 50'000;  // the frame, and the row that goes beyond, come on top
    Html html;
    if (schedules.empty()) {
        html.put(R"(<p class="empty">There is no schedule. <code>client.schedule</code> brings one here.</p>)");
        return html;
    }
    if (view.operates) {
        html.put(R"(<form class="filter acts" id="acts" method="post" action="{}" autocomplete="off">)",
                 Link(view.base, "/act"));
        detail::put_hidden(html, "token", view.form_token);
        detail::put_hidden(html, "list", "schedules");
        detail::put_acts(html, {Act::run_schedule, Act::pause_schedule, Act::resume_schedule});
        html.put("</form>");
    }
    html.put(R"(<table class="cards tasks"><thead><tr>)");
    if (view.operates) html.put(R"(<th class="pick" scope="col"></th>)");
    html.put(R"(<th scope="col">Schedule</th><th scope="col">Queue</th><th scope="col">When</th>)"
             R"(<th scope="col">Next</th><th scope="col">Last</th><th scope="col">Last task</th></tr></thead><tbody>)");
    const auto time = [&](const std::optional<TimePoint>& at) {
        return ago(view, at ? std::optional{backlite::detail::to_ms(*at)} : std::nullopt);
    };
    std::size_t listed = 0;
    for (; listed < schedules.size() && html.str().size() < most_bytes; ++listed) {
        const ScheduleInfo& one = schedules[listed];
        html.put("<tr data-row>");
        if (view.operates) {
            html.put(R"(<td class="pick"><input type="radio" name="schedule" value="{}" form="acts" )"
                     R"(autocomplete="off" aria-label="Pick {}"></td>)",
                     one.name, short_name(one.name, 60));
        }
        html.put(R"(<th scope="row">{}</th><td data-label="Queue">{}</td><td data-label="When">{} {}</td>)",
                 breakable(short_name(one.name, 60)), queue_link(one.queue, about_queue(view, one.queue)),
                 short_text(one.when, 100), one.zone.empty() ? "UTC" : short_text(one.zone, 60));
        html.put(R"(<td data-label="Next">)");
        if (one.paused) html.put(R"(<span class="badge waiting">paused</span>)");
        if (!one.paused) html.put("{}", time(one.next));
        html.put(R"(</td><td data-label="Last">{}</td><td data-label="Last task">)", time(one.last));
        if (one.last_task) {
            TaskLine line;
            line.id = one.last_task->str();
            html.put("{}", task_link(view, line));
        } else {
            html.put(R"(<span class="none">–</span>)");
        }
        html.put("</td></tr>");
        if (!one.error.empty()) {
            html.put(R"(<tr><td class="error" colspan="7"><span>{}</span></td></tr>)", short_text(one.error, 200));
        }
    }
    html.put("</tbody></table>");
    if (listed < schedules.size()) {
        html.put(R"(<p class="hint">{} of {} schedules are shown.</p>)", listed, grouped(schedules.size()));
    }
    return html;
}

BACKLITE_DECL Json schedules_json(const View&, const std::vector<ScheduleInfo>& schedules) {
    const auto time = [](const std::optional<TimePoint>& at) {
        return at ? Json(backlite::detail::to_ms(*at)) : Json();
    };
    Json all = Json::array();
    for (const ScheduleInfo& one : schedules) {
        all.push_back({{"name", one.name},
                       {"queue", one.queue},
                       {"when", one.when},
                       {"zone", one.zone},
                       {"next", time(one.next)},
                       {"last", time(one.last)},
                       {"last_task", one.last_task ? Json(one.last_task->str()) : Json()},
                       {"paused", one.paused},
                       {"error", one.error.empty() ? Json() : Json(one.error)}});
    }
    return {{"schedules", all}};
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
