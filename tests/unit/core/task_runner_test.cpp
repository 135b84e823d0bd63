// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/task_runner.hpp>
#include <backlite/id.hpp>
#include <backlite/logger.hpp>
#include <backlite/outcome.hpp>
#include <backlite/queue.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <recording_logger.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::contains;
using backlite_test::RecordingLogger;
using core::AttemptObserver;
using core::QueueRegistry;
using core::TaskRunner;
using detail::Ms;
using detail::Us;
using Names = std::vector<std::string>;
using Processor = std::function<Outcome(Context&)>;

/// A queue whose processor is the test's, and which reads any payload but "unreadable".
class TestQueue final : public detail::QueueBase {
public:
    TestQueue(QueueConfig config, Processor processor, Names& events)
        : config_(std::move(config)), processor_(std::move(processor)), events_(events) {}

    [[nodiscard]] const QueueConfig& config() const noexcept override { return config_; }
    [[nodiscard]] std::string_view type() const noexcept override { return "Test"; }

    [[nodiscard]] std::unique_ptr<Job> decode(std::string_view payload) const override {
        events_.emplace_back("decode");
        if (payload == "unreadable") throw std::invalid_argument("no such field");
        if (payload == "unreadable, without words") throw 7;
        if (payload == "too much") throw std::bad_alloc();
        return std::make_unique<TestJob>(processor_, events_);
    }

private:
    class TestJob final : public Job {
    public:
        TestJob(const Processor& processor, Names& events) : processor_(processor), events_(events) {}
        ~TestJob() override { events_.emplace_back("task gone"); }
        [[nodiscard]] Outcome run(Context& context) override {
            events_.emplace_back("run");
            return processor_(context);
        }

    private:
        const Processor& processor_;
        Names& events_;
    };

    QueueConfig config_;
    Processor processor_;
    Names& events_;
};

class RecordingObserver final : public AttemptObserver {
public:
    explicit RecordingObserver(Names& events) : events_(events) {}
    void entering(const detail::ClaimedTask&) noexcept override { events_.emplace_back("entering"); }
    void timing(std::chrono::steady_clock::time_point at, const std::shared_ptr<detail::StopSignal>& signal) override {
        events_.emplace_back("timing");
        deadline = at;
        timed = signal;
    }
    void left() noexcept override { events_.emplace_back("left"); }

    std::optional<std::chrono::steady_clock::time_point> deadline{};
    std::shared_ptr<detail::StopSignal> timed{};

private:
    Names& events_;
};

/// What surrounds one attempt.
class Shop {
public:
    explicit Shop(Processor processor, QueueConfig config = {.name = "mail", .max_attempts = 3, .backoff = 5s}) {
        queues.add(std::make_unique<TestQueue>(std::move(config), std::move(processor), events));
        task.id = TaskId::from_text("some-id");
        task.claim = 7;
        task.payload = "{}";
    }

    detail::AttemptResult run() {
        TaskRunner runner(queues, {}, clock, detail::SafeLogger(logger), around);
        return run(runner);
    }
    detail::AttemptResult run(TaskRunner& runner) {
        detail::AttemptResult resolved;
        runner.run(task, signal, observer, resolved);
        return resolved;
    }

    [[nodiscard]] Ms now() const { return detail::to_ms(clock.now()); }

    testing::ManualClock clock{};
    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();
    Names events{};
    RecordingObserver observer{events};
    QueueRegistry queues{};
    std::vector<Middleware> around{};
    detail::ClaimedTask task{};
    std::shared_ptr<detail::StopSignal> signal = std::make_shared<detail::StopSignal>();
};

Processor returning(const Outcome& outcome) {
    return [outcome](Context&) { return outcome; };
}

