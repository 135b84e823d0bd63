// SPDX-License-Identifier: MIT
// What Admin shows of a file: lists, pages, one task, queues, and files that it does not take.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <message_of.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Admin;
using backlite::Blocker;
using backlite::Client;
using backlite::ConfigError;
using backlite::Page;
using backlite::PageToken;
using backlite::StorageError;
using backlite::TaskDetails;
using backlite::TaskFilter;
using backlite::TaskId;
using backlite::TaskPage;
using backlite::TaskRow;
using backlite::TaskState;

struct Report {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "reports"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Report, name)

/// A file with a task in each state, at a time that stands still: 1,000 s after the epoch.
struct Archive : Story {
    Archive() {
        config.clock = clock;
        config.num_workers = 1;
        client.emplace(config);
        Look look(file);
        for (const char* row :
             {"'w1', 'mail', 900000, NULL, NULL, 0, 0, x'7b2261223a317d'",
              "'w2', 'mail', 950000, NULL, NULL, 0, 0, x'7b2261223a327d'",
              "'s1', 'mail', 900000, 2000000, NULL, 0, 0, x'7b7d'",
              "'t1', 'mail', 900000, 3000000, NULL, 2, 0, x'7b7d'", "'h1', 'scan', 900000, NULL, NULL, 0, 2, x'7b7d'",
              "'h2', 'scan', 900000, NULL, NULL, 0, 257, x'7b7d'",
              "'r1', 'scan', 900000, NULL, 990000, 0, 0, x'7b7d'"}) {
            look.run(
                fmt::format("INSERT INTO backlite_tasks (id, queue, created_at, wait_until, claimed_at, attempts, "
                            "hold, task) VALUES ({})",
                            row));
        }
        for (const char* row :
             {"'d1', 'mail', 800000, NULL, NULL, x'7b2262223a337d'", "'d2', 'scan', 810000, NULL, NULL, NULL",
              "'f1', 'mail', 820000, 'No Route', NULL, x'7b7d'", "'f2', 'scan', 830000, 'quota', NULL, NULL",
              "'c1', 'mail', 840000, 'cancelled', 1, x'7b7d'", "'e1', 'mail', 850000, 'expired', 5, x'7b7d'"}) {
            look.run(
                fmt::format("INSERT INTO backlite_tasks_completed (id, queue, last_executed_at, error, kind, task, "
                            "created_at, attempts, last_duration_micro, succeeded) SELECT column1, column2, "
                            "column3, column4, column5, column6, 700000, 1, 1000000, column4 IS NULL FROM (VALUES "
                            "({}))",
                            row));
        }
    }

    [[nodiscard]] static std::string ids(const TaskPage& page) {
        std::string text;
        for (const TaskRow& row : page.tasks) text += (text.empty() ? "" : " ") + row.id.str();
        return text;
    }

    /// All pages of a list, parted by " | ".
    [[nodiscard]] static std::string pages(const Admin& admin, const TaskFilter& filter, std::size_t limit) {
        std::string text;
        Page page{.limit = limit};
        for (int i = 0; i < 100; ++i) {
            const TaskPage found = admin.tasks(filter, page);
            if (found.tasks.size() > limit) text += "more than asked for: ";
            if (!found.tasks.empty()) text += (text.empty() ? "" : " | ") + ids(found);
            if (!found.next) return text;
            page.after = PageToken::parse(found.next->str());
        }
        return text + " | without end";
    }

