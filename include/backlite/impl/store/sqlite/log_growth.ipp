// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/log_growth.hpp>.

#include <backlite/platform/file_identity.hpp>
#include <backlite/store/sqlite/log_growth.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void LogGrowth::look(const detail::SafeLogger& tell, Steady::time_point now) {
    if (now < again_) return;
    again_ = now + std::chrono::seconds{1};
    const auto size = static_cast<std::int64_t>(platform::glance_at(log_).value_or(platform::FileFacts{}).size);
    if (size >= next_) {
        next_ = 2 * size;
        tell(LogLevel::warning, "the log of the database grows: a reader does not end",
             {{"file", log_}, {"bytes", size}, {"readers", readers_of(database_)}});
    } else if (size < least_ && next_ != least_) {
        next_ = least_;
        tell(LogLevel::info, "the log of the database is small again", {{"file", log_}, {"bytes", size}});
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
