// SPDX-License-Identifier: MIT
// What a dashboard does when it is told to, and all the ways in which it is not told to.

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/schedule.hpp>
#include <backlite/ui/dashboard.hpp>

#include <backlite_catch.hpp>
#include <dashboard_rig.hpp>
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

constexpr std::int64_t now = Rig::now;

struct Tick {
    static QueueConfig config() { return {.name = "tick"}; }
};
void to_json(nlohmann::json& json, const Tick&) { json = nlohmann::json::object(); }
void from_json(const nlohmann::json&, Tick&) {}

bool holds(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// A dashboard that acts, on tasks of each kind.
struct Acting : Rig {
    explicit Acting(DashboardConfig config = {}) : Rig(std::move(config), Access::operate) {
        add({.id = "waits", .queue = "mail", .created_at = now - 65'000});
        add({.id = "comes", .queue = "mail", .created_at = now - 5'000, .wait_until = now + 3'600'000});
        add({.id = "again", .queue = "print", .created_at = now - 5'000, .wait_until = now + 60'000, .attempts = 1});
        add({.id = "runs", .queue = "print", .created_at = now - 9'000, .claimed_at = now - 8'000, .owner = 7});
        finish(FinishedRow{.id = "good", .created_at = now - 99'000, .executed_at = now - 98'000});
        for (const char* id : {"bad", "worse"}) {
            finish(FinishedRow{.id = id, .executed_at = now - 90'000, .attempts = 3, .error = "no such address"});
        }
        finish(FinishedRow{.id = "bare", .queue = "print", .executed_at = now - 80'000, .payload = {}, .error = "no"});
    }

    /// All that an action could change.
    [[nodiscard]] std::string all() {
        return database.query(
            "SELECT group_concat(x, char(10)) FROM (SELECT id || ' ' || coalesce(wait_until, '') || ' ' || priority || "
            "' ' || hold || ' ' || attempts AS x FROM backlite_tasks UNION ALL SELECT id FROM backlite_tasks_completed "
            "UNION ALL SELECT queue || coalesce(paused_at, '') FROM backlite_queues UNION ALL SELECT task FROM "
            "backlite_cancels ORDER BY 1)");
    }

    [[nodiscard]] std::string token() { return json("/token")["token"].get<std::string>(); }

    [[nodiscard]] TaskStatus status(const std::string& id) { return admin().client().status(TaskId::from_text(id)); }
};

/// What a page says that an answer leads to.
std::string notice(Rig& rig, const Response& answer) {
    if (answer.status != 303) throw std::runtime_error(fmt::format("{}: {}", answer.status, answer.body));
    const std::string page = rig.ask(header_of(answer, "Location")).body;
    const std::size_t from = page.find("role=\"status\">", page.find("<main"));
    if (from == std::string::npos) return "none";
    return page.substr(from + 14, page.find('<', from) - from - 14);
}

// ---- what is done ---------------------------------------------------------------------------------------------------

TEST_CASE("actions: one task is tried again, due now, cancelled, removed, and given a priority") {
    Acting rig;
    CHECK(notice(rig, rig.order("do=retry&list=task&id=bad")) == "1 task to be tried again.");
    CHECK(rig.status("bad") == TaskStatus::pending);
    CHECK(notice(rig, rig.order("do=run_now&list=task&id=comes")) == "1 task due now.");
    CHECK(rig.database.query("SELECT wait_until <= 1000000000 FROM backlite_tasks WHERE id = 'comes'") == "1");
    CHECK(notice(rig, rig.order("do=set_priority&priority=-7&list=task&id=waits")) == "1 task given the priority.");
    CHECK(rig.database.query("SELECT priority FROM backlite_tasks WHERE id = 'waits'") == "-7");
    CHECK(notice(rig, rig.order("do=cancel&list=task&id=waits&confirm=yes")) == "1 task cancelled, or asked to stop.");
    CHECK(rig.status("waits") == TaskStatus::cancelled);
    const Response removed = rig.order("do=remove&list=failed&queue=mail&id=worse&confirm=yes");
    CHECK(header_of(removed, "Location").starts_with("/failed?queue=mail&did="));
    CHECK(notice(rig, removed) == "1 task removed.");
    CHECK(rig.status("worse") == TaskStatus::not_found);
    CHECK(notice(rig, rig.order("do=retry&list=failed&id=bare&id=good&id=nobody")) ==
          "No task was changed; 2 did not allow it.");
}

TEST_CASE("actions: what harms, and what goes to all of a list, is asked first, with the number, and changes nothing") {
    Acting rig;
    const std::string before = rig.all();
    const Response one = rig.order("do=remove&list=failed&id=bad&id=worse");
    CHECK(one.status == 200);
    CHECK(holds(one.body, "Remove: <b>2 tasks</b>, bad, worse."));
    CHECK(holds(one.body, R"(<input type="hidden" name="confirm" value="yes">)"));
    CHECK(parse_markup(one.body).fault.empty());
    const Response all = rig.order("do=retry&list=failed&which=all&queue=mail");
    CHECK(holds(all.body, "Retry: <b>2 tasks</b>, failed or cancelled or expired, of queue mail."));
    CHECK(holds(all.body, R"(<a href="/failed?queue=mail" data-still>)"));
    CHECK(holds(rig.order("do=cancel&list=upcoming&which=all&state=scheduled").body, "<b>2 tasks</b>"));
    CHECK(holds(rig.order("do=cancel&list=running&which=all").body, "<b>1 task</b>"));
    CHECK(holds(rig.order("do=remove&list=search&which=all&q=such").body, "<b>2 tasks</b>"));
    CHECK(rig.all() == before);
    CHECK(notice(rig, rig.order("do=retry&list=failed&which=all&queue=mail&confirm=yes")) ==
          "2 tasks to be tried again.");
    CHECK(rig.status("worse") == TaskStatus::pending);
    CHECK(rig.database.query("SELECT count(*) FROM backlite_tasks_completed WHERE id = 'bare'") == "1");
}

TEST_CASE("actions: all of a list is what the list holds, and no other task is touched") {
    Acting rig;
    CHECK(notice(rig, rig.order("do=set_priority&priority=3&list=upcoming&which=all&confirm=yes")) ==
          "3 tasks given the priority.");
    CHECK(rig.database.query(
              "SELECT group_concat(id) FROM (SELECT id FROM backlite_tasks WHERE priority = 3 ORDER BY 1)") ==
          "again,comes,waits");
    CHECK(notice(rig, rig.order("do=run_now&list=upcoming&which=all&state=retrying&confirm=yes")) == "1 task due now.");
    CHECK(rig.database.query("SELECT wait_until > 1000000000 FROM backlite_tasks WHERE id = 'comes'") == "1");
    CHECK(notice(rig, rig.order("do=remove&list=succeeded&which=all&confirm=yes")) == "1 task removed.");
    CHECK(rig.database.query("SELECT group_concat(id) FROM (SELECT id FROM backlite_tasks_completed ORDER BY 1)") ==
          "bad,bare,worse");
    CHECK(notice(rig, rig.order("do=cancel&list=running&which=all&queue=mail&confirm=yes")) == "No task was changed.");
}

TEST_CASE("actions: all that a page of a search shows has no task of another part of it") {
    Acting rig;
    const auto left = [&] {
        return rig.database.query(
            "SELECT (SELECT count(*) FROM backlite_tasks) || ' ' || (SELECT count(*) FROM backlite_tasks_completed)");
    };
    const std::string order = "do=remove&list=search&which=all&confirm=yes&";
    SECTION("what ended in a time") {
        const std::string hour = fmt::format("ended={}.120", now / 60'000 - 60);
        CHECK(notice(rig, rig.order(order + hour)) == "4 tasks removed.");
        CHECK(rig.order(order + hour + "&state=waiting").status == 400);
        CHECK(left() == "4 0");
    }
    SECTION("what is finished") {
        CHECK(holds(rig.page("/search?q=a&part=finished"), R"(name="part" value="finished")"));
        CHECK(notice(rig, rig.order(order + "queue=mail&part=finished")) == "3 tasks removed.");
        CHECK(left() == "4 1");
    }
    SECTION("what is not") {
        CHECK(notice(rig, rig.order(order + "queue=mail&part=unfinished")) == "2 tasks removed.");
        CHECK(left() == "2 4");
    }
}

TEST_CASE("actions: an action says how far it is also while it finds nothing, so that it can be stopped") {
    Acting rig;
    rig.database.execute(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100100) INSERT INTO backlite_tasks "
        "(id, queue, created_at, task) SELECT printf('m%06d', i), 'many', 1, x'7b7d' FROM n");
    int told = 0;
    std::stop_source enough;
    const Bulk bulk{.progress =
                        [&](const Affected&) {
                            ++told;
                            enough.request_stop();
                        },
                    .stop = enough.get_token()};
    CHECK(rig.admin().remove({.text = "nowhere"}, bulk) == Affected{0, 0});
    CHECK(told == 1);
}

TEST_CASE("actions: an order stops at a bound, and says that there may be more") {
    Acting rig;
    rig.database.execute(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10700) INSERT INTO backlite_tasks "
        "(id, queue, created_at, task) SELECT printf('m%05d', i), 'many', 1, x'7b7d' FROM n");
    CHECK(
        holds(rig.order("do=set_priority&priority=9&list=upcoming&which=all&queue=many").body, "<b>10,000+ tasks</b>"));
    const std::string order = "do=set_priority&priority=9&list=upcoming&which=all&queue=many&confirm=yes";
    const std::string first = notice(rig, rig.order(order));
    CHECK(holds(first, "Not all in one go"));
    for (int i = 0; i < 100 && rig.database.query("SELECT count(*) FROM backlite_tasks WHERE priority = 9") != "10700";
         ++i) {
        static_cast<void>(rig.order(order));
    }
    CHECK(rig.database.query("SELECT count(*) FROM backlite_tasks WHERE priority = 9") == "10700");
}

TEST_CASE("actions: a queue is paused and goes on, and pages say so") {
    Acting rig;
    CHECK_FALSE(holds(rig.page("/"), "Paused:"));
    CHECK(holds(rig.page("/?queue=mail"), R"(value="pause")"));
    CHECK(notice(rig, rig.order("do=pause&list=overview&queue=mail")) == "The queue is paused.");
    CHECK(rig.database.query("SELECT paused_at IS NOT NULL FROM backlite_queues WHERE queue = 'mail'") == "1");
    CHECK(holds(rig.page("/"), "Paused:"));
    CHECK(rig.json("/")["paused"] == nlohmann::json{"mail"});
    const std::string page = rig.page("/?queue=mail");
    CHECK(holds(page, "This queue is paused"));
    CHECK(holds(page, R"(value="resume")"));
    CHECK_FALSE(holds(rig.page("/?queue=print"), "This queue is paused"));
    CHECK(notice(rig, rig.order("do=resume&list=overview&queue=mail")) == "The queue goes on.");
    CHECK_FALSE(holds(rig.page("/"), "Paused:"));
}

TEST_CASE("actions: schedules are listed, run by hand, paused and resumed") {
    Acting rig;
    CHECK(holds(rig.page("/schedules"), "There is no schedule"));
    rig.admin().client().schedule({.name = "nightly", .when = Cron{"0 3 * * *", "Europe/Berlin"}}, Tick{});
    rig.admin().client().schedule({.name = "\"><img src=x>", .when = Every{15min}}, Tick{});
    const Markup markup = parse_markup(rig.page("/schedules"));
    CHECK(markup.fault.empty());
    CHECK_FALSE(markup.elements.contains("img"));
    CHECK(holds(markup.text, "0 3 * * * Europe/Berlin"));
    const auto nightly = [&] { return rig.json("/schedules")["schedules"][1]; };
    CHECK(nightly()["queue"] == "tick");
    CHECK(nightly()["next"].is_number());
    CHECK(notice(rig, rig.order("do=run_schedule&list=schedules&schedule=nightly")) ==
          "A task of the schedule was added.");
    CHECK(rig.database.query("SELECT count(*) FROM backlite_tasks WHERE queue = 'tick'") == "1");
    CHECK(nightly()["last_task"].is_string());
    CHECK(notice(rig, rig.order("do=pause_schedule&list=schedules&schedule=nightly")) == "The schedule is paused.");
    CHECK(nightly()["paused"] == true);
    CHECK(holds(rig.page("/schedules"), ">paused<"));
    CHECK(notice(rig, rig.order("do=resume_schedule&list=schedules&schedule=nightly")) == "The schedule goes on.");
    CHECK(nightly()["paused"] == false);
    CHECK(notice(rig, rig.order("do=pause_schedule&list=schedules&schedule=none")) == "There is no such schedule.");
    CHECK(rig.order("do=run_schedule&list=schedules&schedule=none").status == 400);
    CHECK(rig.order("do=run_schedule&list=schedules").status == 400);
    CHECK(rig.order("do=pause_schedule&schedule=nightly&id=bad").status == 400);
    CHECK(rig.order("do=remove&list=schedules&which=all&confirm=yes").status == 400);
    CHECK(nightly()["paused"] == false);
    CHECK(Rig().ask("/schedules").status == 404);
}

TEST_CASE("actions: programs order by JSON, are told what would be done, and what was") {
    Acting rig;
    const auto order = [&](nlohmann::json fields) {
        fields["token"] = rig.token();
        const Response response = rig.post(fields.dump(), {{"Content-Type", "application/json; charset=utf-8"}});
        CHECK(header_of(response, "Content-Type") == "application/json");
        return nlohmann::json::parse(response.body);
    };
    const nlohmann::json all{{"do", "retry"}, {"list", "failed"}, {"which", "all"}, {"q", "such"}};
    const std::string before = rig.all();
    const nlohmann::json asked = order(all);
    CHECK(asked["done"] == false);
    CHECK(asked["found"]["number"] == 2);
    CHECK(rig.all() == before);
    nlohmann::json meant = all;
    meant["confirm"] = true;
    const nlohmann::json done = order(meant);
    CHECK(done["action"] == "retry");
    CHECK(done["done"] == true);
    CHECK(done["count"] == 2);
    CHECK(done["more"] == false);
    CHECK(order({{"do", "set_priority"}, {"id", {"waits", "comes"}}, {"priority", 5}})["count"] == 2);
    CHECK(order({{"do", "pause"}, {"queue", "mail"}})["done"] == true);
    CHECK(order({{"do", "explode"}})["error"] == "There is no action \"explode\".");
}

TEST_CASE("actions: who brings the dashboard's token in a header needs no token of a page") {
    DashboardConfig config;
    config.token = "a-token-that-is-long-enough";
    Acting rig(std::move(config));
    const std::string bearer = "Bearer a-token-that-is-long-enough";
    const std::string body = R"({"do":"run_now","id":"comes"})";
    const Headers json{{"Content-Type", "application/json"}};
    CHECK(rig.post(body, {{"Content-Type", "application/json"}, {"Authorization", bearer}}).status == 200);
    const std::string before = rig.all();
    const std::string retry = R"({"do":"retry","id":"bad"})";
    CHECK(rig.post(retry, json).status == 403);
    CHECK(rig.post(retry, json, "/act?token=a-token-that-is-long-enough").status == 403);
    CHECK(
        rig.post(retry, {{"Content-Type", "application/json"}, {"Cookie", "backlite-8080=a-token-that-is-long-enough"}})
            .status == 403);
    CHECK(rig.post(retry,
                   {{"Content-Type", "application/json"}, {"Authorization", bearer}, {"Origin", "http://evil.example"}})
              .status == 403);
    CHECK(rig.all() == before);
}

// ---- what is refused ------------------------------------------------------------------------------------------------

TEST_CASE("actions: whatever is refused changes nothing") {
    Acting rig;
    const std::string before = rig.all();
    const std::string token = "&token=" + rig.token();
    const std::string remove = "do=remove&list=failed&which=all&confirm=yes";
    const auto refused = [&](int status, const Response& response) {
        CHECK(response.status == status);
        CHECK(rig.all() == before);
        CHECK_FALSE(holds(response.body, "EXCEPTION"));
    };
    SECTION("no token, a wrong one, part of one") {
        refused(403, rig.post(remove));
        refused(403, rig.post(remove + "&token="));
        refused(403, rig.post(remove + "&token=00000000000000000000000000000000"));
        refused(403, rig.post(remove + token.substr(0, token.size() - 1)));
        refused(403, rig.post(remove + token + "0"));
    }
    SECTION("a page of somebody else") {
        for (const char* origin : {"http://evil.example", "null", "http://localhost:3000", "http://localhost", "",
                                   "http://localhost:8080.evil.example", "https://evil.example/localhost:8080",
                                   "localhost:8080", "file://localhost:8080"}) {
            CAPTURE(origin);
            refused(403, rig.post(remove + token, {{"Origin", origin}}));
        }
        for (const char* site : {"cross-site", "same-site", "none", "", "SAME-ORIGIN"}) {
            CAPTURE(site);
            refused(403, rig.post(remove + token, {{"Sec-Fetch-Site", site}}));
            refused(403, rig.post(remove + token, {{"Sec-Fetch-Site", site}, {"Origin", "http://localhost:8080"}}));
        }
        refused(403, rig.post(remove + token, {{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "cross-site"}}));
        refused(403,
                rig.post(remove + token, {{"Origin", "http://localhost:8080"}, {"Origin", "http://evil.example"}}));
        refused(421, rig.post(remove + token, {{"Host", "evil.example"}}));
    }
    SECTION("another method, and another place") {
        for (const char* method : {"GET", "HEAD"}) {
            Request request = get("/act?" + remove + token);
            request.method = method;
            refused(404, rig.dashboard->handle(request));
        }
        for (const char* method : {"PUT", "DELETE", "PATCH", "OPTIONS", "post"}) {
            Request request = get("/act");
            request.method = method;
            request.body = remove + token;
            const Response response = rig.dashboard->handle(request);
            refused(405, response);
            CHECK(header_of(response, "Allow") == "GET, HEAD, POST");
        }
        refused(405, rig.post(remove + token, {}, "/"));
        refused(405, rig.post(remove + token, {}, "/failed"));
        refused(405, rig.post(remove + token, {}, "/act/x"));
        refused(405, rig.post(remove + token, {}, "/health"));
        refused(400, rig.post("", {}, "/act?" + remove + token));
    }
    SECTION("a body that is too large") {
        refused(413, rig.post(remove + token + "&q=" + std::string(most_body, 'x')));
    }
    SECTION("a body of another kind") {
        refused(415, rig.post(remove + token, {{"Content-Type", "text/plain"}}));
        refused(415, rig.post(remove + token, {{"Content-Type", "multipart/form-data; boundary=x"}}));
        refused(415, rig.post(remove + token, {{"Content-Type", ""}}));
        refused(400, rig.post(remove + token, {{"Content-Type", "application/json"}}));
    }
    SECTION("fields that are not known, that come twice, that cannot be understood") {
        for (const char* more : {"&colour=red", "&do=retry", "&confirm=yes", "&list=failed", "&=x", "&q=%zz"}) {
            CAPTURE(more);
            refused(400, rig.post(remove + token + more));
        }
        for (const char* body : {"",
                                 "do=explode&id=bad",
                                 "do=",
                                 "id=bad",
                                 "do=remove&confirm=yes",
                                 "do=remove&which=all&confirm=yes",
                                 "do=remove&list=task&which=all&confirm=yes",
                                 "do=remove&list=none&which=all&confirm=yes",
                                 "do=remove&list=search&which=all&confirm=yes",
                                 "do=remove&list=failed&which=some&confirm=yes",
                                 "do=remove&list=failed&which=all&confirm=yes&state=waiting",
                                 "do=remove&list=failed&which=all&confirm=yes&since=yesterday",
                                 "do=remove&list=failed&which=all&confirm=yes&period=year",
                                 "do=set_priority&id=waits",
                                 "do=set_priority&priority=1001&id=waits",
                                 "do=set_priority&priority=x&id=waits",
                                 "do=pause",
                                 "do=pause&queue=mail&id=bad",
                                 "do=pause&queue=mail&which=all&list=failed",
                                 "do=pause&queue=a%00b"}) {
            CAPTURE(body);
            refused(400, rig.order(body));
        }
        std::string ids = "do=retry";
        for (int i = 0; i <= 1'000; ++i) ids += "&id=bad";
        refused(400, rig.order(ids));
    }
    CHECK(rig.post(remove + token, {{"Origin", "http://LOCALHOST:8080"}}).status == 303);
    CHECK(rig.all() != before);
}

TEST_CASE("actions: without them the dashboard only shows") {
    DashboardConfig config;
    config.authorization = this_machine(Access::operate);
    Rig rig(std::move(config));
    rig.finish(FinishedRow{.id = "bad", .error = "no"});
    const Response response = rig.post("do=remove&id=bad&confirm=yes&token=");
    CHECK(response.status == 405);
    CHECK(header_of(response, "Allow") == "GET, HEAD");
    CHECK(rig.ask("/token").status == 404);
    CHECK_FALSE(holds(rig.page("/failed"), "method=\"post\""));
    CHECK(holds(rig.page("/failed"), "Read-only view."));
    CHECK(rig.database.query("SELECT count(*) FROM backlite_meta WHERE key = 'secret'") == "0");
}

TEST_CASE("actions: who may only look gets no forms and no token, and orders nothing") {
    DashboardConfig config;
    config.authorization.check = [](const Request& request) {
        return only_header(request.headers, "X-Role") == "operator" ? Access::operate : Access::read;
    };
    config.authorization.who = [](const Request&) { return "ada"; };
    Acting rig(std::move(config));
    const std::string before = rig.all();
    const Headers as_operator{{"X-Role", "operator"}};
    const nlohmann::json token = nlohmann::json::parse(rig.ask("/token", as_operator).body)["token"];
    CHECK(rig.ask("/token").status == 404);
    for (const char* path : {"/", "/?queue=mail", "/running", "/upcoming", "/failed", "/search?q=a", "/task/bad"}) {
        CAPTURE(path);
        CHECK(holds(rig.page(path), "Read-only view."));
        CHECK_FALSE(holds(rig.page(path), "method=\"post\""));
        CHECK_FALSE(holds(rig.page(path), "checkbox"));
        CHECK(holds(rig.ask(path, as_operator).body, "You may act."));
    }
    const std::string body = "do=remove&list=failed&id=bad&confirm=yes&token=" + token.get<std::string>();
    CHECK(rig.post(body).status == 403);
    CHECK(rig.all() == before);
    CHECK(rig.post(body, as_operator).status == 303);
    CHECK(rig.all() != before);
}

TEST_CASE("actions: a form is good in each process on the file, until the day after the next, and for nobody else") {
    DashboardConfig config;
    config.authorization.check = [](const Request&) { return Access::operate; };
    config.authorization.who = [](const Request& request) {
        return std::string{only_header(request.headers, "X-Name").value_or("")};
    };
    Acting rig(config);
    const Headers ada{{"X-Name", "ada"}};
    const std::string token = nlohmann::json::parse(rig.ask("/token", ada).body)["token"];
    DashboardConfig others = config;
    others.clock = rig.clock;
    others.actions = rig.admin();
    Dashboard second(rig.database.config.database, others);
    CHECK(holds(second.handle(get("/failed", ada)).body, token));

    const std::string body = "do=retry&id=bare&list=failed&token=" + token;
    CHECK(rig.post(body, ada).status == 303);
    CHECK(rig.post(body, {{"X-Name", "bob"}}).status == 403);
    CHECK(rig.post(body).status == 403);
    rig.clock->advance(24h);
    CHECK(rig.post(body, ada).status == 303);
    rig.clock->advance(24h);
    CHECK(rig.post(body, ada).status == 403);

    Acting other(config);
    CHECK_FALSE(holds(other.ask("/failed", ada).body, token));
    CHECK(other.post(body, ada).status == 403);
}

TEST_CASE("actions: what was done is said once it is signed, and nobody else makes a page say something") {
    Acting rig;
    const Response done = rig.order("do=retry&list=failed&id=bad");
    const std::string leads = header_of(done, "Location");
    CHECK(holds(rig.page(leads), "1 task to be tried again."));
    std::string forged = leads;
    forged[forged.find("did=1") + 4] = '9';
    CHECK_FALSE(holds(rig.page(forged), "class=\"notice"));
    CHECK_FALSE(holds(rig.page("/failed?did=All%20is%20gone.0"), "is gone"));
    CHECK_FALSE(holds(rig.page("/failed?did="), "class=\"notice"));
}

TEST_CASE("actions: each one is told, with who, what and how many, whether it failed or not") {
    std::vector<ActionRecord> records;
    DashboardConfig config;
    config.audit = [&](const ActionRecord& record) {
        records.push_back(record);
        throw std::runtime_error("no paper");
    };
    Acting rig(std::move(config));
    CHECK(rig.order("do=retry&list=failed&which=all&queue=mail&confirm=yes").status == 303);
    CHECK(rig.order("do=remove&list=failed&id=bare&id=nobody&confirm=yes").status == 303);
    CHECK(rig.order("do=remove&list=failed&id=good").status == 200);  // asks
    CHECK(rig.order("do=pause&queue=mail").status == 303);
    REQUIRE(records.size() == 3);
    CHECK(records[0].who == "127.0.0.1");
    CHECK(records[0].action == "retry");
    CHECK(records[0].tasks == "failed or cancelled or expired, of queue mail");
    CHECK(records[0].affected == Affected{2, 0});
    CHECK(records[0].failure.empty());
    CHECK(records[1].tasks == "bare, nobody");
    CHECK(records[1].affected == Affected{1, 0});
    CHECK(records[2].action == "pause");
    CHECK(records[2].tasks == "mail");
    CHECK(rig.logger->count("dashboard action") == 3);
    CHECK(rig.logger->count("dashboard audit threw") == 3);

    rig.database.execute("CREATE TRIGGER t BEFORE INSERT ON backlite_queues BEGIN SELECT RAISE(ABORT, 'no room'); END");
    CHECK(rig.order("do=pause&queue=print").status == 503);
    REQUIRE(records.size() == 4);
    CHECK(holds(records[3].failure, "no room"));
}

TEST_CASE("actions: what is hidden is not found by an order either") {
    DashboardConfig config;
    config.payloads = Payloads::hide;
    Acting rig(std::move(config));
    const std::string before = rig.all();
    CHECK(rig.order("do=remove&list=failed&which=all&q=such").status == 400);
    CHECK(rig.order("do=remove&list=failed&which=all&q=such&confirm=yes").status == 400);
    CHECK(rig.all() == before);
}

TEST_CASE("actions: on another file than the dashboard's they are an error that names both") {
    Rig rig;
    Rig other;
    DashboardConfig config;
    config.actions = other.admin();
    try {
        const Dashboard dashboard(rig.database.config.database, config);
        FAIL("it was made");
    } catch (const ConfigError& error) {
        CHECK(holds(error.what(), rig.database.config.database));
        CHECK(holds(error.what(), other.database.config.database));
    }
}

TEST_CASE("actions: pages with forms are well formed and small, whatever rows hold") {
    Acting rig;
    const std::string nasty = "\"><img src=x onerror=1>'\n\x01\xff";
    rig.add({.id = nasty, .queue = nasty, .created_at = now - 1});
    rig.finish(FinishedRow{.id = nasty + "f", .queue = nasty, .error = nasty});
    for (int i = 0; i < 60; ++i) {
        const std::string id = fmt::format("0196f0e0-7c1d-7aaa-8bbb-{:012}", i);
        rig.add({.id = id, .queue = "a_queue_with_a_long_name", .created_at = now, .payload = std::string(90, 'x')});
        rig.finish(FinishedRow{.id = id + "f", .queue = "a_queue_with_a_long_name", .error = std::string(300, 'e')});
    }
    std::vector<std::string> bodies;
    for (const char* path :
         {"/", "/?queue=mail", "/running", "/upcoming", "/succeeded", "/failed", "/search?q=0196f", "/schedules",
          "/task/waits", "/task/comes", "/task/runs", "/task/good", "/task/bad", "/task/bare"}) {
        bodies.push_back(rig.page(path));
    }
    Link task(std::string_view{}, "/task/");
    bodies.push_back(rig.page(task.part(nasty).str()));
    bodies.push_back(rig.order("do=remove&list=search&q=%22%3E%3Cimg%20src=x%3E&which=all").body);
    bodies.push_back(rig.order("do=remove&list=%22%3E%3Cimg%20src=x%3E").body);
    bodies.push_back(rig.order("%22%3E%3Cimg%20src=x%3E=1").body);
    bodies.push_back(rig.order("do=remove&list=failed&id=%22%3E%3Cimg%20src=x%3E").body);
    for (const std::string& body : bodies) {
        CAPTURE(body.substr(0, 200));
        const Markup markup = parse_markup(body);
        CHECK(markup.fault.empty());
        CHECK_FALSE(markup.elements.contains("img"));
        for (const std::string& attribute : markup.attributes) CHECK_FALSE(holds(attribute, " on"));
        if (!holds(body, "<h1>Search")) CHECK(body.size() < 60'000);  // up to 120 lines
    }
}

TEST_CASE("actions: tasks that were cancelled or have expired are listed under these words") {
    Acting rig;
    rig.database.execute("UPDATE backlite_tasks_completed SET kind = 1 WHERE id = 'worse'");
    rig.database.execute("UPDATE backlite_tasks_completed SET kind = 5 WHERE id = 'bare'");
    const auto ids = [&](const std::string& path, const char* part = nullptr) {
        std::string text;
        const nlohmann::json json = rig.json(path);
        for (const auto& task : part == nullptr ? json["tasks"] : json[part]["tasks"]) {
            text += task["id"].get<std::string>() + ":" + task["state"].get<std::string>() + " ";
        }
        return text;
    };
    CHECK(ids("/failed") == "bare:expired worse:cancelled bad:failed ");
    CHECK(ids("/failed?state=cancelled") == "worse:cancelled ");
    CHECK(ids("/failed?state=expired") == "bare:expired ");
    CHECK(ids("/failed?state=failed") == "bad:failed ");
    CHECK(ids("/search?state=cancelled", "finished") == "worse:cancelled ");
    CHECK(rig.ask("/failed?state=waiting").status == 400);
    CHECK(rig.ask("/succeeded?state=cancelled").status == 400);
    const std::string page = rig.page("/failed");
    CHECK(holds(page, R"(<span class="badge cancelled">cancelled</span>)"));
    CHECK(holds(page, R"(<option value="expired">expired</option>)"));
    CHECK(holds(rig.page("/task/worse"), "Cancelled"));
    CHECK(holds(rig.page("/task/bare"), "Expired"));
    CHECK(holds(rig.order("do=retry&list=failed&which=all&state=expired").body, "<b>1 task</b>, expired."));
}

}  // namespace