/// An exception that has nothing to say.
struct Speechless : std::exception {
    [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};

// ---- results -------------------------------------------------------------------------------------------------------

TEST_CASE("TaskRunner: the result of a success stands in what is written, also for a flow if no row is kept") {
    Shop shop(returning(Outcome::success(42)));
    CHECK(shop.run().result == "42");
    Shop keeping(returning(Outcome::success(42)), {.name = "mail", .retention = Retention{}});
    CHECK(keeping.run().result == "42");
    Shop nothing(returning(Outcome::success()), {.name = "mail", .retention = Retention{}});
    CHECK(nothing.run().result.empty());
}

TEST_CASE("TaskRunner: a result that is too large is a failed attempt that says so") {
    const QueueConfig config{.name = "mail", .max_attempts = 2, .retention = Retention{}};
    Shop shop(returning(Outcome::success(std::string(100, 'x'))), config);
    const auto run = [&shop](std::size_t most) {
        TaskRunner runner(shop.queues, {}, shop.clock, detail::SafeLogger{}, {}, most);
        return shop.run(runner);
    };
    CHECK(run(102).resolution == detail::RowChange::complete);
    const detail::AttemptResult resolved = run(101);
    CHECK(resolved.resolution == detail::RowChange::retry);
    CHECK(resolved.spends_attempt);
    CHECK(resolved.result.empty());
    CHECK(resolved.error == "its result of 102 bytes is larger than ClientConfig::max_payload (101)");
    shop.task.attempts = 1;
    CHECK(run(101).resolution == detail::RowChange::fail);
}

// ---- every outcome, in every situation ------------------------------------------------------------------------------

enum class End { success, retry, retry_in, snooze, discard, throw_std, throw_other };

Outcome end(End how) {
    switch (how) {
        case End::success: return Outcome::success();
        case End::retry: return Outcome::retry("reason");
        case End::retry_in: return Outcome::retry_in(7s, "reason");
        case End::snooze: return Outcome::snooze(9s);
        case End::discard: return Outcome::discard("reason");
        case End::throw_std: throw std::runtime_error("reason");
        case End::throw_other: break;
    }
    throw 7;
}

/// What the rules say, put down once more.
detail::AttemptResult expected(End how, std::int64_t attempts, StopReason stop,
                               const std::optional<Retention>& retention, Ms now) {
    const bool failed = how != End::success && how != End::snooze && how != End::discard;
    const bool last = attempts + 1 >= 3;
    detail::AttemptResult wanted;
    wanted.claim = 7;
    if (how == End::success) {
        wanted.resolution = detail::RowChange::complete;
    } else if (how == End::snooze) {
        wanted.resolution = detail::RowChange::snooze;
        wanted.wait_until = now + Duration{9000};
    } else if (failed && stop == StopReason::stopping) {
        wanted.resolution = detail::RowChange::release;
    } else if (failed && !last) {
        wanted.resolution = detail::RowChange::retry;
        wanted.wait_until = now + Duration{(how == End::retry_in ? 7000 : 5000)};
    } else {
        wanted.resolution = detail::RowChange::fail;
    }
    const bool success = wanted.resolution == detail::RowChange::complete;
    const bool failure = wanted.resolution == detail::RowChange::fail;
    wanted.spends_attempt = success || failure || wanted.resolution == detail::RowChange::retry;
    if (failure || wanted.resolution == detail::RowChange::retry) {
        wanted.error = how == End::throw_other ? "an exception that is no std::exception" : "reason";
        if (failed && attempts >= 3) {
            wanted.error =
                fmt::format("no attempt is left after {} (max_attempts is 3): {}", attempts + 1, wanted.error);
        }
    }
    wanted.keep_row = retention && (failure || (success && !retention->only_failed));
    wanted.keep_payload = wanted.keep_row && retention->data && (failure || !retention->data->only_failed);
    if (wanted.keep_row && retention->duration > 0s) wanted.expires_at = now + retention->duration;
    return wanted;
}

std::string text_of(const detail::AttemptResult& resolved) {
    return fmt::format("claim {} resolution {} spends {} row {} payload {} until {} expires {} error {}",
                       resolved.claim, static_cast<int>(resolved.resolution), resolved.spends_attempt,
                       resolved.keep_row, resolved.keep_payload, resolved.wait_until.count(),
                       resolved.expires_at ? fmt::to_string(resolved.expires_at->count()) : "never", resolved.error);
}

TEST_CASE("TaskRunner: every end of an attempt becomes what the rules say") {
    const std::vector<std::optional<Retention>> retentions{
        std::nullopt,
        Retention{},
        Retention{.duration = 1h},
        Retention{.duration = 1h, .only_failed = true},
        Retention{.duration = 1h, .data = RetainData{}},
        Retention{.duration = 1h, .data = RetainData{.only_failed = true}},
        Retention{.duration = 0s, .only_failed = true, .data = RetainData{.only_failed = true}},
    };
    for (const End how :
         {End::success, End::retry, End::retry_in, End::snooze, End::discard, End::throw_std, End::throw_other}) {
        for (const std::int64_t attempts : {0, 1, 2, 5}) {
            for (const StopReason stop :
                 {StopReason::none, StopReason::timeout, StopReason::stopping, StopReason::claim_lost}) {
                for (std::size_t i = 0; i < retentions.size(); ++i) {
                    Shop shop([how](Context&) { return end(how); },
                              {.name = "mail", .max_attempts = 3, .backoff = 5s, .retention = retentions[i]});
                    shop.task.attempts = attempts;
                    if (stop != StopReason::none) shop.signal->fire(stop);
                    INFO("end " << static_cast<int>(how) << " attempts " << attempts << " stop " << to_string(stop)
                                << " retention " << i);
                    CHECK(text_of(shop.run()) == text_of(expected(how, attempts, stop, retentions[i], shop.now())));
                }
            }
        }
    }
}

TEST_CASE("TaskRunner: an outcome says when the attempt began and how long the processor ran") {
    Shop* shop = nullptr;
    Shop made([&](Context&) {
        shop->clock.advance(1500ms);
        return Outcome::success();
    });
    shop = &made;
    const Ms began = made.now();
    const detail::AttemptResult resolved = made.run();
    CHECK(resolved.executed_at == began);
    CHECK(resolved.duration == Us{1'500'000});
}

TEST_CASE("TaskRunner: waits and expiries count from the end of the attempt") {
    Shop* shop = nullptr;
    const auto slow = [&shop](const Outcome& outcome) {
        return [&shop, outcome](Context&) {
            shop->clock.advance(10s);
            return outcome;
        };
    };
    Shop retried(slow(Outcome::retry("x")));
    shop = &retried;
    const Ms wait_until = retried.run().wait_until;
    CHECK(wait_until == retried.now() + Duration{5000});
    Shop kept(slow(Outcome::success()), {.name = "mail", .retention = Retention{.duration = 1h}});
    shop = &kept;
    const std::optional<Ms> expires_at = kept.run().expires_at;
    CHECK(expires_at == kept.now() + Duration{3'600'000});
}

TEST_CASE("TaskRunner: a wait longer than time itself ends at its end") {
    constexpr Ms end_of_time = Ms::latest();
    CHECK(Shop(returning(Outcome::retry_in((Duration::max)(), "x"))).run().wait_until == end_of_time);
    CHECK(Shop(returning(Outcome::snooze((Duration::max)()))).run().wait_until == end_of_time);
    Shop kept(returning(Outcome::success()), {.name = "mail", .retention = Retention{.duration = (Duration::max)()}});
    CHECK(kept.run().expires_at == end_of_time);
}

TEST_CASE("TaskRunner: a stop that comes while the processor runs counts") {
    Shop* shop = nullptr;
    Shop made([&](Context&) -> Outcome {
        shop->signal->fire(StopReason::stopping);
        throw std::runtime_error("interrupted");
    });
    shop = &made;
    CHECK(made.run().resolution == detail::RowChange::release);
}

TEST_CASE("TaskRunner: an exception without a text is an error all the same") {
    Shop shop([](Context&) -> Outcome { throw Speechless(); });
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.resolution == detail::RowChange::retry);
    CHECK(resolved.error == "an exception without a text");
}

