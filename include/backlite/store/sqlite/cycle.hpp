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

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/settle.hpp>
#include <backlite/store/sqlite/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// How many rows one cycle deletes, gives back or mends: upkeep of any size lets other writes in between.
inline constexpr int upkeep_chunk = 500;

/// What SQLite may take where it found the whole too large: no payload is kept, and no error of an attempt that
/// another follows.
[[nodiscard]] detail::AttemptResult shortened(detail::AttemptResult outcome);

/// What a client reads anew after commits of others, all but `known`. `heads`: what it knew before.
[[nodiscard]] store::FileState read_state(store::sqlite::Repository& repository, std::vector<store::QueueHead> heads,
                                          std::int64_t owner, detail::Ms now);

/// The adds of a plan, for the statistics; empty if there are none.
[[nodiscard]] std::vector<store::Tally> tally_of(const store::SlotPlan& plan, const store::SlotResult& result,
                                                 detail::Ms now);

/// Runs inside the transaction, perhaps several times: it reads what it is given and changes only the file. `apart`:
/// not null once a cycle was refused because of some row; then what is refused is left out, and named in the result.
[[nodiscard]] store::CycleResult run_cycle(store::sqlite::Repository& repository,
                                           const std::vector<store::EndedAttempt>& outcomes,
                                           const store::CyclePlan& plan, const std::vector<store::QueueHead>& heads,
                                           detail::Ms wall, store::sqlite::Isolation* apart = nullptr,
                                           const Children::Keep& keep = {});

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/cycle.ipp>
#endif
