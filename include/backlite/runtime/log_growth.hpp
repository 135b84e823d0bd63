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

#include <backlite/format.hpp>
#include <backlite/logger.hpp>
#include <backlite/storage/database_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace runtime {

/// The processes that read a database now, such as "71 (this process), 92 (sqlite3)", by their locks in its `-shm`
/// (sqlite.org/walformat.html, 2.3), which /proc/locks lists for all users; "unknown" where it does not, as it leaves
/// out other containers. Who writes holds such a lock too, so it looks again, a hundred times, while somebody does.
/// Opens nothing of the database: closing a descriptor of it drops SQLite's locks.
[[nodiscard]] inline std::string readers_of(const std::string& shm_file) {
    struct Lock {
        std::string file;
        int pid;
        bool reads;
    };
    struct ::stat status {};
    if (::stat(shm_file.c_str(), &status) != 0) return "unknown";
    const std::string inode = ":" + std::to_string(status.st_ino);
    std::vector<Lock> locks;
    bool written = true;
    for (int round = 0; written && round < 100; ++round) {
        locks.clear();
        written = false;
        const std::unique_ptr<std::FILE, storage::FromC> list{std::fopen("/proc/locks", "re")};
        std::array<char, 256> line{};
        while (list && std::fgets(line.data(), static_cast<int>(line.size()), list.get()) != nullptr) {
            std::array<char, 16> type{};
            std::array<char, 64> file{};
            Lock lock{};
            long first = 0;
            long last = 0;
            if (std::sscanf(line.data(), "%*d: POSIX %*s %15s %d %63s %ld %ld", type.data(), &lock.pid, file.data(),
                            &first, &last) != 5) {
                continue;
            }
            lock.file = file.data();
            if (!lock.file.ends_with(inode)) continue;
            written = written || (first <= 120 && last >= 120);
            lock.reads = std::string_view{type.data()} == "READ" && first <= 127 && last >= 123;
            locks.push_back(std::move(lock));
        }
    }
    std::string readers;
    std::vector<int> named;
    for (const Lock& lock : locks) {
        // Of files with this inode it is the one that this process has open: it holds a lock for that alone. The
        // device would not do, some file systems tell another one.
        const bool same = std::any_of(locks.begin(), locks.end(),
                                      [&](const Lock& own) { return own.pid == ::getpid() && own.file == lock.file; });
        if (!same || !lock.reads || std::find(named.begin(), named.end(), lock.pid) != named.end()) continue;
        named.push_back(lock.pid);
        std::array<char, 32> name{};
        const std::string pid = std::to_string(lock.pid);
        const std::unique_ptr<std::FILE, storage::FromC> comm{std::fopen(("/proc/" + pid + "/comm").c_str(), "re")};
        if (comm) (void)std::fscanf(comm.get(), "%31[^\n]", name.data());
        readers += detail::format(
            "{}{} ({})", {readers.empty() ? "" : ", ", pid, lock.pid == ::getpid() ? "this process" : name.data()});
    }
    return readers.empty() ? "unknown" : readers;
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
    void look(const Log& tell, Steady::time_point now) {
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

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