// ---- what the processor sees ----------------------------------------------------------------------------------------

TEST_CASE("TaskRunner: the processor sees its task, its queue and its attempt") {
    std::string seen;
    Shop shop([&](Context& context) {
        seen = fmt::format("{} {} {} of {}", context.task_id(), context.queue(), context.attempt(),
                           context.max_attempts());
        return Outcome::success();
    });
    shop.task.attempts = 1;
    shop.task.crashes = 2;  // counts for nothing here
    (void)shop.run();
    CHECK(seen == "some-id mail 2 of 3");
}

TEST_CASE("TaskRunner: the number of an attempt never overflows") {
    constexpr int most = (std::numeric_limits<int>::max)();
    int attempt = 0;
    Shop shop(
        [&](Context& context) {
            attempt = context.attempt();
            return Outcome::retry("x");
        },
        {.name = "mail", .max_attempts = most});
    shop.task.attempts = most;
    CHECK(shop.run().resolution == detail::RowChange::fail);
    CHECK(attempt == most);
}

TEST_CASE("TaskRunner: the processor's stop token is the attempt's") {
    bool before = true;
    bool after = false;
    StopReason reason = StopReason::none;
    Shop* shop = nullptr;
    Shop made([&](Context& context) {
        before = context.stop_token().stop_requested();
        shop->signal->fire(StopReason::claim_lost);
        after = context.stop_token().stop_requested();
        reason = context.stop_reason();
        return Outcome::success();
    });
    shop = &made;
    (void)made.run();
    CHECK_FALSE(before);
    CHECK(after);
    CHECK(reason == StopReason::claim_lost);
}

TEST_CASE("TaskRunner: where the queue has a timeout, processor and timer know the same deadline") {
    std::optional<std::chrono::steady_clock::time_point> deadline;
    Shop shop(
        [&](Context& context) {
            deadline = context.deadline();
            return Outcome::success();
        },
        {.name = "mail", .timeout = 30s});
    (void)shop.run();
    CHECK(deadline == shop.clock.steady_now() + 30s);
    CHECK(shop.observer.deadline == deadline);
    CHECK(shop.observer.timed == shop.signal);
}

TEST_CASE("TaskRunner: where the queue has none, there is no deadline") {
    bool has_deadline = true;
    Shop shop([&](Context& context) {
        has_deadline = context.deadline().has_value();
        return Outcome::success();
    });
    (void)shop.run();
    CHECK_FALSE(has_deadline);
}

