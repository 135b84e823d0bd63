// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/log_file.hpp>.

#include <algorithm>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/process.hpp>
#include <backlite/store/sqlite/log_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::optional<std::int64_t> log_bytes(const std::string& database) {
    const std::optional<platform::FileFacts> found = platform::glance_at(log_file(database));
    if (!found) return std::nullopt;
    return static_cast<std::int64_t>(found->size);
}

BACKLITE_DECL std::string readers_of(const std::string& database) {
    const std::optional<platform::FileFacts> shm = platform::glance_at(shm_file(database));
    if (!shm) return "unknown";
    constexpr long write_lock = 120;  // bytes of the file
    constexpr long first_read_lock = 123;
    constexpr long last_read_lock = 127;
    const int self = platform::own_pid();
    std::string text;
    bool written = true;
    // The list is torn where locks of other files end while it is read: then somebody who reads may be missing.
    for (int round = 0; round < 100 && (written || (text.empty() && round < 10)); ++round) {
        std::string own;  // among files with this inode number
        std::vector<std::pair<std::string, int>> readers;
        written = false;
        for (const platform::ProcessLock& lock : platform::process_locks(shm->identity.inode)) {
            if (lock.pid == self) own = lock.file;
            if (lock.first <= write_lock && lock.last >= write_lock) written = true;
            const std::pair reader{lock.file, lock.pid};
            const bool reads = lock.shared && lock.first <= last_read_lock && lock.last >= first_read_lock;
            if (reads && std::find(readers.begin(), readers.end(), reader) == readers.end()) readers.push_back(reader);
        }
        text.clear();
        for (const auto& [file, pid] : readers) {
            if (file != own) continue;
            const std::string name = pid == self ? "this process" : platform::process_name(pid);
            text += detail::format("{}{} ({})", {text.empty() ? "" : ", ", pid, name});
        }
    }
    return text.empty() ? "unknown" : text;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
