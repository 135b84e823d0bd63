// SPDX-License-Identifier: MIT
// The dashboard behind the real cpp-httplib.

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <httplib.h>

#include <backlite/ui/dashboard.hpp>
#include <backlite/ui/mount.hpp>

#include <backlite_catch.hpp>
#include <dashboard_rig.hpp>

namespace {

using namespace backlite;
using namespace backlite::ui;
using backlite_test::FinishedRow;
using backlite_test::get;
using backlite_test::header_of;
using backlite_test::Rig;

/// A server on a free port of this machine, for as long as it lives.
struct Served {
    explicit Served(Dashboard& dashboard, const std::string& base = "") {
        prepare(server);
        mount(server, dashboard, base);
        port = ui::bind(server, dashboard, "127.0.0.1", 0);
        thread = std::thread([this] { server.listen_after_bind(); });
        while (!server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    Served(const Served&) = delete;
    Served& operator=(const Served&) = delete;
    ~Served() {
        server.stop();
        thread.join();
    }

    [[nodiscard]] httplib::Client client() const {
        httplib::Client client("127.0.0.1", port);
        client.set_url_encode(false);  // targets are sent as the test writes them
        return client;
    }

    httplib::Server server{};
    int port = 0;
    std::thread thread{};
};

TEST_CASE("mount: a server's answers are those of the dashboard itself") {
    Rig rig;
    rig.add({.id = "a/b?c", .queue = "mail", .created_at = Rig::now - 5});
    rig.finish(FinishedRow{.id = "bad", .error = "no <such>"});
    for (const std::string base : {"", "/ops/task-list.v1"}) {
        const Served served(*rig.dashboard, base);
        httplib::Client client = served.client();
        const httplib::Headers json{{"Accept", "application/json"}};
        for (const std::string path : {"/", "/running", "/upcoming?queue=mail", "/failed", "/task/a%2Fb%3Fc",
                                       "/task/nobody", "/search?q=such", "/health", "/metrics", "/nowhere", "/%zz",
                                       "/task/a%0Ab", "/task/%ff%00", "/search?state=odd", "/payload/bad"}) {
            for (const bool as_json : {false, true}) {
                CAPTURE(base, path, as_json);
                const auto got = as_json ? client.Get((base + path).c_str(), json) : client.Get((base + path).c_str());
                REQUIRE(got);
                Headers more;
                if (as_json) more.emplace_back("Accept", "application/json");
                const Response own = rig.dashboard->handle(get(base + path, more), base);
                CHECK(got->status == own.status);
                if (path != "/metrics") CHECK(got->body == own.body);
                for (const auto& [name, value] : own.headers) CHECK(got->get_header_value(name.c_str()) == value);
                CHECK_FALSE(got->has_header("EXCEPTION_WHAT"));
            }
        }
    }
}

TEST_CASE("mount: HEAD, 304 and other methods come out as the dashboard says") {
    Rig rig;
    const Served served(*rig.dashboard, "/ops");
    httplib::Client client = served.client();
    const auto whole = client.Get("/ops/failed");
    REQUIRE(whole);
    const auto head = client.Head("/ops/failed");
    REQUIRE(head);
    CHECK(head->status == 200);
    CHECK(head->body.empty());
    CHECK(head->get_header_value("Content-Length") == fmt::to_string(whole->body.size()));
    const auto same = client.Get("/ops/failed", {{"If-None-Match", whole->get_header_value("ETag")}});
    REQUIRE(same);
    CHECK(same->status == 304);
    CHECK(same->body.empty());
    const auto post = client.Post("/ops/failed", "x=1", "application/x-www-form-urlencoded");
    REQUIRE(post);
    CHECK(post->status == 405);
    CHECK(post->get_header_value("Allow") == "GET, HEAD");
    const auto removed = client.Delete("/ops/task/x");
    REQUIRE(removed);
    CHECK(removed->status == 405);
    const auto outside = client.Get("/");
    REQUIRE(outside);
    CHECK(outside->status == 404);
    CHECK_FALSE(outside->has_header("Content-Security-Policy"));  // the host's own
}

TEST_CASE("mount: an order is carried out below the base path, and leads back there") {
    Rig rig({}, Access::operate);
    rig.finish(FinishedRow{.id = "a/b?c", .error = "no"});
    const Served served(*rig.dashboard, "/ops");
    httplib::Client client = served.client();
    const auto page = client.Get("/ops/failed");
    REQUIRE(page);
    const std::string mark = R"(name="token" value=")";
    const std::string token = page->body.substr(page->body.find(mark) + mark.size(), 32);
    CHECK(page->body.find(R"(method="post" action="/ops/act")") != std::string::npos);
    const char* const form = "application/x-www-form-urlencoded";
    const std::string retry = "do=retry&list=failed&id=a%2Fb%3Fc&token=" + token;
    const httplib::Headers own{{"Origin", fmt::format("http://127.0.0.1:{}", served.port)}};
    const auto done = client.Post("/ops/act", own, retry, form);
    REQUIRE(done);
    CHECK(done->status == 303);
    std::string next = done->get_header_value("Location");  // of which cpp-httplib 0.11 undoes the encoding
    for (std::size_t at = 0; (at = next.find(' ')) != std::string::npos;) next.replace(at, 1, "%20");
    CHECK(next.substr(0, 16) == "/ops/failed?did=");
    const auto told = client.Get(next.c_str());
    REQUIRE(told);
    CHECK(told->body.find("1 task to be tried again.") != std::string::npos);
    CHECK(rig.database.query("SELECT id FROM backlite_tasks") == "a/b?c");
}

TEST_CASE("mount: orders that are refused change nothing, and none is read beyond what the dashboard takes") {
    Rig rig({}, Access::operate);
    rig.finish(FinishedRow{.id = "bad", .error = "no"});
    const Served served(*rig.dashboard, "/ops");
    const std::string remove =
        "do=remove&list=failed&id=bad&confirm=yes&token=" + rig.json("/token")["token"].get<std::string>();
    const auto post = [&](const std::string& body, const char* type, const httplib::Headers& headers) {
        httplib::Client client = served.client();
        const auto got = client.Post("/ops/act", headers, body, type);
        CHECK(rig.database.query("SELECT count(*) FROM backlite_tasks_completed") == "1");
        if (!got) return 0;
        CHECK_FALSE(got->has_header("EXCEPTION_WHAT"));
        return got->status;
    };
    const char* const form = "application/x-www-form-urlencoded";
    CHECK(post(remove, form, {{"Origin", "http://evil.example"}}) == 403);
    CHECK(post(remove, form, {{"Sec-Fetch-Site", "cross-site"}}) == 403);
    CHECK(post(remove, form, {{"Host", "evil.example"}}) == 421);
    CHECK(post(remove + "x", form, {}) == 403);
    CHECK(post(remove, "text/plain", {}) == 415);
    CHECK(post(remove + "&x=1", form, {}) == 400);
    const int large = post(remove + "&q=" + std::string(20'000'000, 'x'), form, {});
    CHECK((large == 413 || large == 0));  // the server may be gone before the rest is sent
    std::string many = remove;
    for (int i = 0; i < 900; ++i) many += "&id=0196f0e0-7c1d-7aaa-8bbb-000000000000";
    httplib::Client client = served.client();
    const auto got = client.Post("/ops/act", httplib::Headers{}, many, form);  // more than 8 kB
    REQUIRE(got);
    CHECK(got->status == 303);
    CHECK(rig.database.query("SELECT count(*) FROM backlite_tasks_completed") == "0");
}

TEST_CASE("mount: a name that is turned to this machine gets nothing") {
    Rig rig;
    rig.add({.id = "secret"});
    const Served served(*rig.dashboard);
    httplib::Client client = served.client();
    const auto got = client.Get("/upcoming", {{"Host", "evil.com"}});
    REQUIRE(got);
    CHECK(got->status == 421);
    CHECK(got->body.find("secret") == std::string::npos);
}

TEST_CASE("mount: a request for parts of an answer gets the whole, once") {
    Rig rig;
    rig.finish(FinishedRow{.id = "large", .payload = std::string(5'000'000, 'x')});
    const Served served(*rig.dashboard);
    std::string many = "bytes=0-";
    for (int i = 1; i < 1'500; ++i) many += ",0-";
    for (const std::string& range : {std::string{"bytes=0-0"}, std::string{"bytes=-1"}, std::string{"bytes=9000000-"},
                                     std::string{"bytes=0-0,5-6"}, many}) {
        CAPTURE(range.substr(0, 20));
        for (const char* path : {"/payload/large", "/failed", "/nowhere"}) {
            CAPTURE(path);
            httplib::Client client = served.client();
            const auto got = client.Get(path, {{"Range", range}});
            REQUIRE(got);
            const Response own = rig.dashboard->handle(get(path));
            CHECK(got->status == own.status);
            CHECK(got->body == own.body);
            CHECK(got->get_header_value("Accept-Ranges") == "none");
            CHECK_FALSE(got->has_header("Content-Range"));
        }
    }
    httplib::Client client = served.client();
    const auto head = client.Head("/failed", {{"Range", many}});
    REQUIRE(head);
    CHECK(head->status == 200);
    CHECK(head->get_header_value("Accept-Ranges") == "none");
}

TEST_CASE("mount: an answer is not compressed, whatever the request would take") {
    Rig rig;
    rig.finish(FinishedRow{.id = "large", .payload = std::string(1'000'000, 'x')});
    const Served served(*rig.dashboard);
    for (const char* encoding : {"gzip", "br", "gzip, deflate, br, zstd"}) {
        for (const char* path : {"/payload/large", "/failed"}) {
            CAPTURE(encoding, path);
            httplib::Client client = served.client();
            const auto got = client.Get(path, {{"Accept-Encoding", encoding}});
            REQUIRE(got);
            CHECK(got->status == 200);
            CHECK_FALSE(got->has_header("Content-Encoding"));
        }
    }
}

TEST_CASE("mount: the token in the address is for a cookie") {
    DashboardConfig config;
    config.token = "a-token-that-is-long-enough";
    Rig rig(std::move(config));
    const Served served(*rig.dashboard, "/ops");
    httplib::Client client = served.client();
    const auto refused = client.Get("/ops/upcoming");
    REQUIRE(refused);
    CHECK(refused->status == 403);
    const auto first = client.Get(rig.dashboard->entrance("/ops").c_str());
    REQUIRE(first);
    CHECK(first->get_header_value("Refresh") == "0; url=/ops/");
    const std::string cookie = first->get_header_value("Set-Cookie");
    const auto second = client.Get("/ops/upcoming", {{"Cookie", cookie.substr(0, cookie.find(';'))}});
    REQUIRE(second);
    CHECK(second->status == 200);
}

TEST_CASE("mount: many requests at once are answered") {
    Rig rig;
    rig.add({.id = "one"});
    const Served served(*rig.dashboard);
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            httplib::Client client = served.client();
            for (int i = 0; i < 20; ++i) {
                const auto got = client.Get(i % 2 == 0 ? "/" : "/upcoming");
                if (got && got->status == 200) ++answered;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(answered == 80);
}

TEST_CASE("bind: a port in use is an error that names it, also between two of these servers") {
    Rig rig;
    const Served first(*rig.dashboard);
    httplib::Server second;
    try {
        ui::bind(second, *rig.dashboard, "127.0.0.1", first.port);
        FAIL("the port is shared");
    } catch (const ConfigError& error) {
        CHECK(std::string{error.what()} ==
              fmt::format("cannot listen on 127.0.0.1 port {}: Address already in use", first.port));
    }
}

TEST_CASE("bind: what cannot be bound is named") {
    Rig rig;
    httplib::Server server;
    CHECK_THROWS_AS(ui::bind(server, *rig.dashboard, "127.0.0.1", -1), ConfigError);
    CHECK_THROWS_AS(ui::bind(server, *rig.dashboard, "127.0.0.1", 65'536), ConfigError);
    CHECK_THROWS_AS(ui::mount(server, *rig.dashboard, "ops"), ConfigError);
    DashboardConfig config;
    config.authorization = basic_auth("ada", "secret");
    Dashboard guarded("app.db", config);
    try {
        ui::bind(server, guarded, "203.0.113.7", 8080);  // an address that no machine of ours has (RFC 5737)
        FAIL("it was bound");
    } catch (const ConfigError& error) {
        CHECK(std::string_view{error.what()}.starts_with("cannot listen on 203.0.113.7 port 8080: "));
    }
}

TEST_CASE("bind: an address that others reach needs an authorization") {
    const Dashboard open("app.db");
    httplib::Server server;
    for (const char* host : {"0.0.0.0", "::", "10.0.0.7", "example.org"}) {
        CHECK_THROWS_AS(ui::bind(server, open, host, 0), ConfigError);
    }
    DashboardConfig config;
    config.authorization = basic_auth("ada", "secret");
    Dashboard guarded("app.db", config);
    CHECK(ui::bind(server, guarded, "0.0.0.0", 0) > 0);
}

}  // namespace
