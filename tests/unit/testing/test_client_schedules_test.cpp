// SPDX-License-Identifier: MIT
// Schedules by a clock that the test moves.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/schedule.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <recording_logger.hpp>

namespace test_client_schedules_test {

using namespace backlite;
using namespace std::chrono_literals;
using testing::TestClient;

constexpr TimePoint midnight{std::chrono::hours{24 * 18'262}};  // 2020-01-01, a Wednesday

struct Sweep {
    std::string room{};
    static QueueConfig config() { return {.name = "sweeps"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sweep, room)

/// A client whose sweeps are noted with the time since midnight.
struct House {
    TestClient client{{.start = midnight}};
    std::vector<std::pair<std::string, Duration>> swept{};

    House() {
        client.register_queue<Sweep>([this](const Sweep& sweep) { swept.emplace_back(sweep.room, now()); });
    }
    [[nodiscard]] Duration now() { return std::chrono::floor<Duration>(client.clock().now() - midnight); }
    void until(Duration time) { static_cast<void>(client.drain_until(midnight + time)); }
    [[nodiscard]] std::vector<Duration> times() const {
        std::vector<Duration> all;
        for (const auto& each : swept) all.push_back(each.second);
        return all;
    }
};
using Times = std::vector<Duration>;

TEST_CASE("TestClient: a schedule adds its task at each slot, by the calendar and in equal steps") {
    House house;
    const ClientHandle& client = house.client.client();
    CHECK(client.schedule({.name = "nightly", .when = Cron{"0 3 * * *"}}, Sweep{"hall"}));
    CHECK(client.schedule({.name = "often", .when = Every{10h}}, Sweep{"desk"}));
    house.until(24h + 3h);
    CHECK(house.swept ==
          std::vector<std::pair<std::string, Duration>>{{"hall", 3h}, {"desk", 10h}, {"desk", 20h}, {"hall", 27h}});
}

TEST_CASE("TestClient: of slots that the clock passed over at once the latest runs") {
    House house;
    house.client.client().schedule({.name = "hourly", .when = Cron{"0 * * * *"}}, Sweep{});
    house.client.clock().advance(5h + 30min);
    CHECK(house.client.drain().size() == 1);
    house.until(6h);
    CHECK(house.times() == Times{5h + 30min, 6h});
}

TEST_CASE("TestClient: a schedule that is paused adds nothing, and what it missed stays undone") {
    House house;
    const ClientHandle& client = house.client.client();
    client.schedule({.name = "hourly", .when = Every{1h}}, Sweep{});
    CHECK(client.pause_schedule("hourly"));
    CHECK_FALSE(client.schedules().front().next);
    house.until(2h + 30min);
    CHECK(house.swept.empty());
    CHECK(client.resume_schedule("hourly"));
    CHECK(client.schedules().front().next == midnight + 3h);
    house.until(4h);
    CHECK(house.times() == Times{3h, 4h});
}

TEST_CASE("TestClient: a run by hand is beside the slots") {
    House house;
    const ClientHandle& client = house.client.client();
    client.schedule({.name = "hourly", .when = Every{1h}}, Sweep{});
    house.client.clock().advance(10min);
    const std::optional<TaskId> id = client.run_schedule("hourly");
    REQUIRE(id);
    CHECK(client.schedules().front().last_task == id);
    CHECK(client.schedules().front().last == midnight + 10min);
    house.until(1h);
    CHECK(house.times() == Times{10min, 1h});
}

TEST_CASE("TestClient: jitter starts a task after its slot, and never later than it says") {
    House house;
    house.client.client().schedule({.name = "hourly", .when = Every{1h}, .jitter = 10min}, Sweep{});
    house.until(50h + 10min);
    REQUIRE(house.swept.size() == 50);
    std::size_t later = 0;
    for (std::size_t i = 0; i < 50; ++i) {
        const Duration since = house.swept[i].second - 1h * static_cast<int>(i + 1);
        CHECK(since >= 0ms);
        CHECK(since <= 10min);
        if (since > 1min) ++later;
    }
    CHECK(later > 20);
}

TEST_CASE("TestClient: a clock that is set back and ahead runs no slot twice and leaves none out for good") {
    House house;
    const ClientHandle& client = house.client.client();
    client.schedule({.name = "hourly", .when = Cron{"0 * * * *"}}, Sweep{});
    house.until(3h + 10min);
    house.client.clock().jump(-2h);  // 01:10: two and three have run
    house.until(4h + 10min);
    CHECK(house.times() == Times{1h, 2h, 3h, 4h});
    house.client.clock().jump(24h * 365);  // a wrong clock: the latest of all those runs
    CHECK(house.client.drain().size() == 1);
    house.client.clock().jump(-24h * 365);
    house.until(6h);
    CHECK(house.times() == Times{1h, 2h, 3h, 4h, 4h + 10min + 24h * 365, 5h, 6h});
}

TEST_CASE("TestClient: a schedule that was made while the clock was ahead runs by the right clock") {
    House house;
    house.client.clock().jump(24h * 365);
    static_cast<void>(house.client.drain());
    house.client.client().schedule({.name = "cron", .when = Cron{"0 * * * *"}}, Sweep{"cron"});
    house.client.client().schedule({.name = "every", .when = Every{1h}}, Sweep{"every"});
    static_cast<void>(house.client.drain());
    house.client.clock().jump(-24h * 365);
    house.until(2h + 30min);
    CHECK(house.swept.size() >= 4);
}

}  // namespace test_client_schedules_test
