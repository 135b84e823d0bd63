// SPDX-License-Identifier: MIT
// How clients start and stop, and what becomes of their tasks then.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <pthread.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

// A sanitizer has its own pthread_create.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define BACKLITE_TEST_MAKES_THREADS 0
#endif
#endif
#if !defined(BACKLITE_TEST_MAKES_THREADS) && (defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__))
#define BACKLITE_TEST_MAKES_THREADS 0
#endif
#if !defined(BACKLITE_TEST_MAKES_THREADS)
#define BACKLITE_TEST_MAKES_THREADS 1
#endif

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::Context;
using backlite::Outcome;
using backlite::StopReason;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::UsageError;

// Decides, while one lives, whether the thread on which it lives can make another, and what happens right after.
class ThreadMaking {
public:
    // `refuse` gets the number of the thread, from 0, and returns the error, 0 for none.
    ThreadMaking(std::function<int(int)> refuse, std::function<void()> made)
        : refuse_(std::move(refuse)), made_(std::move(made)) {
        current() = this;
    }
    ThreadMaking(const ThreadMaking&) = delete;
    ThreadMaking& operator=(const ThreadMaking&) = delete;
    ~ThreadMaking() { current() = nullptr; }

    static ThreadMaking*& current() {
        static thread_local ThreadMaking* making = nullptr;
        return making;
    }

    template <class Make>
    int make(Make&& really) {
        if (const int error = refuse_(number_++)) return error;
        const int error = really();
        if (error == 0) made_();
        return error;
    }

private:
    std::function<int(int)> refuse_;
    std::function<void()> made_;
    int number_ = 0;
};

// A task whose processor the test chooses.
struct Job {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "job", .max_attempts = 3, .retention = backlite::Retention{}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, name)

struct Other {
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "other"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Other, number)

