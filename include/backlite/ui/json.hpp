// SPDX-License-Identifier: MIT
#pragma once
// The same values as the pages, for programs: JSON under the same paths.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/ui/list_pages.hpp>
#include <backlite/ui/model.hpp>
#include <backlite/ui/overview_page.hpp>
#include <backlite/ui/task_page.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

using Json = nlohmann::ordered_json;

/// Text with what is no UTF-8 replaced, and `<`, `>`, `&` escaped: it stays harmless where somebody takes it for HTML.
[[nodiscard]] inline std::string json_text(const Json& json) {
    const std::string plain = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    std::string text;
    text.reserve(plain.size());
    for (const char c : plain) {
        switch (c) {
            case '<': text += "\\u003c"; break;
            case '>': text += "\\u003e"; break;
            case '&': text += "\\u0026"; break;
            default: text += c;
        }
    }
    return text;
}

namespace detail {

template <class T>
[[nodiscard]] Json optional_json(const std::optional<T>& value) {
    if (!value) return nullptr;
    return *value;
}

[[nodiscard]] inline Json count_json(const Count& count) {
    return {{"number", count.number}, {"at_least", count.more}};
}

/// What only the statistics know.
inline void add_counted(Json& json, const Counted& counted) {
    json["added"] = counted.added;
    json["started"] = counted.started;
    json["retried"] = counted.retried;
    json["wait_ms"] = counted.wait_ms;
}

[[nodiscard]] inline Json line_json(const TaskLine& line) {
    const bool finished = line.state == State::succeeded || line.state == State::failed;
    Json json{{"id", line.id},
              {"queue", line.queue},
              {"state", state_text(line)},
              {"created_at", line.created_at},
              {"attempts", line.attempts},
              {"last_executed_at", optional_json(line.executed_at)}};
    if (line.id_cut) json["id_cut"] = true;
    if (!finished) {
        json["due"] = line.due;
        json["claimed_at"] = optional_json(line.claimed_at);
        json["owner"] = optional_json(line.owner);
        json["crashes"] = line.crashes;
    } else {
        json["duration_us"] = optional_json(line.duration_us);
        json["finished_at"] = optional_json(finished_at(line));
    }
    json["payload_bytes"] = optional_json(line.payload_size);
    json["payload_excerpt"] = line.payload.empty() ? Json(nullptr) : Json(line.payload);
    json["error"] = line.error.empty() ? Json(nullptr) : Json(line.error);
    return json;
}

}  // namespace detail

[[nodiscard]] inline Json overview_json(const Overview& overview, std::int64_t now) {
    Json queues = Json::array();
    for (const QueueSummary& queue : overview.queues) {
        queues.push_back({{"queue", cut(queue.name, 300)},
                          {"waiting", detail::count_json(queue.waiting)},
                          {"scheduled", detail::count_json(queue.scheduled)},
                          {"retrying", detail::count_json(queue.retrying)},
                          {"claimed", detail::count_json(queue.claimed)},
                          {"running", detail::optional_json(queue.running)},
                          {"fetched", queue.running ? Json(queue.claimed.number - *queue.running) : Json(nullptr)},
                          {"oldest_due", detail::optional_json(queue.oldest_due)},
                          {"next_due", detail::optional_json(queue.next_due)},
                          {"succeeded", queue.succeeded},
                          {"failed", queue.failed},
                          {"attempts", queue.attempts},
                          {"total_duration_us", queue.total_duration_us}});
        if (overview.counted) queues.back()["added"] = queue.added;
    }
    Json processes = Json::array();
    for (const Process& process : overview.processes) {
        processes.push_back({{"owner", process.owner},
                             {"workers", process.workers},
                             {"started_at", process.started_at},
                             {"version", process.version},
                             {"alive", detail::optional_json(process.alive)},
                             {"busy", process.inside ? Json(process.inside->size()) : Json(nullptr)}});
    }
    Json buckets = Json::array();
    for (const Bucket& bucket : overview.buckets) {
        buckets.push_back({{"succeeded", bucket.succeeded},
                           {"failed", bucket.failed},
                           {"attempts", bucket.attempts},
                           {"duration_us", bucket.duration_us},
                           {"due", bucket.due}});
        if (!overview.counted) continue;
        detail::add_counted(buckets.back(), bucket);
        buckets.back()["backlog"] = bucket.backlog;
    }
    Json days = Json::array();
    for (const Day& day : overview.days) {
        days.push_back({{"from", day.from},
                        {"counted_from", day.counted_from},
                        {"succeeded", day.counted.succeeded},
                        {"failed", day.counted.failed},
                        {"attempts", day.counted.attempts},
                        {"duration_us", day.counted.duration_us}});
        detail::add_counted(days.back(), day.counted);
    }
    return {{"now", now},
            {"queues", std::move(queues)},
            {"more_queues", overview.more_queues},
            {"processes", std::move(processes)},
            {"from", overview.from},
            {"step_ms", overview.step_ms},
            {"counted", overview.counted},
            {"counted_from", overview.counted_from},
            {"covered_from", overview.covered_from},
            {"finished_at_least", overview.finished_cut},
            {"due_at_least", overview.due_cut},
            {"backlog_at_least", overview.backlog_cut},
            {"buckets", std::move(buckets)},
            {"days", std::move(days)}};
}

