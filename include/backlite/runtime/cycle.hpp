// SPDX-License-Identifier: MIT
#pragma once
// What the dispatcher does in one transaction.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <backlite/clock.hpp>
#include <backlite/records.hpp>
#include <backlite/runtime/worker_pool.hpp>
#include <backlite/storage/claims.hpp>
#include <backlite/storage/repository.hpp>
#include <backlite/storage/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace runtime {

/// What a cycle is to do besides writing outcomes.
struct CyclePlan {
    std::vector<std::pair<TaskId, std::int64_t>> leases{};  ///< claims to show a sign of life for
    bool purge = false;                                     ///< delete a chunk of what has expired
    bool lapse = false;                                     ///< give back claims without an owner that are too old
    Duration undo_jump{};                                   ///< the wall clock was set back by this; zero: it was not
    std::vector<storage::Tally> added{};                    ///< adds that the statistics do not count yet
    storage::ClaimRequest claim{};                          ///< limit 0: none

    [[nodiscard]] bool empty() const noexcept {
        return leases.empty() && !purge && !lapse && undo_jump == Duration::zero() && added.empty() && claim.limit == 0;
    }
};

/// What it found. Only to be believed once the transaction is committed.
struct CycleResult {
    std::vector<std::size_t> lost_outcomes{};  ///< indexes of outcomes whose claim was taken back
    std::vector<std::size_t> lost_leases{};    ///< indexes of leases whose claim was taken back
    int purged = 0;
    int lapsed = 0;
    bool jump_undone = true;  ///< false: there may be more tasks
    storage::ClaimResult claimed{};
    std::vector<storage::QueueHead> heads{};
};

/// How many rows one cycle deletes or mends: upkeep of any size lets other writes in between.
inline constexpr int upkeep_chunk = 500;

/// Runs inside the transaction, perhaps several times: it reads what it is given and changes only the file.
[[nodiscard]] inline CycleResult run_cycle(storage::Repository& repository, const std::vector<Finished>& outcomes,
                                           const CyclePlan& plan, const std::vector<storage::QueueHead>& heads,
                                           std::int64_t wall, Duration release_after) {
    CycleResult result;
    if (plan.undo_jump > Duration::zero()) {
        // Before the outcomes: those say when to run again by the clock as it is now.
        repository.upkeep.undo_jump_of_claims(wall);
        for (const storage::QueueHead& head : heads) {
            const int mended = repository.upkeep.undo_jump(head.name, wall, plan.undo_jump.count(), upkeep_chunk);
            if (mended == upkeep_chunk) result.jump_undone = false;
        }
    }
    storage::Tallies tallies(heads.size());
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const Finished& finished = outcomes[i];
        if (repository.outcomes.write(finished.resolved)) {
            tallies.count(finished.queue, heads[finished.queue].name, finished.due, finished.resolved);
        } else {
            result.lost_outcomes.push_back(i);
        }
    }
    repository.statistics.add(tallies.all());
    repository.statistics.add(plan.added);
    for (std::size_t i = 0; i < plan.leases.size(); ++i) {
        const auto& [id, claim] = plan.leases[i];
        if (!repository.outcomes.extend(id, claim)) result.lost_leases.push_back(i);
    }
    if (plan.purge) result.purged = repository.upkeep.purge(wall, upkeep_chunk);
    if (plan.lapse) result.lapsed = repository.upkeep.release_ownerless(saturating_add(wall, -release_after));
    result.heads = heads;
    if (plan.claim.limit > 0) result.claimed = repository.claims.claim(plan.claim, result.heads);
    return result;
}

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
