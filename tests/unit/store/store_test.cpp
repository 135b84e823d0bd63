// SPDX-License-Identifier: MIT
// What every store does, shown by the library's scheduler on it: SQLite's in a file, and the one in memory, with which
// neither a thread starts nor a file opens.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/error.hpp>
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
#include <message_of.hpp>
#include <stepped_client.hpp>
#include <temp_folder.hpp>

namespace store_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::contains;
using backlite_test::MemoryFile;
using backlite_test::MemoryStore;
using backlite_test::message_of;
using backlite_test::SteppedClient;
using backlite_test::TempFolder;
using detail::Ms;

/// Three attempts, five seconds apart, and it is kept for a minute.
struct Letter {
    std::string text{};
    static QueueConfig config() {
        return {.name = "letters",
                .max_attempts = 3,
                .backoff = 5s,
                .retention = Retention{.duration = 1min, .data = RetainData{}},
                .max_crashes = 2};
    }
};
/// One attempt, and nothing is kept.
struct Note {
    std::string text{};
    static QueueConfig config() { return {.name = "notes"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Letter, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Note, text)

enum class Kind { memory, sqlite };

/// Clients on one store, whose processors note what they are given.
class Town {
public:
    explicit Town(Kind kind) : kind_(kind) {
        const auto process = [this](const std::string& text) {
            processed.push_back(text);
            return answer ? answer(text) : Outcome::success();
        };
        queues_.add(Queue<Letter>([process](const Letter& letter) { return process(letter.text); }).release());
        queues_.add(Queue<Note>([process](const Note& note) { return process(note.text); }).release());
        if (kind == Kind::sqlite) folder_.emplace();
    }

    [[nodiscard]] std::string file() const { return folder_->file("town.db"); }

    [[nodiscard]] std::unique_ptr<SteppedClient> client() {
        ClientConfig config{.database = folder_ ? file() : "town"};
        config.cleanup_interval = 1h;
        SteppedClient::Open open = &store::sqlite::open;
        if (kind_ == Kind::memory) {
            open = [this](const ClientConfig& c, const Clock& its_clock, const detail::SafeLogger&,
                          store::StoreHooks hooks) -> std::unique_ptr<store::Store> {
                return std::make_unique<MemoryStore>(memory_, c, its_clock, std::move(hooks));
            };
        }
        return std::make_unique<SteppedClient>(std::move(config), queues_, clock, open);
    }

    template <class T>
    TaskId add(SteppedClient& to, const std::string& text, std::optional<Duration> wait = std::nullopt,
               int priority = 0) {
        std::vector<detail::NewTask> tasks{task<T>(text)};
        tasks.front().priority = priority;
        const Ms now = detail::to_ms(clock.now());
        to.store().add({.tasks = tasks, .now = now, .wait_until = wait ? std::optional{now + *wait} : std::nullopt},
                       patience);
        to.refresh();
        return tasks.front().id;
    }

    /// Due after `wait`, and expired `after` now.
    template <class T>
    TaskId add_expiring(SteppedClient& to, const std::string& text, Duration wait, Duration after) {
        std::vector<detail::NewTask> tasks{task<T>(text)};
        const Ms now = detail::to_ms(clock.now());
        tasks.front().expires_at = now + after;
        to.store().add({.tasks = tasks, .now = now, .wait_until = now + wait}, patience);
        to.refresh();
        return tasks.front().id;
    }

    template <class T>
    AddResult add_unique(SteppedClient& to, const std::string& text, const std::string& key, Conflict conflict,
                         std::optional<Duration> wait = std::nullopt, int priority = 0) {
        std::vector<detail::NewTask> tasks{unique<T>(text, key, conflict)};
        tasks.front().priority = priority;
        const Ms now = detail::to_ms(clock.now());
        to.store().add({.tasks = tasks, .now = now, .wait_until = wait ? std::optional{now + *wait} : std::nullopt},
                       patience);
        to.refresh();
        const detail::NewTask& added = tasks.front();
        return added.inserted() ? AddResult{added.id, AddedAs::inserted}
                                : AddResult{added.unique->existing, added.unique->as};
    }

    template <class T>
    [[nodiscard]] detail::NewTask unique(const std::string& text, const std::string& key, Conflict conflict) {
        detail::NewTask made = task<T>(text);
        made.unique = std::make_shared<detail::UniqueAdd>();
        made.unique->key = key;
        made.unique->conflict = conflict;
        return made;
    }

    template <class T>
    [[nodiscard]] detail::NewTask task(const std::string& text) {
        return {TaskId::from_text("task-" + std::to_string(++ids_)), detail::queue_config<T>().name,
                nlohmann::json(T{text}).dump(), detail::type_name<T>()};
    }

    [[nodiscard]] bool save(SteppedClient& by, const detail::ClaimKey& claim,
                            const std::vector<std::pair<std::string, std::optional<std::string>>>& values) {
        std::vector<detail::SavedValue> all;
        for (const auto& [name, json] : values) all.push_back({name, json});
        return by.store().save({claim, detail::to_ms(clock.now()), all}, patience);
    }

    /// The values of a task, each as name and JSON.
    [[nodiscard]] static std::vector<std::string> saved(SteppedClient& by, const TaskId& id,
                                                        const store::NameRange& names = {}, std::size_t limit = 100) {
        std::vector<std::string> found;
        for (const detail::SavedValue& value : by.store().saved(id, names, limit)) {
            found.push_back(value.name + " " + value.json.value_or("none"));
        }
        return found;
    }

    /// Looks, claims what is due, runs it, writes what came of it, as long as there is something.
    void work(SteppedClient& client) {
        for (int round = 0; round < 10; ++round) {
            client.look();
            static_cast<void>(client.cycle(client.plan()));
            while (client.run_one() != nullptr) {
            }
        }
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

using Texts = std::vector<std::string>;

TEST_CASE("Store: what is due runs in the order of its time, over all queues, and not before") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.add<Note>(*client, "later", 20s);
    town.add<Letter>(*client, "soon", 10s);
    town.add<Letter>(*client, "first");
    town.clock.advance(1ms);
    town.add<Note>(*client, "second");
    town.work(*client);
    CHECK(town.processed == Texts{"first", "second"});
    town.clock.advance(9'998ms);
    client->store().look();
    town.work(*client);
    CHECK(town.processed.size() == 2);
    town.clock.advance(1ms + 10s);
    const auto other = town.client();  // its adds are others' commits
    town.add<Note>(*other, "from elsewhere");
    town.work(*client);
    CHECK(town.processed == Texts{"first", "second", "soon", "later", "from elsewhere"});
}

TEST_CASE("Store: of what is due the higher priority runs first, and each minute of waiting is a level") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.add<Note>(*client, "old", {}, -2);
    town.clock.advance(119s);
    town.add<Note>(*client, "usual");
    town.add<Letter>(*client, "high", {}, 5);
    town.clock.advance(2s);
    town.add<Letter>(*client, "too late");
    town.work(*client);
    CHECK(town.processed == Texts{"high", "usual", "old", "too late"});
    client->stop();
}

TEST_CASE("Store: waiting tasks are told in the order in which they would be claimed") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const TaskId later = town.add<Note>(*client, "later", 10s);
    const TaskId low = town.add<Note>(*client, "low", {}, -1);
    const TaskId usual = town.add<Note>(*client, "usual");
    const TaskId high = town.add<Note>(*client, "high", 2s, 1);
    std::vector<TaskId> ids;
    for (const store::WaitingTask& task : client->store().waiting("notes")) ids.push_back(task.id);
    CHECK(ids == std::vector{high, usual, later, low});
    client->stop();
}

TEST_CASE("Store: a failed attempt waits for its backoff, and the last one is kept with payload and error") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.answer = [](const std::string&) -> Outcome { throw std::runtime_error("no such street"); };
    const TaskId letter = town.add<Letter>(*client, "a");
    const TaskId note = town.add<Note>(*client, "b");
    town.work(*client);
    CHECK(town.processed == Texts{"a", "b"});
    CHECK(client->store().status(letter) == TaskStatus::pending);
    CHECK(client->store().status(note) == TaskStatus::not_found);  // its queue keeps nothing
    town.clock.advance(4'999ms);
    town.work(*client);
    CHECK(town.processed.size() == 2);
    town.clock.advance(1ms);
    town.work(*client);
    town.clock.advance(5s);
    town.work(*client);
    CHECK(town.processed == Texts{"a", "b", "a", "a"});
    CHECK(client->store().status(letter) == TaskStatus::failed);
}

TEST_CASE("Store: a snooze spends no attempt, a success is kept as long as its queue says") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    int snoozes = 5;
    town.answer = [&](const std::string&) { return snoozes-- > 0 ? Outcome::snooze(1s) : Outcome::success(); };
    const TaskId letter = town.add<Letter>(*client, "a");
    for (int i = 0; i < 5; ++i) {
        town.work(*client);
        town.clock.advance(1s);
    }
    CHECK(client->store().status(letter) == TaskStatus::pending);
    town.work(*client);
    CHECK(town.processed.size() == 6);
    CHECK(client->store().status(letter) == TaskStatus::succeeded);
    const auto expiry = client->store().next_expiry(town.patience);
    REQUIRE(expiry);
    CHECK(*expiry == detail::to_ms(town.clock.now()) + 1min);
    store::CyclePlan purge{.purge = true, .past = *expiry - 1ms};
    CHECK(client->cycle(purge).purged == 0);
    purge.past = *expiry;
    CHECK(client->cycle(purge).purged == 1);
    CHECK(client->store().status(letter) == TaskStatus::not_found);
}

TEST_CASE("Store: a claimed task saves values under its claim, which its next attempt finds") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    const TaskId id = town.add<Letter>(*client, "long");
    const TaskId beside = town.add<Letter>(*client, "beside");
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    const detail::ClaimKey claim{id, client->ready().front().claim};
    CHECK(town.saved(*other, id).empty());
    CHECK(town.save(*client, claim, {{"page", "1"}, {"part-b", "[2]"}, {"part-a", "\"\""}}));
    CHECK(town.saved(*other, id) == Texts{"page 1", "part-a \"\"", "part-b [2]"});
    CHECK(town.save(*client, claim, {{"page", "2"}, {"part-b", std::nullopt}, {"none", std::nullopt}}));
    CHECK(town.saved(*other, id) == Texts{"page 2", "part-a \"\""});
    CHECK(town.save(*client, claim, {{"pa", "3"}, {"part-a2", "4"}, {"q", "5"}}));
    CHECK(town.saved(*other, id, store::NameRange::of("pa")) == Texts{"pa 3"});
    CHECK(town.saved(*other, id, store::NameRange::with_prefix("part-")) == Texts{"part-a \"\"", "part-a2 4"});
    CHECK(town.saved(*other, id, store::NameRange{"page", {}}, 3) == Texts{"page 2", "part-a \"\"", "part-a2 4"});
    CHECK_FALSE(town.save(*client, {id, claim.number + 1}, {{"page", "9"}}));
    CHECK_FALSE(town.save(*client, {TaskId::from_text("none"), 1}, {{"page", "9"}}));
    town.answer = [](const std::string&) { return Outcome::retry("no"); };
    town.work(*client);
    CHECK_FALSE(town.save(*client, claim, {{"page", "9"}}));
    CHECK(town.saved(*client, id, store::NameRange::of("page")) == Texts{"page 2"});
    CHECK(town.saved(*client, beside).empty());
    CHECK(town.processed == Texts{"long", "beside"});
}

