// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/sqlite_store.hpp>.

#include <algorithm>
#include <iterator>
#include <limits>

#include <backlite/base/format.hpp>
#include <backlite/platform/file_events.hpp>
#include <backlite/store/sqlite/add_statements.hpp>
#include <backlite/store/sqlite/cycle.hpp>
#include <backlite/store/sqlite/liveness.hpp>
#include <backlite/store/sqlite/log_file.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/settle.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>
#include <backlite/store/sqlite/statistics.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL SqliteStore::SqliteStore(const ClientConfig& config, const Clock& clock, const detail::SafeLogger& log,
                                       StoreHooks hooks)
    : config_(config),
      clock_(clock),
      log_(log),
      rescued_(std::move(hooks.rescued)),
      keep_(std::move(hooks.keep)),
      tell_freed_(hooks.foreign_commit),
      tell_room_(std::move(hooks.room)),
      writes_(config, {[this, told = std::move(hooks.foreign_commit)]() noexcept {
                           tell_foreign_writer();
                           if (told) told();
                       },
                       std::move(hooks.fatal)}) {
    if (config_.auto_install) {
        Schema::install(writes_.connection(), config_.busy_timeout);
    } else {
        Schema::check_writer(writes_.connection());  // the write path asks again only if the schema changes
    }
}

BACKLITE_DECL void SqliteStore::install() {
    Connection connection(config_, Role::writer);
    Schema::install(connection, config_.busy_timeout);
}

BACKLITE_DECL void SqliteStore::check_tables(const Patience& patience) {
    writes_.read([this](Repository&) { Schema::check_tables(writes_.connection()); }, patience);
}

BACKLITE_DECL std::unique_ptr<Owner> SqliteStore::join(const detail::SafeLogger& log, const Patience& patience) {
    auto owner =
        std::make_unique<Liveness>(writes_, file_, config_.num_workers, config_.release_after, clock_, log, rescued_);
    owner->join(patience);
    return owner;
}

BACKLITE_DECL void SqliteStore::add(const AddPlan& plan, const Patience& patience) {
    if (open_transactions_.on_this_thread(identity_)) {
        throw UsageError(
            "add() without tx() while this thread has a backlite::Transaction open on the same file: it would wait "
            "for itself; use tx(transaction)");
    }
    while (!add_once(plan, patience)) {
    }
}

BACKLITE_DECL bool SqliteStore::add_once(const AddPlan& plan, const Patience& patience) {
    const bool bounded = plan.bounded();
    const bool labelled = Labels::concern(plan.tasks);
    WaitingBounds::Answer answer;
    std::vector<DroppedTask> dropped;
    bool freed = false;
    bool left = false;
    const auto frees = [](const Ends& ends) { return ends.marked() || !ends.freed().empty(); };
    writes_.write(
        [&](Repository& repository) {
            if (bounded) {
                repository.ends.clear();
                dropped.clear();
                answer = repository.bounds.prepare(plan.tasks, plan.now, dropped);
                freed = frees(repository.ends);
                if (answer.full != nullptr || answer.more) return;
            }
            const auto owner = plan.starter ? plan.starter(writes_.foreign_commits()) : std::nullopt;
            if (owner) {
                repository.transitions.insert_claimed(plan.tasks.front(), plan.now, *owner);
            } else {
                repository.adds.insert(plan.tasks, plan.now, plan.wait_until);
            }
            if (labelled) repository.labels.put(plan.tasks);
            if (has_parents(plan.tasks)) left = hold_children(repository, plan);
            if (bounded) {
                repository.bounds.settle(plan.tasks, plan.now, dropped);
                freed = freed || frees(repository.ends);
            }
            if (plan.count != nullptr) {
                repository.statistics.add(*plan.count);
                repository.statistics.add(tally(plan.tasks, plan.now));  // now it is known which are new
            }
        },
        patience);
    if ((freed || left) && tell_freed_) tell_freed_();
    if (plan.dropped != nullptr) {
        std::move(dropped.begin(), dropped.end(), std::back_inserter(*plan.dropped));
    }
    if (answer.full != nullptr) throw_full(*answer.full);
    return !answer.more;
}

