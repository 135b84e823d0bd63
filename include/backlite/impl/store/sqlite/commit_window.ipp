// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/commit_window.hpp>.

#include <backlite/store/sqlite/commit_window.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void CommitWindow::begin(std::size_t expected, Steady::time_point now) noexcept {
    end();
    if (cost_ <= cheap || expected < 2) return;
    if ((++round_ & ((std::uint64_t{1} << misses_) - 1)) != 0) return;
    target_ = expected;
    until_ = now + cost_;
}

BACKLITE_DECL void CommitWindow::hit() noexcept {
    end();
    if (++hits_ < hits_to_trust) return;
    hits_ = 0;
    if (misses_ > 0) --misses_;
}

BACKLITE_DECL void CommitWindow::missed() noexcept {
    end();
    hits_ = 0;
    misses_ = (std::min)(misses_ + 1, most_misses);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