struct Throwing {
    int kind = 0;
    static backlite::QueueConfig config() {
        return {.name = "throwing",
                .max_attempts = 2,
                .backoff = backlite::Backoff::custom([](int) -> backlite::Duration { throw 3; }),
                .retention = backlite::Retention{}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Throwing, kind)

struct Unreadable {
    static backlite::QueueConfig config() { return {.name = "unreadable"}; }
};
void to_json(nlohmann::json& json, const Unreadable&) { json = 1; }
void from_json(const nlohmann::json&, Unreadable&) { throw 5; }

// An exception that breaks the rules of its base.
struct Mute : std::exception {
    [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};

// Waits until the token fires. False if it does not.
bool fires(const std::stop_token& token) {
    return eventually([&] { return token.stop_requested(); });
}

class Stopwatch {
public:
    [[nodiscard]] std::chrono::milliseconds elapsed() const {
        return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start_);
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

TaskId add(Client& client, std::string name) { return client.add(Job{std::move(name)}).save().front(); }

// Whether a stop has begun.
bool refuses_start(Client& client) {
    try {
        client.start();
        return false;
    } catch (const UsageError&) {
        return true;
    }
}

// Starts the client, which may still be ending; whether it could be started.
bool start_at_last(Client& client) {
    return eventually([&] { return !refuses_start(client); });
}

// A client whose one task runs until the gate opens.
struct Busy {
    Busy() {
        client.register_queue<Job>([this](const Job&) {
            journal.note("inside");
            gate.pass();
        });
        id = add(client, "a");
        client.start();
        REQUIRE(journal.await("inside"));
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

    TempFolder folder{};
    Journal journal{};
    Gate gate{};
    Client client{quick(folder.file("q.db"))};
    const OpensAtEnd opens{gate};
    TaskId id{};
};

}  // namespace

#if BACKLITE_TEST_MAKES_THREADS
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                              void* argument) noexcept {
    using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
    const auto really = [&] { return create(thread, attributes, body, argument); };
    return ThreadMaking::current() == nullptr ? really() : ThreadMaking::current()->make(really);
}
#endif

namespace {

// ---- stop -----------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Story, "stop: claims that no worker has started go back as if they had never been taken") {
    Gate gate;
    Client client{quick(file, 1)};
    const OpensAtEnd opens(gate);
    client.register_queue<Job>([&](const Job& job) {
        journal.note(job.name);
        if (job.name == "slow") gate.pass();
    });
    std::vector<Job> jobs(40, Job{"quick"});
    jobs[20].name = "slow";  // after enough quick ones that the rest is claimed ahead
    client.add(jobs).save();
    client.start();
    REQUIRE(journal.await("slow"));
    Look look(file);
    REQUIRE(eventually([&] { return look.tasks("claimed_at IS NOT NULL") > 1; }));

    std::optional<bool> stopped;
    std::thread stopping([&] { stopped = client.stop(patience); });
    CHECK(eventually([&] { return look.tasks("claimed_at IS NOT NULL") == 1; }));
    gate.open();
    stopping.join();

    CHECK(stopped == true);
    CHECK(journal.entries().size() == 21);
    CHECK(look.tasks("claimed_at IS NULL AND owner IS NULL AND attempts = 0 AND crashes = 0 AND wait_until IS NULL") ==
          19);
    CHECK(look.completed("succeeded = 1") == 21);
}

TEST_CASE_METHOD(Story, "stop: waits for running tasks and returns as soon as they have ended") {
    Gate gate;
    Client client{config};
    const OpensAtEnd opens(gate);
    client.register_queue<Job>([&](Context& context, const Job&) {
        journal.note("inside");
        gate.pass();
        journal.note(context.stop_token().stop_requested() ? "asked to stop" : "left alone");
    });
    const TaskId id = add(client, "a");
    client.start();
    REQUIRE(journal.await("inside"));
    std::optional<bool> stopped;
    const Stopwatch watch;
    std::thread stopping([&] { stopped = client.stop(1h); });
    CHECK(eventually([&] { return refuses_start(client); }));  // the stop has begun
    gate.open();
    stopping.join();
    CHECK(stopped == true);
    CHECK(watch.elapsed() < patience);
    CHECK(journal.count("left alone") == 1);
    CHECK(client.status(id) == TaskStatus::succeeded);
    CHECK(log->count({"task dispatcher stopping"}) == 1);
}

TEST_CASE_METHOD(Story, "stop: after its patience it fires the tokens, and says that the tasks were late") {
    Client client{quick(file)};
    client.register_queue<Job>([&](Context& context, const Job&) {
        journal.note("inside");
        if (fires(context.stop_token())) journal.note(std::string{to_string(context.stop_reason())});
    });
    const TaskId id = add(client, "a");
    client.start();
    REQUIRE(journal.await("inside"));
    CHECK_FALSE(client.stop(30ms));
    CHECK(journal.await("stopping"));
    CHECK(start_at_last(client));
    CHECK(client.status(id) == TaskStatus::succeeded);  // it returned, so it has succeeded
}

TEST_CASE("stop: gives tasks that ignore their token one second more, then returns") {
    Busy busy;
    const Stopwatch watch;
    CHECK_FALSE(busy.client.stop(100ms));
    CHECK(watch.elapsed() >= 1100ms);
    CHECK(watch.elapsed() < 20s);
}

TEST_CASE_METHOD(
    Story, "stop: start throws while tasks that ignored their token run, names them, and works once they have ended") {
    Gate gate;
    Client client{quick(file)};
    const OpensAtEnd opens(gate);
    client.register_queue<Job>([&](const Job& job) {
        journal.note(job.name);
        if (job.name == "stubborn") gate.pass();
    });
    const TaskId id = add(client, "stubborn");
    client.start();
    REQUIRE(journal.await("stubborn"));
    REQUIRE_FALSE(client.stop(0ms));
    CHECK_THROWS_WITH(client.start(),
                      Catch::Matchers::ContainsSubstring(id.str()) && Catch::Matchers::ContainsSubstring("\"job\""));
    CHECK_THROWS_AS(client.register_queue<Other>([](const Other&) {}), UsageError);
    CHECK_FALSE(client.stop(0ms));
    CHECK(client.status(id) == TaskStatus::running);

    gate.open();
    CHECK(start_at_last(client));
    CHECK(client.status(id) == TaskStatus::succeeded);
    add(client, "next");
    CHECK(journal.await("next"));
    CHECK(journal.count("stubborn") == 1);
}

TEST_CASE("stop: once the late tasks have ended, queues can be registered without another stop") {
    Busy busy;
    REQUIRE_FALSE(busy.client.stop(0ms));
    busy.gate.open();
    CHECK(eventually([&] {
        try {
            busy.client.register_queue<Other>([&](const Other&) { busy.journal.note("other"); });
            return true;
        } catch (const UsageError&) {
            return false;
        }
    }));
    busy.client.start();
    busy.client.add(Other{}).save();
    CHECK(busy.journal.await("other"));
}

TEST_CASE_METHOD(Story,
                 "stop: a task that throws or retries because of it gives its claim back, with no attempt spent") {
    Client client{quick(file, 3)};
    client.register_queue<Job>([&](Context& context, const Job& job) -> Outcome {
        journal.note("inside");
        fires(context.stop_token());
        if (job.name == "throws") throw std::runtime_error("interrupted");
        if (job.name == "retries") return Outcome::retry_in(1h, "interrupted");
        return Outcome::success();
    });
    const TaskId throws = add(client, "throws");
    const TaskId retries = add(client, "retries");
    const TaskId returns = add(client, "returns");
    client.start();
    REQUIRE(journal.await("inside", 3));
    CHECK_FALSE(client.stop(20ms));
    CHECK(eventually([&] { return client.stop(patience); }));
    CHECK(client.status(throws) == TaskStatus::pending);
    CHECK(client.status(retries) == TaskStatus::pending);
    CHECK(client.status(returns) == TaskStatus::succeeded);
    Look look(file);
    CHECK(look.tasks("claimed_at IS NULL AND attempts = 0 AND wait_until IS NULL AND crashes = 0") == 2);
}

TEST_CASE_METHOD(Story, "stop: a task that fails during the patience has failed, and spends its attempt") {
    Gate gate;
    Client client{quick(file)};
    const OpensAtEnd opens(gate);
    client.register_queue<Job>([&](const Job&) {
        journal.note("inside");
        gate.pass();
        throw std::runtime_error("broken");
    });
    add(client, "a");
    client.start();
    REQUIRE(journal.await("inside"));
    std::thread stopping([&] { CHECK_NOTHROW(client.stop(1h)); });
    // Once the stop is under way, start() says so: the task must not end, and be claimed again, before that.
    REQUIRE(eventually([&] {
        try {
            client.start();
            return false;
        } catch (const backlite::UsageError&) {
            return true;
        }
    }));
    gate.open();
    stopping.join();
    Look look(file);
    CHECK(look.tasks("claimed_at IS NULL AND attempts = 1 AND error = 'broken'") == 1);
}

TEST_CASE("stop: false while outcomes are unwritten, which land once they can") {
    Busy busy;
    WriteLock others(busy.folder.file("q.db"));
    busy.gate.open();
    CHECK_FALSE(busy.client.stop(50ms));
    CHECK(busy.client.status(busy.id) == TaskStatus::running);
    CHECK_THROWS_AS(busy.client.start(), UsageError);
    others.release();
    CHECK(eventually([&] { return busy.client.status(busy.id) == TaskStatus::succeeded; }));
    CHECK(start_at_last(busy.client));
}

TEST_CASE("stop: true at once on a client that is stopped") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"))};
    const Stopwatch watch;
    CHECK(client.stop(1h));
    client.start();
    CHECK(client.stop(1h));
    CHECK(client.stop(1h));
    CHECK(client.stop(0ms));
    CHECK(watch.elapsed() < patience);
}

TEST_CASE("stop: without any patience it is still true if no task runs") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"))};
    client.register_queue<Job>([](const Job&) {});
    for (int round = 0; round < 5; ++round) {
        client.start();
        CHECK(client.stop(0ms));
    }
}

TEST_CASE("stop: is seen at once, wherever the dispatcher stands") {
    // Asks for the stop on the dispatcher's own thread when it reads the clock: between any two of its steps.
    class AskingClock final : public backlite::Clock {
    public:
        [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const noexcept override {
            const auto now = std::chrono::steady_clock::now();
            std::array<char, 16> thread{};
            pthread_getname_np(pthread_self(), thread.data(), thread.size());
            if (std::string_view{thread.data()} == "backlite-disp" && --asks_in_ == 0) {
                (void)client_->stop(0ms);
                journal_.note("asked");
            }
            return now;
        }
        // REQUIRES: the client is stopped.
        void ask_in(Client& client, int reads) {
            client_ = &client;
            asks_in_ = reads;
        }
        [[nodiscard]] bool asked(int times) const { return journal_.await_for("asked", 300ms, times); }

    private:
        Client* client_ = nullptr;
        mutable std::atomic<int> asks_in_{0};
        mutable Journal journal_{};
    };
    const TempFolder folder;
    auto clock = std::make_shared<AskingClock>();
    ClientConfig config = quick(folder.file("q.db"), 1);
    config.clock = clock;
    Client client{config};
    Look look(folder.file("q.db"));
    int asked = 0;
    bool reached = true;
    int reads = 1;
    for (; reached && reads <= 30; ++reads) {
        INFO("after reading the clock this often: " << reads);
        std::chrono::milliseconds best = patience;
        for (int attempt = 0; attempt < 5 && best >= 800ms; ++attempt) {  // a loaded machine is not the dispatcher
            clock->ask_in(client, reads);
            client.start();
            reached = clock->asked(asked + 1);
            if (!reached) break;
            ++asked;
            const Stopwatch watch;
            CHECK(eventually([&] { return look.number("SELECT count(*) FROM backlite_clients") == 0; }));
            best = std::min(best, watch.elapsed());
            CHECK(client.stop(1h));
        }
        if (reached) CHECK(best < 800ms);
    }
    CHECK(reads > 4);
    CHECK(client.stop(1h));
}

TEST_CASE("stop: refuses a negative time") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"))};
    client.start();
    CHECK_THROWS_AS(client.stop(-1ms), ConfigError);
    CHECK(client.stop(std::chrono::milliseconds::max()));
}

TEST_CASE_METHOD(Story, "stop: inside a task it only asks, returns false, and the client can be started again") {
    Client client{quick(file)};
    client.register_queue<Job>([&](Context& context, const Job& job) {
        if (job.name == "stops") journal.note(context.client().stop(1h) ? "waited" : "asked");
        journal.note(job.name);
    });
    const TaskId id = add(client, "stops");
    client.start();
    REQUIRE(journal.await("stops"));
    CHECK(journal.count("asked") == 1);
    CHECK(start_at_last(client));
    CHECK(client.status(id) == TaskStatus::succeeded);
    add(client, "next");
    CHECK(journal.await("next"));
}

TEST_CASE_METHOD(Story, "stop: one that the logger asks for at the dispatcher's first event is heeded") {
    std::atomic<Client*> client{nullptr};
    config.logger = backlite::make_logger([&](auto, std::string_view message, auto) {
        if (message == "task dispatcher started") journal.note(client.load()->stop(1h) ? "waited" : "asked");
    });
    Client under_test{config};
    client = &under_test;
    under_test.register_queue<Job>([&](const Job& job) { journal.note(job.name); });
    under_test.start();
    REQUIRE(journal.await("asked"));
    CHECK(eventually([&] { return Look(file).number("SELECT count(*) FROM backlite_clients") == 0; }));
    add(under_test, "a");
    CHECK(under_test.stop(1h));
    CHECK(journal.entries() == std::vector<std::string>{"asked"});
}

TEST_CASE_METHOD(Story, "stop: from a stop callback, from the logger, and from two threads at once") {
    std::atomic<Client*> client{nullptr};
    config.logger = backlite::make_logger([&](auto, std::string_view message, auto) {
        if (message != "task processed") return;
        client.load()->stop(1h);
        journal.note("logger");
    });
    Client under_test{config};
    client = &under_test;
    under_test.register_queue<Job>([&](Context& context, const Job&) {
        const std::stop_callback callback(context.stop_token(), [&] {
            journal.note(context.client().stop(1h) ? "callback waited" : "callback asked");
        });
        journal.note("inside");
        fires(context.stop_token());
    });
    add(under_test, "a");
    under_test.start();
    REQUIRE(journal.await("inside"));
    std::thread one([&] { under_test.stop(10ms); });
    std::thread two([&] { under_test.stop(10ms); });
    one.join();
    two.join();
    CHECK(under_test.stop(1h));
    CHECK(journal.count("callback asked") == 1);
    CHECK(journal.count("logger") == 1);
}

// ---- start ----------------------------------------------------------------------------------------------------------

TEST_CASE("start: a second one does nothing") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"), 3)};
    client.start();
    client.start();
    Look look(folder.file("q.db"));
    CHECK(look.number("SELECT count(*) FROM backlite_clients") == 1);
    CHECK(client.stop(1h));
    CHECK(look.number("SELECT count(*) FROM backlite_clients") == 0);
}