// ---- what surrounds the call ----------------------------------------------------------------------------------------

TEST_CASE("TaskRunner: user code runs between entering and leaving, down to the task's destructor") {
    Shop shop(returning(Outcome::success()), {.name = "mail", .timeout = 30s});
    (void)shop.run();
    CHECK(shop.events == Names{"entering", "decode", "timing", "run", "task gone", "left"});
}

TEST_CASE("TaskRunner: without a timeout nobody takes the time") {
    Shop shop(returning(Outcome::success()));
    (void)shop.run();
    CHECK(shop.events == Names{"entering", "decode", "run", "task gone", "left"});
}

TEST_CASE("TaskRunner: a processor that throws is left too") {
    Shop shop([](Context&) -> Outcome { throw std::runtime_error("x"); });
    (void)shop.run();
    CHECK(shop.events == Names{"entering", "decode", "run", "task gone", "left"});
}

TEST_CASE("TaskRunner: a payload that cannot be read is read inside, and no processor is called") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload = "unreadable";
    (void)shop.run();
    CHECK(shop.events == Names{"entering", "decode", "left"});
}

TEST_CASE("TaskRunner: a task that is given up unread is not entered") {
    Shop shop(returning(Outcome::success()));
    shop.task.crashes = 3;
    (void)shop.run();
    CHECK(shop.events.empty());
}

// ---- middleware -----------------------------------------------------------------------------------------------------

/// Notes that it was entered and left, by whatever way.
Middleware noting(Names& events, const std::string& name) {
    return [&events, name](Context&, const Next& next) {
        struct Leaving {
            Names& events;
            const std::string& name;
            ~Leaving() { events.push_back(name + " left"); }
        };
        events.push_back(name + " entered");
        const Leaving leaving{events, name};
        return next();
    };
}

TEST_CASE("TaskRunner: middleware surrounds reading and running, the first outermost, inside of the attempt") {
    Shop shop(returning(Outcome::success()), {.name = "mail", .timeout = 30s});
    shop.around = {noting(shop.events, "outer"), noting(shop.events, "inner")};
    CHECK(shop.run().resolution == detail::RowChange::complete);
    CHECK(shop.events == Names{"entering", "timing", "outer entered", "inner entered", "decode", "run", "inner left",
                               "outer left", "task gone", "left"});
}

TEST_CASE("TaskRunner: middleware sees what the processor returned and threw, and passes on what it likes") {
    const auto run = [](const Processor& processor, const Middleware& middleware) {
        Shop shop(processor);
        shop.around = {middleware};
        return shop.run();
    };
    Outcome::Kind seen{};
    const auto look = [&](Context&, const Next& next) {
        Outcome outcome = next();
        seen = outcome.kind();
        return outcome;
    };
    CHECK(run(returning(Outcome::snooze(5s)), look).resolution == detail::RowChange::snooze);
    CHECK(seen == Outcome::Kind::snooze);
    const auto give_up = [](Context&, const Next& next) {
        try {
            return next();
        } catch (const std::runtime_error& error) {
            return Outcome::discard(fmt::format("no use: {}", error.what()));
        }
    };
    const auto fail = [](Context&) -> Outcome { throw std::runtime_error("gone"); };
    const detail::AttemptResult failed = run(fail, give_up);
    CHECK(failed.resolution == detail::RowChange::fail);
    CHECK(failed.error == "no use: gone");
    const auto pass = [](Context&, const Next& next) { return next(); };
    const detail::AttemptResult retried = run(fail, pass);
    CHECK(retried.resolution == detail::RowChange::retry);
    CHECK(retried.error == "gone");
}

TEST_CASE("TaskRunner: where middleware does not go on its outcome counts, and nothing is read or run") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload = "unreadable";
    shop.around = {noting(shop.events, "outer"), [](Context&, const Next&) { return Outcome::snooze(3s); },
                   noting(shop.events, "inner")};
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.resolution == detail::RowChange::snooze);
    CHECK(resolved.wait == Duration{3s});
    CHECK(shop.events == Names{"entering", "outer entered", "outer left", "left"});
}

TEST_CASE("TaskRunner: middleware may go on several times, and the payload is read once") {
    int runs = 0;
    Shop shop([&](Context&) {
        if (++runs < 3) throw std::runtime_error("not yet");
        return Outcome::success();
    });
    shop.around = {[](Context&, const Next& next) {
                       for (int i = 0; i < 2; ++i) {
                           try {
                               return next();
                           } catch (const std::runtime_error&) {
                           }
                       }
                       return next();
                   },
                   noting(shop.events, "inner")};
    CHECK(shop.run().resolution == detail::RowChange::complete);
    CHECK(shop.events == Names{"entering", "inner entered", "decode", "run", "inner left", "inner entered", "run",
                               "inner left", "inner entered", "run", "inner left", "task gone", "left"});
}

