// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/process.hpp>.

#include <backlite/platform/process.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL std::string process_name(int pid) {
    std::array<char, 32> name{};
    const std::unique_ptr<std::FILE, FromC> comm{std::fopen(detail::format("/proc/{}/comm", {pid}).c_str(), "re")};
    if (comm) (void)std::fscanf(comm.get(), "%31[^\n]", name.data());
    return name.data();
}

BACKLITE_DECL std::vector<ProcessLock> process_locks(std::uint64_t inode) {
    const std::string wanted = ":" + std::to_string(inode);
    std::vector<ProcessLock> found;
    const std::unique_ptr<std::FILE, FromC> locks{std::fopen("/proc/locks", "re")};
    std::array<char, 256> line{};
    while (locks && std::fgets(line.data(), 256, locks.get()) != nullptr) {
        std::array<char, 64> file{};
        char type = 0;
        ProcessLock lock;
        if (std::sscanf(line.data(), "%*d: POSIX %*s %c%*s %d %63s %ld %ld", &type, &lock.pid, file.data(), &lock.first,
                        &lock.last) != 5 ||
            !std::string_view{file.data()}.ends_with(wanted)) {
            continue;
        }
        lock.shared = type == 'R';
        lock.file = file.data();
        found.push_back(std::move(lock));
    }
    return found;
}

BACKLITE_DECL void end_process(std::string_view message) noexcept {
    if (::write(STDERR_FILENO, message.data(), message.size()) < 0) {  // nobody to tell
    }
    ::_exit(1);
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