/// `first`: the address of the list's beginning.
[[nodiscard]] inline Json list_json(const TaskList& list, const Link& first) {
    Json tasks = Json::array();
    for (const TaskLine& line : list.lines) tasks.push_back(detail::line_json(line));
    Json json{{"tasks", std::move(tasks)},
              {"next", list.next ? Json(next_page(first, *list.next).str()) : Json(nullptr)}};
    json["total"] = list.total ? detail::count_json(*list.total) : Json(nullptr);
    if (list.happened) json["happened"] = detail::count_json(*list.happened);
    json["gave_up"] = list.gave_up;
    if (list.gave_up) {
        json["looked_at"] = list.looked_at;
        json["looked_to"] = detail::optional_json(list.looked_to);
    }
    json["complete"] = !list.by_order && !list.rows_cut;
    return json;
}

[[nodiscard]] inline Json found_json(const Found& found, const Link& first) {
    Json by_id = Json::array();
    for (const TaskLine& line : found.by_id) by_id.push_back(detail::line_json(line));
    Json named = Json::array();
    for (const std::string& name : found.named) named.push_back(cut(name, 300));
    Json json{{"by_id", std::move(by_id)}, {"queues", std::move(named)}};
    const auto part = [&](const std::optional<TaskList>& list, const char* name) {
        if (!list) return;
        Link here = first;
        json[name] = list_json(*list, here.param("part", name));
    };
    part(found.unfinished, "unfinished");
    part(found.finished, "finished");
    return json;
}

/// The payload is text, as it is stored: a JSON parser in between would round large integers. What is no UTF-8 comes as
/// `payload_hex`.
[[nodiscard]] inline Json task_json(const TaskDetail& task, const Shown& payload, const Shown& error) {
    Json json = detail::line_json(task.line);
    json["wait_until"] = detail::optional_json(task.wait_until);
    json["expires_at"] = detail::optional_json(task.expires_at);
    json["error"] = error.how == Shown::How::absent ? Json(nullptr) : Json(error.text);
    json["payload_bytes"] = task.payload_size;
    json["payload_is"] = payload.how == Shown::How::absent     ? "absent"
                         : payload.how == Shown::How::cut      ? "cut"
                         : payload.how == Shown::How::redacted ? "redacted"
                         : payload.how == Shown::How::hidden   ? "hidden"
                                                               : "whole";
    if (payload.how == Shown::How::absent || payload.how == Shown::How::hidden) return json;
    if (is_utf8(payload.text)) {
        json["payload"] = payload.text;
        return json;
    }
    std::string hex;
    for (const char c : payload.text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    json["payload_hex"] = std::move(hex);
    return json;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
