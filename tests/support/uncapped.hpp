// SPDX-License-Identifier: MIT
#pragma once
// Waits that nothing cuts short, so that a lost wake-up is a test that fails and not a second of delay.

#include <atomic>
#include <chrono>
#include <cstdint>

#include <backlite/clock.hpp>

namespace backlite_test {

/// While it lives, the library's threads look again after another time.
class LookingAgain {
public:
    explicit LookingAgain(backlite::Duration after) noexcept { set(after); }
    LookingAgain(const LookingAgain&) = delete;
    LookingAgain& operator=(const LookingAgain&) = delete;
    ~LookingAgain() { set(before_); }

private:
    static void set(backlite::Duration wait) noexcept { backlite::detail::longest_wait_ms = wait.count(); }

    const backlite::Duration before_ = backlite::detail::longest_wait();
};

/// While it lives, the library's threads sleep for up to an hour where they would look again after a second.
/// BACKLITE_TEST_UNCAPPED=1 does that to all unit and integration tests.
class Uncapped : public LookingAgain {
public:
    Uncapped() noexcept : LookingAgain(std::chrono::hours{1}) {}
};

/// While it lives, the library's threads look again after a second, whatever BACKLITE_TEST_UNCAPPED says. For a test of
/// what nobody tells the library: that a clock was moved. It says so itself.
class Capped : public LookingAgain {
public:
    Capped() noexcept : LookingAgain(std::chrono::seconds{1}) {}
};

}  // namespace backlite_test