BACKLITE_DECL bool SqliteStore::hold_children(Repository& repository, const AddPlan& plan) {
    if (const auto& join = plan.tasks.back().parents->join) {
        if (!repository.saved.save({join->claim, plan.now, join->values, true})) {
            throw ClaimLost("the claim of a flow was taken back while it added its children");
        }
        repository.children.join(plan.tasks, *join);
        return false;
    }
    repository.ends.clear();
    repository.children.hold(plan.tasks);
    if (!repository.ends.marked()) return false;
    Children::Work work = repository.children.work(plan.now, keep_, children_chunk);
    if (plan.cancelled != nullptr) *plan.cancelled = std::move(work.cancelled);
    return work.left || !repository.ends.freed().empty();
}

BACKLITE_DECL void SqliteStore::add_within(HostConnection connection, const AddPlan& plan) {
    sqlite::add_within(open_transaction(connection, "tx(db)"), file_, plan.tasks, plan.now, plan.wait_until, keep_);
}

BACKLITE_DECL std::unique_ptr<store::HostTransaction> SqliteStore::begin(HostConnection connection) {
    SQLite::Database& database = *connection.sqlite;
    check_own_file(database);
    writes_.check_usable();
    if (in_transaction(database)) throw UsageError("Transaction: one is open on this connection already");
    auto transaction = std::make_unique<HostTransaction>(database, open_transactions_, identity_);
    transaction->begin(config_.busy_timeout, config_.database);
    return transaction;
}

BACKLITE_DECL bool SqliteStore::save(const SavePlan& plan, const Patience& patience) {
    check_thread("Context::save");
    bool held = false;
    writes_.write([&](Repository& repository) { held = repository.saved.save(plan); }, patience);
    return held;
}

BACKLITE_DECL bool SqliteStore::save_within(HostConnection connection, const SavePlan& plan) {
    sqlite3* const db = open_transaction(connection, "save");
    bool held = false;
    within(db, [&] {
        held = SavedValues(db).save(plan);
        Schema::check_writer(db, file_);
    });
    return held;
}

BACKLITE_DECL bool SqliteStore::complete_within(HostConnection connection, std::string_view queue, detail::Ms due,
                                                const detail::AttemptResult& success) {
    sqlite3* const db = open_transaction(connection, "complete");
    Settled settled{};
    const auto write = [&](const detail::AttemptResult& outcome) {
        within(db, [&] {
            settled = settle_within(db, queue, due, outcome);
            Schema::check_writer(db, file_);
        });
    };
    try {
        write(success);
    } catch (const StorageError& error) {
        if (error.code() != SQLITE_TOOBIG) throw;
        write(shortened(success));
    }
    return settled != Settled::lost;
}

BACKLITE_DECL sqlite3* SqliteStore::open_transaction(HostConnection connection, const char* call) {
    SQLite::Database& database = *connection.sqlite;
    check_own_file(database);
    if (!in_transaction(database)) {
        throw UsageError(detail::format("{}: no transaction is open on this connection", {call}));
    }
    writes_.check_usable();
    return handle_of(database);
}

BACKLITE_DECL std::vector<TaskId> SqliteStore::parents_of(const TaskId& id, const std::string& after, int limit,
                                                          const Patience& patience) {
    std::vector<TaskId> found;
    writes_.read([&](Repository& repository) { found = repository.children.parents_of(id, after, limit); }, patience);
    return found;
}

BACKLITE_DECL SignalResult SqliteStore::signal(const SignalPlan& plan, const Patience& patience) {
    check_thread("signal");
    SignalResult result{};
    std::optional<std::string> freed;
    writes_.write(
        [&](Repository& repository) {
            freed.reset();
            result = repository.saved.signal(plan, freed);
        },
        patience);
    if (freed && tell_freed_) tell_freed_();
    return result;
}

BACKLITE_DECL std::vector<detail::SavedValue> SqliteStore::saved(const TaskId& id, const NameRange& names,
                                                                 std::size_t limit) {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    const std::size_t room = (std::numeric_limits<std::size_t>::max)() - config_.max_payload;
    const std::size_t most = config_.max_payload + (std::min)(room, detail::record_frame);
    return reader_->saved.read(id, names, limit, most);
}

BACKLITE_DECL detail::TaskLabels SqliteStore::labels(const TaskId& id) {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    return reader_->labels.read(id, config_.max_payload);
}

