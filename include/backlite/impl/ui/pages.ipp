// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/pages.hpp>.

#include <backlite/ui/pages.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Page Pages::overview(const View& view, bool json, admin::Queries& store) const {
    const NamedPeriod* period = find_period(view.get("period").empty() ? "hour" : view.get("period"));
    const std::string queue{view.get("queue")};
    if (period == nullptr || queue.size() > 1'000) return not_understood();
    Overview found = store.queues.overview(view.now, period->period, queue, processes(store));
    found.days = store.statistics.days(view.now, view.zone(), queue);
    const bool claims = std::any_of(found.queues.begin(), found.queues.end(),
                                    [](const QueueSummary& one) { return one.claimed.number > 0; });
    Page page = made(queue.empty() ? "Overview" : "Queue " + short_name(queue, 60), "Overview",
                     (std::min)(found.next_change.value_or(view.now), view.now + (claims ? a_moment : a_while)));
    if (json) {
        page.json = overview_json(found, view.now);
        return page;
    }
    if (store.shape.schema_version > store::sqlite::Schema::current) {
        page.html.put(
            R"(<p class="hint">This file was made by a newer backlite; some of what it holds may not be shown.</p>)");
    }
    page.html.put("{}", overview_page(view, found, *period));
    return page;
}

BACKLITE_DECL Page Pages::running(const View& view, bool json, admin::Queries& store) const {
    std::optional<Cursor> after;
    if (!read_cursor(*view.target, after)) return not_understood();
    const std::vector<Process> all = processes(store);
    TaskList list = store.tasks.claimed(std::string{view.get("queue")}, after, options_.page_size, all);
    finish(list.lines, store, all);
    Page page = made("Running", "Running", view.now + (list.lines.empty() ? a_while : a_moment));
    if (json) return page.json = list_json(list, same_list(view, Link(view.base, "/running"))), page;
    bool more = false;
    list.queues = store.queues.names(more);
    list.processes = all;
    page.html = running_page(view, list);
    return page;
}

BACKLITE_DECL Page Pages::upcoming(const View& view, bool json, admin::Queries& store) const {
    std::optional<Cursor> after;
    std::optional<State> state;
    const bool retries = view.get("state") == "retrying";
    if (view.get("state") == "waiting") state = State::waiting;
    if (view.get("state") == "scheduled") state = State::scheduled;
    if (!read_cursor(*view.target, after) || (!state && !retries && !view.get("state").empty()))
        return not_understood();
    bool more = false;
    std::vector<std::string> names = store.queues.names(more);
    const std::string queue{view.get("queue")};
    const std::vector<std::string>& queues = queue.empty() ? names : std::vector{queue};
    TaskList list = retries ? store.tasks.retrying(queues, view.now, after, options_.page_size)
                            : store.tasks.upcoming(queues, state, view.now, after, options_.page_size);
    if (!retries) list.total = store.queues.unclaimed(queues, view.now, state, most_counted);
    if (list.total && more && queue.empty()) list.total->more = true;
    finish(list.lines, store, {});
    list.queues = std::move(names);
    Page page =
        made("Upcoming", "Upcoming", (std::min)(list.next_change.value_or(view.now + an_hour), view.now + an_hour));
    if (json) return page.json = list_json(list, same_list(view, Link(view.base, "/upcoming"))), page;
    page.html = upcoming_page(view, list, more && queue.empty());
    return page;
}

BACKLITE_DECL Page Pages::finished(const View& view, bool json, admin::Queries& store, State state) const {
    std::optional<Cursor> after;
    const bool failed = state == State::failed;
    Filter filter;
    filter.state = state;
    if (!read_cursor(*view.target, after) || !read_filter(view, filter)) return not_understood();
    TaskList list = store.tasks.finished(filter, after, options_.page_size);
    list.happened = happened(filter, view, store);
    finish(list.lines, store, {}, filter.text);
    Page page = made(failed ? "Failed" : "Succeeded", failed ? "Failed" : "Succeeded", valid_until(view));
    const Link first = same_list(view, failed ? Link(view.base, "/failed") : Link(view.base, "/succeeded"));
    if (json) return page.json = list_json(list, first), page;
    bool more = false;
    list.queues = store.queues.names(more);
    const NamedPeriod* period = find_period(view.get("period"));
    page.html =
        finished_page(view, list, failed,
                      period == nullptr ? std::string{} : fmt::format("in the last {}", period->name), hides_text());
    return page;
}

