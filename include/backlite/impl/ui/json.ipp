// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/json.hpp>.

#include <backlite/ui/json.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Json Json::array() {
    Json array;
    array.text_ = "[]";
    return array;
}

BACKLITE_DECL void Json::set(std::string_view key, const Json& value) {
    reopen();
    put(key);
    text_.append(":").append(value.text_) += '}';
}

BACKLITE_DECL void Json::put(std::string_view text) {
    text_ += '"';
    while (!text.empty()) {
        const Utf8 c = first_character(text);
        if (!c.valid) {
            text_ += replacement;
        } else if (c.code == '"' || c.code == '\\') {
            (text_ += '\\') += text.front();
        } else if (c.code < 0x20 || c.code == '<' || c.code == '>' || c.code == '&') {
            text_ += fmt::format("\\u{:04x}", static_cast<unsigned>(c.code));
        } else {
            text_ += text.substr(0, c.length);
        }
        text.remove_prefix(c.length);
    }
    text_ += '"';
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL void add_counted(Json& json, const Counted& counted) {
    json.set("added", counted.added);
    json.set("started", counted.started);
    json.set("retried", counted.retried);
    json.set("wait_ms", counted.wait);
}

BACKLITE_DECL Json line_json(const TaskLine& line, const Json& payload_bytes, const Json& error) {
    const bool finished = line.state == State::succeeded || line.state == State::failed;
    Json json{{"id", line.id},
              {"queue", line.queue},
              {"state", state_text(line)},
              {"created_at", line.created_at},
              {"attempts", line.attempts},
              {"last_executed_at", Json(line.executed_at)}};
    if (line.id_cut) json.set("id_cut", true);
    if (!finished) {
        json.set("due", line.due);
        json.set("claimed_at", Json(line.claimed_at));
        json.set("owner", Json(line.owner));
        json.set("crashes", line.crashes);
    } else {
        json.set("duration_us", Json(line.duration));
        json.set("finished_at", Json(finished_at(line)));
    }
    json.set("payload_bytes", payload_bytes);
    json.set("payload_excerpt", line.payload.empty() ? Json() : Json(line.payload));
    json.set("error", error);
    return json;
}

BACKLITE_DECL Json list_json(const TaskList& list, const Link& first) {
    Json tasks = Json::array();
    for (const TaskLine& line : list.lines) tasks.push_back(line_json(line));
    Json json{{"tasks", tasks}, {"next", list.next ? Json(next_page(first, *list.next).str()) : Json()}};
    json.set("total", list.total ? count_json(*list.total) : Json());
    if (list.happened) json.set("happened", count_json(*list.happened));
    json.set("gave_up", list.gave_up);
    if (list.gave_up) {
        json.set("looked_at", list.looked_at);
        json.set("looked_to", Json(list.looked_to));
    }
    json.set("complete", !list.by_order && !list.rows_cut);
    return json;
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Json overview_json(const View& view, const Overview& overview) {
    Json queues = Json::array();
    for (const QueueSummary& queue : overview.queues) {
        Json json{{"queue", cut(queue.name, 300)},
                  {"waiting", detail::count_json(queue.waiting)},
                  {"scheduled", detail::count_json(queue.scheduled)},
                  {"retrying", detail::count_json(queue.retrying)},
                  {"claimed", detail::count_json(queue.claimed)},
                  {"running", Json(queue.running)},
                  {"fetched", queue.running ? Json(queue.claimed.number - *queue.running) : Json()},
                  {"oldest_due", Json(queue.oldest_due)},
                  {"next_due", Json(queue.next_due)},
                  {"succeeded", queue.succeeded},
                  {"failed", queue.failed},
                  {"attempts", queue.attempts},
                  {"total_duration_us", queue.total_duration}};
        if (overview.counted) json.set("added", queue.added);
        queues.push_back(json);
    }
    Json processes = Json::array();
    for (const Process& process : overview.processes) {
        processes.push_back({{"owner", process.owner},
                             {"workers", process.workers},
                             {"started_at", process.started_at},
                             {"version", process.version},
                             {"alive", Json(process.alive)},
                             {"busy", process.inside ? Json(process.inside->size()) : Json()}});
    }
    Json paused = Json::array();
    for (const std::string& name : overview.paused) paused.push_back(cut(name, 300));
    Json buckets = Json::array();
    for (const Bucket& bucket : overview.buckets) {
        Json json{{"succeeded", bucket.succeeded},
                  {"failed", bucket.failed},
                  {"attempts", bucket.attempts},
                  {"duration_us", bucket.duration},
                  {"due", bucket.due}};
        if (overview.counted) {
            detail::add_counted(json, bucket);
            json.set("backlog", bucket.backlog);
        }
        buckets.push_back(json);
    }
    Json days = Json::array();
    for (const Day& day : overview.days) {
        Json json{{"from", day.from},
                  {"counted_from", day.counted_from},
                  {"succeeded", day.counted.succeeded},
                  {"failed", day.counted.failed},
                  {"attempts", day.counted.attempts},
                  {"duration_us", day.counted.duration}};
        detail::add_counted(json, day.counted);
        days.push_back(json);
    }
    return {{"now", view.now},
            {"queues", queues},
            {"more_queues", overview.more_queues},
            {"paused", paused},
            {"processes", processes},
            {"from", overview.from},
            {"step_ms", overview.step},
            {"counted", overview.counted},
            {"counted_from", overview.counted_from},
            {"covered_from", overview.covered_from},
            {"finished_at_least", overview.finished_cut},
            {"due_at_least", overview.due_cut},
            {"backlog_at_least", overview.backlog_cut},
            {"buckets", buckets},
            {"days", days}};
}

BACKLITE_DECL Json running_json(const View& view, const TaskList& list) {
    return detail::list_json(list, same_list(view, Link(view.base, "/running")));
}

BACKLITE_DECL Json upcoming_json(const View& view, const TaskList& list) {
    return detail::list_json(list, same_list(view, Link(view.base, "/upcoming")));
}

BACKLITE_DECL Json finished_json(const View& view, const TaskList& list, State state) {
    const Link address = state == State::failed ? Link(view.base, "/failed") : Link(view.base, "/succeeded");
    return detail::list_json(list, same_list(view, address));
}

BACKLITE_DECL Json search_json(const View& view, const Found& found) {
    if (!found.fault.empty()) return {{"error", found.fault}};
    const Link first = same_list(view, Link(view.base, "/search"));
    Json by_id = Json::array();
    for (const TaskLine& line : found.by_id) by_id.push_back(detail::line_json(line));
    Json named = Json::array();
    for (const std::string& name : found.named) named.push_back(cut(name, 300));
    Json json{{"by_id", by_id}, {"queues", named}};
    const auto part = [&](const std::optional<TaskList>& list, const char* name) {
        if (!list) return;
        Link here = first;
        json.set(name, detail::list_json(*list, here.param("part", name)));
    };
    part(found.unfinished, "unfinished");
    part(found.finished, "finished");
    return json;
}

BACKLITE_DECL Json task_json(const View&, const ShownTask& shown) {
    const TaskDetail& task = shown.task;
    const Shown& payload = shown.payload;
    const Shown& error = shown.error;
    Json json =
        detail::line_json(task.line, task.payload_size, error.how == Shown::How::absent ? Json() : Json(error.text));
    json.set("wait_until", Json(task.wait_until));
    json.set("expires_at", Json(task.expires_at));
    json.set("payload_is", payload.how == Shown::How::absent     ? "absent"
                           : payload.how == Shown::How::cut      ? "cut"
                           : payload.how == Shown::How::redacted ? "redacted"
                           : payload.how == Shown::How::hidden   ? "hidden"
                                                                 : "whole");
    if (payload.how == Shown::How::absent || payload.how == Shown::How::hidden) return json;
    if (is_utf8(payload.text)) {
        json.set("payload", payload.text);
        return json;
    }
    std::string hex;
    for (const char c : payload.text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    json.set("payload_hex", hex);
    return json;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
