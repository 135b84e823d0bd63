// SPDX-License-Identifier: MIT
// What every store does for the limits of queues, shown by the library's scheduler on it.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/id.hpp>
#include <backlite/outcome.hpp>
#include <backlite/queue.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>
#include <backlite/store/store.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <memory_store.hpp>
#include <stepped_client.hpp>
#include <temp_folder.hpp>

namespace limits_store_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::MemoryFile;
using backlite_test::MemoryStore;
using backlite_test::SteppedClient;
using backlite_test::TempFolder;
using detail::Ms;

/// Two at once over all clients.
struct Press {
    std::string text{};
    static QueueConfig config() { return {.name = "press", .limits = {.running = 2}}; }
};
/// One at once in each client.
struct Render {
    std::string text{};
    static QueueConfig config() { return {.name = "render", .limits = {.running_per_client = 1}}; }
};
/// Two a second, no more than two at once.
struct Call {
    std::string text{};
    static QueueConfig config() {
        return {.name = "call", .max_attempts = 5, .backoff = 0s, .limits = {.rate = {.count = 2, .period = 1s}}};
    }
};
/// In order, by device.
struct Sync {
    std::string text{};
    static QueueConfig config() {
        return {.name = "sync", .max_attempts = 3, .backoff = 10s, .limits = {.in_order = true}};
    }
    [[nodiscard]] std::string partition() const { return text.substr(0, 1); }
};
/// Two at once for each host, and two a second.
struct Fetch {
    std::string text{};
    static QueueConfig config() {
        return {.name = "fetch",
                .limits = {.running_per_partition = 2, .rate_per_partition = {.count = 2, .period = 1s, .burst = 3}}};
    }
    [[nodiscard]] std::string partition() const { return text.substr(0, 1); }
};
/// No limits of its own.
struct Note {
    std::string text{};
    static QueueConfig config() { return {.name = "note"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Press, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Render, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Call, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Note, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sync, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Fetch, text)

enum class Kind { memory, sqlite };

/// Clients on one store.
class Mill {
public:
    explicit Mill(Kind kind) : kind_(kind) {
        const auto process = [this](const std::string& text) {
            processed.push_back(text);
            return answer ? answer(text) : Outcome::success();
        };
        queues_.add(Queue<Press>([process](const Press& task) { return process(task.text); }).release());
        queues_.add(Queue<Render>([process](const Render& task) { return process(task.text); }).release());
        queues_.add(Queue<Call>([process](const Call& task) { return process(task.text); }).release());
        queues_.add(Queue<Sync>([process](const Sync& task) { return process(task.text); }).release());
        queues_.add(Queue<Fetch>([process](const Fetch& task) { return process(task.text); }).release());
        queues_.add(Queue<Note>([process](const Note& task) { return process(task.text); }).release());
        if (kind == Kind::sqlite) folder_.emplace();
    }

    [[nodiscard]] std::unique_ptr<SteppedClient> client() {
        ClientConfig config{.database = folder_ ? folder_->file("mill.db") : "mill"};
        config.cleanup_interval = 0s;
        SteppedClient::Open open = &store::sqlite::open;
        if (kind_ == Kind::memory) {
            open = [this](const ClientConfig& c, const Clock& its_clock, const detail::SafeLogger&,
                          store::StoreHooks hooks) -> std::unique_ptr<store::Store> {
                return std::make_unique<MemoryStore>(memory_, c, its_clock, std::move(hooks));
            };
        }
        auto client = std::make_unique<SteppedClient>(std::move(config), queues_, clock, open);
        client->start();
        return client;
    }

    template <class T>
    void add(SteppedClient& to, std::initializer_list<const char*> texts) {
        std::vector<detail::NewTask> tasks;
        for (const char* text : texts) {
            tasks.push_back({TaskId::from_text("task-" + std::to_string(++ids_)), detail::queue_config<T>().name,
                             nlohmann::json(T{text}).dump(), detail::type_name<T>()});
            const Limits limits = detail::queue_config<T>().limits;
            if (!limits.by_partition()) continue;
            tasks.back().partition = std::make_shared<detail::PartitionAdd>(detail::PartitionAdd{
                detail::partition_of(T{text}), limits.turns(), limits.in_order, limits.rate_per_partition.any()});
        }
        to.store().add({.tasks = tasks, .now = detail::to_ms(clock.now())}, patience);
        to.refresh();
    }

    /// Looks, writes what has ended, and claims; how many tasks.
    std::size_t claim(SteppedClient& client) {
        client.store().look();
        client.look();
        return client.cycle(client.plan()).claimed.tasks.size();
    }

    /// Claims and runs until nothing more is to be done now.
    void work(SteppedClient& client) {
        do {
            while (client.run_one() != nullptr) {
            }
        } while (claim(client) + claim(client) > 0);
    }

    const store::Patience patience{5s, {}};
    testing::ManualClock clock{};
    std::vector<std::string> processed{};
    std::function<Outcome(const std::string&)> answer{};

private:
    const Kind kind_;
    std::optional<TempFolder> folder_{};
    MemoryFile memory_{};
    core::QueueRegistry queues_{};
    int ids_ = 0;
};

TEST_CASE("Store: of a queue no more tasks are claimed at once than its limit allows, over all clients") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    mill.add<Press>(*one, {"a", "b", "c", "d"});
    CHECK(mill.claim(*one) == 2);
    CHECK(mill.claim(*one) == 0);
    CHECK(mill.claim(*two) == 0);
    CHECK_FALSE(two->next_work());  // it sleeps until somebody has committed
    REQUIRE(one->run_one() != nullptr);
    CHECK(mill.claim(*two) == 0);  // not before the outcome is written
    CHECK(mill.claim(*one) == 1);  // that and the claim are one transaction
    REQUIRE(one->run_one() != nullptr);
    one->look();
    static_cast<void>(one->cycle({}));  // writes it, and claims nothing
    CHECK(mill.claim(*two) == 1);
    CHECK(mill.claim(*one) == 0);
}

TEST_CASE("Store: a slot comes back with whatever ends a claim") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    auto two = mill.client();
    mill.add<Press>(*one, {"a", "b", "c", "d", "e", "f"});
    CHECK(mill.claim(*two) == 2);
    CHECK(mill.claim(*one) == 0);
    two->die(1);
    one->look_after_others();
    CHECK(mill.claim(*one) == 2);
    mill.answer = [](const std::string& text) {
        return text == "a" ? Outcome::snooze(1h) : text == "b" ? Outcome::discard("no") : Outcome::retry("again");
    };
    for (int i = 0; i < 6; ++i) {
        REQUIRE(one->run_one() != nullptr);
        CHECK(mill.claim(*one) <= 1);
        CHECK(one->ready().size() <= 2);
    }
    two = mill.client();
    one->stop();  // gives back what it has not started
    mill.clock.advance(1h);
    CHECK(mill.claim(*two) == 1);  // the snoozed one is all that is left: the queue has one attempt
}

