// SPDX-License-Identifier: MIT
// Tasks that wait for other tasks, on SQLite's store and on the one in memory.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/base/rows.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/parents.hpp>
#include <backlite/queue.hpp>
#include <backlite/status.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>
#include <backlite/store/store.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <memory_store.hpp>
#include <stepped_client.hpp>
#include <temp_folder.hpp>

namespace children_test {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::MemoryFile;
using backlite_test::MemoryStore;
using backlite_test::SteppedClient;
using backlite_test::TempFolder;
using detail::Ms;
using Texts = std::vector<std::string>;

/// Kept for a minute; two attempts.
struct Kept {
    std::string text{};
    static QueueConfig config() {
        return {.name = "kept", .max_attempts = 2, .backoff = 1s, .retention = Retention{.duration = 1min}};
    }
};
/// One attempt, and nothing is kept.
struct Gone {
    std::string text{};
    static QueueConfig config() { return {.name = "gone"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Kept, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Gone, text)

enum class Kind { memory, sqlite };

class Family {
public:
    explicit Family(Kind kind) : kind_(kind) {
        const auto process = [this](const std::string& text) {
            ran.push_back(text);
            if (std::count(failing.begin(), failing.end(), text) > 0) throw std::runtime_error("it failed");
        };
        queues_.add(Queue<Kept>([process](const Kept& task) { process(task.text); }).release());
        queues_.add(Queue<Gone>([process](const Gone& task) { process(task.text); }).release());
        if (kind == Kind::sqlite) folder_.emplace();
        client = open();
        client->start();
    }

    [[nodiscard]] std::unique_ptr<SteppedClient> open() {
        ClientConfig config{.database = file()};
        SteppedClient::Open open = &store::sqlite::open;
        if (kind_ == Kind::memory) {
            open = [this](const ClientConfig& c, const Clock& its_clock, const detail::SafeLogger&,
                          store::StoreHooks hooks) -> std::unique_ptr<store::Store> {
                return std::make_unique<MemoryStore>(memory_, c, its_clock, std::move(hooks));
            };
        }
        return std::make_unique<SteppedClient>(std::move(config), queues_, clock, open);
    }

    [[nodiscard]] std::string file() const { return folder_ ? folder_->file("family.db") : "family"; }

    template <class T>
    [[nodiscard]] detail::NewTask make(const std::string& text, const std::vector<TaskId>& parents = {},
                                       OnParentFailure on_failure = OnParentFailure::cancel) {
        detail::NewTask task{.id = TaskId::from_text("task-" + std::to_string(++ids_)),
                             .queue = detail::queue_config<T>().name,
                             .payload = nlohmann::json(T{text}).dump(),
                             .type = detail::type_name<T>()};
        if (parents.empty()) return task;
        detail::Parents all;
        for (const TaskId& id : parents) all.known.push_back({id, on_failure});
        task.parents = std::make_shared<const detail::Parents>(std::move(all));
        return task;
    }

    std::vector<store::EndedChild> add(std::vector<detail::NewTask> tasks) {
        std::vector<store::EndedChild> ended;
        client->store().add({.tasks = tasks, .now = detail::to_ms(clock.now()), .cancelled = &ended}, patience);
        client->refresh();
        return ended;
    }

    template <class T>
    TaskId add(const std::string& text, const std::vector<TaskId>& parents = {},
               OnParentFailure on_failure = OnParentFailure::cancel) {
        detail::NewTask task = make<T>(text, parents, on_failure);
        TaskId id = task.id;
        add({std::move(task)});
        return id;
    }

    /// Looks, claims, runs and writes, until nothing is left to do now.
    void work() {
        for (int quiet = 0; quiet < 3;) {
            client->look();
            const store::CycleResult result = client->cycle(client->plan());
            quiet = result.claimed.tasks.empty() && !result.children_left.value_or(false) ? quiet + 1 : 0;
            cancelled += result.cancelled_children.size();
            while (client->run_one() != nullptr) quiet = 0;
        }
    }

    [[nodiscard]] TaskStatus status(const TaskId& id) { return client->store().status(id); }

    CancelResult cancel(const TaskId& id, std::vector<store::EndedChild>* ended = nullptr) {
        return client->store().cancel({.id = id,
                                       .now = detail::to_ms(clock.now()),
                                       .keep =
                                           [](std::string_view) {
                                               return store::KeepRule{true, false, 1min};
                                           },
                                       .cancelled = ended},
                                      patience);
    }

    const store::Patience patience{5s, {}};
    testing::ManualClock clock{};
    Texts ran{};
    Texts failing{};
    std::size_t cancelled = 0;  ///< children that cycles have ended

private:
    const Kind kind_;
    std::optional<TempFolder> folder_{};
    MemoryFile memory_{};
    core::QueueRegistry queues_{};
    int ids_ = 0;

public:
    std::unique_ptr<SteppedClient> client{};
};

TEST_CASE("Children: a task starts once all of its parents have succeeded, and no sooner") {
    Family family(GENERATE(Kind::memory, Kind::sqlite));
    const TaskId first = family.add<Gone>("first");
    family.clock.advance(1ms);
    const TaskId last = family.add<Kept>("last", {first});
    detail::NewTask later = family.make<Gone>("later");
    const TaskId id = later.id;
    std::vector<detail::NewTask> tasks;
    tasks.push_back(std::move(later));
    family.client->store().add({.tasks = tasks,
                                .now = detail::to_ms(family.clock.now()),
                                .wait_until = detail::to_ms(family.clock.now()) + 10s},
                               family.patience);
    const TaskId both = family.add<Kept>("both", {id, last, id});
    CHECK(family.client->store().idle(family.client->heads(), detail::to_ms(family.clock.now())) == false);
    family.work();
    CHECK(family.ran == Texts{"first", "last"});
    CHECK(family.status(both) == TaskStatus::pending);
    CHECK(family.client->store().idle(family.client->heads(), detail::to_ms(family.clock.now())));
    family.clock.advance(10s);
    family.work();
    CHECK(family.ran == Texts{"first", "last", "later", "both"});
    CHECK(family.status(both) == TaskStatus::succeeded);
}

TEST_CASE(
    "Children: a retry of the parent frees nobody, and its failure cancels them and theirs, but for those that run") {
    Family family(GENERATE(Kind::memory, Kind::sqlite));
    family.failing = {"parent"};
    const TaskId parent = family.add<Kept>("parent");
    const TaskId child = family.add<Kept>("child", {parent});
    const TaskId grandchild = family.add<Kept>("grandchild", {child});
    const TaskId all_the_same = family.add<Kept>("all the same", {parent}, OnParentFailure::run);
    family.work();
    CHECK(family.status(child) == TaskStatus::pending);
    CHECK(family.ran == Texts{"parent"});
    family.clock.advance(1s);
    family.work();
    CHECK(family.ran == Texts{"parent", "parent", "all the same"});
    CHECK(family.status(parent) == TaskStatus::failed);
    CHECK(family.status(child) == TaskStatus::cancelled);
    CHECK(family.status(grandchild) == TaskStatus::cancelled);
    CHECK(family.status(all_the_same) == TaskStatus::succeeded);
    CHECK(family.cancelled == 2);
}

TEST_CASE(
    "Children: of parents that have ended, one that is kept as failed counts, and one that is not kept has succeeded") {
    Family family(GENERATE(Kind::memory, Kind::sqlite));
    family.failing = {"kept", "gone"};
    const TaskId kept = family.add<Kept>("kept");
    const TaskId gone = family.add<Gone>("gone");
    const TaskId good = family.add<Kept>("good");
    family.work();
    family.clock.advance(1s);
    family.work();
    REQUIRE(family.status(kept) == TaskStatus::failed);
    family.ran.clear();
    family.add<Gone>("after gone", {gone});
    family.add<Gone>("after good", {good});
    family.add<Gone>("after nobody", {TaskId::from_text("no such task")});
    family.add<Gone>("after kept all the same", {kept}, OnParentFailure::run);
    detail::NewTask child = family.make<Kept>("after kept", {kept});
    const TaskId id = child.id;
    std::vector<detail::NewTask> chain;
    chain.push_back(std::move(child));
    detail::NewTask next = family.make<Gone>("its child");
    next.parents = std::make_shared<const detail::Parents>(detail::Parents{.first = 0, .count = 1});
    chain.push_back(std::move(next));
    const std::vector<store::EndedChild> cancelled = family.add(std::move(chain));
    REQUIRE(cancelled.size() == 2);
    CHECK(cancelled.front().id == id);
    CHECK(cancelled.front().queue == "kept");
    CHECK(family.status(id) == TaskStatus::cancelled);
    family.work();
    std::sort(family.ran.begin(), family.ran.end());
    CHECK(family.ran == Texts{"after gone", "after good", "after kept all the same", "after nobody"});
}

TEST_CASE("Children: of two policies for one parent the one that cancels counts") {
    Family family(GENERATE(Kind::memory, Kind::sqlite));
    family.failing = {"parent"};
    const TaskId parent = family.add<Gone>("parent");
    detail::NewTask child = family.make<Kept>("child");
    const TaskId id = child.id;
    child.parents = std::make_shared<const detail::Parents>(
        detail::Parents{.known = {{parent, OnParentFailure::run}, {parent, OnParentFailure::cancel}}});
    std::vector<detail::NewTask> tasks;
    tasks.push_back(std::move(child));
    family.add(std::move(tasks));
    family.work();
    CHECK(family.status(id) == TaskStatus::cancelled);
}

TEST_CASE("Children: the cancel of a parent that waits cancels them at once, and tells whom") {
    Family family(GENERATE(Kind::memory, Kind::sqlite));
    const TaskId root = family.add<Kept>("root");
    const TaskId parent = family.add<Kept>("parent", {root});
    const TaskId child = family.add<Kept>("child", {parent});
    std::vector<store::EndedChild> ended;
    CHECK(family.cancel(parent, &ended) == CancelResult::cancelled);
    REQUIRE(ended.size() == 1);
    CHECK(ended.front().id == child);
    CHECK(family.status(child) == TaskStatus::cancelled);
    CHECK(family.cancel(root) == CancelResult::cancelled);
    family.work();
    CHECK(family.ran.empty());
}

TEST_CASE("Children: the expiry of a parent, and its cancel while it runs, cancel them") {
    Family family(GENERATE(Kind::memory, Kind::sqlite));
    detail::NewTask expiring = family.make<Kept>("expiring");
    const TaskId expired = expiring.id;
    expiring.expires_at = detail::to_ms(family.clock.now()) + 5s;
    std::vector<detail::NewTask> tasks;
    tasks.push_back(std::move(expiring));
    family.client->store().add({.tasks = tasks,
                                .now = detail::to_ms(family.clock.now()),
                                .wait_until = detail::to_ms(family.clock.now()) + 10s},
                               family.patience);
    const TaskId of_expired = family.add<Kept>("of expired", {expired});
    family.failing = {"running"};
    const TaskId running = family.add<Kept>("running");
    const TaskId of_running = family.add<Kept>("of running", {running});
    family.client->look();
    REQUIRE(family.client->cycle(family.client->plan()).claimed.tasks.size() == 1);
    CHECK(family.cancel(running) == CancelResult::requested);
    CHECK(family.status(of_running) == TaskStatus::pending);
    family.work();
    CHECK(family.status(of_running) == TaskStatus::cancelled);
    family.clock.advance(5s);
    family.client->refresh();
    family.work();
    CHECK(family.status(expired) == TaskStatus::expired);
    CHECK(family.status(of_expired) == TaskStatus::cancelled);
}

TEST_CASE("Children: one that was cancelled or has expired by itself is no longer waited with") {
    Family family(GENERATE(Kind::memory, Kind::sqlite));
    const TaskId parent = family.add<Kept>("parent");
    const TaskId child = family.add<Kept>("child", {parent});
    CHECK(family.cancel(child) == CancelResult::cancelled);
    const TaskId other = family.add<Kept>("other", {parent, child}, OnParentFailure::run);
    family.work();
    CHECK(family.ran == Texts{"parent", "other"});
    CHECK(family.status(other) == TaskStatus::succeeded);
}

TEST_CASE("Children: a chain of many thousands ends piece by piece, whichever way it goes") {
    Family family(Kind::sqlite);
    constexpr std::size_t length = 2'000;
    std::vector<detail::NewTask> chain;
    for (std::size_t i = 0; i < length; ++i) {
        chain.push_back(family.make<Gone>("link"));
        if (i == 0) continue;
        chain.back().parents = std::make_shared<const detail::Parents>(detail::Parents{.first = i - 1, .count = 1});
    }
    const TaskId first = chain.front().id;
    const TaskId last = chain.back().id;
    family.add(std::move(chain));
    SECTION("it is cancelled") {
        std::vector<store::EndedChild> ended;
        CHECK(family.cancel(first, &ended) == CancelResult::cancelled);
        CHECK(ended.size() < 1'000);  // one call is bounded
        CHECK(family.status(last) == TaskStatus::pending);
        family.work();
        CHECK(family.cancelled + ended.size() == length - 1);
        CHECK(family.ran.empty());
    }
    SECTION("it runs") {
        family.work();
        CHECK(family.ran.size() == length);
    }
    CHECK(family.status(last) == TaskStatus::not_found);
    CHECK(family.client->store().counts(detail::to_ms(family.clock.now())).empty());
}

TEST_CASE("Children: many of one parent are freed piece by piece") {
    Family family(Kind::sqlite);
    const TaskId parent = family.add<Gone>("parent");
    std::vector<detail::NewTask> tasks;
    const auto parents = std::make_shared<const detail::Parents>(detail::Parents{.known = {{parent}}});
    for (int i = 0; i < 1'700; ++i) {
        tasks.push_back(family.make<Gone>("child"));
        tasks.back().parents = parents;
    }
    family.add(std::move(tasks));
    family.work();
    CHECK(family.ran.size() == 1'701);
}

TEST_CASE("Children: a parent whose row others delete or finish is found to be gone") {
    Family family(Kind::sqlite);
    const TaskId deleted = family.add<Gone>("deleted");
    const TaskId finished = family.add<Gone>("finished");
    const TaskId reset = family.add<Gone>("reset");
    const TaskId after_deleted = family.add<Kept>("after deleted", {deleted});
    const TaskId after_finished = family.add<Kept>("after finished", {finished});
    const TaskId after_reset = family.add<Kept>("after reset", {reset});
    {
        SQLite::Database db(family.file(), SQLite::OPEN_READWRITE);
        SQLite::Statement move(
            db,
            "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, "
            "last_duration_micro, succeeded, error) SELECT id, created_at, queue, 1, 1, 1, 0, 'by hand' "
            "FROM backlite_tasks WHERE id = ?");
        move.bind(1, finished.str());
        REQUIRE(move.exec() == 1);
        SQLite::Statement remove(db, "DELETE FROM backlite_tasks WHERE id IN (?, ?)");
        remove.bind(1, finished.str());
        remove.bind(2, deleted.str());
        REQUIRE(remove.exec() == 2);
        SQLite::Statement flags(db, "UPDATE backlite_tasks SET flags = 0 WHERE id = ?");
        flags.bind(1, reset.str());
        REQUIRE(flags.exec() == 1);
    }
    family.clock.advance(2s);
    family.work();
    family.clock.advance(2s);
    family.work();
    CHECK(family.status(after_deleted) == TaskStatus::succeeded);
    CHECK(family.status(after_finished) == TaskStatus::cancelled);
    CHECK(family.status(after_reset) == TaskStatus::succeeded);
}

TEST_CASE("Children: edges that others have made, or that make no sense, change nothing and end nothing") {
    Family family(Kind::sqlite);
    const TaskId one = family.add<Kept>("one");
    family.add<Kept>("two", {one});
    {
        SQLite::Database db(family.file(), SQLite::OPEN_READWRITE);
        db.exec(
            "INSERT INTO backlite_edges (parent, child, on_failure) VALUES ('task-1', 'no such task', 77), "
            "('task-2', 'task-2', 0), ('no such parent', 'task-1', 0), ('', '', 0), ('x', '', 5)");
        db.exec("UPDATE backlite_tasks SET flags = flags | 2");
    }
    family.clock.advance(2s);
    family.work();
    family.clock.advance(2s);
    family.work();
    CHECK(family.ran == Texts{"one", "two"});
    SQLite::Database db(family.file(), SQLite::OPEN_READWRITE);
    CHECK(db.execAndGet("SELECT count(*) FROM backlite_edges WHERE parent <> ''").getInt() == 0);
}

TEST_CASE("Children: a child that the host's trigger does not let be changed holds up no other") {
    Family family(Kind::sqlite);
    const TaskId parent = family.add<Gone>("parent");
    const TaskId refused = family.add<Gone>("refused", {parent});
    const TaskId other = family.add<Gone>("other", {parent});
    SQLite::Database db(family.file(), SQLite::OPEN_READWRITE);
    db.exec("CREATE TRIGGER no BEFORE UPDATE OF hold ON backlite_tasks WHEN new.id = '" + refused.str() +
            "' BEGIN SELECT raise(ABORT, 'not this one'); END");
    family.work();
    CHECK(family.ran == Texts{"parent", "other"});
    CHECK(family.status(refused) == TaskStatus::pending);
    CHECK(family.client->plan().children == false);  // it is tried again later
    db.exec("DROP TRIGGER no");
    family.clock.advance(2s);
    family.client->refresh();
    family.work();
    CHECK(family.ran == Texts{"parent", "other", "refused"});
}

}  // namespace children_test
