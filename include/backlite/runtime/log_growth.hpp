// SPDX-License-Identifier: MIT
#pragma once
// Notices that SQLite's log grows because a reader does not end.

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include <sys/stat.h>

#include <backlite/logger.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace runtime {

/// SQLite starts its log anew only once no connection reads what is in it, so one forgotten SELECT lets it grow without
/// bound. Told once when the log passes four times the size that is kept of it, again each time it has doubled, and
/// once when it is small again.
/// Looks at the size by the file's name and opens nothing: closing a descriptor of the log drops SQLite's locks.
/// Threads: the dispatcher's.
class LogGrowth {
public:
    using Steady = std::chrono::steady_clock;

    /// `kept`: to how many bytes SQLite cuts the log back.
    explicit LogGrowth(std::string log_file, std::int64_t kept = std::int64_t{64} << 20)
        : file_(std::move(log_file)), least_(4 * kept), next_(least_) {}

    /// Looks once a second at most.
    void look(const Log& tell, Steady::time_point now) {
        if (now < again_) return;
        again_ = now + std::chrono::seconds{1};
        struct ::stat status {};
        const std::int64_t size = ::stat(file_.c_str(), &status) == 0 ? std::int64_t{status.st_size} : 0;
        if (size >= next_) {
            next_ = 2 * size;
            tell(LogLevel::warning, "the log of the database grows: a reader does not end",
                 {{"file", file_}, {"bytes", std::to_string(size)}});
        } else if (size < least_ && next_ != least_) {
            next_ = least_;
            tell(LogLevel::info, "the log of the database is small again",
                 {{"file", file_}, {"bytes", std::to_string(size)}});
        }
    }

private:
    // constant after construction
    const std::string file_;
    const std::int64_t least_;

    std::int64_t next_;  ///< told at this size
    Steady::time_point again_{};
};

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