TEST_CASE("Store: each client has as many of a queue as its limit says, whatever others have") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    mill.add<Render>(*one, {"a", "b", "c"});
    mill.add<Note>(*one, {"quick", "quick too"});
    CHECK(mill.claim(*one) == 3);  // the notes are behind the second, which holds up nothing
    CHECK(mill.claim(*two) == 1);
    CHECK(mill.claim(*two) == 0);
    CHECK(mill.claim(*one) == 0);
}

TEST_CASE("Store: a full queue holds up no other, and none of its tasks is claimed ahead") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.add<Press>(*client, {"a", "b", "c", "d", "e", "f"});
    mill.clock.advance(1ms);
    mill.add<Note>(*client, {"1", "2", "3", "4", "5", "6"});
    CHECK(mill.claim(*client) == 4);
    std::vector<std::string> texts;
    for (const detail::ClaimedTask& task : client->ready()) texts.push_back(task.payload);
    CHECK(std::count_if(texts.begin(), texts.end(), [](const auto& text) { return text.size() > 12; }) <= 2);
    while (client->run_one() != nullptr) mill.claim(*client);
    CHECK(mill.processed.size() == 12);
}

TEST_CASE("Store: a rate lets its burst start at once, then one each time that its share has passed") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.add<Call>(*client, {"a", "b", "c", "d", "e", "f"});
    CHECK(mill.claim(*client) == 2);
    while (client->run_one() != nullptr) {
    }
    CHECK(mill.claim(*client) == 0);
    CHECK(client->next_work() == 500ms);  // it sleeps until then, to the millisecond
    mill.clock.advance(499ms);
    CHECK(mill.claim(*client) == 0);
    CHECK(client->next_work() == 1ms);
    mill.clock.advance(1ms);
    CHECK(mill.claim(*client) == 1);
    mill.clock.advance(1s);
    CHECK(mill.claim(*client) == 2);
    CHECK(mill.claim(*client) == 0);
}