TEST_CASE("start: a client without queues runs, and leaves all tasks alone") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"))};
    client.start();
    const TaskId id = add(client, "a");
    client.notify();
    CHECK(client.stop(1h));
    CHECK(client.status(id) == TaskStatus::pending);
}

TEST_CASE_METHOD(Story, "start: its stop token is the hard stop") {
    Client client{quick(file, 1)};
    client.register_queue<Job>([&](Context& context, const Job& job) {
        journal.note(job.name);
        if (job.name == "first" && fires(context.stop_token())) throw std::runtime_error("interrupted");
    });
    std::stop_source source;
    const TaskId first = add(client, "first");
    client.start(source.get_token());
    REQUIRE(journal.await("first"));
    const TaskId second = add(client, "second");
    source.request_stop();
    CHECK(eventually([&] { return client.status(first) == TaskStatus::pending; }));
    CHECK(start_at_last(client));
    CHECK(journal.await("first", 2));
    CHECK_FALSE(client.stop(10ms));
    CHECK(client.stop(1h));
    CHECK(client.status(second) == TaskStatus::pending);
}

TEST_CASE("start: with a stop token that has fired, nothing stays started") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"))};
    client.register_queue<Job>([](const Job&) {});
    std::stop_source source;
    source.request_stop();
    client.start(source.get_token());
    Look look(folder.file("q.db"));
    CHECK(eventually([&] { return look.number("SELECT count(*) FROM backlite_clients") == 0; }));
    CHECK(client.stop(20s));  // it has left the list, but may not have ended
    client.start();
    const TaskId id = add(client, "a");
    CHECK(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
}

