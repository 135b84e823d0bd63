// SPDX-License-Identifier: MIT
// The dashboard's SQL: what it finds, in files of this library and of Go backlite, and what it costs.

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>

#include <backlite/store/sqlite/views/read_connection.hpp>

#include <backlite_catch.hpp>
#include <dashboard_rig.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace backlite::ui;
using backlite_test::add_finished;
using backlite_test::FinishedRow;
using backlite_test::TaskRow;
using backlite_test::TempFolder;
using backlite_test::TestDatabase;
using store::sqlite::Queries;
using store::sqlite::ReadConnection;
using store::sqlite::reason_of;
using store::sqlite::shape_of;

constexpr std::int64_t now = 10'000'000;  // in rows
constexpr Ms wall_clock{now};

constexpr const char* go_schema = R"(
CREATE TABLE backlite_tasks (id text PRIMARY KEY, created_at integer NOT NULL, queue text NOT NULL, task blob NOT NULL,
    wait_until integer, claimed_at integer, last_executed_at integer, attempts integer NOT NULL DEFAULT 0) STRICT;
CREATE TABLE backlite_tasks_completed (id text PRIMARY KEY NOT NULL, created_at integer NOT NULL, queue text NOT NULL,
    last_executed_at integer, attempts integer NOT NULL, last_duration_micro integer, succeeded integer, task blob,
    expires_at integer, error text) STRICT;
CREATE INDEX backlite_tasks_wait_until ON backlite_tasks (wait_until) WHERE wait_until IS NOT NULL;
)";

