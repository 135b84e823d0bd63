// SPDX-License-Identifier: MIT
// A storm of ends: clients are stopped, destroyed and lost in every way while they claim, run and commit, with
// exceptions everywhere. None hangs, none ends the process, and no task is lost, doubled or charged for it.
//     BACKLITE_ROUNDS=13000 BACKLITE_SEED=7 build/gcc/tests/backlite_stress "shutdown: every way*"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <faulty_vfs.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Outcome;
using Steady = std::chrono::steady_clock;

// What a task does when it runs.
enum class Kind {
    quick,
    sleeps,           // for a moment, whatever its token says
    obeys,            // waits for its token, then returns
    gives_up,         // waits for its token, then throws
    throws,           // always
    throws_a_number,  // always
    retries,          // always, at once
    snoozes,          // once
    discards,
    adds,        // another task
    unreadable,  // its from_json throws
    last
};

// Two queues: what is in the first is quick, so that it is claimed ahead; what is in the second keeps workers busy.
template <int Q>
struct Job {
    std::size_t number = 0;
    Kind kind = Kind::quick;
    static backlite::QueueConfig config() {
        backlite::QueueConfig config;
        config.name = Q == 0 ? "quick" : "slow";
        config.max_attempts = 3;
        config.retention = backlite::Retention{.data = backlite::RetainData{}};
        config.backoff = backlite::Backoff::custom([](int attempt) -> backlite::Duration {
            if (attempt == 2) throw 7;  // then the task waits one second
            return 0ms;
        });
        return config;
    }
};
template <int Q>
void to_json(nlohmann::json& json, const Job<Q>& job) {
    json = {{"number", job.number}, {"kind", static_cast<int>(job.kind)}};
}
template <int Q>
void from_json(const nlohmann::json& json, Job<Q>& job) {
    job.number = json.at("number").get<std::size_t>();
    job.kind = static_cast<Kind>(json.at("kind").get<int>());
    if (job.kind == Kind::unreadable) throw job.number;
}
using Quick = Job<0>;
using Slow = Job<1>;

// How a client ends.
enum class SessionEnd {
    patient_stop,
    stop_at_once,
    short_stop,
    stubborn_task,  // a stop whose second of grace is not enough
    hard_stop,
    destructor,
    stop_inside_task,
    stop_in_logger,
    last_reference_in_task,
    two_stops,
    own_transaction,  // the destructor, on a thread whose write transaction keeps the file locked
    full_for_a_while,
    full_for_good,
    file_moved,
    last
};

constexpr std::array<std::string_view, static_cast<std::size_t>(SessionEnd::last)> ending_names{
    "patient stop",    "stop at once",     "short stop",     "stubborn task",    "hard stop",
    "destructor",      "stop in task",     "stop in logger", "last ref in task", "two stops",
    "own transaction", "full for a while", "full for good",  "file moved"};

// Ends the process with a message when something takes too long, or when anything calls std::terminate.
// Threads: one uses it.
class Watchdog {
public:
    explicit Watchdog(std::uint64_t seed) : seed_(seed), thread_([this](const std::stop_token& stop) { run(stop); }) {
        current() = this;
        before_ = std::set_terminate([] {
            current()->report("std::terminate was called");
            std::abort();
        });
    }
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;
    ~Watchdog() { std::set_terminate(before_); }

    void round(std::size_t number, SessionEnd ending) {
        round_ = number;
        ending_ = ending;
        expect("a round", 2min);
    }

    void expect(const char* what, std::chrono::milliseconds within) {
        const std::lock_guard lock(mutex_);
        what_ = what;
        until_ = Steady::now() + within;
    }

private:
    static Watchdog*& current() {
        static Watchdog* watchdog = nullptr;
        return watchdog;
    }

    void report(std::string_view what) const {
        fmt::print(stderr, "shutdown: BACKLITE_SEED={} round {} ({}): {}\n", seed_, round_.load(),
                   ending_names[static_cast<std::size_t>(ending_.load())], what);
        std::fflush(stderr);
    }

