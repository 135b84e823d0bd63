// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/config.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/queue_rules.hpp>
#include <backlite/store/sqlite/repository.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::TestDatabase;
using detail::Ms;
using store::never;
using store::QueueHead;

constexpr Ms now{10'000};

struct Hall : TestDatabase {
    /// Claimed by `owner`, or by a program that does not say who it is.
    void claim(int rows, std::string_view queue, std::optional<int> owner) {
        execute(fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
                            "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at, owner) "
                            "SELECT '{}-{}-' || i, 1, '{}', x'7b7d', 5, {} FROM n",
                            rows, queue, owner.value_or(0), queue, owner ? fmt::to_string(*owner) : "NULL")
                    .c_str());
    }

    [[nodiscard]] std::int64_t slots(const Limits& limits, std::int64_t owner = 1) {
        QueueHead head{.name = "mail", .limits = limits};
        std::int64_t found = 0;
        write([&](store::sqlite::Repository& all) { found = all.rules.room(head, owner, now).slots; });
        CHECK(head.full == (found <= 0));
        return found;
    }

    /// The steps of SQLite's machine that `work` takes, once what it needs is prepared.
    template <class Work>
    int steps(Work&& work) {
        write(work);
        static int count = 0;
        count = 0;
        sqlite3_progress_handler(
            repository.db, 1, [](void*) { return ++count, 0; }, nullptr);
        write(work);
        sqlite3_progress_handler(repository.db, 0, nullptr, nullptr);
        return count;
    }
};

TEST_CASE_METHOD(Hall, "QueueRules: what is claimed counts, whoever claimed it, and what waits does not") {
    CHECK(slots({.running = 4}) == 4);
    claim(1, "mail", 1);
    claim(1, "mail", 9);
    claim(5, "print", 1);
    add({.id = "waits", .queue = "mail"});
    CHECK(slots({.running = 4}) == 2);
    claim(1, "mail", std::nullopt);  // a Go program, or plain SQL
    claim(5, "print", std::nullopt);
    CHECK(slots({.running = 4}) == 1);
    CHECK(slots({.running = 3}) == 0);
    CHECK(slots({.running = 1}) == 0);
    execute("DELETE FROM backlite_tasks WHERE queue = 'mail' AND owner = 9");  // by whomever
    CHECK(slots({.running = 3}) == 1);
}

TEST_CASE_METHOD(Hall, "QueueRules: of the claims of one client only its own count") {
    claim(2, "mail", 1);
    claim(3, "mail", 2);
    CHECK(slots({.running_per_client = 4}) == 2);
    CHECK(slots({.running_per_client = 4}, 2) == 1);
    CHECK(slots({.running_per_client = 4}, 3) == 4);
    CHECK(slots({.running = 6, .running_per_client = 4}) == 1);
    CHECK(slots({.running = 99, .running_per_client = 2}) == 0);
}

TEST_CASE_METHOD(Hall, "QueueRules: owners of any number are counted") {
    execute(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at, owner) VALUES "
        "('a', 1, 'mail', x'7b7d', 5, 9223372036854775807), ('b', 1, 'mail', x'7b7d', 5, -9223372036854775808), "
        "('c', 1, 'mail', x'7b7d', 5, 0)");
    CHECK(slots({.running = 5}) == 2);
}