TEST_CASE_METHOD(Story, "start: right after a hard stop was requested it starts the client anew") {
    const Uncapped uncapped;
    Client client{quick(file, 2)};
    client.register_queue<Job>([&](const Job& job) { journal.note(job.name); });
    for (int round = 1; round <= 50; ++round) {
        std::stop_source source;
        client.start(source.get_token());
        source.request_stop();
        client.start();
        add(client, "a");
        REQUIRE(journal.await("a", round));
        CHECK(client.stop(1h));
    }
}

TEST_CASE_METHOD(Story, "start: right after a hard stop was requested it throws if a task still runs") {
    Gate gate;
    Client client{quick(file, 1)};
    const OpensAtEnd opens(gate);
    client.register_queue<Job>([&](const Job& job) {
        journal.note(job.name);
        gate.pass();
    });
    std::stop_source source;
    client.start(source.get_token());
    add(client, "a");
    REQUIRE(journal.await("a"));
    source.request_stop();
    CHECK_THROWS_AS(client.start(), UsageError);
}

TEST_CASE_METHOD(Story, "start: a hard stop that is requested while everything sleeps is carried out at once") {
    const Uncapped uncapped;
    Client client{quick(file, 1)};
    client.register_queue<Job>([&](Context& context, const Job& job) {
        journal.note(job.name);
        journal.note(fires(context.stop_token()) ? "stopped" : "not stopped");
    });
    std::stop_source source;
    client.start(source.get_token());
    add(client, "a");
    REQUIRE(journal.await("a"));
    std::this_thread::sleep_for(20ms);  // by then the watch thread sleeps too
    source.request_stop();
    CHECK(journal.await("stopped"));
    CHECK(client.stop(1h));
}

