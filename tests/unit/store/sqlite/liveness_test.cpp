// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/process.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/liveness.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <recording_logger.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::RecordingLogger;
using backlite_test::TestDatabase;
using store::sqlite::GroupCommit;
using store::sqlite::Liveness;
using store::sqlite::OwnerLock;
using store::sqlite::ProbeRing;

const Liveness::Patience patient{20s, {}};
constexpr Duration release_after = 10min;

int refuse(void*) { return 1; }

/// One client's part in the life of a file. It dies like a process does: without a word.
class Member {
public:
    explicit Member(TestDatabase& database, testing::ManualClock& clock, unsigned workers = 4)
        : commit_(database.config, {}) {
        live.emplace(commit_, database.connection.file(), workers, release_after, clock, detail::SafeLogger(logger));
    }

    void join() { live->join(patient); }

    /// Takes note of the others, as a dispatcher does.
    void look_around() {
        std::vector<detail::OwnerRow> others;
        commit_.read([&](store::sqlite::Repository& repository) { others = live->read_others(repository); }, patient);
        live->set_others(std::move(others));
    }

    void die() { live.reset(); }

    /// What its worker was doing.
    void record_inside(std::size_t worker, const std::string& id, std::uint64_t claim) {
        live->record(worker).enter(claim, store::sqlite::hash_id(id));
    }

    /// Makes every commit of this client fail, or work again.
    void break_commits(bool broken) {
        sqlite3_commit_hook(commit_.connection().handle(), broken ? &refuse : nullptr, nullptr);
    }

    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();

private:
    GroupCommit commit_;

public:
    std::optional<Liveness> live{};
};

/// A file and two members, of whom the first looks after the second.
struct Shop {
    TestDatabase database{};
    testing::ManualClock clock{};
    Member one{database, clock};
    Member other{database, clock};

    void join_both() {
        one.join();
        other.join();
        one.look_around();
    }

    void add_claim(const std::string& id, std::int64_t owner, std::int64_t claim = 1) {
        database.add({.id = id, .claim = claim, .claimed_at = 5, .owner = owner});
    }

    [[nodiscard]] std::string clients() {
        return database.query("SELECT owner, slot, workers FROM backlite_clients ORDER BY owner");
    }
    [[nodiscard]] std::string crashes() { return database.query("SELECT id, crashes FROM backlite_tasks ORDER BY id"); }
    [[nodiscard]] std::string claims() {
        return database.query("SELECT id, owner FROM backlite_tasks WHERE claimed_at IS NOT NULL ORDER BY id");
    }
    /// Whether anybody holds the lock of a slot.
    [[nodiscard]] bool held(unsigned slot) const { return OwnerLock(database.connection.file()).held_by_other(slot); }
};

// ---- joining and leaving --------------------------------------------------------------------------------------------

TEST_CASE("Liveness: who joins is in the list with number, slot and workers, and holds the slot's lock") {
    Shop shop;
    CHECK_FALSE(shop.held(0));
    shop.one.join();
    CHECK(shop.one.live->number() == 1);
    CHECK(shop.clients() == "1|0|4");
    CHECK(shop.database.query("SELECT boot_id FROM backlite_clients") == platform::boot_id());
    CHECK(shop.database.query("SELECT started_at FROM backlite_clients") ==
          fmt::to_string(backlite_test::row_ms(shop.clock.now())));
    CHECK(shop.held(0));
}

TEST_CASE("Liveness: the next one gets another number and another slot") {
    Shop shop;
    shop.one.join();
    shop.other.join();
    CHECK(shop.clients() == "1|0|4\n2|1|4");
}

TEST_CASE("Liveness: who leaves and lets go is out of the list, and its slot is free") {
    Shop shop;
    shop.one.join();
    shop.one.live->leave(patient);
    shop.one.live->let_go();
    CHECK(shop.clients().empty());
    CHECK_FALSE(shop.held(0));
    shop.other.join();
    CHECK(shop.clients() == "2|0|4");
}

