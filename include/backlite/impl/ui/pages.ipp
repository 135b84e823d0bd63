// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/pages.hpp>.

#include <backlite/ui/pages.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Sheet<Overview> Pages::overview(const View& view, admin::PageReads& reads) const {
    const NamedPeriod* period = period_of(view);
    const std::string queue{view.get("queue")};
    if (period == nullptr || queue.size() > 1'000) return not_understood<Overview>();
    Overview found = reads.overview(period->period, queue, view.zone());
    const bool claims = std::any_of(found.queues.begin(), found.queues.end(),
                                    [](const QueueSummary& one) { return one.claimed.number > 0; });
    const Ms until = view.now + (claims ? a_moment : a_while);
    return {{200, queue.empty() ? "Overview" : "Queue " + short_name(queue, 60), "Overview",
             (std::min)(found.next_change.value_or(view.now), until)},
            std::move(found)};
}

BACKLITE_DECL Sheet<TaskList> Pages::running(const View& view, admin::PageReads& reads) const {
    std::optional<Cursor> after;
    if (!read_cursor(*view.target, after)) return not_understood<TaskList>();
    TaskList list = reads.running(std::string{view.get("queue")}, extent(after));
    hide(list.lines);
    const Ms until = view.now + (list.lines.empty() ? a_while : a_moment);
    return {{200, "Running", "Running", until}, std::move(list)};
}

BACKLITE_DECL Sheet<TaskList> Pages::upcoming(const View& view, admin::PageReads& reads) const {
    std::optional<Cursor> after;
    admin::Upcoming which = admin::Upcoming::all;
    const std::string_view state = view.get("state");
    if (state == "waiting") which = admin::Upcoming::waiting;
    if (state == "scheduled") which = admin::Upcoming::scheduled;
    if (state == "retrying") which = admin::Upcoming::retrying;
    if (!read_cursor(*view.target, after) || (which == admin::Upcoming::all && !state.empty())) {
        return not_understood<TaskList>();
    }
    TaskList list = reads.upcoming(std::string{view.get("queue")}, which, extent(after));
    hide(list.lines);
    const Ms until = (std::min)(list.next_change.value_or(view.now + an_hour), view.now + an_hour);
    return {{200, "Upcoming", "Upcoming", until}, std::move(list)};
}

BACKLITE_DECL Sheet<TaskList> Pages::finished(const View& view, admin::PageReads& reads, State state) const {
    std::optional<Cursor> after;
    Filter filter;
    filter.state = state;
    const std::string_view wanted_state = view.get("state");
    if (state == State::failed) filter.ending = ending_of(wanted_state);
    if (!read_cursor(*view.target, after) || !read_filter(view, filter) || (!wanted_state.empty() && !filter.ending)) {
        return not_understood<TaskList>();
    }
    TaskList list = reads.finished(filter, extent(after, filter.text));
    list.ids_only = hides_text();
    hide(list.lines, filter.text);
    const std::string_view name = state == State::failed ? "Failed" : "Succeeded";
    return {{200, std::string{name}, name, valid_until(view)}, std::move(list)};
}

BACKLITE_DECL Sheet<Found> Pages::search(const View& view, admin::PageReads& reads) const {
    Filter filter;
    std::optional<Cursor> after;
    const std::string_view part = view.get("part");
    bool ok = read_cursor(*view.target, after) && (part.empty() || part == "unfinished" || part == "finished");
    admin::PageReads::Parts parts;
    parts.unfinished = part != "finished" && view.get("ended").empty();
    parts.finished = part != "unfinished";
    ok = read_state(view.get("state"), filter, parts.unfinished, parts.finished) && ok;
    ok = read_filter(view, filter) && ok;
    Head head{200, "Search", "", parts.unfinished ? view.now + a_while : valid_until(view)};
    Found found;
    if (!ok) {
        head.status = 400;
        found.queues = reads.queues();
        found.fault =
            "Something in this search cannot be understood: a text may have 200 bytes, a time looks like "
            "2026-03-01T08:15.";
        return {std::move(head), std::move(found)};
    }
    const bool narrowed = filter.state || !filter.queue.empty() || filter.since || filter.until || !part.empty();
    parts.by_id = !filter.text.empty() && !narrowed;
    found = reads.search(filter, parts, extent(after, filter.text));
    found.ids_only = hides_text();
    hide(found.by_id, filter.text);
    if (found.unfinished) hide(found.unfinished->lines, filter.text);
    if (found.finished) hide(found.finished->lines, filter.text);
    return {std::move(head), std::move(found)};
}

BACKLITE_DECL Sheet<ShownTask> Pages::task(const View& view, admin::PageReads& reads, const std::string& id) const {
    std::optional<TaskDetail> task = reads.task(id, options_.redact ? redactable + 1 : shown_bytes);
    if (!task) {
        return {{404, "Not found", "", Ms{}, "There is no such task.",
                 "It was never added, or it has finished and was not kept: its queue's retention decides that."},
                std::nullopt};
    }
    const TaskLine& line = task->line;
    Head head{200, "Task " + short_name(id, 60), nav_of(line.state),
              line.state == State::claimed ? view.now + a_moment
              : line.due > view.now        ? line.due
                                           : view.now + an_hour};
    Shown payload = shown(*task, Secret::payload, shown_bytes);
    Shown error = shown(*task, Secret::error, shown_bytes);
    return {std::move(head), ShownTask{std::move(*task), std::move(payload), std::move(error)}};
}