BACKLITE_DECL Page Pages::search(const View& view, bool json, admin::Queries& store) const {
    Found found;
    Filter filter;
    std::optional<Cursor> after;
    found.text_is_redacted = hides_text();
    const std::string_view part = view.get("part");
    bool ok = read_cursor(*view.target, after) && (part.empty() || part == "unfinished" || part == "finished");
    bool unfinished = part != "finished";
    bool finished = part != "unfinished";
    if (!view.get("ended").empty()) unfinished = false;
    ok = read_state(view.get("state"), filter, unfinished, finished) && ok;
    ok = read_filter(view, filter) && ok;
    Page page = made("Search", "", unfinished ? view.now + a_while : valid_until(view));
    bool more = false;
    found.queues = store.queues.names(more);
    if (!ok) {
        page.status = 400;
        found.fault =
            "Something in this search cannot be understood: a text may have 200 bytes, a time looks like "
            "2026-03-01T08:15.";
        if (json) return page.json = {{"error", found.fault}}, page;
        page.html = search_page(view, found);
        return page;
    }
    const bool narrowed = filter.state || !filter.queue.empty() || filter.since || filter.until || !part.empty();
    const std::vector<Process> all = processes(store);
    if (!filter.text.empty() && !narrowed) {
        found.by_id = store.tasks.by_id(filter.text, view.now, 20);
        finish(found.by_id, store, all, filter.text);
    }
    if (!filter.text.empty() && !after) found.named = queues_named(filter.text, found.queues, view.now, store);
    if (unfinished) {
        found.unfinished = store.tasks.unfinished(filter, view.now, after, options_.page_size);
        finish(found.unfinished->lines, store, all, filter.text);
    }
    if (finished) {
        found.finished = store.tasks.finished(filter, after, options_.page_size);
        finish(found.finished->lines, store, all, filter.text);
    }
    if (json) return page.json = found_json(found, same_list(view, Link(view.base, "/search"))), page;
    page.html = search_page(view, found);
    return page;
}

BACKLITE_DECL Page Pages::task(const View& view, bool json, admin::Queries& store, const std::string& id) const {
    const std::int64_t bound = options_.redact ? redactable + 1 : shown_bytes;
    std::optional<TaskDetail> task = store.tasks.task(id, view.now, bound);
    if (!task) {
        Page page = made("Not found", "", 0);
        page.status = 404;
        if (json) return page.json = {{"error", "There is no such task."}}, page;
        page.html = message_page(
            "There is no such task.",
            "It was never added, or it has finished and was not kept: its queue's retention decides that.");
        return page;
    }
    const Shown payload = shown(*task, Secret::payload, shown_bytes);
    const Shown error = shown(*task, Secret::error, shown_bytes);
    const bool claimed = task->line.state == State::claimed;
    if (claimed) task->line.entered = entered(task->line, processes(store));
    Page page = made("Task " + short_name(id, 60), nav_of(task->line.state),
                     claimed                     ? view.now + a_moment
                     : task->line.due > view.now ? task->line.due
                                                 : view.now + an_hour);
    if (json) return page.json = task_json(*task, payload, error), page;
    Shown readable = payload;
    if (payload.how == Shown::How::whole || payload.how == Shown::How::cut) {
        readable.text = readable_payload(payload.text, payload.kind, static_cast<std::size_t>(2 * shown_bytes));
    }
    page.html = task_page(view, *task, readable, error);
    return page;
}

BACKLITE_DECL Page Pages::made(std::string heading, std::string_view nav, std::int64_t valid_until) {
    Page page;
    page.heading = std::move(heading);
    page.nav = nav;
    page.valid_until = valid_until;
    return page;
}

BACKLITE_DECL Page Pages::not_understood() {
    Page page = made("Not understood", "", 0);
    page.status = 400;
    page.json = {{"error", "Something in the address cannot be understood."}};
    page.html = message_page("Something in the address cannot be understood.", "");
    return page;
}

BACKLITE_DECL std::vector<std::string> Pages::queues_named(const std::string& text,
                                                           const std::vector<std::string>& names, std::int64_t now,
                                                           admin::Queries& store) {
    constexpr std::size_t most = 8;
    std::set<std::string> all(names.begin(), names.end());
    store.statistics.add_names(now, all);
    if (store.queues.has(text)) all.insert(text);
    const std::string part = detail::lower(text);
    std::vector<std::string> found;
    for (const std::string& name : all) {
        if (found.size() < most && detail::lower(name).find(part) != std::string::npos) found.push_back(name);
    }
    return found;
}

BACKLITE_DECL bool Pages::read_state(std::string_view state, Filter& filter, bool& unfinished, bool& finished) {
    if (state.empty()) return true;
    if (state == "finished") {
        unfinished = false;
        return true;
    }
    for (const State known : {State::waiting, State::scheduled, State::claimed, State::succeeded, State::failed}) {
        if (to_string(known) != state) continue;
        filter.state = known;
        const bool done = known == State::succeeded || known == State::failed;
        (done ? unfinished : finished) = false;
        return true;
    }
    return false;
}

BACKLITE_DECL bool Pages::read_filter(const View& view, Filter& filter) const {
    filter.text = view.get("q");
    filter.queue = view.get("queue");
    filter.in_payload = filter.in_error = !hides_text();
    filter.any_order = view.get("order") == "any";
    if (const std::string_view name = view.get("period"); !name.empty()) {
        const NamedPeriod* period = find_period(name);
        if (period == nullptr) return false;
        // As the overview has it, so that its numbers lead to a list of the same time.
        const std::int64_t step = period->period.period_ms / static_cast<std::int64_t>(period->period.steps);
        filter.since = view.now - view.now % step - period->period.period_ms + step;
    }
    const std::optional<Window> window = window_of(view);
    if (window && window->since) filter.since = window->since;
    if (window && window->until) filter.until = window->until;
    return window && (view.get("order").empty() || filter.any_order) && filter.text.size() <= 200 &&
           filter.queue.size() <= 1'000;
}

