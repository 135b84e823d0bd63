// SPDX-License-Identifier: MIT
#include "raw.hpp"

#include <array>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/core/id_generator.hpp>

#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

RawDatabase::RawDatabase(const std::string& file, backlite::Durability durability) {
    if (sqlite3_open_v2(file.c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
        const std::string message = sqlite3_errmsg(db_);
        sqlite3_close(db_);
        throw std::runtime_error(fmt::format("{}: {}", file, message));
    }
    sqlite3_busy_timeout(db_, 5000);
    execute("PRAGMA journal_mode=WAL");
    execute(durability == backlite::Durability::full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    execute("PRAGMA secure_delete=OFF");
    execute("PRAGMA trusted_schema=OFF");
    execute("PRAGMA journal_size_limit=67108864");
}

RawDatabase::~RawDatabase() { sqlite3_close(db_); }

void RawDatabase::execute(const std::string& sql) {
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
        throw std::runtime_error(fmt::format("{}: {}", sql, sqlite3_errmsg(db_)));
    }
}

std::int64_t RawDatabase::number(const std::string& sql) {
    RawStatement statement(*this, sql.c_str());
    return statement.step() ? statement.integer(0) : 0;
}

RawStatement::RawStatement(const RawDatabase& database, const char* sql) : db_(database.handle()) {
    if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) != SQLITE_OK) fail();
}

void RawStatement::fail() const {
    throw std::runtime_error(fmt::format("{}: {}", sqlite3_sql(statement_), sqlite3_errmsg(db_)));
}

std::vector<RawTask> raw_tasks(std::size_t first, std::size_t count) {
    backlite::core::IdGenerator ids;
    const std::int64_t now = now_ms();
    std::vector<RawTask> tasks;
    tasks.reserve(count);
    for (std::size_t i = first; i < first + count; ++i) {
        tasks.push_back({ids.next(backlite::detail::Ms{now}).str(), nlohmann::json(upload(i)).dump()});
    }
    return tasks;
}

RawInsert::RawInsert(const RawDatabase& database)
    : begin_(database, "BEGIN IMMEDIATE"),
      commit_(database, "COMMIT"),
      insert_(database,
              "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) "
              "VALUES (?1, ?2, 'upload', ?4, NULL)") {}

std::int64_t RawInsert::commit_one(const RawTask& task, std::int64_t created_at) {
    begin_.run();
    run(task, created_at);
    const std::int64_t committing = steady_ns();
    commit_.run();
    return committing;
}

void RawInsert::commit_each(std::span<const RawTask> tasks) {
    for (const RawTask& task : tasks) commit_one(task, now_ms());
}

void RawInsert::commit_all(std::span<const RawTask> tasks, std::int64_t last_due) {
    begin_.run();
    std::size_t left = tasks.size();
    for (const RawTask& task : tasks) run(task, last_due - static_cast<std::int64_t>(--left / 10));
    commit_.run();
}

namespace {

/// Claims batches of tasks, a transaction each, in which the batch before is finished.
class RawClaims {
public:
    struct Claim {
        std::string id{};
        std::int64_t claim = 0;
        std::string payload{};
    };

    explicit RawClaims(const RawDatabase& database)
        : begin_(database, "BEGIN IMMEDIATE"),
          commit_(database, "COMMIT"),
          find_(database,
                "SELECT rowid, due FROM backlite_tasks INDEXED BY backlite_tasks_ready WHERE claimed_at IS NULL "
                "AND hold = 0 AND queue = ?1 AND priority = 0 AND due <= ?2 ORDER BY due LIMIT ?3"),
          read_(database, "SELECT id, claim, attempts, crashes, task FROM backlite_tasks WHERE rowid = ?1"),
          claim_(database,
                 "UPDATE backlite_tasks SET claimed_at = ?2, owner = ?3, claim = claim + 1, lease = 0 "
                 "WHERE rowid = ?1") {}

    /// Calls `finish(claim, now)` for each claim of the batch before, and claims the next. False once there is none.
    template <class Finish>
    bool next(std::span<const std::string_view> queues, std::size_t of_each, Finish&& finish) {
        begin_.run();
        const std::int64_t now = now_ms();
        for (const Claim& done : claimed_) finish(done, now);
        claimed_.clear();
        rows_.clear();
        for (const std::string_view queue : queues) {
            find_.bind(1, queue);
            find_.bind(2, now);
            find_.bind(3, static_cast<std::int64_t>(of_each));
            while (find_.step()) rows_.push_back(find_.integer(0));
            find_.reset();
        }
        for (const std::int64_t row : rows_) {
            read_.bind(1, row);
            read_.step();
            claimed_.push_back({std::string{read_.bytes(0)}, read_.integer(1) + 1, std::string{read_.bytes(4)}});
            read_.reset();
            claim_.bind(1, row);
            claim_.bind(2, now);
            claim_.bind(3, owner);
            claim_.run();
        }
        commit_.run();
        return !claimed_.empty();
    }

private:
    static constexpr std::int64_t owner = 1'000'000;

    RawStatement begin_;
    RawStatement commit_;
    RawStatement find_;
    RawStatement read_;
    RawStatement claim_;
    std::vector<Claim> claimed_{};
    std::vector<std::int64_t> rows_{};
};

constexpr std::size_t batch = 100;
constexpr const char* remove_claimed =
    "DELETE FROM backlite_tasks WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL";

}  // namespace

std::size_t claim_and_delete_all(const RawDatabase& database) {
    RawStatement remove(database, remove_claimed);
    std::size_t deleted = 0;
    const auto finish = [&](const RawClaims::Claim& done, std::int64_t) {
        remove.bind(1, std::string_view{done.id});
        remove.bind(2, done.claim);
        remove.run();
        deleted += static_cast<std::size_t>(sqlite3_changes(database.handle()));
    };
    const std::array<std::string_view, 1> queues{"upload"};
    RawClaims claims(database);
    while (claims.next(queues, batch, finish)) {
    }
    return deleted;
}

void claim_and_keep_all(const RawDatabase& database, std::span<const std::string_view> queues,
                        std::size_t fails_every) {
    RawStatement retry(database,
                       "UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL, wait_until = ?3, last_executed_at = "
                       "?3, error = 'no', attempts = attempts + 1 WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT "
                       "NULL");
    RawStatement keep(database,
                      "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
                      "last_duration_micro, succeeded, task, expires_at, error) SELECT id, created_at, queue, ?3, "
                      "attempts + 1, 1, 1, task, ?3 + 86400000, NULL FROM backlite_tasks "
                      "WHERE id = ?1 AND claim = ?2 AND claimed_at IS NOT NULL");
    RawStatement remove(database, remove_claimed);
    std::size_t fresh = 0;
    const auto finish = [&](const RawClaims::Claim& done, std::int64_t now) {
        const bool fails = done.claim == 1 && fresh++ % fails_every == 0;
        for (RawStatement* statement : {fails ? &retry : &keep, &remove}) {
            if (fails && statement == &remove) break;
            statement->bind(1, std::string_view{done.id});
            statement->bind(2, done.claim);
            if (statement != &remove) statement->bind(3, now);
            statement->run();
        }
    };
    RawClaims claims(database);
    while (claims.next(queues, batch / queues.size() + 1, finish)) {
    }
}

}  // namespace bench
