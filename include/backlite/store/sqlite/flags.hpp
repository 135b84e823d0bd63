// SPDX-License-Identifier: MIT
#pragma once
// What the numbers in the columns `flags` and `hold` of an unfinished task mean. Stored: never renumber.

#include <cstdint>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// What hangs on a task, so that rows without it are changed by one statement.
namespace flag {

inline constexpr std::int64_t expires = 1;             ///< a claim takes its expiry: see Expiries
inline constexpr std::int64_t children = 2;            ///< backlite_edges names it as a parent
inline constexpr std::int64_t details = 4;             ///< rows of other tables go with it: see Ends
inline constexpr std::int64_t partition = 8;           ///< it takes part in a limit, or in the order of its partition
inline constexpr std::int64_t key_while_waiting = 16;  ///< it has its unique key only while it waits
inline constexpr std::int64_t keeps_key = 32;          ///< its kept row has its unique key for a while
inline constexpr std::int64_t latest = 64;             ///< no other one with its key runs beside it, or runs again
inline constexpr std::int64_t flow = 128;              ///< a flow that has begun: its cancel wakes it for its undos

/// A task with one of these ends, is claimed, or comes back, with more than the change of its row.
inline constexpr std::int64_t on_end = children | details | partition | key_while_waiting | keeps_key;
inline constexpr std::int64_t on_claim = key_while_waiting;
inline constexpr std::int64_t on_return = partition | key_while_waiting;

}  // namespace flag

/// Why a task may not be claimed yet. `hold` is the sum of the reasons; a row with 0 is in the index that claims
/// search.
namespace hold {

inline constexpr std::int64_t turn = 1;      ///< its partition's turn is another's
inline constexpr std::int64_t by_hand = 2;   ///< somebody holds it
inline constexpr std::int64_t twin = 4;      ///< another one with its unique key runs
inline constexpr std::int64_t parent = 256;  ///< for each unfinished parent

}  // namespace hold
}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
