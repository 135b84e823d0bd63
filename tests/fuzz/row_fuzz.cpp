// SPDX-License-Identifier: MIT
// Any values in any column of the tables, as others may write them, and a client that works on them without threads.
// In one file the tables are as the library makes them, and SQLite refuses values of a wrong type; in the other they
// have lost STRICT and NOT NULL, so that every column holds whatever a damaged or handmade file may hold.
// In both: no crash, no exception, good tasks run once and in order whatever lies beside them, and the client comes to
// rest. In the first: nothing is claimed twice, claim numbers rise, every outcome lands, counts are right, no add
// passes a bound, and what has not started by its expiry ends.
//     CXX=clang++ cmake -C cmake/fuzz.cmake -S . -B build/fuzz -G Ninja && cmake --build build/fuzz
//     tests/fuzz/run 600 row

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/store/plan.hpp>

#include <stepped_client.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>

#include "demand.hpp"

namespace {

using backlite_fuzz::demand;
using backlite_test::query;
using backlite_test::SteppedClient;

constexpr std::int64_t least = (std::numeric_limits<std::int64_t>::min)();
constexpr std::int64_t most = (std::numeric_limits<std::int64_t>::max)();

// ---- tasks ----------------------------------------------------------------------------------------------------------

constexpr std::array<std::string_view, 3> names{"alpha", "beta", "gamma"};  // of good tasks
constexpr std::array<std::string_view, 4> all_names{"alpha", "beta", "gamma", "bounded"};

template <int N>
struct Job {
    std::string text{};
    int number = 0;
    static backlite::QueueConfig config() {
        backlite::QueueConfig config{.name = std::string{all_names[N]}, .max_attempts = N + 1, .max_crashes = N + 1};
        if (N == 0) config.retention = backlite::Retention{.duration = std::chrono::hours{1}};
        if (N == 2) config.retention = backlite::Retention{.only_failed = true, .data = backlite::RetainData{}};
        if (N == 2) config.backoff = std::chrono::seconds{5};
        return config;
    }
};
template <int N>
void to_json(nlohmann::json& json, const Job<N>& job) {
    json = {{"text", job.text}, {"number", job.number}};
}
template <int N>
void from_json(const nlohmann::json& json, Job<N>& job) {
    json.at("text").get_to(job.text);
    json.at("number").get_to(job.number);
}

constexpr std::string_view sound_payload = R"({"text":"x","number":1})";

// What the processors do, and what they saw. Good tasks always succeed.
struct Script {
    FuzzedDataProvider* decisions = nullptr;
    std::map<std::string, int> runs{};
    std::vector<std::string> good_order{};
};
Script script;

bool good(std::string_view id) { return id.starts_with("good-"); }

backlite::Outcome process(const backlite::Context& context) {
    const std::string& id = context.task_id().str();
    ++script.runs[id];
    if (good(id)) script.good_order.push_back(id);
    if (good(id) || script.decisions == nullptr) return backlite::Outcome::success();
    switch (script.decisions->ConsumeIntegralInRange(0, 6)) {
        case 0: return backlite::Outcome::retry("again");
        case 1:
            return backlite::Outcome::retry_in(backlite::Duration{script.decisions->ConsumeIntegral<std::int64_t>()},
                                               "later");
        case 2: return backlite::Outcome::snooze(backlite::Duration{script.decisions->ConsumeIntegral<std::int64_t>()});
        case 3: return backlite::Outcome::discard("never");
        case 4: throw std::runtime_error("thrown");
        default: return backlite::Outcome::success();
    }
}

// Like testing::ManualClock, but it can begin anew: millions of runs would leave what a clock can say.
class RunClock final : public backlite::Clock {
public:
    void reset() noexcept { wall_ = steady_ = std::chrono::milliseconds{1'600'000'000'000}; }
    void advance(backlite::Duration duration) noexcept {
        wall_ += duration;
        steady_ += duration;
    }
    void jump(backlite::Duration duration) noexcept { wall_ += duration; }
    [[nodiscard]] backlite::TimePoint now() const noexcept override { return backlite::TimePoint{wall_}; }
    [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const noexcept override {
        return std::chrono::steady_clock::time_point{steady_};
    }

private:
    backlite::Duration wall_{};
    backlite::Duration steady_{};
};

// ---- a file, its client, and a stranger that writes to it -----------------------------------------------------------

class World {
public:
    explicit World(bool strict) : strict_(strict), file_(folder_.file(strict ? "strict.db" : "lax.db")) {
        queues_.add(backlite::Queue<Job<0>>([](backlite::Context& c, const Job<0>&) { return process(c); }).release());
        queues_.add(backlite::Queue<Job<1>>([](backlite::Context& c, const Job<1>&) { return process(c); }).release());
        queues_.add(backlite::Queue<Job<2>>([](backlite::Context& c, const Job<2>&) { return process(c); }).release());
        queues_.add(backlite::Queue<Job<3>>([](backlite::Context& c, const Job<3>&) { return process(c); }).release());
        backlite::ClientConfig config = backlite_test::quick_config(file_);
        config.num_workers = SteppedClient::workers;
        config.release_after = std::chrono::minutes{10};
        config.max_payload = 256;
        { SteppedClient installs(config, queues_, clock_); }
        if (!strict) {
            SQLite::Database database(file_, SQLite::OPEN_READWRITE);
            backlite_test::loosen(database);
        }
        client_.emplace(config, queues_, clock_);
        stranger_.emplace(file_, SQLite::OPEN_READWRITE, 1'000);
        reader_.emplace(config, backlite::store::sqlite::Role::reader);
        reads_.emplace(reader_->handle());
    }

    [[nodiscard]] bool strict() const noexcept { return strict_; }
    [[nodiscard]] SteppedClient& client() noexcept { return *client_; }
    [[nodiscard]] RunClock& clock() noexcept { return clock_; }
    [[nodiscard]] backlite::store::sqlite::StatusQueries& reads() noexcept { return *reads_; }
    [[nodiscard]] sqlite3* stranger() { return stranger_->getHandle(); }

    [[nodiscard]] std::string ask(const std::string& sql) { return query(stranger(), sql); }
    [[nodiscard]] std::int64_t number(const std::string& sql) { return std::stoll(ask(sql)); }
    void execute(const std::string& sql) { backlite_test::execute(stranger(), sql); }

private:
    const bool strict_;
    backlite_test::TempFolder folder_{};
    const std::string file_;
    RunClock clock_{};
    backlite::core::QueueRegistry queues_{};
    std::optional<SteppedClient> client_{};
    std::optional<SQLite::Database> stranger_{};
    std::optional<backlite::store::sqlite::Connection> reader_{};
    std::optional<backlite::store::sqlite::StatusQueries> reads_{};
};

// ---- what others write ----------------------------------------------------------------------------------------------

constexpr std::array<std::string_view, 14> task_columns{
    "id",       "created_at", "queue", "task",  "wait_until", "claimed_at", "last_executed_at",
    "attempts", "owner",      "claim", "lease", "crashes",    "priority",   "hold"};
constexpr std::array<std::string_view, 10> completed_columns{
    "id",   "created_at", "queue", "last_executed_at", "attempts", "last_duration_micro", "succeeded",
    "task", "expires_at", "error"};
constexpr std::array<std::string_view, 3> detail_columns{"task", "expires_at", "metadata"};
constexpr std::array<std::string_view, 6> client_columns{"owner",      "slot",    "workers",
                                                         "started_at", "boot_id", "version"};

std::int64_t some_integer(FuzzedDataProvider& in, std::int64_t now) {
    switch (in.ConsumeIntegralInRange(0, 9)) {
        case 0: return least;
        case 1: return most;
        case 2: return most - in.ConsumeIntegralInRange(0, 3);
        case 3: return least + in.ConsumeIntegralInRange(0, 3);
        case 4: return now + in.ConsumeIntegralInRange(-100'000, 100'000);
        case 5: return (std::int64_t{1} << in.ConsumeIntegralInRange(0, 62)) + in.ConsumeIntegralInRange(-2, 2);
        case 6: return in.ConsumeIntegral<std::int64_t>();
        default: return in.ConsumeIntegralInRange(-2, 8);
    }
}

// Binds a value of any type.
void bind_any(FuzzedDataProvider& in, sqlite3_stmt* statement, int index, std::int64_t now) {
    switch (in.ConsumeIntegralInRange(0, 7)) {
        case 0: sqlite3_bind_null(statement, index); return;
        case 1: sqlite3_bind_double(statement, index, in.ConsumeFloatingPoint<double>()); return;
        case 2: {
            std::string text = in.ConsumeRandomLengthString(40);
            if (good(text)) text[0] = 'x';
            sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
            return;
        }
        case 3: {
            const std::string bytes = in.ConsumeRandomLengthString(40);
            sqlite3_bind_blob64(statement, index, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
            return;
        }
        case 4: {
            const std::string_view name = all_names[in.ConsumeIntegralInRange<std::size_t>(0, all_names.size() - 1)];
            sqlite3_bind_text64(statement, index, name.data(), name.size(), SQLITE_STATIC, SQLITE_UTF8);
            return;
        }
        default: sqlite3_bind_int64(statement, index, some_integer(in, now));
    }
}

// Binds what a sane program could have written there, as far as the column's type goes.
void bind_sane(FuzzedDataProvider& in, sqlite3_stmt* statement, int index, std::string_view column, std::int64_t now,
               bool details) {
    const auto text = [&](const std::string& value) {
        sqlite3_bind_text64(statement, index, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    };
    if (column == "id") return text(fmt::format("row-{}", in.ConsumeIntegralInRange(0, 30)));
    if (column == "queue")
        return text(std::string{all_names[in.ConsumeIntegralInRange<std::size_t>(0, all_names.size() - 1)]});
    if (column == "error" || column == "boot_id") return text("text");
    if (column == "metadata") return text("{}");
    if (column == "hold" && in.ConsumeBool()) {
        sqlite3_bind_int64(statement, index, 0);
        return;
    }
    if (column == "task" && details) return text(fmt::format("row-{}", in.ConsumeIntegralInRange(0, 30)));
    if (column == "task") {
        std::string payload{sound_payload};
        if (in.ConsumeBool()) payload = in.ConsumeRandomLengthString(300);
        sqlite3_bind_blob64(statement, index, payload.data(), payload.size(), SQLITE_TRANSIENT);
        return;
    }
    const bool often_null =
        column == "wait_until" || column == "claimed_at" || column == "owner" || column == "expires_at";
    if (often_null && in.ConsumeBool()) {
        sqlite3_bind_null(statement, index);
    } else {
        sqlite3_bind_int64(statement, index, some_integer(in, now));
    }
}

void step_refusable(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    demand(code == SQLITE_DONE || code == SQLITE_CONSTRAINT || code == SQLITE_MISMATCH,
           fmt::format("a stranger's row is taken or refused: {}", sqlite3_errmsg(sqlite3_db_handle(statement))));
    sqlite3_finalize(statement);
}

sqlite3_stmt* prepared(sqlite3* db, const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    demand(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK, sql + ": " + sqlite3_errmsg(db));
    return statement;
}

template <std::size_t N>
void insert_row(World& world, FuzzedDataProvider& in, const char* table,
                const std::array<std::string_view, N>& columns) {
    std::string marks = "?";
    for (std::size_t i = 1; i < N; ++i) marks += ", ?";
    sqlite3_stmt* statement = prepared(
        world.stranger(), fmt::format("INSERT INTO {} ({}) VALUES ({})", table, fmt::join(columns, ", "), marks));
    const std::int64_t now = world.client().now().count();
    const auto odd = in.ConsumeIntegral<std::uint16_t>();
    for (std::size_t i = 0; i < N; ++i) {
        const int index = static_cast<int>(i) + 1;
        if ((odd >> i & 1U) != 0) {
            bind_any(in, statement, index, now);
        } else {
            bind_sane(in, statement, index, columns[i], now, N == detail_columns.size());
        }
    }
    step_refusable(statement);
}

// Changes a value of a row that is there. Good tasks are left alone.
void tamper(World& world, FuzzedDataProvider& in) {
    const std::string_view column = task_columns[in.ConsumeIntegralInRange<std::size_t>(0, task_columns.size() - 1)];
    sqlite3_stmt* statement =
        prepared(world.stranger(),
                 fmt::format("UPDATE backlite_tasks SET {} = ? WHERE rowid IN (SELECT rowid FROM backlite_tasks "
                             "WHERE id IS NULL OR id NOT GLOB 'good-*' LIMIT 1 OFFSET {})",
                             column, in.ConsumeIntegralInRange(0, 15)));
    bind_any(in, statement, 1, world.client().now().count());
    step_refusable(statement);
}

constexpr int good_each = 3;

void reset(World& world) {
    for (const char* sql :
         {"DELETE FROM backlite_tasks", "DELETE FROM backlite_tasks_completed", "DELETE FROM backlite_clients",
          "DELETE FROM backlite_details", "UPDATE backlite_meta SET value = 0 WHERE key = 'last_owner'"}) {
        world.execute(sql);
    }
    const std::int64_t now = world.client().now().count();
    for (const std::string_view name : names) {
        for (int i = 0; i < good_each; ++i) {
            world.execute(
                fmt::format("INSERT INTO backlite_tasks (id, created_at, queue, task) "
                            "VALUES ('good-{}-{}', {}, '{}', CAST('{}' AS BLOB))",
                            name, i, now - 10 + i, name, sound_payload));
        }
    }
}

// ---- a run, and what must hold --------------------------------------------------------------------------------------

class Run {
public:
    Run(World& world, FuzzedDataProvider& in) : world_(world), client_(world.client()), in_(in) {}

    void all() {
        script = Script{};
        world_.clock().reset();
        world_.execute("BEGIN IMMEDIATE");
        reset(world_);
        write_rows();
        world_.execute("COMMIT");
        start();
        script.decisions = &in_;
        for (int steps = 0; steps < 24 && in_.remaining_bytes() > 0; ++steps) step();
        script.decisions = nullptr;
        settle();
        client_.stop();
        check_end();
    }

private:
    void write_rows() {
        const int rows = in_.ConsumeIntegralInRange(0, 12);
        for (int i = 0; i < rows; ++i) insert_row(world_, in_, "backlite_tasks", task_columns);
        const int completed = in_.ConsumeIntegralInRange(0, 3);
        for (int i = 0; i < completed; ++i) insert_row(world_, in_, "backlite_tasks_completed", completed_columns);
        const int details = in_.ConsumeIntegralInRange(0, 4);
        for (int i = 0; i < details; ++i) insert_row(world_, in_, "backlite_details", detail_columns);
        const int clients = in_.ConsumeIntegralInRange(0, 3);
        for (int i = 0; i < clients; ++i) insert_row(world_, in_, "backlite_clients", client_columns);
    }

    void start() {
        client_.start();
        held_.clear();
        if (world_.strict()) {
            demand(world_.ask(
                       "SELECT count(*) FROM backlite_tasks WHERE claimed_at IS NOT NULL AND owner IS NOT NULL") == "0",
                   "who starts takes back what nobody alive holds");
        }
    }

    void step() {
        switch (in_.ConsumeIntegralInRange(0, 14)) {
            case 0:
                world_.clock().advance(backlite::Duration{in_.ConsumeIntegralInRange<std::int64_t>(0, 3'600'000)});
                break;
            case 1: jump(); break;
            case 2:
                inserted_ = true;
                insert_row(world_, in_, "backlite_tasks", task_columns);
                break;
            case 3:
                tampered_ = true;
                tamper(world_, in_);
                break;
            case 4: insert_row(world_, in_, "backlite_clients", client_columns); break;
            case 5:
                client_.die(in_.ConsumeIntegralInRange<std::size_t>(0, SteppedClient::workers));
                died_ = true;
                start();
                break;
            case 6: client_.look_after_others(); break;
            case 7: upkeep(); break;
            case 8: look(); break;
            case 9: run_one(); break;
            case 10: insert_row(world_, in_, "backlite_details", detail_columns); break;
            case 11:
            case 12:
                for (int i = in_.ConsumeIntegralInRange(1, 8); i > 0; --i) add();
                break;
            default: claim();
        }
    }

    // An add to a queue that takes only so many, whatever lies there, and whose task may expire.
    void add() {
        constexpr std::int64_t bound = 4;
        static const std::array<backlite::QueueConfig, 3> configs = [] {
            std::array<backlite::QueueConfig, 3> made{};
            for (std::size_t i = 0; i < made.size(); ++i) {
                made[i] = Job<3>::config();
                made[i].max_waiting = static_cast<std::size_t>(bound);
                made[i].overflow = static_cast<backlite::Overflow>(i);
            }
            return made;
        }();
        std::array<backlite::detail::NewTask, 1> tasks{};
        tasks[0].id = backlite::TaskId::from_text(fmt::format("added-{}", ++added_));
        tasks[0].queue = all_names[3];
        tasks[0].payload = sound_payload;
        tasks[0].bounded = &configs[in_.ConsumeIntegralInRange<std::size_t>(0, configs.size() - 1)];
        const backlite::detail::Ms now = client_.now();
        if (in_.ConsumeBool()) {
            tasks[0].expires_at = now + backlite::Duration{in_.ConsumeIntegralInRange<std::int64_t>(0, 100'000)};
        }
        std::vector<backlite::store::DroppedTask> dropped;
        try {
            client_.store().add({.tasks = tasks, .now = now, .dropped = &dropped}, {client_.config().busy_timeout, {}});
        } catch (const backlite::QueueFullError&) {
            return;
        } catch (const backlite::StorageError&) {
            if (world_.strict()) throw;
            return;
        }
        client_.refresh();
        if (!world_.strict()) return;
        demand(
            world_.number("SELECT count(*) FROM backlite_tasks NOT INDEXED WHERE queue = 'bounded' AND claimed_at IS "
                          "NULL") <= bound,
            "no add passes a bound");
    }

    void jump() {
        const backlite::Duration by{in_.ConsumeIntegralInRange<std::int64_t>(1, 86'400'000)};
        world_.clock().jump(-by);
        client_.clock_was_set(-by);
        client_.look();
        backlite::store::CyclePlan plan = client_.plan();
        demand(!plan.mend.empty() && plan.jump_back >= by, "what a clock that was set back has made is looked for");
        plan.claim = {};
        write(plan);
    }

    void upkeep() {
        client_.look();
        backlite::store::CyclePlan plan;
        for (const backlite::detail::ClaimedTask& task : client_.ready()) plan.leases.push_back({task.id, task.claim});
        plan.purge = true;
        plan.past = client_.now();
        plan.lapse = true;
        const backlite::detail::Ms lapsed = client_.now() - client_.config().release_after;
        plan.lapse_until = lapsed;
        write(plan);
        client_.look();
        demand(!client_.ownerless() || *client_.ownerless() > lapsed,
               "claims without owner that are too old are given back");
    }

    // Reading finds what is there.
    void look() {
        std::uint64_t counted = 0;
        for (const backlite::QueueCounts& queue : world_.reads().counts(client_.now())) {
            counted += queue.waiting + queue.scheduled + queue.running;
        }
        if (world_.strict()) {
            demand(counted == static_cast<std::uint64_t>(world_.number("SELECT count(*) FROM backlite_tasks")),
                   "every unfinished task is counted once");
        }
        for (int i = 0; i < 3; ++i)
            (void)world_.reads().status(backlite::TaskId::from_text(in_.ConsumeRandomLengthString(20)));
        (void)world_.reads().status(backlite::TaskId::from_text("row-1"));
    }

    void run_one() {
        if (const backlite::detail::AttemptResult* resolved = client_.run_one()) held_.erase(resolved->id.str());
    }

    backlite::store::CycleResult write(const backlite::store::CyclePlan& plan) {
        const backlite::store::CycleResult result = client_.cycle(plan);
        if (world_.strict() && !tampered_) {
            demand(result.lost_outcomes.empty() && result.lost_leases.empty(), "who holds a claim can write");
        }
        return result;
    }

    // One claim for the free workers. Whether anything was claimed.
    bool claim() {
        client_.look();
        std::map<std::string, std::int64_t> before;
        if (world_.strict()) before = claim_numbers();
        const backlite::store::CyclePlan plan = client_.plan();
        if (plan.claim.limit == 0) return write(plan), false;
        std::set<std::size_t> came_back;  // their next task may be one that this very cycle puts back
        for (const backlite::store::EndedAttempt& finished : client_.finished()) came_back.insert(finished.queue);
        const backlite::store::CycleResult result = write(plan);
        for (const backlite::detail::ClaimedTask& task : result.claimed.tasks) {
            const bool new_one = held_.insert(task.id.str()).second;
            if (!world_.strict()) continue;
            demand(new_one || tampered_, "nothing is claimed twice");
            const auto was = before.find(task.id.str());
            if (was == before.end()) continue;  // it had no id
            demand(was->second == most ? task.claim == most : task.claim > was->second, "a claim raises its number");
        }
        if (result.claimed.tasks.size() < plan.claim.beside.free_workers) {
            const auto& heads = client_.heads();
            for (std::size_t i = 0; i < heads.size(); ++i) {
                demand(heads[i].due > client_.now() || came_back.contains(i),
                       "a queue with nothing to claim is not thought to be due");
            }
        }
        if (world_.strict()) {
            for (const auto& [id, number] : claim_numbers()) {
                const auto is_it = [&id = id](const auto& task) { return task.id.str() == id; };
                const auto& tasks = result.claimed.tasks;
                const auto task = std::find_if(tasks.begin(), tasks.end(), is_it);
                demand(task == tasks.end() || task->claim == number, "the file has the claim's number");
            }
        }
        return !result.claimed.tasks.empty();
    }

    [[nodiscard]] std::map<std::string, std::int64_t> claim_numbers() {
        std::map<std::string, std::int64_t> numbers;
        sqlite3_stmt* statement =
            prepared(world_.stranger(), "SELECT id, claim FROM backlite_tasks WHERE id IS NOT NULL");
        while (sqlite3_step(statement) == SQLITE_ROW) {
            const auto* data = static_cast<const char*>(sqlite3_column_blob(statement, 0));
            const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, 0));
            numbers[size > 0 ? std::string(data, size) : std::string{}] = sqlite3_column_int64(statement, 1);
        }
        sqlite3_finalize(statement);
        return numbers;
    }

    // Everything that is due is run; then nothing is left to do.
    void settle() {
        for (int cycles = 0;; ++cycles) {
            demand(cycles < 100, "a client comes to rest");
            while (!client_.ready().empty()) run_one();
            if (claim() || !client_.finished().empty() || client_.stale()) continue;
            const auto& heads = client_.heads();  // a retry without backoff may be due again
            if (std::none_of(heads.begin(), heads.end(), [&](const auto& head) { return head.due <= client_.now(); })) {
                break;
            }
        }
        demand(world_.ask(fmt::format("SELECT count(*) FROM backlite_tasks NOT INDEXED WHERE claimed_at IS NULL "
                                      "AND hold = 0 AND typeof(priority) = 'integer' AND queue IN ('{}') AND "
                                      "typeof(created_at) IN ('integer', 'real') "
                                      "AND typeof(wait_until) IN ('integer', 'real', 'null') "
                                      "AND max(created_at, coalesce(wait_until, created_at)) <= {}",
                                      fmt::join(names, "', '"), client_.now().count())) == "0",
               "every task that is due is claimed");
        if (!world_.strict()) return;
        demand(world_.ask(fmt::format(
                   "SELECT count(*) FROM backlite_details JOIN backlite_tasks ON id = backlite_details.task WHERE "
                   "claimed_at IS NULL AND last_executed_at IS NULL AND attempts = 0 AND crashes = 0 AND queue IN "
                   "('{}') AND expires_at <= {}",
                   fmt::join(all_names, "', '"), client_.now().count())) == "0",
               "what has not started by its expiry has ended");
    }

    void check_end() {
        if (world_.strict() && !tampered_ && !inserted_) {
            demand(world_.ask(
                       "SELECT count(*) FROM backlite_tasks WHERE owner IS NOT NULL AND claimed_at IS NOT NULL") == "0",
                   "who stops holds nothing");
        }
        demand(world_.ask("SELECT count(*) FROM backlite_tasks WHERE id GLOB 'good-*' AND typeof(id) = 'text'") == "0",
               "every good task is done");
        for (const std::string_view name : names) {
            for (int i = 0; i < good_each; ++i) {
                const std::string id = fmt::format("good-{}-{}", name, i);
                const int runs = script.runs[id];
                demand(runs == 1 || died_, fmt::format("{} runs once, not {} times", id, runs));
            }
        }
        if (died_) return;
        for (const std::string_view name : names) {
            std::vector<std::string> order = script.good_order;
            std::erase_if(order, [&](const std::string& id) { return id.find(name) == std::string::npos; });
            demand(std::is_sorted(order.begin(), order.end()), "a queue's tasks start in the order of their due times");
        }
    }

    World& world_;
    SteppedClient& client_;
    FuzzedDataProvider& in_;
    std::set<std::string> held_{};
    int added_ = 0;
    bool inserted_ = false;
    bool tampered_ = false;
    bool died_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static World& strict = *new World(true);
    static World& lax = *new World(false);
    FuzzedDataProvider in(data, size);
    World& world = in.ConsumeBool() ? strict : lax;
    Run(world, in).all();
    return 0;
}
