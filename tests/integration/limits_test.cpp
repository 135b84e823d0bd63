// SPDX-License-Identifier: MIT
// Limits of queues: how many tasks run at once, and how often they start.

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;

/// Two at once, over all clients.
struct Upload {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "upload", .limits = {.running = 2}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Upload, name)

/// Long ones: one in each client.
struct Film {
    static backlite::QueueConfig config() { return {.name = "film", .limits = {.running_per_client = 1}}; }
};

struct Mail {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "mail"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Mail, name)

/// Three at once, then one each 20 ms.
struct Request {
    static backlite::QueueConfig config() {
        return {.name = "request", .limits = {.rate = {.count = 50, .period = 1s, .burst = 3}}};
    }
};

/// In order, by device.
struct Reading {
    std::string device{};
    int number = 0;
    static backlite::QueueConfig config() {
        return {.name = "reading", .max_attempts = 1'000, .limits = {.in_order = true}};
    }
    [[nodiscard]] std::string partition() const { return device; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Reading, device, number)

/// A type that cannot be edited.
struct WebPage {
    std::string host{};
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(WebPage, host)

}  // namespace

template <>
struct backlite::TaskTraits<WebPage> {
    static QueueConfig config() { return {.name = "page", .limits = {.running_per_partition = 1}}; }
    static std::string partition(const WebPage& page) { return page.host; }
};

namespace {

/// How many are inside at once. Threads: any.
class Meter {
public:
    struct Visit {
        explicit Visit(Meter& meter) : meter_(meter) {
            const int inside = ++meter_.inside_;
            for (int most = meter_.most_; most < inside && !meter_.most_.compare_exchange_weak(most, inside);) {
            }
        }
        Visit(const Visit&) = delete;
        Visit& operator=(const Visit&) = delete;
        ~Visit() {
            --meter_.inside_;
            ++meter_.done_;
        }
        Meter& meter_;
    };

    [[nodiscard]] int inside() const { return inside_; }
    [[nodiscard]] int most() const { return most_; }
    [[nodiscard]] int done() const { return done_; }

private:
    std::atomic<int> inside_{0};
    std::atomic<int> most_{0};
    std::atomic<int> done_{0};
};

TEST_CASE_METHOD(Story, "limits: two clients on a file never run more of a queue than its limit, and none is lost") {
    const Uncapped uncapped;
    Meter meter;
    std::optional<Client> clients[2];
    for (auto& client : clients) {
        client.emplace(quick(file, 4));
        client->register_queue<Upload>([&](const Upload&) {
            const Meter::Visit visit(meter);
            std::this_thread::sleep_for(100us);
        });
        client->start();
    }
    for (int i = 0; i < 50; ++i) {
        clients[0]->add(Upload{"one"}).save();  // a hand-off, if one were allowed
        clients[1]->add(Upload{"two"}, Upload{"three"}).save();
    }
    CHECK(eventually([&] { return meter.done() == 150; }));
    CHECK(meter.most() <= 2);
    CHECK(meter.most() > 0);
}

TEST_CASE_METHOD(Story, "limits: a slot that one client frees is another's at once") {
    const Uncapped uncapped;
    Gate gate;
    Meter meter;
    Client one{quick(file, 2)};
    one.register_queue<Upload>([&](const Upload& task) {
        const Meter::Visit visit(meter);
        journal.note(task.name);
        gate.pass();
    });
    one.start();
    one.add(Upload{"a"}, Upload{"b"}).save();
    REQUIRE(journal.await("a"));
    REQUIRE(journal.await("b"));
    Client two{quick(file, 4)};
    two.register_queue<Upload>([&](const Upload& task) { journal.note(task.name + " by two"); });
    two.start();
    two.add(Upload{"c"}).save();
    std::this_thread::sleep_for(20ms);
    CHECK(journal.entries().size() == 2);
    (void)one.stop(0s);  // it asks for no more; its workers are busy
    gate.open();
    CHECK(journal.await("c by two"));
}

TEST_CASE_METHOD(Story, "limits: long tasks of a queue with a limit for each client leave workers to the others") {
    const Uncapped uncapped;
    Gate gate;
    Meter films;
    Client client{quick(file, 2)};
    client.register_queue<Film>([&](const Film&) {
        const Meter::Visit visit(films);
        gate.pass();
    });
    client.register_queue<Mail>([&](const Mail& mail) { journal.note(mail.name); });
    client.start();
    client.add(Film{}, Film{}, Film{}).save();
    REQUIRE(eventually([&] { return films.inside() == 1; }));
    for (int i = 0; i < 20; ++i) client.add(Mail{"quick"}).save();
    CHECK(journal.await("quick", 20));
    CHECK(films.inside() == 1);
    gate.open();
    CHECK(eventually([&] { return films.done() == 3; }));
    CHECK(films.most() == 1);
}

TEST_CASE_METHOD(Story, "limits: a rate starts its burst, and then no more than its share of the time") {
    std::mutex mutex;
    std::vector<std::chrono::steady_clock::time_point> starts;
    Client client{quick(file, 4)};
    client.register_queue<Request>([&](const Request&) {
        const std::lock_guard lock(mutex);
        starts.push_back(std::chrono::steady_clock::now());
    });
    std::vector<Request> many(13);
    const auto begun = std::chrono::steady_clock::now();
    client.start();
    client.add(many).save();
    REQUIRE(eventually([&] {
        const std::lock_guard lock(mutex);
        return starts.size() == 13;
    }));
    (void)client.stop(5s);
    // Ten beyond the burst: the last one not before ten shares, however slow the machine.
    CHECK(starts.back() - begun >= 199ms);
}

TEST_CASE_METHOD(Story, "limits: of a queue that is limited while the client runs no task is handed past its limit") {
    const Uncapped uncapped;
    Gate gate;
    Meter meter;
    config.num_workers = 4;
    Client client{config};
    client.register_queue<Mail>([&](const Mail&) {
        const Meter::Visit visit(meter);
        gate.pass();
    });
    client.start();
    client.add(Mail{"a"}).save();
    REQUIRE(eventually([&] { return meter.inside() == 1; }));
    SQLite::Database other(file, SQLite::OPEN_READWRITE);
    other.exec("INSERT INTO backlite_queues (queue, running) VALUES ('mail', 1)");
    CHECK(log->await({"info", "stored limits hold in place of the program's", "queue=mail"}));
    for (int i = 0; i < 5; ++i) client.add(Mail{"b"}).save();
    std::this_thread::sleep_for(20ms);
    CHECK(meter.most() == 1);
    other.exec("UPDATE backlite_queues SET running = NULL");
    CHECK(log->await({"info", "the program's limits hold again", "queue=mail"}));
    CHECK(eventually([&] { return meter.inside() == 4; }));
    gate.open();
    CHECK(eventually([&] { return meter.done() == 6; }));
}

TEST_CASE_METHOD(Story, "limits: a client whose queue is full sleeps until something ends") {
    Gate gate;
    Meter meter;
    const auto clock = std::make_shared<CountingClock>();
    config.num_workers = 4;
    config.clock = clock;
    Client client{config};
    client.register_queue<Upload>([&](const Upload&) {
        const Meter::Visit visit(meter);
        gate.pass();
    });
    client.start();
    client.add(std::vector<Upload>(9)).save();
    REQUIRE(eventually([&] { return meter.inside() == 2; }));
    std::this_thread::sleep_for(20ms);
    CHECK(clock->reads_during(100ms) < 200);
    gate.open();
    CHECK(eventually([&] { return meter.done() == 9; }));
    CHECK(meter.most() == 2);
}

TEST_CASE_METHOD(Story, "limits: in order each device's tasks start by age in two clients, also those that fail") {
    const Uncapped uncapped;
    std::mutex mutex;
    std::map<std::string, std::vector<int>> seen;
    std::map<std::string, int> inside;
    bool overlapped = false;
    std::optional<Client> clients[2];
    for (auto& client : clients) {
        client.emplace(quick(file, 4));
        client->register_queue<Reading>([&](backlite::Context& context, const Reading& reading) {
            {
                const std::lock_guard lock(mutex);
                overlapped = overlapped || ++inside[reading.device] > 1 || context.partition() != reading.device;
                if (context.attempt() == 1) seen[reading.device].push_back(reading.number);
            }
            std::this_thread::sleep_for(50us);
            const std::lock_guard lock(mutex);
            --inside[reading.device];
            if (reading.number % 7 == 3 && context.attempt() < 3) throw std::runtime_error("again");
        });
        client->start();
    }
    for (int i = 0; i < 40; ++i) {
        for (const char* device : {"a", "b", "c"}) clients[i % 2]->add(Reading{device, i}).priority(i % 3).save();
    }
    CHECK(eventually([&] {
        const std::lock_guard lock(mutex);
        return seen["a"].size() + seen["b"].size() + seen["c"].size() == 120;
    }));
    for (auto& client : clients) (void)client->stop(5s);
    CHECK_FALSE(overlapped);
    std::vector<int> all(40);
    std::iota(all.begin(), all.end(), 0);
    for (const char* device : {"a", "b", "c"}) CHECK(seen[device] == all);
}

TEST_CASE_METHOD(Story, "limits: a task has the partition of its type's traits, or of the call that adds it") {
    const Uncapped uncapped;
    Gate gate;
    Client client{quick(file, 4)};
    client.register_queue<WebPage>([&](backlite::Context& context, const WebPage&) {
        journal.note(std::string{context.partition()});
        gate.pass();
    });
    client.register_queue<Mail>(
        [&](backlite::Context& context, const Mail&) { journal.note("mail " + std::string{context.partition()}); });
    client.start();
    client.add(WebPage{"x"}, WebPage{"x"}, WebPage{"y"}).save();
    client.add(WebPage{"x"}).partition("z").save();
    for (const char* host : {"x", "y", "z"}) CHECK(journal.await(host));
    client.add(Mail{}).partition("eu").save();
    client.add(Mail{}).save();
    CHECK(journal.await("mail eu"));
    CHECK(journal.await("mail "));
    CHECK(journal.count("x") == 1);
    gate.open();
    CHECK(journal.await("x", 2));
}

TEST_CASE_METHOD(Story, "limits: a partition that cannot be is refused, and nothing is added") {
    Client client{config};
    const auto refused = [&](std::string partition) {
        return message_of<backlite::UsageError>(
            [&] { (void)client.add(Mail{}, Upload{}).partition(std::move(partition)).save(); });
    };
    CHECK(refused(std::string(1025, 'x')) == "queue \"mail\": a partition has 1025 bytes, more than 1024");
    CHECK(refused("\xff") == "queue \"mail\": a partition is not UTF-8");
    CHECK(refused(std::string("a\0b", 3)) == "queue \"mail\": a partition holds a NUL character");
    CHECK(message_of<backlite::UsageError>([&] { (void)client.add(WebPage{std::string(2000, 'y')}).save(); }) ==
          "queue \"page\": a partition has 2000 bytes, more than 1024");
    CHECK(client.counts().empty());
    CHECK_NOTHROW(client.add(Mail{}).partition(std::string(1024, 'x')).save());
    CHECK_NOTHROW(client.add(Mail{}).partition("").save());
}

TEST_CASE_METHOD(Story, "limits: tasks added in a host's transaction keep their partition's order") {
    Client client{quick(file, 4)};
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    {
        backlite::Transaction transaction{client, database};
        for (int i = 0; i < 5; ++i) client.add(Reading{"a", i}).tx(transaction).save();
        transaction.commit();
    }
    client.register_queue<Reading>([&](const Reading& reading) { journal.note(std::to_string(reading.number)); });
    client.start();
    CHECK(journal.await_size(5));
    CHECK(journal.entries() == std::vector<std::string>{"0", "1", "2", "3", "4"});
}

TEST_CASE_METHOD(Story, "limits: what others delete from a partition lets the next ones run") {
    const Uncapped uncapped;
    Client client{quick(file, 2)};
    client.register_queue<Reading>([&](const Reading& reading) { journal.note(std::to_string(reading.number)); });
    client.add(Reading{"a", 1}, Reading{"a", 2}).save();
    SQLite::Database other(file, SQLite::OPEN_READWRITE);
    other.exec("DELETE FROM backlite_tasks WHERE hold = 0");
    client.start();
    CHECK(journal.await("2"));
    REQUIRE(client.wait_idle(patience));
    client.pause("reading");
    client.add(Reading{"a", 3}, Reading{"a", 4}).save();
    other.exec("DELETE FROM backlite_tasks WHERE hold = 0");
    client.resume("reading");
    CHECK(journal.await("4"));
    CHECK(journal.count("3") == 0);
}

}  // namespace
