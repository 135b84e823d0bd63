// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/task_page.hpp>.

#include <backlite/ui/task_page.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL void put_timeline(Html& html, const View& view, const TaskDetail& task) {
    const TaskLine& line = task.line;
    const auto at = [&](Ms moment) {
        Html time;
        time.put("{} {}", exact_time(moment), ago(view, moment));
        return time;
    };
    const auto since = [](Ms from, Ms to) {  // of times that are kept in milliseconds
        return from == to ? std::string{"< 1 ms"} : span_text(span_between(from, to));
    };
    const bool finished = line.state == State::succeeded || line.state == State::failed;
    html.put(R"(<h2>Timeline</h2><ol class="timeline">)");
    put_step(html, "Added", at(line.created_at), "", "done");
    if (finished) {
        const Ms started = line.executed_at.value_or(line.created_at);
        const Us duration = line.duration.value_or(Us::zero());
        const Ms ended = finished_at(line).value_or(started);
        put_step(html, line.attempts > 1 ? "Last attempt started" : "Started", at(started),
                 fmt::format("{} after it was added{}", since(line.created_at, started),
                             line.attempts > 1 ? "; of earlier attempts nothing is kept" : ""),
                 "done");
        put_step(html,
                 line.state == State::succeeded    ? "Succeeded"
                 : state_text(line) == "cancelled" ? "Cancelled"
                 : state_text(line) == "expired"   ? "Expired"
                                                   : "Failed for good",
                 at(ended), fmt::format("ran {}", span_text(duration)), to_string(line.state));
        if (task.expires_at)
            put_step(html, "Will be deleted", at(*task.expires_at), "as its queue's retention says", "later");
        html.put("</ol>");
        return;
    }
    if (line.executed_at) {
        put_step(html, "Last attempt started", at(*line.executed_at),
                 line.attempts > 0 ? "it failed, or asked to run later" : "it asked to run later", "failed");
    }
    if (line.due > line.created_at || !line.claimed_at) {
        const bool due = line.due <= view.now;
        put_step(html, due ? "Due" : "Will be due", at(line.due),
                 due && !line.claimed_at ? fmt::format("waiting for {}", since(line.due, view.now)) : "",
                 due ? "done" : "later");
    }
    if (line.claimed_at) {
        put_step(html, "Claimed", at(*line.claimed_at),
                 fmt::format("waited {}; claimed for {}", since(line.due, *line.claimed_at),
                             since(*line.claimed_at, view.now)),
                 "claimed");
    }
    html.put("</ol>");
}

BACKLITE_DECL void put_text(Html& html, const View& view, const TaskDetail& task, std::string_view heading,
                            const Shown& shown, std::uint64_t size, bool is_payload) {
    if (shown.how == Shown::How::absent && !is_payload) return;
    html.put(R"(<h2>{}</h2>)", heading);
    switch (shown.how) {
        case Shown::How::absent:
            html.put(R"(<p class="empty">The payload was not kept: its queue's retention has no data.</p>)");
            return;
        case Shown::How::hidden: html.put(R"(<p class="empty">Hidden here ({}).</p>)", size_text(size)); return;
        case Shown::How::whole:
        case Shown::How::cut:
        case Shown::How::redacted: break;
    }
    html.put(R"(<p class="hint">{}{}{} )", is_payload ? to_string(shown.kind) : "", is_payload ? ", " : "",
             size_text(size));
    if (shown.how == Shown::How::redacted) html.put("(redacted) ");
    html.put(R"(<button type="button" class="copy" hidden>Copy</button></p><pre class="{}" tabindex="0">{}</pre>)",
             is_payload ? "payload" : "trace", shown.text);
    if (shown.how == Shown::How::cut) {
        if (is_payload && !task.line.id_cut) {
            html.put(R"(<p class="hint">This is the beginning. <a href="{}">Load all</a></p>)",
                     Link(view.base, "/payload/").part(task.line.id));
        } else {
            html.put(R"(<p class="hint">This is the beginning.</p>)");
        }
    }
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Html task_page(const View& view, const ShownTask& shown) {
    const TaskDetail& task = shown.task;
    Shown payload = shown.payload;
    if (payload.how == Shown::How::whole || payload.how == Shown::How::cut) {
        payload.text = readable_payload(payload.text, payload.kind, readable_bytes);
    }
    const TaskLine& line = task.line;
    Html html;
    html.put(R"(<p class="back"><a href="{}">« {}</a></p>)",
             list_of(view, line.state).param("queue", cut(line.queue, 200)),
             "Tasks of this queue that are where it is");
    html.put(R"(<div class="facts"><div><span>State</span>{}</div><div><span>Queue</span>{}</div>)", badge(line),
             queue_link(view, line.queue, line.state));
    const bool finished = line.state == State::succeeded || line.state == State::failed;
    html.put(R"(<div><span>{}</span><b>{}</b></div>)", finished ? "Attempts" : "Failed attempts", line.attempts);
    if (line.crashes > 0) html.put(R"(<div><span>Crashes of its process</span><b>{}</b></div>)", line.crashes);
    if (line.owner) html.put(R"(<div><span>Process</span><b>#{}</b></div>)", *line.owner);
    if (line.duration) html.put(R"(<div><span>Took</span><b>{}</b></div>)", span_text(*line.duration));
    html.put("</div>");
    detail::put_task_acts(html, view, line, task.has_payload);
    detail::put_text(html, view, task,
                     line.state == State::failed && line.attempts < 2 ? "Error" : "Error of the last attempt",
                     shown.error, task.error_size, false);
    detail::put_timeline(html, view, task);
    detail::put_text(html, view, task, "Payload", payload, task.payload_size, true);
    return html;
}

BACKLITE_DECL Html message_page(std::string_view message, std::string_view advice) {
    Html html;
    html.put(R"(<p class="message">{}</p>)", message);
    if (!advice.empty()) html.put("<p>{}</p>", advice);
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