TEST_CASE_METHOD(Hall, "QueueRules: counting costs the same beside a hundred and beside ten thousand others") {
    const auto cost = [&] {
        return steps([](store::sqlite::Repository& all) {
            QueueHead head{.name = "mail", .limits = {.running = 5, .running_per_client = 4}};
            static_cast<void>(all.rules.room(head, 1, now));
        });
    };
    claim(2, "mail", 1);
    claim(50, "print", 1);
    claim(50, "print", std::nullopt);
    const int few = cost();
    execute("DELETE FROM backlite_tasks WHERE queue = 'print'");
    claim(5'000, "print", 1);
    claim(5'000, "print", std::nullopt);
    const int many = cost();
    INFO("VM steps: " << few << " and " << many);
    CHECK(many == few);
    execute("DELETE FROM backlite_tasks WHERE queue = 'mail'");
    claim(9'000, "mail", 1);
    CHECK(cost() <= few + 60);  // it stops at the limit
}

TEST_CASE_METHOD(Hall, "QueueRules: what a damaged row holds counts as no limit") {
    execute("INSERT INTO backlite_queues (queue, running, rate_count, rate_period_us) VALUES ('mail', -7, 5, -1)");
    CHECK(repository.rules.limits("mail") == Limits{});
    execute("UPDATE backlite_queues SET running = 9223372036854775807, rate_period_us = NULL");
    CHECK(repository.rules.limits("mail") == Limits{.running = 2'147'483'647});
    execute("UPDATE backlite_queues SET rate_period_us = 1, rate_burst = 9223372036854775807");
    const auto limits = repository.rules.limits("mail");
    REQUIRE(limits);
    CHECK(limits->rate == Rate{5, 1ms, 2'147'483'647});
    execute("UPDATE backlite_queues SET rate_period_us = 9223372036854775807, rate_next_us = 9223372036854775807");
    QueueHead head{.name = "mail", .limits = *repository.rules.limits("mail")};
    write([&](store::sqlite::Repository& all) { CHECK(all.rules.room(head, 1, now).starts >= 0); });
}

TEST_CASE_METHOD(Hall, "QueueRules: limits are stored and go again, and a pause stays as it is") {
    const Limits all{.running = 1,
                     .running_per_partition = 2,
                     .running_per_client = 3,
                     .rate = {.count = 5, .period = 6s, .burst = 7},
                     .rate_per_partition = {.count = 8, .period = 9ms, .burst = 10}};
    write([&](store::sqlite::Repository& each) {
        each.rules.set_paused("mail", now);
        each.rules.set_limits("mail", all);
        each.rules.set_limits("print", Limits{.in_order = true});
    });
    CHECK(repository.rules.limits("mail") == all);
    CHECK(repository.rules.limits("print") == Limits{.in_order = true});
    std::vector<QueueHead> heads{{.name = "mail", .registered = {.running = 99}}, {.name = "other"}, {.name = "print"}};
    for (QueueHead& head : heads) head.full = true;
    repository.rules.read(heads, 1, now);
    CHECK(heads[0].limits == all);
    CHECK(heads[0].paused);
    CHECK_FALSE(heads[0].full);
    CHECK(heads[1].limits == Limits{});
    CHECK(heads[2].limits.in_order);
    write([&](store::sqlite::Repository& each) { each.rules.set_limits("mail", std::nullopt); });
    repository.rules.read(heads, 1, now);
    CHECK(heads[0].limits == Limits{.running = 99});
    CHECK(heads[0].paused);
}

TEST_CASE_METHOD(Hall, "QueueRules: a closed queue opens at its time, or where the clock was set back") {
    write([](store::sqlite::Repository& all) { all.rules.close("mail", now, 5s); });
    std::vector<QueueHead> heads{{.name = "mail", .due = Ms{1}}};
    repository.rules.read(heads, 1, now);
    CHECK(heads[0].opens == Ms{15'000});
    CHECK(heads[0].starts() == Ms{15'000});
    repository.rules.read(heads, 1, now + 5s);
    CHECK(heads[0].starts() == Ms{1});
    repository.rules.read(heads, 1, now - 1ms);
    CHECK(heads[0].starts() == Ms{1});
}

TEST_CASE_METHOD(Hall, "QueueRules: a look finds whether a queue is full, if something waits in it") {
    claim(2, "mail", 7);
    std::vector<QueueHead> heads{{.name = "mail", .due = Ms{1}, .registered = {.running = 2}},
                                 {.name = "print", .due = never, .registered = {.running = 1}}};
    claim(1, "print", 7);
    repository.rules.read(heads, 1, now);
    CHECK(heads[0].full);
    CHECK(heads[0].starts() == never);
    CHECK_FALSE(heads[1].full);
}

}  // namespace