BACKLITE_DECL bool Pages::read_state(std::string_view state, Filter& filter, bool& unfinished, bool& finished) {
    if (state.empty()) return true;
    if (state == "finished") {
        unfinished = false;
        return true;
    }
    if (const std::optional<std::int64_t> ending = ending_of(state); ending && state != "failed") {
        filter.state = State::failed;
        filter.ending = ending;
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

BACKLITE_DECL std::optional<std::int64_t> Pages::ending_of(std::string_view state) {
    for (const TaskState known : {TaskState::failed, TaskState::cancelled, TaskState::expired}) {
        if (backlite::to_string(known) == state) return static_cast<std::int64_t>(known);
    }
    return std::nullopt;
}

BACKLITE_DECL std::vector<TaskState> Pages::states_of(std::string_view list, std::string_view state) {
    using enum TaskState;
    const bool search = list == "search";
    if (state.empty()) {
        if (list == "running") return {running};
        if (list == "upcoming") return {waiting, scheduled, retrying, held};
        if (list == "succeeded") return {succeeded};
        if (list == "failed") return {failed, cancelled, expired};
        return {any};
    }
    if (search || list == "upcoming") {
        if (state == "waiting") return {waiting};
        if (state == "scheduled") return {scheduled, retrying};
        if (list == "upcoming" && state == "retrying") return {retrying};
    }
    if (search && state == "claimed") return {running};
    if (search && state == "finished") return {succeeded, failed, cancelled, expired};
    if (search && state == "succeeded") return {succeeded};
    if (search && state == "failed") return {failed, cancelled, expired};
    if (search || list == "failed") {
        if (ending_of(state)) return {static_cast<TaskState>(*ending_of(state))};
    }
    return {};
}

BACKLITE_DECL Pages::Wanted Pages::wanted(const View& view, std::string_view list) const {
    Wanted found;
    Filter narrow;
    const bool search = list == "search";
    const std::string_view part = search ? view.get("part") : std::string_view{};
    std::vector<TaskState> states = states_of(list, view.get("state"));
    if (part == "finished" || (search && !view.get("ended").empty())) {
        if (view.get("state").empty()) states = states_of(list, "finished");
        std::erase_if(states, [](TaskState one) noexcept { return one < TaskState::succeeded; });
    } else if (part == "unfinished") {
        if (view.get("state").empty()) {
            states = states_of("upcoming", {});
            states.push_back(TaskState::running);
        }
        std::erase_if(states, [](TaskState one) noexcept { return one >= TaskState::succeeded; });
    }
    if (states.empty() || !read_filter(view, narrow)) {
        found.fault = "What narrows the list cannot be understood.";
        return found;
    }
    if (hides_text() && !narrow.text.empty()) {
        found.fault = "Payloads and errors are hidden here, so they are not searched: pick the tasks that are meant.";
        return found;
    }
    for (const TaskState state : states) {
        TaskFilter filter{.queue = narrow.queue, .state = state, .text = narrow.text};
        if (narrow.since) filter.since = backlite::detail::from_ms(*narrow.since);
        if (narrow.until) filter.until = backlite::detail::from_ms(*narrow.until);
        if (filter.empty()) {
            found.filters.clear();
            found.fault = "Nothing narrows the search: name a queue, a state, a text or a time.";
            return found;
        }
        found.words += fmt::format("{}{}", found.words.empty() ? "" : " or ", backlite::to_string(state));
        found.filters.push_back(std::move(filter));
    }
    if (!narrow.queue.empty()) found.words += fmt::format(", of queue {}", visible_name(narrow.queue));
    if (!narrow.text.empty()) found.words += fmt::format(", with \"{}\"", narrow.text);
    if (narrow.since) found.words += fmt::format(", since {}", utc_text(*narrow.since));
    if (narrow.until) found.words += fmt::format(", until {}", utc_text(*narrow.until));
    return found;
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
        const Duration step = period->period.length / static_cast<std::int64_t>(period->period.steps);
        filter.since = view.now - view.now % step - period->period.length + step;
    }
    const std::optional<Window> window = window_of(view);
    if (window && window->since) filter.since = window->since;
    if (window && window->until) filter.until = window->until;
    return window && (view.get("order").empty() || filter.any_order) && filter.text.size() <= 200 &&
           filter.queue.size() <= 1'000;
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

BACKLITE_DECL void Pages::hide(std::vector<TaskLine>& lines, std::string_view part) const {
    hide_errors(lines);
    cut_payloads(lines, part);
}

BACKLITE_DECL void Pages::hide_errors(std::vector<TaskLine>& lines) const {
    if (!options_.redact) return;
    for (TaskLine& line : lines) {
        if (!line.error.empty()) line.error = "(hidden)";
    }
}

BACKLITE_DECL void Pages::cut_payloads(std::vector<TaskLine>& lines, std::string_view part) const {
    const bool searched = !part.empty() && !hides_text();
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
