// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/labels.hpp>.

#include <string>

#include <backlite/store/sqlite/labels.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Labels::put(std::span<const detail::NewTask> tasks) {
    for (const detail::NewTask& task : tasks) {
        const bool replaces = task.unique && task.unique->as == AddedAs::replaced;
        if (replaces) forget(task.unique->existing);
        if (!task.labels || (!replaces && !task.inserted())) continue;
        put(replaces ? task.unique->existing : task.id, *task.labels);
    }
}

BACKLITE_DECL void Labels::put(const TaskId& id, const detail::TaskLabels& labels) {
    Run(db_, flag_, {id.str()}).change();
    for (const std::string& tag : labels.tags) Run(db_, put_tag_, {id.str(), tag}).change();
    if (!labels.metadata.empty()) Run(db_, put_metadata_, {id.str(), labels.metadata}).change();
}

BACKLITE_DECL void Labels::forget(const TaskId& id) {
    if (!Run(db_, flagged_, {id.str()}).step()) return;
    Run(db_, forget_tags_, {id.str()}).change();
    Run(db_, forget_metadata_, {id.str()}).change();
}

BACKLITE_DECL detail::TaskLabels Labels::read(const TaskId& id, std::size_t max_bytes) {
    detail::TaskLabels labels;
    {
        Run run(db_, tags_, {id.str()});
        while (run.step()) labels.tags.emplace_back(run.bytes(0));
    }
    Run run(db_, metadata_, {id.str(), static_cast<std::int64_t>(max_bytes)});
    if (run.step()) labels.metadata = run.bytes(0);
    return labels;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
