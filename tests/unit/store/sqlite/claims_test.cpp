// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/error.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::Ms;
using detail::Us;
using store::ClaimRequest;
using store::ClaimResult;
using store::never;
using store::QueueHead;

constexpr Ms now{10'000};
constexpr Ms unknown{};  // earlier than any row: such a head is looked at

/// A database, and the heads of the queues that a client registered.
class Shop : public TestDatabase {
public:
    explicit Shop(std::initializer_list<std::string_view> queues = {"mail"}) {
        for (const std::string_view name : queues) heads.push_back({.name = name, .max_crashes = 3, .due = unknown});
    }

    ClaimResult claim() {
        ClaimResult result;
        write([&](store::sqlite::Repository& all) { result = all.claims.claim(request, heads); });
        return result;
    }

    /// The ids that a claim takes, in its order.
    std::string claimed() {
        std::string text;
        for (const detail::ClaimedTask& task : claim().tasks) text += (text.empty() ? "" : " ") + task.id.str();
        return text;
    }

    /// Reads the heads anew: `mail 5, print never`.
    std::string read_heads() {
        repository.claims.read_heads(heads);
        std::string text;
        for (const QueueHead& head : heads) {
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", head.name,
                                head.due == never ? "never" : fmt::to_string(head.due.count()));
        }
        return text;
    }

    std::vector<QueueHead> heads{};
    ClaimRequest request{.now = now, .owner = 1, .limit = 10, .beside = {10}, .max_payload = 1000};
};

TEST_CASE("Claims: a due task is handed over with all that its attempt needs") {
    Shop shop{"mail", "print"};
    shop.add(
        {.id = "a", .queue = "print", .created_at = 500, .payload = "[1]", .attempts = 2, .crashes = 1, .claim = 6});
    shop.heads[1].cost = Us{77};
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    const detail::ClaimedTask& task = result.tasks[0];
    CHECK(task.id.str() == "a");
    CHECK(task.queue == 1);
    CHECK(task.claim == 7);
    CHECK(task.attempts == 2);
    CHECK(task.crashes == 1);
    CHECK_FALSE(task.last_chance);
    CHECK(task.due == Ms{500});
    CHECK(task.cost == Us{77});
    CHECK(task.payload == "[1]");
    CHECK(task.oversize == 0);
}

TEST_CASE("Claims: a claimed row names time, owner and number, and starts with a new lease") {
    Shop shop;
    shop.add({.id = "a", .claim = 6});
    shop.execute("UPDATE backlite_tasks SET lease = 9");
    shop.request.owner = 42;
    shop.claim();
    CHECK(shop.query("SELECT claimed_at, owner, claim, lease, attempts, crashes FROM backlite_tasks") ==
          "10000|42|7|0|0|0");
}

