// SPDX-License-Identifier: MIT
// Flows that are written or used wrongly, that are changed between two versions of a program, and values at the bounds.

#include <chrono>
#include <cstddef>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace flow_guards_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::contains;
using backlite_test::message_of;
using testing::Ending;
using testing::TestClient;
using testing::TestClientConfig;
using Texts = std::vector<std::string>;

struct Job {
    std::string name{};
    static QueueConfig config() {
        return {.name = "job",
                .max_attempts = 3,
                .backoff = 5s,
                .retention = Retention{.duration = 1h, .data = RetainData{}}};
    }
};
struct Bit {
    int number = 0;
    static QueueConfig config() { return {.name = "bit"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Bit, number)

/// A client whose flow may be replaced, as by a new version of the program, and what it did.
struct Works {
    explicit Works(const TestClientConfig& config = {}) : client(config) {
        client.register_flow<Job>([this](Flow& flow, const Job&) -> Outcome {
            if (outcome) return outcome(flow);
            version(flow);
            return Outcome::success();
        });
    }
    [[nodiscard]] TaskId add() { return client.add(Job{}).save().front(); }
    [[nodiscard]] TaskStatus status(const TaskId& id) const { return client.client().status(id); }
    testing::Drained pass(Duration time) { return client.drain_until(client.clock().now() + time); }
    [[nodiscard]] std::string file() const { return client.client().config().database; }

    TestClient client;
    std::function<void(Flow&)> version{};
    std::function<Outcome(Flow&)> outcome{};  ///< in its place
    Texts did{};
};

template <class F>
struct Guard {
    F call;
    ~Guard() {
        try {
            call();
        } catch (...) {  // a destructor that threw would end the program
        }
    }
};

TEST_CASE("Flow: a scope guard that would compensate while the flow suspends does nothing") {
    Works works;
    works.version = [&](Flow& flow) {
        flow.step("reserve", [&] { works.did.push_back("reserve"); });
        bool shipped = false;
        {
            const auto release = [&] {
                if (shipped) return;
                works.did.push_back("left");
                flow.step("release", [&] { works.did.push_back("released"); });
            };
            const Guard<decltype(release)> guard{release};
            flow.sleep("cool off", 1h);
            shipped = true;
        }
        flow.step("ship", [&] { works.did.push_back("ship"); });
    };
    const TaskId id = works.add();
    works.client.drain();
    CHECK(works.did == Texts{"reserve", "left"});
    CHECK(works.status(id) == TaskStatus::pending);
    works.pass(61min);
    CHECK(works.did == Texts{"reserve", "left", "ship"});
    CHECK(works.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: no call of it works on another thread, or inside of a step") {
    Works works;
    SQLite::Database db(works.file(), SQLite::OPEN_READWRITE, 5'000);
    Texts errors;
    const auto each = [&](Flow& flow) {
        const auto misuse = [&](auto&& call) { errors.push_back(message_of<UsageError>(call)); };
        misuse([&] { flow.step("a", [] {}); });
        misuse([&] { flow.tx("b", db, [](SQLite::Database&) {}); });
        misuse([&] { flow.sleep("c", 1s); });
        misuse([&] { static_cast<void>(flow.wait<int>("d", 1s)); });
        misuse([&] { flow.map("e", std::vector<Bit>{{1}}); });
        misuse([&] { flow.undo("f", [] {}); });
    };
    works.version = [&](Flow& flow) {
        std::thread([&] { each(flow); }).join();
        flow.step("outer", [&] { each(flow); });
    };
    const TaskId id = works.add();
    works.client.drain();
    REQUIRE(errors.size() == 12);
    for (const std::size_t i : {0U, 1U, 2U, 3U, 4U, 5U}) {
        CHECK(contains(errors[i], "called on another thread than the flow's"));
        CHECK(contains(errors[i + 6], "called inside of step \"outer\""));
        CHECK(contains(errors[i], std::string{"\""} + static_cast<char>('a' + i) + '"'));
    }
    CHECK(works.status(id) == TaskStatus::succeeded);
    CHECK(works.client.client().counts().empty());  // no child was added
}

TEST_CASE("Flow: a step that uses the flow inside of itself fails as any other that throws") {
    Works works;
    works.version = [&](Flow& flow) { flow.step("outer", {.max_attempts = 1}, [&] { flow.sleep("inner", 1s); }); };
    const TaskId id = works.add();
    const auto drained = works.client.drain();
    CHECK(works.status(id) == TaskStatus::failed);
    REQUIRE(drained.size() == 1);
    CHECK(contains(drained.attempts[0].error,
                   "step \"outer\" (occurrence 1) has failed: queue \"job\": Flow::sleep "
                   "\"inner\": called inside of step \"outer\""));
}

TEST_CASE("Flow: a step that returns nothing now and a value then, or a value now and nothing then") {
    Works works;
    int given = 0;
    works.version = [&](Flow& flow) {
        flow.step("nothing", [] {});
        CHECK(flow.step("number", [] { return 7; }) == 7);
        throw std::runtime_error("replaced");
    };
    const TaskId id = works.add();
    works.client.drain();
    works.version = [&](Flow& flow) {
        flow.step("number", [&] { ++given; });  // what it returned is of no use any more
        works.did.push_back(message_of<Error>([&] { static_cast<void>(flow.step("nothing", [] { return 7; })); }));
        flow.sleep("number", 1s);  // another kind of the same name
        flow.step("end", [&] { works.did.push_back("end"); });
    };
    works.pass(1min);
    CHECK(given == 0);
    REQUIRE(works.did.size() == 3);
    CHECK(contains(works.did[0], "step \"nothing\" (occurrence 1): what is kept of it cannot be read as int"));
    CHECK(works.did[2] == "end");
    CHECK(works.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: a signal of another type than is read is kept for the version that can read it") {
    Works works;
    works.version = [&](Flow& flow) { static_cast<void>(flow.wait<int>("packed", 1h)); };
    const TaskId id = works.add();
    works.client.drain();
    works.client.client().signal(id, "packed", std::string{"by ada"});
    const auto drained = works.client.drain();
    REQUIRE(drained.size() == 1);
    CHECK(contains(drained.attempts[0].error,
                   "step \"packed\" (occurrence 1): what is kept of it cannot be read as int"));
    works.version = [&](Flow& flow) { works.did.push_back(flow.wait<std::string>("packed", 1h).value_or("nothing")); };
    works.pass(1min);
    CHECK(works.did == Texts{"by ada"});
    CHECK(works.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: thousands of signals are read once each and in their order") {
    constexpr int many = 3'000;
    Works works;
    std::vector<int> got;
    int runs = 0;
    works.version = [&](Flow& flow) {
        ++runs;
        std::vector<int> read;
        for (int i = 0; i < many; ++i) read.push_back(flow.wait<int>("ball", 1h).value_or(-1));
        if (runs == 2) throw std::runtime_error("read them once more");
        got = read;
    };
    const TaskId id = works.add();
    for (int i = 0; i < many - 10; ++i) REQUIRE(works.client.client().signal(id, "ball", i) == SignalResult::sent);
    works.client.drain();
    for (int i = many - 10; i < many; ++i) REQUIRE(works.client.client().signal(id, "ball", i) == SignalResult::sent);
    works.pass(1min);
    CHECK(runs == 3);
    REQUIRE(got.size() == many);
    for (int i = 0; i < many; ++i) CHECK(got[static_cast<std::size_t>(i)] == i);
    CHECK(works.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: a signal after the end finds it finished, or not at all") {
    Works works;
    const ClientHandle& client = works.client.client();
    works.version = [](Flow& flow) { static_cast<void>(flow.wait<int>("ball", 1h)); };
    const TaskId late = works.add();
    works.client.drain();
    works.pass(61min);
    CHECK(client.signal(late, "ball", 1) == SignalResult::finished);
    const TaskId cancelled = works.add();
    works.client.drain();
    CHECK(client.cancel(cancelled) == CancelResult::requested);
    CHECK(client.signal(cancelled, "ball", 1) == SignalResult::sent);  // it undoes, and reads nothing
    works.client.drain();
    CHECK(works.status(cancelled) == TaskStatus::cancelled);
    CHECK(client.signal(cancelled, "ball", 1) == SignalResult::finished);
    const Admin admin(client);
    admin.remove(cancelled);
    CHECK(client.signal(cancelled, "ball", 1) == SignalResult::not_found);
}

TEST_CASE("Flow: a wait that a new version puts before one that waits takes no signal from that") {
    Works works;
    works.version = [](Flow& flow) { static_cast<void>(flow.wait<int>("old", 48h)); };
    const TaskId id = works.add();
    works.client.drain();
    works.version = [&](Flow& flow) {
        works.did.push_back("new " + std::to_string(flow.wait<int>("new", 1h).value_or(-1)));
        works.did.push_back("old " + std::to_string(flow.wait<int>("old", 48h).value_or(-1)));
    };
    const Admin admin(works.client.client());
    REQUIRE(admin.run_now(id).count == 1);
    works.client.drain();
    CHECK(works.client.client().signal(id, "new", 1) == SignalResult::sent);
    works.client.drain();
    CHECK(works.did == Texts{"new 1"});
    CHECK(works.client.client().signal(id, "old", 2) == SignalResult::sent);
    works.client.drain();
    CHECK(works.did == Texts{"new 1", "new 1", "old 2"});
    CHECK(works.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: values and signals of as many bytes as a payload may have are kept, and longer ones are refused") {
    constexpr std::size_t most = 200;
    Works works(TestClientConfig{.client = {.max_payload = most}});
    SQLite::Database db(works.file(), SQLite::OPEN_READWRITE, 5'000);
    db.exec("CREATE TABLE effects (name text)");
    const std::string longest(most - 2, 'x');  // and two quotes
    int calls = 0;
    works.version = [&](Flow& flow) {
        CHECK(flow.step("a", [&] { return ++calls, longest; }) == longest);
        CHECK(flow.wait<std::string>("signal", 1h).value_or("nothing") == longest);
        if (calls == 1) throw std::runtime_error(std::to_string(++calls));
        flow.tx("b", db, [&](SQLite::Database& inside) {
            inside.exec("INSERT INTO effects VALUES ('b')");
            return longest + 'x';
        });
    };
    const TaskId id = works.add();
    works.client.client().signal(id, "signal", longest);
    const auto drained = works.pass(1h);
    CHECK(calls == 2);  // the step once
    CHECK(works.status(id) == TaskStatus::failed);
    CHECK(contains(drained.attempts.back().error,
                   "step \"b\" (occurrence 1) has failed: its value has 201 bytes, more than ClientConfig::max_payload "
                   "allows (200)"));
    CHECK(db.execAndGet("SELECT count(*) FROM effects").getInt() == 0);
}

TEST_CASE("Flow: a step whose value is too large for this program is not run again, and says so") {
    Works works(TestClientConfig{.client = {.max_payload = 200}});
    SQLite::Database db(works.file(), SQLite::OPEN_READWRITE, 5'000);
    int calls = 0;
    bool first = true;
    works.version = [&](Flow& flow) {
        static_cast<void>(flow.step("a", [&] { return ++calls, std::string{"a"}; }));
        if (first) throw std::runtime_error("another program goes on, which allows more");
    };
    const TaskId id = works.add();
    works.client.drain();
    first = false;
    SQLite::Statement grow(db,
                           "UPDATE backlite_saved SET value = CAST(? AS BLOB) WHERE name = 'backlite:flow:step:a#1'");
    grow.bind(1, "{\"v\":\"" + std::string(300, 'x') + "\"}");
    REQUIRE(grow.exec() == 1);
    const auto drained = works.pass(1min);
    CHECK(calls == 1);
    CHECK(works.status(id) == TaskStatus::failed);
    REQUIRE_FALSE(drained.empty());
    CHECK(contains(drained.attempts[0].error,
                   "step \"a\" (occurrence 1): what is kept of it cannot be read: it has 308 bytes, more than "
                   "ClientConfig::max_payload allows (200)"));
}

TEST_CASE("Flow: another transaction that keeps tx from beginning spends no attempt") {
    Works works(TestClientConfig{.client = {.busy_timeout = 50ms}});
    SQLite::Database db(works.file(), SQLite::OPEN_READWRITE, 0);
    db.exec("CREATE TABLE effects (name text)");
    SQLite::Database other(works.file(), SQLite::OPEN_READWRITE, 5'000);
    int runs = 0;
    works.version = [&](Flow& flow) {
        const bool busy = ++runs == 1;
        if (busy) other.exec("BEGIN IMMEDIATE");
        const auto end = [&] {
            if (busy) other.exec("ROLLBACK");
        };
        const Guard<decltype(end)> guard{end};
        flow.tx("book", db, [&](SQLite::Database& inside) { inside.exec("INSERT INTO effects VALUES ('b')"); });
        works.did.push_back("attempt " + std::to_string(flow.context().attempt()));
    };
    const TaskId id = works.add();
    works.pass(4s);  // the queue's backoff is longer
    CHECK(runs == 2);
    CHECK(works.did == Texts{"attempt 1"});
    CHECK(works.status(id) == TaskStatus::succeeded);
    CHECK(db.execAndGet("SELECT count(*) FROM effects").getInt() == 1);
}

TEST_CASE("Flow: a tx whose commit the database refuses has failed, and is tried again") {
    Works works;
    SQLite::Database db(works.file(), SQLite::OPEN_READWRITE, 5'000);
    db.exec("CREATE TABLE effects (name text)");
    db.exec("PRAGMA foreign_keys = ON");
    db.exec("CREATE TABLE seats (id integer PRIMARY KEY)");
    db.exec("CREATE TABLE taken (seat integer REFERENCES seats (id) DEFERRABLE INITIALLY DEFERRED)");
    works.version = [&](Flow& flow) {
        flow.tx("book", db, [&](SQLite::Database& inside) {
            inside.exec("INSERT INTO effects VALUES ('b')");
            if (works.did.empty()) inside.exec("INSERT INTO taken VALUES (1)");
            works.did.push_back("called");
        });
        works.did.push_back("attempt " + std::to_string(flow.context().attempt()));
    };
    const TaskId id = works.add();
    works.pass(4s);
    CHECK(works.did == Texts{"called"});
    works.pass(2s);
    CHECK(works.did == Texts{"called", "called", "attempt 1"});
    CHECK(works.status(id) == TaskStatus::succeeded);
    CHECK(db.execAndGet("SELECT count(*) FROM effects").getInt() == 1);
}

TEST_CASE("Flow: one that failed and is run again does what failed once more, and all if it had undone something") {
    Works works;
    bool undoes = false;
    works.version = [&](Flow& flow) {
        flow.step("charge", [&] { works.did.push_back("charge"); });
        if (undoes) flow.undo("refund", [&] { works.did.push_back("refund"); });
        flow.step("ship", {.max_attempts = 1}, [&] {
            works.did.push_back("ship");
            if (works.did.size() < 4) throw std::runtime_error("no ship");
        });
    };
    SECTION("nothing was undone") {
        const TaskId id = works.add();
        works.client.drain();
        CHECK(works.status(id) == TaskStatus::failed);
        works.did.push_back("again");
        CHECK(Admin(works.client.client()).retry(id).count == 1);
        works.client.drain();
        CHECK(works.did == Texts{"charge", "ship", "again", "ship"});
        CHECK(works.status(id) == TaskStatus::succeeded);
    }
    SECTION("something was") {
        undoes = true;
        const TaskId id = works.add();
        works.client.drain();
        CHECK(works.status(id) == TaskStatus::failed);
        CHECK(Admin(works.client.client()).retry(id).count == 1);
        works.client.drain();
        CHECK(works.did == Texts{"charge", "ship", "refund", "charge", "ship"});
        CHECK(works.status(id) == TaskStatus::succeeded);
    }
}

TEST_CASE("Flow: a cancelled one whose wait is over meanwhile has not succeeded, and is undone to the end") {
    Works works;
    works.version = [&](Flow& flow) {
        flow.step("charge", [&] { works.did.push_back("charge"); });
        flow.undo("refund", {.max_attempts = 2, .backoff = 2h}, [&] {
            works.did.push_back("refund");
            if (works.did.size() < 4) throw std::runtime_error("no answer");
        });
        flow.undo("release", [&] { works.did.push_back("release"); });
        flow.sleep("cool off", 1h);
    };
    const TaskId id = works.add();
    works.pass(10min);
    CHECK(works.client.client().cancel(id) == CancelResult::requested);
    works.pass(10min);
    CHECK(works.did == Texts{"charge", "release", "refund"});
    works.pass(2h);
    CHECK(works.did == Texts{"charge", "release", "refund", "refund"});
    CHECK(works.status(id) == TaskStatus::cancelled);
}

TEST_CASE("Flow: one that fails without a reason is undone as any other") {
    Works works;
    std::function<Outcome()> end;
    works.outcome = [&](Flow& flow) -> Outcome {
        flow.undo("release", {.max_attempts = 2, .backoff = 1s}, [&] {
            works.did.push_back("release");
            if (works.did.size() < 2) throw std::runtime_error("no answer");
        });
        return end();
    };
    SECTION("it is to be retried, and has no attempt left") {
        end = [] { return Outcome::retry(""); };
    }
    SECTION("it throws, and has no attempt left") {
        end = []() -> Outcome { throw std::runtime_error(""); };
    }
    SECTION("it is discarded, and would do otherwise when it runs again for its undo") {
        end = [&] { return works.did.empty() ? Outcome::discard("") : Outcome::success(); };
    }
    const TaskId id = works.add();
    const auto drained = works.pass(1min);
    CHECK(works.did == Texts{"release", "release"});
    CHECK(works.status(id) == TaskStatus::failed);
    REQUIRE_FALSE(drained.empty());
    CHECK(drained.attempts.back().error.empty());
}

TEST_CASE(
    "Flow: one that is to undo, and throws before it comes to where it was, undoes all the same what lies behind") {
    Works works;
    bool throws = false;
    bool first = true;
    const auto begin = [&](Flow& flow) {
        flow.step("charge", [] {});
        flow.undo("refund", [&] { works.did.push_back("refund"); });
        if (std::exchange(throws, false)) throw std::runtime_error("once, between two steps");
        flow.step("reserve", [] {});
    };
    bool returns = false;
    const auto release = [&](Flow& flow) {
        flow.undo("release", {.max_attempts = 2, .backoff = 1s}, [&] {
            works.did.push_back("release");
            if (works.did.size() > 1) return;
            throws = true;
            throw std::runtime_error("no answer");
        });
    };
    SECTION("it is cancelled") {
        works.version = [&](Flow& flow) {
            begin(flow);
            release(flow);
            flow.sleep("a day", 24h);
        };
        const TaskId id = works.add();
        works.pass(1min);
        CHECK(works.client.client().cancel(id) == CancelResult::requested);
        throws = true;
        works.pass(1min);
        CHECK(works.status(id) == TaskStatus::cancelled);
    }
    SECTION("it is cancelled, and returns that it is to be retried") {
        works.outcome = [&](Flow& flow) -> Outcome {
            flow.undo("refund", [&] { works.did.push_back("refund"); });
            if (std::exchange(returns, false)) return Outcome::retry_in(1s, "not now");
            release(flow);
            flow.sleep("a day", 24h);
            return Outcome::success();
        };
        const TaskId id = works.add();
        works.pass(1min);
        CHECK(works.client.client().cancel(id) == CancelResult::requested);
        returns = true;
        works.pass(1min);
        CHECK(works.status(id) == TaskStatus::cancelled);
    }
    SECTION("it is cancelled while it runs") {
        works.version = [&](Flow& flow) {
            begin(flow);
            release(flow);
            if (!std::exchange(first, false)) return flow.sleep("a day", 24h);
            works.client.client().cancel(flow.context().task_id());
            throw std::runtime_error("it was asked to stop");
        };
        const TaskId id = works.add();
        works.pass(1min);
        CHECK(works.status(id) == TaskStatus::cancelled);
    }
    SECTION("it has failed") {
        works.version = [&](Flow& flow) {
            begin(flow);
            release(flow);
            flow.step("ship", {.max_attempts = 1}, [] { throw std::runtime_error("no ship"); });
        };
        const TaskId id = works.add();
        works.pass(1min);
        CHECK(works.status(id) == TaskStatus::failed);
    }
    CHECK(works.did == Texts{"release", "release", "refund"});
}

TEST_CASE("Flow: one that is to undo, and throws where it would go on, undoes at once") {
    Works works;
    works.version = [&](Flow& flow) {
        flow.step("charge", [] {});
        flow.undo("refund", [&] { works.did.push_back("refund"); });
        try {
            flow.sleep("a day", 24h);
            flow.step("ship", [] {});
        } catch (...) {
            works.did.push_back("run");
            throw std::runtime_error("a suspension must not be caught");
        }
    };
    const TaskId id = works.add();
    works.pass(1s);
    CHECK(works.client.client().cancel(id) == CancelResult::requested);
    works.pass(1s);
    CHECK(works.did == Texts{"run", "run", "refund"});
    CHECK(works.status(id) == TaskStatus::cancelled);
}

TEST_CASE(
    "Flow: one that throws each time before it comes to where it was ends with its attempts, and undoes the rest") {
    Works works;
    works.version = [&](Flow& flow) {
        flow.step("charge", [] {});
        flow.undo("refund", [&] { works.did.push_back("refund"); });
        if (!works.did.empty()) {
            works.did.push_back("run");
            throw std::runtime_error("the new version is wrong");
        }
        flow.undo("release", [&] { works.did.push_back("release"); });
        flow.sleep("a day", 24h);
    };
    const TaskId id = works.add();
    works.pass(1min);
    works.did = {"cancelled"};
    CHECK(works.client.client().cancel(id) == CancelResult::requested);
    works.pass(1min);
    CHECK(works.did == Texts{"cancelled", "run", "run", "run", "refund"});
    CHECK(works.status(id) == TaskStatus::cancelled);
}

TEST_CASE("Flow: one that has no memory on its last attempt is undone as any other") {
    Works works;
    works.version = [&](Flow& flow) {
        flow.undo("release", [&] { works.did.push_back("release"); });
        flow.undo("refund", {.max_attempts = 2, .backoff = 1s}, [&] {
            works.did.push_back("refund");
            if (works.did.size() < 3) throw std::bad_alloc();
        });
        flow.undo("hopeless", {.max_attempts = 1}, [&] {
            works.did.push_back("hopeless");
            throw std::bad_alloc();
        });
        throw std::bad_alloc();
    };
    const TaskId id = works.add();
    const auto drained = works.pass(1min);
    CHECK(works.did == Texts{"hopeless", "refund", "refund", "release"});
    CHECK(works.status(id) == TaskStatus::failed);
    CHECK(drained.count(Ending::retried) == 2);
    REQUIRE_FALSE(drained.empty());
    CHECK(contains(drained.attempts.back().error, "bad_alloc; undo \"hopeless\" failed too"));
}

TEST_CASE("Flow: an undo that cannot even begin holds up no other") {
    Works works;
    Texts errors;
    works.version = [&](Flow& flow) {
        flow.undo("release", [&] { works.did.push_back("release"); });
        const auto misuse = [&](const StepOptions& options) {
            errors.push_back(message_of<ConfigError>([&] { flow.undo("refund", options, [] {}); }));
        };
        misuse({.max_attempts = 0});
        misuse({.timeout = -1ms});
        flow.undo("damaged", [&] { works.did.push_back("damaged"); });
        flow.step("ship", {.max_attempts = 1}, [] { throw std::runtime_error("no ship"); });
    };
    const TaskId id = works.add();
    SQLite::Database db(works.file(), SQLite::OPEN_READWRITE, 5'000);
    SQLite::Statement damage(db,
                             "INSERT INTO backlite_saved (task, name, at, value) VALUES (?, ?, 0, CAST('{}' AS BLOB))");
    damage.bind(1, id.str());
    damage.bind(2, "backlite:flow:undo:damaged#1");
    REQUIRE(damage.exec() == 1);
    const auto drained = works.pass(1min);
    CHECK(works.did == Texts{"release"});
    REQUIRE(errors.size() == 2);
    CHECK(contains(errors[0], "queue \"job\": step \"refund\": max_attempts is 0"));
    CHECK(contains(errors[1], "timeout -1 ms"));
    CHECK(works.status(id) == TaskStatus::failed);
    REQUIRE(drained.size() == 1);
    CHECK(contains(drained.attempts[0].error,
                   "no ship; undo \"damaged\" failed too: queue \"job\": step \"damaged\" (occurrence 1): what is kept "
                   "of it cannot be read as a time: the record is damaged"));
}

TEST_CASE("Flow: a file that cannot be read for a while spends no attempt, and undoes nothing") {
    Works works(TestClientConfig{.client = {.busy_timeout = 50ms}});
    works.client.register_queue<Bit>([](const Bit&) {});
    SQLite::Database other(works.file(), SQLite::OPEN_READWRITE, 5'000);
    other.exec("PRAGMA legacy_alter_table = ON");
    bool holds = true;
    const auto without = [&](const std::string& table, const std::function<void()>& call) {
        if (!holds) return call();
        const std::string away = table + "_away";
        other.exec("ALTER TABLE " + table + " RENAME TO " + away);
        const auto back = [&] { other.exec("ALTER TABLE " + away + " RENAME TO " + table); };
        const Guard<decltype(back)> guard{back};
        holds = false;
        call();
    };
    const auto map = [](Flow& flow) { flow.map("bits", std::vector<Bit>{{1}, {2}}); };
    std::function<void(Flow&)> part;
    works.version = [&](Flow& flow) {
        flow.undo("release", [&] { works.did.push_back("release"); });
        part(flow);
        works.did.push_back("attempt " + std::to_string(flow.context().attempt()));
    };
    SECTION("it waits for a signal") {
        part = [&](Flow& flow) { without("backlite_saved", [&] { static_cast<void>(flow.wait<int>("ball", 1s)); }); };
    }
    int runs = 0;
    SECTION("its children have ended") {
        part = [&](Flow& flow) {
            if (++runs == 1) return map(flow);
            without("backlite_edges", [&] { map(flow); });
        };
    }
    SECTION("it reads what they have returned") {
        part = [&](Flow& flow) {
            if (++runs < 3) {
                map(flow);
            } else {
                without("backlite_saved", [&] { map(flow); });
            }
            flow.sleep("end", 1s);
        };
    }
    const TaskId id = works.add();
    works.pass(4s);  // the queue's backoff is longer
    CHECK_FALSE(holds);
    CHECK(works.did == Texts{"attempt 1"});
    CHECK(works.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: children that cannot be cancelled for a while are cancelled before anything is undone") {
    Works works(TestClientConfig{.client = {.busy_timeout = 50ms}});
    works.client.register_queue<Bit>([](const Bit&) { return Outcome::snooze(1h); });
    SQLite::Database other(works.file(), SQLite::OPEN_READWRITE, 5'000);
    bool busy = false;
    works.version = [&](Flow& flow) {
        flow.undo("release", [&] {
            works.did.push_back(
                other.execAndGet("SELECT count(*) FROM backlite_tasks WHERE queue = 'bit'").getString());
        });
        const bool holds = std::exchange(busy, false);
        if (holds) other.exec("BEGIN IMMEDIATE");
        const auto end = [&] {
            if (holds) other.exec("ROLLBACK");
        };
        const Guard<decltype(end)> guard{end};
        flow.map("bits", std::vector<Bit>{{1}, {2}});
    };
    const TaskId id = works.add();
    works.client.drain();
    CHECK(works.client.client().cancel(id) == CancelResult::requested);
    busy = true;
    works.pass(4s);
    CHECK_FALSE(busy);
    CHECK(works.did == Texts{"0"});
    CHECK(works.status(id) == TaskStatus::cancelled);
}

}  // namespace flow_guards_test
