// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/engine/finish_watch.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <patience.hpp>
#include <recording_logger.hpp>
#include <uncapped.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::eventually;
using backlite_test::message_of;
using backlite_test::patience;
using engine::FinishWatch;

/// A file that holds what the test says, and a watch on it.
class Town {
public:
    Town()
        : watch(std::make_shared<FinishWatch>(
              own, [this](const TaskId& id) { return look_up(id); }, detail::SafeLogger(logger))) {}
    Town(const Town&) = delete;
    Town& operator=(const Town&) = delete;
    ~Town() { watch->close(); }

    void put(const TaskId& id, TaskStatus status, std::string error = {}) {
        const std::lock_guard lock(mutex_);
        file_[id.str()] = {id, status, std::move(error)};
    }
    void remove(const TaskId& id) {
        const std::lock_guard lock(mutex_);
        file_.erase(id.str());
    }
    FinishedTask look_up(const TaskId& id) {
        ++looks;
        if (breaks > 0 && breaks-- > 0) throw std::runtime_error("no file");
        const std::lock_guard lock(mutex_);
        const auto found = file_.find(id.str());
        return found == file_.end() ? FinishedTask{id} : found->second;
    }
    std::optional<TaskStatus> wait(const TaskId& id, Duration time, std::stop_token stop = {}) {
        return watch->wait(id, time, std::move(stop), [&] { return look_up(id).status; });
    }
    /// A wait on a thread of its own that has begun to sleep.
    std::future<std::optional<TaskStatus>> waits(const TaskId& id, std::stop_token stop = {}) {
        const int before = looks;
        auto answer = std::async(std::launch::async, [this, &id, stop] { return wait(id, patience, stop); });
        CHECK(eventually([&] { return looks > before; }));
        return answer;
    }
    void end(const TaskId& id, TaskStatus status, std::string_view error = {}, bool kept = false) {
        FinishWatch::Commit commit(*watch);
        commit.ended({&id, status, error, kept});
    }

    std::atomic<int> looks{0};
    std::atomic<int> breaks{0};
    const std::shared_ptr<platform::ThreadList> own = std::make_shared<platform::ThreadList>();
    const std::shared_ptr<backlite_test::RecordingLogger> logger = std::make_shared<backlite_test::RecordingLogger>();
    const std::shared_ptr<FinishWatch> watch;

private:
    std::mutex mutex_{};
    std::map<std::string, FinishedTask> file_{};
};

/// A thread that tells of commits.
class Dispatcher {
public:
    explicit Dispatcher(Town& town) {
        std::promise<void> begun;
        thread_ = std::thread([this, &town, &begun] {
            town.watch->begin();
            begun.set_value();
            over_.get_future().wait();
            town.watch->end();
        });
        begun.get_future().wait();
    }
    Dispatcher(const Dispatcher&) = delete;
    Dispatcher& operator=(const Dispatcher&) = delete;
    ~Dispatcher() {
        over_.set_value();
        thread_.join();
    }

private:
    std::promise<void> over_{};
    std::thread thread_{};
};

/// What callbacks were told. Threads: any.
class Told {
public:
    FinishWatch::Callback callback() {
        return [this](const FinishedTask& task) {
            const std::lock_guard lock(mutex_);
            all_.push_back(task.id.str() + " " + std::string{to_string(task.status)} + " " + task.error);
        };
    }
    std::vector<std::string> all() {
        const std::lock_guard lock(mutex_);
        return all_;
    }
    bool await(std::size_t count) {
        return eventually([&] { return all().size() >= count; });
    }

private:
    std::mutex mutex_{};
    std::vector<std::string> all_{};
};

const TaskId a = TaskId::from_text("a");
const TaskId b = TaskId::from_text("b");

TEST_CASE("FinishWatch: a wait ends when this client ends the task, and says how") {
    Town town;
    town.put(a, TaskStatus::running);
    const Dispatcher dispatcher(town);
    auto answer = town.waits(a);
    town.end(b, TaskStatus::failed);
    town.end(a, TaskStatus::cancelled);
    CHECK(answer.get() == TaskStatus::cancelled);
}

