// SPDX-License-Identifier: MIT
// What every store does with unique keys that count only while a task waits, or after it has ended.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
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
#include <backlite/unique.hpp>

#include <backlite_catch.hpp>
#include <memory_store.hpp>
#include <stepped_client.hpp>
#include <temp_folder.hpp>

namespace unique_store_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::MemoryFile;
using backlite_test::MemoryStore;
using backlite_test::SteppedClient;
using backlite_test::TempFolder;
using detail::Ms;
using Texts = std::vector<std::string>;

struct Draft {
    std::string text{};
    static QueueConfig config() {
        return {.name = "drafts",
                .max_attempts = 3,
                .backoff = 5s,
                .retention = Retention{.duration = 1min, .data = RetainData{}},
                .unique = {.conflict = Conflict::latest}};
    }
};
struct Index {
    std::string text{};
    static QueueConfig config() {
        return {.name = "index", .max_attempts = 3, .backoff = 5s, .unique = {Conflict::keep, UniqueUntil::started}};
    }
};
struct Alert {
    std::string text{};
    static QueueConfig config() {
        return {.name = "alerts", .max_attempts = 2, .unique = {.conflict = Conflict::keep, .period = 1h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Draft, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Index, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Alert, text)

enum class Kind { memory, sqlite };

/// Clients on one store, whose processors note what they are given.
class Desk {
public:
    explicit Desk(Kind kind) : kind_(kind) {
        const auto process = [this](const std::string& text) {
            processed.push_back(text);
            return answer ? answer(text) : Outcome::success();
        };
        queues_.add(Queue<Draft>([process](const Draft& draft) { return process(draft.text); }).release());
        queues_.add(Queue<Index>([process](const Index& index) { return process(index.text); }).release());
        queues_.add(Queue<Alert>([process](const Alert& alert) { return process(alert.text); }).release());
        if (kind == Kind::sqlite) folder_.emplace();
    }

    [[nodiscard]] std::unique_ptr<SteppedClient> client() {
        SteppedClient::Open open = &store::sqlite::open;
        if (kind_ == Kind::memory) {
            open = [this](const ClientConfig& c, const Clock& its_clock, const detail::SafeLogger&,
                          store::StoreHooks hooks) -> std::unique_ptr<store::Store> {
                return std::make_unique<MemoryStore>(memory_, c, its_clock, std::move(hooks));
            };
        }
        return std::make_unique<SteppedClient>(ClientConfig{.database = folder_ ? folder_->file("desk.db") : "desk"},
                                               queues_, clock, open);
    }

    /// With the key "k", as its queue says.
    template <class T>
    AddResult add(SteppedClient& to, const std::string& text, std::optional<Duration> wait = std::nullopt,
                  const std::function<void(detail::UniqueAdd&)>& change = {}) {
        const QueueConfig& config = detail::queue_config<T>();
        std::vector<detail::NewTask> tasks(1);
        detail::NewTask& task = tasks.front();
        task = {TaskId::from_text("task-" + std::to_string(++ids_)), config.name, nlohmann::json(T{text}).dump(),
                detail::type_name<T>()};
        task.unique = std::make_shared<detail::UniqueAdd>();
        task.unique->key = "k";
        task.unique->conflict = config.unique.conflict;
        task.unique->until_started = config.unique.until == UniqueUntil::started;
        task.unique->period = config.unique.period;
        task.unique->keep_row = task.unique->keep_payload = config.retention.has_value();
        task.unique->keep_time = 1min;
        if (change) change(*task.unique);
        const Ms now = to.now();
        to.store().add({.tasks = tasks, .now = now, .wait_until = wait ? std::optional{now + *wait} : std::nullopt},
                       patience);
        to.refresh();
        return task.inserted() ? AddResult{task.id, AddedAs::inserted}
                               : AddResult{task.unique->existing, task.unique->as};
    }

    /// Looks, claims what is due, runs it, writes what came of it, as long as there is something.
    void work(SteppedClient& client, int rounds = 10) {
        for (int round = 0; round < rounds; ++round) {
            client.look();
            static_cast<void>(client.cycle(client.plan()));
            while (client.run_one() != nullptr) {
            }
        }
    }
    void pass(SteppedClient& client, Duration time) {
        clock.advance(time);
        client.refresh();
        work(client);
    }
    CancelResult cancel(SteppedClient& client, const TaskId& id) {
        const auto keep = [](std::string_view) { return store::KeepRule{}; };
        return client.store().cancel({.id = id, .now = client.now(), .keep = keep}, patience);
    }

    const store::Patience patience{5s, {}};
    testing::ManualClock clock{};
    Texts processed{};
    std::function<Outcome(const std::string&)> answer{};

private:
    const Kind kind_;
    std::optional<TempFolder> folder_{};
    MemoryFile memory_{};
    core::QueueRegistry queues_{};
    int ids_ = 0;
};

// ---- until it has started -------------------------------------------------------------------------------------------

TEST_CASE("Store: a key that counts until its task starts keeps out others that would wait, and none that would run") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    const auto other = desk.client();
    client->start();
    const AddResult first = desk.add<Index>(*client, "first");
    CHECK(desk.add<Index>(*other, "x") == AddResult{first.id, AddedAs::existing});
    std::vector<AddedAs> beside;
    desk.answer = [&](const std::string& text) {
        if (text != "first") return Outcome::success();
        beside.push_back(desk.add<Index>(*other, "second").as);
        beside.push_back(desk.add<Index>(*other, "third").as);
        return Outcome::success();
    };
    desk.work(*client);
    CHECK(beside == std::vector{AddedAs::inserted, AddedAs::existing});
    CHECK(desk.processed == Texts{"first", "second"});
    CHECK(desk.add<Index>(*other, "fourth").as == AddedAs::inserted);
}

TEST_CASE("Store: a task that comes back takes its key again, and goes on without one if a newer one waits") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    client->start();
    bool beside = GENERATE(false, true);
    const bool second = beside;
    desk.answer = [&](const std::string& text) {
        if (text != "first") return Outcome::success();
        if (std::exchange(beside, false)) desk.add<Index>(*client, "second", 1h);
        return desk.processed.size() == 1 ? Outcome::retry("again") : Outcome::success();
    };
    const TaskId first = desk.add<Index>(*client, "first").id;
    desk.work(*client);
    const AddResult third = desk.add<Index>(*client, "third", 1h);
    CHECK(third.as == AddedAs::existing);
    CHECK((third.id == first) == !second);
    desk.pass(*client, 5s);
    CHECK(desk.processed == Texts{"first", "first"});
    CHECK(desk.add<Index>(*client, "fourth", 1h).as == (second ? AddedAs::existing : AddedAs::inserted));
    desk.pass(*client, 1h);
    CHECK(desk.processed == Texts{"first", "first", second ? "second" : "fourth"});
    CHECK(desk.add<Index>(*client, "fifth").as == AddedAs::inserted);
}

TEST_CASE("Store: a snooze, a give-back and a rescue give a task its key again") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const std::string way = GENERATE("snooze", "give back", "rescue");
    CAPTURE(way);
    auto client = desk.client();
    const auto other = desk.client();
    other->start();
    client->start();
    desk.answer = [](const std::string&) { return Outcome::snooze(1h); };
    const TaskId id = desk.add<Index>(*client, "a").id;
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    CHECK(client->store().status(id) == TaskStatus::running);
    if (way == "snooze") {
        REQUIRE(client->run_one() != nullptr);
        desk.work(*client);
    } else if (way == "give back") {
        client->stop();
    } else {
        client->die(0);
        other->look_after_others();
    }
    CHECK(other->store().status(id) == TaskStatus::pending);
    CHECK(desk.add<Index>(*other, "b") == AddResult{id, AddedAs::existing});
}

