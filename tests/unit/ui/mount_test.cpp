// SPDX-License-Identifier: MIT
// The dashboard on a server that is none: what it is told, and what is taken out of the requests it lends.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/ui/mount.hpp>

#include <backlite_catch.hpp>
#include <dashboard_rig.hpp>
#include <events.hpp>
#include <uncapped.hpp>

namespace {

using namespace backlite::ui;
using namespace std::chrono_literals;
using backlite_test::Gate;
using backlite_test::Rig;

/// What a server lends its handlers.
struct LentRequest {
    std::string method = "GET";
    std::string target = "/";
    std::string remote_addr = "127.0.0.1";
    std::multimap<std::string, std::string> headers{{"Host", "localhost"}};
    std::vector<std::pair<long, long>> ranges{};
    std::string body{};
};

struct LentResponse {
    int status = -1;
    std::multimap<std::string, std::string> headers{};
    std::string body{};
    void set_header(const char* name, const std::string& value) { headers.emplace(name, value); }
    void set_content(std::string content, const char* type) {
        body = std::move(content);
        headers.emplace("Content-Type", type);
    }
};

/// A queue of jobs as cpp-httplib has it: since 0.15 `enqueue` answers whether the job was taken.
template <class Taken>
struct JobQueue {
    JobQueue() = default;
    JobQueue(const JobQueue&) = delete;
    JobQueue& operator=(const JobQueue&) = delete;
    virtual ~JobQueue() = default;
    virtual Taken enqueue(std::function<void()> job) = 0;
    virtual void shutdown() = 0;
};

struct FakeServer {
    using Handler = std::function<void(const LentRequest&, LentResponse&)>;
    void Get(const std::string& pattern, Handler handler) { handlers[pattern] = std::move(handler); }
    void Post(const std::string&, Handler handler) { post = std::move(handler); }
    void Put(const std::string&, const Handler&) {}
    void Patch(const std::string&, const Handler&) {}
    void Delete(const std::string&, const Handler&) {}
    void Options(const std::string&, const Handler&) {}
    void set_keep_alive_timeout(long seconds) { keep_alive = seconds; }
    void set_read_timeout(long seconds) { read_timeout = seconds; }
    std::function<JobQueue<void>*()> new_task_queue{};

