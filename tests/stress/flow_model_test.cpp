// SPDX-License-Identifier: MIT
// Random flows whose process dies again and again, beside their plain function. A program is a random tree of steps,
// transactions, sleeps, waits, children, undos, branches, loops, and failures of all kinds. It runs twice: as a flow,
// killed or stopped at random points of its own and right before commits, sometimes cancelled; and as a plain function
// that nothing interrupts. Both must end alike: the result or the reason, each effect of `tx` in the host's table once,
// no step again that has returned, and the undos of what was reached, the last one first. Of a flow that was cancelled
// the plain function is cut where the flow was.
//     BACKLITE_ROUNDS=5000 BACKLITE_SEED=7 build/gcc/tests/backlite_stress "flow model: *"
// A round is one flow with its children. BACKLITE_ONLY plays one of them; which thread is first may differ there.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
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
#include <backlite/flow.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace flow_model_test {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::Flow;
using backlite::Outcome;
using backlite::StepOptions;
using backlite::TaskStatus;
using backlite_test::Harness;
using backlite_test::Look;
using backlite_test::Process;
using backlite_test::SharedMemory;
using backlite_test::TempFolder;
using Value = std::int64_t;

constexpr int most_maps = 3;      // of flows, in one program
constexpr int most_children = 4;  // of each of them
constexpr int slots = 1 + most_maps * most_children;
constexpr int most_ops = 2'000;  // that one program comes to
constexpr int most_undone = 2'000;
constexpr int max_attempts = 4;
constexpr int for_good = 1'000;

/// Mixes what a program has seen so far with what it sees now; never negative.
[[nodiscard]] Value mix(Value before, Value now) {
    auto x = static_cast<std::uint64_t>(before) * 0x9e3779b97f4a7c15U + static_cast<std::uint64_t>(now);
    x ^= x >> 29U;
    x *= 0xbf58476d1ce4e5b9U;
    x ^= x >> 32U;
    return static_cast<Value>(x >> 2U);
}

// ---- programs -------------------------------------------------------------------------------------------------------

enum class Kind { step, tx, sleep, early, late, never, race, flows, leaves, undo, blow, odd, loop };
constexpr std::array<const char*, 13> kinds{"step",  "tx",     "sleep", "early", "late", "never", "race",
                                            "flows", "leaves", "undo",  "blow",  "odd",  "loop"};

struct Op {
    Kind kind = Kind::step;
    int name = 0;         // one of few: occurrences count
    int fails = 0;        // so often it throws
    bool caught = false;  // what it throws for good is caught
    int count = 0;        // of children; milliseconds; turns
    std::vector<Op> body{};
};

enum class End { success, discard, blow };

struct Program {
    std::vector<Op> ops{};
    End end = End::success;
};

