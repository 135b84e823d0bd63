// SPDX-License-Identifier: MIT
// Flows: steps, sleeps, signals and undos, with a clock that stands still.

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace flow_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::contains;
using backlite_test::message_of;
using testing::Ending;
using testing::TestClient;
using Texts = std::vector<std::string>;

struct Label {
    std::string url{};
};
struct Packed {
    std::string tracking{};
};
struct Order {
    std::string id{};
    using Result = Label;
    static QueueConfig config() {
        return {.name = "order",
                .max_attempts = 3,
                .backoff = 5s,
                .retention = Retention{.duration = 1h, .data = RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Label, url)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Packed, tracking)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, id)

/// A client with one queue of flows, and what they did.
class Shop {
public:
    template <class F>
    explicit Shop(F flow) {
        client.register_flow<Order>(std::move(flow));
    }

    TaskId add(const std::string& id = "1") { return client.add(Order{id}).save().front(); }
    [[nodiscard]] TaskStatus status(const TaskId& id) const { return client.client().status(id); }

    void note(std::string text) { did.push_back(std::move(text)); }

    TestClient client{};
    Texts did{};
};

TEST_CASE("Flow: a step that returned is not run again, and gives what it returned") {
    Texts did;
    int attempts = 0;
    Shop shop([&](Flow& flow, const Order& order) -> Label {
        const auto ref = flow.step("charge", [&] {
            did.push_back("charge");
            return std::string{"pay-"} + order.id;
        });
        flow.step("mail", [&] { did.push_back("mail"); });
        if (++attempts < 3) throw std::runtime_error("between two steps");
        return flow.step("label", [&] {
            did.push_back("label");
            return Label{ref};
        });
    });
    const TaskId id = shop.add("7");
    const auto drained = shop.client.drain_until(shop.client.clock().now() + 1min);
    CHECK(did == Texts{"charge", "mail", "label"});
    CHECK(attempts == 3);
    CHECK(drained.count(Ending::retried) == 2);
    CHECK(shop.status(id) == TaskStatus::succeeded);
    CHECK(shop.client.client().result<Order>(id)->url == "pay-7");
}

TEST_CASE("Flow: a step is known by its name and its occurrence, and not by its place") {
    int version = 1;
    Texts did;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        const auto run = [&](const char* name, const std::string& value) {
            return flow.step(name, [&] {
                did.push_back(value);
                return value;
            });
        };
        if (version == 1) {
            run("a", "a1");
            run("b", "b1");
            run("a", "a2");
            throw std::runtime_error("the program is replaced");
        }
        CHECK(run("new", "new1") == "new1");
        CHECK(run("b", "other") == "b1");
        CHECK(run("a", "other") == "a1");
        CHECK(run("a", "other") == "a2");
        CHECK(run("a", "a3") == "a3");
        return {};
    });
    const TaskId id = shop.add();
    shop.client.drain();
    version = 2;
    shop.client.drain_until(shop.client.clock().now() + 1min);
    CHECK(did == Texts{"a1", "b1", "a2", "new1", "a3"});
    CHECK(shop.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: a step has attempts and a backoff of its own, and spends none of the queue's") {
    int tries = 0;
    std::vector<TimePoint> times;
    Shop* it = nullptr;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        flow.step("charge", {.max_attempts = 5, .backoff = 10s}, [&] {
            times.push_back(it->client.clock().now());
            if (++tries < 5) throw std::runtime_error("no answer");
        });
        CHECK(flow.context().attempt() == 1);
        return {};
    });
    it = &shop;
    const TaskId id = shop.add();
    shop.client.drain_until(shop.client.clock().now() + 1min);
    REQUIRE(tries == 5);
    CHECK(times[4] - times[0] == 40s);
    CHECK(shop.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: a step that failed for good throws each time, runs the undos backwards, and ends the task") {
    Texts did;
    bool caught = false;
    Shop shop([&](Flow& flow, const Order& order) -> Label {
        flow.step("reserve", [&] { did.push_back("reserve"); });
        flow.undo("release", [&] { did.push_back("release"); });
        flow.step("charge", [&] { did.push_back("charge"); });
        flow.undo("refund", [&] { did.push_back("refund"); });
        if (order.id == "caught") {
            try {
                flow.step("ship", {.max_attempts = 2, .backoff = 1s}, [&] { throw std::runtime_error("no ship"); });
            } catch (const StepFailed& error) {
                caught = true;
                CHECK(error.step() == "ship");
                CHECK(error.occurrence() == 1);
            }
            flow.sleep("a while", 1s);
            return {};
        }
        flow.step("ship", {.max_attempts = 2, .backoff = 1s}, [&] { throw std::runtime_error("no ship"); });
        return {};
    });
    SECTION("it leaves the flow") {
        const TaskId id = shop.add();
        const auto drained = shop.client.drain_until(shop.client.clock().now() + 1min);
        CHECK(did == Texts{"reserve", "charge", "refund", "release"});
        CHECK(shop.status(id) == TaskStatus::failed);
        REQUIRE_FALSE(drained.empty());
        CHECK(drained.attempts.back().ending == Ending::discarded);
        CHECK(drained.attempts.back().error == "step \"ship\" (occurrence 1) has failed: no ship");
    }
    SECTION("it is caught") {
        const TaskId id = shop.add("caught");
        shop.client.drain_until(shop.client.clock().now() + 1min);
        CHECK(did == Texts{"reserve", "charge"});
        CHECK(caught);
        CHECK(shop.status(id) == TaskStatus::succeeded);
    }
}