TEST_CASE("Store: a save is progress, from which crashes are counted anew") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const bool saves = GENERATE(false, true);
    const TaskId id = [&] {
        const auto first = town.client();
        first->start();
        const TaskId added = town.add<Letter>(*first, "deadly");
        first->look();
        static_cast<void>(first->cycle(first->plan()));
        first->die(1);
        return added;
    }();
    {
        const auto second = town.client();
        second->start();
        second->look();
        static_cast<void>(second->cycle(second->plan()));
        REQUIRE(second->ready().front().crashes == 1);
        if (saves) CHECK(town.save(*second, {id, second->ready().front().claim}, {{"page", "1"}}));
        second->die(1);
    }
    const auto third = town.client();
    third->start();
    third->look();
    static_cast<void>(third->cycle(third->plan()));
    CHECK(third->ready().front().crashes == (saves ? 1 : 2));
    town.work(*third);
    CHECK(third->store().status(id) == (saves ? TaskStatus::succeeded : TaskStatus::failed));
}

TEST_CASE("Store: what a task has saved goes with its success, and stays with a failed one as long as its payload") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const TaskId letter = town.add<Letter>(*client, "letter");
    const TaskId note = town.add<Note>(*client, "note");
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    REQUIRE(client->ready().size() == 2);
    for (const detail::ClaimedTask& task : client->ready()) {
        CHECK(town.save(*client, {task.id, task.claim}, {{"page", "1"}, {"part", "2"}}));
    }
    const auto run = [&] {
        while (client->run_one() != nullptr) {
        }
        static_cast<void>(client->cycle({}));
    };
    SECTION("success") {
        run();
        CHECK(client->store().status(letter) == TaskStatus::succeeded);
        CHECK(town.saved(*client, letter).empty());
        CHECK(town.saved(*client, note).empty());
    }
    SECTION("failure for good") {
        town.answer = [](const std::string&) { return Outcome::discard("no"); };
        run();
        CHECK(client->store().status(letter) == TaskStatus::failed);
        CHECK(town.saved(*client, letter) == Texts{"page 1", "part 2"});
        CHECK(town.saved(*client, note).empty());
        town.clock.advance(2h);
        town.work(*client);
        CHECK(client->store().status(letter) == TaskStatus::not_found);
        CHECK(town.saved(*client, letter).empty());
    }
    SECTION("a cancel while it waits for its next attempt") {
        town.answer = [](const std::string&) { return Outcome::snooze(1h); };
        run();
        const bool keeps = GENERATE(false, true);
        for (const TaskId& id : {letter, note}) {
            CHECK(client->store().cancel({.id = id,
                                          .now = client->now(),
                                          .keep =
                                              [&](std::string_view) {
                                                  return store::KeepRule{true, keeps, 1h};
                                              }},
                                         town.patience) == CancelResult::cancelled);
        }
        CHECK(town.saved(*client, letter) == (keeps ? Texts{"page 1", "part 2"} : Texts{}));
        town.clock.advance(2h);
        town.work(*client);
        CHECK(town.saved(*client, letter).empty());
    }
    SECTION("a cancel while it runs") {
        CHECK(client->store().cancel({.id = letter,
                                      .now = client->now(),
                                      .keep =
                                          [&](std::string_view) {
                                              return store::KeepRule{true, false, 1h};
                                          }},
                                     town.patience) == CancelResult::requested);
        town.answer = [](const std::string&) { return Outcome::retry("no"); };
        run();
        CHECK(client->store().status(letter) == TaskStatus::cancelled);
        CHECK(town.saved(*client, letter).empty());
    }
    SECTION("a cancel whose task dies") {
        CHECK(client->store().cancel({.id = letter,
                                      .now = client->now(),
                                      .keep =
                                          [&](std::string_view) {
                                              return store::KeepRule{false, false, 1h};
                                          }},
                                     town.patience) == CancelResult::requested);
        client->die(2);
        const auto other = town.client();
        other->start();
        CHECK(other->store().status(letter) == TaskStatus::not_found);
        CHECK(town.saved(*other, letter).empty());
        CHECK(town.saved(*other, note) == Texts{"page 1", "part 2"});
    }
}

