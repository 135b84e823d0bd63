// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <string_view>
#include <vector>

#include <backlite/base/times.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/error.hpp>
#include <backlite/schedule_rules.hpp>

#include <backlite_catch.hpp>
#include <chosen_zones.hpp>
#include <message_of.hpp>
#include <zone_bytes.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::ConfigError;
using backlite::Duration;
using backlite::Misfire;
using backlite::core::DueSlots;
using backlite::core::jitter_of;
using backlite::core::look;
using backlite::core::MissedRule;
using backlite::core::next_in_steps;
using backlite::core::place_of;
using backlite::core::Recurrence;
using backlite::core::reopened;
using backlite::core::resumed;
using backlite::core::SlotLook;
using backlite::core::SlotPlace;
using backlite::detail::Ms;
using backlite_test::message_of;

using Slots = std::vector<Ms>;

constexpr Ms start{1'800'000'000'000};  // on a whole minute, and on a whole hour
const Recurrence minutely{"* * * * *", "", start};

DueSlots due(const Recurrence& of, Duration first, Duration now, MissedRule rule = {}) {
    return of.due(start + first, start + now, rule);
}
Slots after_start(const std::vector<Duration>& since) {
    Slots slots;
    for (const Duration each : since) slots.push_back(start + each);
    return slots;
}

