// SPDX-License-Identifier: MIT
// What every store does for queues of batches, shown by the library's scheduler on it.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
#include <backlite/batch.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
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

namespace batches_store_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::MemoryFile;
using backlite_test::MemoryStore;
using backlite_test::SteppedClient;
using backlite_test::TempFolder;
using detail::Ms;

struct Row {
    std::string text{};
    static QueueConfig config() { return {.name = "row", .max_attempts = 5, .backoff = 0s}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Row, text)

/// Two at once over all clients.
struct Capped {
    std::string text{};
    static QueueConfig config() { return {.name = "capped", .limits = {.running = 2}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Capped, text)

/// Two a second.
struct Rated {
    std::string text{};
    static QueueConfig config() { return {.name = "rated", .limits = {.rate = {.count = 2, .period = 1s}}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Rated, text)

/// One a second of each host.
struct Fetch {
    std::string text{};
    static QueueConfig config() {
        return {.name = "fetch", .limits = {.rate_per_partition = {.count = 1, .period = 1s}}};
    }
    [[nodiscard]] std::string partition() const { return text.substr(0, 1); }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Fetch, text)

/// One by one.
struct Single {
    std::string text{};
    static QueueConfig config() { return {.name = "single"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Single, text)

enum class Kind { memory, sqlite };

/// Clients on one file, and what their processors were called with: "a+b".
class Mill {
public:
    explicit Mill(Kind kind, BatchOptions options = {.max = 3, .max_wait = 50ms}) : kind_(kind) {
        queues_.add(batches<Row>(options));
        queues_.add(batches<Capped>(options));
        queues_.add(batches<Rated>(options));
        queues_.add(batches<Fetch>(options));
        queues_.add(Queue<Single>([this](const Single& task) { processed.push_back(task.text); }).release());
        smaller_.add(batches<Row>({.max = 2}));
        single_.add(Queue<Row>([this](const Row& task) { processed.push_back(task.text); }).release());
        if (kind == Kind::sqlite) folder_.emplace();
    }
    Mill(const Mill&) = delete;
    Mill& operator=(const Mill&) = delete;
    ~Mill() = default;

    [[nodiscard]] std::unique_ptr<SteppedClient> client() { return client(queues_); }
    /// With a queue of batches of two.
    [[nodiscard]] std::unique_ptr<SteppedClient> smaller_client() { return client(smaller_); }
    /// For whom the tasks run one by one.
    [[nodiscard]] std::unique_ptr<SteppedClient> single_client() { return client(single_); }

    template <class T>
    void add(SteppedClient& to, std::initializer_list<const char*> texts, std::optional<Duration> wait = std::nullopt,
             int priority = 0) {
        std::vector<detail::NewTask> tasks;
        for (const char* text : texts) {
            tasks.push_back({TaskId::from_text(std::string{"task-"} + text), detail::queue_config<T>().name,
                             nlohmann::json(T{text}).dump(), detail::type_name<T>(), priority});
            const Limits limits = detail::queue_config<T>().limits;
            if (!limits.by_partition()) continue;
            tasks.back().partition = std::make_shared<detail::PartitionAdd>(detail::PartitionAdd{
                detail::partition_of(T{text}), limits.turns(), limits.in_order, limits.rate_per_partition.any()});
        }
        const Ms now = detail::to_ms(clock.now());
        to.store().add({.tasks = tasks, .now = now, .wait_until = wait ? std::optional{now + *wait} : std::nullopt},
                       patience);
        to.refresh();
    }

    /// Looks, writes what has ended, and claims: the batches, as "a+b", by their ids.
    std::vector<std::string> claim(SteppedClient& client) {
        client.store().look();
        client.look();
        std::vector<std::string> batches;
        for (const detail::ClaimedTask& task : client.cycle(client.plan()).claimed.tasks) {
            std::string text = task.id.str().substr(5);
            for (const detail::ClaimedTask& other : task.others) text += "+" + other.id.str().substr(5);
            batches.push_back(std::move(text));
        }
        return batches;
    }

    /// Claims and runs until nothing more is to be done now.
    void work(SteppedClient& client) {
        do {
            while (client.run_one() != nullptr) {
            }
        } while (!claim(client).empty() || !claim(client).empty());
    }

    const store::Patience patience{5s, {}};
    testing::ManualClock clock{};
    std::vector<std::string> processed{};
    std::function<std::vector<Outcome>(std::size_t)> answer{};

private:
    template <class T>
    std::unique_ptr<detail::QueueBase> batches(BatchOptions options) {
        return BatchQueue<T>(options,
                             [this](std::span<const T> tasks) {
                                 std::string text;
                                 for (const T& task : tasks) text += (text.empty() ? "" : "+") + task.text;
                                 processed.push_back(text);
                                 return answer ? answer(tasks.size())
                                               : std::vector<Outcome>(tasks.size(), Outcome::success());
                             })
            .release();
    }

    [[nodiscard]] std::unique_ptr<SteppedClient> client(const core::QueueRegistry& queues) {
        ClientConfig config{.database = folder_ ? folder_->file("mill.db") : "mill"};
        config.cleanup_interval = 0s;
        SteppedClient::Open open = &store::sqlite::open;
        if (kind_ == Kind::memory) {
            open = [this](const ClientConfig& c, const Clock& its_clock, const detail::SafeLogger&,
                          store::StoreHooks hooks) -> std::unique_ptr<store::Store> {
                return std::make_unique<MemoryStore>(memory_, c, its_clock, std::move(hooks));
            };
        }
        auto client = std::make_unique<SteppedClient>(std::move(config), queues, clock, open);
        client->start();
        return client;
    }

    const Kind kind_;
    std::optional<TempFolder> folder_{};
    MemoryFile memory_{};
    core::QueueRegistry queues_{};
    core::QueueRegistry smaller_{};
    core::QueueRegistry single_{};
};

using Batches = std::vector<std::string>;

TEST_CASE("Store: a batch is claimed once it is full, or its oldest task has waited long enough") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.add<Row>(*client, {"a", "b"});
    CHECK(mill.claim(*client).empty());
    CHECK(client->next_work() == 50ms);
    mill.clock.advance(20ms);
    mill.add<Row>(*client, {"c", "d"});
    CHECK(mill.claim(*client) == Batches{"a+b+c"});  // full
    REQUIRE(client->run_one() != nullptr);
    CHECK(mill.claim(*client).empty());
    CHECK(client->next_work() == 50ms);  // from when the one that is left was due
    mill.clock.advance(49ms);
    CHECK(mill.claim(*client).empty());
    mill.add<Row>(*client, {"e"});
    mill.clock.advance(1ms);
    CHECK(mill.claim(*client) == Batches{"d+e"});  // has waited
    REQUIRE(client->run_one() != nullptr);
    CHECK(mill.claim(*client).empty());
    CHECK(mill.processed == Batches{"a+b+c", "d+e"});
    CHECK(client->store().counts(detail::to_ms(mill.clock.now())).empty());
}

TEST_CASE("Store: tasks that are due later fill a batch when their time has come") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.add<Row>(*client, {"a"});
    mill.add<Row>(*client, {"later"}, 1h);
    mill.add<Row>(*client, {"b"}, 20ms);
    mill.add<Row>(*client, {"c"}, 30ms);
    CHECK(mill.claim(*client).empty());
    CHECK(client->next_work() == 30ms);  // not 50 ms: it is full then
    mill.clock.advance(29ms);
    CHECK(mill.claim(*client).empty());
    mill.clock.advance(1ms);
    CHECK(mill.claim(*client) == Batches{"a+b+c"});
}

TEST_CASE("Store: each free worker gets a batch, in the order of the ranks, and nothing is claimed ahead") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();  // of four workers
    mill.add<Row>(*client, {"a", "b", "c", "d", "e", "f", "g"});
    mill.add<Row>(*client, {"first", "second"}, std::nullopt, 10);
    mill.add<Single>(*client, {"single"}, std::nullopt, 5);
    CHECK(mill.claim(*client) == Batches{"first+second+a", "single", "b+c+d", "e+f+g"});
    mill.add<Row>(*client, {"h", "i", "j"});
    CHECK(mill.claim(*client).empty());
    REQUIRE(client->run_one() != nullptr);
    CHECK(mill.claim(*client) == Batches{"h+i+j"});
}

TEST_CASE("Store: each task of a batch counts as one running, and as one start") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    const auto two = mill.client();
    mill.add<Capped>(*one, {"a"});
    CHECK(mill.claim(*one).empty());
    mill.add<Capped>(*one, {"b", "c", "d"});
    CHECK(mill.claim(*one) == Batches{"a+b"});  // as many as may run make it full
    CHECK(mill.claim(*two).empty());
    REQUIRE(one->run_one() != nullptr);
    CHECK(mill.claim(*one) == Batches{"c+d"});
    mill.add<Rated>(*one, {"e", "f", "g", "h"});
    CHECK(mill.claim(*one) == Batches{"e+f"});
    CHECK(mill.claim(*one).empty());
    mill.clock.advance(1s);
    CHECK(mill.claim(*one) == Batches{"g+h"});
}

TEST_CASE("Store: as many tasks as a stored limit lets run make a batch full") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite), {.max = 3, .max_wait = 1h});
    const auto client = mill.client();
    client->store().set_limits("row", Limits{.running = 2}, mill.patience);
    mill.add<Row>(*client, {"a", "b", "c"});
    CHECK(mill.claim(*client) == Batches{"a+b"});
    REQUIRE(client->run_one() != nullptr);
    client->store().set_limits("row", Limits{.running = 1}, mill.patience);
    client->refresh();
    CHECK(mill.claim(*client) == Batches{"c"});
}