TEST_CASE("Flow: the last attempt of the queue runs the undos too, and a failing undo holds up no other") {
    Texts did;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        flow.undo("first", [&] { did.push_back("first"); });
        flow.undo("second", {.max_attempts = 2, .backoff = 1s}, [&] {
            did.push_back("second");
            throw std::runtime_error("cannot");
        });
        flow.step("a", [&] { did.push_back("a"); });
        throw std::runtime_error("no step");
    });
    const TaskId id = shop.add();
    const auto drained = shop.client.drain_until(shop.client.clock().now() + 1min);
    CHECK(did == Texts{"a", "second", "second", "first"});
    CHECK(shop.status(id) == TaskStatus::failed);
    CHECK(drained.attempts.back().error ==
          "no step; undo \"second\" failed too: step \"second\" (occurrence 1) has failed: cannot");
}

TEST_CASE("Flow: a sleep gives the worker back, lasts over restarts of the function, and is over once") {
    int runs = 0;
    std::optional<TimePoint> woke;
    Shop* it = nullptr;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        ++runs;
        flow.sleep("cool off", 24h);
        if (!woke) woke = it->client.clock().now();
        flow.sleep("none", 0s);
        flow.step("fails once", {.max_attempts = 2, .backoff = 1s}, [&] {
            if (runs == 2) throw std::runtime_error("once");
        });
        return {};
    });
    it = &shop;
    const TimePoint start = shop.client.clock().now();
    const TaskId id = shop.add();
    shop.client.drain();
    CHECK(runs == 1);
    CHECK(shop.status(id) == TaskStatus::pending);
    shop.client.drain_until(start + 24h - 1ms);
    CHECK(runs == 1);
    shop.client.drain_until(start + 25h);
    CHECK(runs == 3);
    REQUIRE(woke);
    CHECK(*woke == start + 24h);
    CHECK(shop.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: neither a catch nor what the function returns undoes a suspension") {
    Texts did;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        try {
            flow.sleep("cool off", 1h);
        } catch (...) {
            did.push_back("caught");
        }
        try {
            flow.step("too early", [&] { did.push_back("too early"); });
        } catch (...) {
            did.push_back("again");
            return Label{"wrong"};
        }
        did.push_back("after");
        return Label{"right"};
    });
    const TaskId id = shop.add();
    shop.client.drain();
    CHECK(did == Texts{"caught", "again"});
    CHECK(shop.status(id) == TaskStatus::pending);
    shop.client.drain_until(shop.client.clock().now() + 90min);
    CHECK(did == Texts{"caught", "again", "too early", "after"});
    CHECK(shop.client.client().result<Order>(id)->url == "right");
}

