// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <backlite/base/times.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using detail::due_after;
using detail::Minute;
using detail::minute_of;
using detail::Ms;
using detail::start_of;
using detail::to_due_ms;
using detail::to_ms;
using detail::Us;

constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
constexpr auto least = (std::numeric_limits<std::int64_t>::min)();

static_assert(std::is_trivially_copyable_v<Ms> && sizeof(Ms) == sizeof(std::int64_t));
static_assert(!std::is_convertible_v<std::int64_t, Ms> && !std::is_convertible_v<Ms, std::int64_t>);
static_assert(!std::is_convertible_v<Duration, Ms> && !std::is_convertible_v<Minute, Ms>);
static_assert(Ms{1} < Ms{2} && Ms{2} == Ms{1} + 1ms);

TEST_CASE("to_ms: rounds down, also before 1970") {
    CHECK(to_ms(TimePoint{1999us}) == Ms{1});
    CHECK(to_ms(TimePoint{2000us}) == Ms{2});
    CHECK(to_ms(TimePoint{-1us}) == Ms{-1});
    CHECK(to_ms(TimePoint{-1000us}) == Ms{-1});
    CHECK(to_ms(TimePoint{-1001us}) == Ms{-2});
}

TEST_CASE("to_due_ms: rounds up, so that nothing is due too early") {
    CHECK(to_due_ms(TimePoint{1'000ms}) == Ms{1'000});
    CHECK(to_due_ms(TimePoint{1'000ms + 1us}) == Ms{1'001});
    CHECK(to_due_ms(std::chrono::sys_days{std::chrono::days{1}}) == Ms{86'400'000});
    CHECK(to_due_ms(std::chrono::sys_time<std::chrono::hours>{(std::chrono::hours::max)()}) == Ms::latest());
}

TEST_CASE("due_after: never too early, and at once without a wait") {
    const TimePoint now{1'000ms + 1us};
    CHECK(due_after(now, 0ms) == Ms{1'000});
    CHECK(due_after(now, 1ms) == Ms{1'002});
    CHECK(due_after(now, (Duration::max)()) == Ms::latest());
}

TEST_CASE("from_ms: is what to_ms reads") {
    for (const Ms time : {Ms{}, Ms{-5}, Ms{1'577'836'800'123}}) CHECK(to_ms(from_ms(time)) == time);
}

TEST_CASE("from_ms: numbers that no clock shows are held at its ends") {
    CHECK(from_ms(Ms{most}) > TimePoint{std::chrono::hours{24 * 365 * 200}});
    CHECK(from_ms(Ms{least}) < TimePoint{-std::chrono::hours{24 * 365 * 200}});
    CHECK(from_ms(Ms{most}) == from_ms(Ms{most - 1}));
    CHECK(from_ms(Ms{least}) == from_ms(Ms{least + 1}));
}

TEST_CASE("StoredTime: sums and differences stop at the ends of the type") {
    CHECK(Ms{1000} + 5s == Ms{6000});
    CHECK(Ms{1000} - 5s == Ms{-4000});
    CHECK(Ms{most - 1} + 1ms == Ms::latest());
    CHECK(Ms{most - 1} + 2ms == Ms::latest());
    CHECK(Ms{1} + (Duration::max)() == Ms::latest());
    CHECK(Ms{least + 1} - 1ms == Ms::earliest());
    CHECK(Ms{least + 1} - 2ms == Ms::earliest());
    CHECK(Ms{-2} + (Duration::min)() == Ms::earliest());
    CHECK(Ms{-1} - (Duration::min)() == Ms::latest());
    CHECK(Ms{} - (Duration::min)() == Ms::latest());
}

TEST_CASE("StoredTime: how much of a step is over goes by the epoch") {
    CHECK(Ms{125'000} % 1min == 5s);
    CHECK(Ms{120'000} % 1min == 0s);
    CHECK(Ms{-5'000} % 1min == -5s);
}

TEST_CASE("StoredTime: how far times are apart stops at the ends of the type") {
    CHECK(Ms{5'000} - Ms{2'000} == 3s);
    CHECK(Ms{2'000} - Ms{5'000} == -3s);
    CHECK(Ms::latest() - Ms{-1} == (Duration::max)());
    CHECK(Ms::earliest() - Ms{1} == (Duration::min)());
    CHECK(Minute{90} - Minute{30} == 1h);
}

TEST_CASE("minute_of: the minute that a time is in, also before the epoch") {
    CHECK(minute_of(Ms{}) == Minute{});
    CHECK(minute_of(Ms{59'999}) == Minute{});
    CHECK(minute_of(Ms{60'000}) == Minute{1});
    CHECK(minute_of(Ms{-1}) == Minute{-1});
    CHECK(minute_of(Ms{-60'000}) == Minute{-1});
    CHECK(minute_of(Ms{-60'001}) == Minute{-2});
}

TEST_CASE("start_of: when a minute begins, held inside what can be stored") {
    CHECK(start_of(Minute{2}) == Ms{120'000});
    CHECK(start_of(Minute{-1}) == Ms{-60'000});
    CHECK(start_of(Minute::latest()) == Ms::latest());
    CHECK(start_of(Minute::earliest()) == Ms::earliest());
}

}  // namespace
