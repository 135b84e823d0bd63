// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/model.hpp>.

#include <backlite/store/model.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

BACKLITE_DECL std::optional<bool> is_entered(const std::vector<Process>& processes, std::optional<std::int64_t> owner,
                                             const Inside& task) noexcept {
    if (!owner) return std::nullopt;
    for (const Process& process : processes) {
        if (process.owner != *owner) continue;
        if (process.alive == false) return false;
        if (!process.inside) return std::nullopt;
        for (const Inside& entered : *process.inside) {
            const bool same = entered.batch != 0 ? entered.batch == task.batch
                                                 : entered.claim == task.claim && entered.id_hash == task.id_hash;
            if (same) return true;
        }
        return false;
    }
    return false;  // its client is gone
}

BACKLITE_DECL Counted& Counted::operator+=(const Counted& other) noexcept {
    succeeded += other.succeeded;
    failed += other.failed;
    attempts += other.attempts;
    duration += other.duration;
    added += other.added;
    retried += other.retried;
    started += other.started;
    wait += other.wait;
    return *this;
}

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