TEST_CASE("TaskRunner: what middleware throws is a failed attempt") {
    Shop shop(returning(Outcome::success()));
    shop.around = {[](Context&, const Next& next) {
        (void)next();
        throw std::runtime_error("not allowed");
        return Outcome::success();
    }};
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.resolution == detail::RowChange::retry);
    CHECK(resolved.spends_attempt);
    CHECK(resolved.error == "not allowed");
    CHECK(shop.events == Names{"entering", "decode", "run", "task gone", "left"});
}

TEST_CASE("TaskRunner: middleware that throws because of a stop gives the claim back") {
    Shop shop(returning(Outcome::success()));
    shop.around = {[](Context& context, const Next& next) {
        if (context.stop_token().stop_requested()) throw std::runtime_error("stopping");
        return next();
    }};
    shop.signal->fire(StopReason::stopping);
    CHECK(shop.run().resolution == detail::RowChange::release);
}

TEST_CASE("TaskRunner: middleware sees why a payload cannot be read, and cannot make a success of it") {
    Shop shop(returning(Outcome::success()));
    std::string seen;
    shop.around = {[&](Context&, const Next& next) {
        try {
            return next();
        } catch (const std::invalid_argument& error) {
            seen = error.what();
            return Outcome::success();
        }
    }};
    shop.task.payload = "unreadable";
    const detail::AttemptResult resolved = shop.run();
    CHECK(seen == "no such field");
    CHECK(resolved.resolution == detail::RowChange::retry);
    CHECK(resolved.error == "its payload cannot be read: no such field");
    CHECK(shop.events == Names{"entering", "decode", "left"});
}

TEST_CASE("TaskRunner: without memory to read a payload the attempt is put off, whatever middleware makes of that") {
    for (const bool with_middleware : {false, true}) {
        Shop shop(returning(Outcome::success()));
        if (with_middleware) {
            shop.around = {[](Context&, const Next& next) {
                try {
                    return next();
                } catch (const std::bad_alloc&) {
                    return Outcome::discard("no memory");
                }
            }};
        }
        shop.task.payload = "too much";
        const detail::AttemptResult resolved = shop.run();
        CHECK(resolved.resolution == detail::RowChange::release);
        CHECK_FALSE(resolved.spends_attempt);
        CHECK(resolved.wait == Duration{1s});
    }
}

TEST_CASE("TaskRunner: middleware and processor share context, deadline and time") {
    Shop shop(returning(Outcome::success()), {.name = "mail", .max_attempts = 3, .timeout = 30s});
    const auto start = shop.clock.steady_now();
    std::optional<std::chrono::steady_clock::time_point> deadline;
    std::string seen;
    shop.around = {[&](Context& context, const Next& next) {
        deadline = context.deadline();
        seen = fmt::format("{} {} {}", context.task_id(), context.queue(), context.attempt());
        shop.clock.advance(2s);
        Outcome outcome = next();
        shop.clock.advance(1s);
        return outcome;
    }};
    const detail::AttemptResult resolved = shop.run();
    CHECK(seen == "some-id mail 1");
    CHECK(deadline == start + 30s);
    CHECK(shop.observer.deadline == start + 30s);
    CHECK(resolved.duration == Us{3'000'000});
}

TEST_CASE("TaskRunner: a task that is given up without an attempt passes no middleware") {
    Shop shop(returning(Outcome::success()));
    shop.around = {noting(shop.events, "outer")};
    shop.task.crashes = 3;
    CHECK(shop.run().resolution == detail::RowChange::fail);
    CHECK(shop.events.empty());
}

// ---- given up -------------------------------------------------------------------------------------------------------

constexpr Duration seven_days = std::chrono::days{7};

/// Everything that holds for each task that fails without its processor having decided so.
void check_given_up(const detail::AttemptResult& resolved, Ms now) {
    CHECK(resolved.resolution == detail::RowChange::fail);
    CHECK_FALSE(resolved.spends_attempt);
    CHECK(resolved.keep_row);
    CHECK(resolved.keep_payload);
    CHECK(resolved.expires_at == now + seven_days);
    CHECK(resolved.claim == 7);
    CHECK(resolved.executed_at == now);
}

