// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/config.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/scheduler.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/plan.hpp>

#include <backlite_catch.hpp>
#include <named_queue.hpp>
#include <recording_logger.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::RecordingLogger;
using core::Moment;
using core::PoolLoad;
using core::Scheduler;
using detail::Ms;
using detail::RowChange;
using store::CyclePlan;
using store::CycleResult;

/// A client with two queues, `mail` and `print`, two workers and a file that the test plays.
struct Office {
    Office() { scheduler.begin(now); }

    void advance(Duration by) {
        now.steady += by;
        now.real += by;
        now.wall += by;
    }

    /// A look at the file, whose first task of `mail` is due then.
    void look(std::optional<Ms> due, std::optional<detail::Minute> latest = std::nullopt,
              std::optional<Ms> ownerless = std::nullopt) {
        scheduler.agenda().merge();
        store::FileState state{.heads = scheduler.agenda().heads(), .ownerless = ownerless, .latest = latest};
        if (due) state.heads[0].due = *due;
        state.known = detail::minute_of(wall());
        scheduler.found(std::move(state), now);
    }

    [[nodiscard]] CyclePlan plan(bool stopping = false) {
        return scheduler.plan({.load = load, .stopping = stopping, .owner = 7, .claims = claims, .expiry = expiry},
                              now);
    }

    /// The first round is over: nothing has expired, and no wrong clock has left anything.
    void first_round() {
        const CyclePlan first = plan();
        commit(first, {.mend_next = {store::never, store::never}});
    }

    /// The transaction of a plan is committed; whether the file is to be read anew.
    bool commit(const CyclePlan& plan, CycleResult result = {}) {
        result.heads = scheduler.agenda().heads();
        for (store::QueueHead& head : result.heads) {
            if (head.due <= wall()) head.due = store::never;
        }
        scheduler.claimed(plan, result);
        const bool stale = scheduler.written(plan, result, now);
        scheduler.refused(result, now);
        return stale;
    }

    /// An attempt at a task of `mail` has ended.
    void end(const std::string& id, RowChange change, Duration wait = {}) {
        scheduler.collect([&](std::vector<store::EndedAttempt>& outcomes) {
            store::EndedAttempt ended;
            ended.resolved.id = TaskId::from_text(id);
            ended.resolved.claim = 1;
            ended.resolved.resolution = change;
            ended.resolved.executed_at = wall();
            if (wait > Duration::zero()) {
                ended.resolved.wait = wait;
                ended.resolved.wait_until = wall() + wait;
            }
            outcomes.push_back(std::move(ended));
        });
    }

    [[nodiscard]] Ms wall() const { return now.wall_ms(); }
    [[nodiscard]] Ms due_of_mail() const { return scheduler.agenda().heads()[0].due; }

    /// When it wakes up by itself.
    [[nodiscard]] Moment::Steady::time_point wake_time() {
        interest = core::Agenda::nothing;
        return scheduler.wake_time(load, others, (Moment::Steady::time_point::max)(), now, interest);
    }