TEST_CASE("Liveness: many join at once, each with a number and a slot of its own") {
    TestDatabase database;
    testing::ManualClock clock;
    std::vector<std::unique_ptr<Member>> members;
    for (int i = 0; i < 8; ++i) members.push_back(std::make_unique<Member>(database, clock));
    std::vector<std::exception_ptr> errors(members.size());
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < members.size(); ++i) {
            threads.emplace_back([&, i] {
                try {
                    members[i]->join();
                } catch (...) {
                    errors[i] = std::current_exception();
                }
            });
        }
    }
    for (const std::exception_ptr& error : errors) {
        CHECK(error == nullptr);
    }
    CHECK(database.query("SELECT count(DISTINCT owner), count(DISTINCT slot), max(slot) FROM backlite_clients") ==
          "8|8|7");
}

TEST_CASE("Liveness: the first one makes the side file one that can be trusted") {
    Shop shop;
    shop.one.join();
    const OwnerLock lock(shop.database.connection.file());
    CHECK(lock.trusted(shop.database.repository.upkeep.side_file_id()));
}

TEST_CASE("Liveness: the next one leaves a trusted side file as it is") {
    Shop shop;
    shop.one.join();
    const std::string id = shop.database.repository.upkeep.side_file_id();
    shop.other.join();
    CHECK(shop.database.repository.upkeep.side_file_id() == id);
}

TEST_CASE("Liveness: too many workers are a ConfigError, and nobody has joined") {
    Shop shop;
    Member crowd(shop.database, shop.clock, OwnerLock::max_workers + 1);
    CHECK_THROWS_AS(crowd.join(), ConfigError);
    CHECK(shop.clients().empty());
    CHECK_FALSE(shop.held(0));
}

TEST_CASE("Liveness: a join that cannot be committed leaves neither row nor lock, and works later") {
    Shop shop;
    shop.one.break_commits(true);
    CHECK_THROWS_AS(shop.one.join(), StorageError);
    CHECK(shop.clients().empty());
    CHECK_FALSE(shop.held(0));
    shop.one.break_commits(false);
    shop.one.join();
    CHECK(shop.clients() == "1|0|4");
}

TEST_CASE("Liveness: each worker has a record of its own") {
    Shop shop;
    shop.one.join();
    shop.one.record_inside(0, "a", 5);
    shop.one.record_inside(3, "b", 6);
    shop.one.live->record(3).returned();
    const auto records = OwnerLock(shop.database.connection.file()).read_records(0, 4);
    REQUIRE(records.size() == 4);
    CHECK(records[0] == store::sqlite::RecordView{5, store::sqlite::hash_id("a"), store::sqlite::RecordState::inside});
    CHECK(records[1] == store::sqlite::RecordView{});
    CHECK(records[3] ==
          store::sqlite::RecordView{6, store::sqlite::hash_id("b"), store::sqlite::RecordState::returned});
}

// ---- noticing -------------------------------------------------------------------------------------------------------

TEST_CASE("Liveness: who is alone knows of no others") {
    Shop shop;
    shop.one.join();
    shop.one.look_around();
    CHECK_FALSE(shop.one.live->others_known());
    CHECK_FALSE(shop.one.live->someone_died());
}

TEST_CASE("Liveness: others are known once one has looked around") {
    Shop shop;
    shop.one.join();
    shop.other.join();
    CHECK_FALSE(shop.one.live->others_known());
    shop.one.look_around();
    CHECK(shop.one.live->others_known());
}

TEST_CASE("Liveness: who is not in the list any more has been taken for dead, which is the end of it") {
    Shop shop;
    shop.join_both();
    shop.database.execute("DELETE FROM backlite_clients WHERE owner = 1");
    int code = 0;
    try {
        shop.one.look_around();
    } catch (const StorageError& error) {
        code = error.extended_code();
    }
    CHECK(store::sqlite::is_fatal(code));
}

TEST_CASE("Liveness: who lives is not dead") {
    Shop shop;
    shop.join_both();
    CHECK_FALSE(shop.one.live->someone_died());
}

TEST_CASE("Liveness: a death is noticed, without a word of the dead") {
    Shop shop;
    shop.join_both();
    shop.other.die();
    CHECK(shop.one.live->someone_died());
}

