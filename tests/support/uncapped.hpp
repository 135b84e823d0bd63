// SPDX-License-Identifier: MIT
#pragma once
// Waits that nothing cuts short, so that a lost wake-up is a test that fails and not a second of delay.

#include <atomic>
#include <chrono>
#include <cstdint>

#include <backlite/clock.hpp>

namespace backlite_test {

/// While it lives, the library's threads sleep for up to an hour where they would look again after a second.
class Uncapped {
public:
    Uncapped() noexcept { set(std::chrono::hours{1}); }
    Uncapped(const Uncapped&) = delete;
    Uncapped& operator=(const Uncapped&) = delete;
    ~Uncapped() { set(before_); }

private:
    static void set(backlite::Duration wait) noexcept { backlite::detail::longest_wait_ms = wait.count(); }

    const backlite::Duration before_ = backlite::detail::longest_wait();
};

}  // namespace backlite_test
