// SPDX-License-Identifier: MIT
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/outcome.hpp>
#include <backlite/queue.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace queue_test {

struct Letter {
    std::string to{};
    static backlite::QueueConfig config() { return {.name = "letters", .max_attempts = 4}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Letter, to)

struct Broken {
    int n = 0;
    static backlite::QueueConfig config() { return {.name = "broken", .max_attempts = 0}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Broken, n)

/// What comes of a photo.
struct Size {
    int width = 0;
    int height = 0;
    friend bool operator==(const Size&, const Size&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Size, width, height)

struct Photo {
    using Result = Size;
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "photos"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Photo, name)

/// Of somebody else's, so that its result is said in its traits.
struct Film {
    using Result = int;
    std::string name{};
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Film, name)

}  // namespace queue_test

template <>
struct backlite::TaskTraits<queue_test::Film> {
    using Result = std::vector<std::string>;
    static QueueConfig config() { return {.name = "films"}; }
};

namespace {

using namespace backlite;
using backlite_test::message_of;
using Catch::ContainsSubstring;
using queue_test::Broken;
using queue_test::Letter;
using Kind = Outcome::Kind;

/// Moves, and does not copy.
struct Parcel {
    std::unique_ptr<int> weight{};
    static QueueConfig config() { return {.name = "parcels"}; }
};
[[maybe_unused]] void to_json(nlohmann::json& json, const Parcel& task) { json = *task.weight; }
[[maybe_unused]] void from_json(const nlohmann::json& json, Parcel& task) {
    task.weight = std::make_unique<int>(json.get<int>());
}

/// Runs one payload through a queue.
Outcome run(detail::QueueBase& queue, const std::string& payload) {
    const std::weak_ptr<engine::Engine> none;
    const TaskId id = TaskId::from_text("some-id");
    const std::string name = "letters";
    const detail::StopSignal stop;
    Context context({none, id, name, 3, 4, stop, {}});
    return queue.decode(payload)->run(context);
}

template <class F>
std::unique_ptr<detail::QueueBase> letters(F processor) {
    return Queue<Letter>(std::move(processor)).release();
}

constexpr const char* to_ann = R"({"to":"ann"})";

TEST_CASE("Queue: knows the configuration of its task type") {
    const Queue<Letter> queue([](const Letter&) {});
    CHECK(queue.config().name == "letters");
    CHECK(queue.config().max_attempts == 4);
    CHECK(letters([](const Letter&) {})->config().name == "letters");
}

TEST_CASE("Queue: a processor gets the task that the payload holds") {
    std::string seen;
    const auto queue = letters([&](const Letter& letter) { seen = letter.to; });
    CHECK(run(*queue, to_ann).kind() == Kind::success);
    CHECK(seen == "ann");
}

TEST_CASE("Queue: a processor that asks for the context gets the attempt's") {
    int attempt = 0;
    const auto queue = letters([&](Context& context, const Letter&) { attempt = context.attempt(); });
    CHECK(run(*queue, to_ann).kind() == Kind::success);
    CHECK(attempt == 3);
}

TEST_CASE("Queue: an outcome that a processor returns is handed on") {
    const auto queue = letters([](const Letter&) { return Outcome::discard("unwanted"); });
    const Outcome outcome = run(*queue, to_ann);
    CHECK(outcome.kind() == Kind::discard);
    CHECK(outcome.reason() == "unwanted");
    const auto with_context = letters([](Context&, const Letter&) { return Outcome::retry("later"); });
    CHECK(run(*with_context, to_ann).kind() == Kind::retry);
}

TEST_CASE("Queue: what a processor returns of its task's Result is the result of a success") {
    const auto made = [](auto processor) {
        return run(*Queue<queue_test::Photo>(std::move(processor)).release(), R"({"name":"a"})");
    };
    const Outcome plain = made([](const queue_test::Photo&) { return queue_test::Size{3, 4}; });
    CHECK(plain.kind() == Kind::success);
    CHECK(plain.result() == R"({"height":4,"width":3})");
    CHECK(made([](Context&, const queue_test::Photo&) {
              return Outcome::success(queue_test::Size{1, 2});
          }).result() == R"({"height":2,"width":1})");
    CHECK(made([](const queue_test::Photo&) {}).result().empty());
    CHECK(made([](const queue_test::Photo&) { return Outcome::success(); }).result().empty());
    CHECK(made([](const queue_test::Photo&) { return Outcome::discard("bad"); }).result().empty());
}

TEST_CASE("Queue: the traits of a task type say its Result before the type does") {
    STATIC_REQUIRE(std::is_same_v<detail::ResultOf<queue_test::Film>, std::vector<std::string>>);
    STATIC_REQUIRE(std::is_same_v<detail::ResultOf<queue_test::Photo>, queue_test::Size>);
    STATIC_REQUIRE(std::is_void_v<detail::ResultOf<Letter>>);
    STATIC_REQUIRE_FALSE(ProcessorOf<int (*)(const Letter&), Letter>);
    STATIC_REQUIRE_FALSE(ProcessorOf<int (*)(const queue_test::Film&), queue_test::Film>);
    const auto queue =
        Queue<queue_test::Film>([](const queue_test::Film&) { return std::vector<std::string>{"one"}; }).release();
    CHECK(run(*queue, R"({"name":"f"})").result() == R"(["one"])");
}

TEST_CASE("Queue: a result that cannot be written, or is none of the task's, is an exception") {
    const auto error_of = [](auto processor) {
        const auto queue = Queue<queue_test::Film>(std::move(processor)).release();
        return message_of<EncodeError>([&] { (void)run(*queue, R"({"name":"f"})"); });
    };
    CHECK_THAT(error_of([](const queue_test::Film&) { return std::vector<std::string>{"\xff"}; }),
               ContainsSubstring("its result cannot be written as JSON"));
    CHECK_THAT(error_of([](const queue_test::Film&) { return Outcome::success(7); }),
               ContainsSubstring("its result cannot be read as") && ContainsSubstring("vector"));
    const auto photo = Queue<queue_test::Photo>([](const queue_test::Photo&) {
                           return Outcome::success(nlohmann::json{{"bytes", 5}});
                       }).release();
    CHECK_THAT(message_of<EncodeError>([&] { (void)run(*photo, R"({"name":"a"})"); }),
               ContainsSubstring("queue_test::Size") && ContainsSubstring("none of that type's fields"));
}

TEST_CASE("Queue: what a processor throws is handed on") {
    const auto queue = letters([](const Letter&) { throw std::out_of_range("too far"); });
    CHECK_THROWS_AS(run(*queue, to_ann), std::out_of_range);
}

TEST_CASE("Queue: a payload that cannot be read is an exception, and no call") {
    bool called = false;
    const auto queue = letters([&](const Letter&) { called = true; });
    CHECK_THROWS(run(*queue, "no letter"));
    CHECK_FALSE(called);
}

TEST_CASE("Queue: a generic processor that could do both gets the context") {
    int arguments = 0;
    const auto queue = letters([&](auto&&... all) { arguments = sizeof...(all); });
    CHECK(run(*queue, to_ann).kind() == Kind::success);
    CHECK(arguments == 2);
}

TEST_CASE("Queue: a processor may take the task by value, and change its own state") {
    std::vector<int> counts;
    const auto queue = letters([&counts, calls = 0](Letter) mutable { counts.push_back(++calls); });
    (void)run(*queue, to_ann);
    (void)run(*queue, to_ann);
    CHECK(counts == std::vector<int>{1, 2});
}

TEST_CASE("Queue: a processor may be a function, an object, or something that only moves") {
    struct Object {
        void operator()(const Letter&) const {}
    };
    void (*function)(const Letter&) = [](const Letter&) {};
    CHECK(run(*letters(function), to_ann).kind() == Kind::success);
    CHECK(run(*letters(Object{}), to_ann).kind() == Kind::success);
    CHECK(run(*letters([owned = std::make_unique<int>(1)](const Letter&) { (void)*owned; }), to_ann).kind() ==
          Kind::success);
}

TEST_CASE("Queue: an empty std::function is a ConfigError naming the queue") {
    CHECK(message_of<ConfigError>([] { const Queue<Letter> queue(std::function<void(const Letter&)>{}); }) ==
          "queue \"letters\": its processor is empty");
}

TEST_CASE("Queue: a null function pointer is a ConfigError") {
    void (*nothing)(const Letter&) = nullptr;
    CHECK_THROWS_AS(Queue<Letter>(nothing), ConfigError);
}

TEST_CASE("Queue: a configuration that cannot work is a ConfigError") {
    CHECK_THROWS_AS(Queue<Broken>([](const Broken&) {}), ConfigError);
}

TEST_CASE("Queue: tasks need not be copied") {
    int weight = 0;
    const auto queue = Queue<Parcel>([&](const Parcel& parcel) { weight = *parcel.weight; }).release();
    CHECK(run(*queue, "17").kind() == Kind::success);
    CHECK(weight == 17);
}

TEST_CASE("ProcessorOf: what takes another task, nothing, or returns something else is none") {
    STATIC_REQUIRE(ProcessorOf<void (*)(const Letter&), Letter>);
    STATIC_REQUIRE(ProcessorOf<Outcome (*)(Context&, const Letter&), Letter>);
    STATIC_REQUIRE_FALSE(ProcessorOf<void (*)(const Parcel&), Letter>);
    STATIC_REQUIRE_FALSE(ProcessorOf<void (*)(), Letter>);
    STATIC_REQUIRE_FALSE(ProcessorOf<int (*)(const Letter&), Letter>);
    STATIC_REQUIRE_FALSE(ProcessorOf<void (*)(Letter&), Letter>);
}

}  // namespace
