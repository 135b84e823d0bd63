// SPDX-License-Identifier: MIT
#include <chrono>
#include <ratio>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/schedule.hpp>

#include <backlite_catch.hpp>
#include <chosen_zones.hpp>
#include <message_of.hpp>
#include <zone_bytes.hpp>

namespace {

using namespace std::chrono_literals;
using namespace std::chrono;
using backlite::ConfigError;
using backlite::Cron;
using backlite::Every;
using backlite::TimePoint;
using backlite_test::ChosenZones;
using backlite_test::contains;
using backlite_test::message_of;
using backlite_test::ZoneBytes;

constexpr TimePoint noon = sys_days{2026y / 7 / 1} + 12h;

TEST_CASE("Cron: without a zone it goes by UTC") {
    CHECK(Cron{"0 3 * * *"}.next(noon) == noon + 15h);
    CHECK(Cron{"0 3 * * *", "UTC"}.next(noon) == noon + 15h);
    CHECK(Cron{"0 3 * * *", "+02:00"}.next(noon) == noon + 13h);
}

TEST_CASE("Cron: in a zone of the system's") {
    const ChosenZones zones;
    zones.put("Europe/Berlin", ZoneBytes{.rule = "CET-1CEST,M3.5.0,M10.5.0/3"}.bytes());
    CHECK(Cron{"0 3 * * *", "Europe/Berlin"}.next(noon) == noon + 13h);
    CHECK(Cron{"0 3 * * *", "Europe/Berlin"}.next(sys_days{2026y / 12 / 1} + 12h) == sys_days{2026y / 12 / 2} + 2h);
}

TEST_CASE("Cron: the next time is strictly later, by less than a second too") {
    const Cron cron{"* * * * * *"};
    CHECK(cron.next(noon) == noon + 1s);
    CHECK(cron.next(noon + 1ns) == noon + 1s);
    CHECK(cron.next(noon + 999ms) == noon + 1s);
    CHECK(cron.next(noon - 1ns) == noon);
    CHECK(cron.next(TimePoint{} - 1ns) == TimePoint{});
    CHECK(cron.next(TimePoint{} - 1s) == TimePoint{});
}

TEST_CASE("Cron: times of the first and the last years that can be told") {
    const Cron cron{"0 0 1 1 *"};
    CHECK(cron.next((TimePoint::min)()) == sys_days{1678y / 1 / 1});
    CHECK(cron.next(sys_days{2261y / 1 / 1}) == sys_days{2262y / 1 / 1});
    CHECK(contains(message_of<ConfigError>([&] { static_cast<void>(cron.next(sys_days{2262y / 1 / 1})); }),
                   "cron expression \"0 0 1 1 *\": its next time is after the year 2262"));
    CHECK_THROWS_AS(cron.next((TimePoint::max)()), ConfigError);
    CHECK_THROWS_AS((Cron{"* * * * * *", "-23:00"}.next((TimePoint::max)())), ConfigError);
}

TEST_CASE("Cron: keeps its text, and equals what was made of the same") {
    const Cron cron{"0 3 * * *", "+02:00"};
    CHECK(cron.expression() == "0 3 * * *");
    CHECK(cron.zone() == "+02:00");
    CHECK(Cron{"@daily"}.zone().empty());
    CHECK(cron == Cron{std::string{"0 3 * * *"}, "+02:00"});
    CHECK(cron != Cron{"0 3 * * *"});
    CHECK(cron != Cron{"0 4 * * *", "+02:00"});
    Cron copy = cron;
    copy = Cron{"@hourly"};
    CHECK(cron.next(noon) == noon + 13h);
    CHECK(copy.next(noon) == noon + 1h);
    const Cron taken = std::move(copy);
    CHECK(copy == taken);  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("Cron: what cannot be read is told when it is made") {
    CHECK(message_of<ConfigError>([] { static_cast<void>(Cron{"0 25 * * *"}); }) ==
          "cron expression \"0 25 * * *\": hour \"25\": only 0 to 23 will do");
    const ChosenZones none;
    CHECK(contains(message_of<ConfigError>([] {
                       static_cast<void>(Cron{"0 3 * * *", "Mars/Phobos"});
                   }),
                   "cron expression \"0 3 * * *\": time zone \"Mars/Phobos\" is unknown"));
}

TEST_CASE("Every: counts from its start and does not drift") {
    const Every every{15min};
    CHECK(every.next(noon, noon) == noon + 15min);
    CHECK(every.next(noon, noon - 1h) == noon + 15min);
    CHECK(every.next(noon, noon + 15min - 1ns) == noon + 15min);
    CHECK(every.next(noon, noon + 15min) == noon + 30min);
    CHECK(every.next(noon + 7ns, noon + 100h) == noon + 100h + 7ns);
}

TEST_CASE("Every: takes any duration, rounded up to milliseconds") {
    CHECK(Every{24h}.period == 24h);
    CHECK(Every{1ns}.period == 1ms);
    CHECK(Every{1001us}.period == 2ms);
    CHECK(Every{duration<double>{0.5}}.period == 500ms);
    CHECK(Every{days{36'525}}.period == days{36'525});
}

TEST_CASE("Every: a period that cannot be is told") {
    for (const auto period : {0ms, -1ms, milliseconds{days{36'525}} + 1ms}) {
        INFO(period.count());
        CHECK(contains(message_of<ConfigError>([&] { static_cast<void>(Every{period}); }),
                       std::to_string(period.count()) + " ms"));
    }
    CHECK_THROWS_AS(Every{years{1'000'000'000}}, ConfigError);
    Every changed{1s};
    changed.period = 0ms;
    CHECK_THROWS_AS(changed.next(noon, noon), ConfigError);
}

TEST_CASE("Every: where times end there is no next one") {
    CHECK_THROWS_AS(Every{1h}.next(noon, (TimePoint::max)()), ConfigError);
    CHECK_THROWS_AS(Every{1h}.next((TimePoint::max)(), noon), ConfigError);
    CHECK(Every{1h}.next((TimePoint::min)(), (TimePoint::max)() - 1h) > (TimePoint::max)() - 1h);
}

TEST_CASE("Every: equals another of the same period") {
    CHECK(Every{60s} == Every{1min});
    CHECK(Every{60s} != Every{61s});
}

TEST_CASE("Cron and Every: are values that a variant holds") {
    std::variant<Cron, Every> when = Every{15min};
    when = Cron{"@daily"};
    CHECK(std::get<Cron>(when).next(noon) == noon + 12h);
    static_assert(std::is_nothrow_copy_constructible_v<Cron> && std::is_nothrow_move_constructible_v<Cron>);
    static_assert(!std::is_convertible_v<const char*, Cron> && !std::is_convertible_v<std::chrono::seconds, Every>);
}

}  // namespace