TEST_CASE("Store: a task of a partition that may not start yet is not in the batch") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.add<Fetch>(*client, {"a1", "a2", "b1", "b2", "c1"});
    CHECK(mill.claim(*client) == Batches{"a1+b1+c1"});
    CHECK(mill.claim(*client).empty());
    mill.clock.advance(1s);
    CHECK(mill.claim(*client) == Batches{"a2+b2"});
    mill.work(*client);
    CHECK(mill.processed == Batches{"a1+b1+c1", "a2+b2"});
}

TEST_CASE("Store: each task of a batch has a claim, and an outcome, of its own") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    mill.answer = [](std::size_t tasks) {
        std::vector<Outcome> outcomes(tasks, Outcome::success());
        if (tasks == 3) outcomes = {Outcome::success(), Outcome::snooze(1h), Outcome::retry("again")};
        return outcomes;
    };
    mill.add<Row>(*client, {"a", "b", "c"});
    REQUIRE(mill.claim(*client) == Batches{"a+b+c"});
    REQUIRE(client->run_one() != nullptr);
    CHECK(mill.claim(*client).empty());  // the one that is tried again waits for others
    const TaskStatus statuses[] = {client->store().status(TaskId::from_text("task-a")),
                                   client->store().status(TaskId::from_text("task-b")),
                                   client->store().status(TaskId::from_text("task-c"))};
    CHECK(statuses[0] == TaskStatus::not_found);
    CHECK(statuses[1] == TaskStatus::pending);
    CHECK(statuses[2] == TaskStatus::pending);
    mill.clock.advance(50ms);
    CHECK(mill.claim(*client) == Batches{"c"});
}

