// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/log_growth.hpp>.

#include <backlite/engine/log_growth.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL std::string readers_of(const std::string& shm_file) {
    using File = std::unique_ptr<std::FILE, platform::FromC>;
    struct ::stat status {};
    if (::stat(shm_file.c_str(), &status) != 0) return "unknown";
    const std::string inode = ":" + std::to_string(status.st_ino);
    std::string own;  // among files with this inode; some file systems name another device here than stat does
    std::vector<std::pair<std::string, int>> readers;
    bool written = true;
    for (int round = 0; written && round < 100; ++round) {
        readers.clear();
        written = false;
        const File locks{std::fopen("/proc/locks", "re")};
        std::array<char, 256> line{};
        while (locks && std::fgets(line.data(), 256, locks.get()) != nullptr) {
            std::array<char, 64> file{};
            char type = 0;
            int pid = 0;
            long first = 0;
            long last = 0;
            if (std::sscanf(line.data(), "%*d: POSIX %*s %c%*s %d %63s %ld %ld", &type, &pid, file.data(), &first,
                            &last) != 5 ||
                !std::string_view{file.data()}.ends_with(inode)) {
                continue;
            }
            if (pid == ::getpid()) own = file.data();
            if (first <= 120 && last >= 120) written = true;
            const std::pair reader{std::string{file.data()}, pid};
            const bool reads = type == 'R' && first <= 127 && last >= 123;
            if (reads && std::find(readers.begin(), readers.end(), reader) == readers.end()) readers.push_back(reader);
        }
    }
    std::string text;
    for (const auto& [file, pid] : readers) {
        if (file != own) continue;
        std::array<char, 32> name{};
        const File comm{std::fopen(detail::format("/proc/{}/comm", {pid}).c_str(), "re")};
        if (comm) (void)std::fscanf(comm.get(), "%31[^\n]", name.data());
        text += detail::format("{}{} ({})",
                               {text.empty() ? "" : ", ", pid, pid == ::getpid() ? "this process" : name.data()});
    }
    return text.empty() ? "unknown" : text;
}

BACKLITE_DECL void LogGrowth::look(const detail::SafeLogger& tell, Steady::time_point now) {
    if (now < again_) return;
    again_ = now + std::chrono::seconds{1};
    struct ::stat status {};
    const std::int64_t size = ::stat(file_.c_str(), &status) == 0 ? std::int64_t{status.st_size} : 0;
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