TEST_CASE("Store: the result of a success is kept with its row, and found up to a size") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.answer = [](const std::string& text) {
        return text == "bad" ? Outcome::discard("too bad") : Outcome::success(text);
    };
    const TaskId letter = town.add<Letter>(*client, "done");
    const TaskId bad = town.add<Letter>(*client, "bad");
    const TaskId note = town.add<Note>(*client, "not kept");
    constexpr std::size_t most = 6;
    CHECK(client->store().find(letter, most).status == TaskStatus::pending);
    CHECK(client->store().find(letter, most).queue == "letters");
    town.work(*client);
    const store::FoundTask found = client->store().find(letter, most);
    CHECK(found.status == TaskStatus::succeeded);
    CHECK(found.queue == "letters");
    CHECK(found.result == "\"done\"");
    CHECK(found.error.empty());
    CHECK(found.oversize_result == 0);
    const store::FoundTask cut = client->store().find(letter, most - 1);
    CHECK(cut.result.empty());
    CHECK(cut.oversize_result == most);
    const store::FoundTask failed = client->store().find(bad, most);
    CHECK(failed.status == TaskStatus::failed);
    CHECK(failed.error == "too bad");
    CHECK(failed.result.empty());
    CHECK(client->store().find(note, most).status == TaskStatus::not_found);
    CHECK(client->store().find(note, most).queue.empty());
}

TEST_CASE("Store: a task with the id of an old one leaves nothing of its result") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.answer = [](const std::string&) { return Outcome::success("old"); };
    const TaskId id = town.add<Letter>(*client, "a");
    town.work(*client);
    REQUIRE(client->store().find(id, 100).result == "\"old\"");
    const auto again = [&] {
        std::vector<detail::NewTask> tasks{town.task<Letter>("b")};
        tasks.front().id = id;
        client->store().add({.tasks = tasks, .now = detail::to_ms(town.clock.now())}, town.patience);
        client->refresh();
    };
    again();
    CHECK(client->store().find(id, 100).status == TaskStatus::pending);
    CHECK(client->store().find(id, 100).result.empty());
    SECTION("that fails") {
        town.answer = [](const std::string&) { return Outcome::discard("bad"); };
        town.work(*client);
        CHECK(client->store().find(id, 100).status == TaskStatus::failed);
    }
    SECTION("that returns nothing") {
        town.answer = nullptr;
        town.work(*client);
        CHECK(client->store().find(id, 100).status == TaskStatus::succeeded);
    }
    SECTION("that is cancelled while it waits") {
        const auto keep = [](std::string_view) { return store::KeepRule{.row = true}; };
        REQUIRE(client->store().cancel({.id = id, .now = detail::to_ms(town.clock.now()), .keep = keep},
                                       town.patience) == CancelResult::cancelled);
        CHECK(client->store().find(id, 100).status == TaskStatus::cancelled);
    }
    CHECK(client->store().find(id, 100).result.empty());
}

TEST_CASE("Store: the result of a worker that has lost its claim is not kept") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto hung = town.client();
    const auto watcher = town.client();
    hung->start();
    watcher->start();
    const TaskId letter = town.add<Letter>(*hung, "a");
    hung->look();
    static_cast<void>(hung->cycle(hung->plan()));
    REQUIRE(hung->ready().size() == 1);
    for (int look = 0; look < 6; ++look) {
        watcher->look_after_others();
        town.clock.advance(2min);
    }
    watcher->look_after_others();
    town.answer = [](const std::string&) { return Outcome::success("fresh"); };
    town.work(*watcher);
    town.answer = [](const std::string&) { return Outcome::success("stale"); };
    REQUIRE(hung->run_one() != nullptr);
    CHECK(hung->cycle({}).lost_outcomes.size() == 1);
    CHECK(watcher->store().find(letter, 100).result == "\"fresh\"");
}