TEST_CASE("Store: after a death inside of a batch each of its tasks runs alone, until a run has returned") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    auto two = mill.client();
    mill.add<Row>(*one, {"a", "b", "c"});
    REQUIRE(mill.claim(*two) == Batches{"a+b+c"});
    two->die(1);
    one->look_after_others();
    REQUIRE(one->rescued().size() == 1);
    CHECK(std::count(one->rescued()[0].begin(), one->rescued()[0].end(), ':') == 3);  // all crashed
    mill.add<Row>(*one, {"d", "e", "f"});
    CHECK(mill.claim(*one) == Batches{"a", "b", "c", "d+e+f"});
    mill.answer = [](std::size_t tasks) { return std::vector<Outcome>(tasks, Outcome::retry("again")); };
    while (one->run_one() != nullptr) {
    }
    CHECK(mill.processed == Batches{"a", "b", "c", "d+e+f"});
    Batches again = mill.claim(*one);
    if (again.empty()) again = mill.claim(*one);  // that was a cycle that only wrote
    CHECK(again == Batches{"a+b+c", "d+e+f"});    // no suspects any more
}

TEST_CASE("Store: a death of a client that was in no batch makes none of the tasks a suspect") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    auto two = mill.client();
    mill.add<Row>(*one, {"a", "b", "c"});
    mill.add<Single>(*one, {"single"}, std::nullopt, 5);
    REQUIRE(mill.claim(*two) == Batches{"single", "a+b+c"});
    two->die(1);  // in "single"
    one->look_after_others();
    CHECK(mill.claim(*one) == Batches{"single", "a+b+c"});
}

