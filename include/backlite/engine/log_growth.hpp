// SPDX-License-Identifier: MIT
#pragma once
// Notices that SQLite's log grows because a reader does not end, and names it as far as the kernel does.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <backlite/base/format.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/sqlite/database_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// The processes that read a database now, such as "71 (this process), 92 (sqlite3)", by their locks in its `-shm`
/// (sqlite.org/walformat.html, 2.3), which /proc/locks lists for all users; "unknown" where it does not, as it leaves
/// out other containers. Who writes holds such a lock too, so it looks again, a hundred times, while somebody does.
/// Opens nothing of the database: closing a descriptor of it drops SQLite's locks.
[[nodiscard]] inline std::string readers_of(const std::string& shm_file) {
    using File = std::unique_ptr<std::FILE, store::sqlite::FromC>;
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

/// SQLite starts its log anew only once no connection reads what is in it, so one forgotten SELECT lets it grow without
/// bound. Told once when the log passes four times the size that is kept of it, again each time it has doubled, and
/// once when it is small again.
/// Looks at the size by the file's name and opens nothing: closing a descriptor of the log drops SQLite's locks.
/// Threads: the dispatcher's.
class LogGrowth {
public:
    using Steady = std::chrono::steady_clock;

    /// `kept`: to how many bytes SQLite cuts the log back.
    explicit LogGrowth(const std::string& database, std::int64_t kept = std::int64_t{64} << 20)
        : file_(database + "-wal"), shm_file_(database + "-shm"), least_(4 * kept), next_(least_) {}

    /// Looks once a second at most.
    void look(const detail::SafeLogger& tell, Steady::time_point now) {
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

private:
    // constant after construction
    const std::string file_;
    const std::string shm_file_;
    const std::int64_t least_;

    std::int64_t next_;  ///< told at this size
    Steady::time_point again_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
