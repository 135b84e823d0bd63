// SPDX-License-Identifier: MIT
// Tasks that end in a transaction of the host's, together with what they have done.

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::Context;
using backlite::Outcome;
using backlite::StopReason;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite::Transaction;
using backlite_test::message_of;

struct Payment {
    std::string to{};
    static backlite::QueueConfig config() {
        return {.name = "payments",
                .max_attempts = 3,
                .retention = backlite::Retention{.duration = 24h, .data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Payment, to)

// Not kept.
struct Ping {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "pings"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Ping, name)

SQLite::Database open_bank(const std::string& file) {
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    database.setBusyTimeout(static_cast<int>(patience.count()));
    return database;
}

// A file with a table of the host's beside the tasks.
struct Bank : Story {
    Bank() {
        Client{config}.install();
        Look(file).run("CREATE TABLE paid (who text, attempt integer)");
    }

    // What a payment does in its transaction.
    static void pay(SQLite::Database& database, const Payment& payment, int attempt) {
        SQLite::Statement insert(database, "INSERT INTO paid VALUES (?, ?)");
        insert.bind(1, payment.to);
        insert.bind(2, attempt);
        insert.exec();
    }

    [[nodiscard]] std::string paid() {
        return Look(file).text(
            "SELECT ifnull(group_concat(who || attempt, ' '), '') FROM (SELECT * FROM paid ORDER BY rowid)");
    }
};

TEST_CASE("complete: effect and success are one commit, and what the processor does afterwards changes nothing") {
    Bank bank;
    std::mutex mutex;
    std::vector<std::string> events;
    bank.config.observers.push_back([&](const backlite::Event& event) {
        if (event.task_id.str().empty()) return;
        const std::lock_guard lock(mutex);
        events.push_back(fmt::format("{} {}", to_string(event.kind), event.attempt));
    });
    {
        Client client{bank.config};
        client.register_queue<Payment>([&](Context& context, const Payment& payment) -> Outcome {
            SQLite::Database database = open_bank(bank.file);
            Transaction transaction(context, database);
            Bank::pay(transaction.database(), payment, context.attempt());
            transaction.complete();
            bank.journal.note("completed");
            if (payment.to == "throws") throw std::runtime_error("too late");
            if (payment.to == "retries") return Outcome::retry("too late");
            if (payment.to == "discards") return Outcome::discard("too late");
            if (payment.to == "snoozes") return Outcome::snooze(1ms);
            return Outcome::success();
        });
        client.start();
        const std::string how = GENERATE("throws", "retries", "discards", "snoozes", "returns");
        CAPTURE(how);
        const TaskId id = client.add(Payment{how}).save().front();
        REQUIRE(bank.journal.await("completed"));
        CHECK(client.status(id) == TaskStatus::succeeded);
        REQUIRE(client.stop(patience));
        CHECK(bank.paid() == how + "1");
        CHECK(bank.journal.count("completed") == 1);
        Look look(bank.file);
        CHECK(look.tasks() == 0);
        CHECK(look.completed("succeeded = 1 AND error IS NULL AND attempts = 1 AND expires_at IS NOT NULL") == 1);
        CHECK(look.number("SELECT sum(succeeded) FROM backlite_stats WHERE span = 1") == 1);
        CHECK(look.number("SELECT sum(started) FROM backlite_stats WHERE span = 1") == 1);
        CHECK(look.number("SELECT sum(failed + retried) FROM backlite_stats WHERE span = 1") == 0);
        CHECK(bank.log->count({"warning a task that had completed did not return a success"}) ==
              (how == "returns" ? 0 : 1));
        CHECK(bank.log->count({"task processed", "attempt=1"}) == 1);
    }
    CHECK(events == std::vector<std::string>{"task added 0", "task started 1", "task processed 1"});
}

// Says what it has done.
struct Count {
    int number = 0;
    using Result = int;
    static backlite::QueueConfig config() {
        return {.name = "counts", .retention = backlite::Retention{.duration = 24h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Count, number)

TEST_CASE("complete: its result is kept with the task, whatever is returned afterwards") {
    Bank bank;
    bank.config.max_payload = 100;
    Client client{bank.config};
    client.register_queue<Count>([&](Context& context, const Count& count) {
        SQLite::Database database = open_bank(bank.file);
        Transaction transaction(context, database);
        Bank::pay(database, {"counted"}, context.attempt());
        bank.journal.note(message_of<backlite::EncodeError>([&] { transaction.complete(std::string(99, 'x')); }));
        bank.journal.note(message_of<backlite::EncodeError>([&] { transaction.complete(std::string("\xff")); }));
        transaction.complete(count.number + 1);
        return 7;
    });
    client.start();
    const TaskId id = client.add(Count{41}).save().front();
    REQUIRE(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
    CHECK(client.result<Count>(id) == 42);
    CHECK(bank.paid() == "counted1");
    const std::vector<std::string> said = bank.journal.entries();
    REQUIRE(said.size() == 2);
    CHECK(said[0] ==
          "queue \"counts\": Transaction::complete: the result of 101 bytes is larger than ClientConfig::max_payload "
          "(100)");
    CHECK(said[1].find("UTF-8") != std::string::npos);
}

TEST_CASE("complete: a transaction that ends without it leaves no effect, and the task goes on as usual") {
    Bank bank;
    Client client{bank.config};
    client.register_queue<Payment>([&](Context& context, const Payment& payment) {
        SQLite::Database database = open_bank(bank.file);
        Transaction transaction(context, database);
        Bank::pay(database, payment, context.attempt());
        if (context.attempt() == 1) throw std::runtime_error("no");
        if (context.attempt() == 2) {
            transaction.rollback();
            throw std::runtime_error("no");
        }
        transaction.complete();
    });
    client.start();
    const TaskId id = client.add(Payment{"p"}).save().front();
    REQUIRE(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
    CHECK(bank.paid() == "p3");
}

TEST_CASE("complete: if the claim was taken back nothing is done, and whoever has it now does it") {
    Bank bank;
    Client client{bank.config};
    Gate taken;
    client.register_queue<Payment>([&](Context& context, const Payment& payment) {
        if (bank.journal.count("begun") == 0) {
            bank.journal.note("begun");
            taken.pass();
        }
        SQLite::Database database = open_bank(bank.file);
        Transaction transaction(context, database);
        Bank::pay(database, payment, context.attempt());
        try {
            transaction.complete();
            bank.journal.note("completed");
        } catch (const backlite::ClaimLost& lost) {
            bank.journal.note(lost.task_id() == context.task_id().str() && lost.queue() == "payments" ? "lost"
                                                                                                      : "what");
            bank.journal.note(message_of<backlite::UsageError>([&] { transaction.complete(); }));
            throw;
        }
    });
    client.start();
    const TaskId id = client.add(Payment{"p"}).save().front();
    REQUIRE(bank.journal.await("begun"));
    Look(bank.file).run("UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL, claim = claim + 1");
    REQUIRE(bank.journal.await("completed"));
    taken.open();
    REQUIRE(bank.journal.await("lost"));
    REQUIRE(bank.journal.await("Transaction::complete: it has ended already"));
    REQUIRE(client.stop(patience));
    CHECK(bank.paid() == "p1");
    CHECK(client.status(id) == TaskStatus::succeeded);
}

TEST_CASE("complete: what it may not be called on says so, and so does commit on a task's transaction") {
    Bank bank;
    Client client{bank.config};
    std::vector<std::string> said;
    client.register_queue<Payment>([&](Context& context, const Payment& payment) {
        SQLite::Database database = open_bank(bank.file);
        {
            Transaction plain(context.client(), database);
            said.push_back(message_of<backlite::UsageError>([&] { plain.complete(); }));
            plain.commit();
        }
        Transaction transaction(context, database);
        Bank::pay(database, payment, context.attempt());
        said.push_back(message_of<backlite::UsageError>([&] { transaction.commit(); }));
        transaction.complete();
        said.push_back(message_of<backlite::UsageError>([&] { transaction.complete(); }));
        said.push_back(message_of<backlite::UsageError>([&] { transaction.commit(); }));
        Transaction second(context, database);
        Bank::pay(database, payment, 2);
        said.push_back(message_of<backlite::ClaimLost>([&] { second.complete(); }));
        said.push_back(message_of<backlite::ClaimLost>([&] {
            second.rollback();
            context.save("page", 1);
        }));
        bank.journal.note("over");
    });
    client.start();
    client.add(Payment{"p"}).save();
    REQUIRE(bank.journal.await("over"));
    REQUIRE(client.stop(patience));
    CHECK(bank.paid() == "p1");
    REQUIRE(said.size() == 6);
    CHECK(said[0] == "Transaction::complete: it was begun for no task, and commit() ends it");
    CHECK(said[1] == "Transaction::commit: it was begun for a task, and complete() commits it");
    CHECK(said[2] == "Transaction::complete: it has ended already");
    CHECK(said[3] == "Transaction::commit: it has ended already");
    CHECK(said[4].find("Transaction::complete: the claim of task ") == 0);
    CHECK(said[5].find("Context::save: the claim of task ") == 0);
}

TEST_CASE("complete: a processor that goes on after it has lost no claim, and is not asked to stop") {
    Bank bank;
    bank.config.release_after = 150ms;  // leases are written every 50 ms
    std::mutex mutex;
    std::vector<std::string> events;
    bank.config.observers.push_back([&](const backlite::Event& event) {
        const std::lock_guard lock(mutex);
        events.push_back(std::string{to_string(event.kind)});
    });
    Gate gate;
    {
        Client client{bank.config};
        Client other{quick(bank.file)};
        const OpensAtEnd opens(gate);
        client.register_queue<Payment>([&](Context& context, const Payment& payment) {
            SQLite::Database database = open_bank(bank.file);
            Transaction transaction(context, database);
            Bank::pay(database, payment, context.attempt());
            transaction.complete();
            bank.journal.note("completed");
            gate.pass();
            bank.journal.note(fmt::format("stop reason {}", to_string(context.stop_reason())));
        });
        client.register_queue<Ping>([&](const Ping&) {
            bank.journal.note("pinged");
            gate.pass();
        });
        client.start();
        other.start();
        client.add(Payment{"p"}).save();
        REQUIRE(bank.journal.await("completed"));
        client.add(Ping{"beside"}).save();
        REQUIRE(bank.journal.await("pinged"));
        Look look(bank.file);
        REQUIRE(eventually([&] { return look.tasks("lease >= 3") == 1; }));
        gate.open();
        REQUIRE(bank.journal.await("stop reason none"));
        REQUIRE(client.stop(patience));
        CHECK(bank.log->count({"claim lost"}) == 0);
        CHECK(bank.log->count({"outcome dropped"}) == 0);
    }
    CHECK(std::count(events.begin(), events.end(), "claim lost") == 0);
    CHECK(std::count(events.begin(), events.end(), "task processed") == 2);
}

TEST_CASE("complete: a death after it is no crash, and one before it leaves no effect") {
    TempFolder folder;
    const std::string file = folder.file("q.db");
    TaskId id;
    {
        Client client{quick(file)};
        id = client.add(Payment{"p"}).save().front();
        Look(file).run("CREATE TABLE paid (who text, attempt integer)");
    }
    const auto work = [&](const Process::Inside& parent, bool completes) {
        Client client{quick(file, 1)};
        client.register_queue<Payment>([&](Context& context, const Payment& payment) {
            SQLite::Database database = open_bank(file);
            Transaction transaction(context, database);
            Bank::pay(database, payment, context.attempt());
            if (completes) transaction.complete();
            parent.say("inside");
            for (;;) ::pause();
        });
        client.start();
        for (;;) ::pause();
    };
    {
        Process worker([&](const Process::Inside& parent) { work(parent, false); });
        REQUIRE(worker.await("inside"));
        worker.kill();
    }
    {
        Look look(file);
        CHECK(look.number("SELECT count(*) FROM paid") == 0);
        CHECK(look.tasks() == 1);
    }
    {
        Process worker([&](const Process::Inside& parent) { work(parent, true); });
        REQUIRE(worker.await("inside"));
        worker.kill();
    }
    Client client{quick(file)};
    Journal journal;
    client.register_queue<Payment>([&](const Payment&) { journal.note("again"); });
    client.register_queue<Ping>([&](const Ping&) { journal.note("pinged"); });
    client.start();
    client.add(Ping{}).save();
    REQUIRE(journal.await("pinged"));
    CHECK(journal.entries() == std::vector<std::string>{"pinged"});
    CHECK(client.status(id) == TaskStatus::succeeded);
    Look look(file);
    CHECK(look.number("SELECT count(*) FROM paid") == 1);
    CHECK(look.number("SELECT sum(attempts) FROM backlite_tasks_completed") == 1);
}

TEST_CASE("complete: tasks that it adds are there with it, and a task that is not kept is gone") {
    Bank bank;
    Client client{bank.config};
    client.register_queue<Payment>([&](const Payment& payment) { bank.journal.note("pays " + payment.to); });
    client.register_queue<Ping>([&](Context& context, const Ping& ping) {
        SQLite::Database database = open_bank(bank.file);
        Transaction transaction(context, database);
        context.client().add(Payment{ping.name}).tx(transaction).save();
        transaction.complete();
    });
    client.start();
    const TaskId id = client.add(Ping{"child"}).save().front();
    REQUIRE(bank.journal.await("pays child"));
    CHECK(client.status(id) == TaskStatus::not_found);
}

TEST_CASE("complete: counts although the task was cancelled, since it has succeeded") {
    Bank bank;
    Client client{bank.config};
    client.register_queue<Payment>([&](Context& context, const Payment& payment) {
        bank.journal.note("begun");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        SQLite::Database database = open_bank(bank.file);
        Transaction transaction(context, database);
        Bank::pay(database, payment, context.attempt());
        transaction.complete();
    });
    client.start();
    const TaskId id = client.add(Payment{"p"}).save().front();
    REQUIRE(bank.journal.await("begun"));
    CHECK(client.cancel(id) == backlite::CancelResult::requested);
    REQUIRE(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
    CHECK(bank.paid() == "p1");
}

TEST_CASE("complete: a TestClient runs it, and perform commits it without a file to end the task in") {
    backlite::testing::TestClient client;
    const std::string file = client.client().config().database;
    {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        database.exec("CREATE TABLE paid (who text, attempt integer)");
    }
    client.register_queue<Payment>([&](Context& context, const Payment& payment) {
        SQLite::Database database(file, SQLite::OPEN_READWRITE);
        Transaction transaction(context, database);
        Bank::pay(database, payment, context.attempt());
        transaction.complete();
        throw std::runtime_error("too late");
    });
    client.add(Payment{"a"}).save();
    const backlite::testing::Drained drained = client.drain();
    CHECK(drained.size() == 1);
    CHECK(drained.count(backlite::testing::Ending::succeeded) == 1);
    CHECK(client.perform(Payment{"b"}, {.attempt = 2}).ending == backlite::testing::Ending::succeeded);
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    CHECK(database.execAndGet("SELECT group_concat(who || attempt, ' ') FROM paid").getString() == "a1 b2");
    CHECK(database.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() == 0);
}

}  // namespace
