// SPDX-License-Identifier: MIT
// Workers whose process is frozen past its lease, and go on when somebody else has their task: what they return, save
// and say of their progress counts no more. And long tasks while another program keeps the file locked.
//     BACKLITE_ROUNDS=200 build/gcc/tests/backlite_stress "fence: *"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::Context;
using backlite::Outcome;
using backlite_test::eventually;
using backlite_test::Harness;
using backlite_test::Look;
using backlite_test::Process;
using backlite_test::SharedMemory;
using backlite_test::WriteLock;
using Steady = std::chrono::steady_clock;

constexpr int nobody = -1;
constexpr int stale_value = 7;

struct Held {
    using Result = int;
    std::size_t round = 0;
    static backlite::QueueConfig config() {
        return {.name = "held",
                .max_attempts = 3,
                .backoff = 1h,
                .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Held, round)

// What the stale worker returns, and when.
enum class Stale { success, exception, retry, snooze, discard };
constexpr std::array<std::string_view, 5> names{"success", "exception", "retry", "snooze", "discard"};

// Runs in one of the processes only, and says of its progress all the time.
template <int Self>
struct Witness {
    static backlite::QueueConfig config() {
        return {.name = Self == 0 ? "witness of the first" : "witness of the second"};
    }
};

// What the processes tell each other about one task.
struct Round {
    std::atomic<bool> taken{false};
    std::atomic<int> holder{nobody};  // who entered it first
    std::atomic<int> peer{nobody};    // who entered it then
    std::atomic<int> found{nobody};   // what the peer found saved
    std::atomic<int> entered{0};
    std::atomic<bool> holder_says{false};
    std::atomic<bool> stale_may_go_on{false};
    std::atomic<int> stale_saves{0};  // 1: refused, 2: done
    std::atomic<bool> witness_over{false};
    std::atomic<bool> stale_may_return{false};
    std::atomic<bool> peer_may_return{false};
    std::atomic<int> stale_reason{-1};  // the reason of its stop token, when it returned
    std::atomic<bool> waits_for_token{false};
    std::atomic<Stale> stale{Stale::success};
};

struct Shared {
    std::array<std::atomic<int>, 2> dropped{};  // outcomes that the fence kept out, by process
    std::atomic<std::size_t> number{0};         // of the round
    Round* round = nullptr;
};

void wait_for(const std::atomic<bool>& flag) {
    const auto end = Steady::now() + 3 * backlite_test::patience;
    while (!flag && Steady::now() < end) std::this_thread::sleep_for(200us);
}

Outcome hold(Round& round, int self, Context& context) {
    ++round.entered;
    if (round.taken.exchange(true)) {
        round.found = context.load<int>("by").value_or(nobody);
        context.save("by", self);
        context.progress(0.5, "peer");
        round.peer = self;
        wait_for(round.peer_may_return);
        return Outcome::success(self);
    }
    context.save("by", self);
    if (round.holder_says) context.progress(0.25, "holder");
    round.holder = self;
    wait_for(round.stale_may_go_on);
    context.progress(0.75, "stale");
    try {
        context.save("by", stale_value);
        round.stale_saves = 2;
    } catch (const backlite::ClaimLost&) {
        round.stale_saves = 1;
    }
    wait_for(round.stale_may_return);
    const auto end = Steady::now() + backlite_test::patience;
    while (round.waits_for_token && !context.stop_token().stop_requested() && Steady::now() < end) {
        std::this_thread::sleep_for(200us);
    }
    round.stale_reason = static_cast<int>(context.stop_reason());
    switch (round.stale) {
        case Stale::success: break;
        case Stale::exception: throw std::runtime_error("stale");
        case Stale::retry: return Outcome::retry_in(0ms, "stale");
        case Stale::snooze: return Outcome::snooze(0ms);
        case Stale::discard: return Outcome::discard("stale");
    }
    return Outcome::success(self);
}

void bear_witness(const Round& round, const Context& context) {
    const auto end = Steady::now() + 3 * backlite_test::patience;
    // Others may take its claim, too, before its process has shown that it goes on: then it runs again.
    const std::stop_token token = context.stop_token();
    for (int i = 0; !round.witness_over && !token.stop_requested() && Steady::now() < end; ++i) {
        context.progress(0, std::to_string(i));
        std::this_thread::sleep_for(200us);
    }
}

void serve(const std::string& file, Shared& shared, int self, const Process::Inside& parent) {
    parent.wait();
    backlite::ClientConfig config = backlite_test::quick(file);
    config.release_after = 400ms;
    config.logger = backlite::make_logger([&](auto, std::string_view message, auto) {
        if (message.starts_with("outcome dropped")) ++shared.dropped[static_cast<std::size_t>(self)];
    });
    backlite::Client client{config};
    client.register_queue<Held>(
        [&](Context& context, const Held& task) { return hold(shared.round[task.round], self, context); });
    const auto witness = [&](Context& context, const auto&) { bear_witness(shared.round[shared.number], context); };
    if (self == 0) {
        client.register_queue<Witness<0>>(witness);
    } else {
        client.register_queue<Witness<1>>(witness);
    }
    client.start();
    parent.say("started");
    for (;;) ::pause();
}

// All that an outcome changes; the lease is the peer's to raise.
std::string state_of(Look& look, const std::string& id) {
    std::string state;
    for (const std::string& sql :
         {"SELECT quote(claim) || ' ' || quote(claimed_at) || ' ' || quote(owner) || ' ' || quote(attempts) || ' ' || "
          "quote(wait_until) || ' ' || quote(last_executed_at) || ' ' || quote(error) || ' ' || quote(crashes) "
          "FROM backlite_tasks WHERE id = '" +
              id + "'",
          "SELECT quote(attempts) || ' ' || quote(last_executed_at) || ' ' || quote(last_duration_micro) || ' ' || "
          "quote(succeeded) || ' ' || quote(expires_at) || ' ' || quote(error) || ' ' || quote(result) "
          "FROM backlite_tasks_completed WHERE id = '" +
              id + "'",
          "SELECT quote(name) || ' ' || quote(at) || ' ' || quote(value) FROM backlite_saved WHERE task = '" + id + "'",
          "SELECT quote(claim) || ' ' || quote(at) || ' ' || quote(fraction) || ' ' || quote(message) "
          "FROM backlite_progress WHERE task = '" +
              id + "'"}) {
        SQLite::Statement select(look.database(), sql);
        while (select.executeStep()) state += select.getColumn(0).getString() + '\n';
        state += "--\n";
    }
    return state;
}

// Waits until a process has written whatever its other tasks have said by now: another one of its tasks speaks all the
// time, and is written of twice, the second time when the turn of each other worker has come.
void await_words(backlite::Client& client, Look& look, Round& round, std::size_t process) {
    const std::string id =
        (process == 0 ? client.add(Witness<0>{}).save() : client.add(Witness<1>{}).save()).at(0).str();
    const auto word = [&] {
        return look.text("SELECT ifnull(max(at || ' ' || message), '') FROM backlite_progress WHERE task = '" + id +
                         "'");
    };
    std::string first;
    REQUIRE(eventually([&] { return !(first = word()).empty(); }));
    REQUIRE(eventually([&] { return word() != first; }));
    round.witness_over = true;
    REQUIRE(eventually([&] { return look.tasks("id = '" + id + "'") == 0; }));
}

TEST_CASE("fence: a worker frozen past its lease changes nothing when it goes on") {
    const Harness harness("fence", 10);
    std::mt19937_64 random(harness.seed());
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("app.db");
    const SharedMemory<Shared> memory;
    const SharedMemory<Round> rounds(harness.rounds());
    Shared& shared = *memory;
    shared.round = rounds.get();

    std::vector<std::unique_ptr<Process>> processes;
    for (int self : {0, 1}) {
        processes.push_back(
            std::make_unique<Process>([&, self](const Process::Inside& parent) { serve(file, shared, self, parent); }));
    }
    backlite::Client client{backlite_test::quick(file)};  // adds only
    for (const auto& process : processes) process->next();
    for (const auto& process : processes) REQUIRE(process->await("started"));
    Look look(file);
    std::array<std::size_t, names.size()> kinds{};
    std::size_t beside_running = 0;
    std::size_t by_token = 0;
    std::size_t kept_out = 0;
    const auto said = [&](const std::string& id) {
        return look.number("SELECT count(*) FROM backlite_progress WHERE message = 'peer' AND task = '" + id + "'") ==
               1;
    };

    for (std::size_t number = 0; number < harness.rounds(); ++number) {
        Round& round = shared.round[number];
        shared.number = number;
        round.holder_says = random() % 2 == 0;
        round.stale = static_cast<Stale>(random() % names.size());
        round.waits_for_token = random() % 2 == 0;
        const bool peer_is_done = random() % 4 == 0;
        round.peer_may_return = peer_is_done;
        INFO("BACKLITE_SEED=" << harness.seed() << ", round " << number << ": "
                              << names[static_cast<std::size_t>(round.stale.load())]);
        const std::string id = client.add(Held{number}).save().at(0).str();
        REQUIRE(eventually([&] { return round.holder != nobody; }));
        const auto holder = static_cast<std::size_t>(round.holder.load());
        freeze_at_rest(*processes[holder], file);
        REQUIRE(eventually([&] { return round.peer != nobody; }));
        REQUIRE(round.peer != round.holder);
        REQUIRE(round.found == round.holder);
        if (peer_is_done) {
            REQUIRE(eventually([&] { return look.completed("id = '" + id + "'") == 1; }));
        } else {
            REQUIRE(eventually([&] { return said(id); }));
        }

        const std::string before = state_of(look, id);
        const int dropped = shared.dropped[holder];
        round.stale_may_go_on = true;
        processes[holder]->thaw();
        REQUIRE(eventually([&] { return round.stale_saves != 0; }));
        REQUIRE(round.stale_saves == 1);
        await_words(client, look, round, holder);
        REQUIRE(state_of(look, id) == before);
        round.stale_may_return = true;
        REQUIRE(eventually([&] { return shared.dropped[holder] > dropped; }));
        REQUIRE(state_of(look, id) == before);
        if (round.waits_for_token) {
            REQUIRE(round.stale_reason == static_cast<int>(backlite::StopReason::claim_lost));
            ++by_token;
        }
        round.peer_may_return = true;
        REQUIRE(eventually([&] { return look.completed("id = '" + id + "'") == 1; }));
        REQUIRE(look.completed("id = '" + id + "' AND attempts = 1 AND succeeded = 1 AND error IS NULL") == 1);
        REQUIRE(client.result<Held>(backlite::TaskId::parse(id)) == round.peer);
        REQUIRE(look.tasks() == 0);
        REQUIRE(round.entered == 2);
        ++kinds[static_cast<std::size_t>(round.stale.load())];
        if (!peer_is_done) ++beside_running;
        ++kept_out;
    }
    fmt::print(
        "  {} stale outcomes, saves and words kept out, 0 rows changed; {} while the peer was inside, {} stop "
        "tokens fired;",
        kept_out, beside_running, by_token);
    for (std::size_t i = 0; i < names.size(); ++i) fmt::print(" {} {}", names[i], kinds[i]);
    fmt::print("\n");
}

// ---- long tasks, and a file that is locked most of the time
// ----------------------------------------------------------

struct Timed {
    std::size_t number = 0;
    int ms = 0;
    static backlite::QueueConfig config() {
        return {.name = "timed", .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Timed, number, ms)

constexpr std::size_t timed_tasks = 60;

struct Count {
    std::atomic<int> entered{0};
    std::atomic<int> left{0};
};

void run_timed(const std::string& file, Count* counts, const Process::Inside& parent) {
    parent.wait();
    backlite::ClientConfig config = backlite_test::quick(file, 4);
    config.release_after = 1s;
    backlite::Client client{config};
    client.register_queue<Timed>([&](const Timed& task) {
        ++counts[task.number].entered;
        std::this_thread::sleep_for(std::chrono::milliseconds{task.ms});
        ++counts[task.number].left;
    });
    client.start();
    parent.say("started");
    for (;;) ::pause();
}

TEST_CASE("fence: while another program keeps the file locked no task runs twice and no outcome is lost") {
    const Harness harness("fence: locked", 4);
    std::mt19937_64 random(harness.seed());
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("app.db");
    const SharedMemory<Count> memory(timed_tasks);
    Count* const counts = memory.get();
    std::array<Process, 2> processes{Process([&](const Process::Inside& parent) { run_timed(file, counts, parent); }),
                                     Process([&](const Process::Inside& parent) { run_timed(file, counts, parent); })};
    {
        // Long ones, far longer than the lease; and short ones, some of which end while the file is locked.
        std::vector<Timed> tasks(timed_tasks);
        for (std::size_t i = 0; i < timed_tasks; ++i) {
            tasks[i] = {i, i < 4 ? 5'000 : static_cast<int>(random() % 200)};
        }
        backlite::Client client{backlite_test::quick(file)};
        (void)client.add(tasks).save();
    }
    for (Process& process : processes) process.next();
    for (Process& process : processes) REQUIRE(process.await("started"));
    const auto all = [&](std::atomic<int> Count::*which) {
        int sum = 0;
        for (std::size_t i = 0; i < timed_tasks; ++i) sum += counts[i].*which;
        return sum;
    };
    REQUIRE(eventually([&] { return all(&Count::entered) >= 8; }));
    Look look(file);
    std::int64_t unwritten = 0;
    std::size_t hit = 0;
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        INFO("BACKLITE_SEED=" << harness.seed() << ", round " << round);
        {
            const WriteLock lock(file);
            std::this_thread::sleep_for(std::chrono::milliseconds{300 + random() % 1'700});
            const std::int64_t now = all(&Count::left) - look.completed();
            unwritten += now;
            hit += now > 0 ? 1U : 0U;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{150 + random() % 250});
    }
    INFO("BACKLITE_SEED=" << harness.seed());
    CHECK(eventually([&] { return look.tasks() == 0; }));
    fmt::print("  {} outcomes waited for {} of {} locks; {} tasks, {} entries\n", unwritten, hit, harness.rounds(),
               timed_tasks, all(&Count::entered));
    CHECK(look.completed("succeeded = 1 AND attempts = 1") == static_cast<std::int64_t>(timed_tasks));
    for (std::size_t i = 0; i < timed_tasks; ++i) {
        INFO("task " << i);
        CHECK(counts[i].entered == 1);
    }
    CHECK(hit > 0);
}

}  // namespace