TEST_CASE("Store: what a running task says of its progress is there until the task has gone") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    const TaskId letter = town.add<Letter>(*client, "letter");
    const TaskId note = town.add<Note>(*client, "note");
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    REQUIRE(client->ready().size() == 2);
    const auto say = [&](const TaskId& id, std::int64_t claim, double fraction, const std::string& message) {
        store::CyclePlan plan;
        plan.progress.push_back({{id, claim}, fraction, message, detail::to_ms(town.clock.now())});
        CHECK_FALSE(plan.empty());
        CHECK_FALSE(client->cycle(std::move(plan)).refused_progress);
    };
    const auto said = [&](const TaskId& id) -> std::string {
        const std::optional<Progress> progress = other->store().progress(id);
        if (!progress) return "nothing";
        CHECK(progress->time == town.clock.now());
        return std::to_string(static_cast<int>(100 * progress->fraction.value_or(-1))) + " " + progress->message;
    };
    CHECK(said(letter) == "nothing");
    say(letter, 1, 0.25, "a quarter");
    say(note, 1, 1, "");
    CHECK(said(letter) == "25 a quarter");
    CHECK(said(note) == "100 ");
    say(letter, 1, 0.5, "half");
    say(letter, 2, 0.75, "of another claim");
    say(TaskId::from_text("none"), 1, 0.75, "of none");
    CHECK(said(letter) == "50 half");
    CHECK(said(TaskId::from_text("none")) == "nothing");
    while (client->run_one() != nullptr) {
    }
    static_cast<void>(client->cycle({}));
    CHECK(said(letter) == "50 half");
    CHECK(said(note) == "nothing");
    town.clock.advance(2h);
    town.work(*client);
    CHECK(said(letter) == "nothing");
}

TEST_CASE("Store: a dead client's claims go to others, and a task that was inside has crashed") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = town.client();
    const auto two = town.client();
    one->start();
    two->start();
    const TaskId inside = town.add<Letter>(*one, "inside");
    town.clock.advance(1ms);
    town.add<Letter>(*one, "not entered");
    one->look();
    static_cast<void>(one->cycle(one->plan()));
    REQUIRE(one->ready().size() == 2);
    two->look();
    CHECK(two->others_known());
    one->die(1);
    two->look_after_others();
    CHECK(two->rescued() == Texts{"2 claims, crashed: letters " + inside.str()});
    town.work(*two);
    // With one crash of two it waits until nothing else runs, and may bear no other.
    CHECK(town.processed == Texts{"inside", "not entered"});
    CHECK(two->store().status(inside) == TaskStatus::succeeded);
}

TEST_CASE("Store: a task that has crashed as often as it may fails without running") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto survivor = town.client();
    survivor->start();
    const TaskId poison = town.add<Letter>(*survivor, "poison");
    for (int death = 0; death < 2; ++death) {
        const auto victim = town.client();
        victim->start();
        survivor->look();
        victim->look();
        static_cast<void>(victim->cycle(victim->plan()));
        REQUIRE(victim->ready().size() == 1);
        victim->die(1);
        survivor->look_after_others();
    }
    town.work(*survivor);
    CHECK(town.processed.empty());
    CHECK(survivor->store().status(poison) == TaskStatus::failed);
}

TEST_CASE("Store: a client that hangs loses its claims after release_after, and its outcome changes nothing") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto hung = town.client();
    const auto watcher = town.client();
    hung->start();
    watcher->start();
    const TaskId letter = town.add<Letter>(*hung, "a");
    hung->look();
    static_cast<void>(hung->cycle(hung->plan()));
    REQUIRE(hung->ready().size() == 1);
    for (int look = 0; look < 6; ++look) {
        watcher->look_after_others();
        town.clock.advance(2min);
    }
    watcher->look_after_others();
    CHECK(watcher->rescued() == Texts{"1 claims"});
    town.answer = [](const std::string&) { return Outcome::discard("by the hung one"); };
    REQUIRE(hung->run_one() != nullptr);
    CHECK(hung->cycle({}).lost_outcomes == std::vector<std::size_t>{0});
    CHECK(watcher->store().status(letter) == TaskStatus::pending);
    town.answer = {};
    town.work(*watcher);
    CHECK(watcher->store().status(letter) == TaskStatus::succeeded);
}

TEST_CASE("Store: a sign of life keeps the claims of a client whose tasks are long") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto busy = town.client();
    const auto watcher = town.client();
    busy->start();
    watcher->start();
    const TaskId letter = town.add<Letter>(*busy, "a");
    busy->look();
    static_cast<void>(busy->cycle(busy->plan()));
    for (int look = 0; look < 12; ++look) {
        const std::vector<detail::ClaimKey> claims{{letter, busy->ready().front().claim}};
        CHECK(busy->cycle({.leases = claims}).lost_leases.empty());
        watcher->look_after_others();
        town.clock.advance(2min);
    }
    REQUIRE(busy->run_one() != nullptr);
    CHECK(busy->cycle({}).lost_outcomes.empty());
    CHECK(busy->store().status(letter) == TaskStatus::succeeded);
    const std::vector<detail::ClaimKey> gone{{letter, 1}};
    CHECK(busy->cycle({.leases = gone}).lost_leases == std::vector<std::size_t>{0});
}

TEST_CASE("Store: a task that is added for an idle worker is claimed by its owner, and by nobody else") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    std::vector<detail::NewTask> tasks{town.task<Letter>("a")};
    const TaskId id = tasks.front().id;
    int asked = 0;
    client->store().add({.tasks = tasks,
                         .now = detail::to_ms(town.clock.now()),
                         .starter = [&](std::uint64_t) -> std::optional<std::int64_t> {
                             ++asked;
                             return client->owner();
                         }},
                        town.patience);
    CHECK(asked == 1);
    CHECK(client->store().status(id) == TaskStatus::running);
    client->look();
    CHECK(client->cycle(client->plan()).claimed.tasks.empty());
    const std::vector<detail::ClaimKey> claims{{id, 1}};
    CHECK(client->cycle({.leases = claims}).lost_leases.empty());
}

TEST_CASE("Store: a starter is told how many commits of others were found") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    const auto seen = [&] {
        std::optional<std::uint64_t> number;
        std::vector<detail::NewTask> tasks{town.task<Letter>("a")};
        client->store().add({.tasks = tasks,
                             .now = detail::to_ms(town.clock.now()),
                             .starter = [&](std::uint64_t foreign) -> std::optional<std::int64_t> {
                                 number = foreign;
                                 return std::nullopt;
                             }},
                            town.patience);
        return number.value_or(0);
    };
    const std::uint64_t before = seen();
    CHECK(seen() == before);
    town.add<Note>(*other, "b");
    CHECK(seen() > before);
}

