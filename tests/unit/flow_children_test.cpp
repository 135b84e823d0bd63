// SPDX-License-Identifier: MIT
// What becomes of a flow whose children are cancelled, deleted, purged, run by nobody, or flows themselves.

#include <chrono>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace flow_children_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::contains;
using testing::TestClient;
using testing::TestClientConfig;
using Texts = std::vector<std::string>;

struct Album {
    std::string name{};
    static QueueConfig config() {
        return {.name = "album", .retention = Retention{.duration = 10h, .data = RetainData{}}};
    }
};
struct Photo {
    int number = 0;
    using Result = int;
    static QueueConfig config() { return {.name = "photo", .retention = Retention{.duration = 1min}}; }
};
struct Stamp {
    int number = 0;
    static QueueConfig config() { return {.name = "stamp"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Album, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Photo, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Stamp, number)

/// A flow that maps photos, and what was seen.
struct Studio {
    explicit Studio(const TestClientConfig& config = {}) : client(config) {
        client.register_flow<Album>([this](Flow& flow, const Album&) {
            ++runs;
            if (undoes) flow.undo("undo", [this] { seen.push_back("undone"); });
            try {
                for (const int result : flow.map("photos", photos)) seen.push_back(std::to_string(result));
            } catch (const ChildrenFailed& error) {
                for (const FailedChild& child : error.children()) seen.push_back(child.error);
                if (!catches) throw;
            }
        });
    }
    void register_photos() {
        client.register_queue<Photo>([this](const Photo& photo) { return develop(photo); });
    }
    [[nodiscard]] TaskId begin() {
        const TaskId id = client.add(Album{}).save().front();
        client.drain();
        return id;
    }
    [[nodiscard]] TaskStatus status(const TaskId& id) const { return client.client().status(id); }
    testing::Drained pass(Duration time) { return client.drain_until(client.clock().now() + time); }

    TestClient client;
    std::vector<Photo> photos{{1}, {2}, {3}};
    std::function<int(const Photo&)> develop = [](const Photo& photo) { return 10 * photo.number; };
    bool catches = false;
    bool undoes = true;
    int runs = 0;
    Texts seen{};
};

TEST_CASE("Flow: a child that is cancelled ends the wait with the others, and is named") {
    Studio studio;
    studio.catches = true;
    const TaskId id = studio.begin();
    const auto waiting = Admin(studio.client.client()).tasks({.queue = "photo"}).tasks;
    REQUIRE(waiting.size() == 3);
    CHECK(studio.client.client().cancel(waiting[1].id) == CancelResult::cancelled);
    studio.client.drain();
    CHECK(studio.runs == 1);  // the others are not over
    studio.register_photos();
    studio.client.drain();
    CHECK(studio.seen == Texts{"cancelled"});
    CHECK(studio.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: children that Admin deletes end the wait, and are named as gone") {
    Studio studio;
    studio.catches = true;
    const TaskId id = studio.begin();
    CHECK(Admin(studio.client.client()).remove({.queue = "photo"}).count == 3);
    studio.pass(1min);
    REQUIRE(studio.seen.size() == 3);
    CHECK(studio.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: what children returned is there for it although they are purged before the last one has ended") {
    Studio studio({.client = {.cleanup_interval = 1min}});
    studio.develop = [&](const Photo& photo) {
        if (photo.number == 3) throw std::runtime_error("not yet");
        return 10 * photo.number;
    };
    studio.register_photos();
    studio.photos.pop_back();
    studio.client.register_queue<Stamp>([](const Stamp&) {});
    const TaskId id = studio.begin();
    CHECK(studio.status(id) == TaskStatus::succeeded);
    CHECK(studio.seen == Texts{"10", "20"});
    studio.seen.clear();
    // Again, and the flow itself may not start for longer than they are kept.
    const Admin admin(studio.client.client());
    const TaskId second = studio.client.add(Album{}).save().front();
    studio.client.client().pause("photo");
    studio.client.drain();
    studio.client.client().pause("album");
    studio.client.client().resume("photo");
    studio.pass(1h);
    CHECK(admin.tasks({.queue = "photo"}).tasks.empty());
    studio.client.client().resume("album");
    studio.client.drain();
    CHECK(studio.seen == Texts{"10", "20"});
    CHECK(studio.status(second) == TaskStatus::succeeded);
}

TEST_CASE("Flow: children of a queue that nobody registered let it wait without running, and others go on") {
    Studio studio;
    studio.client.register_queue<Stamp>([&](const Stamp&) { studio.seen.push_back("stamp"); });
    const TaskId waits = studio.begin();
    const TaskId cancelled = studio.begin();
    studio.client.add(Stamp{}).save();
    CHECK(studio.pass(48h).size() == 1);
    CHECK(studio.runs == 2);
    CHECK(studio.seen == Texts{"stamp"});
    CHECK(studio.status(waits) == TaskStatus::pending);
    CHECK(studio.client.client().cancel(cancelled) == CancelResult::requested);
    studio.client.drain();
    CHECK(studio.status(cancelled) == TaskStatus::cancelled);
    CHECK(Admin(studio.client.client()).tasks({.queue = "photo", .state = TaskState::waiting}).tasks.size() == 3);
    studio.register_photos();
    studio.client.drain();
    CHECK(studio.seen == Texts{"stamp", "undone", "10", "20", "30"});
    CHECK(studio.status(waits) == TaskStatus::succeeded);
}

struct Root {
    int number = 0;
    using Result = int;
    static QueueConfig config() {
        return {.name = "root", .retention = Retention{.duration = 10h, .data = RetainData{}}};
    }
};
struct Branch {
    int number = 0;
    using Result = int;
    static QueueConfig config() { return {.name = "branch"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Root, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Branch, number)

TEST_CASE("Flow: children may be flows, whose cancel lets each undo what it has begun") {
    TestClient client;
    Texts seen;
    bool ends = true;
    client.register_flow<Root>([&](Flow& flow, const Root&) {
        flow.undo("root", [&] { seen.push_back("root undone"); });
        int sum = 0;
        for (const int one : flow.map("branches", std::vector<Branch>{{1}, {2}})) sum += one;
        seen.push_back(std::to_string(sum));
        return sum;
    });
    client.register_flow<Branch>([&](Flow& flow, const Branch& branch) {
        flow.undo("branch", [&] { seen.push_back("branch " + std::to_string(branch.number) + " undone"); });
        int sum = 0;
        for (const int one : flow.map("photos", std::vector<Photo>{{branch.number}, {10 * branch.number}})) sum += one;
        return sum;
    });
    client.register_queue<Photo>([&](Context&, const Photo& photo) -> Outcome {
        if (!ends) return Outcome::snooze(1h);
        return Outcome::success(photo.number);
    });
    client.add(Root{}).save();
    client.drain();
    CHECK(seen == Texts{"33"});
    seen.clear();
    ends = false;
    const TaskId id = client.add(Root{}).save().front();
    client.drain();
    CHECK(client.client().cancel(id) == CancelResult::requested);
    client.drain();
    CHECK(seen == Texts{"root undone", "branch 1 undone", "branch 2 undone"});
    CHECK(client.client().counts().empty());
}

TEST_CASE("Flow: one whose children failed is run again with all of them, also if it undid something") {
    Studio studio;
    bool good = false;
    int developed = 0;
    studio.develop = [&](const Photo& photo) {
        ++developed;
        if (photo.number == 2 && !good) throw std::runtime_error("blurred");
        return 10 * photo.number;
    };
    studio.register_photos();
    const Admin admin(studio.client.client());
    SECTION("with undos") {
        const TaskId id = studio.begin();
        CHECK(studio.status(id) == TaskStatus::failed);
        CHECK(studio.seen == Texts{"blurred", "undone"});
        good = true;
        CHECK(admin.retry(id).count == 1);
        studio.client.drain();
        CHECK(studio.seen == Texts{"blurred", "undone", "10", "20", "30"});
        CHECK(developed == 6);
        CHECK(studio.status(id) == TaskStatus::succeeded);
    }
    SECTION("without: what succeeded is not done again") {
        int picked = 0;
        studio.client.register_flow<Root>([&](Flow& flow, const Root&) {
            flow.step("pick", [&] { ++picked; });
            const std::vector<int> others = flow.map("good", std::vector<Photo>{{4}});
            return others[0] + flow.map("photos", studio.photos)[1];
        });
        const TaskId id = studio.client.add(Root{}).save().front();
        studio.client.drain();
        CHECK(studio.status(id) == TaskStatus::failed);
        CHECK(developed == 4);
        good = true;
        CHECK(admin.retry(id).count == 1);
        studio.client.drain();
        CHECK(studio.client.client().result<Root>(id) == 60);
        CHECK(developed == 7);
        CHECK(picked == 1);
    }
}

TEST_CASE("Flow: one that was cancelled while its children ran is run again with new ones, and hears only of these") {
    Studio studio;
    studio.photos.resize(1);
    SECTION("it has nothing to undo") { studio.undoes = false; }
    SECTION("it undoes something") {}
    const TaskId id = studio.begin();
    CHECK(studio.client.client().cancel(id) == CancelResult::requested);
    studio.client.drain();
    CHECK(studio.status(id) == TaskStatus::cancelled);
    // A child of before that does not heed the cancel, and runs on.
    const TaskId old = studio.client.add(Stamp{}).save().front();
    SQLite::Database db(studio.client.client().config().database, SQLite::OPEN_READWRITE, 5'000);
    db.exec("UPDATE backlite_tasks SET flags = flags | 2 WHERE id = '" + old.str() + "'");
    db.exec("INSERT INTO backlite_edges (parent, child, on_failure) VALUES ('" + old.str() + "', '" + id.str() +
            "', 16)");
    CHECK(Admin(studio.client.client()).retry(id).count == 1);
    studio.client.drain();
    CHECK(studio.runs == 3);
    studio.client.register_queue<Stamp>([](const Stamp&) { throw std::runtime_error("too late"); });
    studio.client.drain();
    CHECK(studio.runs == 3);  // the new children are not over
    studio.register_photos();
    studio.client.drain();
    if (studio.undoes) studio.seen.erase(studio.seen.begin());
    CHECK(studio.seen == Texts{"10"});
    CHECK(studio.status(id) == TaskStatus::succeeded);
}

TEST_CASE("Flow: errors that are no UTF-8, or are cut within a character, fail the child, the step and the flow") {
    Studio studio;
    const std::string text = GENERATE(std::string{"caf\xe9"}, std::string(4'095, 'x') + "\xc3\xa9");
    studio.develop = [&](const Photo& photo) -> int {
        if (photo.number == 2) throw std::runtime_error(text);
        return 10 * photo.number;
    };
    studio.register_photos();
    const bool is_long = text.size() > 4'000;
    const std::string whole = is_long ? text.substr(0, 4'095) : "caf";
    const std::string replaced = whole + "\xef\xbf\xbd";
    SECTION("of a child") {
        const TaskId id = studio.begin();
        CHECK(studio.status(id) == TaskStatus::failed);
        CHECK(studio.seen == Texts{is_long ? whole : replaced, "undone"});
    }
    SECTION("of a step, and of an undo") {
        int tried = 0;
        Texts caught;
        studio.client.register_flow<Root>([&](Flow& flow, const Root&) -> int {
            flow.undo("undo", {.max_attempts = 2, .backoff = 1s}, [&] { throw std::runtime_error(text); });
            try {
                flow.step("step", {.max_attempts = 2, .backoff = 1s}, [&] {
                    ++tried;
                    throw std::runtime_error(text);
                });
            } catch (const StepFailed& error) {
                caught.push_back(error.what());
            }
            throw std::runtime_error(text);
        });
        const TaskId id = studio.client.add(Root{}).save().front();
        studio.pass(1h);
        CHECK(studio.status(id) == TaskStatus::failed);
        CHECK(tried == 2);
        REQUIRE(caught.size() > 1);
        CHECK(contains(caught.back(), replaced));
    }
}

}  // namespace flow_children_test
