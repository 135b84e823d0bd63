// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/batch.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/config.hpp>
#include <backlite/core/agenda.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>

#include <backlite_catch.hpp>
#include <named_queue.hpp>

namespace {

using namespace backlite;
using core::Agenda;
using core::QueueRegistry;
using detail::Ms;
using detail::Us;
using store::never;
using store::QueueHead;

/// Two queues, `mail` (0) and `print` (1), and what is known of them.
struct Shop {
    QueueRegistry queues = backlite_test::two_queues();
    Agenda due{queues};

    [[nodiscard]] Ms of(std::size_t queue) const { return due.heads()[queue].due; }

    /// As a look at the file would: nothing but these due times.
    void look(Ms mail, Ms print) {
        std::vector<QueueHead> heads = due.heads();
        heads[0].due = mail;
        heads[1].due = print;
        due.set(std::move(heads));
    }
};

TEST_CASE("Agenda: knows of no task at first") {
    const Shop shop;
    CHECK(shop.due.earliest() == nullptr);
    CHECK(shop.of(0) == never);
}

TEST_CASE("Agenda: without queues there is no earliest one") {
    const QueueRegistry none;
    const Agenda due(none);
    CHECK(due.earliest() == nullptr);
}

TEST_CASE("Agenda: the earliest queue is the one whose task is due first") {
    Shop shop;
    shop.look(Ms{500}, Ms{300});
    REQUIRE(shop.due.earliest() != nullptr);
    CHECK(shop.due.earliest()->name == "print");
}

TEST_CASE("Agenda: an add is seen after the next merge") {
    Shop shop;
    (void)shop.due.lower("print", Ms{100});
    CHECK(shop.of(1) == never);
    shop.due.merge();
    CHECK(shop.of(1) == Ms{100});
    CHECK(shop.of(0) == never);
}

TEST_CASE("Agenda: of several adds the earliest counts") {
    Shop shop;
    for (const int due : {300, 100, 200}) (void)shop.due.lower("mail", Ms{due});
    shop.due.merge();
    CHECK(shop.of(0) == Ms{100});
}

TEST_CASE("Agenda: an add never makes a queue later than it is known to be") {
    Shop shop;
    shop.look(Ms{50}, never);
    (void)shop.due.lower("mail", Ms{100});
    shop.due.merge();
    CHECK(shop.of(0) == Ms{50});
}

TEST_CASE("Agenda: an add is merged once") {
    Shop shop;
    (void)shop.due.lower("mail", Ms{100});
    shop.due.merge();
    shop.look(Ms{900}, never);  // the task was claimed
    shop.due.merge();
    CHECK(shop.of(0) == Ms{900});
}

TEST_CASE("Agenda: an add that comes during a look at the file is not lost to it") {
    Shop shop;
    shop.due.merge();
    (void)shop.due.lower("mail", Ms{100});  // committed after the look
    shop.look(never, never);
    shop.due.merge();
    CHECK(shop.of(0) == Ms{100});
}

TEST_CASE("Agenda: an add of a queue that is not registered changes nothing and wakes nobody") {
    Shop shop;
    (void)shop.due.doze(never, 0);
    CHECK_FALSE(shop.due.lower("letters", Ms{1}));
    shop.due.merge();
    CHECK(shop.due.earliest() == nullptr);
}

TEST_CASE("Agenda: a dispatcher that is awake needs no waking") {
    Shop shop;
    CHECK_FALSE(shop.due.lower("mail", Ms{1}));
}

TEST_CASE("Agenda: a sleeper is woken for a task that is due before what it waits for, and for no other") {
    Shop shop;
    REQUIRE(shop.due.doze(Ms{500}, 0));
    CHECK_FALSE(shop.due.lower("mail", Ms{500}));
    CHECK_FALSE(shop.due.lower("mail", Ms{900}));
    CHECK(shop.due.lower("print", Ms{499}));
}

TEST_CASE("Agenda: a sleeper that waits for no task is woken by none") {
    Shop shop;
    REQUIRE(shop.due.doze(Agenda::nothing, 0));
    CHECK_FALSE(shop.due.lower("mail", Ms{1}));
}

TEST_CASE("Agenda: nobody falls asleep over an add that is already there") {
    Shop shop;
    (void)shop.due.lower("mail", Ms{100});
    CHECK_FALSE(shop.due.doze(Ms{500}, 0));
    CHECK(shop.due.doze(Ms{100}, 0));
}

/// Its tasks run in batches of three, which wait 50 ms.
class BatchesOfThree final : public detail::QueueBase {
public:
    [[nodiscard]] const QueueConfig& config() const noexcept override { return config_; }
    [[nodiscard]] std::string_view type() const noexcept override { return "Test"; }
    [[nodiscard]] std::unique_ptr<Job> decode(std::string_view) const override { return nullptr; }
    [[nodiscard]] const BatchOptions* batch() const noexcept override { return &options_; }

private:
    const QueueConfig config_{.name = "rows"};
    const BatchOptions options_{.max = 3, .max_wait = Duration{50}};
};

TEST_CASE("Agenda: a batch wakes the sleeper once it is full, or has waited longer than what it sleeps for") {
    QueueRegistry queues = backlite_test::two_queues();
    queues.add(std::make_unique<BatchesOfThree>());
    Agenda due(queues);
    std::vector<QueueHead> heads = due.heads();
    CHECK(heads[2].only_for_free_workers());
    heads[2].gather({});
    due.set(std::move(heads));
    REQUIRE(due.doze(Ms{1'100}, 0));
    CHECK_FALSE(due.lower("rows", Ms{1'050}));
    CHECK(due.none_due(Ms{1'090}, 0));
    CHECK_FALSE(due.lower("rows", Ms{1'050}));
    CHECK(due.lower("mail", Ms{1'050}));
    CHECK(due.lower("rows", Ms{1'060}));  // full
    CHECK_FALSE(due.doze(Ms{1'055}, 0));
    due.merge();
    CHECK(due.heads()[2].starts() == Ms{1'050});

    heads = due.heads();
    heads[2].due = heads[2].unread = Ms{1'050};
    heads[2].gather({Ms{1'050}});
    due.set(std::move(heads));
    CHECK(due.heads()[2].starts() == Ms{1'100});
    CHECK_FALSE(due.lower("rows", Ms{1'070}, 2));  // nobody sleeps
    CHECK_FALSE(due.doze(Ms{1'100}, 0));           // it has become full meanwhile
    due.merge();
    CHECK(due.heads()[2].starts() == Ms{1'050});
}

TEST_CASE("Agenda: whoever merges is awake") {
    Shop shop;
    REQUIRE(shop.due.doze(Ms{500}, 0));
    shop.due.merge();
    CHECK_FALSE(shop.due.lower("mail", Ms{1}));
}

TEST_CASE("Agenda: while the dispatcher sleeps, no task is due before the one that it waits for") {
    Shop shop;
    CHECK_FALSE(shop.due.none_due(Ms{100}, 0));
    REQUIRE(shop.due.doze(Ms{500}, 0));
    CHECK(shop.due.none_due(Ms{499}, 0));
    CHECK_FALSE(shop.due.none_due(Ms{500}, 0));
    shop.due.merge();
    CHECK_FALSE(shop.due.none_due(Ms{100}, 0));
}

TEST_CASE("Agenda: an add of which the sleeper has not taken note is due all the same") {
    Shop shop;
    REQUIRE(shop.due.doze(Ms{500}, 0));
    (void)shop.due.lower("mail", Ms{100});
    CHECK(shop.due.none_due(Ms{99}, 0));
    CHECK_FALSE(shop.due.none_due(Ms{100}, 0));
}

TEST_CASE("Agenda: after a commit of others nobody knows what is due until the file was read") {
    Shop shop;
    REQUIRE(shop.due.doze(Ms{500}, 3));
    CHECK(shop.due.none_due(Ms{100}, 3));
    CHECK_FALSE(shop.due.none_due(Ms{100}, 4));
}

TEST_CASE("Agenda: a note brings a queue forward, never back") {
    Shop shop;
    shop.look(Ms{500}, never);
    shop.due.note(0, Ms{300});
    shop.due.note(0, Ms{900});
    shop.due.note(1, Ms{700});
    CHECK(shop.of(0) == Ms{300});
    CHECK(shop.of(1) == Ms{700});
}

TEST_CASE("Agenda: a claim begins with the queue whose due task has the first rank, not with the oldest") {
    Shop shop;
    std::vector<QueueHead> heads = shop.due.heads();
    heads[0].due = Ms{1000};
    heads[0].levels = {{0, Ms{1000}}};
    heads[1].due = Ms{2000};
    heads[1].levels = {{5, Ms{2000}}};
    shop.due.set(heads);
    using namespace std::chrono_literals;
    CHECK(shop.due.earliest()->name == "mail");
    CHECK(shop.due.next(Ms{500}, 1s)->name == "mail");
    CHECK(shop.due.next(Ms{1999}, 1s)->name == "mail");
    CHECK(shop.due.next(Ms{2000}, 1s)->name == "print");
    CHECK(shop.due.next(Ms{2000}, 100ms)->name == "mail");
    CHECK(shop.due.next(Ms{2000}, 0s)->name == "print");
    shop.due.block(1, true);
    CHECK(shop.due.next(Ms{2000}, 0s)->name == "mail");
}

TEST_CASE("Agenda: a paused queue is neither the earliest nor the next, whatever is due in it") {
    Shop shop;
    std::vector<QueueHead> heads = shop.due.heads();
    heads[0].due = Ms{1000};
    heads[0].levels = {{9, Ms{1000}}};
    heads[0].paused = true;
    shop.due.set(heads);
    CHECK(shop.due.earliest() == nullptr);
    CHECK(shop.due.next(Ms{3000}, {}) == nullptr);
    heads[1].due = Ms{2000};
    heads[1].levels = {{0, Ms{2000}}};
    shop.due.set(heads);
    CHECK(shop.due.earliest()->name == "print");
    CHECK(shop.due.next(Ms{3000}, {})->name == "print");
}

TEST_CASE("Agenda: what came since a look at the file is known to have no known priority") {
    Shop shop;
    std::vector<QueueHead> heads = shop.due.heads();
    heads[0].due = Ms{100};
    heads[0].levels = {{0, Ms{100}}};
    const auto fresh = [&] { shop.due.set(heads); };
    const auto known = [&] { return shop.due.heads()[0].levels_known(Ms{1000}); };
    fresh();
    CHECK(known());
    (void)shop.due.lower("mail", Ms{300});
    shop.due.merge();
    CHECK_FALSE(known());
    fresh();
    shop.due.note(0, Ms{300});
    CHECK_FALSE(known());
    heads[0].held_due = Ms{300};
    fresh();
    CHECK(known());
    shop.due.release_held(false, false);
    CHECK_FALSE(known());
}

TEST_CASE("Agenda: a queue that was never measured counts as slow") {
    const Shop shop;
    CHECK(shop.due.heads()[0].cost == Agenda::unmeasured);
}

TEST_CASE("Agenda: the first measurement counts whole, the next an eighth") {
    Shop shop;
    shop.due.measured(0, Us{800});
    CHECK(shop.due.heads()[0].cost == Us{800});
    shop.due.measured(0, Us{1600});
    CHECK(shop.due.heads()[0].cost == Us{900});
    CHECK(shop.due.heads()[1].cost == Agenda::unmeasured);
}

TEST_CASE("Agenda: no task costs nothing") {
    Shop shop;
    shop.due.measured(0, Us{});
    CHECK(shop.due.heads()[0].cost == Us{1});
}

TEST_CASE("Agenda: what was measured survives a look at the file") {
    Shop shop;
    shop.due.measured(0, Us{800});
    shop.look(Ms{100}, Ms{200});
    CHECK(shop.due.heads()[0].cost == Us{800});
}

TEST_CASE("Agenda: no add of many threads is lost") {
    Shop shop;
    std::atomic<std::int64_t> next{20'000};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 3; ++i) {
            threads.emplace_back([&] {
                for (std::int64_t due = --next; due > 0; due = --next) (void)shop.due.lower("mail", Ms{due});
            });
        }
        while (next > 0) {
            shop.due.merge();
            shop.look(shop.of(0), never);  // finds what is known
        }
    }
    shop.due.merge();
    CHECK(shop.of(0) == Ms{1});
}

TEST_CASE("Agenda: held tasks are due again once what they wait for has come, and not before") {
    const bool by_worker = GENERATE(false, true);
    Shop shop;
    Agenda& due = shop.due;
    std::vector<QueueHead> heads = due.heads();
    (by_worker ? heads[0].worker_due : heads[0].held_due) = Ms{5};
    due.set(heads);
    CHECK(due.worker_wanted() == by_worker);
    due.release_held(!by_worker, !by_worker);
    CHECK(due.earliest() == nullptr);
    due.release_held(by_worker, by_worker);
    REQUIRE(due.earliest() != nullptr);
    CHECK(due.earliest()->due == Ms{5});
    CHECK_FALSE(due.worker_wanted());
    shop.look(never, never);
    due.release_held(false, true);
    CHECK(due.earliest() == nullptr);
}

}  // namespace
