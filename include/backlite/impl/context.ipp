// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/context.hpp>.

#include <backlite/context.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

BACKLITE_DECL bool StopSignal::fire(StopReason reason) noexcept {
    StopReason none = StopReason::none;
    if (!reason_.compare_exchange_strong(none, reason)) return false;
    source_.request_stop();
    return true;
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
