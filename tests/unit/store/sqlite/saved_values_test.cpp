// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/host_transaction.hpp>
#include <backlite/store/sqlite/saved_values.hpp>
#include <backlite/store/store.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::message_of;
using backlite_test::TestDatabase;
using detail::Ms;
using detail::SavedValue;
using store::NameRange;

const TaskId id = TaskId::from_text("a");

/// A task in its third claim.
struct Desk : TestDatabase {
    explicit Desk(std::int64_t crashes = 0, const std::string& payload = "{}") {
        add({.id = "a", .payload = payload, .crashes = crashes, .claim = 3, .claimed_at = Ms{2'000}, .owner = 7});
    }

    bool save(const std::vector<SavedValue>& values, std::int64_t claim = 3, std::int64_t at = 5'000) {
        bool held = false;
        const detail::ClaimKey key{id, claim};
        write([&](auto& all) { held = all.saved.save({key, Ms{at}, values}); });
        return held;
    }

    std::vector<std::string> read(const NameRange& names = {}, std::size_t limit = 100, std::size_t max_bytes = 1'000) {
        std::vector<std::string> found;
        for (const SavedValue& value : repository.saved.read(id, names, limit, max_bytes)) {
            found.push_back(fmt::format("{}={}/{}", value.name, value.json.value_or("none"), value.oversize));
        }
        return found;
    }
};

using Texts = std::vector<std::string>;

TEST_CASE("SavedValues: the row of a task says that rows hang on it, and is changed once") {
    Desk desk(2);
    CHECK(desk.query("SELECT crashes, flags FROM backlite_tasks") == "2|0");
    CHECK(desk.save({{"page", "1"}}));
    CHECK(desk.query("SELECT crashes, flags FROM backlite_tasks") == "0|4");
    CHECK(desk.query("SELECT task, name, at, value, typeof(value) FROM backlite_saved") == "a|page|5000|1|blob");
    desk.execute("CREATE TRIGGER changed AFTER UPDATE ON backlite_tasks BEGIN SELECT RAISE(ABORT, 'changed'); END");
    CHECK(desk.save({{"page", "2"}}, 3, 6'000));
    CHECK(desk.query("SELECT task, name, at, value FROM backlite_saved") == "a|page|6000|2");
}

TEST_CASE("SavedValues: other flags of the row stay") {
    Desk desk;
    desk.execute("UPDATE backlite_tasks SET flags = 3");
    CHECK(desk.save({{"page", "1"}}));
    CHECK(desk.query("SELECT flags FROM backlite_tasks") == "7");
}

TEST_CASE("SavedValues: without the claim nothing is written") {
    Desk desk(2);
    const std::int64_t claim = GENERATE(2, 3, 4);
    if (claim == 3) desk.execute("UPDATE backlite_tasks SET claimed_at = NULL");
    CHECK_FALSE(desk.save({{"page", "1"}}, claim));
    CHECK(desk.query("SELECT count(*) FROM backlite_saved") == "0");
    CHECK(desk.query("SELECT crashes, flags FROM backlite_tasks") == "2|0");
}

TEST_CASE("SavedValues: a trigger that ignores what is written is an error") {
    Desk desk(1);
    SECTION("of the task") {
        desk.execute("CREATE TRIGGER no BEFORE UPDATE ON backlite_tasks BEGIN SELECT RAISE(IGNORE); END");
    }
    SECTION("of the value") {
        desk.execute("CREATE TRIGGER no BEFORE INSERT ON backlite_saved BEGIN SELECT RAISE(IGNORE); END");
    }
    CHECK(message_of<StorageError>([&] { (void)desk.save({{"page", "1"}}); }).find("trigger") != std::string::npos);
    CHECK(desk.query("SELECT count(*) FROM backlite_saved") == "0");
    CHECK(desk.query("SELECT crashes, flags FROM backlite_tasks") == "1|0");
}

TEST_CASE("SavedValues: names are read by their bytes, and values that are too large are told but not read") {
    Desk desk;
    CHECK(desk.save({{"b", "1"}, {"a", std::string(50, '1')}, {"\xc3\xa4", "2"}, {"a\x01", "3"}, {"ab", "4"}}));
    CHECK(desk.read({}, 100, 50) ==
          Texts{fmt::format("a={}/0", std::string(50, '1')), "a\x01=3/0", "ab=4/0", "b=1/0", "\xc3\xa4=2/0"});
    CHECK(desk.read(NameRange::of("a"), 100, 49) == Texts{"a=none/50"});
    CHECK(desk.read(NameRange::with_prefix("a"), 2, 49) == Texts{"a=none/50", "a\x01=3/0"});
    CHECK(desk.read(NameRange::with_prefix("\xc3")) == Texts{"\xc3\xa4=2/0"});
    CHECK(desk.read(NameRange{"b", {}}) == Texts{"b=1/0", "\xc3\xa4=2/0"});
}

TEST_CASE("SavedValues: rows of others are read as far as their names are texts") {
    Desk desk;
    auto stranger = desk.stranger();
    backlite_test::loosen(stranger);
    desk.execute(
        "INSERT INTO backlite_saved (task, name, at, value) VALUES ('a', 'null', 1, NULL), ('a', 'number', 'x', 17), "
        "('a', 'text', 1, '{}'), ('a', NULL, 1, '1'), ('a', x'00ff', 1, '2')");
    CHECK(desk.read() == Texts{"null=none/0", "number=17/0", "text={}/0"});
    CHECK(desk.save({{"null", "1"}}));
    CHECK(desk.read(NameRange::of("null")) == Texts{"null=1/0"});
}

TEST_CASE("SavedValues: a save does not write a large payload again") {
    Desk desk(0, "\"" + std::string(100'000, 'x') + "\"");
    desk.execute("UPDATE backlite_tasks SET crashes = 2, slack = zeroblob(400)");
    desk.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    CHECK(desk.save({{"page", "1"}}));
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(desk.config.database + "-wal"));
    CHECK((bytes - 32) / (4'096 + 24) <= 6);
}

TEST_CASE("SavedValues: in a host's transaction they are committed with it, or not at all") {
    Desk desk;
    auto stranger = desk.stranger();
    const bool commits = GENERATE(true, false);
    const std::int64_t claim = GENERATE(3, 2);
    stranger.exec("CREATE TABLE effects (what text); BEGIN IMMEDIATE; INSERT INTO effects VALUES ('done')");
    bool held = false;
    const detail::ClaimKey key{id, claim};
    const std::array<SavedValue, 1> values{{{"page", "1"}}};
    store::sqlite::within(stranger.getHandle(), [&] {
        held = store::sqlite::SavedValues(stranger.getHandle()).save({key, Ms{1}, values});
    });
    CHECK(held == (claim == 3));
    stranger.exec(commits ? "COMMIT" : "ROLLBACK");
    CHECK(desk.query("SELECT count(*) FROM effects") == (commits ? "1" : "0"));
    CHECK(desk.read() == (commits && held ? Texts{"page=1/0"} : Texts{}));
}

TEST_CASE("within: what throws leaves nothing of itself in the host's transaction") {
    Desk desk;
    auto stranger = desk.stranger();
    stranger.exec("CREATE TABLE effects (what text); BEGIN IMMEDIATE; INSERT INTO effects VALUES ('before')");
    CHECK_THROWS_AS(store::sqlite::within(stranger.getHandle(),
                                          [&] {
                                              stranger.exec("INSERT INTO effects VALUES ('inside')");
                                              throw StorageError("no", SQLITE_CONSTRAINT);
                                          }),
                    StorageError);
    stranger.exec("COMMIT");
    CHECK(desk.query("SELECT what FROM effects") == "before");
}

}  // namespace
