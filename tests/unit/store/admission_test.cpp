// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

#include <backlite/base/times.hpp>
#include <backlite/config.hpp>
#include <backlite/store/admission.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Limits;
using backlite::Rate;
using backlite::detail::Ms;
using backlite::store::Admission;
using backlite::store::admission;
using backlite::store::is_closed;
using backlite::store::may_be_handed_off;
using backlite::store::Neighbours;
using backlite::store::RateCount;

constexpr Neighbours suspect{.free_workers = 1, .crashed = true};
constexpr Neighbours last_chance{.free_workers = 1, .crashed = true, .last_chance = true};

TEST_CASE("Admission: a task that has crashed nothing starts beside whatever runs, if it may crash twice") {
    for (const Neighbours& beside : {Neighbours{}, suspect, last_chance}) {
        CHECK(admission(0, 2, beside) == Admission::yes);
    }
}

TEST_CASE("Admission: a task that can bear no crash waits until nothing runs that has crashed a process") {
    CHECK(admission(0, 1, {}) == Admission::yes);
    CHECK(admission(0, 1, suspect) == Admission::waits_for_crashed);
    CHECK(admission(2, 3, suspect) == Admission::waits_for_crashed);
    CHECK(admission(2, 3, {.free_workers = 1}) == Admission::yes);
}

TEST_CASE(
    "Admission: a task that has crashed a process starts beside others of its kind, but not beside one that can "
    "bear no crash") {
    CHECK(admission(1, 3, suspect) == Admission::yes);
    CHECK(admission(1, 3, last_chance) == Admission::waits_for_crashed);
}

TEST_CASE("Admission: a task that has crashed a process is not claimed ahead of a free worker") {
    CHECK(admission(1, 3, {}) == Admission::waits_for_worker);
    CHECK(admission(0, 3, {}) == Admission::yes);
}

TEST_CASE("Admission: a task at its bound, which fails without running, waits for nobody") {
    CHECK(admission(3, 3, last_chance) == Admission::yes);
    CHECK(admission(7, 3, {.crashed = true}) == Admission::yes);
}

TEST_CASE("Admission: a task of a queue with any limit is not handed past the claim that counts") {
    CHECK(may_be_handed_off({}));
    CHECK_FALSE(may_be_handed_off({.running = 1}));
    CHECK_FALSE(may_be_handed_off({.running_per_partition = 1}));
    CHECK_FALSE(may_be_handed_off({.running_per_client = 1}));
    CHECK_FALSE(may_be_handed_off({.in_order = true}));
    CHECK_FALSE(may_be_handed_off({.rate = {.count = 1, .period = 1s}}));
    CHECK_FALSE(may_be_handed_off({.rate_per_partition = {.count = 1, .period = 1s}}));
}

TEST_CASE("RateCount: a rate that was not used has room for its burst, and is full for the share of one") {
    const Rate rate{.count = 4, .period = 1s, .burst = 3};
    RateCount count(rate, 0, Ms{5'000});
    CHECK(count.room() == 3);
    CHECK(count.opens() <= Ms{5'000});
    count.started(3);
    CHECK(count.room() == 0);
    CHECK(count.opens() == Ms{5'250});
    CHECK(RateCount(rate, count.used_until(), Ms{5'249}).room() == 0);
    CHECK(RateCount(rate, count.used_until(), Ms{5'250}).room() == 1);
    CHECK(RateCount(rate, count.used_until(), Ms{5'750}).room() == 3);
    CHECK(RateCount(rate, count.used_until(), Ms{99'000}).room() == 3);
    CHECK(RateCount({.count = 4, .period = 1s}, 0, Ms{5'000}).room() == 4);
}

TEST_CASE("RateCount: in no time W start more than the burst and its share of W") {
    std::uint32_t random = 7;
    const auto next = [&](std::uint32_t below) {
        random = random * 1'664'525 + 1'013'904'223;
        return static_cast<int>((random >> 8) % below);
    };
    for (int round = 0; round < 200; ++round) {
        const Rate rate{.count = 1 + next(9), .period = backlite::Duration{1 + next(3'000)}, .burst = next(5)};
        const std::int64_t burst = rate.burst > 0 ? rate.burst : rate.count;
        std::int64_t stored = next(2) == 0 ? 0 : std::numeric_limits<std::int64_t>::min();
        std::vector<std::int64_t> starts;
        for (Ms now{1'000'000}; starts.size() < 60; now = now + backlite::Duration{next(200)}) {
            RateCount count(rate, stored, now);
            std::int64_t tasks = next(2) == 0 ? count.room() : 0;
            if (tasks > 40) tasks = 40;
            count.started(tasks);
            stored = count.used_until();
            starts.insert(starts.end(), static_cast<std::size_t>(tasks), now.count());
            if (count.room() == 0) {
                CHECK(count.opens() > now);
                CHECK(RateCount(rate, stored, count.opens()).room() >= 1);
                CHECK(RateCount(rate, stored, count.opens() - 1ms).room() == 0);
            }
        }
        for (std::size_t first = 0; first < starts.size(); ++first) {
            for (std::size_t last = first; last < starts.size(); ++last) {
                const auto started = static_cast<std::int64_t>(last - first) + 1;
                const std::int64_t time = starts[last] - starts[first];
                if ((started - burst) * rate.period.count() > rate.count * time) FAIL("too many");
            }
        }
    }
}

TEST_CASE("RateCount: whatever number is stored stops nothing for longer than a burst takes") {
    const Rate rate{.count = 2, .period = 1s};
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    for (const std::int64_t stored : {most, std::int64_t{9'000'000'000'000'000}, -most - 1, std::int64_t{0}}) {
        const RateCount count(rate, stored, Ms{1'000'000});
        CHECK(count.room() >= 0);
        CHECK(count.room() <= 2);
        CHECK(count.opens() <= Ms{1'000'500});
        CHECK(RateCount(rate, count.used_until(), Ms{1'001'000}).room() == 2);
    }
}

TEST_CASE("RateCount: the ends of what numbers hold overflow nothing") {
    constexpr int most = (std::numeric_limits<int>::max)();
    for (const Rate& rate :
         {Rate{most, 1ms, most}, Rate{1, backlite::Duration{std::chrono::hours{24 * 36'525}}, most}}) {
        for (const Ms now : {Ms::earliest(), Ms{0}, Ms::latest()}) {
            RateCount count(rate, 0, now);
            count.started(count.room());
            CHECK(count.room() == 0);
            CHECK(count.opens() != Ms::earliest());
        }
    }
}

TEST_CASE("Admission: what was closed for a time is open where the clock was set back since") {
    CHECK_FALSE(is_closed(Ms::earliest(), 0s, Ms{1'000}));
    CHECK(is_closed(Ms{6'000}, 5s, Ms{1'000}));
    CHECK(is_closed(Ms{6'000}, 5s, Ms{5'999}));
    CHECK_FALSE(is_closed(Ms{6'000}, 5s, Ms{6'000}));
    CHECK_FALSE(is_closed(Ms{6'000}, 5s, Ms{999}));
}

}  // namespace
