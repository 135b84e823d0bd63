// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/queue_rules.hpp>.

#include <algorithm>

#include <backlite/store/sqlite/queue_rules.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void QueueRules::read(std::span<QueueHead> heads) {
    for (QueueHead& head : heads) head.paused = false;
    Run run(db_, paused_);
    while (run.step()) {
        const std::string_view name = run.bytes(0);
        const auto head = std::lower_bound(heads.begin(), heads.end(), name,
                                           [](const QueueHead& each, std::string_view n) { return each.name < n; });
        if (head != heads.end() && head->name == name) head->paused = true;
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
