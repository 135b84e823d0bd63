// SPDX-License-Identifier: MIT
// What processors return, and who reads it: this client, another, a program that knows another type.

#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>

#include "rig.hpp"

namespace results_test {

using namespace std::chrono_literals;

struct Size {
    int width = 0;
    int height = 0;
    friend bool operator==(const Size&, const Size&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Size, width, height)

/// Kept, with a result.
struct Render {
    using Result = Size;
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "render", .max_attempts = 2, .retention = backlite::Retention{.duration = 24h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Render, name)

/// The same queue in another program, whose results are others.
struct Bytes {
    std::int64_t bytes = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Bytes, bytes)
struct OtherRender {
    using Result = Bytes;
    std::string name{};
    static backlite::QueueConfig config() { return Render::config(); }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(OtherRender, name)
struct TextRender {
    using Result = std::string;
    std::string name{};
    static backlite::QueueConfig config() { return Render::config(); }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(TextRender, name)
/// One that has learned a field.
struct Volume {
    int width = 0;
    int height = 0;
    int depth = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Volume, width, height, depth)
struct NewRender {
    using Result = Volume;
    std::string name{};
    static backlite::QueueConfig config() { return Render::config(); }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(NewRender, name)

/// Not kept.
struct Sum {
    using Result = double;
    double of = 0;
    static backlite::QueueConfig config() { return {.name = "sum"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sum, of)

/// Kept only if it fails, then with its error.
struct Root {
    using Result = double;
    double of = 0;
    static backlite::QueueConfig config() {
        return {.name = "root", .max_attempts = 1, .retention = backlite::Retention{}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Root, of)

using namespace backlite_test;
using backlite::Client;
using backlite::Context;
using backlite::EncodeError;
using backlite::Next;
using backlite::Outcome;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;
using Catch::ContainsSubstring;

/// A client that renders.
struct Studio : Story {
    void start() {
        client.emplace(config);
        client->register_queue<Render>([this](const Render& render) {
            return answer ? answer(render) : Outcome::success(Size{static_cast<int>(render.name.size()), 2});
        });
        client->register_queue<Sum>([](const Sum& sum) { return sum.of; });
        client->register_queue<Root>([](const Root& root) { return std::sqrt(root.of); });
        client->start();
    }

    template <class T>
    TaskId run(const T& task) {
        const TaskId id = client->add(task).save().front();
        CHECK(client->wait_idle(patience));
        return id;
    }

    std::function<Outcome(const Render&)> answer{};
    std::optional<Client> client{};
};

TEST_CASE("result: what a processor returned is kept with its task, over a restart too") {
    Studio studio;
    studio.start();
    const TaskId id = studio.run(Render{"abc"});
    CHECK(studio.client->result<Render>(id) == Size{3, 2});
    const TaskId root = studio.run(Root{9});
    CHECK(studio.client->result<Root>(root) == 3.0);
    studio.client.reset();
    const Client other{quick(studio.file)};
    CHECK(other.result<Render>(id) == Size{3, 2});
    CHECK(backlite::ClientHandle(other).result<Render>(id) == Size{3, 2});
}

TEST_CASE("result: there is none of a task that waits, failed, returned nothing, is not kept or was never there") {
    Studio studio;
    studio.start();
    const TaskId later = studio.client->add(Render{"x"}).wait(1h).save().front();
    CHECK(studio.client->result<Render>(later) == std::nullopt);
    CHECK(studio.client->result<Sum>(studio.run(Sum{4})) == std::nullopt);
    CHECK(studio.client->result<Render>(TaskId::from_text("nobody")) == std::nullopt);
    CHECK(studio.client->result<Render>(TaskId{}) == std::nullopt);
    studio.answer = [](const Render&) { return Outcome::discard("no film"); };
    const TaskId failed = studio.run(Render{"f"});
    CHECK(studio.client->status(failed) == TaskStatus::failed);
    CHECK(studio.client->result<Render>(failed) == std::nullopt);
    studio.answer = [](const Render&) { return Outcome::success(); };
    CHECK(studio.client->result<Render>(studio.run(Render{"n"})) == std::nullopt);
}

TEST_CASE("result: a program that knows another Result gets an error that names queue, task and type") {
    Studio studio;
    studio.start();
    const TaskId id = studio.run(Render{"abc"});
    const Client other{quick(studio.file)};
    const auto error_of = [&](auto call) {
        try {
            call();
        } catch (const EncodeError& error) {
            CHECK(error.queue() == "render");
            CHECK(error.task_id() == id.str());
            return std::string{error.what()};
        }
        return std::string{"nothing thrown"};
    };
    CHECK_THAT(error_of([&] { (void)other.result<OtherRender>(id); }),
               ContainsSubstring("queue \"render\"") && ContainsSubstring(id.str()) &&
                   ContainsSubstring("results_test::Bytes") && ContainsSubstring("none of that type's fields"));
    CHECK_THAT(error_of([&] { (void)other.result<TextRender>(id); }),
               ContainsSubstring("cannot be read as") && ContainsSubstring("string"));
    CHECK(other.result<NewRender>(id)->width == 3);
    CHECK(other.result<NewRender>(id)->depth == 1);
    CHECK(studio.client->result<Render>(id) == Size{3, 2});  // nothing is lost
}

TEST_CASE(
    "result: two programs with different Result types run one queue, and each finds its own and refuses the other's") {
    constexpr std::size_t tasks = 20;
    const TempFolder folder;
    const std::string file = folder.file("app.db");
    std::vector<TaskId> ids;
    {
        Client client{quick(file)};
        ids = client.add(std::vector<Render>(tasks, Render{"abc"})).save();
    }
    {
        // Each holds its first task until the other one has one, too.
        const auto run = [&](auto task, auto result) {
            return [&file, task, result](const Process::Inside& parent) {
                Client client{quick(file, 1)};
                client.register_queue<decltype(task)>([&, first = true](const decltype(task)&) mutable {
                    if (std::exchange(first, false)) {
                        parent.say("runs");
                        parent.wait();
                    }
                    return result;
                });
                client.start();
                parent.say(client.wait_idle(patience) ? "done" : "not done");
                parent.wait();
            };
        };
        Process one(run(Render{}, Size{3, 2}));
        Process two(run(OtherRender{}, Bytes{6}));
        for (Process* const each : {&one, &two}) REQUIRE(each->await("runs"));
        for (Process* const each : {&one, &two}) each->next();
        for (Process* const each : {&one, &two}) REQUIRE(each->await("done"));
    }
    const Client reader{quick(file)};
    std::size_t sizes = 0;
    std::size_t bytes = 0;
    for (const TaskId& id : ids) {
        const auto refused = [&](auto is_own) {
            try {
                const bool right = is_own();
                CHECK(right);
                return false;
            } catch (const EncodeError& error) {
                CHECK(error.queue() == "render");
                CHECK(error.task_id() == id.str());
                return true;
            }
        };
        CHECK(reader.status(id) == TaskStatus::succeeded);
        const bool is_bytes = refused([&] { return reader.result<Render>(id) == Size{3, 2}; });
        const bool is_size = refused([&] { return reader.result<OtherRender>(id)->bytes == 6; });
        CHECK(is_bytes != is_size);
        ++(is_size ? sizes : bytes);
    }
    CHECK(sizes > 0);
    CHECK(bytes > 0);
    Look look(file);
    CHECK(look.completed("succeeded = 1 AND CAST(result AS text) = '{\"height\":2,\"width\":3}'") ==
          static_cast<std::int64_t>(sizes));
    CHECK(look.completed("succeeded = 1 AND CAST(result AS text) = '{\"bytes\":6}'") ==
          static_cast<std::int64_t>(bytes));
}

TEST_CASE("result: of a task of another queue is a UsageError that names both") {
    Studio studio;
    studio.start();
    const TaskId id = studio.run(Render{"abc"});
    CHECK_THAT(message_of<UsageError>([&] { (void)studio.client->result<Root>(id); }),
               ContainsSubstring("\"render\"") && ContainsSubstring("\"root\"") && ContainsSubstring(id.str()));
}

TEST_CASE("result: one that cannot be written, or is too large, is a failed attempt") {
    Studio studio;
    studio.config.max_payload = 64;
    studio.start();
    const TaskId nan = studio.run(Root{-1});
    CHECK(studio.client->status(nan) == TaskStatus::failed);
    Look look(studio.file);
    const auto error = [&](const TaskId& id) {
        return look.text("SELECT error FROM backlite_tasks_completed WHERE id = '" + id.str() + "'");
    };
    CHECK_THAT(error(nan), ContainsSubstring("its result cannot be written as JSON") && ContainsSubstring("NaN"));
    int attempts = 0;
    studio.answer = [&attempts](const Render&) {
        ++attempts;
        return Outcome::success(nlohmann::json{{"width", 1}, {"height", 2}, {"note", std::string(64, 'x')}});
    };
    const TaskId large = studio.client->add(Render{"l"}).save().front();
    CHECK(eventually([&] { return studio.client->status(large) == TaskStatus::failed; }));
    CHECK(attempts == 2);
    CHECK_THAT(error(large), ContainsSubstring("is larger than ClientConfig::max_payload (64)"));
    CHECK(look.number("SELECT count(*) FROM backlite_tasks_completed WHERE result IS NOT NULL") == 0);
}

TEST_CASE("result: what others have put there is read, or refused by name") {
    Studio studio;
    studio.config.max_payload = 1'000;
    studio.start();
    const TaskId id = studio.run(Render{"abc"});
    Look look(studio.file);
    const auto put = [&](const std::string& value) {
        look.run("UPDATE backlite_tasks_completed SET result = " + value + " WHERE id = '" + id.str() + "'");
    };
    const auto error = [&] { return message_of<EncodeError>([&] { (void)studio.client->result<Render>(id); }); };
    put("CAST('not JSON' AS blob)");
    CHECK_THAT(error(), ContainsSubstring("cannot be read as ") && ContainsSubstring("results_test::Size:"));
    put("CAST('\"text\"' AS blob)");
    CHECK_THAT(error(), ContainsSubstring("cannot be read as ") && ContainsSubstring("results_test::Size:"));
    put("x'00ff'");
    CHECK_THAT(error(), ContainsSubstring("cannot be read as ") && ContainsSubstring("results_test::Size:"));
    put("CAST(' ' AS blob)");
    CHECK_THAT(error(), ContainsSubstring("cannot be read as ") && ContainsSubstring("results_test::Size:"));
    put("zeroblob(1001)");
    CHECK_THAT(error(), ContainsSubstring("1001 bytes") && ContainsSubstring("max_payload (1000)"));
    put("CAST('" + std::string(400, '[') + std::string(400, ']') + "' AS blob)");
    CHECK_THAT(error(), ContainsSubstring("nests deeper"));
    put("CAST('{}' AS blob)");
    CHECK(studio.client->result<Render>(id) == Size{});
    put("CAST('{\"width\":7}' AS blob)");
    CHECK(studio.client->result<Render>(id) == Size{7, 0});
    put("x''");
    CHECK(studio.client->result<Render>(id) == std::nullopt);
    put("NULL");
    CHECK(studio.client->result<Render>(id) == std::nullopt);
}

TEST_CASE("result: middleware sees it, and may take it away") {
    Studio studio;
    std::string seen;
    bool keep = true;
    studio.config.around = {[&](Context&, const Next& next) {
        const Outcome outcome = next();
        seen = outcome.result();
        return keep ? outcome : Outcome::success();
    }};
    studio.start();
    CHECK(studio.client->result<Render>(studio.run(Render{"abc"})) == Size{3, 2});
    CHECK(seen == R"({"height":2,"width":3})");
    keep = false;
    CHECK(studio.client->result<Render>(studio.run(Render{"abc"})) == std::nullopt);
}

TEST_CASE("result: a TestClient has it, kept or not") {
    backlite::testing::TestClient client;
    client.register_queue<Render>([](const Render& render) { return Size{static_cast<int>(render.name.size()), 1}; });
    client.register_queue<Sum>([](const Sum& sum) { return sum.of + 1; });
    CHECK(client.perform(Render{"four"}).result<Render>() == Size{4, 1});
    CHECK(client.perform(Sum{1}).result<Sum>() == 2.0);
    const TaskId id = client.add(Render{"ab"}).save().front();
    const TaskId sum = client.add(Sum{5}).save().front();
    const backlite::testing::Drained drained = client.drain();
    REQUIRE(drained.size() == 2);
    CHECK(drained.attempts[0].result<Render>() == Size{2, 1});
    CHECK(drained.attempts[1].result<Sum>() == 6.0);
    CHECK(client.client().result<Render>(id) == Size{2, 1});
    CHECK(client.client().result<Sum>(sum) == std::nullopt);
}

}  // namespace results_test
