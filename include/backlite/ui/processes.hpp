// SPDX-License-Identifier: MIT
#pragma once
// Whether the processes that a file names are alive, asked of the kernel without becoming one of them.

#include <cerrno>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <backlite/storage/database_file.hpp>
#include <backlite/storage/owner_lock.hpp>
#include <backlite/ui/model.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// Sets `alive` of each process whose lock can be asked for; see OwnerLock. The side file is opened for reading and
/// never made: where it is missing nobody holds a lock. Closing it drops no lock, since those belong to descriptors.
inline void find_living(const std::string& database, std::vector<Process>& processes) noexcept {
    if (processes.empty()) return;
    try {
        const std::string side_file = storage::resolve(database) + "-backlite";
        const int file = ::open(side_file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (file < 0) {
            if (errno != ENOENT) return;
            for (Process& process : processes) process.alive = false;
            return;
        }
        for (Process& process : processes) {
            if (process.slot >= storage::OwnerLock::max_slots) continue;
            struct ::flock probe {};
            probe.l_type = F_WRLCK;
            probe.l_whence = SEEK_SET;
            probe.l_start = storage::OwnerLock::offset_of(process.slot);
            probe.l_len = 1;
            if (::fcntl(file, F_OFD_GETLK, &probe) == 0) process.alive = probe.l_type != F_UNLCK;
        }
        ::close(file);
    } catch (...) {  // without memory nothing is known
    }
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
