// SPDX-License-Identifier: MIT
#pragma once
// Every SQL statement that writes, on one connection: the boundary behind which another store could stand.

#include <sqlite3.h>

#include <backlite/store/sqlite/add_statements.hpp>
#include <backlite/store/sqlite/bounds.hpp>
#include <backlite/store/sqlite/cancels.hpp>
#include <backlite/store/sqlite/changes.hpp>
#include <backlite/store/sqlite/children.hpp>
#include <backlite/store/sqlite/claims.hpp>
#include <backlite/store/sqlite/ends.hpp>
#include <backlite/store/sqlite/expiries.hpp>
#include <backlite/store/sqlite/labels.hpp>
#include <backlite/store/sqlite/progress_notes.hpp>
#include <backlite/store/sqlite/queue_rules.hpp>
#include <backlite/store/sqlite/saved_values.hpp>
#include <backlite/store/sqlite/schedules.hpp>
#include <backlite/store/sqlite/statistics.hpp>
#include <backlite/store/sqlite/transitions.hpp>
#include <backlite/store/sqlite/upkeep.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Rows in, rows out: payloads are bytes, times are numbers, and nothing here knows of threads or JSON.
/// Threads: those of its connection, one at a time. REQUIRES: goes before its connection does.
struct Repository {
    explicit Repository(sqlite3* handle) noexcept
        : db{handle},
          adds(handle),
          ends(handle),
          transitions(handle, ends),
          rules(handle),
          claims(handle, transitions, rules, ends.turns()),
          statistics(handle),
          cancels(handle, ends),
          children(handle, ends, cancels),
          changes(handle, ends, transitions, cancels),
          bounds(handle, cancels, WaitingBounds::On::own_connection),
          labels(handle),
          expiries(handle),
          saved(handle),
          progress(handle),
          schedules(handle),
          upkeep(handle, ends) {}

    Handle db;
    AddStatements adds;
    Ends ends;
    Transitions transitions;
    QueueRules rules;
    Claims claims;
    Statistics statistics;
    Cancels cancels;
    Children children;
    Changes changes;
    WaitingBounds bounds;
    Labels labels;
    Expiries expiries;
    SavedValues saved;
    ProgressNotes progress;
    Schedules schedules;
    Upkeep upkeep;
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