TEST_CASE("Claims: a task that is left does not make the batch behind it start sooner") {
    Shop shop;
    shop.heads[0].batch = 3;
    shop.heads[0].batch_wait = 50ms;
    shop.request.leave = {"refused"};
    shop.add({.id = "refused", .created_at = 100});
    shop.add({.id = "fresh", .created_at = 9'990});
    CHECK(shop.claimed().empty());
    CHECK(shop.heads[0].starts() == Ms{10'040});
    shop.request.now = Ms{10'040};
    CHECK(shop.claimed() == "fresh");
}

TEST_CASE("Claims: what is claimed is not claimed again") {
    Shop shop;
    shop.add({.id = "a"});
    CHECK(shop.claimed() == "a");
    shop.heads[0].due = unknown;
    CHECK(shop.claimed().empty());
}

TEST_CASE("Claims: the oldest due time goes first, immediate, scheduled and retried tasks alike") {
    Shop shop;
    shop.add({.id = "immediate", .created_at = 300});
    shop.add({.id = "scheduled", .created_at = 100, .wait_until = 400});
    shop.add({.id = "retried", .created_at = 50, .wait_until = 200, .attempts = 1});
    shop.add({.id = "oldest", .created_at = 150});
    CHECK(shop.claimed() == "oldest retried immediate scheduled");
}

TEST_CASE("Claims: the oldest due time goes first over all queues") {
    Shop shop{"a", "b", "c"};
    shop.add({.id = "4", .queue = "a", .created_at = 400});
    shop.add({.id = "1", .queue = "b", .created_at = 100});
    shop.add({.id = "3", .queue = "b", .created_at = 300});
    shop.add({.id = "2", .queue = "c", .created_at = 200});
    shop.add({.id = "5", .queue = "c", .created_at = 500});
    shop.request.limit = 4;
    CHECK(shop.claimed() == "1 2 3 4");
    CHECK(shop.claimed() == "5");
}

TEST_CASE("Claims: of tasks due at the same time the first added goes first") {
    Shop shop{"a", "b"};
    for (const char* id : {"1", "2", "3", "4"}) shop.add({.id = id, .queue = id[0] % 2 == 0 ? "a" : "b"});
    CHECK(shop.claimed() == "1 2 3 4");
}

TEST_CASE("Claims: no more are claimed than the limit says, and the rest comes next") {
    Shop shop;
    for (const char* id : {"1", "2", "3", "4", "5"}) shop.add({.id = id});
    shop.request.limit = 3;
    CHECK(shop.claimed() == "1 2 3");
    CHECK(shop.query("SELECT count(*) FROM backlite_tasks WHERE claimed_at IS NULL") == "2");
    CHECK(shop.claimed() == "4 5");
}

TEST_CASE("Claims: a limit of zero claims nothing") {
    Shop shop;
    shop.add({.id = "a"});
    shop.request.limit = 0;
    CHECK(shop.claimed().empty());
}

TEST_CASE("Claims: tasks of queues that are not registered stay") {
    Shop shop{"m"};
    for (const char* queue : {"a", "l", "ma", "z"}) shop.add({.id = queue, .queue = queue});
    CHECK(shop.claimed().empty());
    CHECK(shop.query("SELECT count(*) FROM backlite_tasks WHERE claim = 0 AND claimed_at IS NULL") == "4");
}

TEST_CASE("Claims: tasks that are due later stay") {
    Shop shop;
    shop.add({.id = "later", .wait_until = now + 1ms});
    shop.add({.id = "now", .wait_until = now});
    CHECK(shop.claimed() == "now");
    CHECK(shop.query("SELECT claim FROM backlite_tasks WHERE id = 'later'") == "0");
}

TEST_CASE("Claims: a task made in the future waits for its time, whatever its wait says") {
    Shop shop;
    shop.add({.id = "a", .created_at = now + 5ms, .wait_until = 1});
    CHECK(shop.claimed().empty());
    shop.heads[0].due = unknown;
    shop.request.now = now + 5ms;
    CHECK(shop.claimed() == "a");
}

TEST_CASE("Claims: what others have claimed stays theirs, with an owner or without") {
    Shop shop;
    shop.add({.id = "a", .claim = 3, .claimed_at = 5, .owner = 9});
    shop.add({.id = "b", .claim = 3, .claimed_at = 5});
    CHECK(shop.claimed().empty());
    CHECK(shop.query("SELECT id, claim, claimed_at, owner FROM backlite_tasks ORDER BY id") == "a|3|5|9\nb|3|5|NULL");
}

TEST_CASE("Claims: a head follows what is left of its queue") {
    Shop shop{"mail", "print"};
    shop.add({.id = "a", .queue = "mail", .created_at = 100});
    shop.add({.id = "b", .queue = "mail", .created_at = 200});
    shop.add({.id = "c", .queue = "print", .wait_until = now + 7ms});
    shop.request.limit = 1;
    shop.claim();
    CHECK(shop.heads[0].due == Ms{200});
    shop.claim();
    CHECK(shop.heads[0].due == never);
    CHECK(shop.heads[1].due == now + 7ms);
}

TEST_CASE("Claims: a queue whose head is later than all that the limit allows is not looked at") {
    Shop shop{"mail", "print"};
    shop.add({.id = "a", .queue = "mail", .created_at = 100});
    shop.add({.id = "b", .queue = "print", .created_at = 300});
    shop.heads[1].due = Ms{200};
    shop.heads[1].levels = {{0, Ms{200}}};
    shop.request.limit = 1;
    CHECK(shop.claimed() == "a");
    CHECK(shop.heads[1].due == Ms{200});
}

TEST_CASE("Claims: a queue whose head is not due is not looked at") {
    Shop shop;
    shop.add({.id = "a"});
    shop.heads[0].due = now + 1ms;
    CHECK(shop.claimed().empty());
    CHECK(shop.heads[0].due == now + 1ms);
}

TEST_CASE("Claims: a head that was known too early is put right") {
    Shop shop;
    CHECK(shop.claimed().empty());
    CHECK(shop.heads[0].due == never);
}

// A table that its host made, and did not make STRICT: only there an id can be NULL.
constexpr const char* loose_table =
    "DROP TABLE backlite_tasks; "
    "CREATE TABLE backlite_tasks (id text PRIMARY KEY, created_at integer, queue text, task blob, wait_until integer, "
    "claimed_at integer, last_executed_at integer, attempts integer DEFAULT 0, due integer GENERATED ALWAYS AS "
    "(max(created_at, coalesce(wait_until, created_at))) VIRTUAL, owner integer, claim integer DEFAULT 0, "
    "lease integer DEFAULT 0, crashes integer DEFAULT 0, error text, priority integer DEFAULT 0, "
    "hold integer DEFAULT 0, flags integer DEFAULT 0, slack blob); "
    "CREATE INDEX backlite_tasks_ready ON backlite_tasks (queue, priority, due) WHERE claimed_at IS NULL AND hold = 0";

TEST_CASE("Claims: a row without id gets a name, by which its outcome can be written") {
    Shop shop;
    shop.execute(loose_table);
    shop.add({.id = {}, .payload = "[1]"});
    shop.add({.id = {}, .payload = "[2]"});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 2);
    CHECK(result.tasks[0].id.str() == "unnamed-1-10000");
    CHECK(result.tasks[1].id.str() == "unnamed-2-10000");
    bool written = false;
    shop.write([&](store::sqlite::Repository& repository) {
        written = repository.transitions.write(
            {.id = result.tasks[0].id, .claim = result.tasks[0].claim, .resolution = detail::RowChange::complete});
    });
    CHECK(written);
    CHECK(shop.query("SELECT id, task FROM backlite_tasks") == "unnamed-2-10000|[2]");
}

TEST_CASE("Claims: ids that are no UUIDs are kept as they are") {
    Shop shop;
    shop.add({.id = "order 17"});
    shop.add({.id = ""});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 2);
    CHECK(result.tasks[0].id.str() == "order 17");
    CHECK(result.tasks[1].id.str().empty());
}

TEST_CASE("Claims: a payload of exactly the most allowed is read") {
    Shop shop;
    shop.add({.id = "a", .payload = std::string(1000, 'x')});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    CHECK(result.tasks[0].payload.size() == 1000);
    CHECK(result.tasks[0].oversize == 0);
}

TEST_CASE("Claims: a payload above the most allowed is not read, its size is told") {
    Shop shop;
    shop.add({.id = "a", .payload = std::string(1001, 'x')});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    CHECK(result.tasks[0].payload.empty());
    CHECK(result.tasks[0].oversize == 1001);
}

TEST_CASE("Claims: an empty payload is one") {
    Shop shop;
    shop.add({.id = "a", .payload = ""});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    CHECK(result.tasks[0].payload.empty());
    CHECK(result.tasks[0].oversize == 0);
}

TEST_CASE("Claims: counts that somebody else made negative read as zero") {
    Shop shop;
    shop.add({.id = "a", .attempts = -5, .crashes = -2});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    CHECK(result.tasks[0].attempts == 0);
    CHECK(result.tasks[0].crashes == 0);
}

TEST_CASE("Claims: counts that somebody else made as large as they can be are handed over as they are") {
    constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
    Shop shop;
    shop.add({.id = "a", .attempts = most, .crashes = most});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    CHECK(result.tasks[0].attempts == most);
    CHECK(result.tasks[0].crashes == most);
    CHECK_FALSE(result.tasks[0].last_chance);
}

TEST_CASE("Claims: a claim number that cannot be raised keeps nothing else from being claimed") {
    constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
    Shop shop;
    shop.add({.id = "a", .claim = most});
    shop.add({.id = "b", .claim = most - 1});
    shop.add({.id = "c"});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 3);
    CHECK(result.tasks[0].claim == most);
    CHECK(result.tasks[1].claim == most);
    CHECK(shop.query("SELECT id, claim FROM backlite_tasks ORDER BY id") ==
          "a|9223372036854775807\nb|9223372036854775807\nc|1");
}

TEST_CASE("Claims: due times at the ends of the number range neither break nor start") {
    Shop shop;
    shop.add({.id = "first", .created_at = (std::numeric_limits<std::int64_t>::min)()});
    shop.add({.id = "last", .created_at = (std::numeric_limits<std::int64_t>::max)()});
    CHECK(shop.claimed() == "first");
    CHECK(shop.heads[0].due == never);
}

// ---- priorities -----------------------------------------------------------------------------------------------------

TEST_CASE("Claims: of tasks due at the same time the one of the higher priority goes first") {
    Shop shop{"mail", "print"};
    shop.add({.id = "usual"});
    shop.add({.id = "low", .priority = -1000});
    shop.add({.id = "high", .queue = "print", .priority = 1000});
    shop.add({.id = "higher", .priority = 3});
    CHECK(shop.claimed() == "high higher usual low");
}

TEST_CASE("Claims: a task has the start of one ageing for each level of its priority, and no more") {
    Shop shop;
    shop.request.ageing = 1s;
    shop.request.now = Ms{50'000};
    shop.add({.id = "a", .created_at = 30'000});
    shop.add({.id = "before a", .created_at = 31'999, .priority = 2});
    shop.add({.id = "behind a", .created_at = 32'001, .priority = 2});
    shop.add({.id = "low", .created_at = 28'998, .priority = -1});
    CHECK(shop.claimed() == "low before a a behind a");
}

TEST_CASE("Claims: where nothing ages, the higher priority goes first however long others have been due") {
    Shop shop;
    shop.request.ageing = 0s;
    shop.add({.id = "old", .created_at = 1});
    shop.add({.id = "new", .created_at = now, .priority = 1});
    shop.add({.id = "second", .created_at = 2});
    CHECK(shop.claimed() == "new old second");
}

TEST_CASE("Claims: within one priority the oldest due time goes first") {
    Shop shop;
    shop.add({.id = "2", .created_at = 200, .priority = 5});
    shop.add({.id = "3", .created_at = 300, .priority = 5});
    shop.add({.id = "1", .created_at = 50, .wait_until = 100, .attempts = 1, .priority = 5});
    CHECK(shop.claimed() == "1 2 3");
}

TEST_CASE("Claims: a limit takes the first of all priorities, and the next claim goes on there") {
    Shop shop{"mail", "print"};
    for (const char* id : {"c1", "c2", "c3"}) shop.add({.id = id, .priority = 1});
    for (const char* id : {"a1", "a2"}) shop.add({.id = id, .queue = "print", .priority = 9});
    shop.add({.id = "d"});
    shop.request.limit = 3;
    CHECK(shop.claimed() == "a1 a2 c1");
    CHECK(shop.claimed() == "c2 c3 d");
    CHECK(shop.claimed().empty());
}

TEST_CASE("Claims: a claimed task says its priority, as far as there are such") {
    Shop shop;
    shop.add({.id = "a", .priority = 7});
    shop.add({.id = "b", .priority = (std::numeric_limits<std::int64_t>::min)()});
    shop.add({.id = "c", .priority = (std::numeric_limits<std::int64_t>::max)()});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 3);
    CHECK(result.tasks[0].id.str() == "c");
    CHECK(result.tasks[0].priority == 1000);
    CHECK(result.tasks[1].priority == 7);
    CHECK(result.tasks[2].priority == -1000);
}

TEST_CASE("Claims: a task that is held is not claimed, whatever holds it, and is once nothing does") {
    for (const int hold : {1, 2, 256, 512, -1}) {
        Shop shop;
        shop.add({.id = "held", .priority = 5, .hold = hold});
        shop.add({.id = "free"});
        CHECK(shop.read_heads() == "mail 1000");
        CHECK(shop.claimed() == "free");
        CHECK(shop.read_heads() == "mail never");
        shop.execute("UPDATE backlite_tasks SET hold = 0");
        CHECK(shop.read_heads() == "mail 1000");
        CHECK(shop.claimed() == "held");
    }
}

TEST_CASE("Claims: a head knows the first due time of each priority") {
    Shop shop{"mail", "print"};
    shop.add({.id = "a", .created_at = 500, .priority = 2});
    shop.add({.id = "b", .created_at = 400, .priority = 2});
    shop.add({.id = "c", .created_at = 300, .wait_until = now + 5ms, .priority = -4});
    CHECK(shop.read_heads() == "mail 400, print never");
    REQUIRE(shop.heads[0].levels.size() == 2);
    CHECK(shop.heads[0].levels[0].priority == -4);
    CHECK(shop.heads[0].levels[0].due == now + 5ms);
    CHECK(shop.heads[0].levels[1].priority == 2);
    CHECK(shop.heads[0].levels[1].due == Ms{400});
    CHECK(shop.heads[1].levels.empty());
    shop.request.limit = 1;
    CHECK(shop.claimed() == "b");
    CHECK(shop.heads[0].levels[1].due == Ms{500});
    CHECK(shop.claimed() == "a");
    CHECK(shop.heads[0].due == now + 5ms);
    CHECK(shop.heads[0].levels[1].due == never);
}

TEST_CASE("Claims: a priority that a head does not know yet is found by the claim after its task came") {
    Shop shop;
    for (const char* id : {"1", "2", "3"}) shop.add({.id = id});
    shop.read_heads();
    shop.add({.id = "urgent", .created_at = 2000, .priority = 1});
    shop.heads[0].came(Ms{2000});
    shop.request.limit = 1;
    CHECK(shop.claimed() == "urgent");
    CHECK(shop.heads[0].unread == never);
    CHECK(shop.claimed() == "1");
}

TEST_CASE("Claims: what came and is due later does not send a claim to look, and is not forgotten") {
    Shop shop;
    shop.add({.id = "a"});
    shop.read_heads();
    shop.add({.id = "later", .wait_until = now + 9ms, .priority = 1});
    shop.heads[0].came(now + 9ms);
    CHECK(shop.claimed() == "a");
    CHECK(shop.heads[0].due == now + 9ms);
    shop.request.now = now + 9ms;
    CHECK(shop.claimed() == "later");
}

TEST_CASE("Claims: what the crash rules hold in one priority outlives a claim in another") {
    Shop shop;
    shop.request.ageing = 1s;
    shop.add({.id = "held", .created_at = 5, .crashes = 2, .priority = 1});
    shop.add({.id = "free", .created_at = 6});
    shop.request.beside.crashed = true;
    CHECK(shop.claimed() == "free");
    CHECK(shop.heads[0].held_due == Ms{5});
    shop.add({.id = "next", .created_at = 7});
    shop.heads[0].levels[0].due = shop.heads[0].due = Ms{7};
    CHECK(shop.claimed() == "next");
    CHECK(shop.heads[0].held_due == Ms{5});
}

TEST_CASE("Claims: a priority that is no number, as a damaged file may hold it, is passed over") {
    Shop shop;
    {
        SQLite::Database stranger = shop.stranger();
        backlite_test::loosen(stranger);
        stranger.exec(
            "INSERT INTO backlite_tasks (id, queue, created_at, task, priority) VALUES ('a', 'mail', 1, x'7b7d', "
            "x'00'), "
            "('b', 'mail', 1, x'7b7d', NULL)");
    }
    shop.add({.id = "good"});
    CHECK(shop.read_heads() == "mail 1000");
    CHECK(shop.claimed() == "good");
    CHECK(shop.read_heads() == "mail never");
}

// ---- crashes --------------------------------------------------------------------------------------------------------

TEST_CASE("Claims: a task that has crashed runs beside others") {
    Shop shop;
    shop.add({.id = "a", .created_at = 1});
    shop.add({.id = "crashed", .created_at = 2, .crashes = 1});
    shop.add({.id = "crashed-too", .created_at = 3, .crashes = 1});
    CHECK(shop.claimed() == "a crashed crashed-too");
}

TEST_CASE("Claims: a task that may crash only once more is marked") {
    Shop shop;
    shop.add({.id = "a", .crashes = 2});
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    CHECK(result.tasks[0].last_chance);
    CHECK(shop.heads[0].held_due == never);
    CHECK(shop.heads[0].worker_due == never);
}

TEST_CASE("Claims: a task that may crash only once more is held while a crashed one runs") {
    Shop shop;
    shop.add({.id = "a", .created_at = 7, .crashes = 2});
    shop.request.beside.crashed = true;
    CHECK(shop.claimed().empty());
    CHECK(shop.heads[0].held_due == Ms{7});
    CHECK(shop.query("SELECT claim, claimed_at FROM backlite_tasks") == "0|NULL");
}

TEST_CASE("Claims: a task that may crash only once more is held while one claimed with it may crash") {
    Shop shop;
    shop.add({.id = "crashed", .created_at = 1, .crashes = 1});
    shop.add({.id = "bound", .created_at = 2, .crashes = 2});
    CHECK(shop.claimed() == "crashed");
}

TEST_CASE("Claims: a crashed task is held while one that may crash only once more runs") {
    Shop shop;
    shop.add({.id = "crashed", .created_at = 7, .crashes = 1});
    shop.request.beside.last_chance = true;
    CHECK(shop.claimed().empty());
    CHECK(shop.heads[0].held_due == Ms{7});
}

TEST_CASE("Claims: tasks that may crash only once more go one by one") {
    Shop shop;
    shop.add({.id = "1", .created_at = 1, .crashes = 2});
    shop.add({.id = "2", .created_at = 2, .crashes = 2});
    CHECK(shop.claimed() == "1");
    shop.heads[0].due = unknown;
    CHECK(shop.claimed() == "2");
}

TEST_CASE("Claims: a task that never crashed starts whatever runs") {
    Shop shop;
    shop.add({.id = "a"});
    shop.request.beside.crashed = shop.request.beside.last_chance = true;
    CHECK(shop.claimed() == "a");
}

TEST_CASE("Claims: a task at its bound is claimed whatever runs: it will fail without running") {
    Shop shop;
    shop.add({.id = "a", .created_at = 1, .crashes = 3});
    shop.add({.id = "b", .created_at = 2, .crashes = 9});
    shop.add({.id = "crashed", .created_at = 3, .crashes = 2});
    shop.request.beside.free_workers = 1;
    shop.request.ahead = Us{100};
    shop.heads[0].cost = Us{1};
    shop.request.beside.crashed = shop.request.beside.last_chance = true;
    CHECK(shop.claimed() == "a b");
}

TEST_CASE("Claims: where one crash is the bound, a new task is held while a crashed one of another queue runs") {
    Shop shop{"brittle", "mail"};
    shop.heads[0].max_crashes = 1;
    shop.add({.id = "brittle", .queue = "brittle", .created_at = 1});
    shop.add({.id = "mail", .queue = "mail", .created_at = 2});
    shop.request.beside.crashed = true;
    CHECK(shop.claimed() == "mail");
}

TEST_CASE("Claims: where one crash is the bound, new tasks do not hold each other") {
    Shop shop;
    shop.heads[0].max_crashes = 1;
    shop.add({.id = "1", .created_at = 1});
    shop.add({.id = "2", .created_at = 2});
    CHECK(shop.claimed() == "1 2");
}

TEST_CASE("Claims: a crashed task is held while no worker is free") {
    Shop shop;
    shop.add({.id = "a", .created_at = 1});
    shop.add({.id = "crashed", .created_at = 2, .crashes = 1});
    shop.add({.id = "b", .created_at = 3});
    shop.heads[0].cost = Us{1};
    shop.request.beside.free_workers = 1;
    shop.request.ahead = Us{100};
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 2);
    CHECK(result.tasks[0].id.str() == "a");
    CHECK(result.tasks[1].id.str() == "b");
    CHECK(shop.heads[0].worker_due == Ms{2});
    CHECK(shop.heads[0].held_due == never);
}

TEST_CASE("Claims: held tasks do not block later ones, however many they are") {
    Shop shop;
    for (int i = 0; i < 100; ++i) {
        shop.add({.id = fmt::format("held-{}", i), .created_at = i, .crashes = 2});
    }
    shop.add({.id = "free-1", .created_at = 200});
    shop.add({.id = "free-2", .created_at = 300});
    shop.request.limit = 1;
    shop.request.beside.crashed = true;
    CHECK(shop.claimed() == "free-1");
    CHECK(shop.claimed() == "free-2");
    CHECK(shop.claimed().empty());
}

TEST_CASE("Claims: held tasks do not block another queue") {
    Shop shop{"mail", "print"};
    for (int i = 0; i < 20; ++i) shop.add({.id = fmt::format("held-{}", i), .created_at = i, .crashes = 2});
    shop.add({.id = "free", .queue = "print", .created_at = 200});
    shop.request.limit = 2;
    shop.request.beside.crashed = true;
    CHECK(shop.claimed() == "free");
}

TEST_CASE("Claims: a head passes over tasks that are held") {
    Shop shop;
    shop.add({.id = "held", .created_at = 1, .crashes = 2});
    shop.add({.id = "later", .wait_until = now + 9ms});
    shop.request.beside.crashed = true;
    CHECK(shop.claimed().empty());
    CHECK(shop.heads[0].held_due == Ms{1});
    CHECK(shop.heads[0].due == now + 9ms);
}

TEST_CASE("Claims: what a head says of held tasks outlives a claim that does not look at its queue") {
    Shop shop{"mail", "print"};
    shop.add({.id = "oldest-held", .queue = "print", .created_at = 5, .crashes = 2});
    shop.add({.id = "held", .queue = "print", .created_at = 6, .crashes = 2});
    shop.request.beside.crashed = true;
    CHECK(shop.claimed().empty());
    shop.add({.id = "other", .queue = "mail", .created_at = 9});
    shop.heads[0].due = Ms{9};
    CHECK(shop.claimed() == "other");
    CHECK(shop.heads[1].held_due == Ms{5});
}

TEST_CASE("Claims: what a head says of held tasks is as new as the last look at its queue") {
    Shop shop;
    shop.add({.id = "held", .created_at = 1, .crashes = 2});
    shop.request.beside.crashed = true;
    CHECK(shop.claimed().empty());
    const bool by_claim = GENERATE(false, true);
    if (by_claim) {
        shop.request.beside.crashed = false;
        shop.heads[0].due = Ms{1};
        CHECK(shop.claimed() == "held");
    } else {
        CHECK(shop.read_heads() == "mail 1");
    }
    CHECK(shop.heads[0].held_due == never);
}

TEST_CASE("Claims: the bounds of two queues are their own") {
    Shop shop{"brittle", "sturdy"};
    shop.heads[0].max_crashes = 2;
    shop.heads[1].max_crashes = 10;
    shop.add({.id = "sturdy", .queue = "sturdy", .created_at = 1, .crashes = 1});
    shop.add({.id = "brittle", .queue = "brittle", .created_at = 2, .crashes = 1});
    CHECK(shop.claimed() == "sturdy");
}

// ---- ahead of the workers -------------------------------------------------------------------------------------------

TEST_CASE("Claims: beyond the free workers, only as much work is claimed as the budget allows") {
    Shop shop;
    for (const char* id : {"1", "2", "3", "4", "5"}) shop.add({.id = id});
    shop.heads[0].cost = Us{40};
    shop.request.beside.free_workers = 1;
    shop.request.ahead = Us{100};
    CHECK(shop.claimed() == "1 2 3");
}

TEST_CASE("Claims: the free workers are served whatever a task costs") {
    Shop shop;
    for (const char* id : {"1", "2", "3"}) shop.add({.id = id});
    shop.heads[0].cost = Us{10'000'000};
    shop.request.beside.free_workers = 2;
    shop.request.ahead = Us{100};
    CHECK(shop.claimed() == "1 2");
}

TEST_CASE("Claims: a task that costs exactly what is left of the budget is claimed") {
    Shop shop;
    for (const char* id : {"1", "2", "3"}) shop.add({.id = id});
    shop.heads[0].cost = Us{50};
    shop.request.beside.free_workers = 0;
    shop.request.ahead = Us{100};
    CHECK(shop.claimed() == "1 2");
}

TEST_CASE("Claims: a dear task at the budget's end is not overtaken by a cheap one") {
    Shop shop{"cheap", "dear"};
    shop.heads[0].cost = Us{1};
    shop.heads[1].cost = Us{1000};
    shop.add({.id = "1", .queue = "cheap", .created_at = 1});
    shop.add({.id = "2", .queue = "dear", .created_at = 2});
    shop.add({.id = "3", .queue = "cheap", .created_at = 3});
    shop.request.beside.free_workers = 0;
    shop.request.ahead = Us{100};
    CHECK(shop.claimed() == "1");
    CHECK(shop.heads[1].due == Ms{2});
}

TEST_CASE("Claims: of a queue whose tasks can be replaced none is claimed ahead, and none overtakes one that waits") {
    Shop shop{"cheap", "replaced"};
    shop.heads[0].cost = shop.heads[1].cost = Us{1};
    shop.heads[1].never_ahead = true;
    shop.add({.id = "1", .queue = "replaced", .created_at = 1});
    shop.add({.id = "2", .queue = "cheap", .created_at = 2});
    shop.add({.id = "3", .queue = "replaced", .created_at = 3});
    shop.add({.id = "4", .queue = "cheap", .created_at = 4});
    shop.request.beside.free_workers = 1;
    shop.request.ahead = Us{100};
    CHECK(shop.claimed() == "1 2");
    CHECK(shop.heads[1].due == Ms{3});
}

TEST_CASE("Claims: a budget that is overdrawn allows nothing ahead") {
    Shop shop;
    shop.add({.id = "a"});
    shop.heads[0].cost = Us{1};
    shop.request.beside.free_workers = 0;
    shop.request.ahead = Us{-5};
    CHECK(shop.claimed().empty());
}

TEST_CASE("Claims: beyond the free workers, only as many bytes of payload are claimed as the budget allows") {
    Shop shop;
    for (const char* id : {"1", "2", "3", "4", "5"}) shop.add({.id = id, .payload = std::string(40, 'x')});
    shop.request.beside.free_workers = 1;
    shop.request.ahead_bytes = 100;
    const ClaimResult result = shop.claim();
    CHECK(result.tasks.size() == 3);
    CHECK(result.left_bytes == 40);
}

TEST_CASE("Claims: the free workers are served however large a payload is") {
    Shop shop;
    for (const char* id : {"1", "2", "3"}) shop.add({.id = id, .payload = std::string(40, 'x')});
    shop.request.beside.free_workers = 2;
    shop.request.ahead_bytes = 0;
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 2);
    CHECK(result.tasks[1].payload.size() == 40);
    CHECK(result.left_bytes == 40);
}

TEST_CASE(
    "Claims: a payload of exactly the bytes that are left is claimed ahead, and one that is not read costs none") {
    Shop shop;
    shop.add({.id = "1", .payload = std::string(1001, 'x')});
    shop.add({.id = "2", .payload = std::string(40, 'x')});
    shop.request.beside.free_workers = 0;
    shop.request.ahead_bytes = 40;
    shop.heads[0].cost = Us{1};
    shop.request.ahead = Us{10};
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 2);
    CHECK(result.tasks[0].oversize == 1001);
    CHECK(result.left_bytes == 0);
}

// ---- refused --------------------------------------------------------------------------------------------------------

TEST_CASE("Claims: a row that a trigger refuses is left and named, and those behind it are claimed") {
    for (const char* how : {"RAISE(ABORT, 'no')", "RAISE(IGNORE)"}) {
        Shop shop;
        for (const char* id : {"1", "2", "3"}) shop.add({.id = id});
        shop.execute(fmt::format(
            "CREATE TRIGGER refusal BEFORE UPDATE ON backlite_tasks WHEN old.id = '1' BEGIN SELECT {}; END", how));
        shop.request.limit = shop.request.beside.free_workers = 2;
        CHECK_THROWS_AS(shop.claim(), StorageError);
        store::sqlite::Isolation apart;
        ClaimResult result;
        shop.write(
            [&](store::sqlite::Repository& all) { result = all.claims.claim(shop.request, shop.heads, &apart); });
        CHECK(result.tasks.size() == 2);
        REQUIRE(result.refused.size() == 1);
        CHECK(result.refused[0].id == "1");
        CHECK(shop.heads[0].held_due == never);
        CHECK(shop.heads[0].due == never);
        CHECK(shop.query("SELECT id FROM backlite_tasks WHERE claimed_at IS NULL") == "1");
    }
}

TEST_CASE("Claims: rows that are claimed together are all claimed, each under its own next number") {
    Shop shop;
    shop.request.limit = shop.request.beside.free_workers = 100;
    for (int i = 0; i < 75; ++i) shop.add({.id = std::to_string(i), .claim = i % 5});
    const ClaimResult result = shop.claim();
    CHECK(result.tasks.size() == 75);
    for (const detail::ClaimedTask& task : result.tasks) {
        CHECK(shop.query("SELECT claim, claimed_at, owner FROM backlite_tasks WHERE id = '" + task.id.str() + "'") ==
              fmt::format("{}|10000|1", task.claim));
    }
    CHECK(shop.query("SELECT count(*) FROM backlite_tasks WHERE claimed_at IS NOT NULL") == "75");
}

TEST_CASE("Claims: of rows that are claimed together a trigger that ignores one does not go unseen") {
    Shop shop;
    shop.request.limit = shop.request.beside.free_workers = 100;
    for (int i = 0; i < 40; ++i) shop.add({.id = std::to_string(i)});
    shop.execute(
        "CREATE TRIGGER refusal BEFORE UPDATE ON backlite_tasks WHEN old.id = '7' BEGIN SELECT RAISE(IGNORE); END");
    CHECK_THROWS_AS(shop.claim(), StorageError);
    CHECK(shop.query("SELECT count(*) FROM backlite_tasks WHERE claimed_at IS NOT NULL") == "0");
    store::sqlite::Isolation apart;
    ClaimResult result;
    shop.write([&](store::sqlite::Repository& all) { result = all.claims.claim(shop.request, shop.heads, &apart); });
    CHECK(result.tasks.size() == 39);
    REQUIRE(result.refused.size() == 1);
    CHECK(result.refused[0].id == "7");
}

TEST_CASE("Claims: a task that is to be left is not claimed, nor held") {
    Shop shop;
    for (const char* id : {"1", "2", "3"}) shop.add({.id = id});
    shop.request.leave = {"1", "3"};
    const ClaimResult result = shop.claim();
    REQUIRE(result.tasks.size() == 1);
    CHECK(result.tasks[0].id.str() == "2");
    CHECK(shop.heads[0].held_due == never);
    CHECK(shop.heads[0].due == never);
}

TEST_CASE("Claims: where every row is refused, a claim gives up after a hundred") {
    Shop shop;
    for (int i = 0; i < 150; ++i) shop.add({.id = std::to_string(i)});
    shop.execute("CREATE TRIGGER refusal BEFORE UPDATE ON backlite_tasks BEGIN SELECT RAISE(ABORT, 'no'); END");
    store::sqlite::Isolation apart;
    ClaimResult result;
    shop.write([&](store::sqlite::Repository& all) { result = all.claims.claim(shop.request, shop.heads, &apart); });
    CHECK(result.refused.size() == 100);
}

TEST_CASE("Claims: a queue that is blocked is not looked at") {
    Shop shop{"mail", "print"};
    shop.add({.id = "1"});
    shop.add({.id = "2", .queue = "print"});
    shop.heads[0].blocked = true;
    CHECK(shop.claimed() == "2");
    CHECK(shop.heads[0].due == unknown);
}

// ---- heads ----------------------------------------------------------------------------------------------------------

TEST_CASE("Claims: the head of a queue is its oldest unclaimed task, due or not") {
    Shop shop{"a", "b", "c", "d"};
    shop.add({.id = "1", .queue = "a", .created_at = 300});
    shop.add({.id = "2", .queue = "a", .created_at = 200});
    shop.add({.id = "3", .queue = "b", .wait_until = 90'000});
    shop.add({.id = "4", .queue = "c", .created_at = 1, .claimed_at = 5, .owner = 1});
    CHECK(shop.read_heads() == "a 200, b 90000, c never, d never");
}

TEST_CASE("Claims: reading heads forgets what was known before") {
    Shop shop{"a", "b"};
    shop.heads[0].due = shop.heads[1].due = Ms{5};
    CHECK(shop.read_heads() == "a never, b never");
}

TEST_CASE("Claims: queues without a head in which tasks wait are found, and no more than so many are looked at") {
    Shop shop{"b", "d"};
    for (const char* queue : {"a", "b", "c", "d", "e"}) shop.add({.id = queue, .queue = queue, .created_at = 7});
    shop.add({.id = "claimed", .queue = "f", .claimed_at = 5, .owner = 1});
    using Strays = std::vector<std::pair<std::string, Ms>>;
    CHECK(shop.repository.claims.strays(shop.heads, 10) == Strays{{"a", Ms{7}}, {"c", Ms{7}}, {"e", Ms{7}}});
    CHECK(shop.repository.claims.strays(shop.heads, 3) == Strays{{"a", Ms{7}}, {"c", Ms{7}}});
}

TEST_CASE("Claims: a queue without a head has waited since its oldest task is due, of whatever priority") {
    Shop shop{"mail"};
    shop.add({.id = "1", .queue = "lost", .created_at = 9, .priority = -3});
    shop.add({.id = "2", .queue = "lost", .created_at = 7, .priority = 5});
    shop.add({.id = "3", .queue = "lost", .created_at = 8});
    using Strays = std::vector<std::pair<std::string, Ms>>;
    CHECK(shop.repository.claims.strays(shop.heads, 10) == Strays{{"lost", Ms{7}}});
}

TEST_CASE("Claims: there may be no heads at all") {
    Shop shop{};
    shop.heads.clear();
    shop.add({.id = "1"});
    CHECK(shop.read_heads().empty());
    CHECK(shop.claimed().empty());
}

TEST_CASE("Claims: heads are found among many queues of others") {
    Shop shop{"a", "m", "q-5000-mine", "z"};
    shop.execute(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
        "INSERT INTO backlite_tasks (id, created_at, queue, task) SELECT i, i, 'q-' || i, x'7b7d' FROM n");
    shop.add({.id = "mine-1", .queue = "a", .created_at = 10});
    shop.add({.id = "mine-2", .queue = "q-5000-mine", .created_at = 20});
    shop.add({.id = "mine-3", .queue = "z", .created_at = 30});
    CHECK(shop.read_heads() == "a 10, m never, q-5000-mine 20, z 30");
}

TEST_CASE("Claims: heads are found where all queues of others come first, or last") {
    Shop first{"y", "z"};
    Shop last{"a", "b"};
    for (const char* queue : {"m", "n", "o", "p"}) {
        first.add({.id = queue, .queue = queue});
        last.add({.id = queue, .queue = queue});
    }
    first.add({.id = "1", .queue = "z", .created_at = 7});
    last.add({.id = "1", .queue = "b", .created_at = 7});
    CHECK(first.read_heads() == "y never, z 7");
    CHECK(last.read_heads() == "a never, b 7");
}

TEST_CASE("Claims: queue names are ordered by their bytes, as the heads are") {
    Shop shop{"Z", "a", "z", "\xc3\xa4", "\xf0\x9f\xa6\x8a"};
    std::int64_t created_at = 0;
    for (const QueueHead& head : shop.heads) {
        shop.add({.id = std::string{head.name}, .queue = std::string{head.name}, .created_at = ++created_at});
    }
    CHECK(shop.read_heads() == "Z 1, a 2, z 3, \xc3\xa4 4, \xf0\x9f\xa6\x8a 5");
    CHECK(shop.claimed() == "Z a z \xc3\xa4 \xf0\x9f\xa6\x8a");
}

TEST_CASE("Claims: a due time that is no number, as a damaged file may hold it, is never taken for due") {
    for (const char* value : {"NULL", "'text'", "x'00'"}) {
        INFO(value);
        Shop shop{"mail", "print"};
        SQLite::Database stranger = shop.stranger();
        backlite_test::loosen(stranger);
        stranger.exec(
            fmt::format("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('a', {0}, 'mail', x'7b7d'), "
                        "('b', {0}, 'print', x'7b7d'), ('c', 700, 'print', x'7b7d')",
                        value));
        CHECK(shop.read_heads() == "mail never, print 700");
        CHECK(shop.claimed() == "c");
        CHECK(shop.heads[0].due == never);
        CHECK(shop.heads[1].due == never);
    }
}

TEST_CASE("Claims: an index that names a task which does not wait is a damaged file, not a task to run again") {
    for (const char* change : {"UPDATE backlite_tasks SET claimed_at = 5, owner = 3", "DELETE FROM backlite_tasks"}) {
        INFO(change);
        Shop shop;
        shop.add({.id = "a"});
        {
            // The table changes while the index is not in the schema.
            SQLite::Database stranger = shop.stranger();
            stranger.exec("PRAGMA writable_schema=ON");
            stranger.exec("CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'backlite_tasks_ready'");
            stranger.exec("DELETE FROM sqlite_schema WHERE name = 'backlite_tasks_ready'");
            stranger.exec("PRAGMA writable_schema=RESET");
            stranger.exec(change);
            stranger.exec("PRAGMA writable_schema=ON");
            stranger.exec("INSERT INTO sqlite_schema SELECT * FROM temp.kept");
        }
        CHECK_THROWS_AS(shop.claim(), CorruptError);
    }
}

}  // namespace
