// SPDX-License-Identifier: MIT
// Power cuts: clients add and run tasks on a disk that keeps a record; then the files are rebuilt as a cut at some
// moment may have left them, and the library goes on from there.
//     BACKLITE_ROUNDS=3000 BACKLITE_SEED=7 build/gcc/tests/backlite_stress "power cut*"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

#include <backlite_catch.hpp>
#include <faulty_vfs.hpp>
#include <harness.hpp>
#include <recording_logger.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Durability;
using backlite::Outcome;
using backlite::TaskStatus;
using backlite_test::DiskRecord;
using backlite_test::FaultyVfs;
using backlite_test::Harness;
using backlite_test::Moments;
using backlite_test::RecordingLogger;
using backlite_test::TempFolder;

constexpr std::size_t cuts_per_run = 30;
constexpr std::size_t never = (std::numeric_limits<std::size_t>::max)();

struct Job {
    std::size_t number = 0;
    std::string ballast{};
    static backlite::QueueConfig config() {
        return {.name = "job", .max_attempts = 2, .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, number, ballast)

// What becomes of a job. All of them end.
enum class Fate { succeeds, retries, snoozes, is_discarded };

Fate fate_of(std::size_t number) {
    switch (number % 10) {
        case 3: return Fate::retries;
        case 5: return Fate::snoozes;
        case 7: return Fate::is_discarded;
        default: return Fate::succeeds;
    }
}

// A statement about the file that somebody was given: it became true after `begun`, and was known to be at `known`.
// Both are positions in the disk's record.
struct Fact {
    std::size_t begun = never;
    std::size_t known = never;
};

// What the program knew of one task.
struct Task {
    std::string payload{};
    std::string id{};
    std::size_t save = 0;  // tasks of one save have the same
    bool with_order = false;
    Fact added{};
    Fact retried{};
    Fact finished{};
    std::vector<std::size_t> entered{};
    std::vector<std::size_t> left{};
};

// What the program knew, by number. Threads: any.
class History {
public:
    explicit History(const DiskRecord& disk) : disk_(disk) {}

    // Jobs that are about to be added together.
    std::vector<Job> begin_save(std::size_t count, std::mt19937_64& random, bool with_order) {
        const std::lock_guard lock(mutex_);
        std::vector<Job> jobs;
        ++saves_;
        for (std::size_t i = 0; i < count; ++i) {
            const auto letter = static_cast<char>('a' + random() % 26);
            jobs.push_back({tasks_.size(), std::string(random() % 4 == 0 ? random() % 9'000 : random() % 200, letter)});
            Task& task = tasks_.emplace_back();
            task.payload = nlohmann::json(jobs.back()).dump();
            task.save = saves_;
            task.with_order = with_order;
            task.added.begun = disk_.position();
        }
        return jobs;
    }
    void end_save(const std::vector<Job>& jobs) {
        const std::lock_guard lock(mutex_);
        for (const Job& job : jobs) tasks_[job.number].added.known = disk_.position();
    }

    // True for the first run of this task.
    bool enter(const Job& job, const Context& context) {
        const std::lock_guard lock(mutex_);
        Task& task = tasks_[job.number];
        task.id = context.task_id().str();
        if (context.attempt() == 2) task.retried.known = (std::min)(task.retried.known, disk_.position());
        task.entered.push_back(disk_.position());
        return task.entered.size() == 1;
    }
    void leave(const Job& job, const Context& context) {
        const std::lock_guard lock(mutex_);
        Task& task = tasks_[job.number];
        if (context.attempt() == 1) task.retried.begun = disk_.position();
        task.finished.begun = disk_.position();
        task.left.push_back(disk_.position());
    }

    // Looks which tasks have ended, and takes note of those that have. How many have not.
    std::size_t look(Client& client) {
        std::size_t open = 0;
        for (std::size_t number = 0;; ++number) {
            std::string id;
            {
                const std::lock_guard lock(mutex_);
                if (number == tasks_.size()) return open;
                if (tasks_[number].finished.known != never) continue;
                ++open;
                if (tasks_[number].left.empty()) continue;
                id = tasks_[number].id;
            }
            const TaskStatus status = client.status(backlite::TaskId::parse(id));
            if (status != TaskStatus::succeeded && status != TaskStatus::failed) continue;
            const std::lock_guard lock(mutex_);
            tasks_[number].finished.known = disk_.position();
            --open;
        }
    }

    // REQUIRES: all threads are done.
    [[nodiscard]] const std::vector<Task>& tasks() const { return tasks_; }

private:
    const DiskRecord& disk_;
    mutable std::mutex mutex_{};
    // guarded by mutex_
    std::vector<Task> tasks_{};
    std::size_t saves_ = 0;
};

// Opens, adds from three threads, runs, and closes, three times over: once it stops, once it is destroyed amid work,
// and once it waits for the end.
void work(FaultyVfs& vfs, const std::string& file, Durability durability, History& history, std::uint64_t seed) {
    for (const int life : {0, 1, 2}) {
        ClientConfig config{.database = file, .num_workers = 3, .durability = durability};
        config.open = [&] {
            SQLite::Database database = vfs.connect(file);
            database.exec("PRAGMA wal_autocheckpoint=60");
            return database;
        };
        Client client{config};
        client.register_queue<Job>([&](Context& context, const Job& job) {
            const bool first = history.enter(job, context);
            std::this_thread::sleep_for(
                std::chrono::microseconds{job.number % 16 == 0 ? 4'000 : 100 + 20 * (job.number % 20)});
            history.leave(job, context);
            switch (fate_of(job.number)) {
                case Fate::retries: return context.attempt() == 1 ? Outcome::retry("again") : Outcome::success();
                case Fate::snoozes: return first ? Outcome::snooze(1ms) : Outcome::success();
                case Fate::is_discarded: return Outcome::discard("no");
                case Fate::succeeds: break;
            }
            return Outcome::success();
        });
        client.start();
        std::vector<std::thread> threads;
        for (const bool host : {false, false, true}) {
            threads.emplace_back([&, host, index = threads.size()] {
                std::mt19937_64 random(seed + 10 * static_cast<std::uint64_t>(life) + index);
                SQLite::Database database = vfs.connect(file);
                database.setBusyTimeout(10'000);
                if (durability == Durability::process) database.exec("PRAGMA synchronous=NORMAL");
                if (host) database.exec("CREATE TABLE IF NOT EXISTS orders (number integer primary key) STRICT");
                for (int i = 0; i < 12; ++i) {
                    std::this_thread::sleep_for(std::chrono::microseconds{random() % 500});
                    const std::vector<Job> jobs = history.begin_save(1 + random() % 5, random, host);
                    if (host) {
                        backlite::Transaction tx{client, database};
                        for (const Job& job : jobs) {
                            database.exec(fmt::format("INSERT INTO orders VALUES ({})", job.number));
                        }
                        (void)client.add(jobs).tx(tx).save();
                        tx.commit();
                    } else {
                        (void)client.add(jobs).save();
                    }
                    history.end_save(jobs);
                }
            });
        }
        std::atomic<bool> added{false};
        threads.emplace_back([&] {
            while (!added || (life == 2 && history.look(client) > 0)) {
                (void)history.look(client);
                std::this_thread::sleep_for(1ms);
            }
        });
        for (std::size_t i = 0; i < 3; ++i) threads[i].join();
        added = true;
        threads[3].join();
        if (life != 1) REQUIRE(client.stop(1h));
        (void)history.look(client);
    }
}

// One task as the file has it.
struct Row {
    bool finished = false;
    bool succeeded = false;
    bool claimed = false;
    std::size_t claim = 0;
    int attempts = 0;
    int crashes = 0;
    std::string payload{};
};

struct Contents {
    std::string integrity{};
    std::map<std::size_t, Row> rows{};
    std::set<std::size_t> orders{};
};

Contents read(const std::string& file) {
    SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 10'000);
    database.exec("PRAGMA synchronous=OFF");
    Contents contents;
    contents.integrity = database.execAndGet("PRAGMA integrity_check").getString();
    if (contents.integrity != "ok" || !database.tableExists("backlite_clients")) return contents;
    SQLite::Statement tasks(database,
                            "SELECT task, 0, 0, claimed_at IS NOT NULL, claim, attempts, crashes FROM backlite_tasks "
                            "UNION ALL SELECT task, 1, succeeded, 0, 0, attempts, 0 FROM backlite_tasks_completed");
    while (tasks.executeStep()) {
        Row row;
        row.payload = tasks.getColumn(0).getString();
        row.finished = tasks.getColumn(1).getInt() != 0;
        row.succeeded = tasks.getColumn(2).getInt() != 0;
        row.claimed = tasks.getColumn(3).getInt() != 0;
        row.claim = static_cast<std::size_t>(tasks.getColumn(4).getInt64());
        row.attempts = tasks.getColumn(5).getInt();
        row.crashes = tasks.getColumn(6).getInt();
        const auto number = nlohmann::json::parse(row.payload).at("number").get<std::size_t>();
        if (!contents.rows.emplace(number, std::move(row)).second) contents.integrity = "a task twice";
    }
    if (!database.tableExists("orders")) return contents;
    SQLite::Statement orders(database, "SELECT number FROM orders");
    while (orders.executeStep()) contents.orders.insert(static_cast<std::size_t>(orders.getColumn(0).getInt64()));
    return contents;
}

// Puts the side file of another boot beside the database: it is this file's own, and says that every claim was inside
// its processor when the machine went down.
void put_old_side_file(const std::string& file) {
    std::string id;
    std::vector<std::uint64_t> records;
    {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        if (!database.tableExists("backlite_meta")) return;
        SQLite::Statement meta(database, "SELECT value FROM backlite_meta WHERE key = 'side_file_id'");
        if (!meta.executeStep()) return;
        id = meta.getColumn(0).getString();
        SQLite::Statement claims(database, "SELECT claim, id FROM backlite_tasks WHERE claimed_at IS NOT NULL");
        while (claims.executeStep()) {
            const auto state = static_cast<std::uint64_t>(backlite::store::sqlite::RecordState::inside);
            records.insert(records.end(), {static_cast<std::uint64_t>(claims.getColumn(0).getInt64()),
                                           backlite::store::sqlite::hash_id(claims.getColumn(1).getString()), state});
            records.resize(records.size() + 5);  // a record has 64 bytes
        }
    }
    std::string path;
    std::string new_id;
    {
        backlite::store::sqlite::OwnerLock side(file);
        path = side.path();
        new_id = side.initialise();
    }
    std::fstream side(path, std::ios::in | std::ios::out | std::ios::binary);
    std::string header(512, '\0');
    side.read(header.data(), 512);
    header.replace(header.find(new_id), new_id.size(), id);
    const std::size_t boot = header.find("boot ") + 5;
    header[boot] = header[boot] == '0' ? '1' : '0';
    side.seekp(0);
    side.write(header.data(), 512);
    side.seekp(65'536);
    const auto bytes = static_cast<std::streamsize>(std::min<std::size_t>(records.size() * 8, 65'536));
    side.write(reinterpret_cast<const char*>(records.data()), bytes);
}

// What is wrong with a file after a cut.
class Problems {
public:
    template <class... Arguments>
    void add(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
        if (texts_.size() < 10) texts_.push_back(fmt::format(text, std::forward<Arguments>(arguments)...));
    }
    [[nodiscard]] std::string text() const { return fmt::format("{}", fmt::join(texts_, "\n")); }

private:
    std::vector<std::string> texts_{};
};

// How much of what was acknowledged before a cut is not in the file.
struct Loss {
    std::size_t adds = 0;
    std::size_t outcomes = 0;
};

// Every fact that was known when another began whose effect is in the file must be in it too: then the file holds a
// prefix of what happened. Returns what was known before the cut and is not there.
Loss check_prefix(const std::vector<Task>& tasks, const Contents& contents, std::size_t cut, Problems& problems) {
    struct Claim {
        Fact fact;
        bool there;
        const char* what;
        std::size_t number;
    };
    std::vector<Claim> claims;
    std::size_t latest = 0;
    for (std::size_t number = 0; number < tasks.size(); ++number) {
        const auto row = contents.rows.find(number);
        const bool there = row != contents.rows.end();
        const Task& task = tasks[number];
        claims.push_back({task.added, there, "add", number});
        claims.push_back({task.finished, there && row->second.finished, "outcome", number});
        if (fate_of(number) == Fate::retries) {
            claims.push_back({task.retried, there && row->second.attempts > 0, "failure", number});
        }
    }
    for (const Claim& claim : claims) {
        if (claim.there && claim.fact.begun != never) latest = (std::max)(latest, claim.fact.begun);
    }
    if (latest > cut) problems.add("the file holds something of position {}, which is after the cut", latest);
    Loss loss;
    for (const Claim& claim : claims) {
        if (claim.there || claim.fact.known > cut) continue;
        ++(claim.what == std::string{"add"} ? loss.adds : loss.outcomes);
        if (claim.fact.known <= latest) {
            problems.add("no prefix: the {} of task {}, known at {}, is missing; something of {} is there", claim.what,
                         claim.number, claim.fact.known, latest);
        }
    }
    return loss;
}

// All of a transaction or nothing, and every byte of a payload.
void check_whole(const std::vector<Task>& tasks, const Contents& contents, Problems& problems) {
    std::map<std::size_t, std::pair<std::size_t, std::size_t>> saves;  // how many tasks it has, how many are there
    for (std::size_t number = 0; number < tasks.size(); ++number) {
        const auto row = contents.rows.find(number);
        const bool there = row != contents.rows.end();
        auto& [all, found] = saves[tasks[number].save];
        ++all;
        if (there) ++found;
        if (there && row->second.payload != tasks[number].payload) problems.add("task {} has another payload", number);
        if (tasks[number].with_order && there != (contents.orders.count(number) != 0)) {
            problems.add("task {} {} there, its order is not so", number, there ? "is" : "is not");
        }
    }
    for (const auto& [save, count] : saves) {
        if (count.second != 0 && count.second != count.first) {
            problems.add("save {}: {} of {} tasks", save, count.second, count.first);
        }
    }
}

// What was going on at that moment: by what the program knew, and by the file as everybody saw it then.
Moments::InFlight in_flight(const std::vector<Task>& tasks, const DiskRecord& disk, std::size_t cut) {
    const TempFolder folder;
    std::mt19937_64 unused;
    disk.rebuild(cut, 1.0, unused, folder.name());
    const Contents contents = read(folder.file("app.db"));
    Moments::InFlight now;
    now.committing = disk.committing(cut) ? 1 : 0;
    for (std::size_t number = 0; number < tasks.size(); ++number) {
        const auto before = [cut](const std::vector<std::size_t>& all) {
            return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](auto p) { return p <= cut; }));
        };
        const std::size_t entered = before(tasks[number].entered);
        const bool inside = entered > before(tasks[number].left);
        const auto row = contents.rows.find(number);
        if (inside) ++now.inside;
        if (row == contents.rows.end() || !row->second.claimed) continue;
        if (entered < row->second.claim) {
            ++now.claimed;
        } else if (!inside) {
            ++now.returned;
        }
    }
    return now;
}

// The library goes on with what the cut left. Nothing runs whose outcome is in the file, and everything else ends.
void go_on(Client& client, const std::string& file, const Contents& before, Problems& problems) {
    std::mutex mutex;
    std::multiset<std::size_t> ran;
    client.register_queue<Job>([&](Context& context, const Job& job) {
        {
            const std::lock_guard lock(mutex);
            ran.insert(job.number);
        }
        if (fate_of(job.number) == Fate::is_discarded) return Outcome::discard("no");
        const bool again = fate_of(job.number) == Fate::retries && context.attempt() == 1;
        return again ? Outcome::retry("again") : Outcome::success();
    });
    client.start();
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!client.counts().empty() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(500us);
    if (!client.stop(1h)) problems.add("stop returned false");
    const Contents after = read(file);
    if (after.integrity != "ok") problems.add("at the end: {}", after.integrity);
    if (after.rows.size() != before.rows.size()) problems.add("{} of {} tasks", after.rows.size(), before.rows.size());
    for (const auto& [number, row] : before.rows) {
        const auto end = after.rows.find(number);
        if (end == after.rows.end() || !end->second.finished) {
            problems.add("task {} has not ended", number);
            continue;
        }
        const Fate fate = fate_of(number);
        if (end->second.succeeded == (fate == Fate::is_discarded)) problems.add("task {} ended otherwise", number);
        const int attempts = fate == Fate::retries ? 2 : 1;
        if (end->second.attempts != attempts) problems.add("task {} spent {} attempts", number, end->second.attempts);
        const auto runs = static_cast<int>(ran.count(number));
        const int wanted = row.finished ? 0 : attempts - row.attempts;
        if (runs != wanted) problems.add("task {} ran {} times more instead of {}", number, runs, wanted);
    }
}

// Whether the program was at everything at once: in a commit, inside a processor, and with an outcome to write.
bool busy(const std::vector<Task>& tasks, const DiskRecord& disk, std::size_t cut) {
    const auto inside = [cut](const Task& task) { return task.entered.back() <= cut && cut < task.left.back(); };
    const auto returned = [cut](const Task& task) { return task.left.back() <= cut && cut < task.finished.known; };
    return disk.committing(cut) && std::any_of(tasks.begin(), tasks.end(), inside) &&
           std::any_of(tasks.begin(), tasks.end(), returned);
}

// In the very moment in which somebody was told of a success, or anywhere; more often while much was going on, and in
// half of these cases just before a task entered its processor.
std::size_t choose_cut(const std::vector<Task>& tasks, const DiskRecord& disk, std::mt19937_64& random) {
    const std::uint64_t kind = random() % 8;
    std::size_t cut = random() % (disk.position() + 1);
    if (kind == 1) return cut;
    for (int i = 0; i < 10; ++i) {
        const Task& task = tasks[random() % tasks.size()];
        if (kind == 0) return random() % 2 == 0 ? task.added.known : task.finished.known;
        cut = task.entered.back() - 1;
        if (kind < 5) cut += 1 + random() % (task.left.back() - cut);
        if (busy(tasks, disk, cut)) break;
    }
    return cut;
}

// What one mode of durability promises, and what was seen of it.
void cut_power(const char* name, Durability durability, bool keeps_acknowledged) {
    const Harness harness(name, 20);
    Moments moments(harness);
    // A disk that never loses anything proves nothing.
    Moments losses(harness, keeps_acknowledged ? std::vector<std::string_view>{}
                                               : std::vector<std::string_view>{"something acknowledged was lost"});
    std::size_t with_loss = 0;
    Loss most;
    std::size_t tasks_seen = 0;
    std::size_t rescues = 0;
    FaultyVfs quick{"quick"};
    quick.imitate_syncs(0us);
    std::size_t round = 0;
    const auto wanted = [&] { return moments.wants(round) || losses.wants(round); };
    while (wanted()) {
        const std::uint64_t run_seed = harness.seed() + round;
        std::mt19937_64 random(run_seed);
        DiskRecord disk;
        History history(disk);
        {
            const TempFolder folder;
            FaultyVfs vfs{"recorded"};
            vfs.imitate_syncs(300us);
            vfs.record(&disk);
            work(vfs, folder.file("app.db"), durability, history, run_seed);
        }
        const std::vector<Task>& tasks = history.tasks();
        tasks_seen += tasks.size();
        for (std::size_t i = 0; i < cuts_per_run && wanted(); ++i, ++round) {
            const std::size_t cut = choose_cut(tasks, disk, random);
            REQUIRE(cut != never);
            INFO("BACKLITE_SEED=" << harness.seed() << ", round " << round << ", cut at " << cut << " of "
                                  << disk.position());
            const TempFolder folder;
            const std::string file = folder.file("app.db");
            constexpr std::array<double, 5> shares{0.0, 0.1, 0.5, 0.9, 1.0};
            disk.rebuild(cut, shares[random() % shares.size()], random, folder.name());
            Problems problems;
            try {
                if (random() % 2 == 0) put_old_side_file(file);
                const auto log = std::make_shared<RecordingLogger>();
                Client client{
                    {.database = file, .logger = log, .num_workers = 2, .open = [&] { return quick.connect(file); }}};
                const Contents contents = read(file);
                if (contents.integrity != "ok") problems.add("{}", contents.integrity);
                check_whole(tasks, contents, problems);
                const Loss loss = check_prefix(tasks, contents, cut, problems);
                losses.met({loss.adds + loss.outcomes});
                if (loss.adds + loss.outcomes > 0) {
                    ++with_loss;
                    if (keeps_acknowledged) problems.add("lost: {} adds, {} outcomes", loss.adds, loss.outcomes);
                }
                most = {(std::max)(most.adds, loss.adds), (std::max)(most.outcomes, loss.outcomes)};
                moments.note(in_flight(tasks, disk, cut));
                go_on(client, file, contents, problems);
                constexpr const char* rescue = "rescued a dead client's claims";
                rescues += log->count(rescue);
                if (log->count("crashed=\"\"") != log->count(rescue)) problems.add("a crash was counted");
            } catch (const std::exception& error) {
                problems.add("{}", error.what());
            }
            REQUIRE(problems.text() == "");
        }
    }
    fmt::print(
        "  {} cuts, {} tasks recorded; {} cuts lost something acknowledged, at most {} adds and {} outcomes; {} "
        "owners rescued\n",
        round, tasks_seen, with_loss, most.adds, most.outcomes, rescues);
    moments.check();
    losses.check();
}

TEST_CASE("power cut: with full nothing acknowledged is lost") {
    cut_power("power cut with full", Durability::full, true);
}

TEST_CASE("power cut: with process the file is sound and holds a prefix") {
    cut_power("power cut with process", Durability::process, false);
}

}  // namespace
