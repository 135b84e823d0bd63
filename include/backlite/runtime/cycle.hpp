// SPDX-License-Identifier: MIT
#pragma once
// What the dispatcher does in one transaction.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/records.hpp>
#include <backlite/runtime/worker_pool.hpp>
#include <backlite/storage/claims.hpp>
#include <backlite/storage/isolation.hpp>
#include <backlite/storage/repository.hpp>
#include <backlite/storage/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace runtime {

/// What a cycle is to do besides writing outcomes.
struct CyclePlan {
    std::vector<std::pair<TaskId, std::int64_t>> leases{};  ///< claims to show a sign of life for
    bool purge = false;                                     ///< delete a chunk of what has expired
    std::int64_t past = 0;                                  ///< what expired by then has expired beyond doubt
    int purge_past = 0;                                     ///< leave out so many: they were refused
    bool lapse = false;                                     ///< give back claims without an owner that are too old
    std::int64_t lapse_until = 0;                           ///< those taken by then are
    /// By queue: tasks that are due later than this are looked through for times that a wrong clock has made;
    /// `storage::never`: none. Empty: there is no such search.
    std::vector<std::int64_t> mend{};
    Duration jump_back{};                 ///< for that: how far the wall clock was set back, zero if that is not known
    bool count = true;                    ///< count outcomes and adds in the statistics
    std::vector<storage::Tally> added{};  ///< adds that the statistics do not count yet
    storage::ClaimRequest claim{};        ///< limit 0: none

    [[nodiscard]] bool empty() const noexcept {
        return leases.empty() && !purge && !lapse && mend.empty() && added.empty() && claim.limit == 0;
    }
};

/// What SQLite refused to write, by its index in what the cycle was given.
struct Refusal {
    std::size_t index = 0;
    StorageError error;
};

/// What it found. Only to be believed once the transaction is committed.
struct CycleResult {
    std::vector<std::size_t> lost_outcomes{};  ///< indexes of outcomes whose claim was taken back
    std::vector<std::size_t> lost_leases{};    ///< indexes of leases whose claim was taken back
    std::vector<Refusal> refused_outcomes{};
    std::vector<Refusal> refused_leases{};
    std::vector<std::size_t> without_payload{};        ///< outcomes that were kept without payload: it did not fit
    std::optional<StorageError> refused_statistics{};  ///< this and the next three: nothing of it was written
    std::optional<StorageError> refused_jump{};
    std::optional<StorageError> refused_purge{};  ///< this and the next: some rows were not written
    std::optional<StorageError> refused_lapse{};
    int purged = 0;
    int purge_left = 0;  ///< expired tasks whose deletion was refused
    int lapsed = 0;
    bool lapse_left = false;  ///< the next cycle finds more of them
    int mended = 0;
    std::vector<std::int64_t> mend_next{};  ///< the plan's `mend` for the next cycle
    storage::ClaimResult claimed{};
    std::vector<storage::QueueHead> heads{};
};

/// How many rows one cycle deletes, gives back or mends: upkeep of any size lets other writes in between.
inline constexpr int upkeep_chunk = 500;

/// What SQLite may take where it found the whole too large: no payload is kept, and no error of an attempt that
/// another follows.
[[nodiscard]] inline Resolved shortened(Resolved outcome) {
    outcome.keep_payload = false;
    if (outcome.resolution == Resolution::retry) outcome.error.clear();
    return outcome;
}

/// Runs inside the transaction, perhaps several times: it reads what it is given and changes only the file. `apart`:
/// not null once a cycle was refused because of some row; then what is refused is left out, and named in the result.
[[nodiscard]] inline CycleResult run_cycle(storage::Repository& repository, const std::vector<Finished>& outcomes,
                                           const CyclePlan& plan, const std::vector<storage::QueueHead>& heads,
                                           std::int64_t wall, storage::Isolation* apart = nullptr) {
    CycleResult result;
    const auto attempt = [&](std::string_view part, std::string_view id, auto&& work) {
        return storage::attempt(apart, repository.db, part, id, work);
    };
    // Row by row, where all at once was refused. How many were written.
    const auto each_row = [&](std::string_view part, const std::vector<std::int64_t>& rows,
                              std::optional<StorageError>& refused, auto&& work) {
        int written = 0;
        for (const std::int64_t row : rows) {
            auto error = attempt(part, std::to_string(row), [&] { work(row); });
            if (error) {
                refused = std::move(error);
            } else {
                ++written;
            }
        }
        return written;
    };

    if (!plan.mend.empty()) {
        // Before the outcomes: those say when to run again by the clock as it is now.
        result.refused_jump = attempt("jump", "", [&] {
            result.mended = repository.upkeep.mend_claims(wall);
            result.mend_next = plan.mend;
            for (std::size_t i = 0; i < heads.size(); ++i) {
                std::int64_t& next = result.mend_next[i];
                if (next == storage::never) continue;
                const storage::Mended piece =
                    repository.upkeep.mend(heads[i].name, wall, next, plan.jump_back.count(), upkeep_chunk);
                result.mended += piece.tasks;
                next = piece.next;
            }
        });
    }
    storage::Tallies tallies(heads.size());
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const Finished& finished = outcomes[i];
        bool held = false;
        const auto write = [&](const Resolved& outcome) {
            return attempt("outcome", std::to_string(i), [&] { held = repository.outcomes.write(outcome); });
        };
        auto refused = write(finished.resolved);
        if (refused && refused->code() == SQLITE_TOOBIG) {
            refused = write(shortened(finished.resolved));
            if (!refused) result.without_payload.push_back(i);
        }
        if (refused) {
            result.refused_outcomes.push_back({i, std::move(*refused)});
        } else if (held) {
            tallies.count(finished.queue, heads[finished.queue].name, finished.due, finished.resolved);
        } else {
            result.lost_outcomes.push_back(i);
        }
    }
    if (plan.count) {
        result.refused_statistics = attempt("statistics", "", [&] {
            repository.statistics.add(tallies.all());
            repository.statistics.add(plan.added);
        });
    }
    for (std::size_t i = 0; i < plan.leases.size(); ++i) {
        const auto& lease = plan.leases[i];
        bool held = true;
        auto refused =
            attempt("lease", std::to_string(i), [&] { held = repository.outcomes.extend(lease.first, lease.second); });
        if (refused) result.refused_leases.push_back({i, std::move(*refused)});
        if (!held) result.lost_leases.push_back(i);
    }
    if (plan.purge && apart == nullptr) {
        result.purged = repository.upkeep.purge(plan.past, upkeep_chunk);
    } else if (plan.purge) {
        const auto rows = repository.upkeep.expired(plan.past, upkeep_chunk, plan.purge_past);
        result.purged =
            each_row("purge", rows, result.refused_purge, [&](std::int64_t row) { repository.upkeep.purge_row(row); });
        result.purge_left = static_cast<int>(rows.size()) - result.purged;
    }
    if (plan.lapse && apart == nullptr) {
        result.lapsed = repository.upkeep.release_ownerless(plan.lapse_until, upkeep_chunk);
        result.lapse_left = repository.upkeep.oldest_ownerless().value_or(storage::never) <= plan.lapse_until;
    } else if (plan.lapse) {
        result.lapsed = each_row("lapse", repository.upkeep.ownerless(plan.lapse_until), result.refused_lapse,
                                 [&](std::int64_t row) { repository.upkeep.release_ownerless_row(row); });
    }
    result.heads = heads;
    if (plan.claim.limit > 0) result.claimed = repository.claims.claim(plan.claim, result.heads, apart);
    return result;
}

}  // namespace runtime
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
