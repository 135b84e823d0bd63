// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/base/times.hpp>.

#include <backlite/base/times.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

BACKLITE_DECL TimePoint from_ms(Ms time) noexcept {
    using std::chrono::duration_cast;
    constexpr std::int64_t most = duration_cast<Duration>((TimePoint::max)().time_since_epoch()).count();
    const std::int64_t ms = time.count();
    const std::int64_t held = ms > most ? most : ms < -most ? -most : ms;
    return TimePoint{duration_cast<TimePoint::duration>(Duration{held})};
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