TEST_CASE("Store: a rate holds over all clients, and over their restarts") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    auto one = mill.client();
    mill.add<Call>(*one, {"a", "b", "c", "d"});
    CHECK(mill.claim(*one) == 2);
    while (one->run_one() != nullptr) {
    }
    static_cast<void>(mill.claim(*one));
    one->stop();
    one.reset();
    const auto two = mill.client();
    CHECK(mill.claim(*two) == 0);
    CHECK(two->next_work() == 500ms);
    mill.clock.advance(500ms);
    CHECK(mill.claim(*two) == 1);
}

TEST_CASE("Store: a retry is a start, and a rate counts it") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.answer = [](const std::string&) { return Outcome::retry("busy"); };
    mill.add<Call>(*client, {"a"});
    mill.work(*client);
    CHECK(mill.processed.size() == 2);
    CHECK(client->next_work() == 500ms);
}

TEST_CASE("Store: a clock that was set back stalls a rate for no longer than a burst, one set ahead gives one") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.add<Call>(*client, {"a", "b"});
    CHECK(mill.claim(*client) == 2);
    while (client->run_one() != nullptr) {
    }
    static_cast<void>(mill.claim(*client));
    mill.clock.jump(-24h);
    client->clock_was_set(-24h);
    mill.add<Call>(*client, {"c", "d", "e", "f"});
    CHECK(mill.claim(*client) == 1);  // one, and no burst
    CHECK(mill.claim(*client) == 0);
    mill.clock.advance(500ms);
    CHECK(mill.claim(*client) == 1);
    mill.clock.jump(48h);
    client->clock_was_set(48h);
    CHECK(mill.claim(*client) == 2);
    CHECK(mill.claim(*client) == 0);
}

TEST_CASE("Store: stored limits hold in place of the program's, until they go") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    CHECK_FALSE(two->store().limits("press"));
    const Limits stored{.running = 1, .rate = {.count = 100, .period = 1min, .burst = 7}};
    two->store().set_limits("press", stored, mill.patience);
    CHECK(two->store().limits("press") == stored);
    mill.add<Press>(*one, {"a", "b", "c", "d"});
    CHECK(mill.claim(*one) == 1);
    two->store().set_limits("press", Limits{.running = 3}, mill.patience);
    CHECK(mill.claim(*one) == 2);
    two->store().set_limits("press", std::nullopt, mill.patience);
    CHECK_FALSE(two->store().limits("press"));
    CHECK(mill.claim(*one) == 0);  // three run, and two may
    REQUIRE(one->run_one() != nullptr);
    CHECK(mill.claim(*one) == 0);
    REQUIRE(one->run_one() != nullptr);
    CHECK(mill.claim(*one) == 1);
}