    std::map<std::string, Handler> handlers{};
    Handler post{};
    long keep_alive = 5;
    long read_timeout = 5;
};

TEST_CASE("mount: ranges and compression are taken out of a request, whatever the answer is") {
    Rig rig;
    rig.finish({.id = "large", .payload = std::string(100'000, 'x')});
    FakeServer server;
    mount(server, *rig.dashboard);
    REQUIRE(server.handlers.size() == 1);
    for (const char* target : {"/payload/large", "/", "/nowhere", "/%zz"}) {
        CAPTURE(target);
        LentRequest request;
        request.target = target;
        request.headers.emplace("Accept-Encoding", "br");
        request.ranges.assign(1'500, {0, -1});
        LentResponse response;
        server.handlers.begin()->second(request, response);
        CHECK(request.ranges.empty());
        CHECK(request.headers.count("Accept-Encoding") == 0);
        CHECK_FALSE(response.body.empty());
        CHECK(response.headers.find("Accept-Ranges")->second == "none");
    }
}

/// A server that hands bodies over piece by piece, as cpp-httplib does on demand.
struct ReadingServer : FakeServer {
    using ContentReader = std::function<bool(std::function<bool(const char*, std::size_t)>)>;
    using HandlerWithContentReader = std::function<void(const LentRequest&, LentResponse&, const ContentReader&)>;
    void Post(const std::string&, HandlerWithContentReader handler) { reading_post = std::move(handler); }
    HandlerWithContentReader reading_post{};
};

TEST_CASE("mount: an order reaches the dashboard, and of a body that is too large no more is read") {
    Rig rig({}, Access::operate);
    const std::string token = rig.json("/token")["token"].get<std::string>();
    LentRequest request;
    request.method = "POST";
    request.target = "/act";
    request.headers.emplace("Content-Type", "application/x-www-form-urlencoded");
    const std::string pause = "do=pause&queue=mail&token=" + token;
    const auto paused = [&] { return rig.database.query("SELECT count(paused_at) FROM backlite_queues"); };
    SECTION("whole") {
        FakeServer server;
        mount(server, *rig.dashboard);
        request.body = pause;
        LentResponse response;
        server.post(request, response);
        CHECK(response.status == 303);
        CHECK(response.headers.count("Location") == 1);
        CHECK(paused() == "1");
    }
    SECTION("piece by piece") {
        ReadingServer server;
        mount(server, *rig.dashboard);
        LentResponse response;
        server.reading_post(request, response, [&](const auto& take) {
            return take(pause.data(), 5) && take(pause.data() + 5, pause.size() - 5);
        });
        CHECK(response.status == 303);
        CHECK(paused() == "1");
        const std::string large(300'000, '&');
        int taken = 0;
        LentResponse refused;
        server.reading_post(request, refused, [&](const auto& take) {
            if (!take(pause.data(), pause.size())) return false;
            while (taken < 100 && take(large.data(), large.size())) ++taken;
            return taken == 100;
        });
        CHECK(refused.status == 413);
        CHECK(taken == 3);
    }
    SECTION("its beginning only") {
        ReadingServer server;
        mount(server, *rig.dashboard);
        LentResponse response;
        server.reading_post(request, response, [&](const auto& take) {
            static_cast<void>(take(pause.data(), pause.size()));
            return false;
        });
        CHECK(response.status == 400);
        CHECK(response.headers.find("Connection")->second == "close");
        CHECK(paused() == "0");
    }
    SECTION("in parts, which cpp-httplib does not hand over so") {
        ReadingServer server;
        mount(server, *rig.dashboard);
        request.headers.erase("Content-Type");
        request.headers.emplace("content-type", "Multipart/form-data; boundary=x");
        LentResponse response;
        server.reading_post(request, response, [](const auto&) -> bool { throw std::bad_function_call(); });
        CHECK(response.status == 415);
        CHECK(response.headers.find("Connection")->second == "close");
        CHECK(paused() == "0");
    }
}

TEST_CASE("mount: each answer closes its connection, and the server is left as it is") {
    Rig rig;
    FakeServer server;
    mount(server, *rig.dashboard);
    for (const char* target : {"/", "/nowhere", "/metrics"}) {
        CAPTURE(target);
        LentRequest request;
        request.target = target;
        LentResponse response;
        server.handlers.begin()->second(request, response);
        REQUIRE(response.headers.count("Connection") == 1);
        CHECK(response.headers.find("Connection")->second == "close");
    }
    CHECK(server.keep_alive == 5);
    CHECK(server.read_timeout == 5);
    CHECK_FALSE(server.new_task_queue);
}

TEST_CASE("prepare: idle and slow connections are closed soon, and each has a thread") {
    FakeServer server;
    prepare(server);
    CHECK(server.keep_alive == 1);
    CHECK(server.read_timeout == 2);
    const std::unique_ptr<JobQueue<void>> queue{server.new_task_queue()};
    Gate gate;
    std::atomic<int> inside{0};
    for (int i = 0; i < 200; ++i) {
        queue->enqueue([&] {
            ++inside;
            gate.pass();
        });
    }
    CHECK(backlite_test::eventually([&] { return inside == 200; }));
    std::atomic<bool> answered{false};
    queue->enqueue([&] { answered = true; });
    CHECK(backlite_test::eventually([&] { return answered.load(); }));
    gate.open();
    queue->shutdown();
}

TEST_CASE("prepare: at the bound a connection waits for a thread, and all are served before the end") {
    const backlite_test::Uncapped uncapped;
    backlite::ui::detail::ConnectionThreads<JobQueue<bool>> threads(2);
    Gate gate;
    backlite_test::Events<std::thread::id> served;
    const auto job = [&] {
        gate.pass();
        served.add(std::this_thread::get_id());
    };
    CHECK(threads.enqueue(job));
    CHECK(threads.enqueue(job));
    backlite_test::Events<bool> taken;
    std::thread server([&] {
        for (int i = 0; i < 10; ++i) taken.add(threads.enqueue(job));
        threads.shutdown();
    });
    CHECK_FALSE(taken.wait_for(1, 100ms));
    gate.open();
    REQUIRE(served.wait_for(12));
    server.join();
    std::vector<std::thread::id> ids = served.all();
    CHECK(ids.size() == 12);
    std::sort(ids.begin(), ids.end());
    CHECK(std::unique(ids.begin(), ids.end()) - ids.begin() <= 2);
}

TEST_CASE("prepare: a thread that is done serves the next connection") {
    const backlite_test::Uncapped uncapped;
    backlite::ui::detail::ConnectionThreads<JobQueue<bool>> threads(100);
    std::mutex mutex;
    std::vector<std::thread::id> served;
    for (std::size_t i = 0; i < 20; ++i) {
        threads.enqueue([&] {
            const std::lock_guard lock(mutex);
            served.push_back(std::this_thread::get_id());
        });
        REQUIRE(backlite_test::eventually([&] {
            const std::lock_guard lock(mutex);
            return served.size() == i + 1;
        }));
    }
    threads.shutdown();
    std::sort(served.begin(), served.end());
    // Between its last word and its being idle a thread may miss a connection, which gets a new one.
    CHECK(std::unique(served.begin(), served.end()) - served.begin() < 20);
}

TEST_CASE("prepare: what escapes the server ends a connection, and no more") {
    backlite::ui::detail::ConnectionThreads<JobQueue<bool>> threads(1);
    std::atomic<bool> answered{false};
    threads.enqueue([] { throw std::bad_alloc(); });
    threads.enqueue([] { throw 42; });
    threads.enqueue([&] { answered = true; });
    threads.shutdown();
    CHECK(answered);
}

}  // namespace
