// SPDX-License-Identifier: MIT
#pragma once
// Walks a folder, and brings the list of files up to date: new and changed files get a task, vanished ones leave.

#include <atomic>
#include <cstdint>
#include <exception>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <sys/types.h>

#include <backlite/backlite.hpp>

#include "index.hpp"

namespace file_index {

/// Walks on a thread of its own, from construction on, and lets the tasks run meanwhile.
/// Threads: any. The destructor stops the walk and waits for it.
class Walk {
public:
    /// REQUIRES: `folder` is absolute; client and index tables are there, and outlive it.
    Walk(backlite::Client& client, std::string database, std::string folder);

    /// How many files were found so far, and how many of them got a task.
    [[nodiscard]] std::uint64_t found() const noexcept { return found_; }
    [[nodiscard]] std::uint64_t added() const noexcept { return added_; }
    [[nodiscard]] bool finished() const noexcept { return finished_; }

    /// Stops it if it is not finished, and waits. Errors: what went wrong during the walk.
    void stop();

    // REQUIRES: finished or stopped.

    [[nodiscard]] std::uint64_t removed() const noexcept { return removed_; }
    /// Folders that could not be read.
    [[nodiscard]] const std::vector<Problem>& problems() const noexcept { return problems_; }

private:
    void run(const std::stop_token& stop);
    void walk(const std::stop_token& stop);
    void visit(const std::string& folder, std::vector<std::string>& subfolders);
    void visit_file(const std::string& path, const Stamp& stamp);
    void flush();
    void remove_vanished(std::int64_t last_id);
    [[nodiscard]] bool in_progress(const FileRow& row);

    // constant after construction
    backlite::Client& client_;
    const std::string database_;
    const std::string folder_;

    // the walk's own, until it is finished
    Index index_;
    std::vector<std::pair<dev_t, ino_t>> own_files_{};  ///< the database's own
    std::vector<std::string> batch_{};
    std::unordered_set<std::int64_t> seen_{};
    std::vector<Problem> problems_{};
    std::uint64_t removed_ = 0;
    std::exception_ptr error_{};

    std::atomic<std::uint64_t> found_{0};
    std::atomic<std::uint64_t> added_{0};
    std::atomic<bool> finished_{false};
    std::jthread thread_{};
};

}  // namespace file_index
