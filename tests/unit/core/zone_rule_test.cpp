// SPDX-License-Identifier: MIT
#include <chrono>
#include <optional>
#include <string_view>

#include <backlite/core/zone_rule.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using namespace std::chrono;
using backlite::core::Stretch;
using backlite::core::ZoneRule;

ZoneRule rule(std::string_view text) {
    const auto found = ZoneRule::parse(text);
    REQUIRE(found);
    return *found;
}

TEST_CASE("ZoneRule: without summer time there is one stretch for good") {
    const Stretch all = rule("IST-5:30").at(sys_days{2026y / 7 / 1});
    CHECK(all.offset == 5h + 30min);
    CHECK(all.begin == (sys_seconds::min)());
    CHECK(all.end == (sys_seconds::max)());
}

TEST_CASE("ZoneRule: the sign is that of POSIX, with seconds where there are some") {
    CHECK(rule("EST5").at({}).offset == -5h);
    CHECK(rule("<-03>3").at({}).offset == -3h);
    CHECK(rule("<+0330>-3:30").at({}).offset == 3h + 30min);
    CHECK(rule("LMT-0:53:28").at({}).offset == 53min + 28s);
    CHECK(rule("XXX+1").at({}).offset == -1h);
}

TEST_CASE("ZoneRule: summer time begins and ends on the weekdays of the rule") {
    const ZoneRule berlin = rule("CET-1CEST,M3.5.0,M10.5.0/3");
    const sys_seconds spring = sys_days{2026y / 3 / 29} + 1h;
    const sys_seconds autumn = sys_days{2026y / 10 / 25} + 1h;
    CHECK(berlin.at(spring - 1s).offset == 1h);
    CHECK(berlin.at(spring - 1s).end == spring);
    CHECK(berlin.at(spring).offset == 2h);
    CHECK(berlin.at(spring).begin == spring);
    CHECK(berlin.at(spring).end == autumn);
    CHECK(berlin.at(autumn).offset == 1h);
    CHECK(berlin.at(autumn).end == sys_days{2027y / 3 / 28} + 1h);
    CHECK(berlin.at(sys_days{2026y / 1 / 1}).begin == sys_days{2025y / 10 / 26} + 1h);
}

TEST_CASE("ZoneRule: week 2 is the second of its weekday, and week 5 the last one") {
    const ZoneRule new_york = rule("EST5EDT,M3.2.0,M11.1.0");
    CHECK(new_york.at(sys_days{2026y / 7 / 1}).begin == sys_days{2026y / 3 / 8} + 7h);
    CHECK(new_york.at(sys_days{2026y / 7 / 1}).end == sys_days{2026y / 11 / 1} + 6h);
}

TEST_CASE("ZoneRule: in the south summer time goes over the end of the year") {
    const ZoneRule sydney = rule("AEST-10AEDT,M10.1.0,M4.1.0/3");
    const Stretch summer = sydney.at(sys_days{2026y / 1 / 1});
    CHECK(summer.offset == 11h);
    CHECK(summer.begin == sys_days{2025y / 10 / 4} + 16h);
    CHECK(summer.end == sys_days{2026y / 4 / 4} + 16h);
}

TEST_CASE("ZoneRule: the amount of summer time is what the rule says, also less than nothing") {
    CHECK(rule("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0").at(sys_days{2026y / 1 / 1}).offset == 11h);
    const ZoneRule dublin = rule("IST-1GMT0,M10.5.0,M3.5.0/1");
    CHECK(dublin.at(sys_days{2026y / 1 / 1}).offset == 0h);
    CHECK(dublin.at(sys_days{2026y / 7 / 1}).offset == 1h);
}