BACKLITE_DECL CycleResult SqliteStore::cycle(const CycleRequest& request, const Patience& patience) {
    CycleResult result;
    writes_.write_in_parts(
        [&](Repository& repository, Isolation* apart) {
            // By the clock as it is inside the transaction: what others have committed is no later than that.
            result = run_cycle(repository, request.outcomes, request.plan, request.heads, detail::to_ms(clock_.now()),
                               apart, keep_);
            if (request.prepare) request.prepare(result);
        },
        patience, request.apart);
    if (tell_room_) tell_room_();
    return result;
}

BACKLITE_DECL std::optional<detail::Ms> SqliteStore::next_expiry(const Patience& patience) {
    std::optional<detail::Ms> expiry;
    writes_.read([&](Repository& repository) { expiry = repository.upkeep.next_expiry(); }, patience);
    return expiry;
}

BACKLITE_DECL std::vector<std::pair<std::string, detail::Ms>> SqliteStore::strays(const std::vector<QueueHead>& heads,
                                                                                  int limit, const Patience& patience) {
    std::vector<std::pair<std::string, detail::Ms>> found;
    writes_.read([&](Repository& repository) { found = repository.claims.strays(heads, limit); }, patience);
    return found;
}

BACKLITE_DECL std::optional<Progress> SqliteStore::progress(const TaskId& id) {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    return reader_->progress.read(id);
}

BACKLITE_DECL TaskStatus SqliteStore::status(const TaskId& id) {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    return reader_->reads.status(id);
}

BACKLITE_DECL FoundTask SqliteStore::find(const TaskId& id, std::size_t max_result) {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    return reader_->reads.find(id, max_result);
}

BACKLITE_DECL CancelResult SqliteStore::cancel(const CancelPlan& plan, const Patience& patience) {
    check_thread("cancel");
    CancelResult result{};
    bool freed = false;
    writes_.write(
        [&](Repository& repository) {
            repository.ends.clear();
            result = repository.cancels.cancel(plan);
            bool left = false;
            if (repository.ends.marked()) {
                Children::Work work = repository.children.work(plan.now, keep_, children_chunk);
                left = work.left;
                if (plan.cancelled != nullptr) *plan.cancelled = std::move(work.cancelled);
            }
            freed = left || !repository.ends.freed().empty();
        },
        patience);
    if (freed && tell_freed_) tell_freed_();
    if (tell_room_) tell_room_();
    return result;
}

BACKLITE_DECL ChangeResult SqliteStore::change(const ChangePlan& plan, const Patience& patience) {
    check_thread("Admin");
    ChangeResult result;
    writes_.write_in_parts(
        [&](Repository& repository, Isolation* apart) {
            repository.ends.clear();  // whoever changes tasks reads their queues anew
            result = repository.changes.change(plan, apart);
            if (!repository.ends.marked()) return;
            const Children::Work work = repository.children.work(plan.now, keep_, children_chunk, apart);
            result.cancelled.insert(result.cancelled.end(), work.cancelled.begin(), work.cancelled.end());
        },
        patience);
    if (tell_room_) tell_room_();
    return result;
}

BACKLITE_DECL void SqliteStore::set_paused(std::string_view queue, std::optional<detail::Ms> since,
                                           const Patience& patience) {
    check_thread("pause and resume");
    writes_.write([&](Repository& repository) { repository.rules.set_paused(queue, since); }, patience);
}

BACKLITE_DECL void SqliteStore::set_limits(std::string_view queue, const std::optional<Limits>& limits,
                                           const Patience& patience) {
    check_thread("a change of limits");
    writes_.write([&](Repository& repository) { repository.rules.set_limits(queue, limits); }, patience);
}

BACKLITE_DECL std::string SqliteStore::secret(std::string_view fresh, const Patience& patience) {
    check_thread("secret");
    std::string found;
    writes_.write([&](Repository& repository) { found = repository.upkeep.secret(fresh); }, patience);
    return found;
}

BACKLITE_DECL std::optional<Limits> SqliteStore::limits(std::string_view queue) {
    std::optional<Limits> found;
    writes_.read([&](Repository& repository) { found = repository.rules.limits(queue); }, {config_.busy_timeout, {}});
    return found;
}

BACKLITE_DECL bool SqliteStore::change_schedule(const std::string& name, const ScheduleChange& change,
                                                const Patience& patience) {
    check_thread("a change of a schedule");
    bool changed = false;
    writes_.write([&](Repository& repository) { changed = repository.schedules.change(name, change); }, patience);
    return changed;
}