TEST_CASE("Recurrence: the next slot of a cron expression and of a period") {
    CHECK(minutely.next(start) == start + 60s);
    CHECK(minutely.next(start - 1ms) == start);
    CHECK(minutely.next(start + 59'999ms) == start + 60s);
    const Recurrence period{"@every 1500ms", "", start};
    CHECK(period.next(start) == start + 1500ms);
    CHECK(period.next(start + 1499ms) == start + 1500ms);
    CHECK(period.next(start + 1500ms) == start + 3s);
    CHECK(period.next(start - 1h) == start + 1500ms);
}

TEST_CASE("Recurrence: periods do not drift") {
    const Recurrence period{"@every 700ms", "", start};
    Ms slot = start;
    for (int i = 0; i < 1'000; ++i) slot = *period.next(slot);
    CHECK(slot == start + 700s);
    CHECK(period.next(start + 700ms * 1'000'000 + 1ms) == start + 700ms * 1'000'001);
}

TEST_CASE("Recurrence: where times end there is no next slot") {
    CHECK_FALSE(minutely.next(Ms::latest()));
    CHECK_FALSE(Recurrence("@every 1ms", "", start).next(Ms::latest()));
    CHECK(Recurrence("@every 1ms", "", Ms::earliest()).next(Ms::latest() - 1ms) == Ms::latest());
    CHECK_FALSE(Recurrence("@every 2ms", "", Ms::latest() - 1ms).next(Ms{}));
}

TEST_CASE("Recurrence: steps are counted right from one end of the numbers to the other") {
    constexpr std::int64_t least = (std::numeric_limits<std::int64_t>::min)();
    constexpr std::int64_t most = (std::numeric_limits<std::int64_t>::max)();
    CHECK(next_in_steps(0, 7, 0) == 7);
    CHECK(next_in_steps(0, 7, 6) == 7);
    CHECK(next_in_steps(0, 7, 7) == 14);
    CHECK(next_in_steps(-3, 7, -10) == 4);
    CHECK(next_in_steps(-3, 7, -4) == 4);
    CHECK(next_in_steps(least, 10, most - 10) == most - 5);
    CHECK_FALSE(next_in_steps(least, 10, most - 5));
    CHECK_FALSE(next_in_steps(most - 5, 10, 0));
    CHECK(next_in_steps(least, most, least) == -1);
}

TEST_CASE("Recurrence: before its first slot nothing is due") {
    const DueSlots found = due(minutely, 60s, 59'999ms);
    CHECK(found.run.empty());
    CHECK_FALSE(found.left_out);
    CHECK(found.next == start + 60s);
}

TEST_CASE("Recurrence: a slot is on time for a second, and missed after that") {
    for (const Misfire misfire : {Misfire::once, Misfire::all, Misfire::skip}) {
        for (const Duration now : {60'000ms, 61'000ms}) {
            const DueSlots found = due(minutely, 60s, now, {.misfire = misfire});
            CHECK(found.run == after_start({60s}));
            CHECK_FALSE(found.left_out);
            CHECK(found.next == start + 120s);
        }
    }
    const DueSlots late = due(minutely, 60s, 61'001ms, {.misfire = Misfire::skip});
    CHECK(late.run.empty());
    CHECK(late.left_out);
    CHECK(late.next == start + 120s);
    CHECK(due(minutely, 60s, 61'001ms, {.misfire = Misfire::once}).run == after_start({60s}));
}

TEST_CASE("Recurrence: of slots that were missed once runs the latest") {
    const DueSlots found = due(minutely, 60s, 330s, {.misfire = Misfire::once});
    CHECK(found.run == after_start({300s}));
    CHECK(found.left_out);
    CHECK(found.next == start + 360s);
}

TEST_CASE("Recurrence: all runs each missed slot, oldest first") {
    const DueSlots found = due(minutely, 60s, 330s, {.misfire = Misfire::all});
    CHECK(found.run == after_start({60s, 120s, 180s, 240s, 300s}));
    CHECK_FALSE(found.left_out);
}

TEST_CASE("Recurrence: all runs the latest if more were missed than it may run") {
    const DueSlots found = due(minutely, 60s, 330s, {.misfire = Misfire::all, .max_missed = 3});
    CHECK(found.run == after_start({180s, 240s, 300s}));
    CHECK(found.left_out);
    CHECK_FALSE(due(minutely, 60s, 330s, {.misfire = Misfire::all, .max_missed = 5}).left_out);
    CHECK(due(minutely, 60s, 330s, {.misfire = Misfire::all, .max_missed = 0}).run.empty());
}

TEST_CASE("Recurrence: skip runs no missed slot") {
    const DueSlots found = due(minutely, 60s, 330s, {.misfire = Misfire::skip});
    CHECK(found.run.empty());
    CHECK(found.left_out);
    CHECK(found.next == start + 360s);
}

TEST_CASE("Recurrence: a slot that is on time runs whatever was missed before it") {
    CHECK(due(minutely, 60s, 300'500ms, {.misfire = Misfire::skip}).run == after_start({300s}));
    CHECK(due(minutely, 60s, 300'500ms, {.misfire = Misfire::once}).run == after_start({240s, 300s}));
    const DueSlots found = due(minutely, 60s, 300'500ms, {.misfire = Misfire::all, .max_missed = 2});
    CHECK(found.run == after_start({180s, 240s, 300s}));
    CHECK(found.next == start + 360s);
}

TEST_CASE("Recurrence: several slots within a second are all on time") {
    const Recurrence quick{"@every 300ms", "", start};
    const DueSlots found = due(quick, 300ms, 1'000ms, {.misfire = Misfire::skip});
    CHECK(found.run == after_start({300ms, 600ms, 900ms}));
    CHECK(found.next == start + 1'200ms);
    CHECK(due(quick, 300ms, 2'000ms, {.misfire = Misfire::skip}).run == after_start({1'200ms, 1'500ms, 1'800ms}));
}

TEST_CASE("Recurrence: ten years of missed seconds cost no walk through them") {
    const Recurrence each_second{"* * * * * *", "", start};
    const Duration years = 24h * 3652;
    const DueSlots found = due(each_second, 1s, years, {.misfire = Misfire::all, .max_missed = 50});
    REQUIRE(found.run.size() == 52);  // and two that are on time
    CHECK(found.run.front() == start + years - 51s);
    CHECK(found.run.back() == start + years);
    CHECK(found.left_out);
    CHECK(found.next == start + years + 1s);
}

TEST_CASE("Recurrence: the latest of missed slots is found where many of them lie close together") {
    const Recurrence bursts{"* * 3 1 * *", "", start};  // each second of an hour each month
    const Ms first = *bursts.next(start);
    const Ms last = *bursts.next(first + 24h * 100) - 1ms;
    const DueSlots found = bursts.due(first, last, {.misfire = Misfire::all, .max_missed = 3});
    REQUIRE(found.run.size() == 3);
    CHECK(found.run[2] - found.run[0] == 2s);
    CHECK(bursts.next(found.run[2]) == last + 1ms);
    CHECK(found.next == last + 1ms);
}

TEST_CASE("Recurrence: however often somebody looks each slot runs once") {
    for (const Duration pause : {1ms, 250ms, 999ms, 1'000ms}) {
        std::optional<Ms> next = minutely.next(start);
        Slots ran;
        for (Ms now = start; now <= start + 5min + 1s; now = now + pause) {
            const DueSlots found = minutely.due(*next, now, {.misfire = Misfire::skip});
            ran.insert(ran.end(), found.run.begin(), found.run.end());
            next = found.next;
        }
        CHECK(ran == after_start({60s, 120s, 180s, 240s, 300s}));
    }
}

/// The same as `due`, by a walk over every slot.
DueSlots walked(const Recurrence& of, Ms first, Ms now, const MissedRule& rule) {
    DueSlots found{.next = first};
    Slots missed;
    Slots on_time;
    for (; found.next && *found.next <= now; found.next = of.next(*found.next)) {
        (now - *found.next > 1s ? missed : on_time).push_back(*found.next);
    }
    std::size_t most = missed.size();
    if (rule.misfire == Misfire::skip) most = 0;
    if (rule.misfire == Misfire::once) most = std::min<std::size_t>(most, 1);
    if (rule.misfire == Misfire::all) most = std::min(most, rule.max_missed);
    found.left_out = missed.size() > most;
    found.run.assign(missed.end() - static_cast<std::ptrdiff_t>(most), missed.end());
    found.run.insert(found.run.end(), on_time.begin(), on_time.end());
    return found;
}

TEST_CASE("Recurrence: random looks find what a walk over every slot finds, and run no slot twice") {
    std::mt19937_64 random{20'261'130};
    for (const std::string_view spec : {"* * * * *", "*/7 * * * * *", "0 3 * * *", "1,2,3 0 */5 * * *", "@every 250ms",
                                        "@every 61000ms", "* * 3 * * *"}) {
        const Recurrence of{spec, "+01:00", start};
        Ms now = start;
        std::optional<Ms> next = of.next(start);
        std::set<Ms> ran;
        for (int look = 0; look < 200; ++look) {
            // Most looks are close together, some come after a night, and at some the clock was set back.
            const auto pause = static_cast<std::int64_t>(random() % (look % 20 == 0 ? 40'000'000 : 3'000));
            now = now + Duration{look % 9 == 0 ? -pause / 3 : pause};
            const MissedRule rule{.misfire = std::array{Misfire::once, Misfire::all, Misfire::skip}[random() % 3],
                                  .max_missed = random() % 4};
            const DueSlots found = of.due(*next, now, rule);
            const DueSlots wanted = walked(of, *next, now, rule);
            INFO(spec << ", look " << look);
            REQUIRE(found.run == wanted.run);
            REQUIRE(found.left_out == wanted.left_out);
            REQUIRE(found.next == wanted.next);
            for (const Ms slot : found.run) REQUIRE(ran.insert(slot).second);
            next = found.next;
        }
        CHECK_FALSE(ran.empty());
    }
}

TEST_CASE("Recurrence: a clock that goes back runs no slot again, and one that goes ahead misses those in between") {
    const DueSlots first = due(minutely, 60s, 60s);
    CHECK(first.run.size() == 1);
    CHECK(minutely.due(*first.next, start - 1h, {}).run.empty());
    CHECK(minutely.due(*first.next, start - 1h, {}).next == first.next);
    CHECK(minutely.due(*first.next, start + 1h, {}).run == after_start({59min, 60min}));
}

TEST_CASE("Recurrence: jitter is the same for a name and a slot, within its bound, and spread over it") {
    CHECK(jitter_of("nightly", start, 0ms) == 0ms);
    CHECK(jitter_of("nightly", start, -5ms) == 0ms);
    CHECK(jitter_of("nightly", start, 30s) == jitter_of("nightly", start, 30s));
    CHECK(jitter_of("nightly", start, 30s) != jitter_of("hourly", start, 30s));
    CHECK(jitter_of("nightly", start, 30s) != jitter_of("nightly", start + 24h, 30s));
    std::set<Duration> all;
    for (int i = 0; i < 1'000; ++i) all.insert(jitter_of("nightly", start + 24h * i, 9ms));
    CHECK(all.size() == 10);
    CHECK(*all.begin() == 0ms);
    CHECK(*all.rbegin() == 9ms);
    CHECK(jitter_of("x", Ms::earliest(), (Duration::max)()) >= 0ms);
}

TEST_CASE("Recurrence: the jitter of a slot stays what it was when processes of two versions run it") {
    CHECK(jitter_of("nightly", Ms{1'800'000'000'000}, 30s) == 14'779ms);
    CHECK(jitter_of("", Ms{}, 1h) == 627'752ms);
}

TEST_CASE("Recurrence: a new schedule counts from now") {
    const SlotPlace place = place_of(std::nullopt, "* * * * *", "", start + 5s);
    CHECK(place == SlotPlace{.spec = "* * * * *",
                             .zone = "",
                             .begun = start + 5s,
                             .next = start + 60s,
                             .gap_from = Ms::earliest(),
                             .gap_until = start + 60s});
    CHECK(place_of(std::nullopt, "@every 60000ms", "", start + 5s).next == start + 65s);
}

TEST_CASE("Recurrence: a schedule with the same times keeps its place, also slots that nobody has looked at") {
    const SlotPlace before = place_of(std::nullopt, "@every 60000ms", "", start);
    CHECK(place_of(before, "@every 60000ms", "", start + 1h) == before);
}

TEST_CASE("Recurrence: with other times a schedule counts from now, and no slot of the past runs") {
    const SlotPlace before = place_of(std::nullopt, "* * * * *", "", start);
    const SlotPlace after = place_of(before, "*/5 * * * *", "", start + 7min);
    CHECK(after.next == start + 10min);
    CHECK(after.begun == start + 7min);
    CHECK(place_of(before, "* * * * *", "+01:00", start + 7min).next == start + 8min);
    CHECK(place_of(place_of(std::nullopt, "@every 60000ms", "", start), "@every 90000ms", "", start + 1h).next ==
          start + 1h + 90s);
}

TEST_CASE("Recurrence: what was left out before a new place is a gap, and what ran is none") {
    SlotPlace before = place_of(std::nullopt, "* * * * *", "", start);
    before.last = start + 2min;
    const SlotPlace after = place_of(before, "*/5 * * * *", "", start + 7min);
    CHECK(after.gap_from == start + 2min + 1ms);
    CHECK(after.gap_until == start + 10min);
}

TEST_CASE("Recurrence: slots of a pause do not run after it") {
    SlotPlace place = place_of(std::nullopt, "* * * * *", "", start);
    place = resumed(place, start + 5min + 1s);
    CHECK(place.next == start + 6min);
    CHECK(place.gap_from == start + 1min);
    CHECK(place.gap_until == start + 6min);
    CHECK(resumed(place, start + 5min + 2s) == place);
}

TEST_CASE("Recurrence: a slot that is later than a deadline does not run") {
    const SlotPlace place = place_of(std::nullopt, "* * * * *", "", start);
    CHECK(look(place, start + 90s, {}, 31s).run == after_start({60s}));
    const SlotLook late = look(place, start + 90s, {}, 30s);
    CHECK(late.run.empty());
    CHECK(late.left_out);
    CHECK(late.place.next == start + 2min);
    CHECK(look(place, start + 5min + 30s, {.misfire = Misfire::all}, 2min).run == after_start({4min, 5min}));
}

TEST_CASE("Recurrence: a clock that was a year ahead has run the latest slot, and the others come all the same") {
    SlotPlace place = place_of(std::nullopt, "0 * * * *", "", start);
    const SlotLook ahead = look(place, start + 24h * 365 + 1min, {}, 0ms);
    CHECK(ahead.run == after_start({24h * 365}));
    const auto back = reopened(ahead.place, start + 90min);
    REQUIRE(back);
    CHECK(back->next == start + 2h);
    CHECK(back->gap_from == start + 24h * 365);  // not again
    CHECK(back->gap_until == start + 24h * 365 + 1h);
    CHECK_FALSE(reopened(*back, start));
    SlotPlace on = *back;
    on.next = start + 24h * 365 - 1h;
    const SlotLook last = look(on, start + 24h * 365 - 1h, {}, 0ms);
    CHECK(last.run.size() == 1);
    CHECK(last.place.next == start + 24h * 365 + 1h);
    CHECK_FALSE(last.place.gap_from);
}

TEST_CASE("Recurrence: slots that have run are not among those that come again") {
    SlotPlace place = place_of(std::nullopt, "* * * * *", "", start);
    for (const Duration at : {1min, 2min, 3min}) place = look(place, start + at, {}, 0ms).place;
    place = look(place, start + 10min, {}, 0ms).place;  // the ninth and the tenth have run, four to eight have not
    CHECK(reopened(place, start)->next == start + 4min);
    CHECK(reopened(place, start + 5min)->next == start + 6min);
    CHECK_FALSE(reopened(place, start + 8min));
}

TEST_CASE("Recurrence: a period that began while the clock was ahead keeps its phase by the right one") {
    const SlotPlace place = place_of(std::nullopt, "@every 3600000ms", "", start + 24h * 365 + 10min);
    const auto back = reopened(place, start + 5min);
    REQUIRE(back);
    CHECK(back->next == start + 10min);
    CHECK(look(*back, start + 10min, {}, 0ms).place.next == start + 70min);
}

TEST_CASE("Recurrence: however the clock is set, no slot runs twice, and once it is right each one comes") {
    std::mt19937_64 random{20'261'131};
    for (const std::string_view spec : {"* * * * *", "*/7 * * * *", "0 3 * * *", "@every 61000ms"}) {
        for (int script = 0; script < 60; ++script) {
            SlotPlace place = place_of(std::nullopt, spec, "", start);
            std::set<Ms> ran;
            Ms now = start;
            const MissedRule rule{.misfire = std::array{Misfire::once, Misfire::all, Misfire::skip}[random() % 3],
                                  .max_missed = 1 + random() % 4};
            const auto see = [&] {
                if (const auto back = reopened(place, now)) place = *back;
                const SlotLook found = look(place, now, rule, 0ms);
                for (const Ms slot : found.run) {
                    INFO(spec << ", script " << script);
                    REQUIRE(slot <= now);
                    REQUIRE(ran.insert(slot).second);
                }
                place = found.place;
                REQUIRE((!place.next || *place.next > now));
            };
            for (int step = 0; step < 60; ++step) {
                now = now + Duration{static_cast<std::int64_t>(random() % 90'000)};
                if (step % 10 == 9) {  // ahead or back, by a little or a lot
                    const auto by = static_cast<std::int64_t>(random() % (random() % 2 == 0 ? 600'000 : 400'000'000));
                    now = now + Duration{random() % 2 == 0 ? by : -by};
                }
                see();
            }
            // One more jump ahead and back to where it was: all that comes then, but for what has run, is to run.
            const Ms right = now;
            if (place.gap_from && place.gap_until && *place.gap_from >= *place.next) continue;
            if (*place.next > *Recurrence(spec, "", place.begun).next(now)) continue;  // it waits for what has run
            now = right + 24h * 40 + 1s;
            see();
            now = right;
            see();
            for (int step = 0; step < 50; ++step) {
                const Recurrence of{spec, "", place.begun};
                now = *of.next(now);
                see();
                for (auto slot = of.next(right); slot && *slot <= now; slot = of.next(*slot)) {
                    INFO(spec << ", script " << script << ", step " << step);
                    REQUIRE(ran.contains(*slot));
                }
            }
        }
    }
}

TEST_CASE("Recurrence: what cannot be read is refused, and nothing is stored") {
    for (const std::string_view spec :
         {"", "@every 0ms", "@every -1ms", "@every ms", "@every 5", "@every 5s", "@every 5ms ", "@every",
          "@every 3155760000001ms", "@every 99999999999999999999ms", "0 25 * * *"}) {
        INFO(spec);
        CHECK_THROWS_AS(place_of(std::nullopt, spec, "", start), ConfigError);
    }
    CHECK_THROWS_AS(place_of(std::nullopt, "* * * * *", "../x", start), ConfigError);
    CHECK(message_of<ConfigError>([] { static_cast<void>(Recurrence("@every 5s", "", start)); }) ==
          "\"@every 5s\" is no period: such as \"@every 900000ms\" is one");
}

TEST_CASE("Recurrence: the spec of a period is read as that period") {
    CHECK(Recurrence::spec_of(15min) == "@every 900000ms");
    CHECK(Recurrence(Recurrence::spec_of(15min), "", start).next(start) == start + 15min);
    CHECK_THROWS_AS(Recurrence::spec_of(0ms), ConfigError);
}

TEST_CASE("Recurrence: slots of a zone are those of its calendar") {
    const backlite_test::ChosenZones zones;
    zones.put("Europe/Berlin", backlite_test::ZoneBytes{.rule = "CET-1CEST,M3.5.0,M10.5.0/3"}.bytes());
    const Recurrence nightly{"30 2 * * *", "Europe/Berlin", start};
    CHECK(nightly.next(Ms{1'774'742'400'000}) == Ms{1'774'746'000'000});  // 2026-03-29, 03:00 for 02:30
}

}  // namespace