TEST_CASE("TaskRunner: a payload that cannot be read is a failed attempt, and is tried again after the backoff") {
    Shop shop(returning(Outcome::success()), {.name = "mail", .max_attempts = 3, .backoff = 7s});
    shop.task.payload = "unreadable";
    shop.task.attempts = 1;
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.resolution == detail::RowChange::retry);
    CHECK(resolved.spends_attempt);
    CHECK(resolved.wait_until == shop.now() + Duration{7'000});
    CHECK(resolved.error == "its payload cannot be read: no such field");
}

TEST_CASE("TaskRunner: a payload that cannot be read fails the task with its last attempt, and is kept") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload = "unreadable";
    shop.task.attempts = 2;
    detail::AttemptResult resolved = shop.run();
    CHECK(resolved.spends_attempt);
    resolved.spends_attempt = false;
    check_given_up(resolved, shop.now());
    CHECK(resolved.error == "its payload cannot be read: no such field");
}

TEST_CASE("TaskRunner: a payload that cannot be read for no stated reason fails the attempt too") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload = "unreadable, without words";
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.resolution == detail::RowChange::retry);
    CHECK(resolved.error == "its payload cannot be read: an exception that is no std::exception");
}

TEST_CASE("TaskRunner: a payload that cannot be read spends its attempt during a stop too") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload = "unreadable";
    shop.signal->fire(StopReason::stopping);
    CHECK(shop.run().resolution == detail::RowChange::retry);
}

TEST_CASE("TaskRunner: a payload that is too large fails the task at once, and is kept") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload.clear();
    shop.task.oversize = 70'000'000;
    const detail::AttemptResult resolved = shop.run();
    check_given_up(resolved, shop.now());
    CHECK(resolved.error == "its payload of 70000000 bytes is larger than ClientConfig::max_payload");
}

TEST_CASE("TaskRunner: a task that has crashed as often as it may fails without running, and is kept") {
    Shop shop(returning(Outcome::success()));
    shop.task.crashes = 3;
    const detail::AttemptResult resolved = shop.run();
    check_given_up(resolved, shop.now());
    CHECK(resolved.error == "the process died 3 times while it ran this task (max_crashes is 3)");
}

TEST_CASE("TaskRunner: a task that has crashed once less runs") {
    Shop shop(returning(Outcome::success()));
    shop.task.crashes = 2;
    CHECK(shop.run().resolution == detail::RowChange::complete);
}

TEST_CASE("TaskRunner: a row with more attempts than any bound allows fails without running") {
    Shop shop(returning(Outcome::success()));
    shop.task.attempts = std::int64_t{(std::numeric_limits<int>::max)()} + 1;
    const detail::AttemptResult resolved = shop.run();
    check_given_up(resolved, shop.now());
    CHECK(resolved.error == "the row says 2147483648 spent attempts, more than any max_attempts allows (it is 3)");
}

TEST_CASE("TaskRunner: a task that has spent more attempts than it now may runs once more") {
    Shop shop(returning(Outcome::success()));
    shop.task.attempts = 20;
    CHECK(shop.run().resolution == detail::RowChange::complete);
}

TEST_CASE("TaskRunner: its failure is final, and the error tells the attempts and their bound") {
    Shop shop(returning(Outcome::retry("no luck")));
    shop.task.attempts = 20;
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.resolution == detail::RowChange::fail);
    CHECK(resolved.error == "no attempt is left after 21 (max_attempts is 3): no luck");
}

TEST_CASE("TaskRunner: the error of the last attempt that is allowed is told as it is") {
    Shop shop(returning(Outcome::retry("no luck")));
    shop.task.attempts = 2;
    CHECK(shop.run().error == "no luck");
}

TEST_CASE("TaskRunner: bounds at the end of their type do not overflow") {
    constexpr int most = (std::numeric_limits<int>::max)();
    Shop shop(returning(Outcome::success()), {.name = "mail", .max_attempts = most, .max_crashes = most});
    shop.task.attempts = most;
    shop.task.crashes = most - 1;
    CHECK(shop.run().resolution == detail::RowChange::complete);
}

TEST_CASE("TaskRunner: what was given up is kept as long as its queue keeps tasks, with its payload in any case") {
    Shop shop(returning(Outcome::success()), {.name = "mail", .retention = Retention{.duration = 1h}});
    shop.task.payload = "unreadable";
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.keep_row);
    CHECK(resolved.keep_payload);
    CHECK(resolved.expires_at == shop.now() + Duration{3'600'000});
}

TEST_CASE("TaskRunner: what was given up is kept for ever where its queue keeps tasks for ever") {
    Shop shop(returning(Outcome::success()), {.name = "mail", .retention = Retention{}});
    shop.task.payload = "unreadable";
    const detail::AttemptResult resolved = shop.run();
    CHECK(resolved.keep_row);
    CHECK(resolved.expires_at == std::nullopt);
}

// ---- error texts ----------------------------------------------------------------------------------------------------

std::string stored(const std::string& reason) { return Shop(returning(Outcome::discard(reason))).run().error; }