TEST_CASE_METHOD(Story, "stop: ends with its last outcome, also if writing that changes nothing") {
    const Uncapped uncapped;
    Gate gate;
    Client client{config};
    const OpensAtEnd opens(gate);
    client.register_queue<Job>([&](const Job& job) {
        journal.note(job.name);
        gate.pass();
    });
    std::stop_source source;
    client.start(source.get_token());
    add(client, "a");
    REQUIRE(journal.await("a"));
    Look look(file);
    look.run("UPDATE backlite_tasks SET claim = claim + 1");  // it is somebody else's by now
    std::this_thread::sleep_for(1s);                          // by then nobody looks for commits any more
    SQLite::Database holder(file, SQLite::OPEN_READWRITE);
    holder.exec("BEGIN IMMEDIATE");
    source.request_stop();
    gate.open();
    std::this_thread::sleep_for(300ms);  // by then the outcome waits for the lock
    holder.exec("ROLLBACK");
    CHECK(eventually([&] { return look.number("SELECT count(*) FROM backlite_clients") == 0; }));
    CHECK(log->await({"warning outcome dropped"}));  // told on another thread
}

TEST_CASE("start: a task that another thread adds while the client starts is run") {
    const TempFolder folder;
    std::atomic<int> ran{0};
    Client client{quick(folder.file("q.db"))};
    client.register_queue<Job>([&](const Job&) { ++ran; });
    int added = 0;
    for (int round = 0; round < 60; ++round) {
        std::atomic<bool> started{false};
        int mine = 0;
        std::thread producer([&] {
            while (!started) {
                client.add(Job{"a"}).save();
                ++mine;
            }
        });
        client.start();
        started = true;
        producer.join();
        added += mine;
        REQUIRE(eventually([&] { return ran == added; }));
        REQUIRE(client.stop(1h));
    }
}

TEST_CASE("start and stop: from many threads, any number of times, lose and double nothing") {
    const TempFolder folder;
    constexpr int threads = 6;
    constexpr int rounds = 40;
    std::atomic<int> ran{0};
    Client client{quick(folder.file("q.db"))};
    client.register_queue<Job>([&](const Job&) { ++ran; });
    std::vector<std::thread> users;
    for (int i = 0; i < threads; ++i) {
        users.emplace_back([&, i] {
            for (int round = 0; round < rounds; ++round) {
                client.add(Job{"a"}).save();
                if ((round + i) % 2 == 0) {
                    try {
                        client.start();
                    } catch (const UsageError&) {  // it still stops
                    }
                } else {
                    client.stop(std::chrono::milliseconds{round % 3});
                }
            }
        });
    }
    for (std::thread& user : users) user.join();
    CHECK(start_at_last(client));
    CHECK(eventually([&] { return ran == threads * rounds; }));
    CHECK(client.stop(1h));
    Look look(folder.file("q.db"));
    CHECK(look.tasks() == 0);
    CHECK(look.completed("succeeded = 1 AND attempts = 1") == threads * rounds);
    CHECK(ran == threads * rounds);
}

#if BACKLITE_TEST_MAKES_THREADS
TEST_CASE_METHOD(Story, "start: without room for its threads it throws, and the client can be used and started later") {
    Client client{quick(file, 3)};
    client.register_queue<Job>([&](const Job& job) { journal.note(job.name); });
    int refused = 0;
    for (bool started = false; !started; ++refused) {
        INFO("the thread that could not be made: " << refused);
        ThreadMaking making([&](int number) { return number == refused ? EAGAIN : 0; }, [] {});
        try {
            client.start();
            started = true;
        } catch (const backlite::Error& error) {
            const std::string what = error.what();
            CHECK(what.find("the thread \"backlite-") == 0);
        }
        add(client, "a");
    }
    CHECK(refused > 4);
    CHECK(journal.await("a", refused));
    CHECK(client.stop(1h));
    CHECK(Look(file).number("SELECT count(*) FROM backlite_clients") == 0);
}

TEST_CASE_METHOD(Story, "start: what a task asks for before it has returned is heeded") {
    Client client{quick(file, 1)};
    client.register_queue<Job>([&](Context& context, const Job& job) {
        if (job.name == "stops") context.client().stop(1h);
        journal.note(job.name);
    });
    add(client, "stops");
    {
        ThreadMaking making([](int) { return 0; }, [&] { (void)journal.await_for("stops", 300ms); });
        client.start();
    }
    REQUIRE(journal.count("stops") == 1);
    CHECK(eventually([&] { return Look(file).number("SELECT count(*) FROM backlite_clients") == 0; }));
    REQUIRE(start_at_last(client));  // what was asked of one start is not asked of the next
    add(client, "next");
    CHECK(journal.await("next"));
}

TEST_CASE_METHOD(Story, "start: a task added after the first look at the file and before it has returned is run") {
    Client client{quick(file, 1)};
    client.register_queue<Job>([&](const Job& job) { journal.note(job.name); });
    add(client, "first");
    bool added = false;
    {
        ThreadMaking making([](int) { return 0; },
                            [&] {
                                if (added || !journal.await_for("first", 300ms)) return;
                                add(client, "second");
                                added = true;
                            });
        client.start();
    }
    REQUIRE(added);
    CHECK(journal.await("second"));
}

