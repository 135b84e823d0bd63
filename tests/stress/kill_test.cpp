// SPDX-License-Identifier: MIT
// Processes that add and run tasks are killed at random moments. What they acknowledged before they died, over a pipe,
// is compared with the file: no add is lost, no outcome is undone, nothing runs again but what was in flight.
//     BACKLITE_ROUNDS=1000 build/gcc/tests/backlite_stress "kill: one process*"
//     BACKLITE_ROUNDS=500 build/gcc/tests/backlite_stress "kill: three processes*"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::store::sqlite::OwnerLock;
using backlite::store::sqlite::RecordState;
using backlite::store::sqlite::RecordView;
using backlite_test::Harness;
using backlite_test::Moments;
using backlite_test::Process;
using backlite_test::SharedMemory;
using Steady = std::chrono::steady_clock;

constexpr std::uint64_t adds_per_round = 3'000;  // processes that are not killed by then add no more
constexpr std::int64_t most_waiting = 300;
constexpr std::size_t most_processes = 3;

struct Job {
    std::uint64_t number = 0;
    std::uint64_t first = 0;  // of the tasks added with it
    std::uint64_t size = 0;   // how many those are

    static backlite::QueueConfig config() {
        return {.name = "job",
                .max_attempts = 3,
                .retention = backlite::Retention{.data = backlite::RetainData{}},
                .max_crashes = 1'000'000};  // however many kills hit a task, it runs again
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, number, first, size)

// Some tasks fail once, so that attempts are spent too.
bool fails_once(std::uint64_t number) { return number % 37 == 0; }

std::int64_t now() { return Steady::now().time_since_epoch().count(); }

// One attempt at one task, as its processor saw it.
struct Attempt {
    std::atomic<std::uint32_t> entered{0};
    std::array<std::atomic<std::uint32_t>, most_processes> entered_by{};  // the life that did so last in each slot
    std::array<std::atomic<std::uint32_t>, most_processes> left_by{};
    std::atomic<std::int64_t> at{0};  // when it was entered last
};

// What the processes share, and what is left of them when they are killed.
struct Board {
    std::atomic<std::uint64_t> next_number{0};
    std::atomic<std::uint64_t> add_until{0};
    std::atomic<std::int64_t> waiting{0};  // about how many tasks wait
    std::array<std::atomic<std::uint32_t>, most_processes> committing{};
    std::array<std::atomic<std::uint64_t>, most_processes> entries{};
    std::array<std::atomic<std::uint32_t>, most_processes> inside{};
    Attempt* attempts = nullptr;  // two for each number