TEST_CASE("TaskRunner: an error of 4,096 bytes is stored whole") {
    const std::string reason(4096, 'x');
    CHECK(stored(reason) == reason);
}

TEST_CASE("TaskRunner: a longer error is cut at 4,096 bytes") {
    CHECK(stored(std::string(5000, 'x')) == std::string(4096, 'x'));
}

TEST_CASE("TaskRunner: an error is cut between characters of UTF-8") {
    for (const std::string character : {"é", "€", "🦊"}) {
        for (std::size_t before = 4096 - character.size(); before <= 4096; ++before) {
            const std::size_t whole = before + character.size() <= 4096 ? before + character.size() : before;
            const std::string reason = std::string(before, 'x') + character + character;
            CHECK(stored(reason) == reason.substr(0, whole));
        }
    }
}

TEST_CASE("TaskRunner: an error that is no UTF-8 at all is cut and not lost") {
    CHECK(stored(std::string(5000, '\x80')).size() == 4096);
}

TEST_CASE("TaskRunner: an error of every kind is cut") {
    const std::string huge(100'000, 'x');
    CHECK(Shop(returning(Outcome::retry(huge))).run().error.size() == 4096);
    CHECK(Shop([&](Context&) -> Outcome { throw std::runtime_error(huge); }).run().error.size() == 4096);
}

// ---- backoff --------------------------------------------------------------------------------------------------------

/// How long a failed attempt waits.
Duration wait_of(Shop& shop) {
    const detail::AttemptResult resolved = shop.run();
    REQUIRE(resolved.resolution == detail::RowChange::retry);
    return resolved.wait_until - shop.now();
}

TEST_CASE("TaskRunner: a backoff is asked with the number of the attempt that failed") {
    Shop shop(
        returning(Outcome::retry("x")),
        {.name = "mail", .max_attempts = 9, .backoff = Backoff::custom([](int attempt) { return 1s * attempt; })});
    CHECK(wait_of(shop) == 1000ms);
    shop.task.attempts = 6;
    CHECK(wait_of(shop) == 7000ms);
}

TEST_CASE("TaskRunner: exponential backoffs of one runner are spread") {
    Shop shop(returning(Outcome::retry("x")),
              {.name = "mail",
               .max_attempts = 9,
               .backoff = Backoff::exponential({.initial = 1h, .max = 10h, .jitter = 0.5})});
    TaskRunner runner(shop.queues, {}, shop.clock, detail::SafeLogger{});
    const Ms first = shop.run(runner).wait_until;
    const Ms second = shop.run(runner).wait_until;
    CHECK(first != second);
    for (const Ms until : {first, second}) {
        CHECK(until >= shop.now() + Duration{1'800'000});
        CHECK(until <= shop.now() + Duration{5'400'000});
    }
}

TEST_CASE("TaskRunner: a backoff that throws waits one second, and is logged") {
    Shop shop(returning(Outcome::retry("x")),
              {.name = "mail", .max_attempts = 9, .backoff = Backoff::custom([](int) -> Duration {
                                                      throw std::out_of_range("no such attempt");
                                                  })});
    CHECK(wait_of(shop) == 1000ms);
    CHECK(shop.logger->count("error the queue's backoff failed: waiting one second id=some-id queue=mail "
                             "error=\"no such attempt\"") == 1);
}

TEST_CASE("TaskRunner: a backoff that throws no std::exception waits one second, and is logged") {
    Shop shop(returning(Outcome::retry("x")),
              {.name = "mail", .max_attempts = 9, .backoff = Backoff::custom([](int) -> Duration { throw 7; })});
    CHECK(wait_of(shop) == 1000ms);
    CHECK(shop.logger->count("the queue's backoff failed") == 1);
}

TEST_CASE("TaskRunner: a backoff that is negative waits one second, and is logged") {
    Shop shop(returning(Outcome::retry("x")),
              {.name = "mail", .max_attempts = 9, .backoff = Backoff::custom([](int) { return -5ms; })});
    CHECK(wait_of(shop) == 1000ms);
    CHECK(shop.logger->count("error=\"a negative wait of -5 ms\"") == 1);
}

TEST_CASE("TaskRunner: a backoff is not asked when the task will not run again, or says when itself") {
    int asked = 0;
    const Backoff counting = Backoff::custom([&](int) {
        ++asked;
        return 1s;
    });
    (void)Shop(returning(Outcome::retry("x")), {.name = "mail", .max_attempts = 1, .backoff = counting}).run();
    (void)Shop(returning(Outcome::retry_in(1s, "x")), {.name = "mail", .max_attempts = 9, .backoff = counting}).run();
    (void)Shop(returning(Outcome::snooze(1s)), {.name = "mail", .max_attempts = 9, .backoff = counting}).run();
    (void)Shop(returning(Outcome::discard("x")), {.name = "mail", .max_attempts = 9, .backoff = counting}).run();
    CHECK(asked == 0);
}

// ---- the log --------------------------------------------------------------------------------------------------------

TEST_CASE("TaskRunner: a retry or a snooze until a time is due then, whatever the clock is set to meanwhile") {
    for (const bool snoozes : {true, false}) {
        const TimePoint time = testing::ManualClock{}.now() + 7s + 1us;
        Shop shop(returning(snoozes ? Outcome::snooze_until(time) : Outcome::retry_at(time, "reason")));
        const detail::AttemptResult resolved = shop.run();
        CHECK(resolved.resolution == (snoozes ? detail::RowChange::snooze : detail::RowChange::retry));
        CHECK(resolved.wait_until == detail::to_ms(time) + 1ms);
        CHECK_FALSE(resolved.wait.has_value());
    }
}

TEST_CASE("TaskRunner: a time that has passed is now") {
    Shop shop(returning(Outcome::snooze_until(TimePoint{1s})));
    CHECK(shop.run().wait_until == detail::to_ms(shop.clock.now()));
}

TEST_CASE("TaskRunner: a wait that begins between two milliseconds is rounded up") {
    Shop shop([](Context&) { return Outcome::success(); });
    const TimePoint between = shop.clock.now() + 300us;
    testing::ManualClock clock{between};
    core::QueueRegistry queues;
    Names events;
    queues.add(std::make_unique<TestQueue>(QueueConfig{.name = "mail", .max_attempts = 3},
                                           returning(Outcome::snooze(5ms)), events));
    TaskRunner runner(queues, {}, clock, detail::SafeLogger(nullptr));
    CHECK(shop.run(runner).wait_until == detail::to_ms(between) + 6ms);
}

/// The one line that an attempt leaves.
std::string line_of(Shop&& shop) {
    (void)shop.run();
    const Names lines = shop.logger->lines();
    return lines.size() == 1 ? lines[0] : fmt::format("{} lines", lines.size());
}

TEST_CASE("TaskRunner: each end of an attempt is one line in the log") {
    CHECK(line_of(Shop(returning(Outcome::success()))) ==
          "info task processed id=some-id queue=mail duration=0us attempt=1");
    CHECK(line_of(Shop(returning(Outcome::retry("no luck")))) ==
          "error task failed id=some-id queue=mail duration=0us attempt=1 remaining=2 error=\"no luck\"");
    CHECK(line_of(Shop(returning(Outcome::discard("unwanted")))) ==
          "error task failed id=some-id queue=mail duration=0us attempt=1 remaining=0 error=unwanted");
    CHECK(line_of(Shop(returning(Outcome::snooze(9s)))) ==
          "info task snoozed id=some-id queue=mail duration=0us wait_ms=9000");
}

TEST_CASE("TaskRunner: a claim that is given back because of a stop is a line in the log") {
    Shop shop(returning(Outcome::retry("interrupted")));
    shop.signal->fire(StopReason::stopping);
    CHECK(line_of(std::move(shop)) ==
          "info task given back id=some-id queue=mail duration=0us reason=stopping error=interrupted");
}

TEST_CASE("TaskRunner: a payload that cannot be read is a line in the log") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload = "unreadable";
    CHECK(line_of(std::move(shop)) ==
          "error task failed id=some-id queue=mail duration=0us attempt=1 remaining=2 error=\"its payload cannot be "
          "read: no such field\"");
}

