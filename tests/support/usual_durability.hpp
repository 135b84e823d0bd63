// SPDX-License-Identifier: MIT
#pragma once
// The durability of clients whose test does not name one.

#include <cstdlib>
#include <string_view>

#include <backlite/config.hpp>

namespace backlite_test {

/// `process`, since syncing costs time; BACKLITE_TEST_DURABILITY=full chooses the other.
[[nodiscard]] inline backlite::Durability usual_durability() {
    const char* chosen = std::getenv("BACKLITE_TEST_DURABILITY");
    return chosen != nullptr && std::string_view{chosen} == "full" ? backlite::Durability::full
                                                                   : backlite::Durability::process;
}

}  // namespace backlite_test
