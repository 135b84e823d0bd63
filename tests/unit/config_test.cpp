// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <ratio>
#include <stdexcept>
#include <string>
#include <utility>

#include <backlite/config.hpp>
#include <backlite/error.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::message_of;

constexpr std::uint64_t lowest = 0;
constexpr std::uint64_t highest = (std::numeric_limits<std::uint64_t>::max)();
constexpr std::uint64_t middle = std::uint64_t{1} << 63;

std::string complaint(const QueueConfig& config) {
    return message_of<ConfigError>([&] { config.validate(); });
}

std::string complaint(Backoff backoff) { return complaint(QueueConfig{.name = "mail", .backoff = std::move(backoff)}); }

TEST_CASE("QueueConfig: a name is all that it needs") { CHECK_NOTHROW(QueueConfig{.name = "mail"}.validate()); }

TEST_CASE("QueueConfig: without more it tries once, for ever, keeps nothing, and allows three crashes") {
    const QueueConfig config{.name = "mail"};
    CHECK(config.max_attempts == 1);
    CHECK(config.timeout == Duration::zero());
    CHECK(config.backoff.delay(1) == Duration::zero());
    CHECK(config.retention == std::nullopt);
    CHECK(config.max_crashes == 3);
}

TEST_CASE("QueueConfig: an empty name is refused") {
    CHECK(complaint(QueueConfig{}) == "a queue has an empty name: set QueueConfig::name");
}

TEST_CASE("QueueConfig: a name with a NUL character is refused") {
    CHECK(complaint(QueueConfig{.name = std::string("a\0b", 3)}) == "a queue's name holds a NUL character");
}

TEST_CASE("QueueConfig: fewer than one attempt is refused, naming the value") {
    CHECK(complaint({.name = "mail", .max_attempts = 0}) == "queue \"mail\": max_attempts is 0, must be at least 1");
    CHECK(complaint({.name = "mail", .max_attempts = -7}) == "queue \"mail\": max_attempts is -7, must be at least 1");
}

TEST_CASE("QueueConfig: fewer than one crash is refused, naming the value") {
    CHECK(complaint({.name = "mail", .max_crashes = 0}) == "queue \"mail\": max_crashes is 0, must be at least 1");
}

TEST_CASE("QueueConfig: a negative timeout is refused, naming the value") {
    CHECK(complaint({.name = "mail", .timeout = -1s}) == "queue \"mail\": timeout is negative: -1000 ms");
}

TEST_CASE("QueueConfig: a negative retention is refused, naming the value") {
    CHECK(complaint({.name = "mail", .retention = Retention{.duration = -5ms}}) ==
          "queue \"mail\": retention is negative: -5 ms");
}

TEST_CASE("QueueConfig: a retention for ever is none that is refused") {
    CHECK_NOTHROW(QueueConfig{.name = "mail", .retention = Retention{}}.validate());
}

TEST_CASE("Retention: without more it keeps every finished task for ever, without payload") {
    const Retention retention;
    CHECK(retention.duration == Duration::zero());
    CHECK_FALSE(retention.only_failed);
    CHECK_FALSE(retention.data.has_value());
}

TEST_CASE("RetainData: keeps the payloads of all tasks unless it is told otherwise") {
    CHECK_FALSE(RetainData{}.only_failed);
}

TEST_CASE("Backoff: a fixed one waits the same after each attempt") {
    const Backoff backoff{5s};
    CHECK(backoff.delay(1, lowest) == 5s);
    CHECK(backoff.delay(100, highest) == 5s);
}

TEST_CASE("Backoff: any chrono duration converts, rounded up to milliseconds") {
    CHECK(Backoff{1us}.delay(1) == 1ms);
    CHECK(Backoff{1000us}.delay(1) == 1ms);
    CHECK(Backoff{1001us}.delay(1) == 2ms);
    CHECK(Backoff{std::chrono::duration<double>(0.0015)}.delay(1) == 2ms);
    CHECK(Backoff{std::chrono::duration<int, std::ratio<1, 3>>(1)}.delay(1) == 334ms);
    CHECK(Backoff{2h}.delay(1) == 7'200'000ms);
}

