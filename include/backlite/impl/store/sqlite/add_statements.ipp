// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/add_statements.hpp>.

#include <backlite/store/sqlite/add_statements.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void AddStatements::insert(std::span<const detail::NewTask> tasks, detail::Ms created_at,
                                         std::optional<detail::Ms> wait_until) {
    for (const detail::NewTask& task : tasks) {
        Run(db_, task.expires_at ? insert_expiring_ : insert_,
            {task.id.str(), created_at, task.queue, Blob{task.payload}, wait_until, task.priority, Slack::of(task)})
            .change();
        if (task.expires_at) expiries_.put(task.id, *task.expires_at);
    }
}

BACKLITE_DECL void add_within(sqlite3* db, std::string_view file, std::span<const detail::NewTask> tasks,
                              detail::Ms now, std::optional<detail::Ms> wait_until) {
    Statement release("RELEASE backlite_add");
    Statement undo("ROLLBACK TO backlite_add");
    Statement undo_all("ROLLBACK");
    prepare_ahead(db, {&release, &undo, &undo_all});
    const auto take_back = [&](int code, const char* what) {
        if (sqlite3_get_autocommit(db) == 0 && !(run_ahead(db, undo) && run_ahead(db, release)))
            run_ahead(db, undo_all);
        if (sqlite3_get_autocommit(db) == 0) return;
        throw_sqlite(code, detail::format("{}; SQLite has rolled back the whole transaction", {what}));
    };
    execute(db, "SAVEPOINT backlite_add");
    try {
        AddStatements(db).insert(tasks, now, wait_until);
        // Not before: a deferred transaction that reads first cannot wait for another writer any more.
        Schema::check_writer(db, file);
        // Only in the host's transaction: the client does not see whether that is committed. Old rows are not the
        // host's business.
        Statistics(db, std::nullopt).add(tally(tasks, now));
        Run(db, release).change();
    } catch (const StorageError& error) {
        take_back(error.extended_code(), error.what());
        throw;
    } catch (...) {
        take_back(SQLITE_NOMEM, "out of memory");
        throw;
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