TEST_CASE("Liveness: who lets go without leaving counts as dead") {
    Shop shop;
    shop.join_both();
    shop.other.live->let_go();
    CHECK(shop.one.live->someone_died());
}

TEST_CASE("Liveness: an entry with a slot that cannot be is nobody's") {
    Shop shop;
    shop.one.join();
    shop.database.execute("INSERT INTO backlite_clients VALUES (77, 123456, 1, 0, 'x', 0), (78, -1, 1, 0, 'x', 0)");
    shop.add_claim("a", 77);
    shop.one.look_around();
    CHECK(shop.one.live->someone_died());
    CHECK(shop.one.live->rescue(patient) == 1);
    CHECK(shop.clients() == "1|0|4");
    CHECK(shop.claims().empty());
}

TEST_CASE("Liveness: the death of one that is not the next in the ring is noticed too") {
    Shop shop;
    shop.join_both();
    Member third{shop.database, shop.clock};
    third.join();
    shop.one.look_around();
    third.die();
    bool noticed = false;
    for (int look = 0; look < 4 && !noticed; ++look) noticed = shop.one.live->someone_died();
    CHECK(noticed);
}

// ---- the ring -------------------------------------------------------------------------------------------------------

/// `count` clients, numbered from 1, each with its view of the others.
std::vector<ProbeRing> rings(std::int64_t count) {
    std::vector<ProbeRing> rings(static_cast<std::size_t>(count));
    for (std::int64_t own = 1; own <= count; ++own) {
        std::vector<detail::OwnerRow> others;
        for (std::int64_t owner = 1; owner <= count; ++owner) {
            if (owner != own) others.push_back({owner, 0, 1, ""});
        }
        rings[static_cast<std::size_t>(own - 1)].set(std::move(others), own);
    }
    return rings;
}

/// Whom one look probes, if all live.
std::vector<std::int64_t> probed(ProbeRing& ring) {
    std::vector<std::int64_t> owners;
    (void)ring.look([&](const detail::OwnerRow& row) {
        owners.push_back(row.owner);
        return false;
    });
    return owners;
}

TEST_CASE("ProbeRing: each look probes the next by number, and the last client's next is the first") {
    std::vector<ProbeRing> all = rings(3);
    for (int look = 0; look < 10; ++look) {
        CHECK(probed(all[0]).front() == 2);
        CHECK(probed(all[1]).front() == 3);
        CHECK(probed(all[2]).front() == 1);
    }
}

TEST_CASE("ProbeRing: the cost of a look does not grow with the number of clients") {
    for (const std::int64_t count : {10, 1000}) {
        ProbeRing ring = std::move(rings(count)[5]);
        std::size_t probes = 0;
        for (int look = 0; look < 100; ++look) probes += probed(ring).size();
        CHECK(probes <= 150);
    }
}

TEST_CASE("ProbeRing: all others have their turn, also while the list is read anew before each look") {
    ProbeRing ring = std::move(rings(10)[3]);
    std::set<std::int64_t> seen;
    for (int look = 0; look < 18; ++look) {
        std::vector<detail::OwnerRow> others = ring.others();
        std::sort(others.begin(), others.end(), [](const auto& a, const auto& b) { return a.owner < b.owner; });
        ring.set(std::move(others), 4);
        for (const std::int64_t owner : probed(ring)) seen.insert(owner);
    }
    CHECK(seen.size() == 9);
}

TEST_CASE("ProbeRing: one whose watcher hangs is probed by another within the second") {
    std::vector<ProbeRing> all = rings(100);
    for (std::size_t look = 0; look < all.size(); ++look) {  // they did not begin at the same time
        for (std::size_t i = 0; i < look % 7; ++i) (void)probed(all[look]);
    }
    bool found = false;
    for (int look = 0; look < 20 && !found; ++look) {
        for (std::size_t i = 0; i < all.size(); ++i) {
            if (i == 41 || i == 42) continue;  // number 43 is dead, number 42 hangs
            found = found || all[i].look([](const detail::OwnerRow& row) { return row.owner == 43; });
        }
    }
    CHECK(found);
}