BACKLITE_DECL std::optional<Count> Pages::happened(const Filter& filter, const View& view, admin::Queries& store) {
    if (!filter.since || !filter.text.empty()) return std::nullopt;
    const std::int64_t until = (std::min)(filter.until.value_or(view.now), view.now);
    return store.statistics.finished(*filter.since, until, view.now, filter.queue, *filter.state == State::failed);
}

BACKLITE_DECL std::vector<Process> Pages::processes(admin::Queries& store) const {
    std::vector<Process> found = store.queues.processes();
    store::sqlite::find_living(file_, found);
    return found;
}

BACKLITE_DECL std::string_view Pages::nav_of(State state) {
    switch (state) {
        case State::claimed: return "Running";
        case State::succeeded: return "Succeeded";
        case State::failed: return "Failed";
        case State::waiting:
        case State::scheduled: break;
    }
    return "Upcoming";
}

BACKLITE_DECL void Pages::finish(std::vector<TaskLine>& lines, admin::Queries& store,
                                 const std::vector<Process>& processes, std::string_view part) const {
    for (TaskLine& line : lines) {
        if (line.state == State::claimed) line.entered = entered(line, processes);
    }
    hide_errors(lines);
    add_payloads(lines, store, part);
}

BACKLITE_DECL void Pages::hide_errors(std::vector<TaskLine>& lines) const {
    if (!options_.redact) return;
    for (TaskLine& line : lines) {
        if (!line.error.empty()) line.error = "(hidden)";
    }
}

BACKLITE_DECL void Pages::add_payloads(std::vector<TaskLine>& lines, admin::Queries& store,
                                       std::string_view part) const {
    const bool searched = !part.empty() && !hides_text();
    store.tasks.read_payloads(lines, searched ? searched_bytes : shown_bytes);
    for (TaskLine& line : lines) {
        if (!line.payload_size) continue;
        const std::size_t at = searched ? detail::lower(line.payload).find(detail::lower(part)) : std::string::npos;
        std::size_t from = at == std::string::npos || at < 40 ? 0 : at - 24;
        while (from > 0 && from < line.payload.size() &&
               (static_cast<unsigned char>(line.payload[from]) & 0xc0U) == 0x80U) {
            ++from;
        }
        const Shown payload = shown(Secret::payload, line.queue, line.payload.substr(from), *line.payload_size - from,
                                    listed_bytes + static_cast<std::int64_t>(part.size()));
        const bool readable = payload.how != Shown::How::hidden && payload.kind != PayloadKind::binary;
        line.payload = payload.how == Shown::How::hidden ? "(hidden)"
                       : readable && !payload.text.empty()
                           ? (from > 0 ? "…" : "") + short_line(payload.text, listed_bytes - 8 + part.size())
                           : std::string{};
    }
}

BACKLITE_DECL Shown Pages::shown(const TaskDetail& task, Secret what, std::int64_t bound) const {
    if (what == Secret::error) {
        if (task.error_size == 0) return {};
        return shown(what, task.line.queue, task.error, task.error_size, bound);
    }
    if (!task.has_payload) return {};
    return shown(what, task.line.queue, task.payload, task.payload_size, bound);
}

BACKLITE_DECL Shown Pages::shown(Secret what, std::string_view queue, const std::string& text, std::uint64_t size,
                                 std::int64_t bound) const {
    Shown result;
    result.how = Shown::How::hidden;
    if (what == Secret::payload && options_.payloads == Payloads::hide) return result;
    const auto limit = static_cast<std::size_t>(bound);
    if (options_.redact) {
        if (size > static_cast<std::uint64_t>(redactable) || text.size() < size) return result;
        try {
            result.text = options_.redact(what, queue, text);
        } catch (const std::exception& error) {
            log_(LogLevel::failure, "dashboard redaction threw", {{"error", error.what()}});
            return result;
        } catch (...) {
            log_(LogLevel::failure, "dashboard redaction threw");
            return result;
        }
        result.how = Shown::How::redacted;
        result.kind = kind_of(result.text);
        result.text = std::string{cut(result.text, limit)};
        return result;
    }
    const bool whole = text.size() >= size && text.size() <= limit;
    result.how = whole ? Shown::How::whole : Shown::How::cut;
    result.text = whole ? text : text.substr(0, limit);
    result.kind = whole ? kind_of(result.text) : kind_of_beginning(result.text);
    if (!whole && result.kind != PayloadKind::binary) result.text = std::string{cut(text, limit - 4)};
    return result;
}

BACKLITE_DECL PayloadKind Pages::kind_of_beginning(std::string_view text) {
    if (!is_utf8(cut(text, text.size() - (std::min)(text.size(), std::size_t{4}))) ||
        text.find('\0') != std::string_view::npos) {
        return PayloadKind::binary;
    }
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    const bool opens = first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
    return opens ? PayloadKind::json : PayloadKind::text;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
