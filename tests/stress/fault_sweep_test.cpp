// SPDX-License-Identifier: MIT
// Faults, one by one: while an operation of the public interface runs, the n-th call to the disk or the n-th allocation
// of SQLite fails, for every n until the operation succeeds without meeting the fault. BACKLITE_ROUNDS is the most that
// is tried of an operation: above that, a choice of them.
//     BACKLITE_ROUNDS=1000000 build/gcc/tests/backlite_stress "sweep*"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/store/plan.hpp>

#include <backlite_catch.hpp>
#include <faulty_memory.hpp>
#include <faulty_vfs.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::Added;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Outcome;
using backlite::StorageError;
using backlite_test::DiskFault;
using backlite_test::eventually;
using backlite_test::FaultyMemory;
using backlite_test::FaultyVfs;
using backlite_test::Gate;
using backlite_test::Harness;
using backlite_test::LogBook;
using backlite_test::TempFolder;

// Its name begins with what becomes of it: "succeeds", "fails", "retries", "snoozes".
struct Job {
    std::string name{};
    std::string ballast{};
    static backlite::QueueConfig config() {
        return {.name = "job", .max_attempts = 2, .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, name, ballast)

// What fails.
class Source {
public:
    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;
    virtual void arm(std::uint64_t nth) = 0;
    virtual void disarm() = 0;
    [[nodiscard]] virtual bool met() const = 0;
    [[nodiscard]] virtual std::uint64_t calls() const = 0;
    [[nodiscard]] virtual std::string what() const = 0;  // of the first call that failed
};

class Disk final : public Source {
public:
    Disk(FaultyVfs& vfs, bool for_good, bool full) : vfs_(vfs), for_good_(for_good), full_(full) {}
    void arm(std::uint64_t nth) override { vfs_.arm(DiskFault{nth, for_good_, full_}); }
    void disarm() override { vfs_.disarm(); }
    [[nodiscard]] bool met() const override { return vfs_.met(); }
    [[nodiscard]] std::uint64_t calls() const override { return vfs_.calls(); }
    [[nodiscard]] std::string what() const override { return std::string{to_string(vfs_.met_call())}; }

private:
    FaultyVfs& vfs_;
    bool for_good_;
    bool full_;
};

class Memory final : public Source {
public:
    Memory(FaultyMemory& memory, bool for_good) : memory_(memory), for_good_(for_good) {}
    void arm(std::uint64_t nth) override { memory_.arm(nth, for_good_); }
    void disarm() override { memory_.disarm(); }
    [[nodiscard]] bool met() const override { return memory_.met(); }
    [[nodiscard]] std::uint64_t calls() const override { return memory_.calls(); }
    [[nodiscard]] std::string what() const override { return "allocation"; }

private:
    FaultyMemory& memory_;
    bool for_good_;
};

// What a program was told of the tasks that it added together.
struct Call {
    enum class Told { added, refused, unknown };
    std::vector<std::string> names{};
    Told told = Told::refused;
    std::optional<std::string> order{};  // a row of the host's own in the same transaction
    Told ordered = Told::refused;
};

// One round: a file, a client, and what they were asked to do.
class Scene {
public:
    Scene(FaultyVfs& vfs, Source& source) : vfs_(vfs), source_(source) {
        config.database = folder.file("app.db");
        config.num_workers = 2;
        config.busy_timeout = 100ms;
        config.logger = log;
        config.on_fatal = [this](const backlite::Error&) { ++fatals; };
        config.open = [this] { return connect(); };
    }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;

    // A small cache, so that large transactions reach the disk before they are committed.
    [[nodiscard]] SQLite::Database connect() const {
        SQLite::Database database = vfs_.connect(config.database);
        database.exec("PRAGMA cache_size=12");
        return database;
    }
    // The same past all faults of the disk.
    [[nodiscard]] SQLite::Database connect_plainly() const {
        return {config.database, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 10'000};
    }

    void open() {
        attempt([this] { client = std::make_unique<Client>(config); });
    }

    void start() {
        if (!client) return;
        if (!registered_) {
            client->register_queue<Job>([this](Context& context, const Job& job) { return run(context, job); });
            registered_ = true;
        }
        attempt([this] { client->start(); });
    }

    // Whether the call succeeded. Whatever a client throws is an error of its own.
    template <class Work>
    bool attempt(Work&& work) {
        try {
            work();
            return true;
        } catch (const backlite::Error&) {
        } catch (const std::exception& error) {
            problem("threw something else: {}", error.what());
        }
        return false;
    }

    void add(std::vector<std::string> names, std::size_t ballast = 0) {
        Call& call = calls_.emplace_back(Call{std::move(names)});
        try {
            ids = client->add(jobs(call, ballast)).save();
            call.told = Call::Told::added;
        } catch (const backlite::Error& error) {
            call.told = told(error);
        } catch (const std::exception& error) {
            problem("save threw something else: {}", error.what());
        }
    }

    // In a transaction of the library, together with a row of the host's. If the tasks cannot be added, the host goes
    // on with its row alone.
    void add_in_transaction(SQLite::Database& database, std::vector<std::string> names) {
        Call& call = calls_.emplace_back(Call{std::move(names)});
        call.order = call.names.front();
        try {
            backlite::Transaction tx{*client, database};
            if (!order(database, call)) return;
            const bool added = save_within(call, [&] { (void)client->add(jobs(call, 0)).tx(tx).save(); });
            tx.commit();
            call.ordered = Call::Told::added;
            if (added) call.told = Call::Told::added;
        } catch (const backlite::Error& error) {
            call.ordered = told(error);
            if (call.told == Call::Told::added) call.told = told(error);
        } catch (const std::exception& error) {
            problem("a transaction threw something else: {}", error.what());
        }
    }

    // In a transaction that the host began by itself.
    void add_in_own_transaction(SQLite::Database& database, std::vector<std::string> names) {
        Call& call = calls_.emplace_back(Call{std::move(names)});
        call.order = call.names.front();
        sqlite3* const db = database.getHandle();
        own_transaction_ = true;
        if (sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK) return;
        if (!order(database, call)) return roll_back(db);
        const bool added = save_within(call, [&] { (void)client->add(jobs(call, 0)).tx(database).save(); });
        if (sqlite3_get_autocommit(db) != 0) return;  // SQLite has rolled back
        if (sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK) {
            call.ordered = Call::Told::added;
            if (added) call.told = Call::Told::added;
            return;
        }
        call.ordered = Call::Told::unknown;
        if (added) call.told = Call::Told::unknown;
        roll_back(db);
    }

    // Tasks that a program of another kind has put into the file.
    void expect(std::vector<std::string> names) {
        calls_.push_back({std::move(names), Call::Told::added, std::nullopt, Call::Told::refused});
    }

    // Waits until `done()`, or, once the fault was met, long enough for its consequences.
    template <class Done>
    void linger(Done&& done) {
        std::optional<std::chrono::steady_clock::time_point> since;
        const auto until = std::chrono::steady_clock::now() + 10s;
        for (;;) {
            const auto now = std::chrono::steady_clock::now();
            if (done()) break;
            if (!since && source_.met()) since = now;
            if ((since && now - *since > 15ms) || now > until) break;
            std::this_thread::sleep_for(500us);
        }
        std::this_thread::sleep_for(2ms);
    }

    // The fault goes while something else is under way.
    [[nodiscard]] std::jthread mend_after(std::chrono::milliseconds time) const {
        return std::jthread([this, time] {
            std::this_thread::sleep_for(time);
            source_.disarm();
        });
    }

    [[nodiscard]] int runs(const std::string& name) const {
        const std::lock_guard lock(mutex_);
        const auto found = runs_.find(name);
        return found == runs_.end() ? 0 : found->second;
    }

    template <class... Arguments>
    void problem(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
        const std::lock_guard lock(mutex_);
        problems_.push_back(fmt::format(text, std::forward<Arguments>(arguments)...));
    }
    [[nodiscard]] std::string problems() const {
        const std::lock_guard lock(mutex_);
        return fmt::format("{}", fmt::join(problems_, "\n"));
    }

    // The fault is gone: the client goes on, or has stopped itself and the next one does. In the end the file holds
    // what was promised.
    void recover_and_check() {
        gate.open();
        if (source_.met() && source_.what() == "sync") std::this_thread::sleep_for(5ms);  // until on_fatal was called
        check_host();
        if (client) check_mode();
        if (source_.met() && !calls_.empty() && client && !registered_) check_copy();
        if (stopped) check_stopped();
        const bool fatal = fatals > 0;
        if (fatal && client) {
            if (attempt([&] { (void)client->add(Job{"succeeds too late"}).save(); })) problem("it goes on");
            (void)client->stop(1h);
            client.reset();
        }
        const bool same = client != nullptr;
        if (!client) {
            registered_ = false;
            if (!attempt([this] { client = std::make_unique<Client>(config); })) return problem("cannot open");
        }
        if (!attempt([this] { client->install(); })) problem("cannot install");
        calls_.push_back({{"succeeds at last"}, Call::Told::added, std::nullopt, Call::Told::refused});
        if (!attempt([&] { (void)client->add(Job{"succeeds at last"}).save(); })) problem("cannot add");
        if (!eventually([this] {
                try {
                    start();
                    client->start();
                    return true;
                } catch (const backlite::Error&) {
                    return false;
                }
            })) {
            problem("cannot start");
        }
        bool drained = false;
        if (!eventually([&] { return attempt([&] { drained = client->counts().empty(); }) && drained; })) {
            problem("the tasks do not end");
        }
        if (!client->stop(1h)) problem("stop returned false");
        if (fatals > 1 || (fatals == 1 && !fatal)) problem("fatal, though nothing fails any more");
        client.reset();
        check_file(!fatal && same && !destroyed);
        const std::string text = problems();
        if (!text.empty()) problem("log:\n{}", log->text());
    }

    TempFolder folder{};
    ClientConfig config{};
    std::shared_ptr<LogBook> log = std::make_shared<LogBook>();
    std::atomic<int> fatals{0};
    Gate gate{};                          // holds the runs of tasks whose name ends in "held"
    std::vector<backlite::TaskId> ids{};  // of the last add
    bool destroyed = false;
    bool stopped = false;  // stop has returned true
    std::unique_ptr<SQLite::Database> host{};
    std::unique_ptr<Client> client{};

private:
    static bool is(const std::string& name, std::string_view fate) { return name.starts_with(fate); }

    static Call::Told told(const backlite::Error& error) {
        return error.added() == Added::unknown ? Call::Told::unknown : Call::Told::refused;
    }

    static std::vector<Job> jobs(const Call& call, std::size_t ballast) {
        std::vector<Job> jobs;
        for (const std::string& name : call.names) jobs.push_back({name, std::string(ballast, 'x')});
        return jobs;
    }

    static void roll_back(sqlite3* db) {
        if (sqlite3_get_autocommit(db) == 0) sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
    }

    static bool order(SQLite::Database& database, const Call& call) {
        const std::string sql = fmt::format("INSERT INTO orders VALUES ('{}')", *call.order);
        return sqlite3_exec(database.getHandle(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
    }

    template <class Save>
    bool save_within(Call& call, Save&& save) {
        try {
            save();
            call.told = Call::Told::added;  // if the transaction is committed
            return true;
        } catch (const backlite::Error& error) {
            if (error.added() != Added::no) problem("an add in a transaction does not know what it added");
        }
        return false;
    }

    Outcome run(Context& context, const Job& job) {
        int run = 0;
        {
            const std::lock_guard lock(mutex_);
            run = ++runs_[job.name];
        }
        if (job.name.ends_with("held")) gate.pass();
        if (is(job.name, "fails")) throw std::runtime_error("it fails");
        if (is(job.name, "retries") && context.attempt() == 1) return Outcome::retry("again");
        if (is(job.name, "snoozes") && run == 1) return Outcome::snooze(1ms);
        return Outcome::success();
    }

    // A failed transaction is over.
    void check_host() {
        if (!host) return;
        if (own_transaction_) roll_back(host->getHandle());
        if (sqlite3_get_autocommit(host->getHandle()) == 0) problem("the host's connection is still in a transaction");
        host.reset();
    }

    void check_mode() {
        const std::string mode = connect_plainly().execAndGet("PRAGMA journal_mode").getString();
        if (mode != "wal") problem("the client is open, and the journal mode is {}", mode);
    }

    // What another process would find if this one died now. Copied by another process: closing a descriptor of the
    // files here would drop SQLite's locks.
    void check_copy() {
        const TempFolder copy;
        const std::string& file = config.database;
        const std::string to = copy.file("app.db");
        const int status = std::system(fmt::format("cp '{}' '{}' && cp '{}-wal' '{}-wal'", file, to, file, to).c_str());
        if (status != 0) return problem("the files cannot be copied");
        SQLite::Database database(to, SQLite::OPEN_READWRITE);
        database.exec("PRAGMA synchronous=OFF");
        std::map<std::string, std::pair<bool, int>> found;
        SQLite::Statement rows(database, "SELECT json_extract(CAST(task AS TEXT), '$.name') FROM backlite_tasks");
        while (rows.executeStep()) found.emplace(rows.getColumn(0).getString(), std::pair(false, 0));
        for (const Call& call : calls_) check_call(database, call, found);
    }

    void check_stopped() {
        SQLite::Database database = connect_plainly();
        const auto count = [&](const char* what) {
            return database.execAndGet(std::string{"SELECT count(*) FROM "} + what).getInt();
        };
        if (count("backlite_tasks WHERE claimed_at IS NOT NULL") != 0) problem("stop returned true with claims held");
        if (count("backlite_clients") != 0) problem("stop returned true, and the client is still in the list");
    }

    void check_file(bool runs_are_exact) {
        SQLite::Database database = connect_plainly();
        const std::string integrity = database.execAndGet("PRAGMA integrity_check").getString();
        if (integrity != "ok") return problem("{}", integrity);
        if (database.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() != 0) problem("tasks are left");
        if (database.execAndGet("SELECT count(*) FROM backlite_clients").getInt() != 0) problem("a client is left");
        std::map<std::string, std::pair<bool, int>> ended;
        SQLite::Statement rows(database,
                               "SELECT json_extract(CAST(task AS TEXT), '$.name'), succeeded, attempts FROM "
                               "backlite_tasks_completed WHERE task IS NOT NULL");
        while (rows.executeStep()) {
            const auto [at, fresh] = ended.emplace(
                rows.getColumn(0).getString(), std::pair(rows.getColumn(1).getInt() != 0, rows.getColumn(2).getInt()));
            if (!fresh) problem("{} ended twice", at->first);
        }
        for (const Call& call : calls_) check_call(database, call, ended);
        int more = 0;
        for (const auto& [name, end] : ended) {
            if (end.first == is(name, "fails")) problem("{} ended otherwise", name);
            const int attempts = is(name, "fails") || is(name, "retries") ? 2 : 1;
            if (end.second != attempts) problem("{} spent {} attempts", name, end.second);
            const int wanted = is(name, "snoozes") ? 2 : attempts;
            if (runs(name) < (runs_are_exact ? wanted : 1)) problem("{} ran {} times", name, runs(name));
            more += runs(name) - wanted;
        }
        // A failure after the stop tokens have fired is none.
        const int given_back = log->count({"task given back", "reason=stopping"});
        if (runs_are_exact && more != given_back) problem("{} runs too many, {} given back", more, given_back);
        if (ended.count("succeeds too late") != 0) problem("a client that had stopped itself added a task");
    }

    void check_call(SQLite::Database& database, const Call& call,
                    const std::map<std::string, std::pair<bool, int>>& ended) {
        const auto found = static_cast<std::size_t>(
            std::count_if(call.names.begin(), call.names.end(), [&](auto& name) { return ended.count(name) != 0; }));
        const std::string& first = call.names.front();
        if (found != 0 && found != call.names.size()) problem("{}: {} of {} tasks", first, found, call.names.size());
        if (call.told == Call::Told::added && found == 0) problem("{}: added, and lost", first);
        if (call.told == Call::Told::refused && found != 0) problem("{}: refused, and added", first);
        if (!call.order) return;
        SQLite::Statement orders(database, "SELECT count(*) FROM orders WHERE name = ?");
        orders.bind(1, *call.order);
        (void)orders.executeStep();
        const bool there = orders.getColumn(0).getInt() != 0;
        if (call.ordered == Call::Told::added && !there) problem("{}: the order is lost", first);
        if (call.ordered == Call::Told::refused && there) problem("{}: the order is there", first);
        if (call.told == Call::Told::unknown && there != (found != 0)) problem("{}: half a transaction", first);
    }

    FaultyVfs& vfs_;
    Source& source_;
    bool registered_ = false;
    bool own_transaction_ = false;
    std::vector<Call> calls_{};
    mutable std::mutex mutex_{};
    // guarded by mutex_
    std::map<std::string, int> runs_{};
    std::vector<std::string> problems_{};
};

// What is done while the fault is armed, and what comes before.
struct Operation {
    const char* name;
    const char* file;  // which of the files that were made before it begins with; null: none
    std::function<void(Scene&)> before;
    std::function<void(Scene&)> act;
};

// A file with what a dead client and time have left in it: claims of an owner whose lock nobody holds, and tasks that
// have expired.
void make_used_file(const std::string& file) {
    { const Client client{{.database = file}}; }
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    database.exec("CREATE TABLE orders (name text) STRICT");
    database.exec(
        "INSERT INTO backlite_clients VALUES (1000, 7, 2, 1, 'boot', 1000); "
        "INSERT INTO backlite_tasks (id, queue, created_at, task, claimed_at, owner, claim) VALUES "
        "('one', 'job', 1, CAST('{\"name\":\"succeeds for the dead\"}' AS BLOB), 1, 1000, 1), "
        "('two', 'job', 1, CAST('{\"name\":\"retries for the dead\"}' AS BLOB), 1, 1000, 1)");
    database.exec(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) "
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, attempts, succeeded, expires_at) "
        "SELECT 'old' || i, 1, 'job', 1, 1, 2 FROM n");
}

// A file of Go backlite, with a task in it.
void make_go_file(const std::string& file) {
    SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    database.exec(
        "CREATE TABLE backlite_tasks (id text PRIMARY KEY, created_at integer NOT NULL, queue text NOT NULL, "
        "task blob NOT NULL, wait_until integer, claimed_at integer, last_executed_at integer, "
        "attempts integer NOT NULL DEFAULT 0) STRICT");
    database.exec(
        "CREATE TABLE backlite_tasks_completed (id text PRIMARY KEY NOT NULL, created_at integer NOT NULL, "
        "queue text NOT NULL, last_executed_at integer, attempts integer NOT NULL, last_duration_micro integer, "
        "succeeded integer, task blob, expires_at integer, error text) STRICT");
    database.exec("CREATE INDEX backlite_tasks_wait_until ON backlite_tasks (wait_until) WHERE wait_until IS NOT NULL");
    database.exec(
        "INSERT INTO backlite_tasks (id, queue, created_at, task) VALUES "
        "('go', 'job', 1, CAST('{\"name\":\"succeeds for Go\"}' AS BLOB))");
}

// A file of this library's, and one of the host's tables in it.
void make_new_file(const std::string& file) {
    { const Client client{{.database = file}}; }
    SQLite::Database(file, SQLite::OPEN_READWRITE).exec("CREATE TABLE orders (name text) STRICT");
}

void hold_tasks(Scene& scene) {
    scene.config.num_workers = 4;
    scene.open();
    const std::vector<std::string> names{"succeeds held", "fails held", "retries held", "snoozes held"};
    scene.add(names);
    scene.start();
    for (const std::string& name : names) REQUIRE(eventually([&] { return scene.runs(name) == 1; }));
}

void look(Scene& scene) {
    for (int i = 0; i < 2; ++i) {
        scene.attempt([&] {
            const backlite::TaskCounts counts = scene.client->counts();
            if (counts.size() != 1 || counts[0].waiting != 1) scene.problem("the counts are wrong");
        });
        scene.attempt([&] {
            if (scene.client->status(scene.ids.front()) != backlite::TaskStatus::pending) {
                scene.problem("the status is wrong");
            }
        });
    }
}

std::vector<Operation> operations() {
    const auto open = [](Scene& scene) { scene.open(); };
    const auto open_with_host = [](Scene& scene) {
        scene.open();
        scene.host = std::make_unique<SQLite::Database>(scene.connect());
    };
    return {
        {"open a new file", nullptr, [](Scene&) {}, open},
        {"open a file of Go's", "go", [](Scene& scene) { scene.expect({"succeeds for Go"}); }, open},
        {"open", "new", [](Scene&) {}, open},
        {"install", nullptr,
         [](Scene& scene) {
             scene.config.auto_install = false;
             scene.open();
         },
         [](Scene& scene) { scene.attempt([&] { scene.client->install(); }); }},
        {"add", "new", open,
         [](Scene& scene) {
             scene.add({"succeeds a"});
             scene.add({"succeeds b", "fails b"});
         }},
        {"add more than the cache holds", "new", open,
         [](Scene& scene) {
             std::vector<std::string> names;
             for (int i = 0; i < 40; ++i) names.push_back(fmt::format("succeeds {}", i));
             scene.add(std::move(names), 2'000);
         }},
        {"add in a Transaction", "new", open_with_host,
         [](Scene& scene) {
             scene.add_in_transaction(*scene.host, {"succeeds a", "succeeds b"});
         }},
        {"add in the host's transaction", "new", open_with_host,
         [](Scene& scene) {
             scene.add_in_own_transaction(*scene.host, {"succeeds a", "succeeds b"});
         }},
        {"status and counts", "new",
         [](Scene& scene) {
             scene.open();
             scene.add({"succeeds a"});
         },
         look},
        {"start, rescue and purge", "used",
         [](Scene& scene) {
             scene.expect({"succeeds for the dead"});
             scene.expect({"retries for the dead"});
             scene.open();
         },
         [](Scene& scene) {
             scene.start();
             scene.linger([&] {
                 return scene.runs("retries for the dead") == 2 && scene.log->count({"purged expired tasks"}) == 2;
             });
         }},
        {"add and run at once", "new",
         [](Scene& scene) {
             scene.open();
             scene.start();
         },
         [](Scene& scene) {
             scene.add({"succeeds a"});
             scene.add({"retries b", "succeeds b"});
             scene.linger([&] { return scene.runs("retries b") == 2; });
         }},
        {"run to success, failure, retry, snooze", "new", hold_tasks,
         [](Scene& scene) {
             scene.gate.open();
             scene.linger([&] {
                 return scene.runs("fails held") == 2 && scene.runs("retries held") == 2 &&
                        scene.runs("snoozes held") == 2;
             });
         }},
        {"stop", "new", hold_tasks,
         [](Scene& scene) {
             scene.gate.open();
             const std::jthread mends = scene.mend_after(25ms);
             scene.attempt([&] { scene.stopped = scene.client->stop(20ms); });
         }},
        {"destroy", "new", hold_tasks,
         [](Scene& scene) {
             scene.gate.open();
             scene.destroyed = true;
             scene.client.reset();
         }},
    };
}

// What an operation went through.
struct Tally {
    std::size_t tried = 0;
    std::map<std::string, std::size_t> met{};
    std::size_t fatal = 0;
    std::uint64_t calls = 0;  // of the last round
};

// One round; whether it met the fault.
bool one_round(const Operation& operation, const TempFolder& files, FaultyVfs& vfs, Source& source, std::uint64_t nth,
               Tally& tally) {
    Scene scene(vfs, source);
    if (operation.file != nullptr) {
        std::filesystem::copy_file(files.file(operation.file), scene.config.database);
    }
    operation.before(scene);
    source.arm(nth);
    operation.act(scene);
    source.disarm();
    tally.calls = source.calls();
    ++tally.tried;
    const bool met = source.met();
    if (met) ++tally.met[source.what()];
    if (scene.fatals > 0) ++tally.fatal;
    scene.recover_and_check();
    INFO("operation: " << operation.name << ", call " << nth << " fails" << (met ? ": " + source.what() : ""));
    REQUIRE(scene.problems() == "");
    return met;
}

void sweep(const char* name, std::size_t rounds, FaultyVfs& vfs, Source& source) {
    const Harness harness(name, rounds);
    std::mt19937_64 random(harness.seed());
    INFO("BACKLITE_ROUNDS=" << harness.rounds() << " BACKLITE_SEED=" << harness.seed());
    vfs.imitate_syncs(0us);
    const TempFolder files;
    make_new_file(files.file("new"));
    make_used_file(files.file("used"));
    make_go_file(files.file("go"));
    for (const Operation& operation : operations()) {
        Tally tally;
        constexpr std::uint64_t never = std::uint64_t{1} << 62;
        CHECK_FALSE(one_round(operation, files, vfs, source, never, tally));
        const std::uint64_t calls = tally.calls;
        std::vector<std::uint64_t> all(calls);
        std::iota(all.begin(), all.end(), 1U);
        std::vector<std::uint64_t> chosen;
        std::sample(all.begin(), all.end(), std::back_inserter(chosen), harness.rounds(), random);
        // How many calls there are depends on what is written together: a round that ended before its fault says where
        // it would have been met.
        for (const std::uint64_t nth : chosen) {
            if (one_round(operation, files, vfs, source, nth, tally)) continue;
            one_round(operation, files, vfs, source, 1 + nth % std::max<std::uint64_t>(tally.calls, 1), tally);
        }
        if (chosen.size() == calls) {
            for (std::uint64_t nth = calls + 1; one_round(operation, files, vfs, source, nth, tally); ++nth) {
            }
        }
        std::size_t met = 0;
        for (const auto& [what, times] : tally.met) met += times;
        fmt::print("  {:<38} {:>5} calls, {:>5} rounds, met {}, {} fatal\n", operation.name, calls, tally.tried,
                   tally.met, tally.fatal);
        std::fflush(stdout);
        CHECK(2 * met >= chosen.size());
    }
}

TEST_CASE("sweep: one call to the disk fails") {
    FaultyVfs vfs{"sweep"};
    Disk disk{vfs, false, false};
    sweep("sweep, disk, once", 12, vfs, disk);
}

TEST_CASE("sweep: from some call on every call to the disk fails") {
    FaultyVfs vfs{"sweep"};
    Disk disk{vfs, true, false};
    sweep("sweep, disk, for good", 6, vfs, disk);
}

TEST_CASE("sweep: one write finds the disk full") {
    FaultyVfs vfs{"sweep"};
    Disk disk{vfs, false, true};
    sweep("sweep, full, once", 12, vfs, disk);
}

TEST_CASE("sweep: from some write on the disk is full") {
    FaultyVfs vfs{"sweep"};
    Disk disk{vfs, true, true};
    sweep("sweep, full, for good", 6, vfs, disk);
}

TEST_CASE("sweep: one allocation fails") {
    FaultyMemory memory;
    FaultyVfs vfs{"sweep"};
    Memory source{memory, false};
    sweep("sweep, memory, once", 12, vfs, source);
}

TEST_CASE("sweep: from some allocation on all fail") {
    FaultyMemory memory;
    FaultyVfs vfs{"sweep"};
    Memory source{memory, true};
    sweep("sweep, memory, for good", 6, vfs, source);
}

}  // namespace