TEST_CASE("Flow: signals are kept from the start, read once each in their order, and end a wait at once") {
    Texts got;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        for (int i = 0; i < 3; ++i) {
            const auto packed = flow.wait<Packed>("packed", 48h);
            flow.step("note", [&] { got.push_back(packed ? packed->tracking : "nothing"); });
        }
        return {};
    });
    const TaskId id = shop.add();
    const ClientHandle& client = shop.client.client();
    CHECK(client.signal(id, "packed", Packed{"early"}) == SignalResult::sent);
    CHECK(client.signal(id, "other", Packed{"other"}) == SignalResult::sent);
    shop.client.drain();
    CHECK(got == Texts{"early"});
    CHECK(shop.status(id) == TaskStatus::pending);
    CHECK(client.signal(id, "pack", Packed{"of a name that begins alike"}) == SignalResult::sent);
    CHECK(shop.client.drain().empty());
    CHECK(client.signal(id, "packed", Packed{"now"}) == SignalResult::sent);
    shop.client.drain();
    CHECK(got == Texts{"early", "now"});
    const TimePoint start = shop.client.clock().now();
    shop.client.drain_until(start + 48h - 1ms);
    CHECK(got.size() == 2);
    shop.client.drain_until(start + 48h);
    CHECK(got == Texts{"early", "now", "nothing"});
    CHECK(client.signal(id, "packed", Packed{"late"}) == SignalResult::finished);
    CHECK(client.signal(TaskId::from_text("nobody"), "packed", Packed{}) == SignalResult::not_found);
}

TEST_CASE("Flow: a cancel wakes it for its undos, whatever it waits for, and then it has ended as cancelled") {
    Texts did;
    Shop shop([&](Flow& flow, const Order& order) -> Label {
        if (order.id == "not begun") flow.sleep("before", 0s);
        flow.step("charge", [&] { did.push_back("charge"); });
        flow.undo("refund", {.max_attempts = 3, .backoff = 1s}, [&] {
            did.push_back("refund");
            if (order.id == "hard" && did.size() < 4) throw std::runtime_error("not yet");
        });
        flow.sleep("a day", 24h);
        flow.step("ship", [&] { did.push_back("ship"); });
        return {};
    });
    SECTION("it sleeps") {
        const TaskId id = shop.add();
        shop.client.drain();
        CHECK(shop.client.client().cancel(id) == CancelResult::requested);
        shop.client.drain();
        CHECK(did == Texts{"charge", "refund"});
        CHECK(shop.status(id) == TaskStatus::cancelled);
    }
    SECTION("an undo needs several attempts") {
        const TaskId id = shop.add("hard");
        shop.client.drain();
        CHECK(shop.client.client().cancel(id) == CancelResult::requested);
        CHECK(shop.client.client().cancel(id) == CancelResult::requested);
        shop.client.drain_until(shop.client.clock().now() + 1min);
        CHECK(did == Texts{"charge", "refund", "refund", "refund"});
        CHECK(shop.status(id) == TaskStatus::cancelled);
    }
    SECTION("it has not begun") {
        const TaskId id = shop.add("not begun");
        CHECK(shop.client.client().cancel(id) == CancelResult::cancelled);
        CHECK(shop.client.drain().empty());
    }
    CHECK(shop.client.drain_until(shop.client.clock().now() + 48h).count(Ending::succeeded) == 0);
}

TEST_CASE("Flow: a failed one that is kept with its payload tells nothing of its failure to the next run") {
    Shop shop([](Flow& flow, const Order&) -> Label {
        flow.step("good", [] {});
        flow.step("bad", {.max_attempts = 1}, [] { throw std::runtime_error("bad"); });
        return {};
    });
    const TaskId id = shop.add();
    shop.client.drain();
    REQUIRE(shop.status(id) == TaskStatus::failed);
    // What Admin::retry needs is left.
}

