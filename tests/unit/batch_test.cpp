// SPDX-License-Identifier: MIT
// Queues of batches without a client: their processors, and how they are run.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/batch.hpp>
#include <backlite/client.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/outcome.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace batch_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::message_of;
using detail::ClaimedTask;
using detail::Ms;
using detail::RowChange;

struct Letter {
    std::string to{};
    static QueueConfig config() { return {.name = "letters", .max_attempts = 3, .backoff = 5s}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Letter, to)

/// Moves, and does not copy.
struct Parcel {
    std::unique_ptr<int> weight{};
    static QueueConfig config() { return {.name = "parcels"}; }
};
[[maybe_unused]] void to_json(nlohmann::json& json, const Parcel& task) { json = *task.weight; }
[[maybe_unused]] void from_json(const nlohmann::json& json, Parcel& task) {
    task.weight = std::make_unique<int>(json.get<int>());
}

/// Counted while it is there.
struct Guest {
    std::shared_ptr<void> stay{};
    static inline int there = 0;
    static QueueConfig config() { return {.name = "guests"}; }
};
[[maybe_unused]] void to_json(nlohmann::json& json, const Guest&) { json = 1; }
[[maybe_unused]] void from_json(const nlohmann::json&, Guest& task) {
    ++Guest::there;
    task.stay = std::shared_ptr<void>(nullptr, [](void*) { --Guest::there; });
}

/// Notes what it is told of.
struct Observer final : core::AttemptObserver {
    std::vector<std::string> told{};
    void entering(const ClaimedTask& task) noexcept override { told.push_back("entering " + task.id.str()); }
    void joining(const ClaimedTask& task) noexcept override { told.push_back("joining " + task.id.str()); }
    void processing() noexcept override { told.push_back("processing"); }
    void timing(std::chrono::steady_clock::time_point, const std::shared_ptr<detail::StopSignal>&) override {}
    void left() noexcept override { told.push_back("left"); }
};

/// A runner with a queue of batches of letters.
struct Office {
    template <class F>
    explicit Office(F processor) {
        queues.add(BatchQueue<Letter>({.max = 10}, std::move(processor)).release());
    }

    static ClaimedTask letter(const std::string& to) {
        ClaimedTask task;
        task.id = TaskId::from_text(to);
        task.claim = 7;
        task.payload = nlohmann::json(Letter{to}).dump();
        return task;
    }

    /// Runs the first with the others; what came of each, as "to: outcome".
    std::vector<std::string> run(ClaimedTask first, StopReason stop = StopReason::none) {
        const auto signal = std::make_shared<detail::StopSignal>();
        if (stop != StopReason::none) signal->fire(stop);
        core::TaskRunner runner(queues, {}, clock, detail::SafeLogger{});
        detail::AttemptResult resolved;
        resolved.others.resize(first.others.size());
        runner.run(first, signal, observer, resolved);
        std::vector<std::string> found{text(first, resolved)};
        REQUIRE(resolved.others.size() == first.others.size());
        for (std::size_t i = 0; i < first.others.size(); ++i) {
            found.push_back(text(first.others[i], resolved.others[i]));
        }
        return found;
    }

    static std::string text(const ClaimedTask& task, const detail::AttemptResult& resolved) {
        CHECK(resolved.claim == task.claim);
        const char* const names[] = {"complete", "fail", "retry", "snooze", "release"};
        return task.id.str() + ": " + names[static_cast<std::size_t>(resolved.resolution)] +
               (resolved.error.empty() ? "" : " " + resolved.error);
    }

