// SPDX-License-Identifier: MIT
#include <algorithm>
#include <charconv>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/core/id_generator.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::message_of;
using detail::Ms;

constexpr Ms now{1'700'000'000'123};
constexpr std::string_view good = "018bcfe5-687b-7123-8abc-0123456789ab";

/// The time that the first 48 bits of an id say.
Ms time_of(const TaskId& id) {
    const std::string hex = id.str().substr(0, 8) + id.str().substr(9, 4);
    std::int64_t ms = -1;
    std::from_chars(hex.data(), hex.data() + hex.size(), ms, 16);
    return Ms{ms};
}

bool strictly_increasing(const std::vector<TaskId>& ids) {
    return std::adjacent_find(ids.begin(), ids.end(), [](const TaskId& a, const TaskId& b) { return !(a < b); }) ==
           ids.end();
}

TEST_CASE("IdGenerator: makes UUIDs of version 7 and variant 10, in lower case") {
    core::IdGenerator generator;
    std::set<char> versions;
    std::set<char> variants;
    std::set<char> letters;
    for (int i = 0; i < 1000; ++i) {
        const TaskId id = generator.next(now + Duration{i});
        CHECK_NOTHROW(TaskId::parse(id.str()));
        versions.insert(id.str()[14]);
        variants.insert(id.str()[19]);
        letters.insert(id.str().begin(), id.str().end());
    }
    CHECK(versions == std::set<char>{'7'});
    CHECK(variants == std::set<char>{'8', '9', 'a', 'b'});
    CHECK(std::none_of(letters.begin(), letters.end(), [](char c) { return c >= 'A' && c <= 'F'; }));
}

TEST_CASE("IdGenerator: the first 48 bits are the time") {
    core::IdGenerator generator;
    CHECK(time_of(generator.next(now)) == now);
    CHECK(time_of(generator.next(now + 24h)) == now + 24h);
}