/// A file of either kind, with the same rows, and the dashboard's view of it.
class Shop {
public:
    explicit Shop(bool ours = true) {
        if (ours) {
            store::sqlite::Connection connection(config, store::sqlite::Role::writer);
            store::sqlite::Schema::install(connection, config.busy_timeout);
        }
        db.emplace(config.database, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        if (!ours) db->exec(go_schema);
        reader.emplace(config.database, std::function<SQLite::Database()>{}, Duration{1'000});
    }

    void add(const std::string& id, const std::string& queue, std::int64_t created_at, const char* wait_until = "NULL",
             const char* claimed_at = "NULL", int attempts = 0) {
        db->exec(fmt::format(
            "INSERT INTO backlite_tasks (id, queue, created_at, task, wait_until, claimed_at, attempts) VALUES "
            "('{}', '{}', {}, x'7b7d', {}, {}, {})",
            id, queue, created_at, wait_until, claimed_at, attempts));
    }
    void finish(const FinishedRow& row) { add_finished(db->getHandle(), row); }

    template <class Look>
    auto look(Look&& look) {
        return reader->read(Duration{60'000}, std::forward<Look>(look));
    }

    /// The same SQL with other bounds.
    Queries store(const Bounds& bounds) { return Queries(db->getHandle(), *shape_of(db->getHandle()), bounds); }

    TempFolder folder{};
    ClientConfig config = backlite_test::quick_config(folder.file("app.db"));
    std::optional<SQLite::Database> db{};
    std::optional<ReadConnection> reader{};
};

std::string ids(const std::vector<TaskLine>& lines) {
    std::string text;
    for (const TaskLine& line : lines) text += (text.empty() ? "" : " ") + line.id;
    return text;
}

/// Every page of a list, as long as there is a next one, parted by " | ".
template <class Ask>
std::string all_pages(Ask&& ask) {
    std::string text;
    std::optional<Cursor> after;
    for (int i = 0; i < 100; ++i) {
        const TaskList list = ask(after);
        text += (i == 0 ? "" : " | ") + ids(list.lines);
        if (!list.next) return text;
        after = list.next;
    }
    return text + " | without end";
}

TEST_CASE("ui reads: the overview counts each queue, in files of both kinds") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        shop.add("1", "a", now - 5'000);
        shop.add("2", "a", now - 1'000, "9999000");
        shop.add("3", "a", now, "10005000", "NULL", 1);
        shop.add("4", "a", now, "19000000");
        shop.add("5", "b", now - 7, "NULL", "9999999");
        shop.finish({.id = "6", .queue = "c", .executed_at = now - 60'000, .duration = 2'000'000, .error = "no"});
        shop.finish({.id = "7", .queue = "a", .executed_at = now - 60'000, .duration = 4'000'000});
        shop.finish({.id = "8", .queue = "a", .executed_at = now - 9'000'000, .duration = 4'000'000});
        const Overview view = shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}); });
        REQUIRE(view.queues.size() == 3);
        const QueueSummary& a = view.queues[0];
        CHECK(a.name == "a");
        CHECK(a.waiting == Count{2, false});
        CHECK(a.oldest_due == Ms{now - 5'000});
        CHECK(a.scheduled == Count{2, false});
        CHECK(a.next_due == Ms{now + 5'000});
        CHECK(a.retrying == Count{1, false});
        CHECK(a.succeeded == 1);
        CHECK(a.total_duration == Us{4'000'000});
        CHECK(view.queues[1].claimed == Count{1, false});
        CHECK(view.queues[1].waiting == Count{});
        CHECK(view.queues[2].failed == 1);
        CHECK(view.knows_processes == ours);
        CHECK(view.next_change == Ms{now + 5'000});
        std::uint64_t finished = 0, due = 0;
        for (const Bucket& bucket : view.buckets) {
            finished += bucket.succeeded + bucket.failed;
            due += bucket.due;
        }
        CHECK(finished == 2);
        CHECK(due == 1);
        CHECK(view.buckets[0].due == 1);
        CHECK(view.covered_from == view.from);
    }
}

TEST_CASE("ui reads: tasks of every priority are counted together, and listed by due time whatever they have") {
    Shop shop;
    for (int i = 0; i < 12; ++i) {
        shop.add(fmt::format("w{}", i), "a", now - 100 + i);
        shop.add(fmt::format("s{}", i), "a", now, fmt::format("{}", now + 1'000 + i).c_str(), "NULL", i % 2);
    }
    shop.db->exec("UPDATE backlite_tasks SET priority = 5 - rowid % 4");
    const Overview view = shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}); });
    REQUIRE(view.queues.size() == 1);
    CHECK(view.queues[0].waiting == Count{12, false});
    CHECK(view.queues[0].oldest_due == Ms{now - 100});
    CHECK(view.queues[0].scheduled == Count{12, false});
    CHECK(view.queues[0].next_due == Ms{now + 1'000});
    CHECK(view.queues[0].retrying == Count{6, false});
    CHECK(view.buckets[0].due == 12);
    CHECK(shop.look([](Queries& store) { return store.queues.unclaimed({"a"}, wall_clock, State::waiting, 7); }) ==
          Count{7, true});
    CHECK(shop.look([](Queries& store) {
        return all_pages(
            [&](const auto& after) { return store.tasks.upcoming({"a"}, State::waiting, wall_clock, after, 5); });
    }) == "w0 w1 w2 w3 w4 | w5 w6 w7 w8 w9 | w10 w11");
    CHECK(shop.look([](Queries& store) {
        return all_pages([&](const auto& after) { return store.tasks.retrying({"a"}, wall_clock, after, 4); });
    }) == "s1 s3 s5 s7 | s9 s11");
}

TEST_CASE("ui reads: the overview takes what was added and finished from the statistics") {
    Shop shop;  // it is minute 166
    shop.add("1", "a", now - 5'000);
    shop.add("2", "b", now, "19000000");
    shop.finish({.id = "6", .queue = "a", .executed_at = now - 60'000, .duration = 2'000'000});
    shop.db->exec(
        "INSERT INTO backlite_stats (span, start, queue, added, started, succeeded, failed, retried, wait_ms, run_us) "
        "VALUES (1, 100, 'a', 90, 90, 90, 90, 90, 90, 90), "  // before the hour
        "(1, 107, 'a', 3, 3, 1, 1, 1, 600, 5000), (1, 165, 'a', 4, 6, 2, 1, 3, 60, 60), "
        "(1, 166, 'a', 1, 0, 0, 0, 0, 0, 0), (1, 166, 'gone', 1, 1, 1, 0, 0, 0, 7), "
        "(30, 150, 'a', 5, 6, 2, 1, 3, 60, 60), (30, 90, 'a', 3, 3, 1, 1, 1, 600, 5000)");
    const Overview view = shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}); });
    CHECK(view.counted);
    CHECK(view.covered_from == view.from);
    REQUIRE(view.buckets.size() == 60);
    CHECK(view.buckets[0].added == 3);
    CHECK(view.buckets[0].wait == Duration{600});
    CHECK(view.buckets[0].duration == Us{5'000});
    CHECK(view.buckets[58].attempts == 6);
    CHECK(view.buckets[58].retried == 3);
    CHECK(view.buckets[59].added == 2);
    CHECK(view.buckets[59].succeeded == 1);
    // Two are there now. In the last minute one of two finished, in the one before it three, of four.
    CHECK(view.buckets[59].backlog == 2);
    CHECK(view.buckets[58].backlog == 1);
    CHECK(view.buckets[57].backlog == 0);
    REQUIRE(view.queues.size() == 3);
    CHECK(view.queues[0].succeeded == 3);
    CHECK(view.queues[0].failed == 2);
    CHECK(view.queues[0].attempts == 9);
    CHECK(view.queues[0].total_duration == Us{5'060});
    CHECK(view.queues[2].name == "gone");

    const Overview day = shop.look([](Queries& store) {
        return store.queues.overview(wall_clock, {std::chrono::days{1}, 48});
    });
    CHECK(day.buckets[47].added == 5);
    CHECK(day.buckets[45].added == 3);
    CHECK(day.covered_from == Ms{90 * 60'000});
}

TEST_CASE("ui reads: the overview of one queue is of that queue alone, in files of both kinds") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        for (const char* queue : {"a", "b"}) {
            shop.add(fmt::format("{}1", queue), queue, now - 5'000);
            shop.add(fmt::format("{}2", queue), queue, now, "10005000");
            shop.add(fmt::format("{}3", queue), queue, now - 7, "NULL", "9999999");
            shop.finish({.id = fmt::format("{}4", queue), .queue = queue, .executed_at = now - 60'000});
        }
        const auto look = [&] {
            return shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}, "b"); });
        };
        const Overview view = look();
        CHECK(view.of_one);
        REQUIRE(view.queues.size() == 1);
        CHECK(view.queues[0].name == "b");
        CHECK(view.queues[0].waiting == Count{1, false});
        CHECK(view.queues[0].scheduled == Count{1, false});
        CHECK(view.queues[0].claimed == Count{1, false});
        CHECK(view.queues[0].succeeded == 1);
        CHECK(view.buckets[58].succeeded == 1);
        CHECK(view.buckets[0].due == 1);
        if (!ours) continue;
        shop.db->exec(
            "INSERT INTO backlite_stats VALUES (1, 165, 'a', 9, 9, 9, 9, 9, 9, 9), (1, 165, 'b', 1, 2, 3, 4, 5, 6, 7), "
            "(1, 107, 'b', 1, 0, 0, 0, 0, 0, 0), (1, 106, 'b', 1, 0, 0, 0, 0, 0, 0)");
        const Overview counted = look();
        CHECK(counted.counted);
        REQUIRE(counted.queues.size() == 1);
        CHECK(counted.queues[0].attempts == 12);
        CHECK(counted.buckets[58].wait == Duration{6});
        CHECK(counted.buckets[0].added == 1);
        CHECK(counted.buckets[59].backlog == 3);
        CHECK(counted.buckets[57].backlog == 9);
    }
}

TEST_CASE("ui reads: days are counted by the clock of a zone, newest first, as far back as anything was counted") {
    Shop shop;
    constexpr std::int64_t day = 1'440;  // minutes
    const Ms late{(20 * day + 600) * 60'000};
    for (const std::int64_t start : {20 * day + 570, 20 * day, 20 * day - 30, 19 * day - 120, 18 * day + 720}) {
        shop.db->exec(
            fmt::format("INSERT INTO backlite_stats VALUES (30, {0}, 'a', 1, 2, 3, 4, 5, 6, 7), "
                        "(30, {0}, 'b', 10, 0, 0, 0, 0, 0, 0), (1, {0}, 'a', 99, 99, 99, 99, 99, 99, 99)",
                        start));
    }
    const auto days = [&](int zone, const std::string& queue) {
        std::string text;
        for (const Day& found :
             shop.look([&](Queries& s) { return s.statistics.days(late, std::chrono::minutes{zone}, queue); })) {
            text += fmt::format("{}{}:{} ", minute_of(found.from).count() - 18 * day,
                                found.counted_from > found.from ? "+" : "", found.counted.added);
        }
        return text;
    };
    CHECK(days(0, "") == "2880:22 1440:11 0+:22 ");
    CHECK(days(0, "a") == "2880:2 1440:1 0+:2 ");
    CHECK(days(120, "a") == "2760:3 1320:1 -120+:1 ");
    CHECK(days(-660, "a") == "2100:3 660+:2 ");
    CHECK(days(0, "nobody") == "2880:0 1440:0 0+:0 ");
    const Day today = shop.look([&](Queries& s) { return s.statistics.days(late, {}, "a"); }).front();
    CHECK(today.counted.attempts == 24);
    CHECK(today.counted.wait == Duration{12});
    CHECK(today.counted.duration == Us{14});
    CHECK(Shop(false).look([&](Queries& s) { return s.statistics.days(late, {}, ""); }).empty());
}

TEST_CASE("ui reads: statistics of nonsense do not overflow") {
    Shop shop;
    shop.add("1", "a", now);
    for (const char* number : {"9223372036854775807", "-9223372036854775808"}) {
        for (const char* start : {"166", "165", number}) {
            shop.db->exec(
                fmt::format("INSERT OR REPLACE INTO backlite_stats SELECT 1, {0}, 'a', {1}, {1}, {1}, {1}, "
                            "{1}, {1}, {1}",
                            start, number));
        }
        const Overview view = shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}); });
        CHECK(view.counted);
        CHECK(view.queues.size() == 1);
        CHECK(shop.look([](Queries& store) {
            return store.statistics.days(wall_clock, std::chrono::minutes{840}, "a").size();
        }) <= 7);
    }
}

TEST_CASE("ui reads: the overview says when time alone will change it") {
    Shop shop;
    const Overview view = shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}); });
    CHECK(view.next_change == Ms{now - now % 60'000 + 60'000});
}

TEST_CASE("ui reads: upcoming tasks go by due time, queue and row, and pages neither repeat nor leave out any") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        for (int i = 0; i < 7; ++i) {
            shop.add(fmt::format("a{}", i), "a", 500);  // all due at once
            shop.add(fmt::format("b{}", i), "b", 500);
            shop.add(fmt::format("c{}", i), "c", 497 + i);
        }
        shop.add("later", "b", now, "20000000");
        for (const std::size_t limit : {1U, 3U, 5U, 100U}) {
            CAPTURE(limit);
            const std::string pages = all_pages([&](const std::optional<Cursor>& after) {
                return shop.look([&](Queries& store) {
                    bool more = false;
                    return store.tasks.upcoming(store.queues.names(more), std::nullopt, wall_clock, after, limit);
                });
            });
            std::string expected = "c0 c1 c2 a0 a1 a2 a3 a4 a5 a6 b0 b1 b2 b3 b4 b5 b6 c3 c4 c5 c6 later";
            std::string got;
            for (const char c : pages) got += c == '|' ? ' ' : c;
            std::string squeezed;
            for (const char c : got) {
                if (c != ' ' || (!squeezed.empty() && squeezed.back() != ' ')) squeezed += c;
            }
            CHECK(squeezed == expected);
        }
        const auto of = [&](const char* queue, std::optional<State> state) {
            return shop.look(
                [&](Queries& store) { return ids(store.tasks.upcoming({queue}, state, wall_clock, {}, 100).lines); });
        };
        CHECK(of("b", State::scheduled) == "later");
        CHECK(of("b", State::waiting) == "b0 b1 b2 b3 b4 b5 b6");
        CHECK(of("nobody", std::nullopt).empty());
    }
}

TEST_CASE("ui reads: retries are found among what is scheduled, page by page") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        for (int i = 0; i < 9; ++i) {
            for (const char* queue : {"a", "b"}) {
                shop.add(fmt::format("{}{}", queue, i), queue, 1, fmt::to_string(now + 1 + i / 4).c_str(), "NULL",
                         i % 3);
            }
        }
        shop.add("due", "a", 1, "NULL", "NULL", 1);
        for (const std::size_t limit : {1U, 2U, 5U, 100U}) {
            CAPTURE(limit);
            std::string got;
            for (const char c : all_pages([&](const std::optional<Cursor>& after) {
                     return shop.look([&](Queries& s) {
                         return s.tasks.retrying({"a", "b"}, wall_clock, after, limit);
                     });
                 })) {
                if (c != '|' && (c != ' ' || (!got.empty() && got.back() != ' '))) got += c;
            }
            CHECK(got == "a1 a2 b1 b2 a4 a5 a7 b4 b5 b7 a8 b8");
        }
    }
}

TEST_CASE("ui reads: a look for retries stops at its bound, and the next goes on there") {
    Shop shop;
    shop.db->exec(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) INSERT INTO backlite_tasks "
        "(id, created_at, queue, task, wait_until, attempts) SELECT i, 1, iif(i % 2, 'a', 'b'), x'7b7d', 20000000 + i, "
        "i = 11999 OR i = 2 FROM n");
    Bounds bounds;
    bounds.retries = 10'000;
    Queries store = shop.store(bounds);
    const auto look = [&](const std::optional<Cursor>& after) {
        return store.tasks.retrying({"a", "b"}, wall_clock, after, 10);
    };
    const TaskList first = look({});
    CHECK(ids(first.lines) == "2");
    CHECK(first.gave_up);
    CHECK(first.looked_to > Ms{20'000'000});
    REQUIRE(first.next);
    CHECK(first.looked_at <= 10'010);
    const TaskList second = look(first.next);
    CHECK(ids(second.lines) == "11999");
    CHECK_FALSE(second.gave_up);
    CHECK_FALSE(second.next);
}

TEST_CASE("ui reads: due times at both ends of their range can be paged through") {
    Shop shop;
    shop.add("low", "a", std::numeric_limits<std::int64_t>::min());
    shop.add("high1", "a", 1, "9223372036854775807");
    shop.add("high2", "a", 1, "9223372036854775807");
    shop.add("high3", "b", 1, "9223372036854775807");
    CHECK(all_pages([&](const std::optional<Cursor>& after) {
              return shop.look([&](Queries& store) {
                  return store.tasks.upcoming({"a", "b"}, std::nullopt, wall_clock, after, 1);
              });
          }) == "low | high1 | high2 | high3");
}

TEST_CASE("ui reads: running tasks go by claim, the longest first") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        for (const char* id : {"3", "1", "2"}) shop.add(id, "a", 1, "NULL", id);
        shop.add("other", "b", 1, "NULL", "9");
        shop.add("waits", "b", 1);
        CHECK(all_pages([&](const std::optional<Cursor>& after) {
                  return shop.look([&](Queries& store) { return store.tasks.claimed("", after, 3, {}); });
              }) == "1 2 3 | other");
        CHECK(shop.look([](Queries& store) { return ids(store.tasks.claimed("b", {}, 10, {}).lines); }) == "other");
    }
}