TEST_CASE("Store: of unfinished tasks with one key there is one, until it has ended") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    const AddResult first = town.add_unique<Letter>(*client, "first", "k", Conflict::keep);
    CHECK(first.as == AddedAs::inserted);
    CHECK(town.add_unique<Letter>(*other, "second", "k", Conflict::keep) == AddResult{first.id, AddedAs::existing});
    CHECK(town.add_unique<Letter>(*other, "other key", "l", Conflict::keep).as == AddedAs::inserted);
    CHECK(town.add_unique<Note>(*other, "other queue", "k", Conflict::keep).as == AddedAs::inserted);
    std::vector<AddedAs> meanwhile;
    town.answer = [&](const std::string& text) {
        if (text == "first") meanwhile.push_back(town.add_unique<Letter>(*other, "x", "k", Conflict::keep).as);
        return meanwhile.size() == 1 && text == "first" ? Outcome::retry("again") : Outcome::success();
    };
    town.work(*client);
    CHECK(meanwhile == std::vector{AddedAs::existing});
    CHECK(town.add_unique<Letter>(*other, "x", "k", Conflict::keep).as == AddedAs::existing);  // it waits for a retry
    town.clock.advance(5s);
    client->refresh();
    town.work(*client);
    CHECK(town.processed == Texts{"first", "other key", "other queue", "first"});
    CHECK(town.add_unique<Letter>(*other, "third", "k", Conflict::keep).as == AddedAs::inserted);
}

TEST_CASE("Store: failure and cancel free a key too") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.answer = [](const std::string& text) { return text == "bad" ? Outcome::discard("no") : Outcome::success(); };
    town.add_unique<Letter>(*client, "bad", "k", Conflict::keep);
    town.work(*client);
    const AddResult waits = town.add_unique<Letter>(*client, "waits", "k", Conflict::keep);
    REQUIRE(waits.as == AddedAs::inserted);
    const auto keep = [](std::string_view) { return store::KeepRule{}; };
    CHECK(client->store().cancel({.id = waits.id, .now = client->now(), .keep = keep}, town.patience) ==
          CancelResult::cancelled);
    CHECK(town.add_unique<Letter>(*client, "next", "k", Conflict::keep).as == AddedAs::inserted);
}

TEST_CASE("Store: a task that has expired frees its key, and one that is replaced has the expiry of the new one") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const auto add = [&](const std::string& text, std::optional<Duration> expires) {
        std::vector<detail::NewTask> tasks{town.unique<Letter>(text, "k", Conflict::replace)};
        const Ms now = client->now();
        if (expires) tasks.front().expires_at = now + *expires;
        client->store().add({.tasks = tasks, .now = now, .wait_until = now + Duration{1h}}, town.patience);
        client->refresh();
        return tasks.front().inserted() ? AddedAs::inserted : tasks.front().unique->as;
    };
    const auto pass = [&](Duration time) {
        town.clock.advance(time);
        client->refresh();
        town.work(*client);
    };
    CHECK(add("a", 10s) == AddedAs::inserted);
    CHECK(add("b", 20s) == AddedAs::replaced);
    pass(11s);
    CHECK(add("c", 10s) == AddedAs::replaced);
    pass(11s);
    CHECK(add("d", 10s) == AddedAs::inserted);
    CHECK(add("e", std::nullopt) == AddedAs::replaced);
    pass(1h);
    CHECK(town.processed == Texts{"e"});
}

TEST_CASE("Store: reject adds nothing of its call, and names who is there") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const TaskId first = town.add_unique<Letter>(*client, "first", "k", Conflict::reject).id;
    std::vector<detail::NewTask> tasks{town.task<Note>("beside"), town.unique<Letter>("second", "k", Conflict::reject)};
    try {
        client->store().add({.tasks = tasks, .now = client->now()}, town.patience);
        FAIL("nothing was thrown");
    } catch (const DuplicateError& error) {
        CHECK(error.existing() == first);
    }
    tasks = {town.unique<Letter>("a", "l", Conflict::reject), town.unique<Letter>("b", "l", Conflict::reject)};
    try {
        client->store().add({.tasks = tasks, .now = client->now()}, town.patience);
        FAIL("nothing was thrown");
    } catch (const DuplicateError& error) {
        CHECK(error.existing() == TaskId{});
    }
    town.work(*client);
    CHECK(town.processed == Texts{"first"});
}

TEST_CASE("Store: replace gives one that waits payload, time and priority, and is dropped beside one that is claimed") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const TaskId id = town.add_unique<Letter>(*client, "old", "k", Conflict::replace, 1h).id;
    town.add<Letter>(*client, "beside", 9s);
    town.work(*client);
    CHECK(town.add_unique<Letter>(*client, "new", "k", Conflict::replace, 10s, 3) == AddResult{id, AddedAs::replaced});
    AddResult beside;
    town.answer = [&](const std::string& text) {
        if (text == "new") beside = town.add_unique<Letter>(*client, "too late", "k", Conflict::replace);
        return Outcome::success();
    };
    town.work(*client);
    CHECK(town.processed.empty());
    town.clock.advance(10s);
    client->refresh();
    town.work(*client);
    CHECK(town.processed == Texts{"new", "beside"});
    CHECK(beside == AddResult{id, AddedAs::existing});
    CHECK(client->store().status(id) == TaskStatus::succeeded);
}

/// Queues with a bound of three.
[[nodiscard]] QueueConfig three(Overflow overflow, bool kept = false) {
    QueueConfig config = kept ? Letter::config() : Note::config();
    config.max_waiting = 3;
    config.overflow = overflow;
    return config;
}

TEST_CASE("Store: a full queue refuses all that a call adds, and takes as many as it has room for") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const QueueConfig bounded = three(GENERATE(Overflow::reject, Overflow::wait));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    const auto add = [&](SteppedClient& to, std::vector<std::string> texts) {
        std::vector<detail::NewTask> tasks;
        for (const std::string& text : texts) {
            tasks.push_back(town.task<Note>(text));
            tasks.back().bounded = &bounded;
        }
        to.store().add({.tasks = tasks, .now = detail::to_ms(town.clock.now())}, town.patience);
        to.refresh();
    };
    town.add<Note>(*other, "of somebody who knows no bound", 10s);
    CHECK_THROWS_AS(add(*client, {"a", "b", "c"}), QueueFullError);
    CHECK(client->store().waiting("notes").size() == 1);
    add(*other, {"a", "b"});
    CHECK_THROWS_AS(add(*client, {"c"}), QueueFullError);
    try {
        add(*client, {"c"});
    } catch (const QueueFullError& full) {
        CHECK(full.bound() == 3);
        CHECK(full.queue() == "notes");
        CHECK(full.added() == Added::no);
    }
    town.work(*client);  // those that are due go
    CHECK(town.processed == Texts{"a", "b"});
    add(*client, {"c", "d"});
    CHECK_THROWS_AS(add(*other, {"e"}), QueueFullError);
    CHECK(client->store().waiting("notes").size() == 3);
    client->stop();
}

