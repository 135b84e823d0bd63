// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/side_files.hpp>.

#include <backlite/store/sqlite/views/side_files.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::optional<std::vector<Inside>> read_inside(int file, const Process& process) {
    if (process.workers < 1 || process.workers > OwnerLock::max_workers) return std::nullopt;
    const auto workers = static_cast<unsigned>(process.workers);
    std::string region(OwnerLock::size_of(workers), '\0');
    const ssize_t size = ::pread(file, region.data(), region.size(), OwnerLock::offset_of(process.slot));
    if (size != static_cast<ssize_t>(region.size())) return std::nullopt;
    std::vector<Inside> inside;
    for (const RecordView& record : OwnerLock::records_in(region, workers)) {
        if (record.state == RecordState::inside) inside.push_back({record.claim, record.id_hash});
    }
    return inside;
}

BACKLITE_DECL void find_living(const std::string& database, std::vector<Process>& processes) noexcept {
    if (processes.empty()) return;
    try {
        const std::string side_file = platform::resolve(database) + "-backlite";
        const int file = ::open(side_file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (file < 0) {
            if (errno != ENOENT) return;
            for (Process& process : processes) process.alive = false;
            return;
        }
        const struct Close {
            int file;
            ~Close() { ::close(file); }
        } close{file};
        for (Process& process : processes) {
            if (process.slot >= OwnerLock::max_slots) continue;
            struct ::flock probe {};
            probe.l_type = F_WRLCK;
            probe.l_whence = SEEK_SET;
            probe.l_start = OwnerLock::offset_of(process.slot);
            probe.l_len = 1;
            if (::fcntl(file, F_OFD_GETLK, &probe) == 0) process.alive = probe.l_type != F_UNLCK;
            if (process.alive == true) process.inside = read_inside(file, process);
        }
    } catch (...) {  // without memory nothing is known
    }
}

BACKLITE_DECL std::optional<std::int64_t> log_bytes(const std::string& database) {
    struct stat status {};
    if (::stat((database + "-wal").c_str(), &status) != 0) return std::nullopt;
    return status.st_size;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
