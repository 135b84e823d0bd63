// SPDX-License-Identifier: MIT
#pragma once
// What the harnesses in tests/stress share: their size, their seed, and the proof that they hit something.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite_catch.hpp>

namespace backlite_test {

/// How much a harness does. A run is made larger, or made again, by two variables of the environment:
///     BACKLITE_ROUNDS=1000 BACKLITE_SEED=7 build/gcc/tests/backlite_stress "kill: one process*"
/// Without them it does what CI can afford, with a new seed each time, which is printed first.
class Harness {
public:
    Harness(std::string_view name, std::size_t rounds)
        : rounds_(static_cast<std::size_t>(variable("BACKLITE_ROUNDS", rounds))),
          seed_(variable("BACKLITE_SEED", std::random_device{}())) {
        fmt::print("{}: BACKLITE_ROUNDS={} BACKLITE_SEED={}\n", name, rounds_, seed_);
        std::fflush(stdout);  // a child that is made by fork would print it again
    }

    [[nodiscard]] std::size_t rounds() const noexcept { return rounds_; }
    [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

    /// To replay one round of many: BACKLITE_ONLY=261, where rounds do not depend on each other.
    [[nodiscard]] bool skips(std::size_t round) const { return variable("BACKLITE_ONLY", round) != round; }

private:
    static std::uint64_t variable(const char* name, std::uint64_t otherwise) {
        const char* const text = std::getenv(name);
        return text == nullptr ? otherwise : std::stoull(text);
    }

    std::size_t rounds_;
    std::uint64_t seed_;
};

/// What was in flight when a fault hit. A harness whose faults meet an idle program proves nothing: it fails if one of
/// the four was empty in more than half of its rounds.
class Moments {
public:
    struct InFlight {
        std::size_t claimed = 0;     ///< in the file, by an owner, not yet entered
        std::size_t inside = 0;      ///< a worker was in the processor
        std::size_t returned = 0;    ///< the processor had returned, its outcome was not in the file
        std::size_t committing = 0;  ///< a commit had begun and had not returned
    };

    void note(const InFlight& now) {
        ++rounds_;
        const std::array<std::size_t, 4> counts{now.claimed, now.inside, now.returned, now.committing};
        for (std::size_t i = 0; i < counts.size(); ++i) {
            if (counts[i] > 0) ++hit_[i];
            total_[i] += counts[i];
        }
    }

    void print() const {
        for (std::size_t i = 0; i < names.size(); ++i) {
            fmt::print("  in flight: {:<11} in {} of {} rounds, {:.1f} each\n", names[i], hit_[i], rounds_,
                       rounds_ == 0 ? 0.0 : static_cast<double>(total_[i]) / static_cast<double>(rounds_));
        }
        std::fflush(stdout);
    }

    /// Prints, and checks that each of the four was met in at least half of the rounds.
    void check() const {
        print();
        for (std::size_t i = 0; i < names.size(); ++i) {
            INFO("in flight: " << names[i]);
            CHECK(2 * hit_[i] >= rounds_);
        }
    }

private:
    static constexpr std::array<std::string_view, 4> names{"claimed", "inside", "returned", "committing"};

    std::size_t rounds_ = 0;
    std::array<std::size_t, 4> hit_{};
    std::array<std::size_t, 4> total_{};
};

}  // namespace backlite_test