    void run(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            {
                const std::lock_guard lock(mutex_);
                if (Steady::now() > until_) {
                    report(fmt::format("{} hangs", what_));
                    std::abort();
                }
            }
            std::this_thread::sleep_for(20ms);
        }
    }

    const std::uint64_t seed_;
    std::atomic<std::size_t> round_{0};
    std::atomic<SessionEnd> ending_{SessionEnd::patient_stop};
    std::terminate_handler before_ = nullptr;
    std::mutex mutex_{};
    // guarded by mutex_
    const char* what_ = "nothing";
    Steady::time_point until_ = Steady::now() + 1min;

    std::jthread thread_;
};

// How far a loaded machine may be behind, beyond what a call is allowed.
constexpr std::chrono::milliseconds slack = 20s;

// What became of one task, as its processors saw it.
struct Runs {
    bool added = false;
    int entered = 0;
    int left = 0;
    int succeeded = 0;
    int failed = 0;
};

// Slows the commits of a connection, and tells whether one is under way. SQLite calls the first hook inside a commit,
// one of the others when it is over.
std::atomic<bool> committing{false};

SQLite::Database slow(SQLite::Database database) {
    sqlite3* db = database.getHandle();
    sqlite3_commit_hook(
        db,
        [](void*) {
            committing = true;
            std::this_thread::sleep_for(2ms);
            return 0;
        },
        nullptr);
    sqlite3_rollback_hook(
        db, [](void*) { committing = false; }, nullptr);
    sqlite3_wal_hook(
        db,
        [](void*, sqlite3*, const char*, int) {
            committing = false;
            return SQLITE_OK;
        },
        nullptr);
    return database;
}

class Round {
public:
    Round(std::mt19937_64& random, SessionEnd ending, FaultyVfs& vfs, Watchdog& watchdog, bool first)
        : random_(random), ending_(ending), vfs_(vfs), watchdog_(watchdog), first_(first), two_clients_(chance(4)) {}