// ---- the latest
// ------------------------------------------------------------------------------------------------------

TEST_CASE("Store: of one key of latest one runs and one waits, with the newest payload, until the first has ended") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    const auto other = desk.client();
    client->start();
    const bool fails = GENERATE(false, true);
    const TaskId first = desk.add<Draft>(*client, "1").id;
    CHECK(desk.add<Draft>(*other, "2") == AddResult{first, AddedAs::replaced});
    AddResult beside;
    desk.answer = [&](const std::string& text) {
        if (text != "2") return Outcome::success();
        beside = desk.add<Draft>(*other, "3");
        CHECK(desk.add<Draft>(*other, "4") == AddResult{beside.id, AddedAs::replaced});
        client->refresh();
        client->look();
        static_cast<void>(client->cycle(client->plan()));  // a worker is free, but the newer one is held
        CHECK(client->run_one() == nullptr);
        return fails ? Outcome::discard("no") : Outcome::success();
    };
    desk.work(*client);
    CHECK(beside.as == AddedAs::inserted);
    CHECK(beside.id != first);
    CHECK(desk.processed == Texts{"2", "4"});
    CHECK(client->store().status(first) == (fails ? TaskStatus::failed : TaskStatus::succeeded));
    CHECK(client->store().status(beside.id) == TaskStatus::succeeded);
}

TEST_CASE("Store: a task of latest that comes back ends as cancelled if a newer one waits, which then runs") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const std::string way = GENERATE("retry", "snooze", "give back", "rescue");
    CAPTURE(way);
    auto client = desk.client();
    const auto other = desk.client();
    client->start();
    other->start();
    desk.answer = [&](const std::string& text) {
        if (text != "old") return Outcome::success();
        return way == "retry" ? Outcome::retry("again") : Outcome::snooze(0ms);
    };
    const TaskId old = desk.add<Draft>(*client, "old").id;
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    const AddResult newer = desk.add<Draft>(*other, "new");
    CHECK(newer.as == AddedAs::inserted);
    desk.work(*other);
    CHECK(other->store().status(newer.id) == TaskStatus::pending);
    if (way == "rescue") {
        client->die(1);
        other->look_after_others();
    } else if (way == "give back") {
        client->stop();
    } else {
        REQUIRE(client->run_one() != nullptr);
        static_cast<void>(client->cycle(client->plan()));
    }
    CHECK(other->store().status(old) == TaskStatus::cancelled);
    CHECK(other->store().counts(other->now()).size() == 1);
    other->refresh();
    desk.work(*other);
    CHECK(desk.processed.back() == "new");
    CHECK(other->store().status(newer.id) == TaskStatus::succeeded);
}