    [[nodiscard]] Attempt& attempt(std::uint64_t number, std::int64_t spent) const {
        return attempts[2 * number + (spent > 0 ? 1 : 0)];
    }
};

// SQLite calls this when a statement begins and when it has ended.
int on_statement(unsigned event, void* committing, void* statement, void*) noexcept {
    const char* const sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
    if (sql != nullptr && std::strcmp(sql, "COMMIT") == 0) {
        static_cast<std::atomic<std::uint32_t>*>(committing)->store(event == SQLITE_TRACE_STMT ? 1 : 0);
    }
    return 0;
}

void run(Board& board, std::size_t slot, std::uint32_t life, const backlite::Context& context, const Job& job) {
    Attempt& attempt = board.attempt(job.number, context.attempt() - 1);
    attempt.entered_by[slot] = life;
    attempt.at = now();
    ++attempt.entered;
    ++board.entries[slot];
    ++board.inside[slot];
    // Some work, so that a kill finds tasks inside and others that wait for a worker.
    std::this_thread::sleep_for(std::chrono::microseconds{job.number % 1'500});
    const bool fails = fails_once(job.number) && context.attempt() == 1;
    if (!fails) --board.waiting;
    attempt.left_by[slot] = life;
    --board.inside[slot];
    if (fails) throw std::runtime_error("the first attempt fails");
}

void produce(backlite::Client& client, Board& board, const Process::Inside& parent, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (;;) {
        const std::uint64_t size = 1 + random() % 50;
        if (board.waiting > most_waiting || board.next_number + size > board.add_until) {
            std::this_thread::sleep_for(200us);
            continue;
        }
        const std::uint64_t first = board.next_number.fetch_add(size);
        std::vector<Job> jobs;
        for (std::uint64_t i = 0; i < size; ++i) jobs.push_back({first + i, first, size});
        board.waiting += static_cast<std::int64_t>(size);
        (void)client.add(jobs).save();
        parent.say(fmt::format("{} {}", first, size));
    }
}

// Adds and runs tasks until it is killed.
void live(const std::string& file, Board& board, std::size_t slot, std::uint32_t life, unsigned workers,
          unsigned producers, std::uint64_t seed, const Process::Inside& parent) {
    backlite::ClientConfig config{.database = file, .num_workers = workers};
    config.durability = seed % 2 == 0 ? backlite::Durability::process : backlite::Durability::full;
    config.open = [&] {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        sqlite3_trace_v2(database.getHandle(), SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, on_statement,
                         &board.committing[slot]);
        return database;
    };
    backlite::Client client{config};
    client.register_queue<Job>(
        [&](backlite::Context& context, const Job& job) { run(board, slot, life, context, job); });
    client.start();
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < producers; ++i) {
        threads.emplace_back([&, i] { produce(client, board, parent, seed + i); });
    }
    for (;;) ::pause();
}

// What the parent knows of a task, from acknowledgements and from the file.
struct Known {
    bool acknowledged = false;
    bool seen = false;
    bool completed = false;
    std::int64_t noted = -1;                         // the claim that a dead process was last seen to hold
    bool noted_inside = false;                       // and whether that was a crash
    std::int64_t spent = 0;                          // attempts, as its row last said
    std::int64_t crashes = 0;                        // how many deaths found it inside since the last was spent
    std::uint32_t batch = 0;                         // of the first of a batch: how many of it were seen
    std::array<std::uint32_t, 2> may_repeat{};       // how many deaths found an attempt entered and unwritten
    std::array<std::uint32_t, 2> entered_by_then{};  // when its outcome was seen
};

struct Row {
    Job job{};
    std::string id{};
    std::int64_t claim = 0;
    std::int64_t owner = 0;
    bool claimed = false;
    std::int64_t attempts = 0;
    std::int64_t crashes = 0;
};

// What the other processes do while the parent looks at a death: stand still, so that they rescue nothing before the
// look, or go on.
enum class Survivors { frozen, going };

// A death, and what was in flight in it.
struct Death {
    Moments::InFlight in_flight{};
    std::int64_t at = 0;
    bool found = false;                                             // nobody had rescued its claims yet
    std::vector<std::pair<std::uint64_t, std::int64_t>> orphans{};  // number, spent attempts
};

class Trial {
public:
    Trial(const Harness& harness, std::size_t processes, unsigned workers)
        : seed_(harness.seed()),
          random_(harness.seed()),
          workers_(workers),
          attempts_(2 * (harness.rounds() + Moments::most_more + 1) * adds_per_round),
          known_((harness.rounds() + Moments::most_more + 1) * adds_per_round),
          lives_(processes),
          ids_(processes) {
        board_->attempts = attempts_.get();
        const backlite::Client client{{.database = file_}};  // makes the tables
    }

    void begin_round(std::size_t round) {
        round_ = round;
        board_->add_until = (std::min)(board_->next_number + adds_per_round, std::uint64_t{known_.size()});
        for (std::size_t slot = 0; slot < lives_.size(); ++slot) {
            if (!lives_[slot]) start(slot);
        }
    }

    // Lets a process run for a random while, and kills it.
    Death kill_one(Survivors survivors) {
        const std::size_t slot = random_() % lives_.size();
        Process& victim = *lives_[slot];
        const std::uint64_t kind = random_() % 10;
        const std::uint64_t target = board_->entries[slot] + 1 + random_() % 120;
        const std::chrono::microseconds more{random_() % 2'000};
        if (kind == 0) {
            std::this_thread::sleep_for(8 * more);  // it opens, takes back what the last one left, begins
        } else {
            const auto end = Steady::now() + backlite_test::patience;
            while (board_->entries[slot] < target && Steady::now() < end) std::this_thread::sleep_for(100us);
            std::this_thread::sleep_for(more);
            if (kind % 2 == 0) look_before();
            if (kind > 1) wait_for_a_commit(slot);
        }
        Death death;
        death.at = now();
        victim.kill();
        if (survivors == Survivors::frozen) freeze_but(slot);
        death.in_flight.committing = board_->committing[slot];
        hear();
        look_after(death, {slot}, survivors);
        if (survivors == Survivors::frozen) thaw_but(slot);
        if (round_ >= next_forget_) forget_old();
        lives_[slot].reset();
        return death;
    }

    // Waits until what a dead process held has been entered by others; how long after the death, in milliseconds.
    std::vector<double> await_orphans(const Death& death) {
        std::vector<double> delays;
        const auto end = Steady::now() + backlite_test::patience;
        for (const auto& [number, spent] : death.orphans) {
            const Attempt& attempt = board_->attempt(number, spent);
            while (attempt.at <= death.at && Steady::now() < end) std::this_thread::sleep_for(200us);
            if (attempt.at <= death.at) complain("task {} of the dead process is not run again", number);
            delays.push_back(static_cast<double>(attempt.at - death.at) / 1e6);
        }
        return delays;
    }

    // Kills what is left, runs the rest in this process, and compares all.
    void finish() {
        for (auto& life : lives_) {
            if (life) life->kill();
        }
        hear();
        Death of_all;
        std::vector<std::size_t> slots;
        for (std::size_t slot = 0; slot < lives_.size(); ++slot) {
            if (lives_[slot]) slots.push_back(slot);
        }
        if (!slots.empty()) look_after(of_all, slots, Survivors::going);
        for (auto& life : lives_) life.reset();
        {
            const std::uint32_t life = ++last_life_;
            backlite::Client client{{.database = file_, .num_workers = workers_}};
            client.register_queue<Job>(
                [&, life](backlite::Context& context, const Job& job) { run(*board_, 0, life, context, job); });
            client.start();
            if (!backlite_test::eventually([&] { return client.counts().empty(); })) complain("tasks are left");
            if (!client.stop(1h)) complain("the last client did not stop");
        }
        SQLite::Database database = connect();
        read_completed(database);
        for (std::uint64_t number = 0; number < known_.size(); ++number) check_end(number);
        check();
    }

    void check() const {
        INFO("BACKLITE_SEED=" << seed_ << ", round " << round_);
        REQUIRE(complaints_ == std::vector<std::string>{});
    }

    void print() const {
        std::uint64_t acknowledged = 0;
        std::uint64_t completed = 0;
        std::uint64_t entered = 0;
        std::uint64_t repeats = 0;
        for (std::uint64_t number = 0; number < known_.size(); ++number) {
            if (known_[number].acknowledged) ++acknowledged;
            if (known_[number].completed) ++completed;
            for (const std::int64_t spent : {0, 1}) {
                const std::uint64_t times = board_->attempt(number, spent).entered;
                entered += times;
                repeats += times > 1 ? times - 1 : 0;
            }
        }
        fmt::print(
            "  {} adds acknowledged, {} tasks succeeded, {} entered, {} of them again; at most {} claims held at a "
            "death\n",
            acknowledged, completed, entered, repeats, most_claims_);
        std::fflush(stdout);
    }

private:
    template <class... Args>
    void complain(fmt::format_string<Args...> format, Args&&... args) {
        if (complaints_.size() < 10) complaints_.push_back(fmt::format(format, std::forward<Args>(args)...));
    }

    void start(std::size_t slot) {
        const std::uint32_t life = ids_[slot] = ++last_life_;
        const std::uint64_t seed = random_();
        board_->entries[slot] = 0;
        board_->committing[slot] = 0;
        board_->inside[slot] = 0;
        lives_[slot] = std::make_unique<Process>([this, slot, life, seed](const Process::Inside& parent) {
            // Not so many that the file is hardly ever free to claim.
            live(file_, *board_, slot, life, workers_, lives_.size() == 1 ? 2 : 1, seed, parent);
        });
        heard_[slot] = 0;
    }

    void freeze_but(std::size_t slot) {
        for (std::size_t other = 0; other < lives_.size(); ++other) {
            if (other != slot && lives_[other]) lives_[other]->freeze();
        }
    }

    void thaw_but(std::size_t slot) const {
        for (std::size_t other = 0; other < lives_.size(); ++other) {
            if (other != slot && lives_[other]) lives_[other]->thaw();
        }
    }

    // In the midst of a commit, all workers busy if that comes soon.
    void wait_for_a_commit(std::size_t slot) const {
        const auto start = Steady::now();
        const auto here = [&] {
            const bool busy = board_->inside[slot] == workers_ || Steady::now() > start + 300ms;
            return busy && board_->committing[slot] != 0;
        };
        while (!here() && Steady::now() < start + 500ms) {
        }
    }

    // Takes in the acknowledgements that have come.
    void hear() {
        for (std::size_t slot = 0; slot < lives_.size(); ++slot) {
            if (!lives_[slot]) continue;
            lives_[slot]->catch_up();
            const std::vector<std::string>& lines = lives_[slot]->lines();
            for (; heard_[slot] < lines.size(); ++heard_[slot]) {
                char* rest = nullptr;
                const std::uint64_t first = std::strtoull(lines[heard_[slot]].c_str(), &rest, 10);
                const std::uint64_t size = std::strtoull(rest, nullptr, 10);
                if (size == 0) {
                    complain("a process said: {}", lines[heard_[slot]]);
                    continue;
                }
                for (std::uint64_t number = first; number < first + size; ++number) {
                    known_[number].acknowledged = true;
                    if (!known_[number].completed) acknowledged_.push_back(number);
                }
            }
        }
    }

    // What is in the log stays there: mending it is the next process's business.
    [[nodiscard]] SQLite::Database connect() const {
        SQLite::Database database(file_, SQLite::OPEN_READWRITE, 10'000);
        sqlite3_db_config(database.getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
        database.exec("PRAGMA wal_autocheckpoint=0");
        return database;
    }

    // Outcomes that a second connection sees before the kill.
    void look_before() {
        SQLite::Database database = connect();
        read_completed(database);
    }

    // `slots`: of the processes that have died since the last look.
    void look_after(Death& death, const std::vector<std::size_t>& slots, Survivors survivors) {
        SQLite::Database database = connect();
        std::map<std::int64_t, std::vector<RecordView>> dead = begin_look(database);
        const auto survivors_left = static_cast<std::int64_t>(lives_.size() - slots.size());
        bool rescued = survivors_left == 0;
        for (int looks = 0; dead.empty() && !rescued && looks < 40; ++looks) {
            // A survivor is in the midst of a rescue, and holds the dead one's lock, or of mending the log: let it
            // finish, and then look.
            if (sqlite3_get_autocommit(database.getHandle()) == 0) database.exec("COMMIT");
            if (survivors == Survivors::frozen) thaw_but(slots.front());
            std::this_thread::sleep_for(300ms);
            if (survivors == Survivors::frozen) freeze_but(slots.front());
            dead = begin_look(database);
            rescued = sqlite3_get_autocommit(database.getHandle()) == 0 &&
                      database.execAndGet("SELECT count(*) FROM backlite_clients").getInt64() <= survivors_left;
        }
        if (sqlite3_get_autocommit(database.getHandle()) != 0) complain("the file cannot be read");
        const std::vector<Row> rows = read_rows(database);
        const std::uint64_t completed_from = last_completed_.size();
        read_completed(database);
        database.exec("COMMIT");
        const std::string sound = database.execAndGet("PRAGMA integrity_check").getString();
        if (sound != "ok") complain("integrity_check: {}", sound);
        death.found = !dead.empty();
        std::vector<bool> present(known_.size(), false);
        std::int64_t waiting = 0;
        for (const Row& row : rows) {
            ++waiting;
            note_present(row.job);
            present[row.job.number] = true;
            check_row(row, death.found);
            const auto owner = dead.find(row.owner);
            if (row.claimed && owner != dead.end()) note_orphan(row, owner->second, slots, death);
        }
        board_->waiting = waiting;
        if (!death.found && lives_.size() > 1) allow_repeats(rows, completed_from, slots);
        for (const Row& row : rows) check_runs(row.job.number);
        for (const std::uint64_t first : batches_) {
            if (known_[first].batch != sizes_.at(first)) {
                complain("of the {} tasks of one save, {} are there", sizes_.at(first), known_[first].batch);
            }
        }
        batches_.clear();
        sizes_.clear();
        std::erase_if(acknowledged_, [&](std::uint64_t number) { return known_[number].completed; });
        for (const std::uint64_t number : acknowledged_) {
            if (!present[number]) complain("the acknowledged task {} is lost", number);
        }
        most_claims_ = (std::max)(most_claims_, death.orphans.size());
        // Workers' tasks, and two batches of the most that is claimed ahead: one in memory, one on its way there.
        if (death.in_flight.inside > slots.size() * workers_) complain("{} tasks were inside", death.in_flight.inside);
        if (death.orphans.size() > slots.size() * (workers_ + 1024))
            complain("{} tasks were claimed", death.orphans.size());
    }

    // The dead, in a transaction that stays open; nobody, and no transaction, if the file cannot be read.
    [[nodiscard]] std::map<std::int64_t, std::vector<RecordView>> begin_look(SQLite::Database& database) const {
        database.exec("BEGIN");
        try {
            return read_dead(database);
        } catch (const SQLite::Exception&) {
            database.exec("ROLLBACK");
            return {};
        }
    }

    [[nodiscard]] std::map<std::int64_t, std::vector<RecordView>> read_dead(SQLite::Database& database) const {
        std::map<std::int64_t, std::vector<RecordView>> dead;
        SQLite::Statement clients(database, "SELECT owner, slot, workers FROM backlite_clients");
        while (clients.executeStep()) {
            const OwnerLock lock(file_);
            const auto slot = static_cast<unsigned>(clients.getColumn(1).getInt());
            if (lock.held_by_other(slot)) continue;
            dead[clients.getColumn(0).getInt64()] =
                lock.read_records(slot, static_cast<unsigned>(clients.getColumn(2).getInt()));
        }
        return dead;
    }

    static Job job_of(const SQLite::Column& payload) { return nlohmann::json::parse(payload.getString()).get<Job>(); }

    [[nodiscard]] static std::vector<Row> read_rows(SQLite::Database& database) {
        std::vector<Row> rows;
        SQLite::Statement select(
            database,
            "SELECT task, id, claim, coalesce(owner, 0), claimed_at IS NOT NULL, attempts, crashes "
            "FROM backlite_tasks");
        while (select.executeStep()) {
            rows.push_back({job_of(select.getColumn(0)), select.getColumn(1).getString(),
                            select.getColumn(2).getInt64(), select.getColumn(3).getInt64(),
                            select.getColumn(4).getInt() != 0, select.getColumn(5).getInt64(),
                            select.getColumn(6).getInt64()});
        }
        return rows;
    }

    // Outcomes since the last look. From now on these tasks must not be entered again, and must stay.
    void read_completed(SQLite::Database& database) {
        SQLite::Statement select(
            database, "SELECT rowid, task, attempts, succeeded FROM backlite_tasks_completed WHERE rowid > ?");
        select.bind(1, last_row_);
        while (select.executeStep()) {
            last_row_ = (std::max)(last_row_, select.getColumn(0).getInt64());
            const Job job = job_of(select.getColumn(1));
            Known& known = known_[job.number];
            if (known.completed) complain("task {} succeeded twice", job.number);
            if (select.getColumn(3).getInt() != 1) complain("task {} failed", job.number);
            if (select.getColumn(2).getInt() != (fails_once(job.number) ? 2 : 1)) {
                complain("task {} spent {} attempts", job.number, select.getColumn(2).getInt());
            }
            known.completed = true;
            for (const std::int64_t spent : {0, 1}) {
                known.entered_by_then[static_cast<std::size_t>(spent)] = board_->attempt(job.number, spent).entered;
            }
            note_present(job);
            last_completed_.push_back(job.number);
        }
        const std::int64_t kept =
            database
                .execAndGet(fmt::format("SELECT count(*) FROM backlite_tasks_completed WHERE rowid <= {}", last_row_))
                .getInt64();
        if (kept != static_cast<std::int64_t>(last_completed_.size() - forgotten_)) {
            complain("{} outcomes are kept of {}", kept, last_completed_.size() - forgotten_);
        }
    }

    void note_present(const Job& job) {
        Known& known = known_[job.number];
        if (std::exchange(known.seen, true)) return;
        ++known_[job.first].batch;
        batches_.push_back(job.first);
        sizes_[job.first] = job.size;
    }

    void check_row(const Row& row, bool exact) {
        Known& known = known_[row.job.number];
        if (known.completed) complain("task {} is there again after its outcome was seen", row.job.number);
        if (row.attempts != 0 && !(row.attempts == 1 && fails_once(row.job.number))) {
            complain("task {} has spent {} attempts", row.job.number, row.attempts);
        }
        // A crash is counted when the claim is taken back.
        const bool pending = row.claimed && row.claim == known.noted && known.noted_inside;
        if (row.attempts > std::exchange(known.spent, row.attempts)) known.crashes = pending ? 1 : 0;
        if (!exact && lives_.size() > 1) known.crashes = row.crashes + (pending ? 1 : 0);
        if (row.crashes != known.crashes - (pending ? 1 : 0)) {
            complain("task {} has {} crashes, but {} deaths found it inside", row.job.number, row.crashes,
                     known.crashes);
        }
    }

    [[nodiscard]] bool entered_by(const Attempt& attempt, const std::vector<std::size_t>& slots) const {
        return std::any_of(slots.begin(), slots.end(),
                           [&](std::size_t slot) { return attempt.entered_by[slot] == ids_[slot]; });
    }

    [[nodiscard]] bool left_by(const Attempt& attempt, const std::vector<std::size_t>& slots) const {
        return std::any_of(slots.begin(), slots.end(),
                           [&](std::size_t slot) { return attempt.left_by[slot] == ids_[slot]; });
    }

    void note_orphan(const Row& row, const std::vector<RecordView>& records, const std::vector<std::size_t>& slots,
                     Death& death) {
        Known& known = known_[row.job.number];
        if (known.noted == row.claim) return;
        known.noted = row.claim;
        const Attempt& attempt = board_->attempt(row.job.number, row.attempts);
        const bool entered = entered_by(attempt, slots);
        const RecordView inside{static_cast<std::uint64_t>(row.claim), backlite::store::sqlite::hash_id(row.id),
                                RecordState::inside};
        known.noted_inside = std::find(records.begin(), records.end(), inside) != records.end();
        if (known.noted_inside) {
            ++death.in_flight.inside;
            ++known.crashes;
        } else if (entered) {
            ++death.in_flight.returned;
            if (!left_by(attempt, slots))
                complain("task {} was inside, and its record does not say so", row.job.number);
        } else {
            ++death.in_flight.claimed;
        }
        if (known.noted_inside || entered) ++known.may_repeat[row.attempts > 0 ? 1 : 0];
        death.orphans.emplace_back(row.job.number, row.attempts);
    }

    // Survivors were quicker than the look: what was in flight is not known exactly.
    void allow_repeats(const std::vector<Row>& rows, std::size_t completed_from,
                       const std::vector<std::size_t>& slots) {
        const auto allow = [&](std::uint64_t number) {
            for (const std::int64_t spent : {0, 1}) {
                std::uint32_t& may_repeat = known_[number].may_repeat[static_cast<std::size_t>(spent)];
                const Attempt& attempt = board_->attempt(number, spent);
                const bool victims = entered_by(attempt, slots) && !known_[number].completed;
                may_repeat = (std::max)(may_repeat + (victims ? 1 : 0), attempt.entered > 0 ? attempt.entered - 1 : 0);
            }
        };
        for (const Row& row : rows) allow(row.job.number);
        for (std::size_t i = completed_from; i < last_completed_.size(); ++i) allow(last_completed_[i]);
    }

    void check_runs(std::uint64_t number) {
        for (const std::int64_t spent : {0, 1}) {
            const std::uint32_t entered = board_->attempt(number, spent).entered;
            const std::uint32_t may_repeat = known_[number].may_repeat[static_cast<std::size_t>(spent)];
            if (entered > 1 + may_repeat) {
                complain("attempt {} at task {} was made {} times, {} deaths allow that", spent + 1, number, entered,
                         may_repeat);
            }
        }
    }

    void check_end(std::uint64_t number) {
        const Known& known = known_[number];
        if (known.acknowledged && !known.completed) complain("the acknowledged task {} is lost", number);
        if (!known.completed) return;
        check_runs(number);
        for (const std::int64_t spent : {0, 1}) {
            const std::uint32_t entered = board_->attempt(number, spent).entered;
            const bool expected = spent == 0 || fails_once(number);
            if ((entered > 0) != expected) complain("attempt {} at task {}: {} times", spent + 1, number, entered);
            if (entered != known.entered_by_then[static_cast<std::size_t>(spent)]) {
                complain("task {} ran again after its outcome was seen", number);
            }
        }
    }

    // Keeps the file small: outcomes that have outlived many deaths may go.
    void forget_old() {
        SQLite::Database database = connect();
        next_forget_ = round_ + 20;
        const std::int64_t before = last_row_at_last_forget_;
        last_row_at_last_forget_ = last_row_;
        SQLite::Statement forget(database, "DELETE FROM backlite_tasks_completed WHERE rowid <= ?");
        forget.bind(1, before);
        forgotten_ += static_cast<std::size_t>(forget.exec());
    }

    const std::uint64_t seed_;
    std::mt19937_64 random_;
    const unsigned workers_;
    const backlite_test::TempFolder folder_{};
    const std::string file_ = folder_.file("app.db");
    const SharedMemory<Board> board_{};
    const SharedMemory<Attempt> attempts_;
    std::vector<Known> known_;
    std::vector<std::unique_ptr<Process>> lives_;
    std::vector<std::uint32_t> ids_;
    std::array<std::size_t, most_processes> heard_{};
    std::uint32_t last_life_ = 0;
    std::size_t round_ = 0;
    std::vector<std::uint64_t> acknowledged_{};  // and not seen to be completed
    std::vector<std::uint64_t> batches_{};       // of which something new was seen
    std::map<std::uint64_t, std::uint64_t> sizes_{};
    std::vector<std::uint64_t> last_completed_{};  // all that were seen to be completed
    std::size_t forgotten_ = 0;
    std::int64_t last_row_ = 0;
    std::int64_t last_row_at_last_forget_ = 0;
    std::size_t next_forget_ = 20;
    std::size_t most_claims_ = 0;
    std::vector<std::string> complaints_{};
};

double percentile(std::vector<double> values, double part) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}

TEST_CASE("kill: one process loses no acknowledged add and repeats only what was in flight") {
    const Harness harness("kill: one process", 60);
    Moments moments(harness);
    Trial trial(harness, 1, 3);
    for (std::size_t round = 0; moments.wants(round); ++round) {
        trial.begin_round(round);
        moments.note(trial.kill_one(Survivors::going).in_flight);
        trial.check();
    }
    trial.finish();
    trial.print();
    moments.check();
}

TEST_CASE("kill: three processes lose no acknowledged add and survivors run what the dead held") {
    const Harness harness("kill: three processes", 20);
    Moments moments(harness);
    Trial trial(harness, 3, 3);
    std::vector<double> delays;
    std::size_t unseen = 0;  // then nothing is noted of the death
    for (std::size_t round = 0; moments.wants(round); ++round) {
        trial.begin_round(round);
        // One in four shows how quickly survivors go on; the others, exactly what was in flight.
        const Survivors survivors = round % 4 == 3 ? Survivors::going : Survivors::frozen;
        const Death death = trial.kill_one(survivors);
        if (death.found) moments.note(death.in_flight);
        if (!death.found && survivors == Survivors::frozen) ++unseen;
        const std::vector<double> later = trial.await_orphans(death);
        if (survivors == Survivors::going) delays.insert(delays.end(), later.begin(), later.end());
        trial.check();
    }
    trial.finish();
    trial.print();
    fmt::print(
        "  from a death until a survivor enters its task: {} tasks, p50 {:.1f} ms, p99 {:.1f} ms, p100 {:.1f} ms\n"
        "  in {} deaths the look came after a rescue, or the death before the start\n",
        delays.size(), percentile(delays, 0.5), percentile(delays, 0.99), percentile(delays, 1), unseen);
    moments.check();
}

}  // namespace
