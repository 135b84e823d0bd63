// SPDX-License-Identifier: MIT
#pragma once
// What becomes of a claim, with all that hangs on it: one function, on the client's connection or on a host's.

#include <string_view>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/cancels.hpp>
#include <backlite/store/sqlite/transitions.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

enum class Settled {
    lost,  ///< the claim is not held any more: nothing was changed
    as_asked,
    cancelled,  ///< the task was cancelled or superseded meanwhile, and has not succeeded
};

/// REQUIRES: a write transaction. Errors: StorageError, also if a trigger of the host ignores the change; the caller
/// rolls back.
[[nodiscard]] Settled settle(Transitions& transitions, Cancels& cancels, const detail::AttemptResult& outcome);

/// The same, with its statistics, in the transaction that is open on a connection of whoever's; nothing of it is left
/// prepared. `queue`: its name; `due`: since when the task was. Errors: as above.
[[nodiscard]] Settled settle_within(sqlite3* db, std::string_view queue, detail::Ms due,
                                    const detail::AttemptResult& outcome);

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/settle.ipp>
#endif
