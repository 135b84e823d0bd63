// SPDX-License-Identifier: MIT
// What every store does with schedules, shown by the library's scheduler on it: SQLite's in a file, and the one in
// memory.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/schedule_changes.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/core/slot_plans.hpp>
#include <backlite/outcome.hpp>
#include <backlite/queue.hpp>
#include <backlite/schedule_rules.hpp>
#include <backlite/status.hpp>
#include <backlite/store/slots.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>
#include <backlite/store/store.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <memory_store.hpp>
#include <stepped_client.hpp>
#include <temp_folder.hpp>

namespace store_schedules_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::MemoryFile;
using backlite_test::MemoryStore;
using backlite_test::SteppedClient;
using backlite_test::TempFolder;
using core::ScheduleOptions;
using detail::Ms;
using store::ScheduleRow;
using store::SlotPlan;
using store::SlotResult;

struct Note {
    std::string text{};
    static QueueConfig config() { return {.name = "notes", .retention = Retention{.duration = 24h}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Note, text)

enum class Kind { memory, sqlite };
using Texts = std::vector<std::string>;

/// Clients on one store, whose processors note what they are given.
class Town {
public:
    explicit Town(Kind kind) {
        queues_.add(Queue<Note>([this](const Note& note) {
                        processed.push_back(note.text);
                        return answer;
                    }).release());
        if (kind == Kind::sqlite) folder_.emplace();
    }

    [[nodiscard]] std::unique_ptr<SteppedClient> client(bool registered = true) {
        ClientConfig config{.database = folder_ ? folder_->file("town.db") : "town"};
        SteppedClient::Open open = &store::sqlite::open;
        if (!folder_) {
            open = [this](const ClientConfig& c, const Clock& its_clock, const detail::SafeLogger&,
                          store::StoreHooks hooks) -> std::unique_ptr<store::Store> {
                return std::make_unique<MemoryStore>(memory_, c, its_clock, std::move(hooks));
            };
        }
        auto made = std::make_unique<SteppedClient>(std::move(config), registered ? queues_ : none_, clock, open);
        made->start();
        return made;
    }

    bool define(SteppedClient& by, const std::string& name, const std::string& spec,
                const ScheduleOptions& options = {}) {
        const ScheduleRow wanted{
            .name = name, .queue = "notes", .payload = nlohmann::json(Note{name}).dump(), .spec = spec};
        const bool changed = by.store().change_schedule(
            name, [&](std::optional<ScheduleRow>& row) { return core::define(row, wanted, options, now()); }, patience);
        by.refresh();
        return changed;
    }
    [[nodiscard]] ScheduleRow stored(SteppedClient& by, const std::string& name) {
        std::optional<ScheduleRow> found;
        by.store().change_schedule(
            name,
            [&](std::optional<ScheduleRow>& row) {
                found = row;
                return false;
            },
            patience);
        return found.value_or(ScheduleRow{});
    }
    [[nodiscard]] Ms now() const { return detail::to_ms(clock.now()); }

    void work(SteppedClient& client) {
        for (int round = 0; round < 10; ++round) {
            client.look();
            static_cast<void>(client.cycle(client.plan()));
            while (client.run_one() != nullptr) {
            }
        }
    }

    const store::Patience patience{5s, {}};
    testing::ManualClock clock{};
    Texts processed{};
    Outcome answer = Outcome::success();

private:
    std::optional<TempFolder> folder_{};
    MemoryFile memory_{};
    core::QueueRegistry queues_{};
    core::QueueRegistry none_{};
};

TEST_CASE("Store: a slot adds its task when it has come, and one client alone runs it") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto one = town.client();
    const auto other = town.client();
    CHECK(town.define(*one, "a", "@every 60000ms"));
    CHECK_FALSE(town.define(*one, "a", "@every 60000ms"));
    town.clock.advance(59'999ms);
    town.work(*one);
    CHECK(town.processed.empty());
    town.clock.advance(1ms);
    one->look();
    other->look();
    store::CyclePlan first = one->plan();
    store::CyclePlan second = other->plan();
    REQUIRE(first.slots.size() == 1);
    REQUIRE(second.slots.size() == 1);
    CHECK_FALSE(one->cycle(std::move(first)).slots.front().lost);
    CHECK(other->cycle(std::move(second)).slots.front().lost);
    town.work(*one);
    town.work(*other);
    CHECK(town.processed == Texts{"a"});
    const ScheduleRow row = town.stored(*other, "a");
    CHECK(row.last == town.now());
    CHECK(row.next == town.now() + 60s);
    CHECK(other->store().status(TaskId::from_text(row.last_task)) == TaskStatus::succeeded);
    other->stop();
    one->stop();
}

TEST_CASE("Store: a client that has not registered the queue runs the slots too, and leaves the tasks to others") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto stranger = town.client(false);
    town.define(*stranger, "a", "* * * * *");
    town.clock.advance(60s);
    town.work(*stranger);
    CHECK(town.processed.empty());
    CHECK(stranger->store().counts(town.now()).front().waiting == 1);
    const auto owner = town.client();
    town.work(*owner);
    CHECK(town.processed == Texts{"a"});
    owner->stop();
    stranger->stop();
}

TEST_CASE("Store: a slot whose schedule was changed, paused or deleted after a look adds nothing") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const int how = GENERATE(0, 1, 2, 3);
    const auto client = town.client();
    town.define(*client, "a", "* * * * *");
    town.clock.advance(60s);
    client->look();
    store::CyclePlan plan = client->plan();
    REQUIRE(plan.slots.size() == 1);
    client->store().change_schedule(
        "a",
        [&](std::optional<ScheduleRow>& row) {
            if (how == 0) row->payload = R"({"text":"b"})";
            if (how == 1) return core::pause(*row, town.now());
            if (how == 2) row.reset();
            if (how == 3) row->queue = "other";
            return true;
        },
        town.patience);
    const store::CycleResult result = client->cycle(std::move(plan));
    REQUIRE(result.slots.size() == 1);
    CHECK(result.slots.front().lost);
    CHECK(client->store().counts(town.now()).empty());
    town.work(*client);
    CHECK(town.processed == (how == 0 ? Texts{"b"} : Texts{}));
    client->stop();
}