TEST_CASE("ZoneRule: days by their number count 29 February or do not") {
    const ZoneRule julian = rule("XXX0YYY,J60/0,J300/0");
    CHECK(julian.at(sys_days{2026y / 7 / 1}).begin == sys_days{2026y / 3 / 1});
    CHECK(julian.at(sys_days{2028y / 7 / 1}).begin == sys_days{2028y / 3 / 1});
    CHECK(rule("XXX0YYY,J59/0,J300/0").at(sys_days{2028y / 7 / 1}).begin == sys_days{2028y / 2 / 28});
    const ZoneRule counted = rule("XXX0YYY,59/0,300/0");
    CHECK(counted.at(sys_days{2026y / 7 / 1}).begin == sys_days{2026y / 3 / 1});
    CHECK(counted.at(sys_days{2028y / 7 / 1}).begin == sys_days{2028y / 2 / 29});
}

TEST_CASE("ZoneRule: times of day may be negative, or of another day") {
    CHECK(rule("<-02>2<-01>,M3.5.0/-1,M10.5.0/0").at(sys_days{2026y / 7 / 1}).begin == sys_days{2026y / 3 / 29} + 1h);
    CHECK(rule("IST-2IDT,M3.4.4/26,M10.5.0").at(sys_days{2026y / 7 / 1}).begin == sys_days{2026y / 3 / 27});
    CHECK(rule("XXX0YYY,J1/-167,J180/167").at(sys_days{2025y / 12 / 26}).offset == 1h);
}

TEST_CASE("ZoneRule: summer time that ends as the next begins goes on") {
    const ZoneRule always = rule("EST5EDT,0/0,J365/25");
    for (const sys_days day : {2026y / 1 / 1, 2026y / 7 / 1, 2026y / 12 / 31}) CHECK(always.at(day).offset == -4h);
    CHECK(always.at(sys_days{2027y / 1 / 1} + 5h).offset == -4h);
    CHECK(always.at(sys_days{2027y / 1 / 1} + 4h).offset == -4h);
}

TEST_CASE("ZoneRule: whole stretches follow each other without a hole for two hundred years") {
    for (const std::string_view text :
         {"CET-1CEST,M3.5.0,M10.5.0/3", "AEST-10AEDT,M10.1.0,M4.1.0/3", "XXX0YYY,J1/-167,J180/167"}) {
        const ZoneRule one = rule(text);
        Stretch last = one.at(sys_days{2000y / 7 / 1});
        for (int i = 0; i < 400; ++i) {
            const Stretch next = one.at(last.end);
            CHECK(next.begin == last.end);
            CHECK(next.end > next.begin);
            CHECK(next.offset != last.offset);
            last = next;
        }
        CHECK(last.begin > sys_days{2199y / 1 / 1});
    }
}

TEST_CASE("ZoneRule: what is no rule is refused") {
    for (const std::string_view text : {"",
                                        "CET",
                                        "CE-1",
                                        "-1",
                                        "CET-",
                                        "CET-25",
                                        "CET-1:60",
                                        "CET-1CEST",
                                        "CET-1CEST,",
                                        "CET-1CEST,M3.5.0",
                                        "CET-1CEST,M0.5.0,M10.5.0",
                                        "CET-1CEST,M13.5.0,M10.5.0",
                                        "CET-1CEST,M3.0.0,M10.5.0",
                                        "CET-1CEST,M3.6.0,M10.5.0",
                                        "CET-1CEST,M3.5.7,M10.5.0",
                                        "CET-1CEST,M3.5,M10.5.0",
                                        "CET-1CEST,J0,J300",
                                        "CET-1CEST,J366,J300",
                                        "CET-1CEST,366,300",
                                        "CET-1CEST,M3.5.0/168,M10.5.0",
                                        "CET-1CEST,M3.5.0,M10.5.0,",
                                        "CET-1CEST,M3.5.0,M10.5.0 ",
                                        "<+03-3",
                                        "<+03>",
                                        "<>3",
                                        "CET-1CEST,M3.5.0,M10.5.0/3:60",
                                        ":Europe/Berlin",
                                        "CET-99999999999999999999"}) {
        INFO(text);
        CHECK_FALSE(ZoneRule::parse(text));
    }
}

}  // namespace