TEST_CASE("ui reads: finished tasks go by their end, newest first, and by outcome and queue") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        for (int i = 0; i < 6; ++i) {
            shop.finish({.id = fmt::to_string(i),
                         .queue = i < 3 ? "a" : "b",
                         .error = i % 2 == 0 ? std::optional<std::string>{} : "no"});
        }
        const auto pages = [&](const Filter& filter, std::size_t limit) {
            return all_pages([&](const std::optional<Cursor>& after) {
                return shop.look([&](Queries& store) { return store.tasks.finished(filter, after, limit); });
            });
        };
        Filter filter;
        CHECK(pages(filter, 4) == "5 4 3 2 | 1 0");
        filter.state = State::failed;
        CHECK(pages(filter, 1) == "5 | 3 | 1");
        filter.state = State::succeeded;
        filter.queue = "a";
        CHECK(pages(filter, 10) == "2 0");
    }
}

TEST_CASE("ui reads: text is found in ids, errors and payloads, signs of patterns taken as they are") {
    Shop shop;
    shop.finish({.id = "one", .payload = R"({"to":"Ada_100%"})"});
    shop.finish({.id = "two", .error = "disk\\full at 50%"});
    shop.finish({.id = "three", .payload = std::nullopt});
    const auto found = [&](const std::string& text, bool in_payload = true, bool in_error = true) {
        Filter filter;
        filter.text = text;
        filter.in_payload = in_payload;
        filter.in_error = in_error;
        return shop.look([&](Queries& store) { return ids(store.tasks.finished(filter, {}, 10).lines); });
    };
    CHECK(found("hre") == "three");
    CHECK(found("ada") == "one");
    CHECK(found("ADA", false).empty());
    CHECK(found("disk") == "two");
    CHECK(found("disk", true, false).empty());
    CHECK(found("%") == "two one");
    CHECK(found("_") == "one");
    CHECK(found("\\") == "two");
    CHECK(found("a_a").empty());
    CHECK(found("'; DROP TABLE backlite_tasks; --").empty());
}

