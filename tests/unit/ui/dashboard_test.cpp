// SPDX-License-Identifier: MIT
// Requests and answers, without a server: pages, what is refused, what is never told, what never changes.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/ui/dashboard.hpp>

#include <backlite_catch.hpp>
#include <dashboard_rig.hpp>
#include <events.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using namespace backlite::ui;
using namespace std::chrono_literals;
using backlite_test::FinishedRow;
using backlite_test::get;
using backlite_test::header_of;
using backlite_test::Markup;
using backlite_test::parse_markup;
using backlite_test::Rig;
using backlite_test::TempFolder;
using backlite_test::without_token;

constexpr std::int64_t now = Rig::now;

struct Note {
    int number = 0;
    static QueueConfig config() { return {.name = "note"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Note, number)

bool holds(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// One task of each kind.
void fill(Rig& rig) {
    rig.add({.id = "waits", .queue = "mail", .created_at = now - 65'000, .payload = R"({"to":"ada"})"});
    rig.add({.id = "comes", .queue = "mail", .created_at = now - 5'000, .wait_until = now + 3'600'000});
    rig.add({.id = "runs", .queue = "print", .created_at = now - 9'000, .claimed_at = now - 8'000, .owner = 7});
    rig.finish(FinishedRow{
        .id = "good", .queue = "mail", .created_at = now - 99'000, .executed_at = now - 98'000, .duration = 1'500'000});
    rig.finish(FinishedRow{.id = "bad",
                           .queue = "mail",
                           .created_at = now - 99'000,
                           .executed_at = now - 90'000,
                           .attempts = 3,
                           .payload = R"({"n":9007199254740993})",
                           .error = "no such <address>"});
}

const std::vector<std::string> all_paths{"/",
                                         "/?period=day&sort=failed",
                                         "/?queue=mail&period=day",
                                         "/running",
                                         "/upcoming",
                                         "/succeeded",
                                         "/failed",
                                         "/search",
                                         "/search?q=a",
                                         "/task/waits",
                                         "/task/runs",
                                         "/task/bad",
                                         "/task/good",
                                         "/health",
                                         "/metrics"};

// ---- pages ----------------------------------------------------------------------------------------------------------

TEST_CASE("Dashboard: the overview tells what waits, runs, failed, and who works") {
    Rig rig;
    fill(rig);
    const std::string page = rig.page("/");
    const Markup markup = parse_markup(page);
    CHECK(markup.fault.empty());
    CHECK(holds(markup.text, "oldest for 1 min 5 s in mail"));
    CHECK(holds(markup.text, "no process is working"));
    CHECK(holds(markup.text, "50.0 % of the last hour"));
    CHECK(markup.elements.at("svg") == 4);
    CHECK(holds(page, "href=\"/upcoming?queue=mail&amp;state=scheduled\""));
    const nlohmann::json json = rig.json("/");
    CHECK(json["queues"][0]["queue"] == "mail");
    CHECK(json["queues"][0]["waiting"]["number"] == 1);
    CHECK(json["queues"][0]["failed"] == 1);
    CHECK(json["queues"][1]["claimed"]["number"] == 1);
}

TEST_CASE("Dashboard: each list holds its tasks and no others") {
    Rig rig;
    fill(rig);
    const auto ids = [&](const std::string& path) {
        std::string text;
        const nlohmann::json json = rig.json(path);
        for (const auto& task : json["tasks"]) text += (text.empty() ? "" : " ") + task["id"].get<std::string>();
        return text;
    };
    CHECK(ids("/running") == "runs");
    CHECK(ids("/running?queue=mail").empty());
    CHECK(ids("/upcoming") == "waits comes");
    CHECK(ids("/upcoming?state=scheduled") == "comes");
    CHECK(ids("/upcoming?queue=print").empty());
    CHECK(ids("/succeeded") == "good");
    CHECK(ids("/failed") == "bad");
    CHECK(holds(rig.page("/running"), "#7"));
    CHECK(holds(rig.page("/upcoming"), "in 1 h"));
    CHECK(holds(rig.page("/failed"), "no such &lt;address&gt;"));
    CHECK(holds(rig.page("/running?queue=none"), "Nothing is running in this queue"));
}

TEST_CASE("Dashboard: a running task of a dead process is said to be one, and queues lead to the list they stand in") {
    Rig rig;
    fill(rig);
    CHECK(holds(rig.page("/running"), "#7, which is dead"));
    CHECK(holds(rig.page("/running"), "href=\"/running?queue=print\""));
    CHECK(holds(rig.page("/failed"), "href=\"/failed?queue=mail\""));
    CHECK(holds(rig.page("/task/good"), "href=\"/succeeded?queue=mail\""));
    CHECK(holds(rig.page("/upcoming"), "href=\"/upcoming?queue=mail\""));
}

TEST_CASE("Dashboard: lists are turned page by page") {
    DashboardConfig config;
    config.page_size = 2;
    Rig rig(std::move(config));
    for (int i = 0; i < 5; ++i) rig.finish(FinishedRow{.id = fmt::format("f{}", i), .error = "no"});
    CHECK(holds(rig.page("/failed"), "5 are kept, whenever they failed"));
    std::string path = "/failed";
    std::string seen;
    for (int i = 0; i < 5; ++i) {
        const std::string page = rig.page(path);
        for (int task = 0; task < 5; ++task) {
            if (holds(page, fmt::format("/task/f{}\"", task))) seen += fmt::to_string(task);
        }
        seen += '|';
        const std::size_t next = page.find("rel=\"next\"");
        if (next == std::string::npos) break;
        const std::size_t start = page.rfind("href=\"", next) + 6;
        path = backlite_test::without_references(page.substr(start, page.find('"', start) - start));
    }
    CHECK(seen == "34|12|0|");
}

TEST_CASE("Dashboard: the page of a task tells its story") {
    Rig rig;
    fill(rig);
    const std::string bad = parse_markup(rig.page("/task/bad")).text;
    CHECK(holds(bad, "Failed for good"));
    CHECK(holds(bad, "no such <address>"));
    CHECK(holds(bad, "\"n\": 9007199254740993"));
    CHECK(holds(bad, "9 s after it was added; of earlier attempts nothing is kept"));
    const std::string waits = parse_markup(rig.page("/task/waits")).text;
    CHECK(holds(waits, "waiting for 1 min 5 s"));
    CHECK(holds(parse_markup(rig.page("/task/comes")).text, "Will be due"));
    CHECK(holds(parse_markup(rig.page("/task/runs")).text, "waited 1 s; claimed for 8 s"));
    CHECK(rig.json("/task/bad")["payload"] == R"({"n":9007199254740993})");
    CHECK(rig.ask("/task/nobody").status == 404);
}

TEST_CASE("Dashboard: payloads are shown as what they are, and large ones in part") {
    Rig rig;
    rig.add({.id = "bytes", .payload = std::string("\xff\0\x01", 3)});
    rig.add({.id = "text", .payload = "no json"});
    rig.add({.id = "large", .payload = "[\"" + std::string(5'000'000, 'x') + "\"]"});
    rig.finish(FinishedRow{.id = "none", .payload = std::nullopt});
    CHECK(holds(rig.page("/task/bytes"), "00000000  ff 00 01"));
    CHECK(rig.json("/task/bytes")["payload_hex"] == "ff0001");
    CHECK(holds(rig.page("/task/text"), "no json"));
    CHECK(holds(rig.page("/task/none"), "was not kept"));
    const std::string large = rig.page("/task/large");
    CHECK(large.size() < 60'000);
    CHECK(holds(large, "href=\"/payload/large\""));
    CHECK(rig.json("/task/large")["payload_is"] == "cut");
    const Response all = rig.ask("/payload/large");
    CHECK(all.body.size() == 5'000'004);
    CHECK(header_of(all, "Content-Type") == "text/plain; charset=utf-8");
    const Response bytes = rig.ask("/payload/bytes");
    CHECK(bytes.body == std::string("\xff\0\x01", 3));
    CHECK(header_of(bytes, "Content-Type") == "application/octet-stream");
    CHECK(header_of(bytes, "Content-Disposition").starts_with("attachment"));
    CHECK(rig.ask("/payload/none").status == 404);
    CHECK(rig.ask("/payload/nobody").status == 404);
}

TEST_CASE("Dashboard: a search that finds nothing so far says so") {
    Rig rig;
    rig.database.execute(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT "
        "i + 1 FROM n WHERE i < 100100) SELECT 'n' || i, 1, 'mail', x'7b7d' FROM n");
    const std::string text = parse_markup(rig.page("/search?q=zzz")).text;
    CHECK(holds(text, "Nothing found: looked at "));
    CHECK(holds(rig.page("/search?q=zzz"), "<section data-part=\"unfinished\">"));
    CHECK(holds(rig.page("/search?q=zzz"), "rel=\"next\" data-follow>"));
    CHECK(holds(text, " rows for this page, the last of them due 1970-01-01 00:00:00 UTC; there are more."));
}

TEST_CASE("Dashboard: a search looks in ids, errors and payloads, within what the form says") {
    Rig rig;
    fill(rig);
    const auto found = [&](const std::string& query) {
        const nlohmann::json json = rig.json("/search?" + query);
        std::string text;
        for (const char* part : {"unfinished", "finished"}) {
            if (!json.contains(part)) continue;
            for (const auto& task : json[part]["tasks"])
                text += (text.empty() ? "" : " ") + task["id"].get<std::string>();
        }
        return text;
    };
    CHECK(found("q=ADDRESS") == "bad");
    CHECK(found("q=9007199254740993") == "bad");
    CHECK(found("q=ada") == "waits");
    CHECK(found("state=failed") == "bad");
    CHECK(found("state=finished") == "bad good");
    CHECK(found("state=waiting&queue=mail") == "waits");
    CHECK(found("queue=print") == "runs");
    CHECK(found("since=1970-01-12T14:00") == "comes");
    CHECK(found("until=1970-01-12").empty());
    CHECK(rig.json("/search?q=wai")["by_id"][0]["id"] == "waits");
    CHECK(holds(parse_markup(rig.page("/search?state=waiting&queue=mail")).text, "waitingdue 1 min 5 s ago1"));
    CHECK(holds(parse_markup(rig.page("/search?state=failed")).text, "failedended 1 min"));
    CHECK(holds(rig.page("/search?q=zzz"), "No matching tasks"));
    for (const char* bad : {"/search?state=odd", "/search?since=yesterday", "/search?since=2026-13-01",
                            "/search?after=x", "/search?part=x", "/search?until=2026-01-01T25:00", "/failed?after=1",
                            "/upcoming?after=a.b", "/upcoming?state=failed", "/running?after=1.2.3"}) {
        CAPTURE(bad);
        CHECK(rig.ask(bad).status == 400);
    }
    CHECK(rig.ask("/search?q=" + std::string(201, 'a')).status == 400);
}

TEST_CASE("Dashboard: an empty file says on each page what is not there") {
    Rig rig;
    for (const char* path : {"/", "/running", "/upcoming", "/succeeded", "/failed", "/search?q=x"}) {
        CAPTURE(path);
        CHECK(holds(rig.page(path), "class=\"empty\""));
    }
}

TEST_CASE("Dashboard: the overview draws what the statistics count, and says since when") {
    Rig rig;
    fill(rig);
    rig.database.execute(
        "INSERT INTO backlite_stats (span, start, queue, added, started, succeeded, failed, retried, wait_ms, run_us) "
        "VALUES (1, 16664, 'mail', 9, 8, 6, 1, 2, 4000, 9000000)");
    const std::string page = rig.page("/");
    const Markup markup = parse_markup(page);
    CHECK(markup.fault.empty());
    CHECK(markup.elements.at("svg") == 6);
    CHECK(holds(markup.text, "9 added in the last hour"));
    CHECK(holds(markup.text, "2 retried, 1 failed for good"));
    CHECK(holds(markup.text, "Average wait 500 ms in the last hour"));
    CHECK(holds(markup.text, "Average duration 1 s in the last hour"));
    CHECK(holds(markup.text, "Counted by the programs that work on this file, since"));
    CHECK(holds(markup.text, "Failed, added, finished and average duration are of all tasks, kept or not"));
    CHECK(holds(page, "data-label=\"Added\">9</td>"));
    CHECK(holds(markup.text, "next is due in 1 h"));
    const nlohmann::json json = rig.json("/");
    CHECK(json["counted"] == true);
    CHECK(json["queues"][0]["added"] == 9);
    CHECK(json["buckets"][57]["added"] == 9);
    CHECK(json["buckets"][59]["backlog"] == 3);
    CHECK(json["buckets"][56]["backlog"] == 1);
}

TEST_CASE("Dashboard: a queue has a page of its own, with its numbers, its charts and ways on and back") {
    Rig rig;
    fill(rig);
    rig.database.execute(
        "INSERT INTO backlite_stats (span, start, queue, added, started, succeeded, failed, retried, wait_ms, run_us) "
        "VALUES (30, 16650, 'mail', 9, 8, 6, 1, 2, 4000, 9000000), (30, 16620, 'print', 70, 70, 70, 0, 0, 0, 70)");
    CHECK(holds(rig.page("/?period=day"), "href=\"/?queue=mail&amp;period=day\""));
    CHECK(holds(rig.page("/upcoming?queue=mail"), "href=\"/?queue=mail\""));
    const std::string page = rig.page("/?queue=mail&period=day");
    const Markup markup = parse_markup(page);
    CHECK(holds(markup.text, "Queue mail"));
    CHECK(holds(markup.text, "9 added in the last day"));
    CHECK(holds(markup.text, "3 in the last day"));
    CHECK(holds(markup.text, "oldest for 1 min 5 s, since 13:45"));
    CHECK_FALSE(holds(markup.text, "print"));
    CHECK(markup.elements.at("svg") == 6);
    for (const char* link :
         {"/?period=day", "/?queue=mail", "/?queue=mail&amp;period=week", "/upcoming?queue=mail&amp;state=waiting",
          "/upcoming?queue=mail&amp;state=scheduled", "/running?queue=mail", "/failed?queue=mail&amp;period=day",
          "/search?queue=mail&amp;state=finished&amp;period=day"}) {
        CAPTURE(link);
        CHECK(holds(page, fmt::format("href=\"{}\"", link)));
    }
    const nlohmann::json json = rig.json("/?queue=mail&period=day");
    CHECK(json["queues"].size() == 1);
    CHECK(json["queues"][0]["succeeded"] == 6);
    CHECK(json["buckets"][47]["added"] == 9);
    CHECK(json["buckets"][46]["added"] == 0);
    CHECK(rig.ask("/?queue=" + std::string(1'001, 'q')).status == 400);
    CHECK(holds(rig.page("/?queue=nobody"), "Nothing is known of a queue of this name"));
    CHECK_FALSE(holds(rig.page("/?queue=nobody"), "<svg"));
    rig.database.execute("INSERT INTO backlite_stats VALUES (30, 12000, 'nobody', 1, 0, 0, 0, 0, 0, 0)");
    CHECK(holds(rig.page("/?queue=nobody"), "Day by day"));
}

TEST_CASE("Dashboard: the last days are summed up, by the clock of the zone that is asked for") {
    Rig rig;
    fill(rig);
    CHECK_FALSE(holds(rig.page("/"), "Day by day"));
    rig.database.execute(
        "INSERT INTO backlite_stats (span, start, queue, added, started, succeeded, failed, retried, wait_ms, run_us) "
        "VALUES (30, 16650, 'mail', 1009, 8, 6, 1, 2, 4000, 9000000), (30, 15810, 'mail', 20, 0, 0, 0, 0, 0, 0), "
        "(30, 15780, 'print', 300, 2, 1, 1, 0, 0, 4)");
    const std::string all = parse_markup(rig.page("/")).text;
    CHECK(holds(all, "Days are those of UTC."));
    CHECK(holds(all, "Mon 1970-01-12, today so far1,00961 (14.3 %)2500 ms1 s"));
    CHECK(holds(all, "Sun 1970-01-11 from 23:0032011 (50.0 %)0< 1 ms2 µs"));
    const std::string mail = parse_markup(rig.page("/?queue=mail&zone=30")).text;
    CHECK(holds(mail, "Days are those of UTC+00:30."));
    CHECK(holds(mail, "Mon 1970-01-12, today so far1,02961"));
    CHECK(holds(mail, "Sun 1970-01-11 from 23:0000"));
    CHECK(holds(rig.page("/?zone=-210"), "Days are those of UTC-03:30."));
    CHECK(holds(rig.page("/?zone=841"), "Days are those of UTC."));
    CHECK(holds(rig.page("/?zone=x"), "Days are those of UTC."));
    const nlohmann::json days = rig.json("/?zone=30")["days"];
    REQUIRE(days.size() == 2);
    CHECK(days[0]["from"] == 950'400'000 - 30 * 60'000);
    CHECK(days[0]["added"] == 1'029);
    CHECK(days[1]["attempts"] == 2);
    CHECK(days[1]["counted_from"] == 15'780 * 60'000);
}

TEST_CASE("Dashboard: days that are not summed up for all queues are so for each") {
    Rig rig;
    rig.database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 23999) INSERT INTO backlite_stats "
        "SELECT 30, 16650 - i / 100 * 30, 'q' || (i % 100), 1, 1, 1, 1, 1, 1, 1 FROM n "
        "UNION ALL SELECT 1, 9480, 'q0', 1, 1, 1, 1, 1, 1, 1");
    CHECK(holds(rig.page("/"), "earlier days are summed up for one queue only"));
    CHECK(rig.json("/")["days"].size() == 5);
    CHECK_FALSE(holds(rig.page("/?queue=q7"), "earlier days"));
    CHECK(rig.json("/?queue=q7")["days"].size() == 6);
}

TEST_CASE("Dashboard: the number of retries leads to their list") {
    Rig rig;
    fill(rig);
    rig.add({.id = "again", .queue = "mail", .created_at = now - 5, .wait_until = now + 5'000, .attempts = 1});
    const char* link = "href=\"/upcoming?queue=mail&amp;state=retrying\"";
    CHECK(holds(rig.page("/"), link));
    CHECK(holds(rig.page("/?queue=mail"), link));
    const nlohmann::json json = rig.json("/upcoming?queue=mail&state=retrying");
    REQUIRE(json["tasks"].size() == 1);
    CHECK(json["tasks"][0]["id"] == "again");
    CHECK(holds(rig.page("/upcoming?state=retrying"), "<option value=\"retrying\" selected>"));
}

TEST_CASE("Dashboard: lists of unfinished tasks show the beginning of what they carry, or how much it is") {
    Rig rig;
    rig.add({.id = "1", .created_at = now - 9, .payload = "{\n  \"to\":\t\"<ada>\"\n}"});
    rig.add({.id = "2", .created_at = now - 8, .payload = std::string(5'000'000, 'x')});
    rig.add({.id = "3", .created_at = now - 7, .payload = std::string("\xff\0\x01", 3)});
    rig.add({.id = "4", .created_at = now - 6, .payload = std::string(16'384, 'y')});
    rig.add({.id = "5", .payload = R"({"n":1})", .claimed_at = now - 5, .owner = 7});
    const std::string page = rig.page("/upcoming");
    CHECK(holds(page, "<code>{ &quot;to&quot;: &quot;&lt;ada&gt;&quot; }</code>"));
    CHECK(holds(page, "<code>5.0 MB</code>"));
    CHECK(holds(page, "<code>3 bytes</code>"));
    CHECK(holds(page, "<code>" + std::string(64, 'y') + "…</code>"));
    CHECK(holds(rig.page("/running"), "<code>{&quot;n&quot;:1}</code>"));
    const nlohmann::json tasks = rig.json("/upcoming")["tasks"];
    CHECK(tasks[0]["payload_excerpt"] == R"({ "to": "<ada>" })");
    CHECK(tasks[1]["payload_bytes"] == 5'000'000);
    CHECK(tasks[1]["payload_excerpt"].is_null());
    for (int i = 0; i < 50; ++i) {
        rig.add({.id = fmt::format("01a212e0-1125-776b-b1f9-9f09e9fd{:04}", i),
                 .queue = "queue_of_some_length",
                 .created_at = 1,
                 .payload = std::string(500, '"')});
    }
    CHECK(rig.page("/upcoming").size() < 60'000);
}

TEST_CASE("Dashboard: names of queues may be broken at the signs in them") {
    Rig rig;
    rig.add({.id = "1", .queue = "send_mail-v2.eu/<b>_", .created_at = now - 9});
    CHECK(holds(rig.page("/"), ">send_<wbr>mail-<wbr>v2.<wbr>eu/<wbr>&lt;b&gt;_</a>"));
}

TEST_CASE("Dashboard: a search for a queue's name leads to the queue, also where none of its tasks is left") {
    Rig rig;
    fill(rig);
    rig.database.execute(
        "INSERT INTO backlite_stats VALUES (30, 16650, 'Mail Room', 1, 1, 1, 0, 0, 0, 0), "
        "(30, 15000, 'mail of old', 1, 1, 1, 0, 0, 0, 0)");
    CHECK(rig.json("/search?q=MAI")["queues"] == nlohmann::json({"Mail Room", "mail"}));
    CHECK(holds(rig.page("/search?q=mail"), "href=\"/?queue=mail\""));
    CHECK(rig.json("/search?q=ada")["queues"].empty());
    CHECK(rig.json("/search")["queues"].empty());
    CHECK_FALSE(holds(rig.page("/search?q=ada"), "Queues of such a name"));
}

TEST_CASE("Dashboard: lists of finished tasks tell when each ended, by which they are sorted") {
    Rig rig;
    rig.finish(FinishedRow{.id = "long", .executed_at = now - 90'000, .duration = 60'000'000});
    rig.finish(FinishedRow{.id = "bad", .executed_at = now - 90'000, .duration = 61'000'000, .error = "no"});
    for (const auto& [path, ago] : {std::pair{"/succeeded", "30 s ago"}, {"/failed", "29 s ago"}}) {
        CAPTURE(path);
        const std::string page = rig.page(path);
        CHECK(holds(page, "<th scope=\"col\">Finished</th>"));
        CHECK(holds(page, ago));
    }
    CHECK(rig.json("/succeeded")["tasks"][0]["finished_at"] == now - 30'000);
}

TEST_CASE("Dashboard: times too short to be measured are said to be short") {
    Rig rig;
    rig.add({.id = "runs", .created_at = now - 9, .claimed_at = now - 9, .owner = 7});
    rig.finish(FinishedRow{.id = "good", .created_at = now - 9, .executed_at = now - 9, .duration = 0});
    CHECK(holds(parse_markup(rig.page("/task/runs")).text, "waited < 1 ms; claimed for 9.0 ms"));
    const std::string good = parse_markup(rig.page("/task/good")).text;
    CHECK(holds(good, "< 1 ms after it was added"));
    CHECK(holds(good, "ran < 1 µs"));
}

TEST_CASE("Dashboard: an empty list says what would put a task there") {
    Rig rig;
    CHECK(holds(rig.page("/"), "The first task that is added brings its queue here"));
    CHECK(holds(rig.page("/upcoming"), "Each one that is added is here until it is claimed"));
    CHECK(holds(rig.page("/upcoming?state=waiting"), "from its due time until it is claimed"));
    CHECK(holds(rig.page("/upcoming?state=scheduled&queue=a"), "No task is scheduled for later in this queue."));
    CHECK(holds(rig.page("/upcoming?state=retrying"), "A failed attempt brings one here"));
    CHECK(holds(rig.page("/succeeded"), "They are kept if their queue"));
    CHECK(holds(rig.page("/failed"), "what failed without its processor deciding it is kept always"));
    CHECK(holds(rig.page("/search?q=x"), "as long as their queue"));
}

TEST_CASE("Dashboard: each page has a place where the script says politely that nothing answers any more") {
    Rig rig;
    fill(rig);
    for (const char* path : {"/", "/running", "/task/bad", "/search"}) {
        CHECK(holds(rig.page(path), R"(<p id="lost" role="status" aria-live="polite"></p></header>)"));
    }
}

TEST_CASE("Dashboard: the script that sets the theme runs before anything is drawn") {
    Rig rig;
    const std::string page = rig.page("/");
    const std::size_t script = page.find("<script src=\"");
    CHECK(script < page.find("<link rel=\"stylesheet\""));
    CHECK(page.find("></script>", script) < page.find("</head>"));
    CHECK_FALSE(holds(page, "defer"));
}

TEST_CASE("Dashboard: legends name the parts of a bar from its top down") {
    Rig rig;
    fill(rig);
    const std::string page = rig.page("/");
    CHECK(page.find("<span class=\"key bad\">failed</span>") < page.find("<span class=\"key ok\">succeeded</span>"));
    CHECK(page.find("<span class=\"key again\">retried</span>") <
          page.find("<span class=\"key bad\">failed for good</span>"));
    CHECK(holds(page, "1 failed, 1 succeeded"));
}

TEST_CASE("Dashboard: the overview stays small where every bar and every line is full") {
    Rig rig;
    for (int i = 0; i < 110; ++i) {
        const std::string queue = fmt::format("a-queue-with-a-name-of-some-length-{:03}", i);
        rig.database.execute(fmt::format(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 335) INSERT INTO backlite_stats "
            "SELECT 30, 16650 - i * 30, '{0}', 1000000, 1000000, 1000000, 1000000, 1000000, 1000000000, 1000000000 "
            "FROM n UNION ALL SELECT 1, 16666 - i, '{0}', 1000000, 1000000, 1000000, 1000000, 1000000, 1000000000, "
            "1000000000 FROM n WHERE i < 60",
            queue));
        for (const std::int64_t due : {now - 100'000, now + (i % 60) * 60'000 + 1}) {
            rig.add({.id = fmt::format("{}-{}", i, due), .queue = queue, .created_at = 0, .wait_until = due});
        }
    }
    rig.database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) INSERT INTO backlite_clients "
        "SELECT i, i, 3, 1, 'boot', 1002003 FROM n");
    CHECK(parse_markup(rig.page("/")).elements.at("rect") > 350);
    for (const char* path : {"/", "/?period=day", "/?period=week", "/?queue=a-queue-with-a-name-of-some-length-001"}) {
        CAPTURE(path);
        const std::string page = rig.page(path);
        CHECK(page.size() < 60'000);
        CHECK(holds(page, "</dialog></body></html>"));
    }
    CHECK(holds(rig.page("/"), "12 of 60 processes are shown"));
    std::size_t lines = 0;
    const std::string full = rig.page("/");
    for (std::size_t at = full.find("<tr data-row>"); at != std::string::npos; at = full.find("<tr data-row>", at + 1))
        ++lines;
    CHECK(lines >= 4);
}

TEST_CASE("Dashboard: every page is well formed and small, and links lead to pages that are there") {
    Rig rig;
    fill(rig);
    for (const std::string& path : all_paths) {
        if (path == "/health" || path == "/metrics") continue;
        CAPTURE(path);
        const std::string page = rig.page(path);
        CHECK(page.size() < 60'000);
        const Markup markup = parse_markup(page);
        CHECK(markup.fault == "");
        for (const std::string& link : markup.links) {
            CAPTURE(link);
            if (!link.starts_with('#')) CHECK(rig.ask(link).status == 200);
        }
    }
}

TEST_CASE("Dashboard: below a base path, and behind a proxy's prefix, links lead back to it") {
    DashboardConfig config;
    config.link_prefix = "/proxy";
    Rig rig(std::move(config));
    fill(rig);
    for (const char* path : {"/ops", "/ops/", "/ops/failed", "/ops/task/bad"}) {
        CAPTURE(path);
        const Response response = rig.dashboard->handle(get(path), "/ops");
        CHECK(response.status == 200);
        for (const std::string& link : parse_markup(response.body).links) {
            CHECK((link.starts_with("/proxy/ops/") || link.starts_with('#')));
        }
    }
    CHECK(rig.dashboard->handle(get("/running"), "/ops").status == 404);
    for (const char* bad : {"ops", "/ops/", "/", "//a", "/a/../b", "/a b", "/\"", "/."}) {
        CHECK_THROWS_AS(Dashboard::check_path("base", bad), ConfigError);
    }
    for (const char* good : {"", "/ops", "/a/b-c_d~e.f"}) CHECK_NOTHROW(Dashboard::check_path("base", good));
}

TEST_CASE("Dashboard: a client's file is shown with the client's own clock and logger, also after the client") {
    TempFolder folder;
    ClientConfig config = backlite_test::quick_config(folder.file("app.db"));
    config.clock = std::make_shared<testing::ManualClock>(from_ms(ui::Ms{now}));
    std::unique_ptr<Dashboard> dashboard;
    {
        Client client(config);
        dashboard = std::make_unique<Dashboard>(client, without_token());
    }
    const Response response = dashboard->handle(get("/"));
    CHECK(response.status == 200);
    CHECK(holds(response.body, "1970-01-12 13:46:40 UTC"));
    CHECK(holds(response.body, "app.db"));
    CHECK_FALSE(holds(response.body, folder.name()));
}

TEST_CASE("Dashboard: processes that live and processes that died are told apart") {
    Rig rig;
    rig.database.execute("INSERT INTO backlite_clients VALUES (5, 9, 3, 1, 'boot', 1002003)");
    Client client(rig.database.config);
    CHECK(rig.json("/")["processes"][0]["alive"] == false);  // no side file: nobody holds a lock
    client.start();                                          // takes the dead one's row away
    SQLite::Database others(rig.database.config.database, SQLite::OPEN_READWRITE, 10'000);
    bool alive = false;
    bool dead = false;
    for (int i = 0; i < 100 && !dead; ++i) {
        // The client takes this one's row away too, unless it is kept from writing soon enough.
        others.exec("INSERT OR REPLACE INTO backlite_clients VALUES (99, 9, 3, 1, 'boot', 1002003)");
        others.exec("BEGIN IMMEDIATE");
        const nlohmann::json json = rig.json("/");
        others.exec("ROLLBACK");
        for (const auto& process : json["processes"]) {
            if (process["owner"] == 99) {
                dead = process["alive"] == false;
            } else {
                alive = process["alive"] == true;
            }
        }
    }
    CHECK(alive);
    CHECK(dead);
    CHECK(client.stop(5s));
}

// ---- staying up to date
// -----------------------------------------------------------------------------------------------

TEST_CASE("Dashboard: a page that has not changed is 304, until somebody commits or time changes it") {
    Rig rig;
    fill(rig);
    for (const char* path : {"/", "/running", "/upcoming", "/failed", "/task/comes", "/search?q=a"}) {
        CAPTURE(path);
        const std::string tag = header_of(rig.ask(path), "ETag");
        REQUIRE_FALSE(tag.empty());
        const Response same = rig.ask(path, {{"If-None-Match", tag}});
        CHECK(same.status == 304);
        CHECK(same.body.empty());
        CHECK(rig.ask(path, {{"If-None-Match", tag}, {"Accept", "application/json"}}).status == 200);
        CHECK(rig.ask("/succeeded", {{"If-None-Match", tag}}).status == 200);
        rig.database.execute("UPDATE backlite_tasks SET attempts = attempts + 1");
        CHECK(rig.ask(path, {{"If-None-Match", tag}}).status == 200);
    }
    rig.database.execute("UPDATE backlite_tasks SET wait_until = 1000002000 WHERE id = 'comes'");
    for (const char* path : {"/", "/upcoming", "/task/comes"}) {
        CAPTURE(path);
        const std::string tag = header_of(rig.ask(path), "ETag");
        CHECK(rig.ask(path, {{"If-None-Match", tag}}).status == 304);
        rig.clock->advance(1'999ms);
        CHECK(rig.ask(path, {{"If-None-Match", tag}}).status == 304);
        rig.clock->advance(1ms);
        CHECK(rig.ask(path, {{"If-None-Match", tag}}).status == 200);
        rig.clock->jump(-2'000ms);
    }
}

TEST_CASE("Dashboard: tags that are none of ours change nothing") {
    Rig rig;
    const std::string own = header_of(rig.ask("/"), "ETag");
    const std::string unclosed = own.substr(0, own.size() - 1);
    for (const std::string& tag : {std::string{}, std::string{"\""}, std::string{"\"\""}, std::string{"\"x\""},
                                   std::string{"W/\"x.1\""}, std::string{"\"a.b.c.99999999999999999999\""}, unclosed,
                                   std::string{"\"x\", "} + unclosed, own.substr(1), std::string{"\"*\""}}) {
        CAPTURE(tag);
        CHECK(rig.ask("/", {{"If-None-Match", tag}}).status == 200);
    }
    CHECK(rig.ask("/nowhere", {{"If-None-Match", "*"}}).status == 404);
}

TEST_CASE("Dashboard: a tag is also known when it is weak, one of several, or any") {
    Rig rig;
    fill(rig);
    const std::string own = header_of(rig.ask("/upcoming"), "ETag");
    for (const std::string& tags :
         {"W/" + own, "\"x\", " + own, "W/\"a, b\",W/" + own + " , \"y\"", std::string{"*"}}) {
        CAPTURE(tags);
        const Response same = rig.ask("/upcoming", {{"If-None-Match", tags}});
        CHECK(same.status == 304);
        CHECK(same.body.empty());
        CHECK(header_of(same, "ETag") == own);
        CHECK(header_of(same, "Vary") == "Accept");
    }
    CHECK(rig.ask("/upcoming", {{"If-None-Match", "\"x\""}, {"If-None-Match", own}}).status == 304);
    rig.clock->advance(1h);
    CHECK(rig.ask("/upcoming", {{"If-None-Match", "W/" + own}}).status == 200);
}

TEST_CASE("Dashboard: assets are kept for ever under a name that changes with them") {
    Rig rig;
    std::size_t assets = 0;
    for (const std::string& link : parse_markup(rig.page("/")).links) {
        if (!link.starts_with("/assets/")) continue;
        ++assets;
        const Response response = rig.ask(link);
        CHECK(response.status == 200);
        CHECK(holds(header_of(response, "Cache-Control"), "immutable"));
    }
    CHECK(assets == 3);
    CHECK(rig.ask("/assets/0000000000000000.css").status == 404);
    CHECK(rig.ask("/assets/x").status == 404);
}

// ---- health and metrics
// ------------------------------------------------------------------------------------------------

TEST_CASE("Dashboard: health is 503 once a task has been due for too long") {
    Rig rig;
    rig.add({.id = "waits", .created_at = now - 100'000});
    CHECK(rig.ask("/health").status == 200);
    CHECK(rig.ask("/health?max_age=100").status == 200);
    CHECK(rig.ask("/health?max_age=99").status == 503);
    CHECK(rig.json("/health?max_age=99")["status"] == "late");
    CHECK(rig.json("/health")["oldest_due_age_ms"] == 100'000);
    CHECK(rig.ask("/health?max_age=-1").status == 400);
    CHECK(rig.ask("/health?max_age=1x").status == 400);
}

TEST_CASE("Dashboard: metrics are text that Prometheus reads, names of queues escaped") {
    Rig rig;
    fill(rig);
    rig.add({.id = "odd", .queue = "a\"b\\c\nd\xff", .created_at = now - 3'000});
    const Response response = rig.ask("/metrics");
    CHECK(header_of(response, "Content-Type") == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(holds(response.body, "\nbacklite_queue_tasks{queue=\"mail\",state=\"waiting\"} 1\n"));
    CHECK(holds(response.body, "\nbacklite_queue_tasks{queue=\"print\",state=\"fetched\"} 1\n"));
    CHECK(holds(response.body, "queue=\"a\\\"b\\\\c⟨U+000A⟩d⟨xFF⟩\"} 3.000\n"));
    CHECK(holds(response.body, "\nbacklite_processes 0\n"));
    CHECK(holds(response.body, "\nbacklite_build_info{version=\""));
    for (std::size_t at = 0; at < response.body.size();) {
        const std::size_t end = response.body.find('\n', at);
        REQUIRE(end != std::string::npos);
        const std::string line = response.body.substr(at, end - at);
        CHECK((line.starts_with("# ") || line.starts_with("backlite_")));
        at = end + 1;
    }
}

TEST_CASE("Dashboard: metrics have each queue under its own name, also one called other, and never two under one") {
    Rig rig;
    for (int i = 0; i < 90; ++i)
        rig.add({.id = fmt::to_string(i), .queue = fmt::format("q{:02}", i), .created_at = now - 1});
    rig.add({.id = "x", .queue = "other", .created_at = now - 1});
    const std::string shared(100, 'n');
    for (const std::string& name : {std::string("a\xe2\x80\x8b"), std::string("a\xe2\x80\x8d"), std::string("a\xfe"),
                                    std::string("a\xff"), shared + "1", shared + "2"}) {
        rig.add({.id = name, .queue = name, .created_at = now - 1});
    }
    const std::string body = rig.ask("/metrics").body;
    for (const char* name : {"q00", "q50", "q89", "other", "a⟨U+200B⟩", "a⟨U+200D⟩", "a⟨xFE⟩", "a⟨xFF⟩"}) {
        CAPTURE(name);
        CHECK(holds(body, fmt::format("backlite_queue_tasks{{queue=\"{}\",state=\"waiting\"}} 1\n", name)));
    }
    std::set<std::string> samples;
    for (std::size_t at = 0; at < body.size(); at = body.find('\n', at) + 1) {
        const std::string line = body.substr(at, body.find(' ', at) - at);
        if (line != "#") CHECK(samples.insert(line).second);
    }
    CHECK(holds(body, "\nbacklite_queues_left_out 0\n"));
}

TEST_CASE("Dashboard: a bounded number is marked on the page and in JSON, and is no sample of its metric") {
    Overview overview;
    QueueSummary queue;
    queue.name = "mail";
    queue.waiting = {1'000, true};
    queue.scheduled = {7, false};
    queue.claimed = {9, true};
    queue.running = std::nullopt;
    queue.failed = 5;
    overview.queues = {queue};
    overview.buckets.resize(60);
    overview.step = std::chrono::minutes{1};
    overview.finished_cut = true;
    Target target;
    View view;
    view.target = &target;
    view.now = ui::Ms{now};
    const std::string page = overview_page(view, overview).str();
    CHECK(holds(page, "<b>1,000+</b>"));
    CHECK(holds(page, "<b>9+</b>"));
    CHECK(holds(page, "<b>5+</b>"));
    CHECK(holds(page, "<b>7</b>"));
    const auto json = nlohmann::json::parse(overview_json(view, overview).text());
    CHECK(json["queues"][0]["waiting"] == nlohmann::json{{"number", 1'000}, {"at_least", true}});
    CHECK(json["queues"][0]["scheduled"] == nlohmann::json{{"number", 7}, {"at_least", false}});
    CHECK(json["finished_at_least"] == true);
    const std::string metrics = metrics_text({overview}, ui::Ms{now});
    CHECK(holds(metrics, "backlite_queue_tasks{queue=\"mail\",state=\"scheduled\"} 7\n"));
    CHECK(holds(metrics, "backlite_queue_tasks_at_least{queue=\"mail\",state=\"waiting\"} 1000\n"));
    CHECK(holds(metrics, "backlite_queue_tasks_at_least{queue=\"mail\",state=\"claimed\"} 9\n"));
    CHECK_FALSE(holds(metrics, "backlite_queue_tasks{queue=\"mail\",state=\"waiting\"}"));
    CHECK_FALSE(holds(metrics, "backlite_queue_finished_last_hour{"));
    CHECK_FALSE(holds(metrics, "10000"));
}

TEST_CASE(
    "Dashboard: the Failed tile leads to a list of the same time, which says how many failed and how many are kept") {
    Rig rig;
    fill(rig);
    rig.finish(FinishedRow{.id = "old", .executed_at = now - 4'000'000, .error = "long ago"});
    rig.database.execute(
        "INSERT INTO backlite_stats (span, start, queue, added, started, succeeded, failed, retried, wait_ms, run_us) "
        "VALUES (1, 16664, 'mail', 9, 8, 6, 239, 2, 4000, 9000000), (1, 16500, 'mail', 9, 8, 6, 1000, 2, 4000, 90)");
    CHECK(holds(rig.page("/"), "<a class=\"tile bad\" href=\"/failed?period=hour\"><span>Failed</span><b>239</b>"));
    const std::string list = parse_markup(rig.page("/failed?period=hour")).text;
    CHECK(holds(list, "239 failed in the last hour, as they were counted. 1 is kept and listed here"));
    CHECK_FALSE(holds(list, "long ago"));
    const nlohmann::json json = rig.json("/failed?period=hour");
    CHECK(json["happened"]["number"] == 239);
    CHECK(json["total"]["number"] == 1);
    CHECK(rig.json("/failed")["total"]["number"] == 2);
    CHECK(holds(rig.page("/failed"), "2 are kept, whenever they failed"));
    CHECK(rig.json("/failed?q=long")["tasks"].size() == 1);
    CHECK(rig.json("/failed?q=long&period=hour")["tasks"].empty());
    CHECK(rig.json("/succeeded?until=1970-01-12T00:00")["tasks"].empty());
    CHECK(rig.json("/upcoming")["total"]["number"] == 2);
    CHECK(rig.json("/upcoming?state=scheduled")["total"]["number"] == 1);
    CHECK(rig.json("/upcoming?queue=print")["total"]["number"] == 0);
}

TEST_CASE("Dashboard: the bars of what finished lead to the tasks of their time") {
    Rig rig;
    fill(rig);
    const std::string page = rig.page("/?queue=mail");
    // Both ended in the minute from 13:45.
    for (const char* link :
         {"href=\"/search?queue=mail&amp;ended=16665.1\"", "href=\"/failed?queue=mail&amp;ended=16665.1\""}) {
        CHECK(holds(page, link));
    }
    CHECK(rig.json("/failed?ended=16665.1")["tasks"].size() == 1);
    CHECK(rig.json("/failed?ended=16666.1")["tasks"].empty());
    CHECK(rig.json("/failed?since=999900000&until=999959999")["tasks"].size() == 1);
    for (const char* bad : {"1", "1.0", "-1.1", "x.1", "99999999999999.1", "1.1.1"})
        CHECK(rig.ask(std::string("/failed?ended=") + bad).status == 400);
    CHECK(holds(rig.page("/failed?ended=16665.1&zone=60"), "name=\"since\" value=\"1970-01-12T14:45:00\""));
}

TEST_CASE("Dashboard: from and to which time is read by the clock of the zone in the address") {
    Rig rig;
    fill(rig);  // "bad" ended at 13:45:10 UTC
    const auto found = [&](const std::string& query) { return rig.json("/failed?" + query)["tasks"].size(); };
    CHECK(found("since=1970-01-12T13:45&until=1970-01-12T13:46") == 1);
    CHECK(found("since=1970-01-12T13:45&until=1970-01-12T13:46&zone=330") == 0);
    CHECK(found("since=1970-01-12T19:15&until=1970-01-12T19:16&zone=330") == 1);
    CHECK(holds(parse_markup(rig.page("/failed?zone=330")).text, "From (UTC+05:30)"));
    CHECK(holds(parse_markup(rig.page("/search")).text, "From (UTC)"));
}

TEST_CASE("Dashboard: a search shows what it found, marked, in payloads and errors") {
    Rig rig;
    rig.finish(FinishedRow{.id = "good", .payload = "{\"x\":\"" + std::string(300, 'x') + " Customer C-4711 <b>\"}"});
    rig.finish(FinishedRow{.id = "bad", .payload = "{}", .error = "no c-4711 here"});
    rig.add({.id = "waits", .created_at = now - 5, .payload = R"({"for":"c-4711"})"});
    const std::string page = rig.page("/search?q=c-4711");
    CHECK(holds(page, " Customer <mark>C-4711</mark> &lt;b&gt;"));
    CHECK(holds(page, "no <mark>c-4711</mark> here"));
    CHECK(holds(page, "&quot;for&quot;:&quot;<mark>c-4711</mark>&quot;"));
    CHECK(holds(page, "2 found"));
    const nlohmann::json json = rig.json("/search?q=C-4711");
    CHECK(holds(json["finished"]["tasks"][1]["payload_excerpt"].get<std::string>(), "Customer C-4711"));
    CHECK(json["finished"]["tasks"][0]["payload_bytes"] == 2);
    CHECK(rig.json("/succeeded")["tasks"][0]["payload_bytes"] == 328);
    CHECK(holds(rig.page("/failed"), "<code>{}</code><span>no c-4711 here</span>"));
}

TEST_CASE("Dashboard: in JSON the next page is an address, and pages follow each other to the end") {
    DashboardConfig config;
    config.page_size = 2;
    Rig rig(std::move(config));
    for (int i = 0; i < 5; ++i) {
        rig.finish(FinishedRow{.id = fmt::format("f{}", i), .queue = "a b", .executed_at = 9'000 - i, .error = "no"});
        rig.add({.id = fmt::format("w{}", i), .queue = "a b", .created_at = now - 9});
    }
    for (const auto& [path, expected] : {std::pair{"/failed?queue=a%20b&since=1970-01-01", "f0f1f2f3f4"},
                                         {"/upcoming?queue=a%20b&state=waiting", "w0w1w2w3w4"}}) {
        CAPTURE(path);
        std::string seen;
        nlohmann::json next = path;
        for (int i = 0; i < 9 && next.is_string(); ++i) {
            const nlohmann::json json = rig.json(next.get<std::string>());
            for (const auto& task : json["tasks"]) seen += task["id"].get<std::string>();
            next = json["next"];
        }
        CHECK(seen == expected);
        CHECK(next.is_null());
    }
    const nlohmann::json found = rig.json("/search?q=f&queue=a%20b&zone=60");
    CHECK(found["finished"]["next"].get<std::string>().starts_with("/search?q=f&queue=a%20b&zone=60&part=finished&"));
}

TEST_CASE("Dashboard: a period and a state that are not known are refused alike") {
    Rig rig;
    for (const char* path : {"/?period=zz", "/failed?period=zz", "/search?period=zz", "/search?state=zz",
                             "/upcoming?state=zz", "/failed?order=zz", "/failed?since=zz"}) {
        CAPTURE(path);
        CHECK(rig.ask(path).status == 400);
        CHECK(rig.ask(path, {{"Accept", "application/json"}}).status == 400);
    }
    const Response health = rig.ask("/health?max_age=zz", {{"Accept", "application/json"}});
    CHECK(health.status == 400);
    CHECK(nlohmann::json::parse(health.body).contains("error"));
}

TEST_CASE("Dashboard: names that differ by what leaves no ink do not look the same") {
    Rig rig;
    std::set<std::string> seen;
    for (const char* name : {"mail", "mail\xd8\x9c", "mail\xe2\x80\x8b", "mail\xe2\x80\x8d", "ma\xe2\x81\xa0il",
                             "mail ", " mail", "mail  x", "mail x", "mail\xc2\xa0x", "mail\xf3\xa0\x81\x81",
                             "mail\xe3\x85\xa4", "mail\xff", "mail\xef\xbf\xbd", "mail⟨U+200B⟩"}) {
        CAPTURE(name);
        CHECK(seen.insert(visible_name(name)).second);
        rig.add({.id = name, .queue = name, .created_at = now - 5});
    }
    const std::string page = rig.page("/");
    for (const std::string& name : seen) CHECK(holds(page, ">" + name + "</a>"));
    for (const std::string& link : parse_markup(rig.page("/upcoming")).links) {
        if (link.starts_with("/task/")) CHECK(rig.ask(link).status == 200);
    }
}

TEST_CASE("Dashboard: an id that holds a NUL has a link that leads to its task") {
    Rig rig;
    rig.add({.id = std::string("a\0b", 3), .queue = std::string("q\0r", 3), .created_at = now - 5});
    rig.finish(FinishedRow{.id = std::string("c\0d", 3), .queue = std::string("q\0r", 3), .error = "no"});
    for (const char* path : {"/upcoming", "/failed", "/search?state=waiting"}) {
        CAPTURE(path);
        std::size_t tasks = 0;
        for (const std::string& link : parse_markup(rig.page(path)).links) {
            if (link.starts_with("/task/")) {
                ++tasks;
                CHECK(rig.ask(link).status == 200);
            }
            if (link.starts_with("/upcoming?queue=q"))
                CHECK(rig.json(link)["tasks"][0]["id"] == std::string("a\0b", 3));
        }
        CHECK(tasks == 1);
    }
}

TEST_CASE("Dashboard: running is what a worker is inside of, and fetched what is claimed beside it") {
    Rig rig;
    backlite_test::Gate inside;
    backlite_test::Gate leave;
    Client client(rig.database.config);
    client.register_queue<Note>([&](const Note&) {
        inside.open();
        (void)leave.pass();
    });
    client.start();
    const backlite_test::OpensAtEnd opens_at_end(leave);
    const std::string id = client.add(Note{}).save().front().str();
    REQUIRE(inside.pass());
    rig.database.execute(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at, owner, claim) SELECT 'next', 1, queue, "
        "x'7b7d', 1, owner, 1 FROM backlite_tasks WHERE claimed_at IS NOT NULL LIMIT 1");
    rig.add({.id = "foreign",
             .queue = "go",
             .created_at = 1,
             .claimed_at = backlite_test::row_ms(std::chrono::system_clock::now())});
    const nlohmann::json json = rig.json("/");
    for (const auto& queue : json["queues"]) {
        const bool own = queue["queue"] != "go";
        CHECK(queue["claimed"]["number"] == (own ? 2 : 1));
        CHECK(queue["running"] == (own ? nlohmann::json(1) : nlohmann::json(nullptr)));
        CHECK(queue["fetched"] == (own ? nlohmann::json(1) : nlohmann::json(nullptr)));
    }
    CHECK(json["processes"][0]["busy"] == 1);
    CHECK(rig.json("/task/" + id)["state"] == "running");
    CHECK(rig.json("/task/next")["state"] == "fetched");
    CHECK(rig.json("/task/foreign")["state"] == "claimed");
    CHECK(holds(parse_markup(rig.page("/running?queue=note")).text, "1 running; 1 more are fetched"));
    CHECK(holds(parse_markup(rig.page("/running")).text, "3 claimed; which of them run is not known"));
    const std::string metrics = rig.ask("/metrics").body;
    CHECK(holds(metrics, "queue=\"note\",state=\"running\"} 1\n"));
    CHECK(holds(metrics, "queue=\"note\",state=\"fetched\"} 1\n"));
    CHECK(holds(metrics, "queue=\"go\",state=\"claimed\"} 1\n"));
    leave.open();
    CHECK(client.stop(5s));
}

// ---- what is refused
// ---------------------------------------------------------------------------------------------------

TEST_CASE("Dashboard S4: every answer carries the same protection") {
    Rig rig;
    fill(rig);
    std::vector<Response> responses;
    for (const std::string& path : all_paths) responses.push_back(rig.ask(path));
    for (const char* path : {"/nowhere", "/task/nobody", "/%zz", "/search?state=odd"})
        responses.push_back(rig.ask(path));
    Request post = get("/");
    post.method = "POST";
    responses.push_back(rig.dashboard->handle(post));
    Request foreign = get("/");
    foreign.headers = {{"Host", "evil.com"}};
    responses.push_back(rig.dashboard->handle(foreign));
    for (const Response& response : responses) {
        CHECK(header_of(response, "Content-Security-Policy") ==
              "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
              "form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
        CHECK(header_of(response, "X-Content-Type-Options") == "nosniff");
        CHECK(header_of(response, "Referrer-Policy") == "same-origin");
        CHECK(header_of(response, "Accept-Ranges") == "none");
        CHECK(header_of(response, "Cache-Control") == "no-store");
        for (const auto& [name, value] : response.headers) {
            CHECK(value.find_first_of("\r\n") == std::string::npos);
            CHECK_FALSE(value.empty());
        }
    }
}

TEST_CASE("Dashboard S5, S11: other machines are refused unless there is an authorization, whatever headers say") {
    Rig rig;
    Request request = get("/", {{"X-Forwarded-For", "127.0.0.1"}, {"REMOTE_ADDR", "127.0.0.1"}});
    for (const char* address : {"10.0.0.5", "", "::2", "127.0.0.1.evil.com"}) {
        request.remote_addr = address;
        CHECK(rig.dashboard->handle(request).status == 403);
    }
    request.remote_addr = "::1";
    CHECK(rig.dashboard->handle(request).status == 200);

    DashboardConfig open;
    open.hosts = {"tasks.example.org"};
    CHECK_THROWS_AS(Dashboard("app.db", open), ConfigError);
}

TEST_CASE("Dashboard S6: a host that is not known is refused, before anything else is looked at") {
    DashboardConfig config;
    config.hosts = {"Tasks.Example.org"};
    int asked = 0;
    config.authorization.check = [&](const Request&) {
        ++asked;
        return Access::read;
    };
    Rig rig(std::move(config));
    for (const Headers& headers :
         {Headers{{"Host", "evil.com"}}, Headers{}, Headers{{"Host", ""}},
          Headers{{"Host", "localhost"}, {"host", "evil.com"}}, Headers{{"Host", "127.0.0.1.evil.com"}}}) {
        Request request = get("/");
        request.headers = headers;
        CHECK(rig.dashboard->handle(request).status == 421);
    }
    CHECK(asked == 0);
    Request request = get("/");
    request.headers = {{"Host", "tasks.example.org:443"}};
    CHECK(rig.dashboard->handle(request).status == 200);
    request.target = "http://evil.com/";
    CHECK(rig.dashboard->handle(request).status == 421);
}

TEST_CASE("Dashboard: an address may have the host in front, as proxies get it") {
    Rig rig;
    fill(rig);
    for (const char* target :
         {"http://localhost/upcoming", "HTTP://127.0.0.1:8080/upcoming?x=1", "https://[::1]/upcoming"}) {
        CAPTURE(target);
        CHECK(holds(rig.ask(target).body, "comes"));
    }
    CHECK(rig.ask("http://localhost").status == 200);
    CHECK(rig.ask("http:///upcoming").status == 200);  // names no other host
    CHECK(rig.ask("http://localhost?period=day").status == 400);
    for (const char* target : {"http://evil.com/upcoming", "http://localhost@evil.com/upcoming", "http://evil.com"}) {
        CAPTURE(target);
        CHECK(rig.ask(target).status == 421);
    }
    for (const char* target : {"ftp://localhost/upcoming", "localhost/upcoming", "http:/upcoming"}) {
        CAPTURE(target);
        CHECK(rig.ask(target).status == 400);
    }
}

TEST_CASE("Dashboard S7: nothing but GET and HEAD is answered") {
    Rig rig;
    fill(rig);
    for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "", "GET "}) {
        Request request = get("/task/waits");
        request.method = method;
        const Response response = rig.dashboard->handle(request);
        CHECK(response.status == 405);
        CHECK(header_of(response, "Allow") == "GET, HEAD");
    }
}

TEST_CASE("Dashboard: HEAD has the headers of GET and no body") {
    Rig rig;
    fill(rig);
    for (const std::string& path : all_paths) {
        CAPTURE(path);
        Request request = get(path);
        request.method = "HEAD";
        const Response head = rig.dashboard->handle(request);
        const Response whole = rig.ask(path);
        CHECK(head.status == whole.status);
        CHECK(head.body.empty());
        CHECK(header_of(head, "Content-Length") == fmt::to_string(whole.body.size()));
        CHECK(header_of(head, "Content-Type") == header_of(whole, "Content-Type"));
    }
}

TEST_CASE("Dashboard S9: the authorization decides on every path, and what it throws is no") {
    int asked = 0;
    bool throws = false;
    DashboardConfig config;
    config.authorization.check = [&](const Request& request) {
        ++asked;
        if (throws) throw std::runtime_error("broken");
        return only_header(request.headers, "Cookie") == "yes" ? Access::read : Access::none;
    };
    Rig rig(std::move(config));
    fill(rig);
    std::vector<std::string> paths = all_paths;
    for (const std::string& link : parse_markup(rig.ask("/", {{"Cookie", "yes"}}).body).links) paths.push_back(link);
    paths.insert(paths.end(), {"/payload/waits", "/nowhere", "/%zz"});
    for (const std::string& path : paths) {
        CAPTURE(path);
        asked = 0;
        const Response response = rig.ask(path);
        CHECK(response.status == 403);
        CHECK(response.body == "Not allowed.\n");
        CHECK(asked == 1);
    }
    Request far = get("/", {{"Cookie", "yes"}});
    far.remote_addr = "10.0.0.5";
    CHECK(rig.dashboard->handle(far).status == 200);
    throws = true;
    CHECK(rig.dashboard->handle(far).status == 403);
    CHECK(rig.logger->count("authorization threw") == 1);
}

constexpr const char* token = "a-token.of_16~ch";

/// A dashboard as it is unless told otherwise, but for the token.
Rig with_token() {
    DashboardConfig config;
    config.token = token;
    return Rig(std::move(config));
}

TEST_CASE("Dashboard: who asks from this machine must bring the token, or a cookie that was given for it") {
    Rig rig = with_token();
    fill(rig);
    for (const std::string& path : all_paths) {
        if (path == "/health") continue;
        CAPTURE(path);
        CHECK(rig.ask(path).status == 403);
        CHECK(rig.ask(path, {{"Cookie", "backlite-8080=a-token.of_16~cX"}}).status == 403);
        CHECK(rig.ask(path, {{"Cookie", fmt::format("backlite-8080={}", token)}}).status == 200);
        CHECK(rig.ask(path, {{"Authorization", fmt::format("Bearer {}", token)}}).status == 200);
    }
    CHECK(holds(rig.ask("/").body, "the program has printed"));
    CHECK(rig.ask("/nowhere").status == 403);
    CHECK(rig.ask("/%zz").status == 403);
    for (const std::string& wrong : {fmt::format("Basic {}", token), fmt::format("Bearer {}x", token),
                                     std::string{"Bearer "}, std::string{token}}) {
        CHECK(rig.ask("/", {{"Authorization", wrong}}).status == 403);
    }
    for (const std::string& cookie : {fmt::format("backlite={}", token), fmt::format("backlite-80={}", token),
                                      fmt::format("xbacklite-8080={}", token), fmt::format("backlite-8080{}", token),
                                      std::string{"backlite-8080="}, std::string{";;=; backlite-8080"}}) {
        CAPTURE(cookie);
        CHECK(rig.ask("/", {{"Cookie", cookie}}).status == 403);
    }
    CHECK(rig.ask("/", {{"Cookie", fmt::format("a=b; backlite-8080=old;backlite-8080={}; c=d", token)}}).status == 200);
    CHECK(rig.ask("/", {{"Cookie", "a=b"}, {"Cookie", fmt::format("backlite-8080={}", token)}}).status == 200);
}

TEST_CASE("Dashboard: the token lets in from this machine only") {
    Rig rig = with_token();
    Request request = get(rig.dashboard->entrance());
    request.remote_addr = "10.0.0.5";
    CHECK(rig.dashboard->handle(request).status == 403);
    request = get("/health");
    request.remote_addr = "10.0.0.5";
    CHECK(rig.dashboard->handle(request).status == 403);
}

TEST_CASE("Dashboard: a server that does not say who asks is told so, and not to send the token") {
    Rig rig = with_token();
    Request request = get(rig.dashboard->entrance());
    request.remote_addr.clear();
    const Response refused = rig.dashboard->handle(request);
    CHECK(refused.status == 403);
    CHECK(refused.body.find("must set Request::remote_addr") != std::string::npos);
}

TEST_CASE("Dashboard: the address with the token gives a cookie, and leads to one without it") {
    Rig rig = with_token();
    fill(rig);
    CHECK(rig.dashboard->entrance() == "/?token=a-token.of_16~ch");
    CHECK(rig.dashboard->entrance("/tasks") == "/tasks/?token=a-token.of_16~ch");
    for (const std::string base : {"", "/tasks"}) {
        CAPTURE(base);
        const Response first = rig.dashboard->handle(get(rig.dashboard->entrance(base)), base);
        CHECK(first.status == 200);
        CHECK(header_of(first, "Refresh") == "0; url=" + base + "/");
        CHECK(header_of(first, "Referrer-Policy") == "no-referrer");
        CHECK(header_of(first, "Cache-Control") == "no-store");
        CHECK_FALSE(holds(first.body, token));
        const std::string cookie = header_of(first, "Set-Cookie");
        CHECK(cookie ==
              fmt::format("backlite-8080={}; Path={}; HttpOnly; SameSite=Strict", token, base.empty() ? "/" : base));
        const Response second =
            rig.dashboard->handle(get(base + "/", {{"Cookie", cookie.substr(0, cookie.find(';'))}}), base);
        CHECK(second.status == 200);
        CHECK(holds(second.body, "backlite"));
        CHECK_FALSE(holds(second.body, token));
        CHECK(header_of(second, "Set-Cookie").empty());
    }
    Request request = get(rig.dashboard->entrance());
    request.headers = {{"Host", "[::1]"}};
    CHECK(header_of(rig.dashboard->handle(request), "Set-Cookie").starts_with("backlite=a-token"));
    for (const char* wrong : {"/?token=a-token.of_16~cX", "/?token=", "/?token=x&token=a-token.of_16~ch"}) {
        CHECK(rig.ask(wrong).status == 403);
        CHECK(header_of(rig.ask(wrong), "Set-Cookie").empty());
    }
    CHECK(rig.logger->count("token") == 0);
}

TEST_CASE("Dashboard: health is told to monitors of this machine without a token, and tells none") {
    Rig rig = with_token();
    rig.add({.id = "waits", .created_at = now - 100'000});
    CHECK(rig.ask("/health").status == 200);
    CHECK(rig.ask("/health?max_age=99").status == 503);
    CHECK(rig.ask("/metrics").status == 403);
    CHECK(rig.ask("/health/x").status == 403);
    CHECK(header_of(rig.ask("/health?token=x"), "Set-Cookie").empty());
}

TEST_CASE("Dashboard: a token is made for each dashboard, and one that is given must be long and plain") {
    const Dashboard first("app.db");
    const Dashboard second("app.db");
    CHECK(first.entrance().size() == std::string_view{"/?token="}.size() + 32);
    CHECK(first.entrance() != second.entrance());
    CHECK(Dashboard("app.db", without_token()).entrance("/tasks") == "/tasks/");
    for (const char* bad :
         {"short", "with a blank in it", "with;semicolon;in;it", "with\r\nlines-in-it", "with%2525percents"}) {
        DashboardConfig config;
        config.token = bad;
        CHECK_THROWS_AS(Dashboard("app.db", config), ConfigError);
    }
}

TEST_CASE("Dashboard S10: a password is asked for") {
    DashboardConfig config;
    config.authorization = basic_auth("ada", "secret");
    Rig rig(std::move(config));
    const Response refused = rig.ask("/");
    CHECK(refused.status == 401);
    CHECK(header_of(refused, "WWW-Authenticate").starts_with("Basic "));
    CHECK(rig.ask("/", {{"Authorization", "Basic YWRhOnNlY3JldA=="}}).status == 200);
}

TEST_CASE("Dashboard S12: addresses, headers and pages are bounded") {
    Rig rig;
    CHECK(rig.ask("/" + std::string(9'000, 'a')).status == 414);
    CHECK(rig.ask("/search?q=" + std::string(9'000, 'a')).status == 414);
    Request request = get("/");
    for (int i = 0; i < 300; ++i) request.headers.emplace_back("X-" + fmt::to_string(i), "y");
    CHECK(rig.dashboard->handle(request).status == 431);
    CHECK(rig.ask("/", {{"Cookie", std::string(5'000'000, 'x')}}).status == 200);
    for (const std::size_t size : {std::size_t{0}, std::size_t{201}}) {
        DashboardConfig config;
        config.page_size = size;
        CHECK_THROWS_AS(Dashboard("app.db", config), ConfigError);
    }
    DashboardConfig config;
    config.deadline = 0ms;
    CHECK_THROWS_AS(Dashboard("app.db", config), ConfigError);
    config.deadline = 1s;
    config.busy_timeout = -1ms;
    CHECK_THROWS_AS(Dashboard("app.db", config), ConfigError);
    CHECK_THROWS_AS(Dashboard(""), ConfigError);
    CHECK_THROWS_AS(Dashboard(std::string("a\0b", 3)), ConfigError);
    for (const char* path : {"/nowhere", "/running/x/y", "/task", "/task/", "/task/a/b", "/payload", "/running/"}) {
        CAPTURE(path);
        const int status = rig.ask(path).status;
        CHECK((status == 404 || (std::string_view{path} == "/running/" && status == 200)));
    }
}

TEST_CASE("Dashboard S13: the file is read without a change to one byte of it, also the last connection's end") {
    TempFolder folder;
    const std::string file = folder.file("app.db");
    {
        Rig rig;
        fill(rig);
        rig.database.execute("VACUUM INTO '" + file + "'");
    }
    SQLite::Database(file, SQLite::OPEN_READWRITE).exec("PRAGMA journal_mode=WAL");
    const auto bytes = [&] {
        std::ifstream in(file, std::ios::binary);
        return std::string{std::istreambuf_iterator<char>(in), {}};
    };
    const std::string before = bytes();
    {
        Dashboard dashboard(file, without_token());
        for (const std::string& path : all_paths) {
            CAPTURE(path);  // by the real clock the task that waits is late
            CHECK(dashboard.handle(get(path)).status == (path == "/health" ? 503 : 200));
        }
    }
    CHECK(bytes() == before);
    CHECK_FALSE(std::filesystem::exists(file + "-backlite"));

    SQLite::Database db(file, SQLite::OPEN_READONLY);
    CHECK(db.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 3);
}

TEST_CASE("Dashboard S13: a connection that the host opens writable is set to read only") {
    DashboardConfig config;
    std::string file;
    config.open = [&] { return SQLite::Database(file, SQLite::OPEN_READWRITE); };
    Rig rig;
    file = rig.database.config.database;
    admin::ReadConnection reader(file, config.open, 100ms);
    reader.read(1'000ms, [](admin::Queries& store) {
        CHECK_THROWS_AS(store::sqlite::execute(store.queues.handle(), "DELETE FROM backlite_tasks"), StorageError);
    });
    Dashboard dashboard(file, without_token(config));
    CHECK(dashboard.handle(get("/")).status == 200);
}

TEST_CASE("Dashboard S13: also what the host opens writable leaves the file alone when it is closed last") {
    TempFolder folder;
    const std::string file = folder.file("app.db");
    { const Client client(backlite_test::quick_config(file)); }
    const auto size = [&] { return std::filesystem::file_size(file); };
    std::uintmax_t before = 0;
    {
        DashboardConfig config;
        config.open = [&] { return SQLite::Database(file, SQLite::OPEN_READWRITE); };
        Dashboard dashboard(file, without_token(config));
        CHECK(dashboard.handle(get("/")).status == 200);
        SQLite::Database db(file, SQLite::OPEN_READWRITE);
        db.exec("CREATE TABLE filler AS SELECT zeroblob(1000000)");
        before = size();
    }
    CHECK(before < 1'000'000);  // the rows are in the log still
    CHECK(size() == before);
}

TEST_CASE("Dashboard S14: what goes wrong is a page with a number, and the log has the rest") {
    TempFolder folder;
    const auto logger = std::make_shared<backlite_test::RecordingLogger>();
    DashboardConfig config;
    config.logger = logger;
    config.busy_timeout = 1ms;
    const auto told = [&](const std::string& file) {
        Dashboard dashboard(file, without_token(config));
        const Response response = dashboard.handle(get("/"));
        CHECK(response.status == 503);
        CHECK(header_of(response, "Retry-After") == "1");
        CHECK(holds(response.body, "<a href=\"\">Try again</a>"));
        CHECK(parse_markup(response.body).fault == "");
        CHECK_FALSE(holds(response.body, folder.name()));
        CHECK(holds(response.body, "under number 1"));
        CHECK(header_of(response, "ETag").empty());
        return response.body;
    };
    CHECK(holds(told(folder.file("missing.db")), "no database file"));
    std::filesystem::create_directory(folder.file("folder.db"));
    CHECK(holds(told(folder.file("folder.db")), "no database file"));
    std::ofstream(folder.file("text.db")) << std::string(5'000, 'x');
    CHECK(holds(told(folder.file("text.db")), "no database that can be read"));
    SQLite::Database(folder.file("other.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE t (x)");
    CHECK(holds(told(folder.file("other.db")), "no backlite tables yet"));
    SQLite::Database(folder.file("foreign.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
        .exec("CREATE TABLE backlite_tasks (x)");
    CHECK(holds(told(folder.file("foreign.db")), "cannot be understood"));
    SQLite::Database locked(folder.file("locked.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    locked.exec("CREATE TABLE backlite_tasks (x); BEGIN EXCLUSIVE");
    CHECK(holds(told(folder.file("locked.db")), "keeps the database locked"));
    locked.exec("ROLLBACK");
    SQLite::Database(folder.file("wal.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
        .exec("PRAGMA journal_mode=WAL; CREATE TABLE t (x)");
    std::filesystem::create_directory(folder.file("wal.db-wal"));  // what SQLite needs beside the file cannot be made
    CHECK(holds(told(folder.file("wal.db")), "forbids the files that SQLite keeps beside it"));
    CHECK(logger->count(folder.name() + "/missing.db") == 1);
    config.open = []() -> SQLite::Database { throw std::runtime_error("secret of the host"); };
    const std::string page = told(folder.file("other.db"));
    CHECK(holds(page, "Something went wrong"));
    CHECK_FALSE(holds(page, "secret"));
    CHECK(logger->count("secret of the host") == 1);
    config.open = []() -> SQLite::Database { throw 42; };
    CHECK(holds(told(folder.file("other.db")), "Something went wrong"));
}

TEST_CASE("Dashboard: a file that appears, goes and is replaced is shown as it is now") {
    TempFolder folder;
    const std::string file = folder.file("app.db");
    Dashboard dashboard(file, without_token());
    CHECK(dashboard.handle(get("/")).status == 503);
    const auto make = [&](const char* queue) {
        { const Client client(backlite_test::quick_config(folder.file("new.db"))); }
        SQLite::Database db(folder.file("new.db"), SQLite::OPEN_READWRITE);
        db.exec(fmt::format("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('1', 1, '{}', x'7b7d')",
                            queue));
        db.exec("PRAGMA journal_mode=DELETE");
        std::filesystem::rename(folder.file("new.db"), file);
    };
    make("first_queue");
    Response first = dashboard.handle(get("/"));
    CHECK(first.status == 200);
    CHECK(holds(first.body, "first_queue"));
    make("second_queue");
    const Response second = dashboard.handle(get("/", {{"If-None-Match", header_of(first, "ETag")}}));
    CHECK(second.status == 200);
    CHECK(holds(second.body, "second_queue"));
    CHECK_FALSE(holds(second.body, "first_queue"));
}

TEST_CASE("Dashboard S15: payloads and errors pass the host's redaction, and are not searched then") {
    bool throws = false;
    DashboardConfig config;
    config.redact = [&](Secret what, std::string_view queue, std::string_view text) {
        if (throws) throw std::runtime_error("broken");
        return fmt::format("{} of {}, {} bytes <b>", what == Secret::payload ? "payload" : "error", queue, text.size());
    };
    Rig rig(std::move(config));
    fill(rig);
    const std::string page = rig.page("/task/bad");
    CHECK(holds(page, "payload of mail, 22 bytes &lt;b&gt;"));
    CHECK(holds(page, "error of mail, 17 bytes &lt;b&gt;"));
    CHECK(holds(rig.page("/upcoming"), "<code>payload of mail, 12 bytes &lt;b&gt;</code>"));
    rig.add({.id = "large", .created_at = now - 5, .payload = std::string(16'385, 'x')});
    for (const std::string& path :
         std::vector<std::string>{"/task/bad", "/failed", "/search?q=address", "/search?q=bad", "/payload/bad",
                                  "/search?state=failed", "/upcoming"}) {
        CAPTURE(path);
        const Response html = rig.ask(path);
        const Response json = rig.ask(path, {{"Accept", "application/json"}});
        for (const char* secret : {"no such", "9007199254740993", "ada", "xxx"}) {
            CHECK_FALSE(holds(html.body, secret));
            CHECK_FALSE(holds(json.body, secret));
        }
    }
    CHECK(rig.json("/search?q=address")["finished"]["tasks"].empty());
    CHECK(rig.json("/search?q=bad")["by_id"].size() == 1);
    throws = true;
    CHECK(holds(rig.page("/task/bad"), "Hidden here"));
    CHECK(rig.ask("/payload/bad").status == 403);
    CHECK(rig.logger->count("redaction threw") == 3);
    CHECK(holds(rig.page("/upcoming"), "<code>(hidden)</code>"));
}

TEST_CASE("Dashboard S15: payloads can be hidden altogether") {
    DashboardConfig config;
    config.payloads = Payloads::hide;
    Rig rig(std::move(config));
    fill(rig);
    CHECK(holds(rig.page("/task/bad"), "Hidden here (22 bytes)"));
    CHECK(rig.ask("/payload/bad").status == 403);
    CHECK_FALSE(rig.json("/task/bad").contains("payload"));
    CHECK_FALSE(holds(rig.page("/upcoming"), "ada"));
    CHECK(rig.json("/search?q=9007199254740993")["finished"]["tasks"].empty());
}

TEST_CASE("Dashboard: requests at once, while the file is written") {
    Rig rig;
    fill(rig);
    std::atomic<int> faults{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 30; ++i) {
                const std::string& path = all_paths[static_cast<std::size_t>(t * 3 + i) % all_paths.size()];
                const Response response = rig.dashboard->handle(get(path));
                if (response.status != 200) ++faults;
            }
        });
    }
    for (int i = 0; i < 50; ++i) rig.database.execute("UPDATE backlite_tasks SET attempts = attempts + 1");
    for (std::thread& thread : threads) thread.join();
    CHECK(faults == 0);
}

// ---- injection
// --------------------------------------------------------------------------------------------------------

/// What each page looks like with harmless rows: which elements and attributes there are.
const std::string marks[] = {R"("><img src=x onerror=1>')",
                             "<script>alert(1)</script>",
                             "javascript:alert(1)",
                             "' onmouseover='alert(1)",
                             "</textarea></pre></title><svg/onload=alert(1)>",
                             "{}{}%s%n{{7*7}}",
                             "\xff\xfe\x80\xc0\xaf",
                             std::string("a\0b\r\nSet-Cookie: x=1\x1b[31m", 26),
                             "\xe2\x80\xae\xe2\x80\xa8</script>",
                             "../../../etc/passwd",
                             std::string(5'000'000, '<')};

void check_page(const Response& response, const std::set<std::string>& allowed) {
    CHECK(response.status != 500);
    for (const auto& [name, value] : response.headers)
        CHECK(value.find_first_of(std::string("\r\n\0", 3)) == std::string::npos);
    if (!header_of(response, "Content-Type").starts_with("text/html")) return;
    CHECK(response.body.size() < 400'000);
    CHECK(is_utf8(response.body));
    const Markup markup = parse_markup(response.body);
    CHECK(markup.fault == "");
    for (const std::string& attribute : markup.attributes) {
        CAPTURE(attribute);
        CHECK(allowed.contains(attribute));
    }
    for (const std::string& link : markup.links)
        CHECK(((link.starts_with('/') && !link.starts_with("//")) || link.starts_with('#')));
}

/// Every attribute that our own literals make, found on pages without any foreign text.
std::set<std::string> own_attributes() {
    Rig rig;
    fill(rig);
    rig.add({.id = "large", .payload = std::string(50'000, 'x')});
    rig.database.execute("INSERT INTO backlite_clients VALUES (5, 9, 3, 1, 'boot', 1002003)");
    std::set<std::string> attributes{"option selected",   "a rel",         "a data-follow", "a title",
                                     "section data-part", "span data-zone"};
    for (const std::string& path : all_paths) {
        for (const std::string& attribute : parse_markup(rig.ask(path).body).attributes) attributes.insert(attribute);
    }
    for (const char* path : {"/upcoming?queue=mail", "/nowhere", "/task/large"}) {
        for (const std::string& attribute : parse_markup(rig.ask(path).body).attributes) attributes.insert(attribute);
    }
    return attributes;
}

TEST_CASE("Dashboard S1, S2: whatever a row holds, pages stay pages") {
    const std::set<std::string> allowed = own_attributes();
    CHECK_FALSE(allowed.contains("img src"));
    for (const std::string& mark : marks) {
        CAPTURE(mark.substr(0, 40), mark.size());
        Rig rig;
        rig.add({.id = mark + "1", .queue = mark, .created_at = now - 5, .payload = mark});
        rig.add({.id = mark + "2",
                 .queue = mark,
                 .created_at = now - 5,
                 .wait_until = now + 5,
                 .payload = mark,
                 .attempts = 2});
        rig.add({.id = mark + "3", .queue = mark, .created_at = now - 5, .payload = mark, .claimed_at = now - 1});
        rig.add({.id = "", .queue = mark, .created_at = now - 5, .payload = mark});
        rig.finish(
            FinishedRow{.id = mark + "4", .queue = mark, .executed_at = now - 5, .payload = mark, .error = mark});
        rig.finish(FinishedRow{.id = mark + "5", .queue = mark, .executed_at = now - 5, .payload = mark});
        backlite::store::sqlite::Statement error("UPDATE backlite_tasks SET error = ?1");
        backlite::store::sqlite::Run(rig.database.connection.handle(), error, {mark}).change();
        std::vector<std::string> paths = all_paths;
        if (mark.size() < 1'000) {
            for (const char* number : {"1", "2", "3", "4", "5"}) {
                paths.push_back(Link("", "/task/").part(mark + number).str());
                paths.push_back(Link("", "/payload/").part(mark + number).str());
                const Response task = rig.ask(paths[paths.size() - 2]);
                CHECK(task.status == 200);
            }
            paths.push_back(Link("", "/search").param("q", mark).str());
            paths.push_back(Link("", "/failed").param("queue", mark).str());
        }
        for (const std::string& path : paths) {
            check_page(rig.ask(path), allowed);
            const Response json = rig.ask(path, {{"Accept", "application/json"}});
            if (header_of(json, "Content-Type") != "application/json") continue;
            CHECK(nlohmann::json::accept(json.body));
            CHECK(json.body.find('<') == std::string::npos);
        }
    }
}

TEST_CASE("Dashboard S2: whatever a request holds, pages stay pages") {
    const std::set<std::string> allowed = own_attributes();
    Rig rig;
    fill(rig);
    for (const std::string& mark : marks) {
        CAPTURE(mark.substr(0, 40), mark.size());
        std::string encoded;
        append_encoded(encoded, mark);
        for (const std::string& target :
             {"/" + mark, "/" + encoded, "/task/" + encoded, "/search?q=" + encoded, "/search?q=" + mark,
              "/failed?queue=" + encoded, "/?period=" + encoded + "&sort=" + encoded,
              "/search?since=" + encoded + "&state=" + encoded, "/upcoming?after=" + encoded,
              "/upcoming?after=5.5&behind=" + encoded, "/health?max_age=" + encoded, "/assets/" + encoded,
              "/?" + encoded + "=" + encoded}) {
            check_page(rig.ask(target), allowed);
        }
        for (const char* name : {"Accept", "Cookie", "If-None-Match", "Authorization", "Referer", "X-Forwarded-Host"}) {
            const Response response = rig.ask("/", {{name, mark}});
            CHECK(response.status == 200);
            check_page(response, allowed);
        }
        Request request = get("/");
        request.headers = {{"Host", mark}};
        CHECK(rig.dashboard->handle(request).status == 421);
        request = get("/");
        request.method = mark;
        CHECK(rig.dashboard->handle(request).status == 405);
        request = get("/");
        request.remote_addr = mark;
        CHECK(rig.dashboard->handle(request).status == 403);
        const Response base = rig.dashboard->handle(get("/"), mark.size() < 100 ? "/x" : "/y");
        CHECK(base.status == 404);
    }
}

}  // namespace