class Maker {
public:
    Maker(std::uint64_t seed, int slot) : random_(seed * 1'000 + static_cast<std::uint64_t>(slot)), root_(slot == 0) {}

    Program make() {
        Program program{block(3 + below(root_ ? 22 : 8), 0), End::success};
        const int end = below(10);
        if (end == 0) program.end = End::discard;
        if (end == 1) program.end = End::blow;
        return program;
    }

private:
    [[nodiscard]] int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

    std::vector<Op> block(int size, int depth) {
        std::vector<Op> ops;
        for (int i = 0; i < size; ++i) ops.push_back(one(depth));
        return ops;
    }

    Op one(int depth) {
        static constexpr std::array<Kind, 22> choices{
            Kind::step,  Kind::step,  Kind::step,  Kind::step,   Kind::tx,   Kind::tx,   Kind::tx,   Kind::sleep,
            Kind::early, Kind::early, Kind::late,  Kind::never,  Kind::race, Kind::undo, Kind::undo, Kind::undo,
            Kind::undo,  Kind::blow,  Kind::flows, Kind::leaves, Kind::odd,  Kind::loop};
        Op op;
        do {
            op.kind = choices[static_cast<std::size_t>(below(static_cast<int>(choices.size())))];
        } while ((depth == 2 && (op.kind == Kind::odd || op.kind == Kind::loop)) || (!root_ && op.kind == Kind::flows));
        op.name = below(3);
        op.count = op.kind == Kind::leaves ? below(20) : below(most_children + 1);
        if (below(5) == 0) op.fails = 1 + below(2);
        if (below(40) == 0) op.fails = for_good;
        op.caught = below(3) != 0;
        if (op.kind == Kind::odd || op.kind == Kind::loop) op.body = block(1 + below(3), depth + 1);
        return op;
    }

    std::mt19937_64 random_;
    const bool root_;
};

void describe(const std::vector<Op>& ops, const std::string& indent, std::string& text) {
    for (const Op& op : ops) {
        text += fmt::format("{}{} \"{}\" fails={} caught={} count={}\n", indent,
                            kinds[static_cast<std::size_t>(op.kind)], op.name, op.fails, op.caught, op.count);
        describe(op.body, indent + "    ", text);
    }
}

// ---- what the processes share ---------------------------------------------------------------------------------------

/// What one program did, in all lives of its process.
struct Slot {
    std::atomic<bool> known{false};  // it was entered
    char id[64]{};
    std::atomic<int> status{-1};
    std::atomic<Value> result{-1};
    std::atomic<int> passed{0};  // so many of its ops have returned, or failed for good
    std::atomic<int> blown{0};
    struct Step {
        std::atomic<int> life{0};     // the one that has entered it and not left it by throwing
        std::atomic<int> threw{0};    // as its script says
        std::atomic<Value> race{-1};  // what a wait gave of which nobody knows
    };
    Step steps[most_ops]{};
    std::atomic<int> undone{0};
    struct Undone {
        int number = 0;
        int life = 0;
        bool threw = false;
    };
    Undone undos[most_undone]{};
};

struct Ledger {
    std::atomic<int> life{0};
    std::atomic<int> death_in{0};    // points; zero: it lives
    std::atomic<int> cancel_in{0};   // points; zero: it is not cancelled
    std::atomic<bool> stops{false};  // it ends by a stop, and not by a kill
    std::atomic<bool> stop{false};
    std::atomic<bool> cancel{false};
    std::atomic<bool> added{false};
    std::atomic<bool> over{false};
    std::atomic<int> late{-1};  // the wait for which a signal is wanted
    std::atomic<bool> wrong{false};
    char why[256]{};
    Slot slots[flow_model_test::slots]{};

