// SPDX-License-Identifier: MIT
// The commands that change something.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/admin.hpp>

#include "commands.hpp"
#include "output.hpp"

namespace tool {
namespace {

using backlite::Admin;
using backlite::Affected;
using backlite::Bulk;
using backlite::TaskFilter;
using backlite::TaskId;
using backlite::TaskState;

struct Action {
    std::string_view name;
    std::string_view did;
    std::string_view skips;         ///< which tasks it leaves alone
    std::vector<TaskState> states;  ///< of which tasks, unless the user says
    std::function<Affected(const Admin&, const TaskId&)> one;
    std::function<Affected(const Admin&, const TaskFilter&, const Bulk&)> many;
};

Action action_of(const Options& options) {
    using enum TaskState;
    const std::vector<TaskState> unfinished{running, held, retrying, scheduled, waiting};
    if (options.command == "retry") {
        return {"retry",
                "retried",
                "those that are unfinished or succeeded, whose payload was not kept, or whose unique key another has",
                {failed},
                [](const Admin& a, const TaskId& id) { return a.retry(id); },
                [](const Admin& a, const TaskFilter& f, const Bulk& b) { return a.retry(f, b); }};
    }
    if (options.command == "cancel") {
        return {"cancel",
                "cancelled",
                "those that have finished",
                unfinished,
                [](const Admin& a, const TaskId& id) { return a.cancel(id); },
                [](const Admin& a, const TaskFilter& f, const Bulk& b) { return a.cancel(f, b); }};
    }
    if (options.command == "remove" || options.command == "purge") {
        std::vector<TaskState> states{any};
        if (options.command == "purge") states = {succeeded, failed, cancelled, expired};
        return {options.command,
                "deleted",
                "those that run: cancel them first",
                states,
                [](const Admin& a, const TaskId& id) { return a.remove(id); },
                [](const Admin& a, const TaskFilter& f, const Bulk& b) { return a.remove(f, b); }};
    }
    if (options.command == "run-now") {
        return {"run-now",
                "made due",
                "those that do not wait for a later time",
                {retrying, scheduled},
                [](const Admin& a, const TaskId& id) { return a.run_now(id); },
                [](const Admin& a, const TaskFilter& f, const Bulk& b) { return a.run_now(f, b); }};
    }
    if (!options.priority) throw UsageFault("prioritize: say --priority N");
    const int n = *options.priority;
    return {"prioritize",
            "changed",
            "those that have this priority, or have finished",
            unfinished,
            [n](const Admin& a, const TaskId& id) { return a.set_priority(id, n); },
            [n](const Admin& a, const TaskFilter& f, const Bulk& b) { return a.set_priority(f, n, b); }};
}

/// The filters of the states that are meant.
std::vector<TaskFilter> filters_of(const Options& options, const Action& action) {
    std::vector<TaskFilter> filters;
    for (const TaskState state : action.states) {
        TaskFilter filter = options.filter;
        if (filter.state == TaskState::any) filter.state = state;
        filters.push_back(std::move(filter));
        if (options.filter.state != TaskState::any) break;
    }
    return filters;
}

/// How many tasks that is by now, up to a bound; and whether there are more.
std::pair<std::size_t, bool> count(const Admin& admin, const std::vector<TaskFilter>& filters) {
    constexpr std::size_t most = 100'000;
    std::size_t found = 0;
    for (const TaskFilter& filter : filters) {
        backlite::Page page{.limit = 10'000};
        do {
            const backlite::TaskPage one = admin.tasks(filter, page);
            found += one.tasks.size();
            if (found > most) return {most, true};
            page.after = one.next;
        } while (page.after);
    }
    return {found, false};
}

int report(const Options& options, const Action& action, const Affected& sum) {
    if (options.format == Format::json) {
        print({{"changed", sum.count}, {"skipped", sum.skipped}});
    } else if (options.format == Format::plain) {
        fmt::print("{}\t{}\n", sum.count, sum.skipped);
    } else {
        fmt::print("{} {}{}\n", sum.count, action.did,
                   sum.skipped > 0 ? fmt::format(", {} skipped ({})", sum.skipped, action.skips) : "");
    }
    return sum.count > 0 ? done : nothing;
}

/// Nothing was found: in which states was looked, since the user may have meant others.
void say_where_it_looked(const Options& options, const Action& action) {
    if (options.format != Format::table || options.filter.state != TaskState::any) return;
    if (action.states.front() == TaskState::any) return;
    std::string states;
    for (const TaskState state : action.states)
        states += fmt::format("{}{}", states.empty() ? "" : ", ", to_string(state));
    fmt::print(stderr, "no task that is {} fits; `backlite ls` with the same options lists those that do\n", states);
}

/// Whether a task that was cancelled is still being run.
bool runs_on(const Admin& admin, const std::string& id) {
    const auto task = admin.task(TaskId::from_text(id));
    return task && task->cancel_requested;
}

/// Asks first. nullopt: the user said no.
std::optional<Affected> change_many(const Options& options, const Admin& admin, const Action& action) {
    const bool purges = options.command == "purge";
    if (options.filter.empty() && !options.filter.all && !purges) {
        throw UsageFault(
            fmt::format("{}: say which tasks: ids, or --queue, --state, --text, --tag, --id, --since, "
                        "--until; or --all",
                        options.command));
    }
    const std::vector<TaskFilter> filters = filters_of(options, action);
    if (!options.yes) {
        const auto [found, more] = count(admin, filters);
        if (found == 0) return Affected{};
        const std::string question =
            fmt::format("{} {}{} {}?", action.name, more ? "more than " : "", found, found == 1 ? "task" : "tasks");
        if (!confirm(question)) {
            fmt::print(stderr, "{} Nothing was changed; say --yes if nobody is there to ask.\n", question);
            return std::nullopt;
        }
    }
    Affected sum;
    for (const TaskFilter& filter : filters) {
        const Affected part = action.many(admin, filter, {});
        sum.count += part.count;
        sum.skipped += part.skipped;
    }
    return sum;
}

}  // namespace

int act(const Options& options) {
    const Action action = action_of(options);
    if (!options.operands.empty() && !options.filter.empty()) {
        throw UsageFault(options.command + ": name tasks by id or by a filter, not both");
    }
    const Admin admin{options.file};
    if (options.operands.empty()) {
        const auto sum = change_many(options, admin, action);
        if (!sum) return refused;
        if (*sum == Affected{}) say_where_it_looked(options, action);
        return report(options, action, *sum);
    }
    Affected sum;
    for (const std::string& id : options.operands) {
        const Affected one = action.one(admin, TaskId::from_text(id));
        if (one == Affected{}) fmt::print(stderr, "there is no task {}{}\n", shown(id), begins_so(admin, options, id));
        if (options.command == "cancel" && one.count > 0 && runs_on(admin, id)) {
            fmt::print(stderr, "{} runs: it was asked to stop, and ends with this attempt\n", shown(id));
        }
        sum.count += one.count;
        sum.skipped += one.skipped;
    }
    return report(options, action, sum);
}

int pause_or_resume(const Options& options) {
    if (options.operands.empty()) throw UsageFault(options.command + ": name the queues");
    const Admin admin{options.file};
    std::set<std::string> known;
    for (const auto& queue : admin.queues()) known.insert(queue.name);
    for (const std::string& queue : options.operands) {
        if (options.command == "pause") {
            admin.pause(queue);
        } else {
            admin.resume(queue);
        }
        if (options.format == Format::table) fmt::print("{} is {}d\n", shown(queue), options.command);
        if (!known.contains(queue)) {
            fmt::print(stderr, "no queue {} has tasks by now; `backlite queues {}` lists those that have\n",
                       shown(queue), shown(options.file));
        }
    }
    return done;
}

int send_signal(const Options& options) {
    if (options.operands.size() != 3)
        throw UsageFault("signal: say the id of the task, the name and the value as JSON");
    const std::string& id = options.operands[0];
    const auto value = nlohmann::json::parse(options.operands[2], nullptr, false);
    if (value.is_discarded()) {
        throw UsageFault(
            fmt::format("signal: \"{}\" is no JSON; a text stands in quotes of its own", options.operands[2]));
    }
    switch (Admin{options.file}.signal(TaskId::from_text(id), options.operands[1], value)) {
        case backlite::SignalResult::sent:
            if (options.format == Format::table) fmt::print("sent to {}\n", shown(id));
            return done;
        case backlite::SignalResult::finished: fmt::print(stderr, "task {} has ended\n", shown(id)); break;
        case backlite::SignalResult::not_found: fmt::print(stderr, "there is no task {}\n", shown(id)); break;
    }
    return nothing;
}

int purge(const Options& options) {
    if (!options.operands.empty()) throw UsageFault("purge takes no ids: `backlite remove` does");
    if (options.filter.state != TaskState::any && options.filter.state < TaskState::succeeded) {
        throw UsageFault("purge deletes finished tasks: `backlite remove` deletes others");
    }
    const Action action = action_of(options);
    std::uintmax_t before = 0;
    {
        const Admin admin{options.file};
        before = std::filesystem::file_size(options.file);
        const auto sum = change_many(options, admin, action);
        if (!sum) return refused;
        report(options, action, *sum);
    }
    SQLite::Database database(options.file, SQLite::OPEN_READWRITE, 5'000);
    const bool can = database.execAndGet("PRAGMA auto_vacuum").getInt() != 0;
    if (can) database.exec("PRAGMA incremental_vacuum");
    database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    const auto after = std::filesystem::file_size(options.file);
    if (options.format == Format::table) {
        fmt::print("the file had {}, and has {}\n", bytes_text(before), bytes_text(after));
        if (!can)
            fmt::print("It was not made by backlite, and gives room back by VACUUM alone, while nobody uses it.\n");
    }
    return done;
}

}  // namespace tool
