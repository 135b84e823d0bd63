// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/safe_logger.hpp>
#include <backlite/core/agenda.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/set_apart.hpp>
#include <backlite/engine/worker_pool.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/plan.hpp>

#include <backlite_catch.hpp>
#include <named_queue.hpp>
#include <recording_logger.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::RecordingLogger;
using core::Agenda;
using core::QueueRegistry;
using core::SetApart;
using detail::Ms;
using store::EndedAttempt;

/// What two queues, `mail` and `print`, have set apart.
struct Shop {
    void refuse(const std::string& id, std::size_t queue = 0) {
        EndedAttempt finished;
        finished.resolved.id = TaskId::from_text(id);
        finished.queue = queue;
        refuse(std::move(finished));
    }
    void refuse(EndedAttempt finished) { apart.keep(std::move(finished), error, now); }
    void refuse_claim(const std::string& id) { apart.keep(store::RefusedClaim{id, 0, error}, now); }

    /// How many outcomes may be tried again.
    std::size_t take_up() {
        taken.clear();
        claimable = apart.take_up(now, taken, due);
        return taken.size();
    }

    SetApart::Steady::time_point now{1h};
    const StorageError error{"no such luck", SQLITE_CONSTRAINT};
    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();
    const detail::SafeLogger tell{logger};
    const QueueRegistry queues = backlite_test::two_queues();
    Agenda due{queues};
    SetApart apart{queues, tell};
    std::vector<EndedAttempt> taken{};
    bool claimable = false;
};

TEST_CASE("SetApart: an outcome is tried again after a second, then after two") {
    Shop shop;
    shop.refuse("a");
    CHECK(shop.apart.next() == shop.now + 1s);
    CHECK(shop.take_up() == 0);
    shop.now += 1s;
    REQUIRE(shop.take_up() == 1);
    CHECK(shop.apart.outcomes().empty());
    shop.refuse(std::move(shop.taken[0]));
    CHECK(shop.apart.next() == shop.now + 2s);
}

TEST_CASE("SetApart: an outcome is told once, with its queue and the error") {
    Shop shop;
    shop.refuse("a", 1);
    shop.now += 1s;
    REQUIRE(shop.take_up() == 1);
    shop.refuse(std::move(shop.taken[0]));
    CHECK(shop.logger->lines() ==
          std::vector<std::string>{
              "error outcome refused: it is set apart, and tried again id=a queue=print error=\"no such luck\""});
}

TEST_CASE("SetApart: a stop ends the wait of all outcomes") {
    Shop shop;
    shop.refuse("a");
    shop.refuse("b");
    shop.apart.hurry();
    CHECK(shop.take_up() == 2);
}

TEST_CASE("SetApart: a task that may not be claimed is left for a second, then for two, and told once") {
    Shop shop;
    shop.refuse_claim("b");
    shop.refuse_claim("a");
    CHECK(shop.apart.left() == std::vector<std::string>{"a", "b"});
    shop.now += 1s;
    (void)shop.take_up();
    CHECK(shop.claimable);
    CHECK(shop.apart.left().empty());
    (void)shop.take_up();
    CHECK_FALSE(shop.claimable);
    shop.refuse_claim("b");
    CHECK(shop.apart.left() == std::vector<std::string>{"b"});
    CHECK(shop.apart.next() == shop.now + 2s);
    CHECK(shop.logger->count("claim refused") == 2);
}

TEST_CASE("SetApart: what was not refused again for two minutes is forgotten") {
    Shop shop;
    shop.refuse_claim("a");
    shop.now += 3min;
    (void)shop.take_up();
    (void)shop.take_up();
    shop.refuse_claim("a");
    CHECK(shop.apart.next() == shop.now + 1s);
    CHECK(shop.logger->count("claim refused") == 2);
}

TEST_CASE("SetApart: a queue of which a hundred rows are refused is left alone until some can be tried again") {
    Shop shop;
    shop.due.note(0, Ms{5});
    shop.due.note(1, Ms{9});
    for (int i = 0; i < 60; ++i) shop.refuse(std::to_string(i));
    for (int i = 0; i < 39; ++i) shop.refuse_claim(std::to_string(i));
    (void)shop.take_up();
    CHECK(shop.due.earliest()->due == Ms{5});
    shop.refuse_claim("one more");
    (void)shop.take_up();
    CHECK(shop.due.earliest()->due == Ms{9});
    shop.now += 1s;
    CHECK(shop.take_up() == 60);
    CHECK(shop.due.earliest()->due == Ms{5});
}

TEST_CASE("SetApart: a step that is refused waits too, and is told once an hour") {
    Shop shop;
    shop.apart.keep(SetApart::Step::statistics, shop.error, shop.now);
    CHECK(shop.apart.waits(SetApart::Step::statistics, shop.now));
    CHECK_FALSE(shop.apart.waits(SetApart::Step::lapse, shop.now));
    shop.now += 1s;
    CHECK_FALSE(shop.apart.waits(SetApart::Step::statistics, shop.now));
    shop.apart.keep(SetApart::Step::statistics, shop.error, shop.now);
    CHECK(shop.logger->count("statistics are refused") == 1);
    shop.now += 1h;
    shop.apart.keep(SetApart::Step::statistics, shop.error, shop.now);
    CHECK(shop.logger->count("statistics are refused") == 2);
}

TEST_CASE("SetApart: a queue that nobody has registered is told once, and again after an hour") {
    Shop shop;
    for (const auto wait : {0min, 59min, 1min}) {
        shop.now += wait;
        shop.apart.tell_stray("lost", shop.now);
    }
    CHECK(shop.logger->lines() ==
          std::vector<std::string>(2, "warning tasks wait in a queue that no client has registered queue=lost"));
}

TEST_CASE("SetApart: a refused lease is told once an hour for each task") {
    Shop shop;
    for (const char* id : {"a", "b", "a", "b"}) shop.apart.tell_lease(TaskId::from_text(id), shop.error, shop.now);
    CHECK(shop.logger->count("lease refused") == 2);
}

}  // namespace
