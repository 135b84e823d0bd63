// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/core/zone.hpp>
#include <backlite/error.hpp>

#include <backlite_catch.hpp>
#include <chosen_zones.hpp>
#include <message_of.hpp>
#include <zone_bytes.hpp>

namespace {

using namespace std::chrono_literals;
using namespace std::chrono;
using backlite::ConfigError;
using backlite::core::Stretch;
using backlite::core::Zone;
using backlite_test::ChosenZones;
using backlite_test::contains;
using backlite_test::message_of;
using backlite_test::ZoneBytes;

const ZoneBytes three{
    .first_offset = 3208, .changes = {{-1'000'000, 3600}, {1'000'000, 7200}, {2'000'000, 3600}}, .rule = "CET-1"};

std::string refusal(std::string_view bytes) {
    return message_of<ConfigError>([&] { static_cast<void>(Zone::read(bytes, "Test/Zone")); });
}

sys_seconds at(std::int64_t time) { return sys_seconds{seconds{time}}; }

TEST_CASE("Zone: a time is in the stretch that begins with the last change before it") {
    const Zone zone = three.zone();
    CHECK(zone.at(at(-1'000'001)).offset == 3208s);
    CHECK(zone.at(at(-1'000'001)).begin == (sys_seconds::min)());
    CHECK(zone.at(at(-1'000'001)).end == at(-1'000'000));
    CHECK(zone.at(at(-1'000'000)).offset == 3600s);
    CHECK(zone.at(at(1'500'000)).offset == 7200s);
    CHECK(zone.at(at(1'500'000)).begin == at(1'000'000));
    CHECK(zone.at(at(1'500'000)).end == at(2'000'000));
    CHECK(zone.at(at(2'000'000)).offset == 3600s);
    CHECK(zone.at(at(2'000'000)).begin == at(2'000'000));
    CHECK(zone.at(at(2'000'000)).end == (sys_seconds::max)());
}

TEST_CASE("Zone: after the last change of the file its rule goes on") {
    ZoneBytes file = three;
    file.rule = "CET-1CEST,M3.5.0,M10.5.0/3";
    const Zone zone = file.zone();
    CHECK(zone.at(at(1'500'000)).offset == 7200s);
    CHECK(zone.at(at(2'000'000)).begin == at(2'000'000));
    CHECK(zone.at(sys_days{2100y / 7 / 1}).offset == 2h);
    CHECK(zone.at(sys_days{2100y / 12 / 1}).offset == 1h);
}

TEST_CASE("Zone: a file without changes is its rule, and without a rule its first time") {
    CHECK(ZoneBytes{.first_offset = 60, .rule = "EST5"}.zone().at({}).offset == -5h);
    CHECK(ZoneBytes{.first_offset = 60}.zone().at({}).offset == 60s);
}

TEST_CASE("Zone: without a rule the last time of the file holds for good") {
    ZoneBytes file = three;
    file.rule.clear();
    file.changes.pop_back();
    CHECK(file.zone().at(sys_days{2200y / 1 / 1}).offset == 2h);
}

TEST_CASE("Zone: version 1 has 32 bits and no rule") {
    ZoneBytes file = three;
    file.version = '1';
    const Zone zone = file.zone();
    CHECK(zone.at(at(-1'000'001)).offset == 3208s);
    CHECK(zone.at(at(-1'000'000)).offset == 3600s);
    CHECK(zone.at(at(1'500'000)).offset == 7200s);
    CHECK(zone.at(sys_days{2200y / 1 / 1}).offset == 1h);
}

TEST_CASE("Zone: versions 2 to 4 hold times of 64 bits") {
    for (const char version : {'2', '3', '4'}) {
        const ZoneBytes file{.changes = {{-10'000'000'000, 60}, {10'000'000'000, 120}}, .version = version};
        const Zone zone = file.zone();
        CHECK(zone.at(at(-10'000'000'001)).offset == 0s);
        CHECK(zone.at(at(-10'000'000'000)).offset == 60s);
        CHECK(zone.at(at(10'000'000'000)).offset == 120s);
    }
}

TEST_CASE("Zone: other versions are refused") {
    for (const char version : {'0', '5', 'x'}) {
        const std::string told = refusal(ZoneBytes{.version = version}.bytes());
        CHECK(contains(told, "version"));
    }
}

TEST_CASE("Zone: a file that is cut at any byte is refused") {
    for (const char version : {'1', '2'}) {
        ZoneBytes file = three;
        file.version = version;
        const std::string bytes = file.bytes();
        REQUIRE_NOTHROW(Zone::read(bytes, "x"));
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            const std::string told = refusal(std::string_view{bytes}.substr(0, size));
            if (!contains(told, "cut short")) FAIL_CHECK("cut at " << size << ": " << told);
        }
    }
}

TEST_CASE("Zone: the refusal names the zone and says why") {
    CHECK(refusal("no such file") == "time zone \"Test/Zone\": its file cannot be used: it is no TZif file");
    CHECK(contains(refusal(std::string(Zone::largest_file + 1, '\0')), "larger than any zone's"));
    CHECK(contains(refusal(three.bytes() + "x"), "bytes behind its end"));

    ZoneBytes busy;
    for (int i = 0; i < 2'000; ++i) busy.changes.push_back({i, 60});
    CHECK_NOTHROW(busy.zone());
    busy.changes.push_back({2'000, 60});
    CHECK(contains(refusal(busy.bytes()), "more changes than any zone's"));
    ZoneBytes leaping = three;
    leaping.leap_seconds = 1;
    CHECK(contains(refusal(leaping.bytes()), "leap seconds"));
    ZoneBytes wrong = three;
    wrong.rule = "CET";
    CHECK(contains(refusal(wrong.bytes()), "the rule at its end"));
    wrong = three;
    wrong.changes[1].time = wrong.changes[0].time;
    CHECK(contains(refusal(wrong.bytes()), "not in order"));
    wrong = three;
    wrong.changes[1].offset = 26 * 3600 + 1;
    CHECK(contains(refusal(wrong.bytes()), "more than 26 hours"));
    wrong.changes[1].offset = -26 * 3600 - 1;
    CHECK(contains(refusal(wrong.bytes()), "more than 26 hours"));
}

TEST_CASE("Zone: changes that lead to no time, times without a name, and other numbers that lead out are refused") {
    const std::string good = ZoneBytes{.changes = {{5, 60}}, .version = '1'}.bytes();
    const std::size_t data = 44;
    const auto with = [&](std::size_t at, char byte) {
        std::string bytes = good;
        bytes[at] = byte;
        return refusal(bytes);
    };
    CHECK(contains(with(data + 4, 2), "leads to no time"));
    CHECK(contains(with(data + 5 + 4, 2), "neither summer nor winter"));
    CHECK(contains(with(data + 5 + 5, 4), "no name"));
    CHECK(contains(with(36, '\x7f'), "cut short"));
    CHECK(contains(refusal(good.substr(0, 32) + std::string(12, '\0')), "no times"));
}

TEST_CASE("Zone: damaged and cut files are read or refused, and every time is in a stretch of what was read") {
    std::mt19937_64 random{20'261'130};
    std::size_t read = 0;
    std::size_t refused = 0;
    for (int round = 0; round < 20'000; ++round) {
        ZoneBytes file = three;
        file.version = "1234"[random() % 4];
        if (random() % 2 == 0) file.rule = "CET-1CEST,M3.5.0,M10.5.0/3";
        std::string bytes = file.bytes();
        for (std::uint64_t left = random() % 4; left > 0; --left)
            bytes[random() % bytes.size()] = static_cast<char>(random());
        if (random() % 4 == 0) bytes.resize(random() % bytes.size());
        if (random() % 4 == 0) bytes.insert(random() % (bytes.size() + 1), 1, static_cast<char>(random()));
        try {
            const Zone zone = Zone::read(bytes, "damaged");
            ++read;
            for (const std::int64_t time :
                 {-9'000'000'000L, -1'000'001L, 0L, 1'999'999L, 4'000'000'000L, 9'000'000'000L}) {
                const Stretch in = zone.at(at(time));
                if (in.begin > at(time) || in.end <= at(time))
                    FAIL_CHECK("no stretch for " << time << " in round " << round);
            }
        } catch (const ConfigError&) {
            ++refused;
        }
    }
    CHECK(read > 1'000);
    CHECK(refused > 1'000);
}

TEST_CASE("Zone: UTC and fixed offsets need no file") {
    const ChosenZones none;
    for (const std::string_view name :
         {"", "UTC", "Z", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "GMT0", "Etc/GMT+0", "+00", "-00:00"}) {
        INFO(name);
        CHECK(Zone::find(name).at({}).offset == 0s);
    }
    CHECK(Zone::find("+02:00").at({}).offset == 2h);
    CHECK(Zone::find("+02").at({}).offset == 2h);
    CHECK(Zone::find("-0330").at({}).offset == -(3h + 30min));
    CHECK(Zone::find("+23:59").at({}).offset == 23h + 59min);
    CHECK(Zone::find("Etc/GMT-2").at({}).offset == 2h);
    CHECK(Zone::find("Etc/GMT+12").at({}).offset == -12h);
    CHECK(Zone::find("Etc/GMT-14").at({}).offset == 14h);
    CHECK(Zone::find("+02:00").at({}).end == (sys_seconds::max)());
}

TEST_CASE("Zone: what is no offset is no zone") {
    const ChosenZones none;
    for (const std::string_view name : {"+2", "+24:00", "+02:60", "02:00", "+02:0", "+2:00", "+02:00:00", "+", "-",
                                        "+ab", "+02-00", "Etc/GMT-15", "Etc/GMT+13", "Etc/GMT-02", "UTC+2", "GMT+2"}) {
        INFO(name);
        CHECK_THROWS_AS(Zone::find(name), ConfigError);
    }
}

TEST_CASE("Zone: a zone is read from the system's folder by its name") {
    const ChosenZones zones;
    zones.put("Test/Zone_A-1", ZoneBytes{.rule = "EST5"}.bytes());
    CHECK(Zone::find("Test/Zone_A-1").at({}).offset == -5h);
    CHECK(contains(message_of<ConfigError>([] { static_cast<void>(Zone::find("Test/Zone_B")); }),
                   "time zone \"Test/Zone_B\" is unknown"));
    zones.put("Damaged", "TZif2");
    CHECK(contains(message_of<ConfigError>([] { static_cast<void>(Zone::find("Damaged")); }), "\"Damaged\": its file"));
    zones.put("Large", std::string(300'000, 'x'));
    CHECK(contains(message_of<ConfigError>([] { static_cast<void>(Zone::find("Large")); }), "larger than any zone's"));
}

TEST_CASE("Zone: names that lead out of the folder are refused") {
    const ChosenZones zones;
    zones.put("inside/Zone", ZoneBytes{}.bytes());
    zones.put("Zone", ZoneBytes{}.bytes());
    CHECK_NOTHROW(Zone::find("inside/Zone"));
    const std::string there = zones.folder() + "/Zone";
    const std::string_view with_zero{"Zone\0x", 6};
    for (const std::string_view name :
         {std::string_view{"inside/../Zone"}, std::string_view{"../Zone"}, std::string_view{there},
          std::string_view{"/Zone"}, std::string_view{"./Zone"}, std::string_view{"inside//Zone"},
          std::string_view{"Zone/"}, std::string_view{".."}, std::string_view{".hidden"},
          std::string_view{"inside/.hidden"}, std::string_view{" Zone"}, std::string_view{"Zone\n"}, with_zero,
          std::string_view{"Zone:x"}}) {
        INFO(name);
        CHECK(contains(message_of<ConfigError>([&] { static_cast<void>(Zone::find(name)); }),
                       "this is no name of a zone"));
    }
    const std::string long_name(1'000, 'x');
    CHECK(message_of<ConfigError>([&] { static_cast<void>(Zone::find(long_name)); }) ==
          "time zone \"" + std::string(64, 'x') + "\": this is no name of a zone");
}

TEST_CASE(
    "Zone: the system's own files are read, and the standard library's zones are the same from now on where it has "
    "them") {
    std::vector<std::string> missing;
    for (const std::string_view name :
         {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo", "Asia/Kolkata",
          "America/Sao_Paulo", "Africa/Casablanca", "Europe/Dublin"}) {
        INFO(name);
        try {
            const Zone ours = Zone::of_file(name);
            CHECK(Zone::find(name).at({}).offset == ours.at({}).offset);
            const auto theirs = Zone::of_library(name);
            if (!theirs) continue;
            for (sys_seconds time = sys_days{2026y / 1 / 1}; time < sys_days{2150y / 1 / 1}; time += 97h) {
                const auto one = ours.at(time);
                const auto other = theirs->at(time);
                if (one.offset != other.offset) FAIL_CHECK("another offset at " << time.time_since_epoch().count());
            }
        } catch (const ConfigError& error) {
            if (!contains(error.what(), "is unknown")) throw;
            missing.emplace_back(name);
        }
    }
    if (!missing.empty()) WARN("NOT TESTED: this system lacks zones, install tzdata: " << missing.size() << " of 9");
}

}  // namespace