    testing::ManualClock clock{};
    core::QueueRegistry queues{};
    Observer observer{};
};

using Texts = std::vector<std::string>;

TEST_CASE("BatchProcessorOf: what takes a span of another task, or returns something else, is none") {
    const auto nothing = [](std::span<const Letter>) {};
    const auto outcomes = [](BatchContext&, std::span<const Letter>) { return std::vector<Outcome>{}; };
    const auto one = [](std::span<const Letter>) { return Outcome::success(); };
    const auto single = [](const Letter&) {};
    STATIC_REQUIRE(BatchProcessorOf<decltype(nothing), Letter>);
    STATIC_REQUIRE(BatchProcessorOf<decltype(outcomes), Letter>);
    STATIC_REQUIRE_FALSE(BatchProcessorOf<decltype(nothing), Parcel>);
    STATIC_REQUIRE_FALSE(BatchProcessorOf<decltype(one), Letter>);
    STATIC_REQUIRE_FALSE(BatchProcessorOf<decltype(single), Letter>);
}

TEST_CASE("BatchQueue: its tasks need not be copied, and are read into one span") {
    int sum = 0;
    const auto queue = BatchQueue<Parcel>({.max = 2}, [&](std::span<const Parcel> parcels) {
                           for (const Parcel& parcel : parcels) sum += *parcel.weight;
                       }).release();
    REQUIRE(queue->batch() != nullptr);
    CHECK(queue->batch()->max == 2);
    const auto job = queue->begin_batch(2);
    job->read("3");
    CHECK_THROWS(job->read("\"three\""));
    job->read("4");
    const std::string name = "parcels";
    const detail::StopSignal stop;
    const std::weak_ptr<engine::Engine> none;
    BatchContext context({none, name, 1, stop, {}, {}});
    CHECK(job->run(context).empty());
    CHECK(sum == 7);
    CHECK(message_of<UsageError>([&] { (void)context.client(); }) ==
          "BatchContext::client(): this context belongs to no client");
}

TEST_CASE("TaskRunner: the tasks of a batch are told one by one, and settled one by one") {
    Office office([](std::span<const Letter> letters) -> std::vector<Outcome> {
        CHECK(letters.size() == 4);
        return {Outcome::success(), Outcome::retry("busy"), Outcome::snooze(1h), Outcome::discard("unknown")};
    });
    ClaimedTask first = Office::letter("a");
    first.others = {Office::letter("b"), Office::letter("c"), Office::letter("d")};
    CHECK(office.run(first) == Texts{"a: complete", "b: retry busy", "c: snooze", "d: fail unknown"});
    CHECK(office.observer.told == Texts{"entering a", "joining b", "joining c", "joining d", "processing", "left"});
}

TEST_CASE("TaskRunner: a batch is left after its tasks are gone, so that a death in their destructors is a crash") {
    struct Porter final : core::AttemptObserver {
        int left_behind = -1;
        void entering(const ClaimedTask&) noexcept override {}
        void timing(std::chrono::steady_clock::time_point, const std::shared_ptr<detail::StopSignal>&) override {}
        void left() noexcept override { left_behind = Guest::there; }
    } porter;
    int seen = 0;
    core::QueueRegistry queues;
    queues.add(BatchQueue<Guest>({.max = 2}, [&](std::span<const Guest>) { seen = Guest::there; }).release());
    const testing::ManualClock clock;
    core::TaskRunner runner(queues, {}, clock, detail::SafeLogger{});
    ClaimedTask first;
    first.payload = "1";
    first.others.resize(1);
    first.others[0].payload = "1";
    detail::AttemptResult resolved;
    resolved.others.resize(1);
    runner.run(first, std::make_shared<detail::StopSignal>(), porter, resolved);
    CHECK(resolved.resolution == RowChange::complete);
    CHECK(seen == 2);
    CHECK(porter.left_behind == 0);
}

TEST_CASE("TaskRunner: what must not start of a batch ends without it, and the rest runs") {
    Office office([](BatchContext& context, std::span<const Letter> letters) {
        CHECK(letters.size() == 2);
        CHECK(context.task_id(0).str() == "c");
        CHECK(context.attempt(1) == 3);
    });
    ClaimedTask first = Office::letter("a");
    first.expires_at = detail::to_ms(office.clock.now());
    first.others = {Office::letter("b"), Office::letter("c"), Office::letter("d"), Office::letter("e")};
    first.others[0].oversize = 1 << 20;
    first.others[2].payload = "{";
    first.others[3].attempts = 2;
    const Texts found = office.run(first);
    CHECK(found[0] == "a: fail expired");
    CHECK(found[1] == "b: fail its payload of 1048576 bytes is larger than ClientConfig::max_payload");
    CHECK(found[2] == "c: complete");
    CHECK(found[3].starts_with("d: retry its payload cannot be read: "));
    CHECK(found[4] == "e: complete");
    CHECK(office.observer.told == Texts{"entering c", "joining d", "joining e", "processing", "left"});
}

TEST_CASE("TaskRunner: without a task that can be read its processor is not called") {
    Office office([](std::span<const Letter>) { FAIL("called"); });
    ClaimedTask first = Office::letter("a");
    first.payload = "{";
    CHECK(office.run(first).front().starts_with("a: retry its payload cannot be read: "));
    CHECK(office.observer.told == Texts{"entering a", "left"});
    first.expires_at = detail::to_ms(office.clock.now());
    office.observer.told.clear();
    CHECK(office.run(first) == Texts{"a: fail expired"});
    CHECK(office.observer.told.empty());
}

TEST_CASE("TaskRunner: a batch that throws because of a stop gives all its tasks back") {
    Office office([](std::span<const Letter>) { throw std::runtime_error("stopped"); });
    ClaimedTask first = Office::letter("a");
    first.others = {Office::letter("b")};
    CHECK(office.run(first, StopReason::stopping) == Texts{"a: release", "b: release"});
    CHECK(office.run(first, StopReason::timeout) == Texts{"a: retry stopped", "b: retry stopped"});
    CHECK(office.run(first, StopReason::cancelled) == Texts{"a: release", "b: release"});
    CHECK(office.observer.told == Texts{"entering a", "joining b", "processing", "left", "entering a", "joining b",
                                        "processing", "left", "entering a", "joining b", "left"});
}

TEST_CASE("QueueHead: its next batch starts when it is full, or its first task has waited") {
    store::QueueHead head{.name = "rows"};
    head.batch = 3;
    head.batch_wait = 50ms;
    head.levels = {{0, Ms{1000}}};
    head.due = Ms{1000};
    head.gather({Ms{1000}});
    CHECK(head.starts() == Ms{1050});
    CHECK(head.lacking == 2);
    head.gather({Ms{1040}, Ms{1000}, Ms{1020}, Ms{1030}});
    CHECK(head.starts() == Ms{1030});
    head.gather({Ms{1000}, Ms{1060}, Ms{1070}});  // too late for it
    CHECK(head.starts() == Ms{1050});
    head.came(Ms{1010});
    CHECK(head.starts() == Ms{1050});
    head.came(Ms{1010});
    CHECK(head.starts() == Ms{1000});  // full, as far as is known
    head.gather({});
    head.came(store::never);
    CHECK(head.lacking == 3);
    head.limits.running = 2;
    CHECK(head.full_batch() == 2);
    head.gather({Ms{1000}, Ms{1010}});
    CHECK(head.starts() == Ms{1010});
    head.batch_wait = std::chrono::hours{24 * 36'525};
    head.due = Ms::latest() - 1ms;
    head.gather({head.due});
    CHECK(head.starts() == Ms::latest());  // it does not overflow
}

TEST_CASE("Batch numbers: they tell queues and milliseconds apart, and are never 0") {
    CHECK(detail::batch_number("rows", Ms{1'000}) == detail::batch_number("rows", Ms{1'000}));
    CHECK(detail::batch_number("rows", Ms{1'000}) != detail::batch_number("rows", Ms{1'002}));
    CHECK(detail::batch_number("rows", Ms{1'000}) != detail::batch_number("mails", Ms{1'000}));
    CHECK(detail::batch_number("", Ms{}) != 0);
    CHECK(detail::batch_number("rows", Ms{1'767'225'600'000}) == 0x4ebeadc0c8454939U);  // stored
}

}  // namespace batch_test