TEST_CASE_METHOD(Story, "start: a file that is lost before it has returned ends the client") {
    config.num_workers = 1;
    Client client{config};
    bool lost = false;
    {
        ThreadMaking making([](int) { return 0; },
                            [&, made = 0]() mutable {
                                if (++made != 4) return;  // by then the client is in the list of those on the file
                                std::filesystem::remove(file);
                                lost = eventually([&] {
                                    try {
                                        add(client, "a");
                                        return false;
                                    } catch (const backlite::StorageError&) {
                                        return true;
                                    }
                                });
                            });
        client.start();
    }
    REQUIRE(lost);
    CHECK(log->await({"task dispatcher stopping"}));
    const Stopwatch watch;
    CHECK_FALSE(client.stop(patience));  // it has ended by itself, or does so now
    CHECK(watch.elapsed() < patience);
}

TEST_CASE_METHOD(Story, "start: one during which the client is destroyed, and which fails, leaves nothing behind") {
    auto number = std::make_shared<int>(1);
    const std::weak_ptr<int> held = number;
    auto client = std::make_unique<Client>(config);
    client->register_queue<Job>([number = std::move(number)](const Job&) {});
    const backlite::ClientHandle kept = *client;
    Client& under_test = *client;
    {
        ThreadMaking making(
            [&](int made) {
                if (made < 3) return 0;
                client.reset();
                return EAGAIN;
            },
            [] {});
        CHECK_THROWS_AS(under_test.start(), backlite::Error);
    }
    REQUIRE(client == nullptr);
    CHECK_THROWS_AS(kept.counts(), UsageError);
    CHECK(held.expired());
}
#endif

TEST_CASE_METHOD(Story, "start: one that waits for the end of a stop while the client is destroyed throws") {
    Gate gate;
    Gate telling;
    auto number = std::make_shared<int>(1);
    const std::weak_ptr<int> held = number;
    std::unique_ptr<Client> client;
    config.logger = backlite::make_logger([&](auto, std::string_view message, auto) {
        if (message != "storage error: the dispatcher tries again") return;
        telling.pass();
        client.reset();
        journal.note("destroyed");
    });
    config.busy_timeout = 2s;  // then the lock is told, while the start, which begins a second later, still waits
    client = std::make_unique<Client>(config);
    const OpensAtEnd opens(gate);
    const OpensAtEnd tells(telling);
    client->register_queue<Job>([&, number = std::move(number)](const Job&) {
        journal.note("inside");
        gate.pass();
    });
    add(*client, "a");
    client->start();
    REQUIRE(journal.await("inside"));
    WriteLock others(file);
    gate.open();
    REQUIRE_FALSE(client->stop(50ms));
    bool refused = false;
    std::thread starting([&, &under_test = *client] {
        journal.note("starting");
        refused = refuses_start(under_test);
    });
    REQUIRE(journal.await("starting"));
    std::this_thread::sleep_for(100ms);  // by then it waits
    telling.open();
    CHECK(journal.await("destroyed"));
    others.release();
    starting.join();
    CHECK(refused);
    CHECK(eventually([&] { return held.expired(); }));
}

// ---- the end of a client --------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Story,
                 "Client: the destructor fires the tokens and waits for what ignores them, saying so each second") {
    Gate gate;
    auto client = std::make_unique<Client>(config);
    const OpensAtEnd opens(gate);
    client->register_queue<Job>([&](Context& context, const Job&) {
        journal.note("inside");
        if (fires(context.stop_token())) journal.note("asked");
        gate.pass();
        journal.note("left");
    });
    const TaskId id = add(*client, "stubborn");
    client->start();
    REQUIRE(journal.await("inside"));
    std::thread destroying([&] { client.reset(); });
    CHECK(journal.await("asked"));
    CHECK(log->await({"waiting for a task to end", id.str(), "queue=job"}, 2));
    CHECK(journal.count("left") == 0);
    gate.open();
    destroying.join();
    CHECK(journal.count("left") == 1);
    Client later{quick(file)};
    CHECK(later.status(id) == TaskStatus::succeeded);
}

TEST_CASE_METHOD(Story,
                 "Client: the destructor gives up outcomes that cannot be written, names them, and they run again") {
    Gate gate;
    config.busy_timeout = 200ms;
    auto client = std::make_unique<Client>(config);
    const OpensAtEnd opens(gate);
    client->register_queue<Job>([&](const Job&) {
        journal.note("inside");
        gate.pass();
    });
    const TaskId id = add(*client, "a");
    client->start();
    REQUIRE(journal.await("inside"));
    {
        // The lock that the outcome needs is held by this very thread.
        const WriteLock own(file);
        gate.open();
        const Stopwatch watch;
        client.reset();
        CHECK(watch.elapsed() >= config.busy_timeout);
        CHECK(watch.elapsed() < patience);
    }
    CHECK(log->count({"outcome not written", id.str(), "queue=job"}) == 1);
    Client later{config};
    later.register_queue<Job>(
        [&](Context& context, const Job&) { journal.note(fmt::format("attempt {}", context.attempt())); });
    CHECK(later.status(id) == TaskStatus::running);
    later.start();
    CHECK(journal.await("attempt 1"));
    CHECK(later.stop(1h));
    CHECK(Look(file).completed("attempts = 1") == 1);
}

