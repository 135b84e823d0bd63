// SPDX-License-Identifier: MIT
#pragma once
// How busy the workers are.

#include <chrono>
#include <cstddef>

#include <backlite/base/times.hpp>
#include <backlite/store/admission.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// How busy the workers are, at one moment.
struct PoolLoad {
    std::size_t idle = 0;  ///< workers without a task
    std::size_t running = 0;
    std::size_t ready = 0;         ///< claimed tasks that no worker has taken yet; a batch counts as one
    std::size_t ready_others = 0;  ///< the other tasks of those batches
    detail::Us ready_work{};       ///< how long those are expected to run, all together
    std::size_t ready_bytes = 0;   ///< their payloads, all together
    std::size_t finished = 0;      ///< outcomes not yet taken
    bool low = true;               ///< few enough tasks are ready that it is time for more
    std::chrono::steady_clock::time_point oldest_finished = (std::chrono::steady_clock::time_point::max)();
    std::chrono::steady_clock::time_point oldest_ready = (std::chrono::steady_clock::time_point::max)();
    bool crashed = false;      ///< running or ready: a task that has crashed a process
    bool last_chance = false;  ///< running or ready: one that may crash only once more

    /// The claims of what is ready.
    [[nodiscard]] std::size_t ready_tasks() const noexcept { return ready + ready_others; }
    /// Workers for which nothing is ready either.
    [[nodiscard]] std::size_t free_workers() const noexcept { return idle > ready ? idle - ready : 0; }
    /// What decides whether another task may start beside these.
    [[nodiscard]] store::Neighbours neighbours() const noexcept { return {free_workers(), crashed, last_chance}; }
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
