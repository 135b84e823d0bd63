// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <backlite/admin/database_view.hpp>

#include <backlite_catch.hpp>
#include <dashboard_rig.hpp>
#include <events.hpp>
#include <patience.hpp>
#include <uncapped.hpp>

namespace {

using namespace backlite;
using namespace backlite::ui;
using namespace std::chrono_literals;
using backlite_test::eventually;
using backlite_test::Gate;
using backlite_test::OpensAtEnd;
using backlite_test::Rig;

TEST_CASE("ui file: all who wait get a turn, or give up in time") {
    admin::Turns turns(1);
    REQUIRE(turns.enter(0ms));
    CHECK_FALSE(turns.enter(0ms));
    CHECK_FALSE(turns.enter(5ms));
    turns.leave();
    REQUIRE(turns.enter(0ms));
    const backlite_test::Uncapped uncapped;  // nor does any of them end its wait by itself
    std::atomic<int> looked{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            if (!turns.enter(1h)) return;
            ++looked;
            turns.leave();
        });
    }
    std::this_thread::sleep_for(50ms);  // by then they wait
    turns.leave();
    REQUIRE(eventually([&] { return looked == 4; }));
    for (std::thread& thread : threads) thread.join();
    CHECK(turns.enter(0ms));
}

TEST_CASE("ui file: a crowd reads through few connections, and monitors do not wait for it") {
    Rig rig;
    std::atomic<int> opened{0};
    admin::DatabaseView file(
        rig.database.config.database,
        [&] {
            ++opened;
            return SQLite::Database(rig.database.config.database, SQLite::OPEN_READONLY);
        },
        100ms);
    Gate gate;
    std::atomic<int> inside{0};
    std::atomic<int> most_inside{0};
    std::atomic<int> done{0};
    std::vector<std::thread> people;
    {
        const OpensAtEnd opens(gate);
        for (int i = 0; i < 20; ++i) {
            people.emplace_back([&] {
                file.read(10s, [&](admin::Queries&) {
                    const int now_inside = ++inside;
                    if (now_inside > most_inside) most_inside = now_inside;
                    gate.pass();
                    --inside;
                });
                ++done;
            });
        }
        CHECK(eventually([&] { return inside == 4; }));
        CHECK(file.read(
            backlite_test::patience, [](admin::Queries&) { return true; }, admin::DatabaseView::For::monitors));
        try {
            file.read(1ms, [](admin::Queries&) {});
            FAIL("it was let in as the fifth");
        } catch (const admin::FileError& trouble) {
            CHECK(trouble.kind() == admin::UnavailableReason::busy);
        }
    }
    for (std::thread& person : people) person.join();
    CHECK(done == 20);
    CHECK(most_inside == 4);
    CHECK(opened <= 5);
}

TEST_CASE("ui file: a turn is given back when looking fails") {
    Rig rig;
    admin::DatabaseView file(rig.database.config.database, {}, 100ms);
    for (int i = 0; i < 10; ++i) {
        CHECK_THROWS_AS(
            file.read(1s, [](admin::Queries&) { throw admin::FileError(admin::UnavailableReason::other, "failed"); }),
            admin::FileError);
    }
    CHECK(file.read(0ms, [](admin::Queries&) { return true; }));
    admin::DatabaseView missing(rig.database.config.database + ".missing", {}, 100ms);
    for (int i = 0; i < 10; ++i) {
        try {
            missing.read(1s, [](admin::Queries&) {});
            FAIL("there is no such file");
        } catch (const admin::FileError& trouble) {
            CHECK(trouble.kind() == admin::UnavailableReason::missing);
        }
    }
}

}  // namespace
