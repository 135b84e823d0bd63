// SPDX-License-Identifier: MIT
#pragma once
// Every SQL statement that writes, on one connection: the boundary behind which another store could stand.

#include <sqlite3.h>

#include <backlite/storage/adds.hpp>
#include <backlite/storage/claims.hpp>
#include <backlite/storage/outcomes.hpp>
#include <backlite/storage/statistics.hpp>
#include <backlite/storage/upkeep.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace storage {

/// Rows in, rows out: payloads are bytes, times are numbers, and nothing here knows of threads or JSON.
/// Threads: those of its connection, one at a time. REQUIRES: goes before its connection does.
struct Repository {
    explicit Repository(sqlite3* handle) noexcept
        : db{handle}, adds(handle), claims(handle), outcomes(handle), statistics(handle), upkeep(handle) {}

    Handle db;
    Adds adds;
    Claims claims;
    Outcomes outcomes;
    Statistics statistics;
    Upkeep upkeep;
};

}  // namespace storage
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
