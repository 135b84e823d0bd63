// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/base/codec.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/task.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace task_test::shop {

// A task in a namespace of its own: the hooks stand beside it and are found through it.
struct SendInvoice {
    std::string to{};
    int order = 0;
    bool urgent = true;  // came later than the first payloads

    static backlite::QueueConfig config() { return {.name = "send_invoice", .max_attempts = 5}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendInvoice, to, order, urgent)

struct StrictInvoice {
    std::string to{};

    static backlite::QueueConfig config() { return {.name = "strict_invoice"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StrictInvoice, to)

}  // namespace task_test::shop

namespace task_test::vendor {

// A type that cannot be edited.
struct Point {
    int x = 0;
    int y = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, y)

}  // namespace task_test::vendor

namespace task_test {

struct NoConfig {
    int n = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NoConfig, n)

}  // namespace task_test

template <>
struct backlite::TaskTraits<task_test::vendor::Point> {
    static backlite::QueueConfig config() { return {.name = "points"}; }
};

namespace {

using namespace backlite;
namespace shop = task_test::shop;
namespace vendor = task_test::vendor;
using backlite_test::contains;
using backlite_test::message_of;
using task_test::NoConfig;

// A task that is also a range of something else.
struct Numbers : std::vector<int> {
    using std::vector<int>::vector;
    static QueueConfig config() { return {.name = "numbers"}; }
};

struct ThrowsStd {
    static QueueConfig config() { return {.name = "throws"}; }
};
[[maybe_unused]] void to_json(nlohmann::json&, const ThrowsStd&) { throw std::logic_error("no printer"); }
[[maybe_unused]] void from_json(const nlohmann::json&, ThrowsStd&) { throw std::logic_error("no reader"); }

struct ThrowsInt {
    static QueueConfig config() { return {.name = "throws_int"}; }
};
[[maybe_unused]] void to_json(nlohmann::json&, const ThrowsInt&) { throw 7; }
[[maybe_unused]] void from_json(const nlohmann::json&, ThrowsInt&) { throw 7; }

// Nests as deep as it is told.
struct Nested {
    std::size_t levels = 0;
    static QueueConfig config() { return {.name = "nested"}; }
};
[[maybe_unused]] void to_json(nlohmann::json& json, const Nested& task) {
    json = 1;
    for (std::size_t i = 0; i < task.levels; ++i) {
        nlohmann::json outer = i % 2 == 0 ? nlohmann::json::array() : nlohmann::json::object();
        if (outer.is_array()) {
            outer.push_back(std::move(json));
        } else {
            outer["x"] = std::move(json);
        }
        json = std::move(outer);
    }
}
[[maybe_unused]] void from_json(const nlohmann::json& json, Nested& task) {
    for (const nlohmann::json* inner = &json; inner->is_structured(); inner = &inner->front()) ++task.levels;
}

struct NoJson {
    int n = 0;
    static QueueConfig config() { return {.name = "no_json"}; }
};
struct NoDefault {
    explicit NoDefault(int) {}
    static QueueConfig config() { return {.name = "no_default"}; }
};
[[maybe_unused]] void to_json(nlohmann::json&, const NoDefault&) {}
[[maybe_unused]] void from_json(const nlohmann::json&, NoDefault&) {}

struct Tick {
    static QueueConfig config() { return {.name = "tick"}; }
};

struct Reading {
    double value = 0;
    std::vector<float> more{};
    std::string note{};
    nlohmann::json rest{};
    static QueueConfig config() { return {.name = "reading"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Reading, value, more, note, rest)

// Its hooks take any kind of JSON.
struct Form {
    nlohmann::ordered_json fields{};
    static QueueConfig config() { return {.name = "form"}; }
};
template <class Json>
void to_json(Json& json, const Form& form) {
    json["title"] = "form";
    json["fields"] = form.fields;
}
template <class Json>
void from_json(const Json& json, Form& form) {
    json.at("fields").get_to(form.fields);
}

// Writes another field than it reads.
struct Mismatched {
    int n = 0;
    static QueueConfig config() { return {.name = "mismatched"}; }
};
[[maybe_unused]] void to_json(nlohmann::json& json, const Mismatched& task) { json = {{"number", task.n}}; }
[[maybe_unused]] void from_json(const nlohmann::json& json, Mismatched& task) { json.at("n").get_to(task.n); }

std::string nested_arrays(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST_CASE("Task: is a type with a configuration, JSON hooks, a default constructor and a move") {
    STATIC_REQUIRE(Task<shop::SendInvoice>);
    STATIC_REQUIRE_FALSE(Task<NoConfig>);
    STATIC_REQUIRE_FALSE(Task<NoJson>);
    STATIC_REQUIRE_FALSE(Task<NoDefault>);
    STATIC_REQUIRE_FALSE(Task<int>);
    STATIC_REQUIRE_FALSE(Task<const shop::SendInvoice&>);
}

TEST_CASE("Task: a foreign type becomes one through TaskTraits") {
    STATIC_REQUIRE(Task<vendor::Point>);
    CHECK(detail::queue_config<vendor::Point>().name == "points");
}

TEST_CASE("TaskRange: is a range of tasks, unless it is a task itself") {
    STATIC_REQUIRE(TaskRange<std::vector<shop::SendInvoice>>);
    STATIC_REQUIRE(TaskRange<const std::vector<vendor::Point>&>);
    STATIC_REQUIRE(TaskRange<shop::SendInvoice[3]>);
    STATIC_REQUIRE_FALSE(TaskRange<std::vector<int>>);
    STATIC_REQUIRE_FALSE(TaskRange<shop::SendInvoice>);
    STATIC_REQUIRE(Task<Numbers>);
    STATIC_REQUIRE_FALSE(TaskRange<Numbers>);
}

TEST_CASE("queue_config: is what the type says, read once") {
    static int reads = 0;
    struct Counted {
        static QueueConfig config() {
            ++reads;
            return {.name = "counted", .max_attempts = 4};
        }
    };
    CHECK(detail::queue_config<Counted>().max_attempts == 4);
    CHECK(detail::queue_config<Counted>().name == "counted");
    CHECK(reads == 1);
}

TEST_CASE("queue_config: one that cannot work is refused at every call until it can") {
    static std::string name;
    struct Unnamed {
        static QueueConfig config() { return {.name = name}; }
    };
    CHECK_THROWS_AS(detail::queue_config<Unnamed>(), ConfigError);
    CHECK_THROWS_AS(detail::queue_config<Unnamed>(), ConfigError);
    name = "named at last";
    CHECK(detail::queue_config<Unnamed>().name == "named at last");
}

TEST_CASE("encode: writes compact JSON by the hooks of the type's own namespace") {
    CHECK(detail::encode(shop::SendInvoice{"ann@example.org", 7, false}, "q") ==
          R"({"order":7,"to":"ann@example.org","urgent":false})");
}

TEST_CASE("encode: writes a foreign type by its own hooks") {
    CHECK(detail::encode(vendor::Point{1, 2}, "q") == R"({"x":1,"y":2})");
}

TEST_CASE("encode: a task that is also a range is one value") {
    CHECK(detail::encode(Numbers{1, 2, 3}, "q") == "[1,2,3]");
}

TEST_CASE("encode: text keeps its characters") {
    CHECK(detail::encode(shop::StrictInvoice{"Zoë \"€\" 🦊"}, "q") == "{\"to\":\"Zoë \\\"€\\\" 🦊\"}");
}

TEST_CASE("encode: text that is not UTF-8 is an EncodeError about the queue") {
    const shop::StrictInvoice task{"caf\xe9"};
    std::string queue;
    std::string what;
    try {
        (void)detail::encode(task, "bills");
    } catch (const EncodeError& error) {
        queue = error.queue();
        what = error.what();
    }
    CHECK(queue == "bills");
    CHECK(contains(what, "queue \"bills\": a task cannot be encoded: "));
    CHECK(contains(what, "UTF-8"));
}

TEST_CASE("encode: what to_json throws is told in an EncodeError") {
    CHECK(message_of<EncodeError>([] { (void)detail::encode(ThrowsStd{}, "q"); }) ==
          "queue \"q\": a task cannot be encoded: no printer");
}

TEST_CASE("encode: a to_json that throws no std::exception is an EncodeError") {
    CHECK(message_of<EncodeError>([] { (void)detail::encode(ThrowsInt{}, "q"); }) ==
          "queue \"q\": a task cannot be encoded: an exception that is no std::exception");
}

TEST_CASE("encode: JSON may nest as deep as the limit") {
    CHECK(detail::json_depth(detail::encode(Nested{detail::max_json_depth}, "q")) == detail::max_json_depth);
}

TEST_CASE("encode: JSON that nests deeper than the limit is an EncodeError") {
    CHECK(message_of<EncodeError>([] { (void)detail::encode(Nested{detail::max_json_depth + 1}, "q"); }) ==
          "queue \"q\": a task cannot be encoded: its JSON nests deeper than 256");
}

TEST_CASE("encode: a type without fields needs no hooks, and is an empty object") {
    STATIC_REQUIRE(Task<Tick>);
    CHECK(detail::encode(Tick{}, "q") == "{}");
    (void)detail::decode<Tick>("{}");
    (void)detail::decode<Tick>(R"({"came":"later"})");
    CHECK_THROWS(detail::decode<Tick>("{"));
}

TEST_CASE("encode: a number that is NaN or infinite is an EncodeError, wherever it stands") {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const std::string text =
        "queue \"q\": a task cannot be encoded: a number in it is NaN or infinite, which JSON does "
        "not have";
    CHECK(message_of<EncodeError>([] { (void)detail::encode(Reading{.value = std::nan("")}, "q"); }) == text);
    CHECK(message_of<EncodeError>([] { (void)detail::encode(Reading{.value = -infinity}, "q"); }) == text);
    CHECK(message_of<EncodeError>([] { (void)detail::encode(Reading{.more = {1, std::nanf("")}}, "q"); }) == text);
    CHECK(message_of<EncodeError>([&] { (void)detail::encode(Reading{.rest = {{"a", {1, infinity}}}}, "q"); }) == text);
}

TEST_CASE("encode: a null of the caller's own, and the word in a string, are no numbers") {
    const Reading reading{.value = 1.5, .more = {}, .note = "null", .rest = {{"a", nullptr}}};
    const auto read = detail::decode<Reading>(detail::encode(reading, "q"));
    CHECK(read.note == "null");
    CHECK(read.rest == reading.rest);
}

TEST_CASE("encode: hooks that take any JSON keep the order of fields, of ordered_json too") {
    Form form;
    form.fields["z"] = 1;
    form.fields["a"] = 2;
    CHECK(detail::encode(form, "q") == R"({"title":"form","fields":{"z":1,"a":2}})");
    CHECK(detail::decode<Form>(detail::encode(form, "q")).fields.dump() == R"({"z":1,"a":2})");
}

TEST_CASE("why_unreadable: hooks that do not fit together are found with the first task of their type") {
    const auto why = detail::why_unreadable<Mismatched>(detail::encode(Mismatched{1}, "q"));
    REQUIRE(why.has_value());
    CHECK(contains(*why, "'n' not found"));
    CHECK_FALSE(detail::why_unreadable<Mismatched>(detail::encode(Mismatched{2}, "q")).has_value());
    CHECK_FALSE(detail::why_unreadable<shop::SendInvoice>(detail::encode(shop::SendInvoice{}, "q")).has_value());
}

TEST_CASE("type_name: tells types apart, and is the same for one") {
    CHECK(detail::type_name<int>() == "int");
    CHECK(detail::type_name<shop::SendInvoice>() == "task_test::shop::SendInvoice");
    CHECK(detail::type_name<Tick>() != detail::type_name<Form>());
}

TEST_CASE("decode: reads what encode wrote") {
    const auto task = detail::decode<shop::SendInvoice>(detail::encode(shop::SendInvoice{"Zoë", -3, false}, "q"));
    CHECK(task.to == "Zoë");
    CHECK(task.order == -3);
    CHECK_FALSE(task.urgent);
    CHECK(detail::decode<vendor::Point>(detail::encode(vendor::Point{4, 5}, "q")).y == 5);
    CHECK(detail::decode<Numbers>(detail::encode(Numbers{6, 7}, "q")) == Numbers{6, 7});
    CHECK(detail::decode<Nested>(detail::encode(Nested{detail::max_json_depth}, "q")).levels == detail::max_json_depth);
}

TEST_CASE("decode: a field that came later keeps its default in old payloads") {
    const auto task = detail::decode<shop::SendInvoice>(R"({"to":"ann","order":7})");
    CHECK(task.order == 7);
    CHECK(task.urgent);
}

TEST_CASE("decode: a field that went is passed over") {
    CHECK(detail::decode<shop::StrictInvoice>(R"({"to":"ann","cc":["bob"]})").to == "ann");
}

TEST_CASE("decode: a missing field without default cannot be read") {
    CHECK_THROWS_AS(detail::decode<shop::StrictInvoice>("{}"), std::exception);
}

TEST_CASE("decode: a field of another type cannot be read") {
    CHECK_THROWS_AS(detail::decode<shop::SendInvoice>(R"({"to":17})"), std::exception);
}

TEST_CASE("decode: white space around the JSON does not matter") {
    CHECK(detail::decode<shop::StrictInvoice>("\n {\"to\":\"ann\"} \r\n").to == "ann");
}

TEST_CASE("decode: what is no JSON cannot be read") {
    for (const char* payload : {"", " ", "{", "{}}", "to", "{\"to\":\"ann\"} x", "\xff", "{\"to\":\"ann"}) {
        INFO(payload);
        CHECK_THROWS_AS(detail::decode<shop::StrictInvoice>(payload), std::exception);
    }
}

TEST_CASE("decode: JSON of another kind cannot be read") {
    for (const char* payload : {"null", "[]", "17", "\"ann\"", "true"}) {
        INFO(payload);
        CHECK_THROWS_AS(detail::decode<shop::StrictInvoice>(payload), std::exception);
    }
}

TEST_CASE("decode: hands on what from_json throws") {
    CHECK_THROWS_AS(detail::decode<ThrowsStd>("{}"), std::logic_error);
    CHECK_THROWS_AS(detail::decode<ThrowsInt>("{}"), int);
}

TEST_CASE("decode: JSON that nests deeper than the limit is refused before it is parsed") {
    for (const std::size_t depth : {std::size_t{257}, std::size_t{10'000}, std::size_t{1'000'000}}) {
        CHECK(message_of<std::runtime_error>([&] { (void)detail::decode<Nested>(nested_arrays(depth)); }) ==
              "its JSON nests deeper than 256");
    }
}

TEST_CASE("decode: a million brackets that are never closed are refused") {
    CHECK_THROWS_AS(detail::decode<Nested>(std::string(1'000'000, '[')), std::runtime_error);
    std::string objects;
    for (int i = 0; i < 200'000; ++i) objects += "{\"x\":";
    CHECK_THROWS_AS(detail::decode<Nested>(objects), std::runtime_error);
}

TEST_CASE("json_depth: counts arrays and objects alike") {
    CHECK(detail::json_depth("") == 0);
    CHECK(detail::json_depth("17") == 0);
    CHECK(detail::json_depth("[]") == 1);
    CHECK(detail::json_depth("{}") == 1);
    CHECK(detail::json_depth(R"({"a":[{"b":1}]})") == 3);
    CHECK(detail::json_depth(nested_arrays(1000)) == 1000);
}

TEST_CASE("json_depth: is the deepest of several branches") {
    CHECK(detail::json_depth("[[],[[]],[]]") == 3);
    CHECK(detail::json_depth(R"({"a":[],"b":{"c":{"d":[]}},"e":1})") == 4);
}

TEST_CASE("json_depth: brackets inside strings do not count") {
    CHECK(detail::json_depth(R"("[[[[")") == 0);
    CHECK(detail::json_depth(R"({"[[":"{{"})") == 1);
    CHECK(detail::json_depth(R"(["a\"[[[["])") == 1);
    CHECK(detail::json_depth(R"(["a\\",[1]])") == 2);
    CHECK(detail::json_depth(R"(["\\\"[",[]])") == 2);
}

TEST_CASE("json_depth: survives text that is no JSON") {
    CHECK(detail::json_depth("]]]]") == 0);
    CHECK(detail::json_depth("]]][") == 1);
    CHECK(detail::json_depth("\"") == 0);
    CHECK(detail::json_depth("\"\\") == 0);
}

}  // namespace
