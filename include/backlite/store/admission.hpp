// SPDX-License-Identifier: MIT
#pragma once
// May a due task start now, beside those that run? One answer for every store's claim and for the hand-off.

#include <cstddef>
#include <cstdint>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

enum class Admission {
    yes,
    waits_for_crashed,  ///< until no task runs that it must not run beside
    waits_for_worker,   ///< it is claimed for a worker that is free, never ahead
};

/// What runs in this client, or was claimed to.
struct Neighbours {
    std::size_t free_workers = 0;
    bool crashed = false;      ///< a task that has crashed a process
    bool last_chance = false;  ///< one of those that may crash only once more
};

/// A task has crashed processes so many times; at `max_crashes` it fails without running. When a process dies, each
/// task that ran in it is charged. So a task that can bear no further crash runs beside none that is suspected of them.
[[nodiscard]] constexpr Admission admission(std::int64_t crashes, int max_crashes, const Neighbours& beside) noexcept {
    const bool suspect = crashes > 0 && crashes < max_crashes;
    const bool last_chance = crashes == max_crashes - 1;
    if (last_chance && beside.crashed) return Admission::waits_for_crashed;
    if (suspect && beside.last_chance) return Admission::waits_for_crashed;
    if (suspect && beside.free_workers == 0) return Admission::waits_for_worker;
    return Admission::yes;
}

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
