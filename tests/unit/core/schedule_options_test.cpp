// SPDX-License-Identifier: MIT
#include <chrono>
#include <string>
#include <string_view>

#include <backlite/base/rows.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/error.hpp>
#include <backlite/schedule_rules.hpp>
#include <backlite/unique.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::ConfigError;
using backlite::Conflict;
using backlite::Misfire;
using backlite::Overlap;
using backlite::core::ScheduleOptions;
using backlite::detail::NewTask;
using backlite_test::message_of;

TEST_CASE("ScheduleOptions: usual ones have an empty object as text, and no text reads as they") {
    CHECK(ScheduleOptions{}.text() == "{}");
    CHECK(ScheduleOptions::read("{}") == ScheduleOptions{});
    CHECK(ScheduleOptions::read("") == ScheduleOptions{});
}

TEST_CASE("ScheduleOptions: what is written is read again") {
    ScheduleOptions options;
    options.missed = {.misfire = Misfire::all, .max_missed = 7};
    options.overlap = Overlap::replace;
    options.jitter = 30s;
    options.start_deadline = 1h;
    options.paused = true;
    options.priority = -12;
    options.expires_after = 5min;
    options.unique = {.conflict = Conflict::latest,
                      .key = "k \"ü\"",
                      .until_started = true,
                      .period = 3s,
                      .keep_row = true,
                      .keep_payload = true,
                      .keep_time = 24h};
    options.partition = {.name = "eu", .turns = 3, .in_order = true, .rate = true};
    options.max_waiting = 12;
    options.overflow = backlite::Overflow::drop_oldest;
    CHECK(ScheduleOptions::read(options.text()) == options);
    CHECK(options.bound("q")->name == "q");
    CHECK(options.bound("q")->max_waiting == 12);
    CHECK(options.bound("q")->overflow == backlite::Overflow::drop_oldest);
    CHECK_FALSE(ScheduleOptions{}.bound("q"));
    for (const Misfire misfire : {Misfire::once, Misfire::all, Misfire::skip}) {
        options.missed.misfire = misfire;
        CHECK(ScheduleOptions::read(options.text()).missed.misfire == misfire);
    }
    for (const Conflict conflict : {Conflict::keep, Conflict::reject, Conflict::replace, Conflict::latest}) {
        options.unique.conflict = conflict;
        CHECK(ScheduleOptions::read(options.text()).unique.conflict == conflict);
    }
}

TEST_CASE("ScheduleOptions: texts stay what they were, for processes of two versions compare them") {
    ScheduleOptions options;
    options.missed = {.misfire = Misfire::skip, .max_missed = 5};
    options.overlap = Overlap::skip;
    options.jitter = 1500ms;
    CHECK(options.text() == R"({"jitter_ms":1500,"max_missed":5,"misfire":"skip","overlap":"skip"})");
}

TEST_CASE("ScheduleOptions: members that a later version may know count for nothing") {
    CHECK(ScheduleOptions::read(R"({"colour":["red"],"priority":3})").priority == 3);
}

TEST_CASE("ScheduleOptions: what cannot be is refused by name") {
    for (const std::string_view text : {"[]",
                                        "7",
                                        "{",
                                        "null",
                                        "\xff",
                                        R"({"misfire":"never"})",
                                        R"({"misfire":1})",
                                        R"({"overlap":7})",
                                        R"({"max_missed":0})",
                                        R"({"max_missed":10001})",
                                        R"({"max_missed":1.5})",
                                        R"({"jitter_ms":-1})",
                                        R"({"jitter_ms":18446744073709551615})",
                                        R"({"jitter_ms":"1"})",
                                        R"({"start_deadline_ms":null})",
                                        R"({"paused":1})",
                                        R"({"priority":1001})",
                                        R"({"priority":-1001})",
                                        R"({"expires_after_ms":-5})",
                                        R"({"unique":7})",
                                        R"({"partition":[]})",
                                        R"({"partition":{"turns":-1}})",
                                        R"({"unique":{"conflict":"maybe"}})",
                                        R"({"unique":{"conflict":"keep","key":5}})"}) {
        INFO(text);
        CHECK_THROWS_AS(ScheduleOptions::read(text), ConfigError);
    }
    CHECK(message_of<ConfigError>([] { static_cast<void>(ScheduleOptions::read(R"({"overlap":7})")); }) ==
          "the options of a schedule: overlap cannot be 7");
}

TEST_CASE("ScheduleOptions: a task gives its priority, expiry and key, and gets them back") {
    NewTask task;
    task.priority = 5;
    task.expires_after = 2h;
    task.unique = std::make_shared<backlite::detail::UniqueAdd>();
    task.unique->key = "k";
    task.unique->conflict = Conflict::replace;
    task.partition = std::make_shared<backlite::detail::PartitionAdd>();
    task.partition->name = "eu";
    task.partition->turns = 2;
    ScheduleOptions options;
    options.take(task);
    const NewTask again = ScheduleOptions::read(options.text()).task();
    CHECK(again.priority == 5);
    CHECK(again.expires_after == 2h);
    REQUIRE(again.unique);
    CHECK(again.unique->key == "k");
    REQUIRE(again.partition);
    CHECK(again.partition->name == "eu");
    CHECK(again.partition->turns == 2);
    CHECK_FALSE(again.partition->in_order);
    CHECK(again.unique->conflict == Conflict::replace);
    task.unique->conflict = Conflict::reject;
    options.take(task);
    CHECK(options.task().unique->conflict == Conflict::keep);  // nobody is there to be told
    CHECK_FALSE(ScheduleOptions{}.task().unique);
}

}  // namespace