    void run(Moments& moments) {
        make_client();
        add_tasks();
        {
            // Another client of the same queues, which goes on while the first ends.
            std::unique_ptr<Client> other;
            start();
            if (two_clients_) {
                other = std::make_unique<Client>(quick(database_, 1));
                register_queues(*other, false);
                other->start();
            }
            const auto target = 4 + below(number_of_tasks / 2);
            REQUIRE(eventually([&] { return entered() >= target; }));
            std::this_thread::sleep_for(std::chrono::microseconds{below(1'500)});
            // A moment at which much is going on, if there is one soon.
            Moments::InFlight now = in_flight();
            for (int i = 0; i < 10 && (now.claimed == 0 || now.committing == 0); ++i) now = in_flight();
            moments.note(now);
            end();
            if (other) {
                watchdog_.expect("the other client's stop", 10s + slack);
                const bool stopped = other->stop(10s);
                // A client that has seen its file move gives up.
                CHECK((stopped || ending_ == SessionEnd::file_moved));
            }
        }
        check_file();
        drain();
        check_end();
    }

private:
    static constexpr std::size_t number_of_tasks = 80;

    // ---- the tasks ----

    std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>{0, bound - 1}(random_); }
    bool chance(std::size_t of) { return below(of) == 0; }

    void make_client() {
        ClientConfig config = quick(database_, static_cast<unsigned>(1 + below(3)));
        config.open = [this] { return slow(vfs_.connect(database_)); };
        config.busy_timeout =
            ending_ == SessionEnd::own_transaction || ending_ == SessionEnd::full_for_good ? 30ms : 5s;
        config.on_fatal = [](const backlite::Error&) { throw std::runtime_error("on_fatal is broken"); };
        const bool broken = chance(2);
        auto logger = backlite::make_logger([this, broken](auto, auto, auto) {
            if (stop_in_logger_.exchange(false)) expect(!client_->stop(1h), "a stop in the logger waited");
            if (broken) throw std::runtime_error("the logger is broken");
        });
        engine_ = logger;
        config.logger = std::move(logger);
        client_ = std::make_shared<Client>(std::move(config));
        register_queues(*client_, true);
    }

    // `ends`: this is the client whose end the round is about.
    void register_queues(Client& client, bool ends) {
        client.register_queue<Quick>(
            [=, this](Context& context, const Quick& job) { return run_one(context, job, ends); });
        client.register_queue<Slow>(
            [=, this](Context& context, const Slow& job) { return run_one(context, job, ends); });
    }

    void add_tasks() {
        std::vector<Quick> quick_ones;
        std::vector<Slow> slow_ones;
        // Some of the first queue hold a worker while others wait behind them; one of the second can be of any kind.
        for (std::size_t number = 0; number < number_of_tasks; ++number) {
            if (number % 8 == 0) {
                const auto kinds = static_cast<std::size_t>(Kind::last) - 1;
                slow_ones.push_back({number, static_cast<Kind>(1 + below(kinds))});
            } else {
                quick_ones.push_back({number, number % 4 == 1 ? Kind::sleeps : Kind::quick});
            }
        }
        runs_.resize(number_of_tasks);
        for (Runs& runs : runs_) runs.added = true;
        static_cast<void>(client_->add(quick_ones, slow_ones).save());
    }

    template <int Q>
    Outcome run_one(Context& context, const Job<Q>& job, bool ends) {
        const int run = note([&](Runs& runs) { return ++runs.entered; }, job.number);
        if (ends) interfere(context);
        const auto leave = [&](int Runs::*how) {
            note(
                [&](Runs& runs) {
                    ++(runs.*how);
                    return ++runs.left;
                },
                job.number);
        };
        switch (job.kind) {
            case Kind::sleeps: std::this_thread::sleep_for(draining_ ? 0ms : 3ms); break;
            case Kind::obeys: wait_for_stop(context); break;
            case Kind::gives_up:
                if (!wait_for_stop(context)) break;
                leave(&Runs::failed);
                throw std::runtime_error("interrupted");
            case Kind::throws: leave(&Runs::failed); throw std::runtime_error("broken");
            case Kind::throws_a_number: leave(&Runs::failed); throw 5;
            case Kind::retries: leave(&Runs::failed); return Outcome::retry_in(0ms, "again");
            case Kind::snoozes:
                if (run > 1) break;
                note([](Runs& runs) { return ++runs.left; }, job.number);
                return Outcome::snooze(0ms);
            case Kind::discards: leave(&Runs::succeeded); return Outcome::discard("not wanted");
            case Kind::adds: add_another(context); break;
            case Kind::quick:
            case Kind::unreadable:
            case Kind::last: break;
        }
        leave(&Runs::succeeded);
        return Outcome::success();
    }

    // What the ending asks of the first task that comes by.
    void interfere(Context& context) {
        if (stop_inside_.exchange(false)) {
            expect(!context.client().stop(1h), "a stop inside a task waited");
            asked_ = true;
        }
        if (drop_.exchange(false)) {
            client_.reset();
            try {
                context.client().notify();
            } catch (const backlite::Error&) {
                expect(false, "the client is of no use to a task that still runs");
            }
            asked_ = true;
        }
        if (stubborn_.exchange(false)) {
            asked_ = true;
            gate_.pass();
        }
    }

    bool wait_for_stop(const Context& context) const {
        const auto until = Steady::now() + (draining_ ? 0ms : 10ms);
        while (Steady::now() < until && !context.stop_token().stop_requested()) std::this_thread::sleep_for(200us);
        return context.stop_token().stop_requested();
    }

    void add_another(const Context& context) {
        if (draining_) return;
        std::size_t number = 0;
        {
            const std::lock_guard lock(mutex_);
            number = runs_.size();
            runs_.emplace_back();
        }
        try {
            static_cast<void>(context.client().add(Quick{number, Kind::quick}).save());
        } catch (const backlite::Error&) {  // a full disk, a lost file
            return;
        }
        const std::lock_guard lock(mutex_);
        runs_[number].added = true;
    }

    // Catch2 takes assertions from one thread only.
    void expect(bool holds, std::string_view otherwise) {
        if (holds) return;
        const std::lock_guard lock(mutex_);
        complaints_ += fmt::format("{}; ", otherwise);
    }

    template <class Change>
    int note(Change&& change, std::size_t number) {
        const std::lock_guard lock(mutex_);
        return change(runs_.at(number));
    }

    std::size_t entered() {
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(
            std::count_if(runs_.begin(), runs_.end(), [](const Runs& runs) { return runs.entered > 0; }));
    }

    // ---- the end ----

    void start() {
        hard_ = std::stop_source{};
        client_->start(hard_.get_token());
        owner_ = Look(database_).number("SELECT max(owner) FROM backlite_clients");
    }

    Moments::InFlight in_flight() {
        Moments::InFlight found;
        std::vector<std::size_t> before;  // tasks that have left their processor
        {
            const std::lock_guard lock(mutex_);
            for (std::size_t number = 0; number < runs_.size(); ++number) {
                if (runs_[number].left > 0 && runs_[number].left == runs_[number].entered) before.push_back(number);
            }
        }
        found.committing = committing ? 1 : 0;
        SQLite::Database database(database_, SQLite::OPEN_READONLY);
        SQLite::Statement claimed(database,
                                  "SELECT json_extract(CAST(task AS TEXT), '$.number') FROM backlite_tasks "
                                  "WHERE claimed_at IS NOT NULL");
        while (claimed.executeStep()) {
            const auto number = static_cast<std::size_t>(claimed.getColumn(0).getInt64());
            const std::lock_guard lock(mutex_);
            if (runs_[number].entered == 0) {
                ++found.claimed;
            } else if (runs_[number].left < runs_[number].entered) {
                ++found.inside;
            } else if (std::find(before.begin(), before.end(), number) != before.end()) {
                ++found.returned;
            }
        }
        return found;
    }

    // Calls stop and checks how long it takes. What it returns.
    bool stop(std::chrono::milliseconds patience_given) {
        watchdog_.expect("stop", patience_given + 1s + slack);
        const bool stopped = client_->stop(patience_given);
        watchdog_.expect("the rest of the round", 2min);
        if (stopped && ending_ != SessionEnd::file_moved) check_stopped();
        return stopped;
    }

    // Stops until there is nothing left: a stop that came too early says false.
    void stop_at_last() {
        REQUIRE(eventually([&] { return stop(10s); }));
    }

    // A clean stop: everything of this client is in the file, nothing of it is left.
    void check_stopped() const {
        SQLite::Database database(database_, SQLite::OPEN_READONLY, 10'000);
        SQLite::Statement left(database,
                               "SELECT (SELECT count(*) FROM backlite_clients WHERE owner = ?1), "
                               "(SELECT count(*) FROM backlite_tasks WHERE owner = ?1)");
        left.bind(1, owner_);
        REQUIRE(left.executeStep());
        CHECK(left.getColumn(0).getInt() == 0);
        CHECK(left.getColumn(1).getInt() == 0);
    }

    void destroy() {
        watchdog_.expect("the destructor", 1s + slack);
        client_.reset();
        watchdog_.expect("the rest of the round", 2min);
    }

    // Waits until a task has taken what the ending has asked for. The other client may take tasks too, so there are
    // more until one came to the right place.
    template <class Asked>
    void await_task(Asked&& asked) {
        watchdog_.expect("what the task does", slack);
        Client producer{quick(database_)};
        while (!asked()) {
            const std::size_t number = [&] {
                const std::lock_guard lock(mutex_);
                runs_.emplace_back().added = true;
                return runs_.size() - 1;
            }();
            static_cast<void>(producer.add(Slow{number, Kind::sleeps}).save());
            for (int i = 0; i < 100 && !asked(); ++i) std::this_thread::sleep_for(1ms);
        }
        watchdog_.expect("the rest of the round", 2min);
    }

    void end() {
        switch (ending_) {
            case SessionEnd::patient_stop: CHECK(stop(10s)); break;
            case SessionEnd::stop_at_once:
                if (!stop(0ms)) stop_at_last();
                break;
            case SessionEnd::short_stop:
                if (!stop(std::chrono::milliseconds{below(6)})) stop_at_last();
                break;
            case SessionEnd::stubborn_task: {
                const OpensAtEnd opens(gate_);
                stubborn_ = true;
                await_task([&] { return asked_.load(); });
                CHECK_FALSE(stop(5ms));
                CHECK_THROWS_AS(client_->start(), backlite::UsageError);
                gate_.open();
                stop_at_last();
                break;
            }
            case SessionEnd::hard_stop:
                hard_.request_stop();
                stop_at_last();
                break;
            case SessionEnd::destructor: break;
            case SessionEnd::stop_inside_task:
                stop_inside_ = true;
                await_task([&] { return asked_.load(); });
                stop_at_last();
                break;
            case SessionEnd::stop_in_logger:
                stop_in_logger_ = true;
                await_task([&] { return !stop_in_logger_; });
                stop_at_last();
                break;
            case SessionEnd::last_reference_in_task:
                drop_ = true;
                await_task([&] { return asked_.load(); });
                break;
            case SessionEnd::two_stops: {
                std::thread second([&] { client_->stop(3ms); });
                if (!stop(3ms)) stop_at_last();
                second.join();
                break;
            }
            case SessionEnd::own_transaction: {
                const WriteLock own(database_);
                destroy();
                break;
            }
            case SessionEnd::full_for_a_while: {
                vfs_.fail_writes(SQLITE_FULL);
                std::thread later([&] {
                    std::this_thread::sleep_for(20ms);
                    vfs_.fail_writes(SQLITE_OK);
                });
                if (!stop(10s)) FAIL_CHECK("the disk had room again");
                later.join();
                break;
            }
            case SessionEnd::full_for_good:
                vfs_.fail_writes(SQLITE_FULL);
                if (first_ || chance(8)) CHECK_FALSE(stop(5ms));
                destroy();
                vfs_.fail_writes(SQLITE_OK);
                break;
            case SessionEnd::file_moved: {
                const std::string elsewhere = database_ + ".moved";
                std::filesystem::rename(database_, elsewhere);
                if (chance(2)) static_cast<void>(stop(50ms));
                destroy();
                std::filesystem::rename(elsewhere, database_);
                break;
            }
            case SessionEnd::last: break;
        }
        if (ending_ != SessionEnd::last_reference_in_task) destroy();
        watchdog_.expect("the engine's end", 5s + slack);
        while (!engine_.expired()) std::this_thread::sleep_for(200us);
        watchdog_.expect("the rest of the round", 2min);
    }

    // Whether outcomes may have been given up: then the tasks run again.
    [[nodiscard]] bool may_repeat() const {
        return ending_ == SessionEnd::own_transaction || ending_ == SessionEnd::full_for_good ||
               ending_ == SessionEnd::file_moved;
    }

    // ---- what must hold ----

    // All clients have ended: no claim is left, and what was never started is as it was added.
    void check_file() {
        SQLite::Database database(database_, SQLite::OPEN_READWRITE, 10'000);
        if (!may_repeat()) {
            CHECK(database.execAndGet("SELECT count(*) FROM backlite_clients").getInt() == 0);
            CHECK(database.execAndGet("SELECT count(*) FROM backlite_tasks WHERE claimed_at IS NOT NULL").getInt() ==
                  0);
        }
        SQLite::Statement rows(database,
                               "SELECT json_extract(CAST(task AS TEXT), '$.number'), attempts, crashes, "
                               "wait_until IS NULL AND last_executed_at IS NULL AND error IS NULL, "
                               "json_extract(CAST(task AS TEXT), '$.kind') FROM backlite_tasks");
        const std::lock_guard lock(mutex_);
        while (rows.executeStep()) {
            // An attempt at reading it fails without entering the processor.
            if (static_cast<Kind>(rows.getColumn(4).getInt()) == Kind::unreadable) continue;
            const Runs& runs = runs_[static_cast<std::size_t>(rows.getColumn(0).getInt64())];
            const int attempts = rows.getColumn(1).getInt();
            CHECK(rows.getColumn(2).getInt() == 0);
            CHECK(attempts <= runs.failed);
            // A failure because of the stop is given back; one whose outcome was given up is not counted either.
            CHECK(attempts >= runs.failed - 1);
            if (runs.entered == 0) CHECK(rows.getColumn(3).getInt() == 1);
            if (!may_repeat()) CHECK(runs.succeeded == 0);
        }
    }

    // Runs what is left. Its clock is ahead, so that nothing waits.
    void drain() {
        draining_ = true;
        ClientConfig config = quick(database_);
        const auto clock = std::make_shared<backlite::testing::ManualClock>(std::chrono::system_clock::now() + 1h);
        config.clock = clock;
        Client client{config};
        register_queues(client, false);
        client.start();
        REQUIRE(eventually([&] {
            clock->advance(1s);
            client.notify();
            return client.counts().empty();
        }));
        watchdog_.expect("the last stop", 10s + slack);
        CHECK(client.stop(10s));
    }

    // Every task has ended once.
    void check_end() {
        SQLite::Database database(database_, SQLite::OPEN_READWRITE, 10'000);
        CHECK(database.execAndGet("PRAGMA integrity_check").getString() == "ok");
        CHECK(database.execAndGet("SELECT count(*) FROM backlite_clients").getInt() == 0);
        SQLite::Statement rows(database,
                               "SELECT json_extract(CAST(task AS TEXT), '$.number'), "
                               "json_extract(CAST(task AS TEXT), '$.kind'), attempts, succeeded "
                               "FROM backlite_tasks_completed");
        const std::lock_guard lock(mutex_);
        CHECK(complaints_ == "");
        std::set<std::size_t> ended;
        while (rows.executeStep()) {
            const auto number = static_cast<std::size_t>(rows.getColumn(0).getInt64());
            const auto kind = static_cast<Kind>(rows.getColumn(1).getInt());
            INFO("task " << number << " of kind " << static_cast<int>(kind));
            const Runs& runs = runs_.at(number);
            CHECK(ended.insert(number).second);
            const bool fails = kind == Kind::throws || kind == Kind::throws_a_number || kind == Kind::retries ||
                               kind == Kind::discards || kind == Kind::unreadable;
            CHECK((rows.getColumn(3).getInt() == 1) == !fails);
            CHECK(runs.entered == runs.left);
            if (kind == Kind::unreadable) continue;
            const int attempts = rows.getColumn(2).getInt();
            const int spent = runs.failed + (runs.succeeded > 0 ? 1 : 0);
            CHECK(attempts <= spent);
            CHECK(attempts >= spent - 1);
            if (runs.failed == 0 || kind == Kind::gives_up) CHECK(runs.succeeded >= 1);
            CHECK(runs.succeeded <= (may_repeat() ? 2 : 1));
        }
        for (std::size_t number = 0; number < runs_.size(); ++number) {
            INFO("task " << number);
            if (runs_[number].added) CHECK(ended.contains(number));
        }
    }

    std::mt19937_64& random_;
    const SessionEnd ending_;
    FaultyVfs& vfs_;
    Watchdog& watchdog_;
    const bool first_;  // the first of its kind
    const bool two_clients_;
    const TempFolder folder_{};
    const std::string database_ = folder_.file("app.db");
    Gate gate_{};
    std::stop_source hard_{};
    std::int64_t owner_ = 0;
    std::weak_ptr<backlite::Logger> engine_{};  // its logger goes with the engine

    std::atomic<bool> stop_inside_{false};
    std::atomic<bool> stop_in_logger_{false};
    std::atomic<bool> drop_{false};
    std::atomic<bool> stubborn_{false};
    std::atomic<bool> asked_{false};
    std::atomic<bool> draining_{false};

    std::mutex mutex_{};
    // guarded by mutex_
    std::vector<Runs> runs_{};
    std::string complaints_{};

    std::shared_ptr<Client> client_{};
};

TEST_CASE("shutdown: every way to end a client hangs nowhere and loses and charges no task") {
    const Harness harness("shutdown storm", 28);
    std::mt19937_64 random(harness.seed());
    FaultyVfs vfs("shutdown");
    Watchdog watchdog(harness.seed());
    Moments moments(harness);
    std::array<std::size_t, ending_names.size()> endings{};
    for (std::size_t i = 0; moments.wants(i); ++i) {
        const std::size_t which = i % ending_names.size();
        INFO("BACKLITE_SEED=" << harness.seed() << " round " << i << ": " << ending_names[which]);
        watchdog.round(i, static_cast<SessionEnd>(which));
        // Each round has a series of its own, so that what one draws does not depend on how the last one went.
        std::mt19937_64 own(random());
        Round(own, static_cast<SessionEnd>(which), vfs, watchdog, endings[which] == 0).run(moments);
        ++endings[which];
    }
    for (std::size_t i = 0; i < endings.size(); ++i) fmt::print("  {:<16} {}\n", ending_names[i], endings[i]);
    moments.check();
}

// What a forked program shares with the test.
struct Shared {
    std::array<std::atomic<int>, 60> entered{};
    std::array<std::atomic<int>, 60> left{};
    std::atomic<int> inside{0};  // tasks in their processors when main was left
};

// What is main elsewhere: the client goes when it is left.
void program(const std::string& database, Shared& shared, std::size_t target, bool throws) {
    Client client{quick(database, 2)};
    std::vector<Quick> jobs;
    for (std::size_t i = 0; i < shared.entered.size(); ++i) jobs.push_back({i, Kind::quick});
    client.register_queue<Quick>([&](Context& context, const Quick& job) {
        ++shared.entered[job.number];
        if (job.number % 4 == 1) {
            for (int i = 0; i < 20 && !context.stop_token().stop_requested(); ++i) std::this_thread::sleep_for(200us);
        }
        ++shared.left[job.number];
    });
    client.add(jobs).save();
    client.start();
    const auto sum = [](const auto& counts) {
        int all = 0;
        for (const auto& count : counts) all += count;
        return all;
    };
    while (sum(shared.entered) < static_cast<int>(target)) std::this_thread::sleep_for(50us);
    shared.inside = sum(shared.entered) - sum(shared.left);
    if (throws) throw target;
}

TEST_CASE("shutdown: leaving main with a client on the stack and work in flight") {
    const Harness harness("leaving main", 20);
    std::mt19937_64 random(harness.seed());
    Moments moments(harness, {"a task was running", "a task was not started"});
    for (std::size_t i = 0; moments.wants(i); ++i) {
        INFO("BACKLITE_SEED=" << harness.seed() << " round " << i);
        const TempFolder folder;
        const std::string database = folder.file("app.db");
        const backlite_test::SharedMemory<Shared> memory;
        Shared& shared = *memory;
        const std::size_t target = 1 + random() % 50;
        const bool throws = random() % 4 == 0;
        Process process([&](const Process::Inside&) {
            ::alarm(40);
            try {
                program(database, shared, target, throws);
            } catch (std::size_t) {
            }
            std::exit(0);
        });
        REQUIRE(process.join() == 0);

        Look look(database);
        CHECK(look.integrity() == "ok");
        CHECK(look.number("SELECT count(*) FROM backlite_clients") == 0);
        CHECK(look.tasks("claimed_at IS NOT NULL OR attempts > 0 OR crashes > 0") == 0);
        SQLite::Statement ended(look.database(),
                                "SELECT json_extract(CAST(task AS TEXT), '$.number') FROM backlite_tasks_completed");
        std::set<std::size_t> numbers;
        while (ended.executeStep()) numbers.insert(static_cast<std::size_t>(ended.getColumn(0).getInt64()));
        for (std::size_t number = 0; number < shared.entered.size(); ++number) {
            INFO("task " << number);
            CHECK(shared.entered[number] == shared.left[number]);
            CHECK(shared.entered[number] == (numbers.contains(number) ? 1 : 0));
        }
        moments.met({static_cast<std::size_t>(shared.inside.load()), shared.entered.size() - numbers.size()});
    }
    moments.check();
}

}  // namespace