BACKLITE_DECL SlotResult SqliteStore::run_schedule(const SlotPlan& plan, detail::Ms now, const Patience& patience) {
    check_thread("run_schedule");
    SlotResult result;
    writes_.write(
        [&](Repository& repository) {
            repository.ends.clear();
            result = repository.schedules.run(plan, now, repository.adds, repository.bounds, repository.cancels, keep_);
            repository.statistics.add(tally_of(plan, result, now));
            if (!repository.ends.marked()) return;
            Children::Work work = repository.children.work(now, keep_, children_chunk);
            for (EndedChild& child : work.cancelled) {
                result.cancelled.push_back({std::move(child.id), std::move(child.queue)});
            }
        },
        patience);
    return result;
}

BACKLITE_DECL DueSchedules SqliteStore::due_schedules(const DueQuery& query, const Patience& patience) {
    DueSchedules found;
    writes_.read([&](Repository& repository) { found = repository.schedules.due(query); }, patience);
    return found;
}

BACKLITE_DECL std::vector<ScheduleRow> SqliteStore::schedules() {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    return list_schedules(reader_->connection.handle(), reader_->list_schedules);
}

BACKLITE_DECL void SqliteStore::check_thread(std::string_view call) {
    if (!open_transactions_.on_this_thread(identity_)) return;
    throw UsageError(detail::format(
        "{} while this thread has a backlite::Transaction open on the same file: it would wait for itself", {call}));
}

BACKLITE_DECL bool SqliteStore::idle(const std::vector<QueueHead>& queues, detail::Ms now) {
    bool idle = false;
    writes_.read([&](Repository& repository) { idle = repository.claims.idle(queues, now); },
                 {config_.busy_timeout, {}});
    return idle;
}

BACKLITE_DECL TaskCounts SqliteStore::counts(detail::Ms now) {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    return reader_->reads.counts(now);
}

BACKLITE_DECL std::vector<WaitingTask> SqliteStore::waiting(const std::string& queue) {
    detail::UniqueLock lock(reader_mutex_);
    need_reader(lock);
    return reader_->reads.waiting(queue, config_.ageing);
}

BACKLITE_DECL std::unique_ptr<CommitWatch> SqliteStore::watch() {
    class Watch final : public CommitWatch {
    public:
        explicit Watch(const std::string& file) : events_(log_file(file), OwnerLock::name_for(file)) {}
        [[nodiscard]] bool active() const noexcept override { return events_.active(); }
        void wake() noexcept override { events_.wake(); }
        [[nodiscard]] bool wait(Duration most) noexcept override { return events_.wait(most).written; }
        void rest(Duration time) noexcept override { static_cast<void>(events_.rest(time)); }

    private:
        platform::FileEvents events_;
    };
    return std::make_unique<Watch>(file_);
}

BACKLITE_DECL void SqliteStore::tell_foreign_writer() noexcept {
    const char* const version = version_with_wal_reset_bug();
    if (version == nullptr || foreign_writer_told_.exchange(true)) return;
    log_(LogLevel::warning, "several connections write to the file, and this SQLite has the WAL-reset bug",
         {{"sqlite", version}, {"mended_in", "3.44.6, 3.50.7, 3.51.3"}});
}

BACKLITE_DECL void SqliteStore::need_reader(detail::UniqueLock& lock) {
    if (reader_) return;
    lock.unlock(reader_mutex_);
    if (opening_.has_this_thread()) {
        throw UsageError("Client: asked inside ClientConfig::open, which opens the connection to ask by");
    }
    const platform::ThreadList::Scope opening(opening_);
    auto opened = std::make_unique<Reader>(config_);
    lock.lock(reader_mutex_);
    if (!reader_) reader_ = std::move(opened);
}

BACKLITE_DECL void SqliteStore::check_own_file(SQLite::Database& database) const {
    const std::string file = main_file(database);
    const bool own = !file.empty() && platform::identify(file) == identity_;
    if (own && (file == file_ || platform::identify(log_file(file)) == log_identity_)) return;
    throw ConfigError(detail::format(
        "tx: the connection is on \"{}\", the client on \"{}\"{}",
        {file, config_.database, own ? ", which is a hard link to the same file: SQLite keeps a log per name" : ""}));
}

BACKLITE_DECL std::unique_ptr<Store> open(const ClientConfig& config, const Clock& clock, const detail::SafeLogger& log,
                                          StoreHooks hooks) {
    return std::make_unique<SqliteStore>(config, clock, log, std::move(hooks));
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
