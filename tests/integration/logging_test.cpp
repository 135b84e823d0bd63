// SPDX-License-Identifier: MIT
// What a client tells its logger, and that a logger can do no harm.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <recording_logger.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Backoff;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::LogField;
using backlite::LogLevel;
using backlite::Outcome;
using backlite::QueueConfig;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::testing::ManualClock;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::RecordingLogger;
using backlite_test::TempFolder;

struct Number {
    int n = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Number, n)

struct Work : Number {
    static QueueConfig config() { return {.name = "work", .max_attempts = 2}; }
};
struct Stubborn : Number {
    static QueueConfig config() {
        return {.name = "stubborn", .max_attempts = 2, .backoff = Backoff::custom([](int) -> backlite::Duration {
                                                           throw std::runtime_error("no wait known");
                                                       })};
    }
};

// Writes another field than it reads.
struct Mismatched {
    int n = 0;
    static QueueConfig config() { return {.name = "mismatched"}; }
};
[[maybe_unused]] void to_json(nlohmann::json& json, const Mismatched& task) { json = {{"number", task.n}}; }
[[maybe_unused]] void from_json(const nlohmann::json& json, Mismatched& task) { json.at("n").get_to(task.n); }

// Lines of one kind, without their level, with what differs from run to run made equal.
std::vector<std::string> lines_of(const RecordingLogger& logger, std::string_view message) {
    static const std::regex duration("duration=[0-9.]+(us|ms|s)");
    std::vector<std::string> lines;
    for (const std::string& line : logger.lines()) {
        if (line.find(message) != std::string::npos) lines.push_back(std::regex_replace(line, duration, "duration=D"));
    }
    return lines;
}

struct Logging {
    TempFolder folder{};
    std::string file = folder.file("x.db");
    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();
    std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
    Client client{{.database = file, .logger = logger, .num_workers = 1, .clock = clock}};

    [[nodiscard]] bool told(std::string_view text) const {
        return eventually([&] { return logger->count(text) > 0; });
    }
};

TEST_CASE("Log: start and stop are told, with workers and queues") {
    Logging test;
    CHECK(test.logger->lines().empty());
    test.client.register_queue<Work>([](const Work&) {});
    test.client.start();
    CHECK(test.client.stop(20s));
    CHECK(test.logger->lines() ==
          std::vector<std::string>{"info task dispatcher started workers=1 queues=1", "info task dispatcher stopping"});
}

TEST_CASE("Log: a success is told with id, queue, duration and attempt") {
    Logging test;
    test.client.register_queue<Work>([&](const Work&) { test.clock->advance(1500ms); });
    test.client.start();
    const TaskId id = test.client.add(Work{}).save().at(0);
    REQUIRE(test.told("task processed"));
    CHECK(test.logger->count(fmt::format("info task processed id={} queue=work duration=1.500s attempt=1", id)) == 1);
}

TEST_CASE("Log: a failure is told with attempts left and error, each time") {
    Logging test;
    test.client.register_queue<Work>([](const Work&) { throw std::runtime_error("no luck today"); });
    test.client.start();
    const TaskId id = test.client.add(Work{}).save().at(0);
    CHECK(eventually([&] { return test.client.status(id) == TaskStatus::not_found; }));
    CHECK(lines_of(*test.logger, "task failed") ==
          std::vector<std::string>{
              fmt::format("error task failed id={} queue=work duration=D attempt=1 remaining=1 error=\"no luck today\"",
                          id),
              fmt::format("error task failed id={} queue=work duration=D attempt=2 remaining=0 error=\"no luck today\"",
                          id)});
}

TEST_CASE("Log: a snooze is told with its wait") {
    Logging test;
    test.client.register_queue<Work>([](const Work&) { return Outcome::snooze(90s); });
    test.client.start();
    const TaskId id = test.client.add(Work{}).save().at(0);
    REQUIRE(test.told("task snoozed"));
    CHECK(lines_of(*test.logger, "task snoozed") ==
          std::vector<std::string>{fmt::format("info task snoozed id={} queue=work duration=D wait_ms=90000", id)});
}

