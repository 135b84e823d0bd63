// SPDX-License-Identifier: MIT
#pragma once
// Whether a transaction should wait for more callers before it is committed.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Callers that add one task after the other come back as soon as their commit is over. Where a commit is dear, because
/// it is synced, waiting for them costs less than the second commit that they would need: the leader commits once it
/// has the expected number, or after the time of one commit. Each time in vain makes the next try rarer.
/// Threads: one at a time.
class CommitWindow {
public:
    using Steady = std::chrono::steady_clock;

    /// A commit took that long. One slow one among many, say with a checkpoint in it, counts little.
    void committed(Steady::duration took) noexcept {
        cost_ = cost_ == Steady::duration::zero() ? took : cost_ + ((std::min)(took, 2 * cost_) - cost_) / 8;
    }

    /// A transaction is over; the next is expected to hold the writes of that many callers.
    void begin(std::size_t expected, Steady::time_point now) noexcept;

    /// Nobody is waited for any more.
    void end() noexcept { target_ = 0; }

    /// As many as were expected have come.
    void hit() noexcept;

    /// Somebody waited for more in vain.
    void missed() noexcept;

    /// How many writes are waited for; 0: none.
    [[nodiscard]] std::size_t target() const noexcept { return target_; }
    /// Whether it is two that are waited for. The work of the first is then too short to be worth the overlap, so that
    /// it sleeps and the second, who is awake anyhow, leads.
    [[nodiscard]] bool pairs() const noexcept { return target_ == 2; }
    /// Whether so many are enough.
    [[nodiscard]] bool complete(std::size_t count) const noexcept { return count >= target_; }
    /// When the transaction is committed with however many.
    [[nodiscard]] Steady::time_point until() const noexcept { return until_; }

private:
    /// Below this a commit is not worth waiting for: waking a thread costs half as much.
    static constexpr std::chrono::microseconds cheap{60};
    static constexpr int hits_to_trust = 4;
    static constexpr int most_misses = 6;

    Steady::duration cost_{};
    std::size_t target_ = 0;
    Steady::time_point until_{};
    std::uint64_t round_ = 0;
    int misses_ = 0;
    int hits_ = 0;
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/commit_window.ipp>
#endif