TEST_CASE_METHOD(Story, "Client: destroyed inside its own task, its engine outlives it until that task ends") {
    auto client = std::make_unique<Client>(config);
    client->register_queue<Job>([&](Context& context, const Job& job) {
        if (job.name != "last") return;
        journal.note("inside");
        client.reset();
        journal.note("destroyed");
        context.client().add(Job{"late"}).wait(1h).save();
        journal.note("added");
        // The rest of the end happens on another thread: this task is asked to stop as any other.
        if (fires(context.stop_token())) journal.note("asked");
    });
    const TaskId id = add(*client, "last");
    client->start();
    REQUIRE(journal.await("asked"));
    CHECK(journal.entries() == std::vector<std::string>{"inside", "destroyed", "added", "asked"});
    CHECK(log->await({"task dispatcher stopping"}));
    Client later{quick(file)};
    CHECK(eventually([&] { return later.status(id) == TaskStatus::succeeded; }));
    CHECK(Look(file).tasks() == 1);
    // Its threads are gone once the logger has one owner fewer.
    CHECK(eventually([&] { return log.use_count() == 2; }));
}

#if BACKLITE_TEST_MAKES_THREADS
TEST_CASE_METHOD(Story, "Client: destroyed inside its own task, it needs no thread that could be refused") {
    config.num_workers = 1;
    auto client = std::make_unique<Client>(config);
    client->register_queue<Job>([&](const Job&) {
        const ThreadMaking making([](int) { return EAGAIN; }, [] {});
        client.reset();
        journal.note("destroyed");
    });
    add(*client, "last");
    client->start();
    REQUIRE(journal.await("destroyed"));
    CHECK(eventually([&] { return log.use_count() == 2; }));
    CHECK(Look(file).completed("succeeded = 1") == 1);
}
#endif

TEST_CASE_METHOD(Story, "Client: destroyed in its own stop callback while other tasks run") {
    auto client = std::make_unique<Client>(config);
    client->register_queue<Job>([&](Context& context, const Job& job) {
        if (job.name == "destroys") {
            const std::stop_callback callback(context.stop_token(), [&] { client.reset(); });
            journal.note("inside");
            fires(context.stop_token());
            return;
        }
        journal.note("inside");
        fires(context.stop_token());
    });
    std::stop_source source;
    add(*client, "destroys");
    add(*client, "waits");
    client->start(source.get_token());
    REQUIRE(journal.await("inside", 2));
    source.request_stop();
    CHECK(log->await({"task dispatcher stopping"}));
    CHECK(eventually([&] { return log.use_count() == 2; }));
    CHECK(Look(file).completed("succeeded = 1") == 2);
}

// ---- threads that end inside of a task ------------------------------------------------------------------------------

// So many threads of this process have this name.
int threads_named(std::string_view name) {
    int found = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string comm;
        std::getline(std::ifstream(entry.path() / "comm"), comm);
        if (comm == name) ++found;
    }
    return found;
}

// A task that ends the thread of its worker while its payload is read.
struct SessionEnd {
    static backlite::QueueConfig config() { return {.name = "ending", .retention = backlite::Retention{}}; }
};
void to_json(nlohmann::json& json, const SessionEnd&) { json = 1; }
void from_json(const nlohmann::json&, SessionEnd&) {
    static bool first = true;  // adding reads it back once
    if (!std::exchange(first, false)) ::pthread_exit(nullptr);
}

constexpr const char* left_by_exit = "succeeded = 0 AND error = 'its processor called pthread_exit'";

TEST_CASE_METHOD(Story, "pthread_exit: it fails the attempt, and another thread takes the worker's place") {
    Client client{quick(file, 2)};
    client.register_queue<SessionEnd>([](const SessionEnd&) {});
    client.register_queue<Job>([&](const Job& job) {
        const std::shared_ptr<void> unwound(nullptr, [&](void*) { journal.note("unwound"); });
        if (job.name == "ends") ::pthread_exit(nullptr);
        journal.note(job.name);
    });
    for (int i = 0; i < 20; ++i) client.add(Job{"ends"}, Job{"returns"}).save();
    client.add(SessionEnd{}).save();
    client.start();
    CHECK(journal.await("returns", 20));
    CHECK(journal.await("unwound", 20 + 3 * 20));
    Look look(file);
    CHECK(eventually([&] { return look.tasks() == 0; }));
    CHECK(look.completed(fmt::format("queue = 'job' AND attempts = 3 AND {}", left_by_exit)) == 20);
    CHECK(look.completed("succeeded = 1") == 20);
    CHECK(look.completed(fmt::format("queue = 'ending' AND {}", left_by_exit)) == 1);
    CHECK(eventually([] { return threads_named("backlite-w0") == 1 && threads_named("backlite-w1") == 1; }));
    CHECK(client.stop(patience));
    CHECK(eventually([] { return threads_named("backlite-w0") + threads_named("backlite-w1") == 0; }));
}

