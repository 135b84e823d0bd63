// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/log_growth.hpp>.

#include <backlite/engine/log_growth.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL std::string readers_of(const std::string& shm_file) {
    const std::optional<platform::FileFacts> shm = platform::glance_at(shm_file);
    if (!shm) return "unknown";
    const int self = platform::own_pid();
    std::string own;  // among files with this inode number
    std::vector<std::pair<std::string, int>> readers;
    bool written = true;
    for (int round = 0; written && round < 100; ++round) {
        readers.clear();
        written = false;
        for (const platform::ProcessLock& lock : platform::process_locks(shm->identity.inode)) {
            if (lock.pid == self) own = lock.file;
            if (lock.first <= 120 && lock.last >= 120) written = true;
            const std::pair reader{lock.file, lock.pid};
            const bool reads = lock.shared && lock.first <= 127 && lock.last >= 123;
            if (reads && std::find(readers.begin(), readers.end(), reader) == readers.end()) readers.push_back(reader);
        }
    }
    std::string text;
    for (const auto& [file, pid] : readers) {
        if (file != own) continue;
        const std::string name = pid == self ? "this process" : platform::process_name(pid);
        text += detail::format("{}{} ({})", {text.empty() ? "" : ", ", pid, name});
    }
    return text.empty() ? "unknown" : text;
}

BACKLITE_DECL void LogGrowth::look(const detail::SafeLogger& tell, Steady::time_point now) {
    if (now < again_) return;
    again_ = now + std::chrono::seconds{1};
    const auto size = static_cast<std::int64_t>(platform::glance_at(file_).value_or(platform::FileFacts{}).size);
    if (size >= next_) {
        next_ = 2 * size;
        tell(LogLevel::warning, "the log of the database grows: a reader does not end",
             {{"file", file_}, {"bytes", size}, {"readers", readers_of(shm_file_)}});
    } else if (size < least_ && next_ != least_) {
        next_ = least_;
        tell(LogLevel::info, "the log of the database is small again", {{"file", file_}, {"bytes", size}});
    }
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