TEST_CASE("Store: a task of latest that comes back alone runs again, and is replaced as long as it waits") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    client->start();
    desk.answer = [&](const std::string& text) { return text == "old" ? Outcome::retry("again") : Outcome::success(); };
    const TaskId id = desk.add<Draft>(*client, "old").id;
    desk.work(*client);
    CHECK(desk.add<Draft>(*client, "new") == AddResult{id, AddedAs::replaced});
    desk.work(*client);
    CHECK(desk.processed == Texts{"old", "new"});
    CHECK(client->store().status(id) == TaskStatus::succeeded);
}

TEST_CASE("Store: the newer one may be cancelled, and then the older one runs again as ever") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    client->start();
    desk.answer = [&](const std::string& text) {
        if (text != "old" || desk.processed.size() > 1) return Outcome::success();
        CHECK(desk.cancel(*client, desk.add<Draft>(*client, "new").id) == CancelResult::cancelled);
        return Outcome::retry("again");
    };
    const TaskId id = desk.add<Draft>(*client, "old").id;
    desk.work(*client);
    desk.pass(*client, 5s);
    CHECK(desk.processed == Texts{"old", "old"});
    CHECK(client->store().status(id) == TaskStatus::succeeded);
}

TEST_CASE("Store: an older one that is cancelled while it runs makes way when it ends") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    client->start();
    TaskId id;
    desk.answer = [&](const std::string& text) {
        if (text != "old") return Outcome::success();
        desk.add<Draft>(*client, "new");
        CHECK(desk.cancel(*client, id) == CancelResult::requested);
        return Outcome::retry("again");
    };
    id = desk.add<Draft>(*client, "old").id;
    desk.work(*client);
    CHECK(desk.processed == Texts{"old", "new"});
}

// ---- after the end
// ---------------------------------------------------------------------------------------------------

TEST_CASE("Store: a key with a period counts for so long after its task has succeeded or failed for good") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    client->start();
    const bool fails = GENERATE(false, true);
    desk.answer = [&](const std::string&) { return fails ? Outcome::discard("no") : Outcome::success(); };
    const TaskId first = desk.add<Alert>(*client, "first").id;
    desk.work(*client);
    CHECK(client->store().status(first) == (fails ? TaskStatus::failed : TaskStatus::succeeded));
    CHECK(desk.add<Alert>(*client, "x") == AddResult{first, AddedAs::existing});
    desk.pass(*client, 1h - 1ms);
    CHECK(desk.add<Alert>(*client, "x") == AddResult{first, AddedAs::existing});
    CHECK_THROWS_AS(desk.add<Alert>(*client, "x", {}, [](auto& unique) { unique.conflict = Conflict::reject; }),
                    DuplicateError);
    desk.clock.advance(1ms);
    CHECK(desk.add<Alert>(*client, "second").as == AddedAs::inserted);
    desk.pass(*client, 0ms);
    CHECK(desk.processed == Texts{"first", "second"});
    CHECK(desk.add<Alert>(*client, "x").as == AddedAs::existing);
}

TEST_CASE("Store: a task that was cancelled or retries keeps nobody out beyond that") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    client->start();
    desk.answer = [&](const std::string&) { return Outcome::retry_in(10s, "again"); };
    const TaskId first = desk.add<Alert>(*client, "first").id;
    desk.work(*client);
    CHECK(desk.add<Alert>(*client, "x") == AddResult{first, AddedAs::existing});
    CHECK(desk.cancel(*client, first) == CancelResult::cancelled);
    CHECK(desk.add<Alert>(*client, "second").as == AddedAs::inserted);
}

// ---- debounce
// --------------------------------------------------------------------------------------------------------

TEST_CASE("Store: a debounced task waits for a pause between its adds, but not longer than its bound") {
    Desk desk(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = desk.client();
    client->start();
    const auto add = [&](const std::string& text) {
        return desk.add<Alert>(*client, text, {}, [&](detail::UniqueAdd& unique) {
            unique = {.key = "k", .conflict = Conflict::replace, .max_delay = 5s, .debounced = client->now() + 2s};
        });
    };
    const TaskId id = add("a").id;
    for (const char* text : {"b", "c", "d"}) {
        desk.pass(*client, 1'500ms);
        CHECK(add(text) == AddResult{id, AddedAs::replaced});
        CHECK(desk.processed.empty());
    }
    desk.pass(*client, 499ms);
    CHECK(desk.processed.empty());
    desk.pass(*client, 1ms);
    CHECK(desk.processed == Texts{"d"});
}

}  // namespace unique_store_test
