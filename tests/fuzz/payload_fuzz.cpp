// SPDX-License-Identifier: MIT
// Any bytes as the payload of a task, through the library's own way from payload to outcome. What cannot be read must
// fail the task for good, at once, and be kept with its error; nothing may be thrown out, and no byte may crash it.
//     CXX=clang++ cmake -C cmake/fuzz.cmake -S . -B build/fuzz -G Ninja && cmake --build build/fuzz
//     tests/fuzz/run 600 payload          ten minutes; a finding is left in build/fuzz/findings/
//     build/fuzz/tests/fuzz/payload_fuzz FILE          runs one input again
// The first byte of an input chooses the type of the task, the rest is the payload.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/base/codec.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/testing/manual_clock.hpp>

#include "demand.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using backlite_fuzz::demand;

// ---- four types of task ---------------------------------------------------------------------------------------------

enum class Colour { none, red, green };
NLOHMANN_JSON_SERIALIZE_ENUM(Colour, {{Colour::none, nullptr}, {Colour::red, "red"}, {Colour::green, "green"}})

// An optional value with hooks of its own: nlohmann_json 3.11 has none for std::optional.
template <class T>
struct Maybe {
    std::optional<T> value{};
};
template <class T>
void to_json(nlohmann::json& json, const Maybe<T>& maybe) {
    json = nullptr;
    if (maybe.value) json = *maybe.value;
}
template <class T>
void from_json(const nlohmann::json& json, Maybe<T>& maybe) {
    maybe.value.reset();
    if (!json.is_null()) maybe.value = json.get<T>();
}

struct Item {
    std::string name{};
    int count = 0;
    std::vector<double> weights{};
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Item, name, count, weights)

