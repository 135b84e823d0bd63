// SPDX-License-Identifier: MIT
#pragma once
// What running tasks say of how far they are, until it is written.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Of what the tasks of a worker say, the last word counts, and it is written once in each `pause`. A task that ends
/// before is not written of. Each worker has a lock of its own: however often they speak, they are in nobody's way.
/// Threads: any, but for `due` and `written`, which are the dispatcher's.
class ProgressBoard {
public:
    using Steady = std::chrono::steady_clock;

    static constexpr Duration pause{1'000};

    explicit ProgressBoard(std::size_t workers) : places_(workers) {}
    ProgressBoard(const ProgressBoard&) = delete;
    ProgressBoard& operator=(const ProgressBoard&) = delete;

    /// The task of a worker says something. Whether the dispatcher has to be told, since it is to write sooner than it
    /// knows.
    /// Errors: std::bad_alloc; then what it said before counts.
    [[nodiscard]] bool say(std::size_t worker, const detail::ClaimedTask& task, double fraction,
                           std::string_view message, detail::Ms at, Steady::time_point now);

    /// The task of the worker is over. Costs nothing if it has said nothing.
    void left(std::size_t worker) noexcept;

    /// When there is something to write, or sooner.
    [[nodiscard]] Steady::time_point next() const noexcept {
        return Steady::time_point{Steady::duration{next_.load(std::memory_order_acquire)}};
    }

    /// What is to be written by now. It stays until it was written. Errors: std::bad_alloc.
    [[nodiscard]] std::vector<detail::ProgressNote> due(Steady::time_point now);

    void written(const std::vector<detail::ProgressNote>& notes, Steady::time_point now) noexcept;

private:
    struct Place {
        Place() noexcept = default;
        std::atomic<bool> unwritten{false};  ///< changed under the lock
        detail::Mutex mutex{};
        detail::ProgressNote note BACKLITE_GUARDED_BY(mutex){};
        Steady::time_point next BACKLITE_GUARDED_BY(mutex){};  ///< not written before
    };

    /// Whether it was later before.
    bool lower(Steady::time_point time) noexcept;
    void find_next() noexcept;

    std::vector<Place> places_;  ///< by worker; never moved
    std::atomic<Steady::rep> next_{(Steady::time_point::max)().time_since_epoch().count()};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/progress_board.ipp>
#endif