TEST_CASE("Store: in order one task of a partition is claimed at a time, by age, and a retry keeps the turn") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    mill.add<Sync>(*one, {"a1", "a2", "b1", "a3"});
    CHECK(mill.claim(*one) == 2);
    CHECK(mill.claim(*two) == 0);
    mill.answer = [&](const std::string& text) {
        return text == "a1" && mill.processed.size() < 4 ? Outcome::retry("not now") : Outcome::success();
    };
    mill.work(*one);
    mill.work(*two);
    CHECK(mill.processed == std::vector<std::string>{"a1", "b1"});
    CHECK(two->next_work().value_or(0ms) > 0ms);  // the turn's task is due then
    mill.clock.advance(10s);
    mill.work(*two);
    CHECK(mill.processed == std::vector<std::string>{"a1", "b1", "a1"});
    mill.answer = nullptr;
    mill.clock.advance(10s);
    mill.work(*two);
    CHECK(mill.processed == std::vector<std::string>{"a1", "b1", "a1", "a1", "a2", "a3"});
}

TEST_CASE("Store: in order a death keeps the turn, and whoever lives goes on with it") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    mill.add<Sync>(*one, {"a1", "a2", "a3"});
    CHECK(mill.claim(*one) == 1);
    CHECK(mill.claim(*two) == 0);
    one->die(1);
    two->look_after_others();
    mill.work(*two);
    CHECK(mill.processed == std::vector<std::string>{"a1", "a2", "a3"});
}

TEST_CASE("Store: of a partition no more are claimed than its limits allow, and others go on beside it") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.add<Fetch>(*client, {"a1", "a2", "a3", "a4", "a5", "b1"});
    CHECK(mill.claim(*client) == 3);
    CHECK(mill.claim(*client) == 0);
    REQUIRE(client->run_one() != nullptr);
    CHECK(mill.claim(*client) == 1);
    mill.work(*client);
    CHECK(mill.processed.size() == 4);  // three a: that was the burst
    CHECK(client->next_work() == 500ms);
    mill.clock.advance(500ms);
    mill.work(*client);
    CHECK(mill.processed.size() == 5);
    mill.clock.advance(500ms);
    mill.work(*client);
    CHECK(mill.processed.size() == 6);
}

TEST_CASE("Store: a task that was told of a rate closes its queue for all clients, and spends no attempt") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    mill.answer = [&](const std::string& text) {
        return text == "a" && mill.processed.size() == 1 ? Outcome::rate_limited(1min) : Outcome::success();
    };
    mill.add<Note>(*one, {"a"});
    mill.work(*one);
    CHECK(mill.processed.size() == 1);
    mill.add<Note>(*two, {"b"});
    mill.work(*two);
    mill.work(*one);
    CHECK(mill.processed.size() == 1);
    CHECK(one->next_work().value_or(0ms) > 0ms);
    mill.clock.advance(1min - 1ms);
    mill.work(*two);
    CHECK(mill.processed.size() == 1);
    mill.clock.advance(1ms);
    mill.work(*one);
    CHECK(mill.processed == std::vector<std::string>{"a", "b", "a"});  // its queue has one attempt
}

TEST_CASE("Store: a task that was told of a rate closes its partition, and others go on") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    mill.answer = [&](const std::string& text) {
        return text == "a1" && mill.processed.size() == 1 ? Outcome::rate_limited(1min) : Outcome::success();
    };
    mill.add<Fetch>(*one, {"a1"});
    mill.work(*one);
    mill.add<Fetch>(*one, {"a2", "b1", "a3"});
    mill.work(*two);
    mill.work(*one);
    CHECK(mill.processed == std::vector<std::string>{"a1", "b1"});
    mill.clock.advance(1min);
    mill.work(*two);
    CHECK(mill.processed.size() == 5);
}

TEST_CASE("Store: stored limits without any bound free a queue that its program has limited") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    client->store().set_limits("press", Limits{}, mill.patience);
    mill.add<Press>(*client, {"a", "b", "c", "d"});
    CHECK(mill.claim(*client) == 4);
}

TEST_CASE("Store: limits of a queue that nobody registered are kept, and hold up nothing") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    client->store().set_limits("elsewhere", Limits{.running = 1}, mill.patience);
    mill.add<Note>(*client, {"a", "b"});
    CHECK(mill.claim(*client) == 2);
    CHECK(client->store().limits("elsewhere") == Limits{.running = 1});
}

}  // namespace limits_store_test