TEST_CASE("Log: a task that is given back because of a stop is told") {
    Events<int> seen;
    Logging test;
    test.client.register_queue<Work>([&](Context& context, const Work& task) {
        seen.add(task.n);
        (void)eventually([&] { return context.stop_token().stop_requested(); });
        throw std::runtime_error("stopped");
    });
    test.client.start();
    const TaskId id = test.client.add(Work{}).save().at(0);
    REQUIRE(seen.wait_for(1));
    (void)test.client.stop(0s);
    CHECK(test.client.stop(20s));
    CHECK(lines_of(*test.logger, "task given back") ==
          std::vector<std::string>{
              fmt::format("info task given back id={} queue=work duration=D reason=stopping error=stopped", id)});
    CHECK(test.logger->count("task failed") == 0);
}

TEST_CASE("Log: a task that the library gives up on is told with the reason") {
    Logging test;
    test.client.register_queue<Work>([](const Work&) {});
    {
        SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
        db.exec("INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1, 'work', x'7b')");
    }
    test.client.start();
    REQUIRE(test.told("task given up"));
    CHECK(test.logger->count("error task given up id=x queue=work error=\"its payload cannot be read: ") == 1);
}

TEST_CASE("Log: a type whose hooks do not fit together is told with its first task, which is added") {
    Logging test;
    (void)test.client.add(Mismatched{1}).save();
    (void)test.client.add(Mismatched{2}).save();
    CHECK(test.logger->count("warning a task is added that this program could not read back queue=mismatched error=") ==
          1);
    CHECK(test.client.counts().at(0).waiting == 2);
}

TEST_CASE("Log: a backoff that fails is told, beside the failure") {
    Logging test;
    test.client.register_queue<Stubborn>([](const Stubborn&) { throw std::runtime_error("no luck"); });
    test.client.start();
    const TaskId id = test.client.add(Stubborn{}).save().at(0);
    REQUIRE(test.told("task failed"));
    CHECK(test.logger->count(fmt::format("error the queue's backoff failed: waiting one second id={} queue=stubborn "
                                         "error=\"no wait known\"",
                                         id)) == 1);
}

TEST_CASE("Log: a wall clock that is set is told") {
    Logging test;
    test.client.start();
    REQUIRE(test.told("task dispatcher started"));
    test.clock->jump(-90s);
    test.client.notify();
    CHECK(test.told("warning the wall clock was set by_ms=-90000"));
}

TEST_CASE("Log: a second writer is told once if this SQLite has the WAL-reset bug, and a lone one never") {
    Logging test;
    const std::string_view warning = "several connections write to the file, and this SQLite has the WAL-reset bug";
    test.client.register_queue<Work>([](const Work&) {});
    test.client.start();
    (void)test.client.add(Work{}).save();
    REQUIRE(test.told("task processed"));
    CHECK(lines_of(*test.logger, warning).empty());
    SQLite::Database other(test.file, SQLite::OPEN_READWRITE, 10'000);
    for (int round = 0; round < 3; ++round) {
        other.exec("CREATE TABLE IF NOT EXISTS mine (n); INSERT INTO mine VALUES (1)");
        (void)test.client.add(Work{}).save();  // each leader looks for commits of others
    }
    CHECK(lines_of(*test.logger, warning).size() ==
          (backlite::store::sqlite::has_wal_reset_bug(sqlite3_libversion_number()) ? 1 : 0));
}

TEST_CASE("Log: what cannot be written is told as error, and that it works again") {
    Events<int> seen;
    backlite_test::Gate gate;
    const TempFolder folder;
    const auto logger = std::make_shared<RecordingLogger>();
    Client client{{.database = folder.file("x.db"), .logger = logger, .num_workers = 1, .busy_timeout = 50ms}};
    const backlite_test::OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work& task) {
        seen.add(task.n);
        gate.pass();
    });
    client.start();
    const TaskId id = client.add(Work{}).save().at(0);
    REQUIRE(seen.wait_for(1));
    SQLite::Database db(folder.file("x.db"), SQLite::OPEN_READWRITE, 10'000);
    db.exec("BEGIN IMMEDIATE");
    gate.open();
    CHECK(eventually([&] { return logger->count("storage error: the dispatcher tries again") == 1; }));
    db.exec("COMMIT");
    CHECK(eventually([&] { return logger->count("info storage works again") == 1; }));
    CHECK(eventually([&] { return client.status(id) == TaskStatus::not_found; }));
    CHECK(logger->count("error storage error") == 1);  // one line for all the failures in a row
}

