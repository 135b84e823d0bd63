// SPDX-License-Identifier: MIT
#pragma once
// Notices that SQLite's log grows because a reader does not end, and names it as far as the kernel does.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/process.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// The processes that read a database now, such as "71 (this process), 92 (sqlite3)", by their locks in its `-shm`
/// (sqlite.org/walformat.html, 2.3), which /proc/locks lists for all users; "unknown" where it does not, as it leaves
/// out other containers. Who writes holds such a lock too, so it looks again, a hundred times, while somebody does.
/// Opens nothing of the database: closing a descriptor of it drops SQLite's locks.
[[nodiscard]] std::string readers_of(const std::string& shm_file);

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
    void look(const detail::SafeLogger& tell, Steady::time_point now);

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

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/log_growth.ipp>
#endif
