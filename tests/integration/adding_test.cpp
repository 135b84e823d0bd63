// SPDX-License-Identifier: MIT
// What `add` promises: which tasks are in the file afterwards, and when nothing is.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <row_time.hpp>
#include <temp_folder.hpp>

// Named: a hook that this file never calls is no mistake.
namespace adding_test {

using backlite::QueueConfig;

struct Email {
    std::string to{};
    static QueueConfig config() { return {.name = "email"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Email, to)

// Has the queue of another type.
struct OtherEmail {
    int number = 0;
    static QueueConfig config() { return {.name = "email"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(OtherEmail, number)

struct Resize {
    int width = 0;
    int height = 0;
    static QueueConfig config() { return {.name = "resize"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Resize, width, height)

// A task that is a range too.
struct Tags : std::vector<std::string> {
    using std::vector<std::string>::vector;
    static QueueConfig config() { return {.name = "tags"}; }
};

// A task that is a range of tasks.
struct Tree {
    std::string name{};
    std::vector<Tree> children{};
    [[nodiscard]] auto begin() const { return children.begin(); }
    [[nodiscard]] auto end() const { return children.end(); }
    static QueueConfig config() { return {.name = "tree"}; }
};
inline void to_json(nlohmann::json& json, const Tree& tree) {
    json = {{"name", tree.name}, {"size", tree.children.size()}};
}
inline void from_json(const nlohmann::json& json, Tree& tree) { json.at("name").get_to(tree.name); }

// A task whose to_json throws if it is told to.
struct Picky {
    bool fits = true;
    static QueueConfig config() { return {.name = "picky"}; }
};
inline void to_json(nlohmann::json& json, const Picky& task) {
    if (!task.fits) throw std::runtime_error("does not fit");
    json = {{"fits", true}};
}
inline void from_json(const nlohmann::json&, Picky&) {}

// A type that cannot be edited.
struct Foreign {
    int number = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Foreign, number)

// Moves only.
struct Handle {
    std::unique_ptr<int> number{};
    static QueueConfig config() { return {.name = "handle"}; }
};
inline void to_json(nlohmann::json& json, const Handle& task) { json = task.number ? *task.number : 0; }
inline void from_json(const nlohmann::json& json, Handle& task) {
    task.number = std::make_unique<int>(json.get<int>());
}

}  // namespace adding_test

namespace {

using namespace adding_test;
using namespace std::chrono_literals;
using backlite::Added;
using backlite::AddOp;
using backlite::BusyError;
using backlite::Cancelled;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::EncodeError;
using backlite::QueueConfig;
using backlite::StorageError;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::Transaction;
using backlite::UsageError;
using backlite::testing::ManualClock;
using backlite_test::contains;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::message_of;
using backlite_test::TempFolder;

// A single-pass range of tasks that counts as it is read.
class Countdown {
public:
    explicit Countdown(int from) : left_(from) {}

    class Iterator {
    public:
        using value_type = Resize;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;

        Iterator() = default;
        explicit Iterator(Countdown& range) : range_(&range) {}
        Resize operator*() const { return {range_->left_, 1}; }
        Iterator& operator++() {
            --range_->left_;
            return *this;
        }
        void operator++(int) { ++*this; }
        [[nodiscard]] bool operator==(std::default_sentinel_t) const { return range_->left_ == 0; }

    private:
        Countdown* range_ = nullptr;
    };

    Iterator begin() { return Iterator(*this); }
    [[nodiscard]] std::default_sentinel_t end() const { return {}; }

private:
    int left_;
};

class Slice : public std::ranges::view_base {
public:
    explicit Slice(const std::vector<Resize>& tasks) : tasks_(tasks) {}
    [[nodiscard]] const Resize* begin() const { return tasks_.data(); }
    [[nodiscard]] const Resize* end() const { return tasks_.data() + tasks_.size(); }

private:
    std::span<const Resize> tasks_;
};

struct Row {
    std::string id{};
    std::string queue{};
    std::string payload{};
    std::int64_t created_at = 0;
    std::optional<std::int64_t> wait_until{};
};

// The tasks in a file, in the order in which they were inserted, read by SQL that names the base columns only.
std::vector<Row> rows_in(const std::string& file) {
    SQLite::Database db(file);
    SQLite::Statement select(db, "SELECT id, queue, task, created_at, wait_until FROM backlite_tasks ORDER BY rowid");
    std::vector<Row> rows;
    while (select.executeStep()) {
        Row row{select.getColumn(0).getString(), select.getColumn(1).getString(), select.getColumn(2).getString(),
                select.getColumn(3).getInt64()};
        if (!select.isColumnNull(4)) row.wait_until = select.getColumn(4).getInt64();
        rows.push_back(std::move(row));
    }
    return rows;
}

// When each task starts at the earliest; -1 for one that says nothing.
using Waits = std::vector<std::int64_t>;
Waits waits_in(const std::string& file) {
    Waits waits;
    for (const Row& row : rows_in(file)) waits.push_back(row.wait_until.value_or(-1));
    return waits;
}

std::vector<std::string> payloads_in(const std::string& file) {
    std::vector<std::string> payloads;
    for (const Row& row : rows_in(file)) payloads.push_back(row.payload);
    return payloads;
}

bool same_ids(const std::vector<TaskId>& ids, const std::vector<Row>& rows) {
    return std::equal(ids.begin(), ids.end(), rows.begin(), rows.end(),
                      [](const TaskId& id, const Row& row) { return id.str() == row.id; });
}

int count(SQLite::Database& db, const char* sql) { return db.execAndGet(sql).getInt(); }

// A file, and a client on it that is never started.
struct Adding {
    TempFolder folder{};
    std::string file = folder.file("x.db");
    std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
    std::int64_t now = backlite_test::row_ms(clock->now());
    Client client;

    explicit Adding(ClientConfig config = {}) : client(filled(std::move(config))) {}

private:
    ClientConfig filled(ClientConfig config) {
        config.database = file;
        config.clock = clock;
        return config;
    }
};

// Keeps the write lock of a file.
class LockHolder {
public:
    explicit LockHolder(const std::string& file) : db_(file, SQLite::OPEN_READWRITE) { db_.exec("BEGIN IMMEDIATE"); }
    void release() { db_.exec("COMMIT"); }

private:
    SQLite::Database db_;
};

}  // namespace

template <>
struct backlite::TaskTraits<adding_test::Foreign> {
    static QueueConfig config() { return {.name = "foreign"}; }
};

namespace {

TEST_CASE("add: one task becomes one row with everything that Go's columns name") {
    Adding test;
    const std::vector<TaskId> ids = test.client.add(Email{"a@example.org"}).save();
    REQUIRE(ids.size() == 1);
    SQLite::Database db(test.file);
    SQLite::Statement select(db,
                             "SELECT id, created_at, queue, task, typeof(task), wait_until, claimed_at, "
                             "last_executed_at, attempts FROM backlite_tasks");
    REQUIRE(select.executeStep());
    CHECK(select.getColumn(0).getString() == ids[0].str());
    CHECK(select.getColumn(1).getInt64() == test.now);
    CHECK(select.getColumn(2).getString() == "email");
    CHECK(select.getColumn(3).getString() == R"({"to":"a@example.org"})");
    CHECK(select.getColumn(4).getString() == "blob");
    CHECK(select.isColumnNull(5));
    CHECK(select.isColumnNull(6));
    CHECK(select.isColumnNull(7));
    CHECK(select.getColumn(8).getInt() == 0);
    CHECK_FALSE(select.executeStep());
    CHECK(test.client.status(ids[0]) == TaskStatus::pending);
}

TEST_CASE("add: takes tasks of several types in one call, in the order given") {
    Adding test;
    const std::vector<TaskId> ids = test.client.add(Email{"a"}, Resize{1, 2}, Email{"b"}, Foreign{3}, Picky{}).save();
    const std::vector<Row> rows = rows_in(test.file);
    REQUIRE(rows.size() == 5);
    CHECK(same_ids(ids, rows));
    CHECK(rows[0].payload == R"({"to":"a"})");
    CHECK(rows[1].queue == "resize");
    CHECK(rows[1].payload == R"({"height":2,"width":1})");
    CHECK(rows[2].payload == R"({"to":"b"})");
    CHECK(rows[3].queue == "foreign");
    CHECK(rows[4].queue == "picky");
}

TEST_CASE("add: takes any range of one task type") {
    Adding test;
    const std::vector<std::string> wanted{R"({"height":1,"width":2})", R"({"height":1,"width":1})"};
    std::vector<Resize> vector{{2, 1}, {1, 1}};

    SECTION("vector") { CHECK(test.client.add(vector).save().size() == 2); }
    SECTION("const vector") { CHECK(test.client.add(std::as_const(vector)).save().size() == 2); }
    SECTION("vector of const access from an rvalue") { CHECK(test.client.add(std::move(vector)).save().size() == 2); }
    SECTION("initialised vector") { CHECK(test.client.add(std::vector<Resize>{{2, 1}, {1, 1}}).save().size() == 2); }
    SECTION("std::array") {
        const std::array<Resize, 2> array{{{2, 1}, {1, 1}}};
        CHECK(test.client.add(array).save().size() == 2);
    }
    SECTION("array of the language") {
        const Resize array[] = {{2, 1}, {1, 1}};
        CHECK(test.client.add(array).save().size() == 2);
    }
    SECTION("list") {
        const std::list<Resize> list{{2, 1}, {1, 1}};
        CHECK(test.client.add(list).save().size() == 2);
    }
    SECTION("span") { CHECK(test.client.add(std::span<const Resize>(vector)).save().size() == 2); }
    SECTION("a view of one's own") { CHECK(test.client.add(Slice(vector)).save().size() == 2); }
#if !defined(__clang__) || __clang_major__ >= 16  // clang 14 rejects these views of libstdc++ 12
    SECTION("a view that only a variable can be iterated through") {
        vector.insert(vector.begin(), Resize{0, 0});
        auto view = vector | std::views::filter([](const Resize& task) { return task.width > 0; });
        CHECK(test.client.add(view).save().size() == 2);
    }
    SECTION("a view that makes its tasks") {
        const std::vector<int> widths{2, 1};
        CHECK(test.client.add(widths | std::views::transform([](int width) {
                                  return Resize{width, 1};
                              }))
                  .save()
                  .size() == 2);
    }
#endif
    SECTION("a range that can be read once only") { CHECK(test.client.add(Countdown(2)).save().size() == 2); }
    SECTION("named, and read once only") {
        Countdown range(2);
        CHECK(test.client.add(range).save().size() == 2);
    }
    CHECK(payloads_in(test.file) == wanted);
}

TEST_CASE("add: takes tasks and ranges in one call, in the order given") {
    Adding test;
    const std::list<Email> list{{"b"}, {"c"}};
    const std::vector<TaskId> ids =
        test.client.add(Email{"a"}, list, std::vector<Foreign>{{1}, {2}}, Email{"d"}).save();
    CHECK(same_ids(ids, rows_in(test.file)));
    CHECK(payloads_in(test.file) == std::vector<std::string>{R"({"to":"a"})", R"({"to":"b"})", R"({"to":"c"})",
                                                             R"({"number":1})", R"({"number":2})", R"({"to":"d"})"});
}

TEST_CASE("add: an empty range adds nothing and returns no id") {
    Adding test;
    CHECK(test.client.add(std::vector<Email>{}).save().empty());
    CHECK(rows_in(test.file).empty());
    CHECK(test.client.add(std::vector<Email>{}, Email{"a"}, std::list<Resize>{}).save().size() == 1);
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("add: a type that is both a task and a range is one task") {
    Adding test;
    CHECK(test.client.add(Tags{"a", "b"}).save().size() == 1);
    CHECK(test.client.add(Tags{}).save().size() == 1);
    CHECK(test.client.add(Tree{"root", {{"leaf", {}}, {"leaf", {}}}}).save().size() == 1);
    CHECK(payloads_in(test.file) == std::vector<std::string>{R"(["a","b"])", "[]", R"({"name":"root","size":2})"});
}

TEST_CASE("add: a range of tasks that are ranges themselves is as many tasks") {
    Adding test;
    CHECK(test.client.add(std::vector<Tags>{{"a", "b"}, {"c"}}).save().size() == 2);
    CHECK(test.client.add(std::vector<Tree>{{"root", {{"leaf", {}}}}}).save().size() == 1);
    CHECK(payloads_in(test.file) ==
          std::vector<std::string>{R"(["a","b"])", R"(["c"])", R"({"name":"root","size":1})"});
}

TEST_CASE("add: takes tasks that can only be moved, and const ones") {
    Adding test;
    const Handle handle{std::make_unique<int>(7)};
    CHECK(test.client.add(handle, Handle{std::make_unique<int>(8)}).save().size() == 2);
    CHECK(*handle.number == 7);
    CHECK(payloads_in(test.file) == std::vector<std::string>{"7", "8"});
}

TEST_CASE("add: keeps nothing of the caller's") {
    Adding test;
    auto email = std::make_unique<Email>(Email{"before"});
    auto emails = std::make_unique<std::vector<Email>>(2, Email{"before"});
    AddOp op = test.client.add(*email, *emails);
    email->to = "after";
    for (Email& each : *emails) each.to = "after";
    email.reset();
    emails.reset();
    AddOp moved = std::move(op);
    CHECK(moved.save().size() == 3);
    CHECK(payloads_in(test.file) == std::vector<std::string>(3, R"({"to":"before"})"));
}

TEST_CASE("add: leaves what it is given unchanged, also an rvalue") {
    Adding test;
    Email email{"a"};
    (void)test.client.add(std::move(email)).save();
    CHECK(email.to == "a");
}

TEST_CASE("add: nothing happens before save") {
    Adding test;
    { const AddOp op = test.client.add(Email{"a"}).wait(1s); }
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: a queue that this client has not registered is allowed") {
    Adding test;
    test.client.register_queue<Email>([](const Email&) {});
    const std::vector<TaskId> ids = test.client.add(Resize{1, 1}).save();
    CHECK(test.client.status(ids.at(0)) == TaskStatus::pending);
}

TEST_CASE("add: a task of another type than the queue's processor takes is refused by name") {
    Adding test;
    test.client.register_queue<Email>([](const Email&) {});
    const std::string error = message_of<ConfigError>([&] { (void)test.client.add(OtherEmail{7}).save(); });
    CHECK(contains(error,
                   "queue \"email\": its processor takes adding_test::Email, this task is adding_test::OtherEmail"));
    CHECK_THROWS_AS(test.client.add(Email{"a"}, OtherEmail{7}).save(), ConfigError);
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    Transaction tx(test.client, db);
    CHECK_THROWS_AS(test.client.add(OtherEmail{7}).tx(tx).save(), ConfigError);
    tx.commit();
    CHECK(rows_in(test.file).empty());
    (void)test.client.add(Email{"a"}).save();
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("add: ids are UUIDs of version 7 with the time of the add, and increase") {
    Adding test;
    std::vector<TaskId> all;
    for (int round = 0; round < 50; ++round) {
        if (round == 20) test.clock->jump(-1h);
        if (round == 30) test.clock->advance(5ms);
        const std::vector<TaskId> ids = test.client.add(std::vector<Email>(20), Resize{}).save();
        CHECK(ids.size() == 21);
        all.insert(all.end(), ids.begin(), ids.end());
    }
    CHECK(std::is_sorted(all.begin(), all.end()));
    CHECK(std::set<TaskId>(all.begin(), all.end()).size() == all.size());
    const std::string first = all.front().str();
    CHECK(TaskId::parse(first).str() == first);
    CHECK(first[14] == '7');
    CHECK(std::stoll(first.substr(0, 8) + first.substr(9, 4), nullptr, 16) == test.now);
}

TEST_CASE("add: ids of many threads are all different, and increase within each call and each thread") {
    Adding test;
    constexpr std::size_t threads = 4;
    std::vector<std::vector<TaskId>> ids(threads);
    {
        std::vector<std::jthread> running;
        for (std::size_t i = 0; i < threads; ++i) {
            running.emplace_back([&test, &mine = ids[i]] {
                for (int round = 0; round < 20; ++round) {
                    const std::vector<TaskId> some = test.client.add(std::vector<Email>(5)).save();
                    mine.insert(mine.end(), some.begin(), some.end());
                }
            });
        }
    }
    std::set<TaskId> all;
    for (const std::vector<TaskId>& mine : ids) {
        CHECK(mine.size() == 100);
        CHECK(std::is_sorted(mine.begin(), mine.end()));
        all.insert(mine.begin(), mine.end());
    }
    CHECK(all.size() == 100 * threads);
    CHECK(rows_in(test.file).size() == 100 * threads);
}

// Times.

TEST_CASE("add: wait counts from save") {
    Adding test;
    AddOp op = test.client.add(Email{"a"}).wait(15min);
    test.clock->advance(1h);
    (void)op.save();
    const Row row = rows_in(test.file).at(0);
    CHECK(row.created_at == test.now + 3'600'000);
    CHECK(row.wait_until == test.now + 3'600'000 + 900'000);
}

TEST_CASE("add: at is stored to the millisecond, in the past as in the future") {
    Adding test;
    (void)test.client.add(Email{"future"}).at(test.clock->now() + 1234ms).save();
    (void)test.client.add(Email{"past"}).at(test.clock->now() - 24h).save();
    (void)test.client.add(Email{"epoch"}).at(backlite::TimePoint{}).save();
    CHECK(waits_in(test.file) == Waits{test.now + 1234, test.now - 86'400'000, 0});
}

TEST_CASE("add: a time between two milliseconds is stored as the later one, so that no task starts too early") {
    Adding test;
    (void)test.client.add(Email{"at"}).at(test.clock->now() + 1us).save();
    (void)test.client.add(Email{"wait"}).wait(1us).save();
    test.clock->jump(1ms);
    const auto between = std::make_shared<ManualClock>(test.clock->now() + 300us);
    Client client{{.database = test.file, .clock = between}};
    (void)client.add(Email{"wait from between"}).wait(1ms).save();
    CHECK(waits_in(test.file) == Waits{test.now + 1, test.now + 1, test.now + 3});
    CHECK(rows_in(test.file).at(2).created_at == test.now + 1);
}

TEST_CASE("add: a time may have any unit") {
    Adding test;
    (void)test.client.add(Email{"day"}).at(std::chrono::sys_days{std::chrono::days{20'000}}).save();
    (void)test.client.add(Email{"half"}).wait(std::chrono::duration<double>{0.5}).save();
    CHECK(waits_in(test.file) == Waits{20'000LL * 86'400'000, test.now + 500});
}

TEST_CASE("add: all tasks of a call get its time") {
    Adding test;
    (void)test.client.add(Email{"a"}, std::vector<Resize>(2)).wait(1s).save();
    CHECK(waits_in(test.file) == Waits(3, test.now + 1000));
}

TEST_CASE("add: of wait and at the last wins") {
    Adding test;
    (void)test.client.add(Email{"a"}).wait(1s).at(test.clock->now() + 2s).save();
    (void)test.client.add(Email{"b"}).at(test.clock->now() + 2s).wait(1s).save();
    (void)test.client.add(Email{"c"}).wait(1s).wait(3s).save();
    (void)test.client.add(Email{"d"}).wait(-1s).at(test.clock->now() + 4s).save();
    CHECK(waits_in(test.file) == Waits{test.now + 2000, test.now + 1000, test.now + 3000, test.now + 4000});
}

TEST_CASE("add: a time that cannot be stored is refused by save, and named") {
    Adding test;
    CHECK(contains(message_of<ConfigError>([&] { (void)test.client.add(Email{}).wait(-1ms).save(); }), "-1 ms"));
    CHECK(contains(
        message_of<ConfigError>([&] { (void)test.client.add(Email{}).wait(backlite::Duration::max()).save(); }),
        "9223372036854775807 ms"));
    CHECK(
        contains(message_of<ConfigError>([&] { (void)test.client.add(Email{}).at(backlite::TimePoint{-1ms}).save(); }),
                 "-1 ms"));
    CHECK_THROWS_AS(test.client.add(Email{}).wait((std::chrono::hours::max)()).save(), ConfigError);
    CHECK_THROWS_AS(test.client.add(Email{}).wait(-1ns).save(), ConfigError);
    using Far = std::chrono::sys_time<std::chrono::hours>;
    CHECK_THROWS_AS(test.client.add(Email{}).at(Far{(std::chrono::hours::max)()}).save(), ConfigError);
    CHECK_THROWS_AS(test.client.add(Email{}).at(Far{(std::chrono::hours::min)()}).save(), ConfigError);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: the chain functions come in any order, on an op of any kind") {
    std::stop_source source;
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
    (void)test.client.add(Email{}).stop_token(source.get_token()).wait(1s).tx(db).save();
    (void)test.client.add(Email{}).tx(db).stop_token(source.get_token()).wait(1s).save();
    (void)test.client.add(Email{}).wait(1s).tx(db).stop_token(source.get_token()).save();
    AddOp op = test.client.add(Email{});
    (void)op.at(test.clock->now()).tx(db);
    (void)op.stop_token(source.get_token()).wait(1s);
    (void)op.save();
    transaction.commit();
    CHECK(waits_in(test.file) == Waits(4, test.now + 1000));
}

// Once, all or none.

TEST_CASE("add: a second save throws and adds nothing") {
    Adding test;
    AddOp op = test.client.add(Email{"a"});
    (void)op.save();
    CHECK_THROWS_AS((void)op.save(), UsageError);
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("add: a save after one that failed throws, whatever it failed of") {
    Adding test;
    AddOp op = test.client.add(Picky{false});
    CHECK_THROWS_AS((void)op.save(), EncodeError);
    CHECK_THROWS_AS((void)op.save(), UsageError);
}

TEST_CASE("add: an encoding error is thrown by save, names the queue, and nothing of that call is added") {
    Adding test;
    AddOp op = test.client.add(Email{"before"}, Picky{false}, Email{"after"});
    try {
        (void)op.save();
        FAIL("save returned");
    } catch (const EncodeError& error) {
        CHECK(error.queue() == "picky");
        CHECK(contains(error.what(), "\"picky\""));
        CHECK(contains(error.what(), "does not fit"));
        CHECK(error.added() == Added::no);
    }
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: a string that is not UTF-8 is an encoding error") {
    Adding test;
    const std::string message =
        message_of<EncodeError>([&] { (void)test.client.add(Resize{}, Email{"\xff\xfe"}, Resize{}).save(); });
    CHECK(contains(message, "queue \"email\""));
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: an encoding error deep in a range adds nothing of that call") {
    Adding test;
    std::vector<Picky> many(1000);
    many[700].fits = false;
    CHECK_THROWS_AS((void)test.client.add(many).save(), EncodeError);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: all tasks of one save are added or none, also when SQLite refuses one of them") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec(
        "CREATE TRIGGER refuse BEFORE INSERT ON backlite_tasks WHEN instr(NEW.task, 'poison') > 0 "
        "BEGIN SELECT raise(ABORT, 'refused'); END");
    try {
        (void)test.client.add(Email{"a"}, Email{"poison"}, Email{"b"}).save();
        FAIL("save returned");
    } catch (const StorageError& error) {
        CHECK(contains(error.what(), "refused"));
        CHECK(error.extended_code() == SQLITE_CONSTRAINT_TRIGGER);
        CHECK(error.queue() == "email");
        CHECK(error.added() == Added::no);
    }
    CHECK(rows_in(test.file).empty());
    CHECK(test.client.add(Email{"c"}).save().size() == 1);
}

TEST_CASE("add: one call that SQLite refuses takes no other caller's tasks down") {
    std::atomic<int> refused{0};
    std::atomic<int> others{0};
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec(
        "CREATE TRIGGER refuse BEFORE INSERT ON backlite_tasks WHEN instr(NEW.task, 'poison') > 0 "
        "BEGIN SELECT raise(ABORT, 'refused'); END");
    constexpr int threads = 4;
    constexpr int rounds = 25;
    {
        std::vector<std::jthread> running;
        for (int i = 0; i < threads; ++i) {
            running.emplace_back([&, i] {
                for (int round = 0; round < rounds; ++round) {
                    try {
                        (void)test.client.add(Email{i == 0 ? "poison" : "fine"}).save();
                    } catch (const StorageError&) {
                        (i == 0 ? refused : others).fetch_add(1);
                    }
                }
            });
        }
    }
    CHECK(refused == rounds);
    CHECK(others == 0);
    CHECK(rows_in(test.file).size() == std::size_t{threads - 1} * rounds);
}

TEST_CASE("add: max_payload is the most bytes of JSON that a task may have") {
    Adding test({.max_payload = 20});
    const std::string fits(20 - std::string(R"({"to":""})").size(), 'x');
    (void)test.client.add(Email{fits}).save();
    CHECK(rows_in(test.file).at(0).payload.size() == 20);
    try {
        (void)test.client.add(Email{"small"}, Email{fits + 'x'}).save();
        FAIL("save returned");
    } catch (const EncodeError& error) {
        CHECK(error.queue() == "email");
        CHECK(contains(error.what(), "21 bytes"));
        CHECK(contains(error.what(), "max_payload"));
    }
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("add: a large task comes through whole") {
    Adding test;
    const std::string text(8U << 20U, 'x');
    (void)test.client.add(Email{text}).save();
    CHECK(rows_in(test.file).at(0).payload == nlohmann::json{{"to", text}}.dump());
}

TEST_CASE("add: text of any language and every escape comes through") {
    Adding test;
    const std::string text = std::string("\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80 \" \\ \n \x01") + '\0' + "end";
    (void)test.client.add(Email{text}).save();
    CHECK(nlohmann::json::parse(rows_in(test.file).at(0).payload).at("to").get<std::string>() == text);
}

// The caller's own transaction.

TEST_CASE("tx(db): the tasks are there when the caller's transaction commits, not before") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("BEGIN IMMEDIATE");
    const std::vector<TaskId> ids = test.client.add(Email{"a"}, Email{"b"}).tx(db).save();
    CHECK(ids.size() == 2);
    CHECK(count(db, "SELECT count(*) FROM backlite_tasks") == 2);
    CHECK(test.client.status(ids[0]) == TaskStatus::not_found);
    db.exec("COMMIT");
    CHECK(test.client.status(ids[0]) == TaskStatus::pending);
    CHECK(same_ids(ids, rows_in(test.file)));
}

TEST_CASE("tx(db): rollback of the caller's transaction adds nothing") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("BEGIN");
    const std::vector<TaskId> ids = test.client.add(Email{"a"}).tx(db).save();
    db.exec("ROLLBACK");
    CHECK(test.client.status(ids.at(0)) == TaskStatus::not_found);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("tx(db): works inside a deferred, immediate or exclusive transaction, and inside a bare savepoint") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    for (const char* begin : {"BEGIN DEFERRED", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "SAVEPOINT mine"}) {
        db.exec(begin);
        CHECK(test.client.add(Email{begin}).tx(db).save().size() == 1);
        db.exec(std::string(begin) == "SAVEPOINT mine" ? "RELEASE mine" : "COMMIT");
    }
    CHECK(rows_in(test.file).size() == 4);
}

TEST_CASE("tx(db): a savepoint of the caller takes its tasks back, and no others") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("BEGIN");
    (void)test.client.add(Email{"kept"}).tx(db).save();
    db.exec("SAVEPOINT mine");
    (void)test.client.add(Email{"taken back"}).tx(db).save();
    db.exec("ROLLBACK TO mine");
    db.exec("RELEASE mine");
    db.exec("COMMIT");
    CHECK(payloads_in(test.file) == std::vector<std::string>{R"({"to":"kept"})"});
}

TEST_CASE("tx(db): throws unless a transaction is open") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    CHECK(contains(message_of<UsageError>([&] { (void)test.client.add(Email{}).tx(db).save(); }), "no transaction"));
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("tx(db): throws if the connection is on another file, and names both") {
    Adding test;
    const std::string other = test.folder.file("other.db");
    SQLite::Database db(other, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    db.exec("BEGIN");
    const std::string message = message_of<ConfigError>([&] { (void)test.client.add(Email{}).tx(db).save(); });
    CHECK(contains(message, other));
    CHECK(contains(message, test.file));
    CHECK(sqlite3_get_autocommit(db.getHandle()) == 0);
}

TEST_CASE("tx(db): throws if the connection is in memory, or has the client's file attached only") {
    Adding test;
    SQLite::Database db(":memory:", SQLite::OPEN_READWRITE);
    db.exec("ATTACH '" + test.file + "' AS other");
    db.exec("BEGIN");
    CHECK_THROWS_AS((void)test.client.add(Email{}).tx(db).save(), ConfigError);
    db.exec("ROLLBACK");
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("tx(db): a connection that came through a symbolic link, or a relative name, is on the same file") {
    Adding test;
    const std::string link = test.folder.file("link.db");
    std::filesystem::create_symlink(test.file, link);
    const std::string folder_link = test.folder.file("folder");
    std::filesystem::create_directory_symlink(test.folder.name(), folder_link);
    for (const std::string& name : {link, folder_link + "/x.db", test.folder.name() + "/./x.db"}) {
        SQLite::Database db(name, SQLite::OPEN_READWRITE);
        SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
        CHECK(test.client.add(Email{}).tx(db).save().size() == 1);
        transaction.commit();
    }
    CHECK(rows_in(test.file).size() == 3);
}

TEST_CASE("tx(db): a client that came through a symbolic link accepts the file's own name") {
    const TempFolder folder;
    { SQLite::Database create(folder.file("x.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE); }
    std::filesystem::create_symlink(folder.file("x.db"), folder.file("link.db"));
    Client client{{.database = folder.file("link.db")}};
    SQLite::Database db(folder.file("x.db"), SQLite::OPEN_READWRITE);
    SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
    CHECK(client.add(Email{}).tx(db).save().size() == 1);
    transaction.commit();
    CHECK(rows_in(folder.file("x.db")).size() == 1);
}

TEST_CASE("tx(db): a connection through a hard link is refused: SQLite keeps a log per name") {
    Adding test;
    const std::string link = test.folder.file("hard.db");
    std::filesystem::create_hard_link(test.file, link);
    SQLite::Database db(link, SQLite::OPEN_READWRITE);
    sqlite3_exec(db.getHandle(), "SAVEPOINT mine", nullptr, nullptr, nullptr);
    const std::string message = message_of<ConfigError>([&] { (void)test.client.add(Email{}).tx(db).save(); });
    CHECK(contains(message, link));
    CHECK(test.client.add(Email{}).save().size() == 1);
}

TEST_CASE("tx(db): leaves no statement on the caller's connection, whether it succeeds or fails") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec(
        "CREATE TRIGGER refuse BEFORE INSERT ON backlite_tasks WHEN instr(NEW.task, 'poison') > 0 "
        "BEGIN SELECT raise(ABORT, 'refused'); END");
    db.exec("BEGIN IMMEDIATE");
    (void)test.client.add(Email{"a"}, Resize{}).tx(db).save();
    CHECK(sqlite3_next_stmt(db.getHandle(), nullptr) == nullptr);
    CHECK_THROWS_AS((void)test.client.add(Email{"b"}, Email{"poison"}).tx(db).save(), StorageError);
    CHECK(sqlite3_next_stmt(db.getHandle(), nullptr) == nullptr);
    db.exec("COMMIT");
    CHECK(payloads_in(test.file) == std::vector<std::string>{R"({"to":"a"})", R"({"height":0,"width":0})"});
}

TEST_CASE("tx(db): an error takes back its own tasks and leaves the caller's work and transaction alone") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("CREATE TABLE mine (x)");
    db.exec(
        "CREATE TRIGGER refuse BEFORE INSERT ON backlite_tasks WHEN instr(NEW.task, 'poison') > 0 "
        "BEGIN SELECT raise(ABORT, 'refused'); END");
    db.exec("BEGIN IMMEDIATE");
    db.exec("INSERT INTO mine VALUES (1)");
    CHECK_THROWS_AS((void)test.client.add(Email{"a"}, Email{"poison"}).tx(db).save(), StorageError);
    CHECK(sqlite3_get_autocommit(db.getHandle()) == 0);
    db.exec("INSERT INTO mine VALUES (2)");
    db.exec("COMMIT");
    CHECK(count(db, "SELECT count(*) FROM mine") == 2);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("tx(db): says so when SQLite has rolled the caller's transaction back") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("CREATE TRIGGER refuse BEFORE INSERT ON backlite_tasks BEGIN SELECT raise(ROLLBACK, 'refused'); END");
    db.exec("BEGIN IMMEDIATE");
    const std::string message = message_of<StorageError>([&] { (void)test.client.add(Email{}).tx(db).save(); });
    CHECK(contains(message, "rolled back the whole transaction"));
    CHECK(sqlite3_get_autocommit(db.getHandle()) != 0);
}

TEST_CASE("tx(db): an encoding error touches the caller's transaction in no way") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("BEGIN");
    CHECK_THROWS_AS((void)test.client.add(Email{}, Picky{false}).tx(db).save(), EncodeError);
    CHECK(sqlite3_txn_state(db.getHandle(), "main") == SQLITE_TXN_NONE);
    db.exec("COMMIT");
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("tx(db): a deferred transaction that read an old state cannot upgrade: BusyError at once") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE, 3'600'000);
    db.exec("BEGIN");
    CHECK(count(db, "SELECT count(*) FROM backlite_tasks") == 0);
    (void)test.client.add(Email{"between"}).save();
    try {
        (void)test.client.add(Email{"late"}).tx(db).save();
        FAIL("save returned");
    } catch (const BusyError& error) {
        CHECK(error.extended_code() == SQLITE_BUSY_SNAPSHOT);
        CHECK(error.added() == Added::no);
        CHECK(error.queue() == "email");
    }
    CHECK(sqlite3_next_stmt(db.getHandle(), nullptr) == nullptr);
    CHECK(sqlite3_get_autocommit(db.getHandle()) == 0);
    CHECK(count(db, "SELECT count(*) FROM backlite_tasks") == 0);  // still its own old view
    db.exec("COMMIT");
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("tx(db): a deferred transaction that has read cannot upgrade beside a writer: BusyError at once") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE, 3'600'000);
    db.exec("BEGIN");
    CHECK(count(db, "SELECT count(*) FROM backlite_tasks") == 0);
    LockHolder holder(test.file);
    CHECK_THROWS_AS((void)test.client.add(Email{}).tx(db).save(), BusyError);
    CHECK(sqlite3_next_stmt(db.getHandle(), nullptr) == nullptr);
    CHECK(sqlite3_get_autocommit(db.getHandle()) == 0);
    holder.release();
    CHECK(test.client.add(Email{}).tx(db).save().size() == 1);  // nothing changed meanwhile: now it can
    db.exec("COMMIT");
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("tx(db): a second save with the same connection in the next transaction works") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    for (int round = 0; round < 3; ++round) {
        SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
        (void)test.client.add(Email{}).tx(db).save();
        transaction.commit();
    }
    CHECK(rows_in(test.file).size() == 3);
}

// backlite::Transaction.

TEST_CASE("Transaction: commits the caller's work and the tasks together") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("CREATE TABLE mine (x)");
    Transaction tx{test.client, db};
    db.exec("INSERT INTO mine VALUES (1)");
    const std::vector<TaskId> ids = test.client.add(Email{"a"}).tx(tx).save();
    CHECK(&tx.database() == &db);
    CHECK(test.client.status(ids.at(0)) == TaskStatus::not_found);
    tx.commit();
    CHECK(test.client.status(ids.at(0)) == TaskStatus::pending);
    CHECK(count(db, "SELECT count(*) FROM mine") == 1);
    CHECK(sqlite3_next_stmt(db.getHandle(), nullptr) == nullptr);
}

TEST_CASE("Transaction: rolls back at the end of its scope unless committed") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("CREATE TABLE mine (x)");
    SECTION("by return") {
        Transaction tx{test.client, db};
        db.exec("INSERT INTO mine VALUES (1)");
        (void)test.client.add(Email{"a"}).tx(tx).save();
    }
    SECTION("by exception") {
        try {
            Transaction tx{test.client, db};
            db.exec("INSERT INTO mine VALUES (1)");
            (void)test.client.add(Email{"a"}, Picky{false}).tx(tx).save();
            FAIL("save returned");
        } catch (const EncodeError&) {
        }
    }
    SECTION("by rollback()") {
        Transaction tx{test.client, db};
        db.exec("INSERT INTO mine VALUES (1)");
        (void)test.client.add(Email{"a"}).tx(tx).save();
        tx.rollback();
        tx.rollback();
    }
    CHECK(sqlite3_get_autocommit(db.getHandle()) != 0);
    CHECK(count(db, "SELECT count(*) FROM mine") == 0);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("Transaction: cannot be used after its end") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    Transaction tx{test.client, db};
    tx.commit();
    CHECK_THROWS_AS(tx.commit(), UsageError);
    CHECK_THROWS_AS((void)test.client.add(Email{}).tx(tx).save(), UsageError);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("Transaction: refuses a connection with a transaction open, or on another file") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("BEGIN");
    CHECK_THROWS_AS((Transaction{test.client, db}), UsageError);
    CHECK(sqlite3_get_autocommit(db.getHandle()) == 0);
    SQLite::Database other(test.folder.file("other.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    CHECK_THROWS_AS((Transaction{test.client, other}), ConfigError);
    CHECK(sqlite3_get_autocommit(other.getHandle()) != 0);
    CHECK(test.client.add(Email{}).save().size() == 1);  // neither left the thread marked
}

TEST_CASE("Transaction: BusyError when another connection keeps the lock for longer than busy_timeout") {
    Adding test({.busy_timeout = 50ms});
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    LockHolder holder(test.file);
    const auto start = std::chrono::steady_clock::now();
    CHECK_THROWS_AS((Transaction{test.client, db}), BusyError);
    CHECK(std::chrono::steady_clock::now() - start >= 50ms);
    CHECK(sqlite3_get_autocommit(db.getHandle()) != 0);
    holder.release();
    CHECK(test.client.add(Email{}).save().size() == 1);
}

TEST_CASE("Transaction: waits as long as the client says, and leaves the connection's own busy handler alone") {
    Adding test({.busy_timeout = 50ms});
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    std::atomic<int> asked{0};
    sqlite3_busy_handler(
        db.getHandle(),
        [](void* count, int) {
            sqlite3_sleep(10);
            return ++*static_cast<std::atomic<int>*>(count) < 1000 ? 1 : 0;  // the host would wait ten seconds
        },
        &asked);
    LockHolder holder(test.file);
    const auto start = std::chrono::steady_clock::now();
    CHECK(contains(message_of<BusyError>([&] { Transaction tx(test.client, db); }),
                   "locked by another connection for 50 ms"));
    CHECK(std::chrono::steady_clock::now() - start < 5s);
    CHECK(asked == 0);
    CHECK(sqlite3_get_autocommit(db.getHandle()) != 0);
    asked = 998;
    CHECK_THROWS_AS(db.exec("BEGIN IMMEDIATE"), SQLite::Exception);
    CHECK(asked == 1000);
    holder.release();
    {
        Transaction tx{test.client, db};
        CHECK_THROWS_AS(test.client.add(Email{}).save(), UsageError);
    }
}

TEST_CASE("Transaction: has the write lock from the start") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    SQLite::Database other(test.file, SQLite::OPEN_READWRITE);
    const Transaction tx{test.client, db};
    CHECK_THROWS_AS(other.exec("BEGIN IMMEDIATE"), SQLite::Exception);
}

TEST_CASE("Transaction: prepares its end after the schema is read, which would undo that") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    struct Compiled {
        bool schema_read = false;
        bool end_prepared = false;
        bool in_order = false;
    } compiled;
    const auto note = [](void* data, int action, const char* what, const char*, const char*, const char*) {
        auto& seen = *static_cast<Compiled*>(data);
        seen.schema_read =
            seen.schema_read || (action == SQLITE_READ && std::string_view{what}.substr(0, 7) == "sqlite_");
        if (action == SQLITE_TRANSACTION && std::string_view{what} == "ROLLBACK") {
            seen.end_prepared = true;
            seen.in_order = seen.schema_read;
        }
        return SQLITE_OK;
    };
    sqlite3_set_authorizer(db.getHandle(), note, &compiled);
    {
        const Transaction tx{test.client, db};
        CHECK(compiled.end_prepared);
        CHECK(compiled.in_order);
        sqlite3_set_authorizer(db.getHandle(), nullptr, nullptr);
    }
    CHECK(sqlite3_get_autocommit(db.getHandle()) != 0);
}

TEST_CASE("Transaction: the caller may end it by SQL, and then it cannot be committed again") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    {
        Transaction tx{test.client, db};
        db.exec("ROLLBACK");
        CHECK_THROWS_AS(tx.commit(), StorageError);
    }
    CHECK(test.client.add(Email{}).save().size() == 1);
}

TEST_CASE("Transaction: add without tx on its thread throws at once instead of waiting for itself") {
    Adding test({.busy_timeout = 10s});
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    {
        Transaction tx{test.client, db};
        CHECK(contains(message_of<UsageError>([&] { (void)test.client.add(Email{}).save(); }), "tx(transaction)"));
        CHECK(test.client.add(Email{}).tx(tx).save().size() == 1);
    }
    CHECK(test.client.add(Email{}).save().size() == 1);
    {
        Transaction tx{test.client, db};
        tx.commit();
        CHECK(test.client.add(Email{}).save().size() == 1);
    }
    CHECK(rows_in(test.file).size() == 2);
}

TEST_CASE("Transaction: any client of the process on that file counts as the same") {
    Adding test({.busy_timeout = 10s});
    const std::string link = test.folder.file("link.db");
    std::filesystem::create_symlink(test.file, link);
    Client second{{.database = link, .busy_timeout = 10s}};
    Client elsewhere{{.database = test.folder.file("elsewhere.db")}};
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    Transaction tx{test.client, db};
    CHECK_THROWS_AS((void)second.add(Email{}).save(), UsageError);
    CHECK(second.add(Email{}).tx(tx).save().size() == 1);
    CHECK(elsewhere.add(Email{}).save().size() == 1);
    tx.commit();
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("Transaction: add on another thread waits until it has ended") {
    Events<bool> started;
    Events<std::size_t> saved;
    Adding test({.busy_timeout = 1h});
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    std::jthread other;
    {
        Transaction tx{test.client, db};
        other = std::jthread([&] {
            started.add(true);
            saved.add(test.client.add(Email{"other"}).save().size());
        });
        REQUIRE(started.wait_for(1));
        (void)test.client.add(Email{"mine"}).tx(tx).save();
        CHECK(saved.count() == 0);
        tx.commit();
    }
    CHECK(saved.wait_for(1));
    CHECK(payloads_in(test.file) == std::vector<std::string>{R"({"to":"mine"})", R"({"to":"other"})"});
}

// Giving up.

// ---- a file that a newer library has taken over ---------------------------------------------------------------------

/// What a newer library's migration leaves behind for older ones.
void take_over(const std::string& file) {
    SQLite::Database newer(file, SQLite::OPEN_READWRITE);
    newer.exec(
        "BEGIN IMMEDIATE; ALTER TABLE backlite_tasks ADD COLUMN later integer; "
        "UPDATE backlite_meta SET value = 9002003 WHERE key = 'oldest_writer'; COMMIT");
}

constexpr const char* newer_needed = "version 9.2.3 or newer is needed to write to it";

TEST_CASE("tx(db): is refused once a newer library has taken the file over, and the caller's transaction goes on") {
    Adding test;
    take_over(test.file);
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("CREATE TABLE mine (n); BEGIN; INSERT INTO mine VALUES (1)");
    const std::string message = message_of<StorageError>([&] { (void)test.client.add(Email{}).tx(db).save(); });
    CHECK(contains(message, newer_needed));
    CHECK(sqlite3_get_autocommit(db.getHandle()) == 0);
    db.exec("COMMIT");
    CHECK(rows_in(test.file).empty());
    CHECK(count(db, "SELECT count(*) FROM mine") == 1);
}

TEST_CASE("tx(db): goes to the file also where the caller's connection has temporary tables of the same names") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    for (const char* table : {"backlite_tasks", "backlite_meta", "backlite_stats"}) {
        db.exec(fmt::format("CREATE TEMP TABLE {0} AS SELECT * FROM main.{0}", table));
    }
    {
        Transaction tx{test.client, db};
        CHECK(sqlite3_txn_state(db.getHandle(), "main") == SQLITE_TXN_WRITE);
        (void)test.client.add(Email{}).tx(tx).save();
        tx.commit();
    }
    CHECK(rows_in(test.file).size() == 1);
    CHECK(db.execAndGet("SELECT sum(added) FROM main.backlite_stats WHERE span = 1").getInt() == 1);
    take_over(test.file);
    db.exec("BEGIN IMMEDIATE");
    CHECK_THROWS_AS(test.client.add(Email{}).tx(db).save(), StorageError);
}

TEST_CASE("tx(db): is refused also where only the number of the oldest library was raised") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("BEGIN");
    CHECK(test.client.add(Email{}).tx(db).save().size() == 1);
    db.exec("COMMIT; UPDATE backlite_meta SET value = 9002003 WHERE key = 'oldest_writer'; BEGIN");
    CHECK(contains(message_of<StorageError>([&] { (void)test.client.add(Email{}).tx(db).save(); }), newer_needed));
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("Transaction: an add in it is refused once a newer library has taken the file over") {
    Adding test;
    take_over(test.file);
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    Transaction tx{test.client, db};
    CHECK(contains(message_of<StorageError>([&] { (void)test.client.add(Email{}).tx(tx).save(); }), newer_needed));
    tx.commit();
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: every way to add is refused once the client has stopped itself, with the same reason") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    take_over(test.file);
    const std::string reason = message_of<StorageError>([&] { (void)test.client.add(Email{}).save(); });
    CHECK(contains(reason, newer_needed));
    // The client does not come back, whatever the file says later.
    db.exec("UPDATE backlite_meta SET value = 1000 WHERE key = 'oldest_writer'");
    CHECK(message_of<StorageError>([&] { (void)test.client.add(Email{}).save(); }) == reason);
    db.exec("BEGIN");
    CHECK(message_of<StorageError>([&] { (void)test.client.add(Email{}).tx(db).save(); }) == reason);
    db.exec("ROLLBACK");
    CHECK(message_of<StorageError>([&] { Transaction{test.client, db}; }) == reason);
    CHECK(sqlite3_get_autocommit(db.getHandle()) != 0);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: a client that installs nothing is refused a file that needs a newer library") {
    Adding test;
    take_over(test.file);
    const ClientConfig config{.database = test.file, .auto_install = false};
    CHECK(contains(message_of<StorageError>([&] { Client{config}; }), newer_needed));
}

TEST_CASE("tx(db): a deferred transaction that has not read waits for another writer") {
    Adding test;
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.setBusyTimeout(10'000);
    db.exec("BEGIN");
    LockHolder holder(test.file);
    std::jthread writer([&] {
        std::this_thread::sleep_for(30ms);
        holder.release();
    });
    CHECK_NOTHROW((void)test.client.add(Email{}).tx(db).save());
    db.exec("COMMIT");
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("add: BusyError when another connection keeps the lock for longer than busy_timeout") {
    Adding test({.busy_timeout = 50ms});
    LockHolder holder(test.file);
    const auto start = std::chrono::steady_clock::now();
    try {
        (void)test.client.add(Email{}).save();
        FAIL("save returned");
    } catch (const BusyError& error) {
        CHECK(error.added() == Added::no);
        CHECK(error.code() == SQLITE_BUSY);
        CHECK(error.queue() == "email");
        CHECK(contains(error.what(), test.file));
        CHECK(contains(error.what(), "50 ms"));
    }
    const auto waited = std::chrono::steady_clock::now() - start;
    CHECK(waited >= 50ms);
    CHECK(waited < 10s);
    holder.release();
    CHECK(rows_in(test.file).empty());
    CHECK(test.client.add(Email{}).save().size() == 1);
}

TEST_CASE("add: busy_timeout zero does not wait for a lock at all, and works without one") {
    Adding test({.busy_timeout = 0ms});
    {
        const LockHolder holder(test.file);
        CHECK_THROWS_AS((void)test.client.add(Email{}).save(), BusyError);
    }
    CHECK(test.client.add(Email{}).save().size() == 1);
}

TEST_CASE("add: waits for a lock that is let go in time") {
    Events<std::size_t> saved;
    Adding test({.busy_timeout = 1h});
    LockHolder holder(test.file);
    const std::jthread other([&] { saved.add(test.client.add(Email{}).save().size()); });
    CHECK_FALSE(saved.wait_for(1, 50ms));
    holder.release();
    CHECK(saved.wait_for(1));
}

TEST_CASE("add: a token that has fired before save cancels it") {
    std::stop_source source;
    Adding test;
    source.request_stop();
    try {
        (void)test.client.add(Email{}).stop_token(source.get_token()).save();
        FAIL("save returned");
    } catch (const Cancelled& error) {
        CHECK(error.added() == Added::no);
    }
    SQLite::Database db(test.file, SQLite::OPEN_READWRITE);
    db.exec("BEGIN");
    CHECK_THROWS_AS((void)test.client.add(Email{}).tx(db).stop_token(source.get_token()).save(), Cancelled);
    CHECK(sqlite3_txn_state(db.getHandle(), "main") == SQLITE_TXN_NONE);
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: a token that fires while save waits for a lock cancels it, and nothing is added") {
    std::stop_source source;
    Events<bool> cancelled;
    Adding test({.busy_timeout = 1h});
    LockHolder holder(test.file);
    const std::jthread other([&] {
        try {
            (void)test.client.add(Email{}, Resize{}).stop_token(source.get_token()).save();
            cancelled.add(false);
        } catch (const Cancelled& error) {
            cancelled.add(error.added() == Added::no && error.queue() == "email");
        }
    });
    CHECK_FALSE(cancelled.wait_for(1, 50ms));
    source.request_stop();
    CHECK(cancelled.wait_for(1));
    CHECK(cancelled.all() == std::vector<bool>{true});
    holder.release();
    CHECK(rows_in(test.file).empty());
}

TEST_CASE("add: a token that fires cancels one who waits behind another, who goes on waiting") {
    std::stop_source source;
    Events<std::string> ended;
    Adding test({.busy_timeout = 1h});
    LockHolder holder(test.file);
    const std::jthread patient([&] { ended.add(fmt::format("saved {}", test.client.add(Email{}).save().size())); });
    CHECK_FALSE(ended.wait_for(1, 20ms));
    const std::jthread hasty([&] {
        ended.add(message_of<Cancelled>([&] { (void)test.client.add(Email{}).stop_token(source.get_token()).save(); }));
    });
    CHECK_FALSE(ended.wait_for(1, 20ms));
    source.request_stop();
    CHECK(ended.wait_for(1));
    CHECK(contains(ended.all().at(0), "cancelled"));
    holder.release();
    CHECK(ended.wait_for(2));
    CHECK(ended.all().at(1) == "saved 1");
}

TEST_CASE("add: a token that does not fire changes nothing") {
    std::stop_source source;
    Adding test;
    CHECK(test.client.add(Email{}).stop_token(source.get_token()).save().size() == 1);
    source.request_stop();
    CHECK(rows_in(test.file).size() == 1);
}

TEST_CASE("add: a file without tables says what to do") {
    Adding test({.auto_install = false});
    CHECK_THROWS_AS((void)test.client.add(Email{}).save(), StorageError);
    test.client.install();
    test.client.install();
    CHECK(test.client.add(Email{}).save().size() == 1);
}

TEST_CASE("add: works on a started client and on one that was stopped") {
    Events<std::string> seen;
    Adding test;
    test.client.register_queue<Email>([&](const Email& email) { seen.add(email.to); });
    test.client.start();
    (void)test.client.add(Email{"started"}).save();
    CHECK(seen.wait_for(1));
    CHECK(test.client.stop(20s));
    const std::vector<TaskId> ids = test.client.add(Email{"stopped"}).save();
    CHECK(test.client.status(ids.at(0)) == TaskStatus::pending);
    test.client.start();
    CHECK(seen.wait_for(2));
    CHECK(test.client.stop(20s));
    CHECK(seen.all() == std::vector<std::string>{"started", "stopped"});
}

}  // namespace