TEST_CASE("Flow: a value that this program cannot read fails with step, occurrence and type") {
    bool second = false;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        if (!second) {
            flow.step("count", [] { return std::string{"seven"}; });
            throw std::runtime_error("replaced");
        }
        static_cast<void>(flow.step("count", [] { return 7; }));
        return {};
    });
    shop.add();
    shop.client.drain();
    second = true;
    const auto drained = shop.client.drain_until(shop.client.clock().now() + 5s);
    REQUIRE(drained.size() == 1);
    CHECK(contains(drained.attempts.back().error,
                   "queue \"order\": step \"count\" (occurrence 1): what is kept of it cannot be read as int: "));
}

TEST_CASE("Flow: misuse is a UsageError that names the step") {
    Texts errors;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        const auto misuse = [&](auto&& call) { errors.push_back(message_of<UsageError>(call)); };
        misuse([&] { flow.step("", [] {}); });
        misuse([&] { flow.step(std::string(201, 'x'), [] {}); });
        misuse([&] { flow.step("a\nb", [] {}); });
        std::thread([&] { misuse([&] { flow.step("elsewhere", [] {}); }); }).join();
        flow.step("outer", [&] { misuse([&] { flow.step("inner", [] {}); }); });
        misuse([&] { throw UsageError(message_of<ConfigError>([&] { flow.sleep("long", -1s); })); });
        return {};
    });
    const TaskId id = shop.add();
    shop.client.drain();
    REQUIRE(errors.size() == 6);
    CHECK(errors[0] == "queue \"order\": Flow::step \"\": the name is empty");
    CHECK(contains(errors[1], "has 201 bytes, more than 200"));
    CHECK(contains(errors[2], "holds a control character"));
    CHECK(errors[3] == "queue \"order\": Flow::step \"elsewhere\": called on another thread than the flow's");
    CHECK(errors[4] == "queue \"order\": Flow::step \"inner\": called inside of step \"outer\"");
    CHECK(contains(errors[5], "-1000 ms is negative or too long"));
    CHECK(shop.status(id) == TaskStatus::succeeded);
    CHECK_THROWS_AS(shop.client.client().signal(id, "", 1), UsageError);
    CHECK_THROWS_AS(shop.client.client().signal(id, "s", std::string("\xff")), EncodeError);
}

TEST_CASE("Flow: the key of a step is the same each time, and no other's") {
    Texts keys;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        for (int i = 0; i < 2; ++i) {
            flow.step("charge", {.max_attempts = 2, .backoff = 1s}, [&] {
                keys.push_back(flow.key());
                if (keys.size() == 1) throw std::runtime_error("once more");
            });
        }
        keys.push_back(flow.key());
        return {};
    });
    const TaskId id = shop.add();
    shop.client.drain_until(shop.client.clock().now() + 1min);
    CHECK(keys ==
          Texts{id.str() + "/step:charge#1", id.str() + "/step:charge#1", id.str() + "/step:charge#2", id.str()});
}

