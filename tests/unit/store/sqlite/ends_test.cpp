// SPDX-License-Identifier: MIT

#include <backlite/store/sqlite/ends.hpp>

#include <string>

#include <backlite/base/rows.hpp>
#include <backlite/id.hpp>

#include <backlite_catch.hpp>
#include <test_database.hpp>

using backlite::TaskId;
using backlite::detail::AttemptResult;
using backlite::detail::Ms;
using backlite::detail::RowChange;
using backlite_test::TestDatabase;
namespace store = backlite::store;
namespace flag = backlite::store::sqlite::flag;

namespace {

/// A claimed task with rows in every table that goes with one.
class Detailed : public TestDatabase {
public:
    explicit Detailed(std::int64_t flags = flag::details) {
        add({.id = "a", .claim = 1, .claimed_at = Ms{2'000}, .owner = 3, .flags = flags});
        hang("a");
    }

    void hang(const std::string& id) {
        const std::string name = "'" + id + "'";
        execute("INSERT INTO backlite_saved VALUES (" + name + ", 'cursor', 1, x'35')");
        execute("INSERT INTO backlite_progress VALUES (" + name + ", 1, 1, 0.5, 'half')");
        execute("INSERT INTO backlite_attempts VALUES (" + name + ", 1, 1, 1, 1, 1, 'no', 'here', 7)");
        execute("INSERT INTO backlite_tags VALUES (" + name + ", 'import')");
        execute("INSERT INTO backlite_details VALUES (" + name + ", NULL, '{}')");
    }

    [[nodiscard]] std::string hanging() {
        return query(
            "SELECT (SELECT count(*) FROM backlite_saved) + (SELECT count(*) FROM backlite_progress) + "
            "(SELECT count(*) FROM backlite_attempts) + (SELECT count(*) FROM backlite_tags) + "
            "(SELECT count(*) FROM backlite_details)");
    }

    bool write_outcome(const AttemptResult& outcome) {
        bool written = false;
        write([&](store::sqlite::Repository& all) { written = all.transitions.write(outcome); });
        return written;
    }
};

AttemptResult ended(RowChange change, bool keep) {
    return {.id = TaskId::from_text("a"),
            .claim = 1,
            .resolution = change,
            .keep_row = keep,
            .keep_payload = keep,
            .executed_at = Ms{2'000},
            .expires_at = Ms{9'000},
            .error = change == RowChange::complete ? "" : "no"};
}

}  // namespace

TEST_CASE("Ends: what hangs on a task goes with it, and stays with its kept row until that is purged") {
    for (const RowChange change : {RowChange::complete, RowChange::fail}) {
        CAPTURE(change);
        Detailed gone;
        CHECK(gone.write_outcome(ended(change, false)));
        CHECK(gone.hanging() == "0");
        CHECK(gone.query("SELECT count(*) FROM backlite_tasks") == "0");

        Detailed kept;
        CHECK(kept.write_outcome(ended(change, true)));
        CHECK(kept.hanging() == (change == RowChange::complete ? "4" : "5"));  // it saves for another attempt
        kept.hang("another");
        kept.write([](store::sqlite::Repository& all) { CHECK(all.upkeep.purge(Ms{9'000}, 10) == 1); });
        CHECK(kept.hanging() == "5");
        CHECK(kept.query("SELECT DISTINCT task FROM backlite_tags") == "another");
    }
}

TEST_CASE("Ends: what hangs on a task goes with it when its kept row is purged by itself") {
    Detailed file;
    CHECK(file.write_outcome(ended(RowChange::fail, true)));
    file.write([](store::sqlite::Repository& all) { all.upkeep.purge_row(1); });
    CHECK(file.hanging() == "0");
}

TEST_CASE("Ends: what a task has saved goes if its kept row is without its payload, and the rest stays") {
    Detailed file;
    AttemptResult outcome = ended(RowChange::fail, true);
    outcome.keep_payload = false;
    CHECK(file.write_outcome(outcome));
    CHECK(file.hanging() == "4");
    CHECK(file.query("SELECT count(*) FROM backlite_saved") == "0");
}

TEST_CASE("Ends: a purge leaves what hangs on an unfinished task with the id of an old one") {
    Detailed file;
    CHECK(file.write_outcome(ended(RowChange::fail, true)));
    file.add({.id = "a", .flags = flag::details});
    file.write([](store::sqlite::Repository& all) { CHECK(all.upkeep.purge(Ms{9'000}, 10) == 1); });
    CHECK(file.hanging() == "5");
}

TEST_CASE("Ends: what hangs on a task that is cancelled while it waits goes with it") {
    Detailed file;
    file.execute("UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL");
    const TaskId id = TaskId::from_text("a");
    file.write([&](store::sqlite::Repository& all) {
        CHECK(all.cancels.cancel({.id = id, .now = Ms{3'000}, .keep = [](std::string_view) {
                                      return store::KeepRule{};
                                  }}) == backlite::CancelResult::cancelled);
    });
    CHECK(file.hanging() == "0");
    CHECK(file.query("SELECT count(*) FROM backlite_tasks") == "0");
}

TEST_CASE("Ends: a lost claim leaves a task and what hangs on it as they are") {
    Detailed file;
    AttemptResult stale = ended(RowChange::complete, false);
    stale.claim = 7;
    CHECK_FALSE(file.write_outcome(stale));
    CHECK(file.hanging() == "5");
}

TEST_CASE("Ends: a task with any flag comes back from each change of its state") {
    for (const RowChange change : {RowChange::retry, RowChange::snooze, RowChange::release}) {
        CAPTURE(change);
        Detailed file(flag::on_end | flag::on_return | flag::expires);
        CHECK(file.write_outcome(ended(change, false)));
        CHECK(file.query("SELECT claimed_at FROM backlite_tasks") == "NULL");
        CHECK(file.hanging() == "5");
    }
    Detailed file(flag::on_return);
    file.write([](store::sqlite::Repository& all) { CHECK(all.transitions.release_all(3) == 1); });
    CHECK(file.query("SELECT claimed_at FROM backlite_tasks") == "NULL");
}

TEST_CASE("Ends: a task whose flags are no number, as a damaged file may hold them, ends and comes back all the same") {
    for (const char* flags : {"NULL", "'x'"}) {
        for (const RowChange change : {RowChange::complete, RowChange::retry}) {
            CAPTURE(flags, change);
            TestDatabase file;
            SQLite::Database stranger = file.stranger();
            backlite_test::loosen(stranger);
            file.add({.id = "a", .claim = 1, .claimed_at = Ms{2'000}, .owner = 3});
            file.execute(std::string{"UPDATE backlite_tasks SET flags = "} + flags);
            bool written = false;
            file.write([&](store::sqlite::Repository& all) { written = all.transitions.write(ended(change, false)); });
            CHECK(written);
        }
    }
}