TEST_CASE("FinishWatch: a wait looks again when somebody has committed") {
    Town town;
    town.put(a, TaskStatus::pending);
    const Dispatcher dispatcher(town);
    auto answer = town.waits(a);
    town.watch->committed();
    CHECK(eventually([&] { return town.looks >= 2; }));
    town.put(a, TaskStatus::expired);
    town.watch->committed();
    CHECK(answer.get() == TaskStatus::expired);
}

TEST_CASE("FinishWatch: where nobody tells of commits, a wait looks again and again") {
    Town town;
    town.put(a, TaskStatus::pending);
    auto answer = town.waits(a);
    CHECK(eventually([&] { return town.looks >= 5; }));
    town.put(a, TaskStatus::succeeded);
    CHECK(answer.get() == TaskStatus::succeeded);
}

TEST_CASE("FinishWatch: a wait that was told of commits goes on by itself when nobody tells any more") {
    Town town;
    town.put(a, TaskStatus::pending);
    auto dispatcher = std::make_unique<Dispatcher>(town);
    auto answer = town.waits(a);
    dispatcher.reset();
    CHECK(eventually([&] { return town.looks >= 5; }));
    town.put(a, TaskStatus::succeeded);
    CHECK(answer.get() == TaskStatus::succeeded);
}

TEST_CASE("FinishWatch: a wait ends with its time or its stop") {
    Town town;
    town.put(a, TaskStatus::pending);
    const Dispatcher dispatcher(town);
    CHECK(town.wait(a, 0ms) == std::nullopt);
    CHECK(town.wait(a, 2ms) == std::nullopt);
    std::stop_source stop;
    auto answer = town.waits(a, stop.get_token());
    stop.request_stop();
    CHECK(answer.get() == std::nullopt);
    CHECK(town.wait(a, patience, stop.get_token()) == std::nullopt);
    town.put(a, TaskStatus::failed);
    CHECK(town.wait(a, 0ms, stop.get_token()) == TaskStatus::failed);
}

TEST_CASE("FinishWatch: on the dispatcher's thread a wait is a UsageError") {
    Town town;
    town.put(a, TaskStatus::pending);
    town.watch->begin();
    CHECK_THROWS_AS(town.wait(a, 0ms), UsageError);
    town.watch->end();
    CHECK(town.wait(a, 0ms) == std::nullopt);
}

TEST_CASE("FinishWatch: what a wait's look throws reaches its caller, and nothing is left of it") {
    Town town;
    town.breaks = 1;
    CHECK(message_of<std::runtime_error>([&] { (void)town.wait(a, 0ms); }) == "no file");
    town.end(a, TaskStatus::failed);
    CHECK(town.wait(a, 0ms) == TaskStatus::failed);
}

TEST_CASE("FinishWatch: a task that was not kept is remembered until 4,096 others have ended") {
    Town town;
    town.end(a, TaskStatus::failed);
    town.end(b, TaskStatus::succeeded, {}, true);
    CHECK(town.wait(a, 0ms) == TaskStatus::failed);
    CHECK(town.wait(b, 0ms) == TaskStatus::not_found);  // the file has said so of one that was kept
    CHECK(town.wait(TaskId::from_text("c"), 0ms) == TaskStatus::not_found);
    for (std::size_t i = 1; i < FinishWatch::most; ++i) {
        town.end(TaskId::from_text("other " + std::to_string(i)), TaskStatus::succeeded);
    }
    CHECK(town.wait(a, 0ms) == TaskStatus::failed);
    town.end(TaskId::from_text("one more"), TaskStatus::succeeded);
    CHECK(town.wait(a, 0ms) == TaskStatus::not_found);
    CHECK(town.wait(TaskId::from_text("other 1"), 0ms) == TaskStatus::succeeded);
    CHECK(town.wait(TaskId::from_text("one more"), 0ms) == TaskStatus::succeeded);
}

