// SPDX-License-Identifier: MIT
#include <cstdint>
#include <set>

#include <backlite/platform/random.hpp>

#include "backlite_catch.hpp"

using backlite::platform::random_of;
using backlite::platform::random_seed;
using backlite::platform::random_step;

TEST_CASE("random: the kernel gives another seed each time") { CHECK(random_seed() != random_seed()); }

TEST_CASE("random: numbers are those of SplitMix64") {
    // The first numbers of a generator whose state begins at 0, as published with the reference implementation.
    CHECK(random_of(1 * random_step) == 0xe220'a839'7b1d'cdafU);
    CHECK(random_of(2 * random_step) == 0x6e78'9e6a'a1b9'65f4U);
    CHECK(random_of(3 * random_step) == 0x06c4'5d18'8009'454fU);
}

TEST_CASE("random: ten thousand numbers repeat none, and the outer bits are set in about half of them") {
    std::set<std::uint64_t> seen;
    std::uint64_t state = 0;
    int top = 0;
    int bottom = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t number = random_of(state += random_step);
        seen.insert(number);
        top += static_cast<int>(number >> 63);
        bottom += static_cast<int>(number & 1);
    }
    CHECK(seen.size() == 10'000);
    CHECK((top > 4'700 && top < 5'300));
    CHECK((bottom > 4'700 && bottom < 5'300));
}
