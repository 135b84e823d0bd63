// SPDX-License-Identifier: MIT
// What hosts test their own tasks with.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <message_of.hpp>
#include <recording_logger.hpp>

namespace test_client_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::message_of;
using testing::Attempt;
using testing::Drained;
using testing::Ending;
using testing::TestClient;

/// Three attempts, 5 s and then 10 s apart; kept for a day.
struct Letter {
    std::string to{};
    static QueueConfig config() {
        return {.name = "letters",
                .max_attempts = 3,
                .timeout = 30s,
                .backoff = Backoff::custom([](int attempt) { return 5s * attempt; }),
                .retention = Retention{.duration = 24h}};
    }
};
/// One attempt, and nothing is kept.
struct Note {
    int number = 0;
    static QueueConfig config() { return {.name = "notes"}; }
};
/// Loses what it holds on its way through JSON.
struct Sieve {
    int kept = 0;
    int lost = 0;
    static QueueConfig config() { return {.name = "sieves"}; }
};
/// Can be written and not be read.
struct Sealed {
    static QueueConfig config() { return {.name = "sealed", .max_attempts = 2, .backoff = 7s}; }
};
/// Has the queue of another type.
struct Impostor {
    static QueueConfig config() { return {.name = "notes"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Letter, to)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Note, number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Sieve, kept)
void to_json(nlohmann::json& json, const Sealed&) { json = {{"sealed", true}}; }
void from_json(const nlohmann::json&, Sealed&) { throw std::domain_error("the seal is not to be broken"); }

std::string folder_of(const TestClient& client) {
    return std::filesystem::path(client.client().config().database).parent_path().string();
}

std::vector<std::string> names(const std::vector<testing::Enqueued<Letter>>& letters) {
    std::vector<std::string> found;
    found.reserve(letters.size());
    for (const auto& letter : letters) found.push_back(letter.task.to);
    return found;
}

using Names = std::vector<std::string>;

TEST_CASE("TestClient: nothing runs before a drain, which runs what is due and says what it did") {
    TestClient client;
    std::vector<std::string> sent;
    client.register_queue<Letter>([&](const Letter& letter) { sent.push_back(letter.to); });
    client.register_queue<Note>([](const Note&) {});
    const std::vector<TaskId> ids = client.add(Letter{"Ada"}, Note{7}).save();
    client.add(Letter{"later"}).wait(1min).save();
    CHECK(sent.empty());
    CHECK(client.client().status(ids[0]) == TaskStatus::pending);
    const Drained drained = client.drain();
    CHECK(sent == std::vector<std::string>{"Ada"});
    REQUIRE(drained.size() == 2);
    CHECK(drained.count(Ending::succeeded) == 2);
    CHECK(drained.count(Ending::failed) == 0);
    CHECK(drained.attempts[0].id == ids[0]);
    CHECK(drained.attempts[0].queue == "letters");
    CHECK(drained.attempts[0].number == 1);
    CHECK(drained.attempts[0].error.empty());
    CHECK(drained.attempts[0].exception == nullptr);
    CHECK(drained.attempts[1].queue == "notes");
    CHECK(client.client().status(ids[0]) == TaskStatus::succeeded);
    CHECK(client.client().status(ids[1]) == TaskStatus::not_found);  // its queue keeps nothing
    CHECK(client.drain().empty());
}

TEST_CASE(
    "TestClient: a failed attempt is told with its error, waits for its backoff by the manual clock, and fails at the "
    "last") {
    TestClient client;
    int runs = 0;
    client.register_queue<Letter>(
        [&](const Letter&) { throw std::runtime_error("no such street " + std::to_string(++runs)); });
    const TaskId id = client.add(Letter{"Ada"}).save().front();
    const Attempt first = client.drain().attempts.at(0);
    CHECK(first.ending == Ending::retried);
    CHECK(first.number == 1);
    CHECK(first.wait == 5s);
    CHECK(first.error == "no such street 1");
    REQUIRE(first.exception != nullptr);
    CHECK_THROWS_WITH(std::rethrow_exception(first.exception), "no such street 1");
    CHECK(client.drain().empty());
    client.clock().advance(4'999ms);
    CHECK(client.drain().empty());
    client.clock().advance(1ms);
    const Attempt second = client.drain().attempts.at(0);
    CHECK(second.ending == Ending::retried);
    CHECK(second.number == 2);
    CHECK(second.wait == 10s);
    const Drained rest = client.drain_until(client.clock().now() + 1h);
    REQUIRE(rest.size() == 1);
    CHECK(rest.attempts[0].ending == Ending::failed);
    CHECK(rest.attempts[0].number == 3);
    CHECK(rest.attempts[0].wait == 0s);
    CHECK(rest.attempts[0].error == "no such street 3");
    CHECK(client.client().status(id) == TaskStatus::failed);
}

TEST_CASE("TestClient: drain_until moves the clock from due time to due time, and ends at the time it was given") {
    TestClient client;
    const TimePoint start = client.clock().now();
    std::vector<Duration> at;
    client.register_queue<Note>(
        [&](const Note&) { at.push_back(std::chrono::duration_cast<Duration>(client.clock().now() - start)); });
    for (const int minutes : {10, 30, 20, 0, 60, 61}) {
        client.add(Note{minutes}).wait(std::chrono::minutes{minutes}).save();
    }
    CHECK(client.drain_until(start + 1h).size() == 5);
    CHECK(at == std::vector<Duration>{0min, 10min, 20min, 30min, 60min});
    CHECK(client.clock().now() == start + 1h);
    CHECK(client.drain_until(start).empty());  // never back
    CHECK(client.clock().now() == start + 1h);
    CHECK(client.drain_until(start + 365 * 24h).size() == 1);
}

TEST_CASE("TestClient: drain_until reaches a time between two milliseconds") {
    TestClient client;
    const TimePoint time = client.clock().now() + std::chrono::microseconds{1'500};
    client.drain_until(time);
    CHECK(client.clock().now() >= time);
}

TEST_CASE("TestClient: a snooze spends no attempt, and is told with its wait") {
    TestClient client;
    std::vector<int> attempts;
    client.register_queue<Note>([&](const Context& context, const Note&) {
        attempts.push_back(context.attempt());
        return attempts.size() < 3 ? Outcome::snooze(20min) : Outcome::success();
    });
    client.add(Note{}).save();
    const Attempt first = client.drain().attempts.at(0);
    CHECK(first.ending == Ending::snoozed);
    CHECK(first.wait == 20min);
    CHECK(first.error.empty());
    CHECK(client.drain_until(client.clock().now() + 1h).size() == 2);
    CHECK(attempts == std::vector<int>{1, 1, 1});
}

TEST_CASE("TestClient: a discard is told apart from a failure") {
    TestClient client;
    client.register_queue<Letter>([](const Letter&) { return Outcome::discard("moved away"); });
    client.register_queue<Note>([](const Note&) { return Outcome::retry("not now"); });
    const TaskId id = client.add(Letter{"Ada"}).save().front();
    client.add(Note{}).save();
    const Drained drained = client.drain();
    REQUIRE(drained.size() == 2);
    CHECK(drained.attempts[0].ending == Ending::discarded);
    CHECK(drained.attempts[0].error == "moved away");
    CHECK(drained.attempts[1].ending == Ending::failed);
    CHECK(drained.attempts[1].error == "not now");
    CHECK(drained.attempts[1].exception == nullptr);
    CHECK(client.client().status(id) == TaskStatus::failed);
}

TEST_CASE("TestClient: a kept task is purged once its retention is over") {
    TestClient client;
    client.register_queue<Letter>([](const Letter&) {});
    const TaskId id = client.add(Letter{"Ada"}).save().front();
    client.drain();
    const TimePoint end = client.clock().now() + 24h;
    client.drain_until(end - 1ms);
    CHECK(client.client().status(id) == TaskStatus::succeeded);
    client.drain_until(end + client.client().config().cleanup_interval);
    CHECK(client.client().status(id) == TaskStatus::not_found);
}

TEST_CASE("TestClient: what a processor adds is run by the same drain, in the order of its due time") {
    TestClient client;
    std::vector<int> seen;
    client.register_queue<Note>([&](Context& context, const Note& note) {
        seen.push_back(note.number);
        if (note.number == 1) {
            context.client().add(Note{10}, Letter{"Ada"}).save();
            context.client().add(Note{11}).wait(1min).save();
        }
    });
    client.register_queue<Letter>([&](const Letter&) { seen.push_back(100); });
    client.add(Note{1}, Note{2}).save();
    const Drained drained = client.drain();
    CHECK(seen == std::vector<int>{1, 2, 10, 100});
    CHECK(drained.size() == 4);
    client.drain_until(client.clock().now() + 1min);
    CHECK(seen.back() == 11);
}

TEST_CASE("TestClient: a task starts when the outcome of the one before it is written") {
    TestClient client;
    std::vector<TaskId> ids;
    std::vector<TaskStatus> seen;
    client.register_queue<Letter>([&](const Context& context, const Letter&) {
        for (const TaskId& id : ids) seen.push_back(context.client().status(id));
    });
    ids = client.add(Letter{"a"}, Letter{"b"}).save();
    client.drain();
    CHECK(seen == std::vector{TaskStatus::running, TaskStatus::pending, TaskStatus::succeeded, TaskStatus::running});
}

TEST_CASE("TestClient: a processor sees its attempt as in a started client") {
    TestClient client;
    int seen = 0;
    client.register_queue<Letter>([&](const Context& context, const Letter&) {
        ++seen;
        CHECK(context.queue() == "letters");
        CHECK(context.attempt() == seen);
        CHECK(context.max_attempts() == 3);
        CHECK(context.deadline() == client.clock().steady_now() + 30s);
        CHECK(context.stop_token().stop_possible());
        CHECK_FALSE(context.stop_token().stop_requested());
        client.clock().advance(1min);  // the deadline passes, and nobody fires the token
        CHECK_FALSE(context.stop_token().stop_requested());
        CHECK(context.client().status(context.task_id()) == TaskStatus::running);
        if (seen < 2) throw std::runtime_error("again");
    });
    client.add(Letter{"Ada"}).save();
    client.drain_until(client.clock().now() + 10min);
    CHECK(seen == 2);
}

TEST_CASE("TestClient: tasks of a queue that is not registered stay until it is") {
    TestClient client;
    client.register_queue<Letter>([](const Letter&) {});
    client.add(Letter{"Ada"}, Note{4}).save();
    CHECK(client.drain().size() == 1);
    REQUIRE(client.enqueued<Note>().size() == 1);
    CHECK(client.drain_until(client.clock().now() + 24h).empty());
    int seen = 0;
    client.register_queue<Note>([&](const Note& note) { seen = note.number; });
    CHECK(client.drain().size() == 1);
    CHECK(seen == 4);
    CHECK_THROWS_AS(client.register_queue<Note>([](const Note&) {}), ConfigError);
}

TEST_CASE("TestClient: a task that adds itself for now ends the drain with an error that names it") {
    TestClient client({.drain_limit = 50});
    int runs = 0;
    client.register_queue<Note>([&](Context& context, const Note&) {
        ++runs;
        context.client().add(Note{}).save();
    });
    client.add(Note{}).save();
    const std::string message = message_of<UsageError>([&] { client.drain(); });
    CHECK(runs == 50);
    CHECK(message.find("50 attempts") != std::string::npos);
    CHECK(message.find("\"notes\"") != std::string::npos);
    CHECK(client.enqueued<Note>().size() == 1);  // what ran is written, the next one waits
    CHECK_THROWS_AS(client.drain(), UsageError);
    CHECK(runs == 100);
}

TEST_CASE("TestClient: what drains at the limit is no error, nor is what repeats while time passes") {
    TestClient client({.drain_limit = 5});
    client.register_queue<Note>([](const Note&) {});
    client.register_queue<Letter>(
        [](Context& context, const Letter& letter) { context.client().add(letter).wait(1h).save(); });
    client.add(std::vector<Note>(5)).save();
    CHECK(client.drain().size() == 5);
    client.add(Letter{"daily"}).save();
    CHECK(client.drain_until(client.clock().now() + 24h).size() == 25);
}

TEST_CASE("TestClient: enqueued has the tasks of one type in the order in which they would start") {
    TestClient client;
    const TimePoint now = client.clock().now();
    client.add(Letter{"third"}).wait(2h).save();
    const TaskId second = client.add(Letter{"second"}).wait(1h).save().front();
    client.add(Letter{"first"}, Note{1}).save();
    client.add(Letter{"fourth"}).wait(2h).save();
    const auto letters = client.enqueued<Letter>();
    CHECK(names(letters) == Names{"first", "second", "third", "fourth"});
    CHECK(letters[0].due == now);
    CHECK(letters[1].due == now + 1h);
    CHECK(letters[1].id == second);
    CHECK(letters[1].attempts == 0);
    std::vector<std::string> sent;
    client.register_queue<Letter>([&](const Letter& letter) { sent.push_back(letter.to); });
    client.drain_until(now + 3h);
    CHECK(sent == names(letters));
    CHECK(client.enqueued<Letter>().empty());
}

TEST_CASE("TestClient: enqueued and drain go by priority among what is due, and by time before that") {
    TestClient client;
    std::vector<std::string> sent;
    client.register_queue<Letter>([&](const Letter& letter) { sent.push_back(letter.to); });
    client.add(Letter{"low"}).save();
    client.add(Letter{"high"}).priority(5).save();
    client.add(Letter{"later"}).wait(10s).save();
    client.add(Letter{"later, high"}).priority(1000).wait(1min).save();
    client.add(Letter{"then, too, low"}).wait(1min).save();
    const Names expected{"high", "low", "later", "later, high", "then, too, low"};
    CHECK(names(client.enqueued<Letter>()) == expected);
    client.drain_until(client.clock().now() + 1min);
    CHECK(sent == expected);
}

TEST_CASE("TestClient: observers are told nothing, and no thread is started for them") {
    std::atomic<int> told{0};
    {
        TestClient client({.client = {.observers = {[&told](const Event&) { ++told; }}}});
        client.register_queue<Note>([](const Note&) {});
        client.add(Note{}).save();
        client.drain();
    }
    CHECK(told == 0);
}

TEST_CASE("TestClient: enqueued tells how many attempts a task has spent, and leaves out what runs") {
    TestClient client;
    std::size_t inside = 1;
    client.register_queue<Letter>([&](const Letter&) {
        inside = client.enqueued<Letter>().size();
        throw std::runtime_error("no");
    });
    client.add(Letter{"Ada"}).save();
    client.drain();
    CHECK(inside == 0);
    const auto letters = client.enqueued<Letter>();
    REQUIRE(letters.size() == 1);
    CHECK(letters[0].attempts == 1);
    CHECK(letters[0].due == client.clock().now() + 5s);
}

TEST_CASE("TestClient: enqueued names the task that it cannot read") {
    TestClient client;
    const TaskId id = client.add(Sealed{}).save().front();
    const std::string message = message_of<Error>([&] { (void)client.enqueued<Sealed>(); });
    CHECK(message.find(id.str()) != std::string::npos);
    CHECK(message.find("the seal is not to be broken") != std::string::npos);
}

TEST_CASE("TestClient: perform makes one attempt through JSON, and no file knows of it") {
    TestClient client;
    std::optional<Sieve> seen;
    client.register_queue<Sieve>([&](const Context& context, const Sieve& sieve) {
        seen = sieve;
        CHECK(context.client().status(context.task_id()) == TaskStatus::not_found);
    });
    const Attempt attempt = client.perform(Sieve{.kept = 1, .lost = 2});
    CHECK(attempt.ending == Ending::succeeded);
    CHECK(attempt.queue == "sieves");
    CHECK(attempt.number == 1);
    REQUIRE(seen);
    CHECK(seen->kept == 1);
    CHECK(seen->lost == 0);
    CHECK(client.client().counts().empty());
}

TEST_CASE("TestClient: perform tells each way in which an attempt can end") {
    TestClient client;
    std::function<Outcome()> process;
    client.register_queue<Letter>([&](const Letter&) { return process(); });
    const auto perform = [&](std::function<Outcome()> how, int attempt = 1) {
        process = std::move(how);
        return client.perform(Letter{"Ada"}, {.attempt = attempt});
    };
    const Attempt succeeded = perform([] { return Outcome::success(); });
    CHECK(succeeded.ending == Ending::succeeded);
    CHECK(succeeded.error.empty());
    const Attempt retried = perform([] { return Outcome::retry("busy"); }, 2);
    CHECK(retried.ending == Ending::retried);
    CHECK(retried.number == 2);
    CHECK(retried.wait == 10s);
    CHECK(retried.error == "busy");
    const Attempt own = perform([] { return Outcome::retry_in(90s, "busy"); });
    CHECK(own.ending == Ending::retried);
    CHECK(own.wait == 90s);
    const Attempt at = perform([&] { return Outcome::retry_at(client.clock().now() + 3h, "busy"); });
    CHECK(at.wait == 3h);
    const Attempt snoozed = perform([] { return Outcome::snooze(2min); });
    CHECK(snoozed.ending == Ending::snoozed);
    CHECK(snoozed.wait == 2min);
    const Attempt discarded = perform([] { return Outcome::discard("gone"); });
    CHECK(discarded.ending == Ending::discarded);
    CHECK(discarded.error == "gone");
    const Attempt failed = perform([]() -> Outcome { throw std::runtime_error("broken"); }, 3);
    CHECK(failed.ending == Ending::failed);
    CHECK(failed.number == 3);
    CHECK(failed.error == "broken");
    REQUIRE(failed.exception != nullptr);
    CHECK_THROWS_WITH(std::rethrow_exception(failed.exception), "broken");
    CHECK(perform([] { return Outcome::success(); }).exception == nullptr);
}

TEST_CASE("TestClient: perform shows what becomes of a payload that cannot be read") {
    TestClient client;
    client.register_queue<Sealed>([](const Sealed&) {});
    const Attempt first = client.perform(Sealed{});
    CHECK(first.ending == Ending::retried);
    CHECK(first.wait == 7s);
    CHECK(first.error.find("the seal is not to be broken") != std::string::npos);
    REQUIRE(first.exception != nullptr);
    CHECK_THROWS_AS(std::rethrow_exception(first.exception), std::domain_error);
    CHECK(client.perform(Sealed{}, {.attempt = 2}).ending == Ending::failed);
}

TEST_CASE("TestClient: perform can show a processor a stop token that has fired") {
    TestClient client;
    StopReason seen = StopReason::none;
    client.register_queue<Letter>([&](const Context& context, const Letter&) {
        if (context.stop_token().stop_requested()) seen = context.stop_reason();
        throw std::runtime_error("stopped");
    });
    CHECK(client.perform(Letter{}, {.stop = StopReason::timeout}).ending == Ending::retried);
    CHECK(seen == StopReason::timeout);
    const Attempt given_back = client.perform(Letter{}, {.stop = StopReason::stopping});
    CHECK(given_back.ending == Ending::given_back);
    CHECK(given_back.wait == 0s);
    CHECK(seen == StopReason::stopping);
}

TEST_CASE("TestClient: perform adds what the processor adds, and works inside a processor") {
    TestClient client;
    client.register_queue<Letter>([](Context& context, const Letter& letter) {
        if (letter.to == "Ada") context.client().add(Note{1}).save();
    });
    Attempt inner;
    client.register_queue<Note>([&](const Note&) -> Outcome {
        inner = client.perform(Letter{});
        throw std::runtime_error("outer");
    });
    client.perform(Letter{"Ada"});
    CHECK(client.enqueued<Note>().size() == 1);
    const Attempt outer = client.drain().attempts.at(0);
    CHECK(inner.ending == Ending::succeeded);
    CHECK(outer.ending == Ending::failed);
    CHECK(outer.error == "outer");
    CHECK(outer.exception != nullptr);
}

TEST_CASE("TestClient: middleware surrounds each attempt, and what it makes of it is told") {
    int passed = 0;
    std::optional<Outcome> instead;
    const Middleware counts = [&](Context&, const Next& next) -> Outcome {
        ++passed;
        if (instead) return *instead;
        return next();
    };
    TestClient client({.client = {.around = {counts}}});
    int runs = 0;
    client.register_queue<Letter>([&](const Letter&) {
        ++runs;
        throw std::runtime_error("no such street");
    });
    CHECK(client.perform(Letter{"Ada"}).exception != nullptr);
    client.add(Letter{"Ada"}).save();
    CHECK(client.drain().count(Ending::retried) == 1);
    CHECK(passed == 2);
    CHECK(runs == 2);
    instead = Outcome::discard("not today");
    const Attempt attempt = client.drain_until(client.clock().now() + 5s).attempts.at(0);
    CHECK(attempt.ending == Ending::discarded);
    CHECK(attempt.error == "not today");
    CHECK(client.perform(Letter{"Ada"}).ending == Ending::discarded);
    CHECK(passed == 4);
    CHECK(runs == 2);
}

TEST_CASE("TestClient: perform says why it cannot") {
    TestClient client({.client = {.max_payload = 20}});
    const std::string unregistered = message_of<UsageError>([&] { client.perform(Note{}); });
    CHECK(unregistered.find("\"notes\" is not registered") != std::string::npos);
    client.register_queue<Letter>([](const Letter&) {});
    client.register_queue<Impostor>([](const Impostor&) {});
    CHECK(message_of<ConfigError>([&] { client.perform(Note{}); }).find("Impostor") != std::string::npos);
    CHECK_THROWS_AS(client.perform(Letter{}, {.attempt = 0}), ConfigError);
    CHECK_THROWS_AS(client.perform(Letter{"\xff"}), EncodeError);
    CHECK_THROWS_AS(client.perform(Letter{std::string(50, 'x')}), EncodeError);
}

TEST_CASE("TestClient: a drain runs what is due in batches, waits for nothing, and says what became of each task") {
    TestClient client;
    std::vector<std::size_t> sizes;
    client.register_batch_queue<Letter>({.max = 3, .max_wait = 1h},
                                        [&](BatchContext& context, std::span<const Letter> letters) {
                                            sizes.push_back(letters.size());
                                            std::vector<Outcome> outcomes(letters.size(), Outcome::success());
                                            if (context.attempt(0) == 1) outcomes.front() = Outcome::retry("busy");
                                            if (letters.size() > 1) outcomes.back() = Outcome::discard("unknown");
                                            return outcomes;
                                        });
    client.add(Letter{"ann"}, Letter{"bob"}, Letter{"cid"}, Letter{"dan"}).save();
    const Drained drained = client.drain();
    CHECK(sizes == std::vector<std::size_t>{3, 1});
    REQUIRE(drained.size() == 4);
    CHECK(drained.attempts[0].ending == Ending::retried);
    CHECK(drained.attempts[0].wait == 5s);
    CHECK(drained.attempts[1].ending == Ending::succeeded);
    CHECK(drained.attempts[2].ending == Ending::discarded);
    CHECK(drained.attempts[2].error == "unknown");
    CHECK(drained.attempts[3].ending == Ending::retried);
    CHECK(client.drain_until(client.clock().now() + 5s).size() == 2);
    CHECK(sizes == std::vector<std::size_t>{3, 1, 2});
    CHECK(client.perform(Letter{"eve"}, {.attempt = 2}).ending == Ending::succeeded);
    CHECK(message_of<ConfigError>([&] {
              client.register_batch_queue<Note>({.max = 2, .max_wait = -1ms}, [](std::span<const Note>) {});
          }) == "queue \"notes\": BatchOptions::max_wait is -1 ms, must be from 0 to 100 years");
}

TEST_CASE("TestClient: inside a processor there is no drain, and no queue is registered") {
    TestClient client;
    int refused = 0;
    client.register_queue<Letter>([&](const Letter&) {
        try {
            client.drain();
        } catch (const UsageError&) {
            ++refused;
        }
        try {
            client.register_queue<Note>([](const Note&) {});
        } catch (const UsageError&) {
            ++refused;
        }
    });
    client.add(Letter{"Ada"}).save();
    client.drain();
    CHECK(refused == 2);
    client.perform(Letter{"Ada"});
    CHECK(refused == 4);
    client.register_queue<Note>([](const Note&) {});
}

TEST_CASE("TestClient: a wall clock that is set back leaves no task waiting for it") {
    TestClient client;
    client.register_queue<Note>([](const Note&) {});
    client.drain();
    client.clock().advance(50s);
    client.add(Note{}).save();
    client.clock().jump(-40s);  // within a minute: the statistics show no sign of it
    CHECK(client.drain().size() == 1);
}

TEST_CASE("TestClient: code that takes an Adder or a ClientHandle adds to it") {
    TestClient client;
    const auto adds = [](Adder adder) { adder.add(Note{1}).save(); };
    const auto handles = [](const ClientHandle& handle) { handle.add(Note{2}).wait(1h).save(); };
    adds(client.client());
    handles(client.client());
    CHECK(client.enqueued<Note>().size() == 2);
}

TEST_CASE("TestClient: other threads and the host's own transactions add to it while it drains") {
    TestClient client;
    int runs = 0;
    client.register_queue<Note>([&](const Note&) { ++runs; });
    std::vector<std::thread> adders;
    adders.reserve(3);
    for (int i = 0; i < 3; ++i) {
        adders.emplace_back([handle = client.client()] {
            for (int n = 0; n < 20; ++n) handle.add(Note{n}).save();
        });
    }
    for (int i = 0; i < 5; ++i) client.drain();
    for (std::thread& adder : adders) adder.join();
    SQLite::Database database(client.client().config().database, SQLite::OPEN_READWRITE);
    Transaction transaction(client.client(), database);
    client.add(Note{}).tx(transaction).save();
    transaction.commit();
    client.drain();
    CHECK(runs == 61);
}

TEST_CASE("TestClient: another client on its file hinders neither drain nor drain_until") {
    TestClient client;
    client.register_queue<Note>([](const Note&) {});
    const auto clock = std::make_shared<testing::ManualClock>();
    Client other{{.database = client.client().config().database, .num_workers = 1, .clock = clock}};
    other.start();  // it has no queue: one more that lives on the file
    other.add(Note{}, Note{}).save();
    CHECK(client.drain().size() == 2);
    other.add(Note{}).wait(1h).save();
    CHECK(client.drain_until(client.clock().now() + 7 * 24h).size() == 1);
}

TEST_CASE("TestClient: two do not disturb each other, and each leaves no file") {
    std::string first;
    std::string second;
    {
        TestClient one;
        TestClient two({.start = TimePoint{} + 100'000h});
        first = folder_of(one);
        second = folder_of(two);
        CHECK(first != second);
        CHECK(two.clock().now() == TimePoint{} + 100'000h);
        int ones = 0;
        int twos = 0;
        one.register_queue<Note>([&](const Note&) { ++ones; });
        two.register_queue<Note>([&](const Note&) {
            ++twos;
            one.drain();  // of another client: allowed
        });
        one.add(Note{}).save();
        two.add(Note{}, Note{}).save();
        CHECK(two.drain().size() == 2);
        CHECK(ones == 1);
        CHECK(twos == 2);
        CHECK(std::filesystem::exists(first));
        const auto nobody_else = std::filesystem::perms::owner_all;
        CHECK(std::filesystem::status(first).permissions() == nobody_else);
    }
    CHECK_FALSE(std::filesystem::exists(first));
    CHECK_FALSE(std::filesystem::exists(second));
}

TEST_CASE("TestClient: a handle that is kept works no longer than it") {
    std::optional<ClientHandle> handle;
    std::string folder;
    {
        TestClient client;
        client.register_queue<Note>([](const Note&) {});
        client.add(Note{}).save();
        client.drain();
        handle = client.client();
        folder = folder_of(client);
    }
    CHECK_THROWS_AS(handle->add(Note{}).save(), UsageError);
    handle.reset();
    CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("TestClient: a processor keeps nothing alive once its client is gone") {
    const auto held = std::make_shared<int>(0);
    {
        TestClient client;
        client.register_queue<Note>([held](const Note&) { throw std::runtime_error("no"); });
        client.add(Note{}).save();
        client.drain();
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("TestClient: a forked child cannot use it, and leaves the parent's folder alone") {
    auto client = std::make_unique<TestClient>();
    client->register_queue<Note>([](const Note&) {});
    client->add(Note{}).save();
    client->drain();
    client->add(Note{}).save();
    CHECK(backlite_test::in_child([&] {
              int refused = 0;
              const auto refuses = [&](auto&& call) {
                  try {
                      call();
                  } catch (const ForkError&) {
                      ++refused;
                  }
              };
              refuses([&] { client->drain(); });
              refuses([&] { (void)client->enqueued<Note>(); });
              refuses([&] { client->perform(Note{}); });
              refuses([&] { client->register_queue<Letter>([](const Letter&) {}); });
              client.reset();
              return refused;
          }) == 4);
    CHECK(std::filesystem::exists(client->client().config().database));
    CHECK(client->drain().size() == 1);
}

TEST_CASE("TestClient: its configuration says what cannot work") {
    const auto refused = [](const testing::TestClientConfig& config) {
        return message_of<ConfigError>([&] { const TestClient client(config); });
    };
    CHECK(refused({.client = {.database = "app.db"}}).find("\"app.db\"") != std::string::npos);
    CHECK(refused({.client = {.clock = std::make_shared<Clock>()}}).find("clock") != std::string::npos);
    CHECK(refused({.drain_limit = 0}).find("drain_limit") != std::string::npos);
    CHECK(refused({.client = {.release_after = 0s}}).find("release_after") != std::string::npos);
}

TEST_CASE("TestClient: it logs what a started client logs") {
    const auto logger = std::make_shared<backlite_test::RecordingLogger>();
    TestClient client({.client = {.logger = logger}});
    client.register_queue<Letter>([](const Letter&) { throw std::runtime_error("no such street"); });
    client.add(Letter{"Ada"}).save();
    client.drain();
    CHECK(logger->count("task failed") == 1);
}

TEST_CASE("TestClient: each ending has a name") {
    using testing::to_string;
    CHECK(to_string(Ending::succeeded) == "succeeded");
    CHECK(to_string(Ending::retried) == "retried");
    CHECK(to_string(Ending::snoozed) == "snoozed");
    CHECK(to_string(Ending::discarded) == "discarded");
    CHECK(to_string(Ending::failed) == "failed");
    CHECK(to_string(Ending::given_back) == "given back");
}

}  // namespace test_client_test
