// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/add_statements.hpp>.

#include <algorithm>

#include <backlite/store/sqlite/add_statements.hpp>
#include <backlite/store/sqlite/bounds.hpp>
#include <backlite/store/sqlite/labels.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void AddStatements::insert(std::span<const detail::NewTask> tasks, detail::Ms created_at,
                                         std::optional<detail::Ms> wait_until) {
    for (const detail::NewTask& task : tasks) {
        if (task.unique) {
            insert_unique(task, tasks, created_at, wait_until);
            if (task.partition && task.inserted()) turns_.added(task, created_at);
            continue;
        }
        Run(db_, task.expires_at ? insert_expiring_ : insert_,
            {task.id.str(), created_at, task.queue, Blob{task.payload}, wait_until, task.priority, Slack::of(task)})
            .change();
        if (task.expires_at) expiries_.put(task.id, *task.expires_at);
        if (task.partition) turns_.added(task, created_at);
    }
}

BACKLITE_DECL void AddStatements::insert_unique(const detail::NewTask& task, std::span<const detail::NewTask> tasks,
                                                detail::Ms created_at, std::optional<detail::Ms> wait_until) {
    detail::UniqueAdd& unique = *task.unique;
    unique.as = AddedAs::inserted;  // an earlier run of the transaction may have found another
    if (unique.debounced && !wait_until) wait_until = unique.due = *unique.debounced;
    const bool reads_first = unique.period > Duration::zero() || unique.conflict == Conflict::latest;
    if (reads_first) Run(db_, begin_to_write_).change();
    if (unique.period > Duration::zero()) {
        if (std::optional<TaskId> ended = keys_.ended(task.queue, unique.key, created_at, unique.period)) {
            if (unique.conflict == Conflict::reject) reject(task, tasks, std::move(*ended));
            unique.as = AddedAs::existing;
            unique.existing = std::move(*ended);
            return;
        }
    }
    if (try_insert(task, created_at, wait_until)) return;
    Existing existing = find(task);
    if (!existing.waits && unique.while_waiting()) {  // claimed by a program that leaves keys where they are
        keys_.take_off(existing.row);
        if (try_insert(task, created_at, wait_until)) return;
        existing = find(task);
    }
    if (unique.conflict == Conflict::reject) reject(task, tasks, std::move(existing.id));
    const bool replaces = unique.conflict == Conflict::replace || unique.conflict == Conflict::latest;
    if (replaces && existing.waits) {
        if (unique.debounced && unique.max_delay > Duration::zero()) {
            wait_until = unique.due = (std::min)(unique.due, existing.created_at + unique.max_delay);
        }
        replace(existing, task, created_at, wait_until);
        unique.as = AddedAs::replaced;
    } else {
        unique.as = AddedAs::existing;
    }
    unique.existing = std::move(existing.id);
}

BACKLITE_DECL bool AddStatements::try_insert(const detail::NewTask& task, detail::Ms created_at,
                                             std::optional<detail::Ms> wait_until) {
    const int inserted = Run(db_, insert_unique_,
                             {task.id.str(), created_at, task.queue, Blob{task.payload}, wait_until, task.priority,
                              Slack::of(task), task.unique->key, flags_of(task), hold_of(task, created_at)})
                             .change();
    if (inserted != 1) return false;
    if (task.expires_at) expiries_.put(task.id, *task.expires_at);
    return true;
}

BACKLITE_DECL std::int64_t AddStatements::hold_of(const detail::NewTask& task, detail::Ms now) {
    const detail::UniqueAdd& unique = *task.unique;
    if (unique.conflict != Conflict::latest || !keys_.runs(task.queue, unique.key)) return 0;
    keys_.supersede(task.queue, unique.key, now, {unique.keep_row, unique.keep_payload, unique.keep_time});
    return hold::twin;
}

BACKLITE_DECL std::int64_t AddStatements::flags_of(const detail::NewTask& task) noexcept {
    std::int64_t flags = task.expires_at ? flag::expires : 0;
    if (task.unique->while_waiting()) flags |= flag::key_while_waiting;
    if (task.unique->conflict == Conflict::latest) flags |= flag::latest;
    if (task.unique->period > Duration::zero()) flags |= flag::keeps_key;
    return flags;
}

BACKLITE_DECL void AddStatements::reject(const detail::NewTask& task, std::span<const detail::NewTask> tasks,
                                         TaskId existing) {
    const bool own = std::any_of(tasks.begin(), tasks.end(), [&](const auto& other) { return other.id == existing; });
    DuplicateError duplicate(
        own ? detail::format("queue \"{}\": two tasks of one call have the same unique key", {task.queue})
            : detail::format("queue \"{}\": task {} has the unique key of the one that is added",
                             {task.queue, existing.str()}),
        own ? TaskId{} : existing);
    duplicate.set_subject(std::string{task.queue}, duplicate.existing().str());
    throw duplicate;
}

BACKLITE_DECL auto AddStatements::find(const detail::NewTask& task) -> Existing {
    Run run(db_, find_, {task.queue, task.unique->key});
    if (!run.step()) {
        throw StorageError("a unique task was not added, and no other has its key: a trigger ignored it",
                           SQLITE_CONSTRAINT);
    }
    return {run.integer(0),      TaskId::from_text(std::string{run.bytes(1)}),
            run.integer(2) != 0, run.integer(3) != 0,
            run.time(4),         run.integer(5)};
}

BACKLITE_DECL void AddStatements::replace(const Existing& existing, const detail::NewTask& task, detail::Ms now,
                                          std::optional<detail::Ms> wait_until) {
    constexpr std::int64_t own = flag::expires | flag::key_while_waiting | flag::latest | flag::keeps_key;
    const bool latest = task.unique->conflict == Conflict::latest;
    const std::int64_t hold = latest ? (existing.hold & ~hold::twin) | hold_of(task, now) : existing.hold;
    const int replaced = Run(db_, replace_,
                             {existing.row, Blob{task.payload}, task.priority, Slack::of(task), wait_until, now,
                              flags_of(task), own, hold})
                             .change();
    if (replaced != 1) {
        throw StorageError("the replacement of a task changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
    }
    if (task.expires_at) {
        expiries_.put(existing.id, *task.expires_at);
    } else if (existing.expires) {
        static_cast<void>(expiries_.take(existing.id));
    }
}

BACKLITE_DECL void keep_bounds(sqlite3* db, std::span<const detail::NewTask> tasks, detail::Ms now) {
    if (std::none_of(tasks.begin(), tasks.end(), [](const auto& task) { return task.bounded != nullptr; })) return;
    Ends ends(db);
    Cancels cancels(db, ends);
    std::vector<DroppedTask> dropped;
    WaitingBounds(db, cancels, WaitingBounds::On::host_connection).settle(tasks, now, dropped);
}

BACKLITE_DECL void add_within(sqlite3* db, std::string_view file, std::span<const detail::NewTask> tasks,
                              detail::Ms now, std::optional<detail::Ms> wait_until, const Children::Keep& keep) {
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
        if (Labels::concern(tasks)) Labels(db).put(tasks);
        if (has_parents(tasks)) {
            Ends ends(db);
            Cancels cancels(db, ends);
            Children children(db, ends, cancels);
            children.hold(tasks);
            // The dispatcher sees the commit, and does the rest.
            if (ends.marked()) static_cast<void>(children.work(now, keep, children_chunk));
        }
        // Not before: a deferred transaction that reads first cannot wait for another writer any more.
        Schema::check_writer(db, file);
        keep_bounds(db, tasks, now);
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