TEST_CASE_METHOD(Story, "pthread_exit: while a stop waits for the task, it fails the attempt and ends the stop") {
    Gate gate;
    Client client{quick(file, 1)};
    const OpensAtEnd opens(gate);
    client.register_queue<Job>([&](Context& context, const Job& job) {
        journal.note(job.name);
        if (job.name == "at the gate") gate.pass();
        if (job.name == "when asked") fires(context.stop_token());
        ::pthread_exit(nullptr);
    });
    add(client, "at the gate");
    client.start();
    REQUIRE(journal.await("at the gate"));
    std::optional<bool> stopped;
    std::thread stopping([&] { stopped = client.stop(1h); });
    CHECK(eventually([&] { return refuses_start(client); }));  // the stop has begun
    gate.open();
    stopping.join();
    CHECK(stopped == true);
    Look look(file);
    CHECK(look.tasks("attempts = 1 AND claimed_at IS NULL AND error = 'its processor called pthread_exit'") == 1);
    CHECK(look.number("SELECT count(*) FROM backlite_clients") == 0);
    CHECK(eventually([] { return threads_named("backlite-w0") == 0; }));

    // A hard stop: the attempt is not spent.
    look.run("DELETE FROM backlite_tasks");
    client.start();
    add(client, "when asked");
    REQUIRE(journal.await("when asked"));
    CHECK_FALSE(client.stop(0ms));
    CHECK(look.tasks("attempts = 0 AND claimed_at IS NULL") == 1);
    CHECK(eventually([] { return threads_named("backlite-w0") == 0; }));
}

TEST_CASE_METHOD(Story, "pthread_cancel: reaches a processor only where that allows it, and fails the attempt then") {
    Client client{quick(file, 1)};
    client.register_queue<Job>([&](const Job& job) {
        ::pthread_cancel(::pthread_self());
        ::pthread_testcancel();
        journal.note("not yet");
        if (job.name == "allows it") ::pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
        ::pthread_testcancel();
        journal.note("not at all");
    });
    const TaskId refuses = add(client, "refuses it");
    const TaskId allows = add(client, "allows it");
    client.start();
    CHECK(journal.await("not yet", 4));
    CHECK(eventually([&] { return client.status(allows) == TaskStatus::failed; }));
    CHECK(client.status(refuses) == TaskStatus::succeeded);
    CHECK(journal.count("not at all") == 1);
    CHECK(Look(file).completed(left_by_exit) == 1);
    CHECK(client.stop(patience));
}

#if BACKLITE_TEST_MAKES_THREADS
TEST_CASE_METHOD(Story,
                 "pthread_exit: while the system has no other thread the log says so, and its worker waits for one") {
    config.num_workers = 1;
    std::atomic<bool> refusing{true};
    std::unique_ptr<ThreadMaking> making;
    Client client{config};
    client.register_queue<Job>([&](const Job& job) {
        journal.note(job.name);
        if (job.name != "ends") return;
        making = std::make_unique<ThreadMaking>([&](int) { return refusing ? EAGAIN : 0; }, [] {});
        ::pthread_exit(nullptr);
    });
    client.start();
    const std::vector<std::string> told{"warning", "a task has ended its worker's thread", "backlite-w0"};
    SECTION("it comes") {
        add(client, "ends");
        INFO(log->text());
        REQUIRE(log->await(told));
        add(client, "next");
        refusing = false;
        CHECK(journal.await("next"));
        CHECK(log->count(told) <= 3);  // one for each attempt
        CHECK(client.stop(patience));
    }
    SECTION("it does not come before the client is stopped") {
        add(client, "ends");
        REQUIRE(log->await(told));
        const TaskId next = add(client, "next");
        CHECK(client.stop(patience));
        CHECK(journal.count("next") == 0);
        CHECK(client.status(next) == TaskStatus::pending);
        CHECK(Look(file).tasks("claimed_at IS NULL") == 2);
    }
}
#endif

// ---- exceptions -----------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Story, "exceptions of tasks, backoffs, codecs and loggers are contained: the worker lives on") {
    std::atomic<int> events{0};
    config.num_workers = 1;
    config.logger = backlite::make_logger([&](auto, auto, auto) {
        ++events;
        throw std::runtime_error("the logger is broken");
    });
    Client client{config};
    client.register_queue<Job>([&](const Job& job) { journal.note(job.name); });
    client.register_queue<Unreadable>([](const Unreadable&) {});
    client.register_queue<Throwing>([&](const Throwing& task) {
        journal.note(fmt::format("throwing {}", task.kind));
        if (task.kind == 0) throw std::runtime_error("a standard one");
        if (task.kind == 1) throw "text";
        if (task.kind == 2) throw std::string{"a string"};
        throw Mute{};
    });
    client.add(Throwing{0}, Throwing{1}, Throwing{2}, Throwing{3}, Unreadable{}).save();
    client.start();
    for (int kind = 0; kind < 4; ++kind) CHECK(journal.await(fmt::format("throwing {}", kind), 2));
    add(client, "after all that");
    CHECK(journal.await("after all that"));
    CHECK(client.stop(1h));
    Look look(file);
    CHECK(look.completed("queue = 'throwing' AND succeeded = 0 AND attempts = 2 AND error IS NOT NULL") == 4);
    CHECK(look.completed("queue = 'unreadable' AND succeeded = 0 AND error IS NOT NULL") == 1);
    CHECK(look.tasks() == 0);
    CHECK(events > 0);
}

}  // namespace