TEST_CASE("ProbeRing: who is alone probes nobody") {
    ProbeRing ring;
    CHECK(probed(ring).empty());
    ring.set({}, 7);
    CHECK(probed(ring).empty());
}

// ---- rescuing -------------------------------------------------------------------------------------------------------

TEST_CASE("Liveness: a rescue gives back what the dead one held, and takes it out of the list") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    shop.add_claim("b", 2);
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 2);
    CHECK(shop.claims().empty());
    CHECK(shop.clients() == "1|0|4");
    CHECK_FALSE(shop.one.live->others_known());
    CHECK_FALSE(shop.one.live->someone_died());
}

TEST_CASE("Liveness: a rescue spends no attempt and keeps the claims' numbers") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 5);
    shop.other.die();
    shop.one.live->rescue(patient);
    CHECK(shop.database.query("SELECT attempts, claim, crashes FROM backlite_tasks") == "0|5|0");
}

TEST_CASE("Liveness: a rescue leaves the claims of the living, its own too") {
    Shop shop;
    Member third(shop.database, shop.clock);
    shop.join_both();
    third.join();
    shop.one.look_around();
    for (const std::int64_t owner : {1, 2, 3}) shop.add_claim(fmt::format("of-{}", owner), owner);
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 1);
    CHECK(shop.claims() == "of-1|1\nof-3|3");
    CHECK(shop.one.live->others_known());
}

TEST_CASE("Liveness: claims without owner are none of a rescue's") {
    Shop shop;
    shop.join_both();
    shop.database.add({.id = "go", .claimed_at = 5});
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 0);
    CHECK(shop.claims() == "go|NULL");
}

TEST_CASE("Liveness: claims of an owner that is not in the list go back") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 99);
    CHECK(shop.one.live->rescue(patient) == 1);
    CHECK(shop.claims().empty());
}

TEST_CASE("Liveness: who joins rescues first") {
    Shop shop;
    shop.other.join();
    shop.add_claim("a", 1);
    shop.add_claim("b", 99);
    shop.other.die();
    shop.one.join();
    CHECK(shop.claims().empty());
    CHECK(shop.clients() == "2|1|4");  // not the dead one's slot: its records are read until that is committed
}

TEST_CASE("Liveness: nobody is rescued twice") {
    Shop shop;
    Member third(shop.database, shop.clock);
    shop.join_both();
    third.join();
    shop.one.look_around();
    third.look_around();
    shop.add_claim("a", 2);
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 1);
    CHECK(third.live->rescue(patient) == 0);
    CHECK(shop.crashes() == "a|0");
}

TEST_CASE("Liveness: the slot of a rescued one is free for the next") {
    Shop shop;
    Member third(shop.database, shop.clock);
    shop.join_both();
    shop.other.die();
    shop.one.live->rescue(patient);
    CHECK_FALSE(shop.held(1));
    third.join();
    CHECK(shop.clients() == "1|0|4\n3|1|4");
}

TEST_CASE("Liveness: a rescue that cannot be committed gives nothing back, and leaves it to others") {
    Shop shop;
    Member third(shop.database, shop.clock);
    shop.join_both();
    shop.add_claim("a", 2);
    shop.other.record_inside(0, "a", 1);
    shop.other.die();
    shop.one.break_commits(true);
    CHECK_THROWS_AS(shop.one.live->rescue(patient), StorageError);
    CHECK(shop.claims() == "a|2");
    CHECK_FALSE(shop.held(1));
    third.join();
    CHECK(shop.claims().empty());
    CHECK(shop.crashes() == "a|1");
}

TEST_CASE("Liveness: a rescue is logged, naming owner, claims and crashes") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 5);
    shop.add_claim("b", 2, 6);
    shop.other.record_inside(0, "a", 5);
    shop.other.die();
    shop.one.live->rescue(patient);
    CHECK(shop.one.logger->lines() ==
          std::vector<std::string>{"warning rescued a dead client's claims owner=2 claims=2 crashed=a"});
}

