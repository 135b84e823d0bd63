// SPDX-License-Identifier: MIT
// Queues of batches: many tasks in one call of their processor.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace batches_test {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::BatchContext;
using backlite::BatchOptions;
using backlite::BatchQueue;
using backlite::CancelResult;
using backlite::Client;
using backlite::ConfigError;
using backlite::Event;
using backlite::EventKind;
using backlite::Outcome;
using backlite::StopReason;
using backlite::TaskId;
using backlite::TaskStatus;

/// Fails to be read if its number is negative.
struct Point {
    int number = 0;
    using Result = int;
    static backlite::QueueConfig config() {
        return {.name = "point",
                .max_attempts = 2,
                .backoff = 1h,
                .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
void to_json(nlohmann::json& json, const Point& point) { json = {{"number", point.number}}; }
void from_json(const nlohmann::json& json, Point& point) {
    json.at("number").get_to(point.number);
    if (point.number < 0) throw std::runtime_error("negative");
}

/// It has a timeout.
struct Slow {
    static backlite::QueueConfig config() {
        return {.name = "slow", .max_attempts = 2, .timeout = 20ms, .backoff = 1h};
    }
};

struct Ordered {
    static backlite::QueueConfig config() { return {.name = "ordered", .limits = {.in_order = true}}; }
};
struct Parted {
    static backlite::QueueConfig config() { return {.name = "parted", .limits = {.running_per_partition = 2}}; }
};
struct Fragile {
    static backlite::QueueConfig config() { return {.name = "fragile", .max_crashes = 1}; }
};

using Points = std::span<const Point>;

[[nodiscard]] std::string text_of(Points points) {
    std::string text;
    for (const Point& point : points) text += (text.empty() ? "" : "+") + std::to_string(point.number);
    return text;
}

struct Press : Story {
    template <class F>
    void start(F processor, BatchOptions options = {.max = 3, .max_wait = 1h}) {
        client.emplace(config);
        client->register_batch_queue<Point>(options, std::move(processor));
        client->start();
    }
    std::vector<TaskId> add(std::vector<int> numbers) {
        std::vector<Point> points;
        for (const int n : numbers) points.push_back({n});
        return client->add(points).save();
    }
    [[nodiscard]] bool becomes(const TaskId& id, TaskStatus status) {
        return eventually([&] { return client->status(id) == status; });
    }
    std::string kept(const TaskId& id) {
        return Look(file).text(
            "SELECT attempts || ' ' || ifnull(error, 'ok') FROM backlite_tasks_completed WHERE id = '" + id.str() +
            "'");
    }
    std::string waiting(const TaskId& id) {
        return Look(file).text("SELECT attempts || ' ' || ifnull(error, '-') FROM backlite_tasks WHERE id = '" +
                               id.str() + "'");
    }

    Gate gate{};
    std::atomic<std::int64_t> number{0};
    std::vector<TaskId> known{};
    Events<std::string> seen{};
    std::optional<Client> client{};  // after what it uses
};

TEST_CASE_METHOD(Press, "batch: tasks run together as soon as a batch is full, whoever adds them") {
    const Uncapped uncapped;
    start([&](Points points) { journal.note(text_of(points)); });
    SECTION("in one call") {
        add({1, 2, 3, 4});
        CHECK(journal.await("1+2+3"));
    }
    SECTION("one by one, while the first waits") {
        add({1});
        add({2});
        add({3});
        CHECK(journal.await("1+2+3"));
    }
    SECTION("by another client") {
        add({1});
        Client other{quick(file)};
        other.add(Point{2}, Point{3}).save();
        CHECK(journal.await("1+2+3"));
    }
    SECTION("in a transaction of the host's") {
        Look look(file);
        SQLite::Transaction transaction(look.database(), SQLite::TransactionBehavior::IMMEDIATE);
        client->add(Point{1}, Point{2}, Point{3}).tx(look.database()).save();
        transaction.commit();
        CHECK(journal.await("1+2+3"));
    }
}

TEST_CASE_METHOD(Press, "batch: a task that is added while workers are idle waits for others all the same") {
    start([&](Points points) { journal.note(text_of(points)); }, {.max = 2, .max_wait = 1h});
    for (int i = 0; i < 20; i += 2) {
        add({i});
        add({i + 1});
        REQUIRE(journal.await(fmt::format("{}+{}", i, i + 1)));
    }
}

TEST_CASE_METHOD(Press, "batch: one that is not full starts when its oldest task has waited long enough") {
    const Uncapped uncapped;
    config.observers = {[&](const Event& event) {
        if (event.kind == EventKind::started) number = event.wait.count();
    }};
    start([&](Points points) { journal.note(text_of(points)); }, {.max = 100, .max_wait = 30ms});
    add({1, 2});
    CHECK(journal.await("1+2"));
    CHECK(eventually([&] { return number >= 30; }));
}

TEST_CASE_METHOD(Press, "batch: its processor knows each task, and each succeeds") {
    start([&](BatchContext& context, Points points) {
        for (std::size_t i = 0; i < context.size(); ++i) {
            seen.add(fmt::format("{} {} {} {} {}", points[i].number, context.task_id(i) == known[i], context.attempt(i),
                                 context.priority(i), context.partition(i)));
        }
        seen.add(fmt::format("{} {} {} {}", context.queue(), context.max_attempts(),
                             context.client().status(context.task_id(0)) == TaskStatus::running,
                             context.deadline().has_value()));
        seen.add(message_of<backlite::UsageError>([&] { (void)context.task_id(3); }));
        journal.note("ran");
    });
    CHECK(client->stop(1h));
    known = client->add(Point{1}, Point{2}, Point{3}).priority(7).at(std::chrono::system_clock::now() + 50ms).save();
    client->start();
    REQUIRE(journal.await("ran"));
    for (const TaskId& id : known) CHECK(becomes(id, TaskStatus::succeeded));
    CHECK(seen.all() == std::vector<std::string>{
                            "1 true 1 7 ", "2 true 1 7 ", "3 true 1 7 ", "point 2 true false",
                            "queue \"point\": BatchContext::task_id: the batch has 3 tasks, there is no number 3"});
    CHECK(Look(file).completed("error IS NULL AND attempts = 1 AND host IS NOT NULL") == 3);
}

TEST_CASE_METHOD(Press, "batch: what it throws is a failed attempt of each task") {
    start([&](Points) { throw std::runtime_error("no network"); });
    const std::vector<TaskId> ids = add({1, 2, 3});
    for (const TaskId& id : ids) {
        CHECK(eventually([&] { return waiting(id) == "1 no network"; }));
    }
    CHECK(Look(file).tasks("crashes = 0 AND claimed_at IS NULL") == 3);
}

TEST_CASE_METHOD(Press, "batch: each task has the outcome that the processor gives it, with its result") {
    start([&](Points points) -> std::vector<Outcome> {
        if (points.size() != 3) throw std::logic_error("three");
        return {Outcome::success(42), Outcome::retry("busy"), Outcome::discard("wrong")};
    });
    const std::vector<TaskId> ids = add({1, 2});
    for (const TaskId& id : ids) {
        client->on_finished(id, [&](const backlite::FinishedTask&) { ++number; });
    }
    const TaskId last = add({3}).front();
    CHECK(client->wait(ids[0], patience) == TaskStatus::succeeded);
    CHECK(client->result<Point>(ids[0]) == 42);
    CHECK(becomes(last, TaskStatus::failed));
    CHECK(kept(last) == "1 wrong");
    CHECK(waiting(ids[1]) == "1 busy");
    CHECK(eventually([&] { return number == 1; }));
}

TEST_CASE_METHOD(Press, "batch: outcomes that are too few, or a result of another type, fail what they are of") {
    SECTION("too few") {
        start([](Points) -> std::vector<Outcome> { return {Outcome::success()}; });
        const std::vector<TaskId> ids = add({1, 2, 3});
        for (const TaskId& id : ids) {
            CHECK(eventually([&] {
                return waiting(id) == "1 queue \"point\": its processor returned 1 outcomes for a batch of 3 tasks";
            }));
        }
    }
    SECTION("a result of another type") {
        start([](Points) -> std::vector<Outcome> {
            return {Outcome::success(1), Outcome::success(std::string{"two"}), Outcome::success()};
        });
        const std::vector<TaskId> ids = add({1, 2, 3});
        CHECK(becomes(ids[0], TaskStatus::succeeded));
        CHECK(becomes(ids[2], TaskStatus::succeeded));
        CHECK(contains(waiting(ids[1]), "1 "));
    }
}

TEST_CASE_METHOD(Press, "batch: a task whose payload cannot be read fails by itself") {
    start([&](BatchContext& context, Points points) {
        journal.note(fmt::format("{} of {}", text_of(points), context.size()));
    });
    const std::vector<TaskId> ids = add({1, -2, 3});
    CHECK(journal.await("1+3 of 2"));
    CHECK(becomes(ids[0], TaskStatus::succeeded));
    CHECK(becomes(ids[2], TaskStatus::succeeded));
    CHECK(eventually([&] { return waiting(ids[1]) == "1 its payload cannot be read: negative"; }));
    CHECK(journal.entries().size() == 1);
}

TEST_CASE_METHOD(Press, "batch: middleware surrounds the call, and what it makes of it holds for each task") {
    const int what = GENERATE(0, 1, 2);
    config.around = {[&, what](backlite::Context& context, const backlite::Next& next) {
        journal.note("around " + std::to_string(context.attempt()));
        if (what == 0) return Outcome::snooze(1h);
        if (what == 1) (void)next();
        return what == 1 ? Outcome::discard("enough") : next();
    }};
    start([&](Points points) -> std::vector<Outcome> {
        journal.note(text_of(points));
        return {Outcome::success(), Outcome::success(), Outcome::retry("again")};
    });
    const std::vector<TaskId> ids = add({1, 2, 3});
    REQUIRE(journal.await("around 1"));
    if (what == 0) {
        for (const TaskId& id : ids) CHECK(eventually([&] { return waiting(id) == "0 -"; }));
        CHECK(journal.entries().size() == 1);
    } else if (what == 1) {
        for (const TaskId& id : ids) CHECK(becomes(id, TaskStatus::failed));
        CHECK(kept(ids[0]) == "1 enough");
    } else {
        CHECK(becomes(ids[0], TaskStatus::succeeded));
        CHECK(eventually([&] { return waiting(ids[2]) == "1 again"; }));
    }
}

TEST_CASE_METHOD(Press, "batch: the timeout is that of the whole call") {
    const Uncapped uncapped;
    client.emplace(config);
    client->register_batch_queue<Slow>({.max = 2}, [&](BatchContext& context, std::span<const Slow> tasks) {
        while (!context.stop_token().stop_requested()) std::this_thread::yield();
        journal.note(fmt::format("{} {}", tasks.size(), backlite::to_string(context.stop_reason())));
        throw std::runtime_error("late");
    });
    client->add(Slow{}, Slow{}).save();
    client->start();
    CHECK(journal.await("2 timeout"));
    CHECK(eventually([&] { return Look(file).tasks("attempts = 1 AND error = 'late'") == 2; }));
}

TEST_CASE_METHOD(Press, "batch: a stop does not wait for one that is not full, and its tasks stay") {
    start([&](Points points) { journal.note(text_of(points)); });
    add({1, 2});
    CHECK(client->stop(1h));
    CHECK(Look(file).tasks("claimed_at IS NULL") == 2);
    client->start();
    add({3});
    CHECK(journal.await("1+2+3"));
}

TEST_CASE_METHOD(Press, "batch: a stop that it heeds gives all its tasks back") {
    start([&](BatchContext& context, Points) {
        journal.note("inside");
        while (!context.stop_token().stop_requested()) std::this_thread::yield();
        throw std::runtime_error("stopped");
    });
    add({1, 2, 3});
    REQUIRE(journal.await("inside"));
    (void)client->stop(0ms);
    CHECK(eventually([&] { return Look(file).tasks("claimed_at IS NULL AND attempts = 0 AND crashes = 0") == 3; }));
}

TEST_CASE_METHOD(Press, "batch: the end of one task's thread fails an attempt of each") {
    start([&](Points) { ::pthread_exit(nullptr); });
    const std::vector<TaskId> ids = add({1, 2, 3});
    for (const TaskId& id : ids) {
        CHECK(eventually([&] { return waiting(id) == "1 its processor called pthread_exit"; }));
    }
}

TEST_CASE_METHOD(Press, "batch: a cancelled task is left out, and one that runs ends so unless it succeeds") {
    const Uncapped uncapped;
    start([&](BatchContext& context, Points points) -> std::vector<Outcome> {
        journal.note(text_of(points));
        gate.pass();
        journal.note(std::string{backlite::to_string(context.stop_reason())});
        return {Outcome::success(), Outcome::retry("again"), Outcome::success()};
    });
    const OpensAtEnd opens{gate};
    const TaskId early = add({0}).front();
    CHECK(client->cancel(early) == CancelResult::cancelled);
    const std::vector<TaskId> ids = add({1, 2, 3});
    REQUIRE(journal.await("1+2+3"));
    SECTION("some of them") {
        CHECK(client->cancel(ids[0]) == CancelResult::requested);
        CHECK(client->cancel(ids[1]) == CancelResult::requested);
        // The others are not asked to stop: the look that finds the request has passed once this has started.
        client->pause("point");
        gate.open();
        CHECK(becomes(ids[0], TaskStatus::succeeded));
        CHECK(becomes(ids[1], TaskStatus::cancelled));
        CHECK(becomes(ids[2], TaskStatus::succeeded));
        CHECK(journal.await("none"));
    }
    SECTION("all of them") {
        for (const TaskId& id : ids) CHECK(client->cancel(id) == CancelResult::requested);
        CHECK(eventually([&] {
            gate.open();
            return journal.entries().size() == 2;
        }));
        CHECK(becomes(ids[1], TaskStatus::cancelled));
    }
}

TEST_CASE_METHOD(Press, "batch: once all its tasks are cancelled its token fires") {
    const Uncapped uncapped;
    start([&](BatchContext& context, Points points) {
        journal.note(text_of(points));
        while (!context.stop_token().stop_requested()) std::this_thread::yield();
        journal.note(std::string{backlite::to_string(context.stop_reason())});
        throw std::runtime_error("stopped");
    });
    const std::vector<TaskId> ids = add({1, 2, 3});
    REQUIRE(journal.await("1+2+3"));
    for (const TaskId& id : ids) CHECK(client->cancel(id) == CancelResult::requested);
    CHECK(journal.await("cancelled"));
    for (const TaskId& id : ids) CHECK(becomes(id, TaskStatus::cancelled));
}

TEST_CASE_METHOD(Press,
                 "batch: once some of its tasks are cancelled and the claims of all others lost its token fires") {
    const Uncapped uncapped;
    config.release_after = 200ms;
    start([&](BatchContext& context, Points points) {
        journal.note(text_of(points));
        while (!context.stop_token().stop_requested()) std::this_thread::yield();
        journal.note(std::string{backlite::to_string(context.stop_reason())});
        throw std::runtime_error("stopped");
    });
    const std::vector<TaskId> ids = add({1, 2, 3});
    REQUIRE(journal.await("1+2+3"));
    const auto lose = [&] {
        Look(file).run("UPDATE backlite_tasks SET claim = claim + 1 WHERE id <> '" + ids[1].str() + "'");
    };
    const bool cancelled_first = GENERATE(true, false);
    if (!cancelled_first) {
        lose();
        REQUIRE(log->await({"claim lost", ids[2].str()}));
    }
    CHECK(client->cancel(ids[1]) == CancelResult::requested);
    if (cancelled_first) lose();
    CHECK(journal.await("cancelled"));
    CHECK(becomes(ids[1], TaskStatus::cancelled));
    for (const std::size_t lost : {0U, 2U}) CHECK(log->await({"outcome dropped", ids[lost].str()}));
    CHECK(Look(file).tasks() == 2);
}

TEST_CASE_METHOD(Press, "batch: a claim that is lost changes nothing, and once all are its token fires") {
    const Uncapped uncapped;
    config.release_after = 200ms;
    start([&](BatchContext& context, Points points) {
        journal.note(text_of(points));
        while (!context.stop_token().stop_requested() && number == 0) std::this_thread::yield();
        journal.note(std::string{backlite::to_string(context.stop_reason())});
    });
    const std::vector<TaskId> ids = add({1, 2, 3});
    REQUIRE(journal.await("1+2+3"));
    SECTION("one of them") {
        Look(file).run("UPDATE backlite_tasks SET claim = claim + 1 WHERE id = '" + ids[1].str() + "'");
        REQUIRE(log->await({"claim lost", ids[1].str()}, 2));  // at each lease
        number = 1;
        CHECK(journal.await("none"));
        CHECK(becomes(ids[0], TaskStatus::succeeded));
        CHECK(becomes(ids[2], TaskStatus::succeeded));
        CHECK(log->await({"outcome dropped", ids[1].str()}));
        CHECK(client->status(ids[1]) == TaskStatus::running);
    }
    SECTION("all of them") {
        Look(file).run("UPDATE backlite_tasks SET claim = claim + 1");
        CHECK(journal.await("claim lost"));
        for (const TaskId& id : ids) CHECK(log->await({"outcome dropped", id.str()}));
        CHECK(Look(file).tasks() == 3);
    }
}

TEST_CASE_METHOD(Press, "batch: observers are told of each task") {
    config.observers = {[&](const Event& event) {
        if (event.queue != "point" || event.kind == EventKind::added) return;
        seen.add(fmt::format("{} {}", to_string(event.kind), event.attempt));
    }};
    start([&](Points) {});
    add({1, 2, 3});
    REQUIRE(seen.wait_for(6));
    CHECK(seen.count_of("task started 1") == 3);
    CHECK(seen.count_of("task processed 1") == 3);
}

TEST_CASE_METHOD(Press, "batch: after a death inside each task is run by itself, and the poison alone fails") {
    const auto process = [](const std::function<void(const std::string&)>& say, Points points) {
        say(text_of(points));
        for (const Point& point : points) {
            if (point.number == 666) ::_exit(9);
        }
    };
    std::vector<std::string> lines;
    for (int deaths = 0; deaths < 3; ++deaths) {
        Process worker([&](const Process::Inside& parent) {
            parent.wait();
            Client doomed{quick(file, 1)};
            doomed.register_batch_queue<Point>({.max = 3, .max_wait = 20ms}, [&](Points points) {
                process([&](const std::string& line) { parent.say(line); }, points);
            });
            doomed.start();
            for (;;) ::pause();
        });
        if (deaths == 0) Client{quick(file)}.add(Point{1}, Point{666}, Point{3}, Point{4}).save();
        worker.next();
        CHECK(worker.join() == 9);
        worker.catch_up();
        lines.insert(lines.end(), worker.lines().begin(), worker.lines().end());
    }
    CHECK(lines.front() == "1+666+3");
    CHECK(std::count(lines.begin(), lines.end(), "666") == 2);
    start([&](Points points) { journal.note(text_of(points)); }, {.max = 3, .max_wait = 20ms});
    CHECK(eventually([&] { return Look(file).tasks() == 0; }));
    CHECK(Look(file).completed("error LIKE 'the process died 3 times%'") == 1);
    CHECK(Look(file).completed("error IS NULL") == 3);
}

TEST_CASE_METHOD(Story, "batch: options and queues that cannot work are refused by name and value") {
    Client client{config};
    const auto nothing = [](auto tasks) { static_cast<void>(tasks); };
    const auto refused = [&]<class T>(BatchOptions options) {
        return message_of<ConfigError>(
            [&] { client.register_batch_queue<T>(options, [&](std::span<const T> tasks) { nothing(tasks); }); });
    };
    CHECK(refused.operator()<Point>({}) == "queue \"point\": BatchOptions::max is 0, must be from 1 to 10000");
    CHECK(refused.operator()<Point>({.max = -1}) ==
          "queue \"point\": BatchOptions::max is -1, must be from 1 to 10000");
    CHECK(refused.operator()<Point>({.max = 10'001}) ==
          "queue \"point\": BatchOptions::max is 10001, must be from 1 to 10000");
    CHECK(refused.operator()<Point>({.max = 1, .max_wait = -1ms}) ==
          "queue \"point\": BatchOptions::max_wait is -1 ms, must be from 0 to 100 years");
    CHECK(refused.operator()<Ordered>({.max = 2}) ==
          "queue \"ordered\": limits.in_order is set, but the tasks of a batch run together");
    CHECK(refused.operator()<Parted>({.max = 2}) ==
          "queue \"parted\": limits.running_per_partition is 2, but a queue of batches has no such limit");
    CHECK(refused.operator()<Fragile>({.max = 2}) ==
          "queue \"fragile\": max_crashes is 1, must be at least 2 for a queue of batches: after a crash each task of "
          "the batch runs once more by itself");
    CHECK(message_of<ConfigError>([&] {
              client.register_batch_queue<Point>({.max = 2}, std::function<void(std::span<const Point>)>{});
          }) == "queue \"point\": its processor is empty");
    client.register_batch_queue(BatchQueue<Point>{{.max = 2, .max_wait = 1s}, [](Points) {}});
    CHECK(message_of<ConfigError>([&] { client.register_queue<Point>([](const Point&) {}); }) ==
          "queue \"point\" is registered already: names are unique in a client");
    CHECK(refused.operator()<Point>({.max = 2}) ==
          "queue \"point\" is registered already: names are unique in a client");
    client.register_queue<Slow>([](const Slow&) {});
    CHECK(refused.operator()<Slow>({.max = 2}) == "queue \"slow\" is registered already: names are unique in a client");
}

}  // namespace batches_test