TEST_CASE("Store: what is claimed does not count for a bound, and what comes back is never refused") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const QueueConfig bounded = three(Overflow::reject, true);
    const auto client = town.client();
    client->start();
    const auto add = [&](const std::string& text) {
        std::vector<detail::NewTask> tasks{town.task<Letter>(text)};
        tasks.front().bounded = &bounded;
        client->store().add({.tasks = tasks, .now = detail::to_ms(town.clock.now())}, town.patience);
        client->refresh();
        return tasks.front().id;
    };
    for (const char* text : {"a", "b", "c"}) add(text);
    client->look();
    static_cast<void>(client->cycle(client->plan()));  // three are claimed
    for (const char* text : {"d", "e", "f"}) add(text);
    CHECK_THROWS_AS(add("g"), QueueFullError);
    town.answer = [](const std::string&) { return Outcome::retry("again"); };
    while (client->run_one() != nullptr) {
    }
    static_cast<void>(client->cycle({}));  // they wait again, beside the others
    CHECK(client->store().waiting("letters").size() == 6);
    CHECK_THROWS_AS(add("g"), QueueFullError);
    client->stop();
}

TEST_CASE("Store: a full queue that drops its oldest ends those that are due first, and keeps them if it retains") {
    const bool kept = GENERATE(false, true);
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const QueueConfig bounded = three(Overflow::drop_oldest, kept);
    const auto client = town.client();
    std::vector<store::DroppedTask> dropped;
    std::vector<TaskId> ids;
    const auto add = [&](std::vector<std::string> texts, std::optional<Duration> wait = {}, int priority = 0) {
        std::vector<detail::NewTask> tasks;
        for (const std::string& text : texts) {
            tasks.push_back(kept ? town.task<Letter>(text) : town.task<Note>(text));
            tasks.back().bounded = &bounded;
            tasks.back().priority = priority;
            ids.push_back(tasks.back().id);
        }
        const Ms now = detail::to_ms(town.clock.now());
        client->store().add({.tasks = tasks,
                             .now = now,
                             .wait_until = wait ? std::optional{now + *wait} : std::nullopt,
                             .dropped = &dropped},
                            town.patience);
        town.clock.advance(1ms);
    };
    const auto names = [&] {
        Texts texts;
        for (const store::WaitingTask& task : client->store().waiting(bounded.name)) {
            texts.push_back(nlohmann::json::parse(task.payload).at("text"));
        }
        return texts;
    };
    add({"scheduled"}, 1h);
    add({"low"}, {}, -5);
    add({"usual"});
    CHECK(dropped.empty());
    add({"a"});
    CHECK(names() == Texts{"usual", "a", "scheduled"});
    add({"b", "c"});
    CHECK(names() == Texts{"b", "c", "scheduled"});
    add({"d", "e", "f"});
    CHECK(names() == Texts{"d", "e", "f"});
    REQUIRE(dropped.size() == 6);
    for (std::size_t i = 0; i < 6; ++i) CHECK(dropped[i].queue == bounded.name);
    CHECK(dropped[0].id == ids[1]);
    CHECK(dropped[1].id == ids[2]);
    CHECK(dropped[5].id == ids[0]);
    CHECK(client->store().status(ids[1]) == (kept ? TaskStatus::cancelled : TaskStatus::not_found));
}

TEST_CASE("Store: a task whose key is taken needs no room, and a new one does") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const Overflow overflow = GENERATE(Overflow::reject, Overflow::drop_oldest);
    const QueueConfig bounded = three(overflow);
    const auto client = town.client();
    const auto add = [&](const std::string& key, Conflict conflict) {
        std::vector<detail::NewTask> tasks{town.unique<Note>(key, key, conflict)};
        tasks.front().bounded = &bounded;
        client->store().add({.tasks = tasks, .now = detail::to_ms(town.clock.now())}, town.patience);
        town.clock.advance(1ms);
        return tasks.front().inserted() ? AddedAs::inserted : tasks.front().unique->as;
    };
    for (const char* key : {"a", "b", "c"}) CHECK(add(key, Conflict::keep) == AddedAs::inserted);
    CHECK(add("a", Conflict::keep) == AddedAs::existing);
    CHECK(add("b", Conflict::replace) == AddedAs::replaced);
    CHECK(client->store().waiting("notes").size() == 3);
    if (overflow == Overflow::reject) {
        CHECK_THROWS_AS(add("d", Conflict::keep), QueueFullError);
        CHECK(add("a", Conflict::keep) == AddedAs::existing);
    } else {
        CHECK(add("d", Conflict::keep) == AddedAs::inserted);
        CHECK(add("a", Conflict::keep) == AddedAs::inserted);
    }
    CHECK(client->store().waiting("notes").size() == 3);
}

TEST_CASE("Store: tags and metadata stay with a task that is kept, go with others, and are replaced with it") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const auto add = [&](detail::NewTask task, std::vector<std::string> tags, std::string metadata) {
        std::vector<detail::NewTask> tasks{std::move(task)};
        if (!tags.empty()) {
            tasks.front().labels =
                std::make_shared<const detail::TaskLabels>(detail::TaskLabels{std::move(tags), std::move(metadata)});
        }
        const Ms now = detail::to_ms(town.clock.now());
        if (!tasks.front().unique) tasks.front().expires_at = now + 1h;  // it shares a row with the metadata
        client->store().add({.tasks = tasks, .now = now}, town.patience);
        client->refresh();
        return tasks.front().inserted() ? tasks.front().id : tasks.front().unique->existing;
    };
    const auto labels = [&](const TaskId& id) {
        const detail::TaskLabels found = client->store().labels(id);
        std::string text = found.metadata;
        for (const std::string& tag : found.tags) text += " " + tag;
        return text;
    };
    const TaskId kept = add(town.task<Letter>("kept"), {"a", "b"}, R"({"x":"1"})");
    const TaskId gone = add(town.task<Note>("gone"), {"c"}, R"({"y":"2"})");
    CHECK(labels(kept) == R"({"x":"1"} a b)");
    town.answer = [&](const std::string&) {
        CHECK(labels(kept) == R"({"x":"1"} a b)");  // the claim has taken the expiry alone
        return Outcome::success();
    };
    town.work(*client);
    CHECK(labels(kept) == R"({"x":"1"} a b)");
    CHECK(labels(gone).empty());
    town.clock.advance(2h);
    client->look();
    town.work(*client);
    CHECK(client->store().status(kept) == TaskStatus::not_found);
    CHECK(labels(kept).empty());
    client->stop();
    const TaskId first = add(town.unique<Note>("1", "key", Conflict::replace), {"old"}, R"({"old":""})");
    CHECK(add(town.unique<Note>("2", "key", Conflict::replace), {"new"}, "") == first);
    CHECK(labels(first) == " new");
    add(town.unique<Note>("3", "key", Conflict::keep), {"dropped"}, "");
    CHECK(labels(first) == " new");
    add(town.unique<Note>("4", "key", Conflict::replace), {}, "");
    CHECK(labels(first).empty());
}