TEST_CASE("Store: while a task is unfinished skip leaves slots out, and replace cancels it") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const bool claimed = GENERATE(false, true);
    const auto client = town.client();
    town.answer = Outcome::snooze(1h);
    town.define(*client, "skip", "@every 60000ms", {.overlap = Overlap::skip});
    town.define(*client, "replace", "@every 60000ms", {.overlap = Overlap::replace});
    town.clock.advance(60s);
    if (claimed) {
        while (client->ready().size() < 2) {
            client->look();
            static_cast<void>(client->cycle(client->plan()));
        }
    } else {
        town.work(*client);
    }
    const std::string skipped = town.stored(*client, "skip").last_task;
    const std::string replaced = town.stored(*client, "replace").last_task;
    town.clock.advance(60s);
    client->look();
    const store::CycleResult result = client->cycle(client->plan());
    REQUIRE(result.slots.size() == 2);
    std::size_t overlapped = 0;
    for (const SlotResult& each : result.slots) {
        overlapped += each.overlapped;
        CHECK(each.added.size() + each.overlapped == 1);
        if (each.overlapped > 0) continue;
        CHECK(each.cancelled.size() == (claimed ? 0 : 1));
        CHECK(each.asked == claimed);
    }
    CHECK(overlapped == 1);
    CHECK(town.stored(*client, "skip").last_task == skipped);
    CHECK(town.stored(*client, "skip").next == town.now() + 60s);
    CHECK(town.stored(*client, "replace").last_task != replaced);
    town.work(*client);
    CHECK(client->store().status(TaskId::from_text(replaced)) == TaskStatus::cancelled);
    CHECK(client->store().status(TaskId::from_text(skipped)) == TaskStatus::pending);
    client->stop();
}