TEST_CASE("Log: the texts of an event are told whole and without what a terminal would obey") {
    Logging test;
    test.client.register_queue<Work>([](const Work&) { return Outcome::discard("a\nb\x1b[31m\x7f\"c\"\t\\"); });
    test.client.start();
    (void)test.client.add(Work{}).save();
    REQUIRE(test.told("task failed"));
    CHECK(test.logger->count(R"(error="a\nb\x1b[31m\x7f\"c\"\t\\")") == 1);
}

TEST_CASE("Log: a very long error is cut, in the log as in the file") {
    Logging test;
    test.client.register_queue<Work>([](const Work&) { return Outcome::discard(std::string(100'000, 'x')); });
    test.client.start();
    (void)test.client.add(Work{}).save();
    REQUIRE(test.told("task failed"));
    const std::vector<std::string> lines = lines_of(*test.logger, "task failed");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].ends_with(std::string(4096, 'x')));
    CHECK(lines[0].size() < 4096 + 200);
}

// What a logger may do.

TEST_CASE("Log: while the logger holds up an event of the dispatcher, tasks are claimed and run") {
    const TempFolder folder;
    backlite_test::Gate gate;
    Events<int> ran;
    const auto logger = backlite::make_logger([&](LogLevel, std::string_view message, auto) {
        if (message == "task dispatcher started") gate.pass();
    });
    Client client{{.database = folder.file("x.db"), .logger = logger, .num_workers = 2}};
    const backlite_test::OpensAtEnd opens(gate);
    client.register_queue<Work>([&](const Work& task) { ran.add(task.n); });
    client.start();
    client.add(Work{{1}}, Work{{2}}).save();
    CHECK(ran.wait_for(2));
}

TEST_CASE("Log: a logger may use the client from any event: no lock of the library is held") {
    std::atomic<int> uses{0};
    Events<std::string> trouble;
    Events<int> seen;
    const TempFolder folder;
    std::atomic<Client*> client_of_logger{nullptr};
    const auto logger = backlite::make_logger([&](LogLevel, std::string_view message, auto) {
        Client* client = client_of_logger;
        static thread_local bool inside = false;
        if (client == nullptr || inside || uses.fetch_add(1) > 60) return;
        inside = true;
        try {
            client->notify();
            (void)client->status(TaskId::from_text("x"));
            (void)client->counts();
            (void)client->add(Work{{100}}).save();
            client->start();
            if (message == "task dispatcher stopping") client->notify();
        } catch (const std::exception& error) {
            // While it stops, start says so.
            if (std::string_view(error.what()).find("still stopping") == std::string_view::npos) {
                trouble.add(fmt::format("{}: {}", message, error.what()));
            }
        }
        inside = false;
    });
    Client client{{.database = folder.file("x.db"), .logger = logger, .num_workers = 2}};
    client_of_logger = &client;
    client.register_queue<Work>([&](const Work& task) {
        seen.add(task.n);
        if (task.n == 1) throw std::runtime_error("no luck");
        if (task.n == 2) return Outcome::snooze(0s);
        return Outcome::success();
    });
    client.start();
    for (int n = 0; n < 5; ++n) (void)client.add(Work{{n % 2}}).save();
    CHECK(seen.wait_for(5 + 2));
    CHECK(client.stop(20s));
    client_of_logger = nullptr;
    CHECK(trouble.all() == std::vector<std::string>{});
    CHECK(uses > 5);
}

TEST_CASE("Log: a logger that asks for a stop gets it") {
    Events<int> seen;
    const TempFolder folder;
    std::atomic<Client*> client_of_logger{nullptr};
    const auto logger = backlite::make_logger([&](LogLevel, std::string_view message, auto) {
        if (Client* client = client_of_logger; client != nullptr && message == "task processed")
            (void)client->stop(20s);
    });
    Client client{{.database = folder.file("x.db"), .logger = logger, .num_workers = 1}};
    client_of_logger = &client;
    client.register_queue<Work>([&](const Work& task) { seen.add(task.n); });
    (void)client.add(Work{{1}}, Work{{2}}, Work{{3}}).save();
    client.start();
    CHECK(seen.wait_for(1));
    CHECK(client.stop(20s));
    CHECK(seen.all().front() == 1);
    client_of_logger = nullptr;
}

TEST_CASE("Log: one logger may serve several clients at once") {
    const TempFolder folder;
    const auto logger = std::make_shared<RecordingLogger>();
    {
        std::vector<std::unique_ptr<Client>> clients;
        for (int i = 0; i < 3; ++i) {
            clients.push_back(std::make_unique<Client>(
                ClientConfig{.database = folder.file(fmt::format("{}.db", i)), .logger = logger, .num_workers = 2}));
            clients.back()->register_queue<Work>([](const Work&) {});
            (void)clients.back()->add(std::vector<Work>(50)).save();
            clients.back()->start();
        }
        CHECK(eventually([&] { return logger->count("task processed") == 150; }));
    }
    CHECK(logger->count("task dispatcher stopping") == 3);
}

// What is written to stderr while `body` runs.
template <class Body>
std::string stderr_of(const std::string& file, Body&& body) {
    std::fflush(stderr);
    const int kept = ::dup(STDERR_FILENO);
    const int other = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE((kept >= 0 && other >= 0));
    ::dup2(other, STDERR_FILENO);
    ::close(other);
    body();
    std::fflush(stderr);
    ::dup2(kept, STDERR_FILENO);
    ::close(kept);
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST_CASE("StderrLogger: prints each event as one line, of its level and above") {
    const TempFolder folder;
    const std::string text = stderr_of(folder.file("stderr"), [&] {
        backlite::StderrLogger logger(LogLevel::warning);
        const std::vector<LogField> fields{{"error", "a\nb"}, {"id", "7"}};
        logger.log(LogLevel::debug, "quiet", fields);
        logger.log(LogLevel::info, "quiet", fields);
        logger.log(LogLevel::warning, "loud", fields);
        logger.log(LogLevel::failure, "louder", {});
    });
    CHECK(text == "warning loud error=\"a\\nb\" id=7\nerror   louder\n");
}

TEST_CASE("StderrLogger: lines of many threads do not mix") {
    const TempFolder folder;
    const std::string text = stderr_of(folder.file("stderr"), [&] {
        Client client{
            {.database = folder.file("x.db"), .logger = std::make_shared<backlite::StderrLogger>(), .num_workers = 4}};
        Events<int> seen;
        client.register_queue<Work>([&](const Work& task) { seen.add(task.n); });
        (void)client.add(std::vector<Work>(300)).save();
        client.start();
        (void)seen.wait_for(300);
        (void)client.stop(20s);
    });
    static const std::regex line(
        "info    task (processed id=[0-9a-f-]{36} queue=work duration=\\S+ attempt=1|dispatcher "
        "(started workers=4 queues=1|stopping))");
    std::size_t lines = 0;
    for (std::size_t at = 0; at < text.size(); ++lines) {
        const std::size_t end = text.find('\n', at);
        REQUIRE(end != std::string::npos);
        const std::string each = text.substr(at, end - at);
        INFO(each);
        REQUIRE(std::regex_match(each, line));
        at = end + 1;
    }
    CHECK(lines == 302);
}

TEST_CASE("Log: without a logger nothing is written anywhere") {
    const TempFolder folder;
    const std::string text = stderr_of(folder.file("stderr"), [&] {
        Client client{{.database = folder.file("x.db"), .num_workers = 2}};
        Events<int> seen;
        client.register_queue<Work>([&](const Work& task) {
            seen.add(task.n);
            throw std::runtime_error("no luck");
        });
        client.start();
        (void)client.add(Work{}).save();
        (void)seen.wait_for(2);
        (void)client.stop(20s);
    });
    CHECK(text.empty());
}

}  // namespace