// ---- crashes --------------------------------------------------------------------------------------------------------

TEST_CASE("Liveness: a task that the dead one was inside of has crashed, its other claims have not") {
    Shop shop;
    shop.join_both();
    for (const char* id : {"entered", "never", "over", "between"}) shop.add_claim(id, 2, 7);
    shop.other.record_inside(0, "entered", 7);
    shop.other.record_inside(1, "over", 7);
    shop.other.live->record(1).returned();
    shop.other.record_inside(2, "between", 7);
    shop.other.live->record(2).clear();
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 4);
    CHECK(shop.crashes() == "between|0\nentered|1\nnever|0\nover|0");
}

TEST_CASE("Liveness: a record of an earlier claim of the same task is no crash") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 8);
    shop.other.record_inside(0, "a", 7);
    shop.other.die();
    shop.one.live->rescue(patient);
    CHECK(shop.crashes() == "a|0");
}

TEST_CASE("Liveness: a record of another task under the same number is no crash") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 7);
    shop.other.record_inside(0, "b", 7);
    shop.other.die();
    shop.one.live->rescue(patient);
    CHECK(shop.crashes() == "a|0");
}

TEST_CASE("Liveness: a task whose outcome was committed before the death is no crash") {
    Shop shop;
    shop.join_both();
    shop.database.add({.id = "a", .claim = 7});  // given back, and its record not yet overwritten
    shop.other.record_inside(0, "a", 7);
    shop.other.die();
    shop.one.live->rescue(patient);
    CHECK(shop.crashes() == "a|0");
}

TEST_CASE("Liveness: all workers of the dead one may have been inside") {
    Shop shop;
    shop.join_both();
    for (std::size_t i = 0; i < 4; ++i) {
        const std::string id = fmt::format("task-{}", i);
        shop.add_claim(id, 2, 7);
        shop.other.record_inside(i, id, 7);
    }
    shop.other.die();
    shop.one.live->rescue(patient);
    CHECK(shop.database.query("SELECT sum(crashes), count(*) FROM backlite_tasks") == "4|4");
}

TEST_CASE("Liveness: where the side file is another one, no crash is counted and all claims go back") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 7);
    shop.other.record_inside(0, "a", 7);
    shop.database.execute("UPDATE backlite_meta SET value = 'another' WHERE key = 'side_file_id'");
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 1);
    CHECK(shop.crashes() == "a|0");
    CHECK(shop.claims().empty());
}

TEST_CASE("Liveness: where the side file's header is garbage, no crash is counted and all claims go back") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 7);
    shop.other.record_inside(0, "a", 7);
    {
        std::fstream file(shop.database.connection.file() + "-backlite", std::ios::in | std::ios::out);
        file << "garbage";
    }
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 1);
    CHECK(shop.crashes() == "a|0");
}

TEST_CASE("Liveness: where the dead one belongs to another boot, no crash is counted") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 7);
    shop.other.record_inside(0, "a", 7);
    shop.database.execute("UPDATE backlite_clients SET boot_id = 'before the power cut' WHERE owner = 2");
    shop.other.die();
    CHECK(shop.one.live->rescue(patient) == 1);
    CHECK(shop.crashes() == "a|0");
}

TEST_CASE("Liveness: who joins beside a side file that cannot be trusted makes it one that can") {
    Shop shop;
    shop.other.join();
    shop.database.execute("UPDATE backlite_meta SET value = 'another' WHERE key = 'side_file_id'");
    shop.one.join();
    const OwnerLock lock(shop.database.connection.file());
    CHECK(lock.trusted(shop.database.repository.upkeep.side_file_id()));
    CHECK(shop.clients() == "1|0|4\n2|1|4");
}

// ---- owners that hang -----------------------------------------------------------------------------------------------

/// Looks so many times, with equal pauses in between, and returns what was given back in all.
int observe(Shop& shop, int looks, Duration pause) {
    int released = 0;
    for (int i = 0; i < looks; ++i) {
        if (i > 0) shop.clock.advance(pause);
        released += shop.one.live->observe(patient);
    }
    return released;
}

