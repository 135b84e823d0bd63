// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>

#include <backlite/base/times.hpp>
#include <backlite/store/plan.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using detail::Ms;
using store::first_rank;
using store::never;
using store::QueueHead;
using store::Rank;

constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
constexpr auto least = (std::numeric_limits<std::int64_t>::min)();

TEST_CASE("Rank: each level of priority is worth one ageing of being due") {
    CHECK(Rank::of(0, Ms{1000}, 60s) < Rank::of(0, Ms{1001}, 60s));
    CHECK(Rank::of(1, Ms{60'999}, 60s) < Rank::of(0, Ms{1000}, 60s));
    CHECK(Rank::of(0, Ms{1000}, 60s) < Rank::of(1, Ms{61'001}, 60s));
    CHECK(Rank::of(-3, Ms{1000}, 60s) < Rank::of(0, Ms{181'001}, 60s));
    CHECK(Rank::of(0, Ms{180'999}, 60s) < Rank::of(-3, Ms{1000}, 60s));
}

TEST_CASE("Rank: without ageing the priority decides, and within one the due time") {
    CHECK(Rank::of(1, Ms{most}, 0s) < Rank::of(0, Ms{0}, 0s));
    CHECK(Rank::of(1, Ms{1}, 0s) < Rank::of(1, Ms{2}, 0s));
}

TEST_CASE("Rank: priorities and times of others, at the ends of their types, have their place") {
    CHECK(Rank::of(most, Ms{5}, 60s) == Rank::of(1000, Ms{5}, 60s));
    CHECK(Rank::of(least, Ms{5}, 60s) == Rank::of(-1000, Ms{5}, 60s));
    CHECK(Rank::of(1000, Ms{least}, 60s) < Rank::of(1000, Ms{least + 1}, 60s));
    CHECK(Rank::of(-1000, Ms{most - 1}, 60s) < Rank::of(-1000, Ms{most}, 60s));
    CHECK(Rank::of(1000, Ms{least}, 60s) < Rank::of(-1000, Ms{most}, 60s));
}

TEST_CASE("QueueHead: its first rank is the best of what is due") {
    const QueueHead head{.due = Ms{1000}, .levels = {{0, Ms{1000}}, {1, Ms{2000}}, {9, Ms{900'000}}}};
    CHECK(first_rank(head, Ms{999}, 60s) == std::nullopt);
    CHECK(first_rank(head, Ms{1500}, 60s) == Rank::of(0, Ms{1000}, 60s));
    CHECK(first_rank(head, Ms{2000}, 60s) == Rank::of(1, Ms{2000}, 60s));
}

TEST_CASE("QueueHead: tasks of which nobody knows the priority are taken to have that of their queue") {
    QueueHead head{.priority = 3, .due = Ms{1000}, .levels = {{0, Ms{1000}}}};
    CHECK(first_rank(head, Ms{3000}, 1s) == Rank::of(0, Ms{1000}, 1s));
    CHECK(head.levels_known(Ms{5000}));
    head.came(Ms{3000});
    CHECK(head.due == Ms{1000});
    CHECK(head.levels_known(Ms{2999}));
    CHECK_FALSE(head.levels_known(Ms{3000}));
    CHECK(first_rank(head, Ms{2999}, 1s) == Rank::of(0, Ms{1000}, 1s));
    CHECK(first_rank(head, Ms{3000}, 1s) == Rank::of(3, Ms{3000}, 1s));
    CHECK(first_rank(head, Ms{3000}, 100ms) == Rank::of(0, Ms{1000}, 100ms));
    CHECK(first_rank(QueueHead{.priority = 3, .due = Ms{5}}, Ms{5}, 1s) == Rank::of(3, Ms{5}, 1s));
    CHECK_FALSE(QueueHead{.due = Ms{1000}}.levels_known(Ms{1000}));
}

}  // namespace
