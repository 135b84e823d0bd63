// SPDX-License-Identifier: MIT
// The library's calendar beside a second implementation, on random pairs of time zone and expression, over 50 years
// each.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/core/calendar.hpp>
#include <backlite/core/zone.hpp>
#include <backlite/error.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <message_of.hpp>
#include <second_calendar.hpp>

namespace {

using backlite::ConfigError;
using backlite::core::Calendar;
using backlite::core::Zone;
using backlite_test::contains;
using backlite_test::Harness;
using backlite_test::SecondClock;
using backlite_test::SecondCron;
using backlite_test::SecondDate;

constexpr std::int64_t day_length = 86'400;

/// The zones of the system, but for those that count leap seconds; in order, so that a seed picks the same.
std::vector<std::string> zones_of_the_system() {
    const char* const chosen = std::getenv("TZDIR");
    const std::filesystem::path folder = chosen == nullptr ? "/usr/share/zoneinfo" : chosen;
    std::vector<std::string> names;
    std::error_code none;
    for (std::filesystem::recursive_directory_iterator entry{folder, none}, end; entry != end; ++entry) {
        const std::string name = entry->path().lexically_relative(folder).string();
        if (name == "right" || name == "posix") {
            entry.disable_recursion_pending();
            continue;
        }
        std::string begin(4, '\0');
        if (entry->is_regular_file() && std::ifstream{entry->path(), std::ios::binary}.read(begin.data(), 4) &&
            begin == "TZif") {
            names.push_back(name);
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

std::int64_t first_day_of(int year) {
    return std::chrono::sys_days{std::chrono::year{year} / 1 / 1}.time_since_epoch().count();
}

bool ever_matches(const SecondCron& cron) {
    for (std::int64_t day = first_day_of(2000); day < first_day_of(2400); ++day) {
        if (cron.matches(SecondDate::of(day))) return true;
    }
    return false;
}

struct Window {
    std::int64_t begin = 0;
    std::int64_t end = 0;
};

/// The whole time if it has few slots; else pieces of it, around changes of the clocks and elsewhere.
std::vector<Window> windows_of(const SecondCron& cron, const SecondClock& clock, Window whole,
                               std::mt19937_64& random) {
    std::vector<std::int64_t> days;
    for (std::int64_t day = whole.begin / day_length; day * day_length < whole.end; ++day) {
        if (cron.matches(SecondDate::of(day))) days.push_back(day);
    }
    constexpr std::size_t few = 3'000;
    if (days.size() * cron.times_a_day() <= few) return {whole};
    const auto length = std::max<std::int64_t>(
        1'800, day_length * static_cast<std::int64_t>(few / 4) / static_cast<std::int64_t>(cron.times_a_day()));
    std::vector<Window> windows;
    const auto put = [&](std::int64_t middle) {
        const std::int64_t begin = middle - length / 2;
        windows.push_back({std::max(begin, whole.begin), std::min(begin + length, whole.end)});
    };
    for (int i = 0; i < 4; ++i) {
        put(clock.parts()[random() % clock.parts().size()].begin);
        put(days[random() % days.size()] * day_length + static_cast<std::int64_t>(random() % day_length));
    }
    windows.erase(std::remove_if(windows.begin(), windows.end(), [](const Window& w) { return w.begin >= w.end; }),
                  windows.end());
    return windows;
}

std::vector<std::int64_t> times_of(const Calendar& calendar, Window window) {
    std::vector<std::int64_t> found;
    std::chrono::sys_seconds time{std::chrono::seconds{window.begin - 1}};
    while (const auto next = calendar.next(time)) {
        if (*next <= time) throw std::logic_error("not later than before");
        time = *next;
        if (time.time_since_epoch().count() >= window.end) break;
        found.push_back(time.time_since_epoch().count());
    }
    return found;
}

TEST_CASE("calendar: random expressions in random zones have the times of a second implementation over fifty years") {
    const Harness harness("calendar", 60);
    const std::vector<std::string> names = zones_of_the_system();
    if (names.empty()) {
        WARN("NOT TESTED: this system has no time zones, install tzdata");
        return;
    }
    constexpr std::size_t each_zone = 5;
    std::unique_ptr<SecondClock> clock;
    std::string name;
    Window whole;
    std::size_t slots = 0;
    std::size_t never = 0;
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        // The zone goes by every fifth round, so that a round can be played alone.
        std::mt19937_64 random{harness.seed() * 1'000'003 + round};
        if (round % each_zone == 0 || clock == nullptr) {
            std::mt19937_64 of_zone{harness.seed() * 1'000'003 + round / each_zone * each_zone};
            of_zone.discard(700);
            name = names[of_zone() % names.size()];
            const int year = 1950 + static_cast<int>(of_zone() % 200);
            whole = {first_day_of(year) * day_length, first_day_of(year + 50) * day_length};
            clock = std::make_unique<SecondClock>(name, whole.begin - 10 * day_length, whole.end + 10 * day_length);
        }
        if (harness.skips(round)) continue;
        const SecondCron cron{random};
        INFO("round " << round << ": \"" << cron.text() << "\" in " << name << ", from second " << whole.begin);
        std::optional<Calendar> calendar;
        try {
            calendar.emplace(cron.text(), Zone::of_file(name), name);
        } catch (const ConfigError& error) {
            INFO(error.what());
            REQUIRE(contains(error.what(), "no date matches"));
            REQUIRE_FALSE(ever_matches(cron));
            ++never;
            continue;
        }
        for (const Window& window : windows_of(cron, *clock, whole, random)) {
            const std::vector<std::int64_t> wanted = cron.times(*clock, window.begin, window.end);
            const std::vector<std::int64_t> found = times_of(*calendar, window);
            const auto [one, other] = std::mismatch(found.begin(), found.end(), wanted.begin(), wanted.end());
            INFO("first difference: " << (one == found.end() ? 0 : *one) << " instead of "
                                      << (other == wanted.end() ? 0 : *other));
            REQUIRE((one == found.end() && other == wanted.end()));
            slots += wanted.size();
        }
    }
    fmt::print("calendar: {} slots alike, {} expressions that no date matches\n", slots, never);
    CHECK((slots > 1'000 || harness.rounds() < 50));
}

}  // namespace