TEST_CASE("Store: tasks of queues that this client has not registered stay, are counted and named") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    std::vector<detail::NewTask> tasks{town.task<Letter>("a"), town.task<Note>("b"), town.task<Note>("c")};
    tasks[0].queue = "zebras";
    const Ms now = detail::to_ms(town.clock.now());
    client->store().add({.tasks = tasks, .now = now}, town.patience);
    town.add<Letter>(*client, "d", 1h);
    const auto strays = client->store().strays(client->heads(), 10, town.patience);
    REQUIRE(strays.size() == 1);
    CHECK(strays.front() == std::pair{std::string{"zebras"}, now});
    CHECK(client->store().strays(client->heads(), 0, town.patience).empty());
    client->look();
    CHECK(client->cycle(client->plan()).claimed.tasks.size() == 2);
    const TaskCounts counts = client->store().counts(now);
    REQUIRE(counts.size() == 3);
    CHECK((counts[0].queue == "letters" && counts[0].scheduled == 1 && counts[0].running == 0));
    CHECK((counts[1].queue == "notes" && counts[1].running == 2 && counts[1].waiting == 0));
    CHECK((counts[2].queue == "zebras" && counts[2].waiting == 1));
}

TEST_CASE("Store: the waiting tasks of a queue are found with payloads and attempts, in the order of their claims") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.answer = [](const std::string&) { return Outcome::retry("not yet"); };
    town.add<Letter>(*client, "tried");
    town.work(*client);
    const Ms now = client->now();
    town.add<Letter>(*client, "last", 10s);
    town.add<Letter>(*client, "second", 5s);
    const TaskId first = town.add<Letter>(*client, "first");
    town.add<Note>(*client, "of another queue");
    const std::vector<store::WaitingTask> waiting = client->store().waiting("letters");
    REQUIRE(waiting.size() == 4);
    CHECK(waiting[0].id == first);
    CHECK(waiting[0].due == now);
    CHECK(waiting[0].attempts == 0);
    CHECK(waiting[0].payload == R"({"text":"first"})");
    CHECK(waiting[1].payload == R"({"text":"tried"})");
    CHECK(waiting[1].due == now + 5s);
    CHECK(waiting[1].attempts == 1);
    CHECK(waiting[2].payload == R"({"text":"second"})");
    CHECK(waiting[3].due == now + 10s);
    client->look();
    REQUIRE(client->cycle(client->plan()).claimed.tasks.size() == 2);
    CHECK(client->store().waiting("letters").size() == 3);
    CHECK(client->store().waiting("nobody").empty());
}

TEST_CASE("Store: of what a cycle did nothing is there if the last step before its commit fails") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const TaskId done = town.add<Letter>(*client, "done");
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    REQUIRE(client->run_one() != nullptr);
    const TaskId next = town.add<Letter>(*client, "next");
    client->look();
    store::CyclePlan plan = client->plan();
    plan.claim.now = client->now();
    const std::vector<store::QueueHead> heads = client->heads();
    const store::CycleRequest request{
        .outcomes = client->finished(), .plan = plan, .heads = heads, .prepare = [](const store::CycleResult& result) {
            CHECK(result.claimed.tasks.size() == 1);
            throw std::bad_alloc();
        }};
    CHECK_THROWS_AS(client->store().cycle(request, town.patience), std::bad_alloc);
    CHECK(client->store().status(done) == TaskStatus::running);
    CHECK(client->store().status(next) == TaskStatus::pending);
    town.work(*client);
    CHECK(town.processed == Texts{"done", "next"});
}