TEST_CASE("IdGenerator: ids increase while the clock stands still") {
    core::IdGenerator generator;
    std::vector<TaskId> ids;
    for (int i = 0; i < 100'000; ++i) ids.push_back(generator.next(now));
    CHECK(strictly_increasing(ids));
}

TEST_CASE("IdGenerator: ids increase while the clock runs") {
    core::IdGenerator generator;
    std::vector<TaskId> ids;
    for (int i = 0; i < 100'000; ++i) ids.push_back(generator.next(now + Duration{i / 7}));
    CHECK(strictly_increasing(ids));
}

TEST_CASE("IdGenerator: ids increase while the clock goes back") {
    core::IdGenerator generator;
    std::vector<TaskId> ids;
    for (int i = 0; i < 100'000; ++i) ids.push_back(generator.next(now - Duration{i}));
    CHECK(strictly_increasing(ids));
}

TEST_CASE("IdGenerator: a clock before 1970 counts as 1970") {
    core::IdGenerator generator;
    const std::vector<TaskId> ids{generator.next(Ms{-5}), generator.next(Ms{-1}), generator.next(Ms{}),
                                  generator.next(Ms{1})};
    CHECK(strictly_increasing(ids));
    CHECK(time_of(ids.front()) == Ms{});
}

TEST_CASE("IdGenerator: next_many gives as many increasing ids as it was asked for") {
    core::IdGenerator generator;
    std::vector<TaskId> ids{generator.next(now)};
    std::vector<std::size_t> indexes;
    generator.next_many(now, 3, [&](std::size_t i, TaskId id) {
        indexes.push_back(i);
        ids.push_back(std::move(id));
    });
    ids.push_back(generator.next(now));
    CHECK(indexes == std::vector<std::size_t>{0, 1, 2});
    CHECK(strictly_increasing(ids));
}

TEST_CASE("IdGenerator: two generators do not make the same ids") {
    core::IdGenerator one;
    core::IdGenerator other;
    CHECK(one.next(now) != other.next(now));
}

TEST_CASE("IdGenerator: eight threads never get the same id") {
    constexpr std::size_t each = 20'000;
    core::IdGenerator generator;
    std::vector<std::vector<TaskId>> ids(8);
    {
        std::vector<std::jthread> threads;
        for (auto& mine : ids) {
            threads.emplace_back([&generator, &mine] {
                for (std::size_t i = 0; i < each; ++i) mine.push_back(generator.next(now));
            });
        }
    }
    std::unordered_set<TaskId> all;
    for (const auto& mine : ids) all.insert(mine.begin(), mine.end());
    CHECK(all.size() == 8 * each);
    CHECK(std::all_of(ids.begin(), ids.end(), strictly_increasing));
}

TEST_CASE("TaskId: parse takes a UUID of any version and either case, and keeps its letters") {
    for (const std::string_view text : {good, std::string_view{"018BCFE5-687B-7123-8ABC-0123456789AB"},
                                        std::string_view{"00000000-0000-0000-0000-000000000000"},
                                        std::string_view{"ffffffff-ffff-4fff-bfff-ffffffffffff"}}) {
        CHECK(TaskId::parse(text).str() == text);
    }
}

TEST_CASE("TaskId: parse refuses what is no UUID") {
    const std::string id{good};
    const std::vector<std::string> wrong{"",
                                         "x",
                                         id.substr(1),
                                         id + "0",
                                         " " + id,
                                         id + " ",
                                         "{" + id.substr(1, 34) + "}",
                                         "018bcfe5687b71238abc0123456789ab",
                                         "018bcfe5-687b-7123-8abc-0123456789ag",
                                         "018bcfe5_687b-7123-8abc-0123456789ab",
                                         "018bcfe-5687b-7123-8abc-0123456789ab",
                                         "018bcfe5-687b-7123-8abc0-123456789ab",
                                         "018bcfe5-687b-7123-8abc--0123456789a",
                                         std::string(36, '-'),
                                         std::string(36, '0'),
                                         id.substr(0, 35) + '\0'};
    for (const std::string& text : wrong) {
        INFO(text);
        CHECK_THROWS_AS(TaskId::parse(text), ConfigError);
    }
}

TEST_CASE("TaskId: the error of parse names the text, cut where it is long") {
    CHECK(message_of<ConfigError>([] { (void)TaskId::parse("bob"); }) == "not a task id: \"bob\"");
    CHECK(message_of<ConfigError>([] { (void)TaskId::parse(std::string(1000, 'x')); }) ==
          "not a task id: \"" + std::string(64, 'x') + "\"");
}

TEST_CASE("TaskId: from_text takes any text as it is") {
    for (const char* text : {"", "order 17", "018BCFE5", "ümlaut"}) CHECK(TaskId::from_text(text).str() == text);
}

TEST_CASE("TaskId: one that was given no text equals only such ones") {
    CHECK(TaskId{} == TaskId{});
    CHECK(TaskId{} != TaskId::parse(good));
    CHECK(TaskId{}.str().empty());
}

TEST_CASE("TaskId: is ordered as its text is") {
    const TaskId a = TaskId::from_text("a");
    const TaskId b = TaskId::from_text("b");
    CHECK(a < b);
    CHECK(b > a);
    CHECK(a <= a);
    CHECK((a <=> a) == std::strong_ordering::equal);
    CHECK(TaskId::from_text("a") < TaskId::from_text("aa"));
}

TEST_CASE("TaskId: equal ids have equal hashes") {
    const std::hash<TaskId> hash;
    CHECK(hash(TaskId::parse(good)) == hash(TaskId::from_text(std::string{good})));
    CHECK(hash(TaskId::from_text("a")) != hash(TaskId::from_text("b")));
}

TEST_CASE("TaskId: is formatted as its text, with the options of text") {
    const TaskId id = TaskId::from_text("abc");
    CHECK(fmt::format("{}", id) == "abc");
    CHECK(fmt::format("{:>5}|{:*<5}", id, id) == "  abc|abc**");
    CHECK(fmt::to_string(id) == "abc");
}

}  // namespace