// Fields may be missing.
struct Order {
    std::string text{};
    std::int64_t number = 0;
    std::uint8_t small = 0;
    double share = 0;
    bool flag = false;
    Colour colour = Colour::none;
    Maybe<std::string> note{};
    Maybe<Item> gift{};
    std::vector<Item> items{};
    std::map<std::string, std::vector<int>> lists{};
    nlohmann::json more{};
    static backlite::QueueConfig config() { return {.name = "order"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, text, number, small, share, flag, colour, note, gift, items,
                                                lists, more)

// All fields must be there.
struct Ledger {
    std::array<std::uint64_t, 3> sums{};
    std::pair<std::string, int> name{};
    std::tuple<bool, double, std::string> kind{};
    std::set<std::string> tags{};
    std::map<int, std::string> lines{};
    std::unordered_map<std::string, Item> items{};
    static backlite::QueueConfig config() {
        return {.name = "ledger", .retention = backlite::Retention{std::chrono::hours{1}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Ledger, sums, name, kind, tags, lines, items)

// As deep as the JSON is.
struct Tree {
    std::string name{};
    std::vector<Tree> children{};
    static backlite::QueueConfig config() { return {.name = "tree"}; }
};
void to_json(nlohmann::json& json, const Tree& tree) { json = {{"name", tree.name}, {"children", tree.children}}; }
void from_json(const nlohmann::json& json, Tree& tree) {
    if (json.contains("name")) json.at("name").get_to(tree.name);
    if (json.contains("children")) json.at("children").get_to(tree.children);
}

struct Any {
    nlohmann::json value{};
    static backlite::QueueConfig config() { return {.name = "any"}; }
};
void to_json(nlohmann::json& json, const Any& any) { json = any.value; }
void from_json(const nlohmann::json& json, Any& any) { any.value = json; }

// ---- one run --------------------------------------------------------------------------------------------------------

std::size_t entered = 0;

// What was read is whole: it can be written, and read again as the same.
template <class T>
void process(const T& task) {
    ++entered;
    const std::string& queue = backlite::detail::queue_config<T>().name;
    // Fields that the payload left out may make it deeper than a task may be.
    if (backlite::detail::json_depth(nlohmann::json(task).dump()) > backlite::detail::max_json_depth) return;
    const std::string text = backlite::detail::encode(task, queue);
    demand(backlite::detail::encode(backlite::detail::decode<T>(text), queue) == text,
           "a task that was read is the same once re-read");
}

std::unique_ptr<backlite::detail::QueueBase> queue_of(std::size_t kind) {
    switch (kind) {
        case 0: return backlite::Queue<Order>(process<Order>).release();
        case 1: return backlite::Queue<Ledger>(process<Ledger>).release();
        case 2: return backlite::Queue<Tree>(process<Tree>).release();
        default: return backlite::Queue<Any>(process<Any>).release();
    }
}
constexpr std::size_t kinds = 4;

struct Observer final : backlite::core::AttemptObserver {
    int inside = 0;
    void entering(const backlite::detail::ClaimedTask&) noexcept override { ++inside; }
    void timing(std::chrono::steady_clock::time_point, const std::shared_ptr<backlite::detail::StopSignal>&) override {}
    void left() noexcept override { --inside; }
};

struct Rig {
    Rig() {
        for (std::size_t kind = 0; kind < kinds; ++kind) queues.add(queue_of(kind));
        for (std::size_t kind = 0; kind < kinds; ++kind) index[kind] = queues.find(queue_of(kind)->config().name);
    }
    backlite::testing::ManualClock clock{};
    backlite::core::QueueRegistry queues{};
    std::array<std::size_t, kinds> index{};
    backlite::core::TaskRunner runner{queues, {}, clock, backlite::detail::SafeLogger{}};
};

// How deep a value nests, without recursion.
std::size_t depth_of(const nlohmann::json& json) {
    std::size_t deepest = 0;
    std::vector<std::pair<const nlohmann::json*, std::size_t>> open{{&json, 1}};
    while (!open.empty()) {
        const auto [value, depth] = open.back();
        open.pop_back();
        if (!value->is_structured()) continue;
        deepest = depth > deepest ? depth : deepest;
        for (const nlohmann::json& inner : *value) open.emplace_back(&inner, depth + 1);
    }
    return deepest;
}

// ---- inputs ---------------------------------------------------------------------------------------------------------

constexpr std::array<std::string_view, 52> tokens{"{",
                                                  "}",
                                                  "[",
                                                  "]",
                                                  ",",
                                                  ":",
                                                  "null",
                                                  "true",
                                                  "false",
                                                  "0",
                                                  "-1",
                                                  "1.5",
                                                  "1e308",
                                                  "1e999",
                                                  "-0",
                                                  "\"\"",
                                                  "\"x\"",
                                                  "\"red\"",
                                                  "text",
                                                  "number",
                                                  "small",
                                                  "share",
                                                  "flag",
                                                  "colour",
                                                  "note",
                                                  "gift",
                                                  "items",
                                                  "lists",
                                                  "more",
                                                  "sums",
                                                  "name",
                                                  "kind",
                                                  "tags",
                                                  "lines",
                                                  "children",
                                                  "count",
                                                  "weights",
                                                  "\\ud83d",
                                                  "\\ude00",
                                                  "\\u0000",
                                                  "\\\"",
                                                  "\xef\xbb\xbf",
                                                  "\xff",
                                                  "\xed\xa0\x80",
                                                  "\xf4\x8f\xbf\xbf",
                                                  "\xc3",
                                                  "/**/",
                                                  "NaN",
                                                  "9223372036854775807",
                                                  "18446744073709551616",
                                                  "-9223372036854775809",
                                                  "\t"};

std::string sample(std::size_t kind) {
    const Item item{"screw", 7, {0.5, -1e300}};
    switch (kind) {
        case 0:
            return backlite::detail::encode(Order{"text",
                                                  -5,
                                                  200,
                                                  0.25,
                                                  true,
                                                  Colour::red,
                                                  {"note"},
                                                  {item},
                                                  {item, {}},
                                                  {{"a", {1, 2}}, {"b", {}}},
                                                  {{"k", {1, nullptr}}}},
                                            "order");
        case 1:
            return backlite::detail::encode(
                Ledger{{1, 2, 3}, {"n", 4}, {true, 1.5, "k"}, {"t"}, {{1, "l"}}, {{"i", item}}}, "ledger");
        case 2: return backlite::detail::encode(Tree{"root", {{"leaf", {}}, {"twig", {{"leaf", {}}}}}}, "tree");
        default: return R"([{"a":[1,2.5,"x\u00e9"]},null,true])";
    }
}

// Puts brackets around a payload, as many as fit, so that depth is met.
std::string wrapped(const std::string& payload, std::size_t times, std::size_t how) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> pairs{
        {{"[", "]"}, {"{\"more\":", "}"}, {"{\"children\":[", "]}"}, {"{\"gift\":[", "]}"}}};
    std::string front;
    std::string back;
    for (std::size_t i = 0; i < times; ++i) {
        front += pairs[how].first;
        back += pairs[how].second;
    }
    return front + payload + back;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Rig& rig = *new Rig;
    if (size == 0) return 0;
    const std::size_t kind = data[0] % kinds;
    backlite::detail::ClaimedTask task;
    task.id = backlite::TaskId::from_text("x");
    task.claim = 7;
    task.queue = rig.index[kind];
    task.payload.assign(reinterpret_cast<const char*>(data) + 1, size - 1);

    entered = 0;
    Observer observer;
    backlite::detail::AttemptResult resolved;
    rig.runner.run(task, std::make_shared<backlite::detail::StopSignal>(), observer, resolved);
    demand(observer.inside == 0, "who enters leaves");
    demand(resolved.claim == 7, "the outcome is of the claim");

    const nlohmann::json json = nlohmann::json::parse(task.payload, nullptr, false);
    const bool readable = !json.is_discarded() && depth_of(json) <= backlite::detail::max_json_depth;
    if (entered > 0) {
        demand(readable, "what is no JSON, or nests too deep, is not run");
        demand(entered == 1 && resolved.resolution == backlite::detail::RowChange::complete && resolved.spends_attempt,
               "what can be read runs once and succeeds: " + resolved.error);
        return 0;
    }
    demand(resolved.resolution == backlite::detail::RowChange::fail && resolved.spends_attempt,
           "what cannot be read fails with its only attempt");
    demand(resolved.keep_row && resolved.keep_payload && resolved.expires_at.has_value(),
           "it is kept with its payload");
    demand(resolved.error.starts_with("its payload cannot be read: ") &&
               resolved.error.size() <= backlite::core::TaskRunner::max_error,
           "its error says so: " + resolved.error);
    // nlohmann_json takes a NUL for the end; the text behind it may nest as it likes.
    const bool shallow = backlite::detail::json_depth(task.payload) <= backlite::detail::max_json_depth;
    if (kind == 3) demand(!readable || !shallow, "any JSON can be read as JSON: " + resolved.error);
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
    std::minstd_rand random(seed);
    const auto below = [&random](std::size_t bound) { return static_cast<std::size_t>(random()) % bound; };
    if (size > 1 && below(2) == 0) return LLVMFuzzerMutate(data, size, max_size);
    std::string payload = size > 1 ? std::string(reinterpret_cast<const char*>(data) + 1, size - 1) : std::string{};
    std::size_t kind = size > 0 ? data[0] : 0;
    const std::string_view token = tokens[below(tokens.size())];
    const std::size_t at = below(payload.size() + 1);
    switch (below(16)) {
        case 0:
            kind = below(kinds);
            payload = sample(kind);
            break;
        case 1: payload = wrapped(payload, 1 + below(2), below(4)); break;
        case 2: payload = wrapped(payload, below(400), below(4)); break;
        case 3: payload.insert(at, payload.substr(below(payload.size() + 1), below(64))); break;
        case 4: payload.erase(at, 1 + below(8)); break;
        case 5:
        case 6:
        case 7:
        case 8: payload.replace(at, below(8), token); break;
        default: payload.insert(at, token);
    }
    if (payload.size() + 1 > max_size) payload.resize(max_size - 1);
    data[0] = static_cast<std::uint8_t>(kind);
    std::copy(payload.begin(), payload.end(), data + 1);
    return payload.size() + 1;
}
