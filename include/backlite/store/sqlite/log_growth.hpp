// SPDX-License-Identifier: MIT
#pragma once
// Notices that SQLite's log grows because a reader does not end, and names it as far as the kernel does.

#include <chrono>
#include <cstdint>
#include <string>

#include <backlite/base/safe_logger.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/sqlite/log_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// SQLite starts its log anew only once no connection reads what is in it, so one forgotten SELECT lets it grow without
/// bound. Told once when the log passes four times the size that is kept of it, again each time it has doubled, and
/// once when it is small again.
/// Threads: the dispatcher's.
class LogGrowth {
public:
    using Steady = std::chrono::steady_clock;

    /// `kept`: to how many bytes SQLite cuts the log back.
    explicit LogGrowth(const std::string& database, std::int64_t kept = kept_log_bytes)
        : database_(database), log_(log_file(database)), least_(4 * kept), next_(least_) {}

    /// Looks once a second at most.
    void look(const detail::SafeLogger& tell, Steady::time_point now);

private:
    // constant after construction
    const std::string database_;
    const std::string log_;
    const std::int64_t least_;

    std::int64_t next_;  ///< told at this size
    Steady::time_point again_{};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/log_growth.ipp>
#endif