TEST_CASE("TaskRunner: a task that is given up is a line in the log") {
    Shop shop(returning(Outcome::success()));
    shop.task.payload = "unreadable";
    shop.task.attempts = 2;
    CHECK(line_of(std::move(shop)) ==
          "error task given up id=some-id queue=mail error=\"its payload cannot be read: no such field\"");
}

TEST_CASE("TaskRunner: durations in the log have a unit that fits") {
    Shop* shop = nullptr;
    Duration duration{};
    const Processor slow = [&](Context&) {
        shop->clock.advance(duration);
        return Outcome::success();
    };
    const auto logged = [&](Duration took) {
        Shop made(slow);
        shop = &made;
        duration = took;
        (void)made.run();
        return made.logger->lines().at(0);
    };
    CHECK(contains(logged(12ms), "duration=12ms"));
    CHECK(contains(logged(90s), "duration=90.000s"));
}

TEST_CASE("TaskRunner: works without a logger") {
    for (const Outcome& outcome :
         {Outcome::success(), Outcome::retry("x"), Outcome::snooze(1s), Outcome::discard("x")}) {
        Shop shop(returning(outcome));
        TaskRunner runner(shop.queues, {}, shop.clock, detail::SafeLogger{});
        CHECK(shop.run(runner).claim == 7);
    }
}

}  // namespace