TEST_CASE("Liveness: a claim without sign of life for release_after, over four looks, goes back") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 7);
    CHECK(observe(shop, 4, release_after / 3) == 1);
    CHECK(shop.claims().empty());
    CHECK(shop.database.query("SELECT claim, attempts, crashes FROM backlite_tasks") == "7|0|0");
}

TEST_CASE("Liveness: looks alone are not enough") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    CHECK(observe(shop, 100, 1s) == 0);
    CHECK(shop.claims() == "a|2");
}

TEST_CASE("Liveness: a millisecond less than release_after is not enough") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    observe(shop, 4, 1s);
    shop.clock.advance(release_after - 3s - 1ms);
    CHECK(shop.one.live->observe(patient) == 0);
    shop.clock.advance(1ms);
    CHECK(shop.one.live->observe(patient) == 1);
}

TEST_CASE("Liveness: time alone is not enough: an observer that was itself suspended gives the others time") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    CHECK(observe(shop, 3, 24h) == 0);
    CHECK(shop.claims() == "a|2");
    CHECK(observe(shop, 1, 0s) == 1);
}

TEST_CASE("Liveness: after a look at which nobody could write, owners have until the next look to show themselves") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    CHECK(observe(shop, 3, 1s) == 0);
    shop.database.execute("BEGIN IMMEDIATE");  // nor could the owner write its lease
    shop.clock.advance(release_after);
    CHECK_THROWS_AS(shop.one.live->observe({1ms, {}}), BusyError);
    shop.database.execute("COMMIT");
    CHECK(shop.one.live->observe(patient) == 0);
    CHECK(shop.claims() == "a|2");
    CHECK(shop.one.live->observe(patient) == 1);
}

TEST_CASE("Liveness: a sign of life starts the count anew") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    for (int i = 0; i < 10; ++i) {
        CHECK(observe(shop, 3, release_after / 3) == 0);
        shop.clock.advance(release_after / 3);
        shop.database.execute("UPDATE backlite_tasks SET lease = lease + 1");
    }
    CHECK(shop.claims() == "a|2");
}

TEST_CASE("Liveness: a new claim of the same task starts the count anew") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2, 7);
    CHECK(observe(shop, 3, release_after / 3) == 0);
    shop.clock.advance(release_after / 3);
    shop.database.execute("UPDATE backlite_tasks SET claim = 8");
    CHECK(shop.one.live->observe(patient) == 0);
}

TEST_CASE("Liveness: of several claims those go back whose leases stand still") {
    Shop shop;
    shop.join_both();
    shop.add_claim("hangs", 2);
    shop.add_claim("lives", 2);
    for (int i = 0; i < 4; ++i) {
        shop.one.live->observe(patient);
        shop.clock.advance(release_after / 3);
        shop.database.execute("UPDATE backlite_tasks SET lease = lease + 1 WHERE id = 'lives'");
    }
    CHECK(shop.claims() == "lives|2");
}

TEST_CASE("Liveness: own claims are not looked at") {
    Shop shop;
    shop.join_both();
    shop.add_claim("mine", 1);
    CHECK(observe(shop, 10, release_after) == 0);
    CHECK(shop.claims() == "mine|1");
}

TEST_CASE("Liveness: a jump of the wall clock takes nobody's claim") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    for (int i = 0; i < 10; ++i) {
        shop.clock.jump(24h);
        CHECK(shop.one.live->observe(patient) == 0);
    }
}

TEST_CASE("Liveness: an owner that hangs stays in the list, and the task is logged") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    CHECK(observe(shop, 4, release_after) == 1);
    CHECK(shop.clients() == "1|0|4\n2|1|4");
    CHECK(shop.one.logger->count("warning task rescued id=a") == 1);
}

TEST_CASE("Liveness: what was given back is not given back again") {
    Shop shop;
    shop.join_both();
    shop.add_claim("a", 2);
    CHECK(observe(shop, 4, release_after) == 1);
    CHECK(observe(shop, 8, release_after) == 0);
}

}  // namespace
