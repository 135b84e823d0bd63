// SPDX-License-Identifier: MIT
#pragma once
// How many tasks to claim: what free workers can start, and a little ahead, so that they never wait for the database.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <backlite/base/times.hpp>
#include <backlite/core/pool_load.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Claims ahead are bounded by work, not by number: a few milliseconds for each worker, by the measured time of each
/// queue's tasks; a queue that was not measured yet counts as slow, and is claimed for free workers only. They are
/// bounded by memory too: 16 MiB of payload.
/// Threads: the dispatcher's.
class ClaimPolicy {
public:
    explicit ClaimPolicy(std::size_t workers) noexcept
        : budget_(ahead_per_worker * static_cast<std::int64_t>(workers)) {}

    /// What to ask of the storage layer, as far as it is about numbers. The limit is 0 if nothing may be claimed now.
    /// `head`: the queue that the claim begins with; null if there is none. `worker_wanted`: a task waits for a
    /// worker to become free, so nothing is claimed ahead.
    [[nodiscard]] store::ClaimRequest request(const PoolLoad& load, const store::QueueHead* head,
                                              bool worker_wanted) const noexcept;

    /// What came of a request. Workers that ran dry although all that was asked for came get more the next time.
    void claimed(const store::ClaimRequest& request, const store::ClaimResult& result) noexcept;

    /// Claims went back unstarted, because somebody else may have a worker free for them: nothing is claimed ahead
    /// until a task that started after `now` has shown that tasks are quick again.
    void suspend(detail::Ms now) noexcept {
        suspended_ = true;
        since_ = now;
    }

    /// A task that started at `started` ran for `us`.
    void measured(detail::Ms started, detail::Us us) noexcept {
        if (us <= ahead_per_worker && started > since_) suspended_ = false;
    }

private:
    /// How much expected work each worker may find waiting.
    static constexpr detail::Us ahead_per_worker{4'000};
    static constexpr std::size_t first_ahead = 64;
    static constexpr std::size_t most_ahead = 1536;
    static constexpr std::size_t most_ahead_bytes = std::size_t{16} << 20;

    detail::Us budget_;
    std::size_t ahead_ = first_ahead;
    std::size_t left_bytes_ = 0;  ///< the payload of the task that the last claim left because of its size
    bool suspended_ = false;
    detail::Ms since_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/claim_policy.ipp>
#endif