    std::shared_ptr<backlite::testing::ManualClock> clock =
        std::make_shared<backlite::testing::ManualClock>(backlite::TimePoint{1'000s});
    std::optional<Client> client{};
};

TEST_CASE_METHOD(Archive, "Admin: tasks are listed by state, on a client and on a file that nobody runs") {
    const std::map<TaskState, std::string> expected{
        {TaskState::waiting, "w1 w2"}, {TaskState::scheduled, "s1"},
        {TaskState::retrying, "t1"},   {TaskState::held, "h2 h1"},
        {TaskState::running, "r1"},    {TaskState::succeeded, "d2 d1"},
        {TaskState::failed, "f2 f1"},  {TaskState::cancelled, "c1"},
        {TaskState::expired, "e1"},    {TaskState::any, "r1 h2 h1 t1 s1 w2 w1 e1 c1 f2 f1 d2 d1"}};
    const Admin beside{*client};
    const Admin alone{config};
    for (const auto& [state, list] : expected) {
        CAPTURE(to_string(state));
        CHECK(ids(beside.tasks({.state = state})) == list);
        CHECK(ids(alone.tasks({.state = state})) == list);
        CHECK_FALSE(alone.tasks({.state = state}).next);
        for (const TaskRow& row : alone.tasks({.state = state}).tasks) {
            CHECK((state == TaskState::any || row.state == state));
        }
        CHECK(backlite::task_state(to_string(state)) == state);
    }
}

TEST_CASE_METHOD(Archive, "Admin: each list goes on behind its last task, and ends") {
    const Admin admin{*client};
    CHECK(pages(admin, {}, 2) == "r1 h2 | h1 t1 | s1 w2 | w1 e1 | c1 f2 | f1 d2 | d1");
    CHECK(pages(admin, {.queue = "mail"}, 2) == "t1 s1 | w2 w1 | e1 c1 | f1 d1");
    CHECK(pages(admin, {.state = TaskState::waiting}, 1) == "w1 | w2");
    CHECK(pages(admin, {.state = TaskState::held}, 1) == "h2 | h1");
    CHECK(pages(admin, {.state = TaskState::failed}, 1) == "f2 | f1");
    CHECK(pages(admin, {.state = TaskState::succeeded}, 1) == "d2 | d1");
    CHECK(pages(admin, {.state = TaskState::cancelled}, 1) == "c1");
    CHECK(pages(admin, {.state = TaskState::scheduled}, 5) == "s1");
    CHECK(pages(admin, {.queue = "none"}, 5).empty());
}

TEST_CASE_METHOD(Archive, "Admin: filters narrow by queue, text, time, id and tag, all at once") {
    const Admin admin{*client};
    CHECK(ids(admin.tasks({.text = "no route"})) == "f1");
    CHECK(ids(admin.tasks({.text = "\"a\":2"})) == "w2");
    CHECK(ids(admin.tasks({.text = "100%"})).empty());
    CHECK(ids(admin.tasks({.state = TaskState::failed, .text = "QUOTA"})) == "f2");
    CHECK(ids(admin.tasks({.queue = "mail", .state = TaskState::failed, .text = "quota"})).empty());
    CHECK(ids(admin.tasks({.state = TaskState::failed, .since = backlite::TimePoint{825s}})) == "f2");
    CHECK(ids(admin.tasks({.state = TaskState::failed, .until = backlite::TimePoint{825s}})) == "f1");
    CHECK(ids(admin.tasks({.state = TaskState::waiting, .since = backlite::TimePoint{950s}})) == "w2");
    CHECK(ids(admin.tasks({.id = "d"})) == "d2 d1");
    CHECK(ids(admin.tasks({.queue = "mail", .id = "d"})) == "d1");
    CHECK(ids(admin.tasks({.id = "w2"})) == "w2");
    Look(file).run(
        "INSERT INTO backlite_tags (task, tag) VALUES ('w1', 'x'), ('f2', 'x'), ('d1', 'x'), ('w2', 'y'), "
        "('gone', 'x')");
    CHECK(ids(admin.tasks({.tag = "x"})) == "w1 f2 d1");
    CHECK(pages(admin, {.tag = "x"}, 1) == "w1 | f2 | d1");
    CHECK(ids(admin.tasks({.queue = "mail", .tag = "x"})) == "w1 d1");
    CHECK(ids(admin.tasks({.state = TaskState::failed, .tag = "x", .id = "f"})) == "f2");
}

TEST_CASE_METHOD(Archive, "Admin: a task that ends between two pages by id is on one of them, once") {
    const Admin admin{*client};
    const TaskPage first = admin.tasks({.id = "w"}, {.limit = 1});
    REQUIRE(ids(first) == "w2");
    REQUIRE(client->cancel(TaskId::from_text("w1")) == backlite::CancelResult::cancelled);
    REQUIRE(client->cancel(TaskId::from_text("w2")) == backlite::CancelResult::cancelled);
    REQUIRE(first.next);
    const TaskPage second = admin.tasks({.id = "w"}, {.limit = 1, .after = first.next});
    CHECK(ids(second) == "w1");
    CHECK(second.tasks.at(0).state == TaskState::cancelled);
    CHECK_FALSE(second.next);
}

TEST_CASE_METHOD(Archive, "Admin: a row says what is known of its task") {
    const Admin admin{*client};
    const TaskRow failed = admin.tasks({.id = "f1"}).tasks.at(0);
    CHECK(failed.queue == "mail");
    CHECK(failed.created == backlite::TimePoint{700s});
    CHECK(failed.started == backlite::TimePoint{820s});
    CHECK(failed.finished == backlite::TimePoint{821s});
    CHECK(failed.duration == 1'000'000us);
    CHECK_FALSE(failed.due);
    CHECK(failed.spent == 1);
    CHECK(failed.error == "No Route");
    const TaskRow scheduled = admin.tasks({.id = "t1"}).tasks.at(0);
    CHECK(scheduled.due == backlite::TimePoint{3'000s});
    CHECK_FALSE(scheduled.finished);
    CHECK(scheduled.spent == 2);
    CHECK(admin.tasks({.id = "r1"}).tasks.at(0).claimed == backlite::TimePoint{990s});
}

TEST_CASE_METHOD(Archive, "Admin: a task has details from all tables, and none if it is not there") {
    Look look(file);
    look.run(
        "UPDATE backlite_tasks_completed SET result = x'34', unique_key = 'k', partition = 'eu', host = 'h', pid = 7, "
        "expires_at = 5000000, attempts = 3 WHERE id = 'f1'");
    look.run(
        "INSERT INTO backlite_attempts (task, claim, number, started_at, duration_us, outcome, error, host, pid) "
        "VALUES "
        "('f1', 9, 2, 802000, 20, 1, 'second', 'b', 2), ('f1', 8, 1, 801000, 10, 1, 'first', 'a', 1)");
    look.run(
        "INSERT INTO backlite_saved (task, name, at, value) VALUES ('f1', 'cursor', 1, x'35'), ('f1', 'a', 1, x'36')");
    look.run(
        "INSERT INTO backlite_progress (task, claim, at, fraction, message) VALUES ('f1', 9, 803000, 0.25, 'half')");
    look.run("INSERT INTO backlite_tags (task, tag) VALUES ('f1', 'z'), ('f1', 'b')");
    look.run(
        "INSERT INTO backlite_details (task, expires_at, metadata) VALUES ('f1', NULL, '{\"t\":1}'), ('w1', 1500000, "
        "NULL)");
    look.run("INSERT INTO backlite_edges (parent, child) VALUES ('f1', 'h2'), ('d1', 'f1')");
    look.run(
        "INSERT INTO backlite_cancels (task, claim, at, keep_row, keep_payload, keep_ms) VALUES ('r1', 0, 1, 1, 1, 1)");
    const Admin admin{config};
    const std::optional<TaskDetails> found = admin.task(TaskId::from_text("f1"));
    REQUIRE(found);
    CHECK(found->state == TaskState::failed);
    CHECK(found->error == "No Route");
    CHECK(found->payload == "{}");
    CHECK(found->result == "4");
    CHECK(found->unique_key == "k");
    CHECK(found->partition == "eu");
    CHECK(found->kept_until == backlite::TimePoint{5'000s});
    CHECK(found->tags == std::vector<std::string>{"b", "z"});
    CHECK(found->metadata == "{\"t\":1}");
    REQUIRE(found->progress);
    CHECK(found->progress->fraction == 0.25);
    CHECK(found->progress->message == "half");
    CHECK(found->progress->time == backlite::TimePoint{803s});
    REQUIRE(found->attempts.size() == 3);
    CHECK(found->attempts[0].number == 1);
    CHECK(found->attempts[0].started == backlite::TimePoint{801s});
    CHECK(found->attempts[0].duration == 10us);
    CHECK(found->attempts[1].error == "second");
    CHECK(found->attempts[1].host == "b");
    CHECK(found->attempts[2].number == 3);
    CHECK(found->attempts[2].error == "No Route");
    CHECK(found->attempts[2].host == "h");
    CHECK(found->attempts[2].pid == 7);
    REQUIRE(found->saved.size() == 2);
    CHECK(found->saved[0].name == "a");
    CHECK(found->saved[1].value == "5");
    CHECK(found->parents == std::vector<TaskId>{TaskId::from_text("d1")});
    CHECK(found->children == std::vector<TaskId>{TaskId::from_text("h2")});
    CHECK_FALSE(found->cancel_requested);

    CHECK(admin.task(TaskId::from_text("r1"))->cancel_requested);
    CHECK(admin.task(TaskId::from_text("w1"))->expires == backlite::TimePoint{1'500s});
    CHECK_FALSE(admin.task(TaskId::from_text("f2"))->payload);
    CHECK_FALSE(admin.task(TaskId::from_text("nobody")));
    CHECK_FALSE(admin.task(TaskId{}));
}

TEST_CASE_METHOD(Archive, "Admin: a task and its queue say why it does not run") {
    const Admin admin{*client};
    const auto why = [&](const char* id) { return admin.task(TaskId::from_text(id))->why; };
    using Reasons = std::vector<Blocker>;
    CHECK(why("w1") == Reasons{Blocker::no_client});
    CHECK(why("h1") == Reasons{Blocker::by_hand});
    CHECK(why("h2") == Reasons{Blocker::partition, Blocker::parents});
    CHECK(why("s1").empty());
    CHECK(why("f1").empty());
    client->pause("mail");
    client->pause("unknown");
    CHECK(why("w1") == Reasons{Blocker::paused, Blocker::no_client});
    const std::vector<backlite::QueueInfo> queues = admin.queues();
    REQUIRE(queues.size() == 3);
    CHECK(queues[0].name == "mail");
    CHECK(queues[0].waiting == backlite::BoundedCount{2, false});
    CHECK(queues[0].scheduled == backlite::BoundedCount{2, false});
    CHECK(queues[0].retrying == backlite::BoundedCount{1, false});
    CHECK(queues[0].running == backlite::BoundedCount{0, false});
    CHECK(queues[0].oldest_due == backlite::TimePoint{900s});
    CHECK(queues[0].next_due == backlite::TimePoint{2'000s});
    CHECK(queues[0].paused == backlite::TimePoint{1'000s});
    CHECK(queues[0].why == Reasons{Blocker::paused, Blocker::no_client});
    CHECK(queues[1].name == "scan");
    CHECK(queues[1].held == backlite::BoundedCount{2, false});
    CHECK(queues[1].running == backlite::BoundedCount{1, false});
    CHECK(queues[1].why == Reasons{Blocker::partition, Blocker::by_hand, Blocker::parents});
    CHECK(queues[2].name == "unknown");
    CHECK(queues[2].paused);

    Client worker{quick(file)};
    worker.register_queue<Report>([](const Report&) {});
    worker.start();
    CHECK(why("w1") == Reasons{Blocker::paused});
}

TEST_CASE_METHOD(Archive, "Admin: queues counts up to bounds that keep it quick beside a million tasks, and says so") {
    Look(file).run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) INSERT INTO backlite_tasks "
        "(id, queue, created_at, hold, task) SELECT 'more' || i, 'scan', 900000, 2, x'7b7d' FROM n");
    const Admin admin{*client};
    const auto queues = admin.queues();
    REQUIRE(queues.size() == 2);
    CHECK(queues[1].name == "scan");
    CHECK(queues[1].held.more);
    CHECK(queues[1].held.number <= 10'001);
    CHECK(queues[0].waiting == backlite::BoundedCount{2, false});
}

TEST_CASE_METHOD(Archive, "Admin: what no list has is refused by name") {
    const Admin admin{*client};
    const auto message = [&](const TaskFilter& filter, const Page& page = {}) {
        return message_of<ConfigError>([&] { static_cast<void>(admin.tasks(filter, page)); });
    };
    CHECK(message({}, {.limit = 0}) == "Page: limit is 0, and must be 1 to 10000");
    CHECK(message({}, {.limit = 10'001}) == "Page: limit is 10001, and must be 1 to 10000");
    CHECK(message({.text = std::string(10'001, 'x')}) == "TaskFilter: text has 10001 bytes, 10000 are the most");
    CHECK(message({.since = backlite::TimePoint{2s}, .until = backlite::TimePoint{1s}}) ==
          "TaskFilter: since is later than until");
    CHECK(message({.state = static_cast<TaskState>(77)}) == "TaskFilter: there is no state 77");
    for (const char* text : {"", "u", "u:", "x:1:2:", "u1:2:"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(PageToken::parse(text), ConfigError);
    }
    CHECK(message_of<ConfigError>([] { static_cast<void>(PageToken::parse("\x01?")); }) ==
          "not where a list goes on: \"??\"");
    for (const char* text :
         {"u:", "u:a:1:", "u:1", "u:1:2", "u:99999999999999999999:1:", "i:w1", "d:1:2:mail", "e:1:2:"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(admin.tasks({}, {.after = PageToken::parse(text)}), ConfigError);
    }
    CHECK_THROWS_AS(admin.tasks({.id = "w"}, {.after = PageToken::parse("u:1:2:")}), ConfigError);
    CHECK(ids(admin.tasks({}, {.after = PageToken::parse("u:0:-5:")})) == "e1 c1 f2 f1 d2 d1");
}

TEST_CASE_METHOD(Archive, "Admin: a client that has ended and a forked child are told so") {
    const Admin admin{*client};
    CHECK(in_child([&] {
              try {
                  static_cast<void>(admin.queues());
              } catch (const backlite::ForkError&) {
                  return 3;
              }
              return 1;
          }) == 3);
    client.reset();
    CHECK_THROWS_AS(admin.tasks(), backlite::UsageError);
}

std::string bytes_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::set<std::string> names_in(const std::string& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename());
    return names;
}

TEST_CASE("Admin: a file that it cannot work on is refused, and stays as it is") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    std::string expected;
    SECTION("missing") { expected = "there is no database file"; }
    SECTION("no database") {
        std::ofstream(file) << std::string(5'000, 'x');
        expected = "file is not a database";
    }
    SECTION("empty") {
        std::ofstream{file};
        expected = "no table backlite_tasks";
    }
    SECTION("another program's") {
        SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE notes (text)");
        expected = "no table backlite_tasks";
    }
    SECTION("a table of our name that is not ours") {
        SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE backlite_tasks (x)");
        expected = "backlite's tables lack columns";
    }
    SECTION("newer") {
        { const Client client{quick(file)}; }
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        database.exec("UPDATE backlite_meta SET value = 99 WHERE key = 'schema_version'");
        database.exec("UPDATE backlite_meta SET value = 9001002 WHERE key = 'oldest_writer'");
        database.exec("PRAGMA journal_mode=DELETE");
        expected = "version 9.1.2 or newer is needed";
    }
    SECTION("Go's") {
        SQLite::Database database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        database.exec(
            "CREATE TABLE backlite_tasks (id text PRIMARY KEY, created_at integer NOT NULL, queue text NOT NULL, task "
            "blob NOT NULL, wait_until integer, claimed_at integer, last_executed_at integer, attempts integer NOT "
            "NULL "
            "DEFAULT 0) STRICT");
        database.exec(
            "CREATE TABLE backlite_tasks_completed (id text PRIMARY KEY NOT NULL, created_at integer NOT NULL, queue "
            "text NOT NULL, last_executed_at integer, attempts integer NOT NULL, last_duration_micro integer, "
            "succeeded integer, task blob, expires_at integer, error text) STRICT");
        expected = "it has tables of version 1";
    }
    const std::string before = bytes_of(file);
    const std::set<std::string> names = names_in(folder.name());
    const std::string message = message_of<StorageError>([&] { const Admin admin{file}; });
    CAPTURE(message);
    CHECK(message.find(expected) != std::string::npos);
    CHECK(message.find("x.db") != std::string::npos);
    CHECK(bytes_of(file) == before);
    CHECK(names_in(folder.name()) == names);
}

TEST_CASE("Admin: a name that cannot be a file's is a ConfigError, and a folder that is not there too") {
    const TempFolder folder;
    CHECK_THROWS_AS(Admin{""}, ConfigError);
    CHECK_THROWS_AS(Admin{":memory:"}, ConfigError);
    CHECK_THROWS_AS(Admin{folder.name()}, ConfigError);
    CHECK_THROWS_AS(Admin{folder.file("missing/x.db")}, ConfigError);
}

TEST_CASE_METHOD(Archive, "Admin: a file that cannot be written is refused") {
    client.reset();
    const std::string before = bytes_of(file);
    config.open = [this] { return SQLite::Database(file, SQLite::OPEN_READONLY); };
    CHECK(message_of<StorageError>([&] { const Admin admin{config}; }).find("cannot be written") != std::string::npos);
    CHECK(bytes_of(file) == before);
    if (::geteuid() != 0) {  // root may write to any file
        config.open = nullptr;
        std::filesystem::permissions(file, std::filesystem::perms::owner_read);
        CHECK_THROWS_AS(Admin{config}, StorageError);
    }
}

}  // namespace
