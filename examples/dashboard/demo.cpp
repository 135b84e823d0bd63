// SPDX-License-Identifier: MIT
#include "demo.hpp"

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/base/times.hpp>
#include <backlite/core/id_generator.hpp>
#include <backlite/schedule.hpp>

namespace demo {

using namespace std::chrono_literals;

constexpr backlite::Retention keep{.duration = 72h, .data = backlite::RetainData{}};

/// Fast, many.
struct MakeThumbnail {
    std::string picture;
    int width = 0;
    static backlite::QueueConfig config() { return {.name = "make_thumbnail", .retention = keep}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(MakeThumbnail, picture, width)

/// Slow.
struct WriteReport {
    std::string customer;
    std::int64_t number = 0;
    static backlite::QueueConfig config() { return {.name = "write_report", .timeout = 60s, .retention = keep}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(WriteReport, customer, number)

/// Fails now and then, and is tried again.
struct CollectPayment {
    std::string invoice;
    double amount = 0;
    static backlite::QueueConfig config() {
        return {.name = "collect_payment",
                .max_attempts = 3,
                .backoff = backlite::Backoff::exponential({.initial = 15s, .factor = 4}),
                .retention = keep};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(CollectPayment, invoice, amount)

/// Waits for its time.
struct SendReminder {
    std::string to;
    static backlite::QueueConfig config() { return {.name = "send_reminder", .retention = keep}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendReminder, to)

namespace {

std::mt19937_64& dice() {
    thread_local std::mt19937_64 engine{std::random_device{}()};
    return engine;
}

int roll(int least, int most) { return std::uniform_int_distribution<int>{least, most}(dice()); }

/// A sleep that a stop ends.
void rest(const std::stop_token& stop, std::chrono::milliseconds time) {
    std::mutex mutex;
    std::condition_variable_any over;
    std::unique_lock lock(mutex);
    over.wait_for(lock, stop, time, [] { return false; });
}

const char* excuse() {
    static constexpr std::array excuses{"card declined: insufficient funds",
                                        "gateway timeout after 10 s: https://pay.example.org/v2/charges",
                                        "HTTP 503 from the bank: {\"error\": \"maintenance\", \"retry_after\": 900}",
                                        "invoice <unknown> & no customer"};
    return excuses.at(static_cast<std::size_t>(roll(0, static_cast<int>(excuses.size()) - 1)));
}

/// Rows of the last three days, as a client that ran then would have left them.
void invent_history(const std::string& file) {
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 5'000);
    if (db.execAndGet("SELECT EXISTS (SELECT 1 FROM backlite_tasks_completed)").getInt() != 0) return;
    const std::int64_t now = backlite::detail::to_ms(std::chrono::system_clock::now()).count();
    constexpr std::int64_t minute = 60'000;
    backlite::core::IdGenerator ids;
    SQLite::Transaction transaction(db);
    SQLite::Statement insert(
        db,
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
        "last_duration_micro, succeeded, task, expires_at, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    for (std::int64_t at = now - 72 * 60 * minute; at < now; at += roll(4'000, 16'000)) {
        const int kind = roll(0, 9);
        const bool trouble =
            at > now - 7 * 60 * minute && at < now - 6 * 60 * minute;  // an hour in which the bank was away
        const bool failed = kind >= 7 && kind <= 8 && roll(0, 99) < (trouble ? 80 : 12);
        const std::string queue = kind < 6   ? "make_thumbnail"
                                  : kind < 7 ? "write_report"
                                  : kind < 9 ? "collect_payment"
                                             : "send_reminder";
        const int us = kind < 6 ? roll(20'000, 180'000) : kind < 7 ? roll(2'000'000, 9'000'000) : roll(80'000, 600'000);
        const std::string task =
            kind < 6   ? fmt::format(R"({{"picture":"img_{}.jpg","width":320}})", roll(1000, 9999))
            : kind < 7 ? fmt::format(R"({{"customer":"C-{}","number":{}}})", roll(10, 99), roll(1, 99'999))
            : kind < 9 ? fmt::format(R"({{"invoice":"R-{}","amount":{}}})", roll(1000, 9999), roll(5, 900))
                       : R"({"to":"ada@example.org"})";
        insert.bind(1, ids.next(backlite::detail::Ms{at}).str());
        insert.bind(2, at - roll(5, 4'000));
        insert.bind(3, queue);
        insert.bind(4, at);
        insert.bind(5, failed ? 3 : 1);
        insert.bind(6, us);
        insert.bind(7, failed ? 0 : 1);
        insert.bind(8, task.data(), static_cast<int>(task.size()));
        insert.bind(9, now + 72 * 60 * minute);
        if (failed) insert.bind(10, excuse());
        insert.exec();
        insert.reset();
        insert.clearBindings();
    }
    db.exec(
        "INSERT INTO backlite_stats (span, start, queue, added, started, succeeded, failed, retried, wait_ms, run_us) "
        "SELECT span, last_executed_at / 60000 / span * span AS start, queue, count(*), sum(attempts), sum(succeeded), "
        "sum(1 - succeeded), sum(attempts - 1), sum(last_executed_at - created_at), sum(attempts * "
        "last_duration_micro) "
        "FROM backlite_tasks_completed, (SELECT 1 AS span UNION SELECT 30) GROUP BY span, start, queue");
    transaction.commit();
}

}  // namespace

Demo::Demo(const std::string& file)
    : client_({.database = file, .num_workers = 4, .durability = backlite::Durability::process}) {
    invent_history(file);
    client_.register_queue<MakeThumbnail>([](backlite::Context& context, const MakeThumbnail&) {
        rest(context.stop_token(), std::chrono::milliseconds{roll(20, 180)});
    });
    client_.register_queue<WriteReport>([](backlite::Context& context, const WriteReport&) {
        rest(context.stop_token(), std::chrono::seconds{roll(4, 15)});
        if (context.stop_token().stop_requested()) throw std::runtime_error("stopped before the report was written");
    });
    client_.register_queue<CollectPayment>([](backlite::Context& context, const CollectPayment& task) {
        rest(context.stop_token(), std::chrono::milliseconds{roll(80, 600)});
        if (roll(0, 2) == 0) throw std::runtime_error(fmt::format("{} (invoice {})", excuse(), task.invoice));
    });
    client_.register_queue<SendReminder>([](const SendReminder&) {});
    client_.schedule({.name = "nightly_report", .when = backlite::Cron{"0 3 * * *"}}, WriteReport{});
    client_.start();
    producer_ = std::jthread([this](const std::stop_token& stop) { produce(stop); });
}

void Demo::produce(const std::stop_token& stop) {
    for (int i = 1; i <= 40; ++i) {
        client_.add(SendReminder{fmt::format("customer{}@example.org", i)})
            .wait(std::chrono::minutes{roll(1, 180)})
            .save();
    }
    for (int round = 0; !stop.stop_requested(); ++round) {
        for (int i = roll(1, 3); i > 0; --i)
            client_.add(MakeThumbnail{fmt::format("img_{}.jpg", roll(1000, 9999)), 320}).save();
        if (roll(0, 2) == 0)
            client_.add(CollectPayment{fmt::format("R-{}", roll(1000, 9999)), roll(500, 90'000) / 100.0}).save();
        // Of these more come in than the workers can do: the queue falls behind, and the others with it.
        for (int i = roll(1, 2); i > 0; --i)
            client_.add(WriteReport{fmt::format("C-{}", roll(10, 99)), 9'007'199'254'740'993}).save();
        if (round % 20 == 0)
            client_.add(SendReminder{"ada@example.org"}).wait(std::chrono::seconds{roll(60, 7'200)}).save();
        rest(stop, std::chrono::milliseconds{roll(2'000, 4'000)});
    }
}

}  // namespace demo
