// SPDX-License-Identifier: MIT
#pragma once
// What the harnesses in tests/stress share: their size, their seed, and the proof that they hit something.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

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

/// How often the faults of a harness met what they are aimed at. A harness whose faults meet an idle program proves
/// nothing, and how often they meet more depends on the machine. So a harness plays all its rounds, and then more of
/// them until it has met each of its moments often enough, or has tried for too long; only that fails.
///     Moments moments(harness);
///     for (std::size_t round = 0; moments.wants(round); ++round) moments.met(play(round));
///     moments.check();
class Moments {
public:
    struct InFlight {
        std::size_t claimed = 0;     ///< in the file, by an owner, not yet entered
        std::size_t inside = 0;      ///< a worker was in the processor
        std::size_t returned = 0;    ///< the processor had returned, its outcome was not in the file
        std::size_t committing = 0;  ///< a commit had begun and had not returned
    };

    /// How many rounds there may be beyond those that were asked for.
    static constexpr std::size_t most_more = 200;

    explicit Moments(const Harness& harness)
        : Moments(harness, {"claimed in flight", "inside in flight", "returned in flight", "committing in flight"}) {}
    Moments(const Harness& harness, std::vector<std::string_view> names)
        : rounds_(harness.rounds()), enough_((harness.rounds() + 3) / 4) {
        for (const std::string_view name : names) moments_.push_back({name});
    }

    /// Whether this round is to be played, counted from 0.
    [[nodiscard]] bool wants(std::size_t round) {
        if (round < rounds_) return true;
        const auto now = std::chrono::steady_clock::now();
        if (more_until_ == std::chrono::steady_clock::time_point{}) more_until_ = now + longest_more;
        return round < rounds_ + most_more && now < more_until_ && !often();
    }

    void note(const InFlight& now) { met({now.claimed, now.inside, now.returned, now.committing}); }
    /// What one round met of each, in the order of the names.
    void met(const std::vector<std::size_t>& counts) {
        ++played_;
        for (std::size_t i = 0; i < moments_.size(); ++i) {
            if (counts.at(i) > 0) ++moments_[i].rounds;
            moments_[i].total += counts[i];
        }
    }

    /// Prints, and checks that each was met often enough.
    void check() const {
        for (const Moment& moment : moments_) {
            fmt::print("  {}: in {} of {} rounds, {:.1f} each\n", moment.name, moment.rounds, played_,
                       played_ == 0 ? 0.0 : static_cast<double>(moment.total) / static_cast<double>(played_));
        }
        std::fflush(stdout);
        for (const Moment& moment : moments_) {
            INFO(moment.name << " is wanted in " << enough_ << " rounds");
            CHECK(moment.rounds >= enough_);
        }
    }

private:
    struct Moment {
        std::string_view name{};
        std::size_t rounds = 0;
        std::size_t total = 0;
    };

    static constexpr std::chrono::seconds longest_more{90};

    [[nodiscard]] bool often() const {
        return std::all_of(moments_.begin(), moments_.end(),
                           [this](const Moment& moment) { return moment.rounds >= enough_; });
    }

    std::size_t rounds_;
    std::size_t enough_;
    std::vector<Moment> moments_{};
    std::size_t played_ = 0;
    std::chrono::steady_clock::time_point more_until_{};
};

}  // namespace backlite_test
