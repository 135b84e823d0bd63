// SPDX-License-Identifier: MIT
// What Admin shows of a flow: its steps, and the signals that it has not read.

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>

namespace flow_steps_test {

using namespace backlite;
using namespace std::chrono_literals;
using testing::TestClient;

struct Order {
    std::string id{};
    static QueueConfig config() {
        return {.name = "order", .retention = Retention{.duration = 1h, .data = RetainData{}}};
    }
};
struct Part {
    int number = 0;
    static QueueConfig config() { return {.name = "part"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, id)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Part, number)

[[nodiscard]] std::string text_of(const StepRecord& step) {
    return step.kind + " " + step.name + " " + std::to_string(step.occurrence) + " " +
           std::string{to_string(step.state)} + " " + step.value + step.error +
           (step.tasks > 0 ? std::to_string(step.tasks) : "");
}

/// A flow that comes to each kind of step, and stays at its last one.
struct Office {
    Office() {
        client.register_flow<Order>([](Flow& flow, const Order& order) {
            flow.context().save("own", 1);
            flow.undo("give back", [] {});
            flow.step("z", [] { return 7; });
            flow.step("a: b#c", [] {});
            flow.step("z", [] { return std::string{"seven"}; });
            flow.sleep("short", 1s);
            if (order.id == "sleeps") flow.sleep("long", 1h);
            if (order.id == "waits") static_cast<void>(flow.wait<int>("packed", 1h));
            if (order.id == "joins") flow.map("parts", std::vector<Part>{{1}, {2}});
            if (order.id == "fails") flow.step("bad", {.max_attempts = 1}, [] { throw std::runtime_error("no"); });
            flow.step("retries", {.max_attempts = 9, .backoff = 1min}, [] { throw std::runtime_error("not yet"); });
        });
    }
    /// What its steps are, behind those that all have.
    [[nodiscard]] std::vector<StepRecord> steps(const std::string& name) {
        id = client.add(Order{name}).save().front();
        client.drain_until(client.clock().now() + 2s);
        std::vector<StepRecord> all = admin.task(id).value().steps;
        REQUIRE(all.size() >= 4);
        CHECK(text_of(all[0]) == "step z 1 returned 7");
        CHECK(text_of(all[1]) == "step a: b#c 1 returned ");
        CHECK(text_of(all[2]) == "step z 2 returned \"seven\"");
        CHECK(text_of(all[3]) == "sleep short 1 returned ");
        all.erase(all.begin(), all.begin() + 4);
        return all;
    }

    TestClient client{};
    Admin admin{client.client()};
    TaskId id{};
};

TEST_CASE("Admin: a flow's steps are listed in their order, with what they returned or wait for") {
    Office office;
    const auto sleeps = office.steps("sleeps");
    REQUIRE(sleeps.size() == 1);
    CHECK(text_of(sleeps[0]) == "sleep long 1 sleeping ");
    CHECK(sleeps[0].until.value() > office.client.clock().now() + 59min);
    const auto details = office.admin.task(office.id).value();
    REQUIRE(details.saved.size() == 1);  // those of the library are no values of the task
    CHECK(details.saved[0].name == "own");

    const auto retries = office.steps("retries");
    REQUIRE(retries.size() == 1);
    CHECK(text_of(retries[0]) == "step retries 1 retrying not yet");
    CHECK(retries[0].failures == 1);

    const auto joins = office.steps("joins");
    REQUIRE(joins.size() == 1);
    CHECK(text_of(joins[0]) == "map parts 1 joining 2");
}

TEST_CASE("Admin: what a failed flow has come to is kept with it, and goes on when it is run again") {
    Office office;
    const auto fails = office.steps("fails");
    REQUIRE(fails.size() == 2);
    CHECK(text_of(fails[0]) == "step bad 1 failed no");
    CHECK(text_of(fails[1]) == "undo give back 1 returned ");
    CHECK(office.admin.retry(office.id).count == 1);
    CHECK(office.admin.task(office.id).value().steps.empty());  // it has undone something, and begins anew
}

TEST_CASE("Admin: signals are sent, listed until they are read, and then are what the wait returned") {
    Office office;
    auto waits = office.steps("waits");
    REQUIRE(waits.size() == 1);
    CHECK(text_of(waits[0]) == "wait packed 1 waiting ");
    for (int i = 1; i <= 2; ++i) CHECK(office.admin.signal(office.id, "packed", i) == SignalResult::sent);
    CHECK(office.admin.signal(office.id, "other", nlohmann::json{{"a", 1}}) == SignalResult::sent);
    auto details = office.admin.task(office.id).value();
    REQUIRE(details.unread.size() == 3);
    CHECK(details.unread[0].name == "packed");
    CHECK(details.unread[0].value == "1");
    CHECK(details.unread[2].name == "other");
    CHECK(details.unread[2].value == "{\"a\":1}");
    CHECK(details.unread[2].sent == office.client.clock().now());
    office.client.drain();
    details = office.admin.task(office.id).value();
    CHECK(details.unread.size() == 2);
    REQUIRE(details.steps.size() == 6);
    CHECK(text_of(details.steps[4]) == "wait packed 1 returned 1");

    static_cast<void>(office.steps("waits"));
    office.client.drain_until(office.client.clock().now() + 61min);
    CHECK(text_of(office.admin.task(office.id).value().steps.at(4)) == "wait packed 1 timed out ");
}

}  // namespace flow_steps_test