TEST_CASE("ui reads: unfinished tasks are narrowed by state, time and text") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        shop.add("waits", "a", 1'000);
        shop.add("comes", "a", 1'000, "20000000");
        shop.add("runs", "a", 1'000, "NULL", "5");
        const auto found = [&](std::optional<State> state, std::optional<Ms> since, const char* text) {
            Filter filter;
            filter.state = state;
            filter.since = since;
            filter.text = text;
            return shop.look(
                [&](Queries& store) { return ids(store.tasks.unfinished(filter, wall_clock, {}, 10).lines); });
        };
        CHECK(found({}, {}, "") == "runs comes waits");
        CHECK(found(State::waiting, {}, "") == "waits");
        CHECK(found(State::scheduled, {}, "") == "comes");
        CHECK(found(State::claimed, {}, "") == "runs");
        CHECK(found({}, wall_clock, "") == "comes");
        CHECK(found({}, {}, "wai") == "waits");
        CHECK(shop.look([](Queries& store) { return ids(store.tasks.by_id("r", wall_clock, 10)); }) == "runs");
        CHECK(shop.look([](Queries& store) { return ids(store.tasks.by_id("", wall_clock, 2)); }) == "comes runs");
    }
}

/// Adds `count` rows to backlite_tasks, ids beginning with `prefix`, columns as in the text.
void add_many(SQLite::Database& db, int count, const std::string& prefix, const std::string& queue,
              const std::string& created_at, const std::string& wait_until = "NULL",
              const std::string& claimed_at = "NULL", const std::string& attempts = "0") {
    db.exec(fmt::format(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO backlite_tasks "
        "(id, created_at, queue, task, wait_until, claimed_at, attempts) SELECT '{}' || i, {}, {}, x'7b7d', {}, {}, {} "
        "FROM n",
        count, prefix, created_at, queue, wait_until, claimed_at, attempts));
}

TEST_CASE("ui reads: tens of thousands of tasks are counted exactly, whatever other queues there are") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        add_many(*shop.db, 30'000, "w", "'q' || (i % 2)", "i");
        add_many(*shop.db, 24'000, "s", "'q' || (i % 2)", "1", "20000000 + i", "NULL", "i % 12 = 0");
        add_many(*shop.db, 300, "o", "'r' || i", "1");
        add_many(*shop.db, 11, "c", "'z'", "1", "NULL", "5");
        const Overview view = shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}); });
        CHECK_FALSE(view.more_queues);
        REQUIRE(view.queues.size() == 303);
        for (const std::size_t i : {0U, 1U}) {
            CHECK(view.queues[i].waiting == Count{15'000, false});
            CHECK(view.queues[i].scheduled == Count{12'000, false});
            CHECK(view.queues[i].oldest_due == Ms{2 - static_cast<std::int64_t>(i)});
        }
        CHECK(view.queues[302].claimed == Count{11, false});
        if (!ours) CHECK(view.queues[0].retrying == Count{2'000, false});
        CHECK(shop.look([](Queries& s) { return s.queues.unclaimed({"q0"}, wall_clock, State::waiting, 10'000); }) ==
              (ours ? Count{10'000, true} : Count{15'000, false}));
    }
}

TEST_CASE("ui reads: a count that stops says so, and stops at the same number whatever other queues there are") {
    Shop shop;
    add_many(*shop.db, 5'000, "b", "'b'", "i");
    add_many(*shop.db, 40, "s", "'s'", "i");
    add_many(*shop.db, 5'000, "r", "'r'", "1", "20000000 + i", "NULL", "i <= 5 OR i > 100");
    Bounds bounds;
    bounds.counted = 5'500;
    bounds.retries = 1'000;
    const auto count = [&] {
        std::string text;
        for (const QueueSummary& queue : shop.store(bounds).queues.overview(wall_clock, {}).queues) {
            if (queue.name.starts_with('x')) continue;
            text += fmt::format("{}:{}{} {}{} {}{}|", queue.name, queue.waiting.number, queue.waiting.more ? "+" : "",
                                queue.scheduled.number, queue.scheduled.more ? "+" : "", queue.retrying.number,
                                queue.retrying.more ? "+" : "");
        }
        return text;
    };
    bounds.counted = 10'040;
    CHECK(count() == "b:5000 0 0|r:0 5000 905+|s:40 0 0|");
    bounds.counted = 4'000;
    const std::string bounded = count();
    CHECK(bounded == "b:1000+ 0 0|r:0 1000+ 905+|s:40 0 0|");
    for (int queues = 1; queues < 10; ++queues) {
        add_many(*shop.db, 30, fmt::format("x{}-", queues), fmt::format("'x{}'", queues), "1");
        CHECK(count() == bounded);
    }
}

TEST_CASE("ui reads: of a file without our indexes every row is looked at, and what is not is said") {
    Shop shop(false);
    add_many(*shop.db, 12'000, "a", "'a'", "i");
    add_many(*shop.db, 5, "z", "'z'", "1", "NULL", "NULL");
    add_many(*shop.db, 3, "c", "'z'", "1", "NULL", "7");
    shop.add("last", "z", now, "20000000", "NULL", 1);
    shop.look([](Queries& store) {
        const Overview view = store.queues.overview(wall_clock, {});
        REQUIRE(view.queues.size() == 2);
        CHECK(view.queues[0].waiting == Count{12'000, false});
        CHECK(view.queues[1].waiting == Count{5, false});
        CHECK(view.queues[1].scheduled == Count{1, false});
        CHECK(view.queues[1].claimed == Count{3, false});
        CHECK_FALSE(view.queues[1].running);
        CHECK_FALSE(view.rows_cut);
        CHECK(store.queues.oldest_due(wall_clock) == Ms{1});
        bool more = true;
        CHECK(ids(store.tasks.upcoming(store.queues.names(more), State::scheduled, wall_clock, {}, 9).lines) == "last");
        CHECK_FALSE(more);
        CHECK(ids(store.tasks.retrying({"a", "z"}, wall_clock, {}, 9).lines) == "last");
        CHECK(ids(store.tasks.claimed("", {}, 9, {}).lines) == "c1 c2 c3");
    });
    Bounds bounds;
    bounds.unindexed = 12'000;
    Queries store = shop.store(bounds);
    const Overview view = store.queues.overview(wall_clock, {});
    CHECK(view.rows_cut);
    CHECK(view.more_queues);
    REQUIRE(view.queues.size() == 1);
    CHECK(view.queues[0].waiting == Count{12'000, true});
    CHECK(view.queues[0].claimed == Count{0, true});
    bool more = false;
    CHECK(store.queues.names(more).size() == 1);
    CHECK(more);
    CHECK(store.tasks.upcoming({"z"}, State::scheduled, wall_clock, {}, 9).rows_cut);
    CHECK(store.tasks.claimed("", {}, 9, {}).total == Count{0, true});
    // Far numbers do not mean that there are many rows.
    shop.db->exec("DELETE FROM backlite_tasks WHERE rowid BETWEEN 2 AND 11000");
    CHECK_FALSE(store.queues.overview(wall_clock, {}).rows_cut);
}

TEST_CASE("ui reads: what finished is counted in whatever order its rows were written, or it is said what was not") {
    Shop shop(false);
    for (int i = 0; i < 3'000; ++i) {
        const bool lately = i % 10 == 0 && i < 1'000;
        shop.finish({.id = fmt::to_string(i), .executed_at = lately ? now - 60'000 : 1});
    }
    const Overview view = shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}); });
    REQUIRE(view.queues.size() == 1);
    CHECK(view.queues[0].succeeded == 100);
    CHECK_FALSE(view.finished_cut);
    Bounds bounds;
    bounds.finished = 2'100;
    const Overview cut = shop.store(bounds).queues.overview(wall_clock, {});
    REQUIRE(cut.queues.size() == 1);
    CHECK(cut.queues[0].succeeded == 10);
    CHECK(cut.finished_cut);
}

TEST_CASE("ui reads: a window of time is sought in the order of the rows, and what is elsewhere is found on demand") {
    Shop shop;
    constexpr std::int64_t second = 1'000;
    shop.db->exec(fmt::format(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) INSERT INTO "
        "backlite_tasks_completed (rowid, id, created_at, queue, last_executed_at, attempts, last_duration_micro, "
        "succeeded, task) SELECT i * 1000, 'r' || i, 1, 'a', i * {}, 1, 500000, 1, x'7b7d' FROM n WHERE i % 7 > 0",
        second));
    shop.db->exec("UPDATE backlite_tasks_completed SET last_executed_at = 12000000 WHERE id = 'r3'");
    shop.db->exec("UPDATE backlite_tasks_completed SET last_executed_at = 90000000 WHERE id = 'r9000'");
    Bounds bounds;
    bounds.looked_at = 5'000;
    Queries store = shop.store(bounds);
    Filter filter;
    filter.since = Ms{12'000'000};
    filter.until = Ms{12'009'999};
    const TaskList list = store.tasks.finished(filter, {}, 50);
    CHECK(ids(list.lines) == "r12009 r12008 r12007 r12006 r12004 r12003 r12002 r12001 r12000");
    CHECK_FALSE(list.next);
    CHECK_FALSE(list.gave_up);
    CHECK(list.by_order);
    CHECK(list.looked_at < 2'500);
    CHECK(all_pages([&](const std::optional<Cursor>& after) { return store.tasks.finished(filter, after, 5); }) ==
          "r12009 r12008 r12007 r12006 r12004 | r12003 r12002 r12001 r12000");
    filter.any_order = true;
    std::string found;
    std::optional<Cursor> after;
    do {
        const TaskList all = store.tasks.finished(filter, after, 50);
        CHECK_FALSE(all.by_order);
        found += ids(all.lines);
        after = all.next;
    } while (after);
    CHECK(found == "r12009 r12008 r12007 r12006 r12004 r12003 r12002 r12001 r12000r3");
    // At both ends of the file.
    filter.any_order = false;
    filter.since = Ms{29'998'500};
    filter.until = std::nullopt;
    CHECK(ids(store.tasks.finished(filter, {}, 50).lines) == "r30000 r29999 r29998");
    filter.since = std::nullopt;
    filter.until = Ms{2'500};
    CHECK(ids(store.tasks.finished(filter, {}, 50).lines) == "r2 r1");
    filter.until = Ms{-1};
    CHECK(store.tasks.finished(filter, {}, 50).lines.empty());
}

TEST_CASE("ui reads: failed tasks go by their end, in whatever order their rows were written, and are counted") {
    for (const bool ours : {true, false}) {
        CAPTURE(ours);
        Shop shop(ours);
        for (int i = 0; i < 8; ++i) {
            shop.finish({.id = fmt::to_string(i),
                         .queue = i % 2 == 0 ? "a" : "b",
                         .executed_at = 1'000 * (ours ? 8 - i / 2 : i / 2),
                         .error = "no"});
        }
        shop.finish({.id = "good", .executed_at = 5'000});
        const auto pages = [&](const Filter& filter, std::size_t limit) {
            return all_pages([&](const std::optional<Cursor>& after) {
                return shop.look([&](Queries& store) { return store.tasks.finished(filter, after, limit); });
            });
        };
        Filter filter;
        filter.state = State::failed;
        for (const std::size_t limit : {1U, 3U, 10U}) {
            std::string ids;
            for (const char c : pages(filter, limit)) ids += c == ' ' || c == '|' ? "" : std::string(1, c);
            CHECK(ids == (ours ? "10325476" : "76543210"));
        }
        filter.queue = "a";
        CHECK(pages(filter, 10) == (ours ? "0 2 4 6" : "6 4 2 0"));
        filter.since = Ms{ours ? 6'000 : 1'000};
        filter.until = Ms{ours ? 7'999 : 2'999};
        CHECK(pages(filter, 10) == (ours ? "2 4" : "4 2"));
        const TaskList list = shop.look([&](Queries& store) { return store.tasks.finished(filter, {}, 10); });
        CHECK(list.total == (ours ? std::optional{Count{2, false}} : std::nullopt));
        CHECK_FALSE(list.by_order);
    }
}

TEST_CASE("ui reads: a failed task of any time stands in the list of failed tasks") {
    Shop shop;
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
    for (const std::int64_t time : {most, most - 1, std::int64_t{0}, least}) {
        for (const std::int64_t duration : {most, std::int64_t{0}, least})
            shop.finish(
                {.id = fmt::format("{}/{}", time, duration), .executed_at = time, .duration = duration, .error = "no"});
    }
    shop.db->exec("UPDATE backlite_tasks_completed SET last_executed_at = NULL WHERE id = '0/0'");
    Filter filter;
    filter.state = State::failed;
    std::size_t lines = 0;
    std::optional<Cursor> after;
    do {
        const TaskList list = shop.look([&](Queries& store) { return store.tasks.finished(filter, after, 1); });
        CHECK(list.total == Count{12, false});
        lines += list.lines.size();
        after = list.next;
    } while (after && lines < 20);
    CHECK(lines == 12);
}

TEST_CASE("ui reads: what succeeded or failed in a window is summed from the statistics, by the minute") {
    Shop shop;
    shop.db->exec(
        "INSERT INTO backlite_stats VALUES (1, 59, 'a', 0, 0, 1, 2, 0, 0, 0), (1, 60, 'a', 0, 0, 3, 4, 0, 0, 0), "
        "(1, 61, 'b', 0, 0, 5, 6, 0, 0, 0), (1, 90, 'a', 0, 0, 7, 8, 0, 0, 0), (30, 30, 'a', 0, 0, 1, 2, 0, 0, 0), "
        "(30, 60, 'a', 0, 0, 3, 4, 0, 0, 0), (30, 60, 'b', 0, 0, 5, 6, 0, 0, 0), (30, 90, 'a', 0, 0, 7, 8, 0, 0, 0)");
    const auto failed = [&](std::int64_t from, std::int64_t until, const char* queue) {
        return shop.look([&](Queries& store) {
            return store.statistics.finished(Ms{from * 60'000}, Ms{until * 60'000 - 1}, wall_clock, queue, true);
        });
    };
    CHECK(failed(60, 61, "") == Count{4, false});
    CHECK(failed(60, 90, "") == Count{10, false});
    CHECK(failed(60, 90, "b") == Count{6, false});
    CHECK(failed(59, 91, "a") == Count{14, false});
    CHECK(failed(60, 999, "") == Count{18, false});
    CHECK(shop.look([](Queries& store) {
        return store.statistics.finished(Ms{}, wall_clock, wall_clock, "", false);
    }) == Count{16, false});
    CHECK_FALSE(failed(0, 20, ""));
}

TEST_CASE("ui reads: a claim runs if a record of its living owner names it") {
    std::vector<Process> processes(3);
    processes[0].owner = 1;
    processes[0].alive = true;
    processes[0].inside = {{5, 50}};
    processes[1].owner = 2;
    processes[1].alive = false;
    processes[2].owner = 3;
    CHECK(is_entered(processes, 1, {5, 50}) == true);
    CHECK(is_entered(processes, 1, {6, 50}) == false);
    CHECK(is_entered(processes, 1, {5, 51}) == false);
    CHECK(is_entered(processes, 2, {5, 50}) == false);
    CHECK(is_entered(processes, 3, {5, 50}) == std::nullopt);
    CHECK(is_entered(processes, 4, {5, 50}) == false);
    CHECK(is_entered(processes, std::nullopt, {5, 50}) == std::nullopt);
}

TEST_CASE("ui reads: a look that filters stops at its bound, says how far it came, and the next goes on there") {
    Shop shop;
    shop.finish({.id = "needle", .executed_at = 40'000});
    shop.db->exec(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) INSERT INTO "
        "backlite_tasks_completed "
        "(id, created_at, queue, last_executed_at, attempts, last_duration_micro, succeeded) SELECT 'r' || i, 1, 'a', "
        "50000 + i, 1, 1, 1 FROM n");
    Bounds bounds;
    bounds.looked_at = 10'000;
    bounds.look_time = std::chrono::minutes{1};
    Queries store = shop.store(bounds);
    Filter filter;
    filter.text = "needle";
    std::optional<Cursor> after;
    std::string found;
    std::uint64_t looked_at = 0;
    for (;;) {
        const TaskList list = store.tasks.finished(filter, after, 10);
        found += ids(list.lines);
        CHECK(list.looked_at <= 10'000);
        looked_at += list.looked_at;
        // The time is that of the last row that was looked at, here one a row.
        CHECK(list.looked_to == Ms{looked_at == 25'001 ? 40'005 : 75'001 - static_cast<std::int64_t>(looked_at)});
        CHECK(list.gave_up == list.next.has_value());
        after = list.next;
        if (!after) break;
    }
    CHECK(found == "needle");
    CHECK(looked_at == 25'001);
}

TEST_CASE("ui reads: one task with the beginning of what it carries") {
    Shop shop;
    shop.add("waits", "a", 1'000, "3000", "NULL", 2);
    shop.db->exec(
        "UPDATE backlite_tasks SET crashes = 1, error = 'old', last_executed_at = 7, owner = 4, claimed_at = 9");
    shop.finish({.id = "done", .payload = std::string(100, 'x'), .error = std::string(50, 'e'), .expires_at = 77});
    const auto task = [&](const std::string& id) {
        return shop.look([&](Queries& store) { return store.tasks.task(id, wall_clock, 10); });
    };
    CHECK_FALSE(task("nobody"));
    const std::optional<TaskDetail> waits = task("waits");
    REQUIRE(waits);
    CHECK(waits->line.state == State::claimed);
    CHECK(waits->line.crashes == 1);
    CHECK(waits->line.owner == 4);
    CHECK(waits->line.attempts == 2);
    CHECK(waits->wait_until == Ms{3'000});
    CHECK(waits->error == "old");
    CHECK(waits->payload == "{}");
    const std::optional<TaskDetail> done = task("done");
    REQUIRE(done);
    CHECK(done->line.state == State::failed);
    CHECK(done->payload == std::string(10, 'x'));
    CHECK(done->payload_size == 100);
    CHECK(done->error == std::string(10, 'e'));
    CHECK(done->error_size == 50);
    CHECK(done->expires_at == Ms{77});
}

TEST_CASE("ui reads: a file whose schema changes under the reader is read anew") {
    Shop shop(false);
    shop.add("1", "a", 5);
    CHECK_FALSE(shop.look([](Queries& store) { return store.shape.ours; }));
    {
        store::sqlite::Connection connection(shop.config, store::sqlite::Role::writer);
        store::sqlite::Schema::install(connection, shop.config.busy_timeout);
    }
    CHECK(shop.look([](Queries& store) { return store.shape.ours; }));
    CHECK(shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}).queues.size(); }) == 1);
}

TEST_CASE("ui reads: a look ends when its time is up") {
    Shop shop;
    shop.db->exec(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO backlite_tasks "
        "(id, created_at, queue, task) SELECT i, 1, 'a', x'7b7d' FROM n");
    try {
        shop.reader->read(Duration{-1},
                          [](Queries& store) { return store.queues.overview(wall_clock, {}).queues.size(); });
        FAIL("it was not stopped");
    } catch (const StorageError& error) {
        CHECK(reason_of(error) == UnavailableReason::too_slow);
    }
    CHECK(shop.look([](Queries& store) { return store.queues.overview(wall_clock, {}).queues.size(); }) == 1);
}

// ---- cost -----------------------------------------------------------------------------------------------------------

std::int64_t steps_since(sqlite3* db) {
    std::int64_t sum = 0;
    for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s != nullptr; s = sqlite3_next_stmt(db, s)) {
        sum += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    return sum;
}

/// VM steps of each page's reading beside `rows` rows of each kind in each table.
std::map<std::string, std::int64_t> costs(int rows) {
    Shop shop;
    shop.db->exec("BEGIN");
    for (const char* columns : {"'w' || i, 'q' || (i % 5), i, x'7b7d', NULL, NULL, NULL",
                                "'s' || i, 'q' || (i % 5), i, x'7b7d', 20000000 + i, NULL, NULL",
                                "'g' || i, 'far', i, x'7b7d', NULL, NULL, NULL"}) {
        shop.db->exec(
            fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO "
                        "backlite_tasks (id, queue, created_at, task, wait_until, claimed_at, owner) "
                        "SELECT {} FROM n",
                        rows, columns));
    }
    for (int i = 0; i < 5; ++i) shop.add(fmt::format("c{}", i), "q1", 1, "NULL", "5");
    shop.db->exec(fmt::format(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO "
        "backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, last_duration_micro, "
        "succeeded, task, error) SELECT 'd' || i, 1, 'q' || (i % 5), {} - {} + i, 1, 5, 1, x'7b7d', NULL FROM n",
        rows, now, rows));
    shop.db->exec(
        fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) INSERT "
                    "INTO backlite_stats SELECT 1, 166 - i / 2000, 'q' || i, 1, 1, 1, 1, 1, 1, 1 FROM n "
                    "UNION ALL SELECT 30, 150 - i / 2000 * 30, 'q' || i, 1, 1, 1, 1, 1, 1, 1 FROM n",
                    rows));
    shop.db->exec("COMMIT");
    Bounds bounds;
    bounds.counted = 20'000;
    bounds.retries = 10'000;
    bounds.to_come = 20'000;
    bounds.finished = 10'000;
    bounds.looked_at = 10'000;
    Queries store = shop.store(bounds);
    const auto steps = [&](const auto& work) {
        sqlite3* db = store.queues.handle();
        work(store);  // prepares the statements
        (void)steps_since(db);
        work(store);
        return steps_since(db);
    };
    const Cursor middle{Ms{rows / 2}, rows / 2, "q2"};
    Filter failed;
    failed.state = State::failed;
    Filter text;
    text.text = "nowhere";
    std::map<std::string, std::int64_t> result;
    result["overview"] = steps([](Queries& s) { return s.queues.overview(wall_clock, {}).queues.size(); });
    result["overview of a week"] = steps([](Queries& s) {
        return s.queues.overview(wall_clock, {std::chrono::weeks{1}, 56}).queues.size();
    });
    result["overview of one queue"] =
        steps([](Queries& s) { return s.queues.overview(wall_clock, {}, "q1").queues.size(); });
    result["overview of one queue of a week"] = steps([](Queries& s) {
        return s.queues.overview(wall_clock, {std::chrono::weeks{1}, 56}, "q1").queues.size();
    });
    result["days"] = steps([](Queries& s) { return s.statistics.days(wall_clock, {}, "").size(); });
    result["days of one queue"] = steps([](Queries& s) { return s.statistics.days(wall_clock, {}, "q1").size(); });
    result["a week's counts of one queue"] = steps([](Queries& s) {
        return s.statistics.read(std::chrono::minutes{30}, wall_clock - std::chrono::weeks{1}, wall_clock, "q1",
                                 [](Ms, std::string_view, const Counted&) {});
    });
    result["running"] = steps([](Queries& s) { return s.tasks.claimed("", {}, 50, {}).lines.size(); });
    const auto upcoming = [](std::optional<Cursor> after, std::optional<State> state) {
        return [after, state](Queries& s) {
            bool more = false;
            TaskList list = s.tasks.upcoming(s.queues.names(more), state, wall_clock, after, 50);
            s.tasks.read_payloads(list.lines, 16'384);
            return list.lines.size();
        };
    };
    result["upcoming"] = steps(upcoming({}, {}));
    result["upcoming, middle"] = steps(upcoming(middle, {}));
    result["scheduled"] = steps(upcoming({}, State::scheduled));
    result["retrying, none there"] = steps([](Queries& s) {
        bool more = false;
        return s.tasks.retrying(s.queues.names(more), wall_clock, {}, 50).looked_at;
    });
    result["succeeded"] = steps([](Queries& s) { return s.tasks.finished({}, {}, 50).lines.size(); });
    result["succeeded, middle"] = steps([&](Queries& s) { return s.tasks.finished({}, middle, 50).lines.size(); });
    Filter window = text;
    window.since = Ms{now - rows / 2};
    window.until = Ms{now - rows / 2 + 20};
    result["search in a window"] = steps([&](Queries& s) { return s.tasks.finished(window, {}, 50).looked_at; });
    result["failed, none there"] = steps([&](Queries& s) { return s.tasks.finished(failed, {}, 50).lines.size(); });
    result["search"] = steps([&](Queries& s) {
        return s.tasks.finished(text, {}, 50).looked_at + s.tasks.unfinished(text, wall_clock, {}, 50).looked_at;
    });
    result["names"] = steps([](Queries& s) {
        std::set<std::string> names;
        s.statistics.add_names(wall_clock, names);
        return names.size();
    });
    result["by id"] = steps([](Queries& s) { return s.tasks.by_id("d1", wall_clock, 20).size(); });
    result["task"] = steps([](Queries& s) { return s.tasks.task("d7", wall_clock, 1'000)->payload_size; });
    result["oldest due"] = steps([](Queries& s) { return s.queues.oldest_due(wall_clock).value_or(Ms{}).count(); });
    return result;
}

TEST_CASE("ui reads: every page costs the same beside a hundred times as many rows, or stops at its bound") {
    const std::map<std::string, std::int64_t> few = costs(1'000);
    const std::map<std::string, std::int64_t> many = costs(100'000);
    // 20,000 rows, or 8,000 for each queue
    const std::set<std::string> bounded{"overview",
                                        "overview of a week",
                                        "overview of one queue",
                                        "overview of one queue of a week",
                                        "days",
                                        "retrying, none there",
                                        "search",
                                        "search in a window",
                                        "names"};
    for (const auto& [name, steps] : many) {
        CAPTURE(name, few.at(name), steps);
        CHECK(few.at(name) > 0);
        if (bounded.contains(name)) {
            CHECK(steps < 1'800'000);
        } else {
            CHECK(steps < 12'000);
            CHECK(steps <= few.at(name) + few.at(name) / 20 + 20);
        }
    }
}

}  // namespace