TEST_CASE("QueueConfig: whole units of time convert where it asks for milliseconds") {
    const QueueConfig config{.name = "mail", .timeout = 2min, .backoff = 1s, .retention = Retention{.duration = 24h}};
    CHECK(config.timeout == 120'000ms);
    CHECK(config.backoff.delay(1) == 1000ms);
    CHECK(config.retention->duration == 86'400'000ms);
}

TEST_CASE("Limits: what cannot be is refused, naming field and value") {
    const auto refused = [](const Limits& limits) { return complaint({.name = "mail", .limits = limits}); };
    const std::string queue = "queue \"mail\": limits.";
    CHECK(refused({.running = -1}) == queue + "running is negative: -1");
    CHECK(refused({.running_per_partition = -2}) == queue + "running_per_partition is negative: -2");
    CHECK(refused({.running_per_client = -3}) == queue + "running_per_client is negative: -3");
    CHECK(refused({.rate = {.count = -1, .period = 1s}}) == queue + "rate.count is negative: -1");
    CHECK(refused({.rate = {.count = 1, .period = 1s, .burst = -1}}) == queue + "rate.burst is negative: -1");
    CHECK(refused({.rate = {.count = 0, .period = 1s}}) ==
          queue + "rate.count is 0: no task would ever start; pause the queue for that");
    CHECK(refused({.rate = {.count = 0, .burst = 2}}) ==
          queue + "rate.count is 0: no task would ever start; pause the queue for that");
    CHECK(refused({.rate = {.count = 1}}) == queue + "rate.period is 0 ms, must be above zero and at most 100 years");
    CHECK(refused({.rate = {.count = 1, .period = -1s}}) ==
          queue + "rate.period is -1000 ms, must be above zero and at most 100 years");
    CHECK(refused({.rate = {.count = 1, .period = Duration::max()}}).find("100 years") != std::string::npos);
    CHECK(refused({.rate_per_partition = {.count = 0, .period = 1s}}).find(queue + "rate_per_partition.count") == 0);
    CHECK(refused({.running_per_partition = 2, .in_order = true}) ==
          queue + "running_per_partition is 2 beside in_order, which means one at a time");
    CHECK_NOTHROW(Limits{.running = 1,
                         .running_per_partition = 1,
                         .running_per_client = 1,
                         .in_order = true,
                         .rate = {.count = 1, .period = 1s},
                         .rate_per_partition = {.count = 9, .period = 1ms, .burst = 1}}
                      .validate("mail"));
    CHECK_FALSE(Limits{}.any());
}

TEST_CASE("Backoff: a negative fixed one is refused, naming the value") {
    CHECK(complaint(Backoff{-3s}) == "queue \"mail\": backoff is negative: -3000 ms");
}

TEST_CASE("Backoff: an exponential one grows by its factor") {
    const Backoff backoff = Backoff::exponential({.initial = 1s, .factor = 3.0, .max = 1h, .jitter = 0.0});
    CHECK(backoff.delay(1) == 1s);
    CHECK(backoff.delay(2) == 3s);
    CHECK(backoff.delay(3) == 9s);
    CHECK(backoff.delay(5) == 81s);
}

TEST_CASE("Backoff: an exponential one never exceeds its longest wait") {
    const Backoff backoff = Backoff::exponential({.initial = 1s, .factor = 10.0, .max = 1min, .jitter = 0.5});
    for (const int attempt : {2, 3, 10, 400, 100'000}) {
        CHECK(backoff.delay(attempt, highest) <= 1min);
        CHECK(backoff.delay(attempt, lowest) <= 1min);
    }
}

TEST_CASE("Backoff: the waits at the longest still differ") {
    const Backoff backoff = Backoff::exponential({.initial = 1s, .factor = 10.0, .max = 100s, .jitter = 0.1});
    CHECK(backoff.delay(10, lowest) == 90s);
    CHECK(backoff.delay(10, middle) == 100s);
}

TEST_CASE("Backoff: the longest wait may be the longest that there is") {
    const Backoff backoff =
        Backoff::exponential({.initial = 1s, .factor = 2.0, .max = (Duration::max)(), .jitter = 0.0});
    CHECK(backoff.delay(1000) == (Duration::max)());
    CHECK(backoff.delay(100'000) == (Duration::max)());
}

TEST_CASE("Backoff: an exponential one that starts at zero stays there") {
    const Backoff backoff = Backoff::exponential({.initial = 0s});
    CHECK(backoff.delay(1) == 0s);
    CHECK(backoff.delay(1'000'000) == 0s);
}

TEST_CASE("Backoff: an exponential one is spread by its jitter, both ways and no further") {
    const Backoff backoff = Backoff::exponential({.initial = 10s, .factor = 2.0, .max = 1h, .jitter = 0.25});
    CHECK(backoff.delay(1, lowest) == 7500ms);
    CHECK(backoff.delay(1, middle) == 10s);
    CHECK(backoff.delay(1, highest) > 12'490ms);
    CHECK(backoff.delay(1, highest) <= 12'500ms);
}

TEST_CASE("Backoff: a spread over the whole wait is never negative") {
    const Backoff backoff = Backoff::exponential({.initial = 10s, .factor = 2.0, .max = 1h, .jitter = 1.0});
    CHECK(backoff.delay(1, lowest) == 0s);
    CHECK(backoff.delay(1, highest) <= 20s);
}

TEST_CASE("Backoff: exponential without more starts at a second, doubles, and ends at an hour") {
    const Backoff backoff = Backoff::exponential({});
    CHECK(backoff.delay(1, middle) == 1s);
    CHECK(backoff.delay(2, middle) == 2s);
    CHECK(backoff.delay(30, middle) == 1h);
}

TEST_CASE("QueueConfig: times of unique tasks that cannot work are refused, naming the value") {
    const auto said = [](Unique unique) { return complaint(QueueConfig{.name = "mail", .unique = unique}); };
    const auto misuse = [](Unique unique) {
        return message_of<UsageError>([&] { QueueConfig{.name = "mail", .unique = unique}.validate(); });
    };
    CHECK(said({.period = -1ms}) == "queue \"mail\": unique.period is negative: -1 ms");
    CHECK(said({.conflict = Conflict::replace, .debounce = -2ms}) ==
          "queue \"mail\": unique.debounce is negative: -2 ms");
    CHECK(said({.conflict = Conflict::replace, .debounce = 1ms, .max_delay = -3ms}) ==
          "queue \"mail\": unique.max_delay is negative: -3 ms");
    CHECK(said({.conflict = Conflict::replace, .debounce = 2s, .max_delay = 1s}) ==
          "queue \"mail\": unique.max_delay is 1000 ms, less than unique.debounce (2000 ms)");
    for (const Conflict conflict : {Conflict::none, Conflict::keep, Conflict::reject, Conflict::latest}) {
        CHECK(misuse({.conflict = conflict, .debounce = 1s}) ==
              "queue \"mail\": unique.debounce is 1000 ms, but only Conflict::replace pushes a time");
    }
    CHECK(misuse({.conflict = Conflict::replace, .max_delay = 1s}) ==
          "queue \"mail\": unique.max_delay is 1000 ms, but there is no unique.debounce to bound");
    CHECK(misuse({.conflict = Conflict::keep, .until = UniqueUntil::started, .period = 1s}) ==
          "queue \"mail\": unique.period is 1000 ms, but with UniqueUntil::started a key does not even count while its "
          "task runs");
    CHECK(misuse({.conflict = Conflict::latest, .period = 1s}) ==
          "queue \"mail\": unique.period is 1000 ms, but with Conflict::latest a key does not even count while its "
          "task runs");
    CHECK(said({.conflict = Conflict::replace, .period = 1h, .debounce = 2s, .max_delay = 2s}) == "nothing thrown");
    CHECK(said({.conflict = Conflict::latest, .until = UniqueUntil::started}) == "nothing thrown");
}

TEST_CASE("Backoff: exponential values that cannot work are refused, naming them") {
    CHECK(complaint(Backoff::exponential({.initial = -1ms})) ==
          "queue \"mail\": exponential backoff has a negative time: initial -1 ms, max 3600000 ms");
    CHECK(complaint(Backoff::exponential({.max = -2ms})) ==
          "queue \"mail\": exponential backoff has a negative time: initial 1000 ms, max -2 ms");
    CHECK(complaint(Backoff::exponential({.factor = 0.5})) ==
          "queue \"mail\": exponential backoff has a factor below 1: 0.5");
    CHECK(complaint(Backoff::exponential({.jitter = 1.5})) == "queue \"mail\": jitter is not between 0 and 1: 1.5");
    CHECK(complaint(Backoff::exponential({.jitter = -0.5})) == "queue \"mail\": jitter is not between 0 and 1: -0.5");
}

TEST_CASE("Backoff: exponential values that are no finite numbers are refused") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    for (const ExponentialBackoff& rule : {ExponentialBackoff{.factor = nan}, ExponentialBackoff{.factor = infinity},
                                           ExponentialBackoff{.jitter = nan}, ExponentialBackoff{.jitter = infinity}}) {
        CHECK(complaint(Backoff::exponential(rule)) != "nothing thrown");
    }
}

TEST_CASE("Backoff: exponential values at the edge of the allowed are taken") {
    const ExponentialBackoff rule{.initial = 0ms, .factor = 1.0, .max = 0ms, .jitter = 1.0};
    CHECK(complaint(Backoff::exponential(rule)) == "nothing thrown");
}

TEST_CASE("Backoff: a custom one is asked with the number of the attempt") {
    const Backoff backoff = Backoff::custom([](int attempt) { return 1s * attempt; });
    CHECK(backoff.delay(1) == 1s);
    CHECK(backoff.delay(7) == 7s);
}

TEST_CASE("Backoff: a custom one hands on what its function throws") {
    const Backoff backoff = Backoff::custom([](int) -> Duration { throw std::out_of_range("no such attempt"); });
    CHECK_THROWS_AS(backoff.delay(1), std::out_of_range);
}

TEST_CASE("Backoff: an empty custom one is refused") {
    CHECK(complaint(Backoff::custom({})) == "queue \"mail\": the custom backoff is empty");
}

TEST_CASE("ClientConfig: what is not named has the documented default") {
    const ClientConfig config{.database = "app.db"};
    CHECK(config.logger == nullptr);
    CHECK(config.num_workers == default_workers());
    CHECK(config.release_after == 10min);
    CHECK(config.cleanup_interval == 1h);
    CHECK(config.durability == Durability::full);
    CHECK(config.busy_timeout == 5s);
    CHECK(config.watch_interval == 15ms);
    CHECK(config.max_payload == 64 * 1024 * 1024);
    CHECK(config.auto_install);
    CHECK_FALSE(static_cast<bool>(config.open));
    CHECK(config.clock == nullptr);
    CHECK_FALSE(static_cast<bool>(config.on_fatal));
    CHECK_FALSE(config.trust_file_system);
}

TEST_CASE("default_workers: is at least one") { CHECK(default_workers() >= 1); }

TEST_CASE("Backoff: one that is longer than its unit can hold is the longest, not a negative one") {
    const Backoff longest{(std::chrono::hours::max)()};
    CHECK(longest.delay(1) == (Duration::max)());
    CHECK_NOTHROW(longest.validate("q"));
    CHECK(backlite_test::contains(message_of<ConfigError>([] { Backoff{-1ns}.validate("q"); }),
                                  "backoff is negative: -1 ms"));
}

}  // namespace