TEST_CASE("Store: a suspect that was claimed beside a batch is not charged with its death") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    for (int deaths = 0; deaths < 2; ++deaths) {  // two of the three that it may have
        auto two = mill.client();
        if (deaths == 0) mill.add<Row>(*one, {"suspect"});
        mill.clock.advance(50ms);
        REQUIRE(mill.claim(*two) == Batches{"suspect"});
        two->die(1);
        one->look_after_others();
    }
    mill.add<Row>(*one, {"a", "b", "c"}, std::nullopt, 5);
    auto two = mill.client();
    REQUIRE(mill.claim(*two) == Batches{"a+b+c", "suspect"});
    two->die(1);  // in the batch
    one->look_after_others();
    mill.work(*one);
    CHECK(std::count(mill.processed.begin(), mill.processed.end(), "suspect") == 1);
}

TEST_CASE("Store: clients with other batches, or none, share a file") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    const auto smaller = mill.smaller_client();
    const auto single = mill.single_client();
    mill.add<Row>(*client, {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"});
    const Batches singles = mill.claim(*single);
    CHECK(singles == Batches{"a", "b", "c", "d"});
    CHECK(mill.claim(*client) == Batches{"e+f+g", "h+i+j"});
    CHECK(mill.claim(*smaller) == Batches{"k"});
    mill.work(*single);
    mill.work(*client);
    mill.work(*smaller);
    CHECK(mill.processed.size() == 7);
    CHECK(client->store().counts(detail::to_ms(mill.clock.now())).empty());
}

TEST_CASE("Store: what is given back of a batch waits again, task by task") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = mill.client();
    auto two = mill.client();
    mill.add<Row>(*one, {"a", "b", "c"});
    REQUIRE(mill.claim(*two) == Batches{"a+b+c"});
    two->stop();
    CHECK(mill.claim(*one) == Batches{"a+b+c"});
}

TEST_CASE("Store: a paused queue gathers no batch, and wakes nobody") {
    Mill mill(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = mill.client();
    client->store().set_paused("row", detail::to_ms(mill.clock.now()), mill.patience);
    client->refresh();
    mill.add<Row>(*client, {"a", "b", "c"});
    CHECK(mill.claim(*client).empty());
    CHECK_FALSE(client->next_work());
    client->store().set_paused("row", std::nullopt, mill.patience);
    client->refresh();
    CHECK(mill.claim(*client) == Batches{"a+b+c"});
}

}  // namespace batches_store_test
