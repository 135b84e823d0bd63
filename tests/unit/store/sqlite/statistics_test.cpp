// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/id.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/statistics.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::Minute;
using detail::Ms;
using detail::Us;
using store::Tally;
using store::sqlite::Statistics;
using store::sqlite::Tallies;

constexpr std::int64_t most = (std::numeric_limits<std::int64_t>::max)();

struct Book : TestDatabase {
    void count(const std::vector<Tally>& tallies) {
        write([&](store::sqlite::Repository& all) { all.statistics.add(tallies); });
    }
    [[nodiscard]] std::string rows(std::int64_t span) {
        return query(
            fmt::format("SELECT start, queue, added, started, succeeded, failed, retried, wait_ms, run_us "
                        "FROM backlite_stats WHERE span = {} ORDER BY start, queue",
                        span));
    }
};

detail::AttemptResult attempt(detail::RowChange resolution, Ms executed_at, Us duration) {
    detail::AttemptResult resolved;
    resolved.resolution = resolution;
    resolved.executed_at = executed_at;
    resolved.duration = duration;
    return resolved;
}

TEST_CASE("tally: one for each stretch of tasks of the same queue") {
    const std::array<detail::NewTask, 4> tasks{{{.queue = "a"}, {.queue = "a"}, {.queue = "b"}, {.queue = "a"}}};
    const std::vector<Tally> found = store::sqlite::tally(tasks, Ms{120'000});
    REQUIRE(found.size() == 3);
    CHECK(found[0].queue == "a");
    CHECK(found[0].added == 2);
    CHECK(found[0].minute == Minute{2});
    CHECK(found[1].queue == "b");
    CHECK(found[2].added == 1);
}

TEST_CASE("Tallies: an attempt is counted where it started, and where it ended") {
    Tallies tallies(1);
    tallies.count(0, "mail", Ms{59'000}, attempt(detail::RowChange::complete, Ms{59'990}, Us{20'000}));
    REQUIRE(tallies.all().size() == 2);
    const Tally& start = tallies.all()[0];
    CHECK(start.minute == Minute{});
    CHECK(start.started == 1);
    CHECK(start.waited == 990ms);
    CHECK(start.succeeded == 0);
    CHECK(start.ran == Us{});
    const Tally& end = tallies.all()[1];
    CHECK(end.minute == Minute{1});
    CHECK(end.started == 0);
    CHECK(end.succeeded == 1);
    CHECK(end.ran == Us{20'000});
}

TEST_CASE("Tallies: attempts of one queue and minute are one tally, by how they ended") {
    Tallies tallies(2);
    for (int i = 0; i < 2; ++i) tallies.count(1, "mail", Ms{}, attempt(detail::RowChange::complete, Ms{10}, Us{1'000}));
    tallies.count(1, "mail", Ms{}, attempt(detail::RowChange::retry, Ms{10}, Us{1'000}));
    tallies.count(1, "mail", Ms{}, attempt(detail::RowChange::fail, Ms{10}, Us{1'000}));
    tallies.count(1, "mail", Ms{}, attempt(detail::RowChange::snooze, Ms{10}, Us{1'000}));
    tallies.count(1, "mail", Ms{},
                  attempt(detail::RowChange::release, Ms{10}, Us{1'000}));  // as if it had never started
    tallies.count(0, "bills", Ms{}, attempt(detail::RowChange::complete, Ms{10}, Us{1'000}));
    REQUIRE(tallies.all().size() == 2);
    const Tally& mail = tallies.all()[0];
    CHECK(mail.queue == "mail");
    CHECK(mail.started == 5);
    CHECK(mail.succeeded == 2);
    CHECK(mail.retried == 1);
    CHECK(mail.failed == 1);
    CHECK(mail.waited == 50ms);
    CHECK(mail.ran == Us{5'000});
    CHECK(tallies.all()[1].queue == "bills");
}

TEST_CASE("Tallies: times of nonsense do not overflow") {
    Tallies tallies(1);
    const std::int64_t least = (std::numeric_limits<std::int64_t>::min)();
    for (const std::int64_t due : {least, std::int64_t{0}, most}) {
        for (const std::int64_t start : {std::int64_t{0}, most}) {
            for (const std::int64_t duration : {least, most}) {
                tallies.count(0, "mail", Ms{due}, attempt(detail::RowChange::complete, Ms{start}, Us{duration}));
            }
        }
    }
    std::int64_t started = 0;
    for (const Tally& tally : tallies.all()) {
        started += tally.started;
        CHECK(tally.waited >= 0ms);
        CHECK(tally.ran >= Us{});
    }
    CHECK(started == 12);
}

TEST_CASE("Statistics: what is added to the same minute and queue is summed up, in any transaction") {
    Book book;
    book.count({{.minute = Minute{61}, .queue = "mail", .added = 1, .started = 2, .succeeded = 3}});
    book.count({{.minute = Minute{61}, .queue = "mail", .failed = 4, .retried = 5, .waited = 6ms, .ran = Us{7}},
                {.minute = Minute{61}, .queue = "mail", .added = 10},
                {.minute = Minute{61}, .queue = "bills", .added = 1}});
    CHECK(book.rows(1) == "61|bills|1|0|0|0|0|0|0\n61|mail|11|2|3|4|5|6|7");
}

TEST_CASE("Statistics: half hours hold the sums of their minutes") {
    Book book;
    book.count({{.minute = Minute{59}, .queue = "mail", .added = 1},
                {.minute = Minute{60}, .queue = "mail", .added = 2},
                {.minute = Minute{89}, .queue = "mail", .added = 4},
                {.minute = Minute{90}, .queue = "mail", .added = 8},
                {.minute = Minute{-1}, .queue = "mail", .added = 16}});
    CHECK(book.query("SELECT start, added FROM backlite_stats WHERE span = 30 ORDER BY start") ==
          "-30|16\n30|1\n60|6\n90|8");
}

TEST_CASE("Statistics: what is older than a week goes, a part of it in each new minute") {
    Book book;
    const std::int64_t now = 1'000'000;
    const std::string insert = "INSERT INTO backlite_stats SELECT span, start, 'mail', 1, 1, 1, 1, 1, 1, 1 FROM ";
    book.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) " + insert +
                 "(SELECT 1 AS span, i AS start FROM n UNION ALL SELECT 30, i * 30 FROM n)");
    book.execute(insert + fmt::format("(SELECT 1 AS span, {} AS start)", now - 60 - Statistics::kept.count()));
    book.execute(insert + fmt::format("(SELECT 1 AS span, {} AS start)", now - 60));
    const std::string count = "SELECT count(*) FROM backlite_stats WHERE span = 1";
    REQUIRE(book.query(count) == "1502");
    book.count({{.minute = Minute{now}, .queue = "mail", .added = 1}});
    CHECK(book.query(count) == "503");
    book.count({{.minute = Minute{now}, .queue = "mail", .added = 1}});
    CHECK(book.query(count) == "503");
    book.count({{.minute = Minute{now + 1}, .queue = "mail", .added = 1}});
    CHECK(book.query(count) == "4");
    CHECK(book.query("SELECT start FROM backlite_stats WHERE span = 30") == fmt::format("{}", now - now % 30));
}

/// A week of minutes, up to and with `last`.
void fill_week(Book& book, std::int64_t last) {
    book.execute(
        fmt::format("WITH RECURSIVE n(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO "
                    "backlite_stats SELECT 1, i, 'mail', 1, 1, 1, 1, 1, 1, 1 FROM n",
                    last - Statistics::kept.count() + 1, last));
}

TEST_CASE("Statistics: a clock that is a year ahead for less than an hour deletes nothing") {
    Book book;
    constexpr std::int64_t last = 1'000'000;
    fill_week(book, last);
    for (std::int64_t minute = 0; minute < 60; ++minute) {
        book.count({{.minute = Minute{last + 525'600 + minute}, .queue = "mail", .added = 1}});
    }
    CHECK(book.query(fmt::format("SELECT count(*) FROM backlite_stats WHERE span = 1 AND start <= {}", last)) ==
          fmt::to_string(Statistics::kept.count()));
}

TEST_CASE("Statistics: old rows go on being deleted after a clock was ahead once") {
    Book book;
    constexpr std::int64_t last = 1'000'000;
    fill_week(book, last);
    book.count({{.minute = Minute{last + 525'600}, .queue = "mail", .added = 1}});
    book.count({{.minute = Minute{last + 1'000}, .queue = "mail", .added = 1}});
    book.count(
        {{.minute = Minute{last + 2'000}, .queue = "mail", .added = 1}});  // a thousand minutes are too old by now
    CHECK(book.query(fmt::format("SELECT min(start) FROM backlite_stats WHERE span = 1")) ==
          fmt::to_string(last + 1'000 - Statistics::kept.count()));
}

TEST_CASE("Statistics: tell the latest minute in which something happened") {
    Book book;
    CHECK(book.repository.statistics.latest_minute() == std::nullopt);
    book.count({{.minute = Minute{7'000}, .queue = "mail", .added = 1},
                {.minute = Minute{9'000}, .queue = "bills", .added = 1}});
    CHECK(book.repository.statistics.latest_minute() == Minute{9'000});
}

TEST_CASE("Statistics: a minute is known to have come by the last one that is an hour older") {
    Book book;
    Statistics& statistics = book.repository.statistics;
    CHECK(statistics.known_minute(Minute{5'000}) == Minute{5'000});  // nothing speaks against it
    book.count({{.minute = Minute{4'990}, .queue = "mail", .added = 1}});
    CHECK(statistics.known_minute(Minute{5'000}) == Minute{5'000});
    CHECK(statistics.known_minute(Minute{5'050}) == Minute{4'990});
    CHECK(statistics.known_minute(Minute{900'000}) == Minute{4'990});
    book.count({{.minute = Minute{899'999}, .queue = "mail", .added = 1}});
    CHECK(statistics.known_minute(Minute{900'000}) == Minute{4'990});
    CHECK(statistics.known_minute(Minute{900'059}) == Minute{899'999});
}

TEST_CASE("Statistics: old rows stay where nobody asks for them to be looked for") {
    Book book;
    book.count({{.minute = Minute{1}, .queue = "mail", .added = 1}});
    book.write([&](store::sqlite::Repository&) {
        Statistics(book.connection.handle(), std::nullopt)
            .add(std::vector<Tally>{{.minute = Minute{1'000'000}, .queue = "mail", .added = 1}});
    });
    CHECK(book.query("SELECT count(*) FROM backlite_stats WHERE span = 1") == "2");
}

TEST_CASE("Statistics: a number at its end stays there, and keeps nothing else from being written") {
    Book book;
    book.count({{.minute = Minute{1}, .queue = "mail", .added = 1}});
    book.execute(
        "UPDATE backlite_stats SET added = 9223372036854775807, started = 9223372036854775807, "
        "succeeded = 9223372036854775807, failed = 9223372036854775807, retried = 9223372036854775807, "
        "wait_ms = 9223372036854775807, run_us = 9223372036854775807");
    const Tally one{.minute = Minute{1},
                    .queue = "mail",
                    .added = 1,
                    .started = 1,
                    .succeeded = 1,
                    .failed = 1,
                    .retried = 1,
                    .waited = 1ms,
                    .ran = Us{1}};
    book.count({one});
    CHECK(book.query(fmt::format("SELECT count(*) FROM backlite_stats WHERE added = {0} AND started = {0} AND "
                                 "succeeded = {0} AND failed = {0} AND retried = {0} AND wait_ms = {0} AND run_us = "
                                 "{0}",
                                 most)) == "2");
}

TEST_CASE("Statistics: counting costs the same beside a thousand rows and beside a hundred thousand") {
    Book book;
    const auto fill = [&book](int from, int to) {
        book.execute(
            fmt::format("WITH RECURSIVE n(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
                        "INSERT INTO backlite_stats SELECT 1 + i % 2 * 29, 990000 + i, 'q' || i, 1, 1, 1, 1, 1, "
                        "1, 1 FROM n",
                        from, to - 1));
    };
    std::int64_t minute = 1'000'000;
    const auto steps = [&] {
        const auto take = [&book] {
            std::int64_t sum = 0;
            for (sqlite3_stmt* s = sqlite3_next_stmt(book.connection.handle(), nullptr); s != nullptr;
                 s = sqlite3_next_stmt(book.connection.handle(), s)) {
                sum += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
            }
            return sum;
        };
        minute += 1;
        (void)take();
        book.count({{.minute = Minute{minute}, .queue = "mail", .added = 1},
                    {.minute = Minute{minute}, .queue = "mail", .added = 1}});
        return take();
    };
    (void)steps();  // prepares the statements
    fill(0, 1'000);
    const std::int64_t few = steps();
    fill(1'000, 100'000);
    REQUIRE(few > 0);
    CHECK(steps() == few);
}

}  // namespace