    Moment now{Moment::Steady::time_point{1h}, Moment::Steady::time_point{5h}, TimePoint{std::chrono::hours{500'000}}};
    PoolLoad load{.idle = 2};
    std::vector<detail::ClaimKey> claims{};
    std::optional<Ms> expiry{};
    bool others = false;
    Ms interest{};
    const StorageError error{"no such luck", SQLITE_CONSTRAINT};
    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();
    const detail::SafeLogger tell{logger};
    const core::QueueRegistry queues = backlite_test::two_queues();
    const ClientConfig config{.num_workers = 2, .release_after = 9s, .cleanup_interval = 1h, .max_payload = 1000};
    Scheduler scheduler{config, queues, tell};
};

TEST_CASE("Scheduler: what is due is claimed for the workers that are free, for this owner") {
    Office office;
    office.look(office.wall());
    office.load = {.idle = 1, .running = 1};
    const CyclePlan plan = office.plan();
    CHECK(plan.claim.limit == 1);
    CHECK(plan.claim.beside.free_workers == 1);
    CHECK(plan.claim.owner == 7);
    CHECK(plan.claim.max_payload == 1000);
}

TEST_CASE("Scheduler: nothing is claimed before it is due, without a worker, or at a stop") {
    Office office;
    office.look(office.wall() + 1ms);
    CHECK(office.plan().claim.limit == 0);
    office.advance(1ms);
    CHECK(office.plan(true).claim.limit == 0);
    office.load = {.idle = 0, .running = 2};
    CHECK(office.plan().claim.limit == 0);
    office.load = {.idle = 2};
    CHECK(office.plan().claim.limit == 2);
}

TEST_CASE("Scheduler: it wakes up when the next task is due, and adds that are due before that wake it") {
    Office office;
    office.look(office.wall() + 5s);
    CHECK(office.commit(office.plan()) == false);
    office.advance(2s);
    CHECK(office.wake_time() == office.now.steady + 3s);
    CHECK(office.interest == office.wall() + 3s);
}

TEST_CASE("Scheduler: while all workers are busy no due task wakes it") {
    Office office;
    office.load = {.running = 2};
    office.first_round();
    office.look(office.wall());
    CHECK(office.wake_time() > office.now.steady);
    CHECK(office.interest == core::Agenda::nothing);
}

TEST_CASE("Scheduler: a retry, a snooze and a task that was not started are due again when they say") {
    Office office;
    office.look(std::nullopt);
    const auto due_after = [&](RowChange change, Duration wait) {
        office.end("a", change, wait);
        (void)office.commit(office.plan());
        return office.due_of_mail();
    };
    CHECK(due_after(RowChange::complete, 0s) == store::never);
    CHECK(due_after(RowChange::retry, 3s) == office.wall() + 3s);
    CHECK(due_after(RowChange::snooze, 2s) == office.wall() + 2s);
    office.scheduler.give_back({.id = TaskId::from_text("b"), .claim = 1, .due = office.wall() - 1s});
    (void)office.commit(office.plan());
    CHECK(office.due_of_mail() == office.wall() - 1s);
}

TEST_CASE("Scheduler: outcomes stay until their transaction is committed") {
    Office office;
    office.end("a", RowChange::complete);
    (void)office.plan();  // its transaction fails
    CHECK(office.scheduler.outcomes().size() == 1);
    (void)office.commit(office.plan());
    CHECK(office.scheduler.all_written());
}

TEST_CASE("Scheduler: an outcome that is refused is kept, has its lease, and is tried again after a second") {
    Office office;
    office.end("a", RowChange::complete);
    office.end("b", RowChange::complete);
    CycleResult result;
    result.refused_outcomes.push_back({0, office.error});
    office.scheduler.apart().make_room(1);
    const CyclePlan plan = office.plan();
    (void)office.commit(plan, std::move(result));
    CHECK(office.scheduler.outcomes().empty());
    CHECK_FALSE(office.scheduler.all_written());
    CHECK(office.wake_time() == office.now.steady + 1s);
    CHECK_FALSE(office.scheduler.take_up_refused(office.now));
    office.advance(3s);  // a third of release_after
    CHECK(office.plan().leases == std::vector<detail::ClaimKey>{{TaskId::from_text("a"), 1}});
    (void)office.scheduler.take_up_refused(office.now);
    REQUIRE(office.scheduler.outcomes().size() == 1);
    CHECK(office.scheduler.outcomes()[0].resolved.id.str() == "a");
    CHECK(office.scheduler.refused_before({}));
}

TEST_CASE("Scheduler: an outcome whose claim was taken back is told, with its queue") {
    Office office;
    office.end("a", RowChange::complete);
    CycleResult result;
    result.lost_outcomes.push_back(0);
    (void)office.commit(office.plan(), std::move(result));
    CHECK(office.logger->count("warning outcome dropped: the claim was taken back id=a queue=mail") == 1);
}

TEST_CASE("Scheduler: outcomes are no later than the clock says when they are written") {
    Office office;
    office.end("a", RowChange::retry, 3s);
    office.now.wall -= 1h;  // set back
    office.scheduler.hold_to_clock(office.now.wall);
    const detail::AttemptResult& resolved = office.scheduler.outcomes()[0].resolved;
    CHECK(resolved.executed_at == office.wall());
    CHECK(resolved.wait_until == office.wall() + 3s);
}

TEST_CASE("Scheduler: claims in memory show a sign of life after each third of release_after") {
    Office office;
    office.load = {.idle = 1, .running = 1};
    office.first_round();
    CHECK_FALSE(office.scheduler.lease_due(office.now));
    CHECK(office.wake_time() == office.now.steady + 3s);
    office.advance(3s);
    REQUIRE(office.scheduler.lease_due(office.now));
    office.claims = {{TaskId::from_text("a"), 1}};
    const CyclePlan plan = office.plan();
    CHECK(plan.leases == office.claims);
    CHECK(office.scheduler.lease_due(office.now));  // until it is written
    (void)office.commit(plan);
    CHECK_FALSE(office.scheduler.lease_due(office.now));
    CHECK(office.wake_time() == office.now.steady + 3s);
}

TEST_CASE("Scheduler: expired tasks are purged at the start and after each interval, in as many rounds as it takes") {
    Office office;
    office.look(std::nullopt);
    office.expiry = office.wall();
    REQUIRE(office.scheduler.purge_due(office.now));
    CyclePlan plan = office.plan();
    REQUIRE(plan.purge);
    (void)office.commit(plan, {.purged = 500, .purge_more = true});
    CHECK(office.scheduler.purge_due(office.now));
    plan = office.plan();
    (void)office.commit(plan, {.purged = 3});
    CHECK_FALSE(office.scheduler.purge_due(office.now));
    CHECK(office.wake_time() == office.now.steady + 1h);
    CHECK(office.logger->count("info purged expired tasks tasks=3") == 1);
    office.advance(1h);
    CHECK(office.scheduler.purge_due(office.now));
    office.expiry = office.wall() + 1ms;
    CHECK_FALSE(office.plan().purge);
    CHECK_FALSE(office.scheduler.purge_due(office.now));
}

TEST_CASE("Scheduler: by a clock that is ahead of the file nothing is purged") {
    Office office;
    office.scheduler.agenda().merge();
    store::FileState state{.heads = office.scheduler.agenda().heads()};
    state.known = detail::minute_of(office.wall() - 24h);
    office.scheduler.found(std::move(state), office.now);
    office.expiry = office.wall() - 2h;
    CHECK_FALSE(office.plan().purge);
    office.first_round();
    CHECK(office.wake_time() == office.now.steady + 1h);  // then the clock has kept pace for as long
    office.advance(1h);
    CHECK(office.plan().purge);
}

TEST_CASE("Scheduler: a clock that was set back has everything looked through, round after round") {
    Office office;
    office.look(std::nullopt);
    office.first_round();
    REQUIRE(office.wake_time() > office.now.steady);
    CHECK_FALSE(office.scheduler.clock_was_set(-10s, office.now));
    CHECK(office.wake_time() == office.now.steady);
    CyclePlan plan = office.plan();
    CHECK(plan.jump_back == 10s);
    REQUIRE(plan.mend.size() == 2);
    CycleResult part;
    part.mended = 1;
    part.mend_next = {store::never, office.wall()};
    CHECK(office.commit(plan, std::move(part)));
    plan = office.plan();
    CHECK(plan.mend == std::vector<Ms>{store::never, office.wall()});
    CHECK(plan.jump_back == 10s);
    CycleResult rest;
    rest.mend_next = {store::never, store::never};
    CHECK_FALSE(office.commit(plan, std::move(rest)));
    CHECK(office.plan().mend.empty());
    CHECK(office.wake_time() > office.now.steady);
}

TEST_CASE("Scheduler: a clock that was set ahead is compared with the file") {
    Office office;
    office.look(std::nullopt);
    CHECK_FALSE(office.scheduler.doubts_clock());
    CHECK(office.scheduler.clock_was_set(1h, office.now));
    CHECK(office.scheduler.doubts_clock());
}

TEST_CASE("Scheduler: claims without an owner are given back after release_after, and told once all are") {
    Office office;
    office.first_round();
    office.look(std::nullopt, std::nullopt, office.wall());
    CHECK_FALSE(office.plan().lapse);
    CHECK(office.wake_time() == office.now.steady + 9s);
    office.advance(9s);
    CyclePlan plan = office.plan();
    REQUIRE(plan.lapse);
    CHECK(plan.lapse_until == office.wall() - 9s);
    CHECK(office.commit(plan, {.lapsed = 2, .lapse_left = true}));
    CHECK(office.logger->count("rescued") == 0);
    plan = office.plan();
    CHECK(office.commit(plan, {.lapsed = 1}));
    CHECK(office.logger->count("warning rescued claims of an unknown owner claims=3") == 1);
}

TEST_CASE("Scheduler: a step that is refused is left out for a while, and wakes nobody until then") {
    Office office;
    office.first_round();
    office.look(std::nullopt, std::nullopt, office.wall());
    office.advance(9s);
    CycleResult refused;
    refused.refused_lapse.emplace(office.error);
    (void)office.commit(office.plan(), std::move(refused));
    CHECK_FALSE(office.plan().lapse);
    CHECK(office.wake_time() == office.now.steady + 1s);
    office.advance(1s);
    CHECK(office.plan().lapse);
}

TEST_CASE("Scheduler: a search for wrong times that is refused goes on where it was, after a while") {
    Office office;
    office.first_round();
    (void)office.scheduler.clock_was_set(-10s, office.now);
    const CyclePlan plan = office.plan();
    REQUIRE(plan.mend.size() == 2);
    CycleResult refused;
    refused.refused_jump.emplace(office.error);
    (void)office.commit(plan, std::move(refused));
    CHECK(office.plan().mend.empty());
    office.advance(1s);
    CHECK(office.plan().mend == plan.mend);
    CHECK(office.plan().jump_back == 10s);
}

TEST_CASE("Scheduler: statistics that are refused are left out for a while") {
    Office office;
    CHECK(office.plan().count);
    CycleResult refused;
    refused.refused_statistics.emplace(office.error);
    (void)office.commit(office.plan(), std::move(refused));
    CHECK_FALSE(office.plan().count);
    office.advance(1s);
    CHECK(office.plan().count);
}

TEST_CASE("Scheduler: a task whose claim was refused is not claimed for a while") {
    Office office;
    office.look(office.wall());
    CycleResult refused;
    refused.claimed.refused.push_back({"stubborn", 0, office.error});
    const CyclePlan plan = office.plan();
    CHECK(plan.claim.leave.empty());
    office.scheduler.refused(refused, office.now);
    office.look(office.wall());
    CHECK(office.plan().claim.leave == std::vector<std::string>{"stubborn"});
    office.advance(1s);
    CHECK(office.scheduler.take_up_refused(office.now));
    office.look(office.wall());
    CHECK(office.plan().claim.leave.empty());
}

TEST_CASE("Scheduler: outcomes that will not be written are named") {
    Office office;
    office.end("a", RowChange::complete);
    office.scheduler.tell_unwritten();
    CHECK(office.logger->count("error outcome not written: the task may run again id=a queue=mail") == 1);
}

TEST_CASE("Scheduler: once it stops, outcomes end its sleep at once, and leases when they are due") {
    Office office;
    office.load = {.idle = 1, .running = 1};
    CHECK(office.scheduler.wake_time_stopping(office.load, false, office.now) == office.now.steady + 3s);
    office.load.finished = 1;
    CHECK(office.scheduler.wake_time_stopping(office.load, false, office.now) == office.now.steady);
}

}  // namespace