TEST_CASE("Store: claims are bounded by number, by work that is expected, and by bytes") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    for (int i = 0; i < 6; ++i) town.add<Letter>(*client, std::string(100, 'x'));
    client->look();
    std::vector<store::QueueHead> heads = client->heads();
    heads[0].cost = detail::Us{1'000};
    const auto claimed = [&](store::ClaimRequest claim) {
        store::CyclePlan plan{.claim = std::move(claim)};
        plan.claim.now = client->now();
        plan.claim.owner = client->owner();
        plan.claim.max_payload = 1'000;
        const std::vector<store::EndedAttempt> none;
        return client->store().cycle({.outcomes = none, .plan = plan, .heads = heads}, town.patience).claimed;
    };
    CHECK(claimed({.limit = 2, .beside = {.free_workers = 4}}).tasks.size() == 2);
    CHECK(claimed({.limit = 4, .beside = {.free_workers = 0}, .ahead = detail::Us{999}}).tasks.empty());
    CHECK(claimed({.limit = 4, .beside = {.free_workers = 0}, .ahead = detail::Us{1'000}}).tasks.size() == 1);
    const store::ClaimResult large =
        claimed({.limit = 4, .beside = {.free_workers = 1}, .ahead = detail::Us{9'000}, .ahead_bytes = 150});
    CHECK(large.tasks.size() == 2);
    CHECK(large.left_bytes > 100);
}

TEST_CASE("Store: a client that leaves is not missed") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = town.client();
    const auto two = town.client();
    one->start();
    two->start();
    CHECK(one->owner() != two->owner());
    one->look();
    CHECK(one->others_known());
    two->stop();
    one->look_after_others();
    one->look();
    CHECK_FALSE(one->others_known());
}

TEST_CASE("Store: the secret of a file is made once, and the same for all of its clients") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    const std::string first(32, '1');
    CHECK(client->store().secret(first, town.patience) == first);
    CHECK(other->store().secret(std::string(32, '2'), town.patience) == first);
    CHECK(client->store().secret(std::string(32, '3'), town.patience) == first);
}

TEST_CASE("Store: a secret that the file does not take, or that anybody can guess, is none") {
    Town town(Kind::sqlite);
    const auto client = town.client();
    client->start();
    SQLite::Database db(town.file(), SQLite::OPEN_READWRITE, 5'000);
    const std::string fresh(32, '1');
    const auto ask = [&] { static_cast<void>(client->store().secret(fresh, town.patience)); };
    SECTION("a trigger ignores it") {
        db.exec("CREATE TRIGGER deaf BEFORE INSERT ON backlite_meta BEGIN SELECT raise(IGNORE); END");
        CHECK(contains(message_of<StorageError>(ask), "the secret of the file has 0 bytes, fewer than 32"));
        db.exec("DROP TRIGGER deaf");
        CHECK(client->store().secret(fresh, town.patience) == fresh);
    }
    SECTION("somebody has shortened it") {
        for (const std::size_t size : {0U, 31U}) {
            SQLite::Statement cut(db, "INSERT OR REPLACE INTO backlite_meta (key, value) VALUES ('secret', ?)");
            cut.bind(1, std::string(size, 'x'));
            REQUIRE(cut.exec() == 1);
            CHECK(contains(message_of<StorageError>(ask), std::to_string(size) + " bytes"));
        }
    }
}

TEST_CASE("Store: a paused queue is not claimed, whoever has paused it, and the others are") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    other->store().set_paused("letters", detail::to_ms(town.clock.now()), town.patience);
    other->store().set_paused("zebras", detail::to_ms(town.clock.now()), town.patience);
    town.add<Letter>(*client, "a");
    town.add<Note>(*client, "b");
    town.work(*client);
    CHECK(town.processed == Texts{"b"});
    CHECK_FALSE(client->store().idle(client->heads(), client->now()));
    client->store().set_paused("letters", std::nullopt, town.patience);
    client->refresh();
    town.work(*client);
    CHECK(town.processed == Texts{"b", "a"});
    CHECK(client->store().idle(client->heads(), client->now()));
}

TEST_CASE("Store: a task that waits is cancelled at once, and one that is claimed with the end of its claim") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    other->start();
    const auto keep = [](std::string_view) { return store::KeepRule{true, true, 1h}; };
    const auto cancel = [&](const TaskId& id) {
        return other->store().cancel({.id = id, .now = other->now(), .keep = keep}, town.patience);
    };
    const TaskId claimed = town.add<Letter>(*client, "claimed");
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    const TaskId waits = town.add<Letter>(*client, "waits");
    CHECK(cancel(waits) == CancelResult::cancelled);
    CHECK(cancel(waits) == CancelResult::finished);
    CHECK(cancel(TaskId::from_text("none")) == CancelResult::not_found);
    CHECK(client->store().status(waits) == TaskStatus::cancelled);
    CHECK(cancel(claimed) == CancelResult::requested);
    CHECK(client->store().status(claimed) == TaskStatus::running);
    SECTION("a failed attempt ends it") {
        town.answer = [](const std::string&) { return Outcome::retry("no"); };
        REQUIRE(client->run_one() != nullptr);
        CHECK(client->cycle({}).cancelled_outcomes == std::vector<std::size_t>{0});
        CHECK(client->store().status(claimed) == TaskStatus::cancelled);
    }
    SECTION("a success is one all the same") {
        REQUIRE(client->run_one() != nullptr);
        CHECK(client->cycle({}).cancelled_outcomes.empty());
        CHECK(client->store().status(claimed) == TaskStatus::succeeded);
    }
    SECTION("a death ends it") {
        client->die(1);
        other->look_after_others();
        CHECK(other->store().status(claimed) == TaskStatus::cancelled);
    }
    town.clock.advance(1min);
    town.work(*other);
    CHECK(other->store().counts(other->now()).empty());
}

TEST_CASE("Store: a task that has not started by its expiry ends as expired, and one that has started does not") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const TaskId late = town.add_expiring<Letter>(*client, "late", 10s, 5s);
    const TaskId note = town.add_expiring<Note>(*client, "note", 10s, 5s);
    const TaskId begun = town.add_expiring<Letter>(*client, "begun", 0s, 5s);
    town.answer = [](const std::string&) { return Outcome::retry("once more"); };
    town.work(*client);
    CHECK(town.processed == Texts{"begun"});
    town.answer = {};
    town.clock.advance(4'999ms);
    CHECK_FALSE(client->plan().expire);
    town.clock.advance(1ms);
    client->look();
    store::CyclePlan plan = client->plan();
    REQUIRE(plan.expire);
    const store::CycleResult result = client->cycle(std::move(plan));
    REQUIRE(result.expired.size() == 2);
    CHECK(result.expired[0].id == late);
    CHECK(result.expired[1].id == note);
    CHECK(client->store().status(late) == TaskStatus::expired);
    CHECK(client->store().status(note) == TaskStatus::not_found);
    town.work(*client);
    CHECK(town.processed == Texts{"begun", "begun"});
    CHECK(client->store().status(begun) == TaskStatus::succeeded);
    CHECK_FALSE(client->plan().expire);
    town.clock.advance(1min);
    client->look();
    CHECK(client->store().counts(client->now()).empty());
    client->stop();
}

TEST_CASE("Store: a client wakes up for an expiry, and for the next one after it") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    town.add_expiring<Note>(*client, "a", 1h, 5s);
    town.add_expiring<Note>(*client, "b", 1h, 12s);
    town.work(*client);
    CHECK(client->next_work() == 5s);
    town.clock.advance(5s);
    CHECK(client->next_work() == 0s);
    town.work(*client);
    CHECK(client->next_work() == 7s);
    town.clock.advance(7s);
    town.work(*client);
    CHECK(client->store().counts(client->now()).empty());
    client->stop();
}

TEST_CASE("Store: a claim that is given back without a start gives back the expiry with it") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const auto other = town.client();
    client->start();
    const TaskId id = town.add_expiring<Letter>(*client, "a", 0s, 5s);
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    CHECK(client->store().status(id) == TaskStatus::running);
    client->stop();
    CHECK(client->store().status(id) == TaskStatus::pending);
    town.clock.advance(5s);
    other->start();
    town.work(*other);
    CHECK(other->store().status(id) == TaskStatus::expired);
    CHECK(town.processed.empty());
    other->stop();
}

TEST_CASE("Store: a task that is claimed and reaches its expiry before its start ends as expired") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    client->start();
    const TaskId id = town.add_expiring<Letter>(*client, "a", 0s, 5s);
    client->look();
    static_cast<void>(client->cycle(client->plan()));
    town.clock.advance(5s);
    town.work(*client);
    CHECK(town.processed.empty());
    CHECK(client->store().status(id) == TaskStatus::expired);
    client->stop();
}

}  // namespace store_test
