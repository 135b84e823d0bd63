// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/retry_pause.hpp>.

#include <backlite/core/retry_pause.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL bool RetryPause::failed(store::Trouble trouble, Steady::time_point now) noexcept {
    if (++failures_ == 1) since_ = now;
    const bool busy = trouble == store::Trouble::locked;
    // A lock is waited for anyhow before it is a failure: who rests longer and longer never gets it from one who
    // does not.
    const int doublings = busy ? 1 : (std::min)(failures_, 7);
    until_ = saturating_add(now, (std::min)(Duration{5} * (1 << doublings), most_));
    const bool brief = busy && now - since_ < busy_timeout_;
    return !brief && !std::exchange(told_, true);
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
