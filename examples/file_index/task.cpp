// SPDX-License-Identifier: MIT
#include "task.hpp"

#include <chrono>
#include <optional>

#include "text.hpp"

namespace file_index {

using namespace std::chrono_literals;

backlite::QueueConfig IndexFile::config() {
    return {.name = "index_file",
            .max_attempts = 3,  // for what may pass, such as a full disk
            .backoff = 200ms,
            .retention = backlite::Retention{.duration = 24h * 7, .only_failed = true}};
}

backlite::Outcome index_file(Index& index, const backlite::Context& context, const IndexFile& task) {
    const std::optional<FileRow> row = index.find(task.file_id);
    // Another task's business: this one has done its work already, or a newer one was added, or the file has left.
    if (!row || row->task != context.task_id().str()) return backlite::Outcome::success();
    try {
        if (const std::optional<FileText> text = read_text(row->path)) {
            index.store(*row, *text);
        } else {
            index.remove(*row);
        }
        return backlite::Outcome::success();
    } catch (const Unreadable& error) {
        index.clear(*row);
        return backlite::Outcome::discard(error.what());
    }
}

}  // namespace file_index
