// SPDX-License-Identifier: MIT
#pragma once
// How long a test waits for what must come.

#include <chrono>
#include <cstdlib>
#include <string>

namespace backlite_test {

/// Long enough for a loaded machine under a sanitizer; nothing waits that long unless it fails. BACKLITE_PATIENCE, in
/// seconds, overrides it: where a fault is planted the wait is expected to be in vain.
inline const std::chrono::milliseconds patience = std::chrono::seconds{[] {
    const char* const seconds = std::getenv("BACKLITE_PATIENCE");
    return seconds == nullptr ? 20 : std::stoi(seconds);
}()};

}  // namespace backlite_test
