// SPDX-License-Identifier: MIT
// The commands that only look.

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include <backlite/admin.hpp>
#include <backlite/schedule.hpp>

#include "commands.hpp"
#include "output.hpp"

namespace tool {
namespace {

using backlite::Admin;
using nlohmann::json;

json time_json(const std::optional<backlite::TimePoint>& time) { return time ? json(time_text(time)) : json(); }

json row_json(const backlite::TaskRow& row) {
    json object{{"id", row.id.str()},
                {"queue", row.queue},
                {"state", to_string(row.state)},
                {"priority", row.priority},
                {"created", time_json(row.created)},
                {"due", time_json(row.due)},
                {"started", time_json(row.started)},
                {"finished", time_json(row.finished)},
                {"attempts_spent", row.spent},
                {"crashes", row.crashes},
                {"error", row.error}};
    if (row.duration) object["duration_us"] = row.duration->count();
    return object;
}

/// Text that is JSON as JSON, other text as text.
json value_json(const std::string& text) {
    json value = json::parse(text, nullptr, false);
    return value.is_discarded() ? json(text) : value;
}

json why_json(const std::vector<backlite::Blocker>& why) {
    json list = json::array();
    for (const backlite::Blocker blocker : why) list.push_back(to_string(blocker));
    return list;
}

std::string why_text(const std::vector<backlite::Blocker>& why) {
    std::string text;
    for (const backlite::Blocker blocker : why)
        text += fmt::format("{}{}", text.empty() ? "" : "; ", to_string(blocker));
    return text;
}

std::string count_text(const backlite::BoundedCount& count) {
    return fmt::format("{}{}", count.number, count.more ? "+" : "");
}

json step_json(const backlite::StepRecord& step) {
    return {{"kind", step.kind},
            {"name", step.name},
            {"occurrence", step.occurrence},
            {"state", to_string(step.state)},
            {"value", step.value.empty() ? json() : value_json(step.value)},
            {"error", step.error},
            {"failures", step.failures},
            {"tasks", step.tasks},
            {"written", time_json(step.written)},
            {"until", time_json(step.until)}};
}

/// "step pay #2: returned "p1", 2026-11-30 06:15:00".
std::string step_text(const backlite::StepRecord& step) {
    return fmt::format("{} {}{}: {}{}{}{}{}, {}", step.kind, step.name,
                       step.occurrence > 1 ? fmt::format(" #{}", step.occurrence) : "", to_string(step.state),
                       step.tasks > 0 ? fmt::format(" {} tasks", step.tasks) : "",
                       step.value.empty() ? "" : " " + step.value, step.until ? " until " + time_text(step.until) : "",
                       step.error.empty() ? "" : ": " + step.error, time_text(step.written));
}

json details_json(const backlite::TaskDetails& task) {
    json object = row_json(task);
    object["payload"] = task.payload ? value_json(*task.payload) : json();
    object["result"] = task.result ? value_json(*task.result) : json();
    object["unique_key"] = task.unique_key;
    object["partition"] = task.partition;
    object["tags"] = task.tags;
    object["metadata"] = task.metadata.empty() ? json::object() : value_json(task.metadata);
    object["expires"] = time_json(task.expires);
    object["kept_until"] = time_json(task.kept_until);
    object["cancel_requested"] = task.cancel_requested;
    object["why"] = why_json(task.why);
    if (task.progress) {
        object["progress"] = {{"message", task.progress->message}, {"time", time_json(task.progress->time)}};
        if (task.progress->fraction) object["progress"]["fraction"] = *task.progress->fraction;
    }
    for (const char* name : {"attempts", "saved", "steps", "signals", "parents", "children"})
        object[name] = json::array();
    for (const backlite::AttemptRecord& attempt : task.attempts) {
        object["attempts"].push_back({{"number", attempt.number},
                                      {"started", time_json(attempt.started)},
                                      {"duration_us", attempt.duration.count()},
                                      {"error", attempt.error},
                                      {"host", attempt.host},
                                      {"pid", attempt.pid}});
    }
    for (const auto& saved : task.saved)
        object["saved"].push_back({{"name", saved.name}, {"value", value_json(saved.value)}});
    for (const backlite::StepRecord& step : task.steps) object["steps"].push_back(step_json(step));
    for (const backlite::UnreadSignal& sent : task.unread) {
        object["signals"].push_back(
            {{"name", sent.name}, {"value", value_json(sent.value)}, {"sent", time_json(sent.sent)}});
    }
    for (const auto& id : task.parents) object["parents"].push_back(id.str());
    for (const auto& id : task.children) object["children"].push_back(id.str());
    return object;
}

void print_details(const backlite::TaskDetails& task, Format format) {
    const auto field = [&](std::string_view name, const std::string& text) {
        if (text.empty() || text == "-") return;
        fmt::print("{}{}{}\n", name, format == Format::plain ? "\t" : std::string(18 - name.size(), ' '), shown(text));
    };
    fmt::print("{}\n", task.id.str());
    field("queue", task.queue);
    fmt::print("state{}{}\n", format == Format::plain ? "\t" : std::string(13, ' '),
               coloured(to_string(task.state), std::string{to_string(task.state)}, colours(format)));
    field("why", why_text(task.why));
    if (task.cancel_requested) field("cancel", "was asked for: it ends with this attempt");
    field("error", task.error);
    if (task.priority != 0) field("priority", fmt::format("{}", task.priority));
    field("created", time_text(task.created));
    field("due", time_text(task.due));
    field("claimed", time_text(task.claimed));
    field("started", time_text(task.started));
    field("finished", time_text(task.finished));
    if (task.duration) field("took", duration_text(*task.duration));
    field("expires", time_text(task.expires));
    field("kept until", time_text(task.kept_until));
    if (task.spent > 0) field("attempts spent", fmt::format("{}", task.spent));
    if (task.crashes > 0) field("crashes", fmt::format("{}", task.crashes));
    field("unique key", task.unique_key);
    field("partition", task.partition);
    field("tags", fmt::format("{}", fmt::join(task.tags, " ")));
    field("metadata", task.metadata);
    if (task.progress) {
        field("progress",
              fmt::format("{}{}, {}", task.progress->message,
                          task.progress->fraction ? fmt::format(" {:.0f} %", *task.progress->fraction * 100) : "",
                          time_text(task.progress->time)));
    }
    for (const auto& id : task.parents) field("waits for", id.str());
    for (const auto& id : task.children) field("before", id.str());
    for (const auto& saved : task.saved) field("saved", saved.name + " = " + saved.value);
    for (const backlite::StepRecord& step : task.steps) field("step", step_text(step));
    for (const backlite::UnreadSignal& sent : task.unread) {
        field("signal", fmt::format("{} = {}, {}", sent.name, sent.value, time_text(sent.sent)));
    }
    field("result", task.result.value_or(""));
    field("payload", task.payload.value_or("(was not kept: the task cannot be retried)"));
    for (const backlite::AttemptRecord& attempt : task.attempts) {
        field(fmt::format("attempt {}", attempt.number),
              fmt::format("{}, {}{}{}", time_text(attempt.started), duration_text(attempt.duration),
                          attempt.host.empty() ? "" : fmt::format(", {} {}", attempt.host, attempt.pid),
                          attempt.error.empty() ? "" : ": " + attempt.error));
    }
}

}  // namespace

std::string begins_so(const Admin& admin, const Options& options, const std::string& id) {
    if (id.empty() || admin.tasks({.id = id}, {.limit = 1}).tasks.empty()) return {};
    return fmt::format(", but there are ids that begin so: `backlite ls {} --id {}`", shown(options.file), shown(id));
}

int list(const Options& options) {
    const Admin admin{options.file};
    backlite::Page page{.limit = options.limit};
    if (options.after) page.after = backlite::PageToken::parse(*options.after);
    backlite::TaskPage found = admin.tasks(options.filter, page);
    while (found.next && found.tasks.size() < options.limit) {  // a look through many rows comes in pieces
        const backlite::TaskPage more =
            admin.tasks(options.filter, {.limit = options.limit - found.tasks.size(), .after = found.next});
        found.tasks.insert(found.tasks.end(), more.tasks.begin(), more.tasks.end());
        found.next = more.next;
    }
    if (options.format == Format::json) {
        json tasks = json::array();
        for (const backlite::TaskRow& row : found.tasks) tasks.push_back(row_json(row));
        print({{"tasks", tasks}, {"next", found.next ? json(found.next->str()) : json()}});
        return found.tasks.empty() ? nothing : done;
    }
    Table table({"ID", "QUEUE", "STATE", "TIME", "ERROR"});
    for (const backlite::TaskRow& row : found.tasks) {
        const auto time = row.finished ? row.finished : row.due ? row.due : std::optional{row.created};
        table.add({shown(row.id.str()), shown(row.queue, 40), std::string{to_string(row.state)}, time_text(time),
                   shown(row.error, options.format == Format::plain ? 300 : 60)});
    }
    if (found.tasks.empty()) {
        fmt::print(stderr, "no such task\n");
        return nothing;
    }
    table.print(options.format, 2);
    if (found.next) fmt::print(stderr, "there are more: --after '{}'\n", found.next->str());
    return done;
}

int show(const Options& options) {
    if (options.operands.empty()) throw UsageFault("show: name the task by its id; `backlite ls` lists them");
    const Admin admin{options.file};
    json all = json::array();
    bool missing = false;
    for (const std::string& id : options.operands) {
        const auto task = admin.task(backlite::TaskId::from_text(id));
        if (!task) {
            missing = true;
            const std::string more = begins_so(admin, options, id);
            fmt::print(stderr, "there is no task {}{}\n", shown(id),
                       more.empty() ? ": it was never added, or has finished and was not kept" : more);
        } else if (options.format == Format::json) {
            all.push_back(details_json(*task));
        } else {
            print_details(*task, options.format);
        }
    }
    if (options.format == Format::json) print(all);
    return missing ? nothing : done;
}

int queues(const Options& options) {
    const Admin admin{options.file};
    const auto all = admin.queues();
    if (options.format == Format::json) {
        json list = json::array();
        const auto count = [](const backlite::BoundedCount& one) {
            return json{{"number", one.number}, {"more", one.more}};
        };
        for (const auto& queue : all) {
            list.push_back({{"name", queue.name},
                            {"waiting", count(queue.waiting)},
                            {"scheduled", count(queue.scheduled)},
                            {"retrying", count(queue.retrying)},
                            {"held", count(queue.held)},
                            {"running", count(queue.running)},
                            {"succeeded_last_hour", queue.succeeded},
                            {"failed_last_hour", queue.failed},
                            {"paused", time_json(queue.paused)},
                            {"oldest_due", time_json(queue.oldest_due)},
                            {"next_due", time_json(queue.next_due)},
                            {"why", why_json(queue.why)}});
        }
        print(list);
        return all.empty() ? nothing : done;
    }
    if (all.empty()) {
        fmt::print(stderr, "no queue has tasks\n");
        return nothing;
    }
    Table table({"QUEUE", "WAITING", "SCHEDULED", "HELD", "RUNNING", "DONE 1h", "FAILED 1h", "OLDEST DUE", "WHY NOT"});
    for (const auto& queue : all) {
        table.add({shown(queue.name, 40), count_text(queue.waiting), count_text(queue.scheduled),
                   count_text(queue.held), count_text(queue.running), fmt::format("{}", queue.succeeded),
                   fmt::format("{}", queue.failed), time_text(queue.oldest_due), why_text(queue.why)});
    }
    table.print(options.format);
    return done;
}

int stats(const Options& options) {
    const Admin admin{options.file};
    backlite::BoundedCount waiting, scheduled, held, running;
    std::uint64_t succeeded = 0;
    std::uint64_t failed = 0;
    const auto queues = admin.queues();
    const auto add = [](backlite::BoundedCount& sum, const backlite::BoundedCount& count) {
        sum.number += count.number;
        sum.more = sum.more || count.more;
    };
    for (const auto& queue : queues) {
        add(waiting, queue.waiting);
        add(scheduled, queue.scheduled);
        add(held, queue.held);
        add(running, queue.running);
        succeeded += queue.succeeded;
        failed += queue.failed;
    }
    std::size_t alive = 0;
    for (const auto& client : admin.clients()) alive += client.alive.value_or(true) ? 1U : 0U;
    const auto size = [&](const char* end) -> std::uintmax_t {
        std::error_code error;
        const std::uintmax_t bytes = std::filesystem::file_size(options.file + end, error);
        return error ? 0 : bytes;
    };
    if (options.format == Format::json) {
        print({{"queues", queues.size()},
               {"waiting", waiting.number},
               {"scheduled", scheduled.number},
               {"held", held.number},
               {"running", running.number},
               {"counts_are_exact", !(waiting.more || scheduled.more || held.more || running.more)},
               {"succeeded_last_hour", succeeded},
               {"failed_last_hour", failed},
               {"clients", alive},
               {"database_bytes", size("")},
               {"log_bytes", size("-wal")}});
        return done;
    }
    Table table({"WHAT", "NUMBER"});
    table.add({"queues", fmt::format("{}", queues.size())});
    table.add({"waiting", count_text(waiting)});
    table.add({"scheduled", count_text(scheduled)});
    table.add({"held", count_text(held)});
    table.add({"running", count_text(running)});
    table.add({"succeeded in the last hour", fmt::format("{}", succeeded)});
    table.add({"failed in the last hour", fmt::format("{}", failed)});
    table.add({"started clients", fmt::format("{}", alive)});
    table.add({"database", bytes_text(size(""))});
    table.add({"log", bytes_text(size("-wal"))});
    table.print(options.format);
    return done;
}

int schedules(const Options& options) {
    const Admin admin{options.file};
    const auto all = admin.client().schedules();
    if (options.format == Format::json) {
        json list = json::array();
        for (const auto& one : all) {
            list.push_back({{"name", one.name},
                            {"queue", one.queue},
                            {"when", one.when},
                            {"zone", one.zone},
                            {"next", time_json(one.next)},
                            {"last", time_json(one.last)},
                            {"paused", one.paused},
                            {"error", one.error}});
        }
        print(list);
        return all.empty() ? nothing : done;
    }
    if (all.empty()) {
        fmt::print(stderr, "there are no schedules\n");
        return nothing;
    }
    Table table({"NAME", "QUEUE", "WHEN", "ZONE", "NEXT", "LAST", ""});
    for (const auto& one : all) {
        table.add({shown(one.name, 40), shown(one.queue, 40), shown(one.when, 60), shown(one.zone, 40),
                   time_text(one.next), time_text(one.last), one.paused ? "paused" : shown(one.error, 80)});
    }
    table.print(options.format);
    return done;
}

}  // namespace tool