    void tell(const std::string& text) {
        if (wrong.exchange(true)) return;
        text.copy(why, sizeof why - 1);
    }
};

struct Job {
    std::uint64_t seed = 0;
    int slot = 0;
    using Result = Value;
    static backlite::QueueConfig config() {
        return {.name = "job",
                .max_attempts = max_attempts,
                .backoff = 1ms,
                .retention = backlite::Retention{},
                .max_crashes = 100'000};
    }
};
struct Leaf {
    Value value = 0;
    bool fails = false;
    using Result = Value;
    static backlite::QueueConfig config() { return {.name = "leaf", .max_attempts = 1, .max_crashes = 100'000}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, seed, slot)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Leaf, value, fails)

[[nodiscard]] Leaf leaf(const Op& op, Value seen, int i) { return {mix(seen, i), op.fails == for_good && i % 7 == 6}; }

/// Signals that are sent before the flow begins; only the first program waits for them.
constexpr int early_signals = 3;
[[nodiscard]] Value signal_value(std::uint64_t seed, int which) { return mix(static_cast<Value>(seed >> 2U), which); }

// ---- the program, whoever runs it -----------------------------------------------------------------------------------

/// A step of the plain function has failed for good; `StepFailed` has a public constructor, so both throw that.
using backlite::StepFailed;

template <class Runner>
void walk(Runner& runner, const std::vector<Op>& ops, Value& seen) {
    for (const Op& op : ops) {
        switch (op.kind) {
            case Kind::odd:
                if (seen % 2 == 1) walk(runner, op.body, seen);
                continue;
            case Kind::loop:
                for (Value i = seen % 3; i >= 0; --i) walk(runner, op.body, seen);
                continue;
            case Kind::undo: runner.undo(op); continue;
            case Kind::blow: runner.blow(); continue;
            default: break;
        }
        runner.begin();
        try {
            const Value given = runner.act(op, seen);
            runner.pass();
            seen = mix(seen, given);
        } catch (const backlite::ChildrenFailed& error) {
            runner.pass();
            if (!op.caught) throw;
            seen = mix(seen, static_cast<Value>(error.children().size()));
        } catch (const StepFailed&) {
            runner.pass();
            if (!op.caught) throw;
            seen = mix(seen, 1);
        }
    }
}

/// The plain function: does at once what a flow does in its time.
class Plain {
public:
    struct Cut {};
    struct Blown {};

    /// `cut`: it gets no further than so many ops.
    Plain(const Ledger& ledger, std::uint64_t seed, int slot, std::optional<int> cut)
        : ledger_(ledger), seed_(seed), slot_(slot), cut_(cut) {}

    void run() {
        const Program program = Maker(seed_, slot_).make();
        Value seen = 1;
        try {
            walk(*this, program.ops, seen);
            if (program.end == End::success) result = seen;
            if (program.end == End::discard) why = "given up";
            if (program.end == End::blow) why = "it blows";
        } catch (const Cut&) {
        } catch (const StepFailed& error) {
            why = error.what();
        }
    }

    void begin() const {
        if (cut_ && *cut_ == passed) throw Cut{};
    }
    void pass() { ++passed; }
    void undo(const Op& op) { undos.push_back(op.fails); }
    void blow() const {}

    Value act(const Op& op, Value seen) {
        const int at = passed;
        if (at == most_ops) throw std::logic_error("a program is too long");
        switch (op.kind) {
            case Kind::step:
            case Kind::tx:
                if (op.fails == for_good) throw StepFailed("a step", 1, "as its script says");
                if (op.kind == Kind::tx) effects.push_back(at);
                return mix(seen, at);
            case Kind::early: return slot_ == 0 && early_ < early_signals ? signal_value(seed_, early_++) : Value{0};
            case Kind::late: return slot_ == 0 ? signal_value(seed_, 1'000 + at) : Value{0};
            case Kind::race: return ledger_.slots[slot_].steps[at].race;
            case Kind::flows: return flows(op);
            case Kind::leaves: return leaves(op, seen);
            default: return 0;
        }
    }

    std::optional<Value> result{};
    std::string why{};
    int passed = 0;
    std::vector<int> effects{};
    std::vector<int> undos{};

private:
    Value flows(const Op& op) {
        if (maps_ == most_maps) return 0;
        const int first = 1 + maps_++ * most_children;
        Value sum = 0;
        std::vector<backlite::FailedChild> failed;
        for (int i = 0; i < op.count; ++i) {
            Plain child(ledger_, seed_, first + i, std::nullopt);
            child.run();
            if (child.result) {
                sum = mix(sum, *child.result);
            } else {
                failed.push_back({{}, child.why});
            }
        }
        if (!failed.empty()) throw backlite::ChildrenFailed("flows", 1, std::move(failed));
        return sum;
    }

    static Value leaves(const Op& op, Value seen) {
        Value sum = 0;
        std::vector<backlite::FailedChild> failed;
        for (int i = 0; i < op.count; ++i) {
            const Leaf one = leaf(op, seen, i);
            if (one.fails) failed.push_back({{}, "a leaf"});
            sum = mix(sum, one.value);
        }
        if (!failed.empty()) throw backlite::ChildrenFailed("leaves", 1, std::move(failed));
        return sum;
    }

    const Ledger& ledger_;
    const std::uint64_t seed_;
    const int slot_;
    const std::optional<int> cut_;
    int maps_ = 0;
    int early_ = 0;
};

/// Here the process may end.
void point(Ledger& ledger) {
    if (ledger.cancel_in > 0 && --ledger.cancel_in == 0) ledger.cancel = true;
    if (ledger.death_in <= 0 || --ledger.death_in != 0) return;
    if (ledger.stops) {
        ledger.stop = true;
        return;
    }
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
}

/// The same as a flow.
class Durable {
public:
    Durable(Ledger& ledger, Flow& flow, const Job& job, const std::string& file)
        : ledger_(ledger),
          slot_(ledger.slots[job.slot]),
          flow_(flow),
          job_(job),
          db_(file, SQLite::OPEN_READWRITE, 10'000) {
        sqlite3_commit_hook(db_.getHandle(), before_commit, &ledger_);
        flow_.context().task_id().str().copy(slot_.id, sizeof slot_.id - 1);
        slot_.known = true;
    }

    static int before_commit(void* ledger) {
        point(*static_cast<Ledger*>(ledger));
        return 0;
    }

    Outcome run() {
        Value seen = 1;
        point(ledger_);
        walk(*this, program_.ops, seen);
        point(ledger_);
        if (program_.end == End::discard) return Outcome::discard("given up");
        if (program_.end == End::blow) throw std::runtime_error("it blows");
        return Outcome::success(seen);
    }

    void begin() const {}
    void pass() {
        ++passed_;
        if (slot_.passed < passed_) slot_.passed = passed_;
        point(ledger_);
    }

    void undo(const Op& op) {
        StepOptions options{.max_attempts = op.fails == for_good ? 1 : 3, .backoff = 1ms};
        flow_.undo(name(op), options, [&ledger = ledger_, &slot = slot_, number = undos_++, fails = op.fails] {
            point(ledger);
            int threw = 0;
            for (int i = 0; i < slot.undone; ++i) threw += slot.undos[i].number == number && slot.undos[i].threw;
            const int at = slot.undone;
            if (at == most_undone) throw std::logic_error("too many undos");
            slot.undos[at] = {number, ledger.life, threw < fails};
            slot.undone = at + 1;
            point(ledger);
            if (threw < fails) throw std::runtime_error("as its script says");
        });
    }

    /// Between two steps, where it costs an attempt of the queue; the last attempt is for what fails for good.
    void blow() {
        point(ledger_);
        const int blown = slot_.blown;
        if (program_.end == End::blow || blown + 1 >= max_attempts || mix(ledger_.life, passed_ + blown) % 2 == 0)
            return;
        slot_.blown = blown + 1;
        throw std::runtime_error("between two steps");
    }

    Value act(const Op& op, Value seen) {
        if (passed_ == most_ops) throw std::logic_error("a program is too long");
        const int at = passed_;
        const StepOptions options{.max_attempts = op.fails == for_good ? 2 : 3, .backoff = 1ms};
        switch (op.kind) {
            case Kind::step: return flow_.step(name(op), options, [&] { return once(op, seen); });
            case Kind::tx:
                return flow_.tx(name(op), db_, [&](SQLite::Database& inside) {
                    SQLite::Statement insert(inside, "INSERT INTO effects VALUES (?, ?, ?)");
                    insert.bind(1, static_cast<std::int64_t>(job_.seed));
                    insert.bind(2, job_.slot);
                    insert.bind(3, at);
                    insert.exec();
                    return once(op, seen);
                });
            case Kind::sleep: flow_.sleep(name(op), std::chrono::milliseconds{op.count}); return 0;
            case Kind::early: {
                const bool sent = job_.slot == 0 && early_++ < early_signals;
                return flow_.wait<Value>("early", sent ? 10min : 1ms).value_or(0);
            }
            case Kind::late:
            case Kind::race: {
                if (job_.slot == 0) ledger_.late = at;
                if (op.kind == Kind::late)
                    return flow_.wait<Value>(late_name(at), job_.slot == 0 ? 10min : 1ms).value_or(0);
                const Value given = flow_.wait<Value>(late_name(at), 2ms).value_or(0);
                Value before = -1;
                if (!slot_.steps[at].race.compare_exchange_strong(before, given) && before != given) {
                    ledger_.tell(fmt::format("wait {} gave {}, and then {}", at, before, given));
                }
                return given;
            }
            case Kind::never: return flow_.wait<Value>(name(op), 1ms).value_or(0);
            case Kind::flows: return flows(op);
            case Kind::leaves: return leaves(op, seen);
            default: return 0;
        }
    }

    [[nodiscard]] static std::string late_name(int at) { return fmt::format("late {}", at); }

private:
    [[nodiscard]] static std::string name(const Op& op) { return fmt::format("name {}", op.name); }

    /// What a step does: it is entered again only if it has thrown, or the process has ended.
    Value once(const Op& op, Value seen) {
        Slot::Step& step = slot_.steps[passed_];
        if (slot_.passed > passed_) ledger_.tell(fmt::format("slot {}: step {} is run again", job_.slot, passed_));
        if (step.life == ledger_.life) ledger_.tell(fmt::format("slot {}: step {} is run twice", job_.slot, passed_));
        step.life = ledger_.life.load();
        point(ledger_);
        if (step.threw < op.fails) {
            ++step.threw;
            step.life = 0;
            throw std::runtime_error("as its script says");
        }
        return mix(seen, passed_);
    }

    Value flows(const Op& op) {
        if (maps_ == most_maps) {
            flow_.step("no more maps", [] {});
            return 0;
        }
        const int first = 1 + maps_++ * most_children;
        std::vector<Job> jobs;
        for (int i = 0; i < op.count; ++i) jobs.push_back({job_.seed, first + i});
        Value sum = 0;
        for (const Value value : flow_.map("flows", jobs)) sum = mix(sum, value);
        return sum;
    }

    Value leaves(const Op& op, Value seen) {
        std::vector<Leaf> tasks;
        for (int i = 0; i < op.count; ++i) tasks.push_back(leaf(op, seen, i));
        Value sum = 0;
        for (const Value value : flow_.map("leaves", tasks)) sum = mix(sum, value);
        return sum;
    }

    Ledger& ledger_;
    Slot& slot_;
    Flow& flow_;
    const Job job_;
    const Program program_ = Maker(job_.seed, job_.slot).make();
    SQLite::Database db_;
    int passed_ = 0;
    int undos_ = 0;
    int maps_ = 0;
    int early_ = 0;
};

// ---- one round ------------------------------------------------------------------------------------------------------

struct Met {
    std::size_t kills = 0, stops = 0, succeeded = 0, failed = 0, cancelled = 0, undos = 0, effects = 0, steps = 0;
};

class Round {
public:
    Round(const std::string& file, std::uint64_t seed) : file_(file), seed_(seed), random_(seed) {}

    /// What is wrong; empty: nothing.
    std::string play(Met& met) {
        if (random_() % 3 == 0) ledger_->cancel_in = 1 + static_cast<int>(random_() % 60);
        workers_ = 1 + static_cast<unsigned>(random_() % 2);
        for (auto deaths = random_() % 7; !ledger_->over; deaths -= deaths > 0) {
            ++ledger_->life;
            ledger_->stop = false;
            ledger_->stops = random_() % 4 == 0;
            const auto death_in = 1 + static_cast<int>(random_() % (random_() % 2 == 0 ? 12 : 60));
            ledger_->death_in = 0;
            Process life([&](const Process::Inside&) { live(deaths > 0 ? death_in : 0); });
            const int end = life.join();
            if (end == -SIGKILL) {
                ++met.kills;
            } else if (end == 0) {
                if (!ledger_->over) ++met.stops;
            } else {
                life.catch_up();
                return fmt::format("life {} ended with {}: {}", ledger_->life, end, fmt::join(life.lines(), "; "));
            }
        }
        return check(met);
    }

    [[nodiscard]] std::string text() const {
        std::string text;
        for (int slot = 0; slot < slots; ++slot) {
            if (slot > 0 && !ledger_->slots[slot].known) continue;
            const Program program = Maker(seed_, slot).make();
            text += fmt::format("slot {}, ends with {}\n", slot, static_cast<int>(program.end));
            describe(program.ops, "    ", text);
        }
        return text;
    }

private:
    void live(int death_in) const {
        backlite::ClientConfig config{
            .database = file_, .num_workers = workers_, .durability = backlite::Durability::process};
        config.open = [this] {
            SQLite::Database db(file_, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
            sqlite3_commit_hook(db.getHandle(), Durable::before_commit, ledger_.get());
            return db;
        };
        Client client{config};
        client.register_queue<Leaf>([this](const Leaf& task) -> Value {
            point(*ledger_);
            if (task.fails) throw std::runtime_error("a leaf");
            return task.value;
        });
        client.register_flow<Job>(
            [this](Flow& flow, const Job& job) -> Outcome { return Durable(*ledger_, flow, job, file_).run(); });
        if (!ledger_->added) {
            const auto id = client.add(Job{seed_, 0}).save().front();
            for (int i = 0; i < early_signals; ++i) client.signal(id, "early", signal_value(seed_, i));
            id.str().copy(ledger_->slots[0].id, sizeof ledger_->slots[0].id - 1);
            ledger_->added = true;
        }
        const auto id = backlite::TaskId::parse(ledger_->slots[0].id);
        ledger_->death_in = death_in;
        client.start();
        int told = -1;
        bool cancelled = false;
        for (const auto end = std::chrono::steady_clock::now() + 60s; !client.counts().empty();) {
            if (std::chrono::steady_clock::now() > end) throw std::runtime_error("it does not end");
            if (const int late = ledger_->late; late > told) {
                client.signal(id, Durable::late_name(late), signal_value(seed_, 1'000 + late));
                told = late;
            }
            if (ledger_->cancel && !std::exchange(cancelled, true)) client.cancel(id);
            if (ledger_->stop) break;
            std::this_thread::sleep_for(500us);
        }
        if (!ledger_->stop) {
            ledger_->death_in = 0;
            for (Slot& slot : ledger_->slots) {
                if (slot.id[0] == '\0') continue;
                const auto child = backlite::TaskId::parse(slot.id);
                slot.status = static_cast<int>(client.status(child));
                slot.result = client.result<Job>(child).value_or(-1);
            }
            ledger_->over = true;
        }
        if (!client.stop(20s)) throw std::runtime_error("no stop");
    }

    std::string check(Met& met) const {
        if (ledger_->wrong) return ledger_->why;
        Look look(file_);
        std::size_t effects = 0;
        for (int i = 0; i < slots; ++i) {
            const Slot& slot = ledger_->slots[i];
            if (i > 0 && !slot.known) continue;
            const std::string why = check(look, slot, i, effects, met);
            if (!why.empty()) return fmt::format("slot {}: {}", i, why);
        }
        const auto there =
            look.number(fmt::format("SELECT count(*) FROM effects WHERE seed = {}", static_cast<std::int64_t>(seed_)));
        if (there != static_cast<std::int64_t>(effects)) return fmt::format("{} effects, not {}", there, effects);
        if (look.number("SELECT count(*) FROM backlite_saved") != 0) return "values are left";
        if (look.number("SELECT count(*) FROM backlite_edges") != 0) return "edges are left";
        met.effects += effects;
        return {};
    }

    std::string check(Look& look, const Slot& slot, int number, std::size_t& effects, Met& met) const {
        const auto status = static_cast<TaskStatus>(slot.status.load());
        const bool cancelled = status == TaskStatus::cancelled;
        if (cancelled && !ledger_->cancel) return "cancelled by nobody";
        const int passed = slot.passed;
        Plain plain(*ledger_, seed_, number, cancelled ? std::optional{passed} : std::nullopt);
        plain.run();
        met.steps += static_cast<std::size_t>(passed);
        if (plain.passed != passed) return fmt::format("came to op {}, not {}", passed, plain.passed);
        if (!cancelled) {
            const TaskStatus right = plain.result ? TaskStatus::succeeded : TaskStatus::failed;
            if (status != right) return fmt::format("{}, not {}", to_string(status), to_string(right));
            if (slot.result != plain.result.value_or(-1)) return "another result";
            if (!plain.result) {
                const std::string error =
                    look.text(fmt::format("SELECT error FROM backlite_tasks_completed WHERE id = '{}'", slot.id));
                const bool known = plain.why.starts_with("given") || plain.why.starts_with("it")
                                       ? error.starts_with(plain.why)
                                       : error.find("failed") != std::string::npos;
                if (!known) return fmt::format("failed with \"{}\", not \"{}\"", error, plain.why);
            }
        }
        met.succeeded += plain.result && !cancelled;
        met.failed += !plain.result && !cancelled;
        met.cancelled += cancelled;
        std::vector<int> there;
        SQLite::Statement each(look.database(), "SELECT op FROM effects WHERE seed = ? AND slot = ? ORDER BY op");
        each.bind(1, static_cast<std::int64_t>(seed_));
        each.bind(2, number);
        while (each.executeStep()) there.push_back(each.getColumn(0).getInt());
        if (there != plain.effects) {
            return fmt::format("effects of {}, not of {}", fmt::join(there, " "), fmt::join(plain.effects, " "));
        }
        effects += there.size();
        return check_undos(slot, plain, plain.result && !cancelled, cancelled && passed == 0, met);
    }

    /// `none`: there must be none. `either`: of a flow that had done nothing there may be.
    static std::string check_undos(const Slot& slot, const Plain& plain, bool none, bool either, Met& met) {
        std::vector<int> done;
        for (int i = 0; i < slot.undone; ++i) {
            const Slot::Undone& now = slot.undos[i];
            if (i > 0 && slot.undos[i - 1].number == now.number) {
                const Slot::Undone& before = slot.undos[i - 1];
                if (before.life == now.life && !before.threw) return fmt::format("undo {} ran twice", now.number);
            } else {
                done.push_back(now.number);
            }
        }
        std::vector<int> right;
        if (!none) {
            for (auto i = static_cast<int>(plain.undos.size()); i > 0; --i) right.push_back(i - 1);
        }
        met.undos += done.size();
        if (done == right || (either && done.empty())) return {};
        return fmt::format("undid {}, not {}", fmt::join(done, " "), fmt::join(right, " "));
    }

    const std::string file_;
    const std::uint64_t seed_;
    std::mt19937_64 random_;
    unsigned workers_ = 1;
    const SharedMemory<Ledger> ledger_{};
};

TEST_CASE("flow model: whatever random flows are made of, and however often they die, they end as plain functions do") {
    const Harness harness("flow model", 30);
    const TempFolder folder;
    const std::string file = folder.file("flows.db");
    Client{backlite::ClientConfig{.database = file, .durability = backlite::Durability::process}}.install();
    Look(file).run("CREATE TABLE effects (seed integer, slot integer, op integer)");
    std::mt19937_64 seeds(harness.seed());
    Met met;
    // Chance decides what is met: it plays on until all is.
    const auto met_all = [&] {
        return met.kills > 0 && met.stops > 0 && met.failed > 0 && met.succeeded > 0 && met.cancelled > 0 &&
               met.undos > 0 && met.effects > 0;
    };
    std::size_t played = 0;
    bool all = true;
    for (std::size_t i = 0; i < harness.rounds() || (all && !met_all() && i < harness.rounds() + 200); ++i) {
        const std::uint64_t seed = seeds() >> 16U;
        if (harness.skips(i)) {
            all = false;
            continue;
        }
        Round round(file, seed);
        const std::string wrong = round.play(met);
        ++played;
        if (wrong.empty()) continue;
        FAIL(fmt::format("BACKLITE_SEED={} BACKLITE_ONLY={}: {}\n{}", harness.seed(), i, wrong, round.text()));
    }
    fmt::print(
        "  {} flows: {} kills, {} stops; {} succeeded, {} failed, {} cancelled, with children; {} steps, "
        "{} effects, {} undos\n",
        played, met.kills, met.stops, met.succeeded, met.failed, met.cancelled, met.steps, met.effects, met.undos);
    if (all) CHECK(met_all());
    CHECK(Look(file).integrity() == "ok");
}

}  // namespace flow_model_test
