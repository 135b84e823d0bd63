// SPDX-License-Identifier: MIT
#pragma once
// Processes and the last start as /proc tells of them.

#include <array>
#include <cstdio>
#include <memory>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/last_error.hpp>
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

BACKLITE_DECL std::string boot_id() {
    static const std::string& id = *new std::string([] {
        File file("/proc/sys/kernel/random/boot_id");
        std::array<char, 64> text{};
        int error = file.open_to_read() ? 0 : last_error();
        std::size_t size = 0;
        if (error == 0) {
            const std::optional<std::size_t> read = file.read_at(0, text.data(), text.size());
            error = read ? 0 : last_error();
            size = read.value_or(0);
        }
        const std::string_view line(text.data(), size);
        std::string found{line.substr(0, line.find('\n'))};
        if (found.empty()) {
            throw StorageError(
                detail::format("cannot read {}: {}; is /proc mounted?", {file.name(), error_text(error)}), cannot_open);
        }
        return found;
    }());  // never destroyed, as ForkHooks
    return id;
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