TEST_CASE("FinishWatch: of an id that came again the latest end counts, and an id of any length does no harm") {
    Town town;
    town.end(a, TaskStatus::failed);
    town.end(b, TaskStatus::succeeded);
    town.end(a, TaskStatus::cancelled);
    CHECK(town.wait(a, 0ms) == TaskStatus::cancelled);
    const TaskId long_id = TaskId::from_text(std::string(1'000, 'x'));
    const TaskId none{};
    town.end(long_id, TaskStatus::failed);
    town.end(none, TaskStatus::failed);
    CHECK(town.wait(long_id, 0ms) == TaskStatus::not_found);
    CHECK(town.wait(none, 0ms) == TaskStatus::failed);
}

TEST_CASE("FinishWatch: nobody says that a task is missing while a commit that may have ended it is not told of") {
    Town town;
    auto commit = std::make_unique<FinishWatch::Commit>(*town.watch);
    CHECK(town.wait(a, 2ms) == std::nullopt);
    std::stop_source stop;
    auto stopped = town.waits(a, stop.get_token());
    stop.request_stop();
    CHECK(stopped.get() == std::nullopt);
    auto answer = town.waits(a);
    const FinishWatch::Commit later(*town.watch);  // one that begins after the look is not waited for
    Told told;
    town.watch->on_finished(a, told.callback());
    commit->ended({&a, TaskStatus::succeeded});
    commit.reset();
    CHECK(answer.get() == TaskStatus::succeeded);
    CHECK(told.await(1));
    CHECK(told.all() == std::vector<std::string>{"a succeeded "});
}

TEST_CASE("FinishWatch: a missing task is not found once the commits that ran are over without it") {
    Town town;
    auto first = std::make_unique<FinishWatch::Commit>(*town.watch);
    auto second = std::make_unique<FinishWatch::Commit>(*town.watch);
    auto answer = town.waits(a);
    second.reset();
    CHECK(answer.wait_for(2ms) == std::future_status::timeout);
    first.reset();
    CHECK(answer.get() == TaskStatus::not_found);
}

TEST_CASE("FinishWatch: the outcomes of a cycle are told but for those that changed nothing") {
    Town town;
    const auto ended = [](const char* id, detail::RowChange change, bool kept = false) {
        store::EndedAttempt attempt;
        attempt.resolved.id = TaskId::from_text(id);
        attempt.resolved.resolution = change;
        attempt.resolved.keep_row = kept;
        attempt.resolved.error = "why";
        return attempt;
    };
    using detail::RowChange;
    std::vector<store::EndedAttempt> outcomes{
        ended("done", RowChange::complete), ended("lost", RowChange::complete),   ended("bad", RowChange::fail),
        ended("refused", RowChange::fail),  ended("cancelled", RowChange::retry), ended("again", RowChange::retry),
        ended("late", RowChange::fail),     ended("snoozed", RowChange::snooze),  ended("back", RowChange::release)};
    outcomes[6].resolved.kind = detail::expired_kind;
    store::CycleResult result;
    result.lost_outcomes = {1};
    result.refused_outcomes.push_back({3, StorageError("no", 1)});
    result.cancelled_outcomes = {4};
    result.expired.push_back({TaskId::from_text("waited"), 0});
    store::CyclePlan plan;
    plan.keep.push_back({});
    Told told;
    for (const char* id : {"done", "bad", "cancelled", "late", "waited"}) {
        town.put(TaskId::from_text(id), TaskStatus::running);
        town.watch->on_finished(TaskId::from_text(id), told.callback());
    }
    for (const char* id : {"child", "slot"}) {  // not kept
        town.put(TaskId::from_text(id), TaskStatus::pending);
        town.watch->on_finished(TaskId::from_text(id), told.callback());
    }
    for (const char* id : {"lost", "refused", "again", "snoozed", "back"}) {
        town.put(TaskId::from_text(id), TaskStatus::pending);
        town.watch->on_finished(TaskId::from_text(id), told.callback());
    }
    result.cancelled_children.push_back({TaskId::from_text("child"), "q"});
    result.slots.emplace_back().cancelled.push_back({TaskId::from_text("slot"), "q"});
    town.put(TaskId::from_text("cancelled"), TaskStatus::cancelled, "superseded by b");  // what the row says
    CHECK(eventually([&] { return town.looks >= 12; }));                                 // each was looked for
    for (const char* id : {"child", "slot"}) town.remove(TaskId::from_text(id));
    FinishWatch::Commit(*town.watch).ended(outcomes, plan, result);
    CHECK(told.await(7));
    std::vector<std::string> all = told.all();
    std::sort(all.begin(), all.end());
    CHECK(all == std::vector<std::string>{"bad failed why", "cancelled cancelled superseded by b", "child cancelled ",
                                          "done succeeded ", "late expired why", "slot cancelled ",
                                          "waited expired expired"});
}

TEST_CASE("FinishWatch: a callback is called once, on a thread of the library, also for what has finished before") {
    Town town;
    Told told;
    town.put(a, TaskStatus::failed, "why");
    town.watch->on_finished(a, told.callback());
    CHECK(told.await(1));
    town.end(b, TaskStatus::succeeded);
    town.watch->on_finished(b, told.callback());
    CHECK(told.await(2));
    const TaskId c = TaskId::from_text("c");
    town.put(c, TaskStatus::running);
    std::promise<bool> own;
    town.watch->on_finished(c, told.callback());
    town.watch->on_finished(c, [&](const FinishedTask&) { own.set_value(town.own->has_this_thread()); });
    town.end(c, TaskStatus::expired, "expired");
    CHECK(own.get_future().get());
    town.put(c, TaskStatus::expired);
    town.end(c, TaskStatus::expired);
    town.watch->committed();
    const TaskId none = TaskId::from_text("none");
    town.watch->on_finished(none, told.callback());
    CHECK(told.await(4));
    CHECK(told.all() ==
          std::vector<std::string>{"a failed why", "b succeeded ", "c expired expired", "none not_found "});
    CHECK_FALSE(town.own->has_this_thread());
}

TEST_CASE("FinishWatch: for callbacks it looks when somebody has committed, and once more when a look failed") {
    Town town;
    Told told;
    town.put(a, TaskStatus::running);
    town.watch->on_finished(a, told.callback());
    CHECK(eventually([&] { return town.looks == 1; }));
    town.breaks = 2;
    town.put(a, TaskStatus::cancelled);
    town.watch->committed();
    CHECK(told.await(1));
    CHECK(town.looks >= 4);
    const int looks = town.looks;
    town.watch->committed();  // nobody waits
    town.watch->on_finished(b, told.callback());
    CHECK(told.await(2));
    CHECK(town.looks == looks + 1);
}

TEST_CASE("FinishWatch: a callback that throws is told to the log, and the next is called") {
    Town town;
    Told told;
    town.put(a, TaskStatus::succeeded);
    town.watch->on_finished(a, [](const FinishedTask&) { throw std::runtime_error("sour"); });
    town.watch->on_finished(a, [](const FinishedTask&) { throw 7; });
    town.watch->on_finished(b, told.callback());
    CHECK(told.await(1));
    CHECK(eventually([&] { return town.logger->count("a callback of on_finished throws") == 2; }));
}

TEST_CASE("FinishWatch: its end calls what is due, drops the rest, and lets go of it") {
    Town town;
    Told told;
    const auto held = std::make_shared<int>(0);
    town.put(a, TaskStatus::running);
    town.put(b, TaskStatus::running);
    std::promise<void> entered;
    std::promise<void> gate;
    town.watch->on_finished(a, [&](const FinishedTask&) {
        entered.set_value();
        gate.get_future().wait();
    });
    town.watch->on_finished(a, told.callback());
    town.watch->on_finished(b, [held](const FinishedTask&) {});
    town.end(a, TaskStatus::succeeded);
    entered.get_future().wait();
    std::thread closing([&] { town.watch->close(); });
    CHECK(eventually([&] { return held.use_count() == 1; }));
    gate.set_value();
    closing.join();
    CHECK(told.all() == std::vector<std::string>{"a succeeded "});
    CHECK_THROWS_AS(town.watch->on_finished(a, told.callback()), UsageError);
    town.end(b, TaskStatus::failed);
    CHECK(told.all().size() == 1);
}

TEST_CASE("FinishWatch: its end inside of a callback does not wait for that") {
    auto town = std::make_unique<Town>();
    std::promise<void> over;
    town->put(a, TaskStatus::succeeded);
    town->watch->on_finished(a, [&](const FinishedTask&) {
        town->watch->close();
        over.set_value();
    });
    over.get_future().wait();
    while (town->own->has_this_thread()) std::this_thread::yield();
    CHECK(eventually([&] { return town->watch.use_count() == 1; }));
}

TEST_CASE("FinishWatch: whoever waits when it is closed looks once more") {
    Town town;
    town.put(a, TaskStatus::running);
    const Dispatcher dispatcher(town);
    auto answer = town.waits(a);
    town.breaks = 1;
    town.watch->close();
    CHECK_THROWS_AS(answer.get(), std::runtime_error);
}

}  // namespace
