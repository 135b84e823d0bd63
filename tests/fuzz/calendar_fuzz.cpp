// SPDX-License-Identifier: MIT
// Any bytes as a file of a time zone, and any text as a cron expression. Each is read, or refused with a ConfigError.
// What was read has a next time for every time, which is later, in few steps, and the same for whoever asks in between.
//     CXX=clang++ cmake -C cmake/fuzz.cmake -S . -B build/fuzz -G Ninja && cmake --build build/fuzz
//     tests/fuzz/run 600 calendar         ten minutes; a finding is left in build/fuzz/findings/
//     build/fuzz/tests/fuzz/calendar_fuzz FILE         runs one input again
// An input is an expression, a line feed, and the file. A file that is refused gives way to UTC.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/core/calendar.hpp>
#include <backlite/core/zone.hpp>
#include <backlite/error.hpp>

#include <zone_bytes.hpp>

#include "demand.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using backlite::ConfigError;
using backlite::core::Calendar;
using backlite::core::Stretch;
using backlite::core::Zone;
using backlite_fuzz::demand;
using namespace std::chrono_literals;

std::optional<Zone> zone_of(std::string_view bytes) {
    try {
        return Zone::read(bytes, "fuzz");
    } catch (const ConfigError&) {
        return std::nullopt;
    }
}

std::optional<Calendar> calendar_of(std::string_view expression, const Zone& zone) {
    try {
        return Calendar{expression, zone, "fuzz"};
    } catch (const ConfigError&) {
        return std::nullopt;
    }
}

/// From time to time an input begins anew from one that is sound: by chance a file rarely is.
std::string sound(unsigned seed) {
    std::minstd_rand random{seed};
    const std::vector<std::string> expressions{"30 2 * * *",       "*/7 * * * MON#2", "0 0 29 2 ?",
                                               "5 4 3 L-2 */2 5L", "@daily",          "0 */5 1W 1-6 *"};
    const std::vector<std::string> rules{"", "CET-1CEST,M3.5.0,M10.5.0/3", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
                                         "EST5", "XXX0YYY,J60/0,300/9"};
    backlite_test::ZoneBytes file{.rule = rules[random() % rules.size()], .version = "1234"[random() % 4]};
    std::int64_t time = -2'000'000'000;
    for (auto left = random() % 6; left > 0; --left) {
        time += static_cast<std::int64_t>(random() % 900'000'000);
        file.changes.push_back({time, static_cast<std::int32_t>(random() % 187'000) - 93'500});
    }
    return expressions[random() % expressions.size()] + '\n' + file.bytes();
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
    if (seed % 50 == 0) {
        const std::string begin = sound(seed);
        if (begin.size() <= max_size) {
            std::copy(begin.begin(), begin.end(), data);
            return begin.size();
        }
    }
    return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string input(reinterpret_cast<const char*>(data), size);
    const std::size_t end = input.find('\n');
    const std::string_view expression = std::string_view{input}.substr(0, end);
    const std::string_view file =
        end == std::string::npos ? std::string_view{} : std::string_view{input}.substr(end + 1);
    const Zone zone = zone_of(file).value_or(Zone{});
    const auto calendar = calendar_of(expression, zone);
    for (const std::int64_t from : {-9'000'000'000L, -1L, 1'774'746'000L, 9'000'000'000L}) {
        std::chrono::sys_seconds time{std::chrono::seconds{from}};
        const Stretch in = zone.at(time);
        demand(in.begin <= time && in.end > time, "a time is in its stretch");
        for (int i = 0; calendar && i < 5; ++i) {
            std::size_t steps = 0;
            const auto next = calendar->next(time, steps);
            demand(next.has_value(), "every expression has a next time");
            demand(*next > time, "the next time is later");
            demand(steps <= 10'000, "it takes few steps");
            demand(calendar->next(*next - 1s) == next, "who asks shortly before gets the same");
            demand(calendar->next(time + (*next - time) / 2) == next, "and who asks in between");
            time = *next;
        }
    }
    return 0;
}
