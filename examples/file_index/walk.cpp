// SPDX-License-Identifier: MIT
#include "walk.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <system_error>

#include "task.hpp"

namespace file_index {

namespace fs = std::filesystem;

namespace {

// So many files are recorded, and their tasks added, in one transaction: it keeps the workers from writing for a few
// milliseconds.
constexpr std::size_t batch_size = 200;

}  // namespace

Walk::Walk(backlite::Client& client, std::string database, std::string folder)
    : client_(client), database_(std::move(database)), folder_(std::move(folder)), index_(database_) {
    for (const char* suffix : {"", "-wal", "-shm", "-backlite"}) {
        struct ::stat found {};
        if (::stat((database_ + suffix).c_str(), &found) == 0) own_files_.emplace_back(found.st_dev, found.st_ino);
    }
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void Walk::stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
    if (error_) std::rethrow_exception(error_);
}

void Walk::run(const std::stop_token& stop) {
    try {
        walk(stop);
    } catch (...) {
        error_ = std::current_exception();
    }
    finished_ = true;
}

void Walk::walk(const std::stop_token& stop) {
    const std::int64_t last_id = index_.last_id();
    std::vector<std::string> folders{folder_};
    while (!folders.empty() && !stop.stop_requested()) {
        const std::string folder = std::move(folders.back());
        folders.pop_back();
        visit(folder, folders);
    }
    flush();
    // Only a whole walk tells what is not there any more.
    if (!stop.stop_requested()) remove_vanished(last_id);
}

void Walk::visit(const std::string& folder, std::vector<std::string>& subfolders) {
    std::vector<std::string> paths;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
        paths.push_back(at->path().native());
    }
    if (error && error != std::errc::no_such_file_or_directory) problems_.push_back({folder, error.message()});
    std::sort(paths.begin(), paths.end());
    const std::size_t before = subfolders.size();
    for (const std::string& path : paths) {
        struct ::stat found {};
        if (::lstat(path.c_str(), &found) != 0) {
            if (errno != ENOENT) problems_.push_back({path, std::generic_category().message(errno)});
            continue;
        }
        // Nothing else is looked at: what a link leads to is found where it lies, and pipes and devices have no end.
        if (S_ISDIR(found.st_mode)) subfolders.push_back(path);
        if (!S_ISREG(found.st_mode)) continue;
        // Reading and closing the database's files would drop SQLite's locks on them ("How To Corrupt An SQLite
        // Database File", 2.2).
        const std::pair identity{found.st_dev, found.st_ino};
        if (std::find(own_files_.begin(), own_files_.end(), identity) == own_files_.end()) {
            visit_file(path, stamp_of(found));
        }
    }
    std::reverse(subfolders.begin() + static_cast<std::ptrdiff_t>(before), subfolders.end());  // the first comes next
}

void Walk::visit_file(const std::string& path, const Stamp& stamp) {
    ++found_;
    if (const std::optional<FileRow> row = index_.find(path)) {
        seen_.insert(row->id);
        if (row->task.empty() ? row->indexed == stamp : in_progress(*row)) return;
    }
    batch_.push_back(path);
    if (batch_.size() == batch_size) flush();
}

// A task that waits since an earlier run will read the file as it is by then.
bool Walk::in_progress(const FileRow& row) {
    const backlite::TaskStatus status = client_.status(backlite::TaskId::parse(row.task));
    return status == backlite::TaskStatus::pending || status == backlite::TaskStatus::running;
}

// Files and tasks in one transaction: there is never a file that nobody will read, nor a task without its file.
void Walk::flush() {
    if (batch_.empty()) return;
    backlite::Transaction tx(client_, index_.database());
    std::vector<IndexFile> tasks;
    for (const std::string& path : batch_) tasks.push_back({index_.record(path)});
    const std::vector<backlite::TaskId> ids = client_.add(tasks).tx(tx).save();
    for (std::size_t i = 0; i < tasks.size(); ++i) index_.set_task(tasks[i].file_id, ids[i].str());
    tx.commit();
    for (const IndexFile& task : tasks) seen_.insert(task.file_id);
    added_ += tasks.size();
    batch_.clear();
}

void Walk::remove_vanished(std::int64_t last_id) {
    std::vector<std::int64_t> vanished;
    for (const std::int64_t id : index_.files_below(folder_, last_id)) {
        if (!seen_.contains(id)) vanished.push_back(id);
    }
    for (std::size_t first = 0; first < vanished.size(); first += batch_size) {
        const std::size_t last = (std::min)(first + batch_size, vanished.size());
        index_.remove({vanished.begin() + static_cast<std::ptrdiff_t>(first),
                       vanished.begin() + static_cast<std::ptrdiff_t>(last)});
    }
    removed_ = vanished.size();
}

}  // namespace file_index
