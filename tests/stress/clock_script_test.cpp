// SPDX-License-Identifier: MIT
// Random scripts under a clock that is set, stopped and let run: wall-clock jumps of hours and days, to the edges of
// due times, suspends, and time that passes. No task starts early by more than the jumps, none twice, none stalls.
//     BACKLITE_ROUNDS=10000 BACKLITE_SEED=7 build/gcc/tests/backlite_stress "clock: random scripts*"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Outcome;
using backlite::StopReason;
using Ms = std::int64_t;

constexpr Ms second = 1'000;
constexpr Ms minute = 60 * second;
constexpr Ms hour = 60 * minute;
constexpr Ms day = 24 * hour;
constexpr Ms retention = 30 * minute;

// Fails as often as it has waits, each time with the next of them.
struct Job {
    std::size_t number = 0;
    std::vector<Ms> waits{};
    static backlite::QueueConfig config() {
        return {.name = "job",
                .max_attempts = 10,
                .retention = backlite::Retention{.duration = std::chrono::milliseconds{retention},
                                                 .data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, number, waits)

// Runs until the test lets it go.
struct Held {
    std::size_t number = 0;
    static constexpr Ms timeout = 30 * second;
    static backlite::QueueConfig config() {
        return {.name = "held", .timeout = std::chrono::milliseconds{timeout}, .retention = backlite::Retention{}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Held, number)

// A short timeout makes the timer look at all of them.
struct Prod {
    int nothing = 0;
    static backlite::QueueConfig config() { return {.name = "prod", .timeout = 1ms}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Prod, nothing)

Ms wall_of(const backlite::Clock& clock) { return backlite::detail::to_ms(clock.now()).count(); }
Ms steady_of(const backlite::Clock& clock) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(clock.steady_now().time_since_epoch()).count();
}

// A clock that tells whether the dispatcher has looked at it. Real clocks cannot move for long unseen: it looks at
// least once a second.
class SeenClock final : public backlite::Clock {
public:
    [[nodiscard]] backlite::TimePoint now() const noexcept override {
        static thread_local const bool dispatcher = [] {
            std::array<char, 16> name{};
            ::pthread_getname_np(::pthread_self(), name.data(), name.size());
            return std::string_view{name.data()} == "backlite-disp";
        }();
        if (dispatcher) ++looks_;
        return manual_.now();
    }
    [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const noexcept override {
        return manual_.steady_now();
    }

    [[nodiscard]] backlite::testing::ManualClock& manual() noexcept { return manual_; }
    [[nodiscard]] std::uint64_t looks() const noexcept { return looks_; }

    // More looks than a round of the dispatcher and the rest of one before take.
    static constexpr std::uint64_t enough = 16;

private:
    backlite::testing::ManualClock manual_{};
    mutable std::atomic<std::uint64_t> looks_{0};
};

// The moves of all scripts.
struct Totals {
    std::size_t tasks = 0;
    std::size_t starts = 0;
    std::size_t forwards = 0;
    std::size_t backwards = 0;
    std::size_t passes = 0;
    std::size_t edges = 0;
    std::size_t early = 0;  // starts before the time that was asked for, by no more than the jumps
};

class Script {
public:
    Script(std::mt19937_64& random, bool told, Totals& totals)
        : random_(random), told_(told), totals_(totals), client_(config()) {
        client_.register_queue<Job>([this](const Job& job) { return run_one(job); });
        client_.start();
    }

    void run() {
        const std::size_t steps = told_ ? 16 : 2;
        for (std::size_t i = 0; i < steps; ++i) {
            for (std::size_t n = below(3); n > 0; --n) add();
            if (below(3) == 0) settle("nothing happens");
            move();
        }
        finish();
    }

private:
    // What a task waits for.
    struct Wait {
        enum class Kind { nothing, time, backoff };
        Kind kind = Kind::nothing;
        Ms due = 0;       // on the wall clock, when that was set
        Ms set = 0;       // on the steady clock; this or
        Ms earliest = 0;  // a little before
        Ms length = 0;    // a backoff's
        Ms forward = 0;   // how far the wall clock was set ahead since
        Ms ran = 0;       // how long the attempt before it may have run, on the wall clock
        bool set_back = false;
        Ms small_back = 0;  // and back, by less than the backoff
    };

    struct Task {
        std::vector<Ms> waits{};
        std::size_t runs = 0;
        std::optional<Wait> wait{};  // nullopt: it has ended
        Ms expires = 0;
    };

    ClientConfig config() {
        ClientConfig config = quick(folder_.file("app.db"));
        config.clock = clock_;
        config.cleanup_interval = 1min;
        return config;
    }

    std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }

    Outcome run_one(const Job& job) {
        std::size_t run = 0;
        {
            const std::lock_guard lock(mutex_);
            run = runs_[job.number]++;
            started_.push_back(job.number);
        }
        if (run >= job.waits.size()) return Outcome::success();
        return Outcome::retry_in(std::chrono::milliseconds{job.waits[run]}, "again");
    }

    void add() {
        Job job{tasks_.size(), {}};
        for (std::size_t n = below(3); n > 0; --n) {
            static constexpr std::array<Ms, 5> waits{0, 700, second, 5 * second, 10 * second};
            job.waits.push_back(waits[below(waits.size())]);
        }
        static constexpr std::array<Ms, 6> delays{500, 2 * second, minute, hour, hour + 1, day};
        const Ms delay = delays[below(delays.size())];
        Task task{job.waits, 0, Wait{Wait::Kind::nothing, wall_, steady_, steady_}};
        auto op = client_.add(job);
        switch (below(4)) {
            case 0:
                task.wait = Wait{Wait::Kind::time, wall_ + delay, steady_, steady_};
                static_cast<void>(std::move(op).wait(std::chrono::milliseconds{delay}).save());
                break;
            case 1:
                task.wait = Wait{Wait::Kind::time, wall_ + delay, steady_, steady_};
                static_cast<void>(
                    std::move(op).at(backlite::TimePoint{std::chrono::milliseconds{wall_ + delay}}).save());
                break;
            case 2:
                static_cast<void>(
                    std::move(op).at(backlite::TimePoint{std::chrono::milliseconds{wall_ - delay}}).save());
                break;
            default: static_cast<void>(std::move(op).save());
        }
        history_ += fmt::format("\n  task {} is added, due at {}, to wait [{}] after failures", job.number,
                                task.wait->due, fmt::join(job.waits, ", "));
        tasks_.push_back(std::move(task));
        unsettled_ = true;
        ++totals_.tasks;
    }

    void move() {
        static constexpr std::array<Ms, 7> jumps{500, second, 5 * second, 10 * minute, hour, hour, day};
        static constexpr std::array<Ms, 6> passes{1, 500, second, 5 * second, minute, 20 * minute};
        switch (below(7)) {
            case 0:
            case 1: return jump(jumps[below(jumps.size())]);
            case 2:
            case 3: return jump(-jumps[below(jumps.size())]);
            case 4: return pass(passes[below(passes.size())]);
            case 5: return to_edge();
            default: {
                // The opposite of a suspend: the wall clock stands still.
                const Ms length = passes[below(passes.size())];
                jump(-length);
                return pass(length);
            }
        }
    }

    // To a due time, or just before it: by a jump, or by waiting.
    void to_edge() {
        std::optional<Ms> next;
        for (const Task& task : tasks_) {
            if (task.wait && task.wait->due > wall_ && (!next || task.wait->due < *next)) next = task.wait->due;
        }
        if (!next) return;
        const Ms length = *next - wall_ - static_cast<Ms>(below(2));
        if (length <= 0) return;
        ++totals_.edges;
        if (below(2) == 0) return jump(length);
        pass(length);
    }

    void jump(Ms length) {
        ++(length > 0 ? totals_.forwards : totals_.backwards);
        for (Task& task : tasks_) {
            if (!task.wait) continue;
            if (length > 0) task.wait->forward += length;
            task.wait->set_back = task.wait->set_back || length < 0;
            if (length < 0 && small(-length, task.wait->length + task.wait->ran)) task.wait->small_back -= length;
        }
        clock_->manual().jump(std::chrono::milliseconds{length});
        wall_ += length;
        jumped_ = length;
        settle(fmt::format("a jump by {} ms", length));
    }

    void pass(Ms length) {
        ++totals_.passes;
        const Ms last_row = look_.number("SELECT coalesce(max(rowid), 0) FROM backlite_tasks_completed");
        clock_->manual().advance(std::chrono::milliseconds{length});
        wall_ += length;
        steady_ += length;
        passed_ = length;
        settle(fmt::format("{} ms", length));
        check_purge(length, last_row);
    }

    // Whether a backoff may not be made up for a jump back, give or take what is unnoticed before and after: the file
    // says when an attempt began, so a jump to before its end is seen only if it goes to before its begin.
    static bool small(Ms jump, Ms least) { return jump < least + 2 * second; }

    // Whether the task must have started by now.
    [[nodiscard]] bool overdue(const Wait& wait) const {
        if (wall_ >= wait.due) return true;
        switch (wait.kind) {
            // What was due before a jump back stays due. The jump is noticed when it makes a second, with what was
            // unnoticed before; less than that is how clocks are kept right.
            case Wait::Kind::nothing: return wait.due - wall_ >= 2 * second;
            case Wait::Kind::backoff: return steady_ - wait.set >= wait.length + wait.small_back + 2 * second;
            case Wait::Kind::time: break;
        }
        return false;
    }

    // Waits until every task has started that must have, and all outcomes are in the file.
    void settle(const std::string& after) {
        history_ += fmt::format("\n  {}: the wall clock is at {}, the steady one at {}", after, wall_, steady_);
        INFO(history_);
        const std::uint64_t looks = clock_->looks();
        const bool settled = eventually([&] {
            if (told_) client_.notify();
            if (clock_->looks() < looks + SeenClock::enough) return false;
            look_at_starts();
            const auto late = std::find_if(tasks_.begin(), tasks_.end(),
                                           [&](const Task& task) { return task.wait && overdue(*task.wait); });
            return late == tasks_.end() && look_.tasks("claimed_at IS NOT NULL") == 0;
        });
        look_at_starts();
        for (std::size_t number = 0; number < tasks_.size() && !settled; ++number) {
            const Task& task = tasks_[number];
            if (!task.wait || !overdue(*task.wait)) continue;
            UNSCOPED_INFO(fmt::format("task {} was due at {}, in the file at {}", number, task.wait->due,
                                      look_.number(fmt::format("SELECT due FROM backlite_tasks WHERE "
                                                               "json_extract(CAST(task AS TEXT), '$.number') = {}",
                                                               number))));
        }
        REQUIRE(settled);
        unsettled_ = false;
        jumped_ = passed_ = 0;
    }

    // The wait of a task that has just failed: after the last move, or before it if it had been added shortly before.
    [[nodiscard]] Wait backoff(Ms length) const {
        Wait wait{Wait::Kind::backoff, wall_ + length, steady_, steady_, length};
        if (!unsettled_) return wait;
        wait.due = std::max(wall_, wall_ - jumped_ - passed_) + length;
        wait.earliest = steady_ - passed_;
        wait.forward = std::max(jumped_, Ms{0});
        wait.set_back = jumped_ < 0;
        wait.ran = passed_ + wait.forward;
        if (jumped_ < 0 && small(-jumped_, length)) wait.small_back = -jumped_;
        return wait;
    }

    void look_at_starts() {
        std::vector<std::size_t> started;
        {
            const std::lock_guard lock(mutex_);
            started.swap(started_);
        }
        for (const std::size_t number : started) {
            history_ += fmt::format("\n  task {} starts", number);
            INFO(history_);
            Task& task = tasks_.at(number);
            REQUIRE(task.wait);  // else it ran again after its end
            const Wait& wait = *task.wait;
            ++totals_.starts;
            if (wall_ < wait.due) ++totals_.early;
            if (wait.kind == Wait::Kind::time) CHECK(wall_ >= wait.due);
            if (wait.kind == Wait::Kind::backoff) {
                // A jump back is noticed when it makes a second, with what was unnoticed before the task failed.
                const Ms unnoticed = wait.set_back ? second - 1 : 0;
                CHECK(steady_ - wait.earliest >= wait.length - wait.forward - unnoticed);
            }
            const std::size_t run = task.runs++;
            if (run < task.waits.size()) {
                task.wait = backoff(task.waits[run]);
            } else {
                task.wait.reset();
                task.expires = std::min(wall_, unsettled_ ? wall_ - jumped_ - passed_ : wall_) + retention;
            }
        }
        // Expired rows may go once the wall clock has passed their time, whatever it says later.
        latest_.resize(tasks_.size(), 0);
        for (std::size_t number = 0; number < tasks_.size(); ++number) {
            if (!tasks_[number].wait) latest_[number] = std::max(latest_[number], wall_);
        }
    }

    // What has expired goes with the next purge, a minute of steady time later at most, and nothing else does.
    // Rows after `last_row` came during the pass, perhaps after its purge.
    void check_purge(Ms passed, Ms last_row) {
        if (passed >= minute) {
            const std::string expired = fmt::format("expires_at <= {} AND rowid <= {}", wall_, last_row);
            INFO(history_);
            REQUIRE(eventually([&] { return look_.completed(expired) == 0; }));
            // The next purge counts from when the dispatcher has noted this one: before the clock moves on.
            const std::uint64_t looks = clock_->looks();
            REQUIRE(eventually([&] {
                client_.notify();
                return clock_->looks() >= looks + SeenClock::enough;
            }));
        }
        std::vector<bool> kept(tasks_.size(), false);
        SQLite::Statement rows(look_.database(),
                               "SELECT json_extract(CAST(task AS TEXT), '$.number') FROM backlite_tasks_completed");
        while (rows.executeStep()) kept[static_cast<std::size_t>(rows.getColumn(0).getInt64())] = true;
        for (std::size_t number = 0; number < tasks_.size(); ++number) {
            INFO("task " << number);
            if (!tasks_[number].wait && !kept[number]) CHECK(latest_[number] >= tasks_[number].expires);
        }
    }

    // Lets everything end: each task ran as often as it had to.
    void finish() {
        told_ = true;
        const auto waits = [](const Task& task) { return task.wait.has_value(); };
        for (int i = 0; i < 40 && std::any_of(tasks_.begin(), tasks_.end(), waits); ++i) pass(2 * day);
        REQUIRE(client_.stop(10s));
        look_at_starts();
        INFO(history_);
        CHECK(look_.tasks() == 0);
        CHECK(look_.number("SELECT count(*) FROM backlite_clients") == 0);
        for (std::size_t number = 0; number < tasks_.size(); ++number) {
            INFO("task " << number);
            CHECK(!tasks_[number].wait);
            CHECK(tasks_[number].runs == tasks_[number].waits.size() + 1);
        }
    }

    std::mt19937_64& random_;
    bool told_;
    Totals& totals_;
    const TempFolder folder_{};
    const std::shared_ptr<SeenClock> clock_ = std::make_shared<SeenClock>();
    Ms wall_ = wall_of(*clock_);
    Ms steady_ = steady_of(*clock_);
    bool unsettled_ = false;  // tasks were added since the clients were seen at rest
    Ms jumped_ = 0;           // the last move
    Ms passed_ = 0;
    std::string history_{};
    std::vector<Task> tasks_{};
    std::vector<Ms> latest_{};  // the latest wall-clock time since each task's end

    std::mutex mutex_{};
    // guarded by mutex_
    std::map<std::size_t, std::size_t> runs_{};
    std::vector<std::size_t> started_{};

    Client client_;
    Look look_{folder_.file("app.db")};
};

TEST_CASE("clock: random scripts of jumps start no task early or twice and stall none") {
    const Harness harness("clock scripts", 10);
    std::mt19937_64 random(harness.seed());
    Totals totals;
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        INFO("BACKLITE_SEED=" << harness.seed() << " round " << round);
        std::mt19937_64 own(random());
        if (harness.skips(round)) continue;
        // Now and then nobody tells the client to look: it does so within a second.
        Script(own, round % 100 != 99, totals).run();
    }
    fmt::print("  {} scripts: {} tasks, {} starts, {} of them early by no more than the jumps\n", harness.rounds(),
               totals.tasks, totals.starts, totals.early);
    fmt::print("  {} jumps forwards, {} back, {} passes, {} edges\n", totals.forwards, totals.backwards, totals.passes,
               totals.edges);
    CHECK(totals.early > 0);
}

TEST_CASE("clock: jumps fire no timeout and lose no lease while a task runs") {
    const Harness harness("clock and running tasks", 10);
    std::mt19937_64 random(harness.seed());
    constexpr Ms release_after = minute;
    std::size_t fired_in_time = 0;
    std::size_t jumps = 0;
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        INFO("BACKLITE_SEED=" << harness.seed() << " round " << round);
        const TempFolder folder;
        const auto clock = std::make_shared<backlite::testing::ManualClock>();
        ClientConfig config = quick(folder.file("app.db"), 3);
        config.clock = clock;
        config.release_after = std::chrono::milliseconds{release_after};
        Journal journal;
        Gate gate;
        Client client{config};
        Client other{config};  // it would take what it takes for abandoned
        const OpensAtEnd opens(gate);
        const auto held = [&](Context& context, const Held&) {
            journal.note("inside");
            const std::stop_callback fired(context.stop_token(),
                                           [&] { journal.note(std::string{to_string(context.stop_reason())}); });
            gate.pass();
        };
        client.register_queue<Held>(held);
        client.register_queue<Prod>([&](const Prod&) { journal.note("prod"); });
        static_cast<void>(client.add(Held{0}).save());
        client.start();
        REQUIRE(journal.await("inside"));
        other.register_queue<Held>(held);
        other.start();
        client.notify();
        Look look(folder.file("app.db"));

        int prods = 0;
        const auto prod = [&] {
            static_cast<void>(client.add(Prod{}).at(backlite::TimePoint{std::chrono::milliseconds{0}}).save());
            client.notify();
            other.notify();
            REQUIRE(journal.await("prod", ++prods));
        };
        const auto jump = [&] {
            static constexpr std::array<Ms, 6> lengths{hour, -hour, day, -day, Held::timeout, -release_after};
            clock->jump(std::chrono::milliseconds{lengths[random() % lengths.size()]});
            ++jumps;
            prod();
        };
        // Before the timeout: it has not fired, wherever the wall clock was set to.
        Ms passed = 0;
        while (passed < Held::timeout - 1) {
            const Ms length = std::min(1 + static_cast<Ms>(random() % (10 * second)), Held::timeout - 1 - passed);
            clock->advance(std::chrono::milliseconds{length});
            passed += length;
            jump();
        }
        std::this_thread::sleep_for(2ms);
        CHECK(journal.count("timeout") == 0);
        clock->advance(1ms);
        prod();
        CHECK(journal.await("timeout"));
        if (journal.count("timeout") == 1) ++fired_in_time;
        // Long after the lease would have run out: its holder goes on extending it, once for each third of it.
        for (int i = 0; i < 12; ++i) {
            const std::int64_t before = look.number("SELECT max(lease) FROM backlite_tasks WHERE queue = 'held'");
            clock->advance(std::chrono::milliseconds{release_after / 3 + 1});
            if (random() % 2 == 0) jump();
            client.notify();
            CHECK(eventually([&] {
                // The interval may count from after this step, if the last sign of life was seen before it was noted.
                clock->advance(100ms);
                return look.number("SELECT max(lease) FROM backlite_tasks WHERE queue = 'held'") > before;
            }));
            other.notify();
        }
        CHECK(journal.count("inside") == 1);
        CHECK(journal.count("claim lost") == 0);
        gate.open();
        CHECK(client.stop(10s));
        CHECK(other.stop(10s));
        CHECK(journal.count("inside") == 1);
        CHECK(look.completed("queue = 'held' AND succeeded = 1 AND attempts = 1") == 1);
    }
    fmt::print("  {} rounds, {} jumps, the timeout fired in {}\n", harness.rounds(), jumps, fired_in_time);
    CHECK(fired_in_time == harness.rounds());
}

}  // namespace
