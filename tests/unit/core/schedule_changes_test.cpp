// SPDX-License-Identifier: MIT
#include <chrono>
#include <optional>
#include <string>

#include <backlite/base/times.hpp>
#include <backlite/core/schedule_changes.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/error.hpp>
#include <backlite/store/slots.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::ConfigError;
using backlite::Overlap;
using backlite::core::check_schedule_name;
using backlite::core::define;
using backlite::core::pause;
using backlite::core::resume;
using backlite::core::ScheduleOptions;
using backlite::detail::Ms;
using backlite::store::ScheduleRow;

constexpr Ms start{1'800'000'000'000};
const ScheduleRow wanted{.name = "a", .queue = "q", .payload = "{}", .spec = "@every 60000ms"};

std::optional<ScheduleRow> defined(const ScheduleOptions& options = {}) {
    std::optional<ScheduleRow> row;
    CHECK(define(row, wanted, options, start));
    return row;
}

TEST_CASE("Schedule changes: what is defined counts from now, and the same again changes nothing") {
    auto row = defined();
    CHECK(row->next == start + 1min);
    CHECK(row->begun == start);
    CHECK_FALSE(row->paused);
    const auto before = row;
    CHECK_FALSE(define(row, wanted, {}, start + 10min));
    CHECK(row == before);
}

TEST_CASE("Schedule changes: another task or rule keeps the slots, other times count from now") {
    auto row = defined();
    ScheduleRow other = wanted;
    other.payload = "[]";
    CHECK(define(row, other, {}, start + 10min));
    CHECK(row->payload == "[]");
    CHECK(row->next == start + 1min);  // missed, and still to be seen to
    ScheduleOptions options;
    options.overlap = Overlap::skip;
    CHECK(define(row, other, options, start + 10min));
    CHECK(row->next == start + 1min);
    other.queue = "p";
    CHECK(define(row, other, options, start + 10min));
    CHECK(row->queue == "p");
    other.spec = "@every 90000ms";
    CHECK(define(row, other, options, start + 10min));
    CHECK(row->next == start + 10min + 90s);
    other.spec = "0 3 * * *";
    other.zone = "+01:00";
    CHECK(define(row, other, options, start + 10min));
    CHECK(row->zone == "+01:00");
}

TEST_CASE("Schedule changes: a pause outlives the same definition, and a definition that says otherwise ends it") {
    ScheduleOptions paused;
    paused.paused = true;
    auto row = defined(paused);
    CHECK(row->paused == start);
    CHECK(resume(*row, start + 5min));
    CHECK_FALSE(define(row, wanted, paused, start + 6min));
    CHECK_FALSE(row->paused);
    CHECK(pause(*row, start + 7min));
    CHECK_FALSE(pause(*row, start + 8min));
    CHECK(row->paused == start + 7min);
    CHECK(define(row, wanted, {}, start + 9min + 1s));
    CHECK_FALSE(row->paused);
    CHECK(row->next == start + 10min);
    CHECK(define(row, wanted, paused, start + 11min));
    CHECK(row->paused == start + 11min);
}

TEST_CASE("Schedule changes: the end of a pause leaves out its slots") {
    auto row = defined();
    CHECK_FALSE(resume(*row, start));
    CHECK(pause(*row, start + 30s));
    CHECK(resume(*row, start + 150s));
    CHECK(row->next == start + 180s);
}

TEST_CASE("Schedule changes: a definition mends what cannot be read, which the end of a pause refuses") {
    auto row = defined();
    row->spec = "no such times";
    row->options = "no such options";
    row->paused = start;
    CHECK_THROWS_AS(resume(*row, start), ConfigError);
    CHECK(row->paused == start);
    CHECK(define(row, wanted, {}, start + 5min));
    CHECK(row->next == start + 6min);
    CHECK(row->options == "{}");
}

TEST_CASE("Schedule changes: names are at most 255 bytes of UTF-8 without NUL") {
    CHECK_NOTHROW(check_schedule_name("nightly clean-up: ü"));
    CHECK_NOTHROW(check_schedule_name(std::string(255, 'x')));
    for (const std::string& name :
         {std::string{}, std::string(256, 'x'), std::string("a\0b", 3), std::string("\xc3")}) {
        CHECK_THROWS_AS(check_schedule_name(name), ConfigError);
    }
}

}  // namespace
