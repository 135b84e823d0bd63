// SPDX-License-Identifier: MIT
// What every store does when tasks are changed from outside, shown by the library's scheduler on it.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
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

namespace changes_store_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::MemoryFile;
using backlite_test::MemoryStore;
using backlite_test::SteppedClient;
using backlite_test::TempFolder;
using detail::Ms;
using store::Change;
using store::ChangePlan;
using store::ChangeResult;

/// One attempt; kept with its payload.
struct Parcel {
    std::string text{};
    static QueueConfig config() {
        return {.name = "parcels", .retention = Retention{.duration = 1h, .data = RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Parcel, text)

enum class Kind { memory, sqlite };

class Depot {
public:
    explicit Depot(Kind kind) {
        queues_.add(Queue<Parcel>([this](const Parcel& parcel) {
                        processed.push_back(parcel.text);
                        return fails ? Outcome::discard("lost") : Outcome::success();
                    }).release());
        ClientConfig config{.database = folder_.file("depot.db")};
        config.cleanup_interval = 0s;
        SteppedClient::Open open = &store::sqlite::open;
        if (kind == Kind::memory) {
            open = [this](const ClientConfig& c, const Clock& its_clock, const detail::SafeLogger&,
                          store::StoreHooks hooks) -> std::unique_ptr<store::Store> {
                return std::make_unique<MemoryStore>(memory_, c, its_clock, std::move(hooks));
            };
        }
        client = std::make_unique<SteppedClient>(std::move(config), queues_, clock, open);
        client->start();
    }

    TaskId add(const std::string& text, std::optional<Duration> wait = std::nullopt) {
        std::vector<detail::NewTask> tasks{{TaskId::from_text("task-" + text), detail::queue_config<Parcel>().name,
                                            nlohmann::json(Parcel{text}).dump(), detail::type_name<Parcel>()}};
        const Ms now = detail::to_ms(clock.now());
        client->store().add(
            {.tasks = tasks, .now = now, .wait_until = wait ? std::optional{now + *wait} : std::nullopt}, patience);
        client->refresh();
        return tasks.front().id;
    }

    ChangeResult change(Change change, std::vector<ChangePlan::Task> tasks, TaskState only = TaskState::any,
                        int priority = 0) {
        ChangeResult result = client->store().change({.change = change,
                                                      .tasks = tasks,
                                                      .only = only,
                                                      .now = detail::to_ms(clock.now()),
                                                      .priority = priority,
                                                      .keep =
                                                          [](std::string_view) {
                                                              return store::KeepRule{true, true, 1h};
                                                          }},
                                                     patience);
        client->refresh();
        return result;
    }

    void claim() {
        client->look();
        claimed = client->cycle(client->plan()).claimed.tasks.size();
    }
    void run_all() {
        for (int i = 0; i < 20; ++i) {
            claim();
            while (client->run_one() != nullptr) {
            }
        }
    }
    [[nodiscard]] std::vector<store::QueueHead> heads() const { return queues_.heads(); }
    TaskStatus status(const TaskId& id) { return client->store().status(id); }

    const store::Patience patience{5s, {}};
    testing::ManualClock clock{TimePoint{1'000'000s}};
    std::vector<std::string> processed{};
    bool fails = false;
    std::size_t claimed = 0;

private:
    TempFolder folder_{};
    MemoryFile memory_{};
    core::QueueRegistry queues_{};

public:
    std::unique_ptr<SteppedClient> client{};
};

bool is(const ChangeResult& result, std::size_t changed, std::size_t skipped) {
    return result.changed == changed && result.skipped == skipped;
}

TEST_CASE("Store: tasks are cancelled together, each as it stands, and those that have ended are skipped") {
    const Kind kind = GENERATE(Kind::memory, Kind::sqlite);
    Depot depot(kind);
    const TaskId running = depot.add("a");
    depot.claim();
    REQUIRE(depot.claimed == 1);
    const TaskId waiting = depot.add("b");
    const ChangeResult result = depot.change(Change::cancel, {{running}, {waiting}, {TaskId::from_text("none")}});
    CHECK(is(result, 2, 0));
    REQUIRE(result.cancelled.size() == 1);
    CHECK(result.cancelled[0].id == waiting);
    CHECK(result.cancelled[0].queue == "parcels");
    CHECK(depot.status(waiting) == TaskStatus::cancelled);
    depot.fails = true;
    depot.run_all();
    CHECK(depot.status(running) == TaskStatus::cancelled);
    CHECK(is(depot.change(Change::cancel, {{running}}), 0, 1));
}

TEST_CASE("Store: what failed waits again and runs, what succeeded or is gone does not") {
    const Kind kind = GENERATE(Kind::memory, Kind::sqlite);
    Depot depot(kind);
    depot.fails = true;
    const TaskId failed = depot.add("a");
    depot.run_all();
    depot.fails = false;
    const TaskId succeeded = depot.add("b");
    depot.run_all();
    REQUIRE(depot.status(failed) == TaskStatus::failed);
    depot.processed.clear();
    CHECK(
        is(depot.change(Change::retry, {{failed, true}, {succeeded, true}, {TaskId::from_text("gone"), true}}), 1, 2));
    CHECK(depot.status(failed) == TaskStatus::pending);
    CHECK(is(depot.change(Change::retry, {{failed}}), 0, 1));
    depot.run_all();
    CHECK(depot.processed == std::vector<std::string>{"a"});
    CHECK(depot.status(failed) == TaskStatus::succeeded);
}

TEST_CASE("Store: a worker whose task was brought back meanwhile changes nothing") {
    const Kind kind = GENERATE(Kind::memory, Kind::sqlite);
    Depot depot(kind);
    const TaskId id = depot.add("a");
    depot.claim();
    REQUIRE(depot.claimed == 1);
    depot.fails = true;
    const detail::AttemptResult* ended = depot.client->run_one();
    REQUIRE(ended != nullptr);
    const detail::AttemptResult first = *ended;
    depot.run_all();
    for (int round = 0; round < 3; ++round) {
        REQUIRE(depot.status(id) == TaskStatus::failed);
        REQUIRE(is(depot.change(Change::retry, {{id}}), 1, 0));
        depot.claim();
        REQUIRE(depot.claimed == 1);
        const std::vector<store::EndedAttempt> stale{{.resolved = first}};
        store::CyclePlan nothing;
        const std::vector<store::QueueHead> heads = depot.heads();
        const store::CycleResult result =
            depot.client->store().cycle({.outcomes = stale, .plan = nothing, .heads = heads}, depot.patience);
        CHECK(result.lost_outcomes.size() == 1);
        CHECK(depot.status(id) == TaskStatus::running);
        depot.run_all();
    }
}

TEST_CASE("Store: a task is removed unless it is claimed, and leaves nothing behind") {
    const Kind kind = GENERATE(Kind::memory, Kind::sqlite);
    Depot depot(kind);
    const TaskId running = depot.add("a");
    depot.claim();
    const TaskId waiting = depot.add("b");
    CHECK(is(depot.change(Change::remove, {{running}, {waiting}}), 1, 1));
    CHECK(depot.status(waiting) == TaskStatus::not_found);
    CHECK(depot.status(running) == TaskStatus::running);
    depot.run_all();
    REQUIRE(depot.status(running) == TaskStatus::succeeded);
    CHECK(is(depot.change(Change::remove, {{running, true}}), 1, 0));
    CHECK(depot.status(running) == TaskStatus::not_found);
}

TEST_CASE("Store: what is due later is due at once, and nothing else") {
    const Kind kind = GENERATE(Kind::memory, Kind::sqlite);
    Depot depot(kind);
    const TaskId later = depot.add("later", 1h);
    const TaskId now = depot.add("now");
    CHECK(is(depot.change(Change::run_now, {{later}, {now}}), 1, 1));
    depot.run_all();
    CHECK(depot.processed == std::vector<std::string>{"later", "now"});
    CHECK(is(depot.change(Change::run_now, {{later}}), 0, 1));
}

TEST_CASE("Store: a priority is changed where it differs, and counts at the next claim") {
    const Kind kind = GENERATE(Kind::memory, Kind::sqlite);
    Depot depot(kind);
    const TaskId a = depot.add("a");
    const TaskId b = depot.add("b");
    CHECK(is(depot.change(Change::set_priority, {{b}}, TaskState::any, 5), 1, 0));
    CHECK(is(depot.change(Change::set_priority, {{a}, {b}}, TaskState::any, 5), 1, 1));
    CHECK(is(depot.change(Change::set_priority, {{a}}, TaskState::any, -5), 1, 0));
    depot.run_all();
    CHECK(depot.processed == std::vector<std::string>{"b", "a"});
}

TEST_CASE("Store: a task in another state than the plan says is left alone") {
    const Kind kind = GENERATE(Kind::memory, Kind::sqlite);
    Depot depot(kind);
    const TaskId id = depot.add("a");
    for (const TaskState state : {TaskState::scheduled, TaskState::retrying, TaskState::running, TaskState::failed}) {
        CHECK(is(depot.change(Change::remove, {{id}}, state), 0, 1));
    }
    depot.claim();
    CHECK(is(depot.change(Change::cancel, {{id}}, TaskState::waiting), 0, 1));
    CHECK(is(depot.change(Change::cancel, {{id, true}}, TaskState::failed), 0, 1));  // it is not finished
    depot.run_all();
    REQUIRE(depot.status(id) == TaskStatus::succeeded);
    CHECK(is(depot.change(Change::remove, {{id}}, TaskState::failed), 0, 1));
    CHECK(is(depot.change(Change::remove, {{id, false}}, TaskState::succeeded), 0, 1));
    CHECK(is(depot.change(Change::remove, {{id}}, TaskState::succeeded), 1, 0));
}

TEST_CASE("Store: where numbers for claims have run out or are damaged, nothing comes back") {
    Depot depot(Kind::sqlite);
    depot.fails = true;
    const TaskId id = depot.add("a");
    depot.run_all();
    for (const char* value : {"'x'", "-1", "9223372036854775807", "1.5"}) {
        CAPTURE(value);
        depot.client->writes().write(
            [&](store::sqlite::Repository& repository) {
                store::sqlite::execute(repository.db, (std::string{"INSERT OR REPLACE INTO backlite_meta (key, value) "
                                                                   "VALUES ('last_return', "} +
                                                       value + ")")
                                                          .c_str());
            },
            depot.patience);
        CHECK_THROWS_AS(depot.change(Change::retry, {{id}}), Error);
        CHECK(depot.status(id) == TaskStatus::failed);
    }
}

}  // namespace changes_store_test
