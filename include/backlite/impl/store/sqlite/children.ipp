// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/children.hpp>.

#include <algorithm>
#include <cstddef>

#include <backlite/base/format.hpp>
#include <backlite/store/sqlite/children.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Children::hold(std::span<const detail::NewTask> tasks) {
    const detail::Parents* of = nullptr;
    std::vector<Known> known;
    for (const detail::NewTask& task : tasks) {
        if (!task.parents || !task.inserted()) continue;
        // Most often, tasks that stand together have the same.
        if (of != task.parents.get()) {
            of = task.parents.get();
            known = resolve(*of, tasks);
        }
        if (known.empty()) continue;
        for (const Known& parent : known) {
            Run(db_, insert_, {parent.id, task.id.str(), static_cast<int>(parent.on_failure)}).change();
        }
        Run(db_, hold_, {task.id.str(), static_cast<std::int64_t>(known.size())}).change();
    }
}

BACKLITE_DECL void Children::join(std::span<const detail::NewTask> tasks, const detail::Parents::Join& join) {
    const std::string& flow = join.claim.id.str();
    std::int64_t number = detail::join_edge + static_cast<std::int64_t>(join.first);
    for (const detail::NewTask& task : tasks) {
        Run(db_, insert_, {task.id.str(), flow, number++}).change();
        Run(db_, flag_, {task.id.str()}).change();
    }
    Run(db_, hold_, {flow, static_cast<std::int64_t>(tasks.size())}).change();
}

BACKLITE_DECL std::vector<TaskId> Children::parents_of(const TaskId& id, const std::string& after, int limit) {
    std::vector<TaskId> found;
    Run run(db_, parents_of_, {id.str(), after, limit});
    while (run.step()) found.push_back(TaskId::from_text(std::string{run.bytes(0)}));
    return found;
}

BACKLITE_DECL auto Children::resolve(const detail::Parents& parents, std::span<const detail::NewTask> tasks)
    -> std::vector<Known> {
    std::vector<Known> found;
    for (const detail::Parents::Parent& parent : parents.known) resolve(parent.id, parent.on_failure, found);
    for (const detail::NewTask& task : tasks.subspan(parents.first, parents.count)) {
        resolve(task.inserted() ? task.id : task.unique->existing, OnParentFailure::cancel, found);
    }
    // Of two that are the same, the one that cancels counts.
    std::sort(found.begin(), found.end(), [](const Known& a, const Known& b) {
        return std::pair{std::string_view{a.id}, static_cast<int>(a.on_failure)} <
               std::pair{std::string_view{b.id}, static_cast<int>(b.on_failure)};
    });
    found.erase(std::unique(found.begin(), found.end(), [](const Known& a, const Known& b) { return a.id == b.id; }),
                found.end());
    return found;
}

BACKLITE_DECL void Children::resolve(const TaskId& id, OnParentFailure on_failure, std::vector<Known>& found) {
    std::optional<bool> flagged;
    {
        Run run(db_, unfinished_, {id.str()});
        if (run.step()) flagged = run.integer(0) != 0;
    }
    if (flagged) {
        if (!*flagged) Run(db_, flag_, {id.str()}).change();
    } else {
        if (on_failure == OnParentFailure::run) return;
        {
            Run run(db_, succeeded_, {id.str()});
            if (!run.step() || run.integer(0) != 0) return;
        }
        ends_.mark(id.str(), false);
    }
    found.push_back({id.str(), on_failure});
}

BACKLITE_DECL auto Children::work(detail::Ms now, const Keep& keep, int most, Isolation* apart) -> Work {
    Work done;
    for (bool progress = true; progress;) {  // a child that was cancelled leaves a mark, perhaps before this place
        progress = false;
        for (std::string parent;;) {
            bool succeeded = false;
            {
                Run run(db_, next_mark_, {parent});
                if (!run.step()) break;
                parent = run.bytes(0);
                succeeded = run.integer(1) != 0;
            }
            if (most <= 0) {
                done.left = true;
                return done;
            }
            std::vector<Edge> edges;
            {
                Run run(db_, children_, {parent, most});
                while (run.step()) {
                    edges.push_back({std::string{run.bytes(0)},
                                     run.integer(1) == 0 ? OnParentFailure::cancel : OnParentFailure::run});
                }
            }
            bool all = edges.size() < static_cast<std::size_t>(most);
            for (const Edge& edge : edges) {
                auto refused = attempt(apart, db_, "child", parent + " " + edge.child,
                                       [&] { see_to(parent, succeeded, edge, now, keep, done.cancelled); });
                if (refused) {
                    done.refused = std::move(refused);
                    all = false;
                } else {
                    progress = true;
                }
            }
            most -= static_cast<int>(edges.size());
            if (!all) continue;
            Run(db_, remove_, {parent, ""}).change();
            progress = true;
            --most;
        }
    }
    done.left = done.refused.has_value();
    return done;
}

BACKLITE_DECL void Children::see_to(const std::string& parent, bool succeeded, const Edge& edge, detail::Ms now,
                                    const Keep& keep, std::vector<EndedChild>& cancelled) {
    Run(db_, remove_, {parent, edge.child}).change();
    std::string queue;
    std::int64_t reasons = 0;
    bool waits = false;
    detail::Ms due{};
    {
        Run run(db_, child_, {edge.child});
        if (!run.step()) return;
        queue = run.bytes(0);
        reasons = run.integer(1);
        waits = run.integer(2) != 0;
        due = run.time(3);
    }
    if (reasons < hold::parent) return;  // others have changed it
    if (succeeded || edge.on_failure == OnParentFailure::run || !waits) {
        Run(db_, free_, {edge.child}).change();
        if (reasons == hold::parent && waits) ends_.note({std::move(queue), due});
        return;
    }
    const std::string text = detail::format("cancelled: task {}, which it waited for, has not succeeded", {parent});
    cancels_.end_child(edge.child, now, keep ? keep(queue) : KeepRule{}, text);
    Run(db_, remove_of_child_, {edge.child}).change();
    cancelled.push_back({TaskId::from_text(edge.child), std::move(queue)});
}

BACKLITE_DECL std::optional<std::string> Children::sweep(const std::string& from, int most) {
    std::string parent = from;
    for (; most > 0; --most) {
        {
            Run run(db_, next_parent_, {parent});
            if (!run.step()) return std::nullopt;
            parent = run.bytes(0);
        }
        {
            Run run(db_, unfinished_, {parent});
            if (run.step()) {
                if (run.integer(0) != 0) continue;
            } else {
                Run kept(db_, succeeded_, {parent});
                const bool succeeded = !kept.step() || kept.integer(0) != 0;
                ends_.mark(parent, succeeded);
                continue;
            }
        }
        Run(db_, flag_, {parent}).change();
    }
    return parent;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