struct Part {
    int number = 0;
    using Result = int;
    static QueueConfig config() { return {.name = "part", .max_attempts = 2, .backoff = 1s}; }  // it keeps nothing
};
struct Chore {
    int number = 0;
    static QueueConfig config() { return {.name = "chore", .unique = {.conflict = Conflict::keep}}; }
    [[nodiscard]] std::string unique_key() const { return "one"; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Part, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Chore, number)

TEST_CASE("Flow: map adds tasks, and gives what each returned in their order, once all have ended") {
    int runs = 0;
    std::vector<int> results;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        ++runs;
        std::vector<Part> parts;
        for (int i = 0; i < 2'500; ++i) parts.push_back({i});
        CHECK(flow.map("none", std::vector<Part>{}).empty());
        results = flow.map("parts", parts);
        flow.step("after", [] {});
        if (runs == 2) throw std::runtime_error("read them once more");
        flow.map("chores", std::vector<Chore>{{1}, {2}});
        return Label{std::to_string(results.size())};
    });
    int parts = 0;
    int chores = 0;
    shop.client.register_queue<Part>([&](const Part& part) {
        if (++parts == 10) throw std::runtime_error("once");
        return part.number * 3;
    });
    shop.client.register_queue<Chore>([&](const Chore&) { ++chores; });
    const TaskId id = shop.add();
    shop.client.drain();
    CHECK(shop.status(id) == TaskStatus::pending);  // one part waits for its second attempt
    CHECK(runs == 1);
    shop.client.drain_until(shop.client.clock().now() + 1min);
    CHECK(shop.client.client().result<Order>(id)->url == "2500");
    CHECK(runs == 4);  // to add, to go on, after the failure, after the chores
    CHECK(parts == 2'501);
    CHECK(chores == 2);
    REQUIRE(results.size() == 2'500);
    CHECK(results[7] == 21);
    CHECK(results[2'499] == 7'497);
}

TEST_CASE(
    "Flow: children that did not succeed are named once all have ended, and fail the flow unless it catches that") {
    Texts seen;
    Shop shop([&](Flow& flow, const Order& order) -> Label {
        flow.undo("undo", [&] { seen.push_back("undone"); });
        try {
            static_cast<void>(flow.map("parts", std::vector<Part>{{1}, {2}, {3}}));
        } catch (const ChildrenFailed& error) {
            for (const FailedChild& child : error.children()) seen.push_back(child.error);
            CHECK(error.step() == "parts");
            if (order.id != "caught") throw;
        }
        return {};
    });
    shop.client.register_queue<Part>([&](const Part& part) -> int {
        if (part.number != 2) throw std::runtime_error("bad " + std::to_string(part.number));
        return 0;
    });
    const TaskId caught = shop.add("caught");
    shop.client.drain_until(shop.client.clock().now() + 10s);
    CHECK(shop.status(caught) == TaskStatus::succeeded);
    CHECK(seen == Texts{"bad 1", "bad 3"});
    seen.clear();
    const TaskId id = shop.add();
    shop.client.drain_until(shop.client.clock().now() + 10s);
    CHECK(shop.status(id) == TaskStatus::failed);
    CHECK(seen == Texts{"bad 1", "bad 3", "undone"});
}

TEST_CASE("Flow: a cancel while its children wait cancels them, and then it has ended") {
    Texts seen;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        flow.undo("undo", [&] { seen.push_back("undone"); });
        static_cast<void>(flow.map("parts", std::vector<Part>{{1}, {2}}));
        return {};
    });
    shop.client.register_queue<Part>([&](const Part& part) -> Outcome {
        seen.push_back(std::to_string(part.number));
        return Outcome::snooze(1h);
    });
    const TaskId id = shop.add();
    shop.client.drain();
    CHECK(shop.client.client().cancel(id) == CancelResult::requested);
    shop.client.drain_until(shop.client.clock().now() + 1s);
    CHECK(shop.status(id) == TaskStatus::cancelled);
    CHECK(seen == Texts{"1", "2", "undone"});
    CHECK(shop.client.client().counts().empty());
}

TEST_CASE("Flow: a child that somebody deletes or finishes by SQL ends the wait, and is named as gone") {
    Texts seen;
    Shop shop([&](Flow& flow, const Order&) -> Label {
        try {
            static_cast<void>(flow.map("parts", std::vector<Part>{{1}, {2}}));
        } catch (const ChildrenFailed& error) {
            for (const FailedChild& child : error.children()) seen.push_back(child.error);
        }
        return {};
    });
    const TaskId id = shop.add();  // nobody has registered the queue of the parts
    shop.client.drain();
    SQLite::Database db(shop.client.client().config().database, SQLite::OPEN_READWRITE, 5'000);
    REQUIRE(db.exec("DELETE FROM backlite_tasks WHERE queue = 'part'") == 2);
    shop.client.drain_until(shop.client.clock().now() + 1min);
    CHECK(seen == Texts{"what task 0 returned is gone", "what task 1 returned is gone"});
    CHECK(shop.status(id) == TaskStatus::succeeded);
}

}  // namespace flow_test
