// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/core/calendar.hpp>
#include <backlite/core/zone.hpp>
#include <backlite/error.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <zone_bytes.hpp>

namespace {

using namespace std::chrono_literals;
using namespace std::chrono;
using backlite::ConfigError;
using backlite::core::Calendar;
using backlite::core::Zone;
using backlite_test::contains;
using backlite_test::message_of;
using backlite_test::ZoneBytes;
namespace zones = backlite_test::zones;

sys_seconds utc(year_month_day day, seconds time = 0s) { return sys_days{day} + time; }

/// What the clocks of the zone show, and how far they are ahead of UTC then: "2026-03-29 03:00:00 +7200".
std::string shown(const Zone& zone, sys_seconds time) {
    const seconds offset = zone.at(time).offset;
    const sys_seconds local = time + offset;
    const year_month_day date{floor<days>(local)};
    const hh_mm_ss clock{local - floor<days>(local)};
    return fmt::format("{}-{:02}-{:02} {:02}:{:02}:{:02} {:+}", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                       clock.minutes().count(), clock.seconds().count(), offset.count());
}

/// The next `count` times after `time`.
std::vector<std::string> times(std::string_view expression, const Zone& zone, sys_seconds time, int count) {
    const Calendar calendar{expression, zone, "Test"};
    std::vector<std::string> found;
    for (int i = 0; i < count; ++i) {
        const auto next = calendar.next(time);
        REQUIRE(next);
        REQUIRE(*next > time);
        time = *next;
        found.push_back(shown(zone, time));
    }
    return found;
}

using Times = std::vector<std::string>;

TEST_CASE("Calendar: the next time is later, also if the clock shows one that matches") {
    const Calendar calendar{"30 3 * * *", ""};
    CHECK(calendar.next(utc(2026y / 1 / 1)) == utc(2026y / 1 / 1, 3h + 30min));
    CHECK(calendar.next(utc(2026y / 1 / 1, 3h + 30min - 1s)) == utc(2026y / 1 / 1, 3h + 30min));
    CHECK(calendar.next(utc(2026y / 1 / 1, 3h + 30min)) == utc(2026y / 1 / 2, 3h + 30min));
    CHECK(calendar.next(utc(2026y / 12 / 31, 4h)) == utc(2027y / 1 / 1, 3h + 30min));
}

TEST_CASE("Calendar: seconds") {
    CHECK(times("58,59 59 23 31 12 *", Zone{}, utc(2026y / 1 / 1), 3) ==
          Times{"2026-12-31 23:59:58 +0", "2026-12-31 23:59:59 +0", "2027-12-31 23:59:58 +0"});
    CHECK(times("* * * * * *", Zone{}, utc(2026y / 12 / 31, 24h - 2s), 2) ==
          Times{"2026-12-31 23:59:59 +0", "2027-01-01 00:00:00 +0"});
}

TEST_CASE("Calendar: before 1970 too") {
    const Calendar calendar{"0 0 1 1 *", ""};
    CHECK(calendar.next(utc(1901y / 6 / 1)) == utc(1902y / 1 / 1));
    CHECK(calendar.next(utc(1970y / 1 / 1) - 1s) == utc(1970y / 1 / 1));
    CHECK(calendar.next(utc(1970y / 1 / 1) - 2s) == utc(1970y / 1 / 1));
}

TEST_CASE("Calendar: 29 February is only in leap years, and 2100 is none") {
    CHECK(times("0 0 29 2 *", Zone{}, utc(2026y / 1 / 1), 2) ==
          Times{"2028-02-29 00:00:00 +0", "2032-02-29 00:00:00 +0"});
    CHECK(times("0 0 29 2 *", Zone{}, utc(2096y / 3 / 1), 1) == Times{"2104-02-29 00:00:00 +0"});
    CHECK(times("0 0 29 2 *", Zone{}, utc(1996y / 3 / 1), 1) == Times{"2000-02-29 00:00:00 +0"});
    CHECK(times("0 0 L 2 *", Zone{}, utc(2099y / 1 / 1), 2) ==
          Times{"2099-02-28 00:00:00 +0", "2100-02-28 00:00:00 +0"});
}

TEST_CASE("Calendar: the fifth Monday of February is 29 February on a Monday, forty years apart around 2100") {
    CHECK(
        times("0 0 * 2 1#5", Zone{}, utc(2026y / 1 / 1), 4) ==
        Times{"2044-02-29 00:00:00 +0", "2072-02-29 00:00:00 +0", "2112-02-29 00:00:00 +0", "2140-02-29 00:00:00 +0"});
}

TEST_CASE("Calendar: spring, a fixed time that does not exist runs at the first that does") {
    const Zone berlin = zones::berlin();
    const sys_seconds before = utc(2026y / 3 / 28, 12h);
    CHECK(times("30 2 * * *", berlin, before, 3) ==
          Times{"2026-03-29 03:00:00 +7200", "2026-03-30 02:30:00 +7200", "2026-03-31 02:30:00 +7200"});
    CHECK(times("0 2 * * *", berlin, before, 1) == Times{"2026-03-29 03:00:00 +7200"});
    CHECK(times("30 1 * * *", berlin, before, 1) == Times{"2026-03-29 01:30:00 +3600"});
    CHECK(times("0 3 * * *", berlin, before, 1) == Times{"2026-03-29 03:00:00 +7200"});
    CHECK(times("30 2 * * *", zones::new_york(), utc(2026y / 3 / 7, 12h), 2) ==
          Times{"2026-03-08 03:00:00 -14400", "2026-03-09 02:30:00 -14400"});
}

TEST_CASE("Calendar: several times that do not exist run once together") {
    CHECK(times("0,15,30 2,3 * * *", zones::berlin(), utc(2026y / 3 / 28, 12h), 4) ==
          Times{"2026-03-29 03:00:00 +7200", "2026-03-29 03:15:00 +7200", "2026-03-29 03:30:00 +7200",
                "2026-03-30 02:00:00 +7200"});
}

TEST_CASE("Calendar: autumn, a fixed time that exists twice runs at its first") {
    CHECK(times("30 2 * * *", zones::berlin(), utc(2026y / 10 / 24, 12h), 2) ==
          Times{"2026-10-25 02:30:00 +7200", "2026-10-26 02:30:00 +3600"});
    CHECK(times("*/30 2 * * *", zones::berlin(), utc(2026y / 10 / 24, 12h), 3) ==
          Times{"2026-10-25 02:00:00 +7200", "2026-10-25 02:30:00 +7200", "2026-10-26 02:00:00 +3600"});
    CHECK(times("30 1 * * *", zones::new_york(), utc(2026y / 10 / 31, 12h), 2) ==
          Times{"2026-11-01 01:30:00 -14400", "2026-11-02 01:30:00 -18000"});
}

TEST_CASE("Calendar: autumn, whoever looks during the second of two equal hours waits for the next day") {
    const Zone berlin = zones::berlin();
    const sys_seconds second = utc(2026y / 10 / 25, 1h);  // the clocks show 02:00 again
    REQUIRE(shown(berlin, second) == "2026-10-25 02:00:00 +3600");
    CHECK(times("30 2 * * *", berlin, second - 1s, 1) == Times{"2026-10-26 02:30:00 +3600"});
    CHECK(times("30 2 * * *", berlin, second + 5min, 1) == Times{"2026-10-26 02:30:00 +3600"});
    CHECK(times("0 3 * * *", berlin, second + 5min, 1) == Times{"2026-10-25 03:00:00 +3600"});
}

TEST_CASE("Calendar: with a star as hour what is left out is none and what is shown twice is two") {
    const Zone berlin = zones::berlin();
    CHECK(times("30 * * * *", berlin, utc(2026y / 3 / 29), 2) ==
          Times{"2026-03-29 01:30:00 +3600", "2026-03-29 03:30:00 +7200"});
    CHECK(times("30 * * * *", berlin, utc(2026y / 10 / 24, 23h + 45min), 3) ==
          Times{"2026-10-25 02:30:00 +7200", "2026-10-25 02:30:00 +3600", "2026-10-25 03:30:00 +3600"});
    CHECK(times("0 */2 * * *", berlin, utc(2026y / 3 / 28, 22h + 30min), 2) ==
          Times{"2026-03-29 00:00:00 +3600", "2026-03-29 04:00:00 +7200"});
    CHECK(times("0 */2 * * *", berlin, utc(2026y / 10 / 24, 21h), 4) ==
          Times{"2026-10-25 00:00:00 +7200", "2026-10-25 02:00:00 +7200", "2026-10-25 02:00:00 +3600",
                "2026-10-25 04:00:00 +3600"});
}

TEST_CASE("Calendar: every quarter of an hour is a quarter of an hour apart, whatever the clocks do") {
    for (const Zone& zone : {zones::berlin(), zones::new_york(), zones::lord_howe(), zones::cairo()}) {
        const Calendar calendar{"*/15 * * * *", zone, "Test"};
        sys_seconds time = utc(2026y / 1 / 1);
        for (int i = 0; i < 366 * 96; ++i) {
            const auto next = calendar.next(time);
            if (next != time + 15min) FAIL_CHECK("after " << shown(zone, time));
            time += 15min;
        }
    }
}

TEST_CASE("Calendar: half an hour of summer time, Australia/Lord_Howe") {
    const Zone zone = zones::lord_howe();
    CHECK(times("15 2 * * *", zone, utc(2026y / 10 / 3), 2) ==
          Times{"2026-10-04 02:30:00 +39600", "2026-10-05 02:15:00 +39600"});
    CHECK(times("45 1 * * *", zone, utc(2026y / 4 / 4), 2) ==
          Times{"2026-04-05 01:45:00 +39600", "2026-04-06 01:45:00 +37800"});
    CHECK(times("45 * * * *", zone, utc(2026y / 4 / 4, 14h), 3) ==
          Times{"2026-04-05 01:45:00 +39600", "2026-04-05 01:45:00 +37800", "2026-04-05 02:45:00 +37800"});
}

TEST_CASE("Calendar: a day that did not exist, Pacific/Apia") {
    const Zone zone = zones::apia();
    CHECK(times("0 10 * * *", zone, utc(2011y / 12 / 29), 4) ==
          Times{"2011-12-29 10:00:00 -36000", "2011-12-31 00:00:00 +50400", "2011-12-31 10:00:00 +50400",
                "2012-01-01 10:00:00 +50400"});
    CHECK(times("0 10 30 12 *", zone, utc(2011y / 12 / 29), 2) ==
          Times{"2011-12-31 00:00:00 +50400", "2012-12-30 10:00:00 +50400"});
    CHECK(times("0 * 30 12 *", zone, utc(2011y / 12 / 29), 1) == Times{"2012-12-30 00:00:00 +50400"});
    CHECK(times("0 */12 * * *", zone, utc(2011y / 12 / 29, 23h), 2) ==
          Times{"2011-12-31 00:00:00 +50400", "2011-12-31 12:00:00 +50400"});
}

TEST_CASE("Calendar: a midnight that did not exist, and one before which an hour came twice, America/Sao_Paulo") {
    const Zone zone = zones::sao_paulo();
    CHECK(times("@daily", zone, utc(2018y / 11 / 3, 12h), 2) ==
          Times{"2018-11-04 01:00:00 -7200", "2018-11-05 00:00:00 -7200"});
    CHECK(times("30 23 * * *", zone, utc(2019y / 2 / 16, 12h), 2) ==
          Times{"2019-02-16 23:30:00 -7200", "2019-02-17 23:30:00 -10800"});
    CHECK(times("30 * * * *", zone, utc(2019y / 2 / 17, 1h), 3) ==
          Times{"2019-02-16 23:30:00 -7200", "2019-02-16 23:30:00 -10800", "2019-02-17 00:30:00 -10800"});
    CHECK(times("@daily", zone, utc(2019y / 2 / 16, 12h), 2) ==
          Times{"2019-02-17 00:00:00 -10800", "2019-02-18 00:00:00 -10800"});
}

TEST_CASE("Calendar: changes at midnight, Africa/Cairo, and none at all, Asia/Kolkata") {
    CHECK(times("30 0 * * *", zones::cairo(), utc(2026y / 4 / 23, 12h), 2) ==
          Times{"2026-04-24 01:00:00 +10800", "2026-04-25 00:30:00 +10800"});
    CHECK(times("30 23 * * *", zones::cairo(), utc(2026y / 10 / 29, 12h), 2) ==
          Times{"2026-10-29 23:30:00 +10800", "2026-10-30 23:30:00 +7200"});
    CHECK(times("0 9 * * MON-FRI", zones::kolkata(), utc(2026y / 1 / 2, 12h), 2) ==
          Times{"2026-01-05 09:00:00 +19800", "2026-01-06 09:00:00 +19800"});
}

TEST_CASE("Calendar: a whole day that is shown twice has its fixed times once and those by elapsed time twice") {
    // As in Alaska in 1867 and on Kwajalein in 1969: from 12 ahead to 12 behind.
    const Zone zone = ZoneBytes{.first_offset = 12 * 3600, .changes = {{0, -12 * 3600}}}.zone();
    CHECK(times("0 6 * * *", zone, utc(1969y / 12 / 31, 12h), 2) ==
          Times{"1970-01-01 06:00:00 +43200", "1970-01-02 06:00:00 -43200"});
    CHECK(times("0 */12 * * *", zone, utc(1969y / 12 / 31, 13h), 4) ==
          Times{"1969-12-31 12:00:00 -43200", "1970-01-01 00:00:00 -43200", "1970-01-01 12:00:00 -43200",
                "1970-01-02 00:00:00 -43200"});
}

TEST_CASE("Calendar: a time that matches only shortly before the clocks go back is found again after that") {
    CHECK(times("59 */23 25 10 *", zones::berlin(), utc(2026y / 1 / 1), 2) ==
          Times{"2026-10-25 00:59:00 +7200", "2026-10-25 23:59:00 +3600"});
    CHECK(times("59 */2 25 10 *", zones::berlin(), utc(2026y / 10 / 24, 23h), 2) ==
          Times{"2026-10-25 02:59:00 +7200", "2026-10-25 02:59:00 +3600"});
}

TEST_CASE("Calendar: the times rise from year to year until 2200") {
    for (const Zone& zone : {Zone{}, zones::berlin(), zones::lord_howe(), zones::cairo()}) {
        for (const std::string_view expression : {"0 3 1 * *", "30 2 * 3,10 SUN", "0 */6 L 2 *", "15 0 LW * *"}) {
            const Calendar calendar{expression, zone, "Test"};
            sys_seconds time = utc(1970y / 1 / 1);
            std::size_t found = 0;
            while (time < utc(2200y / 1 / 1)) {
                const auto next = calendar.next(time);
                if (!next || *next <= time) {
                    FAIL("no later time than " << shown(zone, time));
                }
                // Whoever asks from a time in between gets the same.
                if (calendar.next(time + (*next - time) / 2) != next || calendar.next(*next - 1s) != next) {
                    FAIL_CHECK("another time between " << shown(zone, time) << " and " << shown(zone, *next));
                }
                time = *next;
                ++found;
            }
            CHECK(found > 200);
        }
    }
}

TEST_CASE("Calendar: a rare date costs a few steps, and no expression costs more than ten thousand") {
    const auto steps_of = [](std::string_view expression, const Zone& zone, sys_seconds from) {
        const Calendar calendar{expression, zone, "Test"};
        std::size_t most = 0;
        for (int i = 0; i < 20; ++i) {
            std::size_t steps = 0;
            const auto next = calendar.next(from, steps);
            REQUIRE(next);
            from = *next;
            most = std::max(most, steps);
        }
        return most;
    };
    const sys_seconds start = utc(2026y / 1 / 1);
    for (const Zone& zone : {Zone{}, zones::berlin(), zones::lord_howe()}) {
        CHECK(steps_of("* * * * * *", zone, start) <= 8);
        CHECK(steps_of("0 3 * * *", zone, start) <= 8);
        CHECK(steps_of("0 3 1 1 *", zone, start) <= 8);
        CHECK(steps_of("0 0 29 2 *", zone, utc(2096y / 3 / 1)) <= 20);
        CHECK(steps_of("0 0 * 2 1#5", zone, start) <= 60);
        CHECK(steps_of("0 */12 * 2 1#5", zone, start) <= 60);
        CHECK(steps_of("0 0 * * 1#5", zone, start) <= 20);
    }
}

TEST_CASE("Calendar: a zone that changes its clocks as often as it may costs no more than ten thousand steps") {
    ZoneBytes file{.first_offset = 0};
    for (int i = 0; i < 2'000; ++i) file.changes.push_back({i, i % 2 == 0 ? 90'000 : -90'000});
    const Zone zone = file.zone();
    for (const std::string_view expression : {"0 3 * * *", "0 * 1 2 *"}) {
        const Calendar calendar{expression, zone, "Test"};
        sys_seconds time{-100h};
        for (int i = 0; i < 100; ++i) {
            std::size_t steps = 0;
            const auto next = calendar.next(time, steps);
            REQUIRE(next);
            if (*next <= time || steps > 10'000) FAIL_CHECK(shown(zone, time) << ", " << steps << " steps");
            time = *next;
        }
    }
}

TEST_CASE("Calendar: a zone that cannot be used is told with the expression") {
    CHECK(contains(message_of<ConfigError>([] {
                       static_cast<void>(Calendar{"0 3 * * *", "../x"});
                   }),
                   "cron expression \"0 3 * * *\": time zone \"../x\": this is no name of a zone"));
}

TEST_CASE("Calendar: what it was made of is kept") {
    const Calendar calendar{" 0  3 * * *", "+02:00"};
    CHECK(calendar.expression() == " 0  3 * * *");
    CHECK(calendar.zone() == "+02:00");
}

}  // namespace