TEST_CASE("Store: a slot adds nothing to a bounded queue that is full, or makes room as the queue says") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const bool drops = GENERATE(false, true);
    const bool unique = GENERATE(false, true);
    const auto client = town.client(false);
    ScheduleOptions options;
    options.max_waiting = 2;
    options.overflow = drops ? Overflow::drop_oldest : Overflow::reject;
    for (int i = 0; i < 4; ++i) {
        if (unique) options.unique = {.conflict = Conflict::keep, .key = std::to_string(i)};
        town.define(*client, "s" + std::to_string(i), "@every 60000ms", options);
    }
    town.clock.advance(60s);
    client->look();
    const store::CycleResult result = client->cycle(client->plan());
    REQUIRE(result.slots.size() == 4);
    std::size_t added = 0, unwanted = 0;
    for (const SlotResult& each : result.slots) {
        CHECK_FALSE(each.refused);
        added += each.added.size();
        unwanted += each.unwanted;
    }
    CHECK(added == (drops ? 4 : 2));
    CHECK(unwanted == (drops ? 0 : 2));
    CHECK(client->store().counts(town.now()).at(0).waiting == 2);
    for (const ScheduleRow& row : client->store().schedules()) CHECK(row.next == town.now() + 60s);
    client->stop();
}

TEST_CASE("Store: of a bulk of due schedules each look takes up a part, and none is left") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    constexpr std::size_t many = 1'200;
    for (std::size_t i = 0; i < many; ++i) town.define(*client, "s" + std::to_string(i), "@every 60000ms");
    town.clock.advance(60s);
    client->look();
    CHECK(client->plan().slots.size() == core::SlotPlans::most_schedules);
    for (int round = 0; round < 6; ++round) static_cast<void>(client->cycle(client->plan()));
    std::size_t added = 0;
    for (const ScheduleRow& row : client->store().schedules()) {
        if (row.last == town.now()) ++added;
        CHECK(row.payload.empty());
    }
    CHECK(added == many);
    client->stop();
}

TEST_CASE("Store: a run by hand leaves the slots, and sees what is unfinished") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    town.define(*client, "a", "@every 60000ms", {.overlap = Overlap::skip});
    const ScheduleRow before = town.stored(*client, "a");
    const auto run = [&](const char* id) {
        SlotPlan plan = core::SlotPlans::plan_of(town.stored(*client, "a"), ScheduleOptions::read(before.options));
        plan.by_hand = true;
        plan.run.push_back({TaskId::from_text(id), town.now(), town.now(), std::nullopt});
        return client->store().run_schedule(plan, town.now(), town.patience);
    };
    CHECK(run("one").added.size() == 1);
    CHECK(run("two").overlapped == 1);
    const ScheduleRow after = town.stored(*client, "a");
    CHECK(after.last_task == "one");
    CHECK(after.next == before.next);
    client->refresh();
    town.work(*client);
    CHECK(town.processed == Texts{"a"});
    client->stop();
}

TEST_CASE("Store: a schedule that cannot be read is left alone, told of by none, and holds up no other") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    const char* const broken = GENERATE("spec", "zone", "options", "next");
    town.define(*client, "a", "@every 60000ms");
    town.define(*client, "b", "@every 60000ms");
    client->store().change_schedule(
        "a",
        [&](std::optional<ScheduleRow>& row) {
            const std::string which = broken;
            if (which == "spec") row->spec = "61 * * * *";
            if (which == "zone") row->spec = "* * * * *", row->zone = "Atlantis/Capital";
            if (which == "options") row->options = R"({"overlap":7})";
            if (which == "next") row->next = Ms::earliest();
            return true;
        },
        town.patience);
    client->refresh();
    town.clock.advance(60s);
    town.work(*client);
    CHECK(std::count(town.processed.begin(), town.processed.end(), "b") == 1);
    const auto wait = client->next_work();
    REQUIRE(wait);
    CHECK(*wait > 0ms);
    CHECK(*wait <= 60s);
    client->stop();
}

TEST_CASE("Store: without a schedule nothing is read, and with schedules of the future one search tells the next") {
    Town town(GENERATE(Kind::memory, Kind::sqlite));
    const auto client = town.client();
    town.work(*client);
    CHECK(client->plan().empty());
    town.define(*client, "a", "@every 3600000ms");
    town.define(*client, "b", "@every 60000ms");
    town.work(*client);
    CHECK(client->next_work().value_or(0ms) <= 60s);
    CHECK(client->next_work().value_or(0ms) > 1s);
    client->stop();
}

}  // namespace store_schedules_test
